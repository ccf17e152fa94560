package broker

import (
	"container/heap"
	"time"
)

// deadline is a moment at which something happens to its owner: a message becomes
// active, expires or loses its lock, a session loses its lock. Each owner embeds one.
type deadline struct {
	at    time.Time
	order uint64 // deadlines of one moment are met in the order they were set
	index int    // position in the heap plus one; 0 while not scheduled
	fire  func(now time.Time)
}

// deadlines is the agenda of a queue, earliest first.
type deadlines struct {
	heap deadlineHeap
	sets uint64
}

// set schedules d for at, moving it if it is already scheduled.
func (s *deadlines) set(d *deadline, at time.Time) {
	s.sets++
	d.at, d.order = at, s.sets
	if d.index > 0 {
		heap.Fix(&s.heap, d.index-1)
		return
	}
	heap.Push(&s.heap, d)
}

// clear takes d off the agenda.
func (s *deadlines) clear(d *deadline) {
	if d.index > 0 {
		heap.Remove(&s.heap, d.index-1)
	}
}

// due takes the earliest deadline off the agenda if its time has come.
func (s *deadlines) due(now time.Time) *deadline {
	if len(s.heap) == 0 || s.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&s.heap).(*deadline)
}

// next is the time of the earliest deadline.
func (s *deadlines) next() (time.Time, bool) {
	if len(s.heap) == 0 {
		return time.Time{}, false
	}
	return s.heap[0].at, true
}

type deadlineHeap []*deadline

func (h deadlineHeap) Len() int { return len(h) }

func (h deadlineHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *deadlineHeap) Push(x any) {
	d := x.(*deadline)
	*h = append(*h, d)
	d.index = len(*h)
}

func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.index = 0
	return d
}
