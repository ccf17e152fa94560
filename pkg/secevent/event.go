package secevent

// Event is a kind of event. The zero value is Unknown.
type Event string

// Unknown is an event type that is not in the table below.
const Unknown Event = ""

// The events of the stream itself (SSF 1.0 section 8).
const (
	Verification  Event = "verification"
	StreamUpdated Event = "stream-updated"
)

const schemas = "https://schemas.openid.net/secevent/"

// known are the event types of CAEP 1.0, RISC 1.0 and SSF 1.0. The older of two names
// of one event leads to the newer.
var known = map[string]Event{
	schemas + "caep/event-type/session-revoked":          "session-revoked",
	schemas + "caep/event-type/token-claims-change":      "token-claims-change",
	schemas + "caep/event-type/credential-change":        "credential-change",
	schemas + "caep/event-type/assurance-level-change":   "assurance-level-change",
	schemas + "caep/event-type/device-compliance-change": "device-compliance-change",
	schemas + "caep/event-type/session-established":      "session-established",
	schemas + "caep/event-type/session-presented":        "session-presented",
	schemas + "caep/event-type/risk-level-change":        "risk-level-change",

	schemas + "risc/event-type/account-credential-change-required": "account-credential-change-required",
	schemas + "risc/event-type/account-purged":                     "account-purged",
	schemas + "risc/event-type/account-disabled":                   "account-disabled",
	schemas + "risc/event-type/account-enabled":                    "account-enabled",
	schemas + "risc/event-type/identifier-changed":                 "identifier-changed",
	schemas + "risc/event-type/identifier-recycled":                "identifier-recycled",
	schemas + "risc/event-type/credential-compromise":              "credential-compromise",
	schemas + "risc/event-type/opt-in":                             "opt-in",
	schemas + "risc/event-type/opt-out-initiated":                  "opt-out-initiated",
	schemas + "risc/event-type/opt-out-cancelled":                  "opt-out-cancelled",
	schemas + "risc/event-type/opt-out-effective":                  "opt-out-effective",
	schemas + "risc/event-type/recovery-activated":                 "recovery-activated",
	schemas + "risc/event-type/recovery-information-changed":       "recovery-information-changed",
	schemas + "risc/event-type/sessions-revoked":                   "session-revoked",

	schemas + "ssf/event-type/verification":   Verification,
	schemas + "ssf/event-type/stream-updated": StreamUpdated,
	schemas + "sse/event-type/verification":   Verification,
	schemas + "sse/event-type/stream-updated": StreamUpdated,
}

// HasSubject reports whether the event must say whom it is about. That of a stream
// event is the stream, which older transmitters leave out.
func (e Event) HasSubject() bool { return e != Unknown && e != Verification && e != StreamUpdated }

// Status is what a stream-updated event says of its stream. The zero value is one
// that we do not know.
type Status string

// The statuses of a stream (SSF 1.0 section 8.1.2).
const (
	Enabled  Status = "enabled"
	Paused   Status = "paused"
	Disabled Status = "disabled"
)

// Status of the stream, for stream-updated.
func (t Token) Status() Status {
	switch s, _ := t.Claims["status"].(string); s {
	case string(Enabled), string(Paused), string(Disabled):
		return Status(s)
	default:
		return ""
	}
}
