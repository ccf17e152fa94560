package lambda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// environment is one execution environment: a process and the API it talks to.
type environment struct {
	cfg    Config
	cmd    *exec.Cmd
	server *http.Server

	next   chan *invocation // to the poll that waits
	polled chan struct{}    // the runtime polls
	failed chan error       // the runtime reports a failed init
	exited chan struct{}    // closed when the process ended
	gone   chan struct{}    // closed when nobody will be served any more

	current    atomic.Pointer[invocation]
	extensions atomic.Int32 // registered
}

type invocation struct {
	id       string
	event    []byte
	deadline time.Time
	done     chan result
}

type result struct {
	body []byte
	err  error
}

type logs struct{ out, err buffer }

// buffer collects output that may be read while it grows.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startEnvironment starts the process and waits for its first poll.
func startEnvironment(ctx context.Context, cfg Config, l *logs) (*environment, time.Duration, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	e := &environment{
		cfg: cfg, next: make(chan *invocation, 1), polled: make(chan struct{}, 1), failed: make(chan error, 1),
		exited: make(chan struct{}), gone: make(chan struct{}),
	}
	e.server = &http.Server{Handler: e.api(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = e.server.Serve(listener) }()

	command := []string{cfg.Bootstrap}
	if cfg.Emulator != "" {
		command = []string{cfg.Emulator, cfg.Bootstrap}
	}
	e.cmd = exec.Command(command[0], command[1:]...) //nolint:noctx // lives as long as the environment, which kills it
	e.cmd.Dir = filepath.Dir(cfg.Bootstrap)
	e.cmd.Env = e.environ(listener.Addr().String())
	e.cmd.Stdout, e.cmd.Stderr = &l.out, &l.err
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	e.cmd.WaitDelay = time.Second
	begin := time.Now()
	if err := e.cmd.Start(); err != nil {
		_ = e.server.Close()
		if cfg.Package != "" {
			err = &FunctionError{TypeEntrypoint, err.Error()}
		}
		return nil, 0, err
	}
	go func() {
		_ = e.cmd.Wait()
		close(e.exited)
	}()
	timeout := time.NewTimer(cfg.InitTimeout)
	defer timeout.Stop()
	select {
	case <-e.polled:
		return e, time.Since(begin), nil
	case err = <-e.failed:
	case <-e.exited:
		select { // a runtime reports and exits
		case err = <-e.failed:
		default:
			err = &FunctionError{TypeExit, "Runtime exited with error: " + e.exitState()}
		}
	case <-timeout.C:
		err = &FunctionError{TypeTimeout, fmt.Sprintf("init took longer than %s", cfg.InitTimeout)}
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.kill()
	return nil, 0, err
}

// environ is what the service sets, and then the function's configuration.
func (e *environment) environ(api string) []string {
	env := []string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + e.cfg.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + e.cfg.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=local",
		"AWS_REGION=eu-central-1", "AWS_DEFAULT_REGION=eu-central-1",
		"LAMBDA_TASK_ROOT=" + filepath.Dir(e.cfg.Bootstrap), "LAMBDA_RUNTIME_DIR=/var/runtime",
		"_HANDLER=bootstrap", "TZ=:UTC", "LANG=en_US.UTF-8", "PATH=/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LD_LIBRARY_PATH=/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
	}
	for k, v := range e.cfg.Env {
		env = append(env, k+"="+v)
	}
	return env
}

// freeze stops the process where it stands, network connections and all.
func (e *environment) freeze() error { return e.signal(syscall.SIGSTOP) }

func (e *environment) thaw() error { return e.signal(syscall.SIGCONT) }

func (e *environment) signal(s syscall.Signal) error {
	select {
	case <-e.exited:
		return nil // noticed by whoever waits for it
	default:
	}
	if err := syscall.Kill(-e.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// kill ends the process at once and waits until it is gone.
func (e *environment) kill() {
	_ = e.signal(syscall.SIGKILL)
	<-e.exited
	close(e.gone)
	_ = e.server.Close()
}

func (e *environment) shutdown() error {
	var err error
	if e.extensions.Load() > 0 {
		err = errors.Join(e.thaw(), e.signal(syscall.SIGTERM))
		grace := time.NewTimer(ShutdownGrace)
		defer grace.Stop()
		select {
		case <-e.exited:
		case <-grace.C:
		}
	}
	e.kill()
	return err
}

func (e *environment) exitState() string {
	<-e.exited
	return e.cmd.ProcessState.String()
}
