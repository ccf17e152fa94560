package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/identity"
)

// Why a delivery is refused. No error holds a value of the delivery or a key.
var (
	// ErrUnsigned: the signature, or a header that it covers, is missing.
	ErrUnsigned = errors.New("unsigned delivery")
	// ErrMalformed: a signed header is doubled or not of its form.
	ErrMalformed = errors.New("malformed signature headers")
	// ErrBadSignature: no signature verifies under any key.
	ErrBadSignature = errors.New("bad signature")
	// ErrStale: truly signed, but the attempt is outside the tolerance.
	ErrStale = errors.New("signed outside the time tolerance")
	// ErrMisconfigured: the configuration cannot verify anything.
	ErrMisconfigured = errors.New("webhook verification misconfigured")
)

const defaultTolerance = 5 * time.Minute

// maxSignatures bounds the work one header can cause.
const maxSignatures = 16

// Delivery is what the headers of an authentic delivery say.
type Delivery struct {
	// ID is the signed id, the same over retries; empty when none is configured.
	ID string
	// At is the signed time of this attempt; zero when none is configured.
	At time.Time
}

// Verifier checks deliveries of one sender. It is safe for concurrent use.
type Verifier struct {
	header    string
	separator string
	schemes   []scheme
	signed    template
	timestamp *Timestamp
	id        ID
	aliases   map[string]string
}

type scheme struct {
	Scheme
	keys [][]byte
}

// New compiles a configuration and reports every problem in it, as
// ErrMisconfigured.
func New(c Config) (*Verifier, error) {
	c, err := c.resolve()
	if err != nil {
		return nil, err
	}
	v := &Verifier{header: c.Header, separator: c.Separator, timestamp: c.Timestamp, aliases: c.Aliases}
	if c.ID != nil {
		v.id = *c.ID
	}
	for _, s := range append([]Scheme{c.Scheme}, c.Also...) {
		v.schemes = append(v.schemes, scheme{Scheme: s})
	}
	problems := []error{v.checkHeader(), v.checkSchemes(), v.compileSigned(c.Signed), v.checkTimestamp(), v.checkID()}
	problems = append(problems, v.addKeys(c.Keys))
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMisconfigured, err)
	}
	return v, nil
}

func (v *Verifier) checkHeader() error {
	if v.header == "" {
		return errors.New("header: which one carries the signature?")
	}
	return nil
}

func (v *Verifier) checkSchemes() error {
	var problems []error
	for _, s := range v.schemes {
		problems = append(problems, s.check())
		if s.Algorithm.Signs() != v.Signs() {
			problems = append(problems, errors.New("also: bearer and basic stand beside no signature, they would be the way around it"))
		}
	}
	return errors.Join(problems...)
}

func (v *Verifier) compileSigned(signed string) (err error) {
	if !v.Signs() {
		if signed != "" {
			return errors.New("signed: bearer and basic sign nothing")
		}
		return nil
	}
	if v.signed, err = parseTemplate(signed); err != nil {
		return err
	}
	header := ""
	if v.timestamp != nil {
		header = v.timestamp.Header
	}
	return v.signed.check(header)
}

func (v *Verifier) checkTimestamp() error {
	if v.timestamp == nil {
		return nil
	}
	switch v.timestamp.Format {
	case Unix, UnixMillis, RFC3339, UnixOrRFC3339:
	default:
		return fmt.Errorf("timestamp.format: %q is none of unix, unix-milliseconds, rfc3339, unix-or-rfc3339", v.timestamp.Format)
	}
	if v.timestamp.Tolerance < 0 {
		return errors.New("timestamp.tolerance: negative")
	}
	if !v.signed.covers(v.timestamp.Header) {
		return errors.New("timestamp.header: not part of signed, so anybody could change it")
	}
	return nil
}

func (v *Verifier) checkID() error {
	switch {
	case v.id.Header != "" && v.id.Pointer != "":
		return errors.New("id: header and pointer exclude each other")
	case v.id.Header != "" && v.Signs() && !v.signed.covers(v.id.Header):
		return errors.New("id.header: not part of signed, so anybody could change it")
	case v.id.Pointer != "" && !strings.HasPrefix(v.id.Pointer, "/"):
		return errors.New("id.pointer: a JSON pointer begins with /")
	default:
		return nil
	}
}

func (s scheme) check() error {
	switch s.Algorithm {
	case HMACSHA256, HMACSHA512, Ed25519:
		if s.Encoding != Hex && s.Encoding != Base64 {
			return fmt.Errorf("encoding: %q is neither hex nor base64", s.Encoding)
		}
	case Bearer, Basic:
		if s.Encoding != "" {
			return errors.New("encoding: bearer and basic have none")
		}
	default:
		return fmt.Errorf("algorithm: %q is none of hmac-sha256, hmac-sha512, ed25519, bearer, basic", s.Algorithm)
	}
	switch s.KeyEncoding {
	case "", Text, Hex, Base64:
		return nil
	default:
		return fmt.Errorf("keyEncoding: %q is none of text, hex, base64", s.KeyEncoding)
	}
}

// addKeys gives each key to the scheme whose prefix it carries.
func (v *Verifier) addKeys(keys Keys) error {
	if len(keys) == 0 {
		return errors.New("keys: at least one is needed")
	}
	var problems []error
	for i, k := range keys {
		if err := v.addKey(k); err != nil {
			problems = append(problems, fmt.Errorf("keys[%d]: %w", i, err))
		}
	}
	return errors.Join(problems...)
}

func (v *Verifier) addKey(k identity.Secret) error {
	var prefixes []string
	for i := range v.schemes {
		s := &v.schemes[i]
		text, ok := strings.CutPrefix(k.Reveal(), s.KeyPrefix)
		if !ok {
			prefixes = append(prefixes, s.KeyPrefix)
			continue
		}
		key, err := decode(s.KeyEncoding, text)
		if err != nil {
			return fmt.Errorf("is not valid %s", s.KeyEncoding)
		}
		switch {
		case len(key) == 0:
			return errors.New("is empty")
		case s.Algorithm == Ed25519 && len(key) != ed25519.PublicKeySize:
			return fmt.Errorf("an ed25519 public key has %d bytes", ed25519.PublicKeySize)
		case s.Algorithm == Basic && !strings.Contains(text, ":"):
			return errors.New("must be user:password")
		case len(key) < s.MinKey || s.MaxKey > 0 && len(key) > s.MaxKey:
			return fmt.Errorf("must have %d to %d bytes", s.MinKey, s.MaxKey)
		}
		s.keys = append(s.keys, key)
		return nil
	}
	return fmt.Errorf("must begin with %s", strings.Join(prefixes, " or "))
}

func decode(e Encoding, s string) ([]byte, error) {
	switch e {
	case Hex:
		return hex.DecodeString(s)
	case Base64:
		if strings.ContainsAny(s, "\r\n") { // which encoding/base64 skips
			return nil, base64.CorruptInputError(0)
		}
		return base64.StdEncoding.Strict().DecodeString(s)
	default:
		return []byte(s), nil
	}
}

// Signs reports whether a delivery's content is covered by the signature; with
// bearer and basic it is not.
func (v *Verifier) Signs() bool { return v.schemes[0].Algorithm.Signs() }

// Covers reports whether the value of a header is part of the signed content.
func (v *Verifier) Covers(header string) bool { return v.signed.covers(header) }

// TakesForms reports whether a body that is no JSON can verify: where a header touches
// the body in the signed content, only a JSON bracket keeps them apart.
func (v *Verifier) TakesForms() bool { return !v.signed.touchesBody() }

// IDPointer is the configured place of the delivery's id in the body, if any.
func (v *Verifier) IDPointer() string { return v.id.Pointer }

// Challenge is the WWW-Authenticate value that goes with a refusal.
func (v *Verifier) Challenge() string {
	switch v.schemes[0].Algorithm {
	case Bearer:
		return "Bearer"
	case Basic:
		return `Basic realm="webhook"`
	default:
		return "Signature"
	}
}

// Verify checks a delivery as received: h with canonical names, body untouched.
func (v *Verifier) Verify(h http.Header, body []byte, now time.Time) (Delivery, error) {
	header := func(name string) (string, error) { return v.value(h, name) }
	signatures, err := header(v.header)
	if err != nil {
		return Delivery{}, err
	}
	var d Delivery
	if v.timestamp != nil {
		text, err := header(v.timestamp.Header)
		if err != nil {
			return Delivery{}, err
		}
		if d.At, err = v.timestamp.parse(text); err != nil {
			return Delivery{}, err
		}
	}
	if v.id.Header != "" {
		if d.ID, err = header(v.id.Header); err != nil {
			return Delivery{}, err
		}
	}
	var content []byte
	if v.Signs() {
		if content, err = v.signed.render(header, body); err != nil {
			return Delivery{}, err
		}
	}
	if err := v.match(signatures, content); err != nil {
		return Delivery{}, err
	}
	if v.timestamp != nil && d.At.Sub(now).Abs() > v.timestamp.tolerance() {
		return Delivery{}, ErrStale
	}
	return d, nil
}

// value reads a header that must be there once. A header sent twice fails
// closed: which of the two was signed?
func (v *Verifier) value(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if alias := v.aliases[name]; len(values) == 0 && alias != "" {
		values = h.Values(alias)
	}
	switch {
	case len(values) == 0 || values[0] == "":
		return "", fmt.Errorf("%w: header %s is missing", ErrUnsigned, http.CanonicalHeaderKey(name))
	case len(values) > 1:
		return "", fmt.Errorf("%w: header %s is there twice", ErrMalformed, http.CanonicalHeaderKey(name))
	default:
		return values[0], nil
	}
}

func (v *Verifier) match(header string, content []byte) error {
	list := []string{header}
	if v.separator != "" {
		list = strings.SplitN(header, v.separator, maxSignatures+1)
		if len(list) > maxSignatures {
			return fmt.Errorf("%w: more than %d signatures", ErrMalformed, maxSignatures)
		}
	}
	for _, s := range v.schemes {
		for _, text := range list {
			signature, ok := s.cut(text)
			if ok && s.accepts(signature, content) {
				return nil
			}
		}
	}
	return ErrBadSignature
}

// cut takes the prefix off. The name of an HTTP authentication scheme has no
// case (RFC 9110 section 11.1), all other prefixes do.
func (s scheme) cut(text string) (string, bool) {
	if !s.Algorithm.Signs() {
		n := len(s.Prefix)
		if len(text) < n || !strings.EqualFold(text[:n], s.Prefix) {
			return "", false
		}
		return text[n:], true
	}
	return strings.CutPrefix(text, s.Prefix)
}

func (s scheme) accepts(text string, content []byte) bool {
	ok := false
	switch s.Algorithm {
	case HMACSHA256, HMACSHA512:
		signature, err := decode(s.Encoding, text)
		if err != nil {
			return false
		}
		for _, key := range s.keys {
			ok = hmac.Equal(signature, sum(s.Algorithm, key, content)) || ok
		}
	case Ed25519:
		signature, err := decode(s.Encoding, text)
		if err != nil || len(signature) != ed25519.SignatureSize {
			return false
		}
		for _, key := range s.keys {
			ok = ed25519.Verify(key, content, signature) || ok
		}
	case Bearer:
		for _, key := range s.keys {
			ok = sameSecret(text, string(key)) || ok
		}
	case Basic:
		for _, key := range s.keys {
			ok = sameSecret(text, base64.StdEncoding.EncodeToString(key)) || ok
		}
	}
	return ok
}

// sameSecret compares without telling the length: the digests are equally long.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func sum(a Algorithm, key, content []byte) []byte {
	var m hash.Hash
	if a == HMACSHA512 {
		m = hmac.New(sha512.New, key)
	} else {
		m = hmac.New(sha256.New, key)
	}
	m.Write(content)
	return m.Sum(nil)
}

func (t *Timestamp) tolerance() time.Duration {
	if t.Tolerance == 0 {
		return defaultTolerance
	}
	return time.Duration(t.Tolerance)
}

func (t *Timestamp) parse(s string) (time.Time, error) {
	malformed := fmt.Errorf("%w: header %s is no %s timestamp", ErrMalformed, http.CanonicalHeaderKey(t.Header), t.Format)
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case err != nil || len(s) > len("1764000000000000") || t.Format == RFC3339:
			return time.Time{}, malformed
		case t.Format == UnixMillis:
			return time.UnixMilli(n), nil
		default:
			return time.Unix(n, 0), nil
		}
	}
	if t.Format != RFC3339 && t.Format != UnixOrRFC3339 {
		return time.Time{}, malformed
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, malformed
	}
	return at, nil
}
