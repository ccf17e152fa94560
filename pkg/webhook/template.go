package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// part is a piece of the signed content: the body, a header or literal text.
type part struct {
	body    bool
	header  string
	literal string
}

// template renders the signed content of a delivery.
type template []part

// parseTemplate reads literal text, {header:Name} and exactly one {body}.
func parseTemplate(s string) (template, error) {
	var t template
	for s != "" {
		open := strings.IndexAny(s, "{}")
		if open < 0 {
			t, s = append(t, part{literal: s}), ""
			break
		}
		if open > 0 {
			t, s = append(t, part{literal: s[:open]}), s[open:]
		}
		end := strings.IndexByte(s, '}')
		if s[0] != '{' || end < 0 {
			return nil, errors.New("signed: unbalanced brace")
		}
		name, isHeader := strings.CutPrefix(s[1:end], "header:")
		switch {
		case isHeader && name != "":
			t = append(t, part{header: name})
		case s[1:end] == "body":
			t = append(t, part{body: true})
		default:
			return nil, fmt.Errorf("signed: %s is neither {body} nor {header:Name}", s[:end+1])
		}
		s = s[end+1:]
	}
	bodies := 0
	for _, p := range t {
		if p.body {
			bodies++
		}
	}
	if bodies != 1 {
		return nil, errors.New("signed: must hold {body} exactly once")
	}
	return t, nil
}

// check refuses templates under which content could move between two parts.
func (t template) check(timestampHeader string) error {
	for i := 1; i < len(t); i++ {
		a, b := t[i-1], t[i]
		if a.literal != "" || b.literal != "" {
			continue
		}
		header := a.header + b.header // one of the two is empty when one is the body
		if !a.body && !b.body || !strings.EqualFold(header, timestampHeader) {
			return fmt.Errorf("signed: {header:%s} needs a literal between it and its neighbour", cmpHeader(a, b))
		}
	}
	return nil
}

func cmpHeader(a, b part) string {
	if a.header != "" {
		return a.header
	}
	return b.header
}

// covers reports whether the header is part of the signed content.
func (t template) covers(header string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.header != "" && strings.EqualFold(p.header, header) })
}

// touchesBody reports whether a header stands next to the body.
func (t template) touchesBody() bool {
	for i := 1; i < len(t); i++ {
		if t[i-1].body && t[i].header != "" || t[i-1].header != "" && t[i].body {
			return true
		}
	}
	return false
}

// render is the signed content of a delivery, or an error when a header is
// missing or could be read in two ways.
func (t template) render(header func(string) (string, error), body []byte) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(body) + 128)
	for i, p := range t {
		switch {
		case p.literal != "":
			out.WriteString(p.literal)
		case p.header != "":
			v, err := header(p.header)
			if err != nil {
				return nil, err
			}
			if t.ambiguous(i, v) {
				return nil, fmt.Errorf("%w: header %s contains the text that separates it", ErrMalformed, http.CanonicalHeaderKey(p.header))
			}
			out.WriteString(v)
		default:
			if !t.bounded(i, body) {
				return nil, fmt.Errorf("%w: the body is no JSON object or array", ErrMalformed)
			}
			out.Write(body)
		}
	}
	return out.Bytes(), nil
}

func (t template) ambiguous(i int, value string) bool {
	if i > 0 && t[i-1].literal != "" && strings.Contains(value, t[i-1].literal) {
		return true
	}
	return i+1 < len(t) && t[i+1].literal != "" && strings.Contains(value, t[i+1].literal)
}

// bounded reports whether a body that touches a header begins, or ends, there
// with a JSON bracket, which no timestamp contains.
func (t template) bounded(i int, body []byte) bool {
	if i > 0 && t[i-1].header != "" && !bytes.HasPrefix(body, []byte("{")) && !bytes.HasPrefix(body, []byte("[")) {
		return false
	}
	if i+1 < len(t) && t[i+1].header != "" && !bytes.HasSuffix(body, []byte("}")) && !bytes.HasSuffix(body, []byte("]")) {
		return false
	}
	return true
}
