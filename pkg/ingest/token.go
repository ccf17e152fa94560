package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/telemetry"
)

// tokenType is the media type of a Security Event Token (RFC 8417 section 7.3).
const tokenType = "application/secevent+jwt"

func (s *source) verifyTokens(keys func(url string) secevent.KeySource) error {
	if s.Stream == nil {
		return nil
	}
	if keys == nil {
		return s.noStreams()
	}
	var from secevent.KeySource
	if s.Stream.KeysURL != "" {
		from = keys(s.Stream.KeysURL)
	}
	var err error
	if s.tokens, err = secevent.New(*s.Stream, from); err != nil {
		return fmt.Errorf("source %q: stream: %w", s.Name, err)
	}
	return nil
}

// push takes a delivery of RFC 8935. What is no token by its headers is told so before
// anything is verified: the RFC says the same to everybody, and of a compressed token
// nothing could be verified.
func (h *Handler) push(ctx context.Context, w http.ResponseWriter, r *http.Request, began time.Time, src *source) {
	body, no := read(w, r)
	if no == nil && !carriesToken(r.Header) {
		no = &refusal{status: http.StatusUnsupportedMediaType, reason: "media-type", detail: "send one token as " + tokenType + ", not compressed"}
	}
	if no != nil {
		h.answer(ctx, w, began, src.Name, no)
		return
	}
	var err error
	if src.verifier != nil {
		if _, err = src.verifier.Verify(r.Header, body, h.now()); err != nil {
			err = fmt.Errorf("%w: %w", secevent.ErrUnauthentic, err)
		}
	}
	var res result
	if err == nil {
		res, err = h.take(ctx, began, src, body)
	}
	if err != nil {
		h.answer(ctx, w, began, src.Name, refusalOfToken(err))
		return
	}
	w.WriteHeader(http.StatusAccepted)
	h.report(ctx, began, src.Name, http.StatusAccepted, res)
}

func carriesToken(h http.Header) bool {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return false
	}
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && media == tokenType && len(h.Values("Content-Type")) == 1
}

// ErrNoStream: no source of the name has a stream.
var ErrNoStream = errors.New("no source of that name has an event stream")

// Token takes a token of a source that was not pushed but fetched (RFC 8936). Nil means
// that the broker has all that came of it. *TokenError is final; after any other error
// the token must be offered again.
func (h *Handler) Token(ctx context.Context, source string, token []byte) error {
	began := h.now()
	src := h.byName[source]
	if src == nil || src.tokens == nil {
		return fmt.Errorf("%w: %q", ErrNoStream, source)
	}
	if correlation.ID(ctx) == "" {
		ctx = correlation.With(ctx, correlation.New())
	}
	res, err := h.take(ctx, began, src, token)
	if err != nil {
		no := refusalOfToken(err)
		h.refused(ctx, began, src.Name, no)
		switch {
		case no.code != "":
			return &TokenError{Code: no.code, Description: no.detail}
		case no.status == http.StatusRequestEntityTooLarge:
			return &TokenError{Code: "invalid_request", Description: "what comes of the token is too large"}
		default:
			return err
		}
	}
	h.report(ctx, began, src.Name, http.StatusAccepted, res)
	return nil
}

// TokenError is what a transmitter is told of a token that is refused for good.
type TokenError struct {
	// Code is an error code of RFC 8935 section 2.4, Description a sentence.
	Code, Description string
}

func (e *TokenError) Error() string { return "token refused: " + e.Code + ": " + e.Description }

// take verifies a token and puts what comes of it on the queues. Errors are those of
// package secevent and of the Sender.
func (h *Handler) take(ctx context.Context, began time.Time, src *source, raw []byte) (result, error) {
	if len(raw) > MaxBody {
		return result{}, fmt.Errorf("%w: over 248 KiB", secevent.ErrUnauthentic)
	}
	token, err := src.tokens.Verify(ctx, raw, h.now())
	if err != nil {
		return result{}, err
	}
	if said, level := aside(token); said != "" {
		h.log.LogAttrs(ctx, level, "stream", slog.String(telemetry.KeySource, src.Name), slog.String(telemetry.KeyOutcome, said),
			slog.String(telemetry.KeyType, clip(token.Type)), slog.String(telemetry.KeyReason, clip(text(token.Claims["reason"]))))
		h.count(ctx, telemetry.Dimensions{Source: src.Name, Outcome: said}, telemetry.MetricStreamSignals)
		return result{said: said}, nil
	}
	return h.settle(ctx, delivery{
		src: src, keys: keys{origin: src.Name, id: token.Issuer + " " + token.ID}, receivedAt: began, correlation: correlation.ID(ctx),
		items: []item{{value: token.Value(), raw: raw, media: tokenType}}, anonymous: token.Person.IsZero(),
	})
}

// aside says what a token is that is no event about a person, and how loud that is to
// be told: a stream that stops would otherwise be a silence that looks like peace.
func aside(t secevent.Token) (said string, level slog.Level) {
	switch t.Event {
	case secevent.Unknown:
		return "unknown-event", slog.LevelWarn
	case secevent.Verification:
		return "stream-verified", slog.LevelInfo
	case secevent.StreamUpdated:
		switch t.Status() {
		case secevent.Enabled:
			return "stream-enabled", slog.LevelInfo
		case secevent.Paused:
			return "stream-paused", slog.LevelWarn
		case secevent.Disabled:
			return "stream-disabled", slog.LevelError
		default:
			return "stream-unknown-status", slog.LevelError
		}
	default:
		return "", slog.LevelInfo
	}
}

func (h *Handler) count(ctx context.Context, d telemetry.Dimensions, name string) {
	if h.metrics == nil {
		return
	}
	if err := h.metrics.Put(d, telemetry.Metric{Name: name, Unit: telemetry.Count, Value: 1}); err != nil {
		h.log.WarnContext(ctx, "metrics", telemetry.Error(err))
	}
}

// clip shortens a text of a transmitter for the log.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func text(v any) string { s, _ := v.(string); return s }

// refusalOfToken turns a failure into an answer. The codes are those of RFC 8935
// section 2.4 and, for a verification, of SSF 1.0 section 8.1.4.
func refusalOfToken(err error) *refusal {
	no := &refusal{status: http.StatusBadRequest, cause: err}
	switch {
	case errors.Is(err, secevent.ErrKeysUnavailable):
		return &refusal{status: http.StatusServiceUnavailable, reason: "keys-unavailable", cause: err}
	case errors.Is(err, secevent.ErrUnauthentic):
		no.code, no.reason, no.detail = "authentication_failed", "unauthentic", "the token is not authentic"
	case errors.Is(err, secevent.ErrIssuer):
		no.code, no.reason, no.detail = "invalid_issuer", "issuer", "the issuer is not that of this stream"
	case errors.Is(err, secevent.ErrAudience):
		no.code, no.reason, no.detail = "invalid_audience", "audience", "the audience is not that of this stream"
	case errors.Is(err, secevent.ErrState):
		no.code, no.reason, no.detail = "invalid_state", "verification-state", "the state is not the expected one"
	case errors.Is(err, secevent.ErrInvalid):
		no.code, no.reason, no.detail = "invalid_request", "invalid-token", err.Error()
	default:
		return refusalOf(err)
	}
	return no
}
