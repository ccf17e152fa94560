package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// Unit is a unit of CloudWatch.
type Unit string

// The units in use.
const (
	Count        Unit = "Count"
	Milliseconds Unit = "Milliseconds"
	Seconds      Unit = "Seconds"
	Bytes        Unit = "Bytes"
)

// Metric is one measured value. Its name is one of Definitions.
type Metric struct {
	Name  string
	Unit  Unit
	Value float64
}

// Waited is how long a message lay in its queue until somebody took it: the age of the queue
// as its consumer sees it, for which it needs no right on the queue. What waits on purpose is
// not counted: it is deferred, or comes to the queue later. Of a clock behind the broker's it
// is nothing.
func Waited(since, now time.Time) Metric {
	return Metric{Name: MetricWaited, Unit: Seconds, Value: max(0, now.Sub(since).Seconds())}
}

// Dimensions split a metric; every combination of values is billed as a metric of
// its own. Hence a closed set of names, each with few values, and no place for an
// id or a person. Empty ones are left out.
type Dimensions struct {
	Queue   string
	Type    string
	Source  string
	Outcome string
	// Reason is from a closed list, too.
	Reason string
}

// Metrics writes metrics as log lines in the CloudWatch embedded metric format,
// which CloudWatch Logs turns into metrics without any call on our side.
// It is safe for concurrent use.
type Metrics struct {
	mu        sync.Mutex
	w         io.Writer
	namespace string
	function  string
	now       func() time.Time
}

// NewMetrics writes to w under namespace; the function's name is a dimension of
// every metric.
func NewMetrics(w io.Writer, namespace, function string, now func() time.Time) *Metrics {
	return &Metrics{w: w, namespace: namespace, function: function, now: now}
}

// The limit of the format: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
const maxMetrics = 100

// Put writes one line with all metrics. A line that CloudWatch would drop without
// a word (no number, no name, one name twice) is refused whole.
func (m *Metrics) Put(d Dimensions, metrics ...Metric) error {
	if len(metrics) == 0 || len(metrics) > maxMetrics {
		return fmt.Errorf("put metrics: %d values in one line, want 1 to %d", len(metrics), maxMetrics)
	}
	type definition struct {
		Name string `json:"Name"`
		Unit Unit   `json:"Unit"`
	}
	line := map[string]any{}
	names := []string{}
	for _, p := range []struct{ name, value string }{
		{KeyFunction, m.function}, {"queue", d.Queue}, {KeyType, d.Type}, {KeySource, d.Source}, {KeyOutcome, d.Outcome}, {KeyReason, d.Reason},
	} {
		if p.value != "" {
			line[p.name] = p.value
			names = append(names, p.name)
		}
	}
	definitions := make([]definition, 0, len(metrics))
	for _, x := range metrics {
		if x.Name == "" || x.Name == "_aws" {
			return errors.New("put metrics: a metric needs a name of its own")
		}
		if _, taken := line[x.Name]; taken {
			return fmt.Errorf("put metrics: %q is named twice", x.Name)
		}
		if math.IsNaN(x.Value) || math.IsInf(x.Value, 0) {
			return fmt.Errorf("put metrics: %q is no number", x.Name)
		}
		line[x.Name] = x.Value
		definitions = append(definitions, definition{x.Name, x.Unit})
	}
	line["_aws"] = map[string]any{
		"Timestamp": m.now().UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace":  m.namespace,
			"Dimensions": [][]string{names},
			"Metrics":    definitions,
		}},
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("put metrics: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("put metrics: %w", err)
	}
	return nil
}
