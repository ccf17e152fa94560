package servicebus

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
//
// The SDK takes a session again even with its retries off: once at once when a link
// was detached, and when settling, which ignores the retry options. Every call
// therefore runs on a context that allows one attempt; see once.
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

// AcceptNext takes the next free session that has messages, waiting up to wait, at
// least leastWait. queue.ErrEmpty means that the broker says there is none.
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
	conn, err := c.taker()
	if err != nil {
		return nil, err
	}
	defer c.taken(conn)
	sent := time.Now()
	accepting, cancel := patient(ctx, max(wait, leastWait))
	defer cancel()
	receiver, err := take(accepting, conn.client)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var amqpErr *amqp.Error
		switch {
		case hasCode(err, azservicebus.CodeTimeout):
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
	// nobody told us; counted from when we asked, much of it or all would be gone.
	if time.Since(sent) > s.lock/4 {
		renewing, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		if err := s.renew(renewing); err != nil {
			s.lose()
			s.closeReceiver()
			return nil, fmt.Errorf("renew session of %s: %w: %w", queueName, queue.ErrUnavailable, err)
		}
	}
	go s.keep()
	return s, nil
}

const (
	// leastWait is what an accept needs to reach the broker at all; the SDK asks for
	// the broker's own, much longer wait when nothing is left of ours.
	leastWait = 500 * time.Millisecond
	// answerTime is how much later than asked for an answer of the broker may arrive.
	answerTime = 2 * time.Second
)

// patience is a context that ends later than it says at first: the SDK tells the
// broker to answer by the deadline it sees, and the answer must find us still
// listening. Else a broker that has no session could not be told from one that does
// not answer, and a session given out at the last moment would be lost.
type patience struct {
	context.Context
	deadline time.Time
}

func patient(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(answerTime))
	return patience{ctx, deadline}, cancel
}

func (p patience) Deadline() (time.Time, bool) {
	if time.Now().Before(p.deadline) {
		return p.deadline, true
	}
	return p.Context.Deadline()
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
		ctx, cancel, err := s.Guard(context.Background())
		if err != nil {
			return
		}
		err = s.renew(ctx)
		cancel()
		if err != nil && !refused(err) {
			s.lose()
			return
		}
	}
}

// renew asks once for another lock duration.
func (s *Session) renew(ctx context.Context) error {
	ctx, end := once(ctx)
	defer end()
	sent := time.Now()
	if err := s.receiver.RenewSessionLock(ctx, nil); err != nil {
		return err
	}
	s.mu.Lock()
	s.sent = sent
	s.mu.Unlock()
	return nil
}

// refused: the broker is there and says no, for example because it is busy, but not
// because the lock is lost. Whatever else fails may have freed the session.
func refused(err error) bool {
	var answer interface{ RPCCode() int }
	return errors.As(err, &answer) && !hasCode(err, azservicebus.CodeLockLost)
}

// attempt is a context for one attempt: it ends when another context is derived from
// it. The SDK derives none to do what it is asked, but every way to take a session
// again begins with one, and thus ends there.
type attempt struct {
	context.Context
	end context.CancelFunc
}

func once(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancel(ctx)
	return attempt{ctx, end}, end
}

func (a attempt) Value(key any) any {
	a.end()
	return a.Context.Value(key)
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

// ask runs one request to the broker under the lock.
func (s *Session) ask(ctx context.Context, what string, op func(context.Context) error) error {
	return s.call(ctx, what, func(ctx context.Context) error {
		ctx, end := once(ctx)
		defer end()
		return op(ctx)
	})
}

// settleTime bounds a settlement. The SDK retries one whatever the retry options
// say, but pauses at least 3.2 s before.
const settleTime = 3 * time.Second

func (s *Session) settle(ctx context.Context, what string, op func(context.Context) error) error {
	return s.call(ctx, what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, settleTime)
		defer cancel()
		ctx, end := once(ctx)
		defer end()
		return op(ctx)
	})
}

// State reads the session state; nil when there is none.
func (s *Session) State(ctx context.Context) (state []byte, err error) {
	err = s.ask(ctx, "get session state", func(ctx context.Context) error {
		state, err = s.receiver.GetSessionState(ctx, nil)
		return err
	})
	return state, err
}

// SetState writes the session state; nil clears it.
func (s *Session) SetState(ctx context.Context, state []byte) error {
	return s.ask(ctx, "set session state", func(ctx context.Context) error {
		return s.receiver.SetSessionState(ctx, state, nil)
	})
}

// Receive takes the next message of the session, waiting up to wait.
// queue.ErrEmpty means that there is none.
func (s *Session) Receive(ctx context.Context, wait time.Duration) (msg queue.Received, err error) {
	err = s.call(ctx, "receive", func(guarded context.Context) error {
		waiting, cancel := context.WithTimeout(guarded, wait)
		defer cancel()
		receiving, end := once(waiting)
		defer end()
		msgs, err := s.receiver.ReceiveMessages(receiving, 1, nil)
		switch {
		case err != nil && guarded.Err() == nil && waiting.Err() != nil:
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
	err = s.ask(ctx, "receive deferred", func(ctx context.Context) error {
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
	err = s.ask(ctx, "peek", func(ctx context.Context) error {
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
	err = s.ask(ctx, "peek", func(ctx context.Context) error {
		msgs, err := s.receiver.PeekMessages(ctx, 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: &sequence})
		holds = err == nil && len(msgs) == 1 && *msgs[0].SequenceNumber == sequence
		return err
	})
	return holds, err
}

// Complete settles a message as done.
func (s *Session) Complete(ctx context.Context, m queue.Received) error {
	return s.settle(ctx, "complete", func(ctx context.Context) error {
		return s.receiver.CompleteMessage(ctx, token(m), nil)
	})
}

// Defer sets a message aside; only its sequence number brings it back.
func (s *Session) Defer(ctx context.Context, m queue.Received) error {
	return s.settle(ctx, "defer", func(ctx context.Context) error {
		return s.receiver.DeferMessage(ctx, token(m), nil)
	})
}

// DeadLetter moves a message to the dead-letter queue with a reason from a closed
// list and a description that names the fix.
func (s *Session) DeadLetter(ctx context.Context, m queue.Received, reason, description string) error {
	return s.settle(ctx, "dead-letter", func(ctx context.Context) error {
		return s.receiver.DeadLetterMessage(ctx, token(m), &azservicebus.DeadLetterOptions{Reason: &reason, ErrorDescription: new(described(description))})
	})
}

// maxDescription bounds a description in bytes. Microsoft's client for .NET refuses more than
// 4096 characters of one (ServiceBusReceiver.DeadLetterMessageAsync); azservicebus 1.11 does
// not look, and what the broker does is written nowhere.
const maxDescription = 4000

// described is a description that any client takes.
func described(text string) string {
	if len(text) > maxDescription {
		text = strings.ToValidUTF8(text[:maxDescription], "") + "…"
	}
	return text
}

// Close frees the session for the next receiver. It may be called more than once.
func (s *Session) Close() {
	s.lose()
	<-s.done
	s.closeReceiver()
}

// closeReceiver gives up on a broker that does not answer: the SDK's own close may
// wait a minute for a message on its way back, and ends with the connection.
func (s *Session) closeReceiver() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer cancel()
		_ = s.receiver.Close(ctx) // the broker frees the session when the lock ends at the latest
	}()
	select {
	case <-closed:
	case <-ctx.Done():
	}
}

func token(m queue.Received) *azservicebus.ReceivedMessage {
	return m.Token.(*azservicebus.ReceivedMessage)
}

func hasCode(err error, code azservicebus.Code) bool {
	var sbErr *azservicebus.Error
	return errors.As(err, &sbErr) && sbErr.Code == code
}
