package graph_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

func TestMethods(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	if _, err := c.IssuePass(t.Context(), sean, identity.PassRequest{}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Methods(t.Context(), sean)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[identity.MethodKind]string{}
	for _, m := range got {
		if kinds[m.Kind] = m.ID; m.Kind == identity.MethodFIDO2 && !m.CreatedAt.Equal(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)) {
			t.Errorf("passkey created at %v", m.CreatedAt)
		}
	}
	for kind, id := range map[identity.MethodKind]string{
		identity.MethodPhone: "3179e48a-750b-4051-897c-87b9720928f7", identity.MethodFIDO2: "key-1",
		identity.MethodAuthenticator: "app-1", identity.MethodExternal: "ext-1", "palmScan": "palm-1",
	} {
		if kinds[kind] != id {
			t.Errorf("%s has id %q, want %q", kind, kinds[kind], id)
		}
	}
	if kinds[identity.MethodPassword] == "" || kinds[identity.MethodTemporaryAccessPass] == "" || len(got) != 7 {
		t.Errorf("methods %+v", got)
	}
	if got, err := c.Methods(t.Context(), mia); err != nil || len(got) != 1 || got[0].UsableForMFA() {
		t.Errorf("a blank account has %+v, %v", got, err)
	}
}

func TestPassLife(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	ctx := t.Context()
	if passes, err := c.Passes(ctx, mia); err != nil || len(passes) != 0 {
		t.Fatalf("Passes = %v, %v", passes, err)
	}

	start := time.Now().Add(48*time.Hour + 300*time.Millisecond)
	first, err := c.IssuePass(ctx, mia, identity.PassRequest{StartsAt: start, Lifetime: 8 * time.Hour, OneTime: true})
	if err != nil {
		t.Fatal(err)
	}
	if first.Lifetime != 8*time.Hour || !first.OneTime || first.Usable || first.Spent ||
		first.StartsAt.Before(start) || first.StartsAt.Sub(start) >= time.Second {
		t.Errorf("issued %+v for a start at %v", first.Pass, start)
	}
	if text := fmt.Sprintf("%v %+v %#v", first, first, first); strings.Contains(text, first.Value.Reveal()) {
		t.Error("the pass prints its value")
	}

	second, err := c.IssuePass(ctx, mia, identity.PassRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if second.Lifetime != 90*time.Minute || second.OneTime || !second.Usable || second.ID == first.ID {
		t.Errorf("issued %+v with the policy's defaults", second.Pass)
	}
	if values := s.IssuedPassValues(); !slices.Equal(values, []string{first.Value.Reveal(), second.Value.Reveal()}) {
		t.Error("the values are not those the directory issued")
	}
	if err := s.SignInWithPass(string(mia), second.Value.Reveal()); err != nil {
		t.Errorf("the pass does not work: %v", err)
	}
	passes, err := c.Passes(ctx, mia)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]identity.Pass{second.Pass}, passes); diff != "" {
		t.Errorf("listed (-want +got)\n%s", diff)
	}

	for range 2 { // the second time it is gone
		if err := c.DeletePass(ctx, mia, second.ID); err != nil {
			t.Errorf("DeletePass: %v", err)
		}
	}
	if left := s.Passes(string(mia)); len(left) != 0 {
		t.Errorf("left %v", left)
	}

	once, err := c.IssuePass(ctx, mia, identity.PassRequest{OneTime: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SignInWithPass(string(mia), once.Value.Reveal()); err != nil {
		t.Fatal(err)
	}
	if passes, err := c.Passes(ctx, mia); err != nil || len(passes) != 1 || !passes[0].Spent || passes[0].Usable {
		t.Errorf("a used one-time pass reads as %+v, %v", passes, err)
	}
}

func TestPassRefusals(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	for name, tc := range map[string]struct {
		who identity.UserID
		ask identity.PassRequest
	}{
		"external guest": {guest, identity.PassRequest{}},
		"excluded":       {excluded, identity.PassRequest{}},
		"too short":      {mia, identity.PassRequest{Lifetime: 10 * time.Minute}},
		"too long":       {mia, identity.PassRequest{Lifetime: 24 * time.Hour}},
		"in the past":    {mia, identity.PassRequest{StartsAt: time.Now().Add(-time.Hour)}},
	} {
		if _, err := c.IssuePass(t.Context(), tc.who, tc.ask); !errors.Is(err, identity.ErrRefused) || !strings.Contains(err.Error(), "badRequest") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.IssuePass(t.Context(), nobody, identity.PassRequest{}); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	// An internal guest has credentials here and may have a pass.
	if _, err := c.IssuePass(t.Context(), inner, identity.PassRequest{}); err != nil {
		t.Errorf("internal guest: %v", err)
	}
}

func TestPassPolicy(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	got, err := c.PassPolicy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := identity.PassPolicy{
		Enabled: true, MinLifetime: 30 * time.Minute, MaxLifetime: 10 * time.Hour, DefaultLifetime: 90 * time.Minute,
		IncludeAll: true, ExcludeGroups: []string{"99999999-0000-4000-8000-000000009003"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	s.Mutate(func(d *sim.Tenant) {
		p := &d.Policies.TemporaryAccessPass
		p.State, p.UsableOnce = "disabled", true
		p.IncludeTargets = []sim.Target{{TargetType: "group", ID: "g-1"}, {TargetType: "user", ID: string(mia)}}
		p.ExcludeTargets = []sim.Target{{TargetType: "user", ID: string(boss)}}
	})
	got, err = c.PassPolicy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want.Enabled, want.OneTime, want.IncludeAll = false, true, false
	want.IncludeGroups, want.IncludeUsers = []string{"g-1"}, []string{string(mia)}
	want.ExcludeGroups, want.ExcludeUsers = nil, []string{string(boss)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed policy (-want +got)\n%s", diff)
	}
}

func TestUnknownExclusion(t *testing.T) {
	const policy = `{"@odata.type":"#microsoft.graph.temporaryAccessPassAuthenticationMethodConfiguration","state":"enabled",
		"defaultLifetimeInMinutes":60,"minimumLifetimeInMinutes":60,"maximumLifetimeInMinutes":480,"excludeTargets":[{"targetType":"device","id":"d"}]}`
	c := wired(t, func(*http.Request) (*http.Response, error) { return says(200, policy), nil })
	if p, err := c.PassPolicy(t.Context()); err == nil {
		t.Errorf("an exclusion of unknown kind was dropped: %+v", p)
	}
}
