package servicebus

import (
	"errors"
	"fmt"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

const (
	// senderCredit is how many messages a client may have on the way on one link.
	senderCredit = 1000
	// maxRequestSize bounds a request to a management node.
	maxRequestSize = 1 << 20
)

// incoming is a link on which the client sends: messages to a queue or requests to a
// node. Fields are guarded by connection.mu, but only the reader uses them.
type incoming struct {
	channel *channel
	handle  uint32
	node    node
	name    string
	limit   int
	link    *broker.Link // nil for requests
	closing bool         // detached by this side; the client's detach is to come

	delivered uint32 // transfers begun so far
	granted   uint32 // delivered may grow up to this
	partial   *partial
}

// partial is a message of which more is to come.
type partial struct {
	id      uint32
	format  uint32
	settled bool
	bytes   []byte
}

// attachIncoming answers the attach of a client that wants to send. The connection is
// locked.
func (ch *channel) attachIncoming(p *amqp.Attach, n node) {
	l := &incoming{channel: ch, handle: p.Handle, node: n, name: p.Name, limit: maxRequestSize}
	if n.kind == nodeEntity {
		l.limit = broker.MaxMessageSize
		err := ch.conn.server.fault(n.queue, OpAttachSender)
		if err == nil && n.sub != broker.Main {
			err = broker.Errorf(broker.NotAllowed, "Messages cannot be sent to a dead-letter queue.")
		}
		if err == nil {
			l.link, err = n.queue.AttachSender(func(err error) {
				ch.conn.work.Go(func() { l.turnOut(err) })
			})
		}
		if err != nil {
			ch.refuse(p, err)
			return
		}
	}
	ch.incoming[p.Handle] = l
	ch.send(&amqp.Attach{
		Name: p.Name, Handle: p.Handle, Role: amqp.RoleReceiver, SenderSettleMode: p.SenderSettleMode, ReceiverSettleMode: p.ReceiverSettleMode,
		Source: p.Source, Target: p.Target, MaxMessageSize: uint64(l.limit),
	}, nil)
	l.granted = senderCredit
	l.announce()
}

// announce tells the client its credit.
func (l *incoming) announce() {
	f := l.channel.state()
	f.Handle, f.DeliveryCount, f.LinkCredit = &l.handle, new(l.delivered), new(l.granted-l.delivered)
	l.channel.send(f, nil)
}

// close lets go of what the link holds. The connection is locked.
func (l *incoming) close() {
	l.drop()
	if l.link != nil {
		l.link.Close()
		l.link = nil
	}
}

// turnOut detaches the link because its queue no longer takes messages.
func (l *incoming) turnOut(err error) {
	c := l.channel.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead && !l.channel.ended {
		l.detach(err)
	}
}

func (l *incoming) detach(err error) {
	if l.closing {
		return
	}
	l.close()
	l.closing = true
	l.channel.send(&amqp.Detach{Handle: l.handle, Closed: true, Error: wireError(err)}, nil)
}

// drop forgets a message that has not arrived whole.
func (l *incoming) drop() {
	if l.partial != nil {
		l.channel.conn.partial -= len(l.partial.bytes)
		l.partial = nil
	}
}

// transfer collects the parts of a message and hands it on when it is whole.
func (ch *channel) transfer(p *amqp.Transfer, payload []byte) error {
	ch.conn.mu.Lock()
	ch.nextIncoming++
	l := ch.incoming[p.Handle]
	if l == nil {
		ch.conn.mu.Unlock()
		return protocolError("amqp:session:unattached-handle", "transfer on handle %d", p.Handle)
	}
	whole, err := l.collect(p, payload)
	ch.conn.mu.Unlock()
	if err != nil || whole == nil {
		return err
	}
	return l.receive(whole)
}

func (l *incoming) collect(p *amqp.Transfer, payload []byte) (*partial, error) {
	if l.closing {
		return nil, nil
	}
	c := l.channel.conn
	if l.partial == nil {
		if p.DeliveryID == nil {
			return nil, protocolError("amqp:not-allowed", "the first transfer of a message has no delivery-id")
		}
		if l.delivered == l.granted {
			l.detach(broker.Errorf("amqp:link:transfer-limit-exceeded", "The link has no credit left."))
			return nil, nil
		}
		l.delivered++
		l.partial = &partial{id: *p.DeliveryID}
		if p.MessageFormat != nil {
			l.partial.format = *p.MessageFormat
		}
	}
	m := l.partial
	m.settled = m.settled || p.Settled
	if p.Aborted {
		l.drop()
		return nil, nil
	}
	if size := len(m.bytes) + len(payload); size > l.limit {
		err := broker.Errorf(broker.MessageSizeExceeded, "The received message (delivery-id:%d, size:%d bytes) exceeds the limit (%d bytes) currently allowed on the link.", m.id, size, l.limit)
		l.report(m, err) // some clients wait for the verdict on the message even after the detach
		l.detach(err)
		return nil, nil
	}
	if m.bytes == nil {
		m.bytes = payload // the frame's own memory
	} else {
		m.bytes = append(m.bytes, payload...)
	}
	c.partial += len(payload)
	if p.More {
		if c.partial > maxPartialBytes {
			return nil, protocolError(amqp.Symbol(broker.ResourceLimitExceeded), "more than %d bytes of unfinished messages", maxPartialBytes)
		}
		return nil, nil
	}
	l.drop()
	return m, nil
}

// receive acts on a whole message and reports to the client what became of it.
func (l *incoming) receive(m *partial) error {
	var err error
	switch l.node.kind {
	case nodeEntity:
		err = l.enqueue(m)
	default:
		err = l.request(m)
	}
	if cut, ok := errors.AsType[*cutError](err); ok {
		return cut
	}
	c := l.channel.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	l.report(m, err)
	if !l.closing && l.granted-l.delivered < senderCredit/2 {
		l.granted = l.delivered + senderCredit
		l.announce()
	}
	return nil
}

// report tells the client what became of a message. The connection is locked.
func (l *incoming) report(m *partial, err error) {
	if m.settled {
		return
	}
	var state amqp.DeliveryState = amqp.Accepted{}
	if err != nil {
		state = amqp.Rejected{Error: wireError(err)}
	}
	l.channel.send(&amqp.Disposition{Role: amqp.RoleReceiver, First: m.id, Last: m.id, Settled: true, State: state}, nil)
}

// enqueue puts the message, or the messages of a batch, on the queue.
func (l *incoming) enqueue(m *partial) error {
	batch, err := decodeBatch(m)
	if err != nil {
		return broker.Errorf(broker.DecodeError, "%v", err)
	}
	return l.channel.conn.server.withFault(l.node.queue, OpSend, func() error {
		_, err := l.node.queue.Send(batch)
		return err
	})
}

func decodeBatch(m *partial) ([]broker.Incoming, error) {
	outer, err := amqp.DecodeMessage(m.bytes)
	if err != nil {
		return nil, err
	}
	if m.format != amqp.BatchFormat {
		return []broker.Incoming{{Message: outer, Size: len(m.bytes)}}, nil
	}
	if len(outer.Data) == 0 {
		return nil, fmt.Errorf("a batch without messages")
	}
	batch := make([]broker.Incoming, len(outer.Data))
	for i, data := range outer.Data {
		inner, err := amqp.DecodeMessage(data)
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", i, err)
		}
		batch[i] = broker.Incoming{Message: inner, Size: len(data)}
	}
	return batch, nil
}
