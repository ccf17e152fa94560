package sweep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
)

// How much of the last window is read again. Detections may be made offline, hours after
// the sign-in, but are listed by when they were made; the log of sign-ins lags by minutes
// (learn.microsoft.com/entra/identity/monitoring-health/reference-reports-latencies).
const (
	riskOverlap   = time.Hour
	signInOverlap = 30 * time.Minute
)

// poll reads a window page by page, from an overlap before the end of the last one
// until now, and tells what each item means.
func poll[T any](ctx context.Context, r *run, w *window, overlap time.Duration,
	read func(ctx context.Context, since, until time.Time, link string) (Page[T], error), meaning func(T) ([]event.Event, error),
) (told int, err error) {
	if w.Until.IsZero() {
		if w.Done.IsZero() {
			w.Done = r.now
		}
		w.Since, w.Until, w.Next = w.Done.Add(-overlap), r.now, ""
	}
	for again := true; ; {
		page, err := under(ctx, r.session, func(ctx context.Context) (Page[T], error) { return read(ctx, w.Since, w.Until, w.Next) })
		if again && w.Next != "" && (errors.Is(err, ErrResync) || errors.Is(err, identity.ErrRefused)) {
			w.Next, again = "", false // the link is too old: read the window again, but not for ever
			continue
		}
		if err != nil {
			return told, err
		}
		var events []event.Event
		for _, item := range page.Items {
			some, err := meaning(item)
			if err != nil {
				return told, err
			}
			events = append(events, some...)
		}
		if err := r.tell(ctx, events); err != nil {
			return told, err
		}
		told += len(events)
		if w.Next = page.Next; w.Next == "" {
			*w = window{Done: w.Until}
			return told, r.save(ctx)
		}
		if err := r.save(ctx); err != nil {
			return told, err
		}
	}
}

// riskyUsers tells whose risk was updated. The worker reads the risk again.
func (r *run) riskyUsers(ctx context.Context) (int, error) {
	return poll(ctx, r, &r.state.RiskyUsers, riskOverlap,
		func(ctx context.Context, since, _ time.Time, link string) (Page[RiskyUser], error) {
			return r.Directory.RiskyUsers(ctx, since, link)
		},
		func(u RiskyUser) ([]event.Event, error) {
			if u.Deleted || u.Processing { // what is being computed is updated when it is known
				return nil, nil
			}
			id := strconv.FormatInt(u.UpdatedAt.UnixMilli(), 10) + "." + string(u.ID)
			return r.one(EntraRisk, id, event.RiskUser, u.ID, u.UpdatedAt,
				event.Risk{Person: reference(u.ID), Level: event.RiskLevel(u.Level), State: event.RiskState(u.State), Detail: u.Detail})
		})
}

// detections tells what looked risky: sign-ins, and what concerns a person as such.
func (r *run) detections(ctx context.Context) (int, error) {
	return poll(ctx, r, &r.state.Detections, riskOverlap,
		func(ctx context.Context, since, _ time.Time, link string) (Page[Detection], error) {
			return r.Directory.Detections(ctx, since, link)
		},
		func(d Detection) ([]event.Event, error) {
			kind := event.RiskUser
			if d.Activity == "signin" {
				kind = event.RiskSignIn
			}
			data := event.Risk{
				Person: reference(d.UserID), Level: event.RiskLevel(d.Level), State: event.RiskState(d.State), Detection: d.Kind, Detail: d.Detail,
			}
			if kind == event.RiskSignIn {
				data.SignInID = d.SignInID
			}
			return r.one(EntraRisk, strconv.FormatInt(d.UpdatedAt.UnixMilli(), 10)+"."+d.ID, kind, d.UserID, d.DetectedAt, data)
		})
}

// signIns tells which failed sign-ins are their owner's trouble. The log takes one error
// code at a time (learn.microsoft.com/graph/api/resources/signin documents no "in").
//
// Of the sign-ins of one person that met the same lock, the first that is read is told,
// which is the latest: anybody may fail as often as they like.
func (r *run) signIns(ctx context.Context) (told int, err error) {
	for _, code := range event.SignInFailureCodes() {
		w := r.state.SignIns[code]
		if w == nil {
			w = &window{}
			r.state.SignIns[code] = w
		}
		locked := map[lock]bool{}
		n, err := poll(ctx, r, w, signInOverlap,
			func(ctx context.Context, since, until time.Time, link string) (Page[SignIn], error) {
				return r.Directory.FailedSignIns(ctx, code, since, until, link)
			}, func(s SignIn) ([]event.Event, error) { return r.failedSignIn(s, locked) })
		if told += n; err != nil {
			return told, fmt.Errorf("sign-ins with code %d: %w", code, err)
		}
	}
	return told, nil
}

type lock struct {
	user  identity.UserID
	cause event.LockCause
}

func (r *run) failedSignIn(s SignIn, told map[lock]bool) ([]event.Event, error) {
	meaning, ok := event.ClassifySignIn(s.Code, s.Reason, s.Details)
	met := lock{s.UserID, meaning.Lock}
	switch {
	case !ok || s.UserID == "":
		return nil, nil
	case meaning.Unrequested:
		return r.one(EntraSignIns, s.ID, event.CodesUnrequested, s.UserID, s.At,
			event.MFA{Person: reference(s.UserID), Channel: event.ChannelPush})
	case told[met]:
		return nil, nil
	default:
		told[met] = true
		return r.one(EntraSignIns, s.ID, event.AccountLocked, s.UserID, s.At,
			event.Lockout{Person: reference(s.UserID), Cause: meaning.Lock, Detail: "AADSTS" + strconv.Itoa(s.Code)})
	}
}

// one is one event about a user.
func (r *run) one(origin, id string, t event.Type, user identity.UserID, at time.Time, data any) ([]event.Event, error) {
	e, err := event.Observed(origin, id, t, string(user), at, r.now, data)
	return []event.Event{e}, err
}

func reference(id identity.UserID) identity.Reference {
	return identity.Reference{ObjectID: string(id)}
}
