package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Waits for processes that do not do what they should.
const (
	readyTimeout = 20 * time.Second
	stopGrace    = 5 * time.Second
)

// command is a process to start.
type command struct {
	path string
	args []string
	// env is the whole environment.
	env []string
	// ready says whether a line of output means that it serves.
	ready func(line []byte) bool
	// each gets every line. It runs on one goroutine.
	each func(line []byte)
}

// process is a running command.
type process struct {
	cmd  *exec.Cmd
	took time.Duration // from start until it served
	done chan struct{}
}

// start starts a command and returns once it serves.
func (c command) start(ctx context.Context) (*process, error) {
	name := filepath.Base(c.path)
	out := &lines{}
	serving := make(chan time.Time, 1)
	announced := false
	out.each = func(line []byte) {
		if !announced && c.ready(line) {
			announced = true
			serving <- time.Now()
		}
		if c.each != nil {
			c.each(line)
		}
	}
	p := &process{cmd: exec.Command(c.path, c.args...), done: make(chan struct{})} //nolint:noctx // stop ends it, so that it can say goodbye
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = c.env, out, out
	p.cmd.WaitDelay = stopGrace
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build?): %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its state
		close(p.done)
	}()
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	var err error
	select {
	case at := <-serving:
		p.took = at.Sub(began)
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended (%s): %s", name, p.cmd.ProcessState, out.last)
	case <-timeout.C:
		err = fmt.Errorf("%s does not serve after %s", name, readyTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.stop()
	return nil, err
}

// ended is what is known of a process that did all that it had to do.
type ended struct {
	took time.Duration
	peak float64 // MiB resident; 0 where the system does not tell
	last []byte  // line of its output
}

// run lets a command do all that it has to do. How it ends is for the caller to judge.
func (c command) run(ctx context.Context) (ended, error) {
	out := &lines{each: func([]byte) {}}
	p := &process{cmd: exec.CommandContext(ctx, c.path, c.args...), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = c.env, out, out
	p.cmd.WaitDelay = stopGrace
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return ended{}, fmt.Errorf("start %s (make build?): %w", filepath.Base(c.path), err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is seen by what it made
		close(p.done)
	}()
	e := ended{}
	look := time.NewTicker(10 * time.Millisecond) // what a process has had at most is gone with it
	defer look.Stop()
	for {
		select {
		case <-look.C:
			e.peak = max(e.peak, p.peakMemory())
		case <-p.done:
			e.took, e.last = time.Since(began), out.last
			return e, context.Cause(ctx)
		}
	}
}

// stop ends the process and returns the processor time that it took.
func (p *process) stop() time.Duration {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	kill := time.AfterFunc(stopGrace, func() { _ = p.cmd.Process.Kill() })
	<-p.done
	kill.Stop()
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// lines is an io.Writer that hands on whole lines.
type lines struct {
	each func(line []byte)
	rest []byte
	last []byte
}

// Write takes output. Only the goroutine that copies it calls it.
func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, complete := bytes.Cut(l.rest, []byte("\n"))
		if !complete {
			return len(b), nil
		}
		l.last = line
		l.each(line)
		l.rest = rest
	}
}

// entry is what the functions' log lines hold, as far as it is measured by.
type entry struct {
	Time         time.Time `json:"time"`
	Message      string    `json:"msg"`
	Addr         string    `json:"addr"`
	Key          string    `json:"key"`
	Outcome      string    `json:"outcome"`
	Detail       string    `json:"detail"`
	Task         string    `json:"task"`
	Events       int       `json:"events"`
	Milliseconds float64   `json:"duration_ms"`
}

// errNoLine: a line that is none of a function's log.
var errNoLine = errors.New("not a log line")

func parseEntry(line []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil || e.Message == "" {
		return entry{}, errNoLine
	}
	return e, nil
}

// machine is what of our own environment a process may see.
func machine() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOMAXPROCS", "GOMEMLIMIT"} {
		if v, ok := os.LookupEnv(name); ok { //nolint:forbidigo // handed on, no setting of ours
			env = append(env, name+"="+v)
		}
	}
	return env
}
