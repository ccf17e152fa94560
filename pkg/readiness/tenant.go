package readiness

import (
	"context"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/sweep"
)

// Tenant is read in bulk: every request is for many people. *graph.Client implements it.
//
// A list is read page by page; the first one has no link, and the last has no Next.
// sweep.ErrResync means that the directory no longer knows the link. What the app may not
// read, or the tenant's licence does not hold, is identity.ErrForbidden or
// identity.ErrRefused; *identity.RetryError says when to come again.
type Tenant interface {
	People
	Reports
	Policies
}

// People is the directory.
type People interface {
	Organization(ctx context.Context) (posture.Tenant, error)
	// CountUsers is about how many people there are.
	CountUsers(ctx context.Context) (int, error)
	// People have neither registrations nor states nor roles nor sign-ins.
	People(ctx context.Context, link string) (sweep.Page[posture.Person], error)
	PerUserMFA(ctx context.Context, link string) (sweep.Page[PerUserState], error)
	RoleAssignments(ctx context.Context, link string) (sweep.Page[RoleAssignment], error)
	RoleEligibilities(ctx context.Context, link string) (sweep.Page[RoleAssignment], error)
	RoleDefinitions(ctx context.Context, link string) (sweep.Page[Named], error)
	// GroupName is identity.ErrNotFound for an id that is no group's.
	GroupName(ctx context.Context, group string) (string, error)
	// GroupMembers are the people in a group and in the groups in it.
	GroupMembers(ctx context.Context, group, link string) (sweep.Page[identity.UserID], error)
	Principals(ctx context.Context, link string) (sweep.Page[posture.Principal], error)
}

// Reports are what Microsoft allows few requests for.
type Reports interface {
	RegistrationDetails(ctx context.Context, link string) (sweep.Page[Registered], error)
	EnforcedSignIns(ctx context.Context, q SignInQuery, link string) (sweep.Page[SignIn], error)
	LastSignIns(ctx context.Context, link string) (sweep.Page[LastSignIns], error)
}

// Policies are the tenant's.
type Policies interface {
	ConditionalPolicies(ctx context.Context, link string) (sweep.Page[posture.ConditionalPolicy], error)
	Strengths(ctx context.Context, link string) (sweep.Page[posture.Strength], error)
	MethodsPolicy(ctx context.Context) (posture.MethodsPolicy, error)
	SecurityDefaults(ctx context.Context) (bool, error)
	// GuestTrust is whether the MFA of other tenants counts by default, PartnerTrusts the
	// tenants that have a setting of their own.
	GuestTrust(ctx context.Context) (posture.Answer, error)
	PartnerTrusts(ctx context.Context, link string) (sweep.Page[PartnerTrust], error)
	// Federation is whose MFA counts of a federated domain's people.
	Federation(ctx context.Context, domain string) (posture.FederatedMFA, error)
}

// PartnerTrust is whether the MFA of a tenant counts.
type PartnerTrust struct {
	Tenant string         `json:"tenant"`
	Counts posture.Answer `json:"counts"`
}

// PerUserState is somebody's state of per-user MFA.
type PerUserState struct {
	User  identity.UserID    `json:"user"`
	State posture.PerUserMFA `json:"state"`
}

// RoleAssignment gives a role to a person or to a group.
type RoleAssignment struct {
	// Principal is the id of a user, a group or a service principal.
	Principal  string `json:"principal"`
	Definition string `json:"definition"`
	// Scoped is true for an assignment over a part of the directory.
	Scoped bool `json:"scoped,omitempty"`
}

// Named is an object with its display name.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Registered is what the report of registrations says of somebody.
type Registered struct {
	User         identity.UserID      `json:"user"`
	Registration posture.Registration `json:"registration"`
}

// SignInQuery asks for the sign-ins to one application.
type SignInQuery struct {
	AppID string
	// Interactive asks for those with the person there, otherwise for those without.
	Interactive  bool
	Since, Until time.Time
}

// SignIn is one attempt.
type SignIn struct {
	// User is empty for a name that nobody has.
	User     identity.UserID
	At       time.Time
	Protocol posture.Protocol
	Client   string
	// Succeeded: it was let in, or would have been but for MFA or a policy.
	Succeeded bool
}

// LastSignIns are somebody's last sign-ins to anything; zero when there was none.
type LastSignIns struct {
	User        identity.UserID `json:"user"`
	Interactive time.Time       `json:"interactive,omitzero"`
	Background  time.Time       `json:"background,omitzero"`
}
