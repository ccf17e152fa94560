// Command event-replay is how operators see what is stuck and change something: the
// command line and the console ask it, and it asks who they are.
package main

import (
	"context"
	"log/slog"
	"os"

	"mfaflow/pkg/config"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/operations"
)

func main() { wiring.Main("event-replay", run) }

func run(ctx context.Context, cfg config.EventReplay, log *slog.Logger) error {
	who, err := operators(cfg)
	if err != nil {
		return err
	}
	desk, err := operations.Open(operations.Settings{
		Broker: cfg.Broker, App: cfg.App, Directory: cfg.Directory, Locking: cfg.Locking, Breaker: cfg.Breaker,
		Inbound: cfg.InboundQueue, Lanes: cfg.LanesQueue, Flags: cfg.FlagsQueue, Control: cfg.ControlQueue, Quarantine: cfg.QuarantineQueue,
		Planning: cfg.Planning,
	}, os.Stdout, log)
	if err != nil {
		return err
	}
	return lambdafn.Serve(ctx, lambdafn.Handlers{
		HTTP: operateapi.Handler(desk, who, log), Close: func(context.Context) error { desk.Close(); return nil },
	}, cfg.Listen, log)
}

// operators are the sessions of roles under Lambda, and on one's own machine who holds
// the token.
func operators(cfg config.EventReplay) (operateapi.Authenticator, error) {
	if cfg.OperatorTokenFile != "" {
		return operateapi.Token(cfg.OperatorTokenFile)
	}
	return operateapi.Sessions(lambdafn.Caller, cfg.OperatorRoles, cfg.NamedOperators)
}
