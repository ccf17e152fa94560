package notify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	sim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/telemetry"
)

const flagsQueue = "flags"

// world is the notifier on the real client and the emulator, with one clock.
type world struct {
	t        *testing.T
	clock    *clock.Manual
	broker   *sim.Server
	client   *servicebus.Client
	receiver *servicebus.Receiver
	notifier *notify.Notifier
	out      bytes.Buffer
	// left is how many steps are taken before the process dies; negative: never.
	left int
	// late: the step at which it dies takes effect all the same.
	late bool
	dead bool
}

// channel answers as it is told to.
type channel struct {
	w      *world
	name   string
	answer func(attempt int) error
	// asked counts the attempts, told are the ids of the notices accepted.
	asked int
	told  []string
}

func (c *channel) Name() string { return c.name }

func (c *channel) Tell(ctx context.Context, n notify.Notice) error {
	return c.w.step(func() error {
		c.asked++
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.answer != nil {
			if err := c.answer(c.asked); err != nil {
				return err
			}
		}
		c.told = append(c.told, n.ID)
		return nil
	})
}

func newWorld(t *testing.T, names ...string) (*world, map[string]*channel) {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(raised), left: -1}
	var err error
	w.broker, err = sim.Start(t.Context(), sim.Options{Clock: w.clock, Queues: []sim.QueueConfig{
		{Name: flagsQueue, DuplicateDetection: 7 * 24 * time.Hour, MaxDeliveryCount: 10},
	}})
	w.must(err)
	w.client, err = servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.broker.ConnectionString())})
	w.must(err)
	w.receiver, err = w.client.Receiver(flagsQueue)
	w.must(err)
	t.Cleanup(func() {
		w.receiver.Close()
		w.client.Close()
		w.must(w.broker.Close())
	})
	w.notifier = &notify.Notifier{
		Queue: flagsQueue, Sender: w, LockDuration: time.Minute, Now: w.clock.Now,
		Log:     telemetry.NewLogger(&w.out, "flag-notifier", slog.LevelDebug),
		Metrics: telemetry.NewMetrics(&w.out, "mfaflow", "flag-notifier", w.clock.Now),
	}
	channels := map[string]*channel{}
	for _, name := range names {
		channels[name] = &channel{w: w, name: name}
		w.notifier.Channels = append(w.notifier.Channels, channels[name])
	}
	return w, channels
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

var errKilled = errors.New("the process is dead")

// step runs one step, unless the process dies at it.
func (w *world) step(do func() error) error {
	switch {
	case w.dead:
		return errKilled
	case w.left == 0:
		w.dead = true
		if w.late {
			_ = do()
		}
		return errKilled
	case w.left > 0:
		w.left--
	}
	return do()
}

// Send implements notify.Sender.
func (w *world) Send(ctx context.Context, q string, msgs ...queue.Message) error {
	return w.step(func() error { return w.client.Send(ctx, q, msgs...) })
}

// mortal is a receiver whose process can die at any step.
type mortal struct {
	notify.Receiver
	w *world
}

func (m mortal) ReceiveDeferred(ctx context.Context, sequence int64) (r queue.Received, err error) {
	err = m.w.step(func() error { r, err = m.Receiver.ReceiveDeferred(ctx, sequence); return err })
	return r, err
}

func (m mortal) Peek(ctx context.Context, sequence int64) (r queue.Received, err error) {
	err = m.w.step(func() error { r, err = m.Receiver.Peek(ctx, sequence); return err })
	return r, err
}

func (m mortal) Complete(ctx context.Context, r queue.Received) error {
	return m.w.step(func() error { return m.Receiver.Complete(ctx, r) })
}

func (m mortal) Defer(ctx context.Context, r queue.Received, p map[string]string) error {
	return m.w.step(func() error { return m.Receiver.Defer(ctx, r, p) })
}

func (m mortal) DeadLetter(ctx context.Context, r queue.Received, reason, description string, p map[string]string) error {
	return m.w.step(func() error { return m.Receiver.DeadLetter(ctx, r, reason, description, p) })
}

// raise puts a flag on the queue, as the lane does.
func (w *world) raise(f flag.Flag) {
	w.t.Helper()
	m, err := f.Message("c1")
	w.must(err)
	w.must(w.client.Send(w.t.Context(), flagsQueue, m))
}

func (w *world) counts() sim.Counts {
	w.t.Helper()
	c, _ := w.broker.Counts(flagsQueue)
	return c
}

// work handles what can be received now.
func (w *world) work() (err error) {
	w.t.Helper()
	for range 100 {
		c := w.counts()
		if c.Active == 0 {
			return nil
		}
		wait := 10 * time.Second
		if c.Active <= c.Locked { // deferred messages may be locked as well
			wait = 30 * time.Millisecond
		}
		m, err := w.receiver.Receive(w.t.Context(), wait)
		if errors.Is(err, queue.ErrEmpty) && c.Locked > 0 {
			return nil
		}
		w.must(err)
		if err := w.notifier.Handle(w.t.Context(), mortal{w.receiver, w}, m); err != nil {
			return err
		}
	}
	w.t.Fatal("the queue never comes to rest")
	return nil
}

// settle lets time pass until nothing is active, locked or scheduled any more.
func (w *world) settle(most time.Duration) {
	w.t.Helper()
	for end := w.clock.Now().Add(most); ; w.clock.Advance(30 * time.Second) {
		w.must(w.work())
		if c := w.counts(); c.Active+c.Locked+c.Scheduled == 0 {
			return
		}
		if w.clock.Now().After(end) {
			w.t.Fatalf("never settled: %+v\n%s", w.counts(), w.out.String())
		}
	}
}

func (w *world) wantCounts(want sim.Counts) {
	w.t.Helper()
	if got := w.counts(); got != want {
		w.t.Errorf("queue holds %+v, want %+v\n%s", got, want, w.out.String())
	}
}

// open is the only deferred flag.
func (w *world) open() queue.Received {
	w.t.Helper()
	for sequence := int64(1); sequence < 1000; sequence++ {
		if m, err := w.receiver.Peek(w.t.Context(), sequence); err == nil && m.Properties[queue.PropType] == flag.MessageType {
			return m
		}
	}
	w.t.Fatal("no flag in the queue")
	return queue.Received{}
}

func down(*channel) func(int) error {
	return func(int) error { return &notify.RetryError{Err: errors.New("answered 503")} }
}

func revoked(int) error { return fmt.Errorf("answered 404: %w", notify.ErrRefused) }

func held() flag.Flag {
	return flag.Flag{
		User: anna, Cause: flag.Held, Reason: "protected-person", Key: "hr:1", Type: "employee.joiner", Source: "hr",
		Queue: "lanes", Lane: anna, Sequence: 4, Attempt: 1, At: raised,
	}
}

func TestEveryChannelIsToldOnce(t *testing.T) {
	w, c := newWorld(t, "teams", "slack", "webhook", "mail")
	w.raise(held())
	w.raise(held()) // the broker drops it
	w.must(w.work())
	w.wantCounts(sim.Counts{Deferred: 1, Scheduled: 1})
	w.settle(5 * time.Minute)
	w.wantCounts(sim.Counts{Deferred: 1})
	for name, c := range c {
		if c.asked != 1 || len(c.told) != 1 {
			t.Errorf("%s was asked %d times", name, c.asked)
		}
	}
	m := w.open()
	if m.ID != "hold~"+anna+"~lanes~4~1" || m.Properties["mfaflow-notify-slack"] != "told" || m.Key != "hr:1" || m.DeliveryCount != 1 {
		t.Errorf("open: %+v", m)
	}
	if log := w.out.String(); strings.Count(log, `"msg":"notification"`) != 4 || strings.Count(log, `"outcome":"open"`) != 1 ||
		strings.Count(log, `"Notifications":1`) != 4 {
		t.Errorf("log:\n%s", log)
	}
	// Resolving is completing; nobody is told again.
	f, err := w.receiver.ReceiveDeferred(t.Context(), m.Sequence)
	w.must(err)
	w.must(w.receiver.Complete(t.Context(), f))
	w.settle(time.Hour)
	w.wantCounts(sim.Counts{})
}

// How long a flag lay there is measured when it is taken, and not how long it is open.
func TestFlagsAreMeasuredByHowLongTheyLay(t *testing.T) {
	w, _ := newWorld(t, "mail")
	w.raise(held())
	w.clock.Advance(20 * time.Minute)
	w.must(w.work())
	w.settle(5 * time.Minute) // the wake-up of who might have died
	if got := regexp.MustCompile(`"Waited":[0-9.]+`).FindAllString(w.out.String(), -1); !slices.Equal(got, []string{`"Waited":1200`, `"Waited":0`}) {
		t.Errorf("%v in\n%s", got, w.out.String())
	}
}

// One channel is out of order for a while: it is told later, the others are not told
// again.
func TestOneChannelIsDownForAWhile(t *testing.T) {
	w, c := newWorld(t, "teams", "slack", "mail")
	c["teams"].answer = func(attempt int) error {
		if attempt < 8 {
			return &notify.RetryError{Err: errors.New("answered 503")}
		}
		return nil
	}
	c["mail"].answer = func(attempt int) error {
		if attempt < 2 {
			return errors.New("an error of no kind")
		}
		return nil
	}
	w.raise(held())
	w.must(w.work())
	w.wantCounts(sim.Counts{Deferred: 1, Scheduled: 2})
	if got := w.open().Properties; got["mfaflow-notify-slack"] != "told" || !strings.HasPrefix(got["mfaflow-notify-teams"], "retry 1 2026-11-23T08:00:") {
		t.Errorf("progress %v", got)
	}
	began := w.clock.Now()
	w.settle(12 * time.Hour)
	// 15 s, 30 s, ... 16 min are half an hour.
	if took := w.clock.Now().Sub(began); took < 30*time.Minute || took > 50*time.Minute {
		t.Errorf("took %s", took)
	}
	w.wantCounts(sim.Counts{Deferred: 1})
	for name, want := range map[string]int{"teams": 8, "slack": 1, "mail": 2} {
		if c[name].asked != want || len(c[name].told) != 1 {
			t.Errorf("%s was asked %d times and told %d", name, c[name].asked, len(c[name].told))
		}
	}
}

// A channel says how long to wait: neither less nor, within reason, more.
func TestRetryAfter(t *testing.T) {
	for after, want := range map[time.Duration][2]time.Duration{
		7 * time.Minute: {7 * time.Minute, 9 * time.Minute},
		48 * time.Hour:  {time.Hour, 76 * time.Minute},
	} {
		w, c := newWorld(t, "slack")
		c["slack"].answer = func(attempt int) error {
			if attempt == 1 {
				return &notify.RetryError{After: after, Err: errors.New("answered 429")}
			}
			return nil
		}
		w.raise(held())
		w.must(w.work())
		w.clock.Advance(want[0] - time.Second)
		w.must(w.work())
		if c["slack"].asked != 1 {
			t.Errorf("%s: asked again too early", after)
		}
		w.clock.Set(raised.Add(want[1]))
		w.must(w.work())
		if c["slack"].asked != 2 {
			t.Errorf("%s: asked %d times by then", after, c["slack"].asked)
		}
		w.settle(time.Hour)
	}
}

// A channel refuses for good. Whoever else was told has been told; the flag is open.
func TestOneChannelRefuses(t *testing.T) {
	w, c := newWorld(t, "teams", "slack")
	c["teams"].answer = revoked
	w.raise(held())
	w.settle(time.Hour)
	w.wantCounts(sim.Counts{Deferred: 1})
	if c["teams"].asked != 1 || len(c["slack"].told) != 1 {
		t.Errorf("teams was asked %d times, slack told %d times", c["teams"].asked, len(c["slack"].told))
	}
	if got := w.open().Properties; got["mfaflow-notify-teams"] != "refused" || got["mfaflow-notify-slack"] != "told" {
		t.Errorf("progress %v", got)
	}
	if !strings.Contains(w.out.String(), `"channel":"teams","outcome":"refused"`) {
		t.Error("nothing in the log")
	}
}

// dead is the only dead letter.
func (w *world) deadLetter() queue.Received {
	w.t.Helper()
	r, err := w.client.Receiver(flagsQueue + "/$DeadLetterQueue")
	w.must(err)
	defer r.Close()
	m, err := r.Receive(w.t.Context(), 10*time.Second)
	w.must(err)
	w.must(r.Complete(w.t.Context(), m))
	return m
}

// No channel takes the flag: it is kept as a dead letter that says why, and a replay
// tries the failed channels afresh.
func TestNoChannelTakesTheFlag(t *testing.T) {
	for name, c := range map[string]struct {
		teams, slack func(int) error
		reason       notify.Reason
		description  string
		asked        int
	}{
		"all refuse": {revoked, revoked, notify.NotifyRefused,
			"teams refused, slack refused; correct the channel's address or permission, then replay the flag", 1},
		"one is down for days": {revoked, down(nil), notify.NotifyExhausted,
			"teams refused, slack exhausted; see that the channel is in order, then replay the flag", 30},
	} {
		t.Run(name, func(t *testing.T) {
			w, channels := newWorld(t, "teams", "slack")
			channels["teams"].answer, channels["slack"].answer = c.teams, c.slack
			w.raise(held())
			w.settle(72 * time.Hour)
			w.wantCounts(sim.Counts{DeadLetter: 1})
			if channels["slack"].asked != c.asked {
				t.Errorf("slack was asked %d times", channels["slack"].asked)
			}
			m := w.deadLetter()
			if m.Properties["DeadLetterReason"] != string(c.reason) || m.Properties["DeadLetterErrorDescription"] != c.description {
				t.Errorf("dead letter %v", m.Properties)
			}

			channels["slack"].answer = nil
			replay := m.Message
			replay.ID += "~r1"
			w.must(w.client.Send(t.Context(), flagsQueue, replay))
			w.settle(72 * time.Hour)
			w.wantCounts(sim.Counts{Deferred: 1})
			if len(channels["slack"].told) != 1 || channels["teams"].asked != 2 {
				t.Errorf("slack told %d times, teams asked %d times", len(channels["slack"].told), channels["teams"].asked)
			}
		})
	}
}

// The process dies at every step, before and after its effect, and another takes
// over: every channel is told at least once, at most one of them twice, and the flag
// ends up open, or dead-lettered if nobody took it.
func TestDeathAtEveryStep(t *testing.T) {
	for name, c := range map[string]struct {
		teams, slack, mail func(int) error
		want               sim.Counts
	}{
		"all take it": {want: sim.Counts{Deferred: 1}},
		"one is down at first": {slack: func(n int) error {
			if n < 3 {
				return &notify.RetryError{Err: errors.New("answered 503")}
			}
			return nil
		}, want: sim.Counts{Deferred: 1}},
		"one refuses":   {mail: revoked, want: sim.Counts{Deferred: 1}},
		"none takes it": {teams: revoked, slack: revoked, mail: revoked, want: sim.Counts{DeadLetter: 1}},
	} {
		for n := 0; ; n++ {
			died := false
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s step %d late %v", name, n, late), func(t *testing.T) {
					w, channels := newWorld(t, "teams", "slack", "mail")
					channels["teams"].answer, channels["slack"].answer, channels["mail"].answer = c.teams, c.slack, c.mail
					w.left, w.late = n, late
					w.raise(held())
					for range 40 {
						if err := w.work(); err != nil {
							break
						}
						w.clock.Advance(30 * time.Second)
					}
					died = died || w.dead
					w.left, w.dead = -1, false
					w.settle(6 * time.Hour)
					w.wantCounts(c.want)
					twice := 0
					for name, ch := range channels {
						refuses := ch.answer != nil && errors.Is(ch.answer(100), notify.ErrRefused)
						if len(ch.told) == 0 != refuses {
							t.Errorf("%s told %d times", name, len(ch.told))
						}
						twice += max(len(ch.told)-1, 0)
						if len(slices.Compact(ch.told)) > 1 {
							t.Errorf("%s cannot tell that it was told twice", name)
						}
					}
					if twice > 1 {
						t.Errorf("%d messages repeated for one death", twice)
					}
				})
			}
			if !died || t.Failed() {
				if n < 8 {
					t.Errorf("%s: only %d steps", name, n)
				}
				break
			}
		}
	}
}

// Two notifiers on one flag: the lock of the message decides who tells.
func TestTwoNotifiersOnOneFlag(t *testing.T) {
	w, c := newWorld(t, "teams", "slack")
	other, err := w.client.Receiver(flagsQueue)
	w.must(err)
	defer other.Close()
	w.raise(held())
	m, err := w.receiver.Receive(t.Context(), 10*time.Second)
	w.must(err)
	// While one tells teams, the wake-up that insures it comes to another early.
	c["teams"].answer = func(int) error {
		w.must(w.client.Send(t.Context(), flagsQueue, queue.Message{ID: fmt.Sprintf("wake~%d~1", m.Sequence)}))
		wake, err := other.Receive(t.Context(), 10*time.Second)
		w.must(err)
		w.must(w.notifier.Handle(t.Context(), other, wake))
		return nil
	}
	w.must(w.notifier.Handle(t.Context(), w.receiver, m))
	w.settle(10 * time.Minute)
	w.wantCounts(sim.Counts{Deferred: 1})
	if c["teams"].asked != 1 || c["slack"].asked != 1 {
		t.Errorf("teams asked %d times, slack %d", c["teams"].asked, c["slack"].asked)
	}
}

// The lock on the wake-up ends before the lock on the flag: whoever gets the wake-up
// next cannot have the flag yet and must not forget it.
func TestDeathWithTheLastWakeUpInHand(t *testing.T) {
	w, c := newWorld(t, "teams")
	c["teams"].answer = func(attempt int) error {
		switch attempt {
		case 1:
			return &notify.RetryError{After: 10 * time.Minute, Err: errors.New("answered 429")}
		case 2:
			w.dead = true
			return errKilled
		}
		return nil
	}
	w.raise(held())
	w.must(w.work())
	w.clock.Advance(5 * time.Minute)
	w.must(w.work()) // the wake-up that insured the first attempt is spent
	w.clock.Advance(10 * time.Minute)
	wake, err := w.receiver.Receive(t.Context(), 10*time.Second)
	w.must(err)
	w.clock.Advance(50 * time.Second)
	if err := w.notifier.Handle(t.Context(), mortal{w.receiver, w}, wake); !errors.Is(err, errKilled) {
		t.Fatalf("nobody died: %v", err)
	}
	w.wantCounts(sim.Counts{Active: 1, Deferred: 1, Locked: 2})
	w.dead = false
	w.clock.Advance(20 * time.Second)
	w.must(w.work())
	w.wantCounts(sim.Counts{Deferred: 1, Locked: 1, Scheduled: 1})
	w.settle(time.Hour)
	w.wantCounts(sim.Counts{Deferred: 1})
	if len(c["teams"].told) != 1 {
		t.Errorf("told %d times", len(c["teams"].told))
	}
}

// An operator resolves a flag that waits for a retry: nothing comes after it.
func TestResolvedWhileWaiting(t *testing.T) {
	w, c := newWorld(t, "teams", "slack")
	c["teams"].answer = down(nil)
	w.raise(held())
	w.must(w.work())
	f, err := w.receiver.ReceiveDeferred(t.Context(), w.open().Sequence)
	w.must(err)
	w.must(w.receiver.Complete(t.Context(), f))
	w.settle(time.Hour)
	w.wantCounts(sim.Counts{})
	if c["teams"].asked != 1 {
		t.Errorf("asked %d times", c["teams"].asked)
	}
}

// A channel that never answers, or panics, costs one attempt and not the flag.
func TestChannelHangsOrPanics(t *testing.T) {
	w, c := newWorld(t, "teams", "slack")
	var timeout time.Duration
	w.notifier.Channels[0] = hanging{&timeout}
	c["slack"].answer = func(attempt int) error {
		if attempt == 1 {
			panic("https://hooks.slack.example/secret")
		}
		return nil
	}
	short, err := servicebus.New(servicebus.Options{
		ConnectionString: identity.NewSecret(w.broker.ConnectionString()), LockDuration: 900 * time.Millisecond,
	})
	w.must(err)
	defer short.Close()
	r, err := short.Receiver(flagsQueue)
	w.must(err)
	defer r.Close()
	w.raise(held())
	m, err := r.Receive(t.Context(), 200*time.Millisecond)
	w.must(err)
	w.must(w.notifier.Handle(t.Context(), r, m))
	if got := w.open().Properties; !strings.HasPrefix(got["mfaflow-notify-teams"], "retry 1 ") || !strings.HasPrefix(got["mfaflow-notify-slack"], "retry 1 ") {
		t.Errorf("progress %v", got)
	}
	if timeout <= 0 || timeout > 700*time.Millisecond {
		t.Errorf("the channel had %s of a lock of 900 ms", timeout)
	}
	if strings.Contains(w.out.String(), "hooks.slack") {
		t.Error("the panic's value is in the log")
	}
}

type hanging struct{ timeout *time.Duration }

func (hanging) Name() string { return "teams" }

func (h hanging) Tell(ctx context.Context, _ notify.Notice) error {
	until, _ := ctx.Deadline()
	*h.timeout = time.Until(until)
	<-ctx.Done()
	return ctx.Err()
}

// What is neither a flag nor a wake-up is kept as a dead letter.
func TestBadMessages(t *testing.T) {
	good, err := held().Message("")
	if err != nil {
		t.Fatal(err)
	}
	unknown, progress := good, good
	unknown.Body = []byte(strings.Replace(string(good.Body), `"held"`, `"bored"`, 1))
	progress.Properties = map[string]string{"mfaflow-notify-teams": "told by eve"}
	for name, m := range map[string]queue.Message{
		"no flag":          {ID: "1", Body: []byte("hello")},
		"nothing":          {ID: "1"},
		"unknown cause":    unknown,
		"unknown progress": progress,
		"bad wake-up":      {ID: "wake~x~1"},
	} {
		t.Run(name, func(t *testing.T) {
			w, c := newWorld(t, "teams")
			w.must(w.client.Send(t.Context(), flagsQueue, m))
			w.settle(10 * time.Minute)
			w.wantCounts(sim.Counts{DeadLetter: 1})
			if got := w.deadLetter(); got.Properties["DeadLetterReason"] != string(notify.BadFlag) || c["teams"].asked != 0 {
				t.Errorf("dead letter %v, asked %d times", got.Properties, c["teams"].asked)
			}
		})
	}
}

// Our clock is an hour behind the broker's: pauses are kept all the same.
func TestClockBehindTheBroker(t *testing.T) {
	w, c := newWorld(t, "teams")
	w.notifier.Now = func() time.Time { return w.clock.Now().Add(-time.Hour) }
	c["teams"].answer = func(attempt int) error {
		if attempt < 5 {
			return &notify.RetryError{Err: errors.New("answered 503")}
		}
		return nil
	}
	w.raise(held())
	w.must(w.work())
	if c["teams"].asked != 1 {
		t.Fatalf("asked %d times at once", c["teams"].asked)
	}
	began := w.clock.Now()
	w.settle(3 * time.Hour)
	if took := w.clock.Now().Sub(began); c["teams"].asked != 5 || took < 225*time.Second || took > time.Hour {
		t.Errorf("asked %d times in %s", c["teams"].asked, took)
	}
}
