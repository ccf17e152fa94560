package event_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
)

func TestParseDate(t *testing.T) {
	got, err := event.ParseDate("2028-02-29")
	if want := (event.Date{Year: 2028, Month: time.February, Day: 29}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	for _, s := range []string{"", "2026-02-29", "2026-13-01", "2026-1-1", "01.12.2026", "2026-12-01T00:00:00Z", "2026-12-01 ", "20261201"} {
		if _, err := event.ParseDate(s); !errors.Is(err, event.ErrBadDate) {
			t.Errorf("%q: got %v", s, err)
		}
	}
}

// The morning of the start date is a local one, over daylight saving too.
func TestDateAt(t *testing.T) {
	for _, tt := range []struct{ name, date, zone, want string }{
		{"winter", "2026-11-30", "Europe/Berlin", "2026-11-30T06:30:00Z"},
		{"summer", "2026-07-01", "Europe/Berlin", "2026-07-01T05:30:00Z"},
		{"day of the change", "2026-10-25", "Europe/Berlin", "2026-10-25T06:30:00Z"},
		{"already tomorrow", "2026-11-30", "Pacific/Auckland", "2026-11-29T18:30:00Z"},
		{"no whole hour", "2026-11-30", "Asia/Kolkata", "2026-11-30T02:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			date, err := event.ParseDate(tt.date)
			if err != nil {
				t.Fatal(err)
			}
			zone, err := event.ParseTimeZone(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			if got := date.At(7, 30, zone).UTC().Format(time.RFC3339); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParseTimeZone(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC", "Etc/GMT+5"} {
		if zone, err := event.ParseTimeZone(name); err != nil || zone.String() != name {
			t.Errorf("%s: got %v, %v", name, zone, err)
		}
	}
	for _, name := range []string{
		"", "Local", "localtime", "posixrules", "posix/Europe/Berlin", "right/Europe/Berlin", "europe/berlin",
		"Europe/Atlantis", "W. Europe Standard Time", "+01:00", "../UTC", "/etc/localtime", "Europe/../UTC", "UTC\n",
	} {
		if _, err := event.ParseTimeZone(name); !errors.Is(err, event.ErrBadTimeZone) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func of(typ event.Type, data string) event.Event {
	return event.Event{Type: typ, Data: json.RawMessage(data)}
}

func TestData(t *testing.T) {
	moment := time.Date(2026, time.November, 21, 0, 0, 0, 0, time.UTC)
	who := identity.Reference{EmployeeID: "E1042"}
	for _, tt := range []struct {
		name      string
		decode    func() (any, error)
		want      any
		wantError bool
	}{
		{"joiner", func() (any, error) {
			return of(event.Joiner, `{"person":{"employeeId":"E1042"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`).Employment()
		}, event.Employment{Person: who, StartDate: event.Date{Year: 2026, Month: time.November, Day: 30}, TimeZone: "Europe/Berlin"}, false},
		{"immediate leaver", func() (any, error) {
			return of(event.Leaver, `{"person":{"employeeId":"E1042"},"immediate":true}`).Employment()
		}, event.Employment{Person: who, Immediate: true}, false},
		{"date that does not exist", func() (any, error) {
			return of(event.Leaver, `{"lastDay":"2026-02-30"}`).Employment()
		}, event.Employment{}, true},
		{"a move is no statement", func() (any, error) { return of(event.Mover, `{}`).Employment() }, event.Employment{}, true},
		{"move", func() (any, error) {
			return of(event.Mover, `{"person":{"employeeId":"E1042"},"role":"Lead","effectiveDate":"2026-12-01","timeZone":"UTC"}`).Move()
		}, event.Move{Person: who, Role: "Lead", EffectiveDate: event.Date{Year: 2026, Month: time.December, Day: 1}, TimeZone: "UTC"}, false},
		{"reference", func() (any, error) {
			return of(event.Ref, `{"person":{"employeeId":"E1042"},"company":"4711","change":"employee.updated"}`).RecordRef()
		}, event.RecordRef{Person: who, Company: "4711", Change: "employee.updated"}, false},
		{"surgical re-registration", func() (any, error) {
			return of(event.Reregister, `{"person":{"employeeId":"E1042"},"mode":"surgical","registeredAfter":"2026-11-21T00:00:00Z","requestedBy":"leo@contoso.example"}`).MFA()
		}, event.MFA{Person: who, Mode: event.ReregisterSurgical, RegisteredAfter: moment, RequestedBy: "leo@contoso.example"}, false},
		{"lost device", func() (any, error) {
			return of(event.DeviceLost, `{"person":{"employeeId":"E1042"},"device":{"name":"Pixel 9"},"methods":[{"kind":"phone"},{"id":"m1"}]}`).MFA()
		}, event.MFA{Person: who, Device: event.Device{Name: "Pixel 9"}, Methods: []event.MethodRef{{Kind: identity.MethodPhone}, {ID: "m1"}}}, false},
		{"unknown mode", func() (any, error) { return of(event.Reregister, `{"mode":"everything"}`).MFA() }, event.MFA{}, true},
		{"empty mode", func() (any, error) { return of(event.Reregister, `{"mode":""}`).MFA() }, event.MFA{}, true},
		{"unknown channel", func() (any, error) { return of(event.CodesNotReceived, `{"channel":"fax"}`).MFA() }, event.MFA{}, true},
		{"risk", func() (any, error) {
			return of(event.RiskUser, `{"person":{"employeeId":"E1042"},"level":"high","state":"atRisk"}`).Risk()
		}, event.Risk{Person: who, Level: event.RiskLevel(identity.RiskHigh), State: event.RiskState(identity.RiskStateAtRisk)}, false},
		{"unknown level", func() (any, error) { return of(event.RiskUser, `{"level":"HIGH"}`).Risk() }, event.Risk{}, true},
		{"unknown state", func() (any, error) { return of(event.RiskSignIn, `{"level":"low","state":"maybe"}`).Risk() }, event.Risk{}, true},
		{"lockout", func() (any, error) {
			return of(event.AccountLocked, `{"person":{"employeeId":"E1042"},"cause":"smartLockout","unlockAt":"2026-11-21T00:00:00Z"}`).Lockout()
		}, event.Lockout{Person: who, Cause: event.LockSmartLockout, UnlockAt: moment}, false},
		{"unknown cause", func() (any, error) { return of(event.AccountLocked, `{"cause":"bad luck"}`).Lockout() }, event.Lockout{}, true},
		{"account", func() (any, error) {
			return of(event.AccountChanged, `{"person":{"employeeId":"E1042"},"change":"deleted"}`).AccountUpdate()
		}, event.AccountUpdate{Person: who, Change: event.AccountDeleted}, false},
		{"unknown account change", func() (any, error) { return of(event.AccountChanged, `{"change":"created"}`).AccountUpdate() }, event.AccountUpdate{}, true},
		{"session", func() (any, error) {
			return of(event.SessionRevoked, `{"person":{"employeeId":"E1042"},"initiatedBy":"policy"}`).Revocation()
		}, event.Revocation{Person: who, InitiatedBy: event.InitiatedByPolicy}, false},
		{"unknown initiator", func() (any, error) { return of(event.SessionRevoked, `{"initiatedBy":"robot"}`).Revocation() }, event.Revocation{}, true},
		{"credential", func() (any, error) {
			return of(event.CredentialChanged, `{"person":{"employeeId":"E1042"},"credential":"password","change":"revoke"}`).CredentialUpdate()
		}, event.CredentialUpdate{Person: who, Credential: "password", Change: event.CredentialRevoked}, false},
		{"unknown credential change", func() (any, error) { return of(event.CredentialChanged, `{"change":"rotate"}`).CredentialUpdate() }, event.CredentialUpdate{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.decode()
			if errors.Is(err, event.ErrBadData) != tt.wantError || (err != nil) != tt.wantError {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Every type has its data struct, and no other reads it.
func TestDataOfAnotherType(t *testing.T) {
	readers := map[string]func(event.Event) error{
		"employment": func(e event.Event) error { _, err := e.Employment(); return err },
		"move":       func(e event.Event) error { _, err := e.Move(); return err },
		"record":     func(e event.Event) error { _, err := e.RecordRef(); return err },
		"mfa":        func(e event.Event) error { _, err := e.MFA(); return err },
		"risk":       func(e event.Event) error { _, err := e.Risk(); return err },
		"lockout":    func(e event.Event) error { _, err := e.Lockout(); return err },
		"account":    func(e event.Event) error { _, err := e.AccountUpdate(); return err },
		"session":    func(e event.Event) error { _, err := e.Revocation(); return err },
		"credential": func(e event.Event) error { _, err := e.CredentialUpdate(); return err },
	}
	for _, typ := range event.Types() {
		var read []string
		for name, reader := range readers {
			if reader(of(typ, `{}`)) == nil {
				read = append(read, name)
			}
		}
		if len(read) != 1 {
			t.Errorf("%s is read by %v", typ, read)
		}
	}
}

// Data that is written is read back, and unset fields are left out.
func TestDataIsWrittenAsItIsRead(t *testing.T) {
	for _, tt := range []struct {
		data any
		want string
	}{
		{event.Employment{Person: identity.Reference{Mail: "a@contoso.example"}, StartDate: event.Date{Year: 2026, Month: 1, Day: 2}},
			`{"person":{"mail":"a@contoso.example"},"startDate":"2026-01-02"}`},
		{event.MFA{Methods: []event.MethodRef{{Kind: identity.MethodFIDO2}}}, `{"person":{},"methods":[{"kind":"fido2"}]}`},
		{event.Lockout{Cause: event.LockUnknown}, `{"person":{},"cause":"unknown"}`},
		{event.Move{}, `{"person":{}}`},
	} {
		got, err := json.Marshal(tt.data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}
