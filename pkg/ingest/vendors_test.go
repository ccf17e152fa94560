package ingest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"mfaflow/events"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/webhook"
)

// vendorKey is the key of a system in these tests, in the form that its preset wants.
func vendorKey(preset string) string {
	switch preset {
	case "standard-webhooks":
		return secret
	case "basic":
		return "sf:test-secret"
	default: // good as text, hex and base64, for whoever is described in full
		return "00112233445566778899aabbccddeeff"
	}
}

// signAs signs as the vendors themselves do, written down here anew from their pages: for
// them it shares nothing with the code that verifies. A system that is described in full
// in its source.json signs as that says.
func signAs(t testing.TB, c webhook.Config, key, body string, at time.Time) http.Header {
	t.Helper()
	h := http.Header{}
	switch c.Preset {
	case "bamboohr": // the body, then the time, without anything between
		h.Set("X-BambooHR-Timestamp", strconv.FormatInt(at.Unix(), 10))
		h.Set("X-BambooHR-Signature", hmacHex(key, body+strconv.FormatInt(at.Unix(), 10)))
	case "hibob":
		m := hmac.New(sha512.New, []byte(key))
		m.Write([]byte(body))
		h.Set("Bob-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	case "deel":
		h.Set("x-deel-signature", hmacHex(key, "POST"+body))
		h.Set("x-deel-hmac-label", "primary")
	case "gusto":
		h.Set("X-Gusto-Signature", hmacHex(key, body))
	case "personio": // the token as it was typed in
		h.Set("Authorization", key)
	case "bearer":
		h.Set("Authorization", "Bearer "+key)
	case "basic":
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(key)))
	case "standard-webhooks":
		r := request("x", "application/json", body)
		sign(t, r, key, "msg_1", at, body)
		maps.Copy(h, r.Header)
	default:
		c.Keys = webhook.Keys{identity.NewSecret(key)}
		if err := webhook.SignAs(c, h, "msg_1", at, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// The known answers of the project's reference, computed with another implementation.
func TestKnownVendorSignatures(t *testing.T) {
	const body = `{"type":"employee.updated","data":{"employeeId":"67890"}}`
	at := time.Unix(1764000000, 0)
	for preset, want := range map[string]string{
		"bamboohr": "bf4f65592b68397284b0a24b00e442cfea38ac3efcb291e3bdffe4e098c52844",
		"hibob":    "fly5m20t8IBBBfCMZdYxTb2ym1236Bxr5aThd1cFNCGi2RLcMd0doG+05+26XtviHm4YZkD0BZrj+/9SyZ0TAQ==",
	} {
		h := signAs(t, webhook.Config{Preset: preset}, "test-secret", body, at)
		if got := h.Get("X-BambooHR-Signature") + h.Get("Bob-Signature"); got != want {
			t.Errorf("%s: %s", preset, got)
		}
		v, err := webhook.New(webhook.Config{Preset: preset, Keys: webhook.Keys{identity.NewSecret("test-secret")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(h, []byte(body), at); err != nil {
			t.Errorf("%s: %v", preset, err)
		}
	}
}

// connected is a handler for one system of the catalogue, as recommended.
func connected(t *testing.T, system string, change ...func(*ingest.Source)) (*fixture, ingest.Source) {
	t.Helper()
	raw, _, err := mapping.Recommended(system)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ingest.ParseSources([]byte("[" + string(raw) + "]"))
	if err != nil {
		t.Fatal(err)
	}
	src := list[0]
	if src.Verify != nil {
		src.Verify.Keys = webhook.Keys{identity.NewSecret(vendorKey(src.Verify.Preset))}
	}
	for _, c := range change {
		c(&src)
	}
	c, err := theCatalog()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{broker: &broker{queues: map[string][]queue.Message{}, seen: map[string]bool{}}, logs: &bytes.Buffer{}, clock: receivedAt}
	f.Handler, err = ingest.New(ingest.Options{
		Prefix: "/hr/", Sources: []ingest.Source{src}, Catalog: c, Sender: f.broker, Clock: func() time.Time { return f.clock },
		Logger: telemetry.NewLogger(f.logs, "hr-events", slog.LevelDebug), InboundQueue: "inbound", QuarantineQueue: "quarantine",
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, src
}

// receivedAt is the receipt that the golden answers of the catalogue are written for.
var receivedAt = time.Date(2026, time.November, 23, 14, 15, 0, 0, time.UTC)

// deliver hands a payload in as the system does; header nil means by bus.
func (f *fixture) deliver(t *testing.T, src ingest.Source, payload []byte, header http.Header) int {
	t.Helper()
	if src.Verify == nil {
		if err := f.EventBridge(t.Context(), payload); err != nil {
			t.Fatal(err)
		}
		return http.StatusAccepted
	}
	r := request(src.Name, "application/json", string(payload))
	if src.Name == "scim" {
		r.Header.Set("Content-Type", "application/scim+json")
	}
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Code
}

// golden are the types that the catalogue says a payload comes to, and whether some of
// it is parked.
func golden(t *testing.T, name string) (types []string, parked bool) {
	t.Helper()
	text, err := fs.ReadFile(events.FS(), strings.TrimSuffix(name, ".json")+".txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "refused") {
			if parked = true; len(types) > 0 {
				types = types[:len(types)-1] // the line before
			}
			continue
		}
		var e struct{ Type string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		types = append(types, e.Type)
	}
	return types, parked
}

// Every payload of every system: signed as its vendor does, it comes to the events that
// the catalogue says; under another key it comes to nothing at all; out of scope it is
// parked.
func TestSystems(t *testing.T) {
	for _, system := range mapping.Systems() {
		payloads, err := fs.Glob(events.FS(), "hr/"+system+"/*.json")
		if err != nil || len(payloads) < 2 {
			t.Fatalf("%s: %d payloads, %v", system, len(payloads), err)
		}
		yields := 0
		for _, name := range payloads {
			if path.Base(name) == "source.json" {
				continue
			}
			raw, err := fs.ReadFile(events.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			raw = bytes.TrimSpace(raw) // no vendor ends a body with a line feed
			t.Run(strings.TrimSuffix(strings.TrimPrefix(name, "hr/"), ".json"), func(t *testing.T) {
				types, parked := golden(t, name)
				yields += len(types)
				f, src := connected(t, system)
				header, forgery := signatures(t, src, raw)
				if code := f.deliver(t, src, raw, header); code != http.StatusAccepted {
					t.Fatalf("answer %d\n%s", code, f.logs)
				}
				want := ""
				for _, typ := range types {
					want += " inbound:" + typ
				}
				got := f.broker.held(t)
				if at := strings.Index(got, "quarantine:"); parked != (at >= 0) || strings.TrimSpace(want) != strings.TrimSpace(strings.Split(got, "quarantine:")[0]) {
					t.Errorf("got %q, want %q, parked %t", got, want, parked)
				}
				for _, m := range f.broker.queues["inbound"] {
					if e, err := event.Decode(m.Body); err != nil || e.Origin != system || !e.ReceivedAt.Equal(receivedAt) {
						t.Errorf("%s: %v", m.Body, err)
					}
				}
				if src.Verify == nil {
					return
				}
				f, src = connected(t, system)
				if code := f.deliver(t, src, raw, forgery); code != http.StatusUnauthorized || f.broker.calls != 0 {
					t.Errorf("under another key: %d, %d calls of the broker", code, f.broker.calls)
				}
				f, src = connected(t, system, func(s *ingest.Source) { s.Types = []string{"mfa.reregister"} })
				f.deliver(t, src, raw, header)
				if got := f.broker.held(t); strings.Contains(got, "inbound:") || len(types) > 0 && !strings.HasPrefix(got, "quarantine:") {
					t.Errorf("out of scope: %q", got)
				}
			})
		}
		if yields == 0 {
			t.Errorf("%s: no payload comes to an event", system)
		}
	}
}

// signatures are that of the vendor and one under a key that is not ours.
func signatures(t *testing.T, src ingest.Source, raw []byte) (good, bad http.Header) {
	t.Helper()
	if src.Verify == nil {
		return nil, nil
	}
	key := vendorKey(src.Verify.Preset)
	other := map[string]string{secret: forged}[key]
	if other == "" {
		other = key[:len(key)-4] + "0000"
	}
	return signAs(t, *src.Verify, key, string(raw), receivedAt), signAs(t, *src.Verify, other, string(raw), receivedAt)
}

// HiBob tries an address before it signs anything, and gives up unless the answer is 2xx.
// That is the one unsigned body that is not refused, and it comes to nothing.
func TestUnsignedTry(t *testing.T) {
	f, src := connected(t, "hibob")
	for body, want := range map[string]int{
		`"Ping test"`:                          http.StatusAccepted,
		" {\"text\":\"Ping test\"}\n":          http.StatusAccepted,
		`{"text":"Ping test","data":{}}`:       http.StatusUnauthorized,
		`{"type":"employee.left","data":{}}`:   http.StatusUnauthorized,
		`"Ping test" {"type":"employee.left"}`: http.StatusUnauthorized,
	} {
		if code := f.deliver(t, src, []byte(body), nil); code != want {
			t.Errorf("%s: %d, want %d", body, code, want)
		}
	}
	bad := http.Header{"Bob-Signature": {"bm8="}}
	if code := f.deliver(t, src, []byte(`"Ping test"`), bad); code != http.StatusUnauthorized {
		t.Errorf("with a wrong signature: %d", code)
	}
	if f.broker.calls != 0 {
		t.Errorf("%d calls of the broker", f.broker.calls)
	}
}

// Trying a payload comes to what delivering it does, and to nothing on any queue.
func TestTryAgreesWithDelivery(t *testing.T) {
	c, err := theCatalog()
	if err != nil {
		t.Fatal(err)
	}
	for _, system := range []string{"bamboohr", "scim", "workday"} {
		payloads, err := fs.Glob(events.FS(), "hr/"+system+"/[a-r]*.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range payloads {
			raw, err := fs.ReadFile(events.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			raw = bytes.TrimSpace(raw)
			f, src := connected(t, system)
			header, _ := signatures(t, src, raw)
			f.deliver(t, src, raw, header)
			tried, err := ingest.Try(t.Context(), src, c, raw, receivedAt)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range tried.Events {
				got = append(got, "inbound:"+string(e.Type))
			}
			if tried.Reason != "" {
				got = append(got, "quarantine:"+string(tried.Reason))
			}
			if want := f.broker.held(t); strings.Join(got, " ") != want {
				t.Errorf("%s: tried %q, delivered %q", name, got, want)
			}
		}
	}
}
