package servicebus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	sim "mfaflow/pkg/sim/servicebus"
)

func TestAcceptNext(t *testing.T) {
	w := newWorld(t)
	_, err := w.client.AcceptNext(t.Context(), lanes, time.Millisecond)
	w.want(err, queue.ErrEmpty)
	w.send("anna", "1")
	w.send("bert", "2")
	first, err := w.client.AcceptNext(t.Context(), lanes, patience)
	w.must(err)
	defer first.Close()
	second, err := w.client.AcceptNext(t.Context(), lanes, patience)
	w.must(err)
	defer second.Close()
	if first.ID() != "anna" || second.ID() != "bert" {
		t.Errorf("accepted %s, %s", first.ID(), second.ID())
	}
}

func TestAcceptOfABusySession(t *testing.T) {
	w := newWorld(t)
	s := w.accept(w.client, "anna")
	_, err := w.newClient(servicebus.Options{}).Accept(t.Context(), lanes, "anna", patience)
	w.want(err, queue.ErrBusy)
	s.Close()
	w.accept(w.client, "anna")
}

// A session that took longer to come than its lock lasts is as good as any.
func TestAcceptWaitsLongerThanTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const lock = 200 * time.Millisecond
	c := w.newClient(servicebus.Options{LockDuration: lock})
	late := time.AfterFunc(2*lock, func() {
		if err := w.client.Send(context.Background(), lanes, queue.Message{ID: "1", SessionID: "anna"}); err != nil {
			t.Error(err)
		}
	})
	defer late.Stop()
	s, err := c.AcceptNext(t.Context(), lanes, patience)
	w.must(err)
	defer s.Close()
	w.must(s.SetState(t.Context(), []byte("mine")))
}

// Silence is not the answer that there is nothing to do.
func TestAcceptOfABrokerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := newRelay(t, w)
	c := relay.client(servicebus.Options{})
	s := w.accept(c, "anna")
	s.Close()
	relay.silence(true)
	_, err := c.AcceptNext(t.Context(), lanes, time.Millisecond)
	w.want(err, queue.ErrUnavailable)
}

func TestReceive(t *testing.T) {
	w := newWorld(t)
	w.send("anna", "1", "2")
	s := w.accept(w.client, "anna")
	for _, want := range []string{"1", "2"} {
		m := w.receive(s)
		if m.ID != want {
			t.Errorf("received %s, want %s", m.ID, want)
		}
		w.must(s.Complete(t.Context(), m))
	}
	_, err := s.Receive(t.Context(), 20*time.Millisecond)
	w.want(err, queue.ErrEmpty)
	w.send("anna", "3")
	m := w.receive(s)
	w.must(s.Complete(t.Context(), m))
	w.wantCounts(lanes, sim.Counts{})
}

func TestSettle(t *testing.T) {
	w := newWorld(t)
	w.send("anna", "complete", "defer", "dead-letter", "keep")
	s := w.accept(w.client, "anna")
	ctx := t.Context()
	w.must(s.Complete(ctx, w.receive(s)))
	w.must(s.Defer(ctx, w.receive(s)))
	w.must(s.DeadLetter(ctx, w.receive(s), "poison", "read the log"))
	w.wantCounts(lanes, sim.Counts{Active: 1, Deferred: 1, DeadLetter: 1})

	deferred, err := s.ReceiveDeferred(ctx, 2)
	w.must(err)
	if deferred.ID != "defer" || deferred.Sequence != 2 {
		t.Errorf("deferred %+v", deferred)
	}
	w.must(s.Defer(ctx, deferred))
	deferred, err = s.ReceiveDeferred(ctx, 2)
	w.must(err)
	w.must(s.Complete(ctx, deferred))
	for _, sequence := range []int64{1, 2, 3, 4, 99} {
		_, err = s.ReceiveDeferred(ctx, sequence)
		w.want(err, queue.ErrGone)
	}
	w.wantCounts(lanes, sim.Counts{Active: 1, DeadLetter: 1})

	reason, description := w.deadLetter(lanes)
	if reason != "poison" || description != "read the log" {
		t.Errorf("dead-lettered as %q: %q", reason, description)
	}
}

// A long description is cut between two characters, by receivers of either kind.
func TestDeadLetterDescriptionIsBounded(t *testing.T) {
	long := strings.Repeat("é", 4096)
	w := newWorld(t)
	w.send("anna", "1")
	s := w.accept(w.client, "anna")
	w.must(s.DeadLetter(t.Context(), w.receive(s), "poison", "x"+long))
	r := w.receiver(w.client)
	w.put("a")
	w.must(r.DeadLetter(t.Context(), w.take(r), "poison", "x"+long, nil))
	for _, queue := range []string{lanes, plain} {
		_, got := w.deadLetter(queue)
		if kept, cut := strings.CutSuffix(got, "…"); !cut || len(got) > 4096 || len(kept) < 3900 || !strings.HasPrefix("x"+long, kept) {
			t.Errorf("%s: %d bytes end in %q", queue, len(got), got[len(got)-8:])
		}
	}
}

// deadLetter reads why the only dead letter of a queue is one.
func (w *world) deadLetter(queue string) (reason, description string) {
	w.t.Helper()
	c, err := azservicebus.NewClientFromConnectionString(w.broker.ConnectionString(), nil)
	w.must(err)
	defer func() { w.must(c.Close(context.Background())) }()
	r, err := c.NewReceiverForQueue(queue, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	w.must(err)
	msgs, err := r.PeekMessages(w.t.Context(), 2, nil)
	w.must(err)
	if len(msgs) != 1 {
		w.t.Fatalf("%d dead letters", len(msgs))
	}
	return *msgs[0].DeadLetterReason, *msgs[0].DeadLetterErrorDescription
}

func TestWaitingAndHolds(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	s := w.accept(w.client, "anna")
	waiting := func(after int64) bool {
		t.Helper()
		ok, err := s.Waiting(ctx, after)
		w.must(err)
		return ok
	}
	holds := func(sequence int64) bool {
		t.Helper()
		ok, err := s.Holds(ctx, sequence)
		w.must(err)
		return ok
	}
	if waiting(0) || holds(1) {
		t.Error("an empty session has something")
	}
	// More deferred messages than one page of a peek, then one that is active.
	const deferred = 40
	for i := range deferred {
		w.send("anna", fmt.Sprint(i))
		w.must(s.Defer(ctx, w.receive(s)))
	}
	w.must(w.client.Send(ctx, lanes, queue.Message{ID: "later", SessionID: "anna", EnqueueAt: t0.Add(time.Hour)}))
	if waiting(0) {
		t.Error("deferred and scheduled messages count as waiting")
	}
	if !holds(1) || !holds(deferred) || !holds(deferred+1) || holds(deferred+2) {
		t.Error("deferred and scheduled messages are held, others are not")
	}
	w.send("anna", "now")
	if !waiting(0) || !waiting(deferred+1) || waiting(deferred+2) {
		t.Error("an active message is waiting, unless it came before")
	}
	w.wantCounts(lanes, sim.Counts{Active: 1, Deferred: deferred, Scheduled: 1})
}

func TestState(t *testing.T) {
	w := newWorld(t)
	s := w.accept(w.client, "anna")
	for _, want := range []string{"", "ledger", ""} {
		if want == "" {
			w.must(s.SetState(t.Context(), nil))
		} else {
			w.must(s.SetState(t.Context(), []byte(want)))
		}
		got, err := s.State(t.Context())
		if string(got) != want || err != nil {
			t.Errorf("state %q, %v, want %q", got, err, want)
		}
	}
}

// What was received and not settled comes again, without a failed delivery counted.
func TestCloseFreesTheSession(t *testing.T) {
	w := newWorld(t)
	w.send("anna", "1")
	s := w.accept(w.client, "anna")
	w.receive(s)
	var twice sync.WaitGroup
	for range 2 {
		twice.Go(s.Close)
	}
	twice.Wait()
	other := w.accept(w.newClient(servicebus.Options{}), "anna")
	if m := w.receive(other); m.DeliveryCount != 1 {
		t.Errorf("delivery %d", m.DeliveryCount)
	}
	for what, err := range w.everything(s, queue.Received{Token: &azservicebus.ReceivedMessage{}}) {
		if !errors.Is(err, queue.ErrLockLost) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestCloseEndsAReceive(t *testing.T) {
	w := newWorld(t)
	s := w.accept(w.client, "anna")
	got := make(chan error)
	go func() {
		_, err := s.Receive(t.Context(), time.Hour)
		got <- err
	}()
	s.Close()
	w.want(<-got, queue.ErrLockLost)
}

// A call that the caller gave up may or may not have happened: the session is over.
func TestCallerGivesUpOnACall(t *testing.T) {
	w := newWorld(t)
	relay := newRelay(t, w)
	s := w.accept(relay.client(servicebus.Options{}), "anna")
	relay.silence(true)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	w.want(s.SetState(ctx, []byte("x")), context.Canceled)
	relay.silence(false)
	_, err := s.State(t.Context())
	w.want(err, queue.ErrLockLost)
}

// everything tries all that a session can do.
func (w *world) everything(s *servicebus.Session, m queue.Received) map[string]error {
	errs := map[string]error{}
	for name, do := range methods(w.t.Context(), s, m) {
		errs[name] = do()
	}
	return errs
}

func methods(ctx context.Context, s *servicebus.Session, m queue.Received) map[string]func() error {
	return map[string]func() error{
		"Guard":           func() error { _, _, err := s.Guard(ctx); return err },
		"State":           func() error { _, err := s.State(ctx); return err },
		"SetState":        func() error { return s.SetState(ctx, []byte("stale")) },
		"Receive":         func() error { _, err := s.Receive(ctx, patience); return err },
		"ReceiveDeferred": func() error { _, err := s.ReceiveDeferred(ctx, 1); return err },
		"Waiting":         func() error { _, err := s.Waiting(ctx, 0); return err },
		"Holds":           func() error { _, err := s.Holds(ctx, 1); return err },
		"Complete":        func() error { return s.Complete(ctx, m) },
		"Defer":           func() error { return s.Defer(ctx, m) },
		"DeadLetter":      func() error { return s.DeadLetter(ctx, m, "r", "d") },
	}
}

// However the session is lost and whatever is tried first: it fails, everything after
// it fails, the session is not taken again, and what somebody else did in between
// stays as it is.
func TestLostSession(t *testing.T) {
	type way struct {
		lose func(*world, *relay)
		// known: the broker has given the session up, so that somebody else gets it.
		known bool
		// notices are the methods that notice at once.
		notices []string
	}
	peeks := []string{"Waiting", "Holds"} // need no lock
	requests := []string{"State", "SetState", "ReceiveDeferred"}
	for name, way := range map[string]way{
		"the lock expired": {
			lose:  func(w *world, _ *relay) { w.clock.Advance(2 * time.Minute) },
			known: true, notices: slices.Concat([]string{"Receive", "Complete"}, requests),
		},
		"the connection was cut": {
			lose:  func(w *world, _ *relay) { w.broker.DropConnections() },
			known: true, notices: slices.Concat([]string{"Receive", "Defer"}, requests, peeks),
		},
		"a link was detached": {
			lose:    func(_ *world, r *relay) { r.detach(lanes) },
			notices: slices.Concat(requests, peeks),
		},
	} {
		for _, first := range way.notices {
			t.Run(name+"/"+first, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				relay := newRelay(t, w)
				w.send("anna", "1", "2")
				s := w.accept(relay.client(servicebus.Options{}), "anna")
				m := w.receive(s)
				w.must(s.Defer(t.Context(), m))
				m = w.receive(s)
				w.must(s.SetState(t.Context(), []byte("ours")))

				way.lose(w, relay)
				wanted := "ours"
				if way.known {
					wanted = "theirs"
					other := w.takeOver("anna")
					w.must(other.SetState(t.Context(), []byte(wanted)))
					other.Close()
				}
				w.want(methods(t.Context(), s, m)[first](), queue.ErrLockLost)
				for what, err := range w.everything(s, m) {
					if !errors.Is(err, queue.ErrLockLost) {
						t.Errorf("%s afterwards: %v", what, err)
					}
				}
				s.Close()
				if n := relay.accepts(lanes); n != 1 {
					t.Errorf("the session was asked for %d times", n)
				}
				other := w.takeOver("anna")
				if state, err := other.State(t.Context()); err != nil || string(state) != wanted {
					t.Errorf("the state is %q (%v), want %q", state, err, wanted)
				}
				w.wantCounts(lanes, sim.Counts{Active: 1, Deferred: 1})
			})
		}
	}
}

// takeOver accepts a session as soon as the broker gives it out.
func (w *world) takeOver(id string) (s *servicebus.Session) {
	w.t.Helper()
	c := w.newClient(servicebus.Options{})
	w.eventually("taking the session over", func() bool {
		var err error
		if s, err = c.Accept(w.t.Context(), lanes, id, patience); err != nil {
			w.want(err, queue.ErrBusy)
		}
		return err == nil
	})
	w.t.Cleanup(s.Close)
	return s
}

// realLock is a lock that a test can wait for.
const realLock = time.Second

// realWorld is a world on the machine's clock.
func realWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	w.broker, err = sim.Start(t.Context(), sim.Options{Queues: []sim.QueueConfig{{Name: lanes, RequiresSession: true, LockDuration: realLock}}})
	w.must(err)
	t.Cleanup(func() { w.must(w.broker.Close()) })
	w.client = w.newClient(servicebus.Options{LockDuration: realLock})
	return w
}

func TestLockIsRenewedWhileHeld(t *testing.T) {
	t.Parallel()
	w := realWorld(t)
	s := w.accept(w.client, "anna")
	ctx, cancel, err := s.Guard(t.Context())
	w.must(err)
	defer cancel()
	<-ctx.Done() // a guard ends with the lock it was given under, renewed or not
	if cause := context.Cause(ctx); !errors.Is(cause, queue.ErrLockLost) {
		t.Errorf("the guard ended with %v", cause)
	}
	w.must(s.SetState(t.Context(), []byte("ours")))
	ctx, cancel, err = s.Guard(t.Context())
	w.must(err)
	defer cancel()
	<-ctx.Done()
	w.must(s.SetState(t.Context(), []byte("ours")))
	_, err = w.newClient(servicebus.Options{}).Accept(t.Context(), lanes, "anna", patience)
	w.want(err, queue.ErrBusy)
}

// Nobody calls the session, and yet the guard of what runs meanwhile ends once the
// lock is known to be lost, or can no longer be known to be held.
func TestGuardEndsWithTheLock(t *testing.T) {
	for name, lose := range map[string]func(*world, *relay){
		"cut":    func(w *world, _ *relay) { w.broker.DropConnections() },
		"silent": func(_ *world, r *relay) { r.silence(true) },
		"busy": func(w *world, _ *relay) {
			w.broker.Fail(sim.Fault{Operation: sim.OpRenewSessionLock, Condition: "com.microsoft:server-busy", Times: 1000})
		},
		"detached": func(_ *world, r *relay) { r.detach(lanes) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := realWorld(t)
			relay := newRelay(t, w)
			s := w.accept(relay.client(servicebus.Options{LockDuration: realLock}), "anna")
			ctx, cancel, err := s.Guard(t.Context())
			w.must(err)
			defer cancel()
			lose(w, relay)
			<-ctx.Done()
			w.eventually("the end of the lock", func() bool {
				_, _, err := s.Guard(t.Context())
				return errors.Is(err, queue.ErrLockLost)
			})
			w.want(s.SetState(t.Context(), []byte("stale")), queue.ErrLockLost)
			if n := relay.accepts(lanes); n != 1 {
				t.Errorf("the session was asked for %d times", n)
			}
			if name == "busy" {
				w.broker.ClearFaults()
			}
		})
	}
}

// A broker that is busy for a moment costs nothing.
func TestBusyBrokerDoesNotCostTheLock(t *testing.T) {
	t.Parallel()
	w := realWorld(t)
	w.broker.Fail(sim.Fault{Operation: sim.OpRenewSessionLock, Condition: "com.microsoft:server-busy"})
	s := w.accept(w.client, "anna")
	ctx, cancel, err := s.Guard(t.Context())
	w.must(err)
	defer cancel()
	<-ctx.Done()
	w.must(s.SetState(t.Context(), []byte("ours")))
}
