package telemetry

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Answers counts the answers of Microsoft Graph and writes them together: a line for each
// would be as many lines as calls. It is safe for concurrent use.
type Answers struct {
	metrics *Metrics
	mu      sync.Mutex
	counts  map[string]float64
	since   time.Time
}

// answersEvery is how long counts are kept back while calls go on.
const answersEvery = 10 * time.Second

// Answers counts into m.
func (m *Metrics) Answers() *Answers { return &Answers{metrics: m, counts: map[string]float64{}} }

// Count counts one answer; the status 0 is none.
func (a *Answers) Count(status int) {
	a.mu.Lock()
	now := a.metrics.now()
	if len(a.counts) == 0 {
		a.since = now
	}
	a.counts[class(status)]++
	due := now.Sub(a.since) >= answersEvery
	a.mu.Unlock()
	if due {
		_ = a.Flush() // a writer that fails drops every line; the log says so elsewhere
	}
}

func class(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return "throttled"
	case status >= 200 && status < 600:
		return strconv.Itoa(status/100) + "xx"
	default:
		return "none"
	}
}

// Flush writes what was counted since the last time.
func (a *Answers) Flush() error {
	a.mu.Lock()
	counts := a.counts
	a.counts = map[string]float64{}
	a.mu.Unlock()
	var problems []error
	for _, outcome := range slices.Sorted(maps.Keys(counts)) {
		problems = append(problems, a.metrics.Put(Dimensions{Outcome: outcome}, Metric{Name: MetricGraphCalls, Unit: Count, Value: counts[outcome]}))
	}
	return errors.Join(problems...)
}
