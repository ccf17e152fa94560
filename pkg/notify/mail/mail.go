// Package mail tells flags in a mailbox, as plain text: mail programs turn addresses
// in it into links, and nothing else.
package mail

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
)

// Mailer sends mail. *graph.Client implements it; its errors are those of the
// directory in pkg/identity.
type Mailer interface {
	SendMail(ctx context.Context, m identity.Mail) error
}

// Channel sends mail from one mailbox to one address, such as a shared mailbox or a
// distribution list.
type Channel struct {
	Mailer   Mailer
	From, To string
}

// Name implements notify.Channel.
func (Channel) Name() string { return "mail" }

// Tell implements notify.Channel. What the directory refuses for lack of a
// permission or a mailbox is refused for good: only an administrator can cure it.
func (c Channel) Tell(ctx context.Context, n notify.Notice) error {
	err := c.Mailer.SendMail(ctx, Render(n, c.From, c.To))
	var retry *identity.RetryError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &retry):
		return &notify.RetryError{After: retry.After, Err: err}
	case errors.Is(err, identity.ErrRefused), errors.Is(err, identity.ErrForbidden), errors.Is(err, identity.ErrNotFound):
		return fmt.Errorf("%w: %w", notify.ErrRefused, err)
	default:
		return err
	}
}

// Render is the mail for a notice.
func Render(n notify.Notice, from, to string) identity.Mail {
	var b strings.Builder
	b.WriteString(n.Title + "\n\n" + n.NextStep + "\n\n")
	for _, f := range n.Facts() {
		fmt.Fprintf(&b, "%-12s%s\n", f.Label+":", f.Value)
	}
	if n.Link != "" {
		fmt.Fprintf(&b, "%-12s%s\n", "Open:", n.Link)
	}
	return identity.Mail{From: from, To: to, Subject: "mfaflow: " + n.Title, Text: identity.NewSecret(b.String())}
}
