package identity

import "time"

// RiskLevel is Graph's riskLevel of a risky user. The zero value is invalid.
type RiskLevel string

// The levels of Graph's riskyUser. Hidden is what a tenant without the licence sees.
const (
	RiskNone   RiskLevel = "none"
	RiskLow    RiskLevel = "low"
	RiskMedium RiskLevel = "medium"
	RiskHigh   RiskLevel = "high"
	RiskHidden RiskLevel = "hidden"
)

// RiskState is Graph's riskState of a risky user. The zero value is invalid.
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

// Risk is the risk of a user as the directory sees it now. A user it has no record
// of has RiskNone and RiskStateNone.
type Risk struct {
	Level     RiskLevel
	State     RiskState
	UpdatedAt time.Time
}

// Active reports whether the risk stands: it was not dismissed, remediated or
// confirmed safe. A state we do not know counts as standing.
func (r Risk) Active() bool {
	switch r.State {
	case RiskStateNone, RiskStateConfirmedSafe, RiskStateRemediated, RiskStateDismissed:
		return false
	default:
		return r.Level != RiskNone
	}
}
