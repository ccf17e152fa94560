// Package queue is the seam to the broker: the message that functions exchange
// and the errors a broker adapter answers with.
//
// The one adapter is pkg/servicebus.
package queue

import (
	"context"
	"errors"
	"time"

	"mfaflow/pkg/correlation"
)

// Message is what one function hands to the next over a queue.
type Message struct {
	// ID is the broker's MessageId: a repeated one is dropped for seven days.
	ID string
	// SessionID orders messages; empty on queues without sessions.
	SessionID string
	// Key is the idempotency key of the event (property mfaflow-key). It never
	// changes, whatever ID the message travels under.
	Key string
	// CorrelationID follows an event from webhook to Graph's client-request-id.
	CorrelationID string
	// TraceParent and TraceState are the W3C trace context of whoever sent the message; the
	// adapter fills them in from the context of a send.
	TraceParent, TraceState string
	ContentType             string
	Body                    []byte
	// Properties are further application properties (see the Prop constants).
	Properties map[string]string
	// EnqueueAt delays the message until then when not zero.
	EnqueueAt time.Time
}

// Context is ctx for work on the message: it carries its correlation id and trace.
func (m Message) Context(ctx context.Context) context.Context {
	return correlation.Resume(ctx, m.CorrelationID, m.TraceParent, m.TraceState)
}

// Application properties of our messages.
const (
	PropKey    = "mfaflow-key"
	PropType   = "mfaflow-type"
	PropSource = "mfaflow-source"
	// PropReason and PropDetail say why a message is on the quarantine queue.
	PropReason = "mfaflow-reason"
	PropDetail = "mfaflow-detail"
	// PropAttempt counts the deferrals of the event that a wake-up or a command is for.
	PropAttempt = "mfaflow-attempt"
	// PropCommand is the decision an operator sends to a lane.
	PropCommand = "mfaflow-command"
	// PropPlan is the digest of what a replayed event was planned to do (plan.Digest).
	PropPlan = "mfaflow-plan"
	// PropDiagnosticID is the name under which Azure's own tools look for a traceparent
	// (learn.microsoft.com/azure/service-bus-messaging/service-bus-end-to-end-tracing).
	PropDiagnosticID = "Diagnostic-Id"
)

// Received is a message under lock.
type Received struct {
	Message
	// Sequence is the broker's number of the message within its queue.
	Sequence int64
	// DeliveryCount counts deliveries, this one included.
	DeliveryCount int
	EnqueuedAt    time.Time
	// Token is the adapter's handle for settling.
	Token any
}

// Stored is a message as it lies in a queue, seen without a lock: it has no Token.
type Stored struct {
	Received
	State State
	// DeadReason and DeadDetail are why a dead letter is one.
	DeadReason, DeadDetail string
}

// State is how a message lies in its queue. The zero value is invalid.
type State int

// The states.
const (
	// Active: whoever receives next may get it.
	Active State = iota + 1
	// Deferred: set aside; only its sequence number brings it back.
	Deferred
	// Scheduled: it comes later.
	Scheduled
)

// ErrUnavailable: the broker did not accept in time or cannot be reached. The
// message may have been accepted; sending it again under the same ID is safe.
var ErrUnavailable = errors.New("broker unavailable")

// ErrTooLarge: the message exceeds what the queue takes.
var ErrTooLarge = errors.New("message too large for the queue")

// ErrLockLost: the lock is past its local deadline or was lost at the broker.
// Nothing more may be written under it.
var ErrLockLost = errors.New("lock lost")

// ErrEmpty: nothing to receive within the time given.
var ErrEmpty = errors.New("nothing to receive")

// ErrGone: no deferred message with that sequence number.
var ErrGone = errors.New("no deferred message with that sequence number")

// ErrBusy: another receiver holds the session.
var ErrBusy = errors.New("session held by another receiver")
