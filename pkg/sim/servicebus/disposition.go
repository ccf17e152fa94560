package servicebus

import (
	"errors"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

// disposition settles deliveries as the client says, and confirms each.
func (ch *channel) disposition(p *amqp.Disposition) error {
	if p.Role != amqp.RoleReceiver || p.State == nil && !p.Settled {
		return nil // about what this side received, or nothing yet
	}
	if _, ok := p.State.(amqp.Received); ok {
		return nil
	}
	if p.Last-p.First > maxUnsettled {
		return protocolError("amqp:not-allowed", "a disposition of %d deliveries", p.Last-p.First)
	}
	for id := p.First; ; id++ {
		if err := ch.settle(id, p); err != nil {
			return err
		}
		if id == p.Last {
			return nil
		}
	}
}

func (ch *channel) settle(id uint32, p *amqp.Disposition) error {
	c := ch.conn
	c.mu.Lock()
	d, known := ch.unsettled[id]
	c.mu.Unlock()
	err := error(broker.Errorf(broker.MessageLockLost, "The delivery %d is not known on this link, or was settled before.", id))
	if known {
		err = ch.apply(d, p.State)
	}
	if cut, ok := errors.AsType[*cutError](err); ok {
		return cut
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || isCondition(err, broker.MessageLockLost) {
		delete(ch.unsettled, id)
	}
	if p.Settled {
		return nil
	}
	// A dead-lettered message is confirmed as accepted, not with the client's own
	// rejected: the SDK would take that for a failure.
	var state amqp.DeliveryState = amqp.Accepted{}
	if err != nil {
		state = amqp.Rejected{Error: wireError(err)}
	}
	ch.send(&amqp.Disposition{Role: amqp.RoleSender, First: id, Last: id, Settled: true, State: state}, nil)
	return nil
}

func (ch *channel) apply(d unsettled, state amqp.DeliveryState) error {
	o, op := outcomeOf(state)
	return ch.conn.server.withFault(d.queue, op, func() error {
		return d.queue.Settle(d.sub, []amqp.UUID{d.token}, o)
	})
}

// outcomeOf reads a delivery state as Service Bus does.
func outcomeOf(state amqp.DeliveryState) (broker.Outcome, Operation) {
	switch s := state.(type) {
	case amqp.Accepted:
		return broker.Outcome{Verdict: broker.Complete}, OpComplete
	case amqp.Modified:
		if s.UndeliverableHere {
			return broker.Outcome{Verdict: broker.Defer, Properties: s.Annotations}, OpDefer
		}
		return broker.Outcome{Verdict: broker.Abandon, Properties: s.Annotations}, OpAbandon
	case amqp.Rejected:
		o := broker.Outcome{Verdict: broker.DeadLetterMessage}
		if s.Error == nil {
			return o, OpDeadLetter
		}
		for _, e := range s.Error.Info {
			switch key, _ := amqp.Text(e.Key); key {
			case "DeadLetterReason":
				o.Reason, _ = amqp.Text(e.Value)
			case "DeadLetterErrorDescription":
				o.Description, _ = amqp.Text(e.Value)
			default:
				o.Properties = append(o.Properties, e)
			}
		}
		if s.Error.Condition != "com.microsoft:dead-letter" && o.Reason == "" {
			o.Reason, o.Description = string(s.Error.Condition), s.Error.Description
		}
		return o, OpDeadLetter
	default: // released, or settled without a state
		return broker.Outcome{Verdict: broker.Release}, OpRelease
	}
}
