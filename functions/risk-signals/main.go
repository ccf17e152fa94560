// Command risk-signals takes what risk systems and the help desk say: by webhook, and
// as Security Event Tokens that are pushed.
package main

import (
	"context"
	"os"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/jwks"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/door"
)

func main() {
	var cfg config.RiskSignals
	err := config.Load(&cfg)
	log := telemetry.NewLogger(os.Stdout, "risk-signals", cfg.LogLevel)
	if err == nil {
		err = door.Serve(context.Background(), door.Options{
			Broker: cfg.Broker, App: cfg.App, Ingest: cfg.Ingest, Prefix: "/risk/", Log: log, Metrics: wiring.Metrics("risk-signals"),
			Keys: func(url string) secevent.KeySource { return jwks.New(url, nil, time.Now) },
		})
	}
	if err != nil {
		log.Error("stopped", telemetry.Error(err))
		os.Exit(1)
	}
}
