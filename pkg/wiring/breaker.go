package wiring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/config"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
)

// acceptTimeout is how long the broker may take to give out a session by its id:
// it answers at once, whether the session is free or not.
const acceptTimeout = 10 * time.Second

// Breaker counts destructive effects in its reserved session of the control queue.
// It lives as long as the client.
func Breaker(client *servicebus.Client, controlQueue string, b config.Breaker) (*breaker.Breaker, error) {
	return breaker.New(breaker.Options{
		Accept: func(ctx context.Context) (breaker.Session, error) {
			s, err := client.Accept(ctx, controlQueue, breaker.SessionID, acceptTimeout)
			if errors.Is(err, queue.ErrEmpty) {
				return nil, fmt.Errorf("accept session %s of %s: no answer: %w", breaker.SessionID, controlQueue, queue.ErrUnavailable)
			} else if err != nil {
				return nil, err // not a nil *Session in a non-nil interface
			}
			return s, nil
		},
		Limits: breaker.Limits{
			Window: b.BreakerWindow, Count: b.BreakerCount, Percent: b.BreakerPercent,
			ImmediateCount: b.BreakerImmediateCount, ImmediatePercent: b.BreakerImmediatePercent,
		},
		Now: time.Now,
	})
}
