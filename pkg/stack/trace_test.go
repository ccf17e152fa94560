package stack_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

// One trace leads from the webhook to Microsoft Graph, whatever the event goes through: it
// waits in the router until there is an account, the worker is refused and it becomes a
// dead letter, an operator replays it under a request of their own.
func TestTraceLeadsFromWebhookToGraph(t *testing.T) {
	const (
		trace  = "4bf92f3577b34da6a3ce929d0e0e4736"
		vendor = "congo=t61rcWkgMzE"
	)
	s, lines := start(t, "MFAFLOW_PROVISION_RETRY=1s", "MFAFLOW_NOTIFICATION_URL=")
	until := func(what string, yet func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !yet(); {
			if time.Now().After(end) {
				t.Fatalf("not in time: %s\n%s", what, lines.all())
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fault, err := s.Graph.AddFault(simgraph.Fault{App: "identity-worker", Path: "users/**", Kind: simgraph.FaultStatus, Status: http.StatusForbidden, Count: -1})
	must(err)
	// Its sender samples nothing, which is not for us to change.
	ctx := correlation.Accept(t.Context(), http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-00"}, "Tracestate": {vendor}})
	answer, err := s.Post(ctx, stack.Source, statement(t, s, stack.LateJoiner))
	if err != nil || answer.Status != http.StatusAccepted {
		t.Fatalf("%+v, %v", answer, err)
	}
	until("the router waits", func() bool { return strings.Contains(lines.of("identity-router"), "not-provisioned") })
	_, err = s.Graph.Provision(stack.LateJoiner)
	must(err)
	until("it is a dead letter", func() bool { c, _ := s.Bus.Counts("lanes"); return c.DeadLetter == 1 })
	s.Graph.RemoveFault(fault)

	token, err := operateapi.ReadToken(s.TokenFile())
	must(err)
	client, err := operateapi.New(s.OperationsURL(), operateapi.Bearer(token, http.DefaultTransport))
	must(err)
	plan, err := client.Plan(t.Context(), operate.Selection{Filter: &operate.Filter{}})
	must(err)
	r := operate.Replay{Plan: plan.Digest, Settings: plan.Settings, Entries: plan.Entries, Reason: "the app has its permission back"}
	for _, e := range plan.Entries {
		r.Digests = append(r.Digests, e.Digest)
	}
	outcomes, err := client.Replay(t.Context(), "", r)
	if err != nil || len(outcomes) != 1 || outcomes[0].Outcome != "replayed" {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	delivered(t, s, lines, stack.LateJoiner)
	must(s.Close())

	by := map[string]int{}
	spans := map[string]bool{}
	for _, call := range s.Graph.Requests() {
		if !strings.HasPrefix(call.TraceParent, "00-"+trace+"-") {
			continue
		}
		by[call.App]++
		if !strings.HasSuffix(call.TraceParent, "-00") || call.TraceState != vendor || strings.ReplaceAll(call.ClientRequestID, "-", "") != trace {
			t.Errorf("%s %s of %s: %s, %q, client-request-id %s", call.Method, call.Path, call.App, call.TraceParent, call.TraceState, call.ClientRequestID)
		}
		if call.Batch == "" && !strings.HasSuffix(call.Path, "/$batch") && spans[call.TraceParent] { // items have that of their batch
			t.Errorf("%s %s has the parent of another request", call.Method, call.Path)
		}
		spans[call.TraceParent] = true
		if call.Method != http.MethodGet && call.Status < 300 {
			by["writes"]++
		}
	}
	if by["identity-router"] < 2 || by["identity-worker"] < 2 || by["writes"] < 2 {
		t.Errorf("calls of the trace: %v; want those of router and worker, the pass and the mail", by)
	}
	for _, function := range []string{"hr-events", "identity-router", "identity-worker"} {
		found := false
		for line := range strings.Lines(lines.of(function)) {
			var l struct {
				Trace       string `json:"trace_id"`
				Correlation string `json:"correlation_id"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.Trace == trace {
				found = true
				if strings.ReplaceAll(l.Correlation, "-", "") != trace {
					t.Errorf("%s: correlation %s of trace %s", function, l.Correlation, l.Trace)
				}
			}
		}
		if !found {
			t.Errorf("%s: no line has the trace:\n%s", function, lines.of(function))
		}
	}
}
