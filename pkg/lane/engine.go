// Package lane is the one mechanism that the router and the worker share: it
// takes a session, reads its ledger, gives each event its turn and settles it.
//
// It knows no broker SDK and no directory: the session is a port, and what an
// event means is a Handler's business.
//
// # Waiting
//
// An event that cannot finish now is deferred in the broker and its sequence
// number kept in the ledger; a scheduled message without content brings the lane
// back. The order is ledger, wake-up, defer. A crash in between leaves the event
// active: it is delivered again, found in the waiting list under its own sequence
// number, and the missing steps are repeated. The message that woke the lane is
// settled last, so that a crash before the end brings the lane back. An event that
// was deferred before is not delivered again, so its entry says until the next write
// that the wake-up may not have been sent; sending it twice is sending it once.
package lane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// Session is a lane under lock. *servicebus.Session implements it. After
// queue.ErrLockLost nothing may be written.
type Session interface {
	ID() string
	Guard(context.Context) (context.Context, context.CancelFunc, error)
	State(context.Context) ([]byte, error)
	SetState(context.Context, []byte) error
	Receive(ctx context.Context, wait time.Duration) (queue.Received, error)
	ReceiveDeferred(ctx context.Context, sequence int64) (queue.Received, error)
	Waiting(ctx context.Context, after int64) (bool, error)
	Holds(ctx context.Context, sequence int64) (bool, error)
	Complete(context.Context, queue.Received) error
	Defer(context.Context, queue.Received) error
	DeadLetter(ctx context.Context, m queue.Received, reason, description string) error
	Close()
}

// Sender puts messages on queues; all of one call or none.
type Sender interface {
	Send(ctx context.Context, queueName string, msgs ...queue.Message) error
}

// Audit keeps the trail of operators' decisions.
type Audit interface {
	Write(context.Context, audit.Record) error
}

// Engine gives events their turn.
type Engine struct {
	// Queue is the queue whose sessions are the lanes; wake-ups go back to it.
	Queue string
	// FlagsQueue takes what a human must look at.
	FlagsQueue string
	Handler    Handler
	Sender     Sender
	// MaxStarts is how often an event may be started before it counts as poison.
	MaxStarts int
	Now       func() time.Time
	Log       *slog.Logger
	// Audit takes what operators decide; nil for an engine that no operator talks to.
	Audit Audit
	// Metrics counts what becomes of events; nil counts nothing.
	Metrics *telemetry.Metrics
}

// firstReceive is how long a freshly taken session is waited for: the broker
// gives out only sessions that have messages.
const firstReceive = 5 * time.Second

// clockSkew is how far our clock may run behind the broker's before a wake-up
// counts as early.
const clockSkew = time.Minute

// Visit handles the messages of a session one after the other until none is left
// or more answers false, and closes it. It returns how many it settled. An error
// means that the lane failed, not the event: what was in progress comes again.
func (e *Engine) Visit(ctx context.Context, s Session, more func() bool) (settled int, err error) {
	defer s.Close()
	v := &visit{engine: e, session: s}
	for {
		m, err := s.Receive(ctx, firstReceive)
		if errors.Is(err, queue.ErrEmpty) {
			return settled, nil
		} else if err != nil {
			return settled, err
		}
		if err := v.message(ctx, m); err != nil {
			return settled, err
		}
		settled++
		if !more() {
			return settled, nil
		}
		if waiting, err := s.Waiting(ctx, m.Sequence); err != nil || !waiting {
			return settled, err
		}
	}
}

// visit is one lock's worth of work on a lane.
type visit struct {
	engine     *Engine
	session    Session
	ledger     *ledger.Ledger
	generation int64  // of the state as we last read or wrote it
	written    []byte // the state as we last wrote it
	superseded []int64
	woken      int64 // sequence number that the wake-up in hand is for
}

func (v *visit) message(ctx context.Context, m queue.Received) error {
	ctx = m.Context(ctx)
	v.measure(ctx, telemetry.Dimensions{}, telemetry.Waited(m.EnqueuedAt, v.engine.Now()))
	if v.ledger == nil {
		state, err := v.session.State(ctx)
		if err != nil {
			return err
		}
		v.ledger, err = ledger.Decode(state)
		if err != nil {
			v.ledger = nil
			// Nothing is acted on and the state is left as it is.
			return v.deadLetter(ctx, m, LedgerUnreadable, err.Error()+"; repair or clear the session state, then replay")
		}
		v.generation = v.ledger.Generation
	}
	if strings.HasPrefix(m.ID, wakePrefix) && len(m.Body) == 0 {
		return v.wakeUp(ctx, m)
	}
	if m.Properties[queue.PropCommand] != "" {
		return v.command(ctx, m)
	}
	return v.event(ctx, m)
}

// wakeUp runs what is due and completes the wake-up last.
func (v *visit) wakeUp(ctx context.Context, m queue.Received) error {
	seq, attempt, ok := strings.Cut(strings.TrimPrefix(m.ID, wakePrefix), "~")
	sequence, err1 := strconv.ParseInt(seq, 10, 64)
	n, err2 := strconv.Atoi(attempt)
	if !ok || err1 != nil || err2 != nil {
		return v.deadLetter(ctx, m, BadEvent, "the id of a wake-up is wake~<sequence number>~<attempt>")
	}
	if w := v.ledger.WaitingAt(sequence); w != nil && w.Attempt == n {
		v.woken = sequence
		defer func() { v.woken = 0 }()
		if early := w.Until.Sub(v.engine.Now()); early > clockSkew {
			// Our clock is far behind the broker's (or was set back). The wake-up
			// is spent, so the event gets another one, as much later by the
			// broker's clock as ours says is missing.
			w.Attempt++
			w.Unsent = true
			if err := v.write(ctx); err != nil {
				return err
			}
			next := wakeUp(v.session.ID(), *w, m.CorrelationID)
			next.EnqueueAt = m.EnqueuedAt.Add(early)
			if err := v.engine.Sender.Send(ctx, v.engine.Queue, next); err != nil {
				return err
			}
			w.Unsent = false
		}
	}
	if err := v.due(ctx); err != nil {
		return err
	}
	return v.session.Complete(ctx, m)
}

// event gives a message that carries an event its turn, unless it is a duplicate
// or must wait.
func (v *visit) event(ctx context.Context, m queue.Received) error {
	ev, err := decode(m)
	if err != nil {
		return v.deadLetter(ctx, m, BadEvent, err.Error()+"; correct the sender, then send the event anew")
	}
	if outcome, ok := v.ledger.HandledAs(ev.Key); ok {
		v.log(ctx, ev, m, 0, "duplicate", string(outcome), "")
		return v.finish(ctx, func() error { return v.session.Complete(ctx, m) })
	}
	w := v.ledger.WaitingFor(ev.Key)
	if w != nil && w.Sequence != m.Sequence {
		holds, err := v.session.Holds(ctx, w.Sequence)
		if err != nil {
			return err
		}
		if holds {
			v.log(ctx, ev, m, 0, "duplicate", string(w.Kind), "")
			return v.finish(ctx, func() error { return v.session.Complete(ctx, m) })
		}
		v.ledger.Forget(ev.Key) // this message takes the place of one that is gone
		w = nil
	}
	settle, err := v.turn(ctx, ev, m, w)
	if err != nil {
		return err
	}
	return v.finish(ctx, settle)
}

// finish runs what became due, then settles the message that woke the lane.
func (v *visit) finish(ctx context.Context, settle func() error) error {
	if err := v.due(ctx); err != nil {
		return err
	}
	return settle()
}

// due runs every waiting event that is ready, in order, each once.
func (v *visit) due(ctx context.Context) error {
	if err := v.settleFinished(ctx); err != nil {
		return err
	}
	if err := v.sendMissing(ctx); err != nil {
		return err
	}
	tried := map[int64]bool{}
	for {
		i := slices.IndexFunc(v.ledger.Waiting, func(w ledger.Waiting) bool { return !tried[w.Sequence] && v.ready(w) })
		if i < 0 {
			return nil
		}
		w := v.ledger.Waiting[i]
		tried[w.Sequence] = true
		m, ev, err := v.deferred(ctx, w)
		if errors.Is(err, queue.ErrGone) {
			continue
		} else if err != nil {
			return err
		}
		settle, err := v.turn(m.Context(ctx), ev, m, &w)
		if err != nil {
			return err
		}
		if err := settle(); err != nil {
			return err
		}
	}
}

// settleFinished completes deferred events that were finished by somebody who died
// before settling them.
func (v *visit) settleFinished(ctx context.Context) error {
	for _, sequence := range slices.Clone(v.ledger.Settle) {
		m, err := v.session.ReceiveDeferred(ctx, sequence)
		if err == nil {
			err = v.session.Complete(ctx, m)
		}
		if err != nil && !errors.Is(err, queue.ErrGone) {
			return err
		}
		v.ledger.Settled(sequence)
	}
	return nil
}

// sendMissing sends the wake-ups and flags that somebody who died may not have sent.
func (v *visit) sendMissing(ctx context.Context) error {
	for _, w := range slices.Clone(v.ledger.Waiting) {
		if !w.Unsent || v.ready(w) { // what is ready gets its turn now
			continue
		}
		if w.Kind != ledger.Held {
			if err := v.announce(ctx, w, flag.Flag{}); err != nil {
				return err
			}
			continue
		}
		m, ev, err := v.deferred(ctx, w)
		if errors.Is(err, queue.ErrGone) {
			continue
		} else if err != nil {
			return err
		}
		if err := v.announce(m.Context(ctx), w, flag.Flag{User: ev.UserID, Source: ev.Origin}); err != nil {
			return err
		}
		if err := v.session.Defer(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// announce sends what brings a waiting event back: its wake-up, or a flag for the
// operators who decide on a hold. That it was sent lasts with the next write.
func (v *visit) announce(ctx context.Context, w ledger.Waiting, f flag.Flag) (err error) {
	switch w.Kind {
	case ledger.Planned, ledger.Retry:
		err = v.engine.Sender.Send(ctx, v.engine.Queue, wakeUp(v.session.ID(), w, correlation.ID(ctx)))
	case ledger.Held:
		f.Cause, f.Reason, f.Key, f.Type, f.Sequence, f.Attempt = flag.Held, w.Reason, w.Key, string(w.Type), w.Sequence, w.Attempt
		err = v.flag(ctx, f)
	case ledger.Behind: // whatever it waits behind brings it back
	}
	if entry := v.ledger.WaitingAt(w.Sequence); entry != nil && err == nil {
		entry.Unsent = false
	}
	return err
}

func (v *visit) ready(w ledger.Waiting) bool {
	if v.ledger.Blocked(w.Type, w.Sequence) {
		return false
	}
	switch w.Kind {
	case ledger.Planned, ledger.Retry:
		now := v.engine.Now()
		if w.Sequence == v.woken {
			now = now.Add(clockSkew)
		}
		return !now.Before(w.Until)
	case ledger.Behind:
		return true
	case ledger.Held: // a hold ends by an operator's word only
		return w.Released
	default:
		return false
	}
}

// deferred takes a waiting event by its sequence number. queue.ErrGone means that
// it is not to be had that way: see gone.
func (v *visit) deferred(ctx context.Context, w ledger.Waiting) (m queue.Received, ev event.Event, err error) {
	m, err = v.session.ReceiveDeferred(ctx, w.Sequence)
	if errors.Is(err, queue.ErrGone) {
		return m, ev, v.gone(ctx, w, err)
	} else if err != nil {
		return m, ev, err
	}
	if ev, err = decode(m); err != nil {
		err = fmt.Errorf("%s event of lane %s: %w", w.Kind, v.session.ID(), err)
	}
	return m, ev, err
}

// gone says why a waiting event is not to be had: either it is still active (a crash came
// before its defer) and will be delivered by itself, or it has left the queue, which is
// flagged. Both are queue.ErrGone.
func (v *visit) gone(ctx context.Context, w ledger.Waiting, why error) error {
	holds, err := v.session.Holds(ctx, w.Sequence)
	if err != nil {
		return err
	} else if holds {
		return why
	}
	if err := v.flag(ctx, flag.Flag{Cause: flag.LostMessage, Key: w.Key, Type: string(w.Type), Sequence: w.Sequence, Reason: w.Reason}); err != nil {
		return err
	}
	v.ledger.Forget(w.Key)
	if err := v.write(ctx); err != nil {
		return err
	}
	return queue.ErrGone
}

// turn decides on one event and records the decision in the ledger. The function
// it returns settles the message; it is the last step.
func (v *visit) turn(ctx context.Context, ev event.Event, m queue.Received, w *ledger.Waiting) (settle func() error, err error) {
	started := time.Now()
	verdict, err := v.decide(ctx, ev, m, w)
	if err != nil {
		return nil, err
	}
	attempt := 1
	if w != nil {
		attempt = w.Attempt + 1
	}
	if verdict.kind == behind {
		attempt-- // it had no turn
	}
	// Before the event is over: whoever resumes it closes the rest. From here on w may
	// point at another entry of the list.
	if err := v.closeSuperseded(ctx); err != nil {
		return nil, err
	}
	settle, err = v.record(ctx, ev, m, verdict, attempt)
	if err != nil {
		return nil, err
	}
	v.log(ctx, ev, m, time.Since(started), verdict.name(), string(verdict.reason), verdict.detail)
	return settle, nil
}

func (v *visit) decide(ctx context.Context, ev event.Event, m queue.Received, w *ledger.Waiting) (Verdict, error) {
	now := v.engine.Now()
	switch {
	case w == nil && v.ledger.BelowFloor(ev.Type, ev.ReceivedAt):
		return Hold(BelowFloor, "the lane no longer remembers this far back: the event may have been handled before"), nil
	case w == nil && ev.Type == event.AccountChanged && v.ledger.Blocked(ev.Type, m.Sequence) && v.ledger.WaitsBehind(ev.Type):
		// What waits looks at the account as it is then. A lane that is held would fill up.
		return Finished(ledger.Done, "another look at the account waits already"), nil
	case v.ledger.Blocked(ev.Type, m.Sequence):
		return Verdict{kind: behind, reason: BehindOther}, nil
	case w != nil && !v.ready(*w):
		return v.again(*w), nil // a crash came between ledger and defer
	case w != nil && now.Before(w.Until):
		now = w.Until // the broker's clock says that it is time
	}
	if v.ledger.Start(ev.Key, m.Sequence) > v.engine.MaxStarts {
		return DeadLetter(Poison, fmt.Sprintf("started %d times without an end; read the worker's log for this key, then replay", v.engine.MaxStarts)), nil
	}
	if err := v.write(ctx); err != nil {
		return Verdict{}, err
	}
	turn := &Turn{Event: ev, Message: m, Ledger: v.ledger, Now: now, visit: v}
	if w != nil {
		turn.Attempt = w.Attempt
		for _, reason := range w.Allowed {
			turn.Released = append(turn.Released, Reason(reason))
		}
	}
	verdict, err := v.handle(ctx, turn)
	if err == nil && verdict.kind == 0 {
		err = errors.New("the handler gave no verdict")
	}
	return verdict, err
}

// handle turns a panic into an error: the event comes again and its starts are
// counted, so that it ends as poison.
func (v *visit) handle(ctx context.Context, t *Turn) (verdict Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while handling %s: %v\n%s", t.Event.Key, p, debug.Stack())
		}
	}()
	return v.engine.Handler.Handle(ctx, t)
}

// again is the verdict that the waiting list already holds.
func (v *visit) again(w ledger.Waiting) Verdict {
	verdict := Verdict{reason: Reason(w.Reason), until: w.Until, repeat: true}
	switch w.Kind {
	case ledger.Planned:
		verdict.kind = planned
	case ledger.Retry:
		verdict.kind = retry
	case ledger.Held:
		verdict.kind = held
	default:
		verdict.kind = behind
	}
	return verdict
}

// record writes the verdict into the ledger, sends the wake-up or flag that goes
// with it, and returns how to settle the message.
func (v *visit) record(ctx context.Context, ev event.Event, m queue.Received, verdict Verdict, attempt int) (settle func() error, err error) {
	switch verdict.kind {
	case finished:
		v.ledger.Finish(ev.Key, ev.Type, ev.ReceivedAt, verdict.outcome)
		return func() error {
			if err := v.session.Complete(ctx, m); err != nil {
				return err
			}
			v.ledger.Settled(m.Sequence) // lasts with the next write; until then it costs one look
			return nil
		}, v.write(ctx)
	case deadLettered:
		if err := v.save(ctx); err != nil {
			return nil, err
		}
		// The dead letter first: a poison event whose starts were forgotten before
		// it left the queue would start all over.
		return func() error {
			if err := v.deadLetter(ctx, m, verdict.reason, verdict.detail); err != nil {
				return err
			}
			v.ledger.Forget(ev.Key)
			return v.write(ctx)
		}, nil
	default: // the event waits
	}

	w := ledger.Waiting{
		Sequence: m.Sequence, Key: ev.Key, Type: ev.Type, Kind: verdict.waitingKind(), Reason: string(verdict.reason),
		Until: verdict.until, Attempt: attempt, MadeAt: ev.MadeAt(), ReceivedAt: ev.ReceivedAt,
		Needs: verdict.needs, Barred: verdict.barred,
	}
	if d, err := ev.Employment(); err == nil {
		w.Immediate = d.Immediate
	}
	switch {
	case verdict.repeat:
		w = *v.ledger.WaitingFor(ev.Key)
	case verdict.kind == planned:
		// A plan that waits for a moment in the past would come back at once, for ever.
		if soonest := v.engine.Now().Add(firstRetry); w.Until.Before(soonest) && attempt > 1 {
			w.Until = soonest
		}
	case verdict.kind == retry && verdict.after > 0:
		w.Until = v.engine.Now().Add(verdict.after)
	case verdict.kind == retry:
		w.Until = v.engine.Now().Add(backoff(attempt))
	}
	w.Unsent = w.Kind != ledger.Behind
	if old := v.ledger.WaitingFor(ev.Key); old != nil {
		w.Allowed = old.Allowed
		if w.Kind != ledger.Held {
			w.Approvals = old.Approvals // those who released it did so for the next try as well
		}
	} else if !v.ledger.Admits(ev.Type) {
		full := DeadLetter(LedgerFull, "too many events wait in this lane; release or drop its holds, then replay")
		return v.record(ctx, ev, m, full, attempt)
	}
	v.ledger.Wait(w)
	if !verdict.repeat {
		if err := v.write(ctx); err != nil {
			return nil, err
		}
	}
	err = v.announce(m.Context(ctx), w, flag.Flag{User: ev.UserID, Source: ev.Origin, Detail: verdict.detail})
	return func() error { return v.session.Defer(ctx, m) }, err
}

// closeSuperseded completes the waiting events that the turn made obsolete.
func (v *visit) closeSuperseded(ctx context.Context) error {
	chosen := v.superseded
	v.superseded = nil
	for _, sequence := range chosen {
		w := v.ledger.WaitingAt(sequence)
		if w == nil {
			continue
		}
		m, ev, err := v.deferred(ctx, *w)
		if errors.Is(err, queue.ErrGone) {
			continue
		} else if err != nil {
			return err
		}
		verdict := Finished(ledger.Obsolete, "a later statement by HR took its place")
		settle, err := v.record(ctx, ev, m, verdict, w.Attempt)
		if err != nil {
			return err
		}
		v.log(ctx, ev, m, 0, verdict.name(), "", verdict.detail)
		if err := settle(); err != nil {
			return err
		}
	}
	return nil
}

// save writes the ledger if it is another than what was written last.
func (v *visit) save(ctx context.Context) error {
	b, err := v.ledger.Encode()
	if err != nil || bytes.Equal(b, v.written) {
		return err
	}
	return v.write(ctx)
}

// write stores the ledger, after a look whether somebody else has written since.
func (v *visit) write(ctx context.Context) error {
	state, err := v.session.State(ctx)
	if err != nil {
		return err
	}
	if generation, err := ledger.Generation(state); err != nil || generation != v.generation {
		return fmt.Errorf("ledger of lane %s was written by somebody else: %w", v.session.ID(), queue.ErrLockLost)
	}
	v.ledger.Generation = v.generation + 1
	b, err := v.ledger.Encode()
	if err != nil {
		return err
	}
	if err := v.session.SetState(ctx, b); err != nil {
		return err
	}
	v.generation, v.written = v.ledger.Generation, b
	return nil
}

func (v *visit) deadLetter(ctx context.Context, m queue.Received, reason Reason, detail string) error {
	v.engine.Log.WarnContext(ctx, "dead-lettered", "queue", v.engine.Queue, telemetry.KeyLane, v.session.ID(),
		telemetry.KeyEvent, m.Key, telemetry.KeyReason, reason, "detail", detail)
	if reason == Poison || reason == LedgerFull || reason == LedgerUnreadable {
		// The fault is in the lane, not in the event: the next ones fare no better.
		err := v.flag(ctx, flag.Flag{Cause: flag.LaneStuck, Reason: string(reason), Detail: detail, Key: m.Key, Sequence: m.Sequence})
		if err != nil {
			return err
		}
	}
	if err := v.session.DeadLetter(ctx, m, string(reason), detail); err != nil {
		return err
	}
	v.measure(ctx, telemetry.Dimensions{Reason: string(reason)}, telemetry.Metric{Name: telemetry.MetricDeadLetters, Unit: telemetry.Count, Value: 1})
	return nil
}

func (v *visit) flag(ctx context.Context, f flag.Flag) error {
	f.Queue, f.Lane, f.At = v.engine.Queue, v.session.ID(), v.engine.Now()
	msg, err := f.Message(correlation.ID(ctx))
	if err != nil {
		return err
	}
	return v.engine.Sender.Send(ctx, v.engine.FlagsQueue, msg)
}

// Flag puts something before a human, once per person, cause and day. The turn
// fills in whom and which event it is about.
func (t *Turn) Flag(ctx context.Context, f flag.Flag) error {
	f.User, f.Key, f.Type, f.Source = t.Event.UserID, t.Event.Key, string(t.Event.Type), t.Event.Origin
	f.Sequence = t.Message.Sequence
	return t.visit.flag(ctx, f)
}

func (v *visit) log(ctx context.Context, ev event.Event, m queue.Received, took time.Duration, outcome, reason, detail string) {
	v.engine.Log.InfoContext(ctx, "event", "queue", v.engine.Queue, telemetry.KeyLane, v.session.ID(),
		telemetry.KeyEvent, ev.Key, telemetry.KeyType, ev.Type, telemetry.KeySource, ev.Origin,
		telemetry.KeyOutcome, outcome, telemetry.KeyReason, reason, "detail", detail,
		"message_id", m.ID, "delivery_count", m.DeliveryCount, telemetry.Duration(took))
	name := outcome
	if _, kind, waits := strings.Cut(outcome, ": "); waits {
		name = kind
	}
	v.measure(ctx, telemetry.Dimensions{Type: string(ev.Type), Outcome: name},
		telemetry.Metric{Name: telemetry.MetricEvents, Unit: telemetry.Count, Value: 1},
		telemetry.Metric{Name: telemetry.MetricDuration, Unit: telemetry.Milliseconds, Value: float64(took.Microseconds()) / 1000},
		telemetry.Metric{Name: telemetry.MetricAge, Unit: telemetry.Seconds, Value: max(0, v.engine.Now().Sub(ev.ReceivedAt).Seconds())},
	)
	if name == string(ledger.Held) {
		v.measure(ctx, telemetry.Dimensions{Reason: reason}, telemetry.Metric{Name: telemetry.MetricHolds, Unit: telemetry.Count, Value: 1})
	}
}

func (v *visit) measure(ctx context.Context, d telemetry.Dimensions, metrics ...telemetry.Metric) {
	if v.engine.Metrics == nil {
		return
	}
	d.Queue = v.engine.Queue
	if err := v.engine.Metrics.Put(d, metrics...); err != nil {
		v.engine.Log.WarnContext(ctx, "no metrics", telemetry.Error(err))
	}
}

// decode reads the event of a message. The property mfaflow-key is the key; an
// event sent without one is not ours.
func decode(m queue.Received) (event.Event, error) {
	ev, err := event.Decode(m.Body)
	if err != nil {
		return event.Event{}, err
	}
	switch {
	case m.Key == "":
		return event.Event{}, fmt.Errorf("%w: the property %s is missing", event.ErrMalformed, queue.PropKey)
	case ev.Key != m.Key:
		return event.Event{}, fmt.Errorf("%w: the key of the event is not the property %s", event.ErrMalformed, queue.PropKey)
	}
	return ev, nil
}
