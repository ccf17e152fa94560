package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/operate"
)

func newHold(env []string) *cobra.Command {
	return group("hold", "See and decide events that are held for an operator",
		newFlagList(env, true), newDecide(env, lane.Release, "Let a held event run; the worker looks at the tenant again first"),
		newDecide(env, lane.Drop, "End a held event without running it"))
}

func newFlag(env []string) *cobra.Command {
	return group("flag", "See and resolve what a human must look at", newFlagList(env, false), newResolve(env))
}

func newFlagList(env []string, holds bool) *cobra.Command {
	var (
		cause, user, text string
		limit             int
	)
	c := &cobra.Command{Use: "list", Short: "List open flags, holds among them", Args: checked(cobra.NoArgs)}
	if holds {
		c.Short = "List held events, and how many must agree to each"
	} else {
		c.Flags().StringVar(&cause, "cause", "", "only of this cause")
		complete(c, "cause", func(context.Context) (list []string) {
			for _, known := range flag.Causes() {
				list = append(list, string(known))
			}
			return list
		})
	}
	c.Flags().StringVar(&user, "user", "", "only of this person: object id, user principal name, mail or employee id")
	c.Flags().StringVar(&text, "text", "", "only with this text")
	c.Flags().IntVar(&limit, "limit", 100, "how many at most; 0 lists all")
	return operating(env, c, true, func(ctx context.Context, d *desk, _ []string) error {
		f := operate.FlagFilter{Cause: flag.Cause(cause), Text: text, Holds: holds}
		if cause != "" && !f.Cause.Valid() {
			return &usageError{fmt.Errorf("--cause %q is no cause", cause)}
		}
		if user != "" {
			var err error
			if f.User, err = d.userID(ctx, user); err != nil {
				return err
			}
		}
		list, more, err := everything(limit, func(cursor string, n int) (operate.Page[operate.OpenFlag], error) { return d.Flags(ctx, f, cursor, n) })
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, nonNil(list))
		}
		d.flags(list)
		if more {
			fmt.Fprintf(d.problems, "There are more than these %d: --limit 0 lists all.\n", len(list))
		}
		return nil
	})
}

func (d *desk) flags(list []operate.OpenFlag) {
	if len(list) == 0 {
		fmt.Fprintln(d.out, "There are none.")
		return
	}
	t := table{header: []string{"FLAG", "SINCE", "CAUSE", "REASON", "USER", "TYPE", "APPROVED", "DETAIL"}}
	for _, f := range list {
		who := string(f.User)
		if who == "" {
			who = f.Lane
		}
		t.add(strconv.FormatInt(f.Number, 10), stamp(f.At), string(f.Cause), f.Reason, who, f.Type, approvals(f), f.Detail)
	}
	t.print(d.out, d.width)
}

func approvals(f operate.OpenFlag) string {
	if f.Needs == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%d of %d %s", len(f.Approvals), f.Needs, strings.Join(f.Approvals, ", ")))
}

// numbers reads flags as they are named in lists.
func numbers(args []string) (list []int64, err error) {
	for _, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 0 {
			return nil, &usageError{fmt.Errorf("%q is not the number of a flag, such as 17", arg)}
		}
		list = append(list, n)
	}
	return list, nil
}

// pick finds open flags by their numbers.
func (d *desk) pick(ctx context.Context, f operate.FlagFilter, wanted []int64) ([]operate.OpenFlag, error) {
	all, _, err := everything(0, func(cursor string, n int) (operate.Page[operate.OpenFlag], error) { return d.Flags(ctx, f, cursor, n) })
	if err != nil {
		return nil, err
	}
	picked := slices.DeleteFunc(all, func(f operate.OpenFlag) bool { return !slices.Contains(wanted, f.Number) })
	for _, n := range wanted {
		if !slices.ContainsFunc(picked, func(f operate.OpenFlag) bool { return f.Number == n }) {
			return nil, fmt.Errorf("flag %d: %w", n, operate.ErrNotFound)
		}
	}
	return picked, nil
}

func newDecide(env []string, decision lane.Decision, short string) *cobra.Command {
	var (
		reason string
		yes    bool
	)
	c := &cobra.Command{
		Use:     string(decision) + " FLAG...",
		Short:   short,
		Long:    short + ".\nNeither whom the event is about nor who asked for it may decide, and some holds need two people.",
		Example: fmt.Sprintf("  mfaflow hold %s 17 --reason 'identity proven in person' --yes", decision),
		Args:    checked(cobra.MinimumNArgs(1)),
	}
	changing(c, &reason, &yes)
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		if err := needReason(reason); err != nil {
			return err
		}
		wanted, err := numbers(args)
		if err != nil {
			return err
		}
		if !yes {
			return d.wouldChange(ctx, operate.FlagFilter{Holds: true}, wanted, fmt.Sprintf("%ss %d held events", decision, len(wanted)))
		}
		var done []operate.Outcome
		for _, n := range wanted {
			o, err := d.Decide(ctx, "", operate.Word{Flag: n, Decision: decision, Reason: reason})
			if err != nil {
				return errors.Join(d.outcomes(nonNil(done)), fmt.Errorf("flag %d: %w", n, err))
			}
			done = append(done, o)
		}
		return d.outcomes(done)
	})
}

func newResolve(env []string) *cobra.Command {
	var (
		reason string
		yes    bool
	)
	c := &cobra.Command{
		Use:     "resolve FLAG...",
		Short:   "Close flags that were looked into; holds are released or dropped instead",
		Example: "  mfaflow flag resolve 17 18 --reason 'phone replaced' --yes",
		Args:    checked(cobra.MinimumNArgs(1)),
	}
	changing(c, &reason, &yes)
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		if err := needReason(reason); err != nil {
			return err
		}
		wanted, err := numbers(args)
		if err != nil {
			return err
		}
		if !yes {
			return d.wouldChange(ctx, operate.FlagFilter{}, wanted, fmt.Sprintf("resolves %d flags", len(wanted)))
		}
		done, err := d.Resolve(ctx, "", wanted, reason)
		if err != nil {
			return err
		}
		return d.outcomes(nonNil(done))
	})
}

// wouldChange shows the flags that a command would change.
func (d *desk) wouldChange(ctx context.Context, f operate.FlagFilter, wanted []int64, what string) error {
	picked, err := d.pick(ctx, f, wanted)
	if err != nil {
		return err
	}
	if d.json {
		return printJSON(d.out, picked)
	}
	d.flags(picked)
	fmt.Fprintf(d.out, "\nNothing was changed. --yes %s.\n", what)
	return nil
}
