package stack

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"regexp"
	"strings"

	"mfaflow/events"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/webhook"
)

// source is one that the stack knows.
type source struct {
	ingest.Source
	key identity.Secret
	// record is its HR API as the router's settings name it; nil when its events say
	// everything.
	record json.RawMessage
}

// systems are the HR systems of the catalogue that post to hr-events, each connected as
// the catalogue recommends, in the time zone of the sample tenant.
func systems() ([]source, error) {
	var list []source
	for _, name := range mapping.Systems() {
		raw, record, err := mapping.Recommended(name)
		if err != nil {
			return nil, err
		}
		parsed, err := ingest.ParseSources([]byte("[" + string(raw) + "]"))
		if err != nil {
			return nil, err
		}
		s := source{Source: parsed[0], record: record}
		if s.Verify == nil {
			continue // it comes by a bus, which there is none of here
		}
		s.TimeZone = TimeZone
		s.key = keyFor(s.Verify.Preset)
		list = append(list, s)
	}
	return list, nil
}

// keyFor makes a key of the form that a preset wants. Whoever describes a sender in full
// may want text, hex or base64: this is all three.
func keyFor(preset string) identity.Secret {
	switch preset {
	case "standard-webhooks":
		return newKey("whsec_")
	case "basic":
		return identity.NewSecret("hr:" + rand.Text())
	default:
		b := make([]byte, 32)
		rand.Read(b)
		return identity.NewSecret(hex.EncodeToString(b))
	}
}

var (
	recordZone = regexp.MustCompile(`"timeZone":\s*"[^"]*"`)
	vendorHost = regexp.MustCompile(`https://[^/"]+`)
	ownWord    = regexp.MustCompile(`<[^<>"]+>`)
)

// simulated is the HR API of a source with the simulator in place of the vendor's host and
// the simulator's secret in place of each word that is the customer's.
func simulated(s source, root, secret string) json.RawMessage {
	if s.Format == ingest.Mapped {
		root += "/" + s.Name
	}
	text := recordZone.ReplaceAllLiteralString(string(s.record), `"timeZone": "`+TimeZone+`"`)
	text = vendorHost.ReplaceAllLiteralString(text, root)
	return json.RawMessage(ownWord.ReplaceAllLiteralString(text, secret))
}

// payload is what a system of the catalogue sends in the case of that name, with
// other ids and times: replace holds old and new texts in turn.
func payload(system, name string, replace ...string) ([]byte, error) {
	raw, err := fs.ReadFile(events.FS(), "hr/"+system+"/"+name+".json")
	if err != nil {
		return nil, err
	}
	// A vendor's body ends with its last bracket.
	return []byte(strings.TrimSpace(strings.NewReplacer(replace...).Replace(string(raw)))), nil
}

// verifying is the configuration under which a source's deliveries verify.
func (s source) verifying() webhook.Config {
	c := *s.Verify
	c.Keys = webhook.Keys{s.key}
	return c
}
