package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/config"
)

const teamsURL = "https://prod-1.westeurope.logic.azure.com/workflows/1/triggers/manual/paths/invoke?api-version=2016-06-01&sig=hunter2"

func TestFlagNotifier(t *testing.T) {
	base := map[string]string{"MFAFLOW_SERVICEBUS_CONNECTION_STRING": connection}
	for name, c := range map[string]struct {
		vars []string
		want []string
	}{
		"Teams alone needs no app registration": {vars: []string{"MFAFLOW_TEAMS_WEBHOOK_URL", teamsURL}},
		"Slack alone":                           {vars: []string{"MFAFLOW_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/hunter2"}},
		"a link":                                {vars: []string{"MFAFLOW_TEAMS_WEBHOOK_URL", teamsURL, "MFAFLOW_FLAG_LINK", "https://mfa.contoso.com/flags?n={flag}"}},
		"no channel": {want: []string{
			"MFAFLOW_FLAG_MAIL_TO is required, or MFAFLOW_TEAMS_WEBHOOK_URL, MFAFLOW_SLACK_WEBHOOK_URL or MFAFLOW_FLAG_WEBHOOK_URL",
		}},
		"mail without the rest": {vars: []string{"MFAFLOW_FLAG_MAIL_TO", "Helpdesk <hunter2@contoso.com>"}, want: []string{
			"MFAFLOW_TENANT_ID is required", "MFAFLOW_CLIENT_ID is required", "MFAFLOW_CLIENT_SECRET is required, or MFAFLOW_CLIENT_CERTIFICATE, or MFAFLOW_WEB_IDENTITY under AWS Lambda",
			"MFAFLOW_FLAG_MAIL_TO is not an address such as it-security@contoso.com", "MFAFLOW_MAIL_SENDER is required to send mail",
		}},
		"webhook without a key": {vars: []string{"MFAFLOW_FLAG_WEBHOOK_URL", "https://flags.contoso.com/hunter2"}, want: []string{
			"MFAFLOW_FLAG_WEBHOOK_KEY is not whsec_ and base64 of 24 to 64 bytes",
		}},
		"not https": {vars: []string{
			"MFAFLOW_TEAMS_WEBHOOK_URL", "http://hunter2", "MFAFLOW_SLACK_WEBHOOK_URL", "hunter2", "MFAFLOW_FLAG_LINK", "javascript:alert({flag})",
		}, want: []string{
			"MFAFLOW_TEAMS_WEBHOOK_URL is not an https URL without user and fragment",
			"MFAFLOW_SLACK_WEBHOOK_URL is not an https URL without user and fragment",
			"MFAFLOW_FLAG_LINK is not an https URL with {flag} in its path or query",
		}},
		"a link with markup": {vars: []string{"MFAFLOW_TEAMS_WEBHOOK_URL", teamsURL, "MFAFLOW_FLAG_LINK", "https://x.example/{flag}|Click>"}, want: []string{
			"MFAFLOW_FLAG_LINK is not an https URL with {flag} in its path or query",
		}},
		"locks": {vars: []string{"MFAFLOW_TEAMS_WEBHOOK_URL", teamsURL, "MFAFLOW_LOCK_DURATION", "1s", "MFAFLOW_FLAGS_QUEUE", ""}, want: []string{
			"MFAFLOW_FLAGS_QUEUE is not a queue name of letters, digits, period, hyphen, underscore and slash",
			"MFAFLOW_LOCK_DURATION is not between 5s and 5m",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			set(t, with(base, c.vars...))
			var cfg config.FlagNotifier
			err := config.Load(&cfg)
			if len(c.want) == 0 {
				if err != nil || cfg.FlagsQueue != "flags" || cfg.LockDuration != time.Minute {
					t.Errorf("got %+v, %v", cfg, err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if d := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}
