package sweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
)

// employment tells who comes and goes, from the dates in the directory. A date is told
// when it comes near, when it moves and when it is withdrawn; what was told is kept
// until it has passed.
//
// The id of a statement has the time of the reading before, which is the same when a
// reading is repeated after a crash and never again: what HR withdrew and says a second
// time is another statement, however much later, since a lane remembers keys for years.
//
// Somebody who has not started yet is no leaver: the end of a short contract is told
// once it has begun, or it would replace the statement that begins it.
func (r *run) employment(ctx context.Context) (told int, err error) {
	today := dateIn(r.now, r.Zone)
	from := today
	if !r.state.EmploymentAt.IsZero() { // else what has passed is history
		from = min(today, dateIn(r.state.EmploymentAt, r.Zone))
	}
	near, gone, err := r.near(ctx, from)
	if err != nil {
		return 0, err
	}
	var events []event.Event
	after := maps.Clone(r.state.Employment)
	for _, id := range gone {
		delete(after, id) // their lanes hear of the deletion by itself
	}
	for _, id := range slices.Sorted(maps.Keys(near)) {
		is := employment{}
		if was := after[id]; was != nil {
			is = *was
		}
		e := near[id]
		hire, leave := r.date(e.HireDate), r.date(e.LeaveAt)
		if hire > today {
			leave = is.Leave
		}
		for _, s := range []struct {
			side
			told *string
			is   string
		}{{hiring, &is.Hire, hire}, {leaving, &is.Leave, leave}} {
			t, changed := s.statement(*s.told, s.is, from)
			if !changed {
				continue
			}
			*s.told = s.is
			some, err := r.one(EntraHR, fmt.Sprintf("%s.%s.%s.%d.%s", t, s.cancels, s.is, r.state.EmploymentAt.UnixMilli(), id), t, id, r.now, s.data(t, e, s.is, r.Zone))
			if err != nil {
				return 0, err
			}
			events, after[id] = append(events, some...), &is
		}
	}
	if err := r.tell(ctx, events); err != nil {
		return 0, err
	}
	maps.DeleteFunc(after, func(_ identity.UserID, e *employment) bool { return e.Hire < from && e.Leave < from })
	before, beforeAt := r.state.Employment, r.state.EmploymentAt
	r.state.Employment, r.state.EmploymentAt = after, r.now
	if err := r.save(ctx); err != nil {
		r.state.Employment, r.state.EmploymentAt = before, beforeAt // or nothing else could be saved either
		return len(events), err
	}
	return len(events), nil
}

// side is one end of an employment.
type side struct {
	first, moved event.Type
	// cancels is what a withdrawal names, and what tells the sides' statements apart.
	cancels string
	// put is where its date goes.
	put func(*event.Employment, event.Date)
}

var (
	hiring  = side{event.Joiner, event.StartDateChanged, "joiner", func(d *event.Employment, at event.Date) { d.StartDate = at }}
	leaving = side{event.Leaver, event.LastDayChanged, "leaver", func(d *event.Employment, at event.Date) { d.LastDay = at }}
)

// statement is what follows from a date that was told and the one that is: both are
// empty when there is none. What was told and has passed is history, and so is a date
// that nobody was told of before it passed.
func (s side) statement(told, is, from string) (t event.Type, changed bool) {
	switch {
	case told < from:
		return s.first, is >= from
	case is == told:
		return "", false
	case is == "":
		return event.Cancelled, true
	default:
		return s.moved, true
	}
}

func (s side) data(t event.Type, e Employment, date string, zone *time.Location) event.Employment {
	d := event.Employment{Person: identity.Reference{ObjectID: string(e.ID), EmployeeID: e.EmployeeID}}
	if t == event.Cancelled {
		d.Cancels = s.cancels
		return d
	}
	d.TimeZone = zone.String()
	at, _ := event.ParseDate(date) // we wrote it
	s.put(&d, at)
	return d
}

// near are the people whose dates are between from and the time ahead, and those who
// were told to be and no longer are; gone are those of them who were deleted.
func (r *run) near(ctx context.Context, from string) (near map[identity.UserID]Employment, gone []identity.UserID, err error) {
	first, _ := event.ParseDate(from) // ours
	begin, end := first.At(0, 0, time.UTC).Add(-24*time.Hour), r.now.Add(r.EmploymentAhead)
	near = map[identity.UserID]Employment{}
	for _, list := range []func(context.Context, time.Time, time.Time, string) (Page[Employment], error){r.Directory.Hires, r.Directory.Leavers} {
		for link := ""; ; {
			page, err := under(ctx, r.session, func(ctx context.Context) (Page[Employment], error) { return list(ctx, begin, end, link) })
			if err != nil {
				return nil, nil, err
			}
			for _, e := range page.Items {
				near[e.ID] = e
			}
			if link = page.Next; link == "" {
				break
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.state.Employment)) {
		told := r.state.Employment[id]
		e, seen := near[id]
		if seen && (told.Hire == "" || !e.HireDate.IsZero()) && (told.Leave == "" || !e.LeaveAt.IsZero()) || told.Hire < from && told.Leave < from {
			continue
		}
		e, err := under(ctx, r.session, func(ctx context.Context) (Employment, error) { return r.Directory.Employment(ctx, id) })
		switch {
		case errors.Is(err, identity.ErrNotFound):
			gone = append(gone, id)
		case err != nil:
			return nil, nil, err
		default:
			near[id] = e
		}
	}
	return near, gone, nil
}

// date is the calendar date that an instant of the directory stands for, or empty.
// Whoever writes a date and no time writes midnight UTC.
func (r *run) date(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	if utc := at.UTC(); utc.Equal(utc.Truncate(24 * time.Hour)) {
		return utc.Format(time.DateOnly)
	}
	return dateIn(at, r.Zone)
}

func dateIn(at time.Time, zone *time.Location) string { return at.In(zone).Format(time.DateOnly) }
