package console

import (
	"context"
	"sync"
	"time"

	"mfaflow/pkg/operate"
)

const (
	// freshOverview is how old an overview may be that is shown again.
	freshOverview = 2 * time.Second
	// freshAges is how old the ages may be; gathering them reads every entry, so it may
	// take no more than a share of the time.
	freshAges    = 30 * time.Second
	agesShare    = 20
	agesPage     = 1000
	agesMost     = 100_000
	agesPatience = 500 * time.Millisecond
)

// picture keeps what the overview shows for a moment, so that many readers, or one who
// reloads, cost the broker no more than one.
type picture struct {
	mu       sync.Mutex
	overview operate.Overview
	read     time.Time

	ages     ages
	gathered chan struct{} // closed when the gathering under way ends; nil when there is none
}

// ages are when the entries came that lie aside.
type ages struct {
	At                       time.Time
	took                     time.Duration
	DeadLetters, Quarantined []time.Time
	// More is true when there are more than were read.
	More bool
	Err  error
}

// look is the overview, read anew when the last one is old.
func (c *Console) look(ctx context.Context, ops operate.Operations) (operate.Overview, error) {
	p := &c.picture
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := c.now(); p.read.IsZero() || now.Sub(p.read) >= freshOverview {
		o, err := ops.Overview(ctx)
		if err != nil {
			return operate.Overview{}, err
		}
		p.overview, p.read = o, c.now()
	}
	return p.overview, nil
}

// agesNow are the ages as they were gathered last. It waits a moment for the first ones;
// they may still be missing.
func (c *Console) agesNow(ctx context.Context, ops operate.Operations) ages {
	p := &c.picture
	p.mu.Lock()
	old := c.now().Sub(p.ages.At)
	if p.gathered == nil && (p.ages.At.IsZero() || old > max(freshAges, agesShare*p.ages.took)) {
		done := make(chan struct{})
		p.gathered = done
		c.background(func(ctx context.Context) {
			a := c.gather(ctx, ops)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ages, p.gathered = a, nil
			close(done)
		})
	}
	last, gathered := p.ages, p.gathered
	p.mu.Unlock()
	if !last.At.IsZero() || gathered == nil {
		return last
	}
	wait := time.NewTimer(agesPatience)
	defer wait.Stop()
	select {
	case <-gathered:
	case <-wait.C:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ages
}

func (c *Console) gather(ctx context.Context, ops operate.Operations) (a ages) {
	began := c.now()
	cursor := ""
	for read := 0; ; {
		page, err := ops.List(ctx, operate.Filter{}, cursor, agesPage)
		if err != nil {
			a.Err = err
			break
		}
		for _, e := range page.Items {
			if e.Place == operate.Quarantine {
				a.Quarantined = append(a.Quarantined, e.EnqueuedAt)
			} else {
				a.DeadLetters = append(a.DeadLetters, e.EnqueuedAt)
			}
		}
		read += len(page.Items)
		if cursor = page.Next; cursor == "" {
			break
		}
		if read >= agesMost {
			a.More = true
			break
		}
	}
	a.At = c.now()
	a.took = a.At.Sub(began)
	return a
}
