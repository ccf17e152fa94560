package plan

import (
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/ledger"
)

// decideLeave plans a leaver, or a leaver whose last day moved.
//
// The order is the one that shuts a person out soonest: no new sign-in, no old
// session, no pass. Methods are kept for the grace period, so that a wrong event
// by HR costs a person one unblocking and not their security keys.
func decideLeave(in Input) (Plan, error) {
	s, err := StatementOf(in.Event)
	if err != nil {
		return Plan{}, err
	}
	if superseded(s, in.Ledger) {
		return obsolete(), nil
	}
	at, p, err := leavesAt(in, s)
	if err != nil || p.Decision != "" {
		return p, err
	}
	if in.Now.Before(at) {
		wait := Plan{Decision: Wait, Reason: DueLater, Until: at, Detail: "the last day ends at " + at.UTC().Format(time.RFC3339)}
		if b := in.Ledger.Block; b != nil && b.For == ledger.BlockedAsLeaver {
			return unblockThen(in, wait), nil
		}
		return wait, nil
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}, nil
	}
	if in.Tenant.Account == nil {
		return Plan{Decision: Nothing, Detail: "the account is gone from the directory"}, nil
	}
	if p, yes := protected(in); yes {
		return p, nil
	}
	class := ClassLeaver
	if s.Immediate {
		class = ClassImmediateLeaver
	}
	if !in.Ledger.Step(s.Key, string(ShutOut)) {
		return shutOut(in, s, class), nil
	}
	return afterShutOut(in, s, class), nil
}

// leavesAt is when the person is shut out. A plan is returned when that cannot be
// told.
func leavesAt(in Input, s ledger.Statement) (time.Time, Plan, error) {
	if s.Immediate {
		return s.MadeAt, Plan{}, nil
	}
	if s.LastDay.IsZero() {
		return time.Time{}, Plan{}, fmt.Errorf("%w: lastDay is missing", event.ErrBadData)
	}
	d, err := in.Event.Employment()
	if err != nil {
		return time.Time{}, Plan{}, err
	}
	zone, err := zoneOf(in, d.TimeZone)
	if err != nil {
		return time.Time{}, Plan{}, err
	}
	if zone == nil {
		return time.Time{}, hold(NoTimeZone, "the statement names no time zone and none is configured"), nil
	}
	return endOf(s.LastDay, zone), Plan{}, nil
}

func shutOut(in Input, s ledger.Statement, class Class) Plan {
	a := in.Tenant.Account
	var steps []Step
	if a.Enabled {
		steps = append(steps, Step{Action: BlockSignIn, For: ledger.BlockedAsLeaver})
	}
	if !in.Ledger.Step(s.Key, string(RevokeSessions)) && !a.External {
		steps = append(steps, Step{Action: RevokeSessions})
	}
	if livePass(in.Tenant.Passes) {
		steps = append(steps, Step{Action: DeletePass})
	}
	steps = append(steps, Step{Action: Mark, Stage: ShutOut})
	p := Plan{Decision: Act, Class: class, Steps: steps, Detail: "shut out"}
	switch {
	case a.Synced:
		p.After, p.Reason, p.Until = Wait, SyncCheck, in.Now.Add(in.Settings.SyncCheck)
	case in.Settings.Grace > 0:
		p.After, p.Reason, p.Until = Wait, GracePeriod, in.Now.Add(in.Settings.Grace)
	default:
		p.Steps = append(p.Steps, Step{Action: RemoveMethods, Methods: Selection{All: true}})
		p.After = Nothing
	}
	return p
}

// afterShutOut looks again at a synced account, waits for the end of the grace
// period, and removes what is left.
func afterShutOut(in Input, s ledger.Statement, class Class) Plan {
	a := in.Tenant.Account
	shutOut := in.Ledger.ProgressOf(s.Key).At
	if b := in.Ledger.Block; b != nil && b.Key == s.Key {
		shutOut = b.At // an earlier step may have lifted the block of an earlier last day
	}
	graceEnds := shutOut.Add(in.Settings.Grace)
	if a.Enabled && in.Ledger.Block == nil && !in.released(AccountReenabled) {
		// No synchronisation did that: we lifted the block, because HR took the leaving
		// back or an operator said so.
		return hold(AccountReenabled, "the account of a leaver was unblocked since; ask HR, then release or drop the hold")
	}
	if a.Synced && !in.Ledger.Step(s.Key, string(Synced)) {
		if look := shutOut.Add(in.Settings.SyncCheck); in.Now.Before(look) { // resumed after a crash
			return Plan{Decision: Wait, Reason: SyncCheck, Until: look, Detail: "looked at again at " + look.UTC().Format(time.RFC3339)}
		}
		p := blockOutlived(in, ledger.BlockedAsLeaver, class)
		p.After, p.Reason, p.Until = Wait, GracePeriod, graceEnds
		return p
	}
	if in.Now.Before(graceEnds) {
		return Plan{Decision: Wait, Reason: GracePeriod, Until: graceEnds, Detail: "methods are kept until " + graceEnds.UTC().Format(time.RFC3339)}
	}
	if a.Enabled && !in.released(AccountReenabled) {
		return hold(AccountReenabled, "somebody enabled the account of a leaver; ask HR, then release or drop the hold")
	}
	var steps []Step
	if livePass(in.Tenant.Passes) {
		steps = append(steps, Step{Action: DeletePass})
	}
	p := act("methods removed after the grace period", append(steps, Step{Action: RemoveMethods, Methods: Selection{All: true}})...)
	p.Class = class
	return p
}

// blockOutlived looks at a synced account after its directory has synchronised: the
// synchronisation may have enabled it again.
func blockOutlived(in Input, why ledger.BlockedBy, class Class) Plan {
	p := Plan{Decision: Act, Class: class, Steps: []Step{{Action: Mark, Stage: Synced}}, After: Nothing, Detail: "the block outlived a synchronisation"}
	if in.Tenant.Account.Enabled {
		p.Detail = "a synchronisation undid the block"
		p.Steps = append([]Step{{Action: BlockSignIn, For: why}, {Action: RevokeSessions}}, p.Steps...)
		p.Flags = []Flag{{Cause: flag.BlockUndone, Detail: "the account is synchronised from an on-premises directory, which enabled it again; disable it there"}}
	}
	return p
}

// unblockThen lifts a leaver's block because HR took the leaving back, if the
// owner lets that happen without an operator.
func unblockThen(in Input, next Plan) Plan {
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}
	}
	if in.Tenant.Account == nil {
		return Plan{Decision: Nothing, Detail: "the account is gone from the directory"}
	}
	if p, yes := protected(in); yes {
		return p
	}
	agreed := in.released(StillBlocked) || in.released(ProtectedPerson)
	switch {
	case compromised(in.Ledger):
		return hold(CompromiseStands, "the person is blocked as compromised too; an operator lets them in")
	case in.Ledger.Block.Immediate && !agreed:
		return hold(StillBlocked, "the person was shut out at once, which only a rehire undoes by itself; release the hold to unblock the account")
	case !in.Settings.UnblockReturning && !agreed:
		return hold(StillBlocked, "the person was shut out before HR took it back; release the hold to unblock the account")
	case next.Decision == Wait:
		next.Decision, next.After, next.Steps = Act, Wait, []Step{{Action: UnblockSignIn}}
		return next
	default:
		return act(next.Detail, Step{Action: UnblockSignIn})
	}
}

func isStart(t event.Type) bool {
	return t == event.Joiner || t == event.StartDateChanged || t == event.Rehire
}

// decideCancelled plans the withdrawal of a joiner or a leaver.
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
		return obsolete(), nil
	}
	l := in.Ledger
	switch {
	case d.Cancels == "leaver" && l.Block != nil && l.Block.For == ledger.BlockedAsLeaver:
		return unblockThen(in, Plan{Decision: Nothing, Detail: "the leaving was withdrawn after the person was shut out"}), nil
	case d.Cancels == "leaver" && l.Statement != nil && isStart(l.Statement.Type):
		// It must not take the place of the start.
		return Plan{Decision: Obsolete, Detail: "the person starts: there is no leaving to withdraw"}, nil
	case d.Cancels == "leaver":
		return Plan{Decision: Nothing, Detail: "the leaving was withdrawn in time"}, nil
	case d.Cancels != "joiner":
		return Plan{}, fmt.Errorf("%w: cancels is neither joiner nor leaver", event.ErrBadData)
	case !startPass(l) && l.Statement != nil && (l.Statement.Type == event.Leaver || l.Statement.Type == event.LastDayChanged):
		// It must not take the place of the leaving.
		return Plan{Decision: Obsolete, Detail: "the person leaves or has left: there is no start to withdraw"}, nil
	case startPass(l):
		return act("the start was withdrawn after a pass was issued", Step{Action: DeletePass}), nil
	default:
		return Plan{Decision: Nothing, Detail: "the start was withdrawn before a pass was issued"}, nil
	}
}
