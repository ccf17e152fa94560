package broker

import (
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// Incoming is a message as a client sent it, with the size it took on the wire.
type Incoming struct {
	Message *amqp.Message
	Size    int
}

// Send adds messages to the queue, all or none. A message with the annotation
// x-opt-scheduled-enqueue-time in the future becomes a scheduled one. One whose id was
// seen within the duplicate detection window is accepted and dropped, as the service
// does. The result are the sequence numbers. When Send returns without error the
// messages are in the journal, if there is one.
func (q *Queue) Send(batch []Incoming) ([]int64, error) {
	now, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	if err := q.config.sendError(); err != nil {
		return nil, err
	}
	q.accessed = now
	changes := make([]change, 0, 2*len(batch))
	sequences := make([]int64, len(batch))
	next, bytes := q.nextSeq, q.bytes
	fresh := map[string]struct{}{}
	for i, in := range batch {
		m, err := q.config.admit(in.Message, in.Size, now)
		if err != nil {
			return nil, err
		}
		m.seq, sequences[i] = next, next
		next++
		if q.config.DuplicateDetection > 0 {
			_, repeated := fresh[m.id]
			if repeated || q.seen.has(m.id, now, q.config.DuplicateDetection) {
				continue
			}
			fresh[m.id] = struct{}{}
			changes = append(changes, change{kind: changeSeen, text: m.id, at: now})
		}
		bytes += int64(m.size)
		changes = append(changes, change{kind: changePut, message: m})
	}
	if limit := int64(q.config.MaxSizeMegabytes) << 20; bytes > limit {
		return nil, Errorf(ResourceLimitExceeded, "The maximum entity size has been reached or exceeded for Queue: '%s'. Size of entity in bytes: %d, Max entity size in bytes: %d.", q.config.Name, q.bytes, limit)
	}
	return sequences, q.commit(changes...)
}

// CancelScheduled removes scheduled messages before they become active, all or none.
func (q *Queue) CancelScheduled(sequences []int64) error {
	_, err := q.enter()
	defer q.leave()
	if err != nil {
		return err
	}
	changes := make([]change, 0, len(sequences))
	for _, seq := range sequences {
		m := q.messages[seq]
		if m == nil || m.state != StateScheduled {
			return Errorf(MessageNotFound, "The scheduled message with sequence number %d does not exist or has already been enqueued.", seq)
		}
		changes = append(changes, change{kind: changeRemove, seq: seq})
	}
	return q.commit(changes...)
}

// messageDue is called when the deadline of m has come: it becomes active, loses its
// lock, or expires.
func (q *Queue) messageDue(m *message, now time.Time) {
	switch {
	case m.state == StateScheduled:
		q.activate(m)
	case m.lock != nil:
		q.giveBack(m, now)
	default:
		q.expire(m)
	}
}

// activate appends a scheduled message to the queue as if it were sent now, which
// includes a new sequence number. Source: "Message sequencing and timestamps".
func (q *Queue) activate(m *message) {
	active := m.revised()
	active.state = StateActive
	active.enqueuedSeq, active.seq = m.seq, q.nextSeq
	active.enqueuedAt = m.scheduledAt
	q.failOn(q.commit(change{kind: changeRemove, seq: m.seq}, change{kind: changePut, message: active}))
}

// expire drops or dead-letters a message whose time to live has run out.
func (q *Queue) expire(m *message) {
	if !q.config.DeadLetterOnExpiry {
		q.failOn(q.commit(change{kind: changeRemove, seq: m.seq}))
		return
	}
	q.failOn(q.commit(deadLettered(m, "TTLExpiredException", "The message expired and was dead lettered.", nil)))
}
