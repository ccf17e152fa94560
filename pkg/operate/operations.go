// Package operate is what operators see and do: what is stuck and why, what a replay
// would do, and the few words with which they change something. One engine (Desk)
// stands behind every face: the command line, the console and the event-replay function.
//
// It knows no broker SDK, no Graph SDK, no HTTP and no cloud runtime.
//
// # Nothing by accident
//
// Looking consumes nothing. What changes something names its operator, who was
// authenticated by somebody else, and a reason. A replay needs the digest of a plan;
// each message carries the digest of its own entry, and the worker, who decides anew
// under the lane lock, holds the event when it would now do something else.
package operate

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
)

// Errors that every face tells apart.
var (
	// ErrNotFound: no such entry, flag or person.
	ErrNotFound = errors.New("there is no such thing")
	// ErrStale: what was planned is not what would happen now; plan again.
	ErrStale = errors.New("the plan is out of date; plan again")
	// ErrRefused: the operator may not, or it makes no sense; the text says why.
	ErrRefused = errors.New("refused")
)

// Operator is the authenticated name of who acts. It is never taken from a request.
type Operator string

// Place is where an entry lies. The zero value is invalid.
type Place string

// The places: the dead letters of the queues, and the quarantine.
const (
	Inbound    Place = "inbound"
	Lanes      Place = "lanes"
	Flags      Place = "flags"
	Control    Place = "control"
	Quarantine Place = "quarantine"
)

// Places lists all places.
func Places() []Place { return []Place{Inbound, Lanes, Flags, Control, Quarantine} }

// ID names an entry.
type ID struct {
	Place    Place `json:"place"`
	Sequence int64 `json:"sequence"`
}

// Entry is a message that lies aside. It holds no personal data but an object id.
type Entry struct {
	ID
	Key    string `json:"key,omitempty"`
	Type   string `json:"type,omitempty"`
	Source string `json:"source,omitempty"`
	// Reason is from a closed list (events/README.md, "Runbook"); Detail says what
	// happened and names the fix.
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
	// Lane is the session that it came from: on lanes, the object id of a person.
	Lane string `json:"lane,omitempty"`
	// EnqueuedAt is when it came to its queue first.
	EnqueuedAt    time.Time `json:"enqueuedAt"`
	Deliveries    int       `json:"deliveries"`
	CorrelationID string    `json:"correlationId,omitempty"`
	Size          int       `json:"size"`
}

// Filter picks entries; every field that is set must hold. The zero value picks all.
type Filter struct {
	Places []Place `json:"places,omitempty"`
	// Lane, Type, Source and Reason are compared whole, in any case of letters.
	Lane   string `json:"lane,omitempty"`
	Type   string `json:"type,omitempty"`
	Source string `json:"source,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Text is looked for in key, detail and body, in any case of letters.
	Text string `json:"text,omitempty"`
	// Since and Until bound EnqueuedAt.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Page is a part of a list. Next continues it; empty at the end.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
	// Scanned is how many messages were looked at for this page.
	Scanned int `json:"scanned"`
}

// Count is how many there are of one kind.
type Count struct {
	Place  Place     `json:"place"`
	Reason string    `json:"reason"`
	Type   string    `json:"type,omitempty"`
	N      int       `json:"n"`
	Oldest time.Time `json:"oldest,omitzero"`
}

// Overview is the state of the whole at a glance.
type Overview struct {
	At      time.Time `json:"at"`
	Entries []Count   `json:"entries"`
	// OpenFlags are by cause, holds among them.
	OpenFlags []CauseCount `json:"openFlags"`
	// Untold is what lies in the flags queue and flag-notifier has not taken yet.
	Untold  Untold   `json:"untold,omitzero"`
	Breaker *Breaker `json:"breaker,omitempty"`
}

// Untold is how many messages wait, and since when.
type Untold struct {
	N      int       `json:"n"`
	Oldest time.Time `json:"oldest,omitzero"`
}

// CauseCount is how many flags of a cause are open.
type CauseCount struct {
	Cause  flag.Cause `json:"cause"`
	N      int        `json:"n"`
	Oldest time.Time  `json:"oldest,omitzero"`
}

// Breaker is how much of the blast radius is used up.
type Breaker struct {
	Window         time.Duration `json:"window"`
	Ordinary       int           `json:"ordinary"`
	OrdinaryLimit  int           `json:"ordinaryLimit"`
	Immediate      int           `json:"immediate"`
	ImmediateLimit int           `json:"immediateLimit"`
}

// Detail is one entry and what it would meet.
type Detail struct {
	Entry
	// Body is the message as it is, with personal data masked unless it was asked for.
	Body string `json:"body"`
	// Lane is what the lane remembers; nil when there is none, LaneBusy when a worker has it.
	LaneState *LaneState   `json:"laneState,omitempty"`
	LaneBusy  bool         `json:"laneBusy,omitempty"`
	Tenant    *TenantState `json:"tenant,omitempty"`
	// Would is what a replay would do now; nil when that cannot be told, Why says why.
	Would *Decision `json:"would,omitempty"`
	Why   string    `json:"why,omitempty"`
}

// LaneState is what a lane remembers, without anything secret.
type LaneState struct {
	Generation int64      `json:"generation"`
	Handled    []Handled  `json:"handled,omitempty"`
	Waiting    []Waiting  `json:"waiting,omitempty"`
	Statement  string     `json:"statement,omitempty"` // the latest by HR: type and date
	Applied    string     `json:"applied,omitempty"`
	BlockedFor string     `json:"blockedFor,omitempty"`
	BlockedAt  time.Time  `json:"blockedAt,omitzero"`
	Pass       *PassState `json:"pass,omitempty"`
	Floor      time.Time  `json:"floor,omitzero"`
}

// Handled is an event that came to its end.
type Handled struct {
	Key     string `json:"key"`
	Outcome string `json:"outcome"`
}

// Waiting is an event that is not over.
type Waiting struct {
	Key       string    `json:"key"`
	Type      string    `json:"type"`
	Kind      string    `json:"kind"` // planned, retry, held, behind
	Reason    string    `json:"reason,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Sequence  int64     `json:"sequence"`
	Attempt   int       `json:"attempt"`
	Approvals []string  `json:"approvals,omitempty"`
	Needs     int       `json:"needs,omitempty"`
}

// PassState is a pass as far as anybody may know it.
type PassState struct {
	StartsAt  time.Time `json:"startsAt,omitzero"`
	EndsAt    time.Time `json:"endsAt,omitzero"`
	Delivered bool      `json:"delivered"`
	Channel   string    `json:"channel,omitempty"`
	Usable    bool      `json:"usable"`
}

// TenantState is what the directory says of a person now. Names are masked unless they
// were asked for.
type TenantState struct {
	UserID            identity.UserID `json:"userId"`
	DisplayName       string          `json:"displayName,omitempty"`
	UserPrincipalName string          `json:"userPrincipalName,omitempty"`
	EmployeeID        string          `json:"employeeId,omitempty"`
	Enabled           bool            `json:"enabled"`
	Synced            bool            `json:"synced"`
	Guest             bool            `json:"guest"`
	Methods           []string        `json:"methods"`
	Passes            []PassState     `json:"passes,omitempty"`
	Roles             []string        `json:"roles,omitempty"`
	RiskLevel         string          `json:"riskLevel,omitempty"`
	RiskState         string          `json:"riskState,omitempty"`
	LastSignIn        time.Time       `json:"lastSignIn,omitzero"`
	PassPolicy        string          `json:"passPolicy,omitempty"` // in plain words
}

// Decision is what the planner says of one event.
type Decision struct {
	// Decision is that of package plan, or done when the lane has handled the key.
	Decision string   `json:"decision"`
	Reason   string   `json:"reason,omitempty"`
	Detail   string   `json:"detail,omitempty"`
	Steps    []string `json:"steps,omitempty"`
	Class    string   `json:"class,omitempty"`
	// Methods is how many would be removed; MethodsRead whether they were read from the
	// directory or estimated from its report.
	Methods     int  `json:"methods,omitempty"`
	MethodsRead bool `json:"methodsRead,omitempty"`
	// Calls is how many requests Graph would get.
	Calls int `json:"calls,omitempty"`
}

// Selection says what a plan is about: the entries named, or all that the filter picks.
type Selection struct {
	IDs    []ID    `json:"ids,omitempty"`
	Filter *Filter `json:"filter,omitempty"`
	// Edits are JSON merge patches (RFC 7396) to the data of events, by entry. What comes
	// out must obey its schema; key, type and person stay.
	Edits []Edit `json:"edits,omitempty"`
	// Exact reads every person's methods, however many there are.
	Exact bool `json:"exact,omitempty"`
}

// Edit corrects the data of one event.
type Edit struct {
	ID
	Patch json.RawMessage `json:"patch"`
}

// Plan is what a replay would do.
type Plan struct {
	// Digest covers the settings and the digest of every entry.
	Digest   string         `json:"digest"`
	Settings string         `json:"settings"` // digest of the worker's settings
	At       time.Time      `json:"at"`
	Entries  []PlannedEntry `json:"entries"`
	Summary  Summary        `json:"summary"`
}

// PlannedEntry is one entry of a plan.
type PlannedEntry struct {
	ID
	Key  string `json:"key"`
	Type string `json:"type"`
	Lane string `json:"lane,omitempty"`
	Decision
	// Diff is what an edit changes, line by line, with - and +.
	Diff []string `json:"diff,omitempty"`
	// Generation is that of the lane's ledger; 0 when there is none.
	Generation int64 `json:"generation,omitempty"`
	// Digest covers key, edit, decision and generation.
	Digest string `json:"digest"`
	// Patch is the edit that goes with it.
	Patch json.RawMessage `json:"patch,omitempty"`
	// Unplannable says why it cannot be replayed; it is left out of a replay.
	Unplannable string `json:"unplannable,omitempty"`
}

// Summary is a plan in numbers.
type Summary struct {
	Passes      int  `json:"passes"`
	Resets      int  `json:"resets"`
	Methods     int  `json:"methods"`
	MethodsRead bool `json:"methodsRead"`
	Blocks      int  `json:"blocks"`
	Done        int  `json:"done"`
	Obsolete    int  `json:"obsolete"`
	Held        int  `json:"held"`
	Waiting     int  `json:"waiting"`
	Other       int  `json:"other"`
	Unplannable int  `json:"unplannable"`
	Calls       int  `json:"calls"`
	// Radius is how many of the breaker's window the plan would use, of how many.
	Radius, RadiusLimit int
}

// Replay asks to replay some entries of a plan.
type Replay struct {
	// Plan is the digest of the whole plan, Settings and Digests what it covers.
	Plan     string   `json:"plan"`
	Settings string   `json:"settings"`
	Digests  []string `json:"digests"`
	// Entries are those to be replayed now.
	Entries []PlannedEntry `json:"entries"`
	Reason  string         `json:"reason"`
}

// Outcome is what became of one entry.
type Outcome struct {
	ID
	Key string `json:"key,omitempty"`
	// Outcome is replayed, discarded, resolved, sent, gone, stale or failed.
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
}

// OpenFlag is a flag that nobody has resolved.
type OpenFlag struct {
	// Number is its sequence number on the flags queue.
	Number int64 `json:"number"`
	flag.Flag
	// Needs and Approvals are those of a hold; 0 and none when they cannot be told.
	Needs     int      `json:"needs,omitempty"`
	Approvals []string `json:"approvals,omitempty"`
}

// FlagFilter picks open flags.
type FlagFilter struct {
	Cause flag.Cause      `json:"cause,omitempty"`
	User  identity.UserID `json:"user,omitempty"`
	Text  string          `json:"text,omitempty"`
	// Holds picks holds only.
	Holds bool `json:"holds,omitempty"`
}

// Word is an operator's decision on a hold.
type Word struct {
	// Flag is the number of the hold's flag.
	Flag     int64         `json:"flag"`
	Decision lane.Decision `json:"decision"`
	Reason   string        `json:"reason"`
}

// PersonView answers why somebody cannot sign in.
type PersonView struct {
	Tenant   TenantState `json:"tenant"`
	Lane     *LaneState  `json:"lane,omitempty"`
	LaneBusy bool        `json:"laneBusy,omitempty"`
	Flags    []OpenFlag  `json:"flags,omitempty"`
	Entries  []Entry     `json:"entries,omitempty"`
	// Cause is why, in plain words, and NextStep what to do.
	Cause    string `json:"cause"`
	NextStep string `json:"nextStep"`
}

// Looking is what consumes nothing.
type Looking interface {
	Overview(context.Context) (Overview, error)
	List(ctx context.Context, f Filter, cursor string, limit int) (Page[Entry], error)
	// Show tells of one entry; personal data is masked unless reveal is set.
	Show(ctx context.Context, id ID, reveal bool) (Detail, error)
	Flags(ctx context.Context, f FlagFilter, cursor string, limit int) (Page[OpenFlag], error)
	// Person looks somebody up by object id, user principal name, mail or employee id.
	Person(ctx context.Context, who string, reveal bool) (PersonView, error)
	Plan(context.Context, Selection) (Plan, error)
}

// Acting is what changes something. Every method is safe to repeat.
type Acting interface {
	// Replay sends entries back to where they came from. ErrStale: the digests are not
	// those of the plan, or the settings changed. An entry that is gone is none of its
	// business any more; outcomes are in the order of the entries.
	Replay(context.Context, Operator, Replay) ([]Outcome, error)
	// Discard removes entries for good; the reason is kept in the audit trail.
	Discard(ctx context.Context, by Operator, ids []ID, reason string) ([]Outcome, error)
	// Decide releases or drops a hold.
	Decide(context.Context, Operator, Word) (Outcome, error)
	// Resolve closes flags that are no holds.
	Resolve(ctx context.Context, by Operator, flags []int64, reason string) ([]Outcome, error)
	// LetIn says that a person whom we blocked as compromised may come back.
	LetIn(ctx context.Context, by Operator, user identity.UserID, reason string) (Outcome, error)
}

// Operations is the whole.
type Operations interface {
	Looking
	Acting
}
