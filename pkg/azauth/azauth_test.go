package azauth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"mfaflow/pkg/azauth"
	"mfaflow/pkg/identity"
)

const (
	tenant = "11111111-2222-3333-4444-555555555555"
	client = "99999999-8888-7777-6666-555555555555"
	secret = "s3cret-value"
	scope  = "https://graph.microsoft.com/.default"
)

// authority is a token service whose token endpoint is answer.
func authority(t *testing.T, answer func(w http.ResponseWriter, form url.Values)) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	calls := new(atomic.Int32)
	mux := http.NewServeMux()
	s := httptest.NewUnstartedServer(mux)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		base := "https://" + r.Host + "/" + r.PathValue("tenant")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q}`, base+"/v2.0", base+"/oauth2/v2.0/authorize", base+"/oauth2/v2.0/token")
	})
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		answer(w, r.PostForm)
	})
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, calls
}

func grant(w http.ResponseWriter, _ url.Values) {
	fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"the-token"}`)
}

func settings(s *httptest.Server) azauth.Settings {
	return azauth.Settings{
		TenantID: tenant, ClientID: client, ClientSecret: identity.NewSecret(secret),
		AuthorityHost: s.URL, DisableInstanceDiscovery: true, HTTPClient: s.Client(),
	}
}

func ask(ctx context.Context, s azauth.Settings) (string, error) {
	c, err := azauth.New(s)
	if err != nil {
		return "", err
	}
	token, err := c.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	return token.Token, err
}

func TestToken(t *testing.T) {
	for _, tc := range []struct {
		name  string
		prove func(*azauth.Settings)
		form  func(url.Values) bool
	}{
		{"secret", func(*azauth.Settings) {}, func(f url.Values) bool { return f.Get("client_secret") == secret }},
		{"certificate", func(s *azauth.Settings) {
			s.ClientSecret, s.ClientCertificate = identity.Secret{}, identity.NewSecret(certificate(t))
		}, func(f url.Values) bool { return strings.Count(f.Get("client_assertion"), ".") == 2 }},
		{"assertion", func(s *azauth.Settings) {
			s.ClientSecret = identity.Secret{}
			s.ClientAssertion = func(context.Context) (string, error) { return "a.b.c", nil }
		}, func(f url.Values) bool { return f.Get("client_assertion") == "a.b.c" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			form := make(chan url.Values, 1)
			srv, calls := authority(t, func(w http.ResponseWriter, f url.Values) { form <- f; grant(w, f) })
			s := settings(srv)
			tc.prove(&s)
			c, err := azauth.New(s)
			if err != nil {
				t.Fatal(err)
			}
			if n := calls.Load(); n != 0 {
				t.Fatalf("New made %d requests, want none", n)
			}
			for range 2 { // the second comes from memory
				token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
				if err != nil || token.Token != "the-token" {
					t.Fatalf("GetToken = %q, %v", token.Token, err)
				}
			}
			f := <-form
			if f.Get("client_id") != client || !strings.Contains(f.Get("scope"), scope) || !tc.form(f) {
				t.Errorf("token request %v", f)
			}
			if n := calls.Load(); n != 2 {
				t.Errorf("%d requests, want one for the configuration and one for the token", n)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	leak := `"error_description":"AADSTS7000215: ` + secret + ` is wrong","access_token":"leaked-token"`
	for _, tc := range []struct {
		name      string
		answer    func(http.ResponseWriter, url.Values)
		forbidden bool
		after     time.Duration
		text      string
	}{
		{name: "wrong secret", forbidden: true, text: "401 invalid_client AADSTS7000215", answer: func(w http.ResponseWriter, _ url.Values) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_codes":[7000215],%s}`, leak)
		}},
		{name: "unknown app", forbidden: true, text: "400 unauthorized_client AADSTS700016", answer: func(w http.ResponseWriter, _ url.Values) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"unauthorized_client","error_codes":[700016],%s}`, leak)
		}},
		{name: "error code that is prose", forbidden: true, text: "400", answer: func(w http.ResponseWriter, _ url.Values) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"%s is wrong"}`, secret)
		}},
		{name: "throttled", after: 7 * time.Second, text: "429", answer: func(w http.ResponseWriter, _ url.Values) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
		{name: "down", text: "503", answer: func(w http.ResponseWriter, _ url.Values) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, leak)
		}},
		{name: "cut off", text: "EOF", answer: func(http.ResponseWriter, url.Values) { panic(http.ErrAbortHandler) }},
		{name: "broken answer", answer: func(w http.ResponseWriter, _ url.Values) {
			fmt.Fprintf(w, `{"token_type":"Bearer",%s,`, leak)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, _ := authority(t, tc.answer)
			_, err := ask(t.Context(), settings(srv))
			var retry *identity.RetryError
			switch {
			case err == nil:
				t.Fatal("no error")
			case errors.Is(err, identity.ErrForbidden) != tc.forbidden, errors.As(err, &retry) == tc.forbidden:
				t.Errorf("wrong class: %v", err)
			case retry != nil && retry.After != tc.after:
				t.Errorf("After = %v, want %v", retry.After, tc.after)
			}
			if !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), client) {
				t.Errorf("error %q does not name the app and %q", err, tc.text)
			}
			for _, s := range []string{secret, "leaked-token", "is wrong"} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("error %q leaks %q", err, s)
				}
			}
		})
	}

	t.Run("nobody listens", func(t *testing.T) {
		srv, _ := authority(t, grant)
		s := settings(srv)
		srv.Close()
		_, err := ask(t.Context(), s)
		var retry *identity.RetryError
		if !errors.As(err, &retry) {
			t.Errorf("error %v is no RetryError", err)
		}
	})
	t.Run("assertion fails", func(t *testing.T) {
		srv, _ := authority(t, grant)
		s := settings(srv)
		broken := errors.New("no identity token")
		s.ClientSecret = identity.Secret{}
		s.ClientAssertion = func(context.Context) (string, error) { return "", broken }
		_, err := ask(t.Context(), s)
		var retry *identity.RetryError
		if !errors.As(err, &retry) || !errors.Is(err, broken) {
			t.Errorf("error %v is no RetryError around the callback's", err)
		}
	})
	t.Run("context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		srv, _ := authority(t, func(http.ResponseWriter, url.Values) { cancel() })
		if _, err := ask(ctx, settings(srv)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v is not context.Canceled", err)
		}
	})
}

func TestValidate(t *testing.T) {
	good := azauth.Settings{TenantID: tenant, ClientID: client, ClientSecret: identity.NewSecret(secret)}
	for _, tc := range []struct {
		name  string
		spoil func(*azauth.Settings)
		wants []string
	}{
		{"nothing set", func(s *azauth.Settings) { *s = azauth.Settings{} }, []string{"tenant id", "client id", "exactly one"}},
		{"tenant with a path", func(s *azauth.Settings) { s.TenantID = "contoso/../other" }, []string{"tenant id"}},
		{"two proofs", func(s *azauth.Settings) { s.ClientCertificate = identity.NewSecret(certificate(t)) }, []string{"exactly one"}},
		{"certificate that is none", func(s *azauth.Settings) {
			s.ClientSecret, s.ClientCertificate = identity.Secret{}, identity.NewSecret("not "+secret)
		}, []string{"client certificate"}},
		{"certificate without key", func(s *azauth.Settings) {
			pemText := certificate(t)
			s.ClientSecret, s.ClientCertificate = identity.Secret{}, identity.NewSecret(pemText[:strings.Index(pemText, "-----BEGIN PRIVATE")])
		}, []string{"client certificate"}},
		{"plain http", func(s *azauth.Settings) { s.AuthorityHost = "http://127.0.0.1:1" }, []string{"https"}},
		{"credentials in the URL", func(s *azauth.Settings) { s.AuthorityHost = "https://u:" + secret + "@host" }, []string{"authority host"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := good
			tc.spoil(&s)
			_, err := azauth.New(s)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tc.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q leaks the secret", err)
			}
		})
	}
	if err := good.Validate(); err != nil {
		t.Errorf("good settings refused: %v", err)
	}
}

// certificate is a self-signed one with its key, as PEM.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mfaflow"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
