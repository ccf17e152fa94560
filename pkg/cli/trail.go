package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/event"
)

// trail turns the log lines of the functions and of the simulated tenant into lines
// for a reader, each with the milliseconds since the last delivery began.
type trail struct {
	now func() time.Time

	// settled receives the end of each event in a person's lane, if there is room.
	settled chan outcome

	mu    sync.Mutex
	w     io.Writer
	part  string // the one part whose steps are shown; empty shows all
	lane  string // the one lane whose steps are shown
	about string // the one type of event whose steps are shown; empty shows all but echoes
	began time.Time
	name  func(objectID string) string
}

// outcome is how an event ended.
type outcome struct{ Key, Type, Lane, Outcome string }

func newTrail(w io.Writer, now func() time.Time) *trail {
	return &trail{
		now: now, settled: make(chan outcome, 16), w: w, began: now(),
		name: func(objectID string) string { return objectID },
	}
}

// meet makes it call people by what name says for their object id.
func (t *trail) meet(name func(objectID string) string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name = name
}

// follow makes it show the steps of one part in one lane only, and whatever went wrong.
// Changes of accounts are shown where they are what it is about: elsewhere they are the
// echo of our own writes.
func (t *trail) follow(part, lane, about string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part, t.lane, t.about = part, lane, about
}

// forget empties settled.
func (t *trail) forget() {
	for {
		select {
		case <-t.settled:
		default:
			return
		}
	}
}

// restart makes the time some time ago the zero of the clock.
func (t *trail) restart(ago time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = t.now().Add(-ago)
}

// show prints what a line is about; nothing for lines of no interest.
func (t *trail) show(from string, line []byte) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		t.say(from, "%s", line) // no JSON: a panic, for one
		return
	}
	if e.Message == "delivery" {
		t.restart(time.Duration(e.Milliseconds * float64(time.Millisecond)))
	}
	if text := t.describe(e); text != "" && t.shows(from, e) {
		t.say(from, "%s", text)
	}
	if from == "identity-worker" && e.Message == "event" {
		select {
		case t.settled <- outcome{e.Key, e.Type, e.Lane, e.Outcome}:
		default:
		}
	}
}

func (t *trail) shows(from string, e entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	step := t.part == from && t.lane == e.Lane && (e.Audit != nil || e.Message == "event") && (e.Type != string(event.AccountChanged) || e.Type == t.about)
	return t.part == "" || step || e.Level == "WARN" || e.Level == "ERROR"
}

func (t *trail) say(from, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%6d ms  %-16s %s\n", t.now().Sub(t.began).Milliseconds(), from, fmt.Sprintf(format, args...))
}

// entry is the union of what the lines hold.
type entry struct {
	Level   string `json:"level"`
	Message string `json:"msg"`
	Error   string `json:"err"`

	// A delivery at a function, an event of a lane, or a record of the audit trail.
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

	// What a sweep found.
	Slot   string `json:"slot"`
	Task   string `json:"task"`
	Events int    `json:"events"`

	// A flag told on a channel.
	Cause   string `json:"cause"`
	User    string `json:"user"`
	Channel string `json:"channel"`

	Milliseconds float64 `json:"duration_ms"`

	// A call to the tenant; deliveries have a status as well.
	App    string `json:"app"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Note   string `json:"note"`
}

func (t *trail) describe(e entry) string {
	switch {
	case e.Audit != nil:
		return words("audit:", e.Action, arrow(e.Decision), bracketed(e.Reason), e.Outcome)
	case e.Message == "graph call" && e.App == "tenant-sweep" && e.Method == http.MethodGet && e.Status == http.StatusOK:
		return "" // asked every few seconds; what it finds has lines of its own
	case e.Message == "graph call":
		return words(fmt.Sprint(e.Status), e.Method, t.named(unescaped(e.Path)), "by", e.App, bracketed(e.Note))
	case e.Message == "delivery", e.Message == "change notification":
		return words(fmt.Sprint(e.Status), e.Outcome, e.Type, t.named(e.User), e.Key, bracketed(e.Reason))
	case e.Message == "subscription" && e.Outcome != "missing" && e.Outcome != "subscribed":
		return words("subscription", e.Slot, e.Outcome, bracketed(e.Reason))
	case e.Message == "sweep" && e.Events > 0:
		return words("sweep:", fmt.Sprint(e.Events), "events from", e.Task)
	case e.Message == "event":
		return words(e.Type, arrow(e.Outcome), bracketed(e.Reason), t.named(e.Detail), "(lane", t.named(e.Lane)+")")
	case e.Message == "notification":
		return words("flag:", e.Cause, t.named(e.User), "-> "+e.Channel, e.Outcome, e.Error)
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

func unescaped(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
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
