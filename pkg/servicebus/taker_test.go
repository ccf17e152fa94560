package servicebus_test

import (
	"testing"

	"mfaflow/pkg/servicebus"
)

// Accepts that run at the same time do not stand in each other's way on one
// connection; accepts one after the other use the same again.
func TestEachAcceptUnderWayHasItsConnection(t *testing.T) {
	w := newWorld(t)
	r := newRelay(t, w)
	c := r.client(servicebus.Options{})
	taken := make(chan error)
	for range 3 {
		go func() {
			s, err := c.AcceptNext(t.Context(), lanes, patience)
			if err == nil {
				s.Close()
			}
			taken <- err
		}()
	}
	w.eventually("three accepts on three connections", func() bool { return r.connections() == 3 })
	for _, id := range []string{"a", "b", "c"} {
		w.send(id, "for "+id)
	}
	for range 3 {
		w.must(<-taken)
	}
	for range 3 {
		w.accept(c, "a").Close()
	}
	if n := r.connections(); n != 3 {
		t.Errorf("%d connections, want the three again", n)
	}
}
