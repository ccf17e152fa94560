package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/azauth"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/router"
	graphsim "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/telemetry"
)

const operator = "dana.reyes@contoso.example"

// desk is the operators' desk on this world.
func (w *world) desk() *operate.Desk { return w.deskOf(w.directory("event-replay")) }

// deskOf is a desk that looks with the rights of its own app, which may change nothing.
func (w *world) deskOf(tenant *graph.Client) *operate.Desk {
	w.t.Helper()
	schemas, err := catalog.New()
	w.must(err)
	shelf := func(name string, dead bool) operate.Shelf {
		s := w.client.Shelf(name, dead)
		w.t.Cleanup(s.Close)
		return s
	}
	w.t.Cleanup(tenant.Close)
	look := *w.worker
	look.Directory, look.Passes, look.Methods, look.Risks, look.Accounts = tenant, tenant, tenant, tenant, nil
	return &operate.Desk{
		Shelves: map[operate.Place]operate.Shelf{
			operate.Inbound: shelf("inbound", true), operate.Lanes: shelf("lanes", true), operate.Flags: shelf("flags", true),
			operate.Control: shelf("control", true), operate.Quarantine: operate.Both(shelf("quarantine", false), shelf("quarantine", true)),
		},
		Open: shelf("flags", false), Sender: w.client, Queues: operate.Queues{Inbound: "inbound", Lanes: "lanes", Flags: "flags"},
		Accept: func(ctx context.Context, queueName, id string) (operate.Session, error) {
			s, err := w.client.Accept(ctx, queueName, id, time.Second)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Worker: &look, Router: &router.Router{Directory: tenant}, Directory: tenant,
		Estimate: func(ctx context.Context) (operate.Worker, error) {
			methods, err := tenant.Registrations(ctx)
			return operate.Estimated(&look, methods), err
		},
		Breaker: w.worker.Breaker.(operate.Limiter), People: tenant.CountUsers,
		Catalog: schemas, Audit: w.worker.Audit, Settings: "settings-1", Now: w.clock.Now, Log: telemetry.NewLogger(w.log, "desk", slog.LevelDebug),
	}
}

// give up dead-letters what lies in a queue next, as a worker does that gives it up.
func (w *world) giveUp(queueName string, n int, reason lane.Reason) {
	w.t.Helper()
	for range n {
		s, err := w.client.AcceptNext(w.t.Context(), queueName, 5*time.Second)
		w.must(err)
		m, err := s.Receive(w.t.Context(), 5*time.Second)
		w.must(err)
		w.must(s.DeadLetter(w.t.Context(), m, string(reason), "the worker gave up; replay"))
		s.Close()
	}
}

// list is everything that the filter picks.
func list(w *world, d *operate.Desk, f operate.Filter, limit int) (all []operate.Entry) {
	w.t.Helper()
	cursor := ""
	for {
		page, err := d.List(w.t.Context(), f, cursor, limit)
		w.must(err)
		if limit > 0 && len(page.Items) > limit {
			w.t.Fatalf("a page of %d, asked for %d", len(page.Items), limit)
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

func (w *world) plan(d *operate.Desk, s operate.Selection) operate.Plan {
	w.t.Helper()
	p, err := d.Plan(w.t.Context(), s)
	w.must(err)
	return p
}

// replay is the whole of a plan, asked for.
func replay(p operate.Plan) operate.Replay {
	r := operate.Replay{Plan: p.Digest, Settings: p.Settings, Entries: p.Entries, Reason: "the fault is mended"}
	for _, e := range p.Entries {
		r.Digests = append(r.Digests, e.Digest)
	}
	return r
}

// replayed runs all of a plan and wants these outcomes.
func (w *world) replayed(d *operate.Desk, p operate.Plan, want ...string) {
	w.t.Helper()
	outcomes, err := d.Replay(w.t.Context(), operator, replay(p))
	w.must(err)
	var got []string
	for _, o := range outcomes {
		got = append(got, o.Outcome)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("outcomes %v, want %v: %+v", got, want, outcomes)
	}
}

var everything = operate.Selection{Filter: &operate.Filter{}}

func TestListAndOverview(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.post(w.statement("s1", "mfa.device-stolen", map[string]any{"person": map[string]any{"employeeId": "E1027"}, "requestedBy": amara}), 202)
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
	for i := range 7 {
		w.post(w.joiner(fmt.Sprint("m", i), fmt.Sprint("E10", 60+i), start), 202)
		w.clock.Advance(time.Minute)
		w.giveUp("inbound", 1, lane.UnknownPerson)
	}
	w.post(w.joiner("q1", "E1021", start), 202) // two accounts have this employee id
	w.visit("inbound")

	if got := list(w, d, operate.Filter{}, 2); len(got) != 9 {
		t.Errorf("%d entries", len(got))
	}
	for name, c := range map[string]struct {
		filter operate.Filter
		want   int
	}{
		"place":           {operate.Filter{Places: []operate.Place{operate.Quarantine, operate.Lanes}}, 2},
		"type":            {operate.Filter{Type: "EMPLOYEE.joiner"}, 8},
		"source":          {operate.Filter{Source: "helpdesk"}, 1},
		"reason":          {operate.Filter{Reason: "unknown-person"}, 7},
		"quarantine":      {operate.Filter{Reason: "ambiguous-person"}, 1},
		"text in body":    {operate.Filter{Text: "e1063"}, 1},
		"text in key":     {operate.Filter{Text: "hr:m"}, 7},
		"text in detail":  {operate.Filter{Text: "GAVE up"}, 8},
		"lane":            {operate.Filter{Lane: victorID}, 1},
		"since":           {operate.Filter{Since: t0.Add(3 * time.Minute)}, 5},
		"until":           {operate.Filter{Until: t0.Add(3 * time.Minute)}, 4},
		"all at once":     {operate.Filter{Reason: "unknown-person", Since: t0.Add(3 * time.Minute), Text: "e1065"}, 1},
		"nothing":         {operate.Filter{Type: "employee.leaver"}, 0},
		"a place without": {operate.Filter{Places: []operate.Place{operate.Control}}, 0},
	} {
		for _, limit := range []int{0, 1, 3} {
			if got := list(w, d, c.filter, limit); len(got) != c.want {
				t.Errorf("%s, %d a page: %d entries, want %d", name, limit, len(got), c.want)
			}
		}
	}
	for _, bad := range []string{"x", "lanes", "lanes:-1", "nowhere:1"} {
		if _, err := d.List(t.Context(), operate.Filter{}, bad, 1); !errors.Is(err, operate.ErrRefused) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
	if _, err := d.List(t.Context(), operate.Filter{Places: []operate.Place{"nowhere"}}, "", 1); !errors.Is(err, operate.ErrRefused) {
		t.Errorf("no place: %v", err)
	}

	o, err := d.Overview(t.Context())
	w.must(err)
	n := 0
	for _, c := range o.Entries {
		n += c.N
		if c.Reason == "unknown-person" && (c.N != 7 || !c.Oldest.Equal(t0) || c.Place != operate.Inbound) {
			t.Errorf("%+v", c)
		}
	}
	if n != 9 || len(o.OpenFlags) != 1 || o.OpenFlags[0].Cause != flag.AmbiguousPerson || o.Breaker == nil || o.Breaker.OrdinaryLimit != 25 {
		t.Errorf("overview %+v", o)
	}
	if c := w.counts("lanes"); c.DeadLetter != 1 || c.Locked != 0 {
		t.Errorf("looking changed something: %+v", c)
	}
}

func TestShowMasks(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E1004", start), 202)
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
	e := list(w, d, operate.Filter{}, 0)[0]
	hidden, err := d.Show(t.Context(), e.ID, false)
	w.must(err)
	text := fmt.Sprintf("%+v %+v", hidden, *hidden.Tenant)
	for _, personal := range []string{"E1004", "lena", "Lena", "Hofmann"} {
		if strings.Contains(text, personal) {
			t.Errorf("%s is shown: %s", personal, text)
		}
	}
	if !strings.Contains(hidden.Body, `"startDate":"2026-11-30"`) || !strings.Contains(hidden.Body, `"employeeId":"*****"`) {
		t.Errorf("body %s", hidden.Body)
	}
	if hidden.Would == nil || hidden.Would.Decision != "act" || hidden.Would.Steps[0] != "issue-pass" || hidden.Would.Calls == 0 {
		t.Errorf("would %+v, %s", hidden.Would, hidden.Why)
	}
	open, err := d.Show(t.Context(), e.ID, true)
	w.must(err)
	if open.Tenant.UserPrincipalName != lena || !strings.Contains(open.Body, "E1004") {
		t.Errorf("%+v", open)
	}
	if _, err := d.Show(t.Context(), operate.ID{Place: operate.Lanes, Sequence: 999}, true); !errors.Is(err, operate.ErrNotFound) {
		t.Errorf("no such entry: %v", err)
	}
	s, err := w.client.Accept(t.Context(), "lanes", lenaID, 5*time.Second)
	w.must(err)
	defer s.Close()
	busy, err := d.Show(t.Context(), e.ID, false)
	w.must(err)
	if !busy.LaneBusy || busy.Would != nil || busy.Why == "" {
		t.Errorf("%+v", busy)
	}
}

func TestReplayOfAJoiner(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E1004", start), 202)
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
	p := w.plan(d, everything)
	if p.Summary.Passes != 1 || p.Summary.Calls == 0 || p.Entries[0].Decision.Decision != "act" {
		t.Errorf("%+v", p)
	}
	w.replayed(d, p, "replayed")
	w.settle()
	w.onePass()
	w.replayed(d, p, "gone")
	if !strings.Contains(w.log.String(), `"action":"replay"`) || !strings.Contains(w.log.String(), p.Digest) {
		t.Error("the trail does not say who replayed what")
	}
}

// stuck puts a joiner's event among the dead letters of the lanes.
func (w *world) stuck(id, employeeID string) {
	w.t.Helper()
	w.post(w.joiner(id, employeeID, start), 202)
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
}

// only is the one entry of a plan.
func only(t *testing.T, p operate.Plan) operate.PlannedEntry {
	t.Helper()
	if len(p.Entries) != 1 {
		t.Fatalf("%d entries", len(p.Entries))
	}
	return p.Entries[0]
}

func TestReplayOfWhatIsDoneChangesNothing(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.stuck("m1", "E1004")
	w.replayed(d, w.plan(d, everything), "replayed")
	w.work()
	writes := w.writes()
	e := event.Event{
		ID: "m1", Source: "https://hr.contoso.example", Type: event.Joiner, Time: leadUp, ReceivedAt: leadUp, Origin: "hr", Key: "hr:m1", UserID: lenaID,
		Data: []byte(`{"person":{"employeeId":"E1004"},"startDate":"2026-11-30"}`),
	}
	w.toLane(e, "~again")
	w.giveUp("lanes", 1, lane.Poison)
	p := w.plan(d, everything)
	if got := only(t, p); got.Decision.Decision != operate.AlreadyDone || p.Summary.Done != 1 {
		t.Errorf("%+v", got)
	}
	w.replayed(d, p, "replayed")
	w.work()
	if w.writes() != writes {
		t.Error("it was done twice")
	}
	w.onePass()
}

func TestReplayOfAnObsoleteJoiner(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.stuck("m1", "E1027")
	w.clock.Advance(time.Hour)
	w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true, "lastDay": "2026-11-23", "timeZone": berlin}), 202)
	w.work()
	writes := w.writes()
	p := w.plan(d, everything)
	if got := only(t, p); got.Decision.Decision != "obsolete" || p.Summary.Obsolete != 1 {
		t.Errorf("%+v", got)
	}
	w.replayed(d, p, "replayed")
	w.work()
	if w.writes() != writes || w.enabled(victor) || w.outcome(victorID, "hr:m1") != ledger.Obsolete {
		t.Errorf("a joiner replayed after the leaver: %s", w.outcome(victorID, "hr:m1"))
	}
}

// A person whom two operators must agree on: planned as held, held by the lane, then
// released by two, neither of them the subject or the requester.
func TestReplayOfAProtectedPerson(t *testing.T) {
	const helena, user = "helena.strand@contoso.example", "10000000-0000-4000-8000-000000000015"
	w := newWorld(t)
	d := w.desk()
	n, _ := w.notified()
	w.post(w.reregister("h1", helena, map[string]any{"mode": "full"}), 202)
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
	p := w.plan(d, everything)
	if got := only(t, p); got.Decision.Decision != "hold" || got.Reason != "protected-person" || p.Summary.Held != 1 {
		t.Fatalf("%+v", got)
	}
	w.replayed(d, p, "replayed")
	w.work()
	w.tell(n)
	flags, err := d.Flags(t.Context(), operate.FlagFilter{Holds: true}, "", 0)
	w.must(err)
	if len(flags.Items) != 1 || flags.Items[0].Needs != 2 || flags.Items[0].Reason != "protected-person" {
		t.Fatalf("%+v", flags)
	}
	word := operate.Word{Flag: flags.Items[0].Number, Decision: lane.Release, Reason: "spoken to her"}
	for _, barred := range []operate.Operator{helena, "HELENA.strand@contoso.example", user, daniela} {
		if _, err := d.Decide(t.Context(), barred, word); !errors.Is(err, operate.ErrRefused) {
			t.Errorf("%s may decide: %v", barred, err)
		}
	}
	if _, err := d.Resolve(t.Context(), operator, []int64{word.Flag}, "tidy up"); err != nil || w.counts("flags").Deferred != 1 {
		t.Errorf("a standing hold was resolved: %v", err)
	}
	for range 2 { // saying it twice is saying it once
		if o, err := d.Decide(t.Context(), "olga", word); err != nil || o.Outcome != "sent" {
			t.Errorf("%+v, %v", o, err)
		}
		w.work()
	}
	if flags, err = d.Flags(t.Context(), operate.FlagFilter{}, "", 0); err != nil || fmt.Sprint(flags.Items[0].Approvals) != "[olga]" || w.writes() != 0 {
		t.Errorf("%+v, %v, %d writes", flags.Items, err, w.writes())
	}
	if o, err := d.Decide(t.Context(), "piotr", word); err != nil || o.Outcome != "sent" {
		t.Errorf("%+v, %v", o, err)
	}
	w.settle()
	w.delivers("grace.winther@contoso.example", helena)
	if c := w.counts("flags"); c.Deferred != 0 {
		t.Errorf("the flag of the hold is still open: %+v", c)
	}
	if o, err := d.Decide(t.Context(), "piotr", word); err != nil || o.Outcome != "gone" {
		t.Errorf("a word about a flag that is closed: %+v, %v", o, err)
	}
}

// What changes between plan and replay is held for an operator, and the others go on.
func TestReplayByAStalePlanIsHeld(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.stuck("m1", "E1004")
	w.stuck("m2", "X2001")
	p := w.plan(d, everything)
	first := w.plan(d, operate.Selection{IDs: []operate.ID{p.Entries[0].ID}})
	w.issueByHand(lenaID) // by now there is a pass: it would be held anyway
	w.replayed(d, p, "replayed", "replayed")
	w.work()
	if got := w.waits(lenaID); got != "held: foreign-pass" {
		t.Errorf("lane %s", got)
	}
	if got := w.delivered(amara); len(got) != 1 {
		t.Errorf("%d passes delivered: the other entry should have gone on", len(got))
	}
	if first.Entries[0].Digest != p.Entries[0].Digest {
		t.Error("the digest of an entry depends on what else is selected")
	}
}

// The event would now do something, and something else.
func TestReplayThatWouldDoSomethingElseIsHeld(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	n, _ := w.notified()
	w.stuck("m1", "E1004") // the pass is due a week later
	p := w.plan(d, everything)
	if got := only(t, p); got.Decision.Decision != "wait" || got.Reason != "due-later" || p.Summary.Waiting != 1 {
		t.Fatalf("%+v", got)
	}
	w.clock.Set(leadUp) // and now it is due
	w.replayed(d, p, "replayed")
	w.work()
	if got := w.waits(lenaID); got != "held: plan-changed" || w.writes() != 0 {
		t.Fatalf("lane %s, %d writes", got, w.writes())
	}
	w.tell(n)
	flags, err := d.Flags(t.Context(), operate.FlagFilter{User: lenaID}, "", 0)
	w.must(err)
	if len(flags.Items) != 1 || !strings.Contains(flags.Items[0].Detail, "issue-pass") {
		t.Fatalf("%+v", flags.Items)
	}
	if _, err := d.Decide(t.Context(), operator, operate.Word{Flag: flags.Items[0].Number, Decision: lane.Release, Reason: "yes"}); err != nil {
		t.Fatal(err)
	}
	w.work()
	if w.outcome(lenaID, "hr:m1") != ledger.Done || len(w.delivered(amara)) != 1 {
		t.Errorf("lane %+v", w.ledger(lenaID))
	}
}

// What a plan agreed to outlives the wait and a worker that dies halfway.
func TestReplayedLeaverGoesOnAfterItsWait(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.post(w.leaver("l1", "E1027", map[string]any{"immediate": true, "lastDay": "2026-11-23", "timeZone": berlin}), 202)
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
	w.replayed(d, w.plan(d, everything), "replayed")
	w.work()
	if got := w.waits(victorID); got != "planned: grace-period" || w.enabled(victor) {
		t.Fatalf("lane %s", got)
	}
	w.at(t0.Add(8 * 24 * time.Hour))
	if w.outcome(victorID, "hr:l1") != ledger.Done || len(w.methods(victor)) != 0 || len(w.ledger(victorID).Agreed) != 0 {
		t.Errorf("%+v", w.ledger(victorID))
	}
}

func TestReplayOfWhatTheRouterGaveUp(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E1040", start), 202) // nobody yet
	w.giveUp("inbound", 1, lane.UnknownPerson)
	if got := only(t, w.plan(d, everything)); got.Decision.Decision != "no-user" || got.Reason != string(flag.UnknownPerson) {
		t.Errorf("%+v", got)
	}
	_, err := w.tenant.Provision("E1040")
	w.must(err)
	p := w.plan(d, everything)
	if got := only(t, p); got.Decision.Decision != "act" || got.Lane == "" {
		t.Fatalf("%+v", got)
	}
	w.replayed(d, p, "replayed")
	w.work()
	if got := w.outcome(p.Entries[0].Lane, "hr:m1"); got != ledger.Done {
		t.Errorf("ended %q", got)
	}
}

// What was ambiguous is replayed out of the quarantine once it is not.
func TestReplayOutOfTheQuarantine(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E1021", start), 202)
	w.work()
	if got := only(t, w.plan(d, everything)); got.Reason != string(flag.AmbiguousPerson) {
		t.Errorf("%+v", got)
	}
	twins, err := w.graph.Find(t.Context(), identity.Reference{EmployeeID: "E1021"})
	w.must(err)
	w.must(w.tenant.Delete(string(twins[0].ID)))
	p := w.plan(d, everything)
	got := only(t, p)
	if got.Lane != string(twins[1].ID) || got.Unplannable != "" {
		t.Fatalf("%+v", got)
	}
	w.replayed(d, p, "replayed")
	w.work()
	l := w.ledger(got.Lane)
	if _, done := l.HandledAs("hr:m1"); !done && l.WaitingFor("hr:m1") == nil {
		t.Errorf("it did not reach the lane: %+v", l)
	}
	if c := w.counts("quarantine"); c.Active+c.Deferred != 0 {
		t.Errorf("quarantine %+v", c)
	}
}

// The broker dead-letters what was locked too often by processes that died; it is an
// entry of the quarantine all the same.
func TestQuarantineIncludesItsDeadLetters(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	for i := range 5 {
		w.post(w.joiner(fmt.Sprint("m", i), "E1021", start), 202)
		w.work()
	}
	r, err := w.client.Receiver("quarantine")
	w.must(err)
	defer r.Close()
	for range 2 { // the first and the second
		m, err := r.Receive(t.Context(), 5*time.Second)
		w.must(err)
		w.must(r.DeadLetter(t.Context(), m, "MaxDeliveryCountExceeded", "", nil))
	}
	for _, limit := range []int{0, 1, 2} {
		var keys []string
		for _, e := range list(w, d, operate.Filter{Reason: string(flag.AmbiguousPerson)}, limit) {
			keys = append(keys, e.Key)
		}
		if want := "[hr:m0 hr:m1 hr:m2 hr:m3 hr:m4]"; fmt.Sprint(keys) != want {
			t.Errorf("%d a page: %v, want %s", limit, keys, want)
		}
	}
	entries := list(w, d, operate.Filter{}, 0)
	for _, i := range []int{1, 3} {
		outcomes, err := d.Discard(t.Context(), operator, []operate.ID{entries[i].ID}, "sent anew")
		w.must(err)
		if outcomes[0].Outcome != "discarded" || outcomes[0].Key != entries[i].Key {
			t.Errorf("%+v", outcomes)
		}
	}
	if got := len(list(w, d, operate.Filter{}, 0)); got != 3 {
		t.Errorf("%d are left", got)
	}
}

// What is no event, and what only its sender can put right, says so and is left alone.
func TestWhatCannotBeReplayed(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.must(w.client.Send(t.Context(), "lanes",
		queue.Message{ID: "no-event", SessionID: lenaID, Key: "k1", Body: []byte(`{"not":"an event"}`)},
		queue.Message{ID: "wake", SessionID: lenaID, Key: "k2"},
		lane.Command{Decision: lane.Release, Sequence: 1, Operator: "olga"}.Message(lenaID, ""),
	))
	w.giveUp("lanes", 3, lane.BadEvent)
	w.must(w.client.Send(t.Context(), "control", queue.Message{ID: "c", SessionID: "s", Key: "k4", Body: []byte("{}")}))
	w.giveUp("control", 1, lane.BadEvent)
	parked := map[string]string{queue.PropSource: "bamboohr", queue.PropReason: "mapping-failed"}
	w.must(w.client.Send(t.Context(), "quarantine",
		queue.Message{ID: "mapped", Key: "k5", ContentType: "application/json", Body: []byte(`{"employee":"x"}`), Properties: parked},
		queue.Message{ID: "unknown", Key: "k6", ContentType: event.ContentType, Body: []byte(`{"specversion":"1.0","id":"1","source":"/x","type":"employee.cloned"}`), Properties: parked}))
	p := w.plan(d, everything)
	if len(p.Entries) != 6 || p.Summary.Unplannable != 6 {
		t.Fatalf("%+v", p)
	}
	before := w.counts("lanes")
	w.replayed(d, p, "failed", "failed", "failed", "failed", "failed", "failed")
	if w.counts("lanes") != before {
		t.Errorf("lanes %+v", w.counts("lanes"))
	}
	var ids []operate.ID
	for _, e := range p.Entries {
		ids = append(ids, e.ID)
	}
	if _, err := d.Discard(t.Context(), operator, ids, " "); !errors.Is(err, operate.ErrRefused) {
		t.Errorf("discarded for no reason: %v", err)
	}
	outcomes, err := d.Discard(t.Context(), operator, ids, "sent anew by hand")
	w.must(err)
	if len(outcomes) != 6 || outcomes[5].Outcome != "discarded" || len(list(w, d, operate.Filter{}, 0)) != 0 {
		t.Errorf("%+v", outcomes)
	}
	if n := strings.Count(w.log.String(), `"reason":"sent anew by hand"`); n != 6 {
		t.Errorf("%d discards in the trail", n)
	}
}

// A canonical event that the catalogue took later is replayed by the same key.
func TestQuarantinedCanonicalEventGoesToTheRouter(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.must(w.client.Send(t.Context(), "quarantine", queue.Message{
		ID: "hr:m1", Key: "hr:m1", ContentType: event.ContentType, Properties: map[string]string{queue.PropSource: "hr", queue.PropReason: "unknown-type"},
		Body: fmt.Appendf(nil, `{"specversion":"1.0","id":"m1","source":"https://hr.example","type":"employee.joiner","time":%q,"data":{"person":{"employeeId":"E1004"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}}`,
			w.clock.Now().Format(time.RFC3339)),
	}))
	p := w.plan(d, everything)
	if got := only(t, p); got.Unplannable != "" || got.Decision.Decision != "act" {
		t.Fatalf("%+v", got)
	}
	w.replayed(d, p, "replayed")
	w.settle()
	w.onePass()
}

func TestEdit(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.post(w.joiner("m1", "E1004", "2025-11-30"), 202) // a typing error
	w.visit("inbound")
	w.giveUp("lanes", 1, lane.Poison)
	id := list(w, d, operate.Filter{}, 0)[0].ID
	edit := func(patch string) operate.Selection {
		return operate.Selection{IDs: []operate.ID{id}, Edits: []operate.Edit{{ID: id, Patch: []byte(patch)}}}
	}
	for _, bad := range []string{
		`{"startDate":"soon"}`, `{"startDate":null}`, `{"person":{"employeeId":"E1027"}}`, `{"person":null}`, `{"nobody":1}`, `[]`, `"x"`, `{`,
		`{"requestedBy":"eve@contoso.example"}`,
	} {
		if got := only(t, w.plan(d, edit(bad))); got.Unplannable == "" {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	p := w.plan(d, edit(`{"startDate":"2026-11-30"}`))
	got := only(t, p)
	if got.Decision.Decision != "act" || fmt.Sprint(got.Diff) != `[- /startDate: "2025-11-30" + /startDate: "2026-11-30"]` {
		t.Fatalf("%+v", got)
	}
	forged := replay(p)
	forged.Entries[0].Patch = []byte(`{"startDate":"2026-12-24"}`)
	if _, err := d.Replay(t.Context(), operator, forged); !errors.Is(err, operate.ErrStale) {
		t.Errorf("another edit than the planned one: %v", err)
	}
	p = w.plan(d, edit(`{"startDate":"2026-11-30"}`))
	w.replayed(d, p, "replayed")
	w.settle()
	w.onePass()
}

func TestReplayNeedsItsPlan(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	w.clock.Set(leadUp)
	w.stuck("m1", "E1004")
	p := w.plan(d, everything)
	for name, change := range map[string]func(*operate.Replay){
		"no plan":           func(r *operate.Replay) { r.Plan = "" },
		"other settings":    func(r *operate.Replay) { r.Settings = "settings-2" },
		"no digests":        func(r *operate.Replay) { r.Digests = nil },
		"other decision":    func(r *operate.Replay) { r.Entries[0].Steps = nil },
		"other generation":  func(r *operate.Replay) { r.Entries[0].Generation++ },
		"other key":         func(r *operate.Replay) { r.Entries[0].Key = "hr:other" },
		"other entry":       func(r *operate.Replay) { r.Entries[0].Sequence++ },
		"other digest":      func(r *operate.Replay) { r.Entries[0].Digest = strings.Repeat("0", 64) },
		"unplannable by us": func(r *operate.Replay) { r.Entries[0].Unplannable = "no" },
	} {
		r := replay(p)
		r.Entries = append([]operate.PlannedEntry(nil), p.Entries...)
		change(&r)
		if _, err := d.Replay(t.Context(), operator, r); !errors.Is(err, operate.ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, by := range []operate.Operator{"", " "} {
		if _, err := d.Replay(t.Context(), by, replay(p)); !errors.Is(err, operate.ErrRefused) {
			t.Errorf("operator %q: %v", by, err)
		}
	}
	if c := w.counts("lanes"); c.DeadLetter != 1 || c.Active != 0 {
		t.Errorf("lanes %+v", c)
	}
}

// mortalShelf, mortalSender and mortalTrail are the hands of somebody who dies.
type mortalShelf struct {
	operate.Shelf
	m *mortal
}

func (s mortalShelf) Take(ctx context.Context, sequence int64) (r queue.Received, err error) {
	err = s.m.step(func() error { r, err = s.Shelf.Take(ctx, sequence); return err })
	return r, err
}

func (s mortalShelf) Complete(ctx context.Context, r queue.Received) error {
	return s.m.step(func() error { return s.Shelf.Complete(ctx, r) })
}

func (s mortalShelf) PutBack(ctx context.Context, r queue.Received) error {
	return s.m.step(func() error { return s.Shelf.PutBack(ctx, r) })
}

type mortalSender struct {
	operate.Sender
	m *mortal
}

func (s mortalSender) Send(ctx context.Context, name string, msgs ...queue.Message) error {
	return s.m.step(func() error { return s.Sender.Send(ctx, name, msgs...) })
}

type mortalTrail struct {
	operate.Audit
	m *mortal
}

func (a mortalTrail) Write(ctx context.Context, r audit.Record) error {
	return a.m.step(func() error { return a.Audit.Write(ctx, r) })
}

// The replayer dies at every step, before and after it takes effect, and another one
// runs the same plan to its end: nothing is lost, nothing done twice.
func TestReplayerDiesAtEveryStep(t *testing.T) {
	for n := 0; ; n++ {
		died := false
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("step %d late %v", n, late), func(t *testing.T) {
				w := newWorld(t)
				d := w.desk()
				w.clock.Set(leadUp)
				w.stuck("m0", "X2001")
				w.stuck("m1", "E1004")
				w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
				w.visit("inbound")
				w.giveUp("lanes", 1, lane.Poison)
				p := w.plan(d, everything)

				m := &mortal{left: n, late: late}
				dying := w.desk()
				dying.Shelves[operate.Lanes] = mortalShelf{dying.Shelves[operate.Lanes], m}
				dying.Sender, dying.Audit = mortalSender{w.client, m}, mortalTrail{d.Audit, m}
				_, err := dying.Replay(t.Context(), operator, replay(p))
				if died = died || m.dead; m.dead && err == nil {
					t.Error("a dead process ended well")
				}
				w.work() // the worker may be fast
				w.clock.Advance(61 * time.Second)

				outcomes, err := d.Replay(t.Context(), operator, replay(p))
				w.must(err)
				for _, o := range outcomes {
					if o.Outcome != "replayed" && o.Outcome != "gone" {
						t.Errorf("%+v", o)
					}
				}
				w.settle()
				if got := len(w.delivered(amara)); got != 3 {
					t.Errorf("%d passes delivered to the manager of three people", got)
				}
				if len(w.methods(mei)) != 0 || len(w.tenant.Passes(mei)) != 1 {
					t.Errorf("methods %v, %d passes", w.methods(mei), len(w.tenant.Passes(mei)))
				}
				if n := w.removals(); n != 6 {
					t.Errorf("%d of six methods were removed", n)
				}
				w.idle(nil)
				w.secretFree()
			})
		}
		if !died || t.Failed() {
			return
		}
	}
}

// The worker dies at every step of a replayed event: who resumes does what is left of
// the plan, and does not take it for another one.
func TestWorkerDiesAtEveryStepOfAReplay(t *testing.T) {
	diesAtEveryStep(t, func(w *world) {
		w.post(w.reregister("h1", mei, map[string]any{"mode": "full"}), 202)
		w.giveUp("inbound", 1, lane.UnknownPerson)
		d := w.desk()
		w.replayed(d, w.plan(d, everything), "replayed")
	}, func(w *world) {
		if len(w.methods(mei)) != 0 || len(w.tenant.Passes(mei)) != 1 || w.outcome(meiID, "helpdesk:h1") != ledger.Done {
			w.t.Errorf("methods %v, lane %+v", w.methods(mei), w.ledger(meiID))
		}
		w.idle(nil)
		w.secretFree()
	})
}

// aside puts events of one person among the dead letters of their lane, under ids of
// their own.
func (w *world) aside(user identity.UserID, events ...event.Event) {
	w.t.Helper()
	for i, e := range events {
		e.Source, e.UserID = "https://sender.example", user
		w.toLane(e, fmt.Sprint("~", i))
	}
	s, err := w.client.Accept(w.t.Context(), "lanes", string(user), 5*time.Second)
	w.must(err)
	defer s.Close()
	for range events {
		m, err := s.Receive(w.t.Context(), 5*time.Second)
		w.must(err)
		w.must(s.DeadLetter(w.t.Context(), m, "poison", "x"))
	}
}

// A thousand dead letters, of which most are done or obsolete and some are about
// somebody protected, are replayed in three runs, of which two die.
func TestThousandMixedDeadLettersInThreeRuns(t *testing.T) {
	const helena, helenaID, chloe = "helena.strand@contoso.example", "10000000-0000-4000-8000-000000000015", "chloe.barnes@contoso.example"
	w := newWorld(t)
	w.clock.Set(leadUp)
	d := w.deskOf(w.directoryOf("event-replay", func(s azauth.Settings) azcore.TokenCredential {
		c, err := azauth.New(s)
		w.must(err)
		return c
	}))
	guests, err := w.graph.Find(t.Context(), identity.Reference{UserPrincipalName: chloe})
	w.must(err)
	many := func(n int, origin string, typ event.Type, data string, key func(int) string) (list []event.Event) {
		for i := range n {
			at := w.clock.Now().Add(time.Duration(i) * time.Millisecond)
			id := key(i)
			list = append(list, event.Event{ID: id, Type: typ, Time: at, ReceivedAt: at, Origin: origin, Key: event.NewKey(origin, id), Data: []byte(data)})
		}
		return list
	}
	of := func(name string) func(int) string { return func(i int) string { return fmt.Sprint(name, i) } }
	w.aside(victorID, many(438, "hr", event.Joiner, `{"person":{"employeeId":"E1027"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`, of("v"))...)
	w.aside(helenaID, many(10, "helpdesk", event.Reregister, `{"person":{"userPrincipalName":"`+helena+`"},"mode":"full"}`, of("p"))...)
	w.aside(meiID, many(1, "helpdesk", event.Reregister, `{"person":{"userPrincipalName":"`+mei+`"},"mode":"full"}`, of("m"))...)
	w.aside(meiID, many(100, "risk", event.RiskUser, `{"person":{"userPrincipalName":"`+mei+`"},"level":"low","state":"atRisk"}`, of("r"))...)
	w.aside(guests[0].ID, many(1, "hr", event.Joiner, `{"person":{"employeeId":"X2001"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`, of("c"))...)
	w.clock.Advance(time.Minute)
	w.post(w.joiner("done", "E1004", start), 202)
	w.post(w.leaver("gone", "E1027", map[string]any{"immediate": true}), 202)
	w.work()
	w.aside(lenaID, many(450, "hr", event.Joiner, `{"person":{"employeeId":"E1004"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`, func(int) string { return "done" })...)

	p := w.plan(d, everything)
	if s := p.Summary; len(p.Entries) != 1000 || s.Done != 450 || s.Obsolete != 438 || s.Held != 10 || s.Passes != 2 || s.Resets != 1 || s.Unplannable != 0 {
		t.Fatalf("%+v", p.Summary)
	}
	for run, left := range []int{700, 1501, 1 << 30} {
		m := &mortal{left: left, late: run == 1}
		dying := *d
		dying.Shelves = maps.Clone(d.Shelves)
		dying.Shelves[operate.Lanes] = mortalShelf{d.Shelves[operate.Lanes], m}
		dying.Sender, dying.Audit = mortalSender{w.client, m}, mortalTrail{d.Audit, m}
		_, err := dying.Replay(t.Context(), operator, replay(p))
		if m.dead != (run < 2) || m.dead == (err == nil) {
			t.Fatalf("run %d: dead %v, %v", run, m.dead, err)
		}
		w.work()
		w.clock.Advance(61 * time.Second)
		if w.enabled(victor) || len(w.tenant.Passes(lena)) != 1 || len(w.methods(helena)) != 2 {
			t.Errorf("after run %d: victor enabled %v, %d passes, methods %v", run, w.enabled(victor), len(w.tenant.Passes(lena)), w.methods(helena))
		}
	}
	w.work()
	if c := w.counts("lanes"); c.DeadLetter != 0 || c.Active != 0 {
		t.Errorf("lanes %+v", c)
	}
	if len(w.methods(mei)) != 0 || len(w.tenant.Passes(mei)) != 1 || len(w.tenant.Passes(chloe)) != 1 || w.removals() != 6 {
		t.Errorf("methods %v, %d and %d passes, %d removals", w.methods(mei), len(w.tenant.Passes(mei)), len(w.tenant.Passes(chloe)), w.removals())
	}
	if got := len(w.delivered(amara)); got != 3 {
		t.Errorf("%d passes delivered", got)
	}
	if l := w.ledger(helenaID); len(l.Waiting) != 10 || l.Waiting[0].Reason != "protected-person" {
		t.Errorf("lane of the protected one: %+v", l.Waiting)
	}
	w.secretFree()
}

// Out of the middle of many, without touching the others.
func TestSelectiveReplay(t *testing.T) {
	w := newWorld(t)
	w.clock.Set(leadUp)
	d := w.deskOf(w.directoryOf("event-replay", func(s azauth.Settings) azcore.TokenCredential {
		c, err := azauth.New(s) // keeps its token, which thousands of requests want
		w.must(err)
		return c
	}))
	const many = 1000
	var msgs []queue.Message
	for i := range many {
		e := event.Event{
			ID: fmt.Sprint("m", i), Source: "https://hr.contoso.example", Type: event.Joiner, Time: leadUp, ReceivedAt: leadUp, Origin: "hr",
			Key: fmt.Sprint("hr:m", i), UserID: lenaID,
			Data: []byte(`{"person":{"employeeId":"E1004"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`),
		}
		body, err := e.Encode()
		w.must(err)
		msgs = append(msgs, queue.Message{
			ID: e.Key, SessionID: lenaID, Key: e.Key, ContentType: event.ContentType, Body: body, Properties: map[string]string{queue.PropType: string(e.Type)},
		})
	}
	w.must(w.client.Send(t.Context(), "lanes", msgs...))
	s, err := w.client.Accept(t.Context(), "lanes", lenaID, 5*time.Second)
	w.must(err)
	for range many {
		m, err := s.Receive(t.Context(), 5*time.Second)
		w.must(err)
		w.must(s.DeadLetter(t.Context(), m, "poison", "x"))
	}
	s.Close()

	// Nobody reads the methods of a thousand people to answer what would happen.
	w.tenant.ClearRequests()
	p := w.plan(d, everything)
	if p.Summary.Passes != many || p.Summary.MethodsRead || p.Summary.Calls < 6*many {
		t.Errorf("%+v", p.Summary)
	}
	for _, r := range w.tenant.Requests() {
		if strings.Contains(r.Path, "/authentication/") {
			t.Fatalf("asked for %s", r.Path)
		}
	}
	found := list(w, d, operate.Filter{Text: "hr:m500"}, 0)
	if len(found) != 1 {
		t.Fatalf("%d entries", len(found))
	}
	w.replayed(d, w.plan(d, operate.Selection{IDs: []operate.ID{found[0].ID}}), "replayed")
	if c := w.counts("lanes"); c.Locked != 0 || c.DeadLetter != many-1 {
		t.Errorf("lanes %+v", c)
	}
	w.settle()
	if w.outcome(lenaID, "hr:m500") != ledger.Done || len(w.delivered(amara)) != 1 {
		t.Errorf("lane %+v", w.ledger(lenaID))
	}
	if got := list(w, d, operate.Filter{}, 0); len(got) != many-1 || got[0].Key != "hr:m0" || got[500].Key != "hr:m501" {
		t.Errorf("%d are left", len(got))
	}
}

// Several operators replay the same plan at once.
func TestConcurrentReplayers(t *testing.T) {
	w := newWorld(t)
	w.clock.Set(leadUp)
	w.stuck("m0", "X2001")
	w.stuck("m1", "E1004")
	p := w.plan(w.desk(), everything)
	outcomes := make([][]operate.Outcome, 4)
	errs := make([]error, len(outcomes))
	var all sync.WaitGroup
	for i := range outcomes {
		d := w.desk()
		all.Go(func() { outcomes[i], errs[i] = d.Replay(t.Context(), operator, replay(p)) })
	}
	all.Wait()
	n := 0
	for i := range outcomes {
		w.must(errs[i])
		for _, o := range outcomes[i] {
			if o.Outcome == "replayed" {
				n++
			} else if o.Outcome != "gone" {
				t.Errorf("%+v", o)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d entries were replayed, each should be once", n)
	}
	w.settle()
	if got := len(w.delivered(amara)); got != 2 || len(w.tenant.Passes(lena)) != 1 {
		t.Errorf("%d passes delivered", got)
	}
	w.idle(nil)
}

func TestFlagsAreResolved(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	n, _ := w.notified()
	w.post(w.joiner("q1", "E1021", start), 202)
	w.work()
	number := int64(1)
	outcomes, err := d.Resolve(t.Context(), operator, []int64{number}, "made unique")
	w.must(err)
	if outcomes[0].Outcome != "failed" {
		t.Errorf("taken from under the notifier: %+v", outcomes)
	}
	w.tell(n)
	for _, want := range []string{"resolved", "gone"} {
		if outcomes, err = d.Resolve(t.Context(), operator, []int64{number}, "made unique"); err != nil || outcomes[0].Outcome != want {
			t.Errorf("%+v, %v, want %s", outcomes, err, want)
		}
	}
	if page, err := d.Flags(t.Context(), operate.FlagFilter{}, "", 0); err != nil || len(page.Items) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

// A flag that no channel could tell is told again by a replay.
func TestReplayOfAFlag(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	n, channels := w.notified()
	for _, c := range []string{"teams", "slack", "webhook"} {
		channels.answers(c, 410)
	}
	_, err := w.tenant.AddFault(graphsim.Fault{Kind: graphsim.FaultStatus, Status: 403, Path: "users/*/sendMail", Count: -1})
	w.must(err)
	w.post(w.joiner("q1", "E1021", start), 202)
	w.work()
	w.tell(n)
	p := w.plan(d, operate.Selection{Filter: &operate.Filter{Places: []operate.Place{operate.Flags}}})
	if got := only(t, p); got.Decision.Decision != operate.Tell {
		t.Fatalf("%+v", got)
	}
	channels.answers("teams", 0)
	w.replayed(d, p, "replayed")
	w.tell(n)
	if c := w.counts("flags"); c.DeadLetter != 0 || c.Deferred != 1 {
		t.Errorf("flags %+v", c)
	}
}

func TestPersonAndLetIn(t *testing.T) {
	w := newWorld(t)
	d := w.desk()
	look := func(who string) operate.PersonView {
		t.Helper()
		v, err := d.Person(t.Context(), who, true)
		w.must(err)
		return v
	}
	if v := look(lena); !strings.Contains(v.Cause, "no pass") || v.Tenant.UserID != lenaID || v.NextStep == "" {
		t.Errorf("blank: %s / %s", v.Cause, v.NextStep)
	}
	w.stuck("m1", "E1004")
	if v := look("E1004"); len(v.Entries) != 1 || !strings.Contains(v.Cause, "given up: poison") {
		t.Errorf("dead letter: %+v", v)
	}
	w.clock.Set(leadUp)
	w.replayed(d, w.plan(d, everything), "replayed")
	w.work()
	if v := look(lenaID); !strings.Contains(v.Cause, "opens at 30 November 2026, 06:30 UTC") || v.Lane == nil {
		t.Errorf("pass to come: %s", v.Cause)
	}
	w.clock.Set(opens.Add(time.Minute))
	if v := look(lenaID); !strings.Contains(v.Cause, "works until") || !strings.Contains(v.Cause, "delivered by manager") {
		t.Errorf("pass: %s", v.Cause)
	}
	w.atRisk("r1", mei)
	if v := look(mei); v.Tenant.Enabled || !strings.Contains(v.Cause, "after a compromise") || v.Lane.BlockedFor != "compromise" {
		t.Errorf("compromise: %+v", v)
	}
	if _, err := d.LetIn(t.Context(), mei, meiID, "it is me"); !errors.Is(err, operate.ErrRefused) {
		t.Errorf("lets herself in: %v", err)
	}
	if _, err := d.LetIn(t.Context(), operator, lenaID, "why not"); !errors.Is(err, operate.ErrRefused) {
		t.Errorf("lets somebody in who is not shut out: %v", err)
	}
	for range 2 {
		if o, err := d.LetIn(t.Context(), operator, meiID, "seen her passport"); err != nil || o.Outcome != "sent" {
			t.Errorf("%+v, %v", o, err)
		}
	}
	w.settle()
	if !w.enabled(mei) || len(w.tenant.Passes(mei)) != 1 {
		t.Errorf("enabled %v, %d passes", w.enabled(mei), len(w.tenant.Passes(mei)))
	}
	if _, err := d.Person(t.Context(), "nobody@contoso.example", true); !errors.Is(err, operate.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := d.Person(t.Context(), "E1021", true); !errors.Is(err, operate.ErrRefused) {
		t.Errorf("two people: %v", err)
	}
	hidden, err := d.Person(t.Context(), mei, false)
	w.must(err)
	if text := fmt.Sprintf("%+v", hidden.Tenant); strings.Contains(strings.ToLower(text), "mei") {
		t.Errorf("shown: %s", text)
	}
	w.secretFree()
}
