package servicebus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"mfaflow/pkg/queue"
)

// Session is one session under lock.
//
// # Why the lock is judged locally
//
// azservicebus takes a lost session again by itself, and session state has no
// ETag, so the SDK's answers cannot tell that somebody else had the session in
// between. The lock therefore counts from when the accept or the last renewal was
// sent, by the monotonic and by the wall clock (a frozen sandbox stops the
// first), and ends a lock duration later. Every call has its deadline inside it;
// past it, or after any failure of the link, the session is never used again and
// every method answers queue.ErrLockLost.
type Session struct {
	id       string
	receiver *azservicebus.SessionReceiver
	lock     time.Duration

	ctx    context.Context // ends with cause queue.ErrLockLost when the lock does
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu   sync.Mutex
	sent time.Time // when the accept or renewal that counts was sent
}

// AcceptNext takes the next free session that has messages, waiting up to wait.
// queue.ErrEmpty means that there is none.
func (c *Client) AcceptNext(ctx context.Context, queueName string, wait time.Duration) (*Session, error) {
	return c.accept(ctx, queueName, wait, func(ctx context.Context, client *azservicebus.Client) (*azservicebus.SessionReceiver, error) {
		return client.AcceptNextSessionForQueue(ctx, queueName, nil)
	})
}

// Accept takes the session with the given id. queue.ErrBusy means that another
// receiver holds it.
func (c *Client) Accept(ctx context.Context, queueName, id string, wait time.Duration) (*Session, error) {
	return c.accept(ctx, queueName, wait, func(ctx context.Context, client *azservicebus.Client) (*azservicebus.SessionReceiver, error) {
		return client.AcceptSessionForQueue(ctx, queueName, id, nil)
	})
}

func (c *Client) accept(ctx context.Context, queueName string, wait time.Duration,
	take func(context.Context, *azservicebus.Client) (*azservicebus.SessionReceiver, error),
) (*Session, error) {
	client, err := c.taker()
	if err != nil {
		return nil, err
	}
	waitCtx, cancelWait := context.WithTimeout(ctx, wait)
	defer cancelWait()
	sent := time.Now()
	receiver, err := take(waitCtx, client)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var amqpErr *amqp.Error
		switch {
		case hasCode(err, azservicebus.CodeTimeout), errors.Is(err, context.DeadlineExceeded):
			return nil, queue.ErrEmpty
		case errors.As(err, &amqpErr) && amqpErr.Condition == "com.microsoft:session-cannot-be-locked":
			return nil, queue.ErrBusy
		default:
			return nil, fmt.Errorf("accept session of %s: %w: %w", queueName, queue.ErrUnavailable, err)
		}
	}
	s := &Session{id: receiver.SessionID(), receiver: receiver, lock: c.opts.LockDuration, sent: sent, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	// The lock of an accept that waited began when a session became free, which
	// nobody told us; counted from when we asked, much of it would be gone.
	if time.Since(sent) > s.lock/4 {
		if err := s.renew(); err != nil {
			s.lose()
			s.closeReceiver()
			return nil, fmt.Errorf("renew session of %s: %w: %w", queueName, queue.ErrUnavailable, err)
		}
	}
	go s.keep()
	return s, nil
}

// ID is the session id.
func (s *Session) ID() string { return s.id }

// lose ends the session for good.
func (s *Session) lose() { s.cancel(queue.ErrLockLost) }

// validUntil is the end of the lock by our clocks; zero when it has passed.
func (s *Session) validUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	mono, wall := now.Sub(s.sent), now.Round(0).Sub(s.sent.Round(0))
	left := s.lock - max(mono, wall)
	if left <= 0 || s.ctx.Err() != nil {
		return time.Time{}
	}
	return now.Add(left)
}

// Guard returns a context for one call that must happen under the lock: it ends
// with the lock. queue.ErrLockLost means that nothing may be written any more.
func (s *Session) Guard(ctx context.Context) (context.Context, context.CancelFunc, error) {
	until := s.validUntil()
	if until.IsZero() {
		s.lose()
		return nil, nil, queue.ErrLockLost
	}
	ctx, cancel := context.WithDeadlineCause(ctx, until, queue.ErrLockLost)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// keep renews the lock at a third of its duration until the session is closed or
// the lock is lost.
func (s *Session) keep() {
	defer close(s.done)
	for {
		timer := time.NewTimer(s.lock / 3)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := s.renew(); err != nil && s.validUntil().IsZero() {
			s.lose()
			return
		}
	}
}

// renew asks once for another lock duration, within what is left of the lock.
func (s *Session) renew() error {
	ctx, cancel, err := s.Guard(context.Background())
	if err != nil {
		return err
	}
	defer cancel()
	sent := time.Now()
	if err := s.receiver.RenewSessionLock(ctx, nil); err != nil {
		if hasCode(err, azservicebus.CodeLockLost) {
			s.lose()
		}
		return err
	}
	s.mu.Lock()
	s.sent = sent
	s.mu.Unlock()
	return nil
}

// call runs one operation under the lock. Any failure of the link ends the
// session, because the SDK would take it again without saying so.
func (s *Session) call(ctx context.Context, what string, op func(context.Context) error) error {
	guarded, cancel, err := s.Guard(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer cancel()
	err = op(guarded)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, queue.ErrGone), errors.Is(err, queue.ErrEmpty):
		return fmt.Errorf("%s: %w", what, err)
	case ctx.Err() != nil:
		// The caller gave up; the operation may or may not have happened.
		s.lose()
		return fmt.Errorf("%s: %w", what, ctx.Err())
	default:
		s.lose()
		return fmt.Errorf("%s: %w: %w", what, queue.ErrLockLost, err)
	}
}

// State reads the session state; nil when there is none.
func (s *Session) State(ctx context.Context) (state []byte, err error) {
	err = s.call(ctx, "get session state", func(ctx context.Context) error {
		state, err = s.receiver.GetSessionState(ctx, nil)
		return err
	})
	return state, err
}

// SetState writes the session state; nil clears it.
func (s *Session) SetState(ctx context.Context, state []byte) error {
	return s.call(ctx, "set session state", func(ctx context.Context) error {
		return s.receiver.SetSessionState(ctx, state, nil)
	})
}

// Receive takes the next message of the session, waiting up to wait.
// queue.ErrEmpty means that there is none.
func (s *Session) Receive(ctx context.Context, wait time.Duration) (msg queue.Received, err error) {
	err = s.call(ctx, "receive", func(guarded context.Context) error {
		waitCtx, cancel := context.WithTimeout(guarded, wait)
		defer cancel()
		msgs, err := s.receiver.ReceiveMessages(waitCtx, 1, nil)
		switch {
		case err != nil && guarded.Err() == nil && waitCtx.Err() != nil:
			return queue.ErrEmpty
		case err != nil:
			return err
		case len(msgs) == 0:
			return errors.New("the link is recovering")
		}
		msg = fromSDK(msgs[0])
		return nil
	})
	return msg, err
}

// ReceiveDeferred takes a deferred message under lock by its sequence number.
// queue.ErrGone means that no deferred message has it.
func (s *Session) ReceiveDeferred(ctx context.Context, sequence int64) (msg queue.Received, err error) {
	err = s.call(ctx, "receive deferred", func(ctx context.Context) error {
		msgs, err := s.receiver.ReceiveDeferredMessages(ctx, []int64{sequence}, nil)
		if hasCode(err, azservicebus.CodeNotFound) || err == nil && len(msgs) == 0 {
			return queue.ErrGone
		} else if err != nil {
			return err
		}
		msg = fromSDK(msgs[0])
		return nil
	})
	return msg, err
}

// peekPage is how many messages one peek asks for.
const peekPage = 32

// Waiting reports whether the session holds a message that a Receive would get,
// numbered after the given sequence number. It consumes nothing.
func (s *Session) Waiting(ctx context.Context, after int64) (waiting bool, err error) {
	err = s.call(ctx, "peek", func(ctx context.Context) error {
		for from := after + 1; ; {
			msgs, err := s.receiver.PeekMessages(ctx, peekPage, &azservicebus.PeekMessagesOptions{FromSequenceNumber: &from})
			if err != nil || len(msgs) == 0 {
				return err
			}
			for _, m := range msgs {
				if m.State == azservicebus.MessageStateActive {
					waiting = true
					return nil
				}
			}
			from = *msgs[len(msgs)-1].SequenceNumber + 1
		}
	})
	return waiting, err
}

// Holds reports whether the session still holds the message with the sequence
// number in any state (active, deferred or scheduled). It consumes nothing.
func (s *Session) Holds(ctx context.Context, sequence int64) (holds bool, err error) {
	err = s.call(ctx, "peek", func(ctx context.Context) error {
		msgs, err := s.receiver.PeekMessages(ctx, 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: &sequence})
		holds = err == nil && len(msgs) == 1 && *msgs[0].SequenceNumber == sequence
		return err
	})
	return holds, err
}

// Complete settles a message as done.
func (s *Session) Complete(ctx context.Context, m queue.Received) error {
	return s.call(ctx, "complete", func(ctx context.Context) error {
		return s.receiver.CompleteMessage(ctx, token(m), nil)
	})
}

// Defer sets a message aside; only its sequence number brings it back.
func (s *Session) Defer(ctx context.Context, m queue.Received) error {
	return s.call(ctx, "defer", func(ctx context.Context) error {
		return s.receiver.DeferMessage(ctx, token(m), nil)
	})
}

// DeadLetter moves a message to the dead-letter queue with a reason from a closed
// list and a description that names the fix.
func (s *Session) DeadLetter(ctx context.Context, m queue.Received, reason, description string) error {
	return s.call(ctx, "dead-letter", func(ctx context.Context) error {
		return s.receiver.DeadLetterMessage(ctx, token(m), &azservicebus.DeadLetterOptions{Reason: &reason, ErrorDescription: &description})
	})
}

// Close frees the session for the next receiver. It may be called more than once.
func (s *Session) Close() {
	s.lose()
	<-s.done
	s.closeReceiver()
}

func (s *Session) closeReceiver() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = s.receiver.Close(ctx) // the broker frees the session when the lock ends at the latest
}

func token(m queue.Received) *azservicebus.ReceivedMessage {
	return m.Token.(*azservicebus.ReceivedMessage)
}

func hasCode(err error, code azservicebus.Code) bool {
	var sbErr *azservicebus.Error
	return errors.As(err, &sbErr) && sbErr.Code == code
}
