package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"mfaflow/pkg/config"
)

func newConfig() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "config [FUNCTION]",
		Short: "Show the settings of a function, or check the current environment",
		Long: "Show the MFAFLOW_ variables of one function or of all, as a Markdown table.\n" +
			"With --check, read the current environment as the function would at its start and report every problem.",
		Example: "  mfaflow config identity-worker\n  mfaflow config identity-worker --check",
		Args:    checked(cobra.MaximumNArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return config.Functions(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			if check {
				return checkSettings(cmd, name)
			}
			list, err := config.Describe(name)
			if err != nil {
				return &usageError{err}
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), list)
			}
			table, err := config.Usage(name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), table)
			return err
		},
	}
	c.Flags().BoolVar(&check, "check", false, "check the current environment instead")
	return jsonFlag(c)
}

func checkSettings(cmd *cobra.Command, name string) error {
	if name == "" {
		return &usageError{fmt.Errorf("--check needs the name of a function")}
	}
	settings, err := config.New(name)
	if err != nil {
		return &usageError{err}
	}
	if err := config.Load(settings); err != nil {
		return hint(fmt.Errorf("%s would not start:\n%w", name, err), "mfaflow config %s", name)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the settings are complete\n", name)
	return err
}
