package flow_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// witness remembers the event that the worker saw last.
type witness struct {
	lane.Handler
	last event.Event
}

func (w *witness) Handle(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	w.last = t.Event
	return w.Handler.Handle(ctx, t)
}

// In report-only mode nothing is done to anybody and no position moves; flags go on.
// The same event, sent again on purpose once the mode is off, has its effect.
func TestReportOnlyThenLive(t *testing.T) {
	for name, c := range map[string]struct {
		user  string
		post  func(*world)
		flags []flag.Cause
		live  func(*world)
	}{
		"joiner": {
			user: lenaID, post: func(w *world) { w.clock.Set(leadUp); w.post(w.joiner("x", "E1004", start), 202) },
			live: func(w *world) {
				w.clock.Set(opens)
				w.delivers(amara, lena)
			},
		},
		"immediate leaver": {
			user: victorID, post: func(w *world) { w.post(w.leaver("x", "E1027", map[string]any{"immediate": true}), 202) },
			live: func(w *world) {
				if w.enabled(victor) {
					w.t.Error("not blocked")
				}
			},
		},
		"re-registration": {
			user: meiID, post: func(w *world) { w.post(w.reregister("x", mei, map[string]any{"mode": "full"}), 202) },
			live: func(w *world) { w.passBeforeLoss(); w.delivers(amara, mei) },
		},
		"pass on request": {
			user: oliverID,
			post: func(w *world) {
				w.post(w.about("x", event.TemporarilyBlocked, oliver, map[string]any{"passRequested": true}), 202)
			},
			flags: []flag.Cause{flag.TemporarilyBlocked}, live: func(w *world) { w.delivers(tomas, oliver) },
		},
		"stolen device": {
			user: meiID, post: func(w *world) { w.post(w.about("x", event.DeviceStolen, mei, nil), 202) },
			flags: []flag.Cause{flag.DeviceStolen}, live: func(w *world) { w.compromised(mei) },
		},
		"high risk of a synced account": {
			user: peterID, post: func(w *world) {
				w.must(w.tenant.SetRisk(peter, "high", "atRisk"))
				w.post(w.risk("x", peter, "high"), 202)
			},
			flags: []flag.Cause{flag.Compromised, flag.DisableOnPremises}, live: func(w *world) { w.compromised(peter) },
		},
		"medium risk": {
			user: peterID, post: func(w *world) {
				w.must(w.tenant.SetRisk(peter, "medium", "atRisk"))
				w.post(w.risk("x", peter, "medium"), 202)
			},
			flags: []flag.Cause{flag.RiskRaised}, live: func(*world) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			seen := &witness{Handler: w.worker}
			w.engines["lanes"].Handler = seen
			w.worker.ReportOnly = true
			c.post(w)
			w.work()
			e := seen.last
			if w.writes() != 0 || len(w.tenant.IssuedPassValues()) != 0 || len(w.tenant.Mailboxes()) != 0 {
				t.Errorf("%d writes, %d passes", w.writes(), len(w.tenant.IssuedPassValues()))
			}
			l := w.ledger(c.user)
			acted := name != "medium risk" // which is flagged, in either mode, and over
			if _, handled := l.HandledAs(e.Key); handled == acted || l.Applied != nil || l.Block != nil || l.Pass != nil || l.Compromise != nil || len(l.Waiting) != 0 {
				t.Errorf("ledger %+v", l)
			}
			if acted != strings.Contains(w.log.String(), `"outcome":"would-have"`) {
				t.Error("the audit trail does not say what would have been done")
			}
			w.flagged(c.flags...)
			w.idle(map[string]sbsim.Counts{"flags": {Active: len(c.flags)}})

			w.worker.ReportOnly = false
			w.toLane(e, "~rlanes.1")
			w.work()
			c.live(w)
			if _, handled := w.ledger(c.user).HandledAs(e.Key); !handled && len(w.ledger(c.user).Waiting) == 0 {
				t.Error("the event ran live and is not remembered")
			}
			w.toLane(e, "~rlanes.2")
			before := w.writes()
			w.work()
			if w.writes() != before {
				t.Error("a second replay did something")
			}
			w.secretFree()
		})
	}
}

// What the help desk or a risk system said long ago is told to a human and not run;
// what HR said counts however old it is, and so does what was in time and waited.
func TestMaximumAge(t *testing.T) {
	const week = 7 * 24 * time.Hour
	old := func(w *world, e map[string]any, age time.Duration) map[string]any {
		e["time"] = w.clock.Now().Add(-age).Format(time.RFC3339)
		return e
	}
	for name, e := range map[string]func(*world) map[string]any{
		"reset": func(w *world) map[string]any { return w.reregister("x", mei, map[string]any{"mode": "full"}) },
		"theft": func(w *world) map[string]any { return w.about("x", event.DeviceStolen, mei, nil) },
		"risk": func(w *world) map[string]any {
			w.must(w.tenant.SetRisk(mei, "high", "atRisk"))
			return w.risk("x", mei, "high")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.post(old(w, e(w), week+time.Second), 202)
			w.work()
			w.flagged(flag.TooOld)
			if w.writes() != 0 {
				t.Errorf("%d writes", w.writes())
			}
			w.idle(map[string]sbsim.Counts{"flags": {Active: 1}})

			w = newWorld(t)
			w.post(old(w, e(w), week), 202)
			w.work()
			if w.writes() == 0 {
				t.Error("an event in time was not run")
			}
		})
	}
	t.Run("leaver", func(t *testing.T) {
		w := newWorld(t)
		w.post(old(w, w.leaver("x", "E1027", map[string]any{"immediate": true}), 4*week), 202)
		w.work()
		if w.enabled(victor) {
			t.Error("an old leaver is still a leaver")
		}
	})
	t.Run("held for longer than the age", func(t *testing.T) {
		w := newWorld(t)
		w.policy(func(p *graphsim.PassPolicy) { p.State = "disabled" })
		w.post(w.reregister("x", mei, map[string]any{"mode": "full"}), 202)
		w.work()
		w.clock.Advance(2 * week)
		w.policy(func(p *graphsim.PassPolicy) { p.State = "enabled" })
		w.decide(meiID, lane.Release, "olga")
		w.delivers(amara, mei)
	})
}

// A source sends what it may send: the rest is parked at the door, and refused again in
// the lane should it ever get there.
func TestScopes(t *testing.T) {
	for _, c := range []struct {
		origin string
		event  func(*world) map[string]any
		user   string
	}{
		{"hr", func(w *world) map[string]any { return w.reregister("x", mei, map[string]any{"mode": "full"}) }, meiID},
		{"hr", func(w *world) map[string]any { return w.risk("x", mei, "high") }, meiID},
		{"helpdesk", func(w *world) map[string]any { return w.leaver("x", "E1027", map[string]any{"immediate": true}) }, victorID},
		{"risk", func(w *world) map[string]any { return w.joiner("x", "E1004", start) }, lenaID},
		{"risk", func(w *world) map[string]any { return w.about("x", event.DeviceStolen, mei, nil) }, meiID},
	} {
		t.Run(c.origin, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.tenant.SetRisk(mei, "high", "atRisk"))
			e := c.event(w)
			body, err := json.Marshal(e)
			w.must(err)
			w.postRaw(c.origin, body, "x", 202)
			w.idle(map[string]sbsim.Counts{"quarantine": {Active: 1}})

			w.toLane(event.Event{
				ID: "x", Source: "x", Type: event.Type(fmt.Sprint(e["type"])), Time: w.clock.Now(), ReceivedAt: w.clock.Now(), Origin: c.origin,
				Key: c.origin + ":x", UserID: identity.UserID(c.user), Data: must(json.Marshal(e["data"])),
			}, "")
			w.work()
			w.idle(map[string]sbsim.Counts{"quarantine": {Active: 1}, "lanes": {DeadLetter: 1}})
			if w.writes() != 0 || !strings.Contains(w.log.String(), `"reason":"out-of-scope"`) {
				t.Errorf("%d writes", w.writes())
			}
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// Two approvals are those of two people, neither of whom the event is about or asked
// for it, and they are given to one hold.
func TestTwoPersonApproval(t *testing.T) {
	const helena, user = "helena.strand@contoso.example", "10000000-0000-4000-8000-000000000015"
	w := newWorld(t)
	w.post(w.reregister("h1", helena, map[string]any{"mode": "full"}), 202)
	w.work()
	for _, operators := range [][]string{{"olga"}, {"olga"}, {" OLGA"}, {helena}, {strings.ToUpper(helena)}, {user}, {daniela}} {
		w.decide(user, lane.Release, operators...)
		if got := w.waits(user); got != "held: protected-person" || w.writes() != 0 {
			t.Fatalf("after %v: %s, %d writes", operators, got, w.writes())
		}
	}
	w.policy(func(p *graphsim.PassPolicy) { p.State = "disabled" })
	first := w.ledger(user).Waiting[0]
	w.decide(user, lane.Release, "piotr")
	if got := w.waits(user); got != "held: pass-policy-disabled" {
		t.Fatalf("lane %s", got)
	}

	// A word about the first hold says nothing about the second.
	stale := lane.Command{Decision: lane.Release, Sequence: first.Sequence, Attempt: first.Attempt, Operator: "quinn"}
	w.policy(func(p *graphsim.PassPolicy) { p.State = "enabled" })
	w.must(w.client.Send(t.Context(), "lanes", stale.Message(user, "")))
	w.work()
	if got := w.waits(user); got != "held: pass-policy-disabled" || w.writes() != 0 {
		t.Errorf("lane %s", got)
	}
	// Both holds are released by now, each by as many as it takes.
	w.decide(user, lane.Release, "piotr")
	if got := w.waits(user); got != "0 waiting" || w.writes() == 0 {
		t.Errorf("lane %s, %d writes", got, w.writes())
	}
	w.idle(map[string]sbsim.Counts{"flags": {Active: 2}})
}

// One operator is one, however the name is written and however often it is said.
func TestOneOperatorInTwoSpellings(t *testing.T) {
	const helena, user = "helena.strand@contoso.example", "10000000-0000-4000-8000-000000000015"
	w := newWorld(t)
	w.post(w.reregister("h1", helena, map[string]any{"mode": "full"}), 202)
	w.work()
	for i, operator := range []string{"anna@contoso.example", "Anna@Contoso.example", " anna@contoso.example "} {
		held := w.ledger(user).Waiting[0]
		m := lane.Command{Decision: lane.Release, Sequence: held.Sequence, Attempt: held.Attempt, Operator: operator}.Message(user, "")
		m.ID += fmt.Sprint("~", i) // past the broker, which drops a repeated id
		w.must(w.client.Send(t.Context(), "lanes", m))
		w.work()
	}
	if got := w.waits(user); got != "held: protected-person" || w.writes() != 0 {
		t.Errorf("lane %s", got)
	}
}

// The canary: passes, keys and secrets are nowhere they must not be, whatever happens.
// What is searched does hold what was sent, and would show a secret that was.
func TestSecretsAreNowhere(t *testing.T) {
	w := newWorld(t)
	n, desk := w.notified()
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E1004", start), 202)
	w.work()
	w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
	w.post(w.about("h2", event.DeviceStolen, oliver, nil), 202)
	w.work()
	w.letIn("o1", oliverID, "olga")
	w.must(w.tenant.SetRisk(victor, "high", "atRisk"))
	w.post(w.about("r1", event.RiskUser, victor, map[string]any{"level": "high"}), 202)
	w.work()

	// Passes that are issued and never arrive, and answers that get lost.
	for _, f := range []graphsim.Fault{
		{Kind: graphsim.FaultStatus, Status: 403, Path: "users/*/sendMail", Count: 1},
		{Kind: graphsim.FaultStatus, Status: 503, Path: "users/*/sendMail", Skip: 1, Count: 3},
		{Kind: graphsim.FaultCut, AfterEffect: true, Path: "users/*/authentication/temporaryAccessPassMethods", Method: "POST", Count: 1},
	} {
		_, err := w.tenant.AddFault(f)
		w.must(err)
	}
	w.post(w.reregister("h3", priya, map[string]any{"mode": "full"}), 202)
	w.post(w.about("h4", event.TemporarilyBlocked, jonas, map[string]any{"passRequested": true}), 202)
	w.settle()
	w.tenant.ClearFaults()

	// Dead letters, quarantine, and a webhook with a signature that does not fit.
	w.worker.Scopes = nil
	w.post(w.about("h5", event.AccessLost, mei, map[string]any{"methods": []any{map[string]any{"kind": "phone"}}}), 202)
	w.post(w.statement("m9", "employee.joiner", map[string]any{"person": map[string]any{"employeeId": "E1021"}, "startDate": start, "timeZone": berlin}), 202)
	w.work()
	w.tell(n)

	if n := len(w.tenant.IssuedPassValues()); n < 6 {
		t.Fatalf("%d passes were issued: the story is not what it was", n)
	}
	if w.counts("lanes").DeadLetter == 0 || w.counts("quarantine").Active == 0 || len(desk.got["teams"]) == 0 {
		t.Error("the story has no dead letter, no parked event or no message to people")
	}
	w.secretFree()
	for channel, texts := range desk.got {
		for _, secret := range w.secrets() {
			if strings.Contains(strings.Join(texts, ""), secret) {
				t.Errorf("a secret is told in %s", channel)
			}
		}
	}
	for _, mailbox := range w.tenant.Mailboxes() {
		for _, m := range w.tenant.Mailbox(mailbox) {
			value := passLine.FindStringSubmatch(m.Body)
			if value == nil && slices.ContainsFunc(w.secrets(), func(s string) bool { return strings.Contains(m.Subject+m.Body, s) }) {
				t.Errorf("a mail to %s that hands over no pass has one", mailbox)
			}
		}
	}

	// The search finds what there is: bodies, properties, session states, dead letters.
	for _, trace := range []string{`"employeeId":"E1004"`, queue.PropKey, "helpdesk:h1", `"compromise":{`, "out-of-scope"} {
		if !bytes.Contains(w.stored(), []byte(trace)) {
			t.Errorf("the broker's store has no %q: the search would not find a secret either", trace)
		}
	}
	value := w.tenant.IssuedPassValues()[0]
	w.must(w.client.Send(t.Context(), "quarantine", queue.Message{ID: "leak", Body: []byte("x" + value), Properties: map[string]string{"p": value}}))
	if !bytes.Contains(w.stored(), []byte(value)) {
		t.Error("a pass in a message is not found")
	}
}
