package handover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/handover"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key       = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	passValue = "Top-Secret-Pass-1"
)

var pass = identity.IssuedPass{
	Pass:  identity.Pass{ID: "pass-1", StartsAt: time.Date(2026, 11, 30, 6, 30, 0, 0, time.UTC), Lifetime: 8 * time.Hour, OneTime: true},
	Value: identity.NewSecret(passValue),
}

var lena = worker.Recipient{Person: identity.Account{ID: "u-1", UserPrincipalName: "lena@contoso.example", DisplayName: "Lena Hofmann"}}

func channel(t *testing.T, url string) *handover.Channel {
	t.Helper()
	c, err := handover.New(url, identity.NewSecret(key), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// service is a hand-over service; it closes with the test.
func service(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// What arrives is what the reference library of Standard Webhooks accepts, and it says
// all that the service needs to hand the pass over.
func TestDelivery(t *testing.T) {
	verifier, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []map[string]any
	var ids []string
	s := service(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(b, r.Header)
		}
		var v map[string]any
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/passes" ||
			r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Correlation-Id") != "c-1" {
			t.Errorf("%s %s %v: %v", r.Method, r.URL, r.Header, err)
		}
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(v["timestamp"])); err != nil {
			t.Errorf("timestamp: %v", err)
		}
		delete(v, "timestamp")
		bodies, ids = append(bodies, v), append(ids, r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusAccepted)
	})
	c := channel(t, s.URL+"/passes")
	ctx, calls := correlation.Collect(correlation.With(t.Context(), "c-1"))
	for range 2 {
		if err := c.Deliver(ctx, lena, pass); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]any{"type": "pass.issued", "data": map[string]any{
		"userId": "u-1", "userPrincipalName": "lena@contoso.example", "displayName": "Lena Hofmann",
		"temporaryAccessPass": passValue, "opens": "2026-11-30T06:30:00Z", "ends": "2026-11-30T14:30:00Z", "oneTime": true,
	}}
	if d := cmp.Diff([]map[string]any{want, want}, bodies); d != "" {
		t.Errorf("bodies (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"pass-1", "pass-1"}, ids); d != "" {
		t.Errorf("a repeated delivery must be known by its id (-want +got):\n%s", d)
	}
	list := calls.List()
	if len(list) != 2 || list[0].Method != "POST" || list[0].Path != "/passes" || list[0].Status != 202 || list[0].Duration <= 0 {
		t.Errorf("recorded %+v", list)
	}
}

// wantNoPass fails when an error tells the pass.
func wantNoPass(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), passValue) {
		t.Errorf("the error tells the pass: %v", err)
	}
}

// Deliveries end well, or are worth another try, or are refused for good.
func TestAnswers(t *testing.T) {
	const (
		done = iota
		again
		refused
	)
	for status, want := range map[int]int{
		200: done, 201: done, 202: done, 204: done,
		301: refused, 302: refused, 303: refused, 307: refused, 308: refused,
		400: refused, 401: refused, 403: refused, 404: refused, 410: refused, 413: refused, 422: refused,
		408: again, 429: again, 500: again, 502: again, 503: again, 504: again, 599: again,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var elsewhere atomic.Int32
			other := service(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
			s := service(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", other.URL)
				w.WriteHeader(status)
				if status != http.StatusNoContent {
					_, _ = io.Copy(w, r.Body) // a service that echoes must not make us tell the pass
				}
			})
			err := channel(t, s.URL).Deliver(t.Context(), lena, pass)
			wantNoPass(t, err)
			var retry *identity.RetryError
			switch {
			case want == done && err != nil,
				want == again && (!errors.As(err, &retry) || retry.Unknown || errors.Is(err, identity.ErrRefused)),
				want == refused && (!errors.Is(err, identity.ErrRefused) || errors.As(err, &retry)):
				t.Errorf("got %v", err)
			}
			if elsewhere.Load() != 0 {
				t.Error("the pass went to another host")
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "99999999999999999999": 0,
		"1000000":                       time.Hour,
		"Mon, 30 Nov 2026 06:00:20 GMT": 20 * time.Second,
		"Mon, 30 Nov 2026 05:00:00 GMT": 0,
		"Tue, 30 Nov 2027 06:00:00 GMT": time.Hour,
	} {
		s := service(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.Header()["Date"] = nil // of another year than now
			w.WriteHeader(http.StatusTooManyRequests)
		})
		c, err := handover.New(s.URL, identity.NewSecret(key), func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		var retry *identity.RetryError
		if err := c.Deliver(t.Context(), lena, pass); !errors.As(err, &retry) || retry.After != want {
			t.Errorf("%q: got %v, want %s", value, err, want)
		}
	}
}

// No answer: the service may have the pass or not.
func TestNoAnswer(t *testing.T) {
	silent := service(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client leaves
		<-r.Context().Done()
	})
	cut := service(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"silent": silent.URL, "cut": cut.URL, "nobody": nobody} {
		ctx, calls := correlation.Collect(t.Context())
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		err := channel(t, url).Deliver(ctx, lena, pass)
		cancel()
		var retry *identity.RetryError
		if !errors.As(err, &retry) || !retry.Unknown {
			t.Errorf("%s: got %v", name, err)
		}
		wantNoPass(t, err)
		if list := calls.List(); len(list) != 1 || list[0].Status != 0 {
			t.Errorf("%s: recorded %+v", name, list)
		}
	}
}

// A sandbox is frozen between events, so nothing stays open.
func TestNoConnectionStaysOpen(t *testing.T) {
	closed := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	if err := channel(t, s.URL).Deliver(t.Context(), lena, pass); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is still open")
	}
}

// The service takes everybody's passes, whoever is told in the directory or an event.
func TestRecipient(t *testing.T) {
	to, ok, err := channel(t, "https://handover.example").Recipient(t.Context(), lena.Person, nil, time.Time{})
	if !ok || err != nil || to.Person.ID != lena.Person.ID || to.Address != "" {
		t.Errorf("got %+v, %v, %v", to, ok, err)
	}
}

func TestBadKeyIsNotQuoted(t *testing.T) {
	for _, key := range []string{"", "whsec_", "whsec_!!notbase64!!", "plain-secret"} {
		_, err := handover.New("https://handover.example", identity.NewSecret(key), time.Now)
		if err == nil || len(key) > 6 && strings.Contains(err.Error(), key[6:]) {
			t.Errorf("%q: got %v", key, err)
		}
	}
}
