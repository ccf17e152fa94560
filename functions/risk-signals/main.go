// Command risk-signals takes what risk systems and the help desk say: by webhook, and
// as Security Event Tokens that are pushed.
package main

import (
	"context"
	"log/slog"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/jwks"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/door"
)

func main() { wiring.Main("risk-signals", run) }

func run(ctx context.Context, cfg config.RiskSignals, log *slog.Logger) error {
	return door.Serve(ctx, door.Options{
		Broker: cfg.Broker, App: cfg.App, Ingest: cfg.Ingest, Prefix: "/risk/", Log: log, Metrics: wiring.Metrics("risk-signals"),
		Keys: func(url string) secevent.KeySource { return jwks.New(url, nil, time.Now) },
	})
}
