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

// RiskLevel is Graph's riskLevel. The zero value is invalid.
type RiskLevel string

// The levels of Graph's riskyUser. Hidden is what a tenant without the licence sees.
const (
	RiskNone   RiskLevel = "none"
	RiskLow    RiskLevel = "low"
	RiskMedium RiskLevel = "medium"
	RiskHigh   RiskLevel = "high"
	RiskHidden RiskLevel = "hidden"
)

// UnmarshalText refuses unknown levels.
func (l *RiskLevel) UnmarshalText(b []byte) error {
	return setEnum(l, b, RiskNone, RiskLow, RiskMedium, RiskHigh, RiskHidden)
}

// RiskState is Graph's riskState. The zero value is invalid.
type RiskState string

// The states of Graph's riskyUser.
const (
	RiskStateNone                 RiskState = "none"
	RiskStateConfirmedSafe        RiskState = "confirmedSafe"
	RiskStateRemediated           RiskState = "remediated"
	RiskStateDismissed            RiskState = "dismissed"
	RiskStateAtRisk               RiskState = "atRisk"
	RiskStateConfirmedCompromised RiskState = "confirmedCompromised"
)

// UnmarshalText refuses unknown states.
func (s *RiskState) UnmarshalText(b []byte) error {
	return setEnum(s, b, RiskStateNone, RiskStateConfirmedSafe, RiskStateRemediated, RiskStateDismissed,
		RiskStateAtRisk, RiskStateConfirmedCompromised)
}

// Risk decodes the data of a risk.* event.
func (e Event) Risk() (Risk, error) {
	if e.Type != RiskUser && e.Type != RiskSignIn {
		return Risk{}, fmt.Errorf("%w: %s is no risk event", ErrBadData, e.Type)
	}
	return decodeData[Risk](e)
}
