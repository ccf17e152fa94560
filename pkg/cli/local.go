package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/console"
	"mfaflow/pkg/event"
	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

const (
	startTimeout = 20 * time.Second
	storyTimeout = 20 * time.Second
)

// local is a stack and what it prints on.
type local struct {
	*stack.Stack
	out   io.Writer
	trail *trail
	// audit are the audit lines of the functions.
	audit console.Trail
}

func newLocal(env []string) *cobra.Command {
	var o stack.Options
	c := &cobra.Command{
		Use:   "local",
		Short: "Run everything on this machine, play one joiner, serve until Ctrl-C",
		Args:  checked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLocal(cmd, o, env, func(ctx context.Context, l *local) (err error) {
				place, here := announcement(env), l.announced()
				if err := operateapi.Announce(place, here); err != nil {
					return fmt.Errorf("tell the other commands where the stack is: %w", err)
				}
				defer func() { err = errors.Join(err, operateapi.Withdraw(place, here)) }()
				page, err := l.openConsole(ctx, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, page.Close()) }()
				if _, err := l.playJoiner(ctx); err != nil {
					return err
				}
				if err := l.invite(); err != nil {
					return err
				}
				return l.Wait(ctx)
			})
		},
	}
	stackFlags(c, &o)
	return c
}

func newDemo(env []string) *cobra.Command {
	var o stack.Options
	all := false
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play a joiner's story; fail unless the pass is delivered and opens the account",
		Args:  checked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all {
				o.Settings = append(stack.StorySettings(), o.Settings...)
				return withLocal(cmd, o, env, func(ctx context.Context, l *local) error { return l.playAll(ctx) })
			}
			return withLocal(cmd, o, env, func(ctx context.Context, l *local) error {
				d, err := l.playJoiner(ctx)
				if err != nil {
					return err
				}
				return l.tryPass(d)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "play a story for every event type; fail unless every effect shows")
	stackFlags(c, &o)
	return c
}

func stackFlags(c *cobra.Command, o *stack.Options) {
	c.Flags().StringVar(&o.Bin, "bin", "", "folder of the built functions; default: where mfaflow itself is")
	c.Flags().StringArrayVar(&o.Settings, "set", nil, "setting for all functions, such as MFAFLOW_LOG_LEVEL=DEBUG (repeatable)")
	c.PreRunE = func(*cobra.Command, []string) error {
		for _, setting := range o.Settings {
			if name, _, ok := strings.Cut(setting, "="); !ok || name == "" {
				return &usageError{errors.New("--set is not NAME=VALUE, such as MFAFLOW_LOG_LEVEL=DEBUG")}
			}
		}
		return nil
	}
}

// withLocal starts the stack, calls do and ends the stack.
func withLocal(cmd *cobra.Command, o stack.Options, env []string, do func(context.Context, *local) error) (err error) {
	if o.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.Bin = filepath.Dir(self)
	}
	ctx := cmd.Context()
	l := &local{out: cmd.OutOrStdout()}
	l.trail = newTrail(l.out, time.Now)

	began := time.Now()
	starting, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not within %s", startTimeout))
	defer cancel()
	o.Environment, o.Each = env, func(from string, line []byte) {
		l.audit.Add(line)
		l.trail.show(from, line)
	}
	l.Stack, err = stack.Start(starting, o)
	if errors.Is(err, stack.ErrNotBuilt) {
		return hint(err, "make build, or --bin FOLDER")
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	l.trail.meet(l.personOf)
	fmt.Fprintf(l.out, "mfaflow is up after %d ms\n", time.Since(began).Milliseconds())
	fmt.Fprintf(l.out, "  hr-events        %s\n", l.HREventsURL())
	fmt.Fprintf(l.out, "  risk-signals     %s\n", l.RiskSignalsURL(stack.RiskSystem))
	fmt.Fprintf(l.out, "  Service Bus      %s  (admin %s)\n", l.Bus.ConnectionString(), l.Bus.AdminURL())
	fmt.Fprintf(l.out, "  Microsoft Graph  %s  (GET /sim lists what else it answers)\n", l.Graph.URL())
	fmt.Fprintf(l.out, "  event-replay     %s  (mfaflow queue finds it)\n", l.OperationsURL())
	return do(ctx, l)
}

// announced is where the other commands find the stack.
func (l *local) announced() operateapi.Local {
	return operateapi.Local{URL: l.OperationsURL(), TokenFile: l.TokenFile(), Settings: l.Dir, Origins: l.Origins(), Management: l.Bus.AdminURL()}
}

// personOf names people on the trail.
func (l *local) personOf(objectID string) string {
	u, ok := l.Graph.User(objectID)
	if !ok {
		return objectID
	}
	name, _, _ := strings.Cut(u.UserPrincipalName, "@")
	return "{" + name + "}"
}

// playJoiner has HR say that somebody starts tomorrow and waits for the pass.
func (l *local) playJoiner(ctx context.Context) (stack.Delivery, error) {
	person, ok := l.Person(stack.ModelJoiner)
	if !ok {
		return stack.Delivery{}, fmt.Errorf("the sample tenant has no %s", stack.ModelJoiner)
	}
	start, err := l.Tomorrow()
	if err != nil {
		return stack.Delivery{}, err
	}
	statement, err := stack.JoinerEvent(stack.ModelJoiner, start)
	if err != nil {
		return stack.Delivery{}, err
	}
	fmt.Fprintf(l.out, "\nHR says: %s (%s) starts on %s\n", person.DisplayName, person.EmployeeID, start)
	ctx, cancel := context.WithTimeoutCause(ctx, storyTimeout, fmt.Errorf("not within %s", storyTimeout))
	defer cancel()
	answer, err := l.Post(ctx, stack.Source, statement)
	if err != nil {
		return stack.Delivery{}, err
	}
	if answer.Status != http.StatusAccepted {
		return stack.Delivery{}, fmt.Errorf("hr-events refused the event with %d: %s", answer.Status, answer.Body)
	}
	// What the worker says of the event ends the wait early when it is not done.
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case o := <-l.trail.settled:
			if o.Outcome != "done" {
				giveUp(fmt.Errorf("the worker's verdict is %q", o.Outcome))
			}
		case <-ctx.Done():
		}
	}()
	d, err := l.Delivered(waiting, stack.ModelJoiner)
	if err != nil {
		return d, hint(err, "look at the lines above: they name what stopped the event")
	}
	<-ended
	if ctx.Err() != nil {
		return d, fmt.Errorf("the event does not come to its end: %w", context.Cause(ctx))
	}
	l.trail.say("mail", "%s received %q from %s", d.To, d.Mail.Subject, d.Mail.From)
	for line := range strings.Lines(d.Masked()) {
		fmt.Fprintf(l.out, "%s| %s\n", strings.Repeat(" ", 27), strings.TrimRight(line, "\r\n"))
	}
	return d, nil
}

// tryPass signs in with the delivered pass: too early it must fail, on the morning
// of the start date it must work.
func (l *local) tryPass(d stack.Delivery) error {
	zone, err := event.ParseTimeZone(stack.TimeZone)
	if err != nil {
		return err
	}
	person, _ := l.Person(stack.ModelJoiner)
	err = l.SignIn(stack.ModelJoiner, d, time.Now())
	if err == nil {
		return errors.New("the pass of tomorrow opens the account today")
	} else if !errors.Is(err, simgraph.ErrPassNotYetValid) {
		return fmt.Errorf("the pass of tomorrow, tried today: %w", err)
	}
	fmt.Fprintf(l.out, "\nToday the pass is refused: %v\n", err)
	morning := d.Pass.Start.Add(time.Minute)
	if err := l.SignIn(stack.ModelJoiner, d, morning); err != nil {
		return fmt.Errorf("sign in with the delivered pass at %s: %w", morning.Format(time.RFC3339), err)
	}
	fmt.Fprintf(l.out, "On %s %s signs in with it.\n", morning.In(zone).Format("Monday, 2 January 2006, 15:04 MST,"), person.DisplayName)
	return nil
}

// invite prints commands to go on with. The files they name live as long as the
// stack does.
func (l *local) invite() error {
	start, err := l.Tomorrow()
	if err != nil {
		return err
	}
	statement, err := stack.JoinerEvent(stack.LateJoiner, start)
	if err != nil {
		return err
	}
	file := filepath.Join(l.Dir, "joiner.json")
	if err := os.WriteFile(file, statement, 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	manager, _ := l.Person(stack.ModelJoiner)
	boss, _ := l.Graph.User(manager.Manager)
	fmt.Fprintf(l.out, `
Go on with these, in another terminal:
  cd %s
  # HR knows %s before the directory does: sign the event and post it
  %s event sign --key-file %s %s > headers
  curl -i -H @headers -H 'content-type: application/cloudevents+json' --data-binary @%s %s
  # the help desk and the risk system sign with %s and %s, and post to
  # %s and its like
  # the router waits; provision the account and it goes on within 5 s
  curl -d '{"employeeId": %q}' %s/sim/provision
  # the manager's mailbox, and every call that the tenant answered
  curl %s/sim/mailboxes/%s
  curl %s/sim/requests
  # what is stuck, and why somebody cannot sign in
  %s queue
  %s user show %s
  # whom the enforcement of MFA will block
  %s readiness
  # whether everything is as it should be
  %s doctor

Ctrl-C ends it.
`, l.Dir, stack.LateJoiner, self, filepath.Base(l.KeyFile(stack.Source)), filepath.Base(file), filepath.Base(file), l.HREventsURL(),
		filepath.Base(l.KeyFile(stack.HelpDesk)), filepath.Base(l.KeyFile(stack.RiskSystem)), l.RiskSignalsURL(stack.HelpDesk),
		stack.LateJoiner, l.Graph.URL(), l.Graph.URL(), boss.Mail, l.Graph.URL(),
		self, self, stack.ModelJoiner, self, self)
	return nil
}
