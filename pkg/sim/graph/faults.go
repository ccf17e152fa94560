package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

const (
	// FaultStatus answers with Status instead of the real answer.
	FaultStatus FaultKind = "status"
	// FaultHang gives no answer until the client leaves, or 504 after Wait.
	FaultHang FaultKind = "hang"
	// FaultCut closes the connection without an answer.
	FaultCut FaultKind = "cut"
)

// Fault spoils calls that match it.
type Fault struct {
	ID     int    `json:"id"`               // set by AddFault
	Method string `json:"method,omitempty"` // empty: any
	// Path is matched below the version, segment by segment; "*" stands for one segment,
	// a last "**" for all that follow. Empty: any path.
	Path string `json:"path,omitempty"`
	App  string `json:"app,omitempty"` // name of the calling app; empty: any
	// Skip calls pass before the fault begins; it then strikes Count times. A Count of
	// zero means once, a negative one for ever.
	Skip  int `json:"skip,omitempty"`
	Count int `json:"count,omitempty"`

	Kind FaultKind `json:"kind"`
	// AfterEffect lets the call change the tenant first, so that only the answer is lost.
	AfterEffect bool `json:"afterEffect,omitempty"`

	Status     int           `json:"status,omitempty"`     // for FaultStatus
	Code       string        `json:"code,omitempty"`       // OData code; a usual one when empty
	RetryAfter string        `json:"retryAfter,omitempty"` // header value; empty: none
	Wait       time.Duration `json:"wait,omitempty"`       // for FaultHang; zero means 60 s, Graph's own limit

	Hits int `json:"hits"` // how often it has struck
}

func (f Fault) validate() error {
	switch f.Kind {
	case FaultStatus:
		if f.Status < 400 || f.Status > 599 {
			return fmt.Errorf("fault: status %d is not an error", f.Status)
		}
	case FaultHang, FaultCut:
	default:
		return fmt.Errorf("fault: unknown kind %q", f.Kind)
	}
	if i := strings.Index(f.Path, "**"); i >= 0 && i != len(f.Path)-2 {
		return errors.New("fault: ** is allowed at the end of a path only")
	}
	return nil
}

func (f *Fault) matches(r *request) bool {
	if f.Method != "" && !strings.EqualFold(f.Method, r.method) || f.App != "" && f.App != r.caller.app {
		return false
	}
	if f.Path == "" {
		return true
	}
	pattern := strings.Split(strings.Trim(f.Path, "/"), "/")
	for i, p := range pattern {
		if p == "**" {
			return true
		}
		if i >= len(r.path) || p != "*" && !strings.EqualFold(p, r.path[i]) {
			return false
		}
	}
	return len(pattern) == len(r.path)
}

// AddFault arms a fault and returns its id. Of several that match a call, the oldest strikes.
func (s *Server) AddFault(f Fault) (int, error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Count == 0 {
		f.Count = 1
	}
	f.Hits = 0
	s.faultID++
	f.ID = s.faultID
	s.faults = append(s.faults, &f)
	return f.ID, nil
}

// RemoveFault disarms one fault and reports whether it was there.
func (s *Server) RemoveFault(id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.ID == id {
			s.faults = append(s.faults[:i], s.faults[i+1:]...)
			return true
		}
	}
	return false
}

// ClearFaults disarms all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Faults are the faults ever armed and not removed, with their hits.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		out = append(out, *f)
	}
	return out
}

// takeFault is the fault that strikes this call, counted; nil for none.
func (s *Server) takeFault(r *request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Count > 0 && f.Hits >= f.Count || !f.matches(r) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		f.Hits++
		c := *f
		return &c
	}
	return nil
}

// spoil is the answer that a fault makes of a call.
func (s *Server) spoil(ctx context.Context, r *request, f *Fault) response {
	note := "fault: " + string(f.Kind)
	if f.AfterEffect {
		note += " after effect"
	}
	e := &apiError{status: f.Status, code: f.Code, message: "The simulator was told to fail.", header: make(http.Header)}
	switch f.Kind {
	case FaultCut:
		return response{cut: true, note: note}
	case FaultHang:
		wait := f.Wait
		if wait == 0 {
			wait = time.Minute
		}
		if err := s.sleep(ctx, wait); err != nil {
			return response{cut: true, note: note}
		}
		e.status = http.StatusGatewayTimeout
	case FaultStatus:
	}
	if f.RetryAfter != "" {
		e.header.Set("Retry-After", f.RetryAfter)
	}
	if e.code == "" {
		e.code = usualCode(e.status)
	}
	resp := s.failure(r, e)
	resp.note = note
	return resp
}

func usualCode(status int) string {
	switch status {
	case http.StatusTooManyRequests:
		return "TooManyRequests"
	case http.StatusServiceUnavailable:
		return "serviceNotAvailable"
	case http.StatusInternalServerError:
		return "generalException"
	case http.StatusForbidden:
		return "Authorization_RequestDenied"
	}
	return "UnknownError"
}

// sleep waits on the injected clock, at most until the client leaves or the server closes.
func (s *Server) sleep(ctx context.Context, d time.Duration) error {
	t := s.clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return http.ErrServerClosed
	}
}

// delay is the injected latency, once per step.
func (s *Server) delay(ctx context.Context, steps int) error {
	s.mu.Lock()
	d := s.latency
	s.mu.Unlock()
	if d <= 0 {
		return nil
	}
	return s.sleep(ctx, time.Duration(steps)*d)
}
