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
	csrf     string
	expires  time.Time

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
	now   func() time.Time

	mu       sync.Mutex
	invites  map[[sha256.Size]byte]invite
	sessions map[[sha256.Size]byte]*session
}

func newAccess(hosts []string, now func() time.Time) *access {
	return &access{hosts: hosts, now: now, invites: map[[sha256.Size]byte]invite{}, sessions: map[[sha256.Size]byte]*session{}}
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

// open takes an invite and makes a session of it.
func (a *access) open(token string) (cookie string, s *session, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hash := sha256.Sum256([]byte(token))
	i, ok := a.invites[hash]
	delete(a.invites, hash)
	now := a.now()
	if !ok || !now.Before(i.expires) {
		return "", nil, false
	}
	for id, s := range a.sessions {
		if !now.Before(s.expires) {
			delete(a.sessions, id)
		}
	}
	cookie = rand.Text()
	s = &session{operator: i.operator, csrf: rand.Text(), expires: now.Add(sessionLife)}
	a.sessions[sha256.Sum256([]byte(cookie))] = s
	return cookie, s, true
}

// find is the session of a request, nil when it has none.
func (a *access) find(r *http.Request) *session {
	cookie, err := r.Cookie(cookieName(r))
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
	if cookie, err := r.Cookie(cookieName(r)); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, sha256.Sum256([]byte(cookie.Value)))
	}
}

// cookieName has the port in it: browsers send a cookie to all ports of a host (RFC
// 6265, section 8.5), and two consoles on one machine are two.
func cookieName(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "mfaflow-console-" + port
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
		if !slices.Contains(a.hosts, strings.ToLower(r.Host)) {
			http.Error(w, "This console does not answer to that name.", http.StatusMisdirectedRequest)
			return
		}
		if err := sameOrigin.Check(r); err != nil {
			refuse(w, r, message{http.StatusForbidden, "Not from here", "That was asked by another page.", "Open the page in the console itself."})
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
		if s == nil {
			refuse(w, r, message{http.StatusUnauthorized, "You are not signed in",
				"This console lets in whoever opens the link that it printed when it started. The link works once, in one browser.",
				"Run mfaflow console for a new link, also beside a stack that runs."})
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), memberKey{}, s))
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				refuse(w, r, message{http.StatusBadRequest, "That form cannot be read", "It is malformed, or larger than 1 MiB.", "Choose by filter instead of one by one."})
				return
			}
			if subtle.ConstantTimeCompare([]byte(r.PostForm.Get(csrfField)), []byte(s.csrf)) != 1 {
				refuse(w, r, message{http.StatusForbidden, "That form is not from this session", "It may have been open since before you signed in.", "Go back, reload the page and try again."})
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
	cookie, s, ok := c.access.open(r.URL.Query().Get("token"))
	if !ok {
		if c.access.find(r) != nil {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		c.refuse(w, r, message{http.StatusUnauthorized, "This link does not let in, or no longer", "A link lets in one browser, once, within an hour.", "Run mfaflow console for a new one, also beside a stack that runs."})
		return
	}
	c.log.InfoContext(r.Context(), "console", "operator", s.operator, "did", "sign in")
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: cookie, Path: "/", MaxAge: int(sessionLife.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (c *Console) leave(w http.ResponseWriter, r *http.Request) error {
	c.did(r, "sign out")
	c.access.end(r)
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
