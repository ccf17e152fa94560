package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// shared is the session of the control queue in memory, for what does not depend on
// a broker.
type shared struct {
	mu    sync.Mutex
	held  bool
	state []byte
	// lost makes SetState fail after it took effect.
	lost bool
	sets int
}

func (s *shared) accept(context.Context) (breaker.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil, queue.ErrBusy
	}
	s.held = true
	return s, nil
}

func (s *shared) State(context.Context) ([]byte, error) { return s.state, nil }

func (s *shared) SetState(_ context.Context, state []byte) error {
	s.state = state
	s.sets++
	if s.lost {
		return queue.ErrLockLost
	}
	return nil
}

func (s *shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
}

// worker is one worker with a clock of its own.
type worker struct {
	t   testing.TB
	b   *breaker.Breaker
	now time.Time
}

func newWorker(t testing.TB, accept func(context.Context) (breaker.Session, error), l breaker.Limits) *worker {
	t.Helper()
	w := &worker{t: t, now: t0}
	var err error
	if w.b, err = breaker.New(breaker.Options{Accept: accept, Limits: l, Now: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *worker) reserve(r breaker.Request) breaker.Decision {
	w.t.Helper()
	d, err := w.b.Reserve(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *worker) status() breaker.Status {
	w.t.Helper()
	s, err := w.b.State(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func leaver(key string) breaker.Request {
	return breaker.Request{Key: key, Class: breaker.Leaver, People: 1000}
}

// count only, within an hour.
func atMost(n int) breaker.Limits {
	return breaker.Limits{Window: time.Hour, Count: n, ImmediateCount: max(n, 10)}
}

func TestLimits(t *testing.T) {
	both := breaker.Limits{Window: time.Hour, Count: 25, Percent: 5, ImmediateCount: 100, ImmediatePercent: 20}
	for name, c := range map[string]struct {
		limits breaker.Limits
		class  breaker.Class
		people int
		want   int
	}{
		"large tenant":                   {both, breaker.Leaver, 100000, 25},
		"share and count meet":           {both, breaker.Leaver, 500, 25},
		"share is the lower":             {both, breaker.Reregistration, 499, 24},
		"share is rounded down":          {both, breaker.Compromise, 59, 2},
		"never less than one person":     {both, breaker.Leaver, 3, 1},
		"immediate in a large tenant":    {both, breaker.ImmediateLeaver, 100000, 100},
		"immediate in a small tenant":    {both, breaker.ImmediateLeaver, 40, 8},
		"no share":                       {atMost(7), breaker.Leaver, 3, 7},
		"no share and people not known":  {atMost(7), breaker.Leaver, 0, 7},
		"share is of the one class only": {breaker.Limits{Window: time.Hour, Count: 4, Percent: 50, ImmediateCount: 12}, breaker.ImmediateLeaver, 0, 12},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorker(t, (&shared{}).accept, c.limits)
			for i := range c.want {
				d := w.reserve(breaker.Request{Key: fmt.Sprint("k", i), Class: c.class, People: c.people})
				if want := (breaker.Decision{Granted: true, Class: c.class, Counted: i + 1, Limit: c.want, Window: time.Hour}); d != want {
					t.Fatalf("request %d: %+v, want %+v", i, d, want)
				}
			}
			d := w.reserve(breaker.Request{Key: "one more", Class: c.class, People: c.people})
			want := breaker.Decision{Class: c.class, Counted: c.want, Limit: c.want, Window: time.Hour, RoomAt: t0.Add(61 * time.Minute)}
			if d != want {
				t.Errorf("one more: %+v, want %+v", d, want)
			}
		})
	}
}

func TestClassesShareALimitButImmediateLeavers(t *testing.T) {
	w := newWorker(t, (&shared{}).accept, breaker.Limits{Window: time.Hour, Count: 3, ImmediateCount: 4})
	ordinary := []breaker.Class{breaker.Leaver, breaker.Reregistration, breaker.Compromise}
	for _, c := range ordinary {
		if d := w.reserve(breaker.Request{Key: string(c), Class: c}); !d.Granted {
			t.Errorf("%s: %s", c, d)
		}
	}
	for _, c := range ordinary {
		if d := w.reserve(breaker.Request{Key: "more " + string(c), Class: c}); d.Granted {
			t.Errorf("%s: %s", c, d)
		}
	}
	for i := range 5 {
		d := w.reserve(breaker.Request{Key: fmt.Sprint("now ", i), Class: breaker.ImmediateLeaver})
		if d.Granted != (i < 4) {
			t.Errorf("immediate leaver %d: %s", i, d)
		}
	}
	want := breaker.Status{
		Limits: breaker.Limits{Window: time.Hour, Count: 3, ImmediateCount: 4},
		Counts: map[breaker.Class]int{
			breaker.Leaver: 1, breaker.Reregistration: 1, breaker.Compromise: 1, breaker.ImmediateLeaver: 4,
		},
		Ordinary: 3, Immediate: 4, FreesAt: t0.Add(61 * time.Minute),
	}
	if diff := cmp.Diff(want, w.status()); diff != "" {
		t.Error(diff)
	}
}

// Half now, half later: the window slides, it does not start anew.
func TestWindowSlides(t *testing.T) {
	w := newWorker(t, (&shared{}).accept, atMost(4))
	try := func(after time.Duration, key string, want bool) breaker.Decision {
		t.Helper()
		w.now = t0.Add(after)
		d := w.reserve(leaver(key))
		if d.Granted != want {
			t.Errorf("%s after %s: %s", key, after, d)
		}
		return d
	}
	try(0, "a", true)
	try(0, "b", true)
	try(40*time.Minute, "c", true)
	try(40*time.Minute, "d", true)
	if d := try(59*time.Minute, "e", false); !d.RoomAt.Equal(t0.Add(61 * time.Minute)) {
		t.Errorf("room at %s", d.RoomAt)
	}
	try(60*time.Minute, "e", false) // a clock may be ahead by a minute
	try(61*time.Minute, "e", true)
	try(61*time.Minute, "f", true)
	if d := try(100*time.Minute, "g", false); !d.RoomAt.Equal(t0.Add(101 * time.Minute)) {
		t.Errorf("room at %s", d.RoomAt)
	}
	try(101*time.Minute, "g", true)
	if got := w.status(); got.Ordinary != 3 || !got.FreesAt.Equal(t0.Add(122*time.Minute)) {
		t.Errorf("status %+v", got)
	}
}

// What is counted together is kept until the last of it has left the window.
func TestReservationsCloseInTime(t *testing.T) {
	const window = 32 * time.Hour
	w := newWorker(t, (&shared{}).accept, breaker.Limits{Window: window, Count: 2, ImmediateCount: 2})
	w.reserve(leaver("a"))
	w.now = t0.Add(59 * time.Minute)
	w.reserve(leaver("b"))
	for after, want := range map[time.Duration]int{59 * time.Minute: 2, window + 59*time.Minute: 2, window + 60*time.Minute: 0} {
		w.now = t0.Add(after)
		if got := w.status().Ordinary; got != want {
			t.Errorf("after %s: %d, want %d", after, got, want)
		}
	}
}

func TestResumeCountsOnce(t *testing.T) {
	s := &shared{}
	w := newWorker(t, s.accept, atMost(2))
	for range 3 {
		if d := w.reserve(leaver("a")); !d.Granted || d.Counted != 1 {
			t.Errorf("%s", d)
		}
	}
	w.reserve(leaver("b"))
	if d := w.reserve(leaver("c")); d.Granted {
		t.Errorf("c: %s", d)
	}
	// Resumed while tripped, by another worker, as another class even.
	other := newWorker(t, s.accept, atMost(2))
	if d := other.reserve(breaker.Request{Key: "a", Class: breaker.Compromise, Released: true}); !d.Granted || d.Counted != 2 {
		t.Errorf("%s", d)
	}
	if s.sets != 2 {
		t.Errorf("written %d times, want once for each new key", s.sets)
	}
}

func TestReleasedPassesAndCounts(t *testing.T) {
	w := newWorker(t, (&shared{}).accept, breaker.Limits{Window: time.Hour, Count: 2, Percent: 1, ImmediateCount: 2})
	w.reserve(leaver("a"))
	w.reserve(leaver("b"))
	r := leaver("c")
	if d := w.reserve(r); d.Granted {
		t.Fatalf("%s", d)
	}
	r.Released, r.People = true, 0
	if d := w.reserve(r); !d.Granted || d.Counted != 3 || !strings.Contains(d.String(), "granted: 3 of 2 destructive changes") {
		t.Errorf("%s", d)
	}
	// Room only once it is back under the limit: two have to leave.
	w.now = t0.Add(30 * time.Minute)
	r.Key = "d"
	w.reserve(r)
	d := w.reserve(leaver("e"))
	if d.Granted || d.Counted != 4 || !d.RoomAt.Equal(t0.Add(61*time.Minute)) {
		t.Errorf("%+v", d)
	}
	if want := "refused: 4 destructive changes within 1h0m0s, and the limit is 2; there is room for one more at 2026-11-23T09:01:00Z"; d.String() != want {
		t.Errorf("%q, want %q", d.String(), want)
	}
}

func TestZeroDecisionRefuses(t *testing.T) {
	if (breaker.Decision{}).Granted {
		t.Error("granted")
	}
}

func TestRefusedRequests(t *testing.T) {
	w := newWorker(t, func(context.Context) (breaker.Session, error) {
		return nil, errors.New("asked the broker")
	}, breaker.Limits{Window: time.Hour, Count: 2, Percent: 1, ImmediateCount: 2})
	for name, r := range map[string]breaker.Request{
		"no key":       {Class: breaker.Leaver, People: 1},
		"no class":     {Key: "k", People: 1},
		"other class":  {Key: "k", Class: "joiner", People: 1},
		"nobody":       {Key: "k", Class: breaker.Leaver},
		"fewer people": {Key: "k", Class: breaker.Leaver, People: -1, Released: true},
	} {
		if d, err := w.b.Reserve(t.Context(), r); err == nil || errors.Is(err, breaker.ErrUnavailable) || d.Granted {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}

func TestRefusedLimits(t *testing.T) {
	good := breaker.Limits{Window: time.Hour, Count: 25, Percent: 5, ImmediateCount: 100, ImmediatePercent: 20}
	for name, change := range map[string]func(*breaker.Limits){
		"none":                       func(l *breaker.Limits) { *l = breaker.Limits{} },
		"short window":               func(l *breaker.Limits) { l.Window = breaker.MinWindow - 1 },
		"long window":                func(l *breaker.Limits) { l.Window = breaker.MaxWindow + 1 },
		"nothing passes":             func(l *breaker.Limits) { l.Count = 0 },
		"more than can be kept":      func(l *breaker.Limits) { l.Count, l.ImmediateCount = breaker.MaxCount+1, breaker.MaxCount+1 },
		"immediate is lower":         func(l *breaker.Limits) { l.ImmediateCount = 24 },
		"immediate is too high":      func(l *breaker.Limits) { l.ImmediateCount = breaker.MaxCount + 1 },
		"negative share":             func(l *breaker.Limits) { l.Percent = -1 },
		"more than everybody":        func(l *breaker.Limits) { l.Percent, l.ImmediatePercent = 101, 101 },
		"immediate share is lower":   func(l *breaker.Limits) { l.ImmediatePercent = 4 },
		"immediate share above 100%": func(l *breaker.Limits) { l.ImmediatePercent = 101 },
	} {
		l := good
		change(&l)
		if b, err := breaker.New(breaker.Options{Limits: l}); err == nil || b != nil {
			t.Errorf("%s: accepted %+v", name, l)
		}
	}
	if _, err := breaker.New(breaker.Options{Limits: good}); err != nil {
		t.Error(err)
	}
}

// The write took effect and the worker died or was told otherwise: its key is found.
func TestCrashAfterTheWriteCountsOnce(t *testing.T) {
	s := &shared{lost: true}
	w := newWorker(t, s.accept, atMost(1))
	d, err := w.b.Reserve(t.Context(), leaver("a"))
	if !errors.Is(err, breaker.ErrUnavailable) || errors.Is(err, queue.ErrLockLost) || d.Granted {
		t.Fatalf("%v, %v; want ErrUnavailable, and nothing that ends the caller's lane", d, err)
	}
	s.lost = false
	if d := w.reserve(leaver("a")); !d.Granted || d.Counted != 1 {
		t.Errorf("again: %s", d)
	}
	if d := w.reserve(leaver("b")); d.Granted {
		t.Errorf("b: %s", d)
	}
}

func TestWaitingIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		deadline, want time.Duration
		is             error
	}{
		"by patience":   {time.Hour, 20 * time.Second, breaker.ErrUnavailable},
		"by the caller": {time.Second, time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				w := newWorker(t, func(context.Context) (breaker.Session, error) {
					tries++
					return nil, queue.ErrBusy
				}, atMost(1))
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				started := time.Now()
				if _, err := w.b.Reserve(ctx, leaver("a")); !errors.Is(err, c.is) {
					t.Errorf("error %v, want %v", err, c.is)
				}
				took := time.Since(started)
				if took != c.want || tries < int(took/(200*time.Millisecond)) || tries > 10+int(took/(100*time.Millisecond)) {
					t.Errorf("took %s and %d tries", took, tries)
				}
			})
		})
	}
}

// Those of one process wait for one another and not at the broker.
func TestOneOfAProcessAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shared{}
		busy := 0
		w := newWorker(t, func(ctx context.Context) (breaker.Session, error) {
			got, err := s.accept(ctx)
			if err != nil {
				busy++
			}
			return slow{got}, err
		}, atMost(40))
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				if d, err := w.b.Reserve(t.Context(), leaver(fmt.Sprint("k", i))); err != nil || !d.Granted {
					t.Errorf("%v, %v", d, err)
				}
			})
		}
		wg.Wait()
		if busy > 0 || w.status().Ordinary != 32 {
			t.Errorf("%d refusals by the broker, %+v", busy, w.status())
		}

		// Whoever waits for a slow one gives up in time.
		s.held = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 {
			wg.Go(func() {
				if _, err := w.b.Reserve(ctx, leaver("late")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			})
		}
		wg.Wait()
		s.held = false
		if d := w.reserve(leaver("late")); !d.Granted {
			t.Errorf("%s", d)
		}
	})
}

// slow takes its time, so that others would meet it.
type slow struct{ breaker.Session }

func (s slow) State(ctx context.Context) ([]byte, error) {
	time.Sleep(10 * time.Millisecond) // the clock of the bubble
	return s.Session.State(ctx)
}
