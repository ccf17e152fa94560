// Package operations is how the event-replay function opens the operators' desk. It is
// apart from package wiring, so that functions without Graph do not link its SDK.
package operations

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/router"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/directory"
	"mfaflow/pkg/worker"
)

// Settings are what the desk needs to know. What it plans with must be what the worker
// acts with: Planning and Breaker come from the same settings as the worker's.
type Settings struct {
	Broker    config.Broker
	App       config.App
	Directory config.Directory
	Locking   config.Locking
	Breaker   config.Breaker
	// Inbound, Lanes, Flags, Control and Quarantine are the names of the queues.
	Inbound, Lanes, Flags, Control, Quarantine string
	Planning                                   config.Planning
}

// Engine is a desk whose connection to the broker is opened when it is used, and
// opened anew after a pause: a sandbox that was frozen holds a dead one. It is safe
// for concurrent use.
type Engine struct {
	settings Settings
	broker   servicebus.Options
	tenant   *graph.Client
	policy   *worker.MethodPolicy
	catalog  *catalog.Catalog
	trail    operate.Audit
	log      *slog.Logger

	mu   sync.Mutex
	open *opened
}

// opened is a desk with its connection.
type opened struct {
	*operate.Desk
	users int
	// last is when it was used last, by the wall clock, which goes on in a frozen
	// sandbox.
	last    time.Time
	retired bool
	close   func()
}

var _ operate.Operations = (*Engine)(nil)

// idle is how long a connection may lie unused.
const idle = 30 * time.Second

// Open checks the settings and connects to nothing. The trail of what operators do is
// written to w.
func Open(s Settings, w io.Writer, log *slog.Logger) (*Engine, error) {
	tenant, err := directory.Open(s.App, s.Directory, telemetry.NewMetrics(w, wiring.Namespace, "event-replay", time.Now))
	if err != nil {
		return nil, err
	}
	broker, err := wiring.Broker(s.Broker, s.App)
	if err != nil {
		return nil, err
	}
	broker.LockDuration = s.Locking.LockDuration
	policy, err := wiring.MethodPolicy(s.Planning, s.App, tenant)
	if err != nil {
		return nil, err
	}
	schemas, err := catalog.New()
	if err != nil {
		return nil, err
	}
	return &Engine{settings: s, broker: broker, tenant: tenant, policy: policy, catalog: schemas, trail: audit.NewWriter(w, "event-replay"), log: log}, nil
}

// Close ends every connection. Calls must have returned.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retire()
	e.tenant.Close()
}

// retire gives the open desk up; mu is held.
func (e *Engine) retire() {
	if o := e.open; o != nil {
		e.open, o.retired = nil, true
		if o.users == 0 {
			o.close()
		}
	}
}

// use calls do with a desk whose connection is alive as far as anybody knows.
func use[T any](e *Engine, do func(*operate.Desk) (T, error)) (T, error) {
	o, err := e.take()
	if err != nil {
		var none T
		return none, err
	}
	result, err := do(o.Desk)
	e.give(o, errors.Is(err, queue.ErrUnavailable))
	e.tenant.Flush() // nobody knows whether this sandbox thaws again
	return result, err
}

func (e *Engine) take() (*opened, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open != nil && time.Now().Round(0).Sub(e.open.last) > idle {
		e.retire()
	}
	if e.open == nil {
		o, err := e.connect()
		if err != nil {
			return nil, err
		}
		e.open = o
	}
	e.open.users++
	e.open.last = time.Now().Round(0)
	return e.open, nil
}

func (e *Engine) give(o *opened, broken bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o.users--
	o.last = time.Now().Round(0)
	switch {
	case broken && e.open == o:
		e.retire()
	case o.retired && o.users == 0:
		o.close()
	}
}

func (e *Engine) connect() (*opened, error) {
	client, err := servicebus.New(e.broker)
	if err != nil {
		return nil, err
	}
	limit, err := wiring.Breaker(client, e.settings.Control, e.settings.Breaker)
	if err != nil {
		return nil, err
	}
	var shelves []*servicebus.Shelf
	shelf := func(name string, dead bool) operate.Shelf {
		s := client.Shelf(name, dead)
		shelves = append(shelves, s)
		return s
	}
	s := e.settings
	settings, scopes := s.Planning.Plan(), s.Planning.SourceScopes
	look := &worker.Worker{
		Directory: e.tenant, Passes: e.tenant, Methods: e.tenant, Risks: e.tenant,
		Settings: settings, Scopes: scopes, ReportOnly: s.Planning.ReportOnly, MethodPolicy: e.policy,
	}
	desk := &operate.Desk{
		Shelves: map[operate.Place]operate.Shelf{
			operate.Inbound: shelf(s.Inbound, true), operate.Lanes: shelf(s.Lanes, true), operate.Flags: shelf(s.Flags, true),
			operate.Control: shelf(s.Control, true), operate.Quarantine: operate.Both(shelf(s.Quarantine, false), shelf(s.Quarantine, true)),
		},
		Open: shelf(s.Flags, false), Sender: client, Queues: operate.Queues{Inbound: s.Inbound, Lanes: s.Lanes, Flags: s.Flags},
		Accept: func(ctx context.Context, queueName, id string) (operate.Session, error) {
			session, err := client.Accept(ctx, queueName, id, time.Second)
			if err != nil {
				return nil, err // not a nil *Session in a non-nil interface
			}
			return session, nil
		},
		Worker: look,
		Estimate: func(ctx context.Context) (operate.Worker, error) {
			methods, err := e.tenant.Registrations(ctx)
			if err != nil {
				return nil, err
			}
			return operate.Estimated(look, methods), nil
		},
		Router: &router.Router{Directory: e.tenant}, Directory: e.tenant, Breaker: limit, People: e.tenant.CountUsers,
		Catalog: e.catalog, Audit: e.trail, Settings: operate.SettingsDigest(settings, scopes, s.Planning.ReportOnly), Now: time.Now, Log: e.log,
	}
	return &opened{Desk: desk, close: func() {
		for _, s := range shelves {
			s.Close()
		}
		client.Close()
	}}, nil
}

// Overview implements operate.Looking.
func (e *Engine) Overview(ctx context.Context) (operate.Overview, error) {
	return use(e, func(d *operate.Desk) (operate.Overview, error) { return d.Overview(ctx) })
}

// List implements operate.Looking.
func (e *Engine) List(ctx context.Context, f operate.Filter, cursor string, limit int) (operate.Page[operate.Entry], error) {
	return use(e, func(d *operate.Desk) (operate.Page[operate.Entry], error) { return d.List(ctx, f, cursor, limit) })
}

// Show implements operate.Looking.
func (e *Engine) Show(ctx context.Context, id operate.ID, reveal bool) (operate.Detail, error) {
	return use(e, func(d *operate.Desk) (operate.Detail, error) { return d.Show(ctx, id, reveal) })
}

// Flags implements operate.Looking.
func (e *Engine) Flags(ctx context.Context, f operate.FlagFilter, cursor string, limit int) (operate.Page[operate.OpenFlag], error) {
	return use(e, func(d *operate.Desk) (operate.Page[operate.OpenFlag], error) { return d.Flags(ctx, f, cursor, limit) })
}

// Person implements operate.Looking.
func (e *Engine) Person(ctx context.Context, who string, reveal bool) (operate.PersonView, error) {
	return use(e, func(d *operate.Desk) (operate.PersonView, error) { return d.Person(ctx, who, reveal) })
}

// Plan implements operate.Looking.
func (e *Engine) Plan(ctx context.Context, s operate.Selection) (operate.Plan, error) {
	return use(e, func(d *operate.Desk) (operate.Plan, error) { return d.Plan(ctx, s) })
}

// Replay implements operate.Acting.
func (e *Engine) Replay(ctx context.Context, by operate.Operator, r operate.Replay) ([]operate.Outcome, error) {
	return use(e, func(d *operate.Desk) ([]operate.Outcome, error) { return d.Replay(ctx, by, r) })
}

// Discard implements operate.Acting.
func (e *Engine) Discard(ctx context.Context, by operate.Operator, ids []operate.ID, reason string) ([]operate.Outcome, error) {
	return use(e, func(d *operate.Desk) ([]operate.Outcome, error) { return d.Discard(ctx, by, ids, reason) })
}

// Decide implements operate.Acting.
func (e *Engine) Decide(ctx context.Context, by operate.Operator, w operate.Word) (operate.Outcome, error) {
	return use(e, func(d *operate.Desk) (operate.Outcome, error) { return d.Decide(ctx, by, w) })
}

// Resolve implements operate.Acting.
func (e *Engine) Resolve(ctx context.Context, by operate.Operator, flags []int64, reason string) ([]operate.Outcome, error) {
	return use(e, func(d *operate.Desk) ([]operate.Outcome, error) { return d.Resolve(ctx, by, flags, reason) })
}

// LetIn implements operate.Acting.
func (e *Engine) LetIn(ctx context.Context, by operate.Operator, user identity.UserID, reason string) (operate.Outcome, error) {
	return use(e, func(d *operate.Desk) (operate.Outcome, error) { return d.LetIn(ctx, by, user, reason) })
}
