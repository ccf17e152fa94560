package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mfaflow/pkg/event"
	"mfaflow/pkg/ledger"
)

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func TestNoStateIsANewLedger(t *testing.T) {
	l, err := ledger.Decode(nil)
	if err != nil || l.Generation != 0 || len(l.Handled) != 0 {
		t.Fatalf("got %+v, %v", l, err)
	}
	if b, err := l.Encode(); err != nil || string(b) != `{"v":2,"gen":0}` {
		t.Fatalf("got %s, %v", b, err)
	}
}

func TestUnreadable(t *testing.T) {
	for name, state := range map[string]string{
		"no JSON":           "\x00",
		"a newer version":   `{"v":3,"gen":1}`,
		"no version":        `{"gen":1}`,
		"not a ledger":      `[]`,
		"wrong type inside": `{"v":1,"gen":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ledger.Decode([]byte(state)); !errors.Is(err, ledger.ErrUnreadable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a version before wrote is read as what it meant.
func TestMigration(t *testing.T) {
	l, err := ledger.Decode([]byte(`{"v":1,"gen":7,
		"waiting":[{"seq":3,"k":"hr:2","type":"employee.joiner","kind":"held","why":"protected-person","made":"2026-11-23T08:00:00Z","t":"2026-11-23T08:00:00Z","ok":["olga","piotr"],"released":true}],
		"progress":{"k":"hr:2","done":["shut-out"],"at":"2026-11-23T08:00:00Z"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if l.Version != ledger.Version || l.Generation != 7 || !l.Step("hr:2", "shut-out") || !l.ProgressOf("hr:2").At.Equal(t0) ||
		!slices.Equal(l.Waiting[0].Allowed, []string{"protected-person"}) || len(l.Waiting[0].Approvals) != 2 {
		t.Errorf("%+v", l)
	}
	if b, err := l.Encode(); err != nil || !strings.HasPrefix(string(b), `{"v":2,"gen":7,`) {
		t.Errorf("%s, %v", b, err)
	}
	if generation, err := ledger.Generation([]byte(`{"v":1,"gen":7}`)); err != nil || generation != 7 {
		t.Errorf("generation %d, %v", generation, err)
	}
	for _, broken := range []string{`{"v":1,"gen":1,"waiting":{}}`, `{"v":1,"gen":1,"progress":3}`} {
		if _, err := ledger.Decode([]byte(broken)); !errors.Is(err, ledger.ErrUnreadable) {
			t.Errorf("%s: %v", broken, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	l := &ledger.Ledger{
		Version: ledger.Version, Generation: 7, Floor: t0,
		Handled:      []ledger.Handled{{Key: "hr:1", Outcome: ledger.Done, ReceivedAt: t0}},
		Waiting:      []ledger.Waiting{{Sequence: 3, Key: "hr:2", Type: event.Joiner, Kind: ledger.Planned, Until: t0, Attempt: 1, MadeAt: t0, ReceivedAt: t0}},
		Current:      &ledger.Current{Key: "hr:3", Sequence: 4, Starts: 2},
		Statement:    &ledger.Statement{Key: "hr:2", Type: event.Joiner, MadeAt: t0, ReceivedAt: t0, StartDate: event.Date{Year: 2026, Month: 12, Day: 1}},
		Pass:         &ledger.Pass{ID: "p", Key: "hr:2", StartsAt: t0, EndsAt: t0},
		PersonalMail: &ledger.PersonalMail{Digest: "d", Since: t0},
	}
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ledger.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l, back); diff != "" {
		t.Error(diff)
	}
}

// What is forgotten lies at or below the floor, what is remembered does not get
// lost, and the size is kept.
func TestCompaction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger.Ledger{Version: ledger.Version}
		n := rapid.IntRange(1, 300).Draw(t, "events")
		type done struct {
			key string
			typ event.Type
			at  time.Time
		}
		var all []done
		for i := range n {
			at := t0.Add(time.Duration(rapid.IntRange(0, 100000).Draw(t, "second")) * time.Second)
			key := fmt.Sprintf("hr:%d", i)
			typ := rapid.SampledFrom([]event.Type{event.Joiner, event.AccountChanged}).Draw(t, "type")
			l.Finish(key, typ, at, ledger.Done)
			all = append(all, done{key, typ, at})
			b, err := l.Encode()
			if err != nil || len(b) > ledger.Target && len(l.Handled) > 8 {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
		for _, d := range all {
			if _, ok := l.HandledAs(d.key); !ok && !d.typ.IsRepeatable() && !l.BelowFloor(d.typ, d.at) {
				t.Fatalf("%s, received %s, is forgotten and above the floor %s", d.key, d.at, l.Floor)
			}
		}
	})
}

func TestTooManyWaitingIsAnError(t *testing.T) {
	l := &ledger.Ledger{Version: ledger.Version}
	for i := range 200 {
		l.Wait(ledger.Waiting{Sequence: int64(i), Key: strings.Repeat("k", 80) + fmt.Sprint(i), Type: event.Joiner, Kind: ledger.Held})
	}
	if _, err := l.Encode(); !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// However many wait, who shuts a person out still gets in, and whatever gets in can
// be worked on.
func TestAdmits(t *testing.T) {
	l := &ledger.Ledger{Version: ledger.Version}
	fill := func(typ event.Type) (n int) {
		for l.Admits(typ) {
			n++
			seq := int64(len(l.Waiting) + 1)
			l.Wait(ledger.Waiting{Sequence: seq, Key: fmt.Sprintf("hr:%040d", seq), Type: typ, Kind: ledger.Behind, Reason: "behind-another-event", Attempt: 1, MadeAt: t0, ReceivedAt: t0})
		}
		return n
	}
	if low, high := fill(event.Joiner), fill(event.Leaver); low < 30 || high < 5 {
		t.Errorf("%d joiners and %d leavers may wait", low, high)
	}
	if l.Admits(event.Joiner) {
		t.Error("a joiner takes the room of those who shut people out")
	}
	l.Start("hr:"+strings.Repeat("x", 80), 1)
	l.Pass = &ledger.Pass{ID: strings.Repeat("p", 36), Key: strings.Repeat("k", 80), StartsAt: t0, EndsAt: t0, Channel: "personal-mail"}
	for _, s := range []string{"block-sign-in", "revoke-sessions", "random-password", "answered", "reserved"} {
		l.StepDone("hr:"+strings.Repeat("x", 80), s, t0)
	}
	if _, err := l.Encode(); err != nil {
		t.Errorf("no room to work: %v", err)
	}
}

func TestBlocked(t *testing.T) {
	waits := func(k ledger.Kind, typ event.Type) []ledger.Waiting {
		return []ledger.Waiting{{Sequence: 5, Key: "w", Type: typ, Kind: k}}
	}
	for name, c := range map[string]struct {
		waiting  []ledger.Waiting
		typ      event.Type
		sequence int64
		want     bool
	}{
		"nothing waits":                        {typ: event.Joiner, sequence: 6},
		"a planned event does not block":       {waiting: waits(ledger.Planned, event.Joiner), typ: event.StartDateChanged, sequence: 6},
		"a hold blocks what comes later":       {waiting: waits(ledger.Held, event.Joiner), typ: event.StartDateChanged, sequence: 6, want: true},
		"a retry blocks what comes later":      {waiting: waits(ledger.Retry, event.Joiner), typ: event.Joiner, sequence: 6, want: true},
		"one that is behind blocks too":        {waiting: waits(ledger.Behind, event.Joiner), typ: event.Joiner, sequence: 6, want: true},
		"what came before is not blocked":      {waiting: waits(ledger.Held, event.Joiner), typ: event.Joiner, sequence: 4},
		"higher precedence passes":             {waiting: waits(ledger.Held, event.Joiner), typ: event.Leaver, sequence: 6},
		"equal precedence does not pass":       {waiting: waits(ledger.Held, event.Leaver), typ: event.Leaver, sequence: 6, want: true},
		"compromise does not pass a leaver":    {waiting: waits(ledger.Held, event.Leaver), typ: event.DeviceStolen, sequence: 6, want: true},
		"re-registration does not pass either": {waiting: waits(ledger.Retry, event.DeviceStolen), typ: event.Reregister, sequence: 6, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger.Ledger{Waiting: c.waiting}
			if got := l.Blocked(c.typ, c.sequence); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestWaitingIsInOrderOfSequence(t *testing.T) {
	l := &ledger.Ledger{}
	for _, seq := range []int64{7, 3, 5} {
		l.Wait(ledger.Waiting{Sequence: seq, Key: fmt.Sprint(seq), Kind: ledger.Planned})
	}
	l.Wait(ledger.Waiting{Sequence: 3, Key: "3", Kind: ledger.Retry, Attempt: 2})
	var got []int64
	for _, w := range l.Waiting {
		got = append(got, w.Sequence)
	}
	if !slices.Equal(got, []int64{3, 5, 7}) || l.WaitingFor("3").Attempt != 2 || l.WaitingAt(5).Key != "5" {
		t.Errorf("got %+v", l.Waiting)
	}
}

func TestStartsAreCountedPerMessage(t *testing.T) {
	l := &ledger.Ledger{}
	l.Start("hr:1", 3)
	if n := l.Start("hr:1", 3); n != 2 {
		t.Errorf("second start counted as %d", n)
	}
	if n := l.Start("hr:1", 9); n != 1 {
		t.Errorf("a replay starts at %d", n)
	}
	l.Finish("hr:1", event.Joiner, t0, ledger.Done)
	if l.Current != nil {
		t.Error("a finished event is still in progress")
	}
}

// A state that decodes encodes to one that decodes to the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"gen":3,"handled":[{"k":"hr:1","o":"done","t":"2026-11-23T08:00:00Z"}]}`))
	f.Add([]byte(`{"v":1,"gen":3,"waiting":[{"seq":1,"k":"hr:1","type":"employee.joiner","kind":"held","made":"2026-11-23T08:00:00Z","t":"2026-11-23T08:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		l, err := ledger.Decode(state)
		if err != nil {
			if !errors.Is(err, ledger.ErrUnreadable) {
				t.Fatalf("undocumented error %v", err)
			}
			return
		}
		first, err := json.Marshal(l)
		if err != nil {
			return // dates and times that JSON cannot carry
		}
		again, err := ledger.Decode(first)
		if err != nil {
			t.Fatalf("%s does not decode again: %v", first, err)
		}
		second, err := json.Marshal(again)
		if err != nil || string(first) != string(second) {
			t.Fatalf("%s became %s, %v", first, second, err)
		}
	})
}

// A deployment is rolled back without a thought for the lanes: a version adds members, and
// the one before reads over them. What breaks this takes a new Version, and a note.
func TestMembersOfALaterReleaseAreReadOver(t *testing.T) {
	l, err := ledger.Decode([]byte(`{"v":2,"gen":7,"later":{"x":[1]},"handled":[{"k":"hr:1","o":"done","later":"y"}]}`))
	if err != nil || l.Generation != 7 || len(l.Handled) != 1 || l.Handled[0].Key != "hr:1" {
		t.Errorf("%+v, %v", l, err)
	}
}
