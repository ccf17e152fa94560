package flow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/identity"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/worker"
)

// The main job: a joiner who is announced a week ahead gets one pass, in time, that
// works on the first morning and at no other time.
func TestJoinerGetsAPass(t *testing.T) {
	w := newWorld(t)
	w.post(w.joiner("m1", "E1004", start), 202)
	w.work()
	if got := w.waits(lenaID); got != "planned: due-later" {
		t.Fatalf("before the lead time: %s", got)
	}
	w.at(leadUp.Add(-time.Minute))
	if got := w.delivered(amara); len(got) != 0 {
		t.Fatal("a pass was delivered before the lead time")
	}
	w.at(leadUp)
	passes := w.delivered(amara)
	if len(passes) != 1 {
		t.Fatalf("%d passes delivered", len(passes))
	}
	if err := w.tenant.SignInWithPass(lena, passes[0]); err == nil {
		t.Error("the pass works before the start date")
	}
	w.at(opens)
	if err := w.tenant.SignInWithPass(lena, passes[0]); err != nil {
		t.Errorf("on the first morning: %v", err)
	}
	w.at(opens.Add(8 * time.Hour))
	if err := w.tenant.SignInWithPass(lena, passes[0]); err == nil {
		t.Error("the pass works after its end")
	}
	mail := w.tenant.Mailbox(amara)[0]
	if mail.From != sender || !slices.Equal(mail.To, []string{amara}) || !strings.Contains(mail.Body, "Monday, 30 November 2026, 07:30 CET") {
		t.Errorf("mail %+v", mail)
	}
	if sent := w.tenant.Mailbox(sender); len(sent) != 0 {
		t.Errorf("the sender's mailbox keeps %d copies", len(sent))
	}
	l := w.ledger(lenaID)
	if _, ok := l.HandledAs("hr:m1"); !ok || l.Pass == nil || !l.Pass.Delivered || l.Pass.Channel != "manager" {
		t.Errorf("ledger %+v", l)
	}
	w.idle(nil)
	w.secretFree()
}

// Whatever is sent again changes nothing: the same delivery, the same event under
// another delivery, the same statement under another id.
func TestSayingItAgainChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.clock.Set(leadUp)
	e := w.joiner("m1", "E1004", start)
	w.post(e, 202)
	w.post(e, 202)
	w.work()
	w.post(e, 202)
	w.work()
	w.clock.Advance(time.Minute)
	w.post(w.joiner("m2", "E1004", start), 202)
	w.work()
	w.clock.Advance(8 * 24 * time.Hour) // beyond the broker's memory
	w.clock.Set(w.clock.Now())
	w.post(e, 202)
	w.work()
	if got := w.delivered(amara); len(got) != 1 || len(w.tenant.IssuedPassValues()) != 1 {
		t.Errorf("%d delivered, %d issued", len(got), len(w.tenant.IssuedPassValues()))
	}
	w.idle(nil)
}

func TestDateMoves(t *testing.T) {
	moved := func(w *world, id, date string) map[string]any {
		e := w.joiner(id, "E1004", date)
		e["type"] = "employee.start-date-changed"
		return e
	}
	t.Run("before the pass", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.clock.Advance(time.Hour)
		w.post(moved(w, "m2", "2026-12-07"), 202)
		w.work()
		l := w.ledger(lenaID)
		if o, _ := l.HandledAs("hr:m1"); o != "obsolete" || len(l.Waiting) != 1 {
			t.Errorf("the first statement is %q, waiting %+v", o, l.Waiting)
		}
		w.at(opens)
		if len(w.delivered(amara)) != 0 {
			t.Error("a pass for the old date")
		}
		w.at(opens.Add(7 * 24 * time.Hour))
		if got := w.delivered(amara); len(got) != 1 || w.tenant.SignInWithPass(lena, got[0]) != nil {
			t.Errorf("passes for the new date: %d", len(got))
		}
		w.idle(nil)
	})
	t.Run("beyond the lead time deletes the pass", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.at(leadUp)
		w.post(moved(w, "m2", "2026-12-14"), 202)
		w.work()
		if got := w.tenant.Passes(lena); len(got) != 0 {
			t.Error("the pass for the old date is still there")
		}
		w.at(opens.Add(14 * 24 * time.Hour))
		if got := w.delivered(amara); len(got) != 2 || w.tenant.SignInWithPass(lena, got[1]) != nil {
			t.Errorf("%d passes delivered", len(got))
		}
		w.idle(nil)
	})
	t.Run("within the lead time replaces the pass", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.at(leadUp)
		w.post(moved(w, "m2", "2026-12-01"), 202)
		w.work()
		w.at(leadUp.Add(24 * time.Hour))
		w.at(opens.Add(24 * time.Hour))
		got := w.delivered(amara)
		if len(got) != 2 || w.tenant.SignInWithPass(lena, got[0]) == nil || w.tenant.SignInWithPass(lena, got[1]) != nil {
			t.Errorf("%d passes delivered; the last one must work and no other", len(got))
		}
		w.idle(nil)
	})
	t.Run("an older statement that arrives later", func(t *testing.T) {
		w := newWorld(t)
		old := w.joiner("m1", "E1004", start)
		w.clock.Advance(time.Hour)
		w.post(moved(w, "m2", "2026-12-07"), 202)
		w.work()
		w.post(old, 202)
		w.work()
		if o, _ := w.ledger(lenaID).HandledAs("hr:m1"); o != "obsolete" {
			t.Errorf("the older statement is %q", o)
		}
	})
}

func TestCancelled(t *testing.T) {
	cancel := func(w *world) map[string]any {
		return w.statement("c1", "employee.cancelled", map[string]any{
			"person": map[string]any{"employeeId": "E1004"}, "cancels": "joiner",
		})
	}
	t.Run("before the pass", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.clock.Advance(time.Hour)
		w.post(cancel(w), 202)
		w.work()
		w.at(opens)
		if len(w.tenant.IssuedPassValues()) != 0 {
			t.Error("a pass was issued")
		}
		w.idle(nil)
	})
	t.Run("after the pass", func(t *testing.T) {
		w := newWorld(t)
		w.post(w.joiner("m1", "E1004", start), 202)
		w.at(leadUp)
		w.post(cancel(w), 202)
		w.work()
		if len(w.tenant.Passes(lena)) != 0 || w.ledger(lenaID).Pass != nil {
			t.Error("the pass is still there")
		}
		w.idle(nil)
	})
}

// Everything that can be wrong with a joiner, and where it ends. None is lost: each
// is in exactly one place.
func TestJoinersThatNeedAHuman(t *testing.T) {
	held := map[string]sbsim.Counts{"lanes": {Deferred: 1}, "flags": {Active: 1}}
	quarantined := map[string]sbsim.Counts{"quarantine": {Active: 1}, "flags": {Active: 1}}
	for name, c := range map[string]struct {
		employee string
		user     string
		start    string
		change   func(*world)
		waits    string
		want     map[string]sbsim.Counts
	}{
		"existing administrator":    {employee: "E1015", user: "10000000-0000-4000-8000-000000000015", waits: "held: protected-person", want: held},
		"eligible administrator":    {employee: "E1016", user: "10000000-0000-4000-8000-000000000016", waits: "held: protected-person", want: held},
		"role-assignable group":     {employee: "E1017", user: "10000000-0000-4000-8000-000000000017", waits: "held: protected-person", want: held},
		"registered already":        {employee: "E1008", user: "10000000-0000-4000-8000-000000000008", waits: "held: already-registered", want: held},
		"signed in already":         {employee: "E1009", user: "10000000-0000-4000-8000-000000000009", waits: "held: already-registered", want: held},
		"no manager":                {employee: "E1005", user: "10000000-0000-4000-8000-000000000005", waits: "held: no-recipient", want: held},
		"manager without mailbox":   {employee: "E1006", user: "10000000-0000-4000-8000-000000000006", waits: "held: no-recipient", want: held},
		"excluded from the policy":  {employee: "E1010", user: "10000000-0000-4000-8000-000000000010", waits: "held: pass-policy-excludes-person", want: held},
		"start date long past":      {employee: "E1004", user: lenaID, start: "2026-11-01", waits: "held: start-date-past", want: held},
		"pass policy disabled":      {employee: "E1004", user: lenaID, change: func(w *world) { w.policy(func(p *graphsim.PassPolicy) { p.State = "disabled" }) }, waits: "held: pass-policy-disabled", want: held},
		"somebody else's pass":      {employee: "E1004", user: lenaID, change: func(w *world) { w.issueByHand(lenaID) }, waits: "held: foreign-pass", want: held},
		"protected by list":         {employee: "E1004", user: lenaID, change: func(w *world) { w.worker.Settings.ProtectedAccounts = []identity.UserID{lenaID} }, waits: "held: protected-person", want: held},
		"disabled account":          {employee: "E1028", user: "10000000-0000-4000-8000-000000000028", start: "2026-11-26", waits: "held: account-disabled", want: held},
		"two with one employee id":  {employee: "E1021", want: quarantined},
		"source outside its scopes": {employee: "E1004", change: func(w *world) { w.worker.Scopes = nil }, want: map[string]sbsim.Counts{"lanes": {DeadLetter: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.clock.Set(leadUp)
			if c.change != nil {
				c.change(w)
			}
			issued := len(w.tenant.IssuedPassValues())
			if c.start == "" {
				c.start = start
			}
			w.post(w.joiner("m1", c.employee, c.start), 202)
			w.work()
			if c.user != "" {
				if got := w.waits(c.user); got != c.waits {
					t.Errorf("waits %q, want %q", got, c.waits)
				}
			}
			w.idle(c.want)
			if n := len(w.tenant.IssuedPassValues()) - issued; n != 0 {
				t.Errorf("%d passes issued", n)
			}
			w.secretFree()
		})
	}
}

// policy changes the tenant's pass policy.
func (w *world) policy(change func(*graphsim.PassPolicy)) {
	w.tenant.Mutate(func(t *graphsim.Tenant) { change(&t.Policies.TemporaryAccessPass) })
}

// issueByHand issues a pass as an administrator does, past mfaflow.
func (w *world) issueByHand(user identity.UserID) {
	w.t.Helper()
	_, err := w.graph.IssuePass(w.t.Context(), user, identity.PassRequest{Lifetime: time.Hour})
	w.must(err)
}

func TestUnknownEmployee(t *testing.T) {
	w := newWorld(t)
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E9999", start), 202)
	w.work()
	w.idle(map[string]sbsim.Counts{"inbound": {Deferred: 1, Scheduled: 1}})
	w.at(opens.Add(15 * 24 * time.Hour))
	w.idle(map[string]sbsim.Counts{"inbound": {DeadLetter: 1}, "flags": {Active: 1}})
}

func TestNotProvisionedYet(t *testing.T) {
	w := newWorld(t)
	w.post(w.joiner("m1", "E1040", start), 202)
	w.work()
	w.at(opens.Add(-time.Hour))
	if _, err := w.tenant.Provision("E1040"); err != nil {
		t.Fatal(err)
	}
	w.at(opens)
	got := w.delivered(amara)
	if len(got) != 1 {
		t.Fatalf("%d passes delivered", len(got))
	}
	if err := w.tenant.SignInWithPass("emil.sandberg@contoso.example", got[0]); err != nil {
		t.Error(err)
	}
	w.idle(nil)
	w.secretFree()
}

// A user principal name that was given anew must not lead to its new owner.
func TestAccountYoungerThanTheEventMatchesByEmployeeIDOnly(t *testing.T) {
	w := newWorld(t)
	e := w.statement("m1", "employee.joiner", map[string]any{
		"person": map[string]any{"userPrincipalName": "emil.sandberg@contoso.example"}, "startDate": start, "timeZone": berlin,
	})
	w.post(e, 202)
	w.clock.Advance(time.Hour)
	if _, err := w.tenant.Provision("E1040"); err != nil {
		t.Fatal(err)
	}
	w.at(leadUp)
	w.idle(map[string]sbsim.Counts{"inbound": {Deferred: 1, Scheduled: 1}})
}

func TestIdentifiersThatDisagree(t *testing.T) {
	for name, person := range map[string]map[string]any{
		"two people":      {"employeeId": "E1004", "mail": amara},
		"person and void": {"employeeId": "E1004", "userPrincipalName": "nobody@contoso.example"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.post(w.statement("m1", "employee.joiner", map[string]any{"person": person, "startDate": start, "timeZone": berlin}), 202)
			w.work()
			w.idle(map[string]sbsim.Counts{"quarantine": {Active: 1}, "flags": {Active: 1}})
		})
	}
}

// A thin event that nobody completed is held in the person's lane, not dropped.
func TestReferenceIsHeldNotDropped(t *testing.T) {
	w := newWorld(t)
	w.post(w.statement("m1", "employee.ref", map[string]any{"person": map[string]any{"employeeId": "E1027"}}), 202)
	w.work()
	if got := w.waits("10000000-0000-4000-8000-000000000027"); got != "held: type-not-supported" {
		t.Errorf("waits %q", got)
	}
	w.idle(map[string]sbsim.Counts{"lanes": {Deferred: 1}, "flags": {Active: 1}})
}

// The policy changes between planning and issuing, and Graph refuses or accepts what
// cannot be used: both documented behaviours.
func TestExcludedPersonUnderBothBehaviours(t *testing.T) {
	for _, behaviour := range []graphsim.PassOutsidePolicy{graphsim.PassRejected, graphsim.PassCreated} {
		t.Run(string(behaviour), func(t *testing.T) {
			w := newWorld(t)
			w.tenant.Mutate(func(t *graphsim.Tenant) { t.Behaviour.PassOutsidePolicy = behaviour })
			w.clock.Set(leadUp)
			w.post(w.joiner("m1", "E1010", start), 202)
			w.work()
			if len(w.tenant.IssuedPassValues()) != 0 {
				t.Error("a pass was issued that cannot be used")
			}
		})
	}
}

func TestPersonalMailMustStayTheSame(t *testing.T) {
	const user, address = "10000000-0000-4000-8000-000000000006", "ines.carvalho@personal.example"
	mine := func(w *world) {
		w.worker.Channels = append(w.worker.Channels, worker.PersonalMail{Mailer: w.graph, Sender: sender, Unchanged: 3 * 24 * time.Hour})
	}
	t.Run("unchanged", func(t *testing.T) {
		w := newWorld(t)
		mine(w)

		w.post(w.joiner("m1", "E1006", start), 202)
		w.work()
		w.at(leadUp)
		if got := w.delivered(w.personal(user)); len(got) != 1 {
			t.Errorf("%d passes at the personal address; lane %s", len(got), w.waits(user))
		}
		w.secretFree()
	})
	t.Run("changed the day before", func(t *testing.T) {
		w := newWorld(t)
		mine(w)

		w.post(w.joiner("m1", "E1006", start), 202)
		w.work()
		w.at(leadUp.Add(-24 * time.Hour))
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			for i := range t.Users {
				if t.Users[i].ID == user {
					t.Users[i].OtherMails = []string{"mallory@personal.example"}
				}
			}
		})
		w.at(leadUp)
		if got := w.waits(user); got != "held: no-recipient" {
			t.Errorf("lane %s", got)
		}
	})
}

func (w *world) personal(user string) string {
	u, ok := w.tenant.User(user)
	if !ok || len(u.OtherMails) == 0 {
		w.t.Fatal("no personal address in the sample tenant")
	}
	return u.OtherMails[0]
}

// What a name can hold does not get out of its line, nor the pass out of the tenant.
func TestHostileNamesAndForeignManagers(t *testing.T) {
	t.Run("name", func(t *testing.T) {
		w := newWorld(t)
		w.clock.Set(leadUp)
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			t.User(lenaID).DisplayName = "Lena\r\nBcc: mallory@evil.example\u2028Pass: 1234\u202e\u0085\u009b"
		})
		w.post(w.joiner("m1", "E1004", start), 202)
		w.work()
		mail := w.tenant.Mailbox(amara)
		if len(mail) != 1 || strings.ContainsAny(mail[0].Subject, "\r\n\u2028\u202e\u0085\u009b") || len(mail[0].Bcc) != 0 {
			t.Fatalf("%+v", mail)
		}
		if got := w.delivered(amara); len(got) != 1 || got[0] == "1234" {
			t.Errorf("passes in the mail: %d", len(got))
		}
	})
	t.Run("manager of another tenant", func(t *testing.T) {
		w := newWorld(t)
		w.clock.Set(leadUp)
		w.tenant.Mutate(func(t *graphsim.Tenant) { t.User(lenaID).Manager = "10000000-0000-4000-8000-000000000023" })
		w.post(w.joiner("m1", "E1004", start), 202)
		w.work()
		if got := w.waits(lenaID); got != "held: no-recipient" {
			t.Errorf("lane %s", got)
		}
	})
}
