package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveControl answers /sim: what a person at a terminal, or a test in another process,
// needs beside Graph itself. It has no authentication; the server listens on loopback.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/sim")
	switch {
	case r.Method == http.MethodGet && (path == "" || path == "/"):
		writeJSON(w, http.StatusOK, map[string]any{"tenant": s.TenantID(), "authority": s.AuthorityURL(), "see": []string{
			"GET /sim/users", "GET /sim/apps", "GET /sim/mailboxes", "GET /sim/mailboxes/{address}", "GET|DELETE /sim/requests",
			"GET|POST|DELETE /sim/faults", "DELETE /sim/faults/{id}", "PUT /sim/throttle", "PUT /sim/latency",
			"POST /sim/provision", "POST /sim/sign-in", "POST /sim/risk", "POST /sim/sign-ins", "POST /sim/detections",
			"DELETE /sim/users/{user}", "GET /sim/subscriptions", "GET /sim/deliveries", "POST /sim/evaluate",
		}})
	case r.Method == http.MethodGet && path == "/users":
		writeJSON(w, http.StatusOK, s.people())
	case r.Method == http.MethodGet && path == "/apps":
		writeJSON(w, http.StatusOK, s.credentials())
	case r.Method == http.MethodGet && path == "/mailboxes":
		writeJSON(w, http.StatusOK, s.Mailboxes())
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/mailboxes/"):
		writeJSON(w, http.StatusOK, notNil(s.Mailbox(strings.TrimPrefix(path, "/mailboxes/"))))
	case r.Method == http.MethodGet && path == "/requests":
		writeJSON(w, http.StatusOK, notNil(s.Requests()))
	case r.Method == http.MethodDelete && path == "/requests":
		s.ClearRequests()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet && path == "/faults":
		writeJSON(w, http.StatusOK, s.Faults())
	case r.Method == http.MethodDelete && path == "/faults":
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "/faults/"):
		if id, err := strconv.Atoi(strings.TrimPrefix(path, "/faults/")); err != nil || !s.RemoveFault(id) {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && path == "/faults":
		control(w, r, func(f Fault) (any, error) {
			id, err := s.AddFault(f)
			return map[string]int{"id": id}, err
		})
	case r.Method == http.MethodPut && path == "/throttle":
		control(w, r, func(t Throttle) (any, error) {
			s.SetThrottle(t)
			return t, nil
		})
	case r.Method == http.MethodPut && path == "/latency":
		control(w, r, func(v struct {
			Milliseconds int `json:"milliseconds"`
		}) (any, error) {
			s.SetLatency(time.Duration(v.Milliseconds) * time.Millisecond)
			return v, nil
		})
	case r.Method == http.MethodPost && path == "/provision":
		control(w, r, func(v struct {
			EmployeeID string `json:"employeeId"`
		}) (any, error) {
			return s.Provision(v.EmployeeID)
		})
	case r.Method == http.MethodPost && path == "/risk":
		control(w, r, func(v struct {
			User  string `json:"user"`
			Level string `json:"riskLevel"`
			State string `json:"riskState"`
		}) (any, error) {
			return v, s.SetRisk(v.User, v.Level, v.State)
		})
	case r.Method == http.MethodPost && path == "/sign-ins":
		control(w, r, func(in SignIn) (any, error) {
			id, err := s.AddSignIn(in)
			return map[string]string{"id": id}, err
		})
	case r.Method == http.MethodPost && path == "/evaluate":
		control(w, r, func(a Attempt) (any, error) { return s.EvaluateSignIn(a) })
	case r.Method == http.MethodPost && path == "/detections":
		control(w, r, func(d Detection) (any, error) {
			id, err := s.AddDetection(d)
			return map[string]string{"id": id}, err
		})
	case r.Method == http.MethodDelete && strings.HasPrefix(path, "/users/"):
		if err := s.Delete(strings.TrimPrefix(path, "/users/")); err != nil {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet && path == "/subscriptions":
		writeJSON(w, http.StatusOK, s.Subscriptions())
	case r.Method == http.MethodGet && path == "/deliveries":
		writeJSON(w, http.StatusOK, notNil(s.Deliveries()))
	case r.Method == http.MethodPost && path == "/sign-in":
		control(w, r, func(v struct {
			User string `json:"user"`
			Pass string `json:"pass"`
		}) (any, error) {
			return map[string]bool{"signedIn": true}, s.SignInWithPass(v.User, v.Pass)
		})
	default:
		http.NotFound(w, r)
	}
}

// control decodes a JSON body strictly, acts and answers 200, or 400 with the reason.
func control[T any](w http.ResponseWriter, r *http.Request, act func(T) (any, error)) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	var v T
	err := dec.Decode(&v)
	var answer any
	if err == nil {
		answer, err = act(v)
	} else {
		err = fmt.Errorf("request body: %w", err)
	}
	if err != nil {
		status := http.StatusBadRequest
		for _, refusal := range []error{ErrWrongPass, ErrAccountDisabled, ErrPassPolicy, ErrPassExpired, ErrPassNotYetValid} {
			if errors.Is(err, refusal) {
				status = http.StatusForbidden
			}
		}
		writeJSON(w, status, map[string]string{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type credential struct {
	Name         string   `json:"name"`
	ClientID     string   `json:"clientId"`
	ClientSecret string   `json:"clientSecret"`
	Permissions  []string `json:"permissions"`
}

func (s *Server) credentials() []credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []credential{}
	for _, a := range s.dir.Apps {
		out = append(out, credential{a.Name, a.ClientID, a.ClientSecret, a.Permissions})
	}
	return out
}

type person struct {
	ID                string `json:"id"`
	UserPrincipalName string `json:"userPrincipalName"`
	EmployeeID        string `json:"employeeId,omitempty"`
	AccountEnabled    bool   `json:"accountEnabled"`
	Methods           int    `json:"methods"`
	Pass              string `json:"pass,omitempty"` // usability reason
	Note              string `json:"note,omitempty"`
}

func (s *Server) people() []person {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []person{}
	for _, u := range s.dir.Users {
		p := person{ID: u.ID, UserPrincipalName: u.UserPrincipalName, EmployeeID: u.EmployeeID, AccountEnabled: u.AccountEnabled, Methods: len(u.Methods), Note: u.Note}
		if u.pass != nil {
			p.Pass = s.dir.passReason(u, s.clock.Now())
		}
		out = append(out, p)
	}
	return out
}
