package graph_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"mfaflow/pkg/azauth"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

// A client against the simulator, with the real token flow. Against Microsoft Graph,
// AuthorityHost, DisableInstanceDiscovery, HTTPClient, BaseURL and Transport stay empty.
func Example() {
	people, err := sim.ParseTenant(tenantJSON)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	directory, err := sim.Start(ctx, sim.Options{Tenant: people})
	if err != nil {
		log.Fatal(err)
	}
	defer directory.Close()

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(directory.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	clientID, secret := directory.App("worker")
	credential, err := azauth.New(azauth.Settings{
		TenantID: directory.TenantID(), ClientID: clientID, ClientSecret: identity.NewSecret(secret),
		AuthorityHost: directory.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		log.Fatal(err)
	}
	client, err := graph.New(graph.Options{Credential: credential, BaseURL: directory.URL(), Transport: transport})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, calls := correlation.Collect(correlation.With(ctx, "b5a0c8de-0000-4000-8000-000000000001"))
	found, err := client.Find(ctx, identity.Reference{EmployeeID: "E-1001"})
	if err != nil {
		log.Fatal(err)
	}
	pass, err := client.IssuePass(ctx, found[0].ID, identity.PassRequest{Lifetime: 8 * time.Hour, OneTime: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found[0].DisplayName, "has a pass for", pass.Lifetime, "with the value", pass.Value)

	_, err = client.Manager(ctx, identity.UserID("aaaaaaaa-0000-4000-8000-000000000002"))
	fmt.Println("no manager:", errors.Is(err, identity.ErrNotFound))
	for _, call := range calls.List() {
		fmt.Println(call.Method, call.Path, call.Status)
	}
	// Output:
	// Mia Lind has a pass for 8h0m0s with the value *****
	// no manager: true
	// GET /v1.0/users 200
	// POST /v1.0/users/aaaaaaaa-0000-4000-8000-000000000001/authentication/temporaryAccessPassMethods 201
	// GET /v1.0/users/aaaaaaaa-0000-4000-8000-000000000002/manager 404
}
