package graph

import (
	"context"
	"slices"
	"strings"

	"mfaflow/pkg/doctor"
)

// AccessRules are the policies of Conditional Access that ask for an authentication
// strength, but for those that are off. Whether a policy is enforced, reports only or is
// of a state that Graph adds one day: only the latter two are not enforced.
func (c *Client) AccessRules(ctx context.Context) ([]doctor.AccessRule, error) {
	var all []doctor.AccessRule
	link := ""
	for range maxPages {
		page, err := readList(ctx, c, listAccessRules, query{path: versionOne + "/identity/conditionalAccess/policies"}, link, accessRule)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if link = page.Next; link == "" {
			return all, nil
		}
	}
	return nil, listAccessRules.unreadable("a list without end")
}

type wireAccessRule struct {
	DisplayName string `json:"displayName"`
	State       string `json:"state"`
	Conditions  struct {
		Users struct {
			IncludeUsers []string `json:"includeUsers"`
		} `json:"users"`
	} `json:"conditions"`
	GrantControls *struct {
		Strength *struct {
			DisplayName  string   `json:"displayName"`
			Combinations []string `json:"allowedCombinations"`
		} `json:"authenticationStrength"`
	} `json:"grantControls"`
}

func accessRule(w wireAccessRule) (r doctor.AccessRule, keep, ok bool) {
	if w.State == "" {
		return r, false, false
	}
	if w.State == "disabled" || w.GrantControls == nil || w.GrantControls.Strength == nil {
		return r, false, true
	}
	s := w.GrantControls.Strength
	if len(s.Combinations) == 0 { // a strength that nothing satisfies is none
		return r, false, false
	}
	// learn.microsoft.com/graph/api/resources/enums#authenticationmethodmodes-values
	return doctor.AccessRule{
		Name: w.DisplayName, Strength: s.DisplayName, Enforced: w.State == "enabled",
		Everyone: slices.ContainsFunc(w.Conditions.Users.IncludeUsers, func(u string) bool { return strings.EqualFold(u, "All") }),
		OneTime:  slices.Contains(s.Combinations, "temporaryAccessPassOneTime"), MultiUse: slices.Contains(s.Combinations, "temporaryAccessPassMultiUse"),
	}, true, true
}
