// Package correlation carries, in a context, the id that follows an event from
// its webhook to Microsoft Graph, and collects the Graph calls made on its way. The id is
// that of a W3C trace, written as a UUID.
//
// It imports the standard library only and logs nothing.
package correlation

import (
	"context"
	"slices"
	"sync"
	"time"
)

type key struct{}

// thread is what a context carries.
type thread struct {
	id string
	trace
}

// With returns a context that carries the correlation id. What ctx knows of the trace
// stays when it is that of the id.
func With(ctx context.Context, id string) context.Context {
	if carried(ctx).id == id {
		return ctx
	}
	return with(ctx, id, trace{flags: recorded})
}

func with(ctx context.Context, id string, t trace) context.Context {
	return context.WithValue(ctx, key{}, thread{id, t})
}

func carried(ctx context.Context) thread {
	t, _ := ctx.Value(key{}).(thread)
	return t
}

// ID is the correlation id of ctx, empty when there is none.
func ID(ctx context.Context) string { return carried(ctx).id }

// Call is one request to the directory as the audit trail shows it. It holds no
// query values and no bodies: those are personal data or secrets.
type Call struct {
	Method string `json:"method"`
	// Path is the URL path without its query.
	Path string `json:"path"`
	// Status is 0 when no answer came.
	Status int `json:"status"`
	// RequestID is the directory's own id of the request.
	RequestID string        `json:"requestId,omitempty"`
	Duration  time.Duration `json:"duration"`
}

// Calls collects calls; safe for concurrent use.
type Calls struct {
	mu   sync.Mutex
	list []Call
}

type callsKey struct{}

// Collect returns a context whose recorded calls end up in the Calls. A nested
// Collect hides the outer one.
func Collect(ctx context.Context) (context.Context, *Calls) {
	c := &Calls{}
	return context.WithValue(ctx, callsKey{}, c), c
}

// Record adds a call to the innermost collector of ctx, if there is one.
func Record(ctx context.Context, call Call) {
	if c, ok := ctx.Value(callsKey{}).(*Calls); ok {
		c.mu.Lock()
		c.list = append(c.list, call)
		c.mu.Unlock()
	}
}

// List is a copy of what was collected so far, in order.
func (c *Calls) List() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}
