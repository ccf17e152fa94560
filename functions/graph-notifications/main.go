// Command graph-notifications takes the change and lifecycle notifications of
// Microsoft Graph.
package main

import (
	"context"
	"log/slog"
	"time"

	"mfaflow/pkg/change"
	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/config"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/wiring"
)

func main() { wiring.Main("graph-notifications", run) }

func run(ctx context.Context, cfg config.GraphNotifications, log *slog.Logger) error {
	keys, err := clientstate.NewKeys(cfg.ClientStateKeys)
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
	handler, err := change.New(change.Options{
		TenantID: cfg.TenantID, Keys: keys, Sender: broker, Now: time.Now, Logger: log, Metrics: wiring.Metrics("graph-notifications"),
		InboundQueue: cfg.InboundQueue, ControlQueue: cfg.ControlQueue, SendTimeout: cfg.SendTimeout,
	})
	if err != nil {
		return err
	}
	return lambdafn.Serve(ctx, lambdafn.Handlers{
		HTTP: handler, Close: func(context.Context) error { broker.Close(); return nil },
	}, cfg.Listen, log)
}
