// Package breaker bounds the blast radius: how many people all workers together may
// shut out or reset within a sliding window before a human has to agree.
//
// It knows no broker SDK and no directory. What the workers share is the state of
// one reserved session, behind a port; what a refusal means for an event is its
// caller's business.
//
// # Why a reservation comes before the effect
//
// A destructive effect reserves by its event key before it runs. The reservation is
// one read, one decision and one write under the lock of the session, and the lock
// is gone before the directory is called. A worker that dies in between has
// reserved for nothing; when the event comes again its key is found and not counted
// twice. Counting too much holds an event for an operator, counting too little may
// lock out a company, so every doubt is decided towards counting.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/pause"
	"mfaflow/pkg/queue"
)

// SessionID is the session of the control queue that holds the breaker.
const SessionID = "breaker"

// ErrUnavailable: the shared state could not be read or written in time. Nothing
// may run. The key may have been counted; asking again with it is safe.
//
// It stands for every failure of the session, a lost lock included: to the caller
// queue.ErrLockLost would be the end of its own lane.
var ErrUnavailable = errors.New("breaker unavailable")

// ErrUnreadable: the shared state is none that this program wrote. Nothing may run
// and nothing is written over it.
var ErrUnreadable = errors.New("breaker state unreadable; look at the state of session " + SessionID +
	" of the control queue, and clear it if no other version of mfaflow runs")

// ErrClock: the shared state was written later than our clock shows, by more than
// workers may differ. Nobody can tell whose clock is wrong, so nothing may run.
var ErrClock = errors.New("breaker state is from the future; correct the clock of this worker or of the one that wrote it")

// Session is the shared state under lock. *servicebus.Session implements it.
type Session interface {
	State(context.Context) ([]byte, error)
	SetState(context.Context, []byte) error
	Close()
}

// Options configure a breaker. All fields are required.
type Options struct {
	// Accept takes the session SessionID without waiting for its holder;
	// queue.ErrBusy means that somebody else has it.
	Accept func(context.Context) (Session, error)
	Limits Limits
	Now    func() time.Time
}

// Breaker counts what all workers do. It is safe for concurrent use.
type Breaker struct {
	accept func(context.Context) (Session, error)
	limits Limits
	now    func() time.Time
	// turn lets one goroutine of this process at a time compete for the session.
	turn chan struct{}
}

// New checks the limits and asks nobody.
func New(o Options) (*Breaker, error) {
	if err := o.Limits.check(); err != nil {
		return nil, err
	}
	return &Breaker{accept: o.Accept, limits: o.Limits, now: o.Now, turn: make(chan struct{}, 1)}, nil
}

// Request asks to run one destructive effect.
type Request struct {
	// Key is the idempotency key of the event.
	Key   string
	Class Class
	// People is the number of people that a share is taken of, at least 1 unless
	// the event is released or its class has no percentage.
	People int
	// Released says that an operator decided to run it: no limit stands in its
	// way but Capacity, and it counts.
	Released bool
}

// Decision is the answer to a request. The zero value is a refusal.
type Decision struct {
	Granted bool
	Class   Class
	// Counted is how much of the limit is used up, the request included if granted.
	Counted int
	Limit   int
	Window  time.Duration
	// RoomAt is when a refused request would pass if nothing else is let through
	// until then; zero when granted.
	RoomAt time.Time
}

// String tells an operator what the decision rests on.
func (d Decision) String() string {
	if d.Granted {
		return fmt.Sprintf("granted: %d of %d %s within %s", d.Counted, d.Limit, d.Class.budget(), d.Window)
	}
	return fmt.Sprintf("refused: %d %s within %s, and the limit is %d; there is room for one more at %s",
		d.Counted, d.Class.budget(), d.Window, d.Limit, d.RoomAt.UTC().Format(time.RFC3339))
}

// Reserve decides whether the effect may run and counts it if so. A key that was
// granted within the window is granted again without being counted again. On any
// error the effect must not run.
func (b *Breaker) Reserve(ctx context.Context, r Request) (Decision, error) {
	if err := b.limits.admissible(r); err != nil {
		return Decision{}, err
	}
	var d Decision
	err := b.locked(ctx, func(ctx context.Context, s Session) error {
		w, err := b.read(ctx, s)
		if err != nil {
			return err
		}
		var changed bool
		if d, changed = w.reserve(r, b.limits); !changed {
			return nil
		}
		state, err := w.encode()
		if err != nil {
			return err
		}
		return s.SetState(ctx, state)
	})
	if err != nil {
		return Decision{}, err
	}
	return d, nil
}

// Status is what operators are shown.
type Status struct {
	Limits Limits
	// Counts has every class.
	Counts map[Class]int
	// Ordinary and Immediate are how much of the two limits is used up.
	Ordinary, Immediate int
	// FreesAt is when the next reservations leave the window; zero when there are
	// none.
	FreesAt time.Time
}

// State reads how much is used up. It changes nothing, but takes the lock as
// everybody does.
func (b *Breaker) State(ctx context.Context) (Status, error) {
	st := Status{Limits: b.limits}
	err := b.locked(ctx, func(ctx context.Context, s Session) error {
		w, err := b.read(ctx, s)
		if err != nil {
			return err
		}
		st.Counts = map[Class]int{}
		for _, c := range Classes() {
			st.Counts[c] = w.count(func(other Class) bool { return other == c })
		}
		st.Ordinary, st.Immediate = w.count(Leaver.shares), w.count(ImmediateLeaver.shares)
		if len(w.Buckets) > 0 {
			st.FreesAt = w.Buckets[0].Last.Add(b.limits.retention())
		}
		return nil
	})
	if err != nil {
		return Status{}, err
	}
	return st, nil
}

// read reads the window as it is now by the clocks of all workers.
func (b *Breaker) read(ctx context.Context, s Session) (*window, error) {
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	w, err := decode(state)
	if err != nil {
		return nil, err
	}
	return w, w.advance(b.now(), b.limits.retention())
}

// How long one request may take, and how long it waits between two tries to get
// the session. An event in a lane may wait 20 s.
const (
	patience   = 20 * time.Second
	firstPause = 20 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// locked runs use with the session under lock.
func (b *Breaker) locked(ctx context.Context, use func(context.Context, Session) error) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := b.alone(within, use)
	switch {
	case err == nil, errors.Is(err, ErrUnreadable), errors.Is(err, ErrClock):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("breaker: %w", ctx.Err())
	default:
		return fmt.Errorf("%w: %s", ErrUnavailable, err.Error()) // see ErrUnavailable for why the chain ends
	}
}

func (b *Breaker) alone(ctx context.Context, use func(context.Context, Session) error) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return errors.New("too many wait for it in this process")
	}
	s, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	return use(ctx, s)
}

// open takes the session, trying again while somebody else holds it.
func (b *Breaker) open(ctx context.Context) (Session, error) {
	for most := firstPause; ; most = min(2*most, lastPause) {
		s, err := b.accept(ctx)
		if !errors.Is(err, queue.ErrBusy) {
			return s, err
		}
		// The broker refuses at once and keeps no line of those who wait; the
		// jitter keeps them from coming back together.
		if pause.For(ctx, pause.Jitter(most)) != nil {
			return nil, err
		}
	}
}
