package flow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/files"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/readiness"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/worker"
)

const (
	emergency = `"breakGlass": {"accounts": ["emergency1@contoso.example"]}`
	// harmless takes two writes and nothing from anybody.
	harmless = `{` + emergency + `, "methods": {"x509Certificate": {"state": "enabled"}, "qrCodePin": {"state": "enabled"}}}`
	// costly takes the only method from some people.
	costly = `{` + emergency + `, "methods": {"sms": {"state": "disabled"}, "voice": {"state": "disabled"}}}`
	// fatal takes it from the administrators and the break-glass accounts as well.
	fatal = `{` + emergency + `, "methods": {"fido2": {"state": "disabled"}, "microsoftAuthenticator": {"state": "disabled"}, "softwareOath": {"state": "disabled"}, "hardwareOath": {"state": "disabled"}, "sms": {"state": "disabled"}, "voice": {"state": "disabled"}}}`
)

// governed lets events change the policy, and has readiness-report look at the tenant once.
func (w *world) governed() *worker.MethodPolicy {
	w.t.Helper()
	m := &worker.MethodPolicy{Policies: w.graph, Store: files.Folder(w.t.TempDir()), MaxAge: 26 * time.Hour, Tenant: w.tenant.TenantID(), Now: w.clock.Now}
	w.worker.MethodPolicy, w.worker.Settings.MethodPolicy, w.router.Tenant = m, true, w.tenant.TenantID()
	w.worker.Scopes["helpdesk"] = append(w.worker.Scopes["helpdesk"], string(event.MethodPolicy))
	w.report()
	return m
}

// report keeps a snapshot as readiness-report does.
func (w *world) report() posture.Snapshot {
	w.t.Helper()
	directory := w.directory("readiness-report")
	defer directory.Close()
	s, err := readiness.Gatherer{
		Tenant: directory, Now: w.clock.Now, BreakGlass: breakGlass(w.tenant), Sleep: func(context.Context, time.Duration) error { return nil },
	}.Snapshot(w.t.Context())
	w.must(err)
	w.must(readiness.KeepSnapshot(w.t.Context(), w.worker.MethodPolicy.Store, s))
	return s
}

// change is an event that changes the policy, in the lane of the tenant.
func (w *world) change(id, file, digest string) map[string]any {
	data := map[string]any{"requestedBy": daniela, "ticket": "CHG-1", "policy": json.RawMessage(file)}
	if digest != "" {
		data["digest"] = digest
	}
	e := w.statement(id, string(event.MethodPolicy), data)
	e["subject"] = w.tenant.TenantID()
	return e
}

// states are those of the method configurations.
func (w *world) states() map[string]string {
	got := map[string]string{}
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		for _, m := range t.Policies.MethodConfigurations {
			got[fmt.Sprint(m["id"])] = fmt.Sprint(m["state"])
		}
	})
	return got
}

// enabledBoth is how much of harmless the tenant has.
func (w *world) enabledBoth() (n int) {
	for _, id := range []string{"X509Certificate", "QRCodePin"} {
		if w.states()[id] == "enabled" {
			n++
		}
	}
	return n
}

func (w *world) setMethod(id, state string) {
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		for _, m := range t.Policies.MethodConfigurations {
			if m["id"] == id {
				m["state"] = state
			}
		}
	})
}

// changes counts the requests that changed the policy.
func (w *world) changes() (n int) {
	for _, r := range w.tenant.Requests() {
		if r.Method == http.MethodPatch && strings.Contains(r.Path, "/policies/") {
			n++
		}
	}
	return n
}

// detail is that of the hold in the lane of the tenant.
func (w *world) detail() string {
	w.t.Helper()
	all := w.flags()
	for _, f := range slices.Backward(all) {
		if f.Cause == flag.Held && f.Lane == event.TenantLane {
			return f.Detail
		}
	}
	w.t.Fatalf("no hold among %+v", all)
	return ""
}

// runs are those in the store.
func (w *world) runs() []policy.Run {
	w.t.Helper()
	list, err := policy.Runs(w.t.Context(), w.worker.MethodPolicy.Store)
	w.must(err)
	return list
}

// permit gives apps a permission, or takes it from them.
func (w *world) permit(on bool, permission string, apps ...string) {
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		for i := range t.Apps {
			if a := t.Apps[i]; slices.Contains(apps, a.Name) {
				a.Permissions = slices.DeleteFunc(a.Permissions, func(p string) bool { return p == permission })
				if on {
					a.Permissions = append(a.Permissions, permission)
				}
			}
		}
	})
}

// openRun is a run of an operator's that is not over.
const openRun = "20261120T080000.000000000Z-00000000"

// rollout puts openRun into the store.
func (w *world) rollout(store policy.Store) {
	w.t.Helper()
	open, err := json.Marshal(policy.Run{ID: openRun, Plan: policy.Plan{Digest: "x"}, BeganAt: t0, IDs: map[string]string{}})
	w.must(err)
	w.must(store.Put(w.t.Context(), "policy/runs/"+openRun+"/run.json", open))
}

// claimed has somebody else apply a plan until then.
func (w *world) claimed(until time.Time) {
	w.t.Helper()
	c, err := json.Marshal(map[string]any{"token": "x", "operator": "ann", "plan": "p", "since": t0, "until": until, "host": "laptop", "pid": 1})
	w.must(err)
	w.must(w.worker.MethodPolicy.Store.Put(w.t.Context(), "policy/claims/00000001.json", c))
}

// digest is that of the plan that mfaflow policy plan makes of a file.
func (w *world) digest(file string) string {
	w.t.Helper()
	f, err := policy.Parse([]byte(file))
	w.must(err)
	admin := w.directory("tenant-administrator")
	defer admin.Close()
	s, err := readiness.Gatherer{
		Tenant: admin, Now: w.clock.Now, BreakGlass: breakGlass(w.tenant), Sleep: func(context.Context, time.Duration) error { return nil },
	}.Snapshot(w.t.Context())
	w.must(err)
	p, err := policy.Planner{Tenant: admin, Groups: admin, Now: w.clock.Now}.Plan(w.t.Context(), policy.Request{File: f, Snapshot: s})
	w.must(err)
	return p.Digest
}

// The whole way: posted, routed to the lane of the tenant, written once, taken back by the
// operators' own rollback. The same event again, and another one for the same, do nothing.
func TestMethodPolicyIsChanged(t *testing.T) {
	w := newWorld(t)
	m := w.governed()
	before := w.states()
	e := w.change("p1", harmless, "")
	w.post(e, 202)
	w.post(e, 202)
	w.work()
	if w.enabledBoth() != 2 || w.changes() != 2 || w.outcome(event.TenantLane, "helpdesk:p1") != ledger.Done {
		t.Fatalf("%d writes, lane %s, states %v", w.changes(), w.waits(event.TenantLane), w.states())
	}
	w.post(w.change("p2", harmless, ""), 202)
	w.work()
	if w.changes() != 2 || w.outcome(event.TenantLane, "helpdesk:p2") != ledger.Done {
		t.Errorf("%d writes", w.changes())
	}
	w.idle(nil)
	for _, want := range []string{`"action":"policy.write"`, `"actor":"source helpdesk"`, `"key":"helpdesk:p1"`, `"lane":"tenant"`, `"policyBefore":{"method":{"id":"x509certificate","enabled":false`} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the trail has no %s", want)
		}
	}
	w.secretFree()

	list := w.runs()
	if len(list) != 1 || list[0].Open() || list[0].Reason != "event helpdesk:p1, CHG-1" {
		t.Fatalf("runs %+v", list)
	}
	admin := w.directory("tenant-administrator")
	defer admin.Close()
	s := w.report()
	s.Policies = posture.Policies{}
	s, err := readiness.Gatherer{Tenant: admin, Now: w.clock.Now}.Refresh(t.Context(), s)
	w.must(err)
	back, err := policy.Planner{Tenant: admin, Groups: admin, Now: w.clock.Now}.Rollback(t.Context(), m.Store, list[0], policy.Request{Snapshot: s})
	w.must(err)
	_, err = policy.Engine{
		Tenant: admin, Groups: admin, Store: m.Store, Now: w.clock.Now, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Snapshot: func(context.Context, func(context.Context) error) (posture.Snapshot, error) { return s, nil },
	}.Apply(t.Context(), back, "dana", "taken back")
	w.must(err)
	if got := w.states(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("taken back: %v, was %v", got, before)
	}
}

// Once taken back, or undone by hand, the same wish is another event's and is carried out
// again: what a run once did does not count as done.
func TestMethodPolicyAfterItWasUndone(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.post(w.change("p1", harmless, ""), 202)
	w.work()
	w.setMethod("X509Certificate", "disabled")
	w.setMethod("QRCodePin", "disabled")
	w.post(w.change("p2", harmless, ""), 202)
	w.work()
	if w.enabledBoth() != 2 || w.changes() != 4 || len(w.runs()) != 2 {
		t.Errorf("%d writes, %d runs, lane %s", w.changes(), len(w.runs()), w.waits(event.TenantLane))
	}
}

// What would lock out the administrators or a break-glass account is dead-lettered with the
// refusals, whatever digest it carries, and nothing is written.
func TestMethodPolicyIsRefused(t *testing.T) {
	for _, digest := range []bool{false, true} {
		t.Run(fmt.Sprint("digest ", digest), func(t *testing.T) {
			w := newWorld(t)
			w.governed()
			reviewed := ""
			if digest {
				reviewed = w.digest(fatal)
			}
			w.post(w.change("p1", fatal, reviewed), 202)
			w.work()
			w.idle(map[string]sbsim.Counts{"lanes": {DeadLetter: 1}})
			d := w.desk()
			dead := list(w, d, operate.Filter{}, 10)
			if len(dead) != 1 || dead[0].Reason != string(lane.PolicyRefused) || !strings.Contains(dead[0].Detail, "break-glass: ") || !strings.Contains(dead[0].Detail, "every-administrator: ") {
				t.Errorf("%+v", dead)
			}
			if w.changes() != 0 || len(w.runs()) != 0 {
				t.Errorf("%d writes", w.changes())
			}
			// Who plans a replay is told that it would come back, and why.
			p := w.plan(d, operate.Selection{IDs: []operate.ID{dead[0].ID}})
			if e := p.Entries[0]; e.Decision.Decision != operate.DeadLetterAgain || e.Reason != string(lane.PolicyRefused) || e.Lane != event.TenantLane {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Who would lose their only method is told to two operators, neither of whom asked for it;
// they release exactly the plan that they were shown.
func TestMethodPolicyTakesTwoToLose(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.post(w.change("p1", costly, ""), 202)
	w.work()
	if got := w.waits(event.TenantLane); got != "held: policy-approval" {
		t.Fatalf("lane %s", got)
	}
	first := w.ledger(event.TenantLane).Policy.Shown
	if d := w.detail(); !strings.Contains(d, first) || !strings.Contains(d, "only-method: ") || strings.Contains(d, "@") {
		t.Errorf("held for %s", d)
	}
	for _, operators := range [][]string{{daniela}, {"olga"}, {" OLGA "}} {
		w.decide(event.TenantLane, lane.Release, operators...)
		if got := w.waits(event.TenantLane); got != "held: policy-approval" || w.changes() != 0 {
			t.Fatalf("after %v: %s, %d writes", operators, got, w.changes())
		}
	}
	// The plan is another one by the time that the second one has agreed.
	w.setMethod("QRCodePin", "enabled")
	w.decide(event.TenantLane, lane.Release, "piotr")
	if got := w.waits(event.TenantLane); got != "held: policy-approval" || w.changes() != 0 || w.ledger(event.TenantLane).Policy.Shown == first {
		t.Fatalf("lane %s, %d writes", got, w.changes())
	}
	if d := w.detail(); !strings.Contains(d, "the plan is another one than was released") {
		t.Errorf("held for %s", d)
	}
	w.decide(event.TenantLane, lane.Release, "olga", "piotr")
	if s := w.states(); s["Sms"] != "disabled" || s["Voice"] != "disabled" || w.changes() != 2 {
		t.Errorf("lane %s, states %v", w.waits(event.TenantLane), s)
	}
	if r := w.runs(); len(r) != 1 || r[0].Operator != "olga, piotr" {
		t.Errorf("%+v", r)
	}
}

// Who asks for it does not approve it by another of their names.
func TestMethodPolicyOfARequesterWithTwoNames(t *testing.T) {
	w := newWorld(t)
	w.governed()
	id := ""
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		for _, u := range t.Users {
			if u.UserPrincipalName == daniela {
				id = u.ID
			}
		}
	})
	e := w.change("p1", costly, "")
	e["data"].(map[string]any)["requestedBy"] = id
	w.post(e, 202)
	w.work()
	w.decide(event.TenantLane, lane.Release, daniela, "olga")
	if got := w.waits(event.TenantLane); id == "" || got != "held: policy-approval" || w.changes() != 0 {
		t.Fatalf("lane %s, %d writes for %q", got, w.changes(), id)
	}
	w.decide(event.TenantLane, lane.Release, "piotr")
	if r := w.runs(); len(r) != 1 || r[0].Operator != "olga, piotr" {
		t.Errorf("%+v", r)
	}
}

// What two released and what then had to wait is still theirs.
func TestMethodPolicyReleasedThenWaits(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.post(w.change("p1", costly, ""), 202)
	w.work()
	w.claimed(w.clock.Now().Add(2 * time.Minute))
	w.decide(event.TenantLane, lane.Release, "olga", "piotr")
	if got := w.waits(event.TenantLane); got != "retry: "+string(lane.Unavailable) || w.changes() != 0 {
		t.Fatalf("lane %s, %d writes", got, w.changes())
	}
	w.settle()
	if r := w.runs(); len(r) != 1 || r[0].Operator != "olga, piotr" {
		t.Errorf("lane %s, %+v", w.waits(event.TenantLane), r)
	}
}

// An operator cannot write what they would then approve, or the digest of its plan, into a
// dead letter.
func TestMethodPolicyIsNotEdited(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.post(w.change("p1", fatal, ""), 202)
	w.work()
	d := w.desk()
	id := list(w, d, operate.Filter{}, 10)[0].ID
	for _, c := range []struct{ patch, says string }{
		{`{"policy": {"methods": {"fido2": null, "microsoftAuthenticator": null, "softwareOath": null, "hardwareOath": null}}}`, "an edit cannot change data.policy"},
		{`{"digest": "` + w.digest(fatal) + `"}`, "an edit cannot change data.digest"},
		{`{"ticket": "CHG-2"}`, ""},
	} {
		p := w.plan(d, operate.Selection{IDs: []operate.ID{id}, Edits: []operate.Edit{{ID: id, Patch: []byte(c.patch)}}})
		if got := only(t, p).Unplannable; !strings.HasPrefix(got, c.says) || (got == "") != (c.says == "") {
			t.Errorf("%s: %q", c.patch, got)
		}
	}
}

// What cannot be read is missing in the same words every time, so that a plan stays the one
// that was reviewed with every report.
func TestMethodPolicyWithoutAllFacts(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.permit(false, "RoleManagement.Read.Directory", "readiness-report", "tenant-administrator")
	w.permit(false, "AuditLog.Read.All", "readiness-report", "tenant-administrator")
	if s := w.report(); len(s.Gaps) == 0 {
		t.Fatal("nothing is missing")
	}
	if a, b := w.digest(harmless), w.digest(harmless); a != b {
		t.Errorf("two plans of one file and tenant have the digests %.8s and %.8s", a, b)
	}
}

// Every change that came too late is told.
func TestMethodPolicyTooOld(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.post(w.change("p1", costly, ""), 202)
	w.work()
	w.post(w.change("p2", harmless, ""), 202)
	w.post(w.change("p3", `{`+emergency+`, "methods": {"hardwareOath": {"state": "enabled"}}}`, ""), 202)
	w.work()
	w.clock.Advance(8 * 24 * time.Hour)
	w.report()
	w.decide(event.TenantLane, lane.Drop, "olga")
	w.work()
	var got []string
	for _, f := range w.flags() {
		if f.Cause == flag.TooOld {
			got = append(got, f.Key)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []string{"helpdesk:p2", "helpdesk:p3"}) || w.changes() != 0 {
		t.Errorf("flags for %v, %d writes", got, w.changes())
	}
}

// What keeps an event from beginning for hours is told, once a day: all changes wait behind it.
func TestMethodPolicyCannotBegin(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"a claim of a wrong clock": func(w *world) { w.claimed(t0.AddDate(10, 0, 0)) },
		"a run cut off": func(w *world) {
			w.must(w.worker.MethodPolicy.Store.Put(w.t.Context(), "policy/runs/"+openRun+"/run.json", []byte(`{"id":`)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.governed()
			spoil(w)
			w.post(w.change("p1", harmless, ""), 202)
			for range 40 {
				w.work()
				w.clock.Advance(20 * time.Minute)
			}
			days := map[string]int{}
			for _, f := range w.flags() {
				if f.Cause != flag.LaneStuck || f.Reason != string(lane.Unavailable) || f.Detail == "" || f.Lane != event.TenantLane || f.Key != "helpdesk:p1" {
					t.Errorf("%+v", f)
				}
				days[f.At.Format(time.DateOnly)]++
			}
			if len(days) == 0 || w.waits(event.TenantLane) != "retry: "+string(lane.Unavailable) {
				t.Errorf("after 13 hours: lane %s, no flag", w.waits(event.TenantLane))
			}
			for day, n := range days {
				if n > 1 {
					t.Errorf("%d flags on %s", n, day)
				}
			}
		})
	}
}

// A plan that was reviewed with mfaflow policy plan has the digest that the worker finds, so
// that its warnings need no operator; another digest does.
func TestMethodPolicyReviewed(t *testing.T) {
	const warned = `{` + emergency + `, "methods": {"x509Certificate": {"state": "enabled"}}, "systemPreferred": "enabled"}`
	for name, c := range map[string]struct {
		digest func(*world) string
		done   bool
	}{
		"not reviewed": {func(*world) string { return "" }, false},
		"reviewed":     {func(w *world) string { return w.digest(warned) }, true},
		"reviewed in another form": {func(w *world) string {
			return w.digest("systemPreferred: enabled\nmethods: {x509Certificate: {state: enabled}}\n# a note\nbreakGlass: {accounts: [emergency1@contoso.example]}\n")
		}, true},
		"another plan": {func(w *world) string { return w.digest(harmless) }, false},
		"no longer": {func(w *world) string {
			digest := w.digest(warned)
			w.setMethod("QRCodePin", "enabled")
			return digest
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.governed()
			w.post(w.change("p1", warned, c.digest(w)), 202)
			w.work()
			if done := w.changes() == 2; done != c.done || !done && w.waits(event.TenantLane) != "held: policy-approval" {
				t.Errorf("%d writes, lane %s", w.changes(), w.waits(event.TenantLane))
			}
		})
	}
}

// Without a snapshot of the people, or with one that is too old, cut off or of a clock that
// is wrong, the event is held; it goes on when there is one.
func TestMethodPolicyWithoutASnapshot(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*world)
		says  string
	}{
		"none": {func(w *world) { w.worker.MethodPolicy.Store = files.Folder(w.t.TempDir()) }, "there is no snapshot"},
		"old":  {func(w *world) { w.clock.Advance(26*time.Hour + time.Second) }, "may be 26h0m0s old"},
		"of tomorrow": {func(w *world) {
			w.clock.Advance(48 * time.Hour)
			w.report()
			w.worker.MethodPolicy.Now = func() time.Time { return t0 }
		}, "may be 26h0m0s old"},
		"cut off": {func(w *world) {
			data, err := w.worker.MethodPolicy.Store.Get(w.t.Context(), readiness.LatestSnapshot)
			w.must(err)
			w.must(w.worker.MethodPolicy.Store.Put(w.t.Context(), readiness.LatestSnapshot, data[:len(data)/2]))
		}, "the snapshot cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.governed()
			c.spoil(w)
			w.post(w.change("p1", harmless, ""), 202)
			w.work()
			if got := w.waits(event.TenantLane); got != "held: snapshot-stale" || w.changes() != 0 {
				t.Fatalf("lane %s, %d writes", got, w.changes())
			}
			if d := w.detail(); !strings.Contains(d, c.says) || !strings.Contains(d, "readiness-report makes one") {
				t.Errorf("held for %s", d)
			}
			w.decide(event.TenantLane, lane.Release, "olga")
			if got := w.waits(event.TenantLane); got != "held: snapshot-stale" || w.changes() != 0 {
				t.Fatalf("lane %s, %d writes", got, w.changes())
			}
			w.worker.MethodPolicy.Now = w.clock.Now
			w.report()
			w.decide(event.TenantLane, lane.Release, "olga")
			if w.enabledBoth() != 2 {
				t.Errorf("lane %s", w.waits(event.TenantLane))
			}
		})
	}
}

// dying ends the worker before or after its n-th write of the policy.
type dying struct {
	worker.Policies
	n     int
	after bool
	kill  context.CancelFunc
}

func (d *dying) Write(ctx context.Context, w policy.Write, documents ...json.RawMessage) (string, error) {
	d.n--
	if d.n == 0 && !d.after {
		d.kill()
		return "", errKilled
	}
	id, err := d.Policies.Write(ctx, w, documents...)
	if d.n == 0 {
		d.kill()
		return "", errKilled
	}
	return id, err
}

// fullStore is a store that ends the worker at its n-th file.
type fullStore struct {
	files.Folder
	n    int
	kill context.CancelFunc
}

func (f *fullStore) Put(ctx context.Context, name string, data []byte) error {
	if f.n--; f.n == 0 {
		f.kill()
		return errKilled
	}
	return f.Folder.Put(ctx, name, data)
}

// killed works on the lane of the tenant once, with a worker that ends as prepared.
func (w *world) killed(prepare func(kill context.CancelFunc)) {
	w.t.Helper()
	ctx, kill := context.WithCancel(w.t.Context())
	defer kill()
	prepare(kill)
	s, err := w.client.AcceptNext(ctx, "lanes", 5*time.Second)
	w.must(err)
	if _, err := w.engines["lanes"].Visit(ctx, s, func() bool { return true }); err == nil {
		w.t.Fatal("the worker was not killed")
	}
}

// A worker that is killed at any write, or at any file that it keeps, leaves the event to
// the next one, who does what is left: every write once, and one run.
func TestMethodPolicySurvivesACrash(t *testing.T) {
	resume := func(t *testing.T, prepare func(w *world, kill context.CancelFunc)) {
		w := newWorld(t)
		m := w.governed()
		w.post(w.change("p1", harmless, ""), 202)
		w.visit("inbound")
		store := m.Store
		w.killed(func(kill context.CancelFunc) { prepare(w, kill) })
		m.Policies, m.Store = w.graph, store
		w.settle()
		runs := w.runs()
		if w.enabledBoth() != 2 || w.changes() != 2 || w.outcome(event.TenantLane, "helpdesk:p1") != ledger.Done || len(runs) != 1 || runs[0].Open() {
			t.Errorf("%d writes, %d runs, lane %s, states %v", w.changes(), len(runs), w.waits(event.TenantLane), w.states())
		}
		kept, err := store.List(t.Context(), "policy/runs/"+runs[0].ID+"/kept/")
		if err != nil || len(kept) != 2 {
			t.Errorf("%d states kept: %v", len(kept), err)
		}
		w.idle(nil)
	}
	for n := 1; n <= 2; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after %v", n, after), func(t *testing.T) {
				resume(t, func(w *world, kill context.CancelFunc) {
					w.worker.MethodPolicy.Policies = &dying{Policies: w.graph, n: n, after: after, kill: kill}
				})
			})
		}
	}
	for n := 1; n <= 7; n++ { // the run, who was blocked, twice what was and a step, the end
		t.Run(fmt.Sprintf("file %d", n), func(t *testing.T) {
			resume(t, func(w *world, kill context.CancelFunc) {
				w.worker.MethodPolicy.Store = &fullStore{Folder: w.worker.MethodPolicy.Store.(files.Folder), n: n, kill: kill}
			})
		})
	}
}

// What an operator did while a worker was dead is not undone by the one that comes next: a
// run that was taken back stays so, and one that another run took the place of is held.
func TestMethodPolicyAfterACrashAndAnOperator(t *testing.T) {
	for name, c := range map[string]struct {
		did   func(*policy.Run)
		lane  string
		ended bool
	}{
		"taken back": {func(r *policy.Run) { r.UndoneBy = "20261123T090000.000000000Z-00000000" }, "0 waiting", true},
		"superseded": {func(r *policy.Run) { r.SupersededBy = "20261123T090000.000000000Z-00000000" }, "held: policy-approval", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.governed()
			w.post(w.change("p1", harmless, ""), 202)
			w.visit("inbound")
			w.killed(func(kill context.CancelFunc) {
				m.Policies = &dying{Policies: w.graph, n: 1, after: true, kill: kill}
			})
			m.Policies = w.graph
			r := w.runs()[0]
			c.did(&r)
			data, err := json.Marshal(r)
			w.must(err)
			w.must(m.Store.Put(t.Context(), "policy/runs/"+r.ID+"/run.json", data))
			w.settle()
			if got := w.waits(event.TenantLane); got != c.lane || w.changes() != 1 || (w.outcome(event.TenantLane, "helpdesk:p1") == ledger.Done) != c.ended {
				t.Errorf("lane %s, %d writes", got, w.changes())
			}
		})
	}
}

// Graph fails or throttles: the event waits, and every write is made once.
func TestMethodPolicyWhenGraphFails(t *testing.T) {
	for name, f := range map[string]graphsim.Fault{
		"503":          {Kind: graphsim.FaultStatus, Status: 503, Count: 4},
		"cut too late": {Kind: graphsim.FaultCut, AfterEffect: true, Count: 1},
		"throttled":    {Kind: graphsim.FaultStatus, Status: 429, RetryAfter: "60", Count: 1},
	} {
		for _, method := range []string{"GET", "PATCH"} {
			t.Run(name+" "+method, func(t *testing.T) {
				w := newWorld(t)
				w.governed()
				f := f
				f.Path, f.Method, f.App = "policies/**", method, "identity-worker"
				_, err := w.tenant.AddFault(f)
				w.must(err)
				w.post(w.change("p1", harmless, ""), 202)
				w.settle()
				if w.enabledBoth() != 2 || w.outcome(event.TenantLane, "helpdesk:p1") != ledger.Done || len(w.runs()) != 1 {
					t.Errorf("lane %s, states %v", w.waits(event.TenantLane), w.states())
				}
				w.idle(nil)
			})
		}
	}
}

// meddling is somebody else at work: before the n-th write another method is changed.
type meddling struct {
	worker.Policies
	n  int
	do func()
}

func (m *meddling) Write(ctx context.Context, w policy.Write, documents ...json.RawMessage) (string, error) {
	if m.n--; m.n == 0 {
		defer m.do()
	}
	return m.Policies.Write(ctx, w, documents...)
}

// Somebody else changes what the event is about while it runs: it ends there, and what is
// left is held for two with the plan of what it is by then.
func TestMethodPolicyDisturbed(t *testing.T) {
	w := newWorld(t)
	m := w.governed()
	w.post(w.change("p1", `{`+emergency+`, "methods": {"qrCodePin": {"state": "enabled"}, "x509Certificate": {"state": "enabled", "include": {"all": true}}}}`, ""), 202)
	m.Policies = &meddling{Policies: w.graph, n: 1, do: func() {
		w.tenant.Mutate(func(t *graphsim.Tenant) {
			for _, c := range t.Policies.MethodConfigurations {
				if c["id"] == "X509Certificate" {
					c["includeTargets"] = []any{map[string]any{"targetType": "group", "id": "20000000-0000-4000-8000-000000000001", "isRegistrationRequired": false}}
				}
			}
		})
	}}
	w.work()
	m.Policies = w.graph
	if got := w.waits(event.TenantLane); got != "held: policy-approval" || w.changes() != 1 {
		t.Fatalf("lane %s, %d writes", got, w.changes())
	}
	if d := w.detail(); !strings.Contains(d, "somebody else changed the policy") {
		t.Errorf("held for %s", d)
	}
	w.decide(event.TenantLane, lane.Release, "olga", "piotr")
	if w.enabledBoth() != 2 || w.changes() != 2 {
		t.Errorf("lane %s, %d writes", w.waits(event.TenantLane), w.changes())
	}
	r := w.runs()
	if len(r) == 2 && r[0].SupersededBy == "" { // both began at one moment of the clock
		r[0], r[1] = r[1], r[0]
	}
	if len(r) != 2 || r[0].SupersededBy != r[1].ID || r[1].Open() {
		t.Errorf("runs %+v", r)
	}
}

// A rollout of an operator's that waits for its next wave is not ended by an event alone.
func TestMethodPolicyDuringARollout(t *testing.T) {
	for name, meanwhile := range map[string]bool{"begun before": false, "begun while the event was planned": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.governed()
			if folder := m.Store.(files.Folder); meanwhile {
				m.Store = &lateStore{folder, func() { w.rollout(folder) }}
			} else {
				w.rollout(folder)
			}
			w.post(w.change("p1", harmless, w.digest(harmless)), 202)
			w.work()
			if got := w.waits(event.TenantLane); got != "held: policy-approval" || !strings.Contains(w.detail(), openRun+" is not over") || w.changes() != 0 {
				t.Errorf("lane %s, %d writes", got, w.changes())
			}
			if r := w.runs(); len(r) != 1 || !r[0].Open() {
				t.Errorf("%+v", r)
			}
			w.decide(event.TenantLane, lane.Release, "olga", "piotr")
			if r := w.runs(); w.enabledBoth() != 2 || len(r) != 2 || r[0].SupersededBy != r[1].ID {
				t.Errorf("released: lane %s, %+v", w.waits(event.TenantLane), r)
			}
		})
	}
}

// lateStore is a store in which something happens before the first file that is created.
type lateStore struct {
	files.Folder
	once func()
}

func (l *lateStore) Create(ctx context.Context, name string, data []byte) error {
	if l.once != nil {
		l.once()
		l.once = nil
	}
	return l.Folder.Create(ctx, name, data)
}

// Who may not, and what may not.
func TestMethodPolicyIsNotForEverybody(t *testing.T) {
	w := newWorld(t)
	w.governed()
	// A family of types does not hold what is for everybody.
	if (event.Scope{"mfa.*"}).Allows(event.MethodPolicy) || !(event.Scope{string(event.MethodPolicy)}).Allows(event.MethodPolicy) {
		t.Error("scopes")
	}
	for _, origin := range []string{"hr", "risk", "helpdesk-1"} {
		e := w.change("s-"+origin, harmless, "")
		w.must(w.client.Send(t.Context(), "lanes", w.tenantWide(e, origin, event.TenantLane)))
	}
	w.must(w.client.Send(t.Context(), "lanes", w.tenantWide(w.change("l1", harmless, ""), "helpdesk", meiID)))
	other := w.change("o1", harmless, "")
	other["subject"] = "5b0e9c1e-0000-4000-8000-00000000ffff"
	w.must(w.client.Send(t.Context(), "lanes", w.tenantWide(other, "helpdesk", event.TenantLane)))
	w.post(other, 202)
	w.work()
	var got []string
	for _, e := range list(w, w.desk(), operate.Filter{}, 10) {
		got = append(got, string(e.Place)+" "+e.Reason)
	}
	slices.Sort(got)
	if want := []string{"inbound bad-event", "lanes bad-event", "lanes bad-event", "lanes out-of-scope", "lanes out-of-scope", "lanes out-of-scope"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if w.changes() != 0 {
		t.Errorf("%d writes", w.changes())
	}
	// What is not of the authentication methods policy is refused at the door.
	w.post(w.change("c1", `{`+emergency+`, "methods": {"sms": {"state": "disabled"}}, "conditionalAccess": [{"name": "x", "state": "enforced"}]}`, ""), 400)
}

// tenantWide is the message of an event, as a router would send it.
func (w *world) tenantWide(e map[string]any, origin, session string) queue.Message {
	w.t.Helper()
	ev := event.Event{
		ID: fmt.Sprint(e["id"]), Source: "x", Type: event.MethodPolicy, Subject: fmt.Sprint(e["subject"]), Time: w.clock.Now(), ReceivedAt: w.clock.Now(),
		Origin: origin, Key: origin + ":" + fmt.Sprint(e["id"]), Data: must(json.Marshal(e["data"])),
	}
	body, err := ev.Encode()
	w.must(err)
	return queue.Message{ID: ev.Key, SessionID: session, Key: ev.Key, ContentType: event.ContentType, Body: body}
}

// Off by default: the event is held with what to do, and goes on when the setting is there.
func TestMethodPolicyIsOff(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.worker.Settings.MethodPolicy = false
	w.post(w.change("p1", harmless, ""), 202)
	w.work()
	if got := w.waits(event.TenantLane); got != "held: method-policy-off" || !strings.Contains(w.detail(), "MFAFLOW_METHOD_POLICY") || w.changes() != 0 {
		t.Errorf("lane %s", got)
	}
	w.worker.Settings.MethodPolicy = true
	w.decide(event.TenantLane, lane.Release, "olga")
	if w.enabledBoth() != 2 {
		t.Errorf("lane %s", w.waits(event.TenantLane))
	}
}

// Without the permission nothing is written, and the dead letter names it. A replay begins
// anew.
func TestMethodPolicyWithoutPermission(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.permit(false, "Policy.ReadWrite.AuthenticationMethod", "identity-worker")
	w.post(w.change("p1", harmless, ""), 202)
	w.work()
	d := w.desk()
	dead := list(w, d, operate.Filter{}, 10)
	if len(dead) != 1 || dead[0].Reason != string(lane.Forbidden) || !strings.Contains(dead[0].Detail, "Policy.ReadWrite.AuthenticationMethod") {
		t.Fatalf("%+v", dead)
	}
	w.permit(true, "Policy.ReadWrite.AuthenticationMethod", "identity-worker")
	p := w.plan(d, operate.Selection{IDs: []operate.ID{dead[0].ID}})
	w.replayed(d, p, "replayed")
	w.work()
	if w.enabledBoth() != 2 {
		t.Errorf("lane %s", w.waits(event.TenantLane))
	}
}

// A name that the tenant does not have holds the event until it has. That of a person is
// told by its place.
func TestMethodPolicyOfUnknownNames(t *testing.T) {
	for include, says := range map[string]string{
		`{"groups": ["Smart card holders"]}`:                     "Smart card holders",
		`{"users": ["` + daniela + `", "gone@contoso.example"]}`: "methods.x509Certificate.include.users.1: is nobody of the tenant's",
	} {
		t.Run(says, func(t *testing.T) {
			w := newWorld(t)
			w.governed()
			w.post(w.change("p1", `{`+emergency+`, "methods": {"x509Certificate": {"state": "enabled", "include": `+include+`}}}`, ""), 202)
			w.work()
			if got := w.waits(event.TenantLane); got != "held: policy-names-unknown" || !strings.Contains(w.detail(), says) || w.changes() != 0 {
				t.Errorf("lane %s: %s", got, w.detail())
			}
			if strings.Contains(w.detail(), "gone@") || strings.Contains(w.log.String(), "gone@") {
				t.Errorf("a person is named: %s", w.detail())
			}
		})
	}
}

// In report-only mode the trail says what would have been done, and nothing is.
func TestMethodPolicyReportOnly(t *testing.T) {
	w := newWorld(t)
	w.governed()
	w.worker.ReportOnly = true
	w.post(w.change("p1", harmless, ""), 202)
	w.work()
	if w.changes() != 0 || len(w.runs()) != 0 || !strings.Contains(w.log.String(), `"action":"change-policy","outcome":"would-have"`) {
		t.Errorf("%d writes, lane %s", w.changes(), w.waits(event.TenantLane))
	}
}
