package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// built is the folder of the functions as they are now, built as the Makefile does.
func built(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../../dist")
	if err != nil {
		t.Fatal(err)
	}
	functions, err := filepath.Glob("../../functions/*")
	if err != nil || len(functions) == 0 {
		t.Fatalf("no functions (%v)", err)
	}
	c := exec.Command("go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", bin+"/")
	for _, f := range functions {
		c.Args = append(c.Args, "./functions/"+filepath.Base(f))
	}
	c.Dir, c.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range functions {
		// Stat tells the test cache that the verdict rests on this file.
		if _, err := os.Stat(filepath.Join(bin, filepath.Base(f))); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func TestDemoOfEveryType(t *testing.T) {
	bin := built(t)
	got := run(t, "", os.Environ(), "demo", "--all", "--bin", bin)
	if got.code != 0 || strings.Contains(got.stdout, "/v1.0/users") || !strings.Contains(got.stdout, "stories of 23 event types") || !strings.Contains(got.stdout, "      ok  sign-in is blocked\n") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	// Without its effect a story fails, and so does the command.
	got = run(t, "", os.Environ(), "demo", "--all", "--bin", bin, "--set", "MFAFLOW_REPORT_ONLY=true")
	if got.code != 1 || !strings.Contains(got.stderr, `employee.joiner: no effect: a pass is in the manager's mailbox`) || !strings.Contains(got.stderr, "would-have") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}
