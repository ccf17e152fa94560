package simulation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/azauth"
	"mfaflow/pkg/breaker"
	"mfaflow/pkg/event"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/router"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/worker"
)

const (
	inboundQueue    = "inbound"
	lanesQueue      = "lanes"
	flagsQueue      = "flags"
	quarantineQueue = "quarantine"
	controlQueue    = "control"
)

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// accepted is an event that was sent and accepted.
type accepted struct {
	action  Action
	event   event.Event
	message queue.Message
	at      time.Time
	order   int
}

// world is router and worker on both simulators, with one clock, and what was seen.
type world struct {
	ctx      context.Context
	town     town
	mutation Mutation
	seam     *seam
	clock    *clock.Manual
	broker   *sbsim.Server
	bus      *servicebus.Client
	tenant   *graphsim.Server
	engines  map[string]*lane.Engine
	log      *buffer

	http       *http.Transport
	client     *graph.Client
	clientTime time.Time

	armed   []Action
	stalled bool
	sent    map[string]*accepted // by key
	ids     map[string]string    // keys by the id of an action

	observations
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(ctx context.Context, seed uint64, m Mutation) (*world, error) {
	t, err := newTown(seed)
	if err != nil {
		return nil, err
	}
	w := &world{
		ctx: ctx, town: t, mutation: m, clock: clock.NewManual(t0), log: &buffer{}, sent: map[string]*accepted{}, ids: map[string]string{},
		observations: newObservations(),
	}
	w.seam = &seam{world: w}
	const week = 7 * 24 * time.Hour
	w.broker, err = sbsim.Start(ctx, sbsim.Options{Clock: w.clock, Queues: []sbsim.QueueConfig{
		{Name: inboundQueue, RequiresSession: true, DuplicateDetection: week, MaxDeliveryCount: 50},
		{Name: lanesQueue, RequiresSession: true, DuplicateDetection: week, MaxDeliveryCount: 50},
		{Name: controlQueue, RequiresSession: true, DuplicateDetection: week},
		{Name: flagsQueue, DuplicateDetection: week},
		{Name: quarantineQueue, DuplicateDetection: week},
	}})
	if err != nil {
		return nil, err
	}
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	if w.tenant, err = graphsim.Start(ctx, graphsim.Options{Clock: w.clock, Tenant: t.tenant, Random: random}); err != nil {
		return nil, errors.Join(err, w.broker.Close())
	}
	if w.bus, err = servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.broker.ConnectionString())}); err != nil {
		return nil, errors.Join(err, w.broker.Close(), w.tenant.Close())
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.tenant.CAPEM())
	w.http = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	return w, w.wire()
}

// wire puts router and worker together.
func (w *world) wire() error {
	d := directory{w}
	log := telemetry.NewLogger(w.log, "simulation", slog.LevelDebug)
	shared, err := breaker.New(breaker.Options{Limits: w.town.limits, Now: w.clock.Now, Accept: func(ctx context.Context) (breaker.Session, error) {
		s, err := w.bus.Accept(ctx, controlQueue, breaker.SessionID, 5*time.Second)
		if err != nil {
			return nil, err
		}
		return counter{s}, nil
	}})
	if err != nil {
		return err
	}
	mail := worker.ManagerMail{Directory: d, Mailer: d, Sender: sender}
	trail := audit.NewWriter(w.log, "simulation")
	wk := &worker.Worker{
		Directory: d, Passes: d, Accounts: d, Methods: d, Groups: d, Risks: d, Breaker: shared, People: d.CountUsers, Audit: trail,
		Pause:    func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Channels: []worker.Channel{mail}, Settings: w.town.settings, Scopes: scopes(),
	}
	maxStarts := 5
	switch w.mutation {
	case anyRecipient:
		wk.Channels = []worker.Channel{gullible{mail, w}}
	case noProtection:
		wk.Settings.ProtectRoleHolders = false
	case noBreaker:
		wk.Breaker = open{}
	case noGrace:
		wk.Settings.Grace = 0
	case noScope:
		wk.Scopes["risk"] = event.Scope{"employee.*", "mfa.*", "risk.*", "account.*"}
	case noSyncCheck:
		wk.Settings.SyncCheck = 300 * 24 * time.Hour
	case noMaxAge:
		wk.Settings.MaxAge = 0
	case anyMethod:
		wk.Settings.Requirements = map[string]plan.Requirement{requirement: {Group: payments, Methods: []identity.MethodKind{
			identity.MethodFIDO2, identity.MethodWindowsHello, identity.MethodPhone, identity.MethodSoftwareOATH, identity.MethodAuthenticator,
		}}}
	case leakPass:
		w.onIssue = func(p identity.IssuedPass) { log.Info("issued", "pass", p.Value.Reveal()) }
	default: // the others are seams of their own
	}
	rt := &router.Router{
		Directory: d, LanesQueue: lanesQueue, QuarantineQueue: quarantineQueue,
		ProvisionRetry: 6 * time.Hour, ProvisionGrace: 5 * 24 * time.Hour, UnknownPersonAge: 24 * time.Hour,
	}
	w.engines = map[string]*lane.Engine{}
	for name, h := range map[string]lane.Handler{inboundQueue: rt, lanesQueue: wk} {
		w.engines[name] = &lane.Engine{
			Queue: name, FlagsQueue: flagsQueue, Handler: handler{h, w}, Sender: broker{w.bus, w}, MaxStarts: maxStarts, Now: w.clock.Now, Log: log, Audit: trail,
		}
	}
	return nil
}

func (w *world) close() error {
	if w.client != nil {
		w.client.Close()
	}
	w.bus.Close()
	w.http.CloseIdleConnections()
	return errors.Join(w.broker.Close(), w.tenant.Close())
}

// graph is the real client. A new one is made when the token of the last has aged:
// the credential keeps it by the machine's clock, the simulator by ours.
func (w *world) graph() (*graph.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil && w.clock.Now().Sub(w.clientTime) < 30*time.Minute {
		return w.client, nil
	}
	id, secret := w.tenant.App("identity-worker")
	credential, err := azauth.New(azauth.Settings{
		TenantID: w.tenant.TenantID(), ClientID: id, ClientSecret: identity.NewSecret(secret),
		AuthorityHost: w.tenant.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: w.http},
	})
	if err != nil {
		return nil, err
	}
	c, err := graph.New(graph.Options{BaseURL: w.tenant.URL(), Credential: credential, Transport: w.http})
	if err != nil {
		return nil, err
	}
	w.client, w.clientTime = c, w.clock.Now()
	return c, nil
}

// work lets router and worker run until nothing is to be received.
func (w *world) work() {
	for range 400 {
		busy := false
		for _, name := range []string{inboundQueue, lanesQueue} {
			if c, _ := w.broker.Counts(name); c.Active > 0 {
				busy = true
				w.visit(name)
			}
		}
		if !busy {
			return
		}
		if len(w.broken) > 0 {
			return
		}
	}
	w.violate("the queues never come to rest")
}

// visit is one process's visit to the next lane.
func (w *world) visit(name string) {
	s, err := w.bus.AcceptNext(w.ctx, name, time.Second)
	if err != nil {
		w.note("no lane of %s: %v", name, err)
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	l := &life{world: w, lane: s.ID(), queue: name, cancel: cancel, session: s}
	_, err = w.engines[name].Visit(context.WithValue(ctx, lifeKey{}, l), session{s, l}, func() bool { return true })
	if err != nil {
		w.note("lane %s of %s failed: %v", s.ID(), name, err)
	}
	if l.dead && err == nil {
		w.violate("a dead process ended its visit well")
	}
}

// note writes what happens into the log, which is searched for secrets.
func (w *world) note(format string, args ...any) {
	fmt.Fprintf(w.log, "%s %s\n", w.clock.Now().Format(time.DateTime), fmt.Sprintf(format, args...))
}

// act carries out one action of the history.
func (w *world) act(a Action) {
	w.note("do %s", a)
	switch a.Verb {
	case Send:
		w.send(a)
	case Again, Replay:
		w.again(a)
	case Advance:
		w.until(w.clock.Now().Add(a.For), true)
	case Sleep:
		w.until(w.clock.Now().Add(a.For), false)
	case Decide:
		w.decide(a)
	case LetIn:
		w.letIn(a)
	case Happen:
		w.happen(a)
	case Fail:
		w.armed = append(w.armed, a)
	case Graph:
		w.failGraph(a)
	case Broker:
		w.brokerFaults++
		w.broker.Fail(sbsim.Fault{Operation: sbsim.Operation(a.At), AfterEffect: a.Late})
	case CutAMQP:
		w.brokerFaults++
		w.broker.DropConnections()
	default: // what is done elsewhere
	}
}

func (w *world) failGraph(a Action) {
	method, path, _ := strings.Cut(a.At, " ")
	f := graphsim.Fault{Method: method, Path: path, App: "identity-worker", Skip: a.Skip, Count: a.Days, AfterEffect: a.Late, Kind: graphsim.FaultCut}
	if a.Status != 0 {
		f.Kind, f.Status = graphsim.FaultStatus, a.Status
		if a.Status == 429 {
			f.AfterEffect, f.RetryAfter = false, a.By
		}
	}
	if _, err := w.tenant.AddFault(f); err != nil {
		w.violate("the fault cannot be armed: %v", err)
	}
}

func (w *world) graphFaults() (hits int) {
	for _, f := range w.tenant.Faults() {
		hits += f.Hits
	}
	return hits
}

// origin is the source that sends events of a type.
func origin(t event.Type) string {
	switch family, _, _ := strings.Cut(string(t), "."); family {
	case "employee":
		return "hr"
	case "mfa":
		return "helpdesk"
	default:
		return "risk"
	}
}

// send hands an event in as ingest does.
func (w *world) send(a Action) {
	now := w.clock.Now()
	from := origin(a.Type)
	if a.By != "" {
		from = a.By
	}
	data := map[string]any{}
	for k, v := range a.Data {
		data[k] = v
	}
	person := map[string]any{"employeeId": fmt.Sprintf("E%d", a.Person)}
	if a.What == "conflict" {
		person["mail"] = upn((a.Person + 1) % people)
	}
	data["person"] = person
	date := now.AddDate(0, 0, a.Days).Format(time.DateOnly)
	switch a.Type {
	case event.Joiner, event.StartDateChanged, event.Rehire:
		data["startDate"], data["timeZone"] = date, zone
	case event.Leaver, event.LastDayChanged:
		if data["immediate"] != true {
			data["lastDay"], data["timeZone"] = date, zone
		}
	case event.Reregister:
		if data["mode"] == "surgical" {
			data["registeredAfter"] = now.AddDate(0, 0, -30).Format(time.RFC3339)
		}
	default: // no dates
	}
	raw, err := json.Marshal(data)
	if err != nil {
		w.violate("the event cannot be made: %v", err)
		return
	}
	e := event.Event{
		ID: a.ID, Source: "https://" + from + ".example", Type: a.Type, Subject: fmt.Sprintf("E%d", a.Person), Time: now.Add(-a.Age),
		Data: raw, ReceivedAt: w.receipt(), Origin: from, Key: event.NewKey(from, a.ID), CorrelationID: "c-" + a.ID,
	}
	body, err := e.Encode()
	if err != nil {
		w.violate("the event cannot be made: %v", err)
		return
	}
	m := queue.Message{
		ID: e.Key, SessionID: e.Subject, Key: e.Key, CorrelationID: e.CorrelationID, ContentType: event.ContentType, Body: body,
		Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
	}
	w.sent[e.Key] = &accepted{action: a, event: e, message: m, at: now, order: len(w.sent)}
	w.ids[a.ID] = e.Key
	w.deliver(inboundQueue, m)
}

// receipt is when ingest accepts the next event: never two at one moment.
func (w *world) receipt() time.Time {
	return w.clock.Now().Add(time.Duration(len(w.sent)))
}

// deliver repeats until the broker has accepted, as a sender does that got 503.
func (w *world) deliver(name string, m queue.Message) {
	for range 20 {
		err := w.bus.Send(w.ctx, name, m)
		if err == nil {
			return
		}
		w.note("not accepted: %v", err)
	}
	w.violate("the broker accepts nothing")
}

// again repeats an event, or replays it from where it is: to the lane of the person
// when it was routed.
func (w *world) again(a Action) {
	key, ok := w.ids[a.ID]
	if !ok {
		return
	}
	m := w.sent[key].message
	w.repeats[key]++
	if a.Verb == Replay {
		m.ID = fmt.Sprintf("%s~r%d", key, a.Skip)
	}
	w.deliver(inboundQueue, m)
}

// until lets time pass. People act on the way, workers only when they are awake.
func (w *world) until(end time.Time, awake bool) {
	for range 2000 {
		next := end
		for _, at := range w.moments(awake) {
			if at.After(w.clock.Now()) && at.Before(next) {
				next = at
			}
		}
		w.clock.Set(next)
		if awake {
			w.work()
			w.rest()
		}
		w.live()
		if !next.Before(end) {
			return
		}
	}
	w.violate("too much happens before %s", end)
}

// moments are when something is due: a scheduled message, the opening of a pass.
func (w *world) moments(awake bool) (list []time.Time) {
	if awake {
		list = append(list, w.scheduled()...)
	}
	for i := range people {
		for _, p := range w.tenant.Passes(personID(i)) {
			list = append(list, p.Start)
		}
	}
	return list
}

func (w *world) scheduled() (list []time.Time) {
	for _, name := range []string{inboundQueue, lanesQueue} {
		for _, m := range w.broker.Stored(name) {
			if m.State == sbsim.StateScheduled && !m.Dead {
				list = append(list, m.ScheduledAt)
			}
		}
	}
	return list
}

// live is what people do by themselves: whoever holds a pass that is open signs in and
// registers a method.
func (w *world) live() {
	for i := range people {
		value, ok := w.lastDelivered[i]
		if !ok || w.used[value] {
			continue
		}
		if w.tenant.SignInWithPass(personID(i), value) != nil {
			continue
		}
		w.used[value] = true
		w.register(i)
	}
}

func (w *world) register(i int) {
	w.methods++
	id := fmt.Sprintf("50000000-0000-4000-8000-%012d", w.methods)
	if err := w.tenant.RegisterMethod(personID(i), graphsim.Method{Kind: "microsoftAuthenticator", ID: id, Properties: map[string]any{"displayName": "New phone"}}); err != nil {
		return // not provisioned yet
	}
	w.registered = append(w.registered, registration{person: i, id: id, at: w.clock.Now(), after: w.deliveredFor[i]})
	w.note("person %d registers method %s", i, id)
}

// ledger reads the memory of a lane as it is stored.
func (w *world) ledger(person int) *ledger.Ledger {
	l, err := ledger.Decode(w.broker.SessionStates(lanesQueue)[personID(person)])
	if err != nil {
		w.violate("ledger of person %d: %v", person, err)
		return &ledger.Ledger{}
	}
	return l
}

// decide sends an operator's word about the first hold of a lane.
func (w *world) decide(a Action) {
	l := w.ledger(a.Person)
	i := slices.IndexFunc(l.Waiting, func(x ledger.Waiting) bool { return x.Kind == ledger.Held && !x.Released })
	if i < 0 {
		return
	}
	held := l.Waiting[i]
	m := lane.Command{Decision: lane.Decision(a.What), Sequence: held.Sequence, Attempt: held.Attempt, Operator: a.By, Reason: "simulated"}.Message(personID(a.Person), "c-"+a.By)
	w.decided(a, held)
	w.deliver(lanesQueue, m)
	w.work()
	after := w.ledger(a.Person).WaitingAt(held.Sequence)
	refused := slices.Contains(held.Barred, ledger.Digest(a.By)) || slices.Contains(held.Approvals, a.By)
	if after != nil && after.Attempt == held.Attempt && len(after.Approvals) == len(held.Approvals) && !refused && len(w.armed) == 0 && after.Kind == ledger.Held {
		w.violate("the word of %s about %s was not heard", a.By, held.Key)
	}
}

// letIn sends an operator's word that a compromised person may come back.
func (w *world) letIn(a Action) {
	raw := json.RawMessage(fmt.Sprintf(`{"person":{"objectId":%q}}`, personID(a.Person)))
	now := w.clock.Now()
	e := event.Event{
		ID: a.ID, Source: "mfaflow", Type: event.LetIn, Subject: personID(a.Person), Time: now, Data: raw, ReceivedAt: w.receipt(),
		Origin: "operator", Key: event.NewKey("operator", a.ID), CorrelationID: "c-" + a.ID, UserID: identity.UserID(personID(a.Person)),
	}
	body, err := e.Encode()
	if err != nil {
		w.violate("the event cannot be made: %v", err)
		return
	}
	m := queue.Message{ID: e.Key, SessionID: personID(a.Person), Key: e.Key, CorrelationID: e.CorrelationID, ContentType: event.ContentType, Body: body}
	w.sent[e.Key] = &accepted{action: a, event: e, message: m, at: now, order: len(w.sent)}
	w.ids[a.ID] = e.Key
	w.deliver(lanesQueue, m)
}

// happen changes the tenant past mfaflow.
func (w *world) happen(a Action) {
	id := personID(a.Person)
	switch a.What {
	case "enable", "disable":
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			if u := t.User(id); u != nil {
				u.AccountEnabled = a.What == "enable"
			}
		})
		w.meddled[a.Person], w.meddledAt[a.Person] = a.What, w.clock.Now()
	case "pass":
		w.foreignPass(a.Person)
	case "risk-high", "risk-medium", "risk-none":
		level := strings.TrimPrefix(a.What, "risk-")
		state := "atRisk"
		if level == "none" {
			state = "dismissed"
		}
		_ = w.tenant.SetRisk(id, level, state) // somebody without an account has no risk
	case "register":
		if u, ok := w.tenant.User(id); ok && u.AccountEnabled && w.hasWayIn(a.Person) {
			w.register(a.Person)
		}
	case "policy-off", "policy-on":
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			t.Policies.TemporaryAccessPass.State = map[string]string{"policy-off": "disabled", "policy-on": "enabled"}[a.What]
		})
	case "provision":
		_, _ = w.tenant.Provision(fmt.Sprintf("E%d", a.Person)) // an error: the account exists
	case "no-manager", "manager":
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			if u := t.User(id); u != nil {
				u.Manager = map[string]string{"no-manager": "", "manager": personID(0)}[a.What]
			}
		})
	}
}

var passLine = regexp.MustCompile(`(?m)^Pass:\s+(\S+)$`)

var _ plan.Reason
