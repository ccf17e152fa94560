package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

const maxBatch = 20

type batchItem struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

// serveBatch answers POST /$batch: 200 with one status per item, in no particular order
// (Graph concepts, "Combine multiple HTTP requests using JSON batching"). Items are
// authorised, throttled and failed one by one. Graph runs independent items side by
// side, so the injected latency counts once per step of the longest dependsOn chain.
func (s *Server) serveBatch(ctx context.Context, r *request) response {
	if r.method != http.MethodPost {
		return s.failure(r, &apiError{status: http.StatusMethodNotAllowed, code: "Request_BadRequest",
			message: "Specified HTTP method is not allowed for the request target."})
	}
	items, err := parseBatch(r)
	if err != nil {
		return s.failure(r, err)
	}
	if err := s.delay(ctx, longestChain(items)); err != nil {
		return response{cut: true, note: "client left"}
	}
	failed := make(map[string]bool)
	responses := make([]map[string]any, 0, len(items))
	for _, i := range s.runOrder(items) {
		item := items[i]
		begin := s.clock.Now()
		sub := s.subRequest(r, item)
		var resp response
		switch {
		case sub.path == nil:
			resp = s.failure(sub, errBadRequest("The request URI is not valid: %s", item.URL))
		case dependsOnFailed(item, failed):
			resp = s.failure(sub, &apiError{status: http.StatusFailedDependency, code: "FailedDependency", message: "The request depends on a request that failed."})
		case len(sub.body) > 0 && sub.header.Get("Content-Type") == "":
			resp = s.failure(sub, errBadRequest("Write request id : %s does not contain Content-Type header or body.", item.ID))
		default:
			resp = s.serve(ctx, sub)
		}
		s.log(sub, resp, begin)
		if resp.cut {
			return response{cut: true, note: resp.note}
		}
		if resp.status >= 400 {
			failed[strings.ToLower(item.ID)] = true
		}
		responses = append(responses, renderItem(item.ID, resp))
	}
	s.shuffle(len(responses), func(a, b int) { responses[a], responses[b] = responses[b], responses[a] })
	return ok(map[string]any{"responses": responses})
}

// parseBatch refuses a malformed batch as a whole.
func parseBatch(r *request) ([]batchItem, error) {
	var body struct {
		Requests []batchItem `json:"requests"`
	}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	if len(body.Requests) == 0 {
		return nil, errBadRequest("Invalid batch payload format.")
	}
	if len(body.Requests) > maxBatch {
		return nil, errBadRequest("Number of batch request steps exceeds the maximum value of %d.", maxBatch)
	}
	at := make(map[string]int)
	for i, item := range body.Requests {
		id := strings.ToLower(item.ID)
		if id == "" || item.Method == "" || item.URL == "" {
			return nil, errBadRequest("Invalid batch payload format.")
		}
		if _, twice := at[id]; twice {
			return nil, errBadRequest("Request Id %s is not unique.", item.ID)
		}
		at[id] = i
	}
	for i, item := range body.Requests {
		for _, d := range item.DependsOn {
			if _, known := at[strings.ToLower(d)]; !known || strings.EqualFold(d, item.ID) {
				return nil, errBadRequest("Invalid batch payload format: dependsOn of request %s.", item.ID)
			}
		}
		if onCircle(body.Requests, at, i) {
			return nil, errBadRequest("Invalid batch payload format: dependsOn of request %s forms a cycle.", item.ID)
		}
	}
	return body.Requests, nil
}

// onCircle reports whether following dependsOn from item i leads back to it.
func onCircle(items []batchItem, at map[string]int, i int) bool {
	seen := make(map[int]bool)
	stack := []int{i}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, d := range items[n].DependsOn {
			next, known := at[strings.ToLower(d)]
			if known && next == i {
				return true
			}
			if known && !seen[next] {
				seen[next] = true
				stack = append(stack, next)
			}
		}
	}
	return false
}

// steps is the place of each item in the chain of what it depends on; 1 is the start.
func steps(items []batchItem) []int {
	at := make(map[string]int)
	for i, item := range items {
		at[strings.ToLower(item.ID)] = i
	}
	depth := make([]int, len(items))
	var of func(i int) int
	of = func(i int) int {
		if depth[i] == 0 {
			d := 1
			for _, dep := range items[i].DependsOn {
				d = max(d, of(at[strings.ToLower(dep)])+1)
			}
			depth[i] = d
		}
		return depth[i]
	}
	for i := range items {
		of(i)
	}
	return depth
}

func longestChain(items []batchItem) int {
	longest := 1
	for _, d := range steps(items) {
		longest = max(longest, d)
	}
	return longest
}

// runOrder is any order that runs an item after what it depends on. Independent items
// are shuffled: a client must not rely on their order.
func (s *Server) runOrder(items []batchItem) []int {
	depth := steps(items)
	var order []int
	for d := 1; len(order) < len(items); d++ {
		var level []int
		for i := range items {
			if depth[i] == d {
				level = append(level, i)
			}
		}
		s.shuffle(len(level), func(a, b int) { level[a], level[b] = level[b], level[a] })
		order = append(order, level...)
	}
	return order
}

func dependsOnFailed(item batchItem, failed map[string]bool) bool {
	for _, d := range item.DependsOn {
		if failed[strings.ToLower(d)] {
			return true
		}
	}
	return false
}

// subRequest is the call an item stands for; its path is nil when the URL cannot be used.
func (s *Server) subRequest(outer *request, item batchItem) *request {
	sub := &request{
		id: s.newID(), clientID: outer.clientID, batch: outer.id, method: strings.ToUpper(item.Method),
		base: outer.base, version: outer.version, caller: outer.caller.again(), header: make(http.Header), rawPath: item.URL,
	}
	for _, name := range []string{"traceparent", "tracestate"} {
		if v := outer.header.Get(name); v != "" {
			sub.header.Set(name, v)
		}
	}
	for k, v := range item.Headers {
		sub.header.Set(k, v)
	}
	if id := sub.header.Get("client-request-id"); id != "" {
		sub.clientID = id
	}
	sub.body = item.Body
	var text string
	if !strings.HasPrefix(sub.header.Get("Content-Type"), "application/json") && json.Unmarshal(item.Body, &text) == nil {
		if data, err := base64.StdEncoding.DecodeString(text); err == nil {
			sub.body = data
		}
	}
	if string(sub.body) == "null" {
		sub.body = nil
	}
	path, rawQuery, _ := strings.Cut("/"+strings.TrimPrefix(item.URL, "/"), "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return sub
	}
	segments, err := splitPath(path)
	if err != nil || len(segments) == 1 && segments[0] == "$batch" {
		return sub
	}
	sub.rawPath, sub.path, sub.query = path, segments, query
	return sub
}

func renderItem(id string, resp response) map[string]any {
	headers := map[string]string{"Cache-Control": "no-cache"}
	for k, v := range resp.header {
		headers[k] = strings.Join(v, ", ")
	}
	out := map[string]any{"id": id, "status": resp.status, "headers": headers}
	if resp.body != nil {
		headers["Content-Type"] = contentType(resp.status)
		out["body"] = resp.body
	}
	return out
}
