package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/telemetry"
)

// subscribe makes the subscriptions what they should be. A slot that fails does not
// keep the others from being looked after.
func (r *run) subscribe(ctx context.Context) (int, error) {
	listed, err := under(ctx, r.session, r.Subscriptions.Directory.Subscriptions)
	if err != nil {
		return 0, err
	}
	var problems []error
	for _, slot := range r.Subscriptions.Slots {
		if err := r.keep(ctx, slot, listed); err != nil {
			problems = append(problems, fmt.Errorf("subscription %s: %w", slot.Name, err))
		}
	}
	r.report(ctx)
	return 0, errors.Join(problems...)
}

// keep looks after one slot. A subscription that is as wanted is renewed; any other is
// replaced by a new one before it is removed, so that nothing is missed in between.
func (r *run) keep(ctx context.Context, slot Slot, listed []Subscription) error {
	known := r.state.Subscriptions[slot.Name]
	var current *Subscription
	var others []string
	for i, s := range listed {
		switch {
		case known != nil && s.ID == known.ID:
			current = &listed[i]
		case s.NotificationURL == r.Subscriptions.NotificationURL && strings.EqualFold(s.Resource, slot.Resource):
			others = append(others, s.ID)
		}
	}
	switch {
	case known == nil:
		r.Log.InfoContext(ctx, "subscription", "slot", slot.Name, telemetry.KeyOutcome, "missing")
	case current == nil:
		r.Log.WarnContext(ctx, "subscription", "slot", slot.Name, telemetry.KeyOutcome, "gone",
			"gap_from", known.SeenAt.UTC().Format(time.RFC3339), telemetry.KeyReason, "the directory has removed it; what changed since is found by the delta query")
	case known.Key == r.Subscriptions.Keys.Current() && r.asWanted(slot, *current):
		err := r.renew(ctx, slot, known, *current)
		if !errors.Is(err, identity.ErrNotFound) {
			return errors.Join(err, r.remove(ctx, others))
		}
	default:
		others = append(others, current.ID) // another key, URL or kind of change
	}
	if err := r.create(ctx, slot, others); err != nil {
		return err
	}
	return r.remove(ctx, others)
}

func (r *run) asWanted(slot Slot, s Subscription) bool {
	return s.NotificationURL == r.Subscriptions.NotificationURL && s.LifecycleURL == r.Subscriptions.LifecycleURL &&
		strings.EqualFold(s.Resource, slot.Resource) && changeTypes(s.ChangeType) == changeTypes(slot.ChangeType) && s.ExpiresAt.After(r.now)
}

// changeTypes is the list in one order and spelling.
func changeTypes(list string) string {
	parts := strings.Split(strings.ToLower(strings.ReplaceAll(list, " ", "")), ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// renew moves the end of a subscription that has lived half its time, or that the
// directory wants authorised again: moving the end does that, too
// (learn.microsoft.com/graph/change-notifications-lifecycle-events).
func (r *run) renew(ctx context.Context, slot Slot, known *subscribed, s Subscription) error {
	asked := slices.ContainsFunc(r.commands, func(c Command) bool { return c.Action == Reauthorize && c.SubscriptionID == s.ID })
	known.ExpiresAt, known.SeenAt = s.ExpiresAt, r.now
	if !asked && s.ExpiresAt.Sub(r.now) > r.Subscriptions.Lifetime/2 {
		return r.save(ctx)
	}
	renewed, err := under(ctx, r.session, func(ctx context.Context) (Subscription, error) {
		return r.Subscriptions.Directory.Renew(ctx, s.ID, r.now.Add(r.Subscriptions.Lifetime))
	})
	if err != nil {
		return err
	}
	known.ExpiresAt = renewed.ExpiresAt
	r.Log.InfoContext(ctx, "subscription", "slot", slot.Name, telemetry.KeyOutcome, "renewed", "until", renewed.ExpiresAt.UTC().Format(time.RFC3339))
	return r.save(ctx)
}

// create subscribes. Where the directory takes no further subscription, one of those
// that would be replaced makes room first: a short gap is better than none at all, and
// the delta query fills it.
func (r *run) create(ctx context.Context, slot Slot, others []string) error {
	state, err := r.Subscriptions.Keys.Make(r.Subscriptions.TenantID, slot.Name)
	if err != nil {
		return err
	}
	wanted := Subscription{
		Resource: slot.Resource, ChangeType: slot.ChangeType, NotificationURL: r.Subscriptions.NotificationURL, LifecycleURL: r.Subscriptions.LifecycleURL,
		ClientState: state, ExpiresAt: r.now.Add(r.Subscriptions.Lifetime),
	}
	order := func(ctx context.Context) (Subscription, error) {
		return r.Subscriptions.Directory.Subscribe(ctx, wanted)
	}
	made, err := under(ctx, r.session, order)
	if errors.Is(err, ErrQuota) && len(others) > 0 {
		if err := r.remove(ctx, others); err != nil {
			return err
		}
		made, err = under(ctx, r.session, order)
	}
	if err != nil {
		return err
	}
	r.state.Subscriptions[slot.Name] = &subscribed{ID: made.ID, Key: r.Subscriptions.Keys.Current(), ExpiresAt: made.ExpiresAt, SeenAt: r.now}
	r.Log.InfoContext(ctx, "subscription", "slot", slot.Name, telemetry.KeyOutcome, "created", "until", made.ExpiresAt.UTC().Format(time.RFC3339))
	return r.save(ctx)
}

func (r *run) remove(ctx context.Context, ids []string) error {
	for _, id := range ids {
		_, err := under(ctx, r.session, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, r.Subscriptions.Directory.Unsubscribe(ctx, id)
		})
		if err != nil {
			return err
		}
		r.Log.InfoContext(ctx, "subscription", "id", id, telemetry.KeyOutcome, "removed")
	}
	return nil
}

// report says what is subscribed to, until when. What is below a quarter of its lifetime
// should have been renewed long ago.
func (r *run) report(ctx context.Context) {
	for _, slot := range r.Subscriptions.Slots {
		s := r.state.Subscriptions[slot.Name]
		left, level, until := time.Duration(0), slog.LevelError, "never"
		if s != nil {
			left, until = max(s.ExpiresAt.Sub(r.now), 0), s.ExpiresAt.UTC().Format(time.RFC3339)
		}
		if left > r.Subscriptions.Lifetime/4 {
			level = r.routine
		}
		r.Log.Log(ctx, level, "subscription", "slot", slot.Name, telemetry.KeyOutcome, "subscribed", "resource", slot.Resource, "until", until)
		r.measure(ctx, "subscription-"+slot.Name, telemetry.Metric{Name: telemetry.MetricSubscriptionLeft, Unit: telemetry.Seconds, Value: left.Seconds()})
	}
}
