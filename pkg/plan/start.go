package plan

import (
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
)

// decideStart plans a joiner, a joiner whose date moved, and a joiner who was here
// before: all three are one full statement.
func decideStart(in Input) (Plan, error) {
	s, err := StatementOf(in.Event)
	if err != nil {
		return Plan{}, err
	}
	if superseded(s, in.Ledger) {
		return obsolete(), nil
	}
	d, err := in.Event.Employment()
	if err != nil {
		return Plan{}, err
	}
	if s.StartDate.IsZero() {
		return Plan{}, fmt.Errorf("%w: startDate is missing", event.ErrBadData)
	}
	zone, err := zoneOf(in, d.TimeZone)
	if err != nil {
		return Plan{}, err
	}
	if zone == nil {
		return hold(NoTimeZone, "the statement names no time zone and none is configured"), nil
	}
	opens := s.StartDate.At(in.Settings.OpensAtHour, in.Settings.OpensAtMinute, zone)
	issueAt := opens.Add(-in.Settings.LeadTime)

	if in.Now.Before(issueAt) {
		wait := Plan{Decision: Wait, Reason: DueLater, Until: issueAt, Detail: "the pass is issued at " + issueAt.UTC().Format(time.RFC3339)}
		if startPass(in.Ledger) && in.Ledger.Pass.Key != s.Key {
			// The date moved away: a pass for the old date must not open.
			wait.Decision, wait.Steps, wait.After = Act, []Step{{Action: DeletePass}}, Wait
		}
		return wait, nil
	}
	if in.Now.After(opens.Add(in.Settings.PastStart)) && !in.released(StartDatePast) {
		return hold(StartDatePast, fmt.Sprintf("the start date is more than %d days past", int(in.Settings.PastStart.Hours()/24))), nil
	}
	if deliveredFor(s, in.Ledger) {
		return Plan{Decision: Nothing, Detail: "a pass for this start date was delivered already"}, nil
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}, nil
	}
	return decideFirstDay(in, s, opens, zone), nil
}

// deliveredFor reports whether the effect of the statement is on the tenant
// already: this event was interrupted after its delivery, or HR said the same thing
// before under another id.
func deliveredFor(s ledger.Statement, l *ledger.Ledger) bool {
	if l.Pass == nil || !l.Pass.Delivered {
		return false
	}
	return l.Pass.Key == s.Key || l.Applied != nil && l.Applied.StartDate == s.StartDate
}

// decideFirstDay judges the person and the tenant's policy for a pass that is due.
func decideFirstDay(in Input, s ledger.Statement, opens time.Time, zone *time.Location) Plan {
	t, a := in.Tenant, in.Tenant.Account
	if a == nil {
		return Plan{Decision: NoUser, Detail: "the account is no longer in the directory"}
	}
	if p, yes := protected(in); yes {
		return p
	}
	if compromised(in.Ledger) {
		return hold(CompromiseStands, "the person is blocked as compromised; nobody gets a pass before an operator lets them in")
	}
	back := s.Type == event.Rehire
	var steps []Step
	if !a.Enabled {
		switch {
		case back && in.Settings.UnblockReturning:
			steps = append(steps, Step{Action: UnblockSignIn})
		case in.Now.Before(opens) && !back:
			return Plan{Decision: Wait, Reason: AccountDisabled, Until: opens, Detail: "the account is still disabled; looked at again when the pass would open"}
		default:
			return hold(AccountDisabled, "the account is disabled; enable it, then release the hold")
		}
	}
	if why := registered(a, t.Methods, back); why != "" && !in.released(AlreadyRegistered) {
		if back {
			return act("the person still has a way in from before: "+why, steps...)
		}
		return hold(AlreadyRegistered, why)
	}
	if p, yes := noPass(in); yes {
		return p
	}
	if !in.Now.Before(opens) {
		opens = time.Time{}
	}
	step := issue(in, opens, zone)
	p := act("", append(steps, step)...)
	if shortFirstDay(in, s, step.Request, zone) {
		p.Flags = []Flag{{Cause: flag.ShortFirstDay, Detail: "the pass ends, or the day does, within four hours"}}
	}
	return p
}

// registered says why the account is not a blank one. Who comes back has signed in
// before.
func registered(a *identity.Account, methods []identity.Method, back bool) string {
	if list := usable(methods); len(list) > 0 {
		return fmt.Sprintf("the account has an authentication method already (%s)", list[0].Kind)
	}
	if !back && !a.LastSignIn.IsZero() {
		return "somebody has signed in to the account already"
	}
	return ""
}
