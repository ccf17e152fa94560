package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/sim/clock"
	"mfaflow/pkg/sim/graph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// t0 is the time of every test server with a manual clock.
var t0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// The sample tenant's people, by purpose.
const (
	engineeringManager = "10000000-0000-4000-8000-000000000003"
	joiner             = "10000000-0000-4000-8000-000000000004"
	joinerNoManager    = "10000000-0000-4000-8000-000000000005"
	excluded           = "10000000-0000-4000-8000-000000000010"
	sixMethods         = "10000000-0000-4000-8000-000000000011"
	phonesOnly         = "10000000-0000-4000-8000-000000000012"
	rareMethods        = "10000000-0000-4000-8000-000000000013"
	unknownMethod      = "10000000-0000-4000-8000-000000000014"
	administrator      = "10000000-0000-4000-8000-000000000015"
	eligible           = "10000000-0000-4000-8000-000000000016"
	roleGroupMember    = "10000000-0000-4000-8000-000000000017"
	synced             = "10000000-0000-4000-8000-000000000020"
	externalGuest      = "10000000-0000-4000-8000-000000000023"
	internalGuest      = "10000000-0000-4000-8000-000000000024"
	sender             = "onboarding@contoso.example"

	mobileID    = "3179e48a-750b-4051-897c-87b9720928f7"
	alternateID = "b6332ec1-7057-4abe-9331-3d72feddfe41"
)

// sim is a server with a manual clock and a client that speaks plain HTTP to it.
type sim struct {
	*graph.Server
	t      *testing.T
	clock  *clock.Manual
	tokens map[string]string
	http   *http.Client
}

func start(t *testing.T) *sim {
	t.Helper()
	return startWith(t, graph.Options{})
}

func startWith(t *testing.T, o graph.Options) *sim {
	t.Helper()
	s := &sim{t: t, clock: clock.NewManual(t0), tokens: make(map[string]string), http: &http.Client{Transport: &http.Transport{}}}
	o.Clock = s.clock
	srv, err := graph.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = srv
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// token is an access token of an app, asked for once.
func (s *sim) token(app string) string {
	s.t.Helper()
	if s.tokens[app] == "" {
		id, secret := s.App(app)
		resp, err := s.http.PostForm(s.URL()+"/"+s.TenantID()+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "scope": {"https://graph.microsoft.com/.default"}})
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		var body struct {
			Token string `json:"access_token"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Token == "" {
			s.t.Fatalf("no token for %s: %d %v", app, resp.StatusCode, err)
		}
		s.tokens[app] = body.Token
	}
	return s.tokens[app]
}

// answer is a decoded HTTP answer.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a answer) value() []any { v, _ := a.body["value"].([]any); return v }

func (a answer) errorCode() string {
	e, _ := a.body["error"].(map[string]any)
	c, _ := e["code"].(string)
	return c
}

func (a answer) errorMessage() string {
	e, _ := a.body["error"].(map[string]any)
	c, _ := e["message"].(string)
	return c
}

// ids are the ids of the values of a collection.
func (a answer) ids() []string {
	var out []string
	for _, v := range a.value() {
		id, _ := v.(map[string]any)["id"].(string)
		out = append(out, id)
	}
	return out
}

// as calls Graph as an app. path is below the root, e.g. /v1.0/users.
func (s *sim) as(app, method, path string, body any, header ...string) answer {
	s.t.Helper()
	a, err := s.try(app, method, path, body, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *sim) try(app, method, path string, body any, header ...string) (answer, error) {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	if !strings.HasPrefix(path, "http") {
		path = s.URL() + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, strings.ReplaceAll(path, " ", "%20"), reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if app != "" {
		req.Header.Set("Authorization", "Bearer "+s.token(app))
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(data)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(data, &a.body); err != nil {
			s.t.Fatalf("%s %s: answer is not JSON: %v\n%s", method, path, err, data)
		}
	}
	return a, nil
}

// worker calls Graph with the permissions of the identity-worker.
func (s *sim) worker(method, path string, body any, header ...string) answer {
	s.t.Helper()
	return s.as("identity-worker", method, path, body, header...)
}

func (a answer) want(t *testing.T, status int, code string) answer {
	t.Helper()
	if a.status != status || a.errorCode() != code {
		t.Fatalf("answer %d %q, want %d %q\n%s", a.status, a.errorCode(), status, code, a.text)
	}
	return a
}

func TestStartIsFastAndEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv, err := graph.Start(ctx, graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := srv.Close(); err != nil { // waits for the close that the context began
		t.Errorf("Close: %v", err)
	}
	if resp, err := http.Get(srv.URL() + "/sim"); err == nil {
		resp.Body.Close()
		t.Error("the server still answers")
	}
}

func TestServePrintsWhereItIs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- graph.Serve(ctx, graph.Options{}, w); w.Close() }()
	buf := make([]byte, 4096)
	n, err := r.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, line := range strings.Split(strings.TrimSpace(string(buf[:n])), "\n") {
		key, value, ok := strings.Cut(line, "=")
		if !ok || value == "" {
			t.Errorf("line %q", line)
		}
		keys = append(keys, key)
	}
	if got, want := strings.Join(keys, " "), "GRAPH_URL GRAPH_AUTHORITY_URL GRAPH_CA_FILE GRAPH_TENANT_ID"; got != want {
		t.Errorf("printed %s, want %s", got, want)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// startChanged serves the sample tenant after a change.
func startChanged(t *testing.T, change func(*graph.Tenant)) *sim {
	t.Helper()
	people, err := graph.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	change(people)
	return startWith(t, graph.Options{Tenant: people})
}
