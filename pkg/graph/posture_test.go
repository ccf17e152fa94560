package graph_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	sim "mfaflow/pkg/sim/graph"
)

func report(t *testing.T, change func(*sim.Tenant)) (*graph.Client, *sim.Server) {
	t.Helper()
	people, err := sim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	change(people)
	s, err := sim.Start(t.Context(), sim.Options{Tenant: people})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return as(t, s, "readiness-report", s.URL()), s
}

// Words of Graph that nobody here knows are handed on, and conditions that say nothing are
// none.
func TestConditionalPolicies(t *testing.T) {
	c, _ := report(t, func(people *sim.Tenant) {
		people.Policies.ConditionalAccess = []sim.Document{{
			"id": "60000000-0000-4000-8000-00000000000A", "displayName": "odd", "state": "enabledForSome",
			"conditions": map[string]any{
				"clientAppTypes": []any{"browser", "telepathy"},
				"applications":   map[string]any{"includeApplications": []any{"All"}, "excludeApplications": []any{"797F4846-BA00-4FD7-BA43-DAC1F8F63013"}, "applicationFilter": nil},
				"users": map[string]any{
					"includeUsers": []any{"All"}, "excludeGroups": []any{"20000000-0000-4000-8000-00000000000A"},
					"excludeGuestsOrExternalUsers": map[string]any{"guestOrExternalUserTypes": "internalGuest,b2bCollaborationGuest", "externalTenants": map[string]any{"membershipKind": "enumerated"}},
				},
				"locations":           map[string]any{"includeLocations": []any{"All"}, "excludeLocations": []any{"AllTrusted"}},
				"platforms":           nil,
				"devices":             map[string]any{"deviceFilter": nil},
				"signInRiskLevels":    []any{},
				"userRiskLevels":      []any{"high"},
				"authenticationFlows": map[string]any{"transferMethods": "deviceCodeFlow"},
				"weather":             map[string]any{"include": []any{"rain"}},
			},
			"grantControls": map[string]any{"operator": "AND", "builtInControls": []any{"mfa", "compliantDevice"}, "termsOfUse": []any{"x"},
				"authenticationStrength": map[string]any{"id": "00000000-0000-0000-0000-000000000004"}},
		}}
	})
	p, err := c.ConditionalPolicies(t.Context(), "")
	if err != nil || len(p.Items) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	got := p.Items[0]
	switch {
	case got.ID != "60000000-0000-4000-8000-00000000000a" || got.State != "enabledForSome":
		t.Errorf("%s %s", got.ID, got.State)
	case !slices.Equal(got.Exclude.Groups, []string{"20000000-0000-4000-8000-00000000000a"}) || !slices.Equal(got.Exclude.Guests, []string{"internalGuest", "b2bCollaborationGuest"}) || !got.Exclude.GuestTenants:
		t.Errorf("%+v", got.Exclude)
	case !slices.Equal(got.Apps.Exclude, []string{posture.AzureManagement}) || got.Apps.Filtered:
		t.Errorf("%+v", got.Apps)
	case !slices.Equal(got.Others, []string{"authenticationFlows", "weather"}) || !slices.Equal(got.Risks, []string{`userRiskLevels: "high"`}):
		t.Errorf("%v %v", got.Others, got.Risks)
	case !slices.Equal(got.Clients, []string{"browser", "telepathy"}) || !slices.Equal(got.Locations.Exclude, []string{"AllTrusted"}):
		t.Errorf("%v %+v", got.Clients, got.Locations)
	case !got.Grant.All || got.Grant.Others != 1 || got.Grant.Strength != "00000000-0000-0000-0000-000000000004":
		t.Errorf("%+v", got.Grant)
	}
}

// Where people prove who they are: by the issuer of their identity, the trust in other
// tenants, and the federation of their domain.
func TestElsewhere(t *testing.T) {
	yes, no := true, false
	c, s := report(t, func(people *sim.Tenant) {
		people.Domains = append(people.Domains, "Labs.contoso.example", "depot.contoso.example")
		people.Policies.Federations = []sim.Federation{{Domain: "Labs.contoso.example", MFABehaviour: "rejectMfaByFederatedIdp"}, {Domain: "depot.contoso.example"}}
		people.Policies.TrustGuestMFA = true
		people.Policies.Partners = []sim.Partner{
			{TenantID: "70000000-0000-4000-8000-00000000000A", TrustMFA: &no}, {TenantID: "70000000-0000-4000-8000-00000000000b"}, {TenantID: "70000000-0000-4000-8000-00000000000c", TrustMFA: &yes},
		}
		for _, u := range people.Users {
			if strings.HasPrefix(u.UserPrincipalName, "fabrice.morel_") {
				u.HomeTenant, u.IdentityIssuer = "", "google.com"
			}
		}
	})
	tenant, err := c.Organization(t.Context())
	if err != nil || !slices.Equal(tenant.Federated, []string{"depot.contoso.example", "labs.contoso.example"}) {
		t.Errorf("%+v, %v", tenant, err)
	}
	for domain, want := range map[string]posture.FederatedMFA{"labs.contoso.example": posture.RejectFederatedMFA, "depot.contoso.example": "", "below.labs.contoso.example": ""} {
		if f, err := c.Federation(t.Context(), domain); err != nil || f != want {
			t.Errorf("%s: %q, %v", domain, f, err)
		}
	}
	if _, err := c.Federation(t.Context(), "../users"); err == nil {
		t.Error("a path is no domain")
	}
	if a, err := c.GuestTrust(t.Context()); err != nil || a != posture.Yes {
		t.Errorf("%s, %v", a, err)
	}
	p, err := c.PartnerTrusts(t.Context(), "")
	if want := []readiness.PartnerTrust{{Tenant: "70000000-0000-4000-8000-00000000000a", Counts: posture.No}, {Tenant: "70000000-0000-4000-8000-00000000000c", Counts: posture.Yes}}; err != nil || !slices.Equal(p.Items, want) {
		t.Errorf("%+v, %v", p.Items, err)
	}
	people, err := c.People(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	homes := map[string]posture.Answer{}
	for _, x := range people.Items {
		if name, _, _ := strings.Cut(x.UserPrincipalName, "_"); x.Kind.External() {
			homes[name] = x.HomeTenant
		} else if x.HomeTenant != "" {
			t.Errorf("%+v", x)
		}
	}
	if homes["fabrice.morel"] != posture.No || homes["rosa.blom"] != posture.Yes {
		t.Errorf("%v", homes)
	}
	for what, err := range map[string]func() error{
		"/policies/crossTenantAccessPolicy/default":  func() error { _, err := c.GuestTrust(t.Context()); return err },
		"/policies/crossTenantAccessPolicy/partners": func() error { _, err := c.PartnerTrusts(t.Context(), ""); return err },
		"/domains/*/federationConfiguration":         func() error { _, err := c.Federation(t.Context(), "labs.contoso.example"); return err },
	} {
		if _, err := s.AddFault(sim.Fault{Path: what, Kind: sim.FaultStatus, Status: 403, Code: "Authorization_RequestDenied", Count: 1}); err != nil {
			t.Fatal(err)
		}
		if err := err(); !errors.Is(err, identity.ErrForbidden) || !strings.Contains(err.Error(), ".Read.All") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The bulk read of per-user MFA is not documented: refused, it is an error, and never
// "disabled".
func TestPerUserMFAInBulk(t *testing.T) {
	c, s := report(t, func(*sim.Tenant) {})
	p, err := c.PerUserMFA(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	states := map[posture.PerUserMFA]int{}
	for _, i := range p.Items {
		states[i.State]++
	}
	if states[posture.PerUserEnforced] == 0 || states[posture.PerUserDisabled] == 0 {
		t.Errorf("%v", states)
	}
	if _, err := s.AddFault(sim.Fault{Path: "/users", Kind: sim.FaultStatus, Status: 400}); err != nil {
		t.Fatal(err)
	}
	if p, err := c.PerUserMFA(t.Context(), ""); !errors.Is(err, identity.ErrRefused) || len(p.Items) > 0 {
		t.Errorf("%d states, %v", len(p.Items), err)
	}
}

func TestEnforcedSignIns(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	c, _ := report(t, func(people *sim.Tenant) { people.Behaviour.ReportDelay = 0 })
	q := readiness.SignInQuery{AppID: "04b07795-8ddb-461a-bbee-02f9e1bf7b46", Since: at.AddDate(0, 0, -30), Until: at}
	p, err := c.EnforcedSignIns(t.Context(), q, "")
	if err != nil || len(p.Items) != 5 {
		t.Fatalf("%+v, %v", p.Items, err)
	}
	for _, i := range p.Items {
		if i.Protocol != posture.ROPC || !i.Succeeded || i.User == "" {
			t.Errorf("%+v", i)
		}
	}
	q.Interactive = true
	if p, err := c.EnforcedSignIns(t.Context(), q, ""); err != nil || len(p.Items) != 0 {
		t.Errorf("%+v, %v", p.Items, err)
	}
	q.AppID = "' or 1 eq 1"
	if _, err := c.EnforcedSignIns(t.Context(), q, ""); !errors.Is(err, identity.ErrRefused) {
		t.Errorf("%v", err)
	}
	for _, link := range []string{"https://elsewhere.example/v1.0/x", "/v1.0/x"} {
		q.AppID = posture.Portal
		if _, err := c.EnforcedSignIns(t.Context(), q, link); !errors.Is(err, identity.ErrRefused) {
			t.Errorf("%s: %v", link, err)
		}
	}
}

// Over v1.0 nobody knows whether a program knew the password, unless it was a browser; and
// whoever had the right password was there, though MFA or a policy kept them out.
func TestSignInsOverV1(t *testing.T) {
	const azureCLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	c, s := report(t, func(people *sim.Tenant) {
		people.Behaviour.ReportDelay = 0
		for i, in := range []sim.SignIn{
			{Protocol: "ropc", Client: "Mobile Apps and Desktop clients"},
			{Protocol: "oAuth2", Client: "Browser"},
			{Protocol: "oAuth2", Client: "Browser", Code: 50076},
			{Protocol: "oAuth2", Client: "Browser", Code: 50126},
		} {
			when := at.Add(-time.Duration(i+1) * time.Hour)
			in.User, in.Time, in.AppID, in.Event = people.Users[0].ID, &when, azureCLI, "interactiveUser"
			people.SignIns = append(people.SignIns, &in)
		}
	})
	q := readiness.SignInQuery{AppID: azureCLI, Since: at.AddDate(0, 0, -1), Until: at, Interactive: true}
	for _, want := range []posture.Protocol{posture.ROPC, posture.UnknownProtocol} {
		p, err := c.EnforcedSignIns(t.Context(), q, "")
		if err != nil || len(p.Items) != 4 {
			t.Fatalf("%+v, %v", p.Items, err)
		}
		for i, protocol := range []posture.Protocol{want, posture.OtherProtocol, posture.OtherProtocol, posture.OtherProtocol} {
			if p.Items[i].Protocol != protocol || p.Items[i].Succeeded != (i < 3) {
				t.Errorf("%d: %+v, want %s", i, p.Items[i], protocol)
			}
		}
		if _, err := s.AddFault(sim.Fault{Path: "/auditLogs/signIns", Kind: sim.FaultStatus, Status: 400}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGroupsOfNobody(t *testing.T) {
	c, _ := report(t, func(*sim.Tenant) {})
	if _, err := c.GroupName(context.WithoutCancel(t.Context()), "20000000-0000-4000-8000-999999999999"); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.GroupMembers(t.Context(), "x", ""); !errors.Is(err, identity.ErrRefused) {
		t.Errorf("%v", err)
	}
}
