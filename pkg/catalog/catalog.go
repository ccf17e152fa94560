// Package catalog judges events from outside: it holds the JSON Schemas of the
// event catalogue, compiled, and turns JSON into canonical events or into a list
// of everything that is wrong with it.
//
// It must not know how an event arrived, who may send it, or what follows from it.
package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"mfaflow/events"
	"mfaflow/pkg/event"
	"mfaflow/pkg/schema"
	"mfaflow/pkg/strictjson"
)

// schemaBase is where the $id of every schema starts. Nothing is served there:
// the schemas are compiled from the binary and nothing is ever fetched.
const schemaBase = "https://mfaflow.dev/schemas/"

var (
	// ErrUnknownType: the type is not in the catalogue. A sender may be ahead of us.
	ErrUnknownType = event.ErrUnknownType
	// ErrUnknownVersion: dataschema names a version of a known type that the
	// catalogue does not have.
	ErrUnknownVersion = errors.New("unknown version of the event type")
)

// Catalog holds the schemas. It is safe for concurrent use.
//
// # Why a schema is compiled when it is first needed
//
// Reading and compiling all of them takes several milliseconds of a whole core,
// which a small function would pay several times over at every cold start, for
// types its source never sends. The tests compile every one of them.
type Catalog struct {
	envelope func() (*schema.Schema, error)
	// types is keyed by $id.
	types map[string]func() (*schema.Schema, error)
}

// New takes the schemas that are built into the binary. An error means that the
// binary is broken.
func New() (*Catalog, error) { return newCatalog(events.FS()) }

const envelopeID = schemaBase + "envelope.v1.json"

func newCatalog(files fs.FS) (*Catalog, error) {
	docs, err := open(files)
	if err != nil {
		return nil, err
	}
	options := schema.Options{Load: docs.load, Formats: formats()}
	cat := &Catalog{types: map[string]func() (*schema.Schema, error){}}
	for id := range docs {
		cat.types[id] = sync.OnceValues(func() (*schema.Schema, error) { return schema.Compile(id, options) })
	}
	cat.envelope = cat.types[envelopeID]
	delete(cat.types, envelopeID)
	if cat.envelope == nil {
		return nil, errors.New("no schema for the envelope")
	}
	for _, t := range event.Types() {
		if cat.types[schemaID(t, "1")] == nil {
			return nil, fmt.Errorf("no schema for %s", t)
		}
	}
	return cat, nil
}

func schemaID(t event.Type, version string) string {
	return schemaBase + string(t) + ".v" + version + ".json"
}

// documents are the schema files by the $id that their names stand for. Each is
// read when it is first needed.
type documents map[string]func() (any, error)

func open(files fs.FS) (documents, error) {
	names, err := fs.Glob(files, "schemas/*.json")
	if err != nil {
		return nil, fmt.Errorf("list schemas: %w", err)
	}
	docs := documents{}
	for _, name := range names {
		docs[schemaBase+path.Base(name)] = sync.OnceValues(func() (any, error) {
			raw, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, fmt.Errorf("read schema: %w", err)
			}
			doc, err := strictjson.Decode(raw)
			if err != nil {
				return nil, fmt.Errorf("decode %s: %w", name, err)
			}
			return doc, nil
		})
	}
	return docs, nil
}

// load resolves a $ref among the built-in schemas. It never reads a file outside
// the binary or the net.
func (d documents) load(id string) (any, error) {
	if doc, ok := d[id]; ok {
		return doc()
	}
	return nil, errors.New("the catalogue fetches nothing")
}

// Parse reads an event from outside. The error is an *InvalidError, or is
// ErrUnknownType or ErrUnknownVersion; no error contains a value of the event.
func (c *Catalog) Parse(raw []byte) (event.Event, error) {
	v, err := strictjson.Decode(raw)
	if err != nil {
		return event.Event{}, &InvalidError{Fields: []FieldError{{Problem: err.Error()}}, cause: err}
	}
	return c.ParseValue(v)
}

// ParseValue is Parse for an event that is decoded already, by package strictjson
// or by a mapping.
func (c *Catalog) ParseValue(v any) (event.Event, error) {
	attributes, _ := v.(map[string]any)
	s, err := c.schemaFor(attributes)
	if err != nil {
		return event.Event{}, err
	}
	if broken := s.Validate(v); len(broken) > 0 {
		return event.Event{}, invalid(s, broken)
	}
	return newEvent(attributes)
}

// schemaFor finds the schema of the type and version that the event claims. An
// event that does not say what it is gets the schema of the envelope, which
// requires that.
func (c *Catalog) schemaFor(attributes map[string]any) (*schema.Schema, error) {
	name, ok := attributes["type"].(string)
	if !ok || name == "" {
		return c.envelope()
	}
	t, err := event.ParseType(name)
	if err != nil {
		return nil, ErrUnknownType
	}
	id, _ := attributes["dataschema"].(string)
	version, ok := versionOf(t, id)
	if !ok {
		return c.types[schemaID(t, "1")]()
	}
	compiled, ok := c.types[schemaID(t, version)]
	if !ok {
		return nil, ErrUnknownVersion
	}
	return compiled()
}

// versionOf is the version of t in the $id of one of its schemas. Any other id
// is for the schema to refuse.
func versionOf(t event.Type, id string) (string, bool) {
	rest, ok := strings.CutPrefix(id, schemaBase+string(t)+".v")
	if !ok {
		return "", false
	}
	version, ok := strings.CutSuffix(rest, ".json")
	return version, ok && version != "" && strings.Trim(version, "0123456789") == ""
}

// newEvent builds the event from the tree that was validated, so that there is
// no second reading of the text. The schema has checked every type assertion.
func newEvent(attributes map[string]any) (event.Event, error) {
	text := func(name string) string {
		s, _ := attributes[name].(string)
		return s
	}
	at, err := time.Parse(time.RFC3339Nano, text("time"))
	if err != nil {
		return event.Event{}, fmt.Errorf("read the time that the schema accepted: %w", err)
	}
	data, err := json.Marshal(attributes["data"])
	if err != nil {
		return event.Event{}, fmt.Errorf("encode the data that the schema accepted: %w", err)
	}
	return event.Event{
		ID: text("id"), Source: text("source"), Type: event.Type(text("type")), Subject: text("subject"),
		Time: at, DataSchema: text("dataschema"), Data: data,
	}, nil
}
