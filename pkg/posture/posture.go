// Package posture holds what decides whether a person of a tenant can pass multi-factor
// authentication (MFA) when it is asked for: the people, what they have registered, the
// policies that ask, and Microsoft's own enforcement. Evaluate says who will be blocked,
// who will be prompted to register and who is fine; With says it of another set of
// policies.
//
// It is pure: it reads no clock, no network and no configuration, and knows no Graph. A
// fact that is not known is said to be unknown and is judged the strict way.
package posture

import (
	"time"

	"mfaflow/pkg/identity"
)

// Answer is what is known about a yes-or-no question. Anything but Yes and No, the zero
// value included, counts as Unknown.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// AnswerOf is Yes or No.
func AnswerOf(b bool) Answer {
	if b {
		return Yes
	}
	return No
}

// and is No if either is, and Yes if both are.
func (a Answer) and(b Answer) Answer {
	switch {
	case a == No || b == No:
		return No
	case a == Yes && b == Yes:
		return Yes
	default:
		return Unknown
	}
}

// or is Yes if either is, and No if both are.
func (a Answer) or(b Answer) Answer {
	switch {
	case a == Yes || b == Yes:
		return Yes
	case a == No && b == No:
		return No
	default:
		return Unknown
	}
}

// Snapshot is a tenant as read at about one time. Ids are in lower case throughout.
type Snapshot struct {
	TakenAt time.Time `json:"takenAt"`
	Tenant  Tenant    `json:"tenant"`
	People  []Person  `json:"people"`
	// Policies are what asks for MFA and what may answer it.
	Policies Policies `json:"policies"`
	// Groups are those that policies and role assignments name, by id. A group that is
	// named and not here is unknown.
	Groups map[string]Group `json:"groups"`
	// Roles are the display names of role definitions by id; built-in roles have the id
	// of their template, which is what Conditional Access names.
	Roles map[string]string `json:"roles"`
	// Principals are the workload identities, which enforcement leaves alone.
	Principals []Principal `json:"principals"`
	// SignInsSince is the beginning of the sign-in log that was read.
	SignInsSince time.Time `json:"signInsSince"`
	// BreakGlass are the emergency access accounts as configured.
	BreakGlass []identity.UserID `json:"breakGlass"`
	// Gaps are the facts that could not be read.
	Gaps []Gap `json:"gaps"`
}

// Tenant is the organization.
type Tenant struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	// CreatedAt is zero when it is not known.
	CreatedAt time.Time `json:"createdAt"`
	// Federated are the domains whose people sign in at another identity provider.
	Federated []string `json:"federated,omitempty"`
}

// Fact names a part of the snapshot that may be missing. The zero value is invalid.
type Fact string

// The facts.
const (
	FactTenant           Fact = "tenant"
	FactRegistrations    Fact = "registrations"
	FactPerUserMFA       Fact = "per-user-mfa"
	FactLastSignIns      Fact = "last-sign-ins"
	FactSignIns          Fact = "interactive-sign-ins"
	FactBackground       Fact = "non-interactive-sign-ins"
	FactRoles            Fact = "roles"
	FactEligibleRoles    Fact = "eligible-roles"
	FactGroups           Fact = "groups"
	FactConditional      Fact = "conditional-access"
	FactStrengths        Fact = "authentication-strengths"
	FactMethodsPolicy    Fact = "methods-policy"
	FactSecurityDefaults Fact = "security-defaults"
	FactPrincipals       Fact = "service-principals"
	FactGuestTrust       Fact = "cross-tenant-access"
	FactFederation       Fact = "domain-federation"
)

// Gap is a fact that could not be read.
type Gap struct {
	Fact Fact `json:"fact"`
	// Why is for people to read.
	Why string `json:"why"`
}

// Missing reports whether the fact could not be read.
func (s Snapshot) Missing(f Fact) bool {
	for _, g := range s.Gaps {
		if g.Fact == f {
			return true
		}
	}
	return false
}

// Kind says what sort of account a person has. The zero value is invalid.
type Kind string

// The kinds of accounts that a tenant has objects for. Conditional Access tells guests
// and external users apart by them (conditionalAccessGuestsOrExternalUsers).
const (
	Member         Kind = "member"
	InternalGuest  Kind = "internal-guest"
	ExternalGuest  Kind = "external-guest"
	ExternalMember Kind = "external-member"
	// UnknownKind is for an account whose type the directory does not tell.
	UnknownKind Kind = "unknown"
)

// External reports whether the credentials live in another tenant.
func (k Kind) External() bool { return k == ExternalGuest || k == ExternalMember }

// Person is one user object.
type Person struct {
	ID                identity.UserID `json:"id"`
	UserPrincipalName string          `json:"userPrincipalName"`
	DisplayName       string          `json:"displayName"`
	Department        string          `json:"department,omitempty"`
	Kind              Kind            `json:"kind"`
	Enabled           bool            `json:"enabled"`
	Synced            bool            `json:"synced,omitempty"`
	CreatedAt         time.Time       `json:"createdAt,omitzero"`
	// HomeTenant is whether the credentials of an external person are in another tenant of
	// Entra, and not with Google, a mailbox or the like.
	HomeTenant Answer `json:"homeTenant,omitempty"`

	Registration Registration `json:"registration"`
	PerUserMFA   PerUserMFA   `json:"perUserMfa"`
	Roles        []Role       `json:"roles,omitempty"`

	// LastInteractive and LastBackground are the last sign-ins to anything, with the
	// person there and without; zero when there was none or it is not known.
	LastInteractive time.Time `json:"lastInteractive,omitzero"`
	LastBackground  time.Time `json:"lastBackground,omitzero"`
	// SignIns are those to enforced applications.
	SignIns []SignIns `json:"signIns,omitempty"`
}

// Registration is what the directory's report says about a person's methods. It lags by
// hours.
type Registration struct {
	// Known is false when the report does not have the person.
	Known   bool     `json:"known"`
	Methods []Method `json:"methods,omitempty"`
	// Capable is the report's own word that a registered method is allowed by policy.
	Capable Answer `json:"capable,omitempty"`
	// Default is the preferred second factor as the report spells it.
	Default         string    `json:"default,omitempty"`
	SystemPreferred bool      `json:"systemPreferred,omitempty"`
	UpdatedAt       time.Time `json:"updatedAt,omitzero"`
}

// PerUserMFA is the state of per-user MFA. The zero value counts as unknown.
type PerUserMFA string

// The states (Entra, howto-mfa-userstates).
const (
	PerUserDisabled PerUserMFA = "disabled"
	PerUserEnabled  PerUserMFA = "enabled"
	PerUserEnforced PerUserMFA = "enforced"
	PerUserUnknown  PerUserMFA = "unknown"
)

// required: both states ask for MFA, or for its registration, at the next sign-in.
func (p PerUserMFA) required() Answer {
	switch p {
	case PerUserDisabled:
		return No
	case PerUserEnabled, PerUserEnforced:
		return Yes
	default:
		return Unknown
	}
}

// Role is a directory role that a person holds or can activate.
type Role struct {
	// Definition is the id of the role definition.
	Definition string `json:"definition"`
	// Active is false for a role that the person can activate (PIM).
	Active bool `json:"active"`
	// Via is the group through which the person has it; empty for a direct assignment.
	Via string `json:"via,omitempty"`
	// Scoped roles are for a part of the directory only; Conditional Access does not see
	// them.
	Scoped bool `json:"scoped,omitempty"`
}

// SignIns sums up a person's sign-ins to one application in one way.
type SignIns struct {
	AppID string `json:"appId"`
	// Interactive is false for sign-ins that a client made on the person's behalf.
	Interactive bool     `json:"interactive"`
	Protocol    Protocol `json:"protocol"`
	// Client is the kind of client as the log spells it.
	Client string    `json:"client,omitempty"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Count  int       `json:"count"`
	// Succeeded counts those that were let in, or would have been but for MFA or a policy. A
	// client that only ever names a wrong password shows nothing about the person.
	Succeeded int `json:"succeeded"`
}

// Protocol is how a client got its token. The zero value is invalid.
type Protocol string

// The protocols that matter here.
const (
	// ROPC: the client knows the password and shows no page (resource owner password
	// credentials), so nobody can answer a prompt.
	ROPC          Protocol = "ropc"
	OtherProtocol Protocol = "other"
	// UnknownProtocol: it may be ROPC, or not.
	UnknownProtocol Protocol = "unknown"
)

// Group is a group with everybody in it, nested ones included.
type Group struct {
	DisplayName string `json:"displayName"`
	// Members are the people in it, directly or through other groups.
	Members []identity.UserID `json:"members"`
}

// Principal is a service principal: an application or a managed identity.
type Principal struct {
	ID          string        `json:"id"`
	AppID       string        `json:"appId"`
	DisplayName string        `json:"displayName"`
	Kind        PrincipalKind `json:"kind"`
	Enabled     bool          `json:"enabled"`
}

// PrincipalKind is the servicePrincipalType. A kind outside the list is kept as the
// directory spells it.
type PrincipalKind string

// The kinds that readiness tells apart.
const (
	Application     PrincipalKind = "Application"
	ManagedIdentity PrincipalKind = "ManagedIdentity"
)
