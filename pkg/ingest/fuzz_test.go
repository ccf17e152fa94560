package ingest_test

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mfaflow/events"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/queue"
)

// Whatever an authentic sender posts: 202 leaves at least one message unless there
// was nothing to do, every other answer leaves none, and what is on the inbound
// queue is of a known type within the scope and keeps its form when read again.
func FuzzDelivery(f *testing.F) {
	for _, pattern := range []string{"samples/employee.*/*.json", "invalid/employee.joiner/*.json", "invalid/envelope/*.json", "hr/*/*.json"} {
		files, err := fs.Glob(events.FS(), pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, name := range files {
			body, err := fs.ReadFile(events.FS(), name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add("hr", structuredType, string(body))
			f.Add("flat", "application/json", string(body))
			f.Add("hr", batchType, "["+string(body)+"]")
		}
	}
	f.Add("flat", "application/x-www-form-urlencoded", "type=joiner&employeeId=E1&startDate=2026-11-30")
	f.Fuzz(func(t *testing.T, source, contentType, body string) {
		if source != "hr" && source != "flat" {
			t.Skip()
		}
		fx := newFixture(t)
		r := httptest.NewRequest(http.MethodPost, "/hr/"+source, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := fx.do(sign(t, r, secret, "m", now, body))
		inbound, parked := fx.broker.queues["inbound"], fx.broker.queues["quarantine"]
		if w.Code != http.StatusAccepted && len(inbound)+len(parked) > 0 {
			t.Fatalf("answered %d with %d and %d messages", w.Code, len(inbound), len(parked))
		}
		if w.Code == http.StatusAccepted && len(inbound)+len(parked) == 0 && !strings.Contains(fx.logs.String(), `"outcome":"ignored"`) {
			t.Fatal("accepted and lost")
		}
		fx.broker.held(t)
		for _, m := range inbound {
			e, err := event.Decode(m.Body)
			if err != nil {
				t.Fatal(err)
			}
			again, err := e.Encode()
			if err != nil || string(again) != string(m.Body) {
				t.Fatalf("not stable: %v\n%s\n%s", err, m.Body, again)
			}
			if !(event.Scope{"employee.*"}).Allows(e.Type) {
				t.Fatalf("%s is out of scope", e.Type)
			}
		}
	})
}

// One request from signature to the message the broker would get.
func BenchmarkDelivery(b *testing.B) {
	for _, bench := range []struct{ name, source, body string }{
		{"CloudEvent", "hr", joiner("a")},
		{"Mapped", "flat", `{"type":"joiner","employeeId":"E1042","startDate":"2026-11-30"}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c, err := catalog.New()
			if err != nil {
				b.Fatal(err)
			}
			h, err := ingest.New(ingest.Options{
				Prefix: "/hr/", Sources: sources(), Catalog: c, Sender: discard{}, Clock: func() time.Time { return now },
				Logger: slog.New(slog.DiscardHandler), InboundQueue: "inbound", QuarantineQueue: "quarantine",
			})
			if err != nil {
				b.Fatal(err)
			}
			template := sign(b, request(bench.source, "application/json", bench.body), secret, "m", now, bench.body)
			b.ReportAllocs()
			for b.Loop() {
				r := request(bench.source, "application/json", bench.body)
				r.Header = template.Header
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != http.StatusAccepted {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Send(context.Context, string, ...queue.Message) error { return nil }
