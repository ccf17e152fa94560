package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

const rollout = `
breakGlass: {accounts: [glass@contoso.example]}
methods:
  temporaryAccessPass: {state: enabled, include: {all: true}}
registrationCampaign: {state: enabled, include: {all: true}, method: microsoftAuthenticator}
conditionalAccess:
  - name: Require MFA
    state: enforced
    require: mfa
    include: {all: true}
perUserMfa:
  - {state: disabled, for: {all: true}}
rollout:
  observe: 72h
  waves:
    - {name: IT, groups: [IT], pause: 24h}
    - {name: Sales, groups: [Sales], pause: 1h30m}
`

func titles(p policy.Plan) []string {
	var list []string
	for _, s := range p.Steps {
		t := s.Title
		if s.Pause > 0 {
			t += " after " + s.Pause.String()
		}
		if s.Gate {
			t += " if good"
		}
		list = append(list, t)
	}
	return list
}

// A migration of per-user MFA to Conditional Access comes in the order that locks nobody
// out, and ends where the file wants it.
func TestRollout(t *testing.T) {
	s := contoso()
	for i := range s.People {
		s.People[i].PerUserMFA = posture.PerUserEnforced
	}
	d := newDesk(s)
	p, err := d.plan(rollout)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"enable the method TemporaryAccessPass", "set the registration campaign: enabled", `create the policy "Require MFA", report-only`,
		`enforce the policy "Require MFA" for the wave IT after 72h0m0s`, "take per-user MFA back from the wave IT",
		`enforce the policy "Require MFA" for the wave Sales after 24h0m0s if good`, "take per-user MFA back from the wave Sales",
		`enforce the policy "Require MFA" after 1h30m0s if good`, `remove the policy "Require MFA (rollout)", which has done its work`,
		"take per-user MFA back",
	}
	if diff := cmp.Diff(want, titles(p)); diff != "" {
		t.Error(diff)
	}
	if len(p.Refusals) > 0 {
		t.Fatal(p.Refusals)
	}
	before := clone(d.Snapshot)
	d.wrote = func() { d.nobodyBlocked(t, before, nil) }
	out, err := d.apply(p)
	if err != nil || !out.Done() {
		t.Fatal(out, err)
	}
	if got := d.now.Sub(today); got != 72*time.Hour+24*time.Hour+90*time.Minute {
		t.Error("paused for", got)
	}
	for _, person := range d.People {
		if person.PerUserMFA != posture.PerUserDisabled {
			t.Error(person.ID, person.PerUserMFA)
		}
	}
	if again, err := d.plan(rollout); err != nil || !again.Empty() {
		t.Error("the state that was reached is not the file's:", titles(again), err)
	}
	if out, err := d.engine().Apply(t.Context(), p, "op", "again"); err != nil || !out.Already || out.Writes > 0 {
		t.Error(out, err)
	}
	if len(d.trail.records) != d.writes {
		t.Errorf("%d audit records of %d writes", len(d.trail.records), d.writes)
	}
	for _, r := range d.trail.records {
		if r.Actor != "op@contoso.example" || r.Reason != "test" || r.Plan != p.Digest || r.PolicyAfter == nil || r.PolicyBefore == nil {
			t.Errorf("%+v", r)
		}
	}

	back, err := d.rollback(out.Run)
	if err != nil || len(back.Refusals) > 0 {
		t.Fatal(back.Refusals, err)
	}
	if _, err := d.apply(back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, d.Snapshot, cmpopts.EquateEmpty()); diff != "" {
		t.Error("rollback:", diff)
	}
	if _, err := d.rollback(out.Run); !errors.Is(err, policy.ErrNoRun) {
		t.Error("taken back twice:", err)
	}
}

// require is a policy in force on everything that asks the chosen people for MFA.
func require(name string, include posture.Selection) posture.ConditionalPolicy {
	return posture.ConditionalPolicy{
		ID: fmt.Sprintf("20000000-0000-4000-8000-%012d", len(name)), DisplayName: name, State: posture.PolicyEnabled, Include: include,
		Exclude: posture.Selection{Users: []string{"glass"}}, Apps: posture.Apps{Include: []string{posture.Everybody}}, Clients: []string{"all"},
		Grant: posture.Grant{Controls: []string{posture.ControlMFA}},
	}
}

// Steps come in the order that is safe, and no more of them than it takes. A way in is never
// without a guard that it has before and after.
func TestOrder(t *testing.T) {
	const header = "breakGlass: {accounts: [glass@contoso.example]}\n"
	const enforce = header + "securityDefaults: disabled\nconditionalAccess: [{name: MFA, state: enforced, require: mfa, include: {all: true}}]\n"
	defaults := func(s *posture.Snapshot) { s.Policies.SecurityDefaults = posture.Yes }
	toIT := func(s *posture.Snapshot) {
		s.Policies.Methods.Methods["sms"] = posture.MethodSetting{ID: "Sms", Enabled: true, Include: []posture.Target{{ID: groupIT}}}
		s.People[1].Registration, s.People[4].Registration = posture.Registration{}, posture.Registration{} // not in the report
	}
	for name, c := range map[string]struct {
		change func(*posture.Snapshot)
		file   string
		accept []string
		want   []string
	}{
		"defaults go when the policy has been observed": {defaults, enforce + "rollout: {observe: 72h}\n", nil,
			[]string{`create the policy "MFA", report-only`, "switch security defaults off after 72h0m0s", `enforce the policy "MFA"`}},
		"and not before the first wave": {defaults, enforce + "rollout: {observe: 72h, waves: [{name: IT, groups: [IT], pause: 24h}]}\n", nil,
			[]string{`create the policy "MFA", report-only`, "switch security defaults off after 72h0m0s", `enforce the policy "MFA" for the wave IT`,
				`enforce the policy "MFA" after 24h0m0s if good`, `remove the policy "MFA (rollout)", which has done its work`}},
		"from per-user MFA to defaults": {func(s *posture.Snapshot) {
			for i := range s.People {
				s.People[i].PerUserMFA = posture.PerUserEnforced
			}
		}, header + "securityDefaults: enabled\nperUserMfa: [{state: disabled, for: {all: true}}]\nmethods: {sms: {state: disabled}}\n", []string{"only-method", "locked-out"},
			[]string{"switch security defaults on", "take per-user MFA back", "disable the method Sms"}},
		"from a policy and its rollout to defaults": {func(s *posture.Snapshot) {
			s.Policies.Conditional = []posture.ConditionalPolicy{
				require("MFA", posture.Selection{Users: []string{posture.Everybody}}), require("MFA (rollout)", posture.Selection{Groups: []string{groupIT}}),
			}
		}, header + "securityDefaults: enabled\nconditionalAccess: [{name: MFA, state: disabled}]\n", nil,
			[]string{`take the policy "MFA" out of force: disabled`, `remove the policy "MFA (rollout)", which has done its work`, "switch security defaults on"}},
		"a policy in force goes from a group to everybody": {func(s *posture.Snapshot) {
			s.Policies.Conditional = []posture.ConditionalPolicy{require("MFA", posture.Selection{Groups: []string{groupIT}})}
		}, header + "conditionalAccess: [{name: MFA, include: {all: true}}]\nrollout: {waves: [{name: Sales, groups: [Sales], pause: 24h}]}\n", nil,
			[]string{`enforce the policy "MFA" for the wave Sales`, `change the policy "MFA", which is in force after 24h0m0s if good`,
				`remove the policy "MFA (rollout)", which has done its work`}},
		"a policy in force gets another name": {func(s *posture.Snapshot) {
			s.Policies.Conditional = []posture.ConditionalPolicy{require("MFA", posture.Selection{Users: []string{posture.Everybody}})}
		}, header + "conditionalAccess: [{id: 20000000-0000-4000-8000-000000000003, name: All}]\nrollout: {waves: [{name: Sales, groups: [Sales], pause: 24h}]}\n", nil,
			[]string{`change the policy "All", which is in force`}},
		"a policy in a state that nobody knows": {func(s *posture.Snapshot) {
			s.Policies.Conditional = []posture.ConditionalPolicy{require("MFA", posture.Selection{Users: []string{posture.Everybody}})}
			s.Policies.Conditional[0].State = "somehow"
		}, header + "conditionalAccess: [{name: MFA, state: enforced}]\nrollout: {observe: 72h}\n", nil,
			[]string{`change the policy "MFA", which is in force`}},
		"somebody's own policy that is called like one of a rollout": {func(s *posture.Snapshot) {
			everybody := posture.Selection{Users: []string{posture.Everybody}}
			s.Policies.Conditional = []posture.ConditionalPolicy{
				require("A", everybody), require("A (rollout)", everybody), require("MFA", everybody), require("MFA (rollout)", posture.Selection{Groups: []string{groupIT}}),
			}
		}, header + "conditionalAccess: [{name: A, state: disabled}]\n", nil,
			[]string{`take the policy "A" out of force: disabled`}},
		"a method goes from a group to everybody": {toIT, header + "methods: {sms: {include: {all: true}}}\n", nil,
			[]string{"set the method Sms, which takes it from nobody"}},
		"a method goes from everybody to a group": {nil, header + "methods: {sms: {include: {groups: [IT]}}}\n", []string{"only-method"},
			[]string{"take people from the method Sms"}},
		"a method goes from a group to another": {func(s *posture.Snapshot) {
			s.Policies.Methods.Methods["sms"] = posture.MethodSetting{ID: "Sms", Enabled: true, Include: []posture.Target{{ID: groupIT}}}
		}, header + "methods: {sms: {include: {groups: [Sales]}}}\n", nil,
			[]string{"add people to the method Sms", "take people from the method Sms"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso()
			if c.change != nil {
				c.change(&s)
			}
			d := newDesk(s)
			p, err := d.plan(c.file, c.accept...)
			if err != nil || len(p.Refusals) > 0 {
				t.Fatal(p.Refusals, err)
			}
			if diff := cmp.Diff(c.want, titles(p)); diff != "" {
				t.Error(diff)
			}
			if out, err := d.apply(p); err != nil || !out.Done() {
				t.Error(out, err)
			}
		})
	}
}

// A policy that a file cannot say all about comes into force by waves with all of it, and no
// wider.
func TestRolloutKeepsConditions(t *testing.T) {
	const file = `
breakGlass: {accounts: [glass@contoso.example]}
conditionalAccess: [{name: MFA, state: enforced}]
rollout: {waves: [{name: IT, groups: [IT], pause: 24h}, {name: Sales, groups: [Sales], pause: 24h}]}
`
	s := contoso()
	s.Policies.Conditional = []posture.ConditionalPolicy{require("MFA", posture.Selection{Users: []string{posture.Everybody}})}
	p := &s.Policies.Conditional[0]
	p.State, p.Locations, p.Others, p.Grant.Others = posture.PolicyReportOnly, posture.Range{Include: []string{"All"}, Exclude: []string{"AllTrusted"}}, []string{"devices"}, 1
	p.Grant.All = false
	d := newDesk(clone(s))
	plan, err := d.plan(file)
	if err != nil || len(plan.Refusals) > 0 {
		t.Fatal(plan.Refusals, err)
	}
	d.wrote = func() {
		for _, c := range d.Policies.Conditional {
			if diff := cmp.Diff(p.Locations, c.Locations); diff != "" || !slices.Equal(c.Others, p.Others) || c.Grant.Others != 1 {
				t.Errorf("%s: %+v", c.DisplayName, c)
			}
		}
	}
	out, err := d.engine().Apply(t.Context(), plan, "op", "r")
	if err != nil || out.PausedUntil.IsZero() {
		t.Fatal(out, err)
	}

	changed := newDesk(clone(d.memory.Snapshot)) // by hand, while it goes on
	changed.Policies.Conditional[0].Locations.Exclude = nil
	if _, err := changed.plan(file); !errors.Is(err, policy.ErrFile) || !strings.Contains(err.Error(), `other conditions by now than "MFA (rollout)"`) {
		t.Error(err)
	}

	d.now = out.PausedUntil
	if out, err = d.apply(plan); err != nil || !out.Done() {
		t.Fatal(out, err)
	}
	back, err := d.rollback(out.Run)
	if err != nil || len(back.Refusals) > 0 {
		t.Fatal(back.Refusals, err)
	}
	if _, err := d.apply(back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, d.memory.Snapshot, same...); diff != "" {
		t.Error(diff)
	}
}

// Whom a policy would lock out that asks for something else than MFA cannot be told: a file
// may make it ask less, and no more.
func TestOnlyMFAIsEnforced(t *testing.T) {
	block, device := posture.Grant{Controls: []string{posture.ControlBlock}}, posture.Grant{All: true, Controls: []string{posture.ControlMFA, "compliantDevice"}}
	for name, c := range map[string]struct {
		grant posture.Grant
		state posture.PolicyState
		says  string
		want  string // of the error; empty for none
	}{
		"a block that is enforced":     {block, posture.PolicyReportOnly, "state: enforced", "line 3, column 20: conditionalAccess.0.state: the policy asks for something else than MFA"},
		"MFA and a device":             {device, posture.PolicyDisabled, "state: enforced", "asks for something else than MFA"},
		"nothing":                      {posture.Grant{}, posture.PolicyDisabled, "state: enforced", "asks for something else than MFA"},
		"MFA or a device":              {posture.Grant{Controls: device.Controls}, posture.PolicyDisabled, "state: enforced", ""},
		"a block of more people":       {block, posture.PolicyEnabled, "include: {groups: [IT, Sales]}", "the policy is in force and asks for something else than MFA"},
		"a block that leaves out less": {block, posture.PolicyEnabled, "exclude: {}", "the policy is in force and asks for something else than MFA"},
		"a block that leaves out more": {block, posture.PolicyEnabled, "exclude: {users: [ada@contoso.example, glass@contoso.example, root@contoso.example]}", ""},
		"a block as it is":             {block, posture.PolicyEnabled, "state: enforced", ""},
		"a block that ends":            {block, posture.PolicyEnabled, "state: report-only", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso()
			s.Policies.Conditional = []posture.ConditionalPolicy{require("Closed", posture.Selection{Groups: []string{groupIT}})}
			p := &s.Policies.Conditional[0]
			p.Grant, p.State, p.Exclude.Users, p.Apps.Include = c.grant, c.state, []string{"glass", "root"}, []string{posture.Office365}
			_, err := newDesk(s).plan("breakGlass: {accounts: [glass@contoso.example]}\nconditionalAccess:\n  - {name: Closed, " + c.says + "}\n")
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, policy.ErrFile) || !strings.Contains(err.Error(), c.want)) {
				t.Error(err)
			}
		})
	}
}

// A target that takes the place of others may use the Authenticator app as they could.
func TestTargetsKeepTheModeOfTheApp(t *testing.T) {
	for name, c := range map[string]struct{ have, want string }{
		"all the same": {"push", "push"},
		"different":    {"deviceBasedPush", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso()
			app := everybody("MicrosoftAuthenticator")
			app.Include = []posture.Target{{ID: groupIT, Mode: "push"}, {ID: "10000000-0000-4000-8000-000000000003", Mode: c.have}}
			s.Policies.Methods.Methods["microsoftauthenticator"] = app
			p, err := newDesk(s).plan("breakGlass: {none: lab}\nmethods: {microsoftAuthenticator: {include: {groups: [Sales, IT]}}}\n", "only-method", "locked-out")
			if err != nil || p.Empty() {
				t.Fatal(titles(p), err)
			}
			last := p.Steps[len(p.Steps)-1].Writes[0].To.Method.Include
			if !slices.Contains(last, posture.Target{ID: groupIT, Mode: "push"}) || !slices.Contains(last, posture.Target{ID: groupSales, Mode: c.want}) {
				t.Errorf("%+v", last)
			}
		})
	}
}

// Leaving more people out of a policy in force never leaves out guests of more tenants than
// before or after.
func TestGuestsOfSomeTenantsStayThose(t *testing.T) {
	guests := posture.Selection{Guests: []string{"b2bCollaborationGuest"}, GuestTenants: true}
	for name, exclude := range map[string]string{
		"no guests any more":   "{users: [bob@contoso.example]}",
		"and somebody more":    "{users: [bob@contoso.example], guests: [b2bCollaborationGuest]}",
		"guests of other kind": "{guests: [internalGuest]}",
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso()
			s.Policies.Conditional = []posture.ConditionalPolicy{require("MFA", posture.Selection{Users: []string{posture.Everybody}})}
			s.Policies.Conditional[0].Exclude = guests
			p, err := newDesk(s).plan("breakGlass: {none: lab}\nconditionalAccess: [{name: MFA, exclude: " + exclude + "}]\n")
			if err != nil || p.Empty() {
				t.Fatal(titles(p), err)
			}
			for _, step := range p.Steps {
				for _, w := range step.Writes {
					if x := w.To.Policy.Exclude; len(x.Guests) > 0 && !x.GuestTenants {
						t.Errorf("%s leaves out guests of all tenants", step.Title)
					}
				}
			}
		})
	}
}

// nobodyBlocked compares with posture's own words.
func (d *desk) nobodyBlocked(t fataler, before posture.Snapshot, accepted []identity.UserID) {
	t.Helper()
	q := posture.Question{At: today, Phase: posture.Phase2}
	was, err := posture.Evaluate(before, q)
	if err != nil {
		t.Fatal(err)
	}
	is, err := posture.Evaluate(clone(d.Snapshot), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range was.Results {
		for k := range was.Results[i].Accesses {
			b, a := was.Results[i].Accesses[k], is.Results[i].Accesses[k]
			if b.Verdict != posture.Blocked && a.Verdict == posture.Blocked && !slices.Contains(accepted, before.People[i].ID) {
				t.Fatalf("%s is locked out of %q", before.People[i].ID, a.App)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	const header = "breakGlass: {accounts: [glass@contoso.example]}\n"
	const enforce = header + "conditionalAccess: [{name: X, state: enforced, require: mfa, include: {all: true}}]\n"
	nothing := func(s *posture.Snapshot) { // can be registered at a sign-in
		for id, m := range s.Policies.Methods.Methods {
			m.Enabled = false
			s.Policies.Methods.Methods[id] = m
		}
		s.Policies.Methods.Methods["sms"] = posture.MethodSetting{ID: "Sms", Enabled: true, Include: []posture.Target{{ID: "10000000-0000-4000-8000-000000000002"}}}
		s.Policies.Methods.Methods["fido2"] = everybody("Fido2")
		fido := s.Policies.Methods.Methods["fido2"]
		fido.SelfService = posture.No
		s.Policies.Methods.Methods["fido2"] = fido
	}
	for name, c := range map[string]struct {
		change func(*posture.Snapshot)
		file   string
		accept []string
		code   policy.Code // of the first refusal; empty for none
		people []identity.UserID
	}{
		"fine":                     {nil, enforce, nil, "", nil},
		"defaults beside policies": {func(s *posture.Snapshot) { s.Policies.SecurityDefaults = posture.Yes }, enforce, nil, policy.RefuseDefaults, nil},
		"defaults beside somebody's policy": {func(s *posture.Snapshot) {
			s.Policies.Conditional = []posture.ConditionalPolicy{{ID: "20000000-0000-4000-8000-000000000001", DisplayName: "Old", State: posture.PolicyEnabled, Clients: []string{"all"}}}
		}, header + "securityDefaults: enabled\n", nil, policy.RefuseDefaults, nil},
		"defaults go first":              {func(s *posture.Snapshot) { s.Policies.SecurityDefaults = posture.Yes }, enforce + "securityDefaults: disabled\n", nil, "", nil},
		"neither answers nor registers":  {nothing, enforce, nil, policy.RefuseLockout, []identity.UserID{"ada", "new"}},
		"one of them accepted":           {nothing, enforce, []string{"ADA@contoso.example"}, policy.RefuseLockout, []identity.UserID{"new"}},
		"all of them accepted":           {nothing, enforce, []string{"ada", "new"}, "", nil},
		"the reason accepted":            {nothing, enforce, []string{"locked-out"}, "", nil},
		"break-glass is not asked":       {func(s *posture.Snapshot) { nothing(s); s.People[1].Registration.Methods = nil }, enforce, []string{"locked-out"}, "", nil},
		"break-glass loses its method":   {nil, header + "methods: {fido2: {state: disabled}}\n", nil, policy.RefuseBreakGlass, []identity.UserID{"glass"}},
		"break-glass cannot be accepted": {nil, header + "methods: {fido2: {state: disabled}}\n", []string{"glass", "only-method"}, policy.RefuseBreakGlass, []identity.UserID{"glass"}},
		"every administrator": {func(s *posture.Snapshot) { nothing(s); s.People[0].Registration.Methods = nil }, enforce, []string{"locked-out"},
			policy.RefuseAdministrators, []identity.UserID{"root"}},
		"only method":             {nil, header + "methods: {sms: {state: disabled}}\n", nil, policy.RefuseOnlyMethod, []identity.UserID{"bob"}},
		"only method, by targets": {nil, header + "methods: {sms: {include: {groups: [IT]}}}\n", nil, policy.RefuseOnlyMethod, []identity.UserID{"bob"}},
		"only method, accepted":   {nil, header + "methods: {sms: {state: disabled}}\n", []string{"bob"}, "", nil},
		"methods are not known": {func(s *posture.Snapshot) { s.People[2].Registration = posture.Registration{} }, header + "methods: {sms: {state: disabled}}\n",
			[]string{"bob"}, policy.RefuseOnlyMethod, []identity.UserID{"ada"}},
		"a program signs in as a person": {func(s *posture.Snapshot) {
			s.People[2].SignIns = []posture.SignIns{{AppID: posture.Portal, Protocol: posture.ROPC, First: today, Last: today, Count: 1, Succeeded: 1}}
			s.Policies.SecurityDefaults = posture.No
		}, enforce, nil, "", nil}, // enforcement asks it already
		"policies could not be read": {func(s *posture.Snapshot) {
			s.Gaps = []posture.Gap{{Fact: posture.FactConditional, Why: "forbidden"}}
		}, enforce, []string{"fact-missing"}, policy.RefuseFact, nil},
		"registrations could not be read": {func(s *posture.Snapshot) {
			s.Gaps = []posture.Gap{{Fact: posture.FactRegistrations, Why: "forbidden"}}
		}, header + "systemPreferred: enabled\n", []string{"fact-missing"}, policy.RefuseFact, nil},
		"sign-ins could not be read": {func(s *posture.Snapshot) {
			s.Gaps = []posture.Gap{{Fact: posture.FactSignIns, Why: "no licence"}}
		}, header + "systemPreferred: enabled\n", nil, policy.RefuseFact, nil},
		"sign-ins could not be read, accepted": {func(s *posture.Snapshot) {
			s.Gaps = []posture.Gap{{Fact: posture.FactSignIns, Why: "no licence"}}
		}, header + "systemPreferred: enabled\n", []string{"fact-missing"}, "", nil},
		"states are not told": {func(s *posture.Snapshot) {
			s.Gaps = []posture.Gap{{Fact: posture.FactPerUserMFA, Why: "not documented"}}
		}, header + "perUserMfa: [{state: disabled, for: {all: true}}]\n", []string{"fact-missing"}, policy.RefuseFact, nil},
		"nobody can watch": {nil, enforce + "rollout: {stop: {failedSignIns: 0}}\n", nil, policy.RefuseUnwatched, nil},
		"strength that people lack": {nothing, header + "conditionalAccess: [{name: X, state: enforced, require: Phishing-resistant MFA, include: {users: [ada]}}]\n", nil,
			policy.RefuseLockout, []identity.UserID{"ada"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso()
			if c.change != nil {
				c.change(&s)
			}
			d := newDesk(s)
			p, err := d.plan(c.file, c.accept...)
			if err != nil {
				t.Fatal(err)
			}
			var code policy.Code
			var people []identity.UserID
			if len(p.Refusals) > 0 {
				code, people = p.Refusals[0].Code, p.Refusals[0].People
				if p.Refusals[0].WayOut == "" {
					t.Error("no way out is told")
				}
			}
			if code != c.code || !slices.Equal(people, c.people) {
				t.Errorf("%+v", p.Refusals)
			}
			_, err = d.apply(p)
			if refused := errors.Is(err, policy.ErrRefused); refused != (c.code != "") || err != nil && !refused {
				t.Error("apply:", err)
			}
			if c.code != "" && d.writes > 0 {
				t.Errorf("%d writes of a refused plan", d.writes)
			}
		})
	}
}

// A plan that somebody changed, or that is of another tenant, is not applied.
func TestPlanIsTheOneThatWasMade(t *testing.T) {
	d := newDesk(contoso())
	p, err := d.plan("breakGlass: {none: lab}\nmethods: {voice: {state: enabled}}\n")
	if err != nil {
		t.Fatal(err)
	}
	forged := p
	forged.Refusals, forged.Accept = nil, []string{"bob"}
	if _, err := d.apply(forged); !errors.Is(err, policy.ErrNotThisPlan) {
		t.Error(err)
	}
	losing, err := d.plan("breakGlass: {none: lab}\nmethods: {sms: {state: disabled}}\n", "bob")
	if err != nil || len(losing.Refusals) > 0 || losing.Verify() != nil {
		t.Fatal(losing.Refusals, err)
	}
	for what, forge := range map[string]func(*policy.Plan){ // what is shown to whoever agrees
		"nobody loses":     func(p *policy.Plan) { p.Steps[0].Effect.Loses = nil },
		"somebody else":    func(p *policy.Plan) { p.Steps[0].Effect.Loses = []identity.UserID{"ada"} },
		"another warning":  func(p *policy.Plan) { p.Warnings = append(p.Warnings, policy.Warning{Text: "all is well"}) },
		"no calls":         func(p *policy.Plan) { p.Steps[0].Calls = nil },
		"one call is beta": func(p *policy.Plan) { p.Steps[0].Calls[0].Beta = true },
	} {
		text, err := json.MarshalIndent(losing, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		var q policy.Plan
		if err := json.Unmarshal(text, &q); err != nil || q.Verify() != nil {
			t.Fatal(err, q.Verify())
		}
		forge(&q)
		if !errors.Is(q.Verify(), policy.ErrNotThisPlan) {
			t.Errorf("%s: a plan that was changed", what)
		}
	}
	d.Tenant.ID = "fabrikam"
	if _, err := d.apply(p); !errors.Is(err, policy.ErrNotThisPlan) {
		t.Error(err)
	}
	if d.writes > 0 {
		t.Error("written")
	}
}

// What somebody else changes between plan and apply, or between two waves, ends the plan.
func TestSomebodyElse(t *testing.T) {
	d := newDesk(contoso())
	p, err := d.plan(rollout)
	if err != nil {
		t.Fatal(err)
	}
	d.Policies.Methods.Methods["voice"] = everybody("Voice") // not even written by the plan
	if _, err := d.apply(p); !errors.Is(err, policy.ErrChanged) || d.writes > 0 {
		t.Error(err, d.writes)
	}

	d = newDesk(contoso())
	if p, err = d.plan(rollout); err != nil {
		t.Fatal(err)
	}
	out, err := d.engine().Apply(t.Context(), p, "op", "r")
	if err != nil || out.PausedUntil.IsZero() {
		t.Fatal(out, err)
	}
	d.now = out.PausedUntil
	d.Policies.Conditional[0].Exclude.Users = append(d.Policies.Conditional[0].Exclude.Users, "ada")
	writes := d.writes
	if _, err := d.apply(p); !errors.Is(err, policy.ErrChanged) || d.writes > writes {
		t.Error(err)
	}
}

// A person who lost their methods since the plan was made is seen before the next wave.
func TestPeopleChange(t *testing.T) {
	s := contoso()
	s.Policies.Methods.Methods = map[string]posture.MethodSetting{
		"microsoftauthenticator": {ID: "MicrosoftAuthenticator", Enabled: true, Include: []posture.Target{{ID: "10000000-0000-4000-8000-000000000001"}}},
		"sms":                    {ID: "Sms", Enabled: true, Include: []posture.Target{{ID: "10000000-0000-4000-8000-000000000002"}}},
		"fido2":                  {ID: "Fido2", Enabled: true, Include: []posture.Target{{ID: posture.AllUsers}}, SelfService: posture.No},
		"temporaryaccesspass":    {ID: "TemporaryAccessPass"},
	}
	s.People = s.People[:4] // without the one who has nothing
	d := newDesk(s)
	p, err := d.plan(rollout)
	if err != nil || len(p.Refusals) > 0 {
		t.Fatal(p.Refusals, err)
	}
	out, err := d.engine().Apply(t.Context(), p, "op", "r")
	if err != nil {
		t.Fatal(err)
	}
	d.now = out.PausedUntil
	d.People = append(d.People, person("eve"))
	if _, err := d.apply(p); !errors.Is(err, policy.ErrRefused) || !strings.Contains(err.Error(), "neither answer nor register") {
		t.Error(err)
	}
}

func raised(number int64, who identity.UserID, cause flag.Cause, eventType string, at time.Time) []policy.OpenFlag {
	return []policy.OpenFlag{{Number: number, Flag: flag.Flag{User: who, Cause: cause, Type: eventType, At: at}}}
}

func TestStopRule(t *testing.T) {
	began := today.Add(72 * time.Hour) // the first wave
	wave := began.Add(time.Hour)
	stopping := strings.Replace(rollout, "rollout:", "rollout:\n  stop: {failedSignIns: 1, openFlags: 0}", 1)
	for name, c := range map[string]struct {
		failures []policy.Failure
		flags    []policy.OpenFlag
		unread   error
		blocked  bool
		stops    string
	}{
		"good":                              {},
		"failures of others":                {failures: []policy.Failure{{User: "new", At: wave}, {User: "new", At: wave}, {User: "new", At: wave}}},
		"as many as are good":               {failures: []policy.Failure{{User: "ada", At: wave}}},
		"failures":                          {failures: []policy.Failure{{User: "ada", At: wave}, {User: "root", At: wave}}, stops: "2 sign-ins"},
		"failures while it was report-only": {failures: []policy.Failure{{User: "ada", At: today.Add(time.Hour)}, {User: "root", At: today.Add(time.Hour)}}},
		"a flag":                            {flags: raised(17, "ada", flag.TooManyAttempts, "", wave), stops: "flag 17: ada: Too many attempts"},
		"as the first wave begins":          {flags: raised(17, "ada", flag.SmartLockout, "", began), stops: "flag 17: ada"},
		"a call for help that is held":      {flags: raised(18, "root", flag.Held, "mfa.reregister", wave), stops: "flag 18: root: Event is held"},
		"six flags":                         {flags: slices.Repeat(raised(19, "ada", flag.Locked, "", wave), 6), stops: "and 1 more"},
		"a flag about something else":       {flags: raised(17, "ada", flag.Moved, "employee.mover", wave)},
		"a flag about somebody else":        {flags: raised(17, "bob", flag.SmartLockout, "", wave)},
		"a flag about nobody":               {flags: raised(17, "", flag.SmartLockout, "", wave)},
		"a flag from before the first wave": {flags: raised(17, "ada", flag.SmartLockout, "", began.Add(-time.Second))},
		"flags that cannot be read":         {unread: errors.New("event-replay is away"), stops: "event-replay is away"},
		"somebody newly locked out":         {blocked: true, stops: "1 people"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(contoso())
			d.watch = policy.Watch{
				Failures: func(_ context.Context, _ time.Time) ([]policy.Failure, error) { return c.failures, nil },
				Flags:    func(context.Context) ([]policy.OpenFlag, error) { return c.flags, nil },
			}
			p, err := d.plan(stopping)
			if err != nil || len(p.Refusals) > 0 {
				t.Fatal(p.Refusals, err)
			}
			for range 2 { // to the first wave
				out, err := d.engine().Apply(t.Context(), p, "op", "r")
				if err != nil || out.PausedUntil.IsZero() {
					t.Fatal(out, err)
				}
				d.now = out.PausedUntil
			}
			if c.blocked { // by what is no policy of ours
				d.People[2].SignIns = []posture.SignIns{{AppID: posture.Portal, Protocol: posture.ROPC, First: today, Last: today, Count: 1, Succeeded: 1}}
			}
			if c.unread != nil {
				d.watch.Flags = func(context.Context) ([]policy.OpenFlag, error) { return nil, c.unread }
			}
			writes := d.writes
			_, err = d.apply(p)
			if c.stops == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, policy.ErrStopped) || !strings.Contains(err.Error(), c.stops) || d.writes > writes {
				t.Error(err, d.writes-writes)
			}
		})
	}
}

// What somebody puts back by hand is enforced again by the same file, whether the run of it
// had ended or not.
func TestPutBackByHand(t *testing.T) {
	const campaign = "breakGlass: {none: lab}\nregistrationCampaign: {state: enabled}\n"
	for name, file := range map[string]string{
		"after the run":  campaign,
		"during the run": rollout,
	} {
		t.Run(name, func(t *testing.T) {
			before := contoso()
			d := newDesk(clone(before))
			p, err := d.plan(file)
			if err != nil {
				t.Fatal(err)
			}
			first, err := d.engine().Apply(t.Context(), p, "op", "r")
			if err != nil {
				t.Fatal(err)
			}
			d.memory.Snapshot, d.now = clone(before), d.now.Add(100*time.Hour)
			again, err := d.plan(file)
			if err != nil || again.Digest != p.Digest {
				t.Fatal("the plan of the same state has another digest:", err)
			}
			out, err := d.apply(again)
			if err != nil || !out.Done() || out.Already || out.Run == first.Run {
				t.Errorf("%+v, %v", out, err)
			}
			if d.Policies.Methods.Campaign.State != "enabled" {
				t.Error("nothing was done")
			}
		})
	}
}

// A rollout that is planned anew is measured against what was before its first wave, whatever
// became of the runs in between.
func TestStopRuleOutlivesItsRun(t *testing.T) {
	stopping := strings.Replace(rollout, "rollout:", "rollout:\n  stop: {failedSignIns: 1}", 1)
	for name, c := range map[string]struct {
		between string // a file that is applied before the rollout is planned anew
		blocked bool
		stops   string
	}{
		"failures":                  {stops: "2 sign-ins"},
		"failures, and another run": {between: "breakGlass: {none: lab}\nmethods: {voice: {state: enabled}}\n", stops: "2 sign-ins"},
		"somebody newly locked out": {blocked: true, stops: "1 people"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(contoso())
			var failures []policy.Failure
			d.watch.Failures = func(context.Context, time.Time) ([]policy.Failure, error) { return failures, nil }
			p, err := d.plan(stopping)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // to the first wave
				out, err := d.engine().Apply(t.Context(), p, "op", "r")
				if err != nil || out.PausedUntil.IsZero() {
					t.Fatal(out, err)
				}
				d.now = out.PausedUntil
			}
			if c.blocked { // by what is no policy of ours
				d.People[2].SignIns = []posture.SignIns{{AppID: posture.Portal, Protocol: posture.ROPC, First: today, Last: today, Count: 1, Succeeded: 1}}
			} else {
				failures = slices.Repeat([]policy.Failure{{User: "ada", At: d.now.Add(-time.Hour)}}, 2)
			}
			for _, file := range []string{c.between, stopping} {
				if file == "" {
					continue
				}
				if p, err = d.plan(file); err != nil {
					t.Fatal(err)
				}
				d.now = d.now.Add(time.Minute)
				if file == c.between {
					if _, err := d.apply(p); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !p.Steps[0].Gate {
				t.Fatal(titles(p))
			}
			writes := d.writes
			if _, err := d.apply(p); !errors.Is(err, policy.ErrStopped) || !strings.Contains(err.Error(), c.stops) || d.writes > writes {
				t.Error(err, d.writes-writes)
			}
		})
	}
}

// Whoever registers goes from enabled to enforced by that: it is what was asked for, and
// neither drift nor somebody else's change.
func TestRegisteringIsNoChange(t *testing.T) {
	const file = `
breakGlass: {none: lab}
perUserMfa: [{state: enabled, for: {users: [ada@contoso.example, bob@contoso.example]}}]
`
	d := newDesk(contoso())
	p, err := d.plan(file)
	if err != nil {
		t.Fatal(err)
	}
	d.trouble = func(_ policy.Write, after bool) error {
		if after {
			return errKilled
		}
		return nil
	}
	if _, err := d.apply(p); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	d.trouble, d.now = nil, d.now.Add(4*time.Minute)
	ada := &d.memory.Snapshot.People[2]
	if ada.PerUserMFA != posture.PerUserEnabled {
		t.Fatal(ada)
	}
	ada.PerUserMFA = posture.PerUserEnforced
	out, err := d.apply(p)
	if err != nil || !out.Done() || d.writes != 1 {
		t.Fatal(out, err, d.writes)
	}
	if again, err := d.plan(file); err != nil || !again.Empty() {
		t.Error(titles(again), err)
	}
	f, err := policy.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if drift, err := d.planner().Drift(t.Context(), f, clone(d.memory.Snapshot)); err != nil || len(drift) > 0 {
		t.Error(drift, err)
	}
	back, err := d.rollback(out.Run)
	if err != nil || len(back.Refusals) > 0 {
		t.Fatal(back.Refusals, err)
	}
	if _, err := d.apply(back); err != nil {
		t.Fatal(err)
	}
	for _, person := range d.People {
		if person.PerUserMFA != posture.PerUserDisabled {
			t.Error(person.ID, person.PerUserMFA)
		}
	}
}

// Waiting is for what time cures; anything else ends the run, which goes on later.
func TestTrouble(t *testing.T) {
	busy := &identity.RetryError{After: 7 * time.Second, Err: errors.New("429")}
	lost := &identity.RetryError{Unknown: true, Err: errors.New("502")}
	for name, c := range map[string]struct {
		before, after error // of every first write
		writes        int
		slept         []time.Duration
	}{
		"busy":        {before: busy, writes: 10, slept: slices.Repeat([]time.Duration{7 * time.Second}, 10)},
		"answer lost": {after: lost, writes: 10, slept: slices.Repeat([]time.Duration{5 * time.Second}, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso()
			s.People[2].PerUserMFA, s.People[3].PerUserMFA, s.People[4].PerUserMFA = posture.PerUserEnabled, posture.PerUserEnabled, posture.PerUserEnabled
			d := newDesk(s)
			p, err := d.plan(rollout)
			if err != nil {
				t.Fatal(err)
			}
			failed := map[string]bool{}
			d.trouble = func(w policy.Write, after bool) error {
				key := w.Object.String() + titles(p)[0]
				if data, err := json.Marshal(w.To); err == nil {
					key += string(data)
				}
				want := c.before
				if after {
					want = c.after
				}
				if want == nil || failed[key] {
					return nil
				}
				failed[key] = true
				return want
			}
			if out, err := d.apply(p); err != nil || !out.Done() {
				t.Fatal(out, err)
			}
			if d.writes != c.writes || !slices.Equal(d.slept, c.slept) {
				t.Error(d.writes, d.slept)
			}
			if again, err := d.plan(rollout); err != nil || !again.Empty() {
				t.Error(titles(again), err)
			}
		})
	}
	d := newDesk(contoso())
	p, err := d.plan(rollout)
	if err != nil {
		t.Fatal(err)
	}
	d.trouble = func(policy.Write, bool) error { return identity.ErrForbidden }
	if _, err := d.apply(p); !errors.Is(err, identity.ErrForbidden) || len(d.slept) > 0 {
		t.Error(err, d.slept)
	}
	d.trouble = nil
	if out, err := d.apply(p); err != nil || !out.Done() {
		t.Error(out, err)
	}
}

// What a rollback would put back and somebody else has changed since is left to them.
func TestRollbackLeavesOthersAlone(t *testing.T) {
	d := newDesk(contoso())
	p, err := d.plan("breakGlass: {none: lab}\nmethods: {voice: {state: enabled, include: {all: true}}}\n")
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.apply(p)
	if err != nil {
		t.Fatal(err)
	}
	d.Policies.Methods.Methods["voice"] = posture.MethodSetting{ID: "Voice", Enabled: true, Include: []posture.Target{{ID: "somebody"}}}
	back, err := d.rollback(out.Run)
	if err != nil || len(back.Refusals) != 1 || back.Refusals[0].Code != policy.RefuseForeign {
		t.Error(back.Refusals, err)
	}
	if _, err := d.apply(back); !errors.Is(err, policy.ErrRefused) {
		t.Error(err)
	}
}

func TestDrift(t *testing.T) {
	d := newDesk(contoso())
	f, err := policy.Parse([]byte(rollout))
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.plan(rollout)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.apply(p); err != nil {
		t.Fatal(err)
	}
	drift := func() []string {
		list, err := d.planner().Drift(t.Context(), f, clone(d.Snapshot))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, x := range list {
			out = append(out, string(x.Kind)+" "+x.Name+" "+x.Member+": "+string(x.Have)+" not "+string(x.Want))
		}
		return out
	}
	if got := drift(); len(got) > 0 {
		t.Error(got)
	}
	d.Policies.Conditional[0].State = posture.PolicyDisabled
	d.People[2].PerUserMFA = posture.PerUserEnabled
	d.Policies.SecurityDefaults = posture.Unknown // not managed
	want := []string{`conditional-access Require MFA state: "disabled" not "enabled"`, `per-user-mfa  state: "enabled" not "disabled"`}
	if diff := cmp.Diff(want, drift()); diff != "" {
		t.Error(diff)
	}
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}
