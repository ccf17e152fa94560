package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/sim/ssf"
	"mfaflow/pkg/webhook"
)

// signalLatency posts to risk-signals: tokens under RS256, and the same news as a
// CloudEvent under Standard Webhooks.
func signalLatency(ctx context.Context, bin Bin) ([]Figure, error) {
	idp, err := ssf.Start(ctx, ssf.Options{Audience: "bench"})
	if err != nil {
		return nil, err
	}
	defer func() { _ = idp.Close() }()
	keys, err := idp.KeySet()
	if err != nil {
		return nil, err
	}
	signer, err := webhook.NewSigner(identity.NewSecret(signingKey))
	if err != nil {
		return nil, err
	}
	var tokens, events []ingest.Source
	for _, name := range []string{warmUp, source} {
		s := ingest.Source{Name: name, Format: ingest.SecurityEvents, Types: []string{"risk.user"}}
		s.Stream = &secevent.Stream{Issuer: idp.Issuer(), Audience: []string{"bench"}, Keys: keys}
		tokens = append(tokens, s)
		events = append(events, ingest.Source{
			Name: name, Format: ingest.CloudEvents, Types: []string{"risk.user"}, Verify: &webhook.Config{Preset: "standard-webhooks"},
		})
	}
	var figures []Figure
	for _, one := range []struct {
		what    string
		sources []ingest.Source
		request func(ctx context.Context, url, id string) (*http.Request, error)
	}{
		{"token: ", tokens, func(ctx context.Context, url, id string) (*http.Request, error) {
			return tokenRequest(ctx, idp, url, id)
		}},
		{"Standard Webhooks: ", events, func(ctx context.Context, url, id string) (*http.Request, error) {
			return riskRequest(ctx, signer, url, id)
		}},
	} {
		env, err := sourcesEnv(one.sources)
		if err != nil {
			return figures, err
		}
		m, err := traffic{function: "risk-signals", env: env, request: func(ctx context.Context, address, source, id string) (*http.Request, error) {
			return one.request(ctx, address+"/risk/"+source, id)
		}}.run(ctx, bin)
		if err != nil {
			return figures, err
		}
		figures = append(figures, m.figures(one.what)...)
	}
	return figures, nil
}

func tokenRequest(ctx context.Context, idp *ssf.Transmitter, url, id string) (*http.Request, error) {
	token, err := idp.Token("caep/event-type/risk-level-change", map[string]any{"format": "email", "email": id + "@contoso.example"},
		map[string]any{"principal": "USER", "current_level": "HIGH", "event_timestamp": time.Now().Unix()})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(token))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/secevent+jwt")
	return r, nil
}

func riskRequest(ctx context.Context, signer *webhook.Signer, url, id string) (*http.Request, error) {
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "https://risk.contoso.example", "type": event.RiskUser, "subject": id,
		"time": time.Now().Format(time.RFC3339Nano), "data": map[string]any{"person": map[string]any{"mail": id + "@contoso.example"}, "level": "high"},
	})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", event.ContentType)
	return r, signer.Sign(r.Header, id, time.Now(), body)
}
