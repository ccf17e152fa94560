package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/queue"
)

// SessionID is the session of the control queue that a sweep works under: its lock
// keeps two sweeps apart, its state is what a sweep remembers, and its messages are
// commands.
const SessionID = "sweep"

// Action is what a command asks for. The zero value is invalid.
type Action string

// The actions are the lifecycle events of Microsoft Graph
// (learn.microsoft.com/graph/change-notifications-lifecycle-events).
const (
	// Reauthorize: the subscription ends unless we show again that we may have it.
	Reauthorize Action = "reauthorizationRequired"
	// Recreate: the subscription is gone.
	Recreate Action = "subscriptionRemoved"
	// BackFill: notifications were lost.
	BackFill Action = "missed"
)

// Valid reports whether the action is in the list.
func (a Action) Valid() bool { return a == Reauthorize || a == Recreate || a == BackFill }

// Command is what the directory told us about a subscription.
type Command struct {
	Action         Action    `json:"action"`
	SubscriptionID string    `json:"subscriptionId"`
	Slot           string    `json:"slot"`
	ReceivedAt     time.Time `json:"receivedAt"`
}

// ErrBadCommand: the message is no command of this version.
var ErrBadCommand = errors.New("no command to a sweep")

const contentType = "application/json"

// Message is the command on the control queue. The id makes repeated sends one.
func (c Command) Message(id, correlationID string) (queue.Message, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return queue.Message{}, err
	}
	return queue.Message{
		ID: "sweep~" + id, SessionID: SessionID, CorrelationID: correlationID, ContentType: contentType, Body: body,
		Properties: map[string]string{queue.PropCommand: string(c.Action)},
	}, nil
}

// ParseCommand reads what Message made.
func ParseCommand(m queue.Message) (Command, error) {
	var c Command
	if err := json.Unmarshal(m.Body, &c); err != nil {
		return Command{}, fmt.Errorf("%w: not JSON of its form", ErrBadCommand)
	}
	if !c.Action.Valid() {
		return Command{}, fmt.Errorf("%w: unknown action", ErrBadCommand)
	}
	return c, nil
}
