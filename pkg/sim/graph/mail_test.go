package graph_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/graph"
)

func mailTo(to ...string) map[string]any {
	var list []any
	for _, a := range to {
		list = append(list, map[string]any{"emailAddress": map[string]any{"address": a}})
	}
	return map[string]any{
		"message":         map[string]any{"subject": "Welcome", "body": map[string]any{"contentType": "Text", "content": "a pass"}, "toRecipients": list},
		"saveToSentItems": false,
	}
}

func TestSendMail(t *testing.T) {
	s := start(t)
	path := "/v1.0/users/" + sender + "/sendMail"
	a := s.worker("POST", path, mailTo("AMARA.diallo@contoso.example", "lena.hofmann@personal.example")).want(t, 202, "")
	if a.text != "" {
		t.Errorf("body %q", a.text)
	}
	for _, address := range []string{"amara.diallo@contoso.example", "lena.hofmann@personal.example"} {
		got := s.Mailbox(address)
		if len(got) != 1 {
			t.Fatalf("%s holds %d messages, want 1", address, len(got))
		}
		want := graph.Message{ID: got[0].ID, Folder: graph.Inbox, From: sender, To: []string{"AMARA.diallo@contoso.example", "lena.hofmann@personal.example"},
			Subject: "Welcome", ContentType: "text", Body: "a pass", Received: t0}
		if diff := cmp.Diff(want, got[0]); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
	}
	if got := s.Mailbox(sender); len(got) != 0 {
		t.Errorf("the sender's mailbox holds %v", got)
	}
}

func TestSentItems(t *testing.T) {
	s := start(t)
	body := mailTo("amara.diallo@contoso.example")
	delete(body, "saveToSentItems")
	s.worker("POST", "/v1.0/users/"+sender+"/sendMail", body).want(t, 202, "")
	if got := s.Mailbox(sender); len(got) != 1 || got[0].Folder != graph.SentItems {
		t.Errorf("the sender's mailbox holds %v, want one sent item", got)
	}
}

func TestUndeliverable(t *testing.T) {
	for name, to := range map[string]string{
		"manager without mailbox": "piet.vandam@contoso.example", "unknown address": "nobody@contoso.example", "domain that takes no mail": "someone@nowhere.example",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.worker("POST", "/v1.0/users/"+sender+"/sendMail", mailTo(to, "amara.diallo@contoso.example")).want(t, 202, "")
			if got := s.Mailbox(sender); len(got) != 1 || !got[0].NonDelivery {
				t.Errorf("the sender's mailbox holds %v, want one report", got)
			}
			if got := s.Mailbox("amara.diallo@contoso.example"); len(got) != 1 {
				t.Error("the other recipient got nothing")
			}
			if got := s.Mailbox(to); len(got) != 0 {
				t.Errorf("%s got mail", to)
			}
		})
	}
}

func TestSendMailRefusals(t *testing.T) {
	s := start(t)
	for name, tc := range map[string]struct {
		app, from string
		body      any
		status    int
		code      string
	}{
		"unknown sender":         {"identity-worker", "nobody@contoso.example", mailTo("amara.diallo@contoso.example"), 404, "ErrorInvalidUser"},
		"sender without mailbox": {"identity-worker", "piet.vandam@contoso.example", mailTo("amara.diallo@contoso.example"), 404, "MailboxNotEnabledForRESTAPI"},
		"no recipient":           {"identity-worker", sender, mailTo(), 400, "ErrorInvalidRecipients"},
		"not an address":         {"identity-worker", sender, mailTo("amara"), 400, "ErrorInvalidRecipients"},
		"no message":             {"identity-worker", sender, `{}`, 400, "ErrorInvalidRequest"},
		"no permission":          {"identity-router", sender, mailTo("amara.diallo@contoso.example"), 403, "ErrorAccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			s.as(tc.app, "POST", "/v1.0/users/"+tc.from+"/sendMail", tc.body).want(t, tc.status, tc.code)
		})
	}
	if got := s.Mailboxes(); len(got) != 0 {
		t.Errorf("mail arrived at %v", got)
	}
}
