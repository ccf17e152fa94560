package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/strictjson"
)

func TestDecode(t *testing.T) {
	nested := strings.Repeat(`[`, strictjson.MaxDepth) + strings.Repeat(`]`, strictjson.MaxDepth)
	for _, tt := range []struct {
		name, text string
		want       any
	}{
		{"object", ` {"a" : [1, true ,false,null,"x"] , "b":{}} `,
			map[string]any{"a": []any{json.Number("1"), true, false, nil, "x"}, "b": map[string]any{}}},
		{"keeps every digit", `3332883854254932743`, json.Number("3332883854254932743")},
		{"escapes", `"a\"\\\u00e9\ud83d\ude00"`, `a"\é😀`},
		{"escaped backslash before u", `"\\ud800"`, `\ud800`},
		{"same key in different objects", `[{"a":1},{"a":{"a":2}}]`,
			[]any{map[string]any{"a": json.Number("1")}, map[string]any{"a": map[string]any{"a": json.Number("2")}}}},
		{"replacement character written out", `"` + "\uFFFD" + `"`, "\uFFFD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := strictjson.Decode([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("deepest", func(t *testing.T) {
		if err := strictjson.Check([]byte(nested)); err != nil {
			t.Error(err)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	tooDeep := strings.Repeat(`{"a":`, strictjson.MaxDepth+1) + `1` + strings.Repeat(`}`, strictjson.MaxDepth+1)
	for _, tt := range []struct {
		name, text string
		rule       error
		offset     int
	}{
		{"empty", ``, strictjson.ErrSyntax, 0},
		{"white space", "  \n", strictjson.ErrSyntax, 3},
		{"cut off", `{"a":"secret`, strictjson.ErrSyntax, 12},
		{"two values", `{} {}`, strictjson.ErrSyntax, 4},
		{"trailing comma", `[1,]`, strictjson.ErrSyntax, 4},
		{"comment", `{/* */}`, strictjson.ErrSyntax, 2},
		{"single quotes", `{'a':1}`, strictjson.ErrSyntax, 2},
		{"leading zero", `01`, strictjson.ErrSyntax, 2},
		{"NaN", `NaN`, strictjson.ErrSyntax, 1},
		{"control character", "\"a\nb\"", strictjson.ErrSyntax, 3},
		{"byte order mark", "\uFEFF{}", strictjson.ErrByteOrderMark, 0},
		{"UTF-16", "{\x00\"\x00a\xff", strictjson.ErrEncoding, 5},
		{"Latin-1", "{\"a\":\"caf\xe9\"}", strictjson.ErrEncoding, 9},
		{"encoded surrogate", "\"\xed\xa0\x80\"", strictjson.ErrEncoding, 1},
		{"high surrogate alone", `"ab\ud83d"`, strictjson.ErrEncoding, 3},
		{"low surrogate alone", `"\ude00\ud83d"`, strictjson.ErrEncoding, 1},
		{"high surrogate before text", `"\ud83dx"`, strictjson.ErrEncoding, 1},
		{"surrogate in a key", `{"\ud83d":1}`, strictjson.ErrEncoding, 2},
		{"duplicate key", `{"a":1, "a":2}`, strictjson.ErrDuplicateKey, 8},
		{"duplicate key in depth", `{"x":[{"a":1,"b":1,"a":1}]}`, strictjson.ErrDuplicateKey, 19},
		{"duplicate key by escape", `{"a":1,"\u0061":2}`, strictjson.ErrDuplicateKey, 7},
		{"too deep", tooDeep, strictjson.ErrTooDeep, 5 * strictjson.MaxDepth},
		{"number too big", `{"a":1e999}`, strictjson.ErrNumber, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := strictjson.Decode([]byte(tt.text))
			if !errors.Is(err, tt.rule) {
				t.Fatalf("got %v, want %v", err, tt.rule)
			}
			broken, ok := errors.AsType[*strictjson.Error](err)
			if !ok {
				t.Fatalf("%T is no *strictjson.Error", err)
			}
			if broken.Offset != tt.offset {
				t.Errorf("offset %d, want %d", broken.Offset, tt.offset)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes the text: %v", err)
			}
		})
	}
}

// An accepted text reads the same in encoding/json, and no object in it has a
// key twice.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0.5e3,true,null,"\u00e9\n"],"b":{"a":""}}`, `{"a":1,"a":2}`, `"\ud83d\ude00"`, `"\ud83d"`,
		`[[[[]]]]`, "\uFEFF1", `1e999`, `{"a":1}{}`, "\"\xff\"", ` 0 `, `"\\"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := strictjson.Decode(raw)
		if err != nil {
			if _, ok := errors.AsType[*strictjson.Error](err); !ok {
				t.Fatalf("%T is no *strictjson.Error", err)
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("accepted, but encoding/json says: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if pairs, keys := countPairs(t, raw), countKeys(got); pairs != keys {
			t.Fatalf("%d name/value pairs became %d keys", pairs, keys)
		}
	})
}

// countPairs counts names with the token reader, which does not merge them.
func countPairs(t *testing.T, raw []byte) int {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	pairs := 0
	var value func()
	next := func() json.Token {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	value = func() {
		switch next() {
		case json.Delim('{'):
			for dec.More() {
				next()
				pairs++
				value()
			}
			next()
		case json.Delim('['):
			for dec.More() {
				value()
			}
			next()
		}
	}
	value()
	return pairs
}

func countKeys(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, e := range v {
			n += countKeys(e)
		}
	case []any:
		for _, e := range v {
			n += countKeys(e)
		}
	}
	return n
}
