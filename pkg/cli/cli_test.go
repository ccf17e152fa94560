package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/cli"
	"mfaflow/pkg/config"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/webhook"
)

const (
	key    = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	sample = "../../events/samples/employee.joiner/next-monday.json"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	code           int
	stdout, stderr string
}

func run(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	var out, problems bytes.Buffer
	code := cli.Run(t.Context(), args, strings.NewReader(stdin), &out, &problems, env)
	return result{code, out.String(), problems.String()}
}

func TestCommandLines(t *testing.T) {
	clear(t)
	signing := []string{config.SigningKey + "=" + key}
	for name, c := range map[string]struct {
		args           []string
		stdin          string
		env            []string
		code           int
		stdout, stderr string // each must be contained; empty means none at all
	}{
		"no arguments":        {code: 0, stdout: "servicebus  Serve the Azure Service Bus emulator"},
		"unknown command":     {args: []string{"servicbus"}, code: 2, stderr: "Error: unknown command \"servicbus\"; did you mean servicebus?\nTry: mfaflow --help\n"},
		"unknown sub-command": {args: []string{"event", "x"}, code: 2, stderr: "Error: unknown command \"x\"\nTry: mfaflow event --help\n"},
		"unknown flag":        {args: []string{"local", "--nope"}, code: 2, stderr: "Error: unknown flag: --nope\nTry: mfaflow local --help\n"},
		"missing argument":    {args: []string{"event", "sign"}, code: 2, stderr: "Try: mfaflow event sign --help\n"},
		"completion":          {args: []string{"completion", "bash"}, code: 0, stdout: "bash completion"},

		"completion of nothing":    {args: []string{"completion"}, code: 0, stdout: "Available Commands"},
		"completion of no shell":   {args: []string{"completion", "nosuch"}, code: 2, stderr: "Error: unknown command \"nosuch\"\nTry: mfaflow completion --help\n"},
		"help":                     {args: []string{"help", "event", "sign"}, code: 0, stdout: "mfaflow event sign"},
		"help on nothing there is": {args: []string{"help", "event", "nosuch"}, code: 2, stderr: "Error: unknown command \"nosuch\"\nTry: mfaflow help --help\n"},
		"setting without a value":  {args: []string{"local", "--set", "hunter2"}, code: 2, stderr: "Error: --set is not NAME=VALUE, such as MFAFLOW_LOG_LEVEL=DEBUG\nTry: mfaflow local --help\n"},
		"setting without a name":   {args: []string{"demo", "--set", "=hunter2"}, code: 2, stderr: "Error: --set is not NAME=VALUE, such as MFAFLOW_LOG_LEVEL=DEBUG\nTry: mfaflow demo --help\n"},
		"queue twice":              {args: []string{"servicebus", "--queue", "a", "--queue", "A"}, code: 2, stderr: "Error: queue \"A\" is there twice\nTry: mfaflow servicebus --help\n"},
		"queue of both kinds":      {args: []string{"servicebus", "--queue", "a", "--session-queue", "a"}, code: 2, stderr: "Error: queue \"a\" is there twice\nTry: mfaflow servicebus --help\n"},
		"negative throttle":        {args: []string{"graph", "--throttle", "-1"}, code: 2, stderr: "Error: --throttle is not 0 or a positive number\nTry: mfaflow graph --help\n"},
		"throttle of no number":    {args: []string{"graph", "--throttle", "NaN"}, code: 2, stderr: "Error: --throttle is not 0 or a positive number\nTry: mfaflow graph --help\n"},
		"generated for nobody":     {args: []string{"graph", "generate", "--users", "3"}, code: 2, stderr: "Error: --users is not 20 or more\nTry: mfaflow graph generate --help\n"},
		"generated at no time":     {args: []string{"graph", "generate", "--now", "noon"}, code: 2, stderr: "Error: --now is not an RFC 3339 time, such as 2026-11-23T09:00:00Z\nTry: mfaflow graph generate --help\n"},
		"generated to nowhere":     {args: []string{"graph", "generate", "-o", "/nowhere/tenant.json"}, code: 1, stderr: "no such file or directory"},
		"generated":                {args: []string{"graph", "generate", "--users", "20", "--seed", "7", "--now", "2026-11-23T09:00:00Z"}, code: 0, stdout: "\"displayName\":\"Emergency Access 1\""},
		"unknown of graph":         {args: []string{"graph", "genrate"}, code: 2, stderr: "genrate"},
		"negative latency":         {args: []string{"graph", "--latency", "-1s"}, code: 2, stderr: "Error: --latency is negative\nTry: mfaflow graph --help\n"},

		"valid event": {args: []string{"event", "validate", sample}, code: 0, stdout: sample + ": valid employee.joiner\n"},
		"event from standard input": {
			args: []string{"event", "validate", "-"}, stdin: `{"specversion":"1.0"}`, code: 1,
			stdout: "-: /", stderr: "Error: not all events are valid\nTry: compare with the samples in events/README.md\n",
		},
		"event of unknown type": {
			args: []string{"event", "validate", "-", "--json"}, code: 1,
			stdin:  `{"specversion":"1.0","id":"1","source":"s","type":"employee.promoted","time":"2026-11-23T08:15:00Z","data":{}}`,
			stdout: `"valid": false`, stderr: "not all events are valid",
		},
		"no such file": {args: []string{"event", "validate", "/nowhere"}, code: 1, stderr: "Error: open /nowhere: no such file or directory\n"},

		"sign": {
			args: []string{"event", "sign", "-", "--id", "msg_1", "--at", "2026-11-23T08:15:00Z"}, stdin: `{"a":1}`, env: signing, code: 0,
			stdout: "webhook-id: msg_1\nwebhook-timestamp: 1795421700\nwebhook-signature: v1,",
		},
		"sign without a key": {args: []string{"event", "sign", "-", "--id", "1"}, code: 1, stderr: "Error: no key to sign with\nTry: --key-file FILE, or set MFAFLOW_SIGNING_KEY\n"},
		"sign with a bad key": {
			args: []string{"event", "sign", "-", "--id", "1"}, env: []string{config.SigningKey + "=hunter2"}, code: 1, stderr: "Error: ",
		},
		"sign what has no id": {args: []string{"event", "sign", "-"}, stdin: "{}", env: signing, code: 1, stderr: "Try: --id, or mfaflow event validate\n"},
		"sign at no time":     {args: []string{"event", "sign", "-", "--at", "noon"}, env: signing, code: 2, stderr: "--at is not an RFC 3339 time"},
		"send without a URL":  {args: []string{"event", "send", sample}, env: signing, code: 2, stderr: "Error: --url says where to post and is missing\n"},
		"send to nobody": {
			args: []string{"event", "send", sample, "--url", "http://127.0.0.1:1/hr/x"}, env: signing, code: 1,
			stderr: "Try: check that the function listens at http://127.0.0.1:1/hr/x\n",
		},

		"settings of all":        {args: []string{"config"}, code: 0, stdout: "| variable | default | read by | meaning |"},
		"settings of one":        {args: []string{"config", "hr-events"}, code: 0, stdout: "| `MFAFLOW_LISTEN` |"},
		"settings of nobody":     {args: []string{"config", "nobody"}, code: 2, stderr: "Error: unknown function \"nobody\": there are hr-events, graph-notifications, risk-signals, identity-router, identity-worker, flag-notifier, tenant-sweep, readiness-report, event-replay\n"},
		"check without a name":   {args: []string{"config", "--check"}, code: 2, stderr: "--check needs the name of a function"},
		"check of bad settings":  {args: []string{"config", "hr-events", "--check"}, code: 1, stderr: "hr-events would not start:\nMFAFLOW_SOURCES is required\nMFAFLOW_SERVICEBUS_NAMESPACE is required, or MFAFLOW_SERVICEBUS_CONNECTION_STRING in development\nTry: mfaflow config hr-events\n"},
		"functions not built":    {args: []string{"local", "--bin", "/nowhere"}, code: 1, stderr: "Error: function not built: /nowhere/flag-notifier\nTry: make build, or --bin FOLDER\n"},
		"tenant that is no file": {args: []string{"graph", "--tenant", "/nowhere"}, code: 1, stderr: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, c.stdin, c.env, c.args...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d", got.code, c.code)
			}
			for _, s := range []struct{ name, got, want string }{{"stdout", got.stdout, c.stdout}, {"stderr", got.stderr, c.stderr}} {
				if !strings.Contains(s.got, s.want) || s.want == "" && s.got != "" {
					t.Errorf("%s is %q, want %q", s.name, s.got, s.want)
				}
			}
			if strings.Contains(got.stdout+got.stderr, "hunter2") {
				t.Errorf("a key shows: %s%s", got.stdout, got.stderr)
			}
		})
	}
}

// clear takes variables of ours out of the environment.
func clear(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "MFAFLOW_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
}

const connection = "Endpoint=sb://localhost;SharedAccessKeyName=k;SharedAccessKey=k;UseDevelopmentEmulator=true"

// The check refuses what the function would refuse, all of it at once.
func TestConfigCheck(t *testing.T) {
	const source = `{"name": "workday", "format": "cloudevents", "types": ["employee.*"], "verify": {"preset": "standard-webhooks"}}`
	app := []string{
		"MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection, "MFAFLOW_TENANT_ID", "contoso.com", "MFAFLOW_CLIENT_ID", "c", "MFAFLOW_CLIENT_SECRET", "s",
	}
	for name, c := range map[string]struct {
		function string
		vars     []string
		want     []string // each must be contained, in order; none means accepted
	}{
		"hr-events complete": {"hr-events", []string{
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection, "MFAFLOW_SOURCES", "[" + source + "]", "MFAFLOW_SOURCE_KEYS", `{"workday": ["` + key + `"]}`,
		}, nil},
		"garbage and no keys": {"hr-events", []string{"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "hunter2", "MFAFLOW_SOURCES", "[" + source + "]"}, []string{
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING is not a connection string", `MFAFLOW_SOURCES: source "workday": `,
		}},
		"keys of nobody, a source twice": {"hr-events", []string{
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection, "MFAFLOW_SOURCES", "[" + source + "," + source + "]",
			"MFAFLOW_SOURCE_KEYS", `{"workday": ["` + key + `"], "other": ["` + key + `"]}`,
		}, []string{`keys of "other": no source of that name`, `source "workday": is there twice`}},
		"no sources": {"hr-events", []string{"MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection, "MFAFLOW_SOURCES", "[]"}, []string{
			"MFAFLOW_SOURCES: no source is configured",
		}},
		"keys that do not parse": {"hr-events", []string{
			"MFAFLOW_SERVICEBUS_CONNECTION_STRING", connection, "MFAFLOW_SOURCES", `{"name": 1}`, "MFAFLOW_SOURCE_KEYS", "hunter2",
		}, []string{"MFAFLOW_SOURCE_KEYS is not a JSON object", "MFAFLOW_SOURCES: sources: "}},
		"router complete": {"identity-router", app, nil},
		"bad record source": {"identity-router", append([]string{
			"MFAFLOW_RECORD_SOURCES", `[{"source": "workday", "url": "http://hunter2.example/{employeeId}", "mapping": "nosuch"}]`, "MFAFLOW_SESSIONS", "0",
		}, app...), []string{
			"MFAFLOW_SESSIONS is not between 1 and 256", `MFAFLOW_RECORD_SOURCES: hr api "workday": mapping: `, "url: is not https",
		}},
		"operators of no role": {"event-replay", append([]string{
			"MFAFLOW_SOURCE_SCOPES", `{"workday": ["employee.*"]}`, "MFAFLOW_DEFAULT_TIME_ZONE", "Europe/Berlin", "MFAFLOW_OPERATOR_ROLES", "arn:aws:iam::123456789012:user/hunter2",
		}, app...), []string{"MFAFLOW_OPERATOR_ROLES: a role of operators is not an ARN such as"}},
		"notifier with a bad key": {"flag-notifier", []string{
			"MFAFLOW_FLAG_WEBHOOK_URL", "https://flags.contoso.com/", "MFAFLOW_FLAG_WEBHOOK_KEY", "hunter2", "MFAFLOW_IDLE_EXIT", "hunter2",
		}, []string{
			"MFAFLOW_IDLE_EXIT is not a duration", "MFAFLOW_SERVICEBUS_NAMESPACE is required", "MFAFLOW_FLAG_WEBHOOK_KEY is not whsec_",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			clear(t)
			for i := 0; i < len(c.vars); i += 2 {
				t.Setenv(c.vars[i], c.vars[i+1])
			}
			got := run(t, "", nil, "config", c.function, "--check")
			if len(c.want) == 0 {
				if got.code != 0 || got.stdout != c.function+": the settings are complete\n" {
					t.Errorf("got %+v", got)
				}
				return
			}
			rest := got.stderr
			for _, want := range c.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Errorf("%q is not in %q", want, rest)
				}
				rest = after
			}
			if got.code != 1 || strings.Contains(got.stderr, "hunter2") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestConfigAsJSON(t *testing.T) {
	got := run(t, "", nil, "config", "identity-worker", "--json")
	var list []config.Setting
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || got.code != 0 || len(list) < 10 || list[0].Variable != "MFAFLOW_LOG_LEVEL" {
		t.Errorf("got %+v (%v)", got, err)
	}
}

// What sign prints is what a receiver accepts, for these bytes and no others.
func TestSignedHeadersVerify(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, "", nil, "event", "sign", "--key-file", keyFile, "--json", sample)
	var printed map[string]string
	if err := json.Unmarshal([]byte(got.stdout), &printed); err != nil {
		t.Fatalf("%+v: %v", got, err)
	}
	h := http.Header{}
	for name, value := range printed {
		h.Set(name, value)
	}
	v := verifier(t)
	if d, err := v.Verify(h, body, time.Now()); err != nil || d.ID != "hr-70001" {
		t.Errorf("got %+v, %v", d, err)
	}
	if _, err := v.Verify(h, append(body, ' '), time.Now()); err == nil {
		t.Error("other bytes are accepted")
	}
}

func verifier(t *testing.T) *webhook.Verifier {
	v, err := webhook.New(webhook.Config{Preset: "standard-webhooks", Keys: webhook.Keys{identity.NewSecret(key)}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSend(t *testing.T) {
	v := verifier(t)
	status := http.StatusAccepted
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(r.Header, body, time.Now()); err != nil || r.Header.Get("Content-Type") != "application/cloudevents+json" {
			t.Errorf("got %v with %v", err, r.Header)
		}
		w.WriteHeader(status)
		io.WriteString(w, "as said\n")
	}))
	defer receiver.Close()
	defer http.DefaultClient.CloseIdleConnections()
	env := []string{config.SigningKey + "=" + key}

	if got := run(t, "", env, "event", "send", sample, "--url", receiver.URL); got.code != 0 || got.stdout != "202 Accepted\nas said\n" {
		t.Errorf("got %+v", got)
	}
	status = http.StatusUnauthorized
	got := run(t, "", env, "event", "send", sample, "--url", receiver.URL, "--json")
	if got.code != 1 || !strings.Contains(got.stdout, `"status": 401`) || !strings.HasPrefix(got.stderr, "Error: the event was refused with 401\nTry: --key-file ") {
		t.Errorf("got %+v", got)
	}
}

// A simulator says first where it is, answers there, and ends with the context.
func TestSimulators(t *testing.T) {
	tenant := filepath.Join(t.TempDir(), "tenant.json")
	if got := run(t, "", nil, "graph", "generate", "--users", "50", "-o", tenant); got.code != 0 || got.stdout != "" || !strings.Contains(got.stderr, "tenant.json: 50 users, ") {
		t.Fatalf("generate: %+v", got)
	}
	for name, c := range map[string]struct {
		args  []string
		first []string // what the lines begin with
		probe func(lines []string) string
	}{
		"servicebus": {
			args:  []string{"servicebus", "--queue", "orders"},
			first: []string{"SERVICEBUS_CONNECTION_STRING=Endpoint=sb://127.0.0.1:", "SERVICEBUS_ADMIN_URL=http://127.0.0.1:"},
			probe: func(lines []string) string { return strings.TrimPrefix(lines[1], "SERVICEBUS_ADMIN_URL=") + "/orders" },
		},
		"graph": {
			args:  []string{"graph"},
			first: []string{"GRAPH_URL=http://127.0.0.1:", "GRAPH_AUTHORITY_URL=https://127.0.0.1:", "GRAPH_CA_FILE=", "GRAPH_TENANT_ID="},
			probe: func(lines []string) string { return strings.TrimPrefix(lines[0], "GRAPH_URL=") + "/sim/users" },
		},
		"graph of a generated tenant": {
			args:  []string{"graph", "--tenant", tenant},
			first: []string{"GRAPH_URL=http://127.0.0.1:", "GRAPH_AUTHORITY_URL=https://127.0.0.1:", "GRAPH_CA_FILE=", "GRAPH_TENANT_ID="},
			probe: func(lines []string) string { return strings.TrimPrefix(lines[0], "GRAPH_URL=") + "/sim/users" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			out, w := io.Pipe()
			done := make(chan int)
			var problems bytes.Buffer
			go func() {
				code := cli.Run(ctx, c.args, strings.NewReader(""), w, &problems, nil)
				w.Close()
				done <- code
			}()
			var lines []string
			for scan := bufio.NewScanner(out); len(lines) < len(c.first) && scan.Scan(); {
				lines = append(lines, scan.Text())
			}
			for i, want := range c.first {
				if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
					t.Fatalf("line %d of %q does not begin with %q (%s)", i, lines, want, problems.String())
				}
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.probe(lines), nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("%s answers %d", r.URL, response.StatusCode)
			}
			http.DefaultClient.CloseIdleConnections()
			stop()
			if code := <-done; code != 0 {
				t.Errorf("exit code %d: %s", code, problems.String())
			}
		})
	}
}
