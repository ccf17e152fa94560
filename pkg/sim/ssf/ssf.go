// Package ssf is a transmitter of OpenID Shared Signals in this process: it publishes
// its metadata and keys over TLS on loopback, signs Security Event Tokens, pushes them
// (RFC 8935) and lets them be polled (RFC 8936).
//
// It signs with the standard library alone, so that whoever verifies is checked against
// something else.
package ssf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/sim/certificate"
)

// Schemas is the beginning of the URIs of event types.
const Schemas = "https://schemas.openid.net/secevent/"

// Options of a transmitter.
type Options struct {
	// Audience is aud of its tokens.
	Audience string
	// Algorithm is RS256, PS256 or ES256; empty is RS256.
	Algorithm string
	// Key is the first key to sign with, of the algorithm; nil makes one.
	Key crypto.Signer
	// Now is the time of day; nil is time.Now.
	Now func() time.Time
}

// Transmitter is a running transmitter. Its methods are safe for concurrent use.
type Transmitter struct {
	audience  string
	algorithm string
	now       func() time.Time
	url       string
	token     string // what receivers poll with
	ca        []byte
	server    *http.Server
	done      chan struct{}

	mu        sync.Mutex
	signer    key
	published []key
	keysFail  int
	keysRead  int
	pollFail  int
	serial    int
	waiting   []waiting
	errors    map[string]SetError
	polls     []Poll
}

type key struct {
	id      string
	private crypto.Signer
}

type waiting struct{ id, token string }

// SetError is what a receiver says of a token that it refuses.
type SetError struct {
	Err         string `json:"err"`
	Description string `json:"description"`
}

// Poll is one request of a receiver.
type Poll struct {
	MaxEvents         *int                `json:"maxEvents"`
	ReturnImmediately bool                `json:"returnImmediately"`
	Ack               []string            `json:"ack"`
	SetErrs           map[string]SetError `json:"setErrs"`
}

// Start serves on a free loopback port until Close.
func Start(ctx context.Context, o Options) (*Transmitter, error) {
	t := &Transmitter{
		audience: o.Audience, algorithm: o.Algorithm, now: o.Now, token: rand.Text(), done: make(chan struct{}), errors: map[string]SetError{},
	}
	if t.algorithm == "" {
		t.algorithm = "RS256"
	}
	if t.now == nil {
		t.now = time.Now
	}
	if o.Key != nil {
		t.use(o.Key)
	} else if err := t.Rotate(); err != nil {
		return nil, err
	}
	ca, config, err := certificate.New("mfaflow SSF simulator")
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t.ca, t.url = ca, "https://"+l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ssf-configuration", t.metadata)
	mux.HandleFunc("GET /keys", t.keys)
	mux.HandleFunc("POST /poll", t.poll)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(t.done)
		_ = t.server.Serve(tls.NewListener(l, config)) // ends with Close
	}()
	return t, nil
}

// Close ends the transmitter.
func (t *Transmitter) Close() error {
	err := t.server.Close()
	<-t.done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Issuer is iss of its tokens, and the URL under which it is found.
func (t *Transmitter) Issuer() string { return t.url }

// KeysURL is jwks_uri of its metadata.
func (t *Transmitter) KeysURL() string { return t.url + "/keys" }

// PollURL is the endpoint_url of a stream with poll delivery.
func (t *Transmitter) PollURL() string { return t.url + "/poll" }

// PollToken is what receivers poll with, as bearer token.
func (t *Transmitter) PollToken() string { return t.token }

// CAPEM is the certificate authority that its clients must trust.
func (t *Transmitter) CAPEM() []byte { return bytes.Clone(t.ca) }

// Rotate makes a new key to sign with. Older ones stay published until Withdraw.
func (t *Transmitter) Rotate() error {
	var private crypto.Signer
	var err error
	if t.algorithm == "ES256" {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	t.use(private)
	return nil
}

func (t *Transmitter) use(private crypto.Signer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serial++
	t.signer = key{fmt.Sprintf("key-%d", t.serial), private}
	t.published = append(t.published, t.signer)
}

// Withdraw publishes the newest key only.
func (t *Transmitter) Withdraw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.published = t.published[len(t.published)-1:]
}

// FailKeys makes the keys endpoint answer a status; zero ends it.
func (t *Transmitter) FailKeys(status int) { t.mu.Lock(); defer t.mu.Unlock(); t.keysFail = status }

// FailPolls makes polls answer a status; zero ends it.
func (t *Transmitter) FailPolls(status int) { t.mu.Lock(); defer t.mu.Unlock(); t.pollFail = status }

// KeysRead is how often the keys were asked for.
func (t *Transmitter) KeysRead() int { t.mu.Lock(); defer t.mu.Unlock(); return t.keysRead }

// PublicKey is the key in use, as a receiver could put it into a shared secret.
func (t *Transmitter) PublicKey() crypto.PublicKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signer.private.Public()
}

// Claims are those of one event about a subject, complete and current. A test may spoil
// them.
func (t *Transmitter) Claims(typ string, subject, event map[string]any) map[string]any {
	now := t.now()
	claims := map[string]any{
		"iss": t.url, "aud": t.audience, "iat": now.Unix(), "jti": rand.Text(), "events": map[string]any{Schemas + typ: event},
	}
	if subject != nil {
		claims["sub_id"] = subject
	}
	return claims
}

// Header is that of its tokens. A test may spoil it.
func (t *Transmitter) Header() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	return map[string]any{"typ": "secevent+jwt", "alg": t.algorithm, "kid": t.signer.id}
}

// Sign makes a token in compact form with the newest key. The header says what the test
// wants it to say; the signature is that of the transmitter's algorithm.
func (t *Transmitter) Sign(header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return t.SignRaw(h, c)
}

// SignRaw is Sign for bytes that need not be JSON.
func (t *Transmitter) SignRaw(header, claims []byte) (string, error) {
	t.mu.Lock()
	private := t.signer.private
	t.mu.Unlock()
	encode := base64.RawURLEncoding.EncodeToString
	content := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(content))
	var signature []byte
	var err error
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		// RFC 7518 section 3.4: r and s, 32 bytes each.
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, k, digest[:]); err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case *rsa.PrivateKey:
		if t.algorithm == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
		}
	}
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return content + "." + encode(signature), nil
}

// Token is a good token of one event.
func (t *Transmitter) Token(typ string, subject, event map[string]any) (string, error) {
	return t.Sign(t.Header(), t.Claims(typ, subject, event))
}

// Answer is what a receiver answers to a push.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Push delivers a token (RFC 8935 section 2.1). authorization is shown if it is set.
func (t *Transmitter) Push(ctx context.Context, client *http.Client, url, authorization, token string) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(token))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Accept", "application/json")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	resp, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return Answer{resp.StatusCode, resp.Header, string(body)}, err
}

// Queue keeps a token for the next poll, and after it until it is acknowledged.
func (t *Transmitter) Queue(jti, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, waiting{jti, token})
}

// Waiting are the ids of the tokens that nobody has acknowledged or refused.
func (t *Transmitter) Waiting() (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.waiting {
		ids = append(ids, w.id)
	}
	return ids
}

// Refused are the tokens that a receiver refused, by id.
func (t *Transmitter) Refused() map[string]SetError {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]SetError{}
	for id, e := range t.errors {
		all[id] = e
	}
	return all
}

// Polls are the requests so far.
func (t *Transmitter) Polls() []Poll {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Poll(nil), t.polls...)
}

func (t *Transmitter) metadata(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"spec_version": "1_0", "issuer": t.url, "jwks_uri": t.KeysURL(),
		"delivery_methods_supported": []string{"urn:ietf:rfc:8935", "urn:ietf:rfc:8936"},
	})
}

func (t *Transmitter) keys(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keysRead++
	if t.keysFail != 0 {
		http.Error(w, "out of order", t.keysFail)
		return
	}
	set, err := t.keySet()
	if err != nil {
		http.Error(w, "no key", http.StatusInternalServerError)
		return
	}
	answer(w, set)
}

// KeySet is the JSON Web Key Set that it publishes.
func (t *Transmitter) KeySet() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	set, err := t.keySet()
	if err != nil {
		return nil, err
	}
	return json.Marshal(set)
}

func (t *Transmitter) keySet() (map[string]any, error) {
	encode := base64.RawURLEncoding.EncodeToString
	var list []map[string]any
	for _, k := range t.published {
		jwk := map[string]any{"kid": k.id, "use": "sig", "alg": t.algorithm}
		switch public := k.private.Public().(type) {
		case *rsa.PublicKey:
			jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				return nil, fmt.Errorf("publish a key: %w", err)
			}
			jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
		}
		list = append(list, jwk)
	}
	return map[string]any{"keys": list}, nil
}

// poll answers RFC 8936 section 2.4: what is acknowledged or refused goes, the oldest of
// the rest come.
func (t *Transmitter) poll(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var p Poll
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+t.token:
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	case t.pollFail != 0:
		http.Error(w, "out of order", t.pollFail)
		return
	case r.Header.Get("Content-Type") != "application/json" || d.Decode(&p) != nil:
		http.Error(w, "no poll", http.StatusBadRequest)
		return
	}
	t.polls = append(t.polls, p)
	gone := map[string]bool{}
	for _, id := range p.Ack {
		gone[id] = true
	}
	for id, e := range p.SetErrs {
		gone[id], t.errors[id] = true, e
	}
	var rest []waiting
	for _, x := range t.waiting {
		if !gone[x.id] {
			rest = append(rest, x)
		}
	}
	t.waiting = rest
	most := len(rest)
	if p.MaxEvents != nil {
		most = min(most, *p.MaxEvents)
	}
	sets := map[string]string{}
	for _, x := range rest[:most] {
		sets[x.id] = x.token
	}
	answer(w, map[string]any{"sets": sets, "moreAvailable": most < len(rest)})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone if not
}
