package graph

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func userSchema() schema {
	return schema{collection: "users", typeName: "user", defaults: []string{
		"businessPhones", "displayName", "givenName", "id", "jobTitle", "mail", "mobilePhone",
		"officeLocation", "preferredLanguage", "surname", "userPrincipalName",
	}}
}

func (u *User) entityID() string { return u.ID }

// property lists every property of the user type that the simulator knows.
func (u *User) property(name string) (any, bool) {
	switch name {
	case "id":
		return u.ID, true
	case "userPrincipalName":
		return u.UserPrincipalName, true
	case "displayName":
		return orNull(u.DisplayName), true
	case "givenName":
		return orNull(u.GivenName), true
	case "surname":
		return orNull(u.Surname), true
	case "mail":
		return orNull(u.Mail), true
	case "mailNickname":
		return orNull(u.MailNickname), true
	case "otherMails":
		return orEmpty(u.OtherMails), true
	case "proxyAddresses":
		return orEmpty(u.ProxyAddresses), true
	case "employeeId":
		return orNull(u.EmployeeID), true
	case "employeeType":
		return orNull(u.EmployeeType), true
	case "employeeHireDate":
		return timeOrNull(u.EmployeeHireDate), true
	case "employeeLeaveDateTime":
		return timeOrNull(u.EmployeeLeaveDateTime), true
	case "department":
		return orNull(u.Department), true
	case "jobTitle":
		return orNull(u.JobTitle), true
	case "companyName":
		return orNull(u.CompanyName), true
	case "officeLocation":
		return orNull(u.OfficeLocation), true
	case "city":
		return orNull(u.City), true
	case "country":
		return orNull(u.Country), true
	case "usageLocation":
		return orNull(u.UsageLocation), true
	case "preferredLanguage":
		return orNull(u.PreferredLanguage), true
	case "mobilePhone":
		return orNull(u.MobilePhone), true
	case "businessPhones":
		return orEmpty(u.BusinessPhones), true
	case "accountEnabled":
		return u.AccountEnabled, true
	case "userType":
		return u.UserType, true
	case "creationType":
		return orNull(u.CreationType), true
	case "externalUserState":
		return orNull(u.ExternalUserState), true
	case "identities":
		return u.identities(), true
	case "createdDateTime":
		return timeOrNull(u.CreatedDateTime), true
	case "deletedDateTime":
		return timeOrNull(u.deletedAt), true
	case "lastPasswordChangeDateTime":
		return timeOrNull(u.LastPasswordChangeDateTime), true
	case "signInSessionsValidFromDateTime", "refreshTokensValidFromDateTime":
		return timeOrNull(u.SignInSessionsValidFromDateTime), true
	case "onPremisesSyncEnabled":
		if u.OnPremisesSyncEnabled == nil {
			return nil, true
		}
		return *u.OnPremisesSyncEnabled, true
	case "onPremisesSamAccountName":
		return orNull(u.OnPremisesSamAccountName), true
	case "onPremisesLastSyncDateTime":
		return timeOrNull(u.OnPremisesLastSyncDateTime), true
	case "passwordProfile":
		return map[string]any{"password": nil, "forceChangePasswordNextSignIn": u.ForceChangePassword}, true
	case "perUserMfaState": // see Behaviour.PerUserMFA
		return cmp.Or(u.PerUserMFA, "disabled"), true
	case "signInActivity":
		if u.SignInActivity == nil {
			return nil, true
		}
		a := u.SignInActivity
		return map[string]any{
			"lastSignInDateTime":               timeOrNull(a.LastSignInDateTime),
			"lastNonInteractiveSignInDateTime": timeOrNull(a.LastNonInteractiveSignInDateTime),
			"lastSuccessfulSignInDateTime":     timeOrNull(a.LastSuccessfulSignInDateTime),
		}, true
	case "signInActivity/lastSignInDateTime":
		if u.SignInActivity == nil {
			return nil, true
		}
		return timeOrNull(u.SignInActivity.LastSignInDateTime), true
	}
	return nil, false
}

// identities are objectIdentity resources. What the page on them calls the issuer of a guest
// from another tenant, its domain, is observed to be ExternalAzureAD.
func (u *User) identities() []map[string]any {
	_, domain, _ := strings.Cut(u.UserPrincipalName, "@")
	list := []map[string]any{{"signInType": "userPrincipalName", "issuer": domain, "issuerAssignedId": u.UserPrincipalName}}
	issuer := u.IdentityIssuer
	if u.HomeTenant != "" {
		issuer = "ExternalAzureAD"
	}
	if u.external() && issuer != "" {
		list = append(list, map[string]any{"signInType": "federated", "issuer": issuer, "issuerAssignedId": nil})
	}
	return list
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func timeOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UTC()
}

// user is the person the path names.
func (s *Server) user(r *request) (*User, error) {
	u := s.dir.user(r.params["user"])
	if u == nil {
		return nil, errNotFound(r.params["user"])
	}
	return u, nil
}

// authoriseProperties refuses properties that need more than permission to read users,
// and the per-user MFA state where the tenant does not tell it or in a filter, which
// nobody was seen to use.
func (s *Server) authoriseProperties(r *request, q *query) error {
	names := slices.Clone(q.selected)
	if slices.Contains(names, "perUserMfaState") && s.dir.Behaviour.PerUserMFA == PerUserRefused {
		return errBadRequest("Parsing OData Select and Expand failed: Could not find a property named 'perUserMfaState' on type 'microsoft.graph.user'.")
	}
	if q.filter != nil && strings.Contains(q.filter.String(), "perUserMfaState") {
		return errUnsupportedQuery("Unsupported or invalid query filter clause specified for property 'perUserMfaState'.")
	}
	if q.filter != nil {
		names = append(names, q.filter.String())
	}
	for _, n := range names {
		if strings.Contains(n, "signInActivity") && !r.caller.may("AuditLog.Read.All") {
			return &apiError{status: http.StatusForbidden, code: "Authentication_MSGraphPermissionMissing",
				message: "Calling principal does not have required MSGraph permissions AuditLog.Read.All"}
		}
		// Without it the property is not readable, whatever else the app may do
		// (Graph concepts, "Configure the employeeLeaveDateTime property").
		if strings.Contains(n, "employeeLeaveDateTime") && !r.caller.mayAny([]string{"User-LifeCycleInfo.Read.All", "User-LifeCycleInfo.ReadWrite.All"}) {
			return errDenied()
		}
	}
	return nil
}

// listCost is the resource units of GET /users: 2, less for $select and a small page,
// more for $expand, never under 1 (Graph throttling limits).
func listCost(r *request) int {
	cost := 2
	if r.query.Has("$select") {
		cost--
	}
	if top, err := strconv.Atoi(r.query.Get("$top")); err == nil && top < 20 {
		cost--
	}
	if r.query.Has("$expand") {
		cost++
	}
	return max(cost, 1)
}

func (s *Server) listUsers(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	if err := s.authoriseProperties(r, q); err != nil {
		return response{}, err
	}
	people := s.dir.Users
	if q.filter != nil {
		// A filter that names an unknown property is refused even when nobody is left to judge.
		if _, err := q.filter.matches(new(User).property); err != nil {
			return response{}, err
		}
		people = s.dir.candidates(q.filter)
	}
	return page(userSchema(), r, q, people, func(u *User, item map[string]any) error {
		return s.expandManager(u, item, q)
	})
}

func (s *Server) countUsers(r *request) (response, error) {
	if !strings.EqualFold(r.header.Get("ConsistencyLevel"), "eventual") {
		return response{}, errBadRequest("$count is not currently supported.")
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	n := 0
	for _, u := range s.dir.Users {
		if q.filter == nil {
			n++
			continue
		}
		yes, err := q.filter.matches(u.property)
		if err != nil {
			return response{}, err
		}
		if yes {
			n++
		}
	}
	return ok(fmt.Sprint(n)), nil
}

func (s *Server) getUser(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	if err := s.authoriseProperties(r, q); err != nil {
		return response{}, err
	}
	resp, err := userSchema().single(r, u, q.selected)
	if err != nil {
		return response{}, err
	}
	return resp, s.expandManager(u, resp.body.(map[string]any), q)
}

func (s *Server) expandManager(u *User, item map[string]any, q *query) error {
	for _, e := range q.expand {
		if e.name != "manager" {
			return errBadRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.user'.", e.name)
		}
		m := s.dir.user(u.Manager)
		if u.Manager == "" || m == nil {
			continue // an absent manager is left out
		}
		sub, err := userSchema().render(m, e.selected)
		if err != nil {
			return err
		}
		sub["@odata.type"] = "#microsoft.graph.user"
		item["manager"] = sub
	}
	return nil
}

func (s *Server) getManager(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	m := s.dir.user(u.Manager)
	if u.Manager == "" || m == nil {
		return response{}, errNotFound("manager")
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	body, err := userSchema().render(m, q.selected)
	if err != nil {
		return response{}, err
	}
	body["@odata.context"] = r.context("directoryObjects/$entity")
	body["@odata.type"] = "#microsoft.graph.user"
	return ok(body), nil
}

func (s *Server) listReports(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	var reports []*User
	for _, x := range s.dir.Users {
		if strings.EqualFold(x.Manager, u.ID) {
			reports = append(reports, x)
		}
	}
	sc := userSchema()
	sc.collection = "directoryObjects"
	return page(sc, r, q, reports, func(_ *User, item map[string]any) error {
		item["@odata.type"] = "#microsoft.graph.user"
		return nil
	})
}

// userChange is one property of a PATCH: who may write it and how.
type userChange struct {
	permissions []string
	sensitive   bool // refused for privileged users unless the app holds a higher role
	mastered    bool // on-premises is master for synced users
	apply       func(u *User, raw json.RawMessage, now time.Time) error
}

// userChanges are the writable properties. Sources: Graph's "Update user" and "Who can
// perform sensitive actions"; the fine-grained permissions from the devx content, 2026-08.
func userChanges() map[string]userChange {
	broad := []string{"User.ReadWrite.All", "Directory.ReadWrite.All"}
	with := func(p ...string) []string { return append(p, broad...) }
	text := func(field func(*User) *string) func(*User, json.RawMessage, time.Time) error {
		return func(u *User, raw json.RawMessage, _ time.Time) error {
			var v *string
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			*field(u) = ""
			if v != nil {
				*field(u) = *v
			}
			return nil
		}
	}
	texts := func(field func(*User) *[]string) func(*User, json.RawMessage, time.Time) error {
		return func(u *User, raw json.RawMessage, _ time.Time) error { return json.Unmarshal(raw, field(u)) }
	}
	instant := func(field func(*User) **time.Time) func(*User, json.RawMessage, time.Time) error {
		return func(u *User, raw json.RawMessage, _ time.Time) error { return json.Unmarshal(raw, field(u)) }
	}
	m := map[string]userChange{
		"accountEnabled": {permissions: with("User.EnableDisableAccount.All+User.Read.All"), sensitive: true,
			apply: func(u *User, raw json.RawMessage, _ time.Time) error {
				var v *bool
				if err := json.Unmarshal(raw, &v); err != nil || v == nil {
					return errors.New("a boolean is required")
				}
				u.AccountEnabled = *v
				return nil
			}},
		"passwordProfile": {permissions: []string{"User-PasswordProfile.ReadWrite.All",
			"User.ReadWrite.All+" + roleGrant("Privileged Authentication Administrator"), "User.ReadWrite.All+" + roleGrant("User Administrator")},
			sensitive: true, mastered: true, apply: applyPasswordProfile},
		"otherMails":     {permissions: with("User-Mail.ReadWrite.All"), sensitive: true, apply: texts(func(u *User) *[]string { return &u.OtherMails })},
		"mobilePhone":    {permissions: with("User-Phone.ReadWrite.All"), sensitive: true, mastered: true, apply: text(func(u *User) *string { return &u.MobilePhone })},
		"businessPhones": {permissions: with("User-Phone.ReadWrite.All"), sensitive: true, mastered: true, apply: texts(func(u *User) *[]string { return &u.BusinessPhones })},
		"employeeLeaveDateTime": {permissions: []string{"User.Read.All+User-LifeCycleInfo.ReadWrite.All"},
			apply: instant(func(u *User) **time.Time { return &u.EmployeeLeaveDateTime })},
		"employeeHireDate": {permissions: broad, mastered: true, apply: instant(func(u *User) **time.Time { return &u.EmployeeHireDate })},
		"usageLocation":    {permissions: broad, apply: text(func(u *User) *string { return &u.UsageLocation })},
	}
	for name, field := range map[string]func(*User) *string{
		"displayName": func(u *User) *string { return &u.DisplayName }, "givenName": func(u *User) *string { return &u.GivenName },
		"surname": func(u *User) *string { return &u.Surname }, "jobTitle": func(u *User) *string { return &u.JobTitle },
		"department": func(u *User) *string { return &u.Department }, "companyName": func(u *User) *string { return &u.CompanyName },
		"officeLocation": func(u *User) *string { return &u.OfficeLocation }, "city": func(u *User) *string { return &u.City },
		"country": func(u *User) *string { return &u.Country }, "preferredLanguage": func(u *User) *string { return &u.PreferredLanguage },
		"employeeId": func(u *User) *string { return &u.EmployeeID }, "employeeType": func(u *User) *string { return &u.EmployeeType },
	} {
		m[name] = userChange{permissions: broad, mastered: true, apply: text(field)}
	}
	return m
}

// applyPasswordProfile sets a new password. The simulator keeps that it changed, never
// the password itself.
func applyPasswordProfile(u *User, raw json.RawMessage, now time.Time) error {
	var p struct {
		Password *string `json:"password"`
		Force    *bool   `json:"forceChangePasswordNextSignIn"`
		ForceMFA *bool   `json:"forceChangePasswordNextSignInWithMfa"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	if p.Password != nil {
		if !strongPassword(*p.Password) {
			return errDirectory("The specified password does not comply with password complexity requirements. Please provide a different password.")
		}
		u.LastPasswordChangeDateTime = &now
		u.SignInSessionsValidFromDateTime = &now // a password reset ends sessions
	}
	if p.Force != nil {
		u.ForceChangePassword = *p.Force
	} else if p.Password != nil {
		u.ForceChangePassword = true // Graph's default
	}
	return nil
}

// strongPassword is Entra's rule: 8 to 256 characters, three of four kinds.
func strongPassword(p string) bool {
	kinds := 0
	for _, set := range []string{"abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"} {
		if strings.ContainsAny(p, set) {
			kinds++
		}
	}
	if strings.ContainsFunc(p, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9')
	}) {
		kinds++
	}
	return len(p) >= 8 && len(p) <= 256 && kinds >= 3
}

func (s *Server) patchUser(r *request) (response, error) {
	var body map[string]json.RawMessage
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	changes := userChanges()
	names := make([]string, 0, len(body))
	for name := range body {
		if strings.HasPrefix(name, "@odata.") {
			continue
		}
		if _, known := changes[name]; !known {
			return response{}, errDirectory("Property '%s' is read-only and cannot be set, or does not exist.", name)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return response{}, errDirectory("Empty Payload. JSON content expected.")
	}
	slices.Sort(names)
	for _, name := range names {
		if !r.caller.mayAny(changes[name].permissions) {
			return response{}, errDenied()
		}
	}
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	synced := u.OnPremisesSyncEnabled != nil && *u.OnPremisesSyncEnabled
	changed := u.clone() // all properties or none
	for _, name := range names {
		c := changes[name]
		if c.sensitive && s.dir.privileged(u) && !r.caller.mayTouchPrivileged() {
			return response{}, errDenied()
		}
		if c.mastered && synced {
			return response{}, errDirectory("Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently undergoing migration.")
		}
		if err := c.apply(changed, body[name], r.now); err != nil {
			var ae *apiError
			if errors.As(err, &ae) {
				return response{}, ae
			}
			return response{}, errDirectory("Invalid value specified for property '%s' of resource 'User'.", name)
		}
	}
	before := *u
	*u = *changed
	s.updated(&before, u)
	if slices.Contains(names, "employeeId") {
		s.dir.reindex()
	}
	return noContent(), nil
}

func (s *Server) deleteUser(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	if s.dir.privileged(u) && !r.caller.mayTouchPrivileged() {
		return response{}, errDenied()
	}
	s.remove(u, r.now)
	return noContent(), nil
}

// revokeSessions ends the sessions of a user. It does not work for external users
// (Graph, "user: revokeSignInSessions"); the refusal's text is assumed.
func (s *Server) revokeSessions(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	if u.external() {
		return response{}, errDirectory("Sign-in sessions of an external user cannot be revoked.")
	}
	before := *u
	u.SignInSessionsValidFromDateTime = &r.now
	s.updated(&before, u)
	if strings.EqualFold(r.path[len(r.path)-1], "invalidateAllRefreshTokens") {
		return noContent(), nil
	}
	return ok(map[string]any{"@odata.context": r.context("Edm.Boolean"), "value": true}), nil
}
