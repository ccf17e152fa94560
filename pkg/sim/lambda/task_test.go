package lambda_test

import (
	"archive/zip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfaflow/pkg/sim/lambda"
)

// archive is a package that holds the function of testdata under a name and with a mode.
func archive(t *testing.T, name string, mode fs.FileMode, change ...func([]byte)) string {
	t.Helper()
	text, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(text)
	}
	path := filepath.Join(t.TempDir(), "function.zip")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(out)
	header := &zip.FileHeader{Name: name}
	header.SetMode(mode)
	f, err := z.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPackage(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f := start(t, lambda.Config{Package: archive(t, "bootstrap", 0o755)})
	env := post(t, f, "/env", "").Body
	_, root, _ := strings.Cut(env, "LAMBDA_TASK_ROOT=")
	root, _, _ = strings.Cut(root, "\n")
	for path, want := range map[string]fs.FileMode{root: fs.ModeDir | 0o555, filepath.Join(root, "bootstrap"): 0o555} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the package still lies there: %v", err)
	}
}

// What the service only says at the first invocation of a deployed function.
func TestPackagesThatDoNotStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	foreign := func(text []byte) { text[18], text[19] = 0xf3, 0 } // RISC-V, which Lambda has not
	for name, c := range map[string]struct{ path, want string }{
		"no exec bit":          {archive(t, "bootstrap", 0o644), "fork/exec /var/task/bootstrap: permission denied"},
		"for the owner only":   {archive(t, "bootstrap", 0o700), "fork/exec /var/task/bootstrap: permission denied"},
		"in a subfolder":       {archive(t, "dist/bootstrap", 0o755), "Couldn't find valid bootstrap(s)"},
		"under another name":   {archive(t, "main", 0o755), "Couldn't find valid bootstrap(s)"},
		"another architecture": {archive(t, "bootstrap", 0o755, foreign), "exec format error"},
	} {
		_, err := lambda.Start(t.Context(), lambda.Config{Package: c.path})
		if e := failure(t, err); e.Type != lambda.TypeEntrypoint || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %+v", name, e)
		}
	}
	// An emulator would start a file that the system does not.
	_, err := lambda.Start(t.Context(), lambda.Config{Package: archive(t, "bootstrap", 0o644), Emulator: "/usr/bin/env"})
	if e := failure(t, err); !strings.Contains(e.Message, "permission denied") {
		t.Errorf("%+v", e)
	}
	for name, path := range map[string]string{"an archive that leads out": archive(t, "../bootstrap", 0o755), "no archive": bootstrap} {
		if _, err := lambda.Start(t.Context(), lambda.Config{Package: path}); err == nil || !strings.Contains(err.Error(), "package "+path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "task-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestEmulator(t *testing.T) {
	f := start(t, lambda.Config{Package: archive(t, "bootstrap", 0o755), Emulator: "/usr/bin/env"})
	if a := post(t, f, "/echo", "x"); a.Body != "x" {
		t.Errorf("%+v", a)
	}
	if _, err := lambda.Start(t.Context(), lambda.Config{Package: archive(t, "bootstrap", 0o755), Emulator: "/no/such/emulator"}); err == nil {
		t.Error("it started without its emulator")
	}
}

// Where root runs the tests the function succeeds, which the end shows; where somebody
// else does, it fails as under the service.
func TestPackageIsReadOnly(t *testing.T) {
	f, err := lambda.Start(t.Context(), lambda.Config{Package: archive(t, "bootstrap", 0o755)})
	if err != nil {
		t.Fatal(err)
	}
	post(t, f, "/write", "")
	err = f.Close()
	if root := os.Geteuid() == 0; root != (err != nil && strings.Contains(err.Error(), "cache")) {
		t.Errorf("as root: %v, and Close says %v", root, err)
	}
}
