package aws

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultSession = time.Hour
	shortest       = 15 * time.Minute
	longest        = 12 * time.Hour
)

// stsError is an error of the service. The texts are as observed; the codes and statuses
// are those of the page on the action.
type stsError struct {
	status     int
	code, text string
}

func (e *stsError) Error() string { return e.code + ": " + e.text }

func refused(code, text string, args ...any) error {
	return &stsError{http.StatusBadRequest, code, fmt.Sprintf(text, args...)}
}

type assumeAnswer struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
	Result    assumed  `xml:"AssumeRoleWithWebIdentityResult"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type assumed struct {
	Subject     string `xml:"SubjectFromWebIdentityToken"`
	Audience    string
	Provider    string
	Arn         string `xml:"AssumedRoleUser>Arn"`
	RoleID      string `xml:"AssumedRoleUser>AssumedRoleId"`
	AccessKeyID string `xml:"Credentials>AccessKeyId"`
	Secret      string `xml:"Credentials>SecretAccessKey"`
	Token       string `xml:"Credentials>SessionToken"`
	Expiration  string `xml:"Credentials>Expiration"`
}

type errorAnswer struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// sts answers the query protocol.
func (a *Account) sts(w http.ResponseWriter, r *http.Request) {
	answer, err := a.stsAnswer(w, r)
	status := http.StatusOK
	if err != nil {
		known, ok := errors.AsType[*stsError](err)
		if !ok {
			known = &stsError{http.StatusInternalServerError, "InternalFailure", err.Error()}
		}
		status, answer = known.status, errorAnswer{Type: "Sender", Code: known.code, Message: known.text, RequestID: "c6104cbe-af31-11e0-8154-cbc7ccf896c7"}
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(answer) // the asker may be gone
}

func (a *Account) stsAnswer(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refused("MalformedInput", "the form is too large")
	}
	f, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refused("MalformedInput", "the form is malformed")
	}
	const id = "c6104cbe-af31-11e0-8154-cbc7ccf896c7"
	switch {
	case f.Get("Version") != "2011-06-15":
	case f.Get("Action") == "AssumeRoleWithWebIdentity":
		result, err := a.assume(r.Context(), f)
		return assumeAnswer{Result: result, RequestID: id}, err
	case f.Get("Action") == "GetWebIdentityToken":
		result, err := a.identify(r, body, f)
		return identityAnswer{Result: result, RequestID: id}, err
	}
	return nil, refused("InvalidAction", "Could not find operation %s for version %s", f.Get("Action"), f.Get("Version"))
}

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

func (a *Account) assume(ctx context.Context, f url.Values) (assumed, error) {
	name := f.Get("RoleSessionName")
	if !sessionName.MatchString(name) {
		return assumed{}, refused("ValidationError",
			`1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`, name)
	}
	life := defaultSession
	if s := f.Get("DurationSeconds"); s != "" {
		n, err := strconv.Atoi(s)
		if life = time.Duration(n) * time.Second; err != nil || life < shortest || life > longest {
			return assumed{}, refused("ValidationError", "1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint", s)
		}
	}
	claims, err := a.verify(ctx, f.Get("WebIdentityToken"))
	if err != nil {
		return assumed{}, err
	}
	i := slices.IndexFunc(a.Roles, func(role Role) bool { return role.ARN == f.Get("RoleArn") })
	denied := &stsError{http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"}
	if i < 0 { // which roles there are is not told
		return assumed{}, denied
	}
	role := a.Roles[i]
	most := role.MaxSession
	if most == 0 {
		most = defaultSession
	}
	if life > most {
		return assumed{}, refused("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	provider := strings.TrimPrefix(claims.Issuer, "https://")
	allowed, err := trusts(role.Trust, "arn:aws:iam::"+a.Account+":oidc-provider/"+provider, map[string]string{
		provider + ":aud": claims.Audience, provider + ":sub": claims.Subject, "sts:RoleSessionName": name,
	})
	if err != nil {
		return assumed{}, err
	}
	if !allowed {
		return assumed{}, denied
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assumed++
	arn := a.sessionARN(role.ARN, name)
	key, secret, token := a.grant(role.ARN, arn, life)
	return assumed{
		Subject: claims.Subject, Audience: claims.Audience, Provider: "arn:aws:iam::" + a.Account + ":oidc-provider/" + provider,
		Arn: arn, RoleID: a.sessions[key].id + ":" + name,
		AccessKeyID: key, Secret: secret, Token: token, Expiration: a.sessions[key].expires.UTC().Format(time.RFC3339),
	}, nil
}

// claims are those of a token that the service looks at.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
}

// verify checks a token of a provider that the account has.
func (a *Account) verify(ctx context.Context, token string) (c claims, err error) {
	invalid := func(text string, args ...any) (claims, error) {
		return claims{}, refused("InvalidIdentityToken", text, args...)
	}
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	var header struct{ Alg, Kid string }
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err = errors.Join(err, decodePart(part[0], &header), decodePart(part[1], &c)); err != nil {
		return invalid("The ID Token provided is not a valid JWT.")
	}
	audiences, known := a.Providers[c.Issuer]
	if !known {
		return invalid("No OpenIDConnect provider found in your account for %s", c.Issuer)
	}
	if header.Alg != "RS256" {
		return invalid("The algorithm %s of the token is not supported.", header.Alg)
	}
	public, err := a.key(ctx, c.Issuer, header.Kid)
	if err != nil {
		return claims{}, err
	}
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if public == nil || rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) != nil {
		return invalid("Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	if now := a.Now().Unix(); now >= c.Expires {
		return claims{}, refused("ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %d", now, c.Expires)
	}
	if !slices.Contains(audiences, c.Audience) {
		return invalid("Incorrect token audience")
	}
	return c, nil
}

// key fetches the key of a provider; nil when it has none of this id.
func (a *Account) key(ctx context.Context, issuer, id string) (*rsa.PublicKey, error) {
	var configuration struct {
		Keys string `json:"jwks_uri"`
	}
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := errors.Join(a.get(ctx, issuer+"/.well-known/openid-configuration", &configuration)); err != nil {
		return nil, refused("IDPCommunicationError", "%s", err)
	}
	if err := a.get(ctx, configuration.Keys, &set); err != nil {
		return nil, refused("IDPCommunicationError", "%s", err)
	}
	for _, k := range set.Keys {
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		e, err2 := base64.RawURLEncoding.DecodeString(k.E)
		if k.Kid == id && errors.Join(err, err2) == nil {
			return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
		}
	}
	return nil, nil
}

func (a *Account) get(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := a.Keys.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", url, resp.StatusCode)
	}
	return json.Unmarshal(body, into)
}

func decodePart(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// policy is a trust policy; of the grammar, what such policies use.
type policy struct {
	Statement []struct {
		Effect    string
		Principal struct{ Federated string }
		Action    words
		Condition map[string]map[string]words
	}
}

// words is a string or a list of strings.
type words []string

func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// trusts evaluates a trust policy for a principal with these condition keys. An operator
// that it does not know is an error, never a condition that holds.
func trusts(text, principal string, keys map[string]string) (bool, error) {
	var p policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return false, fmt.Errorf("trust policy: %w", err)
	}
	allowed := false
	for _, s := range p.Statement {
		if s.Principal.Federated != principal || !slices.Contains(s.Action, "sts:AssumeRoleWithWebIdentity") {
			continue
		}
		holds := true
		for operator, conditions := range s.Condition {
			for key, values := range conditions {
				ok, err := compare(operator, keys[key], values, keys)
				if err != nil {
					return false, err
				}
				holds = holds && ok
			}
		}
		switch {
		case holds && s.Effect == "Deny":
			return false, nil
		case holds && s.Effect == "Allow":
			allowed = true
		}
	}
	return allowed, nil
}

var variable = regexp.MustCompile(`\$\{([^}]+)\}`)

func compare(operator, is string, values words, keys map[string]string) (bool, error) {
	for _, v := range values {
		// A variable without a value makes the comparison fail.
		missing := false
		like := variable.ReplaceAllStringFunc(v, func(m string) string {
			value, ok := keys[m[2:len(m)-1]]
			missing = missing || !ok
			return value
		})
		ok := false
		switch operator {
		case "StringEquals":
			ok = is == like
		case "StringLike":
			pattern := regexp.QuoteMeta(like)
			pattern = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(pattern)
			ok = regexp.MustCompile("^" + pattern + "$").MatchString(is)
		default:
			return false, fmt.Errorf("trust policy: the operator %s is not simulated", operator)
		}
		if ok && !missing {
			return true, nil
		}
	}
	return false, nil
}
