package stack

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/secevent"
	simgraph "mfaflow/pkg/sim/graph"
	simssf "mfaflow/pkg/sim/ssf"
	"mfaflow/pkg/webhook"
)

// riskSources are those of risk-signals that do not speak CloudEvents.
func riskSources(idp *simssf.Transmitter) []source {
	return []source{
		{
			Source: ingest.Source{
				Name: IdentityProvider, Format: ingest.SecurityEvents, Types: []string{"risk.user", "account.changed", "session.*", "credential.*"},
				Stream: &secevent.Stream{
					Issuer: idp.Issuer(), Audience: []string{Audience}, KeysURL: idp.KeysURL(),
					Subjects: map[string]secevent.Identifier{"email": secevent.UserPrincipalName},
				},
				Verify: &webhook.Config{Header: "Authorization", Scheme: webhook.Scheme{Algorithm: webhook.Bearer}},
			},
			key: identity.NewSecret(rand.Text()),
		},
		{
			Source: ingest.Source{
				Name: Okta, Format: ingest.Mapped, Mapping: "okta-hook", Challenge: ingest.OktaChallenge, Types: []string{"risk.*", "account.locked"},
				Verify: &webhook.Config{Preset: "okta"},
			},
			key: keyFor("okta"),
		},
		{
			Source: ingest.Source{
				Name: Entra, Format: ingest.Mapped, Mapping: "entra", Types: []string{"risk.*", "account.locked", "mfa.codes-unrequested"},
				Verify: &webhook.Config{Preset: "standard-webhooks"},
			},
			key: keyFor("standard-webhooks"),
		},
	}
}

// risk reports whether the source posts to risk-signals.
func (s source) risk() bool {
	switch s.Name {
	case HelpDesk, Operations, RiskSystem, IdentityProvider, Okta, Entra:
		return true
	default:
		return false
	}
}

// Push has the identity provider transmit a token about a person: an event type without
// its beginning, such as caep/event-type/session-revoked, and the claims of the event.
func (s *Stack) Push(ctx context.Context, typ, userPrincipalName string, claims map[string]any) (Answer, error) {
	token, err := s.IDP.Token(typ, map[string]any{"format": "email", "email": userPrincipalName}, claims)
	if err != nil {
		return Answer{}, err
	}
	began := time.Now()
	a, err := s.IDP.Push(ctx, s.client, s.url(IdentityProvider), s.sources[IdentityProvider].key.Reveal(), token)
	return Answer{a.Status, a.Body, time.Since(began)}, err
}

// riskStories are told by risk systems, each in its own payload.
func riskStories() []Story {
	return []Story{
		{
			Type: event.SessionRevoked, Title: "a token of the identity provider: it ended Amara Diallo's session (settings: revoke)", Person: "E1003",
			deliver: func(ctx context.Context, s *Stack, u simgraph.User) (Answer, error) {
				return s.Push(ctx, "caep/event-type/session-revoked", u.UserPrincipalName, map[string]any{
					"initiating_entity": "policy", "reason_admin": map[string]any{"en": "Access attempt from multiple regions"}, "event_timestamp": time.Now().Unix(),
				})
			},
			Effects: []Effect{sessionsRevoked(), flagged(flag.SessionRevoked)},
		},
		{
			Type: event.SessionRevoked, Title: "a token that waits at the identity provider: it ended Chloe Barnes's session", Person: "X2001",
			happens: func(s *Stack, u simgraph.User) error {
				claims := s.IDP.Claims("caep/event-type/session-revoked", map[string]any{"format": "email", "email": u.UserPrincipalName}, map[string]any{})
				token, err := s.IDP.Sign(s.IDP.Header(), claims)
				s.IDP.Queue(fmt.Sprint(claims["jti"]), token)
				return err
			},
			Effects: []Effect{sessionsRevoked(), flagged(flag.SessionRevoked), acknowledged()},
		},
		{
			Type: event.AccountLocked, Title: "an Okta event hook: Oliver Grant tried too often", Person: "E1012",
			deliver: func(ctx context.Context, s *Stack, u simgraph.User) (Answer, error) {
				return s.postJSON(ctx, Okta, oktaLock(u))
			},
			Effects: []Effect{flagged(flag.TooManyAttempts)},
		},
		{
			Type: event.AccountLocked, Title: "a diagnostic record of Entra: Tomas Berg is locked out", Person: "E1002",
			deliver: func(ctx context.Context, s *Stack, u simgraph.User) (Answer, error) {
				return s.postJSON(ctx, Entra, failedSignIn(u))
			},
			Effects: []Effect{flagged(flag.SmartLockout)},
		},
	}
}

// oktaLock is what an event hook delivers (developer.okta.com/docs/concepts/event-hooks).
func oktaLock(u simgraph.User) map[string]any {
	return map[string]any{
		"eventType": "com.okta.event_hook", "eventTypeVersion": "1.0", "cloudEventsVersion": "0.1", "eventId": rand.Text(),
		"data": map[string]any{"events": []any{map[string]any{
			"uuid": rand.Text(), "published": time.Now().UTC().Format(time.RFC3339Nano), "eventType": "user.account.lock",
			"actor":   map[string]any{"type": "SystemPrincipal", "alternateId": "system@okta.com"},
			"outcome": map[string]any{"result": "FAILURE", "reason": "LOCKED_OUT"},
			"target":  []any{map[string]any{"type": "User", "alternateId": u.UserPrincipalName, "displayName": u.DisplayName}},
		}}},
	}
}

// failedSignIn is what an Event Hub holds of a tenant's diagnostic settings.
func failedSignIn(u simgraph.User) map[string]any {
	return map[string]any{"records": []any{map[string]any{
		"time": time.Now().UTC().Format(time.RFC3339Nano), "operationName": "Sign-in activity", "category": "SignInLogs", "resultType": "50053",
		"properties": map[string]any{
			"id": rand.Text(), "userId": u.ID, "userPrincipalName": u.UserPrincipalName, "createdDateTime": time.Now().UTC().Format(time.RFC3339Nano),
			"status": map[string]any{
				"errorCode": 50053, "failureReason": "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
			},
		},
	}}}
}

func (s *Stack) postJSON(ctx context.Context, source string, payload map[string]any) (Answer, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return Answer{}, err
	}
	return s.Post(ctx, source, body)
}
