package graph

import (
	"slices"
	"time"
)

// Request is one answered call. Bodies are never kept, so no pass value can be in it.
type Request struct {
	ID              string        `json:"requestId"`
	ClientRequestID string        `json:"clientRequestId"`
	TraceParent     string        `json:"traceparent,omitempty"`
	TraceState      string        `json:"tracestate,omitempty"`
	Batch           string        `json:"batch,omitempty"` // request id of the $batch it came in
	Time            time.Time     `json:"time"`
	Duration        time.Duration `json:"duration"`
	App             string        `json:"app,omitempty"`
	Method          string        `json:"method"`
	Path            string        `json:"path"` // with the version, without the query
	Query           string        `json:"query,omitempty"`
	Status          int           `json:"status"`         // 0 when the connection was cut
	Note            string        `json:"note,omitempty"` // throttled, or the fault that struck
	// Permissions are what the call was asked for: each is alternatives, as "A|B", of which
	// "A+B" needs both. A call without has needed none, or failed before.
	Permissions []string `json:"permissions,omitempty"`
}

// requestLimit bounds the log; the oldest entries go first.
const requestLimit = 100_000

func (s *Server) log(r *request, resp response, begin time.Time) {
	entry := Request{
		ID: r.id, ClientRequestID: r.clientID, TraceParent: r.header.Get("traceparent"), TraceState: r.header.Get("tracestate"), Batch: r.batch, Time: begin.UTC(), Duration: s.clock.Now().Sub(begin),
		Method: r.method, Path: "/" + r.version + r.rawPath, Query: r.query.Encode(), Status: resp.status, Note: resp.note,
	}
	if r.caller != nil {
		entry.App, entry.Permissions = r.caller.app, r.caller.checked
	}
	s.mu.Lock()
	if len(s.requests) >= requestLimit {
		s.requests = slices.Clone(s.requests[requestLimit/2:])
	}
	s.requests = append(s.requests, entry)
	s.mu.Unlock()
	s.logger.Debug("graph call", "app", entry.App, "method", entry.Method, "path", entry.Path, "status", entry.Status,
		"request_id", entry.ID, "client_request_id", entry.ClientRequestID, "note", entry.Note)
}

// Requests are the calls answered so far, oldest first; items of a $batch stand before
// the batch itself.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// TakeRequests returns what Requests does and empties the log.
func (s *Server) TakeRequests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.requests
	s.requests = nil
	return taken
}

// ClearRequests empties the log.
func (s *Server) ClearRequests() { s.TakeRequests() }
