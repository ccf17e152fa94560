package graph

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// filter is a parsed $filter expression. String renders it so that parsing the text
// again gives an equal filter.
type filter interface {
	matches(property func(name string) (any, bool)) (bool, error)
	advanced() bool // needs ConsistencyLevel: eventual
	String() string
}

type (
	// logical is "left and right" or "left or right".
	logical struct {
		op          string
		left, right filter
	}
	negation struct{ inner filter }
	// comparison is "path op literal".
	comparison struct {
		path  string
		op    string
		value literal
	}
	// membership is "path in ('a','b')".
	membership struct {
		path   string
		values []literal
	}
	// call is startsWith(path,'a') or endsWith(path,'a').
	call struct {
		name  string
		path  string
		value literal
	}
	// anyOf is path/any(v:filter over v).
	anyOf struct {
		path     string
		variable string
		inner    filter
	}
)

// literal is a constant in a filter; text is its source form, unquoted for strings.
type literal struct {
	kind literalKind
	text string
}

type literalKind int

const (
	stringLiteral literalKind = iota + 1
	boolLiteral
	nullLiteral
	numberLiteral
	timeLiteral
)

const (
	maxFilterLength = 8 << 10
	maxFilterDepth  = 50
)

// parseFilter accepts the subset of OData that Graph serves on directory objects: eq, ne,
// ge, le, gt, lt, in, and, or, not, startsWith, endsWith and any.
func parseFilter(text string) (filter, error) {
	if len(text) > maxFilterLength {
		return nil, errors.New("the filter is too long")
	}
	tokens, err := lexFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{tokens: tokens}
	f, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.peek().kind != tokenEnd {
		return nil, fmt.Errorf("syntax error at %q", p.peek().text)
	}
	return f, nil
}

type tokenKind int

const (
	tokenEnd    tokenKind = iota + 1
	tokenWord             // names, operators, numbers, dates, true, null
	tokenString           // quoted
	tokenMark             // one of ( ) , :
)

type token struct {
	kind tokenKind
	text string
}

func lexFilter(s string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t':
			i++
		case c == '(' || c == ')' || c == ',':
			tokens = append(tokens, token{tokenMark, string(c)})
			i++
		case c == '\'':
			var b strings.Builder
			i++
			for {
				if i >= len(s) {
					return nil, errors.New("there is an unterminated string literal")
				}
				if s[i] == '\'' {
					if i+1 < len(s) && s[i+1] == '\'' { // a doubled quote is a quote
						b.WriteByte('\'')
						i += 2
						continue
					}
					i++
					break
				}
				b.WriteByte(s[i])
				i++
			}
			tokens = append(tokens, token{tokenString, b.String()})
		case isWordByte(c):
			start := i
			for i < len(s) && (isWordByte(s[i]) || s[i] == ':' && isTimePrefix(s[start:i])) {
				i++
			}
			tokens = append(tokens, token{tokenWord, s[start:i]})
		case c == ':':
			tokens = append(tokens, token{tokenMark, ":"})
			i++
		default:
			return nil, fmt.Errorf("unexpected character %q at position %d", c, i)
		}
	}
	return append(tokens, token{kind: tokenEnd}), nil
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '/' || c == '.' || c == '-' || c == '+' || c == '$'
}

// isTimePrefix tells the colon inside a date-time from the one of a lambda variable.
func isTimePrefix(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

type filterParser struct {
	tokens []token
	pos    int
}

func (p *filterParser) peek() token { return p.tokens[p.pos] }

func (p *filterParser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokenEnd {
		p.pos++
	}
	return t
}

func (p *filterParser) word(text string) bool {
	if t := p.peek(); t.kind == tokenWord && t.text == text {
		p.pos++
		return true
	}
	return false
}

func (p *filterParser) mark(text string) error {
	if t := p.next(); t.kind != tokenMark || t.text != text {
		return fmt.Errorf("expected %q at %q", text, t.text)
	}
	return nil
}

func (p *filterParser) or(depth int) (filter, error) {
	return p.chain("or", depth, func(d int) (filter, error) { return p.chain("and", d, p.unary) })
}

// chain parses operands joined by one operator, left to right.
func (p *filterParser) chain(op string, depth int, operand func(int) (filter, error)) (filter, error) {
	if depth > maxFilterDepth {
		return nil, errors.New("the filter is nested too deeply")
	}
	left, err := operand(depth)
	if err != nil {
		return nil, err
	}
	for p.word(op) {
		right, err := operand(depth)
		if err != nil {
			return nil, err
		}
		left = logical{op, left, right}
	}
	return left, nil
}

func (p *filterParser) unary(depth int) (filter, error) {
	if depth > maxFilterDepth {
		return nil, errors.New("the filter is nested too deeply")
	}
	if p.word("not") {
		inner, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return negation{inner}, nil
	}
	if t := p.peek(); t.kind == tokenMark && t.text == "(" {
		p.pos++
		inner, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		return inner, p.mark(")")
	}
	t := p.next()
	if t.kind != tokenWord {
		return nil, fmt.Errorf("expected a property or function at %q", t.text)
	}
	if open := p.peek(); open.kind == tokenMark && open.text == "(" {
		switch strings.ToLower(t.text) {
		case "startswith":
			return p.call("startsWith")
		case "endswith":
			return p.call("endsWith")
		}
		if path, ok := strings.CutSuffix(t.text, "/any"); ok && isPath(path) {
			return p.any(path, depth)
		}
		return nil, fmt.Errorf("an unknown function with name '%s' was found", t.text)
	}
	if !isPath(t.text) {
		return nil, fmt.Errorf("expected a property at %q", t.text)
	}
	return p.comparison(t.text)
}

func (p *filterParser) call(name string) (filter, error) {
	if err := p.mark("("); err != nil {
		return nil, err
	}
	path := p.next()
	if path.kind != tokenWord || !isPath(path.text) {
		return nil, fmt.Errorf("expected a property in %s", name)
	}
	if err := p.mark(","); err != nil {
		return nil, err
	}
	value := p.next()
	if value.kind != tokenString {
		return nil, fmt.Errorf("expected a string in %s", name)
	}
	return call{name, path.text, literal{stringLiteral, value.text}}, p.mark(")")
}

func (p *filterParser) any(path string, depth int) (filter, error) {
	if err := p.mark("("); err != nil {
		return nil, err
	}
	variable := p.next()
	if variable.kind != tokenWord || !isPath(variable.text) || strings.Contains(variable.text, "/") {
		return nil, errors.New("expected a variable in any")
	}
	if err := p.mark(":"); err != nil {
		return nil, err
	}
	inner, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	return anyOf{path, variable.text, inner}, p.mark(")")
}

func (p *filterParser) comparison(path string) (filter, error) {
	op := p.next()
	if op.kind != tokenWord {
		return nil, fmt.Errorf("expected an operator after %q", path)
	}
	switch op.text {
	case "eq", "ne", "gt", "ge", "lt", "le":
		value, err := p.literal()
		return comparison{path, op.text, value}, err
	case "in":
		if err := p.mark("("); err != nil {
			return nil, err
		}
		var values []literal
		for {
			value, err := p.literal()
			if err != nil {
				return nil, err
			}
			values = append(values, value)
			if t := p.next(); t.kind == tokenMark && t.text == ")" {
				return membership{path, values}, nil
			} else if t.kind != tokenMark || t.text != "," {
				return nil, fmt.Errorf("expected ',' or ')' at %q", t.text)
			}
		}
	}
	return nil, fmt.Errorf("unknown operator %q", op.text)
}

func (p *filterParser) literal() (literal, error) {
	t := p.next()
	switch {
	case t.kind == tokenString:
		return literal{stringLiteral, t.text}, nil
	case t.kind != tokenWord:
	case t.text == "true" || t.text == "false":
		return literal{boolLiteral, t.text}, nil
	case t.text == "null":
		return literal{nullLiteral, t.text}, nil
	default:
		if _, err := time.Parse(time.RFC3339Nano, t.text); err == nil {
			return literal{timeLiteral, t.text}, nil
		}
		if numberPattern.MatchString(t.text) {
			return literal{numberLiteral, t.text}, nil
		}
	}
	return literal{}, fmt.Errorf("expected a value at %q", t.text)
}

var (
	pathPattern   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$`)
	numberPattern = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,15})?$`)
)

func isPath(s string) bool {
	switch s {
	case "and", "or", "not", "true", "false", "null":
		return false
	}
	return pathPattern.MatchString(s)
}

// String uses no more parentheses than precedence needs: "and" binds stronger, and a
// chain of one operator leans to the left.
func (f logical) String() string {
	left, right := f.left.String(), f.right.String()
	if l, nested := f.left.(logical); nested && f.op == "and" && l.op == "or" {
		left = "(" + left + ")"
	}
	if r, nested := f.right.(logical); nested && (f.op == "and" || r.op == "or") {
		right = "(" + right + ")"
	}
	return left + " " + f.op + " " + right
}

func (f negation) String() string {
	if _, nested := f.inner.(logical); nested {
		return "not (" + f.inner.String() + ")"
	}
	return "not " + f.inner.String()
}

func (f comparison) String() string { return f.path + " " + f.op + " " + f.value.String() }
func (f call) String() string       { return f.name + "(" + f.path + "," + f.value.String() + ")" }
func (f anyOf) String() string {
	return f.path + "/any(" + f.variable + ":" + f.inner.String() + ")"
}

func (f membership) String() string {
	parts := make([]string, len(f.values))
	for i, v := range f.values {
		parts[i] = v.String()
	}
	return f.path + " in (" + strings.Join(parts, ",") + ")"
}

func (l literal) String() string {
	if l.kind == stringLiteral {
		return "'" + strings.ReplaceAll(l.text, "'", "''") + "'"
	}
	return l.text
}

func (f logical) advanced() bool    { return f.left.advanced() || f.right.advanced() }
func (f negation) advanced() bool   { return true }
func (f comparison) advanced() bool { return f.op == "ne" || f.op == "gt" || f.op == "lt" }
func (f membership) advanced() bool { return false }
func (f call) advanced() bool       { return f.name == "endsWith" }
func (f anyOf) advanced() bool      { return f.inner.advanced() }

func (f logical) matches(property func(string) (any, bool)) (bool, error) {
	left, err := f.left.matches(property)
	if err != nil {
		return false, err
	}
	right, err := f.right.matches(property) // always, so that an unknown property is found
	if err != nil {
		return false, err
	}
	if f.op == "and" {
		return left && right, nil
	}
	return left || right, nil
}

func (f negation) matches(property func(string) (any, bool)) (bool, error) {
	yes, err := f.inner.matches(property)
	return !yes && err == nil, err
}

func (f comparison) matches(property func(string) (any, bool)) (bool, error) {
	v, err := filterValue(property, f.path)
	if err != nil {
		return false, err
	}
	return f.value.compare(f.path, v, f.op)
}

func (f membership) matches(property func(string) (any, bool)) (bool, error) {
	v, err := filterValue(property, f.path)
	if err != nil {
		return false, err
	}
	for _, l := range f.values {
		if yes, err := l.compare(f.path, v, "eq"); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

func (f call) matches(property func(string) (any, bool)) (bool, error) {
	v, err := filterValue(property, f.path)
	if err != nil {
		return false, err
	}
	s, isString := v.(string)
	if v != nil && !isString {
		return false, errUnsupportedQuery("Unsupported property filter clause for property '%s'.", f.path)
	}
	s, want := strings.ToLower(s), strings.ToLower(f.value.text)
	if f.name == "startsWith" {
		return v != nil && strings.HasPrefix(s, want), nil
	}
	return v != nil && strings.HasSuffix(s, want), nil
}

func (f anyOf) matches(property func(string) (any, bool)) (bool, error) {
	v, err := filterValue(property, f.path)
	if err != nil {
		return false, err
	}
	items, isList := v.([]string)
	if !isList {
		return false, errUnsupportedQuery("Property '%s' is not a collection.", f.path)
	}
	for _, item := range items {
		element := func(name string) (any, bool) {
			if name == f.variable {
				return item, true
			}
			return nil, false
		}
		if yes, err := f.inner.matches(element); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
}

func filterValue(property func(string) (any, bool), path string) (any, error) {
	v, known := property(path)
	if !known {
		return nil, errUnsupportedQuery("Unsupported or invalid query filter clause specified for property '%s'.", path)
	}
	return v, nil
}

// compare applies op with the property on its left. Strings compare without case, as
// the directory does; null equals only null.
func (l literal) compare(path string, v any, op string) (bool, error) {
	if l.kind == nullLiteral || v == nil {
		same := l.kind == nullLiteral && v == nil
		switch op {
		case "eq":
			return same, nil
		case "ne":
			return !same, nil
		}
		return false, nil
	}
	order, comparable := 0, false
	switch v := v.(type) {
	case string:
		if l.kind == stringLiteral {
			order, comparable = strings.Compare(strings.ToLower(v), strings.ToLower(l.text)), true
		}
	case bool:
		if l.kind == boolLiteral && (op == "eq" || op == "ne") {
			comparable = true
			if strconv.FormatBool(v) != l.text {
				order = 1
			}
		}
	case time.Time:
		if t, err := time.Parse(time.RFC3339Nano, l.text); l.kind == timeLiteral && err == nil {
			order, comparable = v.Compare(t), true
		}
	case int:
		if n, err := strconv.ParseFloat(l.text, 64); l.kind == numberLiteral && err == nil {
			comparable = true
			switch {
			case float64(v) < n:
				order = -1
			case float64(v) > n:
				order = 1
			}
		}
	}
	if !comparable {
		return false, errUnsupportedQuery("Unsupported or invalid query filter clause specified for property '%s'.", path)
	}
	switch op {
	case "eq":
		return order == 0, nil
	case "ne":
		return order != 0, nil
	case "gt":
		return order > 0, nil
	case "ge":
		return order >= 0, nil
	case "lt":
		return order < 0, nil
	}
	return order <= 0, nil
}
