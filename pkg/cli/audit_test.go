package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfaflow/pkg/audit"
)

// trailOf are three records of one writer between lines of a log.
func trailOf(t *testing.T) []string {
	t.Helper()
	var out bytes.Buffer
	w := audit.NewWriter(&out, "identity-worker")
	for _, action := range []string{"decide", "issue-pass", "deliver-pass"} {
		out.WriteString(`{"level":"INFO","msg":"event"}` + "\n")
		if err := w.Write(t.Context(), audit.Record{Key: "workday/1", Actor: "system", Action: action, Outcome: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	return strings.SplitAfter(strings.TrimSpace(out.String()), "\n")
}

func TestAuditVerify(t *testing.T) {
	whole := trailOf(t)
	log := strings.Join(whole, "")
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	var last struct{ Hash string }
	if err := json.Unmarshal([]byte(whole[5]), &last); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string // each must be contained; empty means none at all
	}{
		"whole":           {stdin: log, stdout: "  3      3     " + last.Hash + "\n"},
		"a file":          {args: []string{file}, stdout: last.Hash},
		"JSON":            {args: []string{"-", "--json"}, stdin: log, stdout: `"lines": 3`},
		"a record is out": {stdin: whole[1] + whole[5], code: 1, stdout: "  2      3     " + last.Hash, stderr: "the trail is not whole:\nline 2: writer identity-worker/"},
		"a record is changed": {
			stdin: strings.Replace(log, "issue-pass", "issue-gift", 1), code: 1, stdout: "WRITER", stderr: "line 4: the record was changed",
		},
		"the order is changed": {args: []string{"--json"}, stdin: whole[3] + whole[1], code: 1, stdout: `"problems": [`, stderr: "line 1: "},
		"no record":            {stdin: whole[0], code: 1, stderr: "Error: there is no record in it\nTry: "},
		"no file":              {args: []string{"/nowhere"}, code: 1, stderr: "no such file"},
		"two files":            {args: []string{file, file}, code: 2, stderr: "Try: mfaflow audit verify --help\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, c.stdin, nil, append([]string{"audit", "verify"}, c.args...)...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d", got.code, c.code)
			}
			for _, s := range []struct{ name, got, want string }{{"stdout", got.stdout, c.stdout}, {"stderr", got.stderr, c.stderr}} {
				if !strings.Contains(s.got, s.want) || s.want == "" && s.got != "" {
					t.Errorf("%s is %q, want %q", s.name, s.got, s.want)
				}
			}
		})
	}
}
