package servicebus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	sim "mfaflow/pkg/sim/servicebus"
)

func (w *world) receiver(c *servicebus.Client) *servicebus.Receiver {
	w.t.Helper()
	r, err := c.Receiver(plain)
	w.must(err)
	w.t.Cleanup(r.Close)
	return r
}

// put sends messages to the queue without sessions.
func (w *world) put(ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.must(w.client.Send(w.t.Context(), plain, queue.Message{
			ID: id, Key: "key-" + id, Body: []byte(id), Properties: map[string]string{"kept": "as sent", "changed": "no"},
		}))
	}
}

func (w *world) take(r *servicebus.Receiver) queue.Received {
	w.t.Helper()
	m, err := r.Receive(w.t.Context(), patience)
	w.must(err)
	return m
}

func TestReceiverSettles(t *testing.T) {
	w := newWorld(t)
	r := w.receiver(w.client)
	_, err := r.Receive(t.Context(), 10*time.Millisecond)
	w.want(err, queue.ErrEmpty)

	w.put("a", "b", "c")
	a := w.take(r)
	if a.ID != "a" || a.Key != "key-a" || string(a.Body) != "a" || a.DeliveryCount != 1 || !a.EnqueuedAt.Equal(t0) || a.Properties["kept"] != "as sent" {
		t.Errorf("got %+v", a)
	}
	b := w.take(r)
	w.must(r.Complete(t.Context(), a))
	w.want(r.Complete(t.Context(), a), queue.ErrLockLost)
	w.must(r.Abandon(t.Context(), b))
	if b = w.take(r); b.ID != "b" || b.DeliveryCount != 2 {
		t.Errorf("abandoned, then got %s delivered %d times", b.ID, b.DeliveryCount)
	}
	w.must(r.DeadLetter(t.Context(), b, "some-reason", "the fix", map[string]string{"more": "yes"}))
	c := w.take(r)
	w.must(r.RenewLock(t.Context(), c))
	w.must(r.Complete(t.Context(), c))
	w.wantCounts(plain, sim.Counts{DeadLetter: 1})
}

// What is written with a defer stays with the message, over any number of them.
func TestReceiverDefersWithProperties(t *testing.T) {
	w := newWorld(t)
	r := w.receiver(w.client)
	w.put("a")
	m := w.take(r)
	w.must(r.Defer(t.Context(), m, map[string]string{"changed": "once"}))
	w.wantCounts(plain, sim.Counts{Deferred: 1})
	for _, changed := range []string{"once", "twice", "thrice"} {
		seen, err := r.Peek(t.Context(), m.Sequence)
		w.must(err)
		again, err := r.ReceiveDeferred(t.Context(), m.Sequence)
		w.must(err)
		want := map[string]string{"kept": "as sent", "changed": changed}
		if d := cmp.Diff(want, seen.Properties) + cmp.Diff(want, again.Properties); d != "" || again.Key != "key-a" || again.DeliveryCount != 1 {
			t.Errorf("%+v\n%s", again, d)
		}
		next := map[string]string{"once": "twice", "twice": "thrice"}[changed]
		if next == "" {
			w.must(r.Complete(t.Context(), again))
			break
		}
		w.must(r.Defer(t.Context(), again, map[string]string{"changed": next}))
	}
	w.wantCounts(plain, sim.Counts{})
	_, err := r.Peek(t.Context(), m.Sequence)
	w.want(err, queue.ErrGone)
	_, err = r.ReceiveDeferred(t.Context(), m.Sequence)
	w.want(err, queue.ErrGone)
}

// What somebody else holds is not to be had, and a peek still sees it. A peeked
// message cannot be settled.
func TestReceiverAndAnother(t *testing.T) {
	w := newWorld(t)
	ours, theirs := w.receiver(w.client), w.receiver(w.newClient(servicebus.Options{}))
	w.put("a")
	m := w.take(theirs)
	for _, state := range []string{"active", "deferred"} {
		_, err := ours.ReceiveDeferred(t.Context(), m.Sequence)
		if w.want(err, queue.ErrGone); t.Failed() {
			t.Fatal(state)
		}
		seen, err := ours.Peek(t.Context(), m.Sequence)
		if err != nil || seen.ID != "a" {
			t.Errorf("%s: saw %+v, %v", state, seen, err)
		}
		w.want(ours.Complete(t.Context(), seen), queue.ErrLockLost)
		if state == "active" {
			w.must(theirs.Defer(t.Context(), m, nil))
			m, err = theirs.ReceiveDeferred(t.Context(), m.Sequence)
			w.must(err)
		}
	}
	// Its holder dies; a minute later the message is there for us.
	w.clock.Advance(61 * time.Second)
	m, err := ours.ReceiveDeferred(t.Context(), m.Sequence)
	w.must(err)
	w.must(ours.Complete(t.Context(), m))
}

// The broker knows better than we: a lock that it has ended is lost at the next call.
func TestReceiverLosesALockAtTheBroker(t *testing.T) {
	w := newWorld(t)
	r := w.receiver(w.client)
	for name, settle := range map[string]func(queue.Received) error{
		"complete":    func(m queue.Received) error { return r.Complete(t.Context(), m) },
		"abandon":     func(m queue.Received) error { return r.Abandon(t.Context(), m) },
		"defer":       func(m queue.Received) error { return r.Defer(t.Context(), m, nil) },
		"dead-letter": func(m queue.Received) error { return r.DeadLetter(t.Context(), m, "r", "d", nil) },
		"renew":       func(m queue.Received) error { return r.RenewLock(t.Context(), m) },
	} {
		t.Run(name, func(t *testing.T) {
			w.put(name)
			m := w.take(r)
			w.clock.Advance(61 * time.Second)
			w.want(settle(m), queue.ErrLockLost)
			_, _, err := r.Guard(t.Context(), m)
			w.want(err, queue.ErrLockLost)
			w.must(r.Complete(t.Context(), w.take(r)))
		})
	}
}

// Our own clock is enough to know that a lock has ended: the broker's stands still.
func TestReceiverJudgesTheLockLocally(t *testing.T) {
	w := newWorld(t)
	r := w.receiver(w.newClient(servicebus.Options{LockDuration: 300 * time.Millisecond}))
	w.put("a", "b")
	m := w.take(r)
	ctx, cancel, err := r.Guard(t.Context(), m)
	w.must(err)
	defer cancel()
	if until, ok := ctx.Deadline(); !ok || time.Until(until) > 300*time.Millisecond {
		t.Errorf("the lock is good until %s", until)
	}
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), queue.ErrLockLost) {
		t.Errorf("ended because of %v", context.Cause(ctx))
	}
	w.want(r.Complete(t.Context(), m), queue.ErrLockLost)
	w.want(r.RenewLock(t.Context(), m), queue.ErrLockLost)

	other := w.take(r)
	w.must(r.RenewLock(t.Context(), other))
	w.must(r.Complete(t.Context(), other))
	w.wantCounts(plain, sim.Counts{Active: 1, Locked: 1})
}

// A message that is waited for longer than a lock lasts is still ours when it comes.
func TestReceiverWaitsLongerThanTheLock(t *testing.T) {
	w := newWorld(t)
	r := w.receiver(w.newClient(servicebus.Options{LockDuration: 2 * time.Second}))
	type result struct {
		m   queue.Received
		err error
	}
	got := make(chan result)
	asked := time.Now()
	go func() {
		m, err := r.Receive(context.WithoutCancel(t.Context()), patience)
		got <- result{m, err}
	}()
	w.eventually("most of a lock's duration", func() bool { return time.Since(asked) > 1500*time.Millisecond })
	w.put("a")
	x := <-got
	w.must(x.err)
	ctx, cancel, err := r.Guard(t.Context(), x.m)
	w.must(err)
	defer cancel()
	if until, _ := ctx.Deadline(); until.Sub(asked) < 3*time.Second {
		t.Errorf("the lock counts from when the message was asked for")
	}
	w.must(r.Complete(t.Context(), x.m))
}

func TestReceiverOfABrokerInTrouble(t *testing.T) {
	w := newWorld(t)
	r := w.receiver(w.client)
	w.put("a", "b")
	m := w.take(r)
	w.broker.DropConnections()
	began := time.Now()
	w.want(r.Complete(t.Context(), m), queue.ErrUnavailable)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("gave up after %s", took)
	}
	w.clock.Advance(61 * time.Second)
	r = w.receiver(w.client)
	if m = w.take(r); m.ID != "a" || m.DeliveryCount != 2 {
		t.Errorf("got %s, delivered %d times", m.ID, m.DeliveryCount)
	}
	w.must(r.Complete(t.Context(), m))

	m = w.take(r)
	w.broker.SetDown(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := r.Complete(ctx, m); err == nil {
		t.Error("completed at a broker that is down")
	}
	if _, err := r.Receive(ctx, 100*time.Millisecond); err == nil {
		t.Error("received from a broker that is down")
	}
	w.broker.SetDown(false)
	w.wantCounts(plain, sim.Counts{Active: 1, Locked: 1})

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Receive(gone, time.Second)
	w.want(err, context.Canceled)
}

func TestReceiverOfAClosedClient(t *testing.T) {
	w := newWorld(t)
	c := w.newClient(servicebus.Options{})
	c.Close()
	_, err := c.Receiver(plain)
	w.want(err, queue.ErrUnavailable)
}
