package graph_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/graph"
)

func auth(version, user string) string { return "/" + version + "/users/" + user + "/authentication" }

// kinds are the method kinds of a list answer, without the password.
func (a answer) kinds() []string {
	var out []string
	for _, v := range a.value() {
		kind, _ := v.(map[string]any)["@odata.type"].(string)
		kind = strings.TrimSuffix(strings.TrimPrefix(kind, "#microsoft.graph."), "AuthenticationMethod")
		if kind != "password" {
			out = append(out, kind)
		}
	}
	slices.Sort(out)
	return out
}

func TestListMethods(t *testing.T) {
	s := start(t)
	for name, tc := range map[string]struct {
		path string
		want []string
	}{
		"six methods":         {auth("v1.0", sixMethods), []string{"email", "fido2", "microsoftAuthenticator", "phone", "softwareOath", "windowsHelloForBusiness"}},
		"none":                {auth("v1.0", joiner), nil},
		"beta types in v1.0":  {auth("v1.0", rareMethods), []string{"external", "platformCredential", "qrCodePin"}},
		"beta types in beta":  {auth("beta", rareMethods), []string{"external", "hardwareOath", "passwordlessMicrosoftAuthenticator", "platformCredential", "qrCodePin"}},
		"a type nobody knows": {auth("v1.0", unknownMethod), []string{"fido2", "veinPattern"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.worker("GET", tc.path+"/methods", nil).want(t, 200, "")
			if diff := cmp.Diff(tc.want, a.kinds()); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
			if first := a.value()[0].(map[string]any); first["@odata.type"] != "#microsoft.graph.passwordAuthenticationMethod" || first["id"] != "28c10230-6103-485e-b985-444c60001490" {
				t.Errorf("the password is missing: %v", first)
			}
		})
	}
}

// Only types that have it in Graph's schema carry createdDateTime, so that a client
// which judges by age must cope with its absence.
func TestCreatedDateTimeWhereGraphHasIt(t *testing.T) {
	s := start(t)
	has := make(map[string]bool)
	for _, u := range []string{sixMethods, rareMethods, phonesOnly} {
		for _, v := range s.worker("GET", auth("beta", u)+"/methods", nil).want(t, 200, "").value() {
			m := v.(map[string]any)
			_, has[m["@odata.type"].(string)] = m["createdDateTime"]
		}
	}
	for kind, want := range map[string]bool{
		"password": true, "fido2": true, "windowsHelloForBusiness": true, "microsoftAuthenticator": true, "platformCredential": true,
		"phone": false, "email": false, "softwareOath": false, "qrCodePin": false,
	} {
		if got, listed := has["#microsoft.graph."+kind+"AuthenticationMethod"]; !listed || got != want {
			t.Errorf("%s: listed %v, createdDateTime %v, want %v", kind, listed, got, want)
		}
	}
}

func TestDeleteEveryKindByItsPath(t *testing.T) {
	s := start(t)
	segment := map[string]string{
		"phone": "phoneMethods", "email": "emailMethods", "fido2": "fido2Methods", "windowsHelloForBusiness": "windowsHelloForBusinessMethods",
		"microsoftAuthenticator": "microsoftAuthenticatorMethods", "softwareOath": "softwareOathMethods", "platformCredential": "platformCredentialMethods",
		"external": "externalAuthenticationMethods", "qrCodePin": "qrCodePinMethod", "hardwareOath": "hardwareOathMethods",
		"passwordlessMicrosoftAuthenticator": "passwordlessMicrosoftAuthenticatorMethods",
	}
	for _, user := range []string{sixMethods, rareMethods} {
		u, _ := s.User(user)
		methods := s.Methods(user)
		slices.SortFunc(methods, func(a, b graph.Method) int { // the default last
			return boolInt(a.ID == u.DefaultMethod) - boolInt(b.ID == u.DefaultMethod)
		})
		for _, m := range methods {
			path := auth("beta", user) + "/" + segment[m.Kind]
			if m.Kind != "qrCodePin" {
				s.worker("GET", path, nil).want(t, 200, "")
				path += "/" + m.ID
			}
			s.worker("GET", path, nil).want(t, 200, "")
			s.worker("DELETE", path, nil).want(t, 204, "")
			s.worker("DELETE", path, nil).want(t, 404, "resourceNotFound")
		}
		if left := s.Methods(user); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestBetaOnlyPathsUnderOne(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/hardwareOathMethods/x", "/qrCodePinMethod", "/passwordlessMicrosoftAuthenticatorMethods/x"} {
		s.worker("DELETE", auth("v1.0", rareMethods)+path, nil).want(t, 405, "Request_BadRequest")
	}
	s.worker("GET", auth("v1.0", rareMethods)+"/signInPreferences", nil).want(t, 405, "Request_BadRequest")
	s.worker("DELETE", auth("v1.0", rareMethods)+"/externalAuthenticationMethods/40000000-0000-4000-8000-000000000131/$ref", nil).want(t, 204, "")
}

func TestDeleteRules(t *testing.T) {
	authenticator := "/microsoftAuthenticatorMethods/40000000-0000-4000-8000-000000000110"
	clear := func(user string, keep ...string) func(*graph.Tenant) {
		return func(tn *graph.Tenant) {
			u := tn.User(user)
			u.Methods = slices.DeleteFunc(u.Methods, func(m *graph.Method) bool { return !slices.Contains(keep, m.ID) })
		}
	}
	for name, tc := range map[string]struct {
		user    string
		path    string
		setup   func(*graph.Tenant)
		status  int
		code    string
		message string
	}{
		"default with others": {user: sixMethods, path: authenticator, status: 400, code: "badRequest",
			message: "The requested authentication method id of [40000000-0000-4000-8000-000000000110] matches the user's current default authentication method, and cannot be deleted until the default authentication method is changed"},
		"default with others, older text": {user: sixMethods, path: authenticator, status: 400, code: "badRequest",
			setup:   func(tn *graph.Tenant) { tn.Behaviour.DefaultMethodText = graph.OlderText },
			message: "Cannot delete default method with other methods configured. Please change default method before deletion."},
		"default alone": {user: sixMethods, path: authenticator, status: 204,
			setup: clear(sixMethods, "40000000-0000-4000-8000-000000000110")},
		"default alone, kept": {user: sixMethods, path: authenticator, status: 400, code: "badRequest",
			setup: func(tn *graph.Tenant) {
				clear(sixMethods, "40000000-0000-4000-8000-000000000110")(tn)
				tn.Behaviour.LastDefaultMethod = graph.LastDefaultKept
			},
			message: "The requested authentication method id of [40000000-0000-4000-8000-000000000110] matches the user's current default authentication method, and cannot be deleted until the default authentication method is changed"},
		"not the default":               {user: sixMethods, path: "/phoneMethods/" + mobileID, status: 204},
		"mobile while alternate exists": {user: phonesOnly, path: "/phoneMethods/" + mobileID, status: 400, code: "badRequest", message: "The mobile phone cannot be deleted while an alternate mobile phone is registered."},
		"alternate":                     {user: phonesOnly, path: "/phoneMethods/" + alternateID, status: 204},
		"mobile alone and default":      {user: phonesOnly, path: "/phoneMethods/" + mobileID, setup: clear(phonesOnly, mobileID), status: 204},
		"password":                      {user: sixMethods, path: "/passwordMethods/28c10230-6103-485e-b985-444c60001490", status: 405, code: "Request_BadRequest", message: "Specified HTTP method is not allowed for the request target."},
		"by the id of another kind":     {user: sixMethods, path: "/fido2Methods/" + mobileID, status: 404, code: "resourceNotFound", message: "Resource not found."},
		"a kind without a path":         {user: unknownMethod, path: "/veinPatternMethods/x", status: 400, code: "BadRequest", message: "Resource not found for the segment 'veinPatternMethods'."},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			if tc.setup != nil {
				s.Mutate(tc.setup)
			}
			before := len(s.Methods(tc.user))
			a := s.worker("DELETE", auth("v1.0", tc.user)+tc.path, nil).want(t, tc.status, tc.code)
			if a.errorMessage() != tc.message {
				t.Errorf("message %q", a.errorMessage())
			}
			want := before
			if tc.status == 204 {
				want--
			}
			if got := len(s.Methods(tc.user)); got != want {
				t.Errorf("%d methods left, want %d", got, want)
			}
		})
	}
}

// A pass beside the default method does not keep the default from being deleted.
func TestPassDoesNotCountAsAnotherMethod(t *testing.T) {
	s := start(t)
	s.Mutate(func(tn *graph.Tenant) {
		u := tn.User(sixMethods)
		u.Methods = u.Methods[:1]
	})
	s.issue(sixMethods, nil)
	s.worker("DELETE", auth("v1.0", sixMethods)+"/microsoftAuthenticatorMethods/40000000-0000-4000-8000-000000000110", nil).want(t, 204, "")
}

// The error bodies are those observed, apart from ids and times.
func TestDefaultMethodErrorBody(t *testing.T) {
	for text, file := range map[graph.DefaultMethodText]string{graph.NewerText: "error-delete-default-method.json", graph.OlderText: "error-delete-default-method-older.json"} {
		s := start(t)
		s.Mutate(func(tn *graph.Tenant) { tn.Behaviour.DefaultMethodText = text })
		a := s.worker("DELETE", auth("v1.0", sixMethods)+"/microsoftAuthenticatorMethods/40000000-0000-4000-8000-000000000110", nil)
		want := readExample(t, file)
		normalise := func(m map[string]any) {
			e := m["error"].(map[string]any)
			inner := e["innerError"].(map[string]any)
			if e["message"] != inner["message"] {
				t.Errorf("%s: innerError has another message", file)
			}
			for _, k := range []string{"date", "request-id", "client-request-id"} {
				if inner[k] == "" {
					t.Errorf("%s: %s is empty", file, k)
				}
				inner[k] = ""
			}
			for _, part := range []map[string]any{e, inner} {
				for _, id := range []string{"{phone method id}", "40000000-0000-4000-8000-000000000110"} {
					part["message"] = strings.ReplaceAll(part["message"].(string), id, "ID")
				}
			}
		}
		normalise(want)
		normalise(a.body)
		if diff := cmp.Diff(want, a.body); diff != "" {
			t.Errorf("%s (-example +got):\n%s", file, diff)
		}
	}
}

func TestDeleteByTheGenericPath(t *testing.T) {
	s := start(t)
	a := s.worker("DELETE", auth("v1.0", sixMethods)+"/methods/"+mobileID, nil)
	if a.status != 404 || !strings.HasPrefix(a.body["Message"].(string), "No HTTP resource was found that matches the request URI 'https://mface.windowsazure.com/odata/users(") {
		t.Errorf("answer %d %s", a.status, a.text)
	}
	if len(s.Methods(sixMethods)) != 6 {
		t.Error("it deleted something")
	}
}

func TestSignInPreferences(t *testing.T) {
	path := auth("beta", sixMethods) + "/signInPreferences"
	authenticator := "/microsoftAuthenticatorMethods/40000000-0000-4000-8000-000000000110"
	t.Run("changes the default", func(t *testing.T) {
		s := start(t)
		s.worker("PATCH", path, `{"userPreferredMethodForSecondaryAuthentication":"sms"}`).want(t, 204, "")
		a := s.worker("GET", path, nil).want(t, 200, "")
		if a.body["userPreferredMethodForSecondaryAuthentication"] != "sms" || a.body["isSystemPreferredAuthenticationMethodEnabled"] != true {
			t.Errorf("preferences %s", a.text)
		}
		s.worker("DELETE", auth("v1.0", sixMethods)+authenticator, nil).want(t, 204, "")
		s.worker("DELETE", auth("v1.0", sixMethods)+"/phoneMethods/"+mobileID, nil).want(t, 400, "badRequest")
	})
	t.Run("ignored", func(t *testing.T) {
		s := start(t)
		s.Mutate(func(tn *graph.Tenant) { tn.Behaviour.SignInPreferences = graph.PreferencesIgnored })
		s.worker("PATCH", path, `{"userPreferredMethodForSecondaryAuthentication":"sms"}`).want(t, 204, "")
		s.worker("DELETE", auth("v1.0", sixMethods)+authenticator, nil).want(t, 400, "badRequest")
	})
	t.Run("refused", func(t *testing.T) {
		s := start(t)
		s.worker("PATCH", path, `{"userPreferredMethodForSecondaryAuthentication":"carrierPigeon"}`).want(t, 400, "badRequest")
		s.worker("PATCH", path, `{"userPreferredMethodForSecondaryAuthentication":"voiceOffice"}`).want(t, 400, "badRequest")
	})
}

func TestRequirements(t *testing.T) {
	s := start(t)
	path := auth("beta", sixMethods) + "/requirements"
	if a := s.worker("GET", path, nil).want(t, 200, ""); a.body["perUserMfaState"] != "disabled" {
		t.Errorf("state %v", a.body["perUserMfaState"])
	}
	s.as("event-replay", "PATCH", path, `{"perUserMfaState":"enforced"}`).want(t, 403, "accessDenied")
	s.as("tenant-administrator", "PATCH", path, `{"perUserMfaState":"enforced"}`).want(t, 204, "")
	s.as("tenant-administrator", "PATCH", path, `{"perUserMfaState":"maybe"}`).want(t, 400, "badRequest")
	if u, _ := s.User(sixMethods); u.PerUserMFA != "enforced" {
		t.Errorf("state %q", u.PerUserMFA)
	}
}

// A fine-grained permission opens one kind and not the list.
func TestFineGrainedPermissions(t *testing.T) {
	s := start(t)
	s.Mutate(func(tn *graph.Tenant) {
		for _, a := range tn.Apps {
			if a.Name == "hr-events" {
				a.Permissions = []string{"UserAuthMethod-Passkey.ReadWrite.All"}
			}
		}
	})
	s.as("hr-events", "GET", auth("v1.0", sixMethods)+"/methods", nil).want(t, 403, "accessDenied")
	s.as("hr-events", "DELETE", auth("v1.0", sixMethods)+"/phoneMethods/"+mobileID, nil).want(t, 403, "accessDenied")
	s.as("hr-events", "DELETE", auth("v1.0", sixMethods)+"/fido2Methods/-2_GRUg2-HYz6_1YG4YRAQ2", nil).want(t, 204, "")
}

func TestRegisterMethod(t *testing.T) {
	s := start(t)
	if err := s.RegisterMethod(joiner, graph.Method{Kind: "fido2", Properties: map[string]any{"displayName": "Blue key"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.RegisterMethod(joiner, graph.Method{Kind: "phone", ID: mobileID, Properties: map[string]any{"phoneType": "mobile"}}); err != nil {
		t.Fatal(err)
	}
	u, _ := s.User(joiner)
	if len(u.Methods) != 2 || u.DefaultMethod != mobileID || !u.Methods[0].CreatedDateTime.Equal(t0) {
		t.Errorf("registered %+v, default %q", u.Methods, u.DefaultMethod)
	}
	if err := s.RegisterMethod("nobody", graph.Method{Kind: "fido2"}); err == nil {
		t.Error("registered for nobody")
	}
}

func TestGetSingleMethods(t *testing.T) {
	s := start(t)
	const password = "28c10230-6103-485e-b985-444c60001490"
	for path, kind := range map[string]string{
		"/passwordMethods/" + password: "password", "/methods/" + password: "password", "/methods/" + mobileID: "phone", "/phoneMethods/" + mobileID: "phone",
	} {
		a := s.worker("GET", auth("v1.0", sixMethods)+path, nil).want(t, 200, "")
		if a.body["@odata.type"] != "#microsoft.graph."+kind+"AuthenticationMethod" {
			t.Errorf("%s: %s", path, a.text)
		}
	}
	if got := s.worker("GET", auth("v1.0", sixMethods)+"/passwordMethods", nil).want(t, 200, "").ids(); len(got) != 1 || got[0] != password {
		t.Errorf("passwords %v", got)
	}
	s.worker("GET", auth("v1.0", sixMethods)+"/methods/x", nil).want(t, 404, "resourceNotFound")
	s.worker("GET", auth("v1.0", sixMethods)+"/passwordMethods/x", nil).want(t, 404, "resourceNotFound")
}
