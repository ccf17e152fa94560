package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The runbook has every reason that the code can give, in the right table, and no
// other.
func TestRunbookIsComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "events", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	waits := []string{"due-later", "grace-period", "sync-check", "not-provisioned", "directory-unavailable", "behind-another-event"}
	held := slices.DeleteFunc(append(constants(t, "pkg/lane/verdict.go", "Reason", "Reasons for holding"), constants(t, "pkg/plan/plan.go", "Reason", "The reasons")...),
		func(reason string) bool { return slices.Contains(waits, reason) })
	for section, want := range map[string][]string{
		"Dead letters": constants(t, "pkg/lane/verdict.go", "Reason", "Reasons for dead-lettering"),
		"Holds":        held,
		"Waits":        waits,
		"Quarantine":   append(constants(t, "pkg/ingest/judge.go", "Reason", "The reasons"), "ambiguous-person", "conflicting-person"),
	} {
		slices.Sort(want)
		if diff := cmp.Diff(want, rows(t, string(text), section)); diff != "" {
			t.Errorf("%s (-code +runbook):\n%s", section, diff)
		}
	}
}

// The dead-letter reasons of the flags queue are in the README.
func TestReadmeHasTheReasonsOfFlags(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range constants(t, "pkg/notify/notify.go", "Reason", "") {
		if !strings.Contains(string(text), "\n| `"+reason+"` |") {
			t.Errorf("README.md has no row for %s", reason)
		}
	}
}

// constants are the values of a type's constants in a file, in the groups whose
// comment begins as given.
func constants(t *testing.T, file, typ, comment string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST || !strings.HasPrefix(group.Doc.Text(), comment) {
			continue
		}
		for _, s := range group.Specs {
			c := s.(*ast.ValueSpec)
			if name, ok := c.Type.(*ast.Ident); !ok || name.Name != typ {
				continue
			}
			for _, v := range c.Values {
				value, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s under %q", file, typ, comment)
	}
	return values
}

var row = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|")

// rows are the first cells of the table in a section of a page, sorted.
func rows(t *testing.T, page, section string) (cells []string) {
	t.Helper()
	_, body, ok := strings.Cut(page, "\n### "+section+"\n")
	if !ok {
		t.Fatalf("no section %s", section)
	}
	body, _, _ = strings.Cut(body, "\n##")
	for _, match := range row.FindAllStringSubmatch(body, -1) {
		cells = append(cells, match[1])
	}
	slices.Sort(cells)
	return cells
}
