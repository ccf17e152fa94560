package stack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/files"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/policy"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

// change posts a change of the policy as its source does.
func change(t *testing.T, s *stack.Stack, source, id, methods string) {
	t.Helper()
	body := fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "https://changes.contoso.example", "type": "mfa.method.policy", "subject": %q, "time": %q,
		"data": {"requestedBy": %q, "policy": {"breakGlass": {"accounts": ["emergency1@contoso.example"]}, "methods": %s}}}`,
		id, s.Graph.TenantID(), time.Now().Format(time.RFC3339Nano), stack.Operator, methods)
	answer, err := s.Post(t.Context(), source, []byte(body))
	if err != nil || answer.Status != http.StatusAccepted {
		t.Fatalf("%+v, %v", answer, err)
	}
}

// A change of the policy on the built functions: held until there is a snapshot, released by
// an operator, done once although it is wished for twice; what would lock everybody out comes back with
// its refusals, and the help desk's family of types does not hold it.
func TestPolicyIsChangedOnTheStack(t *testing.T) {
	s, lines := start(t, stack.StorySettings()...)
	token, err := operateapi.ReadToken(s.TokenFile())
	if err != nil {
		t.Fatal(err)
	}
	desk, err := operateapi.New(s.OperationsURL(), operateapi.Bearer(token, http.DefaultTransport))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	const certificates = `{"x509Certificate": {"state": "enabled"}}`
	enabled := func() (yes bool) {
		s.Graph.Mutate(func(t *simgraph.Tenant) {
			for _, m := range t.Policies.MethodConfigurations {
				yes = yes || m["id"] == "X509Certificate" && m["state"] == "enabled"
			}
		})
		return yes
	}
	writes := func() (n int) {
		for _, r := range s.Graph.Requests() {
			if r.Method == http.MethodPatch && strings.Contains(r.Path, "/policies/") {
				n++
			}
		}
		return n
	}

	change(t, s, stack.Operations, "c1", certificates)
	held := lines.await(ctx, t, "identity-worker", `"msg":"event"`, `"reason":"snapshot-stale"`)
	if enabled() {
		t.Error("changed without knowing whom it concerns")
	}
	if err := s.Report(); err != nil {
		t.Fatal(err)
	}
	release(ctx, t, desk, held)
	lines.await(ctx, t, "identity-worker", `"msg":"event"`, `"lane":"tenant"`, `"outcome":"done"`, "policy changed")
	if !enabled() || writes() != 1 {
		t.Errorf("%d writes", writes())
	}

	// The same wish once more.
	change(t, s, stack.Operations, "c2", certificates)
	lines.await(ctx, t, "identity-worker", `"msg":"event"`, `"lane":"tenant"`, `"outcome":"done"`, "the policy is as the event wants it")
	if writes() != 1 {
		t.Errorf("%d writes", writes())
	}

	// What would lock out the break-glass accounts.
	change(t, s, stack.Operations, "c3", `{"fido2": {"state": "disabled"}, "microsoftAuthenticator": {"state": "disabled"}, "softwareOath": {"state": "disabled"}}`)
	lines.await(ctx, t, "identity-worker", `"msg":"event"`, `"lane":"tenant"`, `"outcome":"dead-lettered"`)
	dead, err := desk.List(ctx, operate.Filter{}, "", 10)
	if err != nil || len(dead.Items) != 1 || dead.Items[0].Reason != string(lane.PolicyRefused) || !strings.Contains(dead.Items[0].Detail, "break-glass") || writes() != 1 {
		t.Errorf("%+v, %v", dead, err)
	}

	// The help desk may say mfa.*, and not this.
	change(t, s, stack.HelpDesk, "c4", certificates)
	parked, err := desk.List(ctx, operate.Filter{Places: []operate.Place{operate.Quarantine}}, "", 10)
	if err != nil || len(parked.Items) != 1 || parked.Items[0].Reason != "out-of-scope" {
		t.Errorf("%+v, %v", parked, err)
	}

	runs, err := policy.Runs(ctx, files.Folder(filepath.Join(s.Dir, "reports")))
	if err != nil || len(runs) != 1 || runs[0].Open() || !strings.HasPrefix(runs[0].Reason, "event demo-operations:") {
		t.Errorf("%+v, %v", runs, err)
	}
}

// release releases the hold of a line of the worker's log.
func release(ctx context.Context, t *testing.T, desk *operateapi.Client, line string) {
	t.Helper()
	var l struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		t.Fatal(err)
	}
	for {
		flags, err := desk.Flags(ctx, operate.FlagFilter{}, "", 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flags.Items {
			if f.Key != l.Key {
				continue
			}
			if o, err := desk.Decide(ctx, "", operate.Word{Flag: f.Number, Decision: lane.Release, Reason: "there is a report now"}); err != nil || o.Outcome == "" {
				t.Fatalf("%+v, %v", o, err)
			}
			return
		}
	}
}
