package graph

import (
	"fmt"
	"strings"
	"time"
)

// Risk is what identity protection says about a person.
type Risk struct {
	Level               string     `json:"riskLevel"`
	State               string     `json:"riskState"`
	Detail              string     `json:"riskDetail,omitempty"`
	LastUpdatedDateTime *time.Time `json:"riskLastUpdatedDateTime,omitempty"`
}

func (r *Risk) validate() error {
	switch r.Level {
	case "low", "medium", "high", "hidden", "none":
	default:
		return fmt.Errorf("risk level %q does not exist", r.Level)
	}
	switch r.State {
	case "none", "confirmedSafe", "remediated", "dismissed", "atRisk", "confirmedCompromised":
		return nil
	}
	return fmt.Errorf("risk state %q does not exist", r.State)
}

// SetRisk gives a person a risk from now on, as a detection or an administrator would.
func (s *Server) SetRisk(key, level, state string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil {
		return fmt.Errorf("set risk of %s: %w", key, ErrNoSuchUser)
	}
	now := s.clock.Now().UTC()
	risk := &Risk{Level: level, State: state, Detail: "none", LastUpdatedDateTime: &now}
	if err := risk.validate(); err != nil {
		return err
	}
	u.Risk = risk
	return nil
}

// riskyUser is a person seen by identity protection.
type riskyUser struct{ *User }

func riskySchema() schema {
	return schema{collection: "identityProtection/riskyUsers", typeName: "riskyUser", defaults: []string{
		"id", "isDeleted", "isProcessing", "riskLevel", "riskState", "riskDetail", "riskLastUpdatedDateTime", "userDisplayName", "userPrincipalName",
	}}
}

func (u riskyUser) property(name string) (any, bool) {
	var risk Risk
	if u.User.Risk != nil {
		risk = *u.User.Risk
	}
	switch name {
	case "id":
		return u.ID, true
	case "isDeleted", "isProcessing":
		return false, true
	case "riskLevel":
		return risk.Level, true
	case "riskState":
		return risk.State, true
	case "riskDetail":
		if risk.Detail == "" {
			return "none", true
		}
		return risk.Detail, true
	case "riskLastUpdatedDateTime":
		return timeOrNull(risk.LastUpdatedDateTime), true
	case "userDisplayName":
		return orNull(u.DisplayName), true
	case "userPrincipalName":
		return orNull(u.UserPrincipalName), true
	}
	return nil, false
}

func (s *Server) listRiskyUsers(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	var risky []riskyUser
	for _, u := range s.dir.Users {
		if u.Risk != nil {
			risky = append(risky, riskyUser{u})
		}
	}
	return page(riskySchema(), r, q, risky, nil)
}

// getRiskyUser answers 404 for a person whom identity protection never judged.
func (s *Server) getRiskyUser(r *request) (response, error) {
	u := s.dir.byID[strings.ToLower(r.params["user"])]
	if u == nil || u.Risk == nil {
		return response{}, errNotFound(r.params["user"])
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return riskySchema().single(r, riskyUser{u}, q.selected)
}

// judgeRiskyUsers answers the three actions of an administrator, for at most 60 people
// (riskyusers-dismiss). The resulting states are inferred from the enumerations.
func (s *Server) judgeRiskyUsers(r *request) (response, error) {
	var body struct {
		UserIDs []string `json:"userIds"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if len(body.UserIDs) == 0 || len(body.UserIDs) > 60 {
		return response{}, errBadRequest("userIds must hold 1 to 60 ids.")
	}
	verdict := Risk{LastUpdatedDateTime: &r.now}
	switch r.path[len(r.path)-1] {
	case "confirmCompromised":
		verdict.Level, verdict.State, verdict.Detail = "high", "confirmedCompromised", "adminConfirmedUserCompromised"
	case "confirmSafe":
		verdict.Level, verdict.State, verdict.Detail = "none", "confirmedSafe", "adminConfirmedAccountSafe"
	default:
		verdict.Level, verdict.State, verdict.Detail = "none", "dismissed", "adminDismissedAllRiskForUser"
	}
	for _, id := range body.UserIDs {
		if s.dir.byID[strings.ToLower(id)] == nil {
			return response{}, errNotFound(id)
		}
	}
	for _, id := range body.UserIDs {
		risk := verdict
		s.dir.byID[strings.ToLower(id)].Risk = &risk
	}
	return noContent(), nil
}
