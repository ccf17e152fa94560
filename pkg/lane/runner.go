package lane

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mfaflow/pkg/pause"
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

// Run works until ctx ends, or until the queue was idle for IdleExit when ctx has
// a deadline. Every session is closed when it returns; the number is of events
// settled. The end of ctx is no error; a run that settled nothing, because the broker
// gave out nothing but failures or because the lanes failed, is one.
func (r *Runner) Run(ctx context.Context) (int, error) {
	// What is in progress when ctx ends still has the grace time.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(r.Grace, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer stop()

	x := &shift{Runner: r, ctx: ctx, work: work, lanes: make(chan Session), start: time.Now()}
	var accepting, working sync.WaitGroup
	for range (r.Lanes + 1) / 2 {
		accepting.Go(x.accept)
	}
	for range r.Lanes {
		working.Go(x.visit)
	}
	accepting.Wait()
	close(x.lanes)
	working.Wait()
	settled := int(x.settled.Load())
	if err := x.failed.Load(); err != nil && settled == 0 {
		return 0, *err
	}
	if err := x.last.Load(); err != nil && x.answers.Load() == 0 {
		return 0, *err
	}
	return settled, nil
}

// shift is one run.
//
// # Why lanes are taken by others than those who work on them
//
// To be given a session takes a dozen round trips to the broker (the token of every
// link, then the link). A lane that is taken while the others are worked on costs
// nobody's time. No more than half as many as are worked on are taken ahead, so that
// another process is not kept from what we do not get to.
type shift struct {
	*Runner
	ctx, work context.Context
	lanes     chan Session
	// settled counts events; answers and last are the broker's answers and its last
	// failure to give one; failed is the last failure of a lane.
	settled, answers atomic.Int64
	last, failed     atomic.Pointer[error]
	busy             atomic.Int64 // visits going on
	lastActive       atomic.Int64 // when there was something to do, in nanoseconds since start
	start            time.Time
}

func (x *shift) active() { x.lastActive.Store(int64(time.Since(x.start))) }

// idle is how long there was nothing to do.
func (x *shift) idle() time.Duration {
	if x.busy.Load() > 0 {
		return 0
	}
	return time.Since(x.start) - time.Duration(x.lastActive.Load())
}

// accept takes one lane after the other and hands it over.
func (x *shift) accept() {
	_, bounded := x.ctx.Deadline()
	failures := 0
	for x.ctx.Err() == nil {
		wait := acceptWait
		if bounded && x.IdleExit > 0 {
			if wait = min(wait, x.IdleExit-x.idle()); wait <= 0 {
				return
			}
		}
		session, err := x.Accept(x.ctx, wait)
		switch {
		case x.ctx.Err() != nil:
			if session != nil {
				session.Close()
			}
			return
		case errors.Is(err, queue.ErrEmpty):
			x.answers.Add(1)
			failures = 0
			continue
		case err != nil:
			failures++
			x.last.Store(&err)
			x.Log.ErrorContext(x.ctx, "no lane from the broker", "queue", x.Engine.Queue, telemetry.Error(err))
			_ = pause.AfterFailure(x.ctx, failures) // the loop asks ctx itself
			continue
		}
		x.answers.Add(1)
		x.active()
		failures = 0
		select {
		case x.lanes <- session:
		case <-x.ctx.Done():
			session.Close()
		}
	}
}

// visit works on one lane after the other.
func (x *shift) visit() {
	failures := 0
	for session := range x.lanes {
		if x.ctx.Err() != nil {
			session.Close()
			continue
		}
		x.busy.Add(1)
		n, err := x.Engine.Visit(x.work, session, func() bool { return x.ctx.Err() == nil })
		x.settled.Add(int64(n))
		x.active()
		x.busy.Add(-1)
		if err != nil && x.work.Err() == nil {
			failures++
			if !errors.Is(err, queue.ErrLockLost) { // that is somebody else's turn
				x.failed.Store(&err)
			}
			x.Log.ErrorContext(x.ctx, "lane failed", "queue", x.Engine.Queue, telemetry.KeyLane, session.ID(), telemetry.Error(err))
			_ = pause.AfterFailure(x.ctx, failures) // the loop asks ctx itself
			continue
		}
		failures = 0
	}
}
