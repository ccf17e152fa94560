// Command tenant-sweep keeps the subscriptions for change notifications alive and asks
// the tenant what nobody tells.
package main

import (
	"context"
	"log/slog"
	"time"

	"mfaflow/pkg/change"
	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/config"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/directory"
	"mfaflow/pkg/wiring/streams"
)

func main() { wiring.Main("tenant-sweep", run) }

func run(ctx context.Context, cfg config.TenantSweep, log *slog.Logger) error {
	metrics := wiring.Metrics("tenant-sweep")
	tenant, err := directory.Open(cfg.App, cfg.Directory, metrics)
	if err != nil {
		return err
	}
	broker, err := wiring.Broker(cfg.Broker, cfg.App)
	if err != nil {
		return err
	}
	subscriptions, err := subscriptions(cfg, tenant)
	if err != nil {
		return err
	}
	feeds, err := streams.Open(cfg, log, metrics)
	if err != nil {
		return err
	}
	return wiring.Sweep{
		Broker: broker, Locking: cfg.Locking, Control: cfg.ControlQueue, Interval: cfg.SweepInterval, Feeds: feeds,
		Sweeper: sweep.Sweeper{
			Directory: tenant, Subscriptions: subscriptions, Polls: cfg.Polls(), InboundQueue: cfg.InboundQueue,
			EmploymentAhead: cfg.EmploymentAhead, Zone: cfg.DefaultTimeZone.Location, Now: time.Now, Log: log, Metrics: metrics,
		},
		Idle: tenant.Close, Log: log,
	}.Run(ctx)
}

// subscriptions are nil where no URL is told.
func subscriptions(cfg config.TenantSweep, tenant *graph.Client) (*sweep.Subscribing, error) {
	if cfg.NotificationURL == "" {
		return nil, nil
	}
	keys, err := clientstate.NewKeys(cfg.ClientStateKeys)
	return &sweep.Subscribing{
		Directory: tenant, Keys: keys, TenantID: cfg.TenantID, Slots: change.Slots(), Lifetime: cfg.SubscriptionLifetime,
		NotificationURL: cfg.NotificationURL + change.NotificationPath, LifecycleURL: cfg.NotificationURL + change.LifecyclePath,
	}, err
}
