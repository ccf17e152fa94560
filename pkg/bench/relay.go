package bench

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// relay puts distance between a client and a server on one machine: every byte
// arrives later, none is held back by those behind it.
type relay struct {
	server   string
	oneWay   time.Duration
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // nil once closed
}

func newRelay(ctx context.Context, server string, oneWay time.Duration) (*relay, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{server: server, oneWay: oneWay, listener: l, conns: []net.Conn{}}
	r.work.Go(func() { r.accept(ctx) })
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// close cuts all connections and returns when nothing runs any more.
func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.work.Wait()
}

func (r *relay) accept(ctx context.Context) {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		r.mu.Lock()
		closed := r.conns == nil
		if !closed {
			r.conns = append(r.conns, client, server)
			r.carry(server, client)
			r.carry(client, server)
		}
		r.mu.Unlock()
		if closed {
			_ = client.Close()
			_ = server.Close()
			return
		}
	}
}

// parcel is what arrives at a time.
type parcel struct {
	due   time.Time
	bytes []byte
}

// carry moves bytes one way until either end closes, which closes the other.
func (r *relay) carry(to io.WriteCloser, from io.ReadCloser) {
	under := make(chan parcel, 4096)
	r.work.Go(func() {
		defer close(under)
		for {
			b := make([]byte, 16<<10)
			n, err := from.Read(b)
			if n > 0 {
				under <- parcel{time.Now().Add(r.oneWay), b[:n]}
			}
			if err != nil {
				return
			}
		}
	})
	r.work.Go(func() {
		var err error
		for p := range under {
			if err != nil {
				continue // let the reader finish
			}
			time.Sleep(time.Until(p.due))
			_, err = to.Write(p.bytes)
		}
		_ = to.Close()
	})
}
