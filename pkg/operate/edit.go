package operate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/strictjson"
)

// kept are the members of data that no edit may touch: whom the event is about, and who
// asked for it, since those two may not approve it; and the policy that is asked for with the
// digest of its plan, since whoever writes those would be asking, and could approve.
var kept = []string{"person", "requestedBy", "policy", "digest"}

// edited applies a merge patch to the data of an event. What comes out obeys the schema
// of the event's type. The errors quote no values.
func (d *Desk) edited(e event.Event, patch json.RawMessage) (event.Event, []string, error) {
	if e.Type == event.LetIn {
		return e, nil, errors.New("an operator's word cannot be edited; say it again")
	}
	before, err := strictjson.Decode(e.Data)
	if err != nil {
		return e, nil, errors.New("the data of the event cannot be read, so it cannot be edited")
	}
	change, err := strictjson.Decode(patch)
	if err != nil {
		return e, nil, errors.New("the edit is no JSON")
	}
	if _, ok := change.(map[string]any); !ok {
		return e, nil, errors.New("the edit is no JSON object (RFC 7396)")
	}
	after := merge(before, change)
	old, _ := before.(map[string]any)
	edited, _ := after.(map[string]any)
	for _, name := range kept {
		if !reflect.DeepEqual(old[name], edited[name]) {
			return e, nil, fmt.Errorf("an edit cannot change data.%s; have the sender send another event", name)
		}
	}
	data, err := json.Marshal(after)
	if err != nil {
		return e, nil, errors.New("the edit gives no JSON")
	}
	envelope := map[string]any{
		"specversion": "1.0", "id": e.ID, "source": e.Source, "type": string(e.Type), "time": e.Time.Format(time.RFC3339Nano),
		"datacontenttype": "application/json", "data": json.RawMessage(data),
	}
	for name, value := range map[string]string{"subject": e.Subject, "dataschema": e.DataSchema} {
		if value != "" {
			envelope[name] = value
		}
	}
	raw, err := json.Marshal(envelope)
	if err != nil {
		return e, nil, errors.New("the edit gives no JSON")
	}
	if _, err := d.Catalog.Parse(raw); err != nil {
		return e, nil, fmt.Errorf("after the edit the event is not valid: %s", err.Error())
	}
	e.Data = data
	return e, diff(flatten(before), flatten(after)), nil
}

// merge is MergePatch of RFC 7396 section 2. It leaves its arguments as they are.
func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		maps.Copy(out, t)
	}
	for name, value := range p {
		if value == nil {
			delete(out, name)
			continue
		}
		out[name] = merge(out[name], value)
	}
	return out
}

// flatten is every value of a tree by its JSON pointer.
func flatten(v any) map[string]string {
	out := map[string]string{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				walk(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), x)
			}
		case []any:
			for i, x := range v {
				walk(at+"/"+strconv.Itoa(i), x)
			}
		default:
			text, err := json.Marshal(v)
			if err != nil {
				text = []byte("?")
			}
			out[at] = string(text)
		}
	}
	walk("", v)
	return out
}

// diff is what differs, line by line.
func diff(before, after map[string]string) (lines []string) {
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, was := before[name]
		now, is := after[name]
		if was == is && old == now {
			continue
		}
		if was {
			lines = append(lines, "- "+name+": "+old)
		}
		if is {
			lines = append(lines, "+ "+name+": "+now)
		}
	}
	return lines
}
