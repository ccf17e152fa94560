package servicebus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
)

// deadLetters puts n dead letters of a session aside and returns their numbers.
func (w *world) deadLetters(n int) (sequences []int64) {
	w.t.Helper()
	var msgs []queue.Message
	for i := range n {
		msgs = append(msgs, queue.Message{ID: fmt.Sprint(i), SessionID: "s", Key: fmt.Sprint("key-", i), Body: []byte("{}")})
	}
	w.must(w.client.Send(w.t.Context(), lanes, msgs...))
	s := w.accept(w.client, "s")
	defer s.Close()
	for range n {
		m, err := s.Receive(w.t.Context(), patience)
		w.must(err)
		w.must(s.DeadLetter(w.t.Context(), m, "some-reason", "the fix"))
		sequences = append(sequences, m.Sequence)
	}
	return sequences
}

func (w *world) shelf(c *servicebus.Client) *servicebus.Shelf {
	w.t.Helper()
	s := c.Shelf(lanes, true)
	w.t.Cleanup(s.Close)
	return s
}

// all are the messages of a shelf, read in pages of a size.
func (w *world) all(s *servicebus.Shelf, size int) (list []queue.Stored) {
	w.t.Helper()
	for from := int64(0); ; {
		page, err := s.Peek(w.t.Context(), from, size)
		w.must(err)
		if len(page) == 0 {
			return list
		}
		list = append(list, page...)
		from = page[len(page)-1].Sequence + 1
	}
}

func TestShelfGivesOneOutOfTheMiddle(t *testing.T) {
	w := newWorld(t)
	sequences := w.deadLetters(100)
	s := w.shelf(w.client)
	if list := w.all(s, 7); len(list) != 100 || list[60].Sequence != sequences[60] || list[60].DeadReason != "some-reason" ||
		list[60].DeadDetail != "the fix" || list[60].SessionID != "s" || list[60].Key != "key-60" || list[60].State != queue.Active {
		t.Fatalf("%d dead letters, one is %+v", len(list), list[60])
	}
	m, err := s.Take(t.Context(), sequences[60])
	w.must(err)
	if m.Key != "key-60" {
		t.Errorf("got %s", m.Key)
	}
	if c, _ := w.broker.Counts(lanes); c.Locked != 1 {
		t.Errorf("%d locks are held", c.Locked)
	}
	w.must(s.Complete(t.Context(), m))
	_, err = s.Take(t.Context(), sequences[60])
	w.want(err, queue.ErrGone)

	// What lay in front, and what lies behind, is all there and can be had.
	if list := w.all(s, 250); len(list) != 99 || list[0].State != queue.Deferred || list[98].State != queue.Active {
		t.Errorf("%d are left, the first in state %d, the last in %d", len(list), list[0].State, list[98].State)
	}
	for _, i := range []int{0, 99, 59, 61} {
		m, err := s.Take(t.Context(), sequences[i])
		w.must(err)
		w.must(s.PutBack(t.Context(), m))
		if m, err = s.Take(t.Context(), sequences[i]); err != nil || m.Key != fmt.Sprint("key-", i) {
			t.Errorf("%d after it was put back: %v, %v", i, m.Key, err)
		}
		w.must(s.Complete(t.Context(), m))
	}
	if list := w.all(s, 250); len(list) != 95 {
		t.Errorf("%d are left", len(list))
	}
}

func TestShelfOfSeveralWhoTake(t *testing.T) {
	w := newWorld(t)
	sequences := w.deadLetters(60)
	took := make([]int, len(sequences))
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range 3 {
		s := w.shelf(w.newClient(servicebus.Options{}))
		all.Go(func() {
			for i := range sequences {
				i = (i*7 + n*20) % len(sequences)
				m, err := s.Take(t.Context(), sequences[i])
				if err != nil {
					continue
				}
				mu.Lock()
				took[i]++
				mu.Unlock()
				if err := s.Complete(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i, n := range took {
		if n != 1 {
			t.Errorf("dead letter %d was taken %d times", i, n)
		}
	}
}

func TestShelfOfADeadProcess(t *testing.T) {
	w := newWorld(t)
	sequences := w.deadLetters(40)
	dead := w.newClient(servicebus.Options{})
	s := dead.Shelf(lanes, true)
	if _, err := s.Take(t.Context(), sequences[20]); err != nil {
		t.Fatal(err)
	}
	s.Close()
	dead.Close()

	other := w.shelf(w.client)
	ctx, cancel := context.WithCancel(t.Context())
	if m, err := other.Take(ctx, sequences[3]); err != nil || m.Key != "key-3" {
		t.Errorf("what the dead one had set aside: %v, %v", m.Key, err)
	}
	cancel()
	w.clock.Advance(61 * time.Second)
	if m, err := other.Take(t.Context(), sequences[20]); err != nil || m.Key != "key-20" {
		t.Errorf("what the dead one held: %v, %v", m.Key, err)
	}
	if list := w.all(other, 250); len(list) != 40 {
		t.Errorf("%d are left", len(list))
	}
}

func TestShelfOfAQueueWithoutSessions(t *testing.T) {
	w := newWorld(t)
	w.put("a", "b", "c")
	s := w.client.Shelf(plain, false)
	defer s.Close()
	list, err := s.Peek(t.Context(), 0, 10)
	w.must(err)
	m, err := s.Take(t.Context(), list[1].Sequence)
	w.must(err)
	if m.ID != "b" {
		t.Errorf("got %s", m.ID)
	}
	w.must(s.Complete(t.Context(), m))
}
