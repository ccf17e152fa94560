package plan

import (
	"fmt"
	"strings"

	"mfaflow/pkg/event"
)

// PolicyChange is what an mfa.method.policy event comes to by the plan that was made of it
// for the tenant as it is now. Texts name no person.
type PolicyChange struct {
	// Fault is why the event can never be carried out; empty for most.
	Fault string
	// Stale is why nobody can tell what the change does to people.
	Stale string
	// Unknown is what the event names and the tenant does not have.
	Unknown string
	// Ended says by which run the event was carried out before; Begun is true for one that has
	// steps left, which the rest is about.
	Ended string
	Begun bool
	// Digest is that of the plan, Steps are the titles of its steps.
	Digest string
	Steps  []string
	// Refusals are what nobody may take upon themselves.
	Refusals []string
	// Concerns are what two operators must take upon themselves, Warnings what somebody
	// must have read.
	Concerns []string
	Warnings []string
}

// decideMethodPolicy plans what an mfa.method.policy event asks for. The guards are those of
// an operator who plans and applies the same file: a refusal ends it, and what a human may
// take upon themselves is taken by two, for exactly the plan that they were shown.
func decideMethodPolicy(in Input) (Plan, error) {
	d, err := in.Event.PolicyChange()
	if err != nil {
		return Plan{}, err
	}
	c := in.Policy
	switch {
	case !in.Settings.MethodPolicy:
		return hold(MethodPolicyOff, "the settings let no event change the authentication methods policy; set MFAFLOW_METHOD_POLICY and give identity-worker the permission Policy.ReadWrite.AuthenticationMethod, then release the hold, or drop it"), nil
	case c == nil:
		return Plan{Decision: ReadTenant, NeedsPolicy: true}, nil
	case c.Fault != "":
		return Plan{}, fmt.Errorf("%w: %s", event.ErrBadData, c.Fault)
	case c.Ended != "":
		return Plan{Decision: Nothing, Detail: c.Ended}, nil
	case c.Begun:
		return change(c), nil
	case c.Stale != "":
		return hold(SnapshotStale, c.Stale), nil
	case c.Unknown != "":
		return hold(PolicyNames, c.Unknown), nil
	case len(c.Refusals) > 0:
		return Plan{Decision: Refuse, Detail: strings.Join(c.Refusals, "; ")}, nil
	case len(c.Steps) == 0:
		return Plan{Decision: Nothing, Detail: "the policy is as the event wants it"}, nil
	}
	memory := in.Ledger.PolicyOf(in.Event.Key)
	if in.released(PolicyApproval) && memory.Shown == c.Digest {
		return change(c), nil
	}
	why := c.Concerns
	switch {
	case memory.Disturbed:
		why = append([]string{"somebody else changed the policy while the event was carried out"}, why...)
	case in.released(PolicyApproval):
		why = append([]string{"the plan is another one than was released"}, why...)
	case d.Digest != "" && d.Digest != c.Digest:
		why = append([]string{"the plan is another one than the event names"}, why...)
	}
	if d.Digest != c.Digest {
		why = append(why, c.Warnings...)
	}
	if len(why) == 0 {
		return change(c), nil
	}
	p := hold(PolicyApproval, fmt.Sprintf("%s; plan %s: %s", strings.Join(why, "; "), c.Digest, strings.Join(c.Steps, ", ")))
	p.Approvals, p.Shows = 2, c.Digest
	return p, nil
}

func change(c *PolicyChange) Plan {
	return act("policy changed", Step{Action: ChangePolicy, Policy: c.Digest, Titles: c.Steps})
}
