package readiness

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

// Version is that of the report's JSON. A field may be added; none changes its meaning
// under the same version.
const Version = 1

// Report is what a tenant's readiness was found to be.
type Report struct {
	Version  int              `json:"version"`
	TakenAt  time.Time        `json:"takenAt"`
	Tenant   posture.Tenant   `json:"tenant"`
	Question posture.Question `json:"question"`
	// Changes are those of a what-if, as ParseChange takes them; none for the tenant as it
	// is.
	Changes []string              `json:"changes,omitempty"`
	Source  string                `json:"source"`
	InForce []posture.EnforcedApp `json:"inForce"`
	Summary Summary               `json:"summary"`
	// Before is the summary without the changes, and Shifts are the people whom they
	// concern.
	Before *Summary       `json:"before,omitempty"`
	Shifts []Shift        `json:"shifts,omitempty"`
	Trend  []Point        `json:"trend"`
	Notes  []posture.Note `json:"notes"`
	// Names are the display names of what reasons are about, by id.
	Names map[string]string `json:"names"`
	// People are in the order of their verdicts, worst first, then by name.
	People []Person `json:"people"`
}

// Person is a person of the report.
type Person struct {
	ID                identity.UserID  `json:"id"`
	UserPrincipalName string           `json:"userPrincipalName"`
	DisplayName       string           `json:"displayName"`
	Department        string           `json:"department,omitempty"`
	Kind              posture.Kind     `json:"kind"`
	Methods           []posture.Method `json:"methods"`
	posture.Result
}

// Shift is a person whose verdict differs under the changes.
type Shift struct {
	ID                identity.UserID `json:"id"`
	UserPrincipalName string          `json:"userPrincipalName"`
	From              posture.Verdict `json:"from"`
	FromAtBest        posture.Verdict `json:"fromAtBest"`
	To                posture.Verdict `json:"to"`
	ToAtBest          posture.Verdict `json:"toAtBest"`
}

// Counts are numbers of people by verdict; every verdict is there.
type Counts map[posture.Verdict]int

func newCounts() Counts {
	c := Counts{}
	for _, v := range posture.Verdicts() {
		c[v] = 0
	}
	return c
}

// Total is all of them.
func (c Counts) Total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// Ready is the share of the people in scope who are fine, from 0 to 1; 1 without any.
func (c Counts) Ready() float64 {
	scope := c[posture.Blocked] + c[posture.Prompted] + c[posture.Fine]
	if scope == 0 {
		return 1
	}
	return float64(c[posture.Fine]) / float64(scope)
}

// Summary counts.
type Summary struct {
	People   int    `json:"people"`
	Verdicts Counts `json:"verdicts"`
	AtBest   Counts `json:"atBest"`
	// Enforced are the people whom Microsoft's enforcement concerns.
	Enforced    int                  `json:"enforced"`
	Reasons     map[posture.Code]int `json:"reasons"`
	Marks       map[posture.Mark]int `json:"marks"`
	Departments []Department         `json:"departments"`
}

// Department is one with its counts; people without one are under the empty name.
type Department struct {
	Name     string `json:"name"`
	Verdicts Counts `json:"verdicts"`
}

// Point is one report of the past.
type Point struct {
	TakenAt  time.Time `json:"takenAt"`
	Phase    int       `json:"phase"`
	At       time.Time `json:"at"`
	Verdicts Counts    `json:"verdicts"`
}

func (p Point) sameQuestion(q posture.Question) bool { return p.Phase == int(q.Phase) }

// summarise counts results, which are those of the people.
func summarise(people []posture.Person, results []posture.Result) Summary {
	s := Summary{
		People: len(results), Verdicts: newCounts(), AtBest: newCounts(), Reasons: map[posture.Code]int{}, Marks: map[posture.Mark]int{},
	}
	departments := map[string]Counts{}
	for i, r := range results {
		s.Verdicts[r.Verdict]++
		s.AtBest[r.AtBest]++
		if r.Enforced {
			s.Enforced++
		}
		var seen []posture.Code
		for _, reason := range r.Reasons {
			if !slices.Contains(seen, reason.Code) {
				seen = append(seen, reason.Code)
				s.Reasons[reason.Code]++
			}
		}
		for _, m := range r.Marks {
			s.Marks[m]++
		}
		d, ok := departments[people[i].Department]
		if !ok {
			d = newCounts()
			departments[people[i].Department] = d
		}
		d[r.Verdict]++
	}
	for _, name := range slices.Sorted(maps.Keys(departments)) {
		s.Departments = append(s.Departments, Department{Name: name, Verdicts: departments[name]})
	}
	return s
}

// NewReport judges a snapshot, and again with changes if there are any. trend are reports
// of the past.
func NewReport(s posture.Snapshot, q posture.Question, trend []Point, changes ...posture.Change) (Report, error) {
	e, err := posture.Evaluate(s, q)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		Version: Version, TakenAt: s.TakenAt, Tenant: s.Tenant, Question: q, Source: posture.EnforcementSource, InForce: e.InForce, Trend: []Point{}, Notes: e.Notes,
		Names: names(s),
	}
	for _, p := range trend {
		if p.sameQuestion(q) {
			r.Trend = append(r.Trend, p)
		}
	}
	if len(changes) > 0 {
		before := summarise(s.People, e.Results)
		r.Before = &before
		changed, err := s.With(changes...)
		if err != nil {
			return Report{}, err
		}
		after, err := posture.Evaluate(changed, q)
		if err != nil {
			return Report{}, err
		}
		for _, c := range changes {
			r.Changes = append(r.Changes, c.String())
		}
		for _, x := range posture.Shifts(e, after) {
			p := s.People[x.Person]
			r.Shifts = append(r.Shifts, Shift{ID: p.ID, UserPrincipalName: p.UserPrincipalName, From: x.From, FromAtBest: x.FromAtBest, To: x.To, ToAtBest: x.ToAtBest})
		}
		s, e, r.Notes = changed, after, after.Notes
	}
	r.Summary = summarise(s.People, e.Results)
	r.People = make([]Person, len(s.People))
	for i := range s.People {
		p := &s.People[i]
		r.People[i] = Person{
			ID: p.ID, UserPrincipalName: p.UserPrincipalName, DisplayName: p.DisplayName, Department: p.Department, Kind: p.Kind,
			Methods: p.Registration.Methods, Result: e.Results[i],
		}
	}
	slices.SortStableFunc(r.People, func(a, b Person) int {
		return cmp.Or(rank(a.Verdict)-rank(b.Verdict), len(b.Marks)-len(a.Marks), strings.Compare(a.UserPrincipalName, b.UserPrincipalName))
	})
	return r, nil
}

func rank(v posture.Verdict) int { return slices.Index(posture.Verdicts(), v) }

// names are those of what reasons may be about.
func names(s posture.Snapshot) map[string]string {
	all := maps.Clone(s.Roles)
	if all == nil {
		all = map[string]string{}
	}
	for id, g := range s.Groups {
		all[id] = g.DisplayName
	}
	for _, p := range s.Policies.Conditional {
		all[p.ID] = p.DisplayName
	}
	for id, x := range s.Policies.Strengths {
		all[id] = x.DisplayName
	}
	for _, a := range posture.EnforcedApps() {
		if a.AppID != "" {
			all[a.AppID] = a.Name
		}
	}
	return all
}

// Name is the display name of an id, or the id itself.
func (r Report) Name(id string) string { return cmp.Or(r.Names[id], id) }

// Sentence is a reason in one line for people. Ids of groups and roles in it are named.
func (r Report) Sentence(x posture.Reason) string {
	text := x.Code.Text()
	var more []string
	if x.About != "" {
		more = append(more, r.Name(x.About))
	}
	if x.Detail != "" {
		more = append(more, r.named(x.Detail))
	}
	for _, m := range x.Methods {
		more = append(more, string(m))
	}
	if x.Count > 0 {
		more = append(more, plural(x.Count, "sign-in"))
	}
	if !x.At.IsZero() {
		word := "last on "
		if x.Code == posture.NoEnforcedSignIn {
			word = "since "
		}
		more = append(more, word+x.At.Format(time.DateOnly))
	}
	if len(more) > 0 {
		text += ": " + strings.Join(more, ", ")
	}
	return text
}

// named replaces the ids in a text by names.
func (r Report) named(text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		if bare := strings.TrimRight(w, ","); identity.IsGUID(bare) {
			words[i] = r.Name(bare) + w[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

// historyPrefix begins the names of the points of the trend.
const historyPrefix = "history/"

// Trend reads the reports of the past, oldest first, at most the given number of the
// newest. What is no point is left out.
func Trend(ctx context.Context, store Store, most int) ([]Point, error) {
	files, err := store.List(ctx, historyPrefix)
	if err != nil {
		return nil, err
	}
	var points []Point
	for _, name := range files[max(0, len(files)-most):] {
		data, err := store.Get(ctx, name)
		if errors.Is(err, ErrNoFile) {
			continue
		} else if err != nil {
			return nil, err
		}
		var p Point
		if json.Unmarshal(data, &p) == nil && !p.TakenAt.IsZero() && p.Verdicts != nil {
			points = append(points, p)
		}
	}
	return points, nil
}

// Keep adds the report to the history. One of a what-if is refused: it is not what was.
func Keep(ctx context.Context, store Store, r Report) error {
	if len(r.Changes) > 0 {
		return errors.New("a what-if is no part of the history")
	}
	data, err := json.Marshal(Point{TakenAt: r.TakenAt, Phase: int(r.Question.Phase), At: r.Question.At, Verdicts: r.Summary.Verdicts})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s%s-%d.json", historyPrefix, r.TakenAt.UTC().Format("20060102T150405Z"), r.Question.Phase)
	return store.Put(ctx, name, data)
}
