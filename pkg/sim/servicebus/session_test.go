package servicebus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/clock"
	"mfaflow/pkg/sim/servicebus"
)

func sessions(t testing.TB) (*servicebus.Server, *azservicebus.Client, *clock.Manual) {
	t.Helper()
	return plain(t, func(q *servicebus.QueueConfig) { q.RequiresSession = true })
}

func inSession(id, body string) *azservicebus.Message {
	return &azservicebus.Message{Body: []byte(body), SessionID: &id}
}

func acceptSession(t testing.TB, c *azservicebus.Client, id string) *azservicebus.SessionReceiver {
	t.Helper()
	r, err := c.AcceptSessionForQueue(ctx(t), "q", id, nil)
	must(t, err)
	return r
}

func acceptNext(t testing.TB, c *azservicebus.Client) *azservicebus.SessionReceiver {
	t.Helper()
	r, err := c.AcceptNextSessionForQueue(ctx(t), "q", nil)
	must(t, err)
	return r
}

func wantCondition(t testing.TB, err error, condition string) {
	t.Helper()
	var e *amqp.Error
	if !errors.As(err, &e) || string(e.Condition) != condition {
		t.Fatalf("error %v, want condition %s", err, condition)
	}
}

func TestSessionsKeepTheirOrder(t *testing.T) {
	_, c, _ := sessions(t)
	s := sender(t, c, "q")
	for i := range 6 {
		send(t, s, inSession(fmt.Sprint("s", i%2), fmt.Sprint(i)))
	}
	r := acceptSession(t, c, "s1")
	if diff := cmp.Diff([]string{"1", "3", "5"}, bodies(receive(t, r, 3))); diff != "" {
		t.Error(diff)
	}
	if want := t0.Add(30 * time.Second); !r.LockedUntil().Equal(want) {
		t.Errorf("locked until %v, want %v", r.LockedUntil(), want)
	}
}

func TestAcceptNextTakesTurns(t *testing.T) {
	_, c, _ := sessions(t)
	s := sender(t, c, "q")
	for _, id := range []string{"a", "b", ""} {
		send(t, s, inSession(id, "x"))
	}
	for _, want := range []string{"a", "b", ""} {
		if r := acceptNext(t, c); r.SessionID() != want {
			t.Errorf("accepted %q, want %q", r.SessionID(), want)
		}
	}
	short, cancel := context.WithTimeout(ctx(t), 600*time.Millisecond)
	defer cancel()
	_, err := c.AcceptNextSessionForQueue(short, "q", nil)
	wantCode(t, err, azservicebus.CodeTimeout)
}

func TestAcceptNextWakesUp(t *testing.T) {
	_, c, _ := sessions(t)
	got := make(chan string)
	go func() {
		r, err := c.AcceptNextSessionForQueue(ctx(t), "q", nil)
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		got <- r.SessionID()
	}()
	send(t, sender(t, c, "q"), inSession("late", "x"))
	if id := <-got; id != "late" {
		t.Errorf("accepted %q", id)
	}
}

func TestAcceptNextGivenUp(t *testing.T) {
	s, c, _ := sessions(t)
	short, cancel := context.WithCancel(ctx(t))
	failed := make(chan error)
	go func() {
		_, err := c.AcceptNextSessionForQueue(short, "q", nil)
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	send(t, sender(t, c, "q"), inSession("a", "x"))
	if r := acceptNext(t, c); r.SessionID() != "a" {
		t.Errorf("accepted %q", r.SessionID())
	}
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})
}

func TestSessionIsExclusive(t *testing.T) {
	_, c, _ := sessions(t)
	r := acceptSession(t, c, "one")
	_, err := c.AcceptSessionForQueue(ctx(t), "q", "one", nil)
	wantCondition(t, err, "com.microsoft:session-cannot-be-locked")
	must(t, r.Close(ctx(t)))
	must(t, acceptSession(t, c, "one").Close(ctx(t)))
}

func TestClosingASessionCountsNothing(t *testing.T) {
	s, c, _ := sessions(t)
	send(t, sender(t, c, "q"), inSession("a", "x"))
	r := acceptNext(t, c)
	receiveOne(t, r)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, Locked: 1})
	must(t, r.Close(ctx(t)))
	r = acceptNext(t, c)
	if m := receiveOne(t, r); m.DeliveryCount != 1 {
		t.Errorf("delivery %d", m.DeliveryCount)
	}
}

func TestLostSession(t *testing.T) {
	s, c, now := sessions(t)
	send(t, sender(t, c, "q"), inSession("a", "x"))
	r := acceptNext(t, c)
	m := receiveOne(t, r)
	now.Advance(20 * time.Second)
	must(t, r.RenewSessionLock(ctx(t), nil))
	if want := t0.Add(50 * time.Second); !r.LockedUntil().Equal(want) {
		t.Errorf("locked until %v, want %v", r.LockedUntil(), want)
	}
	now.Advance(30 * time.Second)
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})

	other := acceptSession(t, c, "a")
	if again := receiveOne(t, other); again.DeliveryCount != 2 {
		t.Errorf("delivery %d after the session lock expired, want 2", again.DeliveryCount)
	}
	brief, cancel := context.WithTimeout(ctx(t), 100*time.Millisecond) // settling retries after four seconds, whatever the options say
	defer cancel()
	if err := r.CompleteMessage(brief, m, nil); err == nil {
		t.Error("completed a message of a lost session")
	}
	if err := r.SetSessionState(ctx(t), []byte("stale"), nil); err == nil {
		t.Error("set the state of a lost session")
	}
}

func TestSessionState(t *testing.T) {
	_, c, _ := sessions(t)
	r := acceptSession(t, c, "a")
	state := func() string {
		t.Helper()
		b, err := r.GetSessionState(ctx(t), nil)
		must(t, err)
		if b == nil {
			return "none"
		}
		return string(b)
	}
	if got := state(); got != "none" {
		t.Errorf("state %q at first", got)
	}
	must(t, r.SetSessionState(ctx(t), []byte("ledger"), nil))
	must(t, r.Close(ctx(t)))
	r = acceptSession(t, c, "a")
	if got := state(); got != "ledger" {
		t.Errorf("state %q", got)
	}
	if err := r.SetSessionState(ctx(t), make([]byte, 256<<10+1), nil); err == nil {
		t.Error("a state over 256 KiB was taken")
	}
	must(t, r.SetSessionState(ctx(t), make([]byte, 256<<10), nil))
	must(t, r.SetSessionState(ctx(t), nil, nil))
	if got := state(); got != "none" {
		t.Errorf("state %q after clearing", got)
	}
}

func TestListSessions(t *testing.T) {
	_, c, now := sessions(t)
	s := sender(t, c, "q")
	want := []string{"state"}
	for i := range 150 {
		id := fmt.Sprintf("m%03d", i)
		want = append([]string{id}, want...)
		send(t, s, inSession(id, "x"))
	}
	r := acceptSession(t, c, "state")
	must(t, r.SetSessionState(ctx(t), []byte("x"), nil))
	must(t, acceptSession(t, c, "nothing").Close(ctx(t)))
	list := func(o *azservicebus.ListSessionsOptions) map[string]bool {
		t.Helper()
		got := map[string]bool{}
		for p := c.NewListSessionsForQueuePager("q", o); p.More(); {
			page, err := p.NextPage(ctx(t))
			must(t, err)
			for _, id := range page.Sessions {
				if got[id] {
					t.Errorf("session %s listed twice", id)
				}
				got[id] = true
			}
		}
		return got
	}
	all := list(nil)
	for _, id := range want {
		if !all[id] {
			t.Errorf("session %s is missing", id)
		}
	}
	if len(all) != len(want) {
		t.Errorf("%d sessions, want %d", len(all), len(want))
	}
	before, after := now.Now().Add(-time.Minute), now.Now().Add(time.Minute)
	if diff := cmp.Diff(map[string]bool{"state": true}, list(&azservicebus.ListSessionsOptions{SessionStateUpdatedAfter: &before})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{}, list(&azservicebus.ListSessionsOptions{SessionStateUpdatedAfter: &after})); diff != "" {
		t.Error(diff)
	}
}

func TestSessionSettlesAndDefers(t *testing.T) {
	s, c, _ := sessions(t)
	snd := sender(t, c, "q")
	for _, body := range []string{"complete", "defer", "dead-letter", "abandon"} {
		send(t, snd, inSession("a", body))
	}
	r := acceptNext(t, c)
	got := receive(t, r, 4)
	must(t, r.CompleteMessage(ctx(t), got[0], nil))
	must(t, r.DeferMessage(ctx(t), got[1], nil))
	must(t, r.DeadLetterMessage(ctx(t), got[2], nil))
	must(t, r.AbandonMessage(ctx(t), got[3], nil))
	if again := receiveOne(t, r); string(again.Body) != "abandon" || again.DeliveryCount != 2 {
		t.Errorf("%q, delivery %d", again.Body, again.DeliveryCount)
	}
	deferred, err := r.ReceiveDeferredMessages(ctx(t), []int64{*got[1].SequenceNumber}, nil)
	must(t, err)
	must(t, r.Close(ctx(t))) // gives back the lock of the deferred message, too
	r = acceptSession(t, c, "a")
	deferred, err = r.ReceiveDeferredMessages(ctx(t), []int64{*deferred[0].SequenceNumber}, nil)
	must(t, err)
	must(t, r.CompleteMessage(ctx(t), deferred[0], nil))
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, DeadLetter: 1})

	other := acceptSession(t, c, "b")
	_, err = other.ReceiveDeferredMessages(ctx(t), []int64{*got[3].SequenceNumber}, nil)
	wantCode(t, err, azservicebus.CodeNotFound)
	if peeked, err := other.PeekMessages(ctx(t), 10, nil); err != nil || len(peeked) != 0 {
		t.Errorf("peeked %d messages of another session, err %v", len(peeked), err)
	}
	if m := receiveOne(t, deadLetters(t, c, "q")); *m.SessionID != "a" {
		t.Errorf("dead letter of session %q", *m.SessionID)
	}
}

func TestSessionsAndQueuesDoNotMix(t *testing.T) {
	_, c, _ := sessions(t)
	_, err := receiver(t, c, "q").ReceiveMessages(ctx(t), 1, nil)
	wantCondition(t, err, "amqp:not-allowed")
	err = sender(t, c, "q").SendMessage(ctx(t), text("no session"), nil)
	wantCondition(t, err, "amqp:not-allowed")

	_, plainClient, _ := plain(t, nil)
	_, err = plainClient.AcceptSessionForQueue(ctx(t), "q", "a", nil)
	wantCondition(t, err, "amqp:not-allowed")
}
