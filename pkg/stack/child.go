package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a child may take to end after SIGTERM before it is killed.
const stopGrace = 5 * time.Second

// child is a running function binary.
type child struct {
	name string
	stop context.CancelFunc
	// ready is closed once the child says that it serves; addr is set before.
	ready chan struct{}
	addr  string
	// done is closed when the child has ended and all its lines were handed on; err
	// is set before, and nil when we ended it.
	done chan struct{}
	err  error

	each    func(function string, line []byte)
	rest    []byte // of a line not yet complete
	serving bool
	trouble string // the last line that names an error
}

// errEnded: a child ended by itself.
var errEnded = errors.New("ended by itself")

// startChild runs a binary with exactly this environment and hands each line of
// its output on. The end of ctx sends SIGTERM, later SIGKILL; where the system can
// see to it, the child ends with this process whatever kills it.
func startChild(ctx context.Context, name, path string, env []string, each func(function string, line []byte)) (*child, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &child{name: name, stop: cancel, ready: make(chan struct{}), done: make(chan struct{}), each: each}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = ownGroup()
	cmd.Stdout, cmd.Stderr = c, c

	started := make(chan error)
	go func() {
		defer close(c.done)
		// prctl(2): the parent-death signal comes when the thread that started the
		// child ends, so the thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the state says the same
		if ctx.Err() == nil {
			c.err = fmt.Errorf("%s %w (%s) %s", name, errEnded, cmd.ProcessState, c.trouble)
		}
	}()
	if err := <-started; err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// Write takes the child's output. Only the goroutine that copies it calls it.
func (c *child) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		line, rest, complete := bytes.Cut(c.rest, []byte("\n"))
		if !complete {
			return len(p), nil
		}
		c.line(line)
		c.rest = rest
	}
}

func (c *child) line(line []byte) {
	var l struct {
		Message string `json:"msg"`
		Error   string `json:"err"`
		Addr    string `json:"addr"`
	}
	switch err := json.Unmarshal(line, &l); {
	case err != nil:
		c.trouble = string(line) // a panic, for one
	case l.Error != "":
		c.trouble = l.Error
	case !c.serving && (l.Message == "ready" || l.Message == "listening"):
		c.serving, c.addr = true, l.Addr
		close(c.ready)
	}
	c.each(c.name, bytes.Clone(line))
}

// wait returns once the child serves.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("%s does not get ready: %w", c.name, context.Cause(ctx))
	}
}
