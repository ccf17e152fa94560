package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// NoneConfigured stands in a file that was made of a tenant, where nobody said which
// accounts are for emergencies.
const NoneConfigured = "nobody has said yet which accounts are for emergencies"

const (
	// mostReferences and mostRules are how many a file's lists hold by its schema.
	mostReferences = 1000
	mostRules      = 100
)

// Show is the file that asks for what a tenant has now. What a file cannot say is left out,
// and told in the notes, as is what a plan of the file would change all the same.
func (p Planner) Show(ctx context.Context, s posture.Snapshot) (File, []string, error) {
	w := &writing{ctx: ctx, s: &s, groups: p.Groups, known: map[identity.UserID]string{}}
	upns := map[string]int{}
	for i := range s.People {
		upns[strings.ToLower(s.People[i].UserPrincipalName)]++
	}
	for i := range s.People {
		name := s.People[i].UserPrincipalName
		if name == "" || upns[strings.ToLower(name)] > 1 {
			name = string(s.People[i].ID)
		}
		w.known[s.People[i].ID] = name
	}
	var f File
	for _, id := range s.BreakGlass {
		if name, ok := w.known[id]; ok {
			f.BreakGlass.Accounts = append(f.BreakGlass.Accounts, name)
		} else {
			w.note("the break-glass account %s is not in the tenant", id)
		}
	}
	if len(f.BreakGlass.Accounts) == 0 {
		f.BreakGlass.None = NoneConfigured
	}
	if !s.Missing(posture.FactMethodsPolicy) {
		w.methods(&f)
	}
	switch s.Policies.SecurityDefaults {
	case posture.Yes:
		f.SecurityDefaults = stateEnabled
	case posture.No:
		f.SecurityDefaults = stateDisabled
	default:
	}
	names := map[string]bool{}
	for _, c := range s.Policies.Conditional {
		one, ok := w.policy(c)
		if !ok {
			continue
		}
		alone := File{BreakGlass: f.BreakGlass, Conditional: []Policy{one}}
		text, err := alone.YAML()
		if err != nil {
			return File{}, nil, err
		}
		if _, err := Parse(text); err != nil || names[strings.ToLower(one.Name)] {
			w.note("the policy %s is left out: its name is one that a file cannot have, or another one's", c.ID)
			continue
		}
		names[strings.ToLower(one.Name)] = true
		f.Conditional = append(f.Conditional, one)
	}
	w.perUser(&f)
	if w.err != nil {
		return File{}, nil, w.err
	}
	left, err := p.Drift(ctx, f, s)
	if err != nil {
		return File{}, nil, err
	}
	for _, d := range left {
		w.note("a plan of this file changes %s of %s all the same, for instance to leave out the break-glass accounts", d.Member, cmp.Or(d.Name, d.Object.String()))
	}
	return f, w.notes, nil
}

// writing makes a file of a snapshot.
type writing struct {
	ctx    context.Context
	s      *posture.Snapshot
	groups Groups
	known  map[identity.UserID]string
	notes  []string
	err    error
}

func (w *writing) note(text string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(text, args...))
}

// group is how a file names a group: by its name if it is the only one that has it.
func (w *writing) group(id string) (string, bool) {
	name, err := w.groups.GroupName(w.ctx, id)
	switch {
	case errors.Is(err, identity.ErrNotFound):
		return "", false
	case err != nil:
		w.err = errors.Join(w.err, fmt.Errorf("read group %s: %w", id, err))
		return "", false
	case strings.TrimSpace(name) == "" || len(name) > 256 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) || identity.IsGUID(name):
		return id, true
	}
	same, err := w.groups.GroupsNamed(w.ctx, name)
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("find group %s: %w", id, err))
	}
	if len(same) != 1 {
		return id, true
	}
	return name, true
}

// who names people and groups; false when the file cannot say it.
func (w *writing) who(users, groups []string, everybody string) (Who, bool) {
	var out Who
	for _, id := range users {
		if id == everybody {
			out.All = true
			continue
		}
		name, ok := w.known[identity.UserID(id)]
		if !ok {
			return Who{}, false
		}
		out.Users = append(out.Users, name)
	}
	for _, id := range groups {
		if id == everybody {
			out.All = true
			continue
		}
		name, ok := w.group(id)
		if !ok {
			return Who{}, false
		}
		out.Groups = append(out.Groups, name)
	}
	if out.All && len(out.Users)+len(out.Groups) > 0 || len(out.Users) > mostReferences || len(out.Groups) > mostReferences {
		return Who{}, false
	}
	return out, true
}

// targets are those of a method or a campaign; nil for none or what a file cannot say.
func (w *writing) targets(of string, list []posture.Target) *Who {
	var users, groups []string
	for _, t := range list {
		if t.User {
			users = append(users, t.ID)
		} else {
			groups = append(groups, t.ID)
		}
	}
	if len(list) == 0 {
		return nil
	}
	who, ok := w.who(users, groups, posture.AllUsers)
	if !ok {
		w.note("whom %s is for is left out: it names somebody who is not there, or everybody and somebody", of)
		return nil
	}
	return &who
}

// excluded are targets that are left out; a file cannot leave everybody out.
func (w *writing) excluded(of string, list []posture.Target) *Who {
	who := w.targets(of+".exclude", list)
	if who != nil && who.All {
		w.note("%s.exclude is left out: it names everybody", of)
		return nil
	}
	return who
}

func (w *writing) methods(f *File) {
	have := w.s.Policies.Methods
	m := &Methods{External: map[string]*Method{}}
	fields := map[string]**Method{
		"microsoftauthenticator": &m.Authenticator, "fido2": &m.Passkey, "x509certificate": &m.Certificate, "softwareoath": &m.SoftwareOATH,
		"hardwareoath": &m.HardwareOATH, "sms": &m.SMS, "voice": &m.Voice, "qrcodepin": &m.QRCode,
	}
	for _, id := range slices.Sorted(maps.Keys(have.Methods)) {
		setting := have.Methods[id]
		one := &Method{State: stateDisabled, Include: w.targets("methods."+id, setting.Include), Exclude: w.excluded("methods."+id, setting.Exclude)}
		if setting.Enabled {
			one.State = stateEnabled
		}
		field, known := fields[id]
		switch {
		case known:
			*field = one
		case id == passConfiguration:
			once := have.Pass.OneTime
			m.Pass = &Pass{Method: *one, Minimum: int(have.Pass.Minimum / time.Minute), Default: int(have.Pass.Default / time.Minute),
				Maximum: int(have.Pass.Maximum / time.Minute), Length: have.Pass.Length, Once: &once}
		case identity.IsGUID(id):
			m.External[id] = one
		default:
			w.note("the method %s is left out: a file cannot manage it", id)
		}
	}
	f.Methods = m
	if c := have.Campaign; c.State != "" {
		snooze := c.SnoozeDays
		f.Campaign = &Campaign{State: c.State, Snooze: &snooze, Include: w.targets("registrationCampaign", c.Include), Exclude: w.excluded("registrationCampaign", c.Exclude)}
		for _, t := range c.Include {
			if t.Method != c.Include[0].Method {
				f.Campaign.Include = nil
				w.note("whom registrationCampaign is for is left out: it nudges to several methods")
				break
			}
		}
		if f.Campaign.Include != nil {
			f.Campaign.Method = c.Include[0].Method
		}
	}
	f.SystemPreferred = have.SystemPreferred
}

// policy is one Conditional Access policy, if it asks for MFA and nothing else.
func (w *writing) policy(c posture.ConditionalPolicy) (Policy, bool) {
	out := Policy{ID: c.ID, Name: c.DisplayName}
	switch {
	case c.Grant.Others > 0:
	case c.Grant.Strength != "" && len(c.Grant.Controls) == 0:
		out.Require = cmp.Or(w.s.Policies.Strengths[c.Grant.Strength].DisplayName, c.Grant.Strength)
		for id, s := range w.s.Policies.Strengths {
			if id != c.Grant.Strength && strings.EqualFold(s.DisplayName, out.Require) {
				out.Require = c.Grant.Strength
			}
		}
	case c.Grant.Strength == "" && slices.Equal(c.Grant.Controls, []string{posture.ControlMFA}):
		out.Require = posture.ControlMFA
	}
	if out.Require == "" {
		w.note("the policy %q is left out: it asks for something else than MFA", c.DisplayName)
		return out, false
	}
	switch c.State {
	case posture.PolicyEnabled:
		out.State = stateEnforced
	case posture.PolicyReportOnly:
		out.State = stateReportOnly
	case posture.PolicyDisabled:
		out.State = stateDisabled
	default:
		w.note("the state of the policy %q is left out: %q is unknown", c.DisplayName, c.State)
	}
	out.Include, out.Exclude = w.selected(c, "include", c.Include), w.selected(c, "exclude", c.Exclude)
	if len(c.Apps.Include) > 0 && len(c.Apps.Include) <= mostReferences && !slices.Contains(c.Apps.Include, posture.Nobody) {
		out.Apps = slices.Clone(c.Apps.Include)
	}
	return out, true
}

func (w *writing) selected(c posture.ConditionalPolicy, of string, s posture.Selection) *Selected {
	if len(s.Users)+len(s.Groups)+len(s.Roles)+len(s.Guests) == 0 {
		return nil
	}
	who, ok := w.who(s.Users, s.Groups, posture.Everybody)
	for _, id := range s.Roles {
		_, known := w.s.Roles[id]
		ok = ok && known
	}
	if !ok {
		w.note("%s of the policy %q is left out: it names somebody who is not there, or in words that a file does not have", of, c.DisplayName)
		return nil
	}
	return &Selected{Who: who, Roles: slices.Clone(s.Roles), Guests: slices.Clone(s.Guests)}
}

// perUser has a rule for those who are asked, and one for everybody else.
func (w *writing) perUser(f *File) {
	by := map[posture.PerUserMFA][]string{}
	for i := range w.s.People {
		p := &w.s.People[i]
		by[p.PerUserMFA] = append(by[p.PerUserMFA], w.known[p.ID])
	}
	for state := range by {
		if state != posture.PerUserDisabled && state != posture.PerUserEnabled && state != posture.PerUserEnforced {
			w.note("perUserMfa is left out: the states of %d people are not known", len(by[state]))
			return
		}
	}
	var rules []PerUserRule
	for _, state := range []posture.PerUserMFA{posture.PerUserEnforced, posture.PerUserEnabled} {
		for part := range slices.Chunk(by[state], mostReferences) {
			rules = append(rules, PerUserRule{State: string(state), For: Who{Users: part}})
		}
	}
	rules = append(rules, PerUserRule{State: string(posture.PerUserDisabled), For: Who{All: true}})
	if len(rules) > mostRules {
		w.note("perUserMfa is left out: a file has no room for so many people")
		return
	}
	f.PerUser = rules
}

// YAML is the file as text.
func (f File) YAML() ([]byte, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	var ordered any
	if err := yaml.UnmarshalWithOptions(text, &ordered, yaml.UseOrderedMap()); err != nil {
		return nil, err
	}
	return yaml.MarshalWithOptions(ordered, yaml.IndentSequence(true))
}
