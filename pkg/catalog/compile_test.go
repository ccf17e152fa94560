package catalog

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"mfaflow/events"
)

// Every schema of the binary compiles; one that is missing, is no schema or reaches
// out of the binary is found.
func TestCompile(t *testing.T) {
	const joiner = "schemas/employee.joiner.v1.json"
	for _, tt := range []struct {
		name, file, text, want string
	}{
		{"missing type", joiner, "", "no schema for employee.joiner"},
		{"missing envelope", "schemas/envelope.v1.json", "", "envelope"},
		{"reference to the net", joiner, `{"$ref":"https://example.org/joiner.json"}`, "fetches nothing"},
		{"reference to a file", joiner, `{"$ref":"file:///etc/passwd"}`, "fetches nothing"},
		{"schema against its dialect", joiner, `{"type":"strnig"}`, "compile schema"},
		{"schema with a key twice", joiner, `{"type":"object","type":"object"}`, "same key twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{}
			names, err := fs.Glob(events.FS(), "schemas/*")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				raw, err := fs.ReadFile(events.FS(), name)
				if err != nil {
					t.Fatal(err)
				}
				files[name] = &fstest.MapFile{Data: raw}
			}
			if err := compileAll(files); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			delete(files, tt.file)
			if tt.text != "" {
				files[tt.file] = &fstest.MapFile{Data: []byte(tt.text)}
			}
			err = compileAll(files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func compileAll(files fs.FS) error {
	c, err := newCatalog(files)
	if err != nil {
		return err
	}
	if _, err := c.envelope(); err != nil {
		return err
	}
	for _, compiled := range c.types {
		if _, err := compiled(); err != nil {
			return err
		}
	}
	return nil
}
