package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

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
	return c
}
