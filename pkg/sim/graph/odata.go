package graph

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entity is a directory object whose properties can be selected and filtered by name.
type entity interface {
	entityID() string
	// property returns a value that encodes to Graph's JSON; ok is false for a name
	// that the type does not have.
	property(name string) (value any, ok bool)
}

// schema is what a query needs to know about a type of entity.
type schema struct {
	collection string   // for @odata.context, e.g. "users"
	typeName   string   // e.g. "user"
	defaults   []string // properties returned without $select
}

const (
	defaultPage = 100
	maxPage     = 999
)

// query is the parsed OData options of a request.
type query struct {
	selected []string
	filter   filter // nil without $filter
	page     int    // size without $top
	top      int    // 0 when absent
	after    string // last id of the page before
	position int    // where that was in the collection
	count    bool
	advanced bool // the caller asks the index
	orderBy  string
	descend  bool
	expand   []expansion
}

type expansion struct {
	name     string
	selected []string
}

// queryRules are what differs between collections.
type queryRules struct {
	page, largest int
	options       []string // nil: all that are served
	// indexed collections need the advanced parameters for some operators.
	indexed bool
}

// parseQuery reads the options of a query on directory objects.
func parseQuery(r *request) (*query, error) {
	return queryRules{page: defaultPage, largest: maxPage, indexed: true}.parse(r)
}

// parse reads the options and refuses what Graph refuses. Advanced operators need
// the header ConsistencyLevel: eventual and $count=true
// (Graph concepts, "Advanced query capabilities on directory objects").
func (rules queryRules) parse(r *request) (*query, error) {
	q := &query{page: rules.page}
	for key := range r.query {
		if strings.HasPrefix(key, "$") && rules.options != nil && !slices.Contains(rules.options, key) {
			return nil, errBadRequest("The query parameter '%s' is not supported.", key)
		}
	}
	for key := range r.query {
		switch key {
		case "$select", "$filter", "$top", "$skiptoken", "$count", "$orderby", "$expand":
		case "$skip":
			return nil, errUnsupportedQuery("'$skip' is not supported by the service.")
		case "$search":
			return nil, errUnsupportedQuery("Request with $search query parameter is not supported by the simulator.")
		default:
			if strings.HasPrefix(key, "$") {
				return nil, errBadRequest("The query parameter '%s' is not supported.", key)
			}
		}
	}
	var err error
	if v := r.query.Get("$select"); v != "" {
		q.selected = splitList(v)
	}
	if v := r.query.Get("$expand"); v != "" {
		if q.expand, err = parseExpand(v); err != nil {
			return nil, err
		}
	}
	if v := r.query.Get("$top"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > rules.largest {
			return nil, errUnsupportedQuery("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", v, rules.largest)
		}
		q.top = n
	}
	if v := r.query.Get("$skiptoken"); v != "" {
		raw, err := base64.RawURLEncoding.DecodeString(v)
		position, after, ok := strings.Cut(string(raw), ":")
		if q.position, q.after = -1, after; err == nil {
			q.position, err = strconv.Atoi(position)
		}
		if err != nil || !ok || q.position < 0 {
			return nil, &apiError{status: http.StatusBadRequest, code: "Directory_ExpiredPageToken",
				message: "The specified page token value has expired and can no longer be included in your request."}
		}
	}
	if v := r.query.Get("$count"); v != "" {
		if q.count, err = strconv.ParseBool(v); err != nil {
			return nil, errBadRequest("Invalid value '%s' for $count query option found.", v)
		}
	}
	q.advanced = q.count && strings.EqualFold(r.header.Get("ConsistencyLevel"), "eventual")
	if v := r.query.Get("$orderby"); v != "" {
		fields := strings.Fields(v)
		q.orderBy = fields[0]
		q.descend = len(fields) == 2 && fields[1] == "desc"
		if len(fields) > 2 || len(fields) == 2 && fields[1] != "desc" && fields[1] != "asc" {
			return nil, errBadRequest("Invalid $orderby clause: '%s'.", v)
		}
	}
	if v := r.query.Get("$filter"); v != "" {
		if q.filter, err = parseFilter(v); err != nil {
			return nil, errBadRequest("Invalid filter clause: %s", err)
		}
		if rules.indexed && (q.filter.advanced() || q.orderBy != "") && !q.advanced {
			return nil, errAdvanced()
		}
	}
	return q, nil
}

func errAdvanced() *apiError {
	return errUnsupportedQuery("Operator or sort is not supported because the required parameters are missing: add the header 'ConsistencyLevel: eventual' and $count=true.")
}

func splitList(v string) []string {
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// parseExpand reads name or name($select=a,b); nothing more is served.
func parseExpand(v string) ([]expansion, error) {
	name, rest, nested := strings.Cut(v, "(")
	e := expansion{name: strings.TrimSpace(name)}
	if nested {
		inner, ok := strings.CutSuffix(rest, ")")
		list, isSelect := strings.CutPrefix(strings.TrimSpace(inner), "$select=")
		if !ok || !isSelect {
			return nil, errBadRequest("Parsing OData Select and Expand failed: '%s'.", v)
		}
		e.selected = splitList(list)
	}
	return []expansion{e}, nil
}

// render is the JSON of one entity: the selected properties, or the type's default set.
func (sc schema) render(e entity, selected []string) (map[string]any, error) {
	if len(selected) == 0 {
		selected = sc.defaults
	}
	out := make(map[string]any, len(selected)+1)
	for _, name := range selected {
		if name == "" || name == "*" {
			continue
		}
		v, ok := e.property(name)
		if !ok {
			return nil, errBadRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, sc.typeName)
		}
		out[name] = v
	}
	return out, nil
}

// single is the answer for one entity.
func (sc schema) single(r *request, e entity, selected []string) (response, error) {
	body, err := sc.render(e, selected)
	if err != nil {
		return response{}, err
	}
	body["@odata.context"] = r.context(sc.collection + "/$entity")
	return ok(body), nil
}

// page is the answer for a collection: filtered, ordered, cut to $top, with a next link
// when more follows. Entities come in order of id. It looks at no more of them than it
// must, so that reading a large collection page by page takes time in proportion to its
// size. finish may add to each object.
func page[E entity](sc schema, r *request, q *query, all []E, finish func(E, map[string]any) error) (response, error) {
	filter := q.filter
	if filter != nil && (q.count || q.orderBy != "") { // both need everybody who matches
		var err error
		if all, err = filtered(all, filter); err != nil {
			return response{}, err
		}
		filter = nil
	}
	total := len(all)
	if q.orderBy != "" {
		var err error
		if all, err = ordered(sc, q, all); err != nil {
			return response{}, err
		}
	}
	size := q.top
	if size == 0 {
		size = q.page
	}
	body := map[string]any{"@odata.context": r.context(sc.collection)}
	if len(q.selected) > 0 {
		body["@odata.context"] = r.context(sc.collection + "(" + strings.Join(q.selected, ",") + ")")
	}
	if q.count {
		body["@odata.count"] = total
	}
	value, last := []map[string]any{}, 0
	for i := begin(all, q); i < len(all); i++ {
		if filter != nil {
			if yes, err := filter.matches(all[i].property); err != nil {
				return response{}, err
			} else if !yes {
				continue
			}
		}
		if len(value) == size {
			body["@odata.nextLink"] = nextLink(r, last, all[last].entityID())
			break
		}
		item, err := sc.render(all[i], q.selected)
		if err != nil {
			return response{}, err
		}
		if finish != nil {
			if err := finish(all[i], item); err != nil {
				return response{}, err
			}
		}
		value, last = append(value, item), i
	}
	body["value"] = value
	return ok(body), nil
}

// begin is where the page starts. The entity that ended the page before is looked for
// where it was, then anywhere; if it is gone, the page starts behind its place.
func begin[E entity](all []E, q *query) int {
	if q.after == "" {
		return 0
	}
	if q.position < len(all) && all[q.position].entityID() == q.after {
		return q.position + 1
	}
	if i := slices.IndexFunc(all, func(e E) bool { return e.entityID() == q.after }); i >= 0 {
		return i + 1
	}
	if i := slices.IndexFunc(all, func(e E) bool { return e.entityID() > q.after }); i >= 0 {
		return i
	}
	return len(all)
}

func filtered[E entity](all []E, f filter) ([]E, error) {
	var matching []E
	for _, e := range all {
		yes, err := f.matches(e.property)
		if err != nil {
			return nil, err
		}
		if yes {
			matching = append(matching, e)
		}
	}
	return matching, nil
}

func ordered[E entity](sc schema, q *query, all []E) ([]E, error) {
	all = slices.Clone(all)
	unknown := false
	slices.SortStableFunc(all, func(a, b E) int {
		x, okA := a.property(q.orderBy)
		y, okB := b.property(q.orderBy)
		unknown = unknown || !okA || !okB
		c := strings.Compare(sortKey(x), sortKey(y))
		if q.descend {
			return -c
		}
		return c
	})
	if unknown {
		return nil, errBadRequest("Could not find a property named '%s' on type 'microsoft.graph.%s'.", q.orderBy, sc.typeName)
	}
	return all, nil
}

func sortKey(v any) string {
	if t, isTime := v.(time.Time); isTime {
		return t.UTC().Format("2006-01-02T15:04:05.000000000")
	}
	s, _ := v.(string)
	return strings.ToLower(s)
}

// nextLink repeats the request with a token for the rest.
func nextLink(r *request, position int, last string) string {
	link := make(url.Values, len(r.query)+1)
	for k, v := range r.query {
		link[k] = v
	}
	link.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(position)+":"+last)))
	return r.base + r.rawPath + "?" + strings.ReplaceAll(link.Encode(), "%24", "$")
}

// list is an unfiltered collection of plain documents.
func list[T any](r *request, context string, value []T) response {
	if value == nil {
		value = []T{}
	}
	return ok(map[string]any{"@odata.context": r.context(context), "value": value})
}
