package operate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/plan"
)

// The examples of RFC 7396, appendix A.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var target, patch, want any
		for i, v := range []*any{&target, &patch, &want} {
			if err := json.Unmarshal([]byte(c[i]), v); err != nil {
				t.Fatal(err)
			}
		}
		before := fmt.Sprint(target)
		if got := merge(target, patch); !reflect.DeepEqual(got, want) || fmt.Sprint(target) != before {
			t.Errorf("%s with %s: %v, want %s; the target is %v", c[0], c[1], got, c[2], target)
		}
	}
}

func TestDiff(t *testing.T) {
	got := diff(map[string]string{"/a": "1", "/b": "2", "/c": "3"}, map[string]string{"/a": "1", "/b": "4", "/d": "5"})
	if want := "- /b: 2|+ /b: 4|- /c: 3|+ /d: 5"; strings.Join(got, "|") != want {
		t.Errorf("got %v", got)
	}
}

// Whatever is masked keeps its structure and shows no value that is not in the list.
func FuzzBody(f *testing.F) {
	f.Add(`{"specversion":"1.0","data":{"person":{"employeeId":"E1","n":17,"ok":true,"none":null},"startDate":"2026-11-30"},"subject":"E1"}`)
	f.Add(`["a",{"KEY":"b"},[1.5e3]]`)
	f.Add(`{"a":"b"} trailing`)
	f.Add(`employee=x`)
	f.Add(`"0"}`)
	f.Add(strings.Repeat("[", 300))
	f.Fuzz(func(t *testing.T, raw string) {
		if body([]byte(raw), true) != raw {
			t.Error("what is asked for is not shown as it is")
		}
		text := body([]byte(raw), false)
		var was, is any
		if json.Unmarshal([]byte(text), &is) != nil {
			if text != "" && !strings.Contains(text, "no JSON") {
				t.Fatalf("%q", text)
			}
			return
		}
		if json.Unmarshal([]byte(raw), &was) != nil {
			t.Fatalf("%q is shown as %q", raw, text)
		}
		hidden(t, was, is, false)
	})
}

func hidden(t *testing.T, was, is any, show bool) {
	t.Helper()
	switch is := is.(type) {
	case map[string]any:
		for name, v := range is {
			hidden(t, was.(map[string]any)[name], v, shown[strings.ToLower(name)])
		}
	case []any:
		for i, v := range is {
			hidden(t, was.([]any)[i], v, false)
		}
	case string, float64:
		if is != masked && !show {
			t.Errorf("%v is shown", is)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("lanes:17")
	f.Add(":")
	f.Add("quarantine:-1")
	f.Fuzz(func(t *testing.T, s string) {
		p, from, err := parseCursor(s)
		if err == nil && s != "" && (p == "" || from < 0 || !strings.HasPrefix(s, string(p)+":")) {
			t.Errorf("%q is %s %d", s, p, from)
		}
	})
}

// Every setting that a plan depends on changes the digest of the settings.
func TestSettingsDigest(t *testing.T) {
	berlin, err := event.ParseTimeZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	take := func(name string, s plan.Settings, scopes map[string]event.Scope, reportOnly bool) {
		d := SettingsDigest(s, scopes, reportOnly)
		if other, taken := seen[d]; taken {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
	take("none", plan.Settings{}, nil, false)
	take("report only", plan.Settings{}, nil, true)
	take("scopes", plan.Settings{}, map[string]event.Scope{"hr": {"employee.*"}}, false)
	take("utc", plan.Settings{DefaultZone: time.UTC}, nil, false)
	take("berlin", plan.Settings{DefaultZone: berlin}, nil, false)
	v := reflect.TypeFor[plan.Settings]()
	for i := range v.NumField() {
		var s plan.Settings
		switch f := reflect.ValueOf(&s).Elem().Field(i); f.Kind() {
		case reflect.Int, reflect.Int64:
			f.SetInt(7)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			f.SetString("x")
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		default:
			continue // the zone
		}
		take(v.Field(i).Name, s, nil, false)
	}
}

func TestReplayIDFits(t *testing.T) {
	id := ID{Quarantine, 1 << 62}
	short, long := replayID(id, "hr:m1"), replayID(id, strings.Repeat("k", 200))
	if short != "hr:m1~rquarantine.4611686018427387904" || len(long) > maxID {
		t.Errorf("%s, %s", short, long)
	}
	if replayID(id, strings.Repeat("k", 201)) == long {
		t.Error("two keys have one id")
	}
}
