package lane

import (
	"context"
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// Turn is one event's turn in its lane: what a Handler sees and may do.
type Turn struct {
	Event   event.Event
	Message queue.Received
	// Ledger is the lane's memory. A handler may change the part about the person; the
	// change is written before the next Effect, or with the verdict.
	Ledger *ledger.Ledger
	// Now is the time of the decision.
	Now time.Time
	// Attempt counts how often the event was set aside by its handler before; waiting
	// behind another is not among it.
	Attempt int
	// Released are the reasons of the holds of this event that operators released: it
	// need not be held for them again.
	Released []Reason

	visit *visit
}

// Handler decides on one event and acts. It must call effects with the context of
// Effect, reads with that of Guard, and return an error only when the lane itself failed (queue.ErrLockLost, queue.ErrUnavailable,
// the end of ctx): the event then comes again. What the directory answers is a
// Verdict.
type Handler interface {
	Handle(ctx context.Context, t *Turn) (Verdict, error)
}

// Guard returns the context for one read of the outside world: it ends with the lock.
// queue.ErrLockLost means that nothing of it may be relied on.
func (t *Turn) Guard(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return t.visit.session.Guard(ctx)
}

// Effect returns the context for one effect on the outside world, once the ledger is
// written with all that the handler changed in it: what came before lasts, and so does
// what the handler intends. After an error the effect must not be started.
func (t *Turn) Effect(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := t.visit.save(ctx); err != nil {
		return nil, nil, err
	}
	return t.Guard(ctx)
}

// Save writes the ledger now, if it changed: after an effect that nobody can read back
// from the outside world, so that a crash before the next one does not repeat it.
func (t *Turn) Save(ctx context.Context) error { return t.visit.save(ctx) }

// Send hands messages to another queue.
func (t *Turn) Send(ctx context.Context, queueName string, msgs ...queue.Message) error {
	return t.visit.engine.Sender.Send(ctx, queueName, msgs...)
}

// Supersede closes waiting events that chosen picks: they are completed with the
// outcome obsolete once there is a verdict on this one.
func (t *Turn) Supersede(chosen func(ledger.Waiting) bool) {
	for _, w := range t.Ledger.Waiting {
		if w.Key != t.Event.Key && chosen(w) {
			t.visit.superseded = append(t.visit.superseded, w.Sequence)
		}
	}
}

// wakeUp is the message without content that brings the lane back for a waiting
// event.
func wakeUp(laneID string, w ledger.Waiting, correlationID string) queue.Message {
	return queue.Message{
		ID:            fmt.Sprintf("%s%d~%d", wakePrefix, w.Sequence, w.Attempt),
		SessionID:     laneID,
		Key:           w.Key,
		CorrelationID: correlationID,
		EnqueueAt:     w.Until,
		Properties:    map[string]string{queue.PropType: "wake-up", queue.PropAttempt: fmt.Sprint(w.Attempt)},
	}
}

const wakePrefix = "wake~"
