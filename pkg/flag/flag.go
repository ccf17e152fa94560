// Package flag holds what a human must look at: a message on the flags queue with
// a cause from a closed list and the next step in plain words.
//
// It imports the standard library and domain packages only; it sends nothing.
package flag

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
)

// Cause says what is wrong. The zero value is invalid.
type Cause string

// The closed list of causes.
const (
	Held              Cause = "held"
	ShortFirstDay     Cause = "short-first-day"
	Undeliverable     Cause = "undeliverable"
	UnknownPerson     Cause = "unknown-person"
	AmbiguousPerson   Cause = "ambiguous-person"
	ConflictingPerson Cause = "conflicting-person"
	LostMessage       Cause = "lost-message"
	NoSuchUser        Cause = "no-such-user"
)

var nextSteps = map[Cause]string{
	Held:              "Read the reason, put right what it names, then release or drop the hold.",
	ShortFirstDay:     "Little is left of the pass on the first day. Be ready to issue another one by hand.",
	Undeliverable:     "The pass was deleted because nobody could be given it. Set a manager with a mailbox, then replay the event.",
	UnknownPerson:     "Nobody in the directory has these identifiers. Provision the account or correct HR's data, then replay the event.",
	AmbiguousPerson:   "Several accounts have these identifiers. Make the employee id unique, then replay the event.",
	ConflictingPerson: "The identifiers belong to different accounts. Correct HR's data or the directory, then replay the event.",
	LostMessage:       "A waiting event is no longer in its queue. Look for it among the dead letters and replay it.",
	NoSuchUser:        "The account was deleted while an event waited for it. Nothing to do unless it should exist.",
}

// Flag is one thing to look at.
type Flag struct {
	User  identity.UserID `json:"user,omitempty"`
	Cause Cause           `json:"cause"`
	// Reason is the machine-readable detail, such as the reason of a hold.
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
	NextStep string `json:"nextStep"`
	Key      string `json:"key"`
	Type     string `json:"type,omitempty"`
	Source   string `json:"source,omitempty"`
	Queue    string `json:"queue,omitempty"`
	Lane     string `json:"lane,omitempty"`
	Sequence int64  `json:"sequence,omitempty"`
	// Attempt tells a hold that was released and held again from the first one.
	Attempt int       `json:"attempt,omitempty"`
	At      time.Time `json:"at"`
}

// maxWho keeps a message id within the broker's 128 characters.
const maxWho = 40

// Message is the message for the flags queue. A hold is told once per held
// message; everything else once per person, cause and day, because the broker
// drops a repeated id.
func (f Flag) Message(correlationID string) (queue.Message, error) {
	step, ok := nextSteps[f.Cause]
	if !ok {
		return queue.Message{}, fmt.Errorf("flag cause %q is not in the list", f.Cause)
	}
	f.NextStep = step
	body, err := json.Marshal(f)
	if err != nil {
		return queue.Message{}, err
	}
	who := f.Lane
	if f.User != "" {
		who = string(f.User)
	}
	if len(who) > maxWho {
		sum := sha256.Sum256([]byte(who))
		who = hex.EncodeToString(sum[:])[:maxWho]
	}
	id := fmt.Sprintf("flag~%s~%s~%s", who, f.Cause, f.At.UTC().Format(time.DateOnly))
	if f.Cause == Held {
		id = fmt.Sprintf("hold~%s~%s~%d~%d", who, f.Queue, f.Sequence, f.Attempt)
	}
	return queue.Message{
		ID: id, Key: f.Key, CorrelationID: correlationID, ContentType: "application/json", Body: body,
		Properties: map[string]string{queue.PropType: "flag", queue.PropReason: string(f.Cause)},
	}, nil
}
