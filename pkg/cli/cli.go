// Package cli is the mfaflow command line tool. Run does everything but reading
// the process's own arguments, so that tests drive it without a process.
//
// It links the Graph SDK for what it asks the tenant itself, such as readiness, and reads
// the settings of queues for the doctor; it cannot move a message. The local stack runs the
// built functions.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitDiffers: a comparison found differences.
	exitDiffers = 3
)

// errDiffers ends a command that has shown differences. It is no failure, and not printed.
var errDiffers = errors.New("there are differences")

// Run executes one command line and returns the exit code: 0 when it did what it
// was asked, 1 when it failed, 2 when the command line is wrong, 3 when a comparison
// found differences. env is the environment as os.Environ gives it.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	strict(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errDiffers) {
		return exitDiffers
	}
	fmt.Fprintf(stderr, "Error: %v\n", err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Try: %s --help\n", cmd.CommandPath())
		return exitUsage
	}
	if hint := (*hintedError)(nil); errors.As(err, &hint) {
		fmt.Fprintf(stderr, "Try: %s\n", hint.try)
	}
	return exitFailed
}

func newRoot(env []string) *cobra.Command {
	root := group("mfaflow", "Keep the MFA of a Microsoft 365 tenant in step with its people",
		newLocal(env), newDemo(env), newServicebus(), newGraph(), newEvent(env), newMapping(), newConfig(), newAudit(),
		newQueue(env), newDead(env), newQuarantine(env), newHold(env), newFlag(env), newUser(env), newWhoAmI(env), newReadiness(env), newPolicy(env), newConsole(env), newDoctor(env))
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	return root
}

// strict makes cobra's own help and completion refuse names they do not know; they
// answer with a help text and success. The root must have its writers already.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args, c.RunE = cobra.ArbitraryArgs, chooseCommand
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return unknownCommand(found, args[len(args)-max(len(rest), 1)])
				}
				return nil
			}
		}
	}
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:                        use,
		Short:                      short,
		Args:                       cobra.ArbitraryArgs,
		RunE:                       chooseCommand,
		SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(commands...)
	return c
}

// chooseCommand runs a group by itself: it shows what there is to choose from, and
// refuses what there is not.
func chooseCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(group *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", name)
	if near := group.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{errors.New(text)}
}

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// checked turns cobra's complaints about arguments into usage errors.
func checked(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			if _, takes, some := strings.Cut(cmd.Use, " "); some {
				err = fmt.Errorf("%s takes %s: %w", cmd.CommandPath(), takes, err)
			}
			return &usageError{err}
		}
		return nil
	}
}

// hintedError is a failure with a way out.
type hintedError struct {
	err error
	try string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func hint(err error, try string, args ...any) error {
	return &hintedError{err, fmt.Sprintf(try, args...)}
}

// jsonFlag is for commands whose output is data.
func jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().Bool("json", false, "print the data as JSON")
	return c
}

func wantsJSON(cmd *cobra.Command) bool {
	on, err := cmd.Flags().GetBool("json")
	return err == nil && on
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// lookup reads a variable from an environment in the form of os.Environ. The last
// one counts, as with exec.Cmd.
func lookup(env []string, name string) (value string, ok bool) {
	for _, pair := range env {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			value, ok = v, true
		}
	}
	return value, ok
}
