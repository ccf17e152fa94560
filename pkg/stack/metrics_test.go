package stack_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/config"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
	"mfaflow/pkg/telemetry"
)

// What the functions measure is what the list of metrics says, in the form that CloudWatch
// takes, and about nobody: no dimension holds an id, a name or an address.
func TestMetricsAreOfTheListAndAboutNobody(t *testing.T) {
	s, lines := start(t, "MFAFLOW_POLL=sign-ins")
	until := func(what string, yet func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !yet(); {
			if time.Now().After(end) {
				t.Fatalf("not in time: %s\n%s", what, lines.all())
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	post := func(employeeID string) {
		t.Helper()
		if answer, err := s.Post(t.Context(), stack.Source, statement(t, s, employeeID)); err != nil || answer.Status != http.StatusAccepted {
			t.Fatalf("%+v, %v", answer, err)
		}
	}
	post(stack.ModelJoiner)
	delivered(t, s, lines, stack.ModelJoiner)
	post("E1008") // has methods already: held, and the service desk is told
	until("the service desk is told", func() bool { return len(s.Graph.Mailbox(stack.Operator)) > 0 })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	unsigned, err := client.Post(s.HREventsURL(), "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	unsigned.Body.Close()
	_, err = s.Graph.AddFault(simgraph.Fault{App: "identity-worker", Path: "users/**", Kind: simgraph.FaultStatus, Status: http.StatusForbidden, Count: -1})
	if err != nil {
		t.Fatal(err)
	}
	post("E1003")
	until("it is a dead letter", func() bool { c, _ := s.Bus.Counts("lanes"); return c.DeadLetter == 1 })
	people := s.Graph.Users()
	if err := s.Close(); err != nil {
		t.Error(err)
	}

	seen := map[string]bool{}
	id := regexp.MustCompile(`@|[0-9a-f]{8}-[0-9a-f]{4}|E1\d{3}`)
	for _, function := range config.Functions() {
		for line := range strings.Lines(lines.of(function)) {
			var l map[string]any
			var head struct {
				AWS *struct {
					Timestamp         int64
					CloudWatchMetrics []struct {
						Namespace  string
						Dimensions [][]string
						Metrics    []struct{ Name, Unit string }
					}
				} `json:"_aws"`
			}
			if json.Unmarshal([]byte(line), &head) != nil || head.AWS == nil || json.Unmarshal([]byte(line), &l) != nil {
				continue
			}
			m := head.AWS.CloudWatchMetrics[0]
			if m.Namespace != "mfaflow" || head.AWS.Timestamp < time.Now().Add(-time.Hour).UnixMilli() || l["function"] != function {
				t.Errorf("%s: %s", function, line)
			}
			for _, x := range m.Metrics {
				i := slices.IndexFunc(telemetry.Definitions(), func(d telemetry.Definition) bool { return d.Name == x.Name && string(d.Unit) == x.Unit })
				if i < 0 {
					t.Errorf("%s writes %s in %s, which is not in the list", function, x.Name, x.Unit)
					continue
				}
				for _, dimension := range m.Dimensions[0] {
					value, _ := l[dimension].(string)
					if dimension != "function" && !slices.Contains(telemetry.Definitions()[i].Dimensions, dimension) {
						t.Errorf("%s is split by %s", x.Name, dimension)
					}
					if id.MatchString(value) || slices.ContainsFunc(people, func(u simgraph.User) bool { return strings.Contains(value, u.DisplayName) }) {
						t.Errorf("%s: dimension %s is %q", x.Name, dimension, value)
					}
				}
				what := []string{x.Name}
				for _, dimension := range []string{"outcome", "reason"} {
					if v, ok := l[dimension].(string); ok {
						what = append(what, v)
					}
				}
				seen[strings.Join(what, " ")] = true
			}
		}
	}
	for _, want := range []string{
		"Deliveries accepted", "Deliveries rejected unsigned", "Events done", "Events held", "Events dead-lettered", "Age done", "Duration done", "Holds already-registered",
		"DeadLetters forbidden", "PassDelivery", "GraphCalls 2xx", "GraphCalls 4xx", "Notifications told", "SubscriptionLeft",
	} {
		if !seen[want] {
			t.Errorf("%s was not measured; there are %v", want, seen)
		}
	}
}
