// Package hr is the API of an HR system in this process: people's records behind a
// bearer token. It follows no vendor.
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

// Server answers GET /employees/{id}. Its methods are safe for concurrent use.
type Server struct {
	token   string
	url     string
	server  *http.Server
	done    chan struct{}
	mu      sync.Mutex
	records map[string]Record
	status  int
}

// Start serves on a free loopback port until Close. Requests need the token.
func Start(ctx context.Context, token string) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{token: token, url: "http://" + l.Addr().String(), done: make(chan struct{}), records: map[string]Record{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /employees/{id}", s.employee)
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

// Fail makes every request answer the status; zero ends it.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *Server) employee(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	record, ok := s.records[r.PathValue("id")]
	status := s.status
	s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+s.token:
		http.Error(w, `{"error":"unauthorized"}`, http.StatusUnauthorized)
	case status != 0:
		http.Error(w, `{"error":"out of order"}`, status)
	case !ok:
		http.Error(w, `{"error":"no such employee"}`, http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(record) // the client is gone if not
	}
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
