package broker

import "fmt"

// Condition is the machine-readable part of an Error: the AMQP error condition that
// Service Bus sends for it.
type Condition string

// Conditions of AMQP itself and of Service Bus, as its SDKs know them.
const (
	InternalError         Condition = "amqp:internal-error"
	NotFound              Condition = "amqp:not-found"
	UnauthorizedAccess    Condition = "amqp:unauthorized-access"
	NotAllowed            Condition = "amqp:not-allowed"
	NotImplemented        Condition = "amqp:not-implemented"
	ResourceLimitExceeded Condition = "amqp:resource-limit-exceeded"
	DecodeError           Condition = "amqp:decode-error"
	MessageSizeExceeded   Condition = "amqp:link:message-size-exceeded"
	DetachForced          Condition = "amqp:link:detach-forced"
	ConnectionForced      Condition = "amqp:connection:forced"
	ServerBusy            Condition = "com.microsoft:server-busy"
	Timeout               Condition = "com.microsoft:timeout"
	OperationCancelled    Condition = "com.microsoft:operation-cancelled"
	EntityDisabled        Condition = "com.microsoft:entity-disabled"
	EntityAlreadyExists   Condition = "com.microsoft:entity-already-exists"
	ArgumentError         Condition = "com.microsoft:argument-error"
	ArgumentOutOfRange    Condition = "com.microsoft:argument-out-of-range"
	MessageLockLost       Condition = "com.microsoft:message-lock-lost"
	MessageNotFound       Condition = "com.microsoft:message-not-found"
	SessionLockLost       Condition = "com.microsoft:session-lock-lost"
	SessionCannotBeLocked Condition = "com.microsoft:session-cannot-be-locked"
)

// Error is a refusal of the broker.
type Error struct {
	Condition   Condition
	Description string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Condition, e.Description) }

// Is matches any Error of the same condition.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Condition == e.Condition
}

// Errorf is an Error with a formatted description.
func Errorf(c Condition, format string, args ...any) *Error {
	return &Error{Condition: c, Description: fmt.Sprintf(format, args...)}
}

func lockLost() *Error {
	return Errorf(MessageLockLost, "The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue.")
}
