package webhook

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
)

// Algorithm is how a delivery is authenticated. The zero value is invalid.
type Algorithm string

// The algorithms. Bearer and Basic sign nothing: they show a shared secret.
const (
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA512 Algorithm = "hmac-sha512"
	Ed25519    Algorithm = "ed25519"
	Bearer     Algorithm = "bearer"
	Basic      Algorithm = "basic"
)

// Signs reports whether the algorithm covers the content of a delivery.
func (a Algorithm) Signs() bool { return a == HMACSHA256 || a == HMACSHA512 || a == Ed25519 }

// Encoding is how bytes are written as text.
type Encoding string

// The encodings. Text is the default of keys and invalid for signatures.
const (
	Text   Encoding = "text"
	Hex    Encoding = "hex"
	Base64 Encoding = "base64"
)

// Scheme is one kind of signature and the keys that belong to it.
type Scheme struct {
	// Prefix stands before the signature in the header. A signature without it
	// is of another scheme and skipped.
	Prefix    string    `json:"prefix,omitempty"`
	Algorithm Algorithm `json:"algorithm,omitempty"`
	// Encoding is that of the signature.
	Encoding Encoding `json:"encoding,omitempty"`
	// KeyPrefix marks the configured keys of this scheme and is no part of the key.
	KeyPrefix   string   `json:"keyPrefix,omitempty"`
	KeyEncoding Encoding `json:"keyEncoding,omitempty"`
	// MinKey and MaxKey bound the length of a key in bytes; zero is no bound.
	MinKey int `json:"minKey,omitempty"`
	MaxKey int `json:"maxKey,omitempty"`
}

// Config says how a sender authenticates its deliveries.
type Config struct {
	// Preset names an entry of presets.json that fills the fields left out here.
	Preset string `json:"preset,omitempty"`
	// Header carries the signature, or several of them when Separator is set.
	Header    string `json:"header,omitempty"`
	Separator string `json:"separator,omitempty"`
	Scheme
	// Also are further schemes that the same header may carry.
	Also []Scheme `json:"also,omitempty"`
	// Signed is the signed content: literal text, {header:Name} and one {body}.
	Signed    string     `json:"signed,omitempty"`
	Timestamp *Timestamp `json:"timestamp,omitempty"`
	ID        *ID        `json:"id,omitempty"`
	// Aliases maps a header to the name it has with other senders.
	Aliases map[string]string `json:"aliases,omitempty"`
	Keys    Keys              `json:"keys,omitempty"`
}

// Timestamp says where the signed time of an attempt is and how old it may be.
type Timestamp struct {
	Header string          `json:"header"`
	Format TimestampFormat `json:"format"`
	// Tolerance holds for both directions; zero means five minutes.
	Tolerance Duration `json:"tolerance,omitempty"`
}

// TimestampFormat is how a timestamp is written. The zero value is invalid.
type TimestampFormat string

// The timestamp formats.
const (
	Unix          TimestampFormat = "unix"
	UnixMillis    TimestampFormat = "unix-milliseconds"
	RFC3339       TimestampFormat = "rfc3339"
	UnixOrRFC3339 TimestampFormat = "unix-or-rfc3339"
)

// ID says where the sender's id of a delivery is, the same over its retries:
// either in a signed header or at a JSON pointer (RFC 6901) in the body.
type ID struct {
	Header  string `json:"header,omitempty"`
	Pointer string `json:"pointer,omitempty"`
}

// Keys are secrets that JSON can fill and nobody can read back.
type Keys []identity.Secret

// UnmarshalJSON reads an array of strings.
func (k *Keys) UnmarshalJSON(b []byte) error {
	var plain []string
	if err := json.Unmarshal(b, &plain); err != nil {
		return errors.New("keys must be an array of strings")
	}
	*k = make(Keys, len(plain))
	for i, s := range plain {
		(*k)[i] = identity.NewSecret(s)
	}
	return nil
}

// Duration is a time.Duration that JSON writes as "5m".
type Duration time.Duration

// MarshalText renders "5m0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return errors.New("not a duration such as 5m") // the cause quotes the value
	}
	*d = Duration(v)
	return nil
}

//go:embed presets.json
var presetsJSON []byte

// presets are left encoded: a cold start needs one of them.
func presets() (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(presetsJSON, &all); err != nil {
		return nil, fmt.Errorf("presets.json: %w", err)
	}
	return all, nil
}

// Presets lists the names of the presets.
func Presets() []string {
	all, err := presets()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(all))
}

// Preset is what is known of a vendor, without keys. An unknown name is
// ErrMisconfigured.
func Preset(name string) (Config, error) {
	all, err := presets()
	if err != nil {
		return Config{}, err
	}
	raw, ok := all[name]
	if !ok {
		return Config{}, fmt.Errorf("%w: no preset %q (there are: %s)", ErrMisconfigured, name,
			strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	var c Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return Config{}, fmt.Errorf("presets.json: %s: %w", name, err)
	}
	return c, nil
}

// resolve fills the fields that c leaves to its preset.
func (c Config) resolve() (Config, error) {
	if c.Preset == "" {
		return c, nil
	}
	p, err := Preset(c.Preset)
	if err != nil {
		return Config{}, err
	}
	c.Header = cmp.Or(c.Header, p.Header)
	c.Separator = cmp.Or(c.Separator, p.Separator)
	c.Prefix = cmp.Or(c.Prefix, p.Prefix)
	c.Algorithm = cmp.Or(c.Algorithm, p.Algorithm)
	c.Encoding = cmp.Or(c.Encoding, p.Encoding)
	c.KeyPrefix = cmp.Or(c.KeyPrefix, p.KeyPrefix)
	c.KeyEncoding = cmp.Or(c.KeyEncoding, p.KeyEncoding)
	c.MinKey = cmp.Or(c.MinKey, p.MinKey)
	c.MaxKey = cmp.Or(c.MaxKey, p.MaxKey)
	c.Signed = cmp.Or(c.Signed, p.Signed)
	c.Timestamp = cmp.Or(c.Timestamp, p.Timestamp)
	c.ID = cmp.Or(c.ID, p.ID)
	if c.Also == nil {
		c.Also = p.Also
	}
	if c.Aliases == nil {
		c.Aliases = p.Aliases
	}
	return c, nil
}
