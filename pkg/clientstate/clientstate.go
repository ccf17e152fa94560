// Package clientstate makes and checks the secret that Microsoft Graph repeats in every
// change notification, so that whoever receives one needs no list of subscriptions.
//
// It is v1.<key id>.<slot>.<code>: the code is an HMAC-SHA256 over tenant and slot,
// base64url without padding. The slot names the subscription among those that are
// wanted. At most 108 characters, it is below the 128 that Graph takes
// (learn.microsoft.com/graph/api/resources/subscription).
//
// It knows no HTTP and no subscription.
package clientstate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"mfaflow/pkg/identity"
)

const (
	version = "v1"
	// maxName bounds key ids and slots.
	maxName = 30
	// minKey is the size of a key in bytes below which it could be guessed.
	minKey = 32
	// maxLength is what Graph takes.
	maxLength = 128
)

// Key is one named key.
type Key struct {
	// ID is at most 30 of a to z, 0 to 9 and hyphen.
	ID string
	// Secret is standard base64 of at least 32 bytes.
	Secret identity.Secret
}

// Keys sign with the first and check with all, so that a key is rotated by putting a
// new one first and taking the old one away once no subscription has it. The zero value
// accepts nothing.
type Keys struct {
	current string
	byID    map[string][]byte
}

// NewKeys reports every problem of the keys.
func NewKeys(list []Key) (*Keys, error) {
	if len(list) == 0 {
		return nil, errors.New("client state: at least one key is needed")
	}
	k := &Keys{current: list[0].ID, byID: map[string][]byte{}}
	var problems []error
	for i, key := range list {
		raw, err := base64.StdEncoding.Strict().DecodeString(key.Secret.Reveal())
		switch {
		case !isName(key.ID):
			problems = append(problems, fmt.Errorf("client state key %d: the id must have 1 to %d of a to z, 0 to 9 and -", i+1, maxName))
		case k.byID[key.ID] != nil:
			problems = append(problems, fmt.Errorf("client state key %d: the id is there twice", i+1))
		case err != nil || len(raw) < minKey: // err would quote the key
			problems = append(problems, fmt.Errorf("client state key %d: must be base64 of at least %d bytes", i+1, minKey))
		default:
			k.byID[key.ID] = raw
		}
	}
	return k, errors.Join(problems...)
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Current is the id of the key that signs.
func (k *Keys) Current() string { return k.current }

// Make is the client state of a subscription for a slot in a tenant. The slot is a name
// like a key id.
func (k *Keys) Make(tenant, slot string) (identity.Secret, error) {
	if !isName(slot) {
		return identity.Secret{}, fmt.Errorf("client state: the slot must have 1 to %d of a to z, 0 to 9 and -", maxName)
	}
	return identity.NewSecret(strings.Join([]string{version, k.current, slot, k.code(k.current, tenant, slot)}, ".")), nil
}

// Check returns the slot of a client state that was made for the tenant with one of the
// keys. It takes the same time for every code that is wrong.
func (k *Keys) Check(state, tenant string) (slot string, ok bool) {
	if len(state) > maxLength {
		return "", false
	}
	parts := strings.Split(state, ".")
	if len(parts) != 4 || parts[0] != version || k.byID[parts[1]] == nil || !isName(parts[2]) {
		return "", false
	}
	return parts[2], hmac.Equal([]byte(parts[3]), []byte(k.code(parts[1], tenant, parts[2])))
}

// code covers what the client state says and the tenant that it is for. None of the
// parts can hold the separator: a tenant is compared in lower case.
func (k *Keys) code(id, tenant, slot string) string {
	mac := hmac.New(sha256.New, k.byID[id])
	mac.Write([]byte(strings.Join([]string{version, id, slot, strings.ToLower(tenant)}, "\n")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
