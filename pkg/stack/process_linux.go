package stack

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from ending a child before we say so, and
// has the kernel end the child when we are killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
