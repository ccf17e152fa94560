package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/runbook"
)

//go:embed page
var source embed.FS

// views renders pages.
type views struct {
	pages map[string]*template.Template
	files map[string]file
	links map[string]string
}

// file is a style sheet or a script.
type file struct {
	kind string
	body []byte
}

// model is what every page gets.
type model struct {
	Title, Nav string
	Operator   operate.Operator
	CSRF       string
	Notices    []notice
	Now        time.Time
	Body       any
}

func newViews(now func() time.Time) (*views, error) {
	v := &views{pages: map[string]*template.Template{}, files: map[string]file{}, links: map[string]string{}}
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"} {
		body, err := source.ReadFile("page/" + name)
		if err != nil {
			return nil, err
		}
		// The name changes with what is in it, so that it can be kept by browsers.
		sum := sha256.Sum256(body)
		known := hex.EncodeToString(sum[:6]) + "." + name
		v.files[known] = file{kind, body}
		v.links[name] = "/static/" + known
	}
	base, err := template.New("layout.html").Funcs(v.functions(now)).Option("missingkey=error").ParseFS(source, "page/layout.html", "page/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(source, "page/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if base := path.Base(name); base == "layout.html" || base == "parts.html" {
			continue
		}
		t, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if _, err := t.ParseFS(source, name); err != nil {
			return nil, err
		}
		v.pages[strings.TrimSuffix(path.Base(name), ".html")] = t
	}
	return v, nil
}

// show renders a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, name, nav, title string, body any) {
	s := member(r)
	m := model{Title: title, Nav: nav, Operator: s.operator, CSRF: s.csrf, Notices: s.told(), Now: c.now(), Body: body}
	var out bytes.Buffer
	if err := c.views.pages[name].ExecuteTemplate(&out, "layout.html", m); err != nil {
		c.log.ErrorContext(r.Context(), "page", "name", name, "err", err.Error())
		http.Error(w, "This page cannot be shown; the console's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w)
}

// fragment renders a part of a page, for the script that puts it in the place of the
// one before.
func (v *views) fragment(w http.ResponseWriter, name, part string, m model) {
	var out bytes.Buffer
	if err := v.pages[name].ExecuteTemplate(&out, part, m); err != nil {
		http.Error(w, "This part cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = out.WriteTo(w)
}

func (v *views) static(w http.ResponseWriter, r *http.Request) {
	f, ok := v.files[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(f.body)
}

func (v *views) functions(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"file":   func(name string) string { return v.links[name] },
		"num":    number,
		"plural": plural,
		"ago":    func(t time.Time) string { return ago(now(), t) },
		"when":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
		"clock":  func(t time.Time) string { return t.UTC().Format("2 Jan, 15:04") },
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"field":  fieldTime,
		"short":  short,
		// The lane of the tenant is nobody's.
		"everybody": func(lane any) bool { return fmt.Sprint(lane) == event.TenantLane },
		"span":      inWords,
		"pct":       func(x float64) string { return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64) },
		"rate": func(x float64) string {
			return strconv.FormatFloat(x, 'f', map[bool]int{true: 1, false: 0}[x < 10], 64)
		},
		"cause":   func(c flag.Cause) string { return c.Title() },
		"kind":    kindOf,
		"wait":    func(reason string) string { a, _ := runbook.For(runbook.Waits, reason); return a.Do },
		"pair":    func(a, b any) []any { return []any{a, b} },
		"add":     func(a, b int) int { return a + b },
		"minimum": func(a, b int) int { return min(a, b) },
	}
}

// number groups the digits of big numbers by thin spaces.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// ago is how long before now something was, or how long after.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	switch d := now.Sub(t); {
	case d <= -time.Minute:
		return "in " + inWords(-d)
	case d < time.Minute:
		return "just now"
	default:
		return inWords(d) + " ago"
	}
}

// inWords is a duration in its largest unit.
func inWords(d time.Duration) string {
	switch {
	case d < time.Second:
		return "under 1 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(math.Ceil(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// fieldTime is a time as the value of a datetime-local field.
func fieldTime(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Second() != 0:
		return t.UTC().Format("2006-01-02T15:04:05")
	default:
		return t.UTC().Format("2006-01-02T15:04")
	}
}

// short is the end of an object id, and of anything else as much as fits a column.
func short(id any) string {
	s := fmt.Sprint(id)
	if identity.IsGUID(s) {
		return "…" + s[28:]
	}
	const fits = 22
	if letters := []rune(s); len(letters) > fits {
		return string(letters[:fits]) + "…"
	}
	return s
}
