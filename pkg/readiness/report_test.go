package readiness_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sim/browser"
)

// hostile are names that try to be more than text.
var hostile = []string{
	`<img src=x onerror=alert(1)>`, `</script><script>alert(1)</script>`, `=HYPERLINK("http://evil.example","x")`, `+1`, `-1+1`, "@SUM(A1)", "\t=1", " =1", "\u202egnp.exe",
	`"; drop`, `'; alert(1); '`, "{{.Tenant}}", "＝1", "\u200b=1", "a\nb", `<!--`, "|calc",
}

func question() posture.Question { return posture.Question{At: now, Phase: posture.Phase2} }

func report(t *testing.T, names []string, changes ...posture.Change) readiness.Report {
	t.Helper()
	town := newTown(max(10, len(names)))
	for i, name := range names {
		town.people[i].DisplayName, town.people[i].Department = name, name
	}
	r, err := readiness.NewReport(gather(t, town, nil), question(), nil, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCountsAddUp(t *testing.T) {
	r := report(t, nil)
	s := r.Summary
	if s.People != 10 || s.Verdicts.Total() != 10 || s.AtBest.Total() != 10 || len(r.People) != 10 {
		t.Errorf("%+v", s)
	}
	departments := 0
	for _, d := range s.Departments {
		departments += d.Verdicts.Total()
	}
	if departments != 10 {
		t.Errorf("%d people in departments", departments)
	}
	for code, n := range s.Reasons {
		has := 0
		for _, p := range r.People {
			if p.Has(code) {
				has++
			}
		}
		if has != n {
			t.Errorf("%s: %d, and %d people have it", code, n, has)
		}
	}
	if !slices.IsSortedFunc(r.People, func(a, b readiness.Person) int {
		return slices.Index(posture.Verdicts(), a.Verdict) - slices.Index(posture.Verdicts(), b.Verdict)
	}) {
		t.Error("people are not in the order of their verdicts")
	}
}

func TestWhatIf(t *testing.T) {
	r := report(t, nil, posture.SetMethodState{Method: "microsoftAuthenticator"})
	if r.Before == nil || len(r.Shifts) == 0 || len(r.Changes) != 1 {
		t.Fatalf("%+v", r.Shifts)
	}
	for _, s := range r.Shifts {
		if s.To != posture.Blocked || s.ToAtBest == s.FromAtBest && s.To == s.From {
			t.Errorf("%+v", s)
		}
	}
	// The one who is a program was blocked before.
	if d := r.Before.Verdicts[posture.Fine] - r.Summary.Verdicts[posture.Fine]; d != len(r.Shifts)-1 {
		t.Errorf("%d fewer are fine, %d shifts", d, len(r.Shifts))
	}
	if err := readiness.Keep(t.Context(), &memory{}, r); err == nil {
		t.Error("a what-if is history")
	}
}

func TestTrend(t *testing.T) {
	store := &memory{}
	for i := range 4 {
		r := report(t, nil)
		r.TakenAt = now.AddDate(0, 0, i-4)
		if err := readiness.Keep(t.Context(), store, r); err != nil {
			t.Fatal(err)
		}
	}
	store.files["history/20261101T000000Z.json"] = []byte("{")
	points, err := readiness.Trend(t.Context(), store, 3)
	if err != nil || len(points) != 3 || !points[2].TakenAt.Equal(now.AddDate(0, 0, -1)) {
		t.Errorf("%+v, %v", points, err)
	}
	town := gather(t, newTown(10), nil)
	phase1 := posture.Question{At: now, Phase: posture.Phase1}
	if r, err := readiness.NewReport(town, phase1, points); err != nil || len(r.Trend) != 0 {
		t.Errorf("points of another phase: %+v, %v", r.Trend, err)
	}
}

// The members of the JSON are what others read.
func TestJSONIsStable(t *testing.T) {
	var b bytes.Buffer
	if err := report(t, nil, posture.SetMethodState{Method: "microsoftAuthenticator"}).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	members := func(v any) []string {
		var list []string
		object, _ := v.(map[string]any)
		for name := range object {
			list = append(list, name)
		}
		slices.Sort(list)
		return list
	}
	first := func(v any) any {
		list, _ := v.([]any)
		if len(list) == 0 {
			return nil
		}
		return list[0]
	}
	for what, c := range map[string]struct {
		got  any
		want string
	}{
		"report":     {got, "before changes inForce names notes people question shifts source summary takenAt tenant trend version"},
		"summary":    {got["summary"], "atBest departments enforced marks people reasons verdicts"},
		"department": {first(got["summary"].(map[string]any)["departments"]), "name verdicts"},
		"verdicts":   {got["summary"].(map[string]any)["verdicts"], "blocked fine out-of-scope prompted"},
		"person":     {first(got["people"]), "atBest department displayName enforced id kind marks methods reasons userPrincipalName verdict"},
		"shift":      {first(got["shifts"]), "from fromAtBest id to toAtBest userPrincipalName"},
		"question":   {got["question"], "at phase"},
	} {
		if list := strings.Join(members(c.got), " "); list != c.want {
			t.Errorf("%s has %s, want %s", what, list, c.want)
		}
	}
	if got["version"] != float64(readiness.Version) {
		t.Errorf("version %v", got["version"])
	}
}

func TestNoCellIsAFormula(t *testing.T) {
	var b bytes.Buffer
	if err := report(t, hostile).CSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != len(hostile)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	guarded := 0
	for _, row := range rows {
		for _, cell := range row {
			bare := strings.TrimLeft(cell, " \t\r\n\u200b\u202e\ufeff")
			if bare != "" && strings.ContainsAny(bare[:1], "=+-@|%") || strings.HasPrefix(bare, "＝") {
				t.Errorf("%q is a formula", cell)
			}
			if strings.HasPrefix(cell, "'") {
				guarded++
			}
		}
	}
	if guarded < 18 {
		t.Errorf("%d cells are guarded", guarded)
	}
}

// A spreadsheet that splits at semicolons or tabs, and so heeds no quotes, finds none either.
func TestNoPartOfACellIsAFormula(t *testing.T) {
	var b bytes.Buffer
	if err := report(t, []string{`Ada;=HYPERLINK("http://evil.example")`, "Bob; =1+1", "Eve\t@SUM(A1)", "Joe\n-1", ";;＝1", "\t=1"}).CSV(&b); err != nil {
		t.Fatal(err)
	}
	for _, cell := range strings.FieldsFunc(b.String(), func(c rune) bool { return strings.ContainsRune(";\t\r\n", c) }) {
		bare := strings.TrimLeft(cell, " \u200b\u202e\ufeff")
		if bare != "" && strings.ContainsAny(bare[:1], "=+-@") || strings.HasPrefix(bare, "＝") {
			t.Errorf("%q is a formula", cell)
		}
	}
}

func page(t testing.TB, r readiness.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPageNeedsNothingElse(t *testing.T) {
	html := page(t, report(t, hostile))
	for _, never := range []string{"<img", "<script>alert", ` src="`, `href="`, "@import", "url(", "javascript:", "onerror=alert(1)>"} {
		if strings.Contains(strings.ToLower(html), never) {
			i := strings.Index(strings.ToLower(html), never)
			t.Errorf("%q: %s", never, html[max(0, i-60):i+60])
		}
	}
	if n := strings.Count(html, "<script"); n != 2 {
		t.Errorf("%d scripts", n)
	}
}

func FuzzPage(f *testing.F) {
	for _, name := range hostile {
		f.Add(name)
	}
	plain := lonely(f, "x")
	elements := strings.Count(page(f, plain), "<")
	f.Fuzz(func(t *testing.T, name string) {
		if n := strings.Count(page(t, lonely(t, name)), "<"); n != elements {
			t.Errorf("%q makes %d elements of %d", name, n, elements)
		}
	})
}

// lonely is a report of one person with this name.
func lonely(t testing.TB, name string) readiness.Report {
	s := posture.Snapshot{TakenAt: now, Tenant: posture.Tenant{DisplayName: name}, People: []posture.Person{{
		ID: who(1), UserPrincipalName: name, DisplayName: name, Department: "x", Kind: posture.Member, Enabled: true, PerUserMFA: posture.PerUserEnforced,
	}}}
	r, err := readiness.NewReport(s, question(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// In a browser: the policy lets the page's own script run and nothing else, names are
// text, and 100,000 rows can be sorted and searched.
func TestPageInABrowser(t *testing.T) {
	binary, err := browser.Find()
	if err != nil && browser.Required() {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	s := posture.Snapshot{TakenAt: now, Tenant: posture.Tenant{DisplayName: "Contoso"}, Policies: posture.Policies{SecurityDefaults: posture.No}}
	for i := range 100_000 {
		p := posture.Person{
			ID: who(i), UserPrincipalName: string(who(i)), DisplayName: hostile[i%len(hostile)], Department: hostile[i%3], Kind: posture.Member, Enabled: true,
			PerUserMFA: posture.PerUserDisabled, Registration: posture.Registration{Known: true},
		}
		if i%100 == 7 {
			p.PerUserMFA = posture.PerUserEnforced
		}
		s.People = append(s.People, p)
	}
	r, err := readiness.NewReport(s, question(), nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page(t, r)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(60*time.Second))...)
	defer stop()
	ctx, shut := chromedp.NewContext(ctx)
	defer shut()
	if err := chromedp.Do(ctx, chromedp.Navigate("file://"+file)); err != nil {
		t.Fatal(err)
	}
	value := func(expression string) string {
		t.Helper()
		v, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		return v
	}
	const first = `document.querySelector("#table tbody tr td:nth-child(%d)").textContent`
	for _, c := range []struct{ expression, want string }{
		{`document.getElementById("controls").hidden`, "false"},
		{`document.getElementById("shown").textContent`, "1–200 of 100000"},
		{`document.querySelectorAll("#table tbody tr").length`, "200"},
		{`document.querySelectorAll("img, script[src], #table script, main script").length`, "0"},
		{`performance.getEntriesByType("resource").length`, "0"},
		{`(() => { const s = document.createElement("script"); s.textContent = "window.intruder = 1"; document.body.append(s); return window.intruder })()`, "undefined"},
		{`(document.querySelector('th[data-column="3"] button').click(), ` + fmt.Sprintf(first, 4) + `)`, string(who(0))},
		{`(document.querySelector('th[data-column="3"] button').click(), ` + fmt.Sprintf(first, 4) + `)`, string(who(99_999))},
		{`document.querySelector('th[data-column="3"]').ariaSort`, "descending"},
		{fmt.Sprintf(first, 3), hostile[99_999%len(hostile)]},
		{`(verdict => { verdict.value = "blocked"; verdict.dispatchEvent(new Event("change")); return document.getElementById("shown").textContent })(document.getElementById("verdict"))`, "1–200 of 1000"},
		{`(document.getElementById("after").click(), document.getElementById("shown").textContent)`, "201–400 of 1000"},
	} {
		if got := value(c.expression); got != c.want {
			t.Errorf("%s\n  is %q, want %q", c.expression, got, c.want)
		}
	}
}

// sender keeps what is sent.
type sender struct {
	sent []queue.Message
	err  error
}

func (s *sender) Send(_ context.Context, _ string, msgs ...queue.Message) error {
	if s.err == nil {
		s.sent = append(s.sent, msgs...)
	}
	return s.err
}

func (s *sender) flags(t *testing.T) (list []string) {
	t.Helper()
	for _, m := range s.sent {
		f, err := flag.Decode(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(f.Cause)+" "+string(f.User))
	}
	slices.Sort(list)
	return list
}

// A report is made when it is due, published, told and remembered; who was flagged is
// flagged again after a month.
func TestReporter(t *testing.T) {
	store, out, at := &memory{}, &sender{}, now
	clock := func() time.Time { return at }
	tenant := newTown(10)
	r := readiness.Reporter{
		Gatherer: readiness.Gatherer{Tenant: tenant, Store: store, Now: clock, BreakGlass: []identity.UserID{who(0), who(9)}},
		Store:    store, Sender: out, FlagsQueue: "flags", Phase: posture.Phase2, Every: 24 * time.Hour, Now: clock, Log: slog.New(slog.DiscardHandler),
	}
	run := func() {
		t.Helper()
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	out.err = errors.New("broker is down")
	if err := r.Run(t.Context()); !errors.Is(err, out.err) {
		t.Fatalf("%v", err)
	}
	if names, _ := store.List(t.Context(), "history/"); len(names) != 0 {
		t.Error("a report that was not told is history")
	}
	out.err = nil
	run()
	want := []string{"break-glass-weak " + string(who(0)), "break-glass-weak " + string(who(9)), "service-identity " + string(who(6))}
	if d := cmp.Diff(want, out.flags(t)); d != "" {
		t.Error(d)
	}
	for _, name := range []string{readiness.LatestJSON, readiness.LatestCSV, readiness.LatestHTML} {
		if data, err := store.Get(t.Context(), name); err != nil || len(data) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Somebody looks by hand, which is no report that was told.
	at = at.Add(time.Hour)
	for _, phase := range []posture.Phase{posture.Phase1, posture.Phase2} {
		look, err := readiness.NewReport(gather(t, newTown(10), nil), posture.Question{At: at, Phase: phase}, nil)
		if err != nil {
			t.Fatal(err)
		}
		look.TakenAt = at
		if err := readiness.Keep(t.Context(), store, look); err != nil {
			t.Fatal(err)
		}
	}
	calls := len(tenant.calls)
	run()
	if len(tenant.calls) != calls {
		t.Error("a report that is not due")
	}
	at = at.Add(23 * time.Hour)
	if run(); len(tenant.calls) == calls {
		t.Error("a look by hand stands for a report")
	}
	if len(out.sent) != 3 {
		t.Errorf("flagged again: %v", out.flags(t))
	}
	at = at.Add(30 * 24 * time.Hour)
	run()
	if len(out.sent) != 6 {
		t.Errorf("flagged %d times", len(out.sent))
	}
	r.Phase, calls = posture.Phase1, len(tenant.calls)
	if run(); len(tenant.calls) == calls {
		t.Error("a report up to another phase stands for this one")
	}
	points, err := readiness.Trend(t.Context(), store, 10)
	if err != nil || len(points) != 6 { // two of them by hand
		t.Errorf("%d points, %v", len(points), err)
	}
}

// An invocation that ends before everything is read is no failure, and the next goes on.
func TestReporterGoesOn(t *testing.T) {
	store, out := &memory{}, &sender{}
	tenant := newTown(10)
	ctx, end := context.WithCancel(t.Context())
	n := 0
	tenant.before = func(string, string) error {
		if n++; n == 9 {
			end()
		}
		return ctx.Err()
	}
	r := readiness.Reporter{
		Gatherer: readiness.Gatherer{Tenant: tenant, Store: store, Now: func() time.Time { return now }},
		Store:    store, Sender: out, FlagsQueue: "flags", Phase: posture.Phase2, Every: 24 * time.Hour, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	}
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	tenant.before, tenant.calls = nil, nil
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(tenant.calls, "people") {
		t.Error("people are read again")
	}
	if _, err := store.Get(t.Context(), readiness.LatestHTML); err != nil {
		t.Error(err)
	}
}

// What differs from the policy file is flagged once while it does, and not being able to
// tell is an error that keeps nobody from the report.
func TestReporterTellsDrift(t *testing.T) {
	store, out, at := &memory{}, &sender{}, now
	var drift []string
	var driftErr error
	clock := func() time.Time { return at }
	r := readiness.Reporter{
		Gatherer: readiness.Gatherer{Tenant: newTown(10), Store: store, Now: clock},
		Store:    store, Sender: out, FlagsQueue: "flags", Phase: posture.Phase2, Every: 24 * time.Hour, Now: clock, Log: slog.New(slog.DiscardHandler),
		Drift: func(_ context.Context, s posture.Snapshot) ([]string, error) {
			if len(s.People) != 10 {
				t.Errorf("%d people", len(s.People))
			}
			return drift, driftErr
		},
	}
	day := func(n int, fails error) {
		t.Helper()
		at = at.Add(25 * time.Hour)
		if err := r.Run(t.Context()); !errors.Is(err, fails) {
			t.Errorf("%v", err)
		}
		flags := slices.DeleteFunc(out.flags(t), func(f string) bool { return f != "policy-drift " })
		if len(flags) != n {
			t.Errorf("%d flags of drift and not %d", len(flags), n)
		}
	}
	day(0, nil)
	for i := range 12 {
		drift = append(drift, fmt.Sprintf("thing %d: state", i))
	}
	day(1, nil)
	f, err := flag.Decode(out.sent[len(out.sent)-1].Body)
	if err != nil || !strings.HasPrefix(f.Detail, "12 differ: thing 0: state; thing 1") || !strings.HasSuffix(f.Detail, "; and 2 more") || f.NextStep == "" {
		t.Errorf("%+v, %v", f, err)
	}
	day(1, nil)
	broken := errors.New("no such group")
	drift, driftErr = nil, broken
	day(1, broken)
	points, err := readiness.Trend(t.Context(), store, 10)
	if err != nil || len(points) != 4 {
		t.Errorf("%d points, %v", len(points), err)
	}
	drift, driftErr = []string{"thing 1: state"}, nil
	day(1, nil) // it was never seen to be put right
	drift = nil
	day(1, nil)
	drift = []string{"thing 1: state"}
	day(2, nil)
}
