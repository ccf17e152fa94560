package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// trail turns the log lines of the functions and of the simulated tenant into lines
// for a reader, each with the milliseconds since the last event began.
type trail struct {
	now func() time.Time

	mu    sync.Mutex
	w     io.Writer
	began time.Time
	name  func(objectID string) string
}

func newTrail(w io.Writer, now func() time.Time) *trail {
	return &trail{w: w, now: now, began: now(), name: func(objectID string) string { return objectID }}
}

// meet makes it call people by what name says for their object id.
func (t *trail) meet(name func(objectID string) string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name = name
}

// restart makes now the zero of the clock.
func (t *trail) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = t.now()
}

// show prints what a line is about; nothing for lines of no interest.
func (t *trail) show(from string, line []byte) {
	if text := t.read(from, line); text != "" {
		t.print(from, "%s", text)
	}
}

func (t *trail) print(from, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%6d ms  %-16s %s\n", t.now().Sub(t.began).Milliseconds(), from, fmt.Sprintf(format, args...))
}

// entry is the union of what the lines hold.
type entry struct {
	Level   string `json:"level"`
	Message string `json:"msg"`
	Error   string `json:"err"`

	// A delivery at hr-events, an event of a lane, or a record of the audit trail.
	Audit    json.RawMessage `json:"audit"`
	Queue    string          `json:"queue"`
	Lane     string          `json:"lane"`
	Key      string          `json:"key"`
	Type     string          `json:"type"`
	Action   string          `json:"action"`
	Decision string          `json:"decision"`
	Outcome  string          `json:"outcome"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`

	// A call to the tenant; deliveries have a status as well.
	App    string `json:"app"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Note   string `json:"note"`
}

func (t *trail) read(from string, line []byte) string {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return string(line) // no JSON: a panic, for one
	}
	switch {
	case e.Audit != nil:
		return words("audit:", e.Action, arrow(e.Decision), bracketed(e.Reason), e.Outcome)
	case e.Message == "graph call":
		return words(fmt.Sprint(e.Status), e.Method, t.named(e.Path), "by", e.App, bracketed(e.Note))
	case e.Message == "delivery":
		return words(fmt.Sprint(e.Status), e.Outcome, e.Type, e.Key, bracketed(e.Reason))
	case e.Message == "event":
		return words(e.Type, arrow(e.Outcome), bracketed(e.Reason), e.Detail, "(lane", t.named(e.Lane)+")")
	case e.Level == "WARN" || e.Level == "ERROR":
		return words(strings.ToLower(e.Level)+":", e.Message, bracketed(e.Reason), e.Detail, e.Error)
	default:
		return ""
	}
}

var objectID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// named shows people in the place of their object ids.
func (t *trail) named(s string) string {
	t.mu.Lock()
	name := t.name
	t.mu.Unlock()
	return objectID.ReplaceAllStringFunc(s, name)
}

func words(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " ")
}

func arrow(s string) string {
	if s == "" {
		return ""
	}
	return "-> " + s
}

func bracketed(s string) string {
	if s == "" {
		return ""
	}
	return "[" + s + "]"
}
