package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/strictjson"
	"mfaflow/pkg/webhook"
)

// Format is what a source sends. The zero value is invalid.
type Format string

// The formats.
const (
	// CloudEvents are canonical events: structured, batched, or binary where the
	// attributes are signed.
	CloudEvents Format = "cloudevents"
	// Mapped are payloads of the sender's own making, turned into canonical events
	// by the mapping program of the source.
	Mapped Format = "mapped"
	// SecurityEvents are Security Event Tokens, one a delivery (RFC 8935), turned into
	// canonical events by a mapping program.
	SecurityEvents Format = "secevent"
)

// Source is one configured sender.
type Source struct {
	// Name is the last element of the source's URL and the origin of its events.
	Name   string `json:"name"`
	Format Format `json:"format"`
	// Verify says how its deliveries are authenticated. Without it the source has
	// no URL and can only come in by EventBridge. Tokens authenticate themselves: for
	// them it is what a transmitter shows beside, as configured there.
	Verify *webhook.Config `json:"verify,omitempty"`
	// Stream says how the tokens of the format secevent are verified.
	Stream *secevent.Stream `json:"stream,omitempty"`
	// Challenge names the vendor whose question, whether this is the right place, is
	// answered: okta asks before an event hook is active.
	Challenge Challenge `json:"challenge,omitempty"`
	// EventBridge are the bus events that are deliveries of this source.
	EventBridge *EventBridgeRule `json:"eventBridge,omitempty"`
	// Mapping is a jq program, or the name of one in events/mappings; for tokens it is
	// ssf unless another is named.
	Mapping string `json:"mapping,omitempty"`
	// Form accepts application/x-www-form-urlencoded beside JSON. It does not go with
	// a signature that has a header right beside the body, as BambooHR's.
	Form bool `json:"form,omitempty"`
	// Unsigned are bodies that are answered like any other, without a signature, and come
	// to nothing: what a vendor tries an address with before it signs anything.
	Unsigned []string `json:"unsigned,omitempty"`
	// Types is the scope: the event types the source may send.
	Types []string `json:"types"`
	// TimeZone is the IANA zone that a mapping falls back to.
	TimeZone string `json:"timeZone,omitempty"`
	// AllowedOrigins are the hosts that may ask for consent to deliver CloudEvents
	// (OPTIONS handshake), and AllowedRate how many requests a minute they may send;
	// zero is any number.
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
	AllowedRate    int      `json:"allowedRate,omitempty"`
}

// EventBridgeRule matches bus events; an empty DetailType matches all of a source.
type EventBridgeRule struct {
	Source     string `json:"source"`
	DetailType string `json:"detailType,omitempty"`
}

func (r EventBridgeRule) matches(source, detailType string) bool {
	return r.Source == source && (r.DetailType == "" || r.DetailType == detailType)
}

// ParseSources reads a JSON array of sources; unknown and doubled fields are
// refused. It does not validate.
func ParseSources(raw []byte) ([]Source, error) {
	if err := strictjson.Check(raw); err != nil {
		return nil, fmt.Errorf("sources: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var sources []Source
	if err := dec.Decode(&sources); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field == "" {
			return nil, errors.New("sources: not an array of objects: put [ ] around a single source")
		}
		return nil, fmt.Errorf("sources: %w", err)
	}
	return sources, nil
}

// WithKeys returns the sources with the keys that are configured apart from them,
// by source name. Keys for a source that does not exist, or that verifies nothing,
// are an error.
func WithKeys[K ~[]identity.Secret](sources []Source, keys map[string]K) ([]Source, error) {
	out := slices.Clone(sources)
	unused := map[string]bool{}
	for name := range keys {
		unused[name] = true
	}
	for i, s := range out {
		if s.Verify == nil || len(keys[s.Name]) == 0 {
			continue
		}
		v := *s.Verify
		v.Keys = append(slices.Clone(v.Keys), keys[s.Name]...)
		out[i].Verify = &v
		delete(unused, s.Name)
	}
	var problems []error
	for name := range unused {
		problems = append(problems, fmt.Errorf("keys of %q: no source of that name verifies deliveries", name))
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out, errors.Join(problems...)
}

// Validate reports every problem of the source.
func (s Source) Validate() error {
	_, err := s.compile()
	return err
}

// source is a Source ready for use.
type source struct {
	Source
	verifier *webhook.Verifier // nil: not reachable over HTTP, or nothing beside a token
	tokens   *secevent.Verifier
	program  *mapping.Program // nil: CloudEvents
	scope    event.Scope
	// facts is $source of the mapping program.
	facts map[string]any
}

// Posts reports whether the source delivers to a URL, and not only by an event bus.
func (s Source) Posts() bool { return s.Verify != nil || s.Stream != nil }

// binaryIsSigned reports whether nobody but the sender can have chosen what the
// headers of a binary CloudEvent say. ce-specversion and extensions say nothing that
// is acted on.
func (s *source) binaryIsSigned(h http.Header) bool {
	if !s.verifier.Signs() {
		return true // nothing is signed: whoever has the secret may say anything
	}
	for _, attribute := range []string{"Ce-Id", "Ce-Source", "Ce-Type", "Ce-Subject", "Ce-Time"} {
		if !s.verifier.Covers(attribute) {
			return false
		}
	}
	return h.Get("Ce-Dataschema") == "" || s.verifier.Covers("Ce-Dataschema")
}

// isName reports whether s is made of a to z, 0 to 9 and hyphens between them.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(s, "-") == s
}

func (s Source) compile() (*source, error) {
	out := &source{Source: s, facts: map[string]any{"name": s.Name, "timeZone": s.TimeZone}}
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("source %q: %w", s.Name, err))
		}
	}
	if !isName(s.Name) || len(s.Name) > 32 {
		add(errors.New("name: use at most 32 of a to z, 0 to 9 and -"))
	}
	if s.Name == event.Operator {
		add(errors.New("name: is the one that operators' words go by"))
	}
	var err error
	switch s.Format {
	case CloudEvents:
		if s.Mapping != "" || s.Form || len(s.Unsigned) > 0 {
			add(errors.New("mapping, form and unsigned are for the format mapped"))
		}
	case Mapped:
		out.program, err = compileMapping(s.Mapping)
		add(err)
		if len(s.AllowedOrigins) > 0 {
			add(errors.New("allowedOrigins is for the format cloudevents"))
		}
	case SecurityEvents:
		if out.Mapping == "" {
			out.Mapping = "ssf"
		}
		out.program, err = compileMapping(out.Mapping)
		add(err)
		if s.Form || len(s.AllowedOrigins) > 0 || s.EventBridge != nil {
			add(errors.New("form, allowedOrigins and eventBridge are not for the format secevent"))
		}
		if s.Stream == nil {
			add(errors.New("stream: is required for the format secevent"))
		}
	default:
		add(fmt.Errorf("format: %q is none of cloudevents, mapped and secevent", s.Format))
	}
	if s.Stream != nil {
		add(s.Stream.Validate())
		if s.Format != SecurityEvents {
			add(errors.New("stream: is for the format secevent"))
		}
	}
	if s.Verify != nil {
		out.verifier, err = webhook.New(*s.Verify)
		add(err)
		if err == nil && s.Form && !out.verifier.TakesForms() {
			add(errors.New("form: no form can verify, because the signed content has a header right beside the body, where only JSON has an end of its own"))
		}
	}
	if s.EventBridge != nil && s.EventBridge.Source == "" {
		add(errors.New("eventBridge.source: is required"))
	}
	if s.Verify == nil && s.EventBridge == nil && s.Format != SecurityEvents {
		add(errors.New("verify or eventBridge: is required"))
	}
	if s.Verify == nil || out.verifier != nil { // else that is the fault
		add(s.checkChallenge(out.verifier))
	}
	if len(s.Types) == 0 {
		add(errors.New("types: name the event types it may send"))
	}
	for _, t := range s.Types {
		_, err := event.ParseScope([]string{t})
		add(err)
	}
	out.scope = s.Types
	if s.TimeZone != "" {
		if _, err := event.ParseTimeZone(s.TimeZone); err != nil {
			add(fmt.Errorf("timeZone: %w", err))
		}
	}
	if s.AllowedRate < 0 {
		add(errors.New("allowedRate: negative"))
	}
	return out, errors.Join(problems...)
}

func compileMapping(text string) (*mapping.Program, error) {
	if text == "" {
		return nil, errors.New("mapping: is required for the format mapped")
	}
	program, err := mapping.Open(text)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return program, nil
}

// Validate reports what is wrong with the sources, each by itself and together, and for
// a function that takes event streams or does not.
func Validate(sources []Source, streams bool) error {
	_, err := compileAll(sources)
	problems := []error{err}
	for _, s := range sources {
		if s.Stream != nil && !streams {
			problems = append(problems, s.noStreams())
		}
	}
	return errors.Join(problems...)
}

func (s Source) noStreams() error {
	return fmt.Errorf("source %q: stream: this function takes no security event tokens", s.Name)
}

// compileAll reports the problems of all sources.
func compileAll(sources []Source) ([]*source, error) {
	var (
		out      []*source
		problems []error
	)
	if len(sources) == 0 {
		problems = append(problems, errors.New("no source is configured"))
	}
	for i, s := range sources {
		c, err := s.compile()
		problems = append(problems, err)
		out = append(out, c)
		for _, other := range sources[:i] {
			if other.Name == s.Name {
				problems = append(problems, fmt.Errorf("source %q: is there twice", s.Name))
			}
			if a, b := other.EventBridge, s.EventBridge; a != nil && b != nil && *a == *b {
				problems = append(problems, fmt.Errorf("source %q: takes the same bus events as %q", s.Name, other.Name))
			}
		}
	}
	return out, errors.Join(problems...)
}
