package correlation

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

// FromHeader is the id that follows a delivery to Graph, whose client-request-id is a
// UUID: the sender's trace id (w3.org/TR/trace-context) in that form, or its own UUID,
// or a new one.
func FromHeader(h http.Header) string {
	if trace, ok := traceID(h.Get("Traceparent")); ok {
		return uuidForm(trace)
	}
	if id := strings.ToLower(h.Get("X-Correlation-Id")); IsUUID(id) {
		return id
	}
	return New()
}

// traceID reads a traceparent of any version: later ones only add to the first.
func traceID(parent string) (string, bool) {
	const first = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(parent) < first || !hexGroups(parent[:first], 2, 32, 16, 2) {
		return "", false
	}
	id := parent[3:35]
	return id, strings.Trim(id, "0") != ""
}

// IsUUID takes lower case only.
func IsUUID(s string) bool { return hexGroups(s, 8, 4, 4, 4, 12) }

// hexGroups reports whether s is groups of so many lower-case hexadecimal digits,
// with hyphens between them.
func hexGroups(s string, lengths ...int) bool {
	for i, length := range lengths {
		group, rest, more := strings.Cut(s, "-")
		if len(group) != length || strings.Trim(group, "0123456789abcdef") != "" || more != (i < len(lengths)-1) {
			return false
		}
		s = rest
	}
	return true
}

func uuidForm(hex32 string) string {
	return hex32[:8] + "-" + hex32[8:12] + "-" + hex32[12:16] + "-" + hex32[16:20] + "-" + hex32[20:]
}

// New is a random UUID (RFC 9562 section 5.4).
func New() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuidForm(hex.EncodeToString(b[:]))
}
