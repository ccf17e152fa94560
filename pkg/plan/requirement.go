package plan

import (
	"fmt"
	"slices"
	"strings"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
)

// Requirement is a stronger demand on how somebody signs in: membership of a group that a
// Conditional Access policy demands it of. What the policy says is the tenant's; Methods
// are those of which a person needs one to meet it.
type Requirement struct {
	// Group is the object id of the group.
	Group   string
	Methods []identity.MethodKind
}

// decideRequirement plans what an mfa.requirement.set event asks for.
func decideRequirement(in Input) (Plan, error) {
	d, err := in.Event.MFA()
	if err != nil {
		return Plan{}, err
	}
	return require(in, d.Requirement), nil
}

// decideMove plans what follows a change of role: the requirement of the new role or
// department from its first day on, or else what settings say.
func decideMove(in Input) (Plan, error) {
	m, err := in.Event.Move()
	if err != nil {
		return Plan{}, err
	}
	name := in.Settings.MoveRequirements[strings.ToLower(m.Role)]
	if name == "" {
		name = in.Settings.MoveRequirements[strings.ToLower(m.Department)]
	}
	if name == "" {
		return respond(in, in.Settings.OnMove, flag.Moved, "the person changed role")
	}
	if !m.EffectiveDate.IsZero() {
		zone, err := zoneOf(in, m.TimeZone)
		if err != nil {
			return Plan{}, err
		}
		if zone == nil {
			return hold(NoTimeZone, "the event names no time zone and the settings have no default"), nil
		}
		if first := m.EffectiveDate.At(0, 0, zone); in.Now.Before(first) {
			return Plan{Decision: Wait, Reason: DueLater, Until: first, Detail: "the move takes effect on " + m.EffectiveDate.String()}, nil
		}
	}
	return require(in, name), nil
}

// require adds the person to the group of a requirement, but nobody who would be locked out
// by it: whoever has none of its methods registers one first.
func require(in Input, name string) Plan {
	r, known := in.Settings.Requirements[strings.ToLower(name)]
	switch {
	case !known:
		return hold(UnknownRequirement, fmt.Sprintf("the settings name no requirement %q; add it to MFAFLOW_REQUIREMENTS, then release the hold", name))
	case in.Tenant == nil:
		return Plan{Decision: ReadTenant}
	case in.Tenant.Account == nil:
		return Plan{Decision: NoUser, Detail: "the account is no longer in the directory"}
	case slices.ContainsFunc(in.Tenant.Membership.Groups, func(g string) bool { return strings.EqualFold(g, r.Group) }):
		return Plan{Decision: Nothing, Detail: "required already: the person is in the group"}
	}
	if p, yes := protected(in); yes {
		return p
	}
	switch {
	case in.Tenant.Account.External:
		return hold(ExternalGuest, "the methods of an account of another tenant are not ours to see")
	case !slices.ContainsFunc(in.Tenant.Methods, func(m identity.Method) bool { return slices.Contains(r.Methods, m.Kind) }):
		return hold(RequirementUnmet, "the person has none of the methods that the requirement takes ("+methodNames(r.Methods)+"); have them register one, then release the hold")
	}
	return act("required: "+strings.ToLower(name), Step{Action: AddToGroup, Group: strings.ToLower(r.Group)})
}

func methodNames(kinds []identity.MethodKind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}
