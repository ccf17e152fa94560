// Package hrapi reads people's records from the APIs of HR systems, for senders
// whose webhooks carry ids only.
//
// It does not know who a person is in the directory. A URL comes from the
// configuration alone; an event fills in escaped ids and nothing else.
package hrapi

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
	"regexp"
	"strings"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/router"
	"mfaflow/pkg/strictjson"
)

// API is the HR API of one source.
type API struct {
	// Source is the name of the source whose thin events it completes.
	Source string `json:"source"`
	// URL is where a person's record is: https, with {employeeId},
	// {userPrincipalName}, {mail}, {objectId} or {company} to be filled in.
	URL string `json:"url"`
	// Body is what is posted to the URL, for APIs that are asked by POST; texts in it are
	// filled in as the URL is. Without it the record is read by GET.
	Body json.RawMessage `json:"body,omitempty"`
	// Headers, Basic or OAuth authenticate us. Basic is <user>:<password>.
	Headers map[string]identity.Secret `json:"headers,omitempty"`
	Basic   identity.Secret            `json:"basic,omitzero"`
	OAuth   *OAuth                     `json:"oauth,omitempty"`
	// Mapping is a jq program, or the name of one in events/mappings, that turns a
	// record into canonical events. Its $source has name, timeZone and what the event
	// says: employeeId, company and change.
	Mapping string `json:"mapping"`
	// TimeZone is what the mapping falls back to.
	TimeZone string `json:"timeZone,omitempty"`
}

// OAuth gets us a token with client credentials (RFC 6749 section 4.4), which goes into
// the header Authorization.
type OAuth struct {
	TokenURL     string          `json:"tokenUrl"`
	ClientID     string          `json:"clientId"`
	ClientSecret identity.Secret `json:"clientSecret"`
	Scope        string          `json:"scope,omitempty"`
}

// Parse reads a JSON array of APIs; unknown and doubled fields are refused.
func Parse(raw []byte) ([]API, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if err := strictjson.Check(raw); err != nil {
		return nil, fmt.Errorf("hr apis: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var list []API
	if err := dec.Decode(&list); err != nil {
		return nil, errors.New("hr apis: not an array of objects with source, url, body, headers, basic, oauth, mapping and timeZone")
	}
	return list, nil
}

const (
	timeout = 10 * time.Second
	// maxRecord bounds an answer; a record of one person is a few kilobytes.
	maxRecord = 1 << 20
	// maxRetryAfter is the longest wait taken from an answer.
	maxRetryAfter = time.Hour
)

// Client reads records. It is safe for concurrent use.
type Client struct {
	apis    map[string]*api
	catalog *catalog.Catalog
	http    *http.Client
	now     func() time.Time
}

type api struct {
	API
	program *mapping.Program
	body    any // decoded; nil for GET
	token   token
}

// New compiles the mappings and reports every problem.
func New(list []API, schemas *catalog.Catalog, transport http.RoundTripper) (*Client, error) {
	c := &Client{apis: map[string]*api{}, catalog: schemas, now: time.Now, http: &http.Client{
		Timeout: timeout, Transport: transport,
		// The credentials are for the configured host and for no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var problems []error
	for _, a := range list {
		program, err := mapping.Open(a.Mapping)
		problems = append(problems, a.problem("mapping", err), a.problem("", a.checkAuthentication()), a.problem("", a.checkFilledIn()))
		if c.apis[a.Source] != nil || a.Source == "" {
			problems = append(problems, a.problem("source", errors.New("is empty or there twice")))
		}
		out := &api{API: a, program: program}
		names := namesSomebody(a.URL)
		if len(a.Body) > 0 {
			out.body, err = strictjson.Decode(a.Body)
			problems = append(problems, a.problem("body", err), a.problem("body", checkTexts(out.body, func(text string) error {
				names = names || namesSomebody(text)
				return checkPlaceholders(text)
			})))
		}
		problems = append(problems, a.problem("url", checkURL(a.URL, names)))
		c.apis[a.Source] = out
	}
	return c, errors.Join(problems...)
}

func (a API) problem(field string, err error) error {
	switch {
	case err == nil:
		return nil
	case field == "":
		return fmt.Errorf("hr api %q: %w", a.Source, err)
	default:
		return fmt.Errorf("hr api %q: %s: %w", a.Source, field, err)
	}
}

// blank is what the entries of the catalogue have where something is to be written.
var blank = regexp.MustCompile(`<[A-Za-z][A-Za-z ]+>`)

// checkFilledIn finds what was copied from the catalogue and not filled in.
func (a API) checkFilledIn() error {
	texts := []string{a.URL, a.Basic.Reveal()}
	for _, value := range a.Headers {
		texts = append(texts, value.Reveal())
	}
	if a.OAuth != nil {
		texts = append(texts, a.OAuth.TokenURL, a.OAuth.ClientID, a.OAuth.ClientSecret.Reveal())
	}
	var found []string
	for _, text := range texts {
		found = append(found, blank.FindAllString(text, -1)...)
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("still to be filled in: %s", strings.Join(found, ", "))
}

// checkAuthentication wants at most one way to fill the header Authorization.
func (a API) checkAuthentication() error {
	ways := 0
	for name := range a.Headers {
		if http.CanonicalHeaderKey(name) == "Authorization" {
			ways++
		}
	}
	if a.Basic.Reveal() != "" {
		if ways++; !strings.Contains(a.Basic.Reveal(), ":") {
			return errors.New("basic: is not of the form <user>:<password>")
		}
	}
	if a.OAuth != nil {
		ways++
		if a.OAuth.ClientID == "" || a.OAuth.ClientSecret.Reveal() == "" {
			return errors.New("oauth: needs clientId and clientSecret")
		}
		if err := checkHost(a.OAuth.TokenURL); err != nil {
			return fmt.Errorf("oauth: tokenUrl: %w", err)
		}
	}
	if ways > 1 {
		return errors.New("authenticate by one of basic, oauth and the header Authorization")
	}
	return nil
}

// placeholders are what a URL or a body may have filled in.
var placeholders = [...]string{"employeeId", "userPrincipalName", "mail", "objectId", "company"}

// fill puts a value for each placeholder into a text, in one pass: no value is read for
// placeholders of its own.
func fill(text string, value func(i int) string) string {
	var pairs []string
	for i, p := range placeholders {
		if p = "{" + p + "}"; strings.Contains(text, p) {
			pairs = append(pairs, p, value(i))
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func namesSomebody(text string) bool { return fill(text, func(int) string { return "" }) != text }

func checkPlaceholders(text string) error {
	if strings.ContainsAny(fill(text, func(int) string { return "x" }), "{}") {
		return fmt.Errorf("has a placeholder that is none of %s", strings.Join(placeholders[:], ", "))
	}
	return nil
}

// checkTexts judges every text in a JSON value.
func checkTexts(v any, check func(string) error) error {
	switch v := v.(type) {
	case string:
		return check(v)
	case []any:
		for _, item := range v {
			if err := checkTexts(item, check); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range v {
			if err := checkTexts(item, check); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkURL(template string, names bool) error {
	if err := checkPlaceholders(template); err != nil {
		return err
	}
	if err := checkHost(fill(template, func(int) string { return "x" })); err != nil {
		return err
	}
	_, rest, _ := strings.Cut(template, "://")
	switch {
	case !names:
		return errors.New("names nobody: it needs a placeholder such as {employeeId}")
	case strings.Contains(strings.SplitN(rest, "/", 2)[0], "{"):
		return errors.New("has a placeholder in its host")
	}
	return nil
}

func checkHost(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return errors.New("is no URL")
	case u.Scheme != "https" && u.Hostname() != "127.0.0.1":
		return errors.New("is not https")
	}
	return nil
}

// of is the API that completes a thin event, and whose record the event means.
func (c *Client) of(thin event.Event) (*api, event.RecordRef, error) {
	a := c.apis[thin.Origin]
	if a == nil {
		return nil, event.RecordRef{}, router.ErrNoRecords
	}
	ref, err := thin.RecordRef()
	if err != nil {
		return nil, ref, fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	return a, ref, nil
}

// Events implements router.Records.
func (c *Client) Events(ctx context.Context, thin event.Event) ([]event.Event, error) {
	a, ref, err := c.of(thin)
	if err != nil {
		return nil, err
	}
	address, body, err := a.request(ref)
	if err != nil {
		return nil, err
	}
	raw, err := c.read(ctx, a, address, body)
	if err != nil {
		return nil, err
	}
	return c.derive(ctx, a, thin, ref, raw)
}

// Derive is what an answer of the HR API of the thin event's source amounts to.
// Events calls it with what it has read.
func (c *Client) Derive(ctx context.Context, thin event.Event, raw []byte) ([]event.Event, error) {
	a, ref, err := c.of(thin)
	if err != nil {
		return nil, err
	}
	return c.derive(ctx, a, thin, ref, raw)
}

func (c *Client) derive(ctx context.Context, a *api, thin event.Event, ref event.RecordRef, raw []byte) ([]event.Event, error) {
	record, err := strictjson.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("read the HR record: %w: %w", identity.ErrRefused, err)
	}
	outputs, err := a.program.Map(ctx, record, a.Facts(ref), thin.ReceivedAt)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("map the HR record: %w: %w", identity.ErrRefused, err)
	}
	var derived []event.Event
	seen := map[event.Type]bool{}
	for i, out := range outputs {
		e, err := c.canonical(thin, out)
		if err == nil && seen[e.Type] {
			err = errors.New("the record gives two events of one type")
		}
		if err != nil {
			return nil, fmt.Errorf("HR record, event %d: %w: %w", i, identity.ErrRefused, err)
		}
		seen[e.Type] = true
		derived = append(derived, e)
	}
	return derived, nil
}

// Facts are what the mapping of the API sees as $source.
func (a API) Facts(ref event.RecordRef) map[string]any {
	return map[string]any{
		"name": a.Source, "timeZone": a.TimeZone, "employeeId": ref.Person.EmployeeID, "company": ref.Company, "change": ref.Change,
	}
}

// request fills the ids of the event into the URL and the body; body is nil for GET.
func (a *api) request(ref event.RecordRef) (address string, body []byte, err error) {
	values := [...]string{ref.Person.EmployeeID, ref.Person.UserPrincipalName, ref.Person.Mail, ref.Person.ObjectID, ref.Company}
	missing := ""
	filled := func(text string, escape func(string) string) string {
		return fill(text, func(i int) string {
			if values[i] == "" || values[i] == "." || values[i] == ".." {
				missing = placeholders[i]
			}
			return escape(values[i])
		})
	}
	path, query, hasQuery := strings.Cut(a.URL, "?")
	address = filled(path, url.PathEscape)
	if hasQuery {
		address += "?" + filled(query, url.QueryEscape)
	}
	if a.body != nil {
		asIs := func(s string) string { return s }
		if body, err = json.Marshal(fillTexts(a.body, func(text string) string { return filled(text, asIs) })); err != nil {
			return "", nil, fmt.Errorf("read the HR record: %w: %w", identity.ErrRefused, err)
		}
	}
	if missing != "" {
		return "", nil, fmt.Errorf("read the HR record: %w: the event has no usable %s", identity.ErrRefused, missing)
	}
	return address, body, nil
}

// fillTexts copies a JSON value with each text in it filled in.
func fillTexts(v any, filled func(string) string) any {
	switch v := v.(type) {
	case string:
		return filled(v)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = fillTexts(item, filled)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = fillTexts(item, filled)
		}
		return out
	default:
		return v
	}
}

// read asks for one record. A token that is refused is thrown away, and the question
// asked once more with a new one.
func (c *Client) read(ctx context.Context, a *api, address string, body []byte) ([]byte, error) {
	for again := a.OAuth != nil; ; again = false {
		method := http.MethodGet
		if body != nil {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("read the HR record: %w: the address is no URL", identity.ErrRefused)
		}
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		used, err := c.authenticate(ctx, a, req)
		if err != nil {
			return nil, err
		}
		raw, err := c.do(ctx, a, req)
		if !again || !errors.Is(err, identity.ErrForbidden) {
			return raw, err
		}
		a.token.drop(used)
	}
}

// authenticate fills in the headers and returns the token that it used, if any.
func (c *Client) authenticate(ctx context.Context, a *api, req *http.Request) (used string, err error) {
	for name, value := range a.Headers {
		req.Header.Set(name, value.Reveal())
	}
	if user, password, ok := strings.Cut(a.Basic.Reveal(), ":"); ok {
		req.SetBasicAuth(user, password)
	}
	if a.OAuth == nil {
		return "", nil
	}
	if used, err = c.bearer(ctx, a); err == nil {
		req.Header.Set("Authorization", "Bearer "+used)
	}
	return used, err
}

// do sends one request. What fails is told apart as the directory's failures are; no
// error quotes the address, which holds a person's id, or the answer.
func (c *Client) do(ctx context.Context, a *api, req *http.Request) ([]byte, error) {
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("X-Correlation-Id", correlation.ID(ctx))
	correlation.Stamp(ctx, req.Header)
	call := correlation.Call{Method: req.Method, Path: "HR API of " + a.Source}
	started := time.Now()
	resp, err := c.http.Do(req)
	call.Duration = time.Since(started)
	if err != nil {
		correlation.Record(ctx, call)
		return nil, &identity.RetryError{Err: errors.New("the HR API cannot be reached")}
	}
	defer resp.Body.Close()
	call.Status = resp.StatusCode
	correlation.Record(ctx, call)
	if err := c.judge(resp); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRecord+1))
	switch {
	case err != nil:
		return nil, &identity.RetryError{Err: errors.New("the answer of the HR API ended early")}
	case len(body) > maxRecord:
		return nil, fmt.Errorf("read the HR record: %w: over %d bytes", identity.ErrRefused, maxRecord)
	}
	return body, nil
}

func (c *Client) judge(resp *http.Response) error {
	err := fmt.Errorf("the HR API answers %d", resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %w", identity.ErrNotFound, err)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: %w: correct the credentials in MFAFLOW_RECORD_SOURCES", identity.ErrForbidden, err)
	case resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %w: let the API user of MFAFLOW_RECORD_SOURCES read employees in the HR system", identity.ErrForbidden, err)
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode >= 500:
		return &identity.RetryError{After: identity.RetryAfter(resp.Header, c.now(), maxRetryAfter), Err: err}
	default:
		return fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
}

// canonical adds to one output of the mapping what the envelope lacks, and judges
// it as an event from outside.
func (c *Client) canonical(thin event.Event, out any) (event.Event, error) {
	partial, ok := out.(map[string]any)
	if !ok {
		return event.Event{}, errors.New("the mapping gives something that is no object")
	}
	whole := map[string]any{
		"specversion": "1.0", "id": thin.ID, "source": thin.Source, "time": thin.Time.Format(time.RFC3339Nano),
	}
	if thin.Subject != "" {
		whole["subject"] = thin.Subject
	}
	maps.Copy(whole, partial)
	e, err := c.catalog.ParseValue(whole)
	if err != nil {
		return event.Event{}, err
	}
	e.Key = thin.Key + "#" + string(e.Type)
	e.ReceivedAt, e.Origin, e.CorrelationID = thin.ReceivedAt, thin.Origin, thin.CorrelationID
	return e, nil
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
