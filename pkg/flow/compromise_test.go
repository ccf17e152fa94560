package flow_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/queue"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
)

const (
	peter   = "peter.novak@contoso.example" // synced from on-premises
	peterID = "10000000-0000-4000-8000-000000000020"
)

// risk is what a risk system says; the truth is in the tenant.
func (w *world) risk(id, person, level string) map[string]any {
	return w.about(id, event.RiskUser, person, map[string]any{"level": level, "state": "atRisk"})
}

// atRisk makes the person's risk high and has the risk system say so.
func (w *world) atRisk(id, person string) {
	w.t.Helper()
	w.must(w.tenant.SetRisk(person, "high", "atRisk"))
	w.post(w.risk(id, person, "high"), 202)
	w.work()
}

// letIn is the word of an operator who knows who the person is, sent as the operator's
// tool sends it: past ingest and router, into the person's lane.
func (w *world) letIn(id, user, operator string) {
	w.t.Helper()
	w.toLane(event.Event{
		ID: id, Source: "mfaflow", Type: event.LetIn, Time: w.clock.Now(), ReceivedAt: w.clock.Now(), Origin: event.Operator,
		Key: event.NewKey(event.Operator, id), UserID: identity.UserID(user),
		Data: json.RawMessage(`{"person":{"objectId":"` + user + `"},"requestedBy":"` + operator + `"}`),
	}, "")
	w.work()
}

// toLane puts an event into its person's lane, under its key or as a deliberate
// re-send of it.
func (w *world) toLane(e event.Event, again string) {
	w.t.Helper()
	body, err := e.Encode()
	w.must(err)
	w.must(w.client.Send(w.t.Context(), "lanes", queue.Message{
		ID: e.Key + again, SessionID: string(e.UserID), Key: e.Key, ContentType: event.ContentType, Body: body,
		Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
	}))
}

// writes counts the worker's changes to the tenant, those that were refused included.
func (w *world) writes() (n int) {
	for _, r := range w.tenant.Requests() {
		if r.App == "identity-worker" && r.Method != http.MethodGet && !strings.HasSuffix(r.Path, "/$batch") {
			n++
		}
	}
	return n
}

func TestStolenDevice(t *testing.T) {
	w := newWorld(t)
	w.issueByHand(meiID) // a thief could use it
	w.post(w.about("h1", event.DeviceStolen, mei, map[string]any{"device": map[string]any{"name": "Pixel 9"}}), 202)
	w.work()
	w.compromised(mei)
	w.flagged(flag.DeviceStolen)
	if b := w.ledger(meiID).Block; b == nil || b.For != "compromise" {
		t.Errorf("block %+v", b)
	}
	w.idle(map[string]sbsim.Counts{"flags": {Active: 1}})
	w.secretFree()
}

// The event is a reason to look; what the tenant says now decides.
func TestRiskIsReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		said, level, state string // level empty: identity protection never judged the person
		answered           bool
		flags              []flag.Cause
	}{
		"high":                       {said: "low", level: "high", state: "atRisk", answered: true, flags: []flag.Cause{flag.Compromised}},
		"confirmed by a human":       {said: "none", level: "low", state: "confirmedCompromised", answered: true, flags: []flag.Cause{flag.Compromised}},
		"medium":                     {said: "high", level: "medium", state: "atRisk", flags: []flag.Cause{flag.RiskRaised}},
		"low":                        {said: "high", level: "low", state: "atRisk"},
		"hidden without the licence": {said: "high", level: "hidden", state: "atRisk", flags: []flag.Cause{flag.RiskRaised}},
		"dismissed":                  {said: "high", level: "high", state: "dismissed"},
		"remediated":                 {said: "high", level: "none", state: "remediated"},
		"never judged":               {said: "high"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.level != "" {
				w.must(w.tenant.SetRisk(mei, c.level, c.state))
			}
			w.post(w.risk("r1", mei, c.said), 202)
			w.work()
			if c.answered {
				w.compromised(mei)
			} else if w.writes() != 0 || !w.enabled(mei) {
				t.Errorf("%d writes", w.writes())
			}
			w.flagged(c.flags...)
			if got := w.outcome(meiID, "risk:r1"); got != "done" {
				t.Errorf("outcome %q", got)
			}
		})
	}
}

// One incident gets one response, whoever reports it and how often.
func TestSameIncidentOneResponse(t *testing.T) {
	handled := func(t *testing.T) *world {
		w := newWorld(t)
		w.atRisk("r1", mei)
		w.compromised(mei)
		w.clock.Advance(time.Hour)
		return w
	}
	t.Run("a further signal within the settle window", func(t *testing.T) {
		w := handled(t)
		before := w.writes()
		w.atRisk("r2", mei)
		w.post(w.about("h1", event.DeviceStolen, mei, nil), 202)
		w.work()
		if w.writes() != before {
			t.Errorf("%d writes more", w.writes()-before)
		}
		w.flagged(flag.Compromised, flag.DeviceStolen) // a cause is told once a day
		if w.outcome(meiID, "risk:r2") != "done" || w.outcome(meiID, "helpdesk:h1") != "done" {
			t.Error("a signal was not recorded")
		}
	})
	t.Run("a signal from before the handling", func(t *testing.T) {
		w := handled(t)
		w.letIn("o1", meiID, "olga")
		w.must(w.tenant.RegisterMethod(mei, graphsim.Method{Kind: "fido2", ID: "new"}))
		before := w.writes()
		late := w.risk("r2", mei, "high")
		late["time"] = t0.Add(-time.Minute).Format(time.RFC3339)
		w.post(late, 202)
		w.at(t0.Add(48 * time.Hour))
		later := w.risk("r3", mei, "high")
		later["time"] = t0.Format(time.RFC3339)
		w.post(later, 202)
		w.work()
		if !w.enabled(mei) || w.writes() != before || !slices.Equal(w.methods(mei), []string{"fido2"}) {
			t.Error("a signal of an incident that was answered took the new method")
		}
	})
	t.Run("with a method that was registered since", func(t *testing.T) {
		w := handled(t)
		w.must(w.tenant.RegisterMethod(mei, graphsim.Method{Kind: "fido2", ID: "intruder"}))
		w.atRisk("r2", mei)
		w.compromised(mei)
	})
	t.Run("after the settle window", func(t *testing.T) {
		w := handled(t)
		w.letIn("o1", meiID, "olga")
		w.clock.Advance(24 * time.Hour)
		if !w.enabled(mei) {
			t.Fatal("not let in")
		}
		w.atRisk("r2", mei)
		w.compromised(mei)
	})
}

// A synced account: the password belongs to Active Directory, and the next
// synchronisation may undo the block.
func TestCompromiseOfASyncedAccount(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", peter)
	w.compromised(peter)
	w.flagged(flag.Compromised, flag.DisableOnPremises)
	if got := w.waits(peterID); got != "planned: sync-check" {
		t.Fatalf("lane %s", got)
	}
	w.enable(peterID)
	w.must(w.tenant.SetRisk(peter, "medium", "atRisk")) // the response is not over because the risk sank
	w.at(t0.Add(45 * time.Minute))
	if w.enabled(peter) {
		t.Error("the synchronisation undid the block and nobody noticed")
	}
	w.flagged(flag.Compromised, flag.DisableOnPremises, flag.BlockUndone)
	w.at(t0.Add(48 * time.Hour))
	if got := w.outcome(peterID, "risk:r1"); got != "done" {
		t.Errorf("outcome %q", got)
	}
}

// Nobody gets a pass while a compromise stands, whoever asks: an operator lets the
// person in, and then in they are.
func TestNoPassBeforeAnOperatorLetsThePersonIn(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", mei)
	w.clock.Advance(time.Minute)
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.post(w.about("h2", event.TemporarilyBlocked, mei, map[string]any{"passRequested": true}), 202)
	w.work()
	if l := w.ledger(meiID); len(l.Waiting) != 2 || l.Waiting[0].Reason != "compromise-stands" {
		t.Fatalf("waiting %+v", l.Waiting)
	}
	w.decide(meiID, lane.Release, "olga")
	if len(w.tenant.IssuedPassValues()) != 0 || w.enabled(mei) {
		t.Fatal("a release is not the word that lets somebody in")
	}

	w.letIn("o1", meiID, "olga")
	if !w.enabled(mei) || w.ledger(meiID).Block != nil {
		t.Fatalf("not unblocked: waiting %+v", w.ledger(meiID).Waiting)
	}
	w.delivers(amara, mei)
	w.letIn("o2", meiID, "olga") // twice is once
	if n := len(w.tenant.IssuedPassValues()); n != 1 {
		t.Errorf("%d passes", n)
	}
	w.decide(meiID, lane.Drop, "olga")
	if got := w.ledger(meiID); len(got.Waiting) != 0 || got.Compromise == nil || !got.Compromise.Released {
		t.Errorf("ledger %+v", got)
	}
	w.secretFree()
}

func TestLettingInNeedsAnUsablePass(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", mei)
	w.policy(func(p *graphsim.PassPolicy) { p.State = "disabled" })
	w.letIn("o1", meiID, "olga")
	if got := w.waits(meiID); got != "held: pass-policy-disabled" || w.enabled(mei) {
		t.Fatalf("lane %s", got)
	}
	w.policy(func(p *graphsim.PassPolicy) { p.State = "enabled" })
	w.decide(meiID, lane.Release, "piotr") // who asks does not release
	w.delivers(amara, mei)
}

// The operator's word comes from our own tools only: not over a webhook, and not under
// the name of a source.
func TestNobodyElseLetsPeopleIn(t *testing.T) {
	w := newWorld(t)
	w.atRisk("r1", mei)
	body, err := json.Marshal(w.about("o1", event.LetIn, mei, nil))
	w.must(err)
	w.postRaw("helpdesk", body, "o1", 202)
	w.work()
	if got := w.counts("quarantine").Active; got != 1 {
		t.Errorf("%d in quarantine", got)
	}
	w.worker.Scopes["helpdesk"] = event.Scope{"operator.*"}
	w.toLane(event.Event{
		ID: "o2", Source: "x", Type: event.LetIn, Time: w.clock.Now(), ReceivedAt: w.clock.Now(), Origin: "helpdesk", Key: "helpdesk:o2", UserID: meiID,
	}, "")
	w.work()
	if got := w.counts("lanes").DeadLetter; got != 1 || w.enabled(mei) {
		t.Errorf("%d dead letters, let in %v", got, w.enabled(mei))
	}
}

// Letting an administrator in takes two, like everything that is done to one.
func TestLettingAnAdministratorIn(t *testing.T) {
	const marek, user = "marek.nowak@contoso.example", "10000000-0000-4000-8000-000000000016"
	w := newWorld(t)
	w.atRisk("r1", marek)
	w.flagged(flag.Compromised, flag.Held)
	if !w.enabled(marek) {
		t.Fatal("done before two people said so")
	}
	w.decide(user, lane.Release, "olga", "piotr")
	w.compromised(marek)
	w.letIn("o1", user, "olga")
	if got := w.waits(user); got != "held: protected-person" || w.enabled(marek) {
		t.Fatalf("lane %s", got)
	}
	w.policy(func(p *graphsim.PassPolicy) { p.IncludeTargets = nil })
	w.decide(user, lane.Release, "olga") // who asked
	w.decide(user, lane.Release, "piotr")
	if w.enabled(marek) {
		t.Fatal("one other operator let an administrator in")
	}
	w.decide(user, lane.Release, "quinn")
	if got := w.waits(user); got != "held: pass-policy-excludes-person" {
		t.Errorf("lane %s", got)
	}
}

// Who left and is compromised has two blocks, and letting them in lifts one.
func TestLeaverAndCompromise(t *testing.T) {
	leave := func(w *world) {
		w.post(w.leaver("l1", "E1011", map[string]any{"immediate": true}), 202)
		w.work()
		w.clock.Advance(time.Minute)
	}
	for name, c := range map[string]func(*world){
		"left first":        func(w *world) { leave(w); w.atRisk("r1", mei) },
		"compromised first": func(w *world) { w.atRisk("r1", mei); w.clock.Advance(time.Minute); leave(w) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c(w)
			w.compromised(mei)
			w.letIn("o1", meiID, "olga")
			if w.enabled(mei) || len(w.tenant.IssuedPassValues()) != 0 {
				t.Fatal("a leaver was let in")
			}
			w.at(t0.Add(8 * 24 * time.Hour))
			if w.enabled(mei) || w.outcome(meiID, "hr:l1") != "done" {
				t.Errorf("the leaving did not end: %+v", w.ledger(meiID))
			}
			// HR takes it back, and an operator says so: the compromise no longer stands.
			w.post(w.statement("c1", "employee.cancelled", map[string]any{"person": map[string]any{"employeeId": "E1011"}, "cancels": "leaver"}), 202)
			w.work()
			w.decide(meiID, lane.Release, "olga")
			if !w.enabled(mei) {
				t.Errorf("still blocked: %s", w.waits(meiID))
			}
		})
	}
	t.Run("a rehire waits for the operator", func(t *testing.T) {
		w := newWorld(t)
		w.worker.Settings.UnblockReturning = true
		leave(w)
		w.atRisk("r1", mei)
		w.at(t0.Add(8 * 24 * time.Hour))
		e := w.joiner("j1", "E1011", "2026-12-02")
		e["type"] = "employee.rehire"
		w.post(e, 202)
		w.work()
		if got := w.waits(meiID); got != "held: compromise-stands" || w.enabled(mei) {
			t.Fatalf("lane %s", got)
		}
		w.letIn("o1", meiID, "olga")
		w.decide(meiID, lane.Release, "olga")
		got := w.delivered(amara) // one to come in with, one for the start date
		if !w.enabled(mei) || len(got) != 2 {
			t.Fatalf("enabled %v, %d passes, lane %s", w.enabled(mei), len(got), w.waits(meiID))
		}
		w.at(time.Date(2026, 12, 2, 6, 30, 0, 0, time.UTC))
		if err := w.tenant.SignInWithPass(mei, got[1]); err != nil {
			t.Error(err)
		}
	})
}
