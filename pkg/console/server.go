package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"mfaflow/pkg/operate"
)

// ErrExposed: without a Door the console lets in whoever has its link, over plain HTTP. That
// is good enough on the machine of the operator and nowhere else.
var ErrExposed = errors.New("without an identity provider the console listens on loopback only: on another machine, reach it through a tunnel such as ssh -L")

// ErrPlain: passwords of nobody go over the wire, but sessions do.
var ErrPlain = errors.New("an exposed console needs a certificate; without one it listens on loopback only, for a proxy that has one")

// Server is a console that listens.
type Server struct {
	*Console
	http   *http.Server
	served chan error
}

// Start serves a console on an address such as 127.0.0.1:0, until Close or the end of ctx.
// It is one of loopback, unless the console has a Door and a certificate: ErrExposed,
// ErrPlain. Without a Door it sets the hosts of cfg.
func Start(ctx context.Context, address string, cfg Config) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address of the console: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		if err := cfg.elsewhere(); err != nil {
			return nil, err
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	at, ok := listener.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		// A hosts file can make localhost anything.
		if err := cfg.elsewhere(); err != nil {
			listener.Close()
			return nil, err
		}
	}
	s := &Server{served: make(chan error, 1)}
	port := strconv.Itoa(at.Port)
	name := net.JoinHostPort(at.IP.String(), port)
	if cfg.Door == nil {
		cfg.Hosts = []string{name, net.JoinHostPort("localhost", port)}
	}
	if s.Console, err = New(ctx, cfg); err != nil {
		listener.Close()
		return nil, err
	}
	s.http = &http.Server{Addr: name, Handler: s.Console, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, TLSConfig: cfg.TLS,
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn)}
	go func() {
		if cfg.TLS != nil {
			s.served <- s.http.ServeTLS(listener, "", "")
		} else {
			s.served <- s.http.Serve(listener)
		}
	}()
	return s, nil
}

// elsewhere reports why a console may not be reached from other machines; nil when it may.
func (c Config) elsewhere() error {
	switch {
	case c.Door == nil:
		return ErrExposed
	case c.TLS == nil:
		return ErrPlain
	default:
		return nil
	}
}

// Address is where it listens.
func (s *Server) Address() string { return s.http.Addr }

// Link is an address that lets one browser in as the operator, once.
func (s *Server) Link(operator operate.Operator) string {
	return "http://" + s.http.Addr + s.Invite(operator)
}

// Close ends replays between two chunks, then the server.
func (s *Server) Close() error {
	s.Console.Close()
	err := s.http.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
