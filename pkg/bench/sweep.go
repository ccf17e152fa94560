package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	simgraph "mfaflow/pkg/sim/graph"
)

// sweptPeople is the size of the tenant that is swept.
const sweptPeople = 100_000

// sweeps measures what it costs to read everybody again, because the directory has
// forgotten where the sweep was, and what a round without changes costs.
func sweeps(ctx context.Context, bin Bin) (figures []Figure, err error) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return nil, err
	}
	if _, err := populate(tenant, modelJoiner, sweptPeople); err != nil {
		return nil, err
	}
	s, err := openSite(ctx, tenant, 0, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	rounds := make(chan entry, 64)
	clientID, secret := s.graph.App("tenant-sweep")
	p, err := command{
		path: bin.path("tenant-sweep"),
		env: append(machine(),
			"SSL_CERT_FILE="+s.caFile(),
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING="+s.bus.ConnectionString(),
			"MFAFLOW_TENANT_ID="+s.graph.TenantID(), "MFAFLOW_CLIENT_ID="+clientID, "MFAFLOW_CLIENT_SECRET="+secret,
			"MFAFLOW_AUTHORITY_URL="+s.graph.AuthorityURL(), "MFAFLOW_GRAPH_URL="+s.graph.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
			"MFAFLOW_DEFAULT_TIME_ZONE=UTC", "MFAFLOW_POLL=risky-users", "MFAFLOW_LOG_LEVEL=DEBUG", "MFAFLOW_SWEEP_INTERVAL=1s",
		),
		ready: func(line []byte) bool {
			e, err := parseEntry(line)
			return err == nil && e.Message == "ready"
		},
		each: func(line []byte) {
			if e, err := parseEntry(line); err == nil && e.Message == "sweep" && e.Task == "changes" {
				rounds <- e
			}
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	next := func() (entry, error) {
		select {
		case e := <-rounds:
			if e.Outcome != "done" {
				return e, fmt.Errorf("a sweep ends as %q", e.Outcome)
			}
			return e, nil
		case <-p.done:
			return entry{}, errNoLine
		case <-ctx.Done():
			return entry{}, context.Cause(ctx)
		}
	}
	if _, err = next(); err != nil { // begins
		return nil, err
	}
	quiet, err := next()
	if err != nil {
		return nil, err
	}
	small := p.peakMemory()
	s.graph.ClearRequests()
	s.graph.ResetDelta()
	whole, err := next()
	if err != nil {
		return nil, err
	}
	if whole.Events == 0 { // was on its way already
		if whole, err = next(); err != nil {
			return nil, err
		}
	}
	if whole.Events != len(tenant.Users) {
		return nil, fmt.Errorf("%d told of %d people", whole.Events, len(tenant.Users))
	}
	calls := 0
	for _, r := range s.graph.Requests() {
		if strings.Contains(r.Path, "delta") || strings.Contains(r.Path, "deletedItems") {
			calls++
		}
	}
	return []Figure{
		{Name: "a round without changes", Value: quiet.Milliseconds, Unit: "ms"},
		{Name: "everybody: calls to Graph", Value: float64(calls), Unit: ""},
		{Name: "everybody: until all are told", Value: whole.Milliseconds / 1000, Unit: "s"},
		{Name: "everybody: people told per second", Value: float64(whole.Events) / (whole.Milliseconds / 1000), Unit: "/s"},
		{Name: "peak memory before", Value: small, Unit: "MiB"},
		{Name: "peak memory after", Value: p.peakMemory(), Unit: "MiB"},
	}, nil
}

// peakMemory is the most that the process has had resident so far, in MiB; 0 where the
// system does not tell (proc_pid_status(5), VmHWM).
func (p *process) peakMemory() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kibibytes, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kibibytes / 1024
		}
	}
	return 0
}
