package graph

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Fixed ids of Graph: the password and the three phones of every user.
const (
	passwordMethodID       = "28c10230-6103-485e-b985-444c60001490"
	mobilePhoneID          = "3179e48a-750b-4051-897c-87b9720928f7"
	alternateMobilePhoneID = "b6332ec1-7057-4abe-9331-3d72feddfe41"
	officePhoneID          = "e37fc753-ff3b-4958-9484-eaa9425c82bc"
)

// methodKind is one authentication method type as Graph serves it.
type methodKind struct {
	name       string // OData type without "AuthenticationMethod"
	segment    string // per-type collection below /authentication
	singleton  bool   // the segment is one object without an id
	betaPath   bool   // the per-type path exists in beta only
	betaType   bool   // the type exists in beta only: left out of v1.0 lists (assumed)
	hasCreated bool   // the type has createdDateTime
	permission string // UserAuthMethod-<permission>.*
	properties []string
}

// methodKinds is the table of types, except the password and the pass, which have rules
// of their own. Source: Graph schema of 2026-08, v1.0 and beta.
func methodKinds() []methodKind {
	return []methodKind{
		{name: "phone", segment: "phoneMethods", permission: "Phone", properties: []string{"phoneNumber", "phoneType", "smsSignInState"}},
		{name: "email", segment: "emailMethods", permission: "Email", properties: []string{"emailAddress"}},
		{name: "fido2", segment: "fido2Methods", permission: "Passkey", hasCreated: true,
			properties: []string{"displayName", "aaGuid", "model", "attestationCertificates", "attestationLevel", "passkeyType"}},
		{name: "windowsHelloForBusiness", segment: "windowsHelloForBusinessMethods", permission: "WindowsHello", hasCreated: true,
			properties: []string{"displayName", "keyStrength"}},
		{name: "microsoftAuthenticator", segment: "microsoftAuthenticatorMethods", permission: "MicrosoftAuthApp", hasCreated: true,
			properties: []string{"displayName", "deviceTag", "phoneAppVersion"}},
		{name: "softwareOath", segment: "softwareOathMethods", permission: "SoftwareOATH", properties: []string{"secretKey"}},
		{name: "platformCredential", segment: "platformCredentialMethods", permission: "PlatformCred", hasCreated: true,
			properties: []string{"displayName", "keyStrength", "platform"}},
		{name: "external", segment: "externalAuthenticationMethods", permission: "External", hasCreated: true,
			properties: []string{"configurationId", "displayName"}},
		{name: "qrCodePin", segment: "qrCodePinMethod", singleton: true, betaPath: true, permission: "QR",
			properties: []string{"standardQRCode", "temporaryQRCode", "pin"}},
		{name: "hardwareOath", segment: "hardwareOathMethods", betaPath: true, betaType: true, permission: "HardwareOATH", hasCreated: true,
			properties: []string{"device"}},
		{name: "passwordlessMicrosoftAuthenticator", segment: "passwordlessMicrosoftAuthenticatorMethods", betaPath: true, betaType: true,
			permission: "MicrosoftAuthApp", hasCreated: true, properties: []string{"displayName"}},
		{name: "federatedIdentityCredential", segment: "federatedIdentityCredentialMethods", betaPath: true, betaType: true,
			permission: "FederatedIdentityCredential", properties: []string{"displayName"}},
		{name: "resourceKey", segment: "resourceKeyAuthenticationMethods", betaPath: true, betaType: true,
			permission: "ResourceKey", properties: []string{"displayName"}},
	}
}

func kindByName(name string) (methodKind, bool) {
	for _, k := range methodKinds() {
		if k.name == name {
			return k, true
		}
	}
	return methodKind{}, false
}

// addRoutes adds list, get and delete of the type; passwords are not among the kinds.
func (k methodKind) addRoutes(root string, add func(method, pattern string, class Class, permissions []string, handle func(*Server, *request) (response, error)) *route) {
	read := []string{"UserAuthMethod-" + k.permission + ".Read.All", "UserAuthMethod-" + k.permission + ".ReadWrite.All",
		"UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All"}
	write := []string{"UserAuthMethod-" + k.permission + ".ReadWrite.All", "UserAuthenticationMethod.ReadWrite.All"}
	get := func(s *Server, r *request) (response, error) { return s.getMethod(r, k) }
	remove := func(s *Server, r *request) (response, error) { return s.deleteMethod(r, k) }
	routes := []*route{}
	if k.singleton {
		routes = append(routes, add("GET", root+"/"+k.segment, ClassMethods, read, get), add("DELETE", root+"/"+k.segment, ClassMethods, write, remove))
	} else {
		routes = append(routes,
			add("GET", root+"/"+k.segment, ClassMethods, read, func(s *Server, r *request) (response, error) { return s.listMethods(r, k) }),
			add("GET", root+"/"+k.segment+"/{method}", ClassMethods, read, get),
			add("DELETE", root+"/"+k.segment+"/{method}", ClassMethods, write, remove))
	}
	if k.name == "external" { // the published examples delete by reference
		routes = append(routes, add("DELETE", root+"/"+k.segment+"/{method}/$ref", ClassMethods, write, remove))
	}
	for _, rt := range routes {
		rt.betaOnly = k.betaPath
	}
}

func (u *User) method(id string) *Method {
	for _, m := range u.Methods {
		if strings.EqualFold(m.ID, id) {
			return m
		}
	}
	return nil
}

// render is the JSON of a method. The default method is not marked: Graph does not say
// which one it is.
func (m *Method) render() map[string]any {
	out := map[string]any{"@odata.type": "#microsoft.graph." + m.Kind + "AuthenticationMethod", "id": m.ID}
	k, known := kindByName(m.Kind)
	for _, name := range k.properties {
		out[name] = nil
	}
	for name, v := range m.Properties {
		out[name] = v
	}
	if !known || k.hasCreated {
		out["createdDateTime"] = timeOrNull(m.CreatedDateTime)
	}
	return out
}

func (u *User) renderPassword() map[string]any {
	return map[string]any{"@odata.type": "#microsoft.graph.passwordAuthenticationMethod", "id": passwordMethodID,
		"password": nil, "createdDateTime": timeOrNull(u.LastPasswordChangeDateTime)}
}

// listAllMethods answers GET /authentication/methods, which takes no query options.
func (s *Server) listAllMethods(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	value := []map[string]any{u.renderPassword()}
	for _, m := range u.Methods {
		if k, known := kindByName(m.Kind); known && k.betaType && !r.beta() {
			continue
		}
		value = append(value, m.render())
	}
	if u.pass != nil {
		value = append(value, s.renderPass(u, r.now, false))
	}
	return list(r, methodContext(u, "methods"), value), nil
}

func methodContext(u *User, segment string) string {
	return fmt.Sprintf("users('%s')/authentication/%s", u.ID, segment)
}

func (s *Server) getAnyMethod(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	id := r.params["method"]
	switch m := u.method(id); {
	case strings.EqualFold(id, passwordMethodID):
		return ok(withContext(r, u, "methods/$entity", u.renderPassword())), nil
	case m != nil:
		return ok(withContext(r, u, "methods/$entity", m.render())), nil
	case u.pass != nil && strings.EqualFold(u.pass.ID, id):
		return ok(withContext(r, u, "methods/$entity", s.renderPass(u, r.now, false))), nil
	}
	return response{}, errMethodNotFound()
}

func withContext(r *request, u *User, segment string, body map[string]any) map[string]any {
	body["@odata.context"] = r.context(methodContext(u, segment))
	return body
}

// deleteAnyMethod answers DELETE /authentication/methods/{id}, which the service behind
// Graph has no handler for (observed: msgraph-sdk-powershell#937, docs-contrib#1267; the
// body is not an OData error; the status is assumed).
func (s *Server) deleteAnyMethod(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusNotFound, body: map[string]string{
		"Message": fmt.Sprintf("No HTTP resource was found that matches the request URI 'https://mface.windowsazure.com/odata/users('%s@%s')/authentication/methods('%s')'.",
			u.ID, s.dir.ID, r.params["method"]),
		"MessageDetail": "No type was found that matches the controller named 'users'.",
	}}, nil
}

func (s *Server) listMethods(r *request, k methodKind) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var value []map[string]any
	for _, m := range u.Methods {
		if m.Kind == k.name {
			value = append(value, m.render())
		}
	}
	return list(r, methodContext(u, k.segment), value), nil
}

// ofKind is the method that a per-type path names.
func (s *Server) ofKind(r *request, k methodKind) (*User, *Method, error) {
	u, err := s.user(r)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range u.Methods {
		if m.Kind == k.name && (k.singleton || strings.EqualFold(m.ID, r.params["method"])) {
			return u, m, nil
		}
	}
	return nil, nil, errMethodNotFound()
}

func (s *Server) getMethod(r *request, k methodKind) (response, error) {
	u, m, err := s.ofKind(r, k)
	if err != nil {
		return response{}, err
	}
	return ok(withContext(r, u, k.segment+"/$entity", m.render())), nil
}

func (s *Server) deleteMethod(r *request, k methodKind) (response, error) {
	u, m, err := s.ofKind(r, k)
	if err != nil {
		return response{}, err
	}
	// Graph's page on deleting a phone: alternateMobile cannot exist without mobile. The
	// text is assumed.
	if m.Kind == "phone" && strings.EqualFold(m.ID, mobilePhoneID) && u.method(alternateMobilePhoneID) != nil {
		return response{}, errMethod("The mobile phone cannot be deleted while an alternate mobile phone is registered.")
	}
	if m.ID == u.DefaultMethod {
		others := len(u.Methods) > 1
		if others || s.dir.Behaviour.LastDefaultMethod == LastDefaultKept {
			return response{}, s.dir.Behaviour.DefaultMethodText.refusal(m.ID)
		}
		u.DefaultMethod = ""
	}
	u.Methods = slices.DeleteFunc(u.Methods, func(x *Method) bool { return x == m })
	return noContent(), nil
}

func (t DefaultMethodText) refusal(id string) error {
	if t == OlderText {
		return errMethod("Cannot delete default method with other methods configured. Please change default method before deletion.")
	}
	return errMethod("The requested authentication method id of [%s] matches the user's current default authentication method, and cannot be deleted until the default authentication method is changed", id)
}

// getPasswordMethods answers the only verb of passwordMethods.
func (s *Server) getPasswordMethods(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	id, single := r.params["method"]
	if !single {
		return list(r, methodContext(u, "passwordMethods"), []map[string]any{u.renderPassword()}), nil
	}
	if !strings.EqualFold(id, passwordMethodID) {
		return response{}, errMethodNotFound()
	}
	return ok(withContext(r, u, "passwordMethods/$entity", u.renderPassword())), nil
}

// preferredMethods are the values of userPreferredMethodForSecondaryAuthentication with
// the methods that can serve each.
func preferredMethods(u *User, preference string) (candidates []*Method, known bool) {
	var matches func(*Method) bool
	switch preference {
	case "push":
		matches = func(m *Method) bool {
			return m.Kind == "microsoftAuthenticator" || m.Kind == "passwordlessMicrosoftAuthenticator"
		}
	case "oath":
		matches = func(m *Method) bool {
			return m.Kind == "softwareOath" || m.Kind == "hardwareOath" || m.Kind == "microsoftAuthenticator"
		}
	case "sms", "voiceMobile":
		matches = func(m *Method) bool { return m.ID == mobilePhoneID }
	case "voiceAlternateMobile":
		matches = func(m *Method) bool { return m.ID == alternateMobilePhoneID }
	case "voiceOffice":
		matches = func(m *Method) bool { return m.ID == officePhoneID }
	default:
		return nil, false
	}
	for _, m := range u.Methods {
		if matches(m) {
			candidates = append(candidates, m)
		}
	}
	return candidates, true
}

// getPreferences is beta only.
func (s *Server) getPreferences(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	preferred := u.Preferences.Preferred
	if preferred == "" {
		preferred = "none"
	}
	return ok(map[string]any{
		"@odata.context": r.context(methodContext(u, "signInPreferences")),
		"isSystemPreferredAuthenticationMethodEnabled":  u.Preferences.SystemPreferred,
		"userPreferredMethodForSecondaryAuthentication": preferred,
	}), nil
}

func (s *Server) patchPreferences(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var body struct {
		SystemPreferred *bool   `json:"isSystemPreferredAuthenticationMethodEnabled"`
		Preferred       *string `json:"userPreferredMethodForSecondaryAuthentication"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if body.Preferred != nil {
		candidates, known := preferredMethods(u, *body.Preferred)
		if !known {
			return response{}, errMethod("Invalid value '%s' for userPreferredMethodForSecondaryAuthentication.", *body.Preferred)
		}
		if len(candidates) == 0 { // status and text are assumed
			return response{}, errMethod("The preferred authentication method is not registered for the user.")
		}
		u.Preferences.Preferred = *body.Preferred
		if s.dir.Behaviour.SignInPreferences == PreferencesApplied {
			u.DefaultMethod = candidates[0].ID
		}
	}
	if body.SystemPreferred != nil {
		u.Preferences.SystemPreferred = *body.SystemPreferred
	}
	return noContent(), nil
}

// getRequirements is per-user MFA, beta only.
func (s *Server) getRequirements(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	return ok(map[string]any{"@odata.context": r.context(methodContext(u, "requirements")), "perUserMfaState": cmp.Or(u.PerUserMFA, "disabled")}), nil
}

func (s *Server) patchRequirements(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var body struct {
		State string `json:"perUserMfaState"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	switch body.State {
	case "disabled", "enabled", "enforced":
		u.PerUserMFA = body.State
		return noContent(), nil
	}
	return response{}, errMethod("Invalid value '%s' for perUserMfaState.", body.State)
}
