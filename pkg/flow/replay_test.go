package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/telemetry"
)

const operator = "dana.reyes@contoso.example"

// desk is the operators' desk on this world.
func (w *world) desk() *operate.Desk {
	w.t.Helper()
	schemas, err := catalog.New()
	w.must(err)
	shelf := func(name string, dead bool) operate.Shelf {
		s := w.client.Shelf(name, dead)
		w.t.Cleanup(s.Close)
		return s
	}
	return &operate.Desk{
		Shelves: map[operate.Place]operate.Shelf{
			operate.Inbound: shelf("inbound", true), operate.Lanes: shelf("lanes", true), operate.Flags: shelf("flags", true),
			operate.Control: shelf("control", true), operate.Quarantine: shelf("quarantine", false),
		},
		Open: shelf("flags", false), Sender: w.client, Queues: operate.Queues{Inbound: "inbound", Lanes: "lanes", Flags: "flags"},
		Accept: func(ctx context.Context, queueName, id string) (operate.Session, error) {
			s, err := w.client.Accept(ctx, queueName, id, time.Second)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Worker: w.worker, Router: w.router, Directory: w.graph, Breaker: w.worker.Breaker.(operate.Limiter), People: w.graph.CountUsers,
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

var (
	_ = event.Joiner
	_ = graph.New
	_ = identity.NewSecret
	_ = ledger.Done
	_ = queue.ErrGone
	_ = servicebus.New
	_ sbsim.Counts
)
