package operate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/breaker"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
)

// Shelf is where messages lie aside. *servicebus.Shelf implements it, and says how one
// message is had out of the middle.
type Shelf interface {
	// Peek reads up to n messages from a sequence number on; none means the end.
	Peek(ctx context.Context, from int64, n int) ([]queue.Stored, error)
	// Take takes one under lock: queue.ErrGone, queue.ErrBusy.
	Take(ctx context.Context, sequence int64) (queue.Received, error)
	Complete(context.Context, queue.Received) error
	PutBack(context.Context, queue.Received) error
}

// Sender puts messages on queues.
type Sender interface {
	Send(ctx context.Context, queueName string, msgs ...queue.Message) error
}

// Session is a lane under lock, to be read and given back at once.
type Session interface {
	State(context.Context) ([]byte, error)
	Close()
}

// Directory finds people. Find returns the accounts that any identifier names.
type Directory interface {
	Find(context.Context, identity.Reference) ([]identity.Account, error)
}

// Worker tells what the worker would do. *worker.Worker implements it.
type Worker interface {
	Preview(ctx context.Context, e event.Event, l *ledger.Ledger, now time.Time) (plan.Plan, *plan.Tenant, *lane.Verdict, error)
	Look(context.Context, identity.UserID) (*plan.Tenant, error)
}

// Router tells where the router would send an event. *router.Router implements it.
type Router interface {
	Preview(context.Context, event.Event) (users []identity.UserID, why flag.Cause, err error)
}

// Limiter tells how much of the blast radius is used up.
type Limiter interface {
	State(context.Context) (breaker.Status, error)
}

// Audit keeps the trail of what operators do.
type Audit interface {
	Write(context.Context, audit.Record) error
}

// Queues are the names of the queues that things are sent to.
type Queues struct{ Inbound, Lanes, Flags string }

// of is the queue that entries of a place go back to; none for those that do not.
func (q Queues) of(p Place) string {
	switch p {
	case Inbound, Quarantine:
		return q.Inbound
	case Lanes:
		return q.Lanes
	case Flags:
		return q.Flags
	default:
		return ""
	}
}

// Desk is the engine: it implements Operations. Every field is required unless it says
// otherwise. It is safe for concurrent use.
type Desk struct {
	// Shelves are the dead letters of the queues, and the quarantine itself (Both).
	Shelves map[Place]Shelf
	// Open is the flags queue itself, where deferred means open.
	Open   Shelf
	Sender Sender
	Queues Queues
	// Accept takes a session of a queue without waiting for its holder: queue.ErrBusy.
	Accept    func(ctx context.Context, queueName, id string) (Session, error)
	Worker    Worker
	Router    Router
	Directory Directory
	// Estimate is Worker with the methods of all people taken from the directory's
	// report in place of a read for each; nil reads them whatever it takes.
	Estimate func(context.Context) (Worker, error)
	Breaker  Limiter
	// People is how many the tenant has.
	People  func(context.Context) (int, error)
	Catalog *catalog.Catalog
	Audit   Audit
	// Settings is the digest of the settings that the worker plans with.
	Settings string
	Now      func() time.Time
	Log      *slog.Logger
}

var _ Operations = (*Desk)(nil)

const (
	// pageSize is how many messages one look at the broker brings.
	pageSize = 250
	// maxLimit bounds a page of a list.
	maxLimit = 500
	// maxScan is how many messages one call looks at before it hands out what it has
	// with a cursor, so that a filter that picks little answers in bounded time.
	maxScan = 10_000
	// atOnce bounds what one call asks of broker and directory side by side.
	atOnce = 8
)

// entry is a message as operators see it.
func entry(p Place, m queue.Stored) Entry {
	e := Entry{
		ID: ID{p, m.Sequence}, Key: m.Key, Type: m.Properties[queue.PropType], Source: m.Properties[queue.PropSource],
		Reason: m.DeadReason, Detail: m.DeadDetail, EnqueuedAt: m.EnqueuedAt, Deliveries: m.DeliveryCount,
		CorrelationID: m.CorrelationID, Size: len(m.Body),
	}
	switch p {
	case Quarantine:
		e.Reason, e.Detail = m.Properties[queue.PropReason], m.Properties[queue.PropDetail]
	case Lanes, Control:
		e.Lane = m.SessionID
	case Flags:
		if f, err := flag.Decode(m.Body); err == nil {
			e.Lane, e.Source = string(f.User), f.Source
		}
	case Inbound: // its sessions are named by what the sender calls the person
	}
	return e
}

// picks reports whether the filter picks the entry.
func (f Filter) picks(e Entry, body []byte) bool {
	same := func(want, is string) bool { return want == "" || strings.EqualFold(want, is) }
	holds := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(f.Text)) }
	return same(f.Lane, e.Lane) && same(f.Type, e.Type) && same(f.Source, e.Source) && same(f.Reason, e.Reason) &&
		(f.Since.IsZero() || !e.EnqueuedAt.Before(f.Since)) && (f.Until.IsZero() || e.EnqueuedAt.Before(f.Until)) &&
		(f.Text == "" || holds(e.Key) || holds(e.Detail) || holds(string(body)))
}

// places are those that a filter looks at, in order; ErrRefused for one that is none.
func (d *Desk) places(f Filter) ([]Place, error) {
	if len(f.Places) == 0 {
		return Places(), nil
	}
	var list []Place
	for _, p := range Places() {
		for _, wanted := range f.Places {
			if p == wanted {
				list = append(list, p)
				break
			}
		}
	}
	for _, p := range f.Places {
		if d.Shelves[p] == nil {
			return nil, fmt.Errorf("%w: %q is no place", ErrRefused, p)
		}
	}
	return list, nil
}

// walk shows every message of a shelf from a sequence number on, in pages, until see
// says that it has enough. It returns the number to go on from; 0 at the end.
func walk(ctx context.Context, s Shelf, from int64, see func(queue.Stored) bool) (next int64, err error) {
	for {
		page, err := s.Peek(ctx, from, pageSize)
		if err != nil || len(page) == 0 {
			return 0, err
		}
		for _, m := range page {
			from = m.Sequence + 1
			if !see(m) {
				return from, nil
			}
		}
	}
}

// find shows the message with the number: ErrNotFound.
func find(ctx context.Context, s Shelf, sequence int64) (queue.Stored, error) {
	page, err := s.Peek(ctx, sequence, 1)
	if err != nil {
		return queue.Stored{}, err
	}
	if len(page) == 0 || page[0].Sequence != sequence {
		return queue.Stored{}, ErrNotFound
	}
	return page[0], nil
}

// List implements Looking. Entries come by place and then by sequence number.
func (d *Desk) List(ctx context.Context, f Filter, cursor string, limit int) (Page[Entry], error) {
	page := Page[Entry]{Items: []Entry{}}
	err := d.each(ctx, f, cursor, limit, &page.Next, &page.Scanned, func(p Place, m queue.Stored) {
		page.Items = append(page.Items, entry(p, m))
	})
	return page, err
}

// each shows the entries that the filter picks, from a cursor on and up to a limit.
func (d *Desk) each(ctx context.Context, f Filter, cursor string, limit int, next *string, scanned *int, see func(Place, queue.Stored)) error {
	places, err := d.places(f)
	if err != nil {
		return err
	}
	start, from, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	limit = bound(limit)
	for _, p := range places {
		if start != "" && p != start {
			continue
		}
		start = ""
		from, err = walk(ctx, d.Shelves[p], from, func(m queue.Stored) bool {
			*scanned++
			if f.picks(entry(p, m), m.Body) {
				see(p, m)
				limit--
			}
			return limit > 0 && *scanned < maxScan
		})
		if err != nil {
			return err
		}
		if from != 0 {
			*next = string(p) + ":" + strconv.FormatInt(from, 10)
			return nil
		}
	}
	return nil
}

func bound(limit int) int {
	if limit < 1 {
		return 50
	}
	return min(limit, maxLimit)
}

// parseCursor reads where a list goes on.
func parseCursor(s string) (p Place, from int64, err error) {
	if s == "" {
		return "", 0, nil
	}
	place, number, _ := strings.Cut(s, ":")
	for _, known := range Places() {
		if string(known) == place {
			p = known
		}
	}
	if from, err = strconv.ParseInt(number, 10, 64); err != nil || from < 0 || p == "" {
		return "", 0, fmt.Errorf("%w: the cursor is none of ours", ErrRefused)
	}
	return p, from, nil
}

// breakerPatience is how long a look waits for the breaker: without it there is still
// much to see.
const breakerPatience = 2 * time.Second

// Overview implements Looking. It looks at everything that lies aside.
func (d *Desk) Overview(ctx context.Context) (Overview, error) {
	type kind struct{ reason, typ string }
	o := Overview{At: d.Now(), Entries: []Count{}, OpenFlags: []CauseCount{}}
	counts := make([]map[kind]*Count, len(Places()))
	causes := map[flag.Cause]*CauseCount{}
	var looks []func() error
	for i, p := range Places() {
		counts[i] = map[kind]*Count{}
		looks = append(looks, func() error {
			_, err := walk(ctx, d.Shelves[p], 0, func(m queue.Stored) bool {
				e := entry(p, m)
				k := kind{e.Reason, e.Type}
				c := counts[i][k]
				if c == nil {
					c = &Count{Place: p, Reason: e.Reason, Type: e.Type, Oldest: e.EnqueuedAt}
					counts[i][k] = c
				}
				c.N++
				c.Oldest = earlier(c.Oldest, e.EnqueuedAt)
				return true
			})
			return err
		})
	}
	looks = append(looks, func() error {
		_, err := walk(ctx, d.Open, 0, func(m queue.Stored) bool {
			f, ok := openFlag(m)
			if !ok {
				if m.State == queue.Active {
					if o.Untold.N++; o.Untold.N == 1 {
						o.Untold.Oldest = m.EnqueuedAt
					}
					o.Untold.Oldest = earlier(o.Untold.Oldest, m.EnqueuedAt)
				}
				return true
			}
			c := causes[f.Cause]
			if c == nil {
				c = &CauseCount{Cause: f.Cause, Oldest: f.At}
				causes[f.Cause] = c
			}
			c.N++
			c.Oldest = earlier(c.Oldest, f.At)
			return true
		})
		return err
	}, func() error {
		o.Breaker = d.breaker(ctx)
		return nil
	})
	if err := together(len(looks), looks...); err != nil {
		return Overview{}, err
	}
	for _, m := range counts {
		for _, k := range sortedKeys(m, func(a, b kind) bool { return a.reason < b.reason || a.reason == b.reason && a.typ < b.typ }) {
			o.Entries = append(o.Entries, *m[k])
		}
	}
	for _, c := range sortedKeys(causes, func(a, b flag.Cause) bool { return a < b }) {
		o.OpenFlags = append(o.OpenFlags, *causes[c])
	}
	return o, nil
}

// breaker is how much of the blast radius is used up; nil when it cannot be told now.
func (d *Desk) breaker(ctx context.Context) *Breaker {
	ctx, cancel := context.WithTimeout(ctx, breakerPatience)
	defer cancel()
	st, err := d.Breaker.State(ctx)
	if err != nil {
		d.Log.WarnContext(ctx, "breaker cannot be read", "error", err.Error())
		return nil
	}
	people, err := d.People(ctx)
	if err != nil {
		d.Log.WarnContext(ctx, "people cannot be counted", "error", err.Error())
	}
	return &Breaker{
		Window: st.Limits.Window, Ordinary: st.Ordinary, OrdinaryLimit: st.Limits.Of(breaker.Leaver, people),
		Immediate: st.Immediate, ImmediateLimit: st.Limits.Of(breaker.ImmediateLeaver, people),
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// together runs up to n at a time and returns the first error in their order.
func together(n int, do ...func() error) error {
	errs := make([]error, len(do))
	turns := make(chan struct{}, max(1, n))
	var all sync.WaitGroup
	for i, f := range do {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			errs[i] = f()
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Show implements Looking.
func (d *Desk) Show(ctx context.Context, id ID, reveal bool) (Detail, error) {
	shelf := d.Shelves[id.Place]
	if shelf == nil {
		return Detail{}, fmt.Errorf("%w: %q is no place", ErrNotFound, id.Place)
	}
	m, err := find(ctx, shelf, id.Sequence)
	if err != nil {
		return Detail{}, err
	}
	out := Detail{Entry: entry(id.Place, m), Body: body(m.Body, reveal)}
	f := d.planning(d.Worker).foresee(ctx, Edit{ID: id}, m)
	if out.Why = f.Unplannable; out.Why == "" {
		out.Would = &f.Decision
	}
	if f.user == "" {
		return out, nil
	}
	out.LaneState, out.LaneBusy = laneState(f.ledger), f.busy
	if f.tenant == nil {
		if f.tenant, err = d.Worker.Look(ctx, f.user); err != nil {
			d.Log.WarnContext(ctx, "the directory does not answer", "error", err.Error())
			return out, nil // what lies here is worth seeing all the same
		}
	}
	out.Tenant = tenantState(f.user, f.tenant, reveal)
	return out, nil
}

// errBusy: a worker has the lane.
var errBusy = errors.New("a worker has the lane now")

// memory reads the ledger of a lane, taking its session for as long as that takes.
func (d *Desk) memory(ctx context.Context, queueName, laneID string) (*ledger.Ledger, error) {
	s, err := d.Accept(ctx, queueName, laneID)
	switch {
	case errors.Is(err, queue.ErrBusy), errors.Is(err, queue.ErrEmpty):
		return nil, errBusy
	case err != nil:
		return nil, err
	}
	defer s.Close()
	state, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	return ledger.Decode(state)
}
