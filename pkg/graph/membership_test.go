package graph_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

func TestMembershipAndRoles(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	m, err := c.Membership(t.Context(), admin)
	want := identity.Membership{
		Groups:         []string{"99999999-0000-4000-8000-000000009001", "99999999-0000-4000-8000-000000009002"},
		RoleAssignable: []string{"Role carriers"},
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(m.Groups)
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("membership (-want +got)\n%s", diff)
	}

	for id, want := range map[identity.UserID][2][]string{
		admin: {{"Global Reader", "Helpdesk Administrator"}, nil},
		eli:   {nil, {"Global Administrator"}},
		mia:   {nil, nil},
	} {
		active, eligible, err := c.Roles(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, [2][]string{active, eligible}); diff != "" {
			t.Errorf("roles of %s (-want +got)\n%s", id, diff)
		}
	}

	t.Run("any failing part fails the whole", func(t *testing.T) {
		for _, path := range []string{"/users/*/transitiveMemberOf", "/roleManagement/directory/roleAssignments", "/roleManagement/directory/roleEligibilityScheduleInstances"} {
			// Without end: a request of the round before, given up, may still arrive.
			arm(t, s, sim.Fault{Path: path, Kind: sim.FaultStatus, Status: 400, Code: "BadRequest", Count: -1})
			if _, _, err := c.Roles(t.Context(), mia); !errors.Is(err, identity.ErrRefused) {
				t.Errorf("%s: %v", path, err)
			}
			s.ClearFaults()
		}
	})

	t.Run("a tenant without PIM has no eligible roles", func(t *testing.T) {
		arm(t, s, sim.Fault{Path: "/roleManagement/directory/roleEligibilityScheduleInstances", Kind: sim.FaultStatus, Status: 400, Code: "AadPremiumLicenseRequired", Count: -1})
		defer s.ClearFaults()
		if active, eligible, err := c.Roles(t.Context(), admin); err != nil || len(active) == 0 || len(eligible) != 0 {
			t.Errorf("%v, %v, %v", active, eligible, err)
		}
		// The code says nothing about roles that are held.
		arm(t, s, sim.Fault{Path: "/roleManagement/directory/roleAssignments", Kind: sim.FaultStatus, Status: 400, Code: "AadPremiumLicenseRequired", Count: -1})
		if _, _, err := c.Roles(t.Context(), admin); !errors.Is(err, identity.ErrRefused) {
			t.Errorf("roles held: %v", err)
		}
	})

	t.Run("every page", func(t *testing.T) {
		s.Mutate(func(d *sim.Tenant) {
			for i := range 1200 {
				d.Groups = append(d.Groups, &sim.Group{ID: fmt.Sprintf("dddddddd-0000-4000-8000-%012d", i), DisplayName: fmt.Sprint("Group ", i), Members: []string{string(sean)}})
			}
		})
		m, err := c.Membership(t.Context(), sean)
		if err != nil || len(m.Groups) != 1200 {
			t.Errorf("%d groups, %v; want 1200", len(m.Groups), err)
		}
	})
}

func TestHiddenMembership(t *testing.T) {
	hidden := func(kind string) *graph.Client {
		return wired(t, func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "roleManagement") {
				return says(200, `{"value":[]}`), nil
			}
			return says(200, `{"value":[{"@odata.type":"#microsoft.graph.`+kind+`","id":"99999999-0000-4000-8000-000000009002","displayName":null}]}`), nil
		})
	}
	if _, err := hidden("group").Membership(t.Context(), mia); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("hidden group: %v", err)
	}
	if _, _, err := hidden("directoryRole").Roles(t.Context(), mia); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("hidden role: %v", err)
	}
	if m, err := hidden("administrativeUnit").Membership(t.Context(), mia); err != nil || len(m.Groups) != 0 {
		t.Errorf("hidden unit: %v, %v", m, err)
	}
}
