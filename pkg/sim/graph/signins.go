package graph

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// SignIn is an entry of the sign-in log: an interactive attempt, failed unless Code is 0.
type SignIn struct {
	ID      string     `json:"id"`
	User    string     `json:"user"` // object id or userPrincipalName; a name that nobody has is kept
	Time    *time.Time `json:"createdDateTime"`
	Code    int        `json:"errorCode"`
	Reason  string     `json:"failureReason,omitempty"` // a usual text when empty
	Details string     `json:"additionalDetails,omitempty"`
	App     string     `json:"appDisplayName,omitempty"`
	IP      string     `json:"ipAddress,omitempty"`

	userID, displayName, principal string // of User, at that time
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
		in.userID, in.displayName, in.principal = u.ID, u.DisplayName, strings.ToLower(u.UserPrincipalName)
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

func signInSchema() schema {
	return schema{collection: "auditLogs/signIns", typeName: "signIn", defaults: []string{
		"id", "createdDateTime", "userDisplayName", "userPrincipalName", "userId", "appId", "appDisplayName", "ipAddress", "clientAppUsed",
		"correlationId", "conditionalAccessStatus", "isInteractive", "riskDetail", "riskLevelAggregated", "riskLevelDuringSignIn", "riskState",
		"riskEventTypes", "resourceDisplayName", "resourceId", "status", "deviceDetail", "location", "appliedConditionalAccessPolicies",
	}}
}

func (in *SignIn) entityID() string { return in.ID }

// property follows the example of signin-list.
func (in *SignIn) property(name string) (any, bool) {
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
	case "appId", "resourceId":
		return "00000002-0000-0ff1-ce00-000000000000", true
	case "appDisplayName", "resourceDisplayName":
		return orNull(in.App), true
	case "ipAddress":
		return orNull(in.IP), true
	case "clientAppUsed":
		return "Browser", true
	case "correlationId":
		return in.ID, true
	case "conditionalAccessStatus":
		if in.Code == 53003 {
			return "failure", true
		}
		return "notApplied", true
	case "isInteractive":
		return true, true
	case "riskDetail", "riskLevelAggregated", "riskLevelDuringSignIn", "riskState":
		return "none", true
	case "riskEventTypes", "appliedConditionalAccessPolicies":
		return []string{}, true
	case "status":
		return map[string]any{"errorCode": in.Code, "failureReason": orNull(in.Reason), "additionalDetails": orNull(in.Details)}, true
	case "status/errorCode":
		return in.Code, true
	case "deviceDetail":
		return map[string]any{"deviceId": "", "operatingSystem": nil, "browser": nil}, true
	case "location":
		return map[string]any{"city": nil, "state": nil, "countryOrRegion": nil}, true
	}
	return nil, false
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
	if q.filter != nil {
		if err := signInFilter(q.filter); err != nil {
			return response{}, err
		}
	}
	// What was logged a moment ago is not told yet.
	visible := r.now.Add(-time.Duration(s.dir.Behaviour.ReportDelay) * time.Second)
	entries := s.dir.SignIns
	first := slices.IndexFunc(entries, func(in *SignIn) bool { return !in.Time.After(visible) })
	if first < 0 {
		first = len(entries)
	}
	return page(signInSchema(), r, q, entries[first:], nil)
}

// signInFilter accepts what the page on the signIn resource lists: terms joined by and,
// each with an operator that its property supports.
func signInFilter(f filter) error {
	supported := false
	switch f := f.(type) {
	case logical:
		if f.op == "and" {
			return errors.Join(signInFilter(f.left), signInFilter(f.right))
		}
	case comparison:
		switch f.path {
		case "createdDateTime":
			supported = f.op == "eq" || f.op == "le" || f.op == "ge"
		case "id", "appId", "userId", "status/errorCode", "clientAppUsed", "correlationId", "conditionalAccessStatus", "resourceId", "riskState",
			"riskLevelAggregated", "riskLevelDuringSignIn", "userPrincipalName", "userDisplayName", "appDisplayName", "ipAddress":
			supported = f.op == "eq"
		}
	case call:
		switch f.path {
		case "userPrincipalName", "userDisplayName", "appDisplayName", "ipAddress":
			supported = f.name == "startsWith"
		}
	}
	if !supported {
		return errBadRequest("Invalid filter clause: '%s' is not supported.", f)
	}
	return nil
}
