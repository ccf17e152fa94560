//go:build unix && !linux

package stack

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from ending a child before we say so. Only
// Linux can end a child with its parent.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
