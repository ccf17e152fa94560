package readiness

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/sweep"
)

// DefaultWindow is as far back as the sign-in log goes with a P1 licence (Entra, data
// retention).
const DefaultWindow = 30 * 24 * time.Hour

const (
	// fresh is how old a run may be to go on: links to next pages do not live long, and a
	// snapshot should be of about one time.
	fresh = 24 * time.Hour
	// patience is how often in a row the directory may ask to wait, and rest the wait when
	// it does not say how long.
	patience = 8
	rest     = 5 * time.Second
	// wholePage is the largest page of directory objects and of the report of
	// registrations.
	wholePage = 999
)

// Gatherer reads a tenant.
type Gatherer struct {
	Tenant Tenant
	// Store keeps how far a run has come; nil forgets it.
	Store      Store
	BreakGlass []identity.UserID
	// Window is how far back sign-ins are read; 0 means DefaultWindow.
	Window time.Duration
	// Reuse is how old a finished run may be to be taken as it is; 0 reads anew.
	Reuse time.Duration
	// Pace is the time between two requests for reports that the budget allows; 0 for none.
	// It serves the estimate only.
	Pace time.Duration
	Now  func() time.Time
	// Sleep waits in the place of pause.For; nil leaves it to that.
	Sleep func(ctx context.Context, d time.Duration) error
	// Progress is told after every page; it may be nil.
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct {
	// Step is what was just read, Done of Steps how many of them are complete.
	Step  string
	Done  int
	Steps int
	// Calls are the requests of this process, Resumed the pages of an earlier one.
	Calls   int
	Resumed int
	People  int
	// Left is an estimate of the time that the rest takes.
	Left time.Duration
}

// head says of which run the pages in the store are.
type head struct {
	Run   string        `json:"run"`
	Began time.Time     `json:"began"`
	Until time.Time     `json:"until"`
	Span  time.Duration `json:"span"`
	Done  bool          `json:"done"`
}

const headName = "cursor/run.json"

// stored is a page in the store.
type stored struct {
	Run   string          `json:"run"`
	Next  string          `json:"next,omitempty"`
	Items json.RawMessage `json:"items"`
}

// gathering is one run.
type gathering struct {
	Gatherer
	head     head
	s        *posture.Snapshot
	index    map[identity.UserID]int
	total    int // people, about
	active   []RoleAssignment
	eligible []RoleAssignment
	intern   map[string]string

	steps    []*step
	progress Progress
	spent    map[bool]time.Duration // by step.report
	asked    map[bool]int
}

// step is one list of the tenant's, read page by page.
type step struct {
	name string
	// fact is what is missing when the tenant refuses the step.
	fact     posture.Fact
	required bool
	// report is true for what Microsoft allows few requests for.
	report bool
	// perPerson is true for a list with an item for each person.
	perPerson bool
	read      func(ctx context.Context, link string) (page any, next string, err error)
	decode    func(json.RawMessage) (page any, err error)
	// apply takes all pages at once, so that a step can begin anew.
	apply func(pages []any)
	// share of the step that is done after the latest page; nil if nobody can tell.
	share func(page any) float64
	size  int // of its first page

	pages int
	left  int // requests, estimated
}

// list is a step that reads a list.
func list[T any](name string, fact posture.Fact, read func(context.Context, string) (sweep.Page[T], error), apply func([]T)) *step {
	return &step{
		name: name, fact: fact, left: 1,
		read: func(ctx context.Context, link string) (any, string, error) {
			p, err := read(ctx, link)
			return p.Items, p.Next, err
		},
		decode: func(raw json.RawMessage) (any, error) {
			var items []T
			err := json.Unmarshal(raw, &items)
			return items, err
		},
		apply: func(pages []any) {
			for _, p := range pages {
				items, _ := p.([]T)
				apply(items)
			}
		},
	}
}

// one is a step that reads one thing.
func one[T any](name string, fact posture.Fact, read func(context.Context) (T, error), apply func(T)) *step {
	return list(name, fact, func(ctx context.Context, _ string) (sweep.Page[T], error) {
		got, err := read(ctx)
		return sweep.Page[T]{Items: []T{got}}, err
	}, func(items []T) {
		for _, i := range items {
			apply(i)
		}
	})
}

// Snapshot reads everything, or what is left of a run that ended early. Facts that the
// tenant refuses are gaps of the snapshot; without its people there is none. When ctx ends
// the error is that of ctx, and the next run goes on.
func (g Gatherer) Snapshot(ctx context.Context) (posture.Snapshot, error) {
	if g.Window == 0 {
		g.Window = DefaultWindow
	}
	if g.Sleep == nil {
		g.Sleep = pause.For
	}
	run := &gathering{
		Gatherer: g, s: &posture.Snapshot{BreakGlass: g.BreakGlass, Groups: map[string]posture.Group{}, Roles: map[string]string{}},
		index: map[identity.UserID]int{}, intern: map[string]string{}, spent: map[bool]time.Duration{}, asked: map[bool]int{},
	}
	if err := run.begin(ctx); err != nil {
		return posture.Snapshot{}, err
	}
	run.s.TakenAt, run.s.SignInsSince = run.head.Until, run.head.Until.Add(-run.head.Span)
	run.plan()
	for i := 0; i < len(run.steps); i++ { // steps add steps
		run.progress.Step, run.progress.Done, run.progress.Steps = run.steps[i].name, i, len(run.steps)
		if err := run.take(ctx, run.steps[i]); err != nil {
			return posture.Snapshot{}, err
		}
	}
	run.assignRoles()
	run.protocols()
	run.head.Done = true
	run.progress.Done, run.progress.Left = len(run.steps), 0
	run.tell()
	return *run.s, run.save(ctx, headName, run.head)
}

// Refresh reads the policies of a snapshot anew, and the groups that they name by now and
// that the snapshot does not have. Everything about people stays as it was read then, and
// whose MFA counts of guests and of federated domains, which no event changes. It
// keeps nothing in the store.
func (g Gatherer) Refresh(ctx context.Context, s posture.Snapshot) (posture.Snapshot, error) {
	if g.Sleep == nil {
		g.Sleep = pause.For
	}
	g.Store = nil
	s.Policies, s.Groups = keptPolicies(s.Policies), maps.Clone(s.Groups)
	if s.Groups == nil {
		s.Groups = map[string]posture.Group{}
	}
	s.Gaps = slices.DeleteFunc(slices.Clone(s.Gaps), func(gap posture.Gap) bool {
		return slices.Contains([]posture.Fact{posture.FactSecurityDefaults, posture.FactMethodsPolicy, posture.FactStrengths, posture.FactConditional}, gap.Fact)
	})
	run := &gathering{
		Gatherer: g, s: &s, index: map[identity.UserID]int{}, intern: map[string]string{}, spent: map[bool]time.Duration{}, asked: map[bool]int{},
	}
	for i := range s.People {
		run.index[s.People[i].ID] = i
	}
	run.planPolicies()
	policies := len(run.steps)
	for i := 0; i < len(run.steps); i++ {
		if err := run.take(ctx, run.steps[i]); err != nil {
			return posture.Snapshot{}, err
		}
		if i == policies-1 {
			run.planGroups()
		}
	}
	return s, nil
}

// begin goes on with the run in the store, or begins one.
func (g *gathering) begin(ctx context.Context) error {
	now := g.Now().UTC()
	if g.Store != nil {
		data, err := g.Store.Get(ctx, headName)
		if err != nil && !errors.Is(err, ErrNoFile) {
			return err
		}
		var h head
		if err == nil && json.Unmarshal(data, &h) == nil && h.Run != "" && h.Span == g.Window && !h.Began.After(now) {
			if age := now.Sub(h.Began); !h.Done && age < fresh || h.Done && age < g.Reuse {
				g.head = h
				return nil
			}
		}
	}
	g.head = head{Run: rand.Text(), Began: now, Until: now, Span: g.Window}
	return g.save(ctx, headName, g.head)
}

func (g *gathering) save(ctx context.Context, name string, v any) error {
	if g.Store == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return g.Store.Put(ctx, name, data)
}

// plan lists what is to be read. What depends on what was read is added later.
func (g *gathering) plan() {
	t := g.Tenant
	add := func(s *step) *step {
		g.steps = append(g.steps, s)
		return s
	}
	add(one("organization", posture.FactTenant, t.Organization, func(o posture.Tenant) { g.s.Tenant = o }))
	g.steps[0].apply = chain(g.steps[0].apply, g.planFederations)
	count := add(one("count of people", posture.FactTenant, t.CountUsers, func(n int) { g.total = n }))
	count.required = true
	people := add(list("people", posture.FactTenant, t.People, g.meet))
	people.required, people.perPerson = true, true
	add(list("states of per-user MFA", posture.FactPerUserMFA, t.PerUserMFA, func(items []PerUserState) {
		for _, s := range items {
			if person := g.person(s.User); person != nil {
				person.PerUserMFA = s.State
			}
		}
	})).perPerson = true
	registrations := add(list("registered methods", posture.FactRegistrations, t.RegistrationDetails, func(items []Registered) {
		for _, r := range items {
			if person := g.person(r.User); person != nil {
				for i, m := range r.Registration.Methods {
					r.Registration.Methods[i] = posture.Method(g.same(string(m)))
				}
				person.Registration = r.Registration
			}
		}
	}))
	registrations.perPerson, registrations.report = true, true

	g.planPolicies()
	p := &g.s.Policies
	p.Guests = posture.GuestTrust{Default: posture.Unknown}
	add(one("trust in MFA of guests", posture.FactGuestTrust, t.GuestTrust, func(a posture.Answer) { p.Guests.Default = a }))
	add(list("trust in MFA of partners", posture.FactGuestTrust, t.PartnerTrusts, func(items []PartnerTrust) {
		for _, x := range items {
			if p.Guests.Partners == nil {
				p.Guests.Partners = map[string]posture.Answer{}
			}
			p.Guests.Partners[x.Tenant] = x.Counts
		}
	}))
	add(list("role definitions", posture.FactRoles, t.RoleDefinitions, func(items []Named) {
		for _, r := range items {
			g.s.Roles[r.ID] = r.Name
		}
	}))
	add(list("role assignments", posture.FactRoles, t.RoleAssignments, func(items []RoleAssignment) { g.active = append(g.active, items...) }))
	add(list("eligible roles", posture.FactEligibleRoles, t.RoleEligibilities, func(items []RoleAssignment) { g.eligible = append(g.eligible, items...) }))
	add(list("service principals", posture.FactPrincipals, t.Principals, func(items []posture.Principal) {
		g.s.Principals = append(g.s.Principals, items...)
	})).apply = chain(g.steps[len(g.steps)-1].apply, g.planGroups)
	var last *step
	for _, app := range posture.EnforcedApps() {
		if app.AppID != "" {
			add(g.signIns(app, true))
			last = add(g.signIns(app, false))
		}
	}
	last.apply = chain(last.apply, g.planLastSignIns)
}

// planPolicies lists what is to be read of the tenant's policies.
func (g *gathering) planPolicies() {
	t, p := g.Tenant, &g.s.Policies
	add := func(s *step) { g.steps = append(g.steps, s) }
	p.SecurityDefaults = posture.Unknown
	add(one("security defaults", posture.FactSecurityDefaults, t.SecurityDefaults, func(on bool) { p.SecurityDefaults = posture.AnswerOf(on) }))
	add(one("methods policy", posture.FactMethodsPolicy, t.MethodsPolicy, func(m posture.MethodsPolicy) { p.Methods = m }))
	p.Strengths = map[string]posture.Strength{}
	add(list("authentication strengths", posture.FactStrengths, t.Strengths, func(items []posture.Strength) {
		for _, s := range items {
			p.Strengths[s.ID] = s
		}
	}))
	add(list("Conditional Access policies", posture.FactConditional, t.ConditionalPolicies, func(items []posture.ConditionalPolicy) {
		p.Conditional = append(p.Conditional, items...)
	}))
}

// planFederations asks whose MFA counts of each domain that is federated.
func (g *gathering) planFederations() {
	for _, domain := range g.s.Tenant.Federated {
		g.steps = append(g.steps, one("federation of "+domain, posture.FactFederation, func(ctx context.Context) (posture.FederatedMFA, error) {
			return g.Tenant.Federation(ctx, domain)
		}, func(f posture.FederatedMFA) {
			if g.s.Policies.Federation == nil {
				g.s.Policies.Federation = map[string]posture.FederatedMFA{}
			}
			g.s.Policies.Federation[domain] = f
		}))
	}
}

// chain applies a step and then does what depends on it.
func chain(apply func([]any), then func()) func([]any) {
	return func(pages []any) {
		apply(pages)
		then()
	}
}

// meet takes a page of people.
func (g *gathering) meet(items []posture.Person) {
	for _, p := range items {
		if _, twice := g.index[p.ID]; twice {
			continue
		}
		p.Department = g.same(p.Department)
		g.index[p.ID] = len(g.s.People)
		g.s.People = append(g.s.People, p)
	}
	g.total = max(g.total, len(g.s.People))
}

// same is one copy of a text that comes often.
func (g *gathering) same(s string) string {
	if have, ok := g.intern[s]; ok {
		return have
	}
	g.intern[s] = s
	return s
}

func (g *gathering) person(id identity.UserID) *posture.Person {
	if i, ok := g.index[id]; ok {
		return &g.s.People[i]
	}
	return nil
}

// userSignIns are the sign-ins of one person in one way.
type userSignIns struct {
	User identity.UserID `json:"user"`
	posture.SignIns
}

// signIns reads the log of one application.
func (g *gathering) signIns(app posture.EnforcedApp, interactive bool) *step {
	name, fact := "sign-ins to "+app.Name, posture.FactSignIns
	if !interactive {
		name, fact = "background "+name, posture.FactBackground
	}
	q := SignInQuery{AppID: app.AppID, Interactive: interactive, Since: g.s.SignInsSince, Until: g.s.TakenAt}
	oldest := q.Until
	s := list(name, fact, func(ctx context.Context, link string) (sweep.Page[userSignIns], error) {
		p, err := g.Tenant.EnforcedSignIns(ctx, q, link)
		if len(p.Items) > 0 {
			oldest = p.Items[len(p.Items)-1].At
		}
		return sweep.Page[userSignIns]{Items: sumUp(p.Items, app.AppID, interactive), Next: p.Next}, err
	}, func(items []userSignIns) {
		for _, in := range items {
			if person := g.person(in.User); person != nil {
				in.Client = g.same(in.Client)
				person.SignIns = merge(person.SignIns, in.SignIns)
			}
		}
	})
	s.report = true
	s.share = func(any) float64 { return float64(q.Until.Sub(oldest)) / float64(q.Until.Sub(q.Since)) }
	return s
}

// sumUp is a page of the log, summed up by person and by way.
func sumUp(items []SignIn, app string, interactive bool) []userSignIns {
	type way struct {
		user     identity.UserID
		protocol posture.Protocol
		client   string
	}
	at := map[way]int{}
	var out []userSignIns
	for _, in := range items {
		w := way{in.User, in.Protocol, in.Client}
		i, ok := at[w]
		if !ok {
			i = len(out)
			at[w] = i
			out = append(out, userSignIns{in.User, posture.SignIns{
				AppID: app, Interactive: interactive, Protocol: in.Protocol, Client: in.Client, First: in.At, Last: in.At,
			}})
		}
		out[i].add(posture.SignIns{First: in.At, Last: in.At, Count: 1, Succeeded: count(in.Succeeded)})
	}
	return out
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *userSignIns) add(o posture.SignIns) { s.SignIns = joined(s.SignIns, o) }

func joined(a, b posture.SignIns) posture.SignIns {
	if b.First.Before(a.First) {
		a.First = b.First
	}
	if b.Last.After(a.Last) {
		a.Last = b.Last
	}
	a.Count += b.Count
	a.Succeeded += b.Succeeded
	return a
}

// merge adds sign-ins to those of the same way.
func merge(list []posture.SignIns, in posture.SignIns) []posture.SignIns {
	for i, o := range list {
		if o.AppID == in.AppID && o.Interactive == in.Interactive && o.Protocol == in.Protocol && o.Client == in.Client {
			list[i] = joined(o, in)
			return list
		}
	}
	return append(list, in)
}

// planLastSignIns asks for last sign-ins when some program may be behind an account, and
// no longer than until all of those are found.
func (g *gathering) planLastSignIns() {
	wanted := map[identity.UserID]bool{}
	for i := range g.s.People {
		p := &g.s.People[i]
		there := slices.ContainsFunc(p.SignIns, func(in posture.SignIns) bool {
			return in.Interactive && in.Protocol == posture.OtherProtocol && in.Succeeded > 0
		})
		if len(p.SignIns) > 0 && !there {
			wanted[p.ID] = true
		}
	}
	if len(wanted) == 0 {
		return
	}
	s := list("last sign-ins", posture.FactLastSignIns, func(ctx context.Context, link string) (sweep.Page[LastSignIns], error) {
		p, err := g.Tenant.LastSignIns(ctx, link)
		p.Items = slices.DeleteFunc(p.Items, func(l LastSignIns) bool { return !wanted[l.User] })
		for _, l := range p.Items {
			delete(wanted, l.User)
		}
		if len(wanted) == 0 {
			p.Next = ""
		}
		return p, err
	}, func(items []LastSignIns) {
		for _, l := range items {
			if p := g.person(l.User); p != nil {
				p.LastInteractive, p.LastBackground = l.Interactive, l.Background
			}
		}
	})
	decode := s.decode
	s.decode = func(raw json.RawMessage) (any, error) { // by an earlier process
		page, err := decode(raw)
		items, _ := page.([]LastSignIns)
		for _, l := range items {
			delete(wanted, l.User)
		}
		return page, err
	}
	s.report, s.perPerson = true, true
	g.steps = append(g.steps, s)
}

// groupPage is a group's name, or a page of its members.
type groupPage struct {
	Name    string            `json:"name,omitempty"`
	Members []identity.UserID `json:"members,omitempty"`
}

// planGroups reads the groups that policies and roles name.
func (g *gathering) planGroups() {
	wanted := map[string]bool{}
	want := func(ids ...string) {
		for _, id := range ids {
			if identity.IsGUID(id) {
				wanted[id] = true
			}
		}
	}
	for _, p := range g.s.Policies.Conditional {
		want(p.Include.Groups...)
		want(p.Exclude.Groups...)
	}
	targets := func(list []posture.Target) {
		for _, t := range list {
			if !t.User {
				want(t.ID)
			}
		}
	}
	for _, m := range g.s.Policies.Methods.Methods {
		targets(m.Include)
		targets(m.Exclude)
	}
	targets(g.s.Policies.Methods.Campaign.Include)
	targets(g.s.Policies.Methods.Campaign.Exclude)
	applications := map[string]bool{}
	for _, p := range g.s.Principals {
		applications[p.ID] = true
	}
	for _, a := range slices.Concat(g.active, g.eligible) {
		if _, person := g.index[identity.UserID(a.Principal)]; !person && !applications[a.Principal] {
			want(a.Principal)
		}
	}
	for id := range g.s.Groups { // those of a snapshot that is refreshed
		delete(wanted, id)
	}
	for _, id := range sorted(wanted) {
		const members = "members" // leads from the name to the first page of them
		s := list("group "+id, posture.FactGroups, func(ctx context.Context, link string) (sweep.Page[groupPage], error) {
			if link == "" {
				name, err := g.Tenant.GroupName(ctx, id)
				if errors.Is(err, identity.ErrNotFound) {
					return sweep.Page[groupPage]{}, nil
				}
				return sweep.Page[groupPage]{Items: []groupPage{{Name: name}}, Next: members}, err
			}
			p, err := g.Tenant.GroupMembers(ctx, id, strings.TrimPrefix(link, members))
			return sweep.Page[groupPage]{Items: []groupPage{{Members: p.Items}}, Next: p.Next}, err
		}, func(items []groupPage) {
			group := g.s.Groups[id]
			for _, p := range items {
				group.DisplayName += p.Name
				for _, m := range p.Members {
					if person := g.person(m); person != nil {
						m = person.ID // the same copy
					}
					group.Members = append(group.Members, m)
				}
			}
			g.s.Groups[id] = group // nobody is in a group that is gone
		})
		s.left = 2
		g.steps = append(g.steps, s)
	}
}

func sorted(set map[string]bool) []string {
	var list []string
	for id := range set {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// assignRoles gives people their roles, through groups as well.
func (g *gathering) assignRoles() {
	give := func(list []RoleAssignment, active bool) {
		for _, a := range list {
			r := posture.Role{Definition: g.same(a.Definition), Active: active, Scoped: a.Scoped}
			if p := g.person(identity.UserID(a.Principal)); p != nil {
				p.Roles = append(p.Roles, r)
				continue
			}
			r.Via = g.same(a.Principal)
			for _, m := range g.s.Groups[a.Principal].Members {
				if p := g.person(m); p != nil {
					p.Roles = append(p.Roles, r)
				}
			}
		}
	}
	give(g.active, true)
	give(g.eligible, false)
	for i := range g.s.People {
		slices.SortFunc(g.s.People[i].Roles, func(a, b posture.Role) int {
			return cmp.Or(strings.Compare(a.Definition, b.Definition), strings.Compare(a.Via, b.Via))
		})
	}
}

// protocols notes a gap when sign-ins were told without how the client got its token: a
// program that knows the password looks like a person then.
func (g *gathering) protocols() {
	untold := func(in posture.SignIns) bool { return in.Protocol == posture.UnknownProtocol }
	if !g.s.Missing(posture.FactSignIns) && slices.ContainsFunc(g.s.People, func(p posture.Person) bool { return slices.ContainsFunc(p.SignIns, untold) }) {
		g.s.Gaps = append(g.s.Gaps, posture.Gap{Fact: posture.FactSignIns, Why: "Graph's beta is refused, and v1.0 does not tell the protocol: outside a browser, a program may have signed in with the password"})
	}
}

// take reads what is left of a step and applies it.
func (g *gathering) take(ctx context.Context, s *step) error {
	if s.fact != posture.FactTenant && s.fact != posture.FactGroups && g.s.Missing(s.fact) {
		s.apply(nil) // what else hangs on the step
		return nil
	}
	pages, link, done, err := g.resume(ctx, s)
	if err != nil {
		return err
	}
	for waits := 0; !done; {
		began := g.Now()
		page, next, err := s.read(ctx, link)
		g.progress.Calls++
		g.asked[s.report]++
		g.spent[s.report] += g.Now().Sub(began)
		retry := (*identity.RetryError)(nil)
		switch {
		case err == nil:
			waits = 0
		case errors.Is(err, sweep.ErrResync) && len(pages) > 0:
			pages, link, s.pages = nil, "", 0
			continue
		case errors.As(err, &retry) && waits < patience:
			waits++
			if err := g.Sleep(ctx, cmp.Or(retry.After, time.Duration(waits)*rest)); err != nil {
				return err
			}
			continue
		case (errors.Is(err, identity.ErrForbidden) || errors.Is(err, identity.ErrRefused) || errors.Is(err, identity.ErrNotFound)) && !s.required:
			g.s.Gaps = append(g.s.Gaps, posture.Gap{Fact: s.fact, Why: lasting(err)})
			s.left = 0
			s.apply(nil)
			return nil
		default:
			return fmt.Errorf("read %s: %w", s.name, err)
		}
		if err := g.keep(ctx, s, page, next); err != nil {
			return err
		}
		pages = append(pages, page)
		if next == "" {
			done = true
		} else if next == link {
			return fmt.Errorf("read %s: a page leads to itself", s.name)
		}
		link = next
		g.estimate(s, page, done)
		g.tell()
	}
	s.left = 0
	s.apply(pages)
	return nil
}

// lasting is why a fact is missing, in words that are the same with the next report: the
// digest of a plan is over them.
func lasting(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Lasting() string
	}](err); ok {
		return e.Lasting()
	}
	return err.Error()
}

func (s *step) file(page int) string {
	return fmt.Sprintf("cursor/%s/%06d.json", strings.ReplaceAll(s.name, " ", "-"), page)
}

// keep puts a page into the store.
func (g *gathering) keep(ctx context.Context, s *step, page any, next string) error {
	s.pages++
	if g.Store == nil {
		return nil
	}
	items, err := json.Marshal(page)
	if err != nil {
		return err
	}
	return g.save(ctx, s.file(s.pages), stored{Run: g.head.Run, Next: next, Items: items})
}

// resume loads the pages of a step that this run has read already. Pages of other runs lie
// behind them.
func (g *gathering) resume(ctx context.Context, s *step) (pages []any, link string, done bool, err error) {
	for g.Store != nil {
		data, err := g.Store.Get(ctx, s.file(s.pages+1))
		if errors.Is(err, ErrNoFile) {
			break
		} else if err != nil {
			return nil, "", false, err
		}
		var p stored
		if json.Unmarshal(data, &p) != nil || p.Run != g.head.Run {
			break
		}
		page, err := s.decode(p.Items)
		if err != nil {
			break
		}
		pages = append(pages, page)
		s.pages++
		g.progress.Resumed++
		if link = p.Next; link == "" {
			return pages, "", true, nil
		}
	}
	return pages, link, false, nil
}

// estimate is how many requests a step has left, and all of them how much time.
func (g *gathering) estimate(s *step, page any, done bool) {
	if s.pages == 1 {
		s.size = sizeOf(page)
	}
	switch share := 0.0; {
	case done:
		s.left = 0
	case s.perPerson && s.size > 0:
		s.left = max(1, (g.total+s.size-1)/s.size-s.pages)
	case s.share != nil:
		if share = s.share(page); share > 0 {
			s.left = max(1, int(float64(s.pages)/share)-s.pages)
		}
	default:
		s.left = 1
	}
	requests := map[bool]int{}
	for _, o := range g.steps {
		if o.perPerson && o.pages == 0 {
			o.left = max(1, (g.total+wholePage-1)/wholePage)
		}
		requests[o.report] += o.left
	}
	g.progress.Left = 0
	for report, n := range requests {
		each := 50 * time.Millisecond
		if asked := g.asked[report]; asked > 0 {
			each = g.spent[report] / time.Duration(asked)
		}
		if report {
			each = max(each, g.Pace)
		}
		g.progress.Left += time.Duration(n) * each
	}
	g.progress.Left = g.progress.Left.Round(time.Second)
}

func sizeOf(page any) int {
	switch p := page.(type) {
	case []posture.Person:
		return len(p)
	case []PerUserState:
		return len(p)
	case []Registered:
		return len(p)
	default:
		return 0
	}
}

func (g *gathering) tell() {
	g.progress.People = len(g.s.People)
	g.progress.Steps = len(g.steps)
	if g.Progress != nil {
		g.Progress(g.progress)
	}
}
