// Package schema validates decoded JSON against the part of JSON Schema 2020-12
// that the event catalogue is written in. Whatever lies outside that part makes
// [Compile] fail: no keyword is ever ignored.
//
// It imports the standard library only and knows nothing of events. A
// [Violation] never holds a piece of the value that was validated, apart from the
// names of its fields.
//
// # Why not a library
//
// A small function pays for its libraries at every cold start. The complete
// validator github.com/santhosh-tekuri/jsonschema compiles the metaschemas of five
// drafts before main begins (measured: 4.3 ms, where a bare Lambda handler polls
// after 3 ms). It is the oracle of the tests here and in package catalog.
//
// # What differs from the standard
//
//   - const and enum take strings and booleans; minimum and maximum are whole numbers.
//   - uniqueItems needs maxItems beside it, and is looked at in arrays no longer than
//     that: comparing each item with each other one must have a bound.
//   - A schema is an object; false stands in additionalProperties only.
//   - format is always checked, and never a mere annotation.
package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Violation is one rule that a value breaks.
type Violation struct {
	// Path leads to the value that breaks the rule, one token for each object and
	// array on the way. A field that is missing, or that must not be there, is named
	// itself.
	Path []string
	// Keyword is the rule.
	Keyword string
	// Want is what the schema asks for, where that helps to say what would be right:
	// the types of type, the values of const and enum, the bound of a minimum or
	// maximum, and for dependentRequired the field that demands the other one.
	Want []string
}

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct{ root *node }

// Validate lists every rule that v breaks, in no particular order; none means that
// v is valid. It reads what package strictjson gives, and the numbers of Go beside
// json.Number; a value of any other Go type breaks the rule type.
//
// A value that is of the wrong type, none of those allowed or not in its format is
// reported for that alone.
func (s *Schema) Validate(v any) []Violation {
	var found []Violation
	s.root.validate(v, nil, func(b Violation) { found = append(found, b) })
	return found
}

// Description is what the schema says about the value at a path. One beside a $ref
// wins over that of its target.
func (s *Schema) Description(path []string) string { return s.root.describe(path) }

func (n *node) describe(path []string) string {
	for ; n != nil; n = n.ref {
		description := n.description
		if len(path) > 0 {
			part := n.properties[path[0]]
			if part == nil {
				part = n.items
			}
			description = part.describe(path[1:])
		}
		if description != "" {
			return description
		}
	}
	return ""
}

// node is one schema object. What the schema does not ask for is nil, and the
// numbers are noBound.
type node struct {
	description string

	types    []string
	constant any
	enum     []any
	format   func(string) error

	ref               *node
	allOf             []*node
	not               *node
	condition         *node
	then, otherwise   *node
	properties        map[string]*node
	additional        *node
	closed            bool
	names             *node
	required          []string
	dependentRequired map[string][]string
	minProperties     int

	items              *node
	minItems, maxItems int
	unique             bool

	pattern   *regexp.Regexp
	maxLength int

	// least and most bound numbers; nil is no bound.
	least, most *int
}

// noBound is the value of a maximum that is not set.
const noBound = -1

// place is where a value stands. It becomes a path when there is something to
// report; nil is the root.
type place struct {
	in    *place
	token string
}

func (p *place) path() []string {
	var tokens []string
	for ; p != nil; p = p.in {
		tokens = append(tokens, p.token)
	}
	slices.Reverse(tokens)
	return tokens
}

type report func(Violation)

func (r report) add(at *place, keyword string, want ...string) {
	r(Violation{Path: at.path(), Keyword: keyword, Want: want})
}

func (n *node) validate(v any, at *place, r report) {
	if keyword, want := n.alien(v); keyword != "" {
		r.add(at, keyword, want...)
		return
	}
	if n.ref != nil {
		n.ref.validate(v, at, r)
	}
	switch v := v.(type) {
	case map[string]any:
		n.object(v, at, r)
	case []any:
		n.array(v, at, r)
	case string:
		n.text(v, at, r)
	default:
		if typeOf(v) == "number" {
			n.number(number(v), at, r)
		}
	}
	for _, all := range n.allOf {
		all.validate(v, at, r)
	}
	if n.not != nil && n.not.accepts(v) {
		r.add(at, "not")
	}
	branch := n.otherwise
	if n.condition != nil && n.condition.accepts(v) {
		branch = n.then
	}
	if branch != nil {
		branch.validate(v, at, r)
	}
}

func (n *node) accepts(v any) bool {
	valid := true
	n.validate(v, nil, func(Violation) { valid = false })
	return valid
}

// alien finds the rule by which v is no candidate at all, so that its parts need
// no judgement.
func (n *node) alien(v any) (keyword string, want []string) {
	is := typeOf(v)
	switch {
	case n.types != nil && !slices.Contains(n.types, is) && !(whole(v) && slices.Contains(n.types, "integer")):
		return "type", n.types
	case is == "":
		return "type", typeNames()
	case n.constant != nil && v != n.constant:
		return "const", texts(n.constant)
	case n.enum != nil && !contains(n.enum, v):
		return "enum", texts(n.enum...)
	}
	if s, ok := v.(string); ok && n.format != nil && n.format(s) != nil {
		return "format", nil
	}
	return "", nil
}

func (n *node) number(f float64, at *place, r report) {
	if n.least != nil && !(f >= float64(*n.least)) {
		r.add(at, "minimum", strconv.Itoa(*n.least))
	}
	if n.most != nil && !(f <= float64(*n.most)) {
		r.add(at, "maximum", strconv.Itoa(*n.most))
	}
}

// number is the value of a number; NaN, which no bound holds, for one that is out of
// range.
func number(v any) float64 {
	f, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// whole reports whether v is a number without a fraction.
func whole(v any) bool {
	if typeOf(v) != "number" {
		return false
	}
	f := number(v)
	return f == math.Trunc(f)
}

func (n *node) object(fields map[string]any, at *place, r report) {
	if len(fields) < n.minProperties {
		r.add(at, "minProperties", strconv.Itoa(n.minProperties))
	}
	for _, name := range n.required {
		if _, ok := fields[name]; !ok {
			r.add(&place{at, name}, "required")
		}
	}
	for name, others := range n.dependentRequired {
		if _, ok := fields[name]; !ok {
			continue
		}
		for _, other := range others {
			if _, ok := fields[other]; !ok {
				r.add(&place{at, other}, "dependentRequired", name)
			}
		}
	}
	for name, v := range fields {
		field := &place{at, name}
		if n.names != nil && !n.names.accepts(name) {
			r.add(field, "propertyNames")
		}
		switch property := n.properties[name]; {
		case property != nil:
			property.validate(v, field, r)
		case n.closed:
			r.add(field, "additionalProperties")
		case n.additional != nil:
			n.additional.validate(v, field, r)
		}
	}
}

func (n *node) array(items []any, at *place, r report) {
	if len(items) < n.minItems {
		r.add(at, "minItems", strconv.Itoa(n.minItems))
	}
	switch {
	case n.maxItems != noBound && len(items) > n.maxItems:
		r.add(at, "maxItems", strconv.Itoa(n.maxItems))
	case n.unique && repeats(items):
		r.add(at, "uniqueItems")
	}
	if n.items == nil {
		return
	}
	for i, item := range items {
		n.items.validate(item, &place{at, strconv.Itoa(i)}, r)
	}
}

func (n *node) text(s string, at *place, r report) {
	if n.maxLength != noBound && utf8.RuneCountInString(s) > n.maxLength {
		r.add(at, "maxLength", strconv.Itoa(n.maxLength))
	}
	if n.pattern != nil && !n.pattern.MatchString(s) {
		r.add(at, "pattern")
	}
}

// typeNames are the types that a schema may ask for, in the order of messages.
func typeNames() []string { return []string{"array", "boolean", "null", "number", "object", "string"} }

// typeOf is the JSON type of a Go value, empty when it has none.
func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number, float32, float64, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	default:
		return ""
	}
}

func texts(scalars ...any) []string {
	list := make([]string, len(scalars))
	for i, v := range scalars {
		list[i] = fmt.Sprint(v)
	}
	return list
}

// contains compares without reflection: the values of an enum are strings and
// booleans.
func contains(enum []any, v any) bool {
	for _, one := range enum {
		if v == one {
			return true
		}
	}
	return false
}

func repeats(items []any) bool {
	for i, item := range items {
		for _, other := range items[:i] {
			if equal(item, other) {
				return true
			}
		}
	}
	return false
}

// equal is equality in JSON: objects know no order, and 1 is 1.0.
func equal(a, b any) bool {
	is := typeOf(a)
	if is != typeOf(b) {
		return false
	}
	switch is {
	case "object":
		x, y := a.(map[string]any), b.(map[string]any)
		if len(x) != len(y) {
			return false
		}
		for name, v := range x {
			if w, ok := y[name]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case "array":
		return slices.EqualFunc(a.([]any), b.([]any), equal)
	case "number":
		return decimal(fmt.Sprint(a)) == decimal(fmt.Sprint(b))
	case "":
		return false
	default:
		return a == b
	}
}

// decimal writes a number in one way only. It does not compute: 1e-999999 from
// outside would take a million digits.
func decimal(text string) string {
	unsigned, negative := strings.CutPrefix(text, "-")
	mantissa, power, scientific := strings.Cut(strings.ToLower(unsigned), "e")
	exponent := 0
	if scientific {
		var err error
		if exponent, err = strconv.Atoi(power); err != nil {
			return text
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	significant := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(significant) - len(fraction)
	switch {
	case significant == "":
		return "0"
	case negative:
		significant = "-" + significant
	}
	return significant + "e" + strconv.Itoa(exponent)
}
