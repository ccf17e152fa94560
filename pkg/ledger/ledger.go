// Package ledger holds what a lane remembers of one person: the session state of
// the lane as versioned JSON.
//
// It imports the standard library and domain packages only. It knows no broker:
// pkg/lane reads and writes it. Nothing secret is ever in a ledger; a pass is
// known by its id.
package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/event"
)

// Version is the version of the JSON this package writes. Older ones are migrated
// when they are read (see migrate.go).
const Version = 2

// Sizes in bytes of an encoded ledger. Above Target the list of handled keys is
// shortened when the lane is idle; above Limit it is not written.
const (
	Target = 4 << 10
	Limit  = 16 << 10
)

// ErrUnreadable: the state is no ledger of a version we know. Nothing may be
// acted on and nothing written over it.
var ErrUnreadable = errors.New("ledger unreadable")

// ErrTooLarge: the ledger exceeds Limit even without handled keys.
var ErrTooLarge = errors.New("ledger too large")

// Ledger is the memory of one lane.
type Ledger struct {
	Version int `json:"v"`
	// Generation counts writes. A writer that finds another one than it wrote
	// last has lost the lane.
	Generation int64 `json:"gen"`
	// Handled are the keys that are finished, oldest first.
	Handled []Handled `json:"handled,omitempty"`
	// Floor: an event received at or before it that is not in Handled may have
	// been handled and forgotten. It is held, never run, unless it is repeatable:
	// those are forgotten first, and move no floor.
	Floor time.Time `json:"floor,omitzero"`
	// Waiting are the deferred events, by sequence number.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Settle are the sequence numbers of deferred events that are finished and may
	// still lie in the queue, because finishing comes before settling.
	Settle []int64 `json:"settle,omitempty"`
	// Current is the event in progress.
	Current *Current `json:"current,omitempty"`

	// Statement is the latest statement HR made, whether it acted yet or not.
	Statement *Statement `json:"statement,omitempty"`
	// Applied is the latest statement whose effect is on the tenant.
	Applied *Statement `json:"applied,omitempty"`
	// Rehired is when HR last made a rehire: nothing else makes an immediate leaver
	// obsolete.
	Rehired time.Time `json:"rehired,omitzero"`
	// Progress is how far events that act have come; it outlasts their waits.
	Progress []Progress `json:"progress,omitempty"`
	// Agreed are the keys of unfinished events that were replayed and found to do what
	// their plan said: from there on they do what is left of it.
	Agreed []string `json:"agreed,omitempty"`
	// Block is a sign-in block that we wrote and have not lifted.
	Block *Block `json:"block,omitempty"`
	// Compromise is the last incident that we answered.
	Compromise *Compromise `json:"compromise,omitempty"`
	// Pass is the pass we issued, or are about to issue.
	Pass *Pass `json:"pass,omitempty"`
	// PersonalMail is what we saw of the person's alternate address.
	PersonalMail *PersonalMail `json:"personalMail,omitempty"`
	// Policy is how far a change of the tenant's policy has come, in the lane of the tenant.
	Policy *PolicyChange `json:"policy,omitempty"`
}

// Outcome is how an event ended. The zero value is invalid.
type Outcome string

// The outcomes of finished events.
const (
	Done     Outcome = "done"
	Obsolete Outcome = "obsolete"
	Dropped  Outcome = "dropped"
	// WouldHave is the end of an event in report-only mode. It does not count as
	// handled: the event can be replayed live.
	WouldHave Outcome = "would-have"
	// Parked is the end of an event that was put on the quarantine queue. It does not
	// count as handled either: it can be replayed from there.
	Parked Outcome = "parked"
)

// Handled is a finished event.
type Handled struct {
	Key        string    `json:"k"`
	Outcome    Outcome   `json:"o"`
	ReceivedAt time.Time `json:"t"`
	// Repeatable is that of the event's type.
	Repeatable bool `json:"r,omitempty"`
}

// Kind says why an event waits. The zero value is invalid.
type Kind string

// The kinds of waiting.
const (
	// Planned: due later. Others do not wait behind it.
	Planned Kind = "planned"
	// Retry: something failed that time may cure.
	Retry Kind = "retry"
	// Held: until an operator decides.
	Held Kind = "held"
	// Behind: an earlier event waits for a retry or a hold.
	Behind Kind = "behind"
)

// Waiting is one deferred event.
type Waiting struct {
	Sequence   int64      `json:"seq"`
	Key        string     `json:"k"`
	Type       event.Type `json:"type"`
	Kind       Kind       `json:"kind"`
	Reason     string     `json:"why,omitempty"`
	Until      time.Time  `json:"until,omitzero"`
	Attempt    int        `json:"n,omitempty"`
	MadeAt     time.Time  `json:"made"`
	ReceivedAt time.Time  `json:"t"`
	// Immediate marks a leaver that only a rehire takes the place of.
	Immediate bool `json:"now,omitempty"`
	// Approvals are the operators who released the hold, Needs how many it takes.
	Approvals []string `json:"ok,omitempty"`
	Needs     int      `json:"needs,omitempty"`
	// Barred are digests of the people who may not approve: whom the event is
	// about and who asked for it.
	Barred []string `json:"barred,omitempty"`
	// Released: the hold is over, the event may run.
	Released bool `json:"released,omitempty"`
	// Allowed are the reasons that operators released the event from, this time or
	// before: it is not held for them again.
	Allowed []string `json:"allowed,omitempty"`
	// Unsent: the wake-up, or the flag of the hold, may not have been sent.
	Unsent bool `json:"unsent,omitempty"`
}

// Digest names a person in Barred without saying who it is.
func Digest(name string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(name))))
	return hex.EncodeToString(sum[:8])
}

// Blocks reports whether later events wait behind this one.
func (w Waiting) Blocks() bool { return w.Kind != Planned }

// Current counts the starts of the event in progress.
type Current struct {
	Key      string `json:"k"`
	Sequence int64  `json:"seq"`
	Starts   int    `json:"starts"`
}

// Statement is what HR said about employment, and when.
type Statement struct {
	Key        string     `json:"k"`
	Type       event.Type `json:"type"`
	MadeAt     time.Time  `json:"made"`
	ReceivedAt time.Time  `json:"t"`
	StartDate  event.Date `json:"start,omitzero"`
	LastDay    event.Date `json:"last,omitzero"`
	Immediate  bool       `json:"now,omitempty"`
}

// MadeAfter orders statements by when HR made them, then by receipt.
func (s Statement) MadeAfter(o Statement) bool {
	if !s.MadeAt.Equal(o.MadeAt) {
		return s.MadeAt.After(o.MadeAt)
	}
	return s.ReceivedAt.After(o.ReceivedAt)
}

// Progress counts the steps of an event that are done and need not, or must not, be
// done again. What can be read from the tenant is read and not kept here.
type Progress struct {
	Key  string   `json:"k"`
	Done []string `json:"done,omitempty"`
	// At is when the first step was done.
	At time.Time `json:"at"`
}

// Block is a sign-in block of ours.
type Block struct {
	Key string    `json:"k"`
	For BlockedBy `json:"for"`
	At  time.Time `json:"at"`
	// Immediate: an immediate leaver, whom no later date lets back in.
	Immediate bool `json:"now,omitempty"`
}

// BlockedBy is why we blocked. The zero value is invalid.
type BlockedBy string

// The reasons to block. A compromise outranks a leaver: only an operator lifts it.
const (
	BlockedAsLeaver     BlockedBy = "leaver"
	BlockedAsCompromise BlockedBy = "compromise"
)

// Compromise is an incident that was answered. Signals from before HandledAt, or
// until Until without a newly registered method, are of the same incident.
type Compromise struct {
	Key       string    `json:"k"`
	HandledAt time.Time `json:"at"`
	Until     time.Time `json:"until"`
	// Released is set once an operator let the person back in.
	Released bool `json:"released,omitempty"`
}

// Pass is a pass of ours. Before the directory is asked, Issuing is set and ID is
// empty: whoever resumes then knows that a pass found may be ours with a value
// that nobody has.
type Pass struct {
	ID  string `json:"id,omitempty"`
	Key string `json:"k"`
	// Type is that of the event that the pass is for.
	Type    event.Type `json:"type,omitempty"`
	Issuing time.Time  `json:"issuing,omitzero"`
	// Attempts counts how often the pass was issued for this event.
	Attempts  int       `json:"n,omitempty"`
	StartsAt  time.Time `json:"starts,omitzero"`
	EndsAt    time.Time `json:"ends,omitzero"`
	Delivered bool      `json:"delivered,omitempty"`
	// Channel is how it was delivered.
	Channel string `json:"via,omitempty"`
}

// PolicyChange is how far an event that changes the tenant's policy has come.
type PolicyChange struct {
	Key string `json:"k"`
	// Shown is the digest of the plan that the last hold named: a release is a word about
	// that plan and no other.
	Shown string `json:"shown,omitempty"`
	// Begun is the digest of the plan whose steps may have been taken. It is here before
	// the first of them, so that whoever resumes goes on with it.
	Begun string `json:"begun,omitempty"`
	// Disturbed: the tenant was changed by somebody else meanwhile, so that what is left is
	// not done without an operator.
	Disturbed bool `json:"disturbed,omitempty"`
}

// PersonalMail remembers an address by its digest, to tell since when it is
// unchanged.
type PersonalMail struct {
	Digest string    `json:"d"`
	Since  time.Time `json:"since"`
}

// Decode reads session state; no state is a new ledger.
func Decode(state []byte) (*Ledger, error) {
	if len(state) == 0 {
		return &Ledger{Version: Version}, nil
	}
	state, err := migrate(state)
	if err != nil {
		return nil, err
	}
	var l Ledger
	if err := json.Unmarshal(state, &l); err != nil {
		return nil, fmt.Errorf("%w: not the JSON of a ledger", ErrUnreadable)
	}
	return &l, nil
}

// Generation reads just the generation of a state.
func Generation(state []byte) (int64, error) {
	l, err := Decode(state)
	if err != nil {
		return 0, err
	}
	return l.Generation, nil
}

// remembered is how many handled keys are kept even above Target.
const remembered = 8

// Encode renders the ledger, shortening it to Target where it can. It changes
// Handled and Floor when it does.
func (l *Ledger) Encode() ([]byte, error) {
	for {
		b, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		if len(b) <= Target || len(l.Handled) <= remembered && len(b) <= Limit {
			return b, nil
		}
		if len(l.Handled) == 0 {
			return nil, ErrTooLarge
		}
		l.forgetOldest()
	}
}

// Room that waiting events leave free, in bytes: for the event in progress and for
// what is known of the person. The last of it is for events that shut people out.
const (
	room       = 6 << 10
	urgentRoom = 3 << 10
)

// Admits reports whether another event of the type may wait in the lane.
func (l *Ledger) Admits(t event.Type) bool {
	lean := *l
	lean.Handled = nil
	b, err := json.Marshal(lean)
	free := Limit - len(b)
	return err == nil && (free > room || t.Precedence() > 0 && free > urgentRoom)
}

// forgetOldest drops the oldest quarter of the handled keys: those of repeatable events
// as far as there are any, and otherwise any, which raises the floor.
func (l *Ledger) forgetOldest() {
	n := (len(l.Handled) + 3) / 4
	repeatable := 0
	l.Handled = slices.DeleteFunc(l.Handled, func(h Handled) bool {
		if h.Repeatable && repeatable < n {
			repeatable++
			return true
		}
		return false
	})
	if repeatable > 0 {
		return
	}
	for _, h := range l.Handled[:n] {
		if h.ReceivedAt.After(l.Floor) {
			l.Floor = h.ReceivedAt
		}
	}
	l.Handled = slices.Delete(l.Handled, 0, n)
}

// HandledAs reports how the event with the key ended, if it did.
func (l *Ledger) HandledAs(key string) (Outcome, bool) {
	for _, h := range l.Handled {
		if h.Key == key {
			return h.Outcome, true
		}
	}
	return "", false
}

// BelowFloor reports whether an event may have been handled and forgotten, and must not
// be handled again.
func (l *Ledger) BelowFloor(t event.Type, receivedAt time.Time) bool {
	return !t.IsRepeatable() && !l.Floor.IsZero() && !receivedAt.After(l.Floor)
}

// Finish records the end of an event and forgets that it waited or was current.
// When it waited, its message remains to be settled.
func (l *Ledger) Finish(key string, t event.Type, receivedAt time.Time, outcome Outcome) {
	if w := l.WaitingFor(key); w != nil {
		l.Settle = append(l.Settle, w.Sequence)
	}
	if outcome == WouldHave || outcome == Parked {
		l.Forget(key)
		return
	}
	l.Handled = append(l.Handled, Handled{Key: key, Outcome: outcome, ReceivedAt: receivedAt, Repeatable: t.IsRepeatable()})
	// Oldest first by receipt, so that the floor stays below what is remembered.
	slices.SortStableFunc(l.Handled, func(a, b Handled) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	l.Forget(key)
}

// Settled forgets that the message had to be settled.
func (l *Ledger) Settled(sequence int64) {
	l.Settle = slices.DeleteFunc(l.Settle, func(s int64) bool { return s == sequence })
}

// Forget removes the key from the waiting list and from Current.
func (l *Ledger) Forget(key string) {
	l.Waiting = slices.DeleteFunc(l.Waiting, func(w Waiting) bool { return w.Key == key })
	l.Progress = slices.DeleteFunc(l.Progress, func(p Progress) bool { return p.Key == key })
	l.Agreed = slices.DeleteFunc(l.Agreed, func(k string) bool { return k == key })
	if l.Current != nil && l.Current.Key == key {
		l.Current = nil
	}
	if l.Policy != nil && l.Policy.Key == key {
		l.Policy = nil
	}
}

// PolicyOf is how far the change of the event has come; the zero value when it has not
// begun.
func (l *Ledger) PolicyOf(key string) PolicyChange {
	if l.Policy != nil && l.Policy.Key == key {
		return *l.Policy
	}
	return PolicyChange{Key: key}
}

// WaitingFor finds the waiting event with the key.
func (l *Ledger) WaitingFor(key string) *Waiting {
	for i := range l.Waiting {
		if l.Waiting[i].Key == key {
			return &l.Waiting[i]
		}
	}
	return nil
}

// WaitingAt finds the waiting event with the sequence number.
func (l *Ledger) WaitingAt(sequence int64) *Waiting {
	for i := range l.Waiting {
		if l.Waiting[i].Sequence == sequence {
			return &l.Waiting[i]
		}
	}
	return nil
}

// Wait puts an event on the waiting list, or changes its entry.
func (l *Ledger) Wait(w Waiting) {
	if old := l.WaitingFor(w.Key); old != nil {
		*old = w
	} else {
		l.Waiting = append(l.Waiting, w)
		slices.SortFunc(l.Waiting, func(a, b Waiting) int { return int(min(1, max(-1, a.Sequence-b.Sequence))) })
	}
	if l.Current != nil && l.Current.Key == w.Key {
		l.Current = nil
	}
}

// Blocked reports whether an event of the type and sequence number must wait
// behind one that waits for a retry or a hold. Only strictly higher precedence
// passes.
func (l *Ledger) Blocked(t event.Type, sequence int64) bool {
	for _, w := range l.Waiting {
		if w.Sequence < sequence && w.Blocks() && t.Precedence() <= w.Type.Precedence() {
			return true
		}
	}
	return false
}

// Agree records that the event does what its plan said.
func (l *Ledger) Agree(key string) {
	if !slices.Contains(l.Agreed, key) {
		l.Agreed = append(l.Agreed, key)
	}
}

// WaitsBehind reports whether an event of the type waits behind another one.
func (l *Ledger) WaitsBehind(t event.Type) bool {
	return slices.ContainsFunc(l.Waiting, func(w Waiting) bool { return w.Kind == Behind && w.Type == t })
}

// ProgressOf is how far the event has come; the zero value when it has not begun.
func (l *Ledger) ProgressOf(key string) Progress {
	for _, p := range l.Progress {
		if p.Key == key {
			return p
		}
	}
	return Progress{}
}

// Step reports whether the step of the event is done.
func (l *Ledger) Step(key, step string) bool {
	return slices.Contains(l.ProgressOf(key).Done, step)
}

// StepDone records a step of the event.
func (l *Ledger) StepDone(key, step string, at time.Time) {
	i := slices.IndexFunc(l.Progress, func(p Progress) bool { return p.Key == key })
	if i < 0 {
		i = len(l.Progress)
		l.Progress = append(l.Progress, Progress{Key: key, At: at})
	}
	if !slices.Contains(l.Progress[i].Done, step) {
		l.Progress[i].Done = append(l.Progress[i].Done, step)
	}
}

// Start counts a start of the event and returns how many there were, this one
// included.
func (l *Ledger) Start(key string, sequence int64) int {
	if l.Current == nil || l.Current.Key != key || l.Current.Sequence != sequence {
		l.Current = &Current{Key: key, Sequence: sequence}
	}
	l.Current.Starts++
	return l.Current.Starts
}
