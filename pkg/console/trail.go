package console

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/audit"
)

// AuditSearch searches an audit trail.
type AuditSearch interface {
	// Search gives the latest lines first, at most limit of them; more says whether there
	// are others.
	Search(ctx context.Context, q AuditQuery, limit int) (lines []audit.Found, more bool, err error)
}

// AuditQuery picks lines; every field that is set must hold.
type AuditQuery struct {
	// Who is an object id of a person, Key of an event, Actor an operator or "system"; each
	// compared whole, in any case of letters.
	Who, Key, Actor string
	// Text is looked for in everything else that a line says.
	Text         string
	Since, Until time.Time
}

// trailMost is how many lines a Trail keeps.
const trailMost = 50_000

// Trail keeps the latest audit lines of a stack on this machine. The zero value is empty.
type Trail struct {
	mu    sync.Mutex
	lines []audit.Found
	from  int // the oldest, once it is full
}

// Add keeps a line of a log if it is an audit line as it was written.
func (t *Trail) Add(line []byte) {
	// A line whose seal does not hold proves nothing, and is left out.
	_ = audit.Read(bytes.NewReader(line), func(l audit.Found) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.lines) < trailMost {
			t.lines = append(t.lines, l)
		} else {
			t.lines[t.from] = l
			t.from = (t.from + 1) % trailMost
		}
		return nil
	})
}

// Search implements AuditSearch.
func (t *Trail) Search(_ context.Context, q AuditQuery, limit int) (found []audit.Found, more bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		if q.picks(l) {
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b audit.Found) int { return b.Started.Compare(a.Started) })
	if len(found) > limit {
		return found[:limit], true, nil
	}
	return found, false, nil
}

func (q AuditQuery) picks(l audit.Found) bool {
	is := func(want string, has ...string) bool {
		return want == "" || slices.ContainsFunc(has, func(h string) bool { return strings.EqualFold(want, h) })
	}
	all := strings.ToLower(strings.Join([]string{l.Key, l.Type, l.Source, l.Lane, string(l.User), l.Actor, l.Action, l.Decision, l.Reason, l.Outcome}, "\n"))
	return is(q.Who, string(l.User), l.Lane) && is(q.Key, l.Key) && is(q.Actor, l.Actor) && strings.Contains(all, strings.ToLower(q.Text)) &&
		(q.Since.IsZero() || !l.Started.Before(q.Since)) && (q.Until.IsZero() || l.Started.Before(q.Until))
}
