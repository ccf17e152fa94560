package policy_test

import (
	"context"
	"fmt"
	"testing"

	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

// A plan for 100,000 people, all of whom have per-user MFA.
func BenchmarkPlan(b *testing.B) {
	s := contoso()
	sales := posture.Group{DisplayName: "Sales"}
	for i := range 100_000 {
		p := person(fmt.Sprintf("30000000-0000-4000-8000-%012d", i), posture.AuthenticatorPush)
		p.PerUserMFA = posture.PerUserEnforced
		s.People = append(s.People, p)
		if i%10 == 0 {
			sales.Members = append(sales.Members, p.ID)
		}
	}
	s.Groups[groupSales] = sales
	d := newDesk(s)
	f, err := policy.Parse([]byte(rollout))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := d.planner().Plan(context.Background(), policy.Request{File: f, Snapshot: s})
		if err != nil || len(p.Refusals) > 0 {
			b.Fatal(p.Refusals, err)
		}
		b.ReportMetric(float64(len(p.Steps)), "steps")
	}
}
