package servicebus

import (
	"fmt"
	"strings"
	"sync"

	"mfaflow/pkg/sim/servicebus/broker"
)

// Operation names what a client asks of a queue. The management operations carry the
// names they have on the wire.
type Operation string

// Operations. OpAny in a Fault stands for all of them.
const (
	OpAny            Operation = ""
	OpAttachSender   Operation = "attach-sender"
	OpAttachReceiver Operation = "attach-receiver"
	OpSend           Operation = "send"
	OpComplete       Operation = "complete"
	OpAbandon        Operation = "abandon"
	OpDefer          Operation = "defer"
	OpDeadLetter     Operation = "dead-letter"
	OpRelease        Operation = "release"

	OpPeek              Operation = "com.microsoft:peek-message"
	OpRenewLock         Operation = "com.microsoft:renew-lock"
	OpUpdateDisposition Operation = "com.microsoft:update-disposition"
	OpReceiveDeferred   Operation = "com.microsoft:receive-by-sequence-number"
	OpSchedule          Operation = "com.microsoft:schedule-message"
	OpCancelScheduled   Operation = "com.microsoft:cancel-scheduled-message"
	OpRenewSessionLock  Operation = "com.microsoft:renew-session-lock"
	OpGetSessionState   Operation = "com.microsoft:get-session-state"
	OpSetSessionState   Operation = "com.microsoft:set-session-state"
	OpListSessions      Operation = "com.microsoft:get-message-sessions"
	OpDeleteMessages    Operation = "com.microsoft:batch-delete-messages"
)

// Fault makes operations go wrong, for tests of those who depend on the broker.
type Fault struct {
	// Queue is the name of the queue; "" means every queue.
	Queue string
	// Operation is what fails; OpAny means everything.
	Operation Operation
	// Times is how often; 0 means once.
	Times int
	// Condition is the AMQP error condition the client gets, such as
	// "com.microsoft:server-busy". With "" the connection is cut instead.
	Condition string
	// Description goes with the condition.
	Description string
	// AfterEffect lets the operation happen first, so that only its confirmation is lost.
	AfterEffect bool
}

// faults are the faults still to come, first in first out. Safe for concurrent use.
type faults struct {
	mu   sync.Mutex
	list []Fault
}

func (f *faults) add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault.Times = max(fault.Times, 1)
	f.list = append(f.list, fault)
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// next uses up one occurrence of the first fault that fits.
func (f *faults) next(queue string, op Operation) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		fault := &f.list[i]
		if fault.Queue != "" && !strings.EqualFold(fault.Queue, queue) || fault.Operation != OpAny && fault.Operation != op {
			continue
		}
		hit := *fault
		if fault.Times--; fault.Times == 0 {
			f.list = append(f.list[:i], f.list[i+1:]...)
		}
		return &hit
	}
	return nil
}

// cutError ends a connection without a word to the client.
type cutError struct{ op Operation }

func (e *cutError) Error() string { return fmt.Sprintf("connection cut at %s by a fault", e.op) }

func (f *Fault) error(op Operation) error {
	if f.Condition == "" {
		return &cutError{op}
	}
	return broker.Errorf(broker.Condition(f.Condition), "%s", f.Description)
}

// fault is the error to fail op with, nil for none.
func (s *Server) fault(q *broker.Queue, op Operation) error {
	if f := s.faults.next(q.Config().Name, op); f != nil {
		return f.error(op)
	}
	return nil
}

// withFault runs an operation unless a fault is in its way.
func (s *Server) withFault(q *broker.Queue, op Operation, run func() error) error {
	f := s.faults.next(q.Config().Name, op)
	if f != nil && !f.AfterEffect {
		return f.error(op)
	}
	err := run()
	if f != nil {
		return f.error(op)
	}
	return err
}

// Fail makes operations to come go wrong. Several faults queue up; each operation meets
// the first that fits it.
func (s *Server) Fail(f Fault) { s.faults.add(f) }

// ClearFaults forgets the faults that have not happened yet.
func (s *Server) ClearFaults() { s.faults.clear() }

// DropConnections cuts every AMQP connection without a word, as a network failure does.
// Clients can connect again at once.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.connections {
		c.abort()
	}
}

// SetDown takes the broker down or brings it back. While down every connection is cut as
// soon as it is made and the admin API answers 503; queues and messages stay as they are.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	s.down = down
	s.mu.Unlock()
	if down {
		s.DropConnections()
	}
}
