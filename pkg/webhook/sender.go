package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// SignAs sets the headers of one attempt as a sender of this configuration does, with
// the first of its keys: for whoever delivers in the place of a vendor, which no function
// does. The id is set where the configuration has a header for it. A configuration whose
// first scheme is ed25519, or has no key, is ErrMisconfigured: it cannot sign.
func SignAs(c Config, h http.Header, id string, at time.Time, body []byte) error {
	v, err := New(c)
	if err != nil {
		return err
	}
	if v.timestamp != nil {
		h.Set(v.timestamp.Header, v.timestamp.format(at))
	}
	if v.id.Header != "" {
		h.Set(v.id.Header, id)
	}
	s := v.schemes[0]
	if len(s.keys) == 0 || s.Algorithm == Ed25519 {
		return fmt.Errorf("%w: there is no key to sign with", ErrMisconfigured)
	}
	key := s.keys[0]
	switch s.Algorithm {
	case Bearer:
		h.Set(v.header, s.Prefix+string(key))
	case Basic:
		h.Set(v.header, s.Prefix+base64.StdEncoding.EncodeToString(key))
	default:
		content, err := v.signed.render(func(name string) (string, error) { return v.value(h, name) }, body)
		if err != nil {
			return err
		}
		h.Set(v.header, s.Prefix+encode(s.Encoding, sum(s.Algorithm, key, content)))
	}
	if _, err := v.Verify(h, body, at); err != nil {
		return errors.Join(ErrMisconfigured, err)
	}
	return nil
}

func encode(e Encoding, b []byte) string {
	if e == Hex {
		return hex.EncodeToString(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (t *Timestamp) format(at time.Time) string {
	switch t.Format {
	case RFC3339:
		return at.UTC().Format(time.RFC3339)
	case UnixMillis:
		return strconv.FormatInt(at.UnixMilli(), 10)
	default:
		return strconv.FormatInt(at.Unix(), 10)
	}
}
