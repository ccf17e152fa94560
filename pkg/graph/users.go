package graph

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mfaflow/pkg/identity"
)

// accountFields are asked for by name: most are outside Graph's default set.
var accountFields = []string{
	"id", "userPrincipalName", "displayName", "mail", "employeeId", "otherMails", "accountEnabled", "userType",
	"creationType", "externalUserState", "onPremisesSyncEnabled", "createdDateTime",
	"signInSessionsValidFromDateTime", "lastPasswordChangeDateTime",
}

// signInPause is how long signInActivity is left out after the directory refused to
// tell it. The refusal comes and goes (microsoft-graph-docs#14120), so it is not
// believed for ever.
const signInPause = time.Hour

// Find returns every account that matches any identifier of r. The caller judges
// whether they agree. Nobody matching is an empty list, not an error.
func (c *Client) Find(ctx context.Context, r identity.Reference) ([]identity.Account, error) {
	var terms []string
	add := func(property, value string) {
		if value != "" {
			terms = append(terms, property+" eq "+quote(value))
		}
	}
	if r.ObjectID != "" {
		id, ok := objectID(r.ObjectID)
		if !ok {
			return nil, findUser.refuse("object id is not a GUID")
		}
		add("id", id)
	}
	add("employeeId", r.EmployeeID)
	add("userPrincipalName", r.UserPrincipalName)
	add("mail", r.Mail)
	if len(terms) == 0 {
		return nil, findUser.refuse("reference names nobody")
	}
	filter := strings.Join(terms, " or ")
	found, err := collect(ctx, c, findUser,
		func(ctx context.Context) (models.UserCollectionResponseable, error) {
			return c.users().Get(ctx, &users.UsersRequestBuilderGetRequestConfiguration{
				QueryParameters: &users.UsersRequestBuilderGetQueryParameters{Filter: &filter, Select: accountFields},
			})
		},
		func(ctx context.Context, link string) (models.UserCollectionResponseable, error) {
			return c.users().WithUrl(link).Get(ctx, nil)
		})
	if err != nil {
		return nil, err
	}
	accounts := make([]identity.Account, 0, len(found))
	for _, u := range found {
		a, err := account(findUser, u)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// Account reads the account as it is now. LastSignIn stays zero when the tenant has
// no licence for sign-in activity or the app may not read it.
func (c *Client) Account(ctx context.Context, id identity.UserID) (identity.Account, error) {
	user, err := c.user(readUser, id)
	if err != nil {
		return identity.Account{}, err
	}
	get := func(fields ...string) (models.Userable, error) {
		return call(ctx, c, readUser, func(ctx context.Context) (models.Userable, error) {
			return user.Get(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
				QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: fields},
			})
		})
	}
	if time.Now().UnixNano() < c.signInHidden.Load() {
		u, err := get(accountFields...)
		if err != nil {
			return identity.Account{}, err
		}
		return account(readUser, u)
	}
	u, err := get(append([]string{"signInActivity"}, accountFields...)...)
	if errors.Is(err, identity.ErrForbidden) {
		u, err = get(accountFields...)
		if err == nil {
			c.signInHidden.Store(time.Now().Add(signInPause).UnixNano())
		}
	}
	if err != nil {
		return identity.Account{}, err
	}
	return account(readUser, u)
}

// CountUsers is the number of accounts in the tenant, guests and disabled ones
// included. Graph counts in an index that lags by minutes.
func (c *Client) CountUsers(ctx context.Context) (int, error) {
	body, err := call(ctx, c, countUsers, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, "/v1.0/users/$count", nil, "ConsistencyLevel", "eventual", "Accept", "text/plain")
	})
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(string(body), "\ufeff")), 10, 31)
	if err != nil {
		return 0, countUsers.unreadable("a count that is no number")
	}
	return int(n), nil
}

// Manager reads the account of the person's manager; ErrNotFound when there is
// none, or when the manager is a contact without an account.
func (c *Client) Manager(ctx context.Context, id identity.UserID) (identity.Account, error) {
	user, err := c.user(readManager, id)
	if err != nil {
		return identity.Account{}, err
	}
	got, err := call(ctx, c, readManager, func(ctx context.Context) (models.DirectoryObjectable, error) {
		return user.Manager().Get(ctx, &users.ItemManagerRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemManagerRequestBuilderGetQueryParameters{Select: accountFields},
		})
	})
	if err != nil {
		return identity.Account{}, err
	}
	switch m := got.(type) {
	case models.Userable:
		return account(readManager, m)
	case models.OrgContactable:
		return identity.Account{}, readManager.absent("the manager is a contact")
	default:
		return identity.Account{}, readManager.unreadable("a manager of unknown type")
	}
}

// user is the request builder of one person. Only object ids pass: Graph would take
// a user principal name too, and an empty id would address the whole collection.
func (c *Client) user(op operation, id identity.UserID) (*users.UserItemRequestBuilder, error) {
	guid, ok := objectID(string(id))
	if !ok {
		return nil, op.refuse("user id is not a GUID")
	}
	return c.users().ByUserId(guid), nil
}

// account translates a user. Null where Graph always has a value means that the app
// may not read it.
func account(op operation, u models.Userable) (identity.Account, error) {
	if u == nil {
		return identity.Account{}, op.unreadable("an empty user")
	}
	id, ok := objectID(text(u.GetId()))
	if !ok {
		return identity.Account{}, op.unreadable("a user without id")
	}
	if u.GetAccountEnabled() == nil || u.GetUserPrincipalName() == nil {
		return identity.Account{}, op.hidden("whether the account is enabled")
	}
	a := identity.Account{
		ID:                identity.UserID(id),
		UserPrincipalName: text(u.GetUserPrincipalName()),
		DisplayName:       text(u.GetDisplayName()),
		Mail:              text(u.GetMail()),
		EmployeeID:        text(u.GetEmployeeId()),
		OtherMails:        u.GetOtherMails(),
		Enabled:           *u.GetAccountEnabled(),
		Guest:             strings.EqualFold(text(u.GetUserType()), "Guest"),
		Synced:            flag(u.GetOnPremisesSyncEnabled()),
		CreatedAt:         moment(u.GetCreatedDateTime()),

		SessionsValidFrom:  moment(u.GetSignInSessionsValidFromDateTime()),
		LastPasswordChange: moment(u.GetLastPasswordChangeDateTime()),
	}
	// An invited account keeps its credentials at home, whether it is a Guest or a
	// Member here.
	a.External = text(u.GetCreationType()) == "Invitation" || text(u.GetExternalUserState()) != "" ||
		strings.Contains(strings.ToUpper(a.UserPrincipalName), "#EXT#")
	if s := u.GetSignInActivity(); s != nil {
		// The successful one is missing for accounts last used before December 2023;
		// the others count failed attempts too.
		a.LastSignIn = moment(s.GetLastSuccessfulSignInDateTime())
		if a.LastSignIn.IsZero() {
			a.LastSignIn = latest(moment(s.GetLastSignInDateTime()), moment(s.GetLastNonInteractiveSignInDateTime()))
		}
	}
	return a, nil
}

// objectID is s in lower case if it is a GUID in its usual form.
func objectID(s string) (string, bool) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != len(id.String()) {
		return "", false
	}
	return id.String(), true
}

// quote is an OData string literal (OData 4.01 URL conventions, section 5.1.1.6.1).
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func flag(b *bool) bool { return b != nil && *b }

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
