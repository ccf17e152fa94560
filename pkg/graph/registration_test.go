package graph_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

func TestMethodsAndDefault(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	registers(s, mia, "app-9", everyKind...)
	s.Mutate(func(d *sim.Tenant) {
		u := d.User(string(mia))
		u.Preferences = sim.SignInPreferences{SystemPreferred: true, Preferred: "push"}
		created := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		u.Methods[7].CreatedDateTime = &created
	})
	s.ClearRequests()
	got, err := c.MethodsAndDefault(t.Context(), mia)
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Registration{
		Default: identity.PreferPush, SystemPreferred: true, PreferenceKnown: true,
		Methods: []identity.Method{{Kind: identity.MethodPassword, ID: "28c10230-6103-485e-b985-444c60001490"}},
	}
	for _, m := range everyKind {
		method := identity.Method{Kind: identity.MethodKind(m.Kind), ID: m.ID}
		switch m.ID {
		case mobileID:
			method.Phone = identity.PhoneMobile
		case officeID:
			method.Phone = identity.PhoneOffice
		case "hard-9":
			method.CreatedAt = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		}
		want.Methods = append(want.Methods, method)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests: two in one batch were expected", n)
	}
	if text := fmt.Sprintf("%+v", got); strings.Contains(text, "555") || strings.Contains(text, "home.example") {
		t.Errorf("numbers and addresses are read: %s", text)
	}

	all, err := c.AllMethods(t.Context(), mia)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Methods, all); diff != "" {
		t.Errorf("AllMethods (-want +got)\n%s", diff)
	}
	stable, err := c.Methods(t.Context(), mia)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range stable {
		if i := slices.IndexFunc(want.Methods, func(w identity.Method) bool { return w.ID == m.ID }); i < 0 || want.Methods[i] != m {
			t.Errorf("Methods reads %+v", m)
		}
	}

	if r, err := c.MethodsAndDefault(t.Context(), boss); err != nil || len(r.Methods) != 1 || r.Default != "" || !r.PreferenceKnown || r.SystemPreferred {
		t.Errorf("a person without methods: %+v, %v", r, err)
	}
	if _, err := c.MethodsAndDefault(t.Context(), nobody); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestMethodsWithoutPreferences(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	registers(s, mia, "app-9", everyKind...)
	for _, status := range []int{400, 403, 404, 429, 500, 503} {
		arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: status, Path: "/users/*/authentication/signInPreferences"})
		r, err := c.MethodsAndDefault(t.Context(), mia)
		if err != nil || r.PreferenceKnown || r.Default != "" || len(r.Methods) != len(everyKind)+1 {
			t.Errorf("preferences answer %d: %+v, %v", status, r, err)
		}
	}
	for status, want := range map[int]outcome{
		400: {is: identity.ErrRefused}, 403: {is: identity.ErrForbidden}, 404: {is: identity.ErrNotFound},
		429: {after: 12 * time.Second}, 503: {after: 12 * time.Second},
	} {
		arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: status, RetryAfter: "12", Path: "/users/*/authentication/methods"})
		_, err := c.MethodsAndDefault(t.Context(), mia)
		checkClass(t, err, want, false)
	}
	for name, body := range map[string]string{
		"no answer to the methods": `{"responses":[{"id":"1","status":200,"body":{}}]}`,
		"methods without a list":   `{"responses":[{"id":"0","status":200,"body":{}},{"id":"1","status":200,"body":{}}]}`,
		"a method without type":    `{"responses":[{"id":"0","status":200,"body":{"value":[{"id":"x"}]}}]}`,
		"a broken time":            `{"responses":[{"id":"0","status":200,"body":{"value":[{"@odata.type":"x","id":"x","createdDateTime":"soon"}]}}]}`,
		"a page elsewhere":         `{"responses":[{"id":"0","status":200,"body":{"value":[],"@odata.nextLink":"https://elsewhere.example/x"}}]}`,
		"a page at a lookalike":    `{"responses":[{"id":"0","status":200,"body":{"value":[],"@odata.nextLink":"http://127.0.0.1:9.elsewhere.example/x"}}]}`,
	} {
		c := wired(t, func(*http.Request) (*http.Response, error) { return says(200, body), nil })
		r, err := c.MethodsAndDefault(t.Context(), someone)
		if err == nil {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		checkClass(t, err, outcome{}, false)
	}
}

func TestMethodsOnSeveralPages(t *testing.T) {
	method := func(id string) string {
		return `{"@odata.type":"#microsoft.graph.fido2AuthenticationMethod","id":"` + id + `"}`
	}
	next := `"@odata.nextLink":"http://127.0.0.1:9/beta/users/x/authentication/methods?$skiptoken=2"`
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		switch {
		case strings.HasSuffix(r.URL.Path, "$batch"):
			return says(200, `{"responses":[{"id":"0","status":200,"body":{"value":[`+method("a")+`],`+next+`}}]}`), nil
		case r.URL.Query().Get("$skiptoken") == "2":
			return says(200, `{"value":[`+method("b")+`]}`), nil
		default:
			return says(200, `{"value":[`+method("a")+`],`+next+`}`), nil
		}
	})
	r, err := c.MethodsAndDefault(t.Context(), someone)
	all, err2 := c.AllMethods(t.Context(), someone)
	if err != nil || err2 != nil || len(r.Methods) != 2 || len(all) != 2 || all[1].ID != "b" || r.Methods[1].ID != "b" {
		t.Errorf("%+v, %+v, %v, %v", r, all, err, err2)
	}
}

func TestSetDefaultMethod(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	registers(s, mia, "app-9", everyKind...)
	app := identity.Method{Kind: identity.MethodAuthenticator, ID: "app-9"}
	mobile := identity.Method{Kind: identity.MethodPhone, ID: mobileID, Phone: identity.PhoneMobile}

	// One lost device: its method is the default and others stay.
	results, err := c.DeleteMethods(t.Context(), mia, []identity.Method{app}, false)
	if err != nil || results[0].Outcome != identity.MethodBlocked {
		t.Fatalf("%+v, %v", results, err)
	}
	if err := c.SetDefaultMethod(t.Context(), mia, mobile); err != nil {
		t.Fatal(err)
	}
	if r, err := c.MethodsAndDefault(t.Context(), mia); err != nil || !r.Default.Names(mobile) || r.Default.Names(app) {
		t.Errorf("%+v, %v", r.Default, err)
	}
	if results, err = c.DeleteMethods(t.Context(), mia, []identity.Method{app}, false); err != nil || results[0].Outcome != identity.MethodDeleted {
		t.Errorf("%+v, %v", results, err)
	}
	// What is not registered cannot become the default.
	registers(s, mia, "", everyKind[2])
	if err := c.SetDefaultMethod(t.Context(), mia, mobile); !errors.Is(err, identity.ErrRefused) {
		t.Errorf("a phone that is not there: %v", err)
	}
}

// reset removes everything as a careful caller does. What is likely the default comes
// last, until a blocked method tells better; the mobile phone comes after the
// alternate one; what was blocked comes again when the others are gone. An alternate
// mobile phone that is the default makes a knot with the mobile phone, which only
// another default undoes.
func reset(t *testing.T, c *graph.Client, id identity.UserID) (left []identity.Method, last []identity.MethodResult) {
	t.Helper()
	r, err := c.MethodsAndDefault(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	todo := slices.DeleteFunc(slices.Clone(r.Methods), func(m identity.Method) bool { return !m.Kind.Deletable() })
	likely, _ := r.LikelyDefault()
	blocked := map[identity.Method]bool{}
	untied := false
	for len(todo) > 0 {
		alternate := slices.ContainsFunc(todo, func(m identity.Method) bool { return m.Phone == identity.PhoneAlternateMobile })
		var now []identity.Method
		for _, m := range todo {
			if !blocked[m] && (m != likely || len(blocked) > 0) && (!alternate || m.Phone != identity.PhoneMobile) {
				now = append(now, m)
			}
		}
		final := len(now) == 0
		if final {
			now = slices.DeleteFunc(slices.Clone(todo), func(m identity.Method) bool { return alternate && m.Phone == identity.PhoneMobile })
		}
		if last, err = c.DeleteMethods(t.Context(), id, now, false); err != nil {
			t.Fatal(err)
		}
		progress := false
		for _, r := range last {
			switch r.Outcome {
			case identity.MethodDeleted, identity.MethodGone:
				progress = true
				todo = slices.DeleteFunc(todo, func(m identity.Method) bool { return m == r.Method })
			case identity.MethodBlocked:
				blocked[r.Method] = true
			default:
				t.Fatalf("%+v", r)
			}
		}
		if progress || !final {
			continue
		}
		mobile := slices.IndexFunc(todo, func(m identity.Method) bool { return m.Phone == identity.PhoneMobile })
		if !alternate || mobile < 0 || untied {
			break
		}
		untied = true
		if err := c.SetDefaultMethod(t.Context(), id, todo[mobile]); err != nil {
			t.Fatal(err)
		}
	}
	if left, err = c.AllMethods(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return left, last
}

func TestResetConverges(t *testing.T) {
	alternate := &sim.Method{Kind: "phone", ID: alternateID, Properties: map[string]any{"phoneType": "alternateMobile"}}
	registered := append([]*sim.Method{alternate}, everyKind...)
	for _, behaviour := range []sim.Behaviour{
		{DefaultMethodText: sim.NewerText, LastDefaultMethod: sim.LastDefaultDeletable, SignInPreferences: sim.PreferencesApplied},
		{DefaultMethodText: sim.OlderText, LastDefaultMethod: sim.LastDefaultDeletable, SignInPreferences: sim.PreferencesIgnored},
		{DefaultMethodText: sim.NewerText, LastDefaultMethod: sim.LastDefaultKept, SignInPreferences: sim.PreferencesApplied},
		{DefaultMethodText: sim.OlderText, LastDefaultMethod: sim.LastDefaultKept, SignInPreferences: sim.PreferencesIgnored},
	} {
		for _, byDefault := range []string{"app-9", "soft-9", "hard-9", mobileID, alternateID, officeID, "ext-9", ""} {
			for _, preference := range []string{"", "push", "sms", "voiceOffice", "not readable"} {
				t.Run(fmt.Sprintf("%s, %s/default %s/preference %s", behaviour.LastDefaultMethod, behaviour.SignInPreferences, byDefault, preference), func(t *testing.T) {
					t.Parallel()
					s := tenant(t)
					c := worker(t, s)
					s.Mutate(func(d *sim.Tenant) {
						b := behaviour
						b.PassOutsidePolicy = d.Behaviour.PassOutsidePolicy
						d.Behaviour = b
						d.User(string(mia)).Preferences = sim.SignInPreferences{SystemPreferred: preference == "", Preferred: preference}
					})
					registers(s, mia, byDefault, registered...)
					if preference == "not readable" {
						arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: 403, Method: "GET", Path: "/users/*/authentication/signInPreferences", Count: -1})
					}
					left, last := reset(t, c, mia)
					var ids []string
					for _, m := range left {
						if m.Kind != identity.MethodPassword {
							ids = append(ids, m.ID)
						}
					}
					var want []string
					kept := behaviour.LastDefaultMethod == sim.LastDefaultKept
					switch {
					case byDefault == alternateID && behaviour.SignInPreferences == sim.PreferencesIgnored:
						want = []string{alternateID, mobileID}
					case byDefault == alternateID && kept:
						want = []string{mobileID} // it became the default
					case byDefault != "" && kept:
						want = []string{byDefault}
					}
					if diff := cmp.Diff(want, ids); diff != "" {
						t.Errorf("left (-want +got)\n%s", diff)
					}
					if len(want) > 0 && last[len(last)-1].Outcome != identity.MethodBlocked {
						t.Errorf("at last %+v", last)
					}
				})
			}
		}
	}
}

// The person of the bound in the design: six methods, Authenticator is the default.
func TestResetOfSixMethodsIsCheap(t *testing.T) {
	s, err := sim.Start(t.Context(), sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c := as(t, s, "identity-worker", s.URL())
	mei := identity.UserID("10000000-0000-4000-8000-000000000011")
	if n := len(s.Methods(string(mei))); n != 6 {
		t.Fatalf("the sample tenant gives her %d methods", n)
	}
	left, _ := reset(t, c, mei)
	if len(left) != 1 || left[0].Kind != identity.MethodPassword {
		t.Errorf("left %+v", left)
	}
	trips, requests := 0, 0
	for _, r := range s.Requests() {
		if r.Batch == "" {
			trips++
		}
		if !strings.HasSuffix(r.Path, "$batch") {
			requests++
		}
	}
	if trips > 4 || requests > 6+3 {
		t.Errorf("%d round trips and %d requests, want at most 4 and 9", trips, requests)
	}
	t.Logf("%d round trips, %d requests", trips, requests)
}
