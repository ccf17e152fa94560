package broker

import (
	"crypto/rand"
	"fmt"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// Mode is how a receiver takes messages.
type Mode uint8

// The receive modes.
const (
	PeekLock Mode = iota + 1
	ReceiveAndDelete
)

// Delivery is a message handed to a receiver, encoded as it goes on the wire.
type Delivery struct {
	Token   amqp.UUID
	Payload []byte
}

func (m *message) delivery(mode Mode) Delivery {
	if mode == ReceiveAndDelete {
		return Delivery{m.lock.token, m.encode(nil)}
	}
	return Delivery{m.lock.token, m.encode(m.lock)}
}

// Receiver takes messages from a sub-queue or from a session it holds the lock of.
type Receiver struct {
	queue   *Queue
	sub     SubQueue
	mode    Mode
	session *session // nil outside sessions
	link    *Link
	wake    func()

	waiting bool
	ended   error // why Take no longer works
	held    map[*message]struct{}
}

// Receiver registers a receiver on a sub-queue without sessions. The wake function is
// called, without waiting and possibly under the queue's lock, when Take may find more.
func (q *Queue) Receiver(sub SubQueue, mode Mode, wake func()) (*Receiver, error) {
	_, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	if err := q.config.receiveError(); err != nil {
		return nil, err
	}
	if sub == Main && q.config.RequiresSession {
		return nil, Errorf(NotAllowed, "It is not possible for an entity that requires sessions to create a non-sessionful message receiver.")
	}
	return q.receiver(sub, mode, wake), nil
}

func (q *Queue) receiver(sub SubQueue, mode Mode, wake func()) *Receiver {
	r := &Receiver{queue: q, sub: sub, mode: mode, wake: wake, held: map[*message]struct{}{}}
	r.link = q.link(false, func(err error) {
		r.end(err)
		r.wake()
	})
	return r
}

// end makes Take fail with err; the first reason stays.
func (r *Receiver) end(err error) {
	if r.ended == nil {
		r.ended = err
	}
}

// maxTakeBytes bounds what one call of Take hands over.
const maxTakeBytes = 1 << 20

// Take hands over up to n messages, fewer if they are large. When it runs out of
// messages the receiver is woken once there is another. An error means the receiver is
// of no more use.
func (r *Receiver) Take(n int) ([]Delivery, error) {
	q := r.queue
	now, err := q.enter()
	defer q.leave()
	if r.ended != nil {
		return nil, r.ended
	}
	if err != nil {
		return nil, err
	}
	q.accessed = now
	st := q.store(r.sub)
	ready, until := &st.ready, now.Add(q.config.LockDuration)
	if r.session != nil {
		ready, until = &r.session.ready, r.session.until
	}
	var out []Delivery
	var changes []change
	for bytes := 0; len(out) < n && bytes < maxTakeBytes && len(*ready) > 0; {
		m := (*ready)[0]
		q.take(m, r, until)
		out = append(out, m.delivery(r.mode))
		bytes += m.size
		if r.mode == ReceiveAndDelete {
			changes = append(changes, change{kind: changeRemove, seq: m.seq})
		}
	}
	if err := q.commit(changes...); err != nil {
		return nil, err
	}
	if r.session == nil {
		if len(out) < n && len(*ready) == 0 && !r.waiting {
			r.waiting = true
			st.waiting = append(st.waiting, r)
		}
		st.wakeOne()
	}
	return out, nil
}

// Pass lets another receiver have what this one was woken for but has no use for.
func (r *Receiver) Pass() {
	r.queue.mu.Lock()
	defer r.queue.mu.Unlock()
	if r.session == nil {
		r.queue.store(r.sub).wakeOne()
	}
}

// Err is why the receiver is of no more use, nil while it is.
func (r *Receiver) Err() error {
	r.queue.mu.Lock()
	defer r.queue.mu.Unlock()
	return r.ended
}

// Close ends the receiver. A session is free at once, and its messages are given back
// without counting as failed; elsewhere locks run on until they expire.
func (r *Receiver) Close() {
	q := r.queue
	_, _ = q.enter() // closing works on a failed queue too
	defer q.leave()
	r.end(Errorf(DetachForced, "The receiver is closed."))
	delete(q.links, r.link)
	if r.session != nil {
		q.releaseSession(r, false)
		return
	}
	st := q.store(r.sub)
	for i, w := range st.waiting {
		if w == r {
			st.waiting = append(st.waiting[:i], st.waiting[i+1:]...)
			break
		}
	}
	st.wakeOne()
}

// Session is the session the receiver holds and how long; ok is false without one.
func (r *Receiver) Session() (id string, until time.Time, ok bool) {
	r.queue.mu.Lock()
	defer r.queue.mu.Unlock()
	if r.session == nil {
		return "", time.Time{}, false
	}
	return r.session.id, r.session.until, true
}

// ReceiveDeferred hands over deferred messages by sequence number, none if one of them
// cannot be had. It takes no more of them than fit and leaves the rest as they are. An
// expired one is dead-lettered or dropped when asked for, not before. The session is
// the one the caller holds; nil outside sessions.
func (q *Queue) ReceiveDeferred(sub SubQueue, sequences []int64, mode Mode, holder *Receiver, fits Fits) ([]Delivery, error) {
	now, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	if err := q.config.receiveError(); err != nil {
		return nil, err
	}
	until, err := q.holding(sub, holder, now)
	if err != nil {
		return nil, err
	}
	found := make([]*message, 0, len(sequences))
	once := map[int64]struct{}{}
	for _, seq := range sequences {
		m := q.messages[seq]
		if m != nil && m.state == StateDeferred && m.lock == nil {
			if at, ok := m.expiresAt(); ok && !at.After(now) {
				q.expire(m)
				m = nil
			}
		}
		_, twice := once[seq]
		if m == nil || twice || m.state != StateDeferred || m.sub() != sub || !m.inSession(holder) {
			return nil, Errorf(MessageNotFound, "Failed to lock one or more specified messages. The message does not exist.")
		}
		if m.lock != nil {
			return nil, Errorf(MessageLockLost, "Failed to lock one or more specified messages. The message is locked by another receiver.")
		}
		once[seq] = struct{}{}
		found = append(found, m)
	}
	var out []Delivery
	var changes []change
	for _, m := range found {
		const lockNotes = 128 // lock token and lock time, with their keys
		if !fits(len(m.encode(nil)) + lockNotes) {
			break
		}
		q.take(m, holder, until)
		out = append(out, m.delivery(mode))
		if mode == ReceiveAndDelete {
			changes = append(changes, change{kind: changeRemove, seq: m.seq})
		}
	}
	return out, q.commit(changes...)
}

// holding checks that the caller may work on the sub-queue and says how long a lock
// taken now lasts.
func (q *Queue) holding(sub SubQueue, holder *Receiver, now time.Time) (time.Time, error) {
	if sub != Main || !q.config.RequiresSession {
		return now.Add(q.config.LockDuration), nil
	}
	if holder == nil || holder.session == nil || holder.ended != nil {
		return time.Time{}, sessionLost()
	}
	return holder.session.until, nil
}

func (m *message) inSession(holder *Receiver) bool {
	return m.session == nil || m.dead || holder != nil && holder.session != nil && holder.session.id == *m.session
}

// Fits says whether an answer takes one more message of so many bytes. The caller of
// an answer that is cut short asks again.
type Fits func(bytes int) bool

// Peek shows up to n messages of any state from a sequence number on, without locking
// them, and no more than fit. With a session, only those of that session.
func (q *Queue) Peek(sub SubQueue, from int64, n int, session *string, fits Fits) ([][]byte, error) {
	_, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	shelf := &q.store(sub).shelf
	var out [][]byte
	for _, s := range shelf.slots[shelf.find(from):] {
		if len(out) >= n {
			break
		}
		if s.m == nil || session != nil && (s.m.session == nil || *s.m.session != *session) {
			continue
		}
		b := s.m.encode(nil)
		if !fits(len(b)) {
			break
		}
		out = append(out, b)
	}
	return out, nil
}

func newToken() (t amqp.UUID) {
	rand.Read(t[:])
	t[6], t[8] = t[6]&0x0f|0x40, t[8]&0x3f|0x80
	return t
}

// ParseMode reads the receiver-settle-mode of a management request.
func ParseMode(n int64) (Mode, error) {
	switch n {
	case 0:
		return ReceiveAndDelete, nil
	case 1:
		return PeekLock, nil
	}
	return 0, fmt.Errorf("receiver-settle-mode %d", n)
}

// maxDelete is the most messages that one call of DeleteMessages removes.
const maxDelete = 4000

// DeleteMessages removes up to n active messages that nobody holds and that were
// enqueued before a time, oldest first, and says how many.
func (q *Queue) DeleteMessages(sub SubQueue, n int, before time.Time, session *string) (int, error) {
	_, err := q.enter()
	defer q.leave()
	if err != nil {
		return 0, err
	}
	var changes []change
	for _, s := range q.store(sub).shelf.slots {
		if len(changes) >= min(n, maxDelete) {
			break
		}
		m := s.m
		if m == nil || m.state != StateActive || m.lock != nil || !m.enqueuedAt.Before(before) ||
			session != nil && (m.session == nil || *m.session != *session) {
			continue
		}
		changes = append(changes, change{kind: changeRemove, seq: m.seq})
	}
	return len(changes), q.commit(changes...)
}
