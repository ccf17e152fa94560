package wiring

import (
	"context"
	"log/slog"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sweep"
)

// Sweep says how a tenant is swept.
type Sweep struct {
	Broker  servicebus.Options
	Locking config.Locking
	// Control is the queue of the reserved session.
	Control string
	// Interval is the time between two sweeps outside Lambda.
	Interval time.Duration
	// Sweeper needs no session and no sender yet: they are those of each run.
	Sweeper sweep.Sweeper
	// Feeds makes what else is polled from the broker client of a run; nil polls nothing.
	Feeds func(*servicebus.Client) ([]sweep.Feed, error)
	// Idle releases what must not be held while a sandbox is frozen.
	Idle func()
	Log  *slog.Logger
}

// Run sweeps until the process or the invocation ends. The broker client lives as long
// as one run.
func (s Sweep) Run(ctx context.Context) error {
	s.Broker.LockDuration = s.Locking.LockDuration
	return lambdafn.Drain(ctx, func(ctx context.Context) error {
		client, err := servicebus.New(s.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		defer s.Idle()
		sweeper := s.Sweeper
		sweeper.Sender = client
		if s.Feeds != nil {
			if sweeper.Feeds, err = s.Feeds(client); err != nil {
				return err
			}
		}
		sweeper.Accept = func(ctx context.Context) (sweep.Session, error) {
			session, err := client.Accept(ctx, s.Control, sweep.SessionID, acceptTimeout)
			if err != nil {
				return nil, err // not a nil *Session in a non-nil interface
			}
			return session, nil
		}
		s.Log.InfoContext(ctx, "ready", "queue", s.Control)
		return sweeper.Run(ctx, s.Interval)
	}, s.Locking.DeadlineReserve, s.Log)
}
