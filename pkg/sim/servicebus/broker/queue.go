package broker

import (
	"container/list"
	"sync"
	"time"

	"mfaflow/pkg/sim/clock"
	"mfaflow/pkg/sim/servicebus/amqp"
)

// SubQueue says which of the two message stores of a queue is meant.
type SubQueue uint8

// The sub-queues.
const (
	Main SubQueue = iota + 1
	DeadLetter
	// TransferDeadLetter takes what could not be forwarded. Nothing is forwarded here, so
	// it is always empty.
	TransferDeadLetter
)

// Queue is one queue with its dead-letter queue. It is safe for concurrent use; no
// method waits for a client while it holds the lock.
//
// Everything durable changes through commit, which writes the journal first and then
// applies the change; reading the journal back applies the same changes. Locks,
// receivers and waiting sessions are volatile.
type Queue struct {
	clock clock.Clock

	mu       sync.Mutex
	config   QueueConfig
	created  time.Time
	updated  time.Time
	accessed time.Time
	journal  *journal // nil in memory
	failure  error    // set once the journal cannot be written, or the queue is deleted

	nextSeq  int64
	messages map[int64]*message
	bytes    int64
	main     store
	dead     store
	transfer store
	sessions map[string]*session
	seen     history

	locks     map[amqp.UUID]*message
	links     map[*Link]struct{}
	available *list.List // sessions that are free and have messages, longest first
	acceptors *list.List // calls of AcceptNextSession that wait
	agenda    deadlines
	alarm     clock.Timer
	alarmAt   time.Time
}

// store holds the messages of a sub-queue.
type store struct {
	shelf   shelf
	ready   readyHeap   // in a queue with sessions each session has its own instead
	waiting []*Receiver // receivers with credit for which there was no message
	counts  [StateScheduled + 1]int
}

func newQueue(c clock.Clock) *Queue {
	return &Queue{
		clock: c, nextSeq: 1,
		messages: map[int64]*message{}, sessions: map[string]*session{}, seen: newHistory(),
		locks: map[amqp.UUID]*message{}, links: map[*Link]struct{}{},
		available: list.New(), acceptors: list.New(),
	}
}

// enter locks the queue and lets everything happen that is due. Each method begins with
// it and defers leave, so that a lock has expired at its very time, whether or not the
// alarm came through first.
func (q *Queue) enter() (now time.Time, err error) {
	q.mu.Lock()
	now = q.clock.Now()
	for q.failure == nil {
		d := q.agenda.due(now)
		if d == nil {
			break
		}
		d.fire(now)
	}
	return now, q.failure
}

// leave sets the alarm for the next deadline and unlocks the queue.
func (q *Queue) leave() {
	defer q.mu.Unlock()
	next, ok := q.agenda.next()
	switch {
	case !ok || q.failure != nil:
		if q.alarm != nil && !q.alarmAt.IsZero() {
			q.alarm.Stop()
			q.alarmAt = time.Time{}
		}
		return
	case next.Equal(q.alarmAt):
		return
	}
	q.alarmAt = next
	wait := next.Sub(q.clock.Now())
	if q.alarm == nil {
		q.alarm = q.clock.AfterFunc(wait, q.ring)
		return
	}
	q.alarm.Reset(wait)
}

func (q *Queue) ring() {
	_, _ = q.enter() // a failed queue has nothing left to do on time
	q.alarmAt = time.Time{}
	q.leave()
}

func (q *Queue) store(sub SubQueue) *store {
	switch sub {
	case DeadLetter:
		return &q.dead
	case TransferDeadLetter:
		return &q.transfer
	default:
		return &q.main
	}
}

func (m *message) sub() SubQueue {
	if m.dead {
		return DeadLetter
	}
	return Main
}

// insert adds m to the queue and puts it where its state says.
func (q *Queue) insert(m *message) {
	q.messages[m.seq] = m
	q.bytes += int64(m.size)
	q.nextSeq = max(q.nextSeq, m.seq+1)
	q.store(m.sub()).shelf.add(m)
	if m.session != nil && !m.dead {
		q.session(*m.session).messages++
	}
	m.deadline.fire = func(now time.Time) { q.messageDue(m, now) }
	q.place(m)
}

// delete takes the message off the queue.
func (q *Queue) delete(seq int64) {
	m := q.messages[seq]
	if m == nil {
		return
	}
	q.unplace(m)
	delete(q.messages, seq)
	q.bytes -= int64(m.size)
	q.store(m.sub()).shelf.remove(seq)
	if m.session != nil && !m.dead {
		s := q.sessions[*m.session]
		s.messages--
		q.forgetIfIdle(s)
	}
}

// place makes an unlocked message available, or notes when it will be.
func (q *Queue) place(m *message) {
	st := q.store(m.sub())
	st.counts[m.state]++
	switch m.state {
	case StateScheduled:
		q.agenda.set(&m.deadline, m.scheduledAt)
	case StateActive:
		if at, ok := m.expiresAt(); ok {
			q.agenda.set(&m.deadline, at)
		}
		if m.session != nil && !m.dead {
			s := q.session(*m.session)
			s.ready.add(m)
			q.offer(s)
			return
		}
		st.ready.add(m)
		st.wakeOne()
	}
}

// unplace is the reverse of place; it also takes the lock off a locked message.
func (q *Queue) unplace(m *message) {
	st := q.store(m.sub())
	st.counts[m.state]--
	q.agenda.clear(&m.deadline)
	if m.lock != nil {
		delete(q.locks, m.lock.token)
		if r := m.lock.receiver; r != nil {
			delete(r.held, m)
		}
		m.lock = nil
	}
	if m.readyIndex == 0 {
		return
	}
	if m.session != nil && !m.dead {
		s := q.sessions[*m.session]
		s.ready.drop(m)
		q.withdraw(s)
		return
	}
	st.ready.drop(m)
}

// take locks a message for a receiver until the given time.
func (q *Queue) take(m *message, r *Receiver, until time.Time) {
	q.unplace(m)
	q.store(m.sub()).counts[m.state]++
	m.lock = &lock{token: newToken(), until: until}
	q.locks[m.lock.token] = m
	if r != nil && r.session != nil {
		m.lock.receiver = r
		r.held[m] = struct{}{}
		return // the session's lock decides
	}
	q.agenda.set(&m.deadline, until)
}

// wakeOne tells the receiver that has waited longest to look again, if there is
// something to find.
func (s *store) wakeOne() {
	if len(s.ready) > 0 && len(s.waiting) > 0 {
		r := s.waiting[0]
		s.waiting = s.waiting[1:]
		r.waiting = false
		r.wake()
	}
}

// Config is the current configuration.
func (q *Queue) Config() QueueConfig {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.config
}

// Counts are the numbers of messages of a queue by state, locked ones included.
type Counts struct {
	Active, Deferred, Scheduled, DeadLetter int
	// Locked are the messages of both sub-queues under a peek-lock.
	Locked int
}

// Runtime is what a queue shows of its condition.
type Runtime struct {
	Counts
	SizeInBytes                int64
	Created, Updated, Accessed time.Time
}

// Runtime reports counts, size and times. Accessed is zero while nobody has used the queue.
func (q *Queue) Runtime() Runtime {
	_, _ = q.enter() // a failed queue can still be looked at
	defer q.leave()
	return Runtime{
		Counts: Counts{
			Active: q.main.counts[StateActive], Deferred: q.main.counts[StateDeferred], Scheduled: q.main.counts[StateScheduled],
			DeadLetter: q.dead.counts[StateActive] + q.dead.counts[StateDeferred], Locked: len(q.locks),
		},
		SizeInBytes: q.bytes, Created: q.created, Updated: q.updated, Accessed: q.accessed,
	}
}

// Link is a client's attachment to a queue: it learns when the queue turns it out.
type Link struct {
	queue  *Queue
	sender bool
	out    func(error)
}

// AttachSender registers a sender. The function is called, at most once and without
// waiting, when the queue no longer takes messages.
func (q *Queue) AttachSender(out func(error)) (*Link, error) {
	_, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	if err := q.config.sendError(); err != nil {
		return nil, err
	}
	return q.link(true, out), nil
}

func (q *Queue) link(sender bool, out func(error)) *Link {
	l := &Link{queue: q, sender: sender, out: out}
	q.links[l] = struct{}{}
	q.accessed = q.clock.Now()
	return l
}

// Close unregisters the link.
func (l *Link) Close() {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	delete(l.queue.links, l)
}

// turnOut tells links that they have ended.
func (q *Queue) turnOut(senders, receivers error) {
	for l := range q.links {
		err := receivers
		if l.sender {
			err = senders
		}
		if err != nil {
			delete(q.links, l)
			l.out(err)
		}
	}
	if receivers != nil {
		for e := q.acceptors.Front(); e != nil; e = q.acceptors.Front() {
			q.acceptors.Remove(e).(*acceptor).done <- acceptResult{err: receivers}
		}
	}
}
