// Package management reads how queues are configured, over the management API of Azure
// Service Bus. It changes nothing, and takes no message.
//
// It is apart from package servicebus, so that whoever moves messages does not link it,
// and whoever links it cannot move any.
package management

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus/admin"

	"mfaflow/pkg/doctor"
	"mfaflow/pkg/identity"
)

// Options say where the namespace is and who asks, as those of package servicebus.
type Options struct {
	ConnectionString identity.Secret
	Namespace        string
	Credential       azcore.TokenCredential
	// URL is where the API of an emulator is; empty for Azure, where it is at the namespace.
	URL string
	// Transport sends the requests.
	Transport http.RoundTripper
}

// Client reads the settings of queues. It is safe for concurrent use.
type Client struct{ admin *admin.Client }

// New checks the options and connects to nothing.
func New(o Options) (*Client, error) {
	via := transport{next: &http.Client{Transport: o.Transport}}
	if o.URL != "" {
		u, err := url.Parse(o.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("service bus: the URL of the management API is not an origin such as http://127.0.0.1:5300")
		}
		via.to = u
	}
	options := &admin.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: via,
		Retry:     policy.RetryOptions{MaxRetries: 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second},
	}}
	var client *admin.Client
	var err error
	if o.Namespace != "" {
		client, err = admin.NewClient(o.Namespace, o.Credential, options)
	} else {
		client, err = admin.NewClientFromConnectionString(o.ConnectionString.Reveal(), options)
	}
	if err != nil {
		// The SDK's text may quote the connection string, which holds a key.
		return nil, errors.New("service bus: the connection string or namespace is not valid")
	}
	return &Client{client}, nil
}

// transport is azcore's Transporter; the SDK insists on https at the namespace, which an
// emulator does not have.
type transport struct {
	next *http.Client
	to   *url.URL
}

func (t transport) Do(r *http.Request) (*http.Response, error) {
	if t.to != nil {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host, r.Host = t.to.Scheme, t.to.Host, t.to.Host
	}
	return t.next.Do(r)
}

// Queue implements doctor.Broker.
func (c *Client) Queue(ctx context.Context, name string) (q doctor.Queue, err error) {
	defer func() {
		// azservicebus 1.11 takes for granted that an entry has content.
		if recover() != nil {
			q, err = doctor.Queue{}, errors.New("the broker's management API answers with something that cannot be read")
		}
	}()
	got, err := c.admin.GetQueue(ctx, name, nil)
	if err != nil {
		return doctor.Queue{}, failure(ctx, err)
	}
	if got == nil {
		return doctor.Queue{}, fmt.Errorf("%s: %w", name, doctor.ErrNoQueue)
	}
	counts, err := c.admin.GetQueueRuntimeProperties(ctx, name, nil)
	if err != nil {
		return doctor.Queue{}, failure(ctx, err)
	}
	if counts == nil {
		return doctor.Queue{}, fmt.Errorf("%s: %w", name, doctor.ErrNoQueue)
	}
	p := got.QueueProperties
	q = doctor.Queue{
		Active: value(p.Status) == admin.EntityStatusActive, Sessions: value(p.RequiresSession), MaxDelivery: int(value(p.MaxDeliveryCount)),
		DeadLetterExpiry: value(p.DeadLetteringOnMessageExpiration), Waiting: int(counts.ActiveMessageCount),
	}
	var problems []error
	duration := func(text *string) time.Duration {
		d, err := Duration(value(text))
		problems = append(problems, err)
		return d
	}
	q.Lock = duration(p.LockDuration)
	if value(p.RequiresDuplicateDetection) {
		q.Duplicates = duration(p.DuplicateDetectionHistoryTimeWindow)
	}
	if q.TTL = duration(p.DefaultMessageTimeToLive); q.TTL >= never {
		q.TTL = 0
	}
	if err := errors.Join(problems...); err != nil {
		return doctor.Queue{}, fmt.Errorf("settings of queue %s: %w", name, err)
	}
	return q, nil
}

// never is a time to live from which on nobody waits: the service's own word for none is
// the longest that .NET knows, 29,000 years.
const never = 100 * 365 * 24 * time.Hour

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// failure is an error without what the SDK quotes of requests and answers.
func failure(ctx context.Context, err error) error {
	var answer *azcore.ResponseError
	var ue *url.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return doctor.ErrDenied
	case errors.As(err, &answer):
		return fmt.Errorf("the broker's management API answers %d", answer.StatusCode)
	case errors.Is(err, identity.ErrForbidden):
		return err
	case errors.As(err, &ue):
		return fmt.Errorf("the broker's management API does not answer: %w", ue.Err)
	default:
		return fmt.Errorf("the broker's management API does not answer (%T)", err)
	}
}

// errDuration: not what the service writes.
var errDuration = errors.New("not an ISO 8601 duration of days and less")

// Duration reads an ISO 8601 duration of days, hours, minutes and seconds, which is what
// the service writes. One that is longer than a time.Duration holds is the longest.
func Duration(s string) (time.Duration, error) {
	rest, ok := strings.CutPrefix(s, "P")
	if !ok || rest == "" || strings.HasSuffix(rest, "T") {
		return 0, errDuration
	}
	days, clock, _ := strings.Cut(rest, "T")
	total := 0.0 // seconds
	for _, part := range []struct{ text, units string }{{days, "D"}, {clock, "HMS"}} {
		for part.text != "" {
			end := strings.IndexAny(part.text, part.units)
			if end < 1 {
				return 0, errDuration
			}
			n, err := number(part.text[:end])
			if err != nil {
				return 0, err
			}
			unit := part.text[end]
			part.units = part.units[strings.IndexByte(part.units, unit)+1:] // each once and in order
			part.text = part.text[end+1:]
			total += n * map[byte]float64{'D': 24 * 60 * 60, 'H': 60 * 60, 'M': 60, 'S': 1}[unit]
		}
	}
	const most = time.Duration(1<<63 - 1)
	if total >= most.Seconds() {
		return most, nil
	}
	return time.Duration(total * float64(time.Second)), nil
}

func number(s string) (float64, error) {
	if strings.Trim(s, "0123456789.") != "" { // ParseFloat takes more
		return 0, errDuration
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errDuration
	}
	return n, nil
}
