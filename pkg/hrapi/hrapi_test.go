package hrapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/router"
	"mfaflow/pkg/sim/hr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "hr-token-0815"

var at = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// thin is an event that carries an id and nothing else.
func thin(employeeID string) event.Event {
	data, _ := json.Marshal(map[string]any{"person": map[string]any{"employeeId": employeeID}})
	return event.Event{ID: "1", Source: "https://hr", Origin: "bob", Key: "bob:1", Type: event.Ref, Time: at, ReceivedAt: at.Add(time.Second), CorrelationID: "c", Data: data}
}

func client(t *testing.T, root string, more ...func(*hrapi.API)) *hrapi.Client {
	t.Helper()
	schemas, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	a := hrapi.API{
		Source: "bob", URL: root + "/employees/{employeeId}", Mapping: "record", TimeZone: "Europe/Berlin",
		Headers: map[string]identity.Secret{"Authorization": identity.NewSecret("Bearer " + token)},
	}
	for _, change := range more {
		change(&a)
	}
	transport := &http.Transport{}
	c, err := hrapi.New([]hrapi.API{a}, schemas, transport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

func server(t *testing.T) *hr.Server {
	t.Helper()
	s, err := hr.Start(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestRecordBecomesEvents(t *testing.T) {
	s := server(t)
	c := client(t, s.URL())
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: "2026-12-01"})
	s.Set(hr.Record{EmployeeID: "E1002", Status: "active"})
	events, err := c.Events(t.Context(), thin("E1004"))
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	e := events[0]
	d, err := e.Employment()
	if err != nil || e.Type != event.Joiner || e.Key != "bob:1#employee.joiner" || !e.Time.Equal(at) || e.Origin != "bob" ||
		e.CorrelationID != "c" || d.TimeZone != "Europe/Berlin" || d.StartDate.String() != "2026-12-01" {
		t.Errorf("%+v, %+v, %v", e, d, err)
	}
	if events, err := c.Events(t.Context(), thin("E1002")); err != nil || len(events) != 1 || events[0].Type != event.Cancelled {
		t.Errorf("neither starts nor leaves: %+v, %v", events, err)
	}
	other := thin("E1004")
	other.Origin = "humi"
	if _, err := c.Events(t.Context(), other); !errors.Is(err, router.ErrNoRecords) {
		t.Errorf("a source without an API: %v", err)
	}
}

func TestFailures(t *testing.T) {
	s := server(t)
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: "soon"})
	var retry *identity.RetryError
	for name, c := range map[string]struct {
		client   *hrapi.Client
		status   int
		employee string
		want     func(error) bool
	}{
		"no such record":      {client(t, s.URL()), 0, "E9999", func(err error) bool { return errors.Is(err, identity.ErrNotFound) }},
		"wrong credentials":   {client(t, s.URL(), func(a *hrapi.API) { a.Headers = nil }), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrForbidden) }},
		"throttled":           {client(t, s.URL()), 429, "E1004", func(err error) bool { return errors.As(err, &retry) }},
		"out of order":        {client(t, s.URL()), 500, "E1004", func(err error) bool { return errors.As(err, &retry) }},
		"refused":             {client(t, s.URL()), 400, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"record that is bad":  {client(t, s.URL()), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"id that is a path":   {client(t, s.URL()), 0, "../admin", func(err error) bool { return errors.Is(err, identity.ErrNotFound) }},
		"id that goes up":     {client(t, s.URL()), 0, "..", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"nobody there":        {client(t, "http://127.0.0.1:1"), 0, "E1004", func(err error) bool { return errors.As(err, &retry) }},
		"redirected":          {client(t, redirect(t, s.URL())), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"two of one type":     {client(t, s.URL(), func(a *hrapi.API) { a.Mapping = twice }), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"mapping that fails":  {client(t, s.URL(), func(a *hrapi.API) { a.Mapping = "error(.employeeId)" }), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"answer without end":  {client(t, endless(t)), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"answer that is HTML": {client(t, answering(t, "<html>")), 0, "E1004", func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
	} {
		t.Run(name, func(t *testing.T) {
			s.Fail(c.status)
			defer s.Fail(0)
			_, err := c.client.Events(t.Context(), thin(c.employee))
			if err == nil || !c.want(err) {
				t.Fatalf("got %v", err)
			}
			for _, private := range []string{token, "E1004", "soon"} {
				if strings.Contains(err.Error(), private) {
					t.Errorf("the error tells %q: %v", private, err)
				}
			}
		})
	}
}

const twice = `{type: "employee.leaver", data: {person: {employeeId}, immediate: true}} | ., .`

func redirect(t *testing.T, to string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to+r.URL.Path, http.StatusFound) })
}

func answering(t *testing.T, body string) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) })
}

func endless(t *testing.T) string { return answering(t, `"`+strings.Repeat("x", 2<<20)+`"`) }

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestConfiguration(t *testing.T) {
	schemas, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	good := hrapi.API{Source: "bob", URL: "https://api.example/v1/{employeeId}?company={company}", Mapping: "record"}
	for name, change := range map[string]func(*hrapi.API){
		"no source":            func(a *hrapi.API) { a.Source = "" },
		"no https":             func(a *hrapi.API) { a.URL = "http://api.example/{employeeId}" },
		"names nobody":         func(a *hrapi.API) { a.URL = "https://api.example/employees" },
		"placeholder unknown":  func(a *hrapi.API) { a.URL = "https://api.example/{shoeSize}" },
		"placeholder in host":  func(a *hrapi.API) { a.URL = "https://{company}.example/{employeeId}" },
		"host to be filled in": func(a *hrapi.API) { a.URL = "https://<company>.example/{employeeId}" },
		"key to be filled in":  func(a *hrapi.API) { a.Basic = identity.NewSecret("<API key>:x") },
		"token to be filled in": func(a *hrapi.API) {
			a.Headers = map[string]identity.Secret{"Authorization": identity.NewSecret("Bearer <access token>")}
		},
		"client to be filled in": func(a *hrapi.API) {
			a.OAuth = &hrapi.OAuth{TokenURL: "https://api.example/token", ClientID: "<client id>", ClientSecret: identity.NewSecret("s")}
		},
		"password in the URL": func(a *hrapi.API) { a.URL = "https://u:p@api.example/{employeeId}" },
		"two ways in": func(a *hrapi.API) {
			a.Basic = identity.NewSecret("u:p")
			a.Headers = map[string]identity.Secret{"authorization": identity.NewSecret("Bearer x")}
		},
		"basic without a user": func(a *hrapi.API) { a.Basic = identity.NewSecret("key") },
		"oauth without a key":  func(a *hrapi.API) { a.OAuth = &hrapi.OAuth{TokenURL: "https://api.example/token", ClientID: "c"} },
		"oauth without https": func(a *hrapi.API) {
			a.OAuth = &hrapi.OAuth{TokenURL: "http://api.example/token", ClientID: "c", ClientSecret: identity.NewSecret("s")}
		},
		"body that is no JSON":           func(a *hrapi.API) { a.Body = []byte(`{"a":1,"a":2}`) },
		"body that asks for a shoe size": func(a *hrapi.API) { a.Body = []byte(`{"a":["{shoeSize}"]}`) },
		"mapping unknown":                func(a *hrapi.API) { a.Mapping = "bamboo" },
		"mapping broken":                 func(a *hrapi.API) { a.Mapping = "{" },
	} {
		t.Run(name, func(t *testing.T) {
			a := good
			change(&a)
			if _, err := hrapi.New([]hrapi.API{a}, schemas, nil); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := hrapi.New([]hrapi.API{good}, schemas, nil); err != nil {
		t.Error(err)
	}
	if _, err := hrapi.New([]hrapi.API{good, good}, schemas, nil); err == nil {
		t.Error("one source twice is accepted")
	}
	for _, raw := range []string{`{}`, `[{"source":"a","uri":"x"}]`, `[{"source":"a","source":"b"}]`} {
		if _, err := hrapi.Parse([]byte(raw)); err == nil {
			t.Errorf("%s is accepted", raw)
		}
	}
}
