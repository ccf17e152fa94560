// Package aws is the part of AWS in this process that lets people in: the Security Token
// Service, which gives credentials of a role for a token of an OpenID Connect provider, and
// the function URL with AuthType AWS_IAM, which checks who signed a request before it
// invokes a function. Both are served over TLS on loopback.
//
// Sources, of docs.aws.amazon.com:
//
//	STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
//	IAM/latest/UserGuide/create-signed-request.html
//	IAM/latest/UserGuide/reference_policies_elements_condition.html
//	lambda/latest/dg/urls-invocation.html and urls-auth.html
//
// It imports the standard library only, so that signatures made by the SDK are checked
// against something else.
package aws

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"mfaflow/pkg/sim/certificate"
)

// Invoke runs a function on an event and returns its answer.
type Invoke func(ctx context.Context, event []byte) ([]byte, error)

// Role is a role that can be assumed with a token.
type Role struct {
	ARN string
	// Trust is its trust policy, as JSON.
	Trust string
	// MaxSession is its maximum session duration; zero is the default of an hour.
	MaxSession time.Duration
}

// Options of an account.
type Options struct {
	// Account is its number.
	Account string
	Region  string
	Roles   []Role
	// Providers are the identity providers of the account by the URL of the issuer, with
	// their audiences.
	Providers map[string][]string
	// Keys fetches the keys of providers.
	Keys *http.Client
	// Function is what the function URL invokes.
	Function Invoke
	// Now is the time of day; nil is time.Now.
	Now func() time.Time
}

// Account is a running account. Its methods are safe for concurrent use.
type Account struct {
	Options
	ca     []byte
	url    string
	server *http.Server
	done   chan struct{}

	mu       sync.Mutex
	sessions map[string]session // by access key
	assumed  int
}

// session is what an access key stands for.
type session struct {
	arn, secret, token, id string
	expires                time.Time
}

// Start serves on a free loopback port until Close.
func Start(ctx context.Context, o Options) (*Account, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	ca, config, err := certificate.New("mfaflow AWS simulator")
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &Account{Options: o, ca: ca, url: "https://" + l.Addr().String(), done: make(chan struct{}), sessions: map[string]session{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sts/{$}", a.sts)
	mux.HandleFunc("POST /sts", a.sts)
	mux.HandleFunc("/", a.functionURL)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(a.done)
		_ = a.server.Serve(tls.NewListener(l, config)) // ends with Close
	}()
	return a, nil
}

// Close ends the account.
func (a *Account) Close() error {
	err := a.server.Close()
	<-a.done
	if a.Keys != nil {
		a.Keys.CloseIdleConnections()
	}
	return err
}

// CAPEM is the certificate authority that clients must trust.
func (a *Account) CAPEM() []byte { return bytes.Clone(a.ca) }

// STSURL is the endpoint of the Security Token Service (AWS_ENDPOINT_URL_STS).
func (a *Account) STSURL() string { return a.url + "/sts" }

// FunctionURL is where the function answers. It is no name of the service's, so whoever
// signs must be told the region.
func (a *Account) FunctionURL() string { return a.url }

// Assumed is how many sessions were given.
func (a *Account) Assumed() int { a.mu.Lock(); defer a.mu.Unlock(); return a.assumed }

// Grant makes credentials of a session, as another way of signing in would.
func (a *Account) Grant(sessionARN string, life time.Duration) (accessKey, secret, token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grant(sessionARN, life)
}

func (a *Account) grant(sessionARN string, life time.Duration) (accessKey, secret, token string) {
	accessKey, secret, token = "ASIA"+rand.Text()[:16], rand.Text(), rand.Text()+rand.Text()
	a.sessions[accessKey] = session{sessionARN, secret, token, "AROA" + rand.Text()[:17], a.Now().Add(life)}
	return accessKey, secret, token
}

var errNoSignature = errors.New("the request has no signature")
