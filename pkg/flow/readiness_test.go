package flow_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/files"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sim/clock"
	graphsim "mfaflow/pkg/sim/graph"
)

// reading is a tenant of the simulator, and what reads it over HTTP.
type reading struct {
	tenant   *graphsim.Server
	gatherer readiness.Gatherer
}

func newReading(t *testing.T, tenant *graphsim.Tenant) *reading {
	t.Helper()
	server, err := graphsim.Start(t.Context(), graphsim.Options{Tenant: tenant, Clock: clock.NewManual(t0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	directory := (&world{t: t, tenant: server}).directory("readiness-report")
	t.Cleanup(directory.Close)
	return &reading{tenant: server, gatherer: readiness.Gatherer{
		Tenant: directory, Store: files.Folder(t.TempDir()), Now: func() time.Time { return t0 }, BreakGlass: breakGlass(server),
		Sleep: func(context.Context, time.Duration) error { return nil },
	}}
}

// breakGlass are the accounts that are called so.
func breakGlass(s *graphsim.Server) (ids []identity.UserID) {
	s.Mutate(func(t *graphsim.Tenant) {
		for _, u := range t.Users {
			if strings.HasPrefix(u.UserPrincipalName, "emergency") || strings.HasPrefix(u.UserPrincipalName, "breakglass") {
				ids = append(ids, identity.UserID(u.ID))
			}
		}
	})
	return ids
}

func (r *reading) snapshot(t *testing.T) posture.Snapshot {
	t.Helper()
	s, err := r.gatherer.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sampleReading(t *testing.T) *reading {
	t.Helper()
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	return newReading(t, tenant)
}

// elsewhere adds people who prove who they are elsewhere, and have registered nothing here:
// at the identity provider of a federated domain, whose MFA counts, is left to it, is
// rejected, or is nothing that anybody has set; and with Google.
func elsewhere(tenant *graphsim.Tenant) *graphsim.Tenant {
	for i, x := range []struct{ domain, behaviour string }{
		{"works", "acceptIfMfaDoneByFederatedIdp"}, {"labs", "enforceMfaByFederatedIdp"}, {"depot", "rejectMfaByFederatedIdp"}, {"garage", ""},
	} {
		domain := x.domain + "." + tenant.Domains[0]
		tenant.Domains = append(tenant.Domains, domain)
		tenant.Policies.Federations = append(tenant.Policies.Federations, graphsim.Federation{Domain: domain, MFABehaviour: x.behaviour})
		for k := range 2 { // of whom the identity provider asks one
			tenant.Users = append(tenant.Users, &graphsim.User{
				ID: fmt.Sprintf("18000000-0000-4000-8000-%012d", 10*i+k), UserPrincipalName: fmt.Sprintf("%s%d@%s", x.domain, k, domain), DisplayName: x.domain,
				UserType: "Member", AccountEnabled: true, FederatedMFA: k == 0, CreatedDateTime: &t0,
			})
		}
	}
	tenant.Users = append(tenant.Users, &graphsim.User{
		ID: "18000000-0000-4000-8000-000000000100", UserPrincipalName: "maya.levy_mail.example#EXT#@" + tenant.Domains[0], DisplayName: "Maya Levy", UserType: "Guest",
		CreationType: "Invitation", ExternalUserState: "Accepted", IdentityIssuer: "google.com", AccountEnabled: true, CreatedDateTime: &t0,
	})
	return tenant
}

func elsewhereReading(t *testing.T, change func(*graphsim.Tenant)) *reading {
	t.Helper()
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere(tenant)
	if change != nil {
		change(tenant)
	}
	return newReading(t, tenant)
}

var now2026 = posture.Question{At: t0, Phase: posture.Phase2}

// Who is planted in the sample tenant, and why: everybody who is not fine, or is to be
// looked into, is in this table, and nobody else.
func TestReadinessNamesThePeoplePlanted(t *testing.T) {
	s := elsewhereReading(t, nil).snapshot(t)
	if len(s.Gaps) > 0 {
		t.Fatalf("%+v", s.Gaps)
	}
	r, err := readiness.NewReport(s, now2026, nil)
	if err != nil {
		t.Fatal(err)
	}
	type finding struct {
		Verdict, AtBest posture.Verdict
		Marks           []posture.Mark
		Why             []posture.Code
	}
	blank := finding{posture.Prompted, posture.Prompted, nil, []posture.Code{posture.NoMethod, posture.ByPolicy, posture.CanRegister}}
	gone := finding{posture.OutOfScope, posture.OutOfScope, nil, []posture.Code{posture.AccountDisabled}}
	phones := finding{posture.Fine, posture.Fine, []posture.Mark{posture.PhoneOnly}, []posture.Code{posture.ByPolicy}}
	may := finding{posture.Prompted, posture.Fine, nil, []posture.Code{posture.FederatedSignIn, posture.ByPolicy, posture.CanRegister}}
	own := finding{posture.Prompted, posture.Prompted, nil, []posture.Code{posture.FederatedSignIn, posture.NoMethod, posture.ByPolicy}}
	want := map[string]finding{
		// a break-glass account without a phishing-resistant method, beside two that have a key
		"emergency3": {posture.Fine, posture.Fine, []posture.Mark{posture.WeakBreakGlass}, []posture.Code{posture.EmergencyAccount, posture.ByEnforcement, posture.Excluded}},
		// a program that sends a password; at best it only ever reads
		"svc-backup": {posture.Blocked, posture.OutOfScope, []posture.Mark{posture.ServiceAccount}, []posture.Code{posture.NobodyThere, posture.WritesOnly, posture.ByEnforcement, posture.NoMethod}},
		// demands a passkey that could be registered, if Microsoft lets it be while the sign-in waits
		"ama.boateng": {posture.Blocked, posture.Prompted, nil, []posture.Code{posture.StrengthNotMet, posture.ByPolicy, posture.HasMethods}},
		// eligible for a role, without any method
		"tariq.osman": {posture.Prompted, posture.Prompted, nil, []posture.Code{posture.CanActivateRole, posture.UsesEnforcedApp, posture.NoMethod}},
		// at the portal and cannot do MFA
		"sara.lindgren": {posture.Prompted, posture.Prompted, nil, []posture.Code{posture.UsesEnforcedApp, posture.ByEnforcement, posture.NoMethod}},
		// what is registered is forbidden
		"pavel.dvorak": {posture.Prompted, posture.Prompted, nil, []posture.Code{posture.MethodsForbidden, posture.NoMethod, posture.ByPolicy}},
		// a guest whom no policy of the tenant covers, at the portal; and one whom a policy covers
		"rosa.blom_auditors.example#EXT#":    {posture.Prompted, posture.Prompted, nil, []posture.Code{posture.Excluded, posture.ByEnforcement, posture.HomeNotTrusted}},
		"fabrice.morel_partner.example#EXT#": {posture.Prompted, posture.Prompted, nil, []posture.Code{posture.ByPolicy, posture.HomeNotTrusted}},
		"maya.levy_mail.example#EXT#":        {posture.Prompted, posture.Prompted, nil, []posture.Code{posture.ByPolicy, posture.HomeNotTrusted}},
		// whose identity provider may have asked, also where nobody set whether that counts;
		// those of labs, where it always does, are fine
		"works0": may, "works1": may, "garage0": may, "garage1": may,
		// whose identity provider does not count
		"depot0": own, "depot1": own,
		// excluded by a group in a group, and covered by a report-only policy alone
		"sofia.petrova": {posture.OutOfScope, posture.OutOfScope, nil, []posture.Code{posture.Excluded, posture.NoMethod}},
		"milan.horvat":  {posture.OutOfScope, posture.OutOfScope, []posture.Mark{posture.ReportOnlyCover}, []posture.Code{posture.ReportOnly, posture.Excluded}},
		// text messages, calls, and both
		"lucia.moretti": phones, "bernard.claes": phones, "oliver.grant": phones,
		// joiners and others who have registered nothing yet
		"lena.hofmann": blank, "noah.fischer": blank, "ines.carvalho": blank, "piet.vandam": blank, "yusuf.demir": blank, "anna.keller2": blank, "chloe.barnes": blank,
		"reception": gone, "ruth.okafor": gone,
	}
	got, reasons := map[string]finding{}, map[string]string{}
	for _, p := range r.People {
		name, _, _ := strings.Cut(p.UserPrincipalName, "@")
		reasons[name] = fmt.Sprint(p.Reasons)
		if f := (finding{p.Verdict, p.AtBest, p.Marks, nil}); !cmp.Equal(f, finding{posture.Fine, posture.Fine, nil, nil}) {
			f.Why = slices.DeleteFunc(slices.Clone(want[name].Why), func(c posture.Code) bool { return !p.Has(c) })
			got[name] = f
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
		for _, name := range slices.Sorted(maps.Keys(reasons)) {
			if !cmp.Equal(want[name], got[name]) {
				t.Log(name, reasons[name])
			}
		}
	}
	// Per-user MFA is seen where a policy asks as well; workload identities are exempt.
	for _, p := range r.People {
		if strings.HasPrefix(p.UserPrincipalName, "greta.lund@") && !p.Has(posture.ByPerUserMFA) {
			t.Errorf("%+v", p.Reasons)
		}
	}
	exempt := 0
	for _, n := range r.Notes {
		if n.Code == posture.ExemptApplications || n.Code == posture.ExemptIdentities {
			exempt += n.Count
		}
	}
	if exempt != len(s.Principals) || exempt == 0 {
		t.Errorf("%d of %d workload identities are exempt", exempt, len(s.Principals))
	}
}

// Whether what guests do at home counts depends on a setting for all, and on one for their
// own tenant, which nobody tells.
func TestReadinessOfGuests(t *testing.T) {
	yes, no := true, false
	elsewhereOnly := []graphsim.Partner{{TenantID: "70000000-0000-4000-8000-000000000003", TrustMFA: &yes}}
	type both struct{ Verdict, AtBest posture.Verdict }
	fine, here, open := both{posture.Fine, posture.Fine}, both{posture.Prompted, posture.Prompted}, both{posture.Prompted, posture.Fine}
	for name, c := range map[string]struct {
		trust    bool
		partners []graphsim.Partner
		denied   string
		guest    both
		google   both
	}{
		"trusted":                           {trust: true, guest: fine, google: here},
		"not trusted":                       {guest: here, google: here},
		"a partner inherits":                {trust: true, partners: []graphsim.Partner{{TenantID: "70000000-0000-4000-8000-000000000001"}}, guest: fine, google: here},
		"a partner has the same":            {trust: true, partners: elsewhereOnly, guest: fine, google: here},
		"a partner is trusted":              {partners: elsewhereOnly, guest: open, google: here},
		"the guest's is not":                {trust: true, partners: []graphsim.Partner{{TenantID: "70000000-0000-4000-8000-000000000001", TrustMFA: &no}}, guest: open, google: here},
		"the setting may not be read":       {trust: true, denied: "/policies/crossTenantAccessPolicy/default", guest: open, google: here},
		"those of partners may not be read": {trust: true, denied: "/policies/crossTenantAccessPolicy/partners", guest: open, google: here},
	} {
		t.Run(name, func(t *testing.T) {
			r := elsewhereReading(t, func(tenant *graphsim.Tenant) {
				tenant.Policies.TrustGuestMFA, tenant.Policies.Partners = c.trust, c.partners
			})
			if c.denied != "" {
				if _, err := r.tenant.AddFault(graphsim.Fault{Path: c.denied, Kind: graphsim.FaultStatus, Status: 403, Code: "Authorization_RequestDenied", Count: -1}); err != nil {
					t.Fatal(err)
				}
			}
			s := r.snapshot(t)
			report, err := readiness.NewReport(s, now2026, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range report.People {
				want := c.guest
				switch {
				case strings.HasPrefix(p.UserPrincipalName, "maya.levy"):
					want = c.google
				case !strings.HasPrefix(p.UserPrincipalName, "fabrice.morel"):
					continue
				}
				if got := (both{p.Verdict, p.AtBest}); got != want {
					t.Errorf("%s: %v, want %v: %+v", p.UserPrincipalName, got, want, p.Reasons)
				}
			}
			told := slices.ContainsFunc(report.Notes, func(n posture.Note) bool {
				return n.Code == posture.GapNote && n.About == string(posture.FactGuestTrust) && strings.Contains(n.Detail, "Policy.Read.All")
			})
			if told != (c.denied != "") {
				t.Errorf("%+v", report.Notes)
			}
		})
	}
}

// A federation that may not be read leaves open what its people answer with, and the report
// says which permission is missing.
func TestReadinessOfAFederationThatMayNotBeRead(t *testing.T) {
	r := elsewhereReading(t, func(tenant *graphsim.Tenant) {
		for _, a := range tenant.Apps {
			a.Permissions = slices.DeleteFunc(a.Permissions, func(p string) bool { return p == "Domain.Read.All" })
		}
	})
	s := r.snapshot(t)
	report, err := readiness.NewReport(s, now2026, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.People {
		if strings.HasPrefix(p.UserPrincipalName, "labs") && (p.Verdict != posture.Prompted || p.AtBest != posture.Fine || !p.Has(posture.FactMissing)) {
			t.Errorf("%+v", p)
		}
	}
	if !slices.ContainsFunc(report.Notes, func(n posture.Note) bool {
		return n.Code == posture.GapNote && strings.Contains(n.Detail, "Domain.Read.All")
	}) {
		t.Errorf("%+v", report.Notes)
	}
}

// The simulator judges sign-ins by itself, from Microsoft's pages and without our code.
// What it says of everybody lies between our best and our worst.
func TestReadinessAgreesWithTheTenant(t *testing.T) {
	enforceAll := func(t *graphsim.Tenant) {
		for _, p := range t.Policies.ConditionalAccess {
			p["state"] = "enabled"
		}
	}
	defaults := func(t *graphsim.Tenant) {
		t.Policies.ConditionalAccess, t.Policies.SecurityDefaults.IsEnabled = nil, true
	}
	bare := func(t *graphsim.Tenant) { t.Policies.ConditionalAccess = nil }
	trusting := func(t *graphsim.Tenant) {
		enforceAll(t)
		t.Policies.TrustGuestMFA = true
	}
	for change, apply := range map[string]func(*graphsim.Tenant){"as it is": func(*graphsim.Tenant) {}, "all policies enforced": enforceAll, "security defaults": defaults, "no policies": bare, "guests are trusted": trusting,
		"security defaults, guests are trusted": func(t *graphsim.Tenant) {
			defaults(t)
			t.Policies.TrustGuestMFA = true
		}} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s, seed %d", change, seed), func(t *testing.T) {
				tenant, err := graphsim.SampleTenant()
				if err != nil {
					t.Fatal(err)
				}
				if seed > 0 {
					tenant = graphsim.Generate(graphsim.GenerateOptions{Users: 400, Seed: seed, Now: t0})
				}
				apply(elsewhere(tenant))
				reading := newReading(t, tenant)
				s := reading.snapshot(t)
				e, err := posture.Evaluate(s, now2026)
				if err != nil {
					t.Fatal(err)
				}
				verdicts := map[posture.Verdict]int{}
				for i, p := range s.People {
					oracle, how := reading.judge(t, p, s.BreakGlass)
					verdicts[oracle]++
					if r := e.Results[i]; oracle.Worse(r.Verdict) || r.AtBest.Worse(oracle) {
						t.Errorf("%s: %s, at best %s; the tenant says %s: %s\n  %+v", p.UserPrincipalName, r.Verdict, r.AtBest, oracle, how, r.Reasons)
					}
				}
				t.Logf("%v", verdicts)
			})
		}
	}
}

const exchange = "00000002-0000-0ff1-ce00-000000000000" // Exchange Online

// judge is the worst that the tenant does to a person, in the ways that they sign in.
func (r *reading) judge(t *testing.T, p posture.Person, breakGlass []identity.UserID) (worst posture.Verdict, how string) {
	t.Helper()
	attempts := []graphsim.Attempt{{App: exchange, Flow: graphsim.Interactive}}
	for _, in := range p.SignIns {
		a := graphsim.Attempt{App: in.AppID, Flow: graphsim.Interactive, Changes: true}
		if in.AppID != posture.Portal {
			a.Client = graphsim.ClientApp
		}
		if !in.Interactive && p.LastInteractive.IsZero() || in.Protocol == posture.ROPC {
			a.Flow, a.Client = graphsim.PasswordGrant, ""
		}
		attempts = append(attempts, a)
	}
	if len(p.Roles) > 0 || slices.Contains(breakGlass, p.ID) {
		attempts = append(attempts, graphsim.Attempt{App: posture.Portal, Flow: graphsim.Interactive, Changes: true})
	}
	worst = posture.OutOfScope
	for _, a := range attempts {
		a.User, a.At = string(p.ID), t0
		out, err := r.tenant.EvaluateSignIn(a)
		if err != nil {
			t.Fatal(err)
		}
		v := map[graphsim.Verdict]posture.Verdict{
			graphsim.VerdictIn: posture.OutOfScope, graphsim.VerdictAfterMFA: posture.Fine, graphsim.VerdictMustRegister: posture.Prompted, graphsim.VerdictBlocked: posture.Blocked,
		}[out.Verdict]
		if out.Reason == graphsim.ReasonDisabled {
			v = posture.OutOfScope
		}
		if v.Worse(worst) {
			worst, how = v, fmt.Sprintf("%+v -> %+v", a, out)
		}
	}
	return worst, how
}

// What-if says what the tenant says once the change is made.
func TestWhatIfComesTrue(t *testing.T) {
	before := sampleReading(t).snapshot(t)
	for text, apply := range map[string]func(*graphsim.Tenant){
		"enforce=Phishing-resistant MFA for administrators": func(t *graphsim.Tenant) { t.Policies.ConditionalAccess[1]["state"] = "enabled" },
		"disable=Require MFA for everybody":                 func(t *graphsim.Tenant) { t.Policies.ConditionalAccess[0]["state"] = "disabled" },
		"method:sms=off": func(t *graphsim.Tenant) {
			for _, m := range t.Policies.MethodConfigurations {
				if m["id"] == "Sms" {
					m["state"] = "disabled"
				}
			}
		},
	} {
		change, err := posture.ParseChange(text)
		if err != nil {
			t.Fatal(err)
		}
		foreseen, err := before.With(change)
		if err != nil {
			t.Fatal(err)
		}
		tenant, err := graphsim.SampleTenant()
		if err != nil {
			t.Fatal(err)
		}
		apply(tenant)
		came := newReading(t, tenant).snapshot(t)
		a, err := posture.Evaluate(foreseen, now2026)
		if err != nil {
			t.Fatal(err)
		}
		b, err := posture.Evaluate(came, now2026)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(a.Results, b.Results); d != "" {
			t.Errorf("%s (-foreseen +came)\n%s", text, d)
		}
	}
}

// A run that is killed at any request goes on, over HTTP as in memory.
func TestReadinessGoesOnOverHTTP(t *testing.T) {
	whole := sampleReading(t).snapshot(t)
	r := sampleReading(t)
	for runs := 1; ; runs++ {
		ctx, kill := context.WithCancel(t.Context())
		r.gatherer.Progress = func(p readiness.Progress) {
			if p.Calls >= 4 {
				kill()
			}
		}
		s, err := r.gatherer.Snapshot(ctx)
		kill()
		if err == nil {
			if d := cmp.Diff(whole, s, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("after %d runs (-whole +killed)\n%s", runs, d)
			}
			if runs < 5 {
				t.Errorf("only %d runs", runs)
			}
			return
		}
		if !errors.Is(err, context.Canceled) || runs > 50 {
			t.Fatal(err)
		}
	}
}

// What the tenant has no licence or the app no permission for is told, and nothing is
// taken for a no.
func TestReadinessOfAFreeTenant(t *testing.T) {
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	tenant.Behaviour.Licence = graphsim.LicenceFree
	s := newReading(t, tenant).snapshot(t)
	for _, f := range []posture.Fact{posture.FactRegistrations, posture.FactSignIns} {
		if !s.Missing(f) {
			t.Errorf("%s is not missing: %+v", f, s.Gaps)
		}
	}
	e, err := posture.Evaluate(s, now2026)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range e.Results {
		if s.People[i].Enabled && r.Verdict != posture.Prompted && r.Verdict != posture.Blocked {
			t.Errorf("%s is %s although nothing is known", s.People[i].UserPrincipalName, r.Verdict)
		}
	}
}

// Reads are in bulk: as many requests for 2,000 people as pages, and none for a person.
func TestReadinessAsksForManyAtOnce(t *testing.T) {
	tenant := graphsim.Generate(graphsim.GenerateOptions{Users: 2000, Seed: 7, Now: t0})
	r := newReading(t, tenant)
	s := r.snapshot(t)
	if len(s.People) != len(tenant.Users) || len(s.Gaps) > 0 {
		t.Fatalf("%d of %d people, %+v", len(s.People), len(tenant.Users), s.Gaps)
	}
	n := 0
	for _, call := range r.tenant.Requests() {
		if call.Method != http.MethodGet && !strings.Contains(call.Path, "token") {
			t.Errorf("%s %s", call.Method, call.Path)
		}
		if strings.HasPrefix(call.Path, "/v1.0/users/") || strings.HasPrefix(call.Path, "/beta/users/") {
			if !strings.HasSuffix(call.Path, "/$count") {
				t.Errorf("a request for one person: %s", call.Path)
			}
		}
		n++
	}
	if n > 200 {
		t.Errorf("%d requests", n)
	}
}
