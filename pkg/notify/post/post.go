// Package post sends JSON to one address that is itself a secret, as the addresses
// of incoming webhooks are: whoever has one can post.
//
// It knows no channel's format. Neither the address nor a word of the other side's,
// other than a short error code, is in its errors.
package post

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
)

// Client posts to one address. It is safe for concurrent use.
type Client struct {
	address *url.URL
	http    *http.Client
	now     func() time.Time
}

// timeout bounds one request, should the context not.
const timeout = 10 * time.Second

// New checks the address: absolute, http or https. Whether plain http will do is the
// configuration's business.
func New(address identity.Secret, now func() time.Time) (*Client, error) {
	u, err := url.Parse(address.Reveal())
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("the address is not an absolute URL")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &Client{address: u, now: now, http: &http.Client{
		Timeout:   timeout,
		Transport: transport,
		// The notice goes to the configured host and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// JSON posts body with further header fields. The answer decides:
//
//	2xx              nil
//	408, 429, 5xx    *notify.RetryError, with Retry-After as seconds or as a date
//	anything else    notify.ErrRefused, redirects included: a webhook that has moved
//	                 was set up anew
//	no answer        *notify.RetryError
func (c *Client) JSON(ctx context.Context, header http.Header, body []byte) error {
	req := &http.Request{
		Method: http.MethodPost, URL: c.address, Host: c.address.Host, Header: header.Clone(),
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "mfaflow")
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return &notify.RetryError{Err: errors.New(trouble(err))}
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return c.judge(resp, answer)
}

// maxAnswer is how much of an answer is read. It also lets the connection be used again.
const maxAnswer = 16 << 10

// code is an answer that is nothing but an error code, as Slack's are.
var code = regexp.MustCompile(`^[a-z][a-z_]{1,60}$`)

func (c *Client) judge(resp *http.Response, answer []byte) error {
	text := fmt.Sprintf("answered %d", resp.StatusCode)
	if answer = bytes.TrimSpace(answer); code.Match(answer) {
		text += " " + string(answer)
	}
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode >= 500:
		return &notify.RetryError{After: c.retryAfter(resp.Header), Err: errors.New(text)}
	default:
		return fmt.Errorf("%s: %w", text, notify.ErrRefused)
	}
}

// retryAfter is zero when the header is missing, makes no sense or is in the past.
func (c *Client) retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(at.Sub(c.now()), 0)
}

// trouble says why there is no answer. Errors of net/http quote the address, so only
// those are passed on that are known not to.
func trouble(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	var timedOut interface{ Timeout() bool }
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &timedOut) && timedOut.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns):
		return "no such host"
	case errors.As(err, &certificate):
		return "certificate not trusted"
	case errors.As(err, &op):
		return "connection failed: " + op.Err.Error()
	default:
		return "connection failed"
	}
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
