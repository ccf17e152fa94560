// Package signin lets people sign in at an OpenID Connect provider: the authorization code
// flow with PKCE, and the verification of the identity token that comes of it.
//
// It is the only importer of go-oidc and oauth2. It knows no page, no session and no cloud:
// what a token is good for is for its caller. It keeps no token.
package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"mfaflow/pkg/identity"
)

var (
	// ErrRefused: the provider, or the person there, said no.
	ErrRefused = errors.New("the sign-in was refused")
	// ErrUntrusted: what came back proves nothing, or is not for us.
	ErrUntrusted = errors.New("the identity provider's answer cannot be trusted")
	// ErrUnreachable: the provider does not answer, or not as a provider does.
	ErrUnreachable = errors.New("the identity provider does not answer as it should")
)

// patience is how long the provider may take.
const patience = 10 * time.Second

// Config says where people sign in, and as what the application is registered there.
type Config struct {
	// Issuer is the URL under which the provider publishes its configuration.
	Issuer   string
	ClientID string
	// ClientSecret is empty for a public client; PKCE is used in any case.
	ClientSecret identity.Secret
	// RedirectURL is where the provider sends the browser back to.
	RedirectURL string
	// Transport reaches the provider; nil is the default one.
	Transport http.RoundTripper
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Provider is an OpenID Connect provider. It is safe for concurrent use.
type Provider struct {
	issuer   string
	iss      bool // the provider says in its answers who it is (RFC 9207)
	logout   string
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	http     *http.Client
}

// Attempt is one person's way to the provider and back. Its three values are random, new
// for each, and known to nobody but the browser's own session.
type Attempt struct{ State, Nonce, Verifier string }

// Person is who came back.
type Person struct {
	// Subject is sub, which alone says who it is.
	Subject string
	// Name is for the eye: what the provider calls the person.
	Name string
	// Token is the identity token, good for whoever trusts the provider until it expires.
	Token identity.Secret
}

// Discover reads the configuration of the provider: ErrUnreachable. The issuer in it must
// be the one that was asked for.
func Discover(ctx context.Context, c Config) (*Provider, error) {
	p := &Provider{issuer: c.Issuer, http: &http.Client{Transport: c.Transport, Timeout: patience}}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	var more struct {
		Logout string   `json:"end_session_endpoint"`
		Iss    bool     `json:"authorization_response_iss_parameter_supported"`
		PKCE   []string `json:"code_challenge_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	// Some providers support PKCE without saying so; one that says otherwise does not.
	if len(more.PKCE) > 0 && !slices.Contains(more.PKCE, "S256") {
		return nil, fmt.Errorf("%w: it does not support PKCE with S256", ErrUnreachable)
	}
	p.iss, p.logout = more.Iss, more.Logout
	p.oauth = oauth2.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), RedirectURL: c.RedirectURL, Endpoint: found.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}
	if p.oauth.ClientSecret == "" {
		p.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client has nothing to put into a header
	}
	// The keys are fetched whenever a token names a new one, long after ctx.
	p.verifier = found.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), p.http), &oidc.Config{ClientID: c.ClientID, Now: c.Now})
	return p, nil
}

// URL is where the browser goes to sign in.
func (p *Provider) URL(a Attempt) string {
	return p.oauth.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier))
}

// LogoutURL is where a person ends the session at the provider; empty when there is none.
func (p *Provider) LogoutURL() string { return p.logout }

// Answer is what the browser brings back.
type Answer struct{ State, Code, Issuer, Error, Description string }

// Finish makes sure that the answer belongs to the attempt, exchanges its code and verifies
// who it is about: ErrRefused, ErrUntrusted, ErrUnreachable. A code works once.
func (p *Provider) Finish(ctx context.Context, a Attempt, with Answer) (Person, error) {
	switch {
	case a.State == "" || subtle.ConstantTimeCompare([]byte(a.State), []byte(with.State)) != 1:
		return Person{}, fmt.Errorf("%w: it belongs to another sign-in", ErrUntrusted)
	case with.Issuer != "" && with.Issuer != p.issuer, p.iss && with.Issuer == "":
		return Person{}, fmt.Errorf("%w: it comes from another provider", ErrUntrusted)
	case with.Error != "":
		return Person{}, fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(with.Error+" "+with.Description))
	case with.Code == "":
		return Person{}, fmt.Errorf("%w: it has no code", ErrUntrusted)
	}
	ctx = oidc.ClientContext(ctx, p.http)
	tokens, err := p.oauth.Exchange(ctx, with.Code, oauth2.VerifierOption(a.Verifier))
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refusal.ErrorCode != "" {
		return Person{}, fmt.Errorf("%w: %s %s", ErrRefused, refusal.ErrorCode, refusal.ErrorDescription)
	} else if err != nil {
		return Person{}, fmt.Errorf("%w: the code was not exchanged", ErrUnreachable) // the error may quote the answer, which may hold tokens
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return Person{}, fmt.Errorf("%w: there is no identity token in it", ErrUntrusted)
	}
	token, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return Person{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	var is struct {
		Preferred string `json:"preferred_username"`
		Email     string `json:"email"`
		Name      string `json:"name"`
		Party     string `json:"azp"`
	}
	err = token.Claims(&is)
	switch {
	case err != nil:
		return Person{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	case token.Subject == "":
		return Person{}, fmt.Errorf("%w: the token is about nobody", ErrUntrusted)
	case subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(a.Nonce)) != 1:
		return Person{}, fmt.Errorf("%w: the token was made for another sign-in", ErrUntrusted)
	case len(token.Audience) > 1 && is.Party != p.oauth.ClientID: // OpenID Connect Core, section 3.1.3.7
		return Person{}, fmt.Errorf("%w: the token is for several, and not made for us", ErrUntrusted)
	}
	person := Person{Subject: token.Subject, Token: identity.NewSecret(raw)}
	for _, name := range []string{is.Preferred, is.Email, is.Name, token.Subject} {
		if person.Name == "" {
			person.Name = name
		}
	}
	return person, nil
}

// Close releases idle connections.
func (p *Provider) Close() { p.http.CloseIdleConnections() }
