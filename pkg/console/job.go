package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mfaflow/pkg/operate"
)

const (
	// chunkMost is how many entries go into one request.
	chunkMost = 100
	// chunkLongest is how long a request may take; it goes on when the rest is paused.
	chunkLongest = 2 * time.Minute
)

// phase is where a replay is. The zero value is invalid.
type phase string

const (
	running   phase = "running"
	paused    phase = "paused"
	finished  phase = "finished"
	cancelled phase = "cancelled"
	// stopped: the plan no longer holds, or the console ends.
	stopped phase = "stopped"
)

func (p phase) over() bool { return p == finished || p == cancelled || p == stopped }

// job is a replay on its way. It sends its entries in chunks, so that it can be paused
// and cancelled between them; a chunk on its way is always waited for.
type job struct {
	id      string
	plan    operate.Plan
	digests []string
	entries []operate.PlannedEntry
	why     string
	rate    int
	now     func() time.Time
	began   time.Time
	// changed wakes the loop after pause, resume and cancel.
	changed chan struct{}

	mu sync.Mutex
	// operator is who started the replay or resumed it last, with whose rights it goes on.
	operator operate.Operator
	ops      operate.Operations
	phase    phase
	problem  string
	next     int // entries before it have an outcome
	outcomes []operate.Outcome
	counts   map[string]int
	active   time.Duration // time spent running before since
	since    time.Time     // when it began to run last; zero while it does not
	ended    time.Time
}

func newJob(ops operate.Operations, now func() time.Time, by operate.Operator, p operate.Plan, entries []operate.PlannedEntry, why string, rate int) *job {
	j := &job{
		id: rand.Text(), operator: by, plan: p, entries: entries, why: why, rate: rate, ops: ops, now: now,
		began: now(), since: now(), changed: make(chan struct{}, 1), phase: running, counts: map[string]int{},
	}
	for _, e := range p.Entries {
		j.digests = append(j.digests, e.Digest)
	}
	return j
}

// run sends the entries until all have an outcome.
func (j *job) run(ctx context.Context) {
	for {
		chunk, ok := j.await(ctx)
		if !ok {
			return
		}
		began := j.now()
		request, cancel := context.WithTimeout(context.WithoutCancel(ctx), chunkLongest)
		by, ops := j.steersman()
		outcomes, err := ops.Replay(request, by, operate.Replay{
			Plan: j.plan.Digest, Settings: j.plan.Settings, Digests: j.digests, Entries: chunk, Reason: j.why,
		})
		cancel()
		if err == nil && len(outcomes) < len(chunk) || len(outcomes) > len(chunk) {
			outcomes, err = nil, fmt.Errorf("%d entries were sent and %d outcomes came back", len(chunk), len(outcomes))
		}
		j.record(outcomes, err)
		if j.rate > 0 {
			j.rest(ctx, began.Add(time.Duration(len(chunk))*time.Second/time.Duration(j.rate)))
		}
	}
}

// await is the next chunk; it waits while the replay is paused. It is not ok at the end.
func (j *job) await(ctx context.Context) ([]operate.PlannedEntry, bool) {
	for {
		j.mu.Lock()
		switch {
		case ctx.Err() != nil && !j.phase.over():
			j.enter(stopped, "The console ended.")
		case j.next == len(j.entries) && !j.phase.over():
			j.enter(finished, "")
		}
		now, from := j.phase, j.next
		j.mu.Unlock()
		switch {
		case now.over():
			return nil, false
		case now == running:
			size := chunkMost
			if j.rate > 0 {
				// Two chunks a second let progress be seen and words be heard soon.
				size = min(max(j.rate/2, 1), chunkMost)
			}
			return j.entries[from:min(from+size, len(j.entries))], true
		}
		select {
		case <-j.changed:
		case <-ctx.Done():
		}
	}
}

// rest waits until a time, or until it is told something.
func (j *job) rest(ctx context.Context, until time.Time) {
	timer := time.NewTimer(until.Sub(j.now()))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-j.changed:
			if j.at().over() {
				return
			}
		}
	}
}

func (j *job) steersman() (operate.Operator, operate.Operations) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.operator, j.ops
}

func (j *job) at() phase {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.phase
}

// record keeps what became of a chunk, or of its beginning before an error. A failure
// pauses the replay: what was sent is safe to send again, and somebody should read why
// first.
func (j *job) record(outcomes []operate.Outcome, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range outcomes {
		j.counts[o.Outcome]++
	}
	j.outcomes = append(j.outcomes, outcomes...)
	j.next += len(outcomes)
	switch {
	case err == nil:
	case errors.Is(err, operate.ErrStale):
		j.enter(stopped, err.Error())
	case j.phase == running:
		j.enter(paused, err.Error())
	default:
		j.problem = err.Error()
	}
}

// enter changes the phase; the lock is held.
func (j *job) enter(p phase, problem string) {
	now := j.now()
	if !j.since.IsZero() {
		j.active += now.Sub(j.since)
		j.since = time.Time{}
	}
	j.phase, j.problem = p, problem
	switch {
	case p == running:
		j.since = now
	case p.over():
		j.ended = now
	}
}

// steer pauses, resumes or cancels; it reports whether that made sense. Who resumes a
// replay carries it on: the rights of who began it may have ended.
func (j *job) steer(word string, by operate.Operator, ops operate.Operations) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case word == "pause" && j.phase == running:
		j.enter(paused, "")
	case word == "resume" && j.phase == paused:
		j.operator, j.ops = by, ops
		j.enter(running, "")
	case word == "cancel" && !j.phase.over():
		j.enter(cancelled, "")
	default:
		return false
	}
	select {
	case j.changed <- struct{}{}:
	default:
	}
	return true
}

// progress is a replay as a page shows it.
type progress struct {
	ID       string
	Operator operate.Operator
	Phase    phase
	Problem  string
	Why      string
	Began    time.Time
	Ended    time.Time
	Done     int
	Total    int
	Limit    int
	// Rate is in entries per second of running, Left how long the rest will take; 0 when
	// nobody can tell yet.
	Rate     float64
	Left     time.Duration
	Outcomes []tally
	// Others are the outcomes of entries that were not replayed, the first ones.
	Others []operate.Outcome
	// Open is how many entries have no outcome, or one after which they lie there still.
	Open int
}

type tally struct {
	Outcome string
	N       int
}

// most is how many outcomes that are no success a page lists.
const most = 100

// settled reports whether an entry with this outcome lies aside no longer.
func settled(outcome string) bool { return outcome != "stale" && outcome != "failed" }

func (j *job) progress() progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := progress{
		ID: j.id, Operator: j.operator, Phase: j.phase, Problem: j.problem, Why: j.why, Began: j.began, Ended: j.ended,
		Done: j.next, Total: len(j.entries), Limit: j.rate, Open: len(j.entries) - j.next,
	}
	active := j.active
	if !j.since.IsZero() {
		active += j.now().Sub(j.since)
	}
	if active > 0 && j.next > 0 {
		p.Rate = float64(j.next) / active.Seconds()
		p.Left = time.Duration(float64(len(j.entries)-j.next) / p.Rate * float64(time.Second))
	}
	for outcome, n := range j.counts {
		p.Outcomes = append(p.Outcomes, tally{outcome, n})
		if !settled(outcome) {
			p.Open += n
		}
	}
	slices.SortFunc(p.Outcomes, func(a, b tally) int { return b.N - a.N })
	for _, o := range j.outcomes {
		if o.Outcome != "replayed" && len(p.Others) < most {
			p.Others = append(p.Others, o)
		}
	}
	return p
}

// Percent is how much of it is done.
func (p progress) Percent() int {
	if p.Total == 0 {
		return 100
	}
	return 100 * p.Done / p.Total
}

// Live reports whether it may still go on.
func (p progress) Live() bool { return !p.Phase.over() }

// open names the entries that lie there still, as far as the replay knows.
func (j *job) open() []operate.ID {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []operate.ID
	for _, o := range j.outcomes {
		if !settled(o.Outcome) {
			ids = append(ids, o.ID)
		}
	}
	for _, e := range j.entries[j.next:] {
		ids = append(ids, e.ID)
	}
	return ids
}
