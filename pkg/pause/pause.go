// Package pause waits by the machine's clock without outliving what it waits for. It
// knows nothing of what is waited for; who has a clock of their own (simulators, tests,
// budgets) does not come here.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For returns nil after d, or the error of ctx if that ends first.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Waits after a failure, growing with each in a row.
const (
	first = 200 * time.Millisecond
	last  = 10 * time.Second
)

// AfterFailure waits longer after each failure in a row, of which this is the n-th (from
// 1), with jitter so that many loops do not come back at once: between 0.1 and 10 s. It
// returns the error of ctx if that ends first.
func AfterFailure(ctx context.Context, n int) error {
	return For(ctx, Jitter(min(first<<min(n-1, 10), last)))
}

// Jitter is between half of most and most. Most must be at least 2 ns.
func Jitter(most time.Duration) time.Duration { return most/2 + rand.N(most/2) }
