package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/user"

	"github.com/spf13/cobra"

	"mfaflow/pkg/console"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
)

func newConsole(env []string) *cobra.Command {
	var t target
	listen := ""
	c := &cobra.Command{
		Use:   "console",
		Short: "Serve a web page on this machine: what is stuck, plans, replays, holds, flags, people",
		Long: "Serve the console on loopback until Ctrl-C and print a link that lets in one browser, once. It does what the other\n" +
			"commands do, through event-replay and as the same operator. Its log, on standard error, says who did what.\n\n" +
			"A replay that runs in it ends with it; what was sent is sent, and the rest can be planned again.",
		Example: "  mfaflow console\n  mfaflow console --listen 127.0.0.1:8443 2>> console.log",
		Args:    checked(cobra.NoArgs),
	}
	t.flags(c)
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address on loopback; port 0 takes a free one")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		d, closing, err := t.open(cmd, env)
		if err != nil {
			return err
		}
		s, err := startConsole(cmd.Context(), listen, console.Config{Operations: d.Operations}, cmd.ErrOrStderr(), closing)
		if errors.Is(err, console.ErrExposed) {
			return &usageError{err}
		} else if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		fmt.Fprintf(d.out, "The console is at %s\nThe link lets in one browser, once. Ctrl-C ends it.\n", s.link)
		<-cmd.Context().Done()
		return nil
	}
	return c
}

// started is a console, the link that lets in who started it, and what to close with it.
type started struct {
	*console.Server
	link    string
	closing func()
}

// Close ends the console.
func (s started) Close() error {
	err := s.Server.Close()
	s.closing()
	return err
}

// startConsole serves a console for whoever runs this process.
func startConsole(ctx context.Context, address string, cfg console.Config, log io.Writer, closing func()) (s started, err error) {
	defer func() {
		if err != nil {
			closing()
		}
	}()
	me, err := user.Current()
	if err != nil {
		return started{}, fmt.Errorf("who runs this: %w", err)
	}
	cfg.Log = slog.New(slog.NewJSONHandler(log, nil))
	server, err := console.Start(ctx, address, cfg)
	if err != nil {
		return started{}, err
	}
	return started{server, server.Link(operate.Operator(me.Username)), closing}, nil
}

// openConsole serves a console of the stack, with the audit lines of its functions.
func (l *local) openConsole(ctx context.Context, log io.Writer) (started, error) {
	token, err := operateapi.ReadToken(l.TokenFile())
	if err != nil {
		return started{}, err
	}
	connections := &http.Transport{}
	client, err := operateapi.New(l.OperationsURL(), operateapi.Bearer(token, connections))
	if err != nil {
		return started{}, err
	}
	s, err := startConsole(ctx, "127.0.0.1:0", console.Config{Operations: client, Audit: &l.audit}, log, connections.CloseIdleConnections)
	if err == nil {
		fmt.Fprintf(l.out, "  console          %s  (works once)\n", s.link)
	}
	return s, err
}
