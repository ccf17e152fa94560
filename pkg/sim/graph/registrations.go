package graph

import "slices"

// registration is a user as the report of registered methods shows it. The report has
// no disabled users ("List userRegistrationDetails").
type registration struct{ *User }

// registeredAs is how the report names a method; nothing for one that it leaves out.
// Microsoft's page gives three examples; the others are those of the report in the
// portal ("Authentication methods activity").
func registeredAs(m *Method) []string {
	switch m.Kind {
	case "phone":
		switch m.Properties["phoneType"] {
		case "alternateMobile":
			return []string{"alternateMobilePhone"}
		case "office":
			return []string{"officePhone"}
		}
		return []string{"mobilePhone"}
	case "email", "fido2", "windowsHelloForBusiness":
		return []string{m.Kind}
	case "microsoftAuthenticator":
		return []string{"microsoftAuthenticatorPush", "softwareOneTimePasscode"}
	case "passwordlessMicrosoftAuthenticator":
		return []string{"microsoftAuthenticatorPasswordless"}
	case "softwareOath":
		return []string{"softwareOneTimePasscode"}
	case "hardwareOath":
		return []string{"hardwareOneTimePasscode"}
	default:
		return nil
	}
}

func registrationSchema() schema {
	return schema{collection: "reports/authenticationMethods/userRegistrationDetails", typeName: "userRegistrationDetails", defaults: []string{
		"id", "userPrincipalName", "userDisplayName", "isMfaCapable", "isMfaRegistered", "methodsRegistered",
	}}
}

func (r registration) property(name string) (any, bool) {
	var methods []any
	strong := false
	for _, m := range r.Methods {
		for _, as := range registeredAs(m) {
			if !slices.Contains(methods, any(as)) {
				methods = append(methods, as)
			}
			strong = strong || as != "email"
		}
	}
	switch name {
	case "id":
		return r.ID, true
	case "userPrincipalName":
		return r.UserPrincipalName, true
	case "userDisplayName":
		return orNull(r.DisplayName), true
	case "isMfaCapable", "isMfaRegistered":
		return strong, true
	case "methodsRegistered":
		if methods == nil {
			methods = []any{}
		}
		return methods, true
	}
	return nil, false
}

// listRegistrations answers GET /reports/authenticationMethods/userRegistrationDetails.
func (s *Server) listRegistrations(r *request) (response, error) {
	if s.dir.Behaviour.Licence == LicenceFree {
		return response{}, errLicence()
	}
	q, err := queryRules{page: 100, largest: 999, options: []string{"$filter", "$orderby", "$top", "$skiptoken"}}.parse(r)
	if err != nil {
		return response{}, err
	}
	var list []registration
	for _, u := range s.dir.Users {
		if u.AccountEnabled {
			list = append(list, registration{u})
		}
	}
	return page(registrationSchema(), r, q, list, nil)
}
