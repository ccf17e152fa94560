package awssign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
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
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", nowhere)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for i := 0; i < len(vars); i += 2 {
		t.Setenv(vars[i], vars[i+1])
	}
}

// receiver checks a request as AWS documents the verification, apart from the SDK.
type receiver struct {
	t      *testing.T
	region string
	body   string
}

func (s *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength != int64(len(body)) {
		s.t.Errorf("body of %d bytes, told %d, %v", len(body), r.ContentLength, err)
	}
	s.body = string(body)
	// docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
	fields := map[string]string{}
	for _, part := range strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ", ") {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	date := r.Header.Get("X-Amz-Date")
	scope := date[:8] + "/" + s.region + "/lambda/aws4_request"
	if fields["Credential"] != keyID+"/"+scope {
		s.t.Errorf("credential %q, want scope %s", fields["Credential"], scope)
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !sort.StringsAreSorted(signed) {
		s.t.Errorf("signed headers %q", signed)
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n\n"
	for _, name := range signed {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.URL.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
			if value == "" {
				value = strconv.Itoa(len(body))
			}
		}
		canonical += name + ":" + value + "\n"
	}
	sum := sha256.Sum256(body)
	canonical += "\n" + fields["SignedHeaders"] + "\n" + hex.EncodeToString(sum[:])
	hashed := sha256.Sum256([]byte(canonical))
	mac := []byte("AWS4" + key)
	for _, part := range []string{date[:8], s.region, "lambda", "aws4_request", "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(hashed[:])} {
		h := hmac.New(sha256.New, mac)
		h.Write([]byte(part))
		mac = h.Sum(nil)
	}
	if fields["Signature"] != hex.EncodeToString(mac) {
		s.t.Errorf("the signature does not verify: %v", r.Header)
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

// AWS would accept what is sent; the region is that of the function URL.
func TestSignatureVerifies(t *testing.T) {
	for name, c := range map[string]struct{ url, configured, given, want string }{
		"function URL":         {"https://abc123.lambda-url.eu-west-1.on.aws/v1/overview", "us-east-1", "", "eu-west-1"},
		"own domain":           {"https://operations.contoso.example/v1/let-in", "us-east-1", "", "us-east-1"},
		"own domain, own word": {"https://operations.contoso.example/v1/let-in", "us-east-1", "eu-central-1", "eu-central-1"},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t, "AWS_ACCESS_KEY_ID", keyID, "AWS_SECRET_ACCESS_KEY", key, "AWS_SESSION_TOKEN", "session", "AWS_REGION", c.configured)
			s := &receiver{t: t, region: c.want}
			transport, err := Lambda(t.Context(), c.given, s)
			if err != nil {
				t.Fatal(err)
			}
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, strings.NewReader(`{"a":1}`))
			r.Header.Set("Content-Type", "application/json")
			if _, err := transport.RoundTrip(r); err != nil {
				t.Fatal(err)
			}
			if s.body != `{"a":1}` || r.Header.Get("Authorization") != "" {
				t.Errorf("body %q, headers of the caller %v", s.body, r.Header)
			}
		})
	}
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
