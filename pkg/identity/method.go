package identity

import (
	"slices"
	"time"
)

// MethodKind is the kind of an authentication method. The zero value is invalid.
type MethodKind string

// The kinds of Microsoft Graph v1.0 and beta, named after their @odata.type
// without "#microsoft.graph." and "AuthenticationMethod". A kind outside this
// list is kept as Graph spells it and is never taken for a known one.
const (
	MethodPassword            MethodKind = "password"
	MethodPhone               MethodKind = "phone"
	MethodEmail               MethodKind = "email"
	MethodFIDO2               MethodKind = "fido2"
	MethodWindowsHello        MethodKind = "windowsHelloForBusiness"
	MethodAuthenticator       MethodKind = "microsoftAuthenticator"
	MethodSoftwareOATH        MethodKind = "softwareOath"
	MethodHardwareOATH        MethodKind = "hardwareOath"
	MethodPlatformCredential  MethodKind = "platformCredential"
	MethodExternal            MethodKind = "external"
	MethodQRCodePIN           MethodKind = "qrCodePin"
	MethodTemporaryAccessPass MethodKind = "temporaryAccessPass"
	// MethodPasswordlessAuthenticator is phone sign-in as an entry of its own: beta
	// only and deprecated.
	MethodPasswordlessAuthenticator MethodKind = "passwordlessMicrosoftAuthenticator"
)

// PhoneType tells the three phones of a person apart. It is empty for methods that
// are no phones.
type PhoneType string

// The alternate mobile cannot exist without the mobile and goes before it
// (phoneauthenticationmethod-delete).
const (
	PhoneMobile          PhoneType = "mobile"
	PhoneAlternateMobile PhoneType = "alternateMobile"
	PhoneOffice          PhoneType = "office"
)

// Method is one registered authentication method. Numbers, addresses and device
// names are personal data and stay out of it.
type Method struct {
	ID   string
	Kind MethodKind
	// Phone is set for phones only.
	Phone PhoneType
	// CreatedAt is zero for kinds whose creation time the directory does not keep.
	CreatedAt time.Time
}

// UsableForMFA reports whether the method lets its owner pass multi-factor
// authentication. A password is no second factor, e-mail serves password reset
// only, and a pass is judged by itself. Unknown kinds count as usable, so that a
// person who may already be registered is never taken for a blank account.
func (m Method) UsableForMFA() bool {
	switch m.Kind {
	case MethodPassword, MethodEmail, MethodTemporaryAccessPass:
		return false
	default:
		return true
	}
}

// Deletable reports whether the directory has a way to delete methods of this kind.
// A password is replaced and never deleted; how to delete a kind we do not know is
// unknown.
func (k MethodKind) Deletable() bool {
	switch k {
	case MethodPhone, MethodEmail, MethodFIDO2, MethodWindowsHello, MethodAuthenticator, MethodSoftwareOATH, MethodHardwareOATH,
		MethodPlatformCredential, MethodExternal, MethodQRCodePIN, MethodTemporaryAccessPass, MethodPasswordlessAuthenticator:
		return true
	default:
		return false
	}
}

// Preference is the second factor that a person prefers, as the sign-in preferences
// name it. Empty means none.
type Preference string

// The values of userDefaultAuthenticationMethodType (beta resource signInPreferences).
const (
	PreferPush                 Preference = "push"
	PreferOATH                 Preference = "oath"
	PreferVoiceMobile          Preference = "voiceMobile"
	PreferVoiceAlternateMobile Preference = "voiceAlternateMobile"
	PreferVoiceOffice          Preference = "voiceOffice"
	PreferSMS                  Preference = "sms"
)

// Names reports whether the method serves the preference. Codes come from tokens and
// from the Authenticator app, which is both, so oath may name several methods.
func (p Preference) Names(m Method) bool {
	switch p {
	case PreferPush:
		return m.Kind == MethodAuthenticator || m.Kind == MethodPasswordlessAuthenticator
	case PreferOATH:
		return m.Kind == MethodSoftwareOATH || m.Kind == MethodHardwareOATH || m.Kind == MethodAuthenticator
	case PreferVoiceMobile, PreferSMS:
		return m.Phone == PhoneMobile
	case PreferVoiceAlternateMobile:
		return m.Phone == PhoneAlternateMobile
	case PreferVoiceOffice:
		return m.Phone == PhoneOffice
	default:
		return false
	}
}

// Preference is the preference that makes the method the default one; empty for a
// method that cannot be.
func (m Method) Preference() Preference {
	switch m.Kind {
	case MethodAuthenticator, MethodPasswordlessAuthenticator:
		return PreferPush
	case MethodSoftwareOATH, MethodHardwareOATH:
		return PreferOATH
	case MethodPhone:
		switch m.Phone {
		case PhoneMobile:
			return PreferSMS
		case PhoneAlternateMobile:
			return PreferVoiceAlternateMobile
		case PhoneOffice:
			return PreferVoiceOffice
		}
		return ""
	default:
		return ""
	}
}

// Registration is what a person has registered, read at one moment.
type Registration struct {
	// Methods are all methods, the password and a pass included.
	Methods []Method
	// Default is the preference on record. The directory may ignore it when
	// SystemPreferred is set, and does not say which method it treats as the default.
	Default Preference
	// SystemPreferred: the directory picks the strongest method by itself.
	SystemPreferred bool
	// PreferenceKnown is false when the preferences could not be read: they exist in
	// beta only. Default and SystemPreferred then say nothing.
	PreferenceKnown bool
}

// LikelyDefault is the method that the directory most likely treats as the default
// and refuses to delete while others exist: one that serves the preference, else the
// strongest that can be the default. It is a guess that saves a request; a reset must
// converge without it. None is reported as false.
func (r Registration) LikelyDefault() (Method, bool) {
	ranked := slices.DeleteFunc(slices.Clone(r.Methods), func(m Method) bool { return m.Preference() == "" })
	if len(ranked) == 0 {
		return Method{}, false
	}
	slices.SortStableFunc(ranked, func(a, b Method) int { return strength(a) - strength(b) })
	for _, m := range ranked {
		if r.PreferenceKnown && r.Default.Names(m) {
			return m, true
		}
	}
	return ranked[0], true
}

// strength orders methods that can be the default, strongest first, as
// system-preferred authentication does (Entra, concept-system-preferred-multifactor-authentication).
func strength(m Method) int {
	return slices.Index([]Preference{PreferPush, PreferOATH, PreferSMS, PreferVoiceAlternateMobile, PreferVoiceOffice}, m.Preference())
}

// MethodOutcome is what became of a method that was to be deleted. The zero value is
// invalid.
type MethodOutcome string

const (
	// MethodDeleted: the directory confirmed it.
	MethodDeleted MethodOutcome = "deleted"
	// MethodGone: the directory did not find it (404).
	MethodGone MethodOutcome = "gone"
	// MethodBlocked: the directory answered 400. That is its answer to deleting the
	// default method while others exist and to deleting a mobile phone while an
	// alternate one exists; the code is the same for every refusal and names no
	// reason. Another round, after the others are gone, may succeed.
	MethodBlocked MethodOutcome = "blocked"
	// MethodThrottled: nothing happened; try again after MethodResult.After.
	MethodThrottled MethodOutcome = "throttled"
	// MethodUnavailable: the directory failed. With MethodResult.Unknown the method
	// may be deleted all the same.
	MethodUnavailable MethodOutcome = "unavailable"
	// MethodForbidden: our app lacks a permission or role for this kind.
	MethodForbidden MethodOutcome = "forbidden"
	// MethodRefused: refused for a reason that a retry does not change.
	MethodRefused MethodOutcome = "refused"
	// MethodRemains: there is no way to delete it (a password, an unknown kind). No
	// request was made.
	MethodRemains MethodOutcome = "remains"
	// MethodUntried: no request was made, because the deletion stopped before.
	MethodUntried MethodOutcome = "untried"
)

// MethodResult is what became of one method.
type MethodResult struct {
	Method  Method
	Outcome MethodOutcome
	// After is how long the directory asked us to wait; zero when it did not say.
	After time.Duration
	// Unknown is true when the deletion may have taken effect all the same.
	Unknown bool
	// Err says why the method was not deleted, with the class of the answer; nil for
	// MethodDeleted, MethodGone and MethodUntried.
	Err error
}
