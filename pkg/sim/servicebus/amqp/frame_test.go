package amqp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/sim/servicebus/amqp"
)

func performatives() []amqp.Performative {
	return []amqp.Performative{
		&amqp.Open{ContainerID: "c", Hostname: "h", MaxFrameSize: 65536, ChannelMax: 10, IdleTimeout: 30000, Properties: amqp.Map{{Key: amqp.Symbol("product"), Value: "p"}}},
		&amqp.Begin{RemoteChannel: new(uint16(3)), NextOutgoingID: 1, IncomingWindow: 5000, OutgoingWindow: 1000, HandleMax: 255, Properties: amqp.Map{}},
		&amqp.Attach{
			Name: "l", Handle: 1, Role: amqp.RoleReceiver, SenderSettleMode: amqp.SenderMixed, ReceiverSettleMode: amqp.ReceiverSecond,
			Source:               &amqp.Source{Address: "q", Filter: amqp.Map{{Key: amqp.Symbol("f"), Value: amqp.Described{Descriptor: uint64(1), Value: "v"}}}},
			Target:               &amqp.Target{Address: "t"},
			InitialDeliveryCount: new(uint32(0)), MaxMessageSize: 262144, Properties: amqp.Map{{Key: amqp.Symbol("x"), Value: uint32(7)}},
		},
		&amqp.Attach{Name: "tx", Target: &amqp.Target{Coordinator: true}},
		&amqp.Attach{Name: "refused"},
		&amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: 2, NextOutgoingID: 3, OutgoingWindow: 4, Handle: new(uint32(5)), DeliveryCount: new(uint32(6)), LinkCredit: new(uint32(7)), Drain: true, Echo: true},
		&amqp.Flow{IncomingWindow: 1},
		&amqp.Transfer{Handle: 1, DeliveryID: new(uint32(2)), DeliveryTag: []byte("tag"), MessageFormat: new(uint32(0)), Settled: true, More: true, Aborted: true},
		&amqp.Transfer{},
		&amqp.Disposition{Role: amqp.RoleReceiver, First: 1, Last: 2, Settled: true, State: amqp.Accepted{}},
		&amqp.Disposition{State: amqp.Released{}},
		&amqp.Disposition{State: amqp.Received{Section: 1, Offset: 2}},
		&amqp.Disposition{State: amqp.Rejected{}},
		&amqp.Disposition{State: amqp.Rejected{Error: &amqp.Error{Condition: "c", Description: "d", Info: amqp.Map{{Key: "k", Value: "v"}}}}},
		&amqp.Disposition{State: amqp.Modified{DeliveryFailed: true, UndeliverableHere: true, Annotations: amqp.Map{{Key: "k", Value: int64(1)}}}},
		&amqp.Detach{Handle: 1, Closed: true, Error: &amqp.Error{Condition: "c"}},
		&amqp.End{},
		&amqp.Close{Error: &amqp.Error{Condition: "c", Description: "d"}},
		&amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"PLAIN", "ANONYMOUS"}},
		&amqp.SASLInit{Mechanism: "PLAIN", InitialResponse: []byte("x")},
		&amqp.SASLOutcome{Code: amqp.SASLAuth},
	}
}

func TestPerformativesRoundTrip(t *testing.T) {
	for _, p := range performatives() {
		frame, err := amqp.ReadFrame(bytes.NewReader(amqp.AppendFrame(nil, amqp.FrameAMQP, 7, p, []byte("payload"))), 4096)
		if err != nil || frame.Channel != 7 {
			t.Fatalf("%T: channel %d, err %v", p, frame.Channel, err)
		}
		got, payload, err := amqp.DecodePerformative(frame.Body)
		if err != nil || string(payload) != "payload" {
			t.Fatalf("%T: payload %q, err %v", p, payload, err)
		}
		if diff := cmp.Diff(p, got, cmpopts.IgnoreUnexported(amqp.Source{}, amqp.Target{})); diff != "" {
			t.Errorf("%T: %s", p, diff)
		}
	}
}

func TestSourceKeepsFieldsNobodyReads(t *testing.T) {
	body := amqp.Append(nil, amqp.Described{Descriptor: uint64(0x12), Value: amqp.List{
		"l", uint32(0), true, nil, nil, amqp.Described{Descriptor: uint64(0x28), Value: amqp.List{"q", uint32(2), amqp.Symbol("never")}},
	}})
	p, _, err := amqp.DecodePerformative(body)
	if err != nil {
		t.Fatal(err)
	}
	frame := amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Attach{Name: "l", Source: p.(*amqp.Attach).Source}, nil)
	if !bytes.Contains(frame, []byte("never")) {
		t.Error("the expiry policy of the source is lost in the echo")
	}
}

func TestSymbolicDescriptors(t *testing.T) {
	body := amqp.Append(nil, amqp.Described{Descriptor: amqp.Symbol("amqp:open:list"), Value: amqp.List{"c"}})
	p, _, err := amqp.DecodePerformative(body)
	if err != nil {
		t.Fatal(err)
	}
	if open, ok := p.(*amqp.Open); !ok || open.ContainerID != "c" {
		t.Errorf("decoded %#v", p)
	}
}

func TestPerformativesOfWrongTypes(t *testing.T) {
	described := func(code uint64, list ...any) []byte {
		return amqp.Append(nil, amqp.Described{Descriptor: code, Value: amqp.List(list)})
	}
	for name, body := range map[string][]byte{
		"not described":       amqp.Append(nil, amqp.List{}),
		"not a list":          amqp.Append(nil, amqp.Described{Descriptor: uint64(0x10), Value: "open"}),
		"unknown":             described(0x99),
		"open without id":     described(0x10),
		"open, id a number":   described(0x10, uint32(1)),
		"begin too short":     described(0x11),
		"attach, bad source":  described(0x12, "l", uint32(0), true, nil, nil, "source"),
		"attach, target 0x28": described(0x12, "l", uint32(0), true, nil, nil, nil, amqp.Described{Descriptor: uint64(0x28), Value: amqp.List{}}),
		"flow, signed window": described(0x13, nil, int32(1), uint32(1), uint32(1)),
		"transfer, no handle": described(0x14),
		"transactional state": described(0x15, true, uint32(1), nil, nil, amqp.Described{Descriptor: uint64(0x34), Value: amqp.List{[]byte("tx")}}),
		"error, no condition": described(0x18, amqp.Described{Descriptor: uint64(0x1d), Value: amqp.List{}}),
	} {
		t.Run(name, func(t *testing.T) {
			if p, _, err := amqp.DecodePerformative(body); !errors.Is(err, amqp.ErrMalformed) {
				t.Errorf("decoded %#v, err %v", p, err)
			}
		})
	}
}

func TestFrameSizes(t *testing.T) {
	header := func(size uint32, doff byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		return append(b, doff, 0, 0, 0)
	}
	for name, tc := range map[string]struct {
		in   []byte
		want error
	}{
		"keep-alive":          {header(8, 2), nil},
		"extended header":     {append(header(12, 3), 1, 2, 3, 4), nil},
		"smaller than header": {header(7, 2), amqp.ErrMalformed},
		"data in the header":  {header(8, 1), amqp.ErrMalformed},
		"data past the end":   {header(8, 3), amqp.ErrMalformed},
		"too large":           {header(1<<31, 2), amqp.ErrMalformed},
		"cut off":             {append(header(12, 2), 1), io.ErrUnexpectedEOF},
		"no frame":            {nil, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := amqp.ReadFrame(bytes.NewReader(tc.in), 4096)
			if !errors.Is(err, tc.want) || len(f.Body) != 0 {
				t.Errorf("body %x, err %v, want %v", f.Body, err, tc.want)
			}
		})
	}
}

// FuzzPerformative: what is accepted is encoded to something that decodes to the same.
func FuzzPerformative(f *testing.F) {
	for _, p := range performatives() {
		f.Add(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p, []byte{1})[8:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, payload, err := amqp.DecodePerformative(body)
		if err != nil {
			return
		}
		once := amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p, payload)
		again, _, err := amqp.DecodePerformative(once[8:])
		if err != nil {
			t.Fatalf("%x became %x, which does not decode: %v", body, once, err)
		}
		if twice := amqp.AppendFrame(nil, amqp.FrameAMQP, 0, again, payload); !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x, then %x", body, once, twice)
		}
	})
}
