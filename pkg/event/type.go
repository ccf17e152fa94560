package event

import (
	"errors"
	"fmt"
	"strings"
)

// Type is the type of a canonical event. The zero value is invalid.
type Type string

// The closed list of event types; events/README.md describes each.
const (
	Joiner             Type = "employee.joiner"
	StartDateChanged   Type = "employee.start-date-changed"
	Mover              Type = "employee.mover"
	Leaver             Type = "employee.leaver"
	LastDayChanged     Type = "employee.last-day-changed"
	Cancelled          Type = "employee.cancelled"
	Rehire             Type = "employee.rehire"
	Ref                Type = "employee.ref"
	DeviceLost         Type = "mfa.device-lost"
	DeviceStolen       Type = "mfa.device-stolen"
	AccessLost         Type = "mfa.access-lost"
	CodesUnrequested   Type = "mfa.codes-unrequested"
	CodesNotReceived   Type = "mfa.codes-not-received"
	TemporarilyBlocked Type = "mfa.temporarily-blocked"
	Reregister         Type = "mfa.reregister"
	RequirementSet     Type = "mfa.requirement.set"
	MethodPolicy       Type = "mfa.method.policy"
	RiskUser           Type = "risk.user"
	RiskSignIn         Type = "risk.sign-in"
	AccountLocked      Type = "account.locked"
	AccountChanged     Type = "account.changed"
	SessionRevoked     Type = "session.revoked"
	CredentialChanged  Type = "credential.changed"
)

// LetIn is an operator's word, after identity proofing, that a person blocked as
// compromised may come back. It has no schema: it is never taken from outside.
const LetIn Type = "operator.let-in"

// Operator is the origin of operators' words. No source may have the name.
const Operator = "operator"

var types = [...]Type{
	Joiner, StartDateChanged, Mover, Leaver, LastDayChanged, Cancelled, Rehire, Ref,
	DeviceLost, DeviceStolen, AccessLost, CodesUnrequested, CodesNotReceived, TemporarilyBlocked, Reregister, RequirementSet, MethodPolicy,
	RiskUser, RiskSignIn, AccountLocked, AccountChanged, SessionRevoked, CredentialChanged,
}

// Types lists every event type, in the order of the catalogue.
func Types() []Type { return append([]Type(nil), types[:]...) }

// ErrUnknownType: the type is not in the catalogue.
var ErrUnknownType = errors.New("unknown event type")

// ParseType refuses every name that is not in the catalogue.
func ParseType(s string) (Type, error) {
	for _, t := range types {
		if string(t) == s {
			return t, nil
		}
	}
	return "", ErrUnknownType
}

// parseStored also knows the types that only ever come from our own queues.
func parseStored(s string) (Type, error) {
	if s == string(LetIn) {
		return LetIn, nil
	}
	return ParseType(s)
}

// Precedence orders unfinished events of one person: a strictly higher one does
// not wait behind a lower one that waits. Zero is the lowest.
func (t Type) Precedence() int {
	switch t {
	case Leaver, LastDayChanged:
		return 3
	case DeviceStolen, RiskUser, LetIn: // what waits for an operator must not hold up the operator's word
		return 2
	case Reregister, DeviceLost, AccessLost:
		return 1
	default:
		return 0
	}
}

// IsStatement reports whether the event is a statement by HR about employment.
// Statements are ordered by when HR made them.
func (t Type) IsStatement() bool {
	switch t {
	case Joiner, StartDateChanged, Leaver, LastDayChanged, Cancelled, Rehire:
		return true
	default:
		return false
	}
}

// IsRepeatable reports whether nothing is done twice when the event comes twice: it makes
// us look at the account as it is then, or tells a human. Anybody who fails to sign in
// often enough causes any number of such events.
func (t Type) IsRepeatable() bool { return t == AccountChanged || t == AccountLocked }

// TenantLane is the lane of events that are about the tenant and nobody in it. It is no
// GUID, so that it is nobody's.
const TenantLane = "tenant"

// IsTenantWide reports whether the event is about the whole tenant: its subject is the id
// of the tenant, its data names no person, and its lane is TenantLane.
func (t Type) IsTenantWide() bool { return t == MethodPolicy }

// Scope is the set of event types a source may send. An entry is a full type or
// a family such as "employee.*". A family does not hold what is tenant-wide: whoever
// reports lost phones does not thereby decide for everybody. The zero value allows nothing.
type Scope []string

// ParseScope refuses entries that match no known type.
func ParseScope(entries []string) (Scope, error) {
	for _, e := range entries {
		if !(Scope{e}).allowsAny() {
			return nil, fmt.Errorf("scope entry %q matches no event type", e)
		}
	}
	return Scope(entries), nil
}

// Allows reports whether t is in the scope.
func (s Scope) Allows(t Type) bool {
	for _, e := range s {
		family, wild := strings.CutSuffix(e, ".*")
		if e == string(t) || wild && !t.IsTenantWide() && strings.HasPrefix(string(t), family+".") {
			return true
		}
	}
	return false
}

func (s Scope) allowsAny() bool {
	for _, t := range types {
		if s.Allows(t) {
			return true
		}
	}
	return false
}
