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
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/breaker"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// Directory reads a person. identity.ErrNotFound, identity.ErrForbidden and
// *identity.RetryError tell failures apart.
type Directory interface {
	Account(context.Context, identity.UserID) (identity.Account, error)
	Manager(context.Context, identity.UserID) (identity.Account, error)
	Membership(context.Context, identity.UserID) (identity.Membership, error)
	Roles(context.Context, identity.UserID) (active, eligible []string, err error)
	PassPolicy(context.Context) (identity.PassPolicy, error)
}

// Passes reads and writes Temporary Access Passes. Issuing replaces the pass a
// person has.
type Passes interface {
	Passes(context.Context, identity.UserID) ([]identity.Pass, error)
	IssuePass(context.Context, identity.UserID, identity.PassRequest) (identity.IssuedPass, error)
	DeletePass(ctx context.Context, user identity.UserID, passID string) error
}

// Accounts changes accounts and ends sessions.
type Accounts interface {
	SetEnabled(ctx context.Context, user identity.UserID, enabled bool) error
	RevokeSessions(context.Context, identity.UserID) error
	SetRandomPassword(context.Context, identity.UserID) error
}

// Methods reads and removes authentication methods. Removing reports each method
// by itself; the error is about the whole request.
type Methods interface {
	MethodsAndDefault(context.Context, identity.UserID) (identity.Registration, error)
	AllMethods(context.Context, identity.UserID) ([]identity.Method, error)
	SetDefaultMethod(context.Context, identity.UserID, identity.Method) error
	DeleteMethods(ctx context.Context, user identity.UserID, methods []identity.Method, serial bool) ([]identity.MethodResult, error)
}

// Groups puts people into groups. Who is in a group already stays there.
type Groups interface {
	AddToGroup(ctx context.Context, user identity.UserID, group string) error
}

// Risks reads the directory's judgement of a person.
type Risks interface {
	Risk(context.Context, identity.UserID) (identity.Risk, error)
}

// Breaker counts destructive effects over all workers.
type Breaker interface {
	Reserve(context.Context, breaker.Request) (breaker.Decision, error)
}

// Audit keeps the trail. An error means that the record may be missing.
type Audit interface {
	Write(context.Context, audit.Record) error
}

// Worker handles the events of a lane.
type Worker struct {
	Directory Directory
	Passes    Passes
	Accounts  Accounts
	Methods   Methods
	Groups    Groups
	Risks     Risks
	Breaker   Breaker
	// People tells how many people the tenant has, for shares of them.
	People func(context.Context) (int, error)
	// ReportOnly writes what would have been done and does none of it.
	ReportOnly bool
	// SerialRemoval removes methods one request after the other.
	SerialRemoval bool
	// Channels are tried in order; the first that has a recipient is used.
	Channels []Channel
	Audit    Audit
	// Metrics takes how long a pass takes to its owner; nil measures nothing.
	Metrics *telemetry.Metrics
	// Pause waits between tries within one turn; pause.For does it by the real clock.
	Pause    func(context.Context, time.Duration) error
	Settings plan.Settings
	// Scopes are the event types each source may send; a source that is not
	// listed may send nothing.
	Scopes map[string]event.Scope
	// MethodPolicy is needed when the settings let events change the policy.
	MethodPolicy *MethodPolicy
}

// Handle implements lane.Handler.
func (w *Worker) Handle(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	if !w.allowed(t.Event) {
		return outOfScope(), nil
	}
	if belongs := t.Event.Lane(); belongs == "" || belongs != t.Message.SessionID {
		return lane.DeadLetter(lane.BadEvent, "the event is in a lane that is not its person's; only the router writes to this queue"), nil
	}
	run := &run{Worker: w, turn: t, user: t.Event.UserID}
	if t.Event.Type.Precedence() >= urgent {
		ctx = identity.Urgent(ctx)
	}
	verdict, err := run.event(ctx)
	if err == nil && verdict.Retries() && t.Event.Type.IsTenantWide() && t.Attempt >= patience {
		reason, detail := verdict.Why()
		err = t.Flag(ctx, flag.Flag{Cause: flag.LaneStuck, Reason: string(reason), Detail: detail})
	}
	return verdict, err
}

// patience is after how many tries somebody is told of an event that everything behind it in
// the tenant's lane waits for.
const patience = 15

// Preview says what Handle would decide on an event that came to the lane now, with
// what it reads of the tenant (nil when the decision needs none). It changes nothing
// and holds no lock, so that the answer may be another a moment later. The verdict is
// what ends the event before there is a plan: it may not be run, or the tenant cannot
// be read.
func (w *Worker) Preview(ctx context.Context, e event.Event, l *ledger.Ledger, now time.Time) (p plan.Plan, t *plan.Tenant, v *lane.Verdict, err error) {
	if !w.allowed(e) {
		verdict := outOfScope()
		return p, nil, &verdict, nil
	}
	p, v, err = decide(ctx, plan.Input{Event: e, Ledger: l, Settings: w.Settings, Now: now},
		func(ctx context.Context, need plan.Plan, in *plan.Input) error {
			if need.NeedsPolicy {
				look := guarding{Policies: w.MethodPolicy.Policies, store: w.MethodPolicy.Store, read: unguarded, write: unguarded}
				s, err := w.MethodPolicy.seek(ctx, e, l.PolicyOf(e.Key), 0, look, pause.For)
				if err == nil {
					in.Policy = &s.change
				}
				return err
			}
			t, _, err = w.read(ctx, e.UserID, need.NeedsRisk)
			in.Tenant = t
			return err
		})
	return p, t, v, err
}

// Look reads what a plan can depend on. The account is nil when there is none.
func (w *Worker) Look(ctx context.Context, user identity.UserID) (*plan.Tenant, error) {
	t, _, err := w.read(ctx, user, true)
	return t, err
}

func outOfScope() lane.Verdict {
	return lane.DeadLetter(lane.OutOfScope, "the source may not send this type; correct its scope or find out who sent it")
}

// allowed reports whether the event's source may send its type. An operator's word
// comes from our own tools and from nowhere else, whatever the scopes say.
func (w *Worker) allowed(e event.Event) bool {
	if e.Type == event.LetIn {
		return e.Origin == event.Operator
	}
	return w.Scopes[e.Origin].Allows(e.Type)
}

// urgent is the precedence from which an event shuts somebody out.
var urgent = event.RiskUser.Precedence()

// run is one event on its way through its plan.
type run struct {
	*Worker
	turn   *lane.Turn
	user   identity.UserID
	tenant *plan.Tenant
	// registration is what the last read of the methods found.
	registration identity.Registration
	// refused is why the directory did not let us block the account.
	refused error
	// sought is what a change of the policy comes to.
	sought *sought
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
	if !r.agreed(p) {
		return lane.Hold(lane.PlanChanged, "replayed by a plan that said something else than what would be done now: "+inOneLine(p)).Approved(1, r.barred()...), nil
	}
	if err := r.remember(p); err != nil {
		return lane.Verdict{}, err
	}
	return r.act(ctx, p)
}

// agreed reports whether an event that an operator replayed by a plan does what the plan
// said (queue.PropPlan, plan.Digest). It is asked until it was once: who resumes halfway
// does what is left. An operator's release is younger than the plan and takes its place.
//
// Only what does something, now or later, is compared. A decision that does less than
// the operator agreed to harms nobody, and a hold is before an operator as it is.
func (r *run) agreed(p plan.Plan) bool {
	l, key := r.turn.Ledger, r.turn.Event.Key
	planned := r.turn.Message.Properties[queue.PropPlan]
	switch {
	case planned == "", len(r.turn.Released) > 0, slices.Contains(l.Agreed, key):
		return true
	case planned == p.Digest():
		l.Agree(key) // written before the next effect, or with the verdict
		return true
	default:
		return p.Decision != plan.Act && p.Decision != plan.Wait
	}
}

// inOneLine is a plan as operators read it.
func inOneLine(p plan.Plan) string {
	text := string(p.Decision)
	if p.Reason != "" {
		text += " (" + string(p.Reason) + ")"
	}
	if len(p.Steps) > 0 {
		text += ": " + strings.Join(p.StepNames(), ", ")
	}
	return text
}

// decide plans, reading the tenant only when the plan depends on it. A verdict is
// returned when the tenant could not be read.
func (r *run) decide(ctx context.Context) (plan.Plan, *lane.Verdict, error) {
	in := plan.Input{Event: r.turn.Event, Ledger: r.turn.Ledger, Settings: r.Settings, Now: r.turn.Now, Attempt: r.turn.Attempt}
	for _, reason := range r.turn.Released {
		in.Released = append(in.Released, plan.Reason(reason))
	}
	return decide(ctx, in, func(ctx context.Context, need plan.Plan, in *plan.Input) (err error) {
		if need.NeedsPolicy { // each of its calls by itself, since there are many
			memory := r.turn.Ledger.PolicyOf(r.turn.Event.Key)
			if r.sought, err = r.MethodPolicy.seek(ctx, r.turn.Event, memory, r.turn.Attempt, r.guardedPolicies(), r.Pause); err == nil {
				in.Policy = &r.sought.change
			}
			return err
		}
		ctx, cancel, err := r.turn.Guard(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		r.tenant, r.registration, err = r.read(ctx, r.user, need.NeedsRisk)
		in.Tenant = r.tenant
		return err
	})
}

// decide is the one way to a plan, for whoever acts on it and for whoever only wants
// to know it.
func decide(ctx context.Context, in plan.Input, read func(ctx context.Context, need plan.Plan, in *plan.Input) error) (plan.Plan, *lane.Verdict, error) {
	p, err := plan.Decide(in)
	if err == nil && p.Decision == plan.ReadTenant {
		if err = read(ctx, p, &in); err != nil {
			verdict, err := lane.Failed(ctx, err)
			return plan.Plan{}, &verdict, err
		}
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
func (w *Worker) read(ctx context.Context, user identity.UserID, risk bool) (*plan.Tenant, identity.Registration, error) {
	t := &plan.Tenant{}
	var registration identity.Registration
	missing := false
	// The account comes first: without one every read fails, and only that of the
	// account says why.
	err := together(
		func() error {
			account, err := w.Directory.Account(ctx, user)
			t.Account, missing = &account, errors.Is(err, identity.ErrNotFound)
			return err
		},
		func() (err error) { t.Membership, err = w.Directory.Membership(ctx, user); return err },
		func() (err error) { t.ActiveRoles, t.EligibleRoles, err = w.Directory.Roles(ctx, user); return err },
		func() (err error) { registration, err = w.Methods.MethodsAndDefault(ctx, user); return err },
		func() (err error) { t.Passes, err = w.Passes.Passes(ctx, user); return err },
		func() (err error) { t.Policy, err = w.Directory.PassPolicy(ctx); return err },
		func() error {
			if !risk {
				return nil
			}
			now, err := w.Risks.Risk(ctx, user)
			t.Risk = &now
			return err
		},
	)
	t.Methods = registration.Methods
	if missing {
		return &plan.Tenant{}, registration, nil
	} else if err != nil {
		return nil, registration, err
	}
	return t, registration, nil
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
func (r *run) remember(p plan.Plan) error {
	if p.Shows != "" { // written with the verdict, so that nobody releases what was not shown
		memory := r.turn.Ledger.PolicyOf(r.turn.Event.Key)
		memory.Shown = p.Shows
		r.turn.Ledger.Policy = &memory
	}
	if p.Decision == plan.Obsolete || !r.turn.Event.Type.IsStatement() {
		return nil
	}
	s, err := plan.StatementOf(r.turn.Event)
	if err != nil {
		return err
	}
	l := r.turn.Ledger
	if l.Statement == nil || l.Statement.Key != s.Key && s.MadeAfter(*l.Statement) {
		l.Statement = &s
		if s.Type == event.Rehire && s.MadeAt.After(l.Rehired) {
			l.Rehired = s.MadeAt
		}
	}
	r.turn.Supersede(func(w ledger.Waiting) bool {
		earlier := ledger.Statement{MadeAt: w.MadeAt, ReceivedAt: w.ReceivedAt}
		return w.Type.IsStatement() && s.MadeAfter(earlier) && (!w.Immediate || s.Type == event.Rehire)
	})
	return nil
}

// act carries the plan out.
func (r *run) act(ctx context.Context, p plan.Plan) (lane.Verdict, error) {
	if r.ReportOnly && p.Decision == plan.Act {
		return r.report(ctx, p)
	}
	if p.Destructive() && !r.turn.Ledger.Step(r.turn.Event.Key, reserved) {
		if verdict, err := r.reserve(ctx, p.Class); err != nil || verdict != nil {
			return value(verdict), err
		}
	}
	// Flags first: whoever resumes plans what is left to do, and a stage that is over
	// brings no flag any more. A flag that comes again is dropped as a duplicate.
	for _, f := range p.Flags {
		if err := r.turn.Flag(ctx, flag.Flag{Cause: f.Cause, Detail: f.Detail, UnlocksAt: f.UnlockAt}); err != nil {
			return lane.Verdict{}, err
		}
	}
	for _, step := range p.Steps {
		if verdict, err := r.step(ctx, step); err != nil || verdict != nil {
			return value(verdict), err
		}
	}
	if r.refused != nil {
		return lane.Hold(lane.BlockRefused, "the account could not be blocked: "+r.refused.Error()), nil
	}
	next := p.Decision
	if next == plan.Act {
		next = p.After
	}
	switch next {
	case plan.Wait:
		if err := r.observe(ctx); err != nil {
			return lane.Verdict{}, err
		}
		return lane.WaitUntil(p.Until, lane.Reason(p.Reason), p.Detail), nil
	case plan.Hold:
		return lane.Hold(lane.Reason(p.Reason), p.Detail).Approved(max(p.Approvals, 1), r.barred()...), nil
	case plan.Obsolete:
		return lane.Finished(ledger.Obsolete, p.Detail), nil
	case plan.Nothing:
		r.applied()
		return lane.Finished(ledger.Done, p.Detail), nil
	case plan.Refuse:
		return lane.DeadLetter(lane.PolicyRefused, p.Detail), nil
	case plan.NoUser:
		return lane.DeadLetter(lane.UserNotFound, p.Detail+"; provision it again, then replay"), nil
	default:
		return lane.Verdict{}, fmt.Errorf("the plan decides %q, which is no decision", next)
	}
}

// step takes one step. A verdict ends the turn.
func (r *run) step(ctx context.Context, s plan.Step) (*lane.Verdict, error) {
	switch s.Action {
	case plan.IssuePass:
		return r.issuePass(ctx, s)
	case plan.DeletePass:
		return r.deletePass(ctx)
	case plan.BlockSignIn:
		return r.blockSignIn(ctx, s.For)
	case plan.UnblockSignIn:
		return r.unblockSignIn(ctx)
	case plan.RevokeSessions:
		return r.revokeSessions(ctx)
	case plan.RandomPassword:
		return r.randomPassword(ctx)
	case plan.RemoveMethods:
		return r.removeMethods(ctx, s.Methods)
	case plan.AddToGroup:
		return r.addToGroup(ctx, s.Group)
	case plan.ChangePolicy:
		return r.changePolicy(ctx)
	case plan.Mark:
		r.mark(s)
		return nil, nil
	default:
		return nil, fmt.Errorf("the plan has a step %q, which is no action", s.Action)
	}
}

// report writes what would have been done and raises the flags that go with it. It
// moves no position: the event can be replayed live.
func (r *run) report(ctx context.Context, p plan.Plan) (lane.Verdict, error) {
	for _, s := range p.Steps {
		if s.Action == plan.Mark {
			continue
		}
		if err := r.audit(ctx, audit.Record{Action: string(s.Action), Outcome: string(ledger.WouldHave), Started: time.Now()}); err != nil {
			return lane.Verdict{}, err
		}
	}
	for _, f := range p.Flags {
		if err := r.turn.Flag(ctx, flag.Flag{Cause: f.Cause, Detail: "report only, nothing was changed: " + f.Detail, UnlocksAt: f.UnlockAt}); err != nil {
			return lane.Verdict{}, err
		}
	}
	return lane.Finished(ledger.WouldHave, p.Detail), nil
}

// reserved is the step of an event that the breaker has let through.
const reserved = "reserved"

// reserve asks the breaker before the first destructive step of an event.
func (r *run) reserve(ctx context.Context, class plan.Class) (*lane.Verdict, error) {
	guarded, cancel, err := r.turn.Guard(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	people, err := r.People(guarded)
	if err != nil {
		verdict, err := lane.Failed(ctx, err)
		return &verdict, err
	}
	d, err := r.Breaker.Reserve(guarded, breaker.Request{
		Key: r.turn.Event.Key, Class: breaker.Class(class), People: people, Released: slices.Contains(r.turn.Released, lane.BreakerTripped),
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		verdict := lane.Retry(0, lane.Unavailable, err.Error())
		return &verdict, nil
	}
	if d.Granted {
		// Asked for once per event: a grant is forgotten after its window, and an
		// event that retries for longer must not be refused half done.
		r.turn.Ledger.StepDone(r.turn.Event.Key, reserved, r.turn.Now)
		return nil, nil
	}
	if err := r.turn.Flag(ctx, flag.Flag{Cause: flag.BreakerTripped, Detail: d.String()}); err != nil {
		return nil, err
	}
	verdict := lane.Hold(lane.BreakerTripped, d.String()).Approved(1, r.barred()...)
	return &verdict, nil
}

// barred are the names of those who may not approve: whom the event is about and
// who asked for it.
func (r *run) barred() []string {
	names := []string{string(r.user)}
	if who, err := r.turn.Event.Person(); err == nil {
		names = append(names, who.UserPrincipalName, who.Mail, who.ObjectID)
	}
	if r.tenant != nil && r.tenant.Account != nil {
		names = append(names, r.tenant.Account.UserPrincipalName, r.tenant.Account.Mail)
	}
	requester := r.turn.Event.Requester()
	if r.sought != nil && r.sought.people != nil {
		for i := range r.sought.people.People { // they may approve by another of their names
			if p := &r.sought.people.People[i]; strings.EqualFold(string(p.ID), requester) || strings.EqualFold(p.UserPrincipalName, requester) {
				names = append(names, string(p.ID), p.UserPrincipalName)
			}
		}
	}
	return append(names, requester)
}

// applied records that the event's statement took effect.
func (r *run) applied() {
	if s, err := plan.StatementOf(r.turn.Event); err == nil {
		r.turn.Ledger.Applied = &s
		if b := r.turn.Ledger.Block; s.Type == event.Rehire && b != nil && b.For == ledger.BlockedAsLeaver {
			r.turn.Ledger.Block = nil // lifted by us or past us: the person works here again
		}
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
