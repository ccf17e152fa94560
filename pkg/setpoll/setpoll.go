// Package setpoll fetches Security Event Tokens from transmitters that do not push, as
// RFC 8936 says.
//
// It looks into no token: who takes them verifies them, in the same way as those that
// are pushed. Its URLs and tokens of access come from the configuration alone.
//
// # Acknowledged when safe
//
// A token is acknowledged in the request after the one that brought it, and only once the
// broker has what came of it; one that is refused for good is reported with the reason.
// What is neither comes again with the next poll, and under the same keys.
package setpoll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/strictjson"
)

// Stream is an event stream with poll delivery (urn:ietf:rfc:8936).
type Stream struct {
	// Source says how its tokens are verified and what becomes of them: of the format
	// secevent, and by the name that a pushed stream of the same transmitter would have.
	Source ingest.Source
	// URL is endpoint_url of the stream's delivery.
	URL string
	// Token authenticates us there, as bearer token.
	Token identity.Secret
	// MaxEvents is how many tokens are asked for at once.
	MaxEvents int
}

const (
	defaultMaxEvents = 25
	mostEvents       = 500
	timeout          = 10 * time.Second
	// maxAnswer bounds an answer; a token has 2 KiB and less.
	maxAnswer = 8 << 20
	// maxRounds bounds one poll: a transmitter that always has more is a broken one.
	maxRounds = 1000
)

// Parse reads a JSON array of streams; unknown and doubled fields are refused. It
// validates what is not the source's.
func Parse(raw []byte) ([]Stream, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if err := strictjson.Check(raw); err != nil {
		return nil, fmt.Errorf("streams: %w", err)
	}
	var plain []struct {
		Source    ingest.Source `json:"source"`
		URL       string        `json:"url"`
		Token     string        `json:"token"`
		MaxEvents int           `json:"maxEvents"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&plain); err != nil {
		if strings.HasPrefix(err.Error(), "json: unknown field ") { // names the field, no value
			return nil, fmt.Errorf("streams: %w", err)
		}
		return nil, errors.New("streams: not an array of objects with source, url, token and maxEvents") // the cause may quote a token
	}
	var list []Stream
	var problems []error
	for _, p := range plain {
		s := Stream{Source: p.Source, URL: p.URL, Token: identity.NewSecret(p.Token), MaxEvents: p.MaxEvents}
		if s.MaxEvents == 0 {
			s.MaxEvents = defaultMaxEvents
		}
		add := func(bad bool, what string) {
			if bad {
				problems = append(problems, fmt.Errorf("stream %q: %s", p.Source.Name, what))
			}
		}
		u, err := url.Parse(s.URL)
		add(err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "", "url: is no https URL")
		add(p.Token == "", "token: is required")
		add(s.MaxEvents < 1 || s.MaxEvents > mostEvents, "maxEvents: is not between 1 and "+strconv.Itoa(mostEvents))
		add(s.Source.Format != ingest.SecurityEvents || s.Source.Verify != nil, "source: must be of the format secevent, and shows nothing beside its tokens")
		list = append(list, s)
	}
	return list, errors.Join(problems...)
}

// Taker takes tokens in. *ingest.Handler implements it.
type Taker interface {
	// Token is nil once the broker has what came of the token. *ingest.TokenError refuses
	// it for good; after any other error it must be offered again.
	Token(ctx context.Context, source string, token []byte) error
}

// Poller polls one stream. It implements sweep.Feed and is not safe for concurrent use.
type Poller struct {
	stream Stream
	taker  Taker
	http   *http.Client
}

// New makes a poller; transport nil is the default one.
func New(s Stream, taker Taker, transport http.RoundTripper) *Poller {
	return &Poller{stream: s, taker: taker, http: &http.Client{
		Timeout: timeout, Transport: transport,
		// The token is for the configured host and for no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Name is that of the source.
func (p *Poller) Name() string { return p.stream.Source.Name }

// request is that of RFC 8936 section 2.2.
type request struct {
	MaxEvents         int               `json:"maxEvents"`
	ReturnImmediately bool              `json:"returnImmediately"`
	Ack               []string          `json:"ack,omitempty"`
	SetErrs           map[string]setErr `json:"setErrs,omitempty"`
}

type setErr struct {
	Err         string `json:"err"`
	Description string `json:"description"`
}

// answer is that of section 2.3.
type answer struct {
	Sets          map[string]string `json:"sets"`
	MoreAvailable bool              `json:"moreAvailable"`
}

// Poll fetches until nothing more is there or ctx ends, and returns how many tokens were
// taken. Transmitters that are out of order are *identity.RetryError, those that refuse us
// identity.ErrForbidden or identity.ErrRefused.
func (p *Poller) Poll(ctx context.Context) (taken int, err error) {
	settled := request{}
	seen := map[string]bool{}
	for range maxRounds {
		settled.MaxEvents, settled.ReturnImmediately = p.stream.MaxEvents, true
		a, err := p.post(ctx, settled)
		if err != nil {
			return taken, err
		}
		settled = request{SetErrs: map[string]setErr{}}
		fresh := false
		var stop error
		for _, jti := range slices.Sorted(maps.Keys(a.Sets)) {
			fresh = fresh || !seen[jti]
			seen[jti] = true
			var refused *ingest.TokenError
			switch err := p.taker.Token(ctx, p.stream.Source.Name, []byte(a.Sets[jti])); {
			case err == nil:
				settled.Ack = append(settled.Ack, jti)
				taken++
			case errors.As(err, &refused):
				settled.SetErrs[jti] = setErr{refused.Code, refused.Description}
			default:
				stop = err
			}
			if stop != nil {
				break
			}
		}
		if stop != nil || !a.MoreAvailable || !fresh {
			return taken, errors.Join(stop, p.settle(ctx, settled))
		}
	}
	return taken, errors.Join(fmt.Errorf("poll %s: %w: it never ends", p.Name(), identity.ErrRefused), p.settle(ctx, settled))
}

// settle tells the transmitter what became of the last tokens, and asks for none
// (section 2.4.3).
func (p *Poller) settle(ctx context.Context, settled request) error {
	if len(settled.Ack)+len(settled.SetErrs) == 0 {
		return nil
	}
	settled.MaxEvents, settled.ReturnImmediately = 0, true
	_, err := p.post(ctx, settled)
	return err
}

func (p *Poller) post(ctx context.Context, r request) (answer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return answer{}, fmt.Errorf("poll %s: %w", p.Name(), err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.stream.URL, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("poll %s: %w", p.Name(), err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.stream.Token.Reveal())
	resp, err := p.http.Do(req)
	if err != nil {
		return answer{}, &identity.RetryError{Err: fmt.Errorf("poll %s: %w", p.Name(), err)}
	}
	defer resp.Body.Close()
	if err := p.judge(resp.StatusCode); err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, &identity.RetryError{Err: fmt.Errorf("poll %s: the answer ended early", p.Name())}
	}
	var a answer
	if len(text) > maxAnswer || strictjson.Check(text) != nil || json.Unmarshal(text, &a) != nil {
		return answer{}, fmt.Errorf("poll %s: %w: the answer is none of RFC 8936", p.Name(), identity.ErrRefused)
	}
	return a, nil
}

func (p *Poller) judge(status int) error {
	err := fmt.Errorf("poll %s: the transmitter answers %d", p.Name(), status)
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: %w: check its token in MFAFLOW_STREAMS", identity.ErrForbidden, err)
	case status == http.StatusTooManyRequests, status >= 500:
		return &identity.RetryError{Err: err}
	default:
		return fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
}

// Close releases idle connections.
func (p *Poller) Close() { p.http.CloseIdleConnections() }
