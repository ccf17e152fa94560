package mapping_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/events"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/strictjson"
)

var (
	receivedAt = time.Date(2026, 11, 23, 15, 5, 0, 0, time.FixedZone("", 3600))
	source     = map[string]any{"name": "acme", "timeZone": "Europe/Berlin"}
)

func run(t testing.TB, program, payload string) (string, error) {
	t.Helper()
	p, err := mapping.New(program)
	if err != nil {
		t.Fatal(err)
	}
	v, err := strictjson.Decode([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Map(t.Context(), v, source, receivedAt)
	if err != nil {
		if out != nil {
			t.Errorf("outputs beside an error: %v", out)
		}
		return "", err
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

func TestMap(t *testing.T) {
	tests := map[string]struct{ program, payload, want string }{
		"Object":       {`{id: .id}`, `{"id": "a", "x": 1}`, `[{"id":"a"}]`},
		"FanOut":       {`.[]`, `[1, 2, 3]`, `[1,2,3]`},
		"Nothing":      {`empty`, `{}`, `null`},
		"Variables":    {`[$source.name, $source.timeZone, $receivedAt]`, `{}`, `[["acme","Europe/Berlin","2026-11-23T14:05:00Z"]]`},
		"ExactNumber":  {`.id, (.id | tostring)`, `{"id": 3332883854254932743}`, `[3332883854254932743,"3332883854254932743"]`},
		"AssignByName": {`.a.b |= . + 1 | .c = 2 | .["d"] = 3 | .e[] += 1`, `{"a": {"b": 1}, "e": [1]}`, `[{"a":{"b":2},"c":2,"d":3,"e":[2]}]`},
		"TableLookup":  {`{hired: "joiner", left: "leaver"}[.what]`, `{"what": "left"}`, `["leaver"]`},
		"Dates":        {`.t | tonumber | todate`, `{"t": "1764000000"}`, `["2025-11-24T16:00:00Z"]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := run(t, tt.program, tt.payload)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	const canary = "ada.lovelace@example.com"
	tests := map[string]struct {
		program string
		want    error
	}{
		"RuntimeError":      {`.a | keys`, mapping.ErrMapping},
		"OwnError":          {`error(.a)`, mapping.ErrMapping},
		"ErrorAfterOutputs": {`.a, .a, (.a | keys)`, mapping.ErrMapping},
		"ErrorNull":         {`error(null)`, mapping.ErrMapping},
		"EndlessRecursion":  {`def f: f; f`, mapping.ErrTimeLimit},
		"GrowingRecursion":  {`def f: [f]; f`, mapping.ErrTimeLimit},
		"HugeArray":         {`[range(1e12)]`, mapping.ErrTimeLimit},
		"DoublingString":    {`reduce range(1e9) as $i ("x"; . + .)`, mapping.ErrTimeLimit},
		"EndlessLoop":       {`until(false; .)`, mapping.ErrTimeLimit},
		"EndlessOutputs":    {`repeat(1)`, mapping.ErrOutputLimit},
		"OneOutputTooMany":  {`range(501)`, mapping.ErrOutputLimit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, tt.program, `{"a": "`+canary+`"}`)
			if !errors.Is(err, tt.want) || !errors.Is(err, mapping.ErrMapping) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if strings.Contains(err.Error(), "ada") {
				t.Errorf("the error quotes the payload: %v", err)
			}
		})
	}
	if got, err := run(t, `range(500)`, `{}`); err != nil || strings.Count(got, ",") != 499 {
		t.Errorf("500 outputs: %v", err)
	}
}

func TestCallerEndsTheRun(t *testing.T) {
	p, err := mapping.New(`def f: f; f`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Map(ctx, nil, source, receivedAt); !errors.Is(err, context.Canceled) || errors.Is(err, mapping.ErrMapping) {
		t.Errorf("got %v", err)
	}
}

func TestRefusedPrograms(t *testing.T) {
	tests := map[string]struct{ program, says string }{
		"Syntax":            {`{`, "unexpected"},
		"UnknownFunction":   {`frobnicate`, "frobnicate"},
		"UnknownVariable":   {`$headers`, "$headers"},
		"Module":            {`import "a" as a; .`, "no module \"a\""},
		"ModuleByPath":      {`include "../generic"; .`, "no module"},
		"ModuleOfData":      {`import "employment" as $data; .`, "not found"},
		"Input":             {`input`, "input is refused"},
		"Debug":             {`debug`, "debug"},
		"Environment":       {`$ENV.PATH`, "$ENV is refused"},
		"EnvironmentByName": {`env.PATH`, "env is refused"},
		"Clock":             {`{time: now}`, "$receivedAt"},
		"Halt":              {`if . then halt else . end`, "halt is refused"},
		"RepeatString":      {`"x" * .n`, "* is refused"},
		"RepeatInPlace":     {`.a *= 9`, "*= is refused"},
		"Transpose":         {`[.[] | transpose]`, "transpose is refused"},
		"SetPath":           {`setpath([.n]; 1)`, "setpath is refused"},
		"InAFunction":       {`def f: try setpath([.n]; 1) catch .; {a: [f]}`, "setpath is refused"},
		"InAString":         {`"\("x" * 9)"`, "* is refused"},
		"InAReduction":      {`reduce .[] as $x (""; . * $x)`, "* is refused"},
		"InAnObjectKey":     {`{("x" * 9): 1}`, "* is refused"},
		"ComputedIndex":     {`.[.n] = 1`, "computed index"},
		"ComputedIndexDeep": {`(.a | .[3]) |= 1`, "computed index"},
		"AssignByPath":      {`getpath(.p) = 1`, "getpath"},
		"EveryProblem":      {`now, halt`, "halt is refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := mapping.New(tt.program)
			if !errors.Is(err, mapping.ErrProgram) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
}

// The mappings of the catalogue compile under these rules and map their payloads.
func TestCatalogueMappings(t *testing.T) {
	files, err := fs.Glob(events.FS(), "mappings/*.jq")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d mappings, %v", len(files), err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(events.FS(), file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mapping.New(string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Whatever the payload, a catalogue mapping ends in outputs or in ErrMapping, and
// a repeated delivery maps to the same.
func FuzzMap(f *testing.F) {
	payloads, err := fs.Glob(events.FS(), "hr/*/*.json")
	if err != nil || len(payloads) == 0 {
		f.Fatalf("%d payloads, %v", len(payloads), err)
	}
	for _, name := range payloads {
		raw, err := fs.ReadFile(events.FS(), name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	text, err := fs.ReadFile(events.FS(), "mappings/generic.jq")
	if err != nil {
		f.Fatal(err)
	}
	p, err := mapping.New(string(text))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		payload, err := strictjson.Decode(raw)
		if err != nil {
			t.Skip()
		}
		first, err := p.Map(t.Context(), payload, source, receivedAt)
		if err != nil {
			if !errors.Is(err, mapping.ErrMapping) {
				t.Fatal(err)
			}
			return
		}
		second, err := p.Map(t.Context(), payload, source, receivedAt)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkMap(b *testing.B) {
	text, err := fs.ReadFile(events.FS(), "mappings/humi.jq")
	if err != nil {
		b.Fatal(err)
	}
	p, err := mapping.New(string(text))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := fs.ReadFile(events.FS(), "hr/humi/created.json")
	if err != nil {
		b.Fatal(err)
	}
	payload, err := strictjson.Decode(raw)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := p.Map(b.Context(), payload, source, receivedAt); err != nil {
			b.Fatal(err)
		}
	}
}
