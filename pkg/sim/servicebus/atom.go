package servicebus

import (
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/sim/servicebus/broker"
)

// XML namespaces of the admin API.
const (
	atomNamespace     = "http://www.w3.org/2005/Atom"
	busNamespace      = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
	instanceNamespace = "http://www.w3.org/2001/XMLSchema-instance"
)

type atomFeed struct {
	XMLName xml.Name    `xml:"feed"`
	Space   string      `xml:"xmlns,attr"`
	ID      string      `xml:"id"`
	Title   atomText    `xml:"title"`
	Updated string      `xml:"updated"`
	Entries []atomEntry `xml:"entry"`
}

type atomEntry struct {
	XMLName   xml.Name    `xml:"entry"`
	Space     string      `xml:"xmlns,attr"`
	ID        string      `xml:"id"`
	Title     atomText    `xml:"title"`
	Published string      `xml:"published"`
	Updated   string      `xml:"updated"`
	Author    string      `xml:"author>name"`
	Link      atomLink    `xml:"link"`
	Content   atomContent `xml:"content"`
}

type atomText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Href string `xml:"href,attr"`
}

type atomContent struct {
	Type      string            `xml:"type,attr"`
	Queue     *queueDescription `xml:"QueueDescription"`
	Namespace *namespaceInfo    `xml:"NamespaceInfo"`
	// Topic is only looked for: creating one is refused.
	Topic *struct{} `xml:"TopicDescription"`
}

type namespaceInfo struct {
	Space        string `xml:"xmlns,attr"`
	CreatedTime  string
	MessagingSKU string
	ModifiedTime string
	Name         string
	Type         string `xml:"NamespaceType"`
}

// queueDescription has its elements in the order of the service, which its own
// deserializer insists on.
type queueDescription struct {
	Space                               string `xml:"xmlns,attr,omitempty"`
	Instance                            string `xml:"xmlns:i,attr,omitempty"`
	LockDuration                        *string
	MaxSizeInMegabytes                  *int
	RequiresDuplicateDetection          *bool
	RequiresSession                     *bool
	DefaultMessageTimeToLive            *string
	DeadLetteringOnMessageExpiration    *bool
	DuplicateDetectionHistoryTimeWindow *string
	MaxDeliveryCount                    *int
	EnableBatchedOperations             *bool
	SizeInBytes                         *int64
	MessageCount                        *int
	IsAnonymousAccessible               *bool
	AuthorizationRules                  *innerXML
	Status                              *string
	ForwardTo                           *string
	CreatedAt                           *string
	UpdatedAt                           *string
	AccessedAt                          *string
	SupportOrdering                     *bool
	CountDetails                        *countDetails
	AutoDeleteOnIdle                    *string
	EnablePartitioning                  *bool
	UserMetadata                        *string
	ForwardDeadLetteredMessagesTo       *string
	EntityAvailabilityStatus            *string
	EnableExpress                       *bool
	MaxMessageSizeInKilobytes           *int
}

type innerXML struct {
	Text string `xml:",innerxml"`
}

type countDetails struct {
	ActiveMessageCount             int
	DeadLetterMessageCount         int
	ScheduledMessageCount          int
	TransferMessageCount           int
	TransferDeadLetterMessageCount int
}

// config reads a description as a client sent it. What it leaves out has its default.
func (d *queueDescription) config(name string) (QueueConfig, error) {
	c := QueueConfig{Name: name}
	var errs []error
	duration := func(field string, text *string) (out time.Duration) {
		if text == nil || *text == "" {
			return 0
		}
		out, err := parseDuration(*text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		} else if out <= 0 {
			errs = append(errs, fmt.Errorf("%s: %s is not positive", field, *text))
		}
		return out
	}
	c.LockDuration = duration("LockDuration", d.LockDuration)
	c.DefaultTTL = duration("DefaultMessageTimeToLive", d.DefaultMessageTimeToLive)
	c.AutoDeleteOnIdle = duration("AutoDeleteOnIdle", d.AutoDeleteOnIdle)
	window := duration("DuplicateDetectionHistoryTimeWindow", d.DuplicateDetectionHistoryTimeWindow)
	if value(d.RequiresDuplicateDetection) {
		c.DuplicateDetection = window
		if window == 0 {
			c.DuplicateDetection = defaultDetectionWindow
		}
	}
	c.MaxSizeMegabytes = value(d.MaxSizeInMegabytes)
	c.MaxDeliveryCount = value(d.MaxDeliveryCount)
	c.RequiresSession = value(d.RequiresSession)
	c.DeadLetterOnExpiry = value(d.DeadLetteringOnMessageExpiration)
	c.DisableBatchedOperations = d.EnableBatchedOperations != nil && !*d.EnableBatchedOperations
	c.EnablePartitioning = value(d.EnablePartitioning)
	c.UserMetadata = value(d.UserMetadata)
	c.Status = broker.Status(value(d.Status))
	if d.AuthorizationRules != nil {
		c.AuthorizationRules = d.AuthorizationRules.Text
	}
	if value(d.ForwardTo) != "" || value(d.ForwardDeadLetteredMessagesTo) != "" {
		errs = append(errs, errors.New("forwarding is not supported"))
	}
	if kilobytes := value(d.MaxMessageSizeInKilobytes); kilobytes != 0 && kilobytes != broker.MaxMessageSize>>10 {
		errs = append(errs, fmt.Errorf("MaxMessageSizeInKilobytes %d: %d in this tier", kilobytes, broker.MaxMessageSize>>10))
	}
	return c, errors.Join(errs...)
}

// defaultDetectionWindow is what the service takes when detection is asked for without
// a window.
const defaultDetectionWindow = 10 * time.Minute

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// describe is a queue as clients see it. Deferred messages count as active ones, as the
// service counts them.
func describe(c QueueConfig, r broker.Runtime) *queueDescription {
	window := c.DuplicateDetection
	if window == 0 {
		window = defaultDetectionWindow
	}
	active := r.Active + r.Deferred
	d := &queueDescription{
		Space: busNamespace, Instance: instanceNamespace,
		LockDuration: new(formatDuration(c.LockDuration)), MaxSizeInMegabytes: &c.MaxSizeMegabytes,
		RequiresDuplicateDetection: new(c.DuplicateDetection > 0), RequiresSession: &c.RequiresSession,
		DefaultMessageTimeToLive: new(formatDuration(c.DefaultTTL)), DeadLetteringOnMessageExpiration: &c.DeadLetterOnExpiry,
		DuplicateDetectionHistoryTimeWindow: new(formatDuration(window)), MaxDeliveryCount: &c.MaxDeliveryCount,
		EnableBatchedOperations: new(!c.DisableBatchedOperations), SizeInBytes: &r.SizeInBytes,
		MessageCount: new(active + r.Scheduled + r.DeadLetter), IsAnonymousAccessible: new(false),
		AuthorizationRules: &innerXML{c.AuthorizationRules}, Status: new(string(c.Status)),
		CreatedAt: new(formatTime(r.Created)), UpdatedAt: new(formatTime(r.Updated)), AccessedAt: new(formatTime(r.Accessed)),
		SupportOrdering: new(true),
		CountDetails: &countDetails{
			ActiveMessageCount: active, DeadLetterMessageCount: r.DeadLetter, ScheduledMessageCount: r.Scheduled,
		},
		AutoDeleteOnIdle: new(formatDuration(c.AutoDeleteOnIdle)), EnablePartitioning: &c.EnablePartitioning,
		EntityAvailabilityStatus: new("Available"), EnableExpress: new(false), MaxMessageSizeInKilobytes: new(broker.MaxMessageSize >> 10),
	}
	if c.UserMetadata != "" {
		d.UserMetadata = &c.UserMetadata
	}
	return d
}

// formatTime writes the zero time without a zone, which is how the service says never.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00"
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
