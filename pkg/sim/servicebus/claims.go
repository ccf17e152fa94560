package servicebus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

// claims are the entities that a connection has put tokens for, by path, with the time
// each ends; the zero time is never. Token times are those of the clients' wall clock,
// so they are held against the wall clock here too, not against Options.Clock.
type claims struct {
	until map[string]time.Time
	// keyName is that of the last signature that was put; see Use.
	keyName string
}

func (c *claims) put(path string, until time.Time) {
	if c.until == nil {
		c.until = map[string]time.Time{}
	}
	c.until[strings.ToLower(path)] = until
}

// check reports whether there is a live claim on path or on something that contains it.
// Right is what the caller wants to do, for the refusal.
func (c *claims) check(path, right string) error {
	path = strings.ToLower(path)
	expired := false
	for {
		if until, ok := c.until[path]; ok {
			if until.IsZero() || time.Now().Before(until) {
				return nil
			}
			expired = true
		}
		if path == "" {
			break
		}
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
	}
	if expired {
		return broker.Errorf(broker.UnauthorizedAccess, "The token for this entity has expired.")
	}
	return broker.Errorf(broker.UnauthorizedAccess, "Unauthorized access. '%s' claim(s) are required to perform this operation.", right)
}

// entityPath is an address or audience without scheme, host, query and outer slashes.
func entityPath(address string) string {
	address, _, _ = strings.Cut(address, "?")
	if _, rest, ok := strings.Cut(address, "://"); ok {
		_, address, _ = strings.Cut(rest, "/")
	}
	return strings.Trim(address, "/")
}

// Token types of a put-token request.
const (
	tokenSAS = "servicebus.windows.net:sastoken"
	tokenJWT = "jwt"
)

// verifyToken checks a token and returns when it ends. Without a configured key any
// token will do, but one that says it has expired never does.
func (o *Options) verifyToken(kind, token, audience string, now time.Time) (time.Time, error) {
	var until time.Time
	var err error
	switch kind {
	case tokenSAS:
		until, err = o.verifySAS(token, audience)
	case tokenJWT:
		until, err = verifyJWT(token)
	default:
		err = fmt.Errorf("token type %q is not supported", kind)
	}
	if err != nil && o.Key == "" {
		return time.Time{}, nil
	}
	if err == nil && !until.IsZero() && !now.Before(until) {
		err = fmt.Errorf("ExpiredToken: The token is expired. Expiration time: %s", until.UTC().Format(time.RFC1123))
	}
	return until, err
}

// verifySAS checks the signature and scope of a shared access signature.
// Source: "Service Bus access control with Shared Access Signatures".
func (o *Options) verifySAS(token, audience string) (time.Time, error) {
	rest, ok := strings.CutPrefix(token, "SharedAccessSignature ")
	if !ok {
		return time.Time{}, errors.New("InvalidToken: not a shared access signature")
	}
	field := map[string]string{}
	for pair := range strings.SplitSeq(rest, "&") {
		name, value, _ := strings.Cut(pair, "=")
		field[name] = value
	}
	seconds, err := strconv.ParseInt(field["se"], 10, 64)
	if err != nil {
		return time.Time{}, errors.New("InvalidToken: no expiry")
	}
	until := time.Unix(seconds, 0)
	if o.Key == "" {
		return until, nil
	}
	signature, err := url.QueryUnescape(field["sig"])
	if err != nil {
		return time.Time{}, errors.New("InvalidSignature: the signature is not URL-encoded")
	}
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return time.Time{}, errors.New("InvalidSignature: the signature is not base64")
	}
	mac := hmac.New(sha256.New, []byte(o.Key))
	mac.Write([]byte(field["sr"] + "\n" + field["se"]))
	name, err := url.QueryUnescape(field["skn"])
	if err != nil || name != o.KeyName || !hmac.Equal(given, mac.Sum(nil)) {
		return time.Time{}, errors.New("InvalidSignature: The token has an invalid signature.")
	}
	scope, err := url.QueryUnescape(field["sr"])
	if err != nil {
		return time.Time{}, errors.New("InvalidToken: the resource is not URL-encoded")
	}
	// A bare host, or a URL of the namespace, covers every entity.
	if strings.Contains(scope, "://") {
		within, path := strings.ToLower(entityPath(scope)), strings.ToLower(entityPath(audience))
		if within != "" && path != within && !strings.HasPrefix(path, within+"/") {
			return time.Time{}, errors.New("InvalidAudience: the token is for another resource")
		}
	}
	return until, nil
}

// verifyJWT checks the form and the times of an Entra token. Its signature stays
// unchecked: the keys of the issuer are out of reach here.
func verifyJWT(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("InvalidToken: not a JSON web token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, errors.New("InvalidToken: the token payload is not base64url")
	}
	var body struct {
		Expiry    float64 `json:"exp"`
		NotBefore float64 `json:"nbf"`
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		return time.Time{}, errors.New("InvalidToken: the token payload is not JSON")
	}
	const clockSkew = 5 * time.Minute
	if time.Unix(int64(body.NotBefore), 0).After(time.Now().Add(clockSkew)) {
		return time.Time{}, errors.New("InvalidToken: the token is not valid yet")
	}
	if body.Expiry == 0 {
		return time.Time{}, errors.New("InvalidToken: the token has no expiry")
	}
	return time.Unix(int64(body.Expiry), 0), nil
}

// keyName is what a shared access signature says it was made with; empty for other tokens.
func keyName(token string) string {
	rest, _ := strings.CutPrefix(token, "SharedAccessSignature ")
	for pair := range strings.SplitSeq(rest, "&") {
		if value, ok := strings.CutPrefix(pair, "skn="); ok {
			name, _ := url.QueryUnescape(value)
			return name
		}
	}
	return ""
}

// putToken is the one operation of the $cbs node. The connection is not locked.
func (c *connection) putToken(m *amqp.Message) (status int32, description string) {
	audience, _ := m.ApplicationProperties.String("name")
	kind, _ := m.ApplicationProperties.String("type")
	token, ok := amqp.Text(m.Value)
	if operation, _ := m.ApplicationProperties.String("operation"); operation != "put-token" || audience == "" || !ok {
		return 400, "A put-token request needs a name, a type and a token."
	}
	path := entityPath(audience)
	if path != "" {
		if _, err := c.server.resolve(path); err != nil {
			return 404, err.Error()
		}
	}
	until, err := c.server.options.verifyToken(kind, token, audience, time.Now())
	if err != nil {
		return 401, err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claims.put(path, until)
	c.claims.keyName = keyName(token)
	return 202, "Accepted"
}
