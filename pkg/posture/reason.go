package posture

import (
	"maps"
	"slices"
	"time"
)

// Verdict is what will become of a person's sign-ins. The zero value is invalid.
type Verdict string

// The verdicts, worst first.
const (
	// Blocked: a sign-in that the person makes, or is expected to make, fails, and nothing
	// that they can do at the prompt helps.
	Blocked Verdict = "blocked"
	// Prompted: they are let in once they have registered a method at the prompt.
	Prompted Verdict = "prompted"
	// Fine: they are asked for MFA and can answer with what they have.
	Fine Verdict = "fine"
	// OutOfScope: nothing asks them for MFA.
	OutOfScope Verdict = "out-of-scope"
)

// Verdicts are all of them, worst first.
func Verdicts() []Verdict { return []Verdict{Blocked, Prompted, Fine, OutOfScope} }

// Valid reports whether the verdict is one.
func (v Verdict) Valid() bool { return slices.Contains(Verdicts(), v) }

// Worse reports whether v is worse than o.
func (v Verdict) Worse(o Verdict) bool {
	return slices.Index(Verdicts(), v) < slices.Index(Verdicts(), o)
}

// Code says what a reason is. The zero value is invalid.
type Code string

// Why a person is in scope or not.
const (
	// AccountDisabled: nobody can sign in.
	AccountDisabled Code = "account-disabled"
	// SyncAccount: the account of directory synchronization, which enforcement leaves out.
	SyncAccount Code = "sync-account"
	// UsesEnforcedApp: signed in to it; About is the app id, Count and At its sign-ins and
	// the last one, Detail how.
	UsesEnforcedApp Code = "uses-enforced-app"
	// HoldsRole and CanActivateRole: expected in the portals; About is the role.
	HoldsRole       Code = "holds-role"
	CanActivateRole Code = "can-activate-role"
	// EmergencyAccount: configured as break-glass account.
	EmergencyAccount Code = "break-glass"
	// NoEnforcedSignIn: no sign-in to an enforced application since At.
	NoEnforcedSignIn Code = "no-enforced-sign-in"
	// SignInsUnknown: the log could not be read, so the person counts as a user of the
	// enforced applications.
	SignInsUnknown Code = "sign-ins-unknown"
	// WritesOnly: the application About asks for MFA only when something is created,
	// changed or deleted, which the log does not tell.
	WritesOnly Code = "writes-only"
)

// What asks for MFA.
const (
	// ByEnforcement: Microsoft does; About is the app id.
	ByEnforcement Code = "required-by-enforcement"
	// ByPolicy: a Conditional Access policy does, About; Detail is the strength.
	ByPolicy Code = "required-by-policy"
	// MaybeByPolicy: it depends on the sign-in whether the policy About does; Detail says
	// on what.
	MaybeByPolicy Code = "may-be-required-by-policy"
	// BySecurityDefaults: they do.
	BySecurityDefaults Code = "required-by-security-defaults"
	// ByPerUserMFA: Detail is the state.
	ByPerUserMFA Code = "required-by-per-user-mfa"
	// Excluded: the policy About leaves the person out; Detail says by what.
	Excluded Code = "excluded-from-policy"
	// ReportOnly: the policy About would ask if it were enforced.
	ReportOnly Code = "report-only-policy"
	// PolicyBlocks: the policy About lets nobody in.
	PolicyBlocks Code = "blocked-by-policy"
	// MaybePolicyBlocks: it depends on the sign-in, Detail; the verdict does not count it.
	MaybePolicyBlocks Code = "may-be-blocked-by-policy"
	// OtherControl: the policy About asks for more than MFA; Detail says for what. The
	// verdict does not count it.
	OtherControl Code = "other-control"
)

// How the person can answer.
const (
	// HasMethods: Methods serve and are allowed.
	HasMethods Code = "has-methods"
	// NoMethod: none that serves.
	NoMethod Code = "no-method"
	// MethodsForbidden: Methods are registered and the policy does not allow them.
	MethodsForbidden Code = "methods-forbidden"
	// MethodsUnknown: the report does not have the person, or names Methods that nobody
	// here knows.
	MethodsUnknown Code = "methods-unknown"
	// StrengthNotMet: no registered method serves the strength About.
	StrengthNotMet Code = "strength-not-met"
	// StrengthUnknown: About could not be read or is narrowed further.
	StrengthUnknown Code = "strength-unknown"
	// CanRegister: a method can be registered at the prompt; Detail names kinds.
	CanRegister Code = "can-register"
	// CannotRegister: Detail says why; About is the policy, if one is the cause.
	CannotRegister Code = "cannot-register"
	// NobodyThere: the client shows no prompt; About is the app id, Detail the protocol.
	NobodyThere Code = "nobody-at-the-prompt"
	// HomeTenant: the person may answer with a method of their own tenant.
	HomeTenant Code = "home-tenant-mfa"
	// HomeNotTrusted: what the person does at home does not count.
	HomeNotTrusted Code = "home-tenant-mfa-not-trusted"
	// FederatedSignIn: the person signs in at the identity provider of the domain About;
	// Detail is whose MFA counts.
	FederatedSignIn Code = "federated-sign-in"
	// FactMissing: Detail is the fact.
	FactMissing Code = "fact-missing"
)

// codes holds what people read of each.
var codes = map[Code]string{
	AccountDisabled: "The account is disabled", SyncAccount: "Account of directory synchronization, left out by Microsoft",
	UsesEnforcedApp: "Signs in to an enforced application", HoldsRole: "Holds a directory role", CanActivateRole: "Can activate a directory role",
	EmergencyAccount: "Is a break-glass account", NoEnforcedSignIn: "No sign-in to an enforced application", SignInsUnknown: "The sign-in log could not be read",
	WritesOnly:    "MFA is asked for changes only; the log does not tell them from reading",
	ByEnforcement: "Microsoft's enforcement asks for MFA", ByPolicy: "A Conditional Access policy asks for MFA",
	MaybeByPolicy: "A Conditional Access policy may ask for MFA", BySecurityDefaults: "Security defaults ask for MFA", ByPerUserMFA: "Per-user MFA asks for MFA",
	Excluded: "Excluded from a Conditional Access policy", ReportOnly: "A report-only policy would ask for MFA", PolicyBlocks: "A Conditional Access policy blocks",
	MaybePolicyBlocks: "A Conditional Access policy may block", OtherControl: "A policy asks for more than MFA",
	HasMethods: "Has a usable method", NoMethod: "Has no usable method", MethodsForbidden: "Has a method that the methods policy forbids",
	MethodsUnknown: "What is registered is not known", StrengthNotMet: "No method meets the authentication strength", StrengthUnknown: "The authentication strength cannot be judged",
	CanRegister: "Can register a method at the prompt", CannotRegister: "Cannot register a method at the prompt", NobodyThere: "Nobody is there to answer a prompt",
	HomeTenant: "May answer with MFA of the home tenant", HomeNotTrusted: "MFA of the home does not count here",
	FederatedSignIn: "Signs in at a federated identity provider", FactMissing: "A fact could not be read",
}

// Codes lists all codes in order of their names.
func Codes() []Code { return slices.Sorted(maps.Keys(codes)) }

// Text says what the code means, for people; empty for an unknown code.
func (c Code) Text() string { return codes[c] }

// Reason is one fact that a verdict rests on.
type Reason struct {
	Code Code `json:"code"`
	// About is the id of what the code is about.
	About  string `json:"about,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Methods are those that the code is about.
	Methods []Method  `json:"methods,omitempty"`
	Count   int       `json:"count,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// Mark is something about a person that somebody should look into, whatever the verdict.
// The zero value is invalid.
type Mark string

// The marks.
const (
	// WeakBreakGlass: a break-glass account without a phishing-resistant method.
	WeakBreakGlass Mark = "break-glass-weak"
	// DisabledBreakGlass: a break-glass account that nobody can use.
	DisabledBreakGlass Mark = "break-glass-disabled"
	// ServiceAccount: a person's identity that a program uses.
	ServiceAccount Mark = "service-account"
	// PhoneOnly: telephone numbers are the only methods.
	PhoneOnly Mark = "phone-only"
	// ReportOnlyCover: only report-only policies would ask for MFA.
	ReportOnlyCover Mark = "report-only-cover"
	// Uncertain: a fact is missing, and the verdict is the strict one.
	Uncertain Mark = "uncertain"
)

type advice struct{ title, step string }

var marks = map[Mark]advice{
	WeakBreakGlass: {"Break-glass account without a phishing-resistant method",
		"Register a passkey (FIDO2) or a certificate for it now: it must do MFA like everybody, and a phone may be out of reach in an emergency."},
	DisabledBreakGlass: {"Break-glass account is disabled",
		"Enable it or configure another one: nobody could sign in with it in an emergency."},
	ServiceAccount: {"User identity used as a service account",
		"Move the program to a workload identity, which enforcement leaves alone: a managed identity where it runs in Azure, workload identity federation elsewhere, else a service principal with a certificate. Then disable the account."},
	PhoneOnly: {"Only a telephone number is registered",
		"Have the person add an app or a passkey: messages and calls are the weakest methods, and the first that policies forbid."},
	ReportOnlyCover: {"Covered by report-only policies only",
		"Nothing of the tenant's asks this person for MFA. Enforce the policy when its report shows no surprises."},
	Uncertain: {"Not everything is known",
		"The verdict is the worst that fits. Read what is missing and report again."},
}

// Marks lists all marks in order of their names.
func Marks() []Mark { return slices.Sorted(maps.Keys(marks)) }

// Title says what the mark means; empty for an unknown one.
func (m Mark) Title() string { return marks[m].title }

// NextStep is what somebody should do; empty for an unknown mark.
func (m Mark) NextStep() string { return marks[m].step }

// Note is something about the tenant as a whole.
type Note struct {
	Code NoteCode `json:"code"`
	// About is an id, Detail is for people.
	About  string `json:"about,omitempty"`
	Detail string `json:"detail,omitempty"`
	Count  int    `json:"count,omitempty"`
}

// NoteCode says what a note is. The zero value is invalid.
type NoteCode string

// The notes.
const (
	// SharedPortalID: several portals share one app id.
	SharedPortalID NoteCode = "portals-share-an-id"
	// UntraceableApp: enforced and without an app id, so its sign-ins are not told.
	UntraceableApp NoteCode = "app-without-id"
	// DefaultsByBirth: the tenant is so young that security defaults were on by default.
	DefaultsByBirth NoteCode = "security-defaults-by-default"
	// DefaultsAndPolicies: security defaults are on beside enforced policies, which the
	// service does not allow.
	DefaultsAndPolicies NoteCode = "security-defaults-beside-policies"
	// MissingBreakGlass: configured and not in the tenant; About is the id.
	MissingBreakGlass NoteCode = "break-glass-missing"
	// NoBreakGlass: none is configured.
	NoBreakGlass NoteCode = "break-glass-not-configured"
	// ExemptApplications and ExemptIdentities: how many principals are left alone.
	ExemptApplications NoteCode = "exempt-applications"
	ExemptIdentities   NoteCode = "exempt-managed-identities"
	// RiskPolicy: the policy About asks only of risky sign-ins; no verdict counts it.
	RiskPolicy NoteCode = "policy-on-risk"
	// GapNote: a fact could not be read.
	GapNote NoteCode = "fact-missing"
	// FederatedDomain: its people sign in elsewhere; About is the domain.
	FederatedDomain NoteCode = "federated-domain"
	// AzureRolesUnseen: roles in Azure subscriptions are not in the directory.
	AzureRolesUnseen NoteCode = "azure-roles-unseen"
)
