package flow_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/mail"
	"mfaflow/pkg/notify/slack"
	"mfaflow/pkg/notify/teams"
	"mfaflow/pkg/notify/webhook"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/telemetry"
)

const (
	daniela = "daniela.rossi@contoso.example" // the service desk
	kofi    = "10000000-0000-4000-8000-000000000008"
	// token is the secret part of the channels' addresses.
	token = "T0-B0-canary"
)

// desk is what stands behind the addresses of the channels.
type desk struct {
	mu     sync.Mutex
	status map[string]int // by channel; 0 is 200
	got    map[string][]string
	header http.Header // of the last signed webhook
}

func (d *desk) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	channel := strings.Split(r.URL.Path, "/")[1]
	body, _ := io.ReadAll(r.Body)
	if status := d.status[channel]; status != 0 {
		rw.WriteHeader(status)
		return
	}
	d.got[channel] = append(d.got[channel], string(body))
	if channel == "webhook" {
		d.header = r.Header
	}
}

func (d *desk) answers(channel string, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status[channel] = status
}

// notified lets a notifier with all four channels take part in the world.
func (w *world) notified() (*notify.Notifier, *desk) {
	w.t.Helper()
	d := &desk{status: map[string]int{}, got: map[string][]string{}}
	server := httptest.NewServer(d)
	address := func(channel string) identity.Secret {
		return identity.NewSecret(server.URL + "/" + channel + "/" + token)
	}
	toTeams, err := teams.New(address("teams"), w.clock.Now)
	w.must(err)
	toSlack, err := slack.New(address("slack"), w.clock.Now)
	w.must(err)
	toWebhook, err := webhook.New(address("webhook"), identity.NewSecret(hrKey), w.clock.Now)
	w.must(err)
	mailer := w.directory("flag-notifier")
	w.t.Cleanup(func() {
		for _, c := range []interface{ Close() }{toTeams, toSlack, toWebhook, mailer, server} {
			c.Close()
		}
	})
	return &notify.Notifier{
		Queue: "flags", Sender: w.client, LockDuration: time.Minute, Now: w.clock.Now,
		Log:      telemetry.NewLogger(w.log, "flag-notifier", slog.LevelDebug),
		Channels: []notify.Channel{toTeams, toSlack, toWebhook, mail.Channel{Mailer: mailer, From: sender, To: daniela}},
	}, d
}

// tell lets the notifier run until nothing is to be received now.
func (w *world) tell(n *notify.Notifier) {
	w.t.Helper()
	r, err := w.client.Receiver("flags")
	w.must(err)
	defer r.Close()
	for range 100 {
		if w.counts("flags").Active == 0 {
			return
		}
		m, err := r.Receive(w.t.Context(), 5*time.Second)
		w.must(err)
		w.must(n.Handle(w.t.Context(), r, m))
	}
	w.t.Fatal("the flags queue never comes to rest")
}

// A joiner is held: one message on every channel, and the flag stays open.
func TestHeldJoinerIsToldOnEveryChannel(t *testing.T) {
	w := newWorld(t)
	n, desk := w.notified()
	w.clock.Set(leadUp)
	desk.answers("slack", 503)
	w.post(w.joiner("m1", "E1008", start), 202)
	w.work()
	w.tell(n)
	for range 30 {
		w.clock.Advance(time.Minute)
		w.tell(n)
	}
	told := func(want int) {
		t.Helper()
		desk.mu.Lock()
		defer desk.mu.Unlock()
		if len(desk.got["teams"]) != 1 || len(desk.got["webhook"]) != 1 || len(w.tenant.Mailbox(daniela)) != 1 || len(desk.got["slack"]) != want {
			t.Errorf("teams %d, webhook %d, mail %d, slack %d of %d", len(desk.got["teams"]), len(desk.got["webhook"]),
				len(w.tenant.Mailbox(daniela)), len(desk.got["slack"]), want)
		}
	}
	told(0)
	desk.answers("slack", 0)
	for range 120 {
		w.clock.Advance(time.Minute)
		w.tell(n)
	}
	told(1)
	w.idle(map[string]sbsim.Counts{"lanes": {Deferred: 1}, "flags": {Deferred: 1}})

	for _, text := range []string{desk.got["teams"][0], desk.got["slack"][0], desk.got["webhook"][0], w.tenant.Mailbox(daniela)[0].Body} {
		if !strings.Contains(text, kofi) || !strings.Contains(text, "already-registered") || !strings.Contains(text, "release or drop the hold") {
			t.Errorf("told: %s", text)
		}
		if strings.Contains(text, "Kofi") || strings.Contains(text, "kofi") {
			t.Errorf("a name is told: %s", text)
		}
	}
	verifier, err := standardwebhooks.NewWebhook(hrKey)
	w.must(err)
	if err := verifier.VerifyIgnoringTimestamp([]byte(desk.got["webhook"][0]), desk.header); err != nil {
		t.Error(err)
	}
	if strings.Contains(w.log.String(), token) || !strings.Contains(w.log.String(), "answered 503") {
		t.Error("the address of a channel is in the log, or nothing is")
	}
	w.secretFree()
}
