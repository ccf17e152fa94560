package policy_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

// A plan of what a tenant has changes nothing, but for what is told.
func TestShowIsWhatThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(drawTenant(t))
		f, notes, err := d.planner().Show(context.Background(), clone(d.Snapshot))
		if err != nil {
			t.Fatal(err)
		}
		text, err := f.YAML()
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.plan(string(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !p.Empty() && !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "all the same") }) {
			t.Fatalf("%v\n%s", titles(p), text)
		}
		for _, s := range p.Steps {
			if s.Phase != policy.PhaseExclude && s.Phase != policy.PhaseReport {
				t.Fatalf("%s\n%s", s.Title, text)
			}
		}
	})
}

// What a file cannot say is left out and told.
func TestShowLeavesOut(t *testing.T) {
	s := contoso()
	s.Policies.Conditional = append(s.Policies.Conditional,
		posture.ConditionalPolicy{ID: "60000000-0000-4000-8000-000000000001", DisplayName: "Block old clients", State: posture.PolicyEnabled, Grant: posture.Grant{Controls: []string{posture.ControlBlock}}},
		posture.ConditionalPolicy{ID: "60000000-0000-4000-8000-000000000002", DisplayName: "For the one who left", State: "someday",
			Include: posture.Selection{Users: []string{"99999999-0000-4000-8000-000000000009"}}, Grant: posture.Grant{Controls: []string{posture.ControlMFA}}},
	)
	d := newDesk(s)
	f, notes, err := d.planner().Show(t.Context(), clone(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Block old clients" is left out`, `include of the policy "For the one who left" is left out`, `"someday" is unknown`} {
		if !strings.Contains(strings.Join(notes, "\n"), want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
	i := slices.IndexFunc(f.Conditional, func(p policy.Policy) bool { return p.Name == "For the one who left" })
	if i < 0 || f.Conditional[i].Include != nil || f.Conditional[i].State != "" {
		t.Errorf("%+v", f.Conditional)
	}
}
