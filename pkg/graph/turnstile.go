package graph

import (
	"context"
	"slices"
	"sync"
	"time"
)

// longestPromise bounds what a request is told to wait while the budget is short, so
// that the lanes notice soon when it no longer is.
const longestPromise = 15 * time.Minute

// turnstile lets the requests of one class go as its windows allow: urgent ones
// first, otherwise in the order they came.
type turnstile struct {
	clock   Clock
	windows []*window

	mu     sync.Mutex
	queue  []*turn // waiting, in the order they go
	paused time.Time
	// promised is the time up to which requests were told to come again, so that
	// those turned away do not all come at once.
	promised time.Time
}

// turn is one request on its way through.
type turn struct {
	n      int
	write  bool
	urgent bool
}

func newTurnstile(clock Clock, windows ...*window) *turnstile {
	limited := slices.DeleteFunc(windows, func(w *window) bool { return w.amount == 0 })
	return &turnstile{clock: clock, windows: limited}
}

func (t *turnstile) take(ctx context.Context, own *turn, patience time.Duration) (done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.windows) == 0 {
		return func() {}, nil
	}
	now := t.clock.Now()
	limit := now.Add(patience)
	t.join(own)
	for {
		at := t.turnOf(own, now)
		if !at.After(now) {
			t.leave(own)
			return t.spend(own), nil
		}
		if at.After(limit) {
			t.leave(own)
			return nil, &noTurnError{t.promise(own, now, at)}
		}
		t.mu.Unlock()
		err := t.clock.Sleep(ctx, at.Sub(now))
		t.mu.Lock()
		if err != nil {
			t.leave(own)
			return nil, err
		}
		now = t.clock.Now()
	}
}

// join queues behind the last of the same urgency.
func (t *turnstile) join(own *turn) {
	i := len(t.queue)
	if own.urgent {
		if i = slices.IndexFunc(t.queue, func(o *turn) bool { return !o.urgent }); i < 0 {
			i = len(t.queue)
		}
	}
	t.queue = slices.Insert(t.queue, i, own)
}

func (t *turnstile) leave(own *turn) {
	t.queue = slices.DeleteFunc(t.queue, func(o *turn) bool { return o == own })
}

// turnOf is when own may go, if those before it go as soon as they may. Requests on
// their way are taken to be answered now, so the time may still move back.
func (t *turnstile) turnOf(own *turn, now time.Time) time.Time {
	at := now
	if t.paused.After(at) {
		at = t.paused
	}
	ahead := t.queue[:slices.Index(t.queue, own)+1]
	latest := at
	for _, w := range t.windows {
		if w.counts(own) == 0 {
			continue
		}
		if w := w.earliest(now, at, ahead); w.After(latest) {
			latest = w
		}
	}
	return latest
}

func (t *turnstile) spend(own *turn) (done func()) {
	for _, w := range t.windows {
		w.onTheWay += w.counts(own)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		now := t.clock.Now()
		for _, w := range t.windows {
			w.answered(now, w.counts(own))
		}
	}
}

// promise is how long a request that is turned away shall wait. An urgent one is told
// its own turn; the others are told turns one after the other.
func (t *turnstile) promise(own *turn, now, at time.Time) time.Duration {
	if own.urgent {
		return at.Sub(now)
	}
	if t.promised.After(at) {
		at = t.promised
	}
	if last := now.Add(longestPromise); at.After(last) {
		at = last
	}
	t.promised = at
	for _, w := range t.windows {
		if next := at.Add(time.Duration(float64(w.span) * float64(w.counts(own)) / w.amount)); next.After(t.promised) {
			t.promised = next
		}
	}
	return at.Sub(now)
}

func (t *turnstile) pause(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := t.clock.Now().Add(d); until.After(t.paused) {
		t.paused = until
	}
}

// window is one limit: at most amount requests in any stretch of length span. A
// request counts from its sending until span after its answer, because Graph counts
// it at a moment between the two.
type window struct {
	amount     float64
	span       time.Duration
	writesOnly bool

	onTheWay int
	spent    []expense // answered, oldest first
	sum      int       // of spent
}

type expense struct {
	at time.Time
	n  int
}

func (w *window) counts(t *turn) int {
	if w.writesOnly && !t.write {
		return 0
	}
	return t.n
}

func (w *window) answered(now time.Time, n int) {
	if n == 0 {
		return
	}
	w.onTheWay -= n
	w.spent = append(w.spent, expense{now, n})
	w.sum += n
}

// earliest is when the last of the turns may go, not before from. A turn larger than
// the window goes when the window is empty.
func (w *window) earliest(now, from time.Time, turns []*turn) time.Time {
	kept := 0
	for kept < len(w.spent) && !w.spent[kept].at.Add(w.span).After(now) {
		w.sum -= w.spent[kept].n
		kept++
	}
	w.spent = w.spent[kept:]

	at, sum := from, w.sum+w.onTheWay
	if len(turns) == 1 && float64(sum)+min(float64(w.counts(turns[0])), w.amount) <= w.amount {
		return at
	}
	log := append(slices.Clip(w.spent), expense{now, w.onTheWay})
	for _, t := range turns {
		n := w.counts(t)
		need := min(float64(n), w.amount)
		for len(log) > 0 && (!log[0].at.Add(w.span).After(at) || float64(sum)+need > w.amount) {
			if free := log[0].at.Add(w.span); free.After(at) {
				at = free
			}
			sum -= log[0].n
			log = log[1:]
		}
		log = append(log, expense{at, n})
		sum += n
	}
	return at
}
