// Package plan decides what an event leads to: a pure function of the event, the
// lane's memory, the tenant as read now, the settings and the time.
//
// It imports domain packages only, reads nothing and changes nothing. The same
// decision is made by the worker under the lane lock and by whoever wants to know
// what a replay would do.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
)

// Decision is what to do. The zero value is invalid.
type Decision string

// The decisions.
const (
	// ReadTenant: the decision needs the tenant; ask again with it.
	ReadTenant Decision = "read-tenant"
	// Act: take the steps in order, then do what After says.
	Act Decision = "act"
	// Wait until Until.
	Wait Decision = "wait"
	// Hold for operators, for Reason.
	Hold Decision = "hold"
	// Obsolete: a later statement by HR counts.
	Obsolete Decision = "obsolete"
	// Nothing is left to do.
	Nothing Decision = "nothing"
	// NoUser: the account is gone.
	NoUser Decision = "no-user"
	// Refuse: it would do harm, and nobody may take that upon themselves.
	Refuse Decision = "refuse"
)

// Reason tells holds and waits apart.
type Reason string

// The reasons a plan can give.
const (
	NotSupported       Reason = "type-not-supported"
	DueLater           Reason = "due-later"
	GracePeriod        Reason = "grace-period"
	SyncCheck          Reason = "sync-check"
	AccountDisabled    Reason = "account-disabled"
	AccountReenabled   Reason = "account-enabled-again"
	StillBlocked       Reason = "still-blocked"
	ExternalGuest      Reason = "external-guest"
	ProtectedPerson    Reason = "protected-person"
	AlreadyRegistered  Reason = "already-registered"
	CompromiseStands   Reason = "compromise-stands"
	ForeignPass        Reason = "foreign-pass"
	PassPolicyOff      Reason = "pass-policy-disabled"
	PassPolicyExclude  Reason = "pass-policy-excludes-person"
	StartDatePast      Reason = "start-date-past"
	NoTimeZone         Reason = "no-time-zone"
	MethodsNotNamed    Reason = "methods-not-named"
	UnknownRequirement Reason = "unknown-requirement"
	RequirementUnmet   Reason = "requirement-unmet"
	MethodPolicyOff    Reason = "method-policy-off"
	SnapshotStale      Reason = "snapshot-stale"
	PolicyNames        Reason = "policy-names-unknown"
	PolicyApproval     Reason = "policy-approval"
)

// Action is one kind of step. The zero value is invalid.
type Action string

// The actions.
const (
	BlockSignIn    Action = "block-sign-in"
	UnblockSignIn  Action = "unblock-sign-in"
	RevokeSessions Action = "revoke-sessions"
	IssuePass      Action = "issue-pass"
	DeletePass     Action = "delete-pass"
	RemoveMethods  Action = "remove-methods"
	RandomPassword Action = "random-password"
	// AddToGroup makes the person a member of a group that Conditional Access requires
	// stronger methods of.
	AddToGroup Action = "add-to-group"
	// ChangePolicy changes the authentication methods policy of the tenant.
	ChangePolicy Action = "change-policy"
	// Mark writes into the ledger that a stage of the event is over.
	Mark Action = "mark"
)

// Destructive reports whether the action takes something from the person that they
// cannot get back by themselves.
func (a Action) Destructive() bool {
	return a == BlockSignIn || a == RemoveMethods || a == RandomPassword
}

// Stage names what a Mark records. The zero value is invalid.
type Stage string

// The stages.
const (
	// ShutOut: the leaver can no longer sign in.
	ShutOut Stage = "shut-out"
	// Answered: the incident has been answered.
	Answered Stage = "answered"
	// Synced: the block has outlived a synchronisation.
	Synced Stage = "synced"
	// LetIn: the operator's word has been carried out.
	LetIn Stage = "let-in"
)

// Step is one action and what it needs.
type Step struct {
	Action Action `json:"action"`
	// Request is the pass to issue, and Zone the time zone to tell its times in.
	Request identity.PassRequest `json:"-"`
	Zone    *time.Location       `json:"-"`
	// Methods are what RemoveMethods removes.
	Methods Selection `json:"methods,omitzero"`
	// For is why BlockSignIn blocks, and what Mark leaves a block standing for.
	For   ledger.BlockedBy `json:"for,omitempty"`
	Stage Stage            `json:"stage,omitempty"`
	// Group is the object id of AddToGroup's group.
	Group string `json:"group,omitempty"`
	// Policy is the digest of the plan that ChangePolicy carries out, Titles are its steps.
	Policy string   `json:"policy,omitempty"`
	Titles []string `json:"titles,omitempty"`
}

// Class groups destructive plans for the blast-radius breaker.
type Class string

// The classes.
const (
	ClassNone            Class = ""
	ClassLeaver          Class = "leaver"
	ClassImmediateLeaver Class = "immediate-leaver"
	ClassReregistration  Class = "re-registration"
	ClassCompromise      Class = "compromise"
)

// Flag is something a human must look at.
type Flag struct {
	Cause    flag.Cause
	Detail   string
	UnlockAt time.Time
}

// Plan is a decision and what it needs.
type Plan struct {
	Decision Decision
	Reason   Reason
	// Detail says it in plain words, without personal data.
	Detail string
	// Until is when a Wait ends, be it the decision or After.
	Until time.Time
	// Steps of an Act, and what follows them: Wait, or Nothing.
	Steps []Step
	After Decision
	// Class is how the breaker counts the plan.
	Class Class
	// Flags are raised before the steps.
	Flags []Flag
	// Approvals is how many operators a Hold takes.
	Approvals int
	// NeedsRisk: a ReadTenant needs the person's risk too.
	NeedsRisk bool
	// NeedsPolicy: a ReadTenant needs Input.Policy and nobody's account.
	NeedsPolicy bool
	// Shows is the digest of the policy plan that a Hold is about.
	Shows string
}

// Destructive reports whether any step is.
func (p Plan) Destructive() bool {
	for _, s := range p.Steps {
		if s.Action.Destructive() {
			return true
		}
	}
	return false
}

// Settings are the tenant owner's choices.
type Settings struct {
	// LeadTime is how long before it opens a pass is issued.
	LeadTime time.Duration
	// OpensAt is the local time of the start date at which a pass opens.
	OpensAtHour, OpensAtMinute int
	// DefaultZone is used when a statement names no time zone; nil holds it.
	DefaultZone *time.Location
	// Lifetime of a pass, before the policy clamps it.
	Lifetime time.Duration
	OneTime  bool
	// PastStart is how long after the start date a joiner is still served.
	PastStart time.Duration
	// Grace is how long after they left a person's methods are kept.
	Grace time.Duration
	// UnblockReturning lifts a leaver's block by itself when HR takes the leaving
	// back; otherwise an operator does.
	UnblockReturning bool
	// SyncCheck is how long after a block a synced account is looked at again.
	SyncCheck time.Duration
	// MaxAge is how old mfa.* and risk.* events may be.
	MaxAge time.Duration
	// SettleWindow is how long further signals belong to an answered incident.
	SettleWindow time.Duration
	// OnRiskySignIn, OnSessionRevoked and OnCredentialChanged are what follows
	// signals that the owner decides on.
	OnRiskySignIn, OnSessionRevoked, OnCredentialChanged Response
	// OnMove is what follows a change of role.
	OnMove Response
	// Requirements are what can be required of a person, by name; names are in lower case.
	Requirements map[string]Requirement
	// MoveRequirements are the requirements of roles and departments by HR's names of
	// them, in lower case.
	MoveRequirements map[string]string
	// MethodPolicy lets mfa.method.policy change the authentication methods policy.
	MethodPolicy bool
	// ProtectedAccounts are the break-glass accounts.
	ProtectedAccounts []identity.UserID
	// ProtectRoleHolders holds people with directory roles, eligible roles or
	// membership of role-assignable groups.
	ProtectRoleHolders bool
}

// Response is what a setting makes of a signal. The zero value is invalid.
type Response string

// The responses.
const (
	Record     Response = "record"
	RaiseFlag  Response = "flag"
	Revoke     Response = "revoke"
	Reregister Response = "reregister"
	Compromise Response = "compromise"
)

// Tenant is what was read of a person, all at one moment.
type Tenant struct {
	// Account is nil when the directory has no such user.
	Account    *identity.Account
	Methods    []identity.Method
	Passes     []identity.Pass
	Policy     identity.PassPolicy
	Membership identity.Membership
	// ActiveRoles and EligibleRoles are display names.
	ActiveRoles, EligibleRoles []string
	// Risk is nil when nobody asked for it.
	Risk *identity.Risk
}

// Input is what a decision is made of.
type Input struct {
	Event    event.Event
	Ledger   *ledger.Ledger
	Settings Settings
	Now      time.Time
	// Released are the reasons of the holds of this event that operators released.
	Released []Reason
	// Attempt counts how often the event was set aside before.
	Attempt int
	// Tenant is nil as long as the decision may not need it.
	Tenant *Tenant
	// Policy is what a change of policy would come to; nil as long as nobody asked.
	Policy *PolicyChange
}

// released reports whether operators released the event from a hold for the reason.
func (in Input) released(r Reason) bool { return slices.Contains(in.Released, r) }

// Decide makes the decision. It is pure. An error means that the data of the
// event does not fit its type (event.ErrBadData).
func Decide(in Input) (Plan, error) {
	if tooOld(in) {
		return Plan{
			Decision: Nothing, Detail: "older than the maximum age of its type: flagged, not run",
			Flags: []Flag{{Cause: flag.TooOld, Detail: fmt.Sprintf("the event is of %s", in.Event.Time.UTC().Format(time.RFC3339))}},
		}, nil
	}
	switch in.Event.Type {
	case event.Joiner, event.StartDateChanged, event.Rehire:
		return decideStart(in)
	case event.Leaver, event.LastDayChanged:
		return decideLeave(in)
	case event.Cancelled:
		return decideCancelled(in)
	case event.Mover:
		return decideMove(in)
	case event.RequirementSet:
		return decideRequirement(in)
	case event.MethodPolicy:
		return decideMethodPolicy(in)
	case event.DeviceLost, event.DeviceStolen, event.AccessLost, event.Reregister,
		event.CodesUnrequested, event.CodesNotReceived, event.TemporarilyBlocked:
		return decideHelpDesk(in)
	case event.RiskUser:
		return decideRisk(in)
	case event.RiskSignIn:
		return respond(in, in.Settings.OnRiskySignIn, flag.RiskySignIn, "a risky sign-in was reported")
	case event.SessionRevoked:
		return respond(in, in.Settings.OnSessionRevoked, flag.SessionRevoked, "another system revoked the person's sessions")
	case event.CredentialChanged:
		return respond(in, in.Settings.OnCredentialChanged, flag.CredentialChanged, "another system reports a changed credential")
	case event.AccountLocked:
		return decideLocked(in)
	case event.AccountChanged:
		return decideChanged(in)
	case event.LetIn:
		return decideLetIn(in)
	default:
		return Plan{Decision: Hold, Reason: NotSupported, Detail: fmt.Sprintf("events of type %s are not acted on", in.Event.Type)}, nil
	}
}

// tooOld judges an event when it first gets its turn; one that waited since was
// in time.
func tooOld(in Input) bool {
	t := string(in.Event.Type)
	return in.Attempt == 0 && in.Settings.MaxAge > 0 && (strings.HasPrefix(t, "mfa.") || strings.HasPrefix(t, "risk.")) &&
		in.Now.Sub(in.Event.Time) > in.Settings.MaxAge
}

// hold leaves the event to one operator.
func hold(r Reason, detail string) Plan {
	return Plan{Decision: Hold, Reason: r, Detail: detail, Approvals: 1}
}

// obsolete is the plan of a statement that a later one took the place of.
func obsolete() Plan { return Plan{Decision: Obsolete, Detail: "HR made a later statement"} }

// act is a plan of steps, done when they are taken.
func act(detail string, steps ...Step) Plan {
	return Plan{Decision: Act, Steps: steps, After: Nothing, Detail: detail}
}

// StatementOf is the statement an employment event makes.
func StatementOf(e event.Event) (ledger.Statement, error) {
	d, err := e.Employment()
	if err != nil {
		return ledger.Statement{}, err
	}
	return ledger.Statement{
		Key: e.Key, Type: e.Type, MadeAt: e.MadeAt(), ReceivedAt: e.ReceivedAt,
		StartDate: d.StartDate, LastDay: d.LastDay, Immediate: d.Immediate,
	}, nil
}

// superseded reports whether the lane knows a statement made later. An immediate
// leaver gives way to nothing but a later rehire.
func superseded(s ledger.Statement, l *ledger.Ledger) bool {
	if s.Immediate {
		return l.Rehired.After(s.MadeAt)
	}
	return l.Statement != nil && l.Statement.Key != s.Key && l.Statement.MadeAfter(s)
}

// zoneOf is the time zone of the event's dates; nil when there is none.
func zoneOf(in Input, name string) (*time.Location, error) {
	if name == "" {
		return in.Settings.DefaultZone, nil
	}
	zone, err := event.ParseTimeZone(name)
	if err != nil {
		return nil, fmt.Errorf("%w: timeZone is no IANA time zone", event.ErrBadData)
	}
	return zone, nil
}

// protected says why the person may not be changed without two operators. It is
// empty when they may, or when two operators said so.
func protected(in Input) (Plan, bool) {
	why := protection(in)
	if why == "" || in.released(ProtectedPerson) {
		return Plan{}, false
	}
	p := hold(ProtectedPerson, why)
	p.Approvals = 2
	return p, true
}

func protection(in Input) string {
	t := in.Tenant
	for _, id := range in.Settings.ProtectedAccounts {
		if id == t.Account.ID {
			return "the account is on the configured list of protected accounts"
		}
	}
	if !in.Settings.ProtectRoleHolders {
		return ""
	}
	switch {
	case len(t.ActiveRoles) > 0:
		return "the person holds the directory role " + t.ActiveRoles[0]
	case len(t.EligibleRoles) > 0:
		return "the person can activate the directory role " + t.EligibleRoles[0]
	case len(t.Membership.RoleAssignable) > 0:
		return "the person is in a group that can carry directory roles"
	}
	return ""
}

// compromised reports whether a block stands that only an operator lifts.
func compromised(l *ledger.Ledger) bool {
	return l.Compromise != nil && !l.Compromise.Released
}

// usable lists the methods that let the person pass multi-factor authentication.
func usable(methods []identity.Method) (list []identity.Method) {
	for _, m := range methods {
		if m.UsableForMFA() {
			list = append(list, m)
		}
	}
	return list
}

// livePass reports whether the person has a pass that works, now or later.
func livePass(passes []identity.Pass) bool {
	for _, p := range passes {
		if !p.Spent {
			return true
		}
	}
	return false
}
