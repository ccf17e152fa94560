package clock_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"mfaflow/pkg/sim/clock"
)

var t0 = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

func TestManualFiresInOrderOfTime(t *testing.T) {
	c := clock.NewManual(t0)
	var order []string
	var at []time.Duration
	note := func(name string) func() {
		return func() { order = append(order, name); at = append(at, c.Now().Sub(t0)) }
	}
	c.AfterFunc(3*time.Second, note("third"))
	c.AfterFunc(1*time.Second, note("first"))
	c.AfterFunc(1*time.Second, note("second"))
	c.AfterFunc(9*time.Second, note("late"))

	c.Advance(5 * time.Second)

	if want := []string{"first", "second", "third"}; !slices.Equal(order, want) {
		t.Errorf("fired %v, want %v", order, want)
	}
	if want := []time.Duration{time.Second, time.Second, 3 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("clock showed %v while firing, want %v", at, want)
	}
	if got := c.Now().Sub(t0); got != 5*time.Second {
		t.Errorf("clock shows +%v after Advance, want +5s", got)
	}
	if got := c.Pending(); got != 1 {
		t.Errorf("%d timers pending, want 1", got)
	}
}

func TestManualFiresWhatACallbackStarts(t *testing.T) {
	c := clock.NewManual(t0)
	fired := 0
	var again func()
	again = func() {
		if fired++; fired < 4 {
			c.AfterFunc(time.Second, again)
		}
	}
	c.AfterFunc(time.Second, again)
	c.Advance(time.Minute)
	if fired != 4 {
		t.Errorf("fired %d times, want 4", fired)
	}
}

func TestManualTimerStopAndReset(t *testing.T) {
	c := clock.NewManual(t0)
	timer := c.NewTimer(time.Second)
	if !timer.Stop() || timer.Stop() {
		t.Fatal("Stop must report true once, for a pending timer")
	}
	if timer.Reset(2 * time.Second) {
		t.Error("Reset reported a pending timer after Stop")
	}
	if !timer.Reset(3 * time.Second) {
		t.Error("Reset reported no pending timer")
	}
	c.Advance(2 * time.Second)
	select {
	case <-timer.C():
		t.Error("the timer fired at its old time")
	default:
	}
	c.Advance(time.Second)
	select {
	case got := <-timer.C():
		if !got.Equal(t0.Add(3 * time.Second)) {
			t.Errorf("tick carries %v", got)
		}
	default:
		t.Error("the timer did not fire")
	}
}

func TestManualNeverGoesBack(t *testing.T) {
	c := clock.NewManual(t0)
	c.Set(t0.Add(-time.Hour))
	if !c.Now().Equal(t0) {
		t.Errorf("clock went back to %v", c.Now())
	}
}

func TestSleep(t *testing.T) {
	c := clock.NewManual(t0)
	done := make(chan error, 1)
	go func() { done <- clock.Sleep(t.Context(), c, time.Hour) }()
	if err := c.AwaitPending(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Hour)
	if err := <-done; err != nil {
		t.Errorf("Sleep: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := clock.Sleep(ctx, c, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("Sleep on an ended context: %v", err)
	}
	if c.Pending() != 0 {
		t.Error("Sleep left its timer behind")
	}
	if err := c.AwaitPending(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("AwaitPending on an ended context: %v", err)
	}
}

func TestReal(t *testing.T) {
	c := clock.Real()
	if err := clock.Sleep(t.Context(), c, time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	fired := make(chan struct{})
	timer := c.AfterFunc(time.Nanosecond, func() { close(fired) })
	<-fired
	if timer.Stop() {
		t.Error("Stop reported a pending timer after it fired")
	}
	if time.Since(c.Now()) > time.Minute {
		t.Error("the real clock is off")
	}
}
