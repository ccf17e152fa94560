package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/runbook"
)

// pile is what a group of commands is about: dead letters, or the quarantine.
type pile struct {
	group  string
	what   string
	places []operate.Place
}

func newDead(env []string) *cobra.Command {
	return pile{"dead", "dead letters", []operate.Place{operate.Inbound, operate.Lanes, operate.Flags, operate.Control}}.command(env)
}

func newQuarantine(env []string) *cobra.Command {
	return pile{"quarantine", "signed events that could not be used", []operate.Place{operate.Quarantine}}.command(env)
}

func (p pile) command(env []string) *cobra.Command {
	return group(p.group, "See and settle "+p.what, p.list(env), p.show(env), p.count(env), p.plan(env), newReplay(p.group, env), p.discard(env))
}

// filter are the flags that pick entries.
type filter struct {
	places                                              []string
	user, lane, typ, source, reason, text, since, until string
}

func (f *filter) flags(c *cobra.Command, p pile, env []string) {
	if len(p.places) > 1 {
		c.Flags().StringSliceVar(&f.places, "place", nil, "only of these places; default: all of "+join(p.places))
		complete(c, "place", func(context.Context) []string { return strings.Split(join(p.places), ", ") })
	}
	c.Flags().StringVar(&f.user, "user", "", "only of this person: object id, user principal name, mail or employee id")
	c.Flags().StringVar(&f.lane, "lane", "", "only of this session")
	c.Flags().StringVar(&f.typ, "type", "", "only events of this type")
	c.Flags().StringVar(&f.source, "source", "", "only of this source")
	c.Flags().StringVar(&f.reason, "reason-is", "", "only with this reason")
	c.Flags().StringVar(&f.text, "text", "", "only with this text in key, detail or body")
	c.Flags().StringVar(&f.since, "since", "", "only from this time on: 24h, or 2026-11-23T08:00:00Z")
	c.Flags().StringVar(&f.until, "until", "", "only before this time")
	c.MarkFlagsMutuallyExclusive("user", "lane")
	live := func(of func(operate.Count) string) func(context.Context) []string {
		return func(ctx context.Context) []string { return p.present(ctx, c, env, of) }
	}
	complete(c, "reason-is", live(func(n operate.Count) string { return n.Reason }))
	complete(c, "type", live(func(n operate.Count) string { return n.Type }))
}

// complete has a flag completed from what list says, when somebody asks.
func complete(c *cobra.Command, flag string, list func(context.Context) []string) {
	// The error is that of a flag which is not there.
	_ = c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return list(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	})
}

// present are the reasons or types that there are now.
func (p pile) present(ctx context.Context, c *cobra.Command, env []string, of func(operate.Count) string) (list []string) {
	d, closing, err := target{}.open(c, env)
	if err != nil {
		return nil
	}
	defer closing()
	all, err := d.Overview(ctx)
	if err != nil {
		return nil
	}
	for _, n := range all.Entries {
		if slices.Contains(p.places, n.Place) && of(n) != "" {
			list = append(list, of(n))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// isEmpty reports whether it picks everything.
func (f *filter) isEmpty() bool {
	return len(f.places) == 0 && f.user+f.lane+f.typ+f.source+f.reason+f.text+f.since+f.until == ""
}

func (f *filter) parse(ctx context.Context, d *desk, p pile) (out operate.Filter, err error) {
	out = operate.Filter{Places: p.places, Lane: f.lane, Type: f.typ, Source: f.source, Reason: f.reason, Text: f.text}
	if len(f.places) > 0 {
		out.Places = nil
		for _, s := range f.places {
			if !slices.Contains(p.places, operate.Place(s)) {
				return out, &usageError{fmt.Errorf("--place %q is none of %s", s, join(p.places))}
			}
			out.Places = append(out.Places, operate.Place(s))
		}
	}
	if f.user != "" {
		id, err := d.userID(ctx, f.user)
		if err != nil {
			return out, err
		}
		out.Lane = string(id)
	}
	if out.Since, err = moment("since", f.since); err != nil {
		return out, err
	}
	out.Until, err = moment("until", f.until)
	return out, err
}

// userID finds the object id of a person.
func (d *desk) userID(ctx context.Context, who string) (identity.UserID, error) {
	if id := strings.ToLower(who); identity.IsGUID(id) {
		return identity.UserID(id), nil
	}
	v, err := d.find(ctx, who, false)
	return v.Tenant.UserID, err
}

func join(places []operate.Place) string {
	var list []string
	for _, p := range places {
		list = append(list, string(p))
	}
	return strings.Join(list, ", ")
}

// ids reads entries as they are named in lists.
func (p pile) ids(args []string) (list []operate.ID, err error) {
	for _, arg := range args {
		place, number, ok := strings.Cut(arg, "/")
		if !ok && len(p.places) == 1 {
			place, number = string(p.places[0]), arg
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || !slices.Contains(p.places, operate.Place(place)) {
			return nil, &usageError{fmt.Errorf("%q is no entry, such as %s/17", arg, p.places[0])}
		}
		list = append(list, operate.ID{Place: operate.Place(place), Sequence: n})
	}
	return list, nil
}

func (p pile) list(env []string) *cobra.Command {
	var (
		f     filter
		limit int
	)
	c := &cobra.Command{
		Use:     "list",
		Short:   "List " + p.what + "; nothing is consumed",
		Example: "  mfaflow " + p.group + " list --since 24h\n  mfaflow " + p.group + " list --user lena.hofmann@contoso.example --watch",
		Args:    checked(cobra.NoArgs),
	}
	f.flags(c, p, env)
	c.Flags().IntVar(&limit, "limit", 100, "how many at most; 0 lists all")
	return operating(env, c, true, func(ctx context.Context, d *desk, _ []string) error {
		picked, err := f.parse(ctx, d, p)
		if err != nil {
			return err
		}
		entries, more, err := everything(limit, func(cursor string, n int) (operate.Page[operate.Entry], error) {
			return d.List(ctx, picked, cursor, n)
		})
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, nonNil(entries))
		}
		d.entries(entries)
		if more {
			fmt.Fprintf(d.problems, "There are more than these %d: --limit 0 lists all, a filter fewer.\n", len(entries))
		}
		return nil
	})
}

// nonNil is an empty list in JSON instead of null.
func nonNil[T any](list []T) []T { return append([]T{}, list...) }

func (d *desk) entries(list []operate.Entry) {
	if len(list) == 0 {
		fmt.Fprintln(d.out, "There are none.")
		return
	}
	t := table{header: []string{"ENTRY", "SINCE", "TYPE", "REASON", "LANE", "KEY", "DETAIL"}}
	for _, e := range list {
		t.add(name(e.ID), stamp(e.EnqueuedAt), e.Type, e.Reason, e.Lane, e.Key, e.Detail)
	}
	t.print(d.out, d.width)
}

func (p pile) count(env []string) *cobra.Command {
	var f filter
	c := &cobra.Command{
		Use:     "count",
		Short:   "Count " + p.what + " by reason and type",
		Example: "  mfaflow " + p.group + " count\n  mfaflow " + p.group + " count --since 24h",
		Args:    checked(cobra.NoArgs),
	}
	f.flags(c, p, env)
	return operating(env, c, true, func(ctx context.Context, d *desk, _ []string) error {
		list, err := p.counted(ctx, d, &f)
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, nonNil(list))
		}
		d.counts(list)
		return nil
	})
}

// counted counts what a filter picks; without one event-replay has counted already.
func (p pile) counted(ctx context.Context, d *desk, f *filter) (list []operate.Count, err error) {
	if f.isEmpty() {
		all, err := d.Overview(ctx)
		return slices.DeleteFunc(slices.Clone(all.Entries), func(n operate.Count) bool { return !slices.Contains(p.places, n.Place) }), err
	}
	picked, err := f.parse(ctx, d, p)
	if err != nil {
		return nil, err
	}
	entries, _, err := everything(0, func(cursor string, n int) (operate.Page[operate.Entry], error) { return d.List(ctx, picked, cursor, n) })
	for _, e := range entries {
		i := slices.IndexFunc(list, func(n operate.Count) bool { return n.Place == e.Place && n.Reason == e.Reason && n.Type == e.Type })
		if i < 0 {
			i, list = len(list), append(list, operate.Count{Place: e.Place, Reason: e.Reason, Type: e.Type, Oldest: e.EnqueuedAt})
		}
		list[i].N++
		if e.EnqueuedAt.Before(list[i].Oldest) {
			list[i].Oldest = e.EnqueuedAt
		}
	}
	slices.SortFunc(list, func(a, b operate.Count) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Type, b.Type))
	})
	return list, err
}

func (d *desk) counts(list []operate.Count) {
	if len(list) == 0 {
		fmt.Fprintln(d.out, "There are none.")
		return
	}
	t := table{header: []string{"PLACE", "REASON", "TYPE", "NUMBER", "OLDEST"}}
	for _, n := range list {
		t.add(string(n.Place), n.Reason, n.Type, strconv.Itoa(n.N), stamp(n.Oldest))
	}
	t.print(d.out, d.width)
}

func (p pile) show(env []string) *cobra.Command {
	var reveal bool
	c := &cobra.Command{
		Use:     "show ENTRY",
		Short:   "Show one: what it says, what its lane remembers, what a replay would do now",
		Example: "  mfaflow " + p.group + " show " + string(p.places[0]) + "/17",
		Args:    checked(cobra.ExactArgs(1)),
	}
	c.Flags().BoolVar(&reveal, "reveal", false, "show personal data; that you did is in the log")
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		ids, err := p.ids(args)
		if err != nil {
			return err
		}
		e, err := d.Show(ctx, ids[0], reveal)
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, e)
		}
		d.detail(e)
		return nil
	})
}

func (d *desk) detail(e operate.Detail) {
	d.facts(
		"entry", name(e.ID), "key", e.Key, "type", e.Type, "source", e.Source, "lane", e.Lane, "since", stamp(e.EnqueuedAt),
		"reason", e.Reason, "detail", e.Entry.Detail, "deliveries", strconv.Itoa(e.Deliveries), "correlation", e.CorrelationID,
	)
	section := runbook.DeadLetters
	if e.Place == operate.Quarantine {
		section = runbook.Quarantine
	}
	if advice, ok := runbook.For(section, e.Reason); ok {
		d.facts("what to do", advice.Do)
	}
	switch {
	case e.Would != nil:
		d.facts("a replay", words(e.Would.Decision, bracketed(e.Would.Reason), e.Would.Detail), "its steps", strings.Join(e.Would.Steps, ", "))
	case e.Why != "":
		d.facts("a replay", "cannot be told: "+e.Why)
	}
	if e.Tenant != nil {
		d.tenant(*e.Tenant)
	}
	d.lane(e.LaneState, e.LaneBusy)
	fmt.Fprintln(d.out, "message")
	var pretty strings.Builder
	raw := json.RawMessage(e.Body)
	if !json.Valid(raw) || printJSON(&pretty, raw) != nil {
		pretty.Reset()
		pretty.WriteString(e.Body)
	}
	for line := range strings.Lines(pretty.String()) {
		fmt.Fprintln(d.out, "  "+printable(strings.TrimRight(line, "\n")))
	}
}

// facts prints names and values in two columns, passing over what is empty.
func (d *desk) facts(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(d.out, "%-13s %s\n", pairs[i], printable(pairs[i+1]))
		}
	}
}

// planFile is a plan as it is kept: what it is about, and what it says.
type planFile struct {
	Selection operate.Selection `json:"selection"`
	Plan      operate.Plan      `json:"plan"`
}

func (p pile) plan(env []string) *cobra.Command {
	var (
		f          filter
		all, exact bool
		file       string
		edits      []string
	)
	c := &cobra.Command{
		Use:   "plan [ENTRY...]",
		Short: "Say what a replay would do now, without doing it",
		Long: "Have the worker's own planner say what a replay of the entries would do now, against the tenant as it is. With -o the\n" +
			"plan goes to a file, from which `mfaflow " + p.group + " replay` replays it: exactly this plan, or nothing.",
		Example: "  mfaflow " + p.group + " plan --since 24h -o friday.plan\n  mfaflow " + p.group + " plan " + string(p.places[0]) + "/17 --edit " + string(p.places[0]) + "/17=correction.json",
	}
	f.flags(c, p, env)
	c.Flags().BoolVar(&all, "all", false, "plan all of them")
	c.Flags().BoolVar(&exact, "exact", false, "read every person's methods instead of estimating them from the report")
	c.Flags().StringVarP(&file, "output", "o", "", "file that the plan is written to")
	c.Flags().StringArrayVar(&edits, "edit", nil, "ENTRY=FILE: correct the data of an event by a JSON merge patch (repeatable)")
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		kept := planFile{Selection: operate.Selection{Exact: exact}}
		var err error
		switch {
		case len(args) > 0 && (all || !f.isEmpty()):
			return &usageError{errors.New("name entries, or pick them with flags; not both")}
		case len(args) == 0 && !all && f.isEmpty():
			return &usageError{errors.New("nothing is selected: name entries, pick them with flags, or say --all")}
		case len(args) > 0:
			kept.Selection.IDs, err = p.ids(args)
		default:
			var picked operate.Filter
			picked, err = f.parse(ctx, d, p)
			kept.Selection.Filter = &picked
		}
		if err != nil {
			return err
		}
		for _, edit := range edits {
			of, path, _ := strings.Cut(edit, "=")
			ids, err := p.ids([]string{of})
			if err != nil {
				return err
			}
			patch, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !json.Valid(patch) {
				return fmt.Errorf("%s is not JSON", path)
			}
			kept.Selection.Edits = append(kept.Selection.Edits, operate.Edit{ID: ids[0], Patch: patch})
		}
		if kept.Plan, err = d.Plan(ctx, kept.Selection); err != nil {
			return err
		}
		if file != "" {
			if err := kept.write(file); err != nil {
				return err
			}
		}
		if d.json {
			return printJSON(d.out, kept)
		}
		d.plan(kept.Plan)
		if file != "" && len(kept.Plan.Entries) > 0 {
			fmt.Fprintf(d.out, "\nNothing was changed. To do it: mfaflow %s replay %s --reason WHY --yes\n", p.group, file)
		}
		return nil
	})
}

func (f planFile) write(path string) error {
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600) // object ids, and corrections
}

// mostEntries is how many entries of a plan are printed; the file has all.
const mostEntries = 40

func (d *desk) plan(p operate.Plan) {
	if len(p.Entries) == 0 {
		fmt.Fprintln(d.out, "There is nothing to replay.")
		return
	}
	t := table{header: []string{"ENTRY", "TYPE", "DECISION", "REASON", "STEPS", "METHODS", "DETAIL"}}
	// What changes somebody's account comes first, what changes nothing last.
	first := slices.Clone(p.Entries)
	slices.SortStableFunc(first, func(a, b operate.PlannedEntry) int { return cmp.Compare(weight(b), weight(a)) })
	for _, e := range first[:min(mostEntries, len(first))] {
		decision, detail := e.Decision.Decision, e.Detail
		if e.Unplannable != "" {
			decision, detail = "left out", e.Unplannable
		}
		methods := ""
		if e.Methods > 0 {
			methods = estimate(e.Methods, e.MethodsRead)
		}
		t.add(name(e.ID), e.Type, decision, e.Reason, strings.Join(e.Steps, ", "), methods, detail)
	}
	t.print(d.out, d.width)
	if n := len(p.Entries) - mostEntries; n > 0 {
		fmt.Fprintf(d.out, "... and %d more\n", n)
	}
	for _, e := range p.Entries {
		for i, line := range e.Diff {
			if i == 0 {
				fmt.Fprintf(d.out, "\n%s is corrected:\n", name(e.ID))
			}
			fmt.Fprintln(d.out, "  "+printable(line))
		}
	}
	fmt.Fprintf(d.out, "\n%d entries: %s\n", len(p.Entries), summary(p.Summary))
}

func weight(e operate.PlannedEntry) int {
	switch {
	case e.Unplannable != "":
		return 1
	case len(e.Steps) > 0:
		return 3
	case e.Decision.Decision == "hold":
		return 2
	default:
		return 0
	}
}

func estimate(n int, read bool) string {
	if read {
		return strconv.Itoa(n)
	}
	return "about " + strconv.Itoa(n)
}

// summary is a plan in one line.
func summary(s operate.Summary) string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{
		{s.Passes, "passes"}, {s.Resets, "resets (" + estimate(s.Methods, s.MethodsRead) + " methods)"}, {s.Blocks, "blocks"}, {s.Done, "already done"},
		{s.Obsolete, "obsolete"}, {s.Held, "held"}, {s.Waiting, "waiting"}, {s.Other, "others"}, {s.Unplannable, "left out"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	text := strings.Join(parts, ", ")
	if s.Calls > 0 {
		text += fmt.Sprintf("; %d Graph calls", s.Calls)
	}
	if s.RadiusLimit > 0 {
		text += fmt.Sprintf("; %d of %d that the breaker lets through", s.Radius, s.RadiusLimit)
	}
	return text
}

func (p pile) discard(env []string) *cobra.Command {
	var (
		f      filter
		reason string
		yes    bool
	)
	c := &cobra.Command{
		Use:     "discard [ENTRY...]",
		Short:   "Remove entries for good; without --yes, show which",
		Example: "  mfaflow " + p.group + " discard " + string(p.places[0]) + "/17 --reason 'a test of HR' --yes",
	}
	f.flags(c, p, env)
	changing(c, &reason, &yes)
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		if err := needReason(reason); err != nil {
			return err
		}
		if len(args) > 0 != f.isEmpty() {
			return &usageError{errors.New("name entries, or pick them with flags; one of both")}
		}
		ids, err := p.ids(args)
		if err != nil {
			return err
		}
		var entries []operate.Entry
		if len(args) == 0 {
			picked, err := f.parse(ctx, d, p)
			if err != nil {
				return err
			}
			entries, _, err = everything(0, func(cursor string, n int) (operate.Page[operate.Entry], error) { return d.List(ctx, picked, cursor, n) })
			if err != nil {
				return err
			}
		} else if !yes {
			for _, id := range ids {
				e, err := d.Show(ctx, id, false)
				if err != nil {
					return fmt.Errorf("%s: %w", name(id), err)
				}
				entries = append(entries, e.Entry)
			}
		}
		if !yes {
			if d.json {
				return printJSON(d.out, nonNil(entries))
			}
			d.entries(entries)
			fmt.Fprintf(d.out, "\nNothing was changed. --yes discards these %d for good.\n", len(entries))
			return nil
		}
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
		var done []operate.Outcome
		for part := range slices.Chunk(ids, mostAtOnce) {
			some, err := d.Discard(ctx, "", part, reason)
			done = append(done, some...)
			if err != nil {
				return errors.Join(d.outcomes(done), err)
			}
		}
		return d.outcomes(nonNil(done))
	})
}

// changing are the flags of every command that changes something.
func changing(c *cobra.Command, reason *string, yes *bool) {
	c.Flags().StringVar(reason, "reason", "", "why, for the audit trail (required)")
	c.Flags().BoolVar(yes, "yes", false, "do it; without it the command only says what it would do")
}

// newQueue is the state of the whole at a glance.
func newQueue(env []string) *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Show at a glance what is stuck: entries by reason, open flags, the breaker",
		Args:  checked(cobra.NoArgs),
	}
	return operating(env, c, true, func(ctx context.Context, d *desk, _ []string) error {
		all, err := d.Overview(ctx)
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, all)
		}
		fmt.Fprintln(d.out, "Dead letters and quarantine")
		d.counts(all.Entries)
		fmt.Fprintln(d.out, "\nOpen flags, holds among them")
		if len(all.OpenFlags) == 0 {
			fmt.Fprintln(d.out, "There are none.")
		} else {
			t := table{header: []string{"CAUSE", "NUMBER", "OLDEST"}}
			for _, n := range all.OpenFlags {
				t.add(string(n.Cause), strconv.Itoa(n.N), stamp(n.Oldest))
			}
			t.print(d.out, d.width)
		}
		if b := all.Breaker; b != nil {
			fmt.Fprintf(d.out, "\nBreaker, within %s: %d of %d changes, %d of %d with immediate leavers\n",
				short(b.Window), b.Ordinary, b.OrdinaryLimit, b.Immediate, b.ImmediateLimit)
		}
		return nil
	})
}

// short is a duration without the parts that are zero.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// newWhoAmI says who event-replay takes the caller for.
func newWhoAmI(env []string) *cobra.Command {
	c := &cobra.Command{
		Use:   "whoami",
		Short: "Show as which operator event-replay knows you",
		Args:  checked(cobra.NoArgs),
	}
	return operating(env, c, false, func(ctx context.Context, d *desk, _ []string) error {
		operator, err := d.whoAmI(ctx)
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, map[string]operate.Operator{"operator": operator})
		}
		fmt.Fprintln(d.out, operator)
		return nil
	})
}
