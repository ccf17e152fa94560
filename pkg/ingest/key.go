package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
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

// ownKeys are the keys that the outputs of one mapping name themselves, with the types
// that each has been taken for. A batch that a sender puts together anew on a retry has
// another id, and so has each element another place in it; its own id stays.
type ownKeys map[string][]any

// take makes the key of an output from its "key". Two events of different types that
// come from one element get different keys.
func (o ownKeys) take(origin string, output any) (key string, named bool) {
	partial, _ := output.(map[string]any)
	id, _ := partial["key"].(string)
	if id == "" {
		return "", false
	}
	key = event.NewKey(origin, id)
	place := slices.Index(o[id], partial["type"])
	if place < 0 {
		place = len(o[id])
		o[id] = append(o[id], partial["type"])
	}
	if place > 0 {
		key += "#" + strconv.Itoa(place)
	}
	return key, true
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
