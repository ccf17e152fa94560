package graph_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mfaflow/pkg/sim/graph"
)

// Each trap that the sample sets for a report of readiness is one as the simulator sees
// it, and says so in its note.
func TestSampleTraps(t *testing.T) {
	s := start(t)
	id := func(n int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", n) }
	registration := func(user string) map[string]any {
		t.Helper()
		return s.as("readiness-report", "GET", registrations+"/"+user, nil).want(t, 200, "").body
	}
	for name, tc := range map[string]struct {
		user       int
		exchange   string // interactive, ordinary application
		portal     string
		registered string // isMfaRegistered, isMfaCapable, methodsRegistered
	}{
		"break-glass, phishing-resistant":        {18, "in", "mfa [fido2]", "true true [fido2]"},
		"break-glass, not phishing-resistant":    {29, "in", "mfa [password,microsoftAuthenticatorPush password,softwareOath]", "true true [microsoftAuthenticatorPush softwareOneTimePasscode]"},
		"service account":                        {30, "in", "register [microsoftAuthenticator softwareOath phone]", "false false []"},
		"text messages only":                     {31, "mfa [password,sms]", "mfa [password,sms]", "true true [mobilePhone]"},
		"calls only":                             {32, "mfa [password,voice]", "mfa [password,voice]", "true true [officePhone]"},
		"eligible without a method":              {33, "register [microsoftAuthenticator softwareOath phone]", "register [microsoftAuthenticator softwareOath phone]", "false false []"},
		"excluded by a nested group":             {34, "in", "register [microsoftAuthenticator softwareOath phone]", "false false []"},
		"guest, not covered":                     {35, "in", "register [microsoftAuthenticator softwareOath phone]", "false false []"},
		"guest, covered":                         {23, "register [microsoftAuthenticator softwareOath phone]", "register [microsoftAuthenticator softwareOath phone]", "false false []"},
		"report-only":                            {36, "in", "mfa [password,microsoftAuthenticatorPush password,softwareOath]", "true true [microsoftAuthenticatorPush softwareOneTimePasscode]"},
		"forbidden method":                       {38, "register [microsoftAuthenticator phone]", "register [microsoftAuthenticator phone]", "true false [softwareOneTimePasscode]"},
		"strength required":                      {39, "register [fido2]", "register [fido2]", "true true [microsoftAuthenticatorPush softwareOneTimePasscode mobilePhone]"},
		"portal, cannot do MFA":                  {9, "register [microsoftAuthenticator softwareOath phone]", "register [microsoftAuthenticator softwareOath phone]", "false false []"},
		"administrator through a group":          {17, "mfa [password,microsoftAuthenticatorPush password,softwareOath]", "mfa [password,microsoftAuthenticatorPush password,softwareOath]", "true true [microsoftAuthenticatorPush softwareOneTimePasscode]"},
		"per-user MFA beside Conditional Access": {37, "mfa [password,microsoftAuthenticatorPush password,softwareOath]", "mfa [password,microsoftAuthenticatorPush password,softwareOath]", "true true [microsoftAuthenticatorPush softwareOneTimePasscode]"},
		"disabled: no longer anybody's concern":  {28, "account-disabled", "account-disabled", ""},
	} {
		u, _ := s.User(id(tc.user))
		if !strings.Contains(u.Note, "readiness: ") {
			t.Errorf("%s: the note of %s is %q", name, u.UserPrincipalName, u.Note)
		}
		if got := brief(s.judge(graph.Attempt{User: id(tc.user)})); got != tc.exchange {
			t.Errorf("%s: mail %s, want %s", name, got, tc.exchange)
		}
		if got := brief(s.judge(graph.Attempt{User: id(tc.user), App: azurePortal})); got != tc.portal {
			t.Errorf("%s: portal %s, want %s", name, got, tc.portal)
		}
		if tc.registered != "" {
			r := registration(id(tc.user))
			if got := fmt.Sprint(r["isMfaRegistered"], " ", r["isMfaCapable"], " ", r["methodsRegistered"]); got != tc.registered {
				t.Errorf("%s: registered %s, want %s", name, got, tc.registered)
			}
		}
	}
	// The script goes on reading, and stops changing anything.
	script := graph.Attempt{User: id(30), App: azureCLI, Flow: graph.PasswordGrant}
	if got := brief(s.judge(script)); got != "in" {
		t.Errorf("the script that reads: %s", got)
	}
	script.Changes = true
	if got := brief(s.judge(script)); got != "nobody-there-for-mfa" {
		t.Errorf("the script that changes: %s", got)
	}
	by := func(path, filter string) int {
		t.Helper()
		return len(s.as("readiness-report", "GET", filtered(path, filter), nil).want(t, 200, "").value())
	}
	if n := by(signIns, "userId eq '"+id(30)+"'"); n != 0 {
		t.Errorf("%d interactive sign-ins of the script", n)
	}
	if n := by(betaSignIns, "signInEventTypes/any(t: t eq 'nonInteractiveUser') and userId eq '"+id(30)+"'"); n != 6 {
		t.Errorf("%d sign-ins of the script", n)
	}
	if n := by(signIns, "appId eq '"+azurePortal+"' and userId eq '"+id(9)+"'"); n != 2 {
		t.Errorf("%d sign-ins to the portal without MFA", n)
	}
	if a := s.as("readiness-report", "GET", "/beta/users/"+id(37)+"/authentication/requirements", nil).want(t, 200, ""); a.body["perUserMfaState"] != "enforced" {
		t.Errorf("per-user MFA %s", a.text)
	}
	if n := by("/v1.0/servicePrincipals", "servicePrincipalType eq 'ManagedIdentity'"); n != 1 {
		t.Errorf("%d managed identities", n)
	}
}

// Another process judges sign-ins too.
func TestEvaluateByControl(t *testing.T) {
	s := start(t)
	a := s.as("", "POST", "/sim/evaluate", `{"user":"`+joiner+`","appId":"`+azurePortal+`","flow":"interactive"}`)
	var o graph.Outcome
	if err := json.Unmarshal([]byte(a.text), &o); err != nil || a.status != 200 || o.Verdict != graph.VerdictMustRegister || len(o.Demands) != 2 || len(o.Policies) != 4 {
		t.Errorf("%v, %d %s", err, a.status, a.text)
	}
	for _, bad := range []string{`{"user":"` + joiner + `"}`, `{"user":"nobody","flow":"interactive"}`, `{"user":"` + joiner + `","flow":"interactive","smoke":1}`} {
		if a := s.as("", "POST", "/sim/evaluate", bad); a.status != 400 {
			t.Errorf("%s: %d %s", bad, a.status, a.text)
		}
	}
}
