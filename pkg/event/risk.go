package event

import (
	"fmt"

	"mfaflow/pkg/identity"
)

// Risk is the data of risk.user and risk.sign-in. It is a reason to look, never
// the truth: the worker reads the risk again before it acts.
type Risk struct {
	Person identity.Reference `json:"person"`
	Level  RiskLevel          `json:"level"`
	// PreviousLevel is empty when the sender does not tell.
	PreviousLevel RiskLevel `json:"previousLevel,omitempty"`
	State         RiskState `json:"state,omitempty"`
	// Detection is the sender's name for what was seen (Graph: riskEventType).
	Detection string `json:"detection,omitempty"`
	// Detail is the sender's reason for the level (Graph: riskDetail).
	Detail string `json:"detail,omitempty"`
	// SignInID is the sign-in that risk.sign-in is about.
	SignInID string `json:"signInId,omitempty"`
}

// RiskLevel is an identity.RiskLevel that JSON can fill.
type RiskLevel identity.RiskLevel

// UnmarshalText refuses unknown levels.
func (l *RiskLevel) UnmarshalText(b []byte) error {
	return setEnum((*identity.RiskLevel)(l), b, identity.RiskNone, identity.RiskLow, identity.RiskMedium, identity.RiskHigh, identity.RiskHidden)
}

// RiskState is an identity.RiskState that JSON can fill.
type RiskState identity.RiskState

// UnmarshalText refuses unknown states.
func (s *RiskState) UnmarshalText(b []byte) error {
	return setEnum((*identity.RiskState)(s), b, identity.RiskStateNone, identity.RiskStateConfirmedSafe, identity.RiskStateRemediated,
		identity.RiskStateDismissed, identity.RiskStateAtRisk, identity.RiskStateConfirmedCompromised)
}

// Risk decodes the data of a risk.* event.
func (e Event) Risk() (Risk, error) {
	if e.Type != RiskUser && e.Type != RiskSignIn {
		return Risk{}, fmt.Errorf("%w: %s is no risk event", ErrBadData, e.Type)
	}
	return decodeData[Risk](e)
}
