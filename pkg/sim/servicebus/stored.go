package servicebus

import "mfaflow/pkg/sim/servicebus/broker"

// Stored is a message as a queue keeps it.
type Stored = broker.Stored

// States of a stored message.
const (
	StateActive    = broker.StateActive
	StateDeferred  = broker.StateDeferred
	StateScheduled = broker.StateScheduled
)

// Stored is every message of a queue and its dead-letter queue, for a test that looks
// at everything; nil if there is no such queue.
func (s *Server) Stored(queue string) []Stored {
	q, ok := s.broker.Queue(queue)
	if !ok {
		return nil
	}
	return q.Stored()
}

// SessionStates are the states of all sessions of a queue that have one.
func (s *Server) SessionStates(queue string) map[string][]byte {
	q, ok := s.broker.Queue(queue)
	if !ok {
		return nil
	}
	return q.SessionStates()
}
