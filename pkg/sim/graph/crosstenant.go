package graph

import "strings"

// inboundTrust is a crossTenantAccessPolicyInboundTrust, of which the simulator keeps
// whether a guest's multifactor authentication at home counts here.
func inboundTrust(mfa bool) map[string]any {
	return map[string]any{"isMfaAccepted": mfa, "isCompliantDeviceAccepted": false, "isHybridAzureADJoinedDeviceAccepted": false}
}

// getCrossTenantDefault answers GET /policies/crossTenantAccessPolicy/default
// (crosstenantaccesspolicyconfigurationdefault).
func (s *Server) getCrossTenantDefault(r *request) (response, error) {
	return ok(map[string]any{
		"@odata.context":   r.context("policies/crossTenantAccessPolicy/default/$entity"),
		"isServiceDefault": !s.dir.Policies.TrustGuestMFA,
		"inboundTrust":     inboundTrust(s.dir.Policies.TrustGuestMFA),
	}), nil
}

func partnerSchema() schema {
	return schema{collection: "policies/crossTenantAccessPolicy/partners", typeName: "crossTenantAccessPolicyConfigurationPartner",
		defaults: []string{"tenantId", "isServiceProvider", "inboundTrust", "b2bCollaborationInbound", "b2bCollaborationOutbound", "b2bDirectConnectInbound", "b2bDirectConnectOutbound"}}
}

func (p Partner) entityID() string { return p.TenantID }

// property follows crosstenantaccesspolicyconfigurationpartner: null is inherited.
func (p Partner) property(name string) (any, bool) {
	switch name {
	case "tenantId":
		return p.TenantID, true
	case "inboundTrust":
		if p.TrustMFA == nil {
			return nil, true
		}
		return inboundTrust(*p.TrustMFA), true
	case "isServiceProvider", "b2bCollaborationInbound", "b2bCollaborationOutbound", "b2bDirectConnectInbound", "b2bDirectConnectOutbound":
		return nil, true
	}
	return nil, false
}

func (s *Server) listCrossTenantPartners(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return page(partnerSchema(), r, q, s.dir.Policies.Partners, nil)
}

// trusted reports whether the multifactor authentication that a guest did at home counts:
// that of other tenants of Entra alone ("Cross-tenant access settings").
func (d *directory) trusted(u *User) bool {
	if !u.external() || u.HomeTenant == "" {
		return false
	}
	for _, p := range d.Policies.Partners {
		if strings.EqualFold(p.TenantID, u.HomeTenant) && p.TrustMFA != nil {
			return *p.TrustMFA
		}
	}
	return d.Policies.TrustGuestMFA
}

// federation is that of a domain; nil for one that is managed.
func (t *Tenant) federation(domain string) *Federation {
	for i := range t.Policies.Federations {
		if strings.EqualFold(t.Policies.Federations[i].Domain, domain) {
			return &t.Policies.Federations[i]
		}
	}
	return nil
}

// federated is the configuration of the domain that a member signs in with.
func (t *Tenant) federated(u *User) *Federation {
	_, domain, _ := strings.Cut(u.UserPrincipalName, "@")
	if u.external() {
		return nil
	}
	return t.federation(domain)
}

// listFederationConfigurations answers GET /domains/{domain}/federationConfiguration, with
// the one object of a federated domain, and 404 for any other (domain-list-federationconfiguration).
func (s *Server) listFederationConfigurations(r *request) (response, error) {
	f := s.dir.federation(r.params["domain"])
	if f == nil {
		return response{}, errNotFound(r.params["domain"])
	}
	return ok(map[string]any{
		"@odata.context": r.context("domains('" + f.Domain + "')/federationConfiguration"),
		"value": []any{map[string]any{
			"@odata.type": "#microsoft.graph.internalDomainFederation", "id": "6601d14b-d113-8f64-fda2-9b5ddda18ecc", "displayName": f.Domain,
			"issuerUri": "http://" + f.Domain + "/adfs/services/trust", "passiveSignInUri": "https://sts." + f.Domain + "/adfs/ls",
			"preferredAuthenticationProtocol": "wsFed", "promptLoginBehavior": "nativeSupport", "isSignedAuthenticationRequestRequired": false,
			"federatedIdpMfaBehavior": orNull(f.MFABehaviour),
		}},
	}), nil
}
