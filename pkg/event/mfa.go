package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mfaflow/pkg/identity"
)

// MFA is the data of the mfa.* events. Which fields a type requires is in its
// schema (events/schemas).
type MFA struct {
	Person identity.Reference `json:"person"`
	// RequestedBy is who reports or asks: an object id or a user principal name.
	// The requester can never be the second approver.
	RequestedBy string `json:"requestedBy,omitempty"`
	// Ticket is the help desk's number for the case.
	Ticket string `json:"ticket,omitempty"`
	// Device is what was lost or stolen, as far as the sender knows.
	Device Device `json:"device,omitzero"`
	// Methods are the methods that the event is about. None means that the sender
	// does not know them.
	Methods []MethodRef `json:"methods,omitempty"`
	// Channel is how the codes come, or fail to come.
	Channel Channel `json:"channel,omitempty"`
	// Repeated says that the same person reported the same before.
	Repeated bool `json:"repeated,omitempty"`
	// PassRequested is an operator's wish for a pass to get by with.
	PassRequested bool `json:"passRequested,omitempty"`
	// Mode is how much an mfa.reregister event removes.
	Mode ReregisterMode `json:"mode,omitempty"`
	// RegisteredAfter bounds ReregisterSurgical.
	RegisteredAfter time.Time `json:"registeredAfter,omitzero"`
	// Requirement is the name, in the settings, of what an mfa.requirement.set event asks
	// of the person from now on.
	Requirement string `json:"requirement,omitempty"`
}

// Device names a phone or key. Either field may be empty.
type Device struct {
	// ID is the object id of the device in the directory.
	ID string `json:"id,omitempty"`
	// Name is the display name.
	Name string `json:"name,omitempty"`
}

// MethodRef names one registered method by id, or all of a kind.
type MethodRef struct {
	ID   string              `json:"id,omitempty"`
	Kind identity.MethodKind `json:"kind,omitempty"`
}

// Channel is how a code travels. The zero value is invalid.
type Channel string

// The channels a code can take.
const (
	ChannelSMS   Channel = "sms"
	ChannelVoice Channel = "voice"
	ChannelPush  Channel = "push"
	ChannelMail  Channel = "mail"
)

// UnmarshalText refuses unknown channels.
func (c *Channel) UnmarshalText(b []byte) error {
	return setEnum(c, b, ChannelSMS, ChannelVoice, ChannelPush, ChannelMail)
}

// ReregisterMode is how much a re-registration removes. The zero value is invalid.
type ReregisterMode string

const (
	// ReregisterFull removes every method.
	ReregisterFull ReregisterMode = "full"
	// ReregisterSurgical removes what was registered after a moment, such as the
	// start of an intrusion.
	ReregisterSurgical ReregisterMode = "surgical"
	// ReregisterNamed removes the methods that the event names.
	ReregisterNamed ReregisterMode = "named"
)

// UnmarshalText refuses unknown modes.
func (m *ReregisterMode) UnmarshalText(b []byte) error {
	return setEnum(m, b, ReregisterFull, ReregisterSurgical, ReregisterNamed)
}

// MFA decodes the data of an mfa.* event.
func (e Event) MFA() (MFA, error) {
	if !strings.HasPrefix(string(e.Type), "mfa.") {
		return MFA{}, fmt.Errorf("%w: %s is no MFA event", ErrBadData, e.Type)
	}
	return decodeData[MFA](e)
}

// PolicyChange is the data of mfa.method.policy.
type PolicyChange struct {
	RequestedBy string `json:"requestedBy"`
	Ticket      string `json:"ticket,omitempty"`
	// Policy is the part of a policy file that lives in the authentication methods policy,
	// which package policy reads.
	Policy json.RawMessage `json:"policy"`
	// Digest is that of the plan of this file which somebody has reviewed; empty when
	// nobody has.
	Digest string `json:"digest,omitempty"`
}

// PolicyChange decodes the data of mfa.method.policy.
func (e Event) PolicyChange() (PolicyChange, error) {
	if e.Type != MethodPolicy {
		return PolicyChange{}, fmt.Errorf("%w: %s is no change of the policy", ErrBadData, e.Type)
	}
	return decodeData[PolicyChange](e)
}
