// Command flag-notifier tells people what they must look at.
package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"mfaflow/pkg/config"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/mail"
	"mfaflow/pkg/notify/slack"
	"mfaflow/pkg/notify/teams"
	"mfaflow/pkg/notify/webhook"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
	"mfaflow/pkg/wiring/directory"
)

func main() { wiring.Main("flag-notifier", run) }

func run(ctx context.Context, cfg config.FlagNotifier, log *slog.Logger) error {
	broker, err := wiring.Broker(cfg.Broker, cfg.App)
	if err != nil {
		return err
	}
	metrics := wiring.Metrics("flag-notifier")
	channels, idle, err := channels(cfg, metrics)
	if err != nil {
		return err
	}
	return wiring.Flags{
		Broker: broker, Receiving: cfg.Receiving, Queue: cfg.FlagsQueue, Channels: channels, Link: cfg.FlagLink,
		Idle: idle, Log: log, Metrics: metrics,
	}.Run(ctx)
}

// channels are those whose addresses are set; idle are what closes their connections.
func channels(cfg config.FlagNotifier, metrics *telemetry.Metrics) (list []notify.Channel, idle []func(), err error) {
	var errs []error
	use := func(c interface {
		notify.Channel
		Close()
	}, err error) {
		list, idle, errs = append(list, c), append(idle, c.Close), append(errs, err)
	}
	if address := cfg.TeamsWebhookURL; address.IsSet() {
		use(teams.New(address.Secret, time.Now))
	}
	if address := cfg.SlackWebhookURL; address.IsSet() {
		use(slack.New(address.Secret, time.Now))
	}
	if address := cfg.FlagWebhookURL; address.IsSet() {
		use(webhook.New(address.Secret, cfg.FlagWebhookKey.Secret, time.Now))
	}
	if cfg.FlagMailTo != "" {
		tenant, err := directory.Open(cfg.App, cfg.Directory, metrics)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, mail.Channel{Mailer: tenant, From: cfg.MailSender, To: cfg.FlagMailTo})
		idle = append(idle, tenant.Close)
	}
	return list, idle, errors.Join(errs...)
}
