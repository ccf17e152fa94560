package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sweep"
)

// Groups finds the groups that a file names. *graph.Client implements it.
type Groups interface {
	// GroupsNamed are those with the display name.
	GroupsNamed(ctx context.Context, name string) ([]readiness.Named, error)
	// GroupName is identity.ErrNotFound for an id that is no group's.
	GroupName(ctx context.Context, group string) (string, error)
	// GroupMembers is one page of the people in a group and in the groups in it.
	GroupMembers(ctx context.Context, group, link string) (sweep.Page[identity.UserID], error)
}

// Tenant is where policies are read and written. *graph.Client implements it.
//
// Errors are of the classes of package identity. A write whose *identity.RetryError is
// Unknown may have taken effect.
type Tenant interface {
	// State is what an object holds now, and the document that says so. Of a KindPolicy
	// that is not there both are empty. Of KindPerUser the users say whose states.
	State(ctx context.Context, o Object, users []identity.UserID) (State, error)
	// Write changes what differs between From and To, and nothing else. The documents are
	// where members of targets come from that a Value does not hold: the first that has a
	// target wins. It returns the id of a policy that it created. An error of a write for
	// several people is a *PartError when some of them were served.
	Write(ctx context.Context, w Write, documents ...json.RawMessage) (id string, err error)
	// Calls are the requests that Write makes, reads not counted.
	Calls(w Write) []Call
}

// State is an object as it is.
type State struct {
	// ID is that of a policy, once it has one.
	ID       string          `json:"id,omitempty"`
	Value    Value           `json:"value"`
	Document json.RawMessage `json:"document,omitempty"`
}

// Call is one request to the directory.
type Call struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Body is what is sent, if it can be told beforehand.
	Body json.RawMessage `json:"body,omitempty"`
	// Beta marks a request that v1.0 has not, whose form may change.
	Beta bool `json:"beta,omitempty"`
}

// PartError is a write for several people that failed for some.
type PartError struct{ Failed map[identity.UserID]error }

func (e *PartError) Error() string {
	text := fmt.Sprintf("%d people were not served", len(e.Failed))
	for _, id := range sortedUsers(e.Failed) {
		return text + ": " + string(id) + ": " + e.Failed[id].Error()
	}
	return text
}

// Unwrap are the errors of the people.
func (e *PartError) Unwrap() []error {
	var list []error
	for _, id := range sortedUsers(e.Failed) {
		list = append(list, e.Failed[id])
	}
	return list
}

// Failure is a sign-in that failed over MFA.
type Failure struct {
	User identity.UserID
	At   time.Time
	Code int
}

// OpenFlag is a flag that nobody has resolved, and the number by which operators know it.
type OpenFlag struct {
	Number int64
	flag.Flag
}

// Watch is what a rollout looks at before the next wave. Each may be nil, and then a file
// that has a limit for it is refused.
type Watch struct {
	// Failures are the sign-ins since that failed over MFA.
	Failures func(ctx context.Context, since time.Time) ([]Failure, error)
	// Flags are the open ones.
	Flags func(ctx context.Context) ([]OpenFlag, error)
}

// Snapshot reads the tenant anew, which may take long: it calls alive now and then, and ends
// with its error.
type Snapshot func(ctx context.Context, alive func(context.Context) error) (posture.Snapshot, error)

var (
	// ErrRefused: the plan would do harm, or cannot be judged.
	ErrRefused = errors.New("the plan is refused")
	// ErrAccept: what is to be taken upon oneself is nothing that can be.
	ErrAccept = errors.New("nothing that can be accepted")
	// ErrChanged: an object is no longer as it was planned.
	ErrChanged = errors.New("the tenant was changed meanwhile")
	// ErrStopped: a wave's stop rule struck.
	ErrStopped = errors.New("the rollout is stopped")
	// ErrNotThisPlan: a plan was changed after it was made, or is of another tenant.
	ErrNotThisPlan = errors.New("not the plan that was made")
)
