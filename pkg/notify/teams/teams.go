// Package teams tells flags in a Microsoft Teams channel or chat, through a workflow
// that starts "when a Teams webhook request is received".
//
// # Why RichTextBlock
//
// TextBlock and the facts of a FactSet render Markdown; a TextRun of a RichTextBlock
// does not (learn.microsoft.com/adaptive-cards/schema-explorer/text-run), so nothing
// in a notice can become a link or bold print. A mention needs an entity beside the
// text, which is never sent. The date functions {{DATE(...)}} work when the braces
// stand together.
package teams

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

// Channel posts cards.
type Channel struct{ client *post.Client }

// New takes the address of the workflow, which holds its signature.
func New(address identity.Secret, now func() time.Time) (*Channel, error) {
	client, err := post.New(address, now)
	if err != nil {
		return nil, fmt.Errorf("teams: %w", err)
	}
	return &Channel{client}, nil
}

// Name implements notify.Channel.
func (*Channel) Name() string { return "teams" }

// Tell implements notify.Channel. The workflow answers 202 before it posts: that the
// message appears in the channel is the workflow's business and its owner's.
func (c *Channel) Tell(ctx context.Context, n notify.Notice) error {
	body, err := Render(n)
	if err != nil {
		return err
	}
	return c.client.JSON(ctx, nil, body)
}

// Close releases idle connections.
func (c *Channel) Close() { c.client.Close() }

// message is what a workflow takes: one attachment with one card
// (learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors).
type message struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string  `json:"contentType"`
	ContentURL  *string `json:"contentUrl"`
	Content     card    `json:"content"`
}

type card struct {
	Schema   string   `json:"$schema"`
	Type     string   `json:"type"`
	Version  string   `json:"version"`
	Fallback string   `json:"fallbackText"`
	Body     []block  `json:"body"`
	Actions  []action `json:"actions,omitempty"`
	Teams    struct {
		Width string `json:"width"`
	} `json:"msteams"`
}

type block struct {
	Type    string `json:"type"`
	Spacing string `json:"spacing,omitempty"`
	Inlines []run  `json:"inlines"`
}

type run struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Render is the request body for a notice.
func Render(n notify.Notice) ([]byte, error) {
	c := card{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4", Fallback: n.Title,
		Body: []block{
			paragraph("", run{Text: n.Title, Weight: "Bolder", Size: "Large"}),
			paragraph("Small", run{Text: n.NextStep}),
		},
	}
	c.Teams.Width = "Full"
	spacing := "Medium"
	for _, f := range n.Facts() {
		c.Body = append(c.Body, paragraph(spacing, run{Text: f.Label + ": ", Weight: "Bolder"}, run{Text: f.Value}))
		spacing = "None"
	}
	if n.Link != "" {
		c.Actions = []action{{Type: "Action.OpenUrl", Title: "Open", URL: n.Link}}
	}
	return json.Marshal(message{Type: "message", Attachments: []attachment{
		{ContentType: "application/vnd.microsoft.card.adaptive", Content: c},
	}})
}

func paragraph(spacing string, runs ...run) block {
	for i := range runs {
		runs[i].Type = "TextRun"
		runs[i].Text = plain(runs[i].Text)
	}
	return block{Type: "RichTextBlock", Spacing: spacing, Inlines: runs}
}

// plain keeps braces apart.
func plain(s string) string {
	for strings.Contains(s, "{{") {
		s = strings.ReplaceAll(s, "{{", "{ {")
	}
	return s
}
