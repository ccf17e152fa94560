package servicebus_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/servicebus"
)

func TestSendReceiveComplete(t *testing.T) {
	s, c, now := plain(t, nil)
	sent := &azservicebus.Message{
		Body: []byte("hello"), MessageID: new("id-1"), Subject: new("greeting"), ContentType: new("text/plain"), CorrelationID: new("c-1"),
		To: new("you"), ReplyTo: new("me"), ReplyToSessionID: new("rs"), SessionID: new("ignored here"), PartitionKey: new("ignored here"),
		ApplicationProperties: map[string]any{"string": "s", "int32": int32(-7), "int64": int64(1 << 40), "bool": true, "float": 1.5, "time": t0, "nil": nil},
	}
	send(t, sender(t, c, "q"), sent)
	now.Advance(time.Second)
	r := receiver(t, c, "q")
	m := receiveOne(t, r)

	if diff := cmp.Diff(sent, &azservicebus.Message{
		Body: m.Body, MessageID: &m.MessageID, Subject: m.Subject, ContentType: m.ContentType, CorrelationID: m.CorrelationID,
		To: m.To, ReplyTo: m.ReplyTo, ReplyToSessionID: m.ReplyToSessionID, SessionID: m.SessionID, PartitionKey: m.PartitionKey,
		ApplicationProperties: m.ApplicationProperties,
	}); diff != "" {
		t.Errorf("message changed on its way (-sent +received):\n%s", diff)
	}
	if *m.SequenceNumber != 1 || m.DeliveryCount != 1 || !m.EnqueuedTime.Equal(t0) || m.State != azservicebus.MessageStateActive {
		t.Errorf("sequence %d, delivery %d, enqueued %v, state %d", *m.SequenceNumber, m.DeliveryCount, m.EnqueuedTime, m.State)
	}
	if want := t0.Add(31 * time.Second); !m.LockedUntil.Equal(want) {
		t.Errorf("locked until %v, want %v", m.LockedUntil, want)
	}
	if m.EnqueuedSequenceNumber != nil || m.DeadLetterReason != nil || m.ScheduledEnqueueTime != nil {
		t.Error("annotations that do not apply are set")
	}
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, Locked: 1})
	must(t, r.CompleteMessage(ctx(t), m, nil))
	wantCounts(t, s, "q", servicebus.Counts{})
}

func TestBatchKeepsOrder(t *testing.T) {
	_, c, _ := plain(t, nil)
	s := sender(t, c, "q")
	b, err := s.NewMessageBatch(ctx(t), nil)
	must(t, err)
	var want []string
	for i := range 120 {
		want = append(want, fmt.Sprint("message ", i))
		must(t, b.AddMessage(text(want[i]), nil))
	}
	must(t, s.SendMessageBatch(ctx(t), b, nil))
	if diff := cmp.Diff(want, bodies(receive(t, receiver(t, c, "q"), 120))); diff != "" {
		t.Error(diff)
	}
}

func TestLargeMessage(t *testing.T) {
	_, c, _ := plain(t, nil)
	s := sender(t, c, "q")
	body := bytes.Repeat([]byte("0123456789abcdef"), 200<<10/16)
	send(t, s, &azservicebus.Message{Body: body})
	if got := receiveOne(t, receiver(t, c, "q")); !bytes.Equal(got.Body, body) {
		t.Errorf("%d bytes came back, want %d", len(got.Body), len(body))
	}
	err := s.SendMessage(ctx(t), &azservicebus.Message{Body: make([]byte, 256<<10)}, nil)
	if err != azservicebus.ErrMessageTooLarge {
		t.Errorf("a message over the limit: %v", err)
	}
}

func TestReceiveAndDelete(t *testing.T) {
	s, c, _ := plain(t, nil)
	send(t, sender(t, c, "q"), text("once"))
	r, err := c.NewReceiverForQueue("q", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	must(t, err)
	receiveOne(t, r)
	wantCounts(t, s, "q", servicebus.Counts{})
}

func TestAbandonCountsAndKeepsPlace(t *testing.T) {
	s, c, _ := plain(t, func(q *servicebus.QueueConfig) { q.MaxDeliveryCount = 3 })
	snd := sender(t, c, "q")
	send(t, snd, text("first"))
	send(t, snd, text("second"))
	r := receiver(t, c, "q")
	for i := range 3 {
		m := receiveOne(t, r)
		if string(m.Body) != "first" || m.DeliveryCount != uint32(i+1) {
			t.Fatalf("round %d: %q, delivery %d", i, m.Body, m.DeliveryCount)
		}
		must(t, r.AbandonMessage(ctx(t), m, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"round": int64(i)}}))
	}
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, DeadLetter: 1})
	m := receiveOne(t, deadLetters(t, c, "q"))
	if *m.DeadLetterReason != "MaxDeliveryCountExceeded" || m.DeadLetterErrorDescription == nil || m.ApplicationProperties["round"] != int64(2) {
		t.Errorf("dead letter %v, properties %v", *m.DeadLetterReason, m.ApplicationProperties)
	}
}

func TestDeadLetter(t *testing.T) {
	s, c, _ := plain(t, nil)
	send(t, sender(t, c, "q"), text("bad"))
	r := receiver(t, c, "q")
	must(t, r.DeadLetterMessage(ctx(t), receiveOne(t, r), &azservicebus.DeadLetterOptions{
		Reason: new("bad-payload"), ErrorDescription: new("no such field"), PropertiesToModify: map[string]any{"by": "test"},
	}))
	dlq := deadLetters(t, c, "q")
	m := receiveOne(t, dlq)
	if *m.DeadLetterReason != "bad-payload" || *m.DeadLetterErrorDescription != "no such field" || m.ApplicationProperties["by"] != "test" || *m.SequenceNumber != 1 {
		t.Errorf("dead letter %+v", m)
	}
	must(t, dlq.AbandonMessage(ctx(t), m, nil))
	m = receiveOne(t, dlq)
	if m.DeliveryCount != 1 {
		t.Errorf("delivery %d: abandoning in the dead-letter queue must not count", m.DeliveryCount)
	}
	must(t, dlq.CompleteMessage(ctx(t), m, nil))
	wantCounts(t, s, "q", servicebus.Counts{})
}

func TestDeferAndReceiveDeferred(t *testing.T) {
	s, c, _ := plain(t, nil)
	send(t, sender(t, c, "q"), text("later"))
	r := receiver(t, c, "q")
	m := receiveOne(t, r)
	must(t, r.DeferMessage(ctx(t), m, &azservicebus.DeferMessageOptions{PropertiesToModify: map[string]any{"why": "early"}}))
	wantCounts(t, s, "q", servicebus.Counts{Deferred: 1})

	seq := []int64{*m.SequenceNumber}
	_, err := r.ReceiveDeferredMessages(ctx(t), []int64{seq[0], 999}, nil)
	wantCode(t, err, azservicebus.CodeNotFound)

	got, err := r.ReceiveDeferredMessages(ctx(t), seq, nil)
	must(t, err)
	if got[0].State != azservicebus.MessageStateDeferred || got[0].ApplicationProperties["why"] != "early" {
		t.Errorf("deferred message: state %d, properties %v", got[0].State, got[0].ApplicationProperties)
	}
	must(t, r.RenewMessageLock(ctx(t), got[0], nil))
	must(t, r.AbandonMessage(ctx(t), got[0], nil))
	wantCounts(t, s, "q", servicebus.Counts{Deferred: 1})
	got, err = r.ReceiveDeferredMessages(ctx(t), seq, nil)
	must(t, err)
	if got[0].DeliveryCount != 2 {
		t.Errorf("delivery %d after abandoning, want 2", got[0].DeliveryCount)
	}
	must(t, r.DeferMessage(ctx(t), got[0], nil))
	got, err = r.ReceiveDeferredMessages(ctx(t), seq, nil)
	must(t, err)
	must(t, r.DeadLetterMessage(ctx(t), got[0], &azservicebus.DeadLetterOptions{Reason: new("r")}))
	wantCounts(t, s, "q", servicebus.Counts{DeadLetter: 1})
	_, err = r.ReceiveDeferredMessages(ctx(t), seq, nil)
	wantCode(t, err, azservicebus.CodeNotFound)
}

func TestLockExpiryAndRenewal(t *testing.T) {
	s, c, now := plain(t, nil)
	send(t, sender(t, c, "q"), text("slow"))
	r := receiver(t, c, "q")
	m := receiveOne(t, r)
	now.Advance(20 * time.Second)
	must(t, r.RenewMessageLock(ctx(t), m, nil))
	if want := t0.Add(50 * time.Second); !m.LockedUntil.Equal(want) {
		t.Errorf("locked until %v, want %v", m.LockedUntil, want)
	}
	now.Advance(29 * time.Second)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, Locked: 1})
	now.Advance(time.Second)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})

	wantCode(t, r.RenewMessageLock(ctx(t), m, nil), azservicebus.CodeLockLost)
	wantCode(t, r.CompleteMessage(ctx(t), m, nil), azservicebus.CodeLockLost)
	if again := receiveOne(t, r); again.DeliveryCount != 2 {
		t.Errorf("delivery %d after the lock expired, want 2", again.DeliveryCount)
	}
}

func TestScheduleAndCancel(t *testing.T) {
	s, c, now := plain(t, nil)
	snd := sender(t, c, "q")
	at := t0.Add(time.Hour)
	seqs, err := snd.ScheduleMessages(ctx(t), []*azservicebus.Message{text("a"), text("b")}, at, nil)
	must(t, err)
	send(t, snd, &azservicebus.Message{Body: []byte("c"), ScheduledEnqueueTime: &at})
	wantCounts(t, s, "q", servicebus.Counts{Scheduled: 3})
	must(t, snd.CancelScheduledMessages(ctx(t), seqs[:1], nil))
	wantCode(t, snd.CancelScheduledMessages(ctx(t), seqs[:1], nil), azservicebus.CodeNotFound)

	r := receiver(t, c, "q")
	peeked, err := r.PeekMessages(ctx(t), 10, nil)
	must(t, err)
	if len(peeked) != 2 || peeked[0].State != azservicebus.MessageStateScheduled || !peeked[0].ScheduledEnqueueTime.Equal(at) {
		t.Fatalf("peeked %d messages, first of state %d", len(peeked), peeked[0].State)
	}
	now.Advance(time.Hour - time.Millisecond)
	wantCounts(t, s, "q", servicebus.Counts{Scheduled: 2})
	now.Advance(time.Millisecond)
	got := receive(t, r, 2)
	if diff := cmp.Diff([]string{"b", "c"}, bodies(got)); diff != "" {
		t.Error(diff)
	}
	if *got[0].SequenceNumber <= seqs[1] || *got[0].EnqueuedSequenceNumber != seqs[1] || !got[0].EnqueuedTime.Equal(at) {
		t.Errorf("sequence %d, enqueued as %d at %v", *got[0].SequenceNumber, *got[0].EnqueuedSequenceNumber, got[0].EnqueuedTime)
	}
}

func TestTimeToLive(t *testing.T) {
	for name, tc := range map[string]struct {
		queue, message time.Duration
		deadLetter     bool
		lives          time.Duration
	}{
		"of the message":            {message: time.Minute, lives: time.Minute},
		"of the queue":              {queue: time.Minute, lives: time.Minute},
		"queue caps message":        {queue: time.Minute, message: time.Hour, lives: time.Minute},
		"message shorter":           {queue: time.Hour, message: time.Minute, lives: time.Minute},
		"dead-lettered on expiry":   {message: time.Minute, deadLetter: true, lives: time.Minute},
		"queue, then dead-lettered": {queue: time.Hour, deadLetter: true, lives: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, now := plain(t, func(q *servicebus.QueueConfig) { q.DefaultTTL, q.DeadLetterOnExpiry = tc.queue, tc.deadLetter })
			m := text("short-lived")
			if tc.message > 0 {
				m.TimeToLive = &tc.message
			}
			send(t, sender(t, c, "q"), m)
			peeked, err := receiver(t, c, "q").PeekMessages(ctx(t), 1, nil)
			must(t, err)
			if *peeked[0].TimeToLive != tc.lives || !peeked[0].ExpiresAt.Equal(t0.Add(tc.lives)) {
				t.Errorf("lives %v until %v, want %v", *peeked[0].TimeToLive, peeked[0].ExpiresAt, tc.lives)
			}
			now.Advance(tc.lives - 1)
			wantCounts(t, s, "q", servicebus.Counts{Active: 1})
			now.Advance(1)
			if !tc.deadLetter {
				wantCounts(t, s, "q", servicebus.Counts{})
				return
			}
			wantCounts(t, s, "q", servicebus.Counts{DeadLetter: 1})
			if got := receiveOne(t, deadLetters(t, c, "q")); *got.DeadLetterReason != "TTLExpiredException" {
				t.Errorf("reason %q", *got.DeadLetterReason)
			}
		})
	}
}

func TestLockedAndDeferredMessagesExpireLate(t *testing.T) {
	s, c, now := plain(t, func(q *servicebus.QueueConfig) { q.DeadLetterOnExpiry = true })
	snd := sender(t, c, "q")
	for _, body := range []string{"locked", "deferred"} {
		send(t, snd, &azservicebus.Message{Body: []byte(body), TimeToLive: new(10 * time.Second)})
	}
	r := receiver(t, c, "q")
	got := receive(t, r, 2)
	must(t, r.DeferMessage(ctx(t), got[1], nil))
	now.Advance(20 * time.Second)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, Deferred: 1, Locked: 1})
	must(t, r.AbandonMessage(ctx(t), got[0], nil))
	wantCounts(t, s, "q", servicebus.Counts{Deferred: 1, DeadLetter: 1})
	_, err := r.ReceiveDeferredMessages(ctx(t), []int64{*got[1].SequenceNumber}, nil)
	wantCode(t, err, azservicebus.CodeNotFound)
	wantCounts(t, s, "q", servicebus.Counts{DeadLetter: 2})
}

func TestDuplicateDetection(t *testing.T) {
	s, c, now := plain(t, func(q *servicebus.QueueConfig) { q.DuplicateDetection = time.Minute })
	snd := sender(t, c, "q")
	dup := &azservicebus.Message{Body: []byte("x"), MessageID: new("same")}
	send(t, snd, dup)
	send(t, snd, dup)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})
	r := receiver(t, c, "q")
	must(t, r.CompleteMessage(ctx(t), receiveOne(t, r), nil))
	send(t, snd, dup) // still remembered, although the first is gone
	_, err := snd.ScheduleMessages(ctx(t), []*azservicebus.Message{dup}, t0.Add(time.Hour), nil)
	must(t, err)
	wantCounts(t, s, "q", servicebus.Counts{})
	now.Advance(time.Minute)
	send(t, snd, dup)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})

	b, err := snd.NewMessageBatch(ctx(t), nil)
	must(t, err)
	for range 3 {
		must(t, b.AddMessage(&azservicebus.Message{MessageID: new("in one batch")}, nil))
	}
	must(t, snd.SendMessageBatch(ctx(t), b, nil))
	wantCounts(t, s, "q", servicebus.Counts{Active: 2})
}

func TestPeekWalksAllStates(t *testing.T) {
	_, c, _ := plain(t, nil)
	snd := sender(t, c, "q")
	for i := range 5 {
		send(t, snd, text(fmt.Sprint(i)))
	}
	r := receiver(t, c, "q")
	got := receive(t, r, 3)
	must(t, r.CompleteMessage(ctx(t), got[0], nil))
	must(t, r.DeferMessage(ctx(t), got[1], nil))
	var walked []string
	for {
		page, err := r.PeekMessages(ctx(t), 2, nil)
		must(t, err)
		if len(page) == 0 {
			break
		}
		walked = append(walked, bodies(page)...)
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4"}, walked); diff != "" {
		t.Error(diff)
	}
	page, err := r.PeekMessages(ctx(t), 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: new(int64(4))})
	must(t, err)
	if len(page) != 1 || *page[0].SequenceNumber != 4 || page[0].LockedUntil != nil {
		t.Errorf("peeked %v", page)
	}
}

func TestReceiverWakesUp(t *testing.T) {
	_, c, _ := plain(t, nil)
	r := receiver(t, c, "q")
	done := make(chan []*azservicebus.ReceivedMessage)
	go func() {
		got, err := r.ReceiveMessages(ctx(t), 1, nil)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	send(t, sender(t, c, "q"), text("wake up"))
	if got := <-done; len(got) != 1 {
		t.Errorf("received %d messages", len(got))
	}
}

func TestUnusedCreditIsReleased(t *testing.T) {
	s, c, _ := plain(t, nil)
	r := receiver(t, c, "q")
	short, cancel := context.WithTimeout(ctx(t), 50*time.Millisecond)
	defer cancel()
	if _, err := r.ReceiveMessages(short, 5, nil); err == nil {
		t.Fatal("received from an empty queue")
	}
	send(t, sender(t, c, "q"), text("to the releaser, then to the next receive"))
	m := receiveOne(t, r)
	if m.DeliveryCount != 1 {
		t.Errorf("delivery %d: a release must not count", m.DeliveryCount)
	}
	must(t, r.CompleteMessage(ctx(t), m, nil))
	wantCounts(t, s, "q", servicebus.Counts{})
}
