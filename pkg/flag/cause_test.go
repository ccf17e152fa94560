package flag_test

import (
	"slices"
	"testing"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
)

// Of every cause somebody has decided whether it says that a person does not get in, and
// of every event whether it is a call for help.
func TestKeptOut(t *testing.T) {
	keptOut := []flag.Cause{
		flag.SmartLockout, flag.MaliciousAddress, flag.AccountDisabled, flag.RiskBlock, flag.ConditionalAccessBlock, flag.PassUnusable,
		flag.NoUsableMethod, flag.TooManyAttempts, flag.TemporarilyBlocked, flag.CodesUnrequested, flag.CodesNotReceived, flag.DeviceLost,
		flag.DeviceStolen, flag.Locked, flag.LockedOnPremises,
	}
	others := []flag.Cause{
		flag.RiskRaised, flag.Compromised, flag.RiskySignIn, flag.SessionRevoked, flag.CredentialChanged, flag.Moved, flag.DisableOnPremises,
		flag.BlockUndone, flag.MissingRole, flag.MethodsRemain, flag.ShortFirstDay, flag.Undeliverable, flag.Held, flag.BreakerTripped, flag.TooOld,
		flag.UnknownPerson, flag.AmbiguousPerson, flag.ConflictingPerson, flag.LostMessage, flag.NoSuchUser, flag.LaneStuck, flag.BreakGlassWeak,
		flag.ServiceIdentity, flag.PolicyDrift,
	}
	for _, c := range flag.Causes() {
		in, out := slices.Contains(keptOut, c), slices.Contains(others, c)
		if in == out {
			t.Errorf("%s is in both lists or in none", c)
		}
		if got := (flag.Flag{Cause: c}).KeptOut(); got != in {
			t.Errorf("%s: %t", c, got)
		}
	}
	calls := []event.Type{
		event.DeviceLost, event.DeviceStolen, event.AccessLost, event.CodesUnrequested, event.CodesNotReceived, event.TemporarilyBlocked,
		event.Reregister, event.AccountLocked,
	}
	for _, typ := range event.Types() {
		if got := (flag.Flag{Cause: flag.Held, Type: string(typ)}).KeptOut(); got != slices.Contains(calls, typ) {
			t.Errorf("%s held: %t", typ, got)
		}
	}
}
