package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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

// load is one run of the worker.
type load struct {
	// latency is Graph's.
	latency time.Duration
	// broker is how far away the broker is, there and back.
	broker time.Duration
	lanes  int
	people int
}

func (l load) String() string {
	s := fmt.Sprintf("Graph %d ms, ", l.latency.Milliseconds())
	if l.broker > 0 {
		s += fmt.Sprintf("broker %d ms away, ", l.broker.Milliseconds())
	}
	if l.lanes == 1 {
		return s + "1 lane"
	}
	return s + fmt.Sprintf("%d lanes", l.lanes)
}

// loads have enough people for a steady middle of some seconds.
func loads() []load {
	const typical = 50 * time.Millisecond
	// From AWS to Azure within a region's city.
	const far = 5 * time.Millisecond
	return []load{
		{lanes: 1, people: 200},
		{lanes: 8, people: 600},
		{lanes: 32, people: 800},
		{latency: typical, lanes: 1, people: 30},
		{latency: typical, lanes: 8, people: 240},
		{latency: typical, lanes: 32, people: 800},
		{latency: typical, broker: far, lanes: 8, people: 160},
		{latency: typical, broker: far, lanes: 32, people: 320},
	}
}

// joiners is how many joiners per second the worker takes from event to mail. What
// Graph's latency allows is counted, not assumed: the simulator's log tells how long
// a joiner had a call under way, and a lane can do no better than that.
func joiners(ctx context.Context, bin Bin) ([]Figure, error) {
	var figures []Figure
	for _, l := range loads() {
		r, err := l.run(ctx, bin)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", l, err)
		}
		figures = append(figures, Figure{Name: l.String(), Value: r.rate, Unit: "joiners/s"})
		if l.latency > 0 {
			limit := float64(l.lanes) / (r.steps * l.latency.Seconds())
			reached := Figure{Name: "  reached of it", Value: 100 * r.rate / limit, Unit: "%"}
			if l.broker == 0 {
				reached = reached.bounded(AtLeast, 90)
			}
			allowed := fmt.Sprintf("  Graph allows (%.0f calls, %.0f one after the other)", r.calls, r.steps)
			figures = append(figures, Figure{Name: allowed, Value: limit, Unit: "joiners/s"}, reached)
		}
		figures = append(figures,
			Figure{Name: "  processor time per joiner, worker", Value: milliseconds(r.worker), Unit: "ms"},
			Figure{Name: "  processor time per joiner, both simulators", Value: milliseconds(r.simulators), Unit: "ms"})
	}
	return figures, nil
}

// endpoint is the host and port in a connection string.
func endpoint(connectionString string) string {
	_, rest, _ := strings.Cut(connectionString, "sb://")
	host, _, _ := strings.Cut(rest, ";")
	return host
}

// result is per joiner where it can be.
type result struct {
	rate               float64
	calls, steps       float64
	worker, simulators time.Duration
}

func (l load) run(ctx context.Context, bin Bin) (r result, err error) {
	tenant, people, err := populate(l.people)
	if err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp("", "mfaflow-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ca := filepath.Join(dir, "ca.pem")
	graph, err := simgraph.Start(ctx, simgraph.Options{Tenant: tenant, CAFile: ca, Latency: l.latency})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, graph.Close()) }()
	bus, err := simbus.Start(ctx, simbus.Options{Queues: stack.Queues()})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	if err := fill(ctx, bus.ConnectionString(), people); err != nil {
		return r, err
	}

	broker := bus.ConnectionString()
	if l.broker > 0 {
		far, err := newRelay(ctx, endpoint(broker), l.broker/2)
		if err != nil {
			return r, err
		}
		defer far.close()
		broker = strings.Replace(broker, endpoint(broker), far.address(), 1)
	}

	ends := make(chan entry, l.people)
	clientID, secret := graph.App("identity-worker")
	before := processorTime()
	worker, err := command{
		path: bin.path("identity-worker"),
		env: append(machine(),
			"SSL_CERT_FILE="+ca,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING="+broker,
			"MFAFLOW_TENANT_ID="+graph.TenantID(), "MFAFLOW_CLIENT_ID="+clientID, "MFAFLOW_CLIENT_SECRET="+secret,
			"MFAFLOW_AUTHORITY_URL="+graph.AuthorityURL(), "MFAFLOW_GRAPH_URL="+graph.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
			fmt.Sprintf("MFAFLOW_SOURCE_SCOPES={%q: [%q]}", source, "employee.*"),
			"MFAFLOW_DEFAULT_TIME_ZONE=UTC", "MFAFLOW_MAIL_SENDER=onboarding@contoso.example",
			fmt.Sprintf("MFAFLOW_SESSIONS=%d", l.lanes)),
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
	times, err := collect(ctx, worker, ends, l.people)
	cpu := worker.stop()
	if err != nil {
		return r, err
	}
	n := time.Duration(l.people)
	r.rate = steadyRate(times, l.lanes)
	r.worker, r.simulators = cpu/n, (processorTime()-before)/n
	r.calls, r.steps = rounds(graph.Requests(), l.latency)
	return r, nil
}

// collect waits for the end of every joiner.
func collect(ctx context.Context, worker *process, ends <-chan entry, n int) ([]time.Time, error) {
	var times []time.Time
	for len(times) < n {
		timeout := time.NewTimer(readyTimeout)
		select {
		case e := <-ends:
			if e.Outcome != "done" {
				return nil, fmt.Errorf("joiner %s ended as %s: %s", e.Key, e.Outcome, e.Detail)
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

// steadyRate leaves out the first and the last event of each lane: when it starts a
// worker gets its token and connects, and at the end lanes run dry.
func steadyRate(times []time.Time, lanes int) float64 {
	slices.SortFunc(times, time.Time.Compare)
	first, last := lanes-1, len(times)-lanes
	if last <= first {
		return 0
	}
	return float64(last-first) / times[last].Sub(times[first]).Seconds()
}

// rounds are the calls of a joiner, and how many of them one after the other make
// up the time in which it had at least one under way.
func rounds(log []simgraph.Request, latency time.Duration) (calls, steps float64) {
	byJoiner := map[string][]simgraph.Request{}
	for _, r := range log {
		if strings.HasPrefix(r.ClientRequestID, source) {
			byJoiner[r.ClientRequestID] = append(byJoiner[r.ClientRequestID], r)
		}
	}
	if len(byJoiner) == 0 {
		return 0, 0
	}
	var each, busy []float64
	for _, list := range byJoiner {
		each = append(each, float64(len(list)))
		busy = append(busy, underWay(list).Seconds())
	}
	if latency > 0 {
		// Rounded down: what a call takes beyond the injected latency is cost, no step.
		steps = math.Floor(quantile(busy, 0.5)/latency.Seconds() + 0.1)
	}
	return quantile(each, 0.5), steps
}

// underWay is the time in which at least one of the calls was.
func underWay(list []simgraph.Request) (total time.Duration) {
	slices.SortFunc(list, func(a, b simgraph.Request) int { return a.Time.Compare(b.Time) })
	var end time.Time
	for _, r := range list {
		from, to := r.Time, r.Time.Add(r.Duration)
		if from.Before(end) {
			from = end
		}
		if to.After(from) {
			total += to.Sub(from)
			end = to
		}
	}
	return total
}

// populate is the sample tenant with n more people who start soon: an account
// without methods, in a group that may have passes, with a manager who has mail.
func populate(n int) (*simgraph.Tenant, []*simgraph.User, error) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return nil, nil, err
	}
	model := slices.IndexFunc(tenant.Users, func(u *simgraph.User) bool { return u.EmployeeID == stack.ModelJoiner })
	if model < 0 {
		return nil, nil, errors.New("the sample tenant has no " + stack.ModelJoiner)
	}
	var people []*simgraph.User
	for i := range n {
		u := *tenant.Users[model]
		u.ID = fmt.Sprintf("50000000-0000-4000-8000-%012d", i)
		u.EmployeeID = fmt.Sprintf("B%06d", i)
		u.UserPrincipalName = strings.ToLower(u.EmployeeID) + "@contoso.example"
		u.Mail, u.ProxyAddresses, u.OtherMails = u.UserPrincipalName, nil, nil
		people = append(people, &u)
	}
	for _, g := range tenant.Groups {
		if slices.Contains(g.Members, tenant.Users[model].ID) {
			for _, u := range people {
				g.Members = append(g.Members, u.ID)
			}
		}
	}
	tenant.Users = append(tenant.Users, people...)
	return tenant, people, nil
}

// perBatch keeps a batch under the size that the broker takes.
const perBatch = 100

// fill puts a joiner into the lane of each person, as the router does.
func fill(ctx context.Context, connectionString string, people []*simgraph.User) error {
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(connectionString)})
	if err != nil {
		return err
	}
	defer client.Close()
	var messages []queue.Message
	for _, u := range people {
		m, err := joinerMessage(u)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	for chunk := range slices.Chunk(messages, perBatch) {
		if err := client.Send(ctx, "lanes", chunk...); err != nil {
			return err
		}
	}
	return nil
}

func joinerMessage(u *simgraph.User) (queue.Message, error) {
	data, err := json.Marshal(joinerData(u.EmployeeID))
	if err != nil {
		return queue.Message{}, err
	}
	now := time.Now()
	e := event.Event{
		ID: u.EmployeeID, Source: "https://hr.contoso.example", Type: event.Joiner, Subject: u.EmployeeID, Time: now, Data: data,
		ReceivedAt: now, Origin: source, Key: event.NewKey(source, u.EmployeeID), CorrelationID: source + "-" + u.EmployeeID,
		UserID: identity.UserID(u.ID),
	}
	body, err := e.Encode()
	return queue.Message{
		ID: e.Key, SessionID: u.ID, Key: e.Key, CorrelationID: e.CorrelationID, ContentType: event.ContentType, Body: body,
		Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
	}, err
}

// processorTime is what this process, and with it the simulators, has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
