package config_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/config"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
)

const connection = "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true"

const noConnection = "MFAFLOW_SERVICEBUS_CONNECTION_STRING is not a connection string such as Endpoint=sb://host;SharedAccessKeyName=name;SharedAccessKey=key"

// set makes the environment hold these variables of ours and no others.
func set(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "MFAFLOW_") {
			t.Setenv(name, "") // so that the test framework restores it
			os.Unsetenv(name)
		}
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

func with(base map[string]string, more ...string) map[string]string {
	vars := map[string]string{}
	for k, v := range base {
		vars[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == "-" {
			delete(vars, more[i])
		} else {
			vars[more[i]] = more[i+1]
		}
	}
	return vars
}

var (
	hrEvents = map[string]string{
		"MFAFLOW_SERVICEBUS_CONNECTION_STRING": connection,
		"MFAFLOW_SOURCES":                      `[{"name": "workday"}]`,
	}
	router = map[string]string{
		"MFAFLOW_SERVICEBUS_NAMESPACE": "contoso.servicebus.windows.net",
		"MFAFLOW_TENANT_ID":            "contoso.com",
		"MFAFLOW_CLIENT_ID":            "00000000-0000-0000-0000-000000000001",
		"MFAFLOW_CLIENT_SECRET":        "app-secret",
	}
	worker = with(router,
		"MFAFLOW_SOURCE_SCOPES", `{"workday": ["employee.*"]}`,
		"MFAFLOW_DEFAULT_TIME_ZONE", "Europe/Berlin",
		"MFAFLOW_MAIL_SENDER", "mfaflow@contoso.com")
)

func TestHREventsDefaults(t *testing.T) {
	set(t, hrEvents)
	var c config.HREvents
	if err := config.Load(&c); err != nil {
		t.Fatal(err)
	}
	if c.ServicebusConnectionString.Reveal() != connection || string(c.Sources.Bytes()) != hrEvents["MFAFLOW_SOURCES"] ||
		c.InboundQueue != "inbound" || c.QuarantineQueue != "quarantine" || c.Listen != "127.0.0.1:8080" ||
		c.SendTimeout != 1500*time.Millisecond || c.LogLevel != slog.LevelInfo {
		t.Errorf("got %+v", c)
	}
}

func TestIdentityWorker(t *testing.T) {
	set(t, with(worker,
		"MFAFLOW_LOG_LEVEL", "debug",
		"MFAFLOW_SESSIONS", "32",
		"MFAFLOW_PASS_OPENS_AT", "06:05",
		"MFAFLOW_DELIVERY", "handover, manager",
		"MFAFLOW_HANDOVER_URL", "https://handover.contoso.com/passes",
		"MFAFLOW_HANDOVER_KEY", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"MFAFLOW_PROTECTED_ACCOUNTS", "0AC1B4C7-0000-4000-8000-000000000001, 0ac1b4c7-0000-4000-8000-000000000002",
		"MFAFLOW_AUTHORITY_URL", "https://127.0.0.1:4443/"))
	var c config.IdentityWorker
	if err := config.Load(&c); err != nil {
		t.Fatal(err)
	}
	if c.LogLevel != slog.LevelDebug || c.Sessions != 32 || c.PassOpensAt != (config.TimeOfDay{Hour: 6, Minute: 5}) ||
		c.DefaultTimeZone.String() != "Europe/Berlin" || !c.ProtectRoleHolders || c.PassOneTime || !c.PrivateAuthority() {
		t.Errorf("got %+v", c)
	}
	if d := cmp.Diff([]config.Channel{config.Handover, config.Manager}, c.Delivery); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(config.ObjectIDs{"0ac1b4c7-0000-4000-8000-000000000001", "0ac1b4c7-0000-4000-8000-000000000002"}, c.ProtectedAccounts); d != "" {
		t.Error(d)
	}
	if !c.SourceScopes["workday"].Allows(event.Joiner) || c.SourceScopes["workday"].Allows(event.Reregister) {
		t.Errorf("scopes are %v", c.SourceScopes)
	}
}

func TestSourcesFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sources.json")
	if err := os.WriteFile(path, []byte(`[]`), 0o600); err != nil {
		t.Fatal(err)
	}
	set(t, with(hrEvents, "MFAFLOW_SOURCES", "@"+path, "MFAFLOW_SOURCE_KEYS", `{"workday": ["one", "two"]}`))
	var c config.HREvents
	if err := config.Load(&c); err != nil {
		t.Fatal(err)
	}
	if string(c.Sources.Bytes()) != "[]" || len(c.SourceKeys["workday"]) != 2 || c.SourceKeys["workday"][1].Reveal() != "two" {
		t.Errorf("got %q and %d keys", c.Sources.Bytes(), len(c.SourceKeys["workday"]))
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		function string
		vars     map[string]string
		want     []string
	}{
		"nothing set": {"identity-worker", nil, []string{
			"MFAFLOW_SOURCE_SCOPES is required", "MFAFLOW_DEFAULT_TIME_ZONE is required",
			"MFAFLOW_SERVICEBUS_NAMESPACE is required, or MFAFLOW_SERVICEBUS_CONNECTION_STRING in development",
			"MFAFLOW_TENANT_ID is required", "MFAFLOW_CLIENT_ID is required",
			"MFAFLOW_CLIENT_SECRET is required, or MFAFLOW_CLIENT_CERTIFICATE",
			"MFAFLOW_MAIL_SENDER is required to send mail",
		}},
		"what did not parse is not judged again": {"identity-worker", with(worker,
			"MFAFLOW_SESSIONS", "hunter2", "MFAFLOW_DELIVERY", "hunter2", "MFAFLOW_MAIL_SENDER", "-", "MFAFLOW_MAX_STARTS", "0"), []string{
			"MFAFLOW_SESSIONS is not a whole number",
			"MFAFLOW_DELIVERY names a channel that is none of manager, personal-mail and handover",
			"MFAFLOW_MAX_STARTS is not between 1 and 1000",
		}},
		"connection string is garbage": {"hr-events", with(hrEvents, "MFAFLOW_SERVICEBUS_CONNECTION_STRING", "hunter2"), []string{noConnection}},
		"connection string without a key": {"hr-events", with(hrEvents,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "Endpoint=sb://hunter2;SharedAccessKeyName=k"), []string{noConnection}},
		"connection string without a key name": {"hr-events", with(hrEvents,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "Endpoint=sb://hunter2;SharedAccessKey=k"), []string{noConnection}},
		"connection string of another scheme": {"hr-events", with(hrEvents,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "Endpoint=https://hunter2;SharedAccessKeyName=k;SharedAccessKey=k"), []string{noConnection}},
		"connection string without a host": {"hr-events", with(hrEvents,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "Endpoint=sb://;SharedAccessKeyName=hunter2;SharedAccessKey=k"), []string{noConnection}},
		"connection string and a misread emulator switch": {"hr-events", with(hrEvents,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "Endpoint=sb://h;SharedAccessKeyName=k;SharedAccessKey=k;UseDevelopmentEmulator=hunter2"), []string{noConnection}},
		"app registration": {"identity-router", with(router, "MFAFLOW_TENANT_ID", "hunter2/", "MFAFLOW_CLIENT_SECRET", "-", "MFAFLOW_CLIENT_CERTIFICATE", "hunter2"), []string{
			"MFAFLOW_TENANT_ID is neither an id nor a domain",
			"MFAFLOW_CLIENT_CERTIFICATE is not PEM with a certificate and an unencrypted private key",
		}},
		"Graph with a version": {"identity-router", with(router, "MFAFLOW_GRAPH_URL", "https://graph.microsoft.com/v1.0"), []string{
			"MFAFLOW_GRAPH_URL has a path: the version belongs to the requests",
		}},
		"notifications without a tenant id": {"graph-notifications", with(hrEvents, "MFAFLOW_TENANT_ID", "contoso.com", "MFAFLOW_CLIENT_STATE_KEYS", "k1:hunter2"), []string{
			"MFAFLOW_TENANT_ID must be the tenant's id here, not a domain",
			"MFAFLOW_CLIENT_STATE_KEYS needs keys of different ids (a to z, 0 to 9, -), each base64 of at least 32 bytes",
		}},
		"a sweep": {"tenant-sweep", with(router, "MFAFLOW_DEFAULT_TIME_ZONE", "Europe/Berlin", "MFAFLOW_NOTIFICATION_URL", "https://hunter2/graph", "MFAFLOW_SUBSCRIPTION_LIFETIME", "696h",
			"MFAFLOW_POLL", "sign-ins,sign-ins", "MFAFLOW_EMPLOYMENT_AHEAD", "1h", "MFAFLOW_SWEEP_INTERVAL", "0"), []string{
			"MFAFLOW_TENANT_ID must be the tenant's id here, not a domain",
			"MFAFLOW_CLIENT_STATE_KEYS needs keys of different ids (a to z, 0 to 9, -), each base64 of at least 32 bytes",
			"MFAFLOW_NOTIFICATION_URL is not an https origin such as https://hooks.contoso.com",
			"MFAFLOW_SUBSCRIPTION_LIFETIME is not between 2h and 695h",
			"MFAFLOW_EMPLOYMENT_AHEAD is not between 24h and 2160h",
			"MFAFLOW_SWEEP_INTERVAL is not between 1s and 24h",
			"MFAFLOW_POLL names something twice",
		}},
		"something that cannot be polled": {"tenant-sweep", with(router, "MFAFLOW_DEFAULT_TIME_ZONE", "Europe/Berlin", "MFAFLOW_POLL", "hunter2"), []string{
			"MFAFLOW_POLL names something that is none of risky-users, detections, sign-ins and employment",
		}},
		"client state keys without ids": {"graph-notifications", with(hrEvents, "MFAFLOW_TENANT_ID", "84bd8158-6d4d-4958-8b9f-9d6445542f95", "MFAFLOW_CLIENT_STATE_KEYS", "hunter2"), []string{
			"MFAFLOW_CLIENT_STATE_KEYS is not a list such as 2026-11:base64,2026-05:base64",
		}},
		"no port": {"hr-events", with(hrEvents, "MFAFLOW_LISTEN", "127.0.0.1:hunter2"), []string{
			"MFAFLOW_LISTEN is not an address such as 127.0.0.1:8080",
		}},
		"all missing values at once": {"identity-router", nil, []string{
			"MFAFLOW_SERVICEBUS_NAMESPACE is required, or MFAFLOW_SERVICEBUS_CONNECTION_STRING in development",
			"MFAFLOW_TENANT_ID is required", "MFAFLOW_CLIENT_ID is required",
			"MFAFLOW_CLIENT_SECRET is required, or MFAFLOW_CLIENT_CERTIFICATE",
		}},
		"all bad values at once": {"identity-worker", with(worker,
			"MFAFLOW_LEAD_TIME", "hunter2", "MFAFLOW_SESSIONS", "hunter2", "MFAFLOW_LOG_LEVEL", "hunter2", "MFAFLOW_PASS_ONE_TIME", "hunter2",
			"MFAFLOW_PASS_OPENS_AT", "hunter2", "MFAFLOW_DEFAULT_TIME_ZONE", "hunter2", "MFAFLOW_DELIVERY", "manager,hunter2",
			"MFAFLOW_PROTECTED_ACCOUNTS", "hunter2", "MFAFLOW_SOURCE_SCOPES", "hunter2"), []string{
			"MFAFLOW_LOG_LEVEL is not DEBUG, INFO, WARN or ERROR",
			"MFAFLOW_SESSIONS is not a whole number",
			`MFAFLOW_SOURCE_SCOPES is not a JSON object such as {"workday": ["employee.*"]}`,
			"MFAFLOW_LEAD_TIME is not a duration such as 90s or 15m",
			"MFAFLOW_PASS_OPENS_AT is not a time of day such as 07:30",
			"MFAFLOW_DEFAULT_TIME_ZONE is not an IANA time zone such as Europe/Berlin",
			"MFAFLOW_PASS_ONE_TIME is not true or false",
			"MFAFLOW_PROTECTED_ACCOUNTS lists something that is no object id",
			"MFAFLOW_DELIVERY names a channel that is none of manager, personal-mail and handover",
		}},
		"out of range": {"identity-worker", with(worker,
			"MFAFLOW_SESSIONS", "0", "MFAFLOW_LOCK_DURATION", "6m", "MFAFLOW_MAX_STARTS", "0", "MFAFLOW_IDLE_EXIT", "0s",
			"MFAFLOW_DEADLINE_RESERVE", "0s", "MFAFLOW_LEAD_TIME", "-1h", "MFAFLOW_PASS_LIFETIME", "9m30s"), []string{
			"MFAFLOW_SESSIONS is not between 1 and 256",
			"MFAFLOW_MAX_STARTS is not between 1 and 1000",
			"MFAFLOW_LOCK_DURATION is not between 5s and 5m",
			"MFAFLOW_DEADLINE_RESERVE is not between 1s and 15m",
			"MFAFLOW_IDLE_EXIT is not between 1ms and 15m",
			"MFAFLOW_LEAD_TIME is not between 0s and 8760h",
			"MFAFLOW_PASS_LIFETIME is not between 10m and 720h",
			"MFAFLOW_PASS_LIFETIME is not a whole number of minutes",
		}},
		"two ways to the broker": {"identity-router", with(router, "MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection), []string{
			"MFAFLOW_SERVICEBUS_NAMESPACE excludes MFAFLOW_SERVICEBUS_CONNECTION_STRING",
		}},
		"two proofs": {"identity-router", with(router, "MFAFLOW_CLIENT_CERTIFICATE", "pem"), []string{
			"MFAFLOW_CLIENT_CERTIFICATE excludes MFAFLOW_CLIENT_SECRET",
		}},
		"namespace is a URL": {"identity-router", with(router, "MFAFLOW_SERVICEBUS_NAMESPACE", "sb://contoso.servicebus.windows.net/"), []string{
			"MFAFLOW_SERVICEBUS_NAMESPACE is not a host name such as contoso.servicebus.windows.net",
		}},
		"namespace without app registration": {"hr-events", with(hrEvents,
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "-", "MFAFLOW_SERVICEBUS_NAMESPACE", "contoso.servicebus.windows.net"), []string{
			"MFAFLOW_TENANT_ID is required", "MFAFLOW_CLIENT_ID is required",
			"MFAFLOW_CLIENT_SECRET is required, or MFAFLOW_CLIENT_CERTIFICATE",
		}},
		"plain http": {"identity-router", with(router, "MFAFLOW_GRAPH_URL", "http://graph.microsoft.com", "MFAFLOW_AUTHORITY_URL", "login"), []string{
			"MFAFLOW_AUTHORITY_URL is not an https URL without user, query and fragment",
			"MFAFLOW_GRAPH_URL is not an https URL without user, query and fragment",
		}},
		"queues": {"identity-router", with(router, "MFAFLOW_INBOUND_QUEUE", "", "MFAFLOW_LANES_QUEUE", "a b", "MFAFLOW_FLAGS_QUEUE", "Quarantine"), []string{
			"MFAFLOW_INBOUND_QUEUE is not a queue name of letters, digits, period, hyphen, underscore and slash",
			"MFAFLOW_LANES_QUEUE is not a queue name of letters, digits, period, hyphen, underscore and slash",
			"MFAFLOW_QUARANTINE_QUEUE names a queue that has another purpose",
		}},
		"breaker": {"identity-worker", with(worker, "MFAFLOW_CONTROL_QUEUE", "LANES", "MFAFLOW_BREAKER_WINDOW", "59s", "MFAFLOW_BREAKER_COUNT", "1501",
			"MFAFLOW_BREAKER_PERCENT", "101", "MFAFLOW_BREAKER_IMMEDIATE_COUNT", "1501", "MFAFLOW_BREAKER_IMMEDIATE_PERCENT", "101"), []string{
			"MFAFLOW_CONTROL_QUEUE names a queue that has another purpose",
			"MFAFLOW_BREAKER_WINDOW is not between 1m and 168h",
			"MFAFLOW_BREAKER_COUNT is not between 1 and 1500",
			"MFAFLOW_BREAKER_PERCENT is not between 0 and 100",
			"MFAFLOW_BREAKER_IMMEDIATE_COUNT is not between 1500 and 1500",
			"MFAFLOW_BREAKER_IMMEDIATE_PERCENT is not between 100 and 100",
		}},
		"immediate leavers are let through sooner": {"identity-worker", with(worker,
			"MFAFLOW_BREAKER_IMMEDIATE_COUNT", "24", "MFAFLOW_BREAKER_IMMEDIATE_PERCENT", "4"), []string{
			"MFAFLOW_BREAKER_IMMEDIATE_COUNT is not between 25 and 1500",
			"MFAFLOW_BREAKER_IMMEDIATE_PERCENT is not between 5 and 100",
		}},
		"mail without a sender": {"identity-worker", with(worker, "MFAFLOW_MAIL_SENDER", "-"), []string{
			"MFAFLOW_MAIL_SENDER is required to send mail",
		}},
		"handover without a key": {"identity-worker", with(worker, "MFAFLOW_DELIVERY", "handover", "MFAFLOW_HANDOVER_KEY", "whsec_c2hvcnQ="), []string{
			"MFAFLOW_HANDOVER_URL is not an https URL without user, query and fragment",
			"MFAFLOW_HANDOVER_KEY is not whsec_ and base64 of 24 to 64 bytes",
		}},
		"channels": {"identity-worker", with(worker, "MFAFLOW_DELIVERY", "manager,manager"), []string{
			"MFAFLOW_DELIVERY names manager twice",
		}},
		"no channel": {"identity-worker", with(worker, "MFAFLOW_DELIVERY", ""), []string{
			"MFAFLOW_DELIVERY names no channel",
		}},
		"scope of no type": {"identity-worker", with(worker, "MFAFLOW_SOURCE_SCOPES", `{"workday": ["employee.hunter2"]}`), []string{
			"MFAFLOW_SOURCE_SCOPES has an entry that matches no event type",
		}},
		"no sources": {"hr-events", with(hrEvents, "MFAFLOW_SOURCES", "-"), []string{
			"MFAFLOW_SOURCES is required",
		}},
		"sources are no JSON": {"hr-events", with(hrEvents, "MFAFLOW_SOURCES", "hunter2", "MFAFLOW_SOURCE_KEYS", `{"a": "hunter2"}`), []string{
			"MFAFLOW_SOURCES is not a JSON document and not @ with the path of one",
			`MFAFLOW_SOURCE_KEYS is not a JSON object such as {"workday": ["whsec_..."]}`,
		}},
		"sources are nowhere": {"hr-events", with(hrEvents, "MFAFLOW_SOURCES", "@/nowhere/hunter2"), []string{
			"MFAFLOW_SOURCES names a file that cannot be read",
		}},
		"address": {"hr-events", with(hrEvents, "MFAFLOW_LISTEN", "hunter2", "MFAFLOW_SEND_TIMEOUT", "0s"), []string{
			"MFAFLOW_LISTEN is not an address such as 127.0.0.1:8080",
			"MFAFLOW_SEND_TIMEOUT is not between 1ms and 1m",
		}},
		"misspelled": {"hr-events", with(hrEvents, "MFAFLOW_LOGLEVEL", "hunter2", "MFAFLOW_BANANA", "hunter2"), []string{
			"MFAFLOW_BANANA is no setting",
			"MFAFLOW_LOGLEVEL is no setting; did you mean MFAFLOW_LOG_LEVEL?",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			set(t, c.vars)
			s, err := config.New(c.function)
			if err != nil {
				t.Fatal(err)
			}
			err = config.Load(s)
			if err == nil {
				t.Fatal("accepted")
			}
			if d := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}

// What another function reads is no misspelling: all functions of a stage may
// share one environment.
func TestVariablesOfOtherFunctionsAreFine(t *testing.T) {
	set(t, with(worker, "MFAFLOW_SOURCES", "[]", "MFAFLOW_PROVISION_RETRY", "1m"))
	if err := config.Load(&config.IdentityWorker{}); err != nil {
		t.Error(err)
	}
}

func TestUnknownFunction(t *testing.T) {
	if _, err := config.New("hr-event"); !errors.Is(err, config.ErrUnknownFunction) {
		t.Errorf("got %v", err)
	}
}

// Settings are logged and printed when something is wrong: no secret may show.
func TestSecretsDoNotShow(t *testing.T) {
	const canary = "canary-4711"
	set(t, with(worker,
		"MFAFLOW_SERVICEBUS_NAMESPACE", "-", "MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection+";EntityPath="+canary, "MFAFLOW_CLIENT_SECRET", canary,
		"MFAFLOW_TENANT_ID", "84bd8158-6d4d-4958-8b9f-9d6445542f95",
		"MFAFLOW_CLIENT_STATE_KEYS", "k1:"+base64.StdEncoding.EncodeToString([]byte(canary+strings.Repeat("x", 32))),
		"MFAFLOW_SOURCES", `["`+canary+`"]`, "MFAFLOW_SOURCE_KEYS", `{"a": ["`+canary+`"]}`,
		"MFAFLOW_TEAMS_WEBHOOK_URL", "https://prod.logic.azure.com/?sig="+canary, "MFAFLOW_SLACK_WEBHOOK_URL", "https://hooks.slack.com/"+canary,
		"MFAFLOW_FLAG_WEBHOOK_URL", "https://flags.contoso.com/"+canary, "MFAFLOW_OPERATOR_TOKEN_FILE", "/run/operator-token", "MFAFLOW_REPORTS_URL", "file:///var/lib/mfaflow/reports",
		"MFAFLOW_FLAG_WEBHOOK_KEY", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
	for _, name := range config.Functions() {
		s, err := config.New(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := config.Load(s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var out strings.Builder
		slog.New(slog.NewJSONHandler(&out, nil)).Info("settings", "s", s)
		slog.New(slog.NewTextHandler(&out, nil)).Info("settings", "s", s)
		fmt.Fprintf(&out, "%v %+v %#v %s", s, s, s, s)
		if text, err := json.Marshal(s); err != nil {
			t.Error(err)
		} else {
			out.Write(text)
		}
		if strings.Contains(out.String(), canary) || strings.Contains(out.String(), base64.StdEncoding.EncodeToString([]byte(canary))[:12]) {
			t.Errorf("%s shows a secret: %s", name, out.String())
		}
	}
}

// Whatever bytes a variable holds, an error does not repeat them.
func FuzzErrorsDoNotRepeatValues(f *testing.F) {
	for _, v := range []string{"canary-4711", `{"a": ["canary-4711"]}`, "@canary-4711", "manager,canary-4711", `{"a":`, ""} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if len(v) < 8 || strings.Contains(v, "\x00") {
			t.Skip("the system takes no such variable, or it is too short to tell")
		}
		const spoken = "MFAFLOW_ is not a JSON object such as a time of day IANA zone required document names lists has an entry that matches no event type"
		if strings.Contains(spoken, v) {
			t.Skip("our own words")
		}
		decoders := map[string]interface{ UnmarshalText([]byte) error }{
			"Secret": &config.Secret{}, "Document": &config.Document{}, "SourceKeys": &config.SourceKeys{},
			"SourceScopes": &config.SourceScopes{}, "TimeOfDay": &config.TimeOfDay{}, "TimeZone": &config.TimeZone{},
			"Channel": new(config.Channel), "ObjectIDs": &config.ObjectIDs{}, "ClientStateKeys": &config.ClientStateKeys{}, "Poll": new(config.Poll),
		}
		for name, d := range decoders {
			if err := d.UnmarshalText([]byte(v)); err != nil && strings.Contains(err.Error(), v) {
				t.Errorf("%s repeats %q: %v", name, v, err)
			}
		}
		if ids := decoders["ObjectIDs"].(*config.ObjectIDs); len(*ids) > 0 {
			for _, id := range *ids {
				if len(id) != 36 || identity.UserID(strings.ToLower(string(id))) != id {
					t.Errorf("accepted %q", id)
				}
			}
		}
	})
}

func TestCertificate(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, secret := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"both":             {string(cert) + string(secret), true},
		"key first":        {string(secret) + string(cert), true},
		"no key":           {string(cert), false},
		"no certificate":   {string(secret), false},
		"two keys":         {string(cert) + string(secret) + string(secret), false},
		"damaged":          {string(cert) + string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: key})), false},
		"newlines escaped": {strings.ReplaceAll(string(cert)+string(secret), "\n", `\n`), false},
	} {
		set(t, with(router, "MFAFLOW_CLIENT_SECRET", "-", "MFAFLOW_CLIENT_CERTIFICATE", c.text))
		if err := config.Load(&config.IdentityRouter{}); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the settings take for a connection string the SDK takes as well.
func FuzzConnectionString(f *testing.F) {
	for _, v := range []string{
		connection, "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=a=b;EntityPath=q",
		"endpoint=sb://h;sharedaccesssignature=SharedAccessSignature sr=h&sig=x&se=1&skn=k", "garbage", "Endpoint=sb://h", ";;=", "Endpoint=sb://%zz;a=b",
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if v == "" || strings.Contains(v, "\x00") {
			t.Skip("the system takes no such variable, or it is not set")
		}
		t.Setenv("MFAFLOW_SERVICEBUS_CONNECTION_STRING", v)
		t.Setenv("MFAFLOW_SOURCES", "[]")
		refused := config.Load(&config.HREvents{})
		if _, err := azservicebus.NewClientFromConnectionString(v, nil); err != nil && refused == nil {
			t.Errorf("accepted, and yet %v", err)
		}
	})
}
