package graph

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"12", "", 12 * time.Second},
		{"-1", "", 0},
		{"1.5", "", 0},
		{"99999999", "", 24 * time.Hour},
		{"99999999999999999999", "", 0},
		{"Mon, 23 Nov 2026 08:01:00 GMT", "", time.Minute},
		{"Mon, 23 Nov 2026 07:59:00 GMT", "", 0},
		{"Mon, 23 Nov 2026 09:01:00 GMT", "Mon, 23 Nov 2026 09:00:00 GMT", time.Minute},
		{"Fri, 23 Nov 2057 08:00:00 GMT", "", 24 * time.Hour},
		{"soon", "", 0},
	} {
		h := http.Header{}
		h.Set("Retry-After", tc.value)
		h.Set("Date", tc.date)
		if got := retryAfter(h, now); got != tc.want {
			t.Errorf("retryAfter(%q, Date %q) = %v, want %v", tc.value, tc.date, got, tc.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("12", "")
	f.Add("Mon, 23 Nov 2026 08:01:00 GMT", "Mon, 23 Nov 2026 08:00:00 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		if d := retryAfter(h, time.Now()); d < 0 || d > maxRetryAfter {
			t.Errorf("retryAfter(%q, %q) = %v", value, date, d)
		}
	})
}

// Whatever the value, an OData parser must read one literal with that value.
func FuzzQuote(f *testing.F) {
	f.Add("o'hara")
	f.Add("' or id ne '")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		inner := q[1 : len(q)-1]
		if q[0] != '\'' || q[len(q)-1] != '\'' || strings.Contains(strings.ReplaceAll(inner, "''", ""), "'") {
			t.Fatalf("quote(%q) = %s is not one literal", s, q)
		}
		if strings.ReplaceAll(inner, "''", "'") != s {
			t.Fatalf("quote(%q) = %s reads differently", s, q)
		}
	})
}
