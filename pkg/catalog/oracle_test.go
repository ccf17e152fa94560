package catalog_test

import (
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/strictjson"
)

// oracle judges events by the same schema files with a complete validator. What
// package event reads is checked by that package, which is stricter than the
// standard; the other formats are the oracle's own.
type oracle map[event.Type]*jsonschema.Schema

func newOracle(t testing.TB) oracle {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	for name, check := range map[string]func(string) error{
		"date":           func(s string) error { _, err := event.ParseDate(s); return err },
		"date-time":      func(s string) error { return new(time.Time).UnmarshalText([]byte(s)) },
		"iana-time-zone": func(s string) error { _, err := event.ParseTimeZone(s); return err },
	} {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok {
				return check(s)
			}
			return nil
		}})
	}
	for name, raw := range read(t, "schemas/*.json") {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("https://mfaflow.dev/schemas/"+path.Base(name), doc); err != nil {
			t.Fatal(err)
		}
	}
	o := oracle{}
	for _, typ := range append(event.Types(), "envelope", "policy-file") {
		compiled, err := c.Compile("https://mfaflow.dev/schemas/" + string(typ) + ".v1.json")
		if err != nil {
			t.Fatal(err)
		}
		o[typ] = compiled
	}
	return o
}

// pointers are the fields that the oracle refuses.
func (o oracle) pointers(v any) []string {
	attributes, _ := v.(map[string]any)
	name, _ := attributes["type"].(string)
	if name == "" {
		name = "envelope"
	}
	failed, ok := errors.AsType[*jsonschema.ValidationError](o[event.Type(name)].Validate(v))
	if !ok {
		return nil
	}
	var found []string
	add := func(location []string, more ...string) {
		pointer := ""
		for _, token := range append(slices.Clone(location), more...) {
			if runes := []rune(token); len(runes) > 64 {
				token = string(runes[:64]) + "…"
			}
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
		}
		found = append(found, pointer)
	}
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		fields := []string{}
		switch k := e.ErrorKind.(type) {
		case *kind.Required:
			fields = k.Missing
		case *kind.DependentRequired:
			fields = k.Missing
		case *kind.AdditionalProperties:
			fields = k.Properties
		case *kind.PropertyNames:
			fields = []string{k.Property}
		default:
			if len(e.Causes) == 0 {
				add(e.InstanceLocation)
			}
			for _, cause := range e.Causes {
				walk(cause)
			}
		}
		for _, field := range fields {
			add(e.InstanceLocation, field)
		}
	}
	walk(failed)
	slices.Sort(found)
	return slices.Compact(found)
}

// agree fails when the catalogue and the oracle name different fields of v.
func agree(t testing.TB, c *catalog.Catalog, o oracle, v any) (refused bool) {
	t.Helper()
	_, err := c.ParseValue(v)
	if errors.Is(err, catalog.ErrUnknownType) || errors.Is(err, catalog.ErrUnknownVersion) {
		return true
	}
	var got []string
	if invalid, ok := errors.AsType[*catalog.InvalidError](err); ok {
		for _, f := range invalid.Fields {
			got = append(got, f.Pointer)
		}
		got = slices.Compact(got)
	} else if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o.pointers(v), got); diff != "" {
		text, _ := json.Marshal(v)
		t.Fatalf("%s\n-oracle +catalogue\n%s", text, diff)
	}
	return len(got) > 0
}

func everyEvent(t testing.TB) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, pattern := range []string{"samples/*/*.json", "invalid/*/*.json"} {
		for name, raw := range read(t, pattern) {
			if v, err := strictjson.Decode(raw); err == nil {
				found[name] = v
			}
		}
	}
	return found
}

// Every sample, valid and invalid; and every part of the valid ones replaced, and
// left out, in turn.
func TestAgreesWithOracle(t *testing.T) {
	c, o := newCatalog(t), newOracle(t)
	accepted, refused := 0, 0
	count := func(no bool) {
		if no {
			refused++
		} else {
			accepted++
		}
	}
	long := make([]any, 33)
	for i := range long {
		long[i] = map[string]any{"id": strings.Repeat("i", i+1)}
	}
	for name, v := range everyEvent(t) {
		count(agree(t, c, o, v))
		if !strings.HasPrefix(name, "samples/") {
			continue
		}
		for _, value := range []any{
			"", "x", "a b", " ", "a\u00a0b", "line\nline", strings.Repeat("ä", 257), "true", "1.0", "application/json; charset=utf-8",
			"2026-11-30", "2026-02-29", "0000-01-01", "2026-11-30T08:15:00Z", "2026-11-30t08:15:00z", "2026-11-30T08:15:60Z",
			"2026-11-30T24:00:00Z", "2026-11-30T08:15:00.123456789+14:00", "2026-11-30T08:15:00", "2026-11-30T08:15:00,5Z",
			"Europe/Berlin", "Europe/Nowhere", "Local", "UTC", "../etc/passwd",
			"https://mfaflow.dev/schemas/employee.joiner.v1.json", "https://[::1]/", "https://::1/", "https://[fe80::1%25eth0]/",
			"http://a b/", "a\\b", "%zz", "//host", "urn:x:y", "https://[1.2.3.4]/",
			"11111111-2222-3333-4444-55555555555A", "11111111-2222-3333-4444-5555555555555", "11111111222233334444555555555555",
			"ada@contoso.example", "ada@", "@contoso.example", "a@b@c",
			json.Number("7"), json.Number("1.0"), json.Number("-1e-7"), 7, 1.5, true, false, nil,
			[]any{}, []any{"x"}, long, []any{map[string]any{"id": "a"}, map[string]any{"id": "a"}}, []any{map[string]any{"kind": "phone"}, map[string]any{}},
			map[string]any{}, map[string]any{"mail": "ada@contoso.example"}, map[string]any{"id": "x", "name": "y", "~/": 1},
		} {
			for edit := range edits(v, value) {
				count(agree(t, c, o, edit))
			}
		}
		for edit := range omissions(v) {
			count(agree(t, c, o, edit))
		}
	}
	if accepted < 1000 || refused < 10000 {
		t.Errorf("%d accepted, %d refused: too few to tell", accepted, refused)
	}
}

// omissions yields v without each of its fields in turn, and with one more field
// in each of its objects. v is put back.
func omissions(v any) func(yield func(any) bool) {
	return func(yield func(any) bool) {
		var walk func(part any) bool
		walk = func(part any) bool {
			object, ok := part.(map[string]any)
			if !ok {
				return true
			}
			object["extra"] = "x"
			more := yield(v)
			delete(object, "extra")
			for name, old := range object {
				if !more {
					return false
				}
				delete(object, name)
				more = yield(v)
				object[name] = old
				more = more && walk(old)
			}
			return more
		}
		walk(v)
	}
}

func FuzzAgreesWithOracle(f *testing.F) {
	for _, v := range everyEvent(f) {
		raw, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	c, o := newCatalog(f), newOracle(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if v, err := strictjson.Decode(raw); err == nil {
			agree(t, c, o, v)
		}
	})
}

// The oracle compiles every file, so none is left out of the comparison.
func TestOracleKnowsEverySchema(t *testing.T) {
	if got, want := len(newOracle(t)), len(read(t, "schemas/*.json")); got != want {
		t.Errorf("%d schemas compared, %d in the catalogue", got, want)
	}
}
