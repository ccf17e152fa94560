package posture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
)

// Result is what the evaluation says of a person.
type Result struct {
	// Verdict is the worst that fits what is known, AtBest the best. They differ when a
	// fact is missing or when it depends on the sign-in.
	Verdict Verdict `json:"verdict"`
	AtBest  Verdict `json:"atBest"`
	// Enforced is true when Microsoft's enforcement concerns the person.
	Enforced bool     `json:"enforced"`
	Reasons  []Reason `json:"reasons"`
	Marks    []Mark   `json:"marks,omitempty"`
	// Accesses are the ways in which the person signs in. They depend on the person and on
	// the question alone, so that they are the same ones, in the same order, under other
	// policies. None for somebody who is out of scope as a whole.
	Accesses []Access `json:"-"`
	// Usable are the registered methods that serve and are allowed.
	Usable []Method `json:"-"`
}

// Access is what the evaluation says of one way in which a person signs in.
type Access struct {
	// App is the app id of an enforced application, and empty for anything else.
	App string
	// Attended is whether somebody is there to answer a prompt.
	Attended Answer
	Verdict  Verdict
	AtBest   Verdict
}

// Has reports whether a reason has the code.
func (r Result) Has(c Code) bool {
	return slices.ContainsFunc(r.Reasons, func(x Reason) bool { return x.Code == c })
}

// Evaluation is what an evaluation says of a tenant.
type Evaluation struct {
	Question Question `json:"question"`
	// InForce are the enforced applications that the question concerns.
	InForce []EnforcedApp `json:"inForce"`
	// Results are those of the snapshot's people, in their order.
	Results []Result `json:"results"`
	Notes   []Note   `json:"notes"`
}

// stale is the age from which a last interactive sign-in no longer shows that a person is
// behind background sign-ins: a refresh token lives 90 days (Entra, refresh tokens).
const stale = 90 * 24 * time.Hour

// syncRole is the template of Directory Synchronization Accounts.
const syncRole = "d29b2b05-8046-44ba-8758-1e26182fcf32"

type evaluator struct {
	s            *Snapshot
	q            Question
	inForce      []EnforcedApp
	circle       *circle
	policies     []*ConditionalPolicy
	breakGlass   map[identity.UserID]bool
	rolesMissing bool
}

// Evaluate judges everybody of the snapshot. It changes nothing and depends on nothing but
// its arguments; the order of policies makes no difference.
func Evaluate(s Snapshot, q Question) (Evaluation, error) {
	if err := q.Validate(); err != nil {
		return Evaluation{}, err
	}
	e := &evaluator{
		s: &s, q: q, inForce: q.InForce(), circle: newCircle(&s), breakGlass: map[identity.UserID]bool{},
		// A role may be one that can be activated, or be held through a group.
		rolesMissing: s.Missing(FactRoles) || s.Missing(FactEligibleRoles) || s.Missing(FactGroups),
	}
	for _, id := range s.BreakGlass {
		e.breakGlass[id] = true
	}
	for i := range s.Policies.Conditional {
		e.policies = append(e.policies, &s.Policies.Conditional[i])
	}
	slices.SortStableFunc(e.policies, func(a, b *ConditionalPolicy) int { return cmp.Compare(a.ID, b.ID) })
	out := Evaluation{Question: q, InForce: e.inForce, Results: make([]Result, len(s.People)), Notes: e.notes()}
	for i := range s.People {
		out.Results[i] = e.person(i)
	}
	return out, nil
}

// person judges one of the people.
func (e *evaluator) person(i int) Result {
	p := &e.s.People[i]
	j := &judgement{e: e, i: i, p: p}
	switch {
	case !p.Enabled:
		j.because(Reason{Code: AccountDisabled})
		if e.breakGlass[p.ID] {
			j.marks = append(j.marks, DisabledBreakGlass)
		}
		return Result{Verdict: OutOfScope, AtBest: OutOfScope, Reasons: j.reasons, Marks: j.marks}
	case slices.ContainsFunc(p.Roles, func(r Role) bool { return r.Active && r.Definition == syncRole }):
		j.because(Reason{Code: SyncAccount})
		return Result{Verdict: OutOfScope, AtBest: OutOfScope, Reasons: j.reasons}
	}
	j.means()
	accesses := j.accesses()
	worst, best := OutOfScope, OutOfScope
	asked, reportOnly := false, false
	judged := make([]Access, 0, len(accesses))
	for _, a := range accesses {
		n := j.needs(a)
		asked, reportOnly = asked || n.tenant == Yes || n.defaults, reportOnly || n.reportOnly
		w, b := j.outcome(a, n, true), j.outcome(a, n, false)
		judged = append(judged, Access{App: a.app.AppID, Attended: a.attended, Verdict: w, AtBest: b})
		if w.Worse(worst) {
			worst = w
		}
		if a.known && b.Worse(best) { // otherwise they do not, at best, sign in that way
			best = b
		}
	}
	j.mark(worst, best, reportOnly && !asked)
	return Result{Verdict: worst, AtBest: best, Enforced: j.enforced, Reasons: j.reasons, Marks: j.marks, Accesses: judged, Usable: j.usable}
}

// judgement is the work on one person.
type judgement struct {
	e *evaluator
	i int
	p *Person

	reasons  []Reason
	marks    []Mark
	enforced bool
	service  bool

	modes     map[mode]Answer
	mfa       Answer
	usable    []Method
	forbidden []Method
	// factors counts the registered methods that could serve, phones those among them.
	factors, phones int
	uncertain       bool
	// elsewhere: Entra leaves MFA to the identity provider, and asks for no second factor.
	elsewhere bool
}

func (j *judgement) because(r Reason) {
	for _, x := range j.reasons {
		if x.Code == r.Code && x.About == r.About && x.Detail == r.Detail {
			return
		}
	}
	j.reasons = append(j.reasons, r)
}

func (j *judgement) missing(f Fact) {
	j.uncertain = true
	j.because(Reason{Code: FactMissing, Detail: string(f)})
}

func (j *judgement) in(group string) Answer { return j.e.circle.in(j.i, group) }

// olderPolicy are the configurations that the policies of before the migration may allow
// as well (Entra, how-to-authentication-methods-manage).
var olderPolicy = []string{"sms", "voice", authenticatorApp, "softwareoath", "hardwareoath"}

func (j *judgement) allows(s service) Answer {
	policy := &j.e.s.Policies.Methods
	a := policy.allows(s, string(j.p.ID), j.in)
	if a == No && policy.Migrated != Yes && contains(olderPolicy, s.configuration) && j.p.Registration.Capable != No {
		return Unknown
	}
	return a
}

// means works out what the person can answer with.
func (j *judgement) means() {
	r := &j.p.Registration
	j.modes = map[mode]Answer{modePassword: Yes}
	j.mfa = No
	if !r.Known {
		j.mfa, j.uncertain = Unknown, true
		j.because(Reason{Code: MethodsUnknown})
	}
	var strange []Method
	methods := r.Methods
	if j.allows(service{modeCertificate, "x509certificate"}) == Yes {
		methods = append(slices.Clone(methods), Certificate)
	}
	for _, m := range methods {
		serves, services := No, m.services()
		for _, s := range services {
			if m == SoftwareCode && s.configuration == authenticatorApp && !slices.ContainsFunc(methods, Method.app) {
				continue // codes of another program
			}
			a := j.allows(s)
			if !m.known() || m == Certificate {
				a = a.and(Unknown)
			}
			if old, ok := j.modes[s.mode]; ok {
				j.modes[s.mode] = old.or(a)
			} else {
				j.modes[s.mode] = a
			}
			serves = serves.or(a)
		}
		j.mfa = j.mfa.or(serves)
		if len(services) > 0 && m != Certificate {
			j.factors++
		}
		if m.Phone() {
			j.phones++
		}
		switch {
		case m == TemporaryPass:
			j.modes[modePassOnce], j.modes[modePassMany] = Unknown, Unknown
		case len(services) == 0 || m == Certificate:
		case !m.known():
			strange = append(strange, m)
		case serves == No:
			j.forbidden = append(j.forbidden, m)
		case serves == Yes:
			j.usable = append(j.usable, m)
		}
	}
	j.federated()
	if len(strange) > 0 {
		j.uncertain = j.uncertain || j.mfa != Yes
		j.because(Reason{Code: MethodsUnknown, Methods: strange})
	}
	if len(j.usable) > 0 {
		j.because(Reason{Code: HasMethods, Methods: j.usable})
	} else if j.mfa == No {
		j.because(Reason{Code: NoMethod})
	}
	if len(j.forbidden) > 0 {
		j.because(Reason{Code: MethodsForbidden, Methods: j.forbidden})
	}
	if j.e.s.Policies.Methods.Methods == nil {
		j.missing(FactMethodsPolicy)
	}
}

// federated adds what the identity provider of the person's domain answers with.
func (j *judgement) federated() {
	s := j.e.s
	_, domain, _ := strings.Cut(strings.ToLower(j.p.UserPrincipalName), "@")
	if j.p.Kind.External() || !contains(s.Tenant.Federated, domain) {
		return
	}
	behaviour, known := s.Policies.Federation[domain]
	a := behaviour.answers()
	detail := cmp.Or(string(behaviour), "not set")
	if !known {
		detail = "not known"
		if j.mfa != Yes {
			j.missing(FactFederation)
		}
	}
	j.because(Reason{Code: FederatedSignIn, About: domain, Detail: detail})
	j.modes[modePassword], j.modes[modeFederation] = Unknown, Yes
	if a != No {
		j.modes[modeFederated] = a
		j.mfa = j.mfa.or(a)
	}
	j.elsewhere = a == Yes
}

// have is whether the person has a mode. What the report does not tell is unknown.
func (j *judgement) have(m mode) Answer {
	if a, ok := j.modes[m]; ok {
		return a
	}
	if !j.p.Registration.Known {
		return Unknown
	}
	return No
}

// accesses are the ways in which the person signs in: to enforced applications as the log
// shows, to the portals as roles let expect, and to anything else.
func (j *judgement) accesses() []access {
	var list []access
	p, s := j.p, j.e.s
	missing := s.Missing(FactSignIns) || s.Missing(FactBackground)
	for _, r := range p.Roles {
		code := CanActivateRole
		if r.Active {
			code = HoldsRole
		}
		j.because(Reason{Code: code, About: r.Definition, Detail: r.Via})
	}
	if j.e.breakGlass[p.ID] {
		j.because(Reason{Code: EmergencyAccount})
	}
	for _, app := range j.e.inForce {
		seen := false
		for _, in := range p.SignIns {
			if in.AppID != app.AppID || app.AppID == "" || in.Succeeded == 0 {
				continue // whoever guesses at a password is somebody else
			}
			a := access{app: app, attended: j.attended(in), known: true}
			seen = true
			how := string(in.Protocol)
			if in.Protocol != ROPC {
				how = "non-interactive"
				if in.Interactive {
					how = "interactive"
				}
			}
			j.because(Reason{Code: UsesEnforcedApp, About: app.AppID, Detail: how, Count: in.Succeeded, At: in.Last})
			if a.attended == Unknown && s.Missing(FactLastSignIns) {
				j.missing(FactLastSignIns)
			}
			if a.attended != Yes {
				j.service = true
				detail := how
				if in.Protocol == UnknownProtocol {
					detail = "the protocol is not told"
				} else if in.Protocol != ROPC {
					detail = "no interactive sign-in"
					if !p.LastInteractive.IsZero() {
						detail += " since " + p.LastInteractive.Format(time.DateOnly)
					}
				}
				j.because(Reason{Code: NobodyThere, About: app.AppID, Detail: detail, Count: in.Succeeded, At: in.Last})
			}
			list = append(list, a)
		}
		if seen && app.WritesOnly {
			j.because(Reason{Code: WritesOnly, About: app.AppID})
		}
		if !seen && app.AppID == Portal && (missing || j.administers()) {
			list = append(list, access{app: app, attended: Yes, known: j.administers()})
		}
	}
	if missing {
		j.because(Reason{Code: SignInsUnknown})
		j.uncertain = true
	}
	if len(list) == 0 && len(j.e.inForce) > 0 {
		j.because(Reason{Code: NoEnforcedSignIn, At: s.SignInsSince})
	}
	return append(list, access{attended: Yes, known: true})
}

// administers reports whether the person counts as a user of the portals without having
// been seen there.
func (j *judgement) administers() bool { return len(j.p.Roles) > 0 || j.e.breakGlass[j.p.ID] }

// attended reports whether a person answers when a sign-in like these is asked for MFA.
func (j *judgement) attended(in SignIns) Answer {
	switch {
	case in.Protocol == ROPC:
		return No
	case in.Protocol == UnknownProtocol:
		return Unknown
	case in.Interactive:
		return Yes
	case slices.ContainsFunc(j.p.SignIns, func(o SignIns) bool { return o.Interactive && o.Protocol == OtherProtocol && o.Succeeded > 0 }):
		return Yes
	case !j.p.LastInteractive.IsZero() && in.Last.Sub(j.p.LastInteractive) < stale:
		return Yes
	default:
		return Unknown
	}
}

// needs is what asks for MFA at an access.
type needs struct {
	mfa       Answer
	strengths map[string]Answer // by id
	blocks    bool
	// mayBlock: whether a policy that blocks concerns the person could not be read.
	mayBlock bool
	// tenant is whether the tenant's own policies ask, defaults whether it has security
	// defaults on.
	tenant     Answer
	defaults   bool
	reportOnly bool
}

func (j *judgement) needs(a access) needs {
	n := needs{mfa: No, tenant: No}
	if a.app.Name != "" {
		j.enforced = true
		j.because(Reason{Code: ByEnforcement, About: a.app.AppID})
		n.mfa = Yes
		if a.app.WritesOnly {
			n.mfa = Unknown
		}
	}
	switch j.e.s.Policies.SecurityDefaults {
	case Yes:
		n.defaults, n.tenant = true, Yes
		// Everybody registers; who has, and is no administrator, is asked when Microsoft
		// finds it necessary, and always for Azure (Entra, security-defaults).
		if a.other() && j.mfa.or(j.atHome()) != No && !slices.ContainsFunc(j.p.Roles, func(r Role) bool { return r.Active }) {
			n.tenant = Unknown
		}
		j.because(Reason{Code: BySecurityDefaults})
	case No:
	default:
		n.tenant = n.tenant.or(Unknown)
	}
	switch j.p.PerUserMFA.required() {
	case Yes:
		n.tenant = Yes
		j.because(Reason{Code: ByPerUserMFA, Detail: string(j.p.PerUserMFA)})
	case No:
	default:
		n.tenant = n.tenant.or(Unknown)
	}
	if j.e.s.Missing(FactConditional) {
		n.tenant = n.tenant.or(Unknown)
	}
	for _, p := range j.e.policies {
		j.policy(p, a, &n)
	}
	if n.mfa = n.mfa.or(n.tenant); n.mfa != Yes {
		j.wonder()
	}
	return n
}

// wonder tells the facts whose absence leaves open whether anything asks.
func (j *judgement) wonder() {
	s := j.e.s
	if d := s.Policies.SecurityDefaults; d != Yes && d != No {
		j.missing(FactSecurityDefaults)
	}
	if j.p.PerUserMFA.required() == Unknown {
		j.missing(FactPerUserMFA)
	}
	if s.Missing(FactConditional) {
		j.missing(FactConditional)
	}
}

// policy adds what one Conditional Access policy asks for.
func (j *judgement) policy(p *ConditionalPolicy, a access, n *needs) {
	d := p.Grant.demand()
	if p.State == PolicyDisabled || d == (demand{block: No, mfa: No}) || len(p.Risks) > 0 {
		return
	}
	covered, depends := p.covers(a)
	if covered == No {
		return
	}
	concerned, maybe, excluded := j.e.holds(p, j.i)
	if excluded != "" && (d.mfa != No || d.block != No) {
		j.because(Reason{Code: Excluded, About: p.ID, Detail: excluded})
	}
	if concerned == No {
		return
	}
	if maybe != "" {
		depends = append(depends, maybe)
	}
	if d.mfa == Unknown {
		depends = append(depends, d.others+" instead")
	}
	certain := concerned.and(covered)
	detail := strings.Join(depends, ", ")
	switch {
	case p.State == PolicyReportOnly:
		if d.mfa != No {
			n.reportOnly = true
			j.because(Reason{Code: ReportOnly, About: p.ID, Detail: detail})
		}
		return
	case d.block == Yes && certain == Yes:
		n.blocks = true
		j.because(Reason{Code: PolicyBlocks, About: p.ID})
		return
	case d.block == Yes:
		if covered == Yes && j.e.unread(p, j.i) {
			n.mayBlock, j.uncertain = true, true
		}
		j.because(Reason{Code: MaybePolicyBlocks, About: p.ID, Detail: detail})
		return
	}
	if d.others != "" {
		j.because(Reason{Code: OtherControl, About: p.ID, Detail: d.others})
	}
	if d.mfa == No {
		return
	}
	if certain = certain.and(d.mfa); certain == Yes {
		j.because(Reason{Code: ByPolicy, About: p.ID, Detail: d.strength})
	} else {
		j.because(Reason{Code: MaybeByPolicy, About: p.ID, Detail: detail})
	}
	n.tenant = n.tenant.or(certain)
	if d.strength != "" {
		if n.strengths == nil {
			n.strengths = map[string]Answer{}
		}
		if old, ok := n.strengths[d.strength]; ok {
			certain = certain.or(old)
		}
		n.strengths[d.strength] = certain
	}
}

// outcome is the verdict on an access. strict takes what is unknown for the worst, and
// otherwise for the best.
func (j *judgement) outcome(a access, n needs, strict bool) Verdict {
	asks := func(x Answer) bool { return x == Yes || strict && x != No }
	can := func(x Answer) bool { return x == Yes || !strict && x != No }
	switch {
	case n.blocks, n.mayBlock && strict:
		return Blocked
	case !asks(n.mfa):
		return OutOfScope
	case !can(a.attended):
		return Blocked
	}
	if j.p.Kind.External() {
		home := j.atHome()
		if strict {
			j.home(home)
		}
		// Whether what they do at home meets a strength nobody here knows.
		if home == Yes && (!strict || len(n.strengths) == 0) || home != No && !strict {
			return Fine
		}
	}
	met := can(j.mfa)
	var lacking []string
	for _, id := range slices.Sorted(maps.Keys(n.strengths)) {
		if asks(n.strengths[id]) && !can(j.meets(id)) {
			lacking = append(lacking, id)
			met = false
		}
	}
	if met {
		return Fine
	}
	if can(j.registers(lacking, strict)) {
		return Prompted
	}
	return Blocked
}

// atHome is whether the person answers with MFA of their home tenant.
func (j *judgement) atHome() Answer {
	switch {
	case !j.p.Kind.External():
		return No
	case j.p.HomeTenant != No && j.e.s.Missing(FactGuestTrust):
		return Unknown
	default:
		return j.e.s.Policies.Guests.counts(j.p.HomeTenant)
	}
}

// home tells whether what somebody does at home counts.
func (j *judgement) home(counts Answer) {
	switch {
	case counts == No:
		j.because(Reason{Code: HomeNotTrusted})
		return
	case counts != Yes && j.e.s.Missing(FactGuestTrust):
		j.missing(FactGuestTrust)
	}
	j.because(Reason{Code: HomeTenant})
}

// meets is whether the person has what a strength asks for.
func (j *judgement) meets(id string) Answer {
	s, ok := j.e.s.Policies.Strengths[id]
	if !ok {
		j.uncertain = true
		j.because(Reason{Code: StrengthUnknown, About: id})
		return Unknown
	}
	a := s.satisfied(j.have)
	switch {
	case a == No:
		j.because(Reason{Code: StrengthNotMet, About: id})
	case a == Unknown && s.Restricted:
		j.uncertain = true
		j.because(Reason{Code: StrengthUnknown, About: id})
	}
	return a
}

// registers is whether the person can register, while the sign-in waits, what it asks
// for.
func (j *judgement) registers(strengths []string, say bool) Answer {
	guard, by := j.guarded()
	if guard == Yes {
		if say {
			j.because(Reason{Code: CannotRegister, About: by, Detail: "registering asks for MFA itself"})
		}
		return No
	}
	found := No
	var kinds []string
	try := func(s service, allowed Answer) {
		if allowed == No {
			return
		}
		for _, id := range strengths {
			strength, ok := j.e.s.Policies.Strengths[id]
			if !ok {
				allowed = allowed.and(Unknown)
				continue
			}
			allowed = allowed.and(strength.satisfied(func(m mode) Answer {
				if m == s.mode {
					return Yes
				}
				return j.have(m)
			}))
		}
		if allowed != No && !slices.Contains(kinds, s.configuration) {
			kinds = append(kinds, s.configuration)
		}
		found = found.or(allowed)
	}
	for _, s := range interrupt {
		allowed := j.allows(s)
		if j.elsewhere {
			allowed = allowed.and(Unknown)
		}
		try(s, allowed)
	}
	// Entra's page on strengths says both that passkeys cannot be registered while a
	// sign-in waits and that a strength may have them registered.
	passkey := j.allows(service{modeFIDO2, "fido2"})
	if j.e.s.Policies.Methods.Methods["fido2"].SelfService == No {
		passkey = No
	}
	try(service{modeFIDO2, "fido2"}, passkey.and(Unknown))
	if say {
		if len(kinds) == 0 {
			j.because(Reason{Code: CannotRegister, Detail: "no kind of method that would do can be registered at a sign-in"})
		} else {
			j.because(Reason{Code: CanRegister, Detail: strings.Join(kinds, ", ")})
		}
	}
	return found.and(guard.not())
}

// guarded is whether a policy on the registration of methods keeps the person, who cannot
// pass MFA, from registering one.
func (j *judgement) guarded() (found Answer, by string) {
	found = No
	for _, p := range j.e.policies {
		d := p.Grant.demand()
		if p.State == PolicyDisabled || p.State == PolicyReportOnly || len(p.Risks) > 0 || d.block == No && d.mfa == No {
			continue
		}
		covered, _ := p.covers(access{register: true})
		if covered == No {
			continue
		}
		concerned, _, _ := j.e.holds(p, j.i)
		a := covered.and(concerned)
		if d.block != Yes {
			// A pass, if the person has one that works, lets them through.
			a = a.and(d.mfa).and(j.have(modePassMany).not()).and(j.mfa.not())
		}
		if found != Yes && a != No {
			by = p.ID
		}
		found = found.or(a)
	}
	return found, by
}

// mark adds what somebody should look into.
func (j *judgement) mark(worst, best Verdict, reportOnly bool) {
	if j.e.breakGlass[j.p.ID] && !slices.ContainsFunc(j.usable, Method.PhishingResistant) {
		j.marks = append(j.marks, WeakBreakGlass)
	}
	if j.service {
		j.marks = append(j.marks, ServiceAccount)
	}
	if j.phones > 0 && j.phones == j.factors {
		j.marks = append(j.marks, PhoneOnly)
	}
	if reportOnly {
		j.marks = append(j.marks, ReportOnlyCover)
	}
	if j.uncertain && worst != best {
		j.marks = append(j.marks, Uncertain)
	}
}

// notes are about the tenant.
func (e *evaluator) notes() []Note {
	var list []Note
	add := func(n Note) { list = append(list, n) }
	for _, a := range e.inForce {
		switch {
		case a.AppID == Portal:
			add(Note{Code: SharedPortalID, About: a.AppID, Detail: a.Name + " share one app id: their sign-ins cannot be told apart"})
		case a.AppID == "":
			add(Note{Code: UntraceableApp, Detail: a.Name + " has no app id in Microsoft's table: its sign-ins are not counted"})
		}
	}
	s := e.s
	if s.Policies.SecurityDefaults == Yes && !s.Tenant.CreatedAt.IsZero() && !s.Tenant.CreatedAt.Before(DefaultsSince()) {
		add(Note{Code: DefaultsByBirth, Detail: "the tenant was created on " + s.Tenant.CreatedAt.Format(time.DateOnly) + ", when security defaults came with it"})
	}
	enforced := 0
	for _, p := range e.policies {
		if p.State == PolicyEnabled {
			enforced++
		}
		if len(p.Risks) > 0 && p.State != PolicyDisabled {
			add(Note{Code: RiskPolicy, About: p.ID, Detail: "the policy " + p.DisplayName + " asks of risky sign-ins only, which nobody can foresee: " + strings.Join(p.Risks, "; ")})
		}
	}
	if s.Policies.SecurityDefaults == Yes && enforced > 0 {
		add(Note{Code: DefaultsAndPolicies, Count: enforced, Detail: "security defaults are on beside enforced Conditional Access policies, which Microsoft does not allow: what was read is of two moments, read again"})
	}
	for _, domain := range s.Tenant.Federated {
		add(Note{Code: FederatedDomain, About: domain, Detail: "the people of " + domain + " sign in at another identity provider (federatedIdpMfaBehavior: " +
			cmp.Or(string(s.Policies.Federation[domain]), "not set or not known") + "): whom it asks for MFA, and who is in a staged rollout of cloud authentication, the directory does not tell"})
	}
	if len(s.BreakGlass) == 0 {
		add(Note{Code: NoBreakGlass, Detail: "no break-glass account is configured, so none is checked"})
	}
	for _, id := range s.BreakGlass {
		if _, ok := e.circle.index[id]; !ok {
			add(Note{Code: MissingBreakGlass, About: string(id), Detail: "break-glass account " + string(id) + " is configured and not in the tenant"})
		}
	}
	apps, identities := 0, 0
	for _, p := range s.Principals {
		switch p.Kind {
		case ManagedIdentity:
			identities++
		default:
			apps++
		}
	}
	if apps+identities > 0 {
		add(Note{Code: ExemptApplications, Count: apps, Detail: fmt.Sprintf("applications with an identity of their own, not asked for MFA: %d", apps)})
		add(Note{Code: ExemptIdentities, Count: identities, Detail: fmt.Sprintf("managed identities, not asked for MFA: %d", identities)})
	}
	for _, g := range s.Gaps {
		add(Note{Code: GapNote, About: string(g.Fact), Detail: "not known: " + string(g.Fact) + " (" + g.Why + ")"})
	}
	add(Note{Code: AzureRolesUnseen, Detail: "roles in Azure subscriptions are not in the directory: whoever holds one counts when the sign-in log shows them"})
	return list
}
