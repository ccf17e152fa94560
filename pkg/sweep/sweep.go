// Package sweep looks after what nobody tells by itself: it keeps the subscriptions for
// change notifications alive, asks the directory what changed since the last time, and
// polls risks, failed sign-ins and dates of employment. What it finds becomes events on
// the inbound queue.
//
// It knows no Graph SDK, no broker client and no cloud runtime.
//
// # One sweep at a time
//
// A sweep works under the lock of one reserved session of the control queue. The state
// of the session is all that it remembers; it is written after each page whose events
// the broker has accepted. A sweep that ends early goes on where it was. One that
// crashes reads a page again and makes the same events under the same keys, which the
// broker drops.
//
// # What is not certain is looked at again
//
// Signals reach the directory's reports late and out of order, so that every poll reads
// an overlap again, and keys tell what was told. A subscription may die without a word
// (of users nothing but reauthorizationRequired is ever told), so the delta query runs
// in every sweep. When the directory has forgotten where we were, everybody's lane is
// told to look, and the gap is logged.
//
// A poll that has never run begins now, less its overlap: what happened before mfaflow is
// not its history.
package sweep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/inbound"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// The sources that the events of a sweep go by. Each needs its scope in the worker.
const (
	// Graph sends account.changed, as change notifications do.
	Graph = "graph"
	// EntraRisk sends risk.user and risk.sign-in.
	EntraRisk = "entra-risk"
	// EntraSignIns sends account.locked and mfa.codes-unrequested.
	EntraSignIns = "entra-sign-ins"
	// EntraHR sends employee.joiner, start-date-changed, leaver, last-day-changed and
	// cancelled.
	EntraHR = "entra-hr"
)

// Session is the reserved session under lock. *servicebus.Session implements it.
type Session interface {
	// Guard returns a context that ends with the lock; queue.ErrLockLost when it has
	// ended.
	Guard(context.Context) (context.Context, context.CancelFunc, error)
	State(context.Context) ([]byte, error)
	SetState(context.Context, []byte) error
	// Waiting reports whether there is a command numbered after a sequence number.
	Waiting(ctx context.Context, after int64) (bool, error)
	// Receive answers queue.ErrEmpty when none came in time.
	Receive(ctx context.Context, wait time.Duration) (queue.Received, error)
	Complete(context.Context, queue.Received) error
	DeadLetter(ctx context.Context, m queue.Received, reason, description string) error
	Close()
}

// Sender puts messages on a queue. Nil means that the broker has accepted all of them;
// after an error sending them again is safe.
type Sender interface {
	Send(ctx context.Context, queue string, msgs ...queue.Message) error
}

// Feed is another system that is polled as part of a sweep. It keeps its own place.
type Feed interface {
	// Name is that of the source.
	Name() string
	// Poll puts what is new on its queues, and returns how many events there were.
	Poll(ctx context.Context) (int, error)
}

// Poll names one of the things that are only told when asked for. The zero value is
// invalid.
type Poll string

// The polls.
const (
	// PollRiskyUsers needs a Microsoft Entra ID P2 licence, the next two P1.
	PollRiskyUsers Poll = "risky-users"
	PollDetections Poll = "detections"
	PollSignIns    Poll = "sign-ins"
	// PollEmployment is for tenants whose HR system writes dates into the directory and
	// sends no events.
	PollEmployment Poll = "employment"
)

// ParsePoll refuses every name that is not in the list.
func ParsePoll(s string) (Poll, error) {
	switch p := Poll(s); p {
	case PollRiskyUsers, PollDetections, PollSignIns, PollEmployment:
		return p, nil
	default:
		return "", errors.New("none of risky-users, detections, sign-ins and employment")
	}
}

// Sends are the event types that a sweep with these polls sends, by the source that they
// go by.
func Sends(polls []Poll) map[string]event.Scope {
	all := map[string]event.Scope{Graph: {string(event.AccountChanged)}}
	add := func(source string, types ...event.Type) {
		for _, t := range types {
			all[source] = append(all[source], string(t))
		}
	}
	for _, p := range polls {
		switch p {
		case PollRiskyUsers:
			add(EntraRisk, event.RiskUser)
		case PollDetections:
			add(EntraRisk, event.RiskSignIn, event.RiskUser)
		case PollSignIns:
			add(EntraSignIns, event.AccountLocked, event.CodesUnrequested)
		case PollEmployment:
			add(EntraHR, event.Joiner, event.StartDateChanged, event.Leaver, event.LastDayChanged, event.Cancelled)
		}
	}
	return all
}

// Sweeper sweeps one tenant. All fields but Feeds are required.
type Sweeper struct {
	// Accept takes the session SessionID without waiting for its holder; queue.ErrBusy
	// means that another sweep runs.
	Accept    func(context.Context) (Session, error)
	Sender    Sender
	Directory Directory
	// Subscriptions is nil when nothing is subscribed to.
	Subscriptions *Subscribing
	Polls         []Poll
	Feeds         []Feed
	InboundQueue  string
	// EmploymentAhead is how long before a date it is told. Zone is where its calendar is.
	EmploymentAhead time.Duration
	Zone            *time.Location
	Now             func() time.Time
	Log             *slog.Logger
	Metrics         *telemetry.Metrics
}

// Subscribing says what is subscribed to.
type Subscribing struct {
	Directory Subscriptions
	Keys      *clientstate.Keys
	TenantID  string
	// Slots are the subscriptions that are wanted.
	Slots []Slot
	// NotificationURL and LifecycleURL are where notifications go.
	NotificationURL, LifecycleURL string
	// Lifetime is what is asked for. Half of it before the end, a subscription is
	// renewed.
	Lifetime time.Duration
}

// Slot is a subscription that is wanted.
type Slot struct {
	// Name is what its client state says.
	Name       string
	Resource   string
	ChangeType string
}

// Run sweeps once when ctx has a deadline, as under Lambda, and otherwise every interval
// and whenever a command comes, until ctx ends. That another sweep holds the session is
// no error. Between the sweeps of one Run the session stays taken.
func (s *Sweeper) Run(ctx context.Context, interval time.Duration) error {
	_, once := ctx.Deadline()
	for {
		err := s.hold(ctx, interval, once)
		switch {
		case ctx.Err() != nil && !once:
			return nil
		case errors.Is(err, queue.ErrBusy):
			s.Log.InfoContext(ctx, "sweep", telemetry.KeyOutcome, "another sweep runs")
			err = nil
		case err != nil && !once:
			s.Log.ErrorContext(ctx, "sweep", telemetry.KeyOutcome, "failed", telemetry.Error(err))
		}
		if once {
			return err
		}
		_ = pause.For(ctx, interval) // the loop asks ctx itself
	}
}

// hold sweeps under one lock of the session.
func (s *Sweeper) hold(ctx context.Context, interval time.Duration, once bool) error {
	session, err := s.Accept(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	var commands []queue.Received
	for first := true; ; first = false {
		if commands, err = s.sweep(ctx, session, commands, first); err != nil || once {
			return err
		}
		m, err := rest(ctx, session, interval)
		if err == nil {
			commands = append(commands, m)
		} else if !errors.Is(err, queue.ErrEmpty) {
			return err
		}
	}
}

// restStep is how long one wait for a command lasts, well within the lock.
const restStep = 5 * time.Second

// rest waits for a command; queue.ErrEmpty means that the next sweep is due.
func rest(ctx context.Context, session Session, interval time.Duration) (queue.Received, error) {
	for until := time.Now().Add(interval); time.Now().Before(until); {
		m, err := session.Receive(ctx, min(restStep, time.Until(until)))
		if !errors.Is(err, queue.ErrEmpty) {
			return m, err
		}
	}
	return queue.Received{}, queue.ErrEmpty
}

// run is one sweep.
type run struct {
	*Sweeper
	session  Session
	now      time.Time
	state    *state
	commands []Command
	// routine is the level of what is worth a line once: a process that sweeps every few
	// minutes says at debug level afterwards that nothing is new.
	routine slog.Level
}

// sweep does everything once, with the commands that were received before and those
// that are there. What fails is logged and tried again by the next, which gets the
// commands again that are returned; the error is that of the session.
func (s *Sweeper) sweep(ctx context.Context, session Session, commands []queue.Received, first bool) ([]queue.Received, error) {
	raw, err := session.State(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{Sweeper: s, session: session, now: s.Now(), routine: slog.LevelDebug}
	if first {
		r.routine = slog.LevelInfo
	}
	if r.state, err = decodeState(raw); err != nil {
		return nil, err
	}
	if commands, err = r.receive(ctx, commands); err != nil {
		return nil, err
	}
	whole := true // whatever the commands are about
	for _, t := range r.tasks() {
		done, err := r.do(ctx, t)
		if err != nil {
			return nil, err
		}
		whole = whole && (done || !t.commanded)
	}
	if !whole {
		return commands, nil
	}
	for _, m := range commands {
		if err := session.Complete(ctx, m); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// commandWait is how long the broker may take to hand over a command that is there.
const commandWait = 5 * time.Second

// maxCommands bounds the commands of one sweep; the rest is for the next.
const maxCommands = 100

const badCommand = "bad-command"

// receive reads the commands that are there, after those that were received before.
func (r *run) receive(ctx context.Context, received []queue.Received) (good []queue.Received, err error) {
	last := int64(0)
	for n := 0; n < max(maxCommands, len(received)); n++ {
		if n == len(received) {
			if waiting, err := r.session.Waiting(ctx, last); err != nil || !waiting {
				return good, err
			}
			m, err := r.session.Receive(ctx, commandWait)
			if errors.Is(err, queue.ErrEmpty) {
				return good, nil
			} else if err != nil {
				return nil, err
			}
			received = append(received, m)
		}
		m := received[n]
		last = m.Sequence
		r.measure(ctx, "commands", telemetry.Waited(m.EnqueuedAt, r.now))
		c, err := ParseCommand(m.Message)
		if err != nil {
			r.Log.ErrorContext(ctx, "command", telemetry.KeyOutcome, "dead-lettered", telemetry.KeyReason, badCommand, telemetry.Error(err))
			if err := r.session.DeadLetter(ctx, m, badCommand, "not made by this version of graph-notifications; do not replay"); err != nil {
				return nil, err
			}
			continue
		}
		good, r.commands = append(good, m), append(r.commands, c)
	}
	return good, nil
}

// task is a part of a sweep.
type task struct {
	name string
	run  func(context.Context) (told int, err error)
	// commanded is what commands are about.
	commanded bool
}

// tasks are in the order of their urgency; what may take long comes last.
func (r *run) tasks() []task {
	var list []task
	if r.Subscriptions != nil {
		list = append(list, task{name: "subscriptions", run: r.subscribe, commanded: true})
	}
	for _, p := range r.Polls {
		list = append(list, task{name: string(p), run: map[Poll]func(context.Context) (int, error){
			PollRiskyUsers: r.riskyUsers, PollDetections: r.detections, PollSignIns: r.signIns, PollEmployment: r.employment,
		}[p]})
	}
	for _, f := range r.Feeds {
		list = append(list, task{name: f.Name(), run: f.Poll})
	}
	return append(list, task{name: "changes", run: r.changes, commanded: true})
}

// do runs a task, says whether it is done, and logs what came of it. Its error is the
// end of the sweep: the lock is lost, or the broker does not answer.
func (r *run) do(ctx context.Context, t task) (done bool, err error) {
	if ctx.Err() != nil {
		return false, nil
	}
	began := time.Now()
	told, err := t.run(ctx)
	level, outcome := r.routine, "done"
	if told > 0 {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.String("task", t.name), slog.Int("events", told), telemetry.Duration(time.Since(began))}
	var retry *identity.RetryError
	switch {
	case err == nil:
		done = true
	case ctx.Err() != nil:
		level, outcome, err = slog.LevelInfo, "to be continued", nil
	case errors.As(err, &retry):
		level, outcome = slog.LevelWarn, "tried again by the next sweep"
	default:
		level, outcome = slog.LevelError, "failed"
	}
	if err != nil {
		attrs = append(attrs, telemetry.Error(err))
	}
	r.Log.LogAttrs(ctx, level, "sweep", append(attrs, slog.String(telemetry.KeyOutcome, outcome))...)
	if told > 0 {
		r.measure(ctx, t.name, telemetry.Metric{Name: telemetry.MetricFound, Unit: telemetry.Count, Value: float64(told)})
	}
	if errors.Is(err, queue.ErrLockLost) || errors.Is(err, queue.ErrUnavailable) {
		return false, err
	}
	return done, nil
}

func (r *run) measure(ctx context.Context, task string, m telemetry.Metric) {
	if err := r.Metrics.Put(telemetry.Dimensions{Source: task}, m); err != nil {
		r.Log.WarnContext(ctx, "metrics not written", telemetry.Error(err))
	}
}

// save writes what the sweep has come to. It fails when the lock is lost.
func (r *run) save(ctx context.Context) error {
	raw, err := r.state.encode()
	if err != nil {
		return err
	}
	return r.session.SetState(ctx, raw)
}

// tell puts events on the inbound queue.
func (r *run) tell(ctx context.Context, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	messages := make([]queue.Message, len(events))
	for i, e := range events {
		e.CorrelationID = correlation.New()
		var err error
		if messages[i], err = inbound.Message(e); err != nil {
			return err
		}
	}
	guarded, cancel, err := r.session.Guard(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return r.Sender.Send(guarded, r.InboundQueue, messages...)
}

// under asks the directory under the lock.
func under[T any](ctx context.Context, s Session, ask func(context.Context) (T, error)) (T, error) {
	guarded, cancel, err := s.Guard(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer cancel()
	return ask(guarded)
}
