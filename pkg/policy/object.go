package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// Kind says what sort of object a tenant's setting is kept in. The zero value is invalid.
type Kind string

// The kinds of objects.
const (
	KindMethod          Kind = "method"
	KindCampaign        Kind = "registration-campaign"
	KindSystemPreferred Kind = "system-preferred"
	KindDefaults        Kind = "security-defaults"
	KindPolicy          Kind = "conditional-access"
	KindPerUser         Kind = "per-user-mfa"
)

// Object is what one request changes.
type Object struct {
	Kind Kind `json:"kind"`
	// ID is that of a method's configuration in lower case, or of a Conditional Access
	// policy: its object id or, for one that is to be created, Created with its name.
	// Empty for what a tenant has one of, and for per-user MFA, whose people are in the
	// value.
	ID string `json:"id,omitempty"`
}

func (o Object) String() string {
	if o.ID == "" {
		return string(o.Kind)
	}
	return string(o.Kind) + " " + o.ID
}

// created begins the id of a policy that has none yet.
const created = "new:"

// Created is the id of a policy before the directory has given it one.
func Created(name string) string { return created + name }

// CreatedName is the name in such an id.
func CreatedName(id string) (name string, isNew bool) { return strings.CutPrefix(id, created) }

// Value is what an object holds, as far as it is managed or bears on who can sign in. The
// member of the object's kind is set; a policy that is not there has none.
type Value struct {
	// Defaults are on or off.
	Defaults *bool `json:"defaults,omitempty"`
	// Method is a configuration; Pass goes with that of Temporary Access Passes.
	Method *posture.MethodSetting `json:"method,omitempty"`
	Pass   *posture.PassSetting   `json:"pass,omitempty"`
	// Campaign is the registration campaign.
	Campaign *posture.Campaign `json:"campaign,omitempty"`
	// SystemPreferred is its state; empty when the directory does not tell it.
	SystemPreferred *string                    `json:"systemPreferred,omitempty"`
	Policy          *posture.ConditionalPolicy `json:"policy,omitempty"`
	// PerUser are people's states, at most as many as go with one request.
	PerUser map[identity.UserID]posture.PerUserMFA `json:"perUser,omitempty"`
}

// text is the value in one form, whatever the order of its lists.
func (v Value) text() string {
	v = v.sorted()
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error() // no value of ours fails
	}
	return string(data)
}

// Equal reports whether two values say the same. A policy that is new has the id that it
// was given.
func (v Value) Equal(o Value) bool {
	if v.Policy != nil && o.Policy != nil {
		a, b := *v.Policy, *o.Policy
		_, newA := CreatedName(a.ID)
		_, newB := CreatedName(b.ID)
		if newA || newB {
			a.ID, b.ID = "", ""
		}
		v.Policy, o.Policy = &a, &b
	}
	return v.text() == o.text()
}

// sorted is the value with its lists in order, and without the difference between none and
// empty.
func (v Value) sorted() Value {
	if v.Method != nil {
		m := *v.Method
		m.ID = strings.ToLower(m.ID)
		m.Include, m.Exclude = sortTargets(m.Include), sortTargets(m.Exclude)
		m.SelfService, m.Codes = cmp.Or(m.SelfService, posture.Unknown), cmp.Or(m.Codes, posture.Unknown)
		v.Method = &m
	}
	if v.Campaign != nil {
		c := *v.Campaign
		c.Include, c.Exclude = sortTargets(c.Include), sortTargets(c.Exclude)
		v.Campaign = &c
	}
	if v.Policy != nil {
		p := *v.Policy
		p.Include, p.Exclude = sortSelection(p.Include), sortSelection(p.Exclude)
		p.Apps.Include, p.Apps.Exclude = ordered(p.Apps.Include), ordered(p.Apps.Exclude)
		p.Apps.Actions, p.Apps.Contexts = ordered(p.Apps.Actions), ordered(p.Apps.Contexts)
		p.Clients, p.Risks, p.Others = ordered(p.Clients), ordered(p.Risks), ordered(p.Others)
		p.Platforms = posture.Range{Include: ordered(p.Platforms.Include), Exclude: ordered(p.Platforms.Exclude)}
		p.Locations = posture.Range{Include: ordered(p.Locations.Include), Exclude: ordered(p.Locations.Exclude)}
		p.Grant.Controls = ordered(p.Grant.Controls)
		v.Policy = &p
	}
	return v
}

func ordered[T cmp.Ordered](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func sortSelection(s posture.Selection) posture.Selection {
	s.Users, s.Groups, s.Roles, s.Guests = ordered(s.Users), ordered(s.Groups), ordered(s.Roles), ordered(s.Guests)
	return s
}

func sortTargets(list []posture.Target) []posture.Target {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b posture.Target) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(b2i(a.User), b2i(b.User)), cmp.Compare(a.Method, b.Method))
	})
	return slices.Compact(list)
}

// valueOf is what the snapshot has for an object.
func valueOf(s *posture.Snapshot, o Object) Value {
	p := &s.Policies
	switch o.Kind {
	case KindDefaults:
		on := p.SecurityDefaults == posture.Yes
		return Value{Defaults: &on}
	case KindMethod:
		m, ok := p.Methods.Methods[o.ID]
		if !ok {
			return Value{}
		}
		v := Value{Method: &m}
		if o.ID == passConfiguration {
			pass := p.Methods.Pass
			v.Pass = &pass
		}
		return v
	case KindCampaign:
		c := p.Methods.Campaign
		return Value{Campaign: &c}
	case KindSystemPreferred:
		state := p.Methods.SystemPreferred
		return Value{SystemPreferred: &state}
	case KindPolicy:
		for i := range p.Conditional {
			if p.Conditional[i].ID == o.ID {
				policy := p.Conditional[i]
				return Value{Policy: &policy}
			}
		}
	case KindPerUser:
	}
	return Value{}
}

// Write gives an object a new value.
type Write struct {
	Object
	// From is the value that it is expected to have, To the one that it gets. A policy
	// without From is created, one without To is deleted.
	From Value `json:"from"`
	To   Value `json:"to"`
	// Kept is what a rollback puts back, or a policy of a rollout is a copy of, as the
	// directory had it.
	Kept json.RawMessage `json:"kept,omitempty"`
}

// changes are what the write does, for package posture to judge; those of per-user MFA are
// joined by perUserChanges.
func (w Write) changes() []posture.Change {
	switch w.Kind {
	case KindDefaults:
		return []posture.Change{posture.SecurityDefaults{On: *w.To.Defaults}}
	case KindMethod:
		list := []posture.Change{posture.PutMethod{Setting: *w.To.Method}}
		if w.To.Pass != nil {
			list = append(list, posture.SetPass{Pass: *w.To.Pass})
		}
		return list
	case KindCampaign:
		return []posture.Change{posture.SetCampaign{Campaign: *w.To.Campaign}}
	case KindSystemPreferred:
		return []posture.Change{posture.SetSystemPreferred{State: *w.To.SystemPreferred}}
	case KindPolicy:
		if w.To.Policy == nil {
			return []posture.Change{posture.RemovePolicy{Policy: w.ID}}
		}
		return []posture.Change{posture.PutPolicy{Policy: *w.To.Policy}}
	case KindPerUser:
	}
	return nil
}

// perUserChanges give people their states.
func perUserChanges(states map[identity.UserID]posture.PerUserMFA) []posture.Change {
	by := map[posture.PerUserMFA][]identity.UserID{}
	for _, id := range slices.Sorted(maps.Keys(states)) {
		by[states[id]] = append(by[states[id]], id)
	}
	var list []posture.Change
	for _, state := range slices.Sorted(maps.Keys(by)) {
		list = append(list, posture.SetPerUserMFA{Users: by[state], State: state})
	}
	return list
}

// Inverse is the write that takes w back, from what the object was.
func (w Write) inverse(was Value, kept json.RawMessage) Write {
	return Write{Object: w.Object, From: w.To, To: was, Kept: kept}
}

// Difference is a member of an object that has another value than the file says.
type Difference struct {
	Object
	// Name is for people: a policy's display name.
	Name   string          `json:"name,omitempty"`
	Member string          `json:"member"`
	Want   json.RawMessage `json:"want"`
	Have   json.RawMessage `json:"have"`
}

// Place is what differs, without its values.
func (d Difference) Place() string {
	object := d.Object.String()
	if d.Name != "" {
		object = fmt.Sprintf("%s %q", d.Kind, d.Name)
	}
	return object + ": " + d.Member
}

// differences are the members in which a write changes something.
func (w Write) differences() []Difference {
	from, to := members(w.From), members(w.To)
	all := maps.Clone(from)
	maps.Copy(all, to)
	var list []Difference
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if bytes.Equal(from[name], to[name]) || name == "id" {
			continue
		}
		d := Difference{Object: w.Object, Member: name, Want: orNull(to[name]), Have: orNull(from[name])}
		if p := cmp.Or(w.To.Policy, w.From.Policy); p != nil {
			d.Name = p.DisplayName
		}
		list = append(list, d)
	}
	return list
}

func orNull(m json.RawMessage) json.RawMessage {
	if m == nil {
		return json.RawMessage("null")
	}
	return m
}

// members are those of the value's object, as JSON.
func members(v Value) map[string]json.RawMessage {
	var outer, all map[string]json.RawMessage
	if json.Unmarshal([]byte(v.text()), &outer) != nil {
		return nil
	}
	all = map[string]json.RawMessage{}
	for name, raw := range outer {
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) == nil {
			maps.Copy(all, inner)
		} else {
			all[name] = raw
		}
	}
	return all
}
