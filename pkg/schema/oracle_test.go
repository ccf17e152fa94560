package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"pgregory.net/rapid"

	"mfaflow/pkg/schema"
	"mfaflow/pkg/strictjson"
)

const testID = "https://schema.example/test.json"

func decode(t testing.TB, text string) any {
	t.Helper()
	v, err := strictjson.Decode([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// formats is one check of our own, which both validators are given.
func formats() map[string]func(string) error {
	return map[string]func(string) error{"vowels": func(s string) error {
		if strings.Trim(s, "aeiou") != "" {
			return errors.New("a consonant")
		}
		return nil
	}}
}

func compile(docs map[string]any) (*schema.Schema, error) {
	return schema.Compile(testID, schema.Options{Formats: formats(), Load: func(id string) (any, error) {
		if doc, ok := docs[id]; ok {
			return doc, nil
		}
		return nil, errors.New("no such document")
	}})
}

type documents map[string]any

func (d documents) Load(id string) (any, error) {
	if doc, ok := d[id]; ok {
		return doc, nil
	}
	return nil, errors.New("no such document")
}

// oracle is the complete validator.
func oracle(docs map[string]any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(documents(docs))
	c.AssertFormat()
	for name, check := range formats() {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error {
			if s, ok := v.(string); ok {
				return check(s)
			}
			return nil
		}})
	}
	return c.Compile(testID)
}

// finding is where which keyword failed. The oracle reports the object whose fields
// are wrong, so the field itself is left out.
func finding(path []string, keyword string) string {
	return "/" + strings.Join(path, "/") + " " + keyword
}

func ours(broken []schema.Violation) []string {
	found := []string{}
	for _, v := range broken {
		path := v.Path
		switch v.Keyword {
		case "required", "dependentRequired", "additionalProperties", "propertyNames":
			path = path[:len(path)-1]
		}
		found = append(found, finding(path, v.Keyword))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func theirs(err error) []string {
	found := []string{}
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		switch e.ErrorKind.(type) {
		case *kind.Not: // the only one that does not name itself
			found = append(found, finding(e.InstanceLocation, "not"))
			return
		case *kind.PropertyNames:
			found = append(found, finding(e.InstanceLocation, "propertyNames"))
			return
		}
		if len(e.Causes) == 0 {
			found = append(found, finding(e.InstanceLocation, e.ErrorKind.KeywordPath()[0]))
			return
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	if failed, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		walk(failed)
	} else if err != nil {
		found = append(found, err.Error())
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Random schemas of our part of the language and random values: both validators
// find the same keywords broken in the same places.
func TestAgainstOracle(t *testing.T) { rapid.Check(t, againstOracle) }

func FuzzAgainstOracle(f *testing.F) { f.Fuzz(rapid.MakeFuzz(againstOracle)) }

func againstOracle(t *rapid.T) {
	root := drawSchema(t, 3)
	if rapid.Bool().Draw(t, "propertyNames") {
		// Deeper down the oracle may name another object: v6.0.3 keeps a slice of the path
		// whose array it goes on writing to.
		root["propertyNames"] = drawRules(t, 1)
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = testID
	root["$defs"] = map[string]any{"a": drawRules(t, 1)}
	docs := map[string]any{testID: root, "https://schema.example/other.json": map[string]any{"$defs": map[string]any{"b": drawRules(t, 1)}}}
	text, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := compile(docs)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	complete, err := oracle(docs)
	if err != nil {
		t.Fatalf("%s: the oracle: %v", text, err)
	}
	for range 8 {
		v := drawValue(t, 3)
		want, got := theirs(complete.Validate(v)), ours(compiled.Validate(v))
		// We do not look for equal items in an array that is too long, so only the oracle
		// has something to say about that.
		for _, f := range want {
			if place, long := strings.CutSuffix(f, " maxItems"); long {
				want, got = without(want, place+" uniqueItems"), without(got, place+" uniqueItems")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			value, _ := json.Marshal(v)
			t.Fatalf("schemas %s\nvalue %s\n-oracle +ours\n%s", text, value, diff)
		}
	}
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

func drawName(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "e", "xy"}).Draw(t, "name")
}

func drawText(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "a", "b", "aé", "xyz", "1", "true", "aeiou", "b c"}).Draw(t, "text")
}

func drawScalar(t *rapid.T) any {
	if rapid.Bool().Draw(t, "boolean") {
		return rapid.Bool().Draw(t, "value")
	}
	return drawText(t)
}

func drawNames(t *rapid.T) []any {
	list := []any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "e", "xy"}), 1, 2, rapid.ID).Draw(t, "names") {
		list = append(list, name)
	}
	return list
}

func drawCount(t *rapid.T) json.Number {
	return json.Number(fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "count")))
}

// drawSchema is drawRules with references.
func drawSchema(t *rapid.T, depth int) map[string]any {
	s := drawRules(t, depth)
	if rapid.Bool().Draw(t, "refers") {
		s["$ref"] = rapid.SampledFrom([]string{"#/$defs/a", "other.json#/$defs/b"}).Draw(t, "ref")
	}
	return s
}

func drawRules(t *rapid.T, depth int) map[string]any {
	s := map[string]any{}
	sub := func() any {
		if depth == 0 {
			return map[string]any{}
		}
		return drawRules(t, depth-1)
	}
	few := func(what string) bool { return rapid.IntRange(0, 5).Draw(t, what) == 0 }
	if few("type") {
		list := []any{}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"array", "boolean", "integer", "null", "number", "object", "string"}), 1, 3, rapid.ID).Draw(t, "types") {
			list = append(list, name)
		}
		s["type"] = list
	}
	if few("const") {
		s["const"] = drawScalar(t)
	}
	if few("enum") {
		s["enum"] = []any{"a", true, drawText(t)}
	}
	if few("format") {
		s["format"] = "vowels"
	}
	if few("pattern") {
		s["pattern"] = rapid.SampledFrom([]string{"^[a-z]*$", "b", "^.$"}).Draw(t, "pattern")
	}
	if few("minimum") {
		s["minimum"] = drawCount(t)
	}
	if few("maximum") {
		s["maximum"] = drawCount(t)
	}
	if few("maxLength") {
		s["maxLength"] = drawCount(t)
	}
	if few("minProperties") {
		s["minProperties"] = drawCount(t)
	}
	if few("required") {
		s["required"] = drawNames(t)
	}
	if few("dependentRequired") {
		s["dependentRequired"] = map[string]any{drawName(t): drawNames(t)}
	}
	if rapid.Bool().Draw(t, "properties") {
		s["properties"] = map[string]any{drawName(t): sub(), drawName(t): sub()}
	}
	switch rapid.IntRange(0, 4).Draw(t, "additional") {
	case 0:
		s["additionalProperties"] = false
	case 1:
		s["additionalProperties"] = sub()
	}
	if few("items") {
		s["items"] = sub()
	}
	if few("minItems") {
		s["minItems"] = drawCount(t)
	}
	if few("maxItems") {
		s["maxItems"] = drawCount(t)
		s["uniqueItems"] = rapid.Bool().Draw(t, "unique")
	}
	if few("not") {
		s["not"] = sub()
	}
	if few("allOf") {
		s["allOf"] = []any{sub(), sub()}
	}
	if few("if") {
		s["if"], s["then"] = sub(), sub()
		if rapid.Bool().Draw(t, "else") {
			s["else"] = sub()
		}
	}
	return s
}

func drawValue(t *rapid.T, depth int) any {
	most := 5
	if depth == 0 {
		most = 3
	}
	switch rapid.IntRange(0, most).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return drawScalar(t)
	case 2:
		return json.Number(rapid.SampledFrom([]string{"0", "-0", "0.0", "1", "1.0", "10e-1", "-1", "1e2", "100", "3332883854254932743", "3332883854254932744"}).Draw(t, "number"))
	case 3:
		return drawText(t)
	case 4:
		list := []any{}
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			list = append(list, drawValue(t, depth-1))
		}
		return list
	default:
		object := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "fields") {
			object[drawName(t)] = drawValue(t, depth-1)
		}
		return object
	}
}
