package hrapi_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"mfaflow/events"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/router"
	"mfaflow/pkg/sim/hr"
)

// vendor is the recommended API of a system, with the simulated host in place of its own
// and the secret in place of each word in angle brackets.
func vendor(t *testing.T, system, root, secret string) []hrapi.API {
	t.Helper()
	_, raw, err := mapping.Recommended(system)
	if err != nil || raw == nil {
		t.Fatalf("%s has no record: %v", system, err)
	}
	text := regexp.MustCompile(`https://[^/"]+`).ReplaceAllString(string(raw), root+"/"+system)
	text = regexp.MustCompile(`<[^>]+>`).ReplaceAllString(text, secret)
	list, err := hrapi.Parse([]byte("[" + text + "]"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func open(t *testing.T, list []hrapi.API) *hrapi.Client {
	t.Helper()
	schemas, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := hrapi.New(list, schemas, transport)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func of(system, employeeID string) event.Event {
	e := thin(employeeID)
	e.Origin = system
	return e
}

// vendors are those whose APIs are simulated.
var vendors = [...]string{"bamboohr", "hibob", "personio", "gusto", "deel"}

// Every vendor's API is asked as the vendor says, and its answer understood.
func TestVendors(t *testing.T) {
	s := server(t)
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: "2026-12-01"})
	s.Set(hr.Record{EmployeeID: "E1006", Status: "prehire", StartDate: "2026-12-01", LastDay: "2027-02-28"})
	s.Set(hr.Record{EmployeeID: "E1008", Status: "active", StartDate: "2019-03-01", LastDay: "2026-12-31"})
	s.Set(hr.Record{EmployeeID: "E1002", Status: "active", StartDate: "2019-03-01"})
	s.Set(hr.Record{EmployeeID: "E1027", Status: "terminated", StartDate: "2019-03-01", LastDay: "2026-11-20"})
	for _, system := range vendors {
		c := open(t, vendor(t, system, s.URL(), token))
		for employee, want := range map[string]string{
			"E1004": `employee.joiner {"person":{"employeeId":"E1004"},"startDate":"2026-12-01"}`,
			"E1006": `employee.joiner {"person":{"employeeId":"E1006"},"startDate":"2026-12-01"}, employee.leaver {"lastDay":"2027-02-28","person":{"employeeId":"E1006"}}`,
			"E1008": `employee.leaver {"lastDay":"2026-12-31","person":{"employeeId":"E1008"}}`,
			"E1002": `employee.cancelled {"cancels":"leaver","person":{"employeeId":"E1002"}}`,
			"E1027": `employee.leaver {"lastDay":"2026-11-20","person":{"employeeId":"E1027"}}`,
		} {
			events, err := c.Events(t.Context(), of(system, employee))
			if err != nil {
				t.Errorf("%s, %s: %v", system, employee, err)
				continue
			}
			if got := told(t, events); got != want {
				t.Errorf("%s, %s:\n got %s\nwant %s", system, employee, got, want)
			}
		}
		if _, err := c.Events(t.Context(), of(system, "E9999")); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: nobody: %v", system, err)
		}
	}
}

// told is each event's type and data, but for the zone.
func told(t *testing.T, events []event.Event) string {
	t.Helper()
	var list []string
	for _, e := range events {
		var data map[string]any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		delete(data, "timeZone")
		text, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(e.Type)+" "+string(text))
	}
	return strings.Join(list, ", ")
}

func TestVendorsFailures(t *testing.T) {
	s := server(t)
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: "2026-12-01"})
	for _, system := range vendors {
		_, err := open(t, vendor(t, system, s.URL(), "wrong")).Events(t.Context(), of(system, "E1004"))
		if !errors.Is(err, identity.ErrForbidden) || !strings.Contains(err.Error(), "MFAFLOW_RECORD_SOURCES") || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: wrong credentials: %v", system, err)
		}
		c := open(t, vendor(t, system, s.URL(), token))
		for status, after := range map[int]time.Duration{429: 7 * time.Second, 408: 0, 503: 7 * time.Second, 500: 0} {
			header := ""
			if after > 0 {
				header = "7"
			}
			s.FailFor(status, header)
			_, err := c.Events(t.Context(), of(system, "E1004"))
			var retry *identity.RetryError
			if !errors.As(err, &retry) || retry.After != after {
				t.Errorf("%s: %d: %v", system, status, err)
			}
		}
		s.Fail(403)
		if _, err := c.Events(t.Context(), of(system, "E1004")); !errors.Is(err, identity.ErrForbidden) || !strings.Contains(err.Error(), "let the API user") {
			t.Errorf("%s: 403: %v", system, err)
		}
		s.Fail(0)
	}
}

// A token is fetched once and used until it ends; one that the API no longer takes is
// replaced once.
func TestToken(t *testing.T) {
	s := server(t)
	s.Set(hr.Record{EmployeeID: "E1002", Status: "active", StartDate: "2019-03-01"})
	c := open(t, vendor(t, "personio", s.URL(), token))
	read := func() {
		t.Helper()
		if _, err := c.Events(t.Context(), of("personio", "E1002")); err != nil {
			t.Error(err)
		}
	}
	read()
	read()
	if tokens, records := s.Counts(); tokens != 1 || records != 2 {
		t.Errorf("%d tokens for %d records", tokens, records)
	}
	s.Expire()
	read()
	if tokens, records := s.Counts(); tokens != 2 || records != 3 {
		t.Errorf("after the end of the first: %d tokens for %d records", tokens, records)
	}
	s.Fail(401)
	if _, err := c.Events(t.Context(), of("personio", "E1002")); !errors.Is(err, identity.ErrForbidden) {
		t.Errorf("refused again and again: %v", err)
	}
	if tokens, _ := s.Counts(); tokens != 3 {
		t.Errorf("%d tokens: one more try, and no more", tokens)
	}
}

func TestTokenServiceFails(t *testing.T) {
	var retry *identity.RetryError
	for name, c := range map[string]struct {
		status int
		body   string
		want   func(error) bool
	}{
		"not there": {404, `{}`, func(err error) bool {
			return errors.Is(err, identity.ErrForbidden) && !errors.Is(err, identity.ErrNotFound)
		}},
		"out of order": {502, `{}`, func(err error) bool { return errors.As(err, &retry) }},
		"no token":     {200, `{"token_type":"Bearer"}`, func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
		"no JSON":      {200, `<html>`, func(err error) bool { return errors.Is(err, identity.ErrRefused) }},
	} {
		t.Run(name, func(t *testing.T) {
			root := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			if _, err := open(t, vendor(t, "personio", root, token)).Events(t.Context(), of("personio", "E1002")); !c.want(err) {
				t.Error(err)
			}
		})
	}
}

// The ids of an event go into the body as text, and nothing else of them.
func TestBody(t *testing.T) {
	var got map[string]any
	root := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(`{"employeeId":"E1002","status":"active"}`))
	})
	raw := `[{"source":"bob","url":"` + root + `/search","body":{"filters":[{"path":"root.id","values":["{employeeId}"],"most":1}],"all":true},"mapping":"record"}]`
	list, err := hrapi.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	id := `x","all":false,"{company}`
	if _, err := open(t, list).Events(t.Context(), thin(id)); err != nil {
		t.Fatal(err)
	}
	filter := got["filters"].([]any)[0].(map[string]any)
	if got["all"] != true || filter["values"].([]any)[0] != id || filter["most"] != float64(1) {
		t.Errorf("posted %v", got)
	}
}

// Derive reads an answer without asking for it.
func TestDerive(t *testing.T) {
	c := open(t, vendor(t, "gusto", "http://127.0.0.1:1", token))
	events, err := c.Derive(t.Context(), of("gusto", "E1004"), []byte(`[{"hire_date":"2026-12-01","termination_date":null}]`))
	if err != nil || told(t, events) != `employee.joiner {"person":{"employeeId":"E1004"},"startDate":"2026-12-01"}` {
		t.Errorf("%s, %v", told(t, events), err)
	}
	if _, err := c.Derive(t.Context(), of("humi", "E1004"), nil); !errors.Is(err, router.ErrNoRecords) {
		t.Error(err)
	}
}

// Whatever an API answers, it comes to nothing, to an error that quotes none of it, or to
// valid events, each of its own type and known by the key of the event that asked.
func FuzzDerive(f *testing.F) {
	schemas, err := catalog.New()
	if err != nil {
		f.Fatal(err)
	}
	var apis []hrapi.API
	for _, vendor := range vendors {
		files, err := fs.Glob(events.FS(), "hr/"+vendor+"-record/*.json")
		if err != nil || len(files) == 0 {
			f.Fatalf("%d records of %s, %v", len(files), vendor, err)
		}
		for _, file := range files {
			raw, err := fs.ReadFile(events.FS(), file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(vendor, raw)
		}
		apis = append(apis, hrapi.API{Source: vendor, URL: "https://hr.invalid/{employeeId}", Mapping: vendor + "-record", TimeZone: "Europe/Berlin"})
	}
	c, err := hrapi.New(apis, schemas, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, vendor string, raw []byte) {
		derived, err := c.Derive(t.Context(), of(vendor, "E1004"), raw)
		if err != nil {
			if !errors.Is(err, identity.ErrRefused) && !errors.Is(err, router.ErrNoRecords) {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		seen := map[event.Type]bool{}
		for _, e := range derived {
			who, err := e.Person()
			if err != nil || who.EmployeeID == "" || seen[e.Type] || !e.Type.IsStatement() || e.Origin != vendor || e.Key != "bob:1#"+string(e.Type) {
				t.Errorf("%+v, %v", e, err)
			}
			if seen[e.Type] = true; e.UserID != "" {
				t.Errorf("a record names an account: %s", e.UserID)
			}
			e.Key, e.Origin, e.CorrelationID, e.ReceivedAt = "", "", "", time.Time{} // which nobody outside may say
			bare, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := schemas.Parse(bare); err != nil {
				t.Errorf("%s: %v", bare, err)
			}
		}
	})
}
