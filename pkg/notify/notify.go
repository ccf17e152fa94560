// Package notify tells people about flags: it drains the flags queue to the
// configured channels. It knows no broker SDK and no channel's format: receiver and
// channels are ports.
//
// # Open flags
//
// A flag is deferred as soon as it arrives. Deferred means open: operators see it by
// peeking, and completing it is how it is resolved. Whatever becomes of the
// notifications, an open flag stays one; only a flag that no channel could tell
// anybody about is dead-lettered, where somebody looks for it.
//
// # Progress
//
// The queue has no sessions and thus no state beside its messages. What was told
// where is written into the flag's own application properties, one per channel, by
// the defer that puts the flag back: the broker does both in one step, so progress
// is never ahead of or behind the message, and needs no store of its own. A copy of
// the flag for each channel would be simpler to retry, but two copies of an event
// are two events.
//
// Nothing delivers a deferred message by itself. A wake-up (a scheduled message
// without content, MessageId wake~<sequence number>~<due time>) does, as in a lane:
//
//   - Before a flag is deferred, a wake-up is sent that comes when our lock on it is
//     over. A process that dies later leaves it behind.
//   - One channel after the other is told. After each the flag is deferred with the
//     new progress and received again, so that a death repeats at most the channel
//     in hand.
//   - When a channel is to be tried again, a wake-up for that time is sent before
//     the flag is put back.
//   - The wake-up in hand is completed last.
//
// So a flag with something left to do is at every moment either active itself or has
// a wake-up to come. A due time is part of the id and always ahead of us, so that
// the broker drops a wake-up as a duplicate only while the first one is still to
// come. A wake-up too many finds nothing to do.
//
// Each channel is told at least once and normally exactly once; one channel's trouble
// neither delays nor repeats another's message.
//
// # What ends a channel
//
// A channel that answers ErrRefused is done with this flag: a revoked address stays
// revoked. One that may get better is tried again with growing pauses, maxAttempts
// times in about a day. If any other channel has told the flag it stays open, with
// the failure in its properties and in the log. If none has, it is dead-lettered as
// notify-refused or notify-exhausted; when a dead letter is replayed, the channels
// that failed are tried afresh and those that told it are not.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// Channel is a way to tell people.
type Channel interface {
	// Name is part of a property name: lower-case letters, and the same for ever.
	Name() string
	// Tell returns nil once the other side has accepted the notice, ErrRefused when
	// it never will, *RetryError or any other error when it may. The ID of the
	// notice is the same when it is told again.
	Tell(ctx context.Context, n Notice) error
}

// ErrRefused: the channel will not take this notice, now or later.
var ErrRefused = errors.New("refused for good")

// RetryError is a failure that time may cure.
type RetryError struct {
	// After is how long the other side asked us to wait; zero when it did not say.
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }

func (e *RetryError) Unwrap() error { return e.Err }

// Receiver takes flags and wake-ups. *servicebus.Receiver implements it.
type Receiver interface {
	Receive(ctx context.Context, wait time.Duration) (queue.Received, error)
	ReceiveDeferred(ctx context.Context, sequence int64) (queue.Received, error)
	Peek(ctx context.Context, sequence int64) (queue.Received, error)
	Guard(ctx context.Context, m queue.Received) (context.Context, context.CancelFunc, error)
	Complete(ctx context.Context, m queue.Received) error
	Abandon(ctx context.Context, m queue.Received) error
	Defer(ctx context.Context, m queue.Received, properties map[string]string) error
	DeadLetter(ctx context.Context, m queue.Received, reason, description string, properties map[string]string) error
	Close()
}

// Sender puts wake-ups on the queue.
type Sender interface {
	Send(ctx context.Context, queueName string, msgs ...queue.Message) error
}

// Reason is why a message was dead-lettered.
type Reason string

// The closed list of reasons.
const (
	// NotifyRefused: every channel refused the flag for good.
	NotifyRefused Reason = "notify-refused"
	// NotifyExhausted: no channel took the flag, and one was out of order for so
	// long that it was given up.
	NotifyExhausted Reason = "notify-exhausted"
	// BadFlag: the message is neither a flag nor a wake-up of ours.
	BadFlag Reason = "bad-flag"
)

// Notifier tells flags on channels.
type Notifier struct {
	// Queue is the flags queue.
	Queue    string
	Channels []Channel
	Sender   Sender
	// Link is where a flag is shown; "{flag}" stands for its number. May be empty.
	Link string
	// LockDuration is that of the queue.
	LockDuration time.Duration
	Now          func() time.Time
	Log          *slog.Logger
	// Metrics counts what becomes of notices; nil counts nothing.
	Metrics *telemetry.Metrics
}

// tellTimeout bounds one call to a channel.
const tellTimeout = 10 * time.Second

// Pauses between attempts at a channel: they double from first to last.
const (
	firstRetry  = 15 * time.Second
	lastRetry   = time.Hour
	maxAttempts = 30
)

const wakePrefix = "wake~"

// Handle does what one message asks for and settles it. After an error it was not
// settled, or not for certain, and comes again.
func (n *Notifier) Handle(ctx context.Context, r Receiver, m queue.Received) error {
	ctx = m.Context(ctx)
	n.measure(ctx, telemetry.Dimensions{}, telemetry.Waited(m.EnqueuedAt, n.Now()))
	if strings.HasPrefix(m.ID, wakePrefix) && len(m.Body) == 0 {
		return n.wake(ctx, r, m)
	}
	return n.arrive(ctx, r, m)
}

// arrive opens a flag and tells it.
func (n *Notifier) arrive(ctx context.Context, r Receiver, m queue.Received) error {
	f, err := flag.Decode(m.Body)
	if err != nil {
		return n.deadLetter(ctx, r, m, BadFlag, err.Error()+"; correct whatever sent it", nil)
	}
	p, err := readProgress(m.Properties)
	if err != nil {
		return n.deadLetter(ctx, r, m, BadFlag, err.Error(), nil)
	}
	// Only a replay brings a flag that has been tried before.
	p.afresh()
	now := n.now(m)
	if err := n.wakeUp(ctx, m, n.insured(now)); err != nil {
		return err
	}
	if err := r.Defer(ctx, m, p.properties()); err != nil {
		return err
	}
	opened, err := r.ReceiveDeferred(ctx, m.Sequence)
	if errors.Is(err, queue.ErrGone) {
		return nil // resolved, or in other hands
	} else if err != nil {
		return err
	}
	return n.tell(ctx, r, opened, f, now)
}

// now is the time by our clock, or that of the broker when it gave us m if ours is
// behind: the broker decides when a wake-up comes.
func (n *Notifier) now(m queue.Received) time.Time {
	return later(n.Now(), m.EnqueuedAt)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// insured is when a wake-up finds that nobody holds the flag any more, should we die.
func (n *Notifier) insured(now time.Time) time.Time { return now.Add(2 * n.LockDuration) }

// wake goes on with a deferred flag and completes the wake-up last.
func (n *Notifier) wake(ctx context.Context, r Receiver, w queue.Received) error {
	number, _, _ := strings.Cut(strings.TrimPrefix(w.ID, wakePrefix), "~")
	sequence, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return n.deadLetter(ctx, r, w, BadFlag, "the id of a wake-up is wake~<sequence number>~<due time>", nil)
	}
	seen, err := r.Peek(ctx, sequence)
	if errors.Is(err, queue.ErrGone) {
		return r.Complete(ctx, w) // resolved, or dead-lettered
	} else if err != nil {
		return err
	}
	if p, err := readProgress(seen.Properties); err == nil && p.over(n.Channels) && p.any(told) {
		return r.Complete(ctx, w)
	}
	m, err := r.ReceiveDeferred(ctx, sequence)
	if errors.Is(err, queue.ErrGone) {
		// Somebody holds it, who may have died. Or it is not deferred yet, and will be.
		if err := n.wakeUp(ctx, seen, n.insured(n.now(w))); err != nil {
			return err
		}
		return r.Complete(ctx, w)
	} else if err != nil {
		return err
	}
	f, err := flag.Decode(m.Body)
	if err != nil {
		err = n.deadLetter(ctx, r, m, BadFlag, err.Error()+"; correct whatever sent it", nil)
	} else {
		err = n.tell(ctx, r, m, f, n.now(w))
	}
	if err != nil {
		return err
	}
	return r.Complete(ctx, w)
}

// tell tries every channel that is due, then puts the flag back.
func (n *Notifier) tell(ctx context.Context, r Receiver, m queue.Received, f flag.Flag, now time.Time) error {
	p, err := readProgress(m.Properties)
	if err != nil {
		return n.deadLetter(ctx, r, m, BadFlag, err.Error(), nil)
	}
	for i, c := range n.Channels {
		if !p.due(c.Name(), now) {
			continue
		}
		if err := n.tellOn(ctx, r, c, m, f, p, now); err != nil {
			return err
		}
		if !slices.ContainsFunc(n.Channels[i+1:], func(c Channel) bool { return p.due(c.Name(), now) }) {
			break // what follows puts the flag back
		}
		if err := r.Defer(ctx, m, p.properties()); err != nil {
			return err
		}
		if m, err = r.ReceiveDeferred(ctx, m.Sequence); errors.Is(err, queue.ErrGone) {
			return nil // resolved, or in other hands
		} else if err != nil {
			return err
		}
	}
	return n.putBack(ctx, r, m, f, p, now)
}

// tellOn tries one channel and records in p what came of it. An error means that
// nothing came of it.
func (n *Notifier) tellOn(ctx context.Context, r Receiver, c Channel, m queue.Received, f flag.Flag, p progress, now time.Time) error {
	guarded, cancel, err := r.Guard(ctx, m)
	if err != nil {
		return err
	}
	defer cancel()
	// Some of the lock is kept for writing down what came of it.
	timeout := tellTimeout
	if until, ok := guarded.Deadline(); ok {
		timeout = min(timeout, time.Until(until)*2/3)
	}
	call, end := context.WithTimeout(guarded, timeout)
	defer end()

	started := time.Now()
	err = n.safely(ctx, func() error { return c.Tell(call, NewNotice(m, f, n.Link)) })
	took := time.Since(started)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the process ends: that says nothing about the channel
	}
	s := step{state: told, attempts: p[c.Name()].attempts + 1}
	var retry *RetryError
	switch {
	case err == nil:
	case errors.Is(err, ErrRefused):
		s.state = refused
	case s.attempts >= maxAttempts:
		s.state = exhausted
	default:
		s.state = retrying
		pause := backoff(s.attempts)
		if errors.As(err, &retry) && retry.After > 0 {
			pause = min(retry.After, lastRetry)
		}
		s.due = later(n.Now(), now).Add(pause + rand.N(pause/4))
	}
	p[c.Name()] = s
	n.log(ctx, m, f, c.Name(), s, took, err)
	return nil
}

// safely turns a panic into an error. Its value might quote a secret; its type and
// the stack do not.
func (n *Notifier) safely(ctx context.Context, do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			n.Log.ErrorContext(ctx, "panic", "kind", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errors.New("the channel panicked")
		}
	}()
	return do()
}

func backoff(attempts int) time.Duration {
	d := firstRetry
	for range attempts - 1 {
		if d *= 2; d >= lastRetry {
			return lastRetry
		}
	}
	return d
}

// putBack settles a flag for now: open with what is left to do, open and done, or
// dead-lettered.
func (n *Notifier) putBack(ctx context.Context, r Receiver, m queue.Received, f flag.Flag, p progress, now time.Time) error {
	switch {
	case !p.over(n.Channels):
		if err := n.wakeUp(ctx, m, p.next(n.Channels, later(n.Now(), now))); err != nil {
			return err
		}
	case !p.any(told):
		reason, description := p.verdict(n.Channels)
		return n.deadLetter(ctx, r, m, reason, description, p.properties())
	}
	if err := r.Defer(ctx, m, p.properties()); err != nil {
		return err
	}
	n.Log.InfoContext(ctx, "flag", "queue", n.Queue, "flag", m.Sequence, "cause", f.Cause, telemetry.KeyUser, f.User,
		telemetry.KeyEvent, f.Key, telemetry.KeyOutcome, "open", "channels", p.summary(n.Channels))
	return nil
}

// wakeUp sends the message that brings a deferred flag back.
func (n *Notifier) wakeUp(ctx context.Context, m queue.Received, due time.Time) error {
	return n.Sender.Send(ctx, n.Queue, queue.Message{
		ID:  fmt.Sprintf("%s%d~%d", wakePrefix, m.Sequence, due.UnixMilli()),
		Key: m.Key, CorrelationID: m.CorrelationID, EnqueueAt: due,
		Properties: map[string]string{queue.PropType: "wake-up"},
	})
}

func (n *Notifier) deadLetter(ctx context.Context, r Receiver, m queue.Received, reason Reason, description string, properties map[string]string) error {
	if err := r.DeadLetter(ctx, m, string(reason), description, properties); err != nil {
		return err
	}
	n.Log.WarnContext(ctx, "dead-lettered", "queue", n.Queue, "flag", m.Sequence, telemetry.KeyEvent, m.Key,
		telemetry.KeyReason, reason, "detail", description)
	n.count(ctx, "", "dead-lettered", 0)
	n.measure(ctx, telemetry.Dimensions{Reason: string(reason)}, telemetry.Metric{Name: telemetry.MetricDeadLetters, Unit: telemetry.Count, Value: 1})
	return nil
}

func (n *Notifier) log(ctx context.Context, m queue.Received, f flag.Flag, channel string, s step, took time.Duration, err error) {
	attrs := []any{
		"queue", n.Queue, "flag", m.Sequence, "cause", f.Cause, telemetry.KeyUser, f.User, telemetry.KeyEvent, f.Key,
		"channel", channel, telemetry.KeyOutcome, string(s.state), "attempt", s.attempts, telemetry.Duration(took),
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, telemetry.Error(err))
	}
	if s.state == retrying {
		attrs = append(attrs, "due", s.due)
	}
	n.Log.Log(ctx, level, "notification", attrs...)
	n.count(ctx, channel, string(s.state), took)
}

func (n *Notifier) count(ctx context.Context, channel, outcome string, took time.Duration) {
	n.measure(ctx, telemetry.Dimensions{Source: channel, Outcome: outcome},
		telemetry.Metric{Name: telemetry.MetricNotifications, Unit: telemetry.Count, Value: 1},
		telemetry.Metric{Name: telemetry.MetricDuration, Unit: telemetry.Milliseconds, Value: float64(took.Microseconds()) / 1000},
	)
}

func (n *Notifier) measure(ctx context.Context, d telemetry.Dimensions, metrics ...telemetry.Metric) {
	if n.Metrics == nil {
		return
	}
	d.Queue = n.Queue
	if err := n.Metrics.Put(d, metrics...); err != nil {
		n.Log.WarnContext(ctx, "no metrics", telemetry.Error(err))
	}
}
