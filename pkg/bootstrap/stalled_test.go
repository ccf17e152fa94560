package bootstrap_test

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/servicebus"
	graphsim "mfaflow/pkg/sim/graph"
)

// process is a function that runs outside Lambda.
type process struct {
	w    *world
	cmd  *exec.Cmd
	name string

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes the process's output.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// launch starts a function as a long-lived process and returns once it serves. Who
// calls it ends the process.
func (w *world) launch(name string, more ...string) *process {
	w.t.Helper()
	p := &process{w: w, name: name, cmd: exec.Command(binary(w.t, name))} //nolint:noctx // stop or kill ends it
	for k, v := range w.environment(name, more...) {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	w.must(p.cmd.Start())
	serves := regexp.MustCompile(`"msg":"(ready|listening)"`)
	w.eventually("the start of "+name, func() bool { return serves.MatchString(p.said()) })
	return p
}

// run is launch for a process that ends with the test.
func (w *world) run(name string, more ...string) *process {
	w.t.Helper()
	p := w.launch(name, more...)
	w.t.Cleanup(func() {
		p.stop()
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", name, p.said())
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.w.t.Helper()
	p.w.must(p.cmd.Process.Signal(s))
}

// stop ends the process as the platform does, and wants it to end well.
func (p *process) stop() {
	p.w.t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.w.t.Errorf("%s after SIGTERM: %v", p.name, err)
	}
}

// A worker that stands still in the middle of its turn loses its lane to another one.
// When it goes on, minutes later as far as it can tell, it writes nothing more: not to
// the tenant, not to the ledger, not to the queue.
func TestStalledWorkerWritesNothingMore(t *testing.T) {
	for name, afterEffect := range map[string]bool{"before its write": false, "after its write": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The shortest lock that the service has.
			const lock = 5 * time.Second
			w := newWorld(t, lock, 0)
			w.deliver(w.deploy("hr-events", timeout), gateway, "m1", w.joiner("m1", "E1004"))
			w.drain(w.deploy("identity-router", timeout))
			_, err := w.tenant.AddFault(graphsim.Fault{
				Method: "POST", Path: "users/*/authentication/temporaryAccessPassMethods",
				Kind: graphsim.FaultHang, AfterEffect: afterEffect, Wait: time.Hour,
			})
			w.must(err)

			stalled := w.run("identity-worker", "MFAFLOW_LOCK_DURATION=5s", "MFAFLOW_SESSIONS=1")
			w.eventually("the call that hangs", func() bool { return w.tenant.Faults()[0].Hits == 1 })
			stalled.signal(syscall.SIGSTOP)

			second := w.run("identity-worker", "MFAFLOW_LOCK_DURATION=5s", "MFAFLOW_SESSIONS=1")
			w.eventually("the end of the event", func() bool { return strings.Contains(second.said(), `"outcome":"done"`) })
			w.eventually("an empty queue", func() bool { return w.counts("lanes").Active == 0 })
			w.wantPass(lena)
			before := w.picture()

			stalled.signal(syscall.SIGCONT)
			w.eventually("the end of the stalled turn", func() bool { return strings.Contains(stalled.said(), `"msg":"lane failed"`) })
			if !strings.Contains(stalled.said(), "lock lost") {
				t.Error("the turn did not end because of the lock")
			}
			if d := cmp.Diff(before, w.picture(), cmpopts.IgnoreUnexported(graphsim.Pass{}, graphsim.Message{})); d != "" {
				t.Errorf("the stalled worker wrote (-before +after):\n%s", d)
			}

			// It is not broken for good: alone, it takes the next lane.
			second.stop()
			w.deliver(w.deploy("hr-events", timeout), gateway, "m2", w.joiner("m2", "X2001"))
			w.drain(w.deploy("identity-router", timeout))
			w.eventually("the next event", func() bool { return len(w.delivered()[chloe]) > 0 })
			w.eventually("an empty queue", func() bool { return w.counts("lanes").Active == 0 })
			w.wantPass(chloe)
			w.wantPass(lena)
			stalled.stop()
			w.wantNothingLeft()
		})
	}
}

// picture is all that a worker can write to.
type picture struct {
	Ledger   string
	Passes   []graphsim.Pass
	Mail     []graphsim.Message
	Requests []string
	Queues   map[string]any
}

func (w *world) picture() picture {
	w.t.Helper()
	c, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.broker.ConnectionString())})
	w.must(err)
	defer c.Close()
	var s *servicebus.Session
	w.eventually("a free lane", func() bool { // the worker frees it after it has settled
		s, err = c.Accept(w.t.Context(), "lanes", lenaID, patience)
		return err == nil
	})
	defer s.Close()
	state, err := s.State(w.t.Context())
	w.must(err)
	p := picture{Ledger: string(state), Passes: w.tenant.Passes(lena), Mail: w.tenant.Mailbox(amara), Queues: map[string]any{}}
	for _, r := range w.tenant.Requests() {
		if r.Note == "" { // not the call that hung, which ends when the worker leaves it
			p.Requests = append(p.Requests, r.Method+" "+r.Path)
		}
	}
	for _, name := range []string{"inbound", "lanes", "flags", "quarantine"} {
		p.Queues[name] = w.counts(name)
	}
	return p
}
