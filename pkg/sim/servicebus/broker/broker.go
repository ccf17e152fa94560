// Package broker is the semantics of a Service Bus namespace: queues with locks,
// sessions, schedules, expiry, duplicate detection and dead letters, in memory or kept
// in a directory. It knows how messages are encoded but nothing of connections, links
// or HTTP.
//
// # Durability
//
// With a directory every queue has a journal there. A method that changes a queue
// returns once the operating system has the change, so nothing confirmed is lost when
// the process is killed; Options.Sync also waits for the disk. Messages, their state and
// delivery counts, sequence numbers, session state, schedules and the history of
// duplicate detection are kept. Locks are not: after a restart a locked message is
// available again, with the delivery count it had.
package broker

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/sim/clock"
)

// Options say how a broker keeps time and state.
type Options struct {
	Clock clock.Clock
	// Directory keeps the queues; "" keeps them in memory.
	Directory string
	// Sync waits for the disk with each change, not only for the operating system.
	Sync bool
}

// Broker is a namespace of queues. It is safe for concurrent use.
type Broker struct {
	options Options
	unlock  func() error

	mu     sync.Mutex
	queues map[string]*Queue // by name in lower case: names are not case-sensitive
	closed bool
}

// Open starts a broker with the queues found in the directory.
func Open(o Options) (*Broker, error) {
	b := &Broker{options: o, queues: map[string]*Queue{}, unlock: func() error { return nil }}
	if o.Directory == "" {
		return b, nil
	}
	if err := os.MkdirAll(o.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("service bus data: %w", err)
	}
	var err error
	if b.unlock, err = lockDirectory(o.Directory); err != nil {
		return nil, fmt.Errorf("service bus data: %w", err)
	}
	paths, err := filepath.Glob(filepath.Join(o.Directory, "*"+journalSuffix))
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	for _, path := range paths {
		if err := b.load(path); err != nil {
			return nil, errors.Join(fmt.Errorf("service bus data: %w", err), b.Close())
		}
	}
	return b, nil
}

func (b *Broker) load(path string) error {
	q := newQueue(b.options.Clock)
	j, err := openJournal(path, b.options.Sync, func(c change) error {
		q.apply(c)
		return nil
	})
	if err != nil {
		return err
	}
	q.journal = j
	b.queues[strings.ToLower(q.config.Name)] = q
	if err := q.config.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = q.enter() // what fell due while nobody ran happens now
	q.leave()
	return err
}

// Create adds a queue. An existing one is refused with EntityAlreadyExists.
func (b *Broker) Create(c QueueConfig) (*Queue, error) {
	if err := c.Validate(); err != nil {
		return nil, Errorf(ArgumentError, "%v", err)
	}
	c = c.withDefaults()
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.ToLower(c.Name)
	if b.closed {
		return nil, Errorf(OperationCancelled, "The broker is closed.")
	}
	if _, ok := b.queues[key]; ok {
		return nil, Errorf(EntityAlreadyExists, "The messaging entity '%s' already exists.", c.Name)
	}
	q := newQueue(b.options.Clock)
	now := b.options.Clock.Now()
	first := change{kind: changeConfig, config: &c, created: now, at: now}
	if b.options.Directory != "" {
		var err error
		if q.journal, err = createJournal(b.journalPath(key), b.options.Sync, []change{first}); err != nil {
			return nil, fmt.Errorf("create queue %s: %w", c.Name, err)
		}
	}
	q.apply(first)
	b.queues[key] = q
	return q, nil
}

func (b *Broker) journalPath(key string) string {
	return filepath.Join(b.options.Directory, url.PathEscape(key)+journalSuffix)
}

// Queue finds a queue by name.
func (b *Broker) Queue(name string) (*Queue, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, ok := b.queues[strings.ToLower(name)]
	return q, ok
}

// Queues are all queues, in the order of their names.
func (b *Broker) Queues() []*Queue {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := make([]string, 0, len(b.queues))
	for key := range b.queues {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	out := make([]*Queue, len(keys))
	for i, key := range keys {
		out[i] = b.queues[key]
	}
	return out
}

// Delete removes a queue with its messages and turns its clients out.
func (b *Broker) Delete(name string) error {
	b.mu.Lock()
	q, ok := b.queues[strings.ToLower(name)]
	delete(b.queues, strings.ToLower(name))
	b.mu.Unlock()
	if !ok {
		return Errorf(NotFound, "The messaging entity '%s' could not be found.", name)
	}
	return q.retire(Errorf(NotFound, "The messaging entity '%s' could not be found. It was deleted.", name), (*journal).remove)
}

// Update replaces the configuration of a queue. Clients that a new status excludes are
// turned out. A new default time to live holds for messages sent from then on.
func (q *Queue) Update(c QueueConfig) error {
	if err := c.Validate(); err != nil {
		return Errorf(ArgumentError, "%v", err)
	}
	c = c.withDefaults()
	now, err := q.enter()
	defer q.leave()
	if err != nil {
		return err
	}
	c.Name = q.config.Name
	if err := q.config.changeable(c); err != nil {
		return err
	}
	if err := q.commit(change{kind: changeConfig, config: &c, created: q.created, at: now}); err != nil {
		return err
	}
	q.turnOut(c.sendError(), c.receiveError())
	return nil
}

// retire takes the queue out of service for good.
func (q *Queue) retire(reason error, end func(*journal) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turnOut(reason, reason)
	q.failure = reason
	if q.alarm != nil {
		q.alarm.Stop()
		q.alarmAt = time.Time{}
	}
	if q.journal == nil {
		return nil
	}
	return end(q.journal)
}

// Close ends the broker. What is in the directory stays there.
func (b *Broker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	var errs []error
	for _, q := range b.queues {
		errs = append(errs, q.retire(Errorf(ConnectionForced, "The broker is closed."), (*journal).close))
	}
	return errors.Join(append(errs, b.unlock())...)
}
