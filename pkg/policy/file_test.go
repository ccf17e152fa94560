package policy_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/policy"
)

// The schema and the decoder know the same names at every place.
func TestSchemaIsTheDecoders(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(policy.Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	defs, _ := doc["$defs"].(map[string]any)
	var compare func(path string, at map[string]any, of reflect.Type)
	compare = func(path string, at map[string]any, of reflect.Type) {
		if ref, ok := at["$ref"].(string); ok {
			at, ok = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
			if !ok {
				t.Fatalf("%s: no %s", path, ref)
			}
		}
		for of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		kind, _ := at["type"].(string)
		values, _ := at["enum"].([]any)
		switch of.Kind() {
		case reflect.Struct:
			if at["additionalProperties"] != false {
				t.Errorf("%s takes any name", path)
			}
			properties, _ := at["properties"].(map[string]any)
			fields := map[string]reflect.Type{}
			for _, f := range reflect.VisibleFields(of) {
				if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); !f.Anonymous && f.IsExported() {
					fields[name] = f.Type
				}
			}
			for name, property := range properties {
				next, ok := fields[name]
				if !ok {
					t.Errorf("%s.%s is in the schema only", path, name)
					continue
				}
				object, _ := property.(map[string]any)
				compare(path+"."+name, object, next)
				delete(fields, name)
			}
			if of == reflect.TypeFor[policy.Who]() && strings.HasSuffix(path, ".exclude") {
				delete(fields, "all") // leaves out everybody
			}
			for name := range fields {
				t.Errorf("%s.%s is in the decoder only", path, name)
			}
		case reflect.Slice:
			items, _ := at["items"].(map[string]any)
			if kind != "array" || items == nil {
				t.Fatalf("%s is no list in the schema", path)
			}
			compare(path+"[]", items, of.Elem())
		case reflect.Map:
			items, _ := at["additionalProperties"].(map[string]any)
			if kind != "object" || items == nil {
				t.Fatalf("%s is no map in the schema", path)
			}
			compare(path+"{}", items, of.Elem())
		case reflect.Bool:
			if _, fixed := at["const"].(bool); kind != "boolean" && !fixed {
				t.Errorf("%s is no boolean in the schema", path)
			}
		case reflect.String:
			if kind != "string" && len(values) == 0 {
				t.Errorf("%s is no text in the schema", path)
			}
		case reflect.Int:
			if kind != "integer" {
				t.Errorf("%s is no number in the schema", path)
			}
		case reflect.Int64: // a Duration
			if of != reflect.TypeFor[policy.Duration]() || kind != "string" {
				t.Errorf("%s is no duration in the schema", path)
			}
		default:
			t.Errorf("%s is a %s", path, of)
		}
	}
	compare("", doc, reflect.TypeFor[policy.File]())
}

// Whatever is wrong is told with its place, and with the way out where there is one.
func TestParseTellsWhatIsWrong(t *testing.T) {
	const glass = "breakGlass: {none: small}\n"
	for name, x := range map[string]struct{ text, want string }{
		"nothing":         {"", "it holds 0 documents"},
		"two":             {glass + "---\n" + glass, "it holds 2 documents"},
		"a list":          {"- a\n", "the file must be of type object"},
		"no glass":        {"securityDefaults: enabled\n", "breakGlass is missing"},
		"both":            {"breakGlass: {none: x, accounts: [a]}\n", "line 1, column 1: breakGlass: name the accounts or say why there are none, not both"},
		"neither":         {"breakGlass: {}\n", "name the accounts, or say under none why there are none"},
		"typo":            {glass + "methods:\n  smss: {state: enabled}\n", "line 3, column 3: methods.smss is unknown; did you mean sms?"},
		"far off":         {glass + "methods:\n  pigeon: {}\n", "methods.pigeon is unknown; there are external, fido2"},
		"enum":            {glass + "securityDefaults: on\n", "line 2, column 1: securityDefaults must be enabled or disabled"},
		"twice":           {glass + glass, `line 2, column 1: mapping key "breakGlass" already defined at [1:1]`},
		"no value":        {glass + "securityDefaults:\n", "there is no value; remove the name, or give it one"},
		"anchor":          {glass + "methods: &m {sms: {state: enabled}}\n", "anchor is not used here: write it out"},
		"too much":        {glass + "methods: {temporaryAccessPass: {maximumMinutes: 50000}}\n", "must be at most 43200"},
		"lifetimes":       {glass + "methods: {temporaryAccessPass: {minimumMinutes: 60, maximumMinutes: 10}}\n", "the lifetimes must be in order"},
		"all and one":     {glass + "methods: {sms: {include: {all: true, users: [a]}}}\n", "everybody includes the others: say all alone"},
		"nobody":          {glass + "conditionalAccess: [{name: a, exclude: {all: true}}]\n", "a policy that leaves everybody out asks nobody"},
		"same policy":     {glass + "conditionalAccess: [{name: a}, {name: A}]\n", "is the same policy as conditionalAccess.0"},
		"rollout's name":  {glass + "conditionalAccess: [{name: a (rollout)}]\n", "which is for policies of a rollout"},
		"defaults beside": {glass + "securityDefaults: enabled\nconditionalAccess: [{name: a, state: enforced}]\n", "cannot be enabled beside the enforced policy"},
		"two waves":       {glass + "rollout: {waves: [{name: a, groups: [b]}, {name: a, groups: [c]}]}\n", `two waves are called "a"`},
		"no duration":     {glass + "rollout: {observe: soon}\n", "rollout.observe"},
		"no GUID":         {glass + "conditionalAccess: [{name: a, id: b}]\n", "conditionalAccess.0.id must be a GUID"},
		"deep":            {glass + "methods: " + strings.Repeat("[", 2000), "nested too deeply"},
		"large":           {strings.Repeat("#", 300<<10), "larger than 256 KiB"},
		"no YAML":         {"a: b: c", "not a policy file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := policy.Parse([]byte(x.text)); !errors.Is(err, policy.ErrFile) || !strings.Contains(err.Error(), x.want) {
				t.Error(err)
			}
		})
	}
}

// What is read and written again is the same, and says nothing that the schema forbids.
func FuzzParse(f *testing.F) {
	f.Add([]byte(rollout))
	f.Add([]byte("breakGlass: {none: small}\nmethods:\n  temporaryAccessPass: {once: true, length: 12}\n  external:\n    60000000-0000-4000-8000-000000000001: {state: enabled}\n"))
	f.Add([]byte(`{"breakGlass": {"accounts": ["a@b.c"]}, "perUserMfa": [{"state": "disabled", "for": {"all": true}}], "rollout": {"observe": "1h30m", "stop": {"openFlags": 0}}}`))
	f.Add([]byte("breakGlass: {none: \"yes\"}\nconditionalAccess:\n  - name: \"1.0\"\n    include: {roles: ['null', '~', '- a']}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("breakGlass: |\n  text\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := policy.Parse(text)
		if err != nil {
			if !errors.Is(err, policy.ErrFile) {
				t.Fatal(err)
			}
			return
		}
		again, err := got.YAML()
		if err != nil {
			t.Fatal(err)
		}
		same, err := policy.Parse(again)
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if d := cmp.Diff(got, same, cmpopts.IgnoreUnexported(policy.File{})); d != "" {
			t.Fatalf("%s\n%s", d, again)
		}
		if got.BreakGlass.None == "" == (len(got.BreakGlass.Accounts) == 0) {
			t.Error(got.BreakGlass)
		}
		for _, p := range got.Conditional {
			if !slices.Contains([]string{"", "report-only", "enforced", "disabled"}, p.State) || p.Name == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
