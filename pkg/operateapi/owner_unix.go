//go:build unix

package operateapi

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// ownerOf is the id of the user whom a file belongs to.
func ownerOf(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return "", errors.New("the file has no owner")
	}
	return strconv.FormatUint(uint64(stat.Uid), 10), nil
}
