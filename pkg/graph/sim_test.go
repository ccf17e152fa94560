package graph_test

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"go.uber.org/goleak"

	"mfaflow/pkg/azauth"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

//go:embed testdata/tenant.json

var tenantJSON []byte

// The people of testdata/tenant.json.

const (
	mia      = identity.UserID("aaaaaaaa-0000-4000-8000-000000000001")
	boss     = identity.UserID("aaaaaaaa-0000-4000-8000-000000000002")
	admin    = identity.UserID("aaaaaaaa-0000-4000-8000-000000000003")
	sean     = identity.UserID("aaaaaaaa-0000-4000-8000-000000000004")
	guest    = identity.UserID("aaaaaaaa-0000-4000-8000-000000000005")
	inner    = identity.UserID("aaaaaaaa-0000-4000-8000-000000000006")
	excluded = identity.UserID("aaaaaaaa-0000-4000-8000-000000000009")
	eli      = identity.UserID("aaaaaaaa-0000-4000-8000-000000000011")
	nobody   = identity.UserID("aaaaaaaa-0000-4000-8000-000000000099")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tenant starts a simulator of testdata/tenant.json.

func tenant(t *testing.T) *sim.Server {
	t.Helper()
	people, err := sim.ParseTenant(tenantJSON)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sim.Start(t.Context(), sim.Options{Tenant: people})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// as is a client of the named app, with azidentity's real token flow.

func as(t *testing.T, s *sim.Server, app, baseURL string) *graph.Client {
	t.Helper()
	id, secret := s.App(app)
	return with(t, s, id, secret, baseURL)
}

func with(t *testing.T, s *sim.Server, clientID, secret, baseURL string) *graph.Client {
	t.Helper()
	credential, transport := credentialOf(t, s, clientID, secret)
	c, err := graph.New(graph.Options{Credential: credential, BaseURL: baseURL, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// credentialOf is a credential that asks the simulator's authority over TLS.

func credentialOf(t testing.TB, s *sim.Server, clientID, secret string) (azcore.TokenCredential, *http.Transport) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CAPEM()) {
		t.Fatal("the simulator's CA is no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	credential, err := azauth.New(azauth.Settings{
		TenantID: s.TenantID(), ClientID: clientID, ClientSecret: identity.NewSecret(secret),
		AuthorityHost: s.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	return credential, transport
}

func worker(t *testing.T, s *sim.Server) *graph.Client {
	t.Helper()
	return as(t, s, "worker", s.URL())
}

// Without AuditLog.Read.All the directory refuses signInActivity and the rest with it.

// Of objects the app may not read, Graph tells type and id only; taking them for

// ordinary ones would unprotect a person.

// What the simulator can break, it breaks: the class of the error is that of the

// package doc, and a read survives one moment of weakness.

// Every request carries the correlation id, and the trail shows what Graph logged.

// One client serves all lanes at once.

// What a Graph request sends is what the simulator and Graph both understand: plain

// JSON with a length.
