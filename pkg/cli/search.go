package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mfaflow/pkg/audit"
)

func newAuditSearch() *cobra.Command {
	var user, event, operator, action, since, until string
	c := &cobra.Command{
		Use:   "search [FILE...]",
		Short: "Find records of the trail by person, event, operator and time",
		Long: "Read logs of the functions from files or from standard input and print the records that fit all flags, in the order of\n" +
			"the logs. A record that was changed is left out, and the command fails. With --json the records are printed as they\n" +
			"were written.",
		Example: "  mfaflow audit search --user 10000000-0000-4000-8000-000000000004 identity-worker.log\n  mfaflow audit search --operator ada@contoso.example --since 168h < event-replay.log",
	}
	c.Flags().StringVar(&user, "user", "", "only about this person, by object id")
	c.Flags().StringVar(&event, "event", "", "only of this event, by its key or a part of it")
	c.Flags().StringVar(&operator, "operator", "", "only what this operator did")
	c.Flags().StringVar(&action, "action", "", "only this action")
	c.Flags().StringVar(&since, "since", "", "only from this time on: 24h, or 2026-11-23T08:00:00Z")
	c.Flags().StringVar(&until, "until", "", "only before this time")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		from, err := moment("since", since)
		if err != nil {
			return err
		}
		to, err := moment("until", until)
		if err != nil {
			return err
		}
		fits := func(f audit.Found) bool {
			return (user == "" || strings.EqualFold(string(f.User), user) || strings.EqualFold(f.Lane, user)) &&
				strings.Contains(f.Key, event) &&
				(operator == "" || strings.EqualFold(f.Actor, operator)) &&
				(action == "" || f.Action == action) &&
				!f.Started.Before(from) && (to.IsZero() || f.Started.Before(to))
		}
		t := table{header: []string{"STARTED", "ACTOR", "ACTION", "DECISION", "REASON", "OUTCOME", "USER", "KEY"}}
		found, seen := 0, 0
		take := func(f audit.Found) error {
			seen++
			if !fits(f) {
				return nil
			}
			found++
			if wantsJSON(cmd) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", f.Line)
				return err
			}
			who := string(f.User)
			if who == "" {
				who = f.Lane
			}
			t.add(f.Started.UTC().Format("2006-01-02T15:04:05Z"), f.Actor, f.Action, f.Decision, f.Reason, f.Outcome, who, f.Key)
			return nil
		}
		problems := searchLogs(cmd.InOrStdin(), args, take)
		if !wantsJSON(cmd) && found > 0 {
			t.print(cmd.OutOrStdout(), terminalWidth(cmd.OutOrStdout()))
		}
		switch {
		case problems != nil:
		case seen == 0:
			fmt.Fprintln(cmd.ErrOrStderr(), "There are no audit records in that: is it the log of a function?")
		case found == 0:
			fmt.Fprintf(cmd.ErrOrStderr(), "None of %d records fits.\n", seen)
		}
		return problems
	}
	return jsonFlag(c)
}

func searchLogs(stdin io.Reader, paths []string, take func(audit.Found) error) error {
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	var problems []error
	for _, path := range paths {
		if path == "-" {
			problems = append(problems, audit.Read(stdin, take))
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := audit.Read(f, take); err != nil {
			problems = append(problems, fmt.Errorf("%s:\n%w", path, err))
		}
		f.Close()
	}
	return errors.Join(problems...)
}
