package graph

import (
	"net/http"
	"net/url"
	"strings"
)

// route is one operation. Permissions are alternatives; one that needs several joins
// them with "+". Sources: the permission table of Graph's devx content, 2026-08.
type route struct {
	method      string
	pattern     []string // literal segments, or {name}
	betaOnly    bool
	class       Class
	cost        func(*request) int // resource units; nil means 1
	permissions []string
	handle      func(*Server, *request) (response, error)
}

type routeTable []*route

// newRoutes is the whole of the simulated API, one line per operation.
func newRoutes() routeTable {
	readUsers := []string{"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readGroups := []string{"GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "GroupMember.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readMember := []string{"User.Read.All+GroupMember.Read.All", "User.ReadWrite.All+GroupMember.Read.All", "GroupMember.Read.All", "Group.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	checkMember := []string{"User.Read.All+GroupMember.Read.All", "User.ReadBasic.All+GroupMember.Read.All", "User.Read.All+Group.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readRoles := []string{"RoleManagement.Read.Directory", "RoleManagement.Read.All", "RoleManagement.ReadWrite.Directory", "Directory.Read.All", "Directory.ReadWrite.All"}
	readEligible := []string{"RoleEligibilitySchedule.Read.Directory", "RoleManagement.Read.Directory", "RoleManagement.Read.All", "RoleManagement.ReadWrite.Directory"}
	readMethods := []string{"UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All"}
	writeMethods := []string{"UserAuthenticationMethod.ReadWrite.All"}
	readPass := []string{"UserAuthMethod-TAP.Read.All", "UserAuthMethod-TAP.ReadWrite.All", "UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All"}
	writePass := []string{"UserAuthMethod-TAP.ReadWrite.All", "UserAuthenticationMethod.ReadWrite.All"}
	readMFAState := []string{"Policy.Read.All", "Policy.ReadWrite.AuthenticationMethod"}
	writePolicy := []string{"Policy.ReadWrite.AuthenticationMethod"}
	readPolicy := []string{"Policy.Read.AuthenticationMethod", "Policy.Read.All", "Policy.ReadWrite.AuthenticationMethod"}
	readAccess := []string{"Policy.Read.All", "Policy.Read.ConditionalAccess"}
	writeAccess := []string{"Policy.Read.All+Policy.ReadWrite.ConditionalAccess+Application.Read.All"}
	writeStrength := []string{"Policy.ReadWrite.ConditionalAccess", "Policy.ReadWrite.AuthenticationMethod"}
	readSecurity := []string{"Policy.Read.All"}
	revoke := []string{"User.RevokeSessions.All", "User.ReadWrite.All", "Directory.ReadWrite.All"}
	watchUsers := []string{"User.Read.All"} // subscription-post-subscriptions: exactly the one documented
	deleteUser := []string{"User.DeleteRestore.All", "User.ReadWrite.All", "Directory.ReadWrite.All"}

	readOrganization := []string{"Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readApplications := []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}

	var t routeTable
	add := func(method, pattern string, class Class, permissions []string, handle func(*Server, *request) (response, error)) *route {
		rt := &route{method: method, pattern: strings.Split(strings.Trim(pattern, "/"), "/"), class: class, permissions: permissions, handle: handle}
		t = append(t, rt)
		return rt
	}
	add("GET", "/users", ClassDirectory, readUsers, (*Server).listUsers).cost = listCost
	add("GET", "/users/$count", ClassDirectory, readUsers, (*Server).countUsers)
	add("GET", "/users/{user}", ClassDirectory, readUsers, (*Server).getUser)
	add("PATCH", "/users/{user}", ClassDirectory, nil, (*Server).patchUser) // permissions depend on the properties
	add("DELETE", "/users/{user}", ClassDirectory, deleteUser, (*Server).deleteUser)
	add("GET", "/users/{user}/manager", ClassDirectory, readUsers, (*Server).getManager)
	add("GET", "/users/{user}/directReports", ClassDirectory, readUsers, (*Server).listReports)
	add("POST", "/users/{user}/revokeSignInSessions", ClassDirectory, revoke, (*Server).revokeSessions)
	add("POST", "/users/{user}/invalidateAllRefreshTokens", ClassDirectory, revoke, (*Server).revokeSessions).betaOnly = true
	for _, cast := range []string{"", "/graph.group", "/graph.directoryRole"} {
		add("GET", "/users/{user}/memberOf"+cast, ClassDirectory, readMember, (*Server).listMemberOf)
		add("GET", "/users/{user}/transitiveMemberOf"+cast, ClassDirectory, readMember, (*Server).listMemberOf)
	}
	add("POST", "/users/{user}/checkMemberGroups", ClassDirectory, checkMember, (*Server).checkMemberGroups)
	add("POST", "/users/{user}/getMemberGroups", ClassDirectory, checkMember, (*Server).getMemberGroups)
	add("GET", "/users/delta", ClassDirectory, readUsers, (*Server).deltaUsers)
	add("GET", "/directory/deletedItems/graph.user", ClassDirectory, readUsers, (*Server).listDeletedUsers)
	add("GET", "/directory/deletedItems/{user}", ClassDirectory, readUsers, (*Server).getDeletedUser)
	add("DELETE", "/directory/deletedItems/{user}", ClassDirectory, deleteUser, (*Server).purgeDeletedUser)
	add("POST", "/directory/deletedItems/{user}/restore", ClassDirectory, deleteUser, (*Server).restoreDeletedUser)

	add("GET", "/subscriptions", ClassSubscriptions, watchUsers, (*Server).listSubscriptions)
	add("POST", "/subscriptions", ClassSubscriptions, nil, (*Server).createSubscription) // permission depends on the resource
	add("GET", "/subscriptions/{subscription}", ClassSubscriptions, watchUsers, (*Server).getSubscription)
	add("PATCH", "/subscriptions/{subscription}", ClassSubscriptions, watchUsers, (*Server).patchSubscription)
	add("DELETE", "/subscriptions/{subscription}", ClassSubscriptions, watchUsers, (*Server).deleteSubscription)
	add("POST", "/subscriptions/{subscription}/reauthorize", ClassSubscriptions, watchUsers, (*Server).reauthorizeSubscription)

	add("GET", "/groups", ClassDirectory, readGroups, (*Server).listGroups)
	add("GET", "/groups/{group}", ClassDirectory, readGroups, (*Server).getGroup)
	for _, cast := range []string{"", "/graph.user", "/graph.group"} {
		add("GET", "/groups/{group}/members"+cast, ClassDirectory, readGroups, (*Server).listMembers).cost = fixedCost(3)
		add("GET", "/groups/{group}/transitiveMembers"+cast, ClassDirectory, readGroups, (*Server).listMembers).cost = fixedCost(5)
	}
	add("POST", "/groups/{group}/members/$ref", ClassDirectory, []string{"GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"}, (*Server).addMember)
	add("GET", "/groups/{group}/owners", ClassDirectory, readGroups, (*Server).listOwners)

	add("GET", "/organization", ClassDirectory, readOrganization, (*Server).listOrganizations)
	add("GET", "/organization/{organization}", ClassDirectory, readOrganization, (*Server).getOrganization)
	add("GET", "/servicePrincipals", ClassDirectory, readApplications, (*Server).listServicePrincipals)
	add("GET", "/servicePrincipals/{principal}", ClassDirectory, readApplications, (*Server).getServicePrincipal)

	add("GET", "/roleManagement/directory/roleDefinitions", ClassDirectory, readRoles, (*Server).listRoleDefinitions)
	add("GET", "/roleManagement/directory/roleDefinitions/{role}", ClassDirectory, readRoles, (*Server).getRoleDefinition)
	add("GET", "/roleManagement/directory/roleAssignments", ClassDirectory, readRoles, (*Server).listRoleAssignments)
	add("GET", "/roleManagement/directory/roleEligibilityScheduleInstances", ClassDirectory, readEligible, (*Server).listRoleEligibilities)

	const auth = "/users/{user}/authentication"
	add("GET", auth+"/methods", ClassMethods, readMethods, (*Server).listAllMethods)
	add("GET", auth+"/methods/{method}", ClassMethods, readMethods, (*Server).getAnyMethod)
	add("DELETE", auth+"/methods/{method}", ClassMethods, writeMethods, (*Server).deleteAnyMethod)
	add("GET", auth+"/temporaryAccessPassMethods", ClassMethods, readPass, (*Server).listPasses)
	add("POST", auth+"/temporaryAccessPassMethods", ClassMethods, writePass, (*Server).createPass)
	add("GET", auth+"/temporaryAccessPassMethods/{method}", ClassMethods, readPass, (*Server).getPass)
	add("DELETE", auth+"/temporaryAccessPassMethods/{method}", ClassMethods, writePass, (*Server).deletePass)
	readPassword := append([]string{"UserAuthMethod-Password.Read.All", "UserAuthMethod-Password.ReadWrite.All"}, readMethods...)
	add("GET", auth+"/passwordMethods", ClassMethods, readPassword, (*Server).getPasswordMethods)
	add("GET", auth+"/passwordMethods/{method}", ClassMethods, readPassword, (*Server).getPasswordMethods)
	for _, k := range methodKinds() {
		k.addRoutes(auth, add)
	}
	add("GET", auth+"/signInPreferences", ClassMethods, readMethods, (*Server).getPreferences).betaOnly = true
	add("PATCH", auth+"/signInPreferences", ClassMethods, writeMethods, (*Server).patchPreferences).betaOnly = true
	add("GET", auth+"/requirements", ClassMethods, readMFAState, (*Server).getRequirements).betaOnly = true
	add("PATCH", auth+"/requirements", ClassMethods, writePolicy, (*Server).patchRequirements).betaOnly = true

	const policy = "/policies/authenticationMethodsPolicy"
	add("GET", policy, ClassPolicy, readPolicy, (*Server).getMethodsPolicy)
	add("PATCH", policy, ClassPolicy, writePolicy, (*Server).patchMethodsPolicy)
	add("GET", policy+"/authenticationMethodConfigurations", ClassPolicy, readPolicy, (*Server).listConfigurations)
	add("POST", policy+"/authenticationMethodConfigurations", ClassPolicy, writePolicy, (*Server).createConfiguration)
	add("GET", policy+"/authenticationMethodConfigurations/{configuration}", ClassPolicy, readPolicy, (*Server).getConfiguration)
	add("PATCH", policy+"/authenticationMethodConfigurations/{configuration}", ClassPolicy, writePolicy, (*Server).patchConfiguration)
	add("DELETE", policy+"/authenticationMethodConfigurations/{configuration}", ClassPolicy, writePolicy, (*Server).resetConfiguration)
	for _, root := range []string{"/policies/authenticationStrengthPolicies", "/identity/conditionalAccess/authenticationStrength/policies"} {
		add("GET", root, ClassPolicy, readPolicy, (*Server).listStrengths)
		add("GET", root+"/{strength}", ClassPolicy, readPolicy, (*Server).getStrength)
		add("GET", root+"/{strength}/usage", ClassPolicy, readPolicy, (*Server).strengthUsage)
		add("POST", root, ClassPolicy, writeStrength, (*Server).createStrength)
		add("PATCH", root+"/{strength}", ClassPolicy, writeStrength, (*Server).patchStrength)
		add("DELETE", root+"/{strength}", ClassPolicy, writeStrength, (*Server).deleteStrength)
		add("POST", root+"/{strength}/updateAllowedCombinations", ClassPolicy, writeStrength, (*Server).updateCombinations)
	}
	add("GET", "/policies/identitySecurityDefaultsEnforcementPolicy", ClassPolicy, readSecurity, (*Server).getSecurityDefaults)
	add("PATCH", "/policies/identitySecurityDefaultsEnforcementPolicy", ClassPolicy,
		[]string{"Policy.Read.All+Policy.ReadWrite.SecurityDefaults", "Policy.Read.All+Policy.ReadWrite.ConditionalAccess"}, (*Server).patchSecurityDefaults)
	add("GET", "/policies/crossTenantAccessPolicy/default", ClassPolicy, readSecurity, (*Server).getCrossTenantDefault)
	add("GET", "/policies/crossTenantAccessPolicy/partners", ClassPolicy, readSecurity, (*Server).listCrossTenantPartners)
	add("GET", "/domains/{domain}/federationConfiguration", ClassDirectory, []string{"Domain.Read.All", "Domain.ReadWrite.All"}, (*Server).listFederationConfigurations)
	add("GET", "/identity/conditionalAccess/policies", ClassProtection, readAccess, (*Server).listConditionalAccess)
	add("GET", "/identity/conditionalAccess/policies/{policy}", ClassProtection, readAccess, (*Server).getConditionalAccess)
	add("POST", "/identity/conditionalAccess/policies", ClassProtection, writeAccess, (*Server).createConditionalAccess)
	add("PATCH", "/identity/conditionalAccess/policies/{policy}", ClassProtection, writeAccess, (*Server).patchConditionalAccess)
	add("DELETE", "/identity/conditionalAccess/policies/{policy}", ClassProtection, writeAccess, (*Server).deleteConditionalAccess)
	add("GET", "/identity/conditionalAccess/namedLocations", ClassProtection, readAccess, (*Server).listNamedLocations)
	add("GET", "/identity/conditionalAccess/namedLocations/{location}", ClassProtection, readAccess, (*Server).getNamedLocation)

	readRisk := []string{"IdentityRiskyUser.Read.All", "IdentityRiskyUser.ReadWrite.All"}
	add("GET", "/identityProtection/riskyUsers", ClassProtection, readRisk, (*Server).listRiskyUsers)
	add("GET", "/identityProtection/riskDetections", ClassProtection, []string{"IdentityRiskEvent.Read.All", "IdentityRiskEvent.ReadWrite.All"}, (*Server).listDetections)
	add("GET", "/auditLogs/signIns", ClassReports, []string{"AuditLog.Read.All"}, (*Server).listSignIns)
	add("GET", "/reports/authenticationMethods/userRegistrationDetails", ClassReports, []string{"AuditLog.Read.All"}, (*Server).listRegistrations)
	add("GET", "/reports/authenticationMethods/userRegistrationDetails/{user}", ClassReports, []string{"AuditLog.Read.All"}, (*Server).getRegistration)
	add("GET", "/identityProtection/riskyUsers/{user}", ClassProtection, readRisk, (*Server).getRiskyUser)
	for _, verdict := range []string{"confirmCompromised", "confirmSafe", "dismiss"} {
		add("POST", "/identityProtection/riskyUsers/"+verdict, ClassProtection, []string{"IdentityRiskyUser.ReadWrite.All"}, (*Server).judgeRiskyUsers)
	}

	add("POST", "/users/{user}/sendMail", ClassMail, []string{"Mail.Send"}, (*Server).sendMail)
	return t
}

func fixedCost(n int) func(*request) int { return func(*request) int { return n } }

// find picks the route of a request and stores its parameters. An unknown segment is
// 400, a known path with the wrong verb 405; so is a beta-only path under v1.0, as
// Graph's page on batching shows.
func (t routeTable) find(r *request) (*route, error) {
	known := false
	if len(r.path) > 0 && strings.EqualFold(r.path[0], "me") {
		return nil, errBadRequest("/me request is only valid with delegated authentication flow.")
	}
	var best *route
	var params map[string]string
	for _, rt := range t {
		p, match := rt.match(r.path)
		if !match {
			continue
		}
		known = true
		if rt.method != r.method || rt.betaOnly && !r.beta() {
			continue
		}
		if best == nil || len(p) < len(params) { // literal segments win over parameters
			best, params = rt, p
		}
	}
	switch {
	case best != nil:
		r.params = params
		return best, nil
	case known:
		return nil, &apiError{status: http.StatusMethodNotAllowed, code: "Request_BadRequest",
			message: "Specified HTTP method is not allowed for the request target."}
	}
	return nil, errBadRequest("Resource not found for the segment '%s'.", t.unknownSegment(r.path))
}

// unknownSegment is the first segment that no route continues with.
func (t routeTable) unknownSegment(path []string) string {
	if len(path) == 0 {
		return ""
	}
	longest := 0
	for _, rt := range t {
		n := 0
		for n < len(path) && n < len(rt.pattern) && (isParam(rt.pattern[n]) || strings.EqualFold(rt.pattern[n], path[n])) {
			n++
		}
		longest = max(longest, n)
	}
	return path[min(longest, len(path)-1)]
}

func isParam(segment string) bool { return strings.HasPrefix(segment, "{") }

func (rt *route) match(path []string) (map[string]string, bool) {
	if len(path) != len(rt.pattern) {
		return nil, false
	}
	params := make(map[string]string, 2)
	for i, p := range rt.pattern {
		switch {
		case isParam(p):
			if path[i] == "" {
				return nil, false
			}
			params[strings.Trim(p, "{}")] = path[i]
		case !strings.EqualFold(p, path[i]):
			return nil, false
		}
	}
	return params, true
}

// splitPath decodes the segments of an escaped path. A key may be written
// users('id') as well as users/id; the namespace of casts and actions is shortened to
// the alias "graph.", which the SDKs use, or dropped for actions.
func splitPath(escaped string) ([]string, error) {
	var segments []string
	for _, raw := range strings.Split(strings.Trim(escaped, "/"), "/") {
		seg, err := url.PathUnescape(raw)
		if err != nil {
			return nil, err
		}
		seg = strings.TrimSuffix(seg, "()") // a function without parameters, such as delta()
		if name, key, ok := strings.Cut(seg, "('"); ok && strings.HasSuffix(key, "')") && name != "" {
			segments = append(segments, name, strings.ReplaceAll(strings.TrimSuffix(key, "')"), "''", "'"))
			continue
		}
		short, qualified := strings.CutPrefix(seg, "microsoft.graph.")
		if !qualified {
			short, qualified = strings.CutPrefix(seg, "graph.")
		}
		if qualified {
			switch short {
			case "user", "group", "directoryRole":
				seg = "graph." + short
			default:
				seg = short
			}
		}
		segments = append(segments, seg)
	}
	return segments, nil
}
