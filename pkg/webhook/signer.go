package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/identity"
)

// Signer signs deliveries as Standard Webhooks 1.0.0 says, with every key it has,
// so that receivers can change keys in their own time. It is safe for concurrent use.
type Signer struct{ keys []func(content []byte) string }

// NewSigner takes keys of the forms whsec_<base64> (v1, HMAC-SHA256, 24 to 64
// bytes) and whsk_<base64> (v1a, an ed25519 private key or its 32-byte seed).
// Problems are ErrMisconfigured.
func NewSigner(keys ...identity.Secret) (*Signer, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no signing key", ErrMisconfigured)
	}
	s := &Signer{}
	var problems []error
	for i, k := range keys {
		sign, err := signingKey(k.Reveal())
		if err != nil {
			problems = append(problems, fmt.Errorf("signing key %d: %w", i, err))
			continue
		}
		s.keys = append(s.keys, sign)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMisconfigured, err)
	}
	return s, nil
}

func signingKey(text string) (func([]byte) string, error) {
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		key, err := decode(Base64, encoded)
		if err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New("whsec_ needs 24 to 64 bytes in base64")
		}
		return func(content []byte) string {
			return "v1," + base64.StdEncoding.EncodeToString(sum(HMACSHA256, key, content))
		}, nil
	}
	if encoded, ok := strings.CutPrefix(text, "whsk_"); ok {
		key, err := decode(Base64, encoded)
		switch {
		case err == nil && len(key) == ed25519.SeedSize:
			key = ed25519.NewKeyFromSeed(key)
		case err != nil || len(key) != ed25519.PrivateKeySize:
			return nil, errors.New("whsk_ needs 32 or 64 bytes in base64")
		}
		return func(content []byte) string {
			return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, content))
		}, nil
	}
	return nil, errors.New("must begin with whsec_ or whsk_")
}

// Sign sets the three webhook headers of one attempt. The id is the same over all
// attempts of a delivery and may not be empty or contain a ".".
func (s *Signer) Sign(h http.Header, id string, at time.Time, body []byte) error {
	if id == "" || strings.Contains(id, ".") {
		return errors.New("a webhook id may not be empty or contain a dot")
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	content := append([]byte(id+"."+timestamp+"."), body...)
	signatures := make([]string, len(s.keys))
	for i, sign := range s.keys {
		signatures[i] = sign(content)
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", timestamp)
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
	return nil
}
