package clock

import (
	"context"
	"sync"
	"time"
)

// Manual is a clock that stands still until a test moves it. Functions given to
// AfterFunc run inside Advance or Set, on the caller's goroutine, in order of their
// time, so everything due has happened when Advance returns.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	pending []*manualTimer
	changed chan struct{} // closed and replaced whenever pending changes
}

// NewManual is a manual clock that shows t0.
func NewManual(t0 time.Time) *Manual {
	return &Manual{now: t0, changed: make(chan struct{})}
}

// Now is the time last set.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock forward by d, firing what falls due on the way.
func (m *Manual) Advance(d time.Duration) {
	m.Set(m.Now().Add(d))
}

// Set moves the clock to t, firing what falls due on the way. A t in the past is ignored.
func (m *Manual) Set(t time.Time) {
	for {
		m.mu.Lock()
		next := m.earliestLocked(t)
		if next == nil {
			if t.After(m.now) {
				m.now = t
			}
			m.mu.Unlock()
			return
		}
		m.removeLocked(next)
		if next.at.After(m.now) {
			m.now = next.at
		}
		now := m.now
		m.mu.Unlock()
		if next.call != nil {
			next.call()
			continue
		}
		select {
		case next.ch <- now:
		default: // the previous tick was never read; a timer holds one
		}
	}
}

// Pending is the number of timers waiting to fire.
func (m *Manual) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// AwaitPending returns once at least n timers wait, so that a test knows the code
// under test has reached its wait before it advances the clock.
func (m *Manual) AwaitPending(ctx context.Context, n int) error {
	for {
		m.mu.Lock()
		have, changed := len(m.pending), m.changed
		m.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// NewTimer starts a timer with a channel.
func (m *Manual) NewTimer(d time.Duration) Timer {
	return m.start(&manualTimer{clock: m, ch: make(chan time.Time, 1)}, d)
}

// AfterFunc calls f when the clock has been moved by d.
func (m *Manual) AfterFunc(d time.Duration, f func()) Timer {
	return m.start(&manualTimer{clock: m, call: f}, d)
}

func (m *Manual) start(t *manualTimer, d time.Duration) Timer {
	t.Reset(d)
	return t
}

// earliestLocked is the first timer due at or before t; timers of one instant fire
// in the order they were started.
func (m *Manual) earliestLocked(t time.Time) *manualTimer {
	var first *manualTimer
	for _, p := range m.pending {
		if !p.at.After(t) && (first == nil || p.at.Before(first.at)) {
			first = p
		}
	}
	return first
}

func (m *Manual) removeLocked(t *manualTimer) bool {
	for i, p := range m.pending {
		if p == t {
			m.pending = append(m.pending[:i], m.pending[i+1:]...)
			m.announceLocked()
			return true
		}
	}
	return false
}

func (m *Manual) announceLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

type manualTimer struct {
	clock *Manual
	at    time.Time
	call  func()
	ch    chan time.Time
}

func (t *manualTimer) C() <-chan time.Time { return t.ch }

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.clock.removeLocked(t)
}

// Reset with a duration of zero or less still waits for the next Advance or Set: only
// moving the clock fires timers, so a lock held by the caller is never re-entered.
func (t *manualTimer) Reset(d time.Duration) bool {
	m := t.clock
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.removeLocked(t)
	t.at = m.now.Add(max(d, 0))
	m.pending = append(m.pending, t)
	m.announceLocked()
	return was
}
