package graph_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

// endpoint takes notifications as a client of Graph does.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	status   int // of the answer to a notification
	asked    []string
	items    []map[string]any
	paths    []string
	validate func(w http.ResponseWriter, token string)
}

func listen(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{status: http.StatusAccepted, validate: func(w http.ResponseWriter, token string) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, token)
	}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if token := r.URL.Query().Get("validationToken"); token != "" {
			e.asked = append(e.asked, r.URL.Path+" "+r.Method+" "+r.Header.Get("Content-Type"))
			e.validate(w, token)
			return
		}
		var body struct {
			Value []map[string]any `json:"value"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if e.status < 300 {
			e.items = append(e.items, body.Value...)
			e.paths = append(e.paths, r.URL.RequestURI())
		}
		w.WriteHeader(e.status)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) answers(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

func (e *endpoint) validates(answer func(http.ResponseWriter, string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.validate = answer
}

// questions are the validation requests since the last call.
func (e *endpoint) questions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := e.asked
	e.asked = nil
	return asked
}

// places are where the items received so far went.
func (e *endpoint) places() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.paths)
}

// taken are the items received since the last call.
func (e *endpoint) taken() []map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	items := e.items
	e.items = nil
	return items
}

func held(t *testing.T) (*sim, *endpoint) {
	t.Helper()
	e := listen(t)
	return startWith(t, graph.Options{PlainCallbacks: true, HoldNotifications: true}), e
}

const subscriptions = "/v1.0/subscriptions"

func order(e *endpoint, change map[string]any) map[string]any {
	o := map[string]any{
		"resource": "users", "changeType": "updated,deleted", "notificationUrl": e.URL + "/graph?code=7", "lifecycleNotificationUrl": e.URL + "/lifecycle",
		"clientState": "secret", "expirationDateTime": t0.Add(48 * time.Hour),
	}
	maps.Copy(o, change)
	for k, v := range o {
		if v == nil {
			delete(o, k)
		}
	}
	return o
}

// later is d after now, when tokens are asked for anew.
func (s *sim) later(d time.Duration) {
	s.clock.Advance(d)
	clear(s.tokens)
}

func (s *sim) sweep(method, path string, body any, header ...string) answer {
	s.t.Helper()
	return s.as("tenant-sweep", method, path, body, header...)
}

func TestCreateSubscription(t *testing.T) {
	s, e := held(t)
	a := s.sweep("POST", subscriptions, order(e, nil)).want(t, 201, "")
	for name, want := range map[string]any{
		"resource": "users", "changeType": "updated,deleted", "notificationUrl": e.URL + "/graph?code=7", "lifecycleNotificationUrl": e.URL + "/lifecycle",
		"clientState": "secret", "expirationDateTime": "2026-11-25T09:00:00Z", "latestSupportedTlsVersion": "v1_2",
	} {
		if a.body[name] != want {
			t.Errorf("%s is %v, want %v", name, a.body[name], want)
		}
	}
	if want := "[/graph POST text/plain; charset=utf-8 /lifecycle POST text/plain; charset=utf-8]"; fmt.Sprint(e.questions()) != want {
		t.Error("validation requests are not", want)
	}
	id := a.body["id"].(string)
	listed := s.sweep("GET", subscriptions, nil).want(t, 200, "")
	if len(listed.ids()) != 1 || listed.value()[0].(map[string]any)["clientState"] != nil {
		t.Errorf("listed %s", listed.text)
	}
	s.sweep("GET", subscriptions+"/"+id, nil).want(t, 200, "")

	// Another app sees and touches nothing of it.
	if ids := s.as("event-replay", "GET", subscriptions, nil).want(t, 200, "").ids(); len(ids) != 0 {
		t.Errorf("another app sees %v", ids)
	}
	for _, method := range []string{"GET", "DELETE"} {
		s.as("event-replay", method, subscriptions+"/"+id, nil).want(t, 404, "ResourceNotFound")
	}
	s.sweep("DELETE", subscriptions+"/"+id, nil).want(t, 204, "")
	s.sweep("DELETE", subscriptions+"/"+id, nil).want(t, 404, "ResourceNotFound")

	same := order(e, map[string]any{"lifecycleNotificationUrl": e.URL + "/graph?code=7"})
	s.sweep("POST", subscriptions, same).want(t, 201, "")
	if n := len(e.questions()); n != 2 {
		t.Errorf("one URL for both is asked %d times", n)
	}
}

func TestSubscriptionRefused(t *testing.T) {
	s, e := held(t)
	for name, tc := range map[string]struct {
		change map[string]any
		status int
		code   string
	}{
		"http elsewhere":           {map[string]any{"notificationUrl": "http://elsewhere.example/"}, 400, "InvalidRequest"},
		"no notification URL":      {map[string]any{"notificationUrl": nil}, 400, "InvalidRequest"},
		"lifecycle URL of no kind": {map[string]any{"lifecycleNotificationUrl": "ftp://127.0.0.1/"}, 400, "InvalidRequest"},
		"no resource":              {map[string]any{"resource": nil}, 400, "InvalidRequest"},
		"risky users":              {map[string]any{"resource": "identityProtection/riskyUsers"}, 400, "InvalidRequest"},
		"sign-ins":                 {map[string]any{"resource": "auditLogs/signIns"}, 400, "InvalidRequest"},
		"methods":                  {map[string]any{"resource": "users/" + joiner + "/authentication/methods"}, 400, "InvalidRequest"},
		"nobody":                   {map[string]any{"resource": "users/10000000-0000-4000-8000-0000000000ff"}, 404, "Request_ResourceNotFound"},
		"created":                  {map[string]any{"changeType": "created"}, 400, "InvalidRequest"},
		"created among others":     {map[string]any{"changeType": "updated,created"}, 400, "InvalidRequest"},
		"no change type":           {map[string]any{"changeType": nil}, 400, "InvalidRequest"},
		"resource data":            {map[string]any{"includeResourceData": true}, 400, "InvalidRequest"},
		"too long":                 {map[string]any{"expirationDateTime": t0.Add(41_761 * time.Minute)}, 400, "ExtensionError"},
		"in the past":              {map[string]any{"expirationDateTime": t0}, 400, "InvalidRequest"},
		"no expiry":                {map[string]any{"expirationDateTime": nil}, 400, "InvalidRequest"},
		"long client state":        {map[string]any{"clientState": strings.Repeat("x", 129)}, 400, "InvalidRequest"},
		"misspelt property":        {map[string]any{"changetypes": "updated"}, 400, "InvalidRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			s.sweep("POST", subscriptions, order(e, tc.change)).want(t, tc.status, tc.code)
		})
	}
	s.as("hr-events", "POST", subscriptions, order(e, nil)).want(t, 403, "ExtensionError")
	s.as("hr-events", "GET", subscriptions, nil).want(t, 403, "ExtensionError")
	if n, asked := len(s.Subscriptions()), e.questions(); n != 0 || len(asked) != 0 {
		t.Errorf("%d subscriptions, asked %v", n, asked)
	}
	s.sweep("POST", subscriptions, order(e, map[string]any{"expirationDateTime": t0.Add(41_760 * time.Minute), "clientState": strings.Repeat("x", 128)})).want(t, 201, "")

	// Without the option for a stack on one machine, http is refused as Graph does.
	strict := start(t)
	strict.sweep("POST", subscriptions, order(e, nil)).want(t, 400, "InvalidRequest")
}

func TestValidationHandshake(t *testing.T) {
	s, e := held(t)
	text := func(status int, media, format string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, token string) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			fmt.Fprintf(w, format, token)
		}
	}
	for name, tc := range map[string]struct {
		validate func(http.ResponseWriter, string)
		code     string
	}{
		"as documented":  {text(200, "text/plain", "%s"), ""},
		"with a charset": {text(200, "text/plain; charset=utf-8", "%s"), ""},
		"202":            {text(202, "text/plain", "%s"), "ValidationError"},
		"as JSON":        {text(200, "application/json", "%s"), "ValidationError"},
		"with more":      {text(200, "text/plain", "%s\n"), "ValidationError"},
		"another token":  {text(200, "text/plain", "not%.0s"), "ValidationError"},
		"still encoded": {func(w http.ResponseWriter, token string) {
			text(200, "text/plain", "%s")(w, strings.ReplaceAll(token, " ", "+"))
		}, "ValidationError"},
		"redirect":          {func(w http.ResponseWriter, _ string) { w.Header().Set("Location", e.URL); w.WriteHeader(302) }, "ValidationError"},
		"broken connection": {func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }, "InvalidRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			e.validates(tc.validate)
			status := 400
			if tc.code == "" {
				status = 201
			}
			s.sweep("POST", subscriptions, order(e, nil)).want(t, status, tc.code)
		})
	}
}

// An endpoint that answers after ten seconds of the server's clock has not answered;
// meanwhile Graph serves others, the endpoint among them.
func TestValidationTimeout(t *testing.T) {
	s, e := held(t)
	release := make(chan struct{})
	inside := make(chan struct{})
	e.validates(func(http.ResponseWriter, string) { close(inside); <-release })
	done := make(chan answer)
	s.token("tenant-sweep")
	go func() {
		a, err := s.try("tenant-sweep", "POST", subscriptions, order(e, nil))
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	<-inside
	s.worker("GET", "/v1.0/users/"+joiner, nil).want(t, 200, "")
	s.clock.Advance(10 * time.Second)
	(<-done).want(t, 400, "InvalidRequest")
	close(release)
}

func TestRenewSubscription(t *testing.T) {
	s, e := held(t)
	path := subscriptions + "/" + s.sweep("POST", subscriptions, order(e, nil)).want(t, 201, "").body["id"].(string)
	a := s.sweep("PATCH", path, map[string]any{"expirationDateTime": t0.Add(72 * time.Hour)}).want(t, 200, "")
	if a.body["expirationDateTime"] != "2026-11-26T09:00:00Z" || a.body["clientState"] != nil {
		t.Errorf("renewed %s", a.text)
	}
	if a := s.sweep("PATCH", path, map[string]any{"expirationDateTime": t0.Add(time.Minute)}).want(t, 200, ""); a.body["expirationDateTime"] != "2026-11-23T09:45:00Z" {
		t.Errorf("a short one is extended to %v", a.body["expirationDateTime"])
	}
	for name, body := range map[string]map[string]any{
		"lifecycle URL": {"lifecycleNotificationUrl": e.URL + "/other"}, "client state": {"clientState": "new"}, "nothing": {}, "change type": {"changeType": "updated"},
	} {
		if a := s.sweep("PATCH", path, body); a.status != 400 || a.errorCode() != "InvalidRequest" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	s.sweep("PATCH", path, map[string]any{"expirationDateTime": t0.Add(41_761 * time.Minute)}).want(t, 400, "ExtensionError")
	e.questions()
	s.sweep("PATCH", path, map[string]any{"notificationUrl": e.URL + "/moved"}).want(t, 200, "")
	if n := len(e.questions()); n != 1 {
		t.Errorf("a new URL is asked %d times", n)
	}
	s.sweep("POST", path+"/reauthorize", nil).want(t, 204, "")

	s.clock.Advance(45 * time.Minute)
	s.sweep("GET", path, nil).want(t, 404, "ResourceNotFound")
	s.sweep("PATCH", path, map[string]any{"expirationDateTime": t0.Add(72 * time.Hour)}).want(t, 404, "ResourceNotFound")
	if len(s.Subscriptions()) != 0 {
		t.Error("it outlives its expiry")
	}
}

func TestSubscriptionQuotaAndThrottle(t *testing.T) {
	s, e := held(t)
	o := order(e, map[string]any{"lifecycleNotificationUrl": nil})
	for range 100 {
		s.sweep("POST", subscriptions, o).want(t, 201, "")
	}
	e.questions()
	s.sweep("POST", subscriptions, o).want(t, 403, "ExtensionError")
	if len(e.questions()) != 0 {
		t.Error("the endpoint is asked although the quota is used up")
	}
	s.as("event-replay", "POST", subscriptions, o).want(t, 201, "")

	s.SetThrottle(graph.Throttle{Factor: 1})
	for range 25 {
		s.sweep("GET", subscriptions, nil).want(t, 200, "")
	}
	if a := s.sweep("GET", subscriptions, nil).want(t, 429, "TooManyRequests"); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.sweep("GET", subscriptions+"/"+s.Subscriptions()[0].ID, nil).want(t, 200, "")
	s.clock.Advance(20 * time.Second)
	s.sweep("GET", subscriptions, nil).want(t, 200, "")
}

func TestChangeNotifications(t *testing.T) {
	s, e := held(t)
	id := s.sweep("POST", subscriptions, order(e, nil)).want(t, 201, "").body["id"].(string)
	admin := func(method, path string, body any, status int) {
		t.Helper()
		s.as("tenant-administrator", method, path, body).want(t, status, "")
	}
	told := func(want ...string) {
		t.Helper()
		s.Deliver()
		got := []string{}
		for _, i := range e.taken() {
			data := i["resourceData"].(map[string]any)
			got = append(got, fmt.Sprint(i["changeType"], " ", data["id"]))
			if i["subscriptionId"] != id || i["clientState"] != "secret" || i["tenantId"] != s.TenantID() || i["resource"] != fmt.Sprint("Users/", data["id"]) ||
				i["subscriptionExpirationDateTime"] != "2026-11-25T09:00:00Z" || i["id"] == "" || data["@odata.type"] != "#Microsoft.Graph.User" {
				t.Errorf("item %v", i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}
	admin("PATCH", "/v1.0/users/"+joiner, map[string]any{"accountEnabled": false}, 204)
	told("updated " + joiner)
	admin("PATCH", "/v1.0/users/"+joiner, map[string]any{"accountEnabled": false}, 204) // nothing changes
	told()
	admin("POST", "/v1.0/users/"+joiner+"/revokeSignInSessions", nil, 200)
	told("updated " + joiner)
	admin("DELETE", "/v1.0/users/"+joiner, nil, 204)
	told("updated " + joiner) // soft deletion
	admin("POST", "/v1.0/directory/deletedItems/"+joiner+"/restore", nil, 200)
	told("updated " + joiner)
	admin("DELETE", "/v1.0/users/"+joiner, nil, 204)
	admin("DELETE", "/v1.0/directory/deletedItems/"+joiner, nil, 204)
	told("updated "+joiner, "deleted "+joiner)
	emil, err := s.Provision("E1040")
	if err != nil {
		t.Fatal(err)
	}
	told("updated " + emil.ID) // creation
	s.Mutate(func(t *graph.Tenant) {
		t.User(sixMethods).JobTitle = "Lead"
		t.User(phonesOnly).Methods = nil // not kept in the directory
	})
	told("updated " + sixMethods)
	if err := s.SignInWithPass(sixMethods, "x"); err == nil {
		t.Error("signed in")
	}
	told()

	s.SilenceNotifications(true)
	admin("PATCH", "/v1.0/users/"+sixMethods, map[string]any{"jobTitle": "Head"}, 204)
	told()
	s.SilenceNotifications(false)
	s.Mutate(func(t *graph.Tenant) { t.Behaviour.Notifications = 3 })
	admin("PATCH", "/v1.0/users/"+sixMethods, map[string]any{"jobTitle": "Chief"}, 204)
	s.Deliver()
	seen := map[any]bool{}
	for _, i := range e.taken() {
		seen[i["id"]] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d distinct notifications of one change, want 3", len(seen))
	}
	s.DropSubscription(id)
	admin("PATCH", "/v1.0/users/"+sixMethods, map[string]any{"jobTitle": "None"}, 204)
	s.Deliver()
	if items := e.taken(); len(items) != 0 {
		t.Errorf("told without a subscription: %v", items)
	}
}

func TestSubscriptionScope(t *testing.T) {
	s, e := held(t)
	s.sweep("POST", subscriptions, order(e, map[string]any{"resource": "/users/" + joiner, "changeType": "updated"})).want(t, 201, "")
	s.sweep("POST", subscriptions, order(e, map[string]any{"changeType": "deleted", "notificationUrl": e.URL + "/deletions"})).want(t, 201, "")
	for _, id := range []string{joiner, sixMethods} {
		if err := s.Delete(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Purge(sixMethods); err != nil {
		t.Fatal(err)
	}
	s.Deliver()
	var got []string
	for _, i := range e.taken() {
		got = append(got, fmt.Sprint(i["changeType"], " ", i["resource"]))
	}
	if want := fmt.Sprint([]string{"updated Users/" + joiner, "deleted Users/" + sixMethods}); fmt.Sprint(got) != want || fmt.Sprint(e.places()) != "[/graph?code=7 /deletions]" {
		t.Errorf("told %v at %v", got, e.places())
	}
}

// What is refused comes again, later and later, for four hours.
func TestNotificationRetry(t *testing.T) {
	s, e := held(t)
	s.sweep("POST", subscriptions, order(e, map[string]any{"expirationDateTime": t0.Add(240 * time.Hour)})).want(t, 201, "")
	e.answers(503)
	change := func(title string) {
		s.as("tenant-administrator", "PATCH", "/v1.0/users/"+joiner, map[string]any{"jobTitle": title}).want(t, 204, "")
	}
	change("one")
	attempts := 0
	var last, longest time.Duration
	for s.Undelivered() > 0 {
		if made := s.Deliver(); len(made) > 0 {
			now := s.clock.Now().Sub(t0)
			longest = max(longest, now-last)
			last = now
			attempts++
			if made[0].OK() || made[0].Status != 503 {
				t.Errorf("%+v", made[0])
			}
		}
		s.clock.Advance(10 * time.Second)
	}
	if attempts < 10 || last > 4*time.Hour || last < 3*time.Hour || longest < time.Minute {
		t.Errorf("%d attempts, the last after %s, %s apart", attempts, last, longest)
	}
	s.later(0)
	change("two")
	s.Deliver()
	e.answers(202)
	change("three")
	if s.Deliver(); len(e.taken()) != 1 {
		t.Error("the new one does not overtake the one that waits")
	}
	s.clock.Advance(10 * time.Second)
	if s.Deliver(); len(e.taken()) != 1 || s.Undelivered() != 0 {
		t.Error("the one that waited is lost")
	}
	if made := s.Deliveries(); len(made) != attempts+3 {
		t.Errorf("%d deliveries", len(made))
	}
}

func TestReauthorizationRequired(t *testing.T) {
	s, e := held(t)
	id := s.sweep("POST", subscriptions, order(e, nil)).want(t, 201, "").body["id"].(string)
	reminded := func() int {
		t.Helper()
		s.Deliver()
		items := e.taken()
		for _, i := range items {
			if i["lifecycleEvent"] != "reauthorizationRequired" || i["clientState"] != "secret" || i["subscriptionId"] != id || i["changeType"] != nil || i["resource"] != nil {
				t.Errorf("item %v", i)
			}
		}
		return len(items)
	}
	if reminded() != 0 {
		t.Error("reminded at once")
	}
	s.clock.Set(t0.Add(47 * time.Hour))
	if reminded() != 1 || reminded() != 0 {
		t.Error("an hour before the end one reminder is due")
	}
	s.clock.Advance(15 * time.Minute)
	if reminded() != 1 {
		t.Error("no second reminder")
	}
	s.later(0)
	s.sweep("PATCH", subscriptions+"/"+id, map[string]any{"expirationDateTime": s.clock.Now().Add(48 * time.Hour)}).want(t, 200, "")
	s.clock.Advance(15 * time.Minute)
	if reminded() != 0 {
		t.Error("reminded although it was renewed")
	}
	if !s.RequestReauthorization(id) || reminded() != 1 || s.RequestReauthorization("none") {
		t.Error("no reminder on request")
	}
	if places := e.places(); places[len(places)-1] != "/lifecycle" {
		t.Errorf("reminders go to %v", places)
	}
	s.clock.Advance(48 * time.Hour)
	if reminded() != 0 {
		t.Error("the end of a subscription on users is told")
	}
}

// By default notifications go out by themselves.
func TestCourier(t *testing.T) {
	e := listen(t)
	s := startWith(t, graph.Options{PlainCallbacks: true})
	s.sweep("POST", subscriptions, order(e, nil)).want(t, 201, "")
	e.answers(500)
	s.as("tenant-administrator", "PATCH", "/v1.0/users/"+joiner, map[string]any{"jobTitle": "x"}).want(t, 204, "")
	if made, err := s.AwaitDeliveries(t.Context(), 1); err != nil || made[0].Status != 500 {
		t.Fatal(made, err)
	}
	e.answers(202)
	if err := s.clock.AwaitPending(t.Context(), 1); err != nil { // the courier sleeps
		t.Fatal(err)
	}
	s.clock.Advance(10 * time.Second)
	if made, err := s.AwaitDeliveries(t.Context(), 2); err != nil || !made[1].OK() || len(e.taken()) != 1 {
		t.Error(made, err)
	}
}
