package catalog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/events"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/strictjson"
)

func newCatalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read gives the files of the catalogue that match, and fails on none.
func read(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(events.FS(), pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	found := map[string][]byte{}
	for _, name := range names {
		if found[name], err = fs.ReadFile(events.FS(), name); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func joiner(t testing.TB) map[string]any {
	t.Helper()
	v, err := strictjson.Decode(read(t, "samples/employee.joiner/next-monday.json")["samples/employee.joiner/next-monday.json"])
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func TestParseGivesTheEvent(t *testing.T) {
	got, err := newCatalog(t).ParseValue(joiner(t))
	if err != nil {
		t.Fatal(err)
	}
	want := event.Event{
		ID: "hr-70001", Source: "https://hr.contoso.example", Type: event.Joiner, Subject: "E1004",
		Time: time.Date(2026, time.November, 23, 7, 15, 0, 0, time.UTC),
		Data: json.RawMessage(`{"person":{"employeeId":"E1004"},"startDate":"2026-11-30","timeZone":"Europe/Berlin"}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownIsNotInvalid(t *testing.T) {
	c := newCatalog(t)
	for _, tt := range []struct {
		name  string
		edit  map[string]any
		cause error
	}{
		{"type", map[string]any{"type": "employee.promoted"}, catalog.ErrUnknownType},
		{"type with more wrong", map[string]any{"type": "employee.promoted", "id": 7}, catalog.ErrUnknownType},
		{"version", map[string]any{"dataschema": "https://mfaflow.dev/schemas/employee.joiner.v2.json"}, catalog.ErrUnknownVersion},
		{"version zero", map[string]any{"dataschema": "https://mfaflow.dev/schemas/employee.joiner.v0.json"}, catalog.ErrUnknownVersion},
		{"known version", map[string]any{"dataschema": "https://mfaflow.dev/schemas/employee.joiner.v1.json"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := joiner(t)
			maps.Copy(v, tt.edit)
			_, err := c.ParseValue(v)
			if !errors.Is(err, tt.cause) {
				t.Errorf("got %v, want %v", err, tt.cause)
			}
			if _, invalid := errors.AsType[*catalog.InvalidError](err); invalid {
				t.Errorf("%v is an InvalidError", err)
			}
		})
	}
}

func TestInvalidNamesEveryField(t *testing.T) {
	c := newCatalog(t)
	for _, tt := range []struct {
		name string
		edit func(v, data, person map[string]any)
		want []string
	}{
		{"recipient", func(_, data, _ map[string]any) { data["recipient"] = "x@attacker.example" }, []string{"/data/recipient"}},
		{"manager", func(_, data, _ map[string]any) { data["manager"] = map[string]any{"mail": "x@attacker.example"} }, []string{"/data/manager"}},
		{"pass address", func(_, _, person map[string]any) { person["otherMails"] = []any{"x@attacker.example"} }, []string{"/data/person/otherMails"}},
		{"a name of one of ours", func(v, _, _ map[string]any) { v["userid"] = "x"; v["key"] = "y" }, []string{"/key", "/userid"}},
		{"escaped pointer", func(_, data, _ map[string]any) { data["a/b~c"] = 1 }, []string{"/data/a~1b~0c"}},
		{"a long name is cut", func(_, data, _ map[string]any) { data[strings.Repeat("n", 200)] = 1 }, []string{"/data/" + strings.Repeat("n", 64) + "…"}},
		{"unsupported Go value", func(_, data, _ map[string]any) { data["startDate"] = struct{}{} }, []string{"/data/startDate"}},
		{"all at once", func(v, data, _ map[string]any) {
			delete(v, "id")
			v["time"] = "yesterday"
			delete(data, "timeZone")
			data["startDate"] = "2026-13-01"
			data["person"] = map[string]any{"mail": "nobody", "name": "Lena"}
		}, []string{"/data/person/mail", "/data/person/name", "/data/startDate", "/data/timeZone", "/id", "/time"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 8 { // map order must not show
				v := joiner(t)
				data := v["data"].(map[string]any)
				tt.edit(v, data, data["person"].(map[string]any))
				_, err := c.ParseValue(v)
				if diff := cmp.Diff(tt.want, pointers(t, err)); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

func pointers(t *testing.T, err error) []string {
	t.Helper()
	invalid, ok := errors.AsType[*catalog.InvalidError](err)
	if !ok {
		t.Fatalf("%v is no InvalidError", err)
	}
	var found []string
	for _, f := range invalid.Fields {
		if f.Problem == "" {
			t.Errorf("%s has no problem", f.Pointer)
		}
		found = append(found, f.Pointer)
	}
	return found
}

func TestTextOfManyProblemsIsBounded(t *testing.T) {
	v := joiner(t)
	for i := range 1000 {
		v["data"].(map[string]any)["field"+strconv.Itoa(i)] = 1
	}
	_, err := newCatalog(t).ParseValue(v)
	if n := len(pointers(t, err)); n != 1000 {
		t.Errorf("%d fields listed", n)
	}
	if text := err.Error(); len(text) > 2000 || !strings.Contains(text, "and 990 more") {
		t.Errorf("%d bytes of text: %s", len(text), text)
	}
}

func TestBrokenJSONNamesTheRule(t *testing.T) {
	c := newCatalog(t)
	_, err := c.Parse([]byte(`{"type":"employee.joiner","type":"employee.leaver"}`))
	if !errors.Is(err, strictjson.ErrDuplicateKey) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{""}, pointers(t, err)); diff != "" {
		t.Error(diff)
	}
}

// Whatever a sender writes into whichever field, no answer repeats it.
func TestNoAnswerQuotesAValue(t *testing.T) {
	c := newCatalog(t)
	refused := 0
	for name, raw := range read(t, "samples/*/*.json") {
		sample, err := strictjson.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []any{
			"c4nary\n", "c4nary@@", strings.Repeat("c4nary ", 200), json.Number("4242424242"), true, nil, []any{"c4nary", "c4nary"},
			map[string]any{"c4nary": "c4nary"}, []any{map[string]any{"kind": "c4nary", "id": "\tc4nary"}},
		} {
			for edit := range edits(sample, value) {
				_, err := c.ParseValue(edit)
				if err == nil {
					continue
				}
				refused++
				text := err.Error()
				if invalid, ok := errors.AsType[*catalog.InvalidError](err); ok {
					text += fmt.Sprint(invalid.Fields)
				}
				// A field's own name is part of its pointer.
				text = strings.ReplaceAll(text, "/c4nary", "")
				if strings.Contains(text, "c4nary") || strings.Contains(text, "4242") {
					t.Fatalf("%s: %s", name, text)
				}
			}
		}
	}
	if refused < 1000 {
		t.Errorf("only %d edits were refused", refused)
	}
}

// edits yields v with each of its parts replaced in turn. The parts are put back.
func edits(v, replacement any) func(yield func(any) bool) {
	return func(yield func(any) bool) {
		var walk func(part any) bool
		walk = func(part any) bool {
			switch part := part.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(part)) {
					old := part[name]
					part[name] = replacement
					more := yield(v)
					part[name] = old
					if !more || !walk(old) {
						return false
					}
				}
			case []any:
				for i, old := range part {
					part[i] = replacement
					more := yield(v)
					part[i] = old
					if !more || !walk(old) {
						return false
					}
				}
			}
			return true
		}
		walk(v)
	}
}

// The kinds that an event may name are kinds of the directory, and none is one
// that cannot be removed.
func TestMethodKindsExist(t *testing.T) {
	raw := read(t, "schemas/envelope.v1.json")["schemas/envelope.v1.json"]
	var doc struct {
		Defs struct {
			Methods struct {
				Items struct {
					Properties struct {
						Kind struct {
							Enum []identity.MethodKind `json:"enum"`
						} `json:"kind"`
					} `json:"properties"`
				} `json:"items"`
			} `json:"methods"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	want := []identity.MethodKind{
		identity.MethodPhone, identity.MethodEmail, identity.MethodFIDO2, identity.MethodWindowsHello,
		identity.MethodAuthenticator, identity.MethodSoftwareOATH, identity.MethodHardwareOATH,
		identity.MethodPlatformCredential, identity.MethodExternal, identity.MethodQRCodePIN,
	}
	if diff := cmp.Diff(want, doc.Defs.Methods.Items.Properties.Kind.Enum); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := newCatalog(t)
	var all sync.WaitGroup
	for _, raw := range read(t, "samples/*/*.json") {
		for range 4 {
			all.Go(func() {
				if _, err := c.Parse(raw); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
}

// An accepted event has a known type and a person, and stays the same on its way
// through the queues.
func FuzzParse(f *testing.F) {
	for _, raw := range read(f, "samples/*/*.json") {
		f.Add(raw)
	}
	for _, raw := range read(f, "invalid/*/*.json") {
		f.Add(raw)
	}
	c := newCatalog(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := c.Parse(raw)
		if err != nil {
			_, invalid := errors.AsType[*catalog.InvalidError](err)
			if !invalid && !errors.Is(err, catalog.ErrUnknownType) && !errors.Is(err, catalog.ErrUnknownVersion) {
				t.Fatalf("an error of no known kind: %v", err)
			}
			return
		}
		if _, err := event.ParseType(string(e.Type)); err != nil {
			t.Fatal(err)
		}
		switch person, err := e.Person(); {
		case err != nil || person.IsZero() != e.Type.IsTenantWide():
			t.Fatalf("about %v: %v", person, err)
		case e.Type.IsTenantWide() && !identity.IsGUID(e.Subject):
			t.Fatalf("about the tenant %q", e.Subject)
		}
		if e.ReceivedAt != (time.Time{}) || e.Origin != "" || e.Key != "" || e.CorrelationID != "" || e.UserID != "" {
			t.Fatal("the sender set an attribute of ours")
		}
		first, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := event.Decode(first)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again, cmp.Comparer(sameJSON)); diff != "" {
			t.Fatal(diff)
		}
		second, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("%s became %s", first, second)
		}
		if _, err := c.Parse(second); err != nil {
			t.Fatalf("accepted, encoded, refused: %v", err)
		}
	})
}

func sameJSON(a, b json.RawMessage) bool {
	x, errX := strictjson.Decode(a)
	y, errY := strictjson.Decode(b)
	return errX == nil && errY == nil && cmp.Equal(x, y)
}

func BenchmarkParse(b *testing.B) {
	c := newCatalog(b)
	for _, name := range []string{"samples/employee.joiner/all-identifiers.json", "samples/mfa.reregister/surgical.json", "invalid/employee.joiner/several-fields-wrong.json"} {
		raw := read(b, name)[name]
		b.Run(strings.TrimSuffix(name, ".json"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Parse(raw)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := catalog.New(); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleCatalog_Parse() {
	c, err := catalog.New()
	if err != nil {
		panic(err)
	}
	e, err := c.Parse([]byte(`{
		"specversion": "1.0", "id": "hr-1", "source": "https://hr.contoso.example", "type": "employee.joiner",
		"time": "2026-11-23T08:15:00Z",
		"data": {"person": {"employeeId": "E1004"}, "startDate": "2026-11-30", "timeZone": "Europe/Berlin"}
	}`))
	if err != nil {
		panic(err)
	}
	data, err := e.Employment()
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Type, data.Person.EmployeeID, data.StartDate, data.TimeZone)
	// Output: employee.joiner E1004 2026-11-30 Europe/Berlin
}

func ExampleInvalidError() {
	c, err := catalog.New()
	if err != nil {
		panic(err)
	}
	_, err = c.Parse([]byte(`{
		"specversion": "1.0", "id": "hr-1", "source": "https://hr.contoso.example", "type": "employee.joiner",
		"time": "2026-11-23T08:15:00Z",
		"data": {"person": {"employeeId": "E1004"}, "startDate": "30.11.2026", "recipient": "someone@elsewhere.example"}
	}`))
	if invalid, ok := errors.AsType[*catalog.InvalidError](err); ok {
		for _, f := range invalid.Fields {
			fmt.Println(f)
		}
	}
	// Output:
	// /data/recipient is not allowed here; remove it
	// /data/startDate must be the first day of work as YYYY-MM-DD
	// /data/timeZone is required: an IANA time zone such as Europe/Berlin
}
