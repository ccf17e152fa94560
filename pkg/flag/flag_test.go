package flag_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

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
