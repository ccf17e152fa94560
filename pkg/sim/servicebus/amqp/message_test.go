package amqp_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	client "github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/sim/servicebus/amqp"
)

func full() *client.Message {
	return &client.Message{
		Header:              &client.MessageHeader{Durable: true, Priority: 9, TTL: time.Minute, DeliveryCount: 3},
		DeliveryAnnotations: client.Annotations{"d": "1"},
		Annotations:         client.Annotations{"x-opt-partition-key": "k"},
		Properties: &client.MessageProperties{
			MessageID: "id", UserID: []byte("u"), Subject: new("s"), ReplyTo: new("r"), CorrelationID: uint64(5), ContentType: new("c/t"),
			GroupID: new("g"), GroupSequence: new(uint32(4)), CreationTime: new(time.UnixMilli(1000).UTC()),
		},
		ApplicationProperties: map[string]any{"a": int64(1), "b": "two", "c": true},
		Data:                  [][]byte{[]byte("one"), []byte("two")},
		Footer:                client.Annotations{"f": "1"},
	}
}

// Messages are held against an implementation that is not ours.
func TestMessagesOfTheClientSurvive(t *testing.T) {
	value, sequence := full(), full()
	value.Data, value.Value = nil, map[string]any{"k": []any{int32(1), "x"}}
	sequence.Data, sequence.Sequence = nil, [][]any{{"a"}, {int32(2)}}
	for name, m := range map[string]*client.Message{
		"data": full(), "value": value, "sequence": sequence, "body only": client.NewMessage([]byte("x")), "nothing": {Header: &client.MessageHeader{Priority: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := m.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			decoded, err := amqp.DecodeMessage(in)
			if err != nil {
				t.Fatal(err)
			}
			var got client.Message
			if err := got.UnmarshalBinary(decoded.Append(nil)); err != nil {
				t.Fatal(err)
			}
			got.Header, m.Header = normal(got.Header), normal(m.Header)
			if diff := cmp.Diff(m, &got, cmpopts.IgnoreUnexported(client.Message{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// normal makes an absent header and the one with only defaults equal.
func normal(h *client.MessageHeader) *client.MessageHeader {
	if h == nil {
		return &client.MessageHeader{Priority: 4}
	}
	return h
}

func TestMessageFields(t *testing.T) {
	in, err := full().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	m, err := amqp.DecodeMessage(in)
	if err != nil {
		t.Fatal(err)
	}
	want := amqp.Properties{MessageID: "id", ReplyTo: "r", CorrelationID: uint64(5), GroupID: new("g")}
	if diff := cmp.Diff(want, m.Properties); diff != "" {
		t.Error(diff)
	}
	if *m.Header.TTL != 60000 || *m.Header.Priority != 9 || !m.Header.Durable || m.Header.DeliveryCount != 3 {
		t.Errorf("header %+v", m.Header)
	}
	m.SetMessageID("other")
	m.SetApplicationProperties(amqp.Map{{Key: "only", Value: "this"}})
	var got client.Message
	if err := got.UnmarshalBinary(m.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if got.Properties.MessageID != "other" || *got.Properties.Subject != "s" || len(got.ApplicationProperties) != 1 {
		t.Errorf("properties %+v %v", got.Properties, got.ApplicationProperties)
	}
}

func TestMessageIDIsAddedWithoutProperties(t *testing.T) {
	in, err := client.NewMessage([]byte("x")).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	m, err := amqp.DecodeMessage(in)
	if err != nil {
		t.Fatal(err)
	}
	m.SetMessageID("made")
	var got client.Message
	if err := got.UnmarshalBinary(m.Append(nil)); err != nil || got.Properties.MessageID != "made" {
		t.Errorf("properties %+v, err %v", got.Properties, err)
	}
}

func TestMalformedMessages(t *testing.T) {
	section := func(code uint64, v any) []byte { return amqp.Append(nil, amqp.Described{Descriptor: code, Value: v}) }
	data := section(0x75, []byte("x"))
	for name, in := range map[string][]byte{
		"not described":         amqp.Append(nil, "x"),
		"unknown section":       section(0x79, amqp.Map{}),
		"header twice":          append(section(0x70, amqp.List{}), section(0x70, amqp.List{})...),
		"out of order":          append(data, section(0x70, amqp.List{})...),
		"two bodies":            append(data, section(0x77, "x")...),
		"data of a string":      section(0x75, "x"),
		"annotations of a list": section(0x72, amqp.List{}),
		"numbered property":     section(0x74, amqp.Map{{Key: uint32(1), Value: "x"}}),
		"message id of a list":  section(0x73, amqp.List{amqp.List{}}),
		"group id of a number":  section(0x73, amqp.List{nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, uint32(1)}),
		"ttl of a string":       section(0x70, amqp.List{nil, nil, "1m"}),
		"cut off":               data[:len(data)-1],
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := amqp.DecodeMessage(in); !errors.Is(err, amqp.ErrMalformed) {
				t.Errorf("decoded %+v, err %v", m, err)
			}
		})
	}
}

// FuzzMessage: a message that is accepted comes out stable, with the same body.
func FuzzMessage(f *testing.F) {
	if in, err := full().MarshalBinary(); err == nil {
		f.Add(in)
	}
	if in, err := client.NewMessage([]byte("x")).MarshalBinary(); err == nil {
		f.Add(in)
	}
	f.Add(amqp.Append(nil, amqp.Described{Descriptor: uint64(0x77), Value: amqp.List{"v"}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := amqp.DecodeMessage(bytes.Clone(in))
		if err != nil {
			return
		}
		once := m.Append(nil)
		again, err := amqp.DecodeMessage(once)
		if err != nil {
			t.Fatalf("%x became %x, which does not decode: %v", in, once, err)
		}
		if twice := again.Append(nil); !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x, then %x", in, once, twice)
		}
		if !cmp.Equal(m.Data, again.Data) {
			t.Fatalf("data changed: %x to %x", m.Data, again.Data)
		}
	})
}
