package graph

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	passConfigurationID   = "TemporaryAccessPass"
	passConfigurationType = "#microsoft.graph.temporaryAccessPassAuthenticationMethodConfiguration"
)

func (s *Server) passConfiguration() Document {
	p := s.dir.Policies.TemporaryAccessPass
	return Document{
		"@odata.type":              passConfigurationType,
		"id":                       passConfigurationID,
		"state":                    p.State,
		"defaultLifetimeInMinutes": p.DefaultLifetime,
		"defaultLength":            p.DefaultLength,
		"minimumLifetimeInMinutes": p.MinimumLifetime,
		"maximumLifetimeInMinutes": p.MaximumLifetime,
		"isUsableOnce":             p.UsableOnce,
		"includeTargets":           orEmptyTargets(p.IncludeTargets),
		"excludeTargets":           excludeTargets(p.ExcludeTargets),
	}
}

func orEmptyTargets(t []Target) []Target {
	if t == nil {
		return []Target{}
	}
	return t
}

// excludeTargets have no isRegistrationRequired.
func excludeTargets(targets []Target) []map[string]string {
	out := make([]map[string]string, 0, len(targets))
	for _, t := range targets {
		out = append(out, map[string]string{"id": t.ID, "targetType": t.TargetType})
	}
	return out
}

func (s *Server) configurations() []Document {
	return append(slices.Clone(s.dir.Policies.MethodConfigurations), s.passConfiguration())
}

func (s *Server) getMethodsPolicy(r *request) (response, error) {
	return ok(s.methodsPolicy(r)), nil
}

func (s *Server) methodsPolicy(r *request) Document {
	body := maps.Clone(s.dir.Policies.AuthenticationMethods)
	if body == nil {
		body = Document{"id": "authenticationMethodsPolicy"}
	}
	body["@odata.context"] = r.context("authenticationMethodsPolicy")
	body["authenticationMethodConfigurations"] = s.configurations()
	return body
}

// patchMethodsPolicy is a partial update; absent fields keep their value.
func (s *Server) patchMethodsPolicy(r *request) (response, error) {
	var body Document
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	policy := maps.Clone(s.dir.Policies.AuthenticationMethods)
	if policy == nil {
		policy = Document{"id": "authenticationMethodsPolicy"}
	}
	for name, v := range body {
		switch name {
		case "registrationEnforcement", "reconfirmationInDays", "policyMigrationState", "displayName", "description",
			"systemCredentialPreferences", "reportSuspiciousActivitySettings":
			policy[name] = merge(policy[name], v)
		case "@odata.type", "@odata.context", "id":
		default:
			return response{}, errMethod("Property '%s' cannot be updated.", name)
		}
	}
	policy["lastModifiedDateTime"] = r.now.Format(time.RFC3339)
	s.dir.Policies.AuthenticationMethods = policy
	return ok(s.methodsPolicy(r)), nil
}

// merge overlays objects member by member; anything else is replaced.
func merge(old, update any) any {
	o, okOld := old.(map[string]any)
	u, okUpdate := update.(map[string]any)
	if !okOld || !okUpdate {
		return update
	}
	out := maps.Clone(o)
	for k, v := range u {
		out[k] = merge(out[k], v)
	}
	return out
}

func (s *Server) listConfigurations(r *request) (response, error) {
	return list(r, "policies/authenticationMethodsPolicy/authenticationMethodConfigurations", s.configurations()), nil
}

func findDocument(docs []Document, id string) (Document, int) {
	for i, d := range docs {
		if v, _ := d["id"].(string); strings.EqualFold(v, id) {
			return d, i
		}
	}
	return nil, -1
}

func (s *Server) getConfiguration(r *request) (response, error) {
	d, _ := findDocument(s.configurations(), r.params["configuration"])
	if d == nil {
		return response{}, errMethodNotFound()
	}
	return entityDocument(r, "authenticationMethodConfigurations/$entity", d), nil
}

func entityDocument(r *request, context string, d Document) response {
	body := maps.Clone(d)
	body["@odata.context"] = r.context(context)
	return ok(body)
}

// patchConfiguration must be told the derived type, as Graph documents.
func (s *Server) patchConfiguration(r *request) (response, error) {
	d, _ := findDocument(s.configurations(), r.params["configuration"])
	if d == nil {
		return response{}, errMethodNotFound()
	}
	var body Document
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if given, _ := body["@odata.type"].(string); given != d["@odata.type"] {
		return response{}, errMethod("The @odata.type of the authentication method configuration must be '%v'.", d["@odata.type"])
	}
	if v, given := body["state"]; given && v != "enabled" && v != "disabled" {
		return response{}, errMethod("Invalid value for state.")
	}
	if strings.EqualFold(r.params["configuration"], passConfigurationID) {
		return s.patchPassPolicy(body)
	}
	_, i := findDocument(s.dir.Policies.MethodConfigurations, r.params["configuration"])
	updated := maps.Clone(d)
	for name, v := range body {
		if name != "id" {
			updated[name] = v
		}
	}
	s.dir.Policies.MethodConfigurations[i] = updated
	s.dir.scopes = nil
	return noContent(), nil
}

func (s *Server) patchPassPolicy(body Document) (response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return response{}, err
	}
	p := s.dir.Policies.TemporaryAccessPass
	p.IncludeTargets, p.ExcludeTargets = slices.Clone(p.IncludeTargets), slices.Clone(p.ExcludeTargets)
	if _, given := body["includeTargets"]; given {
		p.IncludeTargets = nil
	}
	if _, given := body["excludeTargets"]; given {
		p.ExcludeTargets = nil
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return response{}, errMethod("The request body does not match the type of the configuration.")
	}
	if err := p.validate(); err != nil {
		return response{}, errMethod("Invalid Temporary Access Pass configuration: %s", err)
	}
	s.dir.Policies.TemporaryAccessPass, s.dir.scopes = p, nil
	return noContent(), nil
}

// resetConfiguration reverts to the default. The simulator knows the pass's default only.
func (s *Server) resetConfiguration(r *request) (response, error) {
	if !strings.EqualFold(r.params["configuration"], passConfigurationID) {
		return response{}, errMethodNotFound()
	}
	s.dir.Policies.TemporaryAccessPass, s.dir.scopes = defaultPassPolicy(), nil
	return noContent(), nil
}

func oneDocument(r *request, docs []Document, param, context string) (response, error) {
	d, _ := findDocument(docs, r.params[param])
	if d == nil {
		return response{}, errNotFound(r.params[param])
	}
	return entityDocument(r, context, d), nil
}

func (s *Server) getSecurityDefaults(r *request) (response, error) {
	return ok(map[string]any{
		"@odata.context": r.context("policies/identitySecurityDefaultsEnforcementPolicy/$entity"),
		"id":             "00000000-0000-0000-0000-000000000005",
		"displayName":    "Security Defaults",
		"isEnabled":      s.dir.Policies.SecurityDefaults.IsEnabled,
	}), nil
}

// patchSecurityDefaults refuses to enable the defaults beside enabled Conditional Access
// policies; the portal does, Graph's text is assumed.
func (s *Server) patchSecurityDefaults(r *request) (response, error) {
	var body struct {
		IsEnabled *bool `json:"isEnabled"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if body.IsEnabled == nil {
		return response{}, errBadRequest("isEnabled is required.")
	}
	if *body.IsEnabled && slices.ContainsFunc(s.dir.accessPolicies(), func(p accessPolicy) bool { return p.State == stateEnabled }) {
		return response{}, &apiError{status: 400, code: "badRequest", message: "Security defaults cannot be enabled while Conditional Access policies are enabled."}
	}
	s.dir.Policies.SecurityDefaults.IsEnabled = *body.IsEnabled
	return noContent(), nil
}
