package schema_test

import (
	"strings"
	"testing"
)

// What Compile does not know it refuses: a rule that is silently ignored would let
// everything through.
func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct{ schema, want string }{
		{`true`, "wrong form"},
		{`[]`, "wrong form"},
		{`{"minLength":1}`, "minLength: unknown keyword"},
		{`{"anyOf":[{}]}`, "anyOf: unknown keyword"},
		{`{"properties":{"a":{"x-ours":1}}}`, "properties: a: x-ours: unknown keyword"},
		{`{"$defs":{"unused":{"multipleOf":1}}}`, "$defs: unused: multipleOf: unknown keyword"},
		{`{"$schema":"http://json-schema.org/draft-07/schema#"}`, "$schema: "},
		{`{"$id":"https://schema.example/other.json"}`, "$id: "},
		{`{"properties":{"a":{"$id":"https://schema.example/test.json"}}}`, "root only"},
		{`{"properties":{"a":{"$defs":{}}}}`, "root only"},
		{`{"title":1}`, "title: "},
		{`{"description":{}}`, "description: "},
		{`{"type":"strnig"}`, `type: unknown type "strnig"`},
		{`{"type":"decimal"}`, `type: unknown type "decimal"`},
		{`{"type":[]}`, "type: is empty"},
		{`{"type":[1]}`, "type: "},
		{`{"const":1}`, "const: "},
		{`{"const":null}`, "const: "},
		{`{"enum":[]}`, "enum: is empty"},
		{`{"enum":["a",["b"]]}`, "enum: "},
		{`{"format":"email"}`, `format: unknown format "email"`},
		{`{"format":1}`, "format: "},
		{`{"pattern":"("}`, "pattern: "},
		{`{"pattern":1}`, "pattern: "},
		{`{"maxLength":-1}`, "maxLength: is no whole number"},
		{`{"maxLength":1.5}`, "maxLength: is no whole number"},
		{`{"maxLength":99999999999}`, "maxLength: is no whole number"},
		{`{"minItems":"1"}`, "minItems: "},
		{`{"uniqueItems":true}`, "needs maxItems"},
		{`{"uniqueItems":1,"maxItems":1}`, "uniqueItems: "},
		{`{"then":{}}`, "need if"},
		{`{"else":{}}`, "need if"},
		{`{"required":[]}`, "required: is empty"},
		{`{"required":"a"}`, "required: "},
		{`{"dependentRequired":{"a":"b"}}`, "dependentRequired: a: "},
		{`{"properties":[]}`, "properties: "},
		{`{"additionalProperties":true}`, "additionalProperties: "},
		{`{"items":false}`, "items: "},
		{`{"not":true}`, "not: "},
		{`{"allOf":{}}`, "allOf: "},
		{`{"$ref":1}`, "$ref: "},
		{`{"$ref":"%zz"}`, "$ref: "},
		{`{"$ref":"other.json"}`, "no such document"},
		{`{"$ref":"file:///etc/passwd"}`, "no such document"},
		{`{"$ref":"#/$defs/a"}`, "there is nothing at /$defs/a"},
		{`{"$ref":"#anchor"}`, "is no JSON pointer"},
		{`{"$ref":"#"}`, "leads back to itself"},
		{`{"items":{"$ref":"test.json"}}`, "leads back to itself"},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"items":{"$ref":"#/$defs/b"}},"b":{"not":{"$ref":"#/$defs/a"}}}}`, "leads back to itself"},
	} {
		t.Run(tt.schema, func(t *testing.T) {
			_, err := compile(map[string]any{testID: decode(t, tt.schema)})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "compile schema "+testID) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A reference resolves against the document it stands in.
func TestCompileAcrossDocuments(t *testing.T) {
	docs := map[string]any{
		testID:                                decode(t, `{"$ref":"sub/one.json#/$defs/a"}`),
		"https://schema.example/sub/one.json": decode(t, `{"$defs":{"a":{"$ref":"two.json"}}}`),
		"https://schema.example/sub/two.json": decode(t, `{"$id":"https://schema.example/sub/two.json","$ref":"#/$defs/b","$defs":{"b":{"type":"null"}}}`),
	}
	s, err := compile(docs)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Validate(nil)) > 0 || len(s.Validate("x")) == 0 {
		t.Error("the reference leads elsewhere")
	}
}
