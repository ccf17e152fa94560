package amqp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// Encodings are from AMQP 1.0 part 1, section 1.6.
func TestEncodings(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, tc := range map[string]struct {
		value any
		hex   string
	}{
		"null":           {nil, "40"},
		"true":           {true, "41"},
		"false":          {false, "42"},
		"ubyte":          {uint8(7), "5007"},
		"ushort":         {uint16(0x1234), "601234"},
		"uint zero":      {uint32(0), "43"},
		"uint small":     {uint32(255), "52ff"},
		"uint":           {uint32(256), "7000000100"},
		"ulong zero":     {uint64(0), "44"},
		"ulong small":    {uint64(16), "5310"},
		"ulong":          {uint64(1 << 32), "800000000100000000"},
		"byte":           {int8(-1), "51ff"},
		"short":          {int16(-2), "61fffe"},
		"int small":      {int32(-1), "54ff"},
		"int":            {int32(128), "7100000080"},
		"long small":     {int64(-128), "5580"},
		"long":           {int64(-129), "81ffffffffffffff7f"},
		"float":          {float32(1), "723f800000"},
		"double":         {1.0, "823ff0000000000000"},
		"char":           {amqp.Char('A'), "7300000041"},
		"timestamp":      {amqp.Timestamp(1), "830000000000000001"},
		"uuid":           {amqp.UUID{0: 1, 15: 2}, "9801000000000000000000000000000002"},
		"decimal32":      {amqp.Decimal32{1}, "7401000000"},
		"decimal64":      {amqp.Decimal64{1}, "840100000000000000"},
		"decimal128":     {amqp.Decimal128{1}, "9401000000000000000000000000000000"},
		"binary":         {[]byte{1, 2}, "a0020102"},
		"binary long":    {[]byte(long), "b000000100" + hex.EncodeToString([]byte(long))},
		"string":         {"hé", "a10368c3a9"},
		"string long":    {long, "b100000100" + hex.EncodeToString([]byte(long))},
		"symbol":         {amqp.Symbol("ab"), "a3026162"},
		"symbol long":    {amqp.Symbol(long), "b300000100" + hex.EncodeToString([]byte(long))},
		"empty list":     {amqp.List{}, "45"},
		"list":           {amqp.List{true, nil}, "c003024140"},
		"empty map":      {amqp.Map{}, "c10100"},
		"map":            {amqp.Map{{Key: "a", Value: uint32(1)}}, "c10602a101615201"},
		"described":      {amqp.Described{Descriptor: uint64(0x24), Value: amqp.List{}}, "00532445"},
		"array":          {amqp.Array{Code: amqp.CodeInt64, Items: []any{int64(1)}}, "f00000000d00000001810000000000000001"},
		"array of bool":  {amqp.Array{Code: amqp.CodeBool, Items: []any{true, false}}, "f00000000700000002560100"},
		"array of lists": {amqp.Array{Code: amqp.CodeList, Items: []any{amqp.List{true}}}, "f00000000e00000001d0000000050000000141"},
	} {
		t.Run(name, func(t *testing.T) {
			b := amqp.Append(nil, tc.value)
			if got := hex.EncodeToString(b); got != tc.hex {
				t.Errorf("encoded %.80s, want %.80s", got, tc.hex)
			}
			v, rest, err := amqp.Decode(append(b, 0xee))
			if err != nil || !bytes.Equal(rest, []byte{0xee}) {
				t.Fatalf("decode: %v, rest %x", err, rest)
			}
			if diff := cmp.Diff(tc.value, v); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWideLists(t *testing.T) {
	for _, n := range []int{0, 1, 254, 255, 256, 1000} {
		l, m := amqp.List{}, amqp.Map{}
		for i := range n {
			l = append(l, uint32(i))
			m = append(m, amqp.Entry{Key: uint32(i), Value: "v"})
		}
		for _, v := range []any{l, m} {
			got, rest, err := amqp.Decode(amqp.Append(nil, v))
			if err != nil || len(rest) != 0 {
				t.Fatalf("%d elements: %v", n, err)
			}
			if diff := cmp.Diff(v, got); diff != "" {
				t.Errorf("%d elements: %s", n, diff)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                     "",
		"unknown constructor":         "ff",
		"short ulong":                 "80000000",
		"binary longer than the rest": "b0ffffffff00",
		"string of bad UTF-8":         "a101ff",
		"symbol beyond ASCII":         "a302c3a9",
		"boolean of two":              "5602",
		"list count beyond its bytes": "d000000005ffffffff40",
		"list with bytes left over":   "c0030140" + "40",
		"list size beyond the rest":   "c0ff01",
		"map of odd count":            "c1020140",
		"array count beyond":          "f000000005ffffffff50",
		"array of empties beyond":     "e00a" + "ff" + "40" + "4040404040404040",
		"many nulls for no bytes":     "f0000000050000ffff40",
		"array without constructor":   "e00101",
		"descriptor without value":    "005324",
		"nested too deep":             strings.Repeat("c0ff01", 200),
		"described too deep":          strings.Repeat("00", 4000),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(in)
			if err != nil {
				t.Fatal(err)
			}
			if v, _, err := amqp.Decode(b); !errors.Is(err, amqp.ErrMalformed) {
				t.Errorf("decoded %v, err %v", v, err)
			}
		})
	}
}

// FuzzDecode: what can be decoded can be encoded, and then reads the same.
func FuzzDecode(f *testing.F) {
	for _, v := range []any{
		nil, uint64(300), "text", amqp.List{amqp.Symbol("s"), amqp.Map{{Key: "k", Value: []byte{1}}}},
		amqp.Array{Code: amqp.CodeSymbol, Items: []any{amqp.Symbol("a"), amqp.Symbol("b")}},
		amqp.Array{Code: amqp.CodeArray, Items: []any{amqp.Array{Code: amqp.CodeNull, Items: []any{nil, nil}}}},
		amqp.Array{Code: amqp.CodeString, Descriptor: uint64(9), Items: []any{"a"}},
		amqp.Described{Descriptor: amqp.Symbol("d"), Value: amqp.Described{Descriptor: nil, Value: 1.5}},
	} {
		f.Add(amqp.Append(nil, v))
	}
	f.Add([]byte{0xe0, 3, 2, 0x41, 0x43})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := amqp.Decode(b)
		if err != nil {
			return
		}
		once := amqp.Append(nil, v)
		again, rest, err := amqp.Decode(once)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%x became %x, which does not decode: %v", b, once, err)
		}
		if twice := amqp.Append(nil, again); !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x, then %x", b, once, twice)
		}
	})
}
