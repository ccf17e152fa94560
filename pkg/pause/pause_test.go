package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mfaflow/pkg/pause"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := pause.For(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if err := pause.For(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// The more failures in a row the longer, with a limit, and never all at the same time.
func TestAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			n     int
			least time.Duration
		}{{1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {5, 1600 * time.Millisecond}, {7, 5 * time.Second}, {1000, 5 * time.Second}} {
			seen := map[time.Duration]bool{}
			for range 20 {
				began := time.Now()
				if err := pause.AfterFailure(t.Context(), c.n); err != nil {
					t.Fatal(err)
				}
				took := time.Since(began)
				if took < c.least || took >= 2*c.least {
					t.Errorf("failure %d: waited %s", c.n, took)
				}
				seen[took] = true
			}
			if len(seen) < 2 {
				t.Errorf("failure %d: every loop waits %v", c.n, seen)
			}
		}
	})
}
