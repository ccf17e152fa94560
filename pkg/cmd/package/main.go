// Command package packages built functions for AWS Lambda; make package runs it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"mfaflow/pkg/packaging"
)

func main() {
	arch := flag.String("arch", "arm64", "architecture that the functions are built for: arm64 or amd64")
	bin := flag.String("bin", "", "folder with NAME/bootstrap of every function")
	out := flag.String("out", "", "folder to write to")
	catalogue := flag.String("catalogue", "infra/functions.json", "which functions take webhooks")
	flag.Parse()
	if *bin == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), *arch, *bin, *out, *catalogue); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arch, bin, out, catalogue string) error {
	text, err := os.ReadFile(catalogue)
	if err != nil {
		return err
	}
	var doc struct {
		Functions map[string]struct {
			Trigger struct {
				HTTP []string `json:"http"`
			} `json:"trigger"`
		} `json:"functions"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %w", catalogue, err)
	}
	built, err := filepath.Glob(filepath.Join(bin, "*", "bootstrap"))
	if err != nil || len(built) == 0 {
		return fmt.Errorf("%s holds no NAME/bootstrap: make package builds them", bin)
	}
	var functions []packaging.Function
	for _, path := range built {
		name := filepath.Base(filepath.Dir(path))
		f, ok := doc.Functions[name]
		if !ok {
			return fmt.Errorf("%s is built and not in %s", name, catalogue)
		}
		functions = append(functions, packaging.Function{Name: name, Bootstrap: path, Webhooks: len(f.Trigger.HTTP) > 0})
	}
	sizes, err := packaging.Write(ctx, out, arch, functions, inventory)
	if len(sizes) > 0 {
		fmt.Printf("%s\n%s", out, packaging.Table(sizes)) //nolint:forbidigo // what the command is for
	}
	return err
}

// inventory asks the CycloneDX tool for Go. The version is ours to give: the tool looks for
// the licence of the main module under it and finds none, which is not needed.
func inventory(ctx context.Context, executable, output string) error {
	c := exec.CommandContext(ctx, "go", "tool", "-modfile=.ci/tools/go.mod", "cyclonedx-gomod", "bin",
		"-json", "-licenses", "-std", "-noserial", "-notimestamp", "-version", "v0.0.0", "-output", output, executable)
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}
