// Package strictjson decodes JSON from outside and refuses every text that two
// parsers could read differently: RFC 8259 with the rules of I-JSON (RFC 7493).
//
// It imports the standard library only and knows nothing of events. Its errors
// never contain a piece of the text.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may be open inside each other.
const MaxDepth = 32

var (
	// ErrSyntax: empty, cut off, not JSON, or more than one value.
	ErrSyntax = errors.New("not exactly one complete JSON value")
	// ErrEncoding: the text is not UTF-8, or an escape names half a surrogate pair.
	ErrEncoding = errors.New("not valid UTF-8")
	// ErrByteOrderMark: RFC 8259 forbids a sender to add one.
	ErrByteOrderMark = errors.New("starts with a byte order mark")
	// ErrDuplicateKey: one object has the same key twice.
	ErrDuplicateKey = errors.New("an object has the same key twice")
	// ErrTooDeep: more than MaxDepth arrays and objects inside each other.
	ErrTooDeep = errors.New("nested too deeply")
	// ErrNumber: a number that a double cannot hold, not even rounded.
	ErrNumber = errors.New("a number is out of range")
)

// Error says where the text breaks which rule; errors.Is finds the rule.
type Error struct {
	// Offset counts bytes from the start of the text.
	Offset int
	Rule   error
}

func (e *Error) Error() string { return fmt.Sprintf("%v (at byte %d)", e.Rule, e.Offset) }

func (e *Error) Unwrap() error { return e.Rule }

// Decode reads exactly one JSON value. Objects become map[string]any, arrays
// []any, and numbers json.Number, so that long identifiers keep every digit.
// Every error is an *Error.
func Decode(raw []byte) (any, error) { return parse(parser{text: raw}) }

// Check reports what Decode would refuse. It keeps nothing of the text: the values of
// a text take up to thirty times its size.
func Check(raw []byte) error {
	_, err := parse(parser{text: raw, discard: true})
	return err
}

func parse(p parser) (any, error) {
	raw := p.text
	if bytes.HasPrefix(raw, []byte("\uFEFF")) {
		return nil, &Error{0, ErrByteOrderMark}
	}
	if at := firstInvalid(raw); at >= 0 {
		return nil, &Error{at, ErrEncoding}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		at := len(raw)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = int(syntax.Offset)
		}
		return nil, &Error{at, ErrSyntax}
	}
	return p.value(0)
}

func firstInvalid(raw []byte) int {
	if utf8.Valid(raw) {
		return -1
	}
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// parser walks a text that encoding/json has found to be well-formed, so it
// never has to ask whether the next byte is there.
type parser struct {
	text []byte
	at   int
	// discard makes arrays empty and the values of objects nil.
	discard bool
}

func (p *parser) value(depth int) (any, error) {
	switch c := p.peek(); c {
	case '{', '[':
		if depth == MaxDepth {
			return nil, &Error{p.at, ErrTooDeep}
		}
		p.at++
		if c == '{' {
			return p.object(depth + 1)
		}
		return p.array(depth + 1)
	case '"':
		return p.string()
	case 't':
		p.at += len("true")
		return true, nil
	case 'f':
		p.at += len("false")
		return false, nil
	case 'n':
		p.at += len("null")
		return nil, nil
	default:
		return p.number()
	}
}

func (p *parser) object(depth int) (any, error) {
	m := map[string]any{}
	for p.peek() != '}' {
		start := p.at
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if _, twice := m[key]; twice {
			return nil, &Error{start, ErrDuplicateKey}
		}
		p.skip(':')
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		if m[key] = v; p.discard {
			m[key] = nil
		}
		p.skip(',')
	}
	p.at++
	return m, nil
}

func (p *parser) array(depth int) (any, error) {
	a := []any{}
	for p.peek() != ']' {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		if !p.discard {
			a = append(a, v)
		}
		p.skip(',')
	}
	p.at++
	return a, nil
}

func (p *parser) string() (string, error) {
	start, escaped := p.at, false
	for p.at++; p.text[p.at] != '"'; p.at++ {
		if p.text[p.at] != '\\' {
			continue
		}
		escaped = true
		p.at++
	}
	p.at++
	quoted := p.text[start:p.at]
	if !escaped {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	if at := loneSurrogate(quoted); at >= 0 {
		return "", &Error{start + at, ErrEncoding}
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "", &Error{start, ErrSyntax}
	}
	return s, nil
}

// loneSurrogate finds an escape that is half of a pair. encoding/json turns it
// into U+FFFD, which would make two different identifiers equal.
func loneSurrogate(quoted []byte) int {
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		unit, ok := escapedUnit(quoted[i:])
		switch {
		case !ok:
			i++
		case unit < 0xD800 || unit > 0xDFFF:
			i += 5
		default:
			low, ok := escapedUnit(quoted[i+6:])
			if unit > 0xDBFF || !ok || low < 0xDC00 || low > 0xDFFF {
				return i
			}
			i += 11
		}
	}
	return -1
}

// escapedUnit reads the UTF-16 unit when b starts with \uXXXX.
func escapedUnit(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return unit, err == nil
}

func (p *parser) number() (json.Number, error) {
	start := p.at
	for p.at < len(p.text) && bytes.IndexByte([]byte("+-.0123456789eE"), p.text[p.at]) >= 0 {
		p.at++
	}
	n := json.Number(p.text[start:p.at])
	if _, err := n.Float64(); err != nil {
		return "", &Error{start, ErrNumber}
	}
	return n, nil
}

// peek skips white space and returns the byte after it.
func (p *parser) peek() byte {
	for {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return c
		}
	}
}

// skip passes c when it comes next.
func (p *parser) skip(c byte) {
	if p.peek() == c {
		p.at++
	}
}
