package stack_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	simaws "mfaflow/pkg/sim/aws"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/sim/lambda"
	"mfaflow/pkg/stack"
)

const (
	routerRole = "arn:aws:iam::123456789012:role/mfaflow-identity-router"
	hrRole     = "arn:aws:iam::123456789012:role/mfaflow-hr-events"
	hrSecret   = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:hr-events-AbCdEf"
)

// secretless is a stack whose functions have no secret in their settings: AWS says who they
// are, and keeps the keys of their senders.
type secretless struct {
	*testing.T
	*stack.Stack
	aws   *simaws.Account
	late  time.Duration // how far AWS's clock is behind
	trust simgraph.FederatedCredential
}

func startSecretless(t *testing.T) *secretless {
	t.Helper()
	s, err := stack.Start(t.Context(), stack.Options{SimulatorsOnly: true, Each: (&seen{}).each, Environment: os.Environ(), Settings: []string{"MFAFLOW_IDLE_EXIT=300ms"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &secretless{T: t, Stack: s}
	w.aws, err = simaws.Start(t.Context(), simaws.Options{
		Account: "123456789012", Region: "eu-central-1", Now: func() time.Time { return time.Now().Add(-w.late) },
		Secrets: map[string]string{}, Allowed: map[string][]string{routerRole: {"sts:GetWebIdentityToken"}, hrRole: {"secretsmanager:GetSecretValue " + hrSecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.aws.Close() })
	key, err := w.aws.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	w.trust = simgraph.FederatedCredential{Issuer: w.aws.Issuer(), Subject: routerRole, Audience: "api://AzureADTokenExchange", Key: key}
	return w
}

// environment is that of a function under a role, with some settings left out.
func (w *secretless) environment(name, role string, without []string, more ...string) map[string]string {
	w.Helper()
	w.Graph.Mutate(func(tenant *simgraph.Tenant) {
		for _, a := range tenant.Apps {
			if a.Name == name {
				a.FederatedCredentials = []simgraph.FederatedCredential{w.trust}
			}
		}
	})
	pairs, err := w.Environment(name)
	if err != nil {
		w.Fatal(err)
	}
	env := map[string]string{}
	for _, pair := range pairs {
		variable, value, _ := strings.Cut(pair, "=")
		if !slices.Contains(without, variable) {
			env[variable] = value
		}
	}
	roots, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		w.Fatal(err)
	}
	env["SSL_CERT_FILE"] = filepath.Join(w.TempDir(), "ca.pem")
	if err := os.WriteFile(env["SSL_CERT_FILE"], append(roots, w.aws.CAPEM()...), 0o600); err != nil {
		w.Fatal(err)
	}
	key, secret, token := w.aws.Run(role, name, time.Hour)
	for _, pair := range append(more, "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_SESSION_TOKEN="+token,
		"AWS_ENDPOINT_URL_STS="+w.aws.STSURL(), "AWS_ENDPOINT_URL_SECRETS_MANAGER="+w.aws.SecretsURL()) {
		variable, value, _ := strings.Cut(pair, "=")
		env[variable] = value
	}
	return env
}

func (w *secretless) deploy(name, role string, without []string, more ...string) *lambda.Function {
	w.Helper()
	deployed := deployable(w.T, name)
	deployed.Env, deployed.Timeout = w.environment(name, role, without, more...), 20*time.Second
	f, err := lambda.Start(w.Context(), deployed)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = f.Close() })
	return f
}

func (w *secretless) router() *lambda.Function {
	w.Helper()
	return w.deploy("identity-router", routerRole, []string{"MFAFLOW_CLIENT_SECRET"}, "MFAFLOW_WEB_IDENTITY=true")
}

// keys are the settings of hr-events that are secret, as its secret has them.
func (w *secretless) keys() string {
	w.Helper()
	pairs, err := w.Environment("hr-events")
	if err != nil {
		w.Fatal(err)
	}
	for _, pair := range pairs {
		if value, ok := strings.CutPrefix(pair, "MFAFLOW_SOURCE_KEYS="); ok {
			text, err := json.Marshal(map[string]json.RawMessage{"MFAFLOW_SOURCE_KEYS": json.RawMessage(value)})
			if err != nil {
				w.Fatal(err)
			}
			return string(text)
		}
	}
	w.Fatal("hr-events has no keys")
	return ""
}

// A function whose keys lie in Secrets Manager takes a signed event, and one that Entra
// knows by its AWS role finds out who it is about.
func TestFunctionsWithoutSecrets(t *testing.T) {
	w := startSecretless(t)
	w.aws.Secrets[hrSecret] = w.keys()
	hr := w.deploy("hr-events", hrRole, []string{"MFAFLOW_SOURCE_KEYS", "MFAFLOW_CLIENT_SECRET"}, "MFAFLOW_SETTINGS_SECRET="+hrSecret)
	if status := invoke(t, hr, gatewayEvent(t, w.Stack, "msg_1", statement(t, w.Stack, stack.ModelJoiner))); status != http.StatusAccepted {
		t.Fatalf("hr-events answers %d: %s", status, hr.Stdout())
	}
	router := w.router()
	invoke(t, router, scheduled)
	if c, _ := w.Bus.Counts("lanes"); c.Active != 1 {
		t.Errorf("lanes: %+v\n%s", c, router.Stdout())
	}
	for _, log := range []string{hr.Stdout(), router.Stdout()} {
		if strings.Contains(log, "whsec_") || strings.Contains(log, "eyJ") {
			t.Errorf("a secret is in the log: %s", log)
		}
	}
}

// What is wrong between AWS and Entra is told with what helps, and nothing is lost.
func TestFederationThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(*secretless)
		want  string
	}{
		"federation disabled": {func(w *secretless) { w.aws.Federate(false) }, "switch on outbound web identity federation"},
		"role not allowed":    {func(w *secretless) { w.aws.Allowed[routerRole] = nil }, "the role's policy must allow it"},
		"wrong audience":      {func(w *secretless) { w.trust.Audience = "api://another" }, "AADSTS700212 (no federated credential of the app has this issuer, this audience and the ARN"},
		"wrong subject":       {func(w *secretless) { w.trust.Subject = hrRole }, "AADSTS700213 (no federated credential"},
		"wrong issuer":        {func(w *secretless) { w.trust.Issuer = "https://sts.example" }, "AADSTS700211 (no federated credential"},
		"expired":             {func(w *secretless) { w.aws.Change(func(c map[string]any) { c["exp"] = time.Now().Unix() }) }, "AADSTS700024 (the proof is expired or not valid yet: is the clock right?)"},
		"clock skew":          {func(w *secretless) { w.late = 20 * time.Minute }, "is the clock right?"},
	} {
		t.Run(name, func(t *testing.T) {
			w := startSecretless(t)
			c.wrong(w)
			router := w.router()
			hr := w.deploy("hr-events", hrRole, nil)
			invoke(t, hr, gatewayEvent(t, w.Stack, "msg_1", statement(t, w.Stack, stack.ModelJoiner)))
			_, _ = router.Invoke(t.Context(), scheduled) // it may fail, and must say why
			log := router.Stdout()
			if !strings.Contains(log, c.want) || strings.Contains(log, "eyJ") {
				t.Errorf("the log does not say %q: %s", c.want, log)
			}
			if n, _ := w.Bus.Counts("inbound"); n.Active+n.DeadLetter+n.Scheduled+n.Deferred == 0 {
				t.Errorf("the event is lost: %+v", n)
			}
		})
	}
}

// A secret that cannot be read keeps the function from starting, and says why.
func TestSecretThatIsWrong(t *testing.T) {
	w := startSecretless(t)
	for name, c := range map[string]struct {
		text, id, want string
	}{
		"not there":   {"", hrSecret, "ResourceNotFoundException"},
		"another's":   {"{}", hrSecret + "x", "AccessDeniedException; the role's policy must allow it"},
		"not JSON":    {"whsec_hush", hrSecret, "is not a JSON object"},
		"a misnomer":  {`{"MFAFLOW_SOURCE_KEY": "whsec_hush"}`, hrSecret, "did you mean MFAFLOW_SOURCE_KEYS?"},
		"no role":     {"{}", hrSecret, "no AWS role"},
		"set already": {`{"MFAFLOW_TENANT_ID": "whsec_hush"}`, hrSecret, "MFAFLOW_TENANT_ID of the secret: is in the environment as well"},
	} {
		t.Run(name, func(t *testing.T) {
			delete(w.aws.Secrets, hrSecret)
			if c.text != "" {
				w.aws.Secrets[hrSecret] = c.text
			}
			w := &secretless{T: t, Stack: w.Stack, aws: w.aws, trust: w.trust}
			more := []string{"AWS_REGION=eu-central-1", "MFAFLOW_SETTINGS_SECRET=" + c.id}
			if name == "no role" {
				more = append(more, "AWS_REGION=")
			}
			p := exec.CommandContext(t.Context(), filepath.Join(build(t), "hr-events"))
			for name, value := range w.environment("hr-events", hrRole, []string{"MFAFLOW_SOURCE_KEYS"}, more...) {
				p.Env = append(p.Env, name+"="+value)
			}
			out, err := p.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "hush") || strings.Count(string(out), "\n") != 1 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
