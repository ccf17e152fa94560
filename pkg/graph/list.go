package graph

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/sweep"
)

// query is a request for a list that the SDK's models would read badly: they drop
// members of enumerations that they do not know, and @removed.
type query struct {
	path   string // escaped, with the version
	params url.Values
	header []string // names and values
}

func (q query) String() string {
	if len(q.params) == 0 {
		return q.path
	}
	return q.path + "?" + strings.ReplaceAll(q.params.Encode(), "+", "%20")
}

// readList reads one page: the first one of q, or the one that link leads to. Graph's
// links are followed verbatim, but only to Graph. Items for which convert returns
// false make the answer unreadable; those that it marks as dropped are left out.
func readList[W, T any](ctx context.Context, c *Client, op operation, q query, link string, convert func(W) (item T, keep, ok bool)) (sweep.Page[T], error) {
	target, version := q.String(), versionOne+"/"
	if strings.HasPrefix(q.path, versionBeta) {
		version = versionBeta + "/"
	}
	if link != "" {
		path, ours := strings.CutPrefix(link, c.origin)
		if !ours || !strings.HasPrefix(path, version) {
			return sweep.Page[T]{}, op.refuse("the link leads elsewhere")
		}
		target = path
	}
	body, err := call(ctx, c, op, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, target, nil, q.header...)
	})
	if err != nil {
		return sweep.Page[T]{}, err
	}
	page, ok := parseList(body, convert)
	if !ok {
		return sweep.Page[T]{}, op.unreadable("a list that cannot be read")
	}
	for _, l := range []string{page.Next, page.Delta} {
		if l != "" && !strings.HasPrefix(l, c.origin+version) {
			return sweep.Page[T]{}, op.unreadable("a next page elsewhere")
		}
	}
	return page, nil
}

// parseList reads a collection. One without a list is not an empty one.
func parseList[W, T any](body []byte, convert func(W) (item T, keep, ok bool)) (sweep.Page[T], bool) {
	var l struct {
		Value *[]*W  `json:"value"`
		Next  string `json:"@odata.nextLink"`
		Delta string `json:"@odata.deltaLink"`
	}
	if json.Unmarshal(body, &l) != nil || l.Value == nil || l.Next != "" && l.Delta != "" {
		return sweep.Page[T]{}, false
	}
	p := sweep.Page[T]{Next: l.Next, Delta: l.Delta, Items: make([]T, 0, len(*l.Value))}
	for _, w := range *l.Value {
		if w == nil {
			return sweep.Page[T]{}, false
		}
		item, keep, ok := convert(*w)
		if !ok {
			return sweep.Page[T]{}, false
		}
		if keep {
			p.Items = append(p.Items, item)
		}
	}
	return p, true
}
