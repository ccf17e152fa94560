package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/plan"
	graphsim "mfaflow/pkg/sim/graph"
)

// role is what a person of the tenant is there for.
type role string

const (
	manager role = "manager" // gets other people's passes
	staff   role = "staff"
	joiner  role = "joiner" // a blank account
	late    role = "late"   // a joiner whose account HR's provisioning has not made yet
	admin   role = "admin"  // holds a directory role
	synced  role = "synced" // comes from an on-premises directory
	outside role = "outside"
)

// roles of the people, by their number. The first two are managers.
var roles = [...]role{manager, manager, joiner, joiner, late, staff, staff, staff, admin, synced}

const (
	people  = len(roles)
	domain  = "town.example"
	sender  = "onboarding@" + domain
	thief   = "thief@personal.example"
	zone    = "Europe/Berlin"
	foreign = "desk" // who issues passes past mfaflow

	requirement = "phishing-resistant"
	// payments is the group of which a policy of the sample tenant demands it.
	payments = "20000000-0000-4000-8000-000000000014"
)

func personID(i int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", i) }
func upn(i int) string      { return fmt.Sprintf("p%d@%s", i, domain) }

// town is the part of a run that does not happen: the tenant and the settings.
type town struct {
	tenant   *graphsim.Tenant
	settings plan.Settings
	limits   breaker.Limits
}

// newTown draws a small tenant. It uses a stream of its own, so that a history that is
// shortened meets the same people.
func newTown(seed uint64) (town, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	sample, err := graphsim.SampleTenant()
	if err != nil {
		return town{}, err
	}
	t := &graphsim.Tenant{
		ID: sample.ID, DisplayName: "Town", Domains: []string{domain}, ExternalMail: []string{"personal.example"},
		Behaviour: sample.Behaviour, Apps: sample.Apps, Policies: sample.Policies, RoleDefinitions: sample.RoleDefinitions,
	}
	for _, a := range t.Apps {
		if a.Name == "identity-worker" { // so that our app may block whom two operators released
			a.DirectoryRoles = []string{"Privileged Authentication Administrator"}
		}
	}
	if r.IntN(3) == 0 {
		t.Behaviour.SignInPreferences = graphsim.PreferencesIgnored
	}
	if r.IntN(3) == 0 {
		t.Behaviour.PassOutsidePolicy = graphsim.PassCreated
	}
	t.Policies.TemporaryAccessPass.DefaultLength = 16
	t.Policies.TemporaryAccessPass.UsableOnce = r.IntN(4) == 0
	t.Policies.TemporaryAccessPass.IncludeTargets = []graphsim.Target{{TargetType: "group", ID: "all_users"}}
	t.Policies.TemporaryAccessPass.ExcludeTargets = nil
	t.Groups = []*graphsim.Group{{ID: payments, DisplayName: "Payments", SecurityEnabled: true}}
	born := time.Date(2024, 1, 10, 9, 0, 0, 0, time.UTC)
	t.Users = append(t.Users, &graphsim.User{
		ID: personID(99), UserPrincipalName: sender, DisplayName: "Onboarding", Mail: sender, AccountEnabled: true, UserType: "Member", CreatedDateTime: &born,
	})
	for i, what := range roles {
		u := &graphsim.User{
			ID: personID(i), UserPrincipalName: upn(i), DisplayName: fmt.Sprintf("Person %d", i), Mail: upn(i), EmployeeID: fmt.Sprintf("E%d", i),
			AccountEnabled: true, UserType: "Member", CreatedDateTime: &born, OtherMails: []string{fmt.Sprintf("p%d@personal.example", i)},
		}
		if i > 0 {
			u.Manager = personID(0)
		}
		if i > 1 && r.IntN(2) == 0 {
			u.Manager = personID(1)
		}
		if what == synced {
			yes := true
			u.OnPremisesSyncEnabled = &yes
		}
		if what != joiner && what != late {
			u.Methods, u.DefaultMethod = methodsOf(r, i, born)
			at := born.AddDate(2, 0, 0)
			u.SignInActivity = &graphsim.SignInActivity{LastSignInDateTime: &at}
		}
		if what == late {
			u.CreatedDateTime = nil
			t.NotYetProvisioned = append(t.NotYetProvisioned, u)
			continue
		}
		t.Users = append(t.Users, u)
		if what == admin {
			t.RoleAssignments = []*graphsim.RoleAssignment{{ID: "a1", PrincipalID: u.ID, RoleDefinitionID: t.RoleDefinitions[0].ID}}
		}
	}
	grace := []time.Duration{0, 24 * time.Hour, 7 * 24 * time.Hour}
	onSignIn := []plan.Response{plan.RaiseFlag, plan.Revoke, plan.Reregister, plan.Compromise}
	limits := []breaker.Limits{{Window: time.Hour, Count: 50, ImmediateCount: 50}, {Window: time.Hour, Count: 1, ImmediateCount: 1}}
	return town{
		tenant: t,
		limits: limits[r.IntN(3)/2], // one of three towns is careful
		settings: plan.Settings{
			LeadTime: 72 * time.Hour, OpensAtHour: 7, OpensAtMinute: 30, DefaultZone: time.UTC, Lifetime: 8 * time.Hour,
			PastStart: 7 * 24 * time.Hour, ProtectRoleHolders: true, Grace: grace[r.IntN(3)], UnblockReturning: r.IntN(2) == 0,
			SyncCheck: 45 * time.Minute, MaxAge: 7 * 24 * time.Hour, SettleWindow: 24 * time.Hour, OnRiskySignIn: onSignIn[r.IntN(4)],
			Requirements: map[string]plan.Requirement{requirement: {
				Group: payments, Methods: []identity.MethodKind{identity.MethodFIDO2, identity.MethodWindowsHello},
			}},
			OnSessionRevoked: plan.Record, OnCredentialChanged: plan.Record, OnMove: plan.Record,
		},
	}, nil
}

// methodsOf draws what a person has registered.
func methodsOf(r *rand.Rand, person int, born time.Time) (list []*graphsim.Method, standard string) {
	at := born.Add(time.Hour)
	add := func(kind, id string, created bool, properties map[string]any) {
		m := &graphsim.Method{Kind: kind, ID: id, Properties: properties}
		if created {
			m.CreatedDateTime = &at
		}
		list = append(list, m)
	}
	id := func(n int) string { return fmt.Sprintf("40000000-0000-4000-8000-%06d%06d", person, n) }
	switch r.IntN(3) {
	case 0:
		add("microsoftAuthenticator", id(1), true, map[string]any{"displayName": "Phone"})
		standard = id(1)
	case 1:
		add("softwareOath", id(2), false, nil)
		standard = id(2)
	default:
		add("phone", "3179e48a-750b-4051-897c-87b9720928f7", false, map[string]any{"phoneNumber": "+49 30555010003", "phoneType": "mobile", "smsSignInState": "notEnabled"})
		standard = "3179e48a-750b-4051-897c-87b9720928f7"
		if r.IntN(2) == 0 {
			add("phone", "b6332ec1-7057-4abe-9331-3d72feddfe41", false, map[string]any{"phoneNumber": "+49 30555010004", "phoneType": "alternateMobile", "smsSignInState": "notSupported"})
		}
	}
	if r.IntN(2) == 0 {
		add("fido2", fmt.Sprintf("fido-%d", person), true, map[string]any{"displayName": "Key"})
	}
	if r.IntN(3) == 0 {
		add("email", "3ddfcfc8-9383-446f-83cc-3ab9be4be18f", false, map[string]any{"emailAddress": "x@personal.example"})
	}
	return list, standard
}

// scopes of the sources that events come from.
func scopes() map[string]event.Scope {
	return map[string]event.Scope{
		"hr": {"employee.*"}, "helpdesk": {"mfa.*"}, "risk": {"risk.*", "account.*", "session.*", "credential.*"}, "operator": {"operator.*"},
	}
}
