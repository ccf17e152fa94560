package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/clock"
	"mfaflow/pkg/sim/servicebus/amqp"
	"mfaflow/pkg/sim/servicebus/broker"
)

var t0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string, c clock.Clock) *broker.Broker {
	t.Helper()
	b, err := broker.Open(broker.Options{Clock: c, Directory: dir})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	return b
}

func message(t testing.TB, id string, session any, scheduled time.Time) broker.Incoming {
	t.Helper()
	section := func(b []byte, code uint64, v any) []byte {
		return amqp.Append(b, amqp.Described{Descriptor: code, Value: v})
	}
	var b []byte
	if !scheduled.IsZero() {
		b = section(b, 0x72, amqp.Map{{Key: amqp.Symbol("x-opt-scheduled-enqueue-time"), Value: amqp.TimestampOf(scheduled)}})
	}
	b = section(b, 0x73, amqp.List{id, nil, nil, nil, nil, nil, nil, nil, nil, nil, session})
	b = section(b, 0x74, amqp.Map{{Key: "p", Value: int64(1)}})
	b = section(b, 0x75, []byte("body of "+id))
	m, err := amqp.DecodeMessage(b)
	must(t, err)
	return broker.Incoming{Message: m, Size: len(b)}
}

// contents is everything a queue shows.
func contents(t testing.TB, q *broker.Queue) string {
	t.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%+v\n", q.Config())
	r := q.Runtime()
	r.Accessed, r.Locked = time.Time{}, 0
	fmt.Fprintf(&out, "%+v\n", r)
	for _, sub := range []broker.SubQueue{broker.Main, broker.DeadLetter} {
		payloads, err := q.Peek(sub, 0, 1000, nil, func(int) bool { return true })
		must(t, err)
		for _, p := range payloads {
			fmt.Fprintf(&out, "%x\n", p)
		}
	}
	ids, err := q.Sessions(nil, 0, 1000)
	must(t, err)
	fmt.Fprintln(&out, ids)
	return out.String()
}

// eventful takes a queue through every kind of change.
func eventful(t testing.TB, b *broker.Broker, c *clock.Manual) *broker.Queue {
	t.Helper()
	q, err := b.Create(broker.QueueConfig{
		Name: "Lanes/One", RequiresSession: true, DuplicateDetection: time.Hour, MaxDeliveryCount: 2, DeadLetterOnExpiry: true, UserMetadata: "m",
	})
	must(t, err)
	for i := range 8 {
		_, err := q.Send([]broker.Incoming{message(t, fmt.Sprint("m", i), "s", time.Time{})})
		must(t, err)
	}
	seqs, err := q.Send([]broker.Incoming{
		message(t, "scheduled", "s", c.Now().Add(time.Hour)), message(t, "cancelled", "s", c.Now().Add(time.Hour)),
		message(t, "soon", "t", c.Now().Add(time.Second)),
	})
	must(t, err)
	must(t, q.CancelScheduled(seqs[1:2]))
	r, err := q.AcceptSession("s", broker.PeekLock, func() {})
	must(t, err)
	defer r.Close()
	got, err := r.Take(6)
	must(t, err)
	settle := func(i int, o broker.Outcome) {
		t.Helper()
		must(t, q.Settle(broker.Main, []amqp.UUID{got[i].Token}, o))
	}
	settle(0, broker.Outcome{Verdict: broker.Complete})
	settle(1, broker.Outcome{Verdict: broker.Defer, Properties: amqp.Map{{Key: "why", Value: "later"}}})
	settle(2, broker.Outcome{Verdict: broker.DeadLetterMessage, Reason: "bad", Description: "worse"})
	settle(3, broker.Outcome{Verdict: broker.Abandon})
	must(t, r.SetSessionState([]byte("ledger")))
	c.Advance(2 * time.Second)
	return q
}

func TestRestartKeepsEverything(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	q := eventful(t, b, c)
	want := contents(t, q)
	must(t, b.Close())

	b = open(t, dir, c)
	q, ok := b.Queue("lanes/one")
	if !ok {
		t.Fatal("the queue is gone")
	}
	if diff := cmp.Diff(want, contents(t, q)); diff != "" {
		t.Errorf("restart changed the queue (-before +after):\n%s", diff)
	}
	r, err := q.AcceptSession("s", broker.PeekLock, func() {})
	must(t, err)
	if state, err := r.SessionState(); err != nil || string(state) != "ledger" {
		t.Errorf("session state %q, err %v", state, err)
	}
	before := q.Runtime().Active
	_, err = q.Send([]broker.Incoming{message(t, "m0", "s", time.Time{})})
	must(t, err)
	if got := q.Runtime().Active; got != before {
		t.Error("the duplicate of a message from before the restart was not dropped")
	}
	seqs, err := q.Send([]broker.Incoming{message(t, "new", "s", time.Time{})})
	must(t, err)
	if seqs[0] <= 12 {
		t.Errorf("sequence number %d was given out before", seqs[0])
	}
	r.Close()
	c.Advance(time.Hour)
	if got := q.Runtime().Scheduled; got != 0 {
		t.Errorf("%d messages are still scheduled past their time", got)
	}
}

func TestLocksEndWithTheProcess(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	q, err := b.Create(broker.QueueConfig{Name: "q"})
	must(t, err)
	_, err = q.Send([]broker.Incoming{message(t, "m", nil, time.Time{})})
	must(t, err)
	r, err := q.Receiver(broker.Main, broker.PeekLock, func() {})
	must(t, err)
	got, err := r.Take(1)
	must(t, err)
	must(t, b.Close())

	q, _ = open(t, dir, c).Queue("q")
	if err := q.Settle(broker.Main, []amqp.UUID{got[0].Token}, broker.Outcome{Verdict: broker.Complete}); !errors.Is(err, &broker.Error{Condition: broker.MessageLockLost}) {
		t.Errorf("settled with a lock from before the restart: %v", err)
	}
	r, err = q.Receiver(broker.Main, broker.PeekLock, func() {})
	must(t, err)
	if again, err := r.Take(1); err != nil || len(again) != 1 {
		t.Errorf("%d messages after the restart, err %v", len(again), err)
	}
}

func TestDeletedQueueStaysDeleted(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	_, err := b.Create(broker.QueueConfig{Name: "q"})
	must(t, err)
	must(t, b.Delete("Q"))
	must(t, b.Close())
	if got := open(t, dir, c).Queues(); len(got) != 0 {
		t.Errorf("%d queues came back", len(got))
	}
}

// A journal cut anywhere, as by a kill in the middle of a write, opens, and holds what
// was confirmed before the cut.
func TestTornTail(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	q, err := b.Create(broker.QueueConfig{Name: "q"})
	must(t, err)
	path := filepath.Join(dir, "q.journal")
	sizes := []int64{size(t, path)}
	for i := range 5 {
		_, err := q.Send([]broker.Incoming{message(t, fmt.Sprint(i), nil, time.Time{})})
		must(t, err)
		sizes = append(sizes, size(t, path))
	}
	must(t, b.Close())
	whole, err := os.ReadFile(path)
	must(t, err)

	for cut := sizes[0]; cut <= int64(len(whole)); cut++ {
		confirmed := 0
		for confirmed < 5 && sizes[confirmed+1] <= cut {
			confirmed++
		}
		torn := t.TempDir()
		must(t, os.WriteFile(filepath.Join(torn, "q.journal"), whole[:cut], 0o600))
		b, err := broker.Open(broker.Options{Clock: c, Directory: torn})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		q, _ := b.Queue("q")
		if got := q.Runtime().Active; got != confirmed {
			t.Fatalf("cut at %d: %d messages, want %d", cut, got, confirmed)
		}
		_, err = q.Send([]broker.Incoming{message(t, "after", nil, time.Time{})})
		must(t, err)
		must(t, b.Close())
		b, err = broker.Open(broker.Options{Clock: c, Directory: torn})
		must(t, err)
		q, _ = b.Queue("q")
		if got := q.Runtime().Active; got != confirmed+1 {
			t.Fatalf("cut at %d, then written on: %d messages, want %d", cut, got, confirmed+1)
		}
		must(t, b.Close())
	}
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

func TestDamageIsNotOverlooked(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	eventful(t, b, c)
	must(t, b.Close())
	path := filepath.Join(dir, "lanes%2Fone.journal")
	whole, err := os.ReadFile(path)
	must(t, err)
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	must(t, os.WriteFile(path, damaged, 0o600))
	if b, err := broker.Open(broker.Options{Clock: c, Directory: dir}); err == nil {
		must(t, b.Close())
		t.Error("a damaged journal was opened")
	}
	must(t, os.WriteFile(path, []byte("something else"), 0o600))
	if b, err := broker.Open(broker.Options{Clock: c, Directory: dir}); err == nil {
		must(t, b.Close())
		t.Error("a file that is no journal was opened")
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	open(t, dir, c)
	if b, err := broker.Open(broker.Options{Clock: c, Directory: dir}); err == nil {
		must(t, b.Close())
		t.Error("two brokers opened one directory")
	}
}

// A queue through which much has passed keeps a journal the size of what it holds.
func TestJournalIsRewritten(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	q, err := b.Create(broker.QueueConfig{Name: "q", DuplicateDetection: time.Minute})
	must(t, err)
	r, err := q.Receiver(broker.Main, broker.ReceiveAndDelete, func() {})
	must(t, err)
	big := message(t, "kept", nil, time.Time{})
	_, err = q.Send([]broker.Incoming{big})
	must(t, err)
	for i := range 200 {
		in := message(t, fmt.Sprint(i), nil, time.Time{})
		in.Message.SetApplicationProperties(amqp.Map{{Key: "fill", Value: string(bytes.Repeat([]byte("x"), 30000))}})
		_, err := q.Send([]broker.Incoming{in})
		must(t, err)
		_, err = r.Take(1)
		must(t, err)
	}
	if got := size(t, filepath.Join(dir, "q.journal")); got > 5<<20 {
		t.Errorf("the journal of a nearly empty queue has %d bytes", got)
	}
	want := contents(t, q)
	must(t, b.Close())
	q, _ = open(t, dir, c).Queue("q")
	if diff := cmp.Diff(want, contents(t, q)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// What fell due while nobody ran happens at the start.
func TestDueWhileDown(t *testing.T) {
	dir, c := t.TempDir(), clock.NewManual(t0)
	b := open(t, dir, c)
	q, err := b.Create(broker.QueueConfig{Name: "q", DefaultTTL: time.Hour, DeadLetterOnExpiry: true})
	must(t, err)
	_, err = q.Send([]broker.Incoming{message(t, "expires", nil, time.Time{}), message(t, "starts", nil, t0.Add(90*time.Minute))})
	must(t, err)
	must(t, b.Close())
	c.Advance(2 * time.Hour)
	q, _ = open(t, dir, c).Queue("q")
	if got := q.Runtime().Counts; got != (broker.Counts{Active: 1, DeadLetter: 1}) {
		t.Errorf("after two hours: %+v", got)
	}
}

// FuzzJournal: whatever the file holds, opening it fails or gives a queue that opens
// again the same.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	c := clock.NewManual(t0)
	b, err := broker.Open(broker.Options{Clock: c, Directory: dir})
	must(f, err)
	eventful(f, b, c)
	must(f, b.Close())
	whole, err := os.ReadFile(filepath.Join(dir, "lanes%2Fone.journal"))
	must(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "q.journal"), data, 0o600))
		now := clock.NewManual(t0)
		var seen []string
		for range 2 {
			b, err := broker.Open(broker.Options{Clock: now, Directory: dir})
			if err != nil {
				if len(seen) > 0 {
					t.Fatalf("opened once but not again: %v", err)
				}
				return
			}
			for _, q := range b.Queues() {
				seen = append(seen, contents(t, q))
			}
			must(t, b.Close())
		}
		if len(seen) == 2 && seen[0] != seen[1] {
			t.Fatal(cmp.Diff(seen[0], seen[1]))
		}
	})
}
