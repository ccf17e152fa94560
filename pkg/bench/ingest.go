package bench

import (
	"bytes"
	"context"
	"encoding/json"
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

// ingestLatency posts joiners at a fixed rate. A request's time counts from when it
// was due, so that a stall is not hidden by the requests it held back.
func ingestLatency(ctx context.Context, bin Bin) ([]Figure, error) {
	bus, connectionString, err := startEmulator(ctx, bin)
	if err != nil {
		return nil, err
	}
	defer bus.stop()
	env, err := hrEventsEnv(connectionString)
	if err != nil {
		return nil, err
	}
	counted := event.NewKey(source, "counted-")
	var address string
	var mu sync.Mutex
	var inside []float64
	function, err := command{
		path: bin.path("hr-events"), env: append(machine(), env...),
		ready: func(line []byte) bool {
			e, err := parseEntry(line)
			address = e.Addr
			return err == nil && e.Message == "listening"
		},
		each: func(line []byte) {
			if e, err := parseEntry(line); err == nil && e.Outcome == "accepted" && strings.HasPrefix(e.Key, counted) {
				mu.Lock()
				defer mu.Unlock()
				inside = append(inside, e.Milliseconds)
			}
		},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	shooter, err := newShooter("http://" + address + "/hr/" + source)
	if err == nil {
		_, err = shooter.fire(ctx, "warm-", warmUpRequests)
	}
	var outside []time.Duration
	if err == nil {
		outside, err = shooter.fire(ctx, "counted-", countedRequests)
	}
	cpu := function.stop()
	if err != nil {
		return nil, err
	}
	if len(inside) != countedRequests {
		return nil, fmt.Errorf("hr-events logged %d accepted deliveries of %d", len(inside), countedRequests)
	}
	return []Figure{
		{Name: "request sent to 202, p50", Value: milliseconds(quantile(outside, 0.5)), Unit: "ms"},
		Figure{Name: "request sent to 202, p99", Value: milliseconds(quantile(outside, 0.99)), Unit: "ms"}.bounded(Under, 50),
		{Name: "signature check to accepted by the broker, p50", Value: quantile(inside, 0.5), Unit: "ms"},
		Figure{Name: "signature check to accepted by the broker, p99", Value: quantile(inside, 0.99), Unit: "ms"}.bounded(Under, 50),
		{Name: "processor time per request", Value: milliseconds(cpu) / (warmUpRequests + countedRequests), Unit: "ms"},
	}, nil
}

// shooter is the HR system.
type shooter struct {
	url    string
	signer *webhook.Signer
	client *http.Client
}

func newShooter(url string) (*shooter, error) {
	signer, err := webhook.NewSigner(identity.NewSecret(signingKey))
	if err != nil {
		return nil, err
	}
	return &shooter{url: url, signer: signer, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: requestsPerSecond},
		Timeout:   10 * time.Second,
	}}, nil
}

// fire sends n signed joiners, each when it is due, and returns how long each took
// from then. Every one must be accepted.
func (s *shooter) fire(ctx context.Context, prefix string, n int) ([]time.Duration, error) {
	defer s.client.CloseIdleConnections()
	requests := make([]*http.Request, n)
	for i := range requests {
		var err error
		if requests[i], err = s.request(ctx, fmt.Sprintf("%s%d", prefix, i)); err != nil {
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
			return nil, fmt.Errorf("request %s%d: %w", prefix, i, err)
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

// request is a joiner about a person of its own.
func (s *shooter) request(ctx context.Context, id string) (*http.Request, error) {
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "https://hr.contoso.example", "type": event.Joiner, "subject": id,
		"time": time.Now().Format(time.RFC3339Nano), "data": joinerData(id),
	})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", event.ContentType)
	return r, s.signer.Sign(r.Header, id, time.Now(), body)
}

// joinerData is what HR says: the person starts tomorrow, so that the pass is due
// and the whole plan runs.
func joinerData(employeeID string) map[string]any {
	return map[string]any{
		"person": map[string]any{"employeeId": employeeID}, "timeZone": "UTC",
		"startDate": time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly),
	}
}
