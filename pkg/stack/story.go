package stack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/ingest"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/webhook"
)

// The people of the sample tenant whom stories are about.
const (
	// ModelJoiner has an account, no method, and a manager with a mailbox.
	ModelJoiner = "E1004"
	// LateJoiner is known to HR before there is an account.
	LateJoiner = "E1040"
)

// Person is the account of an employee; ok is false before there is one.
func (s *Stack) Person(employeeID string) (u simgraph.User, ok bool) {
	for _, u := range s.Graph.Users() {
		if u.EmployeeID == employeeID {
			return u, true
		}
	}
	return simgraph.User{}, false
}

// Tomorrow is the next calendar date where the company of the sample tenant is: a
// pass for that day is due now and opens in the future, whatever the hour.
func (s *Stack) Tomorrow() (event.Date, error) {
	zone, err := event.ParseTimeZone(TimeZone)
	if err != nil {
		return event.Date{}, err
	}
	return event.ParseDate(time.Now().In(zone).AddDate(0, 0, 1).Format(time.DateOnly))
}

// JoinerEvent is what the HR system says about a person who starts on a date.
func JoinerEvent(employeeID string, start event.Date) ([]byte, error) {
	return json.MarshalIndent(map[string]any{
		"specversion": "1.0",
		"id":          "hr-" + rand.Text()[:8],
		"source":      "https://hr.contoso.example",
		"type":        event.Joiner,
		"subject":     employeeID,
		"time":        time.Now().Format(time.RFC3339),
		"data": map[string]any{
			"person":    map[string]any{"employeeId": employeeID},
			"startDate": start,
			"timeZone":  TimeZone,
		},
	}, "", "  ")
}

// Answer is what hr-events says to a delivery.
type Answer struct {
	Status int
	Body   string
	Took   time.Duration
}

// Post delivers a body as the source does: signed with its key, and as a part of the
// trace of ctx if there is one.
func (s *Stack) Post(ctx context.Context, source string, body []byte) (Answer, error) {
	from, ok := s.sources[source]
	if !ok {
		return Answer{}, fmt.Errorf("the stack has no source %q", source)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url(source), bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	if from.Format == ingest.CloudEvents {
		r.Header.Set("Content-Type", "application/cloudevents+json")
	}
	correlation.Stamp(ctx, r.Header)
	if err := webhook.SignAs(from.verifying(), r.Header, "msg_"+rand.Text(), time.Now(), body); err != nil {
		return Answer{}, err
	}
	began := time.Now()
	response, err := s.client.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("post the event: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return Answer{response.StatusCode, string(text), time.Since(began)}, err
}

// Delivery is a pass that reached a mailbox.
type Delivery struct {
	Mail simgraph.Message
	// To is the mailbox that it was found in.
	To   string
	Pass simgraph.Pass

	value string
}

// Masked is the text of the mail without the pass.
func (d Delivery) Masked() string { return strings.ReplaceAll(d.Mail.Body, d.value, "********") }

// ErrNotDelivered: no pass of the person has reached the manager's mailbox.
var ErrNotDelivered = errors.New("the pass was not delivered")

// Delivered waits until the manager of the person has mail with a pass in it and
// the person has that pass. It looks again whenever something happens.
func (s *Stack) Delivered(ctx context.Context, employeeID string) (Delivery, error) {
	for {
		changed := s.nextCall()
		d, ok, err := s.delivered(employeeID)
		if ok || err != nil {
			return d, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Delivery{}, fmt.Errorf("%w: %w", ErrNotDelivered, context.Cause(ctx))
		}
	}
}

func (s *Stack) delivered(employeeID string) (Delivery, bool, error) {
	person, ok := s.Person(employeeID)
	if !ok {
		return Delivery{}, false, nil // not provisioned yet
	}
	manager, ok := s.Graph.User(person.Manager)
	if !ok {
		return Delivery{}, false, fmt.Errorf("%w: %s has no manager", ErrNotDelivered, person.DisplayName)
	}
	passes := s.Graph.Passes(person.ID)
	if len(passes) == 0 {
		return Delivery{}, false, nil
	}
	for _, mail := range s.Graph.Mailbox(manager.Mail) {
		for _, value := range s.Graph.IssuedPassValues() {
			if strings.Contains(mail.Body, value) && strings.Contains(mail.Subject+mail.Body, person.DisplayName) {
				return Delivery{Mail: mail, To: manager.Mail, Pass: passes[0], value: value}, true, nil
			}
		}
	}
	return Delivery{}, false, nil
}

// SignIn tries the delivered pass at a time of the simulated tenant, which lives on
// from there.
func (s *Stack) SignIn(employeeID string, d Delivery, at time.Time) error {
	person, ok := s.Person(employeeID)
	if !ok {
		return simgraph.ErrNoSuchUser
	}
	s.clock.setTo(at)
	return s.Graph.SignInWithPass(person.UserPrincipalName, d.value)
}

// nextCall is closed when the tenant answers its next call or a function says
// something.
func (s *Stack) nextCall() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *Stack) called() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
