package graph_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

const (
	exchange          = "00000002-0000-0ff1-ce00-000000000000"
	mfaControl        = `{"operator":"OR","builtInControls":["mfa"]}`
	blockControl      = `{"operator":"OR","builtInControls":["block"]}`
	phishingResistant = `{"operator":"OR","authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}}`
	allUsers          = `{"includeUsers":["All"]}`
	allApps           = `{"includeApplications":["All"]}`
	outerGroup        = "20000000-0000-4000-8000-000000000007" // holds contractors, who hold the night shift
	globalAdmin       = "62e90394-69f5-4237-9190-012177145e10"
	userAdmin         = "fe930be7-5e62-47db-91af-98c3a49a38b1"
	helpdeskAdmin     = "729827e3-9c14-49f7-bb1b-9608f156bbb8"
)

// rule is a Conditional Access policy.
func rule(t *testing.T, state, users, apps, grant, more string) graph.Document {
	t.Helper()
	var d graph.Document
	text := fmt.Sprintf(`{"id":"ca","displayName":"CA","state":%q,"conditions":{"clientAppTypes":["all"],"users":%s,"applications":%s%s},"grantControls":%s}`, state, users, apps, more, grant)
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d
}

// startRules is the sample tenant with no other policies than these.
func startRules(t *testing.T, change func(*graph.Tenant), rules ...graph.Document) *sim {
	t.Helper()
	return startChanged(t, func(tn *graph.Tenant) {
		tn.Policies.ConditionalAccess = rules
		for i, r := range rules {
			r["id"] = fmt.Sprint("ca", i)
		}
		if change != nil {
			change(tn)
		}
	})
}

func (s *sim) judge(a graph.Attempt) graph.Outcome {
	s.t.Helper()
	if a.Flow == "" {
		a.Flow = graph.Interactive
	}
	if a.App == "" {
		a.App = exchange
	}
	o, err := s.EvaluateSignIn(a)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// brief is an outcome in a word or two.
func brief(o graph.Outcome) string {
	switch o.Verdict {
	case graph.VerdictBlocked:
		return string(o.Reason)
	case graph.VerdictAfterMFA:
		return fmt.Sprint("mfa ", o.Methods)
	case graph.VerdictMustRegister:
		return fmt.Sprint("register ", o.Register)
	}
	return string(o.Verdict)
}

func TestEvaluateConditionalAccess(t *testing.T) {
	on := func(users, apps, grant, more string) graph.Document {
		return rule(t, "enabled", users, apps, grant, more)
	}
	const phones = "mfa [password,sms]"
	for name, tc := range map[string]struct {
		rules   []graph.Document
		attempt graph.Attempt
		want    string
	}{
		"no policy":                      {nil, graph.Attempt{User: joiner}, "in"},
		"mfa, registered":                {[]graph.Document{on(allUsers, allApps, mfaControl, "")}, graph.Attempt{User: phonesOnly}, phones},
		"mfa, nothing registered":        {[]graph.Document{on(allUsers, allApps, mfaControl, "")}, graph.Attempt{User: joiner}, "register [microsoftAuthenticator softwareOath phone]"},
		"mfa, by a script":               {[]graph.Document{on(allUsers, allApps, mfaControl, "")}, graph.Attempt{User: phonesOnly, Flow: graph.PasswordGrant}, "nobody-there-for-mfa"},
		"mfa, by an old client":          {[]graph.Document{on(allUsers, allApps, mfaControl, "")}, graph.Attempt{User: phonesOnly, Client: graph.ClientLegacy}, "client-cannot-do-mfa"},
		"disabled":                       {[]graph.Document{rule(t, "disabled", allUsers, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"report only":                    {[]graph.Document{rule(t, "enabledForReportingButNotEnforced", allUsers, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"block":                          {[]graph.Document{on(allUsers, allApps, blockControl, "")}, graph.Attempt{User: phonesOnly}, "blocked-by-policy"},
		"block wins over mfa":            {[]graph.Document{on(allUsers, allApps, mfaControl, ""), on(allUsers, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "blocked-by-policy"},
		"one user":                       {[]graph.Document{on(`{"includeUsers":["`+joiner+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "blocked-by-policy"},
		"another user":                   {[]graph.Document{on(`{"includeUsers":["`+sixMethods+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"excluded user":                  {[]graph.Document{on(`{"includeUsers":["All"],"excludeUsers":["`+joiner+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"nested group":                   {[]graph.Document{on(`{"includeGroups":["`+outerGroup+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: excluded}, "blocked-by-policy"},
		"excluded by a nested group":     {[]graph.Document{on(`{"includeUsers":["All"],"excludeGroups":["`+outerGroup+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: excluded}, "in"},
		"role":                           {[]graph.Document{on(`{"includeRoles":["`+globalAdmin+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: administrator}, "blocked-by-policy"},
		"role through a group":           {[]graph.Document{on(`{"includeRoles":["`+helpdeskAdmin+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: roleGroupMember}, "blocked-by-policy"},
		"role that is only eligible":     {[]graph.Document{on(`{"includeRoles":["`+userAdmin+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: eligible}, "in"},
		"excluded role":                  {[]graph.Document{on(`{"includeUsers":["All"],"excludeRoles":["`+globalAdmin+`"]}`, allApps, blockControl, "")}, graph.Attempt{User: administrator}, "in"},
		"guests, external":               {[]graph.Document{on(`{"includeUsers":["GuestsOrExternalUsers"]}`, allApps, blockControl, "")}, graph.Attempt{User: externalGuest}, "blocked-by-policy"},
		"guests, internal":               {[]graph.Document{on(`{"includeUsers":["GuestsOrExternalUsers"]}`, allApps, blockControl, "")}, graph.Attempt{User: internalGuest}, "blocked-by-policy"},
		"guests, member":                 {[]graph.Document{on(`{"includeUsers":["GuestsOrExternalUsers"]}`, allApps, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"kinds of guests":                {[]graph.Document{on(`{"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"internalGuest,serviceProvider"}}`, allApps, blockControl, "")}, graph.Attempt{User: externalGuest}, "in"},
		"guests of listed tenants":       {[]graph.Document{on(`{"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"b2bCollaborationGuest","externalTenants":{"membershipKind":"enumerated","members":["x"]}}}`, allApps, blockControl, "")}, graph.Attempt{User: externalGuest}, "in"},
		"guests of all tenants":          {[]graph.Document{on(`{"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"b2bCollaborationGuest","externalTenants":{"membershipKind":"all"}}}`, allApps, blockControl, "")}, graph.Attempt{User: externalGuest}, "blocked-by-policy"},
		"excluded guests":                {[]graph.Document{on(`{"includeUsers":["All"],"excludeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"b2bCollaborationGuest"}}`, allApps, blockControl, "")}, graph.Attempt{User: externalGuest}, "in"},
		"all covers guests":              {[]graph.Document{on(allUsers, allApps, mfaControl, "")}, graph.Attempt{User: externalGuest}, "register [microsoftAuthenticator softwareOath phone]"},
		"other application":              {[]graph.Document{on(allUsers, `{"includeApplications":["`+azureCLI+`"]}`, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"excluded application":           {[]graph.Document{on(allUsers, `{"includeApplications":["All"],"excludeApplications":["Office365"]}`, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"resource of the application":    {[]graph.Document{on(allUsers, `{"includeApplications":["797f4846-ba00-4fd7-ba43-dac1f8f63013"]}`, blockControl, "")}, graph.Attempt{User: joiner, App: azureCLI}, "blocked-by-policy"},
		"admin portals":                  {[]graph.Document{on(allUsers, `{"includeApplications":["MicrosoftAdminPortals"]}`, blockControl, "")}, graph.Attempt{User: joiner, App: azurePortal}, "blocked-by-policy"},
		"no application":                 {[]graph.Document{on(allUsers, `{"includeApplications":["None"]}`, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"user action":                    {[]graph.Document{on(allUsers, `{"includeUserActions":["urn:user:registersecurityinfo"]}`, blockControl, "")}, graph.Attempt{User: joiner}, "in"},
		"named location":                 {[]graph.Document{on(allUsers, allApps, blockControl, `,"locations":{"includeLocations":["AllTrusted"]}`)}, graph.Attempt{User: joiner}, "in"},
		"everywhere but trusted":         {[]graph.Document{on(allUsers, allApps, blockControl, `,"locations":{"includeLocations":["All"],"excludeLocations":["AllTrusted"]}`)}, graph.Attempt{User: joiner}, "blocked-by-policy"},
		"one platform":                   {[]graph.Document{on(allUsers, allApps, blockControl, `,"platforms":{"includePlatforms":["iOS"]}`)}, graph.Attempt{User: joiner}, "in"},
		"risky sign-in":                  {[]graph.Document{on(allUsers, allApps, blockControl, `,"signInRiskLevels":["high"]`)}, graph.Attempt{User: joiner}, "in"},
		"risky user":                     {[]graph.Document{on(allUsers, allApps, blockControl, `,"userRiskLevels":["high"]`)}, graph.Attempt{User: phonesOnly}, "in"}, // was remediated
		"flow":                           {[]graph.Document{on(allUsers, allApps, blockControl, `,"authenticationFlows":{"transferMethods":"deviceCodeFlow"}`)}, graph.Attempt{User: joiner}, "in"},
		"managed device":                 {[]graph.Document{on(allUsers, allApps, `{"operator":"OR","builtInControls":["compliantDevice"]}`, "")}, graph.Attempt{User: joiner}, "managed-device-required"},
		"managed device or mfa":          {[]graph.Document{on(allUsers, allApps, `{"operator":"OR","builtInControls":["compliantDevice","mfa"]}`, "")}, graph.Attempt{User: phonesOnly}, phones},
		"managed device and mfa":         {[]graph.Document{on(allUsers, allApps, `{"operator":"AND","builtInControls":["compliantDevice","mfa"]}`, "")}, graph.Attempt{User: phonesOnly}, "managed-device-required"},
		"terms and mfa":                  {[]graph.Document{on(allUsers, allApps, `{"operator":"AND","builtInControls":["mfa"],"termsOfUse":["x"]}`, "")}, graph.Attempt{User: phonesOnly}, phones},
		"terms, by a script":             {[]graph.Document{on(allUsers, allApps, `{"operator":"OR","termsOfUse":["x"]}`, "")}, graph.Attempt{User: phonesOnly, Flow: graph.PasswordGrant}, "nobody-there-for-mfa"},
		"strength met":                   {[]graph.Document{on(allUsers, allApps, phishingResistant, "")}, graph.Attempt{User: sixMethods}, "mfa [fido2 windowsHelloForBusiness]"},
		"strength not met":               {[]graph.Document{on(allUsers, allApps, phishingResistant, "")}, graph.Attempt{User: phonesOnly}, "register [fido2]"}, // a text message lets them register a key
		"strength, nothing":              {[]graph.Document{on(allUsers, allApps, phishingResistant, "")}, graph.Attempt{User: joiner}, "no-method-and-cannot-register"},
		"strength and mfa":               {[]graph.Document{on(allUsers, allApps, phishingResistant, ""), on(allUsers, allApps, mfaControl, "")}, graph.Attempt{User: sixMethods}, "mfa [fido2 windowsHelloForBusiness]"},
		"strength, excluded":             {[]graph.Document{on(`{"includeUsers":["All"],"excludeUsers":["`+joiner+`"]}`, allApps, phishingResistant, "")}, graph.Attempt{User: joiner}, "in"},
		"registration blocked":           {[]graph.Document{on(allUsers, allApps, mfaControl, ""), on(allUsers, `{"includeUserActions":["urn:user:registersecurityinfo"]}`, blockControl, "")}, graph.Attempt{User: joiner}, "no-method-and-cannot-register"},
		"registration wants mfa":         {[]graph.Document{on(allUsers, allApps, mfaControl, ""), on(allUsers, `{"includeUserActions":["urn:user:registersecurityinfo"]}`, mfaControl, "")}, graph.Attempt{User: joiner}, "no-method-and-cannot-register"},
		"registration, another's policy": {[]graph.Document{on(allUsers, allApps, mfaControl, ""), on(`{"includeGroups":["`+outerGroup+`"]}`, `{"includeUserActions":["urn:user:registersecurityinfo"]}`, blockControl, "")}, graph.Attempt{User: joiner}, "register [microsoftAuthenticator softwareOath phone]"},
		"old clients only": {[]graph.Document{func() graph.Document {
			d := on(allUsers, allApps, blockControl, "")
			d["conditions"].(map[string]any)["clientAppTypes"] = []any{"other"}
			return d
		}()}, graph.Attempt{User: joiner}, "in"},
		"account disabled": {nil, graph.Attempt{User: "10000000-0000-4000-8000-000000000025"}, "account-disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := brief(startRules(t, nil, tc.rules...).judge(tc.attempt)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestEvaluateMethodsAndPasses(t *testing.T) {
	mfa := func() graph.Document { return rule(t, "enabled", allUsers, allApps, mfaControl, "") }
	disable := func(tn *graph.Tenant, ids ...string) {
		for _, c := range tn.Policies.MethodConfigurations {
			if slices.Contains(ids, fmt.Sprint(c["id"])) {
				c["state"] = "disabled"
			}
		}
	}
	t.Run("a method that the policy forbids", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) { disable(tn, "Sms") }, mfa())
		if got := brief(s.judge(graph.Attempt{User: phonesOnly})); got != "register [microsoftAuthenticator softwareOath]" {
			t.Error(got)
		}
	})
	t.Run("a security key that the policy forbids", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) { disable(tn, "Fido2") }, rule(t, "enabled", allUsers, allApps, phishingResistant, ""))
		if got := brief(s.judge(graph.Attempt{User: sixMethods})); got != "mfa [windowsHelloForBusiness]" {
			t.Error(got)
		}
	})
	t.Run("a pass meets a policy on registering", func(t *testing.T) {
		s := startRules(t, nil, rule(t, "enabled", allUsers, allApps, phishingResistant, ""),
			rule(t, "enabled", allUsers, `{"includeUserActions":["urn:user:registersecurityinfo"]}`, `{"operator":"OR","builtInControls":["compliantDevice","mfa"]}`, ""))
		s.issue(joiner, nil)
		if got := brief(s.judge(graph.Attempt{User: joiner})); got != "register [fido2]" {
			t.Error(got)
		}
	})
	t.Run("a pass is no registration for security defaults", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) { tn.Policies.SecurityDefaults.IsEnabled = true })
		s.issue(joiner, nil)
		if got := brief(s.judge(graph.Attempt{User: joiner})); got != "register [microsoftAuthenticator softwareOath]" {
			t.Error(got)
		}
	})
	t.Run("the risk of the person", func(t *testing.T) {
		s := startRules(t, nil, rule(t, "enabled", allUsers, allApps, blockControl, `,"userRiskLevels":["high"]`))
		for level, want := range map[string]string{"high": "blocked-by-policy", "low": "in"} {
			if err := s.SetRisk(joiner, level, "atRisk"); err != nil {
				t.Fatal(err)
			}
			if got := brief(s.judge(graph.Attempt{User: joiner})); got != want {
				t.Errorf("%s: %s, want %s", level, got, want)
			}
		}
	})
	t.Run("nothing may be registered", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) { disable(tn, "Sms", "MicrosoftAuthenticator", "SoftwareOath") }, mfa())
		if o := s.judge(graph.Attempt{User: joiner}); brief(o) != "no-method-and-cannot-register" || o.Code == 0 {
			t.Errorf("%+v", o)
		}
	})
	t.Run("a method is for a group", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) {
			for _, c := range tn.Policies.MethodConfigurations {
				if c["id"] == "Voice" {
					c["state"], c["includeTargets"] = "enabled", []any{map[string]any{"id": outerGroup, "targetType": "group"}}
				}
			}
		}, mfa())
		for _, u := range []string{joiner, excluded} {
			if err := s.RegisterMethod(u, graph.Method{Kind: "phone", Properties: map[string]any{"phoneType": "office"}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := brief(s.judge(graph.Attempt{User: excluded})); got != "mfa [password,voice]" {
			t.Error(got)
		}
		if got := brief(s.judge(graph.Attempt{User: joiner})); got != "register [microsoftAuthenticator softwareOath phone]" {
			t.Error(got)
		}
	})
	t.Run("a pass", func(t *testing.T) {
		s := startRules(t, nil, mfa(), rule(t, "enabled", allUsers, `{"includeApplications":["`+azurePortal+`"]}`, phishingResistant, ""))
		s.issue(joiner, map[string]any{"lifetimeInMinutes": 60})
		if got := brief(s.judge(graph.Attempt{User: joiner})); got != "mfa [temporaryAccessPassMultiUse]" {
			t.Error(got)
		}
		if got := brief(s.judge(graph.Attempt{User: joiner, App: azurePortal})); got != "register [fido2]" {
			t.Error(got)
		}
		if got := brief(s.judge(graph.Attempt{User: joiner, At: t0.Add(2 * time.Hour)})); got != "register [microsoftAuthenticator softwareOath phone]" {
			t.Errorf("expired: %s", got)
		}
	})
	t.Run("an external method meets mfa and no strength", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) {
			u := tn.User(joiner)
			u.Methods = []*graph.Method{{Kind: "external", ID: "x", Properties: map[string]any{"configurationId": "e-1"}}}
			tn.Policies.MethodConfigurations = append(tn.Policies.MethodConfigurations, graph.Document{"@odata.type": "#microsoft.graph.externalAuthenticationMethodConfiguration",
				"id": "e-1", "state": "enabled", "includeTargets": []any{map[string]any{"id": "all_users", "targetType": "group"}}})
		}, mfa(), rule(t, "enabled", allUsers, `{"includeApplications":["`+azurePortal+`"]}`, phishingResistant, ""))
		if got := brief(s.judge(graph.Attempt{User: joiner})); got != "mfa [external]" {
			t.Error(got)
		}
		if got := brief(s.judge(graph.Attempt{User: joiner, App: azurePortal})); got != "register [fido2]" {
			t.Error(got)
		}
	})
	t.Run("a guest whose home is trusted", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) { tn.Policies.TrustGuestMFA = true }, mfa())
		if got := brief(s.judge(graph.Attempt{User: externalGuest})); got != "mfa [home]" {
			t.Error(got)
		}
		a := s.as("readiness-report", "GET", "/v1.0/policies/crossTenantAccessPolicy/default", nil).want(t, 200, "")
		if a.body["inboundTrust"].(map[string]any)["isMfaAccepted"] != true {
			t.Errorf("trust %s", a.text)
		}
	})
	t.Run("a guest of a partner", func(t *testing.T) {
		yes, no := true, false
		for name, c := range map[string]struct {
			trust bool
			own   *bool
			want  string
		}{"inherits": {trust: true, want: "mfa [home]"}, "is not trusted": {trust: true, own: &no, want: "register"}, "is trusted": {own: &yes, want: "mfa [home]"}, "inherits no trust": {want: "register"}} {
			s := startRules(t, func(tn *graph.Tenant) {
				tn.Policies.TrustGuestMFA = c.trust
				tn.Policies.Partners = []graph.Partner{{TenantID: tn.User(externalGuest).HomeTenant, TrustMFA: c.own}}
			}, mfa())
			if got := brief(s.judge(graph.Attempt{User: externalGuest})); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
		}
		s := startRules(t, func(tn *graph.Tenant) {
			tn.Policies.TrustGuestMFA, tn.User(externalGuest).HomeTenant, tn.User(externalGuest).IdentityIssuer = true, "", "google.com"
		}, mfa())
		if got := brief(s.judge(graph.Attempt{User: externalGuest})); !strings.HasPrefix(got, "register") {
			t.Error(got)
		}
	})
	t.Run("a federated domain", func(t *testing.T) {
		for name, c := range map[string]struct {
			behaviour string
			asked     bool
			want      string
		}{
			"accepts what was done":     {"acceptIfMfaDoneByFederatedIdp", true, "mfa [federatedMultiFactor]"},
			"accepts and none was done": {"acceptIfMfaDoneByFederatedIdp", false, "register"},
			"was never set":             {"", true, "mfa [federatedMultiFactor]"},
			"leaves it there":           {"enforceMfaByFederatedIdp", false, "mfa [federatedMultiFactor]"},
			"rejects":                   {"rejectMfaByFederatedIdp", true, "register"},
		} {
			s := startRules(t, func(tn *graph.Tenant) {
				tn.Domains = append(tn.Domains, "adfs.example")
				tn.Policies.Federations = []graph.Federation{{Domain: "ADFS.example", MFABehaviour: c.behaviour}}
				u := tn.User(joiner)
				u.UserPrincipalName, u.FederatedMFA = "lena@adfs.example", c.asked
			}, mfa())
			if got := brief(s.judge(graph.Attempt{User: "lena@adfs.example"})); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
			a := s.as("readiness-report", "GET", "/v1.0/domains/adfs.example/federationConfiguration", nil).want(t, 200, "")
			if got := a.value()[0].(map[string]any)["federatedIdpMfaBehavior"]; got != any(c.behaviour) && (got != nil || c.behaviour != "") {
				t.Errorf("%s: %v", name, got)
			}
			s.as("readiness-report", "GET", "/v1.0/domains/contoso.example/federationConfiguration", nil).want(t, 404, "Request_ResourceNotFound")
			s.as("identity-worker", "GET", "/v1.0/domains/adfs.example/federationConfiguration", nil).want(t, 403, "Authorization_RequestDenied")
		}
	})
	t.Run("lockout and change of password", func(t *testing.T) {
		s := startRules(t, func(tn *graph.Tenant) { tn.User(sixMethods).ForceChangePassword = true })
		if got := brief(s.judge(graph.Attempt{User: sixMethods, Flow: graph.PasswordGrant})); got != "password-change-required" {
			t.Error(got)
		}
		for range 10 {
			_ = s.SignInWithPassword(joiner, false)
		}
		if got := brief(s.judge(graph.Attempt{User: joiner})); got != "account-locked" {
			t.Error(got)
		}
	})
}

func TestEvaluateSecurityDefaults(t *testing.T) {
	s := startRules(t, func(tn *graph.Tenant) {
		tn.Policies.SecurityDefaults.IsEnabled = true
		tn.RoleDefinitions = append(tn.RoleDefinitions, &graph.RoleDefinition{ID: "d29b2b05-8046-44ba-8758-1e26182fcf32", DisplayName: "Directory Synchronization Accounts"})
		tn.RoleAssignments = append(tn.RoleAssignments, &graph.RoleAssignment{ID: "sync", PrincipalID: joinerNoManager, RoleDefinitionID: "d29b2b05-8046-44ba-8758-1e26182fcf32"})
	})
	for name, tc := range map[string]struct {
		attempt graph.Attempt
		want    string
	}{
		"nobody skips registration": {graph.Attempt{User: joiner}, "register [microsoftAuthenticator softwareOath]"},
		"registered":                {graph.Attempt{User: phonesOnly}, "in"},
		"registered, Azure":         {graph.Attempt{User: phonesOnly, App: azureCLI}, "mfa [password,sms]"},
		"administrator":             {graph.Attempt{User: administrator}, "mfa [fido2 password,microsoftAuthenticatorPush password,softwareOath]"},
		"old client":                {graph.Attempt{User: phonesOnly, Client: graph.ClientLegacy}, "client-cannot-do-mfa"},
		"script, unregistered":      {graph.Attempt{User: joiner, Flow: graph.PasswordGrant}, "nobody-there-for-mfa"},
		"script, registered":        {graph.Attempt{User: phonesOnly, Flow: graph.PasswordGrant}, "in"},
		"script, Azure":             {graph.Attempt{User: phonesOnly, Flow: graph.PasswordGrant, App: azureCLI}, "nobody-there-for-mfa"},
		"directory synchronisation": {graph.Attempt{User: joinerNoManager, Flow: graph.PasswordGrant}, "in"},
		"synchronisation, in Azure": {graph.Attempt{User: joinerNoManager, App: azurePortal}, "in"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := brief(s.judge(tc.attempt)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	if o := s.judge(graph.Attempt{User: phonesOnly, Client: graph.ClientLegacy}); o.Code != 530035 || o.Demands[0].Source != graph.SourceSecurityDefaults {
		t.Errorf("%+v", o)
	}
}

func TestEvaluatePerUser(t *testing.T) {
	s := startRules(t, func(tn *graph.Tenant) {
		tn.User(joiner).PerUserMFA, tn.User(phonesOnly).PerUserMFA, tn.User(sixMethods).PerUserMFA = "enabled", "enforced", "disabled"
	})
	for name, tc := range map[string]struct {
		attempt graph.Attempt
		want    string
	}{
		"enabled":              {graph.Attempt{User: joiner}, "register [microsoftAuthenticator softwareOath phone]"},
		"enabled, old client":  {graph.Attempt{User: joiner, Client: graph.ClientLegacy}, "in"},
		"enforced":             {graph.Attempt{User: phonesOnly}, "mfa [password,sms]"},
		"enforced, old client": {graph.Attempt{User: phonesOnly, Client: graph.ClientLegacy}, "client-cannot-do-mfa"},
		"enforced, script":     {graph.Attempt{User: phonesOnly, Flow: graph.PasswordGrant}, "nobody-there-for-mfa"},
		"disabled":             {graph.Attempt{User: sixMethods}, "in"},
	} {
		if got := brief(s.judge(tc.attempt)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	if err := s.RegisterMethod(joiner, graph.Method{Kind: "email"}); err != nil {
		t.Fatal(err)
	}
	if u, _ := s.User(joiner); u.PerUserMFA != "enabled" {
		t.Errorf("an address made it %s", u.PerUserMFA)
	}
	if err := s.RegisterMethod(joiner, graph.Method{Kind: "softwareOath"}); err != nil {
		t.Fatal(err)
	}
	if u, _ := s.User(joiner); u.PerUserMFA != "enforced" {
		t.Errorf("registration left it %s", u.PerUserMFA)
	}
}

// Microsoft's own demand knows no exclusions, and asks scripts only when they change something.
func TestEvaluateMandatory(t *testing.T) {
	s := startRules(t, nil)
	early := time.Date(2024, 9, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		attempt graph.Attempt
		want    string
	}{
		"portal":                  {graph.Attempt{User: joiner, App: azurePortal}, "register [microsoftAuthenticator softwareOath phone]"},
		"portal, before phase 1":  {graph.Attempt{User: joiner, App: azurePortal, At: early}, "in"},
		"portal, guest":           {graph.Attempt{User: externalGuest, App: azurePortal}, "register [microsoftAuthenticator softwareOath phone]"},
		"portal, break-glass":     {graph.Attempt{User: "emergency1@contoso.example", App: azurePortal}, "mfa [fido2]"},
		"CLI, reading":            {graph.Attempt{User: sender, App: azureCLI, Flow: graph.PasswordGrant}, "in"},
		"CLI, changing":           {graph.Attempt{User: sender, App: azureCLI, Flow: graph.PasswordGrant, Changes: true}, "nobody-there-for-mfa"},
		"CLI, changing, a person": {graph.Attempt{User: sender, App: azureCLI, Changes: true}, "mfa [password,softwareOath]"},
		"CLI, before phase 2":     {graph.Attempt{User: joiner, App: azureCLI, Changes: true, At: time.Date(2025, 9, 30, 23, 0, 0, 0, time.UTC)}, "in"},
		"mail":                    {graph.Attempt{User: joiner}, "in"},
	} {
		if got := brief(s.judge(tc.attempt)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// Every policy is accounted for, whether it is enforced or not.
func TestEvaluateAppliedPolicies(t *testing.T) {
	const report = "enabledForReportingButNotEnforced"
	one := `{"includeUsers":["` + phonesOnly + `"]}`
	other := `{"includeUsers":["` + sixMethods + `"]}`
	s := startRules(t, nil, rule(t, "enabled", one, allApps, mfaControl, ""), rule(t, "enabled", other, allApps, mfaControl, ""), rule(t, "disabled", one, allApps, blockControl, ""),
		rule(t, report, one, allApps, mfaControl, ""), rule(t, report, one, allApps, blockControl, ""), rule(t, report, other, allApps, mfaControl, ""),
		rule(t, report, one, allApps, `{"operator":"OR","termsOfUse":["x"]}`, ""))
	o := s.judge(graph.Attempt{User: phonesOnly})
	var got []string
	for _, p := range o.Policies {
		got = append(got, p.Result)
	}
	want := []string{"success", "notApplied", "notEnabled", "reportOnlyInterrupted", "reportOnlyFailure", "reportOnlyNotApplied", "reportOnlySuccess"}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(o.Demands) != 1 || o.Demands[0] != (graph.Demand{Source: graph.SourcePolicy, Detail: "ca0"}) {
		t.Errorf("results %v, demands %v", got, o.Demands)
	}
}

func TestEvaluateRefusesAttempts(t *testing.T) {
	s := startRules(t, nil)
	for name, a := range map[string]graph.Attempt{"no flow": {User: joiner}, "no such client": {User: joiner, Flow: graph.Interactive, Client: "all"}} {
		if _, err := s.EvaluateSignIn(a); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := s.EvaluateSignIn(graph.Attempt{User: "nobody", Flow: graph.Interactive}); !errors.Is(err, graph.ErrNoSuchUser) {
		t.Errorf("nobody: %v", err)
	}
}
