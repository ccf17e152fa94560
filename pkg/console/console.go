// Package console is the operators' web page: what is stuck and why, what a replay
// would do, replays as they run, holds, flags and people. It is one more face of
// operate.Operations and decides nothing by itself.
//
// It knows HTTP and HTML; no broker, no Graph, no cloud runtime. Pages are rendered
// here, from templates and one style sheet that are part of the binary, and work
// without the script, which adds live progress and keyboard shortcuts.
//
// # Who may come in
//
// On a machine of one's own a link with a token that works once makes a session, and the
// console listens on loopback only. An exposed one has a Door, where operators sign in at
// an identity provider and get what they act with; nothing is done with rights of the
// console's own. In either case the operator is the session's, never a field of a form;
// every form carries the session's own token; and the console answers to its own names
// only, so that a page elsewhere cannot reach it by a name that it points here.
//
// # What it keeps
//
// Plans, replays and sessions live in this process. When it ends, what a replay has
// sent is sent and the rest lies where it lay: plan again and go on.
package console

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"mfaflow/pkg/operate"
)

// Config is what a console needs.
type Config struct {
	// Operations are what is done by who comes by a link; nil with a Door.
	Operations operate.Operations
	// Door lets operators of an exposed console in; nil lets in by links.
	Door Door
	// Origin is where browsers find an exposed console, such as
	// https://console.contoso.example.
	Origin string
	// TLS is what an exposed console is served with; nil where a proxy on the same machine
	// has the certificate.
	TLS *tls.Config
	// Audit searches the audit trail; nil where its lines are kept elsewhere.
	Audit AuditSearch
	// Hosts are the host:port pairs that the console answers to; with a Door it answers to
	// its origin.
	Hosts []string
	// Log gets who did what, without personal data.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Console is the handler of all pages.
type Console struct {
	ops     operate.Operations
	audit   AuditSearch
	log     *slog.Logger
	now     func() time.Time
	access  *access
	views   *views
	picture picture
	plans   shelf[*planning]
	jobs    shelf[*job]
	handler http.Handler

	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup
}

// New makes a console. Plans and replays run until ctx ends or Close is called.
func New(ctx context.Context, cfg Config) (*Console, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	var door *doorway
	if cfg.Door != nil {
		host, err := originHost(cfg.Origin)
		if err != nil {
			return nil, err
		}
		cfg.Hosts = []string{host}
		if door, err = newDoorway(cfg.Door, cfg.Now); err != nil {
			return nil, err
		}
	}
	if (cfg.Operations == nil) == (door == nil) || cfg.Log == nil || len(cfg.Hosts) == 0 {
		return nil, errors.New("a console needs operations or a door, a logger and the hosts it answers to")
	}
	c := &Console{ops: cfg.Operations, audit: cfg.Audit, log: cfg.Log, now: cfg.Now, access: newAccess(cfg.Hosts, door, cfg.Now)}
	c.plans.keep, c.jobs.keep = 20, 100
	var err error
	if c.views, err = newViews(cfg.Now); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancel(ctx)
	c.handler = c.routes()
	return c, nil
}

// Close ends what runs in the background and waits for it.
func (c *Console) Close() {
	c.stop()
	c.work.Wait()
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *Console) routes() http.Handler {
	pages := http.NewServeMux()
	for pattern, serve := range map[string]page{
		"GET /{$}":                    c.overview,
		"GET /entries":                c.entries,
		"GET /entries/{place}/{seq}":  c.entry,
		"POST /entries/{place}/{seq}": c.entryRevealed,
		"POST /discard":               c.discard,
		"POST /plans":                 c.makePlan,
		"GET /plans/{id}":             c.plan,
		"GET /replays":                c.replays,
		"POST /replays":               c.startReplay,
		"GET /replays/{id}":           c.replay,
		"POST /replays/{id}/{word}":   c.steerReplay,
		"GET /flags":                  c.flags,
		"POST /flags/resolve":         c.resolve,
		"GET /holds":                  c.holds,
		"GET /holds/{number}":         c.hold,
		"POST /holds/{number}":        c.decide,
		"GET /person":                 c.findPerson,
		"POST /person":                c.lookUp,
		"GET /person/{who}":           c.person,
		"POST /person/{who}":          c.personRevealed,
		"POST /person/{who}/let-in":   c.letIn,
		"GET /audit":                  c.auditSearch,
		"GET /help":                   c.help,
		"POST /leave":                 c.leave,
		"/":                           c.nowhere,
	} {
		pages.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				c.fail(w, r, err)
			}
		})
	}
	outer := http.NewServeMux()
	if c.access.door == nil {
		outer.HandleFunc("GET /enter", c.enter)
	} else {
		outer.HandleFunc("GET /sign-in", c.signIn)
		outer.HandleFunc("GET /signed-in", c.signedIn)
		outer.HandleFunc("GET /signed-out", c.signedOut)
	}
	outer.HandleFunc("GET /static/{file}", c.views.static)
	outer.Handle("/", c.access.members(pages, c.refuse))
	return c.access.guard(outer, c.refuse)
}

// page serves one page. An error that it returns is shown in its place.
type page func(http.ResponseWriter, *http.Request) error

// requestError is a request that makes no sense; the text says what would.
type requestError struct{ text string }

func (e requestError) Error() string { return e.text }

// fail shows why a page cannot be.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	bad := requestError{}
	tooLarge := (*http.MaxBytesError)(nil)
	m := message{Status: http.StatusBadGateway, Title: "That did not work", Text: err.Error(),
		Next: "Nothing was changed by this page as far as it can tell, and everything here is safe to repeat. Try again."}
	switch {
	case errors.As(err, &bad):
		m = message{Status: http.StatusBadRequest, Title: "That cannot be asked", Text: bad.text, Next: "Go back and correct it."}
	case errors.As(err, &tooLarge):
		m = message{Status: http.StatusRequestEntityTooLarge, Title: "That is too much at once", Text: "The form is larger than 1 MiB.", Next: "Choose by filter instead of one by one."}
	case errors.Is(err, operate.ErrNotFound):
		m = message{Status: http.StatusNotFound, Title: "Not here any more", Text: err.Error(), Next: "Somebody may have dealt with it meanwhile: the audit trail says who."}
	case errors.Is(err, operate.ErrStale):
		m = message{Status: http.StatusConflict, Title: "The plan is out of date", Text: err.Error(), Next: "Plan again and read what it says now."}
	case errors.Is(err, operate.ErrRefused):
		m = message{Status: http.StatusForbidden, Title: "Refused", Text: err.Error(), Next: "Another operator may be able to do it."}
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		return
	}
	c.refuse(w, r, m)
}

// message is a page that says one thing.
type message struct {
	Status            int
	Title, Text, Next string
	Links             []link
}

type link struct{ Text, To string }

func (c *Console) refuse(w http.ResponseWriter, r *http.Request, m message) {
	c.show(w, r, m.Status, "message", "", m.Title, m)
}

func (c *Console) nowhere(http.ResponseWriter, *http.Request) error {
	return operate.ErrNotFound
}

// shelf keeps the latest things that were made, by their random ids.
type shelf[T any] struct {
	keep  int
	mu    sync.Mutex
	byID  map[string]T
	order []string
}

// put keeps a thing, and lets go of the oldest that are over when there are too many.
func (s *shelf[T]) put(id string, thing T, over func(T) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]T{}
	}
	s.byID[id] = thing
	s.order = append(s.order, id)
	for i := 0; len(s.order) > s.keep && i < len(s.order)-1; {
		if old := s.order[i]; over(s.byID[old]) {
			delete(s.byID, old)
			s.order = append(s.order[:i], s.order[i+1:]...)
		} else {
			i++
		}
	}
}

func (s *shelf[T]) get(id string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	thing, ok := s.byID[id]
	return thing, ok
}

// all are the things, the latest first.
func (s *shelf[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	things := make([]T, 0, len(s.order))
	for i := len(s.order) - 1; i >= 0; i-- {
		things = append(things, s.byID[s.order[i]])
	}
	return things
}

// background runs work that outlives its request.
func (c *Console) background(work func(context.Context)) {
	c.work.Go(func() { work(c.ctx) })
}

// did is a line of the log about what an operator did.
func (c *Console) did(r *http.Request, what string, args ...any) {
	c.log.InfoContext(r.Context(), "console", append([]any{"operator", cmp.Or(member(r).operator, "-"), "did", what}, args...)...)
}
