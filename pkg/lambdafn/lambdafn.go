// Package lambdafn runs the functions: under the AWS Lambda runtime when
// AWS_LAMBDA_RUNTIME_API is set, as an ordinary process otherwise. A function's
// logic is an http.Handler or a drain loop and sees no difference.
//
// It is the only package beside functions/ that imports aws-lambda-go. It knows
// no queue and no event.
package lambdafn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"mfaflow/pkg/telemetry"
)

const (
	// answerReserve is kept of an invocation's time, so that an answer of ours
	// goes out instead of a gateway's 504.
	answerReserve = 300 * time.Millisecond
	// shutdownGrace is how long a local server lets requests finish.
	shutdownGrace = 5 * time.Second
)

// Handlers is what a function answers to.
type Handlers struct {
	// HTTP takes HTTP API (payload 2.0) and function URL events, which have one
	// shape, or plain HTTP outside Lambda.
	HTTP http.Handler
	// EventBridge takes the events of a rule, whole, as JSON. An error makes Lambda
	// deliver the event again. Nil refuses such events.
	EventBridge func(ctx context.Context, event json.RawMessage) error
	// Close releases clients when a process that is no Lambda ends. May be nil.
	Close func(ctx context.Context) error
}

// Serve answers until the process is told to end. Under Lambda it does not
// return. Elsewhere it listens on addr (port 0 takes a free one), logs the address
// under "addr", stops on SIGTERM, interrupt or the end of ctx, and lets running
// requests finish first.
func Serve(ctx context.Context, h Handlers, addr string, log *slog.Logger) error {
	if underLambda() {
		start(ctx, handler{Handlers: h, log: log})
	}
	return errors.Join(listen(ctx, recovered(h.HTTP, log), addr, log), closeAll(ctx, h.Close, shutdownGrace))
}

// Drain runs a function that empties queues. Under Lambda each invocation calls
// run with a deadline that leaves reserve for what run has to close or give back,
// and an error fails the invocation; Drain does not return then. Elsewhere run is
// called once, without deadline, and its ctx ends on SIGTERM or interrupt: that
// end is no error.
func Drain(ctx context.Context, run func(ctx context.Context) error, reserve time.Duration, log *slog.Logger) error {
	if underLambda() {
		start(ctx, drainer{run: run, reserve: reserve})
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func underLambda() bool {
	return os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" //nolint:forbidigo // the runtime's variable, no setting of ours
}

// start hands the process to the Lambda runtime loop, which ends it on failure. It
// does not ask for SIGTERM: that takes an extension, registered before the first
// poll of every cold start, and nothing is pending between invocations.
func start(ctx context.Context, h lambda.Handler) {
	lambda.StartWithOptions(h, lambda.WithContext(ctx))
}

func closeAll(ctx context.Context, close func(context.Context) error, grace time.Duration) error {
	if close == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return close(ctx)
}

func listen(ctx context.Context, h http.Handler, addr string, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	// Requests outlive the signal: Shutdown waits for them.
	base := context.WithoutCancel(ctx)
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.InfoContext(ctx, "listening", "addr", l.Addr().String())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(base, shutdownGrace)
	defer cancel()
	err = srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// recovered answers 500 when next panics, in a process as under Lambda.
func recovered(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			// The value may quote the request; its type and the stack do not.
			log.ErrorContext(r.Context(), "panic", "kind", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			w.WriteHeader(http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}

// handler tells the events of one function apart by their shape.
type handler struct {
	Handlers
	log *slog.Logger
}

// ErrUnknownEvent: the invocation is none of the events the function takes.
var ErrUnknownEvent = errors.New("neither an HTTP (payload 2.0) nor an EventBridge event")

// Invoke implements lambda.Handler.
func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := leave(named(ctx), answerReserve)
	defer cancel()
	var shape struct {
		DetailType     *string `json:"detail-type"`
		RequestContext struct {
			HTTP *struct{} `json:"http"`
		} `json:"requestContext"`
	}
	if err := json.Unmarshal(payload, &shape); err != nil {
		return nil, ErrUnknownEvent // the decoder's own words could quote the payload
	}
	switch {
	case shape.RequestContext.HTTP != nil && h.HTTP != nil:
		return serveEvent(ctx, recovered(h.HTTP, h.log), payload)
	case shape.DetailType != nil && h.EventBridge != nil:
		return nil, h.EventBridge(ctx, payload)
	default:
		return nil, ErrUnknownEvent
	}
}

type drainer struct {
	run     func(context.Context) error
	reserve time.Duration
}

// Invoke implements lambda.Handler; what triggers a drain does not matter.
func (d drainer) Invoke(ctx context.Context, _ []byte) ([]byte, error) {
	ctx, cancel := leave(named(ctx), d.reserve)
	defer cancel()
	return nil, d.run(ctx)
}

// named puts the id of the invocation into the log lines of ctx.
func named(ctx context.Context) context.Context {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		return telemetry.With(ctx, slog.String(telemetry.KeyRequest, lc.AwsRequestID))
	}
	return ctx
}

// leave moves the deadline of ctx forward by reserve, but by no more than half of
// what is left.
func leave(ctx context.Context, reserve time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(reserve, time.Until(deadline)/2)))
}
