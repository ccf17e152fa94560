package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mfaflow/pkg/audit"
)

func newAudit() *cobra.Command {
	return group("audit", "Look into the audit trail", newAuditVerify(), newAuditSearch())
}

func newAuditVerify() *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use:   "verify [FILE]",
		Short: "Prove that no record of the trail is missing, changed or out of order",
		Long: "Read the log of the functions from a file or from standard input, pass over all other lines and check the chain\n" +
			"of every writer from its first record on. It prints where each chain ends: records cut off at the end leave no\n" +
			"gap, so compare the last number and hash with what was kept elsewhere.",
		Example: "  mfaflow audit verify identity-worker.log\n  mfaflow audit verify < identity-worker.log",
		Args:    checked(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			log := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				log = f
			}
			return verifyTrail(log, cmd.OutOrStdout(), wantsJSON(cmd))
		},
	})
}

// chain is one writer's part of the trail, as printed.
type chain struct {
	Writer string `json:"writer"`
	Lines  int    `json:"lines"`
	Last   int64  `json:"lastSequence"`
	Hash   string `json:"lastHash"`
}

func verifyTrail(log io.Reader, out io.Writer, asJSON bool) error {
	found, problems := audit.Verify(log)
	if len(found) == 0 && problems == nil {
		return hint(errors.New("there is no record in it"), `give the lines as the functions print them, each beginning with {"audit":`)
	}
	chains := make([]chain, len(found))
	for i, c := range found {
		chains[i] = chain(c)
	}
	var err error
	if asJSON {
		list := []string{}
		if problems != nil {
			list = strings.Split(problems.Error(), "\n")
		}
		err = printJSON(out, struct {
			Chains   []chain  `json:"chains"`
			Problems []string `json:"problems"`
		}{chains, list})
	} else {
		err = printChains(out, chains)
	}
	if err != nil {
		return err
	}
	if problems != nil {
		return fmt.Errorf("the trail is not whole:\n%w", problems)
	}
	return nil
}

func printChains(out io.Writer, chains []chain) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WRITER\tLINES\tLAST\tHASH")
	for _, c := range chains {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", c.Writer, c.Lines, c.Last, c.Hash)
	}
	return w.Flush()
}
