package config

import (
	"strings"
	"time"

	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/identity"
)

// ClientState is what notifications of our subscriptions carry.
type ClientState struct {
	ClientStateKeys ClientStateKeys `split_words:"true" required:"true" desc:"Secret. Keys behind the clientState of subscriptions, as id:base64 of 32 bytes or more, separated by commas; the first signs, all are accepted"`
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

// tenantID: notifications name the tenant by its id.
func (p *SettingsError) tenantID(v string) {
	if !isGUID(strings.ToLower(v)) {
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
