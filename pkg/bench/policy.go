package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mfaflow/pkg/policy"
	simgraph "mfaflow/pkg/sim/graph"
)

// everybodyAnswers takes a tenant of any kind to Conditional Access for everybody, in waves,
// and takes per-user MFA back.
const everybodyAnswers = `breakGlass: {none: those of a made-up tenant are named in the settings}
methods:
  softwareOath: {state: enabled, include: {all: true}}
registrationCampaign: {state: enabled, include: {all: true}}
conditionalAccess:
  - {name: Everybody answers, state: enforced, require: mfa, include: {all: true}}
perUserMfa:
  - {state: disabled, for: {all: true}}
rollout:
  waves: [{name: first, groups: [%s], pause: 24h}]
`

// policyPlans measures what it costs to plan how everybody is asked for MFA.
func policyPlans(ctx context.Context, bin Bin) (figures []Figure, err error) {
	tenant := simgraph.Generate(simgraph.GenerateOptions{Users: readPeople, Seed: 7, Now: time.Now()})
	for i, u := range tenant.Users {
		u.PerUserMFA = []string{"", "enabled", "enforced"}[i%3]
	}
	s, err := openSite(ctx, tenant, 0, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	file, planned := filepath.Join(s.dir, "policy.yaml"), filepath.Join(s.dir, "rollout.plan")
	if err := os.WriteFile(file, fmt.Appendf(nil, everybodyAnswers, tenant.Groups[0].ID), 0o600); err != nil {
		return nil, err
	}
	clientID, secret := s.graph.App("tenant-administrator")
	p, err := command{
		path: bin.path("mfaflow"), args: []string{"policy", "plan", file, "-o", planned},
		env: append(machine(),
			"SSL_CERT_FILE="+s.caFile(),
			"MFAFLOW_TENANT_ID="+s.graph.TenantID(), "MFAFLOW_CLIENT_ID="+clientID, "MFAFLOW_CLIENT_SECRET="+secret,
			"MFAFLOW_AUTHORITY_URL="+s.graph.AuthorityURL(), "MFAFLOW_GRAPH_URL="+s.graph.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
			"MFAFLOW_REPORTS_URL=file://"+filepath.ToSlash(s.dir),
		),
	}.run(ctx)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(planned)
	if err != nil {
		return nil, fmt.Errorf("no plan was made: %s", p.last)
	}
	var plan policy.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return nil, err
	}
	writes := 0
	for _, step := range plan.Steps {
		writes += len(step.Calls)
	}
	c := countCalls(s.graph.Requests())
	return append([]Figure{{Name: "people", Value: float64(len(tenant.Users)), Unit: ""}}, append(c.figures(p.took),
		Figure{Name: "peak memory", Value: p.peak, Unit: "MiB"}.bounded(Under, 1024),
		Figure{Name: "steps of the plan", Value: float64(len(plan.Steps)), Unit: ""}.bounded(AtLeast, 1),
		Figure{Name: "requests that it would make", Value: float64(writes), Unit: ""},
		Figure{Name: "the plan", Value: float64(len(text)) / (1 << 20), Unit: "MiB"},
	)...), nil
}
