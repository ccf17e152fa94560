package graph

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"mfaflow/pkg/sim/clock"
)

// BenchmarkFindByEmployeeID is the router's question in a tenant of ten thousand.
func BenchmarkFindByEmployeeID(b *testing.B) {
	t := &Tenant{ID: "t", Domains: []string{"contoso.example"}}
	for i := range 10_000 {
		t.Users = append(t.Users, &User{ID: fmt.Sprintf("%08d", i), UserPrincipalName: fmt.Sprintf("p%d@contoso.example", i), EmployeeID: fmt.Sprintf("E%d", i), UserType: "Member"})
	}
	s := &Server{clock: clock.Real(), routes: newRoutes(), dir: newDirectory(t), throttle: throttle{used: map[string]*window{}}}
	r := &request{method: http.MethodGet, version: versionOne, path: []string{"users"}, header: http.Header{}, now: time.Now(),
		caller: &caller{roles: []string{"User.Read.All"}},
		query:  url.Values{"$filter": {"employeeId eq 'E7000'"}, "$select": {"id,userPrincipalName,accountEnabled"}}}
	for b.Loop() {
		if resp := s.execute(r); resp.status != http.StatusOK {
			b.Fatal(resp.body)
		}
	}
}

// BenchmarkReadEverybody reads a tenant of a hundred thousand page by page: everybody, the
// members of a group that holds everybody through another, and the report of registered
// methods under a filter.
func BenchmarkReadEverybody(b *testing.B) {
	t := &Tenant{ID: "t", Domains: []string{"contoso.example"}}
	inner := &Group{ID: "inner"}
	for i := range 100_000 {
		id := fmt.Sprintf("%08d", i)
		t.Users = append(t.Users, &User{ID: id, UserPrincipalName: id + "@contoso.example", UserType: "Member", AccountEnabled: true})
		inner.Members = append(inner.Members, id)
	}
	t.Groups = []*Group{inner, {ID: "outer", Members: []string{"inner"}}}
	s := &Server{clock: clock.Real(), routes: newRoutes(), dir: newDirectory(t), throttle: throttle{used: map[string]*window{}}}
	for name, c := range map[string]struct {
		path  []string
		query url.Values
	}{
		"users":             {[]string{"users"}, url.Values{"$top": {"999"}, "$select": {"id,accountEnabled"}}},
		"transitiveMembers": {[]string{"groups", "outer", "transitiveMembers", "graph.user"}, url.Values{"$top": {"999"}, "$select": {"id"}}},
		"registrations":     {[]string{"reports", "authenticationMethods", "userRegistrationDetails"}, url.Values{"$top": {"999"}, "$filter": {"isMfaCapable eq false"}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				query, pages := c.query, 0
				for query != nil {
					resp := s.execute(&request{method: http.MethodGet, version: versionOne, path: c.path, header: http.Header{}, query: query,
						caller: &caller{roles: []string{"User.Read.All", "GroupMember.Read.All", "AuditLog.Read.All"}}})
					if resp.status != http.StatusOK {
						b.Fatal(resp.body)
					}
					pages++
					query = nil
					if link, more := resp.body.(map[string]any)["@odata.nextLink"].(string); more {
						next, err := url.Parse(link)
						if err != nil {
							b.Fatal(err)
						}
						query = next.Query()
					}
				}
				b.ReportMetric(float64(pages), "pages/op")
			}
		})
	}
}
