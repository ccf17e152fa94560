package archtest_test

import (
	"bytes"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/archtest"
)

const root = "../.."

func load(t *testing.T) archtest.Tree {
	t.Helper()
	tree, err := archtest.Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestDependencies(t *testing.T) {
	for _, breach := range load(t).Check(archtest.Ours()) {
		t.Error(breach)
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	fixed := []string{"LICENSE", "Makefile", "README.md", "events", "functions", "go.mod", "go.sum", "infra", "pkg"}
	built := []string{"dist"}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(fixed, e.Name()) && !slices.Contains(built, e.Name()) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}

// A function is wiring. Whatever has a branch worth testing lives in pkg.
func TestFunctionsAreMains(t *testing.T) {
	const most = 60
	tree := load(t)
	folders, err := filepath.Glob(filepath.Join(root, "functions", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no functions (%v)", err)
	}
	for _, folder := range folders {
		dir := "functions/" + filepath.Base(folder)
		p := tree[dir]
		switch {
		case p == nil:
			t.Errorf("%s is no package", dir)
		case p.Name != "main" || !slices.Equal(p.Files, []string{dir + "/main.go"}):
			t.Errorf("%s holds %v of package %s, want main.go of package main", dir, p.Files, p.Name)
		case p.Lines > most:
			t.Errorf("%s/main.go has %d lines of code, want at most %d: move what is not wiring into pkg", dir, p.Lines, most)
		}
	}
	for dir := range maps.Keys(tree) {
		if strings.HasPrefix(dir, "functions/") && path.Dir(dir) != "functions" {
			t.Errorf("%s lies too deep: one folder is one function", dir)
		}
	}
}

func TestPackageNamesSayWhatTheyHold(t *testing.T) {
	for dir, p := range load(t) {
		for _, name := range []string{path.Base(dir), p.Name} {
			if slices.Contains([]string{"util", "utils", "common", "types", "models", "helper", "helpers", "misc", "base"}, name) {
				t.Errorf("%s says nothing about what it holds", dir)
			}
		}
	}
}

// Every package tells its reader what it holds and what it must not know.
func TestPackagesHaveAComment(t *testing.T) {
	for dir, p := range load(t) {
		documented := len(p.Files) == 0
		for _, name := range p.Files {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			before, _, _ := bytes.Cut(text, []byte("\npackage "))
			lines := bytes.Split(before, []byte("\n"))
			documented = documented || bytes.HasPrefix(lines[len(lines)-1], []byte("// "))
		}
		if !documented {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// small is a tree that keeps the rules below; each case breaks one of them.
func small() (fstest.MapFS, archtest.Rules) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
			"pkg/noun/noun.go":     file("package noun\n"),
			"pkg/use/use.go":       file("package use\nimport \"mfaflow/pkg/noun\"\n"),
			"pkg/one/one.go":       file("package one\nimport _ \"example.com/sdk/part\"\nimport _ \"mfaflow/pkg/use\"\n"),
			"pkg/two/two.go":       file("package two\nimport _ \"strings\"\n"),
			"pkg/two/two_test.go":  file("package two\nimport _ \"example.com/check\"\n"),
			"functions/in/main.go": file("package main\nimport _ \"mfaflow/pkg/two\"\n"),
			"pkg/x/testdata/a.go":  file("package a\nimport _ \"example.com/sdk\"\n"),
		}, archtest.Rules{
			Layers: []archtest.Layer{
				{Name: "domain", Folders: []string{"pkg/noun", "pkg/use"}},
				{Name: "adapter", Folders: []string{"pkg/one", "pkg/two"}, Imports: []string{"domain"}, Strangers: true},
				{Name: "function", Folders: []string{"functions/*"}, Imports: []string{"adapter"}},
			},
			Owners: []archtest.Owner{
				{Imported: "example.com/sdk", Folders: []string{"pkg/one"}, TestsToo: true},
				{Imported: "example.com/check", TestsOnly: true},
			},
			Bans: []archtest.Ban{
				{From: "functions/in", Imported: "example.com/sdk", Why: "small"},
				{From: "pkg/one", Imported: "example.com/sdk", Exact: true, Why: "slow"},
			},
		}
}

func TestRulesBite(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		rules      func(*archtest.Rules)
		want       []string
	}{
		"kept": {want: []string{}},
		"wrong direction": {
			file: "pkg/noun/a.go", text: "package noun\nimport _ \"mfaflow/pkg/two\"\n",
			want: []string{"pkg/noun/a.go:2:8: pkg/noun imports pkg/two: domain must not know adapter"},
		},
		"strangers": {
			file: "pkg/two/a.go", text: "package two\nimport _ \"mfaflow/pkg/one\"\n",
			want: []string{
				"functions/in reaches example.com/sdk/part: small (functions/in -> pkg/two -> pkg/one)",
				"pkg/two/a.go:2:8: pkg/two imports pkg/one: adapter packages do not import one another",
			},
		},
		"not the owner": {
			file: "pkg/two/a.go", text: "package two\nimport _ \"example.com/sdk/b\"\n",
			want: []string{
				"functions/in reaches example.com/sdk/b: small (functions/in -> pkg/two)",
				"pkg/two/a.go:2:8: pkg/two imports example.com/sdk/b: only pkg/one may",
			},
		},
		"not the owner, in a test": {
			file: "pkg/two/a_test.go", text: "package two\nimport _ \"example.com/sdk\"\n",
			want: []string{"pkg/two/a_test.go:2:8: tests of pkg/two import example.com/sdk: only pkg/one may"},
		},
		"exact ban": {
			file: "pkg/one/a.go", text: "package one\nimport _ \"example.com/sdk\"\n",
			want: []string{"pkg/one reaches example.com/sdk: slow (pkg/one)"},
		},
		"test library": {
			file: "pkg/use/a.go", text: "package use\nimport _ \"example.com/check\"\n",
			want: []string{"pkg/use/a.go:2:8: example.com/check is for tests"},
		},
		"unknown module": {
			file: "pkg/use/a.go", text: "package use\nimport _ \"example.org/new\"\n",
			want: []string{"pkg/use/a.go:2:8: nobody may import example.org/new: say in pkg/archtest who does"},
		},
		"no layer": {
			file: "pkg/new/new.go", text: "package fresh\n",
			want: []string{"pkg/new belongs to no layer: say in pkg/archtest which one"},
		},
		"rules about nothing": {
			rules: func(r *archtest.Rules) {
				r.Layers[0].Folders = append(r.Layers[0].Folders, "pkg/gone")
				r.Owners[0].Folders = append(r.Owners[0].Folders, "pkg/noun")
				r.Bans[0].From = "functions/gone"
			},
			want: []string{
				"a ban is about functions/gone, which does not exist",
				"layer domain names pkg/gone, which does not exist",
				"pkg/noun may import example.com/sdk and does not",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files, rules := small()
			if c.file != "" {
				files[c.file] = &fstest.MapFile{Data: []byte(c.text)}
			}
			if c.rules != nil {
				c.rules(&rules)
			}
			tree, err := archtest.Load(files)
			if err != nil {
				t.Fatal(err)
			}
			got := tree.Check(rules)
			if got == nil {
				got = []string{}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("breaches (-want +got):\n%s", d)
			}
		})
	}
}
