package graph_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

func TestFind(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	for _, tc := range []struct {
		name string
		who  identity.Reference
		want []identity.UserID
	}{
		{"object id", identity.Reference{ObjectID: string(mia)}, []identity.UserID{mia}},
		{"object id in capitals", identity.Reference{ObjectID: strings.ToUpper(string(mia))}, []identity.UserID{mia}},
		{"employee id", identity.Reference{EmployeeID: "E-1001"}, []identity.UserID{mia}},
		{"user principal name", identity.Reference{UserPrincipalName: "MIA.lind@contoso.example"}, []identity.UserID{mia}},
		{"mail", identity.Reference{Mail: "boss@contoso.example"}, []identity.UserID{boss}},
		{"mail with a quote", identity.Reference{Mail: "sean.o'hara@contoso.example"}, []identity.UserID{sean}},
		{"guest's #", identity.Reference{UserPrincipalName: "guest_partner.example#EXT#@contoso.example"}, []identity.UserID{guest}},
		{"identifiers that disagree", identity.Reference{EmployeeID: "E-1001", Mail: "boss@contoso.example"}, []identity.UserID{mia, boss}},
		{"two with one employee id", identity.Reference{EmployeeID: "E-7"}, []identity.UserID{"aaaaaaaa-0000-4000-8000-000000000007", "aaaaaaaa-0000-4000-8000-000000000008"}},
		{"one person by all", identity.Reference{ObjectID: string(mia), EmployeeID: "E-1001", UserPrincipalName: "mia.lind@contoso.example", Mail: "mia.lind@contoso.example"}, []identity.UserID{mia}},
		{"nobody", identity.Reference{EmployeeID: "E-9999"}, nil},
		{"injected filter", identity.Reference{EmployeeID: "x' or accountEnabled eq true or employeeId eq 'x"}, nil},
		{"reserved characters", identity.Reference{EmployeeID: "a&$top=1#?%27 +ü"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, err := c.Find(t.Context(), tc.who)
			if err != nil {
				t.Fatal(err)
			}
			var ids []identity.UserID
			for _, a := range found {
				ids = append(ids, a.ID)
			}
			slices.Sort(ids)
			if diff := cmp.Diff(tc.want, ids); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}

	t.Run("more than a page", func(t *testing.T) {
		s.Mutate(func(d *sim.Tenant) {
			for i := range 250 {
				d.Users = append(d.Users, &sim.User{ID: fmt.Sprintf("cccccccc-0000-4000-8000-%012d", i), UserType: "Member",
					UserPrincipalName: fmt.Sprintf("many%d@contoso.example", i), EmployeeID: "E-MANY"})
			}
		})
		found, err := c.Find(t.Context(), identity.Reference{EmployeeID: "E-MANY"})
		if err != nil || len(found) != 250 {
			t.Errorf("%d accounts, %v; want 250", len(found), err)
		}
	})
}

func TestAccount(t *testing.T) {
	c := worker(t, tenant(t))
	day := func(d int) time.Time { return time.Date(2025, 1, d, 8, 0, 0, 0, time.UTC) }
	for _, want := range []identity.Account{
		{ID: mia, UserPrincipalName: "mia.lind@contoso.example", DisplayName: "Mia Lind", Mail: "mia.lind@contoso.example", EmployeeID: "E-1001",
			OtherMails: []string{"mia@home.example"}, Enabled: true, Synced: true, CreatedAt: day(2)},
		{ID: boss, UserPrincipalName: "boss@contoso.example", DisplayName: "Boss", Mail: "boss@contoso.example", EmployeeID: "E-0002",
			Enabled: true, CreatedAt: day(3), LastSignIn: time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)},
		{ID: admin, UserPrincipalName: "ada.admin@contoso.example", DisplayName: "Ada Admin", Mail: "ada.admin@contoso.example", EmployeeID: "E-0003",
			Enabled: true, CreatedAt: day(4), LastSignIn: time.Date(2021, 6, 1, 7, 0, 0, 0, time.UTC)},
		{ID: guest, UserPrincipalName: "guest_partner.example#EXT#@contoso.example", DisplayName: "Guest_Partner Example#Ext#", Mail: "guest@partner.example",
			Enabled: true, Guest: true, External: true, CreatedAt: day(6)},
		{ID: inner, UserPrincipalName: "inner.guest@contoso.example", DisplayName: "Inner Guest", Guest: true, CreatedAt: day(7)},
	} {
		got, err := c.Account(t.Context(), want.ID)
		if err != nil {
			t.Errorf("%s: %v", want.UserPrincipalName, err)
			continue
		}
		if len(got.OtherMails) == 0 {
			got.OtherMails = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", want.UserPrincipalName, diff)
		}
	}
	if _, err := c.Account(t.Context(), nobody); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestAccountWithoutSignInActivity(t *testing.T) {
	s := tenant(t)
	c := as(t, s, "no-audit-log", s.URL())
	ctx, calls := correlation.Collect(t.Context())
	for range 2 {
		a, err := c.Account(ctx, boss)
		if err != nil || !a.Enabled || !a.LastSignIn.IsZero() {
			t.Fatalf("Account = %+v, %v", a, err)
		}
	}
	var statuses []int
	for _, call := range calls.List() {
		statuses = append(statuses, call.Status)
	}
	if diff := cmp.Diff([]int{403, 200, 200}, statuses); diff != "" {
		t.Errorf("the refusal is not remembered (-want +got)\n%s", diff)
	}
	// A refusal of the whole user is not a refusal of the property.
	if _, err := as(t, s, "nothing", s.URL()).Account(t.Context(), boss); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("app without permissions: %v", err)
	}
}

func TestManager(t *testing.T) {
	c := worker(t, tenant(t))
	m, err := c.Manager(t.Context(), mia)
	if err != nil || m.ID != boss || m.Mail != "boss@contoso.example" || !m.Enabled {
		t.Errorf("Manager = %+v, %v", m, err)
	}
	for _, id := range []identity.UserID{boss, nobody} {
		if _, err := c.Manager(t.Context(), id); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
