package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/plan"
)

// maxRounds bounds a removal. Two rounds suffice when the directory's default is
// guessed right, three when it is not; the others are for methods that come back or
// are throttled.
const maxRounds = 8

// maxLaneWait is the longest an event may wait inside its turn.
const maxLaneWait = 20 * time.Second

// removeMethods removes the methods that sel picks until a read shows that none is
// left. The directory refuses to delete the default method while others exist and
// a mobile phone while an alternate one does, without saying that this is why, and
// its sign-in preferences are beta and may be ignored: so whatever was refused is
// tried again once the others are gone, and the order is a guess that only saves
// requests.
func (r *run) removeMethods(ctx context.Context, sel plan.Selection) (*lane.Verdict, error) {
	removal := removal{run: r, sel: sel, patience: maxLaneWait, last: map[string]identity.MethodResult{}}
	reg := r.registration
	if len(reg.Methods) == 0 {
		verdict, err := r.guarded(ctx, func(ctx context.Context) (err error) {
			reg, err = r.Methods.MethodsAndDefault(ctx, r.user)
			return err
		})
		if err != nil || verdict != nil {
			return verdict, err
		}
	}
	for range maxRounds {
		batch := removal.next(reg)
		if len(batch) > 0 {
			if verdict, err := removal.round(ctx, reg, batch); err != nil || verdict != nil {
				return verdict, err
			}
			if verdict, err := removal.moveDefault(ctx, reg, batch); err != nil || verdict != nil {
				return verdict, err
			}
		}
		reg = removal.without(reg)
		if next := removal.next(reg); len(next) > 0 && (!removal.stuck(batch) || removal.untried(next)) {
			continue
		}
		verdict, err := r.guarded(ctx, func(ctx context.Context) (err error) {
			reg.Methods, err = r.Methods.AllMethods(ctx, r.user)
			return err
		})
		if err != nil || verdict != nil {
			return verdict, err
		}
		if len(removal.picked(reg)) == 0 || removal.stuck(batch) {
			break
		}
	}
	if err := removal.finish(ctx, reg); err != nil {
		return nil, err
	}
	r.turn.Ledger.StepDone(r.turn.Event.Key, string(plan.RemoveMethods), r.turn.Now)
	return nil, nil
}

// guarded makes one read under the lane's lock.
func (r *run) guarded(ctx context.Context, read func(context.Context) error) (*lane.Verdict, error) {
	guarded, cancel, err := r.turn.Guard(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if err := read(guarded); err != nil {
		return verdictOf(ctx, err)
	}
	return nil, nil
}

// removal is one removal on its way.
type removal struct {
	*run
	sel      plan.Selection
	patience time.Duration
	// last is what became of each method, by kind and id.
	last map[string]identity.MethodResult
	// heirs are the methods that were made the default on the way.
	heirs []string
}

func methodKey(m identity.Method) string { return string(m.Kind) + "/" + m.ID }

// picked are the methods of reg that are still to be removed and can be.
func (x *removal) picked(reg identity.Registration) (list []identity.Method) {
	for _, m := range reg.Methods {
		if yes, _ := x.sel.Picks(m); yes && m.Kind.Deletable() && !x.hopeless(m) {
			list = append(list, m)
		}
	}
	return list
}

// hopeless reports whether the directory refused the method for a reason that no
// further round changes.
func (x *removal) hopeless(m identity.Method) bool {
	switch x.last[methodKey(m)].Outcome {
	case identity.MethodForbidden, identity.MethodRefused, identity.MethodRemains:
		return true
	default:
		return false
	}
}

// next is what the next round removes: everything but the likely default and a
// mobile phone that an alternate one depends on; those, once nothing else is left.
// The guess ends with the first refusal: what was refused goes last then. When other
// methods stay, nothing makes the default deletable but another default, so it goes
// first, while there is most to choose from.
func (x *removal) next(reg identity.Registration) []identity.Method {
	all := x.picked(reg)
	likely, guess := reg.LikelyDefault()
	guess = guess && !slices.ContainsFunc(all, x.blocked)
	if guess && x.stays(reg) && slices.ContainsFunc(all, func(m identity.Method) bool { return methodKey(m) == methodKey(likely) }) {
		return []identity.Method{likely}
	}
	alternate := slices.ContainsFunc(all, func(m identity.Method) bool { return m.Phone == identity.PhoneAlternateMobile })
	depended := func(m identity.Method) bool { return alternate && m.Phone == identity.PhoneMobile }
	first := slices.DeleteFunc(slices.Clone(all), func(m identity.Method) bool {
		return guess && methodKey(m) == methodKey(likely) || x.blocked(m) || depended(m)
	})
	if len(first) > 0 {
		return first
	}
	return slices.DeleteFunc(all, depended)
}

// stays reports whether the person keeps a method that is not a password or a pass.
func (x *removal) stays(reg identity.Registration) bool {
	return slices.ContainsFunc(reg.Methods, func(m identity.Method) bool {
		picked, _ := x.sel.Picks(m)
		return !picked && m.Kind != identity.MethodPassword && m.Kind != identity.MethodTemporaryAccessPass
	})
}

// blocked reports whether the directory refused the method the last time, for a
// reason that may be gone by now.
func (x *removal) blocked(m identity.Method) bool {
	return x.last[methodKey(m)].Outcome == identity.MethodBlocked
}

// stuck reports whether the round brought nothing: every method was refused.
func (x *removal) stuck(batch []identity.Method) bool {
	return !slices.ContainsFunc(batch, func(m identity.Method) bool { return !x.blocked(m) && !x.hopeless(m) })
}

// untried reports whether the next round brings a method that the directory was not
// asked about yet: the guess which one is the default may have kept it back.
func (x *removal) untried(next []identity.Method) bool {
	return slices.ContainsFunc(next, func(m identity.Method) bool { return x.last[methodKey(m)].Outcome == "" })
}

// moveDefault makes another method the default when every method of a round was
// refused: the directory keeps the default while others exist, and some do because
// they are to stay, or because two phones wait for each other.
func (x *removal) moveDefault(ctx context.Context, reg identity.Registration, batch []identity.Method) (*lane.Verdict, error) {
	if !x.stuck(batch) || !slices.ContainsFunc(batch, x.blocked) {
		return nil, nil
	}
	to, ok := x.heir(reg, batch)
	if !ok {
		return nil, nil
	}
	x.heirs = append(x.heirs, methodKey(to))
	err := x.effect(ctx, "set-default-method", func(ctx context.Context) error { return x.Methods.SetDefaultMethod(ctx, x.user, to) })
	if err != nil && !errors.Is(err, identity.ErrRefused) && !errors.Is(err, identity.ErrForbidden) {
		return verdictOf(ctx, err)
	}
	for _, m := range batch {
		delete(x.last, methodKey(m)) // worth another try
	}
	return nil, nil
}

// heir is the method to make the default in the place of those that were refused: one
// that was not tried yet and, if there is, one that stays, and one whose preference
// does not name a refused method as well.
func (x *removal) heir(reg identity.Registration, refused []identity.Method) (best identity.Method, ok bool) {
	rank := func(m identity.Method) (n int) {
		if picked, _ := x.sel.Picks(m); picked {
			n++
		}
		if slices.ContainsFunc(refused, m.Preference().Names) {
			n += 2
		}
		return n
	}
	for _, m := range x.without(reg).Methods {
		inBatch := slices.ContainsFunc(refused, func(r identity.Method) bool { return methodKey(r) == methodKey(m) })
		if m.Preference() == "" || inBatch || slices.Contains(x.heirs, methodKey(m)) {
			continue
		}
		if !ok || rank(m) < rank(best) {
			best, ok = m, true
		}
	}
	return best, ok
}

// round removes one batch. A verdict is returned when the directory asks for more
// patience than the lane has.
func (x *removal) round(ctx context.Context, reg identity.Registration, batch []identity.Method) (*lane.Verdict, error) {
	guarded, cancel, err := x.turn.Effect(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	guarded, calls := correlation.Collect(guarded)
	rec := audit.Record{Action: string(plan.RemoveMethods), Before: kinds(reg.Methods), Started: time.Now()}
	results, err := x.Methods.DeleteMethods(guarded, x.user, batch, x.SerialRemoval)
	var wait time.Duration
	throttled := false
	for _, res := range results {
		x.last[methodKey(res.Method)] = res
		if res.Outcome == identity.MethodThrottled || res.Outcome == identity.MethodUnavailable || res.Outcome == identity.MethodUntried {
			throttled = true
			wait = max(wait, res.After)
		}
	}
	rec.Calls, rec.After, rec.Outcome = calls.List(), kinds(x.without(reg).Methods), summary(results)
	if err := errors.Join(err, x.audit(ctx, rec)); err != nil {
		return verdictOf(ctx, err)
	}
	if !throttled {
		return nil, nil
	}
	if wait = max(wait, time.Second); wait > x.patience {
		verdict := lane.Retry(wait, lane.Unavailable, "the directory asks for patience while methods are removed")
		return &verdict, nil
	}
	x.patience -= wait
	return nil, x.Pause(ctx, wait)
}

// without is the registration less what is gone.
func (x *removal) without(reg identity.Registration) identity.Registration {
	reg.Methods = slices.DeleteFunc(slices.Clone(reg.Methods), func(m identity.Method) bool {
		o := x.last[methodKey(m)].Outcome
		return o == identity.MethodDeleted || o == identity.MethodGone
	})
	return reg
}

// finish reports each method that sel picks and that remains: a kind that cannot be
// removed is never reported as removed.
func (x *removal) finish(ctx context.Context, reg identity.Registration) error {
	var remain, unjudged []string
	forbidden := ""
	for _, m := range reg.Methods {
		picked, judged := x.sel.Picks(m)
		switch {
		case picked:
			remain = append(remain, string(m.Kind))
			if res := x.last[methodKey(m)]; res.Outcome == identity.MethodForbidden && res.Err != nil {
				forbidden = res.Err.Error()
			}
		case !judged:
			unjudged = append(unjudged, string(m.Kind))
		}
	}
	rec := audit.Record{Action: "verify-methods", After: kinds(reg.Methods), Outcome: "none of the chosen methods remains", Started: time.Now()}
	if len(remain) > 0 {
		rec.Outcome = "remaining: " + strings.Join(remain, ", ")
	}
	if len(unjudged) > 0 {
		rec.Outcome += "; not judged, without a creation time: " + strings.Join(unjudged, ", ")
	}
	if err := x.audit(ctx, rec); err != nil {
		return err
	}
	if forbidden != "" {
		if err := x.turn.Flag(ctx, flag.Flag{Cause: flag.MissingRole, Detail: "remove methods: " + forbidden}); err != nil {
			return err
		}
	}
	if len(remain)+len(unjudged) == 0 {
		return nil
	}
	return x.turn.Flag(ctx, flag.Flag{Cause: flag.MethodsRemain, Detail: rec.Outcome})
}

// summary is the result of a round, method by method.
func summary(results []identity.MethodResult) string {
	list := make([]string, len(results))
	for i, res := range results {
		list[i] = fmt.Sprintf("%s %s", res.Method.Kind, res.Outcome)
	}
	return strings.Join(list, ", ")
}
