package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

// class is a throttling class of Graph.
type class int

const (
	classDirectory class = iota + 1
	classMethods
	classProtection
	classMail
	classSubscriptions
	classSubscriptionList
)

// window is the wait after a 429 that does not say how long: the window of the
// class's documented limit (learn.microsoft.com/graph/throttling-limits).
func (c class) window() time.Duration {
	switch c {
	case classDirectory, classMethods:
		return 10 * time.Second
	case classProtection:
		return time.Second
	case classSubscriptions, classSubscriptionList:
		return 20 * time.Second
	case classMail:
		return time.Minute
	default:
		return time.Minute
	}
}

// operation is what a request is for, as errors name it.
type operation struct {
	name  string
	class class
	write bool
	// permission is the least privileged application permission
	// (microsoft-graph-devx-content, permissions.json, 2026-08).
	permission string
	// impersonal operations address something that settings name, so 404 tells of a
	// wrong setting and not of a missing person.
	impersonal bool
	// resumes is set for operations that follow a link of an earlier answer, which
	// Graph may no longer know.
	resumes bool
	// refusal lists what a 400 usually means here, since Graph's code seldom says.
	refusal string
}

var (
	findUser      = operation{name: "find user", class: classDirectory, permission: "User.Read.All"}
	readUser      = operation{name: "read user", class: classDirectory, permission: "User.Read.All"}
	readManager   = operation{name: "read manager", class: classDirectory, permission: "User.Read.All"}
	readGroups    = operation{name: "read group membership", class: classDirectory, permission: "User.Read.All and GroupMember.Read.All"}
	readRoles     = operation{name: "read roles held", class: classDirectory, permission: "RoleManagement.Read.Directory"}
	readEligible  = operation{name: "read eligible roles", class: classDirectory, permission: "RoleEligibilitySchedule.Read.Directory", refusal: "no licence for Privileged Identity Management"}
	listMethods   = operation{name: "list authentication methods", class: classMethods, permission: "UserAuthenticationMethod.Read.All"}
	listPasses    = operation{name: "list passes", class: classMethods, permission: "UserAuthMethod-TAP.Read.All"}
	issuePass     = operation{name: "issue pass", class: classMethods, write: true, permission: "UserAuthMethod-TAP.ReadWrite.All", refusal: "the pass policy is off or does not cover the person or the lifetime, or the account is an external guest"}
	deletePass    = operation{name: "delete pass", class: classMethods, write: true, permission: "UserAuthMethod-TAP.ReadWrite.All"}
	readPassRules = operation{name: "read pass policy", impersonal: true, class: classDirectory, permission: "Policy.Read.AuthenticationMethod"}
	readMethods   = operation{name: "read methods and preferences", class: classMethods, permission: "UserAuthenticationMethod.Read.All"}
	setDefault    = operation{name: "set default method", class: classMethods, write: true, permission: "UserAuthenticationMethod.ReadWrite.All", refusal: "the method is not registered"}
	deleteMethod  = operation{name: "delete method", class: classMethods, write: true, permission: "UserAuthenticationMethod.ReadWrite.All or the UserAuthMethod permission of the kind", refusal: "it is the default method, or an alternate mobile phone depends on it"}
	setEnabled    = operation{name: "block or unblock sign-in", class: classDirectory, write: true, permission: "User.EnableDisableAccount.All and User.Read.All" + privileged}
	revoke        = operation{name: "revoke sessions", class: classDirectory, write: true, permission: "User.RevokeSessions.All", refusal: "an external user's sessions belong to the home tenant"}
	setPassword   = operation{name: "set random password", class: classDirectory, write: true, permission: "User-PasswordProfile.ReadWrite.All" + privileged, refusal: "the account is owned by an on-premises directory"}
	addMember     = operation{name: "add to group", class: classDirectory, write: true, permission: "GroupMember.ReadWrite.All and User.Read.All", refusal: "the group's members come from a rule or from an on-premises directory, or there is no such group"}
	readRisk      = operation{name: "read user risk", class: classProtection, permission: "IdentityRiskyUser.Read.All and the tenant a P2 licence"}
	// Policies come with the strengths they ask for, which is why nothing else is read.
	listAccessRules = operation{name: "list Conditional Access policies", impersonal: true, resumes: true, class: classProtection, permission: "Policy.Read.All"}
	countUsers      = operation{name: "count users", impersonal: true, class: classDirectory, permission: "User.Read.All"}

	listSubscriptions   = operation{name: "list subscriptions", impersonal: true, class: classSubscriptionList, permission: "User.Read.All"}
	subscribe           = operation{name: "subscribe", impersonal: true, class: classSubscriptions, write: true, permission: "User.Read.All", refusal: "a notification URL is not public https or did not repeat the validation token in 10 s, or the expiry is over 41,760 minutes ahead"}
	renewSubscription   = operation{name: "renew subscription", class: classSubscriptions, write: true, permission: "User.Read.All", refusal: "the expiry is over 41,760 minutes ahead"}
	unsubscribe         = operation{name: "remove subscription", class: classSubscriptions, write: true, permission: "User.Read.All"}
	readChanges         = operation{name: "read changes of users", impersonal: true, resumes: true, class: classDirectory, permission: "User.Read.All"}
	listDeleted         = operation{name: "list deleted users", impersonal: true, resumes: true, class: classDirectory, permission: "User.Read.All"}
	listRisks           = operation{name: "list risky users", impersonal: true, resumes: true, class: classProtection, permission: "IdentityRiskyUser.Read.All and the tenant a P2 licence"}
	listDetections      = operation{name: "list risk detections", impersonal: true, resumes: true, class: classProtection, permission: "IdentityRiskEvent.Read.All and the tenant a P1 or P2 licence"}
	listSignIns         = operation{name: "list failed sign-ins", impersonal: true, resumes: true, class: classMethods, permission: "AuditLog.Read.All and the tenant a P1 licence"}
	listHires           = operation{name: "list hires", impersonal: true, resumes: true, class: classDirectory, permission: "User.Read.All"}
	listLeavers         = operation{name: "list leavers", impersonal: true, resumes: true, class: classDirectory, permission: "User.Read.All and User-LifeCycleInfo.Read.All"}
	listRegistrations   = operation{name: "list registered methods", impersonal: true, resumes: true, class: classMethods, permission: "AuditLog.Read.All and the tenant a P1 licence"}
	readTenant          = operation{name: "read organization", impersonal: true, class: classDirectory, permission: "Organization.Read.All"}
	listUsers           = operation{name: "list users", impersonal: true, resumes: true, class: classDirectory, permission: "User.Read.All"}
	listPerUserMFA      = operation{name: "list states of per-user MFA", impersonal: true, resumes: true, class: classDirectory, permission: "Policy.Read.All", refusal: "Graph does not tell them in bulk, which is not documented"}
	listLastSignIns     = operation{name: "list last sign-ins", impersonal: true, resumes: true, class: classMethods, permission: "AuditLog.Read.All and the tenant a P1 licence"}
	listEnforcedSignIns = operation{name: "list sign-ins", impersonal: true, resumes: true, class: classMethods, permission: "AuditLog.Read.All and the tenant a P1 licence"}
	listRoles           = operation{name: "list role assignments", impersonal: true, resumes: true, class: classDirectory, permission: "RoleManagement.Read.Directory"}
	listEligible        = operation{name: "list eligible roles", impersonal: true, resumes: true, class: classDirectory, permission: "RoleEligibilitySchedule.Read.Directory", refusal: "no licence for Privileged Identity Management"}
	readGroup           = operation{name: "read group", class: classDirectory, permission: "GroupMember.Read.All"}
	listMembers         = operation{name: "list members of a group", resumes: true, class: classDirectory, permission: "GroupMember.Read.All"}
	listPrincipals      = operation{name: "list service principals", impersonal: true, resumes: true, class: classDirectory, permission: "Application.Read.All"}
	readGuestTrust      = operation{name: "read cross-tenant access", impersonal: true, class: classDirectory, permission: "Policy.Read.All"}
	listPartners        = operation{name: "list cross-tenant partners", impersonal: true, resumes: true, class: classDirectory, permission: "Policy.Read.All"}
	readFederation      = operation{name: "read federation of domain", class: classDirectory, permission: "Domain.Read.All"}
	readDefaults        = operation{name: "read security defaults", impersonal: true, class: classDirectory, permission: "Policy.Read.All"}
	listStrengths       = operation{name: "list authentication strengths", impersonal: true, resumes: true, class: classDirectory, permission: "Policy.Read.AuthenticationMethod"}
	readMethodsPolicy   = operation{name: "read methods policy", impersonal: true, class: classDirectory, permission: "Policy.Read.AuthenticationMethod"}
	listConditional     = operation{name: "list Conditional Access policies", impersonal: true, resumes: true, class: classProtection, permission: "Policy.Read.All"}
	readEmployment      = operation{name: "read employment", class: classDirectory, permission: "User.Read.All and User-LifeCycleInfo.Read.All"}

	writeDefaults      = operation{name: "switch security defaults", impersonal: true, class: classDirectory, write: true, permission: "Policy.Read.All and Policy.ReadWrite.SecurityDefaults", refusal: "Conditional Access policies are enforced"}
	readSetting        = operation{name: "read method configuration", impersonal: true, class: classDirectory, permission: "Policy.Read.AuthenticationMethod"}
	writeSetting       = operation{name: "change method configuration", impersonal: true, class: classDirectory, write: true, permission: "Policy.ReadWrite.AuthenticationMethod"}
	writeMethodsPolicy = operation{name: "change methods policy", impersonal: true, class: classDirectory, write: true, permission: "Policy.ReadWrite.AuthenticationMethod"}
	readConditional    = operation{name: "read Conditional Access policy", class: classProtection, permission: "Policy.Read.All"}
	writeConditional   = operation{name: "change Conditional Access policy", class: classProtection, write: true, permission: "Policy.Read.All, Policy.ReadWrite.ConditionalAccess and Application.Read.All", refusal: "security defaults are on, or the policy names what the tenant does not have"}
	readSystem         = operation{name: "read system-preferred MFA (beta)", impersonal: true, class: classDirectory, permission: "Policy.Read.AuthenticationMethod"}
	writeSystem        = operation{name: "change system-preferred MFA (beta)", impersonal: true, class: classDirectory, write: true, permission: "Policy.ReadWrite.AuthenticationMethod"}
	readRequirement    = operation{name: "read per-user MFA (beta)", class: classMethods, permission: "Policy.Read.All"}
	writeRequirement   = operation{name: "change per-user MFA (beta)", class: classMethods, write: true, permission: "Policy.ReadWrite.AuthenticationMethod"}
	findGroup          = operation{name: "find group", impersonal: true, resumes: true, class: classDirectory, permission: "GroupMember.Read.All"}

	sendMail = operation{name: "send mail", impersonal: true, class: classMail, write: true, permission: "Mail.Send", refusal: "the sender has no mailbox or the recipient is no address"}
)

// privileged is what a change of an administrator's account needs on top ("Who can
// perform sensitive actions" in Graph's page on users).
const privileged = "; for a person who holds a role, or a member or owner of a role-assignable group, also the directory role Privileged Authentication Administrator"

var errEmptyAnswer = errors.New("empty answer")

// refuse is a request that must not leave the house.
func (op operation) refuse(why string) error {
	return fmt.Errorf("%s: %s: %w", op.name, why, identity.ErrRefused)
}

// absent: the thing asked for does not exist.
func (op operation) absent(what string) error {
	return fmt.Errorf("%s: %s: %w", op.name, what, identity.ErrNotFound)
}

// gone takes "not found" for the success of a deletion.
func gone(err error) error {
	if errors.Is(err, identity.ErrNotFound) {
		return nil
	}
	return err
}

// hidden: the directory answers and leaves out what we need to judge.
func (op operation) hidden(what string) error {
	return fmt.Errorf("%s: the directory hides %s (the app needs %s): %w", op.name, what, op.permission, identity.ErrForbidden)
}

// unreadable: Graph answered 2xx with something we cannot use, so a write may have
// happened.
func (op operation) unreadable(what string) error {
	return &identity.RetryError{Unknown: op.write, Err: fmt.Errorf("%s: Graph answers with %s", op.name, what)}
}

// failure is the class of a failed request, by the table of the package doc. It
// never takes over the text of err, which may hold an address or a pass.
func (op operation) failure(ctx context.Context, x *exchange, err error) error {
	var te *tokenError
	var ue *url.Error
	var nt *noTurnError
	noToken := errors.As(err, &te)
	switch {
	case errors.As(err, &nt):
		return &identity.RetryError{After: nt.after, Err: fmt.Errorf("%s: %w", op.name, nt)}
	case x.status >= 400 && !noToken:
		return op.answer(x.status, x.header, errorCode(err))
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op.name, ctx.Err())
	case noToken:
		return fmt.Errorf("%s: %w", op.name, te.class())
	case errors.Is(err, errRedirect):
		return fmt.Errorf("%s: Graph answers %d, a redirect: %w", op.name, x.status, identity.ErrRefused)
	case errors.Is(err, context.DeadlineExceeded):
		return op.unknown("no answer in time")
	case x.status != 0:
		return op.unreadable("a body that cannot be read")
	case errors.As(err, &ue):
		return op.unknown(fmt.Sprintf("no answer: %v", ue.Err))
	default:
		return op.unknown(fmt.Sprintf("no answer (%T)", err))
	}
}

// unknown: no answer came, so a write may have happened.
func (op operation) unknown(why string) error {
	return &identity.RetryError{Unknown: op.write, Err: fmt.Errorf("%s: %s", op.name, why)}
}

// answerError is an answer of 400 or more.
type answerError struct {
	status int
	code   string // Graph's own
	text   string
	// request is the part of the text that names the request; empty when Graph did not.
	request string
	class   error // nil when time may cure it
}

// Lasting is the text without what is another with every request.
func (e *answerError) Lasting() string { return strings.Replace(e.text, e.request, "", 1) }

func (e *answerError) Error() string { return e.text }
func (e *answerError) Unwrap() error { return e.class }

// answer is the class of an answer of 400 or more.
func (op operation) answer(status int, header http.Header, code string) error {
	e := &answerError{status: status, code: code, text: fmt.Sprintf("%s: Graph answers %d", op.name, status)}
	if code != "" {
		e.text += " " + code
	}
	if id := plain(header.Get("request-id")); id != "" {
		e.request = ", request " + id
		e.text += e.request
	}
	after := retryAfter(header, time.Now())
	switch {
	case op.resumes && (status == http.StatusGone || status >= 400 && status < 500 && voidLink(code)):
		return e.as(sweep.ErrResync, "")
	case status == http.StatusNotFound && !op.impersonal:
		return e.as(identity.ErrNotFound, "")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return e.as(identity.ErrForbidden, ": the app needs "+op.permission)
	case status == http.StatusTooManyRequests:
		return &identity.RetryError{After: op.throttled(header), Err: e}
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusLocked, status == http.StatusTooEarly:
		return &identity.RetryError{After: after, Err: e}
	case status >= 500:
		return &identity.RetryError{After: after, Unknown: op.write, Err: e}
	case op.refusal != "":
		return e.as(identity.ErrRefused, " ("+op.refusal+")")
	default:
		return e.as(identity.ErrRefused, "")
	}
}

// voidLink reports whether a code means that a link of an earlier answer is no longer
// good. A delta token lives seven days and then gives an error 40X with a code such as
// syncStateNotFound; resyncRequired is the general one (Graph concepts, "Use delta
// query" and "Error codes"). The last is that of a page.
func voidLink(code string) bool {
	for _, c := range []string{"syncStateNotFound", "resyncRequired", "Directory_ExpiredPageToken"} {
		if strings.EqualFold(code, c) {
			return true
		}
	}
	return false
}

// throttled is the wait after a 429.
func (op operation) throttled(header http.Header) time.Duration {
	if after := retryAfter(header, time.Now()); after > 0 {
		return after
	}
	return op.class.window()
}

// as gives the error its class.
func (e *answerError) as(class error, more string) error {
	e.text += ": " + class.Error() + more
	e.class = class
	return e
}

// errorCode is Graph's own code of an error body. ODataError's Error method is not
// called: it panics on a body without a message (msgraph-sdk-go 1.89).
func errorCode(err error) string {
	var oe *odataerrors.ODataError
	if !errors.As(err, &oe) || oe.GetErrorEscaped() == nil || oe.GetErrorEscaped().GetCode() == nil {
		return ""
	}
	return plain(*oe.GetErrorEscaped().GetCode())
}

// maxRetryAfter is the longest wait taken from an answer.
const maxRetryAfter = 24 * time.Hour

// retryAfter is the wait a Retry-After header asks for.
func retryAfter(h http.Header, now time.Time) time.Duration {
	return identity.RetryAfter(h, now, maxRetryAfter)
}
