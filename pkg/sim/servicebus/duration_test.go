package servicebus

import (
	"testing"
	"time"

	"mfaflow/pkg/sim/servicebus/broker"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT1S": time.Second, "PT0.5S": 500 * time.Millisecond, "PT1M": time.Minute, "PT45M30S": 45*time.Minute + 30*time.Second,
		"PT6H": 6 * time.Hour, "P7D": 7 * 24 * time.Hour, "P1DT2H3M4S": 26*time.Hour + 3*time.Minute + 4*time.Second,
		"P10675199DT2H48M5.4775807S": broker.Forever,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s is %v, err %v, want %v", text, got, err, want)
		}
		if back := formatDuration(got); back != text {
			t.Errorf("%v is written %s, want %s", got, back, text)
		}
	}
	for text, want := range map[string]time.Duration{"PT60M0S": time.Hour, "PT90S": 90 * time.Second, "PT256204778H48M5.4775807S": broker.Forever} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s is %v, err %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1", "1S", "PT1X", "P-1D", "PT1S ", "P1DT", "PTS", "P1Y"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// FuzzDuration: what is read and written reads the same again.
func FuzzDuration(f *testing.F) {
	for _, text := range []string{"PT1S", "P1DT2H3M4.5S", endlessSpan, "PT", "P99999999999999999999D"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDuration(text)
		if err != nil {
			return
		}
		again, err := parseDuration(formatDuration(d))
		if err != nil || (again-d).Abs() > time.Microsecond { // seconds are written as a decimal fraction
			t.Fatalf("%q is %v, written %q, then %v, err %v", text, d, formatDuration(d), again, err)
		}
	})
}
