package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mfaflow/pkg/operate"
)

func newUser(env []string) *cobra.Command {
	return group("user", "See why somebody cannot sign in", newUserShow(env), newLetIn(env))
}

func newUserShow(env []string) *cobra.Command {
	var reveal bool
	c := &cobra.Command{
		Use:     "show USER",
		Short:   "Show on one screen why somebody cannot sign in, and what to do",
		Long:    "Show the account, its methods and pass, what waits or is held in the person's lane, open flags and dead letters, and what\nfollows from it all. USER is an object id, user principal name, mail or employee id.",
		Example: "  mfaflow user show lena.hofmann@contoso.example",
		Args:    checked(cobra.ExactArgs(1)),
	}
	c.Flags().BoolVar(&reveal, "reveal", false, "show personal data; that you did is in the log")
	return operating(env, c, true, func(ctx context.Context, d *desk, args []string) error {
		v, err := d.find(ctx, args[0], reveal)
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, v)
		}
		d.person(v)
		return nil
	})
}

// find looks somebody up, or says how people are looked up.
func (d *desk) find(ctx context.Context, who string, reveal bool) (operate.PersonView, error) {
	v, err := d.Person(ctx, who, reveal)
	if errors.Is(err, operate.ErrNotFound) {
		err = hint(err, "look the person up by object id, user principal name, mail or employee id")
	} else if errors.Is(err, operate.ErrRefused) {
		err = hint(err, "the object id or user principal name of the account that you mean; an employee id is to be made unique in the directory")
	}
	return v, err
}

func (d *desk) person(v operate.PersonView) {
	d.tenant(v.Tenant)
	d.lane(v.Lane, v.LaneBusy)
	if len(v.Flags) > 0 {
		fmt.Fprintln(d.out, "\nOpen flags")
		d.flags(v.Flags)
	}
	if len(v.Entries) > 0 {
		fmt.Fprintln(d.out, "\nDead letters")
		d.entries(v.Entries)
	}
	fmt.Fprintln(d.out)
	d.facts("Cause", v.Cause, "Next step", v.NextStep)
}

func (d *desk) tenant(t operate.TenantState) {
	account := []string{"disabled"}
	if t.Enabled {
		account[0] = "enabled"
	}
	if t.Synced {
		account = append(account, "synced from Active Directory")
	}
	if t.Guest {
		account = append(account, "guest")
	}
	methods := strings.Join(t.Methods, ", ")
	if methods == "" {
		methods = "none"
	}
	d.facts(
		"person", words(t.DisplayName, bracketed(t.UserPrincipalName)), "employee", t.EmployeeID, "object id", string(t.UserID),
		"account", strings.Join(account, ", "), "methods", methods,
	)
	for _, p := range t.Passes {
		d.facts("pass", pass(p))
	}
	d.facts(
		"pass policy", t.PassPolicy, "roles", strings.Join(t.Roles, ", "), "risk", words(t.RiskLevel, bracketed(t.RiskState)), "last sign-in", stamp(t.LastSignIn),
	)
}

func pass(p operate.PassState) string {
	state := "not usable"
	if p.Usable {
		state = "usable"
	}
	text := state + ", " + stamp(p.StartsAt) + " to " + stamp(p.EndsAt)
	if p.Delivered {
		text += ", delivered by " + p.Channel
	}
	return text
}

// lane is what the person's lane remembers.
func (d *desk) lane(l *operate.LaneState, busy bool) {
	switch {
	case busy:
		d.facts("lane", "a worker has it right now; look again")
		return
	case l == nil:
		d.facts("lane", "nothing has happened in it")
		return
	}
	handled := []string{}
	for i := max(0, len(l.Handled)-5); i < len(l.Handled); i++ {
		handled = append(handled, l.Handled[i].Key+" "+l.Handled[i].Outcome)
	}
	blocked := l.BlockedFor
	if blocked != "" {
		blocked = words(blocked, "since", stamp(l.BlockedAt))
	}
	d.facts("HR says", l.Statement, "applied", l.Applied, "we blocked it", blocked, "last events", strings.Join(handled, "; "))
	if l.Pass != nil {
		d.facts("our pass", pass(*l.Pass))
	}
	if len(l.Waiting) == 0 {
		return
	}
	fmt.Fprintln(d.out, "\nWaiting")
	t := table{header: []string{"TYPE", "KIND", "REASON", "UNTIL", "ATTEMPT", "APPROVED", "KEY"}}
	for _, w := range l.Waiting {
		t.add(w.Type, w.Kind, w.Reason, stamp(w.Until), fmt.Sprint(w.Attempt), approvals(operate.OpenFlag{Needs: w.Needs, Approvals: w.Approvals}), w.Key)
	}
	t.print(d.out, d.width)
}

func newLetIn(env []string) *cobra.Command {
	var (
		reason string
		yes    bool
	)
	c := &cobra.Command{
		Use:     "let-in USER",
		Short:   "Say that somebody whom we blocked as compromised may come back; without --yes, show who",
		Long:    "Say that a person was proven to be who they are, after their account was answered as compromised: it is unblocked, and a\npass is issued and delivered, in the person's lane.",
		Example: "  mfaflow user let-in lena.hofmann@contoso.example --reason 'seen in person, badge checked' --yes",
		Args:    checked(cobra.ExactArgs(1)),
	}
	changing(c, &reason, &yes)
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		if err := needReason(reason); err != nil {
			return err
		}
		v, err := d.find(ctx, args[0], false)
		if err != nil {
			return err
		}
		if !yes {
			if d.json {
				return printJSON(d.out, v)
			}
			d.person(v)
			fmt.Fprintln(d.out, "\nNothing was changed. --yes lets this person in.")
			return nil
		}
		o, err := d.LetIn(ctx, "", v.Tenant.UserID, reason)
		if errors.Is(err, operate.ErrRefused) {
			return hint(err, "mfaflow user show %s says why they cannot sign in", v.Tenant.UserID)
		} else if err != nil {
			return err
		}
		return d.outcomes([]operate.Outcome{o})
	})
}
