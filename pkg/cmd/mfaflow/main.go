// Command mfaflow is the tool of operators and developers: the local stack, the
// simulators, events and settings. It is not deployed.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"mfaflow/pkg/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
