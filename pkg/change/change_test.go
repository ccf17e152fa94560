package change_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/change"
	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/telemetry"
)

const (
	tenant  = "84bd8158-6d4d-4958-8b9f-9d6445542f95"
	foreign = "84bd8158-6d4d-4958-8b9f-9d6445542f96"
	mei     = "10000000-0000-4000-8000-000000000011"
	peter   = "10000000-0000-4000-8000-000000000012"
)

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// broker keeps what is sent, or refuses it.
type broker struct {
	sent map[string][]queue.Message
	err  error
}

func (b *broker) Send(_ context.Context, q string, msgs ...queue.Message) error {
	if b.err != nil {
		return b.err
	}
	b.sent[q] = append(b.sent[q], msgs...)
	return nil
}

func (b *broker) empty() bool { return len(b.sent) == 0 }

type fixture struct {
	testing.TB
	broker *broker
	log    *bytes.Buffer
	keys   *clientstate.Keys
	http.Handler
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t, broker: &broker{sent: map[string][]queue.Message{}}, log: &bytes.Buffer{}}
	var err error
	f.keys, err = clientstate.NewKeys([]clientstate.Key{{ID: "k1", Secret: identity.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))}})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return t0 }
	f.Handler, err = change.New(change.Options{
		TenantID: tenant, Keys: f.keys, Sender: f.broker, Now: now, Logger: telemetry.NewLogger(f.log, "graph-notifications", slog.LevelInfo),
		Metrics: telemetry.NewMetrics(f.log, "mfaflow", "graph-notifications", now), InboundQueue: "inbound", ControlQueue: "control",
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// state is the client state of our subscription.
func (f *fixture) state(tenant, slot string) string {
	s, err := f.keys.Make(tenant, slot)
	if err != nil {
		f.Fatal(err)
	}
	return s.Reveal()
}

// notification is one about a user, changed by pairs of name and value; a nil value
// takes the field away.
func (f *fixture) notification(id, user string, but ...any) map[string]any {
	n := map[string]any{
		"id": id, "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07", "subscriptionExpirationDateTime": "2026-12-20T00:00:00Z",
		"clientState": f.state(tenant, "users"), "changeType": "updated", "resource": "Users/" + user, "tenantId": tenant,
		"resourceData": map[string]any{"@odata.type": "#Microsoft.Graph.User", "@odata.id": "Users/" + user, "id": user},
	}
	for i := 0; i < len(but); i += 2 {
		if n[but[i].(string)] = but[i+1]; but[i+1] == nil {
			delete(n, but[i].(string))
		}
	}
	return n
}

func (f *fixture) lifecycle(action string) map[string]any {
	return map[string]any{
		"subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07", "subscriptionExpirationDateTime": "2026-12-20T00:00:00Z",
		"tenantId": tenant, "clientState": f.state(tenant, "users"), "lifecycleEvent": action,
	}
}

func (f *fixture) post(items ...map[string]any) *httptest.ResponseRecorder {
	body, err := json.Marshal(map[string]any{"value": items})
	if err != nil {
		f.Fatal(err)
	}
	return f.send(http.MethodPost, change.NotificationPath, bytes.NewReader(body))
}

func (f *fixture) send(method, target string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func TestNotificationBecomesAnEvent(t *testing.T) {
	f := newFixture(t)
	w := f.post(f.notification("n1", mei), f.notification("n2", peter, "changeType", "deleted"))
	if w.Code != http.StatusAccepted || w.Body.Len() != 0 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	sent := f.broker.sent["inbound"]
	if len(sent) != 2 || sent[0].ID != "graph:n1" || sent[0].Key != "graph:n1" || sent[0].SessionID == sent[1].SessionID {
		t.Fatalf("%+v", sent)
	}
	schemas, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []event.AccountUpdate{
		{Person: identity.Reference{ObjectID: mei}, Change: event.AccountUpdated},
		{Person: identity.Reference{ObjectID: peter}, Change: event.AccountDeleted},
	} {
		e, err := event.Decode(sent[i].Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.AccountUpdate(); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
		if e.Origin != sweep.Graph || !e.ReceivedAt.Equal(t0) || e.CorrelationID == "" {
			t.Errorf("%+v", e)
		}
		// What we make ourselves obeys the schema that others are judged by.
		outside := map[string]any{"specversion": "1.0", "id": e.ID, "source": e.Source, "type": string(e.Type), "time": e.Time.Format(time.RFC3339), "subject": e.Subject}
		var data any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		outside["data"] = data
		if _, err := schemas.ParseValue(outside); err != nil {
			t.Error(err)
		}
	}
}

// The documented example, with our ids in it.
func TestDocumentedShapes(t *testing.T) {
	f := newFixture(t)
	for name, n := range map[string]map[string]any{
		"upper-case id":               f.notification("a", strings.ToUpper(mei)),
		"lower-case collection":       f.notification("b", mei, "resource", "users/"+mei),
		"no resource data":            f.notification("c", mei, "resourceData", nil),
		"null content":                f.notification("d", mei, "encryptedContent", json.RawMessage("null")),
		"tenant in upper case":        f.notification("e", mei, "tenantId", strings.ToUpper(tenant)),
		"a field that we do not know": f.notification("f", mei, "organizationId", tenant),
	} {
		clear(f.broker.sent)
		if w := f.post(n); w.Code != http.StatusAccepted || len(f.broker.sent["inbound"]) != 1 {
			t.Errorf("%s: %d, %d sent", name, w.Code, len(f.broker.sent["inbound"]))
		}
	}
}

// Graph retries a delivery as it was, and sends several notifications for one change.
func TestRepeatedNotifications(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		f.post(f.notification("n1", mei), f.notification("n2", mei), f.notification("n3", mei, "changeType", "deleted"))
	}
	var ids []string
	for _, m := range f.broker.sent["inbound"] {
		ids = append(ids, m.ID)
	}
	if got := strings.Join(ids, " "); got != "graph:n1 graph:n3 graph:n1 graph:n3" {
		t.Error(got)
	}
}

// Two notifications without an id are two reasons to look, even with the same content:
// the second may be about a later change.
func TestNotificationsWithoutID(t *testing.T) {
	f := newFixture(t)
	f.post(f.notification("", mei, "id", nil))
	f.post(f.notification("", mei, "id", nil))
	if sent := f.broker.sent["inbound"]; len(sent) != 2 || sent[0].ID == sent[1].ID {
		t.Errorf("%+v", sent)
	}
}

func TestLifecycleBecomesACommand(t *testing.T) {
	for _, action := range []sweep.Action{sweep.Reauthorize, sweep.Recreate, sweep.BackFill} {
		f := newFixture(t)
		body, _ := json.Marshal(map[string]any{"value": []any{f.lifecycle(string(action))}})
		if w := f.send(http.MethodPost, change.LifecyclePath, bytes.NewReader(body)); w.Code != http.StatusAccepted {
			t.Fatalf("%d", w.Code)
		}
		sent := f.broker.sent["control"]
		if len(sent) != 1 || sent[0].SessionID != sweep.SessionID {
			t.Fatalf("%+v", sent)
		}
		c, err := sweep.ParseCommand(sent[0])
		if err != nil || c.Action != action || c.Slot != "users" || c.SubscriptionID != "7f105c7d-2dc5-4530-97cd-4e7ae6534c07" {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

// What is not ours is dropped and told apart in the log alone; what is ours goes on.
func TestMixedBatch(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		item   func(*fixture) map[string]any
	}{
		"forged client state": {"not-ours", func(f *fixture) map[string]any { return f.notification("x", mei, "clientState", "secretClientValue") }},
		"no client state":     {"not-ours", func(f *fixture) map[string]any { return f.notification("x", mei, "clientState", nil) }},
		"another tenant":      {"not-ours", func(f *fixture) map[string]any { return f.notification("x", mei, "tenantId", foreign) }},
		"another tenant's own": {"not-ours", func(f *fixture) map[string]any {
			return f.notification("x", mei, "tenantId", foreign, "clientState", f.state(foreign, "users"))
		}},
		"another subscription": {"not-ours", func(f *fixture) map[string]any {
			return f.notification("x", mei, "clientState", f.state(tenant, "groups"))
		}},
		"encrypted": {"encrypted", func(f *fixture) map[string]any {
			return f.notification("x", mei, "encryptedContent", map[string]any{"data": "AA=="})
		}},
		"another resource":    {"not-a-user", func(f *fixture) map[string]any { return f.notification("x", mei, "resource", "groups/"+mei) }},
		"parts that disagree": {"not-a-user", func(f *fixture) map[string]any { return f.notification("x", mei, "resource", "Users/"+peter) }},
		"a message of a user": {"not-a-user", func(f *fixture) map[string]any {
			return f.notification("x", mei, "resource", "Users/"+mei+"/messages/1")
		}},
		"creation":                {"unknown-change", func(f *fixture) map[string]any { return f.notification("x", mei, "changeType", "created") }},
		"unknown lifecycle event": {"unknown-lifecycle-event", func(f *fixture) map[string]any { return f.lifecycle("paused") }},
		"forged lifecycle event": {"not-ours", func(f *fixture) map[string]any {
			n := f.lifecycle("missed")
			n["clientState"] = "v1.k1.users.AAAA"
			return n
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			alone := f.post(c.item(f))
			if alone.Code != http.StatusAccepted || alone.Body.Len() != 0 || !f.broker.empty() {
				t.Errorf("%d %q, sent %v", alone.Code, alone.Body, f.broker.sent)
			}
			if !strings.Contains(f.log.String(), `"outcome":"dropped"`) || !strings.Contains(f.log.String(), `"reason":"`+c.reason+`"`) || !strings.Contains(f.log.String(), `"Dropped":1`) {
				t.Errorf("log: %s", f.log)
			}
			good := f.post(f.notification("good", peter))
			if both := f.post(c.item(f), f.notification("good2", peter)); both.Code != good.Code || len(f.broker.sent["inbound"]) != 2 || len(f.broker.sent) != 1 {
				t.Errorf("%d, sent %v", both.Code, f.broker.sent)
			}
		})
	}
}

// Ten thousand forged items make one line, and nothing else.
func TestLargeForgedBatch(t *testing.T) {
	f := newFixture(t)
	items := make([]map[string]any, 10_000)
	for i := range items {
		items[i] = map[string]any{"id": fmt.Sprint(i), "clientState": "v1.k1.users.AAAA", "tenantId": tenant, "changeType": "updated", "resource": "Users/" + mei}
	}
	if w := f.post(items...); w.Code != http.StatusAccepted || !f.broker.empty() {
		t.Errorf("%d, sent %v", w.Code, f.broker.sent)
	}
	if got := strings.Count(f.log.String(), `"outcome":"dropped"`); got != 1 || !strings.Contains(f.log.String(), `"items":10000`) {
		t.Errorf("%d lines: %.300s", got, f.log)
	}
}

// What anybody may send takes no room that grows with what it seems to hold: items that
// are all kept take more than three hundred times their text.
func TestRoomOfADelivery(t *testing.T) {
	const size = 4<<20 - 64
	for name, body := range map[string]string{
		"items":   `{"value":[` + strings.Repeat(`{},`, size/3) + `{}]}`,
		"numbers": `{"value":[],"x":[` + strings.Repeat(`0,`, size/2) + `0]}`,
		"parts":   `{"value":[{"clientState":"` + strings.Repeat(`.`, size) + `"}]}`,
	} {
		f := newFixture(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := f.send(http.MethodPost, change.NotificationPath, strings.NewReader(body))
		runtime.ReadMemStats(&after)
		if taken := (after.TotalAlloc - before.TotalAlloc) / uint64(len(body)); w.Code != http.StatusAccepted || taken > 120 || !f.broker.empty() {
			t.Errorf("%s: %d, %d bytes for each byte", name, w.Code, taken)
		}
	}
}

func TestRefusals(t *testing.T) {
	gzipped := &bytes.Buffer{}
	z := gzip.NewWriter(gzipped)
	_, _ = z.Write([]byte(`{"value":[]}`))
	_ = z.Close()
	for name, c := range map[string]struct {
		method, target string
		body           io.Reader
		header         []string
		want           int
	}{
		"GET":             {http.MethodGet, change.NotificationPath, nil, nil, 405},
		"another path":    {http.MethodPost, "/graph", strings.NewReader(`{"value":[]}`), nil, 404},
		"a doubled slash": {http.MethodPost, "//graph/notifications", strings.NewReader(`{"value":[]}`), nil, 404},
		"no JSON":         {http.MethodPost, change.NotificationPath, strings.NewReader("value=1"), nil, 400},
		"no list":         {http.MethodPost, change.NotificationPath, strings.NewReader(`{"value":{}}`), nil, 400},
		"nothing":         {http.MethodPost, change.NotificationPath, strings.NewReader(`{}`), nil, 400},
		"two bodies":      {http.MethodPost, change.NotificationPath, strings.NewReader(`{"value":[]}{"value":[]}`), nil, 400},
		"doubled key":     {http.MethodPost, change.NotificationPath, strings.NewReader(`{"value":[],"value":[]}`), nil, 400},
		"deep":            {http.MethodPost, change.NotificationPath, strings.NewReader(`{"value":` + strings.Repeat("[", 10_000)), nil, 400},
		"compressed":      {http.MethodPost, change.NotificationPath, gzipped, []string{"Content-Encoding", "gzip"}, 415},
		"too large":       {http.MethodPost, change.NotificationPath, io.LimitReader(zeros{}, 5<<20), nil, 413},
		"an empty list":   {http.MethodPost, change.NotificationPath, strings.NewReader(`{"value":[]}`), nil, 202},
	} {
		f := newFixture(t)
		w := f.send(c.method, c.target, c.body, c.header...)
		if w.Code != c.want || w.Body.Len() != 0 || !f.broker.empty() {
			t.Errorf("%s: %d %q, sent %v", name, w.Code, w.Body, f.broker.sent)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBrokerDown(t *testing.T) {
	f := newFixture(t)
	f.broker.err = queue.ErrUnavailable
	for name, n := range map[string]map[string]any{"a notification": f.notification("n1", mei), "a lifecycle notification": f.lifecycle("missed")} {
		if w := f.post(n); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	// What is not ours does not learn how the broker is.
	if w := f.post(f.notification("n1", mei, "clientState", "x")); w.Code != http.StatusAccepted {
		t.Errorf("forged: %d", w.Code)
	}
}

func TestValidation(t *testing.T) {
	const documented = "Validation: Testing client application reachability for subscription Request-Id: 522a8e7e-096a-494c-aaf1-ac0dcfca45b7"
	for _, path := range []string{change.NotificationPath, change.LifecyclePath} {
		f := newFixture(t)
		w := f.send(http.MethodPost, path+"?validationToken="+url.QueryEscape(documented), nil, "Content-Type", "text/plain; charset=utf-8")
		if w.Code != http.StatusOK || w.Body.String() != documented || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
		}
	}
	for name, query := range map[string]string{
		"markup":            "validationToken=" + url.QueryEscape("<script>alert(1)</script>"),
		"an ampersand":      "validationToken=a%26b",
		"control character": "validationToken=a%0d%0aSet-Cookie:x",
		"not ASCII":         "validationToken=%c3%a4",
		"empty":             "validationToken=",
		"two":               "validationToken=a&validationToken=b",
		"too long":          "validationToken=" + strings.Repeat("a", 2049),
		"bad escape":        "validationToken=%zz",
		"other case":        "validationtoken=a",
	} {
		f := newFixture(t)
		if w := f.send(http.MethodPost, change.NotificationPath+"?"+query, strings.NewReader(`{"value":[]}`)); w.Code != http.StatusBadRequest || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
	// Decoded once: what was encoded twice stays encoded once.
	f := newFixture(t)
	if w := f.send(http.MethodPost, change.NotificationPath+"?validationToken=a%2520b", nil); w.Body.String() != "a%20b" {
		t.Errorf("%q", w.Body)
	}
}

// Whatever comes, what is sent was proven to be ours.
func FuzzServeHTTP(f *testing.F) {
	fix := newFixture(f)
	for _, n := range []map[string]any{fix.notification("n1", mei), fix.lifecycle("missed"), fix.notification("n1", mei, "clientState", "forged")} {
		body, err := json.Marshal(map[string]any{"value": []any{n}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fix := newFixture(t)
		w := fix.send(http.MethodPost, change.NotificationPath, bytes.NewReader(body))
		sent := len(fix.broker.sent["inbound"]) + len(fix.broker.sent["control"])
		if w.Code != http.StatusAccepted && sent > 0 {
			t.Fatalf("%d, and %d sent", w.Code, sent)
		}
		if sent == 0 {
			return
		}
		// The oracle reads the body by itself.
		var d struct {
			Value []struct {
				ClientState, TenantID string
				EncryptedContent      any
			}
		}
		if err := json.Unmarshal(body, &d); err != nil {
			t.Fatal(err)
		}
		ours := 0
		for _, n := range d.Value {
			if n.ClientState == fix.state(tenant, "users") && strings.EqualFold(n.TenantID, tenant) && n.EncryptedContent == nil {
				ours++
			}
		}
		if sent > ours {
			t.Errorf("%d sent, %d ours", sent, ours)
		}
	})
}
