package doctor

import (
	"slices"
	"strings"

	"mfaflow/pkg/sweep"
)

// need is a Graph permission that a function uses.
type need struct {
	permission string
	// or are permissions that do instead, or that may stand beside it: the fine-grained
	// ones of authentication methods are new, and not every tenant has them.
	or []string
	// unless says that the settings do without it.
	unless func(*Function) bool
}

const mailSend = "Mail.Send"

// needs are the permissions of each function; one that is not listed needs none. They are
// those of infra/functions.json, which a test compares. Mail.Send is not among them: it may
// be granted in Exchange for one mailbox, which no token tells.
func needs(function string) []need {
	methods := []string{"UserAuthMethod-*.ReadWrite.All", "UserAuthMethod-*.Read.All"}
	polls := func(p ...sweep.Poll) func(*Function) bool {
		return func(f *Function) bool {
			return !slices.ContainsFunc(p, func(x sweep.Poll) bool { return slices.Contains(f.Polls, x) })
		}
	}
	switch function {
	case "identity-router":
		return []need{{permission: "User.Read.All"}}
	case "identity-worker":
		return []need{
			{permission: "User.Read.All"}, {permission: "GroupMember.Read.All"}, {permission: "RoleManagement.Read.Directory"},
			{permission: "Policy.Read.All"}, {permission: "AuditLog.Read.All"},
			{permission: "UserAuthenticationMethod.ReadWrite.All", or: methods},
			{permission: "User.EnableDisableAccount.All"}, {permission: "User.RevokeSessions.All"},
			{permission: "User-PasswordProfile.ReadWrite.All"}, {permission: "IdentityRiskyUser.Read.All"},
			{permission: "GroupMember.ReadWrite.All", unless: func(f *Function) bool { return !f.Requires }},
			{permission: "Policy.ReadWrite.AuthenticationMethod", unless: func(f *Function) bool { return !f.MethodPolicy }},
		}
	case "tenant-sweep":
		return []need{
			{permission: "User.Read.All"},
			{permission: "User-LifeCycleInfo.Read.All", unless: polls(sweep.PollEmployment)},
			{permission: "AuditLog.Read.All", unless: polls(sweep.PollSignIns)},
			{permission: "IdentityRiskyUser.Read.All", unless: polls(sweep.PollRiskyUsers)},
			{permission: "IdentityRiskEvent.Read.All", unless: polls(sweep.PollDetections)},
		}
	case "readiness-report":
		return []need{
			{permission: "User.Read.All"}, {permission: "GroupMember.Read.All"}, {permission: "RoleManagement.Read.Directory"},
			{permission: "Policy.Read.All"}, {permission: "AuditLog.Read.All"}, {permission: "Application.Read.All"},
			{permission: "Organization.Read.All"}, {permission: "Domain.Read.All"},
		}
	case "event-replay":
		return []need{
			{permission: "User.Read.All"}, {permission: "GroupMember.Read.All"}, {permission: "RoleManagement.Read.Directory"},
			{permission: "Policy.Read.All"}, {permission: "AuditLog.Read.All"},
			{permission: "UserAuthenticationMethod.Read.All"}, {permission: "IdentityRiskyUser.Read.All"},
		}
	default:
		return nil
	}
}

// missing are the permissions that the function needs and does not have.
func missing(f *Function, granted []string) (list []string) {
	for _, n := range needs(f.Name) {
		if n.unless != nil && n.unless(f) || slices.Contains(granted, n.permission) {
			continue
		}
		list = append(list, n.permission)
	}
	return list
}

// excess are the permissions that the function has and nobody needs.
func excess(f *Function, granted []string) (list []string) {
	for _, g := range granted {
		needed := g == mailSend && f.Sender != "" || slices.ContainsFunc(needs(f.Name), func(n need) bool {
			return n.permission == g || slices.ContainsFunc(n.or, func(pattern string) bool {
				before, after, _ := strings.Cut(pattern, "*")
				return strings.HasPrefix(g, before) && strings.HasSuffix(g, after)
			})
		})
		if !needed {
			list = append(list, g)
		}
	}
	return list
}
