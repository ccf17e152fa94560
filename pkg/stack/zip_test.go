package stack

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"mfaflow/pkg/config"
	"mfaflow/pkg/packaging"
	"mfaflow/pkg/sim/lambda"
)

var (
	packages = flag.String("packages", "", "folder that make package wrote to: functions under the Lambda runtime are run from its zips, not from binaries that are built for the tests")
	arch     = flag.String("arch", runtime.GOARCH, "architecture of those zips")
	emulator = flag.String("emulator", "", "program that runs them when this machine has another one")

	zips sync.Map // that were run
)

// Zip is a function as it is packaged, if packages are to be run. One that Lambda would
// refuse fails before it is run, since an emulator is not as strict.
func Zip(t *testing.T, name string) (c lambda.Config, ok bool) {
	t.Helper()
	if *packages == "" {
		return c, false
	}
	zip := filepath.Join(*packages, *arch, name+".zip")
	if err := packaging.Verify(zip, *arch); err != nil {
		t.Fatal(err)
	}
	zips.Store(name, true)
	return lambda.Config{Name: name, Package: zip, Emulator: *emulator}, true
}

// run fails when packages were to be run and one was not: the Makefile names the tests that
// do it by a pattern, and one that matches none would be a success.
type run struct{ m *testing.M }

func (r run) Run() int {
	code := r.m.Run()
	if *packages == "" {
		return code
	}
	for _, name := range config.Functions() {
		if _, ok := zips.Load(name); !ok {
			fmt.Fprintf(os.Stderr, "%s.zip for %s was not run\n", name, *arch)
			code = 1
		}
	}
	return code
}
