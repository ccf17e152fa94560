package operate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// openFlag reads a flag of the flags queue; false for what else lies there, such as
// the wake-ups of the notifier. A flag that nobody was told of yet is open too.
func openFlag(m queue.Stored) (OpenFlag, bool) {
	if m.State == queue.Scheduled || m.Properties[queue.PropType] != flag.MessageType {
		return OpenFlag{}, false
	}
	f, err := flag.Decode(m.Body)
	return OpenFlag{Number: m.Sequence, Flag: f}, err == nil
}

// openFlags shows every open flag from a number on, until see has enough.
func (d *Desk) openFlags(ctx context.Context, from int64, see func(OpenFlag) bool) (next int64, err error) {
	return walk(ctx, d.Open, from, func(m queue.Stored) bool {
		f, ok := openFlag(m)
		return !ok || see(f)
	})
}

func (f FlagFilter) picks(o OpenFlag) bool {
	text := strings.ToLower(f.Text)
	holds := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return (f.Cause == "" || f.Cause == o.Cause) && (!f.Holds || o.Cause == flag.Held) &&
		(f.User == "" || strings.EqualFold(string(f.User), string(o.User))) &&
		(text == "" || holds(o.Key) || holds(o.Detail) || holds(o.Reason) || holds(o.Type) || holds(o.Source))
}

// Flags implements Looking. Holds are told with how many operators they need and who
// of them has approved, read from their lanes.
func (d *Desk) Flags(ctx context.Context, f FlagFilter, cursor string, limit int) (Page[OpenFlag], error) {
	page := Page[OpenFlag]{Items: []OpenFlag{}}
	from := int64(0)
	if cursor != "" {
		var err error
		if from, err = strconv.ParseInt(cursor, 10, 64); err != nil || from < 0 {
			return page, fmt.Errorf("%w: the cursor is none of ours", ErrRefused)
		}
	}
	limit = bound(limit)
	next, err := walk(ctx, d.Open, from, func(m queue.Stored) bool {
		page.Scanned++
		if o, ok := openFlag(m); ok && f.picks(o) {
			page.Items = append(page.Items, o)
		}
		return len(page.Items) < limit && page.Scanned < maxScan
	})
	if err != nil {
		return page, err
	}
	if next != 0 {
		page.Next = strconv.FormatInt(next, 10)
	}
	return page, d.approvals(ctx, page.Items)
}

// approvals fills in what the lanes know of holds. What cannot be read now is left out.
func (d *Desk) approvals(ctx context.Context, flags []OpenFlag) error {
	lanes := map[[2]string][]*OpenFlag{}
	for i, f := range flags {
		if f.Cause == flag.Held && d.isLane(f.Flag) {
			at := [2]string{f.Queue, f.Lane}
			lanes[at] = append(lanes[at], &flags[i])
		}
	}
	var reads []func() error
	for at, holds := range lanes {
		reads = append(reads, func() error {
			l, err := d.memory(ctx, at[0], at[1])
			if err != nil {
				return quietly(err)
			}
			for _, f := range holds {
				if w, _ := held(l, f.Flag); w != nil {
					f.Needs, f.Approvals = w.Needs, w.Approvals
				}
			}
			return nil
		})
	}
	return together(atOnce, reads...)
}

// quietly drops what only says that a lane cannot be read now.
func quietly(err error) error {
	if errors.Is(err, errBusy) || errors.Is(err, ledger.ErrUnreadable) {
		return nil
	}
	return err
}

// isLane reports whether the flag names a lane that can be read and sent to.
func (d *Desk) isLane(f flag.Flag) bool {
	return f.Lane != "" && (f.Queue == d.Queues.Lanes || f.Queue == d.Queues.Inbound)
}

// held finds the hold that a flag is about; nil when it is over, and then why.
func held(l *ledger.Ledger, f flag.Flag) (*ledger.Waiting, string) {
	switch w := l.WaitingAt(f.Sequence); {
	case w == nil:
		if outcome, ok := l.HandledAs(f.Key); ok {
			return nil, "the event is over: " + string(outcome)
		}
		return nil, "the event waits no more"
	case w.Kind != ledger.Held:
		return nil, "the event is not held any more"
	case w.Attempt != f.Attempt:
		return nil, "the event is held anew, under another flag"
	case w.Released:
		return nil, "the hold is released already"
	default:
		return w, ""
	}
}

// flagsOf are the open flags of a person.
func (d *Desk) flagsOf(ctx context.Context, user identity.UserID) (list []OpenFlag, err error) {
	f := FlagFilter{User: user}
	seen := 0
	_, err = d.openFlags(ctx, 0, func(o OpenFlag) bool {
		seen++
		if f.picks(o) {
			list = append(list, o)
		}
		return len(list) < maxLimit && seen < maxScan
	})
	if err != nil {
		return nil, err
	}
	return list, d.approvals(ctx, list)
}
