package plan

import (
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
)

// shortDay is what must be left of the first day for a pass to be of use.
const shortDay = 4 * time.Hour

// issue is the step of a pass that opens at a time; zero opens it at once.
func issue(in Input, opens time.Time, zone *time.Location) Step {
	policy := in.Tenant.Policy
	return Step{
		Action: IssuePass, Zone: zone,
		Request: identity.PassRequest{
			StartsAt: opens,
			Lifetime: min(max(in.Settings.Lifetime, policy.MinLifetime), policy.MaxLifetime).Truncate(time.Minute),
			OneTime:  in.Settings.OneTime || policy.OneTime,
		},
	}
}

// noPass says why the person cannot be given a pass that works: the tenant's
// policy, an account of another tenant, a pass that is not ours. A pass is checked
// before anything is taken from anybody.
func noPass(in Input) (Plan, bool) {
	t := in.Tenant
	switch {
	case t.Account.External:
		return hold(ExternalGuest, "an account of another tenant cannot have a pass"), true
	case !in.released(ForeignPass) && foreignPass(in):
		return hold(ForeignPass, "the person has a pass that mfaflow did not issue; it is not replaced without an operator"), true
	case !t.Policy.Enabled:
		return hold(PassPolicyOff, "the tenant's Temporary Access Pass policy is disabled; enable it, then release the hold"), true
	case !t.Policy.Covers(t.Account.ID, t.Membership.Groups):
		return hold(PassPolicyExclude, "the Temporary Access Pass policy does not include the person: a pass could be issued but not used; change the policy's targets, then release the hold"), true
	}
	return Plan{}, false
}

func foreignPass(in Input) bool {
	for _, p := range in.Tenant.Passes {
		if !p.Spent && !ours(p, in.Ledger) {
			return true
		}
	}
	return false
}

// ours reports whether we issued the pass, or were about to when we lost sight of
// the answer.
func ours(p identity.Pass, l *ledger.Ledger) bool {
	return l.Pass != nil && (l.Pass.ID == p.ID || !l.Pass.Issuing.IsZero())
}

// startPass reports whether we issued a pass for a start, or may have. One that the
// help desk asked for is not HR's to withdraw.
func startPass(l *ledger.Ledger) bool {
	p := l.Pass
	if p == nil || p.ID == "" && p.Issuing.IsZero() {
		return false
	}
	switch p.Type {
	case event.Joiner, event.StartDateChanged, event.Rehire, "":
		return true
	default:
		return false
	}
}

// issuedFor reports whether this event's pass has been delivered.
func issuedFor(e event.Event, l *ledger.Ledger) bool {
	return l.Pass != nil && l.Pass.Key == e.Key && l.Pass.Delivered
}

// shortFirstDay reports whether less than four hours of the first day are left to
// the pass.
func shortFirstDay(in Input, s ledger.Statement, request identity.PassRequest, zone *time.Location) bool {
	from := request.StartsAt
	if from.IsZero() {
		from = in.Now
	}
	until := from.Add(request.Lifetime)
	if end := endOf(s.StartDate, zone); until.After(end) {
		until = end
	}
	return until.Sub(from) < shortDay
}

// endOf is the midnight that ends a local day.
func endOf(d event.Date, zone *time.Location) time.Time {
	return event.Date{Year: d.Year, Month: d.Month, Day: d.Day + 1}.At(0, 0, zone)
}
