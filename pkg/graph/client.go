package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	kiotaauth "github.com/microsoft/kiota-authentication-azure-go"
	kiotahttp "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/policies"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mfaflow/pkg/identity"
)

// DefaultBaseURL is Graph in Azure's public cloud.
const DefaultBaseURL = "https://graph.microsoft.com"

// DefaultTimeout bounds one request. Graph gives up on requests about
// authentication methods after 60 s (authenticationmethods-overview).
const DefaultTimeout = 60 * time.Second

// Options say which Graph to talk to and as whom.
type Options struct {
	Credential azcore.TokenCredential
	// BaseURL is Graph's origin without the version; empty means DefaultBaseURL.
	// Plain http is accepted on loopback only.
	BaseURL string
	// Scope is what a token is asked for; empty means BaseURL's own default scope,
	// or that of DefaultBaseURL when BaseURL is on loopback.
	Scope string
	// Transport sends the requests; nil means one of our own, closed by Close.
	Transport http.RoundTripper
	// Timeout bounds one request including its repetition and its wait for a turn; 0
	// means DefaultTimeout.
	Timeout time.Duration
	// Budget bounds the requests sent; the zero value bounds nothing.
	Budget Budget
	// Clock is the time that Budget goes by; nil means the machine's.
	Clock Clock
	// Answers counts what Graph answers; nil counts nothing.
	Answers Answers
}

// Answers counts answers: of every request that was sent, and of every item of a batch.
type Answers interface {
	// Count takes a status; 0 when no answer came.
	Count(status int)
	// Flush writes what was counted; Close calls it.
	Flush() error
}

// nobody counts nothing.
type nobody struct{}

func (nobody) Count(int)    {}
func (nobody) Flush() error { return nil }

// Client reads and changes one tenant. It is safe for concurrent use.
type Client struct {
	adapter abstractions.RequestAdapter
	origin  string
	timeout time.Duration
	idle    interface{ CloseIdleConnections() }
	budgets *budgets
	answers Answers
	// signInHidden is the time (Unix nanoseconds) until which signInActivity is
	// not asked for, because the directory would not tell it.
	signInHidden atomic.Int64
}

// New returns a client. It does no network.
func New(o Options) (*Client, error) {
	if o.Credential == nil {
		return nil, errors.New("graph client: credential is missing")
	}
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	base, err := url.Parse(strings.TrimSuffix(o.BaseURL, "/"))
	if err != nil || base.Host == "" || base.User != nil || base.Path != "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("graph client: base URL is not an origin like " + DefaultBaseURL)
	}
	if base.Scheme != "https" && (base.Scheme != "http" || !loopback(base.Hostname())) {
		return nil, errors.New("graph client: base URL must be https (http is for loopback only)")
	}
	origin := base.Scheme + "://" + base.Host
	if o.Scope == "" {
		o.Scope = Scope(origin)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if err := o.Budget.validate(); err != nil {
		return nil, fmt.Errorf("graph client: %w", err)
	}
	if o.Clock == nil {
		o.Clock = machineClock{}
	}
	if o.Answers == nil {
		o.Answers = nobody{}
	}
	budgets := newBudgets(o.Budget, o.Clock)
	if o.Transport == nil {
		o.Transport = kiotahttp.GetDefaultTransport()
	}

	auth, err := kiotaauth.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(
		tokenSource{credential: o.Credential}, []string{o.Scope}, []string{base.Hostname()})
	if err != nil {
		return nil, fmt.Errorf("graph client: %w", err)
	}
	hc := &http.Client{
		Transport: kiotahttp.NewCustomTransportWithParentTransport(
			&transport{next: o.Transport, pause: readRetryPause, budgets: budgets, answers: o.Answers}, kiotahttp.NewParametersNameDecodingHandler()),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	adapter, err := kiotahttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, jsonserialization.NewJsonParseNodeFactory(), jsonserialization.NewJsonSerializationWriterFactory(), hc)
	if err != nil {
		return nil, fmt.Errorf("graph client: %w", err)
	}
	adapter.SetBaseUrl(origin + "/v1.0")
	c := &Client{
		adapter: adapter,
		origin:  origin,
		timeout: o.Timeout,
		budgets: budgets,
		answers: o.Answers,
	}
	c.idle, _ = o.Transport.(interface{ CloseIdleConnections() })
	return c, nil
}

// Scope is what a token for the Graph at a base URL is asked for: its own default scope, or
// that of DefaultBaseURL on loopback.
func Scope(baseURL string) string {
	base, err := url.Parse(strings.TrimSuffix(baseURL, "/"))
	if err != nil || loopback(base.Hostname()) {
		return DefaultBaseURL + "/.default"
	}
	return base.Scheme + "://" + base.Host + "/.default"
}

// users starts a request about people. Builders are made anew for every request:
// the SDK writes to the parameter map that they share with the request.
func (c *Client) users() *users.UsersRequestBuilder {
	return users.NewUsersRequestBuilderInternal(map[string]string{}, c.adapter)
}

func (c *Client) policies() *policies.PoliciesRequestBuilder {
	return policies.NewPoliciesRequestBuilderInternal(map[string]string{}, c.adapter)
}

// Flush writes what was counted. A Lambda that does not Close calls it before it freezes.
func (c *Client) Flush() {
	_ = c.answers.Flush() // there is nobody left to tell
}

// Close closes idle connections, and is Flush as well. A Lambda calls it before it freezes.
func (c *Client) Close() {
	c.Flush()
	if c.idle != nil {
		c.idle.CloseIdleConnections()
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// call runs one request of an operation and classifies its failure. A missing
// answer is a failure: a list that is not there must not read as an empty one.
func call[T any](ctx context.Context, c *Client, op operation, send func(context.Context) (T, error)) (T, error) {
	return callMany(ctx, c, op, 1, send)
}

// callMany is call for a request that Graph counts as n.
func callMany[T any](ctx context.Context, c *Client, op operation, n int, send func(context.Context) (T, error)) (T, error) {
	x := &exchange{op: op, count: n}
	requestCtx, cancel := context.WithTimeout(context.WithValue(ctx, exchangeKey{}, x), c.timeout)
	defer cancel()
	got, err := send(requestCtx)
	if err == nil && any(got) == nil {
		err = errEmptyAnswer
	}
	if err != nil {
		var none T
		return none, op.failure(ctx, x, err)
	}
	return got, nil
}

// raw sends a request that the SDK has no builder for, and returns the body of the
// answer; op.failure knows the errors. The path is escaped and begins with the
// version. A body is JSON.
func (c *Client) raw(ctx context.Context, method abstractions.HttpMethod, path string, body any, header ...string) ([]byte, error) {
	r := abstractions.NewRequestInformation()
	r.Method = method
	u, err := url.Parse(c.origin + path)
	if err != nil {
		return nil, errBadLink
	}
	r.SetUri(*u)
	r.Headers.TryAdd("Accept", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Headers.Remove(header[i])
		r.Headers.Add(header[i], header[i+1])
	}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r.SetStreamContentAndContentType(data, "application/json")
	}
	got, err := c.adapter.SendPrimitive(ctx, r, "[]byte", abstractions.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue})
	if err != nil {
		return nil, err
	}
	data, _ := got.([]byte)
	return data, nil
}

// page is one page of a collection.
type page[T any] interface {
	GetValue() []T
	GetOdataNextLink() *string
}

// maxPages ends a collection that does not end by itself.
const maxPages = 1000

// collect reads every page of a collection. Graph's links are followed verbatim,
// but only to Graph.
func collect[P page[T], T any](ctx context.Context, c *Client, op operation, first func(context.Context) (P, error), next func(ctx context.Context, link string) (P, error)) ([]T, error) {
	var all []T
	fetch := first
	for range maxPages {
		p, err := call(ctx, c, op, fetch)
		if err != nil {
			return nil, err
		}
		values := p.GetValue()
		if values == nil {
			return nil, op.unreadable("a page without a list")
		}
		all = append(all, values...)
		link := p.GetOdataNextLink()
		if link == nil || *link == "" {
			return all, nil
		}
		if !strings.HasPrefix(*link, c.origin+"/") {
			return nil, op.unreadable("a next page at another host")
		}
		fetch = func(ctx context.Context) (P, error) { return next(ctx, *link) }
	}
	return nil, op.unreadable("a list without end")
}

// tokenSource marks failures to get a token, so that they are not mistaken for
// failures of Graph.
type tokenSource struct{ credential azcore.TokenCredential }

// GetToken returns a token of the credential.
func (s tokenSource) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := s.credential.GetToken(ctx, o)
	if err != nil {
		return azcore.AccessToken{}, &tokenError{err}
	}
	return token, nil
}

// tokenError is a failure to get a token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "no token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// class is the error when its text is known to be harmless, and a short
// description otherwise: a foreign credential's text may quote a token answer.
func (e *tokenError) class() error {
	var retry *identity.RetryError
	switch {
	case errors.Is(e.err, identity.ErrForbidden), errors.As(e.err, &retry):
		return e
	}
	return &identity.RetryError{Err: fmt.Errorf("no token (%T)", e.err)}
}
