package flow_test

import (
	"slices"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/plan"
	graphsim "mfaflow/pkg/sim/graph"
)

// payments is the group of which the tenant's policy requires phishing-resistant methods.
const payments = "20000000-0000-4000-8000-000000000014"

func (w *world) strict() {
	w.worker.Settings.Requirements = map[string]plan.Requirement{"phishing-resistant": {Group: payments, Methods: []identity.MethodKind{identity.MethodWindowsHello, identity.MethodFIDO2}}}
	w.worker.Settings.MoveRequirements = map[string]string{"treasurer": "phishing-resistant"}
}

// required is how often somebody is in the group.
func (w *world) required(user string) (n int) {
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		for _, g := range t.Groups {
			if g.ID == payments {
				n = len(slices.DeleteFunc(slices.Clone(g.Members), func(m string) bool { return m != t.User(user).ID }))
			}
		}
	})
	return n
}

// Who has the method is required to use it, once, whatever is delivered twice or fails.
func TestRequirementIsSet(t *testing.T) {
	for name, f := range map[string]*graphsim.Fault{
		"at once":               nil,
		"after a failure":       {Path: "groups/*/members/$ref", Kind: graphsim.FaultStatus, Status: 503, Count: 2},
		"after an unheard word": {Path: "groups/*/members/$ref", Kind: graphsim.FaultCut, AfterEffect: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.strict()
			if f != nil {
				_, err := w.tenant.AddFault(*f)
				w.must(err)
			}
			e := w.about("q1", event.RequirementSet, mei, map[string]any{"requirement": "phishing-resistant", "requestedBy": "olga@contoso.example"})
			w.post(e, 202)
			w.post(e, 202)
			w.settle()
			if n := w.required(mei); n != 1 || w.outcome(meiID, "helpdesk:q1") != "done" {
				t.Errorf("%d times in the group, lane %s", n, w.waits(meiID))
			}
			if len(w.methods(mei)) != 6 || !w.enabled(mei) {
				t.Error("more was changed")
			}
		})
	}
}

// Nobody is required to have what they have not: the event is held, and goes on when they
// have registered it.
func TestRequirementLocksNobodyOut(t *testing.T) {
	w := newWorld(t)
	w.strict()
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		u := t.User(mei)
		u.Methods = slices.DeleteFunc(u.Methods, func(m *graphsim.Method) bool { return m.Kind == "fido2" || m.Kind == "windowsHelloForBusiness" })
	})
	w.post(w.about("q1", event.RequirementSet, mei, map[string]any{"requirement": "phishing-resistant", "requestedBy": "olga@contoso.example"}), 202)
	w.work()
	w.flagged(flag.Held)
	if got := w.waits(meiID); got != "held: requirement-unmet" {
		t.Fatalf("lane %s", got)
	}
	w.decide(meiID, lane.Release, "piotr")
	if got := w.waits(meiID); got != "held: requirement-unmet" || w.required(mei) != 0 {
		t.Fatalf("released without the method: lane %s, %d times in the group", got, w.required(mei))
	}
	w.must(w.tenant.RegisterMethod(mei, graphsim.Method{Kind: "fido2", ID: "key"}))
	w.decide(meiID, lane.Release, "piotr")
	if w.required(mei) != 1 {
		t.Errorf("lane %s", w.waits(meiID))
	}
}

// A move brings the requirement of the new role on its first day.
func TestMoverIsRequired(t *testing.T) {
	w := newWorld(t)
	w.strict()
	w.post(w.statement("m1", "employee.mover", map[string]any{"person": map[string]any{"employeeId": "E1011"}, "role": "Treasurer", "effectiveDate": "2026-12-01", "timeZone": "Europe/Berlin"}), 202)
	w.work()
	if w.required(mei) != 0 {
		t.Fatal("required before the move")
	}
	w.at(time.Date(2026, 11, 30, 23, 0, 1, 0, time.UTC))
	if w.required(mei) != 1 {
		t.Errorf("lane %s", w.waits(meiID))
	}
}
