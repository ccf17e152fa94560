package servicebus

import (
	"errors"
	"time"

	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

// request hands a request to its node and queues the reply.
// Source: "AMQP 1.0 in Service Bus: request-response-based operations".
func (l *incoming) request(m *partial) error {
	msg, err := amqp.DecodeMessage(m.bytes)
	if err != nil {
		return broker.Errorf(broker.DecodeError, "%v", err)
	}
	reply := &amqp.Reply{CorrelationID: msg.Properties.MessageID}
	c := l.channel.conn
	if l.node.kind == nodeClaims {
		status, description := c.putToken(msg)
		reply.ApplicationProperties = amqp.Map{{Key: "status-code", Value: status}, {Key: "status-description", Value: description}}
	} else {
		a, err := l.manage(msg, l.fits(&msg.Properties))
		if cut, ok := errors.AsType[*cutError](err); ok {
			return cut
		}
		reply.ApplicationProperties, reply.Value = a.properties(err), a.body
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	to := l.replyLink(msg.Properties.ReplyTo)
	if to == nil {
		return broker.Errorf(broker.NotFound, "There is no link to reply to '%s' on.", msg.Properties.ReplyTo)
	}
	return to.reply(reply.Append(nil))
}

// replyLink finds where the reply goes: the client names either the target address of
// its receiver or, as some libraries do, the name of that link. The connection is locked.
func (l *incoming) replyLink(replyTo string) *outgoing {
	for _, ch := range l.channel.conn.channels {
		for _, o := range ch.outgoing {
			if !o.closing && o.node.kind == l.node.kind && o.node.queue == l.node.queue && (o.target == replyTo || o.name == replyTo) {
				return o
			}
		}
	}
	return nil
}

// maxReply is the most bytes of one answer, unless it is for one message that takes
// more. Source: "Message browsing": at most 250 messages or 256 KB at a time.
const maxReply = 256 << 10

// fits counts messages into the reply until it is as large as an answer may be and as
// the client takes. The first message always goes in: there is no smaller answer.
func (l *incoming) fits(request *amqp.Properties) broker.Fits {
	const (
		envelope   = 256 // status, keys and section headers
		perMessage = 64  // keys, lock token and headers of an element
	)
	room := uint64(maxReply)
	c := l.channel.conn
	c.mu.Lock()
	if to := l.replyLink(request.ReplyTo); to != nil && to.peerMax != 0 {
		room = min(room, to.peerMax)
	}
	c.mu.Unlock()
	used := uint64(envelope + len(amqp.Append(nil, request.MessageID)))
	first := true
	return func(bytes int) bool {
		used += uint64(bytes) + perMessage
		ok := first || used <= room
		first = false
		return ok
	}
}

// answer is the result of a management operation. Empty means there was nothing to find.
type answer struct {
	body  amqp.Map
	empty bool
}

// properties are the status of the answer, or of the error in its stead.
func (a answer) properties(err error) amqp.Map {
	status, description := int32(200), "OK"
	if a.empty {
		status, description = 204, "NoContent"
	}
	var condition any
	if err != nil {
		e := wireError(err)
		status, description, condition = statusOf(broker.Condition(e.Condition)), e.Description, e.Condition
	}
	p := amqp.Map{{Key: "statusCode", Value: status}, {Key: "statusDescription", Value: description}}
	if condition != nil {
		p = append(p, amqp.Entry{Key: "errorCondition", Value: condition})
	}
	return p
}

func statusOf(c broker.Condition) int32 {
	switch c {
	case broker.MessageLockLost, broker.SessionLockLost:
		return 410
	case broker.NotFound, broker.MessageNotFound:
		return 404
	case broker.UnauthorizedAccess:
		return 401
	case broker.ResourceLimitExceeded, broker.EntityDisabled:
		return 403
	case broker.Timeout:
		return 408
	case broker.SessionCannotBeLocked:
		return 409
	case broker.ServerBusy:
		return 503
	case broker.NotImplemented:
		return 501
	case broker.InternalError, broker.OperationCancelled:
		return 500
	}
	return 400
}

// operation is one request to a management node.
type operation struct {
	node   node
	holder *broker.Receiver // of the receiving link the request belongs to, or nil
	body   amqp.Map
	fits   broker.Fits // whether the reply takes one more message
}

// manage runs the operation that the request names.
func (l *incoming) manage(msg *amqp.Message, fits broker.Fits) (answer, error) {
	name, _ := msg.ApplicationProperties.String("operation")
	run := operationNamed(Operation(name))
	if run == nil {
		return answer{}, broker.Errorf(broker.NotImplemented, "The operation '%s' is not supported.", name)
	}
	body, ok := msg.Value.(amqp.Map)
	if !ok {
		return answer{}, invalid("the body of the request is %T", msg.Value)
	}
	op := operation{node: l.node, body: body, fits: fits}
	if link, ok := msg.ApplicationProperties.String("associated-link-name"); ok {
		if r := l.channel.conn.receiverLink(link); r != nil && r.node.queue == l.node.queue {
			op.holder = r.receiver
		}
	}
	right := rightListen
	if Operation(name) == OpSchedule || Operation(name) == OpCancelScheduled {
		right = rightSend
	}
	c := l.channel.conn
	c.mu.Lock()
	use := Use{c.claims.keyName, l.node.queue.Config().Name, right}
	c.mu.Unlock()
	c.server.uses.add(use)
	var a answer
	err := l.channel.conn.server.withFault(l.node.queue, Operation(name), func() (err error) {
		a, err = run(op)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return a, nil
}

func operationNamed(name Operation) func(operation) (answer, error) {
	switch name {
	case OpPeek:
		return operation.peek
	case OpRenewLock:
		return operation.renewLock
	case OpUpdateDisposition:
		return operation.updateDisposition
	case OpReceiveDeferred:
		return operation.receiveDeferred
	case OpSchedule:
		return operation.schedule
	case OpCancelScheduled:
		return operation.cancelScheduled
	case OpRenewSessionLock:
		return operation.renewSessionLock
	case OpGetSessionState:
		return operation.getSessionState
	case OpSetSessionState:
		return operation.setSessionState
	case OpListSessions:
		return operation.listSessions
	case OpDeleteMessages:
		return operation.deleteMessages
	}
	return nil
}

func invalid(format string, args ...any) error {
	return broker.Errorf(broker.ArgumentError, "Invalid request: "+format, args...)
}

// text reads an optional string of the body.
func (o operation) text(key string) (string, error) {
	v, _ := o.body.Get(key)
	s, ok := amqp.Text(v)
	if !ok && v != nil {
		return "", invalid("%s is %T", key, v)
	}
	return s, nil
}

func (o operation) integer(key string) (int64, error) {
	v, _ := o.body.Get(key)
	n, ok := amqp.Integer(v)
	if !ok {
		return 0, invalid("%s is %T", key, v)
	}
	return n, nil
}

// elements reads an array or list, of which every element must be a T.
func elements[T any](o operation, key string) ([]T, error) {
	v, _ := o.body.Get(key)
	var items []any
	switch v := v.(type) {
	case amqp.Array:
		items = v.Items
	case amqp.List:
		items = v
	}
	if len(items) == 0 {
		return nil, invalid("%s is %T or empty", key, v)
	}
	out := make([]T, len(items))
	for i, item := range items {
		var ok bool
		if out[i], ok = item.(T); !ok {
			return nil, invalid("%s holds %T", key, item)
		}
	}
	return out, nil
}

// session is the session a request is about: the one it names or the one its link holds.
func (o operation) session() (*string, error) {
	if v, ok := o.body.Get("session-id"); ok && v != nil {
		id, err := o.text("session-id")
		return &id, err
	}
	if o.holder != nil {
		if id, _, ok := o.holder.Session(); ok {
			return &id, nil
		}
	}
	return nil, nil
}

// sessionHolder is the receiver that holds the session the request names.
func (o operation) sessionHolder() (*broker.Receiver, error) {
	lost := broker.Errorf(broker.SessionLockLost, "The session lock was lost. Request a new session receiver.")
	if o.holder == nil {
		return nil, lost
	}
	named, err := o.session()
	if err != nil {
		return nil, err
	}
	if id, _, ok := o.holder.Session(); !ok || named == nil || id != *named {
		return nil, lost
	}
	return o.holder, nil
}

func (o operation) peek() (answer, error) {
	from, err := o.integer("from-sequence-number")
	if err != nil {
		return answer{}, err
	}
	count, err := o.integer("message-count")
	if err != nil {
		return answer{}, err
	}
	session, err := o.session()
	if err != nil {
		return answer{}, err
	}
	const most = 250 // source: as for maxReply
	payloads, err := o.node.queue.Peek(o.node.sub, from, int(min(count, most)), session, o.fits)
	if err != nil {
		return answer{}, err
	}
	list := make(amqp.List, len(payloads))
	for i, p := range payloads {
		list[i] = amqp.Map{{Key: "message", Value: p}}
	}
	return answer{body: amqp.Map{{Key: "messages", Value: list}}, empty: len(list) == 0}, nil
}

func (o operation) renewLock() (answer, error) {
	tokens, err := elements[amqp.UUID](o, "lock-tokens")
	if err != nil {
		return answer{}, err
	}
	until, err := o.node.queue.RenewLocks(o.node.sub, tokens)
	if err != nil {
		return answer{}, err
	}
	times := amqp.Array{Code: amqp.CodeTimestamp}
	for _, t := range until {
		times.Items = append(times.Items, amqp.TimestampOf(t))
	}
	return answer{body: amqp.Map{{Key: "expirations", Value: times}}}, nil
}

func (o operation) updateDisposition() (answer, error) {
	tokens, err := elements[amqp.UUID](o, "lock-tokens")
	if err != nil {
		return answer{}, err
	}
	status, err := o.text("disposition-status")
	if err != nil {
		return answer{}, err
	}
	var outcome broker.Outcome
	switch status {
	case "completed":
		outcome.Verdict = broker.Complete
	case "abandoned":
		outcome.Verdict = broker.Abandon
	case "suspended":
		outcome.Verdict = broker.DeadLetterMessage
	case "defered":
		outcome.Verdict = broker.Defer
	default:
		return answer{}, invalid("disposition-status '%s'", status)
	}
	if outcome.Reason, err = o.text("deadletter-reason"); err != nil {
		return answer{}, err
	}
	if outcome.Description, err = o.text("deadletter-description"); err != nil {
		return answer{}, err
	}
	if v, ok := o.body.Get("properties-to-modify"); ok && v != nil {
		if outcome.Properties, ok = v.(amqp.Map); !ok {
			return answer{}, invalid("properties-to-modify is %T", v)
		}
	}
	return answer{body: amqp.Map{}}, o.node.queue.Settle(o.node.sub, tokens, outcome)
}

func (o operation) receiveDeferred() (answer, error) {
	sequences, err := elements[int64](o, "sequence-numbers")
	if err != nil {
		return answer{}, err
	}
	n, err := o.integer("receiver-settle-mode")
	if err != nil {
		return answer{}, err
	}
	mode, err := broker.ParseMode(n)
	if err != nil {
		return answer{}, invalid("%v", err)
	}
	deliveries, err := o.node.queue.ReceiveDeferred(o.node.sub, sequences, mode, o.holder, o.fits)
	if err != nil {
		return answer{}, err
	}
	list := make(amqp.List, len(deliveries))
	for i, d := range deliveries {
		list[i] = amqp.Map{{Key: "message", Value: d.Payload}, {Key: "lock-token", Value: d.Token}}
	}
	return answer{body: amqp.Map{{Key: "messages", Value: list}}}, nil
}

func (o operation) schedule() (answer, error) {
	items, err := elements[amqp.Map](o, "messages")
	if err != nil {
		return answer{}, err
	}
	batch := make([]broker.Incoming, len(items))
	for i, item := range items {
		v, _ := item.Get("message")
		encoded, ok := v.([]byte)
		if !ok {
			return answer{}, invalid("message %d is %T", i, v)
		}
		m, err := amqp.DecodeMessage(encoded)
		if err != nil {
			return answer{}, invalid("message %d: %v", i, err)
		}
		if _, ok := m.Annotations.Get("x-opt-scheduled-enqueue-time"); !ok {
			return answer{}, invalid("message %d has no x-opt-scheduled-enqueue-time", i)
		}
		batch[i] = broker.Incoming{Message: m, Size: len(encoded)}
	}
	sequences, err := o.node.queue.Send(batch)
	if err != nil {
		return answer{}, err
	}
	numbers := amqp.Array{Code: amqp.CodeInt64}
	for _, s := range sequences {
		numbers.Items = append(numbers.Items, s)
	}
	return answer{body: amqp.Map{{Key: "sequence-numbers", Value: numbers}}}, nil
}

func (o operation) cancelScheduled() (answer, error) {
	sequences, err := elements[int64](o, "sequence-numbers")
	if err != nil {
		return answer{}, err
	}
	return answer{body: amqp.Map{}}, o.node.queue.CancelScheduled(sequences)
}

func (o operation) renewSessionLock() (answer, error) {
	holder, err := o.sessionHolder()
	if err != nil {
		return answer{}, err
	}
	until, err := holder.RenewSession()
	return answer{body: amqp.Map{{Key: "expiration", Value: amqp.TimestampOf(until)}}}, err
}

func (o operation) getSessionState() (answer, error) {
	holder, err := o.sessionHolder()
	if err != nil {
		return answer{}, err
	}
	state, err := holder.SessionState()
	var v any
	if state != nil {
		v = state
	}
	return answer{body: amqp.Map{{Key: "session-state", Value: v}}}, err
}

func (o operation) setSessionState() (answer, error) {
	holder, err := o.sessionHolder()
	if err != nil {
		return answer{}, err
	}
	v, _ := o.body.Get("session-state")
	state, ok := v.([]byte)
	if !ok && v != nil {
		return answer{}, invalid("session-state is %T", v)
	}
	return answer{body: amqp.Map{}}, holder.SetSessionState(state)
}

func (o operation) listSessions() (answer, error) {
	if !o.node.queue.Config().RequiresSession {
		return answer{}, broker.Errorf(broker.NotAllowed, "The entity does not require sessions.")
	}
	skip, err := o.integer("skip")
	if err != nil {
		return answer{}, err
	}
	top, err := o.integer("top")
	if err != nil {
		return answer{}, err
	}
	v, _ := o.body.Get("last-updated-time")
	at, ok := v.(amqp.Timestamp)
	if !ok {
		return answer{}, invalid("last-updated-time is %T", v)
	}
	// Clients ask for all sessions with a time past what .NET can hold: the last
	// millisecond of the year 9999.
	var after *time.Time
	if endOfTime := amqp.Timestamp(253402300799999); at < endOfTime {
		after = new(at.Time())
	}
	ids, err := o.node.queue.Sessions(after, int(skip), int(top))
	if err != nil {
		return answer{}, err
	}
	names := amqp.Array{Code: amqp.CodeString}
	for _, id := range ids {
		names.Items = append(names.Items, id)
	}
	body := amqp.Map{{Key: "skip", Value: int32(skip) + int32(len(ids))}, {Key: "sessions-ids", Value: names}}
	return answer{body: body, empty: len(ids) == 0}, nil
}

func (o operation) deleteMessages() (answer, error) {
	count, err := o.integer("message-count")
	if err != nil {
		return answer{}, err
	}
	v, _ := o.body.Get("enqueued-time-utc")
	before, ok := v.(amqp.Timestamp)
	if !ok {
		return answer{}, invalid("enqueued-time-utc is %T", v)
	}
	session, err := o.session()
	if err != nil {
		return answer{}, err
	}
	n, err := o.node.queue.DeleteMessages(o.node.sub, int(count), before.Time(), session)
	if err != nil {
		return answer{}, err
	}
	return answer{body: amqp.Map{{Key: "message-count", Value: int32(n)}}, empty: n == 0}, nil
}

func isCondition(err error, c broker.Condition) bool {
	var e *broker.Error
	return errors.As(err, &e) && e.Condition == c
}
