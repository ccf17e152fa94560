package plan_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
)

// The start date of these tests is Monday 30 November 2026 in Berlin (UTC+1), so a
// pass opens at 06:30 UTC and is issued from 27 November, 06:30 UTC.
var (
	madeAt   = time.Date(2026, 11, 23, 8, 15, 0, 0, time.UTC)
	opens    = time.Date(2026, 11, 30, 6, 30, 0, 0, time.UTC)
	issueAt  = opens.Add(-72 * time.Hour)
	earlier  = ledger.Statement{Key: "hr:0", Type: event.Joiner, MadeAt: madeAt.Add(-time.Hour), ReceivedAt: madeAt.Add(-time.Hour)}
	later    = ledger.Statement{Key: "hr:2", Type: event.Leaver, MadeAt: madeAt.Add(time.Hour), ReceivedAt: madeAt.Add(time.Hour)}
	ourPass  = identity.Pass{ID: "pass-1", StartsAt: opens, Lifetime: 8 * time.Hour}
	startDay = event.Date{Year: 2026, Month: time.November, Day: 30}
)

func statement(t *testing.T, typ event.Type, data map[string]any) event.Event {
	t.Helper()
	data["person"] = map[string]any{"employeeId": "E1042"}
	raw, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return event.Event{ID: "1", Source: "hr", Type: typ, Time: madeAt, ReceivedAt: madeAt.Add(time.Second), Key: "hr:1", UserID: someone, Data: raw}
}

func TestStart(t *testing.T) {
	joins := map[string]any{"startDate": "2026-11-30", "timeZone": "Europe/Berlin"}
	for name, c := range map[string]struct {
		now      time.Time
		data     map[string]any
		ledger   ledger.Ledger
		settings func(*plan.Settings)
		tenant   func(*plan.Tenant)

		decision plan.Decision
		reason   plan.Reason
		check    func(*testing.T, plan.Plan)
	}{
		"waits until the lead time": {
			now: issueAt.Add(-time.Second), decision: plan.Wait, reason: plan.DueLater,
			check: func(t *testing.T, p plan.Plan) {
				if !p.Until.Equal(issueAt) {
					t.Errorf("waits until %s, want %s", p.Until, issueAt)
				}
			},
		},
		"issues a pass that opens on the start date": {
			now: issueAt, decision: plan.Act,
			check: func(t *testing.T, p plan.Plan) {
				if r := request(t, p); !r.StartsAt.Equal(opens) || r.Lifetime != 8*time.Hour || r.OneTime || len(p.Flags) > 0 {
					t.Errorf("got %+v", p)
				}
			},
		},
		"issues at once when the day has begun": {
			now: opens.Add(time.Hour), decision: plan.Act,
			check: func(t *testing.T, p plan.Plan) {
				if !request(t, p).StartsAt.IsZero() || len(p.Flags) > 0 {
					t.Errorf("got %+v", p)
				}
			},
		},
		"issues no second one when it was interrupted after the delivery": {
			now: issueAt, ledger: ledger.Ledger{Pass: &ledger.Pass{ID: "pass-1", Key: "hr:1", Delivered: true}}, decision: plan.Nothing,
		},
		"tells when little of the first day is left": {
			now: time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC), decision: plan.Act,
			check: func(t *testing.T, p plan.Plan) {
				if len(p.Flags) != 1 || p.Flags[0].Cause != flag.ShortFirstDay {
					t.Error("three hours before midnight in Berlin are not flagged")
				}
			},
		},
		"still serves a start date in the past": {now: opens.Add(6 * 24 * time.Hour), decision: plan.Act},
		"holds a start date long past":          {now: opens.Add(8 * 24 * time.Hour), decision: plan.Hold, reason: plan.StartDatePast},
		"uses the default zone":                 {now: issueAt.Add(time.Hour), data: map[string]any{"startDate": "2026-11-30"}, decision: plan.Act},
		"holds without any zone": {
			now: issueAt, data: map[string]any{"startDate": "2026-11-30"}, settings: func(s *plan.Settings) { s.DefaultZone = nil },
			decision: plan.Hold, reason: plan.NoTimeZone,
		},
		"is obsolete after a later statement":   {now: issueAt, ledger: ledger.Ledger{Statement: &later}, decision: plan.Obsolete},
		"counts after an earlier statement":     {now: issueAt, ledger: ledger.Ledger{Statement: &earlier}, decision: plan.Act},
		"deletes the pass of the earlier date":  {now: issueAt.Add(-time.Hour), ledger: ledger.Ledger{Pass: &ledger.Pass{ID: "pass-1", Key: "hr:0"}}, decision: plan.Act, reason: plan.DueLater, check: steps(plan.DeletePass)},
		"keeps its own pass while it waits":     {now: issueAt.Add(-time.Hour), ledger: ledger.Ledger{Pass: &ledger.Pass{ID: "pass-1", Key: "hr:1"}}, decision: plan.Wait, reason: plan.DueLater},
		"does nothing twice for the same date":  {now: issueAt, ledger: ledger.Ledger{Applied: &ledger.Statement{StartDate: startDay}, Pass: &ledger.Pass{ID: "pass-1", Delivered: true}}, decision: plan.Nothing},
		"clamps the lifetime to the maximum":    {now: issueAt, settings: func(s *plan.Settings) { s.Lifetime = 48 * time.Hour }, decision: plan.Act, check: lifetime(8 * time.Hour)},
		"clamps the lifetime to the minimum":    {now: issueAt, settings: func(s *plan.Settings) { s.Lifetime = 10 * time.Minute }, decision: plan.Act, check: lifetime(time.Hour)},
		"asks for a one-time pass where policy": {now: issueAt, tenant: func(t *plan.Tenant) { t.Policy.OneTime = true }, decision: plan.Act, check: oneTime},
		"asks for a one-time pass where set":    {now: issueAt, settings: func(s *plan.Settings) { s.OneTime = true }, decision: plan.Act, check: oneTime},

		"account gone":                   {now: issueAt, tenant: func(t *plan.Tenant) { t.Account = nil }, decision: plan.NoUser},
		"external guest":                 {now: issueAt, tenant: func(t *plan.Tenant) { t.Account.External = true }, decision: plan.Hold, reason: plan.ExternalGuest},
		"disabled before the start":      {now: issueAt, tenant: disabled, decision: plan.Wait, reason: plan.AccountDisabled},
		"disabled on the start date":     {now: opens, tenant: disabled, decision: plan.Hold, reason: plan.AccountDisabled},
		"break-glass account":            {now: issueAt, settings: func(s *plan.Settings) { s.ProtectedAccounts = []identity.UserID{someone} }, decision: plan.Hold, reason: plan.ProtectedPerson},
		"holder of a role":               {now: issueAt, tenant: func(t *plan.Tenant) { t.ActiveRoles = []string{"User Administrator"} }, decision: plan.Hold, reason: plan.ProtectedPerson},
		"eligible for a role":            {now: issueAt, tenant: func(t *plan.Tenant) { t.EligibleRoles = []string{"User Administrator"} }, decision: plan.Hold, reason: plan.ProtectedPerson},
		"in a role-assignable group":     {now: issueAt, tenant: func(t *plan.Tenant) { t.Membership.RoleAssignable = []string{"Admins"} }, decision: plan.Hold, reason: plan.ProtectedPerson},
		"roles do not protect if not so": {now: issueAt, settings: func(s *plan.Settings) { s.ProtectRoleHolders = false }, tenant: func(t *plan.Tenant) { t.ActiveRoles = []string{"Reader"} }, decision: plan.Act},
		"has a method":                   {now: issueAt, tenant: method(identity.MethodPhone), decision: plan.Hold, reason: plan.AlreadyRegistered},
		"has a method of unknown kind":   {now: issueAt, tenant: method("retinaScan"), decision: plan.Hold, reason: plan.AlreadyRegistered},
		"e-mail is no second factor":     {now: issueAt, tenant: method(identity.MethodEmail), decision: plan.Act},
		"has signed in":                  {now: issueAt, tenant: func(t *plan.Tenant) { t.Account.LastSignIn = madeAt }, decision: plan.Hold, reason: plan.AlreadyRegistered},
		"policy disabled":                {now: issueAt, tenant: func(t *plan.Tenant) { t.Policy.Enabled = false }, decision: plan.Hold, reason: plan.PassPolicyOff},
		"policy excludes a nested group": {now: issueAt, tenant: excluded, decision: plan.Hold, reason: plan.PassPolicyExclude},
		"policy does not include":        {now: issueAt, tenant: func(t *plan.Tenant) { t.Policy.IncludeAll = false }, decision: plan.Hold, reason: plan.PassPolicyExclude},
		"policy includes by group":       {now: issueAt, tenant: included, decision: plan.Act},

		"somebody else's pass":           {now: issueAt, tenant: holdsPass, decision: plan.Hold, reason: plan.ForeignPass},
		"somebody else's spent pass":     {now: issueAt, tenant: func(t *plan.Tenant) { holdsPass(t); t.Passes[0].Spent = true }, decision: plan.Act},
		"our own pass is replaced":       {now: issueAt, tenant: holdsPass, ledger: ledger.Ledger{Pass: &ledger.Pass{ID: "pass-1", Key: "hr:0"}}, decision: plan.Act},
		"a pass we lost sight of":        {now: issueAt, tenant: holdsPass, ledger: ledger.Ledger{Pass: &ledger.Pass{Key: "hr:1", Issuing: issueAt}}, decision: plan.Act},
		"another pass than the one ours": {now: issueAt, tenant: holdsPass, ledger: ledger.Ledger{Pass: &ledger.Pass{ID: "pass-0", Key: "hr:0"}}, decision: plan.Hold, reason: plan.ForeignPass},
	} {
		t.Run(name, func(t *testing.T) {
			data := c.data
			if data == nil {
				data = joins
			}
			for _, typ := range []event.Type{event.Joiner, event.StartDateChanged} {
				in := plan.Input{Event: statement(t, typ, data), Ledger: &c.ledger, Settings: settings(), Now: c.now}
				if c.settings != nil {
					c.settings(&in.Settings)
				}
				p := decide(t, in, c.tenant)
				if p.Decision != c.decision || p.Reason != c.reason {
					t.Fatalf("%s: decided %s (%s: %s), want %s (%s)", typ, p.Decision, p.Reason, p.Detail, c.decision, c.reason)
				}
				if c.check != nil {
					c.check(t, p)
				}
			}
		})
	}
}

// request is the pass that the plan's only step issues.
func request(t *testing.T, p plan.Plan) identity.PassRequest {
	t.Helper()
	if len(p.Steps) != 1 || p.Steps[0].Action != plan.IssuePass {
		t.Fatalf("steps %+v, want one pass", p.Steps)
	}
	return p.Steps[0].Request
}

// steps wants the actions of the plan, in order.
func steps(want ...plan.Action) func(*testing.T, plan.Plan) {
	return func(t *testing.T, p plan.Plan) {
		t.Helper()
		var got []plan.Action
		for _, s := range p.Steps {
			got = append(got, s.Action)
		}
		if !slices.Equal(got, want) {
			t.Errorf("steps %v, want %v", got, want)
		}
	}
}

func lifetime(want time.Duration) func(*testing.T, plan.Plan) {
	return func(t *testing.T, p plan.Plan) {
		t.Helper()
		if got := request(t, p).Lifetime; got != want {
			t.Errorf("lifetime %s, want %s", got, want)
		}
	}
}

func oneTime(t *testing.T, p plan.Plan) {
	t.Helper()
	if !request(t, p).OneTime {
		t.Error("the pass would work more than once")
	}
}

func disabled(t *plan.Tenant)  { t.Account.Enabled = false }
func holdsPass(t *plan.Tenant) { t.Passes = []identity.Pass{ourPass} }
func included(t *plan.Tenant) {
	t.Policy.IncludeAll, t.Policy.IncludeGroups, t.Membership.Groups = false, []string{"G1"}, []string{"g0", "g1"}
}

func excluded(t *plan.Tenant) {
	t.Policy.ExcludeGroups, t.Membership.Groups = []string{"G1"}, []string{"g0", "g1"}
}

func method(kind identity.MethodKind) func(*plan.Tenant) {
	return func(t *plan.Tenant) { t.Methods = append(t.Methods, identity.Method{ID: "m", Kind: kind}) }
}

// decide reads the tenant only when asked to, as the worker does.
func decide(t *testing.T, in plan.Input, change func(*plan.Tenant)) plan.Plan {
	t.Helper()
	p, err := plan.Decide(in)
	if err == nil && p.Decision == plan.ReadTenant {
		in.Tenant = blank()
		if change != nil {
			change(in.Tenant)
		}
		p, err = plan.Decide(in)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCancelled(t *testing.T) {
	blocked := ledger.Ledger{Block: &ledger.Block{For: ledger.BlockedAsLeaver}}
	for name, c := range map[string]struct {
		cancels  string
		ledger   ledger.Ledger
		settings func(*plan.Settings)
		decision plan.Decision
		reason   plan.Reason
		steps    []plan.Action
	}{
		"before a pass":                 {cancels: "joiner", decision: plan.Nothing},
		"after a pass":                  {cancels: "joiner", ledger: ledger.Ledger{Pass: &ledger.Pass{ID: "pass-1"}}, decision: plan.Act, steps: []plan.Action{plan.DeletePass}},
		"after a pass of unknown id":    {cancels: "joiner", ledger: ledger.Ledger{Pass: &ledger.Pass{Issuing: madeAt}}, decision: plan.Act, steps: []plan.Action{plan.DeletePass}},
		"after a later statement":       {cancels: "joiner", ledger: ledger.Ledger{Statement: &later}, decision: plan.Obsolete},
		"of a leaver in time":           {cancels: "leaver", decision: plan.Nothing},
		"of a leaver, while they start": {cancels: "leaver", ledger: ledger.Ledger{Statement: &earlier}, decision: plan.Obsolete},
		"of a leaver shut out":          {cancels: "leaver", ledger: blocked, decision: plan.Hold, reason: plan.StillBlocked},
		"of a leaver, by itself":        {cancels: "leaver", ledger: blocked, settings: func(s *plan.Settings) { s.UnblockReturning = true }, decision: plan.Act, steps: []plan.Action{plan.UnblockSignIn}},
		"of one compromised since": {
			cancels: "leaver", ledger: ledger.Ledger{Block: blocked.Block, Compromise: &ledger.Compromise{Key: "risk:1"}},
			settings: func(s *plan.Settings) { s.UnblockReturning = true }, decision: plan.Hold, reason: plan.CompromiseStands,
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := plan.Input{Event: statement(t, event.Cancelled, map[string]any{"cancels": c.cancels}), Ledger: &c.ledger, Settings: settings(), Now: issueAt}
			if c.settings != nil {
				c.settings(&in.Settings)
			}
			p := decide(t, in, nil)
			if p.Decision != c.decision || p.Reason != c.reason {
				t.Errorf("got %+v, want %s %s", p, c.decision, c.reason)
			}
			steps(c.steps...)(t, p)
		})
	}
}

func TestUnknownTypesAreHeld(t *testing.T) {
	for _, typ := range []event.Type{"", event.Ref, "employee.promoted"} {
		p, err := plan.Decide(plan.Input{Event: event.Event{Type: typ}, Ledger: &ledger.Ledger{}, Settings: settings(), Now: madeAt})
		if err != nil || p.Decision != plan.Hold || p.Reason != plan.NotSupported {
			t.Errorf("%s: %+v, %v; want a hold", typ, p, err)
		}
	}
}

func TestBadDataIsAnError(t *testing.T) {
	for name, data := range map[string]string{
		"no start date": `{"person":{"employeeId":"1"},"timeZone":"Europe/Berlin"}`,
		"no such zone":  `{"person":{"employeeId":"1"},"startDate":"2026-11-30","timeZone":"Mars/Base"}`,
		"no such date":  `{"person":{"employeeId":"1"},"startDate":"2026-11-31","timeZone":"Europe/Berlin"}`,
		"not an object": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			e := event.Event{Type: event.Joiner, Data: json.RawMessage(data)}
			if _, err := plan.Decide(plan.Input{Event: e, Ledger: &ledger.Ledger{}, Settings: settings(), Now: madeAt}); !errors.Is(err, event.ErrBadData) {
				t.Errorf("got %v, want ErrBadData", err)
			}
		})
	}
}
