package posture_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const (
	cli      = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	admin    = "62e90394-69f5-4237-9190-012177145e10"
	phishing = "00000000-0000-0000-0000-000000000004"
)

func everybody(id string) posture.MethodSetting {
	return posture.MethodSetting{ID: id, Enabled: true, Include: []posture.Target{{ID: posture.AllUsers}}}
}

// tenant is one person of whom everything is known, in a tenant that asks for nothing.
func tenant(change func(*posture.Snapshot, *posture.Person)) posture.Snapshot {
	p := posture.Person{
		ID: "ada", UserPrincipalName: "ada@contoso.example", Kind: posture.Member, Enabled: true, PerUserMFA: posture.PerUserDisabled,
		Registration: posture.Registration{Known: true, Methods: []posture.Method{posture.AuthenticatorPush}, Capable: posture.Yes},
	}
	s := posture.Snapshot{
		TakenAt: today, SignInsSince: today.AddDate(0, 0, -30),
		Groups: map[string]posture.Group{"inside": {Members: []identity.UserID{"ada"}}, "outside": {}},
		Policies: posture.Policies{
			SecurityDefaults: posture.No,
			Strengths: map[string]posture.Strength{phishing: {
				ID: phishing, Combinations: []string{"fido2", "windowsHelloForBusiness", "x509CertificateMultiFactor"},
			}},
			Methods: posture.MethodsPolicy{Migrated: posture.Yes, Methods: map[string]posture.MethodSetting{
				"microsoftauthenticator": everybody("microsoftauthenticator"), "sms": everybody("sms"), "fido2": everybody("fido2"),
			}},
		},
	}
	if change != nil {
		change(&s, &p)
	}
	s.People = []posture.Person{p}
	return s
}

func ask(state posture.PolicyState, change func(*posture.ConditionalPolicy)) posture.ConditionalPolicy {
	p := posture.ConditionalPolicy{
		ID: "ca", DisplayName: "Ask everybody", State: state, Include: posture.Selection{Users: []string{"All"}},
		Apps: posture.Apps{Include: []string{"All"}}, Clients: []string{"all"}, Grant: posture.Grant{Controls: []string{"mfa"}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func signIns(app string, interactive bool, protocol posture.Protocol) posture.SignIns {
	return posture.SignIns{AppID: app, Interactive: interactive, Protocol: protocol, First: today.AddDate(0, 0, -9), Last: today.AddDate(0, 0, -1), Count: 9, Succeeded: 9}
}

// federate has the person sign in at the identity provider of their domain.
func federate(s *posture.Snapshot, p *posture.Person, behaviour posture.FederatedMFA) {
	p.UserPrincipalName = "p@Labs.example"
	s.Tenant.Federated = []string{"labs.example"}
	s.Policies.Federation = map[string]posture.FederatedMFA{"labs.example": behaviour}
}

func TestVerdicts(t *testing.T) {
	type edit = func(*posture.Snapshot, *posture.Person)
	none := func(p *posture.Person) { p.Registration.Methods, p.Registration.Capable = nil, posture.No }
	for name, c := range map[string]struct {
		edit          edit
		verdict, best posture.Verdict
		codes         []posture.Code
		marks         []posture.Mark
	}{
		"nothing asks": {nil, posture.OutOfScope, posture.OutOfScope, []posture.Code{posture.NoEnforcedSignIn}, nil},
		"disabled": {func(_ *posture.Snapshot, p *posture.Person) { p.Enabled = false }, posture.OutOfScope, posture.OutOfScope,
			[]posture.Code{posture.AccountDisabled}, nil},
		"portal with a method": {func(_ *posture.Snapshot, p *posture.Person) {
			p.SignIns = []posture.SignIns{signIns(posture.Portal, true, posture.OtherProtocol)}
		}, posture.Fine, posture.Fine, []posture.Code{posture.UsesEnforcedApp, posture.ByEnforcement, posture.HasMethods}, nil},
		"portal without a method": {func(_ *posture.Snapshot, p *posture.Person) {
			none(p)
			p.SignIns = []posture.SignIns{signIns(posture.Portal, true, posture.OtherProtocol)}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.NoMethod, posture.CanRegister}, nil},
		"portal, nothing can be registered": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Methods.Methods = map[string]posture.MethodSetting{"email": everybody("email")}
			p.SignIns = []posture.SignIns{signIns(posture.Portal, true, posture.OtherProtocol)}
		}, posture.Blocked, posture.Blocked, []posture.Code{posture.CannotRegister}, nil},
		"registration is guarded": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Apps = posture.Apps{Actions: []string{posture.ActionRegister}}
			})}
			p.SignIns = []posture.SignIns{signIns(posture.Portal, true, posture.OtherProtocol)}
		}, posture.Blocked, posture.Blocked, []posture.Code{posture.CannotRegister}, nil},
		"registration is guarded at some places": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Apps = posture.Apps{Actions: []string{posture.ActionRegister}}
				c.Locations = posture.Range{Include: []string{"All"}, Exclude: []string{"AllTrusted"}}
			})}
			p.SignIns = []posture.SignIns{signIns(posture.Portal, true, posture.OtherProtocol)}
		}, posture.Blocked, posture.Prompted, []posture.Code{posture.CanRegister}, nil},
		"password by a program": {func(_ *posture.Snapshot, p *posture.Person) {
			p.SignIns = []posture.SignIns{signIns(cli, false, posture.ROPC)}
		}, posture.Blocked, posture.OutOfScope, []posture.Code{posture.NobodyThere, posture.WritesOnly}, []posture.Mark{posture.ServiceAccount}},
		"background only": {func(_ *posture.Snapshot, p *posture.Person) {
			p.SignIns = []posture.SignIns{signIns(cli, false, posture.OtherProtocol)}
		}, posture.Blocked, posture.OutOfScope, []posture.Code{posture.NobodyThere}, []posture.Mark{posture.ServiceAccount}},
		"background, and there last month": {func(_ *posture.Snapshot, p *posture.Person) {
			p.LastInteractive = today.AddDate(0, 0, -40)
			p.SignIns = []posture.SignIns{signIns(cli, false, posture.OtherProtocol)}
		}, posture.Fine, posture.OutOfScope, nil, nil},
		"an administrator who was not seen": {func(_ *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Roles = []posture.Role{{Definition: admin}}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.CanActivateRole, posture.ByEnforcement}, nil},
		"break glass with a phone": {func(s *posture.Snapshot, p *posture.Person) {
			s.BreakGlass = []identity.UserID{"ada"}
			p.Registration.Methods = []posture.Method{posture.MobilePhone}
		}, posture.Fine, posture.Fine, []posture.Code{posture.EmergencyAccount}, []posture.Mark{posture.WeakBreakGlass, posture.PhoneOnly}},
		"break glass with a key": {func(s *posture.Snapshot, p *posture.Person) {
			s.BreakGlass = []identity.UserID{"ada"}
			p.Registration.Methods = []posture.Method{posture.SecurityKey}
		}, posture.Fine, posture.Fine, nil, nil},
		"forbidden method": {func(s *posture.Snapshot, p *posture.Person) {
			p.Registration.Methods = []posture.Method{posture.OfficePhone}
			p.PerUserMFA = posture.PerUserEnforced
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.ByPerUserMFA, posture.MethodsForbidden}, []posture.Mark{posture.PhoneOnly}},
		"forbidden method before the migration": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Methods.Migrated = posture.No
			p.Registration.Methods = []posture.Method{posture.OfficePhone}
			p.PerUserMFA = posture.PerUserEnforced
		}, posture.Prompted, posture.Fine, nil, []posture.Mark{posture.PhoneOnly}},
		"security defaults": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.SecurityDefaults = posture.Yes
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.BySecurityDefaults}, nil},
		"per-user state unknown": {func(_ *posture.Snapshot, p *posture.Person) {
			none(p)
			p.PerUserMFA = posture.PerUserUnknown
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.FactMissing}, []posture.Mark{posture.Uncertain}},
		"registration unknown": {func(_ *posture.Snapshot, p *posture.Person) {
			p.Registration = posture.Registration{}
			p.PerUserMFA = posture.PerUserEnabled
		}, posture.Prompted, posture.Fine, []posture.Code{posture.MethodsUnknown}, []posture.Mark{posture.Uncertain}},
		"sign-ins unknown": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Gaps = []posture.Gap{{Fact: posture.FactSignIns}}
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.SignInsUnknown}, []posture.Mark{posture.Uncertain}},
		"policy": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.ByPolicy}, nil},
		"policy in a state that nobody knows": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask("unknownFutureValue", nil)}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.ByPolicy}, nil},
		"report-only policy": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyReportOnly, nil)}
		}, posture.OutOfScope, posture.OutOfScope, []posture.Code{posture.ReportOnly}, []posture.Mark{posture.ReportOnlyCover}},
		"excluded by a group": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Exclude.Groups = []string{"inside"} })}
		}, posture.OutOfScope, posture.OutOfScope, []posture.Code{posture.Excluded}, nil},
		"excluded by a group that was not read": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Exclude.Groups = []string{"elsewhere"} })}
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.MaybeByPolicy}, nil},
		"exclusion does not help against enforcement": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Exclude.Groups = []string{"inside"} })}
			p.SignIns = []posture.SignIns{signIns(posture.Portal, true, posture.OtherProtocol)}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.Excluded, posture.ByEnforcement}, nil},
		"policy outside trusted places": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Locations = posture.Range{Include: []string{"All"}, Exclude: []string{"AllTrusted"}}
			})}
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.MaybeByPolicy}, nil},
		"policy on risk": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Risks = []string{"signInRiskLevels: high"} })}
		}, posture.OutOfScope, posture.OutOfScope, nil, nil},
		"policy for old clients": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Clients, c.Grant.Controls = []string{"exchangeActiveSync", "other"}, []string{"block"}
			})}
		}, posture.OutOfScope, posture.OutOfScope, nil, nil},
		"MFA or a compliant device": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant.Controls = []string{"mfa", "compliantDevice"} })}
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.MaybeByPolicy}, nil},
		"MFA and a compliant device": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Grant = posture.Grant{All: true, Controls: []string{"mfa", "compliantDevice"}}
			})}
		}, posture.Fine, posture.Fine, []posture.Code{posture.ByPolicy, posture.OtherControl}, nil},
		"block": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant.Controls = []string{"block"} })}
		}, posture.Blocked, posture.Blocked, []posture.Code{posture.PolicyBlocks}, nil},
		"block at some places is told and not counted": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Grant.Controls, c.Locations.Include = []string{"block"}, []string{"elsewhere"}
			})}
		}, posture.OutOfScope, posture.OutOfScope, []posture.Code{posture.MaybePolicyBlocks}, nil},
		"strength met": {func(s *posture.Snapshot, p *posture.Person) {
			p.Registration.Methods = []posture.Method{posture.SecurityKey}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: phishing} })}
		}, posture.Fine, posture.Fine, nil, nil},
		"strength not met, passkeys allowed": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: phishing} })}
		}, posture.Blocked, posture.Prompted, []posture.Code{posture.StrengthNotMet}, nil},
		"strength not met, no passkeys": {func(s *posture.Snapshot, p *posture.Person) {
			delete(s.Policies.Methods.Methods, "fido2")
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: phishing} })}
		}, posture.Blocked, posture.Blocked, []posture.Code{posture.StrengthNotMet, posture.CannotRegister}, nil},
		"strength unknown": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: "other"} })}
		}, posture.Blocked, posture.Fine, []posture.Code{posture.StrengthUnknown}, []posture.Mark{posture.Uncertain}},
		"guest of a policy for guests": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Kind = posture.ExternalGuest
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include = posture.Selection{Guests: []string{"b2bCollaborationGuest"}}
			})}
		}, posture.Prompted, posture.Fine, []posture.Code{posture.ByPolicy, posture.HomeTenant}, nil},
		"guest whose home is trusted": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Kind, p.HomeTenant = posture.ExternalGuest, posture.Yes
			s.Policies.Guests = posture.GuestTrust{Default: posture.Yes, Partners: map[string]posture.Answer{"a": posture.Yes}}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Fine, posture.Fine, []posture.Code{posture.ByPolicy, posture.HomeTenant}, nil},
		"guest whose home is trusted, and a strength": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Kind, p.HomeTenant = posture.ExternalGuest, posture.Yes
			s.Policies.Guests = posture.GuestTrust{Default: posture.Yes}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: phishing} })}
		}, posture.Blocked, posture.Fine, []posture.Code{posture.StrengthNotMet, posture.HomeTenant}, nil},
		"guest of nobody knows where": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Kind, p.HomeTenant = posture.ExternalGuest, posture.Unknown
			s.Policies.Guests = posture.GuestTrust{Default: posture.Yes}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Prompted, posture.Fine, []posture.Code{posture.HomeTenant}, nil},
		"guest whose home is not trusted": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Kind, p.HomeTenant = posture.ExternalGuest, posture.Yes
			s.Policies.Guests = posture.GuestTrust{Default: posture.No}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.HomeNotTrusted, posture.NoMethod}, nil},
		"identity provider that is left to": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			federate(s, p, posture.EnforceFederatedMFA)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Fine, posture.Fine, []posture.Code{posture.FederatedSignIn}, nil},
		"identity provider that is left to, and a strength": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			federate(s, p, posture.EnforceFederatedMFA)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: phishing} })}
		}, posture.Blocked, posture.Prompted, []posture.Code{posture.FederatedSignIn, posture.StrengthNotMet}, nil},
		"identity provider that may count": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			federate(s, p, "acceptWhenItRains") // what a later version may say
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Prompted, posture.Fine, []posture.Code{posture.FederatedSignIn, posture.CanRegister}, nil},
		"identity provider that does not count": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			federate(s, p, posture.RejectFederatedMFA)
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.FederatedSignIn, posture.NoMethod}, nil},
		"identity provider of whom nothing is known": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			federate(s, p, posture.EnforceFederatedMFA)
			s.Policies.Federation = nil
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, nil)}
		}, posture.Prompted, posture.Fine, []posture.Code{posture.FederatedSignIn, posture.FactMissing}, []posture.Mark{posture.Uncertain}},
		"member and a policy for guests": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include = posture.Selection{Users: []string{posture.GuestsAndExternal}}
			})}
		}, posture.OutOfScope, posture.OutOfScope, nil, nil},
		"role that is active": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			p.Roles = []posture.Role{{Definition: admin, Active: true, Via: "inside"}}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include = posture.Selection{Roles: []string{admin}}
			})}
		}, posture.Prompted, posture.Prompted, []posture.Code{posture.ByPolicy, posture.HoldsRole}, nil},
		"a method that nobody knows": {func(s *posture.Snapshot, p *posture.Person) {
			p.Registration.Methods = []posture.Method{"telepathy"}
			p.PerUserMFA = posture.PerUserEnforced
		}, posture.Prompted, posture.Fine, []posture.Code{posture.MethodsUnknown}, []posture.Mark{posture.Uncertain}},
		"somebody guesses at the password": {func(_ *posture.Snapshot, p *posture.Person) {
			in := signIns(cli, true, posture.ROPC)
			in.Count, in.Succeeded = 300, 0
			p.SignIns = []posture.SignIns{in}
		}, posture.OutOfScope, posture.OutOfScope, []posture.Code{posture.NoEnforcedSignIn}, nil},
		"a guess in a browser shows nobody behind a program": {func(_ *posture.Snapshot, p *posture.Person) {
			in := signIns(cli, true, posture.OtherProtocol)
			in.Succeeded = 0
			p.SignIns = []posture.SignIns{in, signIns(cli, false, posture.OtherProtocol)}
		}, posture.Blocked, posture.OutOfScope, []posture.Code{posture.NobodyThere}, []posture.Mark{posture.ServiceAccount}},
		"a protocol that is not told": {func(s *posture.Snapshot, p *posture.Person) {
			s.Gaps = []posture.Gap{{Fact: posture.FactSignIns}}
			p.SignIns = []posture.SignIns{signIns(cli, true, posture.UnknownProtocol)}
		}, posture.Blocked, posture.OutOfScope, []posture.Code{posture.NobodyThere, posture.SignInsUnknown}, []posture.Mark{posture.ServiceAccount, posture.Uncertain}},
		"roles that can be activated were not read": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Gaps = []posture.Gap{{Fact: posture.FactEligibleRoles}}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include = posture.Selection{Roles: []string{admin}}
			})}
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.MaybeByPolicy}, nil},
		"a group that may hold a role was not read": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			s.Gaps = []posture.Gap{{Fact: posture.FactGroups}}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include = posture.Selection{Roles: []string{admin}}
			})}
		}, posture.Prompted, posture.OutOfScope, []posture.Code{posture.MaybeByPolicy}, nil},
		"block of a group that was not read": {func(s *posture.Snapshot, p *posture.Person) {
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include, c.Grant.Controls = posture.Selection{Groups: []string{"elsewhere"}}, []string{"block"}
			})}
		}, posture.Blocked, posture.OutOfScope, []posture.Code{posture.MaybePolicyBlocks}, []posture.Mark{posture.Uncertain}},
		"block of a role that can be activated": {func(s *posture.Snapshot, p *posture.Person) {
			p.Roles = []posture.Role{{Definition: admin}}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) {
				c.Include, c.Grant.Controls = posture.Selection{Roles: []string{admin}}, []string{"block"}
			})}
		}, posture.Fine, posture.Fine, []posture.Code{posture.MaybePolicyBlocks}, nil},
		"codes that the app may not show": {func(s *posture.Snapshot, p *posture.Person) {
			none(p)
			app := everybody("microsoftauthenticator")
			app.Codes = posture.No
			s.Policies.Methods.Methods = map[string]posture.MethodSetting{"microsoftauthenticator": app}
			s.Policies.Strengths["codes"] = posture.Strength{ID: "codes", Combinations: []string{"password,softwareOath"}}
			s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyEnabled, func(c *posture.ConditionalPolicy) { c.Grant = posture.Grant{Strength: "codes"} })}
		}, posture.Blocked, posture.Blocked, []posture.Code{posture.CannotRegister}, nil},
		"notifications that the app may not show": {func(s *posture.Snapshot, p *posture.Person) {
			p.Registration.Methods = []posture.Method{posture.AuthenticatorPush}
			app := everybody("microsoftauthenticator")
			app.Codes, app.Include[0].Mode = posture.No, "deviceBasedPush"
			s.Policies.Methods.Methods = map[string]posture.MethodSetting{"microsoftauthenticator": app}
			p.PerUserMFA = posture.PerUserEnforced
		}, posture.Blocked, posture.Blocked, []posture.Code{posture.MethodsForbidden, posture.CannotRegister}, nil},
		"notifications that the app may show": {func(s *posture.Snapshot, p *posture.Person) {
			p.Registration.Methods = []posture.Method{posture.AuthenticatorPush, posture.AuthenticatorPhone}
			app := everybody("microsoftauthenticator")
			app.Include[0].Mode = "push"
			s.Policies.Methods.Methods = map[string]posture.MethodSetting{"microsoftauthenticator": app}
			p.PerUserMFA = posture.PerUserEnforced
		}, posture.Fine, posture.Fine, []posture.Code{posture.MethodsForbidden}, nil},
		"synchronization": {func(s *posture.Snapshot, p *posture.Person) {
			p.Roles = []posture.Role{{Definition: "d29b2b05-8046-44ba-8758-1e26182fcf32", Active: true}}
		}, posture.OutOfScope, posture.OutOfScope, []posture.Code{posture.SyncAccount}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := posture.Evaluate(tenant(c.edit), posture.Question{At: today, Phase: posture.Phase2})
			if err != nil {
				t.Fatal(err)
			}
			r := got.Results[0]
			if r.Verdict != c.verdict || r.AtBest != c.best {
				t.Errorf("%s, at best %s; want %s, at best %s: %+v", r.Verdict, r.AtBest, c.verdict, c.best, r.Reasons)
			}
			for _, code := range c.codes {
				if !r.Has(code) {
					t.Errorf("no reason %s in %+v", code, r.Reasons)
				}
			}
			for _, reason := range r.Reasons {
				if reason.Code.Text() == "" {
					t.Errorf("reason %q is not in the list", reason.Code)
				}
			}
			if d := cmp.Diff(c.marks, r.Marks); d != "" {
				t.Errorf("marks (-want +got):\n%s", d)
			}
		})
	}
}

func TestQuestionDecidesWhatIsInForce(t *testing.T) {
	s := tenant(func(_ *posture.Snapshot, p *posture.Person) {
		p.SignIns = []posture.SignIns{signIns(cli, true, posture.OtherProtocol)}
	})
	for _, c := range []struct {
		at    time.Time
		phase posture.Phase
		want  posture.Verdict
		apps  int
	}{
		{time.Date(2024, 9, 30, 0, 0, 0, 0, time.UTC), posture.Phase2, posture.OutOfScope, 0},
		{time.Date(2025, 9, 30, 0, 0, 0, 0, time.UTC), posture.Phase2, posture.OutOfScope, 2},
		{time.Date(2025, 10, 1, 0, 0, 0, 0, time.UTC), posture.Phase2, posture.Fine, 6},
		{today, posture.Phase1, posture.OutOfScope, 2},
	} {
		got, err := posture.Evaluate(s, posture.Question{At: c.at, Phase: c.phase})
		if err != nil {
			t.Fatal(err)
		}
		if v := got.Results[0].Verdict; v != c.want || len(got.InForce) != c.apps {
			t.Errorf("%s phase %d: %s with %d applications, want %s with %d", c.at, c.phase, v, len(got.InForce), c.want, c.apps)
		}
	}
	for _, q := range []posture.Question{{}, {At: today}, {At: today, Phase: 3}, {Phase: posture.Phase1}} {
		if _, err := posture.Evaluate(s, q); err == nil {
			t.Errorf("%+v is taken", q)
		}
	}
}

// A campaign nudges whom its state says: nobody, everybody, or those with telephones.
func TestCampaignNudges(t *testing.T) {
	phone, code := []posture.Method{posture.MobilePhone}, []posture.Method{posture.SoftwareCode}
	for name, c := range map[string]struct {
		state  string
		mode   string
		has    []posture.Method
		nudged bool
		fails  bool
	}{
		"enabled":                          {"enabled", "", code, true, false},
		"as Microsoft chooses, codes":      {"default", "", code, false, false},
		"as Microsoft chooses, telephones": {"default", "", phone, true, false},
		"disabled":                         {"disabled", "", phone, false, true},
		"the app is for no notifications":  {"enabled", "deviceBasedPush", phone, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := tenant(func(s *posture.Snapshot, p *posture.Person) {
				p.Registration.Methods = c.has
				app := everybody("microsoftauthenticator")
				app.Include[0].Mode = c.mode
				s.Policies.Methods.Methods["microsoftauthenticator"], s.Policies.Methods.Methods["softwareoath"] = app, everybody("softwareoath")
				s.Policies.Methods.Campaign = posture.Campaign{State: c.state, Include: []posture.Target{{ID: posture.AllUsers, Method: "microsoftAuthenticator"}}}
			})
			after, err := s.With(posture.RunCampaign{})
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if err == nil && slices.Contains(after.People[0].Registration.Methods, posture.AuthenticatorPush) != c.nudged {
				t.Error(after.People[0].Registration.Methods)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	s := tenant(func(s *posture.Snapshot, p *posture.Person) {
		p.Registration.Methods = []posture.Method{posture.MobilePhone}
		s.Policies.Conditional = []posture.ConditionalPolicy{ask(posture.PolicyReportOnly, nil)}
		s.Policies.Methods.Campaign = posture.Campaign{State: "enabled", Include: []posture.Target{{ID: posture.AllUsers, Method: "microsoftAuthenticator"}}}
	})
	before := cmp.Diff(nil, s)
	for text, want := range map[string]struct {
		verdict posture.Verdict
		marks   []posture.Mark
	}{
		"security-defaults=off": {posture.OutOfScope, []posture.Mark{posture.PhoneOnly, posture.ReportOnlyCover}},
		"security-defaults=on":  {posture.Fine, []posture.Mark{posture.PhoneOnly}},
		"enforce=ask everybody": {posture.Fine, []posture.Mark{posture.PhoneOnly}},
		"enforce=CA":            {posture.Fine, []posture.Mark{posture.PhoneOnly}},
		"remove=ca":             {posture.OutOfScope, []posture.Mark{posture.PhoneOnly}},
		"disable=ca":            {posture.OutOfScope, []posture.Mark{posture.PhoneOnly}},
		"campaign=run":          {posture.OutOfScope, []posture.Mark{posture.ReportOnlyCover}},
		"per-user-mfa=enforced": {posture.Fine, []posture.Mark{posture.PhoneOnly}},
	} {
		change, err := posture.ParseChange(text)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := s.With(change)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := posture.Evaluate(changed, posture.Question{At: today, Phase: posture.Phase2})
		if err != nil {
			t.Fatal(err)
		}
		if r := got.Results[0]; r.Verdict != want.verdict || !slices.Equal(r.Marks, want.marks) {
			t.Errorf("%s: %s %v, want %v", text, r.Verdict, r.Marks, want)
		}
	}
	if after := cmp.Diff(nil, s); after != before {
		t.Error("a change reached the snapshot that it was asked of")
	}
	sms, _ := posture.ParseChange("method:SMS=off")
	enforce, _ := posture.ParseChange("enforce=ca")
	changed, err := s.With(enforce, sms)
	if err != nil {
		t.Fatal(err)
	}
	q := posture.Question{At: today, Phase: posture.Phase2}
	a, _ := posture.Evaluate(s, q)
	b, _ := posture.Evaluate(changed, q)
	if d := cmp.Diff([]posture.Shift{{Person: 0, From: posture.OutOfScope, FromAtBest: posture.OutOfScope, To: posture.Prompted, ToAtBest: posture.Prompted}}, posture.Shifts(a, b)); d != "" {
		t.Error(d)
	}
	if _, err := s.With(enforce, posture.SecurityDefaults{On: true}); !errors.Is(err, posture.ErrDefaultsBesidePolicies) {
		t.Errorf("%v", err)
	}
	if _, err := s.With(posture.RemovePolicy{Policy: "none"}); !errors.Is(err, posture.ErrNoSuchPolicy) {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "x", "enforce=", "security-defaults", "security-defaults=maybe", "method:=on", "method:sms=1", "campaign=stop", "per-user-mfa=on"} {
		if c, err := posture.ParseChange(text); err == nil {
			t.Errorf("%q is taken as %s", text, c)
		}
	}
}

// snapshots draws tenants with unknown facts, odd words and all.
func snapshots(t *rapid.T) posture.Snapshot {
	pick := func(label string, from ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, len(from), rapid.ID[string]).Draw(t, label)
	}
	one := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	s := tenant(nil)
	s.Policies.SecurityDefaults = posture.Answer(one("defaults", "yes", "no", "no", "unknown", ""))
	s.Policies.Methods.Migrated = posture.Answer(one("migrated", "yes", "no", "unknown"))
	for id, m := range s.Policies.Methods.Methods {
		m.Enabled = rapid.Bool().Draw(t, "enabled "+id)
		s.Policies.Methods.Methods[id] = m
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "policies") {
		p := posture.ConditionalPolicy{
			ID: fmt.Sprintf("p%d", i), State: posture.PolicyState(one("state", "enabled", "enabled", "disabled", string(posture.PolicyReportOnly), "odd")),
			Include: posture.Selection{Users: pick("users", "All", "None", "GuestsOrExternalUsers", "ada"), Groups: pick("groups", "inside", "outside", "unread"), Roles: pick("roles", admin)},
			Apps:    posture.Apps{Include: pick("apps", "All", "Office365", posture.AdminPortals, posture.AzureManagement), Actions: pick("actions", posture.ActionRegister)},
			Clients: pick("clients", "all", "browser", "mobileAppsAndDesktopClients", "other"),
			Grant:   posture.Grant{All: rapid.Bool().Draw(t, "all"), Controls: pick("controls", "mfa", "mfa", "block", "compliantDevice")[:], Strength: one("strength", "", "", phishing, "unread")},
		}
		if rapid.Bool().Draw(t, "somewhere") {
			p.Locations.Include = []string{"here"}
		}
		s.Policies.Conditional = append(s.Policies.Conditional, p)
	}
	s.People = nil
	for _, id := range []identity.UserID{"ada", "bob"} {
		p := posture.Person{ID: id, Enabled: true, Kind: posture.Kind(one("kind", "member", "internal-guest", "external-guest", "unknown")), PerUserMFA: posture.PerUserMFA(one("per user", "disabled", "enabled", "enforced", "unknown"))}
		p.Registration.Known = rapid.Bool().Draw(t, "known")
		for _, m := range pick("methods", "mobilePhone", "fido2", "email", "microsoftAuthenticatorPush", "odd", "temporaryAccessPass") {
			p.Registration.Methods = append(p.Registration.Methods, posture.Method(m))
		}
		if rapid.Bool().Draw(t, "admin") {
			p.Roles = []posture.Role{{Definition: admin, Active: rapid.Bool().Draw(t, "active")}}
		}
		for _, app := range pick("sign-ins", posture.Portal, cli) {
			p.SignIns = append(p.SignIns, signIns(app, rapid.Bool().Draw(t, "interactive"), posture.Protocol(one("protocol", "ropc", "other"))))
		}
		s.People = append(s.People, p)
	}
	return s
}

func judged(t *rapid.T, s posture.Snapshot) posture.Evaluation {
	e, err := posture.Evaluate(s, posture.Question{At: today, Phase: posture.Phase2})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOrderOfPoliciesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshots(t)
		a := judged(t, s)
		s.Policies.Conditional = slices.Clone(s.Policies.Conditional)
		slices.Reverse(s.Policies.Conditional)
		if d := cmp.Diff(a, judged(t, s)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestAtBestIsNeverWorseThanTheVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, r := range judged(t, snapshots(t)).Results {
			if !r.Verdict.Valid() || !r.AtBest.Valid() || r.AtBest.Worse(r.Verdict) {
				t.Fatalf("%+v", r)
			}
		}
	})
}

func TestExclusionNeverMakesAnybodyMoreRequired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshots(t)
		if len(s.Policies.Conditional) == 0 {
			return
		}
		before := judged(t, s)
		s.Policies.Conditional = slices.Clone(s.Policies.Conditional)
		p := &s.Policies.Conditional[rapid.IntRange(0, len(s.Policies.Conditional)-1).Draw(t, "policy")]
		switch rapid.IntRange(0, 3).Draw(t, "exclusion") {
		case 0:
			p.Exclude.Users = []string{"ada"}
		case 1:
			p.Exclude.Groups = []string{"inside", "unread"}
		case 2:
			p.Exclude.Roles = []string{admin}
		case 3:
			p.Exclude.Users = []string{posture.GuestsAndExternal}
		}
		after := judged(t, s)
		for i := range after.Results {
			b, a := before.Results[i], after.Results[i]
			if a.Verdict.Worse(b.Verdict) || a.AtBest.Worse(b.AtBest) {
				t.Fatalf("%s: before %+v, after %+v", s.People[i].ID, b, a)
			}
		}
	})
}

func TestWhoIsOutOfEveryPolicyIsNotAskedByPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshots(t)
		s.Policies.SecurityDefaults = posture.No
		for i := range s.Policies.Conditional {
			s.Policies.Conditional[i].Exclude.Users = []string{"ada", "bob"}
		}
		for i := range s.People {
			s.People[i].PerUserMFA, s.People[i].SignIns, s.People[i].Roles = posture.PerUserDisabled, nil, nil
		}
		for _, r := range judged(t, s).Results {
			if r.Verdict != posture.OutOfScope || r.AtBest != posture.OutOfScope {
				t.Fatalf("%+v", r)
			}
		}
	})
}

func TestMoreMethodsNeverMakeAnybodyWorseOff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := snapshots(t)
		before := judged(t, s)
		s.People = slices.Clone(s.People)
		for i := range s.People {
			s.People[i].Registration.Known = true
			s.People[i].Registration.Methods = append(slices.Clone(s.People[i].Registration.Methods), posture.WindowsHello)
		}
		for i, a := range judged(t, s).Results {
			if a.Verdict.Worse(before.Results[i].Verdict) {
				t.Fatalf("before %+v, after %+v", before.Results[i], a)
			}
		}
	})
}

func TestWordsAreThere(t *testing.T) {
	for _, m := range posture.Marks() {
		if m.Title() == "" || m.NextStep() == "" {
			t.Errorf("%s has no words", m)
		}
	}
	if posture.Mark("other").Title() != "" || posture.Code("other").Text() != "" {
		t.Error("words for what is not in the list")
	}
}
