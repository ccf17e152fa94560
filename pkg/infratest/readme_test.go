package infratest_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/cli"
)

// calls are what the commands of infra/README.md asked of the tools of the clouds, each as
// the arguments in quotes.
func calls(t *testing.T, page string) (list []string) {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "infra"), os.DirFS(filepath.Join(root, "infra"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{filepath.Join(dir, "Makefile"): string(text), filepath.Join(dir, "hr-events.json"): "{}"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	record := filepath.Join(dir, "calls")
	for _, name := range []string{"terraform", "aws", "az"} {
		stub := "#!/bin/sh\nprintf '%s' " + name + " >>" + record + "\nprintf ' \"%s\"' \"$@\" >>" + record + "\necho >>" + record + "\necho '{}'\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(stub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, page, ok := strings.Cut(page, "\n## The first deployment\n")
	if !ok {
		t.Fatal("infra/README.md has no section The first deployment")
	}
	var script strings.Builder
	for line := range strings.Lines(page) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			script.WriteString(code)
		}
	}
	// What make package does is a test of its own, and takes minutes.
	commands := strings.Replace(script.String(), "make package\n", "make --dry-run package\n", 1)
	commands = regexp.MustCompile(`<[a-z ]+>`).ReplaceAllString(commands, "filled-in")
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MAKEFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, commands, out)
	}
	recorded, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(recorded)), "\n")
}

// Every command of infra/README.md runs in its order, and Terraform is asked for variables
// and outputs that there are, with files that a step before has written.
func TestCommandsOfTheREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "infra", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	infra := parse(t, filepath.Join(root, "infra"))
	declared := func(kind, name, folder string) bool {
		return slices.ContainsFunc(infra.blocks, func(b block) bool {
			return b.Type == kind && b.Labels[0] == name && filepath.Dir(b.DefRange().Filename) == folder
		})
	}
	all := calls(t, string(text))
	for _, m := range regexp.MustCompile("`terraform ([^`]+)`").FindAllSubmatch(text, -1) { // within a sentence
		all = append(all, `terraform "`+strings.Join(strings.Fields(string(m[1])), `" "`)+`"`)
	}
	asked := map[string]int{}
	for _, call := range all {
		folder := "."
		if strings.Contains(call, `"-chdir=infra/consent"`) {
			folder = "consent"
		}
		for _, m := range regexp.MustCompile(`"-var" "(\w+)=`).FindAllStringSubmatch(call, -1) {
			asked["variable"]++
			if !declared("variable", m[1], folder) {
				t.Errorf("%s has no variable %s: %s", folder, m[1], call)
			}
		}
		for _, m := range regexp.MustCompile(`"output" "-(?:json|raw)" "(\w+)"|"output" "(\w+)"`).FindAllStringSubmatch(call, -1) {
			asked["output"]++
			if !declared("output", m[1]+m[2], folder) {
				t.Errorf("%s has no output %s: %s", folder, m[1]+m[2], call)
			}
		}
		for _, verb := range []string{"init", "apply"} {
			if strings.HasPrefix(call, "terraform ") && strings.Contains(call, `"`+verb+`"`) {
				asked[verb+" in "+folder]++
			}
		}
		if strings.HasPrefix(call, "aws ") || strings.HasPrefix(call, "az ") {
			asked["clouds"]++
		}
	}
	for what, least := range map[string]int{"variable": 2, "output": 4, "init in .": 2, "apply in .": 2, "init in consent": 1, "apply in consent": 1, "clouds": 3} {
		if asked[what] < least {
			t.Errorf("%s: %d, want %d at least", what, asked[what], least)
		}
	}

	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`make ([a-z-]+)").FindAllSubmatch(text, -1) {
		if !regexp.MustCompile(`(?m)^` + string(m[1]) + `:.*## `).Match(makefile) {
			t.Errorf("there is no make %s", m[1])
		}
	}
	shown := 0
	for _, m := range regexp.MustCompile("`mfaflow\\s+([a-z]+(?:\\s[a-z]+)?)").FindAllSubmatch(text, -1) {
		shown++
		var out bytes.Buffer
		if code := cli.Run(t.Context(), append(strings.Fields(string(m[1])), "--help"), strings.NewReader(""), &out, io.Discard, nil); code != 0 || !strings.Contains(out.String(), "mfaflow "+strings.Join(strings.Fields(string(m[1])), " ")) {
			t.Errorf("mfaflow %s: %d\n%s", m[1], code, &out)
		}
	}
	if shown < 4 {
		t.Errorf("%d commands of mfaflow", shown)
	}
}
