package mapping_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/events"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/strictjson"
)

// at is the word that a fault points to, and what it says.
func at(f *mapping.FaultError) string {
	if f.Line == 0 {
		return "nowhere: " + f.Err.Error()
	}
	rest := string([]rune(f.Text)[f.Column-1:])
	word, _, _ := strings.Cut(rest, " ")
	return fmt.Sprintf("%d:%d %s: %v", f.Line, f.Column, word, f.Err)
}

func TestFaultsOfPrograms(t *testing.T) {
	for program, want := range map[string]string{
		"{a: 1,\n b: }":      `2:5 }: unexpected token "}"`,
		"{":                  `1:1 {: unexpected EOF`,
		".a |\n":             `1:4 |: unexpected EOF`,
		"":                   `nowhere: missing query (try ".")`,
		"\"ä\" | frobnicate": `1:7 frobnicate: function not defined: frobnicate/0`,
		"# frobnicate\n\"frobnicate\", frobnicate": `2:15 frobnicate: function not defined: frobnicate/0`,
		".a as $x | $headers":                      `1:12 $headers: variable not defined: $headers`,
		"{now: 1} |\n\tnow":                        "1:2 now:: now is refused: reads the clock or the machine's zone; use $receivedAt and gmtime",
		".a, (.b | now)":                           "1:11 now): now is refused: reads the clock or the machine's zone; use $receivedAt and gmtime",
		"now, .a, now":                             "1:1 now,: now is refused: reads the clock or the machine's zone; use $receivedAt and gmtime; 1:10 now: now is refused: reads the clock or the machine's zone; use $receivedAt and gmtime",
		`"x" * .n`:                                 "1:5 *: * is refused: it repeats strings without bound; divide, or merge objects with +",
		".[.n] = 1":                                "nowhere: assigning to a computed index is refused: it can take any amount of memory; assign to fields by name",
		`include "nothing"; .`:                     `nowhere: the catalogue has no module "nothing"`,
	} {
		_, err := mapping.New(program)
		var got []string
		for _, f := range mapping.Faults(err) {
			got = append(got, at(f))
		}
		if diff := cmp.Diff(want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("%q:\n%s", program, diff)
		}
		if want != "" && !errors.Is(err, mapping.ErrProgram) {
			t.Errorf("%q: %v is no ErrProgram", program, err)
		}
	}
}

func explain(t *testing.T, program, payload string) ([]any, error) {
	t.Helper()
	v, err := strictjson.Decode([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return mapping.Explain(t.Context(), program, v, source, receivedAt)
}

func TestFaultsOfRuns(t *testing.T) {
	const payload = `{"id": "7", "list": [1, "two", 3], "when": "soon"}`
	for program, want := range map[string]string{
		`error("no id")`:                                          `1:1 error("no: no id`,
		"{a: .id,\n b: (.list | map(. + 1))}":                     `2:18 .: cannot add: string ("two") and number (1)`,
		".id as $i\n| .list | .[] | tonumber":                     `2:17 tonumber: tonumber cannot be applied to "two": `,
		".when | todate":                                          `1:9 todate: `,
		"if .id == \"7\" then\n  .list.name\nelse . end":          `2:3 .list.name: expected an object but got: array`,
		"def f: .name; .id | f":                                   `1:8 .name;: expected an object but got: string ("7")`,
		".id | .id, .when":                                        `1:7 .id,: expected an object but got: string ("7")`,
		"[.id, .id] | .[0] | .id":                                 `1:21 .id: expected an object but got: string ("7")`,
		`try error("x") catch error("y" + .)`:                     `1:22 error("y": yx`,
		`(.id | .x)? // error({a: 1})`:                            `1:16 error({a:: {"a":1}`,
		`"\(.id | .x)"`:                                           `1:1 "\(.id: expected an object but got: string ("7")`,
		"include \"employment\";\n\n{status: \"x\"} | employment": `3:17 employment: the record has no id`,
		`first(range(10)), (label $l | 1, break $l), error("z")`:  `1:45 error("z"): z`,
		".a.b.c = 1 | .id.x |= 2":                                 `1:14 .id.x: expected an object but got: string ("7")`,
	} {
		out, err := explain(t, program, payload)
		fault, ok := errors.AsType[*mapping.FaultError](err)
		if !ok || out != nil || !errors.Is(err, mapping.ErrMapping) {
			t.Errorf("%q: %v, %v", program, out, err)
			continue
		}
		got := strings.Replace(at(fault), mapping.ErrMapping.Error()+": ", "", 1)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q:\n got %s\nwant %s", program, got, want)
		}
	}
	if _, err := explain(t, "def f: f; f", `{}`); !errors.Is(err, mapping.ErrTimeLimit) {
		t.Error(err)
	}
	if _, err := explain(t, "{", `{}`); !errors.Is(err, mapping.ErrProgram) {
		t.Error(err)
	}
}

func TestExcerpt(t *testing.T) {
	_, err := mapping.New("{\n\t\"ü\": nonsense\n}")
	faults := mapping.Faults(err)
	if len(faults) != 1 || faults[0].Excerpt() != "    2 | \t\"ü\": nonsense\n      | \t     ^\n" {
		t.Errorf("%v\n%s", err, faults[0].Excerpt())
	}
	if (&mapping.FaultError{Err: errors.New("x")}).Excerpt() != "" {
		t.Error("an excerpt of nowhere")
	}
}

// Whatever the catalogue holds, Explain gives what Map gives, and finds the place of
// every failure.
func TestExplainAgreesWithMap(t *testing.T) {
	failures := 0
	for _, pattern := range []string{"hr/*/*.json", "risk/*/*.json"} {
		files, err := fs.Glob(events.FS(), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := path.Base(path.Dir(file))
			p, err := mapping.Open(name)
			if err != nil {
				continue // a system without a mapping of its own
			}
			raw, err := fs.ReadFile(events.FS(), file)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := strictjson.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			want, mapErr := p.Map(t.Context(), payload, source, receivedAt)
			got, err := mapping.Explain(t.Context(), name, payload, source, receivedAt)
			if (err == nil) != (mapErr == nil) {
				t.Errorf("%s: %v, Map says %v", file, err, mapErr)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", file, diff)
			}
			if fault, ok := errors.AsType[*mapping.FaultError](err); err != nil {
				failures++
				if !ok || fault.Line == 0 {
					t.Errorf("%s: nowhere: %v", file, err)
				}
			}
		}
	}
	if failures < 10 {
		t.Errorf("only %d failures", failures)
	}
}

// Whatever the text, it compiles or has faults inside it.
func FuzzFaults(f *testing.F) {
	for _, seed := range []string{"{", ".a |", "\"\\(", "now", "# x", "é *", "\"a\\(\"b\\(1)\")\" | nothing", "include \"x\";"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, program string) {
		_, err := mapping.New(program)
		for _, fault := range mapping.Faults(err) {
			if fault.Line < 0 || fault.Line > strings.Count(program, "\n")+1 || fault.Line > 0 && (fault.Column < 1 || fault.Column > len([]rune(fault.Text))+1) {
				t.Errorf("%q: %d:%d of %q", program, fault.Line, fault.Column, fault.Text)
			}
			_ = fault.Excerpt()
		}
	})
}
