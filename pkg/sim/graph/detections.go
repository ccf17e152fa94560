package graph

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Detection is something about a person that looked risky.
type Detection struct {
	ID         string     `json:"id"`
	User       string     `json:"user"` // object id or userPrincipalName
	Kind       string     `json:"riskEventType"`
	Activity   string     `json:"activity,omitempty"` // signin or user; signin when empty
	Level      string     `json:"riskLevel"`
	State      string     `json:"riskState"`
	Detail     string     `json:"riskDetail,omitempty"`
	SignInID   string     `json:"requestId,omitempty"`
	DetectedAt *time.Time `json:"detectedDateTime"`
	UpdatedAt  *time.Time `json:"lastUpdatedDateTime,omitempty"` // when detected, if absent

	user *User
}

func (d *Detection) validate() error {
	if d.Kind == "" {
		return errors.New("risk detection: the kind is missing")
	}
	return (&Risk{Level: d.Level, State: d.State}).validate()
}

// AddDetection puts a detection into the list and returns its id. One that stands
// raises the risk of its user to its level. Without a time it is made now.
func (s *Server) AddDetection(d Detection) (id string, err error) {
	if err := d.validate(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(d.User)
	if u == nil {
		return "", fmt.Errorf("risk detection about %s: %w", d.User, ErrNoSuchUser)
	}
	now := s.clock.Now().UTC()
	if d.DetectedAt == nil {
		d.DetectedAt = &now
	}
	if d.ID == "" {
		d.ID = s.newID()
	}
	d.user = u
	s.dir.Detections = append(s.dir.Detections, &d)
	if d.State == "atRisk" || d.State == "confirmedCompromised" {
		risk := &Risk{Level: d.Level, State: d.State, Detail: "none", LastUpdatedDateTime: &now}
		if old := u.Risk; old != nil && (old.State == "atRisk" || old.State == "confirmedCompromised") {
			if riskHeight(old.Level) > riskHeight(d.Level) {
				risk.Level = old.Level
			}
			if old.State == "confirmedCompromised" {
				risk.State = old.State
			}
		}
		u.Risk = risk
	}
	return d.ID, nil
}

func riskHeight(level string) int {
	return slices.Index([]string{"none", "hidden", "low", "medium", "high"}, level)
}

func detectionSchema() schema {
	return schema{collection: "identityProtection/riskDetections", typeName: "riskDetection", defaults: []string{
		"id", "requestId", "correlationId", "riskEventType", "riskState", "riskLevel", "riskDetail", "source", "detectionTimingType", "activity",
		"tokenIssuerType", "ipAddress", "location", "activityDateTime", "detectedDateTime", "lastUpdatedDateTime", "userId", "userDisplayName",
		"userPrincipalName", "additionalInfo",
	}}
}

func (d *Detection) entityID() string { return d.ID }

// property follows the page on the riskDetection resource.
func (d *Detection) property(name string) (any, bool) {
	switch name {
	case "id":
		return d.ID, true
	case "requestId", "correlationId":
		return orNull(d.SignInID), true
	case "riskEventType":
		return d.Kind, true
	case "riskState":
		return d.State, true
	case "riskLevel":
		return d.Level, true
	case "riskDetail":
		if d.Detail == "" {
			return "none", true
		}
		return d.Detail, true
	case "source":
		return "IdentityProtection", true
	case "detectionTimingType":
		return "offline", true
	case "activity":
		if d.Activity == "" {
			return "signin", true
		}
		return d.Activity, true
	case "tokenIssuerType":
		return "AzureAD", true
	case "ipAddress", "location", "additionalInfo":
		return nil, true
	case "activityDateTime", "detectedDateTime":
		return timeOrNull(d.DetectedAt), true
	case "lastUpdatedDateTime":
		if d.UpdatedAt == nil {
			return timeOrNull(d.DetectedAt), true
		}
		return timeOrNull(d.UpdatedAt), true
	case "userId":
		return d.user.ID, true
	case "userDisplayName":
		return orNull(d.user.DisplayName), true
	case "userPrincipalName":
		return d.user.UserPrincipalName, true
	}
	return nil, false
}

// listDetections answers GET /identityProtection/riskDetections.
func (s *Server) listDetections(r *request) (response, error) {
	if s.dir.Behaviour.Licence == LicenceFree {
		return response{}, errLicence()
	}
	q, err := queryRules{page: 20, largest: 500, options: []string{"$top", "$skiptoken", "$filter", "$select", "$orderby", "$count"}}.parse(r)
	if err != nil {
		return response{}, err
	}
	return page(detectionSchema(), r, q, s.dir.Detections, func(_ *Detection, item map[string]any) error {
		hideNewMembers(r, item)
		return nil
	})
}
