package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	versionOne  = "v1.0"
	versionBeta = "beta"

	maxBody = 4 << 20 // Graph's request size limit

	contentTypeData  = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
	contentTypePlain = "application/json"
)

// request is one Graph call, alone or inside a $batch.
type request struct {
	id       string // ours, returned as request-id
	clientID string // the caller's, returned as client-request-id
	batch    string // request id of the enclosing $batch, or empty
	method   string
	base     string // scheme://host/version, the root of links
	version  string
	path     []string // decoded segments below the version
	rawPath  string   // what the log shows, below the version
	query    url.Values
	header   http.Header
	body     []byte
	caller   *caller
	params   map[string]string // set by the route
	now      time.Time         // set when the request takes effect
}

func (r *request) beta() bool { return r.version == versionBeta }

// context is the @odata.context of an answer.
func (r *request) context(of string) string { return r.base + "/$metadata#" + of }

// decode reads a JSON object body into v; an absent body leaves v alone.
func (r *request) decode(v any) error {
	if len(bytes.TrimSpace(r.body)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return errBadRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errBadRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	return nil
}

// response is the answer to one request.
type response struct {
	status int
	header http.Header
	body   any // encoded as JSON; a string is sent as text; nil for none
	cut    bool
	note   string // for the log: the fault or limit that shaped the answer
}

func ok(body any) response      { return response{status: http.StatusOK, body: body} }
func created(body any) response { return response{status: http.StatusCreated, body: body} }
func noContent() response       { return response{status: http.StatusNoContent} }

// serveGraph answers calls below /v1.0 and /beta.
func (s *Server) serveGraph(w http.ResponseWriter, hr *http.Request) {
	begin := s.clock.Now()
	r := &request{id: s.newID(), method: hr.Method, query: hr.URL.Query(), header: hr.Header}
	r.clientID = hr.Header.Get("client-request-id")
	if r.clientID == "" {
		r.clientID = r.id
	}
	version, rest, _ := strings.Cut(strings.TrimPrefix(hr.URL.EscapedPath(), "/"), "/")
	r.version, r.rawPath = version, "/"+rest
	scheme := "http"
	if hr.TLS != nil {
		scheme = "https"
	}
	r.base = scheme + "://" + hr.Host + "/" + version

	resp := s.receive(hr, r)
	s.log(r, resp, begin)
	if resp.cut {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	s.write(w, r, resp)
}

// receive reads, authenticates and answers one HTTP request.
func (s *Server) receive(hr *http.Request, r *request) response {
	body, err := io.ReadAll(io.LimitReader(hr.Body, maxBody+1))
	if err != nil {
		return s.failure(r, errBadRequest("The request body could not be read."))
	}
	if len(body) > maxBody {
		return s.failure(r, &apiError{status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLarge", message: "The maximum request length supported is 4MB."})
	}
	r.body = body
	segments, err := splitPath(r.rawPath)
	if err != nil {
		return s.failure(r, errBadRequest("The request URI is not valid."))
	}
	r.path = segments
	if r.caller, err = s.authenticate(hr.Header.Get("Authorization")); err != nil {
		return s.failure(r, err)
	}
	if len(r.path) == 1 && r.path[0] == "$batch" {
		return s.serveBatch(hr.Context(), r)
	}
	if err := s.delay(hr.Context(), 1); err != nil {
		return response{cut: true, note: "client left"}
	}
	return s.serve(hr.Context(), r)
}

// serve lets one call take effect, between the faults that surround it.
func (s *Server) serve(ctx context.Context, r *request) response {
	fault := s.takeFault(r)
	if fault != nil && !fault.AfterEffect {
		return s.spoil(ctx, r, fault)
	}
	resp := s.execute(r)
	if fault != nil {
		return s.spoil(ctx, r, fault)
	}
	return resp
}

// execute routes, throttles, authorises and runs one call under the lock.
func (s *Server) execute(r *request) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.now = s.clock.Now().UTC()
	rt, err := s.routes.find(r)
	if err != nil {
		return s.failure(r, err)
	}
	header, err := s.throttle.admit(r, rt, len(s.dir.Users))
	if err != nil {
		resp := s.failure(r, err)
		resp.note = "throttled"
		return resp
	}
	if !r.caller.mayAny(rt.permissions) {
		return s.failure(r, rt.class.denied())
	}
	resp, err := rt.handle(s, r)
	if err != nil {
		return s.failure(r, err)
	}
	if resp.header == nil {
		resp.header = make(http.Header)
	}
	for k, v := range header {
		resp.header[k] = v
	}
	return resp
}

func (s *Server) failure(r *request, err error) response {
	var ae *apiError
	if !errors.As(err, &ae) {
		s.logger.Error("request failed", "path", r.rawPath, "err", err)
		ae = &apiError{status: http.StatusInternalServerError, code: "generalException", message: "General exception while processing"}
	}
	h := make(http.Header)
	for k, v := range ae.header {
		h[k] = v
	}
	return response{status: ae.status, header: h, body: ae.body(r, s.clock.Now())}
}

// write sends an answer with the headers Graph sets on all of them.
func (s *Server) write(w http.ResponseWriter, r *request, resp response) {
	h := w.Header()
	for k, v := range resp.header {
		h[k] = v
	}
	h.Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
	h.Set("request-id", r.id)
	h.Set("client-request-id", r.clientID)
	h.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"GRAPH"}}`)
	h.Set("Cache-Control", "no-cache")
	switch body := resp.body.(type) {
	case nil:
		w.WriteHeader(resp.status)
	case string:
		h.Set("Content-Type", "text/plain")
		w.WriteHeader(resp.status)
		_, _ = io.WriteString(w, body)
	default:
		data, err := json.Marshal(body)
		if err != nil {
			s.logger.Error("answer not encodable", "path", r.rawPath, "err", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", contentType(resp.status))
		if resp.status < 300 {
			h.Set("OData-Version", "4.0")
		}
		w.WriteHeader(resp.status)
		_, _ = w.Write(data)
	}
}

func contentType(status int) string {
	if status < 300 {
		return contentTypeData
	}
	return contentTypePlain
}
