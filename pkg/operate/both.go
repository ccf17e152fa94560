package operate

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"mfaflow/pkg/queue"
)

// Both shows a queue and its dead letters as one: the quarantine, of which the broker
// dead-letters what has lain there for too long, or was held by processes that died too
// often. A message keeps its number when it moves.
func Both(main, dead Shelf) Shelf { return both{main, dead} }

type both [2]Shelf

// onShelf is the token of a message and where it was taken.
type onShelf struct {
	Shelf
	token any
}

// Peek ends a page where the shelf that got less far ends its own: what follows there is
// not known yet.
func (b both) Peek(ctx context.Context, from int64, n int) (page []queue.Stored, err error) {
	var cut *int64
	for _, s := range b {
		part, err := s.Peek(ctx, from, n)
		if err != nil {
			return nil, err
		}
		if len(part) == 0 {
			continue
		}
		if last := part[len(part)-1].Sequence; cut == nil || last < *cut {
			cut = &last
		}
		page = append(page, part...)
	}
	page = slices.DeleteFunc(page, func(m queue.Stored) bool { return m.Sequence > *cut })
	slices.SortFunc(page, func(x, y queue.Stored) int { return cmp.Compare(x.Sequence, y.Sequence) })
	// Between the two looks a message may have moved.
	return slices.CompactFunc(page, func(x, y queue.Stored) bool { return x.Sequence == y.Sequence }), nil
}

func (b both) Take(ctx context.Context, sequence int64) (queue.Received, error) {
	for _, s := range b {
		m, err := s.Take(ctx, sequence)
		if errors.Is(err, queue.ErrGone) {
			continue
		} else if err != nil {
			return m, err
		}
		m.Token = onShelf{s, m.Token}
		return m, nil
	}
	return queue.Received{}, queue.ErrGone
}

func (b both) Complete(ctx context.Context, m queue.Received) error {
	at := m.Token.(onShelf)
	m.Token = at.token
	return at.Complete(ctx, m)
}

func (b both) PutBack(ctx context.Context, m queue.Received) error {
	at := m.Token.(onShelf)
	m.Token = at.token
	return at.PutBack(ctx, m)
}
