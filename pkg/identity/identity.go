// Package identity holds the nouns of a directory: people's accounts, their
// authentication methods and their Temporary Access Passes.
//
// It imports the standard library only and knows no queue, no Graph SDK and no
// configuration.
package identity

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// UserID is the object id of a user in the directory, in lower case.
type UserID string

// IsGUID reports whether s has the form of an object id, in either case.
func IsGUID(s string) bool {
	const form = "00000000-0000-0000-0000-000000000000"
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		if form[i] == '-' && s[i] != '-' || form[i] != '-' && !strings.Contains("0123456789abcdefABCDEF", s[i:i+1]) {
			return false
		}
	}
	return true
}

// Reference is what a sender says about who a person is. Every identifier that
// is present must agree on one account.
type Reference struct {
	ObjectID          string `json:"objectId,omitempty"`
	EmployeeID        string `json:"employeeId,omitempty"`
	UserPrincipalName string `json:"userPrincipalName,omitempty"`
	Mail              string `json:"mail,omitempty"`
}

// IsZero reports whether the reference names nobody.
func (r Reference) IsZero() bool { return r == Reference{} }

// Account is a directory user as read at one moment.
type Account struct {
	ID                UserID
	UserPrincipalName string
	DisplayName       string
	// Mail is empty when the account has no mailbox.
	Mail       string
	EmployeeID string
	// OtherMails are the alternate (personal) addresses in the directory.
	OtherMails []string
	Enabled    bool
	// Guest is true for userType Guest; External for accounts whose credentials
	// live in another tenant (B2B), who can never have a Temporary Access Pass.
	Guest    bool
	External bool
	// Synced accounts are owned by an on-premises directory.
	Synced    bool
	CreatedAt time.Time
	// LastSignIn is zero when the account never signed in, or when the directory
	// does not tell (no licence, no permission).
	LastSignIn time.Time
	// SessionsValidFrom is the time since which sign-in sessions count: what
	// revoking sessions moves. LastPasswordChange is when the password was last set.
	// Both are zero when the directory does not tell.
	SessionsValidFrom  time.Time
	LastPasswordChange time.Time
}

// Matches reports whether every identifier of r that the account can answer for
// agrees with the account, and whether at least one identifier matched. An
// attribute that the directory has not filled yet cannot disagree.
func (a Account) Matches(r Reference) (agrees, matched bool) {
	agrees = true
	for _, p := range []struct{ said, is string }{
		{r.ObjectID, string(a.ID)},
		{r.EmployeeID, a.EmployeeID},
		{r.UserPrincipalName, a.UserPrincipalName},
		{r.Mail, a.Mail},
	} {
		switch {
		case p.said == "" || p.is == "":
		case strings.EqualFold(p.said, p.is):
			matched = true
		default:
			agrees = false
		}
	}
	return agrees, matched
}

// Pass is a Temporary Access Pass without its value, which the directory tells
// once, to whoever issues it.
type Pass struct {
	ID        string
	CreatedAt time.Time
	StartsAt  time.Time
	Lifetime  time.Duration
	OneTime   bool
	// Usable is the directory's own word that the pass works now.
	Usable bool
	// Spent is the directory's word that the pass can never be used again
	// (expired or used once).
	Spent bool
}

// EndsAt is the moment the pass stops working.
func (p Pass) EndsAt() time.Time { return p.StartsAt.Add(p.Lifetime) }

// PassRequest asks for a pass. Graph takes whole minutes.
type PassRequest struct {
	// StartsAt is when the pass opens; zero means at once.
	StartsAt time.Time
	Lifetime time.Duration
	OneTime  bool
}

// IssuedPass is a pass and its value, fresh from the directory.
type IssuedPass struct {
	Pass
	Value Secret
}

// PassPolicy is the tenant's policy for Temporary Access Passes.
type PassPolicy struct {
	Enabled         bool
	MinLifetime     time.Duration
	MaxLifetime     time.Duration
	DefaultLifetime time.Duration
	// OneTime means that every pass works once, whatever was asked for.
	OneTime bool
	// IncludeAll is true when the policy names all users; otherwise a user needs
	// a group of IncludeGroups. Exclusion wins.
	IncludeAll    bool
	IncludeGroups []string
	ExcludeGroups []string
	IncludeUsers  []string
	ExcludeUsers  []string
}

// Covers reports whether a person, member of groups directly or through other
// groups, may sign in with a pass under the policy.
func (p PassPolicy) Covers(id UserID, groups []string) bool {
	if !p.Enabled || anyFold(p.ExcludeUsers, string(id)) {
		return false
	}
	included := p.IncludeAll || anyFold(p.IncludeUsers, string(id))
	for _, g := range groups {
		if anyFold(p.ExcludeGroups, g) {
			return false
		}
		included = included || anyFold(p.IncludeGroups, g)
	}
	return included
}

func anyFold(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// Protection says why an account may not be changed without two people.
type Protection struct {
	// Roles are the display names of directory roles held now.
	Roles []string
	// EligibleRoles are the roles the person can activate (PIM).
	EligibleRoles []string
	// RoleAssignableGroups are groups that can carry roles and hold the person.
	RoleAssignableGroups []string
}

// Membership is what group membership says about a person, read transitively.
type Membership struct {
	// Groups are the object ids of every group, direct or nested.
	Groups []string
	// RoleAssignable are the display names of those that can carry roles.
	RoleAssignable []string
}

// Secret is a value that must never be seen: it prints, logs and marshals as
// asterisks. Reveal is the one way to read it.
type Secret struct {
	// A pointer, because fmt prints unexported fields without asking their methods.
	value *string
}

// NewSecret hides v.
func NewSecret(v string) Secret { return Secret{value: &v} }

// Reveal returns the hidden value; empty for the zero Secret.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

const hidden = "*****"

func (Secret) String() string               { return hidden }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (Secret) GoString() string             { return hidden }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalText hides what configuration says.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}

// ErrNotFound: the directory has no such user (or no such object of the user).
// A user without a manager is ErrNotFound as well.
var ErrNotFound = errors.New("not found in the directory")

// ErrForbidden: our app lacks a permission or directory role. Only an
// administrator can cure it.
var ErrForbidden = errors.New("the directory refuses our app")

// ErrRefused: the directory understood and refuses, for a reason that a retry
// cannot change (policy, invalid value, external guest).
var ErrRefused = errors.New("the directory refuses the request")

// RetryError is a failure that time may cure: throttling, 5xx, a cut connection.
type RetryError struct {
	// After is how long the directory asked us to wait; zero when it did not say.
	After time.Duration
	// Unknown is true when a write may have taken effect all the same.
	Unknown bool
	Err     error
}

func (e *RetryError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("directory unavailable for %s: %v", e.After, e.Err)
	}
	return fmt.Sprintf("directory unavailable: %v", e.Err)
}

func (e *RetryError) Unwrap() error { return e.Err }

// RetryAfter is the wait that the Retry-After header of an answer asks for, in
// seconds or as an HTTP date (RFC 9110 section 10.2.3), at most the given one; zero
// when there is none, or one that is past or unreadable.
func RetryAfter(h http.Header, now time.Time, most time.Duration) time.Duration {
	value := h.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The sender's own clock, when it shows it, spares us the skew.
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return max(0, min(at.Sub(now), most))
}
