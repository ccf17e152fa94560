// Package doctor examines a deployment: whether its settings agree, whether its apps have
// what they need and nothing else, whether queues, subscriptions and policies of the
// tenant are as the functions rely on, and whether anything lies there for an operator.
//
// It changes nothing, consumes nothing and prints no secret. Everything it looks at is
// behind a port that somebody else implements; it knows no environment, no SDK and no
// broker client.
//
// # A verdict is about one thing
//
// What cannot be looked at is skipped with the reason, never ok. A fault is the business
// of one check: where an app gets no token, all that it would have read is skipped, and
// the check that is about tokens fails.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is what came of a check. The zero value is invalid.
type Status string

// The statuses.
const (
	OK Status = "ok"
	// Warn: it works, and somebody should look.
	Warn Status = "warn"
	// Fail: something does not work, or will not.
	Fail Status = "fail"
	// Skipped: it could not be looked at; Detail says why.
	Skipped Status = "skipped"
)

// Result is what came of one check.
type Result struct {
	// Check is the id, from the closed list of Checks.
	Check  string `json:"check"`
	Title  string `json:"title"`
	Status Status `json:"status"`
	// Detail names what is wrong and where; of what is in order, how much was looked at.
	Detail string `json:"detail,omitempty"`
	// Fix is what to do about a warning or failure.
	Fix string `json:"fix,omitempty"`
}

// Check is one entry of the closed list.
type Check struct {
	ID    string
	Title string
	// Fix is what to do when it warns or fails.
	Fix string
	run func(*exam, *finding)
}

// Checks are all checks, in the order in which they are reported.
func Checks() []Check {
	return slices.Concat(settingsChecks(), appChecks(), queueChecks(), tenantChecks(), reachChecks(), stateChecks())
}

// Examine runs all checks side by side and returns their results in the order of the
// list. What takes longer than ctx allows is skipped.
func Examine(ctx context.Context, d Deployment) []Result {
	e := &exam{ctx: ctx, Deployment: d}

	checks := Checks()
	results := make([]Result, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			f := &finding{}
			c.run(e, f)
			results[i] = f.result(c)
		})
	}
	all.Wait()
	return results
}

// finding collects what a check sees.
type finding struct{ fails, warns, skips, notes []string }

func (f *finding) fail(format string, args ...any) {
	f.fails = append(f.fails, fmt.Sprintf(format, args...))
}
func (f *finding) warn(format string, args ...any) {
	f.warns = append(f.warns, fmt.Sprintf(format, args...))
}
func (f *finding) skip(format string, args ...any) {
	f.skips = append(f.skips, fmt.Sprintf(format, args...))
}
func (f *finding) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// result sums up: the worst that was seen, and beside it what was not looked at.
func (f *finding) result(c Check) Result {
	r := Result{Check: c.ID, Title: c.Title, Fix: c.Fix}
	var said []string
	switch {
	case len(f.fails) > 0:
		r.Status, said = Fail, slices.Concat(f.fails, f.warns)
	case len(f.warns) > 0:
		r.Status, said = Warn, f.warns
	case len(f.notes) > 0:
		r.Status, r.Fix, said = OK, "", f.notes
	default:
		r.Status, r.Fix = Skipped, ""
	}
	skips := slices.Compact(slices.Sorted(slices.Values(f.skips)))
	if len(skips) > 0 && r.Status != Skipped {
		skips[0] = "not looked at: " + skips[0]
	}
	r.Detail = strings.Join(append(said, skips...), "; ")
	return r
}

// exam is one run. What several checks need is read once.
type exam struct {
	ctx context.Context // every read of a run is bounded by the same
	Deployment

	roles  memo[[]string]
	queues memo[Queue]
	desk   memo[Overview]
	who    memo[string]
}

// memo reads each thing once, whoever asks first.
type memo[T any] struct {
	mu   sync.Mutex
	read map[string]func() (T, error)
}

func (m *memo[T]) get(key string, read func() (T, error)) (T, error) {
	m.mu.Lock()
	if m.read == nil {
		m.read = map[string]func() (T, error){}
	}
	once := m.read[key]
	if once == nil {
		once = sync.OnceValues(read)
		m.read[key] = once
	}
	m.mu.Unlock()
	return once()
}

// function is the one with this name; nil when it is not part of the deployment, or when
// its settings are not to be had.
func (e *exam) function(name string) *Function {
	for i, f := range e.Functions {
		if f.Name == name && f.Readable() {
			return &e.Functions[i]
		}
	}
	return nil
}

// readable are the functions whose settings can be looked at.
func (e *exam) readable() []*Function {
	var list []*Function
	for i := range e.Functions {
		if e.Functions[i].Readable() {
			list = append(list, &e.Functions[i])
		}
	}
	return list
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// age is how long ago a time is, coarsely.
func age(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	default:
		return fmt.Sprintf("%d s", max(0, int(d/time.Second)))
	}
}

// span is a duration without its zero parts: 8h, 30m.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
