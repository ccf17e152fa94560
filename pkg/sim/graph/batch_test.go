package graph_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

type item map[string]any

func (s *sim) batch(version string, items ...item) map[string]item {
	s.t.Helper()
	a := s.worker("POST", "/"+version+"/$batch", map[string]any{"requests": items}).want(s.t, 200, "")
	out := make(map[string]item)
	for _, v := range a.body["responses"].([]any) {
		r := v.(map[string]any)
		out[r["id"].(string)] = r
	}
	return out
}

func get(id, url string, dependsOn ...string) item {
	return item{"id": id, "method": "GET", "url": url, "dependsOn": dependsOn}
}

func (i item) status() int { return int(i["status"].(float64)) }

func TestBatch(t *testing.T) {
	s := start(t)
	got := s.batch("beta",
		get("1", "/users/"+sixMethods+"/authentication/methods"),
		get("2", "users/"+sixMethods+"/authentication/signInPreferences"), // the slash is optional
		get("3", "/users/nobody"),
		item{"id": "4", "method": "PATCH", "url": "/users/" + sixMethods, "headers": item{"Content-Type": "application/json"}, "body": item{"accountEnabled": false}},
		item{"id": "5", "method": "PATCH", "url": "/users/" + administrator, "headers": item{"Content-Type": "application/json"}, "body": item{"accountEnabled": false}},
		item{"id": "6", "method": "DELETE", "url": "/users/" + sixMethods + "/authentication/phoneMethods/" + mobileID},
		item{"id": "7", "method": "PATCH", "url": "/users/" + sixMethods, "body": item{"accountEnabled": true}}, // no content type
		get("8", "/unicorns"),
		get("9", "/users?$select=id&$count=true&$filter=mail ne null&$top=1"), // advanced without its header
		item{"id": "10", "method": "POST", "url": "/$batch", "headers": item{"Content-Type": "application/json"}, "body": item{}},
	)
	want := map[string]int{"1": 200, "2": 200, "3": 404, "4": 204, "5": 403, "6": 204, "7": 400, "8": 400, "9": 400, "10": 400}
	for id, status := range want {
		if got[id] == nil || got[id].status() != status {
			t.Errorf("item %s: %v, want status %d", id, got[id], status)
		}
	}
	if _, hasBody := got["6"]["body"]; hasBody {
		t.Errorf("a 204 has a body: %v", got["6"])
	}
	if e := got["3"]["body"].(map[string]any)["error"].(map[string]any); e["code"] != "Request_ResourceNotFound" {
		t.Errorf("error of item 3: %v", e)
	}
	if u, _ := s.User(sixMethods); u.AccountEnabled {
		t.Error("the block of item 4 did not take effect")
	}
	if n := len(s.Methods(sixMethods)); n != 5 {
		t.Errorf("%d methods left, want 5", n)
	}
}

func TestBatchUnderOneHasNoBetaPaths(t *testing.T) {
	s := start(t)
	if got := s.batch("v1.0", get("1", "/users/"+sixMethods+"/authentication/signInPreferences")); got["1"].status() != 405 {
		t.Errorf("item %v", got["1"])
	}
}

func TestBatchDependsOn(t *testing.T) {
	s := start(t)
	mobile := "/users/" + phonesOnly + "/authentication/phoneMethods/"
	s.Mutate(func(tn *graph.Tenant) { tn.User(phonesOnly).DefaultMethod = "" })
	for range 20 { // whatever the order chosen
		got := s.batch("v1.0",
			item{"id": "b", "method": "DELETE", "url": mobile + mobileID, "dependsOn": []string{"A"}}, // ids ignore case
			item{"id": "a", "method": "DELETE", "url": mobile + alternateID},
		)
		if got["a"].status() != 204 || got["b"].status() != 204 {
			t.Fatalf("answers %v", got)
		}
		for _, id := range []string{mobileID, alternateID} {
			if err := s.RegisterMethod(phonesOnly, graph.Method{Kind: "phone", ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		s.Mutate(func(tn *graph.Tenant) { tn.User(phonesOnly).DefaultMethod = "" })
	}
	got := s.batch("v1.0", get("1", "/users/nobody"), get("2", "/users/"+joiner, "1"), get("3", "/users/"+joiner, "2"), get("4", "/users/"+joiner))
	for id, status := range map[string]int{"1": 404, "2": 424, "3": 424, "4": 200} {
		if got[id].status() != status {
			t.Errorf("item %s has status %d, want %d", id, got[id].status(), status)
		}
	}
}

func TestBatchRefusals(t *testing.T) {
	s := start(t)
	var many []item
	for i := range 21 {
		many = append(many, get(strconv.Itoa(i), "/users/"+joiner))
	}
	for name, items := range map[string][]item{
		"too many":           many,
		"none":               {},
		"same id":            {get("a", "/users/"+joiner), get("A", "/users/"+joiner)},
		"no id":              {get("", "/users/"+joiner)},
		"no url":             {get("1", "")},
		"depends on nothing": {get("1", "/users/"+joiner, "2")},
		"depends on itself":  {get("1", "/users/"+joiner, "1")},
		"circle":             {get("1", "/users/"+joiner, "2"), get("2", "/users/"+joiner, "1")},
	} {
		t.Run(name, func(t *testing.T) {
			s.worker("POST", "/v1.0/$batch", map[string]any{"requests": items}).want(t, 400, "BadRequest")
		})
	}
	if got := s.batch("v1.0", many[:20]...); len(got) != 20 {
		t.Errorf("%d answers to 20 items", len(got))
	}
	s.worker("GET", "/v1.0/$batch", nil).want(t, 405, "Request_BadRequest")
	s.as("", "POST", "/v1.0/$batch", map[string]any{"requests": many[:1]}).want(t, 401, "InvalidAuthenticationToken")
}

func TestBatchAnswersInAnyOrder(t *testing.T) {
	s := startWith(t, graph.Options{Random: rand.NewChaCha8([32]byte{1})})
	var items []item
	for i := range 20 {
		items = append(items, get(strconv.Itoa(i), "/users/"+joiner))
	}
	a := s.worker("POST", "/v1.0/$batch", map[string]any{"requests": items}).want(t, 200, "")
	if got := a.text; strings.Index(got, `"id":"0"`) < strings.Index(got, `"id":"1"`) && strings.Index(got, `"id":"1"`) < strings.Index(got, `"id":"2"`) &&
		strings.Index(got, `"id":"2"`) < strings.Index(got, `"id":"3"`) && strings.Index(got, `"id":"3"`) < strings.Index(got, `"id":"4"`) {
		t.Error("the answers keep the order of the requests")
	}
}

func TestBatchItemsAreThrottledOneByOne(t *testing.T) {
	s := start(t)
	s.SetThrottle(graph.Throttle{Factor: 1})
	var items []item
	for i := range 8 {
		items = append(items, get(strconv.Itoa(i), "/users/"+joiner+"/authentication/methods"))
	}
	var statuses []int
	for _, r := range s.batch("v1.0", items...) {
		statuses = append(statuses, r.status())
		if r.status() == 429 && r["headers"].(map[string]any)["Retry-After"] != "10" {
			t.Errorf("headers %v", r["headers"])
		}
	}
	slices.Sort(statuses)
	if want := "[200 200 200 200 200 429 429 429]"; fmt.Sprint(statuses) != want {
		t.Errorf("statuses %v, want %s", statuses, want)
	}
}

// A batch of independent items costs the latency of one call, a chain that of its length.
func TestBatchLatency(t *testing.T) {
	s := start(t)
	s.token("identity-worker")
	s.SetLatency(50 * time.Millisecond)
	for name, tc := range map[string]struct {
		items []item
		want  time.Duration
	}{
		"side by side": {[]item{get("1", "/users/"+joiner), get("2", "/users/"+joiner), get("3", "/users/"+joiner)}, 50 * time.Millisecond},
		"a chain":      {[]item{get("1", "/users/"+joiner), get("2", "/users/"+joiner, "1"), get("3", "/users/"+joiner, "2")}, 150 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan map[string]item, 1)
			go func() { done <- s.batch("v1.0", tc.items...) }()
			if err := s.clock.AwaitPending(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			s.clock.Advance(tc.want - time.Nanosecond)
			if s.clock.Pending() != 1 {
				t.Fatal("the answer came too early")
			}
			s.clock.Advance(time.Nanosecond)
			if got := <-done; len(got) != 3 {
				t.Errorf("answers %v", got)
			}
		})
	}
}
