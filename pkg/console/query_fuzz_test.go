package console

import (
	"net/url"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/operate"
)

// Accepted implies: the places are known, the texts are bounded lines, the times are in
// order, and the filter's own query reads as the same filter.
func FuzzDecodeFilter(f *testing.F) {
	f.Add("place=lanes&place=quarantine&reason=forbidden&since=2026-11-20T00:00&until=2026-11-24")
	f.Add("text=%00&lane=x&type=employee.joiner&source=hr")
	f.Add("since=2026-11-20T00:00:00.9%2B02:00")
	f.Add("place=moon")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		filter, err := decodeFilter(q)
		if err != nil {
			if !cmp.Equal(filter, operate.Filter{}) {
				t.Errorf("refused, and yet a filter: %+v", filter)
			}
			return
		}
		for _, p := range filter.Places {
			if !slices.Contains(operate.Places(), p) {
				t.Errorf("accepted place %q", p)
			}
		}
		for _, s := range []string{filter.Lane, filter.Type, filter.Source, filter.Reason, filter.Text} {
			if len(s) > maxField || !utf8.ValidString(s) {
				t.Errorf("accepted text %q", s)
			}
		}
		if !filter.Until.IsZero() && filter.Until.Before(filter.Since) {
			t.Errorf("accepted %s until %s", filter.Since, filter.Until)
		}
		again, err := decodeFilter(encodeFilter(filter))
		if err != nil {
			t.Fatalf("its own query is refused: %v", err)
		}
		if diff := cmp.Diff(filter, again); diff != "" {
			t.Errorf("another filter comes back:\n%s", diff)
		}
	})
}

func FuzzDecodeIDs(f *testing.F) {
	f.Add("lanes:12")
	f.Add("moon:1")
	f.Add("inbound:-1")
	f.Fuzz(func(t *testing.T, value string) {
		ids, err := decodeIDs([]string{value})
		if err == nil && (len(ids) != 1 || ids[0].Sequence < 0 || !slices.Contains(operate.Places(), ids[0].Place)) {
			t.Errorf("%q is %+v", value, ids)
		}
	})
}
