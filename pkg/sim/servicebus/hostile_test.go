package servicebus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/sim/servicebus/amqp"
)

var (
	saslHeader = []byte("AMQP\x03\x01\x00\x00")
	amqpHeader = []byte("AMQP\x00\x01\x00\x00")
)

func frame(kind byte, channel uint16, p amqp.Performative, payload ...byte) []byte {
	return amqp.AppendFrame(nil, kind, channel, p, payload)
}

// opening is what a client sends up to its open session 0.
func opening() []byte {
	return bytes.Join([][]byte{
		saslHeader, frame(amqp.FrameSASL, 0, &amqp.SASLInit{Mechanism: "PLAIN", InitialResponse: []byte("\x00a\x00b")}),
		amqpHeader, frame(amqp.FrameAMQP, 0, &amqp.Open{ContainerID: "c", MaxFrameSize: 1024}),
		frame(amqp.FrameAMQP, 0, &amqp.Begin{IncomingWindow: 100, OutgoingWindow: 100}),
	}, nil)
}

// talk sends bytes and returns everything the server says until it hangs up.
func talk(t testing.TB, s *servicebus.Server, in []byte) []byte {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(ctx(t), "tcp", host(s))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	go func() {
		_, _ = conn.Write(in) // the server may hang up in the middle
	}()
	out, err := io.ReadAll(conn)
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		t.Fatal("the server did not hang up")
	}
	return out
}

// closeCondition is the error of the close frame at the end of what the server said.
func closeCondition(t testing.TB, out []byte) amqp.Symbol {
	t.Helper()
	rest, ok := bytes.CutPrefix(out, saslHeader)
	if !ok {
		t.Fatalf("the server began with %q", out)
	}
	condition := amqp.Symbol("no close")
	for r := bytes.NewReader(rest); r.Len() > 0; {
		if bytes.HasPrefix(rest[len(rest)-r.Len():], amqpHeader) {
			_, err := r.Seek(8, io.SeekCurrent)
			must(t, err)
			continue
		}
		f, err := amqp.ReadFrame(r, 1<<20)
		must(t, err)
		if len(f.Body) == 0 {
			continue
		}
		p, _, err := amqp.DecodePerformative(f.Body)
		must(t, err)
		if c, ok := p.(*amqp.Close); ok {
			condition = ""
			if c.Error != nil {
				condition = c.Error.Condition
			}
		}
	}
	return condition
}

func TestHostileClientsAreRefused(t *testing.T) {
	s := start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}}})
	const framing = "amqp:connection:framing-error"
	attach := frame(amqp.FrameAMQP, 0, &amqp.Attach{Name: "l", Target: &amqp.Target{Address: "q"}, InitialDeliveryCount: new(uint32(0))})
	huge := make([]byte, 8)
	binary.BigEndian.PutUint32(huge, 1<<31)
	huge[4] = 2
	for name, tc := range map[string]struct {
		after []byte
		want  amqp.Symbol
	}{
		"close in good order":         {frame(amqp.FrameAMQP, 0, &amqp.Close{}), ""},
		"frame of 2 GiB":              {huge, framing},
		"frame smaller than a header": {[]byte{0, 0, 0, 3, 2, 0, 0, 0}, framing},
		"frame of noise":              {[]byte{0, 0, 0, 12, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, framing},
		"SASL frame after open":       {frame(amqp.FrameSASL, 0, &amqp.SASLInit{Mechanism: "PLAIN"}), framing},
		"second open":                 {frame(amqp.FrameAMQP, 0, &amqp.Open{ContainerID: "c"}), "amqp:not-allowed"},
		"channel without session":     {frame(amqp.FrameAMQP, 9, &amqp.End{}), framing},
		"channel beyond the maximum":  {frame(amqp.FrameAMQP, 60000, &amqp.Begin{}), framing},
		"session on a used channel":   {frame(amqp.FrameAMQP, 0, &amqp.Begin{}), framing},
		"transfer without link":       {frame(amqp.FrameAMQP, 0, &amqp.Transfer{Handle: 5}), "amqp:session:unattached-handle"},
		"flow without link":           {frame(amqp.FrameAMQP, 0, &amqp.Flow{Handle: new(uint32(5))}), "amqp:session:unattached-handle"},
		"detach without link":         {frame(amqp.FrameAMQP, 0, &amqp.Detach{Handle: 5}), "amqp:session:unattached-handle"},
		"handle twice":                {append(bytes.Clone(attach), attach...), "amqp:session:handle-in-use"},
		"handle beyond the maximum":   {frame(amqp.FrameAMQP, 0, &amqp.Attach{Name: "l", Handle: 1 << 20}), "amqp:session:handle-in-use"},
		"transfer without id":         {append(bytes.Clone(attach), frame(amqp.FrameAMQP, 0, &amqp.Transfer{}, 1)...), "amqp:not-allowed"},
		"disposition of everything":   {frame(amqp.FrameAMQP, 0, &amqp.Disposition{Role: amqp.RoleReceiver, Last: 1 << 31, State: amqp.Accepted{}}), "amqp:not-allowed"},
		"endless frame in parts":      {append(bytes.Clone(attach), bytes.Repeat(frame(amqp.FrameAMQP, 0, &amqp.Transfer{DeliveryID: new(uint32(0)), More: true}, make([]byte, 60000)...), 5)...), "no close"},
	} {
		t.Run(name, func(t *testing.T) {
			in := append(opening(), tc.after...)
			if tc.want == "no close" { // the link is detached, the connection lives on
				in = append(in, frame(amqp.FrameAMQP, 0, &amqp.Close{})...)
				tc.want = ""
			}
			if got := closeCondition(t, talk(t, s, in)); got != tc.want {
				t.Errorf("closed with %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWrongHeaders(t *testing.T) {
	s := start(t, servicebus.Options{})
	for name, in := range map[string]string{"HTTP": "GET / HTTP/1.1\r\n\r\n", "AMQP 0-9-1": "AMQP\x00\x00\x09\x01", "no SASL": string(amqpHeader), "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01"} {
		if got := talk(t, s, []byte(in)); !bytes.Equal(got, saslHeader) {
			t.Errorf("%s: answered %q, want the header that is spoken here", name, got)
		}
	}
}

func TestMalformedMessagesAreRejected(t *testing.T) {
	s := start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}}})
	attach := frame(amqp.FrameAMQP, 0, &amqp.Attach{Name: "l", Target: &amqp.Target{Address: "q"}, InitialDeliveryCount: new(uint32(0))})
	in := append(opening(), attach...)
	in = append(in, frame(amqp.FrameAMQP, 0, &amqp.Transfer{DeliveryID: new(uint32(0)), DeliveryTag: []byte{1}}, []byte("noise")...)...)
	in = append(in, frame(amqp.FrameAMQP, 0, &amqp.Transfer{DeliveryID: new(uint32(1)), DeliveryTag: []byte{2}, MessageFormat: new(uint32(amqp.BatchFormat))}, []byte{0, 0x53, 0x75, 0xa0, 1, 0xff}...)...)
	in = append(in, frame(amqp.FrameAMQP, 0, &amqp.Close{})...)
	out := talk(t, s, in)
	if got := bytes.Count(out, []byte("amqp:decode-error")); got != 2 {
		t.Errorf("%d of 2 messages were rejected as malformed", got)
	}
	wantCounts(t, s, "q", servicebus.Counts{})
}

// A client that asks for messages and never reads them must not hold up others.
func TestSlowClientHurtsOnlyItself(t *testing.T) {
	s, c, _ := plain(t, nil)
	attach := frame(amqp.FrameAMQP, 0, &amqp.Attach{Name: "l", Role: amqp.RoleReceiver, Source: &amqp.Source{Address: "q"}, Target: &amqp.Target{}})
	flow := frame(amqp.FrameAMQP, 0, &amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: 1 << 20, Handle: new(uint32(0)), DeliveryCount: new(uint32(0)), LinkCredit: new(uint32(1 << 20))})
	slow, err := (&net.Dialer{}).DialContext(ctx(t), "tcp", host(s))
	must(t, err)
	defer slow.Close()
	_, err = slow.Write(append(append(opening(), attach...), flow...))
	must(t, err)

	snd := sender(t, c, "q")
	body := []byte(strings.Repeat("x", 100<<10))
	b, err := snd.NewMessageBatch(ctx(t), nil)
	must(t, err)
	must(t, b.AddMessage(text(string(body)), nil))
	must(t, b.AddMessage(text(string(body)), nil))
	var held int
	for held = 0; ; held++ { // until the slow client's buffers are full and far more than it takes at a time stays on the queue
		must(t, snd.SendMessageBatch(ctx(t), b, nil))
		if got, _ := s.Counts("q"); got.Active-got.Locked > 64 || held > 1000 {
			break
		}
	}
	if held > 1000 {
		t.Fatal("the server buffers without bound for a client that does not read")
	}
	r := receiver(t, c, "q")
	for range 4 {
		must(t, r.CompleteMessage(ctx(t), receiveOne(t, r), nil))
	}
}

func TestDrain(t *testing.T) {
	s, c, _ := plain(t, nil)
	send(t, sender(t, c, "q"), text("one"))
	conn, err := (&net.Dialer{}).DialContext(ctx(t), "tcp", host(s))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	attach := frame(amqp.FrameAMQP, 0, &amqp.Attach{Name: "l", Role: amqp.RoleReceiver, Source: &amqp.Source{Address: "q"}, Target: &amqp.Target{}})
	flow := frame(amqp.FrameAMQP, 0, &amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: 100, Handle: new(uint32(0)), DeliveryCount: new(uint32(0)), LinkCredit: new(uint32(10)), Drain: true})
	_, err = conn.Write(append(append(opening(), attach...), flow...))
	must(t, err)
	transfers := 0
	for _, header := range [][]byte{saslHeader, nil, nil, amqpHeader} { // mechanisms and outcome between the headers
		if header == nil {
			_, err := amqp.ReadFrame(conn, 1<<20)
			must(t, err)
			continue
		}
		_, err := io.ReadFull(conn, make([]byte, len(header)))
		must(t, err)
	}
	for {
		f, err := amqp.ReadFrame(conn, 1<<20)
		must(t, err)
		if len(f.Body) == 0 {
			continue
		}
		p, _, err := amqp.DecodePerformative(f.Body)
		must(t, err)
		switch p := p.(type) {
		case *amqp.Transfer:
			transfers++
		case *amqp.Flow:
			if !p.Drain || *p.LinkCredit != 0 || *p.DeliveryCount != 10 || transfers != 1 {
				t.Errorf("drained with %+v after %d transfers", p, transfers)
			}
			return
		}
	}
}

func TestCloseIsIdempotentAndPrompt(t *testing.T) {
	s, err := servicebus.Start(t.Context(), servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q", RequiresSession: true}}})
	must(t, err)
	c := dial(t, s)
	failed := make(chan error)
	go func() {
		_, err := c.AcceptNextSessionForQueue(context.WithoutCancel(t.Context()), "q", nil)
		failed <- err
	}()
	send(t, sender(t, c, "q"), inSession("", "x"))
	<-failed
	must(t, s.Close())
	must(t, s.Close())
}

// FuzzConnection: whatever a client sends once it is connected, the server answers or
// hangs up, and serves the next client.
func FuzzConnection(f *testing.F) {
	s := start(f, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}, {Name: "s", RequiresSession: true}}})
	session := &amqp.Source{Address: "s", Filter: amqp.Map{{Key: amqp.Symbol("com.microsoft:session-filter"), Value: "id"}}}
	for _, frames := range [][]amqp.Performative{
		{&amqp.Attach{Name: "l", Target: &amqp.Target{Address: "q"}}, &amqp.Transfer{DeliveryID: new(uint32(0)), DeliveryTag: []byte{1}}},
		{&amqp.Attach{Name: "l", Role: amqp.RoleReceiver, Source: &amqp.Source{Address: "q"}, Target: &amqp.Target{}}, &amqp.Flow{IncomingWindow: 9, Handle: new(uint32(0)), LinkCredit: new(uint32(5)), Drain: true}},
		{&amqp.Attach{Name: "l", Role: amqp.RoleReceiver, Source: session, Target: &amqp.Target{}}, &amqp.Disposition{Role: amqp.RoleReceiver, State: amqp.Accepted{}}},
		{&amqp.Attach{Name: "l", Target: &amqp.Target{Address: "q/$management"}}, &amqp.Detach{}, &amqp.End{}},
	} {
		var in []byte
		for _, p := range frames {
			in = append(in, frame(amqp.FrameAMQP, 0, p)...)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		end := frame(amqp.FrameAMQP, 0, &amqp.Close{})
		talkThenLeave(t, s, append(opening(), in...))
		if got := closeCondition(t, talk(t, s, append(opening(), end...))); got != "" {
			t.Fatalf("the next client was closed with %q", got)
		}
	})
}

// talkThenLeave sends bytes, then hangs up itself: what it sent may leave the server
// waiting for more.
func talkThenLeave(t testing.TB, s *servicebus.Server, in []byte) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(ctx(t), "tcp", host(s))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, _ = conn.Write(in) // the server may hang up in the middle
	must(t, conn.(*net.TCPConn).CloseWrite())
	_, err = io.Copy(io.Discard, conn)
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		t.Fatal("the server did not hang up")
	}
}
