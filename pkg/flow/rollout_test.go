package flow_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azpolicy "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/azauth"
	"mfaflow/pkg/files"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sim/clock"
	graphsim "mfaflow/pkg/sim/graph"
)

// campus is a tenant of the simulator whose policies are changed over HTTP, with its own
// judgement of sign-ins asked after every write.
type campus struct {
	t      *testing.T
	server *graphsim.Server
	client *graph.Client
	store  files.Folder
	now    time.Time
	waits  int
	// writes are the requests that changed something.
	writes int
	// open are the ways in that worked at the beginning.
	open map[graphsim.Attempt]bool
	// given up by the operator.
	accepted map[string]bool
	reads    *policy.Reads
	// process is the one that applies, if it is to die.
	process *mortal
}

// mortalStore is the store of such a process.
type mortalStore struct {
	files.Folder
	m *mortal
}

func (s mortalStore) Put(ctx context.Context, name string, data []byte) error {
	return s.m.step(func() error { return s.Folder.Put(ctx, name, data) })
}

func (s mortalStore) Create(ctx context.Context, name string, data []byte) error {
	return s.m.step(func() error { return s.Folder.Create(ctx, name, data) })
}

// nothing is a tenant that asks for MFA by per-user MFA alone.
func nothing(tenant *graphsim.Tenant) *graphsim.Tenant {
	tenant.Policies.ConditionalAccess, tenant.Policies.SecurityDefaults.IsEnabled = nil, false
	for i, u := range tenant.Users {
		if u.UserType == "Member" && u.AccountEnabled && !strings.HasPrefix(u.UserPrincipalName, "svc-") && !strings.HasPrefix(u.UserPrincipalName, "emergency") {
			u.PerUserMFA = []string{"", "enabled", "enforced"}[i%3]
		}
	}
	return tenant
}

func newCampus(t *testing.T, tenant *graphsim.Tenant) *campus {
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
	c := &campus{t: t, server: server, store: files.Folder(t.TempDir()), now: t0, accepted: map[string]bool{}}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	id, secret := server.App("tenant-administrator")
	c.client, err = graph.New(graph.Options{
		BaseURL: server.URL(), Transport: watched{transport, c},
		Credential: &asked{from: uncached{azauth.Settings{
			TenantID: server.TenantID(), ClientID: id, ClientSecret: identity.NewSecret(secret),
			AuthorityHost: server.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: transport},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	c.open = map[graphsim.Attempt]bool{}
	for a, v := range c.judged() {
		c.open[a] = v != graphsim.VerdictBlocked
	}
	return c
}

// asked keeps its first token: the clock of a campus stands still, so that none ever ends.
type asked struct {
	from  uncached
	mu    sync.Mutex
	token azcore.AccessToken
}

func (a *asked) GetToken(ctx context.Context, o azpolicy.TokenRequestOptions) (azcore.AccessToken, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token.Token != "" {
		return a.token, nil
	}
	var err error
	a.token, err = a.from.GetToken(ctx, o)
	return a.token, err
}

// watched asks the tenant who is locked out after every request that may have changed it.
type watched struct {
	next   http.RoundTripper
	campus *campus
}

func (w watched) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	changes := r.Method != http.MethodGet && (strings.HasPrefix(r.URL.Path, "/v1.0/") || strings.HasPrefix(r.URL.Path, "/beta/"))
	if changes && strings.HasSuffix(r.URL.Path, "/$batch") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		changes = bytes.Contains(body, []byte(`"method":"PATCH"`)) // else it only reads
	}
	send := func() (err error) {
		answer, err = w.next.RoundTrip(r)
		if changes {
			w.campus.writes++
			w.campus.nobodyLockedOut(r.Method + " " + r.URL.Path)
		}
		return err
	}
	switch m := w.campus.process; {
	case m == nil:
		err = send()
	case changes:
		err = m.step(send)
	case m.dead:
		return nil, errKilled
	default:
		err = send()
	}
	if err != nil && answer != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	return answer, err
}

// judged is the tenant's own judgement of every way in which people sign in.
func (c *campus) judged() map[graphsim.Attempt]graphsim.Verdict {
	var attempts []graphsim.Attempt
	for _, u := range c.server.Users() {
		add := func(app string, flow graphsim.Flow) {
			attempts = append(attempts, graphsim.Attempt{User: u.ID, App: app, Flow: flow, At: t0})
		}
		add(exchange, graphsim.Interactive)
		add(posture.Portal, graphsim.Interactive)
		if strings.HasPrefix(u.UserPrincipalName, "svc-") {
			add("04b07795-8ddb-461a-bbee-02f9e1bf7b46", graphsim.PasswordGrant)
		}
	}
	verdicts := map[graphsim.Attempt]graphsim.Verdict{}
	for _, a := range attempts {
		out, err := c.server.EvaluateSignIn(a)
		if err != nil {
			c.t.Error(err)
		}
		verdicts[a] = out.Verdict
	}
	return verdicts
}

func (c *campus) nobodyLockedOut(when string) {
	for a, v := range c.judged() {
		if v == graphsim.VerdictBlocked && c.open[a] && !c.accepted[a.User] {
			u, _ := c.server.User(a.User)
			c.t.Errorf("after %s: %s is locked out: %+v", when, u.UserPrincipalName, a)
		}
	}
}

func (c *campus) sleep(context.Context, time.Duration) error {
	c.waits++
	return nil
}

func (c *campus) snapshot(ctx context.Context) (posture.Snapshot, error) {
	return readiness.Gatherer{
		Tenant: c.client, BreakGlass: breakGlass(c.server), Now: func() time.Time { return t0 }, Sleep: c.sleep,
	}.Snapshot(ctx)
}

func (c *campus) reading(ctx context.Context, alive func(context.Context) error) (posture.Snapshot, error) {
	s, err := c.snapshot(ctx)
	return s, errors.Join(err, alive(ctx))
}

func (c *campus) planner() policy.Planner {
	return policy.Planner{Tenant: c.client, Groups: c.client, Now: func() time.Time { return c.now }, Reads: c.reads}
}

func (c *campus) engine() policy.Engine {
	return policy.Engine{
		Tenant: c.client, Groups: c.client, Store: c.store, Snapshot: c.reading, Now: func() time.Time { return c.now }, Sleep: c.sleep,
		Watch: c.watch(), Reads: c.reads,
	}
}

func (c *campus) watch() policy.Watch { return policy.Watch{Failures: c.client.MFAFailures} }

func (c *campus) plan(text string, accept ...string) policy.Plan {
	c.t.Helper()
	f, err := policy.Parse([]byte(text))
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := c.snapshot(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := c.planner().Plan(c.t.Context(), policy.Request{File: f, Snapshot: s, Accept: accept, Watch: c.watch()})
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// apply goes on through all pauses; between two waves people do as they are told.
func (c *campus) apply(p policy.Plan, between func()) (out policy.Outcome, err error) {
	for range 50 {
		if out, err = c.engine().Apply(c.t.Context(), p, "op@contoso.example", "rollout"); err != nil || out.PausedUntil.IsZero() {
			return out, err
		}
		c.now = out.PausedUntil
		if between != nil {
			between()
		}
	}
	return out, errors.New("the rollout does not end")
}

func (c *campus) rollback(run string, accept ...string) policy.Plan {
	c.t.Helper()
	s, err := c.snapshot(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	list, err := policy.Runs(c.t.Context(), c.store)
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(r policy.Run) bool { return r.ID == run })
	p, err := c.planner().Rollback(c.t.Context(), c.store, list[i], policy.Request{Snapshot: s, Accept: accept})
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// settings are the tenant's policies and states of per-user MFA.
func (c *campus) settings() (got map[string]any) {
	c.server.Mutate(func(t *graphsim.Tenant) {
		got = map[string]any{
			"pass": t.Policies.TemporaryAccessPass, "conditional": append([]graphsim.Document{}, t.Policies.ConditionalAccess...),
			"defaults": t.Policies.SecurityDefaults, "campaign": t.Policies.AuthenticationMethods["registrationEnforcement"],
		}
		for _, m := range t.Policies.MethodConfigurations {
			got[fmt.Sprint("method ", m["id"])] = m
		}
		for _, u := range t.Users {
			state := u.PerUserMFA
			if state == "" {
				state = "disabled"
			}
			got["user "+u.ID] = state
		}
	})
	system, err := c.client.State(c.t.Context(), policy.Object{Kind: policy.KindSystemPreferred}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	got["system"] = *system.Value.SystemPreferred
	text, err := json.Marshal(got)
	if err != nil {
		c.t.Fatal(err)
	}
	got = nil
	if err := json.Unmarshal(text, &got); err != nil {
		c.t.Fatal(err)
	}
	return got
}

const toConditionalAccess = `
breakGlass: {accounts: [emergency1@contoso.example, emergency2@contoso.example, emergency3@contoso.example]}
methods:
  temporaryAccessPass: {state: enabled, include: {all: true}, minimumMinutes: 60, defaultMinutes: 60, maximumMinutes: 480}
  softwareOath: {state: enabled, include: {all: true}}
registrationCampaign: {state: enabled, snoozeDays: 1, method: microsoftAuthenticator, include: {all: true}}
systemPreferred: enabled
conditionalAccess:
  - name: Everybody answers
    state: enforced
    require: mfa
    include: {all: true}
    exclude: {users: [svc-backup@contoso.example]}
perUserMfa:
  - {state: disabled, for: {all: true}}
rollout:
  observe: 72h
  waves:
    - {name: IT, groups: [IT], pause: 24h}
    - {name: Engineering, groups: [Engineering], pause: 24h}
  stop: {newlyBlocked: 0, failedSignIns: 0}
`

func sampleFromNothing(t *testing.T) *campus {
	t.Helper()
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	return newCampus(t, nothing(tenant))
}

// From nothing to enforced Conditional Access, with the campaign run and per-user MFA
// cleared, and back: after every single write the tenant itself says that nobody is locked
// out.
func TestRolloutLocksNobodyOut(t *testing.T) {
	c := sampleFromNothing(t)
	before := c.settings()
	p := c.plan(toConditionalAccess)
	if len(p.Refusals) > 0 {
		t.Fatalf("%+v", p.Refusals)
	}
	if p.Steps[0].Phase != policy.PhaseAllow || c.writes > 0 {
		t.Errorf("%d writes by planning, first %+v", c.writes, p.Steps[0])
	}
	registered := false
	requests := c.writes
	out, err := c.apply(p, func() {
		if !registered { // one of those whom the campaign nudges
			registered = true
			if err := c.server.RegisterMethod("lucia.moretti@contoso.example", graphsim.Method{Kind: "microsoftAuthenticator"}); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || !out.Done() {
		t.Fatalf("%+v, %v", out, err)
	}
	t.Logf("%d steps, %d requests that write, %s", out.Of, c.writes-requests, c.now.Sub(t0))
	if again := c.plan(toConditionalAccess); !again.Empty() {
		t.Errorf("not reached: %+v", again.Steps)
	}
	asked := 0
	for a, v := range c.judged() {
		if a.App == exchange && (v == graphsim.VerdictAfterMFA || v == graphsim.VerdictMustRegister) {
			asked++
		}
	}
	for _, u := range c.server.Users() {
		if u.PerUserMFA != "" && u.PerUserMFA != "disabled" {
			t.Errorf("%s: per-user MFA %s", u.UserPrincipalName, u.PerUserMFA)
		}
		if u.AccountEnabled && !strings.HasPrefix(u.UserPrincipalName, "emergency") && !strings.HasPrefix(u.UserPrincipalName, "svc-") {
			asked--
		}
	}
	if asked != 0 {
		t.Errorf("%d people more are asked than should be", asked)
	}

	back := c.rollback(out.Run)
	if len(back.Refusals) > 0 {
		t.Fatalf("%+v", back.Refusals)
	}
	if out, err := c.apply(back, nil); err != nil || !out.Done() {
		t.Fatalf("%+v, %v", out, err)
	}
	if d := cmp.Diff(before, c.settings(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("rollback (-before +after)\n%s", d)
	}
}

// A policy that says more than a file can comes into force by waves as it is, and no wider:
// the directory has all of it for the waves too, and the way back is as it was.
func TestRolloutOfAPolicyWithConditions(t *testing.T) {
	const file = `
breakGlass: {accounts: [emergency1@contoso.example, emergency2@contoso.example, emergency3@contoso.example]}
conditionalAccess:
  - {name: Elsewhere, state: enforced, exclude: {users: [svc-backup@contoso.example]}}
rollout:
  waves: [{name: IT, groups: [IT], pause: 24h}, {name: Engineering, groups: [Engineering], pause: 24h}]
`
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	nothing(tenant)
	tenant.Policies.ConditionalAccess = []graphsim.Document{{
		"id": "60000000-0000-4000-8000-00000000000a", "displayName": "Elsewhere", "state": string(posture.PolicyReportOnly),
		"conditions": map[string]any{
			"clientAppTypes": []any{"all"},
			"applications":   map[string]any{"includeApplications": []any{"All"}},
			"users":          map[string]any{"includeUsers": []any{"All"}},
			"locations":      map[string]any{"includeLocations": []any{"All"}, "excludeLocations": []any{"AllTrusted"}},
			"platforms":      map[string]any{"includePlatforms": []any{"windows"}},
		},
		"grantControls":   map[string]any{"operator": "OR", "builtInControls": []any{"mfa"}},
		"sessionControls": map[string]any{"persistentBrowser": map[string]any{"isEnabled": true, "mode": "never"}},
	}}
	c := newCampus(t, tenant)
	conditional := func() []posture.ConditionalPolicy {
		page, err := c.client.ConditionalPolicies(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return page.Items
	}
	before := conditional()
	p := c.plan(file)
	if len(p.Refusals) > 0 {
		t.Fatalf("%+v", p.Refusals)
	}
	waves := 0
	out, err := c.apply(p, func() {
		waves++
		c.server.Mutate(func(t *graphsim.Tenant) {
			for _, d := range t.Policies.ConditionalAccess {
				text, _ := json.Marshal(d)
				for _, kept := range []string{`"excludeLocations":["AllTrusted"]`, `"includePlatforms":["windows"]`, `"mode":"never"`} {
					if !strings.Contains(string(text), kept) {
						c.t.Errorf("no %s in %s", kept, text)
					}
				}
			}
		})
	})
	if err != nil || !out.Done() || waves != 2 {
		t.Fatalf("%+v after %d waves, %v", out, waves, err)
	}
	back := c.rollback(out.Run)
	if len(back.Refusals) > 0 {
		t.Fatalf("%+v", back.Refusals)
	}
	if out, err := c.apply(back, nil); err != nil || !out.Done() {
		t.Fatalf("%+v, %v", out, err)
	}
	if d := cmp.Diff(before, conditional(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("rollback (-before +after)\n%s", d)
	}
}

// What the sample tenant plants is found before anything is written.
func TestRolloutIsRefusedForWhomItWouldHarm(t *testing.T) {
	for name, x := range map[string]struct {
		edit func(string) string
		code policy.Code
		who  []string
	}{
		"a program": {func(f string) string {
			return strings.Replace(f, "    exclude: {users: [svc-backup@contoso.example]}\n", "", 1)
		},
			policy.RefuseProgram, []string{"svc-backup"}},
		"a strength that is lacked": {func(f string) string { return strings.Replace(f, "require: mfa", "require: Phishing-resistant MFA", 1) },
			policy.RefuseLockout, nil},
		"the only method": {func(f string) string {
			return strings.Replace(f, "methods:\n", "methods:\n  sms: {state: disabled}\n", 1)
		},
			policy.RefuseOnlyMethod, []string{"lucia.moretti", "oliver.grant"}},
		"the method of the break-glass accounts": {func(f string) string {
			return strings.Replace(f, "methods:\n", "methods:\n  fido2: {state: disabled}\n", 1)
		},
			policy.RefuseBreakGlass, []string{"emergency1", "emergency2"}},
		"a program under security defaults": {func(f string) string {
			return strings.Replace(f, "state: enforced", "state: report-only", 1) + "securityDefaults: enabled\n"
		}, policy.RefuseProgram, []string{"svc-backup"}},
		"nobody": {func(f string) string { return f }, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := sampleFromNothing(t)
			p := c.plan(x.edit(toConditionalAccess))
			var who []string
			for _, r := range p.Refusals {
				if r.Code != x.code {
					continue
				}
				for _, id := range r.People {
					u, _ := c.server.User(string(id))
					short, _, _ := strings.Cut(u.UserPrincipalName, "@")
					who = append(who, short)
				}
			}
			slices.Sort(who)
			if x.who != nil && !slices.Equal(who, x.who) || x.code != "" && who == nil || x.code == "" && len(p.Refusals) > 0 {
				t.Errorf("%v: %+v", who, p.Refusals)
			}
			if _, err := c.apply(p, nil); errors.Is(err, policy.ErrRefused) != (x.code != "") {
				t.Error(err)
			}
			if x.code != "" && c.writes > 0 {
				t.Errorf("%d writes", c.writes)
			}
		})
	}
}

// Whatever the directory does to requests, the same end is reached, and nothing is done
// twice.
func TestRolloutThroughFaults(t *testing.T) {
	reference := sampleFromNothing(t)
	if _, err := reference.apply(reference.plan(toConditionalAccess), nil); err != nil {
		t.Fatal(err)
	}
	want := reference.settings()
	for name, x := range map[string]struct {
		fault graphsim.Fault
		ends  error // of the first apply; the second goes on
	}{
		"429 of a policy":                  {graphsim.Fault{Method: "PATCH", Path: "/identity/conditionalAccess/policies/*", Kind: graphsim.FaultStatus, Status: 429, Count: 3}, nil},
		"429 of a method":                  {graphsim.Fault{Method: "PATCH", Path: "/policies/**", Kind: graphsim.FaultStatus, Status: 429, RetryAfter: "7", Count: 3}, nil},
		"503 after a policy was created":   {graphsim.Fault{Method: "POST", Path: "/identity/conditionalAccess/policies", Kind: graphsim.FaultStatus, Status: 503, AfterEffect: true, Count: 2}, nil},
		"cut after a policy was changed":   {graphsim.Fault{Method: "PATCH", Path: "/identity/**", Kind: graphsim.FaultCut, AfterEffect: true, Count: 2}, nil},
		"one item of a batch, for a while": {graphsim.Fault{Method: "PATCH", Path: "/users/*/authentication/requirements", Kind: graphsim.FaultStatus, Status: 503, Skip: 1, Count: 2}, nil},
		"one item of a batch, 429":         {graphsim.Fault{Method: "PATCH", Path: "/users/*/authentication/requirements", Kind: graphsim.FaultStatus, Status: 429, Skip: 2}, nil},
		"one item of a batch, for good":    {graphsim.Fault{Method: "PATCH", Path: "/users/*/authentication/requirements", Kind: graphsim.FaultStatus, Status: 403, Skip: 1}, identity.ErrForbidden},
		"beta is gone":                     {graphsim.Fault{Method: "PATCH", Path: "/policies/authenticationMethodsPolicy", Kind: graphsim.FaultStatus, Status: 404, Skip: 1}, identity.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			c := sampleFromNothing(t)
			p := c.plan(toConditionalAccess)
			if _, err := c.server.AddFault(x.fault); err != nil {
				t.Fatal(err)
			}
			out, err := c.apply(p, nil)
			if x.ends != nil {
				if !errors.Is(err, x.ends) {
					t.Fatal(err)
				}
				t.Log(err)
				out, err = c.apply(p, nil)
			}
			if err != nil || !out.Done() {
				t.Fatalf("%+v, %v", out, err)
			}
			if hits := c.server.Faults()[0].Hits; hits == 0 {
				t.Error("the fault never struck")
			}
			if d := cmp.Diff(want, c.settings(), cmpopts.EquateEmpty(), made); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Somebody else changes a policy between plan and apply, and between two waves.
func TestRolloutMeetsSomebodyElse(t *testing.T) {
	c := sampleFromNothing(t)
	p := c.plan(toConditionalAccess)
	other := func() {
		c.server.Mutate(func(t *graphsim.Tenant) {
			t.Policies.SecurityDefaults.IsEnabled = !t.Policies.SecurityDefaults.IsEnabled
		})
	}
	other()
	if _, err := c.apply(p, nil); !errors.Is(err, policy.ErrChanged) || c.writes > 0 {
		t.Fatalf("%v after %d writes", err, c.writes)
	}
	other()
	pauses := 0
	if _, err := c.apply(p, func() {
		if pauses++; pauses == 2 {
			c.server.Mutate(func(t *graphsim.Tenant) {
				for _, d := range t.Policies.ConditionalAccess {
					if d["displayName"] == "Everybody answers" {
						d["state"] = "disabled"
					}
				}
			})
		}
	}); !errors.Is(err, policy.ErrChanged) || !strings.Contains(err.Error(), "conditional-access") {
		t.Error(err)
	}
}

// A run that is killed right before or right after any write to the tenant and any file that
// it keeps goes on to the same end by the same command, and what it had done by then is
// taken back as well as a whole one. Nobody is locked out at any time.
func TestRolloutIsKilledAnywhere(t *testing.T) {
	reference := sampleFromNothing(t)
	if _, err := reference.apply(reference.plan(toConditionalAccess), nil); err != nil {
		t.Fatal(err)
	}
	want := reference.settings()
	steps := make([]int, 2)
	t.Run("at", func(t *testing.T) {
		for k, late := range []bool{false, true} {
			t.Run([]string{"before", "after"}[k], func(t *testing.T) {
				t.Parallel()
				for steps[k] = 0; !t.Failed() && dies(t, want, steps[k], late); {
					steps[k]++
				}
			})
		}
	})
	t.Logf("killed at %d steps, of them %d requests that write", steps[0]+steps[1], reference.writes)
	if steps[0] != steps[1] || steps[0] < reference.writes {
		t.Errorf("%v steps, of them %d writes to the tenant", steps, reference.writes)
	}
}

// dies has the process that applies die at a step, and judges what is made of it; false when
// it lived to the end.
func dies(t *testing.T, want map[string]any, step int, late bool) bool {
	t.Helper()
	c := sampleFromNothing(t)
	before := c.settings()
	p := c.plan(toConditionalAccess)
	if !c.killed(p, &mortal{left: step, late: late}) {
		return false
	}
	c.now = c.now.Add(4 * time.Minute) // until the claim of the dead one has ended
	if (step%2 == 0) != late {
		if out, err := c.apply(p, nil); err != nil || !out.Done() {
			t.Fatalf("killed at %d: %+v, %v", step, out, err)
		}
		if d := cmp.Diff(want, c.settings(), cmpopts.EquateEmpty(), made); d != "" {
			t.Errorf("killed at %d (-want +got)\n%s", step, d)
		}
		return true
	}
	list, err := policy.Runs(t.Context(), c.store)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list { // none if it died before it began one
		back := c.rollback(r.ID)
		if len(back.Refusals) > 0 {
			t.Fatalf("killed at %d: %+v", step, back.Refusals)
		}
		if _, err := c.apply(back, nil); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(before, c.settings(), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("killed at %d: rollback (-before +after)\n%s", step, d)
	}
	return true
}

// made is what the directory makes up of a policy.
var made = cmp.FilterPath(func(p cmp.Path) bool {
	k, ok := p.Last().(cmp.MapIndex)
	return ok && slices.Contains([]string{"id", "createdDateTime", "modifiedDateTime"}, k.Key().String())
}, cmp.Ignore())

// killed applies a plan with a process that may die; false when it lived to the end.
func (c *campus) killed(p policy.Plan, m *mortal) bool {
	c.t.Helper()
	ctx, kill := context.WithCancel(c.t.Context())
	defer kill()
	c.process = m
	defer func() { c.process = nil }()
	engine := c.engine()
	engine.Store = mortalStore{c.store, m}
	engine.Sleep = func(ctx context.Context, d time.Duration) error {
		if m.dead {
			kill() // of what is being tried again
		}
		return errors.Join(ctx.Err(), c.sleep(ctx, d))
	}
	for {
		out, err := engine.Apply(ctx, p, "op@contoso.example", "rollout")
		switch {
		case m.dead: // with an error, unless all that was left was to release the claim
			return true
		case err != nil:
			c.t.Fatal(err)
		case out.Done():
			return false
		}
		c.now = out.PausedUntil
	}
}

// A tenant that tells states of per-user MFA of one person at a time only is migrated all the
// same, however many people it has.
func TestRolloutOfATenantThatTellsNothingInBulk(t *testing.T) {
	const file = "breakGlass: {none: lab}\nperUserMfa: [{state: disabled, for: {all: true}}]\n"
	tenant := nothing(graphsim.Generate(graphsim.GenerateOptions{Users: 1100, Seed: 3, Now: t0}))
	tenant.Behaviour.PerUserMFA = graphsim.PerUserRefused
	c := newCampus(t, tenant)
	c.reads = &policy.Reads{Store: c.store, Now: func() time.Time { return c.now }, Sleep: c.sleep}
	if p := c.plan(file); len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0].Detail, "--per-user-reads") {
		t.Fatalf("%+v", p.Refusals)
	}
	c.reads.Many = true
	p := c.plan(file, "locked-out", "program", "only-method", "fact-missing")
	if len(p.Refusals) > 0 {
		t.Fatalf("%+v", p.Refusals)
	}
	c.reads.Many = false
	for _, u := range c.server.Users() {
		c.accepted[u.ID] = true
	}
	if out, err := c.apply(p, nil); err != nil || !out.Done() {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, u := range c.server.Users() {
		if u.PerUserMFA != "" && u.PerUserMFA != "disabled" {
			t.Errorf("%s: %s", u.UserPrincipalName, u.PerUserMFA)
		}
	}
}

// Tenants of many sorts of people: what an operator has to take upon themselves is named
// beforehand, and the tenant itself says of nobody else that they are locked out.
func TestRolloutOfMadeUpTenants(t *testing.T) {
	const file = `
breakGlass: {none: those of a made-up tenant are named in the settings}
methods:
  voice: {state: disabled}
  softwareOath: {state: enabled, include: {all: true}}
registrationCampaign: {state: enabled, include: {all: true}}
conditionalAccess:
  - {name: Everybody answers, state: enforced, require: mfa, include: {all: true}}
perUserMfa:
  - {state: disabled, for: {all: true}}
rollout:
  waves: [{name: first, groups: [%s], pause: 1h}]
`
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed+1), func(t *testing.T) {
			tenant := graphsim.Generate(graphsim.GenerateOptions{Users: 200, Seed: seed + 1, Now: t0})
			group := tenant.Groups[0].ID
			tenant.Behaviour.PerUserMFA = []graphsim.PerUserSelect{graphsim.PerUserAnswered, graphsim.PerUserRefused}[seed%2]
			if i := slices.IndexFunc(tenant.Apps, func(a *graphsim.App) bool { return a.Name == "tenant-administrator" }); i < 0 {
				t.Fatal("nobody may change the tenant")
			}
			c := newCampus(t, nothing(tenant))
			before := c.settings()
			p := c.plan(fmt.Sprintf(file, group))
			var accept []string
			for _, r := range p.Refusals {
				if !r.Acceptable {
					t.Fatalf("%+v", r)
				}
				for _, id := range r.People {
					accept = append(accept, string(id))
					c.accepted[string(id)] = true
				}
			}
			if len(accept) > 0 {
				if _, err := c.apply(p, nil); !errors.Is(err, policy.ErrRefused) || c.writes > 0 {
					t.Fatal(err)
				}
				p = c.plan(fmt.Sprintf(file, group), accept...)
			}
			out, err := c.apply(p, nil)
			if err != nil || !out.Done() {
				t.Fatalf("%+v, %v", out, err)
			}
			t.Logf("%d people accepted of %d, %d requests that change something", len(accept), len(c.server.Users()), c.writes)
			back := c.rollback(out.Run)
			if len(back.Refusals) > 0 {
				t.Fatalf("%+v", back.Refusals)
			}
			if _, err := c.apply(back, nil); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, c.settings(), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("rollback (-before +after)\n%s", d)
			}
		})
	}
}
