package flow_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
)

const (
	victor   = "victor.almeida@contoso.example" // the model leaver
	victorID = "10000000-0000-4000-8000-000000000027"
)

func (w *world) leaver(id, employeeID string, data map[string]any) map[string]any {
	data["person"] = map[string]any{"employeeId": employeeID}
	return w.statement(id, "employee.leaver", data)
}

// methods are the kinds a person has registered, the password left out.
func (w *world) methods(user string) (kinds []string) {
	for _, m := range w.tenant.Methods(user) {
		if m.Kind != "password" {
			kinds = append(kinds, m.Kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func (w *world) enabled(user string) bool {
	w.t.Helper()
	u, ok := w.tenant.User(user)
	if !ok {
		w.t.Fatalf("no user %s", user)
	}
	return u.AccountEnabled
}

// revokedAt is since when the person's sessions are valid.
func (w *world) revokedAt(user string) time.Time {
	w.t.Helper()
	u, _ := w.tenant.User(user)
	if u.SignInSessionsValidFromDateTime == nil {
		return time.Time{}
	}
	return *u.SignInSessionsValidFromDateTime
}

func TestImmediateLeaver(t *testing.T) {
	w := newWorld(t)
	w.issueByHand(victorID)
	had := w.methods(victor)
	w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
	w.work()
	if w.enabled(victor) || len(w.tenant.Passes(victor)) != 0 || w.revokedAt(victor).Before(t0) {
		t.Error("the leaver is not shut out")
	}
	if got := w.methods(victor); !slices.Equal(got, slices.DeleteFunc(had, func(k string) bool { return k == "temporaryAccessPass" })) {
		t.Errorf("methods %v before the grace period ended", got)
	}
	if got := w.waits(victorID); got != "planned: grace-period" {
		t.Errorf("lane %s", got)
	}
	w.at(t0.Add(7 * 24 * time.Hour))
	if got := w.methods(victor); len(got) != 0 {
		t.Errorf("methods %v after the grace period", got)
	}
	w.idle(nil)
	w.secretFree()
}

func TestLeaverLeavesAtTheEndOfTheLastDay(t *testing.T) {
	w := newWorld(t)
	w.post(w.leaver("l1", "E1027", map[string]any{"lastDay": "2026-11-30", "timeZone": berlin}), 202)
	w.work()
	end := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	w.at(end.Add(-time.Minute))
	if !w.enabled(victor) {
		t.Fatal("shut out before the last day ended")
	}
	w.at(end)
	if w.enabled(victor) {
		t.Fatal("not shut out when the last day ended")
	}
}

// A resignation that is withdrawn: in time, and after the person was shut out.
func TestLeavingIsTakenBack(t *testing.T) {
	cancel := func(w *world) map[string]any {
		return w.statement("c1", "employee.cancelled", map[string]any{"person": map[string]any{"employeeId": "E1027"}, "cancels": "leaver"})
	}
	t.Run("in time", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.leaver("l1", "E1027", map[string]any{"lastDay": "2026-11-30", "timeZone": berlin}), 202)
		w.work()
		w.clock.Advance(time.Hour)
		w.post(cancel(w), 202)
		w.work()
		w.at(t0.Add(30 * 24 * time.Hour))
		if !w.enabled(victor) || len(w.methods(victor)) == 0 {
			t.Error("the person was shut out all the same")
		}
		w.idle(nil)
	})
	t.Run("after the block, by an operator", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.leaver("l1", "E1027", map[string]any{"lastDay": "2026-11-22", "timeZone": berlin}), 202)
		w.work()
		w.clock.Advance(time.Hour)
		w.post(cancel(w), 202)
		w.work()
		if got := w.waits(victorID); got != "held: still-blocked" || w.enabled(victor) {
			t.Fatalf("lane %s", got)
		}
		w.decide(victorID, lane.Release, "olga")
		if !w.enabled(victor) || len(w.methods(victor)) == 0 {
			t.Error("the account is not as before")
		}
		w.at(t0.Add(30 * 24 * time.Hour))
		if len(w.methods(victor)) == 0 {
			t.Error("the grace period of the withdrawn leaving took the methods")
		}
	})
}

// decide sends an operator's word about the only held event of a lane.
func (w *world) decide(user string, d lane.Decision, operators ...string) {
	w.t.Helper()
	for _, operator := range operators {
		l := w.ledger(user)
		i := slices.IndexFunc(l.Waiting, func(x ledger.Waiting) bool { return x.Kind == ledger.Held })
		if i < 0 {
			w.t.Fatalf("nothing is held: %+v", l.Waiting)
		}
		c := lane.Command{Decision: d, Sequence: l.Waiting[i].Sequence, Attempt: l.Waiting[i].Attempt, Operator: operator, Reason: "test"}
		w.must(w.client.Send(w.t.Context(), "lanes", c.Message(user, "c-"+operator)))
		w.work()
	}
}

// A joiner replayed after the leaver changes nothing, and so does a leaver after a
// rehire.
func TestLaterStatementsWin(t *testing.T) {
	t.Run("joiner after leaver", func(t *testing.T) {
		w := newWorld(t)
		old := w.joiner("m1", "E1027", start)
		w.clock.Advance(time.Hour)
		w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
		w.work()
		w.clock.Set(leadUp)
		w.post(old, 202)
		w.work()
		if len(w.tenant.IssuedPassValues()) != 0 || w.enabled(victor) || w.outcome(victorID, "hr:m1") != "obsolete" {
			t.Errorf("a joiner from before the leaver was run: %q", w.outcome(victorID, "hr:m1"))
		}
	})
	t.Run("an immediate leaver outlasts everything but a rehire", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
		w.work()
		w.clock.Advance(time.Hour)
		e := w.joiner("m2", "E1027", "2027-02-01")
		e["type"] = "employee.start-date-changed"
		w.post(e, 202)
		w.work()
		w.at(t0.Add(8 * 24 * time.Hour))
		if len(w.methods(victor)) != 0 {
			t.Error("the leaver was made obsolete by a statement that is no rehire")
		}
	})
	t.Run("rehire", func(t *testing.T) {
		w := newWorld(t)
		w.worker.Settings.UnblockReturning = true
		w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
		w.work()
		w.at(t0.Add(7 * 24 * time.Hour))
		e := w.joiner("r1", "E1027", "2026-12-14")
		e["type"] = "employee.rehire"
		w.post(e, 202)
		w.work()
		w.at(time.Date(2026, 12, 14, 6, 30, 0, 0, time.UTC))
		got := w.delivered("tomas.berg@contoso.example")
		if !w.enabled(victor) || len(got) != 1 {
			t.Fatalf("enabled %v, %d passes, lane %s", w.enabled(victor), len(got), w.waits(victorID))
		}
		if err := w.tenant.SignInWithPass(victor, got[0]); err != nil {
			t.Error(err)
		}
		w.idle(nil)
	})
}

// An administrator who leaves is held for two people and flagged at once; what our
// app may not do is flagged with the role that is missing.
func TestLeaverWhoIsAnAdministrator(t *testing.T) {
	const helena, user = "helena.strand@contoso.example", "10000000-0000-4000-8000-000000000015"
	w := newWorld(t)
	w.post(w.leaver("l1", "E1015", map[string]any{"immediate": true}), 202)
	w.work()
	if got := w.waits(user); got != "held: protected-person" || w.counts("flags").Active != 1 {
		t.Fatalf("lane %s, flags %+v", got, w.counts("flags"))
	}
	w.decide(user, lane.Release, "olga")
	w.decide(user, lane.Release, "olga")
	w.decide(user, lane.Release, helena)
	if got := w.waits(user); got != "held: protected-person" {
		t.Fatalf("one operator, or the person herself, released it: %s", got)
	}
	w.decide(user, lane.Release, "piotr")
	if got := w.waits(user); got != "held: block-refused" || !w.enabled(helena) {
		t.Errorf("lane %s", got)
	}
	if w.revokedAt(helena).Before(t0) {
		t.Error("her sessions were not revoked although nothing stands against that")
	}
	w.decide(user, lane.Drop, "piotr")
	w.idle(map[string]sbsim.Counts{"flags": {Active: 3}, "control": {}})
}

func TestSyncedLeaverIsLookedAtAgain(t *testing.T) {
	const peter, user = "peter.novak@contoso.example", "10000000-0000-4000-8000-000000000020"
	w := newWorld(t)
	w.post(w.leaver("l1", "E1020", map[string]any{"immediate": true}), 202)
	w.work()
	w.enable(user) // the synchronisation
	w.at(t0.Add(45 * time.Minute))
	if w.enabled(peter) {
		t.Error("the synchronisation undid the block and nobody noticed")
	}
	if got := w.counts("flags").Active; got != 1 {
		t.Errorf("%d flags", got)
	}
	w.at(t0.Add(8 * 24 * time.Hour))
	if got := w.methods(peter); len(got) != 0 {
		t.Errorf("methods %v after the grace period", got)
	}
}

func TestBreakerHoldsWhatIsTooMuch(t *testing.T) {
	w := newWorld(t)
	w.worker.Breaker = w.breaker(breaker.Limits{Window: time.Hour, Count: 2, ImmediateCount: 2})
	leave := map[string]string{"E1027": victorID, "E1011": "10000000-0000-4000-8000-000000000011", "E1012": "10000000-0000-4000-8000-000000000012"}
	for _, e := range []string{"E1027", "E1011", "E1012"} {
		w.post(w.leaver("l-"+e, e, map[string]any{"immediate": true}), 202)
		w.work()
	}
	third := leave["E1012"]
	if w.enabled(victor) || w.enabled(leave["E1011"]) || !w.enabled(third) {
		t.Error("two may be shut out, the third may not")
	}
	if got := w.waits(third); got != "held: breaker-tripped" {
		t.Errorf("lane %s", got)
	}
	w.decide(third, lane.Release, "olga")
	if w.enabled(third) {
		t.Error("released and still not shut out")
	}
}

// enable sets accountEnabled past mfaflow.
func (w *world) enable(user string) {
	w.tenant.Mutate(func(t *graphsim.Tenant) { t.User(user).AccountEnabled = true })
}

// However much waits in a lane, a leaver is not kept waiting by it; what no longer
// fits is given up where operators see it, and is not lost.
func TestLeaverInAFullLane(t *testing.T) {
	w := newWorld(t)
	const flood = 120
	for i := range flood {
		w.clock.Advance(time.Second)
		w.post(w.statement(fmt.Sprintf("t%d", i), "employee.ref", map[string]any{"person": map[string]any{"employeeId": "E1027"}}), 202)
	}
	w.work()
	w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
	w.work()
	if w.enabled(victor) {
		t.Error("the leaver is not shut out")
	}
	lanes := w.counts("lanes")
	if lanes.Deferred+lanes.DeadLetter != flood+1 || lanes.DeadLetter == 0 {
		t.Errorf("queue %+v", lanes)
	}
	if got := w.counts("flags").Active; got != 2 { // the first hold, and the lane that is full
		t.Errorf("%d flags", got)
	}
}
