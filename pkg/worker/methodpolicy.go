package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sweep"
)

// Policies reads and writes the policies of the tenant. *graph.Client implements it.
type Policies interface {
	readiness.Tenant
	policy.Tenant
	policy.Groups
}

// MethodPolicy is what changes of the authentication methods policy are made with: the
// planner and the engine of mfaflow policy, and its store, so that an operator takes back
// what an event did.
//
// # Why people are not read anew
//
// A hundred thousand people take hours within Microsoft's limits, and a lane has minutes.
// What people have registered is that of the last readiness report, up to MaxAge old;
// policies are a few requests and are read when the plan is made and before every write.
type MethodPolicy struct {
	Policies Policies
	Store    policy.Store
	// Claimant says who applies a plan, to whoever else wants to; its lane is filled in.
	Claimant policy.Claimant
	// MaxAge is how old the snapshot of the people may be.
	MaxAge time.Duration
	// Tenant is the id of the tenant, or one of its domains, which nothing is compared with.
	Tenant string
	Now    func() time.Time
}

// sought is what an event asks for, planned for the tenant as it is now.
type sought struct {
	change plan.PolicyChange
	// plan is what is applied; its refusals are those that two operators took upon
	// themselves.
	plan policy.Plan
	// people is the snapshot that the plan was made with; nil for a run that goes on.
	people *posture.Snapshot
	// open are the runs that were open when the event was planned.
	open map[string]bool
}

// guarding lends every call of the policy planner and engine the lane's lock.
type guarding struct {
	Policies
	store policy.Store
	// read and write give the context of one call.
	read, write func(context.Context) (context.Context, context.CancelFunc, error)
}

// unguarded is for a look that holds no lane and writes nothing.
func unguarded(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, cancel, nil
}

func within[T any](ctx context.Context, guard func(context.Context) (context.Context, context.CancelFunc, error), do func(context.Context) (T, error)) (T, error) {
	guarded, cancel, err := guard(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer cancel()
	got, err := do(guarded)
	if err != nil && guarded.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", context.Cause(guarded), err) // the lock is gone
	}
	return got, err
}

func (g guarding) State(ctx context.Context, o policy.Object, users []identity.UserID) (policy.State, error) {
	return within(ctx, g.read, func(ctx context.Context) (policy.State, error) { return g.Policies.State(ctx, o, users) })
}

func (g guarding) Write(ctx context.Context, w policy.Write, documents ...json.RawMessage) (string, error) {
	if !ours(w.Kind) {
		return "", fmt.Errorf("%w: an event does not change %s", policy.ErrRefused, w.Object)
	}
	return within(ctx, g.write, func(ctx context.Context) (string, error) { return g.Policies.Write(ctx, w, documents...) })
}

// MethodsPolicy, like the reads below it, is made under the lock.
func (g guarding) MethodsPolicy(ctx context.Context) (posture.MethodsPolicy, error) {
	return within(ctx, g.read, g.Policies.MethodsPolicy)
}

// SecurityDefaults reads whether they are on.
func (g guarding) SecurityDefaults(ctx context.Context) (bool, error) {
	return within(ctx, g.read, g.Policies.SecurityDefaults)
}

// ConditionalPolicies reads a page of them.
func (g guarding) ConditionalPolicies(ctx context.Context, link string) (sweep.Page[posture.ConditionalPolicy], error) {
	return within(ctx, g.read, func(ctx context.Context) (sweep.Page[posture.ConditionalPolicy], error) {
		return g.Policies.ConditionalPolicies(ctx, link)
	})
}

// Strengths reads a page of the authentication strengths.
func (g guarding) Strengths(ctx context.Context, link string) (sweep.Page[posture.Strength], error) {
	return within(ctx, g.read, func(ctx context.Context) (sweep.Page[posture.Strength], error) {
		return g.Policies.Strengths(ctx, link)
	})
}

// GroupName reads the name of a group.
func (g guarding) GroupName(ctx context.Context, group string) (string, error) {
	return within(ctx, g.read, func(ctx context.Context) (string, error) { return g.Policies.GroupName(ctx, group) })
}

// GroupsNamed finds groups.
func (g guarding) GroupsNamed(ctx context.Context, name string) ([]readiness.Named, error) {
	return within(ctx, g.read, func(ctx context.Context) ([]readiness.Named, error) { return g.Policies.GroupsNamed(ctx, name) })
}

// GroupMembers reads a page of the people in a group.
func (g guarding) GroupMembers(ctx context.Context, group, link string) (sweep.Page[identity.UserID], error) {
	return within(ctx, g.read, func(ctx context.Context) (sweep.Page[identity.UserID], error) {
		return g.Policies.GroupMembers(ctx, group, link)
	})
}

// Put implements readiness.Store: nobody who has lost the lane keeps anything of a run.
func (g guarding) Put(ctx context.Context, name string, data []byte) error {
	_, err := within(ctx, g.read, func(ctx context.Context) (any, error) { return nil, g.store.Put(ctx, name, data) })
	return err
}

// Create implements policy.Store.
func (g guarding) Create(ctx context.Context, name string, data []byte) error {
	_, err := within(ctx, g.read, func(ctx context.Context) (any, error) { return nil, g.store.Create(ctx, name, data) })
	return err
}

// Get implements readiness.Store.
func (g guarding) Get(ctx context.Context, name string) ([]byte, error) {
	return within(ctx, g.read, func(ctx context.Context) ([]byte, error) { return g.store.Get(ctx, name) })
}

// List implements readiness.Store.
func (g guarding) List(ctx context.Context, prefix string) ([]string, error) {
	return within(ctx, g.read, func(ctx context.Context) ([]string, error) { return g.store.List(ctx, prefix) })
}

// ours are the objects of the authentication methods policy, which is all that the
// worker's app may write.
func ours(k policy.Kind) bool {
	return k == policy.KindMethod || k == policy.KindCampaign || k == policy.KindSystemPreferred
}

// sleeper waits within a turn, up to maxLaneWait in all; beyond that the event waits.
func sleeper(pause func(context.Context, time.Duration) error) func(context.Context, time.Duration) error {
	left := maxLaneWait
	return func(ctx context.Context, d time.Duration) error {
		if left -= d; left < 0 {
			return &identity.RetryError{After: d, Err: errors.New("the directory asks to wait")}
		}
		return pause(ctx, d)
	}
}

// people is the snapshot that readiness-report keeps, without policies. The text says why
// there is none that could be judged by.
func (m *MethodPolicy) people(ctx context.Context, g guarding) (s posture.Snapshot, stale string, err error) {
	const makes = "; readiness-report makes one with every report, and so does mfaflow readiness with the same MFAFLOW_REPORTS_URL; release the hold then"
	s, err = readiness.ReadSnapshot(ctx, g)
	switch {
	case errors.Is(err, readiness.ErrNoFile):
		return s, "there is no snapshot of the people of the tenant" + makes, nil
	case errors.Is(err, readiness.ErrSnapshot):
		return s, err.Error() + makes, nil
	case err != nil:
		return s, "", err
	}
	// One from the future is of a clock that is wrong; nobody knows how old it is.
	if age := m.Now().Sub(s.TakenAt); age > m.MaxAge || age < -time.Hour {
		return s, fmt.Sprintf("the snapshot of the people of the tenant is of %s and may be %s old%s", s.TakenAt.UTC().Format(time.RFC3339), m.MaxAge, makes), nil
	}
	return s, "", nil
}

// refreshed is the snapshot with the policies as they are now.
func (m *MethodPolicy) refreshed(ctx context.Context, g guarding, people posture.Snapshot, sleep func(context.Context, time.Duration) error) (posture.Snapshot, error) {
	return readiness.Gatherer{Tenant: g, Now: m.Now, Sleep: sleep}.Refresh(ctx, people)
}

// seek plans what the event asks for. A run that it has begun goes on as it was planned.
func (m *MethodPolicy) seek(ctx context.Context, e event.Event, memory ledger.PolicyChange, attempt int, g guarding, pause func(context.Context, time.Duration) error) (*sought, error) {
	d, err := e.PolicyChange()
	if err != nil {
		return nil, err
	}
	fault := func(format string, args ...any) (*sought, error) {
		return &sought{change: plan.PolicyChange{Fault: fmt.Sprintf(format, args...)}}, nil
	}
	file, err := policy.Parse(d.Policy)
	switch {
	case err != nil:
		return fault("data.policy: %s", oneLine(err))
	case len(file.Conditional) > 0 || file.SecurityDefaults != "" || len(file.PerUser) > 0 || file.Rollout != nil:
		return fault("data.policy holds conditionalAccess, securityDefaults, perUserMfa or rollout, which an operator changes with mfaflow policy plan and apply")
	case identity.IsGUID(m.Tenant) && !strings.EqualFold(m.Tenant, e.Subject):
		return fault("subject: it is about another tenant")
	}
	runs, err := policy.Runs(ctx, g)
	if err != nil {
		return nil, err
	}
	var meanwhile []string
	for _, r := range runs {
		switch {
		case memory.Begun == "" || r.Plan.Digest != memory.Begun:
		case r.SupersededBy != "":
			meanwhile = append(meanwhile, "the run "+r.SupersededBy+" took the place of what the event had begun")
		case r.UndoneBy != "":
			return &sought{change: plan.PolicyChange{Ended: "applied as run " + r.ID + ", which was taken back as " + r.UndoneBy}}, nil
		case !r.Open():
			return &sought{change: plan.PolicyChange{Ended: "applied as run " + r.ID}}, nil
		default:
			return &sought{change: plan.PolicyChange{Begun: true, Digest: r.Plan.Digest, Steps: titles(r.Plan)}, plan: r.Plan}, nil
		}
	}
	people, stale, err := m.people(ctx, g)
	if err != nil || stale != "" {
		return &sought{change: plan.PolicyChange{Stale: stale}}, err
	}
	s, err := m.refreshed(ctx, g, people, sleeper(pause))
	if err != nil {
		return nil, err
	}
	if id := cmp.Or(s.Tenant.ID, m.Tenant); !strings.EqualFold(id, e.Subject) {
		return fault("subject: it is about another tenant than %s", id)
	}
	planner := policy.Planner{Tenant: g, Groups: g, Now: m.Now}
	p, err := planner.Plan(ctx, policy.Request{File: file, Snapshot: s})
	if errors.Is(err, policy.ErrFile) {
		return &sought{change: plan.PolicyChange{Unknown: oneLine(err) + "; make it known to the tenant and release the hold, or drop it"}}, nil
	} else if err != nil {
		return nil, err
	}
	c := plan.PolicyChange{Digest: p.Digest, Steps: titles(p), Concerns: meanwhile}
	for _, r := range joined(p.Refusals) {
		if r.Acceptable {
			c.Concerns = append(c.Concerns, r.inWords())
		} else {
			c.Refusals = append(c.Refusals, r.inWords()+"; "+r.WayOut)
		}
	}
	for _, w := range p.Warnings {
		c.Warnings = append(c.Warnings, warning(w))
	}
	for _, step := range p.Steps {
		for _, w := range step.Writes {
			if !ours(w.Kind) {
				return fault("data.policy: it changes %s, which an operator does", w.Object)
			}
		}
	}
	open := map[string]bool{}
	for _, r := range runs {
		open[r.ID] = r.Open()
		if cause, _, _ := strings.Cut(r.Plan.Cause, attemptMark); r.Open() && cause != e.Key && len(c.Steps) > 0 {
			c.Concerns = append(c.Concerns, "the run "+r.ID+" is not over and would end here")
		}
	}
	if p, err = p.Taken(e.Key + attemptMark + fmt.Sprint(attempt)); err != nil {
		return nil, err
	}
	return &sought{change: c, plan: p, people: &people, open: open}, nil
}

// attemptMark parts the key of an event from its attempt in the cause of a plan.
const attemptMark = "~attempt-"

func titles(p policy.Plan) (list []string) {
	for _, s := range p.Steps {
		list = append(list, s.Title)
	}
	return list
}

// oneLine is an error over several lines as details of holds and dead letters are, and no
// longer than somebody reads.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

const maxReason = 1024

// refused is why a plan is refused, over all steps of which the same is to be said.
type refused struct {
	policy.Refusal
	steps  []string
	people map[identity.UserID]bool
}

// joined are the refusals, each code once, in their order.
func joined(list []policy.Refusal) (out []*refused) {
	for _, r := range list {
		i := slices.IndexFunc(out, func(o *refused) bool { return o.Code == r.Code && o.Detail == r.Detail && o.Acceptable == r.Acceptable })
		if i < 0 {
			i = len(out)
			out = append(out, &refused{Refusal: r, people: map[identity.UserID]bool{}})
		}
		if r.Step > 0 {
			out[i].steps = append(out[i].steps, fmt.Sprint(r.Step))
		}
		for _, id := range r.People {
			out[i].people[id] = true
		}
	}
	return out
}

// inWords names nobody.
func (r *refused) inWords() string {
	text := string(r.Code) + ": " + r.Code.Title()
	switch n := len(r.people); {
	case n == 1:
		text += " (1 person)"
	case n > 1:
		text += fmt.Sprintf(" (%d people)", n)
	}
	if len(r.steps) > 0 {
		text += ", step " + strings.Join(r.steps, ", ")
	}
	if r.Detail != "" {
		text += ", " + r.Detail
	}
	return text
}

func warning(w policy.Warning) string {
	if w.Step > 0 {
		return fmt.Sprintf("step %d %s", w.Step, w.Text)
	}
	return w.Text
}

// guardedPolicies are those under the lane's lock: the ledger is written before every
// write.
func (r *run) guardedPolicies() guarding {
	return guarding{Policies: r.MethodPolicy.Policies, store: r.MethodPolicy.Store, read: r.turn.Guard, write: r.turn.Effect}
}

// changePolicy applies the plan. Every write is kept before it is made, in the store in
// which mfaflow policy rollback finds it.
func (r *run) changePolicy(ctx context.Context) (*lane.Verdict, error) {
	l, key := r.turn.Ledger, r.turn.Event.Key
	memory := l.PolicyOf(key)
	memory.Begun, memory.Disturbed = r.sought.plan.Digest, false
	l.Policy = &memory
	if err := r.turn.Save(ctx); err != nil { // before the run is: what it begins is found again
		return nil, err
	}
	g := r.guardedPolicies()
	sleep := sleeper(r.Pause)
	claimant := r.MethodPolicy.Claimant
	claimant.Lane = r.turn.Message.SessionID
	engine := policy.Engine{
		Tenant: g, Groups: g, Store: g, Claimant: claimant, Now: r.MethodPolicy.Now, Sleep: sleep, Audit: policyAudit{r},
		Ends: func(other policy.Run) bool { return r.sought.open[other.ID] }, // the others nobody was shown
		Snapshot: func(ctx context.Context, _ func(context.Context) error) (posture.Snapshot, error) {
			if r.sought.people == nil {
				people, stale, err := r.MethodPolicy.people(ctx, g)
				if stale != "" {
					err = fmt.Errorf("%w: %s", errStale, stale)
				}
				if err != nil {
					return posture.Snapshot{}, err
				}
				r.sought.people = &people
			}
			return r.MethodPolicy.refreshed(ctx, g, *r.sought.people, sleep)
		},
	}
	out, err := engine.Apply(ctx, r.sought.plan, r.operators(), r.why())
	switch {
	case err == nil && out.Done():
		return nil, nil
	case err == nil:
		return nil, fmt.Errorf("run %s ended after %d of %d steps", out.Run, out.Steps, out.Of)
	case errors.Is(err, policy.ErrClaimed):
		return verdictOf(ctx, &identity.RetryError{After: claimedWait, Err: err})
	case errors.Is(err, errStale):
		return new(lane.Hold(lane.Reason(plan.SnapshotStale), oneLine(err)).Approved(1, r.barred()...)), nil
	case errors.Is(err, policy.ErrChanged), errors.Is(err, policy.ErrRefused), errors.Is(err, policy.ErrNotThisPlan):
		// What is left is planned anew, and operators look at it first: a plan that nobody
		// was shown is held (plan.PolicyApproval), so that this does not come here again.
		l.Policy = &ledger.PolicyChange{Key: key, Disturbed: true}
		verdict, err := r.event(ctx)
		return &verdict, err
	default:
		return verdictOf(ctx, err)
	}
}

// claimedWait is when to look again whether somebody else is still applying a plan.
const claimedWait = time.Minute

// errStale: there is no snapshot to judge the rest of a run by.
var errStale = errors.New("what is left cannot be judged")

// operators are those who released the event, and otherwise its source.
func (r *run) operators() string {
	if w := r.turn.Ledger.WaitingFor(r.turn.Event.Key); w != nil && len(w.Approvals) > 0 {
		return strings.Join(w.Approvals, ", ")
	}
	return "source " + r.turn.Event.Origin
}

// why is the reason of the run: the event and its ticket.
func (r *run) why() string {
	text := "event " + r.turn.Event.Key
	if d, err := r.turn.Event.PolicyChange(); err == nil && d.Ticket != "" {
		text += ", " + d.Ticket
	}
	return text
}

// policyAudit puts the records of a run into the trail of the event.
type policyAudit struct{ *run }

// Write implements the trail of policy.Engine, whose key is that of the run.
func (a policyAudit) Write(ctx context.Context, rec audit.Record) error {
	e := a.turn.Event
	rec.Reason = "run " + rec.Key
	rec.Key, rec.Type, rec.Source, rec.Lane = e.Key, string(e.Type), e.Origin, a.turn.Message.SessionID
	return a.Audit.Write(ctx, rec)
}
