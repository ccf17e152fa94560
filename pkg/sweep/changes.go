package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/telemetry"
)

// errEndless: the answer has neither a next page nor an end.
var errEndless = errors.New("a page of changes that leads nowhere")

// changes asks what changed since the last round.
func (r *run) changes(ctx context.Context) (told int, err error) {
	c := &r.state.Changes
	if c.Link == "" && c.Next == "" && c.Gap == nil {
		return 0, r.beginNow(ctx)
	}
	if c.BegunAt.IsZero() {
		c.BegunAt = r.now
	}
	for {
		if c.Gap != nil && !c.Gap.Deleted {
			n, err := r.deletedInGap(ctx)
			if told += n; err != nil {
				return told, err
			}
		}
		n, more, err := r.nextChanges(ctx)
		if told += n; err != nil || !more {
			return told, err
		}
	}
}

// beginNow takes the link that tells what changes from here on. It reads nobody.
func (r *run) beginNow(ctx context.Context) error {
	link, err := under(ctx, r.session, r.Directory.ChangesFromNow)
	if err != nil {
		return err
	}
	r.state.Changes = changeState{Link: link, CompletedAt: r.now}
	return r.save(ctx)
}

// nextChanges reads one page.
func (r *run) nextChanges(ctx context.Context) (told int, more bool, err error) {
	c := &r.state.Changes
	link := c.Next
	if link == "" && c.Gap == nil {
		link = c.Link
	}
	page, err := under(ctx, r.session, func(ctx context.Context) (Page[Change], error) { return r.Directory.Changes(ctx, link) })
	if errors.Is(err, ErrResync) && link != "" {
		if c.Gap != nil && c.Gap.To.Equal(r.now) { // and is so again: the next sweep may have better luck
			c.Next = ""
			return 0, false, errors.Join(err, r.save(ctx))
		}
		r.openGap(ctx)
		return 0, true, r.save(ctx)
	}
	if err != nil {
		return 0, false, err
	}
	events := make([]event.Event, 0, len(page.Items))
	for _, i := range page.Items {
		kind := event.AccountUpdated
		if i.Removed {
			kind = event.AccountDeleted
		}
		e, err := accountChanged(pageID(link, c.BegunAt)+"."+string(i.ID), i.ID, kind, r.now)
		if err != nil {
			return 0, false, err
		}
		events = append(events, e)
	}
	if err := r.tell(ctx, events); err != nil {
		return 0, false, err
	}
	if c.Gap != nil {
		c.Gap.Told += len(events)
	}
	c.Next = page.Next
	switch {
	case page.Delta != "":
		r.closeRound(ctx, page.Delta)
	case page.Next == "":
		return len(events), false, errEndless
	}
	return len(events), page.Delta == "", r.save(ctx)
}

// closeRound remembers where the next round begins.
func (r *run) closeRound(ctx context.Context, link string) {
	c := &r.state.Changes
	if g := c.Gap; g != nil {
		r.Log.WarnContext(ctx, "gap", telemetry.KeyOutcome, "filled", "from", g.From.UTC().Format(time.RFC3339), "to", g.To.UTC().Format(time.RFC3339), "users", g.Told)
		c.LastGap = g
	}
	*c = changeState{Link: link, CompletedAt: c.BegunAt, LastGap: c.LastGap}
}

// openGap begins to read everything, because nobody can say what changed.
func (r *run) openGap(ctx context.Context) {
	c := &r.state.Changes
	from := c.CompletedAt
	if c.Gap != nil {
		from = c.Gap.From // again, while everything was being read
	}
	c.Gap, c.Next, c.BegunAt = &gap{From: from, To: r.now}, "", r.now
	r.Log.WarnContext(ctx, "gap", telemetry.KeyOutcome, "found", "from", from.UTC().Format(time.RFC3339), "to", r.now.UTC().Format(time.RFC3339),
		telemetry.KeyReason, "the directory cannot tell what changed: every lane is told to look")
	r.measure(ctx, "changes", telemetry.Metric{Name: telemetry.MetricChangesGap, Unit: telemetry.Seconds, Value: r.now.Sub(from).Seconds()})
}

// deletedInGap finds who was deleted: they are not among everybody. It begins anew
// when it is interrupted.
func (r *run) deletedInGap(ctx context.Context) (told int, err error) {
	g := r.state.Changes.Gap
	for link := ""; ; {
		page, err := under(ctx, r.session, func(ctx context.Context) (Page[Deleted], error) { return r.Directory.DeletedUsers(ctx, g.From, link) })
		if err != nil {
			return told, err
		}
		var events []event.Event
		for _, d := range page.Items {
			e, err := accountChanged(fmt.Sprintf("deleted.%d.%s", d.At.Unix(), d.ID), d.ID, event.AccountDeleted, r.now)
			if err != nil {
				return told, err
			}
			events = append(events, e)
		}
		if err := r.tell(ctx, events); err != nil {
			return told, err
		}
		told += len(events)
		if link = page.Next; link == "" {
			break
		}
	}
	g.Told += told
	g.Deleted = true
	return told, r.save(ctx)
}

// pageID is the same whenever a page of a round is read again. The link of the first
// page of everybody is empty in every round, hence the time at which it began.
func pageID(link string, begun time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", link, begun.UnixNano()))
	return hex.EncodeToString(sum[:8])
}

func accountChanged(id string, user identity.UserID, kind event.AccountChange, at time.Time) (event.Event, error) {
	return event.Observed(Graph, id, event.AccountChanged, string(user), at, at,
		event.AccountUpdate{Person: identity.Reference{ObjectID: string(user)}, Change: kind})
}
