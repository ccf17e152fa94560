package graph

import (
	"context"
	"encoding/json"
	"net/url"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

var _ sweep.Directory = (*Client)(nil)

// changedUsers asks for the properties whose changes matter here. $top is not supported
// (Graph concepts, "Use delta query"), so the size of a page is Graph's.
func changedUsers() query {
	return query{path: versionOne + "/users/delta", params: url.Values{"$select": {"accountEnabled,employeeId"}}}
}

// Changes is one page of a delta query. A user may come several times, in no order, and
// changes that were told before may come again.
func (c *Client) Changes(ctx context.Context, link string) (sweep.Page[sweep.Change], error) {
	p, err := readList(ctx, c, readChanges, changedUsers(), link, userChange)
	if err == nil && (p.Next == "") == (p.Delta == "") {
		return sweep.Page[sweep.Change]{}, readChanges.unreadable("a page that leads nowhere")
	}
	return p, err
}

// ChangesFromNow is the link whose changes begin now.
func (c *Client) ChangesFromNow(ctx context.Context) (string, error) {
	q := changedUsers()
	q.params.Set("$deltatoken", "latest")
	p, err := readList(ctx, c, readChanges, q, "", userChange)
	if err != nil {
		return "", err
	}
	if p.Delta == "" || len(p.Items) > 0 {
		return "", readChanges.unreadable("no link for the changes to come")
	}
	return p.Delta, nil
}

// wireChange is a user in a delta query. Properties that were never set are left out.
type wireChange struct {
	ID      string          `json:"id"`
	Enabled *bool           `json:"accountEnabled"`
	Removed json.RawMessage `json:"@removed"`
}

// userChange reads a change; any @removed means that the user is deleted, whatever the
// reason.
func userChange(w wireChange) (c sweep.Change, keep, ok bool) {
	id, ok := objectID(w.ID)
	removed := len(w.Removed) > 0 && string(w.Removed) != "null"
	return sweep.Change{ID: identity.UserID(id), Removed: removed, Enabled: w.Enabled}, ok, ok
}
