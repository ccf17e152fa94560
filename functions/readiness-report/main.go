// Command readiness-report finds out whom the enforcement of MFA will block, and keeps a
// report of it.
package main

import (
	"context"
	"log/slog"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/directory"
)

func main() { wiring.Main("readiness-report", run) }

func run(ctx context.Context, cfg config.ReadinessReport, log *slog.Logger) error {
	tenant, err := directory.Open(cfg.App, cfg.Directory, wiring.Metrics("readiness-report"))
	if err != nil {
		return err
	}
	broker, err := wiring.Broker(cfg.Broker, cfg.App)
	if err != nil {
		return err
	}
	store, err := wiring.Store(cfg.ReportsURL)
	if err != nil {
		return err
	}
	return wiring.Readiness{
		Broker: broker, Locking: cfg.Locking, Idle: tenant.Close, Log: log,
		Reporter: readiness.Reporter{
			Gatherer: readiness.Gatherer{
				Tenant: tenant, Store: store, BreakGlass: cfg.BreakGlassAccounts, Window: cfg.SignInWindow,
				Pace: directory.Budget(cfg.Directory).ReportPace(), Now: time.Now,
			},
			Store: store, FlagsQueue: cfg.FlagsQueue, Phase: cfg.Phase(), Every: cfg.ReadinessInterval, Now: time.Now, Log: log,
			Drift: wiring.Drift(cfg.PolicyFile, policy.Planner{Tenant: tenant, Groups: tenant, Now: time.Now}),
		},
	}.Run(ctx)
}
