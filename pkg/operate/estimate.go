package operate

import (
	"context"
	"sync"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/worker"
)

// Estimated is a worker that previews with the methods of people as the directory's
// report has them, and with no passes, since both take a request for each person from
// a budget of five in ten seconds. The policy is read once. What it says may differ
// from what the worker finds, which then holds the event.
func Estimated(w *worker.Worker, methods map[identity.UserID][]identity.Method) Worker {
	estimating := *w
	estimating.Methods, estimating.Passes = reported{methods: methods}, noPasses{}
	estimating.Directory = &onePolicy{Directory: w.Directory}
	return &estimating
}

// reported are the methods of all people, read at once. Whatever else it is asked for
// panics: it is for a look, which changes nothing.
type reported struct {
	worker.Methods
	methods map[identity.UserID][]identity.Method
}

func (r reported) MethodsAndDefault(_ context.Context, user identity.UserID) (identity.Registration, error) {
	return identity.Registration{Methods: r.methods[user]}, nil
}

// noPasses has none for anybody.
type noPasses struct{ port }

// port keeps the name of the embedded interface from being that of its method.
type port = worker.Passes

func (noPasses) Passes(context.Context, identity.UserID) ([]identity.Pass, error) { return nil, nil }

// onePolicy reads the pass policy once.
type onePolicy struct {
	worker.Directory
	once   sync.Once
	policy identity.PassPolicy
	err    error
}

func (d *onePolicy) PassPolicy(ctx context.Context) (identity.PassPolicy, error) {
	d.once.Do(func() { d.policy, d.err = d.Directory.PassPolicy(ctx) })
	return d.policy, d.err
}
