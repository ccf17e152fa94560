package posture

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mfaflow/pkg/identity"
)

// Change is something that an administrator could do to a tenant. String is how ParseChange
// takes it, for those that it takes.
type Change interface {
	fmt.Stringer
	// apply changes a snapshot whose policies are its own.
	apply(*Snapshot) error
}

// ErrNoSuchPolicy: a change names a policy that the tenant does not have.
var ErrNoSuchPolicy = errors.New("no such policy")

// ErrDefaultsBesidePolicies: security defaults and enforced Conditional Access policies
// exclude each other (Entra, security-defaults).
var ErrDefaultsBesidePolicies = errors.New("security defaults cannot be on beside enforced Conditional Access policies")

// With is the snapshot after the changes, one after the other. The snapshot itself stays
// as it is. What the service would refuse is ErrDefaultsBesidePolicies.
func (s Snapshot) With(changes ...Change) (Snapshot, error) {
	p := &s.Policies
	p.Conditional = slices.Clone(p.Conditional)
	p.Strengths = maps.Clone(p.Strengths)
	p.Methods.Methods = maps.Clone(p.Methods.Methods)
	s.People = slices.Clone(s.People)
	for _, c := range changes {
		if err := c.apply(&s); err != nil {
			return Snapshot{}, fmt.Errorf("%s: %w", c, err)
		}
	}
	if len(changes) > 0 && p.SecurityDefaults == Yes {
		for _, ca := range p.Conditional {
			if ca.State == PolicyEnabled {
				return Snapshot{}, fmt.Errorf("%w: %q is enforced", ErrDefaultsBesidePolicies, ca.DisplayName)
			}
		}
	}
	return s, nil
}

// SecurityDefaults switches them.
type SecurityDefaults struct{ On bool }

func (c SecurityDefaults) String() string { return "security-defaults=" + onOff(c.On) }

func (c SecurityDefaults) apply(s *Snapshot) error {
	s.Policies.SecurityDefaults = AnswerOf(c.On)
	return nil
}

// SetPolicyState gives a Conditional Access policy, named by id or by display name, a
// state.
type SetPolicyState struct {
	Policy string
	State  PolicyState
}

func (c SetPolicyState) String() string {
	switch c.State {
	case PolicyEnabled:
		return "enforce=" + c.Policy
	case PolicyReportOnly:
		return "report-only=" + c.Policy
	default:
		return "disable=" + c.Policy
	}
}

func (c SetPolicyState) apply(s *Snapshot) error {
	i, err := s.Policies.find(c.Policy)
	if err == nil {
		s.Policies.Conditional[i].State = c.State
	}
	return err
}

// find is the place of the policy with an id, or with a display name that is the only one.
func (p *Policies) find(name string) (int, error) {
	found := -1
	for i := range p.Conditional {
		switch ca := &p.Conditional[i]; {
		case strings.EqualFold(ca.ID, name):
			return i, nil
		case !strings.EqualFold(ca.DisplayName, name):
		case found >= 0:
			return 0, fmt.Errorf("several policies are called %q: use an id", name)
		default:
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("%w: %q", ErrNoSuchPolicy, name)
	}
	return found, nil
}

// PutPolicy adds a Conditional Access policy, or replaces the one with its id.
type PutPolicy struct{ Policy ConditionalPolicy }

func (c PutPolicy) String() string { return "put policy " + c.Policy.DisplayName }

func (c PutPolicy) apply(s *Snapshot) error {
	list := s.Policies.Conditional
	for i := range list {
		if list[i].ID == c.Policy.ID {
			list[i] = c.Policy
			return nil
		}
	}
	s.Policies.Conditional = append(list, c.Policy)
	return nil
}

// RemovePolicy deletes a Conditional Access policy, named by id or by display name.
type RemovePolicy struct{ Policy string }

func (c RemovePolicy) String() string { return "remove=" + c.Policy }

func (c RemovePolicy) apply(s *Snapshot) error {
	i, err := s.Policies.find(c.Policy)
	if err == nil {
		s.Policies.Conditional = slices.Delete(s.Policies.Conditional, i, i+1)
	}
	return err
}

// PutStrength adds an authentication strength, or replaces the one with its id.
type PutStrength struct{ Strength Strength }

func (c PutStrength) String() string { return "put strength " + c.Strength.DisplayName }

func (c PutStrength) apply(s *Snapshot) error {
	if s.Policies.Strengths == nil {
		s.Policies.Strengths = map[string]Strength{}
	}
	s.Policies.Strengths[c.Strength.ID] = c.Strength
	return nil
}

// SetMethodState switches a method of the methods policy for all its targets.
type SetMethodState struct {
	// Method is the id of the configuration, such as sms.
	Method string
	On     bool
}

func (c SetMethodState) String() string { return "method:" + c.Method + "=" + onOff(c.On) }

func (c SetMethodState) apply(s *Snapshot) error {
	id := strings.ToLower(c.Method)
	m, ok := s.Policies.Methods.Methods[id]
	if !ok {
		return fmt.Errorf("%w for method %q; there are %s", ErrNoSuchPolicy, c.Method,
			strings.Join(slices.Sorted(maps.Keys(s.Policies.Methods.Methods)), ", "))
	}
	m.Enabled = c.On
	s.Policies.Methods.Methods[id] = m
	return nil
}

// PutMethod replaces the configuration of a method.
type PutMethod struct{ Setting MethodSetting }

func (c PutMethod) String() string { return "put method " + c.Setting.ID }

func (c PutMethod) apply(s *Snapshot) error {
	if s.Policies.Methods.Methods == nil {
		return errors.New("the methods policy is not known")
	}
	s.Policies.Methods.Methods[strings.ToLower(c.Setting.ID)] = c.Setting
	return nil
}

// SetPass replaces the limits of Temporary Access Passes.
type SetPass struct{ Pass PassSetting }

func (c SetPass) String() string { return "set the limits of passes" }

func (c SetPass) apply(s *Snapshot) error {
	s.Policies.Methods.Pass = c.Pass
	return nil
}

// SetSystemPreferred gives system-preferred MFA a state. It decides which of several
// methods is asked for first, so that nobody gains or loses a way in by it.
type SetSystemPreferred struct{ State string }

func (c SetSystemPreferred) String() string { return "system-preferred MFA " + c.State }

func (c SetSystemPreferred) apply(s *Snapshot) error {
	s.Policies.Methods.SystemPreferred = c.State
	return nil
}

// SetCampaign replaces the registration campaign. Nobody registers anything by that alone;
// see RunCampaign.
type SetCampaign struct{ Campaign Campaign }

func (c SetCampaign) String() string { return "campaign " + c.Campaign.State }

func (c SetCampaign) apply(s *Snapshot) error {
	s.Policies.Methods.Campaign = c.Campaign
	return nil
}

// RunCampaign is the tenant after everybody whom the registration campaign nudges has done
// as told. It nudges after MFA was passed, so who cannot do MFA today is not helped by it; as
// Microsoft chooses, it nudges those who use messages or calls (Entra,
// how-to-mfa-registration-campaign).
type RunCampaign struct{}

func (RunCampaign) String() string { return "campaign=run" }

func (c RunCampaign) apply(s *Snapshot) error {
	policy := &s.Policies.Methods
	if policy.Campaign.State == "disabled" {
		return errors.New("the registration campaign is disabled and nudges nobody; a policy file enables it")
	}
	e := &evaluator{s: s, circle: newCircle(s)}
	for i := range s.People {
		p := &s.People[i]
		j := &judgement{e: e, i: i, p: p}
		j.means()
		if !p.Enabled || p.Kind.External() || j.mfa != Yes || policy.Campaign.State != "enabled" && (j.phones == 0 || j.phones != j.factors) {
			continue
		}
		if targeted(policy.Campaign.Exclude, string(p.ID), j.in) != No {
			continue
		}
		for _, t := range policy.Campaign.Include {
			if targeted([]Target{t}, string(p.ID), j.in) != Yes {
				continue
			}
			nudged := AuthenticatorPush
			if strings.EqualFold(t.Method, "fido2") {
				nudged = SecurityKey
			}
			if j.allows(nudged.services()[0]) == Yes && !slices.Contains(p.Registration.Methods, nudged) {
				p.Registration.Methods = append(slices.Clone(p.Registration.Methods), nudged)
			}
		}
	}
	return nil
}

// SetPerUserMFA gives people, or everybody if Users is nil, a state of per-user MFA.
type SetPerUserMFA struct {
	Users []identity.UserID
	State PerUserMFA
}

func (c SetPerUserMFA) String() string { return "per-user-mfa=" + string(c.State) }

func (c SetPerUserMFA) apply(s *Snapshot) error {
	if c.State.required() == Unknown {
		return fmt.Errorf("%q is no state of per-user MFA; there are disabled, enabled and enforced", c.State)
	}
	chosen := make(map[identity.UserID]bool, len(c.Users))
	for _, id := range c.Users {
		chosen[id] = true
	}
	for i := range s.People {
		if c.Users == nil || chosen[s.People[i].ID] {
			s.People[i].PerUserMFA = c.State
		}
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// ParseChange reads a change as people write it:
//
//	security-defaults=on|off
//	enforce=POLICY  report-only=POLICY  disable=POLICY  remove=POLICY
//	method:ID=on|off
//	campaign=run
//	per-user-mfa=disabled|enabled|enforced
func ParseChange(text string) (Change, error) {
	name, value, _ := strings.Cut(text, "=")
	on := value == "on"
	method, isMethod := strings.CutPrefix(name, "method:")
	switch {
	case (name == "security-defaults" || isMethod) && !on && value != "off":
		return nil, fmt.Errorf("%q: say %s=on or %s=off", text, name, name)
	case isMethod && method == "":
		return nil, fmt.Errorf("%q: say which method, such as method:sms=off", text)
	case name == "security-defaults":
		return SecurityDefaults{On: on}, nil
	case isMethod:
		return SetMethodState{Method: method, On: on}, nil
	case name == "campaign" && value == "run":
		return RunCampaign{}, nil
	case value == "":
	case name == "enforce":
		return SetPolicyState{value, PolicyEnabled}, nil
	case name == "report-only":
		return SetPolicyState{value, PolicyReportOnly}, nil
	case name == "disable":
		return SetPolicyState{value, PolicyDisabled}, nil
	case name == "remove":
		return RemovePolicy{value}, nil
	case name == "per-user-mfa":
		c := SetPerUserMFA{State: PerUserMFA(value)}
		return c, c.apply(&Snapshot{})
	}
	return nil, fmt.Errorf("%q is no change; there are security-defaults=on|off, enforce=POLICY, report-only=POLICY, disable=POLICY, remove=POLICY, method:ID=on|off, campaign=run and per-user-mfa=STATE", text)
}

// Shift is a person whose verdict differs between two evaluations of the same people.
type Shift struct {
	// Person is the place among the people.
	Person           int
	From, FromAtBest Verdict
	To, ToAtBest     Verdict
}

// Shifts are the people whose verdict, the worst or the best one, differs between two
// evaluations of the same people.
func Shifts(before, after Evaluation) []Shift {
	var list []Shift
	for i := range min(len(before.Results), len(after.Results)) {
		b, a := before.Results[i], after.Results[i]
		if b.Verdict != a.Verdict || b.AtBest != a.AtBest {
			list = append(list, Shift{Person: i, From: b.Verdict, FromAtBest: b.AtBest, To: a.Verdict, ToAtBest: a.AtBest})
		}
	}
	return list
}
