package graph_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/graph"
)

func passPath(user string) string {
	return "/v1.0/users/" + user + "/authentication/temporaryAccessPassMethods"
}

// issue creates a pass and returns its id and value.
func (s *sim) issue(user string, body any) (id, value string) {
	s.t.Helper()
	a := s.worker("POST", passPath(user), body).want(s.t, 201, "")
	return a.body["id"].(string), a.body["temporaryAccessPass"].(string)
}

func TestCreatePass(t *testing.T) {
	policy := func(change func(*graph.PassPolicy)) func(*graph.Tenant) {
		return func(tn *graph.Tenant) { change(&tn.Policies.TemporaryAccessPass) }
	}
	const outside = "Converged UserCredentialPolicy does not allow creating or updating this authentication method. AuthMethodType [TemporaryAccessPass]."
	for name, tc := range map[string]struct {
		user    string
		body    string
		setup   func(*graph.Tenant)
		status  int
		message string
		want    map[string]any // beside the constant parts
	}{
		"defaults": {user: joiner, body: `{}`, status: 201,
			want: map[string]any{"lifetimeInMinutes": 60.0, "isUsableOnce": false, "isUsable": true, "methodUsabilityReason": "EnabledByPolicy", "startDateTime": "2026-11-23T09:00:00Z"}},
		"no body": {user: joiner, status: 201,
			want: map[string]any{"lifetimeInMinutes": 60.0, "isUsableOnce": false, "isUsable": true, "methodUsabilityReason": "EnabledByPolicy", "startDateTime": "2026-11-23T09:00:00Z"}},
		"everything said, future start": {user: joiner, body: `{"startDateTime":"2026-12-01T07:30:00+01:00","lifetimeInMinutes":480,"isUsableOnce":true}`, status: 201,
			want: map[string]any{"lifetimeInMinutes": 480.0, "isUsableOnce": true, "isUsable": false, "methodUsabilityReason": "NotYetValid", "startDateTime": "2026-12-01T06:30:00Z"}},
		"one-time by policy": {user: joiner, body: `{}`, setup: policy(func(p *graph.PassPolicy) { p.UsableOnce = true }), status: 201,
			want: map[string]any{"lifetimeInMinutes": 60.0, "isUsableOnce": true, "isUsable": true, "methodUsabilityReason": "EnabledByPolicy", "startDateTime": "2026-11-23T09:00:00Z"}},
		"internal guest": {user: internalGuest, body: `{}`, status: 201,
			want: map[string]any{"lifetimeInMinutes": 60.0, "isUsableOnce": false, "isUsable": true, "methodUsabilityReason": "EnabledByPolicy", "startDateTime": "2026-11-23T09:00:00Z"}},
		"excluded, created all the same": {user: excluded, body: `{}`, setup: func(tn *graph.Tenant) { tn.Behaviour.PassOutsidePolicy = graph.PassCreated }, status: 201,
			want: map[string]any{"lifetimeInMinutes": 60.0, "isUsableOnce": false, "isUsable": false, "methodUsabilityReason": "DisabledByPolicy", "startDateTime": "2026-11-23T09:00:00Z"}},

		"external guest":             {user: externalGuest, body: `{}`, status: 400, message: "Temporary Access Pass cannot be added to an external guest user."},
		"excluded by a nested group": {user: excluded, body: `{}`, status: 400, message: outside},
		"not included":               {user: "reception@contoso.example", body: `{}`, status: 400, message: outside},
		"excluded by name": {user: joiner, body: `{}`, status: 400, message: outside, setup: policy(func(p *graph.PassPolicy) {
			p.ExcludeTargets = append(p.ExcludeTargets, graph.Target{TargetType: "user", ID: joiner})
		})},
		"policy disabled": {user: joiner, body: `{}`, status: 400, message: outside, setup: policy(func(p *graph.PassPolicy) { p.State = "disabled" })},
		"policy disabled, lenient outside": {user: joiner, body: `{}`, status: 400, message: outside, setup: func(tn *graph.Tenant) {
			tn.Policies.TemporaryAccessPass.State = "disabled"
			tn.Behaviour.PassOutsidePolicy = graph.PassCreated
		}},
		"too short":             {user: joiner, body: `{"lifetimeInMinutes":59}`, status: 400, message: "Invalid LifetimeInMinutes specified. The valid range between 60 and 480."},
		"too long":              {user: joiner, body: `{"lifetimeInMinutes":481}`, status: 400, message: "Invalid LifetimeInMinutes specified. The valid range between 60 and 480."},
		"start in the past":     {user: joiner, body: `{"startDateTime":"2026-11-23T08:59:59Z"}`, status: 400, message: "Invalid StartDateTime specified. It can not be a time in the past."},
		"start is no time":      {user: joiner, body: `{"startDateTime":"tomorrow"}`, status: 400, message: "Cannot convert the literal 'tomorrow' to the expected type 'Edm.DateTimeOffset'."},
		"multi-use not allowed": {user: joiner, body: `{"isUsableOnce":false}`, setup: policy(func(p *graph.PassPolicy) { p.UsableOnce = true }), status: 400, message: "Invalid IsUsableOnce specified. The policy allows one-time passes only."},
		"unknown user":          {user: "nobody", body: `{}`, status: 404, message: "Resource 'nobody' does not exist or one of its queried reference-property objects are not present."},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			if tc.setup != nil {
				s.Mutate(tc.setup)
			}
			var body any
			if tc.body != "" {
				body = tc.body
			}
			a := s.worker("POST", passPath(tc.user), body)
			if a.status != tc.status || a.errorMessage() != tc.message {
				t.Fatalf("answer %d %s", a.status, a.text)
			}
			if tc.status != 201 {
				if len(s.Passes(tc.user)) != 0 {
					t.Error("a refused request left a pass")
				}
				return
			}
			got := a.body
			value, _ := got["temporaryAccessPass"].(string)
			if len(value) != 8 {
				t.Errorf("the value has %d characters, want 8", len(value))
			}
			if got["@odata.type"] != "#microsoft.graph.temporaryAccessPassAuthenticationMethod" || got["createdDateTime"] != "2026-11-23T09:00:00Z" || got["id"] == "" {
				t.Errorf("answer %s", a.text)
			}
			for _, k := range []string{"temporaryAccessPass", "@odata.type", "@odata.context", "createdDateTime", "id"} {
				delete(got, k)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPassIsReplacedAndItsValueReadableOnce(t *testing.T) {
	s := start(t)
	first, firstValue := s.issue(joiner, nil)
	second, value := s.issue(joiner, nil)
	if first == second || firstValue == value {
		t.Fatal("the second pass is the first")
	}
	s.worker("GET", passPath(joiner)+"/"+first, nil).want(t, 404, "resourceNotFound")
	for _, path := range []string{passPath(joiner), passPath(joiner) + "/" + second,
		"/v1.0/users/" + joiner + "/authentication/methods", "/beta/users/" + joiner + "/authentication/methods/" + second} {
		a := s.worker("GET", path, nil).want(t, 200, "")
		if strings.Contains(a.text, value) || !strings.Contains(a.text, `"temporaryAccessPass":null`) {
			t.Errorf("GET %s shows the value or lacks the pass: %s", path, a.text)
		}
	}
	if got := s.worker("GET", passPath(joiner), nil).ids(); len(got) != 1 || got[0] != second {
		t.Errorf("list holds %v, want the second only", got)
	}
	if err := s.SignInWithPass(joiner, firstValue); !errors.Is(err, graph.ErrWrongPass) {
		t.Errorf("sign in with the replaced pass: %v", err)
	}
	if err := s.SignInWithPass(joiner, value); err != nil {
		t.Errorf("sign in with the valid pass: %v", err)
	}
	s.worker("DELETE", passPath(joiner)+"/"+second, nil).want(t, 204, "")
	s.worker("DELETE", passPath(joiner)+"/"+second, nil).want(t, 404, "resourceNotFound")
	if err := s.SignInWithPass(joiner, value); !errors.Is(err, graph.ErrWrongPass) {
		t.Errorf("sign in with the deleted pass: %v", err)
	}
	if got := s.IssuedPassValues(); !slices.Equal(got, []string{firstValue, value}) {
		t.Error("IssuedPassValues does not hold both values in order")
	}
}

func TestSignInWithPass(t *testing.T) {
	for name, tc := range map[string]struct {
		body   string
		change func(*graph.Tenant)
		after  time.Duration
		reason string
		want   error
	}{
		"valid":                {body: `{}`, reason: "EnabledByPolicy"},
		"last second":          {body: `{}`, after: time.Hour - time.Second, reason: "EnabledByPolicy"},
		"expired":              {body: `{}`, after: time.Hour, reason: "Expired", want: graph.ErrPassExpired},
		"not yet valid":        {body: `{"startDateTime":"2026-11-23T10:00:00Z"}`, after: 59 * time.Minute, reason: "NotYetValid", want: graph.ErrPassNotYetValid},
		"opens at its start":   {body: `{"startDateTime":"2026-11-23T10:00:00Z"}`, after: time.Hour, reason: "EnabledByPolicy"},
		"excluded later":       {body: `{}`, reason: "DisabledByPolicy", want: graph.ErrPassPolicy, change: func(tn *graph.Tenant) { tn.Policies.TemporaryAccessPass.IncludeTargets = nil }},
		"policy switched off":  {body: `{}`, reason: "DisabledByPolicy", want: graph.ErrPassPolicy, change: func(tn *graph.Tenant) { tn.Policies.TemporaryAccessPass.State = "disabled" }},
		"policy now one-time":  {body: `{}`, reason: "DisabledByPolicy", want: graph.ErrPassPolicy, change: func(tn *graph.Tenant) { tn.Policies.TemporaryAccessPass.UsableOnce = true }},
		"account disabled":     {body: `{}`, reason: "EnabledByPolicy", want: graph.ErrAccountDisabled, change: func(tn *graph.Tenant) { tn.User(joiner).AccountEnabled = false }},
		"account has vanished": {body: `{}`, reason: "", want: graph.ErrNoSuchUser, change: func(tn *graph.Tenant) { tn.Users = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			_, value := s.issue(joiner, tc.body)
			s.clock.Advance(tc.after)
			if tc.change != nil {
				s.Mutate(tc.change)
			}
			if got := s.PassReason(joiner); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
			if err := s.SignInWithPass(joiner, value); !errors.Is(err, tc.want) {
				t.Errorf("sign in: %v, want %v", err, tc.want)
			}
			if err := s.SignInWithPass(joiner, value+"x"); err == nil {
				t.Error("a wrong value signs in")
			}
		})
	}
}

func TestOneTimePassWorksOnce(t *testing.T) {
	s := start(t)
	id, value := s.issue(joiner, `{"isUsableOnce":true}`)
	if err := s.SignInWithPass(joiner, value); err != nil {
		t.Fatal(err)
	}
	if err := s.SignInWithPass(joiner, value); !errors.Is(err, graph.ErrPassPolicy) {
		t.Errorf("second sign-in: %v", err)
	}
	a := s.worker("GET", passPath(joiner)+"/"+id, nil).want(t, 200, "")
	if a.body["methodUsabilityReason"] != "OneTimeUsed" || a.body["isUsable"] != false {
		t.Errorf("after use: %s", a.text)
	}
	if u, _ := s.User(joiner); u.SignInActivity == nil || !u.SignInActivity.LastSignInDateTime.Equal(t0) {
		t.Error("the sign-in left no signInActivity")
	}
}

func TestPassPermissions(t *testing.T) {
	s := start(t)
	a := s.as("identity-router", "POST", passPath(joiner), `{}`).want(t, 403, "accessDenied")
	if a.errorMessage() != "Request Authorization failed" {
		t.Errorf("message %q", a.errorMessage())
	}
	s.as("identity-router", "GET", passPath(joiner), nil).want(t, 403, "accessDenied")
}

// The published example of a create answer has exactly the properties we send.
func TestPassAnswerHasTheDocumentedShape(t *testing.T) {
	example := readExample(t, "temporary-access-pass-create-response.json")
	s := start(t)
	a := s.worker("POST", passPath(joiner), `{"startDateTime":"2026-12-01T06:30:00Z"}`).want(t, 201, "")
	delete(a.body, "@odata.context")
	if diff := cmp.Diff(keys(example), keys(a.body)); diff != "" {
		t.Errorf("properties (-example +got):\n%s", diff)
	}
	for k, v := range example {
		if got := a.body[k]; fmt.Sprintf("%T", got) != fmt.Sprintf("%T", v) {
			t.Errorf("%s is a %T, in the example a %T", k, got, v)
		}
	}
	if a.body["methodUsabilityReason"] != example["methodUsabilityReason"] {
		t.Errorf("reason %v", a.body["methodUsabilityReason"])
	}
}

func readExample(t *testing.T, name string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func keys(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
