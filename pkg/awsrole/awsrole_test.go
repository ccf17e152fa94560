package awsrole_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/awsrole"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sim/aws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	worker   = "arn:aws:iam::123456789012:role/mfaflow-identity-worker"
	settings = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:worker-AbCdEf"
	other    = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf"
	audience = "api://AzureADTokenExchange"
)

type world struct {
	testing.TB
	aws       *aws.Account
	env       map[string]string
	transport *http.Transport
	now       time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, now: time.Now()}
	var err error
	w.aws, err = aws.Start(t.Context(), aws.Options{
		Account: "123456789012", Region: "eu-west-1", Now: func() time.Time { return w.now }, Secrets: map[string]string{settings: `{"a": "b"}`, other: "x"},
		Allowed: map[string][]string{worker: {"sts:GetWebIdentityToken", "secretsmanager:GetSecretValue " + settings, "secretsmanager:GetSecretValue " + settings + "2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.aws.Close() })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.aws.CAPEM())
	w.transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	w.run(worker)
	return w
}

// run has the function run under a role.
func (w *world) run(role string) {
	key, secret, token := w.aws.Run(role, "f", time.Hour)
	w.env = map[string]string{
		"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token,
		"AWS_ENDPOINT_URL_STS": w.aws.STSURL(), "AWS_ENDPOINT_URL_SECRETS_MANAGER": w.aws.SecretsURL(),
	}
}

func (w *world) role() *awsrole.Role {
	w.Helper()
	r, err := awsrole.FromEnvironment(func(name string) string { return w.env[name] }, w.transport)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func TestToken(t *testing.T) {
	w := newWorld(t)
	token, err := w.role().Token(t.Context(), audience)
	if err != nil {
		t.Fatal(err)
	}
	var is struct {
		Iss, Sub, Aud string
		Iat, Exp      int64
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(body, &is)
	}
	if err != nil || is.Iss != w.aws.Issuer() || is.Sub != worker || is.Aud != audience || is.Exp-is.Iat != 300 {
		t.Errorf("%+v, %v", is, err)
	}
}

func TestSecret(t *testing.T) {
	w := newWorld(t)
	if s, err := w.role().Secret(t.Context(), settings); err != nil || s.Reveal() != `{"a": "b"}` {
		t.Errorf("%v", err)
	}
}

// What only an administrator can change is told as that, with what helps.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	token := func(r *awsrole.Role) error { _, err := r.Token(t.Context(), audience); return err }
	secret := func(id string) func(*awsrole.Role) error {
		return func(r *awsrole.Role) error { _, err := r.Secret(t.Context(), id); return err }
	}
	for name, c := range map[string]struct {
		before func()
		do     func(*awsrole.Role) error
		want   string
	}{
		"federation is off":     {func() { w.aws.Federate(false) }, token, "switch on outbound web identity federation"},
		"role without a policy": {func() { w.run("arn:aws:iam::123456789012:role/another") }, token, "AccessDenied; the role's policy must allow it"},
		"another's secret":      {nil, secret(other), "AccessDeniedException; the role's policy"},
		"no such secret":        {nil, secret(settings + "2"), "ResourceNotFoundException; it is not in this account"},
		"wrong secret key":      {func() { w.env["AWS_SECRET_ACCESS_KEY"] = "x" }, token, "SignatureDoesNotMatch; is the clock right?"},
		"clock is wrong":        {func() { w.now = w.now.Add(time.Hour) }, secret(settings), "InvalidSignatureException; is the clock right?"},
	} {
		t.Run(name, func(t *testing.T) {
			w.aws.Federate(true)
			w.now = time.Now()
			w.run(worker)
			if c.before != nil {
				c.before()
			}
			err := c.do(w.role())
			if !errors.Is(err, awsrole.ErrRefused) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), w.env["AWS_SESSION_TOKEN"]) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What may pass with time is told as that.
func TestTroubles(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"throttled": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>`))
		},
		"down":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"cut off":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no answer": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>token.that.leaks</html>")) },
		"empty":     func(http.ResponseWriter, *http.Request) {},
		"wrong half": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`<GetWebIdentityTokenResponse><GetWebIdentityTokenResult/></GetWebIdentityTokenResponse>`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := httptest.NewTLSServer(answer)
			defer s.Close()
			w.transport = s.Client().Transport.(*http.Transport)
			w.env["AWS_ENDPOINT_URL_STS"] = s.URL
			_, err := w.role().Token(t.Context(), audience)
			if retry := (*identity.RetryError)(nil); !errors.As(err, &retry) || strings.Contains(err.Error(), "leaks") {
				t.Errorf("%v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := w.role().Token(ctx, audience); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
	}
}

func TestWithoutARole(t *testing.T) {
	full := map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
	open := func(name, value string) error {
		_, err := awsrole.FromEnvironment(func(n string) string {
			if n == name {
				return value
			}
			return full[n]
		}, nil)
		return err
	}
	for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if err := open(name, ""); !errors.Is(err, awsrole.ErrNoRole) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if err := open("AWS_ENDPOINT_URL_STS", "http://127.0.0.1"); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL_STS") {
		t.Errorf("in the clear: %v", err)
	}
	if err := open("", ""); err != nil {
		t.Error(err)
	}
}
