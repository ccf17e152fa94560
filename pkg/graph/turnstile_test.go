package graph

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mfaflow/pkg/identity"
)

// These tests run in a bubble of synctest, where time stands still while anybody
// works and jumps when all sleep.

// busiest is the largest sum of requests in any stretch of a span, as a service sees it
// that counts each at one moment.
func busiest(log []expense, span time.Duration) int {
	most := 0
	for _, end := range log {
		sum := 0
		for _, e := range log {
			if !e.at.After(end.at) && e.at.After(end.at.Add(-span)) {
				sum += e.n
			}
		}
		most = max(most, sum)
	}
	return most
}

// Whatever comes when, no stretch of time sees more than the limit, and waiting
// requests leave little of it unused.
func TestLimitHoldsAndIsUsed(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			limit := Limit{Requests: 3 + random.IntN(60), Window: time.Duration(1+random.IntN(20)) * time.Second}
			b := newBudgets(Budget{Methods: limit, Patience: 24 * time.Hour}, machineClock{})
			var mu sync.Mutex
			var log []expense
			var wg sync.WaitGroup
			total := 0
			begin := time.Now()
			for range 300 {
				n := 1 + random.IntN(3)
				total += n
				arrives, before, after := random.IntN(2000), random.IntN(300), random.IntN(300)
				ctx := t.Context()
				if random.IntN(5) == 0 {
					ctx = identity.Urgent(ctx)
				}
				wg.Go(func() {
					time.Sleep(time.Duration(arrives) * time.Millisecond)
					done, err := b.take(ctx, deleteMethod, n)
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(before) * time.Millisecond)
					mu.Lock()
					log = append(log, expense{time.Now(), n})
					mu.Unlock()
					time.Sleep(time.Duration(after) * time.Millisecond)
					done()
				})
			}
			wg.Wait()
			if most := busiest(log, limit.Window); most > limit.Requests {
				t.Errorf("seed %d: %d requests in %s, limit %d", seed, most, limit.Window, limit.Requests)
			}
			// Rounds of one window each, a little longer for the answers, and less than
			// full when the next request does not fit.
			rounds := (total + limit.Requests - 3) / (limit.Requests - 2)
			if took, most := time.Since(begin), time.Duration(rounds)*(limit.Window+600*time.Millisecond)+3*time.Second; took > most {
				t.Errorf("seed %d: %d requests at %d in %s took %s, want at most %s", seed, total, limit.Requests, limit.Window, took, most)
			}
			if n := len(b.methods.queue); n != 0 {
				t.Errorf("seed %d: %d still wait", seed, n)
			}
		})
	}
}

// spent takes n requests that are answered at once.
func spent(t *testing.T, b *budgets, op operation, n int) {
	t.Helper()
	for range n {
		done, err := b.take(t.Context(), op, 1)
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
}

func TestUrgentGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudgets(Budget{Methods: Limit{2, 10 * time.Second}, Patience: time.Minute}, machineClock{})
		spent(t, b, deleteMethod, 2)
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "urgent 1", "d", "urgent 2"} {
			ctx := t.Context()
			if len(name) > 1 {
				ctx = identity.Urgent(ctx)
			}
			wg.Go(func() {
				done, err := b.take(ctx, deleteMethod, 1)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				done()
			})
			time.Sleep(time.Millisecond) // one after the other
		}
		wg.Wait()
		for i, pair := range [][2]string{{"urgent 1", "urgent 2"}, {"a", "b"}, {"c", "d"}} { // two at a time, in any order
			got := order[2*i : 2*i+2]
			if got[0] != pair[0] && got[0] != pair[1] || got[1] != pair[0] && got[1] != pair[1] {
				t.Errorf("order %v", order)
				break
			}
		}
	})
}

func TestTooLongAWaitIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudgets(Budget{Methods: Limit{2, 40 * time.Second}}, machineClock{})
		spent(t, b, deleteMethod, 2)
		refused := func(ctx context.Context) time.Duration {
			t.Helper()
			begin := time.Now()
			_, err := b.take(ctx, deleteMethod, 1)
			var nt *noTurnError
			if !errors.As(err, &nt) {
				t.Fatalf("error %v", err)
			}
			if waited := time.Since(begin); waited != 0 {
				t.Errorf("it waited %s before", waited)
			}
			return nt.after
		}
		// The first is told its turn, each of the others comes 20 s later: two in 40 s.
		for i := range 5 {
			if got, want := refused(t.Context()), 40*time.Second+time.Duration(i)*20*time.Second; got != want {
				t.Errorf("request %d shall wait %s, want %s", i, got, want)
			}
		}
		if got := refused(identity.Urgent(t.Context())); got != 40*time.Second {
			t.Errorf("an urgent one shall wait %s", got)
		}
		for range 200 {
			refused(t.Context())
		}
		if got := refused(t.Context()); got != longestPromise {
			t.Errorf("after many, the wait is %s", got)
		}

		// Within its patience but past its deadline.
		time.Sleep(25 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second)
		defer cancel()
		refused(ctx)
		begin := time.Now()
		done, err := b.take(t.Context(), deleteMethod, 1)
		if err != nil || time.Since(begin) != 15*time.Second {
			t.Fatalf("waited %s, %v", time.Since(begin), err)
		}
		done()
	})
}

func TestGivingUpFreesTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudgets(Budget{Methods: Limit{1, 10 * time.Second}, Patience: time.Minute}, machineClock{})
		spent(t, b, deleteMethod, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := b.take(ctx, deleteMethod, 1); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		begin := time.Now()
		spent(t, b, deleteMethod, 1)
		if waited := time.Since(begin); waited != 10*time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudgets(DocumentedBudget(), machineClock{})
		b.pause(classProtection, 7*time.Second)
		b.pause(classProtection, 3*time.Second) // the longer one stands
		b.pause(classMail, time.Hour)           // has no limit to pause
		begin := time.Now()
		spent(t, b, deleteMethod, 1)
		spent(t, b, sendMail, 1)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("other classes wait %s", waited)
		}
		done, err := b.take(identity.Urgent(t.Context()), readRisk, 1)
		if err != nil || time.Since(begin) != 7*time.Second {
			t.Fatalf("after %s, %v", time.Since(begin), err)
		}
		done()
	})
}

func TestSharesAndClasses(t *testing.T) {
	documented := DocumentedBudget()
	for name, tc := range map[string]struct {
		budget Budget
		op     operation
		n      int           // go at once
		next   time.Duration // when one more goes
	}{
		"methods":             {documented, readMethods, 5, 10 * time.Second},
		"methods of 2":        {Budget{Methods: documented.Methods, Workers: 2}, readMethods, 2, 10 * time.Second},
		"methods of 20":       {Budget{Methods: documented.Methods, Workers: 20}, readMethods, 1, 40 * time.Second},
		"protection":          {documented, readRisk, 1, time.Second},
		"protection of 4":     {Budget{Protection: documented.Protection, Workers: 4}, readRisk, 1, 4 * time.Second},
		"directory, reads":    {Budget{Directory: Limit{7, time.Second}, Writes: Limit{2, time.Minute}}, readUser, 7, time.Second},
		"directory, writes":   {Budget{Directory: Limit{7, time.Second}, Writes: Limit{2, time.Minute}}, setEnabled, 2, time.Minute},
		"directory, by units": {Budget{Directory: Limit{2, time.Hour}, Writes: Limit{7, time.Minute}}, setEnabled, 2, time.Hour},
		"mail":                {documented, sendMail, 100, 0},
		"no limits":           {Budget{}, readMethods, 100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.budget.Patience = 2 * time.Hour
				b := newBudgets(tc.budget, machineClock{})
				begin := time.Now()
				spent(t, b, tc.op, tc.n)
				if waited := time.Since(begin); waited != 0 {
					t.Errorf("%d waited %s", tc.n, waited)
				}
				spent(t, b, tc.op, 1)
				if waited := time.Since(begin); waited != tc.next {
					t.Errorf("one more went after %s, want %s", waited, tc.next)
				}
			})
		})
	}
}

// A batch larger than the window cannot fit: it goes when nothing else counts, and
// what follows pays for it.
func TestLargeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudgets(Budget{Methods: Limit{5, 10 * time.Second}, Patience: time.Hour}, machineClock{})
		begin := time.Now()
		spent(t, b, readMethods, 1)
		done, err := b.take(t.Context(), readMethods, 8)
		if err != nil || time.Since(begin) != 10*time.Second {
			t.Fatalf("went after %s, %v", time.Since(begin), err)
		}
		done()
		spent(t, b, readMethods, 1)
		if waited := time.Since(begin); waited != 20*time.Second {
			t.Errorf("the next went after %s", waited)
		}
		if n := b.atOnce(classMethods, maxBatch); n != 5 {
			t.Errorf("%d at once", n)
		}
	})
}
