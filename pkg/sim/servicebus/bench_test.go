package servicebus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mfaflow/pkg/sim/servicebus"
)

// BenchmarkSendReceiveComplete moves messages of 256 bytes through a queue: each is sent
// in a batch, received under a lock and completed on its own. Client and server share
// this process and its processors.
func BenchmarkSendReceiveComplete(b *testing.B) {
	for _, store := range []string{"memory", "disk"} {
		for _, pairs := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%d-senders-and-receivers", store, pairs), func(b *testing.B) {
				o := servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}}}
				if store == "disk" {
					o.DataDir = b.TempDir()
				}
				s := start(b, o)
				throughput(b, s, pairs)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

func throughput(b *testing.B, s *servicebus.Server, pairs int) {
	const batchSize = 100
	work, cancel := context.WithCancel(b.Context())
	defer cancel()
	body := make([]byte, 256)
	var sent, completed atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range pairs {
		c := dial(b, s)
		group.Go(func() {
			snd, err := c.NewSender("q", nil)
			if err != nil {
				b.Error(err)
				return
			}
			for {
				n := min(batchSize, int64(b.N)-sent.Add(batchSize)+batchSize)
				if n <= 0 {
					return
				}
				batch, err := snd.NewMessageBatch(work, nil)
				for range n {
					if err == nil {
						err = batch.AddMessage(&azservicebus.Message{Body: body}, nil)
					}
				}
				if err == nil {
					err = snd.SendMessageBatch(work, batch, nil)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
		group.Go(func() {
			r, err := c.NewReceiverForQueue("q", nil)
			if err != nil {
				b.Error(err)
				return
			}
			for completed.Load() < int64(b.N) {
				got, err := r.ReceiveMessages(work, batchSize, nil)
				if err != nil {
					return // the last message was completed by another receiver
				}
				var settling sync.WaitGroup
				for _, m := range got {
					settling.Go(func() {
						if err := r.CompleteMessage(work, m, nil); err != nil {
							b.Error(err)
						}
						if completed.Add(1) == int64(b.N) {
							cancel()
						}
					})
				}
				settling.Wait()
			}
		})
	}
	group.Wait()
	b.StopTimer()
}

// BenchmarkSend sends one message at a time and waits for each to be accepted.
func BenchmarkSend(b *testing.B) {
	s := start(b, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}}})
	snd := sender(b, dial(b, s), "q")
	body := make([]byte, 256)
	for b.Loop() {
		if err := snd.SendMessage(b.Context(), &azservicebus.Message{Body: body}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkReady is the time from nothing to a first message accepted.
func BenchmarkReady(b *testing.B) {
	for b.Loop() {
		s, err := servicebus.Start(b.Context(), servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}}})
		if err != nil {
			b.Fatal(err)
		}
		c, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), nil)
		if err != nil {
			b.Fatal(err)
		}
		send(b, sender(b, c, "q"), text("first"))
		if err := c.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
