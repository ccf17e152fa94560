package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	simgraph "mfaflow/pkg/sim/graph"
	simbus "mfaflow/pkg/sim/servicebus"
)

func newServicebus() *cobra.Command {
	var (
		o                simbus.Options
		queues, sessions []string
	)
	c := &cobra.Command{
		Use:   "servicebus",
		Short: "Serve the Azure Service Bus emulator to any client",
		Long: "Serve an emulator of an Azure Service Bus namespace until Ctrl-C. The first two lines on standard output say\n" +
			"how to connect: SERVICEBUS_CONNECTION_STRING=... and SERVICEBUS_ADMIN_URL=...",
		Example: "  mfaflow servicebus --listen 127.0.0.1:5672 --admin-listen 127.0.0.1:5300 --queue orders",
		Args:    checked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range queues {
				o.Queues = append(o.Queues, simbus.QueueConfig{Name: name})
			}
			for _, name := range sessions {
				o.Queues = append(o.Queues, simbus.QueueConfig{Name: name, RequiresSession: true})
			}
			for i, q := range o.Queues {
				if slices.ContainsFunc(o.Queues[:i], func(other simbus.QueueConfig) bool { return strings.EqualFold(other.Name, q.Name) }) {
					return &usageError{fmt.Errorf("queue %q is there twice", q.Name)}
				}
			}
			return simbus.Serve(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "address for AMQP; port 0 takes a free one")
	f.StringVar(&o.AdminListen, "admin-listen", "127.0.0.1:0", "address for the HTTP admin API")
	f.StringVar(&o.DataDir, "data", "", "folder that keeps queues and messages across restarts; default: memory only")
	f.BoolVar(&o.Sync, "sync", false, "with --data: wait for the disk at every change, to survive the machine as well")
	f.StringVar(&o.Key, "key", "", "shared access key that clients must have; default: any")
	f.StringArrayVar(&queues, "queue", nil, "create this queue (repeatable)")
	f.StringArrayVar(&sessions, "session-queue", nil, "create this queue with sessions (repeatable)")
	return c
}

func newGraph() *cobra.Command {
	var (
		o      simgraph.Options
		tenant string
	)
	c := &cobra.Command{
		Use:   "graph",
		Short: "Serve the Microsoft Graph simulator",
		Long: "Serve a simulated tenant until Ctrl-C. The first lines on standard output say where it is:\n" +
			"GRAPH_URL, GRAPH_AUTHORITY_URL, GRAPH_CA_FILE and GRAPH_TENANT_ID. GET $GRAPH_URL/sim lists what else it answers.",
		Example: "  mfaflow graph --listen 127.0.0.1:4080 --latency 50ms",
		Args:    checked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f := o.Throttle.Factor; !(f >= 0) || math.IsInf(f, 0) { // NaN is not at least 0 either
				return &usageError{errors.New("--throttle is not 0 or a positive number")}
			}
			if o.Latency < 0 {
				return &usageError{errors.New("--latency is negative")}
			}
			if tenant != "" {
				text, err := os.ReadFile(tenant)
				if err != nil {
					return err
				}
				if o.Tenant, err = simgraph.ParseTenant(text); err != nil {
					return hint(fmt.Errorf("%s: %w", tenant, err), "compare with events/tenant/sample.json")
				}
			}
			return simgraph.Serve(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "address for plain HTTP; port 0 takes a free one")
	f.StringVar(&o.TLSListen, "tls-listen", "127.0.0.1:0", "address for HTTPS, which azidentity insists on")
	f.StringVar(&o.CAFile, "ca-file", "", "write the certificate that clients must trust here; default: a temporary file")
	f.StringVar(&tenant, "tenant", "", "tenant to start with; default: the sample tenant")
	f.Float64Var(&o.Throttle.Factor, "throttle", 0, "throttle with the documented budgets times this; 0 does not throttle")
	f.BoolVar(&o.PlainCallbacks, "plain-callbacks", false, "accept notification URLs with http on loopback, which Graph never does")
	f.DurationVar(&o.Latency, "latency", 0, "added to every answer")
	c.AddCommand(newGenerate())
	return c
}

func newGenerate() *cobra.Command {
	var (
		o           simgraph.GenerateOptions
		now, output string
	)
	c := &cobra.Command{
		Use:   "generate",
		Short: "Write the file of a believable tenant",
		Long: "Make up a tenant in the middle of its way to multifactor authentication and write it as a file that\n" +
			"mfaflow graph --tenant serves. The same flags give the same tenant.",
		Example: "  mfaflow graph generate --users 100000 --seed 7 -o tenant.json\n  mfaflow graph --tenant tenant.json",
		Args:    checked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Users < simgraph.FewestUsers {
				return &usageError{fmt.Errorf("--users is not %d or more", simgraph.FewestUsers)}
			}
			o.Now = time.Now()
			if now != "" {
				if o.Now, err = time.Parse(time.RFC3339, now); err != nil {
					return &usageError{errors.New("--now is not an RFC 3339 time, such as 2026-11-23T09:00:00Z")}
				}
			}
			tenant := simgraph.Generate(o)
			if output == "" {
				return tenant.Write(cmd.OutOrStdout())
			}
			file, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			if err := errors.Join(tenant.Write(file), file.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d users, %d groups, %d sign-ins\n", output, len(tenant.Users), len(tenant.Groups), len(tenant.SignIns))
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&o.Users, "users", 1000, "accounts of all kinds")
	f.Uint64Var(&o.Seed, "seed", 1, "what the tenant is drawn from")
	f.StringVar(&now, "now", "", "when the sign-in log ends, as RFC 3339; default: now, which makes every file another")
	f.StringVarP(&output, "output", "o", "", "file to write; default: standard output")
	return c
}
