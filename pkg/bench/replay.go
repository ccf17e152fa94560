package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	simgraph "mfaflow/pkg/sim/graph"
)

// How much operators look at, plan and replay at once.
const (
	manyEntries = 100_000
	manyPlanned = 10_000
	manyReplays = 2_000
	// perReplay is how many entries one request replays.
	perReplay = 100
)

// replays measures what operators wait for: event-replay as a process, asked over HTTP.
func replays(ctx context.Context, bin Bin) ([]Figure, error) {
	looked, err := looking(ctx, bin)
	if err != nil {
		return looked, err
	}
	planned, err := planning(ctx, bin)
	return append(looked, planned...), err
}

// looking lists and filters what lies in the quarantine.
func looking(ctx context.Context, bin Bin) (figures []Figure, err error) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return nil, err
	}
	s, err := openSite(ctx, tenant, 0, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.park(ctx, tenant.Users[0], manyEntries); err != nil {
		return nil, err
	}
	desk, p, err := s.desk(ctx, bin)
	if err != nil {
		return nil, err
	}
	took := func(name string, do func() error) {
		if err == nil {
			began := time.Now()
			err = do()
			figures = append(figures, Figure{Name: name, Value: time.Since(began).Seconds(), Unit: "s"})
		}
	}
	took("a page of 250 of 100,000", func() error {
		page, err := desk.List(ctx, operate.Filter{}, "", 250)
		return errors.Join(err, wanted(len(page.Items), 250))
	})
	took("all 100,000, page by page", func() error {
		n, err := countAll(ctx, desk, operate.Filter{})
		return errors.Join(err, wanted(n, manyEntries))
	})
	took("one of 100,000 by text", func() error {
		n, err := countAll(ctx, desk, operate.Filter{Text: fmt.Sprintf("%s:n%d", source, manyEntries/2)})
		return errors.Join(err, wanted(n, 1))
	})
	took("overview of 100,000", func() error {
		o, err := desk.Overview(ctx)
		return errors.Join(err, wanted(len(o.Entries), 1))
	})
	figures = append(figures, p.memory()...)
	p.stop()
	return figures, err
}

func wanted(got, want int) error {
	if got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

func countAll(ctx context.Context, desk *operateapi.Client, f operate.Filter) (n int, err error) {
	for cursor := ""; ; {
		page, err := desk.List(ctx, f, cursor, 500)
		if err != nil {
			return n, err
		}
		n += len(page.Items)
		if cursor = page.Next; cursor == "" {
			return n, nil
		}
	}
}

// planning plans and replays dead letters of as many people.
func planning(ctx context.Context, bin Bin) (figures []Figure, err error) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return nil, err
	}
	people, err := populate(tenant, modelJoiner, manyPlanned)
	if err != nil {
		return nil, err
	}
	var messages []queue.Message
	for _, u := range people {
		m, err := eventOf(u, u.EmployeeID, event.Joiner, joinerData(u.EmployeeID))
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	s, err := openSite(ctx, tenant, 0, messages)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.giveUp(ctx, len(messages)); err != nil {
		return nil, err
	}
	desk, p, err := s.desk(ctx, bin)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	plan, err := desk.Plan(ctx, operate.Selection{Filter: &operate.Filter{}})
	if err == nil {
		err = wanted(plan.Summary.Passes, manyPlanned)
		figures = append(figures, Figure{Name: "plan of 10,000, methods estimated", Value: time.Since(began).Seconds(), Unit: "s"})
	}
	if err == nil {
		r := operate.Replay{Plan: plan.Digest, Settings: plan.Settings, Reason: "bench"}
		for _, e := range plan.Entries {
			r.Digests = append(r.Digests, e.Digest)
		}
		began = time.Now()
		for chunk := range slices.Chunk(plan.Entries[:manyReplays], perReplay) {
			r.Entries = chunk
			outcomes, failed := desk.Replay(ctx, "", r)
			if err = errors.Join(failed, wanted(len(outcomes), len(chunk))); err != nil {
				break
			}
		}
		figures = append(figures, Figure{Name: "replay of 2,000 of them, 100 a request", Value: manyReplays / time.Since(began).Seconds(), Unit: "entries/s"})
	}
	if err == nil {
		// The worker is not running: what is sent stays on its queue.
		counts, _ := s.bus.Counts("lanes")
		err = errors.Join(wanted(counts.Active, manyReplays), wanted(counts.DeadLetter, manyPlanned-manyReplays))
	}
	figures = append(figures, p.memory()...)
	p.stop()
	return figures, err
}

// park puts n events into the quarantine.
func (s *site) park(ctx context.Context, u *simgraph.User, n int) error {
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(s.bus.ConnectionString())})
	if err != nil {
		return err
	}
	defer client.Close()
	var batch []queue.Message
	for i := range n {
		m, err := eventOf(u, fmt.Sprintf("n%d", i), event.Joiner, joinerData(u.EmployeeID))
		if err != nil {
			return err
		}
		m.SessionID = ""
		m.Properties[queue.PropReason] = "ambiguous-person"
		if batch = append(batch, m); len(batch) == perBatch || i == n-1 {
			if err := client.Send(ctx, "quarantine", batch...); err != nil {
				return err
			}
			batch = nil
		}
	}
	return nil
}

// giveUp dead-letters the n events of as many lanes.
func (s *site) giveUp(ctx context.Context, n int) error {
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(s.bus.ConnectionString())})
	if err != nil {
		return err
	}
	defer client.Close()
	const lanes = 16
	errs := make([]error, lanes)
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	var all sync.WaitGroup
	for i := range lanes {
		all.Go(func() {
			for range left {
				if errs[i] = giveUpOne(ctx, client); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func giveUpOne(ctx context.Context, client *servicebus.Client) error {
	lane, err := client.AcceptNext(ctx, "lanes", readyTimeout)
	if err != nil {
		return err
	}
	defer lane.Close()
	m, err := lane.Receive(ctx, readyTimeout)
	if err != nil {
		return err
	}
	return lane.DeadLetter(ctx, m, "poison", "started 5 times without an end")
}

// desk starts event-replay for one operator, and the client that asks it.
func (s *site) desk(ctx context.Context, bin Bin) (*operateapi.Client, *process, error) {
	token := filepath.Join(s.dir, "token")
	secret := rand.Text() + rand.Text()
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		return nil, nil, err
	}
	clientID, clientSecret := s.graph.App("event-replay")
	var address string
	p, err := command{
		path: bin.path("event-replay"),
		env: append(machine(),
			"SSL_CERT_FILE="+s.caFile(),
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING="+s.bus.ConnectionString(),
			"MFAFLOW_TENANT_ID="+s.graph.TenantID(), "MFAFLOW_CLIENT_ID="+clientID, "MFAFLOW_CLIENT_SECRET="+clientSecret,
			"MFAFLOW_AUTHORITY_URL="+s.graph.AuthorityURL(), "MFAFLOW_GRAPH_URL="+s.graph.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
			fmt.Sprintf(`MFAFLOW_SOURCE_SCOPES={%q: ["employee.*"]}`, source),
			"MFAFLOW_DEFAULT_TIME_ZONE=UTC", "MFAFLOW_LISTEN=127.0.0.1:0", "MFAFLOW_OPERATOR_TOKEN_FILE="+token),
		ready: func(line []byte) bool {
			e, err := parseEntry(line)
			if err == nil {
				address = e.Addr
			}
			return err == nil && e.Addr != ""
		},
	}.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	client, err := operateapi.New("http://"+strings.TrimPrefix(address, "http://"), operateapi.Bearer(identity.NewSecret(secret), http.DefaultTransport))
	if err != nil {
		p.stop()
		return nil, nil, err
	}
	return client, p, nil
}

// memory is the most that a running process had at once so far, where the system tells
// (proc(5), VmHWM). What getrusage tells of a child begins with what its parent had.
func (p *process) memory() []Figure {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	var kibibytes float64
	if _, err := fmt.Sscan(rest, &kibibytes); err != nil {
		return nil
	}
	return []Figure{{Name: "  most memory of event-replay", Value: kibibytes / 1024, Unit: "MiB"}}
}
