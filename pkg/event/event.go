// Package event holds the canonical event: a CloudEvents 1.0 envelope, the closed
// list of types and the data each type carries.
//
// It imports the standard library only. It knows no schema library (pkg/catalog
// validates), no queue and no directory.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/identity"
)

// MadeAt is when the sender made the statement: its time, but never after we heard
// it. A time far ahead would make every later statement obsolete.
func (e Event) MadeAt() time.Time {
	if !e.ReceivedAt.IsZero() && e.ReceivedAt.Before(e.Time) {
		return e.ReceivedAt
	}
	return e.Time
}

// ContentType is the media type of an encoded event (CloudEvents JSON format).
const ContentType = "application/cloudevents+json"

// Event is a CloudEvents 1.0 envelope with mfaflow's extension attributes.
type Event struct {
	ID     string
	Source string
	Type   Type
	// Subject is the sender's key for the person.
	Subject string
	// Time is when the sender made the statement or saw the fact.
	Time       time.Time
	DataSchema string
	Data       json.RawMessage

	// ReceivedAt is when our ingest accepted the event (extension "receivedat").
	ReceivedAt time.Time
	// Origin is the name of the configured source it came in by (extension "origin").
	Origin string
	// Key is the idempotency key (extension "key"); it never changes.
	Key string
	// CorrelationID follows the event to Graph (extension "correlationid").
	CorrelationID string
	// UserID is set by the router and stays, also over replays (extension "userid").
	UserID identity.UserID
}

// Lane is the lane that the event belongs to once the router has seen it: its person's, or
// that of the tenant. Empty before.
func (e Event) Lane() string {
	if e.Type.IsTenantWide() {
		return TenantLane
	}
	return string(e.UserID)
}

// Requester is who asked for the event, in whatever form the sender names people;
// empty when the event does not say.
func (e Event) Requester() string {
	d, _ := decodeData[struct {
		RequestedBy string `json:"requestedBy"`
	}](e)
	return d.RequestedBy
}

type wire struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            string          `json:"time"`
	DataSchema      string          `json:"dataschema,omitempty"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	ReceivedAt      string          `json:"receivedat,omitempty"`
	Origin          string          `json:"origin,omitempty"`
	Key             string          `json:"key,omitempty"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	UserID          string          `json:"userid,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
}

// ErrMalformed: the bytes are not a canonical event.
var ErrMalformed = errors.New("malformed event")

// Encode renders the event in CloudEvents structured JSON.
func (e Event) Encode() ([]byte, error) {
	w := wire{
		SpecVersion: "1.0", ID: e.ID, Source: e.Source, Type: string(e.Type), Subject: e.Subject,
		Time: e.Time.Format(time.RFC3339Nano), DataSchema: e.DataSchema, DataContentType: "application/json",
		Origin: e.Origin, Key: e.Key, CorrelationID: e.CorrelationID, UserID: string(e.UserID), Data: e.Data,
	}
	if !e.ReceivedAt.IsZero() {
		w.ReceivedAt = e.ReceivedAt.Format(time.RFC3339Nano)
	}
	return json.Marshal(w)
}

// Decode reads what Encode wrote. It is for our own queues: a newer producer may
// have added a field, so unknown ones are ignored, while an unknown type or a
// missing required attribute is refused.
func Decode(b []byte) (Event, error) {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return Event{}, fmt.Errorf("%w: not one JSON object of the CloudEvents form", ErrMalformed)
	}
	if w.SpecVersion != "1.0" {
		return Event{}, fmt.Errorf("%w: specversion is not 1.0", ErrMalformed)
	}
	t, err := parseStored(w.Type)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if w.ID == "" || w.Source == "" {
		return Event{}, fmt.Errorf("%w: id and source are required", ErrMalformed)
	}
	at, err := time.Parse(time.RFC3339Nano, w.Time)
	if err != nil {
		return Event{}, fmt.Errorf("%w: time is not RFC 3339", ErrMalformed)
	}
	e := Event{
		ID: w.ID, Source: w.Source, Type: t, Subject: w.Subject, Time: at, DataSchema: w.DataSchema, Data: w.Data,
		Origin: w.Origin, Key: w.Key, CorrelationID: w.CorrelationID, UserID: identity.UserID(w.UserID),
	}
	if w.ReceivedAt != "" {
		if e.ReceivedAt, err = time.Parse(time.RFC3339Nano, w.ReceivedAt); err != nil {
			return Event{}, fmt.Errorf("%w: receivedat is not RFC 3339", ErrMalformed)
		}
	}
	return e, nil
}

// maxKeyID bounds the readable part of a key, so that suffixes (fan-out, replay)
// fit into the broker's 128 characters for a MessageId.
const maxKeyID = 40

// NewKey is the idempotency key of the event that a configured source named
// origin calls id. Short plain ids stay readable, all others are hashed.
func NewKey(origin, id string) string {
	if len(id) > maxKeyID || !plain(id) {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])[:maxKeyID]
	}
	return origin + ":" + id
}

func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
		if !ok {
			return false
		}
	}
	return s != ""
}

// Observed is an event that one of our own functions makes of what it saw: origin is
// the name that its source goes by, id what the sender calls it. Data is one of the
// types of this package.
func Observed(origin, id string, t Type, subject string, at, receivedAt time.Time, data any) (Event, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %s", ErrBadData, t)
	}
	return Event{
		ID: id, Source: "/" + origin, Type: t, Subject: subject, Time: at, Data: encoded,
		ReceivedAt: receivedAt, Origin: origin, Key: NewKey(origin, id),
	}, nil
}
