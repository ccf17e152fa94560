package graph

import (
	"fmt"
	"strings"
	"time"
)

// ServicePrincipal is a workload identity: an application's, or one that Azure manages.
type ServicePrincipal struct {
	ID              string     `json:"id"`
	AppID           string     `json:"appId"`
	DisplayName     string     `json:"displayName"`
	Type            string     `json:"servicePrincipalType"` // Application or ManagedIdentity
	AccountEnabled  bool       `json:"accountEnabled"`
	CreatedDateTime *time.Time `json:"createdDateTime,omitempty"`
	Note            string     `json:"note,omitempty"`
}

func (p *ServicePrincipal) validate() error {
	if p.AppID == "" {
		return fmt.Errorf("service principal %s: appId is required", p.ID)
	}
	if p.Type != "Application" && p.Type != "ManagedIdentity" {
		return fmt.Errorf("service principal %s: servicePrincipalType %q is neither Application nor ManagedIdentity", p.ID, p.Type)
	}
	return nil
}

func principalSchema() schema {
	return schema{collection: "servicePrincipals", typeName: "servicePrincipal", defaults: []string{
		"id", "deletedDateTime", "accountEnabled", "appDisplayName", "appId", "createdDateTime", "displayName", "servicePrincipalNames", "servicePrincipalType", "tags",
	}}
}

func (p *ServicePrincipal) entityID() string { return p.ID }

func (p *ServicePrincipal) property(name string) (any, bool) {
	switch name {
	case "id":
		return p.ID, true
	case "appId":
		return p.AppID, true
	case "displayName", "appDisplayName":
		return orNull(p.DisplayName), true
	case "servicePrincipalType":
		return p.Type, true
	case "accountEnabled":
		return p.AccountEnabled, true
	case "createdDateTime":
		return timeOrNull(p.CreatedDateTime), true
	case "servicePrincipalNames":
		return []string{p.AppID}, true
	case "tags":
		return []string{}, true
	case "deletedDateTime":
		return nil, true
	}
	return nil, false
}

func (s *Server) listServicePrincipals(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return page(principalSchema(), r, q, s.dir.ServicePrincipals, nil)
}

func (s *Server) getServicePrincipal(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	for _, p := range s.dir.ServicePrincipals {
		if strings.EqualFold(p.ID, r.params["principal"]) {
			return principalSchema().single(r, p, q.selected)
		}
	}
	return response{}, errNotFound(r.params["principal"])
}
