// Package wiring is what every function's main does in the same way: turn its
// settings into a credential and a broker client, and run a drain loop.
//
// Only the mains in functions/ import it. It knows no Graph, so that functions
// without Graph do not link its SDK.
package wiring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"mfaflow/pkg/awsrole"
	"mfaflow/pkg/azauth"
	"mfaflow/pkg/config"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lambdafn"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/telemetry"
)

// Namespace is that of all metrics; alarms in infra/ name it.
const Namespace = "mfaflow"

// Metrics writes to stdout, where CloudWatch Logs finds them.
func Metrics(function string) *telemetry.Metrics {
	return telemetry.NewMetrics(os.Stdout, Namespace, function, time.Now)
}

// Credential is the function's app registration. It does no network.
func Credential(a config.App) (azcore.TokenCredential, error) {
	settings := azauth.Settings{
		TenantID: a.TenantID, ClientID: a.ClientID,
		ClientSecret: a.ClientSecret.Secret, ClientCertificate: a.ClientCertificate.Secret,
		AuthorityHost: a.AuthorityURL, DisableInstanceDiscovery: a.PrivateAuthority(),
	}
	if a.WebIdentity {
		role, err := awsrole.FromEnvironment(config.Runtime, nil)
		if err != nil {
			return nil, err
		}
		settings.ClientAssertion = func(ctx context.Context) (string, error) {
			token, err := role.Token(ctx, federatedAudience)
			if errors.Is(err, awsrole.ErrRefused) {
				err = fmt.Errorf("%w: %w", err, identity.ErrForbidden)
			}
			return token, err
		}
	}
	return azauth.New(settings)
}

// federatedAudience is what a federated credential of an app registration asks for
// (learn.microsoft.com/graph/api/resources/federatedidentitycredential).
const federatedAudience = "api://AzureADTokenExchange"

// Broker are the options of the broker client. The credential is made only when
// the broker needs one.
func Broker(b config.Broker, a config.App) (servicebus.Options, error) {
	opts := servicebus.Options{ConnectionString: b.ServicebusConnectionString.Secret, Namespace: b.ServicebusNamespace}
	if opts.Namespace == "" {
		return opts, nil
	}
	var err error
	opts.Credential, err = Credential(a)
	return opts, err
}

// Lanes says which queue's lanes are drained and how.
type Lanes struct {
	Broker servicebus.Options
	Drain  config.Drain
	Queue  string
	Flags  string
	// Handler makes the handler of one run from the run's broker client.
	Handler func(*servicebus.Client) (lane.Handler, error)
	// Audit takes operators' decisions.
	Audit lane.Audit
	// Idle releases what must not be held while a sandbox is frozen.
	Idle    func()
	Log     *slog.Logger
	Metrics *telemetry.Metrics
}

// garbage is how much of it, in percent of what is in use, is left before it is
// collected. What is in use is a few megabytes, and at Go's 100 a quarter of the
// processor's time went to collecting (make bench, 32 lanes). GOMEMLIMIT still holds.
const garbage = 400

// closing is what is kept of the reserve to close connections with.
const closing = 2 * time.Second

// Run drains until the process or the invocation ends. The broker client lives as
// long as one run: a frozen AMQP connection is a dead one.
func (l Lanes) Run(ctx context.Context) error {
	debug.SetGCPercent(garbage)
	l.Broker.LockDuration = l.Drain.LockDuration
	return lambdafn.Drain(ctx, func(ctx context.Context) error {
		client, err := servicebus.New(l.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		defer l.Idle()
		handler, err := l.Handler(client)
		if err != nil {
			return err
		}
		runner := lane.Runner{
			Engine: &lane.Engine{
				Queue: l.Queue, FlagsQueue: l.Flags, Handler: handler, Sender: client,
				MaxStarts: l.Drain.MaxStarts, Now: time.Now, Audit: l.Audit, Log: l.Log, Metrics: l.Metrics,
			},
			Accept: func(ctx context.Context, wait time.Duration) (lane.Session, error) {
				s, err := client.AcceptNext(ctx, l.Queue, wait)
				if err != nil {
					return nil, err // not a nil *Session in a non-nil interface
				}
				return s, nil
			},
			Lanes: l.Drain.Sessions, IdleExit: l.Drain.IdleExit, Grace: max(l.Drain.DeadlineReserve-closing, 0), Log: l.Log,
		}
		l.Log.InfoContext(ctx, "ready", "queue", l.Queue, "lanes", l.Drain.Sessions)
		settled, err := runner.Run(ctx)
		l.Log.InfoContext(ctx, "drained", "queue", l.Queue, "settled", settled)
		return err
	}, l.Drain.DeadlineReserve, l.Log)
}
