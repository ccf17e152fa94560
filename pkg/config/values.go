package config

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/plan"
)

// Secret is an identity.Secret that a variable can fill.
type Secret struct{ identity.Secret }

// UnmarshalText takes any text.
func (s *Secret) UnmarshalText(b []byte) error {
	s.Secret = identity.NewSecret(string(b))
	return nil
}

// IsSet reports whether the variable was given and is not empty.
func (s Secret) IsSet() bool { return s.Reveal() != "" }

// Document is a JSON document: inline, or the content of a file named as @path.
// Because it may hold keys it hides itself like a secret.
type Document struct{ identity.Secret }

// UnmarshalText reads the document and checks that it is JSON.
func (d *Document) UnmarshalText(b []byte) error {
	if path, named := strings.CutPrefix(string(b), "@"); named {
		var err error
		if b, err = os.ReadFile(path); err != nil {
			return decodeError("names a file that cannot be read")
		}
	}
	if !json.Valid(b) {
		return decodeError("is not a JSON document and not @ with the path of one")
	}
	d.Secret = identity.NewSecret(string(b))
	return nil
}

// Bytes is the document; empty when none was given.
func (d Document) Bytes() []byte { return []byte(d.Reveal()) }

// SourceKeys are the keys of each source by its name.
type SourceKeys map[string][]identity.Secret

// UnmarshalText reads a JSON object of string arrays.
func (k *SourceKeys) UnmarshalText(b []byte) error {
	var plain map[string][]string
	if err := decodeStrictly(b, &plain); err != nil {
		return decodeError(`is not a JSON object such as {"workday": ["whsec_..."]}`)
	}
	keys := SourceKeys{}
	for source, list := range plain {
		for _, key := range list {
			keys[source] = append(keys[source], identity.NewSecret(key))
		}
	}
	*k = keys
	return nil
}

// SourceScopes are the event types each source may send.
type SourceScopes map[string]event.Scope

// UnmarshalText reads a JSON object of string arrays.
func (s *SourceScopes) UnmarshalText(b []byte) error {
	var plain map[string][]string
	if err := decodeStrictly(b, &plain); err != nil {
		return decodeError(`is not a JSON object such as {"workday": ["employee.*"]}`)
	}
	scopes := SourceScopes{}
	for source, entries := range plain {
		scope, err := event.ParseScope(entries)
		if err != nil {
			return decodeError("has an entry that matches no event type")
		}
		scopes[source] = scope
	}
	*s = scopes
	return nil
}

// Operators are the names of operators by role and session.
type Operators map[string]map[string]string

// UnmarshalText reads a JSON object of objects.
func (o *Operators) UnmarshalText(b []byte) error {
	var all map[string]map[string]string
	if err := decodeStrictly(b, &all); err != nil {
		return decodeError(`is not a JSON object such as {"arn:aws:iam::123456789012:role/name": {"<sub>": "ada@contoso.example"}}`)
	}
	*o = all
	return nil
}

func decodeStrictly(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return decodeError("has more than one JSON value")
	}
	return nil
}

// TimeOfDay is a local wall-clock time without a date.
type TimeOfDay struct{ Hour, Minute int }

// UnmarshalText reads 07:30.
func (t *TimeOfDay) UnmarshalText(b []byte) error {
	v, err := time.Parse("15:04", string(b))
	if err != nil || len(b) != len("15:04") {
		return decodeError("is not a time of day such as 07:30")
	}
	*t = TimeOfDay{v.Hour(), v.Minute()}
	return nil
}

// TimeZone is an IANA time zone. The zero value is none.
type TimeZone struct{ *time.Location }

// UnmarshalText reads Europe/Berlin.
func (z *TimeZone) UnmarshalText(b []byte) error {
	location, err := event.ParseTimeZone(string(b))
	if err != nil {
		return decodeError("is not an IANA time zone such as Europe/Berlin")
	}
	z.Location = location
	return nil
}

// Channel is a way to give a pass to its owner. The zero value is invalid.
type Channel string

// The channels.
const (
	Manager      Channel = "manager"
	PersonalMail Channel = "personal-mail"
	Handover     Channel = "handover"
)

// UnmarshalText refuses unknown channels.
func (c *Channel) UnmarshalText(b []byte) error {
	switch v := Channel(strings.TrimSpace(string(b))); v {
	case Manager, PersonalMail, Handover:
		*c = v
		return nil
	default:
		return decodeError("names a channel that is none of manager, personal-mail and handover")
	}
}

// Budget says how many requests Graph gets. The zero value is invalid.
type Budget string

// The budgets.
const (
	BudgetDocumented Budget = "documented"
	BudgetNone       Budget = "none"
)

// UnmarshalText refuses unknown budgets.
func (b *Budget) UnmarshalText(text []byte) error {
	switch v := Budget(text); v {
	case BudgetDocumented, BudgetNone:
		*b = v
		return nil
	default:
		return decodeError("is neither documented nor none")
	}
}

// Response is what follows a signal that the owner decides on. The zero value is
// invalid.
type Response plan.Response

// UnmarshalText refuses unknown responses.
func (r *Response) UnmarshalText(b []byte) error {
	switch v := plan.Response(b); v {
	case plan.Record, plan.RaiseFlag, plan.Revoke, plan.Reregister, plan.Compromise:
		*r = Response(v)
		return nil
	default:
		return decodeError("is none of record, flag, revoke, reregister and compromise")
	}
}

// ObjectIDs are object ids of users, in lower case.
type ObjectIDs []identity.UserID

// UnmarshalText reads a comma-separated list. It refuses what is no GUID: a
// protected account that is misspelled would be unprotected.
func (ids *ObjectIDs) UnmarshalText(b []byte) error {
	*ids = nil
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	for s := range strings.SplitSeq(string(b), ",") {
		s = strings.ToLower(strings.TrimSpace(s))
		if !identity.IsGUID(s) {
			return decodeError("lists something that is no object id")
		}
		*ids = append(*ids, identity.UserID(s))
	}
	return nil
}
