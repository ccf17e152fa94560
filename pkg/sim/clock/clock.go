// Package clock is the time source of the simulators: the machine's clock in a
// running program, a hand-moved one in tests. It imports the standard library only.
package clock

import (
	"context"
	"time"
)

// Clock tells the time and calls back later. Implementations are safe for concurrent use.
type Clock interface {
	// Now is the current time of this clock.
	Now() time.Time
	// NewTimer starts a timer whose channel receives the time once d has passed.
	NewTimer(d time.Duration) Timer
	// AfterFunc calls f once d has passed. The channel of the returned timer is nil.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending call or channel send of a Clock.
type Timer interface {
	// C is the channel of a timer made by NewTimer; nil for AfterFunc.
	C() <-chan time.Time
	// Stop reports whether it prevented the timer from firing.
	Stop() bool
	// Reset starts the timer anew and reports whether it was still pending.
	Reset(d time.Duration) bool
}

// Sleep returns nil once d has passed on c, or the error of ctx if that ends first.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Real is the clock of this machine.
func Real() Clock { return realClock{} }

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

func (realClock) AfterFunc(d time.Duration, f func()) Timer { return realTimer{time.AfterFunc(d, f)} }

type realTimer struct{ t *time.Timer }

func (r realTimer) C() <-chan time.Time { return r.t.C }

func (r realTimer) Stop() bool { return r.t.Stop() }

func (r realTimer) Reset(d time.Duration) bool { return r.t.Reset(d) }
