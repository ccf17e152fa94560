package config

import "net"

// EventReplay are the settings of the event-replay function. One environment serves it and
// the worker, whose plans it must make.
type EventReplay struct {
	Logging
	Broker
	App
	Directory
	InboundQueue    string `split_words:"true" default:"inbound" desc:"Queue of accepted events"`
	LanesQueue      string `split_words:"true" default:"lanes" desc:"Queue with one session for each person"`
	FlagsQueue      string `split_words:"true" default:"flags" desc:"Queue of what a human must look at"`
	ControlQueue    string `split_words:"true" default:"control" desc:"Queue whose reserved sessions hold what all workers share"`
	QuarantineQueue string `split_words:"true" default:"quarantine" desc:"Queue of signed events that cannot be understood or resolved"`
	Locking
	Breaker
	Planning
	Listen            string    `default:"127.0.0.1:8080" desc:"Outside Lambda: address to serve on; port 0 picks a free one"`
	OperatorRoles     []string  `split_words:"true" desc:"Under Lambda: ARNs of the roles of operators, whose session names only the identity provider chooses and are UPNs or mail addresses, such as those of IAM Identity Center"`
	NamedOperators    Operators `split_words:"true" desc:"Under Lambda: sessions of roles whose session names say nothing to the directory, such as those assumed with tokens of an OpenID Connect provider, and who each is in the directory, as JSON: {\"<ARN of the role>\": {\"<sub>\": \"ada@contoso.example\"}}"`
	OperatorTokenFile string    `split_words:"true" desc:"Outside Lambda: file that holds the operator's token; its owner, who alone may read it, is the operator"`
}

func (c *EventReplay) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	c.App.check(&p)
	c.Directory.check(&p)
	p.queues([]string{"INBOUND_QUEUE", "LANES_QUEUE", "FLAGS_QUEUE", "CONTROL_QUEUE", "QUARANTINE_QUEUE"},
		c.InboundQueue, c.LanesQueue, c.FlagsQueue, c.ControlQueue, c.QuarantineQueue)
	c.Locking.check(&p)
	c.Breaker.check(&p)
	c.Planning.check(&p)
	roles := len(c.OperatorRoles) > 0 || len(c.NamedOperators) > 0
	switch {
	case roles && c.OperatorTokenFile != "":
		p.add("OPERATOR_TOKEN_FILE", "excludes "+prefix+"_OPERATOR_ROLES and "+prefix+"_NAMED_OPERATORS")
	case !roles && c.OperatorTokenFile == "":
		p.add("OPERATOR_ROLES", "is required, or "+prefix+"_NAMED_OPERATORS, or "+prefix+"_OPERATOR_TOKEN_FILE outside Lambda")
	case c.OperatorTokenFile != "" && !isLoopback(c.Listen):
		p.add("LISTEN", "is not an address of this machine alone, such as 127.0.0.1:8080; a token goes no further")
	}
	return p
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && isAddress(address) && ip != nil && ip.IsLoopback()
}
