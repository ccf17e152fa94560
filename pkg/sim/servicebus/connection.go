package servicebus

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

const (
	maxFrameSize = 65536
	channelMax   = 4999
	handleMax    = 1023
	// idleTimeout is announced to clients, which then send something at half that
	// interval; idleGrace is for one that sends at the last moment.
	idleTimeout      = 120 * time.Second
	idleGrace        = 15 * time.Second
	handshakeTimeout = 30 * time.Second
	closeTimeout     = 5 * time.Second
	// maxPartialBytes bounds the messages of one connection that have begun to arrive.
	maxPartialBytes = 16 << 20
)

// connection is one client. The reader goroutine handles its frames in order; each link
// that sends to the client has a goroutine of its own.
type connection struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	out    *outbox
	opened chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines of links

	mu           sync.Mutex
	peerMaxFrame uint32
	channels     map[uint16]*channel
	claims       claims
	partial      int
	dead         bool
}

func newConnection(s *Server, nc net.Conn) *connection {
	ctx, cancel := context.WithCancel(context.Background())
	return &connection{
		server: s, conn: nc, in: bufio.NewReaderSize(nc, maxFrameSize), out: newOutbox(), opened: make(chan struct{}),
		ctx: ctx, cancel: cancel, channels: map[uint16]*channel{}, peerMaxFrame: amqp.MinMaxFrameSize,
	}
}

// serve handles the connection until it ends, and leaves nothing behind.
func (c *connection) serve() {
	var writer sync.WaitGroup
	writer.Go(func() { c.out.run(c.conn, c.opened) })
	err := c.converse()
	if fault := closeError(err); fault != nil {
		c.server.log.Debug("connection refused", "peer", c.conn.RemoteAddr().String(), "err", err)
		c.out.frame(amqp.FrameAMQP, 0, &amqp.Close{Error: fault}, nil)
	}
	c.cancel()
	c.mu.Lock()
	c.dead = true
	for _, ch := range c.channels {
		ch.end()
	}
	c.mu.Unlock()
	c.out.end()
	timer := time.AfterFunc(closeTimeout, func() { c.conn.Close() })
	writer.Wait()
	c.linger()
	timer.Stop()
	c.conn.Close()
	c.work.Wait()
}

// linger lets the client read the last frames: closing a socket that still has input
// would reset it and take them back.
func (c *connection) linger() {
	if tcp, ok := c.conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil && tcp.SetReadDeadline(time.Now().Add(time.Second)) == nil {
		_, _ = io.CopyN(io.Discard, tcp, maxPartialBytes) // whatever happens, the connection is closed next
	}
}

// abort cuts the connection without a word.
func (c *connection) abort() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: the peer sees a reset instead of an end
	}
	c.conn.Close()
	c.out.end()
}

// errClosed ends a conversation that the client closed in good order.
var errClosed = errors.New("closed by the client")

// closeError is what to tell the client about err, nil if there is nothing to tell.
func closeError(err error) *amqp.Error {
	var network net.Error
	var refused *amqp.Error
	switch {
	case errors.Is(err, errClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return nil
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, amqp.ErrMalformed):
		return &amqp.Error{Condition: "amqp:connection:framing-error", Description: err.Error()}
	case errors.As(err, &network) && network.Timeout():
		return &amqp.Error{Condition: amqp.Symbol(broker.ConnectionForced), Description: "The connection was inactive for too long."}
	case errors.As(err, &network):
		return nil
	}
	return &amqp.Error{Condition: amqp.Symbol(broker.InternalError), Description: err.Error()}
}

func protocolError(condition amqp.Symbol, format string, args ...any) *amqp.Error {
	return &amqp.Error{Condition: condition, Description: fmt.Sprintf(format, args...)}
}

func (c *connection) converse() error {
	if err := c.conn.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := c.handshake(); err != nil {
		return err
	}
	var deadline time.Time
	for {
		if now := time.Now(); now.Add(idleTimeout).After(deadline) {
			deadline = now.Add(idleTimeout + idleGrace)
			if err := c.conn.SetReadDeadline(deadline); err != nil {
				return err
			}
		}
		frame, err := amqp.ReadFrame(c.in, maxFrameSize)
		if err != nil {
			return err
		}
		if frame.Type != amqp.FrameAMQP {
			return protocolError("amqp:connection:framing-error", "frame of type %d", frame.Type)
		}
		if len(frame.Body) == 0 {
			continue
		}
		p, payload, err := amqp.DecodePerformative(frame.Body)
		if err != nil {
			return err
		}
		if err := c.handle(frame.Channel, p, payload); err != nil {
			return err
		}
	}
}

var (
	headerAMQP = []byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0}
	headerSASL = []byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0}
)

// handshake takes the connection through SASL and open.
func (c *connection) handshake() error {
	if err := c.expectHeader(headerSASL); err != nil {
		return err
	}
	c.out.raw(headerSASL)
	c.out.frame(amqp.FrameSASL, 0, &amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"}}, nil)
	frame, err := amqp.ReadFrame(c.in, maxFrameSize)
	if err != nil {
		return err
	}
	p, _, err := amqp.DecodePerformative(frame.Body)
	if err != nil {
		return err
	}
	init, ok := p.(*amqp.SASLInit)
	if !ok || frame.Type != amqp.FrameSASL {
		return protocolError("amqp:connection:framing-error", "%T in place of a SASL init", p)
	}
	if !c.authenticate(init) {
		c.out.frame(amqp.FrameSASL, 0, &amqp.SASLOutcome{Code: amqp.SASLAuth}, nil)
		return errClosed
	}
	c.out.frame(amqp.FrameSASL, 0, &amqp.SASLOutcome{Code: amqp.SASLOK}, nil)
	if err := c.expectHeader(headerAMQP); err != nil {
		return err
	}
	c.out.raw(headerAMQP)
	return c.open()
}

// expectHeader reads a protocol header. To any other one the answer is the header that
// is wanted, and the end: AMQP 1.0 part 2, section 2.2.
func (c *connection) expectHeader(want []byte) error {
	var got [8]byte
	if _, err := io.ReadFull(c.in, got[:]); err != nil {
		return err
	}
	if string(got[:]) != string(want) {
		c.out.raw(want)
		return errClosed
	}
	return nil
}

// authenticate judges the SASL mechanism. All but PLAIN leave it to the claims that the
// client puts later.
func (c *connection) authenticate(init *amqp.SASLInit) bool {
	switch init.Mechanism {
	case "MSSBCBS", "ANONYMOUS", "EXTERNAL":
		return true
	case "PLAIN":
		parts := strings.Split(string(init.InitialResponse), "\x00")
		if len(parts) != 3 {
			return false
		}
		o := c.server.options
		if o.Key != "" && (parts[1] != o.KeyName || subtle.ConstantTimeCompare([]byte(parts[2]), []byte(o.Key)) != 1) {
			return false
		}
		c.claims.put("", time.Time{})
		return true
	}
	return false
}

func (c *connection) open() error {
	frame, err := amqp.ReadFrame(c.in, maxFrameSize)
	if err != nil {
		return err
	}
	p, _, err := amqp.DecodePerformative(frame.Body)
	if err != nil {
		return err
	}
	open, ok := p.(*amqp.Open)
	if !ok || frame.Type != amqp.FrameAMQP {
		return protocolError("amqp:connection:framing-error", "%T in place of an open", p)
	}
	c.peerMaxFrame = maxFrameSize
	if open.MaxFrameSize != 0 {
		c.peerMaxFrame = min(max(open.MaxFrameSize, amqp.MinMaxFrameSize), maxFrameSize)
	}
	c.out.frame(amqp.FrameAMQP, 0, &amqp.Open{
		ContainerID: c.server.id, MaxFrameSize: maxFrameSize, ChannelMax: channelMax,
		IdleTimeout: uint32(idleTimeout.Milliseconds()),
	}, nil)
	close(c.opened)
	return nil
}

// handle acts on one frame. An error ends the connection.
func (c *connection) handle(number uint16, p amqp.Performative, payload []byte) error {
	switch p := p.(type) {
	case *amqp.Close:
		c.out.frame(amqp.FrameAMQP, 0, &amqp.Close{}, nil)
		return errClosed
	case *amqp.Begin:
		return c.begin(number, p)
	}
	c.mu.Lock()
	ch := c.channels[number]
	c.mu.Unlock()
	if ch == nil {
		return protocolError("amqp:connection:framing-error", "%T on channel %d, which has no session", p, number)
	}
	switch p := p.(type) {
	case *amqp.Attach:
		return ch.attach(p)
	case *amqp.Flow:
		return ch.flow(p)
	case *amqp.Transfer:
		return ch.transfer(p, payload)
	case *amqp.Disposition:
		return ch.disposition(p)
	case *amqp.Detach:
		return ch.detach(p)
	case *amqp.End:
		c.mu.Lock()
		held := ch.end()
		delete(c.channels, number)
		c.mu.Unlock()
		for _, r := range held { // before the answer, as with a detach
			r.Close()
		}
		c.out.frame(amqp.FrameAMQP, number, &amqp.End{}, nil)
		return nil
	}
	return protocolError("amqp:not-allowed", "%T on an open connection", p)
}

func (c *connection) begin(number uint16, p *amqp.Begin) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number > channelMax || c.channels[number] != nil {
		return protocolError("amqp:connection:framing-error", "begin on channel %d, which is in use or above %d", number, channelMax)
	}
	c.channels[number] = newChannel(c, number, p)
	c.out.frame(amqp.FrameAMQP, number, &amqp.Begin{
		RemoteChannel: &number, NextOutgoingID: initialOutgoingID, IncomingWindow: incomingWindow, OutgoingWindow: incomingWindow, HandleMax: handleMax,
	}, nil)
	return nil
}

// receiverLink finds the open receiving link with a name, wherever on the connection.
func (c *connection) receiverLink(name string) *outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.channels {
		for _, l := range ch.outgoing {
			if l.name == name && l.receiver != nil && !l.closing {
				return l
			}
		}
	}
	return nil
}

// hasClaimsLink reports whether the client has a link of this role to $cbs already. The
// connection is locked.
func (c *connection) hasClaimsLink(role bool) bool {
	for _, ch := range c.channels {
		if role == amqp.RoleSender {
			for _, l := range ch.incoming {
				if l.node.kind == nodeClaims && !l.closing {
					return true
				}
			}
			continue
		}
		for _, l := range ch.outgoing {
			if l.node.kind == nodeClaims && !l.closing {
				return true
			}
		}
	}
	return false
}
