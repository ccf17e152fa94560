package schema_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"mfaflow/pkg/schema"
)

func mustCompile(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := compile(map[string]any{testID: decode(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// show is a violation on one line.
func show(v schema.Violation) string {
	line := "/" + strings.Join(v.Path, "/") + " " + v.Keyword
	if len(v.Want) > 0 {
		line += " " + strings.Join(v.Want, ",")
	}
	return line
}

// The expectations here are written by hand; the oracle is asked as well.
func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		schema, value string
		want          []string
	}{
		{`{}`, `{"a":[null]}`, nil},
		{`{"title":"t","description":"d"}`, `1`, nil},
		{`{"type":"string"}`, `1`, []string{"/ type string"}},
		{`{"type":["string","number","boolean"]}`, `{}`, []string{"/ type boolean,number,string"}},
		{`{"type":["string","number","boolean"]}`, `1e2`, nil},
		{`{"type":"integer"}`, `10e-1`, nil},
		{`{"type":"integer"}`, `1.5`, []string{"/ type integer"}},
		{`{"minimum":2,"maximum":4}`, `2`, nil},
		{`{"minimum":2,"maximum":4}`, `1.9`, []string{"/ minimum 2"}},
		{`{"minimum":2,"maximum":4}`, `5`, []string{"/ maximum 4"}},
		{`{"minimum":2,"maximum":4}`, `"5"`, nil},
		{`{"type":["object","array"]}`, `null`, []string{"/ type array,object"}},
		{`{"type":"null"}`, `null`, nil},
		{`{"const":"1"}`, `1`, []string{"/ const 1"}},
		{`{"const":true}`, `true`, nil},
		{`{"const":false}`, `null`, []string{"/ const false"}},
		{`{"const":"x"}`, `{"x":"x"}`, []string{"/ const x"}},
		{`{"enum":["a","b",true]}`, `true`, nil},
		{`{"enum":["a","b"]}`, `["a"]`, []string{"/ enum a,b"}},
		{`{"format":"vowels"}`, `"aeb"`, []string{"/ format"}},
		{`{"format":"vowels"}`, `7`, nil},
		{`{"pattern":"b"}`, `"abc"`, nil},
		{`{"pattern":"^b$"}`, `"b\n"`, []string{"/ pattern"}},
		{`{"maxLength":2}`, `"éé"`, nil},
		{`{"maxLength":2,"pattern":"^a"}`, `"ééé"`, []string{"/ maxLength 2", "/ pattern"}},
		{`{"type":"string","format":"vowels","pattern":"^a","maxLength":0}`, `"b"`, []string{"/ format"}},
		{`{"required":["a","b"]}`, `{"b":1}`, []string{"/a required"}},
		{`{"required":["a"]}`, `[]`, nil},
		{`{"dependentRequired":{"a":["b","c"]}}`, `{"a":1}`, []string{"/b dependentRequired a", "/c dependentRequired a"}},
		{`{"dependentRequired":{"a":["b"]}}`, `{"b":1}`, nil},
		{`{"minProperties":1}`, `{}`, []string{"/ minProperties 1"}},
		{`{"properties":{"a":{"type":"string"}},"additionalProperties":false}`, `{"a":1,"b":2,"c":3}`,
			[]string{"/a type string", "/b additionalProperties", "/c additionalProperties"}},
		{`{"properties":{"a":{}},"additionalProperties":{"type":"string"}}`, `{"a":1,"b":2}`, []string{"/b type string"}},
		{`{"propertyNames":{"pattern":"^[a-z]$"}}`, `{"a":1,"B":2}`, []string{"/B propertyNames"}},
		{`{"items":{"type":"string"}}`, `["a",1,"b",2]`, []string{"/1 type string", "/3 type string"}},
		{`{"minItems":1}`, `[]`, []string{"/ minItems 1"}},
		{`{"maxItems":1}`, `[1,2]`, []string{"/ maxItems 1"}},
		{`{"maxItems":9,"uniqueItems":true}`, `[1,1.0]`, []string{"/ uniqueItems"}},
		{`{"maxItems":9,"uniqueItems":true}`, `[0,-0.0e7]`, []string{"/ uniqueItems"}},
		{`{"maxItems":9,"uniqueItems":true}`, `[120,1.2e2,12]`, []string{"/ uniqueItems"}},
		{`{"maxItems":9,"uniqueItems":true}`, `[1,-1,"1",true,null,[1],{"a":1},10,0.1,100e-4]`, []string{"/ maxItems 9"}},
		{`{"maxItems":10,"uniqueItems":true}`, `[1,-1,"1",true,null,[1],{"a":1},10,0.1,100e-4]`, nil},
		{`{"maxItems":9,"uniqueItems":true}`, `[3332883854254932743,3332883854254932744]`, nil},
		{`{"maxItems":9,"uniqueItems":true}`, `[{"a":1,"b":[2]},{"b":[2.0],"a":1}]`, []string{"/ uniqueItems"}},
		{`{"maxItems":9,"uniqueItems":true}`, `[{"a":1},{"b":1},{"a":1,"b":1},{}]`, nil},
		{`{"maxItems":9,"uniqueItems":true}`, `[[1,2],[2,1],[1],[]]`, nil},
		{`{"maxItems":9,"uniqueItems":false}`, `[1,1]`, nil},
		{`{"not":{}}`, `1`, []string{"/ not"}},
		{`{"not":{"type":"string"}}`, `1`, nil},
		{`{"allOf":[{"maxLength":1},{"pattern":"^b"}]}`, `"aa"`, []string{"/ maxLength 1", "/ pattern"}},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"a":1}`, []string{"/b required"}},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{}`, []string{"/c required"}},
		{`{"if":{"required":["a"]},"then":{"required":["b"]}}`, `{}`, nil},
		{`{"if":{"required":["a"]},"else":{"required":["b"]}}`, `{"a":1}`, nil},
		{`{"$ref":"#/$defs/x","maxLength":1,"$defs":{"x":{"pattern":"^b"}}}`, `"aa"`, []string{"/ maxLength 1", "/ pattern"}},
		{`{"$ref":"#/$defs/x~1y~0z","$defs":{"x/y~z":{"type":"number"}}}`, `"a"`, []string{"/ type number"}},
		{`{"items":{"properties":{"a/b":{"properties":{"c":{"not":{}}}}}}}`, `[{},{"a/b":{"c":1}}]`, []string{"/1/a/b/c not"}},
	} {
		t.Run(tt.schema+" "+tt.value, func(t *testing.T) {
			broken := mustCompile(t, tt.schema).Validate(decode(t, tt.value))
			var got []string
			for _, v := range broken {
				got = append(got, show(v))
			}
			slices.Sort(got)
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			complete, err := oracle(map[string]any{testID: decode(t, tt.schema)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(theirs(complete.Validate(decode(t, tt.value))), ours(broken)); diff != "" {
				t.Errorf("(-oracle +ours)\n%s", diff)
			}
		})
	}
}

func TestGoValues(t *testing.T) {
	number := mustCompile(t, `{"type":"number"}`)
	for _, v := range []any{json.Number("1"), 1, int64(1), uint8(1), 1.5, float32(1)} {
		if broken := number.Validate(v); len(broken) > 0 {
			t.Errorf("%T is no number: %v", v, broken)
		}
	}
	anything := mustCompile(t, `{"properties":{"a":{}},"maxItems":2,"uniqueItems":true}`)
	for _, v := range []any{struct{}{}, big.NewInt(1), []string{"a"}, map[string]string{}, func() {}} {
		broken := anything.Validate(map[string]any{"a": v})
		want := []schema.Violation{{Path: []string{"a"}, Keyword: "type", Want: []string{"array", "boolean", "null", "number", "object", "string"}}}
		if diff := gocmp.Diff(want, broken); diff != "" {
			t.Errorf("%T: %s", v, diff)
		}
		if broken := anything.Validate([]any{v, v}); len(broken) > 0 {
			t.Errorf("%T is compared: %v", v, broken)
		}
	}
	if broken := anything.Validate([]any{1, 1.0}); len(broken) != 1 {
		t.Errorf("1 is not 1.0: %v", broken)
	}
}

// The numbers of a sender are compared by their digits: what they stand for may
// not fit into memory.
func TestUniqueHugeNumbers(t *testing.T) {
	s := mustCompile(t, `{"maxItems":5,"uniqueItems":true}`)
	tiny := func(exponent string) any { return json.Number("1e-" + exponent) }
	long := strings.Repeat("9", 30)
	if broken := s.Validate([]any{tiny("999999999"), tiny("999999998"), tiny(long), tiny(long + "0")}); len(broken) > 0 {
		t.Error(broken)
	}
	if broken := s.Validate([]any{tiny("999999999"), json.Number("0.1e-999999998")}); len(broken) != 1 {
		t.Error(broken)
	}
}

func TestDescription(t *testing.T) {
	s := mustCompile(t, `{
		"description": "root",
		"$ref": "#/$defs/base",
		"properties": {
			"own": {"description": "own", "$ref": "#/$defs/text"},
			"inherited": {"$ref": "#/$defs/text"},
			"list": {"items": {"description": "item", "properties": {"x": {"description": "x"}}}},
			"silent": {}
		},
		"$defs": {
			"text": {"description": "text"},
			"base": {"description": "base", "properties": {
				"own": {"description": "hidden"}, "silent": {"description": "from base"}, "base": {"description": "only base"}}}
		}
	}`)
	for path, want := range map[string]string{
		"": "root", "own": "own", "inherited": "text", "list": "", "list 0": "item", "list 12 x": "x", "silent": "from base",
		"base": "only base", "unknown": "", "own deeper": "",
	} {
		if got := s.Description(strings.Fields(path)); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

func ExampleSchema_Validate() {
	doc := map[string]any{
		"required":             []any{"startDate"},
		"properties":           map[string]any{"startDate": map[string]any{"type": "string"}},
		"additionalProperties": false,
	}
	s, err := schema.Compile("https://schema.example/joiner.json", schema.Options{
		Load: func(string) (any, error) { return doc, nil },
	})
	if err != nil {
		panic(err)
	}
	broken := s.Validate(map[string]any{"start": "2026-11-30"})
	slices.SortFunc(broken, func(a, b schema.Violation) int { return cmp.Compare(a.Keyword, b.Keyword) })
	for _, v := range broken {
		fmt.Println(v.Path, v.Keyword)
	}
	// Output:
	// [start] additionalProperties
	// [startDate] required
}
