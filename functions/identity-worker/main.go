// Command identity-worker acts on the tenant, one person's lane at a time.
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/config"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/handover"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/directory"
	"mfaflow/pkg/worker"
)

func main() { wiring.Main("identity-worker", run) }

func run(ctx context.Context, cfg config.IdentityWorker, log *slog.Logger) error {
	metrics := wiring.Metrics("identity-worker")
	tenant, err := directory.Open(cfg.App, cfg.Directory, metrics)
	if err != nil {
		return err
	}
	channels, err := channels(cfg, tenant)
	if err != nil {
		return err
	}
	policy, err := wiring.MethodPolicy(cfg.Planning, cfg.App, tenant)
	if err != nil {
		return err
	}
	broker, err := wiring.Broker(cfg.Broker, cfg.App)
	if err != nil {
		return err
	}
	trail := audit.NewWriter(os.Stdout, "identity-worker")
	return wiring.Lanes{
		Broker: broker, Drain: cfg.Drain, Queue: cfg.LanesQueue, Flags: cfg.FlagsQueue,
		Handler: func(client *servicebus.Client) (lane.Handler, error) {
			limit, err := wiring.Breaker(client, cfg.ControlQueue, cfg.Breaker)
			return &worker.Worker{
				Directory: tenant, Passes: tenant, Accounts: tenant, Methods: tenant, Groups: tenant, Risks: tenant,
				Breaker: limit, People: tenant.CountUsers, Channels: channels, Audit: trail, Metrics: metrics, Pause: pause.For,
				Scopes: cfg.SourceScopes, Settings: cfg.Plan(), ReportOnly: cfg.ReportOnly, SerialRemoval: cfg.SerialRemoval, MethodPolicy: policy,
			}, err
		},
		Audit: trail, Idle: tenant.Close, Log: log, Metrics: metrics,
	}.Run(ctx)
}

func channels(cfg config.IdentityWorker, tenant *graph.Client) (list []worker.Channel, err error) {
	for _, c := range cfg.Delivery {
		switch c {
		case config.Manager:
			list = append(list, worker.ManagerMail{Directory: tenant, Mailer: tenant, Sender: cfg.MailSender})
		case config.PersonalMail:
			list = append(list, worker.PersonalMail{Mailer: tenant, Sender: cfg.MailSender, Unchanged: cfg.PersonalMailUnchanged})
		case config.Handover:
			channel, err := handover.New(cfg.HandoverURL, cfg.HandoverKey.Secret, time.Now)
			if err != nil {
				return nil, err
			}
			list = append(list, channel)
		}
	}
	return list, nil
}
