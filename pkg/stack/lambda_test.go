package stack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/config"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/sim/lambda"
	"mfaflow/pkg/stack"
)

// deploy runs a function as Lambda does, frozen until it is invoked.
func deploy(t *testing.T, s *stack.Stack, name string, more ...string) *lambda.Function {
	t.Helper()
	pairs, err := s.Environment(name)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, pair := range append(pairs, more...) {
		variable, value, _ := strings.Cut(pair, "=")
		env[variable] = value
	}
	deployed := deployable(t, name)
	deployed.Env, deployed.Timeout = env, 30*time.Second
	f, err := lambda.Start(t.Context(), deployed)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Killed as Lambda kills a function that registers no extension. Anything else is an
		// end of its own making.
		if got := f.Ended(); got != "signal: killed" {
			t.Errorf("%s ended with %s", name, got)
		}
	})
	return f
}

// invoke returns the answer of an HTTP function; drains answer nothing.
func invoke(t *testing.T, f *lambda.Function, event []byte) (status int) {
	t.Helper()
	out, err := f.Invoke(t.Context(), event)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, f.Stdout(), f.Stderr())
	}
	var answer struct {
		StatusCode int `json:"statusCode"`
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	return answer.StatusCode
}

// gatewayEvent is what an API Gateway HTTP API (payload 2.0) makes of a signed post.
func gatewayEvent(t *testing.T, s *stack.Stack, id string, body []byte) []byte {
	t.Helper()
	return signedEvent(t, s, "/hr/", stack.Source, id, body)
}

func signedEvent(t *testing.T, s *stack.Stack, path, source, id string, body []byte) []byte {
	t.Helper()
	key, err := os.ReadFile(s.KeyFile(source))
	if err != nil {
		t.Fatal(err)
	}
	wh, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(key)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	signature, err := wh.Sign(id, at, body)
	if err != nil {
		t.Fatal(err)
	}
	event, err := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "POST " + path + "{source}", "rawPath": path + source, "rawQueryString": "",
		"headers": map[string]string{
			"content-type": "application/cloudevents+json", "webhook-id": id, "webhook-timestamp": unix(at), "webhook-signature": signature,
		},
		"requestContext": map[string]any{
			"stage": "$default", "requestId": "r", "domainName": "hr.contoso.example",
			"http": map[string]any{"method": http.MethodPost, "path": path + source, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
		},
		"body": string(body), "isBase64Encoded": false,
	})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// The binaries that are deployed do the main job under the Lambda runtime, cold and
// after they were frozen.
func TestJoinersUnderLambda(t *testing.T) {
	lines := &seen{}
	s, err := stack.Start(t.Context(), stack.Options{
		SimulatorsOnly: true, Each: lines.each, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=300ms"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Graph.Provision(stack.LateJoiner); err != nil {
		t.Fatal(err)
	}
	ingest, router, worker := deploy(t, s, "hr-events"), deploy(t, s, "identity-router"), deploy(t, s, "identity-worker")

	if status := invoke(t, ingest, []byte(strings.Replace(string(gatewayEvent(t, s, "msg_0", statement(t, s, stack.ModelJoiner))),
		"E1004", "E1005", 1))); status != http.StatusUnauthorized {
		t.Errorf("a body that was changed on its way is answered with %d", status)
	}
	for i, employeeID := range []string{stack.ModelJoiner, stack.LateJoiner} {
		event := gatewayEvent(t, s, "msg_"+employeeID, statement(t, s, employeeID))
		if status := invoke(t, ingest, event); status != http.StatusAccepted {
			t.Fatalf("%s: hr-events answers %d\n%s", employeeID, status, ingest.Stdout())
		}
		invoke(t, router, scheduled)
		invoke(t, worker, scheduled)
		d := delivered(t, s, lines, employeeID)
		if n := len(s.Graph.IssuedPassValues()); n != i+1 {
			t.Errorf("%d passes were issued for %d people", n, i+1)
		}
		if strings.Contains(worker.Stdout(), s.Graph.IssuedPassValues()[i]) || d.Mail.From == "" {
			t.Errorf("the pass shows in the log, or nobody sent it:\n%s", worker.Stdout())
		}
	}
	for _, f := range []*lambda.Function{ingest, router, worker} {
		if n := len(f.ColdStarts()); n != 1 {
			t.Errorf("%d cold starts, want the frozen environment to go on\n%s", n, f.Stdout())
		}
	}
}

// gateway is what stands before a function that Microsoft Graph posts to: it makes the
// event of an HTTP API of each request, and answers what the function answers.
func gateway(t *testing.T, f *lambda.Function) *httptest.Server {
	t.Helper()
	var one sync.Mutex // environment, hence one at a time
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		out, err := f.Invoke(r.Context(), eventOf(t, r))
		var answer struct {
			StatusCode int               `json:"statusCode"`
			Headers    map[string]string `json:"headers"`
			Body       string            `json:"body"`
		}
		if err := errors.Join(err, json.Unmarshal(out, &answer)); err != nil {
			t.Error(err)
			answer.StatusCode = http.StatusBadGateway
		}
		for name, value := range answer.Headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(answer.StatusCode)
		_, _ = io.WriteString(w, answer.Body)
	}))
	t.Cleanup(g.Close)
	return g
}

// eventOf is what an HTTP API makes of a request.
func eventOf(t *testing.T, r *http.Request) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	headers := map[string]string{}
	for name := range r.Header {
		headers[strings.ToLower(name)] = r.Header.Get(name)
	}
	event, err := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": r.URL.EscapedPath(), "rawQueryString": r.URL.RawQuery, "headers": headers,
		"requestContext": map[string]any{"stage": "$default", "http": map[string]any{"method": r.Method, "path": r.URL.Path, "sourceIp": "192.0.2.1"}},
		"body":           base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
	})
	if err != nil {
		t.Error(err)
	}
	return event
}

// Every function takes whatever infra/functions.json says starts it, from cold and then warm,
// and says nothing of errors.
func TestEveryFunctionUnderLambda(t *testing.T) {
	// A drain that gives up before it is connected says so as an error, and an emulator is slow.
	s, err := stack.Start(t.Context(), stack.Options{SimulatorsOnly: true, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=1s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile("../../infra/functions.json")
	if err != nil {
		t.Fatal(err)
	}
	var deployed struct {
		Functions map[string]struct {
			Trigger struct {
				HTTP     []string
				Events   bool
				URL      bool
				Schedule string
			}
		}
	}
	if err := json.Unmarshal(text, &deployed); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(config.Functions())), slices.Sorted(maps.Keys(deployed.Functions))); d != "" {
		t.Fatal(d)
	}
	const caller = "arn:aws:sts::123456789012:assumed-role/Operators/ada@contoso.example"
	handshake := func(path string) func(string) []byte {
		return func(id string) []byte {
			return eventOf(t, httptest.NewRequest(http.MethodPost, path+"?validationToken="+id, http.NoBody))
		}
	}
	// The event with an id for each route, and how it is answered.
	routes := map[string]struct {
		event  func(id string) []byte
		status int
	}{
		"POST /hr/{source}": {func(id string) []byte { return gatewayEvent(t, s, id, statement(t, s, stack.ModelJoiner)) }, http.StatusAccepted},
		"POST /risk/{source}": {func(id string) []byte {
			return signedEvent(t, s, "/risk/", stack.RiskSystem, id, fmt.Appendf(nil, `{"specversion": "1.0", "id": %q, "source": "https://risk.contoso.example",
				"type": "risk.user", "time": %q, "data": {"person": {"employeeId": "E1002"}, "level": "low", "state": "atRisk"}}`, id, time.Now().UTC().Format(time.RFC3339)))
		}, http.StatusAccepted},
		"GET /risk/{source}": {func(id string) []byte {
			r := httptest.NewRequest(http.MethodGet, "/risk/"+stack.Okta, http.NoBody)
			r.Header.Set("X-Okta-Verification-Challenge", id) // by somebody who does not know the secret
			return eventOf(t, r)
		}, http.StatusUnauthorized},
		"POST /graph/notifications": {handshake("/graph/notifications"), http.StatusOK},
		"POST /graph/lifecycle":     {handshake("/graph/lifecycle"), http.StatusOK},
	}
	for name, f := range deployed.Functions {
		t.Run(name, func(t *testing.T) {
			var more []string
			if f.Trigger.URL {
				more = []string{"MFAFLOW_OPERATOR_TOKEN_FILE=", "MFAFLOW_OPERATOR_ROLES=arn:aws:iam::123456789012:role/Operators"}
			}
			function := deploy(t, s, name, more...)
			invocations := 0
			for _, id := range []string{"cold", "warm"} {
				for _, route := range f.Trigger.HTTP {
					r, ok := routes[route]
					if !ok {
						t.Fatalf("nobody knows what comes by %s", route)
					}
					if status := invoke(t, function, r.event(name+id)); status != r.status {
						t.Errorf("%s is answered with %d\n%s", route, status, function.Stdout())
					}
					invocations++
				}
				if f.Trigger.Events {
					invoke(t, function, fmt.Appendf(nil, `{"version": "0", "id": %q, "source": "hr.unknown", "detail-type": "Joiner", "detail": {}}`, id))
					invocations++
				}
				if f.Trigger.Schedule != "" {
					invoke(t, function, scheduled)
					invocations++
				}
				if f.Trigger.URL {
					c, err := operateapi.New("https://abc.lambda-url.eu-west-1.on.aws", functionURL{function, caller})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := c.Overview(t.Context()); err != nil {
						t.Errorf("%v\n%s", err, function.Stdout())
					}
					invocations++
				}
			}
			if invocations < 2 {
				t.Errorf("%d invocations", invocations)
			}
			if n := len(function.ColdStarts()); n != 1 {
				t.Errorf("%d cold starts", n)
			}
			if out := function.Stdout() + function.Stderr(); strings.Contains(out, `"level":"ERROR"`) {
				t.Error(out)
			}
		})
	}
}

// A sweep subscribes, Microsoft Graph notifies, and what it tells reaches the lane.
func TestGraphNotifiesUnderLambda(t *testing.T) {
	lines := &seen{}
	s, err := stack.Start(t.Context(), stack.Options{
		SimulatorsOnly: true, Each: lines.each, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=300ms"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	notifications := deploy(t, s, "graph-notifications")
	sweep := deploy(t, s, "tenant-sweep", "MFAFLOW_NOTIFICATION_URL="+gateway(t, notifications).URL)
	ingest, router, worker := deploy(t, s, "hr-events"), deploy(t, s, "identity-router"), deploy(t, s, "identity-worker")

	invoke(t, sweep, scheduled)
	if got := s.Graph.Subscriptions(); len(got) != 1 {
		t.Fatalf("%d subscriptions\n%s%s", len(got), sweep.Stdout(), notifications.Stdout())
	}
	if status := invoke(t, ingest, gatewayEvent(t, s, "msg_1", statement(t, s, stack.ModelJoiner))); status != http.StatusAccepted {
		t.Fatalf("hr-events answers %d", status)
	}
	invoke(t, router, scheduled)
	invoke(t, worker, scheduled)
	person, _ := s.Person(stack.ModelJoiner)
	if len(s.Graph.Passes(person.ID)) != 1 {
		t.Fatalf("no pass\n%s", worker.Stdout())
	}
	// Somebody disables the account, and later, unheard, the subscription dies.
	s.Graph.Mutate(func(tenant *simgraph.Tenant) { tenant.User(person.ID).AccountEnabled = false })
	for s.Graph.Undelivered() > 0 {
		runtime.Gosched()
	}
	invoke(t, router, scheduled)
	invoke(t, worker, scheduled)
	if n := len(s.Graph.Passes(person.ID)); n != 0 {
		t.Errorf("%d passes left of a disabled account\n%s\n%s", n, notifications.Stdout(), worker.Stdout())
	}
	s.Graph.DropSubscription(s.Graph.Subscriptions()[0].ID)
	invoke(t, sweep, scheduled)
	if got := s.Graph.Subscriptions(); len(got) != 1 || !strings.Contains(sweep.Stdout(), `"outcome":"gone"`) {
		t.Errorf("%d subscriptions\n%s", len(got), sweep.Stdout())
	}
	if out := sweep.Stdout() + notifications.Stdout(); strings.Contains(out, `"level":"ERROR"`) {
		t.Error(out)
	}
}

// A report is made on schedule: the files, and a flag for each of the two whom enforcement
// would lock out.
func TestReadinessUnderLambda(t *testing.T) {
	s, err := stack.Start(t.Context(), stack.Options{SimulatorsOnly: true, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=300ms"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	report, notifier := deploy(t, s, "readiness-report"), deploy(t, s, "flag-notifier")
	schedule := []byte(`{"version":"0","source":"aws.scheduler","detail-type":"Scheduled Event","detail":{}}`)
	invoke(t, report, schedule)
	invoke(t, notifier, schedule)
	if page, err := os.ReadFile(filepath.Join(s.Dir, "reports", "latest", "report.html")); err != nil || !bytes.Contains(page, []byte("svc-backup@contoso.example")) {
		t.Errorf("%d bytes, %v\n%s%s", len(page), err, report.Stdout(), report.Stderr())
	}
	var told []string
	for _, m := range s.Graph.Mailbox(stack.Operator) {
		told = append(told, m.Subject)
	}
	slices.Sort(told)
	if d := cmp.Diff([]string{"mfaflow: Break-glass account may be locked out", "mfaflow: Program signs in as a person"}, told); d != "" {
		t.Error(d)
	}
	before := len(s.Graph.Requests())
	invoke(t, report, schedule) // not due
	if n := len(s.Graph.Requests()) - before; n != 0 || strings.Contains(report.Stdout(), `"level":"ERROR"`) {
		t.Errorf("%d requests\n%s", n, report.Stdout())
	}
}

// functionURL is what stands before event-replay: AWS has checked who signed, and says so
// in the event. Every call is one invocation of a function that is frozen in between.
type functionURL struct {
	function *lambda.Function
	caller   string
}

func (u functionURL) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	headers := map[string]string{"accept-encoding": "gzip"}
	for name := range r.Header {
		headers[strings.ToLower(name)] = r.Header.Get(name)
	}
	requestContext := map[string]any{"stage": "$default", "http": map[string]any{"method": r.Method, "path": r.URL.Path, "sourceIp": "127.0.0.1"}}
	if u.caller != "" {
		requestContext["authorizer"] = map[string]any{"iam": map[string]any{"userArn": u.caller}}
	}
	event, err := json.Marshal(map[string]any{
		"version": "2.0", "rawPath": r.URL.Path, "headers": headers, "body": string(body), "requestContext": requestContext,
	})
	if err != nil {
		return nil, err
	}
	out, err := u.function.Invoke(r.Context(), event)
	if err != nil {
		return nil, err
	}
	var answer struct {
		StatusCode      int               `json:"statusCode"`
		Headers         map[string]string `json:"headers"`
		Body            string            `json:"body"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.StatusCode)
	content := []byte(answer.Body)
	if answer.IsBase64Encoded {
		if content, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			return nil, err
		}
	}
	_, err = w.Write(content)
	return w.Result(), err
}

// scheduled is what starts a drain.
var scheduled = []byte(`{"version":"0","source":"aws.scheduler","detail-type":"Scheduled Event","detail":{}}`)

// heldLeaver is a stack under Lambda in which the immediate leaving of a protected person
// is held.
type heldLeaver struct {
	*stack.Stack
	worker *lambda.Function
	who    simgraph.User
}

func holdLeaver(t *testing.T) heldLeaver {
	t.Helper()
	s, err := stack.Start(t.Context(), stack.Options{
		SimulatorsOnly: true, Each: (&seen{}).each, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=300ms", "MFAFLOW_PROTECTED_ACCOUNTS=10000000-0000-4000-8000-000000000005"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := heldLeaver{Stack: s, worker: deploy(t, s, "identity-worker")}
	ok := false
	if h.who, ok = s.Find("E1005"); !ok {
		t.Fatal("the sample tenant has no E1005")
	}
	statement := fmt.Sprintf(`{"specversion": "1.0", "id": "hr-1", "source": "https://hr.contoso.example", "type": "employee.leaver", "time": %q,
		"data": {"person": {"employeeId": "E1005"}, "immediate": true}}`, time.Now().UTC().Format(time.RFC3339))
	if status := invoke(t, deploy(t, s, "hr-events"), gatewayEvent(t, s, "msg_1", []byte(statement))); status != http.StatusAccepted {
		t.Fatalf("hr-events answers %d", status)
	}
	invoke(t, deploy(t, s, "identity-router"), scheduled)
	invoke(t, h.worker, scheduled)
	return h
}

// What Graph answered is written before the answer to the operator: the sandbox freezes
// then, and may never thaw.
func TestReplayWritesMetricsBeforeItFreezes(t *testing.T) {
	s, err := stack.Start(t.Context(), stack.Options{SimulatorsOnly: true, Each: (&seen{}).each, Environment: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	desk := deploy(t, s, "event-replay", "MFAFLOW_OPERATOR_TOKEN_FILE=", "MFAFLOW_OPERATOR_ROLES=arn:aws:iam::123456789012:role/Operators")
	client, err := operateapi.New("https://abc.lambda-url.eu-west-1.on.aws", functionURL{desk, "arn:aws:sts::123456789012:assumed-role/Operators/ada@contoso.example"})
	if err != nil {
		t.Fatal(err)
	}
	who, ok := s.Find("E1005")
	if !ok {
		t.Fatal("the sample tenant has no E1005")
	}
	if _, err := client.Person(t.Context(), who.UserPrincipalName, false); err != nil || !strings.Contains(desk.Stdout(), `"GraphCalls":`) {
		t.Errorf("%v\n%s", err, desk.Stdout())
	}
}

// A hold of a protected person needs two operators, whom AWS has authenticated; nobody
// else, and not whom it is about, has a word in it.
func TestTwoOperatorsUnderLambda(t *testing.T) {
	h := holdLeaver(t)
	s, worker, protected := h.Stack, h.worker, h.who
	desk := deploy(t, s, "event-replay", "MFAFLOW_OPERATOR_TOKEN_FILE=", "MFAFLOW_OPERATOR_ROLES=arn:aws:iam::123456789012:role/Operators")
	as := func(caller string) *operateapi.Client {
		c, err := operateapi.New("https://abc.lambda-url.eu-west-1.on.aws", functionURL{desk, caller})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const session = "arn:aws:sts::123456789012:assumed-role/Operators/"

	for _, caller := range []string{"", "arn:aws:iam::123456789012:user/ada", "arn:aws:sts::123456789012:assumed-role/Deploy/ada", "arn:aws:sts::999999999999:assumed-role/Operators/ada"} {
		if _, err := as(caller).Overview(t.Context()); !errors.Is(err, operateapi.ErrNobody) {
			t.Errorf("%q: %v", caller, err)
		}
	}
	holds, err := as(session+"ada@contoso.example").Flags(t.Context(), operate.FlagFilter{Holds: true}, "", 10)
	if err != nil || len(holds.Items) != 1 || holds.Items[0].Needs != 2 || holds.Items[0].User != identity.UserID(protected.ID) {
		t.Fatalf("%+v, %v\n%s\n%s", holds, err, worker.Stdout(), desk.Stdout())
	}
	word := operate.Word{Flag: holds.Items[0].Number, Decision: lane.Release, Reason: "asked the manager"}
	for _, step := range []struct {
		operator string
		refused  bool
		enabled  bool
	}{
		{protected.UserPrincipalName, true, true},
		{"ada@contoso.example", false, true},
		{"Ada@contoso.example", false, true}, // the same person
		{"ben@contoso.example", false, false},
	} {
		_, err := as(session+step.operator).Decide(t.Context(), "mallory", word)
		if errors.Is(err, operate.ErrRefused) != step.refused || err != nil && !step.refused {
			t.Errorf("%s: %v", step.operator, err)
		}
		invoke(t, worker, scheduled)
		if now, _ := s.Find("E1005"); now.AccountEnabled != step.enabled {
			t.Errorf("after %s the account is enabled: %v\n%s", step.operator, now.AccountEnabled, worker.Stdout())
		}
	}
	if log := desk.Stdout(); strings.Contains(log, "mallory") || strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, `"operator":"ben@contoso.example"`) {
		t.Error(log)
	}
	if n := len(desk.ColdStarts()); n != 1 {
		t.Errorf("%d cold starts of event-replay", n)
	}
}

func TestDrainsOfNothing(t *testing.T) {
	s, err := stack.Start(t.Context(), stack.Options{SimulatorsOnly: true, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=50ms"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	router := deploy(t, s, "identity-router")
	for range 2 {
		invoke(t, router, []byte(`{}`))
	}
}
