package graph_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
)

func TestSendMail(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	m := identity.Mail{From: "onboarding@contoso.example", To: "boss@contoso.example", Subject: "A pass for Mia Lind",
		Text: identity.NewSecret("The pass is " + passValue + "\n<b>no markup</b> ü")}
	if err := c.SendMail(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	inbox := s.Mailbox(m.To)
	if len(inbox) != 1 || inbox[0].Subject != m.Subject || inbox[0].Body != m.Text.Reveal() || inbox[0].ContentType != "text" || inbox[0].From != m.From {
		t.Errorf("inbox %+v", inbox)
	}
	if kept := s.Mailbox(m.From); len(kept) != 0 {
		t.Errorf("the sender keeps %d messages", len(kept))
	}
	if text := fmt.Sprintf("%v %+v %#v", m, m, m); strings.Contains(text, passValue) {
		t.Error("the mail prints its text")
	}
	m.From = "nobody@contoso.example"
	if err := c.SendMail(t.Context(), m); !errors.Is(err, identity.ErrRefused) {
		t.Errorf("sender without mailbox: %v", err)
	}
}

func TestOverTLS(t *testing.T) {
	s := tenant(t)
	c := as(t, s, "worker", s.TLSURL()+"/")
	if _, err := c.Account(t.Context(), mia); err != nil {
		t.Error(err)
	}
}

func TestTrail(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	ctx, calls := correlation.Collect(correlation.With(t.Context(), "5f0c7a52-0000-4000-8000-00000000beef"))
	for _, op := range operations {
		if err := op.run(ctx, c); err != nil && !slices.Contains(unwelcome, op.name) {
			t.Errorf("%s: %v", op.name, err)
		}
	}
	logged := s.Requests()
	trail := calls.List()
	if len(trail) != len(logged) || len(trail) < len(operations) {
		t.Fatalf("%d calls in the trail, %d at Graph", len(trail), len(logged))
	}
	byID := map[string]correlation.Call{}
	batched := map[string]correlation.Call{} // an item goes by the id of its batch
	for _, call := range trail {
		if strings.HasSuffix(call.Path, "/$batch") || byID[call.RequestID].Path == "" {
			byID[call.RequestID] = call
		} else {
			batched[call.RequestID+call.Method+call.Path] = call
		}
		if strings.ContainsAny(call.Path, "?@") && !strings.HasSuffix(call.Path, "/sendMail") {
			t.Errorf("the trail shows %q", call.Path)
		}
	}
	for _, r := range logged {
		call := byID[r.ID]
		if r.ClientRequestID != "5f0c7a52-0000-4000-8000-00000000beef" {
			t.Errorf("%s %s carries %q", r.Method, r.Path, r.ClientRequestID)
		}
		path, err := url.PathUnescape(r.Path)
		if r.Batch != "" {
			call = batched[r.Batch+r.Method+path]
		}
		if err != nil || call.Method != r.Method || call.Path != path || call.Status != r.Status || call.Duration <= 0 {
			t.Errorf("trail %+v, Graph %+v", call, r)
		}
	}

	// Without one, or with one that no header can carry, each request has its own.
	for _, id := range []string{"", "two\r\nlines", strings.Repeat("x", 4096)} {
		s.ClearRequests()
		for range 2 {
			if _, err := c.PassPolicy(correlation.With(t.Context(), id)); err != nil {
				t.Fatal(err)
			}
		}
		r := s.Requests()
		if len(r) != 2 || len(r[0].ClientRequestID) != 36 || r[0].ClientRequestID == r[1].ClientRequestID {
			t.Errorf("correlation id %q: %+v", id, r)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, op := range operations {
				if err := op.run(t.Context(), c); err != nil && !slices.Contains(unwelcome, op.name) {
					t.Errorf("%s: %v", op.name, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestRequestsOnTheWire(t *testing.T) {
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "Bearer "+bearer || r.Header.Get("return-client-request-id") != "true" || r.Header.Get("Content-Encoding") != "" {
			t.Errorf("headers %v", r.Header)
		}
		var body bytes.Buffer
		if r.Body != nil {
			if _, err := body.ReadFrom(r.Body); err != nil {
				t.Error(err)
			}
		}
		bodied := r.Method == http.MethodPatch || r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/revokeSignInSessions")
		if int64(body.Len()) != r.ContentLength || (body.Len() > 0) != bodied {
			t.Errorf("%s with %d bytes and Content-Length %d", r.Method, body.Len(), r.ContentLength)
		}
		if strings.Contains(r.URL.RawQuery, "%24") {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		return says(404, odata), nil
	})
	for _, op := range operations {
		_ = op.run(t.Context(), c)
	}
}

func TestNew(t *testing.T) {
	for name, o := range map[string]graph.Options{
		"no credential":   {},
		"plain http":      {Credential: staticToken{}, BaseURL: "http://graph.microsoft.com"},
		"no host":         {Credential: staticToken{}, BaseURL: "https:///v1.0"},
		"with a path":     {Credential: staticToken{}, BaseURL: "https://graph.microsoft.com/v1.0"},
		"with a password": {Credential: staticToken{}, BaseURL: "https://u:p@graph.microsoft.com"},
		"no URL":          {Credential: staticToken{}, BaseURL: "::"},
	} {
		if _, err := graph.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := graph.New(graph.Options{Credential: staticToken{}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
