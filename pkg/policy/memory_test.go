package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sweep"
)

var (
	_ policy.Tenant = (*memory)(nil)
	_ policy.Groups = (*memory)(nil)
)

// errKilled ends a process in the middle of a test.
var errKilled = errors.New("killed")

// memory is a tenant that keeps of what it is told what Graph's client can tell Graph, and
// forgets nothing else.
type memory struct {
	posture.Snapshot
	writes int
	made   int
	// trouble, if set, is asked before and after the effect of every write.
	trouble func(w policy.Write, after bool) error
	// blind: the states of per-user MFA are not told in bulk.
	blind bool
	// asking, if set, is asked before states of per-user MFA are told one by one.
	asking func(users []identity.UserID) error
	// wrote is told of every effect.
	wrote func()
}

func clone(s posture.Snapshot) posture.Snapshot {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	var c posture.Snapshot
	if err := json.Unmarshal(data, &c); err != nil {
		panic(err)
	}
	return c
}

// gathered is the tenant as it is read in bulk.
func (m *memory) gathered() posture.Snapshot {
	s := clone(m.Snapshot)
	if m.blind {
		s.Gaps = append(s.Gaps, posture.Gap{Fact: posture.FactPerUserMFA, Why: "not documented"})
		for i := range s.People {
			s.People[i].PerUserMFA = posture.PerUserUnknown
		}
	}
	return s
}

func (m *memory) State(_ context.Context, o policy.Object, users []identity.UserID) (policy.State, error) {
	if o.Kind == policy.KindPerUser { // of large tenants, which take long to copy
		if m.asking != nil {
			if err := m.asking(users); err != nil {
				return policy.State{}, err
			}
		}
		states := map[identity.UserID]posture.PerUserMFA{}
		for _, person := range m.People {
			if slices.Contains(users, person.ID) {
				states[person.ID] = person.PerUserMFA
			}
		}
		return policy.State{Value: policy.Value{PerUser: states}}, nil
	}
	s := clone(m.Snapshot)
	p := &s.Policies
	switch o.Kind {
	case policy.KindDefaults:
		on := p.SecurityDefaults == posture.Yes
		return policy.State{Value: policy.Value{Defaults: &on}}, nil
	case policy.KindMethod:
		c, ok := p.Methods.Methods[o.ID]
		if !ok {
			return policy.State{}, identity.ErrNotFound
		}
		v := policy.Value{Method: &c}
		if o.ID == "temporaryaccesspass" {
			v.Pass = &p.Methods.Pass
		}
		return policy.State{Value: v}, nil
	case policy.KindCampaign:
		return policy.State{Value: policy.Value{Campaign: &p.Methods.Campaign}}, nil
	case policy.KindSystemPreferred:
		return policy.State{Value: policy.Value{SystemPreferred: &p.Methods.SystemPreferred}}, nil
	case policy.KindPolicy:
		name, isNew := policy.CreatedName(o.ID)
		for _, c := range p.Conditional {
			if c.ID == o.ID || isNew && c.DisplayName == name {
				text, err := json.Marshal(c)
				return policy.State{ID: c.ID, Value: policy.Value{Policy: &c}, Document: text}, err
			}
		}
		return policy.State{}, nil
	case policy.KindPerUser:
	}
	return policy.State{}, fmt.Errorf("no object %s", o)
}

// said is a policy as it is after a write that says what files can say of it. The rest is
// what it was, or what the first document has.
func (m *memory) said(w policy.Write, documents []json.RawMessage) (posture.ConditionalPolicy, error) {
	to := *w.To.Policy
	p := posture.ConditionalPolicy{ID: to.ID, Clients: to.Clients}
	for _, text := range documents {
		if len(text) > 0 {
			if err := json.Unmarshal(text, &p); err != nil {
				return p, err
			}
			p.ID = to.ID
			break
		}
	}
	if i := slices.IndexFunc(m.Policies.Conditional, func(c posture.ConditionalPolicy) bool { return c.ID == w.ID }); i >= 0 {
		p = m.Policies.Conditional[i]
	}
	tenants := []bool{p.Include.GuestTenants, p.Exclude.GuestTenants}
	p.DisplayName, p.State, p.Include, p.Exclude = to.DisplayName, to.State, to.Include, to.Exclude
	p.Include.GuestTenants, p.Exclude.GuestTenants = to.Include.GuestTenants && tenants[0], to.Exclude.GuestTenants && tenants[1]
	p.Apps.Include, p.Apps.Exclude = to.Apps.Include, to.Apps.Exclude
	p.Grant.All, p.Grant.Controls, p.Grant.Strength = to.Grant.All, to.Grant.Controls, to.Grant.Strength
	return p, nil
}

func (m *memory) Write(_ context.Context, w policy.Write, documents ...json.RawMessage) (string, error) {
	if m.trouble != nil {
		if err := m.trouble(w, false); err != nil {
			return "", err
		}
	}
	m.writes++
	s := clone(m.Snapshot)
	id, changes := "", []posture.Change(nil)
	switch w.Kind {
	case policy.KindDefaults:
		changes = append(changes, posture.SecurityDefaults{On: *w.To.Defaults})
	case policy.KindMethod:
		setting, is := *w.To.Method, m.Policies.Methods.Methods[w.ID]
		setting.SelfService, setting.Codes = is.SelfService, is.Codes
		changes = append(changes, posture.PutMethod{Setting: setting})
		if w.To.Pass != nil {
			changes = append(changes, posture.SetPass{Pass: *w.To.Pass})
		}
	case policy.KindCampaign:
		changes = append(changes, posture.SetCampaign{Campaign: *w.To.Campaign})
	case policy.KindSystemPreferred:
		changes = append(changes, posture.SetSystemPreferred{State: *w.To.SystemPreferred})
	case policy.KindPolicy:
		if w.To.Policy == nil {
			changes = append(changes, posture.RemovePolicy{Policy: w.ID})
			break
		}
		p, err := m.said(w, documents)
		if err != nil {
			return "", err
		}
		if _, isNew := policy.CreatedName(w.ID); isNew {
			m.made++
			p.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", m.made)
			id = p.ID
		}
		changes = append(changes, posture.PutPolicy{Policy: p})
	case policy.KindPerUser:
		for user, state := range w.To.PerUser {
			changes = append(changes, posture.SetPerUserMFA{Users: []identity.UserID{user}, State: state})
		}
	}
	next, err := s.With(changes...)
	if err != nil {
		return "", fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	m.Snapshot = next
	if m.wrote != nil {
		m.wrote()
	}
	if m.trouble != nil {
		if err := m.trouble(w, true); err != nil {
			return "", err
		}
	}
	return id, nil
}

func (m *memory) Calls(w policy.Write) []policy.Call {
	return []policy.Call{{Method: "PATCH", Path: "/" + w.Object.String()}}
}

func (m *memory) GroupsNamed(_ context.Context, name string) ([]readiness.Named, error) {
	var list []readiness.Named
	for _, id := range slices.Sorted(maps.Keys(m.Groups)) {
		if strings.EqualFold(m.Groups[id].DisplayName, name) {
			list = append(list, readiness.Named{ID: id, Name: m.Groups[id].DisplayName})
		}
	}
	return list, nil
}

func (m *memory) GroupName(_ context.Context, id string) (string, error) {
	g, ok := m.Groups[id]
	if !ok {
		return "", identity.ErrNotFound
	}
	return g.DisplayName, nil
}

func (m *memory) GroupMembers(_ context.Context, id, _ string) (sweep.Page[identity.UserID], error) {
	return sweep.Page[identity.UserID]{Items: m.Groups[id].Members}, nil
}

// shelf is a store of files.
type shelf struct {
	mu    sync.Mutex
	files map[string][]byte
	// full, if set, is asked before every file.
	full func(name string) error
	// forgets: what was created is told to be there already, as after an answer that was lost.
	forgets bool
}

func (s *shelf) Put(_ context.Context, name string, data []byte) error {
	return s.put(name, data, false)
}

func (s *shelf) Create(_ context.Context, name string, data []byte) error {
	return s.put(name, data, true)
}

func (s *shelf) put(name string, data []byte, isNew bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.files[name]; ok && isNew {
		return readiness.ErrExists
	}
	if s.full != nil {
		if err := s.full(name); err != nil {
			return err
		}
	}
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	s.files[name] = slices.Clone(data)
	if isNew && s.forgets {
		return readiness.ErrExists
	}
	return nil
}

func (s *shelf) Get(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.files[name]
	if !ok {
		return nil, readiness.ErrNoFile
	}
	return slices.Clone(data), nil
}

func (s *shelf) List(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.files {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// trail is the audit trail.
type trail struct{ records []audit.Record }

func (t *trail) Write(_ context.Context, r audit.Record) error {
	t.records = append(t.records, r)
	return nil
}

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// desk is everything around one tenant.
type desk struct {
	*memory
	store *shelf
	trail *trail
	now   time.Time
	slept []time.Duration
	watch policy.Watch
	reads *policy.Reads
}

func newDesk(s posture.Snapshot) *desk {
	return &desk{memory: &memory{Snapshot: s}, store: &shelf{}, trail: &trail{}, now: today}
}

func (d *desk) planner() policy.Planner {
	return policy.Planner{Tenant: d.memory, Groups: d.memory, Now: func() time.Time { return d.now }, Reads: d.reads}
}

func (d *desk) plan(text string, accept ...string) (policy.Plan, error) {
	f, err := policy.Parse([]byte(text))
	if err != nil {
		return policy.Plan{}, err
	}
	return d.planner().Plan(context.Background(), policy.Request{
		File: f, Snapshot: d.gathered(), Accept: accept, Watch: d.watch,
	})
}

func (d *desk) engine() policy.Engine {
	return policy.Engine{
		Tenant: d.memory, Groups: d.memory, Store: d.store, Watch: d.watch, Reads: d.reads, Audit: d.trail,
		Claimant: policy.Claimant{Host: "laptop", PID: 4711},
		Snapshot: func(ctx context.Context, alive func(context.Context) error) (posture.Snapshot, error) {
			return d.gathered(), alive(ctx)
		},
		Now: func() time.Time { return d.now },
		Sleep: func(_ context.Context, w time.Duration) error {
			d.slept = append(d.slept, w)
			return nil
		},
	}
}

// apply goes on through all pauses.
func (d *desk) apply(p policy.Plan) (out policy.Outcome, err error) {
	for range 100 {
		out, err = d.engine().Apply(context.Background(), p, "op@contoso.example", "test")
		if err != nil || out.PausedUntil.IsZero() {
			return out, err
		}
		d.now = out.PausedUntil
	}
	return out, errors.New("the rollout does not end")
}

func (d *desk) rollback(run string, accept ...string) (policy.Plan, error) {
	runs, err := policy.Runs(context.Background(), d.store)
	if err != nil {
		return policy.Plan{}, err
	}
	for _, r := range runs {
		if r.ID == run {
			return d.planner().Rollback(context.Background(), d.store, r, policy.Request{Snapshot: clone(d.memory.Snapshot), Accept: accept})
		}
	}
	return policy.Plan{}, policy.ErrNoRun
}

func everybody(id string) posture.MethodSetting {
	return posture.MethodSetting{ID: id, Enabled: true, Include: []posture.Target{{ID: posture.AllUsers}}}
}

func person(id string, methods ...posture.Method) posture.Person {
	return posture.Person{
		ID: identity.UserID(id), UserPrincipalName: id + "@contoso.example", DisplayName: id, Kind: posture.Member, Enabled: true, PerUserMFA: posture.PerUserDisabled,
		Registration: posture.Registration{Known: true, Methods: methods, Capable: posture.AnswerOf(len(methods) > 0)},
	}
}

const (
	admin    = "62e90394-69f5-4237-9190-012177145e10"
	phishing = "00000000-0000-0000-0000-000000000004"
)

// contoso is a tenant that asks nobody for anything.
func contoso() posture.Snapshot {
	root := person("root", posture.SecurityKey)
	root.Roles = []posture.Role{{Definition: admin, Active: true}}
	return posture.Snapshot{
		TakenAt: today, Tenant: posture.Tenant{ID: "contoso"},
		People: []posture.Person{
			root, person("glass", posture.SecurityKey), person("ada", posture.AuthenticatorPush), person("bob", posture.MobilePhone), person("new"),
		},
		Groups: map[string]posture.Group{
			"10000000-0000-4000-8000-000000000001": {DisplayName: "IT", Members: []identity.UserID{"ada", "root"}},
			"10000000-0000-4000-8000-000000000002": {DisplayName: "Sales", Members: []identity.UserID{"bob"}},
			"10000000-0000-4000-8000-000000000003": {DisplayName: "Twice"},
			"10000000-0000-4000-8000-000000000004": {DisplayName: "Twice"},
		},
		Roles: map[string]string{admin: "Global Administrator"},
		Policies: posture.Policies{
			SecurityDefaults: posture.No,
			Strengths: map[string]posture.Strength{phishing: {
				ID: phishing, DisplayName: "Phishing-resistant MFA", BuiltIn: true, Combinations: []string{"fido2", "windowsHelloForBusiness", "x509CertificateMultiFactor"},
			}},
			Methods: posture.MethodsPolicy{
				Migrated: posture.Yes,
				Methods: map[string]posture.MethodSetting{
					"microsoftauthenticator": everybody("MicrosoftAuthenticator"), "sms": everybody("Sms"), "fido2": everybody("Fido2"),
					"voice": {ID: "Voice"}, "temporaryaccesspass": {ID: "TemporaryAccessPass"},
				},
				Pass:            posture.PassSetting{Minimum: time.Hour, Default: time.Hour, Maximum: 8 * time.Hour, Length: 8},
				Campaign:        posture.Campaign{State: "disabled", SnoozeDays: 1},
				SystemPreferred: "default",
			},
		},
	}
}
