package flag

import (
	"maps"
	"slices"

	"mfaflow/pkg/event"
)

// Cause says what is wrong. The zero value is invalid.
type Cause string

// The closed list of causes: what keeps a person from signing in.
const (
	// SmartLockout: too many wrong passwords (sign-in error 50053, IdsLocked).
	SmartLockout Cause = "smart-lockout"
	// MaliciousAddress: the other meaning of 50053, told apart by its failure reason.
	MaliciousAddress Cause = "malicious-address"
	// AccountDisabled: sign-in error 50057.
	AccountDisabled Cause = "account-disabled"
	// RiskBlock: identity protection blocks (53011, or a risk policy).
	RiskBlock Cause = "risk-block"
	// ConditionalAccessBlock: a policy blocks (53003), or a registration is allowed
	// from elsewhere only (53010).
	ConditionalAccessBlock Cause = "conditional-access-block"
	// PassUnusable: the pass has ended, or was for one use and is used.
	PassUnusable Cause = "pass-unusable"
	// NoUsableMethod: nothing registered satisfies what the sign-in asks for.
	NoUsableMethod Cause = "no-usable-method"
	// TooManyAttempts: too many attempts to verify.
	TooManyAttempts Cause = "too-many-attempts"
	// TemporarilyBlocked: Microsoft asks the person to try another method.
	TemporarilyBlocked Cause = "temporarily-blocked"
)

// What the help desk or a risk system reported.
const (
	CodesUnrequested Cause = "codes-unrequested"
	CodesNotReceived Cause = "codes-not-received"
	DeviceLost       Cause = "device-lost"
	DeviceStolen     Cause = "device-stolen"
	RiskRaised       Cause = "risk-raised"
	Compromised      Cause = "compromised"
	RiskySignIn      Cause = "risky-sign-in"
	SessionRevoked   Cause = "session-revoked"
	// CredentialChanged: another system reports it.
	CredentialChanged Cause = "credential-changed"
	Moved             Cause = "moved"
	// Locked: locked for a cause that the sender does not know.
	Locked           Cause = "locked"
	LockedOnPremises Cause = "locked-on-premises"
)

// What an action of ours could not do by itself.
const (
	DisableOnPremises Cause = "disable-on-premises"
	// BlockUndone: an account that we blocked is enabled again.
	BlockUndone   Cause = "block-undone"
	MissingRole   Cause = "missing-role"
	MethodsRemain Cause = "methods-remain"
	ShortFirstDay Cause = "short-first-day"
	Undeliverable Cause = "undeliverable"
)

// What happened to an event.
const (
	Held              Cause = "held"
	BreakerTripped    Cause = "breaker-tripped"
	TooOld            Cause = "too-old"
	UnknownPerson     Cause = "unknown-person"
	AmbiguousPerson   Cause = "ambiguous-person"
	ConflictingPerson Cause = "conflicting-person"
	LostMessage       Cause = "lost-message"
	NoSuchUser        Cause = "no-such-user"
	LaneStuck         Cause = "lane-stuck"
)

// What a report of the tenant's readiness for MFA found.
const (
	// BreakGlassWeak: an emergency access account that enforcement may lock out.
	BreakGlassWeak Cause = "break-glass-weak"
	// ServiceIdentity: a person's identity that a program signs in with.
	ServiceIdentity Cause = "service-identity"
	// PolicyDrift: the tenant's policies are not as their file says.
	PolicyDrift Cause = "policy-drift"
)

// words are what people read of a cause.
type words struct{ title, step string }

var texts = map[Cause]words{
	SmartLockout: {"Locked after wrong passwords",
		"Nothing can unlock the account: the lock ends by itself. Tell the person to wait, then to sign in with the right password or reset it. If it comes back, look for a phone or mail program that still sends an old password; if the attempts are not theirs, treat it as an attack."},
	MaliciousAddress: {"Blocked because of the network the sign-in came from",
		"Ask where the person was. If the sign-in was theirs, have them use another network; if not, report the account as in danger."},
	AccountDisabled: {"Account is disabled",
		"Find out who disabled it and why before anybody enables it. For a synced account that is done in Active Directory."},
	RiskBlock: {"Blocked because of risk",
		"Read the person's risk in Microsoft Entra ID Protection. Prove who they are, then have them change the password or dismiss the risk. Do not issue a pass before that."},
	ConditionalAccessBlock: {"Blocked by Conditional Access",
		"Open the failed sign-in and read which policy blocked it. Put right the device, place or group that it names; do not exclude the person from the policy."},
	PassUnusable: {"Temporary Access Pass has ended or is used up",
		"Prove who the person is, then issue a new pass. Check the hours in which the old one was valid: the person may have come too early or too late."},
	NoUsableMethod: {"No usable authentication method",
		"Prove who the person is, then issue a pass so that they can register a method that the policies accept."},
	TooManyAttempts: {"Too many attempts to verify",
		"Have the person wait and then use another method. Ask whether the attempts were theirs; if not, report the account as in danger."},
	TemporarilyBlocked: {"Verification method blocked for a while",
		"Have the person wait, use another method or another network. Issue a pass only if that does not help and you know who they are."},

	CodesUnrequested: {"Person gets codes that they did not ask for",
		"Somebody may know the password. Have it changed, look at the recent sign-ins, and tell the person to approve nothing. Report the account as in danger if it goes on."},
	CodesNotReceived: {"Codes do not arrive",
		"Check the registered number and address, the junk mail folder and blocked senders. Do not send again and again: Microsoft may block sending after unusual activity. Offer another method meanwhile."},
	DeviceLost: {"Device is lost",
		"Check that the device's methods are gone and sessions were revoked. Wipe or disable the device, and see that the person has a way in."},
	DeviceStolen: {"Device is stolen",
		"Check that sign-in is blocked. Wipe or disable the device. Prove who the person is before you release the account."},
	RiskRaised: {"Risk has risen",
		"Read the person's risk detections and recent sign-ins. Confirm the compromise or dismiss the risk; nothing has been changed on the account."},
	Compromised: {"Account was secured after a compromise",
		"Sign-in is blocked. Prove who the person is, look at what was done with the account, then release it."},

	RiskySignIn: {"Risky sign-in",
		"Look at the sign-in and ask the person whether it was theirs; nothing has been changed on the account."},
	SessionRevoked: {"Another system revoked the person's sessions",
		"Ask the system's owner why; nothing has been changed on the account."},
	CredentialChanged: {"Another system reports a changed credential",
		"Ask the person whether they changed it. If not, report the account as in danger."},
	Moved: {"Person changed role",
		"Check whether the new role asks for stronger methods."},
	Locked: {"Account is locked",
		"Find out from the sign-in log why the account is locked."},
	LockedOnPremises: {"Account is locked in Active Directory",
		"Unlock the account in Active Directory."},

	BlockUndone: {"Blocked account is enabled again",
		"Somebody, or a sync from Active Directory, enabled an account that mfaflow had blocked. Find out who, and disable it at its source if it should stay blocked."},
	DisableOnPremises: {"Synced account must be disabled in Active Directory",
		"The block in the cloud may be undone by the next sync. Disable the account and change its password in Active Directory."},
	MissingRole: {"App lacks a role for this account",
		"The account is privileged and our app may not change it. Do by hand what the detail names, now; then decide whether the app should hold the role."},
	MethodsRemain: {"Authentication methods remain",
		"Look at the methods that the detail names and delete by hand those that must go: they could not be removed, or not be judged, from here."},
	ShortFirstDay: {"Little is left of the pass on the first day",
		"Be ready to issue another pass by hand."},
	Undeliverable: {"Pass could not be delivered",
		"The pass was deleted because nobody could be given it. Set a manager with a mailbox, then replay the event."},

	Held: {"Event is held for an operator",
		"Read the reason, put right what it names, then release or drop the hold."},
	BreakerTripped: {"Too many destructive changes at once",
		"Further ones are held. Find out what sends them. If they are meant, release the holds; if not, drop them and stop the source."},
	TooOld: {"Event came too late to be run",
		"Find out whether it still holds. If so, send it anew."},
	UnknownPerson: {"Nobody in the directory has these identifiers",
		"Provision the account or correct HR's data, then replay the event."},
	AmbiguousPerson: {"Several accounts have these identifiers",
		"Make the employee id unique, then replay the event."},
	ConflictingPerson: {"Identifiers belong to different accounts",
		"Correct HR's data or the directory, then replay the event."},
	LostMessage: {"A waiting event is no longer in its queue",
		"Look for it among the dead letters and replay it."},
	LaneStuck: {"Events are given up, or wait for long, because of their lane",
		"Read the reason. A full lane: release or drop its holds. Poison: read the worker's log for the event. An unreadable ledger: another version of mfaflow may have written it. Then replay the dead letters of the lane. What waits goes on by itself once the reason is put right."},
	BreakGlassWeak: {"Break-glass account may be locked out",
		"Register a passkey (FIDO2) or a certificate for the account, enable it if it is disabled, and try it: it must pass MFA like everybody, and a phone may be out of reach in an emergency."},
	ServiceIdentity: {"Program signs in as a person",
		"Nobody can answer when MFA is asked for. Move the program to a workload identity: a managed identity where it runs in Azure, workload identity federation elsewhere, else a service principal with a certificate. Then disable the account."},
	PolicyDrift: {"Policies differ from their file",
		"mfaflow policy drift shows what differs, the directory's audit log who changed it. If the change is meant, put it into the file; if not, have mfaflow policy plan and apply put it right."},

	NoSuchUser: {"Account was deleted while an event waited for it",
		"Nothing to do unless the account should exist."},
}

// Causes lists all causes in order of their names.
func Causes() []Cause { return slices.Sorted(maps.Keys(texts)) }

// Valid reports whether the cause is in the list.
func (c Cause) Valid() bool {
	_, ok := texts[c]
	return ok
}

// keepsOut are the causes that say that a person does not get in, or that the help desk was
// asked because of how they prove who they are.
var keepsOut = []Cause{
	SmartLockout, MaliciousAddress, AccountDisabled, RiskBlock, ConditionalAccessBlock, PassUnusable, NoUsableMethod, TooManyAttempts, TemporarilyBlocked,
	CodesUnrequested, CodesNotReceived, DeviceLost, DeviceStolen, Locked, LockedOnPremises,
}

// helpDesk are the events of the help desk, and those of locked accounts, whatever became of
// them: one that is held or that came too late was a call for help all the same.
var helpDesk = []event.Type{
	event.DeviceLost, event.DeviceStolen, event.AccessLost, event.CodesUnrequested, event.CodesNotReceived, event.TemporarilyBlocked,
	event.Reregister, event.AccountLocked,
}

// KeptOut reports whether the flag says that a person does not get in, or called the help
// desk about it.
func (f Flag) KeptOut() bool {
	return slices.Contains(keepsOut, f.Cause) || slices.Contains(helpDesk, event.Type(f.Type))
}

// Title is what happened, in a few words; empty for an unknown cause.
func (c Cause) Title() string { return texts[c].title }

// NextStep is what a human should do, in plain words; empty for an unknown cause.
func (c Cause) NextStep() string { return texts[c].step }
