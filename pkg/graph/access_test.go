package graph_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

func TestSetEnabled(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	for _, enabled := range []bool{false, false, true, true} {
		if err := c.SetEnabled(t.Context(), mia, enabled); err != nil {
			t.Fatal(err)
		}
		if a, err := c.Account(t.Context(), mia); err != nil || a.Enabled != enabled {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if err := c.SetEnabled(t.Context(), nobody, false); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	// The permission alone does not reach an administrator.
	err := c.SetEnabled(t.Context(), admin, false)
	if !errors.Is(err, identity.ErrForbidden) || !strings.Contains(err.Error(), "Privileged Authentication Administrator") {
		t.Errorf("an administrator: %v", err)
	}
	for _, afterEffect := range []bool{false, true} {
		arm(t, s, sim.Fault{Kind: sim.FaultCut, Method: "PATCH", AfterEffect: afterEffect})
		checkClass(t, c.SetEnabled(t.Context(), mia, false), outcome{unknown: true}, true)
		if u, _ := s.User(string(mia)); u.AccountEnabled == afterEffect {
			t.Errorf("cut after the effect %v: enabled %v", afterEffect, u.AccountEnabled)
		}
	}
}

func TestRevokeSessions(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	before := time.Now().Add(-time.Second)
	if err := c.RevokeSessions(t.Context(), sean); err != nil {
		t.Fatal(err)
	}
	a, err := c.Account(t.Context(), sean)
	if err != nil || a.SessionsValidFrom.Before(before) {
		t.Errorf("sessions count since %v, %v", a.SessionsValidFrom, err)
	}
	if err := c.RevokeSessions(t.Context(), guest); !errors.Is(err, identity.ErrRefused) || !strings.Contains(err.Error(), "external") {
		t.Errorf("an external guest: %v", err)
	}
	for _, answer := range []*http.Response{says(200, `{"value":true}`), says(202, `what`), {StatusCode: 204, Header: http.Header{}, Body: http.NoBody}} {
		c := wired(t, func(*http.Request) (*http.Response, error) { return answer, nil })
		if err := c.RevokeSessions(t.Context(), sean); err != nil {
			t.Errorf("%d: %v", answer.StatusCode, err)
		}
	}
}

// Who is a member already stays one; groups whose members come from elsewhere refuse.
func TestAddToGroup(t *testing.T) {
	const strict, carriers, rules = "99999999-0000-4000-8000-000000009001", "99999999-0000-4000-8000-000000009002", "99999999-0000-4000-8000-000000009003"
	s := tenant(t)
	c := worker(t, s)
	for range 2 {
		if err := c.AddToGroup(t.Context(), sean, strict); err != nil {
			t.Fatal(err)
		}
	}
	m, err := c.Membership(t.Context(), sean)
	if err != nil || !slices.Contains(m.Groups, strict) {
		t.Errorf("%v, %v", m.Groups, err)
	}
	s.Mutate(func(t *sim.Tenant) {
		for _, g := range t.Groups {
			if g.ID == rules {
				g.GroupTypes = []string{"DynamicMembership"}
			}
		}
	})
	if err := c.AddToGroup(t.Context(), sean, rules); !errors.Is(err, identity.ErrRefused) || !strings.Contains(err.Error(), "come from a rule") {
		t.Errorf("a dynamic group: %v", err)
	}
	if err := c.AddToGroup(t.Context(), sean, carriers); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("a role-assignable group: %v", err)
	}
	if err := c.AddToGroup(t.Context(), sean, "20000000-0000-4000-8000-00000000ffff"); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("no such group: %v", err)
	}
	if err := c.AddToGroup(t.Context(), sean, "payments"); err == nil {
		t.Error("a name is no id")
	}
	arm(t, s, sim.Fault{Kind: sim.FaultCut, Method: "POST", AfterEffect: true})
	checkClass(t, c.AddToGroup(t.Context(), mia, strict), outcome{unknown: true}, true)
	if err := c.AddToGroup(t.Context(), mia, strict); err != nil {
		t.Errorf("again after an answer that was cut off: %v", err)
	}
}

func TestSetRandomPassword(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	before := time.Now().Add(-time.Second)
	if err := c.SetRandomPassword(t.Context(), sean); err != nil {
		t.Fatal(err) // the simulator judges its strength
	}
	if u, _ := s.User(string(sean)); !u.ForceChangePassword {
		t.Error("it need not be changed")
	}
	if a, err := c.Account(t.Context(), sean); err != nil || a.LastPasswordChange.Before(before) {
		t.Errorf("password changed at %v, %v", a.LastPasswordChange, err)
	}
	if err := c.SetRandomPassword(t.Context(), mia); !errors.Is(err, identity.ErrRefused) {
		t.Errorf("an account of an on-premises directory: %v", err)
	}
	if err := c.SetRandomPassword(t.Context(), admin); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("an administrator: %v", err)
	}
}

// The password is on the wire and nowhere else, and never the same.
func TestRandomPasswordIsSecret(t *testing.T) {
	seen := map[string]bool{}
	for _, status := range []int{204, 400, 403, 500} {
		var body string
		c := wired(t, func(r *http.Request) (*http.Response, error) {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			body = string(data)
			return says(status, body), nil // Graph quotes what it got
		})
		ctx, calls := correlation.Collect(t.Context())
		err := c.SetRandomPassword(ctx, sean)
		_, rest, _ := strings.Cut(body, `"password":"`)
		password, _, _ := strings.Cut(rest, `"`)
		if len(password) != 64 || seen[password] || !strings.Contains(body, `"forceChangePasswordNextSignIn":true`) {
			t.Fatalf("body %s", body)
		}
		seen[password] = true
		if text := fmt.Sprintf("%+v %#v %v", calls.List(), err, err); strings.Contains(text, password) {
			t.Errorf("%d: the password shows", status)
		}
	}
}

func TestRisk(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	none := identity.Risk{Level: identity.RiskNone, State: identity.RiskStateNone}
	for _, id := range []identity.UserID{sean, nobody} {
		if r, err := c.Risk(t.Context(), id); err != nil || r != none || r.Active() {
			t.Errorf("never judged: %+v, %v", r, err)
		}
	}
	before := time.Now().Add(-time.Second)
	for _, tc := range []struct {
		level, state string
		active       bool
	}{
		{"high", "atRisk", true}, {"high", "confirmedCompromised", true}, {"medium", "atRisk", true}, {"hidden", "atRisk", true},
		{"none", "dismissed", false}, {"none", "remediated", false}, {"none", "confirmedSafe", false},
	} {
		if err := s.SetRisk(string(sean), tc.level, tc.state); err != nil {
			t.Fatal(err)
		}
		r, err := c.Risk(t.Context(), sean)
		if err != nil || string(r.Level) != tc.level || string(r.State) != tc.state || r.Active() != tc.active || r.UpdatedAt.Before(before) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	for _, body := range []string{
		`{"riskLevel":"unknownFutureValue","riskState":"atRisk"}`, `{"riskLevel":"high","riskState":"onFire"}`, `{"riskLevel":"high"}`,
		`{"riskLevel":"high","riskState":"atRisk","riskLastUpdatedDateTime":"soon"}`,
	} {
		c := wired(t, func(*http.Request) (*http.Response, error) { return says(200, body), nil })
		r, err := c.Risk(t.Context(), sean)
		if err == nil {
			t.Fatalf("%s reads as %+v", body, r)
		}
		checkClass(t, err, outcome{}, false)
	}
}

func TestCountUsers(t *testing.T) {
	s := tenant(t)
	if n, err := worker(t, s).CountUsers(t.Context()); err != nil || n != len(s.Users()) {
		t.Errorf("%d, %v; want %d", n, err, len(s.Users()))
	}
	c := wired(t, func(*http.Request) (*http.Response, error) {
		return says(200, "\ufeff12345\r\n", "Content-Type", "text/plain"), nil
	})
	if n, err := c.CountUsers(t.Context()); err != nil || n != 12345 {
		t.Errorf("with a byte order mark: %d, %v", n, err)
	}
}
