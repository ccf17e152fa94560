package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/operate"
	"mfaflow/pkg/runbook"
)

const (
	// patience is how long a request waits for a plan before it shows that it is made.
	patience = 800 * time.Millisecond
	planPage = 100
)

// planning is a plan, or one that is being made.
type planning struct {
	id        string
	selection operate.Selection
	began     time.Time
	made      chan struct{}
	// plan and err are set before made is closed.
	plan operate.Plan
	err  error
	took time.Duration
}

func (p *planning) over() bool {
	select {
	case <-p.made:
		return true
	default:
		return false
	}
}

// makePlan has a plan made of the entries named, of all that a filter picks, of what a
// replay left, or of one entry with a correction.
func (c *Console) makePlan(w http.ResponseWriter, r *http.Request) error {
	sel, err := c.selection(r.PostForm)
	if err != nil {
		return err
	}
	p := &planning{id: rand.Text(), selection: sel, began: c.now(), made: make(chan struct{})}
	c.plans.put(p.id, p, (*planning).over)
	ops := member(r).ops
	c.background(func(ctx context.Context) {
		defer close(p.made)
		p.plan, p.err = ops.Plan(ctx, p.selection)
		p.took = c.now().Sub(p.began)
	})
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-p.made:
	case <-wait.C:
	case <-r.Context().Done():
	}
	http.Redirect(w, r, "/plans/"+p.id, http.StatusSeeOther)
	return nil
}

func (c *Console) selection(form url.Values) (operate.Selection, error) {
	sel := operate.Selection{Exact: form.Get("exact") != ""}
	if id := form.Get("again"); id != "" {
		j, ok := c.jobs.get(id)
		if !ok {
			return sel, operate.ErrNotFound
		}
		sel.IDs = j.open()
	} else if form.Get("all") != "" {
		f, err := decodeFilter(form)
		if err != nil {
			return sel, err
		}
		sel.Filter = &f
		return sel, nil
	} else {
		var err error
		if sel.IDs, err = decodeIDs(form["id"]); err != nil {
			return sel, err
		}
	}
	if len(sel.IDs) == 0 {
		return sel, requestError{"choose at least one entry"}
	}
	patch := strings.TrimSpace(form.Get("patch"))
	if patch == "" {
		return sel, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(patch), &members); err != nil || len(members) == 0 {
		return sel, requestError{`a correction is a JSON object with the fields to change, such as {"startDate": "2026-12-01"}`}
	}
	if len(sel.IDs) != 1 {
		return sel, requestError{"a correction is for one entry"}
	}
	sel.Edits = []operate.Edit{{ID: sel.IDs[0], Patch: json.RawMessage(patch)}}
	return sel, nil
}

// kinds are the groups of a plan, in the order in which they are shown.
// Those but the last two are the decisions of the runbook.
var kinds = []struct{ Kind, Title string }{
	{"act", "would act"}, {"tell", "would tell again"}, {"several-lanes", "several people"}, {"read-record", "would ask HR"},
	{"hold", "would be held"}, {"wait", "would wait"}, {"waiting", "waits already"}, {"dead-letter", "would come back"},
	{"done", "already done"}, {"obsolete", "obsolete"}, {"nothing", "nothing to do"}, {"no-user", "no account"},
	{"unplannable", "cannot be replayed"}, {"other", "not decided"},
}

// kindOf says which group an entry of a plan belongs to.
func kindOf(e operate.PlannedEntry) string {
	if e.Unplannable != "" {
		return "unplannable"
	}
	for _, k := range kinds {
		if k.Kind == e.Decision.Decision {
			return k.Kind
		}
	}
	return "other"
}

type planView struct {
	ID     string
	Made   bool
	Began  time.Time
	Took   time.Duration
	Error  string
	Plan   operate.Plan
	Groups []group
	Kind   string
	// Means is what a replay does with entries of the kind that is shown.
	Means   string
	Shown   []operate.PlannedEntry
	Page    int
	Pages   int
	Ready   int
	Acting  int
	Rates   []int
	Radius  *meter
	Edited  bool
	Partial bool
}

type group struct {
	Kind, Title string
	N           int
	Chosen      bool
}

func (c *Console) plan(w http.ResponseWriter, r *http.Request) error {
	p, ok := c.plans.get(r.PathValue("id"))
	if !ok {
		return operate.ErrNotFound
	}
	v := planView{ID: p.id, Began: p.began, Rates: rates, Edited: len(p.selection.Edits) > 0}
	if !p.over() {
		c.show(w, r, http.StatusOK, "plan", "entries", "Making a plan", v)
		return nil
	}
	v.Made, v.Plan, v.Took = true, p.plan, p.took
	if p.err != nil {
		return p.err
	}
	v.Kind = r.URL.Query().Get("kind")
	if a, ok := runbook.For(runbook.Plans, v.Kind); ok {
		v.Means = a.Do
	}
	v.Page, _ = strconv.Atoi(r.URL.Query().Get("page"))
	counts := map[string]int{}
	var chosen []operate.PlannedEntry
	for _, e := range p.plan.Entries {
		kind := kindOf(e)
		counts[kind]++
		if v.Kind == "" || v.Kind == kind {
			chosen = append(chosen, e)
		}
	}
	for _, k := range kinds {
		if counts[k.Kind] > 0 {
			v.Groups = append(v.Groups, group{k.Kind, k.Title, counts[k.Kind], v.Kind == k.Kind})
		}
	}
	v.Ready, v.Acting = len(p.plan.Entries)-counts["unplannable"], counts["act"]
	v.Pages = max((len(chosen)+planPage-1)/planPage, 1)
	v.Page = min(max(v.Page, 1), v.Pages)
	v.Shown = chosen[(v.Page-1)*planPage : min(v.Page*planPage, len(chosen))]
	if s := p.plan.Summary; s.RadiusLimit > 0 {
		m := newMeter("Blast radius", s.Radius, s.RadiusLimit)
		v.Radius = &m
	}
	c.show(w, r, http.StatusOK, "plan", "entries", "Plan of "+plural(len(p.plan.Entries), "entry", "entries"), v)
	return nil
}

// startReplay begins to replay a plan as it was shown.
func (c *Console) startReplay(w http.ResponseWriter, r *http.Request) error {
	p, ok := c.plans.get(r.PostForm.Get("plan"))
	if !ok || !p.over() || p.err != nil {
		return operate.ErrNotFound
	}
	if r.PostForm.Get("digest") != p.plan.Digest {
		return operate.ErrStale
	}
	why, err := reason(r.PostForm)
	if err != nil {
		return err
	}
	rate, err := decodeRate(r.PostForm)
	if err != nil {
		return err
	}
	var entries []operate.PlannedEntry
	for _, e := range p.plan.Entries {
		kind := kindOf(e)
		if kind == "act" || kind != "unplannable" && r.PostForm.Get("only") != "act" {
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return requestError{"nothing in this plan can be replayed"}
	}
	j := newJob(member(r).ops, c.now, member(r).operator, p.plan, entries, why, rate)
	c.jobs.put(j.id, j, func(j *job) bool { return j.at().over() })
	c.did(r, "start replay", "replay", j.id, "entries", len(entries), "plan", p.plan.Digest)
	c.background(j.run)
	http.Redirect(w, r, "/replays/"+j.id, http.StatusSeeOther)
	return nil
}

func (c *Console) replays(w http.ResponseWriter, r *http.Request) error {
	var list []progress
	for _, j := range c.jobs.all() {
		list = append(list, j.progress())
	}
	c.show(w, r, http.StatusOK, "replays", "replays", "Replays", list)
	return nil
}

func (c *Console) replay(w http.ResponseWriter, r *http.Request) error {
	j, ok := c.jobs.get(r.PathValue("id"))
	if !ok {
		return operate.ErrNotFound
	}
	p := j.progress()
	if r.URL.Query().Get("part") == "progress" {
		c.views.fragment(w, "replay", "progress", model{CSRF: member(r).csrf, Body: p})
		return nil
	}
	c.show(w, r, http.StatusOK, "replay", "replays", "Replay of "+plural(p.Total, "entry", "entries"), p)
	return nil
}

func (c *Console) steerReplay(w http.ResponseWriter, r *http.Request) error {
	j, ok := c.jobs.get(r.PathValue("id"))
	if !ok {
		return operate.ErrNotFound
	}
	word := r.PathValue("word")
	if !j.steer(word, member(r).operator, member(r).ops) {
		member(r).tell(false, "The replay is "+string(j.at())+": it cannot "+word+" now.")
	} else {
		c.did(r, word+" replay", "replay", j.id)
	}
	http.Redirect(w, r, "/replays/"+j.id, http.StatusSeeOther)
	return nil
}
