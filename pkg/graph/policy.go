package graph

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"mfaflow/pkg/identity"
)

// allUsers is the target id that stands for everybody.
const allUsers = "all_users"

// PassPolicy reads the tenant's policy for Temporary Access Passes. A target of a
// kind we do not know is an error when it excludes: a pass issued past it would
// leave its owner locked out.
func (c *Client) PassPolicy(ctx context.Context) (identity.PassPolicy, error) {
	configurations := c.policies().AuthenticationMethodsPolicy().AuthenticationMethodConfigurations()
	got, err := call(ctx, c, readPassRules, func(ctx context.Context) (models.AuthenticationMethodConfigurationable, error) {
		return configurations.ByAuthenticationMethodConfigurationId("temporaryAccessPass").Get(ctx, nil)
	})
	if err != nil {
		return identity.PassPolicy{}, err
	}
	rules, ok := got.(models.TemporaryAccessPassAuthenticationMethodConfigurationable)
	if !ok || rules.GetState() == nil || rules.GetMinimumLifetimeInMinutes() == nil ||
		rules.GetMaximumLifetimeInMinutes() == nil || rules.GetDefaultLifetimeInMinutes() == nil {
		return identity.PassPolicy{}, readPassRules.unreadable("an incomplete policy")
	}
	p := identity.PassPolicy{
		Enabled:         *rules.GetState() == models.ENABLED_AUTHENTICATIONMETHODSTATE,
		MinLifetime:     minutes(rules.GetMinimumLifetimeInMinutes()),
		MaxLifetime:     minutes(rules.GetMaximumLifetimeInMinutes()),
		DefaultLifetime: minutes(rules.GetDefaultLifetimeInMinutes()),
		OneTime:         flag(rules.GetIsUsableOnce()),
	}
	for _, t := range rules.GetIncludeTargets() {
		switch {
		case t == nil || t.GetTargetType() == nil:
		case text(t.GetId()) == allUsers:
			p.IncludeAll = true
		case *t.GetTargetType() == models.GROUP_AUTHENTICATIONMETHODTARGETTYPE:
			p.IncludeGroups = append(p.IncludeGroups, text(t.GetId()))
		case *t.GetTargetType() == models.USER_AUTHENTICATIONMETHODTARGETTYPE:
			p.IncludeUsers = append(p.IncludeUsers, text(t.GetId()))
		}
	}
	for _, t := range rules.GetExcludeTargets() {
		switch {
		case t == nil || t.GetTargetType() == nil || text(t.GetId()) == "":
			return identity.PassPolicy{}, readPassRules.unreadable("an excluded target of unknown kind")
		case *t.GetTargetType() == models.GROUP_AUTHENTICATIONMETHODTARGETTYPE:
			p.ExcludeGroups = append(p.ExcludeGroups, *t.GetId())
		case *t.GetTargetType() == models.USER_AUTHENTICATIONMETHODTARGETTYPE:
			p.ExcludeUsers = append(p.ExcludeUsers, *t.GetId())
		default:
			return identity.PassPolicy{}, readPassRules.unreadable("an excluded target of unknown kind")
		}
	}
	return p, nil
}

func minutes(n *int32) time.Duration { return time.Duration(*n) * time.Minute }
