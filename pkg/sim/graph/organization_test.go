package graph_test

import (
	"fmt"
	"testing"

	"mfaflow/pkg/sim/graph"
)

func TestOrganization(t *testing.T) {
	s := start(t)
	o := s.as("readiness-report", "GET", "/v1.0/organization", nil).want(t, 200, "").value()[0].(map[string]any)
	if o["id"] != s.TenantID() || o["createdDateTime"] != "2021-03-01T08:00:00Z" || len(o["verifiedDomains"].([]any)) != 1 {
		t.Errorf("organization %v", o)
	}
	if a := s.as("readiness-report", "GET", "/v1.0/organization/"+s.TenantID()+"?$select=createdDateTime", nil).want(t, 200, ""); a.body["displayName"] != nil {
		t.Errorf("selected %s", a.text)
	}
	s.as("readiness-report", "GET", "/v1.0/organization/other", nil).want(t, 404, "Request_ResourceNotFound")
	s.as("identity-router", "GET", "/v1.0/organization", nil).want(t, 403, "Authorization_RequestDenied")
}

func TestServicePrincipals(t *testing.T) {
	s := startChanged(t, func(t *graph.Tenant) {
		t.ServicePrincipals = nil
		for i := range 5 {
			kind := []string{"Application", "ManagedIdentity"}[i%2]
			t.ServicePrincipals = append(t.ServicePrincipals, &graph.ServicePrincipal{ID: fmt.Sprint("sp-", i), AppID: fmt.Sprint("app-", i), DisplayName: kind, Type: kind, AccountEnabled: i != 0})
		}
	})
	const path = "/v1.0/servicePrincipals"
	var all []string
	for link := path + "?$top=2"; link != ""; {
		a := s.as("readiness-report", "GET", link, nil).want(t, 200, "")
		all = append(all, a.ids()...)
		link, _ = a.body["@odata.nextLink"].(string)
	}
	if len(all) != 5 {
		t.Errorf("paged %v", all)
	}
	if ids := s.as("readiness-report", "GET", filtered(path, "servicePrincipalType eq 'ManagedIdentity'"), nil).want(t, 200, "").ids(); fmt.Sprint(ids) != "[sp-1 sp-3]" {
		t.Errorf("managed identities %v", ids)
	}
	if ids := s.as("readiness-report", "GET", filtered(path, "appId eq 'app-4'"), nil).want(t, 200, "").ids(); fmt.Sprint(ids) != "[sp-4]" {
		t.Errorf("by app %v", ids)
	}
	if a := s.as("readiness-report", "GET", path+"/sp-0", nil).want(t, 200, ""); a.body["accountEnabled"] != false || a.body["appId"] != "app-0" {
		t.Errorf("one %s", a.text)
	}
	s.as("readiness-report", "GET", path+"/sp-9", nil).want(t, 404, "Request_ResourceNotFound")
	s.as("identity-router", "GET", path, nil).want(t, 403, "Authorization_RequestDenied")
}
