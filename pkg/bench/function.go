package bench

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"mfaflow/pkg/ingest"
	"mfaflow/pkg/sim/lambda"
	"mfaflow/pkg/webhook"
)

// source is the HR system that sends.
const source = "bench"

// signingKey is the key of a run; nothing outside of it knows or needs it.
const signingKey = "whsec_b25seSB0aGUgYmVuY2htYXJrIHNpZ25zIGJ5IHRoaXM="

// hrEventsEnv are the settings of hr-events beside those of the broker.
func hrEventsEnv(names ...string) ([]string, error) {
	var list []ingest.Source
	for _, name := range names {
		list = append(list, ingest.Source{
			Name: name, Format: ingest.CloudEvents, Verify: &webhook.Config{Preset: "standard-webhooks"}, Types: []string{"employee.*"},
		})
	}
	return sourcesEnv(list)
}

// sourcesEnv are sources, all with the same key.
func sourcesEnv(list []ingest.Source) ([]string, error) {
	sources, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	plain := map[string][]string{}
	for _, s := range list {
		if s.Verify != nil {
			plain[s.Name] = []string{signingKey}
		}
	}
	keys, err := json.Marshal(plain)
	return []string{"MFAFLOW_SOURCES=" + string(sources), "MFAFLOW_SOURCE_KEYS=" + string(keys)}, err
}

const mebibyte = 1 << 20

// sizes are those of the binaries as they were built.
func sizes(_ context.Context, bin Bin) ([]Figure, error) {
	var figures []Figure
	for _, name := range []string{"hr-events", "risk-signals", "identity-router", "identity-worker"} {
		info, err := os.Stat(bin.path(name))
		if err != nil {
			return figures, err
		}
		f := Figure{Name: name, Value: float64(info.Size()) / mebibyte, Unit: "MiB"}
		if name == "hr-events" || name == "risk-signals" {
			f = f.bounded(Under, 12)
		}
		figures = append(figures, f)
	}
	return figures, nil
}

const coldStartRuns = 20

// coldStarts starts hr-events and the bare handler in turn, so that what else the
// machine does meets both.
func coldStarts(ctx context.Context, bin Bin) ([]Figure, error) {
	env, err := hrEventsEnv(source)
	if err != nil {
		return nil, err
	}
	env = append(env, "MFAFLOW_SERVICEBUS_CONNECTION_STRING=Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=none;SharedAccessKey=none;UseDevelopmentEmulator=true")
	ours := lambda.Config{Bootstrap: bin.path("hr-events"), Name: "hr-events", Env: map[string]string{}}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		ours.Env[name] = value
	}
	bare := lambda.Config{Bootstrap: bin.path("bare"), Name: "bare"}
	var took, yardstick []time.Duration
	for range coldStartRuns {
		for _, run := range []struct {
			cfg  lambda.Config
			took *[]time.Duration
		}{{bare, &yardstick}, {ours, &took}} {
			f, err := lambda.Start(ctx, run.cfg)
			if err != nil {
				return nil, err
			}
			*run.took = append(*run.took, f.ColdStarts()...)
			if err := f.Close(); err != nil {
				return nil, err
			}
		}
	}
	a, b := milliseconds(quantile(took, 0.5)), milliseconds(quantile(yardstick, 0.5))
	return []Figure{
		{Name: "hr-events", Value: a, Unit: "ms"},
		{Name: "bare aws-lambda-go handler", Value: b, Unit: "ms"},
		Figure{Name: "hr-events by bare handler", Value: a / b, Unit: "x"}.bounded(AtMost, 2),
	}, nil
}
