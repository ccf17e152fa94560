package sweep

import (
	"context"
	"errors"
	"time"

	"mfaflow/pkg/identity"
)

// ErrResync: the directory no longer knows where we were (410 Gone, or the link's own
// error). After a delta link, what changed since can only be found by reading
// everything; after any other, the list begins again.
var ErrResync = errors.New("the directory no longer knows the link; the reading begins again")

// ErrQuota: the directory takes no further subscription of ours.
var ErrQuota = errors.New("subscription quota exhausted")

// Subscription is a standing order for change notifications
// (learn.microsoft.com/graph/api/resources/subscription).
type Subscription struct {
	ID string
	// Resource is what is watched, such as "users".
	Resource string
	// ChangeType is a comma-separated list of updated and deleted.
	ChangeType string
	// NotificationURL and LifecycleURL are ours. The second cannot be changed later.
	NotificationURL, LifecycleURL string
	// ClientState is a secret that every notification repeats; empty in what is listed.
	ClientState identity.Secret
	ExpiresAt   time.Time
}

// Subscriptions is what the directory is asked to tell by itself. Its errors are
// those of package identity, and ErrQuota.
type Subscriptions interface {
	// Subscriptions are those of our app in our tenant.
	Subscriptions(context.Context) ([]Subscription, error)
	// Subscribe answers only after both URLs have passed the directory's validation.
	// The answer is the subscription with its id and the expiry that was granted.
	Subscribe(context.Context, Subscription) (Subscription, error)
	// Renew moves the expiry, which also authorises the subscription again.
	// identity.ErrNotFound: it is gone.
	Renew(ctx context.Context, id string, until time.Time) (Subscription, error)
	// Unsubscribe removes it; one that is gone already is removed.
	Unsubscribe(ctx context.Context, id string) error
}

// Page is one page of an answer. At most one of the links is set; with neither, the
// answer ends here.
type Page[T any] struct {
	Items []T
	// Next is the link to the next page, Delta that to what changes from here on. Both
	// are followed verbatim.
	Next, Delta string
}

// Change is one user in the answer of a delta query.
type Change struct {
	ID identity.UserID
	// Removed users are deleted, whether they can be restored or not.
	Removed bool
	// Enabled is nil when the answer does not tell.
	Enabled *bool
}

// RiskyUser is the risk that the directory sees for a user now
// (learn.microsoft.com/graph/api/resources/riskyuser).
//
// A level or state that we do not know is RiskHidden or RiskStateAtRisk, here and in
// Detection: the cautious ones, until the risk is read again by whoever acts.
type RiskyUser struct {
	ID        identity.UserID
	Level     identity.RiskLevel
	State     identity.RiskState
	Detail    string
	UpdatedAt time.Time
	// Deleted accounts and those whose risk is being computed are skipped.
	Deleted, Processing bool
}

// Detection is one thing that looked risky
// (learn.microsoft.com/graph/api/resources/riskdetection).
type Detection struct {
	ID string
	// UserID is empty when the detection is about nobody in particular.
	UserID   identity.UserID
	Kind     string // riskEventType, an open list
	Activity string // signin or user
	Level    identity.RiskLevel
	State    identity.RiskState
	Detail   string
	// SignInID is the request id of the sign-in; empty for what is no sign-in.
	SignInID              string
	DetectedAt, UpdatedAt time.Time
}

// SignIn is a sign-in that failed (learn.microsoft.com/graph/api/resources/signin).
type SignIn struct {
	ID string
	// UserID is empty for a name that nobody has.
	UserID identity.UserID
	At     time.Time
	// Code is status.errorCode; Reason and Details are status.failureReason and
	// status.additionalDetails, texts of Microsoft's that event.ClassifySignIn reads.
	Code            int
	Reason, Details string
	// App is the display name of the application.
	App string
}

// Employment is what the directory knows of when somebody comes and goes.
type Employment struct {
	ID         identity.UserID
	EmployeeID string
	// HireDate and LeaveAt are instants, as the directory keeps them; zero when unset.
	HireDate, LeaveAt time.Time
	Enabled           bool
	CreatedAt         time.Time
}

// Deleted is a user that can still be restored.
type Deleted struct {
	ID identity.UserID
	At time.Time
}

// Directory is what only answers when it is asked. Every method reads one page: link
// is empty for the first, and Page.Next of the page before for any other, with the same
// other arguments. Errors are those of package identity, and ErrResync for a link that is
// too old; identity.ErrForbidden also stands for a licence that the tenant lacks.
type Directory interface {
	// Changes are those of users since a link of an earlier round (Page.Delta), or
	// everybody there is for an empty one. A user may come more than once.
	Changes(ctx context.Context, link string) (Page[Change], error)
	// ChangesFromNow is the link to begin with, without reading anybody.
	ChangesFromNow(context.Context) (link string, err error)
	// DeletedUsers are those deleted since.
	DeletedUsers(ctx context.Context, since time.Time, link string) (Page[Deleted], error)
	// RiskyUsers are those whose risk was updated since.
	RiskyUsers(ctx context.Context, since time.Time, link string) (Page[RiskyUser], error)
	// Detections are those that were detected since.
	Detections(ctx context.Context, since time.Time, link string) (Page[Detection], error)
	// FailedSignIns are those with an error code, from since until before until.
	FailedSignIns(ctx context.Context, code int, since, until time.Time, link string) (Page[SignIn], error)
	// Hires are the members whose employeeHireDate is in [from, to), Leavers those whose
	// employeeLeaveDateTime is. Hires leave LeaveAt out: it needs a permission of its own.
	Hires(ctx context.Context, from, to time.Time, link string) (Page[Employment], error)
	Leavers(ctx context.Context, from, to time.Time, link string) (Page[Employment], error)
	// Employment is that of one user. identity.ErrNotFound: there is no such user.
	// identity.ErrForbidden: the day of leaving is hidden from us; it is never told as none.
	Employment(ctx context.Context, id identity.UserID) (Employment, error)
}
