package graph_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/graph"
)

const graphScope = "https://graph.microsoft.com/.default"

// azureOptions point azidentity at the simulator and make it trust its certificate.
func azureOptions(t *testing.T, s *graph.Server) azcore.ClientOptions {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CAPEM()) {
		t.Fatal("CAPEM holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: s.AuthorityURL()},
		Transport: &http.Client{Transport: transport},
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

func TestAzidentityWithSecret(t *testing.T) {
	s := start(t)
	id, secret := s.App("identity-worker")
	credential, err := azidentity.NewClientSecretCredential(s.TenantID(), id, secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azureOptions(t, s.Server), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphScope}})
	if err != nil {
		t.Fatal(err)
	}
	s.as("", "GET", "/v1.0/users/"+joiner, nil, "Authorization", "Bearer "+token.Token).want(t, 200, "")

	wrong, err := azidentity.NewClientSecretCredential(s.TenantID(), id, "not the secret",
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azureOptions(t, s.Server), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = wrong.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphScope}}); err == nil || !strings.Contains(err.Error(), "AADSTS7000215") {
		t.Errorf("wrong secret: %v", err)
	}
}

func TestAzidentityWithCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "identity-worker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := graph.Start(t.Context(), graph.Options{}) // the real clock: MSAL stamps its assertion with it
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	id, _ := srv.App("identity-worker")
	credential, err := azidentity.NewClientCertificateCredential(srv.TenantID(), id, []*x509.Certificate{certificate}, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azureOptions(t, srv), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphScope}})
		return err
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "AADSTS700027") {
		t.Errorf("an unknown certificate: %v", err)
	}
	srv.Mutate(func(tn *graph.Tenant) {
		for _, a := range tn.Apps {
			if a.Name == "identity-worker" {
				a.Certificates = []string{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
			}
		}
	})
	if err := ask(); err != nil {
		t.Errorf("a registered certificate: %v", err)
	}
}

func TestFederatedAssertion(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	s.Mutate(func(tn *graph.Tenant) {
		for _, a := range tn.Apps {
			if a.Name == "identity-worker" {
				a.FederatedCredentials = []graph.FederatedCredential{{Issuer: "https://sts.aws.example", Subject: "arn:aws:iam::1:role/worker",
					Audience: "api://AzureADTokenExchange", Key: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}}
			}
		}
	})
	good := map[string]any{"iss": "https://sts.aws.example", "sub": "arn:aws:iam::1:role/worker", "aud": "api://AzureADTokenExchange", "exp": t0.Add(time.Minute).Unix()}
	with := func(name string, value any) map[string]any {
		c := map[string]any{}
		for k, v := range good {
			c[k] = v
		}
		c[name] = value
		return c
	}
	for name, tc := range map[string]struct {
		key    *ecdsa.PrivateKey
		alg    string
		claims map[string]any
		status int
	}{
		"good":             {key, "ES256", good, 200},
		"audience list":    {key, "ES256", with("aud", []string{"x", "api://AzureADTokenExchange"}), 200},
		"another key":      {other, "ES256", good, 401},
		"algorithm none":   {key, "none", good, 401},
		"another subject":  {key, "ES256", with("sub", "arn:aws:iam::1:role/other"), 401},
		"another audience": {key, "ES256", with("aud", "x"), 401},
		"expired":          {key, "ES256", with("exp", t0.Unix()), 401},
		"not valid yet":    {key, "ES256", with("nbf", t0.Add(time.Hour).Unix()), 401},
	} {
		t.Run(name, func(t *testing.T) {
			id, _ := s.App("identity-worker")
			a := s.tokenRequest(url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "scope": {graphScope},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {signES256(t, tc.key, tc.alg, tc.claims)}})
			if a.status != tc.status {
				t.Errorf("status %d, want %d: %s", a.status, tc.status, a.text)
			}
		})
	}
}

func signES256(t *testing.T, key *ecdsa.PrivateKey, alg string, claims map[string]any) string {
	t.Helper()
	encode := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := encode(map[string]string{"alg": alg}) + "." + encode(claims)
	digest := sha256.Sum256([]byte(signed))
	r, sig, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	sig.FillBytes(raw[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(raw)
}

func (s *sim) tokenRequest(form url.Values) answer {
	s.t.Helper()
	return s.as("", "POST", "/"+s.TenantID()+"/oauth2/v2.0/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func TestTokenRefusals(t *testing.T) {
	s := start(t)
	id, secret := s.App("identity-worker")
	good := func() url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "scope": {graphScope}}
	}
	for name, tc := range map[string]struct {
		field, value string
		status       int
		want         string
	}{
		"good":          {"scope", graphScope, 200, ""},
		"secret":        {"client_secret", "x", 401, "AADSTS7000215"},
		"no secret":     {"client_secret", "", 401, "AADSTS7000215"},
		"client":        {"client_id", "x", 400, "AADSTS700016"},
		"grant":         {"grant_type", "password", 400, "AADSTS70003"},
		"scope":         {"scope", "https://graph.microsoft.com/User.Read", 400, "AADSTS1002012"},
		"other service": {"scope", "https://vault.azure.net/.default", 400, "AADSTS500011"},
	} {
		t.Run(name, func(t *testing.T) {
			form := good()
			form.Set(tc.field, tc.value)
			a := s.tokenRequest(form)
			if description, _ := a.body["error_description"].(string); a.status != tc.status || !strings.HasPrefix(description, tc.want) {
				t.Errorf("answer %d %s", a.status, a.text)
			}
		})
	}
	if a := s.as("", "GET", "/other-tenant/v2.0/.well-known/openid-configuration", nil); a.status != 400 || !strings.Contains(a.text, "AADSTS90002") {
		t.Errorf("unknown tenant: %d %s", a.status, a.text)
	}
}

func TestGraphTokenChecks(t *testing.T) {
	s := start(t)
	token := s.token("identity-worker")
	for name, header := range map[string]string{
		"missing": "", "no bearer": "Basic abc", "not a token": "Bearer abc", "forged": "Bearer " + token[:len(token)-4] + "AAAA",
		"other payload": "Bearer " + strings.Replace(token, ".", ".e30", 1),
	} {
		t.Run(name, func(t *testing.T) {
			a := s.as("", "GET", "/v1.0/users", nil, "Authorization", header).want(t, 401, "InvalidAuthenticationToken")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate header")
			}
		})
	}
	s.worker("GET", "/v1.0/users", nil).want(t, 200, "")
	s.clock.Advance(time.Hour)
	s.worker("GET", "/v1.0/users", nil).want(t, 401, "InvalidAuthenticationToken")
	clear(s.tokens)
	s.worker("GET", "/v1.0/users", nil).want(t, 200, "")
	s.ExpireTokens()
	s.worker("GET", "/v1.0/users", nil).want(t, 401, "InvalidAuthenticationToken")
}

// Permissions travel in the token, as with Entra: a change needs a new token.
func TestPermissionsAreInTheToken(t *testing.T) {
	s := start(t)
	s.as("hr-events", "GET", "/v1.0/users/"+joiner, nil).want(t, 403, "Authorization_RequestDenied")
	s.Mutate(func(tn *graph.Tenant) {
		for _, a := range tn.Apps {
			if a.Name == "hr-events" {
				a.Permissions = []string{"User.Read.All"}
			}
		}
	})
	s.as("hr-events", "GET", "/v1.0/users/"+joiner, nil).want(t, 403, "Authorization_RequestDenied")
	clear(s.tokens)
	s.as("hr-events", "GET", "/v1.0/users/"+joiner, nil).want(t, 200, "")
}

// The log says what each call was asked for, also within a batch, and not what an answer
// only leaves out.
func TestRequestsTellPermissions(t *testing.T) {
	s := start(t)
	s.ClearRequests()
	s.worker("GET", "/v1.0/users/"+joiner+"?$select=id,signInActivity", nil).want(t, 200, "")
	s.worker("POST", "/v1.0/$batch", map[string]any{"requests": []any{
		map[string]any{"id": "1", "method": "GET", "url": "/users/" + joiner},
	}}).want(t, 200, "")
	s.worker("GET", "/v1.0/auditLogs/signIns", nil).want(t, 200, "")
	const readUsers = "User.Read.All|User.ReadWrite.All|Directory.Read.All|Directory.ReadWrite.All"
	var got [][]string
	for _, r := range s.Requests() {
		got = append(got, r.Permissions)
	}
	want := [][]string{{readUsers, "AuditLog.Read.All"}, {readUsers}, nil, {"AuditLog.Read.All"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
