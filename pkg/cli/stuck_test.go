package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

// stuck is a stack that this machine's commands find, and what its functions say.
type stuck struct {
	*stack.Stack
	env []string
	bin string

	mu    sync.Mutex
	log   map[string]*bytes.Buffer
	lines chan struct{} // has an element when a line has come since it was empty
}

func (s *stuck) each(from string, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log[from] == nil {
		s.log[from] = &bytes.Buffer{}
	}
	s.log[from].Write(append(line, '\n'))
	select {
	case s.lines <- struct{}{}:
	default:
	}
}

func (s *stuck) of(from string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log[from] == nil {
		return ""
	}
	return s.log[from].String()
}

// until waits for a condition, looking again with every line of the functions.
func (s *stuck) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-s.lines:
		case <-ctx.Done():
			t.Fatalf("%s: not within 30 s\n%s\n%s", what, tail(s.of("identity-worker")), tail(s.of("event-replay")))
		}
	}
}

// tail is the end of a log.
func tail(s string) string { return s[max(0, len(s)-4000):] }

func (s *stuck) dead(queue string) (n int) {
	for _, m := range s.Bus.Stored(queue) {
		if m.Dead {
			n++
		}
	}
	return n
}

// ended is how often an event came to its end in a person's lane.
func (s *stuck) ended(key string) (n int) {
	for line := range strings.Lines(s.of("identity-worker")) {
		if strings.Contains(line, `"msg":"event"`) && strings.Contains(line, `"key":"`+key+`",`) && strings.Contains(line, `"outcome":"done"`) {
			n++
		}
	}
	return n
}

// builtTool is the folder of the functions with the tool in it.
func builtTool(t *testing.T) string {
	t.Helper()
	bin := built(t)
	c := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(bin, "mfaflow"), "./pkg/cmd/mfaflow")
	c.Dir, c.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

func startStuck(t *testing.T) *stuck {
	t.Helper()
	s := &stuck{bin: builtTool(t), log: map[string]*bytes.Buffer{}, lines: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var err error
	s.Stack, err = stack.Start(ctx, stack.Options{Bin: s.bin, Each: s.each, Environment: os.Environ(), Settings: stack.StorySettings()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	s.env = []string{"XDG_RUNTIME_DIR=" + dir}
	if err := operateapi.Announce(filepath.Join(dir, "mfaflow", "operations.json"), operateapi.Local{URL: s.OperationsURL(), TokenFile: s.TokenFile()}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stuck) tell(t *testing.T, source, id, typ, data string) {
	t.Helper()
	body := fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": "https://contoso.example", "type": %q, "time": %q, "data": %s}`,
		id, typ, time.Now().UTC().Format(time.RFC3339Nano), data)
	answer, err := s.Post(t.Context(), source, []byte(body))
	if err != nil || answer.Status != http.StatusAccepted {
		t.Fatalf("%s: %+v, %v", id, answer, err)
	}
}

// forbid takes a permission from the app of a function, until all faults are cleared.
func (s *stuck) forbid(t *testing.T, app, path string) {
	t.Helper()
	if _, err := s.Graph.AddFault(simgraph.Fault{App: app, Path: path, Kind: simgraph.FaultStatus, Status: http.StatusForbidden, Code: "Authorization_RequestDenied", Count: -1}); err != nil {
		t.Fatal(err)
	}
}

// breakLanes takes the permissions of the worker's app and makes dead letters of a joiner,
// a leaver and a leaver who is protected.
func (s *stuck) breakLanes(t *testing.T) {
	t.Helper()
	s.forbid(t, "identity-worker", "users/**")
	s.forbid(t, "identity-worker", "$batch")
	start, err := s.Tomorrow()
	if err != nil {
		t.Fatal(err)
	}
	s.tell(t, stack.Source, "joiner", "employee.joiner", fmt.Sprintf(`{"person": {"employeeId": "E1004"}, "startDate": %q, "timeZone": %q}`, start, stack.TimeZone))
	s.tell(t, stack.Source, "leaver", "employee.leaver", `{"person": {"employeeId": "E1005"}, "immediate": true}`)
	s.tell(t, stack.Source, "protected", "employee.leaver", `{"person": {"employeeId": "E1015"}, "immediate": true}`)
	s.until(t, "dead letters of lanes", func() bool { return s.dead("lanes") == 3 })
}

// The app of the worker loses a permission, and events of all kinds become dead letters.
// When it has it back, an operator sees them, plans and replays them. The replayer is
// killed on the way; another one goes on, and everything has happened once.
func TestOperatorGetsAStackUnstuck(t *testing.T) {
	const reports = 60
	s := startStuck(t)
	s.breakLanes(t)
	s.forbid(t, "identity-router", "users")
	s.forbid(t, "identity-router", "users/**")
	for i := range reports {
		s.tell(t, stack.HelpDesk, fmt.Sprint("report-", i), "mfa.codes-not-received", fmt.Sprintf(`{"person": {"employeeId": "E10%02d"}, "channel": "sms"}`, 6+i%9))
	}
	s.until(t, "dead letters of inbound", func() bool { return s.dead("inbound") == reports })
	s.Graph.ClearFaults()

	operate := func(want string, args ...string) result {
		t.Helper()
		got := run(t, "", s.env, args...)
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Fatalf("mfaflow %s: %+v, want %q\n%s", strings.Join(args, " "), got, want, tail(s.of("event-replay")))
		}
		return got
	}
	operate(fmt.Sprintf("inbound  forbidden  mfa.codes-not-received  %d", reports), "dead", "count")
	operate("employee.joiner", "dead", "list", "--user", "lena.hofmann@contoso.example")
	type entries []struct {
		Key      string
		Sequence int64
	}
	var reported, listed entries
	if err := json.Unmarshal([]byte(operate("", "dead", "list", "--place", "inbound", "--limit", "0", "--json").stdout), &reported); err != nil || len(reported) != reports {
		t.Fatalf("%d reports, %v", len(reported), err)
	}
	if err := json.Unmarshal([]byte(operate("", "dead", "list", "--type", "employee.leaver", "--json").stdout), &listed); err != nil || len(listed) != 2 {
		t.Fatalf("%d leavers, %v", len(listed), err)
	}
	operate("a replay      ", "dead", "show", fmt.Sprintf("lanes/%d", listed[0].Sequence))
	operate("Next step", "user", "show", "E1005")

	plan := filepath.Join(t.TempDir(), "all.plan")
	planned := operate("1 passes", "dead", "plan", "--all", "-o", plan)
	for _, want := range []string{fmt.Sprint(reports+3, " entries: "), "1 held", "issue-pass"} {
		if !strings.Contains(planned.stdout, want) {
			t.Errorf("no %q in the plan\n%s", want, planned.stdout)
		}
	}
	operate("Nothing was changed.", "dead", "replay", plan)
	all := func() int { return s.dead("lanes") + s.dead("inbound") }
	if n := all(); n != reports+3 {
		t.Fatalf("%d dead letters after looking", n)
	}

	// The first replayer is killed when it has done a part, the second goes on.
	killed := exec.CommandContext(t.Context(), filepath.Join(s.bin, "mfaflow"), "dead", "replay", plan, "--reason", "permission is back", "--rate", "10", "--yes")
	killed.Env, killed.Stdout, killed.Stderr = s.env, io.Discard, io.Discard
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	s.until(t, "a part is replayed", func() bool { return all() <= reports-15 })
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	left := all()
	if left == 0 {
		t.Error("everything was replayed before the kill")
	}
	again := operate("replayed", "dead", "replay", plan, "--reason", "permission is back", "--rate", "0", "--yes")
	if strings.Contains(again.stdout, "stale") || strings.Contains(again.stdout, "failed") || !strings.Contains(again.stdout, "gone") {
		t.Errorf("resumed with %d left: %s", left, again.stdout)
	}

	// Everything has its effect, once.
	s.until(t, "the effects", func() bool {
		lanes, _ := s.Bus.Counts("lanes")
		leaver, _ := s.Person("E1005")
		joiner, _ := s.Person("E1004")
		for _, r := range reported {
			if s.ended(r.Key) == 0 {
				return false
			}
		}
		return all() == 0 && lanes.Active == 0 && !leaver.AccountEnabled && len(s.Graph.Passes(joiner.ID)) == 1 && strings.Contains(s.of("identity-worker"), `"outcome":"waiting: held"`)
	})
	if n := len(s.Graph.IssuedPassValues()); n != 1 {
		t.Errorf("%d passes were issued", n)
	}
	for _, r := range reported {
		if n := s.ended(r.Key); n != 1 {
			t.Errorf("%s came to its end %d times", r.Key, n)
		}
	}
	operate("There are none.", "dead", "list")
	hold := operate("protected-person", "hold", "list", "--json")
	var holds []struct{ Number int64 }
	if err := json.Unmarshal([]byte(hold.stdout), &holds); err != nil || len(holds) != 1 {
		t.Fatalf("%s, %v", hold.stdout, err)
	}
	operate("sent", "hold", "release", fmt.Sprint(holds[0].Number), "--reason", "asked the manager", "--yes")
	s.until(t, "the first of two approvals", func() bool { return strings.Contains(s.of("identity-worker"), "approved: 1 of 2") })
	// The worker may still hold the lane, whose approvals cannot be told then.
	s.until(t, "1 of 2 in the list", func() bool { return strings.Contains(operate("protected-person", "hold", "list").stdout, "1 of 2") })

	// The trail says who did it.
	trail := filepath.Join(t.TempDir(), "event-replay.log")
	if err := os.WriteFile(trail, []byte(s.of("event-replay")), 0o600); err != nil {
		t.Fatal(err)
	}
	operate("event-replay/", "audit", "verify", trail)
	found := operate("permission is back", "audit", "search", "--operator", me(t), "--action", "replay", trail)
	if n := strings.Count(found.stdout, "\n") - 1; n != reports+3 {
		t.Errorf("%d records of replays, want %d", n, reports+3)
	}
}
