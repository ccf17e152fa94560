package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/config"
	"mfaflow/pkg/doctor"
	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

// patient is a stack of the built functions, and how the doctor finds it.
type patient struct {
	*testing.T
	*stack.Stack
	env  []string
	args []string
	// bell rings when a function or the tenant says something.
	bell chan struct{}
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{T: t, bell: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var err error
	// What tenant-sweep would put right stays wrong for a day.
	p.Stack, err = stack.Start(ctx, stack.Options{Bin: built(t), Environment: os.Environ(), Settings: []string{"MFAFLOW_SWEEP_INTERVAL=24h"}, Each: func(string, []byte) {
		select {
		case p.bell <- struct{}{}:
		default:
		}
	}})
	p.must(err)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	p.env = []string{"XDG_RUNTIME_DIR=" + dir}
	p.must(operateapi.Announce(filepath.Join(dir, "mfaflow", "operations.json"), operateapi.Local{
		URL: p.OperationsURL(), TokenFile: p.TokenFile(), Settings: p.Dir, Origins: p.Origins(), Management: p.Bus.AdminURL(),
	}))
	// Of some people of the sample tenant a strength is required that no pass satisfies, which
	// is worth a warning: see "strength for some".
	p.Graph.Mutate(func(t *simgraph.Tenant) {
		for _, x := range t.Policies.ConditionalAccess {
			if x["displayName"] == "Phishing-resistant MFA for payments" {
				x["state"] = "disabled"
			}
		}
	})
	p.until("users are subscribed to", func() bool { return len(p.Graph.Subscriptions()) > 0 })
	return p
}

func (p *patient) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// until looks again whenever a function or the tenant says something, and now and then: the
// broker says nothing when it settles.
func (p *patient) until(what string, yet func() bool) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 30*time.Second)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !yet() {
		select {
		case <-p.bell:
		case <-look.C:
		case <-ctx.Done():
			p.Fatalf("not within 30 s: %s", what)
		}
	}
}

// set changes what the doctor reads of a function's settings.
func (p *patient) set(function, name, value string) {
	p.Helper()
	file := filepath.Join(p.Dir, function+".env")
	text, err := os.ReadFile(file)
	p.must(err)
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, name+"=") {
			out.WriteString(line)
		}
	}
	if value != "" {
		fmt.Fprintf(&out, "%s=%s\n", name, value)
	}
	p.must(os.WriteFile(file, []byte(out.String()), 0o600))
}

func (p *patient) setting(function, name string) (value string) {
	p.Helper()
	text, err := os.ReadFile(filepath.Join(p.Dir, function+".env"))
	p.must(err)
	for line := range strings.Lines(string(text)) {
		if n, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); n == name {
			value = v
		}
	}
	return value
}

// queue makes or changes a queue as an administrator does; a description that is empty
// deletes it.
func (p *patient) queue(name, description string, change bool) {
	p.Helper()
	method, body := http.MethodPut, `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml"><QueueDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">`+
		description+`</QueueDescription></content></entry>`
	if description == "" {
		method = http.MethodDelete
	}
	r, err := http.NewRequestWithContext(p.Context(), method, p.Bus.AdminURL()+"/"+name+"?api-version=2021-05", strings.NewReader(body))
	p.must(err)
	if change {
		r.Header.Set("If-Match", "*")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	p.must(err)
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode >= 300 {
		p.Fatalf("%s: %s", response.Status, text)
	}
}

// like is the description of a queue as deployed, with something else in it.
func like(sessions bool, instead ...string) string {
	values := map[string]string{
		"LockDuration": "PT1M", "RequiresDuplicateDetection": "true", "RequiresSession": fmt.Sprint(sessions), "DuplicateDetectionHistoryTimeWindow": "P7D",
		"MaxDeliveryCount": "50", "DeadLetteringOnMessageExpiration": "true",
	}
	for i := 0; i < len(instead); i += 2 {
		values[instead[i]] = instead[i+1]
	}
	var b strings.Builder
	for _, name := range []string{
		"LockDuration", "RequiresDuplicateDetection", "RequiresSession", "DefaultMessageTimeToLive", "DeadLetteringOnMessageExpiration",
		"DuplicateDetectionHistoryTimeWindow", "MaxDeliveryCount", "Status",
	} {
		if values[name] != "" {
			fmt.Fprintf(&b, "<%s>%s</%s>", name, values[name], name)
		}
	}
	return b.String()
}

func (p *patient) app(name string, change func(*simgraph.App)) {
	p.Graph.Mutate(func(t *simgraph.Tenant) {
		change(t.Apps[slices.IndexFunc(t.Apps, func(a *simgraph.App) bool { return a.Name == name })])
	})
}

// without takes a permission from an app.
func (p *patient) without(name, permission string) {
	p.app(name, func(a *simgraph.App) {
		a.Permissions = slices.DeleteFunc(slices.Clone(a.Permissions), func(x string) bool { return x == permission })
	})
}

func (p *patient) policy(change func(*simgraph.PassPolicy)) {
	p.Graph.Mutate(func(t *simgraph.Tenant) { change(&t.Policies.TemporaryAccessPass) })
}

// enforce makes the policy with a strength that no pass satisfies count.
func (p *patient) enforce(users string) {
	p.Graph.Mutate(func(t *simgraph.Tenant) {
		for _, d := range t.Policies.ConditionalAccess {
			if d["state"] != "enabledForReportingButNotEnforced" {
				continue
			}
			d["state"] = "enabled"
			conditions, _ := d["conditions"].(map[string]any)
			who, _ := conditions["users"].(map[string]any)
			if users != "" {
				who["includeUsers"] = []any{users}
			}
		}
	})
}

// examine runs the doctor and returns what is neither ok nor skipped, by check, and all.
func (p *patient) examine() (found map[string]doctor.Status, all []doctor.Result) {
	p.Helper()
	got := run(p.T, "", p.env, append([]string{"doctor", "--json"}, p.args...)...)
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
		p.Fatalf("%v: %s\n%s", err, got.stdout, got.stderr)
	}
	found = map[string]doctor.Status{}
	failed := false
	for _, r := range all {
		if r.Status == doctor.Warn || r.Status == doctor.Fail {
			found[r.Check] = r.Status
			if r.Fix == "" || r.Detail == "" {
				p.Errorf("%s has no fix or detail: %+v", r.Check, r)
			}
		}
		failed = failed || r.Status == doctor.Fail
	}
	if (got.code == 1) != failed || got.code > 1 {
		p.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	for _, secret := range p.secrets() {
		if strings.Contains(got.stdout+got.stderr, secret) {
			p.Errorf("a secret shows: %s", got.stdout)
		}
	}
	return found, all
}

func (p *patient) secrets() []string {
	list := []string{"SharedAccessKey="}
	for _, name := range config.Functions() {
		list = append(list, p.setting(name, "MFAFLOW_CLIENT_SECRET"), p.setting(name, "MFAFLOW_CLIENT_STATE_KEYS"))
	}
	for _, file := range []string{p.TokenFile(), p.KeyFile(stack.Source)} {
		text, err := os.ReadFile(file)
		p.must(err)
		list = append(list, strings.TrimSpace(string(text)))
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// A stack that is as it should be has nothing to complain of, and is the same afterwards.
func TestDoctorFindsNothingWrongAndChangesNothing(t *testing.T) {
	p := newPatient(t)
	p.Graph.ClearRequests()
	stored := func() (all [][]string) {
		for _, name := range []string{"inbound", "lanes", "flags", "quarantine", "control"} {
			var list []string
			for _, m := range p.Bus.Stored(name) {
				list = append(list, fmt.Sprint(m.Sequence, m.State, m.Dead))
			}
			all = append(all, list)
		}
		return all
	}
	before, tenant := stored(), p.Graph.Users()
	found, all := p.examine()
	if len(found) > 0 {
		t.Errorf("found %v in %+v", found, all)
	}
	ok := 0
	for i, r := range all {
		if c := doctor.Checks()[i]; r.Check != c.ID || r.Title != c.Title {
			t.Errorf("result %d is %s", i, r.Check)
		}
		if r.Status == doctor.OK {
			ok++
		} else if r.Check != "channels" && r.Check != "audit" && r.Check != "signals" {
			t.Errorf("%s is %s: %s", r.Check, r.Status, r.Detail)
		}
	}
	if ok != len(doctor.Checks())-3 {
		t.Errorf("%d checks are ok", ok)
	}
	if d := cmp.Diff(before, stored()); d != "" {
		t.Errorf("messages (-before +after):\n%s", d)
	}
	if d := cmp.Diff(len(tenant), len(p.Graph.Users())); d != "" {
		t.Error(d)
	}
	for _, call := range p.Graph.Requests() {
		if call.Method != http.MethodGet {
			t.Errorf("%s %s by %s", call.Method, call.Path, call.App)
		}
	}

	people := run(t, "", p.env, "doctor")
	if people.code != 0 || people.stderr != "" || strings.Count(people.stdout, "\n") != len(all)+2 || !strings.Contains(people.stdout, "33 checks: 30 ok, 0 warn, 0 fail, 3 skipped\n") {
		t.Errorf("%d %s\n%s", people.code, people.stderr, people.stdout)
	}
}

// Each fault is found by the check that is about it, and by no other.
func TestDoctorFindsPlantedFaults(t *testing.T) {
	const fail, warn = doctor.Fail, doctor.Warn
	for name, c := range map[string]struct {
		plant  func(*patient)
		check  string
		status doctor.Status
		says   string
	}{
		"setting that is missing":          {func(p *patient) { p.set("hr-events", "MFAFLOW_SOURCES", "") }, "settings", fail, "hr-events: MFAFLOW_SOURCES is required"},
		"setting that is misspelled":       {func(p *patient) { p.set("tenant-sweep", "MFAFLOW_LOG_LEVELS", "DEBUG") }, "settings", fail, "did you mean MFAFLOW_LOG_LEVEL?"},
		"plans of two minds":               {func(p *patient) { p.set("event-replay", "MFAFLOW_PASS_LIFETIME", "4h") }, "agreement", fail, "event-replay"},
		"another time zone":                {func(p *patient) { p.set("tenant-sweep", "MFAFLOW_DEFAULT_TIME_ZONE", "America/New_York") }, "time-zones", fail, "America/New_York (tenant-sweep)"},
		"source that the worker ignores":   {dropSource, "source-scopes", fail, "hr-events lets demo-hr in, which identity-worker does not know"},
		"type that the worker refuses":     {narrowSource, "source-scopes", fail, "employee.leaver"},
		"key of subscriptions unknown":     {otherKey, "client-state", fail, "the key local"},
		"wrong secret":                     {func(p *patient) { p.app("identity-router", func(a *simgraph.App) { a.ClientSecret = "another" }) }, "credentials", fail, "identity-router: token for app 30000000-0000-4000-8000-000000000002: token service answers 401 invalid_client AADSTS7000215 (the client secret"},
		"app that is gone":                 {func(p *patient) { p.app("flag-notifier", func(a *simgraph.App) { a.ClientID += "f" }) }, "credentials", fail, "MFAFLOW_CLIENT_ID"},
		"permission missing":               {func(p *patient) { p.without("identity-worker", "User.RevokeSessions.All") }, "permissions", fail, "identity-worker lacks User.RevokeSessions.All"},
		"permission to read policies gone": {func(p *patient) { p.without("identity-worker", "Policy.Read.All") }, "permissions", fail, "Policy.Read.All"},
		"permission of an app that needs none": {func(p *patient) {
			p.app("hr-events", func(a *simgraph.App) { a.Permissions = []string{"User.Read.All"} })
		}, "excess-permissions", fail, "hr-events, which needs none, has User.Read.All"},
		"permission beyond need": {func(p *patient) {
			p.app("identity-router", func(a *simgraph.App) { a.Permissions = append(a.Permissions, "User.ReadWrite.All") })
		}, "excess-permissions", warn, "identity-router has User.ReadWrite.All"},
		"missing queue":          {func(p *patient) { p.elsewhere("MFAFLOW_QUARANTINE_QUEUE", "parked") }, "queues", fail, "parked"},
		"disabled queue":         {func(p *patient) { p.fresh("MFAFLOW_QUARANTINE_QUEUE", "parked", like(false, "Status", "Disabled")) }, "queues", fail, "parked is disabled"},
		"queue without sessions": {func(p *patient) { p.fresh("MFAFLOW_LANES_QUEUE", "flat", like(false)) }, "queue-sessions", fail, "flat has no sessions"},
		"queue with sessions":    {func(p *patient) { p.fresh("MFAFLOW_FLAGS_QUEUE", "deep", like(true)) }, "queue-sessions", fail, "deep has sessions"},
		"repeats not dropped": {func(p *patient) {
			p.fresh("MFAFLOW_LANES_QUEUE", "twice", like(true, "RequiresDuplicateDetection", "false", "DuplicateDetectionHistoryTimeWindow", ""))
		}, "queue-duplicates", fail, "twice drops no repeated messages"},
		"repeats forgotten":        {func(p *patient) { p.queue("inbound", like(true, "DuplicateDetectionHistoryTimeWindow", "PT10M"), true) }, "queue-duplicates", fail, "inbound forgets after 10m"},
		"lock too short":           {func(p *patient) { p.queue("lanes", like(true, "LockDuration", "PT30S"), true) }, "queue-lock", fail, "a lock of lanes lasts 30s, and identity-worker works for 1m"},
		"deliveries too few":       {func(p *patient) { p.queue("inbound", like(true, "MaxDeliveryCount", "3"), true) }, "queue-deliveries", fail, "inbound is delivered 3 times"},
		"end of messages in lanes": {func(p *patient) { p.queue("lanes", like(true, "DefaultMessageTimeToLive", "P14D"), true) }, "queue-expiry", fail, "messages of lanes live 336h"},
		"end of other messages":    {func(p *patient) { p.queue("flags", like(false, "DefaultMessageTimeToLive", "P14D"), true) }, "queue-expiry", warn, "messages of flags live 336h"},
		"what expires is lost":     {func(p *patient) { p.queue("inbound", like(true, "DeadLetteringOnMessageExpiration", "false"), true) }, "queue-expiry", fail, "inbound drops what expires"},
		"subscription gone":        {func(p *patient) { p.Graph.DropSubscription(p.Graph.Subscriptions()[0].ID) }, "subscriptions", fail, "nothing is subscribed to users"},
		"subscription about to end": {func(p *patient) {
			p.set("tenant-sweep", "MFAFLOW_SUBSCRIPTION_LIFETIME", "695h")
			p.shorten(2 * time.Hour)
		}, "subscriptions", warn, "lapses in 119 min"},
		"passes disabled":        {func(p *patient) { p.policy(func(x *simgraph.PassPolicy) { x.State = "disabled" }) }, "pass-policy", fail, "disabled"},
		"passes for nobody":      {func(p *patient) { p.policy(func(x *simgraph.PassPolicy) { x.IncludeTargets = nil }) }, "pass-policy", fail, "nobody"},
		"passes too short":       {func(p *patient) { p.policy(func(x *simgraph.PassPolicy) { x.MaximumLifetime = 60 }) }, "pass-lifetime", warn, "8h is cut to 1h"},
		"passes work once":       {func(p *patient) { p.policy(func(x *simgraph.PassPolicy) { x.UsableOnce = true }) }, "pass-one-time", warn, "once"},
		"strength for everybody": {func(p *patient) { p.enforce("All") }, "access-strengths", fail, `"Phishing-resistant MFA for administrators" asks everybody`},
		"strength for some":      {func(p *patient) { p.enforce("") }, "access-strengths", warn, "asks some"},
		"emergency account disabled": {func(p *patient) {
			p.Graph.Mutate(func(t *simgraph.Tenant) { t.User(breakGlass).AccountEnabled = false })
		}, "break-glass", fail, breakGlass + " is disabled"},
		"emergency account gone": {func(p *patient) { p.must(p.Graph.Delete(breakGlass)) }, "break-glass", fail, breakGlass + " does not exist"},
		"no emergency account": {func(p *patient) {
			p.protect("")
			p.set("readiness-report", "MFAFLOW_BREAK_GLASS_ACCOUNTS", "")
		}, "break-glass", warn, "could block the last way in; MFAFLOW_BREAK_GLASS_ACCOUNTS"},
		"emergency account unprotected": {func(p *patient) {
			p.protect(strings.Replace(p.setting("identity-worker", protected), breakGlass+",", "", 1))
		},
			"break-glass", fail, "identity-worker does not protect " + breakGlass + ", an emergency account to readiness-report"},
		"no emergency account protected": {func(p *patient) { p.protect("") }, "break-glass", fail, "identity-worker does not protect " + breakGlass},
		"emergency accounts not watched": {func(p *patient) { p.set("readiness-report", "MFAFLOW_BREAK_GLASS_ACCOUNTS", "") }, "break-glass", warn, "readiness-report names none"},
		"emergency account made up":      {madeUp, "break-glass", fail, nobody + " does not exist"},
		"webhooks at another function":   {func(p *patient) { p.reach("hr-events", p.Origins()["risk-signals"]) }, "webhooks", fail, "the URL of hr-events answers 404 to "},
		"webhooks at event-replay":       {func(p *patient) { p.reach("risk-signals", p.OperationsURL()) }, "webhooks", fail, "the URL of risk-signals leads elsewhere: it answers 403"},
		"webhooks at another program":    {func(p *patient) { p.reach("risk-signals", p.stranger(http.StatusUnauthorized)) }, "webhooks", fail, "the URL of risk-signals leads elsewhere: it answers 401"},
		"webhooks that take anything":    {func(p *patient) { p.reach("hr-events", p.stranger(http.StatusAccepted)) }, "webhooks", fail, "hr-events answers 202 to "},
		"webhooks that are moved":        {func(p *patient) { p.reach("hr-events", p.stranger(http.StatusFound)) }, "webhooks", fail, "hr-events answers 302"},
		"mailbox missing":                {func(p *patient) { p.sender("nobody@contoso.example") }, "mail", fail, "nobody@contoso.example, which identity-worker, flag-notifier sends from, does not exist"},
		"clock far off":                  {func(p *patient) { p.Advance(11 * time.Minute) }, "clock", fail, "Graph is 11m"},
		"clock off":                      {func(p *patient) { p.Advance(2 * time.Minute) }, "clock", warn, "Graph is 2m"},
		"function down":                  {func(p *patient) { p.Stop("hr-events") }, "webhooks", fail, "hr-events: "},
		"notifications unheard":          {func(p *patient) { p.Stop("graph-notifications") }, "notifications", fail, "/graph/notifications: "},
		"event-replay down":              {func(p *patient) { p.Stop("event-replay") }, "operations", fail, "event-replay cannot be reached"},
		"operator unknown":               {otherToken, "operator", fail, "nobody"},
		"channel without an address":     {func(p *patient) { p.set("flag-notifier", "MFAFLOW_TEAMS_WEBHOOK_URL", "https://teams.invalid/hunter2") }, "channels", fail, "Teams: teams.invalid has no address"},
		"dead letter":                    {deadLetter, "dead-letters", warn, "lanes: 1 forbidden"},
		"breaker tripped":                {trip, "breaker", warn, "it has tripped: 1 of 1 changes"},
		"trail with a hole":              {hole, "audit", fail, "from record 1 to 3"},
		"source that fell silent":        {silence, "signals", warn, "demo-hr: nothing for 8 days"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t)
			c.plant(p)
			found, all := p.examine()
			if d := cmp.Diff(map[string]doctor.Status{c.check: c.status}, found); d != "" {
				t.Errorf("(-want +found):\n%s", d)
			}
			for _, r := range all {
				if r.Check == c.check && !strings.Contains(r.Detail, c.says) {
					t.Errorf("detail %q does not say %q", r.Detail, c.says)
				}
				if (r.Status == doctor.Warn || r.Status == doctor.Fail) && r.Check != c.check {
					t.Errorf("%s: %s", r.Check, r.Detail)
				}
				if strings.Contains(r.Detail, "hunter2") {
					t.Errorf("%s quotes a URL that is a secret", r.Check)
				}
			}
		})
	}
}

const (
	// breakGlass is an emergency account of the sample tenant, and nobody has the other id.
	breakGlass = "10000000-0000-4000-8000-000000000018"
	nobody     = "10000000-0000-4000-8000-00000000dead"

	protected = "MFAFLOW_PROTECTED_ACCOUNTS"
)

// madeUp is an account that both lists name.
func madeUp(p *patient) {
	p.protect(p.setting("identity-worker", protected) + "," + nobody)
	p.set("readiness-report", "MFAFLOW_BREAK_GLASS_ACCOUNTS", nobody)
}

// reach says where a function is.
func (p *patient) reach(function, url string) { p.args = []string{"--reach", function + "=" + url} }

// stranger is a program that answers everything alike.
func (p *patient) stranger(status int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	p.Cleanup(s.Close)
	return s.URL
}

// elsewhere names another queue in the settings of all functions that have one of its kind.
func (p *patient) elsewhere(variable, name string) {
	p.Helper()
	for _, function := range config.Functions() {
		p.set(function, variable, name)
	}
}

// fresh is elsewhere for a queue that is made.
func (p *patient) fresh(variable, name, description string) {
	p.Helper()
	p.queue(name, description, false)
	p.elsewhere(variable, name)
}

func (p *patient) rescope(change func(map[string][]string)) {
	p.Helper()
	for _, function := range []string{"identity-worker", "event-replay"} {
		scopes := map[string][]string{}
		p.must(json.Unmarshal([]byte(p.setting(function, "MFAFLOW_SOURCE_SCOPES")), &scopes))
		change(scopes)
		text, err := json.Marshal(scopes)
		p.must(err)
		p.set(function, "MFAFLOW_SOURCE_SCOPES", string(text))
	}
}

func dropSource(p *patient) { p.rescope(func(s map[string][]string) { delete(s, stack.Source) }) }

func narrowSource(p *patient) {
	p.rescope(func(s map[string][]string) { s[stack.Source] = []string{"employee.joiner"} })
}

func otherKey(p *patient) {
	p.set("graph-notifications", "MFAFLOW_CLIENT_STATE_KEYS", "other:"+strings.Repeat("QUFB", 10)+"QUE=")
}

func otherToken(p *patient) {
	file := filepath.Join(p.TempDir(), "token")
	p.must(os.WriteFile(file, []byte("somebody-elses-token-which-is-long-enough\n"), 0o600))
	p.args = []string{"--url", p.OperationsURL(), "--token-file", file}
}

func (p *patient) protect(accounts string) {
	for _, function := range []string{"identity-worker", "event-replay"} {
		p.set(function, protected, accounts)
	}
}

func (p *patient) sender(mailbox string) {
	for _, function := range []string{"identity-worker", "flag-notifier"} {
		p.set(function, "MFAFLOW_MAIL_SENDER", mailbox)
	}
}

// shorten has the subscription end soon, as its owner can.
func (p *patient) shorten(left time.Duration) {
	p.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	form := strings.NewReader("grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_id=" + p.setting("tenant-sweep", "MFAFLOW_CLIENT_ID") +
		"&client_secret=" + p.setting("tenant-sweep", "MFAFLOW_CLIENT_SECRET"))
	response, err := client.Post(p.Graph.URL()+"/"+p.Graph.TenantID()+"/oauth2/v2.0/token", "application/x-www-form-urlencoded", form)
	p.must(err)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	p.must(json.NewDecoder(response.Body).Decode(&token))
	response.Body.Close()
	r, err := http.NewRequestWithContext(p.Context(), http.MethodPatch, p.Graph.URL()+"/v1.0/subscriptions/"+p.Graph.Subscriptions()[0].ID,
		strings.NewReader(fmt.Sprintf(`{"expirationDateTime": %q}`, time.Now().Add(left).UTC().Format(time.RFC3339))))
	p.must(err)
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	r.Header.Set("Content-Type", "application/json")
	response, err = client.Do(r)
	p.must(err)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		p.Fatal(response.Status)
	}
}

func deadLetter(p *patient) {
	_, err := p.Graph.AddFault(simgraph.Fault{App: "identity-worker", Path: "users/*/authentication/**", Kind: simgraph.FaultStatus, Status: http.StatusForbidden, Count: 3})
	p.must(err)
	tomorrow, err := p.Tomorrow()
	p.must(err)
	body, err := stack.JoinerEvent(stack.ModelJoiner, tomorrow)
	p.must(err)
	p.post(body)
	p.until("it is a dead letter", func() bool { c, _ := p.Bus.Counts("lanes"); return c.DeadLetter == 1 })
}

func (p *patient) post(body []byte) {
	p.Helper()
	answer, err := p.Post(p.Context(), stack.Source, body)
	p.must(err)
	if answer.Status != http.StatusAccepted {
		p.Fatalf("%+v", answer)
	}
}

// trip uses up what the breaker lets through, which is one in a tenant of this size.
func trip(p *patient) {
	yesterday := time.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	p.post([]byte(fmt.Sprintf(`{"specversion": "1.0", "id": "leaver-1", "source": "https://hr.contoso.example", "type": "employee.leaver", "time": %q,
		"data": {"person": {"employeeId": "E1010"}, "lastDay": %q, "timeZone": "Europe/Berlin"}}`, time.Now().Format(time.RFC3339), yesterday)))
	p.until("the person is blocked", func() bool { u, _ := p.Person("E1010"); return !u.AccountEnabled })
}

// hole is a log of which a record was taken out.
func hole(p *patient) {
	file := filepath.Join(p.TempDir(), "worker.log")
	p.must(os.WriteFile(file, []byte(strings.Join(slices.Delete(trailOf(p.T), 3, 4), "")), 0o600))
	p.args = []string{"--log", file}
}

// silence is the log of ten days in which one source of all spoke, and then no more.
func silence(p *patient) {
	file := filepath.Join(p.TempDir(), "events.log")
	var b strings.Builder
	say := func(ago time.Duration, source string) {
		fmt.Fprintf(&b, `{"time":%q,"level":"INFO","msg":"delivery","function":"hr-events","source":%q,"outcome":"accepted"}`+"\n", time.Now().Add(-ago).Format(time.RFC3339Nano), source)
	}
	say(10*24*time.Hour, stack.Source)
	say(8*24*time.Hour+time.Hour, stack.Source)
	p.must(os.WriteFile(file, []byte(b.String()), 0o600))
	p.args = []string{"--log", file}
}
