package graph_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

func arm(t *testing.T, s *sim.Server, f sim.Fault) {
	t.Helper()
	if _, err := s.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

func TestFaults(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	ctx := t.Context()

	t.Run("a read survives one cut and one 503", func(t *testing.T) {
		for _, f := range []sim.Fault{{Kind: sim.FaultCut}, {Kind: sim.FaultStatus, Status: 503}} {
			arm(t, s, f)
			if _, err := c.Manager(ctx, mia); err != nil {
				t.Errorf("%s: %v", f.Kind, err)
			}
		}
	})
	t.Run("a read fails after two", func(t *testing.T) {
		arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: 503, Count: 2})
		_, err := c.Manager(ctx, mia)
		checkClass(t, err, outcome{}, false)
	})
	t.Run("a read does not wait out Retry-After", func(t *testing.T) {
		arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: 503, RetryAfter: "30"})
		_, err := c.Manager(ctx, mia)
		checkClass(t, err, outcome{after: 30 * time.Second}, false)
	})
	t.Run("a write is sent once", func(t *testing.T) {
		for name, tc := range map[string]struct {
			fault sim.Fault
			want  outcome
		}{
			"cut before the effect": {sim.Fault{Kind: sim.FaultCut}, outcome{unknown: true}},
			"cut after the effect":  {sim.Fault{Kind: sim.FaultCut, AfterEffect: true}, outcome{unknown: true}},
			"503 after the effect":  {sim.Fault{Kind: sim.FaultStatus, Status: 503, AfterEffect: true}, outcome{unknown: true}},
			"429":                   {sim.Fault{Kind: sim.FaultStatus, Status: 429, RetryAfter: "4"}, outcome{after: 4 * time.Second}},
			"403":                   {sim.Fault{Kind: sim.FaultStatus, Status: 403}, outcome{is: identity.ErrForbidden}},
		} {
			tc.fault.Count = -1
			arm(t, s, tc.fault)
			s.ClearRequests()
			_, err := c.IssuePass(ctx, mia, identity.PassRequest{})
			checkClass(t, err, tc.want, true)
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%s: %d requests", name, n)
			}
			for _, value := range s.IssuedPassValues() {
				if strings.Contains(err.Error(), value) {
					t.Errorf("%s: the error shows the pass", name)
				}
			}
			s.ClearFaults()
		}
	})
	t.Run("throttled by the documented budget", func(t *testing.T) {
		s.SetThrottle(sim.Throttle{Factor: 1})
		defer s.SetThrottle(sim.Throttle{})
		var err error
		for range 6 { // 5 calls in 10 s are allowed
			if _, err = c.Passes(ctx, mia); err != nil {
				break
			}
		}
		var retry *identity.RetryError
		if !errors.As(err, &retry) || retry.After < time.Second || retry.After > 10*time.Second {
			t.Errorf("error %v", err)
		}
	})
	t.Run("hang until the caller leaves", func(t *testing.T) {
		arm(t, s, sim.Fault{Kind: sim.FaultHang})
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := c.PassPolicy(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("expired tokens", func(t *testing.T) {
		s.ExpireTokens()
		_, err := worker(t, s).PassPolicy(ctx) // a new credential asks anew
		if err != nil {
			t.Error(err)
		}
		_, err = c.PassPolicy(ctx)
		checkClass(t, err, outcome{is: identity.ErrForbidden}, false)
	})
}

func TestForbidden(t *testing.T) {
	s := tenant(t)
	c := as(t, s, "nothing", s.URL())
	for _, op := range operations {
		err := op.run(t.Context(), c)
		if !errors.Is(err, identity.ErrForbidden) || !containsAny(err.Error(), op.permission) {
			t.Errorf("%s: %v", op.name, err)
		}
	}
}

func TestRefusedApp(t *testing.T) {
	s := tenant(t)
	id, _ := s.App("worker")
	c := with(t, s, id, "not the secret", s.URL())
	_, err := c.PassPolicy(t.Context())
	if !errors.Is(err, identity.ErrForbidden) || !strings.Contains(err.Error(), "AADSTS7000215") || strings.Contains(err.Error(), "not the secret") {
		t.Errorf("error %v", err)
	}
}
