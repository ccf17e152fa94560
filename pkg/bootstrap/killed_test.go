package bootstrap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
)

var (
	killedEvents = flag.Int("events", 300, "events that flow while functions are killed")
	killedSeed   = flag.Uint64("seed", 0, "seed of the people, the posts and the kills; 0 takes a new one")
)

// The functions are killed again and again while events of every kind flow from
// signed webhooks to the tenant: at the end nothing is lost, nothing is left half
// done, and nobody has a pass or a way in that they must not have.
//
// A kill comes after a random number of calls to Graph and a moment more, with eight
// lanes under way, so that it hits every step. What the seed cannot repeat is how the
// processes take turns.
func TestKilledFunctionsLoseNothing(t *testing.T) {
	seed := *killedSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test ./pkg/bootstrap -run %s -events %d -seed %d", t.Name(), *killedEvents, seed)
	r := rand.New(rand.NewPCG(seed, 0))

	calls := newCounter()
	now := &shiftedClock{Clock: clock.Real()}
	w := openWorld(t, lock, graphsim.Options{Clock: now, Logger: slog.New(calls)})
	var people []*person
	w.tenant.Mutate(func(tenant *graphsim.Tenant) { people = w.populate(tenant, *killedEvents, r) })

	ingest := w.service("hr-events", 1, 200,
		`MFAFLOW_SOURCES=[`+source("hr", "employee.*")+`,`+source("helpdesk", "mfa.*")+`,`+source("risk", "risk.*")+`]`,
		`MFAFLOW_SOURCE_KEYS={"hr":["`+hrKey+`"],"helpdesk":["`+hrKey+`"],"risk":["`+hrKey+`"]}`)
	router := w.service("identity-router", 20, 200, "MFAFLOW_PROVISION_RETRY=1s", "MFAFLOW_UNKNOWN_PERSON_AGE=0s")
	worker := w.service("identity-worker", 20, 400,
		`MFAFLOW_SOURCE_SCOPES={"hr":["employee.*"],"helpdesk":["mfa.*"],"risk":["risk.*"]}`,
		"MFAFLOW_LEAD_TIME="+w.nextWeekIn(8*time.Second).String(), "MFAFLOW_LEAVER_GRACE=0s",
		"MFAFLOW_BREAKER_COUNT=1500", "MFAFLOW_BREAKER_IMMEDIATE_COUNT=1500", "MFAFLOW_BREAKER_PERCENT=0", "MFAFLOW_BREAKER_IMMEDIATE_PERCENT=0",
		"MFAFLOW_MAX_STARTS=100") // more kills than a poison event is worth
	services := []*service{ingest, router, worker}

	posted := make(chan struct{})
	go func() {
		defer close(posted)
		w.postAll(people, ingest, calls)
	}()
	stages := []func() bool{
		func() bool { return closed(posted) },
		func() bool { w.provisionAll(people); return true },
		func() bool { return w.rest("inbound") },
		func() bool { w.replaySome(people, r); return true },
		func() bool { return w.rest("inbound") && w.rest("lanes") },
	}
	for _, s := range services {
		s.arm(calls, r)
	}
	began, deadline := time.Now(), time.Now().Add(time.Minute+time.Duration(*killedEvents)*100*time.Millisecond)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for len(stages) > 0 {
		select {
		case <-ingest.due:
			ingest.kill(calls, r)
		case <-router.due:
			router.kill(calls, r)
		case <-worker.due:
			worker.kill(calls, r)
		case <-look.C:
			if stages[0]() {
				stages = stages[1:]
			}
		}
		if time.Now().After(deadline) {
			<-posted
			w.t.Fatalf("not at rest: inbound %+v, lanes %+v", w.counts("inbound"), w.counts("lanes"))
		}
	}
	for _, s := range services {
		s.now.stop()
	}
	t.Logf("%d people, at rest after %s, %d+%d+%d kills", len(people), time.Since(began).Round(time.Millisecond),
		len(ingest.lives)-1, len(router.lives)-1, len(worker.lives)-1)
	if len(worker.lives) < 3 || len(router.lives) < 2 {
		t.Error("hardly anything was killed")
	}
	w.wantAllAccountedFor(people)
	w.wantEndings(people, now)
	for _, s := range services {
		for _, life := range s.lives {
			w.wantTrail(life)
			w.wantNoPassIn(life.name+"'s output", []byte(life.said()))
		}
	}
	w.wantNoPassAtRest()
}

// source is the configuration of one that signs with hrKey.
func source(name, types string) string {
	return fmt.Sprintf(`{"name":%q,"format":"cloudevents","types":[%q],"verify":{"preset":"standard-webhooks"}}`, name, types)
}

// nextWeekIn is the lead time with which the pass for a start in seven days is due
// after d.
func (w *world) nextWeekIn(d time.Duration) time.Duration {
	w.t.Helper()
	return time.Until(w.opens(7)) - d
}

// opens is when a pass for a start in so many days opens.
func (w *world) opens(days int) time.Time {
	w.t.Helper()
	zone, err := time.LoadLocation(w.zone)
	w.must(err)
	day, err := time.ParseInLocation(time.DateOnly, w.today, zone)
	w.must(err)
	return day.AddDate(0, 0, days).Add(7*time.Hour + 30*time.Minute)
}

// shiftedClock is the machine's clock, set forward.
type shiftedClock struct {
	clock.Clock
	offset atomic.Int64
}

// Now implements clock.Clock.
func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.offset.Load())) }

func (c *shiftedClock) setTo(t time.Time) { c.offset.Store(int64(time.Until(t))) }

// counter counts calls by name and says when so many have been. As a slog.Handler it
// counts what the tenant answers, by app.
type counter struct {
	mu    sync.Mutex
	calls map[string]int
	due   map[string]appointment
}

type appointment struct {
	at int
	ch chan struct{}
}

func newCounter() *counter { return &counter{calls: map[string]int{}, due: map[string]appointment{}} }

func (c *counter) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[name]++
	if a, ok := c.due[name]; ok && c.calls[name] >= a.at {
		close(a.ch)
		delete(c.due, name)
	}
}

// after is closed once name was called n times more.
func (c *counter) after(name string, n int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := appointment{at: c.calls[name] + n, ch: make(chan struct{})}
	c.due[name] = a
	return a.ch
}

// Enabled implements slog.Handler.
func (*counter) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (c *counter) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "app" {
			c.count(a.Value.String())
		}
		return a.Key != "app"
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (c *counter) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c *counter) WithGroup(string) slog.Handler { return c }

// service is a function that is killed now and then, and started again.
type service struct {
	w           *world
	name        string
	settings    []string
	least, most int // calls from one start to the next kill

	now   *process
	lives []*process
	due   <-chan struct{}
	// address is where it listens, if it does.
	address atomic.Pointer[string]
}

func (w *world) service(name string, least, most int, settings ...string) *service {
	w.t.Helper()
	s := &service{w: w, name: name, least: least, most: most, settings: settings}
	s.start()
	w.t.Cleanup(func() {
		s.now.stop()
		if w.t.Failed() {
			w.t.Logf("%s said at last:\n%s", name, tail(s.now.said(), 50))
		}
	})
	return s
}

func (s *service) start() {
	s.w.t.Helper()
	s.now = s.w.launch(s.name, s.settings...)
	s.lives = append(s.lives, s.now)
	if m := regexp.MustCompile(`"addr":"([^"]+)"`).FindStringSubmatch(s.now.said()); m != nil {
		s.address.Store(&m[1])
	}
}

// arm says when the next kill is due.
func (s *service) arm(calls *counter, r *rand.Rand) {
	s.due = calls.after(s.name, s.least+r.IntN(s.most-s.least))
}

// kill ends the process as a crash does, a moment from now, and starts another.
func (s *service) kill(calls *counter, r *rand.Rand) {
	s.w.t.Helper()
	time.Sleep(time.Duration(r.IntN(10_000)) * time.Microsecond) // away from the call, into what follows it
	s.now.signal(syscall.SIGKILL)
	_ = s.now.cmd.Wait() // says that it was killed
	s.start()
	s.arm(calls, r)
}

func tail(text string, lines int) string {
	b := []byte(text)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' {
			if lines--; lines < 0 {
				return text[i+1:]
			}
		}
	}
	return text
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// rest reports whether nothing in a queue is under way: not even a wake-up is near.
func (w *world) rest(name string) bool {
	if w.counts(name).Active > 0 {
		return false
	}
	soon := time.Now().Add(time.Hour)
	for _, m := range w.broker.Stored(name) {
		if m.State == sbsim.StateScheduled && m.ScheduledAt.Before(soon) {
			return false
		}
	}
	return true
}

// postAll posts what is said about everybody: about one person in order, about
// several side by side.
func (w *world) postAll(people []*person, to *service, calls *counter) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	next := make(chan *person)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for p := range next {
				for _, s := range p.says {
					err := postUntilTaken(client, to, s, p)
					if err == nil && s.twice {
						err = postUntilTaken(client, to, s, p)
					}
					if err != nil {
						w.t.Errorf("%s: %v", s.key(), err)
					}
					calls.count(to.name)
				}
			}
		})
	}
	for _, p := range people {
		next <- p
	}
	close(next)
	senders.Wait()
}

// postUntilTaken posts as a source does that comes again until it is told 202.
func postUntilTaken(client *http.Client, to *service, s statement, p *person) error {
	body, err := s.body(p)
	if err != nil {
		return err
	}
	signer, err := standardwebhooks.NewWebhook(hrKey)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, answer, err := postOnce(client, "http://"+*to.address.Load()+"/hr/"+s.origin, signer, s.id, body)
		switch {
		case status == http.StatusAccepted:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("status %d, %w", status, err)
		case err == nil && status != http.StatusServiceUnavailable:
			return fmt.Errorf("status %d: %s", status, answer)
		}
	}
}

func postOnce(client *http.Client, url string, signer *standardwebhooks.Webhook, id string, body []byte) (status int, answer string, err error) {
	now := time.Now()
	signature, err := signer.Sign(id, now, body)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	req.Header.Set("webhook-signature", signature)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// provisionAll gives their accounts to those who come late.
func (w *world) provisionAll(people []*person) {
	w.t.Helper()
	for _, p := range people {
		if p.late {
			_, err := w.tenant.Provision(p.employeeID)
			w.must(err)
		}
	}
}

// replaySome puts one event in seven into its lane again, as an operator's replay
// does: the same key under another message id.
func (w *world) replaySome(people []*person, r *rand.Rand) {
	w.t.Helper()
	client, err := servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.broker.ConnectionString())})
	w.must(err)
	defer client.Close()
	for _, p := range people {
		for _, s := range p.says {
			if p.want.dead != "" || r.IntN(7) > 0 {
				continue
			}
			data, err := json.Marshal(s.data)
			w.must(err)
			e := event.Event{
				ID: s.id, Source: "https://" + s.origin + ".contoso.example", Type: s.typ, Subject: p.employeeID, Time: s.at, Data: data,
				ReceivedAt: time.Now(), Origin: s.origin, Key: s.key(), UserID: identity.UserID(p.id),
			}
			body, err := e.Encode()
			w.must(err)
			w.must(client.Send(w.t.Context(), "lanes", queue.Message{
				ID: e.Key + "~rlanes.1", SessionID: p.id, Key: e.Key, ContentType: event.ContentType, Body: body,
				Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
			}))
		}
	}
}
