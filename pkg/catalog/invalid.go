package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// InvalidError is an event that its schema, or JSON itself, refuses.
type InvalidError struct {
	// Fields are all the wrong fields, ordered by pointer.
	Fields []FieldError
	cause  error
}

// FieldError is one wrong field.
type FieldError struct {
	// Pointer is the JSON Pointer (RFC 6901) of the field; empty for the whole text.
	Pointer string `json:"pointer"`
	// Problem says what would be right. It never contains what the sender wrote.
	Problem string `json:"problem"`
}

func (f FieldError) String() string {
	if f.Pointer == "" {
		return f.Problem
	}
	return f.Pointer + " " + f.Problem
}

// shownFields bounds the text of an error; Fields has them all.
const shownFields = 10

func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("invalid event: ")
	for i, f := range e.Fields {
		if i == shownFields {
			fmt.Fprintf(&b, "; and %d more", len(e.Fields)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// Unwrap gives the rule of package strictjson when the text is not strict JSON.
func (e *InvalidError) Unwrap() error { return e.cause }

// invalid turns the schema library's error into ours. The library quotes values,
// so its texts are never used.
func (s schema) invalid(err error) error {
	failed, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate: %w", err)
	}
	var fields []FieldError
	s.collect(failed, &fields)
	slices.SortFunc(fields, func(a, b FieldError) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Problem, b.Problem))
	})
	return &InvalidError{Fields: slices.Compact(fields)}
}

func (s schema) collect(e *jsonschema.ValidationError, fields *[]FieldError) {
	add := func(problem string, more ...string) {
		location := append(slices.Clone(e.InstanceLocation), more...)
		*fields = append(*fields, FieldError{pointer(location), s.say(problem, location)})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add("is required", name)
		}
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			add("is required with "+k.Prop, name)
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add("is not allowed here; remove it", name)
		}
	case *kind.PropertyNames:
		add("is not an attribute of CloudEvents (a to z and 0 to 9, at most 20); remove it", k.Property)
	case *kind.Not:
		add("must be left out")
	case *kind.Type:
		add("must be of type " + strings.Join(k.Want, " or "))
	case *kind.Const:
		*fields = append(*fields, FieldError{pointer(e.InstanceLocation), "must be " + fmt.Sprint(k.Want)})
	case *kind.Enum:
		want := make([]string, len(k.Want))
		for i, v := range k.Want {
			want[i] = fmt.Sprint(v)
		}
		add("must be one of " + strings.Join(want, ", "))
	case *kind.MaxLength:
		add(fmt.Sprintf("is longer than %d characters", k.Want))
	default:
		if len(e.Causes) == 0 {
			*fields = append(*fields, FieldError{pointer(e.InstanceLocation), s.mustBe(e)})
		}
		for _, cause := range e.Causes {
			s.collect(cause, fields)
		}
	}
}

// say adds the schema's description of the field to a problem.
func (s schema) say(problem string, location []string) string {
	description := s.describe()[pointer(anyIndex(location))]
	if description == "" {
		return problem
	}
	return problem + ": " + description
}

// mustBe is the problem of a value of the right type that breaks a format, a
// pattern or a bound: the description says all of these at once.
func (s schema) mustBe(e *jsonschema.ValidationError) string {
	if description := s.describe()[pointer(anyIndex(e.InstanceLocation))]; description != "" {
		return "must be " + description
	}
	return "breaks the rule " + strings.Join(e.ErrorKind.KeywordPath(), "/") + " of the schema"
}

func anyIndex(location []string) []string {
	generic := slices.Clone(location)
	for i, token := range generic {
		if _, err := strconv.Atoi(token); err == nil {
			generic[i] = "*"
		}
	}
	return generic
}

// maxToken bounds what a sender's own field name adds to an answer.
const maxToken = 64

func pointer(location []string) string {
	var b strings.Builder
	for _, token := range location {
		b.WriteByte('/')
		if runes := []rune(token); len(runes) > maxToken {
			token = string(runes[:maxToken]) + "…"
		}
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// descriptions collects what the schema says about each field, by JSON Pointer
// into the event. A description beside a $ref wins over that of its target.
func descriptions(docs map[string]any, id string) map[string]string {
	found := map[string]string{}
	var walk func(doc string, node any, at string)
	walk = func(doc string, node any, at string) {
		s, ok := node.(map[string]any)
		if !ok {
			return
		}
		if d, ok := s["description"].(string); ok && found[at] == "" {
			found[at] = d
		}
		properties, _ := s["properties"].(map[string]any)
		for name, property := range properties {
			walk(doc, property, at+pointer([]string{name}))
		}
		walk(doc, s["items"], at+"/*")
		if ref, ok := s["$ref"].(string); ok {
			target, node := resolve(docs, doc, ref)
			walk(target, node, at)
		}
	}
	walk(id, docs[id], "")
	delete(found, "")
	return found
}

// resolve follows a $ref of the forms that our schemas use: a file beside this
// one, with or without a pointer into it.
func resolve(docs map[string]any, doc, ref string) (string, any) {
	file, fragment, _ := strings.Cut(ref, "#")
	if file != "" {
		doc = schemaBase + file
	}
	node := docs[doc]
	for token := range strings.SplitSeq(strings.TrimPrefix(fragment, "/"), "/") {
		if token == "" {
			continue
		}
		m, _ := node.(map[string]any)
		node = m[token]
	}
	return doc, node
}
