package plan_test

import (
	"encoding/json"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
)

const strong = "0ac1b4c7-0000-4000-8000-000000000002"

func decided(t *testing.T, typ event.Type, data map[string]any, tenant *plan.Tenant, now time.Time, released ...plan.Reason) plan.Plan {
	t.Helper()
	data["person"] = map[string]any{"employeeId": "E1"}
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	e := event.Event{Type: typ, ID: "1", Key: event.NewKey("hr", "1"), Time: now, Data: raw}
	in := plan.Input{Event: e, Ledger: &ledger.Ledger{}, Settings: settings(), Now: now, Released: released}
	p, err := plan.Decide(in)
	if err == nil && p.Decision == plan.ReadTenant {
		in.Tenant = tenant
		p, err = plan.Decide(in)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A requirement is set for whoever can meet it, and for nobody who would be locked out.
func TestRequirement(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key := identity.Method{ID: "k", Kind: identity.MethodFIDO2}
	for name, c := range map[string]struct {
		name     string
		tenant   func(*plan.Tenant)
		released []plan.Reason
		decision plan.Decision
		reason   plan.Reason
	}{
		"has the method": {"phishing-resistant", func(t *plan.Tenant) { t.Methods = append(t.Methods, key) }, nil, plan.Act, ""},
		"has another": {"phishing-resistant", func(t *plan.Tenant) {
			t.Methods = append(t.Methods, identity.Method{Kind: identity.MethodAuthenticator})
		}, nil, plan.Hold, plan.RequirementUnmet},
		"released, still without": {"phishing-resistant", func(*plan.Tenant) {}, []plan.Reason{plan.RequirementUnmet}, plan.Hold, plan.RequirementUnmet},
		"a pass is no such method": {"phishing-resistant", func(t *plan.Tenant) {
			t.Methods = append(t.Methods, identity.Method{Kind: identity.MethodTemporaryAccessPass})
		}, nil, plan.Hold, plan.RequirementUnmet},
		"in the group":        {"phishing-resistant", func(t *plan.Tenant) { t.Membership.Groups = []string{"0AC1B4C7-0000-4000-8000-000000000002"} }, nil, plan.Nothing, ""},
		"no such requirement": {"quantum", func(t *plan.Tenant) { t.Methods = append(t.Methods, key) }, nil, plan.Hold, plan.UnknownRequirement},
		"an administrator": {"phishing-resistant", func(t *plan.Tenant) {
			t.Methods, t.ActiveRoles = append(t.Methods, key), []string{"Global Administrator"}
		}, nil, plan.Hold, plan.ProtectedPerson},
		"an administrator, twice approved": {"phishing-resistant", func(t *plan.Tenant) {
			t.Methods, t.ActiveRoles = append(t.Methods, key), []string{"Global Administrator"}
		},
			[]plan.Reason{plan.ProtectedPerson}, plan.Act, ""},
		"a guest": {"phishing-resistant", func(t *plan.Tenant) { t.Methods, t.Account.External = append(t.Methods, key), true }, nil, plan.Hold, plan.ExternalGuest},
		"gone":    {"phishing-resistant", func(t *plan.Tenant) { t.Account = nil }, nil, plan.NoUser, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := blank()
			c.tenant(tenant)
			p := decided(t, event.RequirementSet, map[string]any{"requirement": c.name, "requestedBy": "a@b.example"}, tenant, now, c.released...)
			if p.Decision != c.decision || p.Reason != c.reason || p.Destructive() {
				t.Errorf("%s %s: %s", p.Decision, p.Reason, p.Detail)
			}
			if p.Decision == plan.Act && (len(p.Steps) != 1 || p.Steps[0].Action != plan.AddToGroup || p.Steps[0].Group != strong) {
				t.Errorf("steps %+v", p.Steps)
			}
		})
	}
}

// A move into a role or department of the settings brings their requirement, on its day.
func TestMoveBringsRequirement(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	able := func() *plan.Tenant {
		t := blank()
		t.Methods = append(t.Methods, identity.Method{Kind: identity.MethodFIDO2}, identity.Method{Kind: identity.MethodAuthenticator})
		return t
	}
	for name, c := range map[string]struct {
		data     map[string]any
		now      time.Time
		decision plan.Decision
		group    string
	}{
		"role":              {map[string]any{"role": "Treasurer"}, now, plan.Act, "0ac1b4c7-0000-4000-8000-000000000001"},
		"department":        {map[string]any{"role": "Engineer", "department": "IT Operations"}, now, plan.Act, strong},
		"role before":       {map[string]any{"role": "treasurer", "department": "IT Operations"}, now, plan.Act, "0ac1b4c7-0000-4000-8000-000000000001"},
		"neither":           {map[string]any{"role": "Engineer"}, now, plan.Nothing, ""},
		"next month":        {map[string]any{"department": "IT Operations", "effectiveDate": "2026-12-01", "timeZone": "Europe/Berlin"}, now, plan.Wait, ""},
		"a minute too soon": {map[string]any{"department": "IT Operations", "effectiveDate": "2026-12-01", "timeZone": "Europe/Berlin"}, time.Date(2026, 11, 30, 22, 59, 0, 0, time.UTC), plan.Wait, ""},
		"on its day":        {map[string]any{"department": "IT Operations", "effectiveDate": "2026-12-01", "timeZone": "Europe/Berlin"}, time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC), plan.Act, strong},
	} {
		t.Run(name, func(t *testing.T) {
			p := decided(t, event.Mover, c.data, able(), c.now)
			if p.Decision != c.decision {
				t.Fatalf("%s %s: %s", p.Decision, p.Reason, p.Detail)
			}
			if c.group != "" && p.Steps[0].Group != c.group {
				t.Errorf("steps %+v", p.Steps)
			}
			if p.Decision == plan.Wait && !p.Until.Equal(time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)) {
				t.Errorf("until %s", p.Until)
			}
		})
	}
}
