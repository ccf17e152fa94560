package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
)

// Notice is what people are told about a flag: no names, no addresses, nothing but
// what they need to find the person and to take the next step. Texts are single
// lines of bounded length without control characters; they may still hold another
// party's words, so a channel shows them as text and never as markup.
type Notice struct {
	// ID is the same however often the flag is told. It has no dot.
	ID string
	// Number is the flag's in the flags queue: operators name it by this.
	Number   int64
	Cause    flag.Cause
	Title    string
	NextStep string
	User     identity.UserID
	// Lane is where the event is when nobody knows who it is about.
	Lane     string
	Reason   string
	Detail   string
	Key      string
	Type     string
	Source   string
	RaisedAt time.Time
	// UnlocksAt is zero when nobody knows.
	UnlocksAt time.Time
	// Command shows the flag to an operator.
	Command string
	// Link shows the flag in a console; empty when there is none.
	Link string
}

// How many characters of a text are shown.
const (
	maxShort  = 150
	maxDetail = 500
)

// NewNotice is what people are told about a flag that came as m. In link, "{flag}"
// stands for its number.
func NewNotice(m queue.Received, f flag.Flag, link string) Notice {
	id := sha256.Sum256(fmt.Appendf(nil, "%s %d", m.ID, m.Sequence))
	number := strconv.FormatInt(m.Sequence, 10)
	n := Notice{
		ID: "flag_" + hex.EncodeToString(id[:16]), Number: m.Sequence,
		Cause: f.Cause, Title: f.Cause.Title(), NextStep: f.Cause.NextStep(),
		User: identity.UserID(line(string(f.User), maxShort)), Reason: line(f.Reason, maxShort), Detail: line(f.Detail, maxDetail),
		Key: line(f.Key, maxShort), Type: line(f.Type, maxShort), Source: line(f.Source, maxShort),
		RaisedAt: f.At.UTC(), UnlocksAt: f.UnlocksAt.UTC(),
		Command: "mfaflow flag show " + number, Link: strings.ReplaceAll(link, "{flag}", number),
	}
	if f.UnlocksAt.IsZero() {
		n.UnlocksAt = time.Time{}
	}
	if f.User == "" {
		n.Lane = line(f.Lane, maxShort)
	}
	return n
}

// Fact is a line of a notice for people.
type Fact struct{ Label, Value string }

// Facts are what the notice says beside its title and next step, in order.
func (n Notice) Facts() []Fact {
	all := []Fact{
		{"User", string(n.User)},
		{"Lane", n.Lane},
		{"Unlocks", moment(n.UnlocksAt)},
		{"Reason", n.Reason},
		{"Detail", n.Detail},
		{"Event", strings.TrimSpace(n.Type + " " + n.Key)},
		{"From", n.Source},
		{"Raised", moment(n.RaisedAt)},
		{"Look at it", n.Command},
	}
	facts := all[:0]
	for _, f := range all {
		if f.Value != "" {
			facts = append(facts, f)
		}
	}
	return facts
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006 15:04 UTC")
}

// line makes one line of a text: whatever could break it, hide it or turn it around
// becomes a space.
func line(text string, most int) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		// Cf holds the marks that turn the direction of a text, and those without width.
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-3]) + "..."
	}
	return text
}
