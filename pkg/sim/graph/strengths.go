package graph

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// mostStrengths is how many authentication strengths a tenant can add (Graph,
// "Authentication strengths API overview").
const mostStrengths = 15

// strongCombinations satisfy multifactor authentication; weakCombinations are the others
// that a strength may allow (authenticationstrengthroot-list-policies and Entra,
// "Conditional Access authentication strength").
func strongCombinations() []string {
	return []string{"windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor", "deviceBasedPush", "temporaryAccessPassOneTime", "temporaryAccessPassMultiUse",
		"password,microsoftAuthenticatorPush", "password,softwareOath", "password,hardwareOath", "password,sms", "password,voice", "federatedMultiFactor",
		"microsoftAuthenticatorPush,federatedSingleFactor", "softwareOath,federatedSingleFactor", "hardwareOath,federatedSingleFactor",
		"sms,federatedSingleFactor", "voice,federatedSingleFactor"}
}

func weakCombinations() []string {
	return []string{"password", "sms", "email", "qrCodePin", "x509CertificateSingleFactor", "federatedSingleFactor"}
}

// readCombinations reads a list of combinations, which may be written with spaces.
func readCombinations(v any) ([]string, error) {
	list, _ := v.([]any)
	var out []string
	for _, x := range list {
		text, _ := x.(string)
		text = strings.ReplaceAll(text, " ", "")
		if !slices.Contains(strongCombinations(), text) && !slices.Contains(weakCombinations(), text) {
			return nil, errMethod("Invalid value '%v' for allowedCombinations.", x)
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if len(out) == 0 {
		return nil, errMethod("allowedCombinations is required.")
	}
	return out, nil
}

// satisfied is requirementsSatisfied: mfa when every combination is.
func satisfied(combinations []string) string {
	for _, c := range combinations {
		if !slices.Contains(strongCombinations(), c) {
			return "none"
		}
	}
	return controlMFA
}

func (s *Server) listStrengths(r *request) (response, error) {
	return listDocuments(r, "policies/authenticationStrengthPolicies", s.dir.Policies.AuthenticationStrengths, "displayName", "policyType")
}

func (s *Server) getStrength(r *request) (response, error) {
	return oneDocument(r, s.dir.Policies.AuthenticationStrengths, "strength", "policies/authenticationStrengthPolicies/$entity")
}

func (s *Server) createStrength(r *request) (response, error) {
	var body Document
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	for name := range body {
		switch name {
		case "@odata.type", "displayName", "description", "allowedCombinations":
		default:
			return response{}, errMethod("Property '%s' cannot be set.", name)
		}
	}
	name, _ := body["displayName"].(string)
	if strings.TrimSpace(name) == "" {
		return response{}, errMethod("displayName is required.")
	}
	combinations, err := readCombinations(body["allowedCombinations"])
	if err != nil {
		return response{}, err
	}
	custom := 0
	for _, d := range s.dir.Policies.AuthenticationStrengths {
		if d["policyType"] == "custom" {
			custom++
		}
	}
	if custom >= mostStrengths { // text assumed
		return response{}, errMethod("The maximum of %d custom authentication strengths has been reached.", mostStrengths)
	}
	description, _ := body["description"].(string)
	now := r.now.Format(time.RFC3339)
	d := Document{"id": s.newID(), "displayName": name, "description": description, "policyType": "custom", "requirementsSatisfied": satisfied(combinations),
		"allowedCombinations": anyList(combinations), "createdDateTime": now, "modifiedDateTime": now, "combinationConfigurations": []any{}}
	s.dir.Policies.AuthenticationStrengths = append(slices.Clone(s.dir.Policies.AuthenticationStrengths), d)
	resp := entityDocument(r, "policies/authenticationStrengthPolicies/$entity", d)
	resp.status = http.StatusCreated
	return resp, nil
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// custom is a strength that may be changed, with its place and what the request says of
// it. Built-in ones may not; the text is assumed.
func (s *Server) custom(r *request) (d Document, i int, body Document, err error) {
	d, i = findDocument(s.dir.Policies.AuthenticationStrengths, r.params["strength"])
	switch {
	case d == nil:
		return nil, 0, nil, errNotFound(r.params["strength"])
	case d["policyType"] != "custom":
		return nil, 0, nil, errMethod("A built-in authentication strength cannot be changed.")
	}
	err = r.decode(&body)
	return d, i, body, err
}

// replaceStrength puts a changed strength in place of the one before.
func (s *Server) replaceStrength(i int, d Document, now time.Time) {
	d["modifiedDateTime"] = now.Format(time.RFC3339)
	list := slices.Clone(s.dir.Policies.AuthenticationStrengths)
	list[i] = d
	s.dir.Policies.AuthenticationStrengths = list
}

func (s *Server) patchStrength(r *request) (response, error) {
	d, i, body, err := s.custom(r)
	if err != nil {
		return response{}, err
	}
	d = maps.Clone(d)
	for name, v := range body {
		text, isText := v.(string)
		switch {
		case name == "@odata.type":
		case name == "allowedCombinations":
			return response{}, errMethod("allowedCombinations is changed by the action updateAllowedCombinations.")
		case name != "displayName" && name != "description" || !isText || name == "displayName" && strings.TrimSpace(text) == "":
			return response{}, errMethod("Property '%s' cannot be set to this value.", name)
		default:
			d[name] = text
		}
	}
	s.replaceStrength(i, d, r.now)
	return noContent(), nil
}

// updateCombinations replaces the combinations and tells which policies are concerned.
func (s *Server) updateCombinations(r *request) (response, error) {
	d, i, body, err := s.custom(r)
	if err != nil {
		return response{}, err
	}
	combinations, err := readCombinations(body["allowedCombinations"])
	if err != nil {
		return response{}, err
	}
	id, _ := d["id"].(string)
	references := []string{}
	for _, p := range s.dir.usesOfStrength(id) {
		references = append(references, p.ID)
	}
	if len(references) > 0 && d["requirementsSatisfied"] != satisfied(combinations) { // the page on usage: such changes are restricted; text assumed
		return response{}, errMethod("The strength is used by Conditional Access policies that rely on what it satisfies.")
	}
	previous := d["allowedCombinations"]
	d = maps.Clone(d)
	d["allowedCombinations"], d["requirementsSatisfied"] = anyList(combinations), satisfied(combinations)
	s.replaceStrength(i, d, r.now)
	return ok(map[string]any{"@odata.context": r.context("microsoft.graph.updateAllowedCombinationsResult"), "previousCombinations": previous,
		"currentCombinations": combinations, "conditionalAccessReferences": references, "additionalInformation": ""}), nil
}

// usesOfStrength are the policies that refer to a strength.
func (d *directory) usesOfStrength(id string) []accessPolicy {
	var uses []accessPolicy
	for _, p := range d.accessPolicies() {
		if g := p.GrantControls; g != nil && g.Strength != nil && strings.EqualFold(g.Strength.ID, id) {
			uses = append(uses, p)
		}
	}
	return uses
}

// deleteStrength refuses one that a policy refers to; that it does is assumed.
func (s *Server) deleteStrength(r *request) (response, error) {
	d, i, _, err := s.custom(r)
	if err != nil {
		return response{}, err
	}
	id, _ := d["id"].(string)
	if len(s.dir.usesOfStrength(id)) > 0 {
		return response{}, errMethod("The authentication strength is used by a Conditional Access policy.")
	}
	s.dir.Policies.AuthenticationStrengths = slices.Delete(slices.Clone(s.dir.Policies.AuthenticationStrengths), i, i+1)
	return noContent(), nil
}

// strengthUsage tells policies for which the strength stands for multifactor
// authentication from the others.
func (s *Server) strengthUsage(r *request) (response, error) {
	d, _ := findDocument(s.dir.Policies.AuthenticationStrengths, r.params["strength"])
	if d == nil {
		return response{}, errNotFound(r.params["strength"])
	}
	id, _ := d["id"].(string)
	uses := []Document{}
	for _, p := range s.dir.usesOfStrength(id) {
		doc, _ := findDocument(s.dir.Policies.ConditionalAccess, p.ID)
		uses = append(uses, s.renderAccessPolicy(doc))
	}
	body := map[string]any{"@odata.context": r.context("microsoft.graph.authenticationStrengthUsage"), "mfa": []Document{}, "none": []Document{}}
	if d["requirementsSatisfied"] == controlMFA {
		body["mfa"] = uses
	} else {
		body["none"] = uses
	}
	return ok(body), nil
}
