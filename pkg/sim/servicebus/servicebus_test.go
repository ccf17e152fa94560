package servicebus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"go.uber.org/goleak"

	"mfaflow/pkg/sim/clock"
	"mfaflow/pkg/sim/servicebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// start serves queues until the test ends.
func start(t testing.TB, o servicebus.Options) *servicebus.Server {
	t.Helper()
	s, err := servicebus.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// dial is an unmodified client with quick retries.
func dial(t testing.TB, s *servicebus.Server) *azservicebus.Client {
	t.Helper()
	c, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 2, RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return c
}

func ctx(t testing.TB) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sender(t testing.TB, c *azservicebus.Client, queue string) *azservicebus.Sender {
	t.Helper()
	s, err := c.NewSender(queue, nil)
	must(t, err)
	return s
}

func receiver(t testing.TB, c *azservicebus.Client, queue string) *azservicebus.Receiver {
	t.Helper()
	r, err := c.NewReceiverForQueue(queue, nil)
	must(t, err)
	return r
}

func deadLetters(t testing.TB, c *azservicebus.Client, queue string) *azservicebus.Receiver {
	t.Helper()
	r, err := c.NewReceiverForQueue(queue, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	must(t, err)
	return r
}

func send(t testing.TB, s *azservicebus.Sender, m *azservicebus.Message) {
	t.Helper()
	must(t, s.SendMessage(ctx(t), m, nil))
}

func text(body string) *azservicebus.Message { return &azservicebus.Message{Body: []byte(body)} }

// batchReceiver is what both kinds of receivers can do.
type batchReceiver interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
}

// receive takes exactly n messages.
func receive(t testing.TB, r batchReceiver, n int) []*azservicebus.ReceivedMessage {
	t.Helper()
	var out []*azservicebus.ReceivedMessage
	for len(out) < n {
		got, err := r.ReceiveMessages(ctx(t), n-len(out), nil)
		must(t, err)
		out = append(out, got...)
	}
	return out
}

func receiveOne(t testing.TB, r batchReceiver) *azservicebus.ReceivedMessage {
	t.Helper()
	return receive(t, r, 1)[0]
}

func bodies(messages []*azservicebus.ReceivedMessage) []string {
	var out []string
	for _, m := range messages {
		out = append(out, string(m.Body))
	}
	return out
}

func wantCode(t testing.TB, err error, code azservicebus.Code) {
	t.Helper()
	var e *azservicebus.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}

func wantCounts(t testing.TB, s *servicebus.Server, queue string, want servicebus.Counts) {
	t.Helper()
	got, ok := s.Counts(queue)
	if !ok || got != want {
		t.Fatalf("queue %s holds %+v, want %+v", queue, got, want)
	}
}

// plain is a server with one queue "q" on a manual clock, and a client.
func plain(t testing.TB, change func(*servicebus.QueueConfig)) (*servicebus.Server, *azservicebus.Client, *clock.Manual) {
	t.Helper()
	now := clock.NewManual(t0)
	c := servicebus.QueueConfig{Name: "q", LockDuration: 30 * time.Second}
	if change != nil {
		change(&c)
	}
	s := start(t, servicebus.Options{Clock: now, Queues: []servicebus.QueueConfig{c}})
	return s, dial(t, s), now
}
