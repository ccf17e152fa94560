package event

import (
	"fmt"
	"time"

	"mfaflow/pkg/identity"
)

// Lockout is the data of account.locked.
type Lockout struct {
	Person identity.Reference `json:"person"`
	Cause  LockCause          `json:"cause"`
	// UnlockAt is when the lock ends by itself; zero when the sender does not know.
	UnlockAt time.Time `json:"unlockAt,omitzero"`
	// Detail is the sender's own code or text for the cause.
	Detail string `json:"detail,omitempty"`
}

// LockCause is why somebody cannot sign in. The zero value is invalid.
type LockCause string

// The causes of a lock. LockUnknown is for a sender that sees the lock alone.
const (
	LockSmartLockout      LockCause = "smartLockout"
	LockTooManyAttempts   LockCause = "tooManyAttempts"
	LockOnPremises        LockCause = "onPremises"
	LockMaliciousAddress  LockCause = "maliciousAddress"
	LockDisabled          LockCause = "disabled"
	LockRisk              LockCause = "risk"
	LockConditionalAccess LockCause = "conditionalAccess"
	LockPassUnusable      LockCause = "passUnusable"
	LockNoUsableMethod    LockCause = "noUsableMethod"
	LockUnknown           LockCause = "unknown"
)

// UnmarshalText refuses unknown causes.
func (c *LockCause) UnmarshalText(b []byte) error {
	return setEnum(c, b, LockSmartLockout, LockTooManyAttempts, LockOnPremises, LockMaliciousAddress, LockDisabled,
		LockRisk, LockConditionalAccess, LockPassUnusable, LockNoUsableMethod, LockUnknown)
}

// Lockout decodes the data of account.locked.
func (e Event) Lockout() (Lockout, error) {
	if e.Type != AccountLocked {
		return Lockout{}, fmt.Errorf("%w: %s is no lockout", ErrBadData, e.Type)
	}
	return decodeData[Lockout](e)
}

// AccountUpdate is the data of account.changed. It does not say what changed: the
// worker compares the account with what we wrote last.
type AccountUpdate struct {
	Person identity.Reference `json:"person"`
	Change AccountChange      `json:"change"`
}

// AccountChange is the changeType of a Graph notification. The zero value is invalid.
type AccountChange string

// Graph offers no "created" for users: a creation is an update.
const (
	AccountUpdated AccountChange = "updated"
	AccountDeleted AccountChange = "deleted"
)

// UnmarshalText refuses unknown changes.
func (c *AccountChange) UnmarshalText(b []byte) error {
	return setEnum(c, b, AccountUpdated, AccountDeleted)
}

// AccountUpdate decodes the data of account.changed.
func (e Event) AccountUpdate() (AccountUpdate, error) {
	if e.Type != AccountChanged {
		return AccountUpdate{}, fmt.Errorf("%w: %s is no account change", ErrBadData, e.Type)
	}
	return decodeData[AccountUpdate](e)
}

// Revocation is the data of session.revoked (CAEP session-revoked).
type Revocation struct {
	Person identity.Reference `json:"person"`
	// InitiatedBy is empty when the sender does not tell.
	InitiatedBy Initiator `json:"initiatedBy,omitempty"`
	// Reason is free text from outside: show it, never render it.
	Reason string `json:"reason,omitempty"`
}

// Initiator is CAEP's initiating_entity. The zero value is invalid.
type Initiator string

// The initiating entities of CAEP 1.0.
const (
	InitiatedByAdmin  Initiator = "admin"
	InitiatedByUser   Initiator = "user"
	InitiatedByPolicy Initiator = "policy"
	InitiatedBySystem Initiator = "system"
)

// UnmarshalText refuses unknown initiators.
func (i *Initiator) UnmarshalText(b []byte) error {
	return setEnum(i, b, InitiatedByAdmin, InitiatedByUser, InitiatedByPolicy, InitiatedBySystem)
}

// Revocation decodes the data of session.revoked.
func (e Event) Revocation() (Revocation, error) {
	if e.Type != SessionRevoked {
		return Revocation{}, fmt.Errorf("%w: %s is no revocation", ErrBadData, e.Type)
	}
	return decodeData[Revocation](e)
}

// CredentialUpdate is the data of credential.changed (CAEP credential-change).
type CredentialUpdate struct {
	Person identity.Reference `json:"person"`
	// Credential is CAEP's credential_type, an open list.
	Credential  string           `json:"credential"`
	Change      CredentialChange `json:"change"`
	InitiatedBy Initiator        `json:"initiatedBy,omitempty"`
	// Reason is free text from outside: show it, never render it.
	Reason string `json:"reason,omitempty"`
}

// CredentialChange is CAEP's change_type. The zero value is invalid.
type CredentialChange string

// The change types of CAEP 1.0.
const (
	CredentialCreated CredentialChange = "create"
	CredentialRevoked CredentialChange = "revoke"
	CredentialUpdated CredentialChange = "update"
	CredentialDeleted CredentialChange = "delete"
)

// UnmarshalText refuses unknown changes.
func (c *CredentialChange) UnmarshalText(b []byte) error {
	return setEnum(c, b, CredentialCreated, CredentialRevoked, CredentialUpdated, CredentialDeleted)
}

// CredentialUpdate decodes the data of credential.changed.
func (e Event) CredentialUpdate() (CredentialUpdate, error) {
	if e.Type != CredentialChanged {
		return CredentialUpdate{}, fmt.Errorf("%w: %s is no credential change", ErrBadData, e.Type)
	}
	return decodeData[CredentialUpdate](e)
}
