// Package hr is the API of an HR system in this process: people's records, answered as
// each of several vendors documents it, and in a form of no vendor.
//
// It imports the standard library only.
package hr

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Record is what the HR system knows of a person; dates are YYYY-MM-DD.
type Record struct {
	EmployeeID string `json:"employeeId"`
	Status     string `json:"status"` // prehire, active or terminated
	StartDate  string `json:"startDate,omitempty"`
	LastDay    string `json:"lastDay,omitempty"`
	TimeZone   string `json:"timeZone,omitempty"`
}

// Server answers under one path for each vendor: /bamboohr, /hibob, /personio, /gusto and
// /deel; what follows no vendor is at /employees/{id}. Its methods are safe for concurrent use.
type Server struct {
	token   string
	url     string
	server  *http.Server
	done    chan struct{}
	mu      sync.Mutex
	records map[string]Record
	status  int
	after   string
	issued  string // the token of /personio, which ends with Expire
	tokens  int
	reads   int
}

// Start serves on a free loopback port until Close. The token is the secret of every
// vendor's credentials.
func Start(ctx context.Context, token string) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{token: token, url: "http://" + l.Addr().String(), done: make(chan struct{}), records: map[string]Record{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /employees/{id}", s.plain)
	mux.HandleFunc("GET /bamboohr/api/v1/employees/{id}", s.bamboohr)
	mux.HandleFunc("POST /hibob/v1/people/{id}", s.hibob)
	mux.HandleFunc("POST /personio/v2/auth/token", s.personioToken)
	mux.HandleFunc("GET /personio/v2/persons/{id}/employments", s.personio)
	mux.HandleFunc("GET /gusto/v1/employees/{id}/employment_history", s.gusto)
	mux.HandleFunc("GET /deel/rest/v2/contracts/{id}", s.deel)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // ends with Close
	}()
	return s, nil
}

// URL is the root of the API.
func (s *Server) URL() string { return s.url }

// Set changes or adds a record.
func (s *Server) Set(r Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[r.EmployeeID] = r
}

// Fail makes every request for a record answer the status; zero ends it.
func (s *Server) Fail(status int) { s.FailFor(status, "") }

// FailFor is Fail with a Retry-After.
func (s *Server) FailFor(status int, after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.after = status, after
}

// Expire ends the token that was issued last.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued = ""
}

// Counts are the tokens issued and the records given.
func (s *Server) Counts() (tokens, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens, s.reads
}

// record finds the record that a request is for, or answers why there is none: first
// whether the credentials are good, then whether the API is in order.
func (s *Server) record(w http.ResponseWriter, r *http.Request, authentic bool, refusal any) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, found := s.records[r.PathValue("id")]
	switch {
	case !authentic:
		answer(w, http.StatusUnauthorized, refusal)
	case s.status != 0:
		if s.after != "" {
			w.Header().Set("Retry-After", s.after)
		}
		answer(w, s.status, map[string]string{"error": "out of order"})
	case !found:
		answer(w, http.StatusNotFound, map[string]string{"error": "no such employee"})
	default:
		s.reads++
		return record, true
	}
	return Record{}, false
}

func (s *Server) plain(w http.ResponseWriter, r *http.Request) {
	if record, ok := s.record(w, r, s.bearer(r), map[string]string{"error": "unauthorized"}); ok {
		answer(w, http.StatusOK, record)
	}
}

func (s *Server) bearer(r *http.Request) bool {
	return r.Header.Get("Authorization") == "Bearer "+s.token
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if not
}

// Close ends the server.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
