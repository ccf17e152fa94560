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
