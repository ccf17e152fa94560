package servicebus_test

import (
	"errors"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/servicebus"
)

func large(t testing.TB, c *azservicebus.Client, n int) {
	t.Helper()
	snd := sender(t, c, "q")
	for i := range n {
		body := make([]byte, 100<<10)
		body[0] = byte(i)
		send(t, snd, &azservicebus.Message{Body: body})
	}
}

// An answer holds what fits into it; the client goes on from there.
func TestPeekInPages(t *testing.T) {
	_, c, _ := plain(t, nil)
	large(t, c, 5)
	r := receiver(t, c, "q")
	var pages []int
	var seen []int64
	for {
		page, err := r.PeekMessages(ctx(t), 200, nil)
		must(t, err)
		if len(page) == 0 {
			break
		}
		pages = append(pages, len(page))
		for _, m := range page {
			seen = append(seen, *m.SequenceNumber)
		}
	}
	if d := cmp.Diff([]int{2, 2, 1}, pages); d != "" {
		t.Errorf("pages: %s", d)
	}
	if d := cmp.Diff([]int64{1, 2, 3, 4, 5}, seen); d != "" {
		t.Errorf("sequence numbers: %s", d)
	}
}

// What does not fit stays deferred and unlocked.
func TestReceiveDeferredInPages(t *testing.T) {
	s, c, _ := plain(t, nil)
	large(t, c, 3)
	r := receiver(t, c, "q")
	for _, m := range receive(t, r, 3) {
		must(t, r.DeferMessage(ctx(t), m, nil))
	}
	got, err := r.ReceiveDeferredMessages(ctx(t), []int64{1, 2, 3}, nil)
	must(t, err)
	if len(got) != 2 {
		t.Fatalf("%d messages in an answer", len(got))
	}
	rest, err := r.ReceiveDeferredMessages(ctx(t), []int64{3}, nil)
	must(t, err)
	for _, m := range append(got, rest...) {
		must(t, r.CompleteMessage(ctx(t), m, nil))
	}
	wantCounts(t, s, "q", servicebus.Counts{})
}

// What a sender may send every receiver gets, though the broker adds to it.
func TestLargestMessageArrives(t *testing.T) {
	_, c, _ := plain(t, nil)
	snd := sender(t, c, "q")
	body := make([]byte, 256<<10)
	for {
		err := snd.SendMessage(ctx(t), &azservicebus.Message{Body: body}, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, azservicebus.ErrMessageTooLarge) {
			t.Fatal(err)
		}
		body = body[:len(body)-1]
	}
	r := receiver(t, c, "q")
	peeked, err := r.PeekMessages(ctx(t), 1, nil)
	must(t, err)
	if len(peeked) != 1 || len(peeked[0].Body) != len(body) {
		t.Fatalf("peeked %d messages", len(peeked))
	}
	must(t, r.DeferMessage(ctx(t), receiveOne(t, r), nil))
	deferred, err := r.ReceiveDeferredMessages(ctx(t), []int64{1}, nil)
	must(t, err)
	if len(deferred) != 1 || len(deferred[0].Body) != len(body) {
		t.Fatalf("received %d deferred messages", len(deferred))
	}
}

// A client that takes less per message than the service gives gets less.
func TestReplyKeepsToTheLimitOfItsReceiver(t *testing.T) {
	s, c, _ := plain(t, nil)
	large(t, c, 3)
	conn, err := amqp.Dial(ctx(t), "amqp://"+host(s), &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("any", "thing")})
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	session, err := conn.NewSession(ctx(t), nil)
	must(t, err)
	replies, err := session.NewReceiver(ctx(t), "q/$management", &amqp.ReceiverOptions{TargetAddress: "here", MaxMessageSize: 150 << 10})
	must(t, err)
	requests, err := session.NewSender(ctx(t), "q/$management", nil)
	must(t, err)
	must(t, requests.Send(ctx(t), &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: "1", ReplyTo: new("here")},
		ApplicationProperties: map[string]any{"operation": "com.microsoft:peek-message"},
		Value:                 map[string]any{"from-sequence-number": int64(0), "message-count": int32(10)},
	}, nil))
	reply, err := replies.Receive(ctx(t), nil)
	must(t, err)
	list, ok := reply.Value.(map[string]any)["messages"].([]any)
	if !ok || len(list) != 1 {
		t.Errorf("the reply holds %d messages", len(list))
	}
}
