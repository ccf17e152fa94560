package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/spf13/cobra"

	"mfaflow/pkg/console"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
)

func newConsole(env []string) *cobra.Command {
	var t target
	var e exposure
	listen := ""
	c := &cobra.Command{
		Use:   "console",
		Short: "Serve a web page: what is stuck, plans, replays, holds, flags, people",
		Long: "Serve the console until Ctrl-C. On loopback, which is the default, it prints a link that lets in one browser, once, and\n" +
			"does what the other commands do, through event-replay and as the same operator. Its log, on standard error, says who\n" +
			"did what.\n\n" +
			"With --origin, --issuer, --client-id and --role it can be exposed: operators sign in at their identity provider, and\n" +
			"each acts with AWS credentials that the provider's token is exchanged for, so that event-replay knows the person.\n\n" +
			"A replay that runs in it ends with it; what was sent is sent, and the rest can be planned again.",
		Example: "  mfaflow console\n  mfaflow console --listen 127.0.0.1:8443 2>> console.log\n" +
			"  mfaflow console --listen 0.0.0.0:8443 --certificate tls.crt --key tls.key --origin https://console.contoso.example:8443 \\\n" +
			"    --issuer https://login.microsoftonline.com/<tenant>/v2.0 --client-id <id> --role arn:aws:iam::123456789012:role/mfaflow-console",
		Args: checked(cobra.NoArgs),
	}
	t.flags(c)
	e.flags(c)
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address; port 0 takes a free one")
	c.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		exposed, err := e.wanted()
		if err != nil {
			return err
		}
		serve := ownConsole
		if exposed {
			serve = e.serve
		}
		s, welcome, err := serve(cmd, t, listen, env)
		if errors.Is(err, console.ErrExposed) || errors.Is(err, console.ErrPlain) {
			return &usageError{err}
		} else if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		fmt.Fprint(cmd.OutOrStdout(), welcome)
		<-cmd.Context().Done()
		return nil
	}
	return c
}

// ownConsole serves a console for whoever runs this process.
func ownConsole(cmd *cobra.Command, t target, listen string, env []string) (started, string, error) {
	d, closing, err := t.open(cmd, env)
	if err != nil {
		return started{}, "", err
	}
	s, err := startConsole(cmd.Context(), listen, console.Config{Operations: d.Operations}, cmd.ErrOrStderr(), closing)
	return s, fmt.Sprintf("The console is at %s\nThe link lets in one browser, once. Ctrl-C ends it.\n", s.link), err
}

// serve serves a console for all who sign in.
func (e *exposure) serve(cmd *cobra.Command, t target, listen string, env []string) (started, string, error) {
	certificate, err := e.serving()
	if err != nil {
		return started{}, "", err
	}
	d, closing, err := e.open(cmd.Context(), t, env)
	if err != nil {
		return started{}, "", err
	}
	server, err := console.Start(cmd.Context(), listen, console.Config{
		Door: d, Origin: e.origin, TLS: certificate, Log: slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil)),
	})
	if err != nil {
		closing()
		return started{}, "", err
	}
	scheme := "https"
	if certificate == nil {
		scheme = "http, for a proxy that has the certificate and keeps the Host header"
	}
	return started{server, "", closing}, fmt.Sprintf("The console is at %s\nIt listens on %s (%s). Ctrl-C ends it.\n", e.origin, server.Address(), scheme), nil
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
	me, err := whoami()
	if err != nil {
		return started{}, err
	}
	cfg.Log = slog.New(slog.NewJSONHandler(log, nil))
	server, err := console.Start(ctx, address, cfg)
	if err != nil {
		return started{}, err
	}
	return started{server, server.Link(operate.Operator(me)), closing}, nil
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
