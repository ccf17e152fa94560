package mapping

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// Explain runs a program, or one of events/mappings by its name, as Map does, and says
// of a failure where in the program it showed and why: the error is a *FaultError. It is for
// whoever writes a mapping. Unlike those of Map its errors quote the payload, and it takes
// its time: no function calls it.
//
// A syntax tree of gojq knows no places. So each expression is run in a try that notes
// which one failed first, and is looked up in the text of the program. What fails inside
// an included module is a fault of the expression that calls it.
func Explain(ctx context.Context, program string, payload any, source map[string]any, receivedAt time.Time) ([]any, error) {
	text, err := Text(program)
	if err != nil {
		return nil, err
	}
	plain, err := New(text)
	if err != nil {
		return nil, err
	}
	out, err := plain.Map(ctx, payload, source, receivedAt)
	if err == nil || !errors.Is(err, ErrMapping) || errors.Is(err, ErrTimeLimit) || errors.Is(err, ErrOutputLimit) {
		return out, err
	}
	query, parseErr := gojq.Parse(text)
	if parseErr != nil {
		return nil, parseErr // New has parsed it
	}
	w := witness{first: -1}
	w.watch(reflect.ValueOf(query), -1)
	code, compileErr := gojq.Compile(query, append(options(), gojq.WithFunction("_failed", 1, 1, w.failed))...)
	if compileErr != nil {
		return nil, err
	}
	failure := lastError(code.RunWithContext(ctx, payload, source, receivedAt.UTC().Format(time.RFC3339Nano)))
	if failure == nil || w.first < 0 {
		return nil, err
	}
	return nil, w.fault(text, fmt.Errorf("%w: %w", ErrMapping, failure))
}

func lastError(outputs gojq.Iter) error {
	for {
		v, ok := outputs.Next()
		if err, failed := v.(error); !ok || failed {
			return err
		}
	}
}

// witness knows the expressions of a program and which of them failed first.
type witness struct {
	expressions []expression
	inFunctions int // how many definitions are around what is watched
	first       int
	value       any
}

type expression struct {
	words  []string
	nth    int // how many of the same words come before it
	parent int
	// defined is true in the body of a function, which is called from anywhere.
	defined bool
}

// watch puts every expression that can fail into a try.
func (w *witness) watch(v reflect.Value, parent int) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		q, ok := v.Interface().(*gojq.Query)
		if !ok || !canFail(q) {
			w.watch(v.Elem(), parent)
			return
		}
		i := w.add(q, parent)
		w.watch(v.Elem(), i)
		inner := *q
		inner.Imports = nil
		*q = gojq.Query{Imports: q.Imports, Term: &gojq.Term{Type: gojq.TermTypeTry, Try: &gojq.Try{Body: &inner, Catch: call("_failed", i)}}}
	case reflect.Slice:
		for i := range v.Len() {
			w.watch(v.Index(i), parent)
		}
	case reflect.Struct:
		if _, ok := v.Addr().Interface().(*gojq.FuncDef); ok {
			w.inFunctions++
			defer func() { w.inFunctions-- }()
		}
		for i := range v.NumField() {
			w.watch(v.Field(i), parent)
		}
	default: // text and numbers
	}
}

// canFail leaves out what is a value by itself.
func canFail(q *gojq.Query) bool {
	if q.Term == nil {
		return q.Left != nil
	}
	switch q.Term.Type {
	case gojq.TermTypeIndex, gojq.TermTypeFunc, gojq.TermTypeUnary, gojq.TermTypeObject, gojq.TermTypeArray, gojq.TermTypeQuery,
		gojq.TermTypeIf, gojq.TermTypeReduce, gojq.TermTypeForeach:
		return true
	case gojq.TermTypeString:
		return len(q.Term.Str.Queries) > 0
	default:
		return len(q.Term.SuffixList) > 0
	}
}

func (w *witness) add(q *gojq.Query, parent int) int {
	e := expression{words: texts(scan(q.String())), parent: parent, defined: w.inFunctions > 0}
	for _, other := range w.expressions {
		if reflect.DeepEqual(other.words, e.words) {
			e.nth++
		}
	}
	w.expressions = append(w.expressions, e)
	return len(w.expressions) - 1
}

func call(name string, i int) *gojq.Query {
	number := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeNumber, Number: fmt.Sprint(i)}}
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: []*gojq.Query{number}}}}
}

// failed notes the innermost expression of a failure and lets it go on: the same value
// passing through an expression around it is the same failure.
func (w *witness) failed(value any, args []any) any {
	at, _ := args[0].(int)
	if w.first < 0 || !reflect.DeepEqual(w.value, value) || !w.within(w.first, at) && !w.expressions[w.first].defined {
		w.first, w.value = at, value
	}
	return thrown{value}
}

// within reports whether one expression is another or a part of it.
func (w *witness) within(inner, outer int) bool {
	for ; inner >= 0; inner = w.expressions[inner].parent {
		if inner == outer {
			return true
		}
	}
	return false
}

func (w *witness) fault(program string, err error) *FaultError {
	words := scan(program)
	for i := w.first; i >= 0; i = w.expressions[i].parent {
		if at := find(words, w.expressions[i].words, w.expressions[i].nth); at >= 0 {
			return fault(program, at, err)
		}
	}
	return fault(program, -1, err)
}

// thrown is a failure on its way out, with the value that a catch of the program sees.
type thrown struct{ value any }

func (t thrown) Error() string {
	if text, ok := t.value.(string); ok {
		return text
	}
	return strings.TrimSpace(gojq.Preview(t.value))
}

// Value implements gojq.ValueError.
func (t thrown) Value() any { return t.value }
