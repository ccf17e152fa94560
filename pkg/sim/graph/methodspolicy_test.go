package graph_test

import (
	"fmt"
	"strings"
	"testing"

	"mfaflow/pkg/sim/graph"
)

const (
	methodsPolicy     = "/v1.0/policies/authenticationMethodsPolicy"
	betaMethodsPolicy = "/beta/policies/authenticationMethodsPolicy"
)

func TestMethodsPolicyRules(t *testing.T) {
	s := start(t)
	campaign := func(fields string) string {
		return `{"registrationEnforcement":{"authenticationMethodsRegistrationCampaign":{` + fields + `}}}`
	}
	target := func(id, kind, method string) string {
		return fmt.Sprintf(`"includeTargets":[{"id":%q,"targetType":%q,"targetedAuthenticationMethod":%q}]`, id, kind, method)
	}
	for name, tc := range map[string]struct {
		path, body string
		status     int
	}{
		"campaign":                    {methodsPolicy, campaign(`"state":"enabled","snoozeDurationInDays":0,` + target(outerGroup, "group", "microsoftAuthenticator")), 200},
		"campaign for passkeys":       {methodsPolicy, campaign(target("all_users", "group", "fido2")), 200},
		"campaign, unknown state":     {methodsPolicy, campaign(`"state":"on"`), 400},
		"campaign, a long snooze":     {methodsPolicy, campaign(`"snoozeDurationInDays":15`), 400},
		"campaign, half a day":        {methodsPolicy, campaign(`"snoozeDurationInDays":0.5`), 400},
		"campaign, no such group":     {methodsPolicy, campaign(target("nobody", "group", "microsoftAuthenticator")), 400},
		"campaign, no such kind":      {methodsPolicy, campaign(target(joiner, "person", "microsoftAuthenticator")), 400},
		"campaign, no such method":    {methodsPolicy, campaign(target(joiner, "user", "sms")), 400},
		"campaign, unknown field":     {methodsPolicy, campaign(`"smoke":1`), 400},
		"campaign, limit in v1.0":     {methodsPolicy, campaign(`"enforceRegistrationAfterAllowedSnoozes":true`), 400},
		"campaign, limit in beta":     {betaMethodsPolicy, campaign(`"enforceRegistrationAfterAllowedSnoozes":true`), 200},
		"migration":                   {methodsPolicy, `{"policyMigrationState":"migrationInProgress"}`, 200},
		"migration, unknown":          {methodsPolicy, `{"policyMigrationState":"done"}`, 400},
		"reconfirmation":              {methodsPolicy, `{"reconfirmationInDays":90}`, 200},
		"reconfirmation in the past":  {methodsPolicy, `{"reconfirmationInDays":-1}`, 400},
		"system-preferred":            {betaMethodsPolicy, `{"systemCredentialPreferences":{"state":"enabled"}}`, 200},
		"system-preferred in v1.0":    {methodsPolicy, `{"systemCredentialPreferences":{"state":"enabled"}}`, 400},
		"system-preferred, state":     {betaMethodsPolicy, `{"systemCredentialPreferences":{"state":"on"}}`, 400},
		"system-preferred, target":    {betaMethodsPolicy, `{"systemCredentialPreferences":{"excludeTargets":[{"id":"x","targetType":"user"}]}}`, 400},
		"suspicious activity":         {betaMethodsPolicy, `{"reportSuspiciousActivitySettings":{"state":"enabled","voiceReportingCode":7}}`, 200},
		"suspicious activity in v1.0": {methodsPolicy, `{"reportSuspiciousActivitySettings":{"state":"enabled"}}`, 400},
		"suspicious activity, code":   {betaMethodsPolicy, `{"reportSuspiciousActivitySettings":{"voiceReportingCode":"7"}}`, 400},
	} {
		if a := s.admin("PATCH", tc.path, tc.body); a.status != tc.status || tc.status == 400 && a.errorCode() != "badRequest" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	one, beta := s.admin("GET", methodsPolicy, nil).want(t, 200, ""), s.admin("GET", betaMethodsPolicy, nil).want(t, 200, "")
	if one.body["systemCredentialPreferences"] != nil || strings.Contains(one.text, "enforceRegistrationAfterAllowedSnoozes") {
		t.Errorf("v1.0 tells %s", one.text)
	}
	if beta.body["systemCredentialPreferences"].(map[string]any)["state"] != "enabled" || beta.body["reportSuspiciousActivitySettings"].(map[string]any)["voiceReportingCode"] != 7.0 ||
		!strings.Contains(beta.text, "enforceRegistrationAfterAllowedSnoozes") || one.body["policyMigrationState"] != "migrationInProgress" {
		t.Errorf("beta tells %s", beta.text)
	}
}

func TestMethodConfigurations(t *testing.T) {
	s := start(t)
	typed := func(kind, more string) string {
		return `{"@odata.type":"#microsoft.graph.` + kind + `AuthenticationMethodConfiguration"` + more + `}`
	}
	for name, tc := range map[string]struct {
		id, body string
		status   int
	}{
		"disabled":         {"sms", typed("sms", `,"state":"disabled"`), 204},
		"for a group":      {"Fido2", typed("fido2", `,"includeTargets":[{"id":"`+outerGroup+`","targetType":"group"}]`), 204},
		"hardware tokens":  {"hardwareOath", typed("hardwareOath", `,"state":"disabled"`), 204},
		"QR codes":         {"qrCodePin", typed("qrCodePin", `,"state":"enabled","pinLength":10`), 204},
		"no such group":    {"Fido2", typed("fido2", `,"includeTargets":[{"id":"x","targetType":"group"}]`), 400},
		"no list":          {"Fido2", typed("fido2", `,"excludeTargets":[1]`), 400},
		"unknown property": {"Fido2", typed("fido2", `,"pinLength":10`), 400},
	} {
		if a := s.admin("PATCH", configurations+"/"+tc.id, tc.body); a.status != tc.status {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for _, id := range []string{"sms", "fido2", "qrCodePin"} {
		s.admin("DELETE", configurations+"/"+id, nil).want(t, 204, "")
	}
	for id, want := range map[string]string{"sms": "disabled", "fido2": "disabled", "qrCodePin": "disabled", "email": "enabled"} {
		s.admin("DELETE", configurations+"/"+id, nil).want(t, 204, "")
		a := s.admin("GET", configurations+"/"+id, nil).want(t, 200, "")
		if a.body["state"] != want || !strings.EqualFold(fmt.Sprint(a.body["@odata.type"]), "#microsoft.graph."+id+"AuthenticationMethodConfiguration") || fmt.Sprint(a.body["includeTargets"]) != "[map[id:all_users isRegistrationRequired:false targetType:group]]" {
			t.Errorf("%s reverts to %s", id, a.text)
		}
	}

	const external = `,"displayName":"Adatum","appId":"a-1","openIdConnectSetting":{"clientId":"c-1","discoveryUrl":"https://adatum.example/.well-known/openid-configuration"}`
	a := s.admin("POST", configurations, typed("external", external)).want(t, 201, "")
	id := a.body["id"].(string)
	s.admin("PATCH", configurations+"/"+id, typed("external", `,"state":"enabled","includeTargets":[{"id":"all_users","targetType":"group"}]`)).want(t, 204, "")
	if err := s.RegisterMethod(joiner, graph.Method{Kind: "external", Properties: map[string]any{"configurationId": id}}); err != nil {
		t.Fatal(err)
	}
	if got := brief(s.judge(graph.Attempt{User: joiner})); got != "mfa [external]" {
		t.Errorf("with the external method: %s", got)
	}
	s.admin("DELETE", configurations+"/"+id, nil).want(t, 204, "")
	s.admin("GET", configurations+"/"+id, nil).want(t, 404, "resourceNotFound")
	if got := brief(s.judge(graph.Attempt{User: joiner})); !strings.HasPrefix(got, "register") {
		t.Errorf("without it: %s", got)
	}
	s.admin("POST", configurations, typed("external", strings.Replace(external, `"appId":"a-1",`, "", 1))).want(t, 400, "badRequest")
	s.admin("POST", configurations, typed("fido2", "")).want(t, 400, "badRequest")
	s.as("readiness-report", "POST", configurations, typed("external", external)).want(t, 403, "AccessDenied")
}

// The state is told in lists of users as observed; a tenant can be made to refuse it.
func TestPerUserMFAInLists(t *testing.T) {
	const path = "/v1.0/users?$select=id,perUserMfaState&$top=999"
	s := startChanged(t, func(t *graph.Tenant) { t.User(joiner).PerUserMFA = "enforced" })
	states := map[string]any{}
	for _, v := range s.as("readiness-report", "GET", path, nil).want(t, 200, "").value() {
		states[v.(map[string]any)["id"].(string)] = v.(map[string]any)["perUserMfaState"]
	}
	if states[joiner] != "enforced" || states[sixMethods] != "disabled" {
		t.Errorf("states %v, %v", states[joiner], states[sixMethods])
	}
	s.as("readiness-report", "GET", filtered("/v1.0/users", "perUserMfaState eq 'enforced'"), nil).want(t, 400, "Request_UnsupportedQuery")
	s = startChanged(t, func(t *graph.Tenant) { t.Behaviour.PerUserMFA = graph.PerUserRefused })
	s.as("readiness-report", "GET", path, nil).want(t, 400, "BadRequest")
	s.as("readiness-report", "GET", "/beta/users/"+joiner+"/authentication/requirements", nil).want(t, 200, "")
}
