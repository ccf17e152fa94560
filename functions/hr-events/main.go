// Command hr-events takes the events of HR systems: by webhook, and from an
// EventBridge bus.
package main

import (
	"context"
	"os"

	"mfaflow/pkg/config"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring/door"
)

func main() {
	var cfg config.HREvents
	err := config.Load(&cfg)
	log := telemetry.NewLogger(os.Stdout, "hr-events", cfg.LogLevel)
	if err == nil {
		err = door.Serve(context.Background(), door.Options{
			Broker: cfg.Broker, App: cfg.App, Ingest: cfg.Ingest, Prefix: "/hr/", EventBridge: true, Log: log,
		})
	}
	if err != nil {
		log.Error("stopped", telemetry.Error(err))
		os.Exit(1)
	}
}
