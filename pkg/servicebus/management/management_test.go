package management_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mfaflow/pkg/doctor"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/servicebus/management"
	sim "mfaflow/pkg/sim/servicebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, connection, url string) *management.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := management.New(management.Options{ConnectionString: identity.NewSecret(connection), URL: url, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestQueueAsItIsConfigured(t *testing.T) {
	bus, err := sim.Start(t.Context(), sim.Options{Key: "c2VjcmV0", KeyName: "reader", Queues: []sim.QueueConfig{
		{Name: "lanes", RequiresSession: true, DuplicateDetection: 7 * 24 * time.Hour, LockDuration: 90 * time.Second, MaxDeliveryCount: 50, DeadLetterOnExpiry: true},
		{Name: "flags", DefaultTTL: 36 * time.Hour, Status: "Disabled"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	c := client(t, bus.ConnectionString(), bus.AdminURL())
	for name, want := range map[string]doctor.Queue{
		"lanes": {Active: true, Sessions: true, Duplicates: 7 * 24 * time.Hour, Lock: 90 * time.Second, MaxDelivery: 50, DeadLetterExpiry: true},
		"flags": {Lock: time.Minute, MaxDelivery: 10, TTL: 36 * time.Hour},
	} {
		got, err := c.Queue(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if _, err := c.Queue(t.Context(), "nowhere"); !errors.Is(err, doctor.ErrNoQueue) {
		t.Errorf("a queue that is not there: %v", err)
	}
	stranger := client(t, strings.Replace(bus.ConnectionString(), "c2VjcmV0", "b3RoZXI=", 1), bus.AdminURL())
	if _, err := stranger.Queue(t.Context(), "lanes"); !errors.Is(err, doctor.ErrDenied) {
		t.Errorf("another key: %v", err)
	}
}

// What goes wrong is told without the request, which holds a signature.
func TestFailuresAreToldWithoutSecrets(t *testing.T) {
	answer := http.StatusOK
	body := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answer)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	const connection = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=reader;SharedAccessKey=aHVudGVyMg==;UseDevelopmentEmulator=true"
	c := client(t, connection, server.URL)
	for _, x := range []struct {
		status int
		body   string
		denied bool
	}{{401, "", true}, {403, "hunter2", true}, {500, "hunter2", false}, {200, "hunter2", false}, {200, "<entry/>", false}} {
		answer, body = x.status, x.body
		_, err := c.Queue(t.Context(), "lanes")
		if err == nil || errors.Is(err, doctor.ErrDenied) != x.denied || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
			t.Errorf("%d %q: %v", x.status, x.body, err)
		}
	}
	server.Close()
	if _, err := c.Queue(t.Context(), "lanes"); err == nil || errors.Is(err, doctor.ErrNoQueue) {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Queue(ctx, "lanes"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for _, o := range []management.Options{
		{ConnectionString: identity.NewSecret("hunter2")},
		{ConnectionString: identity.NewSecret(connection), URL: "hunter2"},
	} {
		if _, err := management.New(o); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT1M": time.Minute, "P7D": 7 * 24 * time.Hour, "PT30S": 30 * time.Second, "P1DT2H3M4.5S": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond,
		"PT0S": 0, "P10675199DT2H48M5.4775807S": 1<<63 - 1, "P14D": 14 * 24 * time.Hour,
	} {
		if got, err := management.Duration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1DT", "1D", "PT1D", "P1M", "P1Y", "PT1S1M", "PT1M1M", "PT-1S", "PTM", "PT1..2S", "PTinfS", "PT1e9S", "P1D2H"} {
		if got, err := management.Duration(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// A duration is never negative, and what is written as the service writes it is read back.
func FuzzDuration(f *testing.F) {
	f.Add("P7D", uint32(60))
	f.Add("P10675199DT2H48M5.4775807S", uint32(0))
	f.Fuzz(func(t *testing.T, text string, seconds uint32) {
		if d, err := management.Duration(text); err == nil && d < 0 {
			t.Fatalf("%q is %v", text, d)
		}
		want := time.Duration(seconds) * time.Second
		if got, err := management.Duration(fmt.Sprintf("P%dDT%dH%dM%dS", seconds/86400, seconds/3600%24, seconds/60%60, seconds%60)); err != nil || got != want {
			t.Fatalf("%v became %v, %v", want, got, err)
		}
	})
}
