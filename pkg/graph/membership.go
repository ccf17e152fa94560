package graph

import (
	"context"
	"errors"
	"net/url"
	"slices"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
	"golang.org/x/sync/errgroup"

	"mfaflow/pkg/identity"
)

var errBadLink = errors.New("link to the next page is no URL")

// Membership reads every group of the person, direct and nested.
func (c *Client) Membership(ctx context.Context, id identity.UserID) (identity.Membership, error) {
	objects, err := c.memberOf(ctx, readGroups, id)
	if err != nil {
		return identity.Membership{}, err
	}
	var m identity.Membership
	for _, o := range objects {
		g, ok := o.(models.Groupable)
		if !ok {
			continue
		}
		groupID, ok := objectID(text(g.GetId()))
		if !ok {
			return identity.Membership{}, readGroups.unreadable("a group without id")
		}
		// Of an object the app may not read, Graph tells type and id only: whether
		// the group can carry roles would then read as no.
		if g.GetDisplayName() == nil {
			return identity.Membership{}, readGroups.hidden("the properties of a group")
		}
		m.Groups = append(m.Groups, groupID)
		if flag(g.GetIsAssignableToRole()) {
			m.RoleAssignable = append(m.RoleAssignable, *g.GetDisplayName())
		}
	}
	return m, nil
}

// Roles reads the display names of the directory roles a person holds, directly
// (custom and scoped ones included) or through a group, and of those the person can
// activate. Roles that only a group is eligible for are not among them; such a
// group is role-assignable and shows in Membership. A role without a name is listed
// by its id.
func (c *Client) Roles(ctx context.Context, id identity.UserID) (active, eligible []string, err error) {
	guid, ok := objectID(string(id))
	if !ok {
		return nil, nil, readRoles.refuse("user id is not a GUID")
	}
	var held, assigned []string
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { held, err = c.rolesHeld(ctx, id); return err })
	g.Go(func() (err error) { assigned, err = c.rolesAssigned(ctx, guid); return err })
	g.Go(func() (err error) { eligible, err = c.rolesEligible(ctx, guid); return err })
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	return distinct(append(held, assigned...)), distinct(eligible), nil
}

// rolesHeld are the built-in roles the person is a member of, through groups too.
func (c *Client) rolesHeld(ctx context.Context, id identity.UserID) ([]string, error) {
	objects, err := c.memberOf(ctx, readRoles, id)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range objects {
		if r, ok := o.(models.DirectoryRoleable); ok {
			if r.GetDisplayName() == nil {
				return nil, readRoles.hidden("the properties of a role")
			}
			names = append(names, *r.GetDisplayName())
		}
	}
	return names, nil
}

func (c *Client) rolesAssigned(ctx context.Context, guid string) ([]string, error) {
	list, err := principalList[models.UnifiedRoleAssignmentCollectionResponseable](ctx, c, readRoles, "roleAssignments", guid,
		models.CreateUnifiedRoleAssignmentCollectionResponseFromDiscriminatorValue)
	if err != nil {
		return nil, err
	}
	return roleNames(readRoles, list)
}

// noPIM is the code of a tenant without the licence for Privileged Identity
// Management (maester365/maester#1421): nobody there can activate a role.
const noPIM = "AadPremiumLicenseRequired"

func (c *Client) rolesEligible(ctx context.Context, guid string) ([]string, error) {
	list, err := principalList[models.UnifiedRoleEligibilityScheduleInstanceCollectionResponseable](ctx, c, readEligible,
		"roleEligibilityScheduleInstances", guid,
		models.CreateUnifiedRoleEligibilityScheduleInstanceCollectionResponseFromDiscriminatorValue)
	if answer := (*answerError)(nil); errors.As(err, &answer) && answer.code == noPIM {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return roleNames(readEligible, list)
}

func roleNames[T interface {
	GetRoleDefinition() models.UnifiedRoleDefinitionable
	GetRoleDefinitionId() *string
}](op operation, list []T) ([]string, error) {
	var names []string
	for _, a := range list {
		if any(a) == nil {
			return nil, op.unreadable("an empty role assignment")
		}
		name := text(a.GetRoleDefinitionId())
		if d := a.GetRoleDefinition(); d != nil && text(d.GetDisplayName()) != "" {
			name = *d.GetDisplayName()
		}
		if name == "" {
			return nil, op.unreadable("a role assignment without a role")
		}
		names = append(names, name)
	}
	return names, nil
}

// memberOf lists the groups, roles and units of a person, transitively. It is the
// plain collection: narrowing it to a type makes an advanced query, which Graph
// answers from an index that lags.
func (c *Client) memberOf(ctx context.Context, op operation, id identity.UserID) ([]models.DirectoryObjectable, error) {
	user, err := c.user(op, id)
	if err != nil {
		return nil, err
	}
	top := int32(999)
	list, err := collect(ctx, c, op,
		func(ctx context.Context) (models.DirectoryObjectCollectionResponseable, error) {
			return user.TransitiveMemberOf().Get(ctx, &users.ItemTransitiveMemberOfRequestBuilderGetRequestConfiguration{
				QueryParameters: &users.ItemTransitiveMemberOfRequestBuilderGetQueryParameters{
					Select: []string{"id", "displayName", "isAssignableToRole"}, Top: &top,
				},
			})
		},
		func(ctx context.Context, link string) (models.DirectoryObjectCollectionResponseable, error) {
			return user.TransitiveMemberOf().WithUrl(link).Get(ctx, nil)
		})
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		if o == nil || text(o.GetOdataType()) == "" {
			return nil, op.unreadable("a member of no type")
		}
	}
	return list, nil
}

// principalList reads the role assignments of one principal. The SDK's builders for
// role management would add their whole tree to the build for these two requests.
func principalList[P interface {
	page[T]
	serialization.Parsable
}, T any](ctx context.Context, c *Client, op operation, collection, guid string, factory serialization.ParsableFactory) ([]T, error) {
	send := func(ctx context.Context, r *abstractions.RequestInformation) (P, error) {
		var none P
		r.Headers.TryAdd("Accept", "application/json")
		got, err := c.adapter.Send(ctx, r, factory, abstractions.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue})
		if err != nil {
			return none, err
		}
		answer, ok := got.(P)
		if !ok {
			return none, errEmptyAnswer
		}
		return answer, nil
	}
	return collect(ctx, c, op,
		func(ctx context.Context) (P, error) {
			r := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(abstractions.GET,
				"{+baseurl}/roleManagement/directory/"+collection+"{?%24expand,%24filter}", map[string]string{})
			r.QueryParametersAny["%24filter"] = "principalId eq " + quote(guid)
			r.QueryParametersAny["%24expand"] = "roleDefinition"
			return send(ctx, r)
		},
		func(ctx context.Context, link string) (P, error) {
			var none P
			u, err := url.Parse(link)
			if err != nil {
				return none, errBadLink
			}
			r := abstractions.NewRequestInformation()
			r.Method = abstractions.GET
			r.SetUri(*u)
			return send(ctx, r)
		})
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
