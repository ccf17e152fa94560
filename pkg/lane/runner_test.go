package lane_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// runner works on the lanes of the world with the real client.
func (w *world) runner(lanesAtOnce int, handle handlerFunc) *lane.Runner {
	w.engine.Handler, w.engine.Sender = handle, w.client
	return &lane.Runner{
		Engine: w.engine, Lanes: lanesAtOnce, IdleExit: 20 * time.Millisecond, Grace: time.Minute, Log: slog.New(slog.DiscardHandler),
		Accept: func(ctx context.Context, wait time.Duration) (lane.Session, error) {
			s, err := w.client.AcceptNext(ctx, lanes, wait)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
}

type handlerFunc func(context.Context, *lane.Turn) (lane.Verdict, error)

func (f handlerFunc) Handle(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	return f(ctx, t)
}

// postTo sends an event to the lane of a person.
func (w *world) postTo(laneID, id string) {
	w.t.Helper()
	e := event.Event{
		ID: id, Source: "hr", Origin: "hr", Key: event.NewKey("hr", id), Type: event.Joiner, Time: w.clock.Now(), ReceivedAt: w.clock.Now(),
		Data: json.RawMessage(`{"person":{"employeeId":"E1042"}}`),
	}
	body, err := e.Encode()
	if err == nil {
		err = w.client.Send(w.t.Context(), lanes, queue.Message{ID: e.Key, SessionID: laneID, Key: e.Key, Body: body})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Lanes are worked on side by side, each in its own order.
func TestRunnerWorksOnSeveralLanesAtOnce(t *testing.T) {
	w := newWorld(t)
	const people = 4
	for i := range 2 * people {
		w.postTo(fmt.Sprint("person-", i%people), fmt.Sprint(i))
	}
	var together sync.WaitGroup // everybody's first event is in progress
	together.Add(people)
	var mu sync.Mutex
	order := map[string]string{}
	r := w.runner(people, func(_ context.Context, turn *lane.Turn) (lane.Verdict, error) {
		mu.Lock()
		first := order[turn.Message.SessionID] == ""
		order[turn.Message.SessionID] += turn.Event.ID + " "
		mu.Unlock()
		if first {
			together.Done()
			together.Wait()
		}
		return lane.Finished(ledger.Done, ""), nil
	})
	if n, _ := r.Run(within(t, 30*time.Second)); n != 2*people {
		t.Errorf("%d events settled", n)
	}
	for i := range people {
		if got, want := order[fmt.Sprint("person-", i)], fmt.Sprint(i, " ", i+people, " "); got != want {
			t.Errorf("person %d: events in order %s, want %s", i, got, want)
		}
	}
	if c := w.counts(lanes); c.Active != 0 {
		t.Errorf("queue %+v", c)
	}
}

// A run with a deadline ends when there is nothing to do; one without goes on.
func TestRunnerIdle(t *testing.T) {
	var accepts atomic.Int32
	r := &lane.Runner{
		Engine: &lane.Engine{Queue: lanes}, Lanes: 3, IdleExit: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Accept: func(ctx context.Context, wait time.Duration) (lane.Session, error) {
			accepts.Add(1)
			ctx, cancel := context.WithTimeout(ctx, min(wait, time.Millisecond))
			defer cancel()
			<-ctx.Done()
			return nil, queue.ErrEmpty
		},
	}
	ctx := within(t, time.Hour)
	if n, _ := r.Run(ctx); n != 0 || ctx.Err() != nil {
		t.Errorf("%d settled, %v", n, ctx.Err())
	}

	longLived, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	accepts.Store(0)
	go func() { n, _ := r.Run(longLived); ended <- n }()
	for accepts.Load() < 200 { // well over the time after which the other one ended
		select {
		case <-ended:
			t.Fatal("a run without a deadline ended by itself")
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	<-ended
}

// The end of the run lets the event in progress finish and be settled, and starts no
// other, not even in the same lane.
func TestRunnerFinishesWhatIsInProgress(t *testing.T) {
	w := newWorld(t)
	w.postTo("anna", "1")
	w.postTo("anna", "2")
	w.postTo("bert", "3")
	ctx, stop := context.WithCancel(t.Context())
	r := w.runner(1, func(ctx context.Context, turn *lane.Turn) (lane.Verdict, error) {
		stop()
		if turn.Event.ID != "1" || ctx.Err() != nil {
			t.Errorf("event %s with %v", turn.Event.ID, ctx.Err())
		}
		return lane.Finished(ledger.Done, ""), nil
	})
	if n, _ := r.Run(ctx); n != 1 {
		t.Errorf("%d settled", n)
	}
	if c := w.counts(lanes); c.Active != 2 || c.Locked != 0 {
		t.Errorf("queue %+v", c)
	}
}

// Grace is bounded: what is not finished then is given back, and comes again.
func TestRunnerGivesUpAfterTheGraceTime(t *testing.T) {
	w := newWorld(t)
	w.postTo("anna", "1")
	ctx, stop := context.WithCancel(t.Context())
	r := w.runner(2, func(ctx context.Context, _ *lane.Turn) (lane.Verdict, error) {
		stop()
		<-ctx.Done()
		return lane.Verdict{}, ctx.Err()
	})
	r.Grace = 50 * time.Millisecond
	if n, _ := r.Run(ctx); n != 0 {
		t.Errorf("%d settled", n)
	}
	if c := w.counts(lanes); c.Active != 1 || c.Locked != 0 {
		t.Errorf("queue %+v", c)
	}
	// What the first run gave up may have cost the connection, so the next one has patience.
	next, done := context.WithCancel(t.Context())
	r = w.runner(1, func(context.Context, *lane.Turn) (lane.Verdict, error) {
		done()
		return lane.Finished(ledger.Done, ""), nil
	})
	if n, _ := r.Run(next); n != 1 {
		t.Errorf("%d settled by the next run", n)
	}
}

// A run that is over before it began takes nothing.
func TestRunnerAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	w.postTo("anna", "1")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r := w.runner(2, func(context.Context, *lane.Turn) (lane.Verdict, error) {
		t.Error("an event was started")
		return lane.Finished(ledger.Done, ""), nil
	})
	if n, _ := r.Run(ctx); n != 0 {
		t.Errorf("%d settled", n)
	}
}

// A session that arrives as the run ends is given back at once.
func TestRunnerClosesASessionThatComesTooLate(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s := &closing{}
	r := &lane.Runner{
		Engine: &lane.Engine{Queue: lanes}, Lanes: 1, Log: slog.New(slog.DiscardHandler),
		Accept: func(context.Context, time.Duration) (lane.Session, error) { stop(); return s, nil },
	}
	r.Run(ctx)
	if s.closed != 1 {
		t.Errorf("closed %d times", s.closed)
	}
}

// closing is a session that can be closed and loses its lock at once.
type closing struct {
	lane.Session
	closed int
	tried  func() // nil, or told of each try to receive
}

func (*closing) ID() string { return "lost" }

func (c *closing) Receive(context.Context, time.Duration) (queue.Received, error) {
	if c.tried != nil {
		c.tried()
	}
	return queue.Received{}, queue.ErrLockLost
}

func (c *closing) Close() { c.closed++ }

// Failures are logged and slow down whoever meets them; the first success makes them
// fast again.
func TestRunnerBacksOff(t *testing.T) {
	for name, accept := range map[string]func(tried func()) (lane.Session, error){
		"no lane":     func(tried func()) (lane.Session, error) { tried(); return nil, errors.New("refused") },
		"lane failed": func(tried func()) (lane.Session, error) { return &closing{tried: tried}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var at []time.Time
			ctx, stop := context.WithCancel(t.Context())
			r := &lane.Runner{
				Engine: &lane.Engine{Queue: lanes}, Lanes: 1, Log: slog.New(slog.NewTextHandler(&log, nil)),
				Accept: func(context.Context, time.Duration) (lane.Session, error) {
					return accept(func() {
						if at = append(at, time.Now()); len(at) == 4 {
							stop()
						}
					})
				},
			}
			r.Run(ctx)
			// Half of 200, 400 and 800 ms at least: jitter takes the rest.
			for i, least := range []time.Duration{100, 200, 400} {
				if pause := at[i+1].Sub(at[i]); pause < least*time.Millisecond {
					t.Errorf("pause %d is %s", i+1, pause)
				}
			}
			if n := strings.Count(log.String(), name); n < 3 {
				t.Errorf("%d lines say so:\n%s", n, &log)
			}
		})
	}
}

// A run in which the broker never answered has failed: its queue may be full.
func TestRunnerWithoutABroker(t *testing.T) {
	w := newWorld(t)
	w.sim.SetDown(true)
	r := w.runner(2, func(context.Context, *lane.Turn) (lane.Verdict, error) { return lane.Finished(ledger.Done, ""), nil })
	r.IdleExit = 500 * time.Millisecond
	if n, err := r.Run(within(t, 30*time.Second)); !errors.Is(err, queue.ErrUnavailable) || n != 0 {
		t.Errorf("%d settled, %v; want queue.ErrUnavailable", n, err)
	}
	w.sim.SetDown(false)
	if n, err := r.Run(within(t, 30*time.Second)); err != nil || n != 0 {
		t.Errorf("%d settled, %v", n, err)
	}
}

// A run in which lanes failed and nothing was settled has failed, too; a lock that somebody
// else has now is no failure.
func TestRunnerSettlesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		fails func(turns int) error
		fail  bool
	}{
		"every turn fails":  {func(int) error { return errors.New("no right to send") }, true},
		"the first fails":   {func(turns int) error { return map[bool]error{true: errors.New("once")}[turns == 1] }, false},
		"the lock was lost": {func(int) error { return queue.ErrLockLost }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.postTo("anna", "1")
			turns := 0
			ctx, stop := context.WithCancel(t.Context())
			r := w.runner(1, func(context.Context, *lane.Turn) (lane.Verdict, error) {
				turns++
				err := c.fails(turns)
				if turns == 2 {
					stop()
				}
				return lane.Finished(ledger.Done, ""), err
			})
			if n, err := r.Run(ctx); (err != nil) != c.fail || err != nil && n != 0 {
				t.Errorf("%d settled, %v", n, err)
			}
		})
	}
}
