package doctor

import (
	"context"
	"errors"
	"io"
	"time"

	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/sweep"
)

// Deployment is what is examined. Ports may be nil: what they would tell is skipped.
type Deployment struct {
	Functions []Function
	// Reader is an app of the examiner's own, which reads of the tenant what no function's
	// app can be asked for; nil when there is none.
	Reader App
	// Broker tells the settings of queues; BrokerWhy why there is none.
	Broker    Broker
	BrokerWhy string
	Web       Web
	Desk      Desk
	// Clocks are what tells the time in the Date header of its answers.
	Clocks []Clock
	// Logs are what functions wrote.
	Logs []Log
	Now  func() time.Time
}

// Function is one deployed function as its settings describe it. Fields that a function
// has no setting for are zero.
type Function struct {
	Name string
	// Problems are why the function would not start; the rest is then not to be relied on.
	Problems []string
	// Unread is why the settings could not be had at all.
	Unread string

	// Tenant, Broker and Graph are where the function works: the tenant, the host of the
	// broker, the origin of Graph.
	Tenant, Broker, Graph string
	// Queues are the names of the queues by what they are for.
	Queues map[Purpose]string
	// Receives are those that it takes messages or session state from, with a lock that it
	// believes to last for Lock. MaxStarts is how often it starts an event of the first.
	Receives  []Purpose
	Lock      time.Duration
	MaxStarts int

	// Sources are the event types that the function lets each source send.
	Sources map[string]event.Scope
	// Scopes are the event types that it acts on.
	Scopes map[string]event.Scope
	// Zone is the default time zone.
	Zone string
	// Planning is a digest of all other settings that plans are made with.
	Planning string

	ClientState *clientstate.Keys
	// NotificationURL is the origin at which Graph reaches us.
	NotificationURL      string
	SubscriptionLifetime time.Duration

	PassLifetime time.Duration
	PassOneTime  bool
	Protected    []identity.UserID
	// BreakGlass are the emergency accounts that the function watches over.
	BreakGlass []identity.UserID
	// Requires is true when it can require stronger methods of people.
	Requires bool
	// Sender is the mailbox that the function sends from; empty when it sends none.
	Sender string
	// Polls are what it asks the tenant for.
	Polls []sweep.Poll
	// Channels are the hosts that it calls with flags or passes, by what they are.
	Channels map[string]string

	// URL is where it is reached by HTTP, and Posters are the sources that post there.
	URL     string
	Posters []string
	// App is its app registration; nil when only the function itself can prove to be it,
	// for which Why says the reason.
	App App
	Why string
}

// Readable reports whether the settings can be looked at.
func (f Function) Readable() bool { return len(f.Problems) == 0 && f.Unread == "" }

// Purpose is what a queue is for. The zero value is invalid.
type Purpose string

// The purposes, which are also the usual names.
const (
	Inbound    Purpose = "inbound"
	Lanes      Purpose = "lanes"
	Flags      Purpose = "flags"
	Control    Purpose = "control"
	Quarantine Purpose = "quarantine"
)

// sessions reports whether the queue keeps one person's messages, or what workers share,
// in order.
func (p Purpose) sessions() bool { return p == Inbound || p == Lanes || p == Control }

// App is an app registration and the tenant as it sees it. Its errors are those of
// package identity.
type App interface {
	// Permissions are the application permissions that a token says the app has.
	Permissions(context.Context) ([]string, error)
	PassPolicy(context.Context) (identity.PassPolicy, error)
	// AccessRules are those of Conditional Access that ask for an authentication strength.
	AccessRules(context.Context) ([]AccessRule, error)
	Account(context.Context, identity.UserID) (identity.Account, error)
	Find(context.Context, identity.Reference) ([]identity.Account, error)
	// Subscriptions are those of this app: nobody else is told of them.
	Subscriptions(context.Context) ([]sweep.Subscription, error)
}

// AccessRule is a policy of Conditional Access that asks for an authentication strength.
type AccessRule struct {
	Name     string
	Strength string
	// Enforced is false for a policy that only reports.
	Enforced bool
	// Everyone is true when it is about all users.
	Everyone bool
	// OneTime and MultiUse say whether such a Temporary Access Pass satisfies it.
	OneTime, MultiUse bool
}

// Queue is how a queue is configured.
type Queue struct {
	Active   bool
	Sessions bool
	// Duplicates is how long a message id is remembered; 0 is not at all.
	Duplicates  time.Duration
	Lock        time.Duration
	MaxDelivery int
	// TTL is how long messages live at most; 0 is for ever.
	TTL              time.Duration
	DeadLetterExpiry bool
	// Waiting are messages that are or will be delivered, deferred ones included.
	Waiting int
}

// Broker tells how queues are configured: ErrNoQueue, ErrDenied.
type Broker interface {
	Queue(ctx context.Context, name string) (Queue, error)
}

// Errors of the ports.
var (
	// ErrNoQueue: there is no such queue.
	ErrNoQueue = errors.New("there is no such queue")
	// ErrDenied: whoever asks may not read the settings of queues.
	ErrDenied = errors.New("whoever asks may not read the settings of queues")
	// ErrNobody: event-replay knows no operator behind who asks.
	ErrNobody = errors.New("event-replay takes us for nobody")
)

// Answer is how a URL answers.
type Answer struct {
	Status      int
	ContentType string
	// Date is what the answer says of the time; zero when nothing. Asked is when it was
	// asked for, halfway to its arrival.
	Date, Asked time.Time
	// Body is its beginning.
	Body string
}

// Web asks URLs. Its errors do not quote them.
type Web interface {
	Do(ctx context.Context, method, url string) (Answer, error)
	// Resolve looks a host name up.
	Resolve(ctx context.Context, host string) error
}

// Overview is what event-replay shows of the whole.
type Overview = operate.Overview

// Desk is event-replay. WhoAmI is ErrNobody when it lets us in for nothing; any other
// error means that it does not answer.
type Desk interface {
	WhoAmI(context.Context) (operate.Operator, error)
	Overview(context.Context) (Overview, error)
}

// Clock is somebody who tells the time.
type Clock struct{ Name, URL string }

// Log is a file with the lines of functions.
type Log struct {
	Name string
	Open func() (io.ReadCloser, error)
}
