// Command hr-events takes the events of HR systems: by webhook, and from an
// EventBridge bus.
package main

import (
	"context"
	"log/slog"

	"mfaflow/pkg/config"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/door"
)

func main() { wiring.Main("hr-events", run) }

func run(ctx context.Context, cfg config.HREvents, log *slog.Logger) error {
	return door.Serve(ctx, door.Options{
		Broker: cfg.Broker, App: cfg.App, Ingest: cfg.Ingest, Prefix: "/hr/", EventBridge: true, Log: log, Metrics: wiring.Metrics("hr-events"),
	})
}
