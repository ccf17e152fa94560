package graph

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	sample "mfaflow/events/tenant"
)

// Tenant is the whole directory the simulator serves.
type Tenant struct {
	ID                string               `json:"id"`
	DisplayName       string               `json:"displayName"`
	Domains           []string             `json:"domains"` // verified domains, the default first
	CreatedDateTime   *time.Time           `json:"createdDateTime,omitempty"`
	Behaviour         Behaviour            `json:"behaviour"`
	Apps              []*App               `json:"apps"`
	Users             []*User              `json:"users"`
	NotYetProvisioned []*User              `json:"notYetProvisioned"` // known to HR only; see Server.Provision
	Groups            []*Group             `json:"groups"`
	ServicePrincipals []*ServicePrincipal  `json:"servicePrincipals,omitempty"`
	RoleDefinitions   []*RoleDefinition    `json:"roleDefinitions"`
	RoleAssignments   []*RoleAssignment    `json:"roleAssignments"`
	RoleEligibilities []*RoleAssignment    `json:"roleEligibilities"` // PIM: eligible, not active
	Policies          Policies             `json:"policies"`
	ExternalMail      []string             `json:"externalMailDomains"` // domains outside the tenant that accept mail
	SignIns           []*SignIn            `json:"signIns"`
	Detections        []*Detection         `json:"riskDetections"`
	mailboxes         map[string][]Message // by lower-case address
	deleted           []*User
	passValues        []string // every pass value ever issued
}

// Behaviour holds the switches for what Graph's documentation leaves open or where it
// contradicts observation.
type Behaviour struct {
	PassOutsidePolicy PassOutsidePolicy `json:"passOutsidePolicy"`
	DefaultMethodText DefaultMethodText `json:"defaultMethodText"`
	LastDefaultMethod LastDefaultMethod `json:"lastDefaultMethod"`
	SignInPreferences PreferenceEffect  `json:"signInPreferences"`
	ExpiredDelta      ExpiredDelta      `json:"expiredDelta"`
	// DeltaPage is the number of users on a page of a delta query; Graph documents none
	// and takes no $top there. 200 is assumed.
	DeltaPage int `json:"deltaPage"`
	// Notifications is how many notifications one change makes for each subscription.
	// Graph sends several now and then (microsoft-graph-docs#21882).
	Notifications int     `json:"notifications"`
	Licence       Licence `json:"licence"`
	// ReportDelay is the number of seconds after which a sign-in shows in the log; Graph
	// takes minutes.
	ReportDelay int `json:"reportDelaySeconds"`
	// PerUserMFA is what GET /users answers when perUserMfaState is selected.
	PerUserMFA PerUserSelect `json:"perUserMfaSelect"`
}

// PerUserSelect says whether a list of users tells their per-user MFA state.
type PerUserSelect string

// Tools in production select it (observed, CIPP); no page documents that property of the
// user.
const (
	PerUserAnswered PerUserSelect = "answered"
	PerUserRefused  PerUserSelect = "refused"
)

// PassOutsidePolicy says what a Temporary Access Pass request gets for a person whom the
// policy does not include.
type PassOutsidePolicy string

// The request is refused (observed, glueckkanja/MyWorkID#47), or the pass is created and
// cannot be used to sign in (documented in Entra's how-to for the pass).
const (
	PassRejected PassOutsidePolicy = "reject"
	PassCreated  PassOutsidePolicy = "create"
)

// DefaultMethodText selects the refusal for deleting the default method.
type DefaultMethodText string

// The two texts seen in microsoft-graph-docs#18091 (2022) and #14470 (2021).
const (
	NewerText DefaultMethodText = "newer"
	OlderText DefaultMethodText = "older"
)

// LastDefaultMethod says whether the default method can be deleted once it is alone.
type LastDefaultMethod string

// The older text implies that it can; #18091 shows a tenant where it could not.
const (
	LastDefaultDeletable LastDefaultMethod = "deletable"
	LastDefaultKept      LastDefaultMethod = "kept"
)

// PreferenceEffect says whether a sign-in preference written over the beta endpoint
// changes the default method.
type PreferenceEffect string

// With system-preferred authentication on, Graph documents that the preference is ignored.
const (
	PreferencesApplied PreferenceEffect = "applied"
	PreferencesIgnored PreferenceEffect = "ignored"
)

// ExpiredDelta selects the answer to a delta token older than seven days.
type ExpiredDelta string

// The page on delta query documents 410 with a Location for a reset, and an error "40X"
// with a code such as syncStateNotFound for an expired token.
const (
	ExpiredGone     ExpiredDelta = "gone"
	ExpiredNotFound ExpiredDelta = "syncStateNotFound"
)

// Licence is the edition of Entra ID that the tenant pays for. The sign-in log and risk
// detections need P1, risky users P2.
type Licence string

// The editions.
const (
	LicenceFree Licence = "free"
	LicenceP1   Licence = "P1"
	LicenceP2   Licence = "P2"
)

// App is an app registration with its application permissions.
type App struct {
	Name                 string                `json:"name"`
	ClientID             string                `json:"clientId"`
	ClientSecret         string                `json:"clientSecret,omitempty"` // generated at start when empty
	Permissions          []string              `json:"permissions"`
	DirectoryRoles       []string              `json:"directoryRoles,omitempty"` // roles the app itself holds
	Certificates         []string              `json:"certificates,omitempty"`   // PEM; accepted as client assertion keys
	FederatedCredentials []FederatedCredential `json:"federatedCredentials,omitempty"`
}

// FederatedCredential lets a foreign token stand in for the app's secret.
type FederatedCredential struct {
	Issuer   string `json:"issuer"`
	Subject  string `json:"subject"`
	Audience string `json:"audience"`
	Key      string `json:"key"` // PEM public key of the issuer
}

// User is a directory user. Field names follow Graph; the last block is the simulator's.
type User struct {
	ID                              string          `json:"id"`
	UserPrincipalName               string          `json:"userPrincipalName"`
	DisplayName                     string          `json:"displayName"`
	GivenName                       string          `json:"givenName,omitempty"`
	Surname                         string          `json:"surname,omitempty"`
	Mail                            string          `json:"mail,omitempty"`
	MailNickname                    string          `json:"mailNickname,omitempty"`
	OtherMails                      []string        `json:"otherMails,omitempty"`
	ProxyAddresses                  []string        `json:"proxyAddresses,omitempty"`
	EmployeeID                      string          `json:"employeeId,omitempty"`
	EmployeeType                    string          `json:"employeeType,omitempty"`
	EmployeeHireDate                *time.Time      `json:"employeeHireDate,omitempty"`
	EmployeeLeaveDateTime           *time.Time      `json:"employeeLeaveDateTime,omitempty"`
	Department                      string          `json:"department,omitempty"`
	JobTitle                        string          `json:"jobTitle,omitempty"`
	CompanyName                     string          `json:"companyName,omitempty"`
	OfficeLocation                  string          `json:"officeLocation,omitempty"`
	City                            string          `json:"city,omitempty"`
	Country                         string          `json:"country,omitempty"`
	UsageLocation                   string          `json:"usageLocation,omitempty"`
	PreferredLanguage               string          `json:"preferredLanguage,omitempty"`
	MobilePhone                     string          `json:"mobilePhone,omitempty"`
	BusinessPhones                  []string        `json:"businessPhones,omitempty"`
	AccountEnabled                  bool            `json:"accountEnabled"`
	UserType                        string          `json:"userType"` // Member or Guest
	CreationType                    string          `json:"creationType,omitempty"`
	ExternalUserState               string          `json:"externalUserState,omitempty"`
	CreatedDateTime                 *time.Time      `json:"createdDateTime,omitempty"`
	LastPasswordChangeDateTime      *time.Time      `json:"lastPasswordChangeDateTime,omitempty"`
	SignInSessionsValidFromDateTime *time.Time      `json:"signInSessionsValidFromDateTime,omitempty"`
	OnPremisesSyncEnabled           *bool           `json:"onPremisesSyncEnabled,omitempty"`
	OnPremisesSamAccountName        string          `json:"onPremisesSamAccountName,omitempty"`
	OnPremisesLastSyncDateTime      *time.Time      `json:"onPremisesLastSyncDateTime,omitempty"`
	SignInActivity                  *SignInActivity `json:"signInActivity,omitempty"`
	ForceChangePassword             bool            `json:"forceChangePasswordNextSignIn,omitempty"`

	// HomeTenant is the tenant of Entra that an external person's credentials are in, and
	// IdentityIssuer who has them otherwise, such as google.com.
	HomeTenant     string `json:"homeTenant,omitempty"`
	IdentityIssuer string `json:"identityIssuer,omitempty"`
	// FederatedMFA: the identity provider of the person's domain asks for MFA by itself.
	FederatedMFA bool `json:"federatedMfa,omitempty"`

	Note          string            `json:"note,omitempty"`    // what the person is there for
	Manager       string            `json:"manager,omitempty"` // user id
	NoMailbox     bool              `json:"noMailbox,omitempty"`
	Methods       []*Method         `json:"methods,omitempty"`       // without the password and the pass
	DefaultMethod string            `json:"defaultMethod,omitempty"` // id of the default second factor
	Preferences   SignInPreferences `json:"signInPreferences"`
	PerUserMFA    string            `json:"perUserMfaState,omitempty"` // empty means disabled
	Risk          *Risk             `json:"risk,omitempty"`            // nil: identity protection never judged the person
	pass          *Pass
	deletedAt     *time.Time

	wrongPasswords int
	lockedUntil    time.Time
}

// SignInActivity is the signInActivity property of a user.
type SignInActivity struct {
	LastSignInDateTime               *time.Time `json:"lastSignInDateTime"`
	LastNonInteractiveSignInDateTime *time.Time `json:"lastNonInteractiveSignInDateTime,omitempty"`
	LastSuccessfulSignInDateTime     *time.Time `json:"lastSuccessfulSignInDateTime,omitempty"`
}

// SignInPreferences is the beta resource of that name.
type SignInPreferences struct {
	SystemPreferred bool   `json:"isSystemPreferredAuthenticationMethodEnabled"`
	Preferred       string `json:"userPreferredMethodForSecondaryAuthentication,omitempty"`
}

// Method is one registered authentication method. Kind is the part of the OData type
// before "AuthenticationMethod", e.g. "phone"; an unknown kind is listed like any other
// and has no path of its own.
type Method struct {
	Kind            string         `json:"kind"`
	ID              string         `json:"id"`
	CreatedDateTime *time.Time     `json:"createdDateTime,omitempty"`
	Properties      map[string]any `json:"properties,omitempty"`
}

// Group is a directory group. Members and owners are user or group ids.
type Group struct {
	ID                 string     `json:"id"`
	DisplayName        string     `json:"displayName"`
	Description        string     `json:"description,omitempty"`
	Mail               string     `json:"mail,omitempty"`
	MailEnabled        bool       `json:"mailEnabled"`
	SecurityEnabled    bool       `json:"securityEnabled"`
	GroupTypes         []string   `json:"groupTypes,omitempty"`
	IsAssignableToRole bool       `json:"isAssignableToRole,omitempty"`
	CreatedDateTime    *time.Time `json:"createdDateTime,omitempty"`
	Members            []string   `json:"members,omitempty"`
	Owners             []string   `json:"owners,omitempty"`
	Note               string     `json:"note,omitempty"`
}

// RoleDefinition is a directory role; ID is the role template's.
type RoleDefinition struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	Description string `json:"description,omitempty"`
}

// RoleAssignment gives a role to a user or to a role-assignable group.
type RoleAssignment struct {
	ID               string     `json:"id"`
	PrincipalID      string     `json:"principalId"`
	RoleDefinitionID string     `json:"roleDefinitionId"`
	StartDateTime    *time.Time `json:"startDateTime,omitempty"`
	EndDateTime      *time.Time `json:"endDateTime,omitempty"`
}

// Document is a policy object that the simulator stores and returns as it is.
type Document = map[string]any

// Policies are the tenant's policies.
type Policies struct {
	AuthenticationMethods   Document       `json:"authenticationMethodsPolicy"`
	TemporaryAccessPass     PassPolicy     `json:"temporaryAccessPass"`
	MethodConfigurations    []Document     `json:"authenticationMethodConfigurations"` // all but the pass
	ConditionalAccess       []Document     `json:"conditionalAccess"`
	AuthenticationStrengths []Document     `json:"authenticationStrengths"`
	SecurityDefaults        SecurityPolicy `json:"securityDefaults"`
	NamedLocations          []Document     `json:"namedLocations,omitempty"`
	PasswordReset           PasswordReset  `json:"selfServicePasswordReset"`
	// TrustGuestMFA is the default of cross-tenant access: a guest's multifactor
	// authentication at home counts here. Partners have other settings for some tenants.
	TrustGuestMFA bool      `json:"trustGuestMfa,omitempty"`
	Partners      []Partner `json:"crossTenantPartners,omitempty"`
	// Federations are the domains whose people sign in at another identity provider.
	Federations []Federation `json:"domainFederations,omitempty"`
}

// Partner is what cross-tenant access says of another tenant.
type Partner struct {
	TenantID string `json:"tenantId"`
	// TrustMFA is nil where the default is inherited.
	TrustMFA *bool `json:"trustMfa,omitempty"`
}

// Federation is the configuration of a federated domain.
type Federation struct {
	Domain string `json:"domain"`
	// MFABehaviour is federatedIdpMfaBehavior; empty where it was never set.
	MFABehaviour string `json:"federatedIdpMfaBehavior,omitempty"`
}

// SecurityPolicy is the identitySecurityDefaultsEnforcementPolicy.
type SecurityPolicy struct {
	IsEnabled bool `json:"isEnabled"`
}

// SampleTenant is the tenant embedded in the events folder.
func SampleTenant() (*Tenant, error) {
	return ParseTenant(sample.JSON())
}

// ParseTenant reads a tenant file and reports every inconsistency it finds.
func ParseTenant(data []byte) (*Tenant, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	t := new(Tenant)
	if err := dec.Decode(t); err != nil {
		return nil, fmt.Errorf("tenant file: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("tenant file: data after the tenant")
	}
	t.fillDefaults()
	if err := t.validate(); err != nil {
		return nil, fmt.Errorf("tenant file: %w", err)
	}
	return t, nil
}

// Write writes the tenant as a file that ParseTenant reads, with a line for each member of
// a list, so that a large tenant takes no memory and a person can be found.
func (t *Tenant) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out) // ends each value with a newline
	enc.SetEscapeHTML(false)
	before := "{"
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		field := v.Field(i)
		if name == "" || field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0 {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s%q: ", before, name); err != nil {
			return fmt.Errorf("write tenant: %w", err)
		}
		before = ","
		if field.Kind() != reflect.Slice {
			if err := enc.Encode(field.Interface()); err != nil {
				return fmt.Errorf("write tenant: %s: %w", name, err)
			}
			continue
		}
		for j := range field.Len() {
			if err := errors.Join(out.WriteByte("[,"[min(j, 1)]), enc.Encode(field.Index(j).Interface())); err != nil {
				return fmt.Errorf("write tenant: %s: %w", name, err)
			}
		}
		_, _ = out.WriteString("]\n") // an error stays until Flush
	}
	_, _ = out.WriteString("}\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write tenant: %w", err)
	}
	return nil
}

func (b *Behaviour) fillDefaults() {
	if b.PassOutsidePolicy == "" {
		b.PassOutsidePolicy = PassRejected
	}
	if b.DefaultMethodText == "" {
		b.DefaultMethodText = NewerText
	}
	if b.LastDefaultMethod == "" {
		b.LastDefaultMethod = LastDefaultDeletable
	}
	if b.SignInPreferences == "" {
		b.SignInPreferences = PreferencesApplied
	}
	if b.ExpiredDelta == "" {
		b.ExpiredDelta = ExpiredGone
	}
	if b.DeltaPage == 0 {
		b.DeltaPage = 200
	}
	if b.Notifications == 0 {
		b.Notifications = 1
	}
	if b.PerUserMFA == "" {
		b.PerUserMFA = PerUserAnswered
	}
	if b.Licence == "" {
		b.Licence = LicenceP2
	}
}

func (t *Tenant) fillDefaults() {
	t.Behaviour.fillDefaults()
	t.Policies.TemporaryAccessPass.fillDefaults()
}

func (t *Tenant) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if t.ID == "" || len(t.Domains) == 0 {
		fail("id and at least one domain are required")
	}
	if err := t.Behaviour.validate(); err != nil {
		errs = append(errs, err)
	}
	if err := t.Policies.TemporaryAccessPass.validate(); err != nil {
		errs = append(errs, err)
	}
	seen := make(map[string]string)
	unique := func(kind, key string) {
		key = strings.ToLower(key)
		if other, ok := seen[key]; ok {
			fail("%s %s is already taken by a %s", kind, key, other)
		}
		seen[key] = kind
	}
	for _, u := range slices.Concat(t.Users, t.NotYetProvisioned) {
		unique("user id", u.ID)
		unique("userPrincipalName", u.UserPrincipalName)
		if u.UserType != "Member" && u.UserType != "Guest" {
			fail("user %s: userType %q is neither Member nor Guest", u.UserPrincipalName, u.UserType)
		}
		if u.DefaultMethod != "" && u.method(u.DefaultMethod) == nil {
			fail("user %s: default method %s is not registered", u.UserPrincipalName, u.DefaultMethod)
		}
		switch u.PerUserMFA {
		case "", "disabled", "enabled", "enforced":
		default:
			fail("user %s: perUserMfaState %q does not exist", u.UserPrincipalName, u.PerUserMFA)
		}
		if u.Risk != nil {
			if err := u.Risk.validate(); err != nil {
				fail("user %s: %w", u.UserPrincipalName, err)
			}
		}
		for _, m := range u.Methods {
			if m.Kind == "password" || m.Kind == "temporaryAccessPass" {
				fail("user %s: a %s is not listed among the methods", u.UserPrincipalName, m.Kind)
			}
		}
	}
	for _, f := range t.Policies.Federations {
		if !containsFold(t.Domains, f.Domain) {
			fail("federation of %s: the tenant has no such domain", f.Domain)
		}
		switch f.MFABehaviour {
		case "", federatedAccept, federatedEnforce, federatedReject:
		default:
			fail("federation of %s: federatedIdpMfaBehavior %q does not exist", f.Domain, f.MFABehaviour)
		}
	}
	for _, g := range t.Groups {
		unique("group id", g.ID)
	}
	for _, p := range t.ServicePrincipals {
		unique("service principal id", p.ID)
		if err := p.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, in := range t.SignIns {
		unique("sign-in id", in.ID)
		if in.User == "" || in.Time == nil {
			fail("sign-in %s: user and createdDateTime are required", in.ID)
		}
		if err := in.validate(); err != nil {
			fail("sign-in %s: %w", in.ID, err)
		}
	}
	for _, d := range t.Detections {
		unique("risk detection id", d.ID)
		if err := d.validate(); err != nil || t.User(d.User) == nil || d.DetectedAt == nil {
			fail("risk detection %s: %w", d.ID, errors.Join(err, errors.New("user and detectedDateTime are required")))
		}
	}
	for _, p := range t.Policies.ConditionalAccess {
		if _, err := readAccessPolicy(p, false); err != nil {
			fail("conditional access policy %v: %w", p["id"], err)
		}
	}
	for _, a := range t.Apps {
		unique("app name", a.Name)
		unique("client id", a.ClientID)
	}
	known := func(id string) bool { _, ok := seen[strings.ToLower(id)]; return ok }
	for _, u := range slices.Concat(t.Users, t.NotYetProvisioned) {
		if u.Manager != "" && !known(u.Manager) {
			fail("user %s: manager %s does not exist", u.UserPrincipalName, u.Manager)
		}
	}
	for _, g := range t.Groups {
		for _, id := range slices.Concat(g.Members, g.Owners) {
			if !known(id) {
				fail("group %s: %s does not exist", g.DisplayName, id)
			}
		}
	}
	roles := make(map[string]bool)
	for _, d := range t.RoleDefinitions {
		roles[d.ID] = true
	}
	for _, a := range slices.Concat(t.RoleAssignments, t.RoleEligibilities) {
		if !known(a.PrincipalID) || !roles[a.RoleDefinitionID] {
			fail("role assignment %s: principal or role does not exist", a.ID)
		}
	}
	return errors.Join(errs...)
}

func (b Behaviour) validate() error {
	var errs []error
	check := func(ok bool, name string, value any) {
		if !ok {
			errs = append(errs, fmt.Errorf("behaviour: %s has no value %v", name, value))
		}
	}
	check(b.PassOutsidePolicy == PassRejected || b.PassOutsidePolicy == PassCreated, "passOutsidePolicy", b.PassOutsidePolicy)
	check(b.DefaultMethodText == NewerText || b.DefaultMethodText == OlderText, "defaultMethodText", b.DefaultMethodText)
	check(b.LastDefaultMethod == LastDefaultDeletable || b.LastDefaultMethod == LastDefaultKept, "lastDefaultMethod", b.LastDefaultMethod)
	check(b.ExpiredDelta == ExpiredGone || b.ExpiredDelta == ExpiredNotFound, "expiredDelta", b.ExpiredDelta)
	check(b.DeltaPage > 0, "deltaPage", b.DeltaPage)
	check(b.Licence == LicenceFree || b.Licence == LicenceP1 || b.Licence == LicenceP2, "licence", b.Licence)
	check(b.PerUserMFA == PerUserAnswered || b.PerUserMFA == PerUserRefused, "perUserMfaSelect", b.PerUserMFA)
	check(b.ReportDelay >= 0, "reportDelaySeconds", b.ReportDelay)
	check(b.Notifications > 0, "notifications", b.Notifications)
	check(b.SignInPreferences == PreferencesApplied || b.SignInPreferences == PreferencesIgnored, "signInPreferences", b.SignInPreferences)
	return errors.Join(errs...)
}

// clone is a copy of u that shares nothing a caller could change.
func (u *User) clone() *User {
	c := *u
	c.OtherMails = slices.Clone(u.OtherMails)
	c.ProxyAddresses = slices.Clone(u.ProxyAddresses)
	c.BusinessPhones = slices.Clone(u.BusinessPhones)
	c.Methods = make([]*Method, len(u.Methods))
	for i, m := range u.Methods {
		c.Methods[i] = m.clone()
	}
	if u.SignInActivity != nil {
		a := *u.SignInActivity
		c.SignInActivity = &a
	}
	if u.Risk != nil {
		r := *u.Risk
		c.Risk = &r
	}
	if u.pass != nil {
		p := *u.pass
		c.pass = &p
	}
	return &c
}

func (m *Method) clone() *Method {
	c := *m
	c.Properties = maps.Clone(m.Properties)
	return &c
}
