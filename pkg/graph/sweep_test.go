package graph_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/sweep"
)

// world is a simulator that accepts notification URLs on this machine, and an endpoint.
func world(t *testing.T, change func(*sim.Options)) (*sim.Server, *httptest.Server) {
	t.Helper()
	people, err := sim.ParseTenant(tenantJSON)
	if err != nil {
		t.Fatal(err)
	}
	o := sim.Options{Tenant: people, PlainCallbacks: true, HoldNotifications: true}
	if change != nil {
		change(&o)
	}
	s, err := sim.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, r.URL.Query().Get("validationToken"))
	}))
	t.Cleanup(func() {
		endpoint.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, endpoint
}

func order(endpoint *httptest.Server) sweep.Subscription {
	return sweep.Subscription{
		Resource: "users", ChangeType: "updated,deleted", NotificationURL: endpoint.URL + "/graph", LifecycleURL: endpoint.URL + "/lifecycle",
		ClientState: identity.NewSecret("state-of-now"), ExpiresAt: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second),
	}
}

func TestSubscriptions(t *testing.T) {
	s, endpoint := world(t, nil)
	c := worker(t, s)
	ctx := t.Context()

	made, err := c.Subscribe(ctx, order(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	want := order(endpoint)
	want.ID, want.ExpiresAt = made.ID, made.ExpiresAt
	if diff := cmp.Diff(want, made, cmp.Comparer(func(a, b identity.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" || made.ID == "" {
		t.Error(diff)
	}
	list, err := c.Subscriptions(ctx)
	if err != nil || len(list) != 1 || list[0].ID != made.ID || list[0].ClientState.Reveal() != "" || list[0].LifecycleURL != want.LifecycleURL || !list[0].ExpiresAt.Equal(made.ExpiresAt) {
		t.Errorf("listed %+v, %v", list, err)
	}
	until := made.ExpiresAt.Add(time.Hour)
	renewed, err := c.Renew(ctx, made.ID, until)
	if err != nil || !renewed.ExpiresAt.Equal(until) || renewed.ID != made.ID {
		t.Errorf("renewed %+v, %v", renewed, err)
	}
	for range 2 {
		if err := c.Unsubscribe(ctx, made.ID); err != nil {
			t.Error(err)
		}
	}
	_, err = c.Renew(ctx, made.ID, until)
	checkClass(t, err, outcome{is: identity.ErrNotFound}, true)
	for _, id := range []string{"", "../users", "x"} {
		_, err := c.Renew(ctx, id, until)
		checkClass(t, err, outcome{is: identity.ErrRefused}, true)
		checkClass(t, c.Unsubscribe(ctx, id), outcome{is: identity.ErrRefused}, true)
	}

	short := order(endpoint)
	short.ExpiresAt = time.Now().Add(time.Minute)
	granted, err := c.Subscribe(ctx, short)
	if err != nil || time.Until(granted.ExpiresAt) < 40*time.Minute {
		t.Errorf("expiry granted %v, %v", granted.ExpiresAt, err)
	}
}

func TestSubscribeRefused(t *testing.T) {
	s, endpoint := world(t, nil)
	c := worker(t, s)
	mute := httptest.NewServer(http.NotFoundHandler())
	defer mute.Close()
	for name, change := range map[string]func(*sweep.Subscription){
		"endpoint without handshake": func(o *sweep.Subscription) { o.NotificationURL = mute.URL },
		"lifecycle without one":      func(o *sweep.Subscription) { o.LifecycleURL = mute.URL },
		"beyond the longest":         func(o *sweep.Subscription) { o.ExpiresAt = time.Now().Add(30 * 24 * time.Hour) },
		"created":                    func(o *sweep.Subscription) { o.ChangeType = "created" },
		"risky users":                func(o *sweep.Subscription) { o.Resource = "identityProtection/riskyUsers" },
		"long client state":          func(o *sweep.Subscription) { o.ClientState = identity.NewSecret(strings.Repeat("s", 129)) },
	} {
		o := order(endpoint)
		change(&o)
		_, err := c.Subscribe(t.Context(), o)
		checkClass(t, err, outcome{is: identity.ErrRefused}, true)
		if strings.Contains(err.Error(), "state-of-now") || strings.Contains(err.Error(), "sss") {
			t.Errorf("%s: the error shows the client state", name)
		}
	}
	if n := len(s.Subscriptions()); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// The quota and the missing permission have the same status and the same code.
func TestQuotaIsNotAMissingPermission(t *testing.T) {
	s, endpoint := world(t, nil)
	c := worker(t, s)
	for range 100 {
		if _, err := c.Subscribe(t.Context(), order(endpoint)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Subscribe(t.Context(), order(endpoint))
	if !errors.Is(err, sweep.ErrQuota) || errors.Is(err, identity.ErrForbidden) {
		t.Errorf("quota: %v", err)
	}
	one := order(endpoint)
	one.Resource = "users/" + string(mia) // reading users proves nothing about others
	if _, err := c.Subscribe(t.Context(), one); errors.Is(err, sweep.ErrQuota) {
		t.Errorf("one user: %v", err)
	}
	_, err = as(t, s, "nothing", s.URL()).Subscribe(t.Context(), order(endpoint))
	checkClass(t, err, outcome{is: identity.ErrForbidden}, true)
}

func readChanges(t *testing.T, c *graph.Client, link string) (changes []sweep.Change, delta string, pages int) {
	t.Helper()
	for {
		p, err := c.Changes(t.Context(), link)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		changes = append(changes, p.Items...)
		if p.Delta != "" {
			return changes, p.Delta, pages
		}
		link = p.Next
	}
}

func TestChanges(t *testing.T) {
	s, _ := world(t, func(o *sim.Options) { o.Tenant.Behaviour.DeltaPage = 4 })
	c := worker(t, s)
	ctx := t.Context()

	everybody, link, pages := readChanges(t, c, "")
	if len(everybody) != len(s.Users()) || pages != 3 || everybody[0].Enabled == nil {
		t.Errorf("%d of %d users on %d pages", len(everybody), len(s.Users()), pages)
	}
	if err := c.SetEnabled(ctx, sean, false); err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeSessions(ctx, mia); err != nil { // not a property we ask for
		t.Fatal(err)
	}
	if err := s.Delete(string(inner)); err != nil {
		t.Fatal(err)
	}
	disabled := false
	want := []sweep.Change{{ID: sean, Enabled: &disabled}, {ID: inner, Removed: true}}
	got, next, _ := readChanges(t, c, link)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if again, _, _ := readChanges(t, c, link); !cmp.Equal(want, again) {
		t.Errorf("the same link answers %v the second time", again)
	}
	if err := s.Purge(string(inner)); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := readChanges(t, c, next); !cmp.Equal(got, []sweep.Change{{ID: inner, Removed: true}}) {
		t.Errorf("after the purge %v", got)
	}

	now, err := c.ChangesFromNow(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := readChanges(t, c, now); len(got) != 0 {
		t.Errorf("changes since now %v", got)
	}
	s.ResetDelta()
	_, err = c.Changes(ctx, now)
	checkClass(t, err, outcome{is: sweep.ErrResync}, false)
}

// Links come from state that others may have written: the token goes to Graph only.
func TestLinksLeadToGraphOnly(t *testing.T) {
	for _, link := range []string{
		"https://elsewhere.example/v1.0/users/delta?$deltatoken=x", "http://127.0.0.1:9.elsewhere.example/v1.0/users", "http://127.0.0.1:9@elsewhere.example/v1.0/",
		"/v1.0/users/delta", "http://127.0.0.1:9/beta/users", "http://127.0.0.1:9", "http://127.0.0.1:9/v1.0/%zz", "x",
	} {
		c := wired(t, func(r *http.Request) (*http.Response, error) {
			t.Errorf("%s: a request goes to %s", link, r.URL)
			return says(200, `{"value":[]}`), nil
		})
		_, err := c.Changes(t.Context(), link)
		if err == nil {
			t.Errorf("%s: no error", link)
		}
	}
	// Verbatim, whatever is in it.
	const link = "http://127.0.0.1:9/v1.0/users/delta?$deltatoken=a%2Bb+c~'x'&y"
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		if got := r.URL.String(); got != link {
			t.Errorf("request goes to %s", got)
		}
		return says(200, `{"value":[],"@odata.deltaLink":"`+link+`"}`), nil
	})
	if p, err := c.Changes(t.Context(), link); err != nil || p.Delta != link {
		t.Errorf("%+v, %v", p, err)
	}
}

// An expired token is told in several ways.
func TestVoidLinks(t *testing.T) {
	const link = "http://127.0.0.1:9/v1.0/users/delta?$deltatoken=old"
	for _, tc := range []struct {
		status int
		code   string
		want   error
	}{
		{410, "resyncRequired", sweep.ErrResync}, {410, "", sweep.ErrResync}, {400, "syncStateNotFound", sweep.ErrResync}, {404, "SyncStateNotFound", sweep.ErrResync},
		{400, "Directory_ExpiredPageToken", sweep.ErrResync}, {400, "Request_BadRequest", identity.ErrRefused}, {403, "Authorization_RequestDenied", identity.ErrForbidden},
	} {
		c := wired(t, func(*http.Request) (*http.Response, error) {
			return says(tc.status, `{"error":{"code":"`+tc.code+`","message":"x"}}`), nil
		})
		_, err := c.Changes(t.Context(), link)
		checkClass(t, err, outcome{is: tc.want}, false)
	}
}

func TestChangesThatLeadNowhere(t *testing.T) {
	for _, body := range []string{
		`{"value":[]}`,
		`{"value":[],"@odata.nextLink":"http://127.0.0.1:9/v1.0/a","@odata.deltaLink":"http://127.0.0.1:9/v1.0/b"}`,
		`{"value":[],"@odata.deltaLink":"https://elsewhere.example/v1.0/b"}`,
	} {
		c := wired(t, func(*http.Request) (*http.Response, error) { return says(200, body), nil })
		_, err := c.Changes(t.Context(), "")
		checkClass(t, err, outcome{}, false)
		_, err = c.ChangesFromNow(t.Context())
		checkClass(t, err, outcome{}, false)
	}
}
