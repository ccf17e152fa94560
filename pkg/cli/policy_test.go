package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/event"
	"mfaflow/pkg/files"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

const everybodyAnswers = `
breakGlass: {accounts: [emergency1@contoso.example, emergency2@contoso.example, emergency3@contoso.example]}
registrationCampaign: {state: enabled, snoozeDays: 1}
conditionalAccess:
  - {name: Everybody answers, state: enforced, require: mfa, include: {all: true}, exclude: {users: [svc-backup@contoso.example]}}
perUserMfa:
  - {state: disabled, for: {all: true}}
rollout:
  waves: [{name: IT, groups: [IT]}]
  stop: {failedSignIns: 0}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ok runs a command that must end well.
func ok(t *testing.T, env []string, code int, args ...string) string {
	t.Helper()
	r := run(t, "", env, args...)
	if r.code != code {
		t.Fatalf("%v: %+v", args, r)
	}
	return r.stdout
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// What the tenant has is written as a file, a plan of which changes nothing.
func TestPolicyShow(t *testing.T) {
	env := onTenant(t)
	file := filepath.Join(t.TempDir(), "now.yaml")
	ok(t, env, 0, "policy", "show", "-o", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(text), "# yaml-language-server: $schema=", "# Note: the method email is left out", "Require MFA for everybody", "greta.lund@contoso.example")
	contains(t, ok(t, env, 0, "policy", "plan", file), "There is nothing to do.")
	contains(t, ok(t, env, 0, "policy", "drift", file), "Nothing differs.")
	var same policy.File
	if err := json.Unmarshal([]byte(ok(t, env, 0, "policy", "show", "--json")), &same); err != nil || len(same.Conditional) != 4 {
		t.Errorf("%+v, %v", same, err)
	}
}

// A file is planned, applied and taken back, and the trail says who did what and why.
func TestPolicyIsAppliedAndTakenBack(t *testing.T) {
	env := onTenant(t)
	dir := t.TempDir()
	file, now, there, back := write(t, "policy.yaml", everybodyAnswers), filepath.Join(dir, "now.yaml"), filepath.Join(dir, "there.plan"), filepath.Join(dir, "back.plan")
	ok(t, env, 0, "policy", "show", "-o", now)
	contains(t, ok(t, env, 3, "policy", "drift", file), `conditional-access "Everybody answers"`, "per-user-mfa 10000000-0000-4000-8000-000000000037")

	contains(t, ok(t, env, 0, "policy", "plan", file, "-o", there),
		"enforce the policy \"Everybody answers\" for the wave IT", "1 beta", "1 out-of-scope to prompted", "Nothing was changed. mfaflow policy apply "+there)
	contains(t, ok(t, env, 0, "policy", "apply", there), "Nothing was changed.")
	ok(t, env, 3, "policy", "drift", file)
	ok(t, env, 2, "policy", "apply", there, "--yes")
	applied := ok(t, env, 0, "policy", "apply", there, "--yes", "--reason", "CHG-1234")
	contains(t, applied, "step 1 of 6: set the registration campaign", "Done: 6 steps, run ")
	ok(t, env, 0, "policy", "drift", file)
	contains(t, ok(t, env, 0, "policy", "apply", there, "--yes", "--reason", "again"), "It was applied before, as run ")

	id := regexp.MustCompile(`run (\S+)\.`).FindStringSubmatch(applied)[1]
	contains(t, ok(t, env, 0, "policy", "rollback"), id, "done", "6 of 6", me(t), "CHG-1234")
	contains(t, ok(t, env, 0, "policy", "rollback", id, "-o", back), "take back: ")
	contains(t, ok(t, env, 0, "policy", "apply", back, "--yes", "--reason", "taken back"), "Done: ")
	contains(t, ok(t, env, 0, "policy", "drift", now), "Nothing differs.")
	contains(t, ok(t, env, 0, "policy", "rollback"), "taken back")

	trail, err := os.ReadFile(filepath.Join(strings.TrimPrefix(env[0], "XDG_RUNTIME_DIR="), "reports", "policy", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if chains, err := audit.Verify(bytes.NewReader(trail)); err != nil || len(chains) < 2 {
		t.Errorf("%+v, %v", chains, err)
	}
	p, err := os.ReadFile(there)
	if err != nil {
		t.Fatal(err)
	}
	var plan policy.Plan
	if err := json.Unmarshal(p, &plan); err != nil {
		t.Fatal(err)
	}
	var did []string
	if err := audit.Read(bytes.NewReader(trail), func(f audit.Found) error {
		if f.Plan == plan.Digest {
			did = append(did, f.Type)
			if f.Actor != me(t) || f.Reason != "CHG-1234" || f.Key != id || f.Outcome != "done" || len(f.Calls) == 0 || len(f.PolicyBefore)+len(f.PolicyAfter) == 0 {
				t.Errorf("%+v", f.Record)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if want := []string{"registration-campaign", "conditional-access", "conditional-access", "conditional-access", "conditional-access", "per-user-mfa"}; !slices.Equal(did, want) {
		t.Errorf("%v", did)
	}
}

// While somebody applies a plan, another apply is told who does and until when, and
// takes over from whoever is known to be dead.
func TestPolicyIsAppliedByOne(t *testing.T) {
	env := onTenant(t)
	dir := strings.TrimPrefix(env[0], "XDG_RUNTIME_DIR=")
	plan := filepath.Join(t.TempDir(), "a.plan")
	ok(t, env, 0, "policy", "plan", write(t, "policy.yaml", everybodyAnswers), "-o", plan)
	text, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	var p policy.Plan
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	other := policy.Engine{
		Store: files.Folder(filepath.Join(dir, "reports")), Now: time.Now, Claimant: policy.Claimant{Host: "server.contoso.example", PID: 4711},
		Snapshot: func(context.Context, func(context.Context) error) (posture.Snapshot, error) {
			r := run(t, "", env, "policy", "apply", plan, "--yes", "--reason", "me too")
			if r.code != 1 || !strings.Contains(r.stderr, "a plan is being applied to this tenant, by ada on server.contoso.example (process 4711) since ") || !strings.Contains(r.stderr, "\nTry: the same command when that one has ended; --take-over if") {
				t.Errorf("%+v", r)
			}
			contains(t, ok(t, env, 0, "policy", "rollback"), "0 of 6")
			contains(t, ok(t, env, 0, "policy", "apply", plan, "--yes", "--reason", "ada is on leave", "--take-over"), "Done: 6 steps")
			return posture.Snapshot{}, context.Canceled
		},
	}
	if _, err := other.Apply(t.Context(), p, "ada", "first"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	contains(t, ok(t, env, 0, "policy", "rollback"), "6 of 6")
}

// Whom it would harm is shown, by name when asked to, and taken upon oneself by name.
func TestPolicyPlanIsRefused(t *testing.T) {
	env := onTenant(t)
	file := write(t, "policy.yaml", strings.Replace(everybodyAnswers, ", exclude: {users: [svc-backup@contoso.example]}", "", 1))
	plan := filepath.Join(t.TempDir(), "refused.plan")
	r := run(t, "", env, "policy", "plan", file, "-o", plan)
	if r.code != 1 || strings.Contains(r.stdout, "svc-backup") {
		t.Errorf("%+v", r)
	}
	contains(t, r.stdout, "Refused (program): ", "10000000-0000-4000-8000-000000000030", "-> move the program to a workload identity")
	contains(t, r.stderr, "the plan is refused", "Try: the way out")
	contains(t, ok(t, env, 1, "policy", "plan", file, "--reveal"), "svc-backup@contoso.example")
	ok(t, env, 1, "policy", "apply", plan, "--yes", "--reason", "x")
	contains(t, ok(t, env, 0, "policy", "plan", file, "--accept", "svc-backup@contoso.example"), "Accepted (program): ")
	var as policy.Plan
	if err := json.Unmarshal([]byte(ok(t, env, 0, "policy", "plan", file, "--json", "--accept", "program")), &as); err != nil || len(as.Accepted) != 1 || as.Verify() != nil {
		t.Errorf("%+v, %v", as.Accepted, err)
	}
}

func TestPolicyOfNobody(t *testing.T) {
	clear(t)
	env := []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	file := write(t, "policy.yaml", everybodyAnswers)
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no tenant":   {[]string{"plan", file}, 1, "no tenant: MFAFLOW_TENANT_ID is not set"},
		"no file":     {[]string{"plan"}, 2, "takes FILE"},
		"no plan":     {[]string{"apply", file}, 1, "is no plan\nTry: mfaflow policy plan -o FILE"},
		"empty plan":  {[]string{"apply", write(t, "p", "{}")}, 1, "does not have the digest that it names"},
		"no command":  {[]string{"aply"}, 2, "did you mean apply?"},
		"no such run": {[]string{"rollback", "a", "b"}, 2, "takes [RUN]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "", env, append([]string{"policy"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.stderr, c.stderr) || r.stdout != "" {
				t.Errorf("%+v", r)
			}
		})
	}
	on := onTenant(t)
	for name, c := range map[string]struct{ text, stderr string }{
		"a typo":   {strings.Replace(everybodyAnswers, "perUserMfa", "perUserMFAs", 1), "line 6, column 1: perUserMFAs is unknown; did you mean perUserMfa?"},
		"a wish":   {strings.Replace(everybodyAnswers, "enforced", "enforce", 1), "line 5, column 31: conditionalAccess.0.state must be report-only or enforced or disabled"},
		"a nobody": {strings.Replace(everybodyAnswers, "svc-backup", "svc-nothing", 1), "policy.yaml: not a policy file:\n  line 5, column 102: conditionalAccess.0.exclude.users.0: is nobody of the tenant's"},
		"a group":  {strings.Replace(everybodyAnswers, "groups: [IT]", "groups: [It does]", 1), `rollout.waves.0.groups: no group is called "It does"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "", on, "policy", "plan", write(t, "policy.yaml", c.text))
			if r.code != 1 || !strings.Contains(r.stderr, c.stderr) || !strings.Contains(r.stderr, "Try: mfaflow policy schema") {
				t.Errorf("%+v", r)
			}
		})
	}
	if r := run(t, "", on, "policy", "rollback", "nothing"); r.code != 1 || !strings.Contains(r.stderr, "no such run: nothing\nTry: mfaflow policy rollback lists") {
		t.Errorf("%+v", r)
	}
	if schema := ok(t, nil, 0, "policy", "schema"); !json.Valid([]byte(schema)) {
		t.Error(schema)
	}
}

// The event that asks for a file carries the digest of the plan that is shown, and nothing
// that an event may not ask for.
func TestPolicyEvent(t *testing.T) {
	env := onTenant(t)
	dir := t.TempDir()
	file := write(t, "policy.yaml", "breakGlass: {accounts: [emergency1@contoso.example]}\nmethods: {x509Certificate: {state: enabled}} # smart cards\n")
	out := filepath.Join(dir, "change.json")
	shown := ok(t, env, 0, "policy", "event", file, "--requested-by", "ada@contoso.example", "--ticket", "CHG-1", "-o", out)
	contains(t, shown, "enable the method X509Certificate", "Nothing was changed. "+out+" asks for this plan")
	contains(t, ok(t, env, 0, "event", "validate", out), "valid mfa.method.policy")
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.PolicyChange()
	if err != nil {
		t.Fatal(err)
	}
	var plan policy.Plan
	if err := json.Unmarshal([]byte(ok(t, env, 0, "policy", "plan", file, "--json")), &plan); err != nil {
		t.Fatal(err)
	}
	if d.Digest != plan.Digest || d.RequestedBy != "ada@contoso.example" || e.Subject != plan.Tenant {
		t.Errorf("%+v of %s, the plan is %s", d, e.Subject, plan.Digest)
	}
	if f, err := policy.Parse(d.Policy); err != nil || f.Methods.Certificate.State != "enabled" {
		t.Errorf("%+v, %v", f, err)
	}
	for name, c := range map[string]struct {
		file, requester, says string
	}{
		"nobody asks": {file, "", "/data/requestedBy must be"},
		"refused": {
			write(t, "refused.yaml", "breakGlass: {accounts: [emergency1@contoso.example]}\nmethods: {fido2: {state: disabled}, microsoftAuthenticator: {state: disabled}, softwareOath: {state: disabled}, hardwareOath: {state: disabled}, sms: {state: disabled}, voice: {state: disabled}}\n"),
			"ada@contoso.example", "refused.yaml, which says why",
		},
		"Conditional Access": {write(t, "more.yaml", everybodyAnswers), "ada@contoso.example", "/data/policy/conditionalAccess must be left out: Conditional Access is changed by an operator"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := run(t, "", env, "policy", "event", c.file, "--requested-by", c.requester); r.code != 1 || !strings.Contains(r.stderr, c.says) || r.stdout != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}
