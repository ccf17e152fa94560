package broker

import (
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// Verdict is what a receiver makes of a locked message.
type Verdict uint8

// The verdicts. Release gives a message back that was never looked at.
const (
	Complete Verdict = iota + 1
	Abandon
	Defer
	DeadLetterMessage
	Release
)

// Outcome settles a message. Properties are merged into the application properties;
// Reason and Description are those of a dead letter.
type Outcome struct {
	Verdict     Verdict
	Properties  amqp.Map
	Reason      string
	Description string
}

// Settle ends the locks, all or none: one that is not held any more fails the call with
// MessageLockLost and changes nothing.
func (q *Queue) Settle(sub SubQueue, tokens []amqp.UUID, o Outcome) error {
	now, err := q.enter()
	defer q.leave()
	if err != nil {
		return err
	}
	if o.Verdict < Complete || o.Verdict > Release {
		return Errorf(ArgumentError, "There is no verdict %d.", o.Verdict)
	}
	if err := checkProperties(o.Properties); err != nil {
		return err
	}
	var changes []change
	for _, t := range tokens {
		m := q.locks[t]
		if m == nil || m.sub() != sub {
			return lockLost()
		}
		changes = append(changes, q.settled(m, o, now)...)
	}
	return q.commit(changes...)
}

// settled are the changes that an outcome makes.
func (q *Queue) settled(m *message, o Outcome, now time.Time) []change {
	switch o.Verdict {
	case Complete:
		return []change{{kind: changeRemove, seq: m.seq}}
	case DeadLetterMessage:
		return []change{deadLettered(m, o.Reason, o.Description, o.Properties)}
	case Release:
		return q.returned(m, nil, false, now)
	case Abandon:
		return q.returned(m, o.Properties, true, now)
	default: // Defer
		next := m.revised()
		next.state = StateDeferred
		next.setProperties(o.Properties)
		return []change{{kind: changePut, message: next}}
	}
}

// returned gives a message back to the queue, or moves it on if that was once too often
// or it has expired meanwhile. In the dead-letter queue deliveries are not counted, and
// a deferred message stays deferred.
func (q *Queue) returned(m *message, properties amqp.Map, failed bool, now time.Time) []change {
	next := m.revised()
	next.setProperties(properties)
	if failed && !m.dead {
		next.deliveries++
		if next.deliveries >= uint32(q.config.MaxDeliveryCount) {
			return []change{deadLettered(next, "MaxDeliveryCountExceeded",
				Errorf("", "Message could not be consumed after %d delivery attempts.", next.deliveries).Description, nil)}
		}
	}
	if at, ok := m.expiresAt(); ok && !at.After(now) && m.state == StateActive {
		if !q.config.DeadLetterOnExpiry {
			return []change{{kind: changeRemove, seq: m.seq}}
		}
		return []change{deadLettered(next, "TTLExpiredException", "The message expired and was dead lettered.", nil)}
	}
	return []change{{kind: changePut, message: next}}
}

// giveBack returns a message whose lock has run out.
func (q *Queue) giveBack(m *message, now time.Time) {
	q.failOn(q.commit(q.returned(m, nil, true, now)...))
}

// deadLettered moves m to the dead-letter queue, where it keeps its sequence number,
// enqueue time and delivery count.
func deadLettered(m *message, reason, description string, properties amqp.Map) change {
	next := m.revised()
	next.dead, next.state = true, StateActive
	p := properties[:len(properties):len(properties)]
	if reason != "" {
		p = p.Set(propertyDeadLetterReason, reason)
	}
	if description != "" {
		p = p.Set(propertyDeadLetterDetails, description)
	}
	next.setProperties(p)
	return change{kind: changePut, message: next}
}

// RenewLocks extends message locks by the lock duration, all or none.
func (q *Queue) RenewLocks(sub SubQueue, tokens []amqp.UUID) ([]time.Time, error) {
	now, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	until := make([]time.Time, len(tokens))
	for _, t := range tokens {
		if m := q.locks[t]; m == nil || m.sub() != sub {
			return nil, lockLost()
		}
	}
	for i, t := range tokens {
		m := q.locks[t]
		if m.lock.receiver == nil {
			m.lock.until = now.Add(q.config.LockDuration)
			q.agenda.set(&m.deadline, m.lock.until)
		}
		until[i] = m.lock.until
	}
	return until, nil
}
