package posture

import (
	"slices"
	"strings"
)

// Method is a registered method as the directory's report of registrations names it. A
// name that is not known here is kept and may or may not serve.
type Method string

// The names of the report ("userRegistrationDetails" and the portal's page on registration
// activity).
const (
	MobilePhone          Method = "mobilePhone"
	AlternateMobilePhone Method = "alternateMobilePhone"
	OfficePhone          Method = "officePhone"
	Email                Method = "email"
	AuthenticatorPush    Method = "microsoftAuthenticatorPush"
	AuthenticatorPhone   Method = "microsoftAuthenticatorPasswordless"
	SoftwareCode         Method = "softwareOneTimePasscode"
	HardwareCode         Method = "hardwareOneTimePasscode"
	SecurityKey          Method = "fido2"
	WindowsHello         Method = "windowsHelloForBusiness"
	MacKey               Method = "macOsSecureEnclaveKey"
	QRCode               Method = "qrCodePin"
	TemporaryPass        Method = "temporaryAccessPass"
	// Certificate is not in the report: people whom the policy lets use certificates may
	// have one.
	Certificate Method = "x509Certificate"
)

// mode is a way to authenticate as authentication strengths name it
// (authenticationMethodModes).
type mode string

const (
	modePassword    mode = "password"
	modeSMS         mode = "sms"
	modeVoice       mode = "voice"
	modePush        mode = "microsoftAuthenticatorPush"
	modeDevicePush  mode = "deviceBasedPush"
	modeSoftware    mode = "softwareOath"
	modeHardware    mode = "hardwareOath"
	modeFIDO2       mode = "fido2"
	modeHello       mode = "windowsHelloForBusiness"
	modeCertificate mode = "x509CertificateMultiFactor"
	modePassOnce    mode = "temporaryAccessPassOneTime"
	modePassMany    mode = "temporaryAccessPassMultiUse"
	modeFederated   mode = "federatedMultiFactor"
	modeFederation  mode = "federatedSingleFactor" // in the place of the password
	modeOther       mode = ""                      // serves MFA, and no strength that we can tell
)

// authenticatorApp is the configuration of the Authenticator app, whose codes it allows as
// well.
const authenticatorApp = "microsoftauthenticator"

// app reports whether the method shows that the Authenticator app is registered.
func (m Method) app() bool { return m == AuthenticatorPush || m == AuthenticatorPhone }

// service is a way in which a method serves, and the configuration that allows it; empty
// where no policy can forbid it.
type service struct {
	mode          mode
	configuration string
}

// services are the ways in which a method may serve as a second factor, none for those
// that never do: e-mail resets passwords only, and a pass is judged by itself.
func (m Method) services() []service {
	switch m {
	case MobilePhone:
		return []service{{modeSMS, "sms"}, {modeVoice, "voice"}}
	case AlternateMobilePhone, OfficePhone:
		return []service{{modeVoice, "voice"}}
	case AuthenticatorPush:
		return []service{{modePush, authenticatorApp}}
	case AuthenticatorPhone:
		return []service{{modeDevicePush, authenticatorApp}}
	case SoftwareCode:
		return []service{{modeSoftware, "softwareoath"}, {modeSoftware, authenticatorApp}}
	case HardwareCode:
		return []service{{modeHardware, "hardwareoath"}}
	case SecurityKey, "fido2SecurityKey":
		return []service{{modeFIDO2, "fido2"}}
	case WindowsHello, MacKey:
		return []service{{modeHello, ""}}
	case Certificate:
		return []service{{modeCertificate, "x509certificate"}}
	case Email, TemporaryPass, QRCode, "password", "securityQuestion", "appPassword", "":
		return nil
	default:
		if strings.HasPrefix(string(m), "passKey") { // passKeyDeviceBound and its kin
			return []service{{modeFIDO2, "fido2"}}
		}
		return []service{{modeOther, ""}}
	}
}

// known reports whether we know what the method does.
func (m Method) known() bool {
	s := m.services()
	return len(s) != 1 || s[0].mode != modeOther
}

// Phone reports whether the method is a telephone, by message or by voice.
func (m Method) Phone() bool {
	return m == MobilePhone || m == AlternateMobilePhone || m == OfficePhone
}

// PhishingResistant reports whether the method cannot be talked out of its owner:
// passkeys, Windows Hello, platform keys and certificates.
func (m Method) PhishingResistant() bool {
	for _, s := range m.services() {
		switch s.mode {
		case modeFIDO2, modeHello, modeCertificate:
			return true
		default:
		}
	}
	return false
}

// interrupt are the configurations whose methods people can register while a sign-in
// waits for it (Entra, concept-registration-mfa-sspr-combined).
var interrupt = []service{
	{modePush, authenticatorApp}, {modeSoftware, authenticatorApp}, {modeSoftware, "softwareoath"},
	{modeSMS, "sms"}, {modeVoice, "voice"}, {modeOther, "external"},
}

// targeted reports whether the targets hold a person. Targets that are groups are asked
// of in.
func targeted(list []Target, who string, in func(group string) Answer) Answer {
	found := No
	for _, t := range list {
		switch {
		case t.User:
			found = found.or(AnswerOf(t.ID == who))
		case t.ID == AllUsers:
			found = Yes
		default:
			found = found.or(in(t.ID))
		}
	}
	return found
}

func (a Answer) not() Answer {
	switch a {
	case Yes:
		return No
	case No:
		return Yes
	default:
		return Unknown
	}
}

// allows reports whether the policy lets a person use a method in one of its ways.
func (p MethodsPolicy) allows(s service, who string, in func(group string) Answer) Answer {
	if s.configuration == "" {
		return Yes
	}
	if p.Methods == nil {
		return Unknown // the policy could not be read
	}
	c, ok := p.Methods[s.configuration]
	if !ok || !c.Enabled {
		return No
	}
	if s.configuration == authenticatorApp {
		if s.mode == modeSoftware && c.Codes == No {
			return No
		}
		c.Include = slices.DeleteFunc(slices.Clone(c.Include), func(t Target) bool {
			return s.mode == modePush && t.Mode == string(modeDevicePush) || s.mode == modeDevicePush && t.Mode == "push"
		})
	}
	return targeted(c.Include, who, in).and(targeted(c.Exclude, who, in).not())
}

// satisfied reports whether modes suffice for the strength; have says of a mode whether
// the person has it.
func (s Strength) satisfied(have func(mode) Answer) Answer {
	any := No
	for _, combination := range s.Combinations {
		all := Yes
		for _, m := range strings.Split(combination, ",") {
			all = all.and(have(mode(strings.TrimSpace(m))))
		}
		if all == Yes && s.Restricted {
			all = Unknown
		}
		any = any.or(all)
	}
	return any
}

func contains(list []string, s string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}
