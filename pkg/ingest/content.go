package ingest

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"mfaflow/pkg/event"
	"mfaflow/pkg/strictjson"
)

// item is one event or payload of a delivery, decoded, and its bytes as they would
// be parked.
type item struct {
	value any
	raw   []byte
	media string
}

// mode is how a delivery carries its content. The zero value is invalid.
type mode int

const (
	structured mode = iota + 1
	batched
	binary
	payload
	form
)

// maxMedia bounds a media type, which goes with what is parked (RFC 6838 section 4.2
// allows 127 characters on each side of the slash).
const maxMedia = 255

// modeOf judges the content type, or reports false for one the source does not
// take.
//
// A CloudEvent in structured form is also taken as plain application/json, since
// Standard Webhooks senders know no other type.
func modeOf(src *source, h http.Header) (mode, string, bool) {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return 0, "", false // the signature is over the bytes as sent: nothing is unpacked
	}
	if len(h.Values("Content-Type")) != 1 {
		return 0, "", false
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if charset, ok := params["charset"]; err != nil || len(media) > maxMedia || ok && !strings.EqualFold(charset, "utf-8") {
		return 0, "", false
	}
	isJSON := media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
	switch {
	case src.Format == Mapped && src.Form && media == "application/x-www-form-urlencoded":
		return form, media, true
	case src.Format == Mapped:
		return payload, media, isJSON && !strings.HasPrefix(media, "application/cloudevents")
	case media == "application/cloudevents+json":
		return structured, media, true
	case media == "application/cloudevents-batch+json":
		return batched, media, true
	case strings.HasPrefix(media, "application/cloudevents"):
		return 0, "", false // another event format
	case isJSON && h.Get("Ce-Specversion") != "":
		return binary, media, true
	default:
		return structured, media, isJSON
	}
}

var (
	errNotArray  = errors.New("not a JSON array of events")
	errAttribute = errors.New("an attribute header is doubled, not percent-encoded UTF-8, or badly quoted")
	errForm      = errors.New("not a form with each field once")
)

// decode reads the items of a delivery. No error quotes the content. Beside an error
// there is one item, the body as it came.
func decode(m mode, media string, h http.Header, body []byte) ([]item, error) {
	if m == form {
		v, err := decodeForm(body)
		return []item{{v, body, media}}, err
	}
	var value any
	if m != binary || len(body) > 0 {
		var err error
		if value, err = strictjson.Decode(body); err != nil {
			return []item{{nil, body, media}}, err
		}
	}
	switch m {
	case batched:
		return decodeBatch(body)
	case binary:
		return decodeBinary(media, h, value, len(body) > 0)
	default:
		return []item{{value, body, media}}, nil
	}
}

// decodeBatch keeps the bytes of each event as they came: written anew they could be
// longer than what a message takes. The batch is known to be strict JSON.
func decodeBatch(batch []byte) ([]item, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(batch, &list); err != nil || list == nil {
		return nil, errNotArray
	}
	items := make([]item, len(list))
	for i, raw := range list {
		v, err := strictjson.Decode(raw)
		if err != nil {
			return nil, err
		}
		items[i] = item{v, raw, event.ContentType}
	}
	return items, nil
}

// decodeBinary puts the event together from its headers (CloudEvents HTTP binding
// section 3.1). What is parked of it is the structured form.
func decodeBinary(media string, h http.Header, data any, hasData bool) ([]item, error) {
	attributes := map[string]any{}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		if len(values) != 1 {
			return nil, errAttribute
		}
		v, err := headerValue(values[0])
		if err != nil {
			return nil, err
		}
		attributes[attribute] = v
	}
	attributes["datacontenttype"] = media
	delete(attributes, "data")
	if hasData {
		attributes["data"] = data
	}
	raw, err := json.Marshal(attributes)
	if err != nil {
		return nil, errAttribute
	}
	return []item{{attributes, raw, event.ContentType}}, nil
}

// headerValue decodes an attribute (section 3.1.3.2): unquote, then percent-decode.
func headerValue(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		if len(s) < 2 || !strings.HasSuffix(s, `"`) {
			return "", errAttribute
		}
		s = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
	}
	s, err := url.PathUnescape(s)
	if err != nil || !utf8.ValidString(s) {
		return "", errAttribute
	}
	return s, nil
}

// decodeForm reads a form as an object of strings. A field that is there twice is
// refused, as a doubled key in JSON is.
func decodeForm(body []byte) (any, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errForm
	}
	out := map[string]any{}
	for k, v := range values {
		if len(v) != 1 || !utf8.ValidString(k) || !utf8.ValidString(v[0]) {
			return nil, errForm
		}
		out[k] = v[0]
	}
	return out, nil
}
