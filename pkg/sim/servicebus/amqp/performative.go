package amqp

import "fmt"

// Performative is the body of a frame.
type Performative interface {
	append(b []byte) []byte
}

// Descriptor codes of the performatives and SASL bodies.
const (
	codeOpen           = 0x10
	codeBegin          = 0x11
	codeAttach         = 0x12
	codeFlow           = 0x13
	codeTransfer       = 0x14
	codeDisposition    = 0x15
	codeDetach         = 0x16
	codeEnd            = 0x17
	codeClose          = 0x18
	codeError          = 0x1d
	codeSASLMechanisms = 0x40
	codeSASLInit       = 0x41
	codeSASLOutcome    = 0x44
)

// Open starts a connection. Zero sizes mean the field was absent.
type Open struct {
	ContainerID  string
	Hostname     string
	MaxFrameSize uint32
	ChannelMax   uint16
	// IdleTimeout is in milliseconds: the peer closes after that long without a frame.
	IdleTimeout uint32
	Properties  Map
}

// Begin starts a session. RemoteChannel is nil in the first begin of the two.
type Begin struct {
	RemoteChannel  *uint16
	NextOutgoingID uint32
	IncomingWindow uint32
	OutgoingWindow uint32
	HandleMax      uint32
	Properties     Map
}

// Source is where messages come from.
type Source struct {
	Address string
	Filter  Map
	// list is the source as received; an answer echoes the fields nobody reads.
	list List
}

// Target is where messages go. Coordinator is true for a transaction coordinator,
// which has no address.
type Target struct {
	Address     string
	Coordinator bool
	list        List
}

// Settlement modes of an attach.
const (
	SenderUnsettled = 0
	SenderSettled   = 1
	SenderMixed     = 2
	ReceiverFirst   = 0
	ReceiverSecond  = 1
)

// Roles of an attach, flow or disposition.
const (
	RoleSender   = false
	RoleReceiver = true
)

// Attach starts a link. A nil Source or Target refuses it.
type Attach struct {
	Name                 string
	Handle               uint32
	Role                 bool
	SenderSettleMode     uint8
	ReceiverSettleMode   uint8
	Source               *Source
	Target               *Target
	InitialDeliveryCount *uint32
	MaxMessageSize       uint64
	Properties           Map
}

// Flow updates the windows of a session and, with a Handle, the credit of a link.
type Flow struct {
	NextIncomingID *uint32
	IncomingWindow uint32
	NextOutgoingID uint32
	OutgoingWindow uint32
	Handle         *uint32
	DeliveryCount  *uint32
	LinkCredit     *uint32
	Drain          bool
	Echo           bool
}

// Transfer carries a message or a part of one. The three pointers are nil on all frames
// of a message but the first.
type Transfer struct {
	Handle        uint32
	DeliveryID    *uint32
	DeliveryTag   []byte
	MessageFormat *uint32
	Settled       bool
	More          bool
	Aborted       bool
}

// Disposition reports the state of deliveries First to Last.
type Disposition struct {
	Role    bool
	First   uint32
	Last    uint32
	Settled bool
	State   DeliveryState
}

// Detach ends a link, for good when Closed.
type Detach struct {
	Handle uint32
	Closed bool
	Error  *Error
}

// End ends a session.
type End struct{ Error *Error }

// Close ends a connection.
type Close struct{ Error *Error }

// Error says what went wrong.
type Error struct {
	Condition   Symbol
	Description string
	Info        Map
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Condition, e.Description) }

// SASLMechanisms is what the server offers.
type SASLMechanisms struct{ Mechanisms []Symbol }

// SASLInit is what the client chose.
type SASLInit struct {
	Mechanism       Symbol
	InitialResponse []byte
}

// SASLOutcome is the verdict of the server.
type SASLOutcome struct{ Code uint8 }

// Outcome codes.
const (
	SASLOK   = 0
	SASLAuth = 1
)

// DecodePerformative reads the performative at the front of a frame body and returns
// the payload after it. Strings are copied; byte slices are parts of body.
func DecodePerformative(body []byte) (p Performative, payload []byte, err error) {
	v, payload, err := Decode(body)
	if err != nil {
		return nil, nil, err
	}
	d, ok := v.(Described)
	if !ok {
		return nil, nil, malformed("frame body is not a performative")
	}
	code, list, err := composite(d)
	if err != nil {
		return nil, nil, err
	}
	f := fields{list: list}
	switch code {
	case codeOpen:
		p = &Open{
			ContainerID: f.requiredText(0), Hostname: f.text(1), MaxFrameSize: f.uint32(2, 0),
			ChannelMax: f.uint16(3, 0xffff), IdleTimeout: f.uint32(4, 0), Properties: f.mapping(9),
		}
	case codeBegin:
		p = &Begin{
			RemoteChannel: f.optionalUint16(0), NextOutgoingID: f.requiredUint32(1), IncomingWindow: f.requiredUint32(2),
			OutgoingWindow: f.requiredUint32(3), HandleMax: f.uint32(4, 0xffffffff), Properties: f.mapping(7),
		}
	case codeAttach:
		p = &Attach{
			Name: f.requiredText(0), Handle: f.requiredUint32(1), Role: f.bool(2),
			SenderSettleMode: f.uint8(3, SenderMixed), ReceiverSettleMode: f.uint8(4, ReceiverFirst),
			Source: f.source(5), Target: f.target(6), InitialDeliveryCount: f.optionalUint32(9),
			MaxMessageSize: f.uint64(10), Properties: f.mapping(13),
		}
	case codeFlow:
		p = &Flow{
			NextIncomingID: f.optionalUint32(0), IncomingWindow: f.requiredUint32(1), NextOutgoingID: f.requiredUint32(2),
			OutgoingWindow: f.requiredUint32(3), Handle: f.optionalUint32(4), DeliveryCount: f.optionalUint32(5),
			LinkCredit: f.optionalUint32(6), Drain: f.bool(8), Echo: f.bool(9),
		}
	case codeTransfer:
		p = &Transfer{
			Handle: f.requiredUint32(0), DeliveryID: f.optionalUint32(1), DeliveryTag: f.binary(2),
			MessageFormat: f.optionalUint32(3), Settled: f.bool(4), More: f.bool(5), Aborted: f.bool(9),
		}
	case codeDisposition:
		first := f.requiredUint32(1)
		p = &Disposition{Role: f.bool(0), First: first, Last: f.uint32(2, first), Settled: f.bool(3), State: f.state(4)}
	case codeDetach:
		p = &Detach{Handle: f.requiredUint32(0), Closed: f.bool(1), Error: f.error(2)}
	case codeEnd:
		p = &End{Error: f.error(0)}
	case codeClose:
		p = &Close{Error: f.error(0)}
	case codeSASLMechanisms:
		p = &SASLMechanisms{Mechanisms: f.symbols(0)}
	case codeSASLInit:
		p = &SASLInit{Mechanism: Symbol(f.requiredText(0)), InitialResponse: f.binary(1)}
	case codeSASLOutcome:
		p = &SASLOutcome{Code: f.uint8(0, 0)}
	default:
		return nil, nil, malformed("unknown performative 0x%02x", code)
	}
	if f.err != nil {
		return nil, nil, fmt.Errorf("%T: %w", p, f.err)
	}
	return p, payload, nil
}

func (p *Open) append(b []byte) []byte {
	return appendComposite(b, codeOpen, p.ContainerID, text(p.Hostname), number(p.MaxFrameSize), p.ChannelMax,
		number(p.IdleTimeout), nil, nil, nil, nil, mapping(p.Properties))
}

// All eight fields are written: some clients index the last one without looking.
func (p *Begin) append(b []byte) []byte {
	properties := p.Properties
	if properties == nil {
		properties = Map{}
	}
	return appendComposite(b, codeBegin, optional(p.RemoteChannel), p.NextOutgoingID, p.IncomingWindow, p.OutgoingWindow,
		p.HandleMax, nil, nil, properties)
}

func (p *Attach) append(b []byte) []byte {
	var source, target any
	if p.Source != nil {
		source = p.Source.value()
	}
	if p.Target != nil {
		target = p.Target.value()
	}
	return appendComposite(b, codeAttach, p.Name, p.Handle, p.Role, p.SenderSettleMode, p.ReceiverSettleMode, source, target,
		nil, nil, optional(p.InitialDeliveryCount), number(p.MaxMessageSize), nil, nil, mapping(p.Properties))
}

func (p *Flow) append(b []byte) []byte {
	return appendComposite(b, codeFlow, optional(p.NextIncomingID), p.IncomingWindow, p.NextOutgoingID, p.OutgoingWindow,
		optional(p.Handle), optional(p.DeliveryCount), optional(p.LinkCredit), nil, flag(p.Drain), flag(p.Echo))
}

func (p *Transfer) append(b []byte) []byte {
	var tag any
	if p.DeliveryTag != nil {
		tag = p.DeliveryTag
	}
	return appendComposite(b, codeTransfer, p.Handle, optional(p.DeliveryID), tag, optional(p.MessageFormat),
		p.Settled, p.More, nil, nil, nil, flag(p.Aborted))
}

func (p *Disposition) append(b []byte) []byte {
	var state any
	if p.State != nil {
		state = p.State.value()
	}
	return appendComposite(b, codeDisposition, p.Role, p.First, p.Last, p.Settled, state)
}

func (p *Detach) append(b []byte) []byte {
	return appendComposite(b, codeDetach, p.Handle, p.Closed, p.Error.value())
}

func (p *End) append(b []byte) []byte { return appendComposite(b, codeEnd, p.Error.value()) }

func (p *Close) append(b []byte) []byte { return appendComposite(b, codeClose, p.Error.value()) }

func (p *SASLMechanisms) append(b []byte) []byte {
	a := Array{Code: CodeSymbol}
	for _, m := range p.Mechanisms {
		a.Items = append(a.Items, m)
	}
	return appendComposite(b, codeSASLMechanisms, a)
}

func (p *SASLInit) append(b []byte) []byte {
	return appendComposite(b, codeSASLInit, p.Mechanism, p.InitialResponse)
}

func (p *SASLOutcome) append(b []byte) []byte { return appendComposite(b, codeSASLOutcome, p.Code) }

// value is nil for a nil error, so that the field is left out.
func (e *Error) value() any {
	if e == nil {
		return nil
	}
	return Described{uint64(codeError), List{e.Condition, text(e.Description), mapping(e.Info)}}
}
