// Package door is what the main of every function does that takes events in over HTTP.
// It is apart from package wiring, so that functions that take none do not link it.
package door

import (
	"context"
	"log/slog"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
)

// Options are what the door is made of.
type Options struct {
	Broker config.Broker
	App    config.App
	Ingest config.Ingest
	// Prefix is what comes before the name of the source in its path.
	Prefix string
	// Keys is where the keys of event streams come from; nil takes no streams.
	Keys func(url string) secevent.KeySource
	// EventBridge takes the events of a bus as well.
	EventBridge bool
	Log         *slog.Logger
	Metrics     *telemetry.Metrics
}

// Serve answers until the process is told to end, as lambdafn.Serve does.
func Serve(ctx context.Context, o Options) error {
	sources, err := ingest.ParseSources(o.Ingest.Sources.Bytes())
	if err != nil {
		return err
	}
	if sources, err = ingest.WithKeys(sources, o.Ingest.SourceKeys); err != nil {
		return err
	}
	schemas, err := catalog.New()
	if err != nil {
		return err
	}
	opts, err := wiring.Broker(o.Broker, o.App)
	if err != nil {
		return err
	}
	broker, err := servicebus.New(opts)
	if err != nil {
		return err
	}
	handler, err := ingest.New(ingest.Options{
		Prefix: o.Prefix, Sources: sources, Keys: o.Keys, Catalog: schemas, Sender: broker, Logger: o.Log, Metrics: o.Metrics,
		SendTimeout: o.Ingest.SendTimeout, InboundQueue: o.Ingest.InboundQueue, QuarantineQueue: o.Ingest.QuarantineQueue,
	})
	if err != nil {
		return err
	}
	handlers := lambdafn.Handlers{HTTP: handler, Close: func(context.Context) error { broker.Close(); return nil }}
	if o.EventBridge {
		handlers.EventBridge = handler.EventBridge
	}
	return lambdafn.Serve(ctx, handlers, o.Ingest.Listen, o.Log)
}
