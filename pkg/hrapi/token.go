package hrapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/identity"
)

// A token is used until a minute before its end, and a day at the most.
const (
	tokenMargin = time.Minute
	maxToken    = 24 * time.Hour
)

// token is the access token of one API. Who needs a new one waits for the one that is
// being fetched.
type token struct {
	mu    sync.Mutex
	value string
	until time.Time
}

// drop forgets the token, unless somebody has a newer one already.
func (t *token) drop(used string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == used {
		t.value = ""
	}
}

// bearer is a token that should be good now.
func (c *Client) bearer(ctx context.Context, a *api) (string, error) {
	a.token.mu.Lock()
	defer a.token.mu.Unlock()
	if a.token.value != "" && c.now().Before(a.token.until) {
		return a.token.value, nil
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {a.OAuth.ClientID}, "client_secret": {a.OAuth.ClientSecret.Reveal()},
	}
	if a.OAuth.Scope != "" {
		form.Set("scope", a.OAuth.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.OAuth.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("get an HR API token: %w: the address is no URL", identity.ErrRefused)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	raw, err := c.do(ctx, a, req)
	retry, later := errors.AsType[*identity.RetryError](err)
	switch {
	case later:
		return "", retry
	case err != nil:
		// A wrong secret is 400 or 401 (RFC 6749 section 5.2), a wrong address 404.
		return "", fmt.Errorf("get an HR API token: %w: %w: correct oauth in MFAFLOW_RECORD_SOURCES", identity.ErrForbidden, withoutNotFound(err))
	}
	var answer struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.AccessToken == "" {
		return "", fmt.Errorf("get an HR API token: %w: the answer holds no access_token", identity.ErrRefused)
	}
	life, _ := answer.ExpiresIn.Int64() // zero: used once
	a.token.value, a.token.until = answer.AccessToken, c.now().Add(min(time.Duration(life)*time.Second, maxToken)-tokenMargin)
	return answer.AccessToken, nil
}

// withoutNotFound keeps a missing token service from passing for a missing person.
func withoutNotFound(err error) error { return errors.New(err.Error()) }
