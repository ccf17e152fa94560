package simulation

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/worker"
)

// Mutation switches one guarantee off. The zero value leaves all of them on.
type Mutation string

// The mutations; the package comment tells which seed catches each.
const (
	lazyLedger      Mutation = "the ledger is written when the event is settled, not after each action"
	forgetHandled   Mutation = "handled keys are forgotten"
	forgetStatement Mutation = "later statements by HR are forgotten"
	noGate          Mutation = "events do not wait behind one that is retried"
	noPrecedence    Mutation = "nothing passes an event that waits"
	ignoreLock      Mutation = "a worker goes on when it has lost the lane"
	noWakeUp        Mutation = "no wake-up is sent"
	completeWaiting Mutation = "an event that waits is completed instead of deferred"
	noFlags         Mutation = "flags are not sent"
	anyRecipient    Mutation = "the address in the event gets the pass"
	mailTwice       Mutation = "a pass is delivered twice"
	noPreflight     Mutation = "the pass policy is not looked at"
	noProtection    Mutation = "administrators are not protected"
	oneApproval     Mutation = "one operator is enough for protected people"
	noBreaker       Mutation = "the breaker lets everything through"
	staleTenant     Mutation = "the tenant is read once"
	trustRisk       Mutation = "the risk is not read again"
	forgetIncident  Mutation = "answered incidents are forgotten"
	noPoison        Mutation = "starts are not counted"
	leakPass        Mutation = "the pass is logged"
	noGrace         Mutation = "methods of leavers are not kept for the grace period"
	noScope         Mutation = "sources may send any type"
	noSyncCheck     Mutation = "a synchronised account is not looked at again"
	noMaxAge        Mutation = "events have no maximum age"
	anyMethod       Mutation = "any method meets a requirement"
)

// Mutations lists them.
func Mutations() []Mutation {
	return []Mutation{
		lazyLedger, forgetHandled, forgetStatement, noGate, noPrecedence, ignoreLock, noWakeUp, completeWaiting, noFlags, anyRecipient, mailTwice,
		noPreflight, noProtection, oneApproval, noBreaker, staleTenant, trustRisk, forgetIncident, noPoison, leakPass, noGrace, noScope, noSyncCheck, noMaxAge, anyMethod,
	}
}

func (w *world) mutant(m Mutation) bool { return w.mutation == m }

// seam changes what the ledger looks like to a worker.
type seam struct {
	world *world
	cache sync.Map // staleTenant
}

// read is the state as the worker gets to see it.
func (s *seam) read(l *life, state []byte) []byte {
	if l.queue != lanesQueue {
		return state
	}
	if l.pending != nil {
		return l.pending
	}
	change := map[Mutation]func(*ledger.Ledger){
		forgetHandled:   func(g *ledger.Ledger) { g.Handled = nil },
		forgetStatement: func(g *ledger.Ledger) { g.Statement, g.Rehired = nil, time.Time{} },
		forgetIncident:  func(g *ledger.Ledger) { g.Compromise = nil },
		noPoison:        func(g *ledger.Ledger) { g.Current = nil },
		noGate: func(g *ledger.Ledger) {
			for i := range g.Waiting {
				if g.Waiting[i].Kind == ledger.Retry {
					g.Waiting[i].Kind = ledger.Planned
				}
			}
		},
		noPrecedence: func(g *ledger.Ledger) {
			for i := range g.Waiting {
				g.Waiting[i].Type = event.Leaver
			}
		},
		oneApproval: func(g *ledger.Ledger) {
			for i := range g.Waiting {
				g.Waiting[i].Needs = min(g.Waiting[i].Needs, 1)
			}
		},
	}[s.world.mutation]
	if change == nil {
		return state
	}
	g, err := ledger.Decode(state)
	if err != nil {
		return state
	}
	change(g)
	b, err := json.Marshal(g)
	if err != nil {
		return state
	}
	return b
}

// skipWrite keeps a write back.
func (s *seam) skipWrite(l *life, b []byte) bool {
	if !s.world.mutant(lazyLedger) || l.queue != lanesQueue {
		return false
	}
	g, err := ledger.Decode(b)
	if err != nil || g.Current == nil || *g.Current != l.started { // starts are written all the same
		if l.pending = nil; err == nil && g.Current != nil {
			l.started = *g.Current
		}
		return false
	}
	l.pending = b
	return true
}

// stale is what was read first, when the tenant is read once.
func stale[T any](w *world, key string, value T, err error) (T, error) {
	if !w.mutant(staleTenant) || err != nil {
		return value, err
	}
	first, _ := w.seam.cache.LoadOrStore(key, value)
	return first.(T), nil
}

// open is a breaker that never trips.
type open struct{}

func (open) Reserve(context.Context, breaker.Request) (breaker.Decision, error) {
	return breaker.Decision{Granted: true}, nil
}

// gullible delivers to the address that an event names.
type gullible struct {
	worker.ManagerMail
	world *world
}

func (g gullible) Recipient(ctx context.Context, person identity.Account, memory *ledger.Ledger, now time.Time) (worker.Recipient, bool, error) {
	if l := lifeOf(ctx); l != nil {
		if _, named := g.world.sent[l.key].action.Data["deliverTo"]; named {
			return worker.Recipient{Address: thief, Person: person}, true, nil
		}
	}
	return g.ManagerMail.Recipient(ctx, person, memory, now)
}

// handler watches the turns that a handler gets.
type handler struct {
	lane.Handler
	world *world
}

func (h handler) Handle(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	l := lifeOf(ctx)
	l.key = t.Event.Key
	defer func() { l.key = "" }()
	h.world.began(l, t)
	if h.world.sent[t.Event.Key].action.Data["poison"] == true && l.queue == lanesQueue {
		panic("poison")
	}
	before := h.world.graphFaults()
	v, err := h.Handler.Handle(ctx, t)
	for range h.world.graphFaults() - before {
		h.world.struck(t.Event.Key)
	}
	if err == nil {
		h.world.ended(l, t, v)
	}
	return v, err
}
