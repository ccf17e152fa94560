package mapping

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/itchyny/gojq"
)

// refusedFunctions are the functions a mapping does without, and why.
func refusedFunctions() map[string]string {
	const (
		memory = "can take any amount of memory in one step"
		clock  = "reads the clock or the machine's zone; use $receivedAt and gmtime"
		pure   = "a mapping has no environment"
		stop   = "use error or empty"
	)
	return map[string]string{
		"transpose": memory, "setpath": memory, "pick": memory, "fromstream": memory,
		"now": clock, "localtime": clock, "strflocaltime": clock,
		"env": pure, "$ENV": pure, "input": pure, "inputs": pure, "modulemeta": pure,
		"halt": stop, "halt_error": stop,
	}
}

// refuse reports every word of the program that a mapping may not use, each as a *FaultError.
func refuse(q *gojq.Query, program string) error {
	r := refusal{functions: refusedFunctions(), program: program, words: scan(program), met: map[string]int{}}
	r.walk(reflect.ValueOf(q), false)
	return errors.Join(r.problems...)
}

type refusal struct {
	functions map[string]string
	program   string
	words     []token
	met       map[string]int // how often a refused word was met so far
	problems  []error
}

// walk visits a syntax tree by its shape, so that no kind of node can be
// forgotten. assigned is true on the left side of an assignment.
func (r *refusal) walk(v reflect.Value, assigned bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			r.walk(v.Elem(), assigned)
		}
	case reflect.Slice:
		for i := range v.Len() {
			r.walk(v.Index(i), assigned)
		}
	case reflect.Struct:
		r.judge(v.Addr().Interface(), assigned)
		left := assigned
		if q, ok := v.Addr().Interface().(*gojq.Query); ok && q.Op >= gojq.OpAssign {
			left = true
		}
		for i := range v.NumField() {
			r.walk(v.Field(i), assigned || left && v.Type().Field(i).Name == "Left")
		}
	default: // text and numbers
	}
}

func (r *refusal) judge(node any, assigned bool) {
	switch n := node.(type) {
	case *gojq.Query:
		if n.Op == gojq.OpMul || n.Op == gojq.OpUpdateMul {
			r.add(n.Op.String(), "%s is refused: it repeats strings without bound; divide, or merge objects with +", n.Op)
		}
	case *gojq.Func:
		if why, ok := r.functions[n.Name]; ok {
			r.add(n.Name, "%s is refused: %s", n.Name, why)
		}
		if assigned && n.Name == "getpath" {
			r.add(n.Name, "assigning to getpath is refused: assign to fields by name")
		}
	case *gojq.Index:
		if assigned && n.Start != nil && !n.IsSlice && !isName(n.Start) {
			r.add("", "assigning to a computed index is refused: it can take any amount of memory; assign to fields by name")
		}
	}
}

func isName(q *gojq.Query) bool { return q.Term != nil && q.Term.Type == gojq.TermTypeString }

// add notes a problem with a word of the program; empty is one that has no word.
func (r *refusal) add(word, format string, args ...any) {
	at := -1
	if word != "" {
		at = find(r.words, []string{word}, r.met[word])
		r.met[word]++
	}
	r.problems = append(r.problems, fault(r.program, at, fmt.Errorf(format, args...)))
}
