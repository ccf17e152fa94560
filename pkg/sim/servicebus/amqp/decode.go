package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// MaxDepth is how deep values may nest. Service Bus messages nest two or three deep;
// the bound keeps a hostile peer from growing the stack.
const MaxDepth = 32

// maxEmptyItems bounds, over one call of Decode, the array elements that take no bytes:
// for them the count alone decides how much memory is needed.
const maxEmptyItems = 1024

// ErrMalformed is wrapped by every decoding error.
var ErrMalformed = errors.New("malformed AMQP data")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Decode reads one value from the front of b and returns what follows it. Strings are
// copied; a []byte in the result is a part of b.
func Decode(b []byte) (v any, rest []byte, err error) {
	d := decoder{buf: b, empties: new(maxEmptyItems)}
	v, err = d.value(0)
	return v, d.buf, err
}

type decoder struct {
	buf     []byte
	empties *int // elements without bytes that may still follow
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.buf) {
		return nil, malformed("%d bytes wanted, %d left", n, len(d.buf))
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b, nil
}

func (d *decoder) byte() (byte, error) {
	b, err := d.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (d *decoder) value(depth int) (any, error) {
	code, err := d.byte()
	if err != nil {
		return nil, err
	}
	if code != codeDescribed {
		return d.payload(code, depth)
	}
	if depth >= MaxDepth {
		return nil, malformed("nested deeper than %d", MaxDepth)
	}
	descriptor, err := d.value(depth + 1)
	if err != nil {
		return nil, err
	}
	v, err := d.value(depth + 1)
	if err != nil {
		return nil, err
	}
	return Described{descriptor, v}, nil
}

// payload reads what follows the constructor code.
func (d *decoder) payload(code byte, depth int) (any, error) {
	switch code >> 4 {
	case 0x4:
		return empty(code)
	case 0xa, 0xb:
		return d.variable(code)
	case 0xc, 0xd, 0xe, 0xf:
		return d.compound(code, depth)
	}
	width := fixedWidth(code)
	if width == 0 {
		return nil, malformed("unknown constructor 0x%02x", code)
	}
	b, err := d.take(width)
	if err != nil {
		return nil, err
	}
	switch code {
	case CodeBool:
		if b[0] > 1 {
			return nil, malformed("boolean of value %d", b[0])
		}
		return b[0] == 1, nil
	case CodeUint8:
		return b[0], nil
	case CodeInt8:
		return int8(b[0]), nil
	case codeSmallUint:
		return uint32(b[0]), nil
	case codeSmallUlong:
		return uint64(b[0]), nil
	case codeSmallInt:
		return int32(int8(b[0])), nil
	case codeSmallLong:
		return int64(int8(b[0])), nil
	case CodeUint16:
		return binary.BigEndian.Uint16(b), nil
	case CodeInt16:
		return int16(binary.BigEndian.Uint16(b)), nil
	case CodeUint32:
		return binary.BigEndian.Uint32(b), nil
	case CodeInt32:
		return int32(binary.BigEndian.Uint32(b)), nil
	case CodeFloat32:
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case CodeChar:
		return Char(binary.BigEndian.Uint32(b)), nil
	case CodeDecimal32:
		return Decimal32(b), nil
	case CodeUint64:
		return binary.BigEndian.Uint64(b), nil
	case CodeInt64:
		return int64(binary.BigEndian.Uint64(b)), nil
	case CodeFloat64:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case CodeTimestamp:
		return Timestamp(binary.BigEndian.Uint64(b)), nil
	case CodeDecimal64:
		return Decimal64(b), nil
	case CodeDecimal128:
		return Decimal128(b), nil
	default: // CodeUUID, the last code fixedWidth knows
		return UUID(b), nil
	}
}

func fixedWidth(code byte) int {
	switch code {
	case CodeBool, CodeUint8, CodeInt8, codeSmallUint, codeSmallUlong, codeSmallInt, codeSmallLong:
		return 1
	case CodeUint16, CodeInt16:
		return 2
	case CodeUint32, CodeInt32, CodeFloat32, CodeChar, CodeDecimal32:
		return 4
	case CodeUint64, CodeInt64, CodeFloat64, CodeTimestamp, CodeDecimal64:
		return 8
	case CodeDecimal128, CodeUUID:
		return 16
	}
	return 0
}

func empty(code byte) (any, error) {
	switch code {
	case CodeNull:
		return nil, nil
	case codeTrue:
		return true, nil
	case codeFalse:
		return false, nil
	case codeUint0:
		return uint32(0), nil
	case codeUlong0:
		return uint64(0), nil
	case codeList0:
		return List{}, nil
	}
	return nil, malformed("unknown constructor 0x%02x", code)
}

// size reads a one- or four-byte length or count.
func (d *decoder) size(wide bool) (int, error) {
	if !wide {
		b, err := d.byte()
		return int(b), err
	}
	b, err := d.take(4)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(b)
	if n > math.MaxInt32 {
		return 0, malformed("size %d", n)
	}
	return int(n), nil
}

func (d *decoder) variable(code byte) (any, error) {
	n, err := d.size(code >= 0xb0)
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	switch code {
	case codeShortBinary, CodeBinary:
		return b, nil
	case codeShortString, CodeString:
		if !utf8.Valid(b) {
			return nil, malformed("string is not UTF-8")
		}
		return string(b), nil
	case codeShortSymbol, CodeSymbol:
		for _, c := range b {
			if c >= utf8.RuneSelf {
				return nil, malformed("symbol is not ASCII")
			}
		}
		return Symbol(b), nil
	}
	return nil, malformed("unknown constructor 0x%02x", code)
}

// compound reads a list, map or array: size, count, elements. The size must be used up
// exactly, and no count can ask for more elements than there are bytes.
func (d *decoder) compound(code byte, depth int) (any, error) {
	if depth >= MaxDepth {
		return nil, malformed("nested deeper than %d", MaxDepth)
	}
	wide := code >= 0xd0 && code < 0xe0 || code >= 0xf0
	n, err := d.size(wide)
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	if err != nil {
		return nil, err
	}
	in := decoder{buf: b, empties: d.empties}
	count, err := in.size(wide)
	if err != nil {
		return nil, err
	}
	var v any
	switch code {
	case codeShortList, CodeList:
		v, err = in.list(count, depth)
	case codeShortMap, CodeMap:
		v, err = in.mapping(count, depth)
	case codeShortArray, CodeArray:
		v, err = in.array(count, depth)
	default:
		return nil, malformed("unknown constructor 0x%02x", code)
	}
	if err != nil {
		return nil, err
	}
	if len(in.buf) > 0 {
		return nil, malformed("%d bytes after the last element", len(in.buf))
	}
	return v, nil
}

func (d *decoder) list(count, depth int) (List, error) {
	if count > len(d.buf) {
		return nil, malformed("list of %d in %d bytes", count, len(d.buf))
	}
	l := make(List, count)
	for i := range l {
		var err error
		if l[i], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (d *decoder) mapping(count, depth int) (Map, error) {
	if count%2 != 0 || count > len(d.buf) {
		return nil, malformed("map of %d in %d bytes", count, len(d.buf))
	}
	m := make(Map, count/2)
	for i := range m {
		var err error
		if m[i].Key, err = d.value(depth + 1); err != nil {
			return nil, err
		}
		if m[i].Value, err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (d *decoder) array(count, depth int) (Array, error) {
	var a Array
	code, err := d.byte()
	if err != nil {
		return a, err
	}
	if code == codeDescribed {
		if a.Descriptor, err = d.value(depth + 1); err != nil {
			return a, err
		}
		if code, err = d.byte(); err != nil {
			return a, err
		}
		if a.Descriptor == nil || code == codeDescribed {
			return a, malformed("array of values described by null or twice")
		}
	}
	limit := len(d.buf)
	if code>>4 == 0x4 {
		limit = *d.empties
		*d.empties -= count
	}
	if count > limit {
		return a, malformed("array of %d in %d bytes", count, len(d.buf))
	}
	if a.Code, err = widest(code); err != nil {
		return a, err
	}
	a.Items = make([]any, count)
	for i := range a.Items {
		if a.Items[i], err = d.payload(code, depth+1); err != nil {
			return a, err
		}
	}
	return a, nil
}

func widest(code byte) (byte, error) {
	switch code {
	case codeTrue, codeFalse:
		return CodeBool, nil
	case codeUint0, codeSmallUint:
		return CodeUint32, nil
	case codeUlong0, codeSmallUlong:
		return CodeUint64, nil
	case codeSmallInt:
		return CodeInt32, nil
	case codeSmallLong:
		return CodeInt64, nil
	case codeShortBinary, codeShortString, codeShortSymbol:
		return code + 0x10, nil
	case codeList0, codeShortList:
		return CodeList, nil
	case codeShortMap, codeShortArray:
		return code + 0x10, nil
	case CodeNull, CodeBinary, CodeString, CodeSymbol, CodeList, CodeMap, CodeArray:
		return code, nil
	}
	if fixedWidth(code) == 0 {
		return 0, malformed("unknown constructor 0x%02x", code)
	}
	return code, nil
}
