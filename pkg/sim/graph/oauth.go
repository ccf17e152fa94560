package graph

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	tokenLifetime = 3599 * time.Second // what Entra gives to applications
	graphAudience = "https://graph.microsoft.com"
)

// caller is the application behind an access token. What it may do is in the token's
// roles claim, as with Entra: a permission granted later needs a new token.
type caller struct {
	app      string
	clientID string
	roles    []string // application permissions
	holds    []string // directory roles of the app itself
	checked  []string // what was asked of this call; see Request.Permissions
}

// again is the same app for another call.
func (c *caller) again() *caller {
	next := *c
	next.checked = nil
	return &next
}

// roleGrant names a directory role among permission alternatives.
func roleGrant(role string) string { return "role:" + role }

// may reports whether the caller has a permission.
func (c *caller) may(permission string) bool { return c.mayAny([]string{permission}) }

func (c *caller) has(permission string) bool {
	if role, isRole := strings.CutPrefix(permission, "role:"); isRole {
		return slices.Contains(c.holds, role)
	}
	return slices.Contains(c.roles, permission)
}

// mayAny reports whether the caller has one of the alternatives; "A+B" needs both. An
// empty list leaves the decision to the operation.
func (c *caller) mayAny(alternatives []string) bool {
	if len(alternatives) == 0 {
		return true
	}
	c.checked = append(c.checked, strings.Join(alternatives, "|"))
	return c.hasAny(alternatives)
}

// hasAny is mayAny for what is only left out of an answer.
func (c *caller) hasAny(alternatives []string) bool {
	for _, a := range alternatives {
		if !slices.ContainsFunc(strings.Split(a, "+"), func(p string) bool { return !c.has(p) }) {
			return true
		}
	}
	return false
}

// mayTouchPrivileged reports whether the app holds a role that may act on administrators.
func (c *caller) mayTouchPrivileged() bool {
	return c.has(roleGrant("Privileged Authentication Administrator")) || c.has(roleGrant("Global Administrator"))
}

type tokenClaims struct {
	Audience string   `json:"aud"`
	Issuer   string   `json:"iss"`
	IssuedAt int64    `json:"iat"`
	NotSoon  int64    `json:"nbf"`
	Expires  int64    `json:"exp"`
	App      string   `json:"app_displayname"`
	AppID    string   `json:"appid"`
	Roles    []string `json:"roles,omitempty"`
	Holds    []string `json:"sim_directory_roles,omitempty"`
	IDType   string   `json:"idtyp"`
	Tenant   string   `json:"tid"`
	Version  string   `json:"ver"`
}

// issueToken signs an access token for app. Clients treat Graph tokens as opaque; this
// one is signed with a key that only the simulator has.
func (s *Server) issueToken(a *App, now time.Time) string {
	claims := tokenClaims{
		Audience: graphAudience, Issuer: "https://sts.windows.net/" + s.dir.ID + "/",
		IssuedAt: now.Unix(), NotSoon: now.Unix(), Expires: now.Add(tokenLifetime).Unix(),
		App: a.Name, AppID: a.ClientID, Roles: a.Permissions, Holds: a.DirectoryRoles, IDType: "app", Tenant: s.dir.ID, Version: "1.0",
	}
	payload, _ := json.Marshal(claims) // a struct of strings and numbers always encodes
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(s.tokenMAC(signed))
}

func (s *Server) tokenMAC(signed string) []byte {
	mac := hmac.New(sha256.New, s.tokenKey)
	mac.Write([]byte(signed))
	return mac.Sum(nil)
}

// authenticate turns an Authorization header into the calling app.
func (s *Server) authenticate(header string) (*caller, error) {
	if header == "" {
		return nil, errToken("Access token is empty.")
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, errToken("Access token is empty.")
	}
	i := strings.LastIndexByte(token, '.')
	if i < 0 || strings.Count(token, ".") != 2 {
		return nil, errToken("CompactToken parsing failed with error code: 80049217")
	}
	s.mu.Lock()
	want, tenant := s.tokenMAC(token[:i]), s.dir.ID
	s.mu.Unlock()
	mac, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil || !hmac.Equal(mac, want) {
		return nil, errToken("Access token validation failure. Invalid signature.")
	}
	_, encoded, _ := strings.Cut(token[:i], ".")
	payload, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errToken("CompactToken parsing failed with error code: 80049217")
	}
	var claims tokenClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, errToken("CompactToken parsing failed with error code: 80049217")
	}
	if claims.Audience != graphAudience || claims.Tenant != tenant {
		return nil, errToken("Access token validation failure. Invalid audience.")
	}
	if s.clock.Now().Unix() >= claims.Expires {
		return nil, errToken("Lifetime validation failed, the token is expired.")
	}
	return &caller{app: claims.App, clientID: claims.AppID, roles: claims.Roles, holds: claims.Holds}, nil
}

// serveOpenID answers /{tenant}/v2.0/.well-known/openid-configuration.
func (s *Server) serveOpenID(w http.ResponseWriter, tenant string) {
	if !s.knownTenant(tenant) {
		s.oauthError(w, *unknownTenant(tenant))
		return
	}
	base := s.AuthorityURL() + "/" + s.TenantID()
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                base + "/v2.0",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"cloud_instance_name":                   "microsoftonline.com",
		"msgraph_host":                          "graph.microsoft.com",
	})
}

func (s *Server) knownTenant(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.EqualFold(name, s.dir.ID) || containsFold(s.dir.Domains, name)
}

// oauthFailure is a refusal of the token endpoint.
type oauthFailure struct {
	status int
	kind   string
	code   int // AADSTS number
	text   string
}

// serveToken is the client credentials grant.
func (s *Server) serveToken(w http.ResponseWriter, hr *http.Request, tenant string) {
	hr.Body = http.MaxBytesReader(w, hr.Body, 1<<20)
	if err := hr.ParseForm(); err != nil {
		s.oauthError(w, oauthFailure{http.StatusBadRequest, "invalid_request", 900144, "The request body could not be read."})
		return
	}
	if id, secret, basic := hr.BasicAuth(); basic {
		hr.PostForm.Set("client_id", id)
		hr.PostForm.Set("client_secret", secret)
	}
	token, refused := s.grant(tenant, hr.PostForm)
	if refused != nil {
		s.oauthError(w, *refused)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": int(tokenLifetime / time.Second), "ext_expires_in": int(tokenLifetime / time.Second),
		"access_token": token,
	})
}

// grant checks a token request: by secret, or by a client assertion signed with a
// certificate of the app or by a federated issuer.
func (s *Server) grant(tenant string, form url.Values) (string, *oauthFailure) {
	if !s.knownTenant(tenant) {
		return "", unknownTenant(tenant)
	}
	if grant := form.Get("grant_type"); grant != "client_credentials" {
		return "", &oauthFailure{http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '" + grant + "'."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clientID := form.Get("client_id")
	i := slices.IndexFunc(s.dir.Apps, func(a *App) bool { return strings.EqualFold(a.ClientID, clientID) })
	if i < 0 {
		return "", &oauthFailure{http.StatusBadRequest, "unauthorized_client", 700016,
			"Application with identifier '" + clientID + "' was not found in the directory '" + s.dir.DisplayName + "'."}
	}
	app, now := s.dir.Apps[i], s.clock.Now()
	if assertion := form.Get("client_assertion"); assertion != "" {
		if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return "", &oauthFailure{http.StatusBadRequest, "invalid_request", 50012, "The client assertion type is not supported."}
		}
		if err := app.acceptAssertion(assertion, now); err != nil {
			return "", &oauthFailure{http.StatusUnauthorized, "invalid_client", err.code, "The client assertion was refused: " + err.text + "."}
		}
	} else if subtle.ConstantTimeCompare([]byte(form.Get("client_secret")), []byte(app.ClientSecret)) != 1 {
		return "", &oauthFailure{http.StatusUnauthorized, "invalid_client", 7000215,
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '" + app.ClientID + "'."}
	}
	scopes := strings.Fields(form.Get("scope"))
	// MSAL adds the OpenID scopes to every request.
	scopes = slices.DeleteFunc(scopes, func(sc string) bool { return sc == "openid" || sc == "offline_access" || sc == "profile" })
	if len(scopes) != 1 || !strings.HasSuffix(scopes[0], "/.default") {
		return "", &oauthFailure{http.StatusBadRequest, "invalid_scope", 1002012,
			"The provided value for scope " + strings.Join(scopes, " ") + " is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
	}
	if scopes[0] != graphAudience+"/.default" {
		return "", &oauthFailure{http.StatusBadRequest, "invalid_resource", 500011,
			"The resource principal named " + strings.TrimSuffix(scopes[0], "/.default") + " was not found in the tenant."}
	}
	return s.issueToken(app, now), nil
}

func unknownTenant(name string) *oauthFailure {
	return &oauthFailure{http.StatusBadRequest, "invalid_request", 90002,
		"Tenant '" + name + "' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."}
}

// oauthError is the error body of Entra's token endpoint.
func (s *Server) oauthError(w http.ResponseWriter, f oauthFailure) {
	id := s.newID()
	stamp := s.clock.Now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, f.status, map[string]any{
		"error":             f.kind,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", f.code, f.text, id, id, stamp),
		"error_codes":       []int{f.code}, "timestamp": stamp, "trace_id": id, "correlation_id": id,
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // the client may have gone
}
