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
)

// maxIssues is how often a pass is issued for one event before it counts as
// undeliverable.
const maxIssues = 3

// issuePass issues and delivers. The recipient is known before the pass exists,
// the intent is in the ledger before the directory is asked, and the value lives
// in this call only: if delivery does not succeed here, the step starts again.
func (r *run) issuePass(ctx context.Context, p plan.Plan) (lane.Verdict, error) {
	l := r.turn.Ledger
	attempts := 0
	if l.Pass != nil && l.Pass.Key == r.turn.Event.Key {
		attempts = l.Pass.Attempts
	}
	if attempts >= maxIssues {
		return r.giveUp(ctx, fmt.Sprintf("issued %d times, never delivered", attempts))
	}
	to, verdict, err := r.recipient(ctx, p.Zone)
	if err != nil || verdict != nil {
		return value(verdict), err
	}

	intent := ledger.Pass{Key: r.turn.Event.Key, Issuing: r.turn.Now, Attempts: attempts + 1}
	if l.Pass != nil {
		intent.ID = l.Pass.ID
	}
	l.Pass = &intent
	if err := r.turn.Checkpoint(ctx); err != nil {
		return lane.Verdict{}, err
	}

	var issued identity.IssuedPass
	err = r.effect(ctx, "issue-pass", func(ctx context.Context) error {
		issued, err = r.Passes.IssuePass(ctx, r.user, p.Request)
		return err
	})
	if err != nil {
		return failed(ctx, err)
	}
	l.Pass = &ledger.Pass{
		ID: issued.ID, Key: intent.Key, Attempts: intent.Attempts, StartsAt: issued.StartsAt, EndsAt: issued.EndsAt(),
	}
	if err := r.turn.Checkpoint(ctx); err != nil {
		return lane.Verdict{}, err
	}

	if verdict, err := r.deliver(ctx, to, issued); err != nil || verdict != nil {
		return value(verdict), err
	}
	l.Pass.Delivered, l.Pass.Channel = true, to.Channel.Name()
	r.applied()
	if p.ShortFirstDay {
		if err := r.turn.Flag(ctx, flag.ShortFirstDay, "", "the pass ends, or the day does, within four hours"); err != nil {
			return lane.Verdict{}, err
		}
	}
	return lane.Finished(ledger.Done, "pass delivered by "+to.Channel.Name()), nil
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
	verdict, err := failed(ctx, err)
	if err != nil {
		return nil, err
	}
	if !verdict.Retries() {
		verdict, err = r.giveUp(ctx, verdict.String())
	}
	return &verdict, err
}

// giveUp deletes a pass that nobody has and leaves the event to an operator.
func (r *run) giveUp(ctx context.Context, why string) (lane.Verdict, error) {
	if verdict, err := r.deletePass(ctx, ""); err != nil || verdict != nil {
		return value(verdict), err
	}
	if err := r.turn.Flag(ctx, flag.Undeliverable, lane.DeliveryFailed, why); err != nil {
		return lane.Verdict{}, err
	}
	return lane.Hold(lane.DeliveryFailed, "the pass could not be delivered and was deleted: "+why), nil
}

// deletePass deletes the pass of ours with the id. With an empty id it deletes
// whatever pass the person has: it is called so only while the ledger says that
// we issued one and lost sight of it. A verdict is returned when the directory
// did not let us.
func (r *run) deletePass(ctx context.Context, id string) (*lane.Verdict, error) {
	err := r.effect(ctx, "delete-pass", func(ctx context.Context) error {
		ids := []string{id}
		if id == "" {
			passes, err := r.Passes.Passes(ctx, r.user)
			if err != nil {
				return err
			}
			ids = nil
			for _, p := range passes {
				ids = append(ids, p.ID)
			}
		}
		for _, id := range ids {
			if err := r.Passes.DeletePass(ctx, r.user, id); err != nil && !errors.Is(err, identity.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, identity.ErrNotFound) {
		err = nil // the account is gone, and its pass with it
	}
	if err != nil {
		verdict, err := failed(ctx, err)
		return &verdict, err
	}
	r.turn.Ledger.Pass = nil
	return nil, r.turn.Checkpoint(ctx)
}

// effect does one thing to the outside world under the lane's lock and audits it.
func (r *run) effect(ctx context.Context, action string, do func(context.Context) error) error {
	guarded, cancel, err := r.turn.Guard(ctx)
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

// Sleep is the Pause of a real worker.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
