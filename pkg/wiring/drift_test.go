package wiring_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/wiring"
)

func TestDrift(t *testing.T) {
	planner := policy.Planner{Now: time.Now}
	if wiring.Drift("", planner) != nil {
		t.Error("there is drift from no file")
	}
	path := filepath.Join(t.TempDir(), "policy.yaml")
	drift := wiring.Drift(path, planner)
	s := posture.Snapshot{Policies: posture.Policies{SecurityDefaults: posture.No}}
	if _, err := drift(t.Context(), s); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"breakGlass: {none: small}\nsecurityDefaults: enabled\n":  "security-defaults: defaults",
		"breakGlass: {none: small}\nsecurityDefaults: disabled\n": "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := drift(t.Context(), s)
		if err != nil || len(list) > 1 || want != "" && (len(list) == 0 || list[0] != want) {
			t.Errorf("%q: %q, %v", text, list, err)
		}
	}
	if err := os.WriteFile(path, []byte("breakGlass: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := drift(t.Context(), s); !errors.Is(err, policy.ErrFile) {
		t.Error(err)
	}
}
