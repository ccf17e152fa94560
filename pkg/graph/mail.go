package graph

import (
	"context"
	"net/mail"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mfaflow/pkg/identity"
)

// SendMail hands a message to Exchange, which has accepted it when SendMail returns
// and may still fail to deliver. No copy is kept in the sender's mailbox, because
// the text may carry a pass.
func (c *Client) SendMail(ctx context.Context, m identity.Mail) error {
	if !isAddress(m.From) {
		return sendMail.refuse("sender is not an address")
	}
	if !isAddress(m.To) {
		return sendMail.refuse("recipient is not an address")
	}
	contentType := models.TEXT_BODYTYPE
	content := m.Text.Reveal()
	body := models.NewItemBody()
	body.SetContentType(&contentType)
	body.SetContent(&content)

	to := models.NewEmailAddress()
	to.SetAddress(&m.To)
	recipient := models.NewRecipient()
	recipient.SetEmailAddress(to)

	message := models.NewMessage()
	message.SetSubject(&m.Subject)
	message.SetBody(body)
	message.SetToRecipients([]models.Recipientable{recipient})

	keep := false
	request := users.NewItemSendMailPostRequestBody()
	request.SetMessage(message)
	request.SetSaveToSentItems(&keep)
	_, err := call(ctx, c, sendMail, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.users().ByUserId(m.From).SendMail().Post(ctx, request, nil)
	})
	return err
}

// isAddress reports whether s is a bare address, without a name beside it.
func isAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}
