package broker

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Status says what an entity lets its clients do.
type Status string

// The statuses that a client may set.
const (
	Active          Status = "Active"
	Disabled        Status = "Disabled"
	SendDisabled    Status = "SendDisabled"
	ReceiveDisabled Status = "ReceiveDisabled"
)

// Forever is the duration that means no limit: the largest time span of .NET, cut to
// what a time.Duration holds.
const Forever time.Duration = 1<<63 - 1

// Limits of the Standard tier. Source: "Service Bus quotas", learn.microsoft.com.
const (
	MaxMessageSize      = 256 << 10
	MaxSessionStateSize = 256 << 10
	MaxMessageIDLength  = 128
	MaxSessionIDLength  = 128
	MaxPropertySize     = 32 << 10
	MaxPropertiesSize   = 64 << 10
	MaxQueueNameLength  = 260
	// DefaultSizeMegabytes is the size limit of a queue that states none.
	DefaultSizeMegabytes = 1024
	maxLockDuration      = 5 * time.Minute
	maxDeliveryCount     = 2000
	maxDetectionWindow   = 7 * 24 * time.Hour
	minDetectionWindow   = 20 * time.Second
	maxUserMetadata      = 1024
	minAutoDeleteOnIdle  = 5 * time.Minute
)

// QueueConfig are the properties of a queue. The zero value of a field means the
// default of the service.
type QueueConfig struct {
	Name string
	// LockDuration is how long a peek-lock or a session lock holds; 1 minute by default,
	// 5 at most.
	LockDuration time.Duration
	// MaxDeliveryCount is after how many failed deliveries a message is dead-lettered;
	// 10 by default.
	MaxDeliveryCount int
	RequiresSession  bool
	// DuplicateDetection is for how long a message id is remembered; 0 turns detection off.
	DuplicateDetection time.Duration
	// DefaultTTL is the time to live of messages that state none, and the longest one
	// they may state; 0 means none.
	DefaultTTL time.Duration
	// DeadLetterOnExpiry moves expired messages to the dead-letter queue instead of
	// dropping them.
	DeadLetterOnExpiry bool
	// MaxSizeMegabytes bounds the size of all messages; 1024 by default.
	MaxSizeMegabytes int
	// Status is Active by default.
	Status Status
	// AutoDeleteOnIdle, EnableBatchedOperations (on unless DisableBatchedOperations),
	// EnablePartitioning and UserMetadata are kept and shown but have no effect here.
	AutoDeleteOnIdle         time.Duration
	DisableBatchedOperations bool
	EnablePartitioning       bool
	UserMetadata             string
	// AuthorizationRules is the XML of the rules as a client gave it, kept and shown only.
	AuthorizationRules string
}

func (c QueueConfig) withDefaults() QueueConfig {
	if c.LockDuration == 0 {
		c.LockDuration = time.Minute
	}
	if c.MaxDeliveryCount == 0 {
		c.MaxDeliveryCount = 10
	}
	if c.DefaultTTL == 0 {
		c.DefaultTTL = Forever
	}
	if c.AutoDeleteOnIdle == 0 {
		c.AutoDeleteOnIdle = Forever
	}
	if c.MaxSizeMegabytes == 0 {
		c.MaxSizeMegabytes = DefaultSizeMegabytes
	}
	if c.Status == "" {
		c.Status = Active
	}
	return c
}

// Validate reports every property that the service would refuse.
func (c QueueConfig) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	c = c.withDefaults()
	check(validName(c.Name), "queue name %q: 1 to %d letters, digits, dots, dashes, underscores and slashes, not at either end a slash", c.Name, MaxQueueNameLength)
	check(c.LockDuration > 0 && c.LockDuration <= maxLockDuration, "lock duration %v: up to %v", c.LockDuration, maxLockDuration)
	check(c.MaxDeliveryCount >= 1 && c.MaxDeliveryCount <= maxDeliveryCount, "max delivery count %d: 1 to %d", c.MaxDeliveryCount, maxDeliveryCount)
	check(c.DuplicateDetection == 0 || c.DuplicateDetection >= minDetectionWindow && c.DuplicateDetection <= maxDetectionWindow,
		"duplicate detection window %v: %v to %v", c.DuplicateDetection, minDetectionWindow, maxDetectionWindow)
	check(c.DefaultTTL > 0, "default time to live %v: positive", c.DefaultTTL)
	check(c.AutoDeleteOnIdle >= minAutoDeleteOnIdle, "auto-delete on idle %v: at least %v", c.AutoDeleteOnIdle, minAutoDeleteOnIdle)
	check(c.MaxSizeMegabytes >= 1, "max size %d megabytes: positive", c.MaxSizeMegabytes)
	check(len(c.UserMetadata) <= maxUserMetadata, "user metadata: up to %d characters", maxUserMetadata)
	switch c.Status {
	case Active, Disabled, SendDisabled, ReceiveDisabled:
	default:
		check(false, "status %q: one of %s, %s, %s, %s", c.Status, Active, Disabled, SendDisabled, ReceiveDisabled)
	}
	return errors.Join(errs...)
}

func validName(name string) bool {
	if name == "" || len(name) > MaxQueueNameLength || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") {
		return false
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.ContainsRune("._-/~", c):
		default:
			return false
		}
	}
	return true
}

// changeable reports which fixed property next would change: these are decided when the
// queue is created.
func (c QueueConfig) changeable(next QueueConfig) error {
	switch {
	case c.RequiresSession != next.RequiresSession:
		return fixedProperty("RequiresSession")
	case (c.DuplicateDetection == 0) != (next.DuplicateDetection == 0):
		return fixedProperty("RequiresDuplicateDetection")
	case c.EnablePartitioning != next.EnablePartitioning:
		return fixedProperty("EnablePartitioning")
	}
	return nil
}

func fixedProperty(name string) error {
	return Errorf(ArgumentError, "The value for the %s property of an existing Queue cannot be changed.", name)
}

func (c QueueConfig) sendError() error {
	if c.Status == Disabled || c.Status == SendDisabled {
		return c.disabled()
	}
	return nil
}

func (c QueueConfig) receiveError() error {
	if c.Status == Disabled || c.Status == ReceiveDisabled {
		return c.disabled()
	}
	return nil
}

func (c QueueConfig) disabled() error {
	return Errorf(EntityDisabled, "Messaging entity '%s' is currently disabled. Its status is %s.", c.Name, c.Status)
}
