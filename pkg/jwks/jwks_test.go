package jwks_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/jwks"
	"mfaflow/pkg/sim/ssf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*testing.T
	idp *ssf.Transmitter
	set *jwks.Set
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	var err error
	if w.idp, err = ssf.Start(t.Context(), ssf.Options{}); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.idp.CAPEM())
	w.set = jwks.New(w.idp.KeysURL(), &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, func() time.Time { return w.now })
	t.Cleanup(func() { w.set.Close(); _ = w.idp.Close() })
	return w
}

// wants asks for a key and compares the number of keys found and of requests so far.
func (w *world) wants(step, id string, keys, requests int) {
	w.Helper()
	found, err := w.set.Keys(w.Context(), id)
	if keys < 0 && err == nil || keys >= 0 && err != nil || keys >= 0 && len(found) != keys || w.idp.KeysRead() != requests {
		w.Errorf("%s: %d keys, %v, %d requests; want %d keys, %d requests", step, len(found), err, w.idp.KeysRead(), keys, requests)
	}
}

const none = -1 // no answer

func TestCache(t *testing.T) {
	w := newWorld(t)
	w.wants("first", "key-1", 1, 1)
	w.now = w.now.Add(59 * time.Minute)
	w.wants("fresh", "key-1", 1, 1)
	w.now = w.now.Add(time.Minute)
	w.wants("an hour old", "key-1", 1, 2)
	w.wants("made up, asked a moment ago", "made-up", 0, 2)
	w.now = w.now.Add(time.Minute)
	w.wants("made up, a minute later", "made-up", 0, 3)
	w.wants("another made up", "made-up-too", 0, 3)
	if err := w.idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(30 * time.Second)
	w.wants("rotated since somebody made one up", "key-2", none, 3)
	w.wants("the old one meanwhile", "key-1", 1, 3)
	w.now = w.now.Add(30 * time.Second)
	w.wants("rotated", "key-2", 1, 4)
	w.wants("the old one", "key-1", 1, 4)
	w.wants("any", "", 2, 4)
	w.idp.Withdraw()
	w.now = w.now.Add(time.Hour)
	w.wants("withdrawn", "key-1", 0, 5)
}

func TestOutage(t *testing.T) {
	w := newWorld(t)
	w.idp.FailKeys(http.StatusBadGateway)
	w.wants("nothing to go on with", "key-1", none, 1)
	w.wants("not again at once", "key-1", none, 1)
	w.now = w.now.Add(5 * time.Second)
	w.idp.FailKeys(0)
	w.wants("back", "key-1", 1, 2)
	w.idp.FailKeys(http.StatusBadGateway)
	w.now = w.now.Add(time.Hour)
	w.wants("the old set is kept", "key-1", 1, 3)
	w.wants("what is not in it may be new", "key-2", none, 3)
	w.now = w.now.Add(30 * time.Second)
	w.wants("not asked in the meantime", "key-2", none, 3)
	w.now = w.now.Add(23 * time.Hour)
	w.wants("a day old", "key-1", none, 4)
	w.idp.FailKeys(0)
	w.now = w.now.Add(time.Minute)
	w.wants("back again", "key-1", 1, 5)
}

// Only the configured URL says what the keys are, and not at any length.
func TestAnswersOfNoUse(t *testing.T) {
	var other atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { other.Add(1) }))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"too long":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 256<<10+1))) },
		"no set":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"not there": http.NotFound,
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("{"))
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			set := jwks.New(server.URL, nil, nil)
			defer set.Close()
			if keys, err := set.Keys(t.Context(), ""); err == nil || keys != nil {
				t.Errorf("%v, %v", keys, err)
			}
		})
	}
	if other.Load() != 0 {
		t.Error("followed a redirect")
	}
}

// While somebody asks for a key that may not exist, deliveries with a known one go on,
// and a hundred that wait cause one request.
func TestNobodyWaitsForMadeUpKeys(t *testing.T) {
	w := newWorld(t)
	held, arrived := make(chan struct{}), make(chan struct{}, 1)
	var slow atomic.Bool
	var requests atomic.Int32
	set := jwks.New(w.idp.KeysURL(), transport(func(r *http.Request) (*http.Response, error) {
		requests.Add(1)
		if slow.Load() {
			arrived <- struct{}{}
			<-held
			return nil, errors.New("no answer")
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(w.idp.CAPEM())
		real := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
		return real.RoundTrip(r)
	}), func() time.Time { return w.now })
	if _, err := set.Keys(t.Context(), "key-1"); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Minute)
	slow.Store(true)
	var waiting sync.WaitGroup
	for range 100 {
		waiting.Go(func() {
			if _, err := set.Keys(context.Background(), "made-up"); err == nil {
				t.Error("a key that nobody has, while nobody answers")
			}
		})
	}
	<-arrived
	if keys, err := set.Keys(t.Context(), "key-1"); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := set.Keys(gone, "made-up-too"); !errors.Is(err, context.Canceled) {
		t.Errorf("waited longer than the delivery: %v", err)
	}
	close(held)
	waiting.Wait()
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
