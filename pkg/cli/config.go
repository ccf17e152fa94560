package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/setpoll"
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
	if err := refusal(settings, config.Load(settings)); err != nil {
		return hint(fmt.Errorf("%s would not start:\n%w", name, err), "mfaflow config %s", name)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the settings are complete\n", name)
	return err
}

// refusal is why a function would not start with settings that were loaded with this
// error: what they are refused for, and what it finds when it opens the documents in them.
func refusal(settings config.Settings, err error) error {
	unread, _ := errors.AsType[config.SettingsError](err)
	problems := []error{err}
	about := func(variable string, err error) {
		if err != nil && !unread.Concern(variable) {
			problems = append(problems, fmt.Errorf("%s: %w", variable, err))
		}
	}
	switch s := settings.(type) {
	case *config.HREvents:
		about("MFAFLOW_SOURCES", sourcesOpen(s.Ingest, false, !unread.Concern("MFAFLOW_SOURCE_KEYS")))
	case *config.RiskSignals:
		about("MFAFLOW_SOURCES", sourcesOpen(s.Ingest, true, !unread.Concern("MFAFLOW_SOURCE_KEYS")))
	case *config.TenantSweep:
		about("MFAFLOW_STREAMS", streamsOpen(s))
	case *config.EventReplay:
		about("MFAFLOW_OPERATOR_ROLES", operatorsOpen(s.OperatorRoles, nil))
		about("MFAFLOW_NAMED_OPERATORS", operatorsOpen(s.OperatorRoles, s.NamedOperators))
	case *config.IdentityRouter:
		about("MFAFLOW_RECORD_SOURCES", recordsOpen(s))
	}
	return errors.Join(problems...)
}

// sourcesOpen checks the sources with their keys; when the keys could not be read,
// only what does not depend on them. streams says whether the function takes event
// streams.
func sourcesOpen(s config.Ingest, streams, keys bool) error {
	sources, err := ingest.ParseSources(s.Sources.Bytes())
	if err != nil || !keys {
		return err
	}
	sources, err = ingest.WithKeys(sources, s.SourceKeys)
	return errors.Join(err, ingest.Validate(sources, streams))
}

func operatorsOpen(roles []string, named config.Operators) error {
	if len(roles) == 0 && len(named) == 0 {
		return nil // the settings say what is missing
	}
	_, err := operateapi.Sessions(func(context.Context) string { return "" }, roles, named)
	return err
}

func streamsOpen(s *config.TenantSweep) error {
	list, err := setpoll.Parse(s.Streams.Bytes())
	if err != nil || len(list) == 0 {
		return err
	}
	var sources []ingest.Source
	for _, stream := range list {
		sources = append(sources, stream.Source)
	}
	return ingest.Validate(sources, true)
}

func recordsOpen(s *config.IdentityRouter) error {
	apis, err := hrapi.Parse(s.RecordSources.Bytes())
	if err != nil {
		return err
	}
	schemas, err := catalog.New()
	if err != nil {
		return err
	}
	_, err = hrapi.New(apis, schemas, nil)
	return err
}
