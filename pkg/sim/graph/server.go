package graph

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/sim/certificate"
	"mfaflow/pkg/sim/clock"
)

// Options configure a server. The zero value serves the sample tenant on free loopback ports.
type Options struct {
	Listen    string // plain HTTP; default 127.0.0.1:0
	TLSListen string // the same API over TLS, for azidentity; default 127.0.0.1:0
	// Tenant is what the server starts with and then owns; default the sample tenant.
	Tenant *Tenant
	Clock  clock.Clock  // default the machine's
	Logger *slog.Logger // default none
	// Random is the source of ids, secrets, pass values and the order of batch answers;
	// default crypto/rand. A seeded reader makes a run repeatable.
	Random   io.Reader
	CAFile   string // written at start when set: the certificate clients must trust
	Throttle Throttle
	Latency  time.Duration
	// Callbacks sends validation requests and notifications; default a transport of the
	// server's own, which trusts the machine's certificates.
	Callbacks http.RoundTripper
	// PlainCallbacks accepts notification URLs with http on loopback, which Graph never
	// does. It is for a stack on one machine.
	PlainCallbacks bool
	// HoldNotifications sends notifications only when Deliver is called.
	HoldNotifications bool
}

// Server is a running simulator. Its methods are safe for concurrent use.
type Server struct {
	clock    clock.Clock
	logger   *slog.Logger
	routes   routeTable
	caPEM    []byte
	tenantID string
	plain    net.Listener
	tls      net.Listener

	randomMu sync.Mutex
	random   io.Reader

	mu       sync.Mutex // guards all that follows
	dir      *directory
	throttle throttle
	faults   []*Fault
	faultID  int
	latency  time.Duration
	requests []Request
	tokenKey []byte
	changes  changeLog
	post     outbox

	callbacks      *http.Client
	plainCallbacks bool
	delivering     sync.Mutex      // held while notifications are sent; taken before mu
	life           context.Context // ends at shutdown; for requests that the server makes
	endLife        context.CancelFunc

	closing  chan struct{} // closed when shutdown begins
	handlers sync.RWMutex  // read-held by every running handler
	servers  []*http.Server
	serving  sync.WaitGroup
	shut     sync.Once
	shutErr  error
	stop     func() bool // releases the context of Start
}

// Start serves until ctx ends or Close is called.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Tenant == nil {
		t, err := SampleTenant()
		if err != nil {
			return nil, err
		}
		o.Tenant = t
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	s := &Server{
		clock: o.Clock, logger: o.Logger, routes: newRoutes(), random: bufio.NewReader(o.Random), tenantID: o.Tenant.ID,
		dir: newDirectory(o.Tenant), throttle: throttle{config: o.Throttle, used: make(map[string]*window)}, latency: o.Latency,
	}
	s.closing = make(chan struct{})
	s.life, s.endLife = context.WithCancel(ctx)
	s.post.wake, s.post.delivered = make(chan struct{}, 1), make(chan struct{})
	s.plainCallbacks = o.PlainCallbacks
	s.callbacks = newCallbacks(o.Callbacks)
	s.tokenKey = s.randomBytes(32)
	for _, a := range o.Tenant.Apps {
		if a.ClientSecret == "" {
			a.ClientSecret = fmt.Sprintf("sim~%x", s.randomBytes(20))
		}
	}
	ca, config, err := certificate.New("mfaflow Graph simulator")
	if err != nil {
		return nil, fmt.Errorf("graph simulator: %w", err)
	}
	s.caPEM = ca
	if o.CAFile != "" {
		if err := os.WriteFile(o.CAFile, ca, 0o644); err != nil {
			return nil, fmt.Errorf("graph simulator: write the CA file: %w", err)
		}
	}
	var listen net.ListenConfig
	if s.plain, err = listen.Listen(ctx, "tcp", orLoopback(o.Listen)); err != nil {
		return nil, fmt.Errorf("graph simulator: %w", err)
	}
	if s.tls, err = listen.Listen(ctx, "tcp", orLoopback(o.TLSListen)); err != nil {
		return nil, errors.Join(fmt.Errorf("graph simulator: %w", err), s.plain.Close())
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // TLS handshake noise of clients that gave up
	plain := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet}
	secure := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet, TLSConfig: config}
	s.servers = []*http.Server{plain, secure}
	s.serving.Go(func() { s.ended(plain.Serve(s.plain)) })
	s.serving.Go(func() { s.ended(secure.ServeTLS(s.tls, "", "")) })
	if !o.HoldNotifications {
		s.serving.Go(s.courier)
	}
	s.stop = context.AfterFunc(ctx, s.shutdown)
	return s, nil
}

func (s *Server) ended(err error) {
	if !errors.Is(err, http.ErrServerClosed) {
		s.logger.Error("graph simulator stopped serving", "err", err)
	}
}

func orLoopback(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

// Close cuts all connections and returns when every handler has ended. Closing twice is
// allowed.
func (s *Server) Close() error {
	s.stop()
	s.shutdown()
	return s.shutErr
}

func (s *Server) shutdown() {
	s.shut.Do(func() {
		close(s.closing)
		s.endLife()
		for _, srv := range s.servers {
			s.shutErr = errors.Join(s.shutErr, srv.Close())
		}
		s.handlers.Lock()   // waits for the handlers that run; later ones see closing
		s.handlers.Unlock() //nolint:staticcheck // an empty section is the wait
		s.serving.Wait()
		s.callbacks.CloseIdleConnections()
	})
}

// URL is the root over plain HTTP; Graph is at URL()+"/v1.0" and URL()+"/beta".
func (s *Server) URL() string { return "http://" + s.plain.Addr().String() }

// TLSURL is the same root over TLS.
func (s *Server) TLSURL() string { return "https://" + s.tls.Addr().String() }

// AuthorityURL is the authority host for azidentity, which accepts https only.
func (s *Server) AuthorityURL() string { return s.TLSURL() }

// CAPEM is the certificate that clients of TLSURL must trust.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.caPEM...) }

// TenantID is the id of the tenant served.
func (s *Server) TenantID() string { return s.tenantID }

// ServeHTTP dispatches between Graph, the control API and the token endpoint.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.RLock()
	defer s.handlers.RUnlock()
	select {
	case <-s.closing:
		panic(http.ErrAbortHandler)
	default:
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case first == versionOne || first == versionBeta:
		s.serveGraph(w, r)
	case first == "sim":
		s.serveControl(w, r)
	case r.Method == http.MethodGet && rest == "v2.0/.well-known/openid-configuration":
		s.serveOpenID(w, first)
	case r.Method == http.MethodPost && rest == "oauth2/v2.0/token":
		s.serveToken(w, r, first)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) randomBytes(n int) []byte {
	b := make([]byte, n)
	s.randomMu.Lock()
	defer s.randomMu.Unlock()
	if _, err := io.ReadFull(s.random, b); err != nil {
		panic(fmt.Sprintf("graph simulator: random source: %v", err)) // crypto/rand never fails; a seeded reader must not end
	}
	return b
}

// newID is a random version 4 GUID.
func (s *Server) newID() string {
	b := s.randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *Server) shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, int(binary.BigEndian.Uint32(s.randomBytes(4))%uint32(i+1)))
	}
}
