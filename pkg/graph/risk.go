package graph

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
)

// Risk reads the person's risk. An account that the directory never judged, and one
// that does not exist, has none. The tenant needs a P2 licence, without which the
// answer is ErrForbidden.
func (c *Client) Risk(ctx context.Context, id identity.UserID) (identity.Risk, error) {
	guid, ok := objectID(string(id))
	if !ok {
		return identity.Risk{}, readRisk.refuse("user id is not a GUID")
	}
	body, err := call(ctx, c, readRisk, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, versionOne+"/identityProtection/riskyUsers/"+guid, nil)
	})
	switch {
	case errors.Is(err, identity.ErrNotFound):
		return identity.Risk{Level: identity.RiskNone, State: identity.RiskStateNone}, nil
	case err != nil:
		return identity.Risk{}, err
	}
	risk, ok := parseRisk(body)
	if !ok {
		return identity.Risk{}, readRisk.unreadable("a risk of unknown level or state")
	}
	return risk, nil
}

// parseRisk reads a riskyUser. A level or state we do not know is not taken for a
// known one.
func parseRisk(body []byte) (identity.Risk, bool) {
	var r struct {
		Level     identity.RiskLevel `json:"riskLevel"`
		State     identity.RiskState `json:"riskState"`
		UpdatedAt *time.Time         `json:"riskLastUpdatedDateTime"`
	}
	if json.Unmarshal(body, &r) != nil {
		return identity.Risk{}, false
	}
	if !knownLevel(r.Level) || !knownState(r.State) {
		return identity.Risk{}, false
	}
	return identity.Risk{Level: r.Level, State: r.State, UpdatedAt: moment(r.UpdatedAt)}, true
}

func knownLevel(l identity.RiskLevel) bool {
	switch l {
	case identity.RiskNone, identity.RiskLow, identity.RiskMedium, identity.RiskHigh, identity.RiskHidden:
		return true
	default:
		return false
	}
}

func knownState(s identity.RiskState) bool {
	switch s {
	case identity.RiskStateNone, identity.RiskStateAtRisk, identity.RiskStateConfirmedCompromised,
		identity.RiskStateConfirmedSafe, identity.RiskStateRemediated, identity.RiskStateDismissed:
		return true
	default:
		return false
	}
}
