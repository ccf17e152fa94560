// Package plan decides what an event leads to: a pure function of the event, the
// lane's memory, the tenant as read now, the settings and the time.
//
// It imports domain packages only, reads nothing and changes nothing. The same
// decision is made by the worker under the lane lock and by whoever wants to know
// what a replay would do.
package plan

import (
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
)

// Decision is what to do. The zero value is invalid.
type Decision string

// The decisions.
const (
	// ReadTenant: the decision needs the tenant; ask again with it.
	ReadTenant Decision = "read-tenant"
	// IssuePass: issue a pass as requested and deliver it.
	IssuePass Decision = "issue-pass"
	// DeletePass: delete the pass we issued, then follow Then.
	DeletePass Decision = "delete-pass"
	// Wait until Until.
	Wait Decision = "wait"
	// Hold for an operator, for Reason.
	Hold Decision = "hold"
	// Obsolete: a later statement by HR counts.
	Obsolete Decision = "obsolete"
	// Nothing is left to do.
	Nothing Decision = "nothing"
	// NoUser: the account is gone.
	NoUser Decision = "no-user"
)

// Reason tells holds and waits apart; the lane knows them by the same words.
type Reason string

// The reasons a plan can give.
const (
	NotSupported      Reason = "type-not-supported"
	DueLater          Reason = "due-later"
	AccountDisabled   Reason = "account-disabled"
	ExternalGuest     Reason = "external-guest"
	ProtectedPerson   Reason = "protected-person"
	AlreadyRegistered Reason = "already-registered"
	ForeignPass       Reason = "foreign-pass"
	PassPolicyOff     Reason = "pass-policy-disabled"
	PassPolicyExclude Reason = "pass-policy-excludes-person"
	StartDatePast     Reason = "start-date-past"
	NoTimeZone        Reason = "no-time-zone"
)

// Plan is a decision and what it needs.
type Plan struct {
	Decision Decision
	Reason   Reason
	// Detail says it in plain words, without personal data.
	Detail string
	// Until is when a Wait ends.
	Until time.Time
	// Request is the pass to issue, and Zone the time zone to tell its times in.
	Request identity.PassRequest
	Zone    *time.Location
	// PassID is the pass to delete.
	PassID string
	// Then is what follows a DeletePass.
	Then Decision
	// ShortFirstDay: less than four hours of the first day are left to the pass.
	ShortFirstDay bool
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
	// ProtectedAccounts are the break-glass accounts.
	ProtectedAccounts []identity.UserID
	// ProtectRoleHolders holds people with directory roles, eligible roles or
	// membership of role-assignable groups.
	ProtectRoleHolders bool
}

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
}

// Input is what a decision is made of.
type Input struct {
	Event    event.Event
	Ledger   *ledger.Ledger
	Settings Settings
	Now      time.Time
	// Tenant is nil as long as the decision may not need it.
	Tenant *Tenant
}

// Decide makes the decision. It is pure. An error means that the data of the
// event does not fit its type (event.ErrBadData).
func Decide(in Input) (Plan, error) {
	switch in.Event.Type {
	case event.Joiner, event.StartDateChanged:
		return decideStart(in)
	case event.Cancelled:
		return decideCancelled(in)
	default:
		return Plan{Decision: Hold, Reason: NotSupported, Detail: fmt.Sprintf("events of type %s are not acted on yet", in.Event.Type)}, nil
	}
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

// superseded reports whether the lane knows a statement made later.
func superseded(s ledger.Statement, l *ledger.Ledger) bool {
	return l.Statement != nil && l.Statement.Key != s.Key && l.Statement.MadeAfter(s)
}

// shortDay is what must be left of the first day for a pass to be of use.
const shortDay = 4 * time.Hour

// decideStart plans a joiner, or a joiner whose date moved: the two are one full
// statement.
func decideStart(in Input) (Plan, error) {
	s, err := StatementOf(in.Event)
	if err != nil {
		return Plan{}, err
	}
	if superseded(s, in.Ledger) {
		return Plan{Decision: Obsolete, Detail: "HR made a later statement"}, nil
	}
	zone, err := zoneOf(in)
	if err != nil {
		return Plan{}, err
	}
	if zone == nil {
		return Plan{Decision: Hold, Reason: NoTimeZone, Detail: "the statement names no time zone and none is configured"}, nil
	}
	opens := s.StartDate.At(in.Settings.OpensAtHour, in.Settings.OpensAtMinute, zone)
	issueAt := opens.Add(-in.Settings.LeadTime)

	if in.Now.Before(issueAt) {
		wait := Plan{Decision: Wait, Reason: DueLater, Until: issueAt, Detail: "the pass is issued at " + issueAt.UTC().Format(time.RFC3339)}
		if p := in.Ledger.Pass; p != nil && p.ID != "" && p.Key != s.Key {
			// The date moved away: a pass for the old date must not open.
			wait.PassID, wait.Decision, wait.Then = p.ID, DeletePass, Wait
		}
		return wait, nil
	}
	if in.Now.After(opens.Add(in.Settings.PastStart)) {
		return Plan{Decision: Hold, Reason: StartDatePast, Detail: fmt.Sprintf("the start date is more than %d days past", int(in.Settings.PastStart.Hours()/24))}, nil
	}
	if deliveredFor(s, in.Ledger) {
		return Plan{Decision: Nothing, Detail: "a pass for this start date was delivered already"}, nil
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}, nil
	}
	return decidePass(in, s, opens, zone), nil
}

// deliveredFor reports whether the effect of the statement is on the tenant
// already: HR may say the same thing twice under two ids.
func deliveredFor(s ledger.Statement, l *ledger.Ledger) bool {
	return l.Applied != nil && l.Applied.StartDate == s.StartDate && l.Pass != nil && l.Pass.Delivered
}

func zoneOf(in Input) (*time.Location, error) {
	d, err := in.Event.Employment()
	if err != nil {
		return nil, err
	}
	if d.StartDate.IsZero() {
		return nil, fmt.Errorf("%w: startDate is missing", event.ErrBadData)
	}
	if d.TimeZone == "" {
		return in.Settings.DefaultZone, nil
	}
	zone, err := event.ParseTimeZone(d.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("%w: timeZone is no IANA time zone", event.ErrBadData)
	}
	return zone, nil
}

// decidePass judges the person and the tenant's policy for a pass that is due.
func decidePass(in Input, s ledger.Statement, opens time.Time, zone *time.Location) Plan {
	t, a := in.Tenant, in.Tenant.Account
	if a == nil {
		return Plan{Decision: NoUser, Detail: "the account is no longer in the directory"}
	}
	if why := protection(in); why != "" {
		return Plan{Decision: Hold, Reason: ProtectedPerson, Detail: why}
	}
	if a.External {
		return Plan{Decision: Hold, Reason: ExternalGuest, Detail: "an account of another tenant cannot have a pass"}
	}
	if !a.Enabled {
		if in.Now.Before(opens) {
			return Plan{Decision: Wait, Reason: AccountDisabled, Until: opens, Detail: "the account is still disabled; looked at again when the pass would open"}
		}
		return Plan{Decision: Hold, Reason: AccountDisabled, Detail: "the account is disabled on its start date; enable it, then release the hold"}
	}
	if why := registered(a, t.Methods); why != "" {
		return Plan{Decision: Hold, Reason: AlreadyRegistered, Detail: why}
	}
	for _, p := range t.Passes {
		if !p.Spent && !ours(p, in.Ledger) {
			return Plan{Decision: Hold, Reason: ForeignPass, Detail: "the person has a pass that mfaflow did not issue; it is not replaced without an operator"}
		}
	}
	if !t.Policy.Enabled {
		return Plan{Decision: Hold, Reason: PassPolicyOff, Detail: "the tenant's Temporary Access Pass policy is disabled; enable it, then release the hold"}
	}
	if !t.Policy.Covers(a.ID, t.Membership.Groups) {
		return Plan{Decision: Hold, Reason: PassPolicyExclude, Detail: "the Temporary Access Pass policy does not include the person: a pass could be issued but not used; change the policy's targets, then release the hold"}
	}

	request := identity.PassRequest{
		Lifetime: min(max(in.Settings.Lifetime, t.Policy.MinLifetime), t.Policy.MaxLifetime).Truncate(time.Minute),
		OneTime:  in.Settings.OneTime || t.Policy.OneTime,
	}
	from := in.Now
	if in.Now.Before(opens) {
		request.StartsAt, from = opens, opens
	}
	endOfFirstDay := event.Date{Year: s.StartDate.Year, Month: s.StartDate.Month, Day: s.StartDate.Day + 1}.At(0, 0, zone)
	until := from.Add(request.Lifetime)
	if until.After(endOfFirstDay) {
		until = endOfFirstDay
	}
	return Plan{Decision: IssuePass, Request: request, Zone: zone, ShortFirstDay: until.Sub(from) < shortDay}
}

// ours reports whether we issued the pass, or were about to when we lost sight of
// the answer.
func ours(p identity.Pass, l *ledger.Ledger) bool {
	return l.Pass != nil && (l.Pass.ID == p.ID || !l.Pass.Issuing.IsZero())
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

func registered(a *identity.Account, methods []identity.Method) string {
	for _, m := range methods {
		if m.UsableForMFA() {
			return fmt.Sprintf("the account has an authentication method already (%s)", m.Kind)
		}
	}
	if !a.LastSignIn.IsZero() {
		return "somebody has signed in to the account already"
	}
	return ""
}

// decideCancelled plans the withdrawal of a joiner. The withdrawal of a leaver is
// not acted on yet.
func decideCancelled(in Input) (Plan, error) {
	s, err := StatementOf(in.Event)
	if err != nil {
		return Plan{}, err
	}
	d, err := in.Event.Employment()
	if err != nil {
		return Plan{}, err
	}
	if superseded(s, in.Ledger) {
		return Plan{Decision: Obsolete, Detail: "HR made a later statement"}, nil
	}
	if d.Cancels != "joiner" {
		return Plan{Decision: Hold, Reason: NotSupported, Detail: "the withdrawal of a leaver is not acted on yet"}, nil
	}
	if p := in.Ledger.Pass; p != nil && (p.ID != "" || !p.Issuing.IsZero()) {
		return Plan{Decision: DeletePass, PassID: p.ID, Then: Nothing, Detail: "the start was withdrawn after a pass was issued"}, nil
	}
	return Plan{Decision: Nothing, Detail: "the start was withdrawn before a pass was issued"}, nil
}
