// Package webhook tells flags to any service, by a webhook signed as Standard
// Webhooks says.
package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/post"
	"mfaflow/pkg/webhook"
)

// Channel posts signed JSON.
type Channel struct {
	client *post.Client
	signer *webhook.Signer
	now    func() time.Time
}

// New takes the address of the service and the key (whsec_ or whsk_) to sign with.
func New(address, key identity.Secret, now func() time.Time) (*Channel, error) {
	client, err := post.New(address, now)
	if err != nil {
		return nil, fmt.Errorf("flag webhook: %w", err)
	}
	signer, err := webhook.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("flag webhook key: %w", err)
	}
	return &Channel{client: client, signer: signer, now: now}, nil
}

// Name implements notify.Channel.
func (*Channel) Name() string { return "webhook" }

// Tell implements notify.Channel. The webhook id is that of the notice, so that the
// service can tell a repeated delivery.
func (c *Channel) Tell(ctx context.Context, n notify.Notice) error {
	body, err := Render(n)
	if err != nil {
		return err
	}
	header := http.Header{}
	if id := correlation.ID(ctx); id != "" {
		header.Set("X-Correlation-Id", id)
		correlation.Stamp(ctx, header)
	}
	if err := c.signer.Sign(header, n.ID, c.now(), body); err != nil {
		return err
	}
	return c.client.JSON(ctx, header, body)
}

// Close releases idle connections.
func (c *Channel) Close() { c.client.Close() }

type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	Flag      int64           `json:"flag"`
	Cause     flag.Cause      `json:"cause"`
	Title     string          `json:"title"`
	NextStep  string          `json:"nextStep"`
	User      identity.UserID `json:"user,omitempty"`
	Lane      string          `json:"lane,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	Key       string          `json:"key,omitempty"`
	EventType string          `json:"eventType,omitempty"`
	Source    string          `json:"source,omitempty"`
	UnlocksAt time.Time       `json:"unlocksAt,omitzero"`
	Command   string          `json:"command"`
	Link      string          `json:"link,omitempty"`
}

// Render is the request body for a notice: the same whenever it is told again.
func Render(n notify.Notice) ([]byte, error) {
	return json.Marshal(body{Type: "flag.raised", Timestamp: n.RaisedAt, Data: data{
		Flag: n.Number, Cause: n.Cause, Title: n.Title, NextStep: n.NextStep, User: n.User, Lane: n.Lane, Reason: n.Reason,
		Detail: n.Detail, Key: n.Key, EventType: n.Type, Source: n.Source, UnlocksAt: n.UnlocksAt, Command: n.Command, Link: n.Link,
	}})
}
