package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/correlation"
)

// maxBatch is the number of requests that Graph takes in one $batch (concepts,
// json-batching).
const maxBatch = 20

// The versions of Graph as a path begins with them.
const (
	versionOne  = "/v1.0"
	versionBeta = "/beta"
)

// batchItem is one request of a $batch. The items of ours do not depend on each
// other: dependsOn turns one failure into 424 for the rest.
type batchItem struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	// URL is escaped and relative to the version.
	URL string `json:"url"`
	// Headers must name the content type where there is a body.
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// batchAnswer is the answer to one item. Status is 0 when the item has none that can
// be used.
type batchAnswer struct {
	status int
	header http.Header
	body   json.RawMessage
}

// batch sends at most maxBatch items and returns an answer for each, in order. Graph
// authorises, throttles and fails each item by itself, so only the caller can judge
// them; the error is about the batch as a whole. Every item is recorded like a call
// of its own.
func (c *Client) batch(ctx context.Context, op operation, version string, items []batchItem) ([]batchAnswer, error) {
	for i := range items {
		items[i].ID = strconv.Itoa(i)
	}
	whole := op
	whole.impersonal = true // a batch that is not found tells nothing about a person
	x := &exchange{}
	begin := time.Now()
	data, err := callMany(ctx, c, whole, len(items), func(ctx context.Context) ([]byte, error) {
		if own, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
			x = own
		}
		return c.raw(ctx, abstractions.POST, version+"/$batch", map[string][]batchItem{"requests": items})
	})
	if err != nil {
		return nil, err
	}
	answers, ok := parseBatch(data, len(items))
	if !ok {
		return nil, op.unreadable("a batch that cannot be read")
	}
	for i, a := range answers {
		if a.status == http.StatusTooManyRequests {
			c.budgets.pause(op.class, op.throttled(a.header))
		}
		c.answers.Count(a.status)
		path, err := url.PathUnescape(items[i].URL)
		if err != nil {
			path = items[i].URL
		}
		id := plain(a.header.Get("request-id"))
		if id == "" {
			id = plain(x.header.Get("request-id"))
		}
		correlation.Record(ctx, correlation.Call{Method: items[i].Method, Path: version + path, Status: a.status, RequestID: id, Duration: time.Since(begin)})
	}
	return answers, nil
}

// parseBatch reads the answer to a $batch of n items with the ids "0" to n-1, which
// come in any order. An item answered twice keeps its first answer.
func parseBatch(data []byte, n int) ([]batchAnswer, bool) {
	var body struct {
		Responses []struct {
			ID      string          `json:"id"`
			Status  int             `json:"status"`
			Headers map[string]any  `json:"headers"`
			Body    json.RawMessage `json:"body"`
		} `json:"responses"`
	}
	if err := json.Unmarshal(data, &body); err != nil || body.Responses == nil {
		return nil, false
	}
	answers := make([]batchAnswer, n)
	for _, r := range body.Responses {
		i, err := strconv.Atoi(r.ID)
		if err != nil || i < 0 || i >= n || answers[i].status != 0 || r.Status < 100 || r.Status > 599 {
			continue
		}
		header := make(http.Header, len(r.Headers))
		for name, value := range r.Headers {
			if s, ok := value.(string); ok {
				header.Set(name, s)
			}
		}
		answers[i] = batchAnswer{status: r.Status, header: header, body: r.Body}
	}
	return answers, true
}

// failure is the class of an item's answer, nil for 2xx.
func (a batchAnswer) failure(op operation) error {
	switch {
	case a.status >= 200 && a.status < 300:
		return nil
	case a.status < 400:
		return op.unreadable("an item of a batch without a usable answer")
	default:
		return op.answer(a.status, a.header, bodyCode(a.body))
	}
}

// bodyCode is Graph's own code in an error body.
func bodyCode(body []byte) string {
	var e struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return plain(strings.TrimSpace(e.Error.Code))
}
