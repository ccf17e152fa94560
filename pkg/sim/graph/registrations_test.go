package graph_test

import (
	"fmt"
	"net/url"
	"testing"

	"mfaflow/pkg/sim/graph"
)

const registrations = "/v1.0/reports/authenticationMethods/userRegistrationDetails"

// A method that the policy forbids is registered, and makes nobody capable.
func TestRegistrationDetails(t *testing.T) {
	s := startChanged(t, func(t *graph.Tenant) {
		t.Policies.PasswordReset = graph.PasswordReset{Targets: []graph.Target{{TargetType: "group", ID: "all_users"}}, Methods: 2}
		t.User(phonesOnly).DefaultMethod = mobileID
	})
	get := func(user string) map[string]any {
		t.Helper()
		return s.as("readiness-report", "GET", registrations+"/"+user, nil).want(t, 200, "").body
	}
	check := func(user string, want map[string]any) {
		t.Helper()
		got := get(user)
		for name, v := range want {
			if fmt.Sprint(got[name]) != fmt.Sprint(v) {
				t.Errorf("%s: %s is %v, want %v", got["userPrincipalName"], name, got[name], v)
			}
		}
	}
	check(phonesOnly, map[string]any{"isMfaRegistered": true, "isMfaCapable": true, "isPasswordlessCapable": false, "isSsprRegistered": true, "isSsprEnabled": true,
		"isSsprCapable": true, "isAdmin": false, "userType": "member", "methodsRegistered": []any{"mobilePhone", "alternateMobilePhone", "officePhone"},
		"systemPreferredAuthenticationMethods": []any{"sms"}, "userPreferredMethodForSecondaryAuthentication": "sms", "isSystemPreferredAuthenticationMethodEnabled": true})
	check(joiner, map[string]any{"isMfaRegistered": false, "isMfaCapable": false, "isSsprRegistered": false, "methodsRegistered": []any{},
		"systemPreferredAuthenticationMethods": []any{}, "userPreferredMethodForSecondaryAuthentication": "none"})
	check(sixMethods, map[string]any{"isPasswordlessCapable": true, "systemPreferredAuthenticationMethods": []any{"push"}, "userPreferredMethodForSecondaryAuthentication": "push"})
	check(administrator, map[string]any{"isAdmin": true})
	check(roleGroupMember, map[string]any{"isAdmin": true}) // through a group
	check(eligible, map[string]any{"isAdmin": false})       // a role that is not active
	check(externalGuest, map[string]any{"userType": "guest"})

	s.as("tenant-administrator", "PATCH", configurations+"/Sms", `{"@odata.type":"#microsoft.graph.smsAuthenticationMethodConfiguration","state":"disabled"}`).want(t, 204, "")
	check(phonesOnly, map[string]any{"isMfaRegistered": true, "isMfaCapable": false, "systemPreferredAuthenticationMethods": []any{}})

	s.as("readiness-report", "GET", registrations+"/10000000-0000-4000-8000-000000000025", nil).want(t, 404, "Request_ResourceNotFound") // disabled
	s.as("readiness-report", "GET", registrations+"/"+joiner+"?$select=id", nil).want(t, 400, "BadRequest")
	s.as("identity-router", "GET", registrations, nil).want(t, 403, "Authentication_MSGraphPermissionMissing")
}

func TestRegistrationFilters(t *testing.T) {
	s := start(t)
	count := func(filter string) int {
		t.Helper()
		return len(s.as("readiness-report", "GET", filtered(registrations, filter), nil).want(t, 200, "").value())
	}
	all := len(s.as("readiness-report", "GET", registrations, nil).value())
	if capable, not := count("isMfaCapable eq true"), count("isMfaCapable eq false"); capable == 0 || not == 0 || capable+not != all {
		t.Errorf("%d capable, %d not, of %d", capable, not, all)
	}
	if n := count("methodsRegistered/any(x:x eq 'fido2')"); n < 4 {
		t.Errorf("%d with a security key", n)
	}
	if n := count("startsWith(userPrincipalName,'mei.')"); n != 1 {
		t.Errorf("%d called Mei", n)
	}
	for _, filter := range []string{"isMfaCapable ne true", "endsWith(userPrincipalName,'x')", "methodsRegistered/any(x:x ne 'fido2')", "lastUpdatedDateTime ge 2026-01-01T00:00:00Z"} {
		s.as("readiness-report", "GET", filtered(registrations, filter), nil).want(t, 400, "BadRequest")
	}
	s.as("readiness-report", "GET", registrations+"?$orderby="+url.QueryEscape("userDisplayName desc"), nil).want(t, 200, "")
	s.as("readiness-report", "GET", registrations+"?$orderby=isAdmin", nil).want(t, 400, "BadRequest")
}
