package servicebus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mfaflow/pkg/queue"
)

// Receiver takes messages of a queue without sessions under lock, one at a time or
// several. It is for one goroutine.
//
// # The lock of a message
//
// Every delivery has a token of its own, so that the broker refuses to settle under
// a lock that has passed to somebody else (queue.ErrLockLost). What it cannot do is
// to keep a stalled process from acting on the world in the meantime. The lock is
// therefore judged locally as well, as a Session judges its own: it counts from when
// the message was asked for or its last renewal was sent, by the monotonic and by
// the wall clock, and Guard gives a context that ends with it. It is not renewed by
// itself.
type Receiver struct {
	queue    string
	receiver *azservicebus.Receiver
	lock     time.Duration
}

// held is the token of a message under lock.
type held struct {
	msg *azservicebus.ReceivedMessage

	mu   sync.Mutex
	sent time.Time // when the request or renewal that counts was sent
	over bool      // lost, or settled
}

// Receiver opens a receiver on a queue without sessions. It connects at first use.
// After queue.ErrUnavailable it may be used again, but a new one is the safer choice.
func (c *Client) Receiver(queueName string) (*Receiver, error) { return c.receiver(queueName, nil) }

func (c *Client) receiver(queueName string, opts *azservicebus.ReceiverOptions) (*Receiver, error) {
	conn, err := c.taker()
	if err != nil {
		return nil, err
	}
	defer c.taken(conn)
	receiver, err := conn.client.NewReceiverForQueue(queueName, opts)
	if err != nil {
		return nil, fmt.Errorf("open receiver for %s: %w: %w", queueName, queue.ErrUnavailable, err)
	}
	return &Receiver{queue: queueName, receiver: receiver, lock: c.opts.LockDuration}, nil
}

// Receive takes the next message, waiting up to wait. queue.ErrEmpty means that
// there is none.
func (r *Receiver) Receive(ctx context.Context, wait time.Duration) (queue.Received, error) {
	waitCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	sent := time.Now()
	msgs, err := r.receiver.ReceiveMessages(waitCtx, 1, nil)
	switch {
	case len(msgs) == 1:
	case ctx.Err() != nil:
		return queue.Received{}, ctx.Err()
	case waitCtx.Err() != nil:
		return queue.Received{}, queue.ErrEmpty
	case err == nil:
		return queue.Received{}, fmt.Errorf("receive from %s: %w: the link is recovering", r.queue, queue.ErrUnavailable)
	default:
		return queue.Received{}, fmt.Errorf("receive from %s: %w: %w", r.queue, queue.ErrUnavailable, err)
	}
	m := underLock(msgs[0], sent)
	// The lock of a message that was waited for began when it came, which nobody told
	// us; counted from when we asked, much of it would be gone.
	if time.Since(sent) > r.lock/4 {
		if err := r.RenewLock(ctx, m); err != nil {
			return queue.Received{}, err
		}
	}
	return m, nil
}

// ReceiveDeferred takes a deferred message under lock by its sequence number.
// queue.ErrGone means that it is not to be had: no deferred message has the number,
// or another receiver holds it. Peek tells the two apart.
func (r *Receiver) ReceiveDeferred(ctx context.Context, sequence int64) (queue.Received, error) {
	callCtx, cancel := context.WithTimeout(ctx, r.lock)
	defer cancel()
	sent := time.Now()
	msgs, err := r.receiver.ReceiveDeferredMessages(callCtx, []int64{sequence}, nil)
	if hasCode(err, azservicebus.CodeNotFound) || hasCode(err, azservicebus.CodeLockLost) || err == nil && len(msgs) == 0 {
		return queue.Received{}, fmt.Errorf("receive deferred from %s: %w", r.queue, queue.ErrGone)
	} else if err != nil {
		return queue.Received{}, r.failed(ctx, "receive deferred", err)
	}
	return underLock(msgs[0], sent), nil
}

// Peek reads the message with the sequence number in whatever state it is, without
// a lock: it cannot be settled. queue.ErrGone means that the queue does not hold it.
func (r *Receiver) Peek(ctx context.Context, sequence int64) (queue.Received, error) {
	callCtx, cancel := context.WithTimeout(ctx, r.lock)
	defer cancel()
	msgs, err := r.receiver.PeekMessages(callCtx, 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: &sequence})
	switch {
	case err != nil:
		return queue.Received{}, r.failed(ctx, "peek", err)
	case len(msgs) == 0 || *msgs[0].SequenceNumber != sequence:
		return queue.Received{}, fmt.Errorf("peek at %s: %w", r.queue, queue.ErrGone)
	}
	m := fromSDK(msgs[0])
	m.Token = nil
	return m, nil
}

func underLock(msg *azservicebus.ReceivedMessage, sent time.Time) queue.Received {
	m := fromSDK(msg)
	m.Token = &held{msg: msg, sent: sent}
	return m
}

// validUntil is the end of the lock by our clocks; zero when it has passed.
func (h *held) validUntil(lock time.Duration) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	// Round(0) strips the monotonic reading, which stands still in a frozen sandbox.
	mono, wall := now.Sub(h.sent), now.Round(0).Sub(h.sent.Round(0))
	left := lock - max(mono, wall)
	if left <= 0 || h.over {
		h.over = true
		return time.Time{}
	}
	return now.Add(left)
}

// Guard returns a context for what must happen while the message is ours: it ends
// with the lock. queue.ErrLockLost means that it is ours no more.
func (r *Receiver) Guard(ctx context.Context, m queue.Received) (context.Context, context.CancelFunc, error) {
	h, ok := m.Token.(*held)
	if !ok {
		return nil, nil, fmt.Errorf("message %d was not received under lock: %w", m.Sequence, queue.ErrLockLost)
	}
	until := h.validUntil(r.lock)
	if until.IsZero() {
		return nil, nil, queue.ErrLockLost
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until, queue.ErrLockLost)
	return ctx, cancel, nil
}

// call runs one operation under the lock of a message.
func (r *Receiver) call(ctx context.Context, what string, m queue.Received, op func(context.Context, *held) error) error {
	guarded, cancel, err := r.Guard(ctx, m)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer cancel()
	h := m.Token.(*held)
	err = op(guarded, h)
	switch {
	case err == nil:
		return nil
	case hasCode(err, azservicebus.CodeLockLost), ctx.Err() == nil && guarded.Err() != nil:
		h.end()
		return fmt.Errorf("%s: %w: %w", what, queue.ErrLockLost, err)
	default:
		return r.failed(ctx, what, err)
	}
}

// failed is for an operation that may or may not have taken effect.
func (r *Receiver) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s on %s: %w", what, r.queue, ctx.Err())
	}
	return fmt.Errorf("%s on %s: %w: %w", what, r.queue, queue.ErrUnavailable, err)
}

func (h *held) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// settleTimeout is how long settling may take. azservicebus repeats it by itself for
// most of a minute whatever its retry options say, on a link that cannot come back:
// after a cut connection the message is better left to its lock.
const settleTimeout = 5 * time.Second

// settle ends the lock of a message by an operation. Afterwards every method answers
// queue.ErrLockLost for it.
func (r *Receiver) settle(ctx context.Context, what string, m queue.Received, op func(context.Context, *held) error) error {
	err := r.call(ctx, what, m, func(ctx context.Context, h *held) error {
		ctx, cancel := context.WithTimeout(ctx, settleTimeout)
		defer cancel()
		return op(ctx, h)
	})
	if err == nil {
		m.Token.(*held).end()
	}
	return err
}

// RenewLock asks for another lock duration.
func (r *Receiver) RenewLock(ctx context.Context, m queue.Received) error {
	return r.call(ctx, "renew lock", m, func(ctx context.Context, h *held) error {
		sent := time.Now()
		if err := r.receiver.RenewMessageLock(ctx, h.msg, nil); err != nil {
			return err
		}
		h.mu.Lock()
		h.sent = sent
		h.mu.Unlock()
		return nil
	})
}

// Complete settles a message as done.
func (r *Receiver) Complete(ctx context.Context, m queue.Received) error {
	return r.settle(ctx, "complete", m, func(ctx context.Context, h *held) error {
		return r.receiver.CompleteMessage(ctx, h.msg, nil)
	})
}

// Abandon gives a message back at once. The broker counts it as a failed delivery.
func (r *Receiver) Abandon(ctx context.Context, m queue.Received) error {
	return r.settle(ctx, "abandon", m, func(ctx context.Context, h *held) error {
		return r.receiver.AbandonMessage(ctx, h.msg, nil)
	})
}

// Defer sets a message aside, or back when it was deferred; only its sequence number
// brings it back. The properties are written into the message's own, in the same
// step.
func (r *Receiver) Defer(ctx context.Context, m queue.Received, properties map[string]string) error {
	return r.settle(ctx, "defer", m, func(ctx context.Context, h *held) error {
		return r.receiver.DeferMessage(ctx, h.msg, &azservicebus.DeferMessageOptions{PropertiesToModify: anyValues(properties)})
	})
}

// DeadLetter moves a message to the dead-letter queue with a reason from a closed
// list and a description that names the fix. The properties are written as Defer
// writes them.
func (r *Receiver) DeadLetter(ctx context.Context, m queue.Received, reason, description string, properties map[string]string) error {
	return r.settle(ctx, "dead-letter", m, func(ctx context.Context, h *held) error {
		return r.receiver.DeadLetterMessage(ctx, h.msg, &azservicebus.DeadLetterOptions{
			Reason: &reason, ErrorDescription: new(described(description)), PropertiesToModify: anyValues(properties),
		})
	})
}

func anyValues(properties map[string]string) map[string]any {
	if len(properties) == 0 {
		return nil
	}
	values := make(map[string]any, len(properties))
	for k, v := range properties {
		values[k] = v
	}
	return values
}

// Close ends the receiver. Messages that were not settled come back when their locks
// end.
func (r *Receiver) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = r.receiver.Close(ctx) // the broker ends the link with the connection at the latest
}
