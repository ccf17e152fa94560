package posture

import "time"

// Policies are what asks for MFA and what may answer it.
type Policies struct {
	// SecurityDefaults are off, on or unknown.
	SecurityDefaults Answer `json:"securityDefaults"`
	// Conditional are the Conditional Access policies in every state.
	Conditional []ConditionalPolicy `json:"conditional"`
	// Strengths are the authentication strengths by id.
	Strengths map[string]Strength `json:"strengths"`
	Methods   MethodsPolicy       `json:"methods"`
	// Guests is whether the MFA that guests do at home counts here.
	Guests GuestTrust `json:"guests"`
	// Federation says by domain, in lower case, whose MFA counts of people who sign in at
	// another identity provider. A federated domain that is not here is unknown.
	Federation map[string]FederatedMFA `json:"federation,omitempty"`
}

// GuestTrust is the inbound trust of cross-tenant access settings.
type GuestTrust struct {
	// Default is for tenants that have no setting of their own.
	Default Answer `json:"default"`
	// Partners are the settings of some tenants, by their ids. One that inherits the default
	// is not among them.
	Partners map[string]Answer `json:"partners,omitempty"`
}

// counts is whether the MFA of somebody's home tenant counts here. Which tenant that is the
// directory does not tell (Graph, user and objectIdentity).
func (t GuestTrust) counts(home Answer) Answer {
	if home == No {
		return No // trust is of other tenants of Entra alone
	}
	found := t.Default
	for _, own := range t.Partners {
		if own != found {
			found = Unknown
		}
	}
	if found == Yes {
		return home
	}
	return found
}

// FederatedMFA is federatedIdpMfaBehavior as Graph spells it. The zero value is a domain
// where it was never set: an older switch counts there, which Graph does not show, and without
// that what AcceptFederatedMFA says.
type FederatedMFA string

// The behaviours (Graph, internalDomainFederation).
const (
	// AcceptFederatedMFA: MFA of the identity provider counts, and Entra asks when there was
	// none.
	AcceptFederatedMFA FederatedMFA = "acceptIfMfaDoneByFederatedIdp"
	// EnforceFederatedMFA: Entra sends people back to the identity provider for it.
	EnforceFederatedMFA FederatedMFA = "enforceMfaByFederatedIdp"
	// RejectFederatedMFA: Entra asks always.
	RejectFederatedMFA FederatedMFA = "rejectMfaByFederatedIdp"
)

// answers is whether the identity provider answers a demand for MFA. That it does for
// everybody where a tenant leaves MFA to it is what that setting says; where it is merely
// accepted nobody here knows whom it asks.
func (f FederatedMFA) answers() Answer {
	switch f {
	case EnforceFederatedMFA:
		return Yes
	case RejectFederatedMFA:
		return No
	default:
		return Unknown
	}
}

// PolicyState is the state of a Conditional Access policy. The zero value is invalid.
type PolicyState string

// The states as Graph spells them. One that is not among them counts as enforced.
const (
	PolicyEnabled    PolicyState = "enabled"
	PolicyDisabled   PolicyState = "disabled"
	PolicyReportOnly PolicyState = "enabledForReportingButNotEnforced"
)

// InForce reports whether a policy in the state counts as enforced.
func (s PolicyState) InForce() bool { return s != PolicyDisabled && s != PolicyReportOnly }

// ConditionalPolicy is a Conditional Access policy. Words are Graph's own, ids in lower
// case.
type ConditionalPolicy struct {
	ID          string      `json:"id"`
	DisplayName string      `json:"displayName"`
	State       PolicyState `json:"state"`
	Include     Selection   `json:"include"`
	Exclude     Selection   `json:"exclude"`
	Apps        Apps        `json:"applications"`
	// Clients are the client app types; "all" is every one.
	Clients []string `json:"clientAppTypes"`
	// Platforms and Locations narrow the policy to some sign-ins.
	Platforms Range `json:"platforms"`
	Locations Range `json:"locations"`
	// Risks are conditions on risk levels, as "signInRiskLevels: high".
	Risks []string `json:"risks,omitempty"`
	// Others are conditions present that only a sign-in decides, such as "devices", and
	// those that nobody here knows.
	Others []string `json:"otherConditions,omitempty"`
	Grant  Grant    `json:"grant"`
}

// Selection is a choice of people.
type Selection struct {
	// Users are object ids, or All, None and GuestsOrExternalUsers.
	Users  []string `json:"users,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	// Guests are kinds of guests as Graph spells them, such as b2bCollaborationGuest.
	Guests []string `json:"guests,omitempty"`
	// GuestTenants is true when the guests are only those of some tenants, which the
	// directory does not tell of a person.
	GuestTenants bool `json:"guestTenants,omitempty"`
}

// Words of Graph in selections.
const (
	Everybody         = "All"
	Nobody            = "None"
	GuestsAndExternal = "GuestsOrExternalUsers"
)

// Apps is a choice of applications or of user actions.
type Apps struct {
	// Include and Exclude are app ids, or All, None, Office365 and MicrosoftAdminPortals.
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
	// Actions are user actions, such as ActionRegister.
	Actions []string `json:"userActions,omitempty"`
	// Contexts are authentication contexts, which an application asks for by itself.
	Contexts []string `json:"authenticationContexts,omitempty"`
	// Filtered is true when a filter on application attributes narrows the choice.
	Filtered bool `json:"filtered,omitempty"`
}

// Applications and actions that policies name.
const (
	Office365    = "Office365"
	AdminPortals = "MicrosoftAdminPortals"
	// AzureManagement is the Windows Azure Service Management API. A policy on it holds
	// for the portals and for whatever calls Azure Resource Manager (Entra,
	// concept-conditional-access-cloud-apps).
	AzureManagement = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	ActionRegister  = "urn:user:registersecurityinfo"
)

// Range is a condition that lists what it includes and what it leaves out. Both empty
// means no condition.
type Range struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// everywhere reports whether the condition narrows nothing.
func (r Range) everywhere() bool {
	return len(r.Exclude) == 0 && (len(r.Include) == 0 || contains(r.Include, "all"))
}

// Grant is what a policy asks of a sign-in.
type Grant struct {
	// All is true when every control is asked for (AND), and false when one is enough.
	All bool `json:"all"`
	// Controls are built-in controls, such as mfa and block.
	Controls []string `json:"controls,omitempty"`
	// Strength is the id of an authentication strength.
	Strength string `json:"strength,omitempty"`
	// Others counts terms of use and custom factors.
	Others int `json:"others,omitempty"`
}

// Controls that are about MFA.
const (
	ControlBlock = "block"
	ControlMFA   = "mfa"
)

// Strength is an authentication strength.
type Strength struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
	BuiltIn     bool   `json:"builtIn"`
	// Combinations are the allowed ones, each with its modes joined by commas.
	Combinations []string `json:"combinations"`
	// Restricted is true when a combination is narrowed further, to models of keys or to
	// issuers of certificates, which the report of methods does not tell.
	Restricted bool `json:"restricted,omitempty"`
}

// MethodsPolicy says which authentication methods people may use.
type MethodsPolicy struct {
	// Migrated is Yes when the older policies for MFA and password reset no longer count;
	// Graph does not show those.
	Migrated Answer `json:"migrated"`
	// Methods are the configurations by their id in lower case, such as "sms".
	Methods  map[string]MethodSetting `json:"methods"`
	Pass     PassSetting              `json:"pass"`
	Campaign Campaign                 `json:"campaign"`
	// SystemPreferred is the state of system-preferred MFA, as Graph's beta spells it;
	// empty when it is not known.
	SystemPreferred string `json:"systemPreferred,omitempty"`
}

// MethodSetting is the configuration of one method.
type MethodSetting struct {
	ID      string   `json:"id"`
	Enabled bool     `json:"enabled"`
	Include []Target `json:"include"`
	Exclude []Target `json:"exclude"`
	// SelfService is No when people may not register it themselves, where the method has
	// such a setting.
	SelfService Answer `json:"selfService,omitempty"`
	// Codes is Yes when the Authenticator app may show codes.
	Codes Answer `json:"codes,omitempty"`
}

// AllUsers is the id of a target that stands for everybody.
const AllUsers = "all_users"

// Target is whom a method or a campaign is for.
type Target struct {
	ID string `json:"id"`
	// User is true for a person, and false for a group.
	User bool `json:"user,omitempty"`
	// Method is what a campaign nudges to; empty elsewhere.
	Method string `json:"method,omitempty"`
	// Required: the target must register the method.
	Required bool `json:"required,omitempty"`
	// Mode is how the Authenticator app may be used, push or deviceBasedPush; empty for both.
	Mode string `json:"mode,omitempty"`
}

// PassSetting are the limits of Temporary Access Passes; whom they are for is among the
// methods.
type PassSetting struct {
	Minimum time.Duration `json:"minimum"`
	Maximum time.Duration `json:"maximum"`
	Default time.Duration `json:"default"`
	Length  int           `json:"length"`
	OneTime bool          `json:"oneTime"`
}

// Campaign is the registration campaign, which nudges people after they passed MFA.
type Campaign struct {
	// State is default, enabled or disabled; default acts as Microsoft chooses.
	State      string   `json:"state"`
	SnoozeDays int      `json:"snoozeDays"`
	Include    []Target `json:"include"`
	Exclude    []Target `json:"exclude"`
}
