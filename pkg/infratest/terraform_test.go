package infratest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

var (
	useTerraform = flag.Bool("terraform", false, "run what needs Terraform; make infra does")
	realAzureRM  = flag.String("azurerm", "", "executable of the real provider hashicorp/azurerm, in place of its schema")
)

// providers are the versions that the schemas were taken from.
var providers = map[string]string{"aws": "6.66.0", "azuread": "3.7.0", "azurerm": "5.2.1"}

// workbench is what all runs of Terraform share: a mirror of providers and initialised roots.
type workbench struct {
	terraform string
	env       []string
	dir       string
}

var bench = sync.OnceValues(func() (*workbench, error) {
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		return nil, fmt.Errorf("Terraform is missing: install it from https://developer.hashicorp.com/terraform/install: %w", err) //nolint:staticcheck // a name
	}
	dir, err := os.MkdirTemp("", "mfaflow-infra-")
	if err != nil {
		return nil, err
	}
	benchDir = dir
	w := &workbench{terraform: terraform, dir: dir}
	gate := filepath.Join(dir, "schemas")
	build := exec.Command("go", "build", "-o", gate, ".")
	build.Dir = filepath.Join(root, ".ci", "schemas")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the schema gate: %w\n%s", err, out)
	}
	for name, version := range providers {
		folder := filepath.Join(dir, "mirror/registry.terraform.io/hashicorp", name, version, "linux_amd64")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		from := gate
		if name == "azurerm" && *realAzureRM != "" {
			from = *realAzureRM
		}
		// A link of its own: the gate finds out from its name which provider it is.
		if err := link(from, filepath.Join(folder, "terraform-provider-"+name+"_v"+version)); err != nil {
			return nil, err
		}
	}
	settings := fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.Join(dir, "mirror"))
	if err := os.WriteFile(filepath.Join(dir, "cli.tfrc"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	w.env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+filepath.Join(dir, "cli.tfrc"), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	first := filepath.Join(dir, "infra")
	if err := os.CopyFS(first, os.DirFS(filepath.Join(root, "infra"))); err != nil {
		return nil, err
	}
	for _, r := range roots {
		if out, err := w.run(filepath.Join(first, r), "init", "-backend=false", "-no-color"); err != nil {
			return nil, fmt.Errorf("terraform init in %s: %w\n%s", r, err, out)
		}
	}
	return w, nil
})

// benchDir is where the workbench stands, empty without one.
var benchDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if benchDir != "" {
		_ = os.RemoveAll(benchDir)
	}
	os.Exit(code)
}

// roots are the folders of infra/ that are applied.
var roots = []string{".", "consent"}

func link(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// run runs Terraform in a group of its own, which ends with it: a provider outlives a
// Terraform that stops over an error of its own.
func (w *workbench) run(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command(w.terraform, args...)
	cmd.Dir, cmd.Env = dir, w.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	return out.Bytes(), err
}

// workspace is a copy of infra/ to work in, initialised.
type workspace struct {
	*workbench
	dir string
}

func newWorkspace(t *testing.T) workspace {
	t.Helper()
	if !*useTerraform {
		t.Skip("needs Terraform: make infra")
	}
	w, err := bench()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "infra")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "infra"))); err != nil {
		t.Fatal(err)
	}
	for _, r := range roots {
		for _, name := range []string{".terraform", ".terraform.lock.hcl"} {
			from := filepath.Join(w.dir, "infra", r, name)
			if err := os.Symlink(from, filepath.Join(dir, r, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Terraform hashes the packages and never looks into them.
	packages := filepath.Join(dir, "tests", "packages")
	if err := os.MkdirAll(packages, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range catalogue(t, dir).Functions {
		if err := os.WriteFile(filepath.Join(packages, name+".zip"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return workspace{w, dir}
}

// stages are what Terraform itself says of infra/; each returns what is wrong.
var stages = map[string]func(*testing.T, workspace) breaches{
	"terraform fmt": func(_ *testing.T, w workspace) breaches {
		return w.complaints(".", "fmt", "-check", "-recursive", "-diff")
	},
	"terraform validate": func(_ *testing.T, w workspace) (l breaches) {
		for _, r := range roots {
			l = append(l, w.complaints(r, "validate", "-no-color")...)
		}
		return l
	},
	"terraform test: deployment": tested(".", "deployment"),
	"terraform test: variations": tested(".", "variations"),
	"terraform test: variables":  tested(".", "variables"),
	"terraform test: consent":    tested("consent", "consent"),
}

// tested runs one file of tests.
func tested(root, file string) func(*testing.T, workspace) breaches {
	return func(_ *testing.T, w workspace) breaches {
		args := []string{"test", "-no-color", "-filter=tests/" + file + ".tftest.hcl"}
		if root == "." {
			args = append(args, "-var-file=example.tfvars")
		}
		return w.complaints(root, args...)
	}
}

// complaints are the output of a run that fails. A failed clean-up counts: terraform test
// says so and succeeds.
func (w workspace) complaints(root string, args ...string) breaches {
	out, err := w.run(filepath.Join(w.dir, root), args...)
	left, _ := filepath.Glob(filepath.Join(w.dir, root, "errored_test.tfstate"))
	if err != nil || len(left) > 0 || bytes.Contains(out, []byte("\nError:")) {
		return breaches{fmt.Sprintf("terraform %s in %s: %v\n%s", strings.Join(args, " "), root, err, out)}
	}
	return nil
}

func TestTerraform(t *testing.T) {
	for _, name := range keys(stages) {
		t.Run(name, func(t *testing.T) {
			for _, breach := range stages[name](t, newWorkspace(t)) {
				t.Error(breach)
			}
		})
	}
}

// state is what Terraform makes of infra/ with example.tfvars and mock providers.
type state struct {
	resources []resource
	outputs   map[string]json.RawMessage
}

type resource struct {
	Address string
	Type    string
	Name    string
	Index   any
	Values  map[string]any
}

// String is the address.
func (r resource) String() string { return r.Address }

func (s state) of(typ string) (list []resource) {
	for _, r := range s.resources {
		if r.Type == typ {
			list = append(list, r)
		}
	}
	return list
}

// deploy runs the mocked deployment and returns its state.
func (w workspace) deploy() (state, error) {
	out, err := w.run(w.dir, "test", "-json", "-verbose", "-var-file=example.tfvars", "-filter=tests/deployment.tftest.hcl")
	if err != nil {
		return state{}, fmt.Errorf("terraform test: %w\n%s", err, messages(out))
	}
	type module struct {
		Resources []resource `json:"resources"`
		Children  []module   `json:"child_modules"`
	}
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var line struct {
			State *struct {
				Root    module `json:"root_module"`
				Outputs map[string]struct {
					Value json.RawMessage `json:"value"`
				} `json:"outputs"`
			} `json:"test_state"`
		}
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			return state{}, fmt.Errorf("terraform test: %w", err)
		}
		if line.State == nil {
			continue
		}
		s := state{outputs: map[string]json.RawMessage{}}
		for name, o := range line.State.Outputs {
			s.outputs[name] = o.Value
		}
		var walk func(module)
		walk = func(m module) {
			s.resources = append(s.resources, m.Resources...)
			for _, child := range m.Children {
				walk(child)
			}
		}
		walk(line.State.Root)
		return s, nil
	}
	return state{}, fmt.Errorf("terraform test told no state\n%s", messages(out))
}

// messages are the human words of Terraform's JSON output.
func messages(out []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(out) {
		var m struct {
			Message    string `json:"@message"`
			Diagnostic struct{ Detail string }
		}
		if json.Unmarshal(line, &m) == nil {
			fmt.Fprintln(&b, m.Message, m.Diagnostic.Detail)
		}
	}
	return b.String()
}
