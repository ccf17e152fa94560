package amqp

// BatchFormat is the message format of a transfer whose data sections are each one
// whole encoded message. Source: Service Bus AMQP protocol guide.
const BatchFormat = 0x80013700

// Descriptor codes of the message sections, in the order they must come.
const (
	sectionHeader                = 0x70
	sectionDeliveryAnnotations   = 0x71
	sectionMessageAnnotations    = 0x72
	sectionProperties            = 0x73
	sectionApplicationProperties = 0x74
	sectionData                  = 0x75
	sectionSequence              = 0x76
	sectionValue                 = 0x77
	sectionFooter                = 0x78
)

// Header is the first section of a message.
type Header struct {
	Durable  bool
	Priority *uint8
	// TTL is in milliseconds; nil means the message does not say.
	TTL           *uint32
	FirstAcquirer bool
	DeliveryCount uint32
}

// Properties are the fields of the properties section that a broker acts on.
type Properties struct {
	MessageID     any
	ReplyTo       string
	CorrelationID any
	GroupID       *string
}

// Message is one encoded message taken apart. The sections that a broker only passes on
// keep the bytes they came in, so that a receiver gets what the sender wrote.
type Message struct {
	Header                Header
	DeliveryAnnotations   Map
	Annotations           Map
	Properties            Properties
	ApplicationProperties Map
	// Data are the contents of the data sections; Value that of an amqp-value section.
	Data  [][]byte
	Value any

	propertyList List
	properties   []byte // section as received
	applications []byte // section as received, nil once SetApplicationProperties was called
	body         []byte // from the first data, sequence or value section to the end, as received
}

// DecodeMessage takes a whole message apart and checks every section of it. The result
// refers to parts of b, which must not change afterwards.
func DecodeMessage(b []byte) (*Message, error) {
	m := &Message{}
	last := uint64(0)
	for len(b) > 0 {
		v, rest, err := Decode(b)
		if err != nil {
			return nil, err
		}
		d, ok := v.(Described)
		if !ok {
			return nil, malformed("message section without descriptor")
		}
		code, ok := sectionCode(d.Descriptor)
		if !ok {
			return nil, malformed("unknown message section %v", d.Descriptor)
		}
		repeats := code == last && (code == sectionData || code == sectionSequence)
		twoBodies := code != last && last >= sectionData && code < sectionFooter
		if code <= last && !repeats || twoBodies {
			return nil, malformed("message section 0x%02x after 0x%02x", code, last)
		}
		if err := m.section(code, d.Value, b[:len(b)-len(rest)]); err != nil {
			return nil, err
		}
		if code >= sectionData && m.body == nil {
			m.body = b
		}
		last, b = code, rest
	}
	return m, nil
}

func sectionCode(v any) (uint64, bool) {
	switch d := v.(type) {
	case uint64:
		return d, d >= sectionHeader && d <= sectionFooter
	case Symbol:
		switch d {
		case "amqp:header:list":
			return sectionHeader, true
		case "amqp:delivery-annotations:map":
			return sectionDeliveryAnnotations, true
		case "amqp:message-annotations:map":
			return sectionMessageAnnotations, true
		case "amqp:properties:list":
			return sectionProperties, true
		case "amqp:application-properties:map":
			return sectionApplicationProperties, true
		case "amqp:data:binary":
			return sectionData, true
		case "amqp:amqp-sequence:list":
			return sectionSequence, true
		case "amqp:amqp-value:*":
			return sectionValue, true
		case "amqp:footer:map":
			return sectionFooter, true
		}
	}
	return 0, false
}

func (m *Message) section(code uint64, v any, raw []byte) error {
	ok := true
	switch code {
	case sectionHeader:
		var list List
		if list, ok = v.(List); ok {
			f := fields{list: list}
			m.Header = Header{
				Durable: f.bool(0), Priority: field[uint8](&f, 1), TTL: f.optionalUint32(2),
				FirstAcquirer: f.bool(3), DeliveryCount: f.uint32(4, 0),
			}
			if f.err != nil {
				return f.err
			}
		}
	case sectionDeliveryAnnotations:
		m.DeliveryAnnotations, ok = v.(Map)
	case sectionMessageAnnotations:
		m.Annotations, ok = v.(Map)
	case sectionProperties:
		m.properties = raw
		if m.propertyList, ok = v.(List); ok {
			return m.readProperties()
		}
	case sectionApplicationProperties:
		m.applications = raw
		if m.ApplicationProperties, ok = v.(Map); ok {
			for _, e := range m.ApplicationProperties {
				if _, isString := e.Key.(string); !isString {
					return malformed("application property named by %T", e.Key)
				}
			}
		}
	case sectionData:
		var data []byte
		if data, ok = v.([]byte); ok {
			m.Data = append(m.Data, data)
		}
	case sectionSequence:
		_, ok = v.(List)
	case sectionValue:
		m.Value = v
	case sectionFooter:
		_, ok = v.(Map)
	}
	if !ok {
		return malformed("message section 0x%02x of %T", code, v)
	}
	return nil
}

const (
	propertyMessageID     = 0
	propertyReplyTo       = 4
	propertyCorrelationID = 5
	propertyGroupID       = 10
)

func (m *Message) readProperties() error {
	f := fields{list: m.propertyList}
	m.Properties = Properties{
		MessageID: f.at(propertyMessageID), ReplyTo: f.text(propertyReplyTo),
		CorrelationID: f.at(propertyCorrelationID), GroupID: field[string](&f, propertyGroupID),
	}
	switch m.Properties.MessageID.(type) {
	case nil, string, uint64, UUID, []byte:
		return f.err
	}
	return malformed("message id is %T", m.Properties.MessageID)
}

// SetMessageID replaces the message id, adding a properties section if there is none.
func (m *Message) SetMessageID(id string) {
	if len(m.propertyList) == 0 {
		m.propertyList = List{nil}
	}
	m.propertyList[propertyMessageID] = id
	m.Properties.MessageID = id
	m.properties = appendComposite(nil, sectionProperties, m.propertyList...)
}

// SetApplicationProperties replaces the application-properties section.
func (m *Message) SetApplicationProperties(p Map) {
	m.ApplicationProperties = p
	m.applications = nil
}

// Append encodes the message at the end of b. The delivery count is written even if it
// is 0, as Service Bus does: some clients show nothing rather than the default.
func (m *Message) Append(b []byte) []byte {
	h := m.Header
	b = appendComposite(b, sectionHeader, h.Durable, optional(h.Priority), optional(h.TTL), flag(h.FirstAcquirer), h.DeliveryCount)
	b = appendMap(b, sectionDeliveryAnnotations, m.DeliveryAnnotations)
	b = appendMap(b, sectionMessageAnnotations, m.Annotations)
	b = append(b, m.properties...)
	if m.applications != nil {
		b = append(b, m.applications...)
	} else {
		b = appendMap(b, sectionApplicationProperties, m.ApplicationProperties)
	}
	return append(b, m.body...)
}

func appendMap(b []byte, code byte, m Map) []byte {
	if m == nil {
		return b
	}
	return Append(append(b, codeDescribed, codeSmallUlong, code), m)
}

// Reply is the answer of a request/response node.
type Reply struct {
	CorrelationID         any
	ApplicationProperties Map
	Value                 any
}

// Append encodes the reply at the end of b.
func (r *Reply) Append(b []byte) []byte {
	b = appendComposite(b, sectionProperties, nil, nil, nil, nil, nil, r.CorrelationID)
	b = appendMap(b, sectionApplicationProperties, r.ApplicationProperties)
	return Append(append(b, codeDescribed, codeSmallUlong, sectionValue), r.Value)
}
