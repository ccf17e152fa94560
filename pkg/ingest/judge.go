package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/queue"
)

// Reason says why an authentic delivery is parked. The list is closed; a runbook
// hangs on each.
type Reason string

// The reasons.
const (
	// ReasonMapping: the mapping program fails on the payload.
	ReasonMapping Reason = "mapping-failed"
	// ReasonNotDecodable: the payload of a mapped source, or what the bus delivers, is
	// not strict JSON, or no form with each field once.
	ReasonNotDecodable Reason = "not-decodable"
	// ReasonInvalid: what the mapping gives, or the bus delivers, violates the schema.
	ReasonInvalid Reason = "invalid-event"
	// ReasonUnknownType and ReasonUnknownVersion: the sender may be ahead of us.
	ReasonUnknownType    Reason = "unknown-type"
	ReasonUnknownVersion Reason = "unknown-version"
	// ReasonScope: the source may not send this type.
	ReasonScope Reason = "out-of-scope"
	// ReasonSubject: the subject of a token is nobody that the directory can be asked
	// for.
	ReasonSubject Reason = "unresolvable-subject"
	// ReasonUnknownSource: a bus event that no source is configured for.
	ReasonUnknownSource Reason = "unknown-source"
)

// result is what a delivery comes to: events for the inbound queue, parts for the
// quarantine queue, or fields that the sender must correct.
type result struct {
	events []event.Event
	parked []parked
	wrong  []catalog.FieldError
	// said is what a token is instead of an event.
	said string
}

// parked is authentic content that cannot be used. The detail names fields, never
// values.
type parked struct {
	key    string
	typ    event.Type // empty when unknown
	reason Reason
	detail string
	item   item
}

// delivery is an authentic delivery on its way.
type delivery struct {
	src         *source
	keys        keys
	receivedAt  time.Time
	correlation string
	items       []item
	// unreadable says why the one item of a mapped source has no value.
	unreadable error
	// anonymous is a token whose subject is nobody that could be looked up.
	anonymous bool
	// batch makes the pointers to wrong fields begin with the index of the event.
	batch bool
}

// judge validates canonical events, one by one.
func (h *Handler) judge(d delivery) result {
	var r result
	for i, it := range d.items {
		source, id := claimed(it.value)
		key := d.keys.of(i, len(d.items), source, id)
		e, err := h.catalog.ParseValue(it.value)
		invalid, ok := errors.AsType[*catalog.InvalidError](err)
		switch {
		case ok:
			prefix := ""
			if d.batch {
				prefix = "/" + strconv.Itoa(i)
			}
			for _, f := range invalid.Fields {
				r.wrong = append(r.wrong, catalog.FieldError{Pointer: prefix + f.Pointer, Problem: f.Problem})
			}
		case err != nil:
			r.parked = append(r.parked, parked{key: key, reason: reasonOf(err), detail: "/type or /dataschema is not in the catalogue", item: it})
		case !d.src.scope.Allows(e.Type):
			r.parked = append(r.parked, parked{key: key, typ: e.Type, reason: ReasonScope, detail: "/type is outside the scope of the source", item: it})
		default:
			r.events = append(r.events, d.complete(e, key))
		}
	}
	return r
}

// claimed is the identity an event gives itself, unjudged.
func claimed(v any) (source, id string) {
	m, _ := v.(map[string]any)
	source, _ = m["source"].(string)
	id, _ = m["id"].(string)
	return source, id
}

// translate maps a payload and validates what comes out. Whatever is wrong with
// some of the events, the payload is parked once, whole: the others go on, and a
// replay of the payload makes the same keys again.
func (h *Handler) translate(ctx context.Context, d delivery) (result, error) {
	it := d.items[0]
	outputs, err := d.src.program.Map(ctx, it.value, d.src.facts, d.receivedAt)
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	whole := parked{key: d.keys.delivery(), item: it}
	if err != nil {
		whole.reason, whole.detail = ReasonMapping, err.Error()
		return result{parked: []parked{whole}}, nil
	}
	if d.anonymous && len(outputs) > 0 {
		whole.reason, whole.detail = ReasonSubject, "the format or issuer of the subject is not one that the stream's subjects say how to look up"
		return result{parked: []parked{whole}}, nil
	}
	var (
		r        result
		problems []string
	)
	own := ownKeys{}
	for i, out := range outputs {
		key, named := own.take(d.keys.origin, out)
		if !named {
			key = d.keys.of(i, len(outputs), "", "")
		}
		e, reason, detail := h.judgeOutput(d, out, key)
		if reason == "" {
			r.events = append(r.events, e)
			continue
		}
		if whole.reason == "" {
			whole.reason, whole.typ = reason, e.Type
		}
		problems = append(problems, fmt.Sprintf("output %d: %s", i, detail))
	}
	if len(problems) > 0 {
		whole.detail = strings.Join(problems, "; ")
		r.parked = []parked{whole}
	}
	return r, nil
}

// judgeOutput adds to one output of a mapping what the envelope lacks and
// validates it.
func (h *Handler) judgeOutput(d delivery, out any, key string) (event.Event, Reason, string) {
	partial, ok := out.(map[string]any)
	if !ok {
		return event.Event{}, ReasonInvalid, "must be of type object"
	}
	whole := map[string]any{
		"specversion": "1.0", "id": key, "source": h.prefix + d.src.Name, "time": d.receivedAt.UTC().Format(time.RFC3339Nano),
	}
	maps.Copy(whole, partial)
	if _, named := partial["key"].(string); named {
		delete(whole, "key")
	}
	e, err := h.catalog.ParseValue(whole)
	invalid, isInvalid := errors.AsType[*catalog.InvalidError](err)
	switch {
	case isInvalid:
		return e, ReasonInvalid, describe(invalid.Fields)
	case err != nil:
		return e, reasonOf(err), "/type or /dataschema is not in the catalogue"
	case !d.src.scope.Allows(e.Type):
		return e, ReasonScope, "/type is outside the scope of the source"
	default:
		return d.complete(e, key), "", ""
	}
}

func describe(fields []catalog.FieldError) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.String()
	}
	return strings.Join(list, ", ")
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, catalog.ErrUnknownType):
		return ReasonUnknownType
	case errors.Is(err, catalog.ErrUnknownVersion):
		return ReasonUnknownVersion
	default:
		return ReasonInvalid
	}
}

// complete sets what only ingest may say of an event.
func (d delivery) complete(e event.Event, key string) event.Event {
	e.ReceivedAt, e.Origin, e.Key, e.CorrelationID, e.UserID = d.receivedAt, d.src.Name, key, d.correlation, ""
	return e
}

// maxDetail is in bytes. With it the properties of a parked message stay under 2 KiB.
const maxDetail = 1024

func (p parked) message(d delivery) queue.Message {
	detail := p.detail
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	m := queue.Message{
		ID: p.key, Key: p.key, CorrelationID: d.correlation, ContentType: p.item.media, Body: p.item.raw,
		Properties: map[string]string{queue.PropSource: d.src.Name, queue.PropReason: string(p.reason), queue.PropDetail: detail},
	}
	if p.typ != "" {
		m.Properties[queue.PropType] = string(p.typ)
	}
	return m
}
