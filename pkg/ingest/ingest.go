// Package ingest takes events in: it authenticates a delivery over its exact bytes,
// decodes it strictly, maps and validates it, and answers only when the broker has
// accepted what came of it. It keeps no state: a repeated delivery makes the same
// messages under the same ids, and the broker drops those.
//
// It knows no broker client, no cloud runtime and no directory.
//
// # What is answered
//
//	202  every event of the delivery is on the inbound queue (also: a duplicate, or
//	     authentic content that cannot be used and is on the quarantine queue)
//	400  canonical events that are not strict JSON or violate their schema: the answer
//	     names every wrong field, and nothing of the delivery is taken
//	400  a security event token that is refused, with err and description (RFC 8935
//	     section 2.3); err is authentication_failed until the signature is verified
//	401  not authentic       404  no such source      405  not POST
//	413  over 248 KiB        415  media type or content encoding not taken
//	503  the broker did not accept all of it in time, or the keys to verify a token with
//	     are out of reach: send the same again
//
// # Why 248 KiB
//
// A message of the Standard tier has 256 KiB, with its properties. What is authentic
// and cannot be used is parked as it came, together with what is wrong with it, so a
// body of 256 KiB could be taken when it is good and only be lost when it is not.
//
// # Why binary mode needs signed headers
//
// A binary CloudEvent has its attributes in headers. A signature over the body alone
// would serve any type, subject or time that somebody puts beside the same data. So
// a source that signs may use binary mode only when its signed content names ce-id,
// ce-source, ce-type, ce-subject and ce-time (and ce-dataschema, when that is sent).
// No preset does. Sources with a bearer token or password sign nothing, and may.
//
// # Why mapped payloads are parked and canonical events refused
//
// Who sends canonical events can correct them. An HR system cannot correct its own
// payload, and many drop an event for good after a 4xx. That holds for a payload that
// is not even JSON.
package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/inbound"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/webhook"
)

// MaxBody bounds a delivery. It is what the broker's Standard tier takes less 8 KiB:
// the properties of a parked message have at most 2 KiB, which travel twice when the
// message goes in a batch.
const MaxBody = 248 << 10

// maxEvents bounds a batch, as the outputs of a mapping are bounded.
const maxEvents = 500

// DefaultSendTimeout is how long the broker may take: senders give up after 3 s.
const DefaultSendTimeout = 1500 * time.Millisecond

// retryAfter is the Retry-After of a 503, in seconds.
const retryAfter = "5"

// Sender puts messages on a queue. Nil means that the broker has accepted all of
// them. After an error some may be on the queue; sending them again is safe.
// Errors are queue.ErrUnavailable and queue.ErrTooLarge.
type Sender interface {
	Send(ctx context.Context, queue string, msgs ...queue.Message) error
}

// Catalog judges a decoded event. *catalog.Catalog implements it.
type Catalog interface {
	ParseValue(v any) (event.Event, error)
}

// Options are what a Handler is made of.
type Options struct {
	// Prefix is what comes before the name of the source in its path, such as "/hr/".
	Prefix  string
	Sources []Source
	// Keys is where the keys of a stream with a keysURL come from. Nil refuses such
	// streams: the function takes none.
	Keys    func(url string) secevent.KeySource
	Catalog Catalog
	Sender  Sender
	// Clock is the time of day; nil is time.Now.
	Clock func() time.Time
	// Logger gets one line per outcome. It should add the correlation id of its
	// context, as that of package telemetry does.
	Logger *slog.Logger
	// Metrics counts what came in and what became of it, and what streams say of themselves;
	// nil counts nothing.
	Metrics *telemetry.Metrics
	// InboundQueue takes events, QuarantineQueue what cannot be used.
	InboundQueue    string
	QuarantineQueue string
	// SendTimeout bounds the broker's acceptance; zero is DefaultSendTimeout.
	SendTimeout time.Duration
}

// Handler answers POST <prefix>{source} and takes bus events. It is safe for
// concurrent use.
type Handler struct {
	prefix   string
	sources  []*source
	byName   map[string]*source
	catalog  Catalog
	sender   Sender
	now      func() time.Time
	log      *slog.Logger
	metrics  *telemetry.Metrics
	inbound  string
	parking  string
	patience time.Duration
}

// New compiles the sources and reports every problem in them.
func New(o Options) (*Handler, error) {
	sources, err := compileAll(o.Sources)
	if err != nil {
		return nil, err
	}
	if o.Prefix == "" || o.Catalog == nil || o.Sender == nil || o.Logger == nil || o.InboundQueue == "" || o.QuarantineQueue == "" {
		return nil, errors.New("ingest needs a path, a catalogue, a sender, a logger and the names of its queues")
	}
	for _, s := range sources {
		if err := s.verifyTokens(o.Keys); err != nil {
			return nil, err
		}
	}
	h := &Handler{
		prefix: o.Prefix, metrics: o.Metrics, sources: sources, byName: map[string]*source{}, catalog: o.Catalog, sender: o.Sender, now: o.Clock, log: o.Logger,
		inbound: o.InboundQueue, parking: o.QuarantineQueue, patience: o.SendTimeout,
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.patience == 0 {
		h.patience = DefaultSendTimeout
	}
	for _, s := range sources {
		h.byName[s.Name] = s
	}
	return h, nil
}

// ServeHTTP answers one delivery. No path is cleaned, as http.ServeMux would with a
// redirect: many senders count that as delivered.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.now()
	ctx := correlation.Accept(r.Context(), r.Header)
	id := correlation.ID(ctx)
	name, ok := strings.CutPrefix(r.URL.Path, h.prefix)
	src := h.byName[name]
	if !ok || src == nil || !src.Posts() {
		// The name is not logged: anybody can make one up.
		h.answer(ctx, w, began, "", &refusal{status: http.StatusNotFound, reason: "unknown-source"})
		return
	}
	w.Header().Set("X-Correlation-Id", id)
	if r.Method == http.MethodOptions && handshake(w, r, src) {
		h.line(ctx, slog.LevelInfo, began, outcomeLine{source: src.Name, outcome: "consented", status: http.StatusOK})
		return
	}
	if r.Method == http.MethodGet && src.Challenge == OktaChallenge {
		if no := h.meet(w, r, src); no != nil {
			h.answer(ctx, w, began, src.Name, no)
			return
		}
		h.line(ctx, slog.LevelInfo, began, outcomeLine{source: src.Name, outcome: "consented", status: http.StatusOK})
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.answer(ctx, w, began, src.Name, &refusal{status: http.StatusMethodNotAllowed, reason: "method"})
		return
	}
	if src.tokens != nil {
		h.push(ctx, w, r, began, src)
		return
	}
	d, no := h.receive(w, r, src)
	if no != nil {
		h.answer(ctx, w, began, src.Name, no)
		return
	}
	d.receivedAt, d.correlation = began, id
	res, err := h.settle(ctx, d)
	if err != nil {
		h.answer(ctx, w, began, src.Name, refusalOf(err))
		return
	}
	if len(res.wrong) > 0 {
		h.answer(ctx, w, began, src.Name, &refusal{
			status: http.StatusBadRequest, reason: string(ReasonInvalid), fields: res.wrong, detail: "the event violates its schema",
		})
		return
	}
	w.WriteHeader(http.StatusAccepted)
	h.report(ctx, began, src.Name, http.StatusAccepted, res)
}

// receive authenticates and decodes, in this order: size, signature over the bytes as
// sent, content type, JSON. Whoever cannot sign learns nothing of what is taken.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, src *source) (delivery, *refusal) {
	body, no := read(w, r)
	if no != nil {
		return delivery{}, no
	}
	signed, err := src.verifier.Verify(r.Header, body, h.now())
	if errors.Is(err, webhook.ErrUnsigned) && slices.Contains(src.Unsigned, string(bytes.TrimSpace(body))) {
		return delivery{src: src}, nil
	}
	if err != nil {
		return delivery{}, unauthentic(w, src, err)
	}
	m, media, ok := modeOf(src, r.Header)
	if !ok {
		return delivery{}, &refusal{status: http.StatusUnsupportedMediaType, reason: "media-type"}
	}
	if m == binary && !src.binaryIsSigned(r.Header) {
		return delivery{}, &refusal{
			status: http.StatusUnsupportedMediaType, reason: "binary-unsigned",
			detail: "the signature does not cover the ce- headers: send the event in structured form, as application/cloudevents+json",
		}
	}
	items, err := decode(m, media, r.Header, body)
	if err != nil && src.Format == CloudEvents {
		return delivery{}, &refusal{status: http.StatusBadRequest, reason: string(ReasonNotDecodable), detail: err.Error()}
	}
	if len(items) > maxEvents {
		return delivery{}, &refusal{status: http.StatusRequestEntityTooLarge, reason: "too-many"}
	}
	d := delivery{src: src, items: items, batch: m == batched, unreadable: err}
	if len(items) > 0 {
		d.keys = keysOf(src, signed.ID, items[0].value, body)
	}
	return d, nil
}

// read takes the body as it was sent, up to MaxBody.
func read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.ContentLength > MaxBody {
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, reason: "too-large"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, reason: "too-large"}
	}
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, reason: "body-cut-off", detail: "the body ended early"}
	}
	return body, nil
}

func unauthentic(w http.ResponseWriter, src *source, err error) *refusal {
	w.Header().Set("WWW-Authenticate", src.verifier.Challenge())
	return &refusal{status: http.StatusUnauthorized, reason: unauthenticReason(err)}
}

// settle judges a delivery and puts what came of it on the queues. When fields are
// wrong, nothing of the delivery is taken.
func (h *Handler) settle(ctx context.Context, d delivery) (result, error) {
	res := result{}
	switch {
	case len(d.items) == 0: // an empty batch, or a vendor's try
	case d.unreadable != nil:
		res.parked = []parked{{key: d.keys.delivery(), reason: ReasonNotDecodable, detail: d.unreadable.Error(), item: d.items[0]}}
	case d.src.program == nil:
		res = h.judge(d)
	default:
		var err error
		if res, err = h.translate(ctx, d); err != nil {
			return result{}, err
		}
	}
	if len(res.wrong) > 0 {
		return res, nil
	}
	return res, h.send(ctx, d, res)
}

// send puts events and parked content on their queues, both within the patience
// that is left for the broker.
func (h *Handler) send(ctx context.Context, d delivery, res result) error {
	events := make([]queue.Message, len(res.events))
	for i, e := range res.events {
		var err error
		if events[i], err = inbound.Message(e); err != nil {
			return err
		}
	}
	unusable := make([]queue.Message, len(res.parked))
	for i, p := range res.parked {
		unusable[i] = p.message(d)
	}
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	if len(events) > 0 {
		if err := h.sender.Send(ctx, h.inbound, events...); err != nil {
			return err
		}
	}
	if len(unusable) > 0 {
		return h.sender.Send(ctx, h.parking, unusable...)
	}
	return nil
}

// refusal is an answer other than 202.
type refusal struct {
	status int
	reason string
	detail string
	fields []catalog.FieldError
	cause  error
	// code is err of RFC 8935; with it the answer is for a transmitter.
	code string
}

// refusalOf turns a failure on the way to the broker into an answer.
func refusalOf(err error) *refusal {
	if errors.Is(err, queue.ErrTooLarge) {
		return &refusal{status: http.StatusRequestEntityTooLarge, reason: "too-large-for-queue", cause: err}
	}
	return &refusal{status: http.StatusServiceUnavailable, reason: "broker-unavailable", cause: err}
}

func unauthenticReason(err error) string {
	switch {
	case errors.Is(err, webhook.ErrUnsigned):
		return "unsigned"
	case errors.Is(err, webhook.ErrStale):
		return "stale"
	case errors.Is(err, webhook.ErrMalformed):
		return "malformed-signature"
	default:
		return "bad-signature"
	}
}

// maxFields bounds the size of an answer; a sender that has more wrong fields than
// that does not send events.
const maxFields = 1000

// answer refuses a delivery as problem details (RFC 9457). The reason is for the
// log: whoever cannot sign learns nothing.
func (h *Handler) answer(ctx context.Context, w http.ResponseWriter, began time.Time, source string, no *refusal) {
	problem := struct {
		Title  string               `json:"title"`
		Status int                  `json:"status"`
		Detail string               `json:"detail,omitempty"`
		Errors []catalog.FieldError `json:"errors,omitempty"`
	}{http.StatusText(no.status), no.status, no.detail, no.fields[:min(len(no.fields), maxFields)]}
	contentType, body := "application/problem+json", any(problem)
	if no.code != "" {
		w.Header().Set("Content-Language", "en")
		contentType, body = "application/json", map[string]string{"err": no.code, "description": no.detail}
	}
	w.Header().Set("Content-Type", contentType)
	if no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(body) // the sender may be gone
	h.refused(ctx, began, source, no)
}

func (h *Handler) refused(ctx context.Context, began time.Time, source string, no *refusal) {
	outcome, level := "rejected", slog.LevelWarn
	if no.status == http.StatusServiceUnavailable {
		outcome, level = "unavailable", slog.LevelError
	}
	h.line(ctx, level, began, outcomeLine{source: source, outcome: outcome, status: no.status, reason: no.reason, cause: no.cause})
}

// report logs what became of a delivery that was taken, one line per event and per
// parked part.
func (h *Handler) report(ctx context.Context, began time.Time, source string, status int, res result) {
	line := outcomeLine{source: source, status: status}
	for _, e := range res.events {
		line.outcome, line.key, line.typ = "accepted", e.Key, e.Type
		h.line(ctx, slog.LevelInfo, began, line)
	}
	for _, p := range res.parked {
		line.outcome, line.key, line.typ, line.reason = "parked", p.key, p.typ, string(p.reason)
		h.line(ctx, slog.LevelWarn, began, line)
	}
	if len(res.events)+len(res.parked) == 0 && res.said == "" {
		line.outcome = "ignored"
		h.line(ctx, slog.LevelInfo, began, line)
	}
}

type outcomeLine struct {
	source, outcome, key, reason string
	typ                          event.Type
	status                       int
	cause                        error
}

func (h *Handler) line(ctx context.Context, level slog.Level, began time.Time, l outcomeLine) {
	attrs := []slog.Attr{
		slog.String(telemetry.KeySource, l.source), slog.String(telemetry.KeyOutcome, l.outcome), slog.Int("status", l.status),
		slog.String(telemetry.KeyEvent, l.key), slog.String(telemetry.KeyType, string(l.typ)), slog.String(telemetry.KeyReason, l.reason),
		telemetry.Duration(h.now().Sub(began)),
	}
	if l.cause != nil {
		attrs = append(attrs, telemetry.Error(l.cause))
	}
	h.log.LogAttrs(ctx, level, "delivery", attrs...)
	h.count(ctx, telemetry.Dimensions{Source: l.source, Outcome: l.outcome, Reason: l.reason}, telemetry.MetricDeliveries)
}
