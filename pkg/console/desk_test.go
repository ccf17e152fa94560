package console_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/operate"
)

// noon is the time at which everything here is.
var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// hostile is what an attacker may get into any text of an event.
const hostile = `"><script>document.title='owned'</script><img src=x onerror="document.title='owned'">' onfocus='document.title="owned"' autofocus`

// desk is Operations over a small world in memory.
type desk struct {
	mu      sync.Mutex
	entries []operate.Entry
	flags   []operate.OpenFlag
	// enabled people; everybody is in the directory.
	blocked map[identity.UserID]string

	// before is called with each replay, if set; what it returns is the answer.
	before func(operate.Replay) error
	// breaks is after how many entries the next replay fails, if not 0.
	breaks   int
	stale    map[operate.ID]bool
	replayed []operate.ID
	did      []string // operator and what, in order
	plans    int
}

func person(n int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", n) }

// newDesk has a number of entries that came over nine days, ever the same.
func newDesk(entries int) *desk {
	d := &desk{blocked: map[identity.UserID]string{identity.UserID(person(4)): "compromise"}, stale: map[operate.ID]bool{}}
	random := rand.New(rand.NewPCG(1, 2))
	kinds := []struct {
		place          operate.Place
		reason, detail string
		types          []string
		weight         int
	}{
		{operate.Lanes, "forbidden", "Graph answered 403: the app lacks UserAuthMethod-TAP.ReadWrite.All", []string{"employee.joiner", "employee.rehire"}, 42},
		{operate.Inbound, "unknown-person", "Nobody in the directory has the employee id by the end of the waiting time", []string{"employee.joiner", "employee.leaver"}, 25},
		{operate.Lanes, "refused-by-directory", "The pass policy allows at most 480 minutes", []string{"employee.joiner", "mfa.access-lost"}, 12},
		{operate.Lanes, "poison", "Started five times and never finished", []string{"mfa.reregister"}, 5},
		{operate.Quarantine, "mapping-failed", "line 11, column 36: type is missing", []string{"employee.joiner"}, 14},
		{operate.Quarantine, "unknown-type", "employee.sabbatical is not in the catalogue", []string{"employee.sabbatical"}, 6},
		{operate.Lanes, "user-not-found", "The account was deleted while the event waited", []string{"employee.leaver"}, 4},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	sources := []string{"workday", "bamboohr", "helpdesk"}
	for i := range entries {
		pick := random.IntN(total)
		k := kinds[0]
		for _, k = range kinds {
			if pick -= k.weight; pick < 0 {
				break
			}
		}
		// An outage the day before yesterday brought most of them.
		age := time.Duration(random.Int64N(int64(9 * 24 * time.Hour)))
		if random.IntN(3) > 0 {
			age = 50*time.Hour + time.Duration(random.NormFloat64()*float64(5*time.Hour))
		}
		e := operate.Entry{
			ID: operate.ID{Place: k.place, Sequence: int64(1000 + i)}, Key: fmt.Sprintf("workday:msg-%05d", i), Type: k.types[random.IntN(len(k.types))],
			Source: sources[random.IntN(len(sources))], Reason: k.reason, Detail: k.detail, EnqueuedAt: noon.Add(-max(age, time.Minute)),
			Deliveries: 1 + random.IntN(5), CorrelationID: fmt.Sprintf("c-%05d", i), Size: 300 + random.IntN(900),
		}
		if k.place == operate.Lanes {
			e.Lane = person(10 + i)
		}
		d.entries = append(d.entries, e)
	}
	for i, cause := range []flag.Cause{flag.Undeliverable, flag.RiskRaised, flag.SmartLockout, flag.RiskRaised, flag.DisableOnPremises, flag.TooOld, flag.RiskRaised} {
		d.flags = append(d.flags, operate.OpenFlag{Number: int64(500 + i), Flag: flag.Flag{
			User: identity.UserID(person(20 + i)), Cause: cause, Detail: "seen by the sweep", NextStep: cause.NextStep(), Key: fmt.Sprintf("flagged-%d", i), Type: "risk.user", Source: "entra", At: noon.Add(-time.Duration(i+1) * 3 * time.Hour),
		}})
	}
	d.flags = append(d.flags,
		operate.OpenFlag{Number: 600, Needs: 2, Flag: flag.Flag{User: identity.UserID(person(3)), Cause: flag.Held, Reason: "protected-person", Detail: "member of a role-assignable group", NextStep: flag.Held.NextStep(),
			Key: "helpdesk:reset-77", Type: "mfa.reregister", Source: "helpdesk", Queue: "lanes", Lane: person(3), Sequence: 9, Attempt: 1, At: noon.Add(-40 * time.Minute)}},
		operate.OpenFlag{Number: 601, Needs: 1, Flag: flag.Flag{User: identity.UserID(person(5)), Cause: flag.Held, Reason: "no-recipient", NextStep: flag.Held.NextStep(),
			Key: "workday:msg-9", Type: "employee.joiner", Source: "workday", Queue: "lanes", Lane: person(5), Sequence: 12, Attempt: 1, At: noon.Add(-26 * time.Hour)}})
	return d
}

// injure puts hostile text wherever a sender's words may come.
func (d *desk) injure() {
	d.entries = append([]operate.Entry{{
		ID: operate.ID{Place: operate.Quarantine, Sequence: 1}, Key: hostile, Type: hostile, Source: hostile, Reason: "invalid-event", Detail: hostile,
		Lane: hostile, EnqueuedAt: noon.Add(-time.Hour), CorrelationID: hostile,
	}}, d.entries...)
	d.flags = append([]operate.OpenFlag{{Number: 499, Needs: 1, Approvals: []string{hostile}, Flag: flag.Flag{
		Cause: flag.Held, Reason: hostile, Detail: hostile, Key: hostile, Type: hostile, Source: hostile, Lane: hostile, At: noon, NextStep: flag.Held.NextStep()}}}, d.flags...)
}

func (d *desk) Overview(context.Context) (operate.Overview, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := operate.Overview{At: noon, Breaker: &operate.Breaker{Window: 24 * time.Hour, Ordinary: 41, OrdinaryLimit: 50, Immediate: 3, ImmediateLimit: 100}}
	counts := map[operate.Count]*operate.Count{}
	for _, e := range d.entries {
		key := operate.Count{Place: e.Place, Reason: e.Reason}
		if counts[key] == nil {
			counts[key] = &operate.Count{Place: e.Place, Reason: e.Reason, Oldest: e.EnqueuedAt}
		}
		counts[key].N++
		if e.EnqueuedAt.Before(counts[key].Oldest) {
			counts[key].Oldest = e.EnqueuedAt
		}
	}
	for _, c := range counts {
		o.Entries = append(o.Entries, *c)
	}
	causes := map[flag.Cause]*operate.CauseCount{}
	for _, f := range d.flags {
		if causes[f.Cause] == nil {
			causes[f.Cause] = &operate.CauseCount{Cause: f.Cause, Oldest: f.At}
		}
		causes[f.Cause].N++
		if f.At.Before(causes[f.Cause].Oldest) {
			causes[f.Cause].Oldest = f.At
		}
	}
	for _, c := range causes {
		o.OpenFlags = append(o.OpenFlags, *c)
	}
	return o, nil
}

func picks(f operate.Filter, e operate.Entry) bool {
	is := func(want, has string) bool { return want == "" || strings.EqualFold(want, has) }
	return (len(f.Places) == 0 || slices.Contains(f.Places, e.Place)) && is(f.Lane, e.Lane) && is(f.Type, e.Type) && is(f.Source, e.Source) && is(f.Reason, e.Reason) &&
		strings.Contains(strings.ToLower(e.Key+e.Detail), strings.ToLower(f.Text)) &&
		(f.Since.IsZero() || !e.EnqueuedAt.Before(f.Since)) && (f.Until.IsZero() || e.EnqueuedAt.Before(f.Until))
}

// turn is a page of a list: the cursor is where it begins.
func turn[T any](all []T, cursor string, limit int) operate.Page[T] {
	from, _ := strconv.Atoi(cursor)
	to := min(from+limit, len(all))
	p := operate.Page[T]{Items: all[from:to], Scanned: to - from}
	if to < len(all) {
		p.Next = strconv.Itoa(to)
	}
	return p
}

func (d *desk) List(_ context.Context, f operate.Filter, cursor string, limit int) (operate.Page[operate.Entry], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []operate.Entry
	for _, e := range d.entries {
		if picks(f, e) {
			found = append(found, e)
		}
	}
	return turn(found, cursor, limit), nil
}

func (d *desk) find(id operate.ID) (operate.Entry, bool) {
	i := slices.IndexFunc(d.entries, func(e operate.Entry) bool { return e.ID == id })
	if i < 0 {
		return operate.Entry{}, false
	}
	return d.entries[i], true
}

func (d *desk) Show(_ context.Context, id operate.ID, reveal bool) (operate.Detail, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.find(id)
	if !ok {
		return operate.Detail{}, operate.ErrNotFound
	}
	name, upn := "L•••", "l•••@contoso.example"
	if reveal {
		name, upn = "Lena Hofmann", "lena.hofmann@contoso.example"
	}
	detail := operate.Detail{Entry: e, Body: fmt.Sprintf(`{"type":%q,"subject":"E1004","data":{"person":{"employeeId":"E1004","userPrincipalName":%q},"startDate":"2026-12-01","timeZone":"Europe/Lisbon"}}`, e.Type, upn)}
	would := d.decide(e)
	if would.Unplannable != "" {
		detail.Why = would.Unplannable
	} else {
		detail.Would = &would.Decision
	}
	if e.Lane != "" {
		detail.LaneState = &operate.LaneState{Generation: 7, Statement: "employee.joiner for 2026-12-01", Handled: []operate.Handled{{Key: "workday:msg-00002", Outcome: "done"}}}
		t := d.tenant(identity.UserID(e.Lane), name, upn)
		detail.Tenant = &t
	}
	return detail, nil
}

func (d *desk) tenant(user identity.UserID, name, upn string) operate.TenantState {
	return operate.TenantState{UserID: user, DisplayName: name, UserPrincipalName: upn, EmployeeID: "E1004", Enabled: d.blocked[user] == "", Methods: []string{"password", "microsoftAuthenticator"},
		PassPolicy: "passes are allowed for at most 480 minutes", LastSignIn: noon.Add(-4 * 24 * time.Hour)}
}

func (d *desk) Flags(_ context.Context, f operate.FlagFilter, cursor string, limit int) (operate.Page[operate.OpenFlag], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []operate.OpenFlag
	for _, o := range d.flags {
		if (f.Cause == "" || f.Cause == o.Cause) && (f.User == "" || f.User == o.User) && (!f.Holds || o.Cause == flag.Held) && strings.Contains(o.Detail+o.Key, f.Text) {
			o.Approvals = slices.Clone(o.Approvals)
			found = append(found, o)
		}
	}
	return turn(found, cursor, limit), nil
}

func (d *desk) Person(_ context.Context, who string, reveal bool) (operate.PersonView, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if who == "lena.hofmann@contoso.example" {
		who = person(4)
	}
	if !identity.IsGUID(who) {
		return operate.PersonView{}, operate.ErrNotFound
	}
	name, upn := "L•••", "l•••@contoso.example"
	if reveal {
		name, upn = "Lena Hofmann", "lena.hofmann@contoso.example"
	}
	user := identity.UserID(who)
	v := operate.PersonView{Tenant: d.tenant(user, name, upn), Lane: &operate.LaneState{Generation: 12, BlockedFor: d.blocked[user], BlockedAt: noon.Add(-2 * time.Hour), Handled: []operate.Handled{{Key: "entra:risk-1", Outcome: "done"}}}}
	if d.blocked[user] != "" {
		v.Cause, v.NextStep = "We blocked the account two hours ago, after a compromise.", "Prove who the person is, then let them in: a pass is delivered to the manager."
		v.Flags = []operate.OpenFlag{{Number: 1, Flag: flag.Flag{User: user, Cause: flag.Compromised, At: noon.Add(-2 * time.Hour), NextStep: flag.Compromised.NextStep()}}}
	}
	for _, e := range d.entries {
		if strings.EqualFold(e.Lane, who) {
			v.Entries = append(v.Entries, e)
		}
	}
	return v, nil
}

// decide is what a replay of an entry would do.
func (d *desk) decide(e operate.Entry) operate.PlannedEntry {
	p := operate.PlannedEntry{ID: e.ID, Key: e.Key, Type: e.Type, Lane: e.Lane, Generation: 7, Digest: fmt.Sprintf("%s-%d-%d", e.Place, e.Sequence, 7)}
	switch {
	case e.Reason == "unknown-type" || e.Reason == "invalid-event":
		p.Unplannable = "it is no event that we know"
	case e.Sequence%7 == 0:
		p.Decision.Decision = "done"
	case e.Type == "employee.joiner" && e.Sequence%3 == 0:
		p.Decision.Decision, p.Decision.Reason = "obsolete", "HR said something else later"
	case e.Type == "employee.leaver":
		p.Decision = operate.Decision{Decision: "act", Steps: []string{"block-sign-in", "revoke-sessions", "remove-methods"}, Class: "destructive", Methods: 3, Calls: 9}
	case e.Type == "mfa.reregister":
		p.Decision = operate.Decision{Decision: "hold", Reason: "protected-person", Detail: "two operators release"}
	default:
		p.Decision = operate.Decision{Decision: "act", Steps: []string{"issue-pass", "deliver-pass"}, Calls: 6}
	}
	return p
}

func (d *desk) Plan(_ context.Context, s operate.Selection) (operate.Plan, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plans++
	p := operate.Plan{Digest: fmt.Sprintf("plan-%d", d.plans), Settings: "settings-1", At: noon, Summary: operate.Summary{RadiusLimit: 50, MethodsRead: s.Exact}}
	wanted := map[operate.ID]bool{}
	for _, id := range s.IDs {
		wanted[id] = true
	}
	for _, e := range d.entries {
		if s.Filter != nil && !picks(*s.Filter, e) || s.Filter == nil && !wanted[e.ID] {
			continue
		}
		one := d.decide(e)
		for _, edit := range s.Edits {
			if edit.ID == e.ID {
				one.Patch, one.Diff = edit.Patch, []string{`- "startDate": "2026-12-01"`, `+ "startDate": "2026-12-07"`}
			}
		}
		p.Entries = append(p.Entries, one)
		sum := &p.Summary
		sum.Calls += one.Calls
		sum.Methods += one.Methods
		switch kind := one.Decision.Decision; {
		case one.Unplannable != "":
			sum.Unplannable++
		case kind == "done":
			sum.Done++
		case kind == "obsolete":
			sum.Obsolete++
		case kind == "hold":
			sum.Held++
		case one.Class != "":
			sum.Blocks++
			sum.Radius++
		default:
			sum.Passes++
		}
	}
	return p, nil
}

func (d *desk) note(by operate.Operator, what string) { d.did = append(d.did, string(by)+" "+what) }

func (d *desk) Replay(_ context.Context, by operate.Operator, r operate.Replay) ([]operate.Outcome, error) {
	if d.before != nil {
		if err := d.before(r); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(by, "replay "+r.Reason)
	var outcomes []operate.Outcome
	var err error
	gone := map[operate.ID]bool{}
	there := make(map[operate.ID]bool, len(d.entries))
	for _, e := range d.entries {
		there[e.ID] = true
	}
	for _, e := range r.Entries {
		o := operate.Outcome{ID: e.ID, Key: e.Key, Outcome: "replayed"}
		switch {
		case d.breaks > 0 && len(outcomes) == d.breaks:
			d.breaks, err = 0, errors.New("the broker does not answer")
		case !slices.Contains(r.Digests, e.Digest):
			return nil, operate.ErrStale
		case !there[e.ID]:
			o.Outcome = "gone"
		case d.stale[e.ID]:
			o.Outcome, o.Detail = "stale", "the lane has moved on"
		default:
			gone[e.ID] = true
			d.replayed = append(d.replayed, e.ID)
		}
		if err != nil {
			break
		}
		outcomes = append(outcomes, o)
	}
	d.entries = slices.DeleteFunc(d.entries, func(e operate.Entry) bool { return gone[e.ID] })
	return outcomes, err
}

func (d *desk) Discard(_ context.Context, by operate.Operator, ids []operate.ID, why string) ([]operate.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(by, "discard "+why)
	var outcomes []operate.Outcome
	for _, id := range ids {
		_, ok := d.find(id)
		d.entries = slices.DeleteFunc(d.entries, func(e operate.Entry) bool { return e.ID == id })
		outcomes = append(outcomes, operate.Outcome{ID: id, Outcome: map[bool]string{true: "discarded", false: "gone"}[ok]})
	}
	return outcomes, nil
}

func (d *desk) Decide(_ context.Context, by operate.Operator, w operate.Word) (operate.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.flags, func(f operate.OpenFlag) bool { return f.Number == w.Flag && f.Cause == flag.Held })
	if i < 0 {
		return operate.Outcome{}, operate.ErrNotFound
	}
	h := &d.flags[i]
	if w.Decision == lane.Release && slices.Contains(h.Approvals, string(by)) {
		return operate.Outcome{}, fmt.Errorf("%w: the same operator has approved already", operate.ErrRefused)
	}
	d.note(by, string(w.Decision)+" "+w.Reason)
	if h.Approvals = append(h.Approvals, string(by)); w.Decision == lane.Drop || len(h.Approvals) >= h.Needs {
		d.flags = slices.Delete(d.flags, i, i+1)
	}
	return operate.Outcome{Outcome: "sent", Detail: "The lane has the word."}, nil
}

func (d *desk) Resolve(_ context.Context, by operate.Operator, numbers []int64, why string) ([]operate.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(by, "resolve "+why)
	var outcomes []operate.Outcome
	for range numbers {
		outcomes = append(outcomes, operate.Outcome{Outcome: "resolved"})
	}
	d.flags = slices.DeleteFunc(d.flags, func(f operate.OpenFlag) bool { return slices.Contains(numbers, f.Number) })
	return outcomes, nil
}

func (d *desk) LetIn(_ context.Context, by operate.Operator, user identity.UserID, why string) (operate.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(by, "let in "+why)
	delete(d.blocked, user)
	return operate.Outcome{Outcome: "sent", Detail: cmp.Or(d.blocked[user], "The lane has the word.")}, nil
}

func (d *desk) left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.entries)
}

func (d *desk) done() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.did)
}
