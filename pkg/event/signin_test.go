package event_test

import (
	"testing"

	"mfaflow/pkg/event"
)

func TestClassifySignIn(t *testing.T) {
	for _, c := range []struct {
		name            string
		code            int
		reason, details string
		lock            event.LockCause
		unrequested, ok bool
	}{
		{"smart lockout", 50053, "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.", "", event.LockSmartLockout, false, true},
		{"malicious address", 50053, "Sign-in was blocked because it came from an IP address with malicious activity.", "", event.LockMaliciousAddress, false, true},
		{"a text that Microsoft has changed", 50053, "Something new", "", event.LockUnknown, false, true},
		{"disabled", 50057, "", "", event.LockDisabled, false, true},
		{"policy", 53003, "", "", event.LockConditionalAccess, false, true},
		{"security defaults", 530035, "", "", event.LockConditionalAccess, false, true},
		{"registration blocked by risk", 53004, "", "", event.LockRisk, false, true},
		{"limit of calls", 50088, "", "", event.LockTooManyAttempts, false, true},
		{"reported as fraud", 500121, "Authentication failed during strong authentication request.", "MFA denied; Phone App Reported Fraud", "", true, true},
		{"declined", 500121, "", "MFA denied; user declined the authentication", "", false, false},
		{"wrong password", 50126, "", "", "", false, false},
		{"second factor asked for", 50074, "", "", "", false, false},
		{"success", 0, "", "", "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := event.ClassifySignIn(c.code, c.reason, c.details)
			if ok != c.ok || ok && got != (event.SignInFailure{Lock: c.lock, Unrequested: c.unrequested}) {
				t.Errorf("%+v, %t", got, ok)
			}
		})
	}
}

// Each listed code has a meaning, and nothing else.
func TestSignInFailureCodes(t *testing.T) {
	listed := map[int]bool{}
	for _, code := range event.SignInFailureCodes() {
		listed[code] = true
	}
	for code := range 600000 {
		if _, ok := event.ClassifySignIn(code, "", "fraud"); ok != listed[code] {
			t.Errorf("%d: meaning %t, listed %t", code, ok, listed[code])
		}
	}
}
