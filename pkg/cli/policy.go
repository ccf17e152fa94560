package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/event"
	"mfaflow/pkg/files"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

// administrator names the settings of a stack on this machine with which policies are
// changed.
const administrator = "tenant-administrator"

// auditLog is where the records of writes are kept, among the reports.
const auditLog = "policy/audit.log"

func newPolicy(env []string) *cobra.Command {
	c := group("policy", "Turn MFA on by a file: plan, apply in waves, take back, see drift",
		newPolicySchema(), newPolicyShow(env), newPolicyPlan(env), newPolicyEvent(env), newPolicyApply(env), newPolicyRollback(env), newPolicyDrift(env))
	c.Long = "A file says how the tenant should ask for MFA. A plan is what it takes, in an order in which nobody loses their way in;\n" +
		"what would lock somebody out is refused before anything is written.\n\n" +
		"The tenant is that of MFAFLOW_TENANT_ID and the other settings of the app in the environment; without them, of the stack on\n" +
		"this machine. The app needs, beside what mfaflow readiness reads, Policy.ReadWrite.AuthenticationMethod,\n" +
		"Policy.ReadWrite.ConditionalAccess and Policy.ReadWrite.SecurityDefaults. Runs and the audit trail are kept with the reports."
	return c
}

func newPolicySchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of policy files, for editors", Args: checked(cobra.NoArgs),
		Example: "  mfaflow policy schema > policy.schema.json\n  # first line of the file: # yaml-language-server: $schema=policy.schema.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(policy.Schema())
			return err
		},
	}
}

// board is what the policy commands work with.
type board struct {
	tenant     *graph.Client
	store      policy.Store
	folder     files.Folder // of the audit trail, on this machine
	breakGlass []identity.UserID
	window     time.Duration
	pace       time.Duration
	watch      policy.Watch
	out        io.Writer
	bar        *reading
	json       bool
	width      int
}

// flagReader has a command's stop rule look at open flags where t says event-replay is. A
// tenant that the environment names has its event-replay named too: the one of a stack that
// happens to run on this machine knows nothing of its people.
func flagReader(cmd *cobra.Command, env []string, t target) func(ctx context.Context) ([]policy.OpenFlag, error) {
	return func(ctx context.Context) ([]policy.OpenFlag, error) {
		tenant, _ := lookup(env, "MFAFLOW_TENANT_ID")
		named, _ := lookup(env, config.OperationsURL)
		if tenant != "" && named == "" && t.url == "" {
			return nil, hint(errors.New("nobody says where event-replay is, which lists them"),
				"set %s or --url to its function URL, or take openFlags out of rollout.stop and plan again", config.OperationsURL)
		}
		d, closing, err := t.open(cmd, env)
		if err != nil {
			return nil, err
		}
		defer closing()
		list, _, err := everything(0, func(cursor string, n int) (operate.Page[operate.OpenFlag], error) {
			return d.Flags(ctx, operate.FlagFilter{}, cursor, n)
		})
		if err != nil {
			return nil, advise(err)
		}
		flags := make([]policy.OpenFlag, len(list))
		for i, f := range list {
			flags[i] = policy.OpenFlag{Number: f.Number, Flag: f.Flag}
		}
		return flags, nil
	}
}

// onBoard runs do with the tenant of the settings. t says where event-replay is, if not
// where it is by itself.
func onBoard(env []string, t *target, do func(ctx context.Context, b *board, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		var cfg config.ReadinessTool
		transport, err := tenantSettings(env, administrator, &cfg)
		if err != nil {
			return err
		}
		b := &board{breakGlass: cfg.BreakGlassAccounts, window: cfg.SignInWindow, out: cmd.OutOrStdout(), json: wantsJSON(cmd)}
		b.width = widthOf(b.out, env)
		b.bar = newReading(cmd.ErrOrStderr(), widthOf(cmd.ErrOrStderr(), env))
		if b.tenant, b.pace, err = openTenant(cfg, transport); err != nil {
			return err
		}
		defer b.tenant.Close()
		b.watch = policy.Watch{Failures: b.tenant.MFAFailures, Flags: flagReader(cmd, env, *t)}
		if b.store, err = reportStore(cfg, env); err != nil {
			return err
		}
		if b.folder, err = reportFolder(cfg, env); err != nil {
			return err
		}
		err = do(cmd.Context(), b, args)
		b.bar.end()
		if err != nil && cmd.Context().Err() != nil {
			return hint(err, "the same command again")
		}
		return policyAdvice(err)
	}
}

// policyAdvice adds the next step.
func policyAdvice(err error) error {
	for _, known := range []struct {
		err error
		try string
	}{
		{policy.ErrFile, "mfaflow policy schema for editors, or mfaflow policy show, which writes such a file of what the tenant has"},
		{policy.ErrRefused, "the way out that is named with each refusal; --accept takes upon yourself what a human may decide"},
		{policy.ErrAccept, "mfaflow policy plan without --accept names the people and the codes"},
		{policy.ErrChanged, "mfaflow policy plan again, and read what has changed"},
		{policy.ErrClaimed, "the same command when that one has ended; --take-over if it is known to be dead"},
		{policy.ErrStopped, "mfaflow readiness shows who is blocked, mfaflow flag list what is open; put it right, then the same command goes on, and mfaflow policy rollback takes back"},
		{policy.ErrNotThisPlan, "mfaflow policy plan -o FILE writes one for this tenant"},
		{policy.ErrNoRun, "mfaflow policy rollback lists the runs"},
	} {
		if errors.Is(err, known.err) && !errors.As(err, new(*hintedError)) {
			return hint(err, "%s", known.try)
		}
	}
	return err
}

// snapshot reads the tenant anew: a plan must not rest on what an earlier run has read.
func (b *board) snapshot(ctx context.Context) (posture.Snapshot, error) {
	return b.reading(ctx, func(context.Context) error { return nil })
}

// reading is a snapshot that says with every page that it goes on, and ends with the error
// of that.
func (b *board) reading(ctx context.Context, alive func(context.Context) error) (posture.Snapshot, error) {
	defer b.bar.end()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s, err := readiness.Gatherer{
		Tenant: b.tenant, BreakGlass: b.breakGlass, Window: b.window, Pace: b.pace, Now: time.Now, Progress: func(p readiness.Progress) {
			b.bar.show(p)
			if err := alive(ctx); err != nil {
				end(err)
			}
		},
	}.Snapshot(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s, err
}

func (b *board) planner() policy.Planner {
	return policy.Planner{Tenant: b.tenant, Groups: b.tenant, Now: time.Now, Reads: b.reads(false)}
}

// reads reads states of per-user MFA one by one, of many people if that was asked for.
func (b *board) reads(many bool) *policy.Reads {
	return &policy.Reads{
		Store: b.store, Now: time.Now, Sleep: pause.For, Many: many, Pace: b.pace,
		Progress: func(done, all int, left time.Duration) {
			b.bar.show(readiness.Progress{Step: "states of per-user MFA, one by one", Done: done, Steps: all, People: all, Calls: done, Left: left})
			if done == 0 && many && !b.bar.shows && left > 0 {
				fmt.Fprintf(b.bar.out, "States of per-user MFA of %s people are read one by one, which takes about %s. The same command goes on if it is ended.\n",
					number(all), short(max(time.Minute, left.Round(time.Minute))))
			}
		},
	}
}

// readPolicy reads a policy file.
func readPolicy(path string) (policy.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return policy.File{}, err
	}
	f, err := policy.Parse(text)
	return f, about(path, err)
}

// about names the file that an error is about: its text, or what it says of the tenant.
func about(path string, err error) error {
	if errors.Is(err, policy.ErrFile) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}

func newPolicyShow(env []string) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "show", Short: "Write what the tenant has now as a policy file", Args: checked(cobra.NoArgs),
		Long:    "Write what the tenant has now as a policy file. What a file cannot say is left out and told in comments.",
		Example: "  mfaflow policy show -o policy.yaml",
	}
	c.Flags().StringVarP(&file, "output", "o", "", "file that it is written to; default: standard output")
	c.RunE = onBoard(env, &target{}, func(ctx context.Context, b *board, _ []string) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		f, notes, err := b.planner().Show(ctx, s)
		if err != nil {
			return err
		}
		if b.json {
			return printJSON(b.out, f)
		}
		text, err := f.YAML()
		if err != nil {
			return err
		}
		var all bytes.Buffer
		fmt.Fprintf(&all, "# yaml-language-server: $schema=policy.schema.json\n# %s, %s\n", printable(cmp.Or(s.Tenant.DisplayName, s.Tenant.ID)), stamp(s.TakenAt))
		for _, n := range notes {
			fmt.Fprintf(&all, "# Note: %s.\n", printable(n))
		}
		all.Write(text)
		if file == "" {
			_, err = b.out.Write(all.Bytes())
			return err
		}
		return os.WriteFile(file, all.Bytes(), 0o600)
	})
	return jsonFlag(c)
}

func newPolicyPlan(env []string) *cobra.Command {
	var (
		file   string
		accept []string
		reveal bool
		many   bool
	)
	c := &cobra.Command{
		Use: "plan FILE", Short: "Say what a file would change, in which order and for whom, without doing it", Args: checked(cobra.ExactArgs(1)),
		Example: "  mfaflow policy plan policy.yaml -o rollout.plan\n  mfaflow policy plan policy.yaml --accept svc-backup@contoso.example",
	}
	planFlags(c, &file, &accept, &reveal)
	c.Flags().BoolVar(&many, "per-user-reads", false, "read the state of per-user MFA of however many people one by one, if the tenant does not tell it in bulk; goes on where it was")
	var events target
	events.flags(c)
	c.RunE = onBoard(env, &events, func(ctx context.Context, b *board, args []string) error {
		f, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		planner := b.planner()
		planner.Reads = b.reads(many)
		p, err := planner.Plan(ctx, policy.Request{File: f, Snapshot: s, Accept: accept, Watch: b.watch})
		if err != nil {
			return about(args[0], err)
		}
		return b.planned(p, file, names(s, reveal))
	})
	return jsonFlag(c)
}

func newPolicyEvent(env []string) *cobra.Command {
	var file, requester, ticket, source string
	c := &cobra.Command{
		Use: "event FILE", Short: "Write an mfa.method.policy event that asks for what a file says", Args: checked(cobra.ExactArgs(1)),
		Long: "Plan a file, show the plan, and write the event that has identity-worker carry it out: with the digest of this plan, so that\n" +
			"the event is held for two operators when it comes to another one. mfaflow event sign signs it.\n\n" +
			"The file may manage methods, registrationCampaign and systemPreferred. Conditional Access, security defaults and per-user MFA\n" +
			"are for mfaflow policy apply: identity-worker does not hold the permissions.",
		Example: "  mfaflow policy event passkeys.yaml --requested-by ada@contoso.example --ticket CHG-1234 -o change.json",
	}
	c.Flags().StringVarP(&file, "output", "o", "", "file that the event is written to; default: standard output, without the plan")
	c.Flags().StringVar(&requester, "requested-by", "", "object id or user principal name of who asks for it, who cannot approve it")
	c.Flags().StringVar(&ticket, "ticket", "", "number of the change")
	c.Flags().StringVar(&source, "source", "urn:mfaflow:policy", "source of the event, a URI")
	c.RunE = onBoard(env, &target{}, func(ctx context.Context, b *board, args []string) error {
		f, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		p, err := b.planner().Plan(ctx, policy.Request{File: f, Snapshot: s})
		if err != nil {
			return about(args[0], err)
		}
		said, err := json.Marshal(f)
		if err != nil {
			return err
		}
		e, err := json.MarshalIndent(map[string]any{
			"specversion": "1.0", "id": "policy-" + rand.Text()[:12], "source": source, "type": event.MethodPolicy, "subject": p.Tenant,
			"time": time.Now().UTC().Format(time.RFC3339), "data": event.PolicyChange{RequestedBy: requester, Ticket: ticket, Policy: said, Digest: p.Digest},
		}, "", "  ")
		if err != nil {
			return err
		}
		schemas, err := catalog.New()
		if err != nil {
			return err
		}
		if v := judge(schemas, args[0], e); !v.Valid {
			var wrong []string
			for _, field := range v.Problems {
				wrong = append(wrong, field.String())
			}
			return hint(fmt.Errorf("no event can ask for this: %s", cmp.Or(strings.Join(wrong, "; "), v.Problem)), "mfaflow policy event --help")
		}
		refused := slices.ContainsFunc(p.Refusals, func(r policy.Refusal) bool { return !r.Acceptable })
		switch {
		case file == "" && refused:
			return hint(policy.ErrRefused, "mfaflow policy plan %s, which says why", args[0])
		case file == "":
			_, err = b.out.Write(append(e, '\n'))
			return err
		}
		b.print(p, nil)
		if err := os.WriteFile(file, append(e, '\n'), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(b.out, "\nNothing was changed. %s asks for this plan; mfaflow event sign --key-file KEY %s signs it.\n", file, file)
		if refused {
			return policy.ErrRefused
		}
		return nil
	})
	return c
}

func planFlags(c *cobra.Command, file *string, accept *[]string, reveal *bool) {
	c.Flags().StringVarP(file, "output", "o", "", "file that the plan is written to, for mfaflow policy apply")
	c.Flags().StringSliceVar(accept, "accept", nil, "take a refusal upon yourself: a person's object id or user principal name, or the code of the refusal (repeatable)")
	c.Flags().BoolVar(reveal, "reveal", false, "show people by name and not by object id")
	complete(c, "accept", func(context.Context) (list []string) {
		for _, code := range policy.Codes() {
			list = append(list, string(code))
		}
		return list
	})
}

// names are people's names, if they are to be shown.
func names(s posture.Snapshot, reveal bool) map[identity.UserID]string {
	list := map[identity.UserID]string{}
	for i := range s.People {
		if reveal {
			list[s.People[i].ID] = s.People[i].UserPrincipalName
		}
	}
	return list
}

// planned keeps and prints a plan.
func (b *board) planned(p policy.Plan, file string, names map[identity.UserID]string) error {
	if file != "" {
		text, err := json.MarshalIndent(p, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	if b.json {
		if err := printJSON(b.out, p); err != nil {
			return err
		}
	} else {
		b.print(p, names)
		switch {
		case p.Empty() || len(p.Refusals) > 0:
		case file == "":
			fmt.Fprintln(b.out, "\nNothing was changed. With -o the plan is written to a file, which mfaflow policy apply takes.")
		default:
			fmt.Fprintf(b.out, "\nNothing was changed. mfaflow policy apply %s --reason WHY --yes begins.\n", file)
		}
	}
	if len(p.Refusals) > 0 {
		return policy.ErrRefused
	}
	return nil
}

func (b *board) print(p policy.Plan, names map[identity.UserID]string) {
	if p.Empty() {
		fmt.Fprintln(b.out, "There is nothing to do.")
	} else {
		fmt.Fprintf(b.out, "Plan %s for tenant %s, made %s\n\n", p.Digest[:min(12, len(p.Digest))], p.Tenant, stamp(p.MadeAt))
		t := table{header: []string{"STEP", "WAIT", "CALLS", "EFFECT", "WHAT"}}
		for i, s := range p.Steps {
			wait, calls := "", strconv.Itoa(len(s.Calls))
			if s.Pause > 0 {
				wait = short(s.Pause)
			}
			if s.Gate {
				wait = strings.TrimSpace(wait + " if good")
			}
			for _, call := range s.Calls {
				if call.Beta {
					calls += " beta"
					break
				}
			}
			t.add(strconv.Itoa(i+1), wait, calls, effect(s.Effect), s.Title)
		}
		t.print(b.out, b.width)
	}
	for _, kind := range []struct {
		word string
		list []policy.Refusal
	}{{"Refused", p.Refusals}, {"Accepted", p.Accepted}} {
		for _, r := range kind.list {
			fmt.Fprintf(b.out, "\n%s (%s): %s", kind.word, r.Code, r.Code.Title())
			if r.Step > 0 {
				fmt.Fprintf(b.out, ", step %d", r.Step)
			}
			fmt.Fprintln(b.out)
			if r.Detail != "" {
				fmt.Fprintf(b.out, "  %s\n", printable(r.Detail))
			}
			const most = 20
			for _, id := range first(r.People, most) {
				fmt.Fprintf(b.out, "  %s\n", printable(cmp.Or(names[id], string(id))))
			}
			if n := len(r.People) - most; n > 0 {
				fmt.Fprintf(b.out, "  ... and %s more (--json has all)\n", number(n))
			}
			if kind.word == "Refused" {
				fmt.Fprintf(b.out, "  -> %s\n", r.WayOut)
			}
		}
	}
	if len(p.Warnings) > 0 {
		fmt.Fprintln(b.out)
	}
	for _, w := range p.Warnings {
		if w.Step > 0 {
			fmt.Fprintf(b.out, "Warning: step %d: %s.\n", w.Step, printable(w.Text))
		} else {
			fmt.Fprintf(b.out, "Warning: %s.\n", printable(w.Text))
		}
	}
}

// effect is what a step does to people, in a few words.
func effect(e policy.Effect) string {
	var parts []string
	for _, s := range e.Shifts {
		parts = append(parts, fmt.Sprintf("%s %s to %s", number(s.Count), s.From, s.To))
	}
	for _, x := range []struct {
		n    int
		what string
	}{{len(e.Gains), "get a way in"}, {len(e.Loses), "lose one"}} {
		if x.n > 0 {
			parts = append(parts, number(x.n)+" "+x.what)
		}
	}
	return strings.Join(parts, ", ")
}

func newPolicyApply(env []string) *cobra.Command {
	var (
		reason        string
		yes, takeOver bool
	)
	c := &cobra.Command{
		Use: "apply PLAN-FILE", Short: "Apply a plan up to its next pause, or, without --yes, show it", Args: checked(cobra.ExactArgs(1)),
		Long: "Apply the plan that mfaflow policy plan -o wrote, and no other: nothing is written when the tenant is no longer as it was\n" +
			"planned, or when somebody would by now be locked out. What every object was is kept before it is written.\n\n" +
			"A plan with waves ends at each pause and says when it goes on; give the same command again then. It goes on after Ctrl-C,\n" +
			"a crash or an error too, and does nothing twice. Of several at once, with the runs in one folder or bucket, one applies; the\n" +
			"others are told who that is, and until when: one that was killed holds the tenant for three minutes.",
		Example: "  mfaflow policy apply rollout.plan\n  mfaflow policy apply rollout.plan --reason 'MFA for everybody, CHG-1234' --yes",
	}
	changing(c, &reason, &yes)
	c.Flags().BoolVar(&takeOver, "take-over", false, "take the tenant from another process that is applying a plan and is known to be dead")
	var events target
	events.flags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var p policy.Plan
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &p); err != nil {
			return policyAdvice(fmt.Errorf("%w: %s is no plan", policy.ErrNotThisPlan, args[0]))
		}
		if err := p.Verify(); err != nil {
			return policyAdvice(fmt.Errorf("%s: %w", args[0], err))
		}
		if !yes {
			b := &board{out: cmd.OutOrStdout(), json: wantsJSON(cmd), width: widthOf(cmd.OutOrStdout(), env)}
			return policyAdvice(b.planned(p, args[0], nil))
		}
		if err := needReason(reason); err != nil {
			return err
		}
		operator, err := whoami()
		if err != nil {
			return err
		}
		return onBoard(env, &events, func(ctx context.Context, b *board, _ []string) error {
			return b.apply(ctx, p, operator, reason, takeOver)
		})(cmd, args)
	}
	return jsonFlag(c)
}

// whoami is the user of this machine, and nobody that somebody names. The tenant knows the
// app only.
func whoami() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("who runs this: %w", err)
	}
	return u.Username, nil
}

// claimant is this process. A machine without a name is told by its process alone.
func claimant() policy.Claimant {
	host, _ := os.Hostname()
	return policy.Claimant{Host: host, PID: os.Getpid()}
}

func (b *board) apply(ctx context.Context, p policy.Plan, operator, reason string, takeOver bool) (err error) {
	path := filepath.Join(string(b.folder), filepath.FromSlash(auditLog))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	steps := map[int]bool{}
	engine := policy.Engine{
		Tenant: b.tenant, Groups: b.tenant, Store: b.store, Snapshot: b.reading, Claimant: claimant(), TakeOver: takeOver, Reads: b.reads(false), Now: time.Now, Sleep: pause.For,
		Watch: b.watch, Audit: audit.NewWriter(log, "policy"),
		Progress: func(at policy.Progress) {
			if !b.json && !steps[at.Step] {
				steps[at.Step] = true
				fmt.Fprintf(b.out, "step %d of %d: %s\n", at.Step, at.Steps, printable(at.Title))
			}
		},
	}
	out, err := engine.Apply(ctx, p, operator, reason)
	if b.json {
		return errors.Join(err, printJSON(b.out, out))
	}
	switch {
	case err != nil:
		if out.Run != "" {
			fmt.Fprintf(b.out, "\n%d of %d steps are done, run %s.\n", out.Steps, out.Of, out.Run)
		}
	case out.Of == 0:
		fmt.Fprintln(b.out, "There is nothing to do.")
	case out.Already:
		fmt.Fprintf(b.out, "It was applied before, as run %s.\n", out.Run)
	case out.Done():
		fmt.Fprintf(b.out, "\nDone: %d steps, run %s. mfaflow policy rollback %s takes them back.\n", out.Of, out.Run, out.Run)
	default:
		fmt.Fprintf(b.out, "\n%d of %d steps are done, run %s. The next one may begin at %s: give the same command again then.\n",
			out.Steps, out.Of, out.Run, out.PausedUntil.UTC().Format(time.RFC3339))
	}
	return err
}

func newPolicyRollback(env []string) *cobra.Command {
	var (
		file   string
		accept []string
		reveal bool
	)
	c := &cobra.Command{
		Use: "rollback [RUN]", Short: "Plan to put back what a run found, or list the runs", Args: checked(cobra.MaximumNArgs(1)),
		Long: "Plan to put back, in reverse order, what a run found: a plan like any other, refused if it would lock somebody out or\n" +
			"if somebody else has changed what it would put back. mfaflow policy apply applies it. Without RUN the runs are listed.",
		Example: "  mfaflow policy rollback\n  mfaflow policy rollback 20261123T080000.000000000Z-3f2a91c0 -o back.plan\n  mfaflow policy apply back.plan --reason 'CHG-1234 taken back' --yes",
	}
	planFlags(c, &file, &accept, &reveal)
	c.RunE = onBoard(env, &target{}, func(ctx context.Context, b *board, args []string) error {
		runs, err := policy.Runs(ctx, b.store)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return b.runs(runs)
		}
		for _, r := range runs {
			if r.ID != args[0] {
				continue
			}
			s, err := b.snapshot(ctx)
			if err != nil {
				return err
			}
			p, err := b.planner().Rollback(ctx, b.store, r, policy.Request{Snapshot: s, Accept: accept})
			if err != nil {
				return err
			}
			return b.planned(p, file, names(s, reveal))
		}
		return fmt.Errorf("%w: %s", policy.ErrNoRun, args[0])
	})
	return jsonFlag(c)
}

// ran is a run as it is listed.
type ran struct {
	Run      string    `json:"run"`
	BeganAt  time.Time `json:"beganAt"`
	Operator string    `json:"operator"`
	Reason   string    `json:"reason"`
	Plan     string    `json:"plan"`
	Steps    int       `json:"steps"`
	Of       int       `json:"of"`
	State    string    `json:"state"`
}

func (b *board) runs(runs []policy.Run) error {
	list := []ran{}
	for _, r := range runs {
		state := "done"
		switch {
		case r.UndoneBy != "":
			state = "taken back"
		case r.SupersededBy != "":
			state = "superseded"
		case r.Open():
			state = "open"
		}
		list = append(list, ran{r.ID, r.BeganAt, r.Operator, r.Reason, r.Plan.Digest, len(r.StepsDone), len(r.Plan.Steps), state})
	}
	if b.json {
		return printJSON(b.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(b.out, "There are none.")
		return nil
	}
	t := table{header: []string{"RUN", "BEGAN", "STATE", "STEPS", "OPERATOR", "REASON"}}
	for _, r := range list {
		t.add(r.Run, stamp(r.BeganAt), r.State, fmt.Sprintf("%d of %d", r.Steps, r.Of), r.Operator, r.Reason)
	}
	t.print(b.out, b.width)
	return nil
}

func newPolicyDrift(env []string) *cobra.Command {
	c := &cobra.Command{
		Use: "drift FILE", Short: "Show what of the tenant differs from a file", Args: checked(cobra.ExactArgs(1)),
		Long:    fmt.Sprintf("Show what of the tenant differs from a file. The exit code is 0 when nothing does, and %d when something does.", exitDiffers),
		Example: "  mfaflow policy drift policy.yaml",
	}
	c.RunE = onBoard(env, &target{}, func(ctx context.Context, b *board, args []string) error {
		f, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		list, err := b.planner().Drift(ctx, f, s)
		if err != nil {
			return about(args[0], err)
		}
		switch {
		case b.json:
			if err := printJSON(b.out, list); err != nil {
				return err
			}
		case len(list) == 0:
			fmt.Fprintln(b.out, "Nothing differs.")
		default:
			t := table{header: []string{"DIFFERS", "FILE", "TENANT"}}
			for _, d := range list {
				t.add(d.Place(), string(d.Want), string(d.Have))
			}
			t.print(b.out, b.width)
		}
		if len(list) > 0 {
			return errDiffers
		}
		return nil
	})
	return jsonFlag(c)
}
