// Package mapping turns the payload of an HR system into canonical events with a
// jq program, bounded in what it can reach and in what it can cost. It knows no
// schema: what a program gives is judged by package catalog.
//
// A program sees the payload, $source (what is configured of the source) and
// $receivedAt (RFC 3339, UTC), and may include a module of events/mappings/lib. It
// reaches no environment, other module, further input or clock, so one delivery maps
// to the same events however often it is repeated.
//
// # What bounds a program
//
// The program is configuration and trusted not to be hostile; the payload may be
// anything up to the size that ingest accepts. A run ends after [TimeLimit], which
// grows with the payload, and [MaxOutputs] outputs. The time is looked at between two
// instructions, and what ordinary instructions can allocate in 50 ms is a few dozen
// megabytes (measured: [range(1e12)] 11, doubling a string 32), in the 200 ms that a
// large payload gets up to four times as much. That leaves single
// instructions whose cost is set by a number or a shape in the payload: "x" * .n
// takes 2 GB and 10 s, .[.n] = 1 up to 8 GB, transpose squares its input. There is
// no heap limit to stop them, so New refuses the few words that can do it, with
// what to write instead.
package mapping

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// MaxOutputs bounds the outputs of one run.
const MaxOutputs = 500

// The time limit of a payload: a little to begin with, and more for each value in it.
// Two runs at the most, and then the broker, must fit into the 3 s after which senders
// give up.
const (
	baseTime     = 50 * time.Millisecond
	timePerValue = 50 * time.Microsecond
	mostTime     = 200 * time.Millisecond
)

// TimeLimit is how long a run on the payload may take: 50 ms, and 50 µs for each value
// in it (500 records of six fields are 3,501), at most 200 ms.
func TimeLimit(payload any) time.Duration {
	return baseTime + time.Duration(values(payload, int((mostTime-baseTime)/timePerValue)))*timePerValue
}

// values counts the values in a payload, up to most.
func values(v any, most int) int {
	n := 1
	count := func(child any) bool {
		n += values(child, most-n)
		return n < most
	}
	switch v := v.(type) {
	case []any:
		for _, child := range v {
			if !count(child) {
				break
			}
		}
	case map[string]any:
		for _, child := range v {
			if !count(child) {
				break
			}
		}
	}
	return min(n, most)
}

var (
	// ErrProgram: the program does not compile or uses a refused word.
	ErrProgram = errors.New("bad mapping program")
	// ErrMapping: the program fails on this payload. No error holds a value of the
	// payload.
	ErrMapping = errors.New("mapping failed")
	// ErrTimeLimit and ErrOutputLimit are kinds of ErrMapping.
	ErrTimeLimit   = fmt.Errorf("%w: over the time limit", ErrMapping)
	ErrOutputLimit = fmt.Errorf("%w: more than %d outputs", ErrMapping, MaxOutputs)
)

// Program is a compiled mapping. It is safe for concurrent use.
type Program struct{ code *gojq.Code }

// New compiles a program. Errors are ErrProgram, with a *FaultError for each problem.
func New(program string) (*Program, error) {
	query, err := gojq.Parse(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, placed(program, err))
	}
	if err := refuse(query, program); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	code, err := gojq.Compile(query, options()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProgram, placed(program, err))
	}
	return &Program{code}, nil
}

// options are what a program sees.
func options() []gojq.CompilerOption {
	return []gojq.CompilerOption{gojq.WithVariables([]string{"$source", "$receivedAt"}), gojq.WithModuleLoader(library{})}
}

// Map runs the program on a payload as package strictjson decodes it (numbers as
// json.Number, which stay exact) and returns all outputs in order; none means
// that there is nothing to do. The payload and source are not changed. Errors are
// ErrMapping, or that of ctx when it ended first.
func (p *Program) Map(ctx context.Context, payload any, source map[string]any, receivedAt time.Time) ([]any, error) {
	out, err := p.run(ctx, payload, source, receivedAt)
	if errors.Is(err, ErrTimeLimit) {
		// A small Lambda function gets its processor in slices and may stand still for
		// longer than the limit. One pause must not condemn a good delivery.
		out, err = p.run(ctx, payload, source, receivedAt)
	}
	return out, err
}

func (p *Program) run(parent context.Context, payload any, source map[string]any, receivedAt time.Time) (out []any, err error) {
	ctx, cancel := context.WithTimeout(parent, TimeLimit(payload))
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, fmt.Errorf("%w: panic (%T)", ErrMapping, v)
		}
	}()
	outputs := p.code.RunWithContext(ctx, payload, source, receivedAt.UTC().Format(time.RFC3339Nano))
	for {
		v, ok := outputs.Next()
		if !ok {
			return out, nil
		}
		if err, failed := v.(error); failed {
			return nil, classify(parent, err)
		}
		if len(out) == MaxOutputs {
			return nil, ErrOutputLimit
		}
		out = append(out, v)
	}
}

// classify keeps the kind of a runtime error and drops its text, which quotes the
// payload.
func classify(parent context.Context, err error) error {
	switch {
	case parent.Err() != nil:
		return parent.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return ErrTimeLimit
	default:
		kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", err), "*gojq."), "Error")
		return fmt.Errorf("%w: runtime error of kind %s", ErrMapping, kind)
	}
}
