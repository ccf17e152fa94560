package config

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/kelseyhightower/envconfig"
)

// The names we derive must be the ones envconfig reads.
func TestVariablesAreThoseOfEnvconfig(t *testing.T) {
	for _, fn := range functions() {
		var theirs bytes.Buffer
		if err := envconfig.Usagef(prefix, fn.settings, &theirs, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
			t.Fatal(err)
		}
		var ours strings.Builder
		for _, f := range fields(reflect.TypeOf(fn.settings).Elem()) {
			ours.WriteString(variable(f) + "\n")
		}
		if ours.String() != theirs.String() {
			t.Errorf("%s: envconfig reads\n%swe say\n%s", fn.name, theirs.String(), ours.String())
		}
	}
}

// One variable means the same to every function that reads it.
func TestSharedVariablesAgree(t *testing.T) {
	seen := map[string]reflect.StructField{}
	for _, fn := range functions() {
		for _, f := range fields(reflect.TypeOf(fn.settings).Elem()) {
			v := variable(f)
			if before, ok := seen[v]; ok && (before.Tag != f.Tag || before.Type != f.Type) {
				t.Errorf("%s differs between functions", v)
			}
			seen[v] = f
		}
	}
}

func TestUsage(t *testing.T) {
	one, err := Usage("hr-events")
	if err != nil || !strings.Contains(one, "| `MFAFLOW_LISTEN` | `127.0.0.1:8080` | Outside Lambda") || strings.Contains(one, "MFAFLOW_LEAD_TIME") {
		t.Errorf("got %v\n%s", err, one)
	}
	all, err := Usage("")
	if err != nil || !strings.Contains(all, "| `MFAFLOW_LOG_LEVEL` | `INFO` | all |") ||
		!strings.Contains(all, "| `MFAFLOW_LANES_QUEUE` | `lanes` | identity-router, identity-worker, event-replay |") {
		t.Errorf("got %v\n%s", err, all)
	}
	if _, err := Usage("nobody"); !errors.Is(err, ErrUnknownFunction) {
		t.Errorf("got %v", err)
	}
}

// The README shows the table as it is.
func TestReadmeShowsTheSettings(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Usage("")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte(all)) {
		t.Errorf("README.md does not have this table (mfaflow config prints it):\n%s", all)
	}
}
