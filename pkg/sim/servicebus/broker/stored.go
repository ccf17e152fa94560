package broker

import (
	"maps"
	"slices"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// Stored is a message as the queue keeps it, for a test that looks at everything.
type Stored struct {
	Sequence    int64
	ID, Session string
	State       State
	// Dead is set for messages of the dead-letter queue.
	Dead        bool
	ScheduledAt time.Time
	// Properties are the application properties that are text; the dead-letter reason
	// is one of them.
	Properties map[string]string
	Body       []byte
}

// Stored is every message of the queue and its dead-letter queue, in the order of the
// sequence numbers. Nothing is locked or counted.
func (q *Queue) Stored() []Stored {
	_, _ = q.enter() // a failed queue can still be looked at
	defer q.leave()
	out := make([]Stored, 0, len(q.messages))
	for _, seq := range slices.Sorted(maps.Keys(q.messages)) {
		m := q.messages[seq]
		s := Stored{Sequence: seq, ID: m.id, State: m.state, Dead: m.dead, ScheduledAt: m.scheduledAt, Properties: map[string]string{}}
		if m.session != nil {
			s.Session = *m.session
		}
		for _, e := range m.content.ApplicationProperties {
			key, ok := amqp.Text(e.Key)
			value, text := e.Value.(string)
			if ok && text {
				s.Properties[key] = value
			}
		}
		s.Body = slices.Concat(m.content.Data...)
		out = append(out, s)
	}
	return out
}

// SessionStates are the states of all sessions that have one.
func (q *Queue) SessionStates() map[string][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string][]byte{}
	for id, s := range q.sessions {
		if s.state != nil {
			out[id] = slices.Clone(s.state)
		}
	}
	return out
}
