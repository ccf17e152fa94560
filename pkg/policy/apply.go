package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

const (
	// patience is how often in a row the directory may ask to wait, and pause the wait when
	// it does not say how long.
	patience = 8
	pause    = 5 * time.Second
)

// Engine applies plans. Everything that it does is recorded before it does it, so that a
// run that was killed goes on where it was.
type Engine struct {
	Tenant Tenant
	Groups Groups
	Store  Store
	// Claimant says to others who is applying, and TakeOver takes the tenant from another
	// process that has claimed it: one that is known to be dead.
	Claimant Claimant
	TakeOver bool
	Snapshot Snapshot
	Watch    Watch
	// Ends says of an open run whether a new one may take its place; nil: of any.
	Ends func(Run) bool
	// Reads as in Planner.
	Reads *Reads
	Now   func() time.Time
	// Sleep returns nil after d, or the error of ctx.
	Sleep func(ctx context.Context, d time.Duration) error
	Audit interface {
		Write(ctx context.Context, r audit.Record) error
	}
	// Progress is told before every step and after every write; it may be nil.
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct {
	Step, Steps   int
	Title         string
	Write, Writes int
}

// Outcome is how far a run came.
type Outcome struct {
	Run string `json:"run"`
	// Steps are done, of all; Writes were made by this process.
	Steps  int `json:"steps"`
	Of     int `json:"of"`
	Writes int `json:"writes"`
	// PausedUntil is when the next wave may begin; zero when none waits.
	PausedUntil time.Time `json:"pausedUntil,omitzero"`
	// Already: the plan had been applied before.
	Already bool `json:"already,omitempty"`
}

// Done reports whether no step is left.
func (o Outcome) Done() bool { return o.Steps == o.Of }

// applying is one process's part of a run.
type applying struct {
	Engine
	run  Run
	out  Outcome
	held *held
	// stale: the tenant was written since it was last judged.
	stale bool
}

// Apply applies a plan, or goes on with it, up to the next pause of a rollout. It may be
// called again after any error and after any kill: what was done is not done twice. While
// another process applies a plan it is ErrClaimed.
func (e Engine) Apply(ctx context.Context, plan Plan, operator, reason string) (Outcome, error) {
	if err := plan.Verify(); err != nil {
		return Outcome{}, err
	}
	if len(plan.Refusals) > 0 {
		return Outcome{}, fmt.Errorf("%w: %s", ErrRefused, list(plan.Refusals))
	}
	a := &applying{Engine: e, stale: true, out: Outcome{Of: len(plan.Steps)}}
	if plan.Empty() {
		return a.out, nil
	}
	held, err := e.hold(ctx, plan, operator)
	if err != nil {
		return a.out, err
	}
	a.held = held
	defer held.release(ctx)
	already, err := a.begin(ctx, plan, operator, reason)
	if err != nil || already {
		return a.out, err
	}
	err = a.steps(ctx)
	a.out.Steps = len(a.run.StepsDone)
	return a.out, err
}

// list is refusals in words, without names.
func list(refusals []Refusal) string {
	parts := make([]string, len(refusals))
	for i, r := range refusals {
		parts[i] = strings.ToLower(r.Code.Title()[:1]) + r.Code.Title()[1:]
		if r.Detail != "" {
			parts[i] += " (" + r.Detail + ")"
		}
		if len(r.People) > 0 {
			parts[i] += fmt.Sprintf(" (%d people)", len(r.People))
		}
	}
	return strings.Join(parts, "; ")
}

// begin finds the run of a plan, or makes one.
func (a *applying) begin(ctx context.Context, plan Plan, operator, reason string) (already bool, err error) {
	earlier, err := Runs(ctx, a.Store)
	if err != nil {
		return false, err
	}
	for _, r := range slices.Backward(earlier) {
		// A plan that was made anew is not the one that was applied, though it says the same:
		// somebody has put the tenant back in between.
		if r.Plan.Digest != plan.Digest || !r.Plan.MadeAt.Equal(plan.MadeAt) || r.UndoneBy != "" || r.SupersededBy != "" {
			continue
		}
		a.run, a.out.Run = r, r.ID
		if !r.Open() {
			a.out.Already, a.out.Steps = true, len(r.StepsDone)
			return true, nil
		}
		return false, nil
	}
	for _, r := range earlier {
		if a.Ends != nil && r.Open() && r.ID != plan.Undoes && !a.Ends(r) {
			return false, fmt.Errorf("%w: the run %s has begun", ErrChanged, r.ID)
		}
	}
	now := a.Now().UTC()
	a.run = Run{
		ID: now.Format("20060102T150405.000000000Z") + "-" + plan.Digest[:8], Plan: plan, Operator: operator, Reason: reason, BeganAt: now,
		StepsDone: []time.Time{}, IDs: map[string]string{}, Blocked: nil,
	}
	for _, r := range earlier {
		if a.run.Rolling.IsZero() && r.UndoneBy == "" && rolls(r, plan) {
			if a.run.Rolling, err = firstWave(ctx, a.Store, r); err != nil {
				return false, err
			}
			a.run.Blocked = r.Blocked
		}
		if r.Open() && r.ID != plan.Undoes {
			r.SupersededBy = a.run.ID
			if err := put(ctx, a.Store, r.file(), r); err != nil {
				return false, err
			}
		}
	}
	a.out.Run = a.run.ID
	return false, a.save(ctx)
}

// save keeps the run, unless somebody else goes on with it by now.
func (a *applying) save(ctx context.Context) error {
	if err := a.held.keep(ctx); err != nil {
		return err
	}
	return put(ctx, a.Store, a.run.file(), a.run)
}

func (a *applying) steps(ctx context.Context) error {
	steps := a.run.Plan.Steps
	for i := len(a.run.StepsDone); i < len(steps); i++ {
		step := steps[i]
		if due := a.last().Add(step.Pause); a.Now().Before(due) {
			a.out.PausedUntil = due
			return nil
		}
		// A gate is asked however little was done since the tenant was last read: a step of
		// which nothing was left to write does not make what was read stale.
		if step.Gate || a.stale && a.out.Writes == 0 {
			if err := a.look(ctx, i); err != nil {
				return fmt.Errorf("before step %d (%s): %w", i+1, step.Title, err)
			}
		}
		a.tell(Progress{Step: i + 1, Steps: len(steps), Title: step.Title, Writes: len(step.Writes)})
		for k, w := range step.Writes {
			if err := a.write(ctx, i, k, w); err != nil {
				return fmt.Errorf("step %d (%s): %w", i+1, step.Title, err)
			}
			a.tell(Progress{Step: i + 1, Steps: len(steps), Title: step.Title, Write: k + 1, Writes: len(step.Writes)})
		}
		a.run.StepsDone = append(a.run.StepsDone, a.Now().UTC())
		if err := a.save(ctx); err != nil {
			return err
		}
	}
	return a.end(ctx)
}

// end marks the run as ended, after the one that it takes back: killed in between, it is
// done again.
func (a *applying) end(ctx context.Context) error {
	if undoes := a.run.Plan.Undoes; undoes != "" {
		var r Run
		if err := get(ctx, a.Store, Run{ID: undoes}.file(), &r); err != nil {
			return err
		}
		r.UndoneBy = a.run.ID
		if err := put(ctx, a.Store, r.file(), r); err != nil {
			return err
		}
	}
	a.run.EndedAt = a.Now().UTC()
	return a.save(ctx)
}

// last is when the step before the next one was done.
func (a *applying) last() time.Time {
	if n := len(a.run.StepsDone); n > 0 {
		return a.run.StepsDone[n-1]
	}
	return a.run.BeganAt
}

func (a *applying) tell(p Progress) {
	if a.Progress != nil {
		a.Progress(p)
	}
}

// look reads the tenant anew before step i: what the plan rests on must be as it was, the
// steps that are left must still be safe, and a rollout must not have done harm.
func (a *applying) look(ctx context.Context, i int) error {
	plan := &a.run.Plan
	s, err := a.Snapshot(ctx, a.held.alive)
	if err != nil {
		return err
	}
	if s.Tenant.ID != plan.Tenant {
		return fmt.Errorf("%w: it is of tenant %s and not of %s", ErrNotThisPlan, plan.Tenant, s.Tenant.ID)
	}
	s.BreakGlass = plan.BreakGlass
	if err := a.unchanged(&s, i); err != nil {
		return err
	}
	left := slices.Clone(plan.Steps[i:])
	for k := range left {
		writes := []Write{}
		for _, w := range left[k].Writes {
			w = a.known(w, &s)
			if k > 0 || w.Kind == KindPerUser || !valueOf(&s, w.Object).Equal(w.To) { // else done by a process that was killed
				writes = append(writes, w)
			}
		}
		left[k].Writes = writes
	}
	if s, err = a.grouped(ctx, s, left); err != nil {
		return err
	}
	if perUser(plan.Steps) {
		// What the plan was made of is not read again, if it is much.
		x := &reading{Reads: a.Reads, tenant: a.Tenant, since: plan.MadeAt.Add(-readsLife), written: states(plan.Steps[:i]), alive: a.held.alive}
		if s, err = x.told(ctx, s); err != nil {
			return err
		}
	}
	judged := plan.Question
	judged.At = a.Now().UTC()
	found, err := judge(s, judged, left)
	if err != nil {
		return err
	}
	if open := beyond(append(gaps(s, nil, true), found...), plan.Accepted); len(open) > 0 {
		return fmt.Errorf("%w, by what is known now: %s", ErrRefused, list(open))
	}
	now, err := posture.Evaluate(s, judged)
	if err != nil {
		return err
	}
	blocked := []identity.UserID{}
	for k := range s.People {
		if now.Results[k].Verdict == posture.Blocked {
			blocked = append(blocked, s.People[k].ID)
		}
	}
	a.stale = false
	if a.run.Blocked == nil {
		a.run.Blocked = blocked
		if err := a.save(ctx); err != nil {
			return err
		}
	}
	if plan.Steps[i].Gate {
		return a.gate(ctx, plan.Steps[i], s, blocked)
	}
	return nil
}

// states are those of per-user MFA that steps give to people.
func states(steps []Step) map[identity.UserID]posture.PerUserMFA {
	all := map[identity.UserID]posture.PerUserMFA{}
	for _, step := range steps {
		for _, w := range step.Writes {
			maps.Copy(all, w.To.PerUser)
		}
	}
	return all
}

// known is a write with the ids that policies have by now.
func (a *applying) known(w Write, s *posture.Snapshot) Write {
	if w.Kind != KindPolicy {
		return w
	}
	id := a.run.IDs[w.ID]
	if name, isNew := CreatedName(w.ID); isNew && id == "" && s != nil {
		for _, p := range s.Policies.Conditional {
			if p.DisplayName == name {
				id = p.ID
			}
		}
	}
	if id != "" {
		w.ID, w.From, w.To = id, w.From.withID(id), w.To.withID(id)
	}
	return w
}

// unchanged compares the policies with those that the plan rests on and the steps before i
// made; those of step i may be done or not.
func (a *applying) unchanged(s *posture.Snapshot, i int) error {
	base := posture.Snapshot{Policies: a.run.Plan.Base}
	want := map[Object][]Value{}
	for _, o := range objects(&base) {
		want[o] = []Value{valueOf(&base, o)}
	}
	for k, step := range a.run.Plan.Steps[:min(i+1, len(a.run.Plan.Steps))] {
		for _, w := range step.Writes {
			w = a.known(w, s)
			switch {
			case w.Kind == KindPerUser:
			case k < i:
				want[w.Object] = []Value{w.To}
			default:
				want[w.Object] = []Value{w.From, w.To}
			}
		}
	}
	for _, o := range objects(s) {
		if _, ok := want[o]; !ok {
			want[o] = []Value{{}}
		}
	}
	for o, values := range want {
		have := valueOf(s, o)
		if !slices.ContainsFunc(values, have.Equal) {
			return fmt.Errorf("%w: %s is not as it was planned; plan again", ErrChanged, o)
		}
	}
	return nil
}

// objects are those that a snapshot has.
func objects(s *posture.Snapshot) []Object {
	list := []Object{{Kind: KindDefaults}, {Kind: KindCampaign}, {Kind: KindSystemPreferred}}
	for id := range s.Policies.Methods.Methods {
		list = append(list, Object{KindMethod, id})
	}
	for _, p := range s.Policies.Conditional {
		list = append(list, Object{KindPolicy, p.ID})
	}
	return list
}

// grouped adds the members of groups that steps name and nothing else does yet.
func (a *applying) grouped(ctx context.Context, s posture.Snapshot, steps []Step) (posture.Snapshot, error) {
	r := &resolving{ctx: ctx, groups: a.Groups, desire: &desire{s: s}}
	r.s.Groups = map[string]posture.Group{}
	for id, g := range s.Groups {
		r.s.Groups[id] = g
	}
	for _, step := range steps {
		groups := slices.Clone(step.WaveGroups)
		for _, w := range step.Writes {
			if p := w.To.Policy; p != nil {
				groups = append(groups, slices.Concat(p.Include.Groups, p.Exclude.Groups)...)
			}
			if m := w.To.Method; m != nil {
				for _, t := range slices.Concat(m.Include, m.Exclude) {
					if !t.User && t.ID != posture.AllUsers {
						groups = append(groups, t.ID)
					}
				}
			}
		}
		for _, id := range groups {
			r.load(step.Title, id)
		}
	}
	return r.s, r.err
}

// rolls reports whether a plan goes on with a rollout of which an earlier run made a policy.
func rolls(earlier Run, plan Plan) bool {
	return slices.ContainsFunc(plan.Base.Conditional, func(p posture.ConditionalPolicy) bool {
		return strings.HasSuffix(p.DisplayName, rolloutSuffix) && earlier.IDs[Created(p.DisplayName)] == p.ID
	})
}

// firstWave is when a run, or the one whose rollout it goes on with, brought a policy into
// force for anybody: what happened before is not the rollout's doing. It is zero while none
// is. What was kept before the write knows it also of a process that was killed right after
// it.
func firstWave(ctx context.Context, store readiness.Store, run Run) (time.Time, error) {
	if !run.Rolling.IsZero() {
		return run.Rolling, nil
	}
	for i, step := range run.Plan.Steps[:min(len(run.StepsDone)+1, len(run.Plan.Steps))] {
		if step.Wave == "" {
			continue
		}
		var k kept
		err := get(ctx, store, keptFile(run.ID, i, 0), &k)
		switch {
		case errors.Is(err, readiness.ErrNoFile) && i < len(run.StepsDone): // somebody else had done it
			return run.StepsDone[i], nil
		case errors.Is(err, readiness.ErrNoFile):
			continue
		case err != nil:
			return time.Time{}, err
		}
		return k.At, nil
	}
	return time.Time{}, nil
}

// gate is the stop rule of a rollout. What it cannot look at stops the rollout too.
func (a *applying) gate(ctx context.Context, step Step, s posture.Snapshot, blocked []identity.UserID) error {
	in := (&desire{s: s}).members(step.WaveGroups)
	was := map[identity.UserID]bool{}
	for _, id := range a.run.Blocked {
		was[id] = true
	}
	for _, r := range a.run.Plan.Accepted {
		for _, id := range r.People {
			was[id] = true
		}
	}
	since, err := firstWave(ctx, a.Store, a.run)
	if err != nil {
		return err
	}
	if since.IsZero() {
		since = a.run.BeganAt
	}
	stop, newly := a.run.Plan.Stop, 0
	for _, id := range blocked {
		newly += b2i(in[id] && !was[id])
	}
	var why []string
	if newly > stop.NewlyBlocked {
		why = append(why, fmt.Sprintf("%d people of the waves so far are newly blocked, and %d would be good", newly, stop.NewlyBlocked))
	}
	failures, flags, err := a.Watch.read(ctx, stop, since)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	failures = slices.DeleteFunc(failures, func(f Failure) bool { return !in[f.User] || f.At.Before(since) })
	if stop.FailedSignIns != nil && len(failures) > *stop.FailedSignIns {
		why = append(why, fmt.Sprintf("%d sign-ins of people of the waves so far failed over MFA, and %d would be good", len(failures), *stop.FailedSignIns))
	}
	flags = slices.DeleteFunc(flags, func(f OpenFlag) bool { return !in[f.User] || f.At.Before(since) || !f.KeptOut() })
	if stop.OpenFlags != nil && len(flags) > *stop.OpenFlags {
		why = append(why, fmt.Sprintf("%d open flags say that people of the waves so far do not get in or called the help desk, and %d would be good (%s)",
			len(flags), *stop.OpenFlags, named(flags)))
	}
	if len(why) > 0 {
		return fmt.Errorf("%w: %s", ErrStopped, strings.Join(why, "; "))
	}
	return nil
}

// named are the first of some flags, as operators find them.
func named(flags []OpenFlag) string {
	const most = 5
	var list []string
	for _, f := range flags[:min(most, len(flags))] {
		list = append(list, fmt.Sprintf("flag %d: %s: %s", f.Number, f.User, f.Cause.Title()))
	}
	if n := len(flags) - most; n > 0 {
		list = append(list, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(list, ", ")
}

// read reads what a stop rule has limits for.
func (w Watch) read(ctx context.Context, stop Stop, since time.Time) (failures []Failure, flags []OpenFlag, err error) {
	if stop.FailedSignIns != nil {
		if w.Failures == nil {
			return nil, nil, errors.New("failed sign-ins cannot be read from here")
		}
		if failures, err = w.Failures(ctx, since); err != nil {
			return nil, nil, fmt.Errorf("failed sign-ins cannot be read: %w", err)
		}
	}
	if stop.OpenFlags != nil {
		if w.Flags == nil {
			return nil, nil, errors.New("open flags cannot be read from here")
		}
		if flags, err = w.Flags(ctx); err != nil {
			return nil, nil, fmt.Errorf("open flags cannot be read: %w", err)
		}
	}
	return failures, flags, nil
}

// try reads what a stop rule will have to read, as of now.
func (w Watch) try(ctx context.Context, stop Stop, now time.Time) error {
	_, _, err := w.read(ctx, stop, now)
	return err
}

// write makes one write, unless it is made already.
func (a *applying) write(ctx context.Context, step, number int, w Write) error {
	w = a.known(w, nil)
	for waits := 0; ; {
		state, err := a.Tenant.State(ctx, w.Object, sortedUsers(w.To.PerUser))
		if err == nil {
			var done bool
			if done, err = a.attempt(ctx, step, number, w, state); done {
				return err
			}
		}
		retry := (*identity.RetryError)(nil)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &retry) || waits == patience || permanent(err):
			return err
		}
		waits++
		if err := a.Sleep(ctx, cmp.Or(retry.After, time.Duration(waits)*pause)); err != nil {
			return err
		}
	}
}

// permanent reports whether a write failed for somebody in a way that waiting does not
// cure.
func permanent(err error) bool {
	part := (*PartError)(nil)
	if !errors.As(err, &part) {
		return false
	}
	for _, failed := range part.Failed {
		if retry := (*identity.RetryError)(nil); !errors.As(failed, &retry) {
			return true
		}
	}
	return false
}

// attempt writes what a fresh look at the object says is to be written. done is true when
// there is nothing to try again.
func (a *applying) attempt(ctx context.Context, step, number int, w Write, state State) (done bool, err error) {
	if _, isNew := CreatedName(w.ID); isNew && state.ID != "" {
		if err := a.name(ctx, w.ID, state.ID); err != nil {
			return true, err
		}
		w = a.known(w, nil)
	}
	file := keptFile(a.run.ID, step, number)
	_, before := a.Store.Get(ctx, file)
	if before != nil && !errors.Is(before, readiness.ErrNoFile) {
		return true, before
	}
	todo, err := rest(w, state.Value)
	if err != nil {
		return true, err
	}
	if todo == nil {
		if before == nil { // by a process that was killed, or by a write that got no answer
			return true, a.record(ctx, w, nil, a.Now(), nil)
		}
		return true, nil
	}
	if err := a.held.keep(ctx); err != nil {
		return true, err
	}
	if before != nil {
		if err := put(ctx, a.Store, file, kept{Step: step, Write: w, Was: state, At: a.Now().UTC()}); err != nil {
			return true, err
		}
	}
	began := a.Now()
	calling, calls := correlation.Collect(ctx)
	a.stale = true
	// A write that outlasted the claim could fall into somebody else's.
	calling, end := context.WithTimeout(calling, a.held.Until.Sub(a.Now()))
	id, writeErr := a.Tenant.Write(calling, *todo, state.Document, w.Kept)
	end()
	a.out.Writes++
	if err := a.record(ctx, *todo, calls.List(), began, writeErr); err != nil {
		return true, err
	}
	if writeErr != nil {
		return false, writeErr
	}
	if id != "" {
		if err := a.name(ctx, w.ID, id); err != nil {
			return true, err
		}
	}
	return true, a.taken(ctx, a.known(w, nil))
}

// taken waits until the directory shows what was written. One that shows something else
// read the request in another way than we meant it, and nothing more is to be built on that.
// The answers for per-user MFA are one for each person, and are enough.
func (a *applying) taken(ctx context.Context, w Write) error {
	if w.Kind == KindPerUser {
		return nil
	}
	for waits := 1; ; waits++ {
		state, err := a.Tenant.State(ctx, w.Object, nil)
		retry := (*identity.RetryError)(nil)
		switch {
		case err == nil && state.Value.Equal(w.To):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.As(err, &retry):
			return err
		case waits > patience && err != nil:
			return err
		case waits > patience:
			return fmt.Errorf("%w: %s does not show what was written; look at it by hand before anything else, or roll back", ErrChanged, w.Object)
		}
		wait := time.Second
		if retry != nil {
			wait = cmp.Or(retry.After, pause)
		}
		if err := a.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// name keeps the id of a policy that was created.
func (a *applying) name(ctx context.Context, stands, id string) error {
	if a.run.IDs[stands] == id {
		return nil
	}
	a.run.IDs[stands] = id
	return a.save(ctx)
}

// rest is what of a write is left to do; nil when it is done. ErrChanged when the object is
// neither as planned nor as it should be.
func rest(w Write, have Value) (*Write, error) {
	if w.Kind != KindPerUser {
		switch {
		case have.Equal(w.To):
			return nil, nil
		case have.Equal(w.From):
			return &w, nil
		default:
			return nil, fmt.Errorf("%w: %s is not as it was planned; plan again", ErrChanged, w.Object)
		}
	}
	from, to := map[identity.UserID]posture.PerUserMFA{}, map[identity.UserID]posture.PerUserMFA{}
	for id, want := range w.To.PerUser {
		now, ok := have.PerUser[id]
		was := w.From.PerUser[id]
		moved := registered(was, now) || was == posture.PerUserDisabled && registered(want, now)
		switch {
		case now == want, moved && want == posture.PerUserEnabled:
			continue
		case !ok || now != was && !moved:
			return nil, fmt.Errorf("%w: per-user MFA of %s is %q and not %q; plan again", ErrChanged, id, now, was)
		}
		from[id], to[id] = now, want
	}
	if len(to) == 0 {
		return nil, nil
	}
	w.From, w.To = Value{PerUser: from}, Value{PerUser: to}
	return &w, nil
}

// registered reports whether a state of per-user MFA is the one that somebody gets by
// registering a method: from enabled they go to enforced (Entra, howto-mfa-userstates).
func registered(given, now posture.PerUserMFA) bool {
	return given == posture.PerUserEnabled && now == posture.PerUserEnforced
}

// record writes the audit line of a write.
func (a *applying) record(ctx context.Context, w Write, calls []correlation.Call, began time.Time, failed error) error {
	if a.Audit == nil {
		return nil
	}
	outcome := "done"
	retry := (*identity.RetryError)(nil)
	switch {
	case failed == nil:
	case errors.As(failed, &retry) && retry.Unknown:
		outcome = "unknown"
	default:
		outcome = "failed"
	}
	action := "policy.write"
	if a.run.Plan.Undoes != "" {
		action = "policy.rollback"
	}
	r := audit.Record{
		Key: a.run.ID, Type: string(w.Kind), Actor: a.run.Operator, Action: action, Decision: w.Object.String(), Reason: a.run.Reason,
		Plan: a.run.Plan.Digest, Calls: calls, Outcome: outcome, Started: began, Duration: a.Now().Sub(began),
		PolicyBefore: json.RawMessage(w.From.text()), PolicyAfter: json.RawMessage(w.To.text()),
	}
	return a.Audit.Write(ctx, r)
}
