package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/telemetry"
)

// maxIssues is how often a pass is issued for one event before it counts as
// undeliverable.
const maxIssues = 3

// issuePass issues and delivers. The recipient is known before the pass exists,
// the intent is in the ledger before the directory is asked, and the value lives
// in this call only: if delivery does not succeed here, the step starts again.
func (r *run) issuePass(ctx context.Context, s plan.Step) (*lane.Verdict, error) {
	l := r.turn.Ledger
	attempts := 0
	if l.Pass != nil && l.Pass.Key == r.turn.Event.Key {
		attempts = l.Pass.Attempts
	}
	if attempts >= maxIssues {
		return r.giveUp(ctx, fmt.Sprintf("issued %d times, never delivered", attempts))
	}
	to, verdict, err := r.recipient(ctx, s.Zone)
	if err != nil || verdict != nil {
		return verdict, err
	}

	intent := ledger.Pass{Key: r.turn.Event.Key, Type: r.turn.Event.Type, Issuing: r.turn.Now, Attempts: attempts + 1}
	if l.Pass != nil {
		intent.ID = l.Pass.ID
	}
	l.Pass = &intent
	began := time.Now()
	var issued identity.IssuedPass
	err = r.effect(ctx, string(plan.IssuePass), func(ctx context.Context) error {
		issued, err = r.Passes.IssuePass(ctx, r.user, s.Request)
		return err
	})
	if err != nil {
		return verdictOf(ctx, err)
	}
	l.Pass = &ledger.Pass{
		ID: issued.ID, Key: intent.Key, Type: intent.Type, Attempts: intent.Attempts, StartsAt: issued.StartsAt, EndsAt: issued.EndsAt(),
	}
	if verdict, err := r.deliver(ctx, to, issued); err != nil || verdict != nil {
		return verdict, err
	}
	l.Pass.Delivered, l.Pass.Channel = true, to.Channel.Name()
	if r.Metrics != nil {
		// A metric that is lost is no reason to stop: the pass is where it belongs.
		_ = r.Metrics.Put(telemetry.Dimensions{Source: to.Channel.Name()}, telemetry.Metric{Name: telemetry.MetricPassDelivery, Unit: telemetry.Seconds, Value: time.Since(began).Seconds()})
	}
	return nil, r.turn.Save(ctx)
}

// Waits between tries to deliver. The value is in memory meanwhile, so they are
// short, and their sum stays under the 20 s an event may wait in its lane.
var deliveryWaits = [...]time.Duration{0, 500 * time.Millisecond, 2 * time.Second}

// deliver hands the pass over. When no try succeeds the value is gone: a refusal
// deletes the pass, anything else starts again at issuing.
func (r *run) deliver(ctx context.Context, to recipient, issued identity.IssuedPass) (*lane.Verdict, error) {
	var err error
	for _, wait := range deliveryWaits {
		if err := r.Pause(ctx, wait); err != nil {
			return nil, err
		}
		err = r.effect(ctx, "deliver-pass", func(ctx context.Context) error { return to.Channel.Deliver(ctx, to.Recipient, issued) })
		var retry *identity.RetryError
		if err == nil {
			return nil, nil
		} else if !errors.As(err, &retry) {
			break
		}
	}
	verdict, err := verdictOf(ctx, err)
	if err == nil && !verdict.Retries() {
		return r.giveUp(ctx, verdict.String())
	}
	return verdict, err
}

// giveUp deletes a pass that nobody has and leaves the event to an operator.
func (r *run) giveUp(ctx context.Context, why string) (*lane.Verdict, error) {
	if verdict, err := r.deletePass(ctx); err != nil || verdict != nil {
		return verdict, err
	}
	if err := r.turn.Flag(ctx, flag.Flag{Cause: flag.Undeliverable, Reason: string(lane.DeliveryFailed), Detail: why}); err != nil {
		return nil, err
	}
	verdict := lane.Hold(lane.DeliveryFailed, "the pass could not be delivered and was deleted: "+why).Approved(1, r.barred()...)
	return &verdict, nil
}

// deletePass deletes whatever pass the person has; a plan that says so means it.
// It reads first: the id in the ledger may be of a pass that was replaced.
func (r *run) deletePass(ctx context.Context) (*lane.Verdict, error) {
	err := r.effect(ctx, string(plan.DeletePass), func(ctx context.Context) error {
		passes, err := r.Passes.Passes(ctx, r.user)
		if err != nil {
			return err
		}
		for _, p := range passes {
			if err := r.Passes.DeletePass(ctx, r.user, p.ID); err != nil && !errors.Is(err, identity.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, identity.ErrNotFound) { // an account that is gone has no pass
		return verdictOf(ctx, err)
	}
	r.turn.Ledger.Pass = nil
	return nil, nil
}

// verdictOf is lane.Failed for steps, which end the turn with a verdict or not at all.
func verdictOf(ctx context.Context, err error) (*lane.Verdict, error) {
	verdict, err := lane.Failed(ctx, err)
	if err != nil {
		return nil, err
	}
	return &verdict, nil
}

// effect does one thing to the outside world under the lane's lock, with the ledger
// written before, and audits it.
func (r *run) effect(ctx context.Context, action string, do func(context.Context) error) error {
	guarded, cancel, err := r.turn.Effect(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	guarded, calls := correlation.Collect(guarded)
	rec := audit.Record{Action: action, Started: time.Now(), Outcome: "done"}
	err = do(guarded)
	if err != nil {
		rec.Outcome, rec.Reason = "failed", err.Error()
	}
	rec.Calls = calls.List()
	return errors.Join(err, r.audit(ctx, rec))
}
