package telemetry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// Whoever makes an alarm of their own goes by the README.
func TestReadmeListsTheMetrics(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| metric | unit | split by | what it is |\n|---|---|---|---|\n")
	table, _, ends := strings.Cut(table, "\n\n")
	var want []string
	for _, d := range telemetry.Definitions() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", d.Name, d.Unit, strings.Join(d.Dimensions, ", "), d.Meaning))
	}
	if want := strings.Join(want, "\n"); !found || !ends || table != want {
		t.Errorf("README.md has\n%s\nwant\n%s", table, want)
	}
}
