package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// perRequest is for how many people per-user MFA is written at once: as many as a $batch
// holds (Graph concepts, json-batching).
const perRequest = 20

// rolloutSuffix ends the name of a policy that enforces another one for the waves of a
// rollout so far. A policy is enforced or report-only as a whole, so that the policy itself
// stays report-only until the last wave.
const rolloutSuffix = " (rollout)"

// Phase is a step's place in the order that is safe: what lets people in comes before what
// asks them, and what takes away comes last. The zero value is invalid.
type Phase string

// The phases, in their order.
const (
	// PhaseExclude adds exclusions to policies in force.
	PhaseExclude Phase = "exclude"
	// PhaseAllow enables methods and adds people to them.
	PhaseAllow Phase = "allow"
	// PhasePrepare nudges people to register.
	PhasePrepare Phase = "prepare"
	// PhaseReport makes policies report-only.
	PhaseReport Phase = "report"
	// PhaseFree switches security defaults off, beside which nothing can be enforced.
	PhaseFree Phase = "free"
	// PhaseEnforce makes policies ask, by waves.
	PhaseEnforce Phase = "enforce"
	// PhaseRelax makes policies ask less, and removes those of rollouts that are over.
	PhaseRelax Phase = "relax"
	// PhaseSecure switches security defaults on, beside which nothing may be enforced.
	PhaseSecure Phase = "secure"
	// PhaseClear takes per-user MFA back where a policy, or security defaults, have taken over.
	PhaseClear Phase = "clear"
	// PhaseNarrow disables methods and takes people from them.
	PhaseNarrow Phase = "narrow"
)

// Step is one or more writes after which the tenant is in a state that was judged. A step
// with several is about different people, none of whom depends on another.
type Step struct {
	Phase Phase  `json:"phase"`
	Title string `json:"title"`
	// Wave is the name of the wave that the step is for, WaveGroups are the groups of all
	// waves before it, whom its stop rule looks at.
	Wave       string   `json:"wave,omitempty"`
	WaveGroups []string `json:"waveGroups,omitempty"`
	// Pause is how long after the step before this one may begin.
	Pause time.Duration `json:"pause,omitempty"`
	// Gate: the stop rule is asked before the step.
	Gate   bool    `json:"gate,omitempty"`
	Writes []Write `json:"writes"`
	Calls  []Call  `json:"calls"`
	Effect Effect  `json:"effect"`
}

// Effect is what a step does to people.
type Effect struct {
	Shifts []Shifted `json:"shifts,omitempty"`
	// Gains can sign in after the step where they could not before, Loses the other way
	// round. Those who lose are among the refusals, or were accepted.
	Gains []identity.UserID `json:"gains,omitempty"`
	Loses []identity.UserID `json:"loses,omitempty"`
}

// Shifted is how many people go from one verdict to another.
type Shifted struct {
	From  posture.Verdict `json:"from"`
	To    posture.Verdict `json:"to"`
	Count int             `json:"count"`
}

// Warning is something to know about a plan that does not refuse it.
type Warning struct {
	// Step is the number of the step, from 1; 0 for the plan as a whole.
	Step int    `json:"step,omitempty"`
	Text string `json:"text"`
}

// Plan is what it takes to get a tenant to where a file wants it, or back to where it was.
type Plan struct {
	// Undoes is the run that a rollback takes back; empty for a plan of a file.
	Undoes string `json:"undoes,omitempty"`
	Tenant string `json:"tenant"`
	// File is the digest of what the file says, in whatever form.
	File string `json:"file,omitempty"`
	// Cause is the event that asked for the plan; empty for one that an operator made. It
	// tells the runs of events apart that ask for the same.
	Cause      string            `json:"cause,omitempty"`
	MadeAt     time.Time         `json:"madeAt"`
	Question   posture.Question  `json:"question"`
	BreakGlass []identity.UserID `json:"breakGlass"`
	// Base are the policies that the plan rests on.
	Base     posture.Policies `json:"base"`
	Stop     Stop             `json:"stop"`
	Steps    []Step           `json:"steps"`
	Warnings []Warning        `json:"warnings"`
	// Refusals keep the plan from being applied.
	Refusals []Refusal `json:"refusals"`
	// Accept is what an operator took upon themselves: people, and codes of refusals.
	Accept   []string  `json:"accept"`
	Accepted []Refusal `json:"accepted"`
	// Digest is over everything but the times, itself, and the effects of steps: who gains and
	// how many shift is another number whenever somebody registers, and who loses is among the
	// refusals.
	Digest string `json:"digest"`
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Steps) == 0 }

// seal computes the digest.
func (p Plan) seal() (string, error) {
	q := p
	q.MadeAt, q.Digest, q.Question.At = time.Time{}, "", time.Time{}
	q.Steps = make([]Step, len(p.Steps))
	for i, s := range p.Steps {
		s.Effect = Effect{}
		q.Steps[i] = s
	}
	data, err := json.Marshal(q)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Verify is ErrNotThisPlan for a plan that is not as it was made.
func (p Plan) Verify() error {
	digest, err := p.seal()
	if err == nil && (digest != p.Digest || p.Digest == "") {
		err = fmt.Errorf("%w: it does not have the digest that it names", ErrNotThisPlan)
	}
	for i := range p.Steps {
		if err == nil && !slices.Equal(p.losers(i), ordered(p.Steps[i].Effect.Loses)) {
			err = fmt.Errorf("%w: step %d does not name who loses a way in by it", ErrNotThisPlan, i+1)
		}
	}
	return err
}

// losers are the people who lose a way in by a step, as the refusals have them.
func (p Plan) losers(step int) []identity.UserID {
	var list []identity.UserID
	for _, r := range slices.Concat(p.Refusals, p.Accepted) {
		if r.Step == step+1 && slices.Contains([]Code{RefuseBreakGlass, RefuseLockout, RefuseProgram, RefuseOnlyMethod}, r.Code) {
			list = append(list, r.People...)
		}
	}
	return ordered(list)
}

// Planner makes plans. It writes nothing.
type Planner struct {
	Tenant Tenant
	Groups Groups
	Now    func() time.Time
	// Reads reads the states of per-user MFA of many people one by one; nil leaves them unknown.
	Reads *Reads
}

// told is the snapshot with the states of per-user MFA that were not told in bulk.
func (p Planner) told(ctx context.Context, s posture.Snapshot) (posture.Snapshot, error) {
	return (&reading{Reads: p.Reads, tenant: p.Tenant, since: p.Now().Add(-readsLife)}).told(ctx, s)
}

// Request is what a plan is made of.
type Request struct {
	File     File
	Snapshot posture.Snapshot
	// Accept are people, by object id or user principal name, and codes of refusals.
	Accept []string
	// Watch is what the rollout will look at. It is tried: a limit for what cannot be read
	// would only stop the rollout later.
	Watch Watch
}

// Plan compares the file with the tenant. A plan that has refusals cannot be applied. The
// error is ErrFile when the file names what the tenant does not have.
func (p Planner) Plan(ctx context.Context, r Request) (Plan, error) {
	accept, err := acceptable(r.Accept, r.Snapshot)
	if err != nil {
		return Plan{}, err
	}
	d, err := p.desired(ctx, r.File, r.Snapshot)
	if err != nil {
		return Plan{}, err
	}
	said, err := json.Marshal(r.File)
	if err != nil {
		return Plan{}, err
	}
	sum := sha256.Sum256(said)
	plan := Plan{
		Tenant: r.Snapshot.Tenant.ID, File: hex.EncodeToString(sum[:]), MadeAt: p.Now().UTC(),
		Question: posture.Question{At: p.Now().UTC(), Phase: posture.Phase2}, BreakGlass: d.breakGlass, Base: r.Snapshot.Policies,
		Steps: d.steps(), Accept: accept,
	}
	if err := p.copied(ctx, d, plan.Steps); err != nil {
		return Plan{}, err
	}
	if d.rollout.Stop != nil {
		plan.Stop = *d.rollout.Stop
	}
	plan.Warnings = d.warnings(r.File, plan.Steps)
	var known []Refusal
	if err := r.Watch.try(ctx, plan.Stop, p.Now()); err != nil {
		if ctx.Err() != nil {
			return Plan{}, ctx.Err()
		}
		known = append(known, refuse(RefuseUnwatched, 0, nil, err.Error()))
	}
	if err := p.finish(&plan, d.s, managed(r.File), known); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// Taken is the plan with all that a human may take upon themselves taken, for the people
// whom the refusals name and for nobody else, on behalf of the event that caused it. The
// other refusals stay.
func (p Plan) Taken(cause string) (Plan, error) {
	accept := slices.Clone(p.Accept)
	var open []Refusal
	p.Accepted = slices.Clone(p.Accepted)
	for _, r := range p.Refusals {
		if !r.Acceptable {
			open = append(open, r)
			continue
		}
		accept = append(accept, string(r.Code))
		p.Accepted = append(p.Accepted, r)
	}
	slices.Sort(accept)
	p.Cause, p.Accept, p.Refusals = cause, slices.Compact(accept), open
	var err error
	p.Digest, err = p.seal()
	return p, err
}

// copied gives the policies of a rollout what the ones that they stand for have beside what a
// Value holds: conditions, terms of use, session controls.
func (p Planner) copied(ctx context.Context, d *desire, steps []Step) error {
	for i := range steps {
		for k := range steps[i].Writes {
			w := &steps[i].Writes[k]
			if steps[i].Wave == "" || w.Kind != KindPolicy || w.From.Policy != nil {
				continue
			}
			for _, of := range d.writes {
				if of.From.Policy == nil || of.To.Policy == nil || of.To.Policy.DisplayName+rolloutSuffix != w.To.Policy.DisplayName {
					continue
				}
				state, err := p.Tenant.State(ctx, of.Object, nil)
				if err != nil {
					return err
				}
				w.Kept = state.Document
			}
		}
	}
	return nil
}

// finish judges a plan, adds its calls and seals it. known are refusals beside those that
// the judgement finds.
func (p Planner) finish(plan *Plan, s posture.Snapshot, needs map[posture.Fact]bool, known []Refusal) error {
	if plan.Steps == nil {
		plan.Steps = []Step{}
	}
	for i := range plan.Steps {
		step := &plan.Steps[i]
		for _, w := range step.Writes {
			step.Calls = append(step.Calls, p.Tenant.Calls(w)...)
		}
	}
	found, err := judge(s, plan.Question, plan.Steps)
	if err != nil {
		return err
	}
	found = slices.Concat(known, gaps(s, needs, len(plan.Steps) > 0), found)
	plan.Refusals, plan.Accepted = sift(found, plan.Accept, s)
	plan.Digest, err = plan.seal()
	return err
}

// steps are the writes in the order that is safe at every step.
func (d *desire) steps() []Step {
	phases := map[Phase][]Step{}
	add := func(p Phase, title string, writes ...Write) {
		phases[p] = append(phases[p], Step{Phase: p, Title: title, Writes: writes})
	}
	var enforcing []Write // policies that are not in force yet
	for _, w := range d.writes {
		switch w.Kind {
		case KindMethod:
			d.method(w, add)
		case KindCampaign:
			add(PhasePrepare, "set the registration campaign: "+w.To.Campaign.State, w)
		case KindSystemPreferred:
			add(PhasePrepare, "set system-preferred MFA: "+*w.To.SystemPreferred, w)
		case KindDefaults:
			if *w.To.Defaults {
				add(PhaseSecure, "switch security defaults on", w)
			} else {
				add(PhaseFree, "switch security defaults off", w)
			}
		case KindPolicy:
			enforcing = append(enforcing, d.policyWrites(w, add)...)
		case KindPerUser:
		}
	}
	if after := d.enforce(enforcing, len(phases[PhaseReport]) > 0); len(after) > 0 {
		if free := phases[PhaseFree]; len(free) > 0 { // they stay on while policies are observed
			free[0].Pause, after[0].Pause = after[0].Pause, 0
		}
		phases[PhaseEnforce] = append(phases[PhaseEnforce], after...)
	}
	d.remainder(enforcing, add)
	var list []Step
	for _, p := range []Phase{PhaseExclude, PhaseAllow, PhasePrepare, PhaseReport, PhaseFree, PhaseEnforce, PhaseRelax, PhaseSecure, PhaseClear, PhaseNarrow} {
		list = append(list, phases[p]...)
	}
	return list
}

// method first adds and then takes away.
func (d *desire) method(w Write, add func(Phase, string, ...Write)) {
	from, to := w.From.Method, w.To.Method
	switch {
	case !from.Enabled && !to.Enabled:
		add(PhaseAllow, "set what the disabled method "+to.ID+" is for", w)
		return
	case !from.Enabled:
		add(PhaseAllow, "enable the method "+to.ID, w)
		return
	case !to.Enabled:
		add(PhaseNarrow, "disable the method "+to.ID, w)
		return
	}
	wide := *to
	switch all := []posture.Target{{ID: posture.AllUsers}}; {
	case len(without(all, to.Include)) == 0: // holds all others
	case len(without(all, from.Include)) == 0:
		wide.Include = from.Include
	default:
		wide.Include = sortTargets(append(slices.Clone(to.Include), without(from.Include, to.Include)...))
	}
	wide.Exclude = slices.DeleteFunc(slices.Clone(to.Exclude), func(t posture.Target) bool { return !slices.Contains(from.Exclude, t) })
	middle := Value{Method: &wide, Pass: w.From.Pass}
	last := w
	if !w.From.Equal(middle) {
		first := w
		first.To, last.From = middle, middle
		if middle.Equal(w.To) || w.To.Pass != nil && (Value{Method: &wide, Pass: w.To.Pass}).Equal(w.To) {
			add(PhaseAllow, "set the method "+to.ID+", which takes it from nobody", w)
			return
		}
		add(PhaseAllow, "add people to the method "+to.ID, first)
	}
	if (Value{Method: last.From.Method}).Equal(Value{Method: last.To.Method}) {
		add(PhaseAllow, "set the limits of the method "+to.ID, last)
		return
	}
	add(PhaseNarrow, "take people from the method "+to.ID, last)
}

// without are the targets of a list that another one does not name.
func without(list, other []posture.Target) []posture.Target {
	return slices.DeleteFunc(slices.Clone(list), func(t posture.Target) bool {
		return slices.ContainsFunc(other, func(o posture.Target) bool { return o.ID == t.ID && o.User == t.User })
	})
}

// changing begins the title of a step that changes a policy in force.
const changing = "change the policy "

// policyWrites adds the writes that a policy takes before it is enforced, and returns the
// one that enforces it, if there is one.
func (d *desire) policyWrites(w Write, add func(Phase, string, ...Write)) []Write {
	to, from := w.To.Policy, w.From.Policy
	name := fmt.Sprintf("%q", to.DisplayName)
	inForce := from != nil && from.State.InForce()
	switch {
	case inForce && !to.State.InForce():
		add(PhaseRelax, fmt.Sprintf("take the policy %s out of force: %s", name, to.State), w)
		return nil
	case inForce:
		middle := *from
		middle.Exclude = union(from.Exclude, to.Exclude)
		if first := w; !w.From.Equal(Value{Policy: &middle}) {
			first.To, w.From = Value{Policy: &middle}, Value{Policy: &middle}
			add(PhaseExclude, "leave more people out of the policy "+name, first)
		}
		same := *w.From.Policy
		same.DisplayName, same.State = to.DisplayName, to.State
		switch asks := !w.To.Equal(Value{Policy: &same}); {
		case asks && len(d.waves) > 0 && waved(to):
			return []Write{w}
		case !w.From.Equal(w.To):
			add(PhaseEnforce, changing+name+", which is in force", w)
		}
		return nil
	case !to.State.InForce():
		title := fmt.Sprintf("change the policy %s, which is not in force: %s", name, to.State)
		if from == nil {
			title = fmt.Sprintf("create the policy %s: %s", name, to.State)
		}
		add(PhaseReport, title, w)
		return nil
	}
	report := *to
	report.State = posture.PolicyReportOnly
	if first := w; !w.From.Equal(Value{Policy: &report}) {
		first.To, w.From = Value{Policy: &report}, Value{Policy: &report}
		title := "make the policy " + name + " report-only"
		if from == nil {
			title = "create the policy " + name + ", report-only"
		}
		add(PhaseReport, title, first)
	}
	return []Write{w}
}

// union is both selections. Guests of some tenants only stay so, unless the other one is for
// those of all.
func union(a, b posture.Selection) posture.Selection {
	tenants := a.GuestTenants && b.GuestTenants
	switch {
	case len(b.Guests) == 0:
		tenants = a.GuestTenants
	case len(a.Guests) == 0:
		tenants = b.GuestTenants
	}
	return posture.Selection{
		Users: ordered(slices.Concat(a.Users, b.Users)), Groups: ordered(slices.Concat(a.Groups, b.Groups)),
		Roles: ordered(slices.Concat(a.Roles, b.Roles)), Guests: ordered(slices.Concat(a.Guests, b.Guests)),
		GuestTenants: tenants,
	}
}

// waved reports whether a policy can be enforced by waves: only one for everybody can be
// narrowed to groups.
func waved(p *posture.ConditionalPolicy) bool {
	return slices.Contains(p.Include.Users, posture.Everybody)
}

// enforce are the steps that bring policies into force: for one wave after the other, each
// followed by taking per-user MFA back from its people, and then for everybody.
func (d *desire) enforce(writes []Write, reported bool) []Step {
	if len(writes) == 0 {
		return nil
	}
	pause := time.Duration(0)
	if reported {
		pause = time.Duration(d.rollout.Observe)
	}
	var steps []Step
	begin := func(s Step) {
		s.Pause, pause = pause, 0
		steps = append(steps, s)
	}
	have := map[string]Value{} // of the policies of the rollout, by their name
	for name, p := range d.leftovers {
		have[name] = Value{Policy: &p}
	}
	var groups []string
	for i, wave := range d.waves {
		earlier := slices.Clone(groups)
		groups = append(groups, wave.groups...)
		for _, w := range writes {
			if !waved(w.To.Policy) {
				continue
			}
			name := w.To.Policy.DisplayName
			to := *w.To.Policy
			to.DisplayName, to.ID = name+rolloutSuffix, Created(name+rolloutSuffix)
			to.Include = posture.Selection{Groups: ordered(groups)}
			from := have[name]
			if from.Policy != nil {
				to.ID = from.Policy.ID
				to.Include.Groups = ordered(slices.Concat(groups, from.Policy.Include.Groups))
			}
			v := Value{Policy: &to}
			if v.Equal(from) {
				continue
			}
			have[name] = v
			begin(Step{
				Phase: PhaseEnforce, Title: fmt.Sprintf("enforce the policy %q for the wave %s", name, wave.name), Wave: wave.name, WaveGroups: earlier, Gate: i > 0,
				Writes: []Write{{Object: Object{KindPolicy, to.ID}, From: from, To: v}},
			})
		}
		if slices.ContainsFunc(writes, func(w Write) bool { return waved(w.To.Policy) }) {
			if clear := d.clear(d.members(wave.groups)); len(clear) > 0 {
				begin(Step{
					Phase: PhaseClear, Title: "take per-user MFA back from the wave " + wave.name, Wave: wave.name, WaveGroups: earlier, Writes: clear,
				})
			}
		}
		pause = max(pause, wave.pause)
	}
	for _, w := range writes {
		title := fmt.Sprintf("enforce the policy %q", w.To.Policy.DisplayName)
		if w.From.Policy.State.InForce() {
			title = fmt.Sprintf("%s%q, which is in force", changing, w.To.Policy.DisplayName)
		}
		begin(Step{
			Phase: PhaseEnforce, Title: title, WaveGroups: groups, Gate: len(groups) > 0, Writes: []Write{w},
		})
		if v, rolled := have[w.To.Policy.DisplayName]; rolled {
			delete(have, w.To.Policy.DisplayName)
			delete(d.leftovers, w.To.Policy.DisplayName)
			steps = append(steps, d.removal(v))
		}
	}
	return steps
}

func (d *desire) removal(v Value) Step {
	return Step{
		Phase: PhaseClear, Title: fmt.Sprintf("remove the policy %q, which has done its work", v.Policy.DisplayName),
		Writes: []Write{{Object: Object{KindPolicy, v.Policy.ID}, From: v}},
	}
}

// members are the people in groups.
func (d *desire) members(groups []string) map[identity.UserID]bool {
	in := map[identity.UserID]bool{}
	for _, g := range groups {
		for _, id := range d.s.Groups[g].Members {
			in[id] = true
		}
	}
	return in
}

// clear are the writes that take per-user MFA back from people, who are not to be cleared
// again; nil means everybody.
func (d *desire) clear(of map[identity.UserID]bool) []Write {
	return d.states(func(id identity.UserID, from, to posture.PerUserMFA) bool {
		return from != posture.PerUserDisabled && (of == nil || of[id] && to == posture.PerUserDisabled)
	})
}

// states are the writes of per-user MFA for the people chosen, as few as possible.
func (d *desire) states(choose func(id identity.UserID, from, to posture.PerUserMFA) bool) []Write {
	var chosen []identity.UserID
	for _, id := range sortedUsers(d.perUser) {
		if choose(id, d.s.People[d.index[id]].PerUserMFA, d.perUser[id]) {
			chosen = append(chosen, id)
		}
	}
	var writes []Write
	for part := range slices.Chunk(chosen, perRequest) {
		from, to := map[identity.UserID]posture.PerUserMFA{}, map[identity.UserID]posture.PerUserMFA{}
		for _, id := range part {
			from[id], to[id] = d.s.People[d.index[id]].PerUserMFA, d.perUser[id]
			delete(d.perUser, id)
		}
		writes = append(writes, Write{Object: Object{Kind: KindPerUser}, From: Value{PerUser: from}, To: Value{PerUser: to}})
	}
	return writes
}

// remainder adds the states of per-user MFA that no wave had, and ends rollouts that are
// over.
func (d *desire) remainder(enforcing []Write, add func(Phase, string, ...Write)) {
	raise := d.states(func(_ identity.UserID, from, _ posture.PerUserMFA) bool { return from == posture.PerUserDisabled })
	if len(raise) > 0 {
		add(PhaseEnforce, "ask by per-user MFA", raise...)
	}
	if clear := d.clear(nil); len(clear) > 0 {
		add(PhaseClear, "take per-user MFA back", clear...)
	}
	for _, name := range slices.Sorted(maps.Keys(d.leftovers)) {
		p := d.leftovers[name]
		ends := slices.ContainsFunc(d.s.Policies.Conditional, func(c posture.ConditionalPolicy) bool {
			return c.DisplayName == name && c.State == posture.PolicyEnabled
		})
		if ends && !slices.ContainsFunc(enforcing, func(w Write) bool { return w.To.Policy.DisplayName == name }) {
			// Nothing rests on it, and security defaults cannot come on beside it.
			s := d.removal(Value{Policy: &p})
			add(PhaseRelax, s.Title, s.Writes...)
		}
	}
}

// warnings are about what a file asks for.
func (d *desire) warnings(f File, steps []Step) []Warning {
	list := []Warning{}
	warn := func(step int, text string, args ...any) {
		list = append(list, Warning{step, fmt.Sprintf(text, args...)})
	}
	if m := f.Methods; m != nil {
		for _, weak := range []struct {
			name   string
			method *Method
		}{{"sms", m.SMS}, {"voice", m.Voice}} {
			if weak.method != nil && weak.method.State == stateEnabled {
				warn(0, "methods.%s is enabled: text messages and calls are the weakest methods and not recommended", weak.name)
			}
		}
	}
	if f.BreakGlass.None != "" {
		warn(0, "there is no break-glass account: %s", f.BreakGlass.None)
	}
	for _, id := range d.breakGlass {
		i, ok := d.index[id]
		switch {
		case !ok:
			warn(0, "the break-glass account %s is not in the tenant", id)
		case !d.s.People[i].Enabled:
			warn(0, "the break-glass account %s is disabled", id)
		}
	}
	freed, asked := 0, false
	for i, s := range steps {
		if s.Phase == PhaseFree {
			freed = i + 1
		}
		if s.Phase != PhaseEnforce {
			continue
		}
		p := s.Writes[0].To.Policy
		if freed > 0 && !asked && (s.Wave != "" || s.Pause > 0) {
			warn(freed, "from here to the end of the rollout, people outside its waves are asked for MFA neither by security defaults nor by a policy")
		}
		asked = true
		if p == nil || s.Wave != "" || f.Rollout == nil || s.Writes[0].From.Policy == nil {
			continue
		}
		inForce := s.Writes[0].From.Policy.State.InForce()
		switch {
		case inForce && !s.Gate:
			warn(i+1, "the policy %q is in force already, so that it changes at once: without being observed, without waves and without the stop rule", p.DisplayName)
		case inForce:
			warn(i+1, "the policy %q is in force already, so that its change goes by waves without being observed", p.DisplayName)
		case len(d.waves) > 0 && !waved(p):
			warn(i+1, "the policy %q is not for everybody, so that it is enforced in one step after the waves", p.DisplayName)
		}
	}
	if freed > 0 && !asked {
		warn(freed, "security defaults go off and no policy of the plan takes over")
	}
	for i, s := range steps {
		if slices.ContainsFunc(s.Writes, func(w Write) bool { return w.Kind == KindPerUser || w.Kind == KindSystemPreferred }) {
			warn(i+1, "is written over Graph's beta, whose form may change")
		}
	}
	return list
}

// Drift is what differs from a file: nothing is missing from it, whatever order it would
// take to put it right.
func (p Planner) Drift(ctx context.Context, f File, s posture.Snapshot) ([]Difference, error) {
	d, err := p.desired(ctx, f, s)
	if err != nil {
		return nil, err
	}
	list := []Difference{}
	for _, w := range d.writes {
		list = append(list, w.differences()...)
	}
	for _, id := range sortedUsers(d.perUser) {
		have := d.s.People[d.index[id]].PerUserMFA
		list = append(list, Difference{Object: Object{KindPerUser, string(id)}, Member: "state",
			Want: json.RawMessage(fmt.Sprintf("%q", d.perUser[id])), Have: json.RawMessage(fmt.Sprintf("%q", have))})
	}
	for _, g := range gaps(d.s, managed(f), false) {
		return list, fmt.Errorf("%w: %s", ErrRefused, g.Detail)
	}
	return list, nil
}
