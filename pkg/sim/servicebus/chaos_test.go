package servicebus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mfaflow/pkg/sim/servicebus"
)

// Senders and receivers work while connections are cut: every message whose send was
// accepted is delivered, and the queue is empty in the end.
func TestNothingIsLostWhileConnectionsAreCut(t *testing.T) {
	s := start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q", LockDuration: 200 * time.Millisecond, MaxDeliveryCount: 2000}}})
	const senders, each, cuts = 3, 100, 20
	var sending, receiving sync.WaitGroup
	for i := range senders {
		snd := sender(t, dial(t, s), "q")
		sending.Go(func() {
			for j := range each {
				for snd.SendMessage(ctx(t), &azservicebus.Message{MessageID: new(fmt.Sprint(i, "-", j))}, nil) != nil {
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		sending.Wait()
		close(finished)
	}()
	empty := func() bool {
		select {
		case <-finished:
			c, _ := s.Counts("q")
			return c == servicebus.Counts{}
		default:
			return false
		}
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 3 {
		r := receiver(t, dial(t, s), "q")
		receiving.Go(func() {
			for !empty() {
				work(ctx(t), r, func(m *azservicebus.ReceivedMessage) {
					mu.Lock()
					defer mu.Unlock()
					seen[m.MessageID] = true
				})
			}
		})
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range cuts {
		<-tick.C
		s.DropConnections()
	}
	receiving.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d messages were delivered, want %d", len(seen), senders*each)
	}
}

// work receives a few messages and settles them one way or the other. Settling may fail
// with the connection: then the message comes back, or it was settled after all.
func work(ctx context.Context, r *azservicebus.Receiver, note func(*azservicebus.ReceivedMessage)) {
	brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	got, err := r.ReceiveMessages(brief, 5, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: time.Millisecond})
	if err != nil {
		return
	}
	for _, m := range got {
		note(m)
		if rand.IntN(4) == 0 {
			_ = r.AbandonMessage(brief, m, nil)
		} else {
			_ = r.CompleteMessage(brief, m, nil)
		}
	}
}

func TestTransferDeadLetterQueueIsEmpty(t *testing.T) {
	_, c, _ := plain(t, nil)
	send(t, sender(t, c, "q"), text("elsewhere"))
	r, err := c.NewReceiverForQueue("q", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueTransfer})
	must(t, err)
	peeked, err := r.PeekMessages(ctx(t), 5, nil)
	if err != nil || len(peeked) != 0 {
		t.Errorf("peeked %d messages, err %v", len(peeked), err)
	}
}
