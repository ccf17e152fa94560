package operateapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
)

// Client is operate.Operations at a distance. The operator of its acting methods is
// whoever its transport authenticates as: the argument of that name is not sent.
type Client struct {
	base string
	http *http.Client
}

var _ operate.Operations = (*Client)(nil)

// ErrFailed: the other side failed, or is not what it should be; the text says what is
// known and where to look.
var ErrFailed = errors.New("event-replay failed")

// ErrDenied: the request was refused on the way, by Lambda as a rule, and never came to
// event-replay. Whoever it was does not speak as event-replay does.
var ErrDenied = errors.New("event-replay was not asked: AWS, or another server, refuses the request")

// ErrUnreachable: nobody answers.
var ErrUnreachable = errors.New("event-replay cannot be reached")

// New makes the client of the function at base, an origin such as
// https://id.lambda-url.eu-west-1.on.aws. transport proves who asks.
func New(base string, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" ||
		u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%w: its URL is not an origin such as https://id.lambda-url.eu-west-1.on.aws", ErrUnreachable)
	}
	return &Client{base: u.Scheme + "://" + u.Host, http: &http.Client{
		Transport: transport,
		// A proof of who asks is for nobody but the function.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// WhoAmI is the operator that the other side takes the asker for: ErrNobody for none.
func (c *Client) WhoAmI(ctx context.Context) (operate.Operator, error) {
	is, err := call[whoAmI](ctx, c, "whoami", nothing{})
	return is.Operator, err
}

// Overview implements operate.Operations, as do the methods below.
func (c *Client) Overview(ctx context.Context) (operate.Overview, error) {
	return call[operate.Overview](ctx, c, "overview", nothing{})
}

func (c *Client) List(ctx context.Context, f operate.Filter, cursor string, limit int) (operate.Page[operate.Entry], error) {
	return call[operate.Page[operate.Entry]](ctx, c, "list", listRequest{f, cursor, limit})
}

func (c *Client) Show(ctx context.Context, id operate.ID, reveal bool) (operate.Detail, error) {
	return call[operate.Detail](ctx, c, "show", showRequest{id, reveal})
}

func (c *Client) Flags(ctx context.Context, f operate.FlagFilter, cursor string, limit int) (operate.Page[operate.OpenFlag], error) {
	return call[operate.Page[operate.OpenFlag]](ctx, c, "flags", flagsRequest{f, cursor, limit})
}

func (c *Client) Person(ctx context.Context, who string, reveal bool) (operate.PersonView, error) {
	return call[operate.PersonView](ctx, c, "person", personRequest{who, reveal})
}

func (c *Client) Plan(ctx context.Context, s operate.Selection) (operate.Plan, error) {
	return call[operate.Plan](ctx, c, "plan", s)
}

func (c *Client) Replay(ctx context.Context, _ operate.Operator, r operate.Replay) ([]operate.Outcome, error) {
	return call[[]operate.Outcome](ctx, c, "replay", r)
}

func (c *Client) Discard(ctx context.Context, _ operate.Operator, ids []operate.ID, reason string) ([]operate.Outcome, error) {
	return call[[]operate.Outcome](ctx, c, "discard", discardRequest{ids, reason})
}

func (c *Client) Decide(ctx context.Context, _ operate.Operator, w operate.Word) (operate.Outcome, error) {
	return call[operate.Outcome](ctx, c, "decide", w)
}

func (c *Client) Resolve(ctx context.Context, _ operate.Operator, flags []int64, reason string) ([]operate.Outcome, error) {
	return call[[]operate.Outcome](ctx, c, "resolve", resolveRequest{flags, reason})
}

func (c *Client) LetIn(ctx context.Context, _ operate.Operator, user identity.UserID, reason string) (operate.Outcome, error) {
	return call[operate.Outcome](ctx, c, "let-in", letInRequest{user, reason})
}

// call posts one request and reads its answer. It does not try again: that is for who
// knows whether the question still stands.
func call[Out any](ctx context.Context, c *Client, method string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	if len(body) > maxRequest {
		return out, fmt.Errorf("%w: that is more than %d MiB at once; take fewer", operate.ErrRefused, maxRequest>>20)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+prefix+method, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	r.Header.Set("Content-Type", "application/json")
	id := correlation.ID(ctx)
	if !correlation.IsUUID(id) {
		id = correlation.New()
	}
	r.Header.Set(correlationHeader, id)
	response, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		return out, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxUnpacked))
	if err != nil {
		return out, fmt.Errorf("%w: the answer to %s ends early: %w", ErrUnreachable, method, err)
	}
	if response.StatusCode != http.StatusOK {
		return failed[Out](response, text, id)
	}
	if err := decode(text, &out); err != nil {
		return out, fmt.Errorf("%w: the answer to %s is %w; is this tool of the same version?", ErrFailed, method, err)
	}
	return out, nil
}

// failed makes the error of an answer, and what was done before it.
func failed[Out any](response *http.Response, text []byte, id string) (out Out, err error) {
	var p problem
	if strings.HasPrefix(response.Header.Get("Content-Type"), problemType) && decode(text, &p) == nil {
		if done, ok := any(&out).(*[]operate.Outcome); ok {
			*done = p.Outcomes
		}
		for _, k := range kinds {
			if k.name == p.Type && k.err != errMalformed { //nolint:errorlint // a list of sentinels
				return out, &remoteError{k.err, p.Detail}
			}
		}
		what := fmt.Sprintf("with %d %s", p.Status, p.Title)
		if p.Detail != "" {
			what += ": " + p.Detail
		}
		return out, fmt.Errorf("%w %s; its log has the cause under the correlation id %s", ErrFailed, what, p.Correlation)
	}
	if response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized {
		return out, fmt.Errorf("%w with %s; it takes lambda:InvokeFunctionUrl and lambda:InvokeFunction", ErrDenied, response.Status)
	}
	return out, fmt.Errorf("%w with %s (correlation id %s)", ErrFailed, response.Status, id)
}

// remoteError is an error of the other side: one of the sentinels, in its own words.
type remoteError struct {
	kind error
	text string
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }
