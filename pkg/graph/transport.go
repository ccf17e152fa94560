package graph

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/pause"
)

// exchange is one call and what the wire said last about it. The SDK loses the
// status of an answer whose body is no JSON.
type exchange struct {
	op     operation
	count  int // requests that Graph counts
	status int
	header http.Header
}

type exchangeKey struct{}

const readRetryPause = 200 * time.Millisecond

// errRedirect: Graph's API does not redirect these requests, so a redirect comes
// from something in between.
var errRedirect = errors.New("redirected")

// errNoExchange: every request belongs to an operation.
var errNoExchange = errors.New("request outside an operation")

// transport lets every request wait for its turn in the budget, stamps it with the
// correlation id, records it, and repeats a read once (see the package doc).
type transport struct {
	next    http.RoundTripper
	pause   time.Duration
	budgets *budgets
	answers Answers
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readBody(req)
	if err != nil {
		return nil, err
	}
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		return nil, errNoExchange
	}
	resp, err := t.send(req, x, body)
	if x.op.write || !worthRepeating(resp, err) || pause.For(req.Context(), t.pause) != nil {
		return resp, err
	}
	if resp != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
	}
	return t.send(req, x, body)
}

// send is one round trip.
func (t *transport) send(req *http.Request, x *exchange, body []byte) (*http.Response, error) {
	ctx := req.Context()
	req = req.Clone(ctx)
	// kiota leaves the length out, which makes net/http send chunks and refuse to
	// repeat a request whose connection was already closed.
	req.ContentLength = int64(len(body))
	req.Body, req.GetBody = nil, nil
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	req.Header.Set("User-Agent", "mfaflow")
	req.Header.Set("client-request-id", requestID(ctx))
	req.Header.Set("return-client-request-id", "true")
	correlation.Stamp(ctx, req.Header)

	x.status, x.header = 0, nil
	answered, err := t.budgets.take(ctx, x.op, x.count)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	resp, err := t.next.RoundTrip(req)
	answered()
	record := correlation.Call{Method: req.Method, Path: req.URL.Path, Duration: time.Since(begin)}
	if err == nil {
		x.status, x.header = resp.StatusCode, resp.Header
		record.Status = resp.StatusCode
		record.RequestID = plain(resp.Header.Get("request-id"))
		if resp.StatusCode == http.StatusTooManyRequests {
			t.budgets.pause(x.op.class, x.op.throttled(resp.Header))
		}
	}
	t.answers.Count(record.Status)
	correlation.Record(ctx, record)
	if err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		resp.Body.Close()
		return nil, errRedirect
	}
	return resp, err
}

func readBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

// worthRepeating: the connection broke, or the service had a moment of weakness and
// did not ask us to wait.
func worthRepeating(resp *http.Response, err error) bool {
	if err != nil {
		return !errors.Is(err, errRedirect) && !errors.As(err, new(*noTurnError))
	}
	return resp.StatusCode >= 500 && resp.Header.Get("Retry-After") == ""
}

// requestID is the correlation id of ctx, or a fresh one when there is none that a
// header can carry.
func requestID(ctx context.Context) string {
	if id := plain(correlation.ID(ctx)); id != "" {
		return id
	}
	return uuid.NewString()
}

// plain returns s if it is a short printable token, and nothing otherwise.
func plain(s string) string {
	if len(s) > 128 {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	return s
}
