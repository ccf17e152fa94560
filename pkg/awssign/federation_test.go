package awssign

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	simaws "mfaflow/pkg/sim/aws"
	"mfaflow/pkg/sim/oidc"
)

const (
	console = "arn:aws:iam::123456789012:role/mfaflow-console"
	ada     = "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"
	url     = "https://abc123.lambda-url.eu-west-1.on.aws/v1/whoami"
)

// trust is the policy that README asks for.
func trust(issuer string) string {
	provider := strings.TrimPrefix(issuer, "https://")
	return `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
		"Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/` + provider + `"},
		"Condition": {"StringEquals": {"` + provider + `:aud": "console", "sts:RoleSessionName": "${` + provider + `:sub}"}}}]}`
}

type federated struct {
	*testing.T
	idp  *oidc.Provider
	aws  *simaws.Account
	next *http.Transport
	now  time.Time
}

func federate(t *testing.T) *federated {
	t.Helper()
	f := &federated{T: t, now: time.Now()}
	clock := func() time.Time { return f.now }
	idp, err := oidc.Start(t.Context(), oidc.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(idp.CAPEM())
	f.idp = idp
	f.aws, f.next = start(t, simaws.Options{
		Providers: map[string][]string{idp.Issuer(): {"console", "another"}}, Now: clock,
		Keys:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
		Roles: []simaws.Role{{ARN: console, Trust: trust(idp.Issuer())}},
	})
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, f.aws.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	isolate(t, "AWS_ENDPOINT_URL_STS", f.aws.STSURL(), "AWS_CA_BUNDLE", bundle)
	return f
}

func (f *federated) open(change ...func(*FederationConfig)) *Federation {
	f.Helper()
	c := FederationConfig{Role: console, Region: "eu-west-1", Next: f.next, Now: func() time.Time { return f.now }}
	for _, do := range change {
		do(&c)
	}
	federation, err := Federate(f.Context(), c)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return federation
}

func (f *federated) token(more map[string]any) string {
	f.Helper()
	claims := map[string]any{"iss": f.idp.Issuer(), "sub": ada, "aud": "console", "iat": f.now.Unix(), "exp": f.now.Add(time.Hour).Unix()}
	maps.Copy(claims, more)
	token, err := f.idp.Token(claims)
	if err != nil {
		f.Fatal(err)
	}
	return token
}

// A token becomes a session of its own person, and requests signed in that name, until it
// ends.
func TestEnter(t *testing.T) {
	f := federate(t)
	s, err := f.open().Enter(t.Context(), ada, f.token(nil))
	if err != nil {
		t.Fatal(err)
	}
	if left := s.Ends.Sub(f.now); left < 59*time.Minute || left > time.Hour {
		t.Errorf("it lasts %s", left)
	}
	status, caller, body, err := call(t, s, url)
	if err != nil || status != 200 || caller != "arn:aws:sts::123456789012:assumed-role/mfaflow-console/"+ada {
		t.Errorf("%d %s %s, %v", status, caller, body, err)
	}
	f.now = f.now.Add(time.Hour)
	if _, _, _, err := call(t, s, url); !errors.Is(err, ErrEnded) {
		t.Errorf("after its end: %v", err)
	}
}

// Nobody gets a session in another's name, or with a token that is not for us.
func TestWhoMayNotEnter(t *testing.T) {
	f := federate(t)
	evil, err := oidc.Start(t.Context(), oidc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = evil.Close() })
	forged, err := evil.Token(map[string]any{"iss": f.idp.Issuer(), "sub": ada, "aud": "console", "exp": f.now.Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		subject, token string
		change         func(*FederationConfig)
		want           error
		text           string
	}{
		"another's name":        {"ben", f.token(nil), nil, ErrNotTrusted, "AccessDenied"},
		"another audience":      {ada, f.token(map[string]any{"aud": "another"}), nil, ErrNotTrusted, "AccessDenied"},
		"unknown audience":      {ada, f.token(map[string]any{"aud": "nobody"}), nil, ErrNotTrusted, "audience"},
		"expired":               {ada, f.token(map[string]any{"exp": f.now.Unix()}), nil, ErrNotTrusted, "ExpiredTokenException"},
		"unknown provider":      {ada, f.token(map[string]any{"iss": "https://evil.example"}), nil, ErrNotTrusted, "No OpenIDConnect provider"},
		"signed by another":     {ada, forged, nil, ErrNotTrusted, "verification key"},
		"no token":              {ada, "x", nil, ErrNotTrusted, "not a valid JWT"},
		"an impossible session": {"auth0|ada", f.token(map[string]any{"sub": "auth0|ada"}), nil, ErrRole, "roleSessionName"},
		"another role":          {ada, f.token(nil), func(c *FederationConfig) { c.Role += "2" }, ErrNotTrusted, "AccessDenied"},
		"longer than the role":  {ada, f.token(nil), func(c *FederationConfig) { c.Life = 2 * time.Hour }, ErrRole, "MaxSessionDuration"},
	} {
		t.Run(name, func(t *testing.T) {
			change := c.change
			if change == nil {
				change = func(*FederationConfig) {}
			}
			s, err := f.open(change).Enter(t.Context(), c.subject, c.token)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || s.RoundTripper != nil {
				t.Errorf("%v", err)
			}
			if err != nil && slices.ContainsFunc(strings.Split(c.token, "."), func(part string) bool { return len(part) > 20 && strings.Contains(err.Error(), part) }) {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
	if n := f.aws.Assumed(); n != 0 {
		t.Errorf("%d sessions were given", n)
	}
}

// What may pass is not taken for a refusal.
func TestTokenServiceInTrouble(t *testing.T) {
	f := federate(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	federation, token := f.open(), f.token(nil)
	f.idp.Fail(http.StatusBadGateway)
	if _, err := federation.Enter(t.Context(), ada, token); err == nil || errors.Is(err, ErrNotTrusted) || errors.Is(err, ErrRole) || !strings.Contains(err.Error(), "IDPCommunicationError") {
		t.Errorf("provider down: %v", err)
	}
	f.idp.Fail(0)
	if err := f.aws.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := federation.Enter(t.Context(), ada, token); err == nil || errors.Is(err, ErrNotTrusted) || errors.Is(err, ErrRole) {
		t.Errorf("service down: %v", err)
	}
	isolate(t)
	if _, err := Federate(t.Context(), FederationConfig{Role: console}); !errors.Is(err, ErrNoRegion) {
		t.Errorf("without a region: %v", err)
	}
}
