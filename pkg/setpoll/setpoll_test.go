package setpoll_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/setpoll"
	"mfaflow/pkg/sim/ssf"
	"mfaflow/pkg/sweep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ sweep.Feed = (*setpoll.Poller)(nil)

// desk takes tokens and remembers them; it refuses those that begin with bad and has no
// broker for those that begin with later.
type desk struct {
	took []string
	down bool
}

func (d *desk) Token(_ context.Context, source string, token []byte) error {
	switch text := string(token); {
	case source != "idp":
		return ingest.ErrNoStream
	case strings.HasPrefix(text, "bad"):
		return &ingest.TokenError{Code: "invalid_issuer", Description: "not of this stream"}
	case d.down && strings.HasPrefix(text, "later"):
		return queue.ErrUnavailable
	default:
		d.took = append(d.took, text)
		return nil
	}
}

func newWorld(t *testing.T, most int) (*ssf.Transmitter, *desk, *setpoll.Poller) {
	t.Helper()
	idp, err := ssf.Start(t.Context(), ssf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(idp.CAPEM())
	d := &desk{}
	p := setpoll.New(setpoll.Stream{
		Source: ingest.Source{Name: "idp"}, URL: idp.PollURL(), Token: identity.NewSecret(idp.PollToken()), MaxEvents: most,
	}, d, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}})
	t.Cleanup(func() { p.Close(); _ = idp.Close() })
	return idp, d, p
}

func TestPoll(t *testing.T) {
	idp, d, p := newWorld(t, 2)
	for i := range 5 {
		idp.Queue(fmt.Sprintf("jti-%d", i), fmt.Sprintf("token %d", i))
	}
	idp.Queue("jti-5", "bad token")
	taken, err := p.Poll(t.Context())
	if err != nil || taken != 5 || len(d.took) != 5 {
		t.Errorf("%d taken, %q, %v", taken, d.took, err)
	}
	if left := idp.Waiting(); len(left) != 0 {
		t.Errorf("not acknowledged: %q", left)
	}
	if diff := cmp.Diff(map[string]ssf.SetError{"jti-5": {Err: "invalid_issuer", Description: "not of this stream"}}, idp.Refused()); diff != "" {
		t.Error(diff)
	}
	polls := idp.Polls()
	if len(polls) != 4 {
		t.Fatalf("%d requests", len(polls))
	}
	for i, r := range polls {
		wantAck := [][]string{nil, {"jti-0", "jti-1"}, {"jti-2", "jti-3"}, {"jti-4"}}[i]
		if !r.ReturnImmediately || r.MaxEvents == nil || (*r.MaxEvents == 0) != (i == 3) || !slices.Equal(r.Ack, wantAck) {
			t.Errorf("request %d: %+v", i, r)
		}
	}
	if taken, err := p.Poll(t.Context()); taken != 0 || err != nil || len(idp.Polls()) != 5 {
		t.Errorf("nothing new: %d, %v, %d requests", taken, err, len(idp.Polls()))
	}
}

// What the broker has not accepted is not acknowledged and comes again.
func TestBrokerOutOfReach(t *testing.T) {
	idp, d, p := newWorld(t, 10)
	d.down = true
	idp.Queue("a", "token a")
	idp.Queue("b", "later b")
	idp.Queue("c", "token c")
	taken, err := p.Poll(t.Context())
	if taken != 1 || !errors.Is(err, queue.ErrUnavailable) || !slices.Equal(idp.Waiting(), []string{"b", "c"}) {
		t.Errorf("%d taken, %v, waiting %q", taken, err, idp.Waiting())
	}
	d.down = false
	if taken, err := p.Poll(t.Context()); taken != 2 || err != nil || len(idp.Waiting()) != 0 {
		t.Errorf("%d taken, %v, waiting %q", taken, err, idp.Waiting())
	}
}

func TestTransmitterThatFails(t *testing.T) {
	idp, d, p := newWorld(t, 10)
	idp.Queue("a", "token a")
	for status, check := range map[int]func(error) bool{
		http.StatusBadGateway:      isRetry,
		http.StatusTooManyRequests: isRetry,
		http.StatusForbidden:       func(err error) bool { return errors.Is(err, identity.ErrForbidden) },
		http.StatusNotFound:        func(err error) bool { return errors.Is(err, identity.ErrRefused) },
	} {
		idp.FailPolls(status)
		if _, err := p.Poll(t.Context()); err == nil || !check(err) || strings.Contains(err.Error(), idp.PollToken()) {
			t.Errorf("%d: %v", status, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Poll(ended); err == nil {
		t.Error("polled after the end")
	}
	if len(d.took) != 0 || len(idp.Waiting()) != 1 {
		t.Error("something was taken")
	}
}

func isRetry(err error) bool {
	_, ok := errors.AsType[*identity.RetryError](err)
	return ok
}

func TestAnswersOfNoUse(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"a key twice":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"sets":{"a":"x","a":"y"}}`)) },
		"another form": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"sets":[]}`)) },
		"too long":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 8<<20+1))) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(answer)
			defer server.Close()
			d := &desk{}
			p := setpoll.New(setpoll.Stream{Source: ingest.Source{Name: "idp"}, URL: server.URL, MaxEvents: 1}, d, server.Client().Transport)
			if taken, err := p.Poll(t.Context()); err == nil || taken != 0 || len(d.took) != 0 {
				t.Errorf("%d, %v", taken, err)
			}
		})
	}
}

// A transmitter that hands out the same again and again, and says that there is more,
// does not keep us.
func TestTransmitterThatForgets(t *testing.T) {
	requests := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		_, _ = w.Write([]byte(`{"sets":{"a":"token a"},"moreAvailable":true}`))
	}))
	defer server.Close()
	p := setpoll.New(setpoll.Stream{Source: ingest.Source{Name: "idp"}, URL: server.URL, MaxEvents: 1}, &desk{}, server.Client().Transport)
	if _, err := p.Poll(t.Context()); err != nil || requests != 3 {
		t.Errorf("%d requests, %v", requests, err)
	}
}

func TestParse(t *testing.T) {
	const source = `{"name":"idp","format":"secevent","types":["risk.user"],"stream":{"issuer":"https://idp.example","audience":["a"],"keysURL":"https://idp.example/keys"}}`
	list, err := setpoll.Parse([]byte(`[{"source":` + source + `,"url":"https://idp.example/poll","token":"s3cret"}]`))
	if err != nil || len(list) != 1 || list[0].MaxEvents == 0 || list[0].Token.Reveal() != "s3cret" || strings.Contains(fmt.Sprintf("%+v", list), "s3cret") {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := setpoll.Parse(nil); list != nil || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	for name, raw := range map[string]string{
		"no array":                  `{}`,
		"unknown field":             `[{"source":` + source + `,"url":"https://idp.example/poll","token":"s3cret","tokn":1}]`,
		"token twice":               `[{"source":` + source + `,"url":"https://idp.example/poll","token":"s3cret","token":"x"}]`,
		"plain http":                `[{"source":` + source + `,"url":"http://idp.example/poll","token":"s3cret"}]`,
		"no token":                  `[{"source":` + source + `,"url":"https://idp.example/poll"}]`,
		"too many":                  `[{"source":` + source + `,"url":"https://idp.example/poll","token":"s3cret","maxEvents":501}]`,
		"other format":              `[{"source":{"name":"x","format":"cloudevents"},"url":"https://idp.example/poll","token":"s3cret"}]`,
		"a token of the wrong kind": `[{"source":` + source + `,"url":"https://idp.example/poll","token":["s3cret"]}]`,
	} {
		if _, err := setpoll.Parse([]byte(raw)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	const misspelled = `[{"source":{"name":"idp","format":"secevent","strem":{}},"url":"https://idp.example/poll","token":"s3cret"}]`
	if _, err := setpoll.Parse([]byte(misspelled)); err == nil || !strings.Contains(err.Error(), `"strem"`) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("misspelled: %v", err)
	}
}
