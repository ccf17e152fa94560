package wiring

import (
	"os"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/worker"
)

// MethodPolicy is what changes of the authentication methods policy are made with; nil when
// the settings let no event change it.
func MethodPolicy(c config.Planning, a config.App, tenant worker.Policies) (*worker.MethodPolicy, error) {
	if !c.MethodPolicy {
		return nil, nil
	}
	store, err := Store(c.ReportsURL)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // it is to be told to people only
	return &worker.MethodPolicy{
		Policies: tenant, Store: store, MaxAge: c.SnapshotMaxAge, Tenant: a.TenantID, Now: time.Now,
		Claimant: policy.Claimant{Host: host, PID: os.Getpid()},
	}, nil
}
