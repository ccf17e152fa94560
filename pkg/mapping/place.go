package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// FaultError is a problem of a program and where in it; it is an ErrProgram or, when it
// showed in a run, an ErrMapping.
type FaultError struct {
	// Line and Column count from 1, columns in characters; zero when the place is not known.
	Line, Column int
	// Text is the line of the program.
	Text string
	// Err says what is wrong.
	Err error
}

func (f *FaultError) Error() string {
	if f.Line == 0 {
		return f.Err.Error()
	}
	return fmt.Sprintf("line %d, column %d: %v", f.Line, f.Column, f.Err)
}

func (f *FaultError) Unwrap() error { return f.Err }

// Excerpt is the line with a mark under the column; empty when the place is not known.
func (f *FaultError) Excerpt() string {
	if f.Line == 0 {
		return ""
	}
	number := fmt.Sprintf("%5d", f.Line)
	// The mark stands under the column whatever the width of a tab.
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string([]rune(f.Text)[:f.Column-1]))
	return number + " | " + f.Text + "\n" + strings.Repeat(" ", len(number)) + " | " + indent + "^\n"
}

// Faults are all faults in an error of New, Open or Explain.
func Faults(err error) (all []*FaultError) {
	switch e := err.(type) { //nolint:errorlint // the tree itself is walked
	case nil:
	case *FaultError:
		all = []*FaultError{e}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, Faults(inner)...)
		}
	default:
		all = Faults(errors.Unwrap(err))
	}
	return all
}

// fault is an error at a byte of the program; negative means that it is not known where.
func fault(program string, at int, err error) *FaultError {
	if at < 0 || at > len(program) {
		return &FaultError{Err: err}
	}
	if at == len(program) { // the end: after the last thing that stands there
		if at = len(strings.TrimRight(program, " \t\r\n")); at > 0 {
			_, size := utf8.DecodeLastRuneInString(program[:at])
			at -= size
		}
	}
	start := strings.LastIndexByte(program[:at], '\n') + 1
	line, _, _ := strings.Cut(program[start:], "\n")
	return &FaultError{
		Line: strings.Count(program[:at], "\n") + 1, Column: utf8.RuneCountInString(program[start:at]) + 1,
		Text: strings.TrimSuffix(line, "\r"), Err: err,
	}
}

// placed finds the place of an error of gojq's parser or compiler.
func placed(program string, err error) error {
	if parse, ok := errors.AsType[*gojq.ParseError](err); ok {
		return fault(program, max(parse.Offset-len(parse.Token), 0), err)
	}
	// The compiler names what it does not know: "function not defined: frobnicate/0".
	if _, name, ok := strings.Cut(err.Error(), " not defined: "); ok {
		name, _, _ = strings.Cut(name, "/")
		return fault(program, find(scan(program), []string{name}, 0), err)
	}
	return fault(program, -1, err)
}

// token is a word of a program and where it begins.
type token struct {
	text string
	at   int
}

// operators of more than one character, longest first.
var operators = [...]string{"?//=", "?//", "//=", "|=", "+=", "-=", "*=", "/=", "%=", "==", "!=", "<=", ">=", "//", ".."}

// scan splits a program into words, leaving out space and comments. A text is one word,
// with what is interpolated in it.
func scan(program string) (words []token) {
	for at := 0; at < len(program); {
		end := at + 1
		switch c := program[at]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			at++
			continue
		case c == '#':
			if end = strings.IndexByte(program[at:], '\n'); end < 0 {
				return words
			}
			at += end
			continue
		case c == '"':
			end = endOfText(program, at)
		case isWord(c) || (c == '.' || c == '$' || c == '@') && end < len(program) && isWord(program[end]):
			for end < len(program) && (isWord(program[end]) || strings.HasPrefix(program[end:], "::")) {
				if program[end] == ':' {
					end++
				}
				end++
			}
		default:
			for _, o := range operators {
				if strings.HasPrefix(program[at:], o) {
					end = at + len(o)
					break
				}
			}
		}
		words = append(words, token{program[at:end], at})
		at = end
	}
	return words
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// endOfText is the end of the text that begins at a quotation mark.
func endOfText(program string, at int) int {
	for i := at + 1; i < len(program); i++ {
		switch {
		case strings.HasPrefix(program[i:], `\(`):
			depth := 0
			for ; i < len(program); i++ {
				switch program[i] {
				case '(':
					depth++
				case ')':
					depth--
				case '"':
					i = endOfText(program, i) - 1
				}
				if depth == 0 && program[i] == ')' {
					break
				}
			}
		case program[i] == '\\':
			i++
		case program[i] == '"':
			return i + 1
		}
	}
	return len(program)
}

// find is where the n-th run of these words begins, or -1.
func find(words []token, run []string, n int) int {
	for i := range words {
		if i+len(run) > len(words) || len(run) == 0 {
			return -1
		}
		if slices.EqualFunc(words[i:i+len(run)], run, func(a token, b string) bool { return a.text == b }) {
			if n == 0 {
				return words[i].at
			}
			n--
		}
	}
	return -1
}

func texts(words []token) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return out
}
