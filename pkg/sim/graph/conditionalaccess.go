package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// accessPolicy is a conditionalAccessPolicy as far as the simulator reads it. Fields that
// it only keeps are any.
type accessPolicy struct {
	ID              string           `json:"id"`
	TemplateID      any              `json:"templateId"`
	DisplayName     string           `json:"displayName"`
	Created         any              `json:"createdDateTime"`
	Modified        any              `json:"modifiedDateTime"`
	State           string           `json:"state"`
	Conditions      accessConditions `json:"conditions"`
	GrantControls   *grantControls   `json:"grantControls"`
	SessionControls any              `json:"sessionControls"`
}

type accessConditions struct {
	ClientAppTypes       []string           `json:"clientAppTypes"`
	Applications         accessApplications `json:"applications"`
	Users                accessUsers        `json:"users"`
	ClientApplications   any                `json:"clientApplications"`
	Platforms            *accessPlatforms   `json:"platforms"`
	Locations            *accessLocations   `json:"locations"`
	Devices              *accessDevices     `json:"devices"`
	SignInRiskLevels     []string           `json:"signInRiskLevels"`
	UserRiskLevels       []string           `json:"userRiskLevels"`
	PrincipalRiskLevels  []string           `json:"servicePrincipalRiskLevels"`
	InsiderRiskLevels    any                `json:"insiderRiskLevels"`
	AuthenticationFlows  any                `json:"authenticationFlows"`
	AgentIdentityRiskLvl any                `json:"agentIdRiskLevels,omitempty"`
}

type accessApplications struct {
	Include  []string `json:"includeApplications"`
	Exclude  []string `json:"excludeApplications"`
	Actions  []string `json:"includeUserActions"`
	Contexts []string `json:"includeAuthenticationContextClassReferences"`
	Filter   any      `json:"applicationFilter"`
}

type accessUsers struct {
	IncludeUsers  []string      `json:"includeUsers"`
	ExcludeUsers  []string      `json:"excludeUsers"`
	IncludeGroups []string      `json:"includeGroups"`
	ExcludeGroups []string      `json:"excludeGroups"`
	IncludeRoles  []string      `json:"includeRoles"`
	ExcludeRoles  []string      `json:"excludeRoles"`
	IncludeGuests *accessGuests `json:"includeGuestsOrExternalUsers"`
	ExcludeGuests *accessGuests `json:"excludeGuestsOrExternalUsers"`
}

type accessGuests struct {
	Types   string         `json:"guestOrExternalUserTypes"`
	Tenants *accessTenants `json:"externalTenants"`
}

type accessTenants struct {
	Kind    string   `json:"membershipKind"`
	Members []string `json:"members,omitempty"`
}

type accessPlatforms struct {
	Include []string `json:"includePlatforms"`
	Exclude []string `json:"excludePlatforms"`
}

type accessLocations struct {
	Include []string `json:"includeLocations"`
	Exclude []string `json:"excludeLocations"`
}

type accessDevices struct {
	Filter *struct {
		Mode string `json:"mode"`
		Rule string `json:"rule"`
	} `json:"deviceFilter"`
}

type grantControls struct {
	Operator string         `json:"operator"`
	BuiltIn  []string       `json:"builtInControls"`
	Custom   []string       `json:"customAuthenticationFactors"`
	Terms    []string       `json:"termsOfUse"`
	Strength *strengthOfUse `json:"authenticationStrength"`
}

// strengthOfUse is the reference to an authentication strength.
type strengthOfUse struct {
	ID string `json:"id"`
}

// States of a policy.
const (
	stateEnabled    = "enabled"
	stateDisabled   = "disabled"
	stateReportOnly = "enabledForReportingButNotEnforced"
)

// Built-in controls and the other words that a policy uses.
const (
	controlBlock = "block"
	controlMFA   = "mfa"

	everybody    = "All"
	nobody       = "None"
	guestsOfAll  = "GuestsOrExternalUsers"
	anyClient    = "all"
	registerInfo = "urn:user:registersecurityinfo"
	registerUnit = "urn:user:registerdevice"
)

func clientTypes() []string {
	return []string{anyClient, ClientBrowser, ClientApp, "exchangeActiveSync", "easSupported", ClientLegacy}
}

// errAccess is the 400 of Conditional Access. The numbers in front of the texts are
// observed (msgraph-sdk-powershell#3089, Microsoft365DSC#6218); where no number was seen
// the text alone is assumed.
func errAccess(format string, args ...any) *apiError { return errBadRequest(format, args...) }

// errSecurityDefaults is observed in several tools that roll policies out.
func errSecurityDefaults() *apiError {
	return errAccess("Security Defaults is enabled in the tenant. You must disable Security defaults before enabling a Conditional Access policy.")
}

func errAccessSchema() *apiError {
	return errAccess("1007: Incoming ConditionalAccessPolicy object is null or does not match the schema of ConditionalAccessPolicy type. " +
		"For examples, please see API documentation at https://docs.microsoft.com/en-us/graph/api/conditionalaccessroot-post-policies?view=graph-rest-1.0.")
}

// readAccessPolicy reads a policy. Strict reading refuses properties that the resource
// does not have.
func readAccessPolicy(d Document, strict bool) (accessPolicy, error) {
	var p accessPolicy
	data, err := json.Marshal(withoutAnnotations(d))
	if err != nil {
		return p, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	return p, dec.Decode(&p)
}

// withoutAnnotations is a document without OData's annotations.
func withoutAnnotations(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, x := range v {
			if !strings.Contains(name, "@odata.") {
				out[name] = withoutAnnotations(x)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = withoutAnnotations(x)
		}
		return out
	}
	return v
}

// document is the policy as it is kept: every list is there.
func (p accessPolicy) document() (Document, error) {
	for _, list := range []*[]string{
		&p.Conditions.ClientAppTypes, &p.Conditions.SignInRiskLevels, &p.Conditions.UserRiskLevels, &p.Conditions.PrincipalRiskLevels,
		&p.Conditions.Applications.Include, &p.Conditions.Applications.Exclude, &p.Conditions.Applications.Actions, &p.Conditions.Applications.Contexts,
		&p.Conditions.Users.IncludeUsers, &p.Conditions.Users.ExcludeUsers, &p.Conditions.Users.IncludeGroups, &p.Conditions.Users.ExcludeGroups,
		&p.Conditions.Users.IncludeRoles, &p.Conditions.Users.ExcludeRoles,
	} {
		*list = notNil(*list)
	}
	if g := p.GrantControls; g != nil {
		c := *g
		c.BuiltIn, c.Custom, c.Terms = notNil(g.BuiltIn), notNil(g.Custom), notNil(g.Terms)
		p.GrantControls = &c
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var d Document
	return d, json.Unmarshal(data, &d)
}

// accessPolicies are the policies in the order of the list, read once.
func (d *directory) accessPolicies() []accessPolicy {
	if d.access == nil {
		d.access = make([]accessPolicy, 0, len(d.Policies.ConditionalAccess))
		for _, doc := range d.Policies.ConditionalAccess {
			p, err := readAccessPolicy(doc, false)
			if err != nil { // refused when the tenant was read
				panic(fmt.Sprintf("graph simulator: policy %v: %v", doc["id"], err))
			}
			d.access = append(d.access, p)
		}
	}
	return d.access
}

// setAccessPolicies replaces the list of policies.
func (d *directory) setAccessPolicies(docs []Document) {
	d.Policies.ConditionalAccess, d.access = docs, nil
}

// checkAccessPolicy refuses what Graph refuses. Sources: the pages on creating a policy
// and on the resources it is made of. Texts without a number are assumed.
func (d *directory) checkAccessPolicy(p accessPolicy) error {
	c := p.Conditions
	switch {
	case strings.TrimSpace(p.DisplayName) == "":
		return errAccess("displayName is required.")
	case p.State != stateEnabled && p.State != stateDisabled && p.State != stateReportOnly:
		return errAccess("Invalid value '%s' for state. Must be one of enabled, disabled, enabledForReportingButNotEnforced.", p.State)
	case len(c.ClientAppTypes) == 0:
		return errAccess("conditions.clientAppTypes is required.")
	case len(c.Applications.Include)+len(c.Applications.Actions)+len(c.Applications.Contexts) == 0:
		return errAccess("conditions.applications must include applications, user actions or authentication contexts.")
	case c.ClientApplications == nil && len(c.Users.IncludeUsers)+len(c.Users.IncludeGroups)+len(c.Users.IncludeRoles) == 0 && c.Users.IncludeGuests == nil:
		return errAccess("conditions.users must include users, groups, roles or guests.")
	case p.GrantControls == nil && p.SessionControls == nil:
		return errAccess("A policy needs grant controls or session controls.")
	}
	for _, list := range []struct {
		name   string
		values []string
		known  []string
	}{
		{"clientAppTypes", c.ClientAppTypes, clientTypes()},
		{"signInRiskLevels", c.SignInRiskLevels, []string{"low", "medium", "high", "hidden", "none"}},
		{"userRiskLevels", c.UserRiskLevels, []string{"low", "medium", "high", "hidden", "none"}},
		{"includeUserActions", c.Applications.Actions, []string{registerInfo, registerUnit}},
	} {
		for _, v := range list.values {
			if !slices.Contains(list.known, v) {
				return errAccess("Invalid value '%s' for conditions.%s.", v, list.name)
			}
		}
	}
	if err := d.checkAccessUsers(c.Users); err != nil {
		return err
	}
	for _, id := range slices.Concat(c.Applications.Include, c.Applications.Exclude) {
		if !d.knowsApplication(id) {
			return errAccess("Application '%s' does not exist in the directory.", id)
		}
	}
	if c.Locations != nil {
		for _, id := range slices.Concat(c.Locations.Include, c.Locations.Exclude) {
			if found, _ := findDocument(d.Policies.NamedLocations, id); found == nil && id != everybody && id != "AllTrusted" && id != trustedAddresses {
				return errAccess("Named location '%s' does not exist in the directory.", id)
			}
		}
	}
	if p.GrantControls != nil {
		if err := d.checkGrantControls(*p.GrantControls, c); err != nil {
			return err
		}
	}
	if p.State == stateEnabled && d.Policies.SecurityDefaults.IsEnabled {
		return errSecurityDefaults()
	}
	return nil
}

// trustedAddresses is the location of the old service settings for trusted addresses.
const trustedAddresses = "00000000-0000-0000-0000-000000000000"

func (d *directory) checkAccessUsers(u accessUsers) error {
	for _, id := range slices.Concat(u.IncludeUsers, u.ExcludeUsers) {
		if d.byID[strings.ToLower(id)] == nil && id != everybody && id != nobody && id != guestsOfAll {
			return errAccess("User '%s' does not exist in the directory.", id)
		}
	}
	for _, id := range slices.Concat(u.IncludeGroups, u.ExcludeGroups) {
		if d.group(id) == nil {
			return errAccess("Group '%s' does not exist in the directory.", id)
		}
	}
	for _, id := range slices.Concat(u.IncludeRoles, u.ExcludeRoles) {
		if d.role(id) == nil {
			return errAccess("Role '%s' does not exist in the directory.", id)
		}
	}
	switch {
	case slices.Contains(u.IncludeUsers, everybody) && len(u.IncludeUsers) > 1, slices.Contains(u.IncludeUsers, nobody) && len(u.IncludeUsers) > 1:
		return errAccess("'All' and 'None' cannot be combined with other users.")
	case slices.Contains(u.ExcludeUsers, everybody):
		return errAccess("'All' cannot be excluded.")
	case u.IncludeGuests != nil && slices.Contains(u.IncludeUsers, guestsOfAll), u.ExcludeGuests != nil && slices.Contains(u.ExcludeUsers, guestsOfAll):
		return errAccess("'GuestsOrExternalUsers' cannot be combined with guestOrExternalUsers") // observed: terraform-provider-azuread#1196
	}
	for _, g := range []*accessGuests{u.IncludeGuests, u.ExcludeGuests} {
		if g == nil {
			continue
		}
		if g.Types == "" {
			return errAccess("guestOrExternalUserTypes is required.")
		}
		for kind := range strings.SplitSeq(g.Types, ",") {
			switch strings.TrimSpace(kind) {
			case guestInternal, guestB2B, memberB2B, "b2bDirectConnectUser", "otherExternalUser", "serviceProvider", "none":
			default:
				return errAccess("Invalid value '%s' for guestOrExternalUserTypes.", kind)
			}
		}
	}
	return nil
}

func (d *directory) knowsApplication(id string) bool {
	switch id {
	case everybody, nobody, suiteOffice, suiteAdminPortals:
		return true
	}
	if _, known := knownApplication(id); known {
		return true
	}
	return slices.ContainsFunc(d.ServicePrincipals, func(p *ServicePrincipal) bool { return strings.EqualFold(p.AppID, id) }) ||
		slices.ContainsFunc(d.Apps, func(a *App) bool { return strings.EqualFold(a.ClientID, id) })
}

func (d *directory) checkGrantControls(g grantControls, c accessConditions) error {
	if g.Operator != "AND" && g.Operator != "OR" {
		return errAccess("Invalid value '%s' for grantControls.operator. Must be AND or OR.", g.Operator)
	}
	for _, v := range g.BuiltIn {
		switch v {
		case controlBlock, controlMFA, "compliantDevice", "domainJoinedDevice", "approvedApplication", "compliantApplication", "passwordChange", "riskRemediation":
		default:
			return errAccess("Invalid value '%s' for grantControls.builtInControls.", v)
		}
	}
	n := len(g.BuiltIn) + len(g.Custom) + len(g.Terms)
	if g.Strength != nil {
		n++
		switch found, _ := findDocument(d.Policies.AuthenticationStrengths, g.Strength.ID); {
		case found == nil:
			return errAccess("Authentication strength '%s' does not exist in the directory.", g.Strength.ID)
		case slices.Contains(g.BuiltIn, controlMFA):
			return errAccess("1108: Authentication strengths cannot be used alongside the MFA built-in control.")
		}
	}
	switch {
	case n == 0:
		return errAccess("grantControls must hold a control.")
	case slices.Contains(g.BuiltIn, controlBlock) && n > 1:
		return errAccess("The control 'block' cannot be combined with other controls.")
	case slices.Contains(g.BuiltIn, "passwordChange") && (!slices.Contains(g.BuiltIn, controlMFA) || g.Operator != "AND" || len(c.UserRiskLevels) == 0 ||
		!slices.Equal(c.Applications.Include, []string{everybody}) || len(c.Applications.Exclude) > 0): // the page on grant controls
		return errAccess("The control 'passwordChange' needs 'mfa' with the operator AND, userRiskLevels, and all applications.")
	}
	return nil
}

// incomingAccessPolicy reads the body of a request, which names no read-only properties
// and no more of a strength than its id.
func incomingAccessPolicy(r *request) (Document, error) {
	var body Document
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	if body == nil {
		return nil, errAccessSchema()
	}
	for _, name := range []string{"id", "createdDateTime", "modifiedDateTime"} {
		if body[name] != nil {
			return nil, errAccess("1001: '%s' is a readonly field and cannot be updated. For examples, please see API documentation at "+
				"https://docs.microsoft.com/en-us/graph/api/conditionalaccessroot-post-policies?view=graph-rest-1.0.", name)
		}
		delete(body, name)
	}
	body = withoutAnnotations(body).(map[string]any)
	if grant, _ := body["grantControls"].(map[string]any); grant != nil {
		if strength, _ := grant["authenticationStrength"].(map[string]any); strength != nil && (len(strength) != 1 || strength["id"] == nil) {
			return nil, errAccessSchema()
		}
	}
	return body, nil
}

// keepAccessPolicy checks a whole policy and gives the document to keep.
func (s *Server) keepAccessPolicy(d Document, id string, created, modified any) (Document, error) {
	p, err := readAccessPolicy(d, true)
	if err != nil {
		return nil, errAccessSchema()
	}
	p.ID, p.Created, p.Modified = id, created, modified
	if err := s.dir.checkAccessPolicy(p); err != nil {
		return nil, err
	}
	return p.document()
}

func (s *Server) listConditionalAccess(r *request) (response, error) {
	docs := make([]Document, len(s.dir.Policies.ConditionalAccess))
	for i, d := range s.dir.Policies.ConditionalAccess {
		docs[i] = s.renderAccessPolicy(d)
	}
	return listDocuments(r, "identity/conditionalAccess/policies", docs, "displayName", "state", "createdDateTime", "modifiedDateTime")
}

func (s *Server) getConditionalAccess(r *request) (response, error) {
	d, _ := findDocument(s.dir.Policies.ConditionalAccess, r.params["policy"])
	if d == nil {
		return response{}, errNotFound(r.params["policy"])
	}
	return entityDocument(r, "identity/conditionalAccess/policies/$entity", s.renderAccessPolicy(d)), nil
}

// renderAccessPolicy shows the strength that a policy refers to as it is now.
func (s *Server) renderAccessPolicy(d Document) Document {
	grant, _ := d["grantControls"].(map[string]any)
	strength, _ := grant["authenticationStrength"].(map[string]any)
	id, _ := strength["id"].(string)
	live, _ := findDocument(s.dir.Policies.AuthenticationStrengths, id)
	if live == nil {
		return d
	}
	d, grant = maps.Clone(d), maps.Clone(grant)
	d["grantControls"], grant["authenticationStrength"] = grant, live
	return d
}

func (s *Server) createConditionalAccess(r *request) (response, error) {
	if s.dir.Behaviour.Licence == LicenceFree {
		return response{}, errLicence()
	}
	body, err := incomingAccessPolicy(r)
	if err != nil {
		return response{}, err
	}
	d, err := s.keepAccessPolicy(body, s.newID(), r.now.Format(time.RFC3339Nano), nil)
	if err != nil {
		return response{}, err
	}
	s.dir.setAccessPolicies(append(slices.Clone(s.dir.Policies.ConditionalAccess), d))
	resp := entityDocument(r, "identity/conditionalAccess/policies/$entity", s.renderAccessPolicy(d))
	resp.status = http.StatusCreated
	return resp, nil
}

// patchConditionalAccess keeps what the body leaves out, inside objects as well: a control
// that is to go must be sent as an empty list (Microsoft365DSC#6218).
func (s *Server) patchConditionalAccess(r *request) (response, error) {
	old, i := findDocument(s.dir.Policies.ConditionalAccess, r.params["policy"])
	if old == nil {
		return response{}, errNotFound(r.params["policy"])
	}
	body, err := incomingAccessPolicy(r)
	if err != nil {
		return response{}, err
	}
	id, _ := old["id"].(string)
	merged := merge(s.plainAccessPolicy(old), body).(map[string]any)
	d, err := s.keepAccessPolicy(merged, id, old["createdDateTime"], r.now.Format(time.RFC3339Nano))
	if err != nil {
		return response{}, err
	}
	docs := slices.Clone(s.dir.Policies.ConditionalAccess)
	docs[i] = d
	s.dir.setAccessPolicies(docs)
	return noContent(), nil
}

// plainAccessPolicy is a kept policy with no more of its strength than the id.
func (s *Server) plainAccessPolicy(d Document) Document {
	d = withoutAnnotations(d).(map[string]any)
	grant, _ := d["grantControls"].(map[string]any)
	if strength, _ := grant["authenticationStrength"].(map[string]any); strength != nil {
		grant["authenticationStrength"] = map[string]any{"id": strength["id"]}
	}
	return d
}

func (s *Server) deleteConditionalAccess(r *request) (response, error) {
	d, i := findDocument(s.dir.Policies.ConditionalAccess, r.params["policy"])
	if d == nil {
		return response{}, errNotFound(r.params["policy"])
	}
	s.dir.setAccessPolicies(slices.Delete(slices.Clone(s.dir.Policies.ConditionalAccess), i, i+1))
	return noContent(), nil
}

func (s *Server) listNamedLocations(r *request) (response, error) {
	return listDocuments(r, "identity/conditionalAccess/namedLocations", s.dir.Policies.NamedLocations, "displayName", "createdDateTime", "modifiedDateTime", "isTrusted")
}

func (s *Server) getNamedLocation(r *request) (response, error) {
	return oneDocument(r, s.dir.Policies.NamedLocations, "location", "identity/conditionalAccess/namedLocations/$entity")
}
