package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
)

// Decisions beside those of package plan.
const (
	// AlreadyDone: the lane has handled the key; a replay changes nothing.
	AlreadyDone = "done"
	// StillWaiting: the event waits or is held in its lane; a replay changes nothing.
	StillWaiting = "waiting"
	// DeadLetterAgain: it would come back here, for Reason.
	DeadLetterAgain = "dead-letter"
	// ReadRecord: the router asks the HR system, whose answer decides.
	ReadRecord = "read-record"
	// SeveralLanes: the event reaches several people, each by a decision of their own.
	SeveralLanes = "several-lanes"
	// Tell: people are told of a flag again.
	Tell = "tell"
)

// foresight is what a replay of one entry would meet.
type foresight struct {
	PlannedEntry
	plan plan.Plan
	user identity.UserID
	// ledger is nil when there is none or it cannot be read; busy says that a worker
	// has it.
	ledger *ledger.Ledger
	busy   bool
	// tenant is what the decision was made with; nil when it needed none.
	tenant *plan.Tenant
}

// never gives an entry up.
func (f foresight) never(format string, args ...any) foresight {
	f.Unplannable = fmt.Sprintf(format, args...)
	return f
}

func (f foresight) decided(decision, reason, detail string) foresight {
	f.Decision = Decision{Decision: decision, Reason: reason, Detail: detail}
	return f
}

// foresee says what a replay of the message would do now.
func (d *planning) foresee(ctx context.Context, edit Edit, m queue.Stored) foresight {
	e := entry(edit.Place, m)
	f := foresight{PlannedEntry: PlannedEntry{ID: edit.ID, Key: e.Key, Type: e.Type, Lane: e.Lane, Patch: compact(edit.Patch)}}
	if edit.Place == Flags {
		return foreseeFlag(f, m)
	}
	ev, err := d.event(edit.Place, m.Received)
	if err != nil {
		return f.never("%s", err.Error())
	}
	if len(f.Patch) > 0 {
		if ev, f.Diff, err = d.edited(ev, f.Patch); err != nil {
			return f.never("%s", err.Error())
		}
	}
	f.Type = string(ev.Type)
	if edit.Place == Lanes {
		if belongs := ev.Lane(); belongs == "" || belongs != m.SessionID {
			return f.never("the event is in a lane that is not its person's; only the router writes to this queue")
		}
		return d.foreseeLane(ctx, f, ev)
	}
	return d.foreseeRoute(ctx, f, ev, m.Received)
}

func foreseeFlag(f foresight, m queue.Stored) foresight {
	if len(f.Patch) > 0 {
		return f.never("a flag cannot be edited")
	}
	if _, err := flag.Decode(m.Body); err != nil {
		return f.never("%s; discard it", err.Error())
	}
	return f.decided(Tell, "", "people are told again, on the channels that failed")
}

// errNoEvent: the message is nothing that could be run.
var errNoEvent = errors.New("this cannot be replayed")

// event is what a message carries. The error says why it carries none.
func (d *Desk) event(p Place, m queue.Received) (event.Event, error) {
	switch {
	case p == Control:
		return event.Event{}, fmt.Errorf("%w: nothing is replayed to the control queue; discard it", errNoEvent)
	case m.Properties[queue.PropCommand] != "":
		return event.Event{}, fmt.Errorf("%w: it is an operator's command; decide again, then discard it", errNoEvent)
	case len(m.Body) == 0:
		return event.Event{}, fmt.Errorf("%w: it is a wake-up without an event; discard it", errNoEvent)
	}
	ev, err := event.Decode(m.Body)
	if err == nil && m.Key != "" && ev.Key == m.Key {
		return ev, nil
	}
	if p != Quarantine {
		return event.Event{}, fmt.Errorf("%w: it is no event of ours; correct the sender and have it send the event anew", errNoEvent)
	}
	if m.ContentType != event.ContentType {
		return event.Event{}, fmt.Errorf("%w from here: it is a payload that only the mapping of its source can read; correct what the reason names and have the sender deliver it anew", errNoEvent)
	}
	// A canonical event that ingest refused: the catalogue may know better by now.
	if ev, err = d.Catalog.Parse(m.Body); err != nil {
		return event.Event{}, fmt.Errorf("%w: the catalogue still refuses it: %s", errNoEvent, err.Error())
	}
	ev.ReceivedAt, ev.Origin, ev.Key, ev.CorrelationID = m.EnqueuedAt, m.Properties[queue.PropSource], m.Key, m.CorrelationID
	if ev.Key == "" || ev.Origin == "" {
		return event.Event{}, fmt.Errorf("%w: it names no key or no source", errNoEvent)
	}
	return ev, nil
}

// foreseeRoute is for an event that goes by the router first.
func (d *planning) foreseeRoute(ctx context.Context, f foresight, ev event.Event, m queue.Received) foresight {
	to, err := again(f.PlannedEntry, ev, m)
	if err != nil {
		return f.never("%s", err.Error())
	}
	if l, err := d.memory(ctx, d.Queues.Inbound, to.SessionID); err == nil {
		if at, over := remembered(f, l); over {
			return at
		}
	} else if !errors.Is(err, errBusy) {
		return f.never("the memory of the router cannot be read: %s", err.Error())
	}
	if ev.Type == event.Ref && ev.UserID == "" {
		return f.decided(ReadRecord, "", "the router reads the record of the HR system, and what it says decides")
	}
	if ev.Type.IsTenantWide() {
		f.Lane = ev.Lane()
		return d.foreseeLane(ctx, f, ev)
	}
	users, why, err := d.Router.Preview(ctx, ev)
	switch {
	case errors.Is(err, event.ErrBadData):
		return f.decided(DeadLetterAgain, string(lane.BadEvent), err.Error())
	case err != nil:
		return f.never("the directory does not answer: %s", err.Error())
	case why != "":
		return f.decided(string(plan.NoUser), string(why), why.Title()+". "+why.NextStep())
	case len(users) != 1:
		return f.decided(SeveralLanes, "", fmt.Sprintf("the event goes to the lanes of %d enabled accounts", len(users)))
	}
	ev.UserID = users[0]
	f.Lane = string(ev.UserID)
	return d.foreseeLane(ctx, f, ev)
}

// remembered says what the lane makes of a key that it knows.
func remembered(f foresight, l *ledger.Ledger) (foresight, bool) {
	if outcome, ok := l.HandledAs(f.Key); ok {
		return f.decided(AlreadyDone, string(outcome), "the lane has handled this event; a replay changes nothing"), true
	}
	if w := l.WaitingFor(f.Key); w != nil {
		return f.decided(StillWaiting, w.Reason, "the event waits in its lane ("+string(w.Kind)+"); a replay changes nothing"), true
	}
	return f, false
}

// foreseeLane asks the worker's planner.
func (d *planning) foreseeLane(ctx context.Context, f foresight, ev event.Event) foresight {
	f.user = ev.UserID
	l, err := d.memory(ctx, d.Queues.Lanes, ev.Lane())
	switch {
	case errors.Is(err, errBusy):
		f.busy = true
		return f.never("a worker has the lane now; plan again in a moment")
	case err != nil:
		return f.never("the memory of the lane cannot be read: %s", err.Error())
	}
	f.ledger, f.Generation = l, l.Generation
	if at, over := remembered(f, l); over {
		return at
	}
	if l.BelowFloor(ev.Type, ev.ReceivedAt) {
		return f.decided(string(plan.Hold), string(lane.BelowFloor), "the lane no longer remembers this far back: look in the audit trail whether it was handled")
	}
	ctx, calls := correlation.Collect(ctx)
	p, tenant, verdict, err := d.worker.Preview(ctx, ev, l, d.Now())
	f.tenant = tenant
	switch {
	case err != nil:
		return f.never("it cannot be planned: %s", err.Error())
	case verdict != nil && verdict.Retries():
		_, why := verdict.Why()
		return f.never("the directory does not answer: %s", why)
	case verdict != nil:
		reason, why := verdict.Why()
		return f.decided(DeadLetterAgain, string(reason), why)
	}
	if p.Decision == plan.Refuse {
		return f.decided(DeadLetterAgain, string(lane.PolicyRefused), p.Detail)
	}
	f.plan = p
	f.Decision = decision(p, tenant)
	f.Calls += len(calls.List())
	return f
}

// decision tells a plan, with what it would cost.
func decision(p plan.Plan, t *plan.Tenant) Decision {
	d := Decision{Decision: string(p.Decision), Reason: string(p.Reason), Detail: p.Detail, Class: string(p.Class), Steps: p.StepNames()}
	for _, s := range p.Steps {
		switch s.Action {
		case plan.IssuePass:
			d.Calls += 3 // who is the manager, the pass, the mail
		case plan.RemoveMethods:
			d.MethodsRead = true
			for _, m := range t.Methods {
				if picked, _ := s.Methods.Picks(m); picked {
					d.Methods++
				}
			}
			// Each part of a batch counts, and what remains is read again
			// (design of the removal: methods and three).
			d.Calls += d.Methods + 3
		case plan.BlockSignIn, plan.UnblockSignIn, plan.RevokeSessions, plan.DeletePass, plan.RandomPassword, plan.AddToGroup:
			d.Calls++
		case plan.ChangePolicy:
			d.Calls += 3 * len(s.Titles) // a read before each write and one behind it
		case plan.Mark: // in the ledger only
		}
	}
	return d
}

func compact(patch json.RawMessage) json.RawMessage {
	if text := strings.TrimSpace(string(patch)); text == "" || text == "null" {
		return nil
	}
	var v any
	if json.Unmarshal(patch, &v) != nil {
		return patch
	}
	b, err := json.Marshal(v)
	if err != nil {
		return patch
	}
	return b
}
