package archtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mfaflow/pkg/event"
)

// The README lists every event type and every function, as it promises.
func TestReadmeIsComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for _, typ := range event.Types() {
		if !strings.Contains(readme, "`"+string(typ)+"`") {
			t.Errorf("README.md does not list %s", typ)
		}
	}
	folders, err := filepath.Glob(filepath.Join(root, "functions", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no functions (%v)", err)
	}
	for _, folder := range folders {
		if !strings.Contains(readme, "\n| "+filepath.Base(folder)+" |") {
			t.Errorf("README.md has no row for the function %s", filepath.Base(folder))
		}
	}
}
