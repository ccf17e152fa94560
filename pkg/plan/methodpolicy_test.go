package plan_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
)

// What becomes of a change of the policy by what its plan says, by what was shown to
// operators, and by what they said.
func TestMethodPolicy(t *testing.T) {
	const digest, other = "1111111111111111111111111111111111111111111111111111111111111111", "2222222222222222222222222222222222222222222222222222222222222222"
	released := []plan.Reason{plan.PolicyApproval}
	one := []string{"enable the method fido2"}
	for name, c := range map[string]struct {
		reviewed string
		memory   ledger.PolicyChange
		change   plan.PolicyChange
		released []plan.Reason
		decision plan.Decision
		reason   plan.Reason
		says     string
	}{
		"nothing to be said":                   {change: plan.PolicyChange{Digest: digest, Steps: one}, decision: plan.Act, says: "policy changed"},
		"nothing to do":                        {change: plan.PolicyChange{Digest: digest}, decision: plan.Nothing},
		"a warning":                            {change: plan.PolicyChange{Digest: digest, Steps: one, Warnings: []string{"beta"}}, decision: plan.Hold, reason: plan.PolicyApproval, says: digest},
		"a warning that was read":              {reviewed: digest, change: plan.PolicyChange{Digest: digest, Steps: one, Warnings: []string{"beta"}}, decision: plan.Act},
		"another plan than was reviewed":       {reviewed: other, change: plan.PolicyChange{Digest: digest, Steps: one}, decision: plan.Hold, reason: plan.PolicyApproval, says: "another one than the event names"},
		"somebody loses":                       {change: plan.PolicyChange{Digest: digest, Steps: one, Concerns: []string{"only-method"}}, decision: plan.Hold, reason: plan.PolicyApproval, says: "only-method"},
		"somebody loses, reviewed":             {reviewed: digest, change: plan.PolicyChange{Digest: digest, Steps: one, Concerns: []string{"only-method"}}, decision: plan.Hold, reason: plan.PolicyApproval},
		"somebody loses, released":             {memory: ledger.PolicyChange{Shown: digest}, change: plan.PolicyChange{Digest: digest, Steps: one, Concerns: []string{"only-method"}}, released: released, decision: plan.Act},
		"shown and not released":               {memory: ledger.PolicyChange{Shown: digest}, change: plan.PolicyChange{Digest: digest, Steps: one, Concerns: []string{"only-method"}}, decision: plan.Hold, reason: plan.PolicyApproval},
		"another one than was released":        {memory: ledger.PolicyChange{Shown: other}, change: plan.PolicyChange{Digest: digest, Steps: one}, released: released, decision: plan.Hold, reason: plan.PolicyApproval, says: "another one than was released"},
		"released from something else":         {memory: ledger.PolicyChange{Shown: digest}, change: plan.PolicyChange{Digest: digest, Steps: one, Warnings: []string{"beta"}}, released: []plan.Reason{plan.SnapshotStale}, decision: plan.Hold, reason: plan.PolicyApproval},
		"refused":                              {change: plan.PolicyChange{Digest: digest, Steps: one, Refusals: []string{"break-glass: locked out"}}, decision: plan.Refuse, says: "break-glass"},
		"refused, released":                    {memory: ledger.PolicyChange{Shown: digest}, change: plan.PolicyChange{Digest: digest, Steps: one, Refusals: []string{"break-glass"}}, released: released, decision: plan.Refuse},
		"refused, reviewed":                    {reviewed: digest, change: plan.PolicyChange{Digest: digest, Steps: one, Refusals: []string{"break-glass"}}, decision: plan.Refuse},
		"a refusal, and nothing to do":         {change: plan.PolicyChange{Digest: digest, Refusals: []string{"fact-missing"}}, decision: plan.Refuse},
		"stale":                                {change: plan.PolicyChange{Stale: "no snapshot"}, decision: plan.Hold, reason: plan.SnapshotStale, says: "no snapshot"},
		"stale, released":                      {change: plan.PolicyChange{Stale: "no snapshot"}, released: []plan.Reason{plan.SnapshotStale}, decision: plan.Hold, reason: plan.SnapshotStale},
		"unknown names":                        {change: plan.PolicyChange{Unknown: "no group is called x"}, decision: plan.Hold, reason: plan.PolicyNames},
		"begun":                                {memory: ledger.PolicyChange{Begun: digest}, change: plan.PolicyChange{Begun: true, Digest: digest, Steps: one}, decision: plan.Act},
		"ended":                                {memory: ledger.PolicyChange{Begun: digest}, change: plan.PolicyChange{Ended: "applied as run 1"}, decision: plan.Nothing, says: "run 1"},
		"disturbed":                            {memory: ledger.PolicyChange{Disturbed: true}, change: plan.PolicyChange{Digest: digest, Steps: one}, released: released, decision: plan.Hold, reason: plan.PolicyApproval, says: "somebody else"},
		"disturbed, reviewed":                  {reviewed: digest, memory: ledger.PolicyChange{Disturbed: true}, change: plan.PolicyChange{Digest: digest, Steps: one}, decision: plan.Hold, reason: plan.PolicyApproval},
		"disturbed, and somebody else did it":  {memory: ledger.PolicyChange{Disturbed: true}, change: plan.PolicyChange{Digest: digest}, decision: plan.Nothing},
		"the memory of another event":          {memory: ledger.PolicyChange{Key: "desk:2", Shown: digest}, change: plan.PolicyChange{Digest: digest, Steps: one, Warnings: []string{"beta"}}, released: released, decision: plan.Hold, reason: plan.PolicyApproval},
		"another tenant, or no policy file":    {change: plan.PolicyChange{Fault: "subject: it is about another tenant"}, decision: ""},
		"another tenant, whatever is released": {change: plan.PolicyChange{Fault: "subject"}, released: released, decision: ""},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			data, err := json.Marshal(event.PolicyChange{RequestedBy: "a@b.example", Policy: json.RawMessage(`{}`), Digest: c.reviewed})
			if err != nil {
				t.Fatal(err)
			}
			in := plan.Input{
				Event:    event.Event{Type: event.MethodPolicy, ID: "1", Key: "desk:1", Time: now, Data: data},
				Ledger:   &ledger.Ledger{},
				Settings: settings(), Now: now, Released: c.released,
			}
			if c.memory != (ledger.PolicyChange{}) {
				if c.memory.Key == "" {
					c.memory.Key = in.Event.Key
				}
				in.Ledger.Policy = &c.memory
			}
			if p, err := plan.Decide(in); err != nil || p.Decision != plan.ReadTenant || !p.NeedsPolicy {
				t.Fatalf("%+v, %v", p, err)
			}
			in.Policy = &c.change
			p, err := plan.Decide(in)
			if c.decision == "" {
				if !errors.Is(err, event.ErrBadData) {
					t.Errorf("%+v, %v", p, err)
				}
				return
			}
			if err != nil || p.Decision != c.decision || p.Reason != c.reason || !strings.Contains(p.Detail, c.says) {
				t.Errorf("%s %s %q, %v", p.Decision, p.Reason, p.Detail, err)
			}
			if held := p.Reason == plan.PolicyApproval; held != (p.Shows == digest) || held && p.Approvals != 2 {
				t.Errorf("shows %q to %d operators", p.Shows, p.Approvals)
			}
			if p.Decision == plan.Act && (len(p.Steps) != 1 || p.Steps[0].Action != plan.ChangePolicy || p.Steps[0].Policy != digest || p.Destructive()) {
				t.Errorf("steps %+v", p.Steps)
			}
			in.Settings.MethodPolicy = false
			if p, err := plan.Decide(in); err != nil || p.Reason != plan.MethodPolicyOff {
				t.Errorf("off: %+v, %v", p, err)
			}
		})
	}
}

// Of two plans, a replay by the one is no agreement to the other.
func TestPolicyPlansHaveDigests(t *testing.T) {
	digest := func(policy string) string {
		return plan.Plan{Decision: plan.Act, Steps: []plan.Step{{Action: plan.ChangePolicy, Policy: policy, Titles: []string{"enable the method fido2"}}}}.Digest()
	}
	if digest("a") == digest("b") {
		t.Error("the digest does not tell plans apart")
	}
}
