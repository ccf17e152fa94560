// Package secevent verifies Security Event Tokens (RFC 8417) as the OpenID Shared
// Signals Framework 1.0 profiles them, and reads what they say about whom.
//
// It imports no HTTP client and holds no clock: keys come from a port, and the caller
// says what time it is. It knows no canonical event; a mapping makes those.
//
// # What a token cannot do
//
// Nothing in a token says where a key comes from: a header with jku, x5u, jwk, x5c,
// crit or b64 is refused unread. The algorithm is one of three asymmetric ones, so neither
// "none" nor a public key used as a shared secret verifies anything. exp and sub, which
// access and id tokens have, are refused, and so is every type but secevent+jwt: a token
// made for something else is no event.
//
// # Whom the answer tells what
//
// Before the signature verifies every failure is ErrUnauthentic. Who can sign is told
// what is wrong (ErrIssuer, ErrAudience, ErrInvalid, ErrState).
package secevent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/strictjson"
	"mfaflow/pkg/webhook"
)

// Why a token is refused. No error holds a value of the token.
var (
	// ErrUnauthentic: nobody whom we know has signed this.
	ErrUnauthentic = errors.New("not an authentic security event token")
	// ErrIssuer and ErrAudience: truly signed, but for another stream.
	ErrIssuer   = errors.New("the issuer is not that of the stream")
	ErrAudience = errors.New("the audience is not that of the stream")
	// ErrInvalid: truly signed, but against RFC 8417 or its profile.
	ErrInvalid = errors.New("invalid security event token")
	// ErrState: a verification event without the state that it was asked to bring.
	ErrState = errors.New("the state of the verification is not the expected one")
	// ErrKeysUnavailable: whether the token is authentic cannot be told now.
	ErrKeysUnavailable = errors.New("the keys of the issuer are not available")
	// ErrMisconfigured: the stream cannot verify anything.
	ErrMisconfigured = errors.New("event stream misconfigured")
)

const (
	// future is how far the issuer's clock may be ahead.
	future = 5 * time.Minute
	// defaultMaxAge covers a transmitter's retries and a backlog that is polled.
	defaultMaxAge = 7 * 24 * time.Hour
	// maxEvents bounds the aliases of an event.
	maxEvents = 8
	// maxText bounds jti and kid.
	maxText = 512
)

// Stream says what a transmitter's tokens look like and whom their subjects are.
type Stream struct {
	// Issuer is iss, exactly, and the issuer in the transmitter's metadata.
	Issuer string `json:"issuer"`
	// Audience is what aud must contain: one of these, exactly.
	Audience []string `json:"audience"`
	// KeysURL is jwks_uri of the transmitter's metadata; Keys is a JSON Web Key Set
	// instead, for a transmitter that cannot be reached.
	KeysURL string          `json:"keysURL,omitempty"`
	Keys    json.RawMessage `json:"keys,omitempty"`
	// Algorithms narrows RS256, ES256 and PS256.
	Algorithms []string `json:"algorithms,omitempty"`
	// MaxAge is how long ago a token may have been issued; zero means seven days.
	MaxAge webhook.Duration `json:"maxAge,omitempty"`
	// Subjects says what identifies a person: by the format of the subject (email,
	// account, opaque), or by its issuer for the format iss_sub. The values are
	// identifiers of identity.Reference.
	Subjects map[string]Identifier `json:"subjects,omitempty"`
	// State is what verification events must bring; empty takes any.
	State string `json:"state,omitempty"`
}

// KeySource finds keys. ErrKeysUnavailable: it cannot tell now.
type KeySource interface {
	// Keys are those that a token with this key id may be signed with; an empty id
	// stands for any.
	Keys(ctx context.Context, id string) (KeySet, error)
}

// algorithms is the whole allow-list; none and HMAC are not on it.
var algorithms = [...]jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.PS256}

// Validate reports every problem of the stream, as ErrMisconfigured.
func (s Stream) Validate() error {
	var problems []error
	add := func(bad bool, what string) {
		if bad {
			problems = append(problems, errors.New(what))
		}
	}
	add(s.Issuer == "", "issuer: is required")
	add(len(s.Audience) == 0 || slices.Contains(s.Audience, ""), "audience: name what aud contains")
	add((s.KeysURL == "") == (len(s.Keys) == 0), "keysURL or keys: give one of the two")
	if s.KeysURL != "" {
		u, err := url.Parse(s.KeysURL)
		add(err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "", "keysURL: is no https URL")
	}
	if len(s.Keys) > 0 {
		_, err := ParseKeys(s.Keys)
		add(err != nil, "keys: is no JSON Web Key Set with a key to verify with")
	}
	for _, a := range s.Algorithms {
		add(!slices.Contains(algorithms[:], jose.SignatureAlgorithm(a)), "algorithms: only RS256, ES256 and PS256 are taken")
	}
	add(s.MaxAge < 0, "maxAge: negative")
	problems = append(problems, checkSubjects(s.Subjects))
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: %w", ErrMisconfigured, err)
	}
	return nil
}

// Verifier checks the tokens of one stream. It is safe for concurrent use.
type Verifier struct {
	stream     Stream
	algorithms []jose.SignatureAlgorithm
	keys       KeySource
}

// New makes a verifier. Keys of the stream itself come before the source, which may
// then be nil.
func New(s Stream, keys KeySource) (*Verifier, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	v := &Verifier{stream: s, keys: keys}
	for _, a := range algorithms {
		if len(s.Algorithms) == 0 || slices.Contains(s.Algorithms, string(a)) {
			v.algorithms = append(v.algorithms, a)
		}
	}
	if len(s.Keys) > 0 {
		static, err := ParseKeys(s.Keys)
		if err != nil {
			return nil, err
		}
		v.keys = static
	}
	if v.keys == nil {
		return nil, fmt.Errorf("%w: there is nobody to ask for keys", ErrMisconfigured)
	}
	return v, nil
}

// Verify checks a token in compact form, byte for byte as it was sent.
func (v *Verifier) Verify(ctx context.Context, token []byte, now time.Time) (Token, error) {
	payload, err := v.authenticate(ctx, string(token))
	if err != nil {
		return Token{}, err
	}
	decoded, err := strictjson.Decode(payload)
	if err != nil {
		return Token{}, fmt.Errorf("%w: the claims are not strict JSON", ErrInvalid)
	}
	claims, ok := decoded.(map[string]any)
	if !ok {
		return Token{}, fmt.Errorf("%w: the claims are no object", ErrInvalid)
	}
	if claims["iss"] != v.stream.Issuer {
		return Token{}, ErrIssuer
	}
	if !v.isForUs(claims["aud"]) {
		return Token{}, ErrAudience
	}
	t, err := v.stream.Read(claims)
	if err != nil {
		return Token{}, err
	}
	switch maxAge := time.Duration(v.stream.MaxAge); {
	case t.IssuedAt.Sub(now) > future:
		return Token{}, fmt.Errorf("%w: iat is in the future", ErrInvalid)
	case maxAge == 0 && now.Sub(t.IssuedAt) > defaultMaxAge, maxAge > 0 && now.Sub(t.IssuedAt) > maxAge:
		return Token{}, fmt.Errorf("%w: iat is too long ago", ErrInvalid)
	case t.Event == Verification && v.stream.State != "" && t.Claims["state"] != v.stream.State:
		return Token{}, ErrState
	default:
		return t, nil
	}
}

// sources are the headers by which a token could choose its own key, and crit, which
// asks for extensions that we do not have (RFC 7515 section 4.1); b64 is one of these,
// also where it forgets to ask (RFC 7797 section 6).
var sources = [...]string{"jku", "x5u", "jwk", "x5c", "crit", "b64"}

// authenticate returns the claims as they were signed. Errors are ErrUnauthentic and
// ErrKeysUnavailable.
func (v *Verifier) authenticate(ctx context.Context, token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: not in compact form", ErrUnauthentic)
	}
	header, err := headerOf(parts)
	if err != nil {
		return nil, err
	}
	for _, name := range sources {
		if _, there := header[name]; there {
			return nil, fmt.Errorf("%w: header %s", ErrUnauthentic, name)
		}
	}
	// SSF 1.0 section 4.1.1: typ is secevent+jwt. RFC 7515 section 4.1.9: a media type,
	// so without case, and application/ may be left out.
	typ, _ := header["typ"].(string)
	if strings.TrimPrefix(strings.ToLower(typ), "application/") != "secevent+jwt" {
		return nil, fmt.Errorf("%w: typ", ErrUnauthentic)
	}
	kid, ok := header["kid"].(string)
	if _, there := header["kid"]; there && (!ok || kid == "" || len(kid) > maxText) {
		return nil, fmt.Errorf("%w: kid", ErrUnauthentic)
	}
	signed, err := jose.ParseSignedCompact(token, v.algorithms)
	if err != nil {
		return nil, fmt.Errorf("%w: not a token with an algorithm of the list", ErrUnauthentic)
	}
	keys, err := v.keys.Keys(ctx, kid)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	for _, k := range keys {
		if !k.signs(jose.SignatureAlgorithm(signed.Signatures[0].Protected.Algorithm)) {
			continue
		}
		if payload, err := signed.Verify(k.public); err == nil {
			return payload, nil
		}
	}
	return nil, fmt.Errorf("%w: no key verifies it", ErrUnauthentic)
}

// headerOf decodes the header, and sees that every part is base64url in its only form.
func headerOf(parts []string) (map[string]any, error) {
	var first []byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") { // which encoding/base64 skips
			return nil, fmt.Errorf("%w: not base64url", ErrUnauthentic)
		}
		if i == 0 {
			first = b
		}
	}
	decoded, err := strictjson.Decode(first)
	header, ok := decoded.(map[string]any)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: the header is no JSON object", ErrUnauthentic)
	}
	return header, nil
}

// isForUs reads aud: a string, or an array of strings of which one is ours.
func (v *Verifier) isForUs(aud any) bool {
	list, ok := aud.([]any)
	if !ok {
		list = []any{aud}
	}
	return slices.ContainsFunc(list, func(a any) bool {
		s, ok := a.(string)
		return ok && slices.Contains(v.stream.Audience, s)
	})
}

// Token is what a verified token says.
type Token struct {
	// Issuer and ID (jti) together identify it over all deliveries.
	Issuer, ID string
	IssuedAt   time.Time
	// Event is what happened; Unknown for an event type that we do not know.
	Event Event
	// Type is the URI of the event type, as it was sent.
	Type string
	// At is when it happened, never later than IssuedAt.
	At time.Time
	// Person is whom it is about, as far as the directory can know them; zero for a
	// device, a tenant, or somebody whom only the transmitter can name.
	Person identity.Reference
	// Claims are those of the event itself.
	Claims map[string]any
}

// Value is the token as the payload of a mapping: event, issuer, time, person and
// claims. person is left out when nobody can be named.
func (t Token) Value() map[string]any {
	v := map[string]any{
		"event": string(t.Event), "issuer": t.Issuer, "time": t.At.UTC().Format(time.RFC3339Nano), "claims": t.Claims,
	}
	if !t.Person.IsZero() {
		person := map[string]any{}
		for name, id := range map[Identifier]string{
			ObjectID: t.Person.ObjectID, EmployeeID: t.Person.EmployeeID, UserPrincipalName: t.Person.UserPrincipalName, Mail: t.Person.Mail,
		} {
			if id != "" {
				person[string(name)] = id
			}
		}
		v["person"] = person
	}
	return v
}

// Read reads claims whose signature, issuer, audience and age have been checked.
// Errors are ErrInvalid.
func (s Stream) Read(claims map[string]any) (Token, error) {
	t := Token{}
	var ok bool
	t.Issuer, _ = claims["iss"].(string)
	if t.ID, ok = claims["jti"].(string); !ok || t.ID == "" || len(t.ID) > maxText {
		return Token{}, fmt.Errorf("%w: jti", ErrInvalid)
	}
	// SSF 1.0 section 4.1: neither of them, so that no other kind of token passes.
	for _, name := range []string{"exp", "sub"} {
		if _, there := claims[name]; there {
			return Token{}, fmt.Errorf("%w: %s must not be there", ErrInvalid, name)
		}
	}
	if t.IssuedAt, ok = seconds(claims["iat"]); !ok {
		return Token{}, fmt.Errorf("%w: iat", ErrInvalid)
	}
	var err error
	if t.Event, t.Type, t.Claims, err = theEvent(claims["events"]); err != nil {
		return Token{}, err
	}
	t.At = happened(t, claims["toe"])
	subject, there, err := theSubject(claims["sub_id"], t.Claims["subject"])
	switch {
	case err != nil:
		return Token{}, err
	case !there && t.Event.HasSubject():
		return Token{}, fmt.Errorf("%w: there is no subject", ErrInvalid)
	}
	t.Person = s.person(subject)
	return t, nil
}

// theEvent finds the one event. Further members of events are the same event by other
// names (RFC 8417 section 2), so they may not be other events that we know.
func theEvent(v any) (Event, string, map[string]any, error) {
	events, ok := v.(map[string]any)
	if !ok || len(events) == 0 || len(events) > maxEvents {
		return Unknown, "", nil, fmt.Errorf("%w: events", ErrInvalid)
	}
	var (
		found  = Unknown
		uri    string
		claims map[string]any
	)
	for name, payload := range events {
		object, ok := payload.(map[string]any)
		if !ok {
			return Unknown, "", nil, fmt.Errorf("%w: an event is no object", ErrInvalid)
		}
		e := known[name]
		switch {
		case e == Unknown && found != Unknown:
		case e != Unknown && found == Unknown:
			found, uri, claims = e, name, object
		case e != Unknown && (e != found || !reflect.DeepEqual(object, claims)):
			return Unknown, "", nil, fmt.Errorf("%w: more than one event", ErrInvalid)
		case uri == "" || name < uri: // of several names of one event always the same
			uri, claims = name, object
		}
	}
	return found, uri, claims, nil
}

// theSubject is sub_id, or the subject inside the event as drafts had it and Okta
// sends it (developer.okta.com/docs/reference/ssf-transmitter-sets). Two that differ
// would let the reader choose.
func theSubject(subID, inside any) (map[string]any, bool, error) {
	if subID != nil && inside != nil && !reflect.DeepEqual(subID, inside) {
		return nil, false, fmt.Errorf("%w: two subjects that differ", ErrInvalid)
	}
	if subID == nil {
		subID = inside
	}
	if subID == nil {
		return nil, false, nil
	}
	subject, ok := subID.(map[string]any)
	if format, isText := subject["format"].(string); !ok || !isText || format == "" {
		return nil, false, fmt.Errorf("%w: the subject is no object with a format", ErrInvalid)
	}
	return subject, true, nil
}

// happened is event_timestamp of CAEP and RISC, or toe (RFC 8417 section 2.2), or iat.
func happened(t Token, toe any) time.Time {
	for _, v := range []any{t.Claims["event_timestamp"], toe} {
		if at, ok := seconds(v); ok && !at.After(t.IssuedAt) {
			return at
		}
	}
	return t.IssuedAt
}

// milliseconds is above every number of seconds that is a date (the year 5138), and
// below the milliseconds of everything since 1973. Okta's event_timestamp is in
// milliseconds where CAEP says seconds.
const milliseconds = 1e11

// seconds reads a NumericDate (RFC 7519 section 2).
func seconds(v any) (time.Time, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := number.Float64()
	if err != nil || f <= 0 || math.IsInf(f, 0) || f > milliseconds*1000 {
		return time.Time{}, false
	}
	if f > milliseconds {
		return time.UnixMilli(int64(f)).UTC(), true
	}
	return time.UnixMilli(int64(f * 1000)).UTC(), true
}
