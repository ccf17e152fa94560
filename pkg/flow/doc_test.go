package flow_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tests that the package comment names exist.
func TestIndexNamesRealTests(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	named := regexp.MustCompile(`\b([a-z]+)\.(Test[A-Za-z]+)`).FindAllStringSubmatch(string(text), -1)
	if len(named) == 0 {
		t.Fatal("the index names no test")
	}
	for _, n := range named {
		pkg, test := n[1], n[2]
		if sources[pkg] == "" {
			sources[pkg] = testsOf(t, pkg)
		}
		if !strings.Contains(sources[pkg], "func "+test+"(t *testing.T)") {
			t.Errorf("pkg/%s has no %s", pkg, test)
		}
	}
}

func testsOf(t *testing.T, pkg string) string {
	t.Helper()
	folder := filepath.Join("..", pkg)
	if pkg == "events" {
		folder = filepath.Join("..", "..", pkg)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s (%v)", folder, err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
