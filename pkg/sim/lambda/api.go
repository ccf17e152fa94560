package lambda

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/google/uuid"
)

const (
	headerRequestID   = "Lambda-Runtime-Aws-Request-Id"
	headerDeadline    = "Lambda-Runtime-Deadline-Ms"
	headerFunctionARN = "Lambda-Runtime-Invoked-Function-Arn"
	headerTrace       = "Lambda-Runtime-Trace-Id"
	trailerErrorType  = "Lambda-Runtime-Function-Error-Type"
	headerExtension   = "Lambda-Extension-Identifier"
)

// api is the Runtime API and, of the Extensions API, what an internal extension
// without events needs.
func (e *environment) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.handleNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.handleResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.handleError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.handleInitError)
	mux.HandleFunc("POST /2020-01-01/extension/register", e.handleRegister)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", e.handleExtensionNext)
	return mux
}

func (e *environment) handleNext(w http.ResponseWriter, r *http.Request) {
	select {
	case e.polled <- struct{}{}:
	default: // a poll is already noted: the runtime polls more than once at a time
	}
	select {
	case in := <-e.next:
		e.current.Store(in)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set(headerRequestID, in.id)
		h.Set(headerDeadline, strconv.FormatInt(in.deadline.UnixMilli(), 10))
		h.Set(headerFunctionARN, "arn:aws:lambda:eu-central-1:000000000000:function:"+e.cfg.Name)
		root := uuid.New()
		h.Set(headerTrace, "Root=1-"+hex.EncodeToString(root[:4])+"-"+hex.EncodeToString(root[4:])+";Sampled=0")
		_, _ = w.Write(in.event)
	case <-r.Context().Done():
	case <-e.gone:
	}
}

func (e *environment) handleResponse(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxPayload+1))
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "body cannot be read")
		return
	}
	res := result{body: body}
	switch {
	case len(body) > MaxPayload:
		res = result{err: &FunctionError{TypeTooLarge, "Response payload size exceeded maximum allowed payload size (6291556 bytes)."}}
	case r.Trailer.Get(trailerErrorType) != "":
		res = result{err: &FunctionError{Type: r.Trailer.Get(trailerErrorType), Message: "while streaming the answer"}}
	}
	if !e.finish(r.PathValue("id"), res) {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	if len(body) > MaxPayload {
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291556 bytes).")
		return
	}
	accept(w)
}

func (e *environment) handleError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxPayload))
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "body cannot be read")
		return
	}
	if !e.finish(r.PathValue("id"), result{err: decodeError(body)}) {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	accept(w)
}

func (e *environment) handleInitError(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, MaxPayload))
	select {
	case e.failed <- decodeError(body):
	default:
	}
	accept(w)
}

func (e *environment) handleRegister(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Events []string `json:"events"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&body); err != nil || len(body.Events) > 0 {
		refuse(w, http.StatusBadRequest, "InvalidEventType", "an internal extension registers for no events here")
		return
	}
	e.extensions.Add(1)
	w.Header().Set(headerExtension, uuid.NewString())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"functionName": e.cfg.Name, "functionVersion": "$LATEST", "handler": "bootstrap"})
}

// handleExtensionNext never answers an extension that registered for no events.
func (e *environment) handleExtensionNext(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-e.gone:
	}
}

// finish settles the running invocation, once.
func (e *environment) finish(id string, res result) bool {
	in := e.current.Load()
	if in == nil || in.id != id || !e.current.CompareAndSwap(in, nil) {
		return false
	}
	in.done <- res
	return true
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(FunctionError{Type: kind, Message: message})
}
