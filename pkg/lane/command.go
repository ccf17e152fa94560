package lane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// Decision is an operator's word about a hold. The zero value is invalid.
type Decision string

// The decisions.
const (
	Release Decision = "release"
	Drop    Decision = "drop"
)

// Command is an operator's word, sent to the lane as a message, so that it takes
// its turn like everything else.
type Command struct {
	Decision Decision
	// Sequence is that of the held event.
	Sequence int64
	// Attempt is that of the hold (flag.Flag has both): an event that was released
	// and is held again is another hold, perhaps for another reason.
	Attempt int
	// Operator is the authenticated name of who decides.
	Operator string
	// Reason is why, for the audit trail.
	Reason string
}

// Properties of a command.
const (
	propSequence = "mfaflow-sequence"
	propOperator = "mfaflow-operator"
)

// Message is the command for a lane. Its id repeats for the same operator, decision
// and hold, so that sending it twice is one command; the attempt is part of it, or
// the broker would drop what the operator says of the next hold of the same event.
func (c Command) Message(laneID, correlationID string) queue.Message {
	return queue.Message{
		ID:        fmt.Sprintf("hold~%d~%d~%s~%s", c.Sequence, c.Attempt, c.Decision, ledger.Digest(c.Operator)),
		SessionID: laneID, CorrelationID: correlationID,
		Properties: map[string]string{
			queue.PropType: "command", queue.PropCommand: string(c.Decision), queue.PropReason: c.Reason,
			propSequence: strconv.FormatInt(c.Sequence, 10), queue.PropAttempt: strconv.Itoa(c.Attempt), propOperator: c.Operator,
		},
	}
}

func parseCommand(m queue.Received) (Command, error) {
	c := Command{
		Decision: Decision(m.Properties[queue.PropCommand]), Operator: strings.TrimSpace(m.Properties[propOperator]),
		Reason: m.Properties[queue.PropReason],
	}
	var err, badAttempt error
	c.Sequence, err = strconv.ParseInt(m.Properties[propSequence], 10, 64)
	c.Attempt, badAttempt = strconv.Atoi(m.Properties[queue.PropAttempt])
	switch {
	case c.Decision != Release && c.Decision != Drop:
		return Command{}, errors.New("a command is release or drop")
	case err != nil:
		return Command{}, fmt.Errorf("a command needs the sequence number of the hold in %s", propSequence)
	case badAttempt != nil:
		return Command{}, fmt.Errorf("a command needs the attempt of the hold in %s", queue.PropAttempt)
	case c.Operator == "":
		return Command{}, fmt.Errorf("a command needs its operator in %s", propOperator)
	}
	return c, nil
}

// command carries out an operator's word, then runs what it made ready, and
// completes the command last.
func (v *visit) command(ctx context.Context, m queue.Received) error {
	c, err := parseCommand(m)
	if err != nil {
		return v.deadLetter(ctx, m, BadCommand, err.Error())
	}
	outcome, key, err := v.obey(ctx, c)
	if err != nil {
		return err
	}
	v.engine.Log.InfoContext(ctx, "command", "queue", v.engine.Queue, telemetry.KeyLane, v.session.ID(), telemetry.KeyEvent, key,
		"decision", c.Decision, "sequence", c.Sequence, "operator", c.Operator, telemetry.KeyOutcome, outcome)
	if v.engine.Audit != nil {
		err := v.engine.Audit.Write(ctx, audit.Record{
			Key: key, Lane: v.session.ID(), Actor: c.Operator, Action: string(c.Decision), Reason: c.Reason, Outcome: outcome, Started: time.Now(),
		})
		if err != nil {
			return err
		}
	}
	return v.finish(ctx, func() error { return v.session.Complete(ctx, m) })
}

// obey changes the waiting list as the operator says. A word that cannot be
// followed changes nothing; the outcome says why.
func (v *visit) obey(ctx context.Context, c Command) (outcome, key string, err error) {
	w := v.ledger.WaitingAt(c.Sequence)
	switch {
	case w == nil:
		return "refused: nothing waits under this number", "", nil
	case w.Kind != ledger.Held:
		return "refused: the event is not held", w.Key, nil
	case w.Attempt != c.Attempt:
		return "refused: the event is held anew; read the reason, then decide again", w.Key, nil
	case slices.Contains(w.Barred, ledger.Digest(c.Operator)):
		return "refused: neither whom the event is about nor who asked for it may decide", w.Key, nil
	}
	key = w.Key
	if c.Decision == Drop {
		outcome, err = v.drop(ctx, *w)
		return outcome, key, err
	}
	if slices.ContainsFunc(w.Approvals, func(name string) bool { return ledger.Digest(name) == ledger.Digest(c.Operator) }) {
		return "refused: the same operator has approved already", key, nil
	}
	w.Approvals = append(w.Approvals, c.Operator)
	if len(w.Approvals) < w.Needs {
		return fmt.Sprintf("approved: %d of %d", len(w.Approvals), w.Needs), key, v.write(ctx)
	}
	w.Released = true
	if !slices.Contains(w.Allowed, w.Reason) {
		w.Allowed = append(w.Allowed, w.Reason)
	}
	return "released", key, v.write(ctx)
}

// drop ends a held event without running it.
func (v *visit) drop(ctx context.Context, w ledger.Waiting) (string, error) {
	m, ev, err := v.deferred(ctx, w)
	if errors.Is(err, queue.ErrGone) {
		return "refused: the event has left the queue", nil
	} else if err != nil {
		return "", err
	}
	settle, err := v.record(m.Context(ctx), ev, m, Finished(ledger.Dropped, "dropped by an operator"), w.Attempt)
	if err != nil {
		return "", err
	}
	return string(ledger.Dropped), settle()
}
