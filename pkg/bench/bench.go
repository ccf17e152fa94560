// Package bench measures the built functions and the simulators against the bounds
// of the design. It measures from outside: real binaries, real sockets, their own
// log lines. A slow machine misses a bound; it does not fail a run.
//
// It knows how to start things and what they print, and nothing of their insides.
package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Bin is a folder of built binaries: the functions, mfaflow, and bare, the handler
// that does nothing.
type Bin string

func (b Bin) path(name string) string { return filepath.Join(string(b), name) }

// Measurement is one group of figures.
type Measurement struct {
	// Name is how a command line asks for it.
	Name string
	// Title says what is measured and how.
	Title   string
	measure func(context.Context, Bin) ([]Figure, error)
}

// DefaultEvents is how many mixed events a run takes unless it is told otherwise.
const DefaultEvents = 1000

// Measurements in the order in which they are taken. Events is how many mixed events
// the worker takes; the design speaks of 10,000.
func Measurements(events int) []Measurement {
	return []Measurement{
		{"size", "stripped size of the functions", sizes},
		{"start", "process start to the first poll of the Lambda runtime, median of 20 each, in turn", coldStarts},
		{"ingest", "hr-events as a process, the emulator as another: signed joiners at 500 requests/s, arriving whether or not the last was answered", ingestLatency},
		{"signals", "risk-signals in the same way: Security Event Tokens under RS256, and CloudEvents under Standard Webhooks", signalLatency},
		{"notifications", "graph-notifications in the same way: change notifications of Microsoft Graph, one a delivery", notificationLatency},
		{"emulator", "Service Bus emulator over loopback, driven by the azservicebus client", emulator},
		{"stack", "the local stack, median of 5: all functions as processes, one joiner", localStack},
		{"worker", "identity-worker as a process, each joiner another person, events already in their lanes; the simulators share the processors", joiners},
		{"reset", "identity-worker: require re-registration of somebody with six methods, Graph 50 ms, 5 people; and the serial calls of the public script", resets},
		{"mixed", "identity-worker: joiners, cancellations, leavers, resets, stolen devices, codes, risk; already in their lanes", mixed(events)},
		{"replay", "event-replay as a process: list, filter, plan and replay dead letters, each of another person; no worker runs; the simulators share the processors", replays},
		{"sweep", "tenant-sweep: 100,000 users, whom all lanes are told to look at because the directory forgot where the sweep was", sweeps},
		{"readiness", "readiness-report: a report of 100,000 people, gathered over HTTP from the simulator and written in all its forms", readinessReports},
		{"policy", "mfaflow policy plan: from per-user MFA to Conditional Access for 100,000 people, read over HTTP from the simulator, judged after every step", policyPlans},
		{"budget", "the Graph adapter in synthetic time: resets of six methods in 32 lanes, Graph 50 ms, 100 requests/s allowed", budget},
		{"console", "pages of the console, one after another over loopback, while it replays 10,000 entries; operations in memory, 20 ms a request of 100", console},
	}
}

// Run takes the measurement.
func (m Measurement) Run(ctx context.Context, bin Bin) Group {
	figures, err := m.measure(ctx, bin)
	g := Group{Name: m.Name, Title: m.Title, Figures: figures}
	if err != nil {
		g.Error = fmt.Sprintf("not measured: %v", err)
	}
	return g
}

// quantile is the value that a share of q of the values does not exceed (nearest
// rank); 0 without values.
func quantile[T float64 | time.Duration](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(float64(len(sorted))*q+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
