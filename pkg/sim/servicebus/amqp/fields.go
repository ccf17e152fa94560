package amqp

// Descriptor codes of the terminus types.
const (
	codeSource      = 0x28
	codeTarget      = 0x29
	codeCoordinator = 0x30
)

// sourceFilter is the index of the filter in a source.
const sourceFilter = 7

// symbolicDescriptor turns the long names that some clients use into the numbers.
func symbolicDescriptor(s Symbol) (uint64, bool) {
	switch s {
	case "amqp:open:list":
		return codeOpen, true
	case "amqp:begin:list":
		return codeBegin, true
	case "amqp:attach:list":
		return codeAttach, true
	case "amqp:flow:list":
		return codeFlow, true
	case "amqp:transfer:list":
		return codeTransfer, true
	case "amqp:disposition:list":
		return codeDisposition, true
	case "amqp:detach:list":
		return codeDetach, true
	case "amqp:end:list":
		return codeEnd, true
	case "amqp:close:list":
		return codeClose, true
	case "amqp:error:list":
		return codeError, true
	case "amqp:source:list":
		return codeSource, true
	case "amqp:target:list":
		return codeTarget, true
	case "amqp:coordinator:list":
		return codeCoordinator, true
	case "amqp:sasl-mechanisms:list":
		return codeSASLMechanisms, true
	case "amqp:sasl-init:list":
		return codeSASLInit, true
	case "amqp:sasl-outcome:list":
		return codeSASLOutcome, true
	case "amqp:received:list":
		return codeReceived, true
	case "amqp:accepted:list":
		return codeAccepted, true
	case "amqp:rejected:list":
		return codeRejected, true
	case "amqp:released:list":
		return codeReleased, true
	case "amqp:modified:list":
		return codeModified, true
	}
	return 0, false
}

func descriptorCode(v any) (uint64, bool) {
	switch d := v.(type) {
	case uint64:
		return d, true
	case Symbol:
		return symbolicDescriptor(d)
	}
	return 0, false
}

// composite takes a described list apart.
func composite(v any) (uint64, List, error) {
	d, ok := v.(Described)
	if !ok {
		return 0, nil, malformed("%T where a described list belongs", v)
	}
	code, ok := descriptorCode(d.Descriptor)
	if !ok {
		return 0, nil, malformed("unknown descriptor %v", d.Descriptor)
	}
	list, ok := d.Value.(List)
	if !ok {
		return 0, nil, malformed("descriptor 0x%02x on %T", code, d.Value)
	}
	return code, list, nil
}

// fields reads the fields of a composite by position. The first fault sticks in err.
type fields struct {
	list List
	err  error
}

func (f *fields) at(i int) any {
	if i < len(f.list) {
		return f.list[i]
	}
	return nil
}

func (f *fields) fail(i int) {
	if f.err == nil {
		f.err = malformed("field %d is %T", i, f.at(i))
	}
}

// field is the value at i, or nil when absent; another type than T is a fault.
func field[T any](f *fields, i int) *T {
	switch v := f.at(i).(type) {
	case nil:
		return nil
	case T:
		return &v
	default:
		f.fail(i)
		return nil
	}
}

func fieldOr[T any](f *fields, i int, absent T) T {
	if v := field[T](f, i); v != nil {
		return *v
	}
	return absent
}

func required[T any](f *fields, i int) (v T) {
	if p := field[T](f, i); p != nil {
		return *p
	}
	f.fail(i)
	return v
}

func (f *fields) bool(i int) bool                 { return fieldOr(f, i, false) }
func (f *fields) uint8(i int, absent uint8) uint8 { return fieldOr(f, i, absent) }
func (f *fields) uint64(i int) uint64             { return fieldOr(f, i, uint64(0)) }
func (f *fields) optionalUint16(i int) *uint16    { return field[uint16](f, i) }
func (f *fields) optionalUint32(i int) *uint32    { return field[uint32](f, i) }
func (f *fields) requiredUint32(i int) uint32     { return required[uint32](f, i) }
func (f *fields) binary(i int) []byte             { return fieldOr[[]byte](f, i, nil) }
func (f *fields) mapping(i int) Map               { return fieldOr[Map](f, i, nil) }

func (f *fields) uint16(i int, absent uint16) uint16 { return fieldOr(f, i, absent) }
func (f *fields) uint32(i int, absent uint32) uint32 { return fieldOr(f, i, absent) }

// text takes a string or a symbol; absent is "".
func (f *fields) text(i int) string {
	v := f.at(i)
	if v == nil {
		return ""
	}
	s, ok := Text(v)
	if !ok {
		f.fail(i)
	}
	return s
}

func (f *fields) requiredText(i int) string {
	if f.at(i) == nil {
		f.fail(i)
	}
	return f.text(i)
}

// symbols takes an array of symbols or a single one.
func (f *fields) symbols(i int) []Symbol {
	switch v := f.at(i).(type) {
	case nil:
	case Symbol:
		return []Symbol{v}
	case Array:
		var out []Symbol
		for _, item := range v.Items {
			s, ok := item.(Symbol)
			if !ok {
				f.fail(i)
				return nil
			}
			out = append(out, s)
		}
		return out
	default:
		f.fail(i)
	}
	return nil
}

func (f *fields) composite(i int) (uint64, List, bool) {
	if f.at(i) == nil {
		return 0, nil, false
	}
	code, list, err := composite(f.at(i))
	if err != nil {
		f.err = err
		return 0, nil, false
	}
	return code, list, true
}

func (f *fields) source(i int) *Source {
	code, list, ok := f.composite(i)
	if !ok {
		return nil
	}
	if code != codeSource {
		f.fail(i)
		return nil
	}
	in := fields{list: list}
	s := &Source{Address: in.text(0), Filter: in.mapping(sourceFilter), list: list}
	if in.err != nil {
		f.err = in.err
	}
	return s
}

func (f *fields) target(i int) *Target {
	code, list, ok := f.composite(i)
	if !ok {
		return nil
	}
	if code == codeCoordinator {
		return &Target{Coordinator: true, list: list}
	}
	if code != codeTarget {
		f.fail(i)
		return nil
	}
	in := fields{list: list}
	t := &Target{Address: in.text(0), list: list}
	if in.err != nil {
		f.err = in.err
	}
	return t
}

func (f *fields) error(i int) *Error {
	code, list, ok := f.composite(i)
	if !ok {
		return nil
	}
	if code != codeError {
		f.fail(i)
		return nil
	}
	in := fields{list: list}
	e := &Error{Condition: Symbol(in.requiredText(0)), Description: in.text(1), Info: in.mapping(2)}
	if in.err != nil {
		f.err = in.err
	}
	return e
}

func (s *Source) value() any {
	list := append(List{}, s.list...)
	for len(list) <= sourceFilter {
		list = append(list, nil)
	}
	list[0], list[sourceFilter] = text(s.Address), mapping(s.Filter)
	return Described{uint64(codeSource), trim(list)}
}

func (t *Target) value() any {
	if t.Coordinator {
		return Described{uint64(codeCoordinator), t.list}
	}
	list := append(List{}, t.list...)
	if len(list) == 0 {
		list = List{nil}
	}
	list[0] = text(t.Address)
	return Described{uint64(codeTarget), trim(list)}
}

// trim leaves out absent fields at the end.
func trim(list List) List {
	for len(list) > 0 && list[len(list)-1] == nil {
		list = list[:len(list)-1]
	}
	return list
}

// appendComposite writes a described list without the absent fields at its end.
func appendComposite(b []byte, code byte, list ...any) []byte {
	b = append(b, codeDescribed, codeSmallUlong, code)
	return Append(b, trim(list))
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func number[T uint32 | uint64](n T) any {
	if n == 0 {
		return nil
	}
	return n
}

func flag(b bool) any {
	if !b {
		return nil
	}
	return true
}

func mapping(m Map) any {
	if m == nil {
		return nil
	}
	return m
}

func optional[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
