package wiring

import (
	"context"
	"log/slog"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/telemetry"
)

// Flags says how the flags queue is drained, and to which channels.
type Flags struct {
	Broker    servicebus.Options
	Receiving config.Receiving
	Queue     string
	Channels  []notify.Channel
	// Link is where a flag is shown; see notify.Notifier.
	Link string
	// Idle release what must not be held while a sandbox is frozen.
	Idle    []func()
	Log     *slog.Logger
	Metrics *telemetry.Metrics
}

// Run drains until the process or the invocation ends. The broker client lives as
// long as one run.
func (f Flags) Run(ctx context.Context) error {
	f.Broker.LockDuration = f.Receiving.LockDuration
	return lambdafn.Drain(ctx, func(ctx context.Context) error {
		client, err := servicebus.New(f.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		defer func() {
			for _, release := range f.Idle {
				release()
			}
		}()
		runner := notify.Runner{
			Notifier: &notify.Notifier{
				Queue: f.Queue, Channels: f.Channels, Sender: client, Link: f.Link, LockDuration: f.Receiving.LockDuration,
				Now: time.Now, Log: f.Log, Metrics: f.Metrics,
			},
			Open: func() (notify.Receiver, error) {
				r, err := client.Receiver(f.Queue)
				if err != nil {
					return nil, err // not a nil *Receiver in a non-nil interface
				}
				return r, nil
			},
			IdleExit: f.Receiving.IdleExit, Grace: max(f.Receiving.DeadlineReserve-closing, 0), Log: f.Log,
		}
		f.Log.InfoContext(ctx, "ready", "queue", f.Queue, "channels", len(f.Channels))
		settled, err := runner.Run(ctx)
		f.Log.InfoContext(ctx, "drained", "queue", f.Queue, "settled", settled)
		return err
	}, f.Receiving.DeadlineReserve, f.Log)
}
