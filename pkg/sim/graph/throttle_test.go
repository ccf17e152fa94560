package graph_test

import (
	"fmt"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

func TestThrottlingBudgets(t *testing.T) {
	methods := auth("v1.0", joiner) + "/methods"
	const access = "/v1.0/identity/conditionalAccess/policies"
	for name, tc := range map[string]struct {
		throttle   graph.Throttle
		path       string
		allowed    int
		retryAfter string
		wait       time.Duration // after which one more call fits
	}{
		"methods, 5 in 10 s":          {graph.Throttle{Factor: 1}, methods, 5, "10", 10 * time.Second},
		"methods, scaled":             {graph.Throttle{Factor: 4}, methods, 20, "10", 10 * time.Second},
		"methods, no Retry-After":     {graph.Throttle{Factor: 1, NoRetryAfter: true}, methods, 5, "", 10 * time.Second},
		"protection never says when":  {graph.Throttle{Factor: 1}, access, 1, "", time.Second},
		"directory, by resource unit": {graph.Throttle{Factor: 0.01}, "/v1.0/groups/" + group("01") + "/transitiveMembers", 7, "10", 10 * time.Second}, // 35 units, 5 each
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.SetThrottle(tc.throttle)
			for i := range tc.allowed {
				if a := s.worker("GET", tc.path, nil); a.status != 200 {
					t.Fatalf("call %d of %d: %d %s", i+1, tc.allowed, a.status, a.text)
				}
			}
			a := s.worker("GET", tc.path, nil).want(t, 429, "TooManyRequests")
			if got := a.header.Get("Retry-After"); got != tc.retryAfter {
				t.Errorf("Retry-After %q, want %q", got, tc.retryAfter)
			}
			s.clock.Advance(tc.wait - time.Millisecond)
			s.worker("GET", tc.path, nil).want(t, 429, "TooManyRequests")
			s.clock.Advance(time.Millisecond)
			s.worker("GET", tc.path, nil).want(t, 200, "")
		})
	}
}

func TestThrottlingIsPerAppOrPerTenant(t *testing.T) {
	s := start(t)
	s.SetThrottle(graph.Throttle{Factor: 1})
	for range 5 {
		s.worker("GET", auth("v1.0", joiner)+"/methods", nil).want(t, 200, "")
	}
	s.worker("GET", auth("v1.0", joiner)+"/methods", nil).want(t, 429, "TooManyRequests")
	s.as("tenant-administrator", "GET", auth("v1.0", joiner)+"/methods", nil).want(t, 200, "")

	s.worker("GET", "/v1.0/identity/conditionalAccess/policies", nil).want(t, 200, "")
	a := s.as("tenant-administrator", "GET", "/v1.0/identity/conditionalAccess/policies", nil).want(t, 429, "TooManyRequests")
	if got := a.header.Get("x-ms-throttle-scope"); got != "Tenant/Read" {
		t.Errorf("scope %q", got)
	}
	s.worker("GET", "/v1.0/users/"+joiner, nil).want(t, 200, "") // other classes go on
}

func TestThrottledCallChangesNothing(t *testing.T) {
	s := start(t)
	s.SetThrottle(graph.Throttle{Factor: 0.2})
	s.issue(joiner, nil)
	before := s.Passes(joiner)[0].ID
	s.worker("POST", passPath(joiner), `{}`).want(t, 429, "TooManyRequests")
	if s.Passes(joiner)[0].ID != before {
		t.Error("a throttled call replaced the pass")
	}
	requests := s.Requests()
	if last := requests[len(requests)-1]; last.Status != 429 || last.Note != "throttled" {
		t.Errorf("log %+v", last)
	}
}

func TestCountRejected(t *testing.T) {
	for _, count := range []bool{false, true} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			s := start(t)
			s.SetThrottle(graph.Throttle{Factor: 0.2, CountRejected: count})
			path := auth("v1.0", joiner) + "/methods"
			s.worker("GET", path, nil).want(t, 200, "")
			s.clock.Advance(9 * time.Second)
			s.worker("GET", path, nil).want(t, 429, "TooManyRequests")
			s.clock.Advance(2 * time.Second)
			status := 200
			if count {
				status = 429
			}
			if a := s.worker("GET", path, nil); a.status != status {
				t.Errorf("status %d, want %d", a.status, status)
			}
		})
	}
}

func TestResourceUnits(t *testing.T) {
	s := start(t)
	for path, want := range map[string]string{
		"/v1.0/users": "2", "/v1.0/users?$select=id": "1", "/v1.0/users?$top=5": "1", "/v1.0/users?$top=50": "2", "/v1.0/users?$select=id&$top=5": "1",
		"/v1.0/users?$expand=manager": "3", "/v1.0/users/" + joiner: "1", "/v1.0/groups/" + group("01") + "/members": "3",
	} {
		if got := s.worker("GET", path, nil).want(t, 200, "").header.Get("x-ms-resource-unit"); got != want {
			t.Errorf("%s costs %s, want %s", path, got, want)
		}
	}
	s.SetThrottle(graph.Throttle{Factor: 0.001}) // 3.5 units
	for range 2 {
		if got := s.worker("GET", "/v1.0/users/"+joiner, nil).header.Get("x-ms-throttle-limit-percentage"); got != "" {
			t.Errorf("percentage %s below 80 %%", got)
		}
	}
	if got := s.worker("GET", "/v1.0/users/"+joiner, nil).header.Get("x-ms-throttle-limit-percentage"); got != "0.86" {
		t.Errorf("percentage %q, want 0.86", got)
	}
}
