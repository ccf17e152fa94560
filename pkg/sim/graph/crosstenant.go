package graph

// getCrossTenantDefault answers GET /policies/crossTenantAccessPolicy/default, of which
// the simulator keeps whether a guest's multifactor authentication at home counts here
// (crosstenantaccesspolicyconfigurationdefault).
func (s *Server) getCrossTenantDefault(r *request) (response, error) {
	return ok(map[string]any{
		"@odata.context":   r.context("policies/crossTenantAccessPolicy/default/$entity"),
		"isServiceDefault": !s.dir.Policies.TrustGuestMFA,
		"inboundTrust": map[string]any{"isMfaAccepted": s.dir.Policies.TrustGuestMFA, "isCompliantDeviceAccepted": false,
			"isHybridAzureADJoinedDeviceAccepted": false},
	}), nil
}
