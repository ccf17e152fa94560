package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/cli"
)

// visitor is a browser that has followed the link of a console.
type visitor struct {
	t      *testing.T
	http   *http.Client
	origin string
	first  string // the page that the link led to
	csrf   string
	// end stops the console, as Ctrl-C does, and returns its exit code and log.
	end func() (int, string)
}

// visit starts mfaflow console and follows its link.
func visit(t *testing.T, env []string) *visitor {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var log bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, []string{"console"}, nil, in, &log, env)
		in.Close()
	}()
	said := make([]byte, 512)
	n, err := out.Read(said)
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, out)
		close(drained)
	}()
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/enter\?token=\S+`).FindString(string(said[:n]))
	if link == "" {
		t.Fatalf("no link: %s", said[:n])
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	connections := &http.Transport{}
	v := &visitor{t: t, http: &http.Client{Jar: jar, Transport: connections}, origin: link[:strings.Index(link, "/enter")]}
	ended := false
	v.end = func() (int, string) {
		ended = true
		connections.CloseIdleConnections()
		stop()
		got := <-code
		<-drained
		return got, log.String()
	}
	t.Cleanup(func() {
		if !ended {
			v.end()
		}
	})
	v.first, _ = v.read(v.http.Get(link))
	v.csrf = v.field(v.first, "csrf")
	return v
}

func (v *visitor) read(r *http.Response, err error) (page, path string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		v.t.Fatalf("%d %v: %s", r.StatusCode, err, body)
	}
	return string(body), r.Request.URL.Path
}

func (v *visitor) get(path string) string {
	v.t.Helper()
	page, _ := v.read(v.http.Get(v.origin + path))
	return page
}

func (v *visitor) post(path string, form url.Values) (page, at string) {
	v.t.Helper()
	form.Set("csrf", v.csrf)
	return v.read(v.http.PostForm(v.origin+path, form))
}

func (v *visitor) field(page, name string) string {
	v.t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)
	if m == nil {
		v.t.Fatalf("no field %s in %s", name, page)
	}
	return m[1]
}

// plan makes a plan and waits for it.
func (v *visitor) plan(form url.Values) string {
	v.t.Helper()
	page, at := v.post("/plans", form)
	for strings.Contains(page, "Making a plan") {
		page = v.get(at)
	}
	return page
}

// replay starts to replay a plan.
func (v *visitor) replay(plan, rate, why string) (at string) {
	v.t.Helper()
	_, at = v.post("/replays", url.Values{"plan": {v.field(plan, "plan")}, "digest": {v.field(plan, "digest")}, "rate": {rate}, "why": {why}})
	return at
}

// finished reads the page of a replay until it is over.
func (v *visitor) finished(at string) string {
	v.t.Helper()
	for {
		page := v.get(at)
		if strings.Contains(page, `data-phase="finished"`) {
			return page
		}
		if !strings.Contains(page, `data-phase="running"`) {
			v.t.Fatal(page)
		}
	}
}

// The console of the command line, over the client and the handler of event-replay: dead
// letters are planned and replayed by who runs the command.
func TestConsole(t *testing.T) {
	clear(t)
	s := newShelf(3)
	v := visit(t, announced(t, s))
	if !strings.Contains(v.first, "forbidden") || !strings.Contains(v.first, me(t)) {
		t.Errorf("overview: %s", v.first)
	}
	v.finished(v.replay(v.plan(url.Values{"id": {"lanes:1", "lanes:3"}}), "0", "granted"))
	s.mu.Lock()
	if want := []string{me(t) + ", granted: replay hr:1", me(t) + ", granted: replay hr:3"}; !slices.Equal(s.said, want) {
		t.Errorf("said %q, want %q", s.said, want)
	}
	s.mu.Unlock()
	code, log := v.end()
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(log, `"did":"start replay"`) || strings.Contains(log, "token=") {
		t.Errorf("log: %s", log)
	}
}

func TestConsoleIsNotExposed(t *testing.T) {
	clear(t)
	env := announced(t, newShelf(0))
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:0"} {
		got := run(t, "", env, "console", "--listen", address)
		if got.code != 2 || !strings.Contains(got.stderr, "listens on loopback only") {
			t.Errorf("%s: %d %s", address, got.code, got.stderr)
		}
	}
}

// What is missing for an exposed console is said before anything is asked of anybody.
func TestConsoleCannotBeExposedLikeThat(t *testing.T) {
	clear(t)
	full := []string{"console", "--origin", "https://console.contoso.example", "--issuer", "https://idp.example", "--client-id", "c", "--role", "arn:aws:iam::123456789012:role/console"}
	operations := []string{"MFAFLOW_OPERATIONS_URL=https://abc123.lambda-url.eu-west-1.on.aws"}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env, args []string
		want      string
	}{
		"no issuer":               {operations, append(full[:3:3], full[5:]...), "--issuer is missing"},
		"no role":                 {operations, full[:7], "--role is missing"},
		"certificate alone":       {operations, append(full, "--certificate", "x"), "--certificate and --key go together"},
		"certificate unread":      {operations, append(full, "--certificate", empty, "--key", empty), "--certificate and --key"},
		"certificate, no origin":  {operations, []string{"console", "--certificate", "x", "--key", "x"}, "for an exposed console"},
		"session of a day":        {operations, append(full, "--session", "24h"), "--session is between"},
		"secret that is not":      {operations, append(full, "--client-secret-file", empty), "--client-secret-file"},
		"stack of this machine":   {nil, full, "function URL"},
		"function URL in clear":   {[]string{"MFAFLOW_OPERATIONS_URL=http://abc123.lambda-url.eu-west-1.on.aws"}, full, "function URL"},
		"function URL with paths": {[]string{"MFAFLOW_OPERATIONS_URL=https://abc123.lambda-url.eu-west-1.on.aws/x"}, full, "origin"},
	} {
		if got := run(t, "", c.env, c.args...); got.code != 2 || !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s: %d %s", name, got.code, got.stderr)
		}
	}
	nobody := append(full, "--issuer", "https://127.0.0.1:1")
	if got := run(t, "", operations, nobody...); got.code != 1 || !strings.Contains(got.stderr, "openid-configuration must be there") {
		t.Errorf("no provider: %d %s", got.code, got.stderr)
	}
}

// On the stack: dead letters of all kinds are planned and replayed in the console. It ends
// on the way; another one goes on, and everything has happened once.
func TestConsoleGetsAStackUnstuck(t *testing.T) {
	s := startStuck(t)
	s.breakLanes(t)
	dead := func() int { return s.dead("lanes") }
	s.Graph.ClearFaults()

	first := visit(t, s.env)
	for _, want := range []string{"forbidden", "Destructive changes"} {
		if !strings.Contains(first.first, want) {
			t.Errorf("the overview does not say %q", want)
		}
	}
	list := first.get("/entries?type=employee.leaver")
	at := regexp.MustCompile(`/entries/lanes/\d+`).FindString(list)
	if entry := first.get(at); !strings.Contains(entry, "A replay now") || !strings.Contains(entry, "grant the permission") && !strings.Contains(entry, "Grant the permission") {
		t.Errorf("an entry: %s", entry)
	}
	plan := first.plan(url.Values{"all": {"1"}})
	for _, want := range []string{"issue-pass", "block-sign-in", "would be held"} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %q in the plan", want)
		}
	}
	if dead() != 3 {
		t.Fatal("a plan changed something")
	}
	first.replay(plan, "1", "permission is back")
	s.until(t, "a part is replayed", func() bool { return dead() < 3 })
	first.end()
	if dead() == 0 {
		t.Error("everything was replayed before the console ended")
	}

	second := visit(t, s.env)
	if page := second.finished(second.replay(second.plan(url.Values{"all": {"1"}}), "0", "permission is back")); strings.Contains(page, "Not replayed") {
		t.Errorf("not everything was replayed: %s", page)
	}
	s.until(t, "the effects", func() bool {
		lanes, _ := s.Bus.Counts("lanes")
		leaver, _ := s.Person("E1005")
		joiner, _ := s.Person("E1004")
		return dead() == 0 && lanes.Active == 0 && !leaver.AccountEnabled && len(s.Graph.Passes(joiner.ID)) == 1 && strings.Contains(s.of("identity-worker"), `"outcome":"waiting: held"`)
	})
	if n := len(s.Graph.IssuedPassValues()); n != 1 {
		t.Errorf("%d passes were issued", n)
	}
	hold := regexp.MustCompile(`/holds/\d+`).FindString(second.get("/holds"))
	if hold == "" {
		t.Fatalf("no hold: %s", second.get("/holds"))
	}
	second.post(hold, url.Values{"decision": {"release"}, "why": {"asked the manager"}})
	s.until(t, "the first of two approvals", func() bool { return strings.Contains(s.of("identity-worker"), "approved: 1 of 2") })
	// The worker holds the lane for a moment more, and nobody can tell meanwhile.
	s.until(t, "the page knows it", func() bool { return strings.Contains(second.get(hold), "You have approved") })
}
