package console

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
)

// maxField bounds every text field of a query, in bytes.
const maxField = 500

// text reads a field of a query.
func text(q url.Values, name string) (string, error) {
	s := strings.TrimSpace(q.Get(name))
	if len(s) > maxField || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return "", requestError{fmt.Sprintf("%s must be a line of text of at most %d bytes", name, maxField)}
	}
	return s, nil
}

// texts reads fields into where they belong.
func texts(q url.Values, fields map[string]*string) error {
	for name, to := range fields {
		s, err := text(q, name)
		if err != nil {
			return err
		}
		*to = s
	}
	return nil
}

// layouts are the forms of a time in a query. Those without zone are in UTC.
var layouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

func moment(q url.Values, name string) (time.Time, error) {
	s := strings.TrimSpace(q.Get(name))
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil && t.UTC().Year() > 0 && t.UTC().Year() < 10000 {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, requestError{name + " must be a time such as 2026-11-23T08:00"}
}

func span(q url.Values) (since, until time.Time, err error) {
	if since, err = moment(q, "since"); err != nil {
		return
	}
	if until, err = moment(q, "until"); err != nil {
		return
	}
	if !since.IsZero() && !until.IsZero() && until.Before(since) {
		err = requestError{"until must not be before since"}
	}
	return
}

// decodeFilter reads a filter from a query or a form.
func decodeFilter(q url.Values) (operate.Filter, error) {
	var f operate.Filter
	for _, p := range q["place"] {
		place := operate.Place(p)
		if p == "" {
			continue
		}
		if !slices.Contains(operate.Places(), place) {
			return operate.Filter{}, requestError{"place must be one of inbound, lanes, flags, control, quarantine"}
		}
		if !slices.Contains(f.Places, place) {
			f.Places = append(f.Places, place)
		}
	}
	err := texts(q, map[string]*string{"lane": &f.Lane, "type": &f.Type, "source": &f.Source, "reason": &f.Reason, "text": &f.Text})
	if err != nil {
		return operate.Filter{}, err
	}
	if f.Since, f.Until, err = span(q); err != nil {
		return operate.Filter{}, err
	}
	return f, nil
}

// encodeFilter is the query that decodeFilter reads as f.
func encodeFilter(f operate.Filter) url.Values {
	q := url.Values{}
	for _, p := range f.Places {
		q.Add("place", string(p))
	}
	for name, s := range map[string]string{"lane": f.Lane, "type": f.Type, "source": f.Source, "reason": f.Reason, "text": f.Text} {
		if s != "" {
			q.Set(name, s)
		}
	}
	for name, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(name, fieldTime(t))
		}
	}
	return q
}

func decodeFlagFilter(q url.Values) (operate.FlagFilter, error) {
	var cause, user string
	var f operate.FlagFilter
	if err := texts(q, map[string]*string{"cause": &cause, "user": &user, "text": &f.Text}); err != nil {
		return f, err
	}
	f.Cause, f.User = flag.Cause(cause), identity.UserID(strings.ToLower(user))
	if cause != "" && !f.Cause.Valid() {
		return operate.FlagFilter{}, requestError{"cause is not one of the list"}
	}
	if user != "" && !identity.IsGUID(user) {
		return operate.FlagFilter{}, requestError{"user must be an object id"}
	}
	return f, nil
}

// decodeIDs reads which entries a form names, each as place:sequence.
func decodeIDs(values []string) ([]operate.ID, error) {
	ids := make([]operate.ID, 0, len(values))
	for _, v := range values {
		place, number, _ := strings.Cut(v, ":")
		id, err := decodeID(place, number)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func decodeID(place, number string) (operate.ID, error) {
	p := operate.Place(place)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || !slices.Contains(operate.Places(), p) {
		return operate.ID{}, requestError{"an entry is named by its place and its number"}
	}
	return operate.ID{Place: p, Sequence: n}, nil
}

// reason reads why an operator does something.
func reason(form url.Values) (string, error) {
	why, err := text(form, "why")
	if err == nil && utf8.RuneCountInString(why) < 3 {
		err = requestError{"say why, in a few words: it is kept in the audit trail"}
	}
	return why, err
}

// rates are what a replay can be limited to, in messages per second; 0 is no limit.
var rates = []int{1, 5, 20, 100, 0}

func decodeRate(form url.Values) (int, error) {
	n, err := strconv.Atoi(form.Get("rate"))
	if err != nil || !slices.Contains(rates, n) {
		return 0, requestError{"the rate must be one of those offered"}
	}
	return n, nil
}
