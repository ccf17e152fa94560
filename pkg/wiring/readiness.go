package wiring

import (
	"context"
	"log/slog"
	"os"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/telemetry"
)

// Readiness says how reports are made.
type Readiness struct {
	Broker  servicebus.Options
	Locking config.Locking
	// Reporter needs no sender yet: it is that of each run.
	Reporter readiness.Reporter
	// Idle releases what must not be held while a sandbox is frozen.
	Idle func()
	Log  *slog.Logger
}

// look is how often a process looks whether a report is due.
const look = 10 * time.Minute

// Run makes reports until the process ends; under Lambda one, if it is due, in each
// invocation. The broker client lives as long as one look.
func (r Readiness) Run(ctx context.Context) error {
	r.Broker.LockDuration = r.Locking.LockDuration
	return lambdafn.Drain(ctx, func(ctx context.Context) error {
		_, once := ctx.Deadline()
		r.Log.InfoContext(ctx, "ready", "queue", r.Reporter.FlagsQueue)
		for {
			err := r.report(ctx)
			if once || ctx.Err() != nil {
				return err
			}
			if err != nil {
				r.Log.ErrorContext(ctx, "readiness", telemetry.KeyOutcome, "failed", telemetry.Error(err))
			}
			if err := pause.For(ctx, look); err != nil {
				return err
			}
		}
	}, r.Locking.DeadlineReserve, r.Log)
}

// Drift compares a tenant with the policy file of that path, which is read anew each time;
// nil when there is none.
func Drift(path string, p policy.Planner) func(context.Context, posture.Snapshot) ([]string, error) {
	if path == "" {
		return nil
	}
	return func(ctx context.Context, s posture.Snapshot) ([]string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f, err := policy.Parse(text)
		if err != nil {
			return nil, err
		}
		list, err := p.Drift(ctx, f, s)
		places := make([]string, len(list))
		for i, d := range list {
			places[i] = d.Place()
		}
		return places, err
	}
}

func (r Readiness) report(ctx context.Context) error {
	client, err := servicebus.New(r.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	defer r.Idle()
	reporter := r.Reporter
	reporter.Sender = client
	return reporter.Run(ctx)
}
