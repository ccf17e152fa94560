package identity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/identity"
)

func TestMatches(t *testing.T) {
	account := identity.Account{ID: "0a", EmployeeID: "E1", UserPrincipalName: "Ana@contoso.example"}
	for name, c := range map[string]struct {
		ref             identity.Reference
		agrees, matched bool
	}{
		"all agree":                        {identity.Reference{ObjectID: "0A", EmployeeID: "e1", UserPrincipalName: "ana@CONTOSO.example"}, true, true},
		"one disagrees":                    {identity.Reference{EmployeeID: "E1", UserPrincipalName: "bo@contoso.example"}, false, true},
		"an empty attribute cannot":        {identity.Reference{EmployeeID: "E1", Mail: "ana@contoso.example"}, true, true},
		"only what the directory lacks":    {identity.Reference{Mail: "ana@contoso.example"}, true, false},
		"nothing said":                     {identity.Reference{}, true, false},
		"nothing in common but a mismatch": {identity.Reference{EmployeeID: "E2"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if agrees, matched := account.Matches(c.ref); agrees != c.agrees || matched != c.matched {
				t.Errorf("agrees %v, matched %v", agrees, matched)
			}
		})
	}
}

func TestPolicyCovers(t *testing.T) {
	for name, c := range map[string]struct {
		policy identity.PassPolicy
		want   bool
	}{
		"everybody":              {identity.PassPolicy{Enabled: true, IncludeAll: true}, true},
		"disabled":               {identity.PassPolicy{IncludeAll: true}, false},
		"nobody":                 {identity.PassPolicy{Enabled: true}, false},
		"a group":                {identity.PassPolicy{Enabled: true, IncludeGroups: []string{"G2"}}, true},
		"another group":          {identity.PassPolicy{Enabled: true, IncludeGroups: []string{"g9"}}, false},
		"the person":             {identity.PassPolicy{Enabled: true, IncludeUsers: []string{"U"}}, true},
		"excluded group wins":    {identity.PassPolicy{Enabled: true, IncludeAll: true, ExcludeGroups: []string{"G1"}}, false},
		"excluded person wins":   {identity.PassPolicy{Enabled: true, IncludeGroups: []string{"g1"}, ExcludeUsers: []string{"u"}}, false},
		"exclusion of others no": {identity.PassPolicy{Enabled: true, IncludeAll: true, ExcludeGroups: []string{"g9"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.policy.Covers("u", []string{"g1", "g2"}); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestUnknownMethodsCountAsUsable(t *testing.T) {
	for kind, want := range map[identity.MethodKind]bool{
		identity.MethodPassword: false, identity.MethodEmail: false, identity.MethodTemporaryAccessPass: false,
		identity.MethodPhone: true, identity.MethodFIDO2: true, "": true, "retinaScan": true,
	} {
		if got := (identity.Method{Kind: kind}).UsableForMFA(); got != want {
			t.Errorf("%q: got %v", kind, got)
		}
	}
}

func TestSecretHides(t *testing.T) {
	const value = "Xy7-secret"
	issued := identity.IssuedPass{Pass: identity.Pass{ID: "p"}, Value: identity.NewSecret(value)}
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&logged, nil), slog.NewTextHandler(&logged, nil)} {
		slog.New(h).Info("issued", "pass", issued, "value", issued.Value, "pointer", &issued)
	}
	marshalled, err := json.Marshal(issued)
	if err != nil {
		t.Fatal(err)
	}
	private := struct{ value identity.Secret }{issued.Value}
	printed := fmt.Sprintf("%v %+v %#v %s %v", issued, issued, issued, issued.Value, fmt.Errorf("pass %v", issued))
	printed += fmt.Sprintf("%v %+v %#v %d %q %x %+v", private, private, private, issued.Value, issued.Value, issued.Value, &private)
	for _, s := range []string{logged.String(), string(marshalled), printed} {
		if strings.Contains(s, value) {
			t.Errorf("the value shows in %s", s)
		}
	}
	if issued.Value.Reveal() != value {
		t.Error("Reveal does not reveal")
	}
}

func TestRetryErrorUnwraps(t *testing.T) {
	cause := errors.New("cut")
	err := fmt.Errorf("read: %w", &identity.RetryError{After: time.Second, Err: cause})
	var retry *identity.RetryError
	if !errors.As(err, &retry) || retry.After != time.Second || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}
