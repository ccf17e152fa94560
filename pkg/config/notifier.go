package config

import (
	"net/mail"
	"net/url"
	"strings"
)

// FlagNotifier are the settings of the flag-notifier function. Each channel is used
// when its address is set; one must be.
type FlagNotifier struct {
	Logging
	Broker
	App
	Directory
	FlagsQueue string `split_words:"true" default:"flags" desc:"Queue of what a human must look at"`
	Receiving
	TeamsWebhookURL Secret `split_words:"true" desc:"Secret. Tell flags in Microsoft Teams: URL of a workflow that starts when a Teams webhook request is received"`
	SlackWebhookURL Secret `split_words:"true" desc:"Secret. Tell flags in Slack: URL of an incoming webhook"`
	FlagWebhookURL  Secret `split_words:"true" desc:"Secret. Tell flags to any service: URL that takes signed webhooks"`
	FlagWebhookKey  Secret `split_words:"true" desc:"Secret. Standard Webhooks key (whsec_) that signs what is told there"`
	FlagMailTo      string `split_words:"true" desc:"Tell flags by mail: one address, such as a shared mailbox"`
	MailSender      string `split_words:"true" desc:"Mailbox that sends mail: passes by manager and personal-mail, and flags"`
	FlagLink        string `split_words:"true" desc:"URL of a flag in a console, put into messages; {flag} stands for its number"`
}

func (c *FlagNotifier) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	if c.ServicebusNamespace != "" || c.FlagMailTo != "" {
		c.App.check(&p)
	}
	p.queues([]string{"FLAGS_QUEUE"}, c.FlagsQueue)
	c.Receiving.check(&p)
	if !c.TeamsWebhookURL.IsSet() && !c.SlackWebhookURL.IsSet() && !c.FlagWebhookURL.IsSet() && c.FlagMailTo == "" {
		p.add("FLAG_MAIL_TO", "is required, or "+prefix+"_TEAMS_WEBHOOK_URL, "+prefix+"_SLACK_WEBHOOK_URL or "+prefix+"_FLAG_WEBHOOK_URL")
	}
	p.secretURL("TEAMS_WEBHOOK_URL", c.TeamsWebhookURL)
	p.secretURL("SLACK_WEBHOOK_URL", c.SlackWebhookURL)
	p.secretURL("FLAG_WEBHOOK_URL", c.FlagWebhookURL)
	if c.FlagWebhookURL.IsSet() {
		p.signingKey("FLAG_WEBHOOK_KEY", c.FlagWebhookKey)
	}
	if c.FlagMailTo != "" {
		c.Directory.check(&p)
		if a, err := mail.ParseAddress(c.FlagMailTo); err != nil || a.Address != c.FlagMailTo {
			p.add("FLAG_MAIL_TO", "is not an address such as it-security@contoso.com")
		}
		if c.MailSender == "" {
			p.add("MAIL_SENDER", "is required to send mail")
		}
	}
	if c.FlagLink != "" {
		u, err := url.Parse(c.FlagLink)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Contains(u.Host, "{") ||
			strings.ContainsAny(c.FlagLink, "<>|\" \\") || !strings.Contains(c.FlagLink, "{flag}") {
			p.add("FLAG_LINK", "is not an https URL with {flag} in its path or query")
		}
	}
	return p
}

// secretURL is for addresses that hold a token, usually in their path or query.
func (p *SettingsError) secretURL(name string, v Secret) {
	if !v.IsSet() {
		return
	}
	u, err := url.Parse(v.Reveal())
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		p.add(name, "is not an https URL without user and fragment")
	}
}
