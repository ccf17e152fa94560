package lane

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// Runner works on the lanes of a queue, several at once.
type Runner struct {
	Engine *Engine
	// Accept takes the next free lane, waiting up to wait; queue.ErrEmpty when
	// there is none.
	Accept func(ctx context.Context, wait time.Duration) (Session, error)
	// Lanes is how many lanes are worked on at once.
	Lanes int
	// IdleExit ends a run that has a deadline once there was nothing to do for so
	// long. A run without a deadline goes on.
	IdleExit time.Duration
	// Grace is how long an event in progress may go on after the run's context
	// ended, and how long the settling of its message then may take.
	Grace time.Duration
	Log   *slog.Logger
}

// acceptWait is how long one accept waits for a lane; nothing is lost when it is
// repeated.
const acceptWait = 30 * time.Second

// Waits after the broker failed, growing with each failure in a row.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Run works until ctx ends, or until the queue was idle for IdleExit when ctx has
// a deadline. Every session is closed when it returns; the number is of events
// settled. The end of ctx is no error; that the broker gave out nothing at all but
// failures is.
func (r *Runner) Run(ctx context.Context) (int, error) {
	// What is in progress when ctx ends still has the grace time.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(r.Grace, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer stop()

	var settled, answers atomic.Int64
	var last atomic.Pointer[error]
	var wg sync.WaitGroup
	for range r.Lanes {
		wg.Go(func() { settled.Add(int64(r.loop(ctx, work, &answers, &last))) })
	}
	wg.Wait()
	if err := last.Load(); err != nil && answers.Load() == 0 {
		return 0, *err
	}
	return int(settled.Load()), nil
}

// loop works on one lane after the other. It counts the broker's answers and keeps
// the last failure to get one.
func (r *Runner) loop(ctx, work context.Context, answers *atomic.Int64, last *atomic.Pointer[error]) (settled int) {
	_, bounded := ctx.Deadline()
	idleSince := time.Now()
	failures := 0
	for ctx.Err() == nil {
		wait := acceptWait
		if bounded && r.IdleExit > 0 {
			if wait = min(wait, r.IdleExit-time.Since(idleSince)); wait <= 0 {
				return settled
			}
		}
		session, err := r.Accept(ctx, wait)
		switch {
		case ctx.Err() != nil:
			if session != nil {
				session.Close()
			}
			return settled
		case errors.Is(err, queue.ErrEmpty):
			answers.Add(1)
			failures = 0
			continue
		case err != nil:
			failures++
			last.Store(&err)
			r.Log.ErrorContext(ctx, "no lane from the broker", "queue", r.Engine.Queue, telemetry.Error(err))
			pause(ctx, failures)
			continue
		}
		answers.Add(1)
		n, err := r.Engine.Visit(work, session, func() bool { return ctx.Err() == nil })
		settled += n
		idleSince = time.Now()
		if err != nil && work.Err() == nil {
			failures++
			r.Log.ErrorContext(ctx, "lane failed", "queue", r.Engine.Queue, telemetry.KeyLane, session.ID(), telemetry.Error(err))
			pause(ctx, failures)
			continue
		}
		failures = 0
	}
	return settled
}

// pause waits longer after each failure in a row, with jitter so that many loops
// do not come back at once.
func pause(ctx context.Context, failures int) {
	d := min(firstPause<<min(failures-1, 10), lastPause)
	d = d/2 + rand.N(d/2)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
