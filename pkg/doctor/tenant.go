package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"mfaflow/pkg/change"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

func tenantChecks() []Check {
	return []Check{
		{"subscriptions", "Graph tells us of changes, and goes on to", "tenant-sweep renews subscriptions: see that it runs and that its log has no refusal", (*exam).subscriptions},
		{"pass-policy", "The tenant allows Temporary Access Passes", "Enable Temporary Access Pass in the authentication methods policy, for those who start and come back", (*exam).passPolicy},
		{"pass-lifetime", "Passes may last as long as MFAFLOW_PASS_LIFETIME says", "Raise the maximum lifetime in the policy, or change MFAFLOW_PASS_LIFETIME: the policy cuts what is longer", (*exam).passLifetime},
		{"pass-one-time", "The policy and MFAFLOW_PASS_ONE_TIME agree", "Set MFAFLOW_PASS_ONE_TIME to true, or let the policy allow passes that work more than once", (*exam).passOneTime},
		{"access-strengths", "Conditional Access lets a pass in", "Add Temporary Access Pass to the strength, or exclude from the policy whoever is to register with a pass", (*exam).accessStrengths},
		{"break-glass", "The emergency accounts are there, enabled, protected and watched over", "Name every emergency account in MFAFLOW_PROTECTED_ACCOUNTS of identity-worker and event-replay and in MFAFLOW_BREAK_GLASS_ACCOUNTS of readiness-report, and enable it", (*exam).breakGlass},
		{"mail", "The mailbox that mail is sent from is there", "Correct MFAFLOW_MAIL_SENDER, or give the account a mailbox", (*exam).mail},
	}
}

func (e *exam) subscriptions(f *finding) {
	sweeper := e.function("tenant-sweep")
	switch {
	case sweeper == nil:
		f.skip("no settings of tenant-sweep")
		return
	case sweeper.NotificationURL == "":
		f.skip("nothing is subscribed to: tenant-sweep has no MFAFLOW_NOTIFICATION_URL")
		return
	case sweeper.App == nil:
		f.skip("Graph shows them to the app of tenant-sweep alone: %s", sweeper.Why)
		return
	}
	if _, err := e.granted(sweeper); err != nil {
		f.skip("tenant-sweep: no token")
		return
	}
	list, err := sweeper.App.Subscriptions(e.ctx)
	if err != nil {
		f.skip("%s", plainly(err))
		return
	}
	now, url := e.Now(), sweeper.NotificationURL+change.NotificationPath
	for _, slot := range change.Slots() {
		var best *sweep.Subscription
		elsewhere := 0
		for i, s := range list {
			switch {
			case !strings.EqualFold(strings.Trim(s.Resource, "/"), slot.Resource):
			case s.NotificationURL != url:
				elsewhere++
			case best == nil || s.ExpiresAt.After(best.ExpiresAt):
				best = &list[i]
			}
		}
		switch {
		case best == nil && elsewhere > 0:
			f.fail("%s go to another URL than %s", slot.Name, url)
		case best == nil:
			f.fail("nothing is subscribed to %s", slot.Name)
		case !best.ExpiresAt.After(now):
			f.fail("the subscription to %s has lapsed", slot.Name)
		case best.ExpiresAt.Sub(now) < sweeper.SubscriptionLifetime/4:
			f.warn("the subscription to %s lapses in %s", slot.Name, age(best.ExpiresAt, now))
		default:
			f.note("%s until %s", slot.Name, best.ExpiresAt.UTC().Format("2006-01-02"))
		}
	}
}

func (e *exam) policy(f *finding) (p identity.PassPolicy, worker *Function, ok bool) {
	if worker = e.function("identity-worker"); worker == nil {
		f.skip("no settings of identity-worker")
		return p, nil, false
	}
	p, ok = read(e, f, "Policy.Read.All", func(ctx context.Context, a App) (identity.PassPolicy, error) { return a.PassPolicy(ctx) })
	return p, worker, ok
}

func (e *exam) passPolicy(f *finding) {
	p, _, ok := e.policy(f)
	switch {
	case !ok:
	case !p.Enabled:
		f.fail("they are disabled: every joiner will be held")
	case !p.IncludeAll && len(p.IncludeGroups) == 0 && len(p.IncludeUsers) == 0:
		f.fail("the policy includes nobody: every joiner will be held")
	case p.IncludeAll:
		f.note("for everybody%s", except(p))
	default:
		f.note("for %s%s", plural(len(p.IncludeGroups)+len(p.IncludeUsers), "target", "targets"), except(p))
	}
}

func except(p identity.PassPolicy) string {
	if n := len(p.ExcludeGroups) + len(p.ExcludeUsers); n > 0 {
		return " but " + plural(n, "target", "targets")
	}
	return ""
}

func (e *exam) passLifetime(f *finding) {
	p, worker, ok := e.policy(f)
	switch {
	case !ok:
	case worker.PassLifetime > p.MaxLifetime:
		f.warn("%s is cut to %s", span(worker.PassLifetime), span(p.MaxLifetime))
	case worker.PassLifetime < p.MinLifetime:
		f.warn("%s is lengthened to %s", span(worker.PassLifetime), span(p.MinLifetime))
	default:
		f.note("%s of %s to %s", span(worker.PassLifetime), span(p.MinLifetime), span(p.MaxLifetime))
	}
}

func (e *exam) passOneTime(f *finding) {
	p, worker, ok := e.policy(f)
	switch {
	case !ok:
	case p.OneTime && !worker.PassOneTime:
		f.warn("the policy makes every pass work once, which the settings do not say: who registers a second method needs a second pass")
	case worker.PassOneTime:
		f.note("passes work once")
	default:
		f.note("passes work until they end")
	}
}

func (e *exam) accessStrengths(f *finding) {
	p, worker, ok := e.policy(f)
	if !ok {
		return
	}
	rules, ok := read(e, f, "Policy.Read.All", func(ctx context.Context, a App) ([]AccessRule, error) { return a.AccessRules(ctx) })
	if !ok {
		return
	}
	once := p.OneTime || worker.PassOneTime
	enforced := 0
	for _, r := range rules {
		admits := r.MultiUse
		if once {
			admits = r.OneTime
		}
		switch {
		case !r.Enforced:
			continue
		case admits:
		case r.Everyone:
			f.fail("%q asks everybody for %q, which no pass satisfies: nobody can register with one", r.Name, r.Strength)
		default:
			f.warn("%q asks some for %q, which no pass satisfies", r.Name, r.Strength)
		}
		enforced++
	}
	f.note("%s enforced", plural(enforced, "policy with a strength is", "policies with a strength are"))
}

// breakGlass compares two lists that people keep by hand: an emergency account in only one
// of them is either watched over and may be blocked by an event, or the other way round.
func (e *exam) breakGlass(f *finding) {
	worker, report := e.function("identity-worker"), e.function("readiness-report")
	var accounts []identity.UserID
	switch {
	case worker == nil:
		f.skip("no settings of identity-worker")
	case len(worker.Protected) == 0:
		f.warn("MFAFLOW_PROTECTED_ACCOUNTS of identity-worker names none: an event could block the last way in")
	default:
		accounts = append(accounts, worker.Protected...)
	}
	switch {
	case report == nil:
		f.skip("no settings of readiness-report")
	case len(report.BreakGlass) == 0:
		f.warn("MFAFLOW_BREAK_GLASS_ACCOUNTS of readiness-report names none: nobody notices when one has no method that works")
	default:
		accounts = append(accounts, report.BreakGlass...)
	}
	if worker != nil && report != nil {
		for _, id := range report.BreakGlass {
			if !slices.Contains(worker.Protected, id) {
				f.fail("identity-worker does not protect %s, an emergency account to readiness-report", id)
			}
		}
	}
	n := 0
	slices.Sort(accounts)
	for _, id := range slices.Compact(accounts) {
		_, ok := read(e, f, "User.Read.All", func(ctx context.Context, a App) (identity.Account, error) {
			account, err := a.Account(ctx, id)
			switch {
			case errors.Is(err, identity.ErrNotFound):
				f.fail("%s does not exist", id)
				err = nil
			case err == nil && !account.Enabled:
				f.fail("%s is disabled", id)
			}
			return account, err
		})
		if ok {
			n++
		}
	}
	if n > 0 {
		f.note("%s", plural(n, "account", "accounts"))
	}
}

func (e *exam) mail(f *finding) {
	by := e.by(func(fn *Function) string { return fn.Sender })
	if len(by) == 0 {
		f.skip("no function sends mail")
		return
	}
	for sender, functions := range by {
		found, ok := read(e, f, "User.Read.All", func(ctx context.Context, a App) ([]identity.Account, error) {
			return a.Find(ctx, identity.Reference{UserPrincipalName: sender, Mail: sender})
		})
		switch {
		case !ok:
		case len(found) == 0:
			f.fail("%s, which %s sends from, does not exist", sender, functions)
		case !slices.ContainsFunc(found, func(a identity.Account) bool { return a.Mail != "" }):
			f.fail("%s, which %s sends from, has no mailbox", sender, functions)
		default:
			f.note("%s", sender)
		}
	}
	if len(f.notes) == 0 {
		return
	}
	for _, fn := range e.readable() {
		if fn.Sender == "" || fn.App == nil {
			continue
		}
		granted, err := e.granted(fn)
		switch {
		case err != nil:
		case slices.Contains(granted, mailSend):
			f.note("%s may send from every mailbox (scope it in Exchange)", fn.Name)
		default:
			f.note("whether Exchange lets %s send is not told by its token", fn.Name)
		}
	}
}
