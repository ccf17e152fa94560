package console

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"mfaflow/pkg/operate"
)

// ErrExposed: the console lets in whoever has its link, over plain HTTP. That is good
// enough on the machine of the operator and nowhere else.
var ErrExposed = errors.New("the console listens on loopback only: on another machine, reach it through a tunnel such as ssh -L")

// Server is a console that listens.
type Server struct {
	*Console
	http   *http.Server
	port   string
	served chan error
}

// Start serves a console on a loopback address such as 127.0.0.1:0, until Close or the
// end of ctx. It sets the hosts of cfg. ErrExposed for any other address.
func Start(ctx context.Context, address string, cfg Config) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address of the console: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, ErrExposed
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	at, ok := listener.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		// A hosts file can make localhost anything.
		listener.Close()
		return nil, ErrExposed
	}
	s := &Server{port: strconv.Itoa(at.Port), served: make(chan error, 1)}
	name := net.JoinHostPort(at.IP.String(), s.port)
	cfg.Hosts = []string{name, net.JoinHostPort("localhost", s.port)}
	if s.Console, err = New(ctx, cfg); err != nil {
		listener.Close()
		return nil, err
	}
	s.http = &http.Server{Addr: name, Handler: s.Console, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

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
