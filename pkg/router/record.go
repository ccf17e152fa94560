package router

import (
	"context"
	"errors"
	"fmt"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// Records reads the HR system's record of whom a thin event is about. The errors
// are those of the directory.
type Records interface {
	// Events are the canonical events that the record amounts to now, at most one
	// of a type, each with the key <key of the thin event>#<type>. ErrNoRecords means
	// that the source of the event has no HR API.
	Events(ctx context.Context, thin event.Event) ([]event.Event, error)
}

// ErrNoRecords: no HR API is configured for the source of the event.
var ErrNoRecords = errors.New("no HR API for this source")

// complete goes on with the events that a thin event stands for. The record is read
// anew at every try: it is the record that counts, not what the event saw of it.
func (r *Router) complete(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	events, err := r.read(ctx, t)
	if errors.Is(err, ErrNoRecords) {
		return r.route(ctx, t)
	} else if errors.Is(err, identity.ErrNotFound) {
		return r.missing(ctx, t, "the HR system has no record with this id", "see that the API user of MFAFLOW_RECORD_SOURCES may read it")
	} else if err != nil {
		return lane.Failed(ctx, err)
	}
	for _, e := range events {
		derived := *t
		derived.Event = e
		derived.Message.ID = t.Message.ID + "#" + string(e.Type)
		derived.Message.Body, err = e.Encode()
		if err != nil {
			return lane.Verdict{}, err
		}
		nobody := r.notFound
		if e.Type == event.Cancelled {
			// A record tells of a withdrawal whenever nothing else is to be told. Who has no
			// account has no lane, and so nothing in it that could be withdrawn.
			nobody = nothingToWithdraw
		}
		if verdict, err := r.place(ctx, &derived, nobody); err != nil || !verdict.Done() {
			return verdict, err
		}
	}
	return lane.Finished(ledger.Done, fmt.Sprintf("the HR record gave %d events", len(events))), nil
}

func nothingToWithdraw(context.Context, *lane.Turn) (lane.Verdict, error) {
	return lane.Finished(ledger.Done, "nobody has these identifiers: there is nothing to withdraw"), nil
}

func (r *Router) read(ctx context.Context, t *lane.Turn) ([]event.Event, error) {
	if r.Records == nil {
		return nil, ErrNoRecords
	}
	guarded, cancel, err := t.Guard(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	events, err := r.Records.Events(guarded, t.Event)
	if err != nil && guarded.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("read the HR record: %w", queue.ErrLockLost)
	}
	return events, err
}
