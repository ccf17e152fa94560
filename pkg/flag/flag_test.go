package flag_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
)

var day = time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)

func TestMessage(t *testing.T) {
	m, err := flag.Flag{User: "u1", Cause: flag.UnknownPerson, Key: "hr:1", At: day}.Message("c1")
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != "flag~u1~unknown-person~2026-11-23" || m.CorrelationID != "c1" || m.Key != "hr:1" {
		t.Errorf("got %+v", m)
	}
	var f flag.Flag
	if err := json.Unmarshal(m.Body, &f); err != nil || f.NextStep == "" {
		t.Errorf("the flag names no next step: %s, %v", m.Body, err)
	}
}

func TestSamePersonCauseAndDayIsOneFlag(t *testing.T) {
	id := func(f flag.Flag) string {
		t.Helper()
		m, err := f.Message("")
		if err != nil {
			t.Fatal(err)
		}
		if len(m.ID) > 128 {
			t.Errorf("message id of %d characters", len(m.ID))
		}
		return m.ID
	}
	one := flag.Flag{User: "u1", Cause: flag.ShortFirstDay, Key: "hr:1", At: day}
	other := one
	other.Key = "hr:2"
	if id(one) != id(other) {
		t.Error("the same cause on the same day is told twice")
	}
	other.At = day.Add(time.Hour)
	if id(one) == id(other) {
		t.Error("the next day is not told")
	}
	change := flag.Flag{Cause: flag.TooOld, Type: string(event.MethodPolicy), Lane: event.TenantLane, Key: strings.Repeat("k", 128), At: day}
	second := change
	second.Key += "2"
	if id(change) == id(second) {
		t.Error("two changes of the tenant are one flag")
	}
	hold := flag.Flag{Cause: flag.Held, Lane: strings.Repeat("l", 128), Queue: "inbound", Sequence: 1, Attempt: 1, At: day}
	again := hold
	again.Attempt = 2
	next := hold
	next.Sequence = 2
	if id(hold) == id(again) || id(hold) == id(next) {
		t.Error("two holds are one flag")
	}
}

func TestUnknownCauseIsRefused(t *testing.T) {
	for _, c := range []flag.Cause{"", "bored"} {
		if _, err := (flag.Flag{Cause: c}).Message(""); err == nil {
			t.Errorf("cause %q is accepted", c)
		}
	}
}

func TestEveryCauseSaysWhatAndWhatToDo(t *testing.T) {
	longest := 0
	for _, c := range flag.Causes() {
		if c.Title() == "" || !strings.HasSuffix(c.NextStep(), ".") || strings.HasSuffix(c.Title(), ".") {
			t.Errorf("%s: title %q, next step %q", c, c.Title(), c.NextStep())
		}
		longest = max(longest, len(c))
	}
	m, err := flag.Flag{Cause: flag.ConditionalAccessBlock, Lane: strings.Repeat("l", 128), At: day}.Message("")
	if err != nil || len(m.ID) > 128 || longest > len(flag.ConditionalAccessBlock) {
		t.Errorf("the longest message id has %d characters, the longest cause %d; %v", len(m.ID), longest, err)
	}
	if c := flag.Cause("bored"); c.Valid() || c.Title() != "" || c.NextStep() != "" {
		t.Error("an unknown cause has words")
	}
}

func TestDecode(t *testing.T) {
	want := flag.Flag{
		User: "u1", Cause: flag.SmartLockout, Reason: "r", Detail: "<b>", Key: "k", Type: "account.locked", Source: "entra",
		Queue: "lanes", Lane: "u1", Sequence: 3, Attempt: 1, At: day, UnlocksAt: day.Add(time.Minute),
	}
	m, err := want.Message("")
	if err != nil {
		t.Fatal(err)
	}
	got, err := flag.Decode(m.Body)
	want.NextStep = flag.SmartLockout.NextStep()
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	forged, err := flag.Decode([]byte(`{"cause":"held","nextStep":"Send the pass to eve@example.com","at":"2026-11-23T23:30:00Z","key":""}`))
	if err != nil || forged.NextStep != flag.Held.NextStep() {
		t.Errorf("got %+v, %v", forged, err)
	}
	for body, rule := range map[string]error{
		``:                 flag.ErrMalformed,
		`null`:             flag.ErrMalformed,
		`{}`:               flag.ErrUnknownCause,
		`[]`:               flag.ErrMalformed,
		`{"cause":"held"}`: flag.ErrMalformed,
		`{"cause":"bored","at":"2026-11-23T23:30:00Z"}`:                            flag.ErrUnknownCause,
		`{"cause":"HELD","at":"2026-11-23T23:30:00Z"}`:                             flag.ErrUnknownCause,
		`{"cause":"held","at":"2026-11-23T23:30:00Z","sequence":-1}`:               flag.ErrMalformed,
		`{"cause":"held","at":"2026-11-23T23:30:00Z","sequence":"1"}`:              flag.ErrMalformed,
		`{"cause":"held","at":"2026-11-23T23:30:00Z","pass":"x"}`:                  flag.ErrMalformed,
		`{"Cause":"held","at":"2026-11-23T23:30:00Z"}`:                             flag.ErrMalformed,
		`{"cause":"held","at":"2026-11-23T23:30:00Z"}{}`:                           flag.ErrMalformed,
		`{"cause":"held","cause":"held","at":"2026-11-23T23:30:00Z"}`:              flag.ErrMalformed,
		`{"cause":"held","at":"yesterday, secret"}`:                                flag.ErrMalformed,
		"{\"cause\":\"held\",\"detail\":\"\xff\",\"at\":\"2026-11-23T23:30:00Z\"}": flag.ErrMalformed,
	} {
		f, err := flag.Decode([]byte(body))
		if !errors.Is(err, rule) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v, want %v", body, f, err, rule)
		}
	}
}

// Whatever is accepted has a cause of the list and our next step, and can be sent
// on as it is.
func FuzzDecode(f *testing.F) {
	for _, c := range flag.Causes() {
		m, err := flag.Flag{User: "u", Cause: c, Detail: "*d*", Key: "k", At: day}.Message("")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Body)
	}
	f.Add([]byte(`{"cause":"held","at":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := flag.Decode(body)
		if err != nil {
			if !errors.Is(err, flag.ErrMalformed) && !errors.Is(err, flag.ErrUnknownCause) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if !got.Cause.Valid() || got.NextStep != got.Cause.NextStep() || got.At.IsZero() {
			t.Fatalf("accepted %+v", got)
		}
		m, err := got.Message("")
		if err != nil {
			t.Fatal(err)
		}
		again, err := flag.Decode(m.Body)
		if d := cmp.Diff(got, again); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
	})
}
