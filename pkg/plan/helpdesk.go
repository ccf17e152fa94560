package plan

import (
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
)

// Selection picks the methods to remove. The password and passes are never picked.
type Selection struct {
	All bool `json:"all,omitempty"`
	// After picks what was registered after a moment. A method without a creation
	// time cannot be judged and stays.
	After time.Time `json:"after,omitzero"`
	// Refs picks by id, or all of a kind.
	Refs []event.MethodRef `json:"refs,omitempty"`
	// Spare leaves what was registered from a moment on, whatever else picks it.
	Spare time.Time `json:"spare,omitzero"`
}

// Picks reports whether the method is to be removed, and whether that could be
// judged.
func (s Selection) Picks(m identity.Method) (picked, judged bool) {
	if m.Kind == identity.MethodPassword || m.Kind == identity.MethodTemporaryAccessPass {
		return false, true
	}
	if !s.Spare.IsZero() && !m.CreatedAt.IsZero() && !m.CreatedAt.Before(s.Spare) {
		return false, true
	}
	switch {
	case s.All:
		return true, true
	case !s.After.IsZero():
		return m.CreatedAt.After(s.After), !m.CreatedAt.IsZero()
	}
	for _, r := range s.Refs {
		if r.ID == m.ID && (r.Kind == "" || r.Kind == m.Kind) || r.ID == "" && r.Kind == m.Kind {
			return true, true
		}
	}
	return false, true
}

// decideHelpDesk plans what the help desk reports.
func decideHelpDesk(in Input) (Plan, error) {
	d, err := in.Event.MFA()
	if err != nil {
		return Plan{}, err
	}
	flagged := func(cause flag.Cause, detail string) Plan {
		return Plan{Decision: Nothing, Detail: "flagged, nothing is reset", Flags: []Flag{{Cause: cause, Detail: detail}}}
	}
	unrequested := in.Event.Type == event.CodesUnrequested
	switch {
	case in.Event.Type == event.CodesNotReceived:
		return flagged(flag.CodesNotReceived, "codes sent by "+string(d.Channel)+" do not arrive"), nil
	case in.Event.Type == event.TemporarilyBlocked && !d.PassRequested:
		return flagged(flag.TemporarilyBlocked, "the person is asked to try another verification method"), nil
	case in.Tenant == nil || unrequested && in.Tenant.Risk == nil:
		return Plan{Decision: ReadTenant, NeedsRisk: unrequested}, nil
	case in.Tenant.Account == nil:
		return Plan{Decision: NoUser, Detail: "the account is no longer in the directory"}, nil
	}
	switch in.Event.Type {
	case event.DeviceStolen:
		return answer(in, flag.DeviceStolen, "a device was stolen"), nil
	case event.CodesUnrequested:
		atRisk := in.Tenant.Risk.Active() && in.Tenant.Risk.Level != identity.RiskLow
		if d.Repeated || atRisk || in.Ledger.Step(in.Event.Key, string(Answered)) {
			return answer(in, flag.CodesUnrequested, "codes arrive that the person did not ask for"), nil
		}
		return flagged(flag.CodesUnrequested, "a code arrived that the person did not ask for"), nil
	case event.TemporarilyBlocked:
		p := remedy(in, Selection{}, remedyOptions{pass: true})
		p.Flags = append(p.Flags, Flag{Cause: flag.TemporarilyBlocked, Detail: "the person is asked to try another verification method; an operator asked for a pass"})
		return p, nil
	case event.DeviceLost:
		if len(d.Methods) == 0 {
			p := hold(MethodsNotNamed, "the event does not say which methods were on the device; look them up and send it again with them, or require re-registration")
			p.Flags = []Flag{{Cause: flag.DeviceLost, Detail: "a device was lost and its methods are not known"}}
			return p, nil
		}
		return remedy(in, Selection{Refs: d.Methods}, remedyOptions{pass: true, revoke: true}), nil
	case event.AccessLost:
		return remedy(in, Selection{Refs: d.Methods}, remedyOptions{}), nil
	default:
		return reregister(in, d), nil
	}
}

func reregister(in Input, d event.MFA) Plan {
	switch d.Mode {
	case event.ReregisterFull:
		return remedy(in, Selection{All: true}, remedyOptions{pass: true, revoke: true})
	case event.ReregisterSurgical:
		return remedy(in, Selection{After: d.RegisteredAfter}, remedyOptions{revoke: true})
	case event.ReregisterNamed:
		return remedy(in, Selection{Refs: d.Methods}, remedyOptions{revoke: true})
	default:
		return hold(NotSupported, "the mode of the re-registration is not known")
	}
}

type remedyOptions struct {
	pass   bool // a pass in any case, not only when nothing usable is left
	revoke bool
}

// remedy removes methods of a person who stays: whoever would be left without a
// way in gets a pass before anything is taken from them. It needs the tenant.
func remedy(in Input, sel Selection, o remedyOptions) Plan {
	t, key := in.Tenant, in.Event.Key
	if t.Account == nil {
		return Plan{Decision: NoUser, Detail: "the account is no longer in the directory"}
	}
	if p, yes := protected(in); yes {
		return p
	}
	switch {
	case compromised(in.Ledger):
		return hold(CompromiseStands, "the person is blocked as compromised; an operator lets them in")
	case t.Account.External:
		return hold(ExternalGuest, "the methods of an account of another tenant are not ours to remove")
	case !t.Account.Enabled:
		return hold(AccountDisabled, "the account is disabled; enable it, then release the hold")
	case in.Ledger.Block != nil && !in.released(AccountReenabled):
		return hold(AccountReenabled, "the person has left and somebody enabled the account; find out who and why before anybody gets a pass")
	}
	delivered := issuedFor(in.Event, in.Ledger)
	if delivered {
		// The event was interrupted. What the person has registered since with the
		// pass is what the event is for.
		sel.Spare = in.Ledger.Pass.StartsAt
	}
	removed := in.Ledger.Step(key, string(RemoveMethods))
	var steps []Step
	left := 0
	chosen := false
	var unjudged []string
	for _, m := range t.Methods {
		picked, judged := sel.Picks(m)
		picked = picked && !removed
		chosen = chosen || picked
		if !judged {
			unjudged = append(unjudged, string(m.Kind))
		}
		if !picked && m.UsableForMFA() {
			left++
		}
	}
	// A pass that has ended before the methods were removed is no way in.
	delivered = delivered && (livePass(t.Passes) || !chosen || left > 0)
	if (o.pass || chosen && left == 0) && !delivered {
		if p, yes := noPass(in); yes {
			return p
		}
		steps = append(steps, issue(in, time.Time{}, in.Settings.DefaultZone))
	}
	if chosen {
		steps = append(steps, Step{Action: RemoveMethods, Methods: sel})
	}
	if o.revoke && !in.Ledger.Step(key, string(RevokeSessions)) {
		steps = append(steps, Step{Action: RevokeSessions})
	}
	if len(steps) == 0 {
		return Plan{Decision: Nothing, Detail: "none of the methods is registered"}
	}
	p := act("no method removed", steps...)
	if chosen {
		p.Detail, p.Class = "methods removed", ClassReregistration
	} else if len(unjudged) > 0 { // removing reports them by itself
		p.Flags = []Flag{{Cause: flag.MethodsRemain, Detail: "not judged, without a creation time: " + strings.Join(unjudged, ", ")}}
	}
	return p
}
