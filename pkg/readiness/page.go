package readiness

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/posture"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

const (
	// withoutScript is how many people the page shows where scripts do not run, and on
	// paper; a script shows the others a page at a time, so that the browser never lays out
	// a table of 100,000 rows.
	withoutScript = 200
	// listed is how many are named under something to look into, bars how many bars a
	// chart has.
	listed, bars = 25, 12
)

// page is what the template reads.
type page struct {
	StyleHash, ScriptHash string
	Style                 template.CSS
	Script                template.JS
	Tenant, At, TakenAt   string
	Phase                 posture.Phase
	Changes               []string
	Source                string
	People                int
	Tiles                 []tile
	Line                  line
	Departments, Reasons  barChart
	Shifts                []shiftCount
	Marks                 []marked
	Notes                 []string
	Header                []string
	Verdicts              []posture.Verdict
	MarkNames             []string
	Rows                  []row
	Data                  any
}

type tile struct {
	Class, Label, Note string
	Count              int
}

type shiftCount struct {
	From, To posture.Verdict
	Count    int
}

type marked struct {
	Title, Step string
	Count, More int
	Names       []string
}

type row struct {
	Verdict, AtBest                             posture.Verdict
	Name, Principal, Department, Marks, Reasons string
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// HTML writes one page that needs nothing else: no request leaves it, and its policy
// allows the style and the script in it by their hashes and nothing more. Names are text
// wherever they stand.
func (r Report) HTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return err
	}
	p := page{
		StyleHash: hash(pageCSS), ScriptHash: hash(pageJS),
		Style: template.CSS(pageCSS), Script: template.JS(pageJS), //nolint:gosec // our own, embedded
		Tenant: cmp.Or(r.Tenant.DisplayName, r.Tenant.ID), At: r.Question.At.Format(time.DateOnly), TakenAt: r.TakenAt.UTC().Format("2006-01-02 15:04 UTC"),
		Phase: r.Question.Phase, Changes: r.Changes, Source: r.Source, People: len(r.People), Tiles: r.tiles(), Line: r.line(),
		Departments: r.departments(), Reasons: r.reasons(), Header: []string{"Verdict", "At best", "Name", "Sign-in name", "Department", "To look into", "Reasons"},
		Verdicts: posture.Verdicts(),
	}
	counts := map[shiftCount]int{}
	for _, s := range r.Shifts {
		counts[shiftCount{From: s.From, To: s.To}]++
	}
	for _, from := range posture.Verdicts() {
		for _, to := range posture.Verdicts() {
			if n := counts[shiftCount{From: from, To: to}]; n > 0 && from != to {
				p.Shifts = append(p.Shifts, shiftCount{from, to, n})
			}
		}
	}
	for _, m := range posture.Marks() {
		p.MarkNames = append(p.MarkNames, m.Title())
		people := r.Marked(m)
		if len(people) == 0 {
			continue
		}
		entry := marked{Title: m.Title(), Step: m.NextStep(), Count: len(people), More: max(0, len(people)-listed)}
		for _, who := range people[:min(listed, len(people))] {
			entry.Names = append(entry.Names, who.UserPrincipalName)
		}
		p.Marks = append(p.Marks, entry)
	}
	for _, n := range r.Notes {
		p.Notes = append(p.Notes, n.Detail)
	}
	for _, who := range r.People[:min(withoutScript, len(r.People))] {
		p.Rows = append(p.Rows, r.row(who))
	}
	p.Data = r.data()
	return t.Execute(w, p)
}

func (r Report) row(p Person) row {
	var marks, reasons []string
	for _, m := range p.Marks {
		marks = append(marks, m.Title())
	}
	for _, x := range p.Reasons {
		reasons = append(reasons, r.Sentence(x))
	}
	return row{p.Verdict, p.AtBest, p.DisplayName, p.UserPrincipalName, p.Department, strings.Join(marks, ", "), strings.Join(reasons, "; ")}
}

// table is what the script shows. Texts that come often are in lists, and rows name their
// places.
type table struct {
	Verdicts    []posture.Verdict `json:"verdicts"`
	Marks       []string          `json:"marks"`
	Departments []string          `json:"departments"`
	Sentences   []string          `json:"sentences"`
	Rows        [][7]any          `json:"rows"`
}

func (r Report) data() table {
	t := table{Verdicts: posture.Verdicts(), Rows: make([][7]any, 0, len(r.People))}
	departments, sentences := map[string]int{}, map[string]int{}
	place := func(known map[string]int, list *[]string, text string) int {
		i, ok := known[text]
		if !ok {
			i = len(*list)
			known[text] = i
			*list = append(*list, text)
		}
		return i
	}
	for _, m := range posture.Marks() {
		t.Marks = append(t.Marks, m.Title())
	}
	for _, p := range r.People {
		marks, reasons := []int{}, []int{}
		for _, m := range p.Marks {
			marks = append(marks, slices.Index(posture.Marks(), m))
		}
		for _, x := range p.Reasons {
			reasons = append(reasons, place(sentences, &t.Sentences, r.Sentence(x)))
		}
		t.Rows = append(t.Rows, [7]any{
			rank(p.Verdict), rank(p.AtBest), p.DisplayName, p.UserPrincipalName, place(departments, &t.Departments, p.Department), marks, reasons,
		})
	}
	return t
}

func (r Report) tiles() []tile {
	labels := map[posture.Verdict]string{
		posture.Blocked: "blocked", posture.Prompted: "must register", posture.Fine: "fine", posture.OutOfScope: "out of scope",
	}
	var list []tile
	for _, v := range posture.Verdicts() {
		list = append(list, tile{Class: string(v), Label: labels[v], Count: r.Summary.Verdicts[v], Note: fmt.Sprintf("at best %d", r.Summary.AtBest[v])})
	}
	return list
}
