package hr

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// bamboohr follows documentation.bamboohr.com/reference/get-employee: the API key is the
// user of Basic authentication, whatever the password; XML is the default; only the
// fields that are asked for are given, dates in the future only with onlyCurrent=false;
// a date that is not there is 0000-00-00.
func (s *Server) bamboohr(w http.ResponseWriter, r *http.Request) {
	user, _, _ := r.BasicAuth()
	record, ok := s.record(w, r, user == s.token, nil)
	if !ok {
		return
	}
	if r.Header.Get("Accept") != "application/json" {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><employee id="%s"/>`, record.EmployeeID)
		return
	}
	date := func(d string) string {
		if d == "" {
			return "0000-00-00"
		}
		return d
	}
	all := map[string]string{
		"id": record.EmployeeID, "status": "Active", "hireDate": date(record.StartDate), "originalHireDate": "0000-00-00",
		"terminationDate": date(record.LastDay), "displayName": "Somebody",
	}
	if record.Status == "terminated" {
		all["status"] = "Inactive"
	} else if r.URL.Query().Get("onlyCurrent") != "false" {
		all["terminationDate"] = "0000-00-00"
	}
	given := map[string]string{"id": record.EmployeeID}
	for name := range strings.SplitSeq(r.URL.Query().Get("fields"), ",") {
		if v, known := all[name]; known {
			given[name] = v
		}
	}
	answer(w, http.StatusOK, given)
}

// hibob follows apidocs.hibob.com/docs/people-read-api-contract: a service user and its
// token by Basic authentication; the fields that the body asks for and no others, root
// fields without their prefix, the rest nested by category.
func (s *Server) hibob(w http.ResponseWriter, r *http.Request) {
	user, token, _ := r.BasicAuth()
	record, ok := s.record(w, r, user != "" && token == s.token, map[string]string{"key": "error", "error": "unauthorized"})
	if !ok {
		return
	}
	var ask struct {
		Fields []string `json:"fields"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "the body is no JSON"})
		return
	}
	status := map[string]string{"prehire": "hired", "active": "employed", "terminated": "terminated"}[record.Status]
	all := map[string]any{
		"root.id": record.EmployeeID, "root.email": "somebody@contoso.example", "work.startDate": orNull(record.StartDate),
		"work.originalStartDate": orNull(record.StartDate), "internal.lifecycleStatus": status, "internal.terminationDate": orNull(record.LastDay),
	}
	given := map[string]any{}
	for name, v := range all {
		if !slices.Contains(ask.Fields, name) {
			continue
		}
		category, field, _ := strings.Cut(name, ".")
		if category == "root" {
			given[field] = v
			continue
		}
		if given[category] == nil {
			given[category] = map[string]any{}
		}
		given[category].(map[string]any)[field] = v
	}
	answer(w, http.StatusOK, given)
}

func orNull(date string) any {
	if date == "" {
		return nil
	}
	return date
}

// personioToken follows developer.personio.de/reference/post_v2-auth-token: client
// credentials as a form.
func (s *Server) personioToken(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") == "" || r.FormValue("client_secret") != s.token {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_client"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++
	s.issued = fmt.Sprintf("papi-%d-%s", s.tokens, s.token)
	answer(w, http.StatusOK, map[string]any{"access_token": s.issued, "token_type": "Bearer", "expires_in": 86400, "scope": "personio:persons:read"})
}

// personio follows developer.personio.de/reference/get_v2-persons-person-id-employments.
func (s *Server) personio(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	authentic := s.issued != "" && r.Header.Get("Authorization") == "Bearer "+s.issued
	s.mu.Unlock()
	record, ok := s.record(w, r, authentic, map[string]any{"errors": []any{map[string]string{"title": "Unauthorized"}}})
	if !ok {
		return
	}
	employment := map[string]any{
		"id": "2306b77a-35fb-4b1d-8044-3b14f7f2ca65", "type": "INTERNAL", "person": map[string]string{"id": record.EmployeeID},
		"status":                map[string]string{"prehire": "ONBOARDING", "active": "ACTIVE", "terminated": "INACTIVE"}[record.Status],
		"employment_start_date": orNull(record.StartDate), "employment_end_date": orNull(record.LastDay),
	}
	if record.LastDay != "" {
		employment["termination"] = map[string]any{"termination_date": record.LastDay, "last_working_day": record.LastDay, "type": "EMPLOYEE"}
	}
	answer(w, http.StatusOK, map[string]any{"_data": []any{employment}, "_meta": map[string]any{"links": map[string]any{}}})
}

// gusto follows docs.gusto.com, "Get employment history for an employee": one entry for
// each employment, and no status.
func (s *Server) gusto(w http.ResponseWriter, r *http.Request) {
	record, ok := s.record(w, r, s.bearer(r), map[string]any{"errors": []any{map[string]string{"category": "authentication_error"}}})
	if !ok {
		return
	}
	start := record.StartDate
	if start == "" {
		start = "2019-03-01"
	}
	answer(w, http.StatusOK, []any{map[string]any{
		"hire_date": start, "termination_date": orNull(record.LastDay), "employment_status": "full_time",
		"file_new_hire_report": true, "two_percent_shareholder": false,
	}})
}

// deel follows developer.deel.com/api/endpoints/contracts/get-contract: times where a
// date is meant.
func (s *Server) deel(w http.ResponseWriter, r *http.Request) {
	record, ok := s.record(w, r, s.bearer(r), map[string]any{"errors": []any{map[string]string{"message": "Unauthorized"}}})
	if !ok {
		return
	}
	at := func(date string) any {
		if date == "" {
			return nil
		}
		return date + "T00:00:00.000Z"
	}
	status := "in_progress"
	if record.Status == "terminated" {
		status = "completed"
	}
	answer(w, http.StatusOK, map[string]any{"data": map[string]any{
		"id": "3w4zdd9", "type": "ongoing_time_based", "status": status, "external_id": record.EmployeeID,
		"start_date": at(record.StartDate), "termination_date": at(record.LastDay), "worker": map[string]string{"full_name": "Somebody"},
	}})
}
