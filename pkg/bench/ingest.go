package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/webhook"
)

// The load: one in five requests warms up, the others count.
const (
	requestsPerSecond = 500
	warmUpRequests    = 2 * requestsPerSecond
	countedRequests   = 10 * requestsPerSecond
)

// warmUp is the source of what warms up: like the other, and not counted.
const warmUp = "warm-up"

// traffic is a function that takes events by HTTP, and what is posted to it.
type traffic struct {
	function string
	// env are its settings beside those of the broker; both sources are in them.
	env []string
	// origin is what the keys of all events begin with, where they do not begin with the
	// source; the source then begins the id.
	origin string
	// request is one delivery of a source, to the address of the function.
	request func(ctx context.Context, address, source, id string) (*http.Request, error)
}

// measured is what it came to.
type measured struct {
	outside []time.Duration // from when a request was due to its answer
	inside  []float64       // milliseconds, as the function says
	cpu     time.Duration   // of all requests, those that warm up included
	rate    float64         // requests per second, each sender waiting for its answer
}

// ingestLatency posts joiners to hr-events.
func ingestLatency(ctx context.Context, bin Bin) ([]Figure, error) {
	env, err := hrEventsEnv(warmUp, source)
	if err != nil {
		return nil, err
	}
	signer, err := webhook.NewSigner(identity.NewSecret(signingKey))
	if err != nil {
		return nil, err
	}
	m, err := traffic{function: "hr-events", env: env, request: func(ctx context.Context, address, source, id string) (*http.Request, error) {
		return joiner(ctx, signer, address+"/hr/"+source, id)
	}}.run(ctx, bin)
	if err != nil {
		return nil, err
	}
	return m.figures(""), nil
}

// figures name what was measured. A request's time counts from when it was due, so that
// a stall is not hidden by the requests it held back.
func (m measured) figures(what string) []Figure {
	return []Figure{
		{Name: what + "request sent to 202, p50", Value: milliseconds(quantile(m.outside, 0.5)), Unit: "ms"},
		Figure{Name: what + "request sent to 202, p99", Value: milliseconds(quantile(m.outside, 0.99)), Unit: "ms"}.bounded(Under, 50),
		{Name: what + "signature check to accepted by the broker, p50", Value: quantile(m.inside, 0.5), Unit: "ms"},
		Figure{Name: what + "signature check to accepted by the broker, p99", Value: quantile(m.inside, 0.99), Unit: "ms"}.bounded(Under, 50),
		{Name: what + "processor time per request", Value: milliseconds(m.cpu) / (warmUpRequests + countedRequests + fullRequests), Unit: "ms"},
		{Name: fmt.Sprintf("%swith %d senders that wait for their answers", what, senders), Value: m.rate, Unit: "requests/s"},
	}
}

// run starts the function and the emulator as processes, posts at a fixed rate, and then
// as fast as a few senders can.
func (t traffic) run(ctx context.Context, bin Bin) (m measured, err error) {
	bus, connectionString, err := startEmulator(ctx, bin)
	if err != nil {
		return m, err
	}
	defer bus.stop()
	counted := source + ":"
	if t.origin != "" {
		counted = t.origin + ":" + source + "-"
	}
	var address string
	var mu sync.Mutex
	var other []byte
	function, err := command{
		path: bin.path(t.function),
		env:  append(append(machine(), "MFAFLOW_SERVICEBUS_CONNECTION_STRING="+connectionString, "MFAFLOW_LISTEN=127.0.0.1:0"), t.env...),
		ready: func(line []byte) bool {
			e, err := parseEntry(line)
			address = e.Addr
			return err == nil && e.Message == "listening"
		},
		each: func(line []byte) {
			e, err := parseEntry(line)
			if err != nil || !strings.HasPrefix(e.Key, counted) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if e.Outcome == "accepted" {
				m.inside = append(m.inside, e.Milliseconds)
			} else {
				other = bytes.Clone(line)
			}
		},
	}.start(ctx)
	if err != nil {
		return m, err
	}
	s := shooter{
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: requestsPerSecond}, Timeout: 10 * time.Second},
		request: func(ctx context.Context, source, id string) (*http.Request, error) {
			return t.request(ctx, "http://"+address, source, id)
		},
	}
	_, err = s.fire(ctx, warmUp, warmUpRequests)
	if err == nil {
		m.outside, err = s.fire(ctx, source, countedRequests)
	}
	if err == nil {
		m.rate, err = s.full(ctx, fullRequests)
	}
	m.cpu = function.stop()
	if err == nil && len(m.inside) != countedRequests {
		err = fmt.Errorf("%s logged %d accepted deliveries of %d; %s", t.function, len(m.inside), countedRequests, other)
	}
	return m, err
}

// shooter is whoever posts.
type shooter struct {
	client  *http.Client
	request func(ctx context.Context, source, id string) (*http.Request, error)
}

// The closed loop: so many senders, each waiting for its answer.
const (
	senders      = 32
	fullRequests = 3000
)

// full posts n requests as fast as the senders can and returns how many there were in a
// second.
func (s *shooter) full(ctx context.Context, n int) (float64, error) {
	requests := make(chan *http.Request, n)
	for i := range n {
		r, err := s.request(ctx, warmUp, fmt.Sprintf("full-%d", i))
		if err != nil {
			return 0, err
		}
		requests <- r
	}
	close(requests)
	failed := make([]error, senders)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range senders {
		wg.Go(func() {
			for r := range requests {
				if err := s.send(r); err != nil {
					failed[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	s.client.CloseIdleConnections()
	return float64(n) / took.Seconds(), errors.Join(failed...)
}

// fire sends n deliveries of a source, each when it is due, and returns how long each
// took from then. Every one must be accepted.
func (s *shooter) fire(ctx context.Context, source string, n int) ([]time.Duration, error) {
	defer s.client.CloseIdleConnections()
	requests := make([]*http.Request, n)
	for i := range requests {
		var err error
		if requests[i], err = s.request(ctx, source, fmt.Sprintf("%s-%d", source, i)); err != nil {
			return nil, err
		}
	}
	took := make([]time.Duration, n)
	failed := make([]error, n)
	var wg sync.WaitGroup
	began := time.Now()
	for i, r := range requests {
		due := began.Add(time.Duration(i) * time.Second / requestsPerSecond)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			failed[i] = s.send(r)
			took[i] = time.Since(due)
		})
	}
	wg.Wait()
	for i, err := range failed {
		if err != nil {
			return nil, fmt.Errorf("request %s-%d: %w", source, i, err)
		}
	}
	return took, nil
}

func (s *shooter) send(r *http.Request) error {
	response, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

// joiner is one about a person of its own.
func joiner(ctx context.Context, signer *webhook.Signer, url, id string) (*http.Request, error) {
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "https://hr.contoso.example", "type": event.Joiner, "subject": id,
		"time": time.Now().Format(time.RFC3339Nano), "data": joinerData(id),
	})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", event.ContentType)
	return r, signer.Sign(r.Header, id, time.Now(), body)
}

// joinerData is what HR says: the person starts tomorrow, so that the pass is due
// and the whole plan runs.
func joinerData(employeeID string) map[string]any {
	return map[string]any{
		"person": map[string]any{"employeeId": employeeID}, "timeZone": "UTC",
		"startDate": time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly),
	}
}
