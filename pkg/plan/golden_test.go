package plan_test

import (
	"encoding/json"
	stdflag "flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/events"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
)

var update = stdflag.Bool("update", false, "rewrite events/golden")

// golden is what a sample leads to for a person whose account is new and blank (for
// events about staff: who has an Authenticator and a phone, and is at high risk), in
// a tenant whose policy is Microsoft's default but enabled. A change of the policy is one
// with a warning.
type golden struct {
	Steps []step `json:"steps"`
}

type step struct {
	// At is when the decision is made: on arrival, then whenever the one before
	// said to wait until.
	At       time.Time     `json:"at"`
	Decision plan.Decision `json:"decision"`
	Reason   plan.Reason   `json:"reason,omitempty"`
	Until    time.Time     `json:"until,omitzero"`
	Steps    []plan.Step   `json:"steps,omitempty"`
	Pass     *pass         `json:"pass,omitempty"`
	After    plan.Decision `json:"after,omitempty"`
	Class    plan.Class    `json:"class,omitempty"`
	Flags    []flag.Cause  `json:"flags,omitempty"`
}

type pass struct {
	Opens   time.Time `json:"opens,omitzero"`
	Minutes int       `json:"minutes"`
	OneTime bool      `json:"oneTime"`
}

func TestGoldenPlans(t *testing.T) {
	samples, err := fs.Glob(events.FS(), "samples/*/*.json")
	if err != nil || len(samples) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, name := range samples {
		t.Run(strings.TrimPrefix(name, "samples/"), func(t *testing.T) {
			raw, err := fs.ReadFile(events.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			e.Key, e.ReceivedAt = event.NewKey("hr", e.ID), e.Time.Add(time.Second)
			got, err := json.MarshalIndent(golden{Steps: follow(t, e)}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("..", "..", "events", strings.Replace(name, "samples/", "golden/", 1))
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("no golden plan; write it with go test ./pkg/plan -update and read it: %v", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("plan differs from %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func TestEveryGoldenPlanHasASample(t *testing.T) {
	goldens, err := fs.Glob(events.FS(), "golden/*/*.json")
	if err != nil || len(goldens) == 0 {
		t.Fatalf("no golden plans: %v", err)
	}
	for _, name := range goldens {
		if _, err := fs.Stat(events.FS(), strings.Replace(name, "golden/", "samples/", 1)); err != nil {
			t.Errorf("%s has no sample", name)
		}
	}
}

// follow makes the decisions one after the other until nothing is waited for.
func follow(t *testing.T, e event.Event) []step {
	t.Helper()
	var steps []step
	now := e.ReceivedAt
	memory, tenant := &ledger.Ledger{}, blank()
	if e.Type != event.Joiner && e.Type != event.StartDateChanged {
		tenant.Methods = append(tenant.Methods, identity.Method{ID: "a1", Kind: identity.MethodAuthenticator},
			identity.Method{ID: "3179e48a-750b-4051-897c-87b9720928f7", Kind: identity.MethodPhone, Phone: identity.PhoneMobile})
	}
	for attempt := range 5 {
		in := plan.Input{Event: e, Ledger: memory, Settings: settings(), Now: now, Attempt: attempt}
		p, err := plan.Decide(in)
		if err == nil && p.Decision == plan.ReadTenant {
			in.Tenant, in.Policy = tenant, warned()
			p, err = plan.Decide(in)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := step{At: now.UTC(), Decision: p.Decision, Reason: p.Reason, Steps: p.Steps, After: p.After, Class: p.Class}
		for _, x := range p.Steps {
			if x.Action == plan.IssuePass {
				s.Pass = &pass{Opens: x.Request.StartsAt.UTC(), Minutes: int(x.Request.Lifetime.Minutes()), OneTime: x.Request.OneTime}
			}
			switch x.Action {
			case plan.Mark:
				memory.StepDone(e.Key, string(x.Stage), now)
			case plan.BlockSignIn:
				tenant.Account.Enabled = false
			case plan.RemoveMethods:
				tenant.Methods = tenant.Methods[:1]
			default:
				memory.StepDone(e.Key, string(x.Action), now)
			}
		}
		for _, f := range p.Flags {
			s.Flags = append(s.Flags, f.Cause)
		}
		waits := p.Decision == plan.Wait || p.After == plan.Wait
		if waits {
			s.Until = p.Until.UTC()
		}
		steps = append(steps, s)
		if !waits {
			return steps
		}
		now = p.Until
	}
	t.Fatal("the plan waits forever")
	return nil
}

// settings are the defaults of the identity-worker.
func settings() plan.Settings {
	return plan.Settings{
		LeadTime: 72 * time.Hour, OpensAtHour: 7, OpensAtMinute: 30, DefaultZone: time.UTC,
		Lifetime: 8 * time.Hour, PastStart: 7 * 24 * time.Hour, ProtectRoleHolders: true,
		Grace: 7 * 24 * time.Hour, SyncCheck: 45 * time.Minute, MaxAge: 7 * 24 * time.Hour, SettleWindow: 24 * time.Hour,
		OnRiskySignIn: plan.RaiseFlag, OnSessionRevoked: plan.Record, OnCredentialChanged: plan.Record, OnMove: plan.Record,
		Requirements: map[string]plan.Requirement{
			"authenticator":      {Group: "0AC1B4C7-0000-4000-8000-000000000001", Methods: []identity.MethodKind{identity.MethodAuthenticator, identity.MethodFIDO2}},
			"phishing-resistant": {Group: "0ac1b4c7-0000-4000-8000-000000000002", Methods: []identity.MethodKind{identity.MethodFIDO2, identity.MethodWindowsHello}},
		},
		MethodPolicy:     true,
		MoveRequirements: map[string]string{"treasurer": "authenticator", "it operations": "phishing-resistant"},
	}
}

// warned is a change of the policy that takes nothing from anybody and that somebody should
// have read before, with the digest that the samples name.
func warned() *plan.PolicyChange {
	return &plan.PolicyChange{
		Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Steps: []string{"set system-preferred MFA: enabled"},
		Warnings: []string{"step 1 is written over Graph's beta, whose form may change"},
	}
}

const someone identity.UserID = "5b0e9c1e-0000-4000-8000-000000001042"

// blank is a person as provisioning leaves them: enabled, a password, no more.
func blank() *plan.Tenant {
	return &plan.Tenant{
		Account: &identity.Account{ID: someone, UserPrincipalName: "someone@contoso.example", Enabled: true},
		Risk:    &identity.Risk{Level: identity.RiskHigh, State: identity.RiskStateAtRisk},
		Methods: []identity.Method{{ID: "28c10230-6103-485e-b985-444c60001490", Kind: identity.MethodPassword}},
		Policy: identity.PassPolicy{
			Enabled: true, IncludeAll: true, MinLifetime: time.Hour, DefaultLifetime: time.Hour, MaxLifetime: 8 * time.Hour,
		},
	}
}
