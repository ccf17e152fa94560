package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/runbook"
)

const (
	listPage  = 50
	auditPage = 200
	// activityMost is how many audit lines the chart of the last hour is made of.
	activityMost = 20_000
)

type overviewView struct {
	operate.Overview
	DeadLetters, Quarantined, Holds, Others tile
	Reasons, Causes                         []bar
	Meters                                  []meter
	Window                                  time.Duration
	Ages                                    ages
	Coming                                  history
	Activity                                *history
	Running                                 []progress
}

// tile is a number that matters, and how long the oldest has been there.
type tile struct {
	N      int
	Oldest time.Time
}

func (t *tile) add(n int, oldest time.Time) {
	t.N += n
	if n > 0 && !oldest.IsZero() && (t.Oldest.IsZero() || oldest.Before(t.Oldest)) {
		t.Oldest = oldest
	}
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request) error {
	o, err := c.look(r.Context(), member(r).ops)
	if err != nil {
		return err
	}
	v := overviewView{Overview: o, Ages: c.agesNow(r.Context(), member(r).ops)}
	type where struct {
		place  operate.Place
		reason string
	}
	reasons := map[where]*tile{}
	for _, n := range o.Entries {
		if n.Place == operate.Quarantine {
			v.Quarantined.add(n.N, n.Oldest)
		} else {
			v.DeadLetters.add(n.N, n.Oldest)
		}
		key := where{n.Place, n.Reason}
		if reasons[key] == nil {
			reasons[key] = &tile{}
		}
		reasons[key].add(n.N, n.Oldest)
	}
	for key, t := range reasons {
		link := url.Values{"place": {string(key.place)}, "reason": {key.reason}}
		v.Reasons = append(v.Reasons, bar{Label: key.reason, Note: string(key.place), Link: "/entries?" + link.Encode(), N: t.N, Oldest: t.Oldest})
	}
	for _, n := range o.OpenFlags {
		b := bar{Label: cmp.Or(n.Cause.Title(), string(n.Cause)), Link: "/flags?" + url.Values{"cause": {string(n.Cause)}}.Encode(), N: n.N, Oldest: n.Oldest}
		if n.Cause == flag.Held {
			v.Holds.add(n.N, n.Oldest)
			b.Link = "/holds"
		} else {
			v.Others.add(n.N, n.Oldest)
		}
		v.Causes = append(v.Causes, b)
	}
	for _, bars := range [][]bar{v.Reasons, v.Causes} {
		slices.SortFunc(bars, func(a, b bar) int { return cmp.Or(b.N-a.N, cmp.Compare(a.Label, b.Label)) })
		scale(bars)
	}
	if b := o.Breaker; b != nil {
		v.Window = b.Window
		v.Meters = []meter{newMeter("Destructive changes", b.Ordinary, b.OrdinaryLimit), newMeter("Immediate leavers", b.Immediate, b.ImmediateLimit)}
	}
	v.Coming = newHistory(c.now(), v.Ages.DeadLetters, v.Ages.Quarantined, spanLink).named("Dead letters", "Quarantine")
	if v.Activity, err = c.activity(r.Context()); err != nil {
		return err
	}
	for _, j := range c.jobs.all() {
		if p := j.progress(); !p.Phase.over() {
			v.Running = append(v.Running, p)
		}
	}
	c.show(w, r, http.StatusOK, "overview", "overview", "Overview", v)
	return nil
}

// activity is what was done in the last hour; nil without an audit trail.
func (c *Console) activity(ctx context.Context) (*history, error) {
	if c.audit == nil {
		return nil, nil
	}
	now := c.now()
	lines, _, err := c.audit.Search(ctx, AuditQuery{Since: now.Add(-time.Hour)}, activityMost)
	if err != nil {
		return nil, err
	}
	var at []time.Time
	for _, l := range lines {
		at = append(at, l.Started)
	}
	h := newHistory(now, at, nil, nil).named("Actions", "")
	return &h, nil
}

type listView struct {
	Filter  operate.Filter
	Places  []operate.Place
	Items   []operate.Entry
	Scanned int
	Query   url.Values
	Next    string
	First   string
	Rows    int
}

// Holds reports whether a place is among those of the filter.
func (v listView) Holds(p operate.Place) bool { return slices.Contains(v.Filter.Places, p) }

func (c *Console) entries(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := decodeFilter(q)
	if err != nil {
		return err
	}
	page, err := member(r).ops.List(r.Context(), f, q.Get("cursor"), listPage)
	if err != nil {
		return err
	}
	v := listView{Filter: f, Places: operate.Places(), Items: page.Items, Scanned: page.Scanned, Query: encodeFilter(f)}
	v.Next, v.First = paging("/entries", v.Query, page.Next, q.Get("cursor"))
	nav, title := "entries", "Dead letters and quarantine"
	if len(f.Places) == 1 && f.Places[0] == operate.Quarantine {
		nav, title = "quarantine", "Quarantine"
	} else if len(f.Places) > 0 && !slices.Contains(f.Places, operate.Quarantine) {
		title = "Dead letters"
	}
	c.show(w, r, http.StatusOK, "entries", nav, title, v)
	return nil
}

// paging are the addresses of the next page and of the first one, empty when there is none.
func paging(path string, q url.Values, next, now string) (nextLink, first string) {
	at := func(cursor string) string {
		q := maps.Clone(q)
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		return (&url.URL{Path: path, RawQuery: q.Encode()}).String()
	}
	if next != "" {
		nextLink = at(next)
	}
	if now != "" {
		first = at("")
	}
	return nextLink, first
}

type entryView struct {
	operate.Detail
	Pretty   string
	Advice   runbook.Advice
	Revealed bool
}

func (c *Console) entry(w http.ResponseWriter, r *http.Request) error {
	return c.showEntry(w, r, false)
}

// entryRevealed is a form, so that an address that is copied or kept reveals nothing.
func (c *Console) entryRevealed(w http.ResponseWriter, r *http.Request) error {
	return c.showEntry(w, r, true)
}

func (c *Console) showEntry(w http.ResponseWriter, r *http.Request, reveal bool) error {
	id, err := decodeID(r.PathValue("place"), r.PathValue("seq"))
	if err != nil {
		return err
	}
	if reveal {
		c.did(r, "reveal personal data", "place", id.Place, "sequence", id.Sequence)
	}
	d, err := member(r).ops.Show(r.Context(), id, reveal)
	if err != nil {
		return err
	}
	section, nav := runbook.DeadLetters, "entries"
	if id.Place == operate.Quarantine {
		section, nav = runbook.Quarantine, "quarantine"
	}
	v := entryView{Detail: d, Pretty: pretty(d.Body), Revealed: reveal}
	v.Advice, _ = runbook.For(section, d.Reason)
	c.show(w, r, http.StatusOK, "entry", nav, fmt.Sprintf("%s %d", id.Place, id.Sequence), v)
	return nil
}

// pretty lays JSON out; anything else stays as it is.
func pretty(body string) string {
	var out strings.Builder
	var value json.RawMessage
	if json.Unmarshal([]byte(body), &value) != nil {
		return body
	}
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if e.Encode(value) != nil {
		return body
	}
	return strings.TrimSuffix(out.String(), "\n")
}

type discardView struct {
	IDs []operate.ID
}

// discard asks for a reason first, then removes.
func (c *Console) discard(w http.ResponseWriter, r *http.Request) error {
	ids, err := decodeIDs(r.PostForm["id"])
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return requestError{"choose at least one entry"}
	}
	if r.PostForm.Get("sure") == "" {
		c.show(w, r, http.StatusOK, "discard", "entries", "Discard "+plural(len(ids), "entry", "entries"), discardView{ids})
		return nil
	}
	why, err := reason(r.PostForm)
	if err != nil {
		return err
	}
	c.did(r, "discard", "entries", len(ids))
	outcomes, err := member(r).ops.Discard(r.Context(), member(r).operator, ids, why)
	if err != nil {
		return err
	}
	tellOutcomes(member(r), outcomes)
	http.Redirect(w, r, "/entries", http.StatusSeeOther)
	return nil
}

// tellOutcomes says what became of what was asked.
func tellOutcomes(s *session, outcomes []operate.Outcome) {
	type kind struct{ outcome, detail string }
	counts := map[kind]int{}
	for _, o := range outcomes {
		counts[kind{o.Outcome, o.Detail}]++
	}
	for _, k := range slices.SortedFunc(maps.Keys(counts), func(a, b kind) int { return counts[b] - counts[a] }) {
		text := fmt.Sprintf("%s: %d.", k.outcome, counts[k])
		if counts[k] == 1 && len(outcomes) == 1 {
			text = strings.ToUpper(k.outcome[:min(1, len(k.outcome))]) + k.outcome[min(1, len(k.outcome)):] + "."
		}
		if k.detail != "" {
			text += " " + k.detail
		}
		s.tell(settled(k.outcome), text)
	}
}

type flagsView struct {
	Filter operate.FlagFilter
	Causes []flag.Cause
	Items  []operate.OpenFlag
	Next   string
	First  string
	Holds  bool
}

func (c *Console) flags(w http.ResponseWriter, r *http.Request) error {
	return c.listFlags(w, r, false)
}
func (c *Console) holds(w http.ResponseWriter, r *http.Request) error { return c.listFlags(w, r, true) }

func (c *Console) listFlags(w http.ResponseWriter, r *http.Request, holds bool) error {
	q := r.URL.Query()
	f, err := decodeFlagFilter(q)
	if err != nil {
		return err
	}
	path, title := "/flags", "Flags"
	if f.Holds = holds; holds {
		path, title = "/holds", "Holds"
	}
	page, err := member(r).ops.Flags(r.Context(), f, q.Get("cursor"), listPage)
	if err != nil {
		return err
	}
	v := flagsView{Filter: f, Causes: flag.Causes(), Items: page.Items, Holds: holds}
	kept := url.Values{}
	for name, s := range map[string]string{"cause": string(f.Cause), "user": string(f.User), "text": f.Text} {
		if s != "" {
			kept.Set(name, s)
		}
	}
	v.Next, v.First = paging(path, kept, page.Next, q.Get("cursor"))
	c.show(w, r, http.StatusOK, "flags", path[1:], title, v)
	return nil
}

func (c *Console) resolve(w http.ResponseWriter, r *http.Request) error {
	var numbers []int64
	for _, s := range r.PostForm["number"] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return requestError{"a flag is named by its number"}
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		return requestError{"choose at least one flag"}
	}
	why, err := reason(r.PostForm)
	if err != nil {
		return err
	}
	c.did(r, "resolve flags", "flags", len(numbers))
	outcomes, err := member(r).ops.Resolve(r.Context(), member(r).operator, numbers, why)
	if err != nil {
		return err
	}
	tellOutcomes(member(r), outcomes)
	http.Redirect(w, r, "/flags", http.StatusSeeOther)
	return nil
}

type holdView struct {
	operate.OpenFlag
	Advice runbook.Advice
	// Mine is true when this operator has approved.
	Mine    bool
	Missing int
}

func (c *Console) hold(w http.ResponseWriter, r *http.Request) error {
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	if err != nil {
		return operate.ErrNotFound
	}
	h, err := findHold(r.Context(), member(r).ops, number, r.URL.Query().Get("user"))
	if err != nil {
		return err
	}
	v := holdView{OpenFlag: h, Missing: max(h.Needs-len(h.Approvals), 0)}
	v.Advice, _ = runbook.For(runbook.Holds, h.Reason)
	v.Mine = slices.ContainsFunc(h.Approvals, func(name string) bool { return strings.EqualFold(name, string(member(r).operator)) })
	c.show(w, r, http.StatusOK, "hold", "holds", fmt.Sprintf("Hold %d", number), v)
	return nil
}

// findHold looks for a hold among those of its person, if the address names one.
func findHold(ctx context.Context, ops operate.Operations, number int64, user string) (operate.OpenFlag, error) {
	f := operate.FlagFilter{Holds: true}
	if identity.IsGUID(user) {
		f.User = identity.UserID(strings.ToLower(user))
	}
	for cursor := ""; ; {
		page, err := ops.Flags(ctx, f, cursor, agesPage)
		if err != nil {
			return operate.OpenFlag{}, err
		}
		for _, h := range page.Items {
			if h.Number == number {
				return h, nil
			}
		}
		if cursor = page.Next; cursor == "" {
			return operate.OpenFlag{}, operate.ErrNotFound
		}
	}
}

func (c *Console) decide(w http.ResponseWriter, r *http.Request) error {
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	if err != nil {
		return operate.ErrNotFound
	}
	why, err := reason(r.PostForm)
	if err != nil {
		return err
	}
	word := lane.Decision(r.PostForm.Get("decision"))
	if word != lane.Release && word != lane.Drop {
		return requestError{"a hold is released or dropped"}
	}
	c.did(r, "decide on hold", "flag", number, "decision", word)
	outcome, err := member(r).ops.Decide(r.Context(), member(r).operator, operate.Word{Flag: number, Decision: word, Reason: why})
	if err != nil {
		return err
	}
	tellOutcomes(member(r), []operate.Outcome{outcome})
	http.Redirect(w, r, "/holds", http.StatusSeeOther)
	return nil
}

type personView struct {
	operate.PersonView
	Revealed bool
}

func (c *Console) findPerson(w http.ResponseWriter, r *http.Request) error {
	c.show(w, r, http.StatusOK, "find", "person", "Person", nil)
	return nil
}

// lookUp takes a name in a form and goes on with the object id, which is no personal
// data in an address.
func (c *Console) lookUp(w http.ResponseWriter, r *http.Request) error {
	who, err := text(r.PostForm, "who")
	if err != nil {
		return err
	}
	if who == "" {
		return requestError{"say who: an object id, a sign-in name, a mail address or an employee id"}
	}
	p, err := member(r).ops.Person(r.Context(), who, false)
	if errors.Is(err, operate.ErrNotFound) {
		c.refuse(w, r, message{Status: http.StatusNotFound, Title: "Nobody found", Text: "The directory has nobody with this object id, sign-in name, mail address or employee id.",
			Next: "Check the spelling. If the account is new, it may not be provisioned yet."})
		return nil
	} else if err != nil {
		return err
	}
	http.Redirect(w, r, "/person/"+url.PathEscape(string(p.Tenant.UserID)), http.StatusSeeOther)
	return nil
}

func (c *Console) person(w http.ResponseWriter, r *http.Request) error {
	return c.showPerson(w, r, false)
}
func (c *Console) personRevealed(w http.ResponseWriter, r *http.Request) error {
	return c.showPerson(w, r, true)
}

func (c *Console) showPerson(w http.ResponseWriter, r *http.Request, reveal bool) error {
	who := r.PathValue("who")
	if !identity.IsGUID(who) {
		return operate.ErrNotFound
	}
	if reveal {
		c.did(r, "reveal personal data", "user", who)
	}
	p, err := member(r).ops.Person(r.Context(), who, reveal)
	if err != nil {
		return err
	}
	c.show(w, r, http.StatusOK, "person", "person", "Why can't they sign in?", personView{p, reveal})
	return nil
}

func (c *Console) letIn(w http.ResponseWriter, r *http.Request) error {
	who := r.PathValue("who")
	if !identity.IsGUID(who) {
		return operate.ErrNotFound
	}
	why, err := reason(r.PostForm)
	if err != nil {
		return err
	}
	c.did(r, "let in", "user", who)
	outcome, err := member(r).ops.LetIn(r.Context(), member(r).operator, identity.UserID(strings.ToLower(who)), why)
	if err != nil {
		return err
	}
	tellOutcomes(member(r), []operate.Outcome{outcome})
	http.Redirect(w, r, "/person/"+who, http.StatusSeeOther)
	return nil
}

type auditView struct {
	Here  bool
	Query AuditQuery
	Lines []audit.Found
	More  bool
}

func (c *Console) auditSearch(w http.ResponseWriter, r *http.Request) error {
	var v auditView
	err := texts(r.URL.Query(), map[string]*string{"who": &v.Query.Who, "key": &v.Query.Key, "actor": &v.Query.Actor, "text": &v.Query.Text})
	if err != nil {
		return err
	}
	if v.Query.Since, v.Query.Until, err = span(r.URL.Query()); err != nil {
		return err
	}
	if c.audit != nil {
		v.Here = true
		if v.Lines, v.More, err = c.audit.Search(r.Context(), v.Query, auditPage); err != nil {
			return err
		}
	}
	c.show(w, r, http.StatusOK, "audit", "audit", "Audit trail", v)
	return nil
}

func (c *Console) help(w http.ResponseWriter, r *http.Request) error {
	c.show(w, r, http.StatusOK, "help", "help", "Help", nil)
	return nil
}
