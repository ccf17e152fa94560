package graph

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/subscriptions"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

var _ sweep.Subscriptions = (*Client)(nil)

func (c *Client) subscriptions() *subscriptions.SubscriptionsRequestBuilder {
	return subscriptions.NewSubscriptionsRequestBuilderInternal(map[string]string{}, c.adapter)
}

// Subscriptions lists those of our app.
func (c *Client) Subscriptions(ctx context.Context) ([]sweep.Subscription, error) {
	list, err := collect(ctx, c, listSubscriptions,
		func(ctx context.Context) (models.SubscriptionCollectionResponseable, error) {
			return c.subscriptions().Get(ctx, nil)
		},
		func(ctx context.Context, link string) (models.SubscriptionCollectionResponseable, error) {
			return c.subscriptions().WithUrl(link).Get(ctx, nil)
		})
	if err != nil {
		return nil, err
	}
	found := make([]sweep.Subscription, 0, len(list))
	for _, m := range list {
		s, err := subscription(listSubscriptions, m)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

// Subscribe creates a subscription; Graph asks both URLs for a proof meanwhile, up to
// ten seconds each. After an error that is a *identity.RetryError with Unknown set, it
// may exist: Subscriptions tells.
//
// Graph answers 403 for an exhausted quota as for a missing permission, and only its
// message, which is not read, tells them apart. But the permission to subscribe to
// users is the permission to read them (subscription-post-subscriptions), so whoever
// may read them ran into the quota.
func (c *Client) Subscribe(ctx context.Context, s sweep.Subscription) (sweep.Subscription, error) {
	body := models.NewSubscription()
	state, expires := s.ClientState.Reveal(), s.ExpiresAt.UTC()
	body.SetResource(&s.Resource)
	body.SetChangeType(&s.ChangeType)
	body.SetNotificationUrl(&s.NotificationURL)
	if s.LifecycleURL != "" {
		body.SetLifecycleNotificationUrl(&s.LifecycleURL)
	}
	if state != "" {
		body.SetClientState(&state)
	}
	body.SetExpirationDateTime(&expires)
	m, err := call(ctx, c, subscribe, func(ctx context.Context) (models.Subscriptionable, error) {
		return c.subscriptions().Post(ctx, body, nil)
	})
	var answer *answerError
	if errors.Is(err, identity.ErrForbidden) && errors.As(err, &answer) && strings.EqualFold(strings.Trim(s.Resource, "/"), "users") {
		if _, readErr := c.ChangesFromNow(ctx); readErr == nil {
			return sweep.Subscription{}, fmt.Errorf("%s: Graph answers %d %s to an app that may read users: %w", subscribe.name, answer.status, answer.code, sweep.ErrQuota)
		}
	}
	if err != nil {
		return sweep.Subscription{}, err
	}
	created, err := subscription(subscribe, m)
	if err != nil {
		return sweep.Subscription{}, err
	}
	created.ClientState = s.ClientState
	return created, nil
}

// Renew moves the expiry of a subscription, up to 41,760 minutes ahead, and authorises
// it again. The answer has the expiry that was granted.
func (c *Client) Renew(ctx context.Context, id string, until time.Time) (sweep.Subscription, error) {
	guid, ok := objectID(id)
	if !ok {
		return sweep.Subscription{}, renewSubscription.refuse("subscription id is not a GUID")
	}
	body := models.NewSubscription()
	until = until.UTC()
	body.SetExpirationDateTime(&until)
	m, err := call(ctx, c, renewSubscription, func(ctx context.Context) (models.Subscriptionable, error) {
		return c.subscriptions().BySubscriptionId(guid).Patch(ctx, body, nil)
	})
	if err != nil {
		return sweep.Subscription{}, err
	}
	return subscription(renewSubscription, m)
}

// Unsubscribe removes a subscription. One that does not exist is removed.
func (c *Client) Unsubscribe(ctx context.Context, id string) error {
	guid, ok := objectID(id)
	if !ok {
		return unsubscribe.refuse("subscription id is not a GUID")
	}
	_, err := call(ctx, c, unsubscribe, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.subscriptions().BySubscriptionId(guid).Delete(ctx, nil)
	})
	return gone(err)
}

// subscription translates an answer. Without id or expiry it could be neither renewed
// nor trusted to live.
func subscription(op operation, m models.Subscriptionable) (sweep.Subscription, error) {
	if m == nil {
		return sweep.Subscription{}, op.unreadable("an empty subscription")
	}
	id, ok := objectID(text(m.GetId()))
	if !ok || m.GetExpirationDateTime() == nil {
		return sweep.Subscription{}, op.unreadable("a subscription without id or expiry")
	}
	return sweep.Subscription{
		ID: id, Resource: text(m.GetResource()), ChangeType: text(m.GetChangeType()), NotificationURL: text(m.GetNotificationUrl()),
		LifecycleURL: text(m.GetLifecycleNotificationUrl()), ExpiresAt: moment(m.GetExpirationDateTime()),
	}, nil
}
