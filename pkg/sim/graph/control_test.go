package graph_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"mfaflow/pkg/sim/graph"
)

func TestControl(t *testing.T) {
	s := start(t)
	sim := func(method, path string, body any) answer { return s.rawControl(method, path, body) }

	_, value := s.issue(joiner, nil)
	s.worker("POST", "/v1.0/users/"+sender+"/sendMail", mailTo("amara.diallo@contoso.example")).want(t, 202, "")
	for name, tc := range map[string]struct {
		method, path string
		body         any
		status       int
		contains     string
	}{
		"index":            {"GET", "/sim", nil, 200, "/sim/mailboxes"},
		"users":            {"GET", "/sim/users", nil, 200, `"the model joiner`},
		"apps":             {"GET", "/sim/apps", nil, 200, `"identity-worker"`},
		"mailboxes":        {"GET", "/sim/mailboxes", nil, 200, "amara.diallo@contoso.example"},
		"mailbox":          {"GET", "/sim/mailboxes/amara.diallo@contoso.example", nil, 200, `"subject": "Welcome"`},
		"empty mailbox":    {"GET", "/sim/mailboxes/nobody@contoso.example", nil, 200, "[]"},
		"requests":         {"GET", "/sim/requests", nil, 200, "/sendMail"},
		"fault":            {"POST", "/sim/faults", `{"kind":"status","status":503,"path":"/never"}`, 200, `"id"`},
		"bad fault":        {"POST", "/sim/faults", `{"kind":"explode"}`, 400, "unknown kind"},
		"misspelt fault":   {"POST", "/sim/faults", `{"kid":"cut"}`, 400, "unknown field"},
		"throttle":         {"PUT", "/sim/throttle", `{"factor":0}`, 200, `"factor"`},
		"latency":          {"PUT", "/sim/latency", `{"milliseconds":0}`, 200, ""},
		"provision":        {"POST", "/sim/provision", `{"employeeId":"E1041"}`, 200, "nadia.haddad"},
		"provision nobody": {"POST", "/sim/provision", `{"employeeId":"E9"}`, 400, "nobody"},
		"sign in":          {"POST", "/sim/sign-in", map[string]string{"user": joiner, "pass": value}, 200, "true"},
		"sign in wrongly":  {"POST", "/sim/sign-in", map[string]string{"user": joiner, "pass": "x"}, 403, "wrong"},
		"unknown":          {"GET", "/sim/unicorns", nil, 404, ""},
		"no such fault":    {"DELETE", "/sim/faults/99", nil, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if a := sim(tc.method, tc.path, tc.body); a.status != tc.status || !strings.Contains(a.text, tc.contains) {
				t.Errorf("answer %d %s", a.status, a.text)
			}
		})
	}
	if a := sim("DELETE", "/sim/faults", nil); a.status != 204 || len(s.Faults()) != 0 {
		t.Errorf("faults left: %v", s.Faults())
	}
	if a := sim("DELETE", "/sim/requests", nil); a.status != 204 || len(s.Requests()) != 0 {
		t.Error("requests left")
	}
}

// rawControl answers with text, since control answers may be JSON arrays.
func (s *sim) rawControl(method, path string, body any) answer {
	s.t.Helper()
	var text string
	switch b := body.(type) {
	case nil:
	case string:
		text = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(data)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+path, strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{status: resp.StatusCode, text: string(data)}
}

func TestRequestLog(t *testing.T) {
	s := start(t)
	_, value := s.issue(joiner, nil)
	s.batch("v1.0", item{"id": "1", "method": "GET", "url": "/users/" + joiner + "?$select=id", "headers": item{"client-request-id": "mine"}})
	s.worker("GET", "/v1.0/users/nobody", nil, "client-request-id", "yours")
	got := s.Requests()
	if len(got) != 4 {
		t.Fatalf("%d requests logged, want 4: %+v", len(got), got)
	}
	type row struct {
		method, path, query, app string
		status                   int
	}
	for i, want := range []row{
		{"POST", passPath(joiner), "", "identity-worker", 201},
		{"GET", "/v1.0/users/" + joiner, "%24select=id", "identity-worker", 200},
		{"POST", "/v1.0/$batch", "", "identity-worker", 200},
		{"GET", "/v1.0/users/nobody", "", "identity-worker", 404},
	} {
		r := got[i]
		if (row{r.Method, r.Path, r.Query, r.App, r.Status}) != want || r.ID == "" || !r.Time.Equal(t0) {
			t.Errorf("entry %d: %+v, want %+v", i, r, want)
		}
	}
	if got[1].ClientRequestID != "mine" || got[1].Batch != got[2].ID || got[3].ClientRequestID != "yours" {
		t.Errorf("ids %+v", got)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), value) {
		t.Error("the log holds the value of a pass")
	}
}

// Many callers at once leave a consistent tenant: each pass created is counted, one remains.
func TestConcurrentCallers(t *testing.T) {
	s := start(t)
	s.token("identity-worker")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if _, err := s.try("identity-worker", "POST", passPath(joiner), `{}`); err != nil {
					t.Error(err)
				}
				if _, err := s.try("identity-worker", "GET", "/v1.0/users?$expand=manager", nil); err != nil {
					t.Error(err)
				}
				s.Mutate(func(tn *graph.Tenant) { tn.User(joiner).Department = "Moving" })
				s.Users()
			}
		})
	}
	wg.Wait()
	if got := s.IssuedPassValues(); len(got) != 200 {
		t.Errorf("%d passes issued, want 200", len(got))
	}
	if got := s.Passes(joiner); len(got) != 1 {
		t.Errorf("%d passes left, want 1", len(got))
	}
}
