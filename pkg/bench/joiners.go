package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/queue"
	simgraph "mfaflow/pkg/sim/graph"
)

// load is one run of the worker.
type load struct {
	// latency is Graph's.
	latency time.Duration
	// broker is how far away the broker is, there and back.
	broker time.Duration
	lanes  int
	people int
}

func (l load) String() string {
	s := fmt.Sprintf("Graph %d ms, ", l.latency.Milliseconds())
	if l.broker > 0 {
		s += fmt.Sprintf("broker %d ms away, ", l.broker.Milliseconds())
	}
	if l.lanes == 1 {
		return s + "1 lane"
	}
	return s + fmt.Sprintf("%d lanes", l.lanes)
}

// loads have enough people for a steady middle of some seconds.
func loads() []load {
	const typical = 50 * time.Millisecond
	// From AWS to Azure within a region's city.
	const far = 5 * time.Millisecond
	return []load{
		{lanes: 1, people: 200},
		{lanes: 8, people: 600},
		{lanes: 32, people: 800},
		{latency: typical, lanes: 1, people: 30},
		{latency: typical, lanes: 8, people: 240},
		{latency: typical, lanes: 32, people: 800},
		{latency: typical, broker: far, lanes: 8, people: 160},
		{latency: typical, broker: far, lanes: 32, people: 320},
	}
}

// joiners is how many joiners per second the worker takes from event to mail. What
// Graph's latency allows is counted, not assumed: the simulator's log tells how long
// a joiner had a call under way, and a lane can do no better than that.
func joiners(ctx context.Context, bin Bin) ([]Figure, error) {
	var figures []Figure
	for _, l := range loads() {
		r, err := l.run(ctx, bin)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", l, err)
		}
		figures = append(figures, Figure{Name: l.String(), Value: r.rate, Unit: "joiners/s"})
		if l.latency > 0 {
			limit := float64(l.lanes) / (r.steps * l.latency.Seconds())
			reached := Figure{Name: "  reached of it", Value: 100 * r.rate / limit, Unit: "%"}
			if l.broker == 0 {
				reached = reached.bounded(AtLeast, 90)
			}
			allowed := fmt.Sprintf("  Graph allows (%.0f calls, %.0f one after the other)", r.calls, r.steps)
			figures = append(figures, Figure{Name: allowed, Value: limit, Unit: "joiners/s"}, reached)
		}
		figures = append(figures,
			Figure{Name: "  processor time per joiner, worker", Value: milliseconds(r.worker), Unit: "ms"},
			Figure{Name: "  processor time per joiner, both simulators", Value: milliseconds(r.simulators), Unit: "ms"})
	}
	return figures, nil
}

// joined is a result with what the simulator's log tells, per joiner.
type joined struct {
	result
	rate         float64
	calls, steps float64
}

func (l load) run(ctx context.Context, bin Bin) (r joined, err error) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return r, err
	}
	people, err := populate(tenant, modelJoiner, l.people)
	if err != nil {
		return r, err
	}
	var messages []queue.Message
	for _, u := range people {
		m, err := eventOf(u, u.EmployeeID, event.Joiner, joinerData(u.EmployeeID))
		if err != nil {
			return r, err
		}
		messages = append(messages, m)
	}
	s, err := openSite(ctx, tenant, l.latency, messages)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if r.result, err = s.work(ctx, bin, shift{lanes: l.lanes, events: l.people, broker: l.broker}); err != nil {
		return r, err
	}
	r.rate = steadyRate(r.ended, l.lanes)
	r.calls, r.steps = rounds(s.graph.Requests(), l.latency)
	return r, nil
}

// steadyRate leaves out the first and the last event of each lane: when it starts a
// worker gets its token and connects, and at the end lanes run dry.
func steadyRate(times []time.Time, lanes int) float64 {
	slices.SortFunc(times, time.Time.Compare)
	first, last := lanes-1, len(times)-lanes
	if last <= first {
		return 0
	}
	return float64(last-first) / times[last].Sub(times[first]).Seconds()
}

// rounds are the calls of a joiner, and how many of them one after the other make
// up the time in which it had at least one under way.
func rounds(log []simgraph.Request, latency time.Duration) (calls, steps float64) {
	byJoiner := map[string][]simgraph.Request{}
	for _, r := range log {
		if strings.HasPrefix(r.ClientRequestID, source) {
			byJoiner[r.ClientRequestID] = append(byJoiner[r.ClientRequestID], r)
		}
	}
	if len(byJoiner) == 0 {
		return 0, 0
	}
	var each, busy []float64
	for _, list := range byJoiner {
		each = append(each, float64(len(list)))
		busy = append(busy, underWay(list).Seconds())
	}
	if latency > 0 {
		// Rounded down: what a call takes beyond the injected latency is cost, no step.
		steps = math.Floor(quantile(busy, 0.5)/latency.Seconds() + 0.1)
	}
	return quantile(each, 0.5), steps
}

// underWay is the time in which at least one of the calls was.
func underWay(list []simgraph.Request) (total time.Duration) {
	slices.SortFunc(list, func(a, b simgraph.Request) int { return a.Time.Compare(b.Time) })
	var end time.Time
	for _, r := range list {
		from, to := r.Time, r.Time.Add(r.Duration)
		if from.Before(end) {
			from = end
		}
		if to.After(from) {
			total += to.Sub(from)
			end = to
		}
	}
	return total
}
