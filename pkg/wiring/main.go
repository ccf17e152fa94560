package wiring

import (
	"context"
	"log/slog"
	"os"

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
	err := config.Load(S(&cfg))
	log := telemetry.NewLogger(os.Stdout, name, S(&cfg).Level())
	if err == nil {
		err = run(context.Background(), cfg, log)
	}
	if err != nil {
		log.Error("stopped", telemetry.Error(err))
		os.Exit(1)
	}
}
