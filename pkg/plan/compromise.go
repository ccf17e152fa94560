package plan

import (
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
)

// answer plans the response to a compromise: no sign-in, no session, no pass, no
// method, a password that nobody knows, and a human who is told. It needs the
// tenant.
func answer(in Input, cause flag.Cause, detail string) Plan {
	t, key := in.Tenant, in.Event.Key
	if t.Account == nil {
		return Plan{Decision: Nothing, Detail: "the account is gone from the directory"}
	}
	if sameIncident(in) {
		return Plan{
			Decision: Nothing, Detail: "a further signal of an incident that was answered: recorded and flagged, nothing is reset again",
			Flags: []Flag{{Cause: cause, Detail: detail + "; a signal of an incident that was answered before"}},
		}
	}
	if p, yes := protected(in); yes {
		p.Flags = []Flag{{Cause: cause, Detail: detail + "; the person is protected, so nothing was done yet"}}
		return p
	}
	if in.Ledger.Step(key, string(Answered)) {
		return afterAnswer(in)
	}
	var steps []Step
	if t.Account.Enabled {
		steps = append(steps, Step{Action: BlockSignIn, For: ledger.BlockedAsCompromise})
	}
	if !in.Ledger.Step(key, string(RevokeSessions)) && !t.Account.External {
		steps = append(steps, Step{Action: RevokeSessions})
	}
	if livePass(t.Passes) {
		steps = append(steps, Step{Action: DeletePass})
	}
	steps = append(steps, Step{Action: RemoveMethods, Methods: Selection{All: true}})
	p := Plan{Decision: Act, Class: ClassCompromise, After: Nothing, Detail: "answered as a compromise", Flags: []Flag{{Cause: cause, Detail: detail}}}
	if t.Account.Synced {
		p.Flags = append(p.Flags, Flag{Cause: flag.DisableOnPremises, Detail: "the account is synchronised from an on-premises directory: disable it and reset its password there"})
		p.After, p.Reason, p.Until = Wait, SyncCheck, in.Now.Add(in.Settings.SyncCheck)
	} else if !in.Ledger.Step(key, string(RandomPassword)) && !t.Account.External {
		steps = append(steps, Step{Action: RandomPassword})
	}
	p.Steps = append(steps, Step{Action: Mark, Stage: Answered})
	return p
}

// afterAnswer looks again at a synced account, not before its directory has
// synchronised: whoever resumes after a crash may come early.
func afterAnswer(in Input) Plan {
	if c := in.Ledger.Compromise; c != nil && c.Key == in.Event.Key {
		if c.Released {
			return Plan{Decision: Nothing, Detail: "an operator let the person in since"}
		}
		if look := c.HandledAt.Add(in.Settings.SyncCheck); in.Tenant.Account.Synced && in.Now.Before(look) {
			return Plan{Decision: Wait, Reason: SyncCheck, Until: look, Detail: "looked at again at " + look.UTC().Format(time.RFC3339)}
		}
	}
	return blockOutlived(in, ledger.BlockedAsCompromise, ClassCompromise)
}

// sameIncident reports whether the signal belongs to an incident that was answered:
// it is from before the answer, or from the settle window without a method that was
// registered since.
func sameIncident(in Input) bool {
	c := in.Ledger.Compromise
	if c == nil || c.Key == in.Event.Key {
		return false
	}
	if !in.Event.Time.After(c.HandledAt) {
		return true
	}
	return in.Now.Before(c.Until) && !registeredSince(in.Tenant.Methods, c.HandledAt)
}

func registeredSince(methods []identity.Method, t time.Time) bool {
	for _, m := range usable(methods) {
		if m.CreatedAt.After(t) {
			return true
		}
	}
	return false
}

// decideRisk is level-triggered: the event is a reason to look, the risk read now
// decides.
func decideRisk(in Input) (Plan, error) {
	if _, err := in.Event.Risk(); err != nil {
		return Plan{}, err
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant, NeedsRisk: true}, nil
	}
	r := in.Tenant.Risk
	switch {
	case r == nil:
		return Plan{Decision: ReadTenant, NeedsRisk: true}, nil
	case in.Ledger.Step(in.Event.Key, string(Answered)):
		return answer(in, flag.Compromised, "the user risk was high"), nil
	case !r.Active():
		return Plan{Decision: Nothing, Detail: "the directory no longer sees a risk"}, nil
	case r.Level == identity.RiskHigh, r.State == identity.RiskStateConfirmedCompromised:
		return answer(in, flag.Compromised, "the user risk is high"), nil
	case r.Level == identity.RiskMedium:
		return Plan{Decision: Nothing, Detail: "medium risk: flagged", Flags: []Flag{{Cause: flag.RiskRaised, Detail: "the user risk is medium"}}}, nil
	case r.Level == identity.RiskLow:
		return Plan{Decision: Nothing, Detail: "low risk: recorded"}, nil
	default:
		return Plan{Decision: Nothing, Detail: "the directory does not tell the level of the risk: flagged", Flags: []Flag{{Cause: flag.RiskRaised, Detail: "the user is at risk; the level needs a licence to be read"}}}, nil
	}
}

// decideLetIn plans what follows an operator's word after identity proofing:
// unblock, pass, delivery.
func decideLetIn(in Input) (Plan, error) {
	if !compromised(in.Ledger) && !in.Ledger.Step(in.Event.Key, string(UnblockSignIn)) {
		return Plan{Decision: Nothing, Detail: "no compromise block stands"}, nil
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}, nil
	}
	a := in.Tenant.Account
	if a == nil {
		return Plan{Decision: NoUser, Detail: "the account is no longer in the directory"}, nil
	}
	if p, yes := protected(in); yes {
		return p, nil
	}
	if left(in.Ledger) {
		// Of two blocks the operator lifts one; the other is HR's to take back.
		return act("the compromise is over; the person has left and stays shut out", Step{Action: Mark, Stage: LetIn, For: ledger.BlockedAsLeaver}), nil
	}
	var steps []Step
	if !a.Enabled {
		steps = append(steps, Step{Action: UnblockSignIn})
	}
	if !a.External && !issuedFor(in.Event, in.Ledger) {
		if p, yes := noPass(in); yes {
			return p, nil
		}
		steps = append(steps, issue(in, time.Time{}, in.Settings.DefaultZone))
	}
	return act("let in by an operator", append(steps, Step{Action: Mark, Stage: LetIn})...), nil
}

// left reports whether a leaver who was shut out stays one by what HR said last.
func left(l *ledger.Ledger) bool {
	s := l.Statement
	return s != nil && (s.Type == event.Leaver || s.Type == event.LastDayChanged) &&
		(l.Step(s.Key, string(ShutOut)) || l.Applied != nil && l.Applied.Key == s.Key)
}

// respond makes of a signal what the owner's settings say.
func respond(in Input, r Response, cause flag.Cause, detail string) (Plan, error) {
	flagged := []Flag{{Cause: cause, Detail: detail}}
	switch r {
	case Record:
		return Plan{Decision: Nothing, Detail: detail + ": recorded"}, nil
	case RaiseFlag:
		return Plan{Decision: Nothing, Detail: detail + ": flagged", Flags: flagged}, nil
	default: // the others change something, and need the tenant
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}, nil
	}
	if in.Tenant.Account == nil {
		return Plan{Decision: Nothing, Detail: "the account is gone from the directory"}, nil
	}
	switch r {
	case Revoke:
		if in.Tenant.Account.External {
			return Plan{Decision: Nothing, Detail: detail + ": the sessions of an account of another tenant cannot be revoked", Flags: flagged}, nil
		}
		if p, yes := protected(in); yes {
			p.Flags = flagged
			return p, nil
		}
		p := act(detail+": sessions revoked", Step{Action: RevokeSessions})
		p.Flags = flagged
		return p, nil
	case Reregister:
		return remedy(in, Selection{All: true}, remedyOptions{pass: true, revoke: true}), nil
	case Compromise:
		return answer(in, cause, detail), nil
	default:
		return hold(NotSupported, "the settings name no response to events of type "+string(in.Event.Type)), nil
	}
}

// decideLocked flags a lock. Nothing unlocks a smart lockout but time: Graph has no
// call for it.
func decideLocked(in Input) (Plan, error) {
	d, err := in.Event.Lockout()
	if err != nil {
		return Plan{}, err
	}
	if d.Cause == event.LockDisabled && in.Ledger.Block != nil {
		return Plan{Decision: Nothing, Detail: "the account is blocked by mfaflow, and somebody tried to sign in"}, nil
	}
	cause := map[event.LockCause]flag.Cause{
		event.LockSmartLockout: flag.SmartLockout, event.LockTooManyAttempts: flag.TooManyAttempts,
		event.LockOnPremises: flag.LockedOnPremises, event.LockMaliciousAddress: flag.MaliciousAddress,
		event.LockDisabled: flag.AccountDisabled, event.LockRisk: flag.RiskBlock, event.LockConditionalAccess: flag.ConditionalAccessBlock,
		event.LockPassUnusable: flag.PassUnusable, event.LockNoUsableMethod: flag.NoUsableMethod, event.LockUnknown: flag.Locked,
	}[d.Cause]
	return Plan{
		Decision: Nothing, Detail: "locked out: flagged, nothing is reset",
		Flags: []Flag{{Cause: cause, Detail: "the person cannot sign in", UnlockAt: d.UnlockAt}},
	}, nil
}

// decideChanged compares the account with what we wrote last, so that our own
// writes do not echo.
func decideChanged(in Input) (Plan, error) {
	if _, err := in.Event.AccountUpdate(); err != nil {
		return Plan{}, err
	}
	if in.Ledger.Block == nil && in.Ledger.Pass == nil {
		return Plan{Decision: Nothing, Detail: "nothing of ours is on the account"}, nil
	}
	if in.Tenant == nil {
		return Plan{Decision: ReadTenant}, nil
	}
	a, l := in.Tenant.Account, in.Ledger
	switch {
	case a == nil:
		return Plan{Decision: Nothing, Detail: "the account was deleted: whatever waits for it ends there"}, nil
	case a.Enabled && l.Block != nil:
		return Plan{
			Decision: Nothing, Detail: "somebody enabled an account that mfaflow had blocked",
			Flags: []Flag{{Cause: flag.BlockUndone, Detail: "the account was blocked by mfaflow and is enabled again; find out who did it"}},
		}, nil
	case !a.Enabled && l.Block == nil && l.Pass != nil && livePass(in.Tenant.Passes):
		p := act("the account was disabled outside: its pass is withdrawn", Step{Action: DeletePass})
		p.Flags = []Flag{{Cause: flag.AccountDisabled, Detail: "the account was disabled outside mfaflow while it had a pass"}}
		return p, nil
	default:
		return Plan{Decision: Nothing, Detail: "nothing changed that concerns us"}, nil
	}
}
