package servicebus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/servicebus"
)

const serveVariable = "SERVICEBUS_TEST_SERVE"

// TestServeProcess is not a test of its own: it is the process that the tests below kill.
func TestServeProcess(t *testing.T) {
	dir := os.Getenv(serveVariable)
	if dir == "" {
		t.Skip("runs in a process of its own, started by other tests")
	}
	must(t, servicebus.Serve(t.Context(), servicebus.Options{DataDir: dir, Queues: []servicebus.QueueConfig{
		{Name: "q", DuplicateDetection: time.Hour}, {Name: "s", RequiresSession: true},
	}}, os.Stdout))
}

// process is an emulator in a process of its own.
type process struct {
	command *exec.Cmd
	client  *azservicebus.Client
}

func serveProcess(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{command: exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeProcess$")}
	p.command.Env = append(os.Environ(), serveVariable+"="+dir)
	out, err := p.command.StdoutPipe()
	must(t, err)
	must(t, p.command.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	connection, ok := strings.CutPrefix(strings.TrimSpace(line), "SERVICEBUS_CONNECTION_STRING=")
	if !ok {
		t.Fatalf("first line %q", line)
	}
	p.client, err = azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{RetryOptions: azservicebus.RetryOptions{MaxRetries: -1}})
	must(t, err)
	return p
}

// kill ends the process as kill -9 does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	must(t, p.command.Process.Kill())
	_ = p.command.Wait() // reports the kill
	brief, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer cancel()
	_ = p.client.Close(brief) // its connection is gone
}

func TestKillKeepsWhatWasConfirmed(t *testing.T) {
	dir := t.TempDir()
	p := serveProcess(t, dir)
	snd := sender(t, p.client, "q")
	later := time.Now().Add(time.Hour)
	send(t, snd, &azservicebus.Message{Body: []byte("active"), MessageID: new("1")})
	send(t, snd, &azservicebus.Message{Body: []byte("deferred"), MessageID: new("2")})
	send(t, snd, &azservicebus.Message{Body: []byte("dead"), MessageID: new("3")})
	send(t, snd, &azservicebus.Message{Body: []byte("done"), MessageID: new("4")})
	scheduled, err := snd.ScheduleMessages(ctx(t), []*azservicebus.Message{text("later"), text("never")}, later, nil)
	must(t, err)
	must(t, snd.CancelScheduledMessages(ctx(t), scheduled[1:], nil))
	r := receiver(t, p.client, "q")
	got := receive(t, r, 4)
	must(t, r.AbandonMessage(ctx(t), got[0], nil))
	must(t, r.DeferMessage(ctx(t), got[1], nil))
	must(t, r.DeadLetterMessage(ctx(t), got[2], &azservicebus.DeadLetterOptions{Reason: new("why")}))
	must(t, r.CompleteMessage(ctx(t), got[3], nil))
	session, err := p.client.AcceptSessionForQueue(ctx(t), "s", "lane", nil)
	must(t, err)
	must(t, session.SetSessionState(ctx(t), []byte("ledger"), nil))
	p.kill(t)

	p = serveProcess(t, dir)
	defer p.kill(t)
	send(t, sender(t, p.client, "q"), &azservicebus.Message{Body: []byte("again"), MessageID: new("4")}) // dropped
	r = receiver(t, p.client, "q")
	peeked, err := r.PeekMessages(ctx(t), 10, nil)
	must(t, err)
	if diff := cmp.Diff([]string{"active", "deferred", "later"}, bodies(peeked)); diff != "" {
		t.Error(diff)
	}
	if m := receiveOne(t, r); string(m.Body) != "active" || m.DeliveryCount != 2 {
		t.Errorf("%q, delivery %d", m.Body, m.DeliveryCount)
	}
	deferred, err := r.ReceiveDeferredMessages(ctx(t), []int64{*got[1].SequenceNumber}, nil)
	must(t, err)
	must(t, r.CompleteMessage(ctx(t), deferred[0], nil))
	if m := receiveOne(t, deadLetters(t, p.client, "q")); *m.DeadLetterReason != "why" {
		t.Errorf("dead letter %v", *m.DeadLetterReason)
	}
	session, err = p.client.AcceptSessionForQueue(ctx(t), "s", "lane", nil)
	must(t, err)
	if state, err := session.GetSessionState(ctx(t), nil); err != nil || string(state) != "ledger" {
		t.Errorf("session state %q, err %v", state, err)
	}
}

// Whenever the process is killed, every message that was accepted is there afterwards.
func TestKillUnderLoad(t *testing.T) {
	dir := t.TempDir()
	accepted := map[string]bool{}
	for round := range 3 {
		p := serveProcess(t, dir)
		snd := sender(t, p.client, "q")
		var count atomic.Int64
		enough := make(chan struct{})
		done := make(chan []string)
		go func() {
			var ids []string
			for i := 0; ; i++ {
				id := fmt.Sprint(round, "-", i)
				brief, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
				err := snd.SendMessage(brief, &azservicebus.Message{MessageID: &id}, nil)
				cancel()
				if err != nil {
					done <- ids
					return
				}
				ids = append(ids, id)
				if count.Add(1) == 200 {
					close(enough)
				}
			}
		}()
		<-enough
		p.kill(t)
		for _, id := range <-done {
			accepted[id] = true
		}
	}
	p := serveProcess(t, dir)
	defer p.kill(t)
	r := receiver(t, p.client, "q")
	for {
		page, err := r.PeekMessages(ctx(t), 250, nil)
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			delete(accepted, m.MessageID)
		}
	}
	if len(accepted) > 0 {
		t.Errorf("%d accepted messages are lost", len(accepted))
	}
}

func TestServePrintsHowToReachIt(t *testing.T) {
	serving, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- servicebus.Serve(serving, servicebus.Options{}, in) }()
	lines := bufio.NewScanner(out)
	for _, prefix := range []string{"SERVICEBUS_CONNECTION_STRING=Endpoint=sb://127.0.0.1:", "SERVICEBUS_ADMIN_URL=http://127.0.0.1:"} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), prefix) {
			t.Errorf("line %q, want %s...", lines.Text(), prefix)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
