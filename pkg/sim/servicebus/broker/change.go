package broker

import (
	"fmt"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// A change is one step in the durable life of a queue. Applying the changes of a
// journal in order gives the queue as it was.
type change struct {
	kind    changeKind
	message *message
	seq     int64
	text    string // message id or session id
	data    []byte // session state
	at      time.Time
	config  *QueueConfig
	created time.Time
}

type changeKind uint8

const (
	changePut    changeKind = iota + 1 // add the message, or put it in place of the one with its sequence number
	changeRemove                       // remove the message seq
	changeState                        // set the state of session text
	changeSeen                         // remember message id text
	changeConfig                       // set the configuration
	changeNext                         // the next sequence number is at least seq
)

// commit makes changes durable and then real. An error means that neither happened.
func (q *Queue) commit(changes ...change) error {
	if len(changes) == 0 {
		return nil
	}
	if q.journal != nil {
		if err := q.journal.append(changes); err != nil {
			return Errorf(InternalError, "The journal of queue '%s' cannot be written: %v", q.config.Name, err)
		}
	}
	for _, c := range changes {
		q.apply(c)
	}
	if q.journal != nil && q.journal.bloated() {
		if err := q.journal.rewrite(q.snapshot()); err != nil {
			q.failOn(err)
		}
	}
	return nil
}

// failOn takes the queue out of service: a change that happens on its own accord, such
// as an expiry, could not be written, so memory and journal would part.
func (q *Queue) failOn(err error) {
	if err != nil && q.failure == nil {
		q.failure = Errorf(InternalError, "The queue '%s' is out of service: %v", q.config.Name, err)
		q.turnOut(q.failure, q.failure)
	}
}

func (q *Queue) apply(c change) {
	switch c.kind {
	case changePut:
		q.delete(c.message.seq)
		q.insert(c.message)
	case changeRemove:
		q.delete(c.seq)
	case changeState:
		s := q.session(c.text)
		s.state, s.updated = c.data, c.at
		if len(c.data) == 0 {
			s.state = nil
		}
		q.forgetIfIdle(s)
	case changeSeen:
		q.seen.add(c.text, c.at)
	case changeConfig:
		q.config, q.created, q.updated = *c.config, c.created, c.at
	case changeNext:
		q.nextSeq = max(q.nextSeq, c.seq)
	}
}

// snapshot is the shortest list of changes that gives this queue.
func (q *Queue) snapshot() []change {
	config := q.config
	changes := []change{
		{kind: changeConfig, config: &config, created: q.created, at: q.updated},
		{kind: changeNext, seq: q.nextSeq},
	}
	for _, s := range q.seen.order {
		changes = append(changes, change{kind: changeSeen, text: s.id, at: s.at})
	}
	for _, s := range q.sessions {
		if s.state != nil {
			changes = append(changes, change{kind: changeState, text: s.id, data: s.state, at: s.updated})
		}
	}
	for _, st := range []*store{&q.main, &q.dead} {
		for _, s := range st.shelf.slots {
			if s.m != nil {
				changes = append(changes, change{kind: changePut, message: s.m})
			}
		}
	}
	return changes
}

// encode is the change as the journal keeps it: a list whose first item is the kind.
func (c change) encode() amqp.List {
	l := amqp.List{uint8(c.kind)}
	switch c.kind {
	case changePut:
		m := c.message
		var session any
		if m.session != nil {
			session = *m.session
		}
		return append(l, m.seq, m.enqueuedSeq, m.id, session, stamp(m.enqueuedAt), stamp(m.scheduledAt), int64(m.ttl),
			uint8(m.state), m.dead, m.deliveries, int64(m.size), m.content.Append(nil))
	case changeRemove, changeNext:
		return append(l, c.seq)
	case changeState:
		return append(l, c.text, c.data, stamp(c.at))
	case changeSeen:
		return append(l, c.text, stamp(c.at))
	default: // changeConfig
		q := c.config
		return append(l, q.Name, int64(q.LockDuration), int64(q.MaxDeliveryCount), q.RequiresSession, int64(q.DuplicateDetection),
			int64(q.DefaultTTL), q.DeadLetterOnExpiry, int64(q.MaxSizeMegabytes), string(q.Status), int64(q.AutoDeleteOnIdle),
			q.DisableBatchedOperations, q.EnablePartitioning, q.UserMetadata, q.AuthorizationRules, stamp(c.created), stamp(c.at))
	}
}

// stamp keeps a time to the nanosecond; the zero time is 0.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func unstamp(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func decodeChange(v any) (c change, err error) {
	l, ok := v.(amqp.List)
	if !ok || len(l) == 0 {
		return c, fmt.Errorf("journal entry is %T", v)
	}
	f := items{list: l}
	c.kind = changeKind(next[uint8](&f))
	switch c.kind {
	case changePut:
		m := &message{seq: next[int64](&f), enqueuedSeq: next[int64](&f), id: next[string](&f)}
		if f.i < len(l) && l[f.i] == nil {
			f.i++
		} else {
			m.session = new(next[string](&f))
		}
		m.enqueuedAt, m.scheduledAt = unstamp(next[int64](&f)), unstamp(next[int64](&f))
		m.ttl, m.state, m.dead = time.Duration(next[int64](&f)), State(next[uint8](&f)), next[bool](&f)
		m.deliveries, m.size = next[uint32](&f), int(next[int64](&f))
		if m.content, err = amqp.DecodeMessage(next[[]byte](&f)); err != nil {
			return c, err
		}
		if m.state < StateActive || m.state > StateScheduled {
			return c, fmt.Errorf("message %d of state %d", m.seq, m.state)
		}
		c.message = m
	case changeRemove, changeNext:
		c.seq = next[int64](&f)
	case changeState:
		c.text, c.data, c.at = next[string](&f), next[[]byte](&f), unstamp(next[int64](&f))
	case changeSeen:
		c.text, c.at = next[string](&f), unstamp(next[int64](&f))
	case changeConfig:
		c.config = &QueueConfig{
			Name: next[string](&f), LockDuration: time.Duration(next[int64](&f)), MaxDeliveryCount: int(next[int64](&f)),
			RequiresSession: next[bool](&f), DuplicateDetection: time.Duration(next[int64](&f)), DefaultTTL: time.Duration(next[int64](&f)),
			DeadLetterOnExpiry: next[bool](&f), MaxSizeMegabytes: int(next[int64](&f)), Status: Status(next[string](&f)),
			AutoDeleteOnIdle: time.Duration(next[int64](&f)), DisableBatchedOperations: next[bool](&f), EnablePartitioning: next[bool](&f),
			UserMetadata: next[string](&f), AuthorizationRules: next[string](&f),
		}
		c.created, c.at = unstamp(next[int64](&f)), unstamp(next[int64](&f))
	default:
		return c, fmt.Errorf("journal entry of kind %d", c.kind)
	}
	return c, f.err
}

// items reads a list front to back. The first fault sticks in err.
type items struct {
	list amqp.List
	i    int
	err  error
}

func next[T any](f *items) (v T) {
	if f.i < len(f.list) {
		var ok bool
		if v, ok = f.list[f.i].(T); !ok && f.err == nil {
			f.err = fmt.Errorf("journal item %d is %T", f.i, f.list[f.i])
		}
	} else if f.err == nil {
		f.err = fmt.Errorf("journal item %d is missing", f.i)
	}
	f.i++
	return v
}
