package graph

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"slices"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
)

// SetEnabled blocks sign-in (false) or unblocks it (true). Repeating it changes
// nothing. A directory sync may undo it on accounts that an on-premises directory
// owns. ErrForbidden on a person with roles means that the app lacks a role itself.
func (c *Client) SetEnabled(ctx context.Context, id identity.UserID, enabled bool) error {
	return c.changeUser(ctx, setEnabled, abstractions.PATCH, id, "", map[string]bool{"accountEnabled": enabled})
}

// RevokeSessions ends the person's sign-in sessions: refresh tokens and session
// cookies from before stop working within minutes, access tokens at their expiry
// (user-revokesigninsessions). It does not work on external users, which is
// ErrRefused. Repeating it ends newer sessions as well. Any 2xx is success: the
// documentation tells of 200 with true and, in older pages, of 204.
func (c *Client) RevokeSessions(ctx context.Context, id identity.UserID) error {
	return c.changeUser(ctx, revoke, abstractions.POST, id, "/revokeSignInSessions", nil)
}

// SetRandomPassword replaces the password by a random one that nobody learns, to be
// changed at the next sign-in. An account owned by an on-premises directory is
// ErrRefused. Repeating it sets another.
func (c *Client) SetRandomPassword(ctx context.Context, id identity.UserID) error {
	return c.changeUser(ctx, setPassword, abstractions.PATCH, id, "", map[string]any{
		"passwordProfile": map[string]any{"password": randomPassword(), "forceChangePasswordNextSignIn": true},
	})
}

// AddToGroup makes the person a direct member of a group. Graph refuses who is one
// already with the code of every other refusal (group-post-members), so whether it is that
// is read; repeating it changes nothing.
func (c *Client) AddToGroup(ctx context.Context, id identity.UserID, group string) error {
	guid, ok := objectID(string(id))
	within, known := objectID(group)
	if !ok || !known {
		return addMember.refuse("user or group id is not a GUID")
	}
	_, err := call(ctx, c, addMember, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.POST, versionOne+"/groups/"+within+"/members/$ref",
			map[string]string{"@odata.id": c.origin + versionOne + "/directoryObjects/" + guid})
	})
	if !errors.Is(err, identity.ErrRefused) {
		return err
	}
	m, unread := c.Membership(ctx, id)
	if unread != nil {
		return unread
	}
	if slices.ContainsFunc(m.Groups, func(g string) bool { return strings.EqualFold(g, within) }) {
		return nil
	}
	return err
}

func (c *Client) changeUser(ctx context.Context, op operation, method abstractions.HttpMethod, id identity.UserID, action string, body any) error {
	guid, ok := objectID(string(id))
	if !ok {
		return op.refuse("user id is not a GUID")
	}
	_, err := call(ctx, c, op, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, method, versionOne+"/users/"+guid+action, body)
	})
	return err
}

// passwordLength is far beyond guessing and within Entra's limit of 256.
const passwordLength = 64

// randomPassword holds all four kinds of characters that Entra counts. Most of it is
// drawn from all of them together, so the four places that are fixed weaken nothing.
func randomPassword() string {
	kinds := []string{"abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "!#$%*+-.:=?@^_~"}
	all := ""
	for _, k := range kinds {
		all += k
	}
	password := make([]byte, 0, passwordLength)
	for i := range passwordLength {
		set := all
		if i < len(kinds) {
			set = kinds[i]
		}
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(set))))
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		password = append(password, set[n.Int64()])
	}
	return string(password)
}
