package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sweep"
)

var _ readiness.Tenant = (*Client)(nil)

// whole asks for the largest page that directory objects come in.
func whole(path, selected string) query {
	return query{path: versionOne + path, params: url.Values{"$select": {selected}, "$top": {"999"}}}
}

// readOne reads one object; convert returns false for one that cannot be used.
func readOne[W, T any](ctx context.Context, c *Client, op operation, q query, convert func(W) (T, bool)) (T, error) {
	var none T
	body, err := call(ctx, c, op, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, q.String(), nil, q.header...)
	})
	if err != nil {
		return none, err
	}
	got, ok := parseOne(body, convert)
	if !ok {
		return none, op.unreadable("an object that cannot be read")
	}
	return got, nil
}

func parseOne[W, T any](body []byte, convert func(W) (T, bool)) (T, bool) {
	var w *W
	var none T
	if json.Unmarshal(body, &w) != nil || w == nil {
		return none, false
	}
	return convert(*w)
}

// Organization is the tenant itself. CreatedAt is zero when Graph does not tell.
func (c *Client) Organization(ctx context.Context) (posture.Tenant, error) {
	p, err := readList(ctx, c, readTenant, whole("/organization", "id,displayName,createdDateTime,verifiedDomains"), "", organization)
	if err != nil {
		return posture.Tenant{}, err
	}
	if len(p.Items) != 1 {
		return posture.Tenant{}, readTenant.unreadable("not one organization")
	}
	return p.Items[0], nil
}

type wireOrganization struct {
	ID        string     `json:"id"`
	Name      string     `json:"displayName"`
	CreatedAt *time.Time `json:"createdDateTime"`
	Domains   []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"verifiedDomains"`
}

func organization(w wireOrganization) (t posture.Tenant, keep, ok bool) {
	id, ok := objectID(w.ID)
	t = posture.Tenant{ID: id, DisplayName: w.Name, CreatedAt: moment(w.CreatedAt)}
	for _, d := range w.Domains {
		if strings.EqualFold(d.Type, "Federated") {
			t.Federated = append(t.Federated, strings.ToLower(d.Name))
		}
	}
	slices.Sort(t.Federated)
	return t, ok, ok
}

// Federation is whose MFA counts of the people of a federated domain. A domain without a
// configuration of its own, as below another one that is federated, has none that is set.
func (c *Client) Federation(ctx context.Context, domain string) (posture.FederatedMFA, error) {
	if strings.Trim(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || domain == "" {
		return "", readFederation.refuse("a domain has letters that no domain has")
	}
	p, err := readList(ctx, c, readFederation, query{path: versionOne + "/domains/" + domain + "/federationConfiguration"}, "", federation)
	if errors.Is(err, identity.ErrNotFound) || err == nil && len(p.Items) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return p.Items[0], nil
}

func federation(w struct {
	Behaviour *string `json:"federatedIdpMfaBehavior"`
}) (f posture.FederatedMFA, keep, ok bool) {
	if w.Behaviour != nil {
		f = posture.FederatedMFA(*w.Behaviour)
	}
	return f, true, true
}

// GuestTrust is whether the MFA of other tenants counts, unless there is another setting for
// one.
func (c *Client) GuestTrust(ctx context.Context) (posture.Answer, error) {
	return readOne(ctx, c, readGuestTrust, query{path: versionOne + "/policies/crossTenantAccessPolicy/default"}, func(w wireTrust) (posture.Answer, bool) {
		if w.Trust == nil {
			return posture.Unknown, true
		}
		return answer(w.Trust.MFA), true
	})
}

// PartnerTrusts is one page of the tenants for which there is another setting. What is null
// there is inherited (crossTenantAccessPolicyConfigurationPartner).
func (c *Client) PartnerTrusts(ctx context.Context, link string) (sweep.Page[readiness.PartnerTrust], error) {
	q := query{path: versionOne + "/policies/crossTenantAccessPolicy/partners", params: url.Values{"$select": {"tenantId,inboundTrust"}}}
	return readList(ctx, c, listPartners, q, link, partnerTrust)
}

type wireTrust struct {
	Tenant string `json:"tenantId"`
	Trust  *struct {
		MFA *bool `json:"isMfaAccepted"`
	} `json:"inboundTrust"`
}

func partnerTrust(w wireTrust) (p readiness.PartnerTrust, keep, ok bool) {
	id, ok := objectID(w.Tenant)
	if !ok || w.Trust == nil || w.Trust.MFA == nil {
		return p, false, ok
	}
	return readiness.PartnerTrust{Tenant: id, Counts: answer(w.Trust.MFA)}, true, true
}

// People is one page of all user objects. What the report and the log say of them is not
// among it.
func (c *Client) People(ctx context.Context, link string) (sweep.Page[posture.Person], error) {
	q := whole("/users", "id,userPrincipalName,displayName,department,accountEnabled,userType,creationType,externalUserState,onPremisesSyncEnabled,createdDateTime,identities")
	return readList(ctx, c, listUsers, q, link, person)
}

type wirePerson struct {
	ID           string     `json:"id"`
	Principal    string     `json:"userPrincipalName"`
	Name         string     `json:"displayName"`
	Department   string     `json:"department"`
	Enabled      *bool      `json:"accountEnabled"`
	UserType     string     `json:"userType"`
	CreationType string     `json:"creationType"`
	External     string     `json:"externalUserState"`
	Synced       *bool      `json:"onPremisesSyncEnabled"`
	CreatedAt    *time.Time `json:"createdDateTime"`
	Identities   []struct {
		Type   string `json:"signInType"`
		Issuer string `json:"issuer"`
	} `json:"identities"`
}

// homeTenant is whether the credentials are in another tenant of Entra. Its domain is
// documented as the issuer, and ExternalAzureAD observed; other issuers are documented by
// name (objectIdentity).
func (w wirePerson) homeTenant() posture.Answer {
	for _, i := range w.Identities {
		if i.Type != "federated" {
			continue
		}
		switch issuer := strings.ToLower(i.Issuer); {
		case slices.Contains([]string{"google.com", "facebook.com", "apple.com", "mail", "phone", "microsoftaccount", "live.com"}, issuer):
			return posture.No
		case issuer == "externalazuread" || strings.Contains(issuer, ".") && !strings.ContainsAny(issuer, ":/"):
			return posture.Yes
		}
		break
	}
	return posture.Unknown
}

// person translates a user. Null where Graph always has a value means that the app may not
// read it.
func person(w wirePerson) (p posture.Person, keep, ok bool) {
	id, ok := objectID(w.ID)
	if !ok || w.Enabled == nil || w.Principal == "" {
		return p, false, false
	}
	external := w.CreationType == "Invitation" || w.External != "" || strings.Contains(strings.ToUpper(w.Principal), "#EXT#")
	kind := posture.UnknownKind
	switch guest, member := strings.EqualFold(w.UserType, "Guest"), strings.EqualFold(w.UserType, "Member"); {
	case guest && external:
		kind = posture.ExternalGuest
	case guest:
		kind = posture.InternalGuest
	case member && external:
		kind = posture.ExternalMember
	case member:
		kind = posture.Member
	}
	home := posture.Answer("")
	if kind.External() {
		home = w.homeTenant()
	}
	return posture.Person{
		HomeTenant: home, ID: identity.UserID(id), UserPrincipalName: w.Principal, DisplayName: w.Name, Department: w.Department, Kind: kind,
		Enabled: *w.Enabled, Synced: flag(w.Synced), CreatedAt: moment(w.CreatedAt), PerUserMFA: posture.PerUserUnknown,
	}, true, true
}

// PerUserMFA is one page of everybody's state of per-user MFA. That v1.0 tells it of many
// people is observed (KelvinTegelaar/CIPP-API, Get-CIPPMFAState) and not documented: the
// documented way is a request for each person. Whoever has no state is told as unknown.
func (c *Client) PerUserMFA(ctx context.Context, link string) (sweep.Page[readiness.PerUserState], error) {
	return readList(ctx, c, listPerUserMFA, whole("/users", "id,perUserMfaState"), link, perUserState)
}

type wirePerUserMFA struct {
	ID    string `json:"id"`
	State string `json:"perUserMfaState"`
}

func perUserState(w wirePerUserMFA) (s readiness.PerUserState, keep, ok bool) {
	id, ok := objectID(w.ID)
	s = readiness.PerUserState{User: identity.UserID(id), State: posture.PerUserMFA(w.State)}
	switch s.State {
	case posture.PerUserDisabled, posture.PerUserEnabled, posture.PerUserEnforced:
	default:
		s.State = posture.PerUserUnknown
	}
	return s, ok, ok
}

// LastSignIns is one page of when people last signed in. Pages are small, whatever is
// asked for (Graph, "List users"), and the limit is that of reports.
func (c *Client) LastSignIns(ctx context.Context, link string) (sweep.Page[readiness.LastSignIns], error) {
	return readList(ctx, c, listLastSignIns, whole("/users", "id,signInActivity"), link, lastSignIns)
}

type wireLastSignIns struct {
	ID       string `json:"id"`
	Activity *struct {
		Interactive *time.Time `json:"lastSignInDateTime"`
		Background  *time.Time `json:"lastNonInteractiveSignInDateTime"`
	} `json:"signInActivity"`
}

func lastSignIns(w wireLastSignIns) (l readiness.LastSignIns, keep, ok bool) {
	id, ok := objectID(w.ID)
	l.User = identity.UserID(id)
	if w.Activity != nil {
		l.Interactive, l.Background = moment(w.Activity.Interactive), moment(w.Activity.Background)
	}
	return l, ok && w.Activity != nil, ok
}

// RegistrationDetails is one page of what people have registered, some hours old.
// Disabled accounts are not in it ("List userRegistrationDetails").
func (c *Client) RegistrationDetails(ctx context.Context, link string) (sweep.Page[readiness.Registered], error) {
	q := query{path: versionOne + "/reports/authenticationMethods/userRegistrationDetails", params: url.Values{"$top": {"999"}}}
	p, err := readList(ctx, c, listRegistrations, q, link, registrationDetails)
	if link == "" && errors.Is(err, identity.ErrRefused) {
		// The page on the list documents no $top, and the pages without are small.
		q.params = nil
		return readList(ctx, c, listRegistrations, q, link, registrationDetails)
	}
	return p, err
}

type wireDetails struct {
	ID              string     `json:"id"`
	Methods         *[]string  `json:"methodsRegistered"`
	Capable         *bool      `json:"isMfaCapable"`
	Default         string     `json:"userPreferredMethodForSecondaryAuthentication"`
	SystemPreferred *bool      `json:"isSystemPreferredAuthenticationMethodEnabled"`
	UpdatedAt       *time.Time `json:"lastUpdatedDateTime"`
}

func registrationDetails(w wireDetails) (r readiness.Registered, keep, ok bool) {
	id, ok := objectID(w.ID)
	if !ok || w.Methods == nil {
		return r, false, false
	}
	r.User = identity.UserID(id)
	r.Registration = posture.Registration{
		Known: true, Capable: answer(w.Capable), Default: w.Default, SystemPreferred: flag(w.SystemPreferred), UpdatedAt: moment(w.UpdatedAt),
	}
	for _, m := range *w.Methods {
		r.Registration.Methods = append(r.Registration.Methods, posture.Method(m))
	}
	return r, true, true
}

func answer(b *bool) posture.Answer {
	if b == nil {
		return posture.Unknown
	}
	return posture.AnswerOf(*b)
}

// EnforcedSignIns is one page of the sign-ins to an application, newest first. Beta tells
// the protocol, and is the only one that has non-interactive ones; interactive ones are
// read from v1.0 when beta refuses, and their protocol is then known in a browser only, which
// knows no passwords.
func (c *Client) EnforcedSignIns(ctx context.Context, q readiness.SignInQuery, link string) (sweep.Page[readiness.SignIn], error) {
	if !identity.IsGUID(q.AppID) {
		return sweep.Page[readiness.SignIn]{}, listEnforcedSignIns.refuse("app id is not a GUID")
	}
	filter := fmt.Sprintf("appId eq %s and createdDateTime ge %s and createdDateTime le %s", quote(q.AppID), instant(q.Since), instant(q.Until))
	event := "nonInteractiveUser"
	if q.Interactive {
		event = "interactiveUser"
	}
	if q.Interactive && strings.HasPrefix(link, c.origin+versionOne) {
		return readList(ctx, c, listEnforcedSignIns, query{path: versionOne + "/auditLogs/signIns"}, link, plainSignIn)
	}
	p, err := readList(ctx, c, listEnforcedSignIns, query{path: versionBeta + "/auditLogs/signIns", header: allMembers,
		params: url.Values{"$filter": {filter + " and signInEventTypes/any(t: t eq " + quote(event) + ")"}, "$top": {"1000"}}}, link, enforcedSignIn)
	if q.Interactive && link == "" && errors.Is(err, identity.ErrRefused) {
		return readList(ctx, c, listEnforcedSignIns, query{path: versionOne + "/auditLogs/signIns",
			params: url.Values{"$filter": {filter}, "$top": {"1000"}}}, "", plainSignIn)
	}
	return p, err
}

type wireEnforcedSignIn struct {
	UserID   string     `json:"userId"`
	At       *time.Time `json:"createdDateTime"`
	Protocol string     `json:"authenticationProtocol"`
	Client   string     `json:"clientAppUsed"`
	Status   *struct {
		Code int `json:"errorCode"`
	} `json:"status"`
}

func enforcedSignIn(w wireEnforcedSignIn) (s readiness.SignIn, keep, ok bool) {
	user, ok := somebody(w.UserID)
	if !ok || w.At == nil || w.Status == nil {
		return s, false, false
	}
	s = readiness.SignIn{User: user, At: moment(w.At), Protocol: posture.OtherProtocol, Client: w.Client, Succeeded: w.Status.Code == 0 || slices.Contains(afterPassword, w.Status.Code)}
	if strings.EqualFold(w.Protocol, "ropc") {
		s.Protocol = posture.ROPC
	}
	return s, user != "", true
}

// plainSignIn is one that v1.0 tells.
func plainSignIn(w wireEnforcedSignIn) (s readiness.SignIn, keep, ok bool) {
	if s, keep, ok = enforcedSignIn(w); !strings.EqualFold(w.Client, "Browser") {
		s.Protocol = posture.UnknownProtocol
	}
	return s, keep, ok
}

// afterPassword are the codes of sign-ins that had the right password and ended over MFA, its
// registration or a policy (Entra, reference-error-codes).
var afterPassword = []int{50072, 50074, 50076, 50078, 50079, 50125, 50140, 50158, 500121, 53000, 53001, 53003, 53004}

// RoleAssignments is one page of the roles that are active, over the directory and over
// parts of it.
func (c *Client) RoleAssignments(ctx context.Context, link string) (sweep.Page[readiness.RoleAssignment], error) {
	return readList(ctx, c, listRoles, query{path: versionOne + "/roleManagement/directory/roleAssignments"}, link, roleAssignment)
}

// RoleEligibilities is one page of the roles that can be activated; none in a tenant
// without Privileged Identity Management.
func (c *Client) RoleEligibilities(ctx context.Context, link string) (sweep.Page[readiness.RoleAssignment], error) {
	p, err := readList(ctx, c, listEligible, query{path: versionOne + "/roleManagement/directory/roleEligibilityScheduleInstances"}, link, roleAssignment)
	if refused := (*answerError)(nil); errors.As(err, &refused) && refused.code == noPIM {
		return sweep.Page[readiness.RoleAssignment]{}, nil
	}
	return p, err
}

type wireRole struct {
	Principal  string `json:"principalId"`
	Definition string `json:"roleDefinitionId"`
	Scope      string `json:"directoryScopeId"`
}

func roleAssignment(w wireRole) (a readiness.RoleAssignment, keep, ok bool) {
	principal, okPrincipal := objectID(w.Principal)
	definition, okDefinition := objectID(w.Definition)
	return readiness.RoleAssignment{Principal: principal, Definition: definition, Scoped: w.Scope != "/"},
		true, okPrincipal && okDefinition
}

// RoleDefinitions is one page of the roles with their names.
func (c *Client) RoleDefinitions(ctx context.Context, link string) (sweep.Page[readiness.Named], error) {
	return readList(ctx, c, listRoles, query{path: versionOne + "/roleManagement/directory/roleDefinitions", params: url.Values{"$select": {"id,displayName"}}}, link, named)
}

type wireNamed struct {
	ID   string `json:"id"`
	Name string `json:"displayName"`
}

func named(w wireNamed) (n readiness.Named, keep, ok bool) {
	id, ok := objectID(w.ID)
	return readiness.Named{ID: id, Name: w.Name}, ok, ok
}

// GroupName is the display name of a group; ErrNotFound when no group has the id.
func (c *Client) GroupName(ctx context.Context, group string) (string, error) {
	id, ok := objectID(group)
	if !ok {
		return "", readGroup.refuse("group id is not a GUID")
	}
	n, err := readOne(ctx, c, readGroup, query{path: versionOne + "/groups/" + id, params: url.Values{"$select": {"id,displayName"}}},
		func(w wireNamed) (readiness.Named, bool) {
			n, _, ok := named(w)
			return n, ok
		})
	return n.Name, err
}

// GroupMembers is one page of the people in a group, nested ones included. It is the plain
// collection, as memberOf's is.
func (c *Client) GroupMembers(ctx context.Context, group, link string) (sweep.Page[identity.UserID], error) {
	id, ok := objectID(group)
	if !ok {
		return sweep.Page[identity.UserID]{}, listMembers.refuse("group id is not a GUID")
	}
	return readList(ctx, c, listMembers, whole("/groups/"+id+"/transitiveMembers", "id"), link, member)
}

type wireMember struct {
	Type string `json:"@odata.type"`
	ID   string `json:"id"`
}

func member(w wireMember) (u identity.UserID, keep, ok bool) {
	id, ok := objectID(w.ID)
	return identity.UserID(id), w.Type == "#microsoft.graph.user", ok && w.Type != ""
}

// Principals is one page of the workload identities.
func (c *Client) Principals(ctx context.Context, link string) (sweep.Page[posture.Principal], error) {
	return readList(ctx, c, listPrincipals, whole("/servicePrincipals", "id,appId,displayName,servicePrincipalType,accountEnabled"), link, principal)
}

type wirePrincipal struct {
	ID      string `json:"id"`
	AppID   string `json:"appId"`
	Name    string `json:"displayName"`
	Type    string `json:"servicePrincipalType"`
	Enabled *bool  `json:"accountEnabled"`
}

func principal(w wirePrincipal) (p posture.Principal, keep, ok bool) {
	id, ok := objectID(w.ID)
	return posture.Principal{ID: id, AppID: strings.ToLower(w.AppID), DisplayName: w.Name, Kind: posture.PrincipalKind(w.Type), Enabled: flag(w.Enabled)}, ok, ok
}

// SecurityDefaults reports whether they are on.
func (c *Client) SecurityDefaults(ctx context.Context) (bool, error) {
	return readOne(ctx, c, readDefaults, query{path: versionOne + "/policies/identitySecurityDefaultsEnforcementPolicy"},
		func(w struct {
			Enabled *bool `json:"isEnabled"`
		}) (bool, bool) {
			return flag(w.Enabled), w.Enabled != nil
		})
}

// Strengths is one page of the authentication strengths, built-in ones included.
func (c *Client) Strengths(ctx context.Context, link string) (sweep.Page[posture.Strength], error) {
	q := query{path: versionOne + "/policies/authenticationStrengthPolicies", header: allMembers}
	return readList(ctx, c, listStrengths, q, link, strength)
}

type wireStrength struct {
	ID             string            `json:"id"`
	Name           string            `json:"displayName"`
	Type           string            `json:"policyType"`
	Combinations   *[]string         `json:"allowedCombinations"`
	Configurations []json.RawMessage `json:"combinationConfigurations"`
}

func strength(w wireStrength) (s posture.Strength, keep, ok bool) {
	id, ok := objectID(w.ID)
	if !ok || w.Combinations == nil {
		return s, false, false
	}
	return posture.Strength{ID: id, DisplayName: w.Name, BuiltIn: w.Type == "builtIn", Combinations: *w.Combinations, Restricted: len(w.Configurations) > 0}, true, true
}

// MethodsPolicy is which methods are allowed to whom. System-preferred MFA is told by beta
// only, and left empty when beta does not.
func (c *Client) MethodsPolicy(ctx context.Context) (posture.MethodsPolicy, error) {
	p, err := readOne(ctx, c, readMethodsPolicy, query{path: versionOne + "/policies/authenticationMethodsPolicy", header: allMembers}, methodsPolicy)
	if err != nil {
		return posture.MethodsPolicy{}, err
	}
	type credentials struct {
		System *struct {
			State string `json:"state"`
		} `json:"systemCredentialPreferences"`
	}
	preferred, err := readOne(ctx, c, readMethodsPolicy, query{path: versionBeta + "/policies/authenticationMethodsPolicy"}, func(w credentials) (string, bool) {
		if w.System == nil {
			return "", true
		}
		return w.System.State, true
	})
	if err == nil {
		p.SystemPreferred = preferred
	} else if retry := (*identity.RetryError)(nil); errors.As(err, &retry) || ctx.Err() != nil {
		return posture.MethodsPolicy{}, err
	}
	return p, nil
}

type wireTarget struct {
	ID       string `json:"id"`
	Type     string `json:"targetType"`
	Required *bool  `json:"isRegistrationRequired"`
	Method   string `json:"targetedAuthenticationMethod"`
	Mode     string `json:"authenticationMode"`
}

type wireSetting struct {
	ID          string       `json:"id"`
	State       string       `json:"state"`
	Include     []wireTarget `json:"includeTargets"`
	Exclude     []wireTarget `json:"excludeTargets"`
	SelfService *bool        `json:"isSelfServiceRegistrationAllowed"`
	Codes       *bool        `json:"isSoftwareOathEnabled"`
	Minimum     int          `json:"minimumLifetimeInMinutes"`
	Maximum     int          `json:"maximumLifetimeInMinutes"`
	Default     int          `json:"defaultLifetimeInMinutes"`
	Length      int          `json:"defaultLength"`
	OneTime     *bool        `json:"isUsableOnce"`
}

type wireMethodsPolicy struct {
	Migration      string         `json:"policyMigrationState"`
	Configurations *[]wireSetting `json:"authenticationMethodConfigurations"`
	Enforcement    *struct {
		Campaign *wireCampaign `json:"authenticationMethodsRegistrationCampaign"`
	} `json:"registrationEnforcement"`
}

type wireCampaign struct {
	State   string       `json:"state"`
	Snooze  int          `json:"snoozeDurationInDays"`
	Include []wireTarget `json:"includeTargets"`
	Exclude []wireTarget `json:"excludeTargets"`
}

func methodsPolicy(w wireMethodsPolicy) (p posture.MethodsPolicy, ok bool) {
	if w.Configurations == nil {
		return p, false
	}
	// A tenant that never had the older policies has no state of migration.
	p.Migrated = posture.AnswerOf(w.Migration == "migrationComplete" || w.Migration == "")
	p.Methods = map[string]posture.MethodSetting{}
	for _, s := range *w.Configurations {
		m, pass, ok := methodSetting(s)
		if !ok {
			return posture.MethodsPolicy{}, false
		}
		id := strings.ToLower(s.ID)
		if p.Methods[id] = m; id == passConfiguration {
			p.Pass = pass
		}
	}
	if w.Enforcement != nil && w.Enforcement.Campaign != nil {
		if p.Campaign, ok = campaign(*w.Enforcement.Campaign); !ok {
			return posture.MethodsPolicy{}, false
		}
	}
	return p, true
}

// passConfiguration is the id of the configuration of passes, in lower case.
const passConfiguration = "temporaryaccesspass"

// methodSetting is one configuration; pass is that of Temporary Access Passes.
func methodSetting(s wireSetting) (m posture.MethodSetting, pass posture.PassSetting, ok bool) {
	include, okInclude := targets(s.Include)
	exclude, okExclude := targets(s.Exclude)
	if s.ID == "" || s.State != "enabled" && s.State != "disabled" || !okInclude || !okExclude {
		return m, pass, false
	}
	m = posture.MethodSetting{ID: s.ID, Enabled: s.State == "enabled", Include: include, Exclude: exclude}
	if s.SelfService != nil {
		m.SelfService = answer(s.SelfService)
	}
	if s.Codes != nil {
		m.Codes = answer(s.Codes)
	}
	if strings.EqualFold(s.ID, passConfiguration) {
		minute := func(n int) time.Duration { return time.Duration(n) * time.Minute }
		pass = posture.PassSetting{Minimum: minute(s.Minimum), Maximum: minute(s.Maximum), Default: minute(s.Default), Length: s.Length, OneTime: flag(s.OneTime)}
	}
	return m, pass, true
}

func campaign(w wireCampaign) (c posture.Campaign, ok bool) {
	c = posture.Campaign{State: w.State, SnoozeDays: w.Snooze}
	if c.Include, ok = targets(w.Include); !ok {
		return c, false
	}
	c.Exclude, ok = targets(w.Exclude)
	return c, ok
}

// anyMode is that of a target that may use the Authenticator app in every way.
const anyMode = "any"

func targets(list []wireTarget) ([]posture.Target, bool) {
	out := make([]posture.Target, 0, len(list))
	for _, t := range list {
		if t.ID == "" || t.Type != "group" && t.Type != "user" {
			return nil, false
		}
		if t.Mode == anyMode {
			t.Mode = ""
		}
		out = append(out, posture.Target{ID: strings.ToLower(t.ID), User: t.Type == "user", Method: t.Method, Required: flag(t.Required), Mode: t.Mode})
	}
	return out, true
}

// ConditionalPolicies is one page of the Conditional Access policies. Words that nobody
// here knows are kept: package posture judges them the strict way.
func (c *Client) ConditionalPolicies(ctx context.Context, link string) (sweep.Page[posture.ConditionalPolicy], error) {
	q := query{path: versionOne + "/identity/conditionalAccess/policies", header: allMembers}
	return readList(ctx, c, listConditional, q, link, conditionalPolicy)
}

type wireRange struct {
	IncludePlatforms []string `json:"includePlatforms"`
	ExcludePlatforms []string `json:"excludePlatforms"`
	IncludeLocations []string `json:"includeLocations"`
	ExcludeLocations []string `json:"excludeLocations"`
}

type wireGuests struct {
	Kinds   string `json:"guestOrExternalUserTypes"` // joined by commas
	Tenants *struct {
		Kind string `json:"membershipKind"`
	} `json:"externalTenants"`
}

type wireConditional struct {
	ID         string                     `json:"id"`
	Name       string                     `json:"displayName"`
	State      string                     `json:"state"`
	Conditions map[string]json.RawMessage `json:"conditions"`
	Grant      *struct {
		Operator string   `json:"operator"`
		Controls []string `json:"builtInControls"`
		Custom   []string `json:"customAuthenticationFactors"`
		Terms    []string `json:"termsOfUse"`
		Strength *struct {
			ID string `json:"id"`
		} `json:"authenticationStrength"`
	} `json:"grantControls"`
}

type wireUsers struct {
	IncludeUsers  []string    `json:"includeUsers"`
	ExcludeUsers  []string    `json:"excludeUsers"`
	IncludeGroups []string    `json:"includeGroups"`
	ExcludeGroups []string    `json:"excludeGroups"`
	IncludeRoles  []string    `json:"includeRoles"`
	ExcludeRoles  []string    `json:"excludeRoles"`
	IncludeGuests *wireGuests `json:"includeGuestsOrExternalUsers"`
	ExcludeGuests *wireGuests `json:"excludeGuestsOrExternalUsers"`
}

type wireApplications struct {
	Include  []string        `json:"includeApplications"`
	Exclude  []string        `json:"excludeApplications"`
	Actions  []string        `json:"includeUserActions"`
	Contexts []string        `json:"includeAuthenticationContextClassReferences"`
	Filter   json.RawMessage `json:"applicationFilter"`
}

func conditionalPolicy(w wireConditional) (p posture.ConditionalPolicy, keep, ok bool) {
	id, ok := objectID(w.ID)
	if !ok || w.State == "" || w.Conditions == nil {
		return p, false, false
	}
	p = posture.ConditionalPolicy{ID: id, DisplayName: w.Name, State: posture.PolicyState(w.State)}
	for _, name := range slices.Sorted(maps.Keys(w.Conditions)) {
		if !condition(&p, name, w.Conditions[name]) {
			return posture.ConditionalPolicy{}, false, false
		}
	}
	if g := w.Grant; g != nil {
		p.Grant = posture.Grant{All: strings.EqualFold(g.Operator, "AND"), Controls: g.Controls, Others: len(g.Custom) + len(g.Terms)}
		if g.Strength != nil {
			p.Grant.Strength = strings.ToLower(g.Strength.ID)
		}
	}
	return p, true, true
}

// condition adds one of a policy's conditions. Those that are empty narrow nothing.
func condition(p *posture.ConditionalPolicy, name string, raw json.RawMessage) bool {
	if blank(raw) {
		return true
	}
	switch name {
	case "users":
		var u wireUsers
		if json.Unmarshal(raw, &u) != nil {
			return false
		}
		p.Include = selection(u.IncludeUsers, u.IncludeGroups, u.IncludeRoles, u.IncludeGuests)
		p.Exclude = selection(u.ExcludeUsers, u.ExcludeGroups, u.ExcludeRoles, u.ExcludeGuests)
	case "applications":
		var a wireApplications
		if json.Unmarshal(raw, &a) != nil {
			return false
		}
		p.Apps = posture.Apps{Include: lowerIDs(a.Include), Exclude: lowerIDs(a.Exclude), Actions: a.Actions, Contexts: a.Contexts, Filtered: !blank(a.Filter)}
	case "clientAppTypes":
		return json.Unmarshal(raw, &p.Clients) == nil
	case "platforms", "locations":
		var r wireRange
		if json.Unmarshal(raw, &r) != nil {
			return false
		}
		if name == "platforms" {
			p.Platforms = posture.Range{Include: r.IncludePlatforms, Exclude: r.ExcludePlatforms}
		} else {
			p.Locations = posture.Range{Include: r.IncludeLocations, Exclude: r.ExcludeLocations}
		}
	case "signInRiskLevels", "userRiskLevels", "insiderRiskLevels", "agentIdRiskLevels":
		p.Risks = append(p.Risks, name+": "+strings.Trim(string(raw), "[]"))
	case "servicePrincipalRiskLevels", "clientApplications": // about workload identities, who are not people
	default:
		p.Others = append(p.Others, name)
	}
	return true
}

// blank reports whether JSON says nothing: null, and lists and objects of nothing but
// that.
func blank(raw json.RawMessage) bool {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return len(raw) == 0
	}
	return nothing(v)
}

func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == "" || v == "none"
	case []any:
		return !slices.ContainsFunc(v, func(x any) bool { return !nothing(x) })
	case map[string]any:
		for name, x := range v {
			if !strings.HasPrefix(name, "@odata") && !nothing(x) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func selection(users, groups, roles []string, guests *wireGuests) posture.Selection {
	s := posture.Selection{Users: lowerIDs(users), Groups: lowerIDs(groups), Roles: lowerIDs(roles)}
	if guests != nil && guests.Kinds != "" && guests.Kinds != "none" {
		for _, kind := range strings.Split(guests.Kinds, ",") {
			s.Guests = append(s.Guests, strings.TrimSpace(kind))
		}
		s.GuestTenants = guests.Tenants != nil && guests.Tenants.Kind != "all"
	}
	return s
}

// lowerIDs are the ids in lower case, and words such as All as they are.
func lowerIDs(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		if out[i] = s; identity.IsGUID(s) {
			out[i] = strings.ToLower(s)
		}
	}
	return out
}
