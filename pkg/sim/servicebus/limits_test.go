package servicebus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"mfaflow/pkg/sim/servicebus"
)

func TestMessageLimits(t *testing.T) {
	s, _, _ := plain(t, nil)
	conn := rawSender(t, s)
	long := strings.Repeat("x", 128)
	many := map[string]any{}
	for _, k := range "abc" {
		many[string(k)] = strings.Repeat("v", 30<<10)
	}
	for name, tc := range map[string]struct {
		message *amqp.Message
		want    string
	}{
		"message id of 128":      {&amqp.Message{Properties: &amqp.MessageProperties{MessageID: long}}, ""},
		"message id of 129":      {&amqp.Message{Properties: &amqp.MessageProperties{MessageID: long + "x"}}, "com.microsoft:argument-error"},
		"message id of a uuid":   {&amqp.Message{Properties: &amqp.MessageProperties{MessageID: amqp.UUID{1}}}, ""},
		"session id of 129":      {&amqp.Message{Properties: &amqp.MessageProperties{GroupID: new(long + "x")}}, "com.microsoft:argument-error"},
		"partition key of 129":   {&amqp.Message{Annotations: amqp.Annotations{"x-opt-partition-key": long + "x"}}, "com.microsoft:argument-error"},
		"partition key a number": {&amqp.Message{Annotations: amqp.Annotations{"x-opt-partition-key": int32(1)}}, "com.microsoft:argument-error"},
		"schedule a string":      {&amqp.Message{Annotations: amqp.Annotations{"x-opt-scheduled-enqueue-time": "soon"}}, "com.microsoft:argument-error"},
		"state null":             {&amqp.Message{Annotations: amqp.Annotations{"x-opt-message-state": nil}}, "com.microsoft:argument-error"},
		"property of 32 KiB":     {&amqp.Message{ApplicationProperties: map[string]any{"a": strings.Repeat("v", 32<<10)}}, "com.microsoft:argument-out-of-range"},
		"properties of 90 KiB":   {&amqp.Message{ApplicationProperties: many}, "com.microsoft:argument-out-of-range"},
		"property a list":        {&amqp.Message{ApplicationProperties: map[string]any{"a": []any{"x"}}}, "com.microsoft:argument-error"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.message.Data = [][]byte{[]byte("x")}
			err := conn.Send(ctx(t), tc.message, nil)
			if tc.want == "" {
				must(t, err)
				return
			}
			wantCondition(t, err, tc.want)
		})
	}
}

// rawSender is a plain AMQP sender to the queue "q", for what the SDK would not send.
func rawSender(t testing.TB, s *servicebus.Server) *amqp.Sender {
	t.Helper()
	conn, err := amqp.Dial(ctx(t), "amqp://"+host(s), &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("any", "thing")})
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	session, err := conn.NewSession(ctx(t), nil)
	must(t, err)
	snd, err := session.NewSender(ctx(t), "q", nil)
	must(t, err)
	return snd
}

func TestQuota(t *testing.T) {
	s, c, _ := plain(t, func(q *servicebus.QueueConfig) { q.MaxSizeMegabytes = 1 })
	snd := sender(t, c, "q")
	body := make([]byte, 200<<10)
	for range 5 {
		send(t, snd, &azservicebus.Message{Body: body})
	}
	err := snd.SendMessage(ctx(t), &azservicebus.Message{Body: body}, nil)
	wantCondition(t, err, "amqp:resource-limit-exceeded")
	wantCounts(t, s, "q", servicebus.Counts{Active: 5})
	r := receiver(t, c, "q")
	must(t, r.CompleteMessage(ctx(t), receiveOne(t, r), nil))
	send(t, snd, &azservicebus.Message{Body: body})
}

func TestBatchIsAllOrNothing(t *testing.T) {
	s, c, _ := sessions(t)
	snd := sender(t, c, "q")
	b, err := snd.NewMessageBatch(ctx(t), nil)
	must(t, err)
	must(t, b.AddMessage(inSession("a", "good"), nil))
	must(t, b.AddMessage(text("without session"), nil))
	err = snd.SendMessageBatch(ctx(t), b, nil)
	wantCondition(t, err, "amqp:not-allowed")
	wantCounts(t, s, "q", servicebus.Counts{})
}

func TestMessageTooLargeForTheLink(t *testing.T) {
	_, c, _ := plain(t, nil)
	snd := sender(t, c, "q")
	err := snd.SendMessage(ctx(t), &azservicebus.Message{Body: make([]byte, 300<<10)}, nil)
	if !errors.Is(err, azservicebus.ErrMessageTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestSessionAndPartitionKeyMustAgree(t *testing.T) {
	_, c, _ := sessions(t)
	snd := sender(t, c, "q")
	m := inSession("a", "x")
	m.PartitionKey = new("a")
	send(t, snd, m)
	m.PartitionKey = new("b")
	err := snd.SendMessage(ctx(t), m, nil)
	wantCondition(t, err, "amqp:not-allowed")
}
