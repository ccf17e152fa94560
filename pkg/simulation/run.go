package simulation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Result is what came of one run.
type Result struct {
	Seed    uint64
	History []Action
	// Broken are the invariants that do not hold; none is what is wanted.
	Broken []string
	// Log is everything that was logged, with the audit trail.
	Log string
	// Faults is how many faults struck.
	Faults int
}

// Run plays the history of a seed, or the given one in the same town.
func Run(ctx context.Context, seed uint64, history []Action, m Mutation) (Result, error) {
	if history == nil {
		history = History(seed)
	}
	w, err := newWorld(ctx, seed, m)
	if err != nil {
		return Result{}, fmt.Errorf("seed %d: %w", seed, err)
	}
	w.rest()
	late := false // the action before said that what follows comes at once with the next
	for i := 0; i < len(history) && len(w.broken) == 0; i++ {
		a := history[i]
		w.act(a)
		if late = a.Verb == Postpone || late && a.Verb != Send; late || a.Verb == Sleep {
			continue
		}
		w.work()
		w.rest()
		w.live()
	}
	if len(w.broken) == 0 {
		w.settle()
	}
	if len(w.broken) == 0 {
		w.judge()
	}
	r := Result{Seed: seed, History: history, Broken: w.broken, Log: w.log.String()}
	for _, n := range w.strikes {
		r.Faults += n
	}
	return r, w.close()
}

// maxShrink bounds how often a history is played while it is shortened.
const maxShrink = 150

// Shrink leaves out whatever a failing run does not need: it looks for a shorter
// history that breaks the same invariant, in ever smaller pieces.
func Shrink(ctx context.Context, r Result, m Mutation) (Result, error) {
	budget := maxShrink
	for size := (len(r.History) + 1) / 2; size > 0; {
		shorter := false
		for from := 0; from < len(r.History) && budget > 0; {
			to := min(from+size, len(r.History))
			candidate := append(append([]Action{}, r.History[:from]...), r.History[to:]...)
			budget--
			got, err := Run(ctx, r.Seed, candidate, m)
			if err != nil {
				return r, err
			}
			if alike(got.Broken, r.Broken) {
				r, shorter = got, true
				continue // what follows moved up
			}
			from = to
		}
		if budget <= 0 {
			break
		}
		if size == 1 && !shorter {
			break
		}
		if !shorter || size > 1 {
			size = max(size/2, min(size-1, 1))
		}
	}
	return r, nil
}

// alike reports whether two runs break the same invariant, whatever it is about.
func alike(a, b []string) bool {
	return len(a) > 0 && len(b) > 0 && kind(a[0]) == kind(b[0])
}

// kind is a violation without numbers and keys.
func kind(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ':' })
	var b strings.Builder
	for _, word := range words {
		if !strings.ContainsAny(word, "0123456789") {
			b.WriteString(word + " ")
		}
	}
	return b.String()
}

// Report is a failing run for people: what broke, how to play it again, the history.
func (r Result) Report() string {
	return fmt.Sprintf("seed %d breaks:\n  %s\nplay it again with\n  make sim SEEDS=1 FROM=%d\nhistory:\n%s",
		r.Seed, strings.Join(r.Broken, "\n  "), r.Seed, Format(r.History))
}

// Seeds plays seeds from one on, several side by side, until each was played or told
// answers false. It returns how many were played.
func Seeds(ctx context.Context, from, n uint64, side int, m Mutation, told func(Result) bool) (played int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	next := make(chan uint64)
	go func() {
		defer close(next)
		for seed := from; seed < from+n; seed++ {
			select {
			case next <- seed:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range side {
		all.Go(func() {
			for seed := range next {
				r, failure := Run(context.WithoutCancel(ctx), seed, nil, m)
				mu.Lock()
				if ctx.Err() == nil {
					played++
					if err = errors.Join(err, failure); failure != nil || !told(r) {
						stop()
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return played, err
}

// Trace is what happened in the order in which it did, without what differs from run
// to run: ids of requests, durations, the audit trail.
func (r Result) Trace() string {
	var b strings.Builder
	for line := range strings.Lines(r.Log) {
		if !strings.HasPrefix(line, "{") && !strings.Contains(line, "request ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
