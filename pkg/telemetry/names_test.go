package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/telemetry"
)

func definition(name string) (telemetry.Definition, bool) {
	all := telemetry.Definitions()
	i := slices.IndexFunc(all, func(d telemetry.Definition) bool { return d.Name == name })
	if i < 0 {
		return telemetry.Definition{}, false
	}
	return all[i], true
}

// An alarm on a metric that nobody writes never rings.
func TestAlarmsAreAboutMetricsThatAreWritten(t *testing.T) {
	query := regexp.MustCompile(`^SELECT [A-Z]+\("([^"]+)"\) FROM "mfaflow"(?: WHERE ([a-z_]+) ?= ?'[^']*')?(?: GROUP BY (.+))?$`)
	for _, q := range deployed(t) {
		m := query.FindStringSubmatch(q)
		if m == nil {
			t.Errorf("%s: not a query that this test understands", q)
			continue
		}
		d, ok := definition(m[1])
		if !ok {
			t.Errorf("%s: nobody writes %q", q, m[1])
			continue
		}
		for _, dimension := range append(strings.Split(strings.ReplaceAll(m[3], `"`, ""), ", "), m[2]) {
			if dimension != "" && dimension != "function" && !slices.Contains(d.Dimensions, dimension) {
				t.Errorf("%s: %s is not split by %q", q, d.Name, dimension)
			}
		}
	}
}

// deployed are the queries in the Terraform of this tree.
func deployed(t *testing.T) (list []string) {
	t.Helper()
	query := regexp.MustCompile(`"(SELECT [A-Z]+\((?:[^"\\]|\\.)*)"`)
	err := filepath.WalkDir("../../infra", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".tf" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, q := range query.FindAllStringSubmatch(string(text), -1) {
			list = append(list, strings.ReplaceAll(q[1], `\"`, `"`))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Error("infra/ asks for no metric")
	}
	return list
}

// Every metric of the list is written somewhere, and none that is not in it.
func TestMetricsInTheCode(t *testing.T) {
	used := map[string]bool{}
	literal, constant := regexp.MustCompile(`Metric\{Name: "`), regexp.MustCompile(`(?:telemetry\.|Name: )Metric([A-Z][A-Za-z]+)`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if literal.Match(text) {
			t.Errorf("%s names a metric by itself", path)
		}
		for _, m := range constant.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("names.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := regexp.MustCompile(`(?m)^\tMetric([A-Za-z]+) += "([^"]+)"$`).FindAllStringSubmatch(string(text), -1)
	if len(constants) != len(telemetry.Definitions()) {
		t.Errorf("%d constants, %d definitions", len(constants), len(telemetry.Definitions()))
	}
	for _, c := range constants {
		if _, ok := definition(c[2]); !ok || !used[c[1]] {
			t.Errorf("%s is not defined, or nobody writes it", c[2])
		}
	}
}

func TestAnswersAreWrittenTogether(t *testing.T) {
	var out bytes.Buffer
	now := time.UnixMilli(1_800_000_000_000)
	a := telemetry.NewMetrics(&out, "mfaflow", "identity-worker", func() time.Time { return now }).Answers()
	for _, status := range []int{200, 204, 404, 429, 429, 503, 0, 200, 302, 700} {
		a.Count(status)
	}
	if out.Len() > 0 {
		t.Errorf("written one by one: %s", out.String())
	}
	now = now.Add(11 * time.Second)
	a.Count(200)
	if err := a.Flush(); err != nil {
		t.Error(err)
	}
	got := map[string]float64{}
	for line := range strings.Lines(out.String()) {
		var l struct {
			Outcome    string  `json:"outcome"`
			GraphCalls float64 `json:"GraphCalls"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got[l.Outcome] += l.GraphCalls
	}
	want := map[string]float64{"2xx": 4, "3xx": 1, "4xx": 1, "5xx": 1, "throttled": 2, "none": 2}
	for outcome, n := range want {
		if got[outcome] != n || len(got) != len(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 6 {
		t.Errorf("%d lines", n)
	}
}
