package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/mail"
	"mfaflow/pkg/notify/slack"
	"mfaflow/pkg/notify/teams"
	"mfaflow/pkg/notify/webhook"
	"mfaflow/pkg/queue"
)

const signingKey = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// Each channel posts what it renders; a refusal and a failure pass through.
func TestChannelsPost(t *testing.T) {
	n := notify.NewNotice(queue.Received{Message: queue.Message{ID: "flag~hr.eu~1"}, Sequence: 17}, example(), link)
	var status int
	var got []byte
	var header http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		header = r.Header
		w.WriteHeader(status)
	}))
	defer s.Close()
	address := identity.NewSecret(s.URL + "/services/token")
	toTeams, err := teams.New(address, time.Now)
	must(t, err)
	defer toTeams.Close()
	toSlack, err := slack.New(address, time.Now)
	must(t, err)
	defer toSlack.Close()
	toWebhook, err := webhook.New(address, identity.NewSecret(signingKey), time.Now)
	must(t, err)
	defer toWebhook.Close()
	verifier, err := standardwebhooks.NewWebhook(signingKey)
	must(t, err)

	for _, c := range []struct {
		channel notify.Channel
		name    string
		render  func(notify.Notice) ([]byte, error)
	}{{toTeams, "teams", teams.Render}, {toSlack, "slack", slack.Render}, {toWebhook, "webhook", webhook.Render}} {
		t.Run(c.name, func(t *testing.T) {
			if c.channel.Name() != c.name {
				t.Errorf("it is called %s", c.channel.Name())
			}
			want, err := c.render(n)
			must(t, err)
			status = http.StatusAccepted
			must(t, c.channel.Tell(correlation.With(t.Context(), "c-1"), n))
			if string(got) != string(want) {
				t.Errorf("posted %s", got)
			}
			if c.name == "webhook" {
				if err := verifier.Verify(got, header); err != nil || header.Get("Webhook-Id") != n.ID || header.Get("X-Correlation-Id") != "c-1" {
					t.Errorf("%v, header %v", err, header)
				}
			}
			status = http.StatusNotFound
			if err := c.channel.Tell(t.Context(), n); !errors.Is(err, notify.ErrRefused) {
				t.Errorf("got %v", err)
			}
			status = http.StatusTooManyRequests
			var retry *notify.RetryError
			if err := c.channel.Tell(t.Context(), n); !errors.As(err, &retry) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadSettingsOfChannels(t *testing.T) {
	secret := identity.NewSecret("hooks.slack.com/secret")
	_, err1 := teams.New(secret, time.Now)
	_, err2 := slack.New(secret, time.Now)
	_, err3 := webhook.New(secret, identity.NewSecret(signingKey), time.Now)
	_, err4 := webhook.New(identity.NewSecret("https://x.example/secret"), identity.NewSecret("secret"), time.Now)
	for i, err := range []error{err1, err2, err3, err4} {
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

type mailer func(identity.Mail) error

func (m mailer) SendMail(_ context.Context, mail identity.Mail) error { return m(mail) }

func TestMail(t *testing.T) {
	n := notify.NewNotice(queue.Received{Sequence: 17}, example(), "")
	for name, c := range map[string]struct {
		answer  error
		refused bool
		after   time.Duration
	}{
		"accepted":      {},
		"throttled":     {answer: &identity.RetryError{After: time.Minute, Err: errors.New("429")}, after: time.Minute},
		"no permission": {answer: fmt.Errorf("x: %w", identity.ErrForbidden), refused: true},
		"no mailbox":    {answer: fmt.Errorf("x: %w", identity.ErrNotFound), refused: true},
		"refused":       {answer: fmt.Errorf("x: %w", identity.ErrRefused), refused: true},
		"anything else": {answer: errors.New("x")},
	} {
		t.Run(name, func(t *testing.T) {
			var got identity.Mail
			channel := mail.Channel{Mailer: mailer(func(m identity.Mail) error { got = m; return c.answer }), From: "a@contoso.example", To: "b@contoso.example"}
			err := channel.Tell(t.Context(), n)
			var retry *notify.RetryError
			errors.As(err, &retry)
			if (err == nil) != (c.answer == nil) || errors.Is(err, notify.ErrRefused) != c.refused || (c.after > 0) != (retry != nil) ||
				retry != nil && retry.After != c.after || !errors.Is(err, c.answer) {
				t.Errorf("got %v", err)
			}
			if got.From != channel.From || got.To != channel.To || got.Subject != "mfaflow: Locked after wrong passwords" ||
				!strings.Contains(got.Text.Reveal(), "mfaflow flag show 17") {
				t.Errorf("mail %+v", got)
			}
		})
	}
}
