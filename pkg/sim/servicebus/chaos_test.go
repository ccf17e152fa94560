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
// accepted is completed in the end, and none is left behind.
func TestNothingIsLostWhileConnectionsAreCut(t *testing.T) {
	s := start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q", LockDuration: 200 * time.Millisecond, MaxDeliveryCount: 2000}}})
	const senders, each = 3, 100
	var mu sync.Mutex
	missing := map[string]bool{}
	for i := range senders {
		for j := range each {
			missing[fmt.Sprint(i, "-", j)] = true
		}
	}
	left := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(missing)
	}
	var group sync.WaitGroup
	for i := range senders {
		snd := sender(t, dial(t, s), "q")
		group.Go(func() {
			for j := range each {
				id := fmt.Sprint(i, "-", j)
				for snd.SendMessage(ctx(t), &azservicebus.Message{MessageID: &id}, nil) != nil {
				}
			}
		})
	}
	for range 3 {
		r := receiver(t, dial(t, s), "q")
		group.Go(func() {
			for left() > 0 {
				brief, cancel := context.WithTimeout(ctx(t), 300*time.Millisecond)
				got, err := r.ReceiveMessages(brief, 5, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: time.Millisecond})
				if err == nil {
					for _, m := range got {
						if rand.IntN(4) == 0 {
							_ = r.AbandonMessage(brief, m, nil) // it comes back either way
						} else if r.CompleteMessage(brief, m, nil) == nil {
							mu.Lock()
							delete(missing, m.MessageID)
							mu.Unlock()
						}
					}
				}
				cancel()
			}
		})
	}
	cutting, stop := context.WithCancel(t.Context())
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				s.DropConnections()
			case <-cutting.Done():
				tick.Stop()
				return
			}
			if left() < senders*each/4 {
				return
			}
		}
	})
	group.Wait()
	stop()
	cutter.Wait()
	if n := left(); n > 0 {
		t.Errorf("%d messages are lost", n)
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
