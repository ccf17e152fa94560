package operate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
)

// Person implements Looking. ErrRefused: several people have the identifier.
func (d *Desk) Person(ctx context.Context, who string, reveal bool) (PersonView, error) {
	account, err := d.lookUp(ctx, strings.TrimSpace(who))
	if err != nil {
		return PersonView{}, err
	}
	user := account.ID
	var (
		t    *plan.Tenant
		l    *ledger.Ledger
		view PersonView
	)
	err = together(atOnce,
		func() (err error) { t, err = d.Worker.Look(ctx, user); return err },
		func() (err error) {
			l, err = d.memory(ctx, d.Queues.Lanes, string(user))
			view.LaneBusy = l == nil
			return quietly(err)
		},
		func() (err error) { view.Flags, err = d.flagsOf(ctx, user); return err },
		func() (err error) { view.Entries, err = d.entriesOf(ctx, account); return err },
	)
	if err != nil {
		return PersonView{}, err
	}
	state := tenantState(user, t, reveal)
	if state == nil {
		return PersonView{}, fmt.Errorf("%w: the account is gone from the directory", ErrNotFound)
	}
	view.Tenant, view.Lane = *state, laneState(l)
	if l == nil {
		l = &ledger.Ledger{}
	}
	view.Cause, view.NextStep = why(user, t, l, view.Flags, view.Entries, d.Now())
	return view, nil
}

// lookUp finds one account by whatever identifies people.
func (d *Desk) lookUp(ctx context.Context, who string) (identity.Account, error) {
	refs := []identity.Reference{{EmployeeID: who}}
	switch {
	case who == "":
		return identity.Account{}, fmt.Errorf("%w: name somebody", ErrRefused)
	case identity.IsGUID(who):
		refs = []identity.Reference{{ObjectID: strings.ToLower(who)}}
	case strings.Contains(who, "@"):
		refs = []identity.Reference{{UserPrincipalName: who}, {Mail: who}}
	}
	for _, ref := range refs {
		found, err := d.Directory.Find(ctx, ref)
		switch {
		case err != nil:
			return identity.Account{}, fmt.Errorf("look up the person: %w", err)
		case len(found) > 1:
			return identity.Account{}, fmt.Errorf("%w: %d accounts have this identifier; name one by object id", ErrRefused, len(found))
		case len(found) == 1:
			return found[0], nil
		}
	}
	return identity.Account{}, fmt.Errorf("%w: nobody in the directory has this identifier", ErrNotFound)
}

// entriesOf are the entries about a person: those of their lane, and those from before
// anybody knew who they were, by the identifiers in the body.
func (d *Desk) entriesOf(ctx context.Context, a identity.Account) (list []Entry, err error) {
	names := []string{string(a.ID)}
	for _, name := range []string{a.EmployeeID, a.UserPrincipalName, a.Mail} {
		if name != "" {
			names = append(names, name)
		}
	}
	about := func(p Place, e Entry, m queue.Stored) bool {
		if p == Lanes || p == Flags {
			return e.Lane == string(a.ID)
		}
		text := strings.ToLower(string(m.Body))
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, `"`+strings.ToLower(name)+`"`) })
	}
	for _, p := range []Place{Lanes, Inbound, Quarantine, Flags} {
		seen := 0
		_, err := walk(ctx, d.Shelves[p], 0, func(m queue.Stored) bool {
			seen++
			if e := entry(p, m); about(p, e, m) {
				list = append(list, e)
			}
			return seen < maxScan && len(list) < maxLimit
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// telling are the flags that say why somebody cannot sign in or get codes, the most
// telling first.
var telling = []flag.Cause{
	flag.Compromised, flag.DeviceStolen, flag.SmartLockout, flag.LockedOnPremises, flag.Locked, flag.MaliciousAddress, flag.AccountDisabled,
	flag.RiskBlock, flag.ConditionalAccessBlock, flag.PassUnusable, flag.NoUsableMethod, flag.TooManyAttempts, flag.TemporarilyBlocked,
	flag.CodesNotReceived, flag.Undeliverable, flag.Held, flag.LaneStuck, flag.UnknownPerson, flag.AmbiguousPerson, flag.ConflictingPerson,
	flag.RiskRaised, flag.DeviceLost,
}

// why says in plain words why a person cannot sign in, and what to do. What stands in
// the way first is told first: the account, then what people were told of, then what
// they could prove themselves with, then what is stuck on our side.
func why(user identity.UserID, t *plan.Tenant, l *ledger.Ledger, flags []OpenFlag, entries []Entry, now time.Time) (cause, next string) {
	a := t.Account
	if !a.Enabled {
		return disabled(l)
	}
	if l.Compromise != nil && !l.Compromise.Released {
		return "The account was secured after a compromise and somebody else enabled it again; no pass is issued until an operator lets the person in.",
			flag.Compromised.NextStep()
	}
	for _, c := range telling {
		i := slices.IndexFunc(flags, func(f OpenFlag) bool { return f.Cause == c && (f.UnlocksAt.IsZero() || f.UnlocksAt.After(now)) })
		if i < 0 {
			continue
		}
		f := flags[i]
		cause = sentence(c.Title(), f.Detail)
		if c == flag.Held {
			cause = sentence("An event is held for an operator ("+f.Reason+")", f.Detail)
		}
		if !f.UnlocksAt.IsZero() {
			cause += " It ends by itself at " + moment(f.UnlocksAt) + "."
		}
		return cause, c.NextStep()
	}
	if t.Risk != nil && t.Risk.Active() && t.Risk.Level == identity.RiskHigh {
		return "The directory says that the account is at high risk, which policies may block.", flag.RiskRaised.NextStep()
	}
	if !slices.ContainsFunc(t.Methods, identity.Method.UsableForMFA) {
		return noMethod(user, t, l, entries, now)
	}
	if len(entries) > 0 {
		return fmt.Sprintf("Nothing is wrong with the account, but %d events about the person were given up: %s.", len(entries), reasons(entries)),
			"Look at them, put right what the reason names, then plan a replay."
	}
	return "Nothing that mfaflow can see stands in the way: the account is enabled and has a method for multi-factor authentication.",
		"Read the error code of the last failed sign-in in the sign-in log, and ask which method the person tried."
}

// disabled says why the account is.
func disabled(l *ledger.Ledger) (cause, next string) {
	switch b := l.Block; {
	case l.Compromise != nil && !l.Compromise.Released:
		return "The account was blocked by mfaflow after a compromise, on " + moment(l.Compromise.HandledAt) + ".", flag.Compromised.NextStep()
	case b != nil:
		return "The account was blocked by mfaflow because HR says that the person left, on " + moment(b.At) + ".",
			"If they work here, have HR send a rehire or take the leaving back; do not just enable the account."
	default:
		return "The account is disabled, and not by mfaflow.", flag.AccountDisabled.NextStep()
	}
}

// noMethod says what somebody without a second factor waits for.
func noMethod(user identity.UserID, t *plan.Tenant, l *ledger.Ledger, entries []Entry, now time.Time) (cause, next string) {
	const none = "The person has no method for multi-factor authentication"
	for _, p := range t.Passes {
		switch {
		case p.Spent:
		case p.StartsAt.After(now):
			return none + " yet, and their pass opens at " + moment(p.StartsAt) + ".", "Have them wait until then, and sign in with the pass at https://aka.ms/mysecurityinfo."
		case p.Usable:
			text := none + ", but a pass that works until " + moment(p.EndsAt()) + "."
			if l.Pass != nil && l.Pass.ID == p.ID && l.Pass.Delivered {
				text += " It was delivered by " + l.Pass.Channel + "."
			}
			return text, "Have them sign in with the pass at https://aka.ms/mysecurityinfo and register a method."
		}
	}
	for _, w := range l.Waiting {
		switch w.Kind {
		case ledger.Planned:
			return none + " yet; the event " + string(w.Type) + " waits until " + moment(w.Until) + " (" + w.Reason + ").", "Wait until then, or correct the date at HR."
		case ledger.Retry:
			return none + "; the event " + string(w.Type) + " is tried again at " + moment(w.Until) + " (" + w.Reason + ").", "Wait, and see whether Microsoft Graph is available."
		case ledger.Held, ledger.Behind: // a hold is an open flag, and told as one
		}
	}
	if len(entries) > 0 {
		return none + ", and an event about them was given up: " + reasons(entries) + ".", "Put right what the reason names, then plan a replay."
	}
	if !t.Policy.Covers(user, t.Membership.Groups) {
		return none + ". " + policy(user, t), "Have the pass policy cover the person, then issue a pass by re-registration."
	}
	return none + " and no pass.", flag.NoUsableMethod.NextStep()
}

func reasons(entries []Entry) string {
	var list []string
	for _, e := range entries {
		if !slices.Contains(list, e.Reason) {
			list = append(list, e.Reason)
		}
	}
	return strings.Join(list, ", ")
}

func moment(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

func sentence(title, detail string) string {
	if detail == "" {
		return title + "."
	}
	return title + ": " + strings.TrimSuffix(detail, ".") + "."
}
