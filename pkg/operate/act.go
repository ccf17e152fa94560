package operate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/inbound"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// What becomes of an entry.
const (
	replayed  = "replayed"
	discarded = "discarded"
	resolved  = "resolved"
	sent      = "sent"
	gone      = "gone"
	stale     = "stale"
	failed    = "failed"
)

// maxID is how long a MessageId may be (learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas).
const maxID = 128

// replayID is the same for every replay of one dead letter, so that the broker drops
// the second, and another one than that of the first send.
func replayID(id ID, key string) string {
	suffix := fmt.Sprintf("~r%s.%d", id.Place, id.Sequence)
	if len(key)+len(suffix) > maxID {
		sum := sha256.Sum256([]byte(key))
		key = hex.EncodeToString(sum[:])
	}
	return key + suffix
}

// again is the message that a replay sends: what lies there, under its own key and an
// id of its own, with the digest of what its plan decided.
func again(e PlannedEntry, ev event.Event, from queue.Received) (queue.Message, error) {
	m := from.Message
	m.Properties = maps.Clone(from.Properties)
	for _, name := range []string{"DeadLetterReason", "DeadLetterErrorDescription"} {
		delete(m.Properties, name)
	}
	if e.Place == Flags {
		if m.Key == "" {
			m.ID = replayID(e.ID, from.ID)
			return m, nil
		}
		m.ID = replayID(e.ID, m.Key)
		return m, nil
	}
	if e.Place == Quarantine {
		var err error
		if m, err = inbound.Message(ev); err != nil {
			return queue.Message{}, err
		}
		m.CorrelationID, m.TraceParent, m.TraceState = from.CorrelationID, from.TraceParent, from.TraceState
	} else if len(e.Patch) > 0 {
		var err error
		if m.Body, err = ev.Encode(); err != nil {
			return queue.Message{}, err
		}
	}
	m.ID = replayID(e.ID, m.Key)
	m.Properties[queue.PropPlan] = e.decisionDigest()
	return m, nil
}

// check refuses what nobody may have asked for.
func check(by Operator, reason string) error {
	switch {
	case strings.TrimSpace(string(by)) == "":
		return fmt.Errorf("%w: nobody knows who asks", ErrRefused)
	case strings.TrimSpace(reason) == "":
		return fmt.Errorf("%w: say why", ErrRefused)
	case len(reason) > 1000:
		return fmt.Errorf("%w: the reason is longer than 1000 characters", ErrRefused)
	}
	return nil
}

// Replay implements Acting.
//
// # Why nothing is lost or done twice
//
// Each entry is taken under lock, sent, written into the audit trail, and then removed.
// Whoever dies before the end leaves the entry where it is, free again when the lock ends;
// the next replay sends the same MessageId, which the broker drops, or comes after the
// broker has forgotten it (seven days): then the lane knows the key.
func (d *Desk) Replay(ctx context.Context, by Operator, r Replay) ([]Outcome, error) {
	if err := check(by, r.Reason); err != nil {
		return nil, err
	}
	switch {
	case r.Settings != d.Settings:
		return nil, fmt.Errorf("%w: the settings of the worker are others now", ErrStale)
	case planDigest(r.Settings, r.Digests) != r.Plan:
		return nil, fmt.Errorf("%w: the digests are not those of the plan", ErrStale)
	}
	planned := make(map[string]bool, len(r.Digests)) // a plan has thousands
	for _, digest := range r.Digests {
		planned[digest] = true
	}
	for _, e := range r.Entries {
		if e.digest() != e.Digest || !planned[e.Digest] {
			return nil, fmt.Errorf("%w: %s %d is not in the plan like this", ErrStale, e.Place, e.Sequence)
		}
		if d.Shelves[e.Place] == nil {
			return nil, fmt.Errorf("%w: %q is no place", ErrRefused, e.Place)
		}
	}
	return each(r.Entries, func(e PlannedEntry) (Outcome, error) { return d.replay(ctx, by, r, e) })
}

// each does one thing after the other, and says what became of those before an error.
func each[T any](list []T, do func(T) (Outcome, error)) (outcomes []Outcome, err error) {
	for _, x := range list {
		o, err := do(x)
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// replay replays one entry. An error means that nothing more can be done now.
func (d *Desk) replay(ctx context.Context, by Operator, r Replay, e PlannedEntry) (Outcome, error) {
	o := Outcome{ID: e.ID, Key: e.Key}
	if e.Unplannable != "" {
		o.Outcome, o.Detail = failed, "left out: "+e.Unplannable
		return o, nil
	}
	rec := audit.Record{Key: e.Key, Type: e.Type, Lane: e.Lane, Action: "replay", Decision: e.Decision.Decision, Reason: r.Reason, Plan: r.Plan}
	return d.remove(ctx, by, o, rec, func(m queue.Received) (string, error) {
		if m.Key != e.Key {
			return "", fmt.Errorf("%w: another event lies under this number", ErrStale)
		}
		var ev event.Event
		if e.Place != Flags {
			var err error
			if ev, err = d.event(e.Place, m); err == nil && len(e.Patch) > 0 {
				ev, _, err = d.edited(ev, e.Patch)
			}
			if err != nil {
				return "", fmt.Errorf("%w: %s", ErrStale, err.Error())
			}
		}
		msg, err := again(e, ev, m)
		if err != nil {
			return "", fmt.Errorf("%w: %s", ErrStale, err.Error())
		}
		return replayed, d.Sender.Send(ctx, d.Queues.of(e.Place), msg)
	})
}

// giveBackTime is how long putting back may take when the request is over already.
const giveBackTime = 2 * time.Second

// putBack gives back what was taken, also when nobody waits for the answer any more:
// otherwise it stays locked until its lock ends.
func putBack(ctx context.Context, s Shelf, m queue.Received) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	return s.PutBack(ctx, m)
}

// remove takes an entry, does with it what do says, writes it down and removes the
// entry. An entry that cannot be had, or that do calls stale, is an outcome.
func (d *Desk) remove(ctx context.Context, by Operator, o Outcome, rec audit.Record, do func(queue.Received) (string, error)) (Outcome, error) {
	shelf := d.Shelves[o.Place]
	rec.Actor, rec.Started = string(by), time.Now()
	m, err := shelf.Take(ctx, o.Sequence)
	switch {
	case errors.Is(err, queue.ErrGone):
		o.Outcome = gone
		return o, nil
	case errors.Is(err, queue.ErrBusy):
		o.Outcome, o.Detail = failed, "somebody else holds it; try again in a minute"
		return o, nil
	case err != nil:
		return o, err
	}
	o.Key = m.Key
	what, err := do(m)
	if errors.Is(err, ErrStale) || errors.Is(err, queue.ErrTooLarge) {
		o.Outcome, o.Detail = stale, err.Error()
		if errors.Is(err, queue.ErrTooLarge) {
			o.Outcome = failed
		}
		return o, putBack(ctx, shelf, m)
	}
	if err != nil {
		return o, errors.Join(err, putBack(ctx, shelf, m))
	}
	rec.Key, rec.Outcome, rec.Duration = m.Key, what, time.Since(rec.Started)
	if rec.Correlation = m.CorrelationID; rec.Type == "" {
		rec.Type = m.Properties[queue.PropType]
	}
	if err := d.Audit.Write(ctx, rec); err != nil {
		return o, errors.Join(err, putBack(ctx, shelf, m))
	}
	if err := shelf.Complete(ctx, m); errors.Is(err, queue.ErrLockLost) {
		// It took too long; the entry may still lie there. Another replay of it changes
		// nothing.
		o.Detail = "the entry may still be listed; it can be replayed or discarded again"
	} else if err != nil {
		return o, err
	}
	o.Outcome = what
	return o, nil
}

// Discard implements Acting.
func (d *Desk) Discard(ctx context.Context, by Operator, ids []ID, reason string) ([]Outcome, error) {
	if err := check(by, reason); err != nil {
		return nil, err
	}
	return each(ids, func(id ID) (Outcome, error) {
		if d.Shelves[id.Place] == nil {
			return Outcome{}, fmt.Errorf("%w: %q is no place", ErrRefused, id.Place)
		}
		return d.remove(ctx, by, Outcome{ID: id}, audit.Record{Action: "discard", Reason: reason},
			func(queue.Received) (string, error) { return discarded, nil })
	})
}

// flag finds an open flag: ErrNotFound.
func (d *Desk) flag(ctx context.Context, number int64) (OpenFlag, queue.Stored, error) {
	m, err := find(ctx, d.Open, number)
	if err != nil {
		return OpenFlag{}, m, err
	}
	f, ok := openFlag(m)
	if !ok {
		return OpenFlag{}, m, fmt.Errorf("%w: no open flag has this number", ErrNotFound)
	}
	return f, m, nil
}

// Decide implements Acting. Who may decide is for the lane to judge, under its lock;
// what can be told before is told here. The flag is closed when the word ends the hold.
func (d *Desk) Decide(ctx context.Context, by Operator, w Word) (Outcome, error) {
	if err := check(by, w.Reason); err != nil {
		return Outcome{}, err
	}
	if w.Decision != lane.Release && w.Decision != lane.Drop {
		return Outcome{}, fmt.Errorf("%w: a hold is released or dropped", ErrRefused)
	}
	f, m, err := d.flag(ctx, w.Flag)
	o := Outcome{ID: ID{Flags, w.Flag}, Key: f.Key}
	switch {
	case errors.Is(err, ErrNotFound):
		o.Outcome, o.Detail = gone, "no flag has this number: it was dealt with, or the number is wrong"
		return o, nil
	case err != nil:
		return o, err
	case f.Cause != flag.Held || !d.isLane(f.Flag):
		return o, fmt.Errorf("%w: the flag is no hold; resolve it", ErrRefused)
	}
	ends := false
	l, err := d.memory(ctx, f.Queue, f.Lane)
	if err := quietly(err); err != nil {
		return o, err
	}
	if l != nil {
		hold, over := held(l, f.Flag)
		if hold == nil {
			o.Outcome, o.Detail = resolved, over
			return d.close(ctx, by, o, f, m, w.Reason)
		}
		name := ledger.Digest(string(by))
		approved := slices.ContainsFunc(hold.Approvals, func(a string) bool { return ledger.Digest(a) == name })
		switch {
		case slices.Contains(hold.Barred, name):
			return o, fmt.Errorf("%w: neither whom the event is about nor who asked for it may decide", ErrRefused)
		case approved && w.Decision == lane.Release:
			o.Outcome, o.Detail = sent, fmt.Sprintf("you have approved already: %d of %d; another operator has to", len(hold.Approvals), hold.Needs)
			return o, nil
		}
		ends = w.Decision == lane.Drop || len(hold.Approvals)+1 >= hold.Needs
		o.Detail = fmt.Sprintf("approved: %d of %d", len(hold.Approvals)+1, hold.Needs)
		if w.Decision == lane.Drop {
			o.Detail = "the lane drops the event"
		}
	} else {
		o.Detail = "a worker has the lane now, which judges the word when its turn comes"
	}
	command := lane.Command{Decision: w.Decision, Sequence: f.Sequence, Attempt: f.Attempt, Operator: string(by), Reason: w.Reason}
	if err := d.Sender.Send(ctx, f.Queue, command.Message(f.Lane, m.CorrelationID)); err != nil {
		return o, err
	}
	o.Outcome = sent
	if !ends {
		return o, d.note(ctx, by, f, string(w.Decision), w.Reason, sent)
	}
	return d.close(ctx, by, o, f, m, w.Reason)
}

// note writes down what an operator did about a flag.
func (d *Desk) note(ctx context.Context, by Operator, f OpenFlag, action, reason, outcome string) error {
	return d.Audit.Write(ctx, audit.Record{
		Key: f.Key, Type: f.Type, Source: f.Source, Lane: f.Lane, User: f.User, Actor: string(by), Action: action, Reason: reason,
		Decision: string(f.Cause), Outcome: outcome, Started: time.Now(),
	})
}

// close completes a flag and leaves the outcome as it is. A flag that nobody was told of
// yet is left to the notifier, which would lose others that are in front if it were
// taken from under it.
func (d *Desk) close(ctx context.Context, by Operator, o Outcome, f OpenFlag, m queue.Stored, reason string) (Outcome, error) {
	if m.State != queue.Deferred {
		o.Detail = strings.TrimPrefix(o.Detail+"; the flag stays open until people were told of it", "; ")
		return o, d.note(ctx, by, f, "resolve", reason, o.Outcome)
	}
	taken, err := d.Open.Take(ctx, f.Number)
	switch {
	case errors.Is(err, queue.ErrGone):
		return o, nil
	case errors.Is(err, queue.ErrBusy):
		o.Detail = strings.TrimPrefix(o.Detail+"; the flag could not be closed, since people are told of it just now", "; ")
		return o, nil
	case err != nil:
		return o, err
	}
	if err := d.note(ctx, by, f, "resolve", reason, o.Outcome); err != nil {
		return o, errors.Join(err, putBack(ctx, d.Open, taken))
	}
	return o, d.Open.Complete(ctx, taken)
}

// Resolve implements Acting. A flag of a hold that is over can be resolved too.
func (d *Desk) Resolve(ctx context.Context, by Operator, flags []int64, reason string) ([]Outcome, error) {
	if err := check(by, reason); err != nil {
		return nil, err
	}
	return each(flags, func(number int64) (Outcome, error) { return d.resolve(ctx, by, number, reason) })
}

func (d *Desk) resolve(ctx context.Context, by Operator, number int64, reason string) (Outcome, error) {
	f, m, err := d.flag(ctx, number)
	o := Outcome{ID: ID{Flags, number}, Key: f.Key}
	switch {
	case errors.Is(err, ErrNotFound):
		o.Outcome, o.Detail = gone, "no flag has this number: it was dealt with, or the number is wrong"
		return o, nil
	case err != nil:
		return o, err
	case m.State != queue.Deferred:
		o.Outcome, o.Detail = failed, "nobody was told of it yet; try again when flag-notifier has run"
		return o, nil
	}
	if f.Cause == flag.Held && d.isLane(f.Flag) {
		l, err := d.memory(ctx, f.Queue, f.Lane)
		if err := quietly(err); err != nil {
			return o, err
		}
		if l == nil {
			o.Outcome, o.Detail = failed, "the lane cannot be read now; try again in a moment"
			return o, nil
		}
		if hold, _ := held(l, f.Flag); hold != nil {
			o.Outcome, o.Detail = failed, "the event is still held: release or drop it"
			return o, nil
		}
	}
	o.Outcome = resolved
	return d.close(ctx, by, o, f, m, reason)
}

// LetIn implements Acting. The key of the operator's word is that of the incident, so
// that saying it twice is saying it once.
func (d *Desk) LetIn(ctx context.Context, by Operator, user identity.UserID, reason string) (Outcome, error) {
	o := Outcome{ID: ID{Place: Lanes}}
	if err := check(by, reason); err != nil {
		return o, err
	}
	user = identity.UserID(strings.ToLower(string(user)))
	if !identity.IsGUID(string(user)) {
		return o, fmt.Errorf("%w: name the person by object id", ErrRefused)
	}
	t, err := d.Worker.Look(ctx, user)
	if err != nil {
		return o, fmt.Errorf("look at the person: %w", err)
	}
	if t.Account == nil {
		return o, fmt.Errorf("%w: the directory has no such account", ErrNotFound)
	}
	for _, name := range []string{string(user), t.Account.UserPrincipalName, t.Account.Mail} {
		if name != "" && ledger.Digest(name) == ledger.Digest(string(by)) {
			return o, fmt.Errorf("%w: nobody lets themselves in", ErrRefused)
		}
	}
	l, err := d.memory(ctx, d.Queues.Lanes, string(user))
	switch {
	case errors.Is(err, errBusy):
		return o, fmt.Errorf("%w: a worker has the lane now; try again in a moment", ErrRefused)
	case err != nil:
		return o, err
	case l.Compromise == nil || l.Compromise.Released:
		return o, fmt.Errorf("%w: no block because of a compromise stands", ErrRefused)
	}
	incident := fmt.Sprintf("letin-%s-%d", user, l.Compromise.HandledAt.Unix())
	id := incident
	for n := 2; ; n++ { // a word that was held and dropped is over; this is another one
		if outcome, ok := l.HandledAs(event.NewKey(event.Operator, id)); !ok || outcome == ledger.Done {
			break
		}
		id = fmt.Sprintf("%s-%d", incident, n)
	}
	now := d.Now()
	ev, err := event.Observed(event.Operator, id, event.LetIn, "", now, now, map[string]any{
		"person": identity.Reference{ObjectID: string(user)}, "requestedBy": string(by),
	})
	if err != nil {
		return o, err
	}
	ev.UserID = user
	body, err := ev.Encode()
	if err != nil {
		return o, err
	}
	err = d.Sender.Send(ctx, d.Queues.Lanes, queue.Message{
		ID: ev.Key, SessionID: string(user), Key: ev.Key, ContentType: event.ContentType, Body: body,
		Properties: map[string]string{queue.PropType: string(ev.Type), queue.PropSource: ev.Origin},
	})
	if err != nil {
		return o, err
	}
	o.Key, o.Outcome = ev.Key, sent
	return o, d.Audit.Write(ctx, audit.Record{
		Key: ev.Key, Type: string(ev.Type), Source: ev.Origin, Lane: string(user), User: user, Actor: string(by), Action: "let-in",
		Reason: reason, Outcome: sent, Started: now,
	})
}
