package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/operate"
)

const (
	// sessionLife is how long a browser is remembered: a working day.
	sessionLife = 12 * time.Hour
	// inviteLife is how long an unused link works.
	inviteLife = time.Hour
	maxForm    = 1 << 20
	csrfField  = "csrf"
)

// session is one browser of one operator.
type session struct {
	operator operate.Operator
	// ops is what the operator does, with the operator's own rights.
	ops     operate.Operations
	csrf    string
	expires time.Time

	mu      sync.Mutex
	notices []notice
}

// notice is what a page has to say about what was just done.
type notice struct {
	Good bool
	Text string
}

func (s *session) tell(good bool, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, notice{good, text})
}

// told are the notices that were not shown yet.
func (s *session) told() []notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.notices
	s.notices = nil
	return list
}

type invite struct {
	operator operate.Operator
	expires  time.Time
}

// access knows who may come in. Tokens are kept as hashes, so that finding one takes
// no longer the more of it is right.
type access struct {
	hosts []string
	// door is nil on a machine of one's own.
	door *doorway
	now  func() time.Time

	mu       sync.Mutex
	invites  map[[sha256.Size]byte]invite
	sessions map[[sha256.Size]byte]*session
}

func newAccess(hosts []string, door *doorway, now func() time.Time) *access {
	return &access{hosts: hosts, door: door, now: now, invites: map[[sha256.Size]byte]invite{}, sessions: map[[sha256.Size]byte]*session{}}
}

// Invite makes the path of a link that lets one browser in as the operator, once. Who
// calls it has authenticated the operator.
func (c *Console) Invite(operator operate.Operator) string {
	a := c.access
	a.mu.Lock()
	defer a.mu.Unlock()
	token := rand.Text()
	a.invites[sha256.Sum256([]byte(token))] = invite{operator, a.now().Add(inviteLife)}
	return "/enter?" + url.Values{"token": {token}}.Encode()
}

// redeem takes an invite, which is good once.
func (a *access) redeem(token string) (operator operate.Operator, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hash := sha256.Sum256([]byte(token))
	i, ok := a.invites[hash]
	delete(a.invites, hash)
	return i.operator, ok && a.now().Before(i.expires)
}

// begin makes a session and sets its cookie.
func (a *access) begin(w http.ResponseWriter, r *http.Request, operator operate.Operator, ops operate.Operations, ends time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for id, s := range a.sessions {
		if !now.Before(s.expires) {
			delete(a.sessions, id)
		}
	}
	value := rand.Text()
	a.sessions[sha256.Sum256([]byte(value))] = &session{operator: operator, ops: ops, csrf: rand.Text(), expires: ends}
	http.SetCookie(w, a.cookie(r, value, ends.Sub(now)))
}

// cookie is that of a session. It has the port in its name: browsers send a cookie to all
// ports of a host (RFC 6265, section 8.5), and two consoles on one machine are two. Of an
// exposed console it is bound to the host and to TLS by its name, and comes along when a
// link in a message is followed, as it does not on one's own machine: every form has a
// token.
func (a *access) cookie(r *http.Request, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{Name: a.cookieName(r), Value: value, Path: "/", MaxAge: max(int(life.Seconds()), -1), HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if a.door != nil {
		c.Secure, c.SameSite = true, http.SameSiteLaxMode
	}
	return c
}

func (a *access) cookieName(r *http.Request) string {
	if a.door != nil {
		return "__Host-mfaflow-console"
	}
	_, port, _ := net.SplitHostPort(r.Host)
	return "mfaflow-console-" + port
}

// find is the session of a request, nil when it has none.
func (a *access) find(r *http.Request) *session {
	cookie, err := r.Cookie(a.cookieName(r))
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[sha256.Sum256([]byte(cookie.Value))]
	if s == nil || !a.now().Before(s.expires) {
		return nil
	}
	return s
}

func (a *access) end(r *http.Request) {
	if cookie, err := r.Cookie(a.cookieName(r)); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, sha256.Sum256([]byte(cookie.Value)))
	}
}

// guard sets what every answer carries and refuses requests to other names and from
// other pages.
func (a *access) guard(next http.Handler, refuse func(http.ResponseWriter, *http.Request, message)) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if a.door != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !slices.Contains(a.hosts, strings.ToLower(r.Host)) {
			http.Error(w, "This console does not answer to that name.", http.StatusMisdirectedRequest)
			return
		}
		if err := sameOrigin.Check(r); err != nil {
			refuse(w, r, message{Status: http.StatusForbidden, Title: "Not from here", Text: "That was asked by another page.", Next: "Open the page in the console itself."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

type memberKey struct{}

// member is the session of a request; one without operator when it has none.
func member(r *http.Request) *session {
	if s, ok := r.Context().Value(memberKey{}).(*session); ok {
		return s
	}
	return &session{}
}

// members lets sessions through, and their forms when they carry the session's token.
func (a *access) members(next http.Handler, refuse func(http.ResponseWriter, *http.Request, message)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := a.find(r)
		switch {
		case s == nil && a.door != nil:
			a.door.point(w, r, refuse)
			return
		case s == nil:
			refuse(w, r, message{Status: http.StatusUnauthorized, Title: "You are not signed in",
				Text: "This console lets in whoever opens the link that it printed when it started. The link works once, in one browser.",
				Next: "Run mfaflow console for a new link, also beside a stack that runs."})
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), memberKey{}, s))
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				refuse(w, r, message{Status: http.StatusBadRequest, Title: "That form cannot be read", Text: "It is malformed, or larger than 1 MiB.", Next: "Choose by filter instead of one by one."})
				return
			}
			if subtle.ConstantTimeCompare([]byte(r.PostForm.Get(csrfField)), []byte(s.csrf)) != 1 {
				refuse(w, r, message{Status: http.StatusForbidden, Title: "That form is not from this session", Text: "It may have been open since before you signed in.", Next: "Go back, reload the page and try again."})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// enter makes a session of a link.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		// HEAD comes from programs that preview links; it must not use one up.
		w.WriteHeader(http.StatusNoContent)
		return
	}
	operator, ok := c.access.redeem(r.URL.Query().Get("token"))
	if !ok {
		if c.access.find(r) != nil {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		c.refuse(w, r, message{Status: http.StatusUnauthorized, Title: "This link does not let in, or no longer", Text: "A link lets in one browser, once, within an hour.",
			Next: "Run mfaflow console for a new one, also beside a stack that runs."})
		return
	}
	c.let(w, r, operator, c.ops, c.now().Add(sessionLife), "/")
}

// let begins a session and leads to a page.
func (c *Console) let(w http.ResponseWriter, r *http.Request, operator operate.Operator, ops operate.Operations, ends time.Time, to string) {
	c.log.InfoContext(r.Context(), "console", "operator", operator, "did", "sign in")
	c.access.begin(w, r, operator, ops, ends)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (c *Console) leave(w http.ResponseWriter, r *http.Request) error {
	c.did(r, "sign out")
	c.access.end(r)
	http.SetCookie(w, c.access.cookie(r, "", -time.Second))
	if c.access.door == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	http.Redirect(w, r, "/signed-out", http.StatusSeeOther)
	return nil
}
