package lambda

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// MaxUnzipped bounds what a package holds.
const MaxUnzipped = 250 << 20

// TypeEntrypoint: a package has no bootstrap that the system starts.
const TypeEntrypoint = "Runtime.InvalidEntrypoint"

// task is a package as it lies in /var/task: read-only, and with the permissions that the
// archive gives everybody, since the process is not the owner.
type task struct {
	folder string
	holds  map[string]string // a line about each file and folder by its path
}

// unpack does with a package what the service does.
func unpack(archive string) (_ *task, err error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", archive, err)
	}
	defer func() { _ = z.Close() }() // it was only read
	t := &task{}
	if t.folder, err = os.MkdirTemp("", "task-"); err != nil {
		return nil, err
	}
	left := int64(MaxUnzipped)
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		n, err := t.write(f, left)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("package %s: %s: %w", archive, f.Name, err), t.remove())
		}
		left -= n
	}
	err = t.folders(0o555)
	if err == nil {
		t.holds, err = t.list()
	}
	if err != nil {
		return nil, errors.Join(err, t.remove())
	}
	return t, nil
}

func (t *task) write(f *zip.File, most int64) (int64, error) {
	if !filepath.IsLocal(f.Name) {
		return 0, errors.New("leads out of the package")
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // it was only read
	path := filepath.Join(t.folder, filepath.FromSlash(f.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.CopyN(out, in, most+1)
	switch {
	case err == nil:
		err = fmt.Errorf("unzipped there are more than %d bytes", int64(MaxUnzipped))
	case errors.Is(err, io.EOF):
		err = nil
	}
	others := f.Mode().Perm() & 0o005
	return n, errors.Join(err, out.Close(), os.Chmod(path, others|others<<3|others<<6))
}

// bootstrap is the path of what the service starts.
func (t *task) bootstrap() (string, error) {
	path := filepath.Join(t.folder, "bootstrap")
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir():
		return "", &FunctionError{TypeEntrypoint, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"}
	case err != nil:
		return "", err
	case info.Mode()&0o111 == 0: // an emulator would not mind
		return "", &FunctionError{TypeEntrypoint, "fork/exec /var/task/bootstrap: permission denied"}
	}
	return path, nil
}

// remove takes the package away, and complains when it is not as it was unpacked: where
// the double runs as root, nothing else keeps a function from writing there.
func (t *task) remove() error {
	var errs []error
	if t.holds != nil {
		now, err := t.list()
		if err == nil && !maps.Equal(t.holds, now) {
			err = fmt.Errorf("the function changed its package, which is read-only: of %v it made %v", t.holds, now)
		}
		errs = append(errs, err)
	}
	errs = append(errs, t.folders(0o700)) // else nothing can be taken out of them
	return errors.Join(append(errs, os.RemoveAll(t.folder))...)
}

func (t *task) list() (map[string]string, error) {
	holds := map[string]string{}
	return holds, filepath.WalkDir(t.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		holds[path] = fmt.Sprint(info.Mode(), info.ModTime())
		return nil
	})
}

func (t *task) folders(mode fs.FileMode) error {
	return filepath.WalkDir(t.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, mode)
	})
}
