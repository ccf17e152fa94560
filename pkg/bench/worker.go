package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	simgraph "mfaflow/pkg/sim/graph"
	simbus "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/stack"
)

// site is what a worker meets: a tenant, and queues with events in their lanes.
type site struct {
	graph *simgraph.Server
	bus   *simbus.Server
	dir   string
}

func openSite(ctx context.Context, tenant *simgraph.Tenant, latency time.Duration, messages []queue.Message) (*site, error) {
	s := &site{}
	var err error
	if s.dir, err = os.MkdirTemp("", "mfaflow-bench-"); err != nil {
		return nil, err
	}
	if s.graph, err = simgraph.Start(ctx, simgraph.Options{Tenant: tenant, CAFile: s.caFile(), Latency: latency}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.bus, err = simbus.Start(ctx, simbus.Options{Queues: stack.Queues()}); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := fill(ctx, s.bus.ConnectionString(), messages); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) caFile() string { return filepath.Join(s.dir, "ca.pem") }

func (s *site) close() error {
	var errs []error
	if s.graph != nil {
		errs = append(errs, s.graph.Close())
	}
	if s.bus != nil {
		errs = append(errs, s.bus.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// shift is one run of the worker on a site.
type shift struct {
	lanes int
	// events is how many there are to end.
	events int
	// broker is how far away the broker is, there and back.
	broker   time.Duration
	settings []string
}

// result of a shift; processor time is per event.
type result struct {
	// ended are the times at which events ended, and took the time from the start of
	// work to the last of them.
	ended              []time.Time
	took               time.Duration
	worker, simulators time.Duration
}

// work lets a worker take every event to its end.
func (s *site) work(ctx context.Context, bin Bin, sh shift) (r result, err error) {
	broker := s.bus.ConnectionString()
	if sh.broker > 0 {
		far, err := newRelay(ctx, endpoint(broker), sh.broker/2)
		if err != nil {
			return r, err
		}
		defer far.close()
		broker = strings.Replace(broker, endpoint(broker), far.address(), 1)
	}
	ends := make(chan entry, sh.events)
	clientID, secret := s.graph.App("identity-worker")
	before := processorTime()
	worker, err := command{
		path: bin.path("identity-worker"),
		env: append(append(machine(),
			"SSL_CERT_FILE="+s.caFile(),
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING="+broker,
			"MFAFLOW_TENANT_ID="+s.graph.TenantID(), "MFAFLOW_CLIENT_ID="+clientID, "MFAFLOW_CLIENT_SECRET="+secret,
			"MFAFLOW_AUTHORITY_URL="+s.graph.AuthorityURL(), "MFAFLOW_GRAPH_URL="+s.graph.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
			fmt.Sprintf(`MFAFLOW_SOURCE_SCOPES={%q: ["employee.*", "mfa.*", "risk.*"]}`, source),
			"MFAFLOW_DEFAULT_TIME_ZONE=UTC", "MFAFLOW_MAIL_SENDER=onboarding@contoso.example",
			// What is measured is the work, not its limits.
			"MFAFLOW_BREAKER_PERCENT=0", "MFAFLOW_BREAKER_COUNT=1500", "MFAFLOW_BREAKER_IMMEDIATE_PERCENT=0", "MFAFLOW_BREAKER_IMMEDIATE_COUNT=1500",
			fmt.Sprintf("MFAFLOW_SESSIONS=%d", sh.lanes)), sh.settings...),
		ready: func(line []byte) bool {
			e, err := parseEntry(line)
			return err == nil && e.Message == "ready"
		},
		each: func(line []byte) {
			if e, err := parseEntry(line); err == nil && e.Message == "event" {
				ends <- e
			}
		},
	}.start(ctx)
	if err != nil {
		return r, err
	}
	began := time.Now()
	r.ended, err = collect(ctx, worker, ends, sh.events)
	cpu := worker.stop()
	if err != nil {
		return r, err
	}
	n := time.Duration(sh.events)
	r.took = slices.MaxFunc(r.ended, time.Time.Compare).Sub(began)
	r.worker, r.simulators = cpu/n, (processorTime()-before)/n
	return r, nil
}

// endpoint is the host and port in a connection string.
func endpoint(connectionString string) string {
	_, rest, _ := strings.Cut(connectionString, "sb://")
	host, _, _ := strings.Cut(rest, ";")
	return host
}

// collect waits for the end of every event.
func collect(ctx context.Context, worker *process, ends <-chan entry, n int) ([]time.Time, error) {
	var times []time.Time
	for len(times) < n {
		timeout := time.NewTimer(readyTimeout)
		select {
		case e := <-ends:
			if e.Outcome != "done" {
				return nil, fmt.Errorf("event %s ended as %s: %s", e.Key, e.Outcome, e.Detail)
			}
			times = append(times, e.Time)
		case <-worker.done:
			return nil, errors.New("the worker ended by itself")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timeout.C:
			return nil, fmt.Errorf("nothing ended for %s", readyTimeout)
		}
		timeout.Stop()
	}
	return times, nil
}

// perBatch keeps a batch under the size that the broker takes.
const perBatch = 100

// fill puts events into their lanes, as the router does.
func fill(ctx context.Context, connectionString string, messages []queue.Message) error {
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(connectionString)})
	if err != nil {
		return err
	}
	defer client.Close()
	for chunk := range slices.Chunk(messages, perBatch) {
		if err := client.Send(ctx, "lanes", chunk...); err != nil {
			return err
		}
	}
	return nil
}

// eventOf is an event about a person, on its way to the worker. The id is unique among
// the events of a run.
func eventOf(u *simgraph.User, id string, typ event.Type, data map[string]any) (queue.Message, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return queue.Message{}, err
	}
	now := time.Now()
	e := event.Event{
		ID: id, Source: "https://hr.contoso.example", Type: typ, Subject: u.EmployeeID, Time: now, Data: body,
		ReceivedAt: now, Origin: source, Key: event.NewKey(source, id), CorrelationID: source + "-" + id,
		UserID: identity.UserID(u.ID),
	}
	encoded, err := e.Encode()
	return queue.Message{
		ID: e.Key, SessionID: u.ID, Key: e.Key, CorrelationID: e.CorrelationID, ContentType: event.ContentType, Body: encoded,
		Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
	}, err
}

// Models of the people that are made: who joins, and whom the design's bound on a
// reset is about, with six methods.
const (
	modelJoiner = stack.ModelJoiner
	modelReset  = "E1011"
)

// populate adds n twins of somebody in the sample tenant, in the same groups, with the
// same methods.
func populate(tenant *simgraph.Tenant, model string, n int) ([]*simgraph.User, error) {
	i := slices.IndexFunc(tenant.Users, func(u *simgraph.User) bool { return u.EmployeeID == model })
	if i < 0 {
		return nil, errors.New("the sample tenant has no " + model)
	}
	like := tenant.Users[i]
	var people []*simgraph.User
	for range n {
		u := *like
		number := len(tenant.Users) + len(people)
		u.ID = fmt.Sprintf("50000000-0000-4000-8000-%012d", number)
		u.EmployeeID = fmt.Sprintf("B%06d", number)
		u.UserPrincipalName = strings.ToLower(u.EmployeeID) + "@contoso.example"
		u.Mail, u.ProxyAddresses, u.OtherMails = u.UserPrincipalName, nil, nil
		u.Methods = nil
		for _, m := range like.Methods {
			own := *m
			u.Methods = append(u.Methods, &own)
		}
		people = append(people, &u)
	}
	for _, g := range tenant.Groups {
		if slices.Contains(g.Members, like.ID) {
			for _, u := range people {
				g.Members = append(g.Members, u.ID)
			}
		}
	}
	tenant.Users = append(tenant.Users, people...)
	return people, nil
}

// processorTime is what this process, and with it the simulators, has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
