package secevent_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"mfaflow/pkg/sim/ssf"
)

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func content(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	return encode(mustJSON(t, header)) + "." + encode(mustJSON(t, claims))
}

// unsigned is a token without a signature.
func unsigned(t testing.TB, header, claims map[string]any) string {
	return content(t, header, claims) + "."
}

// hs256 is a token with a shared secret, which the forger takes from what is public.
func hs256(t testing.TB, header, claims map[string]any, secret []byte) string {
	signed := content(t, header, claims)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// raw is a true signature over claims that need not be JSON.
func raw(t testing.TB, w *world, header map[string]any, claims string) string {
	t.Helper()
	token, err := w.idp.SignRaw(mustJSON(t, header), []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// published is the key set of a transmitter.
func published(t testing.TB, idp *ssf.Transmitter) []byte {
	t.Helper()
	set, err := idp.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	return set
}
