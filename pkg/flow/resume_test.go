package flow_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/lane"
	graphsim "mfaflow/pkg/sim/graph"
)

// A reset that is interrupted after its pass was delivered: the person uses the pass
// and registers anew before the reset goes on. It must not take that away again.
func TestInterruptedResetKeepsWhatWasRegisteredSince(t *testing.T) {
	for name, f := range map[string]graphsim.Fault{
		"while methods are removed":   {Path: "users/*/authentication/fido2Methods/*", Method: "DELETE"},
		"after methods were removed":  {Path: "users/*/revokeSignInSessions"},
		"after the removal took hold": {Path: "users/*/authentication/softwareOathMethods/*", Method: "DELETE", AfterEffect: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tenant.Mutate(func(t *graphsim.Tenant) { t.User(mei).DefaultMethod = mobileID })
			f.Kind, f.Status, f.RetryAfter, f.Count = graphsim.FaultStatus, 503, "60", 8
			if _, err := w.tenant.AddFault(f); err != nil {
				t.Fatal(err)
			}
			w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
			w.work()
			w.delivers(amara, mei)
			w.clock.Advance(time.Second)
			w.must(w.tenant.RegisterMethod(mei, graphsim.Method{Kind: "microsoftAuthenticator", ID: "new"}))
			w.tenant.ClearFaults()
			w.settle()
			if got := w.methods(mei); !slices.Equal(got, []string{"microsoftAuthenticator"}) {
				t.Errorf("methods %v, want the new one alone", got)
			}
			if got := w.delivered(amara); len(got) != 1 {
				t.Errorf("%d passes delivered", len(got))
			}
			if w.outcome(meiID, "helpdesk:h1") != "done" {
				t.Errorf("lane %s", w.waits(meiID))
			}
		})
	}
}

// The pass ends before the removal comes to its end: the person gets another one
// before the last method goes.
func TestResetThatOutlastsItsPass(t *testing.T) {
	w := newWorld(t)
	id, err := w.tenant.AddFault(graphsim.Fault{Path: "users/*/authentication/**", Method: "DELETE", Kind: graphsim.FaultStatus, Status: 503, RetryAfter: "36000", Count: -1})
	w.must(err)
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.work()
	if got := w.methods(mei); len(got) == 0 {
		t.Fatal("nothing was to be removed yet")
	}
	w.tenant.RemoveFault(id)
	w.at(t0.Add(10*time.Hour + time.Minute))
	if got := w.methods(mei); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	got := w.delivered(amara)
	if len(got) != 2 {
		t.Fatalf("%d passes delivered", len(got))
	}
	if err := w.tenant.SignInWithPass(mei, got[1]); err != nil {
		t.Errorf("the person has no way in: %v", err)
	}
}

// Whichever method is the default, and although the directory ignores what it is told
// to prefer, the reset comes to its end.
func TestFullReregistrationWhateverTheDefault(t *testing.T) {
	for _, standard := range newWorld(t).tenant.Methods(oliver) {
		if standard.ID == alternateID {
			continue // refused for ever: the mobile phone and the default wait for each other
		}
		t.Run(fmt.Sprint(standard.Kind, standard.Properties["phoneType"]), func(t *testing.T) {
			w := newWorld(t)
			w.tenant.Mutate(func(t *graphsim.Tenant) {
				t.Behaviour.SignInPreferences = graphsim.PreferencesIgnored
				t.User(oliver).DefaultMethod = standard.ID
			})
			w.must(w.tenant.RegisterMethod(oliver, graphsim.Method{Kind: "microsoftAuthenticator", ID: "app"}))
			w.must(w.tenant.RegisterMethod(oliver, graphsim.Method{Kind: "softwareOath", ID: "token"}))
			w.post(w.reregister("h1", oliver, map[string]any{"mode": "full"}), 202)
			w.work()
			if got := w.methods(oliver); len(got) != 0 {
				t.Errorf("left %v", got)
			}
			w.flagged()
		})
	}
}

// Nothing is done to a protected person by a setting alone.
func TestRiskySignInOfAnAdministrator(t *testing.T) {
	const helena, user = "helena.strand@contoso.example", "10000000-0000-4000-8000-000000000015"
	w := newWorld(t)
	w.worker.Settings.OnRiskySignIn = "revoke"
	w.post(w.about("s1", "risk.sign-in", helena, map[string]any{"level": "high"}), 202)
	w.work()
	if got := w.waits(user); got != "held: protected-person" || !w.revokedAt(helena).Before(t0) {
		t.Errorf("lane %s, sessions valid since %s", got, w.revokedAt(helena))
	}
}

// HR takes an immediate leaving back, and the block is lifted. The look at the synced
// account that follows must not take that for the work of a synchronisation.
func TestLeavingOfASyncedPersonIsTakenBack(t *testing.T) {
	const peter, user = "peter.novak@contoso.example", "10000000-0000-4000-8000-000000000020"
	w := newWorld(t)
	w.worker.Settings.UnblockReturning = true
	w.post(w.leaver("l1", "E1020", map[string]any{"immediate": true}), 202)
	w.work()
	w.clock.Advance(time.Minute)
	w.post(w.statement("c1", "employee.cancelled", map[string]any{"person": map[string]any{"employeeId": "E1020"}, "cancels": "leaver"}), 202)
	w.work()
	if w.enabled(peter) {
		t.Error("HR alone undid an immediate leaving")
	}
	w.decide(user, lane.Release, "olga")
	w.at(t0.Add(30 * 24 * time.Hour))
	if !w.enabled(peter) || len(w.methods(peter)) == 0 {
		t.Error("the person was shut out again")
	}
	if got := w.waits(user); got != "held: account-enabled-again" {
		t.Errorf("lane %s: only a rehire or an operator ends an immediate leaving", got)
	}
}

// HR systems send the record after the word: a last day that follows an immediate
// leaving lets nobody back in.
func TestALastDayDoesNotUndoAnImmediateLeaving(t *testing.T) {
	w := newWorld(t)
	w.worker.Settings.UnblockReturning = true
	w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true}), 202)
	w.work()
	w.clock.Advance(time.Minute)
	w.post(w.leaver("l2", "E1027", map[string]any{"lastDay": "2026-11-30", "timeZone": berlin}), 202)
	w.work()
	if w.enabled(victor) {
		t.Error("a later date let an immediate leaver back in")
	}
}

// An offer that is withdrawn does not take a leaving back.
func TestWithdrawnOfferDoesNotUndoALeaving(t *testing.T) {
	w := newWorld(t)
	w.post(w.leaver("l1", "E1027", map[string]any{"lastDay": "2026-11-30", "timeZone": berlin}), 202)
	w.work()
	w.clock.Advance(time.Minute)
	w.post(w.statement("c1", "employee.cancelled", map[string]any{"person": map[string]any{"employeeId": "E1027"}, "cancels": "joiner"}), 202)
	w.work()
	w.at(t0.Add(8 * 24 * time.Hour))
	w.at(t0.Add(30 * 24 * time.Hour))
	if w.enabled(victor) || len(w.methods(victor)) != 0 {
		t.Error("the leaving was made obsolete")
	}
}

// A pass that the help desk asked for is not HR's to withdraw.
func TestStartThatMovesLeavesTheHelpDesksPass(t *testing.T) {
	for name, e := range map[string]func(*world) map[string]any{
		"moved": func(w *world) map[string]any { return w.joiner("m1", "E1012", "2026-12-14") },
		"withdrawn": func(w *world) map[string]any {
			return w.statement("m1", "employee.cancelled", map[string]any{"person": map[string]any{"employeeId": "E1012"}, "cancels": "joiner"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
			w.work()
			w.post(e(w), 202)
			w.work()
			w.delivers(amara, mei)
		})
	}
}

// An event that is too old when it comes is too old as well once it had to wait behind
// another one.
func TestMaximumAgeOfAnEventThatWaitsBehind(t *testing.T) {
	w := newWorld(t)
	id, err := w.tenant.AddFault(graphsim.Fault{Path: "users/*/sendMail", Kind: graphsim.FaultStatus, Status: 503, Count: -1})
	w.must(err)
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.work()
	old := w.reregister("h2", mei, map[string]any{"mode": "full"})
	old["time"] = w.clock.Now().Add(-8 * 24 * time.Hour).Format(time.RFC3339)
	w.post(old, 202)
	w.work()
	w.tenant.RemoveFault(id)
	w.settle()
	if got := w.delivered(amara); len(got) != 1 {
		t.Errorf("%d passes delivered", len(got))
	}
	w.flagged(flag.TooOld)
}

// The last day moves after the person was shut out: the grace period begins when they
// are shut out again.
func TestGraceBeginsWithTheLastBlock(t *testing.T) {
	w := newWorld(t)
	w.worker.Settings.UnblockReturning = true
	w.post(w.leaver("l1", "E1027", map[string]any{"lastDay": "2026-11-22", "timeZone": berlin}), 202)
	w.work()
	w.clock.Advance(time.Hour)
	e := w.leaver("l2", "E1027", map[string]any{"lastDay": "2026-11-28", "timeZone": berlin})
	e["type"] = "employee.last-day-changed"
	w.post(e, 202)
	w.work()
	if !w.enabled(victor) {
		t.Fatal("the new last day has not come")
	}
	end := time.Date(2026, 11, 28, 23, 0, 0, 0, time.UTC)
	w.at(end)
	w.at(end.Add(7*24*time.Hour - time.Minute))
	if w.enabled(victor) || len(w.methods(victor)) == 0 {
		t.Error("methods were removed before the grace period ended")
	}
	w.at(end.Add(7 * 24 * time.Hour))
	if len(w.methods(victor)) != 0 {
		t.Error("methods are left after the grace period")
	}
}

// Somebody else enables the account of a leaver, and HR says that they are back: the
// block that nobody lifted through us must not stand against what follows.
func TestRehireOfAnEnabledAccountForgetsTheBlock(t *testing.T) {
	w := newWorld(t)
	w.post(w.leaver("l1", "E1012", map[string]any{"immediate": true}), 202)
	w.work()
	w.enable(meiID)
	w.clock.Advance(time.Minute)
	e := w.joiner("r1", "E1012", "2026-11-24")
	e["type"] = "employee.rehire"
	w.post(e, 202)
	w.work()
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.work()
	w.delivers(amara, mei)
}

// A synced person is let in before the look that follows a synchronisation.
func TestLettingASyncedPersonInEndsTheLook(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", peter)
	w.clock.Advance(time.Minute)
	w.letIn("o1", peterID, "olga")
	w.work()
	w.at(t0.Add(2 * time.Hour))
	if !w.enabled(peter) {
		t.Error("somebody whom an operator let in is blocked again")
	}
	if got := w.outcome(peterID, "risk:r1"); got != "done" {
		t.Errorf("outcome %q", got)
	}
}

// The worker dies when a synced leaver is shut out and the look at the account is not
// arranged yet: it takes place when it is time, not at once.
func TestLookAfterASynchronisationIsNotEarly(t *testing.T) {
	died := false
	for n := range 40 {
		w := newWorld(t)
		w.post(w.leaver("l1", "E1020", map[string]any{"immediate": true}), 202)
		w.visit("inbound")
		m := &mortal{left: n}
		s, err := w.client.AcceptNext(t.Context(), "lanes", 5*time.Second)
		w.must(err)
		_, _ = w.engines["lanes"].Visit(t.Context(), mortalSession{s, m}, func() bool { return true })
		w.work()
		w.enable(peterID)
		w.at(t0.Add(46 * time.Minute))
		if w.enabled(peter) {
			t.Fatalf("died at step %d: the synchronisation undid the block and nobody noticed", n)
		}
		if died = died || m.dead; !m.dead {
			break
		}
	}
	if !died {
		t.Error("the worker never died")
	}
}
