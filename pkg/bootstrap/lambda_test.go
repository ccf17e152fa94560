package bootstrap_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/lambda"
	sbsim "mfaflow/pkg/sim/servicebus"
)

const (
	lock    = time.Minute
	timeout = 20 * time.Second
)

// The main job, as deployed: a signed webhook at the gateway, two schedules, one mail
// with a pass that opens the account.
func TestJoinerUnderLambda(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lock, 0)
	hr := w.deploy("hr-events", timeout)
	router := w.deploy("identity-router", timeout)
	worker := w.deploy("identity-worker", timeout)

	w.deliver(hr, gateway, "m1", w.joiner("m1", "E1004"))
	w.deliver(hr, gateway, "m1", w.joiner("m1", "E1004")) // sent again
	w.drain(router)
	w.drain(worker)
	w.wantPass(lena)
	w.wantNothingLeft()
	w.wantConnections(1) // that of hr-events, which waits for the next delivery

	// Everything that was open is cut while the functions are frozen.
	w.cut()
	w.deliver(hr, functionURL, "m2", w.joiner("m2", "X2001"))
	w.cut()
	w.drain(router)
	w.cut()
	w.drain(worker)
	w.wantPass(chloe)
	w.wantPass(lena)
	w.wantNothingLeft()
	for _, f := range []*lambda.Function{hr, router, worker} {
		if n := len(f.ColdStarts()); n != 1 {
			t.Errorf("%d cold starts", n)
		}
	}
}

// cut ends every connection to the broker and to Graph from their side.
func (w *world) cut() {
	w.broker.DropConnections()
	w.graph.cut()
}

// Events of a bus come to the same function.
func TestJoinerFromEventBridge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lock, 0)
	hr := w.deploy("hr-events", timeout)
	event := func(source string) []byte {
		return fmt.Appendf(nil, `{"version":"0","id":"7bf73129-1428-4cd3-a780-95db273d1602","source":%q,"account":"000000000000",
			"time":"2026-11-23T08:00:00Z","region":"eu-central-1","resources":[],"detail-type":"Joiner","detail":%s}`, source, w.joiner("m1", "E1004"))
	}
	for _, e := range [][]byte{event("hr.contoso"), event("hr.contoso"), event("hr.unknown")} {
		if out, err := hr.Invoke(t.Context(), e); err != nil || string(out) != "" && string(out) != "null" {
			t.Fatalf("%s, %v", out, err)
		}
	}
	w.drain(w.deploy("identity-router", timeout))
	w.drain(w.deploy("identity-worker", timeout))
	w.wantPass(lena)
	if d := cmp.Diff(sbsim.Counts{Active: 1}, w.counts("quarantine")); d != "" {
		t.Errorf("quarantine (-want +got):\n%s", d)
	}
	if _, err := hr.Invoke(t.Context(), []byte(`{"Records":[]}`)); err == nil {
		t.Error("an event of no known shape was taken")
	}
}

// The broker is down: the sender is told to come again, and then it works.
func TestBrokerDownUnderLambda(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lock, 0)
	hr := w.deploy("hr-events", timeout)
	router := w.deploy("identity-router", 6*time.Second)
	w.broker.SetDown(true)
	body := w.joiner("m1", "E1004")
	if a := w.post(hr, gateway, "m1", body); a.StatusCode != 503 || a.Headers["Retry-After"] == "" {
		t.Errorf("answered %+v", a)
	}
	if _, err := hr.Invoke(t.Context(), []byte(`{"id":"1","source":"hr.contoso","detail-type":"Joiner","detail":{}}`)); err == nil {
		t.Error("an event of the bus was lost")
	}
	// In vain, in time, and not without saying so: the queue may be full.
	var failed *lambda.FunctionError
	if _, err := router.Invoke(t.Context(), scheduled); !errors.As(err, &failed) || failed.Type == lambda.TypeTimeout {
		t.Errorf("a drain that never heard from the broker: %v", err)
	}
	w.broker.SetDown(false)
	w.deliver(hr, gateway, "m1", body)
	if c := w.counts("inbound"); c.Active != 1 {
		t.Errorf("inbound %+v", c)
	}
	w.drain(router)
	if c := w.counts("lanes"); c.Active != 1 {
		t.Errorf("lanes %+v", c)
	}
	if n := len(router.ColdStarts()); n != 1 {
		t.Errorf("%d cold starts: a drain did not end in time", n)
	}
}

// More work than fits into an invocation: each one ends before its deadline with
// everything closed, and what is left is done by the next.
func TestDrainEndsBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	const joiners = 8
	w := newWorld(t, lock, joiners)
	hr := w.deploy("hr-events", timeout)
	for i := range joiners {
		id := fmt.Sprint("m", i)
		w.deliver(hr, gateway, id, w.joiner(id, fmt.Sprintf("E2%03d", i)))
	}
	w.drain(w.deploy("identity-router", timeout))
	if c := w.counts("lanes"); c.Active != joiners {
		t.Fatalf("lanes %+v", c)
	}
	w.tenant.SetLatency(100 * time.Millisecond)
	worker := w.deploy("identity-worker", 3200*time.Millisecond, "MFAFLOW_SESSIONS=1")
	w.drain(worker)
	w.wantConnections(1)
	if c := w.counts("lanes"); c.Active == 0 || c.Active == joiners {
		t.Errorf("one invocation left %+v", c)
	}
	for invocations := 1; w.counts("lanes").Active > 0; invocations++ {
		if invocations > 20 {
			t.Fatalf("no end in sight: %+v", w.counts("lanes"))
		}
		w.drain(worker)
		w.wantConnections(1)
	}
	w.wantNothingLeft()
	if n := len(worker.ColdStarts()); n != 1 {
		t.Errorf("%d cold starts: an invocation did not end in time", n)
	}
	passes := w.delivered()
	for i := range joiners {
		user := joinerNumber(i)
		if n := len(passes[user]); n == 0 {
			t.Errorf("no pass for %s", user)
		} else if err := w.tenant.SignInWithPass(user, passes[user][n-1]); err != nil {
			t.Errorf("the last pass of %s: %v", user, err)
		}
	}
}

// A function that is configured wrongly says so and ends, and no secret is in what it
// says.
func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lock, 0)
	for name, tt := range map[string]struct{ function, setting, want string }{
		"missing":         {"hr-events", "MFAFLOW_SOURCES=", "MFAFLOW_SOURCES"},
		"unknown mapping": {"hr-events", `MFAFLOW_SOURCES=[{"name":"hr","format":"mapped","mapping":"nosuch","types":["employee.*"],"verify":{"preset":"standard-webhooks"}}]`, "nosuch"},
		"no broker":       {"identity-router", "MFAFLOW_SERVICEBUS_CONNECTION_STRING=", "MFAFLOW_SERVICEBUS_CONNECTION_STRING"},
		"plain http":      {"identity-worker", "MFAFLOW_GRAPH_URL=http://graph.example", "MFAFLOW_GRAPH_URL is not an https URL"},
		"no scopes":       {"identity-worker", "MFAFLOW_SOURCE_SCOPES=", "MFAFLOW_SOURCE_SCOPES"},
	} {
		t.Run(name, func(t *testing.T) {
			env := w.environment(tt.function, tt.setting)
			f, err := lambda.Start(t.Context(), lambda.Config{Bootstrap: binary(t, tt.function), Env: env})
			var failure *lambda.FunctionError
			if !errors.As(err, &failure) || failure.Type != lambda.TypeExit || !strings.Contains(failure.Message, "exit status 1") {
				t.Errorf("got %v", err)
			}
			if f != nil {
				t.Error("it runs", f.Close())
			}
			c := exec.CommandContext(t.Context(), binary(t, tt.function))
			for k, v := range env {
				c.Env = append(c.Env, k+"="+v)
			}
			out, err := c.Output()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !bytes.Contains(out, []byte(`"level":"ERROR"`)) || !bytes.Contains(out, []byte(tt.want)) {
				t.Errorf("%v: %s", err, out)
			}
			_, secret := w.tenant.App(tt.function)
			for _, s := range []string{secret, hrKey} {
				if bytes.Contains(out, []byte(s)) {
					t.Errorf("a secret is in %s", out)
				}
			}
		})
	}
}
