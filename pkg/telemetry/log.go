// Package telemetry makes the structured log and the metrics of a function: JSON
// lines on one writer, with the same attribute names everywhere.
//
// It imports the standard library and the domain only. What the cloud runtime
// knows, such as a request id, arrives through With.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"mfaflow/pkg/correlation"
)

// The attribute names of the log. A query written for one function works on all.
const (
	KeyFunction    = "function"
	KeyEvent       = "key" // the event's idempotency key
	KeyType        = "type"
	KeySource      = "source"
	KeyCorrelation = "correlation_id"
	KeyTrace       = "trace_id" // the same id as W3C and OpenTelemetry write it
	KeyLane        = "lane"
	KeyUser        = "user"
	KeyOutcome     = "outcome"
	KeyReason      = "reason"
	KeyDuration    = "duration_ms"
	KeyError       = "err"
	KeyRequest     = "request_id"
)

// NewLogger writes JSON lines at level and above to w. Every line carries the
// function's name, the correlation id of its context and the attributes that With
// put there. Values of identity.Secret print as asterisks wherever they are.
func NewLogger(w io.Writer, function string, level slog.Leveler) *slog.Logger {
	h := contextHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})}
	return slog.New(h).With(slog.String(KeyFunction, function))
}

// Duration is d in milliseconds under the common name.
func Duration(d time.Duration) slog.Attr {
	return slog.Float64(KeyDuration, float64(d.Microseconds())/1000)
}

// Error is err under the common name.
func Error(err error) slog.Attr { return slog.Any(KeyError, err) }

type attrsKey struct{}

// With returns a context whose log lines carry attrs as well as those it already
// had. A later value for the same name replaces the earlier one.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	var all []slog.Attr
	for _, a := range attrsOf(ctx) {
		if !slices.ContainsFunc(attrs, func(b slog.Attr) bool { return a.Key == b.Key }) {
			all = append(all, a)
		}
	}
	return context.WithValue(ctx, attrsKey{}, append(all, attrs...))
}

func attrsOf(ctx context.Context) []slog.Attr {
	attrs, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return attrs
}

// contextHandler adds what the context knows to each record.
type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(attrsOf(ctx)...)
	if id := correlation.ID(ctx); id != "" {
		r.AddAttrs(slog.String(KeyCorrelation, id))
	}
	if id := correlation.TraceID(ctx); id != "" {
		r.AddAttrs(slog.String(KeyTrace, id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}
