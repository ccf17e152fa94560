package signin_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/signin"
	"mfaflow/pkg/sim/oidc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	redirect = "https://console.contoso.example/signed-in"
	client   = "console"
	secret   = "s3cr&t %"
	ada      = "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"
)

var attempt = signin.Attempt{State: "state-1", Nonce: "nonce-1", Verifier: "verifier-1-that-is-long-enough-to-be-one-0123456789"}

type world struct {
	testing.TB
	idp     *oidc.Provider
	browser *http.Client
	sut     *signin.Provider
}

func newWorld(t testing.TB, change ...func(*signin.Config)) *world {
	t.Helper()
	idp, err := oidc.Start(t.Context(), oidc.Options{
		Clients: []oidc.Client{{ID: client, Secret: secret, RedirectURIs: []string{redirect}}, {ID: "public", RedirectURIs: []string{redirect}}},
		People:  []oidc.Person{{Subject: ada, Name: "Ada", PreferredUsername: "ada@contoso.example"}, {Subject: "x1", Email: "ben@contoso.example"}, {Subject: "x2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(idp.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	w := &world{TB: t, idp: idp, browser: &http.Client{Transport: transport}}
	cfg := signin.Config{Issuer: idp.Issuer(), ClientID: client, ClientSecret: identity.NewSecret(secret), RedirectURL: redirect, Transport: transport}
	for _, c := range change {
		c(&cfg)
	}
	if w.sut, err = signin.Discover(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.sut.Close(); _ = idp.Close() })
	return w
}

// visit signs in at the provider and reads what the browser brings back.
func (w *world) visit(subject string) signin.Answer {
	w.Helper()
	back, err := oidc.Visit(w.Context(), w.browser, w.sut.URL(attempt), subject)
	if err != nil {
		w.Fatal(err)
	}
	if got := "https://" + back.Host + back.Path; got != redirect {
		w.Fatalf("sent back to %s", got)
	}
	q := back.Query()
	return signin.Answer{State: q.Get("state"), Code: q.Get("code"), Issuer: q.Get("iss"), Error: q.Get("error"), Description: q.Get("error_description")}
}

func TestSignIn(t *testing.T) {
	for _, public := range []bool{false, true} {
		w := newWorld(t, func(c *signin.Config) {
			if public {
				c.ClientID, c.ClientSecret = "public", identity.Secret{}
			}
		})
		for subject, name := range map[string]string{ada: "ada@contoso.example", "x1": "ben@contoso.example", "x2": "x2"} {
			person, err := w.sut.Finish(t.Context(), attempt, w.visit(subject))
			if err != nil || person.Subject != subject || person.Name != name || strings.Count(person.Token.Reveal(), ".") != 2 {
				t.Errorf("%s: %s %q, %v", subject, person.Subject, person.Name, err)
			}
		}
		// The provider's key changes while we run.
		if err := w.idp.Rotate(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.sut.Finish(t.Context(), attempt, w.visit(ada)); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
		if w.sut.LogoutURL() != w.idp.Issuer()+"/logout" {
			t.Errorf("logout at %s", w.sut.LogoutURL())
		}
	}
}

// An answer is taken once, by the browser that went, from the provider it went to.
func TestAnswersOfOthers(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change  func(*signin.Answer)
		attempt signin.Attempt
		want    error
	}{
		"another attempt":   {func(a *signin.Answer) { a.State = "state-2" }, attempt, signin.ErrUntrusted},
		"no state":          {func(a *signin.Answer) { a.State = "" }, signin.Attempt{}, signin.ErrUntrusted},
		"another provider":  {func(a *signin.Answer) { a.Issuer = "https://evil.example" }, attempt, signin.ErrUntrusted},
		"of nobody":         {func(a *signin.Answer) { a.Issuer = "" }, attempt, signin.ErrUntrusted},
		"no code":           {func(a *signin.Answer) { a.Code = "" }, attempt, signin.ErrUntrusted},
		"made up code":      {func(a *signin.Answer) { a.Code = "made-up" }, attempt, signin.ErrRefused},
		"another's nonce":   {nil, signin.Attempt{State: attempt.State, Nonce: "nonce-2", Verifier: attempt.Verifier}, signin.ErrUntrusted},
		"no nonce":          {nil, signin.Attempt{State: attempt.State, Verifier: attempt.Verifier}, signin.ErrUntrusted},
		"another's code":    {nil, signin.Attempt{State: attempt.State, Nonce: attempt.Nonce, Verifier: "verifier-2-that-is-long-enough-to-be-one-0123456789"}, signin.ErrRefused},
		"error of provider": {func(a *signin.Answer) { a.Error, a.Description = "server_error", "later" }, attempt, signin.ErrRefused},
	} {
		a := w.visit(ada)
		if c.change != nil {
			c.change(&a)
		}
		if person, err := w.sut.Finish(t.Context(), c.attempt, a); !errors.Is(err, c.want) || person.Subject != "" {
			t.Errorf("%s: %q, %v", name, person.Subject, err)
		}
	}
	a := w.visit(ada)
	if _, err := w.sut.Finish(t.Context(), attempt, a); err != nil {
		t.Fatal(err)
	}
	if _, err := w.sut.Finish(t.Context(), attempt, a); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a code twice: %v", err)
	}
	if _, err := w.sut.Finish(t.Context(), attempt, w.visit("nobody")); !errors.Is(err, signin.ErrRefused) || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("cancelled: %v", err)
	}
}

// A token is taken when the provider signed it, for us, now.
func TestTokensOfNoUse(t *testing.T) {
	w := newWorld(t)
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	for name, change := range map[string]func(map[string]any){
		"another issuer":       set("iss", "https://evil.example"),
		"another audience":     set("aud", "another"),
		"among several":        set("aud", []string{client, "another"}),
		"for another party":    func(c map[string]any) { c["aud"], c["azp"] = []string{client, "another"}, "another" },
		"expired":              set("exp", time.Now().Add(-time.Minute).Unix()),
		"without an end":       func(c map[string]any) { delete(c, "exp") },
		"not yet":              set("nbf", time.Now().Add(time.Hour).Unix()),
		"about nobody":         set("sub", ""),
		"claims of wrong kind": set("email", 7),
	} {
		w.idp.Change(change)
		if person, err := w.sut.Finish(t.Context(), attempt, w.visit(ada)); !errors.Is(err, signin.ErrUntrusted) || person.Subject != "" {
			t.Errorf("%s: %q, %v", name, person.Subject, err)
		}
	}
	w.idp.Change(func(c map[string]any) { c["aud"], c["azp"] = []string{client, "another"}, client })
	if _, err := w.sut.Finish(t.Context(), attempt, w.visit(ada)); err != nil {
		t.Errorf("for several, made for us: %v", err)
	}
	w.idp.Change(nil)
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, forge := range map[string]func(string) string{
		"none": func(string) string { return "" },
		"unsigned": func(token string) string {
			return part(`{"alg":"none"}`) + "." + strings.Split(token, ".")[1] + "."
		},
		"signed with the public key": func(token string) string {
			return part(`{"alg":"HS256"}`) + "." + strings.Split(token, ".")[1] + ".AAAA"
		},
		"another's body": func(token string) string {
			p := strings.Split(token, ".")
			return p[0] + "." + part(`{"iss":"`+w.idp.Issuer()+`","sub":"eve","aud":"console","nonce":"nonce-1","exp":9999999999}`) + "." + p[2]
		},
	} {
		w.idp.Forge(forge)
		if person, err := w.sut.Finish(t.Context(), attempt, w.visit(ada)); !errors.Is(err, signin.ErrUntrusted) || person.Subject != "" {
			t.Errorf("%s: %q, %v", name, person.Subject, err)
		}
	}
}

// No token that differs from the one that was signed is taken, and none is quoted.
func FuzzToken(f *testing.F) {
	outer := newWorld(f)
	f.Add(3, byte(1))
	f.Add(-1, byte(255))
	f.Fuzz(func(t *testing.T, at int, flip byte) {
		w := *outer
		w.TB = t
		var sent string
		w.idp.Forge(func(token string) string {
			b := []byte(token)
			i := ((at % len(b)) + len(b)) % len(b)
			b[i] ^= flip
			sent = string(b)
			return sent
		})
		changed := flip != 0
		person, err := w.sut.Finish(t.Context(), attempt, w.visit(ada))
		if err == nil && changed {
			// The last letter of base64 has bits that mean nothing.
			parts := strings.Split(sent, ".")
			if len(parts) != 3 || person.Subject != ada {
				t.Errorf("%q was taken for %s", sent, person.Subject)
			}
			return
		}
		if err != nil && strings.Contains(err.Error(), strings.Split(sent, ".")[0]) && len(strings.Split(sent, ".")[0]) > 20 {
			t.Errorf("the token is in the error: %v", err)
		}
	})
}

func TestProviderInTrouble(t *testing.T) {
	w := newWorld(t)
	a := w.visit(ada)
	w.idp.Fail(http.StatusBadGateway)
	if _, err := w.sut.Finish(t.Context(), attempt, a); !errors.Is(err, signin.ErrUnreachable) {
		t.Errorf("down: %v", err)
	}
	w.idp.Fail(0)
	if _, err := w.sut.Finish(t.Context(), attempt, a); err != nil {
		t.Errorf("back: %v", err)
	}
	// Who is not registered as they say gets nowhere.
	for name, change := range map[string]func(*signin.Config){
		"wrong secret": func(c *signin.Config) { c.ClientSecret = identity.NewSecret("wrong") },
		"no secret":    func(c *signin.Config) { c.ClientSecret = identity.Secret{} },
	} {
		w := newWorld(t, change)
		if _, err := w.sut.Finish(t.Context(), attempt, w.visit(ada)); !errors.Is(err, signin.ErrRefused) || !strings.Contains(err.Error(), "invalid_client") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is published must be of a provider, and of the one that was asked for.
func TestDiscovery(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(strings.ReplaceAll(answer, "HERE", "http://"+r.Host)))
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		answer string
		ok     bool
	}{
		"fine":        {`{"issuer": "HERE", "authorization_endpoint": "HERE/a", "token_endpoint": "HERE/t", "jwks_uri": "HERE/k"}`, true},
		"another's":   {`{"issuer": "https://evil.example", "authorization_endpoint": "HERE/a", "token_endpoint": "HERE/t", "jwks_uri": "HERE/k"}`, false},
		"plain PKCE":  {`{"issuer": "HERE", "authorization_endpoint": "HERE/a", "token_endpoint": "HERE/t", "jwks_uri": "HERE/k", "code_challenge_methods_supported": ["plain"]}`, false},
		"no provider": {`<html>`, false},
	} {
		answer = c.answer
		p, err := signin.Discover(t.Context(), signin.Config{Issuer: server.URL, ClientID: client, RedirectURL: redirect, Transport: &http.Transport{DisableKeepAlives: true}})
		if (err == nil) != c.ok || err != nil && !errors.Is(err, signin.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			u, err := url.Parse(p.URL(attempt))
			if q := u.Query(); err != nil || q.Get("code_challenge_method") != "S256" || q.Get("state") != attempt.State || q.Get("nonce") != attempt.Nonce || strings.Contains(u.RawQuery, attempt.Verifier) {
				t.Errorf("%s: %v", u, err)
			}
		}
	}
}
