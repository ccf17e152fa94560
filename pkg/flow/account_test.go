package flow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/plan"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
)

// changed is a change notification of Microsoft Graph: it names the account and says
// nothing about what changed.
func (w *world) changed(id, user, change string) map[string]any {
	return w.statement(id, string(event.AccountChanged), map[string]any{"person": map[string]any{"objectId": user}, "change": change})
}

// disable sets accountEnabled past mfaflow.
func (w *world) disable(user string) {
	w.tenant.Mutate(func(t *graphsim.Tenant) { t.User(user).AccountEnabled = false })
}

// A lock ends by itself: it is told with its cause and end, and nothing is reset.
func TestLockedAccount(t *testing.T) {
	unlocks := t0.Add(time.Minute).Truncate(time.Second)
	for cause, want := range map[string]flag.Cause{
		"smartLockout": flag.SmartLockout, "tooManyAttempts": flag.TooManyAttempts, "onPremises": flag.LockedOnPremises,
		"maliciousAddress": flag.MaliciousAddress, "disabled": flag.AccountDisabled, "risk": flag.RiskBlock, "conditionalAccess": flag.ConditionalAccessBlock,
		"passUnusable": flag.PassUnusable, "noUsableMethod": flag.NoUsableMethod, "unknown": flag.Locked,
	} {
		t.Run(cause, func(t *testing.T) {
			w := newWorld(t)
			w.post(w.about("a1", event.AccountLocked, mei, map[string]any{"cause": cause, "unlockAt": unlocks.Format(time.RFC3339)}), 202)
			w.work()
			w.flagged(want)
			if f := w.flags()[0]; !f.UnlocksAt.Equal(unlocks) || f.User != meiID || f.NextStep == "" {
				t.Errorf("flag %+v", f)
			}
			if w.writes() != 0 {
				t.Errorf("%d writes", w.writes())
			}
			w.idle(map[string]sbsim.Counts{"flags": {Active: 1}})
		})
	}
}

// Whoever was shut out will try to sign in: that is no news.
func TestSignInOfSomebodyBlockedByUsIsNoNews(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", mei)
	before := len(w.flags())
	w.post(w.about("a1", event.AccountLocked, mei, map[string]any{"cause": "disabled"}), 202)
	w.work()
	if got := len(w.flags()); got != before {
		t.Errorf("%d flags, %d before", got, before)
	}
}

// Our own writes come back as notifications; they lead to nothing.
func TestOwnWritesDoNotEcho(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", mei)
	before := w.writes()
	w.post(w.changed("n1", meiID, "updated"), 202)
	w.work()
	w.letIn("o1", meiID, "olga")
	after := w.writes()
	w.post(w.changed("n2", meiID, "updated"), 202)
	w.work()
	if w.outcome(meiID, "risk:n1") != "done" || w.outcome(meiID, "risk:n2") != "done" || before == 0 || w.writes() != after {
		t.Errorf("%d writes after the block, %d after the pass, %d now", before, after, w.writes())
	}
	w.flagged(flag.Compromised)
	w.delivers(amara, mei)
}

// What somebody else did to an account counts as it is now.
func TestAccountChangedOutside(t *testing.T) {
	joined := func(t *testing.T) *world {
		w := newWorld(t)
		w.clock.Set(leadUp)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.work()
		if len(w.tenant.Passes(lena)) != 1 {
			t.Fatal("no pass")
		}
		return w
	}
	t.Run("disabled with a pass that waits to open", func(t *testing.T) {
		w := joined(t)
		w.disable(lenaID)
		w.post(w.changed("n1", lenaID, "updated"), 202)
		w.work()
		if len(w.tenant.Passes(lena)) != 0 || w.ledger(lenaID).Pass != nil {
			t.Error("the pass is still there")
		}
		w.flagged(flag.AccountDisabled)
		w.enable(lenaID)
		w.clock.Set(opens)
		if w.tenant.SignInWithPass(lena, w.delivered(amara)[0]) == nil {
			t.Error("the withdrawn pass works")
		}
	})
	t.Run("disabled and enabled again before anybody looked", func(t *testing.T) {
		w := joined(t)
		w.post(w.changed("n1", lenaID, "updated"), 202)
		w.work()
		if len(w.tenant.Passes(lena)) != 1 {
			t.Error("the pass was withdrawn from an enabled account")
		}
		w.flagged()
	})
	t.Run("enabled although we blocked it", func(t *testing.T) {
		w := newWorld(t)
		w.atRisk("r1", mei)
		w.enable(meiID)
		before := w.writes()
		w.post(w.changed("n1", meiID, "updated"), 202)
		w.work()
		w.flagged(flag.Compromised, flag.BlockUndone)
		if w.writes() != before || !w.enabled(mei) {
			t.Error("what a human did was undone")
		}
	})
	t.Run("deleted", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.work()
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			t.Users = slices.DeleteFunc(t.Users, func(u *graphsim.User) bool { return u.ID == lenaID })
		})
		w.post(w.changed("n1", strings.ToUpper(lenaID), "deleted"), 202)
		w.work()
		if got := w.outcome(lenaID, "risk:n1"); got != "done" {
			t.Errorf("outcome %q", got)
		}
		w.at(leadUp) // what waited for the account ends there
		w.idle(map[string]sbsim.Counts{"lanes": {DeadLetter: 1}})
		if len(w.tenant.IssuedPassValues()) != 0 {
			t.Error("a pass for nobody")
		}
	})
}

// What follows signals that the owner decides on is what the settings say, for each
// signal and each response.
func TestConfiguredResponses(t *testing.T) {
	signals := []struct {
		typ   event.Type
		cause flag.Cause
		data  map[string]any
		set   func(*plan.Settings, plan.Response)
	}{
		{event.RiskSignIn, flag.RiskySignIn, map[string]any{"level": "medium"}, func(s *plan.Settings, r plan.Response) { s.OnRiskySignIn = r }},
		{event.SessionRevoked, flag.SessionRevoked, nil, func(s *plan.Settings, r plan.Response) { s.OnSessionRevoked = r }},
		{event.CredentialChanged, flag.CredentialChanged, map[string]any{"credential": "password", "change": "update"}, func(s *plan.Settings, r plan.Response) { s.OnCredentialChanged = r }},
		{event.Mover, flag.Moved, map[string]any{"role": "Treasurer"}, func(s *plan.Settings, r plan.Response) { s.OnMove = r }},
	}
	for _, s := range signals {
		for _, response := range []plan.Response{plan.Record, plan.RaiseFlag, plan.Revoke, plan.Reregister, plan.Compromise, ""} {
			t.Run(fmt.Sprintf("%s %s", s.typ, response), func(t *testing.T) {
				w := newWorld(t)
				s.set(&w.worker.Settings, response)
				w.post(w.about("x1", s.typ, mei, s.data), 202)
				w.work()
				revoked := !w.revokedAt(mei).Before(t0)
				untouched := w.enabled(mei) && len(w.methods(mei)) == 6 && !revoked
				switch response {
				case plan.Record:
					w.flagged()
				case plan.RaiseFlag:
					w.flagged(s.cause)
				case plan.Revoke:
					w.flagged(s.cause)
					if !revoked || len(w.methods(mei)) != 6 || !w.enabled(mei) {
						t.Error("the sessions live on, or more was done")
					}
					return
				case plan.Reregister:
					w.passBeforeLoss()
					w.delivers(amara, mei)
					if len(w.methods(mei)) != 0 || !revoked {
						t.Errorf("left %v", w.methods(mei))
					}
					return
				case plan.Compromise:
					w.compromised(mei)
					w.flagged(s.cause)
					return
				default: // a setting that means nothing is no reason to do nothing quietly
					w.flagged(flag.Held)
				}
				if !untouched || w.writes() != 0 {
					t.Errorf("%d writes", w.writes())
				}
			})
		}
	}
}
