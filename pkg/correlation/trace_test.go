package correlation_test

import (
	"net/http"
	"strings"
	"testing"

	"mfaflow/pkg/correlation"
)

const (
	trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	uuid  = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
	span  = "00f067aa0ba902b7"
)

func accepted(t *testing.T, pairs ...string) (id, parent, state string) {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	ctx := correlation.Accept(t.Context(), h)
	parent, state = correlation.Trace(ctx)
	return correlation.ID(ctx), parent, state
}

// The vectors are those of w3.org/TR/trace-context, sections 3.2 and 4.
func TestAcceptGoesOnWithAValidTraceAndBeginsOneOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		parent string
		ok     bool
		flags  string
	}{
		"version 00":                 {"00-" + trace + "-" + span + "-01", true, "01"},
		"not sampled":                {"00-" + trace + "-" + span + "-00", true, "00"},
		"a later version":            {"cc-" + trace + "-" + span + "-01-what-the-future-will-be-like", true, "01"},
		"a later version's flags":    {"cc-" + trace + "-" + span + "-ff", true, "01"},
		"version ff":                 {"ff-" + trace + "-" + span + "-01", false, ""},
		"version 00 with more":       {"00-" + trace + "-" + span + "-01-more", false, ""},
		"a later version runs on":    {"cc-" + trace + "-" + span + "-01.more", false, ""},
		"trace of zeros":             {"00-" + strings.Repeat("0", 32) + "-" + span + "-01", false, ""},
		"parent of zeros":            {"00-" + trace + "-" + strings.Repeat("0", 16) + "-01", false, ""},
		"upper case":                 {"00-" + strings.ToUpper(trace) + "-" + span + "-01", false, ""},
		"too short":                  {"00-" + trace[1:] + "-" + span + "-01", false, ""},
		"not hexadecimal":            {"00-" + trace[:31] + "g-" + span + "-01", false, ""},
		"underscores":                {strings.ReplaceAll("00-"+trace+"-"+span+"-01", "-", "_"), false, ""},
		"nothing":                    {"", false, ""},
		"a line end in what follows": {"00-" + trace + "-" + span + "-01\r\nX: y", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, parent, state := accepted(t, "traceparent", c.parent, "tracestate", "vendor=1")
			if (id == uuid) != c.ok || (state == "vendor=1") != c.ok {
				t.Errorf("id %s, state %q", id, state)
			}
			if !correlation.IsUUID(id) || !strings.HasPrefix(parent, "00-"+strings.ReplaceAll(id, "-", "")+"-") {
				t.Errorf("id %s, parent %s", id, parent)
			}
			if c.ok && (!strings.HasSuffix(parent, "-"+c.flags) || strings.Contains(parent, span)) {
				t.Errorf("parent %s: want flags %s and a span of our own", parent, c.flags)
			}
		})
	}
}

func TestAcceptTakesACorrelationIDForATrace(t *testing.T) {
	id, parent, state := accepted(t, "X-Correlation-Id", strings.ToUpper(uuid), "tracestate", "vendor=1")
	if id != uuid || !strings.HasPrefix(parent, "00-"+trace+"-") || !strings.HasSuffix(parent, "-01") || state != "" {
		t.Errorf("%s, %s, %q", id, parent, state)
	}
	if id, _, _ := accepted(t, "X-Correlation-Id", "00000000-0000-0000-0000-000000000000"); strings.Trim(id, "0-") == "" {
		t.Error("an id of zeros is no trace")
	}
}

func TestTraceStateIsHandedOnOrDroppedWhole(t *testing.T) {
	parent := "00-" + trace + "-" + span + "-01"
	long := "a=" + strings.Repeat("x", 511)
	for state, ok := range map[string]bool{
		"congo=t61rcWkgMzE":                    true,
		"rojo=00f067aa0ba902b7,congo=t61rcWkg": true,
		"tenant@system=1, a*b/c-d_e=2":         true,
		"a=1,,b=2":                             true,
		"no value":                             false,
		"=1":                                   false,
		"a=1\x00":                              false,
		"Upper=1":                              false,
		"a=ü":                                  false,
		long:                                   false,
		strings.Repeat("a=1,", 32) + "a=1":     false,
	} {
		want := ""
		if ok {
			want = state
		}
		if _, _, got := accepted(t, "traceparent", parent, "tracestate", state); got != want {
			t.Errorf("%q became %q", state, got)
		}
	}
	if _, _, got := accepted(t, "traceparent", parent, "tracestate", "a=1", "tracestate", "b=2"); got != "a=1,b=2" {
		t.Errorf("two lines became %q", got)
	}
}

func TestResumeGoesOnWithTheTraceOfItsOwnIDOnly(t *testing.T) {
	parent := "00-" + trace + "-" + span + "-00"
	ctx := correlation.Resume(t.Context(), uuid, parent, "a=1")
	if got, state := correlation.Trace(ctx); !strings.HasPrefix(got, "00-"+trace) || !strings.HasSuffix(got, "-00") || state != "a=1" {
		t.Errorf("%s, %q", got, state)
	}
	if got, state := correlation.Trace(correlation.With(ctx, uuid)); !strings.HasSuffix(got, "-00") || state != "a=1" {
		t.Errorf("the same id again: %s, %q", got, state)
	}
	other := correlation.New()
	ctx = correlation.Resume(ctx, other, parent, "a=1")
	if got, state := correlation.Trace(ctx); correlation.ID(ctx) != other || strings.Contains(got, trace) || state != "" {
		t.Errorf("another id: %s, %q", got, state)
	}
	if got, state := correlation.Trace(correlation.Resume(ctx, "c-1", "", "")); got != "" || state != "" {
		t.Errorf("an id that can be no trace: %s, %q", got, state)
	}
}

// Whatever a sender puts into its headers, what is handed on is a valid trace context of
// the accepted id, and accepting it again changes nothing but the span.
func FuzzAccept(f *testing.F) {
	f.Add("00-"+trace+"-"+span+"-01", "congo=t61rcWkgMzE", uuid)
	f.Add("cc-"+trace+"-"+span+"-ff-x", "a=1,b=2", "")
	f.Add("00-"+strings.Repeat("0", 32)+"-"+span+"-01", "", "x")
	f.Fuzz(func(t *testing.T, parent, state, id string) {
		h := http.Header{"Traceparent": {parent}, "Tracestate": {state}, "X-Correlation-Id": {id}}
		ctx := correlation.Accept(t.Context(), h)
		out := http.Header{}
		correlation.Stamp(ctx, out)
		if len(out.Get("traceparent")) != 55 || strings.ContainsFunc(out.Get("tracestate"), func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
			t.Fatalf("stamped %q", out)
		}
		again := correlation.Accept(t.Context(), out)
		first, firstState := correlation.Trace(ctx)
		second, secondState := correlation.Trace(again)
		if correlation.ID(again) != correlation.ID(ctx) || first[52:] != second[52:] || firstState != secondState {
			t.Fatalf("%s %q became %s %q", first, firstState, second, secondState)
		}
	})
}
