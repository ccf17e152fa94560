package stack

import (
	"sync"
	"time"

	"mfaflow/pkg/sim/clock"
)

// shiftedClock is the machine's clock, set forward. Only the simulated tenant
// lives by it, so that a pass for tomorrow can be tried today.
type shiftedClock struct {
	clock.Clock
	mu     sync.Mutex
	offset time.Duration
}

func newShiftedClock() *shiftedClock { return &shiftedClock{Clock: clock.Real()} }

func (c *shiftedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Clock.Now().Add(c.offset)
}

// setTo makes it the given time now. It never goes back.
func (c *shiftedClock) setTo(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = max(c.offset, t.Sub(c.Clock.Now()))
}
