package readiness_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sweep"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// memory is a store.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memory) Put(_ context.Context, name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	m.files[name] = bytes.Clone(data)
	return nil
}

func (m *memory) Get(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, readiness.ErrNoFile
	}
	return data, nil
}

func (m *memory) List(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.files)), func(n string) bool { return !strings.HasPrefix(n, prefix) }), nil
}

const (
	role    = "62e90394-69f5-4237-9190-012177145e10"
	group   = "20000000-0000-4000-8000-000000000001"
	robot   = "20000000-0000-4000-8000-000000000002" // a service principal with a role
	policy  = "60000000-0000-4000-8000-000000000001"
	cli     = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	perPage = 3
)

// town is a tenant in memory. Every list has pages of three.
type town struct {
	people []posture.Person
	// before is called before every answer, with what is asked for.
	before func(what, link string) error
	calls  []string
}

func who(i int) identity.UserID {
	return identity.UserID(fmt.Sprintf("10000000-0000-4000-8000-%012d", i))
}

func newTown(n int) *town {
	t := &town{}
	for i := range n {
		t.people = append(t.people, posture.Person{
			ID: who(i), UserPrincipalName: fmt.Sprintf("p%d@contoso.example", i), DisplayName: fmt.Sprintf("Person %d", i), Department: []string{"Sales", "IT"}[i%2],
			Kind: posture.Member, Enabled: true, PerUserMFA: posture.PerUserUnknown,
		})
	}
	return t
}

func (t *town) ask(what, link string) error {
	t.calls = append(t.calls, what)
	if t.before != nil {
		return t.before(what, link)
	}
	return nil
}

func paged[T any](t *town, what, link string, items []T) (sweep.Page[T], error) {
	if err := t.ask(what, link); err != nil {
		return sweep.Page[T]{}, err
	}
	from := 0
	if link != "" {
		fmt.Sscan(link, &from)
	}
	to := min(from+perPage, len(items))
	p := sweep.Page[T]{Items: slices.Clone(items[from:to])}
	if to < len(items) {
		p.Next = fmt.Sprint(to)
	}
	return p, nil
}

func (t *town) Organization(context.Context) (posture.Tenant, error) {
	return posture.Tenant{ID: "t", DisplayName: "Contoso"}, t.ask("organization", "")
}
func (t *town) CountUsers(context.Context) (int, error) { return len(t.people), t.ask("count", "") }
func (t *town) People(_ context.Context, link string) (sweep.Page[posture.Person], error) {
	return paged(t, "people", link, t.people)
}
func (t *town) PerUserMFA(_ context.Context, link string) (sweep.Page[readiness.PerUserState], error) {
	var list []readiness.PerUserState
	for _, p := range t.people {
		list = append(list, readiness.PerUserState{User: p.ID, State: posture.PerUserDisabled})
	}
	return paged(t, "per-user", link, list)
}
func (t *town) RoleAssignments(_ context.Context, link string) (sweep.Page[readiness.RoleAssignment], error) {
	return paged(t, "roles", link, []readiness.RoleAssignment{{Principal: string(who(0)), Definition: role}, {Principal: group, Definition: role}, {Principal: robot, Definition: role}})
}
func (t *town) RoleEligibilities(_ context.Context, link string) (sweep.Page[readiness.RoleAssignment], error) {
	return paged(t, "eligible", link, []readiness.RoleAssignment{{Principal: string(who(2)), Definition: role}})
}
func (t *town) RoleDefinitions(_ context.Context, link string) (sweep.Page[readiness.Named], error) {
	return paged(t, "definitions", link, []readiness.Named{{ID: role, Name: "Global Administrator"}})
}
func (t *town) GroupName(_ context.Context, id string) (string, error) {
	if id != group {
		return "", errors.Join(identity.ErrNotFound, t.ask("group name", ""))
	}
	return "Admins", t.ask("group name", "")
}
func (t *town) GroupMembers(_ context.Context, _, link string) (sweep.Page[identity.UserID], error) {
	return paged(t, "members", link, []identity.UserID{who(1), who(3), who(4), who(5)})
}
func (t *town) Principals(_ context.Context, link string) (sweep.Page[posture.Principal], error) {
	return paged(t, "principals", link, []posture.Principal{{ID: robot, Kind: posture.Application}, {ID: "m", Kind: posture.ManagedIdentity}})
}
func (t *town) RegistrationDetails(_ context.Context, link string) (sweep.Page[readiness.Registered], error) {
	var list []readiness.Registered
	for _, p := range t.people {
		list = append(list, readiness.Registered{User: p.ID, Registration: posture.Registration{Known: true, Methods: []posture.Method{posture.AuthenticatorPush}}})
	}
	return paged(t, "registrations", link, list)
}
func (t *town) EnforcedSignIns(_ context.Context, q readiness.SignInQuery, link string) (sweep.Page[readiness.SignIn], error) {
	var list []readiness.SignIn
	switch {
	case q.AppID == cli && !q.Interactive:
		for i := range 8 { // person 6 by a program, person 7 with a client that was there
			list = append(list, readiness.SignIn{User: who(6 + i%2), At: q.Until.Add(-time.Duration(i) * time.Hour), Protocol: posture.OtherProtocol, Succeeded: i > 1})
		}
	case q.AppID == posture.Portal && q.Interactive:
		list = append(list, readiness.SignIn{User: who(8), At: q.Until.Add(-time.Hour), Protocol: posture.OtherProtocol, Succeeded: true})
	}
	return paged(t, "sign-ins", link, list)
}
func (t *town) LastSignIns(_ context.Context, link string) (sweep.Page[readiness.LastSignIns], error) {
	var list []readiness.LastSignIns
	for i, p := range t.people {
		l := readiness.LastSignIns{User: p.ID, Background: now}
		if i != 6 {
			l.Interactive = now.AddDate(0, 0, -2)
		}
		list = append(list, l)
	}
	return paged(t, "last", link, list)
}
func (t *town) ConditionalPolicies(_ context.Context, link string) (sweep.Page[posture.ConditionalPolicy], error) {
	return paged(t, "policies", link, []posture.ConditionalPolicy{{
		ID: policy, DisplayName: "Everybody", State: posture.PolicyEnabled, Include: posture.Selection{Users: []string{"All"}}, Exclude: posture.Selection{Groups: []string{group}},
		Apps: posture.Apps{Include: []string{"All"}}, Grant: posture.Grant{Controls: []string{"mfa"}},
	}})
}
func (t *town) Strengths(_ context.Context, link string) (sweep.Page[posture.Strength], error) {
	return paged[posture.Strength](t, "strengths", link, nil)
}
func (t *town) MethodsPolicy(context.Context) (posture.MethodsPolicy, error) {
	on := posture.MethodSetting{ID: "MicrosoftAuthenticator", Enabled: true, Include: []posture.Target{{ID: posture.AllUsers}}}
	return posture.MethodsPolicy{Migrated: posture.Yes, Methods: map[string]posture.MethodSetting{"microsoftauthenticator": on}}, t.ask("methods", "")
}
func (t *town) SecurityDefaults(context.Context) (bool, error) { return false, t.ask("defaults", "") }
func (t *town) GuestTrust(context.Context) (posture.Answer, error) {
	return posture.Yes, t.ask("trust", "")
}
func (t *town) PartnerTrusts(_ context.Context, link string) (sweep.Page[readiness.PartnerTrust], error) {
	return paged(t, "partners", link, []readiness.PartnerTrust{{Tenant: "p1", Counts: posture.No}, {Tenant: "p2", Counts: posture.Yes}})
}
func (t *town) Federation(_ context.Context, domain string) (posture.FederatedMFA, error) {
	return map[string]posture.FederatedMFA{"old.example": posture.EnforceFederatedMFA}[domain], t.ask("federation", "")
}

func gather(t *testing.T, tenant readiness.Tenant, store readiness.Store) posture.Snapshot {
	t.Helper()
	s, err := readiness.Gatherer{Tenant: tenant, Store: store, Now: func() time.Time { return now }, BreakGlass: []identity.UserID{who(0)}}.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain is a town whose log does not tell the protocol.
type plain struct{ *town }

func (p plain) EnforcedSignIns(ctx context.Context, q readiness.SignInQuery, link string) (sweep.Page[readiness.SignIn], error) {
	page, err := p.town.EnforcedSignIns(ctx, q, link)
	for i := range page.Items {
		page.Items[i].Protocol = posture.UnknownProtocol
	}
	return page, err
}

// A log that does not tell the protocol leaves a gap, once, and keeps nobody from reading on.
func TestUntoldProtocolIsAGap(t *testing.T) {
	s := gather(t, plain{newTown(10)}, nil)
	if len(s.Gaps) != 1 || s.Gaps[0].Fact != posture.FactSignIns || !strings.Contains(s.Gaps[0].Why, "protocol") {
		t.Errorf("%+v", s.Gaps)
	}
	if p := s.People[8]; len(p.SignIns) != 1 || p.LastInteractive.IsZero() {
		t.Errorf("%+v", p)
	}
}

func TestSnapshotHasEverything(t *testing.T) {
	s := gather(t, newTown(10), nil)
	if len(s.People) != 10 || len(s.Gaps) != 0 || !s.TakenAt.Equal(now) || !s.SignInsSince.Equal(now.Add(-readiness.DefaultWindow)) {
		t.Fatalf("%d people, gaps %v, taken at %s since %s", len(s.People), s.Gaps, s.TakenAt, s.SignInsSince)
	}
	for i, want := range map[int][]posture.Role{
		0: {{Definition: role, Active: true}}, 1: {{Definition: role, Active: true, Via: group}}, 2: {{Definition: role}}, 7: nil,
	} {
		if d := cmp.Diff(want, s.People[i].Roles); d != "" {
			t.Errorf("person %d: %s", i, d)
		}
	}
	if p := s.People[6]; len(p.SignIns) != 1 || p.SignIns[0].Count != 4 || p.SignIns[0].Succeeded != 3 || !p.LastInteractive.IsZero() || p.LastBackground.IsZero() {
		t.Errorf("%+v", p)
	}
	if p := s.People[7]; p.LastInteractive.IsZero() || p.PerUserMFA != posture.PerUserDisabled || !p.Registration.Known {
		t.Errorf("%+v", p)
	}
	if d := cmp.Diff(map[string]posture.Group{group: {DisplayName: "Admins", Members: []identity.UserID{who(1), who(3), who(4), who(5)}}}, s.Groups); d != "" {
		t.Error(d)
	}
	r, err := readiness.NewReport(s, posture.Question{At: now, Phase: posture.Phase2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var marked []string
	for _, p := range r.Marked(posture.ServiceAccount) {
		marked = append(marked, p.UserPrincipalName)
	}
	if d := cmp.Diff([]string{"p6@contoso.example"}, marked); d != "" {
		t.Errorf("service accounts: %s", d)
	}
}

// A run may be killed at any request, and again: what is gathered is the same as in one
// go, and no page is asked for twice.
func TestKilledRunsGoOn(t *testing.T) {
	whole := newTown(10)
	want := gather(t, whole, nil)
	for most := 1; most < 40; most += 3 {
		store, asked, runs := &memory{}, []string(nil), 0
		for {
			tenant := newTown(10)
			ctx, kill := context.WithCancel(t.Context())
			n := 0
			tenant.before = func(what, link string) error {
				if n++; n > most {
					kill()
					return ctx.Err()
				}
				asked = append(asked, what+link)
				return nil
			}
			s, err := readiness.Gatherer{Tenant: tenant, Store: store, Now: func() time.Time { return now.Add(time.Duration(runs) * time.Minute) }, BreakGlass: []identity.UserID{who(0)}}.Snapshot(ctx)
			kill()
			if runs++; err == nil {
				if d := cmp.Diff(want, s); d != "" {
					t.Fatalf("after %d runs of %d requests (-want +got):\n%s", runs, most, d)
				}
				break
			}
			if !errors.Is(err, context.Canceled) || runs > 100 {
				t.Fatalf("run %d: %v", runs, err)
			}
		}
		if len(asked) != len(whole.calls) {
			t.Errorf("%d requests a run: %d in all, %d in one go", most, len(asked), len(whole.calls))
		}
	}
}

func TestOldRunsAreNotGoneOnWith(t *testing.T) {
	store := &memory{}
	gather(t, newTown(4), store)
	again := newTown(5)
	if s := gather(t, again, store); len(s.People) != 5 {
		t.Errorf("%d people of a run that was finished before", len(s.People))
	}
	unread := newTown(7)
	if s, err := (readiness.Gatherer{Tenant: unread, Store: store, Reuse: time.Hour, Now: func() time.Time { return now.Add(59 * time.Minute) }}).Snapshot(t.Context()); err != nil || len(s.People) != 5 || len(unread.calls) > 0 || !s.TakenAt.Equal(now) {
		t.Errorf("%d people, %v, %v", len(s.People), unread.calls, err)
	}
	tenant := newTown(4)
	tenant.before = func(what, _ string) error {
		if what == "per-user" {
			return errors.New("killed")
		}
		return nil
	}
	at := now
	g := readiness.Gatherer{Tenant: tenant, Store: store, Now: func() time.Time { return at }}
	if _, err := g.Snapshot(t.Context()); err == nil {
		t.Fatal("no error")
	}
	at = at.Add(25 * time.Hour)
	later := newTown(6)
	g.Tenant = later
	if s, err := g.Snapshot(t.Context()); err != nil || len(s.People) != 6 || !s.TakenAt.Equal(at) {
		t.Errorf("%d people at %s, %v", len(s.People), s.TakenAt, err)
	}
}

// What is in the store and is no page, or of no known form, is asked for again.
func TestDamagedPagesAreReadAgain(t *testing.T) {
	store := &memory{}
	tenant := newTown(10)
	tenant.before = func(what, _ string) error {
		if what == "last" {
			return errors.New("killed")
		}
		return nil
	}
	if _, err := (readiness.Gatherer{Tenant: tenant, Store: store, Now: func() time.Time { return now }}).Snapshot(t.Context()); err == nil {
		t.Fatal("no error")
	}
	for name := range store.files {
		if strings.HasSuffix(name, "/000002.json") {
			store.files[name] = []byte(`{"run":`)
		}
	}
	if s := gather(t, newTown(10), store); len(s.People) != 10 || len(s.Gaps) != 0 {
		t.Errorf("%d people, %v", len(s.People), s.Gaps)
	}
}

func TestWhatIsRefusedIsAGap(t *testing.T) {
	for what, fact := range map[string]posture.Fact{
		"per-user": posture.FactPerUserMFA, "registrations": posture.FactRegistrations, "roles": posture.FactRoles, "eligible": posture.FactEligibleRoles,
		"members": posture.FactGroups, "principals": posture.FactPrincipals, "last": posture.FactLastSignIns, "policies": posture.FactConditional,
		"strengths": posture.FactStrengths, "methods": posture.FactMethodsPolicy, "defaults": posture.FactSecurityDefaults, "trust": posture.FactGuestTrust, "partners": posture.FactGuestTrust, "sign-ins": posture.FactSignIns,
	} {
		tenant := newTown(10)
		tenant.before = func(asked, _ string) error {
			if asked == what {
				return fmt.Errorf("no: %w", identity.ErrForbidden)
			}
			return nil
		}
		s := gather(t, tenant, &memory{})
		if !s.Missing(fact) {
			t.Errorf("%s: gaps %v", what, s.Gaps)
		}
		if what != "members" && what != "policies" && s.Groups[group].DisplayName == "" {
			t.Errorf("%s: the groups are missing too", what)
		}
		if _, err := readiness.NewReport(s, posture.Question{At: now, Phase: posture.Phase2}, nil); err != nil {
			t.Error(err)
		}
	}
	tenant := newTown(1)
	tenant.before = func(asked, _ string) error {
		if asked == "people" {
			return identity.ErrForbidden
		}
		return nil
	}
	if _, err := (readiness.Gatherer{Tenant: tenant, Now: func() time.Time { return now }}).Snapshot(t.Context()); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("a tenant without its people: %v", err)
	}
}

func TestWaitsAndLinksThatAreForgotten(t *testing.T) {
	tenant, waits := newTown(10), []time.Duration(nil)
	forgot, throttled := false, 0
	tenant.before = func(what, link string) error {
		switch {
		case what == "registrations" && link == "3" && throttled < 3:
			throttled++
			return &identity.RetryError{After: 7 * time.Second, Err: errors.New("429")}
		case what == "people" && link == "6" && !forgot:
			forgot = true
			return fmt.Errorf("gone: %w", sweep.ErrResync)
		}
		return nil
	}
	s, err := readiness.Gatherer{Tenant: tenant, Store: &memory{}, Now: func() time.Time { return now }, Sleep: func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}}.Snapshot(t.Context())
	if err != nil || len(s.People) != 10 || !forgot {
		t.Fatalf("%d people, %v", len(s.People), err)
	}
	if d := cmp.Diff([]time.Duration{7 * time.Second, 7 * time.Second, 7 * time.Second}, waits); d != "" {
		t.Error(d)
	}
	tenant.before = func(string, string) error { return &identity.RetryError{Err: errors.New("503")} }
	g := readiness.Gatherer{Tenant: tenant, Now: func() time.Time { return now }, Sleep: func(context.Context, time.Duration) error { return nil }}
	if _, err := g.Snapshot(t.Context()); err == nil {
		t.Error("waits for ever")
	}
}

// The estimate of the time left goes to nothing, and does not forget what Microsoft
// allows.
func TestEstimate(t *testing.T) {
	var seen []readiness.Progress
	_, err := readiness.Gatherer{
		Tenant: newTown(300), Pace: 2 * time.Second, Now: func() time.Time { return now }, Progress: func(p readiness.Progress) { seen = append(seen, p) },
	}.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var half, last readiness.Progress
	for _, p := range seen {
		if p.Step == "registered methods" && half.Calls == 0 {
			half = p
		}
		last = p
	}
	// 100 pages of registrations, of which one is read, at 2 s each, and more after them.
	if half.Left < 198*time.Second || half.Left > 250*time.Second {
		t.Errorf("%s left when the registrations begin", half.Left)
	}
	if last.Left != 0 || last.Done != last.Steps || last.People != 300 {
		t.Errorf("%+v", last)
	}
}

// A page of the store that somebody else wrote is no page, or one of the run.
func FuzzStoredPages(f *testing.F) {
	f.Add([]byte(`{"run":"x","next":"3","items":[{"id":"a"}]}`))
	f.Add([]byte(`{"run":"x","items":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		store := &memory{}
		head, _ := json.Marshal(map[string]any{"run": "x", "began": now, "until": now, "span": readiness.DefaultWindow})
		_ = store.Put(t.Context(), "cursor/run.json", head)
		_ = store.Put(t.Context(), "cursor/people/000001.json", data)
		s, err := readiness.Gatherer{Tenant: newTown(4), Store: store, Now: func() time.Time { return now }}.Snapshot(t.Context())
		if err == nil && s.TakenAt.IsZero() {
			t.Error("a snapshot of no time")
		}
	})
}
