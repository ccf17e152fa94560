package graph

import (
	"context"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mfaflow/pkg/identity"
)

// Methods lists the person's authentication methods of Graph v1.0, the password and
// a pass included. A type unknown to us or to the SDK is kept as its own kind. Types
// that exist in beta only may be missing: see AllMethods.
func (c *Client) Methods(ctx context.Context, id identity.UserID) ([]identity.Method, error) {
	user, err := c.user(listMethods, id)
	if err != nil {
		return nil, err
	}
	list, err := collect(ctx, c, listMethods,
		func(ctx context.Context) (models.AuthenticationMethodCollectionResponseable, error) {
			return user.Authentication().Methods().Get(ctx, nil)
		},
		func(ctx context.Context, link string) (models.AuthenticationMethodCollectionResponseable, error) {
			return user.Authentication().Methods().WithUrl(link).Get(ctx, nil)
		})
	if err != nil {
		return nil, err
	}
	methods := make([]identity.Method, 0, len(list))
	for _, m := range list {
		if m == nil || text(m.GetId()) == "" || kind(text(m.GetOdataType())) == "" {
			return nil, listMethods.unreadable("a method without id or type")
		}
		method := identity.Method{ID: *m.GetId(), Kind: kind(text(m.GetOdataType()))}
		if created, ok := m.(interface{ GetCreatedDateTime() *time.Time }); ok {
			method.CreatedAt = moment(created.GetCreatedDateTime())
		}
		if phone, ok := m.(models.PhoneAuthenticationMethodable); ok && phone.GetPhoneType() != nil {
			method.Phone = identity.PhoneType(phone.GetPhoneType().String())
		}
		methods = append(methods, method)
	}
	return methods, nil
}

// kind is a method's OData type without what all of them share.
func kind(odataType string) identity.MethodKind {
	name := strings.TrimPrefix(odataType, "#microsoft.graph.")
	if short := strings.TrimSuffix(name, "AuthenticationMethod"); short != "" {
		name = short
	}
	return identity.MethodKind(name)
}

// Passes lists the person's Temporary Access Passes: none or one, as Graph keeps a
// single pass per person. Its value is not told again.
func (c *Client) Passes(ctx context.Context, id identity.UserID) ([]identity.Pass, error) {
	passes, err := c.passes(listPasses, id)
	if err != nil {
		return nil, err
	}
	list, err := collect(ctx, c, listPasses,
		func(ctx context.Context) (models.TemporaryAccessPassAuthenticationMethodCollectionResponseable, error) {
			return passes.Get(ctx, nil)
		},
		func(ctx context.Context, link string) (models.TemporaryAccessPassAuthenticationMethodCollectionResponseable, error) {
			return passes.WithUrl(link).Get(ctx, nil)
		})
	if err != nil {
		return nil, err
	}
	found := make([]identity.Pass, 0, len(list))
	for _, m := range list {
		p, err := pass(listPasses, m)
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

// IssuePass issues a pass, which replaces the one the person may have. Its value
// exists in the result only. After an error that is a *identity.RetryError with
// Unknown set, a pass may exist whose value nobody knows; issuing again replaces
// it.
func (c *Client) IssuePass(ctx context.Context, id identity.UserID, r identity.PassRequest) (identity.IssuedPass, error) {
	passes, err := c.passes(issuePass, id)
	if err != nil {
		return identity.IssuedPass{}, err
	}
	if r.Lifetime < 0 || r.Lifetime%time.Minute != 0 || r.Lifetime > maxPassLifetime {
		return identity.IssuedPass{}, issuePass.refuse("lifetime is not a number of whole minutes up to 30 days")
	}
	body := models.NewTemporaryAccessPassAuthenticationMethod()
	body.SetIsUsableOnce(&r.OneTime)
	if r.Lifetime > 0 {
		minutes := int32(r.Lifetime / time.Minute)
		body.SetLifetimeInMinutes(&minutes)
	}
	if !r.StartsAt.IsZero() {
		start := wholeSecond(r.StartsAt)
		body.SetStartDateTime(&start)
	}
	got, err := call(ctx, c, issuePass, func(ctx context.Context) (models.TemporaryAccessPassAuthenticationMethodable, error) {
		return passes.Post(ctx, body, nil)
	})
	if err != nil {
		return identity.IssuedPass{}, err
	}
	issued, err := pass(issuePass, got)
	if err != nil {
		return identity.IssuedPass{}, err
	}
	value := text(got.GetTemporaryAccessPass())
	if value == "" {
		return identity.IssuedPass{}, issuePass.unreadable("a pass without its value")
	}
	return identity.IssuedPass{Pass: issued, Value: identity.NewSecret(value)}, nil
}

// wholeSecond is t or the next full second: the SDK cuts off fractions, which would
// turn "in a moment" into the past, and Graph refuses a start in the past.
func wholeSecond(t time.Time) time.Time {
	whole := t.UTC().Truncate(time.Second)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return whole
}

// maxPassLifetime is Graph's own bound, 43200 minutes; the tenant's is tighter.
const maxPassLifetime = 30 * 24 * time.Hour

// DeletePass deletes a pass. One that is already gone is a success.
func (c *Client) DeletePass(ctx context.Context, id identity.UserID, passID string) error {
	passes, err := c.passes(deletePass, id)
	if err != nil {
		return err
	}
	guid, ok := objectID(passID)
	if !ok {
		return deletePass.refuse("pass id is not a GUID")
	}
	_, err = call(ctx, c, deletePass, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, passes.ByTemporaryAccessPassAuthenticationMethodId(guid).Delete(ctx, nil)
	})
	return gone(err)
}

func (c *Client) passes(op operation, id identity.UserID) (*users.ItemAuthenticationTemporaryAccessPassMethodsRequestBuilder, error) {
	user, err := c.user(op, id)
	if err != nil {
		return nil, err
	}
	return user.Authentication().TemporaryAccessPassMethods(), nil
}

// pass translates a pass without its value.
func pass(op operation, m models.TemporaryAccessPassAuthenticationMethodable) (identity.Pass, error) {
	if m == nil || text(m.GetId()) == "" || m.GetStartDateTime() == nil || m.GetLifetimeInMinutes() == nil {
		return identity.Pass{}, op.unreadable("a pass without id or validity")
	}
	reason := text(m.GetMethodUsabilityReason())
	return identity.Pass{
		ID:        *m.GetId(),
		CreatedAt: moment(m.GetCreatedDateTime()),
		StartsAt:  moment(m.GetStartDateTime()),
		Lifetime:  time.Duration(*m.GetLifetimeInMinutes()) * time.Minute,
		OneTime:   flag(m.GetIsUsableOnce()),
		Usable:    flag(m.GetIsUsable()),
		Spent:     reason == "Expired" || reason == "OneTimeUsed",
	}, nil
}
