package clientstate_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/identity"
)

const tenant = "84bd8158-6d4d-4958-8b9f-9d6445542f95"

func key(id string) clientstate.Key {
	return clientstate.Key{ID: id, Secret: identity.NewSecret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id[:1], 32))))}
}

func keys(t testing.TB, list ...clientstate.Key) *clientstate.Keys {
	t.Helper()
	k, err := clientstate.NewKeys(list)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatWasMadeIsAccepted(t *testing.T) {
	old, both := keys(t, key("a")), keys(t, key("b"), key("a"))
	for name, k := range map[string]*clientstate.Keys{"the old key": old, "the new key": both} {
		state, err := k.Make(tenant, "users")
		if err != nil {
			t.Fatal(err)
		}
		if slot, ok := both.Check(state.Reveal(), strings.ToUpper(tenant)); !ok || slot != "users" {
			t.Errorf("%s: %q, %t", name, slot, ok)
		}
		if len(state.Reveal()) > 128 {
			t.Errorf("%d characters", len(state.Reveal()))
		}
	}
	state, _ := both.Make(tenant, "users")
	if _, ok := old.Check(state.Reveal(), tenant); ok {
		t.Error("a key that is not configured is accepted")
	}
}

// The longest names stay within what Graph takes.
func TestLength(t *testing.T) {
	name := strings.Repeat("a", 30)
	state, err := keys(t, key(name)).Make(tenant, name)
	if err != nil || len(state.Reveal()) > 128 {
		t.Errorf("%d characters, %v", len(state.Reveal()), err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	k := keys(t, key("a"))
	state, _ := k.Make(tenant, "users")
	good := state.Reveal()
	for name, bad := range map[string]string{
		"empty": "", "another version": "v2" + good[2:], "another key": strings.Replace(good, ".a.", ".b.", 1),
		"another slot": strings.Replace(good, "users", "groups", 1), "no code": strings.TrimRight(good, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
		"a part more": good + ".a", "upper case": strings.ToUpper(good), "a secret of somebody else": "secretClientValue",
	} {
		if _, ok := k.Check(bad, tenant); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, ok := k.Check(good, "84bd8158-6d4d-4958-8b9f-9d6445542f96"); ok {
		t.Error("accepted for another tenant")
	}
	if _, ok := new(clientstate.Keys).Check(good, tenant); ok {
		t.Error("accepted without keys")
	}
}

func TestKeysAreChecked(t *testing.T) {
	short := identity.NewSecret(base64.StdEncoding.EncodeToString([]byte("too short")))
	for name, list := range map[string][]clientstate.Key{
		"none": nil, "twice": {key("a"), key("a")}, "a dot in the id": {{ID: "a.b", Secret: key("a").Secret}},
		"short": {{ID: "a", Secret: short}}, "no base64": {{ID: "a", Secret: identity.NewSecret(strings.Repeat("!", 44))}},
	} {
		_, err := clientstate.NewKeys(list)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), short.Reveal()) || strings.Contains(err.Error(), "!!") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := keys(t, key("a")).Make(tenant, "no.name"); err == nil {
		t.Error("a slot with a dot")
	}
}

// Whatever is accepted is, to the byte, what one of the keys makes.
func FuzzCheck(f *testing.F) {
	k := keys(f, key("b"), key("a"))
	state, _ := k.Make(tenant, "users")
	f.Add(state.Reveal())
	f.Add("v1.a.users.")
	f.Fuzz(func(t *testing.T, text string) {
		slot, ok := k.Check(text, tenant)
		if !ok {
			return
		}
		for _, id := range []string{"a", "b"} {
			if made, err := keys(t, key(id)).Make(tenant, slot); err == nil && made.Reveal() == text {
				return
			}
		}
		t.Errorf("accepted %q", text)
	})
}

func ExampleKeys_Make() {
	k, _ := clientstate.NewKeys([]clientstate.Key{{ID: "2026-11", Secret: identity.NewSecret(strings.Repeat("A", 44))}})
	state, _ := k.Make("84bd8158-6d4d-4958-8b9f-9d6445542f95", "users")
	fmt.Println(state.Reveal()[:len("v1.2026-11.users.")])
	// Output: v1.2026-11.users.
}
