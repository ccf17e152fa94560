package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
)

func full() event.Event {
	return event.Event{
		ID: "hr-1", Source: "/hr", Type: event.Joiner, Subject: "E1042",
		Time:       time.Date(2026, time.November, 23, 8, 15, 0, 123456789, time.UTC),
		DataSchema: "https://mfaflow.dev/schemas/employee.joiner.v1.json",
		Data:       json.RawMessage(`{"person":{"employeeId":"E1042"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`),
		ReceivedAt: time.Date(2026, time.November, 23, 8, 15, 1, 0, time.UTC),
		Origin:     "hr", Key: "hr:hr-1", CorrelationID: "c-1", UserID: "5b0e9c1e-0000-4000-8000-000000001042",
	}
}

func TestEncodeThenDecode(t *testing.T) {
	bare := event.Event{ID: "1", Source: "/hr", Type: event.Ref, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, want := range []event.Event{full(), bare} {
		encoded, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := event.Decode(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDecode(t *testing.T) {
	encoded, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		var m map[string]any
		if err := json.Unmarshal(encoded, &m); err != nil {
			t.Fatal(err)
		}
		if m[name] = value; value == nil {
			delete(m, name)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name, text string
		refused    bool
	}{
		{"whole", string(encoded), false},
		{"field of a newer producer", with("newer", 1), false},
		{"without data", with("data", nil), false},
		{"empty", "", true},
		{"array", "[]", true},
		{"cut off", string(encoded[:40]), true},
		{"two values", string(encoded) + "{}", true},
		{"closing brace too many", string(encoded) + "}", true},
		{"closing bracket too many", string(encoded) + "]", true},
		{"other specversion", with("specversion", "0.3"), true},
		{"without id", with("id", nil), true},
		{"without source", with("source", nil), true},
		{"without type", with("type", nil), true},
		{"unknown type", with("type", "employee.promoted"), true},
		{"without time", with("time", nil), true},
		{"time without offset", with("time", "2026-11-23T08:15:00"), true},
		{"receivedat unparsable", with("receivedat", "now"), true},
		{"id is a number", with("id", 7), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := event.Decode([]byte(tt.text))
			if refused := errors.Is(err, event.ErrMalformed); refused != tt.refused || (err != nil) != tt.refused {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := event.Decode([]byte(with("type", "employee.promoted"))); !errors.Is(err, event.ErrUnknownType) {
		t.Errorf("unknown type: got %v", err)
	}
}

func TestNewKey(t *testing.T) {
	for _, tt := range []struct{ name, id, want string }{
		{"readable", "msg_2KWPBgLlAfxdpx2A.1-b", "hr:msg_2KWPBgLlAfxdpx2A.1-b"},
		{"longest readable", strings.Repeat("a", 40), "hr:" + strings.Repeat("a", 40)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := event.NewKey("hr", tt.id); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
	seen := map[string]string{}
	for _, id := range []string{"", "a b", "a#b", "a~b", "a:b", "é", strings.Repeat("a", 41), strings.Repeat("a", 42)} {
		key := event.NewKey("hr", id)
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q have one key", id, other)
		}
		seen[key] = id
		if len(key) != len("hr:")+40 || strings.ContainsAny(strings.TrimPrefix(key, "hr:"), " #~:") {
			t.Errorf("%q became %q", id, key)
		}
	}
	if one, again := event.NewKey("hr", "a b"), event.NewKey("hr", "a b"); one != again {
		t.Errorf("the key of one id changes: %s, %s", one, again)
	}
}

// What is accepted has a known type, an id, a source and a time, and is the same
// after another trip over a queue.
func FuzzDecode(f *testing.F) {
	encoded, err := full().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"risk.user","time":"2026-01-01T00:00:00,5+23:59","data":[1e9, "<"]}`))
	f.Add([]byte(`{"SPECVERSION":"1.0","id":"1","id":"2","source":"/s","type":"employee.ref","time":"0000-01-01T00:00:00Z","receivedat":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Decode(raw)
		if err != nil {
			if !errors.Is(err, event.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if _, err := event.ParseType(string(e.Type)); err != nil || e.ID == "" || e.Source == "" {
			t.Fatalf("accepted an incomplete event: %v", err)
		}
		first, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := event.Decode(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("%s became %s", first, second)
		}
		if !e.Time.Equal(again.Time) || !e.ReceivedAt.Equal(again.ReceivedAt) {
			t.Fatal("a time moved")
		}
	})
}

func TestPerson(t *testing.T) {
	got, err := full().Person()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(identity.Reference{EmployeeID: "E1042"}, got); diff != "" {
		t.Error(diff)
	}
	for _, data := range []string{``, `[]`, `{"person":"E1042"}`} {
		e := full()
		e.Data = json.RawMessage(data)
		if _, err := e.Person(); !errors.Is(err, event.ErrBadData) {
			t.Errorf("%s: got %v", data, err)
		}
	}
}
