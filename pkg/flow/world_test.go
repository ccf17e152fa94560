package flow_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/azauth"
	"mfaflow/pkg/breaker"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
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
	"mfaflow/pkg/webhook"
	"mfaflow/pkg/worker"
)

// People of the sample tenant (events/tenant/sample.json says what each is for).
const (
	amara  = "amara.diallo@contoso.example" // manager of most joiners
	lena   = "lena.hofmann@contoso.example"
	lenaID = "10000000-0000-4000-8000-000000000004"
	sender = "onboarding@contoso.example"
	hrKey  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	start  = "2026-11-30"
	berlin = "Europe/Berlin"
)

var (
	t0     = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	opens  = time.Date(2026, 11, 30, 6, 30, 0, 0, time.UTC) // 07:30 in Berlin
	leadUp = opens.Add(-72 * time.Hour)
)

// world is every function of the main job on both simulators, with one clock.
type world struct {
	t       *testing.T
	clock   *clock.Manual
	broker  *sbsim.Server
	client  *servicebus.Client
	tenant  *graphsim.Server
	graph   *graph.Client
	web     *httptest.Server
	worker  *worker.Worker
	router  *router.Router
	engines map[string]*lane.Engine
	// log takes everything that would go to stdout.
	log *safeBuffer
	// journal is where the broker writes down all that it is given: bodies and
	// properties of every message, and every session state.
	journal string
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(t0), log: &safeBuffer{}, journal: t.TempDir()}
	const week = 7 * 24 * time.Hour
	var err error
	w.broker, err = sbsim.Start(t.Context(), sbsim.Options{Clock: w.clock, DataDir: w.journal, Queues: []sbsim.QueueConfig{
		{Name: "inbound", RequiresSession: true, DuplicateDetection: week, MaxDeliveryCount: 50},
		{Name: "lanes", RequiresSession: true, DuplicateDetection: week, MaxDeliveryCount: 50},
		{Name: "control", RequiresSession: true, DuplicateDetection: week},
		{Name: "flags", DuplicateDetection: week},
		{Name: "quarantine", DuplicateDetection: week},
	}})
	w.must(err)
	w.tenant, err = graphsim.Start(t.Context(), graphsim.Options{Clock: w.clock})
	w.must(err)
	w.client, err = servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.broker.ConnectionString())})
	w.must(err)
	w.graph = w.directory("identity-worker")
	log := telemetry.NewLogger(w.log, "flow", slog.LevelDebug)

	schemas, err := catalog.New()
	w.must(err)
	handler, err := ingest.New(ingest.Options{
		Prefix: "/hr/",
		Sources: []ingest.Source{
			source("hr", "employee.*"), source("helpdesk", "mfa.*", "mfa.method.policy"), source("risk", "risk.*", "account.*", "session.*", "credential.*"),
		},
		Catalog: schemas, Sender: w.client, Clock: w.clock.Now, Logger: log, InboundQueue: "inbound", QuarantineQueue: "quarantine",
	})
	w.must(err)
	w.web = httptest.NewServer(handler)

	w.router = &router.Router{
		Directory: w.directory("identity-router"), LanesQueue: "lanes", QuarantineQueue: "quarantine",
		ProvisionRetry: 15 * time.Minute, ProvisionGrace: 14 * 24 * time.Hour, UnknownPersonAge: 24 * time.Hour,
	}
	w.worker = &worker.Worker{
		Directory: w.graph, Passes: w.graph, Accounts: w.graph, Methods: w.graph, Groups: w.graph, Risks: w.graph,
		Breaker: w.breaker(breaker.Limits{Window: time.Hour, Count: 25, ImmediateCount: 100}), People: w.graph.CountUsers,
		Audit:    audit.NewWriter(w.log, "flow"),
		Pause:    func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Channels: []worker.Channel{worker.ManagerMail{Directory: w.graph, Mailer: w.graph, Sender: sender}},
		Settings: plan.Settings{
			LeadTime: 72 * time.Hour, OpensAtHour: 7, OpensAtMinute: 30, DefaultZone: time.UTC,
			Lifetime: 8 * time.Hour, PastStart: 7 * 24 * time.Hour, ProtectRoleHolders: true,
			Grace: 7 * 24 * time.Hour, SyncCheck: 45 * time.Minute, MaxAge: 7 * 24 * time.Hour, SettleWindow: 24 * time.Hour,
			OnRiskySignIn: plan.RaiseFlag, OnSessionRevoked: plan.Record, OnCredentialChanged: plan.Record, OnMove: plan.Record,
		},
		Scopes: map[string]event.Scope{
			"hr": {"employee.*"}, "helpdesk": {"mfa.*"}, "risk": {"risk.*", "account.*", "session.*", "credential.*"},
		},
	}
	w.engines = map[string]*lane.Engine{}
	for name, h := range map[string]lane.Handler{"inbound": w.router, "lanes": w.worker} {
		w.engines[name] = &lane.Engine{
			Queue: name, FlagsQueue: "flags", Handler: h, Sender: w.client, MaxStarts: 5, Now: w.clock.Now, Log: log,
			Audit: w.worker.Audit,
		}
	}
	t.Cleanup(func() {
		w.web.Close()
		w.client.Close()
		w.graph.Close()
		w.router.Directory.(*graph.Client).Close()
		w.must(w.broker.Close())
		w.must(w.tenant.Close())
	})
	return w
}

func source(name string, types ...string) ingest.Source {
	return ingest.Source{
		Name: name, Format: ingest.CloudEvents, Types: types,
		Verify: &webhook.Config{Preset: "standard-webhooks", Keys: webhook.Keys{identity.NewSecret(hrKey)}},
	}
}

func (w *world) breaker(limits breaker.Limits) *breaker.Breaker {
	w.t.Helper()
	b, err := breaker.New(breaker.Options{
		Limits: limits, Now: w.clock.Now,
		Accept: func(ctx context.Context) (breaker.Session, error) {
			s, err := w.client.Accept(ctx, "control", breaker.SessionID, 5*time.Second)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	})
	w.must(err)
	return b
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// directory is the real Graph client as one of the tenant's apps.
func (w *world) directory(app string) *graph.Client {
	return w.directoryOf(app, func(s azauth.Settings) azcore.TokenCredential { return uncached{s} })
}

func (w *world) directoryOf(app string, credential func(azauth.Settings) azcore.TokenCredential) *graph.Client {
	w.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.tenant.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	w.t.Cleanup(transport.CloseIdleConnections)
	id, secret := w.tenant.App(app)
	c, err := graph.New(graph.Options{
		BaseURL: w.tenant.URL(),
		Credential: credential(azauth.Settings{
			TenantID: w.tenant.TenantID(), ClientID: id, ClientSecret: identity.NewSecret(secret),
			AuthorityHost: w.tenant.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: transport},
		}),
	})
	w.must(err)
	return c
}

// uncached asks for a token each time: a cached one would expire when the manual
// clock leaps.
type uncached struct{ azauth.Settings }

func (u uncached) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c, err := azauth.New(u.Settings)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return c.GetToken(ctx, o)
}

// joiner is a statement by HR.
func (w *world) joiner(id, employeeID, startDate string) map[string]any {
	return w.statement(id, "employee.joiner", map[string]any{
		"person": map[string]any{"employeeId": employeeID}, "startDate": startDate, "timeZone": berlin,
	})
}

func (w *world) statement(id, typ string, data map[string]any) map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": id, "source": "https://hr.contoso.example", "type": typ, "subject": "person-" + fmt.Sprint(data["person"]),
		"time": w.clock.Now().Format(time.RFC3339Nano), "datacontenttype": "application/json", "data": data,
	}
}

// post sends an event as an HR system does, signed by the reference library of
// Standard Webhooks, and wants the status.
func (w *world) post(e map[string]any, want int) string {
	w.t.Helper()
	body, err := json.Marshal(e)
	w.must(err)
	origin := "risk"
	switch family, _, _ := strings.Cut(fmt.Sprint(e["type"]), "."); family {
	case "employee":
		origin = "hr"
	case "mfa":
		origin = "helpdesk"
	}
	return w.postRaw(origin, body, fmt.Sprint(e["id"]), want)
}

func (w *world) postRaw(origin string, body []byte, id string, want int) string {
	w.t.Helper()
	signer, err := standardwebhooks.NewWebhook(hrKey)
	w.must(err)
	signature, err := signer.Sign(id, w.clock.Now(), body)
	w.must(err)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.web.URL+"/hr/"+origin, bytes.NewReader(body))
	w.must(err)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", fmt.Sprint(w.clock.Now().Unix()))
	req.Header.Set("webhook-signature", signature)
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != want {
		w.t.Fatalf("answered %d, want %d: %s", resp.StatusCode, want, answer)
	}
	return string(answer)
}

// work lets router and worker run until nothing is to be received.
func (w *world) work() {
	w.t.Helper()
	for range 200 {
		busy := false
		for _, name := range []string{"inbound", "lanes"} {
			if w.counts(name).Active > 0 {
				busy = true
				w.visit(name)
			}
		}
		if !busy {
			return
		}
	}
	w.t.Fatal("the queues never come to rest")
}

func (w *world) visit(name string) {
	w.t.Helper()
	s, err := w.client.AcceptNext(w.t.Context(), name, 5*time.Second)
	w.must(err)
	_, err = w.engines[name].Visit(w.t.Context(), s, func() bool { return true })
	w.must(err)
}

// at moves the clock and lets what became due run.
func (w *world) at(t time.Time) {
	w.t.Helper()
	w.clock.Set(t)
	w.work()
}

func (w *world) counts(name string) sbsim.Counts {
	w.t.Helper()
	c, ok := w.broker.Counts(name)
	if !ok {
		w.t.Fatalf("no queue %s", name)
	}
	return c
}

// ledger reads the memory of a lane.
func (w *world) ledger(user string) *ledger.Ledger {
	w.t.Helper()
	s, err := w.client.Accept(w.t.Context(), "lanes", user, 5*time.Second)
	w.must(err)
	defer s.Close()
	state, err := s.State(w.t.Context())
	w.must(err)
	l, err := ledger.Decode(state)
	w.must(err)
	return l
}

// waits tells how the only waiting event of a lane waits.
func (w *world) waits(user string) string {
	w.t.Helper()
	l := w.ledger(user)
	if len(l.Waiting) != 1 {
		return fmt.Sprintf("%d waiting", len(l.Waiting))
	}
	return string(l.Waiting[0].Kind) + ": " + l.Waiting[0].Reason
}

var passLine = regexp.MustCompile(`(?m)^Pass:\s+(\S+)$`)

// delivered are the passes in a mailbox, oldest first.
func (w *world) delivered(mailbox string) []string {
	var passes []string
	for _, m := range w.tenant.Mailbox(mailbox) {
		if match := passLine.FindStringSubmatch(m.Body); match != nil {
			passes = append(passes, match[1])
		}
	}
	return passes
}

// idle wants nothing left in any queue but what is named.
func (w *world) idle(want map[string]sbsim.Counts) {
	w.t.Helper()
	for _, name := range []string{"inbound", "lanes", "flags", "quarantine"} {
		if got := w.counts(name); got != want[name] {
			w.t.Errorf("queue %s: %+v, want %+v", name, got, want[name])
		}
	}
}

// flags are what was put before a human so far, oldest first.
func (w *world) flags() (list []flag.Flag) {
	w.t.Helper()
	r, err := w.client.Receiver("flags")
	w.must(err)
	defer r.Close()
	c := w.counts("flags")
	for sequence := int64(1); len(list) < c.Active+c.Deferred; sequence++ {
		m, err := r.Peek(w.t.Context(), sequence)
		if errors.Is(err, queue.ErrGone) {
			continue
		}
		w.must(err)
		f, err := flag.Decode(m.Body)
		w.must(err)
		list = append(list, f)
	}
	return list
}

// flagged wants flags of these causes, in this order, and no other.
func (w *world) flagged(want ...flag.Cause) {
	w.t.Helper()
	var got []flag.Cause
	for _, f := range w.flags() {
		got = append(got, f.Cause)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("flags %v, want %v", got, want)
	}
}

// outcome is how the event with the key ended in the person's lane.
func (w *world) outcome(user, key string) ledger.Outcome {
	w.t.Helper()
	o, _ := w.ledger(user).HandledAs(key)
	return o
}

// secretFree fails if a secret is anywhere it must not be.
func (w *world) secretFree() {
	w.t.Helper()
	requests, err := json.Marshal(w.tenant.Requests())
	w.must(err)
	places := map[string][]byte{"log or audit trail": []byte(w.log.String()), "request log of the tenant": requests, "broker": w.stored()}
	for place, content := range places {
		for _, secret := range w.secrets() {
			if bytes.Contains(content, []byte(secret)) {
				w.t.Errorf("a secret is in the %s", place)
			}
		}
	}
	if _, err = audit.Verify(strings.NewReader(w.log.String())); err != nil {
		w.t.Errorf("audit trail: %v", err)
	}
}

// secrets are what must never be seen: passes, and what sources and apps sign in with.
func (w *world) secrets() []string {
	_, worker := w.tenant.App("identity-worker")
	_, router := w.tenant.App("identity-router")
	return append(w.tenant.IssuedPassValues(), worker, router, hrKey, strings.TrimPrefix(hrKey, "whsec_"))
}

// stored is every byte that the broker was ever given.
func (w *world) stored() (all []byte) {
	w.t.Helper()
	w.must(fs.WalkDir(os.DirFS(w.journal), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(w.journal, path))
		all = append(all, b...)
		return err
	}))
	return all
}
