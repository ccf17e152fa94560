package wiring_test

import (
	"errors"
	"testing"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/config"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/servicebus"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/wiring"
)

// What the settings allow the breaker allows as well.
func TestBreakerTakesWhatSettingsAllow(t *testing.T) {
	for name, c := range map[string]config.Breaker{
		"least": {BreakerWindow: time.Minute, BreakerCount: 1, BreakerImmediateCount: 1},
		"most": {
			BreakerWindow: 7 * 24 * time.Hour, BreakerCount: 1500, BreakerPercent: 100, BreakerImmediateCount: 1500, BreakerImmediatePercent: 100,
		},
		"a share of immediate leavers only": {
			BreakerWindow: time.Hour, BreakerCount: 25, BreakerImmediateCount: 100, BreakerImmediatePercent: 1,
		},
	} {
		if _, err := wiring.Breaker(nil, "control", c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBreakerKeepsItsSessionInTheControlQueue(t *testing.T) {
	bus, err := sbsim.Start(t.Context(), sbsim.Options{Queues: []sbsim.QueueConfig{{Name: "control", RequiresSession: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(bus.ConnectionString())})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	settings := config.Breaker{BreakerWindow: time.Hour, BreakerCount: 1, BreakerImmediateCount: 1}
	b, err := wiring.Breaker(client, "control", settings)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := b.Reserve(t.Context(), breaker.Request{Key: "a", Class: breaker.Leaver}); err != nil || !d.Granted {
		t.Errorf("%v, %v", d, err)
	}
	s, err := client.Accept(t.Context(), "control", breaker.SessionID, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if state, err := s.State(t.Context()); err != nil || len(state) == 0 {
		t.Errorf("state %q, %v", state, err)
	}

	elsewhere, err := wiring.Breaker(client, "no-such-queue", settings)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := elsewhere.Reserve(t.Context(), breaker.Request{Key: "a", Class: breaker.Leaver}); !errors.Is(err, breaker.ErrUnavailable) || d.Granted {
		t.Errorf("%v, %v", d, err)
	}
}
