package posture

import (
	"slices"
	"strings"

	"mfaflow/pkg/identity"
)

// access is one way in which a person signs in.
type access struct {
	// app is the enforced application; for any other one it is zero.
	app EnforcedApp
	// register is the registration of methods, which is an action of its own.
	register bool
	// attended says whether somebody is there to answer a prompt.
	attended Answer
	// known is false when nobody knows whether the person signs in that way.
	known bool
}

func (a access) other() bool { return a.app.Name == "" && !a.register }

// circle answers who is in which group.
type circle struct {
	index  map[identity.UserID]int
	groups map[string][]uint64
}

func newCircle(s *Snapshot) *circle {
	c := &circle{index: make(map[identity.UserID]int, len(s.People)), groups: make(map[string][]uint64, len(s.Groups))}
	for i := range s.People {
		c.index[s.People[i].ID] = i
	}
	for id, g := range s.Groups {
		set := make([]uint64, (len(s.People)+63)/64)
		for _, m := range g.Members {
			if i, ok := c.index[m]; ok {
				set[i/64] |= 1 << (i % 64)
			}
		}
		c.groups[id] = set
	}
	return c
}

// in reports whether person i is in a group; a group that was not read is Unknown.
func (c *circle) in(i int, group string) Answer {
	set, ok := c.groups[group]
	if !ok {
		return Unknown
	}
	return AnswerOf(set[i/64]&(1<<(i%64)) != 0)
}

// guestWords are what Graph calls the kinds of people that are no plain members.
var guestWords = map[Kind]string{
	InternalGuest: "internalGuest", ExternalGuest: "b2bCollaborationGuest", ExternalMember: "b2bCollaborationMember",
}

// selects reports whether a selection holds person i, and by what: the first thing that
// surely does, else what may.
func (e *evaluator) selects(sel Selection, i int) (found Answer, by string) {
	p := &e.s.People[i]
	found = No
	hit := func(a Answer, how string) {
		if was := found; found != Yes {
			if found = found.or(a); found != was {
				by = how
			}
		}
	}
	for _, u := range sel.Users {
		switch u {
		case Everybody:
			hit(Yes, "all users")
		case Nobody:
		case GuestsAndExternal:
			hit(e.guest(p, nil), "guests and external users")
		default:
			if strings.EqualFold(u, string(p.ID)) {
				hit(Yes, "the person")
			}
		}
	}
	for _, g := range sel.Groups {
		hit(e.circle.in(i, g), "group "+g)
	}
	for _, r := range sel.Roles {
		if e.rolesMissing {
			hit(Unknown, "role "+r)
		}
		for _, held := range p.Roles {
			// Conditional Access sees roles that are active, built in and unscoped.
			if held.Definition == r && !held.Scoped {
				if held.Active {
					hit(Yes, "role "+r)
				} else {
					hit(Unknown, "activation of role "+r)
				}
			}
		}
	}
	if len(sel.Guests) > 0 {
		a := e.guest(p, sel.Guests)
		if a == Yes && sel.GuestTenants {
			a = Unknown
		}
		hit(a, "guests and external users")
	}
	return found, by
}

// guest reports whether the person is a guest of one of the kinds; nil means any.
func (e *evaluator) guest(p *Person, kinds []string) Answer {
	switch {
	case p.Kind == Member:
		return No
	case guestWords[p.Kind] == "":
		return Unknown
	default:
		return AnswerOf(kinds == nil || contains(kinds, guestWords[p.Kind]))
	}
}

// holds is whether a policy concerns person i at all; if not because of an exclusion, by
// what.
func (e *evaluator) holds(p *ConditionalPolicy, i int) (concerned Answer, maybe, excluded string) {
	included, by := e.selects(p.Include, i)
	if included == No {
		return No, "", ""
	}
	out, outBy := e.selects(p.Exclude, i)
	if out == Yes {
		return No, "", outBy
	}
	if included == Unknown {
		maybe = by
	}
	if out == Unknown {
		maybe = strings.TrimPrefix(maybe+", exclusion by "+outBy, ", ")
	}
	return included.and(out.not()), maybe, ""
}

// unread reports whether it is for want of a fact that nobody knows whether a policy concerns
// person i.
func (e *evaluator) unread(p *ConditionalPolicy, i int) bool {
	return slices.ContainsFunc([]Selection{p.Include, p.Exclude}, func(s Selection) bool {
		return len(s.Roles) > 0 && e.rolesMissing || slices.ContainsFunc(s.Groups, func(g string) bool { return e.circle.in(i, g) == Unknown })
	})
}

// covers is whether a policy concerns an access, and what it depends on.
func (p *ConditionalPolicy) covers(a access) (Answer, []string) {
	covered, depends := Yes, []string(nil)
	narrow := func(by Answer, on string) {
		if by == Unknown {
			depends = append(depends, on)
		}
		covered = covered.and(by)
	}
	narrow(p.Apps.cover(a), "application")
	narrow(clients(p.Clients, a), "client")
	if !p.Platforms.everywhere() {
		narrow(Unknown, "platform")
	}
	if !p.Locations.everywhere() {
		narrow(Unknown, "location")
	}
	for _, c := range p.Others {
		narrow(Unknown, c)
	}
	if covered == No {
		return No, nil
	}
	return covered, depends
}

func (s Apps) cover(a access) Answer {
	if a.register {
		return AnswerOf(contains(s.Actions, ActionRegister))
	}
	found := No
	for _, id := range s.Include {
		found = found.or(matches(id, a))
	}
	if len(s.Contexts) > 0 {
		found = found.or(Unknown)
	}
	for _, id := range s.Exclude {
		// Leaving some applications out still leaves others.
		if !a.other() {
			found = found.and(matches(id, a).not())
		}
	}
	if s.Filtered {
		found = found.and(Unknown)
	}
	return found
}

// matches reports whether an entry of a policy means the application. Conditional Access
// looks at what is called and not at the client that calls it: Azure's clients and portals
// are reached through Azure's management API.
func matches(entry string, a access) Answer {
	switch {
	case entry == Everybody:
		return Yes
	case entry == Nobody:
		return No
	case strings.EqualFold(entry, AzureManagement):
		return AnswerOf(!a.other())
	case entry == AdminPortals:
		return AnswerOf(a.app.Browser)
	case a.other():
		// Somebody may use what the policy is for; the enforced ones are told apart.
		if slices.ContainsFunc(EnforcedApps(), func(e EnforcedApp) bool { return strings.EqualFold(e.AppID, entry) }) {
			return No
		}
		return Unknown
	default:
		return AnswerOf(strings.EqualFold(entry, a.app.AppID))
	}
}

// clients reports whether the client of an access is among the types.
func clients(types []string, a access) Answer {
	if len(types) == 0 || contains(types, "all") {
		return Yes
	}
	browser, native := contains(types, "browser"), contains(types, "mobileAppsAndDesktopClients")
	legacy := func(t string) bool {
		return contains([]string{"browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other"}, t)
	}
	switch {
	case slices.ContainsFunc(types, func(t string) bool { return !legacy(t) }):
		return Unknown
	case browser && native:
		return Yes
	case a.other():
		if browser || native {
			return Unknown
		}
		return No
	case a.register || a.app.Browser:
		return AnswerOf(browser)
	default:
		return AnswerOf(native)
	}
}

// demand is what a grant asks for.
type demand struct {
	block Answer
	mfa   Answer
	// strength is an id; the demand is for it and not for just any MFA.
	strength string
	// others are controls that are not about MFA.
	others string
}

// Passable reports whether whoever passes MFA gets by, whatever else the grant has: it asks
// for MFA and, with MFA passed, for nothing that nobody here can judge.
func (g Grant) Passable() bool {
	d := g.demand()
	return d.block == No && d.mfa != No && (!g.All || d.others == "")
}

func (g Grant) demand() demand {
	if contains(g.Controls, ControlBlock) {
		return demand{block: Yes, mfa: No}
	}
	d := demand{block: No, mfa: No}
	var others []string
	for _, c := range g.Controls {
		if !strings.EqualFold(c, ControlMFA) {
			others = append(others, c)
		}
	}
	if g.Others > 0 {
		others = append(others, "terms of use or custom controls")
	}
	d.others = strings.Join(others, ", ")
	plain := contains(g.Controls, ControlMFA)
	if !plain && g.Strength == "" {
		return d
	}
	d.mfa = Yes
	if !g.All && len(others) > 0 {
		d.mfa = Unknown // something else may do instead
	}
	// One of both is enough, and the weaker one decides; together the stronger one does.
	if g.All || !plain {
		d.strength = g.Strength
	}
	return d
}
