package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mfaflow/pkg/operate"
)

// attemptLife is how long somebody may take at the identity provider.
const attemptLife = 10 * time.Minute

// Door is where operators of an exposed console sign in: an identity provider.
type Door interface {
	// URL is where the browser goes.
	URL(Attempt) string
	// Admit says who came back and with which rights: *NotAdmittedError says why nobody is let in.
	Admit(context.Context, Attempt, Answer) (Admission, error)
	// LogoutURL is where the session at the provider is ended; empty when there is no such place.
	LogoutURL() string
}

// Attempt is what ties an answer of the provider to the browser that went there; its values
// are random.
type Attempt struct{ State, Nonce, Verifier string }

// Answer is what the browser brings back from the provider.
type Answer struct{ State, Code, Issuer, Error, Description string }

// Admission is an operator who is let in.
type Admission struct {
	Operator operate.Operator
	// Operations act with the operator's own rights, until Ends.
	Operations operate.Operations
	Ends       time.Time
}

// NotAdmittedError is why somebody is not let in, and what helps.
type NotAdmittedError struct {
	Why  error
	Next string
}

func (n *NotAdmittedError) Error() string { return n.Why.Error() }
func (n *NotAdmittedError) Unwrap() error { return n.Why }

// doorway keeps what belongs to one way to the provider and back in a cookie of the browser
// that goes, sealed, so that somebody who only ever knocks takes no memory.
type doorway struct {
	Door
	seal cipher.AEAD
	now  func() time.Time
}

func newDoorway(d Door, now func() time.Time) (*doorway, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &doorway{d, seal, now}, nil
}

// originHost is what browsers call a console that they find at origin.
func originHost(origin string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the origin of an exposed console is not one such as https://console.contoso.example")
	}
	return strings.ToLower(strings.TrimSuffix(u.Host, ":443")), nil
}

// knock is an attempt on its way.
type knock struct {
	Attempt
	To   string
	Ends time.Time
}

// cookieOf is the cookie of an attempt: there may be one for each tab.
func cookieOf(state string) string {
	return "__Host-mfaflow-sign-in-" + state[:min(len(state), 8)]
}

// point sends a browser without a session to sign in. A script, or a form that was open for
// too long, is told instead.
func (d *doorway) point(w http.ResponseWriter, r *http.Request, refuse func(http.ResponseWriter, *http.Request, message)) {
	mode := r.Header.Get("Sec-Fetch-Mode")
	if r.Method == http.MethodGet && (mode == "" || mode == "navigate") {
		http.Redirect(w, r, "/sign-in?"+url.Values{"to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		return
	}
	refuse(w, r, message{Status: http.StatusUnauthorized, Title: "You are not signed in", Text: "Your session has ended. What you sent was not done.",
		Next: "Sign in and send it again.", Links: []link{{"Sign in", "/sign-in"}}})
}

// local is a path of this console; anything else becomes the overview.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}

// signIn sends the browser to the provider.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	d := c.access.door
	k := knock{Attempt{rand.Text(), rand.Text(), rand.Text() + rand.Text()}, local(r.URL.Query().Get("to")), c.now().Add(attemptLife)}
	text, err := json.Marshal(k)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	sealed := base64.RawURLEncoding.EncodeToString(d.seal.Seal(nil, nil, text, nil))
	http.SetCookie(w, &http.Cookie{Name: cookieOf(k.State), Value: sealed, Path: "/", MaxAge: int(attemptLife.Seconds()), HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, d.URL(k.Attempt), http.StatusSeeOther)
}

// came opens the attempt that an answer belongs to.
func (d *doorway) came(r *http.Request, state string) (k knock, ok bool) {
	cookie, err := r.Cookie(cookieOf(state))
	if err != nil {
		return knock{}, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return knock{}, false
	}
	text, err := d.seal.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(text, &k) != nil {
		return knock{}, false
	}
	return k, k.State == state && d.now().Before(k.Ends)
}

// signedIn takes who comes back from the provider.
func (c *Console) signedIn(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	state := q.Get("state")
	k, ok := c.access.door.came(r, state)
	again := []link{{"Sign in again", "/sign-in"}}
	if !ok {
		c.refuse(w, r, message{Status: http.StatusBadRequest, Title: "That sign-in did not begin here", Links: again,
			Text: "This browser was not sent to the identity provider by this console, or more than ten minutes ago.", Next: "Begin anew."})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieOf(state), Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	in, err := c.access.door.Admit(r.Context(), k.Attempt, Answer{state, q.Get("code"), q.Get("iss"), q.Get("error"), q.Get("error_description")})
	if err == nil && (in.Operator == "" || in.Operations == nil) {
		err = errors.New("the door admits nobody in particular")
	}
	if err != nil {
		c.log.WarnContext(r.Context(), "console", "did", "refuse to sign in", "err", err.Error())
		m := message{Status: http.StatusForbidden, Title: "You are not let in", Text: fmt.Sprintf("%s.", strings.TrimSuffix(err.Error(), ".")), Next: "Try again.", Links: again}
		if known, ok := errors.AsType[*NotAdmittedError](err); ok {
			m.Next = known.Next
		}
		c.refuse(w, r, m)
		return
	}
	ends := c.now().Add(sessionLife)
	if in.Ends.Before(ends) {
		ends = in.Ends
	}
	c.let(w, r, in.Operator, in.Operations, ends, k.To)
}

// signedOut stays until somebody wants to come back: the provider would let them in again
// at once.
func (c *Console) signedOut(w http.ResponseWriter, r *http.Request) {
	m := message{Status: http.StatusOK, Title: "You are signed out", Text: "The identity provider may still know you, and let you in again without asking.",
		Next: "On a machine that is not yours, sign out there too.", Links: []link{{"Sign in again", "/sign-in"}}}
	if out := c.access.door.LogoutURL(); out != "" {
		m.Links = append(m.Links, link{"Sign out at the identity provider", out})
	}
	c.refuse(w, r, m)
}
