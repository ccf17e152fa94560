package packaging_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/packaging"
)

const root = "../.."

// bill is an inventory that lists these modules, each as name, version and licence.
func bill(modules ...[3]string) packaging.Inventory {
	return func(_ context.Context, _, output string) error {
		var b strings.Builder
		b.WriteString(`{"bomFormat": "CycloneDX", "components": [{"name": "mfaflow", "version": ""}`)
		for _, m := range modules {
			fmt.Fprintf(&b, `, {"name": %q, "version": %q, "evidence": {"licenses": [{"license": {"id": %q}}]}}`, m[0], m[1], m[2])
		}
		b.WriteString("]}")
		return os.WriteFile(output, []byte(b.String()), 0o600)
	}
}

// executable is the smallest that can be had: one without imports.
func executable(t *testing.T, arch string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bootstrap")
	c := exec.Command("go", slices.Concat([]string{"build", "-o", path}, flags, []string{source})...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOOS=linux", "GOARCH="+arch)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestWrite(t *testing.T) {
	path := executable(t, "arm64")
	functions := []packaging.Function{{Name: "a", Bootstrap: path, Webhooks: true}, {Name: "b", Bootstrap: path}}
	inventory := bill([3]string{"golang.org/x/text", "v1", "BSD-Source-Code"}, [3]string{"example.com/m", "v2", "MIT"}, [3]string{"std", "v3", ""})

	first, second := t.TempDir(), t.TempDir()
	sizes, err := packaging.Write(t.Context(), first, "arm64", functions, inventory)
	if err != nil {
		t.Fatal(err)
	}
	if len(sizes) != 2 || sizes[0].Function != "a" || sizes[0].Binary == 0 || sizes[0].Zip >= sizes[0].Binary || sizes[0].Modules != 4 {
		t.Errorf("sizes %+v", sizes)
	}

	// Later, and by somebody else.
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := packaging.Write(t.Context(), second, "arm64", functions, inventory); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.zip", "b.zip", "a.cdx.json", "licences.csv", "sizes.txt"} {
		one, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(second, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s has other bytes the second time", name)
		}
	}

	z, err := zip.OpenReader(filepath.Join(first, "a.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 {
		t.Fatalf("the archive holds %v", z.File)
	}
	in, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the archive does not hold the executable (%v)", err)
	}
	list, err := os.ReadFile(filepath.Join(first, "licences.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("module,version,licences,functions\nexample.com/m,v2,MIT,a b\ngolang.org/x/text,v1,BSD-3-Clause,a b\nstd,v3,BSD-3-Clause,a b\n", string(list)); diff != "" {
		t.Error(diff)
	}
}

func TestWriteRefuses(t *testing.T) {
	path := executable(t, "arm64")
	text := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "hr-events")
	if err := os.Link(path, named); err != nil {
		t.Fatal(err)
	}
	harmless := bill()
	for name, c := range map[string]struct {
		path, arch string
		inventory  packaging.Inventory
		want       string
	}{
		"another architecture":     {path, "amd64", harmless, "is built for EM_AARCH64, not for amd64"},
		"no such architecture":     {path, "mips", harmless, `"mips" is neither arm64 nor amd64`},
		"a script":                 {text, "arm64", harmless, "is no Linux executable"},
		"another name":             {named, "arm64", harmless, "is not named bootstrap"},
		"a licence that asks":      {path, "arm64", bill([3]string{"example.com/m", "v1", "GPL-3.0-only"}), "example.com/m v1 is under GPL-3.0-only"},
		"no licence":               {path, "arm64", bill([3]string{"example.com/m", "v1", ""}), "example.com/m v1 has none"},
		"no licence of a namesake": {path, "arm64", bill([3]string{"std.example/m", "v1", ""}), "std.example/m v1 has none"},
		"a reading of others":      {path, "arm64", bill([3]string{"example.com/m", "v1", "BSD-Source-Code"}), "is under BSD-Source-Code"},
		"another bill":             {path, "arm64", func(_ context.Context, _, o string) error { return os.WriteFile(o, []byte(`{}`), 0o600) }, `its format is ""`},
		"no bill":                  {path, "arm64", func(context.Context, string, string) error { return errors.New("tool is out of order") }, "tool is out of order"},
		"a bill that is not JSON":  {path, "arm64", func(_ context.Context, _, o string) error { return os.WriteFile(o, []byte(`<bom/>`), 0o600) }, "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := packaging.Write(t.Context(), t.TempDir(), c.arch, []packaging.Function{{Name: "a", Bootstrap: c.path}}, c.inventory)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Faults of packages that others made are found in the package itself.
func TestVerify(t *testing.T) {
	arm64, amd64 := executable(t, "arm64"), executable(t, "amd64")
	dynamic := executable(t, "amd64", "-buildmode=pie")
	type file struct {
		name, content string
		mode          fs.FileMode
	}
	zipped := func(files ...file) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, f := range files {
			header := &zip.FileHeader{Name: f.name}
			header.SetMode(f.mode)
			w, err := z.CreateHeader(header)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(f.content)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "a.zip")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ archive, arch, want string }{
		"arm64":                {zipped(file{"bootstrap", arm64, 0o755}), "arm64", ""},
		"amd64":                {zipped(file{"bootstrap", amd64, 0o755}), "amd64", ""},
		"no exec bit":          {zipped(file{"bootstrap", arm64, 0o644}), "arm64", "has the mode -rw-r--r--, not -rwxr-xr-x"},
		"for the owner only":   {zipped(file{"bootstrap", arm64, 0o700}), "arm64", "has the mode -rwx------"},
		"in a subfolder":       {zipped(file{"dist/bootstrap", arm64, 0o755}), "arm64", `holds ["dist/bootstrap"] and not bootstrap alone, at the root`},
		"something beside it":  {zipped(file{"bootstrap", arm64, 0o755}, file{"notes", arm64, 0o644}), "arm64", `holds ["bootstrap" "notes"]`},
		"nothing":              {zipped(), "arm64", "holds []"},
		"another architecture": {zipped(file{"bootstrap", amd64, 0o755}), "arm64", "is built for EM_X86_64, not for arm64"},
		"linked dynamically":   {zipped(file{"bootstrap", dynamic, 0o755}), "amd64", "is linked dynamically"},
		"no zip":               {arm64, "arm64", "not a valid zip file"},
	} {
		err := packaging.Verify(c.archive, c.arch)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := packaging.Write(t.Context(), t.TempDir(), "amd64", []packaging.Function{{Name: "a", Bootstrap: dynamic}}, bill()); err == nil || !strings.Contains(err.Error(), "linked dynamically") {
		t.Errorf("packaged: %v", err)
	}
}

// A webhook function above its bound fails, and the same size is fine for another one.
func TestBounds(t *testing.T) {
	path := executable(t, "arm64")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Behind what the headers tell of, which an ELF file may have.
	if _, err := f.Write(make([]byte, 12<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	sizes, err := packaging.Write(t.Context(), t.TempDir(), "arm64", []packaging.Function{{Name: "hr-events", Bootstrap: path, Webhooks: true}}, bill())
	if !errors.Is(err, packaging.ErrBound) || !strings.Contains(err.Error(), "hr-events has 1") || len(sizes) != 1 {
		t.Errorf("got %v, %v", sizes, err)
	}
	if _, err := packaging.Write(t.Context(), t.TempDir(), "arm64", []packaging.Function{{Name: "identity-worker", Bootstrap: path}}, bill()); err != nil {
		t.Error(err)
	}
}

// The Makefile builds the same bytes wherever the source lies and whenever it was written.
func TestBuildIsReproducible(t *testing.T) {
	var first []byte
	for i, folder := range []string{"a", "a-much-longer/path/to/the/source"} {
		dir := filepath.Join(t.TempDir(), folder)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"functions/hr-events", "pkg", "events"} {
			if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"go.mod", "go.sum", "Makefile"} {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		target := filepath.Join("dist", "lambda", runtime.GOARCH, "hr-events", "bootstrap")
		c := exec.Command("make", "-s", target)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		built, err := os.ReadFile(filepath.Join(dir, target))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = built
		} else if !bytes.Equal(first, built) {
			t.Error("the same source gave another binary")
		}
	}
}
