package broker

import (
	"container/heap"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
)

// State is where a message is in its life. The numbers are those of the annotation
// x-opt-message-state, but shifted by one so that the zero value is no state.
type State uint8

// The states of a message.
const (
	StateActive State = iota + 1
	StateDeferred
	StateScheduled
)

// Message annotations of Service Bus.
const (
	annotationSequence        = "x-opt-sequence-number"
	annotationEnqueuedSeq     = "x-opt-enqueue-sequence-number"
	annotationEnqueuedTime    = "x-opt-enqueued-time"
	annotationLockedUntil     = "x-opt-locked-until"
	annotationState           = "x-opt-message-state"
	annotationScheduledTime   = "x-opt-scheduled-enqueue-time"
	annotationPartitionKey    = "x-opt-partition-key"
	annotationLockToken       = "x-opt-lock-token"
	propertyDeadLetterReason  = "DeadLetterReason"
	propertyDeadLetterDetails = "DeadLetterErrorDescription"
)

// message is a message in a queue or its dead-letter queue. Fields above the blank line
// are durable; the rest is lost with the process.
type message struct {
	seq         int64
	enqueuedSeq int64 // sequence number while scheduled, 0 if it never was
	id          string
	session     *string // nil in a queue without sessions
	enqueuedAt  time.Time
	scheduledAt time.Time
	ttl         time.Duration
	state       State
	dead        bool
	deliveries  uint32 // failed ones
	content     *amqp.Message
	size        int

	deadline
	lock       *lock
	readyIndex int // position in a readyHeap plus one
}

// lock is a peek-lock on a message.
type lock struct {
	token    amqp.UUID
	until    time.Time
	receiver *Receiver // whose session it belongs to; nil outside sessions
}

// revised is a copy of m without lock and place, to be changed and put in its stead.
func (m *message) revised() *message {
	c := *m
	content := *m.content
	c.content = &content
	c.deadline, c.lock, c.readyIndex = deadline{}, nil, 0
	return &c
}

// setProperties merges p into the application properties.
func (m *message) setProperties(p amqp.Map) {
	if len(p) == 0 {
		return
	}
	merged := slices.Clone(m.content.ApplicationProperties)
	for _, e := range p {
		if key, ok := amqp.Text(e.Key); ok {
			merged = merged.Set(key, e.Value)
		}
	}
	m.content.SetApplicationProperties(merged)
}

// expiresAt is when the time to live runs out; ok is false if it never does.
func (m *message) expiresAt() (at time.Time, ok bool) {
	if m.ttl >= Forever || m.dead {
		return time.Time{}, false
	}
	return m.enqueuedAt.Add(m.ttl), true
}

// encode is the message as a receiver gets it. Without a lock it is shown or handed over
// for good.
func (m *message) encode(held *lock) []byte {
	out := *m.content
	out.Header.DeliveryCount = m.deliveries
	out.Header.FirstAcquirer = false
	out.Header.TTL = nil
	if m.ttl < Forever {
		out.Header.TTL = new(uint32(min(m.ttl.Milliseconds(), math.MaxUint32)))
	}
	notes := slices.Clone(out.Annotations)
	note := func(key string, value any) { notes = append(notes, amqp.Entry{Key: amqp.Symbol(key), Value: value}) }
	note(annotationEnqueuedTime, amqp.TimestampOf(m.enqueuedAt))
	note(annotationSequence, m.seq)
	if m.enqueuedSeq != 0 {
		note(annotationEnqueuedSeq, m.enqueuedSeq)
	}
	if m.state != StateActive {
		note(annotationState, int32(m.state)-int32(StateActive))
	}
	if held != nil {
		note(annotationLockedUntil, amqp.TimestampOf(held.until))
		out.DeliveryAnnotations = append(slices.Clone(out.DeliveryAnnotations),
			amqp.Entry{Key: amqp.Symbol(annotationLockToken), Value: held.token})
	}
	out.Annotations = notes
	return out.Append(make([]byte, 0, m.size+256))
}

// admit checks a message that a client sends and prepares it for this queue, without
// sequence number yet.
func (c *QueueConfig) admit(in *amqp.Message, size int, now time.Time) (*message, error) {
	m := &message{content: in, enqueuedAt: now, state: StateActive, size: size}
	if size > MaxMessageSize {
		return nil, Errorf(MessageSizeExceeded, "The received message (delivery-id:0, size:%d bytes) exceeds the limit (%d bytes) currently allowed on the link.", size, MaxMessageSize)
	}
	if err := m.identify(); err != nil {
		return nil, err
	}
	if c.RequiresSession {
		if in.Properties.GroupID == nil {
			return nil, Errorf(NotAllowed, "The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have session support enabled can only receive messages that have the SessionId set to a valid value.")
		}
		m.session = in.Properties.GroupID
	}
	if err := m.checkAnnotations(now); err != nil {
		return nil, err
	}
	if err := checkProperties(in.ApplicationProperties); err != nil {
		return nil, err
	}
	m.ttl = c.DefaultTTL
	if ttl := in.Header.TTL; ttl != nil && *ttl > 0 {
		m.ttl = min(m.ttl, time.Duration(*ttl)*time.Millisecond)
	}
	return m, nil
}

func (m *message) identify() error {
	p := m.content.Properties
	switch id := p.MessageID.(type) {
	case nil:
		m.id = randomID()
		m.content.SetMessageID(m.id)
	case string:
		m.id = id
	default:
		m.id = fmt.Sprint(id)
	}
	if len([]rune(m.id)) > MaxMessageIDLength {
		return Errorf(ArgumentError, "The argument MessageId is longer than the maximum of %d characters.", MaxMessageIDLength)
	}
	if p.GroupID != nil && len([]rune(*p.GroupID)) > MaxSessionIDLength {
		return Errorf(ArgumentError, "The argument SessionId is longer than the maximum of %d characters.", MaxSessionIDLength)
	}
	return nil
}

func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// checkAnnotations takes the annotations that only the broker may set off the message
// and reads the ones a sender may.
func (m *message) checkAnnotations(now time.Time) error {
	kept := make(amqp.Map, 0, len(m.content.Annotations))
	for _, e := range m.content.Annotations {
		key, ok := amqp.Text(e.Key)
		if !ok {
			return Errorf(DecodeError, "message annotation named by %T", e.Key)
		}
		switch key {
		case annotationSequence, annotationEnqueuedTime, annotationLockedUntil:
			continue
		case annotationEnqueuedSeq, annotationState:
			if e.Value == nil {
				return Errorf(ArgumentError, "The annotation %s cannot be null.", key)
			}
			continue
		case annotationScheduledTime:
			at, ok := e.Value.(amqp.Timestamp)
			if !ok {
				return Errorf(ArgumentError, "The annotation %s must be a timestamp.", key)
			}
			if m.scheduledAt = at.Time(); m.scheduledAt.After(now) {
				m.state = StateScheduled
			}
		case annotationPartitionKey:
			if err := m.checkPartitionKey(e.Value); err != nil {
				return err
			}
		}
		kept = append(kept, e)
	}
	m.content.Annotations = kept
	return nil
}

func (m *message) checkPartitionKey(v any) error {
	key, ok := v.(string)
	switch {
	case v == nil:
		return nil
	case !ok:
		return Errorf(ArgumentError, "The annotation %s must be a string.", annotationPartitionKey)
	case len([]rune(key)) > MaxSessionIDLength:
		return Errorf(ArgumentError, "The argument PartitionKey is longer than the maximum of %d characters.", MaxSessionIDLength)
	case m.session != nil && *m.session != key:
		return Errorf(NotAllowed, "The PartitionKey '%s' and the SessionId '%s' of a message must be equal when both are set.", key, *m.session)
	}
	return nil
}

func checkProperties(p amqp.Map) error {
	total := 0
	for _, e := range p {
		switch e.Value.(type) {
		case amqp.List, amqp.Map, amqp.Array:
			return Errorf(ArgumentError, "The application property %v is not of a simple type.", e.Key)
		}
		n := len(amqp.Append(amqp.Append(nil, e.Key), e.Value))
		if n > MaxPropertySize {
			return Errorf(ArgumentOutOfRange, "The application property %.64v takes %d bytes, more than the %d allowed for one.", e.Key, n, MaxPropertySize)
		}
		total += n
	}
	if total > MaxPropertiesSize {
		return Errorf(ArgumentOutOfRange, "The application properties take %d bytes, more than the %d allowed for all.", total, MaxPropertiesSize)
	}
	return nil
}

// shelf holds messages in the order of their sequence numbers, for browsing.
type shelf struct {
	slots []slot
	gone  int
}

type slot struct {
	seq int64
	m   *message // nil once removed
}

func (s *shelf) find(seq int64) int {
	return sort.Search(len(s.slots), func(i int) bool { return s.slots[i].seq >= seq })
}

func (s *shelf) add(m *message) {
	i := s.find(m.seq)
	if i < len(s.slots) && s.slots[i].seq == m.seq {
		s.slots[i].m = m
		s.gone--
		return
	}
	s.slots = slices.Insert(s.slots, i, slot{m.seq, m})
}

func (s *shelf) remove(seq int64) {
	i := s.find(seq)
	s.slots[i].m = nil
	if s.gone++; s.gone > 32 && s.gone > len(s.slots)/2 {
		s.slots = slices.DeleteFunc(s.slots, func(x slot) bool { return x.m == nil })
		s.gone = 0
	}
}

// readyHeap holds the messages that can be delivered, lowest sequence number first, so
// that a message given back keeps its place.
type readyHeap []*message

func (h *readyHeap) add(m *message) { heap.Push(h, m) }

func (h *readyHeap) drop(m *message) { heap.Remove(h, m.readyIndex-1) }

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h readyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].readyIndex, h[j].readyIndex = i+1, j+1
}

func (h *readyHeap) Push(x any) {
	m := x.(*message)
	*h = append(*h, m)
	m.readyIndex = len(*h)
}

func (h *readyHeap) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	m.readyIndex = 0
	return m
}
