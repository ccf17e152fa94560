package graph

import (
	"context"
	"fmt"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/pause"
)

// Budget bounds the requests that leave this process, so that Graph need not refuse
// them. The zero value bounds nothing; DocumentedBudget is what production runs with.
//
// A Limit holds over every stretch of time of its window, which is the strictest
// reading of Microsoft's numbers: whatever keeps to it also fits a token bucket and
// a window with fixed borders.
type Budget struct {
	// Methods bounds requests about authentication methods, passes and reports.
	Methods Limit
	// Protection bounds requests about risk. All apps of the tenant share it.
	Protection Limit
	// Directory bounds requests about users, groups, roles and policies. Graph counts
	// resource units, one for each request made here; Writes bounds the writes among
	// them.
	Directory Limit
	Writes    Limit
	// Subscriptions bounds what creates, renews and removes subscriptions, and
	// SubscriptionLists the reading of them all.
	Subscriptions     Limit
	SubscriptionLists Limit
	// Workers is the number of processes that share the limits evenly; 0 means one.
	Workers int
	// Patience is the longest wait for a request's turn; 0 means DefaultPatience. A
	// request that would wait longer, or past the deadline of its context, is not
	// made: its error is a *identity.RetryError that says when to come again.
	Patience time.Duration
}

// Limit is a number of requests in a window of time. The zero value is no limit.
type Limit struct {
	Requests int
	Window   time.Duration
}

// DefaultPatience is well inside the lock of a lane, which is renewed meanwhile.
const DefaultPatience = 20 * time.Second

// DocumentedBudget is the whole of what Microsoft allows one app in one tenant
// (learn.microsoft.com/graph/throttling-limits). Whether the first limit covers
// writes to authentication methods is not documented; this is the cautious reading.
// The third is that of a tenant with more than 500 users.
func DocumentedBudget() Budget {
	return Budget{
		Methods:    Limit{Requests: 5, Window: 10 * time.Second},
		Protection: Limit{Requests: 1, Window: time.Second},
		Directory:  Limit{Requests: 8000, Window: 10 * time.Second},
		Writes:     Limit{Requests: 3000, Window: 150 * time.Second},

		Subscriptions:     Limit{Requests: 500, Window: 20 * time.Second},
		SubscriptionLists: Limit{Requests: 25, Window: 20 * time.Second},
	}
}

// ReportPace is the time between two requests for reports that one of the processes may
// make; 0 when nothing bounds them.
func (b Budget) ReportPace() time.Duration {
	if b.Methods.Requests == 0 {
		return 0
	}
	return b.Methods.Window / time.Duration(b.Methods.Requests) * time.Duration(max(1, b.Workers))
}

func (b Budget) validate() error {
	for _, l := range []Limit{b.Methods, b.Protection, b.Directory, b.Writes, b.Subscriptions, b.SubscriptionLists} {
		if l.Requests < 0 || l.Window < 0 || (l.Requests == 0) != (l.Window == 0) {
			return fmt.Errorf("a limit of %d requests in %s makes no sense", l.Requests, l.Window)
		}
	}
	if b.Workers < 0 || b.Patience < 0 {
		return fmt.Errorf("%d workers with a patience of %s make no sense", b.Workers, b.Patience)
	}
	return nil
}

// Clock is the time that the budget goes by.
type Clock interface {
	Now() time.Time
	// Sleep returns nil when d has passed, or the error of ctx if that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) Sleep(ctx context.Context, d time.Duration) error {
	return pause.For(ctx, d)
}

// budgets are the turnstiles of all classes of requests.
type budgets struct {
	patience   time.Duration
	methods    *turnstile
	protection *turnstile
	directory  *turnstile

	subscriptions     *turnstile
	subscriptionLists *turnstile
}

func newBudgets(b Budget, clock Clock) *budgets {
	if b.Patience == 0 {
		b.Patience = DefaultPatience
	}
	window := func(l Limit, writesOnly bool) *window {
		share := float64(l.Requests) / float64(max(1, b.Workers))
		w := &window{amount: share, span: l.Window, writesOnly: writesOnly}
		if l.Requests > 0 && share < 1 { // one request in a longer window
			w.amount, w.span = 1, time.Duration(float64(l.Window)/share)
		}
		return w
	}
	return &budgets{
		patience:   b.Patience,
		methods:    newTurnstile(clock, window(b.Methods, false)),
		protection: newTurnstile(clock, window(b.Protection, false)),
		directory:  newTurnstile(clock, window(b.Directory, false), window(b.Writes, true)),

		subscriptions:     newTurnstile(clock, window(b.Subscriptions, false)),
		subscriptionLists: newTurnstile(clock, window(b.SubscriptionLists, false)),
	}
}

func (b *budgets) of(c class) *turnstile {
	switch c {
	case classMethods:
		return b.methods
	case classProtection:
		return b.protection
	case classDirectory:
		return b.directory
	case classSubscriptions:
		return b.subscriptions
	case classSubscriptionList:
		return b.subscriptionLists
	default:
		return nil // mail: Exchange's limits are out of reach
	}
}

// take waits for the turn of a request that Graph counts as n, and returns what must
// be called when it is answered.
func (b *budgets) take(ctx context.Context, op operation, n int) (done func(), err error) {
	t := b.of(op.class)
	if t == nil {
		return func() {}, nil
	}
	patience := b.patience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline))
	}
	return t.take(ctx, &turn{n: n, write: op.write, urgent: identity.IsUrgent(ctx)}, patience)
}

// pause lets no request of the class go for d, after Graph refused one.
func (b *budgets) pause(c class, d time.Duration) {
	if t := b.of(c); t != nil {
		t.pause(d)
	}
}

// atOnce is the largest number of requests of the class that may go together, up to
// most.
func (b *budgets) atOnce(c class, most int) int {
	if t := b.of(c); t != nil {
		for _, w := range t.windows {
			most = min(most, int(w.amount))
		}
	}
	return max(1, most)
}

// noTurnError: a request was not made, because its turn is too far away.
type noTurnError struct{ after time.Duration }

func (e *noTurnError) Error() string {
	return fmt.Sprintf("the request budget is used up for %s", e.after)
}
