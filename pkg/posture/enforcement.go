package posture

import (
	"errors"
	"fmt"
	"time"
)

// Phase is a phase of Microsoft's mandatory MFA. The zero value is invalid.
type Phase int

// The phases. The first asks at the sign-in to the portals, the second when a client
// creates, updates or deletes something in Azure.
const (
	Phase1 Phase = 1
	Phase2 Phase = 2
)

// EnforcementSource is where the table of applications is from, as of 2026-04-03.
const EnforcementSource = "https://learn.microsoft.com/entra/identity/authentication/concept-mandatory-multifactor-authentication"

// EnforcedApp is an application that Microsoft asks MFA for.
type EnforcedApp struct {
	// Name is that of the sign-in log's app id: several portals share one.
	Name string `json:"name"`
	// AppID is empty for what the page names without one; its sign-ins cannot be told.
	AppID string `json:"appId,omitempty"`
	Phase Phase  `json:"phase"`
	// Starts is the first day of the enforcement, which reaches tenants gradually.
	Starts time.Time `json:"starts"`
	// WritesOnly: reading is let through without MFA. The log does not tell reads and
	// writes apart.
	WritesOnly bool `json:"writesOnly,omitempty"`
	// Browser is true for what people open in a browser, and false for clients.
	Browser bool `json:"browser,omitempty"`
}

// Portal is the app id that the Azure portal and the Entra and Intune admin centers share.
const Portal = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"

func day(year int, month time.Month, d int) time.Time {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
}

// EnforcedApps are all applications of the table. Where it gives a month, the month's
// first day counts; "second half of 2024" began in October.
func EnforcedApps() []EnforcedApp {
	phase2 := func(name, id string) EnforcedApp {
		return EnforcedApp{Name: name, AppID: id, Phase: Phase2, Starts: day(2025, time.October, 1), WritesOnly: true}
	}
	return []EnforcedApp{
		{Name: "Azure portal, Entra and Intune admin centers", AppID: Portal, Phase: Phase1, Starts: day(2024, time.October, 1), Browser: true},
		{Name: "Microsoft 365 admin center", Phase: Phase1, Starts: day(2025, time.February, 1), Browser: true},
		phase2("Azure CLI", "04b07795-8ddb-461a-bbee-02f9e1bf7b46"),
		phase2("Azure PowerShell", "1950a258-227b-4e31-a9cf-717495945fc2"),
		phase2("Azure mobile app", "0c1307d4-29d6-4389-a11c-5cbe7f65d7fa"),
		phase2("Azure REST API and SDK", ""),
	}
}

// Question is what an evaluation is asked: who can sign in on a day when enforcement has
// come to a phase.
type Question struct {
	At time.Time `json:"at"`
	// Phase is the last phase that counts; what begins after At does not.
	Phase Phase `json:"phase"`
}

// Validate refuses a question without a day or with an unknown phase.
func (q Question) Validate() error {
	var errs []error
	if q.At.IsZero() {
		errs = append(errs, errors.New("date: is missing; give the day to judge"))
	}
	if q.Phase != Phase1 && q.Phase != Phase2 {
		errs = append(errs, fmt.Errorf("phase: %d is none; it is 1 or 2", q.Phase))
	}
	return errors.Join(errs...)
}

// InForce are the applications that the question concerns.
func (q Question) InForce() []EnforcedApp {
	var list []EnforcedApp
	for _, a := range EnforcedApps() {
		if a.Phase <= q.Phase && !a.Starts.After(q.At) {
			list = append(list, a)
		}
	}
	return list
}

// DefaultsSince is the day from which new tenants have security defaults on (Entra,
// security-defaults).
func DefaultsSince() time.Time { return day(2019, time.October, 22) }
