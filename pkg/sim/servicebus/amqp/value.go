// Package amqp is the AMQP 1.0 wire format as a server needs it: values, frames,
// performatives and message sections, each both ways. It holds no connection state
// and knows nothing of Service Bus. Everything it decodes it can encode again
// unchanged, and what it reads from a peer is bounded in depth and in memory.
//
// Source: OASIS AMQP 1.0, parts 1 to 3 (types, transport, messaging) and 5 (SASL).
package amqp

import (
	"math"
	"time"
)

// A value is one of: nil, bool, uint8, uint16, uint32, uint64, int8, int16, int32,
// int64, float32, float64, string, []byte, or one of the types below. Go's int is not
// one of them: on the wire the width of a number is part of its type.
type (
	// Symbol is a string from a constrained domain, such as an error condition.
	Symbol string
	// Timestamp counts milliseconds since the Unix epoch.
	Timestamp int64
	// UUID is a universally unique id in RFC 4122 byte order.
	UUID [16]byte
	// Char is one UTF-32 code unit, kept as received.
	Char uint32
	// Decimal32 is an IEEE 754 decimal, kept as received.
	Decimal32 [4]byte
	// Decimal64 is an IEEE 754 decimal, kept as received.
	Decimal64 [8]byte
	// Decimal128 is an IEEE 754 decimal, kept as received.
	Decimal128 [16]byte
	// List is a sequence of values of any types.
	List []any
	// Map is a map in the order of the wire; keys may be of any type.
	Map []Entry
)

// Entry is one key and value of a Map.
type Entry struct{ Key, Value any }

// Described is a value with a descriptor that says what it means.
type Described struct{ Descriptor, Value any }

// Array is a sequence of values of one type. Code is the widest constructor of that
// type, one of the Code constants; Descriptor is nil unless the elements are described.
type Array struct {
	Code       byte
	Descriptor any
	Items      []any
}

// The widest constructor of each type, as Array.Code wants it.
const (
	CodeNull       = 0x40
	CodeBool       = 0x56
	CodeUint8      = 0x50
	CodeUint16     = 0x60
	CodeUint32     = 0x70
	CodeUint64     = 0x80
	CodeInt8       = 0x51
	CodeInt16      = 0x61
	CodeInt32      = 0x71
	CodeInt64      = 0x81
	CodeFloat32    = 0x72
	CodeFloat64    = 0x82
	CodeDecimal32  = 0x74
	CodeDecimal64  = 0x84
	CodeDecimal128 = 0x94
	CodeChar       = 0x73
	CodeTimestamp  = 0x83
	CodeUUID       = 0x98
	CodeBinary     = 0xb0
	CodeString     = 0xb1
	CodeSymbol     = 0xb3
	CodeList       = 0xd0
	CodeMap        = 0xd1
	CodeArray      = 0xf0
)

// The constructors that only exist as a shorter form of one above.
const (
	codeDescribed   = 0x00
	codeTrue        = 0x41
	codeFalse       = 0x42
	codeUint0       = 0x43
	codeUlong0      = 0x44
	codeList0       = 0x45
	codeSmallUint   = 0x52
	codeSmallUlong  = 0x53
	codeSmallInt    = 0x54
	codeSmallLong   = 0x55
	codeShortBinary = 0xa0
	codeShortString = 0xa1
	codeShortSymbol = 0xa3
	codeShortList   = 0xc0
	codeShortMap    = 0xc1
	codeShortArray  = 0xe0
)

// TimestampOf converts t, cutting it to milliseconds.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMilli()) }

// Time converts back, in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// Get is the value of the first entry whose key is the string or symbol key.
func (m Map) Get(key string) (any, bool) {
	for _, e := range m {
		if keyString(e.Key) == key && isText(e.Key) {
			return e.Value, true
		}
	}
	return nil, false
}

// Set replaces the value of key, or adds it as a string key at the end.
func (m Map) Set(key string, value any) Map {
	for i, e := range m {
		if isText(e.Key) && keyString(e.Key) == key {
			m[i].Value = value
			return m
		}
	}
	return append(m, Entry{key, value})
}

// String is the value of key if it is a string or symbol.
func (m Map) String(key string) (string, bool) {
	v, _ := m.Get(key)
	return Text(v)
}

// Text is v as a Go string if it is a string or a symbol: clients differ in which
// of the two they send.
func Text(v any) (string, bool) {
	return keyString(v), isText(v)
}

func isText(v any) bool {
	switch v.(type) {
	case string, Symbol:
		return true
	}
	return false
}

func keyString(v any) string {
	switch s := v.(type) {
	case string:
		return s
	case Symbol:
		return string(s)
	}
	return ""
}

// Integer is v as an int64 if it is an integer of any width that fits.
func Integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int8:
		return int64(n), true
	case int16:
		return int64(n), true
	case int32:
		return int64(n), true
	case int64:
		return n, true
	case uint8:
		return int64(n), true
	case uint16:
		return int64(n), true
	case uint32:
		return int64(n), true
	case uint64:
		return int64(n), n <= math.MaxInt64
	}
	return 0, false
}
