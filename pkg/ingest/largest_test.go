package ingest_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	sim "mfaflow/pkg/sim/servicebus"
)

// onBroker is a handler on the emulator, whose messages are limited as those of the
// Standard tier.
func onBroker(t *testing.T) (*ingest.Handler, *sim.Server) {
	t.Helper()
	broker, err := sim.Start(t.Context(), sim.Options{Clock: clock.NewManual(now), Queues: []sim.QueueConfig{
		{Name: "inbound", RequiresSession: true, DuplicateDetection: time.Hour}, {Name: "quarantine", DuplicateDetection: time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(broker.ConnectionString())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c, err := theCatalog()
	if err != nil {
		t.Fatal(err)
	}
	h, err := ingest.New(ingest.Options{
		Prefix: "/hr/", Sources: sources(), Catalog: c, Sender: client, Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
		InboundQueue: "inbound", QuarantineQueue: "quarantine", SendTimeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, broker
}

// The events of a batch, with their properties, may need more than one batch of the
// broker.
func TestLongBatchIsTakenWhole(t *testing.T) {
	h, broker := onBroker(t)
	list := make([]string, 500)
	for i := range list {
		list[i] = joiner(strconv.Itoa(i))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, signed(t, "hr", batchType, "m", "["+strings.Join(list, ",")+"]"))
	if counts, _ := broker.Counts("inbound"); w.Code != http.StatusAccepted || counts.Active != len(list) {
		t.Errorf("%d %s, %+v", w.Code, w.Body, counts)
	}
}

// The largest body that is taken can be parked, whatever is wrong with it, on a broker
// with the limit of the Standard tier; one byte more is refused.
func TestLargestBodyCanBeParked(t *testing.T) {
	filled := func(begin, end string) string {
		return begin + strings.Repeat("x", ingest.MaxBody-len(begin)-len(end)) + end
	}
	// Several problems in each of many records: the longest detail.
	wrong := `[` + strings.Repeat(`{"type":"joiner"},`, 100)
	promoted := strings.Replace(joiner("a"), "employee.joiner", "employee.promoted", 1)
	for name, r := range map[string]*http.Request{
		"mapping fails":     signed(t, "flat", "application/json", strings.Repeat("m", 200), filled(`"`, `"`)),
		"mapping invalid":   signed(t, "flat", "application/json", "m", filled(`{"type":"joiner","employeeId":"`, `"}`)),
		"not decodable":     signed(t, "flat", "application/json", "m", filled(wrong, "")),
		"longest detail":    signed(t, "flat", "application/json", strings.Repeat("m", 200), filled(wrong+`{"type":"joiner","x":"`, `"}]`)),
		"long media type":   signed(t, "flat", "application/"+strings.Repeat("y", 238)+"+json", "m", filled(`"`, `"`)),
		"unknown type":      signed(t, "hr", structuredType, "m", filled(promoted[:len(promoted)-1]+`,"x":"`, `"}`)),
		"batch of two":      signed(t, "hr", batchType, "m", filled("["+promoted+","+promoted[:len(promoted)-1]+`,"x":"`, `"}]`)),
		"batch of escapes":  signed(t, "hr", batchType, "m", filled("["+promoted[:len(promoted)-1]+`,"x":"`+strings.Repeat("<\u2028", 60000), `"}]`)),
		"form of one field": signed(t, "flat", "application/x-www-form-urlencoded", "m", filled("a=", "&a=")),
	} {
		t.Run(name, func(t *testing.T) {
			h, broker := onBroker(t)
			if r.ContentLength != ingest.MaxBody {
				t.Fatalf("the body has %d bytes", r.ContentLength)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if counts, _ := broker.Counts("quarantine"); w.Code != http.StatusAccepted || counts.Active == 0 {
				t.Errorf("%d %s, %+v", w.Code, w.Body, counts)
			}
		})
	}
	over := filled(`"`, `"`) + " "
	if w := newFixture(t).do(signed(t, "flat", "application/json", "m", over)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte more: %d", w.Code)
	}
}
