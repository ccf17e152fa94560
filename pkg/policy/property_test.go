package policy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

const (
	groupIT    = "10000000-0000-4000-8000-000000000001"
	groupSales = "10000000-0000-4000-8000-000000000002"
)

// drawTenant is a small tenant of whom everything is known.
func drawTenant(t *rapid.T) posture.Snapshot {
	s := contoso()
	kinds := []posture.Method{posture.AuthenticatorPush, posture.MobilePhone, posture.SecurityKey, posture.SoftwareCode, posture.OfficePhone}
	s.Groups = map[string]posture.Group{groupIT: {DisplayName: "IT"}, groupSales: {DisplayName: "Sales"}}
	for i := range s.People {
		p := &s.People[i]
		if i > 1 || rapid.Bool().Draw(t, "privileged as drawn") {
			p.Registration.Methods = rapid.SliceOfNDistinct(rapid.SampledFrom(kinds), 0, 2, rapid.ID).Draw(t, "methods")
			p.Enabled = rapid.IntRange(0, 9).Draw(t, "enabled") > 0
		}
		p.PerUserMFA = rapid.SampledFrom([]posture.PerUserMFA{posture.PerUserDisabled, posture.PerUserDisabled, posture.PerUserEnabled, posture.PerUserEnforced}).Draw(t, "per-user")
		if rapid.IntRange(0, 4).Draw(t, "program") == 0 {
			p.SignIns = []posture.SignIns{{AppID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", Protocol: posture.ROPC, First: today, Last: today, Count: 3, Succeeded: 3}}
		}
		for _, g := range []string{groupIT, groupSales} {
			if rapid.Bool().Draw(t, "in "+g) {
				group := s.Groups[g]
				group.Members = append(group.Members, p.ID)
				s.Groups[g] = group
			}
		}
	}
	for _, id := range []string{"microsoftauthenticator", "sms", "voice", "fido2", "softwareoath"} {
		s.Policies.Methods.Methods[id] = drawMethod(t, id)
	}
	s.Policies.Methods.Campaign = posture.Campaign{State: "default", SnoozeDays: 3, Include: []posture.Target{{ID: posture.AllUsers, Method: "microsoftAuthenticator"}}}
	s.Policies.SecurityDefaults = posture.AnswerOf(rapid.IntRange(0, 3).Draw(t, "defaults") == 0)
	states := []posture.PolicyState{posture.PolicyEnabled, posture.PolicyDisabled, posture.PolicyReportOnly}
	if s.Policies.SecurityDefaults == posture.Yes {
		states = states[1:]
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "policies") {
		p := posture.ConditionalPolicy{
			ID: fmt.Sprintf("20000000-0000-4000-8000-%012d", i), DisplayName: fmt.Sprintf("Policy %d", i), State: rapid.SampledFrom(states).Draw(t, "state"),
			Apps: posture.Apps{Include: []string{posture.Everybody}}, Clients: []string{"all"}, Grant: posture.Grant{Controls: []string{posture.ControlMFA}},
			Exclude: posture.Selection{Users: []string{"glass"}},
		}
		if rapid.Bool().Draw(t, "everybody") {
			p.Include.Users = []string{posture.Everybody}
		} else {
			p.Include.Groups = []string{rapid.SampledFrom([]string{groupIT, groupSales}).Draw(t, "group")}
		}
		switch rapid.IntRange(0, 5).Draw(t, "conditions") {
		case 0:
			p.Locations = posture.Range{Include: []string{posture.Everybody}, Exclude: []string{"AllTrusted"}}
		case 1:
			p.Others, p.Clients = []string{"devices"}, []string{"browser"}
		}
		if rapid.IntRange(0, 2).Draw(t, "strength") == 0 {
			p.Grant = posture.Grant{Strength: phishing}
		}
		s.Policies.Conditional = append(s.Policies.Conditional, p)
	}
	return s
}

func drawMethod(t *rapid.T, id string) posture.MethodSetting {
	m := posture.MethodSetting{ID: id, Enabled: rapid.Bool().Draw(t, "enabled")}
	target := rapid.SampledFrom([]string{posture.AllUsers, posture.AllUsers, groupIT, groupSales})
	m.Include = []posture.Target{{ID: target.Draw(t, "for")}}
	if rapid.IntRange(0, 3).Draw(t, "excluding") == 0 {
		m.Exclude = []posture.Target{{ID: groupSales}}
	}
	return m
}

// drawFile is a file for such a tenant, as text.
func drawFile(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("breakGlass: {accounts: [glass]}\n")
	who := func(label string) string {
		return rapid.SampledFrom([]string{"{all: true}", "{groups: [IT]}", "{groups: [Sales]}", "{groups: [IT], users: [bob]}"}).Draw(t, label)
	}
	onOff := func(label string) string {
		return rapid.SampledFrom([]string{"enabled", "disabled"}).Draw(t, label)
	}
	some := func(label string) bool { return rapid.Bool().Draw(t, label) }
	if some("methods") {
		b.WriteString("methods:\n")
		for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"microsoftAuthenticator", "sms", "voice", "fido2", "softwareOath"}), 1, 3, rapid.ID).Draw(t, "which") {
			fmt.Fprintf(&b, "  %s: {state: %s, include: %s}\n", m, onOff("state"), who("include"))
		}
	}
	if some("campaign") {
		fmt.Fprintf(&b, "registrationCampaign: {state: %s, include: %s}\n", onOff("campaign state"), who("campaign for"))
	}
	states := []string{"enforced", "report-only", "disabled"}
	if some("defaults") {
		v := onOff("defaults state")
		fmt.Fprintf(&b, "securityDefaults: %s\n", v)
		if v == "enabled" {
			states = states[1:]
		}
	}
	if some("policies") {
		b.WriteString("conditionalAccess:\n")
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 1, 2, rapid.ID).Draw(t, "policy") {
			fmt.Fprintf(&b, "  - {name: Policy %d, state: %s, require: %s, include: %s}\n", n, rapid.SampledFrom(states).Draw(t, "state"),
				rapid.SampledFrom([]string{"mfa", "mfa", "Phishing-resistant MFA"}).Draw(t, "require"), who("policy for"))
		}
	}
	if some("per-user") {
		fmt.Fprintf(&b, "perUserMfa:\n  - {state: %s, for: %s}\n", rapid.SampledFrom([]string{"disabled", "disabled", "enabled", "enforced"}).Draw(t, "state"), who("per-user for"))
	}
	if some("waves") {
		b.WriteString("rollout: {observe: 1h, waves: [{name: A, groups: [IT], pause: 2h}, {name: B, groups: [Sales]}]}\n")
	}
	return b.String()
}

// accepting takes upon itself what an operator may.
func accepting(p policy.Plan) []string {
	var codes []string
	for _, r := range p.Refusals {
		if r.Acceptable {
			codes = append(codes, string(r.Code))
		}
	}
	return codes
}

// For any tenant and any file: after every write of a plan that nothing refuses nobody
// loses a way in, the state that is reached is the file's, and a rollback restores what was.
func TestNoPlanLocksAnybodyOut(t *testing.T) {
	applied := 0
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(drawTenant(t))
		before := clone(d.Snapshot)
		file := drawFile(t)
		p, err := d.plan(file)
		if err != nil {
			t.Fatalf("%v\n%s", err, file)
		}
		var accepted []identity.UserID
		if len(p.Refusals) > 0 && rapid.Bool().Draw(t, "accept") {
			if p, err = d.plan(file, accepting(p)...); err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Accepted {
				accepted = append(accepted, r.People...)
			}
		}
		if len(p.Refusals) > 0 {
			if _, err := d.apply(p); !errors.Is(err, policy.ErrRefused) || d.writes > 0 {
				t.Fatal(err, d.writes)
			}
			return
		}
		d.wrote = func() { d.nobodyBlocked(t, before, accepted) }
		out, err := d.apply(p)
		if err != nil || !out.Done() {
			t.Fatalf("%+v, %v\n%s\n%s", out, err, file, strings.Join(titles(p), "\n"))
		}
		again, err := d.plan(file)
		if err != nil || !again.Empty() {
			t.Fatalf("not reached: %v, %v\n%s", titles(again), err, file)
		}
		if p.Empty() {
			return
		}
		applied++
		d.wrote = nil
		back, err := d.rollback(out.Run)
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Refusals) > 0 {
			if back, err = d.rollback(out.Run, accepting(back)...); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range back.Refusals { // what was before had locked them out
			if r.Code != policy.RefuseAdministrators && r.Code != policy.RefuseBreakGlass {
				t.Fatal(back.Refusals)
			}
		}
		if len(back.Refusals) > 0 {
			return
		}
		if _, err := d.apply(back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, d.Snapshot, same...); diff != "" {
			t.Fatalf("rollback: %s\n%s", diff, file)
		}
	})
	if applied == 0 {
		t.Error("no plan was applied")
	}
}

var same = []cmp.Option{
	cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b string) bool { return a < b }),
	cmpopts.SortSlices(func(a, b posture.ConditionalPolicy) bool { return a.ID < b.ID }),
	cmpopts.SortSlices(func(a, b posture.Target) bool { return a.ID < b.ID }),
}

// A process that is killed at any moment around any write, and begun again, comes to the
// same end, and its rollback to the same beginning.
func TestKilledAnywhere(t *testing.T) {
	s := contoso()
	s.People = append(s.People, person("eve", posture.AuthenticatorPush))
	for i := range s.People {
		s.People[i].PerUserMFA = posture.PerUserEnabled
	}
	reference := newDesk(s)
	p, err := reference.plan(rollout)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reference.apply(p); err != nil {
		t.Fatal(err)
	}
	for _, moment := range []string{"before", "after", "record"} {
		for n := range 200 {
			d := newDesk(clone(s))
			p, err := d.plan(rollout)
			if err != nil {
				t.Fatal(err)
			}
			moments := 0
			kill := func() error { // who is dead does nothing more
				if moments++; moments > n {
					return errKilled
				}
				return nil
			}
			switch moment {
			case "record":
				d.store.full = func(string) error { return kill() }
			default:
				d.trouble = func(_ policy.Write, after bool) error {
					if after == (moment == "after") {
						return kill()
					}
					return nil
				}
			}
			_, err = d.apply(p)
			if err == nil {
				if n < 10 {
					t.Errorf("%s: only %d moments", moment, n)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			d.store.full, d.trouble = nil, nil
			d.now = d.now.Add(4 * time.Minute) // until the claim of the dead one has ended
			out, err := d.apply(p)
			if err != nil || !out.Done() {
				t.Fatalf("%s %d: %+v, %v", moment, n, out, err)
			}
			if diff := cmp.Diff(reference.Snapshot, d.Snapshot, append(slices.Clone(same), cmpopts.IgnoreFields(posture.ConditionalPolicy{}, "ID"))...); diff != "" {
				t.Fatalf("%s %d: %s", moment, n, diff)
			}
			back, err := d.rollback(out.Run)
			if err != nil || len(back.Refusals) > 0 {
				t.Fatal(back.Refusals, err)
			}
			if _, err := d.apply(back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(clone(s), d.Snapshot, same...); diff != "" {
				t.Fatalf("%s %d, rollback: %s", moment, n, diff)
			}
		}
	}
}

// A run that was killed half way is taken back from there.
func TestRollbackOfHalfARun(t *testing.T) {
	s := contoso()
	for i := range s.People {
		s.People[i].PerUserMFA = posture.PerUserEnforced
	}
	for n := range 12 {
		d := newDesk(clone(s))
		p, err := d.plan(rollout)
		if err != nil {
			t.Fatal(err)
		}
		writes := 0
		d.trouble = func(_ policy.Write, after bool) error {
			if after {
				if writes++; writes == n+1 {
					return errKilled
				}
			}
			return nil
		}
		if _, err := d.apply(p); err == nil {
			break
		}
		d.trouble = nil
		runs, err := policy.Runs(context.Background(), d.store)
		if err != nil || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		back, err := d.rollback(runs[0].ID)
		if err != nil || len(back.Refusals) > 0 {
			t.Fatal(back.Refusals, err)
		}
		d.wrote = func() { d.nobodyBlocked(t, s, nil) }
		if _, err := d.apply(back); err != nil {
			t.Fatal(n, err)
		}
		if diff := cmp.Diff(clone(s), d.Snapshot, same...); diff != "" {
			t.Fatalf("%d: %s", n, diff)
		}
	}
}
