package ingest

import (
	"context"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/strictjson"
)

// Tried is what a payload would come to.
type Tried struct {
	Events []event.Event
	// Reason says why the payload, or some of it, would be parked; empty when it would not.
	Reason Reason
	Detail string
}

// Try maps and judges a payload as a handler does with a delivery of the source, but asks
// for no signature and sends nothing: for whoever writes a mapping. Of the source, its
// name, format, stream, mapping, time zone and types count; of a token the body is the
// claims. Errors are a mapping.ErrProgram, or that of ctx.
func Try(ctx context.Context, s Source, c Catalog, body []byte, at time.Time) (Tried, error) {
	program, err := compileMapping(s.Mapping)
	if err != nil {
		return Tried{}, err
	}
	src := &source{Source: s, program: program, scope: s.Types, facts: map[string]any{"name": s.Name, "timeZone": s.TimeZone}}
	value, err := strictjson.Decode(body)
	if err != nil {
		return Tried{Reason: ReasonNotDecodable, Detail: err.Error()}, nil
	}
	anonymous := false
	if s.Format == SecurityEvents && s.Stream != nil {
		claims, _ := value.(map[string]any)
		token, err := s.Stream.Read(claims)
		if err != nil {
			return Tried{Reason: ReasonNotDecodable, Detail: err.Error()}, nil
		}
		value, anonymous = token.Value(), token.Person.IsZero()
	}
	d := delivery{src: src, anonymous: anonymous, items: []item{{value: value, raw: body}}, keys: keysOf(src, "", value, body), receivedAt: at}
	res, err := (&Handler{catalog: c, prefix: "/hr/"}).translate(ctx, d)
	if err != nil {
		return Tried{}, err
	}
	tried := Tried{Events: res.events}
	for _, p := range res.parked {
		tried.Reason, tried.Detail = p.reason, p.detail
	}
	return tried, nil
}
