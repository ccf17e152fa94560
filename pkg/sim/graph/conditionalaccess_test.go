package graph_test

import (
	"fmt"
	"strings"
	"testing"

	"mfaflow/pkg/sim/graph"
)

const (
	accessPolicies = "/v1.0/identity/conditionalAccess/policies"
	strengths      = "/v1.0/policies/authenticationStrengthPolicies"
	defaultsPolicy = "/v1.0/policies/identitySecurityDefaultsEnforcementPolicy"
)

// admin calls Graph as the tenant's administrator.
func (s *sim) admin(method, path string, body any) answer {
	s.t.Helper()
	return s.as("tenant-administrator", method, path, body)
}

// accessBody is a policy to create: a good one, changed by replacing text.
func accessBody(replace ...string) string {
	return strings.NewReplacer(replace...).Replace(`{"displayName":"Require MFA","state":"enabledForReportingButNotEnforced","conditions":{"clientAppTypes":["all"],` +
		`"applications":{"includeApplications":["All"]},"users":{"includeUsers":["All"],"excludeGroups":["20000000-0000-4000-8000-000000000010"]}},` +
		`"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`)
}

func TestConditionalAccessLife(t *testing.T) {
	s := start(t)
	a := s.admin("POST", accessPolicies, accessBody()).want(t, 201, "")
	id := a.body["id"].(string)
	conditions := a.body["conditions"].(map[string]any)
	if a.body["createdDateTime"] == nil || a.body["modifiedDateTime"] != nil || conditions["platforms"] != nil ||
		fmt.Sprint(conditions["users"].(map[string]any)["includeRoles"]) != "[]" || fmt.Sprint(a.body["grantControls"].(map[string]any)["termsOfUse"]) != "[]" {
		t.Errorf("created %s", a.text)
	}
	if ids := s.admin("GET", filtered(accessPolicies, "state eq 'enabledForReportingButNotEnforced'"), nil).want(t, 200, "").ids(); len(ids) != 3 {
		t.Errorf("report-only %v", ids)
	}

	// What a body leaves out stays, inside objects as well.
	s.admin("PATCH", accessPolicies+"/"+id, `{"state":"disabled","conditions":{"users":{"excludeUsers":["`+joiner+`"]}}}`).want(t, 204, "")
	a = s.admin("GET", accessPolicies+"/"+id, nil).want(t, 200, "")
	users := a.body["conditions"].(map[string]any)["users"].(map[string]any)
	if a.body["state"] != "disabled" || a.body["displayName"] != "Require MFA" || len(users["excludeUsers"].([]any)) != 1 || len(users["excludeGroups"].([]any)) != 1 || a.body["modifiedDateTime"] == nil {
		t.Errorf("changed %s", a.text)
	}
	strength := `{"grantControls":{"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}}}`
	if a := s.admin("PATCH", accessPolicies+"/"+id, strength).want(t, 400, "BadRequest"); !strings.HasPrefix(a.errorMessage(), "1108:") {
		t.Errorf("the control mfa stays: %s", a.text)
	}
	s.admin("PATCH", accessPolicies+"/"+id, `{"grantControls":{"builtInControls":[],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}}}`).want(t, 204, "")
	a = s.admin("GET", accessPolicies+"/"+id, nil).want(t, 200, "")
	if shown := a.body["grantControls"].(map[string]any)["authenticationStrength"].(map[string]any); shown["displayName"] != "Phishing-resistant MFA" || len(shown["allowedCombinations"].([]any)) != 3 {
		t.Errorf("strength %v", shown)
	}
	s.admin("PATCH", accessPolicies+"/"+id, `{"displayName":"Stronger"}`).want(t, 204, "") // what it keeps of the strength is no obstacle

	s.admin("DELETE", accessPolicies+"/"+id, nil).want(t, 204, "")
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		s.admin(method, accessPolicies+"/"+id, `{}`).want(t, 404, "Request_ResourceNotFound")
	}
	s.as("readiness-report", "POST", accessPolicies, accessBody()).want(t, 403, "AccessDenied")
	s.as("readiness-report", "PATCH", accessPolicies+"/60000000-0000-4000-8000-000000000001", `{"state":"disabled"}`).want(t, 403, "AccessDenied")
	s.SetThrottle(graph.Throttle{Factor: 1})
	s.admin("GET", accessPolicies, nil).want(t, 200, "")
	if a := s.as("readiness-report", "GET", "/v1.0/identity/conditionalAccess/namedLocations", nil).want(t, 429, "TooManyRequests"); a.header.Get("Retry-After") != "" {
		t.Error("Conditional Access says when to come back")
	}
}

func TestConditionalAccessRefusals(t *testing.T) {
	s := start(t)
	for name, tc := range map[string]struct {
		body string
		want string // in the message
	}{
		"no body":                    {``, "1007:"},
		"unknown property":           {accessBody(`"displayName"`, `"smoke":1,"displayName"`), "1007:"},
		"unknown condition":          {accessBody(`"clientAppTypes":["all"]`, `"clientAppTypes":["all"],"smoke":[]`), "1007:"},
		"wrong type":                 {accessBody(`["all"]`, `"all"`), "1007:"},
		"an id":                      {accessBody(`"displayName"`, `"id":"x","displayName"`), "1001: 'id'"},
		"no name":                    {accessBody(`"Require MFA"`, `" "`), "displayName"},
		"unknown state":              {accessBody(`"enabledForReportingButNotEnforced"`, `"reportOnly"`), "state"},
		"no client types":            {accessBody(`["all"]`, `[]`), "clientAppTypes"},
		"unknown client type":        {accessBody(`["all"]`, `["fax"]`), "fax"},
		"no applications":            {accessBody(`"includeApplications":["All"]`, ``), "conditions.applications"},
		"unknown application":        {accessBody(`"includeApplications":["All"]`, `"includeApplications":["a-1"]`), "Application 'a-1'"},
		"unknown action":             {accessBody(`"includeApplications":["All"]`, `"includeUserActions":["urn:x"]`), "urn:x"},
		"no users":                   {accessBody(`"includeUsers":["All"],`, ``), "conditions.users"},
		"unknown user":               {accessBody(`["All"],"excludeGroups"`, `["u-1"],"excludeGroups"`), "User 'u-1'"},
		"unknown group":              {accessBody(`20000000-0000-4000-8000-000000000010`, `g-1`), "Group 'g-1'"},
		"unknown role":               {accessBody(`"includeUsers":["All"]`, `"includeRoles":["r-1"]`), "Role 'r-1'"},
		"all and others":             {accessBody(`"includeUsers":["All"]`, `"includeUsers":["All","`+joiner+`"]`), "'All'"},
		"guests twice":               {accessBody(`"includeUsers":["All"]`, `"includeUsers":["GuestsOrExternalUsers"],"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"internalGuest"}`), "cannot be combined"},
		"unknown guests":             {accessBody(`"includeUsers":["All"]`, `"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"martian"}`), "martian"},
		"unknown location":           {accessBody(`"clientAppTypes"`, `"locations":{"includeLocations":["l-1"]},"clientAppTypes"`), "Named location 'l-1'"},
		"no controls":                {accessBody(`,"grantControls":{"operator":"OR","builtInControls":["mfa"]}`, ``), "controls"},
		"empty controls":             {accessBody(`["mfa"]`, `[]`), "grantControls"},
		"unknown control":            {accessBody(`["mfa"]`, `["pray"]`), "pray"},
		"unknown operator":           {accessBody(`"OR"`, `"XOR"`), "XOR"},
		"block and another":          {accessBody(`["mfa"]`, `["mfa","block"]`), "block"},
		"strength and mfa":           {accessBody(`"builtInControls":["mfa"]`, `"builtInControls":["mfa"],"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}`), "1108:"},
		"unknown strength":           {accessBody(`"builtInControls":["mfa"]`, `"authenticationStrength":{"id":"s-1"}`), "'s-1'"},
		"a whole strength":           {accessBody(`"builtInControls":["mfa"]`, `"authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004","displayName":"x"}`), "1007:"},
		"change of password, no mfa": {accessBody(`["mfa"]`, `["passwordChange"]`), "passwordChange"},
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.admin("POST", accessPolicies, tc.body).want(t, 400, "BadRequest"); !strings.Contains(a.errorMessage(), tc.want) {
				t.Errorf("message %q, want one with %q", a.errorMessage(), tc.want)
			}
		})
	}
	if n := len(s.admin("GET", accessPolicies, nil).value()); n != 4 {
		t.Errorf("%d policies after refusals", n)
	}
}

// Security defaults and enabled policies keep each other out; report-only ones do not count.
func TestSecurityDefaultsBesidePolicies(t *testing.T) {
	s := startChanged(t, func(t *graph.Tenant) {
		t.Policies.SecurityDefaults.IsEnabled = true
		t.Policies.ConditionalAccess = nil
	})
	const text = "Security Defaults is enabled in the tenant. You must disable Security defaults before enabling a Conditional Access policy."
	if a := s.admin("POST", accessPolicies, accessBody("enabledForReportingButNotEnforced", "enabled")).want(t, 400, "BadRequest"); a.errorMessage() != text {
		t.Errorf("message %q", a.errorMessage())
	}
	id := s.admin("POST", accessPolicies, accessBody()).want(t, 201, "").body["id"].(string)
	if a := s.admin("PATCH", accessPolicies+"/"+id, `{"state":"enabled"}`).want(t, 400, "BadRequest"); a.errorMessage() != text {
		t.Errorf("message %q", a.errorMessage())
	}
	s.admin("PATCH", defaultsPolicy, `{"isEnabled":false}`).want(t, 204, "")
	s.admin("PATCH", accessPolicies+"/"+id, `{"state":"enabled"}`).want(t, 204, "")
	s.admin("PATCH", defaultsPolicy, `{"isEnabled":true}`).want(t, 400, "badRequest")
	if got := brief(s.judge(graph.Attempt{User: joiner})); !strings.HasPrefix(got, "register") {
		t.Errorf("the policy has no effect: %s", got)
	}
}

func TestNamedLocations(t *testing.T) {
	s := startChanged(t, func(t *graph.Tenant) {
		t.Policies.NamedLocations = []graph.Document{
			{"@odata.type": "#microsoft.graph.ipNamedLocation", "id": "office", "displayName": "Office", "isTrusted": true},
			{"@odata.type": "#microsoft.graph.countryNamedLocation", "id": "abroad", "displayName": "Abroad", "countriesAndRegions": []any{"US"}},
		}
	})
	const path = "/v1.0/identity/conditionalAccess/namedLocations"
	if ids := s.as("readiness-report", "GET", path, nil).want(t, 200, "").ids(); fmt.Sprint(ids) != "[office abroad]" {
		t.Errorf("locations %v", ids)
	}
	if ids := s.as("readiness-report", "GET", filtered(path, "displayName eq 'Abroad'"), nil).want(t, 200, "").ids(); fmt.Sprint(ids) != "[abroad]" {
		t.Errorf("filtered %v", ids)
	}
	s.as("readiness-report", "GET", path+"/office", nil).want(t, 200, "")
	s.as("readiness-report", "GET", path+"/moon", nil).want(t, 404, "Request_ResourceNotFound")
	s.admin("POST", accessPolicies, accessBody(`"clientAppTypes"`, `"locations":{"includeLocations":["abroad"]},"clientAppTypes"`)).want(t, 201, "")
}

func TestStrengths(t *testing.T) {
	s := start(t)
	const body = `{"displayName":"Keys","allowedCombinations":["fido2","password, sms"]}`
	a := s.admin("POST", strengths, body).want(t, 201, "")
	id := a.body["id"].(string)
	if a.body["policyType"] != "custom" || a.body["requirementsSatisfied"] != "mfa" || fmt.Sprint(a.body["allowedCombinations"]) != "[fido2 password,sms]" {
		t.Errorf("created %s", a.text)
	}
	policy := s.admin("POST", accessPolicies, accessBody(`"builtInControls":["mfa"]`, `"authenticationStrength":{"id":"`+id+`"}`)).want(t, 201, "").body["id"].(string)

	a = s.admin("POST", strengths+"/"+id+"/updateAllowedCombinations", `{"allowedCombinations":["fido2"]}`).want(t, 200, "")
	if fmt.Sprint(a.body["previousCombinations"], a.body["currentCombinations"], a.body["conditionalAccessReferences"]) != "[fido2 password,sms] [fido2] ["+policy+"]" {
		t.Errorf("combinations %s", a.text)
	}
	if a := s.admin("GET", accessPolicies+"/"+policy, nil); fmt.Sprint(a.body["grantControls"].(map[string]any)["authenticationStrength"].(map[string]any)["allowedCombinations"]) != "[fido2]" {
		t.Errorf("the policy shows %s", a.text)
	}
	if a := s.admin("GET", strengths+"/"+id+"/usage", nil).want(t, 200, ""); len(a.body["mfa"].([]any)) != 1 || len(a.body["none"].([]any)) != 0 {
		t.Errorf("usage %s", a.text)
	}
	s.admin("PATCH", strengths+"/"+id, `{"displayName":"Security keys"}`).want(t, 204, "")
	if ids := s.admin("GET", filtered(strengths, "policyType eq 'custom'"), nil).want(t, 200, "").ids(); fmt.Sprint(ids) != "["+id+"]" {
		t.Errorf("custom %v", ids)
	}
	const builtIn = strengths + "/00000000-0000-0000-0000-000000000004"
	for name, tc := range map[string]struct{ method, path, body string }{
		"nameless":                  {"POST", strengths, `{"allowedCombinations":["fido2"]}`},
		"nothing allowed":           {"POST", strengths, `{"displayName":"x","allowedCombinations":[]}`},
		"unknown combination":       {"POST", strengths, `{"displayName":"x","allowedCombinations":["fido2,smoke"]}`},
		"unknown property":          {"POST", strengths, `{"displayName":"x","allowedCombinations":["fido2"],"policyType":"builtIn"}`},
		"built-in":                  {"PATCH", builtIn, `{"displayName":"x"}`},
		"built-in, combinations":    {"POST", builtIn + "/updateAllowedCombinations", `{"allowedCombinations":["sms"]}`},
		"built-in, deleted":         {"DELETE", builtIn, ``},
		"combinations by PATCH":     {"PATCH", strengths + "/" + id, `{"allowedCombinations":["fido2"]}`},
		"weaker than policies need": {"POST", strengths + "/" + id + "/updateAllowedCombinations", `{"allowedCombinations":["password"]}`},
		"in use":                    {"DELETE", strengths + "/" + id, ``},
	} {
		if a := s.admin(tc.method, tc.path, tc.body); a.status != 400 || a.errorCode() != "badRequest" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	s.admin("DELETE", accessPolicies+"/"+policy, nil).want(t, 204, "")
	s.admin("DELETE", strengths+"/"+id, nil).want(t, 204, "")
	s.admin("GET", strengths+"/"+id, nil).want(t, 404, "Request_ResourceNotFound")
	for range 15 {
		s.admin("POST", strengths, body).want(t, 201, "")
	}
	s.admin("POST", strengths, body).want(t, 400, "badRequest")
	s.as("readiness-report", "POST", strengths, body).want(t, 403, "AccessDenied")
}
