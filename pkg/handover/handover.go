// Package handover delivers passes to a configured service that hands them to
// people, by a webhook signed as Standard Webhooks says.
//
// The one URL it posts to comes from configuration, never from an event. It knows
// no queue and no directory.
package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/webhook"
	"mfaflow/pkg/worker"
)

// Channel posts passes. Its errors are told apart as the directory's are:
// *identity.RetryError for what time may cure, identity.ErrRefused for good.
type Channel struct {
	url    string
	signer *webhook.Signer
	client *http.Client
	now    func() time.Time
}

// timeout bounds one delivery: the pass is in memory meanwhile.
const timeout = 10 * time.Second

// New checks the key; the URL has been checked by the configuration.
func New(url string, key identity.Secret, now func() time.Time) (*Channel, error) {
	signer, err := webhook.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("hand-over key: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// Passes are rare and a frozen sandbox kills what it keeps open.
	transport.DisableKeepAlives = true
	client := &http.Client{
		Transport: transport, Timeout: timeout,
		// The pass goes to the configured host and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Channel{url: url, signer: signer, client: client, now: now}, nil
}

// Name implements worker.Channel.
func (*Channel) Name() string { return "handover" }

// Recipient implements worker.Channel: the service takes passes for everybody.
func (*Channel) Recipient(_ context.Context, person identity.Account, _ *ledger.Ledger, _ time.Time) (worker.Recipient, bool, error) {
	return worker.Recipient{Person: person}, true, nil
}

// body is what the service gets.
type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	UserID              identity.UserID `json:"userId"`
	UserPrincipalName   string          `json:"userPrincipalName"`
	DisplayName         string          `json:"displayName"`
	TemporaryAccessPass string          `json:"temporaryAccessPass"`
	Opens               time.Time       `json:"opens"`
	Ends                time.Time       `json:"ends"`
	OneTime             bool            `json:"oneTime"`
}

// Deliver implements worker.Channel. The webhook id is the id of the pass, so that
// the service can tell a repeated delivery.
func (c *Channel) Deliver(ctx context.Context, to worker.Recipient, pass identity.IssuedPass) error {
	b, err := json.Marshal(body{
		Type: "pass.issued", Timestamp: c.now().UTC(),
		Data: data{
			UserID: to.Person.ID, UserPrincipalName: to.Person.UserPrincipalName, DisplayName: to.Person.DisplayName,
			TemporaryAccessPass: pass.Value.Reveal(), Opens: pass.StartsAt, Ends: pass.EndsAt(), OneTime: pass.OneTime,
		},
	})
	if err != nil {
		return fmt.Errorf("hand-over: %w", identity.ErrRefused)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("hand-over: %w: the URL is not valid", identity.ErrRefused)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Correlation-Id", correlation.ID(ctx))
	correlation.Stamp(ctx, req.Header)
	if err := c.signer.Sign(req.Header, pass.ID, c.now(), b); err != nil {
		return fmt.Errorf("hand-over: %w", err)
	}
	started := time.Now()
	resp, err := c.client.Do(req)
	call := correlation.Call{Method: http.MethodPost, Path: req.URL.Path, Duration: time.Since(started)}
	if err != nil {
		correlation.Record(ctx, call)
		return &identity.RetryError{Unknown: true, Err: fmt.Errorf("hand-over service: %w", err)}
	}
	defer resp.Body.Close()
	call.Status, call.Duration = resp.StatusCode, time.Since(started)
	correlation.Record(ctx, call)
	return c.judge(resp)
}

// maxRetryAfter bounds what a service may make a pass wait for.
const maxRetryAfter = time.Hour

func (c *Channel) judge(resp *http.Response) error {
	err := fmt.Errorf("hand-over service answered %d", resp.StatusCode)
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode >= 500:
		return &identity.RetryError{After: identity.RetryAfter(resp.Header, c.now(), maxRetryAfter), Err: err}
	default:
		return fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
}
