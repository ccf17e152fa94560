package ingest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"mfaflow/pkg/event"
)

// keys make the idempotency keys of one delivery.
//
// The sender's signed id of the delivery comes first: it is the one that its retries
// keep. Then what CloudEvents calls the identity of an event, then an id in the payload. A
// sender without any is identified by the bytes: such payloads are "go and look"
// notices, so that two with the same bytes may count as one.
type keys struct {
	origin string
	// id is the sender's id of the delivery; empty when CloudEvents identify themselves.
	id string
}

func keysOf(src *source, deliveryID string, payload any, body []byte) keys {
	k := keys{origin: src.Name, id: deliveryID}
	if k.id != "" || src.Format == CloudEvents {
		return k
	}
	if src.verifier != nil {
		k.id = textAt(payload, src.verifier.IDPointer())
	}
	if k.id == "" {
		sum := sha256.Sum256(body)
		k.id = hex.EncodeToString(sum[:])
	}
	return k
}

// delivery is the key of the delivery as a whole.
func (k keys) delivery() string { return event.NewKey(k.origin, k.id) }

// of is the key of the i-th of n events.
func (k keys) of(i, n int, source, id string) string {
	switch {
	case k.id == "":
		return event.NewKey(k.origin, source+" "+id)
	case n == 1:
		return k.delivery()
	default:
		return k.delivery() + "#" + strconv.Itoa(i)
	}
}

// textAt is the string or number at a JSON pointer (RFC 6901), or empty.
func textAt(v any, pointer string) string {
	if pointer == "" {
		return ""
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch at := v.(type) {
		case map[string]any:
			v = at[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) {
				return ""
			}
			v = at[i]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case string:
		return v
	case fmt.Stringer: // json.Number
		return v.String()
	default:
		return ""
	}
}

// sessionID is the sender's key for the person, so that the broker keeps one
// person's events of one source in order. It is at most 81 characters.
func sessionID(e event.Event) string {
	who := e.Subject
	if who == "" {
		if p, err := e.Person(); err == nil {
			for _, id := range []string{p.EmployeeID, p.ObjectID, p.UserPrincipalName, p.Mail} {
				if who = id; who != "" {
					break
				}
			}
		}
	}
	if who == "" {
		return e.Key
	}
	return event.NewKey(e.Origin, strings.ToLower(who))
}

// correlationID follows the delivery to Graph, whose client-request-id is a UUID:
// the sender's trace id (w3.org/TR/trace-context) in that form, or its own UUID, or
// a new one.
func correlationID(h http.Header) string {
	if trace, ok := traceID(h.Get("Traceparent")); ok {
		return uuidForm(trace)
	}
	if id := strings.ToLower(h.Get("X-Correlation-Id")); isUUID(id) {
		return id
	}
	return newUUID()
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

// isUUID takes lower case only.
func isUUID(s string) bool { return hexGroups(s, 8, 4, 4, 4, 12) }

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

// newUUID is a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuidForm(hex.EncodeToString(b[:]))
}
