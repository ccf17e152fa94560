package worker

import (
	"context"
	"errors"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
)

// blockSignIn disables the account. The block is in the ledger before it is in the
// directory, so that whoever resumes knows whose it is. An account that our app may
// not block is flagged at once and the remaining steps go on: they shut out as far
// as they can.
func (r *run) blockSignIn(ctx context.Context, why ledger.BlockedBy) (*lane.Verdict, error) {
	l := r.turn.Ledger
	before := l.Block
	l.Block = &ledger.Block{Key: r.turn.Event.Key, For: why, At: r.turn.Now}
	if s, err := plan.StatementOf(r.turn.Event); err == nil {
		l.Block.Immediate = s.Immediate
	}
	err := r.effect(ctx, string(plan.BlockSignIn), func(ctx context.Context) error { return r.Accounts.SetEnabled(ctx, r.user, false) })
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, identity.ErrForbidden) {
		return verdictOf(ctx, err)
	}
	l.Block, r.refused = before, err
	return nil, r.turn.Flag(ctx, flag.Flag{Cause: flag.MissingRole, Detail: "block sign-in: " + err.Error()})
}

// unblockSignIn enables the account.
func (r *run) unblockSignIn(ctx context.Context) (*lane.Verdict, error) {
	err := r.effect(ctx, string(plan.UnblockSignIn), func(ctx context.Context) error { return r.Accounts.SetEnabled(ctx, r.user, true) })
	if err != nil {
		return verdictOf(ctx, err)
	}
	r.turn.Ledger.Block = nil
	r.turn.Ledger.StepDone(r.turn.Event.Key, string(plan.UnblockSignIn), r.turn.Now)
	return nil, nil
}

// revokeSessions ends every session the person has.
func (r *run) revokeSessions(ctx context.Context) (*lane.Verdict, error) {
	return r.once(ctx, plan.RevokeSessions, r.Accounts.RevokeSessions)
}

// randomPassword sets a password that nobody knows and that must be changed.
func (r *run) randomPassword(ctx context.Context) (*lane.Verdict, error) {
	return r.once(ctx, plan.RandomPassword, r.Accounts.SetRandomPassword)
}

// addToGroup makes the person a member of a group. It is not remembered: whoever resumes
// reads the groups.
func (r *run) addToGroup(ctx context.Context, group string) (*lane.Verdict, error) {
	err := r.effect(ctx, string(plan.AddToGroup), func(ctx context.Context) error { return r.Groups.AddToGroup(ctx, r.user, group) })
	if err != nil {
		return verdictOf(ctx, err)
	}
	return nil, nil
}

// once does what cannot be read back from the directory and remembers it. An
// account that our app may not change is flagged at once, and the other steps go
// on.
func (r *run) once(ctx context.Context, action plan.Action, do func(context.Context, identity.UserID) error) (*lane.Verdict, error) {
	err := r.effect(ctx, string(action), func(ctx context.Context) error { return do(ctx, r.user) })
	if errors.Is(err, identity.ErrForbidden) {
		err = r.turn.Flag(ctx, flag.Flag{Cause: flag.MissingRole, Detail: string(action) + ": " + err.Error()})
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return verdictOf(ctx, err)
	}
	r.turn.Ledger.StepDone(r.turn.Event.Key, string(action), r.turn.Now)
	return nil, r.turn.Save(ctx)
}

// mark writes into the ledger that a stage of the event is over.
func (r *run) mark(s plan.Step) {
	l, key := r.turn.Ledger, r.turn.Event.Key
	if r.refused != nil {
		return // it is not over while the account is not blocked
	}
	switch s.Stage {
	case plan.Answered:
		l.Compromise = &ledger.Compromise{Key: key, HandledAt: r.turn.Now, Until: r.turn.Now.Add(r.Settings.SettleWindow)}
		if l.Block == nil {
			l.Block = &ledger.Block{Key: key, At: r.turn.Now}
		}
		l.Block.For = ledger.BlockedAsCompromise
	case plan.LetIn:
		if l.Compromise != nil {
			l.Compromise.Released = true
		}
		if s.For == "" {
			l.Block = nil
		} else if l.Block != nil {
			l.Block.For = s.For
		}
	default: // the step alone tells
	}
	l.StepDone(key, string(s.Stage), r.turn.Now)
}
