package graph_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/graph"
)

func TestListUsersByFilter(t *testing.T) {
	s := start(t)
	for name, tc := range map[string]struct {
		filter string
		want   []string
	}{
		"employee id":                 {"employeeId eq 'E1004'", []string{joiner}},
		"employee id in another case": {"employeeId eq 'e1004'", []string{joiner}},
		"two accounts, one employee":  {"employeeId eq 'E1021'", []string{"10000000-0000-4000-8000-000000000021", "10000000-0000-4000-8000-000000000022"}},
		"unknown employee":            {"employeeId eq 'E9999'", nil},
		"mail":                        {"mail eq 'lena.hofmann@contoso.example'", []string{joiner}},
		"userPrincipalName":           {"userPrincipalName eq 'LENA.hofmann@contoso.example'", []string{joiner}},
		"personal mail":               {"otherMails/any(m:m eq 'lena.hofmann@personal.example')", []string{joiner}},
		"proxy address":               {"proxyAddresses/any(p:p eq 'smtp:lena.hofmann@contoso.example')", []string{joiner}},
		"mail or UPN":                 {"mail eq 'fabrice.morel@partner.example' or userPrincipalName eq 'fabrice.morel@partner.example'", []string{externalGuest}},
		"and binds stronger than or":  {"employeeId eq 'E1004' or employeeId eq 'E1005' and accountEnabled eq false", []string{joiner}},
		"parentheses":                 {"(employeeId eq 'E1004' or employeeId eq 'E1005') and accountEnabled eq false", nil},
		"disabled":                    {"accountEnabled eq false and employeeId eq 'E1028'", []string{"10000000-0000-4000-8000-000000000028"}},
		"startsWith":                  {"startsWith(userPrincipalName,'lena.')", []string{joiner}},
		"in":                          {"employeeId in ('E1004','E1011')", []string{joiner, sixMethods}},
		"null":                        {"mail eq null and employeeId eq 'E1007'", []string{"10000000-0000-4000-8000-000000000007"}},
		"a quote in a string":         {"employeeId eq 'O''Brien'", nil},
		"created after":               {"createdDateTime ge 2026-11-16T00:00:00Z and startsWith(displayName,'Lena')", []string{joiner}},
		"synced":                      {"onPremisesSyncEnabled eq true", []string{synced}},
		"guest by external UPN":       {"userPrincipalName eq 'fabrice.morel_partner.example#EXT#@contoso.example'", []string{externalGuest}},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.worker("GET", "/v1.0/users?$select=id&$filter="+url.QueryEscape(tc.filter), nil).want(t, 200, "")
			if diff := cmp.Diff(tc.want, a.ids()); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListUsersRefusals(t *testing.T) {
	s := start(t)
	eventual := []string{"ConsistencyLevel", "eventual"}
	for name, tc := range map[string]struct {
		query  string
		header []string
		status int
		code   string
	}{
		"syntax":                        {"$filter=" + url.QueryEscape("employeeId eq"), nil, 400, "BadRequest"},
		"unterminated string":           {"$filter=" + url.QueryEscape("employeeId eq 'E1"), nil, 400, "BadRequest"},
		"unknown function":              {"$filter=" + url.QueryEscape("contains(mail,'a')"), nil, 400, "BadRequest"},
		"unknown property in filter":    {"$filter=" + url.QueryEscape("shoeSize eq '42'"), nil, 400, "Request_UnsupportedQuery"},
		"unknown property, nobody left": {"$filter=" + url.QueryEscape("employeeId eq 'nobody' and shoeSize eq '42'"), nil, 400, "Request_UnsupportedQuery"},
		"wrong type":                    {"$filter=" + url.QueryEscape("accountEnabled eq 'true'"), nil, 400, "Request_UnsupportedQuery"},
		"any on a single value":         {"$filter=" + url.QueryEscape("mail/any(m:m eq 'a')"), nil, 400, "Request_UnsupportedQuery"},
		"ne without eventual":           {"$filter=" + url.QueryEscape("mail ne null"), nil, 400, "Request_UnsupportedQuery"},
		"ne without count":              {"$filter=" + url.QueryEscape("mail ne null"), eventual, 400, "Request_UnsupportedQuery"},
		"endsWith without eventual":     {"$filter=" + url.QueryEscape("endsWith(mail,'x')"), nil, 400, "Request_UnsupportedQuery"},
		"unknown property in select":    {"$select=shoeSize", nil, 400, "BadRequest"},
		"unknown expand":                {"$expand=cousin", nil, 400, "BadRequest"},
		"page too large":                {"$top=1000", nil, 400, "Request_UnsupportedQuery"},
		"page of nothing":               {"$top=0", nil, 400, "Request_UnsupportedQuery"},
		"skip":                          {"$skip=5", nil, 400, "Request_UnsupportedQuery"},
		"forged page token":             {"$skiptoken=abc", nil, 400, "Directory_ExpiredPageToken"},
		"unknown option":                {"$apply=x", nil, 400, "BadRequest"},
		"leave date without permission": {"$select=employeeLeaveDateTime", nil, 403, "Authorization_RequestDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			s.worker("GET", "/v1.0/users?"+tc.query, nil, tc.header...).want(t, tc.status, tc.code)
		})
	}
	a := s.worker("GET", "/v1.0/users?$count=true&$filter="+url.QueryEscape("endsWith(mail,'@partner.example')"), nil, eventual...).want(t, 200, "")
	if a.body["@odata.count"] != 1.0 {
		t.Errorf("count %v, want 1", a.body["@odata.count"])
	}
	s.as("identity-router", "GET", "/v1.0/users?$select=signInActivity", nil).want(t, 403, "Authentication_MSGraphPermissionMissing")
}

func TestListUsersPages(t *testing.T) {
	s := start(t)
	var got []string
	pages := 0
	next := "/v1.0/users?$top=10&$select=id,mail&$filter=" + url.QueryEscape("userType eq 'Member'")
	for next != "" {
		a := s.worker("GET", next, nil).want(t, 200, "")
		if pages++; pages == 2 { // someone of the first page leaves meanwhile
			s.Mutate(func(tn *graph.Tenant) { tn.Users = append(tn.Users[:2:2], tn.Users[3:]...) })
		}
		got = append(got, a.ids()...)
		link, _ := a.body["@odata.nextLink"].(string)
		if link != "" && (!strings.HasPrefix(link, s.URL()+"/v1.0/users?") || !strings.Contains(link, "$skiptoken=")) {
			t.Fatalf("next link %q", link)
		}
		next = link
	}
	if pages != 4 || len(got) != 36 {
		t.Errorf("%d people on %d pages, want 36 on 4", len(got), pages)
	}
	seen := make(map[string]bool)
	for _, id := range got {
		if seen[id] {
			t.Errorf("%s came twice", id)
		}
		seen[id] = true
	}
}

func TestGetUserProperties(t *testing.T) {
	s := start(t)
	a := s.worker("GET", "/v1.0/users/"+joiner, nil).want(t, 200, "")
	want := map[string]any{
		"@odata.context": s.URL() + "/v1.0/$metadata#users/$entity", "businessPhones": []any{}, "displayName": "Lena Hofmann", "givenName": "Lena",
		"id": joiner, "jobTitle": "Software Engineer", "mail": "lena.hofmann@contoso.example", "mobilePhone": nil, "officeLocation": nil,
		"preferredLanguage": "en-US", "surname": "Hofmann", "userPrincipalName": "lena.hofmann@contoso.example",
	}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("default properties (-want +got):\n%s", diff)
	}
	a = s.worker("GET", "/v1.0/users/lena.hofmann@contoso.example?$select=id,accountEnabled,otherMails,employeeId&$expand=manager($select=id,mail)", nil).want(t, 200, "")
	delete(a.body, "@odata.context")
	want = map[string]any{
		"id": joiner, "accountEnabled": true, "otherMails": []any{"lena.hofmann@personal.example"}, "employeeId": "E1004",
		"manager": map[string]any{"@odata.type": "#microsoft.graph.user", "id": engineeringManager, "mail": "amara.diallo@contoso.example"},
	}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("selected properties (-want +got):\n%s", diff)
	}
	a = s.worker("GET", "/v1.0/users/fabrice.morel_partner.example%23EXT%23@contoso.example?$select=id,userType", nil).want(t, 200, "")
	if a.body["id"] != externalGuest {
		t.Errorf("the guest's name found %v", a.body["id"])
	}
	s.worker("GET", "/v1.0/users('"+joiner+"')", nil).want(t, 200, "")
	a = s.worker("GET", "/v1.0/users/"+joiner+"?$select=signInActivity,createdDateTime", nil).want(t, 200, "")
	if a.body["signInActivity"] != nil || a.body["createdDateTime"] != "2026-11-16T06:00:00Z" {
		t.Errorf("got %v", a.body)
	}
}

func TestMissingUserAndManager(t *testing.T) {
	s := start(t)
	a := s.worker("GET", "/v1.0/users/nobody@contoso.example", nil, "client-request-id", "11111111-2222-3333-4444-555555555555").want(t, 404, "Request_ResourceNotFound")
	want := map[string]any{"error": map[string]any{
		"code":    "Request_ResourceNotFound",
		"message": "Resource 'nobody@contoso.example' does not exist or one of its queried reference-property objects are not present.",
		"innerError": map[string]any{"date": "2026-11-23T09:00:00", "request-id": a.header.Get("request-id"),
			"client-request-id": "11111111-2222-3333-4444-555555555555"},
	}}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("error body (-want +got):\n%s", diff)
	}
	if got := a.header.Get("client-request-id"); got != "11111111-2222-3333-4444-555555555555" {
		t.Errorf("client-request-id %q came back", got)
	}
	a = s.worker("GET", "/v1.0/users/"+joiner+"/manager?$select=id,mail,displayName", nil).want(t, 200, "")
	if a.body["id"] != engineeringManager || a.body["mail"] != "amara.diallo@contoso.example" || a.body["@odata.type"] != "#microsoft.graph.user" {
		t.Errorf("manager %v", a.body)
	}
	s.worker("GET", "/v1.0/users/"+joinerNoManager+"/manager", nil).want(t, 404, "Request_ResourceNotFound")
}

func TestPatchUser(t *testing.T) {
	for name, tc := range map[string]struct {
		app    string
		user   string
		body   string
		status int
		code   string
	}{
		"block":                    {"identity-worker", sixMethods, `{"accountEnabled":false}`, 204, ""},
		"block without permission": {"identity-router", sixMethods, `{"accountEnabled":false}`, 403, "Authorization_RequestDenied"},
		"block an administrator":   {"identity-worker", administrator, `{"accountEnabled":false}`, 403, "Authorization_RequestDenied"},
		"block a member of a role-assignable group": {"identity-worker", roleGroupMember, `{"accountEnabled":false}`, 403, "Authorization_RequestDenied"},
		"block an eligible person":                  {"identity-worker", eligible, `{"accountEnabled":false}`, 204, ""},
		"block an administrator with the role":      {"tenant-administrator", administrator, `{"accountEnabled":false}`, 204, ""},
		"block a synced person":                     {"identity-worker", synced, `{"accountEnabled":false}`, 204, ""},
		"password":                                  {"identity-worker", sixMethods, `{"passwordProfile":{"password":"Tr1cky-Enough","forceChangePasswordNextSignIn":true}}`, 204, ""},
		"weak password":                             {"identity-worker", sixMethods, `{"passwordProfile":{"password":"short"}}`, 400, "Request_BadRequest"},
		"password of a synced person":               {"identity-worker", synced, `{"passwordProfile":{"password":"Tr1cky-Enough"}}`, 400, "Request_BadRequest"},
		"password of an administrator":              {"identity-worker", administrator, `{"passwordProfile":{"password":"Tr1cky-Enough"}}`, 403, "Authorization_RequestDenied"},
		"title without permission":                  {"identity-worker", sixMethods, `{"jobTitle":"Boss"}`, 403, "Authorization_RequestDenied"},
		"leave date":                                {"tenant-administrator", sixMethods, `{"employeeLeaveDateTime":"2026-12-31T23:59:59Z"}`, 204, ""},
		"other mails":                               {"tenant-administrator", sixMethods, `{"otherMails":["new@personal.example"]}`, 204, ""},
		"unknown property":                          {"identity-worker", sixMethods, `{"shoeSize":42}`, 400, "Request_BadRequest"},
		"wrong type":                                {"identity-worker", sixMethods, `{"accountEnabled":"no"}`, 400, "Request_BadRequest"},
		"null for a boolean":                        {"identity-worker", sixMethods, `{"accountEnabled":null}`, 400, "Request_BadRequest"},
		"nothing":                                   {"identity-worker", sixMethods, `{}`, 400, "Request_BadRequest"},
		"not JSON":                                  {"identity-worker", sixMethods, `{"accountEnabled":`, 400, "BadRequest"},
		"unknown user":                              {"identity-worker", "nobody", `{"accountEnabled":false}`, 404, "Request_ResourceNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			before, _ := s.User(tc.user)
			s.as(tc.app, "PATCH", "/v1.0/users/"+tc.user, tc.body).want(t, tc.status, tc.code)
			after, _ := s.User(tc.user)
			if changed := !cmp.Equal(before, after, cmp.AllowUnexported(graph.User{}, graph.Pass{})); changed != (tc.status == 204) {
				t.Errorf("status %d, but changed = %v", tc.status, changed)
			}
		})
	}
}

func TestPatchIsAllOrNothing(t *testing.T) {
	s := start(t)
	s.as("tenant-administrator", "PATCH", "/v1.0/users/"+sixMethods, `{"accountEnabled":false,"jobTitle":7}`).want(t, 400, "Request_BadRequest")
	if u, _ := s.User(sixMethods); !u.AccountEnabled {
		t.Error("half of a refused update took effect")
	}
}

func TestDeleteUser(t *testing.T) {
	s := start(t)
	s.worker("DELETE", "/v1.0/users/"+sixMethods, nil).want(t, 403, "Authorization_RequestDenied")
	s.as("tenant-administrator", "DELETE", "/v1.0/users/"+sixMethods, nil).want(t, 204, "")
	s.worker("GET", "/v1.0/users/"+sixMethods, nil).want(t, 404, "Request_ResourceNotFound")
	a := s.worker("GET", "/v1.0/directory/deletedItems/"+sixMethods+"?$select=id,deletedDateTime", nil).want(t, 200, "")
	if a.body["deletedDateTime"] != "2026-11-23T09:00:00Z" {
		t.Errorf("deleted at %v", a.body["deletedDateTime"])
	}
}

func TestRevokeSignInSessions(t *testing.T) {
	s := start(t)
	a := s.worker("POST", "/v1.0/users/"+sixMethods+"/revokeSignInSessions", nil).want(t, 200, "")
	want := map[string]any{"@odata.context": s.URL() + "/v1.0/$metadata#Edm.Boolean", "value": true}
	if diff := cmp.Diff(want, a.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if u, _ := s.User(sixMethods); u.SignInSessionsValidFromDateTime == nil || !u.SignInSessionsValidFromDateTime.Equal(t0) {
		t.Errorf("sessions valid from %v", u.SignInSessionsValidFromDateTime)
	}
	s.worker("POST", "/v1.0/users/"+externalGuest+"/revokeSignInSessions", nil).want(t, 400, "Request_BadRequest")
	s.as("identity-router", "POST", "/v1.0/users/"+sixMethods+"/revokeSignInSessions", nil).want(t, 403, "Authorization_RequestDenied")
	s.worker("POST", "/beta/users/"+sixMethods+"/invalidateAllRefreshTokens", nil).want(t, 204, "")
	s.worker("POST", "/v1.0/users/"+sixMethods+"/invalidateAllRefreshTokens", nil).want(t, 405, "Request_BadRequest")
}

func TestProvision(t *testing.T) {
	s := start(t)
	find := func() []string {
		return s.worker("GET", "/v1.0/users?$select=id&$filter="+url.QueryEscape("employeeId eq 'E1040'"), nil).want(t, 200, "").ids()
	}
	if got := find(); got != nil {
		t.Fatalf("found %v before the account exists", got)
	}
	u, err := s.Provision("E1040")
	if err != nil {
		t.Fatal(err)
	}
	if got := find(); len(got) != 1 || got[0] != u.ID {
		t.Errorf("found %v, want %s", got, u.ID)
	}
	if u.CreatedDateTime == nil || !u.CreatedDateTime.Equal(t0) {
		t.Errorf("created %v, want now", u.CreatedDateTime)
	}
	if _, err := s.Provision("E1040"); err == nil {
		t.Error("provisioned twice")
	}
}

func TestOrderCountAndReports(t *testing.T) {
	s := start(t)
	eventual := []string{"ConsistencyLevel", "eventual"}
	filter := "&$filter=" + url.QueryEscape("startsWith(employeeId,'E100')")
	for order, want := range map[string]string{"displayName": "Amara Diallo", "displayName desc": "Tomas Berg"} {
		a := s.worker("GET", "/v1.0/users?$count=true&$top=3&$select=displayName&$orderby="+order+filter, nil, eventual...).want(t, 200, "")
		if got := a.value()[0].(map[string]any)["displayName"]; got != want || a.body["@odata.count"] != 9.0 {
			t.Errorf("by %s: first %v of %v, want %s", order, got, a.body["@odata.count"], want)
		}
	}
	s.worker("GET", "/v1.0/users?$orderby=shoeSize", nil).want(t, 400, "BadRequest")
	s.worker("GET", "/v1.0/users?$orderby="+url.QueryEscape("displayName sideways"), nil).want(t, 400, "BadRequest")
	s.worker("GET", "/v1.0/users?$orderby=displayName"+filter, nil).want(t, 400, "Request_UnsupportedQuery")

	if a := s.worker("GET", "/v1.0/users/$count", nil, eventual...).want(t, 200, ""); a.text != "39" {
		t.Errorf("count %q", a.text)
	}
	if a := s.worker("GET", "/v1.0/users/$count?"+filter[1:], nil, eventual...).want(t, 200, ""); a.text != "9" {
		t.Errorf("filtered count %q", a.text)
	}
	s.worker("GET", "/v1.0/users/$count", nil).want(t, 400, "BadRequest")
	if got := s.worker("GET", "/v1.0/users/"+engineeringManager+"/directReports?$select=id", nil).want(t, 200, "").ids(); len(got) != 7 || got[0] != joiner {
		t.Errorf("reports %v", got)
	}
}

// A few limited roles do not make a person privileged.
func TestLimitedRoleDoesNotProtect(t *testing.T) {
	s := start(t)
	s.Mutate(func(tn *graph.Tenant) {
		tn.RoleAssignments = append(tn.RoleAssignments, &graph.RoleAssignment{ID: "a", PrincipalID: sixMethods, RoleDefinitionID: "4a5d8f65-41da-4de4-8968-e035b65339cf"})
	})
	s.worker("PATCH", "/v1.0/users/"+sixMethods, `{"accountEnabled":false}`).want(t, 204, "")
	s.Mutate(func(tn *graph.Tenant) {
		tn.RoleAssignments = append(tn.RoleAssignments, &graph.RoleAssignment{ID: "b", PrincipalID: sixMethods, RoleDefinitionID: "fe930be7-5e62-47db-91af-98c3a49a38b1"})
	})
	s.worker("PATCH", "/v1.0/users/"+sixMethods, `{"accountEnabled":true}`).want(t, 403, "Authorization_RequestDenied")
}

func TestFilterFollowsAChangedEmployeeID(t *testing.T) {
	s := start(t)
	s.as("tenant-administrator", "PATCH", "/v1.0/users/"+joiner, `{"employeeId":"N77"}`).want(t, 204, "")
	for id, want := range map[string]int{"E1004": 0, "n77": 1} {
		if got := s.worker("GET", "/v1.0/users?$filter="+url.QueryEscape("employeeId eq '"+id+"'"), nil).want(t, 200, "").ids(); len(got) != want {
			t.Errorf("%s finds %v, want %d", id, got, want)
		}
	}
}
