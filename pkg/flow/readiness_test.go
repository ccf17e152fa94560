package flow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/files"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	graphsim "mfaflow/pkg/sim/graph"
)

func wake(context.Context, time.Duration) error { return nil }

// gatherer reads a tenant of the simulator over HTTP.
func gatherer(t *testing.T, tenant *graphsim.Tenant, now time.Time) (readiness.Gatherer, *graphsim.Server) {
	t.Helper()
	w := &world{t: t}
	w.tenant = startTenant(t, tenant, now)
	return readiness.Gatherer{
		Tenant: w.directory("readiness-report"), Store: files.Folder(t.TempDir()), Now: func() time.Time { return now }, Sleep: wake,
		BreakGlass: nil,
	}, w.tenant
}

func TestSmoke(t *testing.T) {
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	g, _ := gatherer(t, tenant, t0)
	s, err := g.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s.Gaps)
	r, err := readiness.NewReport(s, posture.Question{At: t0, Phase: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.People {
		var lines []string
		for _, x := range p.Reasons {
			lines = append(lines, r.Sentence(x))
		}
		t.Logf("%s/%s %s %v %v\n      %s", p.Verdict, p.AtBest, p.UserPrincipalName, p.Methods, p.Marks, strings.Join(lines, "\n      "))
	}
	for _, n := range r.Notes {
		t.Log(n.Detail)
	}
	_ = errors.New
}

func startTenant(t *testing.T, tenant *graphsim.Tenant, now time.Time) *graphsim.Server {
	t.Helper()
	s, err := graphsim.Start(t.Context(), graphsim.Options{Tenant: tenant})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
