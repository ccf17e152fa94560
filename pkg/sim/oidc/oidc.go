// Package oidc is an OpenID Connect provider in this process: it publishes its
// configuration and keys over TLS on loopback, lets a person be chosen where a real one
// would ask for a password, and gives tokens for codes. It answers as OpenID Connect Core
// 1.0, RFC 6749, RFC 7636 (PKCE) and RFC 9207 (iss) say, errors included.
//
// It signs with the standard library alone, so that whoever verifies is checked against
// something else.
package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/sim/certificate"
)

// Person is somebody who can sign in.
type Person struct {
	// Subject is sub: as a provider chooses it, which is rarely a name.
	Subject string
	// Name, Email and PreferredUsername are the claims of those names; empty leaves out.
	Name, Email, PreferredUsername string
}

// Client is an application that is registered. Without a secret it is a public one.
type Client struct {
	ID, Secret   string
	RedirectURIs []string
}

// Options of a provider.
type Options struct {
	Clients []Client
	People  []Person
	// TokenLife is how long an identity token is valid; zero is an hour.
	TokenLife time.Duration
	// Now is the time of day; nil is time.Now.
	Now func() time.Time
}

// codeLife is how long a code can be exchanged: RFC 6749, section 4.1.2, at most 10 minutes.
const codeLife = time.Minute

// Provider is a running provider. Its methods are safe for concurrent use.
type Provider struct {
	clients []Client
	people  []Person
	life    time.Duration
	now     func() time.Time
	issuer  string
	ca      []byte
	server  *http.Server
	done    chan struct{}

	mu      sync.Mutex
	keys    []key // the last one signs
	codes   map[string]*grant
	claims  func(map[string]any)
	forge   func(token string) string
	down    int
	granted int
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

// grant is what a code stands for.
type grant struct {
	client, redirect, nonce, challenge string
	person                             Person
	expires                            time.Time
	used                               bool
}

// Start serves on a free loopback port until Close.
func Start(ctx context.Context, o Options) (*Provider, error) {
	p := &Provider{clients: o.Clients, people: o.People, life: o.TokenLife, now: o.Now, done: make(chan struct{}), codes: map[string]*grant{}}
	if p.life == 0 {
		p.life = time.Hour
	}
	if p.now == nil {
		p.now = time.Now
	}
	if err := p.Rotate(); err != nil {
		return nil, err
	}
	ca, config, err := certificate.New("mfaflow OpenID Connect simulator")
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.ca, p.issuer = ca, "https://"+l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	mux.HandleFunc("GET /keys", p.publish)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.choose)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /logout", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "You are signed out.") })
	p.server = &http.Server{Handler: p.guard(mux), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(tls.NewListener(l, config)) // ends with Close
	}()
	return p, nil
}

// Close ends the provider.
func (p *Provider) Close() error {
	err := p.server.Close()
	<-p.done
	return err
}

// Issuer is iss of its tokens, and the URL under which it is found.
func (p *Provider) Issuer() string { return p.issuer }

// CAPEM is the certificate authority that its clients must trust.
func (p *Provider) CAPEM() []byte { return bytes.Clone(p.ca) }

// Register adds an application.
func (p *Provider) Register(c Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients = append(p.clients, c)
}

// Rotate makes a new key to sign with and forgets those before the last one.
func (p *Provider) Rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys[max(len(p.keys)-1, 0):], key{"key-" + rand.Text()[:8], private})
	return nil
}

// Change alters the claims of the tokens that follow; nil ends it.
func (p *Provider) Change(claims func(map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = claims
}

// Forge replaces identity tokens on their way; nil ends it.
func (p *Provider) Forge(token func(string) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forge = token
}

// Fail makes every endpoint answer a status; zero ends it.
func (p *Provider) Fail(status int) { p.mu.Lock(); defer p.mu.Unlock(); p.down = status }

// Granted is how many codes were exchanged for tokens.
func (p *Provider) Granted() int { p.mu.Lock(); defer p.mu.Unlock(); return p.granted }

func (p *Provider) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		status := p.down
		p.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// configuration is OpenID Connect Discovery 1.0, section 3.
func (p *Provider) configuration(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.issuer,
		"authorization_endpoint":                         p.issuer + "/authorize",
		"token_endpoint":                                 p.issuer + "/token",
		"jwks_uri":                                       p.issuer + "/keys",
		"end_session_endpoint":                           p.issuer + "/logout",
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"pairwise"},
		"id_token_signing_alg_values_supported":          []string{"RS256"},
		"scopes_supported":                               []string{"openid", "profile", "email"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post", "none"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func (p *Provider) publish(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set []map[string]string
	for _, k := range p.keys {
		set = append(set, map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
			"n": encode(k.private.N.Bytes()), "e": encode(big.NewInt(int64(k.private.E)).Bytes()),
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": set})
}

// client is a registered application; nil for none.
func (p *Provider) client(id string) *Client {
	i := slices.IndexFunc(p.clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return &p.clients[i]
}

// asked checks an authorization request. A client or address that is not known gets no
// redirect (RFC 6749, section 4.1.2.1); anything else is told to the client.
func (p *Provider) asked(q url.Values) (c *Client, problem, description string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c = p.client(q.Get("client_id"))
	switch {
	case c == nil || !slices.Contains(c.RedirectURIs, q.Get("redirect_uri")):
		return nil, "", ""
	case q.Get("response_type") != "code":
		return c, "unsupported_response_type", "response_type must be code."
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return c, "invalid_scope", "The scope openid is missing."
	case q.Get("code_challenge") == "" && c.Secret == "":
		return c, "invalid_request", "A public client needs PKCE."
	case q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		return c, "invalid_request", "code_challenge_method must be S256."
	}
	return c, "", ""
}

var page = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><title>Sign in</title><h1>Who are you?</h1>
<form method="post">{{range $n, $v := .Query}}{{range $v}}<input type="hidden" name="{{$n}}" value="{{.}}">{{end}}{{end}}
{{range .People}}<p><button name="person" value="{{.Subject}}">{{.Name}}</button></p>{{end}}
<p><button name="person" value="">Cancel</button></p></form></html>`))

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c, problem, description := p.asked(q)
	switch {
	case c == nil:
		http.Error(w, "The client or its redirect_uri is not registered.", http.StatusBadRequest)
	case problem != "":
		p.answer(w, r, q, url.Values{"error": {problem}, "error_description": {description}})
	case q.Get("prompt") == "none":
		p.answer(w, r, q, url.Values{"error": {"login_required"}, "error_description": {"Somebody has to sign in."}})
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, map[string]any{"Query": map[string][]string(q), "People": p.people})
	}
}

// choose is the person's word on the page.
func (p *Provider) choose(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	q := r.PostForm
	c, problem, _ := p.asked(q)
	if c == nil || problem != "" {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	i := slices.IndexFunc(p.people, func(person Person) bool { return person.Subject == q.Get("person") })
	if i < 0 {
		p.answer(w, r, q, url.Values{"error": {"access_denied"}, "error_description": {"The user refused."}})
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = &grant{
		client: c.ID, redirect: q.Get("redirect_uri"), nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), person: p.people[i], expires: p.now().Add(codeLife),
	}
	p.mu.Unlock()
	p.answer(w, r, q, url.Values{"code": {code}})
}

// answer sends the browser back to the client.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, q, with url.Values) {
	to, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	query := to.Query()
	maps.Copy(query, with)
	query.Set("iss", p.issuer)
	if state := q.Get("state"); state != "" {
		query.Set("state", state)
	}
	to.RawQuery = query.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// token is RFC 6749, sections 2.3.1, 4.1.3 and 5.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, problem, description string) {
		writeJSON(w, status, map[string]string{"error": problem, "error_description": description})
	}
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "invalid_request", "The form is malformed.")
		return
	}
	id, secret, basic := r.BasicAuth()
	if basic { // form-encoded first, as section 2.3.1 says
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.client(id)
	if c == nil || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) != 1 {
		if basic {
			w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		}
		refuse(http.StatusUnauthorized, "invalid_client", "The client is not known by this secret.")
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be authorization_code.")
		return
	}
	g := p.codes[r.PostForm.Get("code")]
	verifier := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case g == nil || g.used || g.client != c.ID || !p.now().Before(g.expires):
		refuse(http.StatusBadRequest, "invalid_grant", "The code is unknown, used or expired.")
	case g.redirect != r.PostForm.Get("redirect_uri"):
		refuse(http.StatusBadRequest, "invalid_grant", "redirect_uri is not that of the code.")
	case g.challenge != "" && g.challenge != encode(verifier[:]):
		refuse(http.StatusBadRequest, "invalid_grant", "code_verifier does not match.")
	default:
		g.used = true
		identity, err := p.sign(c.ID, g)
		if err != nil {
			refuse(http.StatusInternalServerError, "server_error", err.Error())
			return
		}
		if p.forge != nil {
			identity = p.forge(identity)
		}
		p.granted++
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": rand.Text(), "token_type": "Bearer", "expires_in": int(p.life.Seconds()), "scope": "openid profile email", "id_token": identity,
		})
	}
}

// sign makes an identity token (OpenID Connect Core, section 2); the lock is held.
func (p *Provider) sign(client string, g *grant) (string, error) {
	now := p.now()
	claims := map[string]any{"iss": p.issuer, "sub": g.person.Subject, "aud": client, "iat": now.Unix(), "exp": now.Add(p.life).Unix()}
	for name, value := range map[string]string{"nonce": g.nonce, "name": g.person.Name, "email": g.person.Email, "preferred_username": g.person.PreferredUsername} {
		if value != "" {
			claims[name] = value
		}
	}
	if p.claims != nil {
		p.claims(claims)
	}
	return p.signed(claims)
}

// Token is a token with these claims, signed by the provider's key.
func (p *Provider) Token(claims map[string]any) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signed(claims)
}

// Visit goes where a browser is sent, chooses the person with the subject (none cancels),
// and returns where the browser is sent back to.
func Visit(ctx context.Context, client *http.Client, at, subject string) (back *url.URL, err error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	form := u.Query()
	form.Set("person", subject)
	stay := *client
	stay.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	send := func(method, at string, form url.Values) (status int, to string, err error) {
		r, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(form.Encode()))
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := stay.Do(r)
		if err != nil {
			return 0, "", err
		}
		return resp.StatusCode, resp.Header.Get("Location"), resp.Body.Close()
	}
	status, to, err := send(http.MethodGet, at, nil)
	if err == nil && status == http.StatusOK {
		u.RawQuery = ""
		status, to, err = send(http.MethodPost, u.String(), form)
	}
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusFound:
		return nil, fmt.Errorf("the provider answers %d", status)
	}
	return url.Parse(to)
}

func (p *Provider) signed(claims map[string]any) (string, error) {
	k := p.keys[len(p.keys)-1]
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": k.id})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := encode(header) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.Join(errors.New("sign a token"), err)
	}
	return text + "." + encode(signature), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the asker may be gone
}
