package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mfaflow/pkg/telemetry"
)

func at(ms int64) func() time.Time { return func() time.Time { return time.UnixMilli(ms) } }

func TestMetricsGolden(t *testing.T) {
	var out bytes.Buffer
	m := telemetry.NewMetrics(&out, "mfaflow", "identity-worker", at(1800000000123))
	err := m.Put(telemetry.Dimensions{Type: "employee.joiner", Outcome: "done"},
		telemetry.Metric{Name: "Events", Unit: telemetry.Count, Value: 1},
		telemetry.Metric{Name: "Duration", Unit: telemetry.Milliseconds, Value: 41.5})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Duration":41.5,"Events":1,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["function","type","outcome"]],` +
		`"Metrics":[{"Name":"Events","Unit":"Count"},{"Name":"Duration","Unit":"Milliseconds"}],"Namespace":"mfaflow"}],` +
		`"Timestamp":1800000000123},"function":"identity-worker","outcome":"done","type":"employee.joiner"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestMetricsRefuseWhatCloudWatchWouldDrop(t *testing.T) {
	one := telemetry.Metric{Name: "Events", Unit: telemetry.Count, Value: 1}
	for name, metrics := range map[string][]telemetry.Metric{
		"none":             {},
		"too many":         make([]telemetry.Metric, 101),
		"no name":          {{Unit: telemetry.Count}},
		"reserved name":    {{Name: "_aws"}},
		"name twice":       {one, one},
		"name of a member": {{Name: "type"}},
		"not a number":     {{Name: "A", Value: math.NaN()}},
		"infinite":         {{Name: "A", Value: math.Inf(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			m := telemetry.NewMetrics(&out, "mfaflow", "f", time.Now)
			if err := m.Put(telemetry.Dimensions{Type: "t"}, metrics...); err == nil {
				t.Error("want an error")
			}
			if out.Len() != 0 {
				t.Errorf("wrote %q", out.String())
			}
		})
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

var errBroken = errors.New("broken pipe")

func TestMetricsReportAFailedWrite(t *testing.T) {
	err := telemetry.NewMetrics(brokenPipe{}, "n", "f", time.Now).Put(telemetry.Dimensions{}, telemetry.Metric{Name: "A"})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// Whatever is put, a line that is written is one JSON object in which each metric
// of the directive is a number and each dimension a string, as the format demands.
func TestMetricsLinesAreWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var out bytes.Buffer
		m := telemetry.NewMetrics(&out, "mfaflow", "f", at(1))
		d := telemetry.Dimensions{
			Queue: rapid.String().Draw(t, "queue"), Type: rapid.String().Draw(t, "type"),
			Source: rapid.String().Draw(t, "source"), Outcome: rapid.String().Draw(t, "outcome"),
		}
		metrics := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) telemetry.Metric {
			return telemetry.Metric{Name: rapid.String().Draw(t, "name"), Unit: telemetry.Count, Value: rapid.Float64().Draw(t, "value")}
		}), 0, 8).Draw(t, "metrics")

		if err := m.Put(d, metrics...); err != nil {
			if out.Len() != 0 {
				t.Fatalf("refused and wrote %q", out.String())
			}
			return
		}
		if strings.Count(out.String(), "\n") != 1 || !strings.HasSuffix(out.String(), "\n") {
			t.Fatalf("want one line, got %q", out.String())
		}
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		var head struct {
			AWS struct {
				CloudWatchMetrics []struct {
					Dimensions [][]string
					Metrics    []struct{ Name string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal(out.Bytes(), &head); err != nil {
			t.Fatal(err)
		}
		directive := head.AWS.CloudWatchMetrics[0]
		if len(directive.Metrics) != len(metrics) {
			t.Fatalf("put %d metrics, defined %d", len(metrics), len(directive.Metrics))
		}
		for _, x := range directive.Metrics {
			if _, ok := line[x.Name].(float64); !ok {
				t.Fatalf("metric %q is %T", x.Name, line[x.Name])
			}
		}
		for _, name := range directive.Dimensions[0] {
			if s, ok := line[name].(string); !ok || s == "" {
				t.Fatalf("dimension %q is %v", name, line[name])
			}
		}
	})
}

func TestMetricsAreSafeForConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	m := telemetry.NewMetrics(&out, "mfaflow", "f", time.Now)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := m.Put(telemetry.Dimensions{}, telemetry.Metric{Name: "Events", Value: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := strings.Count(out.String(), "\n"); n != 400 {
		t.Errorf("got %d lines", n)
	}
}
