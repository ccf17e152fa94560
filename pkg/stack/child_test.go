package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// role makes the test binary play a function, or the parent of one.
const role = "STACK_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "serve":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		fmt.Printf(`{"level":"INFO","msg":"listening","addr":"%d"}`+"\n", os.Getpid())
		fmt.Fprintln(os.Stderr, "on stderr")
		<-ended
		fmt.Println(`{"level":"INFO","msg":"bye"}`)
		os.Exit(0)
	case "refuse":
		fmt.Println(`{"level":"ERROR","msg":"stopped","err":"MFAFLOW_X is required"}`)
		os.Exit(1)
	case "parent":
		c, err := startChild(context.Background(), "f", os.Args[0], []string{role + "=serve"}, func(string, []byte) {})
		if err == nil {
			err = c.wait(context.Background())
		}
		fmt.Println(c.addr, err)
		select {}
	}
	goleak.VerifyTestMain(run{m})
}

// recorded collects lines from any goroutine.
type recorded struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorded) each(from string, line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, from+" "+string(line))
}

func (r *recorded) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

func TestChildServesAndEnds(t *testing.T) {
	var seen recorded
	c, err := startChild(t.Context(), "f", os.Args[0], []string{role + "=serve"}, seen.each)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.wait(t.Context()); err != nil || c.addr == "" {
		t.Fatalf("got %q, %v", c.addr, err)
	}
	c.stop()
	<-c.done
	if c.err != nil {
		t.Errorf("ended by us, and yet %v", c.err)
	}
	for _, want := range []string{`f {"level":"INFO","msg":"listening"`, "f on stderr", `"msg":"bye"`} {
		if !strings.Contains(seen.all(), want) {
			t.Errorf("%q is missing in:\n%s", want, seen.all())
		}
	}
}

func TestChildThatRefusesItsSettings(t *testing.T) {
	c, err := startChild(t.Context(), "f", os.Args[0], []string{role + "=refuse"}, func(string, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	err = c.wait(t.Context())
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "MFAFLOW_X is required") {
		t.Errorf("got %v", err)
	}
	c.stop()
	<-c.done
}

func TestChildThatIsNoProgram(t *testing.T) {
	if _, err := startChild(t.Context(), "f", t.TempDir(), nil, nil); err == nil || !strings.HasPrefix(err.Error(), "start f: ") {
		t.Errorf("got %v", err)
	}
}

// A parent that is killed takes its children along.
func TestNoOrphans(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can end a child with its parent")
	}
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = []string{role + "=parent"}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var problem string
	if _, err := fmt.Fscan(out, &pid, &problem); err != nil || problem != "<nil>" {
		t.Fatalf("the parent says %d %q (%v)", pid, problem, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	deadline := time.Now().Add(10 * time.Second)
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived its parent", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive reports whether a process runs; one that nobody has reaped does not.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(status), ") Z ")
}
