package broker

import "time"

// history remembers message ids for duplicate detection.
type history struct {
	at    map[string]time.Time
	order []sighting // oldest first
}

type sighting struct {
	id string
	at time.Time
}

func newHistory() history { return history{at: map[string]time.Time{}} }

// has reports whether id was seen less than window ago, and forgets what is older.
func (h *history) has(id string, now time.Time, window time.Duration) bool {
	for len(h.order) > 0 && now.Sub(h.order[0].at) >= window {
		if first := h.order[0]; h.at[first.id].Equal(first.at) {
			delete(h.at, first.id)
		}
		h.order = h.order[1:]
	}
	_, ok := h.at[id]
	return ok
}

func (h *history) add(id string, at time.Time) {
	h.at[id] = at
	h.order = append(h.order, sighting{id, at})
}
