package secevent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds the work that a token without a key id can cause.
const maxKeys = 32

// The sizes of an RSA key: RFC 7518 section 3.3 wants 2048 bits, and far larger ones
// only cost time.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// Key is a public key that verifies signatures.
type Key struct {
	id        string
	algorithm string // empty: any that fits the key
	public    any    // *rsa.PublicKey or *ecdsa.PublicKey on P-256
}

// KeySet is a set of keys. It is its own KeySource.
type KeySet []Key

var errNoKeys = errors.New("not a JSON Web Key Set with 1 to 32 keys to verify with")

// ParseKeys reads a JSON Web Key Set (RFC 7517 section 5). Keys that are of no use are
// left out, as the RFC asks for: private and symmetric ones, those to encrypt with, and
// kinds that we do not know. At least one must remain.
func ParseKeys(raw []byte) (KeySet, error) {
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errNoKeys // the cause may quote the text
	}
	var set KeySet
	for _, one := range list.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(one) != nil || k.Use != "" && k.Use != "sig" || !isPublic(k.Key) {
			continue
		}
		set = append(set, Key{id: k.KeyID, algorithm: k.Algorithm, public: k.Key})
	}
	if len(set) == 0 || len(set) > maxKeys {
		return nil, errNoKeys
	}
	return set, nil
}

func isPublic(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	default:
		return false
	}
}

// Find are the keys with the id, or all for an empty one.
func (s KeySet) Find(id string) KeySet {
	if id == "" {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), func(k Key) bool { return k.id != id })
}

// Keys implements KeySource.
func (s KeySet) Keys(_ context.Context, id string) (KeySet, error) { return s.Find(id), nil }

// signs reports whether the key is one for the algorithm.
func (k Key) signs(a jose.SignatureAlgorithm) bool {
	if k.algorithm != "" && k.algorithm != string(a) {
		return false
	}
	switch k.public.(type) {
	case *rsa.PublicKey:
		return a == jose.RS256 || a == jose.PS256
	case *ecdsa.PublicKey:
		return a == jose.ES256
	default:
		return false
	}
}
