package graph_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const configurations = "/v1.0/policies/authenticationMethodsPolicy/authenticationMethodConfigurations"

func TestPassPolicy(t *testing.T) {
	s := start(t)
	a := s.worker("GET", configurations+"/temporaryAccessPass", nil).want(t, 200, "")
	got := a.body
	want := readExample(t, "tap-policy-configuration.json")
	delete(got, "@odata.context")
	delete(want, "@odata.context")
	include, exclude := got["includeTargets"], got["excludeTargets"]
	delete(got, "includeTargets") // the example leaves the targets out
	delete(got, "excludeTargets")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-example +got):\n%s", diff)
	}
	if len(include.([]any)) != 2 || len(exclude.([]any)) != 1 {
		t.Errorf("targets %v, %v", include, exclude)
	}

	const typ = `"@odata.type":"#microsoft.graph.temporaryAccessPassAuthenticationMethodConfiguration"`
	s.as("event-replay", "PATCH", configurations+"/temporaryAccessPass", `{`+typ+`,"state":"disabled"}`).want(t, 403, "AccessDenied")
	for name, tc := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"without its type":         {`{"state":"disabled"}`, 400, "badRequest"},
		"unknown state":            {`{` + typ + `,"state":"off"}`, 400, "badRequest"},
		"default above maximum":    {`{` + typ + `,"defaultLifetimeInMinutes":500}`, 400, "badRequest"},
		"minimum under ten":        {`{` + typ + `,"minimumLifetimeInMinutes":5}`, 400, "badRequest"},
		"password too long":        {`{` + typ + `,"defaultLength":49}`, 400, "badRequest"},
		"wrong type of a property": {`{` + typ + `,"isUsableOnce":"yes"}`, 400, "badRequest"},
		"longer passes":            {`{` + typ + `,"defaultLength":12,"excludeTargets":[]}`, 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.as("tenant-administrator", "PATCH", configurations+"/TemporaryAccessPass", tc.body).want(t, tc.status, tc.code)
		})
	}
	if _, value := s.issue(excluded, nil); len(value) != 12 { // no longer excluded
		t.Errorf("value of %d characters, want 12", len(value))
	}
	s.as("tenant-administrator", "DELETE", configurations+"/temporaryAccessPass", nil).want(t, 204, "")
	if a = s.worker("GET", configurations+"/temporaryAccessPass", nil); a.body["state"] != "disabled" {
		t.Errorf("state after reset %v", a.body["state"])
	}
}

func TestMethodsPolicy(t *testing.T) {
	s := start(t)
	const path = "/v1.0/policies/authenticationMethodsPolicy"
	a := s.worker("GET", path, nil).want(t, 200, "")
	if a.body["policyMigrationState"] != "migrationComplete" || len(a.body["authenticationMethodConfigurations"].([]any)) != 10 {
		t.Errorf("policy %s", a.text)
	}
	campaign := func(a answer) map[string]any {
		return a.body["registrationEnforcement"].(map[string]any)["authenticationMethodsRegistrationCampaign"].(map[string]any)
	}
	a = s.as("tenant-administrator", "PATCH", path, `{"registrationEnforcement":{"authenticationMethodsRegistrationCampaign":{"state":"enabled"}}}`).want(t, 200, "")
	if c := campaign(a); c["state"] != "enabled" || c["snoozeDurationInDays"] != 1.0 {
		t.Errorf("campaign %v", c)
	}
	s.as("tenant-administrator", "PATCH", path, `{"policyVersion":"2"}`).want(t, 400, "badRequest")
	s.as("tenant-administrator", "PATCH", configurations+"/Voice", `{"@odata.type":"#microsoft.graph.voiceAuthenticationMethodConfiguration","state":"enabled"}`).want(t, 204, "")
	if a = s.worker("GET", configurations+"/voice", nil); a.body["state"] != "enabled" {
		t.Errorf("voice %v", a.body["state"])
	}
	if got := s.worker("GET", configurations, nil).want(t, 200, "").ids(); len(got) != 10 {
		t.Errorf("configurations %v", got)
	}
	s.worker("GET", configurations+"/smoke", nil).want(t, 404, "resourceNotFound")
}

func TestAccessPolicies(t *testing.T) {
	s := start(t)
	if got := s.worker("GET", "/v1.0/identity/conditionalAccess/policies", nil).want(t, 200, "").ids(); len(got) != 4 {
		t.Errorf("policies %v", got)
	}
	s.worker("GET", "/v1.0/identity/conditionalAccess/policies/60000000-0000-4000-8000-000000000002", nil).want(t, 200, "")
	if got := s.worker("GET", "/v1.0/policies/authenticationStrengthPolicies", nil).want(t, 200, "").ids(); len(got) != 3 {
		t.Errorf("strengths %v", got)
	}
	a := s.worker("GET", "/v1.0/policies/authenticationStrengthPolicies/00000000-0000-0000-0000-000000000004", nil).want(t, 200, "")
	if diff := cmp.Diff([]any{"windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"}, a.body["allowedCombinations"]); diff != "" {
		t.Errorf("combinations (-want +got):\n%s", diff)
	}
	const defaults = "/v1.0/policies/identitySecurityDefaultsEnforcementPolicy"
	if a := s.worker("GET", defaults, nil).want(t, 200, ""); a.body["isEnabled"] != false {
		t.Errorf("security defaults %s", a.text)
	}
	s.as("tenant-administrator", "PATCH", defaults, `{"isEnabled":true}`).want(t, 400, "badRequest") // beside enabled policies
	s.as("tenant-administrator", "PATCH", defaults, `{"isEnabled":false}`).want(t, 204, "")
	s.as("identity-router", "GET", "/v1.0/identity/conditionalAccess/policies", nil).want(t, 403, "AccessDenied")
}
