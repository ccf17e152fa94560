package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mfaflow/pkg/schema"
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

// invalid turns broken rules into the fields that break them.
func invalid(s *schema.Schema, broken []schema.Violation) *InvalidError {
	var fields []FieldError
	for _, v := range broken {
		fields = append(fields, FieldError{pointer(v.Path), problem(s, v)})
	}
	slices.SortFunc(fields, func(a, b FieldError) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Problem, b.Problem))
	})
	return &InvalidError{Fields: slices.Compact(fields)}
}

func problem(s *schema.Schema, v schema.Violation) string {
	var description string
	if len(v.Path) > 0 {
		description = s.Description(v.Path)
	}
	say := func(problem string) string {
		if description == "" {
			return problem
		}
		return problem + ": " + description
	}
	switch v.Keyword {
	case "required":
		return say("is required")
	case "dependentRequired":
		return say("is required with " + strings.Join(v.Want, ", "))
	case "additionalProperties":
		return say("is not allowed here; remove it")
	case "propertyNames":
		return say("is not an attribute of CloudEvents (a to z and 0 to 9, at most 20); remove it")
	case "not":
		return say("must be left out")
	case "type":
		return say("must be of type " + strings.Join(v.Want, " or "))
	case "const":
		return "must be " + strings.Join(v.Want, ", ")
	case "enum":
		return say("must be one of " + strings.Join(v.Want, ", "))
	case "maxLength":
		return say("is longer than " + strings.Join(v.Want, ", ") + " characters")
	default: // a format, a pattern, a bound: the description says all of these at once
		if description == "" {
			return "breaks the rule " + v.Keyword + " of the schema"
		}
		return "must be " + description
	}
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
