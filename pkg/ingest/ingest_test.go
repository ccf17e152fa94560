package ingest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"mfaflow/events"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	forged = "whsec_HxweHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA"

	structuredType = "application/cloudevents+json; charset=UTF-8"
	batchType      = "application/cloudevents-batch+json"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// broker stands for the Service Bus: it drops a repeated message id.
type broker struct {
	mu     sync.Mutex
	queues map[string][]queue.Message
	seen   map[string]bool
	calls  int
	fail   func(ctx context.Context, queue string) error
}

func (b *broker) Send(ctx context.Context, name string, msgs ...queue.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fail != nil {
		if err := b.fail(ctx, name); err != nil {
			return err
		}
	}
	for _, m := range msgs {
		if len(m.ID) > 128 || len(m.SessionID) > 128 || m.ID == "" {
			return fmt.Errorf("broker: MessageId %q, SessionId %q", m.ID, m.SessionID)
		}
		if id := name + " " + m.ID; !b.seen[id] {
			b.seen[id] = true
			b.queues[name] = append(b.queues[name], m)
		}
	}
	return nil
}

// held is what the queues hold: the type of each event, the reason of each parked
// message.
func (b *broker) held(t testing.TB) string {
	t.Helper()
	var list []string
	for _, m := range b.queues["inbound"] {
		e, err := event.Decode(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if e.Key != m.ID || e.Key != m.Key || e.Origin != m.Properties[queue.PropSource] || string(e.Type) != m.Properties[queue.PropType] ||
			e.CorrelationID != m.CorrelationID || e.CorrelationID == "" || e.ReceivedAt.IsZero() || m.SessionID == "" || e.UserID != "" {
			t.Errorf("message and event disagree: %+v\n%s", m, m.Body)
		}
		list = append(list, "inbound:"+string(e.Type))
	}
	for _, m := range b.queues["quarantine"] {
		list = append(list, "quarantine:"+m.Properties[queue.PropReason])
	}
	return strings.Join(list, " ")
}

type fixture struct {
	*ingest.Handler
	broker *broker
	logs   *bytes.Buffer
	clock  time.Time
}

func sources() []ingest.Source {
	standard := &webhook.Config{Preset: "standard-webhooks", Keys: webhook.Keys{identity.NewSecret(secret)}}
	vendor := func(preset, key string) *webhook.Config {
		return &webhook.Config{Preset: preset, Keys: webhook.Keys{identity.NewSecret(key)}}
	}
	return []ingest.Source{
		{Name: "hr", Format: ingest.CloudEvents, Verify: standard, Types: []string{"employee.*"}, AllowedOrigins: []string{"events.example.com"}, AllowedRate: 100},
		{Name: "desk", Format: ingest.CloudEvents, Verify: vendor("bearer", "token"), Types: []string{"mfa.*"}},
		{Name: "body-only", Format: ingest.CloudEvents, Verify: vendor("gusto", "k"), Types: []string{"employee.*"}},
		{Name: "headers", Format: ingest.CloudEvents, Verify: coveringHeaders(), Types: []string{"employee.*"}},
		{Name: "flat", Format: ingest.Mapped, Mapping: "generic", Verify: standard, Types: []string{"employee.*"}, TimeZone: "Europe/Berlin", Form: true},
		{Name: "deel", Format: ingest.Mapped, Mapping: "generic", Verify: vendor("deel", "k"), Types: []string{"employee.*"}, TimeZone: "Europe/Berlin"},
		{Name: "runaway", Format: ingest.Mapped, Mapping: "def f: f; f", Verify: vendor("bearer", "token"), Types: []string{"employee.*"}},
		{Name: "bus", Format: ingest.CloudEvents, EventBridge: &ingest.EventBridgeRule{Source: "hr.acme", DetailType: "Event"}, Types: []string{"employee.*"}},
		{Name: "bus-flat", Format: ingest.Mapped, Mapping: "generic", EventBridge: &ingest.EventBridgeRule{Source: "hr.flat"}, Types: []string{"employee.*"}, TimeZone: "Europe/Berlin"},
	}
}

// coveringHeaders signs the attributes of a binary CloudEvent, a line each: no header
// contains a line feed.
func coveringHeaders() *webhook.Config {
	return &webhook.Config{
		Header: "X-Signature", Scheme: webhook.Scheme{Algorithm: webhook.HMACSHA256, Encoding: webhook.Hex},
		Signed: "{header:ce-id}\n{header:ce-source}\n{header:ce-type}\n{header:ce-subject}\n{header:ce-time}\n{body}",
		Keys:   webhook.Keys{identity.NewSecret("k")},
	}
}

// signHeaders adds the attributes, signed as coveringHeaders says.
func signHeaders(r *http.Request, body string, attributes ...string) *http.Request {
	with(r, attributes...)
	content := ""
	for _, name := range []string{"ce-id", "ce-source", "ce-type", "ce-subject", "ce-time"} {
		content += r.Header.Get(name) + "\n"
	}
	return with(r, "X-Signature", hmacHex("k", content+body))
}

func hmacHex(key, content string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(content))
	return hex.EncodeToString(m.Sum(nil))
}

// theCatalog compiles each schema once for all tests.
var theCatalog = sync.OnceValues(catalog.New)

func newFixture(t testing.TB) *fixture {
	t.Helper()
	c, err := theCatalog()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{broker: &broker{queues: map[string][]queue.Message{}, seen: map[string]bool{}}, logs: &bytes.Buffer{}, clock: now}
	f.Handler, err = ingest.New(ingest.Options{
		Prefix: "/hr/", Sources: sources(), Catalog: c, Sender: f.broker, Clock: func() time.Time { return f.clock },
		Logger: telemetry.NewLogger(f.logs, "hr-events", slog.LevelDebug), InboundQueue: "inbound", QuarantineQueue: "quarantine",
		SendTimeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func joiner(id string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"https://hr.contoso.example","type":"employee.joiner","subject":"E1042",
		"time":"2026-11-23T08:15:00+01:00","data":{"person":{"employeeId":"E1042"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}}`
}

func request(source, contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/hr/"+source, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

// sign signs with the independent implementation of the specification.
func sign(t testing.TB, r *http.Request, key, id string, at time.Time, body string) *http.Request {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := w.Sign(id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("webhook-signature", signature)
	return r
}

func signed(t testing.TB, source, contentType, id, body string) *http.Request {
	t.Helper()
	return sign(t, request(source, contentType, body), secret, id, now, body)
}

func (f *fixture) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func with(r *http.Request, pairs ...string) *http.Request {
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	return r
}

func TestAccepted(t *testing.T) {
	f := newFixture(t)
	body := joiner("hr-70001")
	w := f.do(with(signed(t, "hr", structuredType, "msg_1", body), "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	if w.Code != http.StatusAccepted || w.Body.Len() != 0 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if f.broker.held(t) != "inbound:employee.joiner" {
		t.Fatal(f.broker.held(t))
	}
	m := f.broker.queues["inbound"][0]
	got, err := event.Decode(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := event.Event{
		ID: "hr-70001", Source: "https://hr.contoso.example", Type: event.Joiner, Subject: "E1042",
		Time: time.Date(2026, 11, 23, 7, 15, 0, 0, time.UTC), Data: got.Data,
		ReceivedAt: now, Origin: "hr", Key: "hr:msg_1", CorrelationID: "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m.SessionID != "hr:e1042" || m.ContentType != event.ContentType || w.Header().Get("X-Correlation-Id") != m.CorrelationID {
		t.Errorf("%+v", m)
	}
}

// One table for every way in and every bad input: the answer, and what is in which
// queue afterwards.
func TestAnswers(t *testing.T) {
	good := joiner("a")
	typo := strings.Replace(good, `"startDate"`, `"start"`, 1)
	big := `{"a":"` + strings.Repeat("x", ingest.MaxBody) + `"}`
	bearer := []string{"Authorization", "Bearer token"}
	lost := `{"specversion":"1.0","id":"d1","source":"/desk","type":"mfa.reregister","subject":"E1","time":"2026-11-23T08:00:00Z","data":{"person":{"employeeId":"E1"},"mode":"full","requestedBy":"daniela.rossi@contoso.example","ticket":"INC20110"}}`
	form := "type=joiner&employeeId=E1042&startDate=2026-11-30"
	data := `{"person":{"employeeId":"E1042"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`
	attributes := []string{"ce-specversion", "1.0", "ce-id", "a", "ce-source", "https://hr.contoso.example", "ce-type", "employee.joiner", "ce-subject", "%C3%89mile%20%22E1042%22", "ce-time", "2026-11-23T08:15:00Z"}
	gusto := func(body string) string { return hmacHex("k", body) }
	covered := func(pairs ...string) *http.Request {
		return signHeaders(request("headers", "application/json", data), data, append(attributes, pairs...)...)
	}
	at := func(d time.Duration, body string) *http.Request {
		return sign(t, request("hr", structuredType, body), secret, "m", now.Add(d), body)
	}
	swapped := signed(t, "hr", structuredType, "m", good)
	swapped.Body = http.NoBody

	tests := []struct {
		name   string
		r      *http.Request
		status int
		held   string
		says   string
	}{
		{"Structured", signed(t, "hr", structuredType, "m", good), 202, "inbound:employee.joiner", ""},
		{"StructuredAsJSON", signed(t, "hr", "application/json", "m", good), 202, "inbound:employee.joiner", ""},
		{"Binary", covered(), 202, "inbound:employee.joiner", ""},
		{"BinaryOtherType", with(covered(), "ce-type", "employee.start-date-changed"), 401, "", ""},
		{"BinaryUnsignedSchema", covered("ce-dataschema", "https://mfaflow.dev/schemas/employee.joiner.v99.json"), 415, "", "structured"},
		{"BinaryUnsignedAttributes", with(signed(t, "hr", "application/json", "m", data), attributes...), 415, "", "structured"},
		{"BinaryUnsigned", with(request("hr", "application/json", data), attributes...), 401, "", ""},
		{"BinaryBearer", with(request("desk", "application/json", `{"person":{"employeeId":"E1"},"mode":"full","requestedBy":"daniela.rossi@contoso.example","ticket":"INC20110"}`), append(bearer, "ce-specversion", "1.0", "ce-id", "a", "ce-source", "/d", "ce-type", "mfa.reregister", "ce-time", "2026-11-23T08:15:00Z")...), 202, "inbound:mfa.reregister", ""},
		{"BinaryUnderABodySignature", with(request("body-only", "application/json", data), append(attributes, "X-Gusto-Signature", gusto(data))...), 415, "", "structured"},
		{"BinaryBadPercent", covered("ce-subject", "%zz"), 400, "", "percent"},
		{"BinaryWithoutData", signHeaders(request("headers", "application/json", ""), "", attributes...), 400, "", "/data"},
		{"Batch", signed(t, "hr", batchType, "m", "["+good+","+joiner("b")+"]"), 202, "inbound:employee.joiner inbound:employee.joiner", ""},
		{"EmptyBatch", signed(t, "hr", batchType, "m", "[]"), 202, "", ""},
		{"BatchNull", signed(t, "hr", batchType, "m", "null"), 400, "", "array"},
		{"BatchOfOtherThings", signed(t, "hr", batchType, "m", good), 400, "", "array"},
		{"BatchAllOrNothing", signed(t, "hr", batchType, "m", "["+good+","+typo+"]"), 400, "", "/1/data/startDate"},
		{"BatchPartlyParked", signed(t, "hr", batchType, "m", "["+good+","+strings.Replace(good, "employee.joiner", "employee.promoted", 1)+"]"), 202, "inbound:employee.joiner quarantine:unknown-type", ""},
		{"BatchTooLong", signed(t, "hr", batchType, "m", "["+strings.Repeat("{},", 500)+"{}]"), 413, "", ""},
		{"Mapped", signed(t, "flat", "application/json", "m", `{"type":"joiner","employeeId":"E1","startDate":"2026-11-30"}`), 202, "inbound:employee.joiner", ""},
		{"MappedFanOut", signed(t, "flat", "application/json", "m", `[{"type":"joiner","employeeId":"E1","startDate":"2026-11-30"},{"type":"leaver","employeeId":"E2","lastDay":"2026-11-30"}]`), 202, "inbound:employee.joiner inbound:employee.leaver", ""},
		{"MappedToNothing", signed(t, "flat", "application/json", "m", `[]`), 202, "", ""},
		{"Form", signed(t, "flat", "application/x-www-form-urlencoded", "m", form), 202, "inbound:employee.joiner", ""},
		{"FormFieldTwice", signed(t, "flat", "application/x-www-form-urlencoded", "m", form+"&type=leaver"), 202, "quarantine:not-decodable", ""},

		{"UnknownSource", signed(t, "nobody", structuredType, "m", good), 404, "", ""},
		{"SourceWithoutURL", signed(t, "bus", structuredType, "m", good), 404, "", ""},
		{"Get", httptest.NewRequest(http.MethodGet, "/hr/hr", nil), 405, "", ""},
		{"Oversized", signed(t, "hr", structuredType, "m", big), 413, "", ""},
		{"OversizedUnannounced", func() *http.Request {
			r := signed(t, "hr", structuredType, "m", big)
			r.ContentLength = -1
			return r
		}(), 413, "", ""},
		{"NoContentType", func() *http.Request {
			r := signed(t, "hr", "", "m", good)
			r.Header.Del("Content-Type")
			return r
		}(), 415, "", ""},
		{"EndlessMediaType", signed(t, "hr", "application/"+strings.Repeat("x", 300)+"+json", "m", good), 415, "", ""},
		{"Text", signed(t, "hr", "text/plain", "m", good), 415, "", ""},
		{"OtherEventFormat", signed(t, "hr", "application/cloudevents+avro", "m", good), 415, "", ""},
		{"OtherCharset", signed(t, "hr", "application/cloudevents+json; charset=latin1", "m", good), 415, "", ""},
		{"Compressed", with(signed(t, "hr", structuredType, "m", good), "Content-Encoding", "gzip"), 415, "", ""},
		{"FormNotConfigured", with(request("deel", "application/x-www-form-urlencoded", form), "x-deel-signature", hmacHex("k", "POST"+form)), 415, "", ""},
		{"TextUnsigned", request("hr", "text/xml", good), 401, "", ""},
		{"TextForged", sign(t, request("hr", "text/xml", good), forged, "m", now, good), 401, "", ""},
		{"CompressedUnsigned", with(request("hr", structuredType, good), "Content-Encoding", "gzip"), 401, "", ""},
		{"OversizedUnsigned", request("hr", "text/xml", big), 413, "", ""},

		{"Unsigned", request("hr", structuredType, good), 401, "", ""},
		{"Forged", sign(t, request("hr", structuredType, good), forged, "m", now, good), 401, "", ""},
		{"Stale", at(-6*time.Minute, good), 401, "", ""},
		{"FromTheFuture", at(6*time.Minute, good), 401, "", ""},
		{"ReplayedUnderAFreshTimestamp", with(at(-6*time.Minute, good), "webhook-timestamp", strconv.FormatInt(now.Unix(), 10)), 401, "", ""},
		{"ReplayedUnderANewID", with(signed(t, "hr", structuredType, "m", good), "webhook-id", "m2"), 401, "", ""},
		{"OtherBody", swapped, 401, "", ""},
		{"WrongToken", with(request("desk", structuredType, lost), "Authorization", "Bearer tokem"), 401, "", ""},
		{"UnauthenticBeforeUnreadable", request("hr", structuredType, `{`), 401, "", ""},

		{"Truncated", signed(t, "hr", structuredType, "m", good[:len(good)-9]), 400, "", "not exactly one complete JSON value"},
		{"Empty", signed(t, "hr", structuredType, "m", ""), 400, "", "JSON"},
		{"NotUTF8", signed(t, "hr", structuredType, "m", strings.Replace(good, "E1042", "E\xff", 1)), 400, "", "UTF-8"},
		{"DuplicateKey", signed(t, "hr", structuredType, "m", strings.Replace(good, `"data":{`, `"data":{"startDate":"2026-12-24",`, 1)), 400, "", "same key twice"},
		{"TwoValues", signed(t, "hr", structuredType, "m", good+good), 400, "", "JSON"},
		{"WronglyTyped", signed(t, "hr", structuredType, "m", strings.Replace(good, `"2026-11-30"`, `20261130`, 1)), 400, "", "/data/startDate"},
		{"UnparsableDate", signed(t, "hr", structuredType, "m", strings.Replace(good, `"2026-11-30"`, `"30.11.2026"`, 1)), 400, "", "/data/startDate"},
		{"NotAnObject", signed(t, "hr", structuredType, "m", `"Ping test"`), 400, "", "object"},
		{"PassAddressInAnEvent", signed(t, "hr", structuredType, "m", strings.Replace(good, `"data":{`, `"data":{"deliverTo":"eve@evil.example",`, 1)), 400, "", "/data/deliverTo"},
		{"OurOwnAttributeFromOutside", signed(t, "hr", structuredType, "m", strings.Replace(good, `{"spec`, `{"userid":"5b0e9c1e-0000-4000-8000-000000001043","spec`, 1)), 400, "", "/userid"},
		{"OurOwnAttributeInAHeader", covered("ce-key", "x"), 400, "", "/key"},
		{"MappedTruncated", signed(t, "flat", "application/json", "m", `{"type":`), 202, "quarantine:not-decodable", ""},
		{"MappedEmpty", signed(t, "flat", "application/json", "m", ""), 202, "quarantine:not-decodable", ""},
		{"MappedDuplicateKey", signed(t, "flat", "application/json", "m", `{"type":"joiner","type":"leaver"}`), 202, "quarantine:not-decodable", ""},
		{"MappedByteOrderMark", signed(t, "flat", "application/json", "m", "\ufeff{}"), 202, "quarantine:not-decodable", ""},
		{"MappedLoneSurrogate", signed(t, "flat", "application/json", "m", `{"a":"\ud800"}`), 202, "quarantine:not-decodable", ""},
		{"MappedNotDecodableUnsigned", request("flat", "application/json", `{"type":`), 401, "", ""},

		{"UnknownType", signed(t, "hr", structuredType, "m", strings.Replace(good, "employee.joiner", "employee.promoted", 1)), 202, "quarantine:unknown-type", ""},
		{"UnknownVersion", signed(t, "hr", structuredType, "m", strings.Replace(good, `"data":{`, `"dataschema":"https://mfaflow.dev/schemas/employee.joiner.v99.json","data":{`, 1)), 202, "quarantine:unknown-version", ""},
		{"OutOfScope", signed(t, "hr", structuredType, "m", lost), 202, "quarantine:out-of-scope", ""},
		{"InScope", with(request("desk", structuredType, lost), bearer...), 202, "inbound:mfa.reregister", ""},
		{"MappingFails", signed(t, "flat", "application/json", "m", `"Ping test"`), 202, "quarantine:mapping-failed", ""},
		{"MappingRunsAway", with(request("runaway", "application/json", `{}`), bearer...), 202, "quarantine:mapping-failed", ""},
		{"MappedButInvalid", signed(t, "flat", "application/json", "m", `{"type":"joiner","employeeId":"E1","startDate":"soon"}`), 202, "quarantine:invalid-event", ""},
		{"MappedPassAddress", signed(t, "flat", "application/json", "m", `{"type":"joiner","employeeId":"E1","startDate":"2026-11-30","deliverTo":"eve@evil.example"}`), 202, "quarantine:invalid-event", ""},
		{"MappedOutOfScope", signed(t, "flat", "application/json", "m", `{"type":"mfa.reregister","employeeId":"E1","mode":"full","requestedBy":"daniela.rossi@contoso.example","ticket":"INC20110"}`), 202, "quarantine:out-of-scope", ""},
		{"MappedPartlyInvalid", signed(t, "flat", "application/json", "m", `[{"type":"joiner","employeeId":"E1","startDate":"2026-11-30"},{"type":"joiner"},{"type":"joiner"}]`), 202, "inbound:employee.joiner quarantine:invalid-event", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			w := f.do(tt.r)
			if w.Code != tt.status {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, tt.status)
			}
			if got := f.broker.held(t); got != tt.held {
				t.Errorf("queues hold %q, want %q", got, tt.held)
			}
			if !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("answer does not say %q: %s", tt.says, w.Body)
			}
			if tt.status >= 400 {
				var p struct{ Status int }
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != tt.status || w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("no problem details: %s", w.Body)
				}
			}
			if tt.status == 401 && (w.Header().Get("WWW-Authenticate") == "" || strings.Contains(w.Body.String(), "stale")) {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
			for _, leak := range []string{"eve@evil.example", "30.11.2026", "E1042", "20261130"} {
				if strings.Contains(w.Body.String(), leak) || strings.Contains(f.logs.String(), leak) {
					t.Errorf("%q leaks: %s\n%s", leak, w.Body, f.logs)
				}
			}
			for _, m := range f.broker.queues["quarantine"] {
				if d := m.Properties[queue.PropDetail]; d == "" || strings.Contains(d, "evil") || strings.Contains(d, "soon") {
					t.Errorf("detail: %q", d)
				}
			}
		})
	}
}

// No path leads to a redirect, which many senders count as delivered.
func TestPaths(t *testing.T) {
	for path, want := range map[string]int{
		"/hr/hr": 202, "/hr/%68r": 202,
		"/": 404, "/hr": 404, "/hr/": 404, "/hr//hr": 404, "//hr/hr": 404, "/hr/hr/": 404, "/hr/./hr": 404, "/hr/x/../hr": 404, "/hr/hr%2F": 404,
		"/hr/..%2Fhr": 404, "/HR/hr": 404, "/hr/HR": 404, "/x/hr/hr": 404,
	} {
		r := signed(t, "hr", structuredType, "m", joiner("a"))
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		w := newFixture(t).do(r)
		if w.Code != want || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d %v, want %d", path, w.Code, w.Header(), want)
		}
	}
}

// Every invalid sample of the catalogue ends as its note says, and none of them is
// accepted.
func TestInvalidSamples(t *testing.T) {
	files, err := fs.Glob(events.FS(), "invalid/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(name, "invalid/"), ".json"), func(t *testing.T) {
			body, err := fs.ReadFile(events.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			f := newFixture(t)
			f.do(signed(t, "hr", structuredType, "m", string(body)))
			w := f.do(signed(t, "hr", structuredType, "m", string(body)))
			if len(f.broker.queues["inbound"]) > 0 {
				t.Error("accepted")
			}
			parked := len(f.broker.queues["quarantine"])
			if got := [2]int{w.Code, parked}; got != [2]int{400, 0} && got != [2]int{202, 1} {
				t.Errorf("answered %d with %d parked: %s", w.Code, parked, w.Body)
			}
			note, err := fs.ReadFile(events.FS(), strings.TrimSuffix(name, ".json")+".txt")
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 1, false: 0}[strings.HasPrefix(string(note), "unknown ")]; parked != want {
				t.Errorf("%d parked, the note says %s", parked, note)
			}
		})
	}
}

func TestSamplesAreAccepted(t *testing.T) {
	files, err := fs.Glob(events.FS(), "samples/employee.*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, name := range files {
		body, err := fs.ReadFile(events.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t)
		if w := f.do(signed(t, "hr", structuredType, "m", string(body))); w.Code != 202 || len(f.broker.queues["inbound"]) != 1 {
			t.Errorf("%s: %d %s, %s", name, w.Code, w.Body, f.broker.held(t))
		}
	}
}

func TestEveryWrongFieldIsNamed(t *testing.T) {
	f := newFixture(t)
	body := `{"specversion":"1.0","id":"1","source":"/hr","type":"employee.joiner","time":"yesterday","data":{"person":{"employeeId":7},"startDate":"soon","passLifetime":9}}`
	w := f.do(signed(t, "hr", structuredType, "m", body))
	var p struct{ Errors []catalog.FieldError }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	var pointers []string
	for _, e := range p.Errors {
		pointers = append(pointers, e.Pointer)
	}
	want := []string{"/data/passLifetime", "/data/person/employeeId", "/data/startDate", "/data/timeZone", "/time"}
	if diff := cmp.Diff(want, pointers); diff != "" {
		t.Error(diff, w.Body)
	}
}

func TestKeys(t *testing.T) {
	deelKey := func(body string) string {
		m := hmac.New(sha256.New, []byte("k"))
		m.Write([]byte("POST" + body))
		return hex.EncodeToString(m.Sum(nil))
	}
	deel := func(body string) *http.Request {
		return with(request("deel", "application/json", body), "x-deel-signature", deelKey(body))
	}
	bearerEvent := func(id string) *http.Request {
		body := strings.Replace(strings.Replace(joiner(id), "employee.joiner", "mfa.reregister", 1), `"startDate":"2026-11-30","timeZone":"Europe/Berlin"`, `"mode":"full","requestedBy":"daniela.rossi@contoso.example","ticket":"INC20110"`, 1)
		return with(request("desk", structuredType, body), "Authorization", "Bearer token")
	}
	one := `{"type":"joiner","employeeId":"E1","startDate":"2026-11-30"}`
	tracked := `[{"data":{"meta":{"tracking_id":"x"}},"type":"joiner","employeeId":"E1","startDate":"2026-11-30"}]`
	tests := map[string]struct {
		r    *http.Request
		want []string
	}{
		"WebhookID":           {signed(t, "hr", structuredType, "msg_1", joiner("a")), []string{"hr:msg_1"}},
		"WebhookIDBatch":      {signed(t, "hr", batchType, "msg_1", "["+joiner("a")+","+joiner("b")+"]"), []string{"hr:msg_1#0", "hr:msg_1#1"}},
		"WebhookIDBatchOfOne": {signed(t, "hr", batchType, "msg_1", "["+joiner("a")+"]"), []string{"hr:msg_1"}},
		"WebhookIDMapped":     {signed(t, "flat", "application/json", "msg_1", one), []string{"flat:msg_1"}},
		"WebhookIDFanOut":     {signed(t, "flat", "application/json", "msg_1", "["+one+","+one+"]"), []string{"flat:msg_1#0", "flat:msg_1#1"}},
		"CloudEventsIdentity": {bearerEvent("a"), []string{event.NewKey("desk", "https://hr.contoso.example a")}},
		"Bytes":               {deel(one), []string{event.NewKey("deel", hexSum(one))}},
		"PointerLeadsNowhere": {deel(tracked), []string{event.NewKey("deel", hexSum(tracked))}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			w := f.do(tt.r)
			var got []string
			for _, q := range []string{"inbound", "quarantine"} {
				for _, m := range f.broker.queues[q] {
					got = append(got, m.ID)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s\n%d %s", diff, w.Code, w.Body)
			}
		})
	}
	t.Run("Pointer", func(t *testing.T) {
		f := newFixture(t)
		f.do(deel(`{"data":{"meta":{"tracking_id":"track-7"}},"type":"joiner","employeeId":"E1","startDate":"2026-11-30"}`))
		// The generic mapping passes data on and the schema refuses it: parked under the key.
		if got := f.broker.queues["quarantine"]; len(got) != 1 || got[0].ID != "deel:track-7" {
			t.Errorf("%+v", got)
		}
	})
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestDuplicates(t *testing.T) {
	f := newFixture(t)
	first := f.do(signed(t, "hr", structuredType, "m", joiner("a")))
	again := f.do(sign(t, request("hr", structuredType, joiner("a")), secret, "m", now.Add(time.Minute), joiner("a")))
	if first.Code != 202 || again.Code != 202 || f.broker.held(t) != "inbound:employee.joiner" {
		t.Errorf("%d, %d, %s", first.Code, again.Code, f.broker.held(t))
	}
}

// A delivery of which nothing was taken, or that was parked, leaves its signature
// unused: it must not serve another event.
func TestSignatureOfABinaryEventServesNoOther(t *testing.T) {
	data := `{"person":{"employeeId":"E1042"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`
	attributes := func(typ string) []string {
		return []string{"ce-specversion", "1.0", "ce-id", "a", "ce-source", "/hr", "ce-subject", "E1042", "ce-type", typ, "ce-time", "2026-11-23T08:15:00Z"}
	}
	for _, first := range []string{"employee.leaver", "employee.promoted", "mfa.reregister", "employee.joiner"} {
		f := newFixture(t)
		captured := signHeaders(request("headers", "application/json", data), data, attributes(first)...)
		signature := captured.Header.Get("X-Signature")
		f.do(captured)
		for _, other := range []string{"employee.rehire", "employee.start-date-changed"} {
			w := f.do(with(request("headers", "application/json", data), append(attributes(other), "X-Signature", signature)...))
			if w.Code != 401 {
				t.Errorf("%s as %s: %d", first, other, w.Code)
			}
			w = f.do(with(signed(t, "hr", "application/json", "m", data), attributes(other)...))
			if w.Code != 415 || strings.Contains(f.broker.held(t), other) {
				t.Errorf("%s under a body signature: %d, %s", other, w.Code, f.broker.held(t))
			}
		}
	}
}

func TestSessions(t *testing.T) {
	session := func(body string) string {
		f := newFixture(t)
		if w := f.do(signed(t, "hr", structuredType, "m", body)); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return f.broker.queues["inbound"][0].SessionID
	}
	subject := session(joiner("a"))
	if other := session(strings.Replace(joiner("b"), "2026-11-30", "2026-12-01", 1)); other != subject {
		t.Errorf("one person, two sessions: %s, %s", subject, other)
	}
	if byNumber := session(strings.Replace(joiner("c"), `"subject":"E1042",`, "", 1)); byNumber != subject {
		t.Errorf("without subject: %s, with: %s", byNumber, subject)
	}
	if other := session(strings.ReplaceAll(joiner("d"), "E1042", "E1043")); other == subject {
		t.Error("two people, one session")
	}
	mail := session(strings.Replace(strings.Replace(joiner("e"), `"subject":"E1042",`, "", 1), `"employeeId":"E1042"`, `"mail":"ada@contoso.example"`, 1))
	if strings.Contains(mail, "ada") || len(mail) > 128 {
		t.Errorf("session %s", mail)
	}
}

func TestBrokerDown(t *testing.T) {
	mixed := "[" + joiner("a") + "," + strings.Replace(joiner("b"), "employee.joiner", "employee.promoted", 1) + "]"
	tests := map[string]struct {
		fail   func(ctx context.Context, queue string) error
		status int
	}{
		"Unavailable": {func(context.Context, string) error { return fmt.Errorf("%w: no route", queue.ErrUnavailable) }, 503},
		"TooSlow": {func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", queue.ErrUnavailable, ctx.Err())
		}, 503},
		"QuarantineOnly": {func(_ context.Context, name string) error {
			if name == "quarantine" {
				return queue.ErrUnavailable
			}
			return nil
		}, 503},
		"Unexpected": {func(context.Context, string) error { return errors.New("boom") }, 503},
		"TooLarge":   {func(context.Context, string) error { return queue.ErrTooLarge }, 413},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.broker.fail = tt.fail
			w := f.do(signed(t, "hr", batchType, "m", mixed))
			if w.Code != tt.status || (w.Header().Get("Retry-After") != "") != (tt.status == 503) {
				t.Errorf("%d %v", w.Code, w.Header())
			}
			f.broker.fail = nil
			if w := f.do(signed(t, "hr", batchType, "m", mixed)); w.Code != 202 {
				t.Errorf("the repetition got %d", w.Code)
			}
			if got := f.broker.held(t); got != "inbound:employee.joiner quarantine:unknown-type" {
				t.Errorf("queues hold %q", got)
			}
		})
	}
}

func TestSeveralMessagesGoInOneCall(t *testing.T) {
	f := newFixture(t)
	f.do(signed(t, "hr", batchType, "m", "["+joiner("a")+","+joiner("b")+","+joiner("c")+"]"))
	if f.broker.calls != 1 || len(f.broker.queues["inbound"]) != 3 {
		t.Errorf("%d calls", f.broker.calls)
	}
}

func TestParkedMessage(t *testing.T) {
	f := newFixture(t)
	body := ` {"type":"joiner", "employeeId":"E1","startDate":"soon"} `
	f.do(with(signed(t, "flat", "application/json; charset=utf-8", "m", body), "X-Correlation-Id", "0F8FAD5B-D9CB-469F-A165-70867728950E"))
	want := []queue.Message{{
		ID: "flat:m", Key: "flat:m", CorrelationID: "0f8fad5b-d9cb-469f-a165-70867728950e", ContentType: "application/json", Body: []byte(body),
		Properties: map[string]string{queue.PropSource: "flat", queue.PropReason: "invalid-event"},
	}}
	got := slices.Clone(f.broker.queues["quarantine"])
	if len(got) != 1 {
		t.Fatalf("%d parked", len(got))
	}
	got[0].Properties = maps.Clone(got[0].Properties)
	if d := got[0].Properties[queue.PropDetail]; !strings.Contains(d, "output 0: /data/startDate") {
		t.Errorf("detail %q", d)
	}
	delete(got[0].Properties, queue.PropDetail)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	f = newFixture(t)
	list := "[" + strings.Repeat(`{"type":"joiner"},`, 400) + `{"type":"joiner"}]`
	f.do(signed(t, "flat", "application/json", "m", list))
	parked := f.broker.queues["quarantine"]
	if len(parked) != 1 || string(parked[0].Body) != list || len(parked[0].Properties[queue.PropDetail]) > 2048 {
		t.Errorf("%d messages for one payload", len(parked))
	}
}

func TestCorrelation(t *testing.T) {
	for name, tt := range map[string]struct{ header, value, want string }{
		"Trace":        {"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"},
		"ZeroTrace":    {"Traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
		"LaterTrace":   {"Traceparent", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"},
		"BadTrace":     {"Traceparent", "4bf92f3577b34da6a3ce929d0e0e4736", ""},
		"LoudTrace":    {"Traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", ""},
		"CutTrace":     {"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", ""},
		"ShiftedTrace": {"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", ""},
		"OwnID":        {"X-Correlation-Id", "0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e"},
		"OwnIDUpper":   {"X-Correlation-Id", "0F8FAD5B-D9CB-469F-A165-70867728950E", "0f8fad5b-d9cb-469f-a165-70867728950e"},
		"OwnIDTooLong": {"X-Correlation-Id", "0f8fad5b-d9cb-469f-a165-70867728950e-0", ""},
		"OwnIDNotHex":  {"X-Correlation-Id", "0f8fad5b-d9cb-469f-a165-70867728950g", ""},
		"OwnIDNoUUID":  {"X-Correlation-Id", "ada@contoso.example", ""},
		"NothingGiven": {"X-Nothing", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.do(with(signed(t, "hr", structuredType, "m", joiner("a")), tt.header, tt.value))
			got := f.broker.queues["inbound"][0].CorrelationID
			if tt.want != "" && got != tt.want || len(got) != 36 || tt.value != "" && tt.want == "" && strings.Contains(got, tt.value) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	ask := func(source string, pairs ...string) *httptest.ResponseRecorder {
		return newFixture(t).do(with(httptest.NewRequest(http.MethodOptions, "/hr/"+source, nil), pairs...))
	}
	w := ask("hr", "WebHook-Request-Origin", "events.example.com", "WebHook-Request-Rate", "120", "WebHook-Request-Callback", "http://127.0.0.1:1/")
	if w.Code != 200 || w.Header().Get("WebHook-Allowed-Origin") != "events.example.com" || w.Header().Get("WebHook-Allowed-Rate") != "100" || w.Header().Get("Allow") != "POST" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask("hr", "WebHook-Request-Origin", "events.example.com", "WebHook-Request-Rate", "60"); w.Header().Get("WebHook-Allowed-Rate") != "60" {
		t.Errorf("%v", w.Header())
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"stranger":  ask("hr", "WebHook-Request-Origin", "evil.example"),
		"no origin": ask("hr"),
		"no list":   ask("desk", "WebHook-Request-Origin", "events.example.com"),
	} {
		if w.Code != 405 || w.Header().Get("WebHook-Allowed-Origin") != "" || w.Header().Get("WebHook-Allowed-Rate") != "" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}

func TestEventBridge(t *testing.T) {
	const id = "7bf73129-1428-4cd3-a780-95db273d1602"
	bus := func(source, detailType, detail string) json.RawMessage {
		return json.RawMessage(`{"version":"0","id":"` + id + `","source":"` + source + `","detail-type":"` + detailType + `","detail":` + detail + `}`)
	}
	flat := `{"type":"joiner","employeeId":"E1","startDate":"2026-11-30"}`
	tests := map[string]struct {
		e    json.RawMessage
		held string
		key  string
	}{
		"Canonical":        {bus("hr.acme", "Event", joiner("a")), "inbound:employee.joiner", "bus:" + id},
		"Mapped":           {bus("hr.flat", "Anything", flat), "inbound:employee.joiner", "bus-flat:" + id},
		"OtherDetailType":  {bus("hr.acme", "Ping", joiner("a")), "quarantine:unknown-source", "eventbridge:" + id},
		"UnknownSource":    {bus("hr.nobody", "Event", flat), "quarantine:unknown-source", "eventbridge:" + id},
		"InvalidCanonical": {bus("hr.acme", "Event", strings.Replace(joiner("a"), "2026-11-30", "soon", 1)), "quarantine:invalid-event", "bus:" + id},
		"DuplicateKey":     {bus("hr.acme", "Event", `{"type":"a","type":"b"}`), "quarantine:not-decodable", "bus:" + id},
		"MappingFails":     {bus("hr.flat", "x", `"x"`), "quarantine:mapping-failed", "bus-flat:" + id},
		"OutOfScope":       {bus("hr.flat", "x", `{"type":"mfa.reregister","employeeId":"E1","mode":"full","requestedBy":"daniela.rossi@contoso.example","ticket":"INC20110"}`), "quarantine:out-of-scope", "bus-flat:" + id},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			for range 2 { // Lambda's asynchronous invocation may repeat
				if err := f.EventBridge(t.Context(), tt.e); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.broker.held(t); got != tt.held {
				t.Errorf("queues hold %q, want %q", got, tt.held)
			}
			for _, msgs := range f.broker.queues {
				if msgs[0].Key != tt.key || msgs[0].CorrelationID != id {
					t.Errorf("key %s, correlation %s", msgs[0].Key, msgs[0].CorrelationID)
				}
			}
		})
	}
	t.Run("BrokerDown", func(t *testing.T) {
		f := newFixture(t)
		f.broker.fail = func(context.Context, string) error { return queue.ErrUnavailable }
		if err := f.EventBridge(t.Context(), bus("hr.acme", "Event", joiner("a"))); !errors.Is(err, queue.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("NoBusEvent", func(t *testing.T) {
		if err := newFixture(t).EventBridge(t.Context(), json.RawMessage(`{"Records":[]}`)); !errors.Is(err, ingest.ErrNotBusEvent) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLog(t *testing.T) {
	f := newFixture(t)
	f.do(signed(t, "hr", structuredType, "m", joiner("a")))
	f.do(signed(t, "hr", structuredType, "m2", strings.Replace(joiner("a"), "employee.joiner", "employee.promoted", 1)))
	f.do(signed(t, "flat", "application/json", "m3", `[]`))
	f.do(sign(t, request("hr", structuredType, joiner("a")), forged, "m", now, joiner("a")))
	f.broker.fail = func(context.Context, string) error { return queue.ErrUnavailable }
	f.do(signed(t, "hr", structuredType, "m4", joiner("a")))
	var got []string
	for line := range strings.Lines(f.logs.String()) {
		var l struct {
			Function, Source, Outcome, Key, Type, Reason string
			Status                                       int
			Correlation                                  string   `json:"correlation_id"`
			Duration                                     *float64 `json:"duration_ms"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Function != "hr-events" || l.Duration == nil || len(l.Correlation) != 36 {
			t.Errorf("%s", line)
		}
		got = append(got, fmt.Sprint(l.Source, " ", l.Outcome, " ", l.Status, " ", l.Key, " ", l.Type, " ", l.Reason))
	}
	want := []string{
		"hr accepted 202 hr:m employee.joiner ", "hr parked 202 hr:m2  unknown-type", "flat ignored 202   ",
		"hr rejected 401   bad-signature", "hr unavailable 503   broker-unavailable",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := f.logs.String(); strings.Contains(s, "E1042") || strings.Contains(s, "2026-11-30") {
		t.Error("the log holds data of the event")
	}
}
