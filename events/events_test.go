package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/itchyny/gojq"

	"mfaflow/events"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/strictjson"
)

var update = flag.Bool("update", false, "rewrite the expected answers and mapped events")

func newCatalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// each runs a test for every JSON file two levels below dir, and fails when a
// pattern finds nothing to test.
func each(t *testing.T, dir string, run func(t *testing.T, name string, raw []byte)) {
	t.Helper()
	names, err := fs.Glob(events.FS(), dir+"/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("%s has no files", dir)
	}
	for _, name := range names {
		raw, err := fs.ReadFile(events.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(strings.TrimPrefix(name, dir+"/"), ".json"), func(t *testing.T) { run(t, name, raw) })
	}
}

// compare checks got against the file beside name with another extension.
func compare(t *testing.T, name, extension string, got []byte) {
	t.Helper()
	file := strings.TrimSuffix(name, ".json") + extension
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it, then read it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestSamples(t *testing.T) {
	c := newCatalog(t)
	ids := map[string]string{}
	each(t, "samples", func(t *testing.T, name string, raw []byte) {
		e, err := c.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if folder := path.Base(path.Dir(name)); string(e.Type) != folder {
			t.Errorf("a %s lies in the folder %s", e.Type, folder)
		}
		if other, twice := ids[e.Source+" "+e.ID]; twice {
			t.Errorf("same source and id as %s", other)
		}
		ids[e.Source+" "+e.ID] = name
		if err := decodeData(e); err != nil {
			t.Error(err)
		}
	})
}

// decodeData reads the data as the code that acts on it does.
func decodeData(e event.Event) error {
	var err error
	switch family, _, _ := strings.Cut(string(e.Type), "."); {
	case e.Type.IsStatement():
		_, err = e.Employment()
	case e.Type == event.Mover:
		_, err = e.Move()
	case e.Type == event.Ref:
		_, err = e.RecordRef()
	case family == "mfa":
		_, err = e.MFA()
	case family == "risk":
		_, err = e.Risk()
	case e.Type == event.AccountLocked:
		_, err = e.Lockout()
	case e.Type == event.AccountChanged:
		_, err = e.AccountUpdate()
	case e.Type == event.SessionRevoked:
		_, err = e.Revocation()
	case e.Type == event.CredentialChanged:
		_, err = e.CredentialUpdate()
	default:
		err = errors.New("no data struct for " + string(e.Type))
	}
	return err
}

// The answer to an invalid sample is the text file beside it.
func TestInvalid(t *testing.T) {
	c := newCatalog(t)
	each(t, "invalid", func(t *testing.T, name string, raw []byte) {
		_, err := c.Parse(raw)
		if err == nil {
			t.Fatal("accepted")
		}
		answer := err.Error()
		if invalid, ok := errors.AsType[*catalog.InvalidError](err); ok {
			lines := make([]string, len(invalid.Fields))
			for i, f := range invalid.Fields {
				lines[i] = f.String()
			}
			answer = strings.Join(lines, "\n")
		}
		compare(t, name, ".txt", []byte(answer+"\n"))
	})
}

func TestEveryTypeIsComplete(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range event.Types() {
		if !strings.Contains(string(page), "`"+string(typ)+"`") {
			t.Errorf("README.md does not name %s", typ)
		}
		for _, pattern := range []string{"schemas/%.v1.json", "samples/%/*.json", "invalid/%/*.json", "invalid/%/*.txt"} {
			pattern = strings.ReplaceAll(pattern, "%", string(typ))
			if found, err := fs.Glob(events.FS(), pattern); err != nil || len(found) == 0 {
				t.Errorf("%s has no %s", typ, pattern)
			}
		}
	}
}

func TestNoStrayFiles(t *testing.T) {
	known := map[string]bool{"envelope": true}
	for _, typ := range event.Types() {
		known[string(typ)] = true
	}
	for _, dir := range []string{"samples", "invalid", "golden"} {
		entries, err := fs.ReadDir(events.FS(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && !known[e.Name()] {
				t.Errorf("%s/%s is named after no event type", dir, e.Name())
			}
		}
	}
	schemas, err := fs.Glob(events.FS(), "schemas/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range schemas {
		if typ, _, ok := strings.Cut(path.Base(name), ".v"); !ok || !known[typ] {
			t.Errorf("%s is named after no event type", name)
		}
	}
	answers, err := fs.Glob(events.FS(), "invalid/*/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range answers {
		if _, err := fs.Stat(events.FS(), strings.TrimSuffix(name, ".txt")+".json"); err != nil {
			t.Errorf("%s answers nothing: %v", name, err)
		}
	}
}

// A mapped payload is the text file beside it: one canonical event a line, and
// what the catalogue says to it once ingest has added the envelope.
func TestMappings(t *testing.T) {
	c := newCatalog(t)
	programs := map[string]*gojq.Code{}
	files, err := fs.Glob(events.FS(), "mappings/*.jq")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		programs[strings.TrimSuffix(path.Base(file), ".jq")] = compile(t, file)
	}
	unused := maps.Clone(programs)
	each(t, "hr", func(t *testing.T, name string, raw []byte) {
		system := path.Base(path.Dir(name))
		program, ok := programs[system]
		if !ok {
			t.Fatalf("no mapping for %s", system)
		}
		delete(unused, system)
		payload, err := strictjson.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, name, ".txt", []byte(mapped(t, c, program, payload)))
	})
	for _, system := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("mappings/%s.jq has no payloads in hr/%s", system, system)
	}
}

func compile(t *testing.T, file string) *gojq.Code {
	t.Helper()
	text, err := fs.ReadFile(events.FS(), file)
	if err != nil {
		t.Fatal(err)
	}
	query, err := gojq.Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	code, err := gojq.Compile(query, gojq.WithVariables([]string{"$source", "$receivedAt"}))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return code
}

func mapped(t *testing.T, c *catalog.Catalog, program *gojq.Code, payload any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const receivedAt = "2026-11-23T14:05:00Z"
	source := map[string]any{"name": "hr", "timeZone": "America/Halifax"}
	var b strings.Builder
	for outputs := program.RunWithContext(ctx, payload, source, receivedAt); ; {
		v, ok := outputs.Next()
		if !ok {
			return b.String()
		}
		if err, failed := v.(error); failed {
			b.WriteString("! " + err.Error() + "\n")
			return b.String()
		}
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
		partial, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("the mapping gives a %T", v)
		}
		whole := map[string]any{"specversion": "1.0", "id": "1", "source": "/hr", "time": receivedAt}
		maps.Copy(whole, partial)
		if _, err := c.ParseValue(whole); err != nil {
			b.WriteString("! " + err.Error() + "\n")
		}
	}
}
