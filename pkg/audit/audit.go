// Package audit is the trail of what was done to whom and why: one JSON line per
// action, chained so that a removed, edited or reordered line is found.
//
// It imports the standard library and the domain only. No type it takes can carry
// a secret, a pass value or a payload.
//
// # What the chain proves
//
// Each writer numbers its lines and puts the hash of the line before into the
// next. Whoever holds the lines can tell that none is missing between the first
// and the last of a writer. Lines cut off at the end of a chain leave no gap:
// Verify reports where each chain ends, to be compared with what was kept
// elsewhere. The hash is no signature; the log store's own access rules keep an
// intruder from rewriting a whole chain.
package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
)

// Record is one action on behalf of one event.
type Record struct {
	// Key is the event's idempotency key.
	Key    string `json:"key"`
	Type   string `json:"type,omitempty"`
	Source string `json:"source,omitempty"`
	// Correlation is taken from the context when empty.
	Correlation string          `json:"correlationId,omitempty"`
	Lane        string          `json:"lane,omitempty"`
	User        identity.UserID `json:"user,omitempty"`
	// Actor is "system" or the operator who asked.
	Actor    string `json:"actor"`
	Action   string `json:"action"`
	Decision string `json:"decision,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Plan is the digest of the plan that an operator replayed by.
	Plan string `json:"plan,omitempty"`
	// Calls are the requests made to the directory, with the directory's own
	// request ids.
	Calls []correlation.Call `json:"-"`
	// Before and After are the kinds of the methods the account had; nil when they
	// were not read, empty when there were none.
	Before []identity.MethodKind `json:"before,omitzero"`
	After  []identity.MethodKind `json:"after,omitzero"`
	// PolicyBefore and PolicyAfter are what a policy of the tenant said, as far as it was
	// changed.
	PolicyBefore json.RawMessage `json:"policyBefore,omitempty"`
	PolicyAfter  json.RawMessage `json:"policyAfter,omitempty"`
	Outcome      string          `json:"outcome"`
	Started      time.Time       `json:"started"`
	// Duration, like that of the calls, is written in milliseconds.
	Duration time.Duration `json:"-"`
}

// link is a line's place in its writer's chain.
type link struct {
	Writer   string `json:"writer"`
	Sequence int64  `json:"sequence"`
	// Previous is the hash of the writer's line before; empty in the first.
	Previous string `json:"previous"`
}

// line is the signed part of a line; the hash over its bytes follows as last member.
type line struct {
	Link link `json:"audit"`
	Record
	Calls        []call  `json:"calls,omitempty"`
	Milliseconds float64 `json:"durationMs"`
}

type call struct {
	Method       string  `json:"method"`
	Path         string  `json:"path"`
	Status       int     `json:"status"`
	RequestID    string  `json:"requestId,omitempty"`
	Milliseconds float64 `json:"durationMs"`
}

func newLine(l link, r Record) line {
	out := line{Link: l, Record: r, Milliseconds: milliseconds(r.Duration)}
	for _, c := range r.Calls {
		out.Calls = append(out.Calls, call{c.Method, c.Path, c.Status, c.RequestID, milliseconds(c.Duration)})
	}
	return out
}

// record is what newLine was made of.
func (l line) record() Record {
	r := l.Record
	r.Duration = time.Duration(l.Milliseconds * float64(time.Millisecond))
	for _, c := range l.Calls {
		r.Calls = append(r.Calls, correlation.Call{
			Method: c.Method, Path: c.Path, Status: c.Status, RequestID: c.RequestID, Duration: time.Duration(c.Milliseconds * float64(time.Millisecond)),
		})
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Writer appends records to one chain. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	last link
}

// NewWriter starts a chain on w. Its id is the function's name and a random part,
// because many instances of a function share a log.
func NewWriter(w io.Writer, function string) *Writer {
	return &Writer{w: w, last: link{Writer: function + "/" + rand.Text()}}
}

// Write appends the record. After an error the record is not part of the chain and
// may be written again.
func (w *Writer) Write(ctx context.Context, r Record) error {
	if r.Correlation == "" {
		r.Correlation = correlation.ID(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.last
	next.Sequence++
	body, err := json.Marshal(newLine(next, r))
	if err != nil {
		return fmt.Errorf("write audit record: %w", err)
	}
	sealed, hash := seal(body)
	if _, err := w.w.Write(append(sealed, '\n')); err != nil {
		return fmt.Errorf("write audit record: %w", err)
	}
	next.Previous = hash
	w.last = next
	return nil
}

const (
	sealOpen  = `,"hash":"`
	sealClose = `"}`
)

// seal adds the hash of a JSON object as its last member.
func seal(body []byte) (sealed []byte, hash string) {
	sum := sha256.Sum256(body)
	hash = hex.EncodeToString(sum[:])
	sealed = append(sealed, body[:len(body)-1]...)
	return append(sealed, sealOpen+hash+sealClose...), hash
}
