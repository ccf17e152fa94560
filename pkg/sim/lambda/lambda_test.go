package lambda_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/sim/lambda"
)

// bootstrap is the function of testdata, built as the deployed ones are.
var bootstrap string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lambda")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bootstrap = filepath.Join(dir, "bootstrap")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", bootstrap, "./testdata/function")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func start(t *testing.T, cfg lambda.Config) *lambda.Function {
	t.Helper()
	cfg.Bootstrap = bootstrap
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	f, err := lambda.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func event(path, body string) []byte {
	e := map[string]any{
		"version": "2.0", "rawPath": path, "body": body,
		"headers":        map[string]string{"webhook-signature": "v1,abc= v1a,def="},
		"requestContext": map[string]any{"http": map[string]string{"method": "POST", "sourceIp": "127.0.0.1"}},
	}
	b, _ := json.Marshal(e)
	return b
}

type answer struct {
	StatusCode int
	Body       string
}

func post(t *testing.T, f *lambda.Function, path, body string) answer {
	t.Helper()
	out, err := f.Invoke(t.Context(), event(path, body))
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return a
}

func failure(t *testing.T, err error) *lambda.FunctionError {
	t.Helper()
	var fe *lambda.FunctionError
	if !errors.As(err, &fe) {
		t.Fatalf("got %v, want a function error", err)
	}
	return fe
}

func TestHTTPEvent(t *testing.T) {
	f := start(t, lambda.Config{})
	if a := post(t, f, "/echo", "a\nb"); a != (answer{202, "a\nb"}) {
		t.Errorf("%+v", a)
	}
	if a := post(t, f, "/signature", ""); a.Body != "v1,abc= v1a,def=" {
		t.Errorf("the signature arrived as %q", a.Body)
	}
	if a := post(t, f, "/panic", ""); a.StatusCode != 500 {
		t.Errorf("%+v", a)
	}
	starts := f.ColdStarts()
	if len(starts) != 1 || starts[0] <= 0 {
		t.Errorf("cold starts: %v", starts)
	}
}

func TestEventBridgeEventAtTheSameBinary(t *testing.T) {
	f := start(t, lambda.Config{})
	out, err := f.Invoke(t.Context(), []byte(`{"id":"1","source":"s","detail-type":"d","detail":{}}`))
	if err != nil || len(out) != 0 {
		t.Errorf("%s, %v", out, err)
	}
	_, err = f.Invoke(t.Context(), []byte(`{"id":"1","source":"s","detail-type":"d","detail":{"fail":true}}`))
	if e := failure(t, err); e.Type != "errorString" || e.Message != "refused" {
		t.Errorf("%+v", e)
	}
	_, err = f.Invoke(t.Context(), []byte(`{"Records":[]}`))
	failure(t, err)
	if n := len(f.ColdStarts()); n != 1 {
		t.Errorf("an error cost a cold start: %d", n)
	}
}

func TestEnvironmentVariables(t *testing.T) {
	t.Setenv("MFAFLOW_OF_THE_TEST", "1")
	f := start(t, lambda.Config{Name: "hr-events", Env: map[string]string{"MFAFLOW_SET": "x"}})
	env := post(t, f, "/env", "").Body
	for _, want := range []string{"MFAFLOW_SET=x", "AWS_LAMBDA_FUNCTION_NAME=hr-events", "TZ=:UTC", "AWS_LAMBDA_RUNTIME_API=127.0.0.1:"} {
		if !strings.Contains(env, want) {
			t.Errorf("%s is missing in\n%s", want, env)
		}
	}
	if strings.Contains(env, "MFAFLOW_OF_THE_TEST") {
		t.Error("the environment of the test leaks in")
	}
}

// waitState polls until the process is in the state, as /proc tells it.
func waitState(t *testing.T, pid, state string) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^State:\s+(\S)`)
	for deadline := time.Now().Add(10 * time.Second); ; {
		b, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			t.Fatal(err)
		}
		m := line.FindSubmatch(b)
		if m != nil && strings.Contains(state, string(m[1])) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s is in state %s, want %s", pid, m[1], state)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFrozenBetweenInvocations(t *testing.T) {
	f := start(t, lambda.Config{})
	pid := post(t, f, "/pid", "").Body
	waitState(t, pid, "T")
	if again := post(t, f, "/pid", "").Body; again != pid {
		t.Errorf("another process: %s, then %s", pid, again)
	}
	waitState(t, pid, "T")
}

func TestDeadlineKills(t *testing.T) {
	f := start(t, lambda.Config{Timeout: 200 * time.Millisecond})
	_, err := f.Invoke(t.Context(), event("/hang", ""))
	if e := failure(t, err); e.Type != lambda.TypeTimeout || !strings.Contains(e.Message, "Task timed out after 0.20 seconds") {
		t.Errorf("%+v", e)
	}
	if a := post(t, f, "/echo", "x"); a.Body != "x" {
		t.Errorf("%+v", a)
	}
	if n := len(f.ColdStarts()); n != 2 {
		t.Errorf("%d cold starts", n)
	}
}

func TestExitDuringInvocation(t *testing.T) {
	f := start(t, lambda.Config{})
	_, err := f.Invoke(t.Context(), event("/exit", ""))
	if e := failure(t, err); e.Type != lambda.TypeExit || !strings.Contains(e.Message, "exit status 3") {
		t.Errorf("%+v", e)
	}
	if a := post(t, f, "/echo", "x"); a.Body != "x" {
		t.Errorf("%+v", a)
	}
}

func TestSizeLimits(t *testing.T) {
	f := start(t, lambda.Config{})
	if _, err := f.Invoke(t.Context(), make([]byte, lambda.MaxPayload+1)); !errors.Is(err, lambda.ErrPayloadTooLarge) {
		t.Errorf("event: %v", err)
	}
	_, err := f.Invoke(t.Context(), event("/big", ""))
	if e := failure(t, err); e.Type != lambda.TypeTooLarge {
		t.Errorf("answer: %+v", e)
	}
}

func TestInit(t *testing.T) {
	_, err := lambda.Start(t.Context(), lambda.Config{Bootstrap: bootstrap, Env: map[string]string{"FN_INIT": "exit"}})
	if e := failure(t, err); e.Type != lambda.TypeExit || !strings.Contains(e.Message, "exit status 3") {
		t.Errorf("%+v", e)
	}
	_, err = lambda.Start(t.Context(), lambda.Config{Bootstrap: bootstrap, InitTimeout: 100 * time.Millisecond, Env: map[string]string{"FN_INIT": "hang"}})
	if e := failure(t, err); e.Type != lambda.TypeTimeout {
		t.Errorf("%+v", e)
	}
	if _, err = lambda.Start(t.Context(), lambda.Config{Bootstrap: "/no/such/file"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no binary: %v", err)
	}
}

func TestShutdown(t *testing.T) {
	for name, tt := range map[string]struct {
		env   map[string]string
		ended string
	}{
		"Clean":   {map[string]string{"FN_MODE": "sigterm"}, "exit status 0"},
		"Hanging": {map[string]string{"FN_MODE": "sigterm", "FN_CLOSE": "hang"}, "signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, lambda.Config{Env: tt.env})
			if _, err := f.Invoke(t.Context(), []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if got := f.Ended(); got != tt.ended {
				t.Errorf("ended by %s, want %s", got, tt.ended)
			}
			if got := f.Stdout(); got != "to stdout\nclosed\n" {
				t.Errorf("stdout: %q", got)
			}
			if got := f.Stderr(); !strings.Contains(got, "to stderr\n") {
				t.Errorf("stderr: %q", got)
			}
			if _, err := f.Invoke(t.Context(), event("/echo", "")); err == nil {
				t.Error("a closed function answered")
			}
		})
	}
}

func TestCallerGivesUp(t *testing.T) {
	f := start(t, lambda.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.Invoke(ctx, event("/hang", "")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if a := post(t, f, "/echo", "x"); a.Body != "x" {
		t.Errorf("%+v", a)
	}
}

func TestDrainUnderLambda(t *testing.T) {
	f := start(t, lambda.Config{Timeout: 1500 * time.Millisecond, Env: map[string]string{"FN_MODE": "drain"}})
	for range 2 {
		if _, err := f.Invoke(t.Context(), []byte(`{"detail-type":"Scheduled Event"}`)); err != nil {
			t.Fatal(err)
		}
	}
	// Of 1.5 s one is the reserve, but a reserve never takes more than half.
	var first, second int
	if n, err := fmt.Sscanf(f.Stdout(), "%d ms to work\n%d ms to work\n", &first, &second); n != 2 || first > 750 || second > 750 || first <= 0 {
		t.Errorf("%q: %v", f.Stdout(), err)
	}
}
