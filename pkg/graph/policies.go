package graph

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

var (
	_ policy.Tenant = (*Client)(nil)
	_ policy.Groups = (*Client)(nil)
)

// Policy objects are written by hand and not with the SDK's models: a target may have
// members that those do not know, and what is not sent back is lost.

const (
	defaultsPath      = versionOne + "/policies/identitySecurityDefaultsEnforcementPolicy"
	methodsPolicyPath = "/policies/authenticationMethodsPolicy"
	settingsPath      = versionOne + methodsPolicyPath + "/authenticationMethodConfigurations/"
	conditionalPath   = versionOne + "/identity/conditionalAccess/policies"
)

// GroupsNamed are the groups with a display name.
func (c *Client) GroupsNamed(ctx context.Context, name string) ([]readiness.Named, error) {
	var all []readiness.Named
	q := query{path: versionOne + "/groups", params: url.Values{"$filter": {"displayName eq " + quote(name)}, "$select": {"id,displayName"}}}
	for link := ""; ; {
		p, err := readList(ctx, c, findGroup, q, link, named)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if link = p.Next; link == "" || len(all) > maxBatch {
			return all, nil
		}
	}
}

// document reads one object as Graph has it.
func (c *Client) document(ctx context.Context, op operation, path string) (json.RawMessage, error) {
	return call(ctx, c, op, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, path, nil, allMembers...)
	})
}

// State reads what a policy object holds now.
func (c *Client) State(ctx context.Context, o policy.Object, users []identity.UserID) (policy.State, error) {
	switch o.Kind {
	case policy.KindDefaults:
		return state(ctx, c, readDefaults, defaultsPath, func(w struct {
			Enabled *bool `json:"isEnabled"`
		}) (policy.Value, bool) {
			return policy.Value{Defaults: w.Enabled}, w.Enabled != nil
		})
	case policy.KindMethod:
		return state(ctx, c, readSetting, settingsPath+url.PathEscape(o.ID), func(w wireSetting) (policy.Value, bool) {
			m, pass, ok := methodSetting(w)
			v := policy.Value{Method: &m}
			if o.ID == passConfiguration {
				v.Pass = &pass
			}
			return v, ok
		})
	case policy.KindCampaign:
		return state(ctx, c, readMethodsPolicy, versionOne+methodsPolicyPath, func(w wireMethodsPolicy) (policy.Value, bool) {
			if w.Enforcement == nil || w.Enforcement.Campaign == nil {
				return policy.Value{}, false
			}
			found, ok := campaign(*w.Enforcement.Campaign)
			return policy.Value{Campaign: &found}, ok
		})
	case policy.KindSystemPreferred:
		return c.systemPreferred(ctx)
	case policy.KindPolicy:
		return c.conditionalState(ctx, o.ID)
	case policy.KindPerUser:
		return c.requirements(ctx, users)
	}
	return policy.State{}, readSetting.refuse("unknown kind of object")
}

func state[W any](ctx context.Context, c *Client, op operation, path string, convert func(W) (policy.Value, bool)) (policy.State, error) {
	data, err := c.document(ctx, op, path)
	if err != nil {
		return policy.State{}, err
	}
	v, ok := parseOne(data, convert)
	if !ok {
		return policy.State{}, op.unreadable("an object that cannot be read")
	}
	return policy.State{Value: v, Document: data}, nil
}

// conditionalState reads a Conditional Access policy by its id, or by its name while it has
// none. Two of that name are an error: nobody knows which one is meant.
func (c *Client) conditionalState(ctx context.Context, id string) (policy.State, error) {
	name, isNew := policy.CreatedName(id)
	if isNew {
		found := ""
		for link := ""; ; {
			p, err := c.ConditionalPolicies(ctx, link)
			if err != nil {
				return policy.State{}, err
			}
			for _, x := range p.Items {
				if x.DisplayName != name {
					continue
				}
				if found != "" {
					return policy.State{}, readConditional.refuse("two policies have the name of the one to be created")
				}
				found = x.ID
			}
			if link = p.Next; link == "" {
				break
			}
		}
		if id = found; id == "" {
			return policy.State{}, nil
		}
	}
	guid, ok := objectID(id)
	if !ok {
		return policy.State{}, readConditional.refuse("policy id is not a GUID")
	}
	got, err := state(ctx, c, readConditional, conditionalPath+"/"+guid, func(w wireConditional) (policy.Value, bool) {
		p, _, ok := conditionalPolicy(w)
		return policy.Value{Policy: &p}, ok
	})
	if errors.Is(err, identity.ErrNotFound) {
		return policy.State{}, nil
	}
	got.ID = guid
	return got, err
}

// Write changes one policy object: only the members that differ between From and To. Where
// it is not documented whether Graph keeps what a nested object leaves out, the smallest
// object is sent whole that holds a difference: the campaign, and of a Conditional Access
// policy its users, its applications and its grant. What of it is not managed is sent back
// as the first document has it.
func (c *Client) Write(ctx context.Context, w policy.Write, documents ...json.RawMessage) (string, error) {
	if w.Kind == policy.KindPerUser {
		return "", c.setRequirements(ctx, w.To.PerUser)
	}
	op, r, err := c.request(w, documents)
	if err != nil {
		return "", err
	}
	method := map[string]abstractions.HttpMethod{http.MethodPost: abstractions.POST, http.MethodPatch: abstractions.PATCH, http.MethodDelete: abstractions.DELETE}[r.Method]
	var body any
	if r.Body != nil {
		body = r.Body
	}
	answer, err := call(ctx, c, op, func(ctx context.Context) ([]byte, error) {
		data, err := c.raw(ctx, method, r.Path, body)
		if data == nil && err == nil {
			data = []byte{} // 204
		}
		return data, err
	})
	if r.Method == http.MethodDelete {
		err = gone(err)
	}
	if err != nil || r.Method != http.MethodPost {
		return "", err
	}
	created, ok := parseOne(answer, func(w wireNamed) (string, bool) { return objectID(w.ID) })
	if !ok {
		return "", op.unreadable("a new policy without an id")
	}
	return created, nil
}

// Calls are the requests that Write makes.
func (c *Client) Calls(w policy.Write) []policy.Call {
	if w.Kind == policy.KindPerUser {
		return requirementCalls(w.To.PerUser)
	}
	_, r, err := c.request(w, []json.RawMessage{w.Kept})
	if err != nil {
		return nil
	}
	return []policy.Call{r}
}

// request is the one of a write that takes one.
func (c *Client) request(w policy.Write, documents []json.RawMessage) (operation, policy.Call, error) {
	patch := func(op operation, path string, body map[string]any) (operation, policy.Call, error) {
		data, err := json.Marshal(body)
		return op, policy.Call{Method: http.MethodPatch, Path: path, Body: data}, err
	}
	d := newDocuments(documents)
	switch w.Kind {
	case policy.KindDefaults:
		return patch(writeDefaults, defaultsPath, map[string]any{"isEnabled": *w.To.Defaults})
	case policy.KindMethod:
		return patch(writeSetting, settingsPath+url.PathEscape(w.ID), settingBody(w, d))
	case policy.KindCampaign:
		return patch(writeMethodsPolicy, versionOne+methodsPolicyPath, map[string]any{"registrationEnforcement": map[string]any{
			"authenticationMethodsRegistrationCampaign": campaignBody(*w.To.Campaign, d),
		}})
	case policy.KindSystemPreferred:
		op, r, err := patch(writeSystem, versionBeta+methodsPolicyPath, systemBody(*w.To.SystemPreferred, d))
		r.Beta = true
		return op, r, err
	case policy.KindPolicy:
		switch {
		case w.From.Policy == nil:
			data, err := json.Marshal(newPolicyBody(*w.To.Policy, d))
			return writeConditional, policy.Call{Method: http.MethodPost, Path: conditionalPath, Body: data}, err
		case w.To.Policy == nil:
			return writeConditional, policy.Call{Method: http.MethodDelete, Path: conditionalPath + "/" + url.PathEscape(w.ID)}, nil
		default:
			return patch(writeConditional, conditionalPath+"/"+url.PathEscape(w.ID), policyBody(*w.From.Policy, *w.To.Policy, d))
		}
	case policy.KindPerUser:
	}
	return operation{}, policy.Call{}, writeSetting.refuse("unknown kind of object")
}

// documents are what Graph says of an object, as of now and as of earlier.
type documents []map[string]any

func newDocuments(raw []json.RawMessage) documents {
	var list documents
	for _, r := range raw {
		var d map[string]any
		if len(r) > 0 && json.Unmarshal(r, &d) == nil {
			list = append(list, d)
		}
	}
	return list
}

// at is a member of the first document that has it.
func (d documents) at(path ...string) any {
	for _, doc := range d {
		var v any = doc
		for _, name := range path {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if v != nil {
			return v
		}
	}
	return nil
}

// target is the one of the documents that is the same, with all that it says, or a new one.
func (d documents) target(t posture.Target, path ...string) (target map[string]any, known bool) {
	for i := range d {
		list, _ := d[i : i+1].at(path...).([]any)
		for _, x := range list {
			m, _ := x.(map[string]any)
			id, _ := m["id"].(string)
			kind, _ := m["targetType"].(string)
			if strings.EqualFold(id, t.ID) && (kind == "user") == t.User {
				return maps.Clone(m), true
			}
		}
	}
	return map[string]any{"id": t.ID, "targetType": targetType(t)}, false
}

func targetType(t posture.Target) string {
	if t.User {
		return "user"
	}
	return "group"
}

func stateWord(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

func settingBody(w policy.Write, d documents) map[string]any {
	from, to := w.From.Method, w.To.Method
	body := map[string]any{"@odata.type": cmp.Or(d.at("@odata.type"), any(settingType(w.ID)))}
	if from == nil || from.Enabled != to.Enabled {
		body["state"] = stateWord(to.Enabled)
	}
	if from == nil || !sameTargets(from.Include, to.Include) {
		list := []any{}
		for _, t := range to.Include {
			m, known := d.target(t, "includeTargets")
			m["isRegistrationRequired"] = t.Required
			switch {
			case strings.EqualFold(w.ID, "microsoftAuthenticator"):
				m["authenticationMode"] = cmp.Or(t.Mode, anyMode)
			case strings.EqualFold(w.ID, "sms") && len(d) > 0 && !known:
				// Not documented is what a target without it gets; a message alone is no MFA.
				m["isUsableForSignIn"] = false
			}
			list = append(list, m)
		}
		body["includeTargets"] = list
	}
	if from == nil || !sameTargets(from.Exclude, to.Exclude) {
		list := []any{}
		for _, t := range to.Exclude {
			m, _ := d.target(t, "excludeTargets")
			list = append(list, m)
		}
		body["excludeTargets"] = list
	}
	if now, was := w.To.Pass, w.From.Pass; now != nil && was != nil {
		minutes := func(name string, a, b time.Duration) {
			if a != b {
				body[name] = int(b / time.Minute)
			}
		}
		minutes("minimumLifetimeInMinutes", was.Minimum, now.Minimum)
		minutes("defaultLifetimeInMinutes", was.Default, now.Default)
		minutes("maximumLifetimeInMinutes", was.Maximum, now.Maximum)
		if was.Length != now.Length {
			body["defaultLength"] = now.Length
		}
		if was.OneTime != now.OneTime {
			body["isUsableOnce"] = now.OneTime
		}
	}
	return body
}

// settingType is the derived type of a configuration, which a change must name; for what
// is shown before the document was read.
func settingType(id string) string {
	for _, known := range []string{"microsoftAuthenticator", "fido2", "x509Certificate", "temporaryAccessPass", "softwareOath", "hardwareOath", "sms", "voice", "qrCodePin"} {
		if strings.EqualFold(known, id) {
			return "#microsoft.graph." + known + "AuthenticationMethodConfiguration"
		}
	}
	return "#microsoft.graph.externalAuthenticationMethodConfiguration"
}

func sameTargets(a, b []posture.Target) bool {
	order := func(list []posture.Target) []posture.Target {
		list = slices.Clone(list)
		slices.SortFunc(list, func(x, y posture.Target) int {
			return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(targetType(x), targetType(y)))
		})
		return list
	}
	return slices.Equal(order(a), order(b))
}

func campaignBody(c posture.Campaign, d documents) map[string]any {
	const campaign = "authenticationMethodsRegistrationCampaign"
	include, exclude := []any{}, []any{}
	for _, t := range c.Include {
		m, _ := d.target(t, "registrationEnforcement", campaign, "includeTargets")
		m["targetedAuthenticationMethod"] = t.Method
		include = append(include, m)
	}
	for _, t := range c.Exclude {
		m, _ := d.target(t, "registrationEnforcement", campaign, "excludeTargets")
		exclude = append(exclude, m)
	}
	body, _ := d.at("registrationEnforcement", campaign).(map[string]any)
	if body = maps.Clone(body); body == nil {
		body = map[string]any{}
	}
	body["state"], body["snoozeDurationInDays"], body["includeTargets"], body["excludeTargets"] = c.State, c.SnoozeDays, include, exclude
	return body
}

// policyBody are the parts of a Conditional Access policy that differ.
func policyBody(from, to posture.ConditionalPolicy, d documents) map[string]any {
	body, conditions := map[string]any{}, map[string]any{}
	differs := func(a, b any) bool {
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		return errX != nil || errY != nil || string(x) != string(y)
	}
	if from.DisplayName != to.DisplayName {
		body["displayName"] = to.DisplayName
	}
	if from.State != to.State {
		body["state"] = to.State
	}
	if differs([]posture.Selection{from.Include, from.Exclude}, []posture.Selection{to.Include, to.Exclude}) {
		conditions["users"] = usersBody(to, d)
	}
	if differs(from.Apps, to.Apps) {
		conditions["applications"] = applicationsBody(to.Apps, d)
	}
	if len(conditions) > 0 {
		body["conditions"] = conditions
	}
	if differs(from.Grant, to.Grant) {
		body["grantControls"] = grantBody(to.Grant, d)
	}
	return body
}

// newPolicyBody is a whole policy. One that is put back is as its document was.
func newPolicyBody(p posture.ConditionalPolicy, d documents) map[string]any {
	if kept, ok := d.at("conditions").(map[string]any); ok {
		body := map[string]any{"displayName": p.DisplayName, "state": p.State, "conditions": maps.Clone(kept)}
		conditions, _ := body["conditions"].(map[string]any)
		conditions["users"], conditions["applications"] = usersBody(p, d), applicationsBody(p.Apps, d)
		body["grantControls"] = grantBody(p.Grant, d)
		if session := d.at("sessionControls"); session != nil {
			body["sessionControls"] = session
		}
		return body
	}
	return map[string]any{
		"displayName": p.DisplayName, "state": p.State, "grantControls": grantBody(p.Grant, d),
		"conditions": map[string]any{"clientAppTypes": p.Clients, "users": usersBody(p, d), "applications": applicationsBody(p.Apps, d)},
	}
}

// filled is the list, and an empty one for none: null would not empty it.
func filled(list []string) []string { return append([]string{}, list...) }

func usersBody(p posture.ConditionalPolicy, d documents) map[string]any {
	body := map[string]any{
		"includeUsers": filled(p.Include.Users), "excludeUsers": filled(p.Exclude.Users), "includeGroups": filled(p.Include.Groups), "excludeGroups": filled(p.Exclude.Groups),
		"includeRoles": filled(p.Include.Roles), "excludeRoles": filled(p.Exclude.Roles),
	}
	for name, s := range map[string]posture.Selection{"includeGuestsOrExternalUsers": p.Include, "excludeGuestsOrExternalUsers": p.Exclude} {
		guests, _ := d.at("conditions", "users", name).(map[string]any)
		switch {
		case len(s.Guests) == 0 && guests == nil:
		case len(s.Guests) == 0:
			body[name] = nil
		default:
			// What says which tenants' guests are meant is kept with the kinds.
			guests = maps.Clone(guests)
			if guests == nil {
				guests = map[string]any{}
			}
			if !s.GuestTenants {
				delete(guests, "externalTenants")
			}
			guests["guestOrExternalUserTypes"] = strings.Join(s.Guests, ",")
			body[name] = guests
		}
	}
	return body
}

func applicationsBody(a posture.Apps, d documents) map[string]any {
	body, _ := d.at("conditions", "applications").(map[string]any)
	if body = maps.Clone(body); body == nil {
		body = map[string]any{}
	}
	body["includeApplications"], body["excludeApplications"] = filled(a.Include), filled(a.Exclude)
	return body
}

func grantBody(g posture.Grant, d documents) map[string]any {
	body := map[string]any{"operator": "OR", "builtInControls": filled(g.Controls), "authenticationStrength": nil}
	if g.All {
		body["operator"] = "AND"
	}
	if g.Strength != "" {
		body["authenticationStrength"] = map[string]any{"id": g.Strength}
	}
	for _, name := range []string{"customAuthenticationFactors", "termsOfUse"} {
		if list, ok := d.at("grantControls", name).([]any); ok && len(list) > 0 {
			body[name] = list
		}
	}
	return body
}

// mfaFailures are the codes of sign-ins that ended over MFA. All but the last are in
// Microsoft's list (Entra, reference-error-codes, read 2026-11), by these names. The last is
// not in it: its text, "Authentication failed during strong authentication request", is that
// of the sign-in log, where it stands for a prompt that was declined, not answered, or
// answered wrongly.
//
// Left out are 50072, 50074, 50076 and 50079, which the list calls interrupts: the sign-in log
// has them for every prompt and every registration, also for those that are then passed
// under another entry; and 50158, which is the way to a provider of external MFA.
var mfaFailures = []int{
	50088,  // limit on telecom MFA calls reached
	53003,  // BlockedByConditionalAccess
	530035, // BlockedBySecurityDefaults
	53004,  // ProofUpBlockedDueToRisk: may not register
	53010,  // ProofUpBlockedDueToSecurityInfoAcr: may not register here
	500121,
}

// MFAFailures are the interactive sign-ins since that ended over MFA.
func (c *Client) MFAFailures(ctx context.Context, since time.Time) ([]policy.Failure, error) {
	var all []policy.Failure
	until := time.Now()
	if until.Before(since) {
		until = since
	}
	for _, code := range mfaFailures {
		for link := ""; ; {
			p, err := c.FailedSignIns(ctx, code, since, until, link)
			if err != nil {
				return nil, err
			}
			for _, s := range p.Items {
				all = append(all, policy.Failure{User: s.UserID, At: s.At, Code: s.Code})
			}
			if link = p.Next; link == "" {
				break
			}
		}
	}
	return all, nil
}
