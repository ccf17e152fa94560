// Package files keeps files in a folder, for nobody else to read. It knows nothing of what
// is in them.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mfaflow/pkg/policy"
	"mfaflow/pkg/readiness"
)

var _ policy.Store = Folder("")

// Folder is a store in the folder of that path. It is made when something is put, with
// mode 0700; files have mode 0600. A file is replaced at once or not at all, also when the
// process or the machine ends meanwhile.
type Folder string

// partial begins the names of files that are not whole yet.
const partial = ".partial-"

// path is where a name is, which must not lead out of the folder.
func (f Folder) path(name string) (string, error) {
	local := filepath.FromSlash(name)
	if f == "" || name == "" || !filepath.IsLocal(local) || strings.HasPrefix(filepath.Base(local), partial) {
		return "", fmt.Errorf("%q is no name of a file in a folder", name)
	}
	return filepath.Join(string(f), local), nil
}

// Put writes beside the file and renames.
func (f Folder) Put(ctx context.Context, name string, data []byte) error {
	return f.write(ctx, name, data, os.Rename)
}

// Create writes beside the file and links, which fails when there is one: readiness.ErrExists.
func (f Folder) Create(ctx context.Context, name string, data []byte) error {
	err := f.write(ctx, name, data, func(whole, path string) error {
		if err := os.Link(whole, path); err != nil {
			return err
		}
		return os.Remove(whole)
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", name, readiness.ErrExists)
	}
	return err
}

// write has a file that is whole take its place.
func (f Folder) write(ctx context.Context, name string, data []byte, place func(whole, path string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path, err := f.path(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	whole, err := os.CreateTemp(filepath.Dir(path), partial) // of mode 0600
	if err != nil {
		return err
	}
	_, err = whole.Write(data)
	if err == nil {
		err = whole.Sync()
	}
	if err = errors.Join(err, whole.Close()); err == nil {
		err = place(whole.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(whole.Name()))
	}
	return nil
}

// Get reads the file; readiness.ErrNoFile when there is none.
func (f Folder) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := f.path(name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, readiness.ErrNoFile)
	}
	return data, err
}

// List reads the folder through. A folder that is not there has no files.
func (f Folder) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(string(f), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone meanwhile
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() || strings.HasPrefix(d.Name(), partial):
			return nil
		}
		relative, err := filepath.Rel(string(f), path)
		if name := filepath.ToSlash(relative); strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}
