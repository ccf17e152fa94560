package graph

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

func (s *Server) getMethodsPolicy(r *request) (response, error) {
	return ok(s.methodsPolicy(r)), nil
}

// betaOfPolicy are the properties that v1.0 does not have.
func betaOfPolicy() []string {
	return []string{"systemCredentialPreferences", "reportSuspiciousActivitySettings"}
}

// betaOfCampaign is the property of a registration campaign that v1.0 does not have.
const betaOfCampaign = "enforceRegistrationAfterAllowedSnoozes"

func (s *Server) methodsPolicy(r *request) Document {
	body := s.dir.methodsPolicy()
	if !r.beta() {
		for _, name := range betaOfPolicy() {
			delete(body, name)
		}
		enforcement, _ := body["registrationEnforcement"].(map[string]any)
		if campaign, _ := enforcement[campaignProperty].(map[string]any); campaign[betaOfCampaign] != nil {
			enforcement, campaign = maps.Clone(enforcement), maps.Clone(campaign)
			delete(campaign, betaOfCampaign)
			body["registrationEnforcement"], enforcement[campaignProperty] = enforcement, campaign
		}
	}
	body["@odata.context"] = r.context("authenticationMethodsPolicy")
	body["authenticationMethodConfigurations"] = s.configurations()
	return body
}

// methodsPolicy is the policy with what was never set.
func (d *directory) methodsPolicy() Document {
	policy := Document{
		"id": "authenticationMethodsPolicy",
		"registrationEnforcement": map[string]any{campaignProperty: map[string]any{"state": "default", "snoozeDurationInDays": 1.0, "excludeTargets": []any{},
			"includeTargets": []any{map[string]any{"id": allUsers, "targetType": "group", "targetedAuthenticationMethod": "microsoftAuthenticator"}}}},
		"systemCredentialPreferences": map[string]any{"state": "default", "excludeTargets": []any{},
			"includeTargets": []any{map[string]any{"id": allUsers, "targetType": "group"}}},
		"reportSuspiciousActivitySettings": map[string]any{"state": "default", "voiceReportingCode": 0.0,
			"includeTarget": map[string]any{"id": allUsers, "targetType": "group"}},
	}
	maps.Copy(policy, d.Policies.AuthenticationMethods)
	return policy
}

const campaignProperty = "authenticationMethodsRegistrationCampaign"

// patchMethodsPolicy is a partial update; absent fields keep their value.
func (s *Server) patchMethodsPolicy(r *request) (response, error) {
	var body Document
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	policy := s.dir.methodsPolicy()
	if enforcement, _ := body["registrationEnforcement"].(map[string]any); !r.beta() && enforcement != nil {
		if campaign, _ := enforcement[campaignProperty].(map[string]any); campaign[betaOfCampaign] != nil {
			return response{}, errMethod("Property '%s' does not exist on type 'microsoft.graph.authenticationMethodsRegistrationCampaign'.", betaOfCampaign)
		}
	}
	for name, v := range body {
		if slices.Contains(betaOfPolicy(), name) && !r.beta() {
			return response{}, errMethod("Property '%s' does not exist on type 'microsoft.graph.authenticationMethodsPolicy'.", name)
		}
		switch name {
		case "registrationEnforcement", "reconfirmationInDays", "policyMigrationState", "displayName", "description",
			"systemCredentialPreferences", "reportSuspiciousActivitySettings":
			policy[name] = merge(policy[name], v)
			if err := s.dir.checkPolicyProperty(name, policy[name]); err != nil {
				return response{}, err
			}
		case "@odata.type", "@odata.context", "id":
		default:
			return response{}, errMethod("Property '%s' cannot be updated.", name)
		}
	}
	policy["lastModifiedDateTime"] = r.now.Format(time.RFC3339)
	s.dir.Policies.AuthenticationMethods = policy
	return ok(s.methodsPolicy(r)), nil
}

// checkPolicyProperty refuses values that the pages on the resources do not have. The
// texts are assumed.
func (d *directory) checkPolicyProperty(name string, v any) error {
	settings, isObject := v.(map[string]any)
	switch name {
	case "policyMigrationState":
		if v != "preMigration" && v != "migrationInProgress" && v != "migrationComplete" {
			return errMethod("Invalid value '%v' for policyMigrationState.", v)
		}
	case "reconfirmationInDays":
		if n, isNumber := whole(v); v != nil && (!isNumber || n < 0) {
			return errMethod("Invalid value '%v' for reconfirmationInDays.", v)
		}
	case "registrationEnforcement":
		campaign, _ := settings[campaignProperty].(map[string]any)
		return d.checkCampaign(campaign)
	case "systemCredentialPreferences":
		if !isObject || !advancedState(settings["state"]) {
			return errMethod("Invalid value for systemCredentialPreferences.")
		}
		return d.checkTargets(name, settings["includeTargets"], settings["excludeTargets"])
	case "reportSuspiciousActivitySettings":
		if n, isNumber := whole(settings["voiceReportingCode"]); !isObject || !advancedState(settings["state"]) || settings["voiceReportingCode"] != nil && (!isNumber || n < 0) {
			return errMethod("Invalid value for reportSuspiciousActivitySettings.")
		}
		if settings["includeTarget"] != nil {
			return d.checkTargets(name, []any{settings["includeTarget"]})
		}
	}
	return nil
}

// advancedState reports whether v is a member of advancedConfigState.
func advancedState(v any) bool { return v == "default" || v == "enabled" || v == "disabled" }

// whole reads an integer of a document, which comes from a request or from a file.
func whole(v any) (int, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := v.Int64()
		return int(n), err == nil
	case float64:
		return int(v), v == math.Trunc(v)
	}
	return 0, false
}

// checkCampaign goes by the page on the authenticationMethodsRegistrationCampaign resource:
// snoozing for 0 to 14 days. It names microsoftAuthenticator as the one method to push;
// tools in production send fido2 too (CIPP).
func (d *directory) checkCampaign(campaign map[string]any) error {
	for name := range campaign {
		switch name {
		case "state", "snoozeDurationInDays", "includeTargets", "excludeTargets", "@odata.type":
		case betaOfCampaign:
			if _, isBool := campaign[name].(bool); !isBool && campaign[name] != nil {
				return errMethod("Invalid value '%v' for %s.", campaign[name], name)
			}
		default:
			return errMethod("Property '%s' does not exist on type 'microsoft.graph.authenticationMethodsRegistrationCampaign'.", name)
		}
	}
	if !advancedState(campaign["state"]) {
		return errMethod("Invalid value '%v' for the state of the registration campaign.", campaign["state"])
	}
	if days, isNumber := whole(campaign["snoozeDurationInDays"]); campaign["snoozeDurationInDays"] != nil && (!isNumber || days < 0 || days > 14) {
		return errMethod("Invalid value '%v' for snoozeDurationInDays. It must be between 0 and 14.", campaign["snoozeDurationInDays"])
	}
	include, _ := campaign["includeTargets"].([]any)
	for _, x := range include {
		t, _ := x.(map[string]any)
		if m := t["targetedAuthenticationMethod"]; m != "microsoftAuthenticator" && m != "fido2" {
			return errMethod("Invalid value '%v' for targetedAuthenticationMethod.", m)
		}
	}
	return d.checkTargets("registration campaign", campaign["includeTargets"], campaign["excludeTargets"])
}

// checkTargets refuses targets that are no users or groups, or that are not there.
func (d *directory) checkTargets(of string, lists ...any) error {
	for _, list := range lists {
		if items, isList := list.([]any); list != nil && !isList || len(readTargets(items)) != len(items) {
			return errMethod("Invalid targets of the %s.", of)
		}
		for _, t := range readTargets(list) {
			switch {
			case t.TargetType != "user" && t.TargetType != "group":
				return errMethod("Invalid value '%s' for targetType of the %s.", t.TargetType, of)
			case t.ID == allUsers:
			case t.TargetType == "user" && d.byID[strings.ToLower(t.ID)] == nil, t.TargetType == "group" && d.group(t.ID) == nil:
				return errMethod("The %s '%s' of the %s does not exist.", t.TargetType, t.ID, of)
			}
		}
	}
	return nil
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
