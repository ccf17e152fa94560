package graph

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Attempt is a sign-in to be judged: the password is right, the device is not managed,
// and it comes from no known place.
type Attempt struct {
	User string `json:"user"`  // object id or userPrincipalName
	App  string `json:"appId"` // client id of the application
	Flow Flow   `json:"flow"`
	// Client is a member of clientAppTypes; a browser for an interactive sign-in and an
	// app for the password grant when empty.
	Client string `json:"clientAppType,omitempty"`
	// Changes says that resources of Azure are to be created, changed or deleted, which
	// phase 2 of Microsoft's own demand is about.
	Changes bool      `json:"changes,omitempty"`
	At      time.Time `json:"at,omitzero"` // the server's time when zero
}

// Flow is how somebody signs in. The zero value is invalid.
type Flow string

// Somebody sits in front of it, or a script sends a name and a password (ROPC).
const (
	Interactive   Flow = "interactive"
	PasswordGrant Flow = "password-grant"
)

// Kinds of clients, as Conditional Access names them.
const (
	ClientBrowser = "browser"
	ClientApp     = "mobileAppsAndDesktopClients"
	ClientLegacy  = "other" // cannot do multifactor authentication
)

// Verdict is how a sign-in ends. The zero value is invalid.
type Verdict string

// The verdicts.
const (
	VerdictIn           Verdict = "in"
	VerdictAfterMFA     Verdict = "in-after-mfa"
	VerdictMustRegister Verdict = "must-register" // and can, there and then
	VerdictBlocked      Verdict = "blocked"
)

// Reason is why somebody is blocked; empty for the other verdicts.
type Reason string

// The reasons.
const (
	ReasonDisabled   Reason = "account-disabled"
	ReasonLocked     Reason = "account-locked"
	ReasonPassword   Reason = "password-change-required" // and nobody is there to change it
	ReasonPolicy     Reason = "blocked-by-policy"
	ReasonDevice     Reason = "managed-device-required"
	ReasonLegacy     Reason = "client-cannot-do-mfa"
	ReasonUnattended Reason = "nobody-there-for-mfa"
	ReasonNoMethod   Reason = "no-method-and-cannot-register"
	ReasonStrength   Reason = "no-method-strong-enough"
)

// Source is who demands more than a password.
type Source string

// The sources of a demand.
const (
	SourcePolicy           Source = "conditional-access"
	SourceSecurityDefaults Source = "security-defaults"
	SourcePerUser          Source = "per-user-mfa"
	SourceMandatory        Source = "mandatory-mfa"
)

// Demand is one source that demands something of a sign-in, with the policy's id or, for
// per-user MFA, its state.
type Demand struct {
	Source Source `json:"source"`
	Detail string `json:"detail,omitempty"`
}

// Outcome is what would happen.
type Outcome struct {
	Verdict Verdict `json:"verdict"`
	Reason  Reason  `json:"reason,omitempty"`
	Code    int     `json:"errorCode"` // of the sign-in log; 0 when the person is in
	// Methods are the combinations the person can use, such as "fido2" or
	// "password,sms", for VerdictAfterMFA: those that meet every demand, or one for each
	// if none does alone.
	Methods []string `json:"methods,omitempty"`
	// Register are the kinds of methods that would do, for VerdictMustRegister.
	Register []string        `json:"register,omitempty"`
	Demands  []Demand        `json:"demands,omitempty"`
	Policies []AppliedPolicy `json:"policies,omitempty"` // all there are, report-only ones included
}

// Codes of sign-ins that end before the person is in (reference-error-codes).
const (
	codePasswordExpired = 50055
	codeMFARequired     = 50076
	codeMustRegister    = 50079
	codeDeviceRequired  = 53000
	codePolicyBlock     = 53003
	codeDefaultsBlock   = 530035
)

// wayExternal is an external method: multifactor authentication that no strength knows.
// wayHome is what a guest did at home.
const (
	wayExternal = "external"
	wayHome     = "home"
	// wayFederated is what the identity provider of a federated domain did.
	wayFederated = "federatedMultiFactor"
)

// Values of federatedIdpMfaBehavior. A domain without one accepts too.
const (
	federatedAccept  = "acceptIfMfaDoneByFederatedIdp"
	federatedEnforce = "enforceMfaByFederatedIdp"
	federatedReject  = "rejectMfaByFederatedIdp"
)

// Dates from which Microsoft demands multifactor authentication ("Planning for mandatory
// Microsoft Entra multifactor authentication"): phase 1 began in October 2024, whose day
// is assumed. The simulated tenant postponed nothing.
func phaseOne() time.Time { return time.Date(2024, 10, 15, 0, 0, 0, 0, time.UTC) }
func phaseTwo() time.Time { return time.Date(2025, 10, 1, 0, 0, 0, 0, time.UTC) }

// EvaluateSignIn says what would happen if a person signed in; nothing is changed and
// nothing is logged.
//
// From Microsoft's pages:
//   - Conditional Access: every policy that covers the person, the application and the
//     client must be met; an exclusion wins over an inclusion; groups count at any depth,
//     roles while they are active (conditionalaccessusers, conditionalaccessgrantcontrols,
//     "Conditional Access: Users, groups, agents, and workload identities"). A policy can
//     name the client, its resource or a suite ("Target resources").
//   - Authentication strengths: a method must be registered, allowed by the methods policy
//     and in the strength; several strengths must all be met; who has no such method
//     registers one, unless there is none to register then and there ("How Conditional
//     Access authentication strength works"). External methods meet the control mfa only.
//   - Registration can itself be the target of a policy (user action registersecurityinfo).
//     A security key is registered after multifactor authentication, a pass included.
//   - Security defaults: everybody registers, administrators and users of Azure management
//     authenticate, older clients are refused ("Security defaults in Microsoft Entra ID").
//   - Per-user MFA: "enabled" leaves older clients alone, "enforced" does not
//     ("Enable per-user multifactor authentication").
//   - Microsoft's own demand: whatever the tenant's policies exclude, every account but
//     that of directory synchronisation, at sign-in for the portals, for changes only with
//     Azure CLI, PowerShell and the mobile app. The Microsoft 365 admin center has no id on
//     that page and is not known here.
//
// Assumed:
//   - A condition on platform, location, device, risk of the sign-in, insider risk or flow
//     holds for a client that nothing is known of: location "All" applies, a named one does
//     not; a filter for devices includes nobody and excludes nobody; the sign-in is no risk.
//   - Terms of use, custom controls and a password change are met where somebody is there.
//   - The grace of 14 days of security defaults is over; people who have registered are not
//     asked by them outside Azure management, though Microsoft may ask.
//   - The legacy settings for multifactor authentication allow nothing beside the methods
//     policy. Guests of organisations that a policy lists by name are not among ours.
//   - A guest whose home is trusted has done there whatever is demanded.
func (s *Server) EvaluateSignIn(a Attempt) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch a.Flow {
	case Interactive:
		a.Client = cmp.Or(a.Client, ClientBrowser)
	case PasswordGrant:
		a.Client = cmp.Or(a.Client, ClientApp)
	default:
		return Outcome{}, fmt.Errorf("evaluate sign-in of %s: the flow %q is neither interactive nor password-grant", a.User, a.Flow)
	}
	if !slices.Contains(clientTypes()[1:], a.Client) {
		return Outcome{}, fmt.Errorf("evaluate sign-in of %s: there is no client %q", a.User, a.Client)
	}
	u := s.dir.user(a.User)
	if u == nil {
		return Outcome{}, fmt.Errorf("evaluate sign-in of %s: %w", a.User, ErrNoSuchUser)
	}
	if a.At.IsZero() {
		a.At = s.clock.Now()
	}
	return newEvaluation(s.dir, u, a).outcome(), nil
}

// evaluation is one attempt with what is known of the person.
type evaluation struct {
	dir    *directory
	user   *User
	app    application
	groups map[string]bool // lower-case ids, at any depth
	roles  map[string]bool // lower-case ids, active
	ways   []string        // how the person can authenticate now
	Attempt
}

func newEvaluation(d *directory, u *User, a Attempt) *evaluation {
	e := &evaluation{dir: d, user: u, Attempt: a, groups: make(map[string]bool), roles: make(map[string]bool)}
	e.app, _ = knownApplication(a.App)
	e.app.id = a.App
	for _, g := range d.transitiveGroups(u.ID) {
		e.groups[strings.ToLower(g.ID)] = true
	}
	for _, r := range d.roles(u) {
		e.roles[strings.ToLower(r.ID)] = true
	}
	e.ways = d.ways(u, a.At)
	return e
}

// result is what one demand comes to.
type result struct {
	demand   Demand
	need     need
	accept   []string // ways that meet it; nil when no way is needed
	register []string // kinds to register, when need is needRegister
	reason   Reason   // when need is needRefused
	code     int
}

// need orders results by what they cost the person.
type need int

const (
	needNothing need = iota
	needMFA
	needRegister
	needRefused
)

func (e *evaluation) outcome() Outcome {
	blocked := func(r Reason, code int) Outcome { return Outcome{Verdict: VerdictBlocked, Reason: r, Code: code} }
	switch {
	case e.At.Before(e.user.lockedUntil):
		return blocked(ReasonLocked, codeLocked)
	case !e.user.AccountEnabled:
		return blocked(ReasonDisabled, codeDisabled)
	case e.Flow == PasswordGrant && e.user.ForceChangePassword:
		return blocked(ReasonPassword, codePasswordExpired)
	}
	var out Outcome
	var results []result
	for _, p := range e.dir.accessPolicies() {
		applied := AppliedPolicy{ID: p.ID, DisplayName: p.DisplayName, GrantControls: e.controlNames(p)}
		if !e.covered(p) {
			applied.Result = map[string]string{stateEnabled: "notApplied", stateReportOnly: "reportOnlyNotApplied"}[p.State]
			applied.Result = cmp.Or(applied.Result, "notEnabled")
			out.Policies = append(out.Policies, applied)
			continue
		}
		r := e.grant(p)
		switch p.State {
		case stateEnabled:
			results = append(results, r)
			applied.Result = "success"
			if r.need > needMFA {
				applied.Result = "failure"
			}
		case stateReportOnly:
			applied.Result = [...]string{"reportOnlySuccess", "reportOnlyInterrupted", "reportOnlyInterrupted", "reportOnlyFailure"}[r.need]
		default:
			applied.Result = "notEnabled"
		}
		out.Policies = append(out.Policies, applied)
	}
	results = append(results, e.securityDefaults()...)
	results = append(results, e.perUser()...)
	results = append(results, e.mandatory()...)
	return e.sum(out, results)
}

// sum takes the worst of all results.
func (e *evaluation) sum(out Outcome, results []result) Outcome {
	out.Verdict = VerdictIn
	worst := result{}
	for _, r := range results {
		if r.need > needNothing {
			out.Demands = append(out.Demands, r.demand)
		}
		if r.need > worst.need || r.need == needRefused && r.reason == ReasonPolicy && worst.reason != ReasonPolicy {
			worst = r
		}
	}
	switch worst.need {
	case needNothing:
	case needMFA:
		out.Verdict = VerdictAfterMFA
		out.Methods = meetAll(e.ways, results)
	case needRegister:
		out.Verdict, out.Code = VerdictMustRegister, codeMustRegister
		out.Register = worst.register
		for _, r := range results { // one method that does for all, if there is one
			if both := intersection(out.Register, r.register); r.need == needRegister && len(both) > 0 {
				out.Register = both
			}
		}
	case needRefused:
		out.Verdict, out.Reason, out.Code = VerdictBlocked, worst.reason, worst.code
	}
	return out
}

// meetAll are the ways that every demand accepts or, when there is none, all that some
// demand accepts.
func meetAll(ways []string, results []result) []string {
	every, some := []string{}, []string{}
	for _, w := range ways {
		all, one := true, false
		for _, r := range results {
			if r.accept != nil {
				accepted := accepts(r.accept, w)
				all, one = all && accepted, one || accepted
			}
		}
		if all && one {
			every = append(every, w)
		}
		if one {
			some = append(some, w)
		}
	}
	if len(every) > 0 {
		return every
	}
	return some
}

func accepts(accepted []string, way string) bool {
	return way == wayHome || slices.Contains(accepted, way)
}

func intersection(a, b []string) []string {
	var both []string
	for _, x := range a {
		if slices.Contains(b, x) {
			both = append(both, x)
		}
	}
	return both
}

// anyMFA is what meets a demand for multifactor authentication of no special strength.
func anyMFA() []string { return append(strongCombinations(), wayExternal) }

// authenticate is the result of a demand that any of the accepted ways meets.
func (e *evaluation) authenticate(d Demand, accepted []string, legacyCode int) result {
	r := result{demand: d, accept: accepted}
	able := slices.ContainsFunc(e.ways, func(w string) bool { return accepts(accepted, w) })
	switch {
	case e.legacy():
		r.need, r.reason, r.code = needRefused, ReasonLegacy, legacyCode
	case e.Flow == PasswordGrant:
		r.need, r.reason, r.code = needRefused, ReasonUnattended, codeMFARequired
		if !able {
			r.code = codeMustRegister
		}
	case able:
		r.need = needMFA
	default:
		if r.register = e.registerable(accepted); len(r.register) > 0 {
			r.need = needRegister
			return r
		}
		r.need, r.reason, r.code = needRefused, ReasonNoMethod, codeMustRegister
		if slices.ContainsFunc(e.ways, func(w string) bool { return slices.Contains(anyMFA(), w) }) {
			r.reason, r.code = ReasonStrength, codePolicyBlock
		}
	}
	return r
}

func (e *evaluation) legacy() bool {
	return e.Client == ClientLegacy || e.Client == "exchangeActiveSync" || e.Client == "easSupported"
}

// ways are the combinations by which u can authenticate at an instant: registered,
// allowed by the methods policy, and in the terms of authentication strengths.
func (d *directory) ways(u *User, now time.Time) []string {
	var ways []string
	add := func(way string) {
		if !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	guest := u.external()
	if d.trusted(u) {
		add(wayHome)
	}
	// A tenant that leaves multifactor authentication to the identity provider has it done
	// there, and then methods beside a password do not come up (internalDomainFederation).
	federation := d.federated(u)
	elsewhere := federation != nil && federation.MFABehaviour == federatedEnforce
	if elsewhere || federation != nil && federation.MFABehaviour != federatedReject && u.FederatedMFA {
		add(wayFederated)
	}
	second := func(way string) {
		if !elsewhere {
			add(d.besidePassword(u, way))
		}
	}
	for _, m := range u.Methods {
		switch m.Kind {
		// Guests cannot use those of the next two in the tenant that they visit ("How
		// authentication strength works for external users").
		case "fido2":
			if !guest && d.allowed(u, m) {
				add("fido2")
			}
		case "windowsHelloForBusiness", "platformCredential":
			if !guest {
				add("windowsHelloForBusiness")
			}
		case "microsoftAuthenticator", "passwordlessMicrosoftAuthenticator":
			if !d.allowed(u, m) {
				continue
			}
			if m.Kind == "passwordlessMicrosoftAuthenticator" && !guest {
				add("deviceBasedPush")
			}
			second("microsoftAuthenticatorPush")
			if d.scope("MicrosoftAuthenticator").configuration["isSoftwareOathEnabled"] == true {
				second("softwareOath")
			}
		case "softwareOath", "hardwareOath":
			if d.allowed(u, m) {
				second(m.Kind)
			}
		case "phone":
			if m.Properties["phoneType"] == "mobile" && d.allows(u, "Sms") {
				second("sms")
			}
			if d.allows(u, "Voice") {
				second("voice")
			}
		case "external":
			if d.allowed(u, m) {
				add(wayExternal)
			}
		}
	}
	if u.pass != nil && d.passReason(u, now) == reasonEnabled {
		if u.pass.UsableOnce {
			add("temporaryAccessPassOneTime")
		} else {
			add("temporaryAccessPassMultiUse")
		}
	}
	return ways
}

// besidePassword is a second factor with the first one: the password, or what the identity
// provider of a federated domain asks for.
func (t *Tenant) besidePassword(u *User, second string) string {
	if t.federated(u) != nil {
		return second + ",federatedSingleFactor"
	}
	return "password," + second
}

// registerable are the kinds of methods that the person could register in the course of
// the sign-in and that give an accepted way. Nothing, when a policy on registering
// security information is not met.
func (e *evaluation) registerable(accepted []string) []string {
	if !e.mayRegister() {
		return nil
	}
	var kinds []string
	add := func(kind, configuration, way string) {
		if e.dir.allows(e.user, configuration) && slices.Contains(accepted, way) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if f := e.dir.federated(e.user); f == nil || f.MFABehaviour != federatedEnforce {
		add("microsoftAuthenticator", "MicrosoftAuthenticator", e.dir.besidePassword(e.user, "microsoftAuthenticatorPush"))
		add("softwareOath", "SoftwareOath", e.dir.besidePassword(e.user, "softwareOath"))
		add("phone", "Sms", e.dir.besidePassword(e.user, "sms"))
		add("phone", "Voice", e.dir.besidePassword(e.user, "voice"))
	}
	authenticated := slices.ContainsFunc(e.ways, func(w string) bool { return slices.Contains(anyMFA(), w) })
	if authenticated && !e.user.external() && e.dir.scope("Fido2").configuration["isSelfServiceRegistrationAllowed"] != false {
		add("fido2", "Fido2", "fido2")
	}
	return kinds
}

// mayRegister evaluates the policies on the user action of registering: what they demand
// must be met by what the person has already, such as a pass.
func (e *evaluation) mayRegister() bool {
	for _, p := range e.dir.accessPolicies() {
		if p.State != stateEnabled || !slices.Contains(p.Conditions.Applications.Actions, registerInfo) || !e.coveredBeside(p) {
			continue
		}
		if g := p.GrantControls; g != nil && !e.meets(*g) {
			return false
		}
	}
	return true
}

// meets reports whether what the person has meets the controls, without registering.
func (e *evaluation) meets(g grantControls) bool {
	met, all := 0, e.controls(g)
	for _, c := range all {
		if c.met || slices.ContainsFunc(e.ways, func(w string) bool { return accepts(c.accept, w) && c.accept != nil }) {
			met++
		}
	}
	if g.Operator == "OR" {
		return met > 0
	}
	return met == len(all)
}

// grantControl is one of them: met or not whatever the person does, or met by a way.
type grantControl struct {
	met    bool
	accept []string
	block  bool
}

func (e *evaluation) controls(g grantControls) []grantControl {
	attended := e.Flow == Interactive && !e.legacy()
	var list []grantControl
	for _, v := range g.BuiltIn {
		switch v {
		case controlBlock:
			list = append(list, grantControl{block: true})
		case controlMFA:
			list = append(list, grantControl{accept: anyMFA()})
		case "passwordChange", "riskRemediation":
			list = append(list, grantControl{met: attended})
		default: // of the device, which is not managed
			list = append(list, grantControl{})
		}
	}
	for range len(g.Custom) + len(g.Terms) {
		list = append(list, grantControl{met: attended})
	}
	if g.Strength != nil {
		accepted := []string{}
		if d, _ := findDocument(e.dir.Policies.AuthenticationStrengths, g.Strength.ID); d != nil {
			accepted, _ = readCombinations(d["allowedCombinations"])
		}
		list = append(list, grantControl{accept: accepted})
	}
	return list
}

func (e *evaluation) controlNames(p accessPolicy) []string {
	if p.GrantControls == nil {
		return nil
	}
	names := slices.Clone(p.GrantControls.BuiltIn)
	if st := p.GrantControls.Strength; st != nil {
		d, _ := findDocument(e.dir.Policies.AuthenticationStrengths, st.ID)
		name, _ := d["displayName"].(string)
		names = append(names, name)
	}
	return names
}

// grant is what a policy that covers the sign-in comes to: with OR its easiest control,
// with AND all of them.
func (e *evaluation) grant(p accessPolicy) result {
	demand := Demand{SourcePolicy, p.ID}
	if p.GrantControls == nil {
		return result{demand: demand}
	}
	var all []result
	for _, c := range e.controls(*p.GrantControls) {
		switch {
		case c.block:
			return result{demand: demand, need: needRefused, reason: ReasonPolicy, code: codePolicyBlock}
		case c.accept != nil:
			all = append(all, e.authenticate(demand, c.accept, codePolicyBlock))
		case c.met:
			all = append(all, result{demand: demand})
		default:
			all = append(all, result{demand: demand, need: needRefused, reason: e.unmet(), code: codeDeviceRequired})
		}
	}
	byNeed := func(a, b result) int { return cmp.Compare(a.need, b.need) }
	if p.GrantControls.Operator == "OR" {
		return slices.MinFunc(all, byNeed)
	}
	worst := slices.MaxFunc(all, byNeed)
	for _, r := range all { // the way that is needed beside controls that need none
		if worst.accept == nil && r.accept != nil {
			worst.accept = r.accept
		}
	}
	return worst
}

// unmet is why a control that is no way to authenticate is not met.
func (e *evaluation) unmet() Reason {
	if e.Flow == PasswordGrant {
		return ReasonUnattended
	}
	return ReasonDevice
}

// covered reports whether a policy is about this sign-in.
func (e *evaluation) covered(p accessPolicy) bool {
	a := p.Conditions.Applications
	names := append([]string{e.app.id, e.app.resource}, e.app.suites...)
	named := func(list []string) bool {
		return slices.ContainsFunc(list, func(x string) bool { return x == everybody || x != "" && containsFold(names, x) })
	}
	return a.Filter == nil && named(a.Include) && !named(a.Exclude) && e.coveredBeside(p)
}

// coveredBeside is covered without the applications.
func (e *evaluation) coveredBeside(p accessPolicy) bool {
	c := p.Conditions
	risk := "none"
	if r := e.user.Risk; r != nil && (r.State == "atRisk" || r.State == "confirmedCompromised") {
		risk = r.Level
	}
	switch {
	case c.ClientApplications != nil || c.InsiderRiskLevels != nil || c.AuthenticationFlows != nil,
		!slices.Contains(c.ClientAppTypes, anyClient) && !slices.Contains(c.ClientAppTypes, e.Client),
		c.Platforms != nil && !slices.Contains(c.Platforms.Include, "all"),
		c.Locations != nil && !slices.Contains(c.Locations.Include, everybody),
		c.Devices != nil && c.Devices.Filter != nil && c.Devices.Filter.Mode == "include",
		len(c.SignInRiskLevels) > 0 && !slices.Contains(c.SignInRiskLevels, "none"),
		len(c.UserRiskLevels) > 0 && !slices.Contains(c.UserRiskLevels, risk):
		return false
	}
	return e.isOne(c.Users.IncludeUsers, c.Users.IncludeGroups, c.Users.IncludeRoles, c.Users.IncludeGuests) &&
		!e.isOne(c.Users.ExcludeUsers, c.Users.ExcludeGroups, c.Users.ExcludeRoles, c.Users.ExcludeGuests)
}

// isOne reports whether the person is among those listed.
func (e *evaluation) isOne(users, groups, roles []string, guests *accessGuests) bool {
	kind := e.user.guestKind()
	return slices.ContainsFunc(users, func(id string) bool {
		return id == everybody || id == guestsOfAll && kind != "" || strings.EqualFold(id, e.user.ID)
	}) ||
		slices.ContainsFunc(groups, func(id string) bool { return e.groups[strings.ToLower(id)] }) ||
		slices.ContainsFunc(roles, func(id string) bool { return e.roles[strings.ToLower(id)] }) ||
		guests != nil && kind != "" && slices.Contains(strings.Split(strings.ReplaceAll(guests.Types, " ", ""), ","), kind) &&
			(guests.Tenants == nil || guests.Tenants.Kind == "all" || kind == guestInternal)
}

// Kinds of guests that a policy can name, as far as the directory has them.
const (
	guestInternal = "internalGuest"
	guestB2B      = "b2bCollaborationGuest"
	memberB2B     = "b2bCollaborationMember"
)

// guestKind is empty for somebody who is no guest.
func (u *User) guestKind() string {
	switch {
	case u.external() && u.UserType == "Guest":
		return guestB2B
	case u.external():
		return memberB2B
	case u.UserType == "Guest":
		return guestInternal
	}
	return ""
}

// roleSynchronisation is that of the account of Entra Connect, which neither security
// defaults nor Microsoft's own demand are about.
const roleSynchronisation = "d29b2b05-8046-44ba-8758-1e26182fcf32"

// guardedRoles are the administrators whom security defaults ask at every sign-in.
func guardedRoles() []string {
	return []string{"Global Administrator", "Application Administrator", "Authentication Administrator", "Authentication Policy Administrator", "Billing Administrator",
		"Cloud Application Administrator", "Conditional Access Administrator", "Exchange Administrator", "Helpdesk Administrator", "Identity Governance Administrator",
		"Password Administrator", "Privileged Authentication Administrator", "Privileged Role Administrator", "Security Administrator", "SharePoint Administrator", "User Administrator"}
}

func (e *evaluation) securityDefaults() []result {
	demand := Demand{Source: SourceSecurityDefaults}
	switch {
	case !e.dir.Policies.SecurityDefaults.IsEnabled || e.roles[roleSynchronisation]:
		return nil
	case e.legacy():
		return []result{{demand: demand, need: needRefused, reason: ReasonLegacy, code: codeDefaultsBlock}}
	}
	lasting := slices.DeleteFunc(slices.Clone(e.ways), func(w string) bool { return strings.HasPrefix(w, "temporaryAccessPass") })
	if !slices.ContainsFunc(lasting, func(w string) bool { return accepts(anyMFA(), w) }) {
		return []result{e.authenticate(demand, []string{
			e.dir.besidePassword(e.user, "microsoftAuthenticatorPush"), e.dir.besidePassword(e.user, "softwareOath"),
		}, codeDefaultsBlock)}
	}
	guarded := e.app.resource == azureManagement || slices.ContainsFunc(e.dir.roles(e.user), func(d *RoleDefinition) bool {
		return slices.Contains(guardedRoles(), d.DisplayName)
	})
	if !guarded {
		return nil
	}
	return []result{e.authenticate(demand, anyMFA(), codeDefaultsBlock)}
}

func (e *evaluation) perUser() []result {
	switch e.user.PerUserMFA {
	case "enabled":
		if e.legacy() {
			return nil
		}
	case "enforced":
	default:
		return nil
	}
	return []result{e.authenticate(Demand{SourcePerUser, e.user.PerUserMFA}, anyMFA(), codeMFARequired)}
}

func (e *evaluation) mandatory() []result {
	demanded := e.app.enforced == enforcedAtSignIn && !e.At.Before(phaseOne()) ||
		e.app.enforced == enforcedForChanges && !e.At.Before(phaseTwo()) && e.Changes
	if !demanded || e.roles[roleSynchronisation] {
		return nil
	}
	return []result{e.authenticate(Demand{SourceMandatory, e.app.id}, anyMFA(), codeMFARequired)}
}
