package graph

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// document is a policy object as an entity, of which some properties can be filtered.
type document struct {
	Document
	filterable []string
}

func (d document) entityID() string {
	id, _ := d.Document["id"].(string)
	return id
}

func (d document) property(name string) (any, bool) {
	v, there := d.Document[name]
	if name != "id" && !slices.Contains(d.filterable, name) {
		return v, there
	}
	switch x := v.(type) {
	case string:
		if at, err := time.Parse(time.RFC3339Nano, x); err == nil && strings.HasSuffix(name, "DateTime") {
			return at, true
		}
	case float64:
		return int(x), true
	case json.Number:
		n, _ := x.Int64()
		return int(n), true
	}
	return v, true
}

// listDocuments answers with policy objects, whole or cut down by $select.
func listDocuments(r *request, collection string, docs []Document, filterable ...string) (response, error) {
	q, err := queryRules{page: 1000, largest: 1000, options: []string{"$count", "$filter", "$orderby", "$select", "$top", "$skiptoken"}}.parse(r)
	if err != nil {
		return response{}, err
	}
	list := make([]document, len(docs))
	for i, d := range docs {
		list[i] = document{d, filterable}
	}
	return page(schema{collection: collection, typeName: collection[strings.LastIndex(collection, "/")+1:]}, r, q, list, func(d document, item map[string]any) error {
		if len(q.selected) == 0 {
			maps.Copy(item, d.Document)
		}
		return nil
	})
}

func findDocument(docs []Document, id string) (Document, int) {
	for i, d := range docs {
		if v, _ := d["id"].(string); strings.EqualFold(v, id) {
			return d, i
		}
	}
	return nil, -1
}

func entityDocument(r *request, context string, d Document) response {
	body := maps.Clone(d)
	body["@odata.context"] = r.context(context)
	return ok(body)
}

func oneDocument(r *request, docs []Document, param, context string) (response, error) {
	d, _ := findDocument(docs, r.params[param])
	if d == nil {
		return response{}, errNotFound(r.params[param])
	}
	return entityDocument(r, context, d), nil
}
