package servicebus_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/servicebus/amqp"
)

// relay stands between clients and the emulator, frame by frame. It does what a
// network and a broker under maintenance do: fall silent, and detach a link while the
// connection lives on.
type relay struct {
	w        *world
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	wires []*wire
}

// wire is one relayed connection.
type wire struct {
	client, broker net.Conn

	mu       sync.Mutex
	talks    *sync.Cond
	silent   bool
	links    []link
	detached map[link]chan struct{} // by us; closed when the client has answered
}

type link struct {
	channel uint16
	handle  uint32
	role    bool
	address string
}

// answered reports that the client answered a detach of ours, which is not the
// broker's business.
func (c *wire) answered(channel uint16, handle uint32) bool {
	for l, done := range c.detached {
		if l.channel == channel && l.handle == handle {
			close(done)
			delete(c.detached, l)
			return true
		}
	}
	return false
}

func newRelay(t *testing.T, w *world) *relay {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	w.must(err)
	r := &relay{w: w, listener: l}
	r.work.Go(r.serve)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.wires {
			c.close()
		}
		r.mu.Unlock()
		r.work.Wait()
	})
	return r
}

// client is a client that connects through the relay.
func (r *relay) client(o servicebus.Options) *servicebus.Client {
	r.w.t.Helper()
	o.ConnectionString = identity.NewSecret(fmt.Sprintf(
		"Endpoint=sb://%s;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true", r.listener.Addr()))
	c, err := servicebus.New(o)
	r.w.must(err)
	r.w.t.Cleanup(c.Close)
	return c
}

func (r *relay) serve() {
	_, rest, _ := strings.Cut(r.w.broker.ConnectionString(), "sb://")
	address, _, _ := strings.Cut(rest, ";")
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", address) //nolint:noctx // a loopback address of this process
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &wire{client: client, broker: broker, detached: map[link]chan struct{}{}}
		c.talks = sync.NewCond(&c.mu)
		r.mu.Lock()
		r.wires = append(r.wires, c)
		r.mu.Unlock()
		r.work.Go(func() { pump(client, broker, c.fromClient); c.close() })
		r.work.Go(func() { pump(broker, client, c.fromBroker); c.close() })
	}
}

func (c *wire) close() {
	_ = c.client.Close()
	_ = c.broker.Close()
	c.mu.Lock()
	c.silent = false
	c.talks.Broadcast()
	c.mu.Unlock()
}

// pump carries protocol headers and frames until one end closes. see says whether a
// frame is carried on, and writes it within its lock.
func pump(from, to net.Conn, see func(amqp.Frame, func())) {
	in := bufio.NewReader(from)
	for {
		head, err := in.Peek(4)
		if err != nil {
			return
		}
		if string(head) == "AMQP" {
			if _, err := io.CopyN(to, in, 8); err != nil {
				return
			}
			continue
		}
		f, err := amqp.ReadFrame(in, 1<<20)
		if err != nil {
			return
		}
		see(f, func() {
			b := binary.BigEndian.AppendUint32(nil, uint32(len(f.Body)+8))
			b = append(b, 2, f.Type)
			b = binary.BigEndian.AppendUint16(b, f.Channel)
			_, _ = to.Write(append(b, f.Body...)) // the next read fails if this did
		})
	}
}

func (c *wire) fromClient(f amqp.Frame, carry func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, _, _ := amqp.DecodePerformative(f.Body)
	switch p := p.(type) {
	case *amqp.Attach:
		l := link{channel: f.Channel, handle: p.Handle, role: p.Role}
		if p.Role == amqp.RoleSender && p.Target != nil {
			l.address = p.Target.Address
		} else if p.Source != nil {
			l.address = p.Source.Address
		}
		c.links = append(c.links, l)
	case *amqp.Detach:
		if c.answered(f.Channel, p.Handle) {
			return
		}
	}
	carry()
}

func (c *wire) fromBroker(_ amqp.Frame, carry func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.silent {
		c.talks.Wait()
	}
	carry()
}

// connections is how many connections clients have made.
func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.wires)
}

// silence holds back all that the broker says on the connections there are, or lets it
// through again.
func (r *relay) silence(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.wires {
		c.mu.Lock()
		c.silent = on
		c.talks.Broadcast()
		c.mu.Unlock()
	}
}

// accepts is how often a session of the queue was asked for.
func (r *relay) accepts(queueName string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.wires {
		c.mu.Lock()
		for _, l := range c.links {
			if l.role == amqp.RoleReceiver && l.address == queueName {
				n++
			}
		}
		c.mu.Unlock()
	}
	return n
}

// detach ends the links to the management node of a queue, as the broker does when it
// moves the queue to another machine, and returns once the client knows.
func (r *relay) detach(queueName string) {
	var answers []chan struct{}
	r.mu.Lock()
	for _, c := range r.wires {
		c.mu.Lock()
		for _, l := range c.links {
			if l.role == amqp.RoleSender && l.address == queueName+"/$management" {
				c.detached[l] = make(chan struct{})
				answers = append(answers, c.detached[l])
				d := &amqp.Detach{Handle: l.handle, Closed: true, Error: &amqp.Error{Condition: "amqp:link:detach-forced"}}
				_, _ = c.client.Write(amqp.AppendFrame(nil, amqp.FrameAMQP, l.channel, d, nil))
			}
		}
		c.mu.Unlock()
	}
	r.mu.Unlock()
	for _, done := range answers {
		<-done
	}
}
