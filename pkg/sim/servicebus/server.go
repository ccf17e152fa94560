// Package servicebus is an Azure Service Bus namespace in this process: an AMQP 1.0
// server and the HTTP admin API, close enough to the service that its SDKs work
// unmodified. It serves tests, local runs and anybody else's client.
//
// What it answers is modelled on the Standard tier: queues, with everything a client can
// do to them. Topics, subscriptions, transactions, forwarding and partitioned storage
// are refused, TLS and WebSockets are not served. Time in the semantics (locks,
// schedules, expiry, duplicate detection) is Options.Clock; time on the wire (idle
// connections, how long a client waits for a session, how long its token is valid) is
// the machine's.
package servicebus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"mfaflow/pkg/sim/clock"
	"mfaflow/pkg/sim/servicebus/broker"
)

// Clock is the time source of locks, schedules and expiry; see package clock.
type Clock = clock.Clock

// QueueConfig are the properties of a queue.
type QueueConfig = broker.QueueConfig

// Counts are the numbers of messages of a queue.
type Counts = broker.Counts

// Options say where and how to serve. The zero value serves an empty namespace from
// memory on free loopback ports.
type Options struct {
	// Listen and AdminListen are the addresses of AMQP and of the admin API;
	// "127.0.0.1:0" by default.
	Listen, AdminListen string
	// Clock is the machine's by default.
	Clock Clock
	// DataDir keeps queues and messages across restarts and kills; "" keeps them in memory.
	DataDir string
	// Sync makes every change wait for the disk, so that it survives the machine and not
	// just this process.
	Sync bool
	// KeyName and Key are the shared access key that clients must sign with; without a
	// Key any token will do.
	KeyName, Key string
	// Queues are created unless they exist already.
	Queues []QueueConfig
	// Logger gets what happens to connections; nothing is logged by default.
	Logger *slog.Logger
}

// Server is a running namespace.
type Server struct {
	options  Options
	id       string
	broker   *broker.Broker
	log      *slog.Logger
	faults   faults
	uses     uses
	started  time.Time
	listener net.Listener
	admin    *http.Server
	adminURL string
	work     sync.WaitGroup

	mu          sync.Mutex
	connections map[*connection]struct{}
	down        bool
	closed      bool
	closeOnce   sync.Once
	closeErr    error
}

const (
	defaultListen  = "127.0.0.1:0"
	defaultKeyName = "RootManageSharedAccessKey"
	defaultKey     = "emulator"
)

// Start opens the namespace and serves it until Close. The context bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{options: o, id: uuid.NewString(), log: o.Logger, connections: map[*connection]struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.options.Clock == nil {
		s.options.Clock = clock.Real()
	}
	if s.options.KeyName == "" {
		s.options.KeyName = defaultKeyName
	}
	s.started = s.options.Clock.Now()
	var err error
	s.broker, err = broker.Open(broker.Options{Clock: s.options.Clock, Directory: o.DataDir, Sync: o.Sync})
	if err != nil {
		return nil, err
	}
	if err := s.listen(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start service bus: %w", err), s.broker.Close())
	}
	s.work.Go(s.accept)
	return s, nil
}

// listen creates the queues and opens the ports.
func (s *Server) listen(ctx context.Context) error {
	for _, c := range s.options.Queues {
		if _, ok := s.broker.Queue(c.Name); ok {
			continue
		}
		if _, err := s.broker.Create(c); err != nil {
			return err
		}
	}
	var network net.ListenConfig
	var err error
	if s.listener, err = network.Listen(ctx, "tcp", withDefault(s.options.Listen, defaultListen)); err != nil {
		return err
	}
	admin, err := network.Listen(ctx, "tcp", withDefault(s.options.AdminListen, defaultListen))
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	s.adminURL = "http://" + reachable(admin.Addr())
	s.admin = &http.Server{Handler: s.adminHandler(), ReadHeaderTimeout: handshakeTimeout, IdleTimeout: idleTimeout, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	s.work.Go(func() {
		if err := s.admin.Serve(admin); !errors.Is(err, http.ErrServerClosed) {
			s.log.ErrorContext(context.Background(), "admin API stopped", "err", err)
		}
	})
	return nil
}

func withDefault(s, absent string) string {
	if s == "" {
		return absent
	}
	return s
}

// reachable is an address that a client on this machine can use.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("accept", "err", err)
			time.Sleep(10 * time.Millisecond) // out of file descriptors: let some go first
			continue
		}
		c := newConnection(s, conn)
		s.mu.Lock()
		if s.down || s.closed {
			s.mu.Unlock()
			c.cancel()
			c.abort()
			continue
		}
		s.connections[c] = struct{}{}
		s.work.Go(func() {
			c.serve()
			s.mu.Lock()
			delete(s.connections, c)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}

// ConnectionString is what a client on this machine connects with. If no key was
// configured it carries one that means nothing.
func (s *Server) ConnectionString() string { return s.ConnectionStringAs(s.options.KeyName) }

// AdminURL is where the admin API is served, over plain HTTP.
func (s *Server) AdminURL() string { return s.adminURL }

// Counts are the message counts of a queue; ok is false if there is no such queue.
func (s *Server) Counts(queue string) (c Counts, ok bool) {
	q, ok := s.broker.Queue(queue)
	if !ok {
		return c, false
	}
	return q.Runtime().Counts, true
}

// Connections is how many AMQP connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connections)
}

// Close cuts all connections and ends the server. It returns once every goroutine has
// ended; calling it again does nothing.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.closeErr = s.listener.Close()
		s.DropConnections()
		brief, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if s.admin.Shutdown(brief) != nil {
			s.closeErr = errors.Join(s.closeErr, s.admin.Close())
		}
		s.work.Wait()
		s.closeErr = errors.Join(s.closeErr, s.broker.Close())
	})
	return s.closeErr
}

// Serve starts a server, prints how to reach it as the first two lines on stdout, and
// serves until ctx ends.
func Serve(ctx context.Context, o Options, stdout io.Writer) error {
	s, err := Start(ctx, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "SERVICEBUS_CONNECTION_STRING=%s\nSERVICEBUS_ADMIN_URL=%s\n", s.ConnectionString(), s.AdminURL())
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, s.Close())
}
