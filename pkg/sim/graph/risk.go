package graph

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Risk is what identity protection says about a person.
type Risk struct {
	Level               string     `json:"riskLevel"`
	State               string     `json:"riskState"`
	Detail              string     `json:"riskDetail,omitempty"`
	LastUpdatedDateTime *time.Time `json:"riskLastUpdatedDateTime,omitempty"`
	Processing          bool       `json:"isProcessing,omitempty"` // it is being computed anew
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
	case "isDeleted":
		return u.deletedAt != nil, true
	case "isProcessing":
		return risk.Processing, true
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
	if s.dir.Behaviour.Licence != LicenceP2 {
		return response{}, errLicence()
	}
	// The sizes of pages are documented for riskDetections only.
	q, err := queryRules{page: 20, largest: 500, options: []string{"$top", "$skiptoken", "$filter", "$select", "$orderby", "$count"}}.parse(r)
	if err != nil {
		return response{}, err
	}
	var risky []riskyUser
	for _, u := range slices.Concat(s.dir.Users, s.dir.deleted) {
		if u.Risk != nil {
			risky = append(risky, riskyUser{u})
		}
	}
	slices.SortFunc(risky, func(a, b riskyUser) int { return strings.Compare(a.ID, b.ID) })
	return page(riskySchema(), r, q, risky, func(_ riskyUser, item map[string]any) error {
		hideNewMembers(r, item)
		return nil
	})
}

// errLicence is the refusal of identity protection; code and text were observed in
// tenants without a licence, and no page documents them.
func errLicence() *apiError {
	return &apiError{status: http.StatusForbidden, code: "Forbidden", message: "Your tenant is not licensed for this feature."}
}

// hideNewMembers gives the members that were added to riskDetail later only to a client
// that asks for them (Graph concepts, "Best practices", evolvable enumerations).
func hideNewMembers(r *request, item map[string]any) {
	if strings.Contains(r.header.Get("Prefer"), "include-unknown-enum-members") {
		return
	}
	switch item["riskDetail"] {
	case "m365DAdminDismissedDetection", "adminConfirmedServicePrincipalCompromised", "adminDismissedAllRiskForServicePrincipal",
		"userChangedPasswordOnPremises", "adminDismissedRiskForSignIn", "adminConfirmedAccountSafe", "microsoftRevokedSessions":
		item["riskDetail"] = "unknownFutureValue"
	}
}

// getRiskyUser answers 404 for a person whom identity protection never judged.
func (s *Server) getRiskyUser(r *request) (response, error) {
	u := s.dir.byID[strings.ToLower(r.params["user"])]
	if s.dir.Behaviour.Licence != LicenceP2 {
		return response{}, errLicence()
	}
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
