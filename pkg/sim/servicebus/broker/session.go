package broker

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sort"
	"time"
)

// session is the messages of one session id, its state and its lock.
type session struct {
	id       string
	state    []byte // nil when cleared
	updated  time.Time
	messages int // in the main store, whatever their state

	deadline // of the lock
	ready    readyHeap
	holder   *Receiver
	until    time.Time
	place    *list.Element // in Queue.available
}

type acceptor struct {
	mode Mode
	wake func()
	done chan acceptResult // of capacity one
}

type acceptResult struct {
	receiver *Receiver
	err      error
}

func sessionLost() *Error {
	return Errorf(SessionLockLost, "The session lock has expired on the MessageSession. Accept a new MessageSession.")
}

func (q *Queue) session(id string) *session {
	s := q.sessions[id]
	if s == nil {
		s = &session{id: id}
		s.deadline.fire = func(now time.Time) { q.sessionDue(s) }
		q.sessions[id] = s
	}
	return s
}

func (q *Queue) forgetIfIdle(s *session) {
	if s.messages == 0 && s.state == nil && s.holder == nil {
		delete(q.sessions, s.id)
	}
}

// offer makes a session with messages known to its holder, or to those who wait for one.
func (q *Queue) offer(s *session) {
	switch {
	case len(s.ready) == 0:
	case s.holder != nil:
		s.holder.wake()
	case q.acceptors.Len() > 0:
		a := q.acceptors.Remove(q.acceptors.Front()).(*acceptor)
		a.done <- acceptResult{receiver: q.grant(s, a.mode, a.wake)}
	case s.place == nil:
		s.place = q.available.PushBack(s)
	}
}

// withdraw takes a session off the list of available ones once it has nothing to give.
func (q *Queue) withdraw(s *session) {
	if s.place != nil && (len(s.ready) == 0 || s.holder != nil) {
		q.available.Remove(s.place)
		s.place = nil
	}
}

// grant locks the session for a new receiver.
func (q *Queue) grant(s *session, mode Mode, wake func()) *Receiver {
	r := q.receiver(Main, mode, wake)
	r.session, s.holder = s, r
	q.withdraw(s)
	q.holdSession(s)
	return r
}

func (q *Queue) holdSession(s *session) {
	s.until = q.clock.Now().Add(q.config.LockDuration)
	q.agenda.set(&s.deadline, s.until)
	for m := range s.holder.held {
		m.lock.until = s.until
	}
}

// sessionDue ends a session lock that was not renewed.
func (q *Queue) sessionDue(s *session) {
	r := s.holder
	r.end(sessionLost())
	delete(q.links, r.link)
	q.releaseSession(r, true)
	r.wake()
}

// releaseSession frees the session. The messages the receiver held count as failed
// deliveries if the lock expired, but not if the receiver closed.
// Source: "Message sessions", impact of delivery count.
func (q *Queue) releaseSession(r *Receiver, failed bool) {
	s := r.session
	if s.holder != r {
		return
	}
	q.agenda.clear(&s.deadline)
	var changes []change
	held := make([]*message, 0, len(r.held))
	for m := range r.held {
		held = append(held, m)
	}
	sort.Slice(held, func(i, j int) bool { return held[i].seq < held[j].seq })
	now := q.clock.Now()
	for _, m := range held {
		changes = append(changes, q.returned(m, nil, failed, now)...)
	}
	q.failOn(q.commit(changes...))
	s.holder = nil
	if len(s.ready) > 0 {
		q.offer(s)
	}
	q.forgetIfIdle(s)
}

// AcceptSession locks the session with the given id, which need not have messages.
func (q *Queue) AcceptSession(id string, mode Mode, wake func()) (*Receiver, error) {
	_, err := q.enter()
	defer q.leave()
	if err := q.acceptable(err); err != nil {
		return nil, err
	}
	if len([]rune(id)) > MaxSessionIDLength {
		return nil, Errorf(ArgumentError, "The argument SessionId is longer than the maximum of %d characters.", MaxSessionIDLength)
	}
	s := q.session(id)
	if s.holder != nil {
		return nil, Errorf(SessionCannotBeLocked, "The requested session '%s' cannot be accepted. It may be locked by another receiver.", id)
	}
	return q.grant(s, mode, wake), nil
}

// AcceptNextSession locks any free session that has messages, waiting for one until ctx
// ends; then it fails with Timeout.
func (q *Queue) AcceptNextSession(ctx context.Context, mode Mode, wake func()) (*Receiver, error) {
	a := &acceptor{mode: mode, wake: wake, done: make(chan acceptResult, 1)}
	place, r, err := q.acceptOrWait(a)
	if err != nil || r != nil {
		return r, err
	}
	select {
	case got := <-a.done:
		return got.receiver, got.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	q.acceptors.Remove(place)
	q.mu.Unlock()
	select {
	case got := <-a.done: // granted at the last moment
		if got.err == nil && errors.Is(ctx.Err(), context.Canceled) {
			got.receiver.Close()
			return nil, ctx.Err()
		}
		return got.receiver, got.err
	default:
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return nil, Errorf(Timeout, "The operation did not complete within the allotted timeout. There was no session with messages to accept.")
}

func (q *Queue) acceptOrWait(a *acceptor) (*list.Element, *Receiver, error) {
	_, err := q.enter()
	defer q.leave()
	if err := q.acceptable(err); err != nil {
		return nil, nil, err
	}
	if first := q.available.Front(); first != nil {
		return nil, q.grant(first.Value.(*session), a.mode, a.wake), nil
	}
	return q.acceptors.PushBack(a), nil, nil
}

func (q *Queue) acceptable(err error) error {
	if err != nil {
		return err
	}
	if err := q.config.receiveError(); err != nil {
		return err
	}
	if !q.config.RequiresSession {
		return Errorf(NotAllowed, "A sessionful message receiver cannot be created on an entity that does not require sessions. Ensure RequiresSession is set to true when creating a Queue or Subscription to enable sessionful behavior.")
	}
	return nil
}

// holds checks that r still has its session. The queue is locked.
func (r *Receiver) holds() error {
	if r.session == nil || r.session.holder != r {
		return sessionLost()
	}
	return nil
}

// RenewSession extends the session lock by the lock duration and says until when.
func (r *Receiver) RenewSession() (time.Time, error) {
	_, err := r.queue.enter()
	defer r.queue.leave()
	if err != nil {
		return time.Time{}, err
	}
	if err := r.holds(); err != nil {
		return time.Time{}, err
	}
	r.queue.holdSession(r.session)
	return r.session.until, nil
}

// SessionState is the stored state of the session, nil if there is none.
func (r *Receiver) SessionState() ([]byte, error) {
	_, err := r.queue.enter()
	defer r.queue.leave()
	if err != nil {
		return nil, err
	}
	if err := r.holds(); err != nil {
		return nil, err
	}
	return r.session.state, nil
}

// SetSessionState replaces the state of the session; an empty one clears it.
func (r *Receiver) SetSessionState(state []byte) error {
	now, err := r.queue.enter()
	defer r.queue.leave()
	if err != nil {
		return err
	}
	if err := r.holds(); err != nil {
		return err
	}
	if len(state) > MaxSessionStateSize {
		return Errorf(ResourceLimitExceeded, "The session state of %d bytes is larger than the %d allowed.", len(state), MaxSessionStateSize)
	}
	return r.queue.commit(change{kind: changeState, text: r.session.id, data: slices.Clone(state), at: now})
}

// Sessions lists session ids in alphabetical order, n from position skip on. With a
// time it lists those whose state was set after it, else all with messages or state.
func (q *Queue) Sessions(after *time.Time, skip, n int) ([]string, error) {
	_, err := q.enter()
	defer q.leave()
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, s := range q.sessions {
		if after == nil && (s.messages > 0 || s.state != nil) || after != nil && s.state != nil && s.updated.After(*after) {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	ids = ids[min(max(skip, 0), len(ids)):]
	return ids[:min(max(n, 0), len(ids))], nil
}
