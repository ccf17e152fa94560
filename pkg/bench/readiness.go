package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/graph"
	simgraph "mfaflow/pkg/sim/graph"
)

// readPeople is the size of the tenant that is read.
const readPeople = 100_000

// readinessReports measures what it costs to judge everybody, and works out how long
// Microsoft's limits make it take.
func readinessReports(ctx context.Context, bin Bin) (figures []Figure, err error) {
	tenant := simgraph.Generate(simgraph.GenerateOptions{Users: readPeople, Seed: 7, Now: time.Now()})
	s, err := openSite(ctx, tenant, 0, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	reports, err := os.MkdirTemp(s.dir, "reports-")
	if err != nil {
		return nil, err
	}
	made := make(chan entry, 1)
	clientID, secret := s.graph.App("readiness-report")
	began := time.Now()
	p, err := command{
		path: bin.path("readiness-report"),
		env: append(machine(),
			"SSL_CERT_FILE="+s.caFile(),
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING="+s.bus.ConnectionString(),
			"MFAFLOW_TENANT_ID="+s.graph.TenantID(), "MFAFLOW_CLIENT_ID="+clientID, "MFAFLOW_CLIENT_SECRET="+secret,
			"MFAFLOW_AUTHORITY_URL="+s.graph.AuthorityURL(), "MFAFLOW_GRAPH_URL="+s.graph.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
			"MFAFLOW_REPORTS_URL=file://"+filepath.ToSlash(reports),
		),
		ready: func(line []byte) bool {
			e, err := parseEntry(line)
			return err == nil && e.Message == "ready"
		},
		each: func(line []byte) {
			if e, err := parseEntry(line); err == nil && e.Message == "readiness" {
				select {
				case made <- e:
				default:
				}
			}
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	select {
	case e := <-made:
		if e.Outcome != "done" {
			return nil, fmt.Errorf("the report ends as %q", e.Outcome)
		}
	case <-p.done:
		return nil, errNoLine
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	took := time.Since(began)
	figures = append([]Figure{{Name: "people", Value: float64(len(tenant.Users)), Unit: ""}}, countCalls(s.graph.Requests()).figures(took)...)
	figures = append(figures, Figure{Name: "peak memory", Value: p.peakMemory(), Unit: "MiB"}.bounded(Under, 1024))
	for _, name := range []string{"report.json", "report.csv", "report.html"} {
		if info, err := os.Stat(filepath.Join(reports, "latest", name)); err == nil {
			figures = append(figures, Figure{Name: name, Value: float64(info.Size()) / (1 << 20), Unit: "MiB"})
		}
	}
	return slices.Clip(figures), nil
}

// gathering is the requests that reading a tenant took.
type gathering struct {
	calls  int
	slow   int // against Microsoft's limit for reports and sign-ins
	single int // for one person
}

func countCalls(log []simgraph.Request) (g gathering) {
	for _, r := range log {
		path := strings.TrimPrefix(strings.TrimPrefix(r.Path, "/v1.0"), "/beta")
		switch {
		case strings.Contains(path, "oauth2"):
			continue
		case strings.HasPrefix(path, "/reports/"), strings.HasPrefix(path, "/auditLogs/"), strings.Contains(r.Query, "signInActivity"):
			g.slow++
		case strings.HasPrefix(path, "/users/") && !strings.HasSuffix(path, "/$count"):
			g.single++
		}
		g.calls++
	}
	return g
}

// figures are what it took, and what Microsoft's limits would make of it.
func (g gathering) figures(took time.Duration) []Figure {
	limit := graph.DocumentedBudget()
	atLeast := time.Duration(math.Ceil(float64(g.slow)/float64(limit.Methods.Requests))) * limit.Methods.Window
	return []Figure{
		{Name: "calls to Graph", Value: float64(g.calls), Unit: ""},
		Figure{Name: "  for one person", Value: float64(g.single), Unit: ""}.bounded(AtMost, 0),
		{Name: "  of reports and sign-ins", Value: float64(g.slow), Unit: ""},
		{Name: "seconds, Graph not limiting", Value: took.Seconds(), Unit: "s"},
		{Name: "minutes that 5 requests in 10 s make of it", Value: (took + atLeast).Minutes(), Unit: "min"},
	}
}
