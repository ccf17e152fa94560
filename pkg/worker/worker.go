// Package worker acts on the tenant: it gives each event of a person's lane its
// plan, carries the plan out step by step, and leaves an audit trail.
//
// It knows ports only: the directory, the channels a pass is delivered by and the
// audit log are declared here and implemented elsewhere.
package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
)

// Directory reads a person. identity.ErrNotFound, identity.ErrForbidden and
// *identity.RetryError tell failures apart.
type Directory interface {
	Account(context.Context, identity.UserID) (identity.Account, error)
	Manager(context.Context, identity.UserID) (identity.Account, error)
	Membership(context.Context, identity.UserID) (identity.Membership, error)
	Roles(context.Context, identity.UserID) (active, eligible []string, err error)
	Methods(context.Context, identity.UserID) ([]identity.Method, error)
	PassPolicy(context.Context) (identity.PassPolicy, error)
}

// Passes reads and writes Temporary Access Passes. Issuing replaces the pass a
// person has.
type Passes interface {
	Passes(context.Context, identity.UserID) ([]identity.Pass, error)
	IssuePass(context.Context, identity.UserID, identity.PassRequest) (identity.IssuedPass, error)
	DeletePass(ctx context.Context, user identity.UserID, passID string) error
}

// Audit keeps the trail. An error means that the record may be missing.
type Audit interface {
	Write(context.Context, audit.Record) error
}

// Worker handles the events of a lane.
type Worker struct {
	Directory Directory
	Passes    Passes
	// Channels are tried in order; the first that has a recipient is used.
	Channels []Channel
	Audit    Audit
	// Pause waits between tries within one turn; Sleep does it by the real clock.
	Pause    func(context.Context, time.Duration) error
	Settings plan.Settings
	// Scopes are the event types each source may send; a source that is not
	// listed may send nothing.
	Scopes map[string]event.Scope
}

// Handle implements lane.Handler.
func (w *Worker) Handle(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	if !w.Scopes[t.Event.Origin].Allows(t.Event.Type) {
		return lane.DeadLetter(lane.OutOfScope, "the source may not send this type; correct its scope or find out who sent it"), nil
	}
	if t.Event.UserID == "" || string(t.Event.UserID) != t.Message.SessionID {
		return lane.DeadLetter(lane.BadEvent, "the event is in a lane that is not its person's; only the router writes to this queue"), nil
	}
	run := &run{Worker: w, turn: t, user: t.Event.UserID}
	return run.event(ctx)
}

// run is one event on its way through its plan.
type run struct {
	*Worker
	turn   *lane.Turn
	user   identity.UserID
	tenant *plan.Tenant
}

func (r *run) event(ctx context.Context) (lane.Verdict, error) {
	ctx, calls := correlation.Collect(ctx)
	started := time.Now()
	p, verdict, err := r.decide(ctx)
	if err != nil {
		return lane.Verdict{}, err
	}
	rec := audit.Record{Action: "decide", Decision: string(p.Decision), Reason: string(p.Reason), Outcome: p.Detail, Started: started, Calls: calls.List()}
	if r.tenant != nil {
		rec.Before = kinds(r.tenant.Methods)
	}
	if verdict != nil {
		rec.Decision, rec.Outcome = "undecided", verdict.String()
	}
	if err := r.audit(ctx, rec); err != nil {
		return lane.Verdict{}, err
	}
	if verdict != nil {
		return *verdict, nil
	}
	if err := r.remember(ctx, p); err != nil {
		return lane.Verdict{}, err
	}
	return r.act(ctx, p)
}

// decide plans, reading the tenant only when the plan depends on it. A verdict is
// returned when the tenant could not be read.
func (r *run) decide(ctx context.Context) (plan.Plan, *lane.Verdict, error) {
	in := plan.Input{Event: r.turn.Event, Ledger: r.turn.Ledger, Settings: r.Settings, Now: r.turn.Now}
	p, err := plan.Decide(in)
	if err == nil && p.Decision == plan.ReadTenant {
		if r.tenant, err = r.read(ctx); err != nil {
			verdict, err := failed(ctx, err)
			return plan.Plan{}, &verdict, err
		}
		in.Tenant = r.tenant
		p, err = plan.Decide(in)
	}
	if errors.Is(err, event.ErrBadData) {
		verdict := lane.DeadLetter(lane.BadEvent, err.Error()+"; correct the sender, then send the event anew")
		return plan.Plan{}, &verdict, nil
	}
	return p, nil, err
}

// read reads everything a plan can depend on, at one moment and never from a
// cache: a checkpoint does not spare the re-read. The reads do not depend on one
// another, so a lane waits for the slowest of them and not for their sum.
func (r *run) read(ctx context.Context) (*plan.Tenant, error) {
	ctx, cancel, err := r.turn.Guard(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	t := &plan.Tenant{}
	missing := false
	// The account comes first: without one every read fails, and only that of the
	// account says why.
	err = together(
		func() error {
			account, err := r.Directory.Account(ctx, r.user)
			t.Account, missing = &account, errors.Is(err, identity.ErrNotFound)
			return err
		},
		func() (err error) { t.Membership, err = r.Directory.Membership(ctx, r.user); return err },
		func() (err error) { t.ActiveRoles, t.EligibleRoles, err = r.Directory.Roles(ctx, r.user); return err },
		func() (err error) { t.Methods, err = r.Directory.Methods(ctx, r.user); return err },
		func() (err error) { t.Passes, err = r.Passes.Passes(ctx, r.user); return err },
		func() (err error) { t.Policy, err = r.Directory.PassPolicy(ctx); return err },
	)
	if missing {
		return &plan.Tenant{}, nil
	} else if err != nil {
		return nil, err
	}
	return t, nil
}

// together runs reads at the same time and returns the error of the first in order
// that failed, so that the same failures always give the same verdict. A panic in
// one goes on in the caller, where the lane catches it.
func together(reads ...func() error) error {
	errs, panics := make([]error, len(reads)), make([]error, len(reads))
	var all sync.WaitGroup
	for i, read := range reads {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics[i] = fmt.Errorf("%v\n%s", p, debug.Stack())
				}
			}()
			errs[i] = read()
		})
	}
	all.Wait()
	if err := cmp.Or(panics...); err != nil {
		panic(err)
	}
	return cmp.Or(errs...)
}

// remember keeps the statement in the ledger before anything is done about it, so
// that an earlier statement is obsolete from here on, and closes those that wait.
func (r *run) remember(ctx context.Context, p plan.Plan) error {
	if p.Decision == plan.Obsolete || !r.turn.Event.Type.IsStatement() {
		return nil
	}
	s, err := plan.StatementOf(r.turn.Event)
	if err != nil {
		return err
	}
	l := r.turn.Ledger
	if l.Statement == nil || l.Statement.Key != s.Key {
		l.Statement = &s
		if err := r.turn.Checkpoint(ctx); err != nil {
			return err
		}
	}
	r.turn.Supersede(func(w ledger.Waiting) bool {
		earlier := ledger.Statement{MadeAt: w.MadeAt, ReceivedAt: w.ReceivedAt}
		return w.Type.IsStatement() && s.MadeAfter(earlier)
	})
	return nil
}

// act carries the plan out.
func (r *run) act(ctx context.Context, p plan.Plan) (lane.Verdict, error) {
	switch p.Decision {
	case plan.IssuePass:
		return r.issuePass(ctx, p)
	case plan.DeletePass:
		if verdict, err := r.deletePass(ctx, p.PassID); err != nil || verdict != nil {
			return value(verdict), err
		}
		p.Decision = p.Then
		return r.act(ctx, p)
	case plan.Wait:
		if err := r.observe(ctx); err != nil {
			return lane.Verdict{}, err
		}
		return lane.WaitUntil(p.Until, lane.Reason(p.Reason), p.Detail), nil
	case plan.Hold:
		return lane.Hold(lane.Reason(p.Reason), p.Detail), nil
	case plan.Obsolete:
		return lane.Finished(ledger.Obsolete, p.Detail), nil
	case plan.Nothing:
		r.applied()
		return lane.Finished(ledger.Done, p.Detail), nil
	case plan.NoUser:
		return lane.DeadLetter(lane.UserNotFound, p.Detail+"; provision it again, then replay"), nil
	default:
		return lane.Verdict{}, errors.New("the plan has no decision")
	}
}

// applied records that the event's statement took effect.
func (r *run) applied() {
	if s, err := plan.StatementOf(r.turn.Event); err == nil {
		r.turn.Ledger.Applied = &s
	}
}

// audit completes and writes a record. A trail that cannot be written stops the
// event: nothing is done to an account that nobody could find out about.
func (r *run) audit(ctx context.Context, rec audit.Record) error {
	rec.Key, rec.Type, rec.Source = r.turn.Event.Key, string(r.turn.Event.Type), r.turn.Event.Origin
	rec.Lane, rec.User, rec.Actor = r.turn.Message.SessionID, r.user, "system"
	rec.Duration = time.Since(rec.Started)
	return r.Audit.Write(ctx, rec)
}

// failed turns an answer of the directory into a verdict. An error is returned
// when it was the lane that failed, or the caller that gave up.
func failed(ctx context.Context, err error) (lane.Verdict, error) {
	var retry *identity.RetryError
	switch {
	case errors.Is(err, queue.ErrLockLost), ctx.Err() != nil:
		return lane.Verdict{}, err
	case errors.As(err, &retry):
		return lane.Retry(retry.After, lane.Unavailable, err.Error()), nil
	case errors.Is(err, identity.ErrForbidden):
		return lane.DeadLetter(lane.Forbidden, err.Error()), nil
	case errors.Is(err, identity.ErrNotFound):
		return lane.DeadLetter(lane.UserNotFound, err.Error()), nil
	case errors.Is(err, identity.ErrRefused):
		return lane.DeadLetter(lane.Refused, err.Error()), nil
	default:
		return lane.Retry(0, lane.Unavailable, err.Error()), nil
	}
}

func value(v *lane.Verdict) lane.Verdict {
	if v == nil {
		return lane.Verdict{}
	}
	return *v
}

func kinds(methods []identity.Method) []identity.MethodKind {
	out := []identity.MethodKind{}
	for _, m := range methods {
		out = append(out, m.Kind)
	}
	return out
}
