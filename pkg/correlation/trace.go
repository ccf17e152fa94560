package correlation

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The headers of W3C Trace Context (w3.org/TR/trace-context).
const (
	TraceParent = "traceparent"
	TraceState  = "tracestate"
)

// The correlation id is the trace id: a UUID is its 16 bytes in another form. So what is
// kept beside the id is only what else a trace context says.
type trace struct {
	flags string // two hexadecimal digits
	state string // of other vendors, handed on as it came
}

// recorded are the flags of a trace that begins here: whoever handles it logs it.
const recorded = "01"

// maxState is what must be handed on of a tracestate (section 3.3.1.5); a longer one is
// dropped whole.
const maxState = 512

// Accept returns a context that goes on with the trace of a request, or with the UUID in
// its X-Correlation-Id, or begins one.
func Accept(ctx context.Context, h http.Header) context.Context {
	if id, t, ok := parse(h.Get(TraceParent), strings.Join(h.Values(TraceState), ",")); ok {
		return with(ctx, id, t)
	}
	if id := strings.ToLower(h.Get("X-Correlation-Id")); IsUUID(id) && !zero(id) {
		return With(ctx, id)
	}
	return With(ctx, New())
}

// Resume returns a context that goes on with the trace of a message: with its correlation
// id, and with what parent and state say of the same trace.
func Resume(ctx context.Context, id, parent, state string) context.Context {
	if of, t, ok := parse(parent, state); ok && of == id {
		return with(ctx, id, t)
	}
	return With(ctx, id)
}

// Trace is what a request or message hands on: the trace of ctx, with a parent of its own
// for each call, as we write no spans. Both are empty when the correlation id of ctx is
// none that can be a trace.
func Trace(ctx context.Context) (parent, state string) {
	id := TraceID(ctx)
	if id == "" {
		return "", ""
	}
	t := carried(ctx).trace
	var span [8]byte
	for span == [8]byte{} { // which would be invalid
		_, _ = rand.Read(span[:]) // never fails since Go 1.24
	}
	return "00-" + id + "-" + hex.EncodeToString(span[:]) + "-" + t.flags, t.state
}

// TraceID is the correlation id of ctx as the trace id that it is; empty when it is none.
func TraceID(ctx context.Context) string {
	id := ID(ctx)
	if !IsUUID(id) || zero(id) {
		return ""
	}
	return strings.ReplaceAll(id, "-", "")
}

// Stamp puts the trace of ctx into the headers of a request.
func Stamp(ctx context.Context, h http.Header) {
	parent, state := Trace(ctx)
	if parent != "" {
		h.Set(TraceParent, parent)
	}
	if state != "" {
		h.Set(TraceState, state)
	}
}

// parse reads a traceparent of any version, of which later ones only add to the first,
// and the tracestate beside it, which counts for nothing when it is malformed.
func parse(parent, state string) (id string, t trace, ok bool) {
	const first = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(parent) < first || !hexGroups(parent[:first], 2, 32, 16, 2) {
		return "", trace{}, false
	}
	version, rest := parent[:2], parent[first:]
	if version == "ff" || version == "00" && rest != "" || rest != "" && rest[0] != '-' || zero(parent[3:35]) || zero(parent[36:52]) {
		return "", trace{}, false
	}
	t.flags = parent[53:55]
	if version != "00" {
		// Only the first bit has a meaning that we know (section 4).
		bits, _ := strconv.ParseUint(t.flags, 16, 8) // two digits, as was checked
		t.flags = fmt.Sprintf("%02x", bits&1)
	}
	if isState(state) {
		t.state = state
	}
	return uuidForm(parent[3:35]), t, true
}

// isState checks the form of a tracestate as far as it can do harm: a list of up to 32
// members in printable ASCII.
func isState(s string) bool {
	if s == "" || len(s) > maxState {
		return false
	}
	members := strings.Split(s, ",")
	for _, m := range members {
		m = strings.Trim(m, " \t")
		key, value, ok := strings.Cut(m, "=")
		if m != "" && (!ok || key == "" || value == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_-*/@") != "") {
			return false
		}
		for i := range len(value) {
			if value[i] < ' ' || value[i] > '~' || value[i] == '=' {
				return false
			}
		}
	}
	return len(members) <= 32
}

func zero(id string) bool { return strings.Trim(id, "0-") == "" }
