package graph

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"mfaflow/pkg/sim/clock"
)

// What is accepted for the methods policy is accepted again as it is answered, and people
// can be judged under whatever a configuration is made to say.
func FuzzMethodsPolicy(f *testing.F) {
	f.Add([]byte(`{"registrationEnforcement":{"authenticationMethodsRegistrationCampaign":{"state":"enabled","snoozeDurationInDays":3}}}`), false)
	f.Add([]byte(`{"systemCredentialPreferences":{"state":"enabled","includeTargets":[]},"policyMigrationState":"migrationComplete","reconfirmationInDays":90}`), false)
	f.Add([]byte(`{"registrationEnforcement":null}`), false)
	f.Add([]byte(`{"@odata.type":"#microsoft.graph.fido2AuthenticationMethodConfiguration","state":"enabled","includeTargets":null}`), true)
	tenant, err := SampleTenant()
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	s := &Server{clock: clock.NewManual(now), routes: newRoutes(), dir: newDirectory(tenant), throttle: throttle{used: map[string]*window{}}}
	policies := tenant.Policies
	f.Fuzz(func(t *testing.T, body []byte, configuration bool) {
		tenant.Policies = policies
		tenant.Policies.MethodConfigurations = slices.Clone(policies.MethodConfigurations)
		s.dir.scopes = nil
		call := func(method string, body []byte, path ...string) response {
			return s.execute(&request{method: method, version: versionBeta, path: path, body: body, header: http.Header{}, query: url.Values{},
				caller: &caller{roles: []string{"Policy.ReadWrite.AuthenticationMethod"}}})
		}
		path := []string{"policies", "authenticationMethodsPolicy"}
		if configuration {
			path = append(path, "authenticationMethodConfigurations", "Fido2")
		}
		switch resp := call(http.MethodPatch, body, path...); resp.status {
		case http.StatusBadRequest:
			return
		case http.StatusOK, http.StatusNoContent:
		default:
			t.Fatalf("%s: %d %v", body, resp.status, resp.body)
		}
		answer := call(http.MethodGet, nil, path...).body.(Document)
		again := Document{}
		for name, v := range answer {
			switch name {
			case "@odata.context", "id", "lastModifiedDateTime", "policyVersion", "authenticationMethodConfigurations":
			default:
				again[name] = v
			}
		}
		data, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if resp := call(http.MethodPatch, data, path...); resp.status >= 300 {
			t.Fatalf("%s was accepted, and then not as %s: %v", body, data, resp.body)
		}
		for _, u := range s.dir.Users {
			newEvaluation(s.dir, u, Attempt{User: u.ID, App: azurePortal, Flow: Interactive, Client: ClientBrowser, At: now}).outcome()
		}
	})
}
