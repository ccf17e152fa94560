package amqp

const (
	codeReceived = 0x23
	codeAccepted = 0x24
	codeRejected = 0x25
	codeReleased = 0x26
	codeModified = 0x27
)

// DeliveryState is what became of a delivery: one of the five types below.
type DeliveryState interface {
	value() any
}

// Accepted: the receiver has dealt with the message.
type Accepted struct{}

// Released: the receiver did not and will not look at it.
type Released struct{}

// Received: the receiver has part of it. It settles nothing.
type Received struct {
	Section uint32
	Offset  uint64
}

// Rejected: the receiver finds the message invalid.
type Rejected struct{ Error *Error }

// Modified: the receiver gives it back changed.
type Modified struct {
	DeliveryFailed    bool
	UndeliverableHere bool
	Annotations       Map
}

func (Accepted) value() any { return Described{uint64(codeAccepted), List{}} }

func (Released) value() any { return Described{uint64(codeReleased), List{}} }

func (s Received) value() any { return Described{uint64(codeReceived), List{s.Section, s.Offset}} }

func (s Rejected) value() any { return Described{uint64(codeRejected), trim(List{s.Error.value()})} }

func (s Modified) value() any {
	return Described{uint64(codeModified), trim(List{flag(s.DeliveryFailed), flag(s.UndeliverableHere), mapping(s.Annotations)})}
}

// state reads a delivery state. A transactional state is a fault: there are no
// transactions here, so no client can have been given one.
func (f *fields) state(i int) DeliveryState {
	code, list, ok := f.composite(i)
	if !ok {
		return nil
	}
	in := fields{list: list}
	var s DeliveryState
	switch code {
	case codeAccepted:
		s = Accepted{}
	case codeReleased:
		s = Released{}
	case codeReceived:
		s = Received{Section: in.uint32(0, 0), Offset: in.uint64(1)}
	case codeRejected:
		s = Rejected{Error: in.error(0)}
	case codeModified:
		s = Modified{DeliveryFailed: in.bool(0), UndeliverableHere: in.bool(1), Annotations: in.mapping(2)}
	default:
		f.fail(i)
	}
	if in.err != nil {
		f.err = in.err
	}
	return s
}
