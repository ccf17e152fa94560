package servicebus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	sim "mfaflow/pkg/sim/servicebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	plain = "inbound"
	lanes = "lanes"
	// patience bounds what must happen soon.
	patience = 20 * time.Second
)

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// world is the emulator on a clock that stands still, and a client of it.
type world struct {
	t      *testing.T
	clock  *clock.Manual
	broker *sim.Server
	client *servicebus.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(t0)}
	var err error
	w.broker, err = sim.Start(t.Context(), sim.Options{Clock: w.clock, Queues: []sim.QueueConfig{
		{Name: plain, DuplicateDetection: time.Hour},
		{Name: lanes, RequiresSession: true, DuplicateDetection: time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	w.client = w.newClient(servicebus.Options{})
	return w
}

// newClient is another client of the emulator: another process, as far as the broker
// can tell.
func (w *world) newClient(o servicebus.Options) *servicebus.Client {
	w.t.Helper()
	o.ConnectionString = identity.NewSecret(w.broker.ConnectionString())
	c, err := servicebus.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) want(err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Errorf("got %v, want %v", err, want)
	}
}

func (w *world) wantCounts(name string, want sim.Counts) {
	w.t.Helper()
	got, _ := w.broker.Counts(name)
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("queue %s (-want +got):\n%s", name, d)
	}
}

// eventually polls, since a connection that was closed at one end is closed a little
// later at the other.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s did not happen", what)
		}
	}
}

func (w *world) accept(c *servicebus.Client, id string) *servicebus.Session {
	w.t.Helper()
	s, err := c.Accept(w.t.Context(), lanes, id, patience)
	w.must(err)
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) send(id string, msgs ...string) {
	w.t.Helper()
	for _, m := range msgs {
		w.must(w.client.Send(w.t.Context(), lanes, queue.Message{ID: m, SessionID: id, Body: []byte(m)}))
	}
}

func (w *world) receive(s *servicebus.Session) queue.Received {
	w.t.Helper()
	m, err := s.Receive(w.t.Context(), patience)
	w.must(err)
	return m
}

func TestNewChecksItsOptions(t *testing.T) {
	secret := identity.NewSecret("Endpoint=sb://localhost;SharedAccessKeyName=n;SharedAccessKey=k")
	for name, o := range map[string]servicebus.Options{
		"neither":       {},
		"both":          {ConnectionString: secret, Namespace: "contoso.servicebus.windows.net"},
		"no credential": {Namespace: "contoso.servicebus.windows.net"},
		"only a lock":   {LockDuration: time.Second},
	} {
		if _, err := servicebus.New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A connection string holds a key, which no error may quote.
func TestBadConnectionStringIsNotQuoted(t *testing.T) {
	c, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret("Endpoint=sb://x;SharedAccessKey=topsecret")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sendErr := c.Send(t.Context(), plain, queue.Message{ID: "1"})
	_, acceptErr := c.AcceptNext(t.Context(), lanes, time.Second)
	for _, err := range []error{sendErr, acceptErr} {
		if err == nil || bytes.Contains([]byte(err.Error()), []byte("topsecret")) {
			t.Errorf("got %v", err)
		}
	}
}

// What goes in comes out, with what the broker adds.
func TestMessageKeepsItsParts(t *testing.T) {
	w := newWorld(t)
	sent := queue.Message{
		ID: "hr:1", SessionID: "anna", Key: "hr:1", CorrelationID: "c-1", ContentType: "application/json", Body: []byte(`{"a":1}`),
		Properties: map[string]string{queue.PropType: "employee.joiner", queue.PropAttempt: "3"},
	}
	w.must(w.client.Send(t.Context(), lanes, sent))
	s := w.accept(w.client, "anna")
	got := w.receive(s)
	want := queue.Received{Message: sent, Sequence: 1, DeliveryCount: 1, EnqueuedAt: t0}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(queue.Received{}, "Token")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The trace goes with the correlation id: that of the context where they are one, else
// the one that the message came with. Azure's own tools find it as Diagnostic-Id.
func TestMessageCarriesItsTrace(t *testing.T) {
	const id, trace = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"
	parent := "00-" + trace + "-00f067aa0ba902b7-00"
	ctx := correlation.Resume(t.Context(), id, parent, "a=1")
	for name, c := range map[string]struct {
		ctx   context.Context
		msg   queue.Message
		trace string // how the parent begins
		end   string
		state string
	}{
		"of the context":            {ctx, queue.Message{CorrelationID: id}, "00-" + trace, "-00", "a=1"},
		"of the message":            {t.Context(), queue.Message{CorrelationID: id, TraceParent: parent, TraceState: "b=2"}, "00-" + trace, "-00", "b=2"},
		"of the id":                 {t.Context(), queue.Message{CorrelationID: id}, "00-" + trace, "-01", ""},
		"none: the id is no trace":  {ctx, queue.Message{CorrelationID: "c-1", TraceParent: parent, TraceState: "b=2"}, "", "", ""},
		"of the id, not of another": {ctx, queue.Message{CorrelationID: "00000000-0000-4000-8000-00000000beef"}, "00-0000000000004000800000000000beef", "-01", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.msg.ID, c.msg.SessionID, c.msg.Body = "m", "lane", []byte("x")
			w.must(w.client.Send(c.ctx, lanes, c.msg, queue.Message{ID: "n", SessionID: "lane"}))
			s := w.accept(w.client, "lane")
			defer s.Close()
			m := w.receive(s)
			if !strings.HasPrefix(m.TraceParent, c.trace) || !strings.HasSuffix(m.TraceParent, c.end) || (m.TraceParent == "") != (c.trace == "") || m.TraceState != c.state || m.TraceParent == parent {
				t.Errorf("got %q, %q", m.TraceParent, m.TraceState)
			}
			if len(m.Properties) != 0 {
				t.Errorf("properties left: %v", m.Properties)
			}
			raw, _ := m.Token.(*azservicebus.ReceivedMessage)
			if p := raw.ApplicationProperties; c.trace != "" && (p["Diagnostic-Id"] != m.TraceParent || p["traceparent"] != m.TraceParent) {
				t.Errorf("properties at the broker: %v", p)
			}
		})
	}
}

func TestSend(t *testing.T) {
	small := func(id string) queue.Message { return queue.Message{ID: id, Body: []byte("x")} }
	big := func(id string) queue.Message { return queue.Message{ID: id, Body: make([]byte, 300<<10)} }
	half := func(id string) queue.Message { return queue.Message{ID: id, Body: make([]byte, 150<<10)} }
	later := func(id string) queue.Message {
		return queue.Message{ID: id, EnqueueAt: t0.Add(time.Hour)}
	}
	for name, c := range map[string]struct {
		msgs []queue.Message
		err  error
		want sim.Counts
	}{
		"nothing":                             {},
		"one":                                 {msgs: []queue.Message{small("1")}, want: sim.Counts{Active: 1}},
		"several":                             {msgs: []queue.Message{small("1"), small("2"), small("3")}, want: sim.Counts{Active: 3}},
		"the same twice":                      {msgs: []queue.Message{small("1"), small("1")}, want: sim.Counts{Active: 1}},
		"scheduled":                           {msgs: []queue.Message{later("1")}, want: sim.Counts{Scheduled: 1}},
		"some scheduled":                      {msgs: []queue.Message{small("1"), later("2")}, want: sim.Counts{Active: 1, Scheduled: 1}},
		"too large":                           {msgs: []queue.Message{big("1")}, err: queue.ErrTooLarge},
		"one of several too large":            {msgs: []queue.Message{small("1"), big("2"), small("3")}, err: queue.ErrTooLarge},
		"too large together: several batches": {msgs: []queue.Message{half("1"), half("2"), small("3"), half("4")}, want: sim.Counts{Active: 4}},
		"too large after a full batch":        {msgs: []queue.Message{half("1"), half("2"), big("3")}, err: queue.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.want(w.client.Send(t.Context(), plain, c.msgs...), c.err)
			w.wantCounts(plain, c.want)
			w.must(w.client.Send(t.Context(), plain, small("after")))
		})
	}
}

// The broker takes a batch and fails: the first is on the queue, and sending all of
// them again adds only what is missing.
func TestInterruptedBatchesAreCompletedBySendingAgain(t *testing.T) {
	w := newWorld(t)
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "before"}))
	msgs := make([]queue.Message, 380)
	for i := range msgs {
		msgs[i] = queue.Message{ID: fmt.Sprint(i), Body: make([]byte, 1000)}
	}
	w.broker.Fail(sim.Fault{Queue: plain, Operation: sim.OpSend, AfterEffect: true, Condition: "com.microsoft:server-busy", Times: 100})
	w.want(w.client.Send(t.Context(), plain, msgs...), queue.ErrUnavailable)
	if got, _ := w.broker.Counts(plain); got.Active <= 1 || got.Active >= 381 {
		t.Fatalf("%d messages after the interruption", got.Active)
	}
	w.broker.ClearFaults()
	w.must(w.client.Send(t.Context(), plain, msgs...))
	w.wantCounts(plain, sim.Counts{Active: 381})
}

func TestScheduledMessageArrivesInTime(t *testing.T) {
	w := newWorld(t)
	w.must(w.client.Send(t.Context(), lanes, queue.Message{ID: "wake", SessionID: "anna", EnqueueAt: t0.Add(time.Hour)}))
	w.wantCounts(lanes, sim.Counts{Scheduled: 1})
	w.clock.Advance(time.Hour)
	w.wantCounts(lanes, sim.Counts{Active: 1})
	if m := w.receive(w.accept(w.client, "anna")); m.ID != "wake" {
		t.Errorf("received %+v", m)
	}
}

func TestRepeatedMessageIsDropped(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "1"}))
	}
	w.wantCounts(plain, sim.Counts{Active: 1})
}

func TestUnknownQueueIsUnavailable(t *testing.T) {
	w := newWorld(t)
	w.want(w.client.Send(t.Context(), "nowhere", queue.Message{ID: "1"}), queue.ErrUnavailable)
	_, err := w.client.AcceptNext(t.Context(), "nowhere", time.Second)
	w.want(err, queue.ErrUnavailable)
}

func TestCallerWhoGivesUpIsToldSo(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.want(w.client.Send(ctx, plain, queue.Message{ID: "1"}), context.Canceled)
	_, err := w.client.AcceptNext(ctx, lanes, patience)
	w.want(err, context.Canceled)
}

// The broker is gone: the answer comes within the deadline, and once the broker is
// back the same client works again.
func TestBrokerDownAndBack(t *testing.T) {
	w := newWorld(t)
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "before"}))
	w.broker.SetDown(true)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		w.want(w.client.Send(ctx, plain, queue.Message{ID: "1"}), queue.ErrUnavailable)
		if late := time.Since(deadline(ctx)); late > 200*time.Millisecond {
			t.Errorf("answered %s after the deadline", late)
		}
		cancel()
	}
	_, err := w.client.AcceptNext(t.Context(), lanes, time.Second)
	w.want(err, queue.ErrUnavailable)
	w.broker.SetDown(false)
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "1"}))
	w.wantCounts(plain, sim.Counts{Active: 2})
	w.send("anna", "1")
	w.eventually("an accept", func() bool {
		s, err := w.client.AcceptNext(t.Context(), lanes, time.Second)
		if err != nil {
			w.want(err, queue.ErrUnavailable)
			return false
		}
		s.Close()
		return true
	})
}

func deadline(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}

// All connections cut while nobody sent: the next send does not notice.
func TestCutConnectionIsReplaced(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.must(w.client.Send(t.Context(), plain, queue.Message{ID: fmt.Sprint(i)}))
		w.broker.DropConnections()
	}
	w.wantCounts(plain, sim.Counts{Active: 3})
}

// The confirmation is lost with the connection: sending again changes nothing.
func TestLostConfirmation(t *testing.T) {
	w := newWorld(t)
	w.broker.Fail(sim.Fault{Queue: plain, Operation: sim.OpSend, AfterEffect: true})
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "1"}))
	w.wantCounts(plain, sim.Counts{Active: 1})
}

// A broker that says no keeps its connection: a busy one is not helped by new ones.
func TestBusyBrokerKeepsItsConnection(t *testing.T) {
	w := newWorld(t)
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "1"}))
	w.broker.Fail(sim.Fault{Operation: sim.OpSend, Condition: "com.microsoft:server-busy", Times: 100})
	w.want(w.client.Send(t.Context(), plain, queue.Message{ID: "2"}), queue.ErrUnavailable)
	w.broker.ClearFaults()
	if n := w.broker.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "2"}))
}

// An idle connection may be dead without anybody knowing: it is replaced before the
// next send, and the old one is closed.
func TestIdleConnectionIsRebuilt(t *testing.T) {
	w := newWorld(t)
	relay := newRelay(t, w)
	c := relay.client(servicebus.Options{IdleRebuild: time.Nanosecond})
	for i := range 3 {
		w.must(c.Send(t.Context(), plain, queue.Message{ID: fmt.Sprint(i)}))
	}
	if n := relay.connections(); n != 3 {
		t.Errorf("%d connections for 3 sends after a pause, want 3", n)
	}
	w.eventually("closing the old ones", func() bool { return w.broker.Connections() == 1 })

	busy := relay.client(servicebus.Options{})
	for i := range 3 {
		w.must(busy.Send(t.Context(), plain, queue.Message{ID: fmt.Sprint("b", i)}))
	}
	if n := relay.connections(); n != 4 {
		t.Errorf("%d connections for sends without a pause, want one", n-3)
	}
}

// A connection on which nothing comes back any more, as after a long freeze, costs one
// send; others on their way are not cut off by it, and the next one dials.
func TestSilentConnection(t *testing.T) {
	w := newWorld(t)
	relay := newRelay(t, w)
	c := relay.client(servicebus.Options{})
	w.must(c.Send(t.Context(), plain, queue.Message{ID: "1"}))
	relay.silence(true)
	patient := make(chan error)
	go func() { patient <- c.Send(t.Context(), plain, queue.Message{ID: "3"}) }()
	w.eventually("the other send", func() bool { n, _ := w.broker.Counts(plain); return n.Active == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	w.want(c.Send(ctx, plain, queue.Message{ID: "2"}), queue.ErrUnavailable)
	w.must(c.Send(t.Context(), plain, queue.Message{ID: "2"}))
	select {
	case err := <-patient:
		t.Errorf("the other send ended with %v", err)
	default:
	}
	relay.silence(false)
	w.must(<-patient)
	w.wantCounts(plain, sim.Counts{Active: 3})
}

func TestClosedClient(t *testing.T) {
	w := newWorld(t)
	w.must(w.client.Send(t.Context(), plain, queue.Message{ID: "1"}))
	w.send("anna", "1")
	w.accept(w.client, "anna").Close()
	w.client.Close()
	w.client.Close()
	w.want(w.client.Send(t.Context(), plain, queue.Message{ID: "2"}), queue.ErrUnavailable)
	_, err := w.client.AcceptNext(t.Context(), lanes, time.Second)
	w.want(err, queue.ErrUnavailable)
	w.eventually("the end of all connections", func() bool { return w.broker.Connections() == 0 })
}

func TestConcurrentSends(t *testing.T) {
	w := newWorld(t)
	const n = 32
	errs := make(chan error, n)
	for i := range n {
		go func() {
			if i == n/2 {
				w.broker.DropConnections()
			}
			errs <- w.client.Send(t.Context(), plain, queue.Message{ID: fmt.Sprint(i)})
		}()
	}
	for range n {
		w.must(<-errs)
	}
	w.wantCounts(plain, sim.Counts{Active: n})
}
