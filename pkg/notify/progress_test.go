package notify

import "testing"

// What is accepted says something that is known, and is written back as it was meant.
func FuzzParseStep(f *testing.F) {
	for _, s := range []string{
		"untried", "told", "refused", "exhausted", "retry 3 2026-11-23T08:00:00Z", "retry 1 2026-11-23T09:00:00.5+01:00",
		"", "retry", "retry 0 2026-11-23T08:00:00Z", "retry -1 x", "told ", "TOLD", "retry 1 2026-11-23T08:00:00Z x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseStep(text)
		if err != nil {
			return
		}
		if (s.state == retrying) != (s.attempts > 0) || (s.state == retrying) == (s.String() == string(s.state)) {
			t.Fatalf("accepted %q as %+v", text, s)
		}
		again, err := parseStep(s.String())
		if err != nil || again.state != s.state || again.attempts != s.attempts || !again.due.Equal(s.due) {
			t.Fatalf("%q became %+v, then %+v, %v", text, s, again, err)
		}
	})
}
