package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/strictjson"
)

// ErrNotBusEvent: the bytes are no EventBridge event. Only a wrong trigger does
// that, so it is an error and not parked.
var ErrNotBusEvent = errors.New("not an EventBridge event")

// EventBridge takes an event of a bus whose resource policy has authenticated the
// sender. Its detail is the delivery, its id the idempotency key. What cannot be
// used is parked, since there is nobody to answer; an error means that the broker
// did not accept and that the bus must deliver again.
func (h *Handler) EventBridge(ctx context.Context, raw json.RawMessage) error {
	began := h.now()
	var e struct {
		ID         string          `json:"id"`
		Source     string          `json:"source"`
		DetailType string          `json:"detail-type"`
		Detail     json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal(raw, &e); err != nil || e.ID == "" {
		return ErrNotBusEvent
	}
	id := strings.ToLower(e.ID)
	if !correlation.IsUUID(id) {
		id = correlation.New()
	}
	ctx = correlation.With(ctx, id)
	d := delivery{receivedAt: began, correlation: id, items: []item{{raw: e.Detail, media: "application/json"}}}
	for _, src := range h.sources {
		if src.EventBridge != nil && src.EventBridge.matches(e.Source, e.DetailType) {
			d.src = src
			break
		}
	}
	res, err := h.settleBus(ctx, &d, e.ID)
	if err != nil {
		no := refusalOf(err) // the cause goes to the runtime, which logs it
		h.line(ctx, slog.LevelError, began, outcomeLine{source: d.src.Name, outcome: "unavailable", status: no.status, key: d.keys.delivery(), reason: no.reason})
		return err
	}
	h.report(ctx, began, d.src.Name, http.StatusAccepted, res)
	return nil
}

func (h *Handler) settleBus(ctx context.Context, d *delivery, id string) (result, error) {
	if d.src == nil {
		d.src = &source{Source: Source{Name: "eventbridge"}}
		d.keys = keys{origin: d.src.Name, id: id}
		return h.parkBus(ctx, *d, ReasonUnknownSource, "no source is configured for the source and detail-type of the bus event")
	}
	d.keys = keys{origin: d.src.Name, id: id}
	value, err := strictjson.Decode(d.items[0].raw)
	if err != nil {
		return h.parkBus(ctx, *d, ReasonNotDecodable, err.Error())
	}
	d.items[0].value = value
	res, err := h.settle(ctx, *d)
	if err == nil && len(res.wrong) > 0 {
		return h.parkBus(ctx, *d, ReasonInvalid, describe(res.wrong))
	}
	return res, err
}

func (h *Handler) parkBus(ctx context.Context, d delivery, reason Reason, detail string) (result, error) {
	res := result{parked: []parked{{key: d.keys.delivery(), reason: reason, detail: detail, item: d.items[0]}}}
	return res, h.send(ctx, d, res)
}
