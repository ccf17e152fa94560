package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMappingTest(t *testing.T) {
	const hr = "../../events/hr/"
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("acme.jq", `{type: "employee.joiner", subject: .id, data: {person: {employeeId: .id}, startDate: .first, timeZone: $source.timeZone}}`)
	short := write("identity", `.`)
	broken := write("broken.jq", "{\n  type: frobnicate,\n  data: {}\n}")
	failing := write("failing.jq", "{a: 1} |\n  .b.c.d |\n  error(\"no number of \" + $source.name)")
	endless := write("endless.jq", "def f: f; f")
	payload := `{"id": "E1004", "first": "2026-12-01"}`
	for name, c := range map[string]struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string
	}{
		"a system of the catalogue": {args: []string{"bamboohr", hr + "bamboohr/terminated.json"}, stdout: `"type": "employee.ref"`},
		"what does not concern us":  {args: []string{"bamboohr", hr + "bamboohr/other-event.json"}, stdout: "other-event.json: nothing: the payload does not concern us\n"},
		"a file": {
			args: []string{good, "-", "--time-zone", "Europe/Berlin", "--source", "acme", "--received-at", "2026-11-23T14:15:00Z"}, stdin: payload,
			stdout: `"receivedat": "2026-11-23T14:15:00Z"`,
		},
		"a file whose name is short": {args: []string{short, "-"}, stdin: `{}`, code: 1, stderr: "would be parked: invalid-event: output 0: /data is required"},
		"the scope of a system": {
			args: []string{"generic", "-", "--source", "scim", "--time-zone", "Europe/Berlin"}, stdin: `{"type":"rehire","employeeId":"E1","startDate":"2026-12-01"}`, code: 1,
			stderr: "would be parked: out-of-scope: output 0: /type is outside the scope of the source",
		},
		"without a time zone": {args: []string{good, "-"}, stdin: payload, code: 1, stderr: "/data/timeZone"},
		"some of it unusable": {args: []string{"scim", hr + "scim/some-unusable.json"}, code: 1, stdout: `"employeeId": "521201"`, stderr: "output 2: /data/lastDay is required"},
		"no JSON":             {args: []string{good, "-"}, stdin: `{`, code: 1, stderr: "would be parked: not-decodable"},
		"does not compile": {
			args: []string{broken, "-"}, stdin: payload, code: 1, stderr: "-: mapping does not compile\n",
			stdout: broken + ": line 2, column 9: function not defined: frobnicate/0\n    2 |   type: frobnicate,\n      |         ^\n",
		},
		"fails": {
			args: []string{failing, "-", "--source", "acme"}, stdin: payload, code: 1, stderr: "-: mapping-failed\n",
			stdout: failing + ": line 3, column 3: mapping failed: no number of acme\n    3 |   error(\"no number of \" + $source.name)\n      |   ^\n",
		},
		"without end":                         {args: []string{endless, "-"}, stdin: payload, code: 1, stderr: "would be parked: mapping-failed: mapping failed: over the time limit"},
		"a record":                            {args: []string{"gusto-record", "-", "--employee-id", "E7"}, stdin: `[{"hire_date":"2019-01-01","termination_date":null}]`, stdout: `"employeeId": "E7"`},
		"a record of an own API":              {args: []string{good, "-", "--record", "--time-zone", "Europe/Berlin"}, stdin: payload, stdout: `"key": "hr:test#employee.joiner"`},
		"a record that fails":                 {args: []string{"record", "-"}, stdin: `{"employeeId":"E1"}`, code: 1, stdout: "the status is neither prehire, active nor terminated", stderr: "-: refused\n"},
		"a record that is refused":            {args: []string{"record", "-"}, stdin: `{"employeeId":"E1","status":"prehire","startDate":"soon"}`, code: 1, stderr: "/data/startDate must be"},
		"a record's mapping does not compile": {args: []string{broken, "-", "--record"}, stdin: payload, code: 1, stdout: "line 2, column 9", stderr: "does not compile"},
		"no such mapping":                     {args: []string{"nosuch", "-"}, stdin: payload, code: 1, stderr: "Error: open nosuch: no such file or directory\nTry: a file with a jq program, or one of bamboohr-record"},
		"no such sample":                      {args: []string{"generic", "/nowhere"}, code: 1, stderr: "Error: open /nowhere"},
		"no sample":                           {args: []string{"generic"}, code: 2, stderr: "Try: mfaflow mapping test --help\n"},
		"no such zone":                        {args: []string{"generic", "-", "--time-zone", "Mars/Olympus"}, code: 2, stderr: "--time-zone"},
		"no such time":                        {args: []string{"generic", "-", "--received-at", "noon"}, code: 2, stderr: "--received-at is not an RFC 3339 time"},
		"completion":                          {args: []string{}, code: 2, stderr: "Try"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, c.stdin, nil, append([]string{"mapping", "test"}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) || c.stderr == "" && got.stderr != "" {
				t.Errorf("exit code %d, want %d\n--- stdout\n%s--- stderr\n%s", got.code, c.code, got.stdout, got.stderr)
			}
		})
	}
}

func TestMappingTestAsJSON(t *testing.T) {
	got := run(t, `{"status":"x","employeeId":"1"}`, nil, "mapping", "test", "record", "-", "--json")
	var told struct {
		Events []any
		Reason string
		Faults []struct {
			Line, Column int
			Problem      string
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &told); err != nil || got.code != 1 {
		t.Fatalf("%v\n%s%s", err, got.stdout, got.stderr)
	}
	if told.Events == nil || told.Reason != "refused" || len(told.Faults) != 1 || told.Faults[0].Line == 0 || !strings.Contains(told.Faults[0].Problem, "neither") {
		t.Errorf("%+v", told)
	}
}

func TestMappingCompletion(t *testing.T) {
	for args, want := range map[string]string{"mapping test ": "bamboohr-record\n", "mapping test record --source ": "workday\n"} {
		got := run(t, "", nil, append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: %s%s", args, got.stdout, got.stderr)
		}
	}
}

// The page of the catalogue shows what the command says.
func TestMappingExampleOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../events/README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	got := run(t, "", nil, "mapping", "test", "bamboohr", "events/hr/bamboohr/field-based.json")
	var indented strings.Builder
	for line := range strings.Lines("$ mfaflow mapping test bamboohr events/hr/bamboohr/field-based.json\n" + got.stdout + got.stderr) {
		indented.WriteString("    " + line)
	}
	if !strings.Contains(string(page), indented.String()) {
		t.Errorf("events/README.md does not show\n%s", &indented)
	}
}
