package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

// ClientState is what notifications of our subscriptions carry.
type ClientState struct {
	ClientStateKeys ClientStateKeys `split_words:"true" desc:"Secret. Keys behind the clientState of subscriptions, as id:base64 of 32 bytes or more, separated by commas; the first signs, all are accepted"`
}

// GraphNotifications are the settings of the graph-notifications function.
type GraphNotifications struct {
	Logging
	Broker
	App
	ClientState
	InboundQueue string        `split_words:"true" default:"inbound" desc:"Queue of accepted events"`
	ControlQueue string        `split_words:"true" default:"control" desc:"Queue whose reserved sessions hold what all workers share"`
	Listen       string        `default:"127.0.0.1:8080" desc:"Outside Lambda: address to serve on; port 0 picks a free one"`
	SendTimeout  time.Duration `split_words:"true" default:"1500ms" desc:"How long the broker may take to accept; then the sender is told to try again"`
}

func (c *GraphNotifications) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	if c.ServicebusNamespace != "" {
		c.App.check(&p)
	}
	p.tenantID(c.TenantID)
	c.ClientState.check(&p)
	p.queues([]string{"INBOUND_QUEUE", "CONTROL_QUEUE"}, c.InboundQueue, c.ControlQueue)
	if !isAddress(c.Listen) {
		p.add("LISTEN", "is not an address such as 127.0.0.1:8080")
	}
	p.duration("SEND_TIMEOUT", c.SendTimeout, time.Millisecond, time.Minute)
	return p
}

// TenantSweep are the settings of the tenant-sweep function.
type TenantSweep struct {
	Logging
	Broker
	App
	Directory
	ClientState
	InboundQueue    string `split_words:"true" default:"inbound" desc:"Queue of accepted events"`
	QuarantineQueue string `split_words:"true" default:"quarantine" desc:"Queue of signed events that cannot be understood or resolved"`
	ControlQueue    string `split_words:"true" default:"control" desc:"Queue whose reserved sessions hold what all workers share"`
	Locking
	NotificationURL      string        `split_words:"true" desc:"Where Microsoft Graph reaches graph-notifications: its https origin; without it nothing is subscribed to"`
	SubscriptionLifetime time.Duration `split_words:"true" default:"672h" desc:"How long a subscription lasts; it is renewed when half of that is over, 2h to 695h"`
	Poll                 []Poll        `default:"risky-users,detections,sign-ins" desc:"What is asked for in every sweep: risky-users (licence P2), detections and sign-ins (P1), employment (dates in the directory, for tenants without HR events)"`
	EmploymentAhead      time.Duration `split_words:"true" default:"336h" desc:"How long before it a date of employment becomes an event, 24h to 2160h; longer than the lead time"`
	DefaultTimeZone      TimeZone      `split_words:"true" required:"true" desc:"IANA time zone of people whose event names none"`
	Streams              Document      `desc:"Secret. Event streams that are polled (RFC 8936) as JSON, or @ and the path of a JSON file"`
	SweepInterval        time.Duration `split_words:"true" default:"5m" desc:"Outside Lambda: time between two sweeps"`
}

func (c *TenantSweep) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	c.App.check(&p)
	c.Directory.check(&p)
	p.queues([]string{"INBOUND_QUEUE", "QUARANTINE_QUEUE", "CONTROL_QUEUE"}, c.InboundQueue, c.QuarantineQueue, c.ControlQueue)
	c.Locking.check(&p)
	if c.NotificationURL != "" {
		p.tenantID(c.TenantID)
		c.ClientState.check(&p)
		u, err := url.Parse(c.NotificationURL)
		if err != nil || u.Scheme != "https" && u.Hostname() != "127.0.0.1" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			p.add("NOTIFICATION_URL", "is not an https origin such as https://hooks.contoso.com")
		}
	}
	// learn.microsoft.com/graph/api/resources/subscription: less than 41,760 minutes
	p.duration("SUBSCRIPTION_LIFETIME", c.SubscriptionLifetime, 2*time.Hour, 695*time.Hour)
	p.duration("EMPLOYMENT_AHEAD", c.EmploymentAhead, 24*time.Hour, 90*24*time.Hour)
	p.duration("SWEEP_INTERVAL", c.SweepInterval, time.Second, 24*time.Hour)
	if len(slices.Compact(slices.Sorted(slices.Values(c.Poll)))) != len(c.Poll) {
		p.add("POLL", "names something twice")
	}
	return p
}

// Poll is a sweep.Poll that a variable can fill.
type Poll sweep.Poll

// UnmarshalText refuses unknown polls.
func (v *Poll) UnmarshalText(b []byte) error {
	known, err := sweep.ParsePoll(strings.TrimSpace(string(b)))
	if err != nil {
		return decodeError("names something that is " + err.Error())
	}
	*v = Poll(known)
	return nil
}

// Polls are the polls in the order of their urgency.
func (c *TenantSweep) Polls() (list []sweep.Poll) {
	for _, p := range c.Poll {
		list = append(list, sweep.Poll(p))
	}
	return list
}

// tenantID: notifications name the tenant by its id.
func (p *SettingsError) tenantID(v string) {
	if !identity.IsGUID(v) {
		p.add("TENANT_ID", "must be the tenant's id here, not a domain")
	}
}

func (c ClientState) check(p *SettingsError) {
	if _, err := clientstate.NewKeys(c.ClientStateKeys); err != nil {
		p.add("CLIENT_STATE_KEYS", "needs keys of different ids (a to z, 0 to 9, -), each base64 of at least 32 bytes")
	}
}

// ClientStateKeys are the keys of client states, the signing one first.
type ClientStateKeys []clientstate.Key

// UnmarshalText reads id:base64,id:base64.
func (k *ClientStateKeys) UnmarshalText(b []byte) error {
	*k = nil
	for pair := range strings.SplitSeq(string(b), ",") {
		id, key, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if !ok {
			return decodeError("is not a list such as 2026-11:base64,2026-05:base64")
		}
		*k = append(*k, clientstate.Key{ID: id, Secret: identity.NewSecret(key)})
	}
	return nil
}
