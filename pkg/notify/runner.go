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

// abandonTimeout bounds giving back a message that came too late.
const abandonTimeout = time.Second

// Run works until ctx ends, or until the queue was idle for IdleExit when ctx has a
// deadline, and returns how many messages it settled. Every receiver is closed when
// it returns. The end of ctx is no error.
func (r *Runner) Run(ctx context.Context) int {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(r.Grace, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	defer stop()

	var settled atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { settled.Add(int64(r.loop(ctx, work))) })
	}
	wg.Wait()
	return int(settled.Load())
}

// loop handles one message after the other, each receiver for as long as it works.
func (r *Runner) loop(ctx, work context.Context) (settled int) {
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
			if wait = min(wait, r.IdleExit-time.Since(idleSince)); wait <= 0 {
				return settled
			}
		}
		var err error
		if receiver == nil {
			if receiver, err = r.Open(); err != nil {
				failures++
				r.Log.ErrorContext(ctx, "no receiver from the broker", "queue", r.Notifier.Queue, telemetry.Error(err))
				continue
			}
		}
		m, err := receiver.Receive(ctx, wait)
		switch {
		case errors.Is(err, queue.ErrEmpty), errors.Is(err, queue.ErrLockLost):
			failures = 0
			continue
		case ctx.Err() != nil && err != nil:
			return settled
		case err != nil:
			failures++
			r.Log.ErrorContext(ctx, "nothing from the broker", "queue", r.Notifier.Queue, telemetry.Error(err))
			continue
		case ctx.Err() != nil:
			r.giveBack(work, receiver, m)
			return settled
		}
		if err := r.Notifier.Handle(work, receiver, m); err != nil {
			if work.Err() == nil {
				failures++
				r.Log.ErrorContext(ctx, "flag failed", "queue", r.Notifier.Queue, "message_id", m.ID,
					"delivery_count", m.DeliveryCount, telemetry.Error(err))
			}
			continue
		}
		settled++
		failures = 0
		idleSince = time.Now()
	}
	return settled
}

// giveBack is for a message that came when the run had ended: it need not wait for
// the end of its lock.
func (r *Runner) giveBack(ctx context.Context, receiver Receiver, m queue.Received) {
	ctx, cancel := context.WithTimeout(ctx, abandonTimeout)
	defer cancel()
	_ = receiver.Abandon(ctx, m) // otherwise it comes back when its lock ends
}
