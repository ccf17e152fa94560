package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// dialect is the only value of $schema that is taken.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// Options are what a schema is compiled with.
type Options struct {
	// Load gives the document with an absolute id, decoded by package strictjson. It
	// is called for what a $ref names and must give the same document every time.
	Load func(id string) (any, error)
	// Formats are the checks of format, by name. There are no others.
	Formats map[string]func(string) error
}

// Compile makes the schema with the id ready for use. It fails on any keyword,
// type, format or form of a keyword that it does not know, and on a $ref that
// leads back to itself.
func Compile(id string, o Options) (*Schema, error) {
	c := compiler{Options: o, done: map[string]*node{}, patterns: map[string]*regexp.Regexp{}}
	root, err := c.target(id, "")
	if err != nil {
		return nil, fmt.Errorf("compile schema %s: %w", id, err)
	}
	return &Schema{root}, nil
}

type compiler struct {
	Options
	// done is keyed by the id of the document, # and the pointer into it; nil while
	// the node is being compiled.
	done     map[string]*node
	patterns map[string]*regexp.Regexp
}

// target compiles what a $ref leads to, once.
func (c *compiler) target(id, pointer string) (*node, error) {
	key := id + "#" + pointer
	if n, ok := c.done[key]; ok {
		if n == nil {
			return nil, fmt.Errorf("%s leads back to itself", key)
		}
		return n, nil
	}
	c.done[key] = nil
	doc, err := c.Load(id)
	if err != nil {
		return nil, err
	}
	part, err := lookup(doc, pointer)
	if err != nil {
		return nil, err
	}
	n, err := c.node(id, part, pointer == "")
	c.done[key] = n
	return n, err
}

// lookup follows a JSON Pointer (RFC 6901) through the objects of doc.
func lookup(doc any, pointer string) (any, error) {
	if pointer == "" {
		return doc, nil
	}
	tokens := strings.Split(pointer, "/")
	if tokens[0] != "" {
		return nil, fmt.Errorf("%q is no JSON pointer", pointer)
	}
	for _, token := range tokens[1:] {
		fields, _ := doc.(map[string]any)
		part, ok := fields[strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")]
		if !ok {
			return nil, fmt.Errorf("there is nothing at %s", pointer)
		}
		doc = part
	}
	return doc, nil
}

// resolve gives the absolute id and the pointer of a $ref in the document id.
func resolve(id, ref string) (target, pointer string, err error) {
	base, err := url.Parse(id)
	if err != nil {
		return "", "", err
	}
	u, err := base.Parse(ref)
	if err != nil {
		return "", "", err
	}
	pointer = u.Fragment
	u.Fragment, u.RawFragment = "", ""
	return u.String(), pointer, nil
}

// node compiles one schema object of the document id.
func (c *compiler) node(id string, v any, root bool) (*node, error) {
	rules, err := as[map[string]any](v)
	if err != nil {
		return nil, err
	}
	n := &node{maxItems: noBound, maxLength: noBound}
	for _, keyword := range slices.Sorted(maps.Keys(rules)) {
		if err := c.keyword(n, id, keyword, rules[keyword], root); err != nil {
			return nil, fmt.Errorf("%s: %w", keyword, err)
		}
	}
	return n, n.complete()
}

// complete refuses keywords that mean nothing without another one.
func (n *node) complete() error {
	switch {
	case n.unique && n.maxItems == noBound:
		return errors.New("uniqueItems: needs maxItems")
	case n.condition == nil && (n.then != nil || n.otherwise != nil):
		return errors.New("then, else: need if")
	default:
		return nil
	}
}

func (c *compiler) keyword(n *node, id, keyword string, v any, root bool) (err error) {
	sub := func(v any) (*node, error) { return c.node(id, v, false) }
	switch keyword {
	case "$schema", "$id":
		err = exactly(v, map[string]string{"$schema": dialect, "$id": id}[keyword], root)
	case "$defs":
		err = c.definitions(id, v, root)
	case "title":
		_, err = as[string](v)
	case "description":
		n.description, err = as[string](v)
	case "$ref":
		n.ref, err = c.ref(id, v)
	case "type":
		n.types, err = types(v)
	case "const":
		n.constant, err = scalar(v)
	case "enum":
		n.enum, err = each(v, scalar)
	case "format":
		n.format, err = c.formatOf(v)
	case "not":
		n.not, err = sub(v)
	case "allOf":
		n.allOf, err = each(v, sub)
	case "if":
		n.condition, err = sub(v)
	case "then":
		n.then, err = sub(v)
	case "else":
		n.otherwise, err = sub(v)
	case "properties":
		n.properties, err = c.nodes(id, v)
	case "additionalProperties":
		if n.closed = v == false; !n.closed {
			n.additional, err = sub(v)
		}
	case "propertyNames":
		n.names, err = sub(v)
	case "required":
		n.required, err = names(v)
	case "dependentRequired":
		n.dependentRequired, err = fields(v, names)
	case "minProperties":
		n.minProperties, err = count(v)
	case "items":
		n.items, err = sub(v)
	case "minItems":
		n.minItems, err = count(v)
	case "maxItems":
		n.maxItems, err = count(v)
	case "uniqueItems":
		n.unique, err = as[bool](v)
	case "pattern":
		n.pattern, err = c.pattern(v)
	case "maxLength":
		n.maxLength, err = count(v)
	case "minimum":
		n.least, err = bound(v)
	case "maximum":
		n.most, err = bound(v)
	default:
		err = errors.New("unknown keyword")
	}
	return err
}

func (c *compiler) ref(id string, v any) (*node, error) {
	ref, err := as[string](v)
	if err != nil {
		return nil, err
	}
	target, pointer, err := resolve(id, ref)
	if err != nil {
		return nil, err
	}
	return c.target(target, pointer)
}

// definitions compiles what nothing may refer to as well: it must be right.
func (c *compiler) definitions(id string, v any, root bool) error {
	if !root {
		return errors.New("stands at the root only")
	}
	object, err := as[map[string]any](v)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		token := strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
		if _, err := c.target(id, "/$defs/"+token); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *compiler) nodes(id string, v any) (map[string]*node, error) {
	return fields(v, func(v any) (*node, error) { return c.node(id, v, false) })
}

func (c *compiler) formatOf(v any) (func(string) error, error) {
	name, err := as[string](v)
	if err != nil {
		return nil, err
	}
	check, ok := c.Formats[name]
	if !ok {
		return nil, fmt.Errorf("unknown format %q", name)
	}
	return check, nil
}

// pattern compiles each pattern once: the schemas repeat a few.
func (c *compiler) pattern(v any) (*regexp.Regexp, error) {
	text, err := as[string](v)
	if err != nil {
		return nil, err
	}
	if known, ok := c.patterns[text]; ok {
		return known, nil
	}
	compiled, err := regexp.Compile(text)
	c.patterns[text] = compiled
	return compiled, err
}

// as is v when it has the form that the keyword needs.
func as[T any](v any) (T, error) {
	t, ok := v.(T)
	if !ok {
		return t, fmt.Errorf("has the wrong form (%s)", typeOf(v))
	}
	return t, nil
}

func exactly(v any, want string, root bool) error {
	if !root || v != want {
		return fmt.Errorf("stands at the root only and is %s", want)
	}
	return nil
}

// each reads an array that is not empty.
func each[T any](v any, read func(any) (T, error)) ([]T, error) {
	list, err := as[[]any](v)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("is empty")
	}
	out := make([]T, len(list))
	for i, item := range list {
		if out[i], err = read(item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func fields[T any](v any, read func(any) (T, error)) (map[string]T, error) {
	object, err := as[map[string]any](v)
	if err != nil {
		return nil, err
	}
	out := make(map[string]T, len(object))
	for name, field := range object {
		if out[name], err = read(field); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

func names(v any) ([]string, error) { return each(v, as[string]) }

func types(v any) ([]string, error) {
	if _, one := v.(string); one {
		v = []any{v}
	}
	list, err := names(v)
	for _, name := range list {
		if name != "integer" && !slices.Contains(typeNames(), name) {
			return nil, fmt.Errorf("unknown type %q", name)
		}
	}
	slices.Sort(list)
	return list, err
}

func scalar(v any) (any, error) {
	switch v.(type) {
	case string, bool:
		return v, nil
	default:
		return nil, errors.New("is neither a string nor a boolean")
	}
}

func bound(v any) (*int, error) {
	n, err := count(v)
	return &n, err
}

func count(v any) (int, error) {
	n, err := as[json.Number](v)
	if err != nil {
		return 0, err
	}
	whole, err := strconv.ParseUint(n.String(), 10, 31)
	if err != nil {
		return 0, errors.New("is no whole number")
	}
	return int(whole), nil
}
