package graph_test

import (
	"fmt"
	"strings"
	"testing"

	"mfaflow/pkg/sim/graph"
)

const (
	betaSignIns = "/beta/auditLogs/signIns"
	azurePortal = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"
	azureCLI    = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
)

// Neither version tells of sign-ins without a person unless it is asked for them.
func TestSignInEvents(t *testing.T) {
	s := bare(t, nil)
	add := func(in graph.SignIn) string {
		t.Helper()
		at := t0
		in.Time = &at
		id, err := s.AddSignIn(in)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	portal := add(graph.SignIn{User: administrator, AppID: azurePortal, Requirement: "multiFactorAuthentication",
		Required: []graph.RequirementSource{{Provider: "multiConditionalAccess", Detail: "Conditional Access"}},
		Steps:    []graph.AuthenticationDetail{{Method: "Password", Succeeded: true, Requirement: "Primary authentication"}},
		Policies: []graph.AppliedPolicy{{ID: "p1", DisplayName: "Require MFA", Result: "success", GrantControls: []string{"Mfa"}}, {ID: "p2", Result: "reportOnlyFailure"}}, Access: "success"})
	script := add(graph.SignIn{User: sender, AppID: azureCLI, Event: "nonInteractiveUser", Protocol: "ropc", Client: "Mobile Apps and Desktop clients", Agent: "azsdk-go"})

	ask := func(path, filter string) []string {
		t.Helper()
		if filter != "" {
			path = filtered(path, filter)
		}
		return s.as("readiness-report", "GET", path, nil).want(t, 200, "").ids()
	}
	for _, tc := range []struct {
		path, filter string
		want         []string
	}{
		{signIns, "", []string{portal}},
		{betaSignIns, "", []string{portal}},
		{signIns, "appId eq '" + azureCLI + "'", nil},
		{signIns, "appId eq '" + strings.ToUpper(azurePortal) + "'", []string{portal}},
		{betaSignIns, "signInEventTypes/any(t: t eq 'nonInteractiveUser')", []string{script}},
		{betaSignIns, "appId eq '" + azureCLI + "' and signInEventTypes/any(t: t eq 'nonInteractiveUser')", []string{script}},
		{betaSignIns, "signInEventTypes/any(t: t ne 'interactiveUser')", []string{script}},
		{betaSignIns, "authenticationRequirement eq 'multiFactorAuthentication'", []string{portal}},
		{signIns, "resourceId eq '797f4846-ba00-4fd7-ba43-dac1f8f63013'", []string{portal}},
	} {
		if got := ask(tc.path, tc.filter); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s %s: %v, want %v", tc.path, tc.filter, got, tc.want)
		}
	}
	for _, path := range []string{filtered(signIns, "signInEventTypes/any(t: t eq 'nonInteractiveUser')"), filtered(signIns, "authenticationRequirement eq 'x'"),
		filtered(betaSignIns, "signInEventTypes/any(t: startsWith(t,'non'))"), filtered(betaSignIns, "authenticationProtocol eq 'ropc'")} {
		s.as("readiness-report", "GET", path, nil).want(t, 400, "BadRequest")
	}

	one := s.as("readiness-report", "GET", signIns, nil).value()[0].(map[string]any)
	if one["appDisplayName"] != "Azure Portal" || one["resourceDisplayName"] != "Windows Azure Service Management API" || one["authenticationRequirement"] != nil || one["conditionalAccessStatus"] != "success" {
		t.Errorf("v1.0 entry %v", one)
	}
	results := func(a answer) string {
		var got []string
		for _, p := range a.value()[0].(map[string]any)["appliedConditionalAccessPolicies"].([]any) {
			got = append(got, fmt.Sprint(p.(map[string]any)["result"]))
		}
		return strings.Join(got, " ")
	}
	if got := results(s.as("readiness-report", "GET", signIns, nil)); got != "success unknownFutureValue" {
		t.Errorf("applied policies %s", got)
	}
	if got := results(s.as("readiness-report", "GET", signIns, nil, "Prefer", "include-unknown-enum-members")); got != "success reportOnlyFailure" {
		t.Errorf("applied policies, all members %s", got)
	}
	if got := results(s.sweep("GET", signIns, nil)); got != "" { // it may not read policies
		t.Errorf("applied policies for everybody %s", got)
	}
	beta := s.as("readiness-report", "GET", filtered(betaSignIns, "signInEventTypes/any(t: t eq 'nonInteractiveUser')"), nil).value()[0].(map[string]any)
	if beta["authenticationProtocol"] != "ropc" || beta["isInteractive"] != false || fmt.Sprint(beta["signInEventTypes"]) != "[nonInteractiveUser]" || beta["userAgent"] != "azsdk-go" ||
		beta["authenticationRequirement"] != "singleFactorAuthentication" || beta["clientAppUsed"] != "Mobile Apps and Desktop clients" {
		t.Errorf("beta entry %v", beta)
	}
	for _, bad := range []graph.SignIn{{User: joiner, Event: "robot"}, {User: joiner, Protocol: "smoke"}, {User: joiner, Requirement: "three"}, {User: joiner, Policies: []graph.AppliedPolicy{{Result: "perhaps"}}}} {
		if _, err := s.AddSignIn(bad); err == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

// A guest is logged by the true address, a page holds a thousand.
func TestSignInPagesAndGuests(t *testing.T) {
	s := bare(t, nil)
	for range 1001 {
		if _, err := s.AddSignIn(graph.SignIn{User: externalGuest, AppID: azurePortal}); err != nil {
			t.Fatal(err)
		}
	}
	a := s.as("readiness-report", "GET", betaSignIns, nil).want(t, 200, "")
	first := a.value()[0].(map[string]any)
	if len(a.value()) != 1000 || first["userPrincipalName"] != "fabrice.morel@partner.example" || first["userType"] != "guest" || first["crossTenantAccessType"] != "b2bCollaboration" {
		t.Errorf("%d on a page, %v", len(a.value()), first)
	}
	rest := s.as("readiness-report", "GET", a.body["@odata.nextLink"].(string), nil).want(t, 200, "")
	if len(rest.value()) != 1 || rest.body["@odata.nextLink"] != nil {
		t.Errorf("%d on the last page", len(rest.value()))
	}
}
