package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	sbsim "mfaflow/pkg/sim/servicebus"
)

const lockDuration = 30 * time.Second

func startBroker(t testing.TB) (*sbsim.Server, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(t0)
	s, err := sbsim.Start(context.Background(), sbsim.Options{Clock: c, Queues: []sbsim.QueueConfig{
		{Name: "control", RequiresSession: true, LockDuration: lockDuration},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

// join is a worker with a connection of its own, as every process has.
func join(t testing.TB, s *sbsim.Server, l breaker.Limits, wrap func(breaker.Session) breaker.Session) *worker {
	t.Helper()
	c, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(s.ConnectionString()), LockDuration: lockDuration})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return newWorker(t, func(ctx context.Context) (breaker.Session, error) {
		session, err := c.Accept(ctx, "control", breaker.SessionID, 5*time.Second)
		if err != nil {
			return nil, err
		}
		return wrap(session), nil
	}, l)
}

func plain(s breaker.Session) breaker.Session { return s }

// 32 workers, each event delivered to two of them: exactly as many as the limit says
// are let through, and both who got an event hear the same.
func TestConcurrentWorkers(t *testing.T) {
	const workers, each, limit = 32, 8, 25
	s, _ := startBroker(t)
	var list []*worker
	for range workers {
		list = append(list, join(t, s, atMost(limit), plain))
	}
	var mu sync.Mutex
	granted, refused := map[string]int{}, map[string]int{}
	started := time.Now()
	var slowest time.Duration
	var wg sync.WaitGroup
	for i, w := range list {
		wg.Go(func() {
			for j := range each {
				key := fmt.Sprint("event-", (i/2)*each+j)
				asked := time.Now()
				d, err := w.b.Reserve(t.Context(), leaver(key))
				mu.Lock()
				slowest = max(slowest, time.Since(asked))
				switch {
				case err != nil:
					t.Errorf("worker %d, %s: %v", i, key, err)
				case d.Granted:
					granted[key]++
				default:
					refused[key]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	took := time.Since(started)
	t.Logf("%d requests by %d workers in %s: %.0f/s, slowest %s", workers*each, workers, took, workers*each/took.Seconds(), slowest)
	if len(granted) != limit || len(refused) != workers*each/2-limit {
		t.Errorf("%d events granted and %d refused, want %d and %d", len(granted), len(refused), limit, workers*each/2-limit)
	}
	for key, n := range granted {
		if n != 2 {
			t.Errorf("%s was granted to %d of two", key, n)
		}
	}
	if st := list[0].status(); st.Ordinary != limit || st.Counts[breaker.Leaver] != limit {
		t.Errorf("status %+v", st)
	}
}

// hooked does something between reading and writing.
type hooked struct {
	breaker.Session
	beforeSet func()
}

func (h hooked) SetState(ctx context.Context, state []byte) error {
	h.beforeSet()
	return h.Session.SetState(ctx, state)
}

// A worker stalls between its read and its write; another takes the session and uses
// the last of the limit. The first must not run on what it had read.
func TestLockLostInTheMiddle(t *testing.T) {
	s, clk := startBroker(t)
	other := join(t, s, atMost(1), plain)
	stall := func() {
		clk.Advance(lockDuration + time.Second)
		if d := other.reserve(leaver("b")); !d.Granted {
			t.Errorf("other: %s", d)
		}
	}
	w := join(t, s, atMost(1), func(s breaker.Session) breaker.Session { return hooked{s, func() { stall() }} })
	if d, err := w.b.Reserve(t.Context(), leaver("a")); !errors.Is(err, breaker.ErrUnavailable) || d.Granted {
		t.Fatalf("stalled: %v, %v", d, err)
	}
	stall = func() {}
	if d := w.reserve(leaver("a")); d.Granted {
		t.Errorf("again: %s", d)
	}
	if d := w.reserve(leaver("b")); !d.Granted || d.Counted != 1 {
		t.Errorf("the other's: %s", d)
	}
}

func TestFaultsOfTheBroker(t *testing.T) {
	for name, fault := range map[string]sbsim.Fault{
		"cut before the write":       {Operation: sbsim.OpSetSessionState},
		"cut after the write":        {Operation: sbsim.OpSetSessionState, AfterEffect: true},
		"busy before the write":      {Operation: sbsim.OpSetSessionState, Condition: "com.microsoft:server-busy"},
		"lock lost at the write":     {Operation: sbsim.OpSetSessionState, Condition: "com.microsoft:session-lock-lost"},
		"cut at the read":            {Operation: sbsim.OpGetSessionState},
		"cut when the session opens": {Operation: sbsim.OpAttachReceiver},
	} {
		t.Run(name, func(t *testing.T) {
			s, clk := startBroker(t)
			w := join(t, s, atMost(1), plain)
			s.Fail(fault)
			if d, err := w.b.Reserve(t.Context(), leaver("a")); !errors.Is(err, breaker.ErrUnavailable) || d.Granted {
				t.Fatalf("%v, %v", d, err)
			}
			clk.Advance(lockDuration + time.Second) // a link that was cut may hold the session until then
			d, err := w.b.Reserve(t.Context(), leaver("a"))
			if errors.Is(err, breaker.ErrUnavailable) { // the client learns only now that its connection is gone
				d, err = w.b.Reserve(t.Context(), leaver("a"))
			}
			if err != nil || !d.Granted || d.Counted != 1 {
				t.Errorf("again: %s, %v", d, err)
			}
			if d := join(t, s, atMost(1), plain).reserve(leaver("b")); d.Granted || d.Counted != 1 {
				t.Errorf("another: %s", d)
			}
		})
	}
}

func TestBrokerDown(t *testing.T) {
	s, _ := startBroker(t)
	w := join(t, s, atMost(1), plain)
	w.reserve(leaver("a"))
	s.SetDown(true)
	if d, err := w.b.Reserve(t.Context(), leaver("a")); !errors.Is(err, breaker.ErrUnavailable) || d.Granted {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := w.b.State(t.Context()); !errors.Is(err, breaker.ErrUnavailable) {
		t.Errorf("state: %v", err)
	}
	s.SetDown(false)
	if d := w.reserve(leaver("a")); !d.Granted || d.Counted != 1 {
		t.Errorf("again: %s", d)
	}
}

// The largest state passes through the broker.
func TestFullStateOnTheBroker(t *testing.T) {
	s, _ := startBroker(t)
	w := join(t, s, breaker.Limits{Window: breaker.MinWindow, Count: 1, ImmediateCount: 1}, func(s breaker.Session) breaker.Session {
		if state, err := s.State(t.Context()); err == nil && state == nil {
			if err := s.SetState(t.Context(), full(t, breaker.Capacity-1)); err != nil {
				t.Error(err)
			}
		}
		return s
	})
	if d := w.reserve(breaker.Request{Key: "last", Class: breaker.Leaver, Released: true}); !d.Granted {
		t.Fatalf("%s", d)
	}
	if st := w.status(); st.Ordinary+st.Immediate != breaker.Capacity {
		t.Errorf("status %+v", st)
	}
}
