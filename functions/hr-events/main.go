// Command hr-events takes the events of HR systems: by webhook, and from an
// EventBridge bus.
package main

import (
	"context"
	"log/slog"
	"os"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
)

func main() {
	var cfg config.HREvents
	err := config.Load(&cfg)
	log := telemetry.NewLogger(os.Stdout, "hr-events", cfg.LogLevel)
	if err == nil {
		err = run(context.Background(), cfg, log)
	}
	if err != nil {
		log.Error("stopped", telemetry.Error(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config.HREvents, log *slog.Logger) error {
	sources, err := ingest.ParseSources(cfg.Sources.Bytes())
	if err != nil {
		return err
	}
	if sources, err = ingest.WithKeys(sources, cfg.SourceKeys); err != nil {
		return err
	}
	schemas, err := catalog.New()
	if err != nil {
		return err
	}
	opts, err := wiring.Broker(cfg.Broker, cfg.App)
	if err != nil {
		return err
	}
	broker, err := servicebus.New(opts)
	if err != nil {
		return err
	}
	handler, err := ingest.New(ingest.Options{
		Sources: sources, Catalog: schemas, Sender: broker, Logger: log, SendTimeout: cfg.SendTimeout,
		InboundQueue: cfg.InboundQueue, QuarantineQueue: cfg.QuarantineQueue,
	})
	if err != nil {
		return err
	}
	return lambdafn.Serve(ctx, lambdafn.Handlers{
		HTTP: handler, EventBridge: handler.EventBridge,
		Close: func(context.Context) error { broker.Close(); return nil },
	}, cfg.Listen, log)
}
