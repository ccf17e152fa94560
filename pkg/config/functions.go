package config

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/plan"
)

// Logging is common to all functions.
type Logging struct {
	LogLevel slog.Level `split_words:"true" default:"INFO" desc:"Least severe level that is logged: DEBUG, INFO, WARN or ERROR"`
}

// Level is the least severe level that is logged.
func (l Logging) Level() slog.Level { return l.LogLevel }

// Broker says how to reach Azure Service Bus.
type Broker struct {
	ServicebusConnectionString Secret `split_words:"true" desc:"Secret. Connection string of the emulator or of a development namespace; excludes the namespace"`
	ServicebusNamespace        string `split_words:"true" desc:"Host name of the Service Bus namespace, used with the app registration below"`
}

// App is the function's own app registration in Entra ID.
type App struct {
	TenantID          string `split_words:"true" desc:"Id or verified domain of the Entra tenant"`
	ClientID          string `split_words:"true" desc:"Client id of the function's app registration"`
	ClientSecret      Secret `split_words:"true" desc:"Secret. Client secret of the app registration"`
	ClientCertificate Secret `split_words:"true" desc:"Secret. Certificate and unencrypted private key as PEM; instead of the client secret"`
	WebIdentity       bool   `split_words:"true" default:"false" desc:"Under AWS Lambda: prove the app registration by a token of the function's AWS role, which its federated credential trusts; instead of a client secret or certificate"`
	AuthorityURL      string `split_words:"true" default:"https://login.microsoftonline.com/" desc:"Token service"`
}

// PrivateAuthority reports whether the token service is none of Microsoft's, so
// that Microsoft cannot be asked whether it is genuine.
func (a App) PrivateAuthority() bool {
	u, err := url.Parse(a.AuthorityURL)
	return err != nil || !slices.Contains(
		[]string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}, strings.ToLower(u.Host))
}

// Directory says where Microsoft Graph is.
type Directory struct {
	GraphURL     string `split_words:"true" default:"https://graph.microsoft.com" desc:"Microsoft Graph, without a version"`
	GraphBudget  Budget `split_words:"true" default:"documented" desc:"Requests per time: documented keeps to Microsoft's published limits, none leaves it to Graph to refuse"`
	GraphWorkers int    `split_words:"true" default:"1" desc:"How many processes of all functions share the limits evenly"`
}

// Locking says how a function holds what it took from a queue.
type Locking struct {
	LockDuration    time.Duration `split_words:"true" default:"60s" desc:"Lock duration of the queues, at most 5m; never more than they are configured with"`
	DeadlineReserve time.Duration `split_words:"true" default:"10s" desc:"Under Lambda: no new work when less than this remains"`
}

// Receiving says how a function takes the messages of a queue.
type Receiving struct {
	Locking
	IdleExit time.Duration `split_words:"true" default:"5s" desc:"Under Lambda: a drain ends after this long without work"`
}

// Drain says how a function works through the sessions of a queue.
type Drain struct {
	Sessions  int `default:"8" desc:"Lanes worked on at once, 1 to 256"`
	MaxStarts int `split_words:"true" default:"5" desc:"Starts of one event before it is dead-lettered as poison"`
	Receiving
}

// Breaker says how many destructive changes all workers may make without an
// operator.
type Breaker struct {
	BreakerWindow           time.Duration `split_words:"true" default:"1h" desc:"Sliding window in which destructive changes are counted, 1m to 168h"`
	BreakerCount            int           `split_words:"true" default:"25" desc:"Leavers, re-registrations and compromise responses let through within the window, 1 to 1500; the rest is held"`
	BreakerPercent          int           `split_words:"true" default:"5" desc:"Percentage of all people that the count is cut to, never below one person; 0 does not cut"`
	BreakerImmediateCount   int           `split_words:"true" default:"100" desc:"Immediate leavers let through within the window, never fewer than of the rest"`
	BreakerImmediatePercent int           `split_words:"true" default:"20" desc:"Percentage of all people that the count of immediate leavers is cut to, never lower than the other; 0 does not cut"`
}

// Ingest says whose events a function takes by HTTP, and where to.
type Ingest struct {
	InboundQueue    string        `split_words:"true" default:"inbound" desc:"Queue of accepted events"`
	QuarantineQueue string        `split_words:"true" default:"quarantine" desc:"Queue of signed events that cannot be understood or resolved"`
	Listen          string        `default:"127.0.0.1:8080" desc:"Outside Lambda: address to serve on; port 0 picks a free one"`
	Sources         Document      `required:"true" desc:"Sources as JSON, or @ and the path of a JSON file"`
	SourceKeys      SourceKeys    `split_words:"true" desc:"Secret. Keys of the sources as JSON: {\"workday\": [\"whsec_...\"]}"`
	SendTimeout     time.Duration `split_words:"true" default:"1500ms" desc:"How long the broker may take to accept; then the sender is told to try again"`
}

// HREvents are the settings of the hr-events function.
type HREvents struct {
	Logging
	Broker
	App
	Ingest
}

// RiskSignals are the settings of the risk-signals function.
type RiskSignals struct {
	Logging
	Broker
	App
	Ingest
}

// IdentityRouter are the settings of the identity-router function.
type IdentityRouter struct {
	Logging
	Broker
	App
	Directory
	InboundQueue    string `split_words:"true" default:"inbound" desc:"Queue of accepted events"`
	LanesQueue      string `split_words:"true" default:"lanes" desc:"Queue with one session for each person"`
	FlagsQueue      string `split_words:"true" default:"flags" desc:"Queue of what a human must look at"`
	QuarantineQueue string `split_words:"true" default:"quarantine" desc:"Queue of signed events that cannot be understood or resolved"`
	Drain
	RecordSources    Document      `split_words:"true" desc:"Secret. HR APIs that complete thin events, as JSON, or @ and the path of a JSON file"`
	ProvisionRetry   time.Duration `split_words:"true" default:"15m" desc:"How often a person without an account is looked up again"`
	ProvisionGrace   time.Duration `split_words:"true" default:"336h" desc:"How long after the start date a joiner may be without an account"`
	UnknownPersonAge time.Duration `split_words:"true" default:"24h" desc:"How long any other event waits for an unknown person"`
}

// Planning is what plans are made with: by the worker, who acts on them, and by
// event-replay, who says beforehand what the worker would do.
type Planning struct {
	SourceScopes        SourceScopes  `split_words:"true" required:"true" desc:"Event types that each source may send, as JSON: {\"workday\": [\"employee.*\"]}"`
	LeadTime            time.Duration `split_words:"true" default:"72h" desc:"How long before the start of work a joiner's pass is issued"`
	PastStart           time.Duration `split_words:"true" default:"168h" desc:"How long after the start date a joiner is still given a pass without an operator"`
	LeaverGrace         time.Duration `split_words:"true" default:"168h" desc:"How long a leaver's authentication methods are kept after the block"`
	UnblockReturning    bool          `split_words:"true" default:"false" desc:"Unblock by itself when HR takes a leaving back or hires the person again; otherwise an operator releases it"`
	SyncCheck           time.Duration `split_words:"true" default:"45m" desc:"When a blocked account that is synced from on-premises is looked at again"`
	MaxEventAge         time.Duration `split_words:"true" default:"168h" desc:"Age from which mfa.* and risk.* events are flagged instead of run"`
	SettleWindow        time.Duration `split_words:"true" default:"24h" desc:"How long further signals belong to an incident that was answered"`
	OnRiskySignIn       Response      `split_words:"true" default:"flag" desc:"What follows risk.sign-in: record, flag, revoke, reregister or compromise"`
	OnSessionRevoked    Response      `split_words:"true" default:"record" desc:"What follows session.revoked, as above"`
	OnCredentialChanged Response      `split_words:"true" default:"record" desc:"What follows credential.changed, as above"`
	OnMove              Response      `split_words:"true" default:"record" desc:"What follows employee.mover, as above"`
	Requirements        Requirements  `desc:"What mfa.requirement.set can require, as JSON: {\"phishing-resistant\": {\"group\": \"<object id>\", \"methods\": [\"fido2\", \"windowsHelloForBusiness\"]}}; a Conditional Access policy demands it of the group"`
	MoveRequirements    Moves         `split_words:"true" desc:"Requirements of new roles and departments, by HR's names of them, as JSON: {\"Domain Administrator\": \"phishing-resistant\"}"`
	MethodPolicy        bool          `split_words:"true" default:"false" desc:"Let mfa.method.policy change the tenant's authentication methods policy; identity-worker then needs Policy.ReadWrite.AuthenticationMethod and MFAFLOW_REPORTS_URL of readiness-report"`
	SnapshotMaxAge      time.Duration `split_words:"true" default:"26h" desc:"How old the snapshot of readiness-report may be that a change of the policy is judged by, 1h to 720h"`
	ReportsURL          ReportsURL    `split_words:"true" desc:"Where reports, their history and unfinished work are kept: file:///folder or s3://bucket/prefix; readiness-report needs it"`
	ReportOnly          bool          `split_words:"true" default:"false" desc:"Write what would have been done to accounts, and do none of it"`
	PassOpensAt         TimeOfDay     `split_words:"true" default:"07:30" desc:"Local time of the start date at which a pass opens"`
	DefaultTimeZone     TimeZone      `split_words:"true" required:"true" desc:"IANA time zone of people whose event names none"`
	PassLifetime        time.Duration `split_words:"true" default:"8h" desc:"Lifetime of a pass, 10m to 720h; the tenant's policy may shorten it"`
	PassOneTime         bool          `split_words:"true" default:"false" desc:"Issue passes that work once"`
	ProtectedAccounts   ObjectIDs     `split_words:"true" desc:"Object ids of accounts that only two people may change, break-glass accounts first"`
	ProtectRoleHolders  bool          `split_words:"true" default:"true" desc:"Protect everybody who holds or can activate a directory role"`
}

// IdentityWorker are the settings of the identity-worker function.
type IdentityWorker struct {
	Logging
	Broker
	App
	Directory
	LanesQueue   string `split_words:"true" default:"lanes" desc:"Queue with one session for each person"`
	FlagsQueue   string `split_words:"true" default:"flags" desc:"Queue of what a human must look at"`
	ControlQueue string `split_words:"true" default:"control" desc:"Queue whose reserved sessions hold what all workers share"`
	Drain
	Breaker
	Planning
	SerialRemoval         bool          `split_words:"true" default:"false" desc:"Remove authentication methods one request after the other instead of in batches"`
	Delivery              []Channel     `default:"manager" desc:"Channels for a pass in the order in which they are tried: manager, personal-mail, handover"`
	MailSender            string        `split_words:"true" desc:"Mailbox that sends mail: passes by manager and personal-mail, and flags"`
	PersonalMailUnchanged time.Duration `split_words:"true" default:"720h" desc:"How long a personal address must have stayed the same to be used"`
	HandoverURL           string        `split_words:"true" desc:"Service that hands passes over; needed by handover"`
	HandoverKey           Secret        `split_words:"true" desc:"Secret. Standard Webhooks key (whsec_) that signs what is handed over"`
}

// function ties a deployed function to its settings.
type function struct {
	name     string
	settings Settings
}

func functions() []function {
	return []function{
		{"hr-events", &HREvents{}},
		{"graph-notifications", &GraphNotifications{}},
		{"risk-signals", &RiskSignals{}},
		{"identity-router", &IdentityRouter{}},
		{"identity-worker", &IdentityWorker{}},
		{"flag-notifier", &FlagNotifier{}},
		{"tenant-sweep", &TenantSweep{}},
		{"readiness-report", &ReadinessReport{}},
		{"event-replay", &EventReplay{}},
	}
}

// Functions are the names of the functions that have settings.
func Functions() []string {
	var names []string
	for _, f := range functions() {
		names = append(names, f.name)
	}
	return names
}

// ErrUnknownFunction: no function of that name has settings.
var ErrUnknownFunction = errors.New("unknown function")

// New returns the empty settings of the function, for Load.
func New(name string) (Settings, error) {
	for _, f := range functions() {
		if f.name == name {
			return f.settings, nil
		}
	}
	return nil, fmt.Errorf("%w %q: there are %s", ErrUnknownFunction, name, strings.Join(Functions(), ", "))
}

func (c *HREvents) problems() SettingsError { return c.Ingest.problems(c.Broker, c.App) }

func (c *RiskSignals) problems() SettingsError { return c.Ingest.problems(c.Broker, c.App) }

func (i Ingest) problems(b Broker, a App) SettingsError {
	var p SettingsError
	b.check(&p)
	if b.ServicebusNamespace != "" {
		a.check(&p)
	}
	p.queues([]string{"INBOUND_QUEUE", "QUARANTINE_QUEUE"}, i.InboundQueue, i.QuarantineQueue)
	if !isAddress(i.Listen) {
		p.add("LISTEN", "is not an address such as 127.0.0.1:8080")
	}
	p.duration("SEND_TIMEOUT", i.SendTimeout, time.Millisecond, time.Minute)
	return p
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func (c *IdentityRouter) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	c.App.check(&p)
	c.Directory.check(&p)
	p.queues([]string{"INBOUND_QUEUE", "LANES_QUEUE", "FLAGS_QUEUE", "QUARANTINE_QUEUE"},
		c.InboundQueue, c.LanesQueue, c.FlagsQueue, c.QuarantineQueue)
	c.Drain.check(&p)
	p.duration("PROVISION_RETRY", c.ProvisionRetry, time.Second, 24*time.Hour)
	p.duration("PROVISION_GRACE", c.ProvisionGrace, 0, 365*24*time.Hour)
	p.duration("UNKNOWN_PERSON_AGE", c.UnknownPersonAge, 0, 365*24*time.Hour)
	return p
}

func (c *IdentityWorker) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	c.App.check(&p)
	c.Directory.check(&p)
	p.queues([]string{"LANES_QUEUE", "FLAGS_QUEUE", "CONTROL_QUEUE"}, c.LanesQueue, c.FlagsQueue, c.ControlQueue)
	c.Drain.check(&p)
	c.Breaker.check(&p)
	c.Planning.check(&p)
	if len(c.Delivery) == 0 {
		p.add("DELIVERY", "names no channel")
	}
	for i, channel := range c.Delivery {
		if slices.Contains(c.Delivery[:i], channel) {
			p.add("DELIVERY", "names "+string(channel)+" twice")
		}
	}
	if (slices.Contains(c.Delivery, Manager) || slices.Contains(c.Delivery, PersonalMail)) && c.MailSender == "" {
		p.add("MAIL_SENDER", "is required to send mail")
	}
	p.duration("PERSONAL_MAIL_UNCHANGED", c.PersonalMailUnchanged, 0, 10*365*24*time.Hour)
	if slices.Contains(c.Delivery, Handover) {
		p.https("HANDOVER_URL", c.HandoverURL)
		p.signingKey("HANDOVER_KEY", c.HandoverKey)
	}
	return p
}

func (c Planning) check(p *SettingsError) {
	p.duration("LEAD_TIME", c.LeadTime, 0, 365*24*time.Hour)
	p.duration("PAST_START", c.PastStart, 0, 365*24*time.Hour)
	p.duration("LEAVER_GRACE", c.LeaverGrace, 0, 365*24*time.Hour)
	p.duration("SYNC_CHECK", c.SyncCheck, time.Minute, 24*time.Hour)
	p.duration("MAX_EVENT_AGE", c.MaxEventAge, time.Hour, 365*24*time.Hour)
	p.duration("SETTLE_WINDOW", c.SettleWindow, time.Minute, 30*24*time.Hour)
	// learn.microsoft.com/graph/api/resources/temporaryaccesspassauthenticationmethod:
	// lifetimeInMinutes is 10 to 43200.
	p.duration("PASS_LIFETIME", c.PassLifetime, 10*time.Minute, 43200*time.Minute)
	if c.PassLifetime%time.Minute != 0 {
		p.add("PASS_LIFETIME", "is not a whole number of minutes")
	}
	p.duration("SNAPSHOT_MAX_AGE", c.SnapshotMaxAge, time.Hour, 30*24*time.Hour)
	switch {
	case c.ReportsURL != "":
		c.ReportsURL.check(p)
	case c.MethodPolicy:
		p.add("REPORTS_URL", "is required with "+prefix+"_METHOD_POLICY: that of readiness-report")
	}
	for _, requirement := range c.MoveRequirements {
		if _, known := c.Requirements[requirement]; !known {
			p.add("MOVE_REQUIREMENTS", "names a requirement that is not in "+prefix+"_REQUIREMENTS")
			break
		}
	}
}

func (b Broker) check(p *SettingsError) {
	switch {
	case b.ServicebusConnectionString.IsSet() && b.ServicebusNamespace != "":
		p.add("SERVICEBUS_NAMESPACE", "excludes "+prefix+"_SERVICEBUS_CONNECTION_STRING")
	case b.ServicebusConnectionString.IsSet():
		if !isConnectionString(b.ServicebusConnectionString.Reveal()) {
			p.add("SERVICEBUS_CONNECTION_STRING", "is not a connection string such as Endpoint=sb://host;SharedAccessKeyName=name;SharedAccessKey=key")
		}
	case b.ServicebusNamespace == "":
		p.add("SERVICEBUS_NAMESPACE", "is required, or "+prefix+"_SERVICEBUS_CONNECTION_STRING in development")
	case strings.ContainsAny(b.ServicebusNamespace, ":/@ ") || !strings.Contains(b.ServicebusNamespace, "."):
		p.add("SERVICEBUS_NAMESPACE", "is not a host name such as contoso.servicebus.windows.net")
	}
}

// isConnectionString checks the syntax that the SDK reads and the portal writes: an
// endpoint with a key or with a signature made of one.
func isConnectionString(s string) bool {
	parts := map[string]string{}
	for pair := range strings.SplitSeq(s, ";") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return false
		}
		parts[strings.ToLower(name)] = value
	}
	u, err := url.Parse(parts["endpoint"])
	if err != nil || u.Scheme != "sb" || u.Host == "" || u.User != nil {
		return false
	}
	if v, given := parts["usedevelopmentemulator"]; given {
		if _, err := strconv.ParseBool(v); err != nil {
			return false
		}
	}
	return parts["sharedaccesskeyname"] != "" && parts["sharedaccesskey"] != "" || parts["sharedaccesssignature"] != ""
}

func (a App) check(p *SettingsError) {
	switch {
	case a.TenantID == "":
		p.add("TENANT_ID", "is required")
	case strings.Trim(strings.ToLower(a.TenantID), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "":
		p.add("TENANT_ID", "is neither an id nor a domain")
	}
	if a.ClientID == "" {
		p.add("CLIENT_ID", "is required")
	}
	switch secret, certificate := a.ClientSecret.IsSet(), a.ClientCertificate.IsSet(); {
	case secret && certificate:
		p.add("CLIENT_CERTIFICATE", "excludes "+prefix+"_CLIENT_SECRET")
	case a.WebIdentity && (secret || certificate):
		p.add("WEB_IDENTITY", "excludes "+prefix+"_CLIENT_SECRET and "+prefix+"_CLIENT_CERTIFICATE")
	case !secret && !certificate && !a.WebIdentity:
		p.add("CLIENT_SECRET", "is required, or "+prefix+"_CLIENT_CERTIFICATE, or "+prefix+"_WEB_IDENTITY under AWS Lambda")
	case certificate && !isCertificate([]byte(a.ClientCertificate.Reveal())):
		p.add("CLIENT_CERTIFICATE", "is not PEM with a certificate and an unencrypted private key")
	}
	p.https("AUTHORITY_URL", a.AuthorityURL)
}

// isCertificate reports whether the PEM holds what azidentity takes.
func isCertificate(text []byte) bool {
	certificates, keys := 0, 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return certificates > 0 && keys == 1
		}
		var err error
		switch block.Type {
		case "CERTIFICATE":
			_, err = x509.ParseCertificate(block.Bytes)
			certificates++
		case "PRIVATE KEY":
			if _, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				_, err = x509.ParsePKCS1PrivateKey(block.Bytes)
			}
			keys++
		case "RSA PRIVATE KEY":
			_, err = x509.ParsePKCS1PrivateKey(block.Bytes)
			keys++
		}
		if err != nil {
			return false
		}
	}
}

func (d Directory) check(p *SettingsError) {
	p.https("GRAPH_URL", d.GraphURL)
	if u, err := url.Parse(strings.TrimSuffix(d.GraphURL, "/")); err == nil && u.Path != "" {
		p.add("GRAPH_URL", "has a path: the version belongs to the requests")
	}
	p.number("GRAPH_WORKERS", d.GraphWorkers, 1, 1000)
}

func (d Drain) check(p *SettingsError) {
	p.number("SESSIONS", d.Sessions, 1, 256)
	p.number("MAX_STARTS", d.MaxStarts, 1, 1000)
	d.Receiving.check(p)
}

func (l Locking) check(p *SettingsError) {
	p.duration("LOCK_DURATION", l.LockDuration, 5*time.Second, 5*time.Minute)
	p.duration("DEADLINE_RESERVE", l.DeadlineReserve, time.Second, 15*time.Minute)
}

func (r Receiving) check(p *SettingsError) {
	r.Locking.check(p)
	p.duration("IDLE_EXIT", r.IdleExit, time.Millisecond, 15*time.Minute)
}

func (b Breaker) check(p *SettingsError) {
	p.duration("BREAKER_WINDOW", b.BreakerWindow, time.Minute, 7*24*time.Hour)
	p.number("BREAKER_COUNT", b.BreakerCount, 1, 1500)
	p.number("BREAKER_PERCENT", b.BreakerPercent, 0, 100)
	p.number("BREAKER_IMMEDIATE_COUNT", b.BreakerImmediateCount, min(b.BreakerCount, 1500), 1500)
	if b.BreakerImmediatePercent != 0 {
		p.number("BREAKER_IMMEDIATE_PERCENT", b.BreakerImmediatePercent, min(max(1, b.BreakerPercent), 100), 100)
	}
}

// https: a token or a pass travels there.
func (p *SettingsError) https(name, v string) {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		p.add(name, "is not an https URL without user, query and fragment")
	}
}

// queues checks that every name is one of a queue, and another than the rest.
func (p *SettingsError) queues(names []string, values ...string) {
	for i, v := range values {
		switch {
		case v == "" || len(v) > 260 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/") != "":
			p.add(names[i], "is not a queue name of letters, digits, period, hyphen, underscore and slash")
		case slices.ContainsFunc(values[:i], func(w string) bool { return strings.EqualFold(v, w) }):
			p.add(names[i], "names a queue that has another purpose")
		}
	}
}

func (p *SettingsError) signingKey(name string, v Secret) {
	encoded, ok := strings.CutPrefix(v.Reveal(), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	// github.com/standard-webhooks/standard-webhooks/blob/main/spec: 24 to 64 bytes.
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		p.add(name, "is not whsec_ and base64 of 24 to 64 bytes")
	}
}

// Plan are the settings that plans are made with.
func (c Planning) Plan() plan.Settings {
	return plan.Settings{
		LeadTime: c.LeadTime, OpensAtHour: c.PassOpensAt.Hour, OpensAtMinute: c.PassOpensAt.Minute,
		DefaultZone: c.DefaultTimeZone.Location, Lifetime: c.PassLifetime, OneTime: c.PassOneTime, PastStart: c.PastStart,
		Grace: c.LeaverGrace, UnblockReturning: c.UnblockReturning, SyncCheck: c.SyncCheck,
		MaxAge: c.MaxEventAge, SettleWindow: c.SettleWindow,
		OnRiskySignIn: plan.Response(c.OnRiskySignIn), OnSessionRevoked: plan.Response(c.OnSessionRevoked),
		OnCredentialChanged: plan.Response(c.OnCredentialChanged), OnMove: plan.Response(c.OnMove),
		Requirements: c.Requirements, MoveRequirements: c.MoveRequirements, MethodPolicy: c.MethodPolicy,
		ProtectedAccounts: c.ProtectedAccounts, ProtectRoleHolders: c.ProtectRoleHolders,
	}
}
