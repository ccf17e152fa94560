package wiring

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"mfaflow/pkg/awsrole"
	"mfaflow/pkg/config"
	"mfaflow/pkg/telemetry"
)

// settings are those of one function.
type settings[C any] interface {
	*C
	config.Settings
	Level() slog.Level
}

// Main is the main of the function with this name: it reads the settings and runs until
// the process is told to end. What stops it is one line, and exit code 1.
func Main[C any, S settings[C]](name string, run func(context.Context, C, *slog.Logger) error) {
	var cfg C
	err := readSecret(context.Background())
	if err == nil {
		err = config.Load(S(&cfg))
	}
	log := telemetry.NewLogger(os.Stdout, name, S(&cfg).Level())
	if err == nil {
		err = run(context.Background(), cfg, log)
	}
	if err != nil {
		log.Error("stopped", telemetry.Error(err))
		os.Exit(1)
	}
}

// readSecret adds the settings that lie in Secrets Manager to the environment.
func readSecret(ctx context.Context) error {
	id := config.Runtime(config.SettingsSecret)
	if id == "" {
		return nil
	}
	role, err := awsrole.FromEnvironment(config.Runtime, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", config.SettingsSecret, err)
	}
	defer role.Close()
	secret, err := role.Secret(ctx, id)
	if err != nil {
		return fmt.Errorf("%s: %w", config.SettingsSecret, err)
	}
	return config.Add(secret)
}
