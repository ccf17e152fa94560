// Command identity-router finds out who an accepted event is about and puts it
// into that person's lane.
package main

import (
	"context"
	"log/slog"
	"os"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/router"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/directory"
)

func main() { wiring.Main("identity-router", run) }

func run(ctx context.Context, cfg config.IdentityRouter, log *slog.Logger) error {
	metrics := wiring.Metrics("identity-router")
	tenant, err := directory.Open(cfg.App, cfg.Directory, metrics)
	if err != nil {
		return err
	}
	records, err := records(cfg.RecordSources)
	if err != nil {
		return err
	}
	broker, err := wiring.Broker(cfg.Broker, cfg.App)
	if err != nil {
		return err
	}
	handler := &router.Router{
		Directory: tenant, Records: records, LanesQueue: cfg.LanesQueue, QuarantineQueue: cfg.QuarantineQueue, Tenant: cfg.TenantID,
		ProvisionRetry: cfg.ProvisionRetry, ProvisionGrace: cfg.ProvisionGrace, UnknownPersonAge: cfg.UnknownPersonAge,
	}
	return wiring.Lanes{
		Broker: broker, Drain: cfg.Drain, Queue: cfg.InboundQueue, Flags: cfg.FlagsQueue,
		Handler: func(*servicebus.Client) (lane.Handler, error) { return handler, nil },
		Audit:   audit.NewWriter(os.Stdout, "identity-router"), Idle: func() { tenant.Close(); records.Close() }, Log: log, Metrics: metrics,
	}.Run(ctx)
}

func records(apis config.Document) (*hrapi.Client, error) {
	list, err := hrapi.Parse(apis.Bytes())
	if err != nil {
		return nil, err
	}
	schemas, err := catalog.New()
	if err != nil {
		return nil, err
	}
	return hrapi.New(list, schemas, nil)
}
