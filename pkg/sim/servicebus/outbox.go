package servicebus

import (
	"net"
	"sync"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

const (
	// outboxLimit is how many bytes may wait for a client that reads slowly. Whoever has
	// more for it waits too; each connection has its own outbox, so nobody else does.
	outboxLimit = 1 << 20
	// writeTimeout is how long a client may leave its end unread before it is cut off.
	writeTimeout = 60 * time.Second
	// heartbeatInterval keeps clients from giving up on a quiet connection: the SDKs
	// announce idle timeouts of 30 seconds and more.
	heartbeatInterval = 10 * time.Second
)

// outbox collects the frames of one connection; a goroutine of its own writes them, so
// that many small frames leave in one system call and nobody writes to a socket while
// holding a lock that others need.
type outbox struct {
	mu     sync.Mutex
	space  *sync.Cond
	buf    []byte
	ended  bool
	signal chan struct{}
}

func newOutbox() *outbox {
	o := &outbox{signal: make(chan struct{}, 1)}
	o.space = sync.NewCond(&o.mu)
	return o
}

// frame queues a frame, waiting while the outbox is full. It reports false once the
// connection has ended.
func (o *outbox) frame(kind byte, channel uint16, p amqp.Performative, payload []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > outboxLimit && !o.ended {
		o.space.Wait()
	}
	if o.ended {
		return false
	}
	o.buf = amqp.AppendFrame(o.buf, kind, channel, p, payload)
	o.poke()
	return true
}

// raw queues bytes that are no frame.
func (o *outbox) raw(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, b...)
	o.poke()
}

func (o *outbox) poke() {
	select {
	case o.signal <- struct{}{}:
	default:
	}
}

// end lets run write what is queued and return; what comes later is dropped.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.space.Broadcast()
	o.poke()
}

// run writes to the connection until end is called or writing fails. In quiet times it
// sends keep-alives, once the connection is open.
func (o *outbox) run(conn net.Conn, opened <-chan struct{}) {
	heartbeat := time.NewTicker(heartbeatInterval)
	defer heartbeat.Stop()
	var spare []byte
	quiet := true
	for {
		select {
		case <-o.signal:
		case <-heartbeat.C:
			select {
			case <-opened:
				if quiet {
					o.frame(amqp.FrameAMQP, 0, nil, nil)
				}
			default:
			}
			quiet = true
			continue
		}
		o.mu.Lock()
		batch, ended := o.buf, o.ended
		o.buf = spare[:0]
		o.space.Broadcast()
		o.mu.Unlock()
		if len(batch) > 0 {
			quiet = false
			_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails only on a closed connection, as Write then does
			if _, err := conn.Write(batch); err != nil {
				o.end()
				conn.Close()
				return
			}
		}
		if ended {
			return
		}
		if spare = batch; cap(spare) > outboxLimit {
			spare = nil
		}
	}
}
