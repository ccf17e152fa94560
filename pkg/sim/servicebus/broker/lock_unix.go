//go:build unix

package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDirectory keeps a second process from writing the same journals. The lock goes
// with the process, however it ends.
func lockDirectory(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, journalPermission)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another broker: %w", path, err)
	}
	return f.Close, nil
}
