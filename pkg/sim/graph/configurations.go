package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
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

func (s *Server) listConfigurations(r *request) (response, error) {
	return list(r, "policies/authenticationMethodsPolicy/authenticationMethodConfigurations", s.configurations()), nil
}

func (s *Server) getConfiguration(r *request) (response, error) {
	d, _ := findDocument(s.configurations(), r.params["configuration"])
	if d == nil {
		return response{}, errMethodNotFound()
	}
	return entityDocument(r, "authenticationMethodConfigurations/$entity", d), nil
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
	if err := s.dir.checkConfiguration(body); err != nil {
		return response{}, err
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

// resetConfiguration reverts a configuration to its default, and removes an external one.
func (s *Server) resetConfiguration(r *request) (response, error) {
	id := r.params["configuration"]
	if strings.EqualFold(id, passConfigurationID) {
		s.dir.Policies.TemporaryAccessPass, s.dir.scopes = defaultPassPolicy(), nil
		return noContent(), nil
	}
	old, i := findDocument(s.dir.Policies.MethodConfigurations, id)
	if old == nil {
		return response{}, errMethodNotFound()
	}
	docs := slices.Clone(s.dir.Policies.MethodConfigurations)
	if old["@odata.type"] == externalConfigurationType {
		docs = slices.Delete(docs, i, i+1)
	} else {
		kept, _ := old["id"].(string)
		docs[i] = defaultConfiguration(kept)
	}
	s.dir.Policies.MethodConfigurations, s.dir.scopes = docs, nil
	return noContent(), nil
}

const externalConfigurationType = "#microsoft.graph.externalAuthenticationMethodConfiguration"

// configurationProperties are what each type has beside state and targets. Source: the
// pages on the configuration resources, v1.0 and beta.
func configurationProperties() map[string][]string {
	return map[string][]string{
		"Fido2":                  {"isAttestationEnforced", "isSelfServiceRegistrationAllowed", "keyRestrictions", "defaultPasskeyProfile", "passkeyProfiles"},
		"MicrosoftAuthenticator": {"featureSettings", "isSoftwareOathEnabled"},
		"Sms":                    {},
		"Voice":                  {"isOfficePhoneAllowed"},
		"SoftwareOath":           {},
		"HardwareOath":           {},
		"Email":                  {"allowExternalIdToUseEmailOtp"},
		"X509Certificate":        {"authenticationModeConfiguration", "certificateUserBindings", "certificateAuthorityScopes", "crlValidationConfiguration", "issuerHintsConfiguration"},
		"QRCodePin":              {"pinLength", "standardQRCodeLifetimeInDays"},
		"external":               {"displayName", "appId", "openIdConnectSetting"},
	}
}

// defaultConfiguration is what a new tenant has: everything off but e-mail and the
// Authenticator, for everybody. Microsoft's pages do not list the defaults: assumed.
func defaultConfiguration(id string) Document {
	d := Document{"@odata.type": "#microsoft.graph." + strings.ToLower(id[:1]) + id[1:] + "AuthenticationMethodConfiguration", "id": id, "state": stateDisabled,
		"includeTargets": []any{map[string]any{"targetType": "group", "id": allUsers, "isRegistrationRequired": false}}, "excludeTargets": []any{}}
	switch id {
	case "Email":
		d["state"], d["allowExternalIdToUseEmailOtp"] = stateEnabled, "default"
	case "MicrosoftAuthenticator":
		d["state"], d["isSoftwareOathEnabled"] = stateEnabled, false
	case "Fido2":
		d["isSelfServiceRegistrationAllowed"], d["isAttestationEnforced"] = true, false
	case "QRCodePin":
		d["@odata.type"], d["pinLength"], d["standardQRCodeLifetimeInDays"] = "#microsoft.graph.qrCodePinAuthenticationMethodConfiguration", 8, 365
	}
	return d
}

// checkConfiguration refuses states and targets that there are not, and properties that
// the type does not have. The pass has rules of its own as well.
func (d *directory) checkConfiguration(body Document) error {
	if v, given := body["state"]; given && v != stateEnabled && v != stateDisabled {
		return errMethod("Invalid value for state.")
	}
	if err := d.checkTargets("configuration", body["includeTargets"], body["excludeTargets"]); err != nil {
		return err
	}
	given, _ := body["@odata.type"].(string)
	if given == passConfigurationType {
		return nil
	}
	var properties []string
	for id, own := range configurationProperties() {
		if strings.EqualFold(given, "#microsoft.graph."+id+"AuthenticationMethodConfiguration") {
			properties = own
		}
	}
	for name := range body {
		switch name {
		case "@odata.type", "@odata.context", "id", "state", "includeTargets", "excludeTargets":
		default:
			if !strings.Contains(name, "@odata.") && !slices.Contains(properties, name) {
				return errMethod("Property '%s' does not exist on type '%s'.", name, strings.TrimPrefix(given, "#"))
			}
		}
	}
	return nil
}

// createConfiguration adds an external method; the others are always there
// (authenticationmethodspolicy-post-authenticationmethodconfigurations).
func (s *Server) createConfiguration(r *request) (response, error) {
	var body Document
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if body["@odata.type"] != externalConfigurationType {
		return response{}, errMethod("Only a configuration of type '%s' can be created.", strings.TrimPrefix(externalConfigurationType, "#"))
	}
	if err := s.dir.checkConfiguration(body); err != nil {
		return response{}, err
	}
	oidc, _ := body["openIdConnectSetting"].(map[string]any)
	for name, v := range map[string]any{"displayName": body["displayName"], "appId": body["appId"],
		"openIdConnectSetting.clientId": oidc["clientId"], "openIdConnectSetting.discoveryUrl": oidc["discoveryUrl"]} {
		if text, _ := v.(string); text == "" {
			return response{}, errMethod("%s is required.", name)
		}
	}
	d := Document{"state": stateDisabled, "includeTargets": []any{}, "excludeTargets": []any{}}
	maps.Copy(d, body)
	d["id"] = s.newID()
	s.dir.Policies.MethodConfigurations, s.dir.scopes = append(slices.Clone(s.dir.Policies.MethodConfigurations), d), nil
	resp := entityDocument(r, "authenticationMethodConfigurations/$entity", d)
	resp.status = http.StatusCreated
	return resp, nil
}
