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
	// Headers authenticate us; their values are secrets.
	Headers map[string]string `json:"headers,omitempty"`
	// Mapping is a jq program, or the name of one in events/mappings, that turns a
	// record into canonical events.
	Mapping string `json:"mapping"`
	// TimeZone is what the mapping falls back to.
	TimeZone string `json:"timeZone,omitempty"`
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
		return nil, errors.New("hr apis: not an array of objects with source, url, headers, mapping and timeZone")
	}
	return list, nil
}

const (
	timeout = 10 * time.Second
	// maxRecord bounds an answer; a record of one person is a few kilobytes.
	maxRecord = 1 << 20
)

// Client reads records. It is safe for concurrent use.
type Client struct {
	apis    map[string]*api
	catalog *catalog.Catalog
	http    *http.Client
}

type api struct {
	API
	program *mapping.Program
	facts   map[string]any
}

// New compiles the mappings and reports every problem.
func New(list []API, schemas *catalog.Catalog, transport http.RoundTripper) (*Client, error) {
	c := &Client{apis: map[string]*api{}, catalog: schemas, http: &http.Client{
		Timeout: timeout, Transport: transport,
		// The credentials are for the configured host and for no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var problems []error
	for _, a := range list {
		program, err := mapping.Open(a.Mapping)
		problems = append(problems, a.problem("mapping", err), a.problem("url", checkURL(a.URL)))
		if c.apis[a.Source] != nil || a.Source == "" {
			problems = append(problems, a.problem("source", errors.New("is empty or there twice")))
		}
		c.apis[a.Source] = &api{API: a, program: program, facts: map[string]any{"name": a.Source, "timeZone": a.TimeZone}}
	}
	return c, errors.Join(problems...)
}

func (a API) problem(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("hr api %q: %s: %w", a.Source, field, err)
}

// placeholders are what a URL may have filled in.
var placeholders = [...]string{"employeeId", "userPrincipalName", "mail", "objectId", "company"}

func checkURL(template string) error {
	filled := template
	for _, p := range placeholders {
		filled = strings.ReplaceAll(filled, "{"+p+"}", "x")
	}
	u, err := url.Parse(filled)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(filled, "{}"):
		return fmt.Errorf("is no URL, or has a placeholder that is none of %s", strings.Join(placeholders[:], ", "))
	case u.Scheme != "https" && u.Hostname() != "127.0.0.1":
		return errors.New("is not https")
	case filled == template:
		return errors.New("names nobody: it needs a placeholder such as {employeeId}")
	case strings.Contains(strings.SplitN(strings.TrimPrefix(template, u.Scheme+"://"), "/", 2)[0], "{"):
		return errors.New("has a placeholder in its host")
	}
	return nil
}

// Events implements router.Records.
func (c *Client) Events(ctx context.Context, thin event.Event) ([]event.Event, error) {
	a := c.apis[thin.Origin]
	if a == nil {
		return nil, router.ErrNoRecords
	}
	ref, err := thin.RecordRef()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	address, err := a.address(ref)
	if err != nil {
		return nil, err
	}
	record, err := c.get(ctx, a, address)
	if err != nil {
		return nil, err
	}
	outputs, err := a.program.Map(ctx, record, a.facts, thin.ReceivedAt)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("map the HR record: %w: %w", identity.ErrRefused, err)
	}
	var events []event.Event
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
		events = append(events, e)
	}
	return events, nil
}

// address fills the ids of the event into the URL.
func (a *api) address(ref event.RecordRef) (string, error) {
	path, query, hasQuery := strings.Cut(a.URL, "?")
	for i, value := range []string{ref.Person.EmployeeID, ref.Person.UserPrincipalName, ref.Person.Mail, ref.Person.ObjectID, ref.Company} {
		p := "{" + placeholders[i] + "}"
		if !strings.Contains(a.URL, p) {
			continue
		}
		if value == "" || value == "." || value == ".." {
			return "", fmt.Errorf("read the HR record: %w: the event has no usable %s", identity.ErrRefused, placeholders[i])
		}
		path = strings.ReplaceAll(path, p, url.PathEscape(value))
		query = strings.ReplaceAll(query, p, url.QueryEscape(value))
	}
	if hasQuery {
		path += "?" + query
	}
	return path, nil
}

// get reads one record. What fails is told apart as the directory's failures are;
// no error quotes the address, which holds a person's id.
func (c *Client) get(ctx context.Context, a *api, address string) (any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("read the HR record: %w: the address is no URL", identity.ErrRefused)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("X-Correlation-Id", correlation.ID(ctx))
	for name, value := range a.Headers {
		req.Header.Set(name, value)
	}
	call := correlation.Call{Method: http.MethodGet, Path: "HR API of " + a.Source}
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
	if err := judge(resp); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRecord+1))
	switch {
	case err != nil:
		return nil, &identity.RetryError{Err: errors.New("the answer of the HR API ended early")}
	case len(body) > maxRecord:
		return nil, fmt.Errorf("read the HR record: %w: over %d bytes", identity.ErrRefused, maxRecord)
	}
	record, err := strictjson.Decode(body)
	if err != nil {
		return nil, fmt.Errorf("read the HR record: %w: %w", identity.ErrRefused, err)
	}
	return record, nil
}

func judge(resp *http.Response) error {
	err := fmt.Errorf("the HR API answers %d", resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusOK:
		return nil
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %w", identity.ErrNotFound, err)
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %w: check the headers in MFAFLOW_RECORD_SOURCES", identity.ErrForbidden, err)
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		after, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
		return &identity.RetryError{After: max(after, 0), Err: err}
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
