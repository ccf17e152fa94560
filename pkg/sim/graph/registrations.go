package graph

import (
	"cmp"
	"slices"
	"strings"
)

// registration is a user as the report of registered methods shows it. The report has
// no disabled users ("List userRegistrationDetails").
type registration struct {
	*User
	dir *directory
}

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
	case "platformCredential":
		return []string{"macOsSecureEnclaveKey"}
	default:
		return nil
	}
}

func registrationSchema() schema {
	return schema{collection: "reports/authenticationMethods/userRegistrationDetails", typeName: "userRegistrationDetails", defaults: []string{
		"id", "userPrincipalName", "userDisplayName", "userType", "isAdmin", "isSsprRegistered", "isSsprEnabled", "isSsprCapable", "isMfaRegistered",
		"isMfaCapable", "isPasswordlessCapable", "methodsRegistered", "isSystemPreferredAuthenticationMethodEnabled",
		"systemPreferredAuthenticationMethods", "userPreferredMethodForSecondaryAuthentication", "lastUpdatedDateTime",
	}}
}

// PasswordReset is the self-service password reset policy, which Graph does not serve.
type PasswordReset struct {
	Targets []Target `json:"targets,omitempty"` // who may reset their password; nobody when empty
	Methods int      `json:"methods,omitempty"` // how many registered methods it takes, 1 or 2; 1 when 0
}

// property follows the page on the userRegistrationDetails resource. Assumed: isAdmin
// means a role that is active, eligible ones do not count; a record is updated when the
// account or one of its methods is made.
func (r registration) property(name string) (any, bool) {
	switch name {
	case "id":
		return r.ID, true
	case "userPrincipalName":
		return r.UserPrincipalName, true
	case "userDisplayName":
		return orNull(r.DisplayName), true
	case "accountEnabled": // not of the resource: what listRegistrations goes by
		return r.AccountEnabled, true
	case "userType":
		return strings.ToLower(r.UserType), true
	case "isAdmin":
		return r.dir.isAdmin(r.User), true
	case "isMfaRegistered": // whatever the policy says of the method
		return slices.ContainsFunc(r.Methods, strong), true
	case "isMfaCapable":
		return slices.ContainsFunc(r.Methods, func(m *Method) bool { return strong(m) && r.dir.allowed(r.User, m) }), true
	case "isPasswordlessCapable":
		return slices.ContainsFunc(r.Methods, func(m *Method) bool { return passwordless(m) && r.dir.allowed(r.User, m) }), true
	case "isSsprEnabled":
		return r.dir.inTargets(r.dir.Policies.PasswordReset.Targets, r.User), true
	case "isSsprRegistered":
		return r.resets(), true
	case "isSsprCapable":
		return r.resets() && r.dir.inTargets(r.dir.Policies.PasswordReset.Targets, r.User), true
	case "methodsRegistered":
		names := []string{}
		for _, m := range r.Methods {
			for _, as := range registeredAs(m) {
				if !slices.Contains(names, as) {
					names = append(names, as)
				}
			}
		}
		return names, true
	case "isSystemPreferredAuthenticationMethodEnabled":
		return r.Preferences.SystemPreferred, true
	case "systemPreferredAuthenticationMethods":
		return r.systemPreferred(), true
	case "userPreferredMethodForSecondaryAuthentication":
		return r.userPreferred(), true
	case "lastUpdatedDateTime":
		last := r.CreatedDateTime
		for _, m := range r.Methods {
			if m.CreatedDateTime != nil && (last == nil || m.CreatedDateTime.After(*last)) {
				last = m.CreatedDateTime
			}
		}
		return timeOrNull(last), true
	}
	return nil, false
}

// strong reports whether a method can be a second factor in the eyes of the report:
// every one that it names, but for e-mail.
func strong(m *Method) bool { return m.Kind != "email" && registeredAs(m) != nil }

func passwordless(m *Method) bool {
	switch m.Kind {
	case "fido2", "windowsHelloForBusiness", "platformCredential", "passwordlessMicrosoftAuthenticator":
		return true
	}
	return false
}

// resets reports whether enough methods are registered to reset the password oneself
// (Entra, "How it works: Microsoft Entra self-service password reset", methods).
func (r registration) resets() bool {
	n := 0
	for _, m := range r.Methods {
		switch m.Kind {
		case "phone", "email", "microsoftAuthenticator", "softwareOath", "hardwareOath":
			n++
		}
	}
	return n >= cmp.Or(r.dir.Policies.PasswordReset.Methods, 1)
}

// systemPreferred is the most secure method among those that are registered and allowed,
// as the enumeration of second factors can tell it (Entra, "System-preferred multifactor
// authentication"): push before codes before text messages before calls.
func (r registration) systemPreferred() []string {
	best := ""
	if r.Preferences.SystemPreferred {
		for _, preference := range []string{"push", "oath", "sms", "voiceMobile", "voiceAlternateMobile", "voiceOffice"} {
			candidates, _ := preferredMethods(r.User, preference)
			if best == "" && slices.ContainsFunc(candidates, func(m *Method) bool { return r.dir.serves(r.User, m, preference) }) {
				best = preference
			}
		}
	}
	if best == "" {
		return []string{}
	}
	return []string{best}
}

// serves reports whether the policy lets u use a phone for what the preference says, or
// any other method at all.
func (d *directory) serves(u *User, m *Method, preference string) bool {
	switch {
	case preference == "sms":
		return d.allows(u, "Sms")
	case m.Kind == "phone":
		return d.allows(u, "Voice")
	}
	return d.allowed(u, m)
}

// userPreferred is what the person chose, or what the default method is good for.
func (r registration) userPreferred() string {
	if r.Preferences.Preferred != "" {
		return r.Preferences.Preferred
	}
	m := r.method(r.DefaultMethod)
	if r.DefaultMethod == "" || m == nil {
		return "none"
	}
	for _, preference := range []string{"push", "oath", "sms", "voiceAlternateMobile", "voiceOffice"} {
		if candidates, _ := preferredMethods(r.User, preference); slices.Contains(candidates, m) {
			return preference
		}
	}
	return "none"
}

// registrationRules: the page on the list names $filter and $orderby only; $top and
// $skiptoken are seen in next links.
func registrationRules() queryRules {
	return queryRules{page: 100, largest: 999, options: []string{"$filter", "$orderby", "$top", "$skiptoken"}}
}

// listRegistrations answers GET /reports/authenticationMethods/userRegistrationDetails.
func (s *Server) listRegistrations(r *request) (response, error) {
	if s.dir.Behaviour.Licence == LicenceFree {
		return response{}, errLicence()
	}
	q, err := registrationRules().parse(r)
	if err != nil {
		return response{}, err
	}
	if q.filter != nil {
		if err := registrationFilter(q.filter); err != nil {
			return response{}, err
		}
	}
	if q.orderBy != "" && q.orderBy != "userPrincipalName" && q.orderBy != "userDisplayName" {
		return response{}, errBadRequest("Ordering by '%s' is not supported.", q.orderBy)
	}
	var reported filter = comparison{"accountEnabled", "eq", literal{boolLiteral, "true"}}
	if q.filter != nil {
		reported = logical{"and", reported, q.filter}
	}
	q.filter = reported
	if s.dir.registrations == nil {
		for _, u := range s.dir.Users {
			s.dir.registrations = append(s.dir.registrations, registration{u, s.dir})
		}
	}
	return page(registrationSchema(), r, q, s.dir.registrations, nil)
}

// getRegistration answers the same for one user.
func (s *Server) getRegistration(r *request) (response, error) {
	if s.dir.Behaviour.Licence == LicenceFree {
		return response{}, errLicence()
	}
	if _, err := (queryRules{page: 1, largest: 1, options: []string{}}).parse(r); err != nil {
		return response{}, err
	}
	u := s.dir.byID[strings.ToLower(r.params["user"])]
	if u == nil || !u.AccountEnabled {
		return response{}, errNotFound(r.params["user"])
	}
	return registrationSchema().single(r, registration{u, s.dir}, nil)
}

// registrationFilter accepts what the page on the resource lists for each property.
// Terms joined by and, or and not are assumed.
func registrationFilter(f filter) error {
	supported := false
	switch f := f.(type) {
	case logical:
		if err := registrationFilter(f.left); err != nil {
			return err
		}
		return registrationFilter(f.right)
	case negation:
		return registrationFilter(f.inner)
	case comparison:
		switch f.path {
		case "isMfaCapable", "isMfaRegistered", "isPasswordlessCapable", "isSsprCapable", "isSsprEnabled", "isSsprRegistered",
			"isSystemPreferredAuthenticationMethodEnabled", "userDisplayName", "userPrincipalName", "id", "userPreferredMethodForSecondaryAuthentication":
			supported = f.op == "eq"
		case "isAdmin", "userType": // no operator is documented for them; eq is what every sample uses
			supported = f.op == "eq"
		}
	case call:
		supported = f.name == "startsWith" && (f.path == "userDisplayName" || f.path == "userPrincipalName")
	case anyOf:
		inner, isComparison := f.inner.(comparison)
		supported = (f.path == "methodsRegistered" || f.path == "systemPreferredAuthenticationMethods") && isComparison && inner.op == "eq"
	}
	if !supported {
		return errBadRequest("Invalid filter clause: '%s' is not supported.", f)
	}
	return nil
}
