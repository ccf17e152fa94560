package servicebus_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mfaflow/pkg/sim/servicebus"
)

func TestFaultIsMetOnceAndRetried(t *testing.T) {
	s, c, _ := plain(t, nil)
	snd := sender(t, c, "q")
	s.Fail(servicebus.Fault{Queue: "q", Operation: servicebus.OpSend, Times: 2, Condition: "com.microsoft:server-busy", Description: "try later"})
	send(t, snd, text("third time lucky"))
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})

	s.Fail(servicebus.Fault{Operation: servicebus.OpSend, Times: 3, Condition: "com.microsoft:server-busy"})
	err := snd.SendMessage(ctx(t), text("once too often"), nil)
	wantCondition(t, err, "com.microsoft:server-busy")
	wantCounts(t, s, "q", servicebus.Counts{Active: 1})
}

func TestFaultOfAnotherQueueOrOperation(t *testing.T) {
	s, c, _ := plain(t, nil)
	s.Fail(servicebus.Fault{Queue: "another", Condition: "amqp:internal-error"})
	s.Fail(servicebus.Fault{Operation: servicebus.OpComplete, Condition: "amqp:internal-error"})
	send(t, sender(t, c, "q"), text("untouched"))
	s.ClearFaults()
	r := receiver(t, c, "q")
	must(t, r.CompleteMessage(ctx(t), receiveOne(t, r), nil))
}

// A cut after the effect is the case in which a sender cannot know: it sends again, and
// only duplicate detection saves it.
func TestCutAfterEffect(t *testing.T) {
	for name, window := range map[string]time.Duration{"without detection": 0, "with detection": time.Minute} {
		t.Run(name, func(t *testing.T) {
			s, c, _ := plain(t, func(q *servicebus.QueueConfig) { q.DuplicateDetection = window })
			s.Fail(servicebus.Fault{Operation: servicebus.OpSend, AfterEffect: true})
			send(t, sender(t, c, "q"), &azservicebus.Message{MessageID: new("same")})
			want := 2
			if window > 0 {
				want = 1
			}
			wantCounts(t, s, "q", servicebus.Counts{Active: want})
		})
	}
}

func TestFaultOnSettling(t *testing.T) {
	s, c, _ := plain(t, nil)
	send(t, sender(t, c, "q"), text("x"))
	r := receiver(t, c, "q")
	m := receiveOne(t, r)
	s.Fail(servicebus.Fault{Operation: servicebus.OpComplete, Condition: "amqp:not-allowed"})
	wantCondition(t, r.CompleteMessage(ctx(t), m, nil), "amqp:not-allowed")
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, Locked: 1})
}

func TestFaultOnManagement(t *testing.T) {
	s, c, _ := sessions(t)
	r := acceptSession(t, c, "a")
	s.Fail(servicebus.Fault{Operation: servicebus.OpSetSessionState, Condition: "com.microsoft:server-busy"})
	must(t, r.SetSessionState(ctx(t), []byte("after a retry"), nil))
	s.Fail(servicebus.Fault{Operation: servicebus.OpAttachReceiver, Condition: "amqp:not-allowed"})
	_, err := c.AcceptSessionForQueue(ctx(t), "q", "b", nil)
	wantCondition(t, err, "amqp:not-allowed")
}

func TestDropConnections(t *testing.T) {
	s, c, _ := plain(t, nil)
	snd, r := sender(t, c, "q"), receiver(t, c, "q")
	send(t, snd, text("before"))
	m := receiveOne(t, r)
	s.DropConnections()
	send(t, snd, text("after"))
	if got := receiveOne(t, r); string(got.Body) != "after" {
		t.Errorf("received %q: the first message is still locked", got.Body)
	}
	// The lock outlives the connection; the SDK settles over a new one by token only.
	must(t, r.CompleteMessage(ctx(t), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil))
	wantCounts(t, s, "q", servicebus.Counts{Active: 1, Locked: 1})
}

func TestDropReleasesSessions(t *testing.T) {
	s, c, _ := sessions(t)
	send(t, sender(t, c, "q"), inSession("a", "x"))
	receiveOne(t, acceptNext(t, c))
	s.DropConnections()
	if got := acceptNext(t, dial(t, s)); got.SessionID() != "a" {
		t.Errorf("accepted %q", got.SessionID())
	}
}

func TestDown(t *testing.T) {
	s, c, _ := plain(t, nil)
	snd := sender(t, c, "q")
	send(t, snd, text("before"))
	s.SetDown(true)
	wantCode(t, snd.SendMessage(ctx(t), text("lost"), nil), azservicebus.CodeConnectionLost)
	_, err := adminClient(t, s).GetNamespaceProperties(ctx(t), nil)
	wantStatus(t, err, http.StatusServiceUnavailable, "")
	s.SetDown(false)
	send(t, snd, text("after"))
	wantCounts(t, s, "q", servicebus.Counts{Active: 2})
}
