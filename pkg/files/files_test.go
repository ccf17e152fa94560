package files_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"mfaflow/pkg/files"
	"mfaflow/pkg/readiness"
)

func TestFilesAreKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "reports")
	f := files.Folder(folder)
	ctx := t.Context()
	if _, err := f.Get(ctx, "a/b.json"); !errors.Is(err, readiness.ErrNoFile) {
		t.Errorf("%v", err)
	}
	if names, err := f.List(ctx, ""); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	for _, name := range []string{"a/b.json", "a/c.json", "ab.json", "a/b.json"} {
		if err := f.Put(ctx, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := f.Get(ctx, "a/b.json"); err != nil || string(data) != "a/b.json" {
		t.Errorf("%s, %v", data, err)
	}
	for prefix, want := range map[string][]string{"": {"a/b.json", "a/c.json", "ab.json"}, "a/": {"a/b.json", "a/c.json"}, "a/c": {"a/c.json"}, "x": nil} {
		if names, err := f.List(ctx, prefix); err != nil || !slices.Equal(names, want) {
			t.Errorf("%q: %v, %v", prefix, names, err)
		}
	}
	for path, mode := range map[string]os.FileMode{"": 0o700, "a": 0o700, "a/b.json": 0o600} {
		info, err := os.Stat(filepath.Join(folder, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
	}
}

// Of all who create a file one does, and the others do not change it.
func TestOneCreates(t *testing.T) {
	f := files.Folder(t.TempDir())
	var (
		all     sync.WaitGroup
		created atomic.Int32
		by      atomic.Int32
	)
	for i := range int32(16) {
		all.Go(func() {
			switch err := f.Create(t.Context(), "a/claim", []byte{byte(i)}); {
			case err == nil:
				created.Add(1)
				by.Store(i)
			case !errors.Is(err, readiness.ErrExists):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if data, err := f.Get(t.Context(), "a/claim"); err != nil || created.Load() != 1 || len(data) != 1 || int32(data[0]) != by.Load() {
		t.Errorf("%v of %d, created %d times, %v", data, by.Load(), created.Load(), err)
	}
	if names, err := f.List(t.Context(), ""); err != nil || !slices.Equal(names, []string{"a/claim"}) {
		t.Errorf("%v, %v", names, err)
	}
	entries, err := os.ReadDir(filepath.Join(string(f), "a"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := f.Create(t.Context(), "../a", nil); err == nil || errors.Is(err, readiness.ErrExists) {
		t.Error(err)
	}
}

func TestNamesStayInTheFolder(t *testing.T) {
	parent := t.TempDir()
	f := files.Folder(filepath.Join(parent, "in"))
	for _, name := range []string{"", "../out", "/etc/passwd", "a/../../out", "..", ".partial-1"} {
		if err := f.Put(t.Context(), name, nil); err == nil {
			t.Errorf("%q is written", name)
		}
		if _, err := f.Get(t.Context(), name); err == nil {
			t.Errorf("%q is read", name)
		}
	}
	if _, err := os.Stat(filepath.Join(parent, "out")); err == nil {
		t.Error("a file outside")
	}
}

// Whoever reads meanwhile sees one whole file or the other.
func TestFilesAreReplacedAtOnce(t *testing.T) {
	f := files.Folder(t.TempDir())
	long, short := bytes.Repeat([]byte("x"), 1<<16), []byte("y")
	if err := f.Put(t.Context(), "f", short); err != nil {
		t.Fatal(err)
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range 50 {
			if err := f.Put(t.Context(), "f", [][]byte{long, short}[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		if data, err := f.Get(t.Context(), "f"); err != nil || !bytes.Equal(data, long) && !bytes.Equal(data, short) {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
	}
	writer.Wait()
	if names, err := f.List(t.Context(), ""); err != nil || !slices.Equal(names, []string{"f"}) {
		t.Errorf("%v, %v", names, err)
	}
}
