package graph

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Subscription is a standing order for change notifications.
type Subscription struct {
	ID              string
	App             string // client id of its owner, the only one who sees it
	Resource        string // as it was asked for
	ChangeType      string
	NotificationURL string
	LifecycleURL    string
	ClientState     string
	ExpiresAt       time.Time
	remindAt        time.Time // of the next reauthorizationRequired
}

const (
	// longestSubscription is that of directory resources, shortestSubscription what a
	// shorter one is extended to (Graph, "subscription resource type").
	longestSubscription  = 41_760 * time.Minute
	shortestSubscription = 45 * time.Minute
	longestClientState   = 128

	subscriptionsPerApp    = 100  // and tenant, for users and groups
	subscriptionsPerTenant = 1000 // of all apps

	// callbackTimeout is how long Graph waits for an endpoint
	// (change-notifications-delivery-webhooks).
	callbackTimeout = 10 * time.Second
)

// Subscriptions are copies of those that have not expired, of every app, oldest first.
func (s *Server) Subscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.post.expire(s.clock.Now())
	out := make([]Subscription, 0, len(s.post.subscriptions))
	for _, sub := range s.post.subscriptions {
		out = append(out, *sub)
	}
	return out
}

// DropSubscription ends a subscription without a word, as Graph does to those on users.
func (s *Server) DropSubscription(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.post.drop(id)
}

func (sub *Subscription) render() map[string]any {
	var lifecycle any
	if sub.LifecycleURL != "" {
		lifecycle = sub.LifecycleURL
	}
	return map[string]any{
		"id": sub.ID, "applicationId": sub.App, "creatorId": sub.App, "resource": sub.Resource, "changeType": sub.ChangeType,
		"notificationUrl": sub.NotificationURL, "lifecycleNotificationUrl": lifecycle, "expirationDateTime": sub.ExpiresAt,
		"clientState": nil, "notificationQueryOptions": nil, "notificationUrlAppId": nil, "includeResourceData": nil,
		"encryptionCertificate": nil, "encryptionCertificateId": nil, "latestSupportedTlsVersion": "v1_2",
	}
}

// matches reports whether a change of a user is one that the subscription is for.
// Creation, soft deletion and restoring come as updates, only the end of a deleted
// user as a deletion (Graph, "subscription resource type").
func (sub *Subscription) matches(c change) (changeType string, ok bool) {
	resource := strings.ToLower(strings.Trim(sub.Resource, "/"))
	if resource != "users" && resource != "users/"+strings.ToLower(c.id) {
		return "", false
	}
	changeType = "updated"
	if c.kind == userPurged {
		changeType = "deleted"
	}
	return changeType, slices.Contains(strings.Split(sub.ChangeType, ","), changeType)
}

// subscription is the one the path names, if it is the caller's.
func (s *Server) subscription(r *request) (*Subscription, error) {
	s.post.expire(r.now)
	for _, sub := range s.post.subscriptions {
		if strings.EqualFold(sub.ID, r.params["subscription"]) && sub.App == r.caller.clientID {
			return sub, nil
		}
	}
	return nil, &apiError{status: http.StatusNotFound, code: "ResourceNotFound", message: "The object was not found."}
}

func (s *Server) listSubscriptions(r *request) (response, error) {
	s.post.expire(r.now)
	var value []map[string]any
	for _, sub := range s.post.subscriptions {
		if sub.App == r.caller.clientID {
			value = append(value, sub.render())
		}
	}
	return list(r, "subscriptions", value), nil
}

func (s *Server) getSubscription(r *request) (response, error) {
	sub, err := s.subscription(r)
	if err != nil {
		return response{}, err
	}
	body := sub.render()
	body["@odata.context"] = r.context("subscriptions/$entity")
	return ok(body), nil
}

func (s *Server) deleteSubscription(r *request) (response, error) {
	sub, err := s.subscription(r)
	if err != nil {
		return response{}, err
	}
	s.post.drop(sub.ID)
	return noContent(), nil
}

// reauthorizeSubscription binds the subscription to a new token; it does not extend it.
func (s *Server) reauthorizeSubscription(r *request) (response, error) {
	sub, err := s.subscription(r)
	if err != nil {
		return response{}, err
	}
	sub.remindAt = r.now.Add(tokenLifetime)
	return noContent(), nil
}

// errSubscription is the refusal of what a subscription asks for.
func errSubscription(format string, args ...any) *apiError {
	e := errBadRequest(format, args...)
	e.code = "InvalidRequest"
	return e
}

// subscriptionBody is what a client may write; other names are refused as Graph does
// (microsoft-graph-docs#2231).
type subscriptionBody struct {
	Type            *string    `json:"@odata.type"`
	Resource        *string    `json:"resource"`
	ChangeType      *string    `json:"changeType"`
	NotificationURL *string    `json:"notificationUrl"`
	LifecycleURL    *string    `json:"lifecycleNotificationUrl"`
	ClientState     *string    `json:"clientState"`
	Expires         *time.Time `json:"expirationDateTime"`
	ResourceData    *bool      `json:"includeResourceData"`
	TLSVersion      *string    `json:"latestSupportedTlsVersion"`
}

func decodeSubscription(r *request) (subscriptionBody, error) {
	dec := json.NewDecoder(strings.NewReader(string(r.body)))
	dec.DisallowUnknownFields()
	var b subscriptionBody
	if err := dec.Decode(&b); err != nil {
		return b, errSubscription("Could not process subscription creation payload. Are all property names spelled and camelCased properly? Also are the Datetimes well formed?")
	}
	return b, nil
}

func value[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

// createSubscription makes a subscription once both URLs have proved to be the caller's.
// The proof is made outside the lock: an endpoint may call Graph while it answers.
func (s *Server) createSubscription(r *request) (response, error) {
	b, err := decodeSubscription(r)
	if err != nil {
		return response{}, err
	}
	sub := &Subscription{
		ID: s.newID(), App: r.caller.clientID, Resource: value(b.Resource), ChangeType: value(b.ChangeType), NotificationURL: value(b.NotificationURL),
		LifecycleURL: value(b.LifecycleURL), ClientState: value(b.ClientState),
	}
	if err := s.checkResource(r, sub.Resource); err != nil {
		return response{}, err
	}
	if sub.ChangeType == "" {
		return response{}, errSubscription("changeType is a required property for subscription creation.")
	}
	for _, t := range strings.Split(sub.ChangeType, ",") {
		if t != "updated" && t != "deleted" {
			return response{}, errSubscription("The change type '%s' is not supported for the resource '%s'.", t, sub.Resource)
		}
	}
	if value(b.ResourceData) {
		return response{}, errSubscription("Resource data cannot be included for the resource '%s'.", sub.Resource)
	}
	if len(sub.ClientState) > longestClientState {
		return response{}, errSubscription("clientState must not be longer than %d characters.", longestClientState)
	}
	if sub.ExpiresAt, err = subscriptionEnd(b.Expires, r.now); err != nil {
		return response{}, err
	}
	sub.remindAt = sub.ExpiresAt.Add(-remindBefore)
	for _, u := range []string{sub.NotificationURL, sub.LifecycleURL} {
		if u == "" && u == sub.LifecycleURL && sub.NotificationURL != "" {
			continue
		}
		if err := s.checkCallback(u); err != nil {
			return response{}, err
		}
	}
	if err := s.checkQuota(r); err != nil {
		return response{}, err
	}
	if err := s.outside(func() error { return s.validateCallbacks(sub.NotificationURL, sub.LifecycleURL) }); err != nil {
		return response{}, err
	}
	if err := s.checkQuota(r); err != nil { // others may have subscribed meanwhile
		return response{}, err
	}
	s.changes.watched = true
	s.post.subscriptions = append(s.post.subscriptions, sub)
	s.post.knock()
	body := sub.render()
	body["@odata.context"] = r.context("subscriptions/$entity")
	body["clientState"] = orNull(sub.ClientState)
	return created(body), nil
}

// patchSubscription renews a subscription, which also authorises it again, or moves it
// to another URL, which must prove itself first.
func (s *Server) patchSubscription(r *request) (response, error) {
	sub, err := s.subscription(r)
	if err != nil {
		return response{}, err
	}
	b, err := decodeSubscription(r)
	if err != nil {
		return response{}, err
	}
	if b.LifecycleURL != nil { // change-notifications-lifecycle-events
		return response{}, errSubscription("lifecycleNotificationUrl cannot be changed; delete the subscription and create it anew.")
	}
	if b.Resource != nil || b.ChangeType != nil || b.ClientState != nil || b.ResourceData != nil || b.Expires == nil && b.NotificationURL == nil {
		return response{}, errSubscription("Only expirationDateTime and notificationUrl can be updated.")
	}
	ends := sub.ExpiresAt
	if b.Expires != nil {
		if ends, err = subscriptionEnd(b.Expires, r.now); err != nil {
			return response{}, err
		}
	}
	if b.NotificationURL != nil {
		if err := s.checkCallback(*b.NotificationURL); err != nil {
			return response{}, err
		}
		if err := s.outside(func() error { return s.validateCallbacks(*b.NotificationURL) }); err != nil {
			return response{}, err
		}
		if sub, err = s.subscription(r); err != nil { // it may be gone by now
			return response{}, err
		}
		sub.NotificationURL = *b.NotificationURL
	}
	sub.ExpiresAt, sub.remindAt = ends, ends.Add(-remindBefore)
	s.post.knock()
	body := sub.render()
	body["@odata.context"] = r.context("subscriptions/$entity")
	return ok(body), nil
}

// outside runs f without the lock that every operation holds.
func (s *Server) outside(f func() error) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return f()
}

// checkResource accepts users and one user. Identity protection, sign-ins and
// authentication methods cannot be subscribed to; what else can is not simulated.
func (s *Server) checkResource(r *request, resource string) error {
	if resource == "" {
		return errSubscription("resource is a required property for subscription creation.")
	}
	path := strings.Split(strings.Trim(resource, "/"), "/")
	if !strings.EqualFold(path[0], "users") || len(path) > 2 || strings.Contains(resource, "?") {
		return errSubscription("Subscriptions on the resource '%s' are not supported.", resource)
	}
	if !r.caller.may("User.Read.All") {
		return errExtension(http.StatusForbidden, "Operation: Create; Exception: [Status Code: Forbidden; Reason: The application lacks a permission that the resource needs.]")
	}
	if len(path) == 2 && s.dir.byID[strings.ToLower(path[1])] == nil {
		return errNotFound(path[1])
	}
	return nil
}

// checkQuota is the limit for users and groups (Graph, "Change notifications for
// Microsoft Entra resources"): 403, and only the message says why. The text is assumed;
// the code is what OneDrive's limit gives (microsoft-graph-docs#21403), and that of a
// missing permission too.
func (s *Server) checkQuota(r *request) error {
	s.post.expire(r.now)
	own := 0
	for _, sub := range s.post.subscriptions {
		if sub.App == r.caller.clientID {
			own++
		}
	}
	if own >= subscriptionsPerApp || len(s.post.subscriptions) >= subscriptionsPerTenant {
		return errExtension(http.StatusForbidden, "Operation: Create; Exception: [Status Code: Forbidden; Reason: Maximum number of subscriptions has been reached]")
	}
	return nil
}

// subscriptionEnd is the expiry that is granted. The text of the refusal was seen for
// mail (microsoft-graph-docs#2988).
func subscriptionEnd(asked *time.Time, now time.Time) (time.Time, error) {
	switch {
	case asked == nil:
		return time.Time{}, errSubscription("expirationDateTime is a required property for subscription creation.")
	case asked.After(now.Add(longestSubscription)):
		return time.Time{}, errExtension(http.StatusBadRequest, "Subscription expiration can only be %d minutes in the future.", longestSubscription/time.Minute)
	case !asked.After(now):
		return time.Time{}, errSubscription("expirationDateTime must be in the future.")
	case asked.Before(now.Add(shortestSubscription)):
		return now.Add(shortestSubscription), nil
	}
	return asked.UTC(), nil
}

// checkCallback accepts the form of a notification URL.
func (s *Server) checkCallback(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errSubscription("The notification URL is not valid.")
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	plain := u.Scheme == "http" && s.plainCallbacks && (host == "localhost" || ip != nil && ip.IsLoopback())
	if u.Scheme != "https" && !plain {
		return errSubscription("The notification URL must use https.")
	}
	return nil
}

func newCallbacks(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{MaxIdleConnsPerHost: 4}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// validateCallbacks asks each URL to repeat a token. The same URL for both purposes is
// asked twice. The codes were seen in 2024 (azure-functions-splunk#26) and, for the
// timeout, in 2021 (nodejs-webhooks-sample#350).
func (s *Server) validateCallbacks(urls ...string) error {
	for _, u := range urls {
		if u == "" {
			continue
		}
		token := "Validation: Testing client application reachability for subscription Request-Id: " + s.newID()
		target, err := url.Parse(u)
		if err != nil {
			return errSubscription("The notification URL is not valid.")
		}
		query := "validationToken=" + url.QueryEscape(token)
		if target.RawQuery != "" {
			query = target.RawQuery + "&" + query
		}
		target.RawQuery = query
		status, header, body, err := s.call(target.String(), "text/plain; charset=utf-8", "")
		media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
		e := &apiError{status: http.StatusBadRequest, code: "ValidationError"}
		switch {
		case err != nil:
			e.code, e.message = "InvalidRequest", "Subscription validation request timed out."
			return e
		case status != http.StatusOK:
			e.message = "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request."
			return e
		case media != "text/plain" || body != token:
			e.message = "Subscription validation request failed. Response must exactly match validationToken query parameter."
			return e
		}
	}
	return nil
}

// call posts to an endpoint of a client and waits as long as Graph does.
func (s *Server) call(url, contentType, body string) (status int, header http.Header, answer string, err error) {
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	t := s.clock.AfterFunc(callbackTimeout, cancel)
	defer t.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := s.callbacks.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, resp.Header, string(data), err
}
