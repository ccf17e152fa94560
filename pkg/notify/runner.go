package notify

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

// Runner drains the flags queue.
type Runner struct {
	Notifier *Notifier
	// Open opens a receiver on the flags queue.
	Open func() (Receiver, error)
	// IdleExit ends a run that has a deadline once there was nothing to do for so
	// long. A run without a deadline goes on.
	IdleExit time.Duration
	// Grace is how long what is in progress may go on after the run's context ended.
	Grace time.Duration
	Log   *slog.Logger
}

// workers is how many flags are told at once. Channels are slow and flags are few.
const workers = 4

// receiveWait is how long one receive waits; nothing is lost when it is repeated.
const receiveWait = 30 * time.Second

// leastReceive is how long a receive after a failure waits at least: it connects first, and
// one that has no time for that looks like an empty queue.
const leastReceive = time.Second

// abandonTimeout bounds giving back a message that came too late.
const abandonTimeout = time.Second

// Run works until ctx ends, or until the queue was idle for IdleExit when ctx has a
// deadline, and returns how many messages it settled. Every receiver is closed when
// it returns. The end of ctx is no error; a run that settled nothing, because the broker
// gave out nothing but failures or because every message failed, is one.
func (r *Runner) Run(ctx context.Context) (int, error) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(r.Grace, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer stop()

	x := &shift{Runner: r}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { x.loop(ctx, work) })
	}
	wg.Wait()
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
type shift struct {
	*Runner
	// settled counts messages; answers and last are the broker's answers and its last
	// failure to give one; failed is the last failure to handle a message.
	settled, answers atomic.Int64
	last, failed     atomic.Pointer[error]
}

// loop handles one message after the other, each receiver for as long as it works.
func (r *shift) loop(ctx, work context.Context) {
	var receiver Receiver
	release := func() {
		if receiver != nil {
			receiver.Close()
			receiver = nil
		}
	}
	defer func() { release() }()
	_, bounded := ctx.Deadline()
	idleSince := time.Now()
	failures := 0
	for ctx.Err() == nil {
		if failures > 0 {
			release()
			_ = pause.AfterFailure(ctx, failures) // the loop asks ctx itself
		}
		wait := receiveWait
		if bounded && r.IdleExit > 0 {
			wait = min(wait, r.IdleExit-time.Since(idleSince))
			if wait <= 0 || failures > 0 && wait < leastReceive {
				return
			}
		}
		var err error
		if receiver == nil {
			if receiver, err = r.Open(); err != nil {
				failures++
				r.last.Store(&err)
				r.Log.ErrorContext(ctx, "no receiver from the broker", "queue", r.Notifier.Queue, telemetry.Error(err))
				continue
			}
		}
		m, err := receiver.Receive(ctx, wait)
		switch {
		case errors.Is(err, queue.ErrEmpty), errors.Is(err, queue.ErrLockLost):
			r.answers.Add(1)
			failures = 0
			continue
		case ctx.Err() != nil && err != nil:
			return
		case err != nil:
			failures++
			r.last.Store(&err)
			r.Log.ErrorContext(ctx, "nothing from the broker", "queue", r.Notifier.Queue, telemetry.Error(err))
			continue
		case ctx.Err() != nil:
			r.giveBack(work, receiver, m)
			return
		}
		r.answers.Add(1)
		if err := r.Notifier.Handle(work, receiver, m); err != nil {
			if work.Err() == nil {
				failures++
				if !errors.Is(err, queue.ErrLockLost) { // that is somebody else's turn
					r.failed.Store(&err)
				}
				r.Log.ErrorContext(ctx, "flag failed", "queue", r.Notifier.Queue, "message_id", m.ID,
					"delivery_count", m.DeliveryCount, telemetry.Error(err))
			}
			continue
		}
		r.settled.Add(1)
		failures = 0
		idleSince = time.Now()
	}
}

// giveBack is for a message that came when the run had ended: it need not wait for
// the end of its lock.
func (r *Runner) giveBack(ctx context.Context, receiver Receiver, m queue.Received) {
	ctx, cancel := context.WithTimeout(ctx, abandonTimeout)
	defer cancel()
	_ = receiver.Abandon(ctx, m) // otherwise it comes back when its lock ends
}
