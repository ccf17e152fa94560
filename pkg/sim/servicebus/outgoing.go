package servicebus

import (
	"context"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

const (
	sessionFilter     = "com.microsoft:session-filter"
	propertyTimeout   = "com.microsoft:timeout"
	propertyLocked    = "com.microsoft:locked-until-utc"
	defaultAcceptWait = 60 * time.Second
	// acceptMargin is taken off the time a client gives for the next session, at most a
	// twentieth: its own deadline is hardly later, and it wants our answer, not that.
	acceptMargin = 250 * time.Millisecond
	takeBatch    = 64
	// maxReplies bounds the answers that wait for a client that asks but gives no credit.
	maxReplies = 1000
)

// outgoing is a link on which the client receives: messages of a queue or the replies of
// a node. Fields are guarded by connection.mu.
type outgoing struct {
	channel  *channel
	handle   uint32
	name     string
	node     node
	target   string // where the client wants its replies, as it calls it
	peerMax  uint64 // the most bytes of a message that the client takes; 0 is any
	settled  bool   // deliveries are settled when sent
	receiver *broker.Receiver
	closing  bool // detached by this side; the client's detach is to come
	cancel   context.CancelFunc
	wake     chan struct{}

	sent     uint32 // deliveries so far
	limit    uint32 // sent may grow up to this
	draining bool
	replies  [][]byte // of a node, waiting for credit
}

// attachOutgoing answers the attach of a client that wants to receive. The connection is
// locked; what may take time happens on a goroutine of the link.
func (ch *channel) attachOutgoing(p *amqp.Attach, n node) {
	ctx, cancel := context.WithCancel(ch.ctx)
	l := &outgoing{
		channel: ch, handle: p.Handle, name: p.Name, node: n, peerMax: p.MaxMessageSize, settled: p.SenderSettleMode == amqp.SenderSettled,
		cancel: cancel, wake: make(chan struct{}, 1),
	}
	if p.Target != nil {
		l.target = p.Target.Address
	}
	ch.outgoing[p.Handle] = l
	if n.kind != nodeEntity {
		l.answer(p, nil)
		l.settled = true
		ch.conn.work.Go(func() {
			defer cancel()
			l.deliverReplies(ctx)
		})
		return
	}
	ch.conn.work.Go(func() {
		defer cancel()
		if err := l.accept(ctx, p); err != nil {
			l.refuse(ctx, p, err)
			return
		}
		defer l.receiver.Close()
		if err := l.deliver(ctx); err != nil {
			l.detach(err)
		}
	})
}

// answer completes the attach. It announces no limit of message size: the broker adds
// its annotations to a message that is as large as a sender may send, and clients hold
// a link to the limit of either side. The connection is locked.
func (l *outgoing) answer(p *amqp.Attach, properties amqp.Map) {
	l.channel.send(&amqp.Attach{
		Name: p.Name, Handle: p.Handle, Role: amqp.RoleSender, SenderSettleMode: p.SenderSettleMode, ReceiverSettleMode: p.ReceiverSettleMode,
		Source: p.Source, Target: p.Target, InitialDeliveryCount: new(uint32(0)), Properties: properties,
	}, nil)
}

func (l *outgoing) refuse(ctx context.Context, p *amqp.Attach, err error) {
	c := l.channel.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() == nil && !l.channel.ended {
		l.channel.refuse(p, err)
	}
}

// detach ends the link from this side.
func (l *outgoing) detach(err error) {
	c := l.channel.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.attached() {
		return
	}
	l.closing = true
	l.channel.send(&amqp.Detach{Handle: l.handle, Closed: true, Error: wireError(err)}, nil)
}

// accept gets hold of the sub-queue or session and answers the attach.
func (l *outgoing) accept(ctx context.Context, p *amqp.Attach) error {
	if err := l.channel.conn.server.fault(l.node.queue, OpAttachReceiver); err != nil {
		return err
	}
	mode := broker.PeekLock
	if l.settled {
		mode = broker.ReceiveAndDelete
	}
	var r *broker.Receiver
	var err error
	filter, wantsSession := p.Source.Filter.Get(sessionFilter)
	if wantsSession {
		r, err = l.acceptSession(ctx, filter, p.Properties, mode)
	} else {
		r, err = l.node.queue.Receiver(l.node.sub, mode, l.poke)
	}
	if err != nil {
		return err
	}
	var properties amqp.Map
	if id, until, ok := r.Session(); ok {
		p.Source.Filter = p.Source.Filter.Set(sessionFilter, withSession(filter, id))
		properties = amqp.Map{{Key: amqp.Symbol(propertyLocked), Value: ticks(until)}}
	}
	c := l.channel.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	l.receiver = r
	if ctx.Err() == nil {
		l.answer(p, properties)
	}
	return nil
}

func (l *outgoing) acceptSession(ctx context.Context, filter any, properties amqp.Map, mode broker.Mode) (*broker.Receiver, error) {
	if l.node.sub != broker.Main {
		return nil, broker.Errorf(broker.NotAllowed, "A dead-letter queue has no sessions.")
	}
	if d, ok := filter.(amqp.Described); ok {
		filter = d.Value
	}
	if filter != nil {
		id, ok := amqp.Text(filter)
		if !ok {
			return nil, broker.Errorf(broker.ArgumentError, "The session filter is %T.", filter)
		}
		return l.node.queue.AcceptSession(id, mode, l.poke)
	}
	wait := defaultAcceptWait
	if v, ok := properties.Get(propertyTimeout); ok {
		if ms, ok := amqp.Integer(v); ok {
			wait = time.Duration(min(max(ms, 0), int64(24*time.Hour/time.Millisecond))) * time.Millisecond
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wait-min(wait/20, acceptMargin))
	defer cancel()
	return l.node.queue.AcceptNextSession(ctx, mode, l.poke)
}

// withSession puts the session id into the filter, in the shape the client used.
func withSession(filter any, id string) any {
	if d, ok := filter.(amqp.Described); ok {
		d.Value = id
		return d
	}
	return id
}

// ticks is t as .NET counts it: units of 100 ns since the year 1.
func ticks(t time.Time) int64 { return t.UnixMicro()*10 + 621355968000000000 }

// deliver sends messages as the client gives credit, until the link or its receiver
// ends. It returns the error to tell the client, nil if there is nobody to tell.
func (l *outgoing) deliver(ctx context.Context) error {
	for {
		if n := l.wanted(); n > 0 {
			deliveries, err := l.receiver.Take(min(n, takeBatch))
			if err != nil {
				return err
			}
			for i, d := range deliveries {
				if !l.send(d) {
					l.giveBack(deliveries[i:])
					return nil
				}
			}
			if len(deliveries) > 0 {
				continue
			}
		} else {
			l.receiver.Pass()
			if err := l.receiver.Err(); err != nil {
				return err
			}
		}
		l.drained()
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// wanted is how many messages the client has given credit for.
func (l *outgoing) wanted() int {
	l.channel.conn.mu.Lock()
	defer l.channel.conn.mu.Unlock()
	return int(l.limit - l.sent)
}

// giveBack returns messages that were taken for a client that is gone.
func (l *outgoing) giveBack(deliveries []broker.Delivery) {
	if l.settled {
		return // deleted when taken, as receive-and-delete means
	}
	for _, d := range deliveries {
		// A lock that is gone by now means the message is back already.
		_ = l.node.queue.Settle(l.node.sub, []amqp.UUID{d.Token}, broker.Outcome{Verdict: broker.Release})
	}
}

// send transfers one message. It reports false if the link has ended.
func (l *outgoing) send(d broker.Delivery) bool {
	ch := l.channel
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	id, ok := l.transfer(guid(d.Token), d.Payload)
	if !ok {
		return false
	}
	if !l.settled {
		ch.unsettled[id] = unsettled{l.node.queue, l.node.sub, d.Token}
		delete(ch.unsettled, id-maxUnsettled)
	}
	return true
}

// transfer writes one delivery in as many frames as it takes, waiting for the client's
// window, and returns its id. The connection is locked, but not while waiting.
func (l *outgoing) transfer(tag, payload []byte) (id uint32, ok bool) {
	ch := l.channel
	const overhead = 64 // frame header and transfer performative
	room := int(ch.conn.peerMaxFrame) - overhead
	for first := true; first || len(payload) > 0; first = false {
		for ch.peerWindow == 0 && l.attached() {
			ch.window.Wait()
		}
		if !l.attached() {
			return 0, false
		}
		p := &amqp.Transfer{Handle: l.handle, Settled: l.settled, More: len(payload) > room}
		if first {
			id = ch.nextDelivery
			ch.nextDelivery++
			l.sent++
			p.DeliveryID, p.DeliveryTag, p.MessageFormat = &id, tag, new(uint32(0))
		}
		ch.nextOutgoing++
		ch.peerWindow--
		part := payload[:min(room, len(payload))]
		payload = payload[len(part):]
		if !ch.send(p, part) {
			return 0, false
		}
	}
	return id, true
}

// attached reports whether the client can still receive on the link.
func (l *outgoing) attached() bool {
	return !l.channel.ended && !l.closing && l.channel.outgoing[l.handle] == l
}

// guid is a lock token as a delivery tag: the byte order of a .NET Guid.
func guid(t amqp.UUID) []byte {
	t[0], t[1], t[2], t[3] = t[3], t[2], t[1], t[0]
	t[4], t[5] = t[5], t[4]
	t[6], t[7] = t[7], t[6]
	return t[:]
}

// credit takes what a flow says about the link. The connection is locked.
func (l *outgoing) credit(p *amqp.Flow) {
	if l.closing || p.LinkCredit == nil {
		return
	}
	seen := uint32(0)
	if p.DeliveryCount != nil {
		seen = *p.DeliveryCount
	}
	if l.limit = seen + *p.LinkCredit; int32(l.limit-l.sent) < 0 {
		l.limit = l.sent
	}
	l.draining = p.Drain
	if p.Echo {
		l.channel.send(l.state(), nil)
	}
	l.poke()
}

// poke makes the goroutine of the link look at it anew. It never waits.
func (l *outgoing) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *outgoing) state() *amqp.Flow {
	f := l.channel.state()
	f.Handle, f.DeliveryCount, f.LinkCredit, f.Drain = &l.handle, new(l.sent), new(l.limit-l.sent), l.draining
	return f
}

// drained uses up the credit of a client that wants no more than what there is now.
func (l *outgoing) drained() {
	l.channel.conn.mu.Lock()
	defer l.channel.conn.mu.Unlock()
	if l.draining && !l.closing && !l.channel.ended {
		l.sent = l.limit
		l.channel.send(l.state(), nil)
		l.draining = false
	}
}

// reply queues an answer of the node. The connection is locked.
func (l *outgoing) reply(payload []byte) error {
	if len(l.replies) >= maxReplies {
		return protocolError(amqp.Symbol(broker.ResourceLimitExceeded), "%d replies wait for credit", maxReplies)
	}
	l.replies = append(l.replies, payload)
	l.poke()
	return nil
}

// deliverReplies sends the answers of a node as the client gives credit.
func (l *outgoing) deliverReplies(ctx context.Context) {
	for {
		l.channel.conn.mu.Lock()
		for len(l.replies) > 0 && l.limit != l.sent {
			payload := l.replies[0]
			l.replies = l.replies[1:]
			if _, ok := l.transfer([]byte{0, 0, 0, 0}, payload); !ok {
				break
			}
		}
		l.channel.conn.mu.Unlock()
		l.drained()
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
	}
}
