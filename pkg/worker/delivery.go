package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
)

// Recipient is who gets a pass: always read from the directory or configured,
// never taken from an event.
type Recipient struct {
	// Address is a mail address; empty for channels that need none.
	Address string
	// Person is the account the pass is for.
	Person identity.Account
	// Zone is where the person works; times are told in it.
	Zone *time.Location
}

// Channel delivers passes. Deliver's errors are told apart as the directory's are.
type Channel interface {
	// Name is how the ledger and the audit trail call the channel.
	Name() string
	// Recipient finds who would get the pass of the person; ok is false when the
	// channel has nobody.
	Recipient(ctx context.Context, person identity.Account, memory *ledger.Ledger, now time.Time) (to Recipient, ok bool, err error)
	// Deliver hands the pass over, at least once.
	Deliver(ctx context.Context, to Recipient, pass identity.IssuedPass) error
}

// Observer is a Channel that wants to see the person as early as possible: it is
// asked when an event is set aside until it is due.
type Observer interface {
	Observe(person identity.Account, memory *ledger.Ledger, now time.Time)
}

// observe shows the person to the channels that want it. Failing to read the
// account costs nothing but the observation.
func (r *run) observe(ctx context.Context) error {
	var observers []Observer
	for _, c := range r.Channels {
		if o, ok := c.(Observer); ok {
			observers = append(observers, o)
		}
	}
	if len(observers) == 0 {
		return nil
	}
	guarded, cancel, err := r.turn.Guard(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	account, err := r.Directory.Account(guarded, r.user)
	if err != nil {
		return ctx.Err()
	}
	for _, o := range observers {
		o.Observe(account, r.turn.Ledger, r.turn.Now)
	}
	return nil
}

type recipient struct {
	Recipient
	Channel Channel
}

// recipient asks the channels in order. A verdict is returned when none has
// anybody, or when the directory did not answer.
func (r *run) recipient(ctx context.Context, zone *time.Location) (recipient, *lane.Verdict, error) {
	guarded, cancel, err := r.turn.Guard(ctx)
	if err != nil {
		return recipient{}, nil, err
	}
	defer cancel()
	for _, c := range r.Channels {
		to, ok, err := c.Recipient(guarded, *r.tenant.Account, r.turn.Ledger, r.turn.Now)
		if err != nil {
			verdict, err := lane.Failed(ctx, err)
			return recipient{}, &verdict, err
		}
		if ok {
			to.Zone = zone
			return recipient{Recipient: to, Channel: c}, nil, nil
		}
	}
	verdict := lane.Hold(lane.NoRecipient, "nobody can be given the pass: set a manager with a mailbox, then release the hold")
	return recipient{}, &verdict, nil
}

// Mailer sends mail.
type Mailer interface {
	SendMail(context.Context, identity.Mail) error
}

// ManagerMail delivers by mail to the manager read from the directory.
type ManagerMail struct {
	Directory Directory
	Mailer    Mailer
	// Sender is the mailbox that sends.
	Sender string
}

// Name implements Channel.
func (ManagerMail) Name() string { return "manager" }

// Recipient implements Channel: a manager who is enabled and has a mailbox of this
// tenant.
func (m ManagerMail) Recipient(ctx context.Context, person identity.Account, _ *ledger.Ledger, _ time.Time) (Recipient, bool, error) {
	manager, err := m.Directory.Manager(ctx, person.ID)
	if errors.Is(err, identity.ErrNotFound) {
		return Recipient{}, false, nil
	} else if err != nil {
		return Recipient{}, false, err
	}
	ok := manager.Enabled && manager.Mail != "" && manager.ID != person.ID && !manager.Guest && !manager.External
	return Recipient{Address: manager.Mail, Person: person}, ok, nil
}

// Deliver implements Channel.
func (m ManagerMail) Deliver(ctx context.Context, to Recipient, pass identity.IssuedPass) error {
	return m.Mailer.SendMail(ctx, identity.Mail{
		From: m.Sender, To: to.Address,
		Subject: "Temporary Access Pass for " + headerSafe(to.Person.DisplayName),
		Text:    passText("Please hand this Temporary Access Pass to "+headerSafe(to.Person.DisplayName)+", in person or by phone.", to, pass),
	})
}

// PersonalMail delivers to the alternate address in the directory, once it has
// been the same for a while: whoever changes it last minute does not get a pass.
type PersonalMail struct {
	Mailer Mailer
	Sender string
	// Unchanged is how long the address must have been the same as far as the
	// lane has seen.
	Unchanged time.Duration
}

// Name implements Channel.
func (PersonalMail) Name() string { return "personal-mail" }

// Observe implements Observer: the directory does not tell since when an address
// is set, so the lane remembers its digest and when it saw it first.
func (PersonalMail) Observe(person identity.Account, memory *ledger.Ledger, now time.Time) {
	if len(person.OtherMails) == 0 {
		memory.PersonalMail = nil
		return
	}
	sum := sha256.Sum256([]byte(strings.ToLower(person.OtherMails[0])))
	digest := hex.EncodeToString(sum[:16])
	if memory.PersonalMail == nil || memory.PersonalMail.Digest != digest {
		memory.PersonalMail = &ledger.PersonalMail{Digest: digest, Since: now}
	}
}

// Recipient implements Channel.
func (p PersonalMail) Recipient(_ context.Context, person identity.Account, memory *ledger.Ledger, now time.Time) (Recipient, bool, error) {
	p.Observe(person, memory, now)
	if memory.PersonalMail == nil || now.Sub(memory.PersonalMail.Since) < p.Unchanged {
		return Recipient{}, false, nil
	}
	return Recipient{Address: person.OtherMails[0], Person: person}, true, nil
}

// Deliver implements Channel.
func (p PersonalMail) Deliver(ctx context.Context, to Recipient, pass identity.IssuedPass) error {
	return p.Mailer.SendMail(ctx, identity.Mail{
		From: p.Sender, To: to.Address, Subject: "Your Temporary Access Pass",
		Text: passText("This Temporary Access Pass lets you sign in on your first day.", to, pass),
	})
}

// passText is the body of a mail that carries a pass.
func passText(lead string, to Recipient, pass identity.IssuedPass) identity.Secret {
	uses := "It can be used until it ends."
	if pass.OneTime {
		uses = "It can be used once."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", lead)
	fmt.Fprintf(&b, "Sign-in name: %s\n", to.Person.UserPrincipalName)
	fmt.Fprintf(&b, "Pass:         %s\n", pass.Value.Reveal())
	fmt.Fprintf(&b, "Opens:        %s\n", local(pass.StartsAt, to.Zone))
	fmt.Fprintf(&b, "Ends:         %s\n\n", local(pass.EndsAt(), to.Zone))
	fmt.Fprintf(&b, "%s Sign in at https://aka.ms/mysecurityinfo and register an authentication method. Do not forward this message.\n", uses)
	return identity.NewSecret(b.String())
}

func local(t time.Time, zone *time.Location) string {
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("Monday, 2 January 2006, 15:04 MST")
}

// headerSafe keeps a display name from breaking out of its line, or from showing
// itself in another order than it is written in.
func headerSafe(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}
