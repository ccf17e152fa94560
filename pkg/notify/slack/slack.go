// Package slack tells flags in a Slack channel, through an incoming webhook.
//
// # Why plain_text
//
// In a plain_text object nothing is bold, a link or a mention. The characters &, <
// and > are control characters in every text object, so they are escaped
// (docs.slack.dev/messaging/formatting-message-text). The top-level text, which
// notifications on phones show, is mrkdwn: it holds words of ours only.
package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/post"
)

// Channel posts messages.
type Channel struct{ client *post.Client }

// New takes the address of the webhook, which holds its token.
func New(address identity.Secret, now func() time.Time) (*Channel, error) {
	client, err := post.New(address, now)
	if err != nil {
		return nil, fmt.Errorf("slack: %w", err)
	}
	return &Channel{client}, nil
}

// Name implements notify.Channel.
func (*Channel) Name() string { return "slack" }

// Tell implements notify.Channel.
func (c *Channel) Tell(ctx context.Context, n notify.Notice) error {
	body, err := Render(n)
	if err != nil {
		return err
	}
	return c.client.JSON(ctx, nil, body)
}

// Close releases idle connections.
func (c *Channel) Close() { c.client.Close() }

type message struct {
	Text   string  `json:"text"`
	Blocks []block `json:"blocks"`
}

type block struct {
	Type   string `json:"type"`
	Text   *text  `json:"text,omitempty"`
	Fields []text `json:"fields,omitempty"`
}

type text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`
	Verbatim *bool  `json:"verbatim,omitempty"`
}

// Render is the request body for a notice. Slack takes at most 150 characters in a
// header, 3,000 in a section and 10 fields of 2,000 each
// (docs.slack.dev/reference/block-kit/blocks).
func Render(n notify.Notice) ([]byte, error) {
	m := message{Text: escape(n.Title), Blocks: []block{
		{Type: "header", Text: plain(n.Title)},
		{Type: "section", Text: plain(n.NextStep)},
	}}
	fields := block{Type: "section"}
	for _, f := range n.Facts() {
		if f.Label == "Detail" { // escaped, it may be longer than a field
			m.Blocks = append(m.Blocks, block{Type: "section", Text: plain(f.Value)})
			continue
		}
		fields.Fields = append(fields.Fields, *plain(f.Label + "\n" + f.Value))
	}
	if len(fields.Fields) > 0 {
		m.Blocks = append(m.Blocks, fields)
	}
	if n.Link != "" {
		verbatim := true
		m.Blocks = append(m.Blocks, block{Type: "section", Text: &text{
			Type: "mrkdwn", Text: "<" + escape(n.Link) + "|Open>", Verbatim: &verbatim,
		}})
	}
	return marshal(m)
}

// marshal leaves escaping to escape: encoding/json would turn &, < and > into \u
// escapes, which is the same text and harder to read.
func marshal(m message) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

func plain(s string) *text {
	noEmoji := false
	return &text{Type: "plain_text", Text: escape(s), Emoji: &noEmoji}
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
