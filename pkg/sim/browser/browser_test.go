package browser_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mfaflow/pkg/sim/browser"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if path, err := browser.Find(); !errors.Is(err, browser.ErrNone) {
		t.Errorf("%q, %v", path, err)
	}
	for _, name := range []string{"google-chrome", "chromium"} { // the later one is preferred
		want := filepath.Join(dir, name)
		if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if path, err := browser.Find(); path != want || err != nil {
			t.Errorf("%q, %v", path, err)
		}
	}
	for value, want := range map[string]bool{"": false, "true": true} {
		t.Setenv("CI", value)
		if browser.Required() != want {
			t.Errorf("CI=%q", value)
		}
	}
}
