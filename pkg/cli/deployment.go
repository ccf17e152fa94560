package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/azauth"
	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/config"
	"mfaflow/pkg/doctor"
	"mfaflow/pkg/event"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/servicebus/management"
	"mfaflow/pkg/setpoll"
	"mfaflow/pkg/sweep"
)

var resolver = &net.Resolver{}

// place is where a deployment is described.
type place struct {
	settings   string
	functions  []string
	origins    map[string]string
	management string
	logs       []string
	// operations is where event-replay is, as far as the place knows.
	operations string
}

// find fills in what the stack on this machine announces, unless a deployment is named.
func (p *place) find(env []string) error {
	for _, name := range p.functions {
		if _, err := config.New(name); err != nil {
			return &usageError{err}
		}
	}
	for name := range p.origins {
		if _, err := config.New(name); err != nil {
			return &usageError{fmt.Errorf("--reach: %w", err)}
		}
	}
	p.operations, _ = lookup(env, config.OperationsURL)
	if p.settings != "" || namesTenant(env) {
		return nil
	}
	local, err := operateapi.Find(announcement(env))
	if errors.Is(err, fs.ErrNotExist) || err == nil && local.Settings == "" {
		return hint(errors.New("no stack runs on this machine, and no other deployment is named"), "--settings FOLDER, or start a stack with make run")
	} else if err != nil {
		return err
	}
	p.settings, p.operations = local.Settings, local.URL
	if p.management == "" {
		p.management = local.Management
	}
	for name, origin := range local.Origins {
		if p.origins == nil {
			p.origins = map[string]string{}
		}
		if p.origins[name] == "" {
			p.origins[name] = origin
		}
	}
	return nil
}

// deployment reads the settings and opens what looks at the rest. Nothing is asked of
// anybody yet.
func (p *place) deployment(env []string) (doctor.Deployment, func(), error) {
	names := p.functions
	if len(names) == 0 {
		names = config.Functions()
	}
	var (
		all       []settingsOf
		authority []byte
	)
	for _, name := range names {
		s := settingsOf{name: name, env: env}
		if p.settings != "" {
			if err := s.read(p.settings); err != nil {
				return doctor.Deployment{}, nil, err
			}
		}
		if file, ok := lookup(s.env, "SSL_CERT_FILE"); ok && p.settings != "" && authority == nil {
			var err error
			if authority, err = os.ReadFile(file); err != nil {
				return doctor.Deployment{}, nil, err
			}
		}
		all = append(all, s)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16}
	if authority != nil {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(authority) {
			return doctor.Deployment{}, nil, errors.New("SSL_CERT_FILE holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	o := opening{transport: transport, management: p.management}
	d := doctor.Deployment{Web: web{transport}, Logs: logs(p.logs), Now: time.Now, BrokerWhy: "no settings of a function name the broker"}
	if p.settings != "" {
		o.own(env)
		if o.ownApp != nil {
			d.Reader = o.ownApp
		}
	}
	for _, s := range all {
		f := o.function(s)
		f.URL = p.origins[s.name]
		d.Functions = append(d.Functions, f)
	}
	if o.broker != nil {
		d.Broker = o.broker
	} else if o.brokerWhy != "" {
		d.BrokerWhy = o.brokerWhy
	}
	d.Clocks = o.clocks
	return d, func() {
		for _, app := range o.apps {
			app.Close()
		}
		transport.CloseIdleConnections()
	}, nil
}

// settingsOf is the environment of a function.
type settingsOf struct {
	name   string
	env    []string
	secret identity.Secret
	absent string
}

// read takes the environment from the files of the function in a folder.
func (s *settingsOf) read(folder string) error {
	s.env = nil
	found := false
	for _, suffix := range []string{".env", ".json", ".secret.json"} {
		text, err := os.ReadFile(filepath.Join(folder, s.name+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		found = true
		switch suffix {
		case ".env":
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimRight(line, "\r\n"); line != "" && !strings.HasPrefix(line, "#") {
					s.env = append(s.env, line)
				}
			}
		case ".json":
			var variables map[string]string
			d := json.NewDecoder(bytes.NewReader(text))
			if d.Decode(&variables) != nil || d.More() { // whose error would quote a value
				return fmt.Errorf("%s%s is not a JSON object of strings", s.name, suffix)
			}
			for name, value := range variables {
				s.env = append(s.env, name+"="+value)
			}
		default:
			s.secret = identity.NewSecret(string(text))
		}
	}
	if !found {
		s.absent = "no " + s.name + ".env or .json in the folder of settings"
	} else if arn, _ := lookup(s.env, config.SettingsSecret); arn != "" && s.secret.Reveal() == "" {
		s.absent = "a part lies in Secrets Manager: put it into " + s.name + ".secret.json"
	}
	return nil
}

// opening turns settings into what the doctor looks with.
type opening struct {
	transport  *http.Transport
	management string

	ownApp    *app
	ownConfig *config.App
	apps      []*app
	broker    *management.Client
	brokerWhy string
	clocks    []doctor.Clock
}

// app is an app registration whose proof we have.
type app struct {
	*graph.Client
	granted func(context.Context) ([]string, error)
}

// Permissions implements doctor.App.
func (a *app) Permissions(ctx context.Context) ([]string, error) { return a.granted(ctx) }

// own is the examiner's app, if the environment has one.
func (o *opening) own(env []string) {
	var own struct{ config.FlagNotifier } // any that has an app and a directory
	if id, _ := lookup(env, "MFAFLOW_CLIENT_ID"); id == "" {
		return
	}
	// What else it lacks as a function does not matter here.
	_ = config.LoadFrom(env, identity.Secret{}, &own.FlagNotifier)
	if o.ownApp, _ = o.app(own.App, own.GraphURL); o.ownApp != nil {
		o.ownConfig = &own.App
	}
}

// app opens an app registration. It does no network.
func (o *opening) app(a config.App, graphURL string) (*app, string) {
	switch {
	case a.WebIdentity:
		return nil, "nobody but the function can prove to be its app (MFAFLOW_WEB_IDENTITY)"
	case a.ClientID == "" || !a.ClientSecret.IsSet() && !a.ClientCertificate.IsSet():
		return nil, ""
	}
	credential, err := azauth.New(azauth.Settings{
		TenantID: a.TenantID, ClientID: a.ClientID, ClientSecret: a.ClientSecret.Secret, ClientCertificate: a.ClientCertificate.Secret,
		AuthorityHost: a.AuthorityURL, DisableInstanceDiscovery: a.PrivateAuthority(), HTTPClient: &http.Client{Transport: o.transport},
	})
	if err != nil {
		return nil, err.Error()
	}
	if graphURL == "" {
		graphURL = graph.DefaultBaseURL
	}
	client, err := graph.New(graph.Options{Credential: credential, BaseURL: graphURL, Transport: o.transport})
	if err != nil {
		return nil, err.Error()
	}
	made := &app{client, func(ctx context.Context) ([]string, error) {
		return azauth.Granted(ctx, credential, graph.Scope(graphURL))
	}}
	o.apps = append(o.apps, made)
	return made, ""
}

// function describes one function.
func (o *opening) function(s settingsOf) doctor.Function {
	f := doctor.Function{Name: s.name, Unread: s.absent}
	if s.absent != "" {
		return f
	}
	settings, err := config.New(s.name)
	if err == nil {
		err = refusal(settings, config.LoadFrom(s.env, s.secret, settings))
	}
	if err != nil {
		f.Problems = strings.Split(err.Error(), "\n")
		return f
	}
	var (
		a config.App
		b config.Broker
		g config.Directory
	)
	queues := func(pairs ...any) { // purpose, name, ...
		f.Queues = map[doctor.Purpose]string{}
		for i := 0; i < len(pairs); i += 2 {
			f.Queues[pairs[i].(doctor.Purpose)] = pairs[i+1].(string)
		}
	}
	switch c := settings.(type) {
	case *config.HREvents:
		a, b = c.App, c.Broker
		queues(doctor.Inbound, c.InboundQueue, doctor.Quarantine, c.QuarantineQueue)
		f.Sources, f.Posters = scopes(sources(c.Ingest)), posters(sources(c.Ingest))
	case *config.RiskSignals:
		a, b = c.App, c.Broker
		queues(doctor.Inbound, c.InboundQueue, doctor.Quarantine, c.QuarantineQueue)
		f.Sources, f.Posters = scopes(sources(c.Ingest)), posters(sources(c.Ingest))
	case *config.GraphNotifications:
		a, b = c.App, c.Broker
		queues(doctor.Inbound, c.InboundQueue, doctor.Control, c.ControlQueue)
		f.ClientState = stateKeys(c.ClientStateKeys)
	case *config.IdentityRouter:
		a, b, g = c.App, c.Broker, c.Directory
		queues(doctor.Inbound, c.InboundQueue, doctor.Lanes, c.LanesQueue, doctor.Flags, c.FlagsQueue, doctor.Quarantine, c.QuarantineQueue)
		f.Receives, f.Lock, f.MaxStarts = []doctor.Purpose{doctor.Inbound}, c.LockDuration, c.MaxStarts
	case *config.IdentityWorker:
		a, b, g = c.App, c.Broker, c.Directory
		queues(doctor.Lanes, c.LanesQueue, doctor.Flags, c.FlagsQueue, doctor.Control, c.ControlQueue)
		f.Receives, f.Lock, f.MaxStarts = []doctor.Purpose{doctor.Lanes, doctor.Control}, c.LockDuration, c.MaxStarts
		planning(&f, c.Planning)
		f.PassLifetime, f.PassOneTime, f.Protected = c.PassLifetime, c.PassOneTime, c.ProtectedAccounts
		f.Requires = len(c.Requirements) > 0
		if slices.Contains(c.Delivery, config.Manager) || slices.Contains(c.Delivery, config.PersonalMail) {
			f.Sender = c.MailSender
		}
		f.Channels = hosts(map[string]string{"handover": c.HandoverURL})
	case *config.FlagNotifier:
		a, b, g = c.App, c.Broker, c.Directory
		queues(doctor.Flags, c.FlagsQueue)
		f.Receives, f.Lock = []doctor.Purpose{doctor.Flags}, c.LockDuration
		if c.FlagMailTo != "" {
			f.Sender = c.MailSender
		}
		f.Channels = hosts(map[string]string{"Teams": c.TeamsWebhookURL.Reveal(), "Slack": c.SlackWebhookURL.Reveal(), "webhook": c.FlagWebhookURL.Reveal()})
	case *config.TenantSweep:
		a, b, g = c.App, c.Broker, c.Directory
		queues(doctor.Inbound, c.InboundQueue, doctor.Quarantine, c.QuarantineQueue, doctor.Control, c.ControlQueue)
		f.Receives, f.Lock = []doctor.Purpose{doctor.Control}, c.LockDuration
		f.Zone, f.Polls, f.ClientState = c.DefaultTimeZone.String(), c.Polls(), stateKeys(c.ClientStateKeys)
		f.NotificationURL, f.SubscriptionLifetime = c.NotificationURL, c.SubscriptionLifetime
		f.Sources = scopes(streams(c))
		for source, scope := range sweep.Sends(f.Polls) {
			f.Sources[source] = scope
		}
	case *config.ReadinessReport:
		a, b, g = c.App, c.Broker, c.Directory
		queues(doctor.Flags, c.FlagsQueue)
		f.BreakGlass = c.BreakGlassAccounts
	case *config.EventReplay:
		a, b, g = c.App, c.Broker, c.Directory
		queues(doctor.Inbound, c.InboundQueue, doctor.Lanes, c.LanesQueue, doctor.Flags, c.FlagsQueue, doctor.Control, c.ControlQueue, doctor.Quarantine, c.QuarantineQueue)
		f.Receives, f.Lock = []doctor.Purpose{doctor.Inbound, doctor.Lanes, doctor.Flags, doctor.Control, doctor.Quarantine}, c.LockDuration
		planning(&f, c.Planning)
	}
	f.Tenant, f.Graph = a.TenantID, g.GraphURL
	f.Broker = b.ServicebusNamespace
	if f.Broker == "" {
		f.Broker = endpoint(b.ServicebusConnectionString.Reveal())
	}
	made, why := o.app(a, g.GraphURL)
	if made != nil {
		f.App = made
	} else {
		f.Why = why
	}
	o.look(a, b, f)
	return f
}

// look opens what looks at the broker, once, and notes who tells the time.
func (o *opening) look(a config.App, b config.Broker, f doctor.Function) {
	add := func(name, url string) {
		if url != "" && !slices.ContainsFunc(o.clocks, func(c doctor.Clock) bool { return c.Name == name }) {
			o.clocks = append(o.clocks, doctor.Clock{Name: name, URL: url})
		}
	}
	if f.Graph != "" {
		add("Graph", strings.TrimSuffix(f.Graph, "/")+"/v1.0/organization")
	}
	if o.management != "" {
		add("the broker", strings.TrimSuffix(o.management, "/")+"/$namespaceinfo?api-version=2021-05")
	} else if b.ServicebusNamespace != "" {
		add("the broker", "https://"+b.ServicebusNamespace+"/")
	}
	if o.broker != nil {
		return
	}
	options := management.Options{ConnectionString: b.ServicebusConnectionString.Secret, Namespace: b.ServicebusNamespace, URL: o.management, Transport: o.transport}
	if strings.Contains(strings.ToLower(b.ServicebusConnectionString.Reveal()), "usedevelopmentemulator=true") && o.management == "" {
		o.brokerWhy = "nobody says where the emulator's management API is: --management URL"
		return
	}
	if options.Namespace != "" {
		if o.ownConfig != nil {
			a = *o.ownConfig
		}
		credential, err := azauth.New(azauth.Settings{
			TenantID: a.TenantID, ClientID: a.ClientID, ClientSecret: a.ClientSecret.Secret, ClientCertificate: a.ClientCertificate.Secret,
			AuthorityHost: a.AuthorityURL, DisableInstanceDiscovery: a.PrivateAuthority(), HTTPClient: &http.Client{Transport: o.transport},
		})
		if err != nil {
			o.brokerWhy = "only Azure Service Bus Data Owner may read the settings of queues, and no app whose token is to be had here is at hand"
			return
		}
		options.Credential = credential
	}
	client, err := management.New(options)
	if err != nil {
		o.brokerWhy = err.Error()
		return
	}
	o.broker = client
}

func planning(f *doctor.Function, c config.Planning) {
	settings := c.Plan()
	f.Zone, f.Scopes = c.DefaultTimeZone.String(), c.SourceScopes
	settings.DefaultZone = nil // told apart by a check of its own, as scopes are
	f.Planning = operate.SettingsDigest(settings, nil, c.ReportOnly)
}

// stateKeys were checked with the settings; none are nil.
func stateKeys(list config.ClientStateKeys) *clientstate.Keys {
	keys, err := clientstate.NewKeys(list)
	if err != nil {
		return &clientstate.Keys{}
	}
	return keys
}

func sources(c config.Ingest) []ingest.Source {
	list, err := ingest.ParseSources(c.Sources.Bytes())
	if err != nil {
		return nil // as refusal has said
	}
	return list
}

func streams(c *config.TenantSweep) (list []ingest.Source) {
	all, err := setpoll.Parse(c.Streams.Bytes())
	if err != nil {
		return nil
	}
	for _, s := range all {
		list = append(list, s.Source)
	}
	return list
}

func scopes(list []ingest.Source) map[string]event.Scope {
	all := map[string]event.Scope{}
	for _, s := range list {
		all[s.Name] = event.Scope(s.Types)
	}
	return all
}

func posters(list []ingest.Source) (names []string) {
	for _, s := range list {
		if s.Posts() {
			names = append(names, s.Name)
		}
	}
	return names
}

// hosts are those of the URLs that are set. The rest of such a URL is often a secret.
func hosts(urls map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range urls {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
			all[name] = u.Hostname()
		}
	}
	return all
}

// endpoint is the host of a connection string.
func endpoint(connection string) string {
	for pair := range strings.SplitSeq(connection, ";") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(name, "Endpoint") {
			if u, err := url.Parse(value); err == nil {
				return u.Host
			}
		}
	}
	return ""
}
