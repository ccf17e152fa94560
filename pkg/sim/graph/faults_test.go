package graph_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

func (s *sim) fault(f graph.Fault) int {
	s.t.Helper()
	id, err := s.AddFault(f)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func TestFaultsBeforeAndAfterTheEffect(t *testing.T) {
	for name, tc := range map[string]struct {
		fault   graph.Fault
		status  int // 0: no answer
		effect  bool
		code    string
		retries string
	}{
		"503 before":         {graph.Fault{Kind: graph.FaultStatus, Status: 503, RetryAfter: "7"}, 503, false, "serviceNotAvailable", "7"},
		"504 after":          {graph.Fault{Kind: graph.FaultStatus, Status: 504, AfterEffect: true}, 504, true, "UnknownError", ""},
		"429 without a hint": {graph.Fault{Kind: graph.FaultStatus, Status: 429}, 429, false, "TooManyRequests", ""},
		"cut before":         {graph.Fault{Kind: graph.FaultCut}, 0, false, "", ""},
		"cut after":          {graph.Fault{Kind: graph.FaultCut, AfterEffect: true}, 0, true, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.token("identity-worker")
			tc.fault.Method, tc.fault.Path = "POST", "/users/*/authentication/temporaryAccessPassMethods"
			s.fault(tc.fault)
			a, err := s.try("identity-worker", "POST", passPath(joiner), `{}`)
			if (err != nil) != (tc.status == 0) || a.status != tc.status || a.errorCode() != tc.code || a.header.Get("Retry-After") != tc.retries {
				t.Errorf("answer %d %s %v", a.status, a.text, err)
			}
			if got := len(s.Passes(joiner)) == 1; got != tc.effect {
				t.Errorf("took effect: %v, want %v", got, tc.effect)
			}
			if last := s.Requests()[len(s.Requests())-1]; last.Status != tc.status || last.Note == "" {
				t.Errorf("log %+v", last)
			}
			s.worker("POST", passPath(joiner), `{}`).want(t, 201, "") // once only
		})
	}
}

func TestHang(t *testing.T) {
	for name, after := range map[string]bool{"before": false, "after": true} {
		t.Run("gives up "+name, func(t *testing.T) {
			s := start(t)
			s.token("identity-worker")
			s.fault(graph.Fault{Kind: graph.FaultHang, AfterEffect: after, Path: "/users/**"})
			done := make(chan answer, 1)
			go func() {
				a, _ := s.try("identity-worker", "POST", passPath(joiner), `{}`)
				done <- a
			}()
			if err := s.clock.AwaitPending(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if got := len(s.Passes(joiner)) == 1; got != after {
				t.Errorf("took effect: %v, want %v", got, after)
			}
			s.clock.Advance(time.Minute)
			if a := <-done; a.status != 504 {
				t.Errorf("status %d, want 504 after a minute", a.status)
			}
		})
	}
	t.Run("client leaves", func(t *testing.T) {
		s := start(t)
		s.fault(graph.Fault{Kind: graph.FaultHang})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", s.URL()+"/v1.0/users", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token("identity-worker"))
		failed := make(chan error, 1)
		go func() {
			resp, err := s.http.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			failed <- err
		}()
		if err := s.clock.AwaitPending(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("client error %v", err)
		}
	}) // the cleanup proves that the handler has ended
	t.Run("server closes", func(t *testing.T) {
		s := start(t)
		s.token("identity-worker")
		s.fault(graph.Fault{Kind: graph.FaultHang})
		failed := make(chan error, 1)
		go func() {
			_, err := s.try("identity-worker", "GET", "/v1.0/users", nil)
			failed <- err
		}()
		if err := s.clock.AwaitPending(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err == nil {
			t.Error("the call was answered")
		}
	})
}

func TestFaultSelection(t *testing.T) {
	s := start(t)
	id := s.fault(graph.Fault{Kind: graph.FaultStatus, Status: 500, Method: "get", Path: "/users/*", App: "identity-worker", Skip: 1, Count: 2})
	user := "/v1.0/users/" + joiner
	for i, want := range []int{200, 500, 500, 200} {
		if a := s.worker("GET", user, nil); a.status != want {
			t.Errorf("call %d: %d, want %d", i+1, a.status, want)
		}
		s.worker("GET", user+"/manager", nil).want(t, 200, "")              // deeper path
		s.as("identity-router", "GET", user, nil).want(t, 200, "")          // another app
		s.worker("PATCH", user, `{"accountEnabled":true}`).want(t, 204, "") // another verb
	}
	if got := s.Faults(); len(got) != 1 || got[0].Hits != 2 || got[0].ID != id {
		t.Errorf("faults %+v", got)
	}
	if !s.RemoveFault(id) || s.RemoveFault(id) {
		t.Error("RemoveFault must succeed once")
	}
	s.fault(graph.Fault{Kind: graph.FaultStatus, Status: 500, Count: -1})
	for range 5 {
		s.worker("GET", user, nil).want(t, 500, "generalException")
	}
	s.ClearFaults()
	s.worker("GET", user, nil).want(t, 200, "")

	for name, f := range map[string]graph.Fault{
		"no kind": {}, "unknown kind": {Kind: "explode"}, "status of success": {Kind: graph.FaultStatus, Status: 200}, "stars in the middle": {Kind: graph.FaultCut, Path: "/**/x"},
	} {
		if _, err := s.AddFault(f); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFaultInABatchItem(t *testing.T) {
	s := start(t)
	s.fault(graph.Fault{Kind: graph.FaultStatus, Status: 503, Path: "/users/" + joiner})
	got := s.batch("v1.0", get("1", "/users/"+joiner), get("2", "/users/"+sixMethods))
	if got["1"].status() != 503 || got["2"].status() != 200 {
		t.Errorf("answers %v", got)
	}
	s.fault(graph.Fault{Kind: graph.FaultCut, Path: "/users/" + joiner})
	if a, err := s.try("identity-worker", "POST", "/v1.0/$batch", map[string]any{"requests": []item{get("1", "/users/"+joiner)}}); err == nil {
		t.Errorf("the batch was answered: %d %s", a.status, a.text)
	}
}

func TestLatency(t *testing.T) {
	s := start(t)
	s.token("identity-worker")
	s.SetLatency(time.Second)
	done := make(chan answer, 1)
	go func() { done <- s.worker("GET", "/v1.0/users/"+joiner, nil) }()
	if err := s.clock.AwaitPending(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(time.Second)
	if a := <-done; a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	if last := s.Requests()[len(s.Requests())-1]; last.Duration != time.Second {
		t.Errorf("logged duration %v, want 1s", last.Duration)
	}
}
