package notify_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/queue"
	sim "mfaflow/pkg/sim/servicebus"
)

// counting counts notices from several goroutines.
type counting struct {
	mu    sync.Mutex
	told  map[string]int
	each  func(n int)
	block chan struct{}
}

func (c *counting) Name() string { return "teams" }

func (c *counting) Tell(ctx context.Context, n notify.Notice) error {
	if c.block != nil {
		select {
		case <-c.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[n.ID]++
	if c.each != nil {
		c.each(len(c.told))
	}
	return nil
}

func (w *world) runner(c notify.Channel) *notify.Runner {
	w.notifier.Channels = []notify.Channel{c}
	w.notifier.Sender, w.notifier.Metrics = w.client, nil
	return &notify.Runner{
		Notifier: w.notifier, IdleExit: 200 * time.Millisecond, Grace: 5 * time.Second, Log: w.notifier.Log,
		Open: func() (notify.Receiver, error) {
			r, err := w.client.Receiver(flagsQueue)
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	}
}

func (w *world) raiseMany(n int) {
	w.t.Helper()
	for i := range n {
		f := held()
		f.Sequence, f.Cause, f.User = int64(i+1), flag.Held, anna
		w.raise(f)
	}
}

// A drain with a deadline tells everything and ends by itself.
func TestRunDrainsAndEnds(t *testing.T) {
	w, _ := newWorld(t)
	c := &counting{told: map[string]int{}}
	w.raiseMany(40)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if n, _ := w.runner(c).Run(ctx); n != 40 {
		t.Errorf("settled %d", n)
	}
	if ctx.Err() != nil {
		t.Error("it did not end by itself")
	}
	w.wantCounts(sim.Counts{Deferred: 40, Scheduled: 40})
	for id, n := range c.told {
		if n != 1 || len(c.told) != 40 {
			t.Errorf("%s told %d times", id, n)
		}
	}
}

// Without a deadline it goes on until it is told to end, and then finishes what it has
// in hand.
func TestRunEndsWhenTold(t *testing.T) {
	w, _ := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := &counting{told: map[string]int{}, each: func(n int) {
		if n == 3 {
			cancel()
		}
	}}
	w.raiseMany(3)
	done := make(chan int)
	r := w.runner(c)
	go func() { n, _ := r.Run(ctx); done <- n }()
	if n := <-done; n != 3 {
		t.Errorf("settled %d", n)
	}
	w.wantCounts(sim.Counts{Deferred: 3, Scheduled: 3})
}

// What hangs when the time is up is cut off after the grace, and recorded as nothing.
func TestRunCutsOffAfterTheGrace(t *testing.T) {
	w, _ := newWorld(t)
	c := &counting{told: map[string]int{}, block: make(chan struct{})}
	w.raiseMany(1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r := w.runner(c)
	r.Grace = 50 * time.Millisecond
	if n, _ := r.Run(ctx); n != 0 {
		t.Errorf("settled %d", n)
	}
	close(c.block)
	w.clock.Advance(3 * time.Minute)
	if n, _ := r.Run(within(t, 10*time.Second)); n != 1 || len(c.told) != 1 {
		t.Errorf("settled %d, told %v", n, c.told)
	}
	w.wantCounts(sim.Counts{Deferred: 1})
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// The broker goes away and comes back: nothing is lost, and a failure to open a
// receiver is survived.
func TestRunSurvivesTheBroker(t *testing.T) {
	w, _ := newWorld(t)
	c := &counting{told: map[string]int{}}
	w.raiseMany(5)
	r := w.runner(c)
	open, failures := r.Open, 0
	var mu sync.Mutex
	r.Open = func() (notify.Receiver, error) {
		mu.Lock()
		failures++
		fail := failures <= 3
		mu.Unlock()
		if fail {
			return nil, fmt.Errorf("open: %w", queue.ErrUnavailable)
		}
		return open()
	}
	w.broker.Fail(sim.Fault{Queue: flagsQueue, Operation: sim.OpReceiveDeferred, Times: 2})
	w.broker.Fail(sim.Fault{Queue: flagsQueue, Operation: sim.OpDefer, Times: 2})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	r.IdleExit = 0
	go func() { _, _ = r.Run(ctx); close(done) }()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		w.clock.Advance(5 * time.Second)
		if got := w.counts(); got == (sim.Counts{Deferred: 5}) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("never settled: %+v", w.counts())
		}
	}
	cancel()
	<-done
	if len(c.told) != 5 {
		t.Errorf("told %d flags", len(c.told))
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("it ended by itself")
	}
}

// A run that could settle nothing has failed: nobody would hear that flags pile up.
func TestRunThatSettlesNothing(t *testing.T) {
	refused := func(op sim.Operation) func(*world) {
		return func(w *world) {
			w.broker.Fail(sim.Fault{Queue: flagsQueue, Operation: op, Condition: "amqp:unauthorized-access", Times: 1000})
		}
	}
	for name, plant := range map[string]func(*world){
		"the broker is away":          func(w *world) { w.broker.SetDown(true) },
		"the broker refuses to give":  refused(sim.OpAttachReceiver),
		"the broker refuses wake-ups": refused(sim.OpSend),
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newWorld(t)
			w.raiseMany(1)
			plant(w)
			r := w.runner(&counting{told: map[string]int{}})
			r.IdleExit = 3 * time.Second // on a busy machine it takes a while to be refused
			if n, err := r.Run(within(t, 30*time.Second)); n != 0 || err == nil {
				t.Errorf("settled %d, %v", n, err)
			}
		})
	}
}

// An empty queue is no failure, nor is a failure that was over before the end.
func TestRunWithNothingToDo(t *testing.T) {
	w, _ := newWorld(t)
	w.broker.Fail(sim.Fault{Queue: flagsQueue, Operation: sim.OpAttachReceiver, Condition: "amqp:unauthorized-access"})
	r := w.runner(&counting{told: map[string]int{}})
	r.IdleExit = 2 * time.Second
	if n, err := r.Run(within(t, 30*time.Second)); n != 0 || err != nil {
		t.Errorf("settled %d, %v", n, err)
	}
}
