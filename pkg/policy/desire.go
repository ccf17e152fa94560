package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// desire is what a file asks of one tenant: names are ids, and what the file leaves open
// is as the tenant has it.
type desire struct {
	s          posture.Snapshot
	index      map[identity.UserID]int
	breakGlass []identity.UserID
	// writes are what differs, one for each object in the order of the file. Per-user MFA
	// is not among them.
	writes  []Write
	perUser map[identity.UserID]posture.PerUserMFA
	waves   []wave
	rollout Rollout
	// leftovers are policies of a rollout that is over or going on, by the name of theirs.
	leftovers map[string]posture.ConditionalPolicy
}

type wave struct {
	name   string
	groups []string
	pause  time.Duration
}

// resolving reads what a file says against a snapshot.
type resolving struct {
	*desire
	ctx    context.Context
	groups Groups
	faults []fault
	err    error
}

func (r *resolving) wrong(path, text string, args ...any) {
	r.faults = append(r.faults, fault{path, fmt.Sprintf(text, args...)})
}

// desired resolves a file. An error that is ErrFile names everything that the tenant does
// not have.
func (p Planner) desired(ctx context.Context, f File, s posture.Snapshot) (*desire, error) {
	if len(f.PerUser) > 0 {
		var err error
		if s, err = p.told(ctx, s); err != nil {
			return nil, err
		}
	}
	r := &resolving{ctx: ctx, groups: p.Groups, desire: &desire{
		s: s, index: map[identity.UserID]int{}, perUser: map[identity.UserID]posture.PerUserMFA{}, leftovers: map[string]posture.ConditionalPolicy{},
	}}
	r.s.Groups = maps.Clone(s.Groups)
	if r.s.Groups == nil {
		r.s.Groups = map[string]posture.Group{}
	}
	for i := range s.People {
		r.index[s.People[i].ID] = i
	}
	r.breakGlass = r.users("breakGlass.accounts", f.BreakGlass.Accounts)
	for _, id := range s.BreakGlass {
		if !slices.Contains(r.breakGlass, id) {
			r.breakGlass = append(r.breakGlass, id)
		}
	}
	slices.Sort(r.breakGlass)
	r.s.BreakGlass = r.breakGlass
	r.methods(f.Methods)
	if f.Campaign != nil {
		r.campaign(*f.Campaign)
	}
	if f.SystemPreferred != "" {
		state := f.SystemPreferred
		r.want(Object{Kind: KindSystemPreferred}, Value{SystemPreferred: &state})
	}
	for i, p := range f.Conditional {
		r.policy(fmt.Sprintf("conditionalAccess.%d", i), p)
	}
	for _, p := range s.Policies.Conditional {
		r.leftover(f, p)
	}
	if f.SecurityDefaults != "" {
		on := f.SecurityDefaults == stateEnabled
		r.want(Object{Kind: KindDefaults}, Value{Defaults: &on})
	}
	r.states(f.PerUser)
	if f.Rollout != nil {
		r.rollout = *f.Rollout
		for i, w := range f.Rollout.Waves {
			r.waves = append(r.waves, wave{w.Name, r.groupIDs(fmt.Sprintf("rollout.waves.%d.groups", i), w.Groups), time.Duration(w.Pause)})
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(r.faults) > 0 {
		return nil, f.places.refuse(r.faults)
	}
	return r.desire, nil
}

// leftover notes a policy that a rollout of one of the file's has made. Another one that is
// called like that is somebody's own.
func (r *resolving) leftover(f File, p posture.ConditionalPolicy) {
	name, rolled := strings.CutSuffix(p.DisplayName, rolloutSuffix)
	x := p.Include
	if !rolled || len(x.Groups) == 0 || len(x.Users)+len(x.Roles)+len(x.Guests) > 0 {
		return
	}
	of := slices.IndexFunc(f.Conditional, func(c Policy) bool { return c.Name == name })
	if of < 0 {
		return
	}
	r.leftovers[name] = p
	for _, w := range r.writes {
		if to := w.To.Policy; to != nil && to.DisplayName == name && to.State.InForce() && !unmanaged(p).Equal(unmanaged(*to)) {
			r.wrong(fmt.Sprintf("conditionalAccess.%d.name", of), "the policy has other conditions by now than %q, which enforces it for the waves: delete that one by hand and plan again", p.DisplayName)
		}
	}
}

// unmanaged is what of a policy no file says and no change writes.
func unmanaged(p posture.ConditionalPolicy) Value {
	return Value{Policy: &posture.ConditionalPolicy{
		Apps:    posture.Apps{Actions: p.Apps.Actions, Contexts: p.Apps.Contexts, Filtered: p.Apps.Filtered},
		Clients: p.Clients, Platforms: p.Platforms, Locations: p.Locations, Risks: p.Risks, Others: p.Others, Grant: posture.Grant{Others: p.Grant.Others},
	}}
}

// want notes a write if something differs.
func (r *resolving) want(o Object, to Value) {
	if from := valueOf(&r.s, o); !from.Equal(to) {
		r.writes = append(r.writes, Write{Object: o, From: from, To: to})
	}
}

// users are the ids of people named by id or user principal name. A fault names the place
// and not the person: it goes into flags, logs and the trail.
func (r *resolving) users(path string, names []string) []identity.UserID {
	var ids []identity.UserID
	for n, name := range names {
		id := identity.UserID(strings.ToLower(name))
		if _, ok := r.index[id]; ok {
			ids = append(ids, id)
			continue
		}
		i := slices.IndexFunc(r.s.People, func(p posture.Person) bool { return strings.EqualFold(p.UserPrincipalName, name) })
		if i < 0 {
			r.wrong(fmt.Sprintf("%s.%d", path, n), "is nobody of the tenant's; use an object id or a user principal name")
			continue
		}
		ids = append(ids, r.s.People[i].ID)
	}
	return ids
}

// groupIDs are the ids of groups named by id or display name. Their members are read if
// the snapshot does not have them.
func (r *resolving) groupIDs(path string, names []string) []string {
	var ids []string
	for _, name := range names {
		id := strings.ToLower(name)
		if !identity.IsGUID(id) {
			var found []string
			for known, g := range r.s.Groups {
				if strings.EqualFold(g.DisplayName, name) {
					found = append(found, known)
				}
			}
			// The snapshot has some of the groups only: another one may have the name too.
			list, err := r.groups.GroupsNamed(r.ctx, name)
			if err != nil {
				r.err = errors.Join(r.err, fmt.Errorf("%s: find group %q: %w", path, name, err))
				continue
			}
			for _, g := range list {
				if !slices.Contains(found, g.ID) {
					found = append(found, g.ID)
				}
			}
			switch len(found) {
			case 1:
				id = found[0]
			case 0:
				r.wrong(path, "no group is called %q", name)
				continue
			default:
				slices.Sort(found)
				r.wrong(path, "%d groups are called %q: use the object id of one: %s", len(found), name, strings.Join(found, ", "))
				continue
			}
		}
		if r.load(path, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// load reads the members of a group that the snapshot does not have.
func (r *resolving) load(path, id string) bool {
	if _, ok := r.s.Groups[id]; ok {
		return true
	}
	name, err := r.groups.GroupName(r.ctx, id)
	if errors.Is(err, identity.ErrNotFound) {
		r.wrong(path, "%q is no group of the tenant's", id)
		return false
	}
	g := posture.Group{DisplayName: name}
	for link, pages := "", 0; err == nil && pages < 10_000; pages++ {
		p, pageErr := r.groups.GroupMembers(r.ctx, id, link)
		g.Members, err = append(g.Members, p.Items...), pageErr
		if link = p.Next; link == "" {
			break
		}
	}
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("%s: read group %s: %w", path, id, err))
		return false
	}
	r.s.Groups[id] = g
	return true
}

// targets are those of a method or a campaign. A target that is there already keeps what
// else it says, and a new one may use the Authenticator app as all others may.
func (r *resolving) targets(path string, w Who, have []posture.Target, method string) []posture.Target {
	list := []posture.Target{}
	mode := ""
	if len(have) > 0 && !slices.ContainsFunc(have, func(t posture.Target) bool { return t.Mode != have[0].Mode }) {
		mode = have[0].Mode
	}
	add := func(t posture.Target) {
		t.Mode = mode
		for _, old := range have {
			if old.ID == t.ID && old.User == t.User {
				t.Required, t.Method, t.Mode = old.Required, old.Method, old.Mode
			}
		}
		if method != "" {
			t.Method = method
		}
		list = append(list, t)
	}
	if w.All {
		add(posture.Target{ID: posture.AllUsers})
	}
	for _, id := range r.groupIDs(path+".groups", w.Groups) {
		add(posture.Target{ID: id})
	}
	for _, id := range r.users(path+".users", w.Users) {
		add(posture.Target{ID: string(id), User: true})
	}
	return list
}

func (r *resolving) methods(m *Methods) {
	for _, c := range m.configurations() {
		want, o, path := c.method, Object{KindMethod, c.id}, c.path
		v := valueOf(&r.s, o)
		if v.Method == nil {
			if r.s.Policies.Methods.Methods != nil { // otherwise a gap is told as such
				r.wrong(path, "the tenant has no such method")
			}
			continue
		}
		if want.State != "" {
			v.Method.Enabled = want.State == stateEnabled
		}
		if want.Include != nil {
			v.Method.Include = r.targets(path+".include", *want.Include, v.Method.Include, "")
		}
		if want.Exclude != nil {
			v.Method.Exclude = r.targets(path+".exclude", *want.Exclude, v.Method.Exclude, "")
		}
		if c.id == passConfiguration {
			r.pass(path, *m.Pass, v.Pass)
		}
		r.want(o, v)
	}
}

func (r *resolving) pass(path string, want Pass, p *posture.PassSetting) {
	minutes := func(n int, d *time.Duration) {
		if n != 0 {
			*d = time.Duration(n) * time.Minute
		}
	}
	minutes(want.Minimum, &p.Minimum)
	minutes(want.Default, &p.Default)
	minutes(want.Maximum, &p.Maximum)
	if want.Length != 0 {
		p.Length = want.Length
	}
	if want.Once != nil {
		p.OneTime = *want.Once
	}
	if p.Minimum > p.Default || p.Default > p.Maximum {
		r.wrong(path, "the lifetimes would be %s, %s and %s: minimum, default and maximum must be in order; say all three", p.Minimum, p.Default, p.Maximum)
	}
}

func (r *resolving) campaign(want Campaign) {
	o := Object{Kind: KindCampaign}
	v := valueOf(&r.s, o)
	c := v.Campaign
	if want.State != "" {
		c.State = want.State
	}
	if want.Snooze != nil {
		c.SnoozeDays = *want.Snooze
	}
	method := want.Method
	if want.Include != nil {
		if method == "" && len(c.Include) == 0 {
			method = "microsoftAuthenticator"
		} else if method == "" {
			method = c.Include[0].Method
		}
		c.Include = r.targets("registrationCampaign.include", *want.Include, c.Include, method)
	} else if method != "" {
		c.Include = slices.Clone(c.Include)
		for i := range c.Include {
			c.Include[i].Method = method
		}
	}
	if want.Exclude != nil {
		c.Exclude = r.targets("registrationCampaign.exclude", *want.Exclude, c.Exclude, "")
	}
	r.want(o, v)
}

// policy resolves one Conditional Access policy.
func (r *resolving) policy(path string, want Policy) {
	var have *posture.ConditionalPolicy
	for i := range r.s.Policies.Conditional {
		p := &r.s.Policies.Conditional[i]
		if want.ID != "" && p.ID != strings.ToLower(want.ID) || want.ID == "" && !strings.EqualFold(p.DisplayName, want.Name) {
			continue
		}
		if have != nil {
			r.wrong(path, "several policies have this name: give the id of one")
			return
		}
		have = p
	}
	switch {
	case have == nil && r.s.Missing(posture.FactConditional):
		return // a gap is told as such
	case have == nil && want.ID != "":
		r.wrong(path, "the tenant has no policy %s; leave the id out to create it", want.ID)
		return
	case have == nil && (want.Include == nil || want.Require == ""):
		r.wrong(path, "is not there yet: say under include whom it is for, and under require what it asks for")
		return
	}
	to := posture.ConditionalPolicy{
		ID: Created(want.Name), State: posture.PolicyReportOnly, Apps: posture.Apps{Include: []string{posture.Everybody}}, Clients: []string{"all"},
	}
	o := Object{KindPolicy, to.ID}
	if have != nil {
		to, o.ID = *have, have.ID
	}
	to.DisplayName = want.Name
	switch want.State {
	case stateEnforced:
		to.State = posture.PolicyEnabled
	case stateReportOnly:
		to.State = posture.PolicyReportOnly
	case stateDisabled:
		to.State = posture.PolicyDisabled
	}
	if want.Require != "" {
		r.grant(path, want.Require, &to.Grant)
	}
	if want.Include != nil {
		to.Include = r.selection(path+".include", *want.Include, have != nil && to.Include.GuestTenants)
	}
	if want.Exclude != nil {
		to.Exclude = r.selection(path+".exclude", *want.Exclude, have != nil && to.Exclude.GuestTenants)
	}
	if len(want.Apps) > 0 {
		to.Apps.Include = nil
		for _, app := range want.Apps {
			if identity.IsGUID(app) {
				app = strings.ToLower(app)
			} else if app != posture.Everybody && app != posture.Office365 && app != posture.AdminPortals {
				r.wrong(path+".applications", "%q is none: use app ids, All, Office365 or MicrosoftAdminPortals", app)
			}
			to.Apps.Include = append(to.Apps.Include, app)
		}
	}
	to.Exclude.Users = slices.Clone(to.Exclude.Users)
	for _, id := range r.breakGlass {
		if !r.leavesOut(to.Exclude, id) {
			to.Exclude.Users = append(to.Exclude.Users, string(id))
		}
	}
	if to.State.InForce() && !to.Grant.Passable() {
		r.unjudged(path, want, have, to)
	}
	r.want(o, Value{Policy: &to})
}

// unjudged refuses to have a policy ask more people, or of more, that blocks or asks for
// something else than MFA: whom that would lock out is not judged.
func (r *resolving) unjudged(path string, want Policy, have *posture.ConditionalPolicy, to posture.ConditionalPolicy) {
	if have != nil {
		now := *have
		now.DisplayName = to.DisplayName
		now.Exclude = union(have.Exclude, to.Exclude)
		if (Value{Policy: &now}).Equal(Value{Policy: &to}) { // as it is, or for fewer people
			return
		}
		if have.State.InForce() {
			r.wrong(path, "the policy is in force and asks for something else than MFA, and whom the change would lock out cannot be told: change it by hand, or leave out what differs")
			return
		}
	}
	r.wrong(path+".state", "the policy asks for something else than MFA, and whom it would lock out cannot be told: enforce it by hand, or leave state out")
}

// leavesOut reports whether an exclusion surely holds a person.
func (d *desire) leavesOut(x posture.Selection, id identity.UserID) bool {
	if slices.Contains(x.Users, string(id)) {
		return true
	}
	return slices.ContainsFunc(x.Groups, func(g string) bool { return slices.Contains(d.s.Groups[g].Members, id) })
}

func (r *resolving) grant(path, require string, g *posture.Grant) {
	for _, c := range g.Controls {
		if c != posture.ControlMFA {
			r.wrong(path+".require", "the policy has the control %s too: change it by hand, or leave require out", c)
			return
		}
	}
	if g.Others > 0 {
		r.wrong(path+".require", "the policy asks for terms of use or for custom controls too: change it by hand, or leave require out")
		return
	}
	if strings.EqualFold(require, posture.ControlMFA) {
		*g = posture.Grant{All: g.All, Controls: []string{posture.ControlMFA}}
		return
	}
	for _, id := range slices.Sorted(maps.Keys(r.s.Policies.Strengths)) {
		if s := r.s.Policies.Strengths[id]; strings.EqualFold(id, require) || strings.EqualFold(s.DisplayName, require) {
			*g = posture.Grant{All: g.All, Strength: id}
			return
		}
	}
	r.wrong(path+".require", "%q is neither mfa nor an authentication strength of the tenant's", require)
}

func (r *resolving) selection(path string, want Selected, guestTenants bool) posture.Selection {
	var s posture.Selection
	if want.All {
		s.Users = append(s.Users, posture.Everybody)
	}
	for _, id := range r.users(path+".users", want.Users) {
		s.Users = append(s.Users, string(id))
	}
	s.Groups = r.groupIDs(path+".groups", want.Groups)
	for _, role := range want.Roles {
		id := strings.ToLower(role)
		if _, ok := r.s.Roles[id]; !ok {
			id = ""
			for known, name := range r.s.Roles {
				if strings.EqualFold(name, role) && (id == "" || known < id) {
					id = known
				}
			}
		}
		if id == "" {
			r.wrong(path+".roles", "%q is no directory role", role)
			continue
		}
		s.Roles = append(s.Roles, id)
	}
	s.Guests, s.GuestTenants = want.Guests, guestTenants && len(want.Guests) > 0
	return s
}

// states resolves the rules for per-user MFA. The first that holds a person counts.
func (r *resolving) states(rules []PerUserRule) {
	if len(rules) == 0 {
		return
	}
	want := map[identity.UserID]posture.PerUserMFA{}
	for i, rule := range rules {
		path := fmt.Sprintf("perUserMfa.%d.for", i)
		give := func(id identity.UserID) {
			if _, earlier := want[id]; !earlier {
				want[id] = posture.PerUserMFA(rule.State)
			}
		}
		for _, id := range r.users(path+".users", rule.For.Users) {
			give(id)
		}
		for _, g := range r.groupIDs(path+".groups", rule.For.Groups) {
			for _, id := range r.s.Groups[g].Members {
				give(id)
			}
		}
		if rule.For.All {
			for _, p := range r.s.People {
				give(p.ID)
			}
		}
	}
	for _, id := range sortedUsers(want) {
		i, ok := r.index[id]
		if !ok {
			continue // no user of the snapshot
		}
		have := r.s.People[i].PerUserMFA
		if registered(want[id], have) { // has done what was asked
			continue
		}
		switch have {
		case want[id]:
		case posture.PerUserDisabled, posture.PerUserEnabled, posture.PerUserEnforced:
			r.perUser[id] = want[id]
		default: // what is left unknown is a gap
		}
	}
}

// perUser reports whether steps write per-user MFA.
func perUser(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool {
		return slices.ContainsFunc(s.Writes, func(w Write) bool { return w.Kind == KindPerUser })
	})
}

func sortedUsers[V any](m map[identity.UserID]V) []identity.UserID {
	return slices.Sorted(maps.Keys(m))
}
