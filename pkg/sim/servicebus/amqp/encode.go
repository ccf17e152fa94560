package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
)

var order = binary.BigEndian

// Append encodes v at the end of b in its shortest form. It panics on a Go type that
// is not an AMQP value, which only a mistake in the calling code can produce: whatever
// Decode returns can be encoded.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, CodeNull)
	case bool:
		if v {
			return append(b, codeTrue)
		}
		return append(b, codeFalse)
	case uint32:
		switch {
		case v == 0:
			return append(b, codeUint0)
		case v <= math.MaxUint8:
			return append(b, codeSmallUint, byte(v))
		}
	case uint64:
		switch {
		case v == 0:
			return append(b, codeUlong0)
		case v <= math.MaxUint8:
			return append(b, codeSmallUlong, byte(v))
		}
	case int32:
		if v >= math.MinInt8 && v <= math.MaxInt8 {
			return append(b, codeSmallInt, byte(v))
		}
	case int64:
		if v >= math.MinInt8 && v <= math.MaxInt8 {
			return append(b, codeSmallLong, byte(v))
		}
	case []byte:
		if len(v) <= math.MaxUint8 {
			return append(append(b, codeShortBinary, byte(len(v))), v...)
		}
	case string:
		if len(v) <= math.MaxUint8 {
			return append(append(b, codeShortString, byte(len(v))), v...)
		}
	case Symbol:
		if len(v) <= math.MaxUint8 {
			return append(append(b, codeShortSymbol, byte(len(v))), v...)
		}
	case List:
		if len(v) == 0 {
			return append(b, codeList0)
		}
		return appendShort(append(b, codeShortList), codeShortList, len(v), v)
	case Map:
		return appendShort(append(b, codeShortMap), codeShortMap, 2*len(v), v)
	case Described:
		return Append(Append(append(b, codeDescribed), v.Descriptor), v.Value)
	}
	code := codeOf(v)
	return appendPayload(append(b, code), code, v)
}

// appendShort encodes a list or map whose short constructor is already written, and
// widens it afterwards if it turns out to be too long for one.
func appendShort(b []byte, code byte, count int, v any) []byte {
	start := len(b)
	b = append(b, 0, 0)
	b = appendItems(b, v)
	size := len(b) - start - 1
	if size <= math.MaxUint8 && count <= math.MaxUint8 {
		b[start], b[start+1] = byte(size), byte(count)
		return b
	}
	b[start-1] = code + 0x10
	b = append(b, 0, 0, 0, 0, 0, 0)
	copy(b[start+8:], b[start+2:len(b)-6])
	order.PutUint32(b[start:], uint32(size-1+4))
	order.PutUint32(b[start+4:], uint32(count))
	return b
}

func appendItems(b []byte, v any) []byte {
	switch v := v.(type) {
	case List:
		for _, item := range v {
			b = Append(b, item)
		}
	case Map:
		for _, e := range v {
			b = Append(Append(b, e.Key), e.Value)
		}
	}
	return b
}

func codeOf(v any) byte {
	switch v.(type) {
	case nil:
		return CodeNull
	case bool:
		return CodeBool
	case uint8:
		return CodeUint8
	case uint16:
		return CodeUint16
	case uint32:
		return CodeUint32
	case uint64:
		return CodeUint64
	case int8:
		return CodeInt8
	case int16:
		return CodeInt16
	case int32:
		return CodeInt32
	case int64:
		return CodeInt64
	case float32:
		return CodeFloat32
	case float64:
		return CodeFloat64
	case Char:
		return CodeChar
	case Timestamp:
		return CodeTimestamp
	case UUID:
		return CodeUUID
	case Decimal32:
		return CodeDecimal32
	case Decimal64:
		return CodeDecimal64
	case Decimal128:
		return CodeDecimal128
	case []byte:
		return CodeBinary
	case string:
		return CodeString
	case Symbol:
		return CodeSymbol
	case List:
		return CodeList
	case Map:
		return CodeMap
	case Array:
		return CodeArray
	}
	panic(fmt.Sprintf("amqp: %T is not an AMQP value", v))
}

// appendPayload writes v as the widest constructor code wants it, without the
// constructor. Elements of an array are written this way.
func appendPayload(b []byte, code byte, v any) []byte {
	if got := codeOf(v); got != code {
		panic(fmt.Sprintf("amqp: %T in an array of constructor 0x%02x", v, code))
	}
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case uint8:
		return append(b, v)
	case int8:
		return append(b, byte(v))
	case uint16:
		return order.AppendUint16(b, v)
	case int16:
		return order.AppendUint16(b, uint16(v))
	case uint32:
		return order.AppendUint32(b, v)
	case int32:
		return order.AppendUint32(b, uint32(v))
	case uint64:
		return order.AppendUint64(b, v)
	case int64:
		return order.AppendUint64(b, uint64(v))
	case float32:
		return order.AppendUint32(b, math.Float32bits(v))
	case float64:
		return order.AppendUint64(b, math.Float64bits(v))
	case Char:
		return order.AppendUint32(b, uint32(v))
	case Timestamp:
		return order.AppendUint64(b, uint64(v))
	case UUID:
		return append(b, v[:]...)
	case Decimal32:
		return append(b, v[:]...)
	case Decimal64:
		return append(b, v[:]...)
	case Decimal128:
		return append(b, v[:]...)
	case []byte:
		return append(order.AppendUint32(b, uint32(len(v))), v...)
	case string:
		return append(order.AppendUint32(b, uint32(len(v))), v...)
	case Symbol:
		return append(order.AppendUint32(b, uint32(len(v))), v...)
	case List:
		return appendWide(b, len(v), func(b []byte) []byte { return appendItems(b, v) })
	case Map:
		return appendWide(b, 2*len(v), func(b []byte) []byte { return appendItems(b, v) })
	case Array:
		return appendWide(b, len(v.Items), func(b []byte) []byte {
			if v.Descriptor != nil {
				b = Append(append(b, codeDescribed), v.Descriptor)
			}
			b = append(b, v.Code)
			for _, item := range v.Items {
				b = appendPayload(b, v.Code, item)
			}
			return b
		})
	}
	return b // null has no payload
}

// appendWide writes four bytes of size, four of count, then the elements.
func appendWide(b []byte, count int, elements func([]byte) []byte) []byte {
	start := len(b)
	b = order.AppendUint32(append(b, 0, 0, 0, 0), uint32(count))
	b = elements(b)
	order.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
