package graph_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/sweep"
)

// all reads every page of a list.
func all[T any](t *testing.T, read func(link string) (sweep.Page[T], error)) (items []T, pages int) {
	t.Helper()
	for link := ""; ; pages++ {
		p, err := read(link)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, p.Items...)
		if p.Delta != "" {
			t.Error("a delta link in a list that has none")
		}
		if link = p.Next; link == "" {
			return items, pages + 1
		}
	}
}

func TestFailedSignIns(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	since, until := someTime, someTime.Add(time.Hour)
	log := func(at time.Time, in sim.SignIn) string {
		t.Helper()
		in.Time = &at
		id, err := s.AddSignIn(in)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	log(since.Add(-time.Second), sim.SignIn{User: string(mia), Code: 50053})
	first := log(since, sim.SignIn{User: string(mia), Code: 50053, Reason: "locked", Details: "more", App: "Portal"})
	log(since.Add(time.Minute), sim.SignIn{User: string(mia), Code: 50126})
	nobody := log(until.Add(-time.Millisecond), sim.SignIn{User: "nobody@contoso.example", Code: 50053, Reason: "locked"})
	log(until, sim.SignIn{User: string(mia), Code: 50053})

	got, _ := all(t, func(link string) (sweep.Page[sweep.SignIn], error) {
		return c.FailedSignIns(t.Context(), 50053, since, until, link)
	})
	want := []sweep.SignIn{
		{ID: nobody, At: until.Add(-time.Millisecond), Code: 50053, Reason: "locked"},
		{ID: first, UserID: mia, At: since, Code: 50053, Reason: "locked", Details: "more", App: "Portal"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	for i := range 1500 {
		log(since.Add(time.Duration(i)*time.Second/2), sim.SignIn{User: string(sean), Code: 53003})
	}
	many, pages := all(t, func(link string) (sweep.Page[sweep.SignIn], error) {
		return c.FailedSignIns(t.Context(), 53003, since, until, link)
	})
	if len(many) != 1500 || pages != 2 {
		t.Errorf("%d sign-ins on %d pages", len(many), pages)
	}
}

func TestRiskyUsersAndDetections(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	early := time.Now().Add(-time.Hour)
	id, err := s.AddDetection(sim.Detection{User: string(mia), Kind: "leakedCredentials", Activity: "user", Level: "high", State: "atRisk", SignInID: "r-1", Detail: "microsoftRevokedSessions"})
	if err != nil {
		t.Fatal(err)
	}
	before := early.Add(-time.Hour)
	if _, err := s.AddDetection(sim.Detection{User: string(sean), Kind: "newCountry", Level: "low", State: "dismissed", DetectedAt: &before}); err != nil {
		t.Fatal(err)
	}
	detected, _ := all(t, func(link string) (sweep.Page[sweep.Detection], error) { return c.Detections(t.Context(), early, link) })
	if len(detected) != 1 {
		t.Fatalf("detections %+v", detected)
	}
	want := sweep.Detection{ID: id, UserID: mia, Kind: "leakedCredentials", Activity: "user", Level: identity.RiskHigh, State: identity.RiskStateAtRisk,
		Detail: "microsoftRevokedSessions", SignInID: "r-1", DetectedAt: detected[0].DetectedAt, UpdatedAt: detected[0].DetectedAt}
	if diff := cmp.Diff(want, detected[0]); diff != "" || time.Since(want.DetectedAt) > time.Minute {
		t.Error(diff)
	}

	if err := s.SetRisk(string(boss), "medium", "confirmedCompromised"); err != nil {
		t.Fatal(err)
	}
	s.Mutate(func(t *sim.Tenant) { t.User(string(boss)).Risk.Processing = true })
	if err := s.Delete(string(mia)); err != nil {
		t.Fatal(err)
	}
	risky, _ := all(t, func(link string) (sweep.Page[sweep.RiskyUser], error) { return c.RiskyUsers(t.Context(), early, link) })
	for i := range risky {
		if time.Since(risky[i].UpdatedAt) > time.Minute {
			t.Errorf("updated at %s", risky[i].UpdatedAt)
		}
		risky[i].UpdatedAt = time.Time{}
	}
	if diff := cmp.Diff([]sweep.RiskyUser{
		{ID: mia, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, Detail: "none", Deleted: true},
		{ID: boss, Level: identity.RiskMedium, State: identity.RiskStateConfirmedCompromised, Detail: "none", Processing: true},
	}, risky); diff != "" {
		t.Error(diff)
	}
	later, _ := all(t, func(link string) (sweep.Page[sweep.RiskyUser], error) {
		return c.RiskyUsers(t.Context(), time.Now().Add(time.Hour), link)
	})
	if len(later) != 0 {
		t.Errorf("risks of the future: %v", later)
	}
}

// A level or state of tomorrow must not read as harmless, nor stop the whole list.
func TestUnknownRiskIsCautious(t *testing.T) {
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Prefer") != "include-unknown-enum-members" {
			t.Errorf("Prefer %q", r.Header.Get("Prefer"))
		}
		return says(200, `{"value":[{"id":"aaaaaaaa-0000-4000-8000-000000000001","userId":"aaaaaaaa-0000-4000-8000-000000000001","riskLevel":"catastrophic",
			"riskState":"unknownFutureValue","riskLastUpdatedDateTime":"2026-11-23T08:00:00.1234567Z","detectedDateTime":"2026-11-23T08:00:00Z"}]}`), nil
	})
	p, err := c.RiskyUsers(t.Context(), someTime, "")
	if err != nil || len(p.Items) != 1 || p.Items[0].Level != identity.RiskHidden || p.Items[0].State != identity.RiskStateAtRisk {
		t.Errorf("%+v, %v", p, err)
	}
	if r := (identity.Risk{Level: p.Items[0].Level, State: p.Items[0].State}); !r.Active() {
		t.Error("an unknown risk is not active")
	}
	d, err := c.Detections(t.Context(), someTime, "")
	if err != nil || len(d.Items) != 1 || d.Items[0].Level != identity.RiskHidden || d.Items[0].State != identity.RiskStateAtRisk {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestLicenceIsForbidden(t *testing.T) {
	s, _ := world(t, func(o *sim.Options) { o.Tenant.Behaviour.Licence = sim.LicenceFree })
	c := worker(t, s)
	_, err := c.FailedSignIns(t.Context(), 50053, someTime, someTime.Add(time.Hour), "")
	checkClass(t, err, outcome{is: identity.ErrForbidden}, false)
	for _, read := range []func() error{
		func() error { _, err := c.RiskyUsers(t.Context(), someTime, ""); return err },
		func() error { _, err := c.Detections(t.Context(), someTime, ""); return err },
	} {
		if err := read(); !errors.Is(err, identity.ErrForbidden) || !strings.Contains(err.Error(), "licence") {
			t.Error(err)
		}
	}
}

func TestEmployments(t *testing.T) {
	from, to := someTime, someTime.Add(24*time.Hour)
	at := func(d time.Duration) *time.Time { t := from.Add(d); return &t }
	s, _ := world(t, func(o *sim.Options) {
		for id, date := range map[identity.UserID]*time.Time{mia: at(0), sean: at(24*time.Hour - time.Second), boss: at(24 * time.Hour), admin: at(-time.Second), inner: at(time.Hour)} {
			u := o.Tenant.User(string(id))
			u.EmployeeHireDate, u.EmployeeLeaveDateTime = date, date
		}
	})
	c := worker(t, s)
	hires, _ := all(t, func(link string) (sweep.Page[sweep.Employment], error) { return c.Hires(t.Context(), from, to, link) })
	leavers, _ := all(t, func(link string) (sweep.Page[sweep.Employment], error) { return c.Leavers(t.Context(), from, to, link) })
	created := time.Date(2025, 1, 2, 8, 0, 0, 0, time.UTC)
	wantMia := sweep.Employment{ID: mia, EmployeeID: "E-1001", HireDate: from, Enabled: true, CreatedAt: created}
	wantSean := sweep.Employment{ID: sean, EmployeeID: "E-1004", HireDate: *at(24*time.Hour - time.Second), Enabled: true, CreatedAt: created.AddDate(0, 0, 3)}
	if diff := cmp.Diff([]sweep.Employment{wantMia, wantSean}, hires); diff != "" {
		t.Error("hires:", diff)
	}
	wantMia.LeaveAt, wantSean.LeaveAt = wantMia.HireDate, wantSean.HireDate
	if diff := cmp.Diff([]sweep.Employment{wantMia, wantSean}, leavers); diff != "" {
		t.Error("leavers:", diff)
	}
	one, err := c.Employment(t.Context(), mia)
	if err != nil || !cmp.Equal(one, wantMia) {
		t.Errorf("%+v, %v", one, err)
	}
	_, err = c.Employment(t.Context(), nobody)
	checkClass(t, err, outcome{is: identity.ErrNotFound}, false)
	_, err = c.Employment(t.Context(), "mia.lind@contoso.example")
	checkClass(t, err, outcome{is: identity.ErrRefused}, false)
	// Who may not see the day of leaving is told so, never "none".
	_, err = as(t, s, "no-audit-log", s.URL()).Employment(t.Context(), mia)
	checkClass(t, err, outcome{is: identity.ErrForbidden}, false)
	if _, err := as(t, s, "no-audit-log", s.URL()).Hires(t.Context(), from, to, ""); err != nil {
		t.Error("hires need no more than to read users:", err)
	}
}

func TestDeletedUsers(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	begin := time.Now().Add(-time.Second)
	for _, id := range []identity.UserID{mia, sean} {
		if err := s.Delete(string(id)); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := all(t, func(link string) (sweep.Page[sweep.Deleted], error) { return c.DeletedUsers(t.Context(), begin, link) })
	if len(got) != 2 || got[0].ID != mia || got[0].At.Before(begin) {
		t.Errorf("deleted %+v", got)
	}
	if got, _ := all(t, func(link string) (sweep.Page[sweep.Deleted], error) {
		return c.DeletedUsers(t.Context(), time.Now().Add(time.Hour), link)
	}); len(got) != 0 {
		t.Errorf("deleted in future %+v", got)
	}
}

// The requests are those that are documented to work.
func TestPollRequests(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 30, 0, 123456789, time.FixedZone("", 3600))
	for name, tc := range map[string]struct {
		run    func(*graph.Client) error
		url    string
		header string
	}{
		"changes": {func(c *graph.Client) error { _, err := c.Changes(t.Context(), ""); return err },
			"/v1.0/users/delta?%24select=accountEnabled%2CemployeeId", ""},
		"from now": {func(c *graph.Client) error { _, err := c.ChangesFromNow(t.Context()); return err },
			"/v1.0/users/delta?%24deltatoken=latest&%24select=accountEnabled%2CemployeeId", ""},
		"deleted": {func(c *graph.Client) error { _, err := c.DeletedUsers(t.Context(), at, ""); return err },
			"/v1.0/directory/deletedItems/microsoft.graph.user?%24count=true&%24filter=deletedDateTime%20ge%202026-11-23T08%3A30%3A00.123456Z&%24select=id%2CdeletedDateTime&%24top=999", "ConsistencyLevel"},
		"risky": {func(c *graph.Client) error { _, err := c.RiskyUsers(t.Context(), at, ""); return err },
			"/v1.0/identityProtection/riskyUsers?%24filter=riskLastUpdatedDateTime%20ge%202026-11-23T08%3A30%3A00.123456Z&%24top=500", "Prefer"},
		"detections": {func(c *graph.Client) error { _, err := c.Detections(t.Context(), at, ""); return err },
			"/v1.0/identityProtection/riskDetections?%24filter=detectedDateTime%20ge%202026-11-23T08%3A30%3A00.123456Z&%24top=500", "Prefer"},
		"sign-ins": {func(c *graph.Client) error {
			_, err := c.FailedSignIns(t.Context(), 50053, at.Truncate(time.Second), at.Truncate(time.Second).Add(time.Hour), "")
			return err
		}, "/v1.0/auditLogs/signIns?%24filter=createdDateTime%20ge%202026-11-23T08%3A30%3A00Z%20and%20createdDateTime%20le%202026-11-23T09%3A30%3A00Z%20and%20status%2FerrorCode%20eq%2050053", ""},
	} {
		c := wired(t, func(r *http.Request) (*http.Response, error) {
			got := strings.ReplaceAll(r.URL.RequestURI(), "$", "%24") // kiota decodes the names of parameters
			if got != tc.url || tc.header != "" && r.Header.Get(tc.header) == "" || r.Method != http.MethodGet {
				t.Errorf("%s: %s %s %v\nwant %s", name, r.Method, got, r.Header, tc.url)
			}
			return says(200, `{"value":[],"@odata.deltaLink":"http://127.0.0.1:9/v1.0/users/delta?x"}`), nil
		})
		if err := tc.run(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkDelta reads everybody in a tenant of 100,000, page by page. What is live on
// the way is that of client and simulator together, above what the tenant itself takes.
func BenchmarkDelta(b *testing.B) {
	const size = 100_000
	people := &sim.Tenant{ID: "99999999-0000-4000-8000-00000000000a", Domains: []string{"contoso.example"},
		Apps: []*sim.App{{Name: "sweep", ClientID: "99999999-8888-7777-6666-00000000000a", Permissions: []string{"User.Read.All"}}}}
	for i := range size {
		people.Users = append(people.Users, &sim.User{ID: fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", i), UserPrincipalName: fmt.Sprintf("p%d@contoso.example", i),
			EmployeeID: fmt.Sprintf("E%d", i), AccountEnabled: true, UserType: "Member"})
	}
	s, err := sim.Start(b.Context(), sim.Options{Tenant: people})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	id, secret := s.App("sweep")
	credential, transport := credentialOf(b, s, id, secret)
	c, err := graph.New(graph.Options{Credential: credential, BaseURL: s.URL(), Transport: transport})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	base, peak := memory.HeapAlloc, int64(0)
	for b.Loop() {
		users, calls, link, largest := 0, 0, "", 0
		for {
			p, err := c.Changes(b.Context(), link)
			if err != nil {
				b.Fatal(err)
			}
			if calls++; calls%50 == 0 {
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&memory)
				peak = max(peak, int64(memory.HeapAlloc)-int64(base))
				b.StartTimer()
			}
			users += len(p.Items)
			largest = max(largest, len(p.Items))
			if link = p.Next; link == "" {
				break
			}
		}
		if users != size {
			b.Fatalf("%d users", users)
		}
		b.ReportMetric(float64(calls), "calls/op")
		b.ReportMetric(float64(largest), "users/page")
		b.ReportMetric(float64(peak)/(1<<20), "MiB-live")
	}
}

func TestRegistrations(t *testing.T) {
	s, err := sim.Start(t.Context(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	const mei, blank = "10000000-0000-4000-8000-000000000011", "10000000-0000-4000-8000-000000000004"
	got, err := as(t, s, "event-replay", s.URL()).Registrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[identity.MethodKind]bool{}
	for _, m := range got[mei] {
		kinds[m.Kind] = true
	}
	for _, m := range s.Methods(mei) {
		if !kinds[identity.MethodKind(m.Kind)] {
			t.Errorf("%s is missing: %v", m.Kind, got[mei])
		}
	}
	if methods, listed := got[blank]; !listed || len(methods) != 0 || len(got) < 20 {
		t.Errorf("%d people, the blank one has %v", len(got), methods)
	}
	if _, err := as(t, s, "identity-router", s.URL()).Registrations(t.Context()); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("without permission: %v", err)
	}
}
