package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

const marek = "10000000-0000-4000-8000-000000000016" // of IT

// A rollout does not go on while somebody of its waves has called the help desk, which a
// stack of the functions has made a flag of; nor while nobody can say whether anybody has.
func TestRolloutStopsForTheHelpDesk(t *testing.T) {
	p := newPatient(t)
	for _, name := range []string{ // which the command sets of the settings of the stack
		"MFAFLOW_TENANT_ID", "MFAFLOW_CLIENT_ID", "MFAFLOW_CLIENT_SECRET", "MFAFLOW_AUTHORITY_URL", "MFAFLOW_GRAPH_URL",
		"MFAFLOW_GRAPH_BUDGET", "MFAFLOW_BREAK_GLASS_ACCOUNTS", "MFAFLOW_REPORTS_URL",
	} {
		t.Setenv(name, "")
	}
	file := write(t, "policy.yaml", strings.Replace(everybodyAnswers, "failedSignIns: 0", "openFlags: 0", 1))
	plan := filepath.Join(t.TempDir(), "rollout.plan")
	const nobody = "http://127.0.0.1:9"
	away := []string{"--url", nobody, "--token-file", p.TokenFile()}

	r := run(t, "", p.env, append([]string{"policy", "plan", file}, away...)...)
	if r.code != 1 || !strings.Contains(r.stdout, "Refused (stop-rule-unreadable)") || !strings.Contains(r.stdout, "open flags cannot be read") {
		t.Errorf("%+v", r)
	}
	ok(t, p.env, 0, "policy", "plan", file, "-o", plan)

	// A tenant that the environment names is not watched through the stack that happens to run
	// on this machine.
	named := exec.CommandContext(t.Context(), filepath.Join(builtTool(t), "mfaflow"), "policy", "plan", file)
	settings, err := p.Environment("tenant-administrator")
	p.must(err)
	named.Env = append(settings, p.env...)
	out, err := named.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Refused (stop-rule-unreadable)") || !strings.Contains(string(out), "nobody says where event-replay is") {
		t.Errorf("%v\n%s", err, out)
	}

	// The wave is in force, and what comes after it fails once.
	_, err = p.Graph.AddFault(simgraph.Fault{Method: "PATCH", Path: "/identity/conditionalAccess/policies/*", Kind: simgraph.FaultStatus, Status: http.StatusForbidden})
	p.must(err)
	apply := []string{"policy", "apply", plan, "--yes", "--reason", "CHG-1234"}
	if r := run(t, "", p.env, apply...); r.code != 1 || !strings.Contains(r.stdout, "3 of 6 steps are done") {
		t.Fatalf("%+v", r)
	}
	tell := func(id, employee string) {
		t.Helper()
		answer, err := p.Post(t.Context(), stack.HelpDesk, fmt.Appendf(nil,
			`{"specversion": "1.0", "id": %q, "source": "https://contoso.example", "type": "mfa.codes-not-received", "time": %q, "data": {"person": {"employeeId": %q}, "channel": "sms"}}`,
			id, time.Now().UTC().Format(time.RFC3339Nano), employee))
		if err != nil || answer.Status != http.StatusAccepted {
			t.Fatalf("%+v, %v", answer, err)
		}
	}
	type flags []struct {
		Number int64
		User   string
	}
	open := func() (list flags) {
		p.must(json.Unmarshal([]byte(ok(t, p.env, 0, "flag", "list", "--cause", "codes-not-received", "--json")), &list))
		return list
	}
	tell("call-1", "E1006")
	p.until("a flag about somebody of no wave", func() bool { return len(open()) == 1 })
	tell("call-2", "E1016")
	p.until("a flag about somebody of the wave", func() bool { return len(open()) == 2 })
	number := int64(0)
	for _, f := range open() {
		if f.User == marek {
			number = f.Number
		}
	}

	r = run(t, "", p.env, append(apply, away...)...)
	if r.code != 1 || !strings.Contains(r.stderr, "the rollout is stopped: open flags cannot be read") || !strings.Contains(r.stderr, "Try: check MFAFLOW_OPERATIONS_URL or --url") {
		t.Errorf("%+v", r)
	}
	r = run(t, "", p.env, apply...)
	if want := fmt.Sprintf("the rollout is stopped: 1 open flags say that people of the waves so far do not get in or called the help desk, and 0 would be good (flag %d: %s: Codes do not arrive)", number, marek); r.code != 1 || !strings.Contains(r.stderr, want) {
		t.Errorf("%+v, want %s", r, want)
	}
	ok(t, p.env, 0, "flag", "resolve", fmt.Sprint(number), "--reason", "another number", "--yes")
	contains(t, ok(t, p.env, 0, apply...), "step 4 of 6", "Done: 6 steps")
}
