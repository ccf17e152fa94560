// Package streams puts event streams that are polled together with what takes their
// tokens in. It is apart from package wiring, so that only who polls links it.
package streams

import (
	"log/slog"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/jwks"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/setpoll"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/telemetry"
)

// Open makes what polls the configured streams from the broker client of a run. Keys of
// the transmitters are kept from one run to the next.
func Open(cfg config.TenantSweep, log *slog.Logger, metrics *telemetry.Metrics) (func(*servicebus.Client) ([]sweep.Feed, error), error) {
	list, err := setpoll.Parse(cfg.Streams.Bytes())
	if err != nil || len(list) == 0 {
		return nil, err
	}
	schemas, err := catalog.New()
	if err != nil {
		return nil, err
	}
	keys := map[string]*jwks.Set{}
	options := ingest.Options{
		Prefix: "/risk/", Catalog: schemas, Logger: log, Metrics: metrics, InboundQueue: cfg.InboundQueue, QuarantineQueue: cfg.QuarantineQueue,
		Keys: func(url string) secevent.KeySource {
			if keys[url] == nil {
				keys[url] = jwks.New(url, nil, time.Now)
			}
			return keys[url]
		},
	}
	for _, s := range list {
		options.Sources = append(options.Sources, s.Source)
	}
	if err := ingest.Validate(options.Sources, true); err != nil {
		return nil, err
	}
	return func(client *servicebus.Client) ([]sweep.Feed, error) {
		options := options
		options.Sender = client
		handler, err := ingest.New(options)
		if err != nil {
			return nil, err
		}
		var feeds []sweep.Feed
		for _, s := range list {
			feeds = append(feeds, setpoll.New(s, handler, nil))
		}
		return feeds, nil
	}, nil
}
