package mapping_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/mapping"
	"mfaflow/pkg/strictjson"
)

// records is a payload of the generic mapping: as many as a delivery may hold, and what
// of them it has.
func records(n int) string {
	const record = `{"id":"r%d","type":"joiner","employeeId":"E%d","mail":"e%d@contoso.example","startDate":"2026-12-01T00:00:00","timeZone":"","department":null}`
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(record, i, i, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func openGeneric(t testing.TB) (*mapping.Program, any) {
	t.Helper()
	p, err := mapping.Open("generic")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := strictjson.Decode([]byte(records(mapping.MaxOutputs)))
	if err != nil {
		t.Fatal(err)
	}
	return p, payload
}

// A delivery of as many records as a mapping may give events is mapped in time.
func TestGenericMapsFullDelivery(t *testing.T) {
	p, payload := openGeneric(t)
	out, err := p.Map(t.Context(), payload, source, receivedAt)
	if err != nil || len(out) != mapping.MaxOutputs {
		t.Fatalf("%d outputs, %v", len(out), err)
	}
	want := map[string]any{
		"id": "r7", "type": "employee.joiner", "subject": "E7",
		"data": map[string]any{
			"startDate": "2026-12-01", "timeZone": "Europe/Berlin",
			"person": map[string]any{"employeeId": "E7", "mail": "e7@contoso.example"},
		},
	}
	if diff := cmp.Diff(want, out[7]); diff != "" {
		t.Error(diff)
	}
}

func TestTimeLimitGrowsWithThePayload(t *testing.T) {
	list := func(n int) []any { return make([]any, n) }
	for name, tt := range map[string]struct {
		payload any
		want    time.Duration
	}{
		"nothing":        {nil, 50050 * time.Microsecond},
		"empty object":   {map[string]any{}, 50050 * time.Microsecond},
		"nested":         {map[string]any{"a": list(998), "b": "x"}, 100050 * time.Microsecond},
		"as many":        {list(2999), 200 * time.Millisecond},
		"more":           {list(100_000), 200 * time.Millisecond},
		"more in one":    {[]any{list(1000), map[string]any{"a": list(100_000)}, 1}, 200 * time.Millisecond},
		"many and empty": {[]any{list(0), list(0)}, 50150 * time.Microsecond},
	} {
		if got := mapping.TimeLimit(tt.payload); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestLargePayloadStillHasALimit(t *testing.T) {
	_, payload := openGeneric(t)
	for _, program := range []string{`def f: f; f`, `[range(1e12)]`, `[.[] | until(false; .)]`} {
		p, err := mapping.New(program)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Map(t.Context(), payload, source, receivedAt); !errors.Is(err, mapping.ErrTimeLimit) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

func BenchmarkGeneric500(b *testing.B) {
	p, payload := openGeneric(b)
	for b.Loop() {
		if out, err := p.Map(b.Context(), payload, source, receivedAt); err != nil || len(out) != mapping.MaxOutputs {
			b.Fatal(len(out), err)
		}
	}
}
