// Package inbound is the form in which accepted events lie on the inbound queue,
// whichever function accepted them.
//
// It knows no broker client and nothing of where events come from.
package inbound

import (
	"strings"

	"mfaflow/pkg/event"
	"mfaflow/pkg/queue"
)

// Message is the message of an event that has its key and origin.
func Message(e event.Event) (queue.Message, error) {
	body, err := e.Encode()
	if err != nil {
		return queue.Message{}, err
	}
	return queue.Message{
		ID: e.Key, SessionID: session(e), Key: e.Key, CorrelationID: e.CorrelationID, ContentType: event.ContentType, Body: body,
		Properties: map[string]string{queue.PropType: string(e.Type), queue.PropSource: e.Origin},
	}, nil
}

// session is the sender's key for the person, so that the broker keeps one person's
// events of one source in order. It is at most 81 characters.
func session(e event.Event) string {
	who := e.Subject
	if who == "" {
		if p, err := e.Person(); err == nil {
			for _, id := range []string{p.EmployeeID, p.ObjectID, p.UserPrincipalName, p.Mail} {
				if who = id; who != "" {
					break
				}
			}
		}
	}
	if who == "" {
		return e.Key
	}
	return event.NewKey(e.Origin, strings.ToLower(who))
}
