package servicebus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mfaflow/pkg/pause"
	"mfaflow/pkg/queue"
)

// Shelf is a place where messages lie aside until a human comes: the dead letters of
// a queue, which have no sessions even where the queue has, or a queue without
// sessions. Looking takes no lock. It is safe for concurrent use; whoever takes
// messages waits for one another.
//
// # Taking one message out of the middle
//
// A receiver gets what lies there first in, first out, and a lock on a message ends by
// itself only after a minute. Whoever wants the thousandth would hold 999 locks and keep
// everybody else out meanwhile, or count up their deliveries by abandoning them. So
// what lies in front is deferred, a few at a time: it stays where it is, in its
// sub-queue, with its sequence number, body, properties and reasons; it is peeked and
// counted like the others; and from then on it is taken by its number at once, without
// touching any other. The first one taken out of the middle pays for the way there, those
// that follow do not.
//
// That is safe at every moment. A process that dies while it defers has lost nothing: a
// message is active or deferred, and both are looked for. What was locked is free again
// when the lock ends. Deferring counts no delivery. (Message deferral is a state of the
// message in its queue or sub-queue: learn.microsoft.com/azure/service-bus-messaging/message-deferral.)
//
// Other tools show deferred dead letters when they peek, with the state Deferred, but do
// not get them when they receive from the dead-letter queue; they need the sequence
// number. There is no way back to active.
type Shelf struct {
	client *Client
	queue  string
	dead   bool

	mu     sync.Mutex // guards opened
	opened *Receiver
	taking chan struct{} // the turn to take
}

// Shelf looks at the dead letters of a queue, or at a queue without sessions itself. It
// connects at first use.
func (c *Client) Shelf(queueName string, deadLetters bool) *Shelf {
	return &Shelf{client: c, queue: queueName, dead: deadLetters, taking: make(chan struct{}, 1)}
}

// receiver opens the link, anew after a failure.
func (s *Shelf) receiver() (*Receiver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		return s.opened, nil
	}
	var opts azservicebus.ReceiverOptions
	if s.dead {
		opts.SubQueue = azservicebus.SubQueueDeadLetter
	}
	r, err := s.client.receiver(s.queue, &opts)
	if err == nil {
		s.opened = r
	}
	return r, err
}

// failed drops a link that does not answer, so that the next call opens another.
func (s *Shelf) failed(r *Receiver, err error) {
	if !errors.Is(err, queue.ErrUnavailable) {
		return
	}
	s.mu.Lock()
	again := s.opened == r
	if again {
		s.opened = nil
	}
	s.mu.Unlock()
	if again {
		r.Close()
	}
}

// maxPeek is what one look may ask for (peek-message,
// learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response).
const maxPeek = 250

// Peek reads up to n messages in whatever state they are, in the order of their
// sequence numbers and from one on. None means that there are no more; fewer than n
// does not.
func (s *Shelf) Peek(ctx context.Context, from int64, n int) ([]queue.Stored, error) {
	r, err := s.receiver()
	if err != nil {
		return nil, err
	}
	callCtx, cancel := context.WithTimeout(ctx, r.lock)
	defer cancel()
	msgs, err := r.receiver.PeekMessages(callCtx, min(n, maxPeek), &azservicebus.PeekMessagesOptions{FromSequenceNumber: &from})
	if err != nil {
		err = r.failed(ctx, "peek", err)
		s.failed(r, err)
		return nil, err
	}
	list := make([]queue.Stored, len(msgs))
	for i, m := range msgs {
		list[i] = stored(m)
	}
	return list, nil
}

// stored is a message without its lock.
func stored(m *azservicebus.ReceivedMessage) queue.Stored {
	s := queue.Stored{Received: fromSDK(m)}
	s.Token = nil
	switch m.State {
	case azservicebus.MessageStateDeferred:
		s.State = queue.Deferred
	case azservicebus.MessageStateScheduled:
		s.State = queue.Scheduled
	default:
		s.State = queue.Active
	}
	for name, to := range map[string]*string{"DeadLetterReason": &s.DeadReason, "DeadLetterErrorDescription": &s.DeadDetail} {
		*to = s.Properties[name]
		delete(s.Properties, name)
	}
	return s
}

const (
	// sweepAtOnce is how many locks are held while what lies in front is deferred, for
	// about one round trip.
	sweepAtOnce = 32
	// sweepWait is how long the broker may take to give out what it shows.
	sweepWait = time.Second
	// busyPause is between two looks at a message that somebody else holds, and
	// busyPatience how long that may last: another replay is done with it soon, and a
	// dead process's lock ends.
	busyPause    = 50 * time.Millisecond
	busyPatience = 5 * time.Second
)

// Take takes the message with the sequence number under lock. queue.ErrGone means that
// it is no longer there, queue.ErrBusy that somebody else holds it. Settle it with
// Complete or PutBack before long; the lock is not renewed.
func (s *Shelf) Take(ctx context.Context, sequence int64) (queue.Received, error) {
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	case <-ctx.Done():
		return queue.Received{}, ctx.Err()
	}
	r, err := s.receiver()
	if err != nil {
		return queue.Received{}, err
	}
	m, err := r.fetch(ctx, sequence)
	s.failed(r, err)
	return m, err
}

// fetch looks where the message is and takes it, or sets aside what lies in front.
func (r *Receiver) fetch(ctx context.Context, sequence int64) (queue.Received, error) {
	for patience := busyPatience; ; {
		seen, err := r.receiver.PeekMessages(ctx, 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: &sequence})
		switch {
		case err != nil:
			return queue.Received{}, r.failed(ctx, "peek", err)
		case len(seen) == 0 || *seen[0].SequenceNumber != sequence:
			return queue.Received{}, fmt.Errorf("take from %s: %w", r.queue, queue.ErrGone)
		}
		moved := false
		if seen[0].State == azservicebus.MessageStateDeferred {
			m, err := r.ReceiveDeferred(ctx, sequence)
			if !errors.Is(err, queue.ErrGone) {
				return m, err
			}
		} else {
			var m *queue.Received
			if m, moved, err = r.sweep(ctx, sequence); err != nil {
				return queue.Received{}, err
			} else if m != nil {
				return *m, nil
			}
		}
		if moved {
			continue
		}
		if patience -= busyPause; patience < 0 {
			return queue.Received{}, fmt.Errorf("take from %s: %w", r.queue, queue.ErrBusy)
		}
		if err := pause.For(ctx, busyPause); err != nil {
			return queue.Received{}, err
		}
	}
}

// sweep takes what lies in front and defers it, all but the message that is wanted. It
// reports whether anything moved.
func (r *Receiver) sweep(ctx context.Context, sequence int64) (wanted *queue.Received, moved bool, err error) {
	waitCtx, cancel := context.WithTimeout(ctx, sweepWait)
	defer cancel()
	sent := time.Now()
	msgs, err := r.receiver.ReceiveMessages(waitCtx, sweepAtOnce, nil)
	if err != nil && waitCtx.Err() == nil {
		return nil, false, r.failed(ctx, "receive", err)
	} else if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	errs := make([]error, len(msgs))
	var all sync.WaitGroup
	for i, msg := range msgs {
		m := underLock(msg, sent)
		if m.Sequence == sequence {
			wanted = &m
			continue
		}
		all.Go(func() { errs[i] = r.Defer(ctx, m, nil) })
	}
	all.Wait()
	for _, err := range errs {
		// A lock that was lost is somebody else's by now, who settles it.
		if err != nil && !errors.Is(err, queue.ErrLockLost) {
			return nil, false, err
		}
	}
	return wanted, len(msgs) > 0, nil
}

// Complete removes a message that was taken.
func (s *Shelf) Complete(ctx context.Context, m queue.Received) error {
	return s.settle(func(r *Receiver) error { return r.Complete(ctx, m) })
}

// PutBack leaves a message that was taken where it is, for the next who takes it.
func (s *Shelf) PutBack(ctx context.Context, m queue.Received) error {
	return s.settle(func(r *Receiver) error { return r.Defer(ctx, m, nil) })
}

func (s *Shelf) settle(op func(*Receiver) error) error {
	r, err := s.receiver()
	if err != nil {
		return err
	}
	err = op(r)
	s.failed(r, err)
	return err
}

// Close ends the link. What was taken and not settled comes back when its lock ends.
func (s *Shelf) Close() {
	s.mu.Lock()
	r := s.opened
	s.opened = nil
	s.mu.Unlock()
	if r != nil {
		r.Close()
	}
}
