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
	"testing"
	"time"

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
		Credential: uncached{azauth.Settings{
			TenantID: server.TenantID(), ClientID: id, ClientSecret: identity.NewSecret(secret),
			AuthorityHost: server.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: transport},
		}},
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

// watched asks the tenant who is locked out after every request that may have changed it.
type watched struct {
	next   http.RoundTripper
	campus *campus
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	changes := r.Method != http.MethodGet && (strings.HasPrefix(r.URL.Path, "/v1.0/") || strings.HasPrefix(r.URL.Path, "/beta/"))
	if changes && strings.HasSuffix(r.URL.Path, "/$batch") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		changes = bytes.Contains(body, []byte(`"method":"PATCH"`)) // else it only reads
	}
	answer, err := w.next.RoundTrip(r)
	if changes {
		w.campus.writes++
		w.campus.nobodyLockedOut(r.Method + " " + r.URL.Path)
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
		Tenant: c.client, Store: c.store, BreakGlass: breakGlass(c.server), Now: func() time.Time { return t0 }, Sleep: c.sleep,
	}.Snapshot(ctx)
}

func (c *campus) planner() policy.Planner {
	return policy.Planner{Tenant: c.client, Groups: c.client, Now: func() time.Time { return c.now }}
}

func (c *campus) engine() policy.Engine {
	return policy.Engine{
		Tenant: c.client, Groups: c.client, Store: c.store, Snapshot: c.snapshot, Now: func() time.Time { return c.now }, Sleep: c.sleep,
		Watch: policy.Watch{Failures: c.client.MFAFailures},
	}
}

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
	p, err := c.planner().Plan(c.t.Context(), policy.Request{File: f, Snapshot: s, Accept: accept, Failures: true})
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
			if d := cmp.Diff(want, c.settings(), cmpopts.EquateEmpty(), cmp.FilterPath(func(p cmp.Path) bool {
				k, ok := p.Last().(cmp.MapIndex)
				return ok && slices.Contains([]string{"id", "createdDateTime", "modifiedDateTime"}, k.Key().String())
			}, cmp.Ignore())); d != "" {
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

// A run that is killed goes on to the same end, and what it had done by then is taken back
// as well as a whole one.
func TestRolloutIsKilled(t *testing.T) {
	for n := 1; ; n += 3 {
		c := sampleFromNothing(t)
		before := c.settings()
		p := c.plan(toConditionalAccess)
		ctx, kill := context.WithCancel(t.Context())
		engine := c.engine()
		writes := 0
		engine.Progress = func(at policy.Progress) {
			if at.Write > 0 {
				if writes++; writes == n {
					kill()
				}
			}
		}
		var err error
		var out policy.Outcome
		for err == nil && !out.Done() || out.Of == 0 {
			out, err = engine.Apply(ctx, p, "op", "r")
			if !out.PausedUntil.IsZero() {
				c.now = out.PausedUntil
			}
			if out.Of == 0 {
				break
			}
		}
		kill()
		if err == nil {
			if n < 8 {
				t.Errorf("only %d writes", n)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if n%2 == 0 {
			if out, err = c.apply(p, nil); err != nil || !out.Done() {
				t.Fatalf("killed after %d: %+v, %v", n, out, err)
			}
			if again := c.plan(toConditionalAccess); !again.Empty() {
				t.Errorf("killed after %d: %+v", n, again.Steps)
			}
			continue
		}
		back := c.rollback(out.Run)
		if len(back.Refusals) > 0 {
			t.Fatalf("killed after %d: %+v", n, back.Refusals)
		}
		if _, err := c.apply(back, nil); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, c.settings(), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("killed after %d: rollback (-before +after)\n%s", n, d)
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
