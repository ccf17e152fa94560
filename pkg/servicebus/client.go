// Package servicebus is the adapter to Azure Service Bus: it sends messages and
// takes sessions under a lock that is judged locally.
//
// It is the only importer of azservicebus. No SDK type appears in a signature of
// the seam (pkg/queue) and nothing here knows what a message means.
package servicebus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
)

// Options configure a client. Either ConnectionString (emulator, development) or
// Namespace with Credential (production).
type Options struct {
	ConnectionString identity.Secret
	// Namespace is the host name, e.g. contoso.servicebus.windows.net.
	Namespace  string
	Credential azcore.TokenCredential
	// LockDuration is the lock duration of the session queues, 60 s by default.
	// It must not exceed what the queues are configured with: the lock is judged
	// by it.
	LockDuration time.Duration
	// IdleRebuild is the idle time after which the sending connection is rebuilt
	// before it is used again, 60 s by default: a Lambda sandbox that was frozen
	// holds a dead connection.
	IdleRebuild time.Duration
}

// Client sends and takes sessions. It connects at first use and is safe for
// concurrent use.
type Client struct {
	opts Options

	mu       sync.Mutex
	closed   bool
	sending  *connection   // retries quickly within the deadline of the call
	taking   []*connection // never retry: see Session
	free     []*connection // of taking, those that nobody opens a link on
	lastSend time.Time
	retired  map[*connection]struct{} // no longer used for new sends, but still in use
	closing  sync.WaitGroup           // connections that close in the background
}

// connection is one azservicebus client with its senders.
type connection struct {
	client  *azservicebus.Client
	senders map[string]*sender
	users   int // sends on their way
}

// sender opens its link once before anybody uses it: the SDK opens one for each of
// several first uses at a time and forgets all but the last, with a goroutine that
// renews its token.
type sender struct {
	*azservicebus.Sender
	opening chan bool // holds whether the link was opened
}

func (s *sender) open(ctx context.Context) error {
	select {
	case opened := <-s.opening:
		defer func() { s.opening <- opened }()
		if opened {
			return nil
		}
		_, err := s.NewMessageBatch(ctx, nil) // asks the link how large a message may be
		opened = err == nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// New checks the options and connects to nothing.
func New(opts Options) (*Client, error) {
	direct := opts.ConnectionString.Reveal() != ""
	if direct == (opts.Namespace != "") {
		return nil, errors.New("service bus: give either a connection string or a namespace")
	}
	if opts.Namespace != "" && opts.Credential == nil {
		return nil, errors.New("service bus: a namespace needs a credential")
	}
	if opts.LockDuration == 0 {
		opts.LockDuration = time.Minute
	}
	if opts.IdleRebuild == 0 {
		opts.IdleRebuild = time.Minute
	}
	return &Client{opts: opts, retired: map[*connection]struct{}{}}, nil
}

// Send hands messages to a queue and returns once the broker has accepted all of
// them. Several messages without a delay go in as few batches as hold them; delayed
// ones are scheduled one by one. Each batch is all or nothing, several are not: after
// ErrUnavailable some may be on the queue. A repeated ID is accepted and dropped by
// the broker, so sending all of them again is safe. A message that is too large by
// itself is ErrTooLarge, and then none that could be batched was sent.
func (c *Client) Send(ctx context.Context, queueName string, msgs ...queue.Message) error {
	conn, sender, err := c.sender(queueName)
	if err != nil {
		return err
	}
	defer c.release(conn)
	msgs = traced(ctx, msgs)
	cause := sender.open(ctx)
	if cause == nil {
		cause = sender.send(ctx, msgs)
	}
	if cause == nil {
		return nil
	}
	err = sendError(ctx, queueName, cause)
	if errors.Is(err, queue.ErrUnavailable) && !answered(cause) {
		c.retire(conn)
	}
	return err
}

// traced are the messages with the trace context that goes with their correlation ids:
// that of ctx where it is the same trace, else the one that they came with.
func traced(ctx context.Context, msgs []queue.Message) []queue.Message {
	msgs = slices.Clone(msgs)
	for i, m := range msgs {
		if m.CorrelationID != correlation.ID(ctx) {
			msgs[i].TraceParent, msgs[i].TraceState = correlation.Trace(m.Context(ctx))
		} else {
			msgs[i].TraceParent, msgs[i].TraceState = correlation.Trace(ctx)
		}
	}
	return msgs
}

// answered: the broker itself refused, so the connection is fine.
func answered(err error) bool {
	var link *amqp.LinkError
	var session *amqp.SessionError
	var conn *amqp.ConnError
	if errors.As(err, &link) || errors.As(err, &session) || errors.As(err, &conn) {
		return false
	}
	var refusal *amqp.Error
	return errors.As(err, &refusal)
}

func (s *sender) send(ctx context.Context, msgs []queue.Message) error {
	batchable := len(msgs) > 1
	for _, m := range msgs {
		batchable = batchable && m.EnqueueAt.IsZero()
	}
	if !batchable {
		for _, m := range msgs {
			if err := s.SendMessage(ctx, toSDK(m), nil); err != nil {
				return err
			}
		}
		return nil
	}
	batches, err := s.pack(ctx, msgs)
	if err != nil {
		return err
	}
	for _, batch := range batches {
		if err := s.SendMessageBatch(ctx, batch, nil); err != nil {
			return err
		}
	}
	return nil
}

// pack fills batches in order, before any is sent: a message that fits none must not
// leave half of the others on the queue.
func (s *sender) pack(ctx context.Context, msgs []queue.Message) ([]*azservicebus.MessageBatch, error) {
	var batches []*azservicebus.MessageBatch
	for len(msgs) > 0 {
		batch, err := s.NewMessageBatch(ctx, nil)
		if err != nil {
			return nil, err
		}
		fitted := 0
		for ; fitted < len(msgs); fitted++ {
			err = batch.AddMessage(toSDK(msgs[fitted]), nil)
			if err != nil {
				break
			}
		}
		if err != nil && (fitted == 0 || !errors.Is(err, azservicebus.ErrMessageTooLarge)) {
			return nil, err
		}
		batches, msgs = append(batches, batch), msgs[fitted:]
	}
	return batches, nil
}

func sendError(ctx context.Context, queueName string, err error) error {
	var amqpErr *amqp.Error
	switch {
	case errors.Is(err, azservicebus.ErrMessageTooLarge):
		return fmt.Errorf("send to %s: %w", queueName, queue.ErrTooLarge)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return fmt.Errorf("send to %s: %w", queueName, ctx.Err())
	case errors.As(err, &amqpErr) && amqpErr.Condition == amqp.ErrCondMessageSizeExceeded:
		return fmt.Errorf("send to %s: %w", queueName, queue.ErrTooLarge)
	default:
		return fmt.Errorf("send to %s: %w: %w", queueName, queue.ErrUnavailable, err)
	}
}

// sender returns the sender of a queue, on a connection that is not stale. The
// connection must be released.
func (c *Client) sender(queueName string) (*connection, *sender, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, fmt.Errorf("%w: client closed", queue.ErrUnavailable)
	}
	now := time.Now()
	// Round(0) strips the monotonic reading: the clock stands still in a frozen
	// sandbox, wall time does not.
	if now.Round(0).Sub(c.lastSend) > c.opts.IdleRebuild {
		c.retireLocked(c.sending)
	}
	c.lastSend = now.Round(0)
	if c.sending == nil {
		conn, err := c.connect(azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 50 * time.Millisecond, MaxRetryDelay: 500 * time.Millisecond})
		if err != nil {
			return nil, nil, err
		}
		c.sending = conn
	}
	s, ok := c.sending.senders[queueName]
	if !ok {
		unopened, err := c.sending.client.NewSender(queueName, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("open sender for %s: %w: %w", queueName, queue.ErrUnavailable, err)
		}
		s = &sender{Sender: unopened, opening: make(chan bool, 1)}
		s.opening <- false
		c.sending.senders[queueName] = s
	}
	c.sending.users++
	return c.sending, s, nil
}

func (c *Client) release(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.users--
	c.closeUnused(conn)
}

// retire abandons a connection that failed, so that the next call dials. Others that
// are on their way may finish on it.
func (c *Client) retire(failed *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked(failed)
}

func (c *Client) retireLocked(conn *connection) {
	if conn == nil || conn != c.sending {
		return
	}
	c.sending = nil
	c.retired[conn] = struct{}{}
	c.closeUnused(conn)
}

// closeUnused closes a retired connection in the background once nobody uses it; mu
// is held.
func (c *Client) closeUnused(conn *connection) {
	if _, ok := c.retired[conn]; ok && conn.users == 0 {
		delete(c.retired, conn)
		c.closing.Go(conn.close)
	}
}

// taker is a connection to open a receiving link on. Give it back with taken once the
// link is open; the link stays.
//
// # Why links are not opened side by side on one connection
//
// For every link the SDK presents its token twice, over a $cbs link that it opens and
// closes each time and of which a connection may have only one. Lanes that share a
// connection queue up for that, a dozen round trips each: with the broker 5 ms away,
// one connection gives out 14 sessions a second to however many lanes.
func (c *Client) taker() (*connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("%w: client closed", queue.ErrUnavailable)
	}
	if last := len(c.free) - 1; last >= 0 {
		conn := c.free[last]
		c.free = c.free[:last]
		return conn, nil
	}
	conn, err := c.connect(azservicebus.RetryOptions{MaxRetries: -1, RetryDelay: -1})
	if err != nil {
		return nil, err
	}
	c.taking = append(c.taking, conn)
	return conn, nil
}

func (c *Client) taken(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, conn)
}

func (c *Client) connect(retry azservicebus.RetryOptions) (*connection, error) {
	opts := &azservicebus.ClientOptions{RetryOptions: retry, ApplicationID: "mfaflow"}
	var client *azservicebus.Client
	var err error
	if c.opts.Namespace != "" {
		client, err = azservicebus.NewClient(c.opts.Namespace, c.opts.Credential, opts)
	} else {
		client, err = azservicebus.NewClientFromConnectionString(c.opts.ConnectionString.Reveal(), opts)
	}
	if err != nil {
		// The SDK's text may quote the connection string, which holds a key.
		return nil, errors.New("service bus: the connection string or namespace is not valid")
	}
	return &connection{client: client, senders: map[string]*sender{}}, nil
}

// closeTimeout bounds how long closing may take; a dead connection answers nothing.
// A drain keeps two seconds for closing a session and then the client.
const closeTimeout = 800 * time.Millisecond

func (conn *connection) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.client.Close(ctx) // what cannot be said goodbye to is gone already
}

// Close closes every connection and returns when that is done. Sessions must be
// closed first. A drainer calls it before it returns, since a frozen connection is a
// dead one.
func (c *Client) Close() {
	c.mu.Lock()
	if c.sending != nil {
		c.closing.Go(c.sending.close)
	}
	for _, conn := range c.taking {
		c.closing.Go(conn.close)
	}
	for conn := range c.retired {
		c.closing.Go(conn.close)
	}
	clear(c.retired)
	c.sending, c.taking, c.free, c.closed = nil, nil, nil, true
	c.mu.Unlock()
	c.closing.Wait()
}

func toSDK(m queue.Message) *azservicebus.Message {
	out := &azservicebus.Message{MessageID: &m.ID, Body: m.Body, ApplicationProperties: map[string]any{}}
	for k, v := range m.Properties {
		out.ApplicationProperties[k] = v
	}
	for name, value := range map[string]string{
		queue.PropKey: m.Key, correlation.TraceParent: m.TraceParent, queue.PropDiagnosticID: m.TraceParent, correlation.TraceState: m.TraceState,
	} {
		if value != "" {
			out.ApplicationProperties[name] = value
		}
	}
	if m.SessionID != "" {
		out.SessionID = &m.SessionID
	}
	if m.CorrelationID != "" {
		out.CorrelationID = &m.CorrelationID
	}
	if m.ContentType != "" {
		out.ContentType = &m.ContentType
	}
	if !m.EnqueueAt.IsZero() {
		out.ScheduledEnqueueTime = &m.EnqueueAt
	}
	return out
}

func fromSDK(m *azservicebus.ReceivedMessage) queue.Received {
	r := queue.Received{
		Message:       queue.Message{ID: m.MessageID, Body: m.Body, Properties: map[string]string{}},
		DeliveryCount: int(m.DeliveryCount),
		Token:         m,
	}
	for k, v := range m.ApplicationProperties {
		if s, ok := v.(string); ok {
			r.Properties[k] = s
		}
	}
	for name, to := range map[string]*string{queue.PropKey: &r.Key, correlation.TraceParent: &r.TraceParent, correlation.TraceState: &r.TraceState} {
		*to = r.Properties[name]
		delete(r.Properties, name)
	}
	delete(r.Properties, queue.PropDiagnosticID)
	for dst, src := range map[*string]*string{&r.SessionID: m.SessionID, &r.CorrelationID: m.CorrelationID, &r.ContentType: m.ContentType} {
		if src != nil {
			*dst = *src
		}
	}
	if m.SequenceNumber != nil {
		r.Sequence = *m.SequenceNumber
	}
	if m.EnqueuedTime != nil {
		r.EnqueuedAt = *m.EnqueuedTime
	}
	return r
}
