package graph

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

// What follows exists in Graph's beta only (schema of 2026-08): its form may change without
// notice. The names of the operations say so, and with them every error.

// systemPreferred is the state of system-preferred MFA.
func (c *Client) systemPreferred(ctx context.Context) (policy.State, error) {
	return state(ctx, c, readSystem, versionBeta+methodsPolicyPath, func(w struct {
		System *struct {
			State string `json:"state"`
		} `json:"systemCredentialPreferences"`
	}) (policy.Value, bool) {
		if w.System == nil {
			none := ""
			return policy.Value{SystemPreferred: &none}, true
		}
		return policy.Value{SystemPreferred: &w.System.State}, true
	})
}

func systemBody(state string, d documents) map[string]any {
	system, _ := d.at("systemCredentialPreferences").(map[string]any)
	if system = maps.Clone(system); system == nil {
		system = map[string]any{}
	}
	system["state"] = state
	return map[string]any{"systemCredentialPreferences": system}
}

type requirement struct {
	State posture.PerUserMFA `json:"perUserMfaState"`
}

// parted cuts people into batches that the budget lets go at once.
func (c *Client) parted(users []identity.UserID) [][]identity.UserID {
	return slices.Collect(slices.Chunk(users, c.budgets.atOnce(classMethods, maxBatch)))
}

// requirements are people's states of per-user MFA, by a request for each of them. Whoever
// is not there is left out.
func (c *Client) requirements(ctx context.Context, users []identity.UserID) (policy.State, error) {
	states := make(map[identity.UserID]posture.PerUserMFA, len(users))
	for _, part := range c.parted(users) {
		items, err := requirementItems(part, func(identity.UserID) batchItem { return batchItem{Method: http.MethodGet} })
		if err != nil {
			return policy.State{}, err
		}
		answers, err := c.batch(ctx, readRequirement, versionBeta, items)
		if err != nil {
			return policy.State{}, err
		}
		for i, id := range part {
			var r requirement
			switch err := gone(answers[i].failure(readRequirement)); {
			case err != nil:
				return policy.State{}, err
			case answers[i].status == http.StatusNotFound:
			case json.Unmarshal(answers[i].body, &r) != nil || r.State == "":
				return policy.State{}, readRequirement.unreadable("a state that cannot be read")
			default:
				states[id] = r.State
			}
		}
	}
	return policy.State{Value: policy.Value{PerUser: states}}, nil
}

// setRequirements gives people their states. Every answer of a $batch is read: whoever was
// not served is in the *policy.PartError.
func (c *Client) setRequirements(ctx context.Context, states map[identity.UserID]posture.PerUserMFA) error {
	failed := map[identity.UserID]error{}
	for _, part := range c.parted(slices.Sorted(maps.Keys(states))) {
		items, err := requirementItems(part, func(id identity.UserID) batchItem {
			return batchItem{Method: http.MethodPatch, Headers: map[string]string{"Content-Type": "application/json"}, Body: requirement{states[id]}}
		})
		if err != nil {
			return err
		}
		answers, err := c.batch(ctx, writeRequirement, versionBeta, items)
		if err != nil {
			return err // the parts before are seen when the states are read again
		}
		for i, id := range part {
			if err := answers[i].failure(writeRequirement); err != nil {
				failed[id] = err
			}
		}
	}
	if len(failed) > 0 {
		return &policy.PartError{Failed: failed}
	}
	return nil
}

func requirementItems(users []identity.UserID, item func(identity.UserID) batchItem) ([]batchItem, error) {
	items := make([]batchItem, len(users))
	for i, id := range users {
		root, err := authentication(readRequirement, id)
		if err != nil {
			return nil, err
		}
		items[i] = item(id)
		items[i].URL = root + "/requirements"
	}
	return items, nil
}

func requirementCalls(states map[identity.UserID]posture.PerUserMFA) []policy.Call {
	var list []policy.Call
	for _, id := range slices.Sorted(maps.Keys(states)) {
		body, err := json.Marshal(requirement{states[id]})
		if err != nil {
			continue
		}
		list = append(list, policy.Call{Method: http.MethodPatch, Path: versionBeta + "/users/" + string(id) + "/authentication/requirements", Body: body, Beta: true})
	}
	return list
}
