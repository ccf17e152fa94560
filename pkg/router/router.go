// Package router finds out who an event is about and puts it into that person's
// lane, so that every source meets in one order.
//
// It knows ports only. It changes nothing in the directory.
//
// # Who is this?
//
// Every identifier in the event must agree on one account. An account created
// after the event's time never matches by user principal name or mail: those are
// given anew when somebody leaves. An object id that was found once stays in the
// event. Only a change that the directory itself reports goes unasked to the lane of
// the object id that it names.
package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// Directory finds people. identity.ErrForbidden and *identity.RetryError tell
// failures apart.
type Directory interface {
	// Find returns the accounts that any identifier of the reference names.
	Find(context.Context, identity.Reference) ([]identity.Account, error)
}

// Router handles the events of the inbound queue.
type Router struct {
	Directory Directory
	// Records completes thin events; nil leaves them as they are.
	Records Records
	// LanesQueue and QuarantineQueue are where events go.
	LanesQueue, QuarantineQueue string
	// Tenant is the id of the tenant that tenant-wide events must be about; the worker
	// judges them where it is a domain.
	Tenant string
	// ProvisionRetry is how often a joiner who is not provisioned yet is looked
	// for, until ProvisionGrace after the start date.
	ProvisionRetry, ProvisionGrace time.Duration
	// UnknownPersonAge is how long any other event waits for its person to appear.
	UnknownPersonAge time.Duration
}

// Handle implements lane.Handler.
func (r *Router) Handle(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	switch {
	case t.Event.Type.IsTenantWide():
		return r.forwardTenantWide(ctx, t)
	case t.Event.Type == event.Ref && t.Event.UserID == "":
		return r.complete(ctx, t)
	default:
		return r.route(ctx, t)
	}
}

// forwardTenantWide puts an event about the tenant into the lane of the tenant, in which
// everything about it keeps one order.
func (r *Router) forwardTenantWide(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	if identity.IsGUID(r.Tenant) && !strings.EqualFold(r.Tenant, t.Event.Subject) {
		return lane.DeadLetter(lane.BadEvent, "subject is another tenant than this deployment's; correct the sender, then send the event anew"), nil
	}
	m, err := r.message(t, "", "")
	if err != nil {
		return lane.Verdict{}, err
	}
	m.SessionID = event.TenantLane
	if err := r.send(ctx, t, r.LanesQueue, m); err != nil {
		return lane.Verdict{}, err
	}
	return lane.Finished(ledger.Done, "forwarded to the lane of the tenant"), nil
}

// route finds the person and puts the event into their lane.
func (r *Router) route(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	return r.place(ctx, t, r.notFound)
}

// place is route with its own answer to a person whom nobody knows.
func (r *Router) place(ctx context.Context, t *lane.Turn, nobody func(context.Context, *lane.Turn) (lane.Verdict, error)) (lane.Verdict, error) {
	guarded, cancel, err := t.Guard(ctx)
	if err != nil {
		return lane.Verdict{}, err
	}
	defer cancel()
	matches, why, err := r.whose(guarded, t.Event)
	switch {
	case errors.Is(err, event.ErrBadData):
		return lane.DeadLetter(lane.BadEvent, "data.person names nobody; correct the sender, then send the event anew"), nil
	case err != nil:
		return lane.Failed(ctx, err)
	case why == flag.ConflictingPerson:
		return r.park(ctx, t, why, "the identifiers do not agree on one account")
	case why == flag.AmbiguousPerson:
		return r.park(ctx, t, why, fmt.Sprintf("%d accounts have these identifiers", len(matches)))
	case len(matches) == 0:
		return nobody(ctx, t)
	case len(matches) == 1:
		return r.forward(ctx, t, matches[0].ID)
	default:
		return r.fanOut(ctx, t, matches)
	}
}

// whose are the accounts that the event is for, or why it is for none:
// flag.UnknownPerson, ConflictingPerson, or AmbiguousPerson with all that it may be.
// event.ErrBadData: it names nobody.
func (r *Router) whose(ctx context.Context, e event.Event) (matches []identity.Account, why flag.Cause, err error) {
	if e.UserID != "" {
		return []identity.Account{{ID: e.UserID}}, "", nil
	}
	who, err := e.Person()
	if err != nil || who.IsZero() {
		return nil, "", fmt.Errorf("%w: data.person names nobody", event.ErrBadData)
	}
	if namesItself(e, who) {
		return []identity.Account{{ID: identity.UserID(strings.ToLower(who.ObjectID))}}, "", nil
	}
	found, err := r.find(ctx, e, who)
	switch {
	case err != nil:
		return nil, "", err
	case found.conflict:
		return nil, flag.ConflictingPerson, nil
	case len(found.matches) == 0:
		return nil, flag.UnknownPerson, nil
	case len(found.matches) > 1 && !fansOut(e.Type):
		return found.matches, flag.AmbiguousPerson, nil
	default:
		return found.matches, "", nil
	}
}

// Preview says whose lanes the event would go to if it came now, or why to none. It
// changes nothing.
func (r *Router) Preview(ctx context.Context, e event.Event) (users []identity.UserID, why flag.Cause, err error) {
	matches, why, err := r.whose(ctx, e)
	if err != nil || why != "" {
		return nil, why, err
	}
	for _, a := range matches {
		if len(matches) == 1 || a.Enabled {
			users = append(users, a.ID)
		}
	}
	return users, "", nil
}

// namesItself reports whether an object id alone says whose lane it is: a change of an
// account is a reason to look, at an account that may be gone, and many come at once
// when everybody is looked at again. Whoever looks reads the directory.
func namesItself(e event.Event, who identity.Reference) bool {
	return e.Type == event.AccountChanged && who == identity.Reference{ObjectID: who.ObjectID}
}

type findings struct {
	matches  []identity.Account
	conflict bool // somebody matched by one identifier and disagreed in another
}

func (r *Router) find(ctx context.Context, e event.Event, who identity.Reference) (findings, error) {
	accounts, err := r.Directory.Find(ctx, who)
	if err != nil {
		return findings{}, err
	}
	var f findings
	for _, a := range accounts {
		ref := who
		if a.CreatedAt.After(e.Time) {
			ref.UserPrincipalName, ref.Mail = "", ""
		}
		agrees, matched := a.Matches(ref)
		if full, _ := a.Matches(who); !full {
			agrees = false
		}
		switch {
		case matched && agrees:
			f.matches = append(f.matches, a)
		case matched:
			f.conflict = true
		}
	}
	return f, nil
}

// forward puts the event into the lane of the person. The id of the message is
// kept when it is not the key: it then is a deliberate re-send, which the broker
// must not drop.
func (r *Router) forward(ctx context.Context, t *lane.Turn, user identity.UserID) (lane.Verdict, error) {
	m, err := r.message(t, user, "")
	if err != nil {
		return lane.Verdict{}, err
	}
	if err := r.send(ctx, t, r.LanesQueue, m); err != nil {
		return lane.Verdict{}, err
	}
	return lane.Finished(ledger.Done, "forwarded to the lane of "+string(user)), nil
}

// fansOut: an event that shuts people out reaches everybody it may mean.
func fansOut(t event.Type) bool { return t == event.Leaver || t == event.DeviceStolen }

func (r *Router) fanOut(ctx context.Context, t *lane.Turn, matches []identity.Account) (lane.Verdict, error) {
	var msgs []queue.Message
	for _, a := range matches {
		if !a.Enabled {
			continue
		}
		m, err := r.message(t, a.ID, "#"+string(a.ID))
		if err != nil {
			return lane.Verdict{}, err
		}
		msgs = append(msgs, m)
	}
	if len(msgs) > 0 {
		if err := r.send(ctx, t, r.LanesQueue, msgs...); err != nil {
			return lane.Verdict{}, err
		}
	}
	if err := t.Flag(ctx, flag.Flag{Cause: flag.AmbiguousPerson, Detail: fmt.Sprintf("the event was sent to the lanes of %d enabled accounts", len(msgs))}); err != nil {
		return lane.Verdict{}, err
	}
	return lane.Finished(ledger.Done, fmt.Sprintf("forwarded to %d lanes", len(msgs))), nil
}

func (r *Router) message(t *lane.Turn, user identity.UserID, suffix string) (queue.Message, error) {
	e := t.Event
	e.UserID = user
	e.Key += suffix
	body, err := e.Encode()
	if err != nil {
		return queue.Message{}, err
	}
	m := queue.Message{
		ID: t.Message.ID + suffix, SessionID: string(user), Key: e.Key, CorrelationID: t.Message.CorrelationID,
		ContentType: event.ContentType, Body: body,
		Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
	}
	// What was planned for the event goes on to the worker; a plan is about one person.
	if planned := t.Message.Properties[queue.PropPlan]; planned != "" && suffix == "" {
		m.Properties[queue.PropPlan] = planned
	}
	return m, nil
}

// park puts an event that cannot be given to anybody on the quarantine queue, as
// it is, and before a human.
func (r *Router) park(ctx context.Context, t *lane.Turn, cause flag.Cause, detail string) (lane.Verdict, error) {
	properties := map[string]string{
		queue.PropType: string(t.Event.Type), queue.PropSource: t.Event.Origin,
		queue.PropReason: string(cause), queue.PropDetail: detail,
	}
	m := queue.Message{
		ID: t.Message.ID, SessionID: t.Message.SessionID, Key: t.Event.Key, CorrelationID: t.Message.CorrelationID,
		ContentType: event.ContentType, Body: t.Message.Body, Properties: properties,
	}
	if err := r.send(ctx, t, r.QuarantineQueue, m); err != nil {
		return lane.Verdict{}, err
	}
	if err := t.Flag(ctx, flag.Flag{Cause: cause, Reason: string(cause), Detail: detail}); err != nil {
		return lane.Verdict{}, err
	}
	return lane.Finished(ledger.Parked, "quarantined: "+detail), nil
}

// notFound waits for the person to be provisioned, and gives up in the end.
func (r *Router) notFound(ctx context.Context, t *lane.Turn) (lane.Verdict, error) {
	return r.missing(ctx, t, "nobody in the directory has these identifiers", "provision the account or correct HR's data")
}

// missing waits for somebody to appear, and says in the end who is missed and what to do.
func (r *Router) missing(ctx context.Context, t *lane.Turn, what, fix string) (lane.Verdict, error) {
	if deadline := r.deadline(t.Event); t.Now.Before(deadline) {
		return lane.Retry(r.ProvisionRetry, lane.NotProvisioned, what+" yet; looked for until "+deadline.UTC().Format(time.RFC3339)), nil
	}
	if err := t.Flag(ctx, flag.Flag{Cause: flag.UnknownPerson, Detail: what}); err != nil {
		return lane.Verdict{}, err
	}
	return lane.DeadLetter(lane.UnknownPerson, what+"; "+fix+", then replay"), nil
}

// deadline is how long the event's person may take to appear: joiners until some
// days after they start, everybody else a short time.
func (r *Router) deadline(e event.Event) time.Time {
	if e.Type == event.Joiner || e.Type == event.StartDateChanged || e.Type == event.Rehire {
		if d, err := e.Employment(); err == nil && !d.StartDate.IsZero() {
			return d.StartDate.At(0, 0, time.UTC).Add(r.ProvisionGrace)
		}
	}
	return e.ReceivedAt.Add(r.UnknownPersonAge)
}

func (r *Router) send(ctx context.Context, t *lane.Turn, queueName string, msgs ...queue.Message) error {
	guarded, cancel, err := t.Guard(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return t.Send(guarded, queueName, msgs...)
}
