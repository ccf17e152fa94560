// Package correlation carries, in a context, the id that follows an event from
// its webhook to Microsoft Graph, and collects the Graph calls made on its way.
//
// It imports the standard library only and logs nothing.
package correlation

import (
	"context"
	"slices"
	"sync"
	"time"
)

type idKey struct{}

// With returns a context that carries the correlation id.
func With(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, idKey{}, id)
}

// ID is the correlation id of ctx, empty when there is none.
func ID(ctx context.Context) string {
	id, _ := ctx.Value(idKey{}).(string)
	return id
}

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
