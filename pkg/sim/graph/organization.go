package graph

import "strings"

// organization is the tenant as Graph shows it.
type organization struct{ *Tenant }

func organizationSchema() schema {
	return schema{collection: "organization", typeName: "organization", defaults: []string{"id", "displayName", "createdDateTime", "tenantType", "verifiedDomains"}}
}

func (t *Tenant) domainType(domain string) string {
	if t.federation(domain) != nil {
		return "Federated"
	}
	return "Managed"
}

func (o organization) entityID() string { return o.ID }

// property follows the page on the organization resource, as far as the tenant knows it.
func (o organization) property(name string) (any, bool) {
	switch name {
	case "id":
		return o.ID, true
	case "displayName":
		return orNull(o.DisplayName), true
	case "createdDateTime":
		return timeOrNull(o.CreatedDateTime), true
	case "tenantType":
		return "AAD", true
	case "verifiedDomains":
		domains := make([]map[string]any, 0, len(o.Domains))
		for i, d := range o.Domains {
			domains = append(domains, map[string]any{"name": d, "type": o.domainType(d), "isDefault": i == 0, "isInitial": i == len(o.Domains)-1, "capabilities": "Email, OfficeCommunicationsOnline"})
		}
		return domains, true
	case "deletedDateTime", "onPremisesSyncEnabled":
		return nil, true
	}
	return nil, false
}

// listOrganizations answers with the one tenant there is.
func (s *Server) listOrganizations(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return page(organizationSchema(), r, q, []organization{{s.dir.Tenant}}, nil)
}

func (s *Server) getOrganization(r *request) (response, error) {
	if !strings.EqualFold(r.params["organization"], s.dir.ID) {
		return response{}, errNotFound(r.params["organization"])
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return organizationSchema().single(r, organization{s.dir.Tenant}, q.selected)
}
