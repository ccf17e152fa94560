package lane_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	sim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	lanes = "lanes"
	flags = "flags"
	anna  = "5b0e9c1e-0000-4000-8000-000000001042"
)

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// world is a lane engine on the real client and the emulator, with one clock.
type world struct {
	t      *testing.T
	clock  *clock.Manual
	sim    *sim.Server
	client *servicebus.Client
	engine *lane.Engine
	// decide is what the handler answers; every call counts as an effect.
	decide  func(*lane.Turn) lane.Verdict
	effects []string
	// left is how many steps are taken before the process dies; negative: never.
	left int
	// late: the step at which it dies takes effect all the same.
	late bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(t0), left: -1}
	var err error
	w.sim, err = sim.Start(t.Context(), sim.Options{Clock: w.clock, Queues: []sim.QueueConfig{
		{Name: lanes, RequiresSession: true, DuplicateDetection: 7 * 24 * time.Hour, MaxDeliveryCount: 50},
		{Name: flags, DuplicateDetection: 7 * 24 * time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.client, err = servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.sim.ConnectionString())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.client.Close()
		if err := w.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	w.engine = &lane.Engine{
		Queue: lanes, FlagsQueue: flags, Handler: w, Sender: w, MaxStarts: 3,
		Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
	}
	return w
}

// Handle implements lane.Handler.
func (w *world) Handle(_ context.Context, t *lane.Turn) (lane.Verdict, error) {
	if err := w.step(func() error { w.effects = append(w.effects, t.Event.Key); return nil }); err != nil {
		return lane.Verdict{}, err
	}
	return w.decide(t), nil
}

var errKilled = errors.New("the process is dead")

// step runs one step, unless the process dies at it.
func (w *world) step(do func() error) error {
	if w.left == 0 {
		if w.late {
			w.late = false
			_ = do()
		}
		return errKilled
	}
	if w.left > 0 {
		w.left--
	}
	return do()
}

// Send implements lane.Sender.
func (w *world) Send(ctx context.Context, q string, msgs ...queue.Message) error {
	return w.step(func() error { return w.client.Send(ctx, q, msgs...) })
}

// mortal is a session whose process can die at any step.
type mortal struct {
	lane.Session
	w *world
}

func (m mortal) SetState(ctx context.Context, b []byte) error {
	return m.w.step(func() error { return m.Session.SetState(ctx, b) })
}

func (m mortal) Complete(ctx context.Context, r queue.Received) error {
	return m.w.step(func() error { return m.Session.Complete(ctx, r) })
}

func (m mortal) Defer(ctx context.Context, r queue.Received) error {
	return m.w.step(func() error { return m.Session.Defer(ctx, r) })
}

func (m mortal) DeadLetter(ctx context.Context, r queue.Received, reason, detail string) error {
	return m.w.step(func() error { return m.Session.DeadLetter(ctx, r, reason, detail) })
}

func (m mortal) ReceiveDeferred(ctx context.Context, seq int64) (r queue.Received, err error) {
	err = m.w.step(func() error { r, err = m.Session.ReceiveDeferred(ctx, seq); return err })
	return r, err
}

// post sends an event as the router does.
func (w *world) post(id string, typ event.Type) {
	w.t.Helper()
	e := event.Event{
		ID: id, Source: "hr", Origin: "hr", Key: event.NewKey("hr", id), Type: typ, Time: w.clock.Now(), ReceivedAt: w.clock.Now(),
		UserID: anna, Data: json.RawMessage(`{"person":{"employeeId":"E1042"}}`),
	}
	w.postAs(e, e.Key)
}

func (w *world) postAs(e event.Event, messageID string) {
	w.t.Helper()
	body, err := e.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.client.Send(w.t.Context(), lanes, queue.Message{ID: messageID, SessionID: anna, Key: e.Key, CorrelationID: "c-" + e.ID, Body: body})
	if err != nil {
		w.t.Fatal(err)
	}
}

// work visits lanes until nothing is to be received or the process is dead.
func (w *world) work() {
	w.t.Helper()
	for range 100 {
		if w.counts(lanes).Active == 0 {
			return
		}
		s, err := w.client.AcceptNext(w.t.Context(), lanes, 5*time.Second)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.engine.Visit(w.t.Context(), mortal{s, w}, func() bool { return true }); errors.Is(err, errKilled) {
			return
		} else if err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("the lane never comes to rest")
}

// ledger reads the memory of the lane.
func (w *world) ledger() *ledger.Ledger {
	w.t.Helper()
	s, err := w.client.Accept(w.t.Context(), lanes, anna, 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	state, err := s.State(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := ledger.Decode(state)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// How long a message lay there until it was taken is measured, and not what waits because
// it is due later.
func TestWaitedIsMeasured(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	w.engine.Metrics = telemetry.NewMetrics(&out, "mfaflow", "identity-worker", w.clock.Now)
	due := t0.Add(3 * time.Hour)
	w.decide = func(t *lane.Turn) lane.Verdict {
		if t.Now.Before(due) {
			return lane.WaitUntil(due, "due-later", "")
		}
		return lane.Finished(ledger.Done, "")
	}
	w.post("1", event.Joiner)
	w.clock.Advance(20 * time.Minute)
	w.work()
	w.clock.Set(due)
	w.work()
	if got := regexp.MustCompile(`"Waited":[0-9.]+`).FindAllString(out.String(), -1); !slices.Equal(got, []string{`"Waited":1200`, `"Waited":0`}) {
		t.Errorf("%v in\n%s", got, out.String())
	}
}

func done(*lane.Turn) lane.Verdict { return lane.Finished(ledger.Done, "") }

// planned waits for an hour once.
func planned(t *lane.Turn) lane.Verdict {
	if t.Attempt == 0 {
		return lane.WaitUntil(t0.Add(time.Hour), "due-later", "")
	}
	return lane.Finished(ledger.Done, "")
}

func (w *world) wantHandled(want ...string) {
	w.t.Helper()
	l := w.ledger()
	var got []string
	for _, h := range l.Handled {
		got = append(got, h.Key+" "+string(h.Outcome))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || len(l.Waiting) != 0 || l.Current != nil {
		w.t.Errorf("handled %q, want %q; waiting %+v, current %+v", got, want, l.Waiting, l.Current)
	}
	if c := w.counts(lanes); c.Active+c.Deferred+c.Scheduled+c.DeadLetter != 0 {
		w.t.Errorf("the queue is not empty: %+v", c)
	}
}

// story is a scenario that must end the same however often the process dies.
type story struct {
	decide func(*lane.Turn) lane.Verdict
	// acts are what happens from outside, each followed by work.
	acts []func(*world)
	// check judges the end.
	check func(*world)
}

var stories = map[string]story{
	"one event": {
		decide: done,
		acts:   []func(*world){func(w *world) { w.post("1", event.Joiner) }},
		check:  func(w *world) { w.wantHandled("hr:1 done") },
	},
	"an event that is due later": {
		decide: planned,
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner) },
			func(w *world) { w.clock.Advance(time.Hour) },
		},
		check: func(w *world) { w.wantHandled("hr:1 done") },
	},
	"a retry and what waits behind it": {
		decide: func(t *lane.Turn) lane.Verdict {
			if t.Event.ID == "1" && t.Attempt == 0 {
				return lane.Retry(time.Minute, lane.Unavailable, "")
			}
			return lane.Finished(ledger.Done, "")
		},
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner); w.post("2", event.StartDateChanged) },
			func(w *world) { w.post("3", event.Mover) },
			func(w *world) { w.clock.Advance(time.Minute) },
		},
		check: func(w *world) {
			w.wantHandled("hr:1 done", "hr:2 done", "hr:3 done")
			var order []string
			for _, k := range w.effects {
				if len(order) == 0 || order[len(order)-1] != k {
					order = append(order, k)
				}
			}
			if got := strings.Join(order, " "); got != "hr:1 hr:2 hr:3" {
				w.t.Errorf("effects in order %s", got)
			}
		},
	},
	"a later statement takes the place of one that is due later": {
		decide: func(t *lane.Turn) lane.Verdict {
			if _, later := t.Ledger.HandledAs("hr:2"); later {
				return lane.Finished(ledger.Obsolete, "")
			}
			if t.Event.ID == "1" {
				return lane.WaitUntil(t0.Add(time.Hour), "due-later", "")
			}
			t.Supersede(func(w ledger.Waiting) bool { return w.Key == "hr:1" })
			return lane.Finished(ledger.Done, "")
		},
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner) },
			func(w *world) { w.post("2", event.Cancelled) },
			func(w *world) { w.clock.Advance(time.Hour) },
		},
		check: func(w *world) { w.wantHandled("hr:1 obsolete", "hr:2 done") },
	},
	"what lost its place does not stay until it would have been due": {
		decide: func(t *lane.Turn) lane.Verdict {
			if t.Event.ID == "1" {
				return lane.WaitUntil(t0.Add(time.Hour), "due-later", "")
			}
			t.Supersede(func(w ledger.Waiting) bool { return w.Key == "hr:1" })
			return lane.Finished(ledger.Done, "")
		},
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner) },
			func(w *world) { w.post("2", event.Cancelled) },
		},
		check: func(w *world) {
			l := w.ledger()
			if o, _ := l.HandledAs("hr:1"); o != ledger.Obsolete || len(l.Handled) != 2 || len(l.Waiting) != 0 {
				w.t.Errorf("handled %+v, waiting %+v", l.Handled, l.Waiting)
			}
			if c := w.counts(lanes); c.Active+c.Deferred != 0 {
				w.t.Errorf("queue %+v", c)
			}
		},
	},
	"a hold, what waits behind it and what passes it": {
		decide: func(t *lane.Turn) lane.Verdict {
			if t.Event.ID == "1" {
				return lane.Hold("protected-person", "")
			}
			return lane.Finished(ledger.Done, "")
		},
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner); w.post("2", event.StartDateChanged) },
			func(w *world) { w.post("3", event.Leaver) },
		},
		check: func(w *world) {
			l := w.ledger()
			if len(l.Waiting) != 2 || l.Waiting[0].Kind != ledger.Held || l.Waiting[1].Kind != ledger.Behind {
				w.t.Errorf("waiting %+v", l.Waiting)
			}
			if _, ok := l.HandledAs("hr:3"); !ok || len(l.Handled) != 1 {
				w.t.Errorf("handled %+v", l.Handled)
			}
			if c := w.counts(flags); c.Active != 1 {
				w.t.Errorf("%d flags for one hold", c.Active)
			}
			if c := w.counts(lanes); c.Deferred != 2 || c.Active+c.Scheduled+c.DeadLetter != 0 {
				w.t.Errorf("queue %+v", c)
			}
		},
	},
	"an event that is given up": {
		decide: func(*lane.Turn) lane.Verdict { return lane.DeadLetter(lane.Forbidden, "grant it") },
		acts:   []func(*world){func(w *world) { w.post("1", event.Joiner); w.post("2", event.Joiner) }},
		check: func(w *world) {
			if l := w.ledger(); len(l.Handled)+len(l.Waiting) != 0 {
				w.t.Errorf("ledger %+v", l)
			}
			if c := w.counts(lanes); c.DeadLetter != 2 || c.Active != 0 {
				w.t.Errorf("queue %+v", c)
			}
		},
	},
	"an event that waits twice": {
		decide: func(t *lane.Turn) lane.Verdict {
			if t.Attempt < 2 {
				return lane.WaitUntil(t0.Add(time.Duration(t.Attempt+1)*time.Hour), "due-later", "")
			}
			return lane.Finished(ledger.Done, "")
		},
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner) },
			func(w *world) { w.clock.Advance(time.Hour) },
			func(w *world) { w.clock.Advance(time.Hour) },
		},
		check: func(w *world) { w.wantHandled("hr:1 done") },
	},
	"an event that waits and is held then": {
		decide: func(t *lane.Turn) lane.Verdict {
			if t.Attempt == 0 {
				return lane.WaitUntil(t0.Add(time.Hour), "due-later", "")
			}
			return lane.Hold("because", "")
		},
		acts: []func(*world){
			func(w *world) { w.post("1", event.Joiner) },
			func(w *world) { w.clock.Advance(time.Hour) },
		},
		check: func(w *world) {
			if l := w.ledger(); len(l.Waiting) != 1 || l.Waiting[0].Kind != ledger.Held {
				w.t.Errorf("ledger %+v", l)
			}
			if c := w.counts(flags); c.Active != 1 {
				w.t.Errorf("%d flags", c.Active)
			}
		},
	},
	"a duplicate under another message id": {
		decide: planned,
		acts: []func(*world){
			func(w *world) {
				w.post("1", event.Joiner)
				w.work()
				e := event.Event{ID: "1", Source: "hr", Origin: "hr", Key: "hr:1", Type: event.Joiner, Time: t0, ReceivedAt: t0, UserID: anna}
				w.postAs(e, "hr:1~rlanes.7")
			},
			func(w *world) { w.clock.Advance(time.Hour) },
		},
		check: func(w *world) { w.wantHandled("hr:1 done") },
	},
}

// The process dies at every step of every story, before and after the step took
// effect, and another one takes over. Whatever happened, the end is the same.
func TestCrashesAtEveryStep(t *testing.T) {
	for name, s := range stories {
		t.Run(name, func(t *testing.T) {
			for step := -1; ; step++ {
				survived := true
				for _, late := range []bool{false, true} {
					t.Run(fmt.Sprintf("step %d late %v", step, late), func(t *testing.T) {
						w := newWorld(t)
						w.decide, w.left, w.late = s.decide, step, late
						for _, act := range s.acts {
							act(w)
							w.work()
							if w.left == 0 {
								survived = false
								w.left = -1 // the next process
								w.work()
							}
						}
						s.check(w)
					})
				}
				if step >= 0 && survived || t.Failed() {
					return
				}
			}
		})
	}
}

func TestPoisonIsDeadLettered(t *testing.T) {
	w := newWorld(t)
	w.decide = func(*lane.Turn) lane.Verdict { panic("a bug") }
	w.post("1", event.Joiner)
	for range w.engine.MaxStarts {
		s, err := w.client.AcceptNext(t.Context(), lanes, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.engine.Visit(t.Context(), s, func() bool { return true }); err == nil || !strings.Contains(err.Error(), "a bug") {
			t.Fatalf("got %v, want the panic", err)
		}
	}
	w.work()
	if len(w.effects) != w.engine.MaxStarts {
		t.Errorf("started %d times, want %d", len(w.effects), w.engine.MaxStarts)
	}
	if c := w.counts(lanes); c.DeadLetter != 1 || c.Active != 0 {
		t.Errorf("queue %+v", c)
	}
}

func TestUnreadableLedgerIsNotWrittenOver(t *testing.T) {
	w := newWorld(t)
	w.decide = done
	const strange = `{"v":99,"future":"things"}`
	w.setState(strange)
	w.post("1", event.Joiner)
	w.work()
	if len(w.effects) != 0 {
		t.Error("an event was acted on without a memory")
	}
	if c := w.counts(lanes); c.DeadLetter != 1 {
		t.Errorf("queue %+v", c)
	}
	if got := w.state(); got != strange {
		t.Errorf("the state is now %s", got)
	}
}

func (w *world) setState(state string) {
	w.t.Helper()
	s, err := w.client.Accept(w.t.Context(), lanes, anna, 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetState(w.t.Context(), []byte(state)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) state() string {
	w.t.Helper()
	s, err := w.client.Accept(w.t.Context(), lanes, anna, 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	b, err := s.State(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// Somebody else wrote the ledger in between: nothing of ours may follow.
func TestGenerationIsChecked(t *testing.T) {
	w := newWorld(t)
	w.post("1", event.Joiner)
	s, err := w.client.AcceptNext(t.Context(), lanes, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	w.decide = func(turn *lane.Turn) lane.Verdict {
		other := ledger.Ledger{Version: ledger.Version, Generation: 41}
		b, err := other.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetState(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		turn.Ledger.StepDone(turn.Event.Key, "intended", t0)
		if _, _, err := turn.Effect(t.Context()); !errors.Is(err, queue.ErrLockLost) {
			t.Errorf("an effect after a foreign write: %v", err)
		}
		return lane.Finished(ledger.Done, "")
	}
	if _, err := w.engine.Visit(t.Context(), s, func() bool { return true }); !errors.Is(err, queue.ErrLockLost) {
		t.Errorf("visit ended with %v", err)
	}
	if l := w.ledger(); l.Generation != 41 {
		t.Errorf("the foreign ledger was written over: %+v", l)
	}
}

func TestBelowTheFloorIsHeld(t *testing.T) {
	w := newWorld(t)
	w.decide = done
	l := ledger.Ledger{Version: ledger.Version, Floor: t0.Add(time.Hour)}
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.setState(string(b))
	w.post("1", event.Joiner)
	w.work()
	if l := w.ledger(); len(w.effects) != 0 || len(l.Waiting) != 1 || l.Waiting[0].Reason != string(lane.BelowFloor) {
		t.Errorf("effects %v, waiting %+v", w.effects, l.Waiting)
	}
}

// Whoever fails to sign in often enough fills the lane's memory; what was received before
// and comes to the lane afterwards runs all the same.
func TestLocksDoNotRaiseTheFloor(t *testing.T) {
	w := newWorld(t)
	w.decide = done
	leaver := event.Event{
		ID: "1", Source: "hr", Origin: "hr", Key: "hr:1", Type: event.Leaver, Time: t0, ReceivedAt: t0, UserID: anna,
		Data: json.RawMessage(`{"person":{"employeeId":"E1042"}}`),
	}
	w.clock.Advance(time.Minute)
	for i := range 100 {
		w.post(fmt.Sprintf("lock-%d", i), event.AccountLocked)
	}
	w.work()
	w.postAs(leaver, leaver.Key)
	w.work()
	if l := w.ledger(); len(w.effects) != 101 || len(l.Waiting) != 0 {
		t.Errorf("%d effects, waiting %+v", len(w.effects), l.Waiting)
	}
	w.post("lock-0", event.AccountLocked) // the broker drops it
	w.clock.Advance(8 * 24 * time.Hour)
	w.post("lock-0", event.AccountLocked) // and no longer does
	w.work()
	if l := w.ledger(); len(w.effects) != 102 || len(l.Waiting) != 0 {
		t.Errorf("%d effects, waiting %+v", len(w.effects), l.Waiting)
	}
}

// However often an account changes, a lane that is held has one look at it waiting.
func TestChangesDoNotFillALaneThatIsHeld(t *testing.T) {
	w := newWorld(t)
	w.decide = func(turn *lane.Turn) lane.Verdict {
		if turn.Event.Type == event.Joiner && len(turn.Released) == 0 {
			return lane.Hold("protected-person", "")
		}
		return lane.Finished(ledger.Done, "")
	}
	w.post("1", event.Joiner)
	for i := range 200 {
		w.post(fmt.Sprintf("change-%d", i), event.AccountChanged)
	}
	w.work()
	if l, c := w.ledger(), w.counts(lanes); len(w.effects) != 1 || len(l.Waiting) != 2 || c.DeadLetter != 0 {
		t.Errorf("effects %v, waiting %+v, %+v", w.effects, l.Waiting, c)
	}
}

func TestNotAnEventIsDeadLettered(t *testing.T) {
	w := newWorld(t)
	w.decide = done
	good := event.Event{ID: "1", Source: "hr", Key: "hr:1", Type: event.Joiner, Time: t0, ReceivedAt: t0}
	body, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []queue.Message{
		{ID: "a", Key: "hr:a", Body: []byte("{")},
		{ID: "b", Body: body},
		{ID: "c", Key: "hr:other", Body: body},
		{ID: "wake~x~1"},
	} {
		m.SessionID = anna
		if err := w.client.Send(t.Context(), lanes, m); err != nil {
			t.Fatal(err)
		}
	}
	w.work()
	if c := w.counts(lanes); len(w.effects) != 0 || c.DeadLetter != 4 {
		t.Errorf("effects %v, queue %+v", w.effects, c)
	}
}

// A wake-up that arrives while our clock is behind the broker's does not get lost.
func TestClockBehindTheBroker(t *testing.T) {
	for name, behind := range map[string]time.Duration{"a little": 20 * time.Second, "a lot": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.decide = planned
			w.engine.Now = func() time.Time { return w.clock.Now().Add(-behind) }
			w.post("1", event.Joiner)
			w.work()
			for range 4 {
				w.clock.Advance(time.Hour)
				w.work()
			}
			w.wantHandled("hr:1 done")
		})
	}
}

// An event whose message left the queue does not block the lane for ever.
func TestLostMessageIsFlagged(t *testing.T) {
	w := newWorld(t)
	w.decide = planned
	w.post("1", event.Joiner)
	w.work()
	s, err := w.client.Accept(t.Context(), lanes, anna, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.ReceiveDeferred(t.Context(), 1)
	if err == nil {
		err = s.Complete(t.Context(), m)
	}
	s.Close()
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	w.work()
	if l := w.ledger(); len(l.Waiting) != 0 {
		t.Errorf("waiting %+v", l.Waiting)
	}
	if c := w.counts(flags); c.Active != 1 {
		t.Errorf("%d flags", c.Active)
	}
}

func (w *world) counts(name string) sim.Counts {
	w.t.Helper()
	c, ok := w.sim.Counts(name)
	if !ok {
		w.t.Fatalf("no queue %s", name)
	}
	return c
}
