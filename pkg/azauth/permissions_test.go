package azauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/azauth"
)

func token(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestPermissionsOfAToken(t *testing.T) {
	for claims, want := range map[string][]string{
		`{"roles":["User.Read.All","Mail.Send"]}`: {"User.Read.All", "Mail.Send"},
		`{"idtyp":"app"}`:                         nil,
	} {
		if got, err := azauth.Permissions(token(claims)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", claims, got, err)
		}
	}
	for _, opaque := range []string{"", "a.b", "e30.!.c2ln", token(`[]`), token(`{"roles":"User.Read.All"}`), token(`{}`) + ".more"} {
		if got, err := azauth.Permissions(opaque); !errors.Is(err, azauth.ErrOpaque) || got != nil {
			t.Errorf("%q: %v, %v", opaque, got, err)
		}
	}
}

// What is read of any token are the roles of its claims or nothing, and an error quotes
// none of it.
func FuzzPermissions(f *testing.F) {
	f.Add(token(`{"roles":["User.Read.All"]}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := azauth.Permissions(s)
		if err != nil {
			if got != nil || len(s) > 40 && strings.Contains(err.Error(), s) {
				t.Fatalf("%v, %v", got, err)
			}
			return
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s, ".")[1])
		if err != nil || !json.Valid(payload) {
			t.Fatalf("took %q", s)
		}
	})
}
