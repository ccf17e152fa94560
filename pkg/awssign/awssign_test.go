package awssign

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/goleak"

	simaws "mfaflow/pkg/sim/aws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	keyID = "AKIDEXAMPLE"
	key   = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// isolate keeps the machine's own configuration and every network out of a test.
func isolate(t *testing.T, vars ...string) {
	nowhere := filepath.Join(t.TempDir(), "none")
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", nowhere)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for i := 0; i < len(vars); i += 2 {
		t.Setenv(vars[i], vars[i+1])
	}
}

const account = "123456789012"

// start starts an account whose function says who called it, and what goes to it whatever
// the name of the host.
func start(t *testing.T, o simaws.Options) (*simaws.Account, *http.Transport) {
	t.Helper()
	o.Account, o.Region = account, "eu-west-1"
	o.Function = func(_ context.Context, event []byte) ([]byte, error) {
		var e struct {
			Body    string
			Context struct {
				Authorizer struct{ IAM struct{ UserARN string } }
			} `json:"requestContext"`
		}
		if err := json.Unmarshal(event, &e); err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"statusCode": 200, "headers": map[string]string{"X-Caller": e.Context.Authorizer.IAM.UserARN}, "body": e.Body, "isBase64Encoded": true})
	}
	a, err := simaws.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CAPEM())
	next := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(a.FunctionURL(), "https://"))
		}}
	return a, next
}

// call is what the function sees of a request that a transport signs.
func call(t *testing.T, transport http.RoundTripper, url string) (status int, caller, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if r.Header.Get("Authorization") != "" {
		t.Error("the caller's own request was changed")
	}
	return resp.StatusCode, resp.Header.Get("X-Caller"), string(text), err
}

// AWS accepts what is sent; the region is that of the function URL.
func TestSignatureVerifies(t *testing.T) {
	const ada = "arn:aws:sts::123456789012:assumed-role/Operators/ada@contoso.example"
	for name, c := range map[string]struct {
		url, configured, given string
		status                 int
	}{
		"function URL":         {"https://abc123.lambda-url.eu-west-1.on.aws/v1/overview?b=2&a=x%20y&a=1", "us-east-1", "", 200},
		"own domain":           {"https://operations.contoso.example/v1/overview", "eu-west-1", "", 200},
		"own domain, own word": {"https://operations.contoso.example/v1/let-in", "us-east-1", "eu-west-1", 200},
		"another region":       {"https://operations.contoso.example/v1/let-in", "us-east-1", "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			a, next := start(t, simaws.Options{})
			key, secret, token := a.Grant(ada, time.Hour)
			isolate(t, "AWS_ACCESS_KEY_ID", key, "AWS_SECRET_ACCESS_KEY", secret, "AWS_SESSION_TOKEN", token, "AWS_REGION", c.configured)
			transport, err := Lambda(t.Context(), c.given, next)
			if err != nil {
				t.Fatal(err)
			}
			status, caller, body, err := call(t, transport, c.url)
			if err != nil || status != c.status {
				t.Fatalf("%d %s, %v", status, body, err)
			}
			if status == 200 && (caller != ada || body != `{"a":1}`) {
				t.Errorf("%s sent %s", caller, body)
			}
		})
	}
}

// What was signed by somebody else, for something else or too long ago is refused.
func TestForgedSignatures(t *testing.T) {
	now := time.Now()
	a, next := start(t, simaws.Options{Now: func() time.Time { return now }})
	key, secret, token := a.Grant("arn:aws:sts::123456789012:assumed-role/Operators/ada", time.Hour)
	good := aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}
	change := func(f func(*aws.Credentials)) aws.Credentials { c := good; f(&c); return c }
	for name, c := range map[string]struct {
		credentials aws.Credentials
		tamper      func(*http.Request)
		late        time.Duration
		text        string
	}{
		"right":          {good, nil, 0, `{"a":1}`},
		"unknown key":    {change(func(c *aws.Credentials) { c.AccessKeyID = "ASIAX" }), nil, 0, "Forbidden"},
		"wrong secret":   {change(func(c *aws.Credentials) { c.SecretAccessKey += "x" }), nil, 0, "Forbidden"},
		"no token":       {change(func(c *aws.Credentials) { c.SessionToken = "" }), nil, 0, "Forbidden"},
		"another body":   {good, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":2}`)) }, 0, "Forbidden"},
		"another path":   {good, func(r *http.Request) { r.URL.Path = "/v1/replay" }, 0, "Forbidden"},
		"another query":  {good, func(r *http.Request) { r.URL.RawQuery = "a=1" }, 0, "Forbidden"},
		"another method": {good, func(r *http.Request) { r.Method = http.MethodPut }, 0, "Forbidden"},
		"no signature":   {good, func(r *http.Request) { r.Header.Del("Authorization") }, 0, "Forbidden"},
		"replayed late":  {good, nil, 6 * time.Minute, "Forbidden"},
	} {
		at := now
		tampering := carrier(func(r *http.Request) (*http.Response, error) {
			if c.tamper != nil {
				c.tamper(r)
			}
			return next.RoundTrip(r)
		})
		signing := transport{credentials: credentials(c.credentials), region: "eu-west-1", signer: v4.NewSigner(), next: tampering, now: func() time.Time { return at.Add(-c.late) }}
		if _, _, body, err := call(t, signing, "https://abc123.lambda-url.eu-west-1.on.aws/v1/overview"); err != nil || !strings.Contains(body, c.text) {
			t.Errorf("%s: %s, %v", name, body, err)
		}
	}
}

type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

type credentials aws.Credentials

func (c credentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials(c), nil
}

func TestNothingIsSentUnsigned(t *testing.T) {
	for name, c := range map[string]struct {
		url  string
		vars []string
		want error
	}{
		"in the clear":   {"http://abc123.lambda-url.eu-west-1.on.aws/", []string{"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", key}, nil},
		"no credentials": {"https://abc123.lambda-url.eu-west-1.on.aws/", nil, ErrNoCredentials},
		"no region":      {"https://operations.contoso.example/", []string{"AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", key}, ErrNoRegion},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t, c.vars...)
			transport, err := Lambda(t.Context(), "", nil) // a request that is passed on panics
			if err != nil {
				t.Fatal(err)
			}
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, nil)
			if _, err := transport.RoundTrip(r); err == nil || c.want != nil && !errors.Is(err, c.want) || strings.Contains(err.Error(), key) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
