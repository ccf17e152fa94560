package event

import (
	"maps"
	"slices"
	"strings"
)

// SignInFailure is what a failed sign-in of Microsoft Entra means for its owner.
// Exactly one of the fields is set.
type SignInFailure struct {
	// Lock is why the person cannot sign in.
	Lock LockCause
	// Unrequested: the person reported a request to verify that was not theirs.
	Unrequested bool
}

// signInFailures is the closed list of error codes that are trouble of the person and
// not of an application, an attempt with a wrong password or a step on the way in
// (learn.microsoft.com/entra/identity-platform/reference-error-codes).
//
// 50072, 50074, 50076 and 50079 are left out: they interrupt every sign-in that goes on
// to a second factor or to its registration. The codes of an unusable pass are not
// documented.
var signInFailures = map[int]LockCause{
	50053:  "", // two meanings, see below
	50057:  LockDisabled,
	50088:  LockTooManyAttempts, // limit on calls and text messages
	53003:  LockConditionalAccess,
	53004:  LockRisk,              // must register methods, and may not because of risk
	53010:  LockConditionalAccess, // registration from elsewhere only
	53011:  LockRisk,              // risk in the home tenant
	530035: LockConditionalAccess, // security defaults
	500121: "",                    // the second factor failed; see below
}

// SignInFailureCodes are the codes that ClassifySignIn knows, in order.
func SignInFailureCodes() []int { return slices.Sorted(maps.Keys(signInFailures)) }

// ClassifySignIn says what a failed sign-in means, from status.errorCode,
// status.failureReason and status.additionalDetails of the sign-in log; ok is false
// when it is nobody's trouble.
//
// 50053 is smart lockout, or an address with malicious activity: only the reason tells.
// 500121 is any failed second factor; that the person reported it as fraud is in the
// details (learn.microsoft.com/azure/sentinel: "MFA denied; Phone App Reported Fraud",
// "MFA Denied, Fraud Code Entered"). Microsoft may change these texts: what is not
// understood becomes LockUnknown, or nothing for 500121.
func ClassifySignIn(code int, reason, details string) (f SignInFailure, ok bool) {
	cause, ok := signInFailures[code]
	if !ok {
		return SignInFailure{}, false
	}
	reason, details = strings.ToLower(reason), strings.ToLower(details)
	switch code {
	case 50053:
		switch {
		case strings.Contains(reason, "malicious"):
			cause = LockMaliciousAddress
		case strings.Contains(reason, "locked"):
			cause = LockSmartLockout
		default:
			cause = LockUnknown
		}
	case 500121:
		return SignInFailure{Unrequested: true}, strings.Contains(details, "fraud")
	}
	return SignInFailure{Lock: cause}, true
}
