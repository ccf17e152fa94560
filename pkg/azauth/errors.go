package azauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"mfaflow/pkg/identity"
)

// exchange holds why the last step of a token request failed. azidentity turns
// causes into text, and its text may quote answers, tokens included.
type exchange struct {
	mu    sync.Mutex
	cause error
}

type exchangeKey struct{}

func note(ctx context.Context, cause error) {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		x.mu.Lock()
		x.cause = cause
		x.mu.Unlock()
	}
}

func (x *exchange) failure() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause
}

// transport is azcore's Transporter over an http.Client.
type transport struct{ client *http.Client }

func (t transport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.client.Do(req)
	if err != nil {
		cause := err
		var ue *url.Error
		if errors.As(err, &ue) {
			cause = ue.Err
		}
		note(req.Context(), cause)
		return nil, err
	}
	note(req.Context(), nil)
	return resp, nil
}

// assertionError marks a failure of the federated identity provider's callback.
type assertionError struct{ err error }

func (e *assertionError) Error() string { return "client assertion: " + e.err.Error() }
func (e *assertionError) Unwrap() error { return e.err }

func watch(assertion func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		token, err := assertion(ctx)
		if err != nil {
			err = &assertionError{err}
			note(ctx, err)
		}
		return token, err
	}
}

// classify turns a failed token request into the error classes of identity. An
// answer of 4xx is Entra's verdict on our app and only an administrator can change
// it; 408, 429, 5xx and a missing answer pass with time.
func classify(ctx context.Context, x *exchange, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refused *azidentity.AuthenticationFailedError
	if errors.As(err, &refused) && refused.RawResponse != nil {
		resp := refused.RawResponse
		text := fmt.Errorf("token service answers %d%s", resp.StatusCode, reason(resp))
		switch {
		case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
			return &identity.RetryError{After: seconds(resp.Header.Get("Retry-After")), Err: text}
		case resp.StatusCode >= 400:
			return fmt.Errorf("%w: %w", text, identity.ErrForbidden)
		}
		return &identity.RetryError{Err: fmt.Errorf("answer of the token service cannot be read (status %d)", resp.StatusCode)}
	}
	if cause := x.failure(); errors.Is(cause, identity.ErrForbidden) {
		return cause
	} else if cause != nil {
		return &identity.RetryError{Err: cause}
	}
	return &identity.RetryError{Err: errors.New("token service gave no usable answer")}
}

// reason is Entra's error code and AADSTS numbers; the description beside them
// repeats request ids and addresses.
func reason(resp *http.Response) string {
	body, err := runtime.Payload(resp)
	if err != nil {
		return ""
	}
	var answer struct {
		Error string `json:"error"`
		Codes []int  `json:"error_codes"`
	}
	if json.Unmarshal(body, &answer) != nil || !isCode(answer.Error) {
		return ""
	}
	text := ""
	if answer.Error != "" {
		text = " " + answer.Error
	}
	for _, c := range answer.Codes {
		text += " AADSTS" + strconv.Itoa(c) + advice(c)
	}
	return text
}

// advice is what an administrator can do about a number. The numbers change (Entra,
// reference-error-codes), so nothing but the text depends on them.
func advice(code int) string {
	switch code {
	case 90002:
		return " (there is no such tenant: MFAFLOW_TENANT_ID)"
	case 700016:
		return " (the tenant has no app with this id: MFAFLOW_CLIENT_ID)"
	case 7000215, 7000222:
		return " (the client secret is none of the app, or has ended)"
	case 700024:
		return " (the proof is expired or not valid yet: is the clock right?)"
	case 700027:
		return " (the proof's signature is by no certificate or key of the app)"
	case 70021, 700211, 700212, 700213:
		return " (no federated credential of the app has this issuer, this audience and the ARN of this role as subject)"
	}
	return ""
}

// isCode reports whether s looks like an OAuth error code (RFC 6749 section 5.2).
func isCode(s string) bool {
	if len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && r != '_' {
			return false
		}
	}
	return true
}

func seconds(header string) time.Duration {
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 || n > 24*60*60 {
		return 0
	}
	return time.Duration(n) * time.Second
}
