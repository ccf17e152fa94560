// Package lambda is a double of the AWS Lambda runtime provided.al2023 for packages
// and built bootstrap binaries: the unpacked archive, the Runtime API and the part of
// the Extensions API that aws-lambda-go uses, one execution environment per function,
// its freeze between invocations and its death at the deadline. It knows nothing of
// mfaflow.
//
// Sources: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html,
// lambda-runtime-environment.html, runtimes-extensions-api.html,
// configuration-envvars.html and configuration-function-zip.html.
package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// The limits of the service.
const (
	// MaxPayload bounds a synchronous invocation, each way: 6 MB and the headroom
	// that the service names in its own error.
	MaxPayload = 6291556
	// DefaultTimeout is the service's own.
	DefaultTimeout = 3 * time.Second
	// InitTimeout bounds the init phase.
	InitTimeout = 10 * time.Second
	// ShutdownGrace lies between SIGTERM and SIGKILL for a function that
	// registered an internal extension; any other is killed at once.
	ShutdownGrace = 500 * time.Millisecond
)

// Config describes a function.
type Config struct {
	// Package is the path of the archive that is deployed. It is unpacked once, and the
	// process starts in what was unpacked.
	Package string
	// Bootstrap is the path of the binary where there is no Package.
	Bootstrap string
	// Emulator runs binaries of another architecture, as qemu-aarch64-static does; empty
	// where the system itself is to start them.
	Emulator string
	// Name is the function's name; "function" when empty.
	Name string
	// Env is the function's configuration. Nothing else is inherited but what the
	// service sets.
	Env map[string]string
	// Timeout bounds an invocation; zero is DefaultTimeout.
	Timeout time.Duration
	// InitTimeout bounds the init phase; zero is the service's.
	InitTimeout time.Duration
}

// FunctionError is what a caller of the function sees when it fails.
type FunctionError struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// Types of the errors that the service itself reports.
const (
	TypeExit     = "Runtime.ExitError"
	TypeTimeout  = "Sandbox.Timedout"
	TypeTooLarge = "Function.ResponseSizeTooLarge"
)

// ErrPayloadTooLarge: the event is over MaxPayload.
var ErrPayloadTooLarge = errors.New("payload over 6 MB")

// Function is a deployed function with at most one execution environment: further
// invocations wait, where the service would start another environment.
type Function struct {
	cfg  Config
	task *task         // nil without a package
	busy chan struct{} // holds one token while free
	env  *environment  // nil before the first cold start and after a death
	logs logs

	coldStarts []time.Duration
	ended      string
	closed     bool
}

// Start starts the function's execution environment and returns when its runtime
// polled for the first invocation. The environment is frozen then.
func Start(ctx context.Context, cfg Config) (*Function, error) {
	if cfg.Name == "" {
		cfg.Name = "function"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.InitTimeout == 0 {
		cfg.InitTimeout = InitTimeout
	}
	f := &Function{cfg: cfg, busy: make(chan struct{}, 1)}
	f.busy <- struct{}{}
	if err := f.deploy(); err != nil {
		return nil, err
	}
	if err := f.coldStart(ctx); err != nil {
		return nil, errors.Join(err, f.undeploy())
	}
	return f, nil
}

func (f *Function) deploy() (err error) {
	if f.cfg.Package == "" {
		return nil
	}
	if f.task, err = unpack(f.cfg.Package); err != nil {
		return err
	}
	if f.cfg.Bootstrap, err = f.task.bootstrap(); err != nil {
		return errors.Join(err, f.undeploy())
	}
	return nil
}

func (f *Function) undeploy() error {
	if f.task == nil {
		return nil
	}
	t := f.task
	f.task = nil
	return t.remove()
}

func (f *Function) coldStart(ctx context.Context) error {
	env, took, err := startEnvironment(ctx, f.cfg, &f.logs)
	if err != nil {
		return fmt.Errorf("init of %s: %w", f.cfg.Name, err)
	}
	f.env = env
	f.coldStarts = append(f.coldStarts, took)
	return env.freeze()
}

// Invoke runs the function on an event and returns its answer; when the function
// fails that is a *FunctionError. An environment that died is replaced by a cold
// start at the next invocation. When ctx ends first the environment is killed.
func (f *Function) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	if len(event) > MaxPayload {
		return nil, ErrPayloadTooLarge
	}
	select {
	case <-f.busy:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { f.busy <- struct{}{} }()
	if f.closed {
		return nil, errors.New("function is closed")
	}
	if f.env == nil {
		if err := f.coldStart(ctx); err != nil {
			return nil, err
		}
	}
	if err := f.env.thaw(); err != nil {
		return nil, err
	}
	out, err := f.run(ctx, &invocation{id: uuid.NewString(), event: event, deadline: time.Now().Add(f.cfg.Timeout), done: make(chan result, 1)})
	if f.env == nil {
		return out, err
	}
	return out, errors.Join(err, f.env.freeze())
}

// run hands the invocation to the runtime and waits for its answer and for the
// poll after it, which is when an invocation is over.
func (f *Function) run(ctx context.Context, in *invocation) ([]byte, error) {
	env := f.env
	env.next <- in
	var answer result
	answered, done := false, in.done
	deadline := time.NewTimer(f.cfg.Timeout)
	defer deadline.Stop()
	for {
		select {
		case answer = <-done:
			answered, done = true, nil
		case <-env.polled:
			if answered {
				return answer.body, answer.err
			}
			f.kill()
			return nil, &FunctionError{TypeExit, "the runtime asked for the next invocation before it answered this one"}
		case <-env.exited:
			f.kill()
			if answered {
				return answer.body, answer.err
			}
			select { // the answer may have come just before the end
			case answer = <-in.done:
				return answer.body, answer.err
			default:
			}
			return nil, &FunctionError{TypeExit, fmt.Sprintf("RequestId: %s Error: Runtime exited with error: %s", in.id, env.exitState())}
		case <-deadline.C:
			f.kill()
			if answered {
				return answer.body, answer.err
			}
			return nil, &FunctionError{TypeTimeout, fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", in.id, f.cfg.Timeout.Seconds())}
		case <-ctx.Done():
			f.kill()
			return nil, ctx.Err()
		}
	}
}

func (f *Function) kill() {
	f.env.kill()
	f.ended = f.env.exitState()
	f.env = nil
}

// Ended is how the process of the last execution environment that is gone ended, as
// "exit status 0" or "signal: killed"; empty while none is gone.
func (f *Function) Ended() string {
	<-f.busy
	defer func() { f.busy <- struct{}{} }()
	return f.ended
}

// ColdStarts are the times from process start to the first poll, one per
// execution environment so far.
func (f *Function) ColdStarts() []time.Duration {
	<-f.busy
	defer func() { f.busy <- struct{}{} }()
	return append([]time.Duration(nil), f.coldStarts...)
}

// Stdout is what the function has written to standard output so far.
func (f *Function) Stdout() string { return f.logs.out.String() }

// Stderr is what the function has written to standard error so far.
func (f *Function) Stderr() string { return f.logs.err.String() }

// Close shuts the environment down as the service does: SIGTERM and ShutdownGrace
// for a function that registered an extension, then SIGKILL. It fails when the function
// changed its package. A second Close does nothing.
func (f *Function) Close() error {
	<-f.busy
	defer func() { f.busy <- struct{}{} }()
	f.closed = true
	if f.env == nil {
		return f.undeploy()
	}
	env := f.env
	f.env = nil
	err := env.shutdown()
	f.ended = env.exitState()
	return errors.Join(err, f.undeploy())
}

func decodeError(b []byte) *FunctionError {
	e := &FunctionError{}
	if err := json.Unmarshal(b, e); err != nil || e.Type == "" {
		return &FunctionError{Type: "Unknown", Message: string(b)}
	}
	return e
}
