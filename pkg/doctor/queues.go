package doctor

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// week is how long message ids are remembered: the most that Service Bus does, and what
// the design counts on when something is sent again.
const week = 7 * 24 * time.Hour

func queueChecks() []Check {
	return []Check{
		{"queues", "Every queue is there and takes messages", "Make the queue as infra/modules/servicebus describes it, or correct the variable that names it", (*exam).queuesExist},
		{"queue-sessions", "inbound, lanes and control have sessions, flags and quarantine have none", "Sessions cannot be changed: drain the queue, delete it and make it anew", (*exam).queueSessions},
		{"queue-duplicates", "Queues drop repeated messages for seven days", "Set the window to P7D; a queue without duplicate detection has to be made anew", (*exam).queueDuplicates},
		{"queue-lock", "Locks last at least as long as the functions believe", "Lengthen the queue's lock duration, or lower MFAFLOW_LOCK_DURATION", (*exam).queueLock},
		{"queue-deliveries", "The broker delivers more often than the functions start an event", "Set the queue's max delivery count to 50", (*exam).queueDeliveries},
		{"queue-expiry", "No message is lost because it is old", "Take the default time to live off the queue, and turn dead-lettering on expiry on", (*exam).queueExpiry},
	}
}

// eachQueue shows every queue that the functions name with what it is for. Only the check
// that is about it says that one is missing.
func (e *exam) eachQueue(f *finding, absent func(name string, p Purpose, users []string), see func(name string, p Purpose, q Queue)) {
	type named struct {
		name string
		p    Purpose
	}
	users := map[named][]string{}
	for _, fn := range e.readable() {
		for p, name := range fn.Queues {
			users[named{name, p}] = append(users[named{name, p}], fn.Name)
		}
	}
	if e.Broker == nil {
		f.skip("%s", e.BrokerWhy)
		return
	}
	n := 0
	for _, key := range slices.SortedFunc(maps.Keys(users), func(a, b named) int { return strings.Compare(a.name+" "+string(a.p), b.name+" "+string(b.p)) }) {
		q, err := e.queues.get(key.name, func() (Queue, error) { return e.Broker.Queue(e.ctx, key.name) })
		switch {
		case errors.Is(err, ErrNoQueue):
			absent(key.name, key.p, users[key])
		case errors.Is(err, ErrDenied):
			f.skip("%v: that takes Azure Service Bus Data Owner, or a connection string with Manage", err)
		case err != nil:
			f.skip("%s", plainly(err))
		default:
			n++
			see(key.name, key.p, q)
		}
	}
	if n > 0 {
		f.note("%s", plural(n, "queue", "queues"))
	}
}

func (e *exam) presentQueues(f *finding, see func(name string, p Purpose, q Queue)) {
	e.eachQueue(f, func(name string, _ Purpose, _ []string) { f.skip("%s is not there", name) }, see)
}

func (e *exam) queuesExist(f *finding) {
	e.eachQueue(f,
		func(name string, p Purpose, users []string) {
			f.fail("%s, which %s use for %s, is not there", name, strings.Join(users, ", "), p)
		},
		func(name string, _ Purpose, q Queue) {
			if !q.Active {
				f.fail("%s is disabled", name)
			}
		})
}

func (e *exam) queueSessions(f *finding) {
	e.presentQueues(f, func(name string, p Purpose, q Queue) {
		switch {
		case p.sessions() && !q.Sessions:
			f.fail("%s has no sessions", name)
		case !p.sessions() && q.Sessions:
			f.fail("%s has sessions", name)
		}
	})
}

func (e *exam) queueDuplicates(f *finding) {
	e.presentQueues(f, func(name string, _ Purpose, q Queue) {
		switch {
		case q.Duplicates == 0:
			f.fail("%s drops no repeated messages", name)
		case q.Duplicates < week:
			f.fail("%s forgets after %s", name, span(q.Duplicates))
		}
	})
}

func (e *exam) queueLock(f *finding) {
	e.presentQueues(f, func(name string, p Purpose, q Queue) {
		for _, fn := range e.readable() {
			if fn.Queues[p] == name && slices.Contains(fn.Receives, p) && fn.Lock > q.Lock {
				f.fail("a lock of %s lasts %s, and %s works for %s", name, span(q.Lock), fn.Name, span(fn.Lock))
			}
		}
	})
}

// queueDeliveries: a broker that gives up before the worker does leaves a dead letter
// without our reason, and its lane behind it.
func (e *exam) queueDeliveries(f *finding) {
	e.presentQueues(f, func(name string, p Purpose, q Queue) {
		for _, fn := range e.readable() {
			if fn.Queues[p] == name && len(fn.Receives) > 0 && fn.Receives[0] == p && fn.MaxStarts >= q.MaxDelivery {
				f.fail("%s is delivered %d times, and %s starts an event up to %d times", name, q.MaxDelivery, fn.Name, fn.MaxStarts)
			}
		}
	})
}

func (e *exam) queueExpiry(f *finding) {
	e.presentQueues(f, func(name string, p Purpose, q Queue) {
		if q.TTL > 0 {
			if p == Lanes {
				f.fail("messages of %s live %s: an event that waits longer is never done", name, span(q.TTL))
			} else {
				f.warn("messages of %s live %s", name, span(q.TTL))
			}
		}
		if !q.DeadLetterExpiry {
			f.fail("%s drops what expires", name)
		}
	})
}
