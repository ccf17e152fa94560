package graph

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Message is a mail in a mailbox.
type Message struct {
	ID          string    `json:"id"`
	Folder      Folder    `json:"folder"`
	From        string    `json:"from"`
	To          []string  `json:"to"`
	Cc          []string  `json:"cc,omitempty"`
	Bcc         []string  `json:"bcc,omitempty"`
	Subject     string    `json:"subject"`
	ContentType string    `json:"contentType"` // text or html
	Body        string    `json:"body"`
	Received    time.Time `json:"received"`
	// NonDelivery marks a report that a message of the mailbox's owner did not arrive.
	NonDelivery bool `json:"nonDelivery,omitempty"`
}

// Folder is where a message lies.
type Folder string

// The two folders that sending mail touches.
const (
	Inbox     Folder = "inbox"
	SentItems Folder = "sentitems"
)

type recipient struct {
	EmailAddress struct {
		Address string `json:"address"`
		Name    string `json:"name"`
	} `json:"emailAddress"`
}

func errMail(status int, code, message string) *apiError {
	return &apiError{status: status, code: code, message: message}
}

// sendMail accepts a message with 202 and delivers it at once. A recipient that does not
// exist is not an error of the call: the sender gets a non-delivery report.
func (s *Server) sendMail(r *request) (response, error) {
	sender := s.dir.user(r.params["user"])
	if sender == nil {
		return response{}, errMail(http.StatusNotFound, "ErrorInvalidUser", "The requested user '"+r.params["user"]+"' is invalid.")
	}
	if !s.dir.hasMailbox(sender) {
		return response{}, errMail(http.StatusNotFound, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
	}
	var body struct {
		Message *struct {
			Subject string `json:"subject"`
			Body    struct {
				ContentType string `json:"contentType"`
				Content     string `json:"content"`
			} `json:"body"`
			To  []recipient `json:"toRecipients"`
			Cc  []recipient `json:"ccRecipients"`
			Bcc []recipient `json:"bccRecipients"`
		} `json:"message"`
		SaveToSentItems *bool `json:"saveToSentItems"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if body.Message == nil {
		return response{}, errMail(http.StatusBadRequest, "ErrorInvalidRequest", "The message parameter is required.")
	}
	m := Message{
		ID: s.newID(), Folder: Inbox, From: sender.Mail, Subject: body.Message.Subject,
		To: addresses(body.Message.To), Cc: addresses(body.Message.Cc), Bcc: addresses(body.Message.Bcc),
		ContentType: strings.ToLower(body.Message.Body.ContentType), Body: body.Message.Body.Content, Received: r.now,
	}
	if m.ContentType == "" {
		m.ContentType = "text"
	}
	if m.ContentType != "text" && m.ContentType != "html" {
		return response{}, errBadRequest("Requested value '%s' was not found.", body.Message.Body.ContentType)
	}
	all := slices.Concat(m.To, m.Cc, m.Bcc)
	if len(all) == 0 {
		return response{}, errMail(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient is not valid., A message can't be sent because it contains no recipients.")
	}
	for _, a := range all {
		if !strings.Contains(a, "@") {
			return response{}, errMail(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient is not valid., Recipient '"+a+"' is not resolved. All recipients must be resolved before a message can be submitted.")
		}
	}
	if body.SaveToSentItems == nil || *body.SaveToSentItems {
		sent := m
		sent.Folder = SentItems
		s.dir.deliver(sender.Mail, sent)
	}
	m.Bcc = nil // recipients do not see each other's blind copies
	for _, a := range all {
		mailbox, found := s.dir.mailboxOf(a)
		if !found {
			s.dir.deliver(sender.Mail, Message{
				ID: s.newID(), Folder: Inbox, From: "postmaster@" + s.dir.Domains[0], To: []string{sender.Mail}, Received: r.now,
				Subject: "Undeliverable: " + m.Subject, ContentType: "text", NonDelivery: true,
				Body: "Your message to " + a + " couldn't be delivered: the address was not found.",
			})
			continue
		}
		s.dir.deliver(mailbox, m)
	}
	return response{status: http.StatusAccepted}, nil
}

func addresses(list []recipient) []string {
	var out []string
	for _, r := range list {
		out = append(out, strings.TrimSpace(r.EmailAddress.Address))
	}
	return out
}

// hasMailbox reports whether mail to the user's address arrives in this tenant.
func (d *directory) hasMailbox(u *User) bool {
	return u.Mail != "" && !u.NoMailbox && !u.external()
}

// mailboxOf is the mailbox that serves an address: a user's in the tenant's domains, the
// address itself in a domain outside that accepts mail.
func (d *directory) mailboxOf(address string) (string, bool) {
	_, domain, _ := strings.Cut(address, "@")
	if containsFold(d.ExternalMail, domain) {
		return address, true
	}
	if u := d.byAddress[strings.ToLower(address)]; u != nil && d.hasMailbox(u) {
		return u.Mail, true
	}
	return "", false
}

func (d *directory) deliver(mailbox string, m Message) {
	key := strings.ToLower(mailbox)
	d.mailboxes[key] = append(d.mailboxes[key], m)
}
