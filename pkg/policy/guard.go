package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// Code says why a plan is refused. The zero value is invalid.
type Code string

// The codes.
const (
	// RefuseDefaults: security defaults and enforced policies exclude each other.
	RefuseDefaults Code = "security-defaults-beside-policies"
	// RefuseBreakGlass: an emergency access account would be locked out.
	RefuseBreakGlass Code = "break-glass"
	// RefuseAdministrators: no administrator could sign in any more.
	RefuseAdministrators Code = "every-administrator"
	// RefuseLockout: people would be asked for what they neither have nor can register.
	RefuseLockout Code = "locked-out"
	// RefuseProgram: nobody is there to answer the prompt of a program that signs in as a
	// person.
	RefuseProgram Code = "program"
	// RefuseOnlyMethod: the only method that somebody has would go.
	RefuseOnlyMethod Code = "only-method"
	// RefuseFact: a fact that the judgement rests on could not be read.
	RefuseFact Code = "fact-missing"
	// RefuseUnwatched: a stop rule cannot be kept.
	RefuseUnwatched Code = "stop-rule-unreadable"
	// RefuseForeign: somebody else has changed what a rollback would put back.
	RefuseForeign Code = "changed-by-others"
)

// refusals are what people read of each, and whether a human may take it upon themselves.
var refusals = map[Code]struct {
	title, wayOut string
	acceptable    bool
}{
	RefuseDefaults: {"Security defaults and enforced Conditional Access policies exclude each other",
		"say securityDefaults: disabled in the file, or enforce no policy", false},
	RefuseBreakGlass: {"A break-glass account would be locked out",
		"leave the account out of what asks for MFA, or register a passkey for it first", false},
	RefuseAdministrators: {"No administrator could sign in any more",
		"have one of the administrators register a method that is allowed and stays so", false},
	RefuseLockout: {"People would be asked for MFA who can neither answer nor register",
		"have them register with a Temporary Access Pass first, allow a method that they can register, or leave them out", true},
	RefuseProgram: {"Programs that sign in as a person would fail, since nobody answers the prompt",
		"move the program to a workload identity, or leave the account out", true},
	RefuseOnlyMethod: {"The only method that people have would go, or it is not known what they have",
		"have them register another method first, such as by the registration campaign", true},
	RefuseFact: {"A fact could not be read",
		"give the app the permission that is missing and plan again", false},
	RefuseUnwatched: {"The stop rule of the rollout cannot be kept",
		"say where it can be read (openFlags: the URL of event-replay; failedSignIns: AuditLog.Read.All), or take its limit out of rollout.stop", false},
	RefuseForeign: {"Somebody else has changed what would be put back",
		"look at the change, and put it back by hand or leave it", false},
}

// Codes are all of them, in order.
func Codes() []Code {
	list := make([]Code, 0, len(refusals))
	for c := range refusals {
		list = append(list, c)
	}
	slices.Sort(list)
	return list
}

// Title says what the code means, for people; empty for an unknown code.
func (c Code) Title() string { return refusals[c].title }

// Refusal is why a plan cannot be applied.
type Refusal struct {
	Code Code `json:"code"`
	// Step is the number of the step, from 1; 0 for the plan as a whole.
	Step   int               `json:"step,omitempty"`
	People []identity.UserID `json:"people,omitempty"`
	// Fact is what could not be read, for RefuseFact.
	Fact   posture.Fact `json:"fact,omitempty"`
	Detail string       `json:"detail,omitempty"`
	WayOut string       `json:"wayOut"`
	// Acceptable: an operator may take it upon themselves, for a person or for all.
	Acceptable bool `json:"acceptable"`
}

func refuse(code Code, step int, people []identity.UserID, detail string) Refusal {
	r := refusals[code]
	return Refusal{Code: code, Step: step, People: people, Detail: detail, WayOut: r.wayOut, Acceptable: r.acceptable}
}

// globalAdministrator is the template of that role (Entra, built-in roles).
const globalAdministrator = "62e90394-69f5-4237-9190-012177145e10"

// judge says what every step does to people, and why it must not be done. A person loses a
// way in when, of any one way in which they sign in, it is no longer sure that they get in,
// or sure that they do not: what is unknown counts for the worse both times.
func judge(s posture.Snapshot, q posture.Question, steps []Step) ([]Refusal, error) {
	if len(steps) == 0 {
		return nil, nil
	}
	before, err := posture.Evaluate(s, q)
	if err != nil {
		return nil, err
	}
	var found []Refusal
	for i := range steps {
		var changes []posture.Change
		narrows := false
		for _, w := range steps[i].Writes {
			changes = append(changes, w.changes()...)
			narrows = narrows || w.Kind == KindMethod && steps[i].Phase == PhaseNarrow
		}
		// Of all requests at once: each change reads everybody.
		next, err := s.With(append(changes, perUserChanges(states(steps[i:i+1]))...)...)
		if errors.Is(err, posture.ErrDefaultsBesidePolicies) {
			return append(found, refuse(RefuseDefaults, i+1, nil, err.Error())), nil
		} else if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		after, err := posture.Evaluate(next, q)
		if err != nil {
			return nil, err
		}
		c := comparison{s: &next, before: before, after: after, step: i + 1, narrows: narrows}
		found = append(found, c.refusals()...)
		steps[i].Effect = c.effect
		s, before = next, after
	}
	return found, nil
}

// comparison is a step between two evaluations of the same people.
type comparison struct {
	s             *posture.Snapshot
	before, after posture.Evaluation
	step          int
	narrows       bool
	effect        Effect
}

// lost says in which way a person loses: as themselves, or a program that signs in as them.
func lost(before, after posture.Result) (person, program bool) {
	for k := range min(len(before.Accesses), len(after.Accesses)) {
		b, a := before.Accesses[k], after.Accesses[k]
		if b.Verdict != posture.Blocked && a.Verdict == posture.Blocked || b.AtBest != posture.Blocked && a.AtBest == posture.Blocked {
			if a.Attended == posture.Yes {
				person = true
			} else {
				program = true
			}
		}
	}
	return person, program
}

func (c *comparison) refusals() []Refusal {
	by := map[Code][]identity.UserID{}
	counts := map[Shifted]int{}
	emergency := map[identity.UserID]bool{}
	for _, id := range c.s.BreakGlass {
		emergency[id] = true
	}
	for i := range c.s.People {
		p, b, a := &c.s.People[i], c.before.Results[i], c.after.Results[i]
		if b.Verdict != a.Verdict {
			counts[Shifted{From: b.Verdict, To: a.Verdict}]++
		}
		person, program := lost(b, a)
		back, again := lost(a, b)
		if back || again {
			c.effect.Gains = append(c.effect.Gains, p.ID)
		}
		// A method that nobody is asked for may be the only one all the same.
		bare := p.Enabled && (len(b.Usable) > 0 && len(a.Usable) == 0 || c.narrows && !p.Registration.Known && !p.Kind.External())
		if person || program || bare {
			c.effect.Loses = append(c.effect.Loses, p.ID)
		}
		switch {
		case emergency[p.ID] && (person || program || bare):
			by[RefuseBreakGlass] = append(by[RefuseBreakGlass], p.ID)
		default:
			if person {
				by[RefuseLockout] = append(by[RefuseLockout], p.ID)
			}
			if program {
				by[RefuseProgram] = append(by[RefuseProgram], p.ID)
			}
			if bare {
				by[RefuseOnlyMethod] = append(by[RefuseOnlyMethod], p.ID)
			}
		}
	}
	if admins := c.administrators(); len(admins) > 0 {
		by[RefuseAdministrators] = admins
	}
	for shift, n := range counts {
		shift.Count = n
		c.effect.Shifts = append(c.effect.Shifts, shift)
	}
	slices.SortFunc(c.effect.Shifts, func(a, b Shifted) int { return strings.Compare(string(a.From+a.To), string(b.From+b.To)) })
	var list []Refusal
	for _, code := range Codes() {
		if people := by[code]; len(people) > 0 {
			list = append(list, refuse(code, c.step, people, ""))
		}
	}
	return list
}

// getsIn reports whether somebody gets in everywhere, or, failing that, anywhere.
func getsIn(r posture.Result, everywhere bool) bool {
	if everywhere {
		return r.Verdict != posture.Blocked
	}
	return slices.ContainsFunc(r.Accesses, func(a posture.Access) bool { return a.Attended == posture.Yes && a.Verdict != posture.Blocked })
}

// administrators are all of them if none can sign in after the step, to everything or to
// anything, and one could before.
func (c *comparison) administrators() []identity.UserID {
	for _, role := range []string{globalAdministrator, ""} {
		var all []identity.UserID
		var before, after [2]int
		for i := range c.s.People {
			p := &c.s.People[i]
			if !p.Enabled || !slices.ContainsFunc(p.Roles, func(r posture.Role) bool {
				return r.Active && !r.Scoped && (role == "" || r.Definition == role)
			}) {
				continue
			}
			all = append(all, p.ID)
			for k, everywhere := range []bool{true, false} {
				before[k] += b2i(getsIn(c.before.Results[i], everywhere))
				after[k] += b2i(getsIn(c.after.Results[i], everywhere))
			}
		}
		if len(all) > 0 {
			if before[0] > 0 && after[0] == 0 || before[1] > 0 && after[1] == 0 {
				return all
			}
			return nil
		}
	}
	return nil
}

// managed are the facts that a file needs by what it manages.
func managed(f File) map[posture.Fact]bool {
	return map[posture.Fact]bool{
		posture.FactMethodsPolicy:    f.Methods != nil || f.Campaign != nil || f.SystemPreferred != "",
		posture.FactConditional:      len(f.Conditional) > 0,
		posture.FactSecurityDefaults: f.SecurityDefaults != "",
		posture.FactPerUserMFA:       len(f.PerUser) > 0,
	}
}

// gaps are the refusals for what could not be read. Facts that only make the verdict
// stricter may be taken upon oneself.
func gaps(s posture.Snapshot, needs map[posture.Fact]bool, steps bool) []Refusal {
	var list []Refusal
	for _, g := range s.Gaps {
		r := refuse(RefuseFact, 0, nil, fmt.Sprintf("%s: %s", g.Fact, g.Why))
		r.Fact = g.Fact
		switch g.Fact {
		case posture.FactTenant, posture.FactPrincipals: // nothing rests on them
			continue
		case posture.FactPerUserMFA, posture.FactLastSignIns, posture.FactSignIns, posture.FactBackground, posture.FactEligibleRoles,
			posture.FactGuestTrust, posture.FactFederation:
			r.Acceptable = !needs[g.Fact]
		default:
		}
		if steps || needs[g.Fact] {
			list = append(list, r)
		}
	}
	unknown := 0
	for i := range s.People {
		unknown += b2i(s.People[i].PerUserMFA != posture.PerUserDisabled && s.People[i].PerUserMFA != posture.PerUserEnabled && s.People[i].PerUserMFA != posture.PerUserEnforced)
	}
	if unknown > 0 && needs[posture.FactPerUserMFA] && !s.Missing(posture.FactPerUserMFA) {
		list = append(list, refuse(RefuseFact, 0, nil, fmt.Sprintf("%s: the state of %d people is not told", posture.FactPerUserMFA, unknown)))
	}
	return list
}

// beyond are the refusals that go beyond those that were accepted when the plan was made:
// an operator took upon themselves what they were shown, for the people whom they were
// shown, and nobody who has come to it since.
func beyond(found, accepted []Refusal) []Refusal {
	type taken struct {
		code Code
		who  identity.UserID
		fact posture.Fact
	}
	seen := map[taken]bool{}
	for _, r := range accepted {
		for _, id := range r.People {
			seen[taken{code: r.Code, who: id}] = true
		}
		if len(r.People) == 0 {
			seen[taken{code: r.Code, fact: r.Fact}] = true
		}
	}
	var open []Refusal
	for _, r := range found {
		all := len(r.People)
		r.People = slices.DeleteFunc(slices.Clone(r.People), func(id identity.UserID) bool { return r.Acceptable && seen[taken{code: r.Code, who: id}] })
		if len(r.People) > 0 || all == 0 && !(r.Acceptable && seen[taken{code: r.Code, fact: r.Fact}]) {
			open = append(open, r)
		}
	}
	return open
}

// acceptable reads what an operator takes upon themselves: people by object id or user
// principal name, and codes that may be. ErrAccept names what is neither.
func acceptable(list []string, s posture.Snapshot) ([]string, error) {
	out := make([]string, 0, len(list))
	var errs []error
	for _, a := range list {
		a = strings.ToLower(strings.TrimSpace(a))
		refusal, isCode := refusals[Code(a)]
		switch {
		case isCode && refusal.acceptable || Code(a) == RefuseFact: // some facts may be
		case isCode:
			errs = append(errs, fmt.Errorf("%w: %s must not be taken upon oneself", ErrAccept, a))
		case a == "" || !slices.ContainsFunc(s.People, func(p posture.Person) bool { return string(p.ID) == a || strings.EqualFold(p.UserPrincipalName, a) }):
			errs = append(errs, fmt.Errorf("%w: %q is neither a person of the tenant's nor the code of a refusal", ErrAccept, a))
		}
		out = append(out, a)
	}
	slices.Sort(out)
	return slices.Compact(out), errors.Join(errs...)
}

// sift parts what was taken upon oneself from what still refuses the plan.
func sift(found []Refusal, accept []string, s posture.Snapshot) (open, accepted []Refusal) {
	open, accepted = []Refusal{}, []Refusal{}
	if len(found) == 0 {
		return open, accepted
	}
	taken := map[string]bool{}
	for _, a := range accept {
		taken[a] = true
	}
	names := map[identity.UserID]string{}
	for i := range s.People {
		names[s.People[i].ID] = strings.ToLower(s.People[i].UserPrincipalName)
	}
	for _, r := range found {
		switch {
		case !r.Acceptable:
			open = append(open, r)
			continue
		case taken[string(r.Code)]:
			accepted = append(accepted, r)
			continue
		}
		yes, no := r, r
		yes.People, no.People = nil, nil
		for _, id := range r.People {
			if taken[string(id)] || taken[names[id]] {
				yes.People = append(yes.People, id)
			} else {
				no.People = append(no.People, id)
			}
		}
		if len(yes.People) > 0 {
			accepted = append(accepted, yes)
		}
		if len(no.People) > 0 || len(r.People) == 0 {
			open = append(open, no)
		}
	}
	return open, accepted
}
