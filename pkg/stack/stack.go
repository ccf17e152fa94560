// Package stack runs mfaflow on one machine: the Service Bus emulator and the
// Graph simulator in this process, the built functions as child processes that
// see nothing but their settings, as in the cloud.
//
// It links no function and no SDK, so what runs is what is deployed.
package stack

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	simgraph "mfaflow/pkg/sim/graph"
	simhr "mfaflow/pkg/sim/hr"
	simbus "mfaflow/pkg/sim/servicebus"
	simssf "mfaflow/pkg/sim/ssf"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/webhook"
)

// The sources that the stack knows.
const (
	// Source is the HR system.
	Source     = "demo-hr"
	HelpDesk   = "demo-helpdesk"
	RiskSystem = "demo-risk"
	// Operations is where changes of the tenant are approved: what is for everybody is not
	// the help desk's.
	Operations = "demo-operations"
	// IdentityProvider transmits Security Event Tokens, Okta has an event hook, and Entra
	// is whoever reads the Event Hub of the tenant's diagnostic records.
	IdentityProvider = "demo-idp"
	Okta             = "demo-okta"
	Entra            = "demo-entra"
)

// Audience is aud of the tokens of the identity provider.
const Audience = "https://mfaflow.contoso.example/risk/" + IdentityProvider

// sources are the demo ones, which speak CloudEvents, and the HR systems of the catalogue.
func sources() (map[string]source, error) {
	list, err := systems()
	if err != nil {
		return nil, err
	}
	for name, types := range map[string][]string{
		Source: {"employee.*"}, HelpDesk: {"mfa.*"}, Operations: {string(event.MethodPolicy)}, RiskSystem: {"risk.*", "account.*", "session.*", "credential.*"},
	} {
		demo := source{Source: ingest.Source{
			Name: name, Format: ingest.CloudEvents, Verify: &webhook.Config{Preset: "standard-webhooks"}, Types: types, TimeZone: TimeZone,
		}, key: newKey("whsec_")}
		if name == Source {
			demo.record = json.RawMessage(fmt.Sprintf(`{"source": %q, "url": "https://hr.example/employees/{employeeId}", "mapping": "record",
				"timeZone": %q, "headers": {"Authorization": "Bearer <token>"}}`, name, TimeZone))
		}
		list = append(list, demo)
	}
	all := map[string]source{}
	for _, s := range list {
		all[s.Name] = s
	}
	return all, nil
}

// observed are the sources that a function makes events of: what Microsoft Graph tells,
// and what it is asked.
var observed = map[string][]string{
	sweep.Graph: {"account.changed"}, sweep.EntraRisk: {"risk.*"}, sweep.EntraSignIns: {"account.locked", "mfa.codes-unrequested"}, sweep.EntraHR: {"employee.*"},
}

// TimeZone is where the company of the sample tenant is.
const TimeZone = "Europe/Berlin"

// Operator is the mailbox of its service desk, which is told about flags.
const Operator = "daniela.rossi@contoso.example"

// mailSender is its service account that sends passes.
const mailSender = "onboarding@contoso.example"

// breakGlass are the emergency accounts of the sample tenant.
var breakGlass = [...]string{
	"10000000-0000-4000-8000-000000000018", "10000000-0000-4000-8000-000000000019", "10000000-0000-4000-8000-000000000029",
}

// Options say what to run.
type Options struct {
	// Bin is the folder of the built functions.
	Bin string
	// SimulatorsOnly leaves the functions to somebody else: a debugger, or a double of
	// the Lambda runtime. Environment says what they need.
	SimulatorsOnly bool
	// Each gets every line of the functions' output, and one line for each call the
	// Graph simulator answers under the name "graph". It is called from several
	// goroutines and must not block.
	Each func(from string, line []byte)
	// Environment is the machine's, in the form of os.Environ. The functions get only
	// what concerns the machine of it.
	Environment []string
	// Lock is how long a queue's lock lasts when its holder is gone; zero is a minute.
	Lock time.Duration
	// Settings are added to those of every function, NAME=VALUE.
	Settings []string
}

// Stack is a running stack.
type Stack struct {
	Bus   *simbus.Server
	Graph *simgraph.Server
	// HR is the HR system's API; a thin event of its webhook is completed from it.
	HR *simhr.Server
	// IDP is the identity provider that transmits Security Event Tokens.
	IDP *simssf.Transmitter
	// Dir holds what goes with this run: the simulator's certificate, the key of the HR
	// system, the token of the operator and the settings of each function.
	Dir string

	options  Options
	clock    *shiftedClock
	client   *http.Client
	sources  map[string]source // by name
	children []*child
	// clientStateKey is behind the client state of the subscriptions.
	clientStateKey identity.Secret

	mu      sync.Mutex
	changed chan struct{} // closed when something happens
}

// Queues are those of a deployment, with the properties that matter.
func Queues() []simbus.QueueConfig {
	const week = 7 * 24 * time.Hour
	queue := func(name string, sessions bool) simbus.QueueConfig {
		return simbus.QueueConfig{
			Name: name, RequiresSession: sessions, DuplicateDetection: week, LockDuration: time.Minute, MaxDeliveryCount: 50, DeadLetterOnExpiry: true,
		}
	}
	return []simbus.QueueConfig{
		queue("inbound", true), queue("lanes", true), queue("flags", false), queue("quarantine", false), queue("control", true),
	}
}

// functions in the order in which they start: receivers before senders, and who must be
// reached before who says where.
func functions() []string {
	return []string{"flag-notifier", "identity-worker", "identity-router", "hr-events", "risk-signals", "graph-notifications", "tenant-sweep", "event-replay"}
}

// Start starts everything and returns once all functions serve, which they must do
// before ctx ends. The stack then runs until Close.
func Start(ctx context.Context, o Options) (*Stack, error) {
	all, err := sources()
	if err != nil {
		return nil, err
	}
	s := &Stack{clock: newShiftedClock(), client: &http.Client{Transport: &http.Transport{}}, sources: all, clientStateKey: newKey("")}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o Options) (err error) {
	if o.Each == nil {
		o.Each = func(string, []byte) {}
	}
	if s.Dir, err = os.MkdirTemp("", "mfaflow-"); err != nil {
		return err
	}
	for _, source := range []string{Source, HelpDesk, Operations, RiskSystem} {
		if err := os.WriteFile(s.KeyFile(source), []byte(s.sources[source].key.Reveal()+"\n"), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.TokenFile(), []byte(rand.Text()+rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	queues := Queues()
	for i := range queues {
		queues[i].LockDuration = cmp.Or(o.Lock, queues[i].LockDuration)
	}
	if s.Bus, err = simbus.Start(ctx, simbus.Options{Queues: queues}); err != nil {
		return err
	}
	// ctx bounds the start; what is started ends with Close.
	running := context.WithoutCancel(ctx)
	calls := slog.New(slog.NewJSONHandler(lines(func(line []byte) {
		o.Each("graph", line)
		s.called()
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.Graph, err = simgraph.Start(running, simgraph.Options{Clock: s.clock, Logger: calls, PlainCallbacks: true}); err != nil {
		return err
	}
	// The dates of the sample tenant are near on some days and far on others.
	s.Graph.Mutate(func(t *simgraph.Tenant) {
		for _, u := range t.Users {
			u.EmployeeHireDate, u.EmployeeLeaveDateTime = nil, nil
		}
	})
	if s.HR, err = simhr.Start(running, s.sources[Source].key.Reveal()); err != nil {
		return err
	}
	if s.IDP, err = simssf.Start(running, simssf.Options{Audience: Audience}); err != nil {
		return err
	}
	for _, source := range riskSources(s.IDP) {
		s.sources[source.Name] = source
	}
	// One file, since a process reads one: the tenant's certificate and the provider's.
	if err := os.WriteFile(s.caFile(), slices.Concat(s.Graph.CAPEM(), s.IDP.CAPEM()), 0o600); err != nil {
		return err
	}
	s.options = o
	// The tool reads the tenant as this function would, and changes policies as this app may.
	for _, app := range []string{"readiness-report", "tenant-administrator"} {
		settings, err := s.Environment(app)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.Dir, app+".env"), []byte(strings.Join(settings, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	if o.SimulatorsOnly {
		return nil
	}
	for _, name := range functions() {
		path := filepath.Join(o.Bin, name)
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w: %s", ErrNotBuilt, path)
		}
		if name == "tenant-sweep" {
			if err := s.function("graph-notifications").wait(ctx); err != nil {
				return err
			}
		}
		env, err := s.Environment(name)
		if err != nil {
			return err
		}
		// For tools that look at what the functions were told.
		if err := os.WriteFile(filepath.Join(s.Dir, name+".env"), []byte(strings.Join(env, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		c, err := startChild(running, name, path, env, func(from string, line []byte) {
			o.Each(from, line)
			s.called()
		})
		if err != nil {
			return err
		}
		s.children = append(s.children, c)
	}
	for _, c := range s.children {
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ErrNotBuilt: a function has no binary where it was looked for.
var ErrNotBuilt = errors.New("function not built")

// lines is an io.Writer for a slog handler, which writes whole lines.
type lines func(line []byte)

func (l lines) Write(p []byte) (int, error) {
	l([]byte(strings.TrimSuffix(string(p), "\n")))
	return len(p), nil
}

// Close ends the functions first, so that they can say goodbye to the broker, then
// the simulators, and removes Dir.
func (s *Stack) Close() error {
	s.client.CloseIdleConnections()
	for _, c := range s.children {
		c.stop()
	}
	for _, c := range s.children {
		<-c.done
	}
	var errs []error
	if s.Graph != nil {
		errs = append(errs, s.Graph.Close())
	}
	if s.HR != nil {
		errs = append(errs, s.HR.Close())
	}
	if s.IDP != nil {
		errs = append(errs, s.IDP.Close())
	}
	if s.Bus != nil {
		errs = append(errs, s.Bus.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}

// Stop ends one function, as a deployment that went wrong does.
func (s *Stack) Stop(function string) {
	if c := s.function(function); c != nil {
		c.stop()
		<-c.done
	}
}

// Report has readiness-report make a report, unless there is one of today, as its schedule
// does.
func (s *Stack) Report() error {
	const name = "readiness-report"
	env, err := s.Environment(name)
	if err != nil {
		return err
	}
	made := make(chan string, 1)
	c, err := startChild(context.Background(), name, filepath.Join(s.options.Bin, name), env, func(from string, line []byte) {
		s.options.Each(from, line)
		var l struct {
			Message string `json:"msg"`
			Outcome string `json:"outcome"`
		}
		if json.Unmarshal(line, &l) == nil && l.Message == "readiness" && l.Outcome != "reading" {
			select {
			case made <- l.Outcome:
			default: // it looks again
			}
		}
	})
	if err != nil {
		return err
	}
	defer func() { c.stop(); <-c.done }()
	select {
	case outcome := <-made:
		if outcome != "done" && outcome != "not due" {
			return fmt.Errorf("%s: %s", name, outcome)
		}
		return nil
	case <-c.done:
		return c.err
	}
}

// Wait returns when ctx ends (nil) or a function ends by itself.
func (s *Stack) Wait(ctx context.Context) error {
	ended := make(chan error, len(s.children))
	for _, c := range s.children {
		go func() {
			<-c.done
			ended <- c.err
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// KeyFile holds the key with which a source signs: the HR system, the help desk or the
// risk system.
func (s *Stack) KeyFile(source string) string { return filepath.Join(s.Dir, source+".key") }

// TokenFile holds the token with which whoever started the stack operates it.
func (s *Stack) TokenFile() string { return filepath.Join(s.Dir, "operator-token") }

// OperationsURL is where event-replay answers operators; empty when it does not run.
func (s *Stack) OperationsURL() string { return s.origin("event-replay") }

// Origins are where the functions that take requests listen.
func (s *Stack) Origins() map[string]string {
	all := map[string]string{}
	for _, name := range functions() {
		if origin := s.origin(name); origin != "" {
			all[name] = origin
		}
	}
	return all
}

// Advance sets the clock of the tenant forward. It never goes back.
func (s *Stack) Advance(d time.Duration) { s.clock.setTo(s.clock.Now().Add(d)) }

func (s *Stack) caFile() string { return filepath.Join(s.Dir, "ca.pem") }

// HREventsURL is where the HR system posts its events.
func (s *Stack) HREventsURL() string { return s.url(Source) }

// RiskSignalsURL is where a risk system or the help desk posts its events.
func (s *Stack) RiskSignalsURL(source string) string { return s.url(source) }

func (s *Stack) url(source string) string {
	if s.sources[source].risk() {
		return s.origin("risk-signals") + "/risk/" + source
	}
	return s.origin("hr-events") + "/hr/" + source
}

// origin is where a function listens; empty when it does not run.
func (s *Stack) origin(function string) string {
	if c := s.function(function); c != nil && c.addr != "" {
		return "http://" + c.addr
	}
	return ""
}

func (s *Stack) function(name string) *child {
	for _, c := range s.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Environment is all that a function knows of the world, in the form of os.Environ.
func (s *Stack) Environment(name string) ([]string, error) {
	clientID, secret := s.Graph.App(name)
	var (
		list    []ingest.Source
		records []json.RawMessage
		plain   = map[string][]string{}
		scopes  = maps.Clone(observed)
	)
	for _, source := range slices.Sorted(maps.Keys(s.sources)) {
		known := s.sources[source]
		scopes[source] = known.Types
		if known.risk() == (name == "risk-signals") { // each function has its own senders
			list = append(list, known.Source)
			plain[source] = []string{known.key.Reveal()}
		}
		if known.record != nil {
			records = append(records, simulated(known, s.HR.URL(), s.sources[Source].key.Reveal()))
		}
	}
	sources, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	may, err := json.Marshal(scopes)
	if err != nil {
		return nil, err
	}
	apis, err := json.Marshal(records)
	if err != nil {
		return nil, err
	}
	polled := s.sources[IdentityProvider].Source
	polled.Verify = nil // who fetches is shown nothing beside the tokens
	streams, err := json.Marshal([]map[string]any{{"source": polled, "url": s.IDP.PollURL(), "token": s.IDP.PollToken()}})
	if err != nil {
		return nil, err
	}
	env := []string{
		"SSL_CERT_FILE=" + s.caFile(),
		"MFAFLOW_SERVICEBUS_CONNECTION_STRING=" + s.Bus.ConnectionStringAs(name),
		"MFAFLOW_TENANT_ID=" + s.Graph.TenantID(),
		"MFAFLOW_CLIENT_ID=" + clientID,
		"MFAFLOW_CLIENT_SECRET=" + secret,
		"MFAFLOW_AUTHORITY_URL=" + s.Graph.AuthorityURL(),
		"MFAFLOW_GRAPH_URL=" + s.Graph.TLSURL(),
		"MFAFLOW_GRAPH_BUDGET=none", // the simulator throttles nobody unless it is told to
		"MFAFLOW_LISTEN=127.0.0.1:0",
		"MFAFLOW_SOURCES=" + string(sources),
		"MFAFLOW_SOURCE_KEYS=" + string(keys),
		"MFAFLOW_SOURCE_SCOPES=" + string(may),
		"MFAFLOW_RECORD_SOURCES=" + string(apis),
		"MFAFLOW_STREAMS=" + string(streams),
		"MFAFLOW_DEFAULT_TIME_ZONE=" + TimeZone,
		"MFAFLOW_MAIL_SENDER=" + mailSender,
		"MFAFLOW_FLAG_MAIL_TO=" + Operator,
		"MFAFLOW_PROTECTED_ACCOUNTS=" + strings.Join(breakGlass[:], ","),
		"MFAFLOW_CLIENT_STATE_KEYS=local:" + s.clientStateKey.Reveal(),
		"MFAFLOW_OPERATOR_TOKEN_FILE=" + s.TokenFile(),
		"MFAFLOW_BREAK_GLASS_ACCOUNTS=" + strings.Join(breakGlass[:], ","),
		"MFAFLOW_REPORTS_URL=file://" + filepath.ToSlash(s.Dir) + "/reports",
		"MFAFLOW_NOTIFICATION_URL=" + s.origin("graph-notifications"),
		"MFAFLOW_POLL=risky-users,detections,sign-ins", // employment comes from the HR system
		// Long enough to see it wait, short enough to wait for.
		"MFAFLOW_PROVISION_RETRY=5s",
		"MFAFLOW_SWEEP_INTERVAL=5s",
	}
	for _, pair := range s.options.Environment {
		variable, _, _ := strings.Cut(pair, "=")
		if slices.Contains(machine[:], variable) {
			env = append(env, pair)
		}
	}
	return append(env, s.options.Settings...), nil
}

// machine are the variables that functions inherit: nothing of ours, of Azure or of
// AWS may leak in.
var machine = [...]string{"PATH", "HOME", "TMPDIR", "GOMAXPROCS", "GOMEMLIMIT"}

// newKey makes a key of 32 bytes in base64; the prefix of Standard Webhooks is whsec_.
func newKey(prefix string) identity.Secret {
	b := make([]byte, 32)
	rand.Read(b)
	return identity.NewSecret(prefix + base64.StdEncoding.EncodeToString(b))
}
