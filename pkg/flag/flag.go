// Package flag holds what a human must look at: a message on the flags queue with
// a cause from a closed list and the next step in plain words.
//
// It imports the standard library and domain packages only; it sends nothing.
package flag

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/strictjson"
)

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
	// UnlocksAt is when what is wrong ends by itself; zero when nobody knows.
	UnlocksAt time.Time `json:"unlocksAt,omitzero"`
}

// MessageType is the value of queue.PropType on messages that carry a flag.
const MessageType = "flag"

// maxWho keeps a message id within the broker's 128 characters.
const maxWho = 40

// ErrUnknownCause: the cause is not in the list.
var ErrUnknownCause = errors.New("flag cause is not in the list")

// ErrMalformed: the message is not a flag.
var ErrMalformed = errors.New("not a flag")

// Message is the message for the flags queue. A hold is told once per held
// message; everything else once per person, cause and day, or per event that is
// about the whole tenant, because the broker drops a repeated id.
func (f Flag) Message(correlationID string) (queue.Message, error) {
	if !f.Cause.Valid() {
		return queue.Message{}, fmt.Errorf("%w: %q", ErrUnknownCause, f.Cause)
	}
	f.NextStep = f.Cause.NextStep()
	body, err := json.Marshal(f)
	if err != nil {
		return queue.Message{}, err
	}
	who := f.Lane
	switch {
	case f.User != "":
		who = string(f.User)
	case event.Type(f.Type).IsTenantWide():
		who = f.Key // what two of them ask for has nothing in common
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
		Properties: map[string]string{queue.PropType: MessageType, queue.PropReason: string(f.Cause)},
	}, nil
}

// memberNames are those of Flag.
var memberNames = [...]string{
	"user", "cause", "reason", "detail", "nextStep", "key", "type", "source", "queue", "lane", "sequence", "attempt", "at", "unlocksAt",
}

// Decode reads the body of a flag's message: ErrMalformed or ErrUnknownCause for
// anything that Message could not have made. The next step is ours whatever the
// body says. Errors quote nothing of the body.
func Decode(body []byte) (Flag, error) {
	value, err := strictjson.Decode(body)
	if err != nil {
		return Flag{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	members, ok := value.(map[string]any)
	if !ok {
		return Flag{}, fmt.Errorf("%w: it is no object", ErrMalformed)
	}
	for name := range members {
		// encoding/json takes names in any case, so two members could mean one field.
		if !slices.Contains(memberNames[:], name) {
			return Flag{}, fmt.Errorf("%w: it has a member that no flag has", ErrMalformed)
		}
	}
	var f Flag
	if err := json.Unmarshal(body, &f); err != nil {
		return Flag{}, fmt.Errorf("%w: a member is of the wrong kind", ErrMalformed)
	}
	switch {
	case !f.Cause.Valid():
		return Flag{}, ErrUnknownCause
	case f.At.IsZero():
		return Flag{}, fmt.Errorf("%w: it has no time", ErrMalformed)
	case f.Sequence < 0 || f.Attempt < 0:
		return Flag{}, fmt.Errorf("%w: a number is negative", ErrMalformed)
	}
	f.NextStep = f.Cause.NextStep()
	return f, nil
}
