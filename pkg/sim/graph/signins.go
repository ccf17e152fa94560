package graph

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// SignIn is an entry of the sign-in log: an attempt, failed unless Code is 0. What is
// left empty has the usual value: an interactive sign-in with a browser to Exchange
// Online, by a password alone.
type SignIn struct {
	ID       string     `json:"id"`
	User     string     `json:"user"` // object id or userPrincipalName; a name that nobody has is kept
	Time     *time.Time `json:"createdDateTime"`
	Code     int        `json:"errorCode"`
	Reason   string     `json:"failureReason,omitempty"` // a usual text when empty
	Details  string     `json:"additionalDetails,omitempty"`
	App      string     `json:"appDisplayName,omitempty"`
	AppID    string     `json:"appId,omitempty"`
	Resource string     `json:"resourceId,omitempty"` // that of the application when empty
	IP       string     `json:"ipAddress,omitempty"`
	Client   string     `json:"clientAppUsed,omitempty"`
	Agent    string     `json:"userAgent,omitempty"`
	// Event is one of signInEventTypes: who signed in, and whether somebody was there.
	Event       string                 `json:"signInEventType,omitempty"`
	Protocol    string                 `json:"authenticationProtocol,omitempty"`
	Requirement string                 `json:"authenticationRequirement,omitempty"`
	Required    []RequirementSource    `json:"authenticationRequirementPolicies,omitempty"`
	Steps       []AuthenticationDetail `json:"authenticationDetails,omitempty"`
	Access      string                 `json:"conditionalAccessStatus,omitempty"`
	Policies    []AppliedPolicy        `json:"appliedConditionalAccessPolicies,omitempty"`

	userID, displayName, principal string // of User, at that time
	userType                       string
}

// RequirementSource says what demanded multifactor authentication.
type RequirementSource struct {
	Provider string `json:"requirementProvider"`
	Detail   string `json:"detail"`
}

// AuthenticationDetail is one step of an authentication; its time is the sign-in's.
type AuthenticationDetail struct {
	Method      string `json:"authenticationMethod"`
	Detail      string `json:"authenticationMethodDetail,omitempty"`
	Succeeded   bool   `json:"succeeded"`
	Result      string `json:"authenticationStepResultDetail,omitempty"`
	Requirement string `json:"authenticationStepRequirement,omitempty"`
}

// AppliedPolicy is what a Conditional Access policy meant for a sign-in.
type AppliedPolicy struct {
	ID            string   `json:"id"`
	DisplayName   string   `json:"displayName"`
	Result        string   `json:"result"` // a member of appliedConditionalAccessPolicyResult
	GrantControls []string `json:"enforcedGrantControls"`
}

// Members of signInEventTypes.
const (
	eventInteractive    = "interactiveUser"
	eventNonInteractive = "nonInteractiveUser"
)

// Values of authenticationRequirement.
const (
	singleFactor = "singleFactorAuthentication"
	multiFactor  = "multiFactorAuthentication"
)

// validate refuses members that the enumerations of the beta page on the signIn resource
// do not have.
func (in *SignIn) validate() error {
	var errs []error
	check := func(name, value string, known ...string) {
		if value != "" && !slices.Contains(known, value) {
			errs = append(errs, fmt.Errorf("%s has no value %q", name, value))
		}
	}
	check("signInEventType", in.Event, eventInteractive, eventNonInteractive, "servicePrincipal", "managedIdentity")
	check("authenticationProtocol", in.Protocol, "none", "oAuth2", "ropc", "wsFederation", "saml20", "deviceCode", "authenticationTransfer", "nativeAuth")
	check("authenticationRequirement", in.Requirement, singleFactor, multiFactor)
	check("conditionalAccessStatus", in.Access, "success", "failure", "notApplied")
	for _, p := range in.Policies {
		check("result", p.Result, "success", "failure", "notApplied", "notEnabled", "unknown", "reportOnlySuccess", "reportOnlyFailure", "reportOnlyNotApplied", "reportOnlyInterrupted")
	}
	return errors.Join(errs...)
}

// nobodyID is the user id of an attempt with a name that nobody has.
const nobodyID = "00000000-0000-0000-0000-000000000000"

// Codes of sign-ins made here (learn.microsoft.com/entra/identity-platform/reference-error-codes).
// Those of a pass are not on that page: they are assumed.
const (
	codeLocked       = 50053
	codeDisabled     = 50057
	codeWrong        = 50126
	codePassPolicy   = 130502
	codePassRefused  = 130503
	lockoutThreshold = 10          // Entra, "Smart lockout", defaults
	lockoutDuration  = time.Minute // the first time
)

// failureReason is the text that goes with a code. Microsoft changes such texts.
func failureReason(code int) string {
	switch code {
	case 0:
		return ""
	case codeLocked:
		return "The account is locked, you've tried to sign in too many times with an incorrect user ID or password."
	case codeDisabled:
		return "The user account is disabled."
	case codeWrong:
		return "Error validating credentials due to invalid username or password."
	case codePassPolicy:
		return "Temporary Access Pass sign in was blocked due to User Credential Policy."
	case codePassRefused:
		return "Your Temporary Access Pass is incorrect or can no longer be used."
	case 50055:
		return "The password is expired."
	case 50074, 50076:
		return "Strong authentication is required."
	case 50088:
		return "Limit on telecom MFA calls reached."
	case 53003:
		return "Access has been blocked by Conditional Access policies."
	case 53004:
		return "The user must register for multi-factor authentication, which is blocked because of risk."
	case 500121:
		return "Authentication failed during strong authentication request."
	case 530035:
		return "Access has been blocked by security defaults."
	}
	return "Other."
}

// AddSignIn puts an attempt into the log, as if it had been made, and returns its id.
// Without a time it is made now.
func (s *Server) AddSignIn(in SignIn) (id string, err error) {
	if in.User == "" {
		return "", errors.New("sign-in: the user is missing")
	}
	if err := in.validate(); err != nil {
		return "", fmt.Errorf("sign-in of %s: %w", in.User, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logSignIn(&in)
	return in.ID, nil
}

func (s *Server) logSignIn(in *SignIn) {
	if in.Time == nil {
		now := s.clock.Now().UTC()
		in.Time = &now
	}
	if in.ID == "" {
		in.ID = s.newID()
	}
	in.resolve(s.dir)
	// Newest first, as the log is read.
	at, _ := slices.BinarySearchFunc(s.dir.SignIns, in, func(a, b *SignIn) int { return b.Time.Compare(*a.Time) })
	s.dir.SignIns = slices.Insert(s.dir.SignIns, at, in)
}

func (in *SignIn) resolve(d *directory) {
	in.userID, in.principal = nobodyID, strings.ToLower(in.User)
	if u := d.user(in.User); u != nil {
		in.userID, in.displayName, in.principal, in.userType = u.ID, u.DisplayName, strings.ToLower(u.UserPrincipalName), strings.ToLower(u.UserType)
		if u.external() && u.Mail != "" {
			in.principal = strings.ToLower(u.Mail) // a guest's true name, not the one with #EXT#
		}
	}
	if in.Reason == "" {
		in.Reason = failureReason(in.Code)
	}
}

// Reasons why SignInWithPassword refuses, beside ErrAccountDisabled.
var (
	ErrWrongPassword = errors.New("wrong user name or password")
	ErrLocked        = errors.New("the account is locked for a while: too many wrong passwords")
)

// SignInWithPassword tries to sign a person in with the right password or a wrong one,
// as Entra would, smart lockout included; the simulator knows no passwords. nil means
// the person is in. No property of the user shows a lockout.
func (s *Server) SignInWithPassword(user string, right bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now().UTC()
	u := s.dir.user(user)
	refuse := func(code int, err error) error {
		s.logSignIn(&SignIn{User: user, Time: &now, Code: code, App: "Office 365 Exchange Online"})
		return fmt.Errorf("sign in %s: %w", user, err)
	}
	switch {
	case u == nil:
		return refuse(codeWrong, ErrWrongPassword)
	case now.Before(u.lockedUntil):
		return refuse(codeLocked, ErrLocked)
	case !u.AccountEnabled:
		return refuse(codeDisabled, ErrAccountDisabled)
	case !right:
		if u.wrongPasswords++; u.wrongPasswords >= lockoutThreshold {
			u.wrongPasswords, u.lockedUntil = 0, now.Add(lockoutDuration)
		}
		return refuse(codeWrong, ErrWrongPassword)
	}
	u.wrongPasswords = 0
	s.signedIn(u, now)
	return nil
}

// signedIn records a success.
func (s *Server) signedIn(u *User, now time.Time) {
	u.SignInActivity = &SignInActivity{LastSignInDateTime: &now, LastSuccessfulSignInDateTime: &now}
	s.logSignIn(&SignIn{User: u.ID, Time: &now, App: "My Sign-Ins"})
}

func signInSchema(beta bool) schema {
	sc := schema{collection: "auditLogs/signIns", typeName: "signIn", defaults: []string{
		"id", "createdDateTime", "userDisplayName", "userPrincipalName", "userId", "appId", "appDisplayName", "ipAddress", "clientAppUsed", "userAgent",
		"correlationId", "conditionalAccessStatus", "isInteractive", "riskDetail", "riskLevelAggregated", "riskLevelDuringSignIn", "riskState",
		"riskEventTypes", "resourceDisplayName", "resourceId", "status", "deviceDetail", "location", "appliedConditionalAccessPolicies",
	}}
	if beta {
		sc.defaults = append(sc.defaults, betaOfSignIn()...)
	}
	return sc
}

// betaOfSignIn are the properties that v1.0 does not have.
func betaOfSignIn() []string {
	return []string{"signInEventTypes", "authenticationProtocol", "authenticationRequirement", "authenticationRequirementPolicies",
		"authenticationDetails", "authenticationMethodsUsed", "userType", "crossTenantAccessType", "incomingTokenType"}
}

func (in *SignIn) entityID() string { return in.ID }

// loggedSignIn is an entry as one caller may see it.
type loggedSignIn struct {
	*SignIn
	// policies is set for callers who may read policies; others get no applied ones
	// (signin-list, "Permissions for viewing applied conditional access policies").
	policies, beta bool
	members        bool // newer members of enumerations are told
}

// property follows the pages on the signIn resource, v1.0 and beta.
func (l loggedSignIn) property(name string) (any, bool) {
	in := l.SignIn
	if !l.beta && slices.Contains(betaOfSignIn(), name) {
		return nil, false
	}
	switch name {
	case "id":
		return in.ID, true
	case "createdDateTime":
		return timeOrNull(in.Time), true
	case "userDisplayName":
		return orNull(in.displayName), true
	case "userPrincipalName":
		return in.principal, true // always in lower case
	case "userId":
		return in.userID, true
	case "userType":
		return cmp.Or(in.userType, "member"), true
	case "appId":
		return cmp.Or(in.AppID, exchangeOnline), true
	case "appDisplayName":
		return orNull(cmp.Or(in.App, in.application().name)), true
	case "resourceId":
		return in.resource(), true
	case "resourceDisplayName":
		if a, known := knownApplication(in.resource()); known && in.AppID != "" {
			return a.name, true
		}
		return orNull(in.App), true
	case "ipAddress":
		return orNull(in.IP), true
	case "clientAppUsed":
		return cmp.Or(in.Client, "Browser"), true
	case "userAgent":
		return orNull(in.Agent), true
	case "correlationId":
		return in.ID, true
	case "conditionalAccessStatus":
		return cmp.Or(in.Access, in.access()), true
	case "isInteractive":
		return in.event() == eventInteractive, true
	case "riskDetail", "riskLevelAggregated", "riskLevelDuringSignIn", "riskState":
		return "none", true
	case "riskEventTypes":
		return []string{}, true
	case "appliedConditionalAccessPolicies":
		return l.applied(), true
	case "status":
		return map[string]any{"errorCode": in.Code, "failureReason": orNull(in.Reason), "additionalDetails": orNull(in.Details)}, true
	case "status/errorCode":
		return in.Code, true
	case "deviceDetail":
		return map[string]any{"deviceId": "", "operatingSystem": nil, "browser": nil}, true
	case "location":
		return map[string]any{"city": nil, "state": nil, "countryOrRegion": nil}, true
	case "signInEventTypes":
		return []string{in.event()}, true
	case "authenticationProtocol":
		return cmp.Or(in.Protocol, "none"), true
	case "authenticationRequirement":
		return cmp.Or(in.Requirement, singleFactor), true
	case "authenticationRequirementPolicies":
		return notNil(in.Required), true
	case "authenticationDetails":
		return in.details(), true
	case "authenticationMethodsUsed":
		return []string{}, true // empty even where methods were used, as in the page's example
	case "crossTenantAccessType":
		if in.userType == "guest" {
			return "b2bCollaboration", true
		}
		return "none", true
	case "incomingTokenType":
		return "none", true
	}
	return nil, false
}

func (in *SignIn) application() application {
	a, _ := knownApplication(cmp.Or(in.AppID, exchangeOnline))
	if in.AppID == "" {
		a.name = ""
	}
	return a
}

func (in *SignIn) resource() string {
	return cmp.Or(in.Resource, in.application().resource, in.AppID)
}

func (in *SignIn) event() string { return cmp.Or(in.Event, eventInteractive) }

func (in *SignIn) access() string {
	if in.Code == 53003 {
		return "failure"
	}
	return "notApplied"
}

// applied leaves the results of report-only policies to callers who ask for the members
// that were added to the enumeration later.
func (l loggedSignIn) applied() []map[string]any {
	list := []map[string]any{}
	if !l.policies {
		return list
	}
	for _, p := range l.Policies {
		result := p.Result
		if strings.HasPrefix(result, "reportOnly") && !l.members {
			result = "unknownFutureValue"
		}
		list = append(list, map[string]any{"id": p.ID, "displayName": p.DisplayName, "enforcedGrantControls": orEmpty(p.GrantControls),
			"enforcedSessionControls": []string{}, "result": result})
	}
	return list
}

func (in *SignIn) details() []map[string]any {
	list := []map[string]any{}
	for _, d := range in.Steps {
		list = append(list, map[string]any{"authenticationStepDateTime": timeOrNull(in.Time), "authenticationMethod": d.Method, "authenticationMethodDetail": orNull(d.Detail),
			"succeeded": d.Succeeded, "authenticationStepResultDetail": orNull(d.Result), "authenticationStepRequirement": orNull(d.Requirement)})
	}
	return list
}

// listSignIns answers GET /auditLogs/signIns, newest first.
func (s *Server) listSignIns(r *request) (response, error) {
	if s.dir.Behaviour.Licence == LicenceFree { // Graph known issues, licence checks of activity reports
		return response{}, &apiError{status: http.StatusForbidden, code: "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
			message: "Neither tenant is B2C or tenant doesn't have premium license"}
	}
	q, err := queryRules{page: 1000, largest: 1000, options: []string{"$top", "$skiptoken", "$filter"}}.parse(r)
	if err != nil {
		return response{}, err
	}
	events := false
	if q.filter != nil {
		if err := signInFilter(q.filter, r.beta(), &events); err != nil {
			return response{}, err
		}
	}
	if !events { // only interactive ones, unless a filter says otherwise
		var interactive filter = comparison{"isInteractive", "eq", literal{boolLiteral, "true"}}
		if q.filter != nil {
			interactive = logical{"and", interactive, q.filter}
		}
		q.filter = interactive
	}
	// What was logged a moment ago is not told yet.
	visible := r.now.Add(-time.Duration(s.dir.Behaviour.ReportDelay) * time.Second)
	entries := s.dir.SignIns
	first := slices.IndexFunc(entries, func(in *SignIn) bool { return !in.Time.After(visible) })
	if first < 0 {
		first = len(entries)
	}
	seen := loggedSignIn{policies: r.caller.hasAny([]string{"Policy.Read.All", "Policy.Read.ConditionalAccess"}), beta: r.beta(),
		members: strings.Contains(r.header.Get("Prefer"), "include-unknown-enum-members")}
	list := make([]loggedSignIn, len(entries)-first)
	for i, in := range entries[first:] {
		list[i] = seen
		list[i].SignIn = in
	}
	return page(signInSchema(r.beta()), r, q, list, nil)
}

// signInFilter accepts what the pages on the signIn resource list: terms joined by and,
// each with an operator that its property supports. events is set when the filter is
// about signInEventTypes.
func signInFilter(f filter, beta bool, events *bool) error {
	supported := false
	switch f := f.(type) {
	case logical:
		if f.op == "and" {
			return errors.Join(signInFilter(f.left, beta, events), signInFilter(f.right, beta, events))
		}
	case comparison:
		switch f.path {
		case "createdDateTime":
			supported = f.op == "eq" || f.op == "le" || f.op == "ge"
		case "id", "appId", "userId", "status/errorCode", "clientAppUsed", "correlationId", "conditionalAccessStatus", "resourceId", "riskState",
			"riskLevelAggregated", "riskLevelDuringSignIn", "userPrincipalName", "userDisplayName", "appDisplayName", "ipAddress", "userAgent", "resourceDisplayName":
			supported = f.op == "eq"
		case "authenticationRequirement":
			supported = beta && f.op == "eq"
		}
	case call:
		switch f.path {
		case "userPrincipalName", "userDisplayName", "appDisplayName", "ipAddress", "userAgent":
			supported = f.name == "startsWith"
		case "authenticationRequirement":
			supported = beta && f.name == "startsWith"
		}
	case anyOf:
		inner, isComparison := f.inner.(comparison)
		supported = beta && f.path == "signInEventTypes" && isComparison && inner.path == f.variable && (inner.op == "eq" || inner.op == "ne")
		*events = *events || supported
	}
	if !supported {
		return errBadRequest("Invalid filter clause: '%s' is not supported.", f)
	}
	return nil
}
