package servicebus

import (
	"context"
	"errors"
	"strings"
	"sync"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

const (
	initialOutgoingID = 1
	// incomingWindow is announced with every flow: transfers are read as fast as they
	// come, back-pressure is that of TCP.
	incomingWindow = 1 << 30
	// maxUnsettled is how many deliveries of a channel can be settled on their link.
	// Older ones, whose lock is long gone, are forgotten.
	maxUnsettled = 1 << 16
)

// channel is one AMQP session. Fields are guarded by connection.mu.
type channel struct {
	conn   *connection
	number uint16
	ctx    context.Context
	cancel context.CancelFunc
	ended  bool

	nextIncoming uint32
	nextOutgoing uint32
	nextDelivery uint32
	peerWindow   uint32 // transfers the client still takes
	window       *sync.Cond

	incoming  map[uint32]*incoming
	outgoing  map[uint32]*outgoing
	unsettled map[uint32]unsettled
}

// unsettled is a delivery that the client may still settle.
type unsettled struct {
	queue *broker.Queue
	sub   broker.SubQueue
	token amqp.UUID
}

func newChannel(c *connection, number uint16, p *amqp.Begin) *channel {
	ctx, cancel := context.WithCancel(c.ctx)
	return &channel{
		conn: c, number: number, ctx: ctx, cancel: cancel,
		nextIncoming: p.NextOutgoingID, nextOutgoing: initialOutgoingID, peerWindow: p.IncomingWindow,
		window: sync.NewCond(&c.mu), incoming: map[uint32]*incoming{}, outgoing: map[uint32]*outgoing{}, unsettled: map[uint32]unsettled{},
	}
}

// end drops all links and returns the receivers that are still to be closed. The
// connection is locked.
func (ch *channel) end() (held []*broker.Receiver) {
	ch.ended = true
	ch.cancel()
	ch.window.Broadcast()
	for _, l := range ch.incoming {
		l.close()
	}
	for _, l := range ch.outgoing {
		if l.receiver != nil {
			held = append(held, l.receiver)
		}
	}
	ch.incoming, ch.outgoing = nil, nil
	return held
}

func (ch *channel) send(p amqp.Performative, payload []byte) bool {
	return ch.conn.out.frame(amqp.FrameAMQP, ch.number, p, payload)
}

// flow takes the client's windows and credit.
func (ch *channel) flow(p *amqp.Flow) error {
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	received := uint32(initialOutgoingID)
	if p.NextIncomingID != nil {
		received = *p.NextIncomingID
	}
	ch.peerWindow = received + p.IncomingWindow - ch.nextOutgoing
	if int32(ch.peerWindow) < 0 {
		ch.peerWindow = 0
	}
	ch.window.Broadcast()
	if p.Handle == nil {
		if p.Echo {
			ch.send(ch.state(), nil)
		}
		return nil
	}
	if l := ch.outgoing[*p.Handle]; l != nil {
		l.credit(p)
		return nil
	}
	if l := ch.incoming[*p.Handle]; l != nil {
		if p.Echo && !l.closing {
			l.announce()
		}
		return nil
	}
	return protocolError("amqp:session:unattached-handle", "flow on handle %d", *p.Handle)
}

// state is a flow that says where this side of the session stands.
func (ch *channel) state() *amqp.Flow {
	return &amqp.Flow{
		NextIncomingID: new(ch.nextIncoming), IncomingWindow: incomingWindow,
		NextOutgoingID: ch.nextOutgoing, OutgoingWindow: incomingWindow,
	}
}

func (ch *channel) detach(p *amqp.Detach) error {
	ch.conn.mu.Lock()
	closing := false
	var receiver *broker.Receiver
	if l := ch.incoming[p.Handle]; l != nil {
		closing = l.closing
		l.close()
		delete(ch.incoming, p.Handle)
	} else if l := ch.outgoing[p.Handle]; l != nil {
		closing, receiver = l.closing, l.receiver
		l.cancel()
		delete(ch.outgoing, p.Handle)
		ch.window.Broadcast()
	} else {
		ch.conn.mu.Unlock()
		return protocolError("amqp:session:unattached-handle", "detach of handle %d", p.Handle)
	}
	ch.conn.mu.Unlock()
	if receiver != nil {
		// Before the answer: who hears that the link is gone finds its session free.
		receiver.Close()
	}
	if !closing { // a detach that answers ours is not answered again
		ch.send(&amqp.Detach{Handle: p.Handle, Closed: p.Closed}, nil)
	}
	return nil
}

// node is what a link address names.
type node struct {
	kind  nodeKind
	queue *broker.Queue
	sub   broker.SubQueue
	path  string // without host, for claims
}

type nodeKind uint8

const (
	nodeClaims nodeKind = iota + 1
	nodeManagement
	nodeEntity
)

const (
	suffixManagement  = "/$management"
	suffixDeadLetter  = "/$deadletterqueue"
	suffixTransferDLQ = "/$transfer/$deadletterqueue"
)

// resolve finds the node of an address: a queue, its dead-letter queues, the management
// node of one of these, or $cbs. Names are not case-sensitive.
func (s *Server) resolve(address string) (node, error) {
	n := node{kind: nodeEntity, sub: broker.Main, path: entityPath(address)}
	name := n.path
	if strings.EqualFold(name, "$cbs") {
		n.kind = nodeClaims
		return n, nil
	}
	if rest, ok := cutSuffixFold(name, suffixManagement); ok {
		n.kind, name = nodeManagement, rest
	}
	if rest, ok := cutSuffixFold(name, suffixTransferDLQ); ok {
		n.sub, name = broker.TransferDeadLetter, rest
	} else if rest, ok := cutSuffixFold(name, suffixDeadLetter); ok {
		n.sub, name = broker.DeadLetter, rest
	}
	var ok bool
	if n.queue, ok = s.broker.Queue(name); !ok {
		return n, broker.Errorf(broker.NotFound, "The messaging entity '%s' could not be found.", name)
	}
	return n, nil
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// attach starts a link, or refuses it as Service Bus does: with an attach without
// source and target, and a detach that says why.
func (ch *channel) attach(p *amqp.Attach) error {
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	if p.Handle > handleMax || ch.incoming[p.Handle] != nil || ch.outgoing[p.Handle] != nil {
		return protocolError("amqp:session:handle-in-use", "attach on handle %d, which is in use or above %d", p.Handle, handleMax)
	}
	var address string
	switch {
	case p.Role == amqp.RoleSender && p.Target != nil && p.Target.Coordinator:
		ch.refuse(p, broker.Errorf(broker.NotImplemented, "Transactions are not supported."))
		return nil
	case p.Role == amqp.RoleSender && p.Target != nil:
		address = p.Target.Address
	case p.Role == amqp.RoleReceiver && p.Source != nil:
		address = p.Source.Address
	}
	n, err := ch.conn.server.resolve(address)
	switch {
	case err != nil:
	case n.kind != nodeClaims:
		right := rightListen
		if p.Role == amqp.RoleSender {
			right = rightSend
		}
		if err = ch.conn.claims.check(n.path, right); err == nil && n.kind == nodeEntity {
			ch.conn.server.uses.add(Use{ch.conn.claims.keyName, n.queue.Config().Name, right})
		}
	case ch.conn.hasClaimsLink(p.Role):
		err = broker.Errorf(broker.NotAllowed, "The $cbs node allows one link of each direction on a connection.")
	}
	if err != nil {
		ch.refuse(p, err)
		return nil
	}
	if p.Role == amqp.RoleSender {
		ch.attachIncoming(p, n)
	} else {
		ch.attachOutgoing(p, n)
	}
	return nil
}

// refuse answers an attach that cannot be. The handle stays taken until the client's
// detach, so that what it has sent meanwhile is ignored.
func (ch *channel) refuse(p *amqp.Attach, err error) {
	answer := &amqp.Attach{
		Name: p.Name, Handle: p.Handle, Role: !p.Role, SenderSettleMode: p.SenderSettleMode, ReceiverSettleMode: p.ReceiverSettleMode,
	}
	if p.Role == amqp.RoleSender {
		ch.incoming[p.Handle] = &incoming{channel: ch, handle: p.Handle, closing: true}
	} else {
		answer.InitialDeliveryCount = new(uint32(0))
		ch.outgoing[p.Handle] = &outgoing{channel: ch, handle: p.Handle, closing: true, cancel: func() {}}
	}
	ch.send(answer, nil)
	ch.send(&amqp.Detach{Handle: p.Handle, Closed: true, Error: wireError(err)}, nil)
}

// wireError is err as a client sees it.
func wireError(err error) *amqp.Error {
	var refused *broker.Error
	if !errors.As(err, &refused) {
		refused = broker.Errorf(broker.InternalError, "%v", err)
	}
	return &amqp.Error{Condition: amqp.Symbol(refused.Condition), Description: refused.Description}
}
