package graph_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	sim "mfaflow/pkg/sim/graph"
)

const (
	oddPolicy = "60000000-0000-4000-8000-00000000000a"
	grantMFA  = "mfa"
)

// writing is a client that may change policies, of a tenant with one policy that says more
// than a file can.
func writing(t *testing.T) (*graph.Client, *sim.Server) {
	t.Helper()
	_, s := report(t, func(people *sim.Tenant) {
		people.Policies.ConditionalAccess = []sim.Document{{
			"id": oddPolicy, "displayName": "Odd", "state": "enabledForReportingButNotEnforced",
			"conditions": map[string]any{
				"clientAppTypes": []any{"all"},
				"applications":   map[string]any{"includeApplications": []any{"All"}},
				"users": map[string]any{
					"includeUsers": []any{"All"},
					"excludeGuestsOrExternalUsers": map[string]any{"guestOrExternalUserTypes": "b2bCollaborationGuest", "externalTenants": map[string]any{
						"@odata.type": "#microsoft.graph.conditionalAccessEnumeratedExternalTenants", "membershipKind": "enumerated", "members": []any{"90000000-0000-4000-8000-000000000001"},
					}},
				},
			},
			"grantControls":   map[string]any{"operator": "OR", "builtInControls": []any{grantMFA}},
			"sessionControls": map[string]any{"persistentBrowser": map[string]any{"isEnabled": true, "mode": "never"}},
		}}
		people.Policies.SecurityDefaults.IsEnabled = false
	})
	return as(t, s, "tenant-administrator", s.URL()), s
}

func stateOf(t *testing.T, c *graph.Client, o policy.Object, users ...identity.UserID) policy.State {
	t.Helper()
	got, err := c.State(t.Context(), o, users)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// body is what a write would send.
func body(t *testing.T, c *graph.Client, w policy.Write) map[string]any {
	t.Helper()
	calls := c.Calls(w)
	if len(calls) != 1 {
		t.Fatalf("%+v", calls)
	}
	var m map[string]any
	if err := json.Unmarshal(calls[0].Body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// A change of a policy sends what differs and nothing else; what a file does not know goes
// back as it was.
func TestPolicyIsPatched(t *testing.T) {
	c, _ := writing(t)
	o := policy.Object{Kind: policy.KindPolicy, ID: oddPolicy}
	was := stateOf(t, c, o)
	to := *was.Value.Policy
	to.State = posture.PolicyEnabled
	enforce := policy.Write{Object: o, From: was.Value, To: policy.Value{Policy: &to}}
	if b := body(t, c, enforce); len(b) != 1 || b["state"] != "enabled" {
		t.Errorf("%v", b)
	}
	to.Exclude.Users = []string{"10000000-0000-4000-8000-000000000018"}
	if _, err := c.Write(t.Context(), enforce, was.Document); err != nil {
		t.Fatal(err)
	}
	now := stateOf(t, c, o)
	if !now.Value.Equal(enforce.To) {
		t.Errorf("%+v", now.Value.Policy)
	}
	for _, kept := range []string{`"90000000-0000-4000-8000-000000000001"`, `"persistentBrowser"`} {
		if !strings.Contains(string(now.Document), kept) {
			t.Errorf("no %s in %s", kept, now.Document)
		}
	}

	gone := policy.Write{Object: o, From: now.Value}
	if _, err := c.Write(t.Context(), gone, now.Document); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), gone, now.Document); err != nil { // twice is once
		t.Error(err)
	}
	if none := stateOf(t, c, o); none.Value.Policy != nil || none.ID != "" {
		t.Errorf("%+v", none)
	}
	o.ID = policy.Created("Odd")
	id, err := c.Write(t.Context(), policy.Write{Object: o, To: was.Value}, nil, was.Document)
	if err != nil || id == "" || id == oddPolicy {
		t.Fatal(id, err)
	}
	again := stateOf(t, c, o)
	if again.ID != id || !strings.Contains(string(again.Document), `"persistentBrowser"`) || !strings.Contains(string(again.Document), `"90000000-0000-4000-8000-000000000001"`) {
		t.Errorf("%s: %s", again.ID, again.Document)
	}
}

func TestTwoPoliciesOfOneName(t *testing.T) {
	c, s := writing(t)
	s.Mutate(func(people *sim.Tenant) {
		twin := sim.Document{}
		for k, v := range people.Policies.ConditionalAccess[0] {
			twin[k] = v
		}
		twin["id"] = "60000000-0000-4000-8000-00000000000b"
		people.Policies.ConditionalAccess = append(people.Policies.ConditionalAccess, twin)
	})
	if _, err := c.State(t.Context(), policy.Object{Kind: policy.KindPolicy, ID: policy.Created("Odd")}, nil); !errors.Is(err, identity.ErrRefused) {
		t.Error(err)
	}
}

// Every other object is changed and read back.
func TestSettingsAreWritten(t *testing.T) {
	c, _ := writing(t)
	on, enabled := true, "enabled"
	for _, x := range []struct {
		object policy.Object
		change func(*policy.Value)
		sends  []string // the members, @odata.type apart
		beta   bool
	}{
		{policy.Object{Kind: policy.KindMethod, ID: "sms"}, func(v *policy.Value) { v.Method.Enabled = !v.Method.Enabled }, []string{"state"}, false},
		{policy.Object{Kind: policy.KindMethod, ID: "temporaryaccesspass"}, func(v *policy.Value) { v.Pass.OneTime = !v.Pass.OneTime }, []string{"isUsableOnce"}, false},
		{policy.Object{Kind: policy.KindCampaign}, func(v *policy.Value) { v.Campaign.SnoozeDays = 3 }, []string{"registrationEnforcement"}, false},
		{policy.Object{Kind: policy.KindSystemPreferred}, func(v *policy.Value) { v.SystemPreferred = &enabled }, []string{"systemCredentialPreferences"}, true},
	} {
		t.Run(x.object.String(), func(t *testing.T) {
			was, to := stateOf(t, c, x.object), stateOf(t, c, x.object).Value
			x.change(&to)
			w := policy.Write{Object: x.object, From: was.Value, To: to}
			sent := body(t, c, w)
			delete(sent, "@odata.type")
			if len(sent) != len(x.sends) {
				t.Errorf("%v", sent)
			}
			for _, name := range x.sends {
				if _, ok := sent[name]; !ok {
					t.Errorf("no %s in %v", name, sent)
				}
			}
			if call := c.Calls(w)[0]; call.Beta != x.beta || strings.HasPrefix(call.Path, "/beta/") != x.beta {
				t.Errorf("%+v", call)
			}
			if _, err := c.Write(t.Context(), w, was.Document); err != nil {
				t.Fatal(err)
			}
			if now := stateOf(t, c, x.object); !now.Value.Equal(to) {
				t.Errorf("%s", now.Document)
			}
		})
	}

	// What is not managed of a target or of the campaign goes back as it was read, and a target
	// that is new gets no more than the others have.
	const group = "10000000-0000-4000-8000-000000000001"
	targets := func(list ...posture.Target) func(*policy.Value) {
		return func(v *policy.Value) { v.Method.Include = list }
	}
	for name, x := range map[string]struct {
		document string
		object   policy.Object
		change   func(*policy.Value)
		want     string
	}{
		"a text message that signs in still does": {`{"includeTargets": [{"id": "all_users", "targetType": "group", "isUsableForSignIn": true}]}`,
			policy.Object{Kind: policy.KindMethod, ID: "sms"}, targets(posture.Target{ID: "all_users", Required: true}), `"isUsableForSignIn":true`},
		"one of a new target does not": {`{"includeTargets": [{"id": "all_users", "targetType": "group", "isUsableForSignIn": true}]}`,
			policy.Object{Kind: policy.KindMethod, ID: "sms"}, targets(posture.Target{ID: group}), `"isUsableForSignIn":false`},
		"the app's mode": {`{}`, policy.Object{Kind: policy.KindMethod, ID: "microsoftauthenticator"}, targets(posture.Target{ID: group, Mode: "push"}), `"authenticationMode":"push"`},
		"the app's mode is taken back": {`{"includeTargets": [{"id": "` + group + `", "targetType": "group", "authenticationMode": "push"}]}`,
			policy.Object{Kind: policy.KindMethod, ID: "microsoftauthenticator"}, targets(posture.Target{ID: group}), `"authenticationMode":"any"`},
		"a member of the campaign": {`{"registrationEnforcement": {"authenticationMethodsRegistrationCampaign": {"state": "default", "later": [1]}}}`,
			policy.Object{Kind: policy.KindCampaign}, func(v *policy.Value) { v.Campaign.State = "enabled" }, `"later":[1]`},
	} {
		t.Run(name, func(t *testing.T) {
			w := policy.Write{Object: x.object, From: stateOf(t, c, x.object).Value, To: stateOf(t, c, x.object).Value}
			x.change(&w.To)
			w.Kept = json.RawMessage(x.document) // as Write has it from the directory
			if sent := string(c.Calls(w)[0].Body); !strings.Contains(sent, x.want) {
				t.Errorf("no %s in %s", x.want, sent)
			}
		})
	}

	// The directory refuses security defaults beside a policy in force, and says so.
	defaults := policy.Object{Kind: policy.KindDefaults}
	was := stateOf(t, c, policy.Object{Kind: policy.KindPolicy, ID: oddPolicy})
	to := *was.Value.Policy
	to.State = posture.PolicyEnabled
	if _, err := c.Write(t.Context(), policy.Write{Object: policy.Object{Kind: policy.KindPolicy, ID: oddPolicy}, From: was.Value, To: policy.Value{Policy: &to}}, was.Document); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), policy.Write{Object: defaults, From: stateOf(t, c, defaults).Value, To: policy.Value{Defaults: &on}}); !errors.Is(err, identity.ErrRefused) {
		t.Error(err)
	}
}

// Who of a batch was not served is told by name, and the others were.
func TestPerUserStatesInABatch(t *testing.T) {
	c, s := writing(t)
	var users []identity.UserID
	to := map[identity.UserID]posture.PerUserMFA{}
	for _, u := range s.Users() {
		if u.UserType == "Member" && u.AccountEnabled && len(users) < 23 {
			users = append(users, identity.UserID(u.ID))
			to[identity.UserID(u.ID)] = posture.PerUserEnabled
		}
	}
	unlucky := users[5]
	if _, err := s.AddFault(sim.Fault{Method: http.MethodPatch, Path: "/users/" + string(unlucky) + "/authentication/requirements", Kind: sim.FaultStatus, Status: 403, Count: 10}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Write(t.Context(), policy.Write{Object: policy.Object{Kind: policy.KindPerUser}, To: policy.Value{PerUser: to}})
	part := (*policy.PartError)(nil)
	if !errors.As(err, &part) || len(part.Failed) != 1 || !errors.Is(part.Failed[unlucky], identity.ErrForbidden) || !strings.Contains(err.Error(), "beta") {
		t.Fatal(err)
	}
	got := stateOf(t, c, policy.Object{Kind: policy.KindPerUser}, append(users, nobody)...).Value.PerUser
	if len(got) != len(users) {
		t.Errorf("%d of %d", len(got), len(users))
	}
	for id, state := range got {
		if (state == posture.PerUserDisabled) != (id == unlucky) {
			t.Errorf("%s is %s", id, state)
		}
	}
}

// What a rollout stops for are sign-ins that ended over MFA, and not the steps of one that
// goes on, nor what has nothing to do with it.
func TestMFAFailures(t *testing.T) {
	c, s := report(t, func(people *sim.Tenant) { people.Behaviour.ReportDelay = 0 })
	since := time.Now().Add(-time.Hour).Truncate(time.Second)
	const marek = "10000000-0000-4000-8000-000000000016"
	for i, code := range []int{0, 50053, 50055, 50057, 50072, 50074, 50076, 50079, 50088, 50126, 50140, 50158, 53000, 53003, 53004, 53010, 53011, 500121, 530035} {
		at := since.Add(time.Duration(i) * time.Second)
		if _, err := s.AddSignIn(sim.SignIn{User: marek, Code: code, Time: &at}); err != nil {
			t.Fatal(err)
		}
	}
	before := since.Add(-time.Second)
	if _, err := s.AddSignIn(sim.SignIn{User: marek, Code: 500121, Time: &before}); err != nil {
		t.Fatal(err)
	}
	list, err := c.MFAFailures(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	var codes []int
	for _, f := range list {
		codes = append(codes, f.Code)
		if f.User != marek || f.At.Before(since) {
			t.Errorf("%+v", f)
		}
	}
	slices.Sort(codes)
	if want := []int{50088, 53003, 53004, 53010, 500121, 530035}; !slices.Equal(codes, want) {
		t.Errorf("%v, want %v", codes, want)
	}
}
