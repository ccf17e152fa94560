package graph

import (
	"slices"
	"strings"
)

// directoryRole is a role definition seen as a membership.
type directoryRole struct{ *RoleDefinition }

func (d directoryRole) entityID() string { return d.ID }

func (d directoryRole) property(name string) (any, bool) {
	switch name {
	case "id", "roleTemplateId":
		return d.ID, true
	case "displayName":
		return d.DisplayName, true
	case "description":
		return orNull(d.Description), true
	}
	return nil, false
}

func (d *directory) directRoles(u *User) []*RoleDefinition {
	var held []*RoleDefinition
	for _, a := range d.RoleAssignments {
		if strings.EqualFold(a.PrincipalID, u.ID) {
			if r := d.role(a.RoleDefinitionID); r != nil && !slices.Contains(held, r) {
				held = append(held, r)
			}
		}
	}
	return held
}

func (d *RoleDefinition) entityID() string { return d.ID }

func (d *RoleDefinition) property(name string) (any, bool) {
	switch name {
	case "id", "templateId":
		return d.ID, true
	case "displayName":
		return d.DisplayName, true
	case "description":
		return orNull(d.Description), true
	case "isBuiltIn", "isEnabled":
		return true, true
	}
	return nil, false
}

func roleSchema() schema {
	return schema{collection: "roleManagement/directory/roleDefinitions", typeName: "unifiedRoleDefinition",
		defaults: []string{"id", "description", "displayName", "isBuiltIn", "isEnabled", "templateId"}}
}

func (a *RoleAssignment) entityID() string { return a.ID }

func (a *RoleAssignment) property(name string) (any, bool) {
	switch name {
	case "id":
		return a.ID, true
	case "principalId":
		return a.PrincipalID, true
	case "roleDefinitionId":
		return a.RoleDefinitionID, true
	case "directoryScopeId":
		return "/", true
	case "appScopeId":
		return nil, true
	case "startDateTime":
		return timeOrNull(a.StartDateTime), true
	case "endDateTime":
		return timeOrNull(a.EndDateTime), true
	case "memberType":
		return "Direct", true
	case "roleEligibilityScheduleId":
		return a.ID, true
	}
	return nil, false
}

func (s *Server) listRoleDefinitions(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return page(roleSchema(), r, q, s.dir.RoleDefinitions, nil)
}

func (s *Server) getRoleDefinition(r *request) (response, error) {
	d := s.dir.role(r.params["role"])
	if d == nil {
		return response{}, errNotFound(r.params["role"])
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return roleSchema().single(r, d, q.selected)
}

func (s *Server) listRoleAssignments(r *request) (response, error) {
	return s.assignments(r, s.dir.RoleAssignments, schema{collection: "roleManagement/directory/roleAssignments", typeName: "unifiedRoleAssignment",
		defaults: []string{"id", "principalId", "roleDefinitionId", "directoryScopeId"}})
}

func (s *Server) listRoleEligibilities(r *request) (response, error) {
	return s.assignments(r, s.dir.RoleEligibilities, schema{collection: "roleManagement/directory/roleEligibilityScheduleInstances", typeName: "unifiedRoleEligibilityScheduleInstance",
		defaults: []string{"id", "principalId", "roleDefinitionId", "directoryScopeId", "appScopeId", "startDateTime", "endDateTime", "memberType", "roleEligibilityScheduleId"}})
}

func (s *Server) assignments(r *request, all []*RoleAssignment, sc schema) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return page(sc, r, q, all, func(a *RoleAssignment, item map[string]any) error {
		for _, e := range q.expand {
			switch d := s.dir.role(a.RoleDefinitionID); {
			case e.name == "roleDefinition" && d != nil:
				sub, err := roleSchema().render(d, e.selected)
				if err != nil {
					return err
				}
				item["roleDefinition"] = sub
			default:
				return errBadRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", e.name, sc.typeName)
			}
		}
		return nil
	})
}
