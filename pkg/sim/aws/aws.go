// Package aws is the part of AWS in this process that says who somebody is: the Security
// Token Service, which gives people credentials of a role for a token of an OpenID Connect
// provider, and roles a token that says which role it is; the function URL with AuthType
// AWS_IAM, which checks who signed a request before it invokes a function; and Secrets
// Manager and S3, as far as a role reads a secret and keeps files. All are served over TLS on loopback.
//
// Sources, of docs.aws.amazon.com:
//
//	STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
//	STS/latest/APIReference/API_GetWebIdentityToken.html
//	secretsmanager/latest/apireference/API_GetSecretValue.html
//	AmazonS3/latest/API/API_GetObject.html, API_PutObject.html and API_ListObjectsV2.html
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
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
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
	// Secrets are the texts in Secrets Manager by ARN.
	Secrets map[string]string
	// Buckets are the names of the buckets in S3.
	Buckets []string
	// Allowed are what roles may do, by their ARN: sts:GetWebIdentityToken, and with the
	// resource after a space secretsmanager:GetSecretValue (ARN of the secret),
	// s3:GetObject, s3:PutObject and s3:ListBucket (name of the bucket).
	Allowed map[string][]string
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

	signing *rsa.PrivateKey // of the tokens that say which role asks

	mu       sync.Mutex
	sessions map[string]session // by access key
	assumed  int
	objects  map[string][]byte // by bucket/key
	slow     int               // requests to S3 that are yet to be told to slow down
	// conflicts are the conditional writes that are yet to meet another one.
	conflicts int
	closed    bool // outbound web identity federation is switched off
	claims    func(map[string]any)
}

// session is what an access key stands for.
type session struct {
	arn, role, secret, token, id string
	expires                      time.Time
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
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	a := &Account{Options: o, signing: signing, ca: ca, url: "https://" + l.Addr().String(), done: make(chan struct{}), sessions: map[string]session{}, objects: map[string][]byte{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sts/{$}", a.sts)
	mux.HandleFunc("POST /sts", a.sts)
	mux.HandleFunc("POST /secretsmanager", a.secretsManager)
	mux.HandleFunc("/s3/", a.bucket)
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

// SecretsURL is the endpoint of Secrets Manager (AWS_ENDPOINT_URL_SECRETS_MANAGER).
func (a *Account) SecretsURL() string { return a.url + "/secretsmanager" }

// S3URL is the endpoint of S3 (AWS_ENDPOINT_URL_S3), with the bucket in the path.
func (a *Account) S3URL() string { return a.url + "/s3" }

// Conflict answers that many conditional writes as S3 does while another write of the same
// key is under way.
func (a *Account) Conflict(requests int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conflicts = requests
}

// SlowDown has S3 refuse the next requests for being too many.
func (a *Account) SlowDown(requests int) { a.mu.Lock(); defer a.mu.Unlock(); a.slow = requests }

// Object is what a bucket has under a key.
func (a *Account) Object(bucket, key string) ([]byte, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	data, ok := a.objects[bucket+"/"+key]
	return data, ok
}

// Issuer is iss of the tokens that say which role asks.
func (a *Account) Issuer() string {
	return "https://7f1d5b7a-5a43-4c0e-9a55-0d1b4a4c6e11.tokens.sts.global.api.aws"
}

// PublicKey is the key of those tokens as PEM, as a verifier finds it at the issuer.
func (a *Account) PublicKey() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(a.signing.Public())
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

// Federate switches outbound web identity federation of the account on or off; it is on at
// the start.
func (a *Account) Federate(on bool) { a.mu.Lock(); defer a.mu.Unlock(); a.closed = !on }

// Change alters the claims of the tokens that follow; nil ends it.
func (a *Account) Change(claims func(map[string]any)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims = claims
}

// FunctionURL is where the function answers. It is no name of the service's, so whoever
// signs must be told the region.
func (a *Account) FunctionURL() string { return a.url }

// Assumed is how many sessions were given.
func (a *Account) Assumed() int { a.mu.Lock(); defer a.mu.Unlock(); return a.assumed }

// Grant makes credentials of a session, as another way of signing in would.
func (a *Account) Grant(sessionARN string, life time.Duration) (accessKey, secret, token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grant("", sessionARN, life)
}

// Run makes credentials of a role for a function, as Lambda does.
func (a *Account) Run(roleARN, function string, life time.Duration) (accessKey, secret, token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grant(roleARN, a.sessionARN(roleARN, function), life)
}

func (a *Account) sessionARN(roleARN, name string) string {
	return "arn:aws:sts::" + a.Account + ":assumed-role/" + roleARN[strings.LastIndex(roleARN, "/")+1:] + "/" + name
}

func (a *Account) grant(roleARN, sessionARN string, life time.Duration) (accessKey, secret, token string) {
	accessKey, secret, token = "ASIA"+rand.Text()[:16], rand.Text(), rand.Text()+rand.Text()
	a.sessions[accessKey] = session{sessionARN, roleARN, secret, token, "AROA" + rand.Text()[:17], a.Now().Add(life)}
	return accessKey, secret, token
}

var errNoSignature = errors.New("the request has no signature")
