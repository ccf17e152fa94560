package graph_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/graph"
)

func group(n string) string { return "20000000-0000-4000-8000-0000000000" + n }

func TestMemberships(t *testing.T) {
	s := start(t)
	contractors := []string{group("03"), group("09"), group("01"), group("07"), group("08")}
	slices.Sort(contractors)
	for name, tc := range map[string]struct {
		path string
		want []string
	}{
		"direct":                      {"/v1.0/users/" + excluded + "/memberOf", []string{group("03"), group("09")}},
		"transitive":                  {"/v1.0/users/" + excluded + "/transitiveMemberOf", contractors},
		"cast":                        {"/v1.0/users/" + excluded + "/transitiveMemberOf/microsoft.graph.group?$select=id", contractors},
		"cast as the SDK writes it":   {"/v1.0/users/" + excluded + "/transitiveMemberOf/graph.group", contractors},
		"roles among the memberships": {"/v1.0/users/" + administrator + "/memberOf", []string{group("01"), "62e90394-69f5-4237-9190-012177145e10"}},
		"roles only":                  {"/v1.0/users/" + administrator + "/memberOf/graph.directoryRole", []string{"62e90394-69f5-4237-9190-012177145e10"}},
		"role through a group":        {"/v1.0/users/" + roleGroupMember + "/transitiveMemberOf/graph.directoryRole", []string{"729827e3-9c14-49f7-bb1b-9608f156bbb8"}},
		"eligible is not active":      {"/v1.0/users/" + eligible + "/transitiveMemberOf/graph.directoryRole", nil},
		"members":                     {"/v1.0/groups/" + group("08") + "/members", []string{group("09")}},
		"transitive members":          {"/v1.0/groups/" + group("08") + "/transitiveMembers/graph.user", []string{excluded}},
		"owners":                      {"/v1.0/groups/" + group("11") + "/owners", []string{administrator}},
		"role-assignable groups":      {"/v1.0/groups?$filter=" + url.QueryEscape("isAssignableToRole eq true"), []string{group("11")}},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.worker("GET", tc.path, nil).want(t, 200, "")
			if diff := cmp.Diff(tc.want, a.ids()); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
		})
	}
	if a := s.worker("GET", "/v1.0/groups/"+group("11"), nil).want(t, 200, ""); a.body["isAssignableToRole"] != true || a.body["displayName"] != "Service Desk Operators" {
		t.Errorf("group %s", a.text)
	}
	s.worker("GET", "/v1.0/groups/"+group("99"), nil).want(t, 404, "Request_ResourceNotFound")
	s.as("identity-router", "GET", "/v1.0/groups/"+group("01"), nil).want(t, 403, "Authorization_RequestDenied")
}

func TestGroupsInACircle(t *testing.T) {
	s := start(t)
	s.Mutate(func(tn *graph.Tenant) {
		for _, g := range tn.Groups {
			if g.ID == group("09") {
				g.Members = append(g.Members, group("07"))
			}
		}
	})
	a := s.worker("GET", "/v1.0/users/"+excluded+"/transitiveMemberOf", nil).want(t, 200, "")
	if len(a.ids()) != 5 {
		t.Errorf("groups %v", a.ids())
	}
	a = s.worker("GET", "/v1.0/groups/"+group("07")+"/transitiveMembers", nil).want(t, 200, "")
	if len(a.ids()) != 7 { // three groups and four people: itself left out
		t.Errorf("members %v", a.ids())
	}
}

func TestCheckMemberGroups(t *testing.T) {
	s := start(t)
	path := "/v1.0/users/" + excluded + "/checkMemberGroups"
	a := s.worker("POST", path, map[string]any{"groupIds": []string{group("07"), group("02"), "no-such-group"}}).want(t, 200, "")
	if diff := cmp.Diff([]any{group("07")}, a.value()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	many := make([]string, 21)
	s.worker("POST", path, map[string]any{"groupIds": many}).want(t, 400, "Request_BadRequest")
	s.worker("POST", path, `{}`).want(t, 400, "Request_BadRequest")
	a = s.worker("POST", "/v1.0/users/"+excluded+"/getMemberGroups", `{"securityEnabledOnly":true}`).want(t, 200, "")
	if len(a.value()) != 5 {
		t.Errorf("member of %v", a.value())
	}
}

func TestDirectoryRoles(t *testing.T) {
	s := start(t)
	roles := func(kind, principal string) []any {
		return s.worker("GET", "/v1.0/roleManagement/directory/"+kind+"?$expand=roleDefinition($select=displayName)&$filter="+url.QueryEscape("principalId eq '"+principal+"'"), nil).want(t, 200, "").value()
	}
	name := func(v any) any {
		return v.(map[string]any)["roleDefinition"].(map[string]any)["displayName"]
	}
	if got := roles("roleAssignments", administrator); len(got) != 1 || name(got[0]) != "Global Administrator" {
		t.Errorf("assignments %v", got)
	}
	if got := roles("roleAssignments", group("11")); len(got) != 1 || name(got[0]) != "Helpdesk Administrator" {
		t.Errorf("assignments of a group %v", got)
	}
	if got := roles("roleAssignments", eligible); len(got) != 0 {
		t.Errorf("an eligible person has assignments %v", got)
	}
	if got := roles("roleEligibilityScheduleInstances", eligible); len(got) != 1 || name(got[0]) != "User Administrator" {
		t.Errorf("eligibilities %v", got)
	}
	a := s.worker("GET", "/v1.0/roleManagement/directory/roleDefinitions/62e90394-69f5-4237-9190-012177145e10", nil).want(t, 200, "")
	if a.body["displayName"] != "Global Administrator" {
		t.Errorf("definition %s", a.text)
	}
	if got := s.worker("GET", "/v1.0/roleManagement/directory/roleDefinitions?$filter="+url.QueryEscape("displayName eq 'User Administrator'"), nil).want(t, 200, "").ids(); len(got) != 1 {
		t.Errorf("definitions %v", got)
	}
	s.as("identity-router", "GET", "/v1.0/roleManagement/directory/roleAssignments", nil).want(t, 403, "Authorization_RequestDenied")
}

func TestUnknownPathsAndVerbs(t *testing.T) {
	s := start(t)
	for name, tc := range map[string]struct {
		method, path string
		status       int
		code         string
		message      string
	}{
		"unknown root":       {"GET", "/v1.0/unicorns", 400, "BadRequest", "Resource not found for the segment 'unicorns'."},
		"unknown below user": {"GET", "/v1.0/users/" + joiner + "/unicorns", 400, "BadRequest", "Resource not found for the segment 'unicorns'."},
		"wrong verb":         {"PUT", "/v1.0/users/" + joiner, 405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."},
		"me":                 {"GET", "/v1.0/me", 400, "BadRequest", "/me request is only valid with delegated authentication flow."},
		"the root":           {"GET", "/v1.0/", 400, "BadRequest", "Resource not found for the segment ''."},
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.worker(tc.method, tc.path, nil).want(t, tc.status, tc.code); a.errorMessage() != tc.message {
				t.Errorf("message %q", a.errorMessage())
			}
		})
	}
	s.worker("GET", "/v1.0/Users/"+joiner+"/Manager", nil).want(t, 200, "")
	s.worker("PATCH", "/v1.0/users/"+joiner, `{"accountEnabled":true,"x":"`+string(make([]byte, 4<<20))+`"}`).want(t, 413, "RequestEntityTooLarge")
}
